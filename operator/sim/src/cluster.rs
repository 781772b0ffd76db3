//! The API server as far as the operator depends on it: objects with a UID and a resource version, server-side apply, writes that are
//! refused when somebody else wrote first, evictions that a budget holds up.
//!
//! A value without time of its own: whoever calls says when.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use operator_api::{ZooKeeperEnsemble, ZooKeeperEnsembleStatus, names};
use operator_core::{
    Adoption, Claim, Expansion, Hold, Kind, NodeFacts, Object, Ownership, PodFacts, Removal, Resize, Stamp, Token,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The name of the only ensemble.
pub(crate) const NAME: &str = "zk";
const NAMESPACE: &str = "prod";
/// The storage class of every claim.
pub(crate) const CLASS: &str = "standard";
/// How long a pod has from the call that deletes it until its end is due.
const GRACE: Duration = Duration::from_secs(10);
/// 2026-01-01 in milliseconds: the wall clock at the start of every run.
const WALL_START_MS: i64 = 1_767_225_600_000;

/// The wall clock.
pub(crate) fn time(now: Duration) -> Time {
    let ms = WALL_START_MS + i64::try_from(now.as_millis()).unwrap_or_default();
    Time(Timestamp::from_millisecond(ms).unwrap_or_default())
}

/// When it was that time on the wall clock.
pub(crate) fn since_start(time: &Time) -> Duration {
    let ms = time.0.as_millisecond() - WALL_START_MS;
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

/// A wall clock that knows seconds, as objects do.
pub(crate) fn stamp(now: Duration) -> Time {
    time(Duration::from_secs(now.as_secs()))
}

/// Lower-case hex of the SHA-256.
fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a server says of the `zoo.cfg` that it loaded: without its `server.N` lines.
pub(crate) fn config_hash(zoo_cfg: &str) -> String {
    sha256(&zoo_cfg.split_inclusive('\n').filter(|line| !line.starts_with("server.")).collect::<String>())
}

/// The ordinal of the pod that a claim is for.
pub(crate) fn ordinal_of(claim: &str) -> Option<i32> {
    claim.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse().ok())
}

/// Why a call had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 409: somebody else wrote first, or the object is another one.
    Conflict,
    /// 404.
    NotFound,
    /// 429: a budget.
    TooManyRequests,
    /// 500, of no fault of the call.
    Internal,
}

/// A pod and what the kubelet knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    /// What the operator sees.
    pub(crate) facts: PodFacts,
    /// The image it was made from.
    pub(crate) image: String,
    /// The ensemble that its template says its server to be of.
    pub(crate) ensemble_id: Option<String>,
    /// The `zoo.cfg` that its server loaded.
    pub(crate) zoo_cfg: String,
    /// Its [`config_hash`].
    pub(crate) loaded_hash: String,
    /// The volume that its server runs on.
    pub(crate) volume_id: Option<String>,
    /// Readiness probes that failed since the last one that did not.
    pub(crate) failed_probes: u32,
    /// The node is lost until then.
    pub(crate) lost_until: Option<Duration>,
}

/// Everything that the API server holds.
pub(crate) struct Cluster {
    /// Grows with every write of anybody.
    pub(crate) version: u64,
    drawn: u64,
    pub(crate) ensemble: ZooKeeperEnsemble,
    /// The resource was deleted, and is no more.
    pub(crate) is_gone: bool,
    pub(crate) objects: BTreeMap<(Kind, String), Value>,
    pub(crate) token: Option<Token>,
    pub(crate) pods: BTreeMap<i32, Pod>,
    pub(crate) claims: BTreeMap<String, Claim>,
    /// The UIDs of data claims whose files cannot be trusted any more.
    pub(crate) damaged: BTreeSet<String>,
    /// Whether the storage class allows expansion.
    pub(crate) is_expandable: bool,
    /// The nodes.
    pub(crate) nodes: BTreeMap<String, NodeFacts>,
    /// Where the pod of an ordinal runs: where it ran before, unless that node is off.
    homes: BTreeMap<i32, String>,
    /// The texts of `zoo.cfg`, the newest last, and since when.
    pub(crate) zoo_cfgs: Vec<(Duration, String)>,
    /// Calls of operators that took effect.
    pub(crate) writes: u64,
}

impl Cluster {
    /// A cluster with one resource.
    pub(crate) fn new(spec: &Value, is_expandable: bool) -> Cluster {
        let ensemble = json!({
            "apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble",
            "metadata": { "name": NAME, "namespace": NAMESPACE, "uid": "uid-0", "generation": 1, "resourceVersion": "1" },
            "spec": spec,
        });
        Cluster {
            version: 1,
            drawn: 0,
            ensemble: serde_json::from_value(ensemble).expect("the scripts write valid specs"),
            is_gone: false,
            objects: BTreeMap::new(),
            token: None,
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            damaged: BTreeSet::new(),
            is_expandable,
            nodes: BTreeMap::new(),
            homes: BTreeMap::new(),
            zoo_cfgs: Vec::new(),
            writes: 0,
        }
    }

    /// A name that nothing else has.
    pub(crate) fn fresh(&mut self, what: &str) -> String {
        self.drawn += 1;
        format!("{what}-{}", self.drawn)
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    // ---- the resource ----

    /// A person edits the resource.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut ZooKeeperEnsemble)) {
        let before = self.ensemble.spec.clone();
        edit(&mut self.ensemble);
        if self.ensemble.spec != before {
            self.ensemble.metadata.generation = self.ensemble.metadata.generation.map(|generation| generation + 1);
        }
        self.ensemble.metadata.resource_version = Some(self.next_version());
    }

    /// Replaces the status, if nobody wrote since.
    pub(crate) fn write_status(
        &mut self,
        read: &ZooKeeperEnsemble,
        status: &ZooKeeperEnsembleStatus,
    ) -> Result<(), Refusal> {
        self.is_there()?;
        if read.metadata.resource_version != self.ensemble.metadata.resource_version {
            return Err(Refusal::Conflict);
        }
        // Over the wire and back: what JSON does not carry is lost.
        let wire = serde_json::to_value(status).and_then(serde_json::from_value);
        self.ensemble.status = Some(wire.expect("a status is JSON"));
        self.ensemble.metadata.resource_version = Some(self.next_version());
        self.writes += 1;
        Ok(())
    }

    // ---- the children ----

    /// The child of this kind and name.
    pub(crate) fn object(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// The StatefulSet.
    pub(crate) fn stateful_set(&self) -> Option<&Value> {
        self.object(Kind::StatefulSet, &names::stateful_set(NAME))
    }

    /// Applies an object; `read` is the resource version it was read at, where that matters.
    pub(crate) fn apply(&mut self, object: &Object, read: Option<&str>, now: Duration) -> Result<(), Refusal> {
        let key = (object.kind, object.name.clone());
        let live = self.objects.get(&key).cloned();
        if let (Some(read), Some(live)) = (read, &live)
            && live["metadata"]["resourceVersion"] != read
        {
            return Err(Refusal::Conflict);
        }
        self.writes += 1;
        let mut next = object.manifest.clone();
        let mut generation = 1;
        if let Some(live) = &live {
            let same_spec = live["spec"] == next["spec"] && live["data"] == next["data"];
            generation = live["metadata"]["generation"].as_i64().unwrap_or(1) + i64::from(!same_spec);
            let annotations = live["metadata"]["annotations"] == next["metadata"]["annotations"];
            if same_spec && annotations {
                return Ok(());
            }
            next["status"] = live["status"].clone();
            next["metadata"]["uid"] = live["metadata"]["uid"].clone();
        } else {
            next["metadata"]["uid"] = self.fresh("uid").into();
        }
        next["metadata"]["generation"] = generation.into();
        next["metadata"]["resourceVersion"] = self.next_version().into();
        if let Some(text) = next["data"][names::CONFIG_KEY].as_str() {
            self.zoo_cfgs.push((now, text.to_owned()));
        }
        self.objects.insert(key, next);
        Ok(())
    }

    /// Removes the StatefulSet of this UID; its pods run on.
    pub(crate) fn orphan(&mut self, hold: &Hold) -> Result<(), Refusal> {
        let key = (Kind::StatefulSet, hold.name.clone());
        match self.objects.get(&key) {
            None => Err(Refusal::NotFound),
            Some(live) if live["metadata"]["uid"] != hold.uid => Err(Refusal::Conflict),
            Some(_) => {
                self.objects.remove(&key);
                self.version += 1;
                self.writes += 1;
                Ok(())
            }
        }
    }

    /// Creates the superuser Secret, if there is none.
    pub(crate) fn create_token(&mut self, token: &Token) {
        self.writes += 1;
        if self.token.is_none() {
            self.token = Some(token.clone());
            self.next_version();
        }
    }

    /// The controller of StatefulSets has seen the newest template. Returns its revision and how many pods it asks for.
    pub(crate) fn observe_stateful_set(&mut self) -> Option<(String, i32)> {
        let set = self.objects.get_mut(&(Kind::StatefulSet, names::stateful_set(NAME)))?;
        let replicas = set["spec"]["replicas"].as_i64().and_then(|replicas| i32::try_from(replicas).ok())?;
        let is_seen = set["status"]["observedGeneration"] == set["metadata"]["generation"];
        let seen = set["status"]["updateRevision"].as_str().filter(|_| is_seen).map(str::to_owned);
        let revision =
            seen.unwrap_or_else(|| format!("{NAME}-{}", &sha256(&set["spec"]["template"].to_string())[..10]));
        if !is_seen {
            set["status"] = json!({ "observedGeneration": set["metadata"]["generation"], "updateRevision": revision });
            let version = self.next_version();
            let set = self.objects.get_mut(&(Kind::StatefulSet, names::stateful_set(NAME)))?;
            set["metadata"]["resourceVersion"] = version.into();
        }
        Some((revision, replicas))
    }

    // ---- pods and claims ----

    /// Makes a pod of this revision, and its claims where they are missing; none while one of them is on its way out. Whether it did.
    pub(crate) fn make_pod(&mut self, ordinal: i32, revision: &str, now: Duration) -> bool {
        let Some(set) = self.stateful_set() else { return false };
        if self.claims.values().any(|claim| claim.deleting && ordinal_of(&claim.name) == Some(ordinal)) {
            return false;
        }
        let container = &set["spec"]["template"]["spec"]["containers"][0];
        let image = container["image"].as_str().unwrap_or_default().to_owned();
        let is_id = |env: &&Value| env["name"] == names::ENSEMBLE_ID_ENV;
        let ensemble_id = container["env"].as_array().and_then(|all| all.iter().find(is_id));
        let ensemble_id = ensemble_id.and_then(|env| env["value"].as_str()).map(str::to_owned);
        let templates = set["spec"]["volumeClaimTemplates"].as_array().cloned().unwrap_or_default();
        for template in templates {
            let name = format!("{}-{NAME}-{ordinal}", template["metadata"]["name"].as_str().unwrap_or_default());
            if !self.claims.contains_key(&name) {
                let annotation = &template["metadata"]["annotations"][names::ensemble_id_annotation()];
                let ensemble_id = annotation.as_str().map(str::to_owned);
                let uid = self.fresh("claim");
                let size = template["spec"]["resources"]["requests"]["storage"].as_str().map(str::to_owned);
                self.claims.insert(
                    name.clone(),
                    Claim {
                        name,
                        uid,
                        ensemble_id,
                        retired: None,
                        owners: Vec::new(),
                        bound: false,
                        deleting: false,
                        class: Some(CLASS.to_owned()),
                        requested: size.clone(),
                        capacity: size,
                        resize: Resize::None,
                    },
                );
            }
        }
        let uid = self.fresh("pod");
        // A node that is tainted takes no pod: it is another one, or the node is back and a person has taken the taint away.
        let is_off = |home: &String| self.nodes.get(home).is_some_and(|node| node.out_of_service && !node.ready);
        if self.homes.get(&ordinal).is_some_and(is_off) {
            self.homes.remove(&ordinal);
        }
        let home = self.homes.entry(ordinal).or_insert_with(|| format!("node-of-{uid}")).clone();
        let node = NodeFacts { exists: true, ready: true, out_of_service: false };
        self.nodes.entry(home.clone()).or_insert(node).out_of_service = false;
        let facts = PodFacts {
            name: names::pod(NAME, ordinal),
            uid,
            node: Some(home),
            created_at: Some(stamp(now)),
            revision: Some(revision.to_owned()),
            ready_turned: Some(stamp(now)),
            ..PodFacts::default()
        };
        let (zoo_cfg, loaded_hash, volume_id) = (String::new(), String::new(), None);
        let pod =
            Pod { facts, image, ensemble_id, zoo_cfg, loaded_hash, volume_id, failed_probes: 0, lost_until: None };
        self.pods.insert(ordinal, pod);
        self.next_version();
        true
    }

    /// The kubelet, or the API server, changes a pod, if it still is this one.
    pub(crate) fn update_pod(&mut self, ordinal: i32, uid: &str, update: impl FnOnce(&mut Pod)) {
        if let Some(pod) = self.pods.get_mut(&ordinal).filter(|pod| pod.facts.uid == uid) {
            let before = pod.facts.clone();
            update(pod);
            if pod.facts != before {
                self.version += 1;
            }
        }
    }

    /// Marks a pod as being deleted. True when there is one that was not yet.
    pub(crate) fn end_pod(&mut self, ordinal: i32, now: Duration) -> bool {
        let Some(pod) = self.pods.get_mut(&ordinal).filter(|pod| !pod.facts.deleting) else { return false };
        (pod.facts.deleting, pod.facts.deletion_due) = (true, Some(stamp(now + GRACE)));
        self.version += 1;
        true
    }

    /// An operator deletes a pod, if it still is this one. True when it was not being deleted yet.
    pub(crate) fn delete_pod(&mut self, removal: &Removal, now: Duration) -> Result<bool, Refusal> {
        let pod = self.pods.get(&removal.ordinal).ok_or(Refusal::NotFound)?;
        if pod.facts.uid != removal.uid {
            return Err(Refusal::Conflict);
        }
        self.writes += 1;
        Ok(self.end_pod(removal.ordinal, now))
    }

    /// Deletes the record of a pod, whoever runs it.
    pub(crate) fn force_delete_pod(&mut self, removal: &Removal) -> Result<(), Refusal> {
        let pod = self.pods.get(&removal.ordinal).ok_or(Refusal::NotFound)?;
        if pod.facts.uid != removal.uid {
            return Err(Refusal::Conflict);
        }
        self.homes.remove(&removal.ordinal);
        self.pod_is_gone(removal.ordinal);
        self.writes += 1;
        Ok(())
    }

    /// Whether the budget allows the eviction of a pod.
    pub(crate) fn may_evict(&self, removal: &Removal) -> Result<(), Refusal> {
        let pod = self.pods.get(&removal.ordinal).ok_or(Refusal::NotFound)?;
        let budget = self.object(Kind::PodDisruptionBudget, &names::stateful_set(NAME));
        if let Some(budget) = budget.filter(|_| !pod.facts.deleting) {
            let unavailable = budget["spec"]["maxUnavailable"].as_u64().unwrap_or_default();
            let expected = self.stateful_set().and_then(|set| set["spec"]["replicas"].as_u64()).unwrap_or_default();
            let healthy = self.pods.values().filter(|pod| pod.facts.ready && !pod.facts.deleting).count() as u64;
            let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
            let spares = if pod.facts.ready { healthy > 0 && healthy - 1 + unavailable >= expected } else { always };
            if !spares {
                return Err(Refusal::TooManyRequests);
            }
        }
        Ok(())
    }

    /// Writes the mark of a retired claim, or takes it away.
    pub(crate) fn stamp_claim(&mut self, mark: &Stamp) -> Result<(), Refusal> {
        let claim = self.claims.get_mut(&mark.claim).ok_or(Refusal::NotFound)?;
        if claim.uid != mark.uid {
            return Err(Refusal::Conflict);
        }
        claim.retired = mark.value.clone();
        self.version += 1;
        self.writes += 1;
        Ok(())
    }

    /// Writes the ensemble that a claim goes on for.
    pub(crate) fn adopt(&mut self, adoption: &Adoption) -> Result<(), Refusal> {
        let claim = self.claims.get_mut(&adoption.claim).ok_or(Refusal::NotFound)?;
        if claim.uid != adoption.uid {
            return Err(Refusal::Conflict);
        }
        claim.ensemble_id = Some(adoption.ensemble_id.clone());
        self.version += 1;
        self.writes += 1;
        Ok(())
    }

    /// Makes the ensemble an owner of a claim, or no owner any more.
    pub(crate) fn own_claim(&mut self, ownership: &Ownership) -> Result<(), Refusal> {
        let owner = self.ensemble.metadata.uid.clone().unwrap_or_default();
        let claim = self.claims.get_mut(&ownership.claim).ok_or(Refusal::NotFound)?;
        if claim.uid != ownership.uid {
            return Err(Refusal::Conflict);
        }
        claim.owners.retain(|uid| *uid != owner);
        claim.owners.extend(ownership.owned.then_some(owner));
        self.version += 1;
        self.writes += 1;
        Ok(())
    }

    /// Asks for more room for a claim.
    pub(crate) fn expand(&mut self, expansion: &Expansion) -> Result<(), Refusal> {
        let claim = self.claims.get_mut(&expansion.claim).ok_or(Refusal::NotFound)?;
        if claim.uid != expansion.uid {
            return Err(Refusal::Conflict);
        }
        claim.requested = Some(expansion.size.clone());
        claim.resize = Resize::Running;
        self.version += 1;
        self.writes += 1;
        Ok(())
    }

    /// Something happens to a claim, if it still is this one.
    pub(crate) fn update_claim(&mut self, uid: &str, update: impl FnOnce(&mut Claim)) {
        if let Some(claim) = self.claims.values_mut().find(|claim| claim.uid == uid) {
            update(claim);
            self.version += 1;
        }
    }

    /// An operator deletes a claim, if it still is this one.
    pub(crate) fn delete_claim(&mut self, hold: &Hold) -> Result<(), Refusal> {
        match self.claims.get(&hold.name) {
            None => Err(Refusal::NotFound),
            Some(claim) if claim.uid != hold.uid => Err(Refusal::Conflict),
            Some(_) => {
                self.remove_claim(&hold.name);
                self.writes += 1;
                Ok(())
            }
        }
    }

    /// Begins to remove a claim: it goes when no pod uses it (`kubernetes.io/pvc-protection`), and then when whoever looks after it has let go.
    pub(crate) fn remove_claim(&mut self, name: &str) {
        if let Some(claim) = self.claims.get_mut(name) {
            claim.deleting = true;
        }
        self.version += 1;
    }

    /// The claims that are to go and that no pod uses.
    pub(crate) fn unused_claims(&self) -> Vec<String> {
        let is_used = |name: &str| ordinal_of(name).is_some_and(|ordinal| self.pods.contains_key(&ordinal));
        let going = self.claims.values().filter(|claim| claim.deleting && !is_used(&claim.name));
        going.map(|claim| claim.name.clone()).collect()
    }

    /// Nothing is left of a claim.
    pub(crate) fn claim_is_gone(&mut self, name: &str) {
        self.claims.remove(name);
        self.version += 1;
    }

    /// Nothing is left of a pod.
    pub(crate) fn pod_is_gone(&mut self, ordinal: i32) {
        self.pods.remove(&ordinal);
        self.version += 1;
    }
}
