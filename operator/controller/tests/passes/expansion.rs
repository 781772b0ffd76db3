//! Volumes that grow, through the operator's passes, with something going wrong at each of its mutating calls in turn. What must never
//! happen is asserted by the fake: a StatefulSet that takes its pods along, or whose templates of claims are changed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fake::{CLASS, Disturbance, ENSEMBLE, FAULTS, Fake, at_any_call};

fn grow(fake: &Fake) {
    fake.world().edit(ENSEMBLE, |ensemble| {
        ensemble["spec"]["storage"] = json!({ "data": { "size": "20Gi" }, "txnLog": { "size": "8Gi" } });
    });
}

/// What the claims ask for and have, by name.
fn sizes(fake: &Fake) -> BTreeMap<String, (Value, Value)> {
    let world = fake.world();
    let claims = world.objects.iter().filter_map(|(path, claim)| {
        let name = path.strip_prefix("persistentvolumeclaims/")?;
        let requested = claim["spec"]["resources"]["requests"]["storage"].clone();
        Some((name.to_owned(), (requested, claim["status"]["capacity"]["storage"].clone())))
    });
    claims.collect()
}

/// The templates of the StatefulSet, the claims and the status agree on the new sizes.
fn has_grown(fake: &Fake, pods: usize, case: &str) {
    let sizes = sizes(fake);
    assert_eq!(sizes.len(), 2 * pods, "{case}");
    for (claim, (requested, capacity)) in sizes {
        let wanted = if claim.starts_with("data") { "20Gi" } else { "8Gi" };
        assert_eq!([&requested, &capacity], [wanted, wanted], "{case}: {claim}");
    }
    let set = fake.world().objects["statefulsets/zk"].clone();
    let templates = set["spec"]["volumeClaimTemplates"].as_array().expect("templates").clone();
    let templates: Vec<&str> =
        templates.iter().filter_map(|t| t["spec"]["resources"]["requests"]["storage"].as_str()).collect();
    assert_eq!(templates, ["20Gi", "8Gi"], "{case}");
    assert_eq!(fake.condition("StorageHealthy")["status"], "True", "{case}");
    let storage = fake.status()["storage"].clone();
    let told = json!({ "claim": "data-zk-0", "requested": "20Gi", "actual": "20Gi", "phase": "Bound" });
    assert_eq!((&storage[0], storage.as_array().map(Vec::len)), (&told, Some(2 * pods)), "{case}");
}

#[tokio::test]
async fn volumes_grow_and_no_pod_notices() {
    async fn grown(fault: Disturbance) -> (Fake, usize) {
        let fake = Fake::new(&json!({}));
        fake.settle().await;
        let begun = fake.disturb(fault);
        grow(&fake);
        fake.settle().await;
        has_grown(&fake, 3, &format!("{fault:?}"));
        assert_eq!(fake.world().replaced, Vec::<i32>::new(), "{fault:?}: pods were restarted");
        assert_eq!(fake.condition("Ready")["status"], "True", "{fault:?}");
        (fake, begun)
    }
    at_any_call(&FAULTS, grown, |calls| {
        let acts: Vec<&str> = calls.iter().map(String::as_str).filter(|call| call.contains("statefulsets")).collect();
        assert_eq!(acts, ["delete statefulsets/zk", "patch statefulsets/zk"]);
        calls.len()
    })
    .await;
}

/// A file system that grows only when it is mounted: the pods are restarted one at a time, the leader last, as by any restart.
#[tokio::test]
async fn a_file_system_that_waits_gets_its_restart() {
    let fake = Fake::new(&json!({}));
    fake.settle().await;
    fake.world().offline = true;
    grow(&fake);
    fake.settle().await;
    has_grown(&fake, 3, "offline");
    assert_eq!(fake.world().replaced, [2, 1, 0]);
    assert!(fake.world().events.iter().any(|reason| reason == "LeaderHandOff"));
}

/// Nothing of the volumes is touched, everything else goes on, and it is made up for when the class allows it.
#[tokio::test]
async fn a_class_that_does_not_expand_stops_nothing_else() {
    let fake = Fake::new(&json!({}));
    fake.world().edit(CLASS, |class| class["allowVolumeExpansion"] = json!(false));
    fake.settle().await;
    let (before, calls) = (sizes(&fake), fake.world().calls.len());
    grow(&fake);
    fake.settle().await;
    let condition = fake.condition("StorageHealthy");
    assert_eq!([&condition["status"], &condition["reason"]], ["False", "ExpansionUnsupported"]);
    let message = condition["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("storage class standard of claim data-zk-0 does not allow expansion"), "{message}");
    assert_eq!(sizes(&fake), before);
    let calls = fake.world().calls[calls..].to_vec();
    assert!(calls.iter().all(|call| call.ends_with("/status")), "{calls:?}");
    assert!(fake.world().events.iter().any(|reason| reason == "ExpansionUnsupported"));
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["replicas"] = json!(5));
    fake.settle().await;
    assert_eq!(fake.status()["voters"], 5);
    assert_eq!(sizes(&fake)["data-zk-4"].0, "10Gi");
    fake.world().edit(CLASS, |class| class["allowVolumeExpansion"] = json!(true));
    fake.settle().await;
    has_grown(&fake, 5, "allowed");
}

/// A quota says no: that is told, and keeps nobody from being looked after.
#[tokio::test]
async fn a_refused_expansion_is_told() {
    let fake = Fake::new(&json!({}));
    fake.settle().await;
    fake.world().refusal = Some(("persistentvolumeclaims/data-zk-1".to_owned(), 403));
    grow(&fake);
    for _ in 0..5 {
        fake.pass().await.expect("alive").expect("no fault");
        fake.world().provisioner_turns();
    }
    assert!(fake.world().notes.iter().any(|note| note == "data-zk-1 is not expanded: the API server's words"));
    let condition = fake.condition("StorageHealthy");
    assert_eq!([&condition["reason"], &condition["message"]], ["Resizing", "data-zk-1: more room was asked for"]);
    assert!(fake.world().objects.contains_key("statefulsets/zk"));
    fake.world().refusal = None;
    fake.settle().await;
    has_grown(&fake, 3, "allowed");
}

/// `kubectl delete statefulset zk --cascade=orphan`: it is made again, and no pod is restarted for it.
#[tokio::test]
async fn an_orphaned_ensemble_gets_its_stateful_set_back() {
    let fake = Fake::new(&json!({}));
    fake.settle().await;
    fake.world().kubectl_rollout_restart("2029-12-31T00:00:00Z");
    fake.settle().await;
    fake.world().replaced.clear();
    fake.world().objects.remove("statefulsets/zk");
    fake.settle().await;
    assert!(fake.world().objects.contains_key("statefulsets/zk"));
    assert_eq!(fake.world().replaced, Vec::<i32>::new());
    assert_eq!(fake.condition("Ready")["status"], "True");
}
