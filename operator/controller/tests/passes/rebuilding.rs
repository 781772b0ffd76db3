//! Rebuilds of members through the operator's passes, against a cluster in memory, with something going wrong at each of their
//! mutating calls in turn. What must never happen is asserted by the fake: the claim of a voter is deleted while another voter does
//! not serve, or while it leads, or the others are no majority; a pod comes back with one of its two volumes.

use operator_api::names;
use serde_json::{Value, json};

use crate::fake::{Disturbance, ENSEMBLE, FAULTS, Fake, Fault, at_any_call, contain};

async fn founded(replicas: i32) -> Fake {
    let fake = Fake::new(&json!({ "replicas": replicas }));
    fake.settle().await;
    fake
}

/// `kubectl annotate zke zk zookeeper.ensemble.rs/rebuild=…`, or its removal.
fn ask(fake: &Fake, value: Option<&str>) {
    fake.world().edit(ENSEMBLE, |ensemble| {
        ensemble["metadata"]["annotations"] = match value {
            Some(value) => json!({ names::rebuild_annotation(): value }),
            None => json!({}),
        };
    });
}

fn volume(fake: &Fake, ordinal: i32) -> String {
    fake.world().servers[&ordinal].volume.clone()
}

fn rebuilt(fake: &Fake, ordinal: i32, case: &str) {
    for (condition, status) in [("Rebuilt", "True"), ("Ready", "True"), ("Progressing", "False")] {
        let got = fake.condition(condition);
        assert_eq!(got["status"], status, "{case}: {got}");
    }
    let record = fake.status()["rebuild"].clone();
    assert_eq!(record["ordinal"], ordinal, "{case}");
    assert_ne!(record["finishedAt"], Value::Null, "{case}");
    let claims = ["data", "txnlog"].map(|volume| format!("persistentvolumeclaims/{volume}-zk-{ordinal}"));
    assert_eq!(fake.world().rebuilt, claims, "{case}: each claim goes once");
}

#[tokio::test]
async fn a_member_is_rebuilt_once_and_the_leader_after_a_hand_off() {
    for (replicas, ordinal, leader) in [(3, 2, 0), (3, 0, 0), (5, 1, 3), (4, 3, 0)] {
        let fake = founded(replicas).await;
        fake.world().leader = Some(leader);
        let before = volume(&fake, ordinal);
        let calls = fake.world().calls.len();
        ask(&fake, Some(&ordinal.to_string()));
        fake.settle().await;
        // The annotation is still there, and nothing happens any more.
        fake.settle().await;
        let case = format!("{ordinal} of {replicas}");
        rebuilt(&fake, ordinal, &case);
        assert_ne!(volume(&fake, ordinal), before, "{case}");
        let world = fake.world();
        assert_eq!(world.replaced, [ordinal], "{case}");
        let transfers = world.calls[calls..].iter().filter(|call| *call == "transfer").count();
        assert_eq!(transfers, usize::from(ordinal == leader), "{case}");
        for reason in ["RebuildBegins", "ClaimsDeleted", "MemberResynced", "MemberRebuilt"] {
            assert!(world.events.iter().any(|event| event == reason), "{case}: no {reason} in {:?}", world.events);
        }
    }
}

/// The same member again: the annotation was away in between.
#[tokio::test]
async fn the_same_member_is_rebuilt_again_on_a_new_request() {
    let fake = founded(3).await;
    ask(&fake, Some("2"));
    fake.settle().await;
    ask(&fake, None);
    fake.settle().await;
    assert_eq!(fake.status()["rebuild"], Value::Null);
    assert_eq!(fake.condition("Rebuilt"), Value::Null);
    fake.world().rebuilt.clear();
    ask(&fake, Some("2"));
    fake.settle().await;
    rebuilt(&fake, 2, "again");
    // And another one without a pause.
    fake.world().rebuilt.clear();
    ask(&fake, Some("1"));
    fake.settle().await;
    rebuilt(&fake, 1, "another");
}

#[tokio::test]
async fn a_fault_at_any_call_is_harmless() {
    async fn rebuild(fault: Disturbance) -> (Fake, usize) {
        let fake = founded(3).await;
        let before = fake.disturb(fault);
        ask(&fake, Some("0"));
        fake.settle().await;
        rebuilt(&fake, 0, &format!("{fault:?}"));
        assert_eq!(fake.world().replaced, [0], "{fault:?}");
        (fake, before)
    }
    let wanted = [
        "transfer",
        "delete persistentvolumeclaims/data-zk-0",
        "delete persistentvolumeclaims/txnlog-zk-0",
        "create pods/zk-0/eviction",
    ];
    at_any_call(&FAULTS, rebuild, |calls| {
        contain(calls, &wanted);
        calls.len()
    })
    .await;
}

/// Between its claims and its pod another voter goes: the pod stays, and so does the size, until that one is back.
#[tokio::test]
async fn a_voter_that_goes_meanwhile_stops_it() {
    let fake = founded(3).await;
    ask(&fake, Some("2"));
    fake.pass().await.expect("alive").expect("no fault");
    let calls = fake.world().calls.len();
    // The operator dies before it asks for the eviction.
    fake.world().fault = Some((calls + 2, Fault::CrashBefore));
    assert!(fake.pass().await.is_none(), "{:?}", fake.world().calls);
    assert_eq!(fake.world().rebuilt.len(), 2);
    fake.world().servers.get_mut(&1).expect("a server").up = false;
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["replicas"] = json!(1));
    for _ in 0..5 {
        fake.pass().await.expect("alive").expect("no fault");
    }
    assert!(fake.world().replaced.is_empty());
    assert_eq!(fake.world().configuration.voters.len(), 3);
    assert_eq!(fake.condition("Progressing")["reason"], "Rebuilding");
    fake.world().servers.get_mut(&1).expect("a server").up = true;
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["replicas"] = json!(3));
    fake.settle().await;
    rebuilt(&fake, 2, "the other is back");
}

/// A drain that takes the pod first, and a budget that refuses it: the rebuild ends all the same, with one new pair of volumes.
#[tokio::test]
async fn it_shares_the_pods_with_a_drain() {
    let fake = founded(3).await;
    fake.world().refusal = Some(("pods/zk-2/eviction".to_owned(), 429));
    ask(&fake, Some("2"));
    for _ in 0..5 {
        fake.pass().await.expect("alive").expect("429 is no error");
    }
    assert!(fake.world().replaced.is_empty());
    fake.world().replace(2);
    fake.world().refusal = None;
    fake.settle().await;
    rebuilt(&fake, 2, "drained");
    assert_eq!(fake.world().replaced, [2]);
}

/// A request that cannot be met says why, once, and nothing of anybody's is touched.
#[tokio::test]
async fn what_is_refused_is_told() {
    for (spec, value, reason) in [
        (json!({ "replicas": 1 }), "0", "RebuildRefused"),
        (json!({}), "3", "RebuildRefused"),
        (json!({}), "all", "RebuildRefused"),
        (json!({ "storage": { "type": "Ephemeral", "acknowledgeDataLoss": true } }), "2", "RebuildRefused"),
    ] {
        let fake = Fake::new(&spec);
        fake.settle().await;
        let calls = fake.world().calls.len();
        ask(&fake, Some(value));
        fake.settle().await;
        fake.settle().await;
        assert_eq!(fake.condition("Rebuilt")["reason"], reason, "{spec} {value}");
        let world = fake.world();
        assert_eq!(world.calls[calls..], ["update zookeeperensembles/zk/status"], "{spec} {value}");
        assert_eq!(world.events.iter().filter(|event| *event == reason).count(), 1, "{spec} {value}");
    }
}

/// The others are not well: the request waits, and is met when they are.
#[tokio::test]
async fn it_waits_for_the_others() {
    let fake = founded(5).await;
    fake.world().servers.get_mut(&1).expect("a server").up = false;
    ask(&fake, Some("2"));
    for _ in 0..5 {
        fake.pass().await.expect("alive").expect("no fault");
    }
    assert!(fake.world().rebuilt.is_empty());
    assert_eq!(fake.condition("Rebuilt")["reason"], "RebuildWaits");
    fake.world().servers.get_mut(&1).expect("a server").up = true;
    fake.settle().await;
    rebuilt(&fake, 2, "the other is back");
}
