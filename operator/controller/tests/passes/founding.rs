//! The founding of an ensemble through a whole operator, against a cluster in memory, with something going wrong at
//! each of its mutating calls in turn.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use operator_controller::lead::Ended;
use operator_controller::manifests;
use operator_controller::reconcile::{Error, reconcile};
use operator_core::plan::Next;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::fake::{Disturbance, ENSEMBLE, FAULTS, Fake, at_any_call};

/// What must hold after any founding.
fn founded_once(fake: &Fake, case: &str) {
    let status = fake.status();
    assert_eq!(status["bootstrap"]["phase"], "Complete", "{case}: {status}");
    let ready = status["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == "Ready");
    assert_eq!(ready.map(|ready| &ready["status"]), Some(&json!("True")), "{case}: {status}");
    let world = fake.world();
    assert_eq!(world.identities.len(), 1, "{case}: {:?}", world.identities);
    for (ordinal, volumes) in &world.granted {
        assert_eq!(volumes.len(), 1, "{case}: ordinal {ordinal} was granted for {volumes:?}");
        let recorded = &status["bootstrap"]["volumes"][ordinal.to_string()];
        assert_eq!(json!(volumes.first()), *recorded, "{case}: granted for what is not recorded");
    }
}

#[tokio::test]
async fn every_size_is_founded() {
    for replicas in [1, 3, 5, 7] {
        let fake = Fake::new(&json!({ "replicas": replicas }));
        fake.settle().await;
        founded_once(&fake, &format!("{replicas} replicas"));
        let voters = replicas.min(5);
        assert_eq!(fake.status()["syncedVoters"], voters);
        assert_eq!(fake.status()["observers"], replicas - voters);
        assert_eq!(fake.world().granted.len(), usize::try_from(voters).expect("few"));
    }
}

/// The identity is recorded before anything else, the volumes before any grant, and the end after the grants.
#[tokio::test]
async fn facts_are_recorded_before_what_follows_from_them() {
    let fake = Fake::new(&json!({}));
    fake.settle().await;
    let calls = fake.world().calls.clone();
    assert_eq!(calls[0], "update zookeeperensembles/zk/status");
    assert_eq!(calls[1], "create secrets");
    let set = calls.iter().position(|call| call == "patch statefulsets/zk").expect("a StatefulSet");
    let secret = calls.iter().position(|call| call == "create secrets").expect("a Secret");
    let config = calls.iter().position(|call| call == "patch configmaps/zk-config").expect("a ConfigMap");
    let grant = calls.iter().position(|call| call.starts_with("grant")).expect("a grant");
    assert!(secret < set && config < set && set < grant, "{calls:?}");
    assert_eq!(calls[grant - 1], "update zookeeperensembles/zk/status", "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.starts_with("grant")).count(), 3, "{calls:?}");
}

/// A fault at each mutating call: death before it, death after it, a conflict, throttling, an error, a lost answer.
#[tokio::test]
async fn a_fault_at_any_call_is_harmless() {
    async fn founded(fault: Disturbance) -> (Fake, usize) {
        let fake = Fake::new(&json!({}));
        let before = fake.disturb(fault);
        fake.settle().await;
        founded_once(&fake, &format!("{fault:?}"));
        (fake, before)
    }
    at_any_call(&FAULTS, founded, |calls| {
        assert!(calls.len() >= 14, "{calls:?}");
        calls.len()
    })
    .await;
}

/// When it is done, passes write nothing.
#[tokio::test]
async fn an_ensemble_at_rest_is_not_written_to() {
    let fake = Fake::new(&json!({ "resources": { "requests": { "cpu": "1000m" } } }));
    fake.settle().await;
    fake.settle().await;
    let before = fake.world().calls.len();
    for _ in 0..3 {
        fake.settle().await;
    }
    let world = fake.world();
    assert_eq!(world.calls.len(), before, "{:?}", world.calls);
}

/// A volume that is lost after its grant, before the end: its ordinal is not granted again, and the ensemble is founded
/// by the others.
#[tokio::test]
async fn a_volume_lost_after_its_grant_is_not_granted_again() {
    let fake = Fake::new(&json!({}));
    while fake.world().granted.len() < 3 {
        fake.pass().await.expect("alive").expect("no fault");
    }
    fake.world().new_volume(1);
    fake.settle().await;
    founded_once(&fake, "volume lost");
    let world = fake.world();
    assert!(!world.servers[&1].granted && world.servers[&1].synced, "it took the leader's history");
}

/// After the end: an empty volume is never granted, however often it asks.
#[tokio::test]
async fn a_volume_lost_after_the_end_is_resynced() {
    let fake = Fake::new(&json!({}));
    fake.settle().await;
    let calls = fake.world().calls.len();
    fake.world().new_volume(2);
    for _ in 0..5 {
        assert_eq!(fake.pass().await.expect("alive").expect("no fault"), Next::Soon);
    }
    fake.settle().await;
    let world = fake.world();
    assert!(!world.calls[calls..].iter().any(|call| call.starts_with("grant")), "{:?}", &world.calls[calls..]);
    assert!(world.events.iter().any(|reason| reason == "MemberResynced"), "{:?}", world.events);
    assert_eq!(world.granted[&2].len(), 1);
}

/// A connection that has gone silent holds an ensemble up for a minute, not for good.
#[tokio::test(start_paused = true)]
async fn a_pass_ends_when_nothing_answers() {
    let fake = Fake::new(&json!({}));
    let ensemble = serde_json::from_value(fake.world().objects[ENSEMBLE].clone()).expect("an ensemble");
    fake.world().cut.insert("operator".to_owned());
    let began = Instant::now();
    let result = reconcile(Arc::new(ensemble), Arc::new(fake.context("operator"))).await;
    assert!(matches!(result, Err(Error::Silence)), "{result:?}");
    assert_eq!(began.elapsed(), Duration::from_secs(60));
}

/// What the manifests grant is what a whole operator uses: nothing is missing, and nothing is there for no reason.
#[tokio::test(start_paused = true)]
async fn rights_are_those_that_are_used() {
    let fake = Fake::new(&json!({ "storage": { "reclaimPolicy": { "onScaleDown": "Delete" } } }));
    let running = fake.start("operator");
    for replicas in [3, 5, 3] {
        fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["replicas"] = json!(replicas));
        for _ in 0..60 {
            sleep(Duration::from_secs(1)).await;
            fake.world().servers_turn();
        }
    }
    for tag in [json!({ "repository": "r", "tag": "none" }), Value::Null] {
        fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["image"] = tag);
        for _ in 0..60 {
            sleep(Duration::from_secs(1)).await;
            fake.world().servers_turn();
        }
    }
    // The class of a claim is looked at, and the StatefulSet made anew, when volumes are to grow.
    fake.world().edit(ENSEMBLE, |ensemble| {
        ensemble["spec"]["storage"]["data"] = json!({ "size": "20Gi" });
    });
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        fake.world().servers_turn();
        fake.world().provisioner_turns();
    }
    // The node of a pod is looked at when the pod does not end.
    fake.world().put("nodes/node-2", json!({ "metadata": { "name": "node-2" } }));
    fake.world().stuck.insert(2, "2020-01-01T00:00:00Z".to_owned());
    sleep(Duration::from_secs(60)).await;
    fake.world().stuck.clear();
    sleep(Duration::from_secs(60)).await;
    // What Prometheus and Grafana are given, and given no more.
    for wanted in [true, false] {
        let monitoring = json!({ "podMonitor": wanted, "rules": wanted, "dashboard": wanted });
        fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["monitoring"] = monitoring);
        sleep(Duration::from_secs(60)).await;
    }
    running.stop.send(()).expect("it runs");
    assert_eq!(running.task.await.expect("it ends").0, Ended::Stopped);
    assert_eq!(fake.status()["bootstrap"]["phase"], "Complete");
    assert_eq!(fake.condition("ReplicasApplied")["status"], "True");
    let used = fake.world().rights.clone();
    let mut granted =
        rights(&[manifests::namespaced_rules(), manifests::cluster_rules(), manifests::lease_rules()].concat());
    // Asked for by an admission plugin that not every cluster runs.
    granted.remove("zookeeper.ensemble.rs/zookeeperensembles/finalizers:update");
    assert_eq!(granted, used);
}

fn rights(rules: &[Value]) -> BTreeSet<String> {
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let mut all = BTreeSet::new();
    for rule in rules {
        for (group, resource, verb) in
            product(&strings(&rule["apiGroups"]), &strings(&rule["resources"]), &strings(&rule["verbs"]))
        {
            all.insert(format!("{group}/{resource}:{verb}"));
        }
    }
    all
}

/// Every combination of a group, a resource and a verb.
fn product<'a>(a: &'a [String], b: &'a [String], c: &'a [String]) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    a.iter().flat_map(move |a| b.iter().flat_map(move |b| c.iter().map(move |c| (a.as_str(), b.as_str(), c.as_str()))))
}
