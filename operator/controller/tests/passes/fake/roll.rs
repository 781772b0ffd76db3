//! What a StatefulSet with `OnDelete` makes its pods from, and how they go: by eviction, under a budget of one, or by deletion. What
//! must never happen to a healthy voter is asserted here.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use super::{ENSEMBLE, World};

/// What a pod was made from.
#[derive(Clone, Debug)]
pub struct Made {
    pub uid: String,
    pub revision: String,
    /// Its image does not exist.
    pub bad: bool,
    /// The annotations of the template.
    annotations: Value,
}

const SET: &str = "statefulsets/zk";

impl World {
    /// Applies the StatefulSet. Annotations of the template that are somebody else's stay.
    pub fn apply_set(&mut self, body: &Value) -> Value {
        let mut object = body.clone();
        if let Some(live) = self.objects.get(SET) {
            assert_eq!(
                object["spec"]["volumeClaimTemplates"], live["spec"]["volumeClaimTemplates"],
                "they are immutable"
            );
            object["metadata"]["uid"] = live["metadata"]["uid"].clone();
            object["status"] = live["status"].clone();
            object["metadata"]["generation"] = live["metadata"]["generation"].clone();
            let annotations = |set: &Value| set["spec"]["template"]["metadata"]["annotations"].as_object().cloned();
            for (key, value) in annotations(live).unwrap_or_default() {
                if !key.starts_with("zookeeper.ensemble.rs/") {
                    object["spec"]["template"]["metadata"]["annotations"][key] = value;
                }
            }
        }
        self.put_set(object)
    }

    /// `kubectl rollout restart statefulset/zk`
    pub fn kubectl_rollout_restart(&mut self, time: &str) {
        let mut object = self.objects[SET].clone();
        object["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = json!(time);
        self.put_set(object);
    }

    /// The controller of StatefulSets sees every template at once.
    fn put_set(&mut self, mut object: Value) -> Value {
        if object["metadata"]["uid"].is_null() {
            self.sets_made += 1;
            object["metadata"]["uid"] = json!(format!("set-{}", self.sets_made));
        }
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        let mut hasher = DefaultHasher::new();
        object["spec"]["template"].to_string().hash(&mut hasher);
        object["metadata"]["generation"] = json!(generation);
        object["status"]["observedGeneration"] = json!(generation);
        object["status"]["updateRevision"] = json!(format!("zk-{:x}", hasher.finish()));
        self.put(SET, object)
    }

    fn newest(&mut self) -> Made {
        let set = &self.objects[SET];
        let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        let bad = image.ends_with(":none");
        let revision = set["status"]["updateRevision"].as_str().expect("a revision").to_owned();
        let annotations = set["spec"]["template"]["metadata"]["annotations"].clone();
        self.pods_made += 1;
        Made { uid: format!("pod-{}", self.pods_made), revision, bad, annotations }
    }

    /// The pods with what they were made from.
    pub fn made(&mut self, mut pods: Vec<Value>) -> Vec<Value> {
        let gone =
            |servers: &std::collections::BTreeMap<i32, super::Server>, ordinal: i32| !servers.contains_key(&ordinal);
        let servers = self.servers.clone();
        self.made.retain(|ordinal, _| !gone(&servers, *ordinal));
        for pod in &mut pods {
            let name = pod["metadata"]["name"].as_str().expect("a name");
            let ordinal: i32 =
                name.strip_prefix("zk-").and_then(|ordinal| ordinal.parse().ok()).expect("a pod of ours");
            if !self.made.contains_key(&ordinal) {
                let made = self.newest();
                if made.bad {
                    self.servers.get_mut(&ordinal).expect("it has a server").up = false;
                }
                self.made.insert(ordinal, made);
            }
            let made = &self.made[&ordinal];
            pod["metadata"]["uid"] = json!(made.uid);
            pod["metadata"]["annotations"] = made.annotations.clone();
            pod["metadata"]["creationTimestamp"] = json!("2020-01-01T00:00:00Z");
            pod["metadata"]["labels"] = json!({ "controller-revision-hash": made.revision });
            pod["status"]["conditions"][0]["lastTransitionTime"] = json!("2020-01-01T00:00:00Z");
            if made.bad {
                pod["status"]["conditions"][0]["status"] = json!("False");
            }
            let state = if made.bad {
                json!({ "waiting": { "reason": "ImagePullBackOff" } })
            } else {
                json!({ "running": {} })
            };
            if pod["status"]["containerStatuses"].is_null() {
                pod["status"]["containerStatuses"] = json!([{
                    "name": "zookeeper", "image": "", "imageID": "", "ready": !made.bad, "restartCount": 0, "state": state,
                }]);
            }
        }
        pods
    }

    /// Its pods stay, and belong to the next one.
    pub fn delete_set(&mut self, body: &Value) -> (u16, Value) {
        let Some(set) = self.objects.get(SET) else { return (404, Value::Null) };
        assert_eq!(body["propagationPolicy"], "Orphan", "the pods would go too");
        if set["metadata"]["uid"] != body["preconditions"]["uid"] {
            return (409, json!("Conflict"));
        }
        self.objects.remove(SET);
        (200, json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }))
    }

    pub fn evict(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let ordinal = ordinal_of(path);
        if self.made[&ordinal].uid != body["deleteOptions"]["preconditions"]["uid"] {
            return (409, json!("Conflict"));
        }
        let serves = |ordinal: &i32| self.servers.get(ordinal).is_some_and(|server| server.up && server.synced);
        if self.configuration.voters.contains(&ordinal) && serves(&ordinal) {
            let rest: Vec<i32> = self.configuration.voters.iter().copied().filter(|other| *other != ordinal).collect();
            assert!(rest.iter().all(&serves), "zk-{ordinal} is evicted while not all of {rest:?} serve");
            let strategy = &self.objects[ENSEMBLE]["spec"]["updateStrategy"];
            assert!(strategy["mode"] != "Swap", "zk-{ordinal} votes and serves, and is evicted");
            assert!(rest.len() != 2 || rest.iter().any(|other| Some(*other) == self.leader), "the leader is evicted");
        }
        if serves(&ordinal) && !self.servers.keys().all(serves) {
            return (429, json!("Cannot evict pod as it would violate the pod's disruption budget."));
        }
        self.replace(ordinal);
        (201, json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }))
    }

    pub fn delete_pod(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let ordinal = ordinal_of(path);
        if self.made[&ordinal].uid != body["preconditions"]["uid"] {
            return (409, json!("Conflict"));
        }
        if body["gracePeriodSeconds"] == 0 {
            let node = &self.objects[&format!("nodes/node-{ordinal}")];
            let is_off = node["spec"]["taints"][0]["key"] == "node.kubernetes.io/out-of-service"
                && node["status"]["conditions"][0]["status"] != "True";
            assert!(is_off, "zk-{ordinal} is deleted by force, and {node} may run it");
            self.stuck.remove(&ordinal).expect("its end was asked for");
        } else if !self.objects.contains_key(SET) && ["Stopping", "Starting"].contains(&&*self.phase()) {
            let mut server = self.servers.remove(&ordinal).expect("it is there");
            (server.synced, server.granted) = (false, false);
            self.idle.insert(ordinal, server);
            return (200, json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }));
        } else {
            let refuses = !self.servers[&ordinal].up && self.phase() == "Emptying";
            assert!(self.made[&ordinal].bad || refuses, "zk-{ordinal} ran, and is deleted");
        }
        self.replace(ordinal);
        (200, json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }))
    }

    /// A claim goes at once, or when its pod does. That of a member goes only while all other voters serve, and one of them leads.
    ///
    /// During a recovery those of the others go when the first member of the new ensemble serves, those of one that did not come up when nobody runs, and only
    /// those that are recorded.
    pub fn delete_claim(&mut self, path: &str, ordinal: i32) {
        let recovery = self.recovery();
        if recovery["phase"].is_string() && recovery["phase"] != "Finished" {
            let member = recovery["member"].as_i64().and_then(|member| i32::try_from(member).ok()).expect("an ordinal");
            let uid = &self.objects[path]["metadata"]["uid"];
            let is_recorded = recovery["claims"].as_array().into_iter().flatten().any(|claim| claim["uid"] == *uid);
            assert!(is_recorded && ordinal != member, "{path} ({uid}) is deleted: {recovery}");
            let serves = recovery["phase"] == "Emptying" && self.serves(member) && self.leader == Some(member);
            // Who was chosen before goes before anybody starts.
            let is_abandoned = recovery["phase"] == "Stopping" && recovery["abandoned"]["member"] == ordinal;
            assert!(serves || (is_abandoned && self.servers.is_empty()), "{path} is deleted: {recovery}");
            self.given_up.push(path.to_owned());
            if self.servers.contains_key(&ordinal) {
                self.edit(path, |claim| claim["metadata"]["deletionTimestamp"] = json!("2020-01-02T00:00:00Z"));
            } else {
                self.objects.remove(path);
            }
            return;
        }
        if !self.servers.contains_key(&ordinal) {
            self.objects.remove(path);
            return;
        }
        let voters = &self.configuration.voters;
        let rest: Vec<i32> = voters.iter().copied().filter(|other| *other != ordinal).collect();
        assert!(rest.iter().all(|other| self.serves(*other)), "{path} is deleted while not all of {rest:?} serve");
        assert!(rest.len() > voters.len() / 2, "{path} is deleted, and {rest:?} are no majority");
        assert!(self.leader.is_some_and(|leader| leader != ordinal), "{path} of the leader is deleted");
        self.edit(path, |claim| claim["metadata"]["deletionTimestamp"] = json!("2020-01-02T00:00:00Z"));
        self.rebuilt.push(path.to_owned());
    }

    /// The pod goes, and the StatefulSet makes it anew on its volumes: new ones, where its claims were deleted.
    pub fn replace(&mut self, ordinal: i32) {
        self.replaced.push(ordinal);
        let claims = ["data", "txnlog"].map(|volume| format!("persistentvolumeclaims/{volume}-zk-{ordinal}"));
        let is_going = |claim: &&String| {
            self.objects.get(*claim).is_some_and(|claim| !claim["metadata"]["deletionTimestamp"].is_null())
        };
        let going = claims.iter().filter(is_going).count();
        assert!(going != 1, "zk-{ordinal} would come back with one of its volumes");
        if going > 0 {
            for claim in claims {
                let mut anew = self.objects[&claim].clone();
                self.volumes_drawn += 1;
                anew["metadata"]["uid"] = json!(format!("{claim}-{}", self.volumes_drawn));
                anew["metadata"]["annotations"]["zookeeper.ensemble.rs/ensemble-id"] = json!(self.ensemble_id());
                anew["metadata"].as_object_mut().expect("metadata").remove("deletionTimestamp");
                self.put(&claim, anew);
            }
            self.new_volume(ordinal);
        }
        let made = self.newest();
        let server = self.servers.get_mut(&ordinal).expect("it has a server");
        (server.up, server.synced) = (!made.bad, false);
        self.made.insert(ordinal, made);
    }
}

fn ordinal_of(path: &str) -> i32 {
    let name = path.split('/').nth(1).unwrap_or_default();
    name.strip_prefix("zk-").and_then(|ordinal| ordinal.parse().ok()).expect("a pod of ours")
}
