//! Observations in few words.
//!
//! A situation is a YAML file; what it does not say is as it would be in a healthy ensemble `zk` of three that was
//! founded as `E`, with server `n` on volume `v<n>`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_api::ZooKeeperEnsemble;
use operator_core::{
    BootstrapState, Claim, Founded, Identity, MemberConfig, MemberStatus, NodeFacts, Observed, PodFacts, Resize, Role,
    StoreFacts, StoreState, Token, TokenState, build, nodes_to_read, validate,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// The moment of every pass.
pub(crate) const NOW: &str = "2030-01-01T12:00:00Z";
/// The identity of the ensemble.
pub(crate) const ENSEMBLE: &str = "E";

/// A situation, as its file says it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Situation {
    /// Why it is here. For the reader.
    pub(crate) about: String,
    #[serde(default = "empty")]
    pub(crate) metadata: Value,
    #[serde(default = "empty")]
    pub(crate) spec: Value,
    /// The status as read.
    #[serde(default)]
    pub(crate) status: Option<Value>,
    /// `none`, or `applied`: what the operator made of this spec and status.
    #[serde(default = "applied")]
    pub(crate) objects: String,
    /// A merge patch over the spec that the live objects were made from.
    #[serde(default = "empty")]
    pub(crate) made_with: Value,
    /// Merge patches over the live objects, by `Kind/name`; null removes one.
    #[serde(default)]
    pub(crate) drift: BTreeMap<String, Value>,
    /// `present`, `absent`, or why it cannot be used.
    #[serde(default = "present")]
    pub(crate) token: String,
    /// Pods by ordinal: words `ready`, `deleting`, `unstarted`, `volume-elsewhere`, `revision=r`, `rolled=t`, `exit=n`, `made=hh:mm:ss`, `turned=hh:mm:ss` (when it
    /// became ready, or ceased to be), `due=hh:mm:ss` (its end), and after `trouble:` a text.
    #[serde(default)]
    pub(crate) pods: BTreeMap<i32, String>,
    /// Nodes by name, in words `ready`, `off` (tainted out of service), or `gone`; only those that a pass would read.
    #[serde(default)]
    pub(crate) nodes: BTreeMap<String, String>,
    /// Volume claims by name, with the ensemble they were made for, words `deleting`, `unbound`, `owner=uid`, `class=c`, `size=s`,
    /// `actual=s`, `resizing`, `pending=hh:mm:ss` (its file system, since then), `failed`, and after `retired=` their stamp.
    #[serde(default)]
    pub(crate) claims: BTreeMap<String, String>,
    /// Storage classes by name, and whether they allow expansion.
    #[serde(default)]
    pub(crate) classes: BTreeMap<String, bool>,
    /// Answers by ordinal: a state and words `version=v`, `format=n` (of its files), `volume=v`, `leader=n`, `myid=n`, `ensemble=e`, `config=c`,
    /// `members=version/voters/observers`, `pending=version`, `epoch=n`, `logged=zxid` (the end of its log), `aside=files`; or `error: text`.
    #[serde(default)]
    pub(crate) members: BTreeMap<i32, String>,
}

fn empty() -> Value {
    json!({})
}
fn applied() -> String {
    "applied".to_owned()
}
fn present() -> String {
    "present".to_owned()
}

impl Situation {
    /// What a pass would observe.
    pub(crate) fn observed(&self) -> Observed {
        let mut metadata =
            json!({ "name": "zk", "namespace": "prod", "uid": "u", "generation": 1, "resourceVersion": "7" });
        merge(&mut metadata, &self.metadata);
        let ensemble: ZooKeeperEnsemble = serde_json::from_value(json!({
            "apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble",
            "metadata": metadata, "spec": self.spec, "status": self.status,
        }))
        .expect("the situation is an ensemble");
        let mut observed = observe(ensemble);
        observed.token = match self.token.as_str() {
            "present" => TokenState::Present(Token("t".to_owned())),
            "absent" => TokenState::Absent,
            reason => TokenState::Unusable(reason.to_owned()),
        };
        observed.claims = self.claims.iter().map(|(name, words)| claim(name, words)).collect();
        observed.classes = self.classes.clone();
        observed.pods = self.pods.iter().map(|(ordinal, words)| (*ordinal, pod(*ordinal, words))).collect();
        observed.nodes = self.nodes.iter().map(|(name, words)| (name.clone(), node(words))).collect();
        let read: Vec<String> = nodes_to_read(&observed.now, &observed.pods).into_iter().collect();
        assert_eq!(read, observed.nodes.keys().cloned().collect::<Vec<_>>(), "these nodes are read");
        if self.objects == "applied" {
            let mut before = observed.clone();
            let mut spec = self.spec.clone();
            merge(&mut spec, &self.made_with);
            before.ensemble.spec = serde_json::from_value(spec).expect("the patch leaves a spec");
            observed.objects = live_objects(&before);
        }
        for (object, patch) in &self.drift {
            let (kind, name) = object.split_once('/').expect("drift is by Kind/name");
            let live = observed.objects.iter_mut().find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
            let live = live.expect("drift names an object that exists");
            if patch.is_null() { *live = json!({}) } else { merge(live, patch) }
        }
        let hash = wanted_hash(&observed);
        observed.members =
            self.members.iter().map(|(ordinal, words)| (*ordinal, member(*ordinal, words, &hash))).collect();
        observed
    }
}

/// An observation of a resource and nothing else.
pub(crate) fn observe(ensemble: ZooKeeperEnsemble) -> Observed {
    Observed {
        now: Time(NOW.parse().expect("a timestamp")),
        ensemble,
        default_image: "zookeeper-ensemble:1".to_owned(),
        fresh: Identity { ensemble_id: "FRESH".to_owned(), token: Token("secret".to_owned()) },
        objects: Vec::new(),
        unusable: BTreeMap::new(),
        token: TokenState::Absent,
        pods: BTreeMap::new(),
        claims: Vec::new(),
        nodes: BTreeMap::new(),
        classes: BTreeMap::new(),
        members: BTreeMap::new(),
    }
}

/// The objects that the operator would have made; the StatefulSet is at revision `r`.
pub(crate) fn live_objects(observed: &Observed) -> Vec<Value> {
    let (Ok(ensemble), Ok(Some(founded))) = (validate(observed), Founded::of(observed.ensemble.status.as_ref())) else {
        return Vec::new();
    };
    let mut objects: Vec<Value> = build::build(&ensemble, &founded).into_iter().map(|object| object.manifest).collect();
    for object in objects.iter_mut().filter(|object| object["kind"] == "StatefulSet") {
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["uid"] = json!("uid-set");
        object["status"] = json!({ "updateRevision": "r", "observedGeneration": 1 });
    }
    objects
}

fn wanted_hash(observed: &Observed) -> String {
    match (validate(observed), Founded::of(observed.ensemble.status.as_ref())) {
        (Ok(ensemble), Ok(Some(founded))) => build::config_hash(&ensemble, &founded),
        _ => "none".to_owned(),
    }
}

fn claim(name: &str, words: &str) -> Claim {
    let (id, retired) = words.split_once(" retired=").map_or((words, None), |(id, stamp)| (id, Some(stamp)));
    let mut words = id.split(' ');
    // What the schema fills in.
    let size = if name.starts_with("data") { "10Gi" } else { "5Gi" };
    let mut claim = Claim {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        ensemble_id: words.next().map(str::to_owned),
        retired: retired.map(str::to_owned),
        owners: Vec::new(),
        bound: true,
        deleting: false,
        class: None,
        requested: Some(size.to_owned()),
        capacity: Some(size.to_owned()),
        resize: Resize::None,
    };
    for word in words {
        match word.split_once('=') {
            Some(("owner", uid)) => claim.owners.push(uid.to_owned()),
            None if word == "deleting" => claim.deleting = true,
            Some(("class", class)) => claim.class = Some(class.to_owned()),
            Some(("size", size)) => claim.requested = Some(size.to_owned()),
            Some(("actual", size)) => claim.capacity = Some(size.to_owned()),
            Some(("pending", time)) => claim.resize = Resize::FileSystemPending(at(time)),
            None if word == "resizing" => claim.resize = Resize::Running,
            None if word == "failed" => claim.resize = Resize::Failed("the provisioner's words".to_owned()),
            None if word == "unbound" => claim.bound = false,
            _ => panic!("a claim is not {word:?}"),
        }
    }
    claim
}

/// `version/voters/observers`, as a server reports it.
pub(crate) fn members(text: &str) -> MemberConfig {
    let mut parts = text.split('/');
    let version = parts.next().unwrap_or_default().to_owned();
    let mut lines = |role: &str| -> Vec<String> {
        let ids = parts.next().unwrap_or_default().split(',').filter(|id| !id.is_empty());
        ids.map(|id| format!("server.{id}=host-{id}:2888:3888:{role};0.0.0.0:2181")).collect()
    };
    let mut servers = lines("participant");
    servers.extend(lines("observer"));
    MemberConfig { version, pending: None, servers }
}

fn pod(ordinal: i32, words: &str) -> PodFacts {
    let (words, trouble) = words.split_once("trouble: ").map_or((words, None), |(words, text)| (words, Some(text)));
    let mut pod = PodFacts {
        name: format!("zk-{ordinal}"),
        uid: format!("uid-{ordinal}"),
        created_at: Some(at("11:00:00")),
        ready_turned: Some(at("11:00:05")),
        ran: true,
        ip: Some(format!("10.0.0.{ordinal}")),
        node: Some(format!("node-{ordinal}")),
        revision: Some("r".to_owned()),
        trouble: trouble.map(str::to_owned),
        ..PodFacts::default()
    };
    for word in words.split_whitespace() {
        match word.split_once('=') {
            Some(("revision", revision)) => pod.revision = Some(revision.to_owned()),
            Some(("made", time)) => pod.created_at = Some(at(time)),
            Some(("rolled", time)) => pod.rolled_out_at = Some(time.to_owned()),
            Some(("turned", time)) => pod.ready_turned = Some(at(time)),
            Some(("due", time)) => (pod.deleting, pod.deletion_due) = (true, Some(at(time))),
            None if word == "unstarted" => pod.ran = false,
            None if word == "volume-elsewhere" => pod.volume_bound_elsewhere = true,
            Some(("exit", code)) => pod.exit_code = Some(code.parse().expect("an exit code")),
            None if word == "ready" => pod.ready = true,
            None if word == "deleting" => pod.deleting = true,
            None if word == "running" => {}
            _ => panic!("a pod is not {word:?}"),
        }
    }
    pod
}

fn node(words: &str) -> NodeFacts {
    let has = |word: &str| words.split_whitespace().any(|w| w == word);
    NodeFacts { exists: !has("gone"), ready: has("ready"), out_of_service: has("off") }
}

/// A time on the day of [`NOW`].
fn at(time: &str) -> Time {
    Time(format!("2030-01-01T{time}Z").parse().expect("a time of day"))
}

fn member(ordinal: i32, words: &str, config_hash: &str) -> Result<MemberStatus, String> {
    if let Some(error) = words.strip_prefix("error: ") {
        return Err(error.to_owned());
    }
    let (state, words) = words.split_once(' ').unwrap_or((words, ""));
    let (role, store_state, bootstrap) = match state {
        "awaiting-grant" => (Role::Looking, StoreState::Uninitialized, BootstrapState::AwaitingGrant),
        "granted" => (Role::Looking, StoreState::Uninitialized, BootstrapState::Granted),
        "looking" => (Role::Looking, StoreState::Syncing, BootstrapState::Closed),
        "syncing" => (Role::Following, StoreState::Syncing, BootstrapState::Closed),
        "following" => (Role::Following, StoreState::Synced, BootstrapState::Closed),
        "observing" => (Role::Observing, StoreState::Synced, BootstrapState::Closed),
        "leading" => (Role::Leading, StoreState::Synced, BootstrapState::Closed),
        _ => panic!("a member is not {state:?}"),
    };
    let mut status = MemberStatus {
        version: "1.0.0".to_owned(),
        myid: ordinal + 1,
        ensemble_id: Some(ENSEMBLE.to_owned()),
        volume_id: Some(format!("v{ordinal}")),
        role,
        leader: (role == Role::Leading).then_some(ordinal + 1),
        epoch: 1,
        logged_zxid: Some(if store_state == StoreState::Uninitialized { "0x0" } else { "0x100000009" }.to_owned()),
        store_state,
        store: StoreFacts::default(),
        config_hash: Some(config_hash.to_owned()),
        config: members("0x0/1,2,3"),
        bootstrap,
    };
    for word in words.split_whitespace() {
        match word.split_once('=').expect("words are key=value") {
            ("version", version) => status.version = version.to_owned(),
            ("format", format) => status.store.format_version = Some(format.parse().expect("a number")),
            ("volume", volume) => status.volume_id = Some(volume.to_owned()),
            ("leader", leader) => status.leader = Some(leader.parse().expect("an id")),
            ("myid", myid) => status.myid = myid.parse().expect("an id"),
            ("ensemble", id) => status.ensemble_id = Some(id.to_owned()),
            ("members", text) => status.config = members(text),
            ("pending", version) => status.config.pending = Some(version.to_owned()),
            ("epoch", epoch) => status.epoch = epoch.parse().expect("an epoch"),
            ("logged", "none") => status.logged_zxid = None,
            ("logged", zxid) => status.logged_zxid = Some(zxid.to_owned()),
            ("aside", files) => status.store.set_aside = Some(files.to_owned()),
            ("config", hash) => status.config_hash = Some(hash.to_owned()),
            _ => panic!("a member has no {word:?}"),
        }
    }
    Ok(status)
}

/// JSON merge patch (RFC 7396).
pub(crate) fn merge(value: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (key, patch) in patch {
        if patch.is_null() {
            value.as_object_mut().expect("made an object above").remove(key);
        } else {
            merge(&mut value[key], patch);
        }
    }
}

/// What a server answered.
pub(crate) fn said(observed: &Observed, ordinal: i32) -> Option<&MemberStatus> {
    observed.members.get(&ordinal).and_then(|answer| answer.as_ref().ok())
}

/// Whether a voter follows this leader, or is it, and holds its history, in a pod that stays.
pub(crate) fn serves(observed: &Observed, ordinal: i32, leader: i32) -> bool {
    let pod = observed.pods.get(&ordinal).is_some_and(|pod| pod.ready && !pod.deleting);
    let server = said(observed, ordinal).is_some_and(|status| match status.role {
        Role::Leading => ordinal == leader,
        Role::Following => status.leader == Some(leader + 1) && status.store_state.as_str() == "synced",
        Role::Looking | Role::Observing | Role::Standalone => false,
    });
    pod && server
}
