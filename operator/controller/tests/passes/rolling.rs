//! Rolling restarts through the operator's passes, against a cluster in memory, with something going wrong at each of their
//! mutating calls in turn. What must never happen is asserted by the fake: a voter that serves is evicted while another does not, the
//! leader is evicted before it handed its office over, a pod that ran is deleted.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::fake::{Disturbance, ENSEMBLE, FAULTS, Fake, Fault, at_any_call, contain};

const AT_ONCE: &str = r#"{ "minReadySeconds": 0 }"#;

async fn founded(replicas: i32) -> Fake {
    let strategy: Value = serde_json::from_str(AT_ONCE).expect("JSON");
    let fake = Fake::new(&json!({ "replicas": replicas, "updateStrategy": strategy }));
    fake.settle().await;
    fake
}

fn edit(fake: &Fake, path: &str, value: Value) {
    fake.world().edit(ENSEMBLE, |ensemble| *ensemble.pointer_mut(path).expect("a field") = value);
}

fn applied(fake: &Fake, case: &str) {
    for (condition, status) in [("ConfigApplied", "True"), ("Ready", "True"), ("Progressing", "False")] {
        let got = fake.condition(condition);
        // The servers of the fake do not say what they loaded.
        let unknown = condition == "ConfigApplied" && got["status"] == "Unknown";
        assert!(got["status"] == status || unknown, "{case}: {got}");
    }
    let world = fake.world();
    let newest = world.objects["statefulsets/zk"]["status"]["updateRevision"].as_str().expect("a revision");
    assert!(world.made.values().all(|made| made.revision == newest), "{case}: {:?}", world.made);
}

#[tokio::test]
async fn each_pod_is_restarted_once_and_the_leader_last() {
    for (replicas, leader, order) in [
        (3, 0, vec![2, 1, 0]),
        (3, 2, vec![1, 0, 2]),
        (5, 3, vec![4, 2, 1, 0, 3]),
        (4, 1, vec![3, 2, 0, 1]),
        (1, 0, vec![0]),
    ] {
        let fake = founded(replicas).await;
        fake.world().leader = Some(leader);
        let calls = fake.world().calls.len();
        edit(&fake, "/spec/config/snapCount", json!(5000));
        fake.settle().await;
        applied(&fake, &format!("{replicas}"));
        let world = fake.world();
        assert_eq!(world.replaced, order, "{replicas} servers, and {leader} leads");
        let transfers = world.calls[calls..].iter().filter(|call| *call == "transfer").count();
        assert_eq!(transfers, usize::from(replicas > 1));
        assert!(world.events.iter().any(|reason| reason == "PodRestarted"));
    }
}

/// A restart on request, by our annotation or by `kubectl rollout restart`, is one roll each, and the next apply of the template
/// is none.
#[tokio::test]
async fn a_restart_on_request_is_one_roll() {
    let fake = founded(3).await;
    fake.world().edit(ENSEMBLE, |ensemble| {
        ensemble["metadata"]["annotations"] = json!({ "zookeeper.ensemble.rs/restartedAt": "2030-01-01T00:00:00Z" });
    });
    fake.settle().await;
    applied(&fake, "annotation");
    assert_eq!(fake.world().replaced.len(), 3);
    let calls = fake.world().calls.len();
    fake.world().kubectl_rollout_restart("2030-01-02T00:00:00Z");
    fake.settle().await;
    applied(&fake, "kubectl");
    assert_eq!(fake.world().replaced.len(), 6);
    {
        let world = fake.world();
        assert!(
            !world.calls[calls..].iter().any(|call| call == "patch statefulsets/zk"),
            "it is fought over: {:?}",
            world.calls
        );
    }
    edit(&fake, "/spec/replicas", json!(5));
    fake.settle().await;
    let world = fake.world();
    assert_eq!(world.replaced.len(), 6, "growing restarts nobody");
    let annotations = &world.objects["statefulsets/zk"]["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["kubectl.kubernetes.io/restartedAt"], "2030-01-02T00:00:00Z");
}

#[tokio::test]
async fn a_fault_at_any_call_is_harmless() {
    async fn roll(fault: Disturbance) -> (Fake, usize) {
        let fake = founded(3).await;
        let before = fake.disturb(fault);
        edit(&fake, "/spec/config/snapCount", json!(5000));
        fake.settle().await;
        applied(&fake, &format!("{fault:?}"));
        assert_eq!(fake.world().replaced.len(), 3, "{fault:?}: {:?}", fake.world().replaced);
        (fake, before)
    }
    at_any_call(&FAULTS, roll, |calls| {
        contain(
            calls,
            &["create pods/zk-2/eviction", "transfer", "create pods/zk-0/eviction", "patch statefulsets/zk"],
        );
        calls.len()
    })
    .await;
}

#[tokio::test]
async fn a_bad_image_takes_one_pod_and_its_revert_heals_it() {
    for fault in
        [None, Some(Fault::CrashBefore), Some(Fault::CrashAfter), Some(Fault::Answer(500)), Some(Fault::TimeoutAfter)]
    {
        let fake = founded(3).await;
        fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["image"] = json!({ "repository": "r", "tag": "none" }));
        for _ in 0..20 {
            fake.pass().await.expect("alive").expect("no fault");
            fake.world().servers_turn();
        }
        assert_eq!(fake.world().replaced, [2], "{fault:?}");
        assert_eq!(fake.condition("Progressing")["reason"], "RolloutStalled");
        assert!(
            fake.condition("Progressing")["message"].as_str().unwrap_or_default().starts_with("zk-2 does not start")
        );
        assert!(fake.world().events.iter().any(|reason| reason == "RolloutStalled"));
        fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["image"] = Value::Null);
        // After the template is applied, the next call deletes the pod.
        fake.pass().await.expect("alive").expect("no fault");
        let calls = fake.world().calls.len();
        fake.world().fault = fault.map(|fault| (calls, fault));
        fake.settle().await;
        applied(&fake, &format!("{fault:?}"));
        assert_eq!(fake.world().replaced, [2, 2], "{fault:?}");
        assert_eq!(fake.world().calls[calls], "delete pods/zk-2");
    }
}

/// A budget that refuses, as while a node is drained, is waited for and is no error.
#[tokio::test]
async fn a_budget_is_waited_for() {
    let fake = founded(3).await;
    fake.world().refusal = Some(("pods/zk-2/eviction".to_owned(), 429));
    edit(&fake, "/spec/config/snapCount", json!(5000));
    for _ in 0..10 {
        fake.pass().await.expect("alive").expect("429 is no error");
    }
    assert!(fake.world().replaced.is_empty());
    assert!(fake.world().events.iter().any(|reason| reason == "EvictionRefused"), "{:?}", fake.world().events);
    assert_eq!(fake.condition("Progressing")["reason"], "RollingRestart");
    fake.world().refusal = None;
    fake.settle().await;
    applied(&fake, "the budget allows it");
}

/// Another pod of the same name, made since the operator looked, is left alone.
#[tokio::test]
async fn a_pod_with_another_uid_is_left_alone() {
    let fake = founded(3).await;
    let (status, _) =
        fake.world().evict("pods/zk-2/eviction", &json!({ "deleteOptions": { "preconditions": { "uid": "old" } } }));
    assert_eq!(status, 409);
    assert!(fake.world().replaced.is_empty());
}

#[tokio::test]
async fn on_delete_restarts_nobody() {
    let fake = Fake::new(&json!({ "updateStrategy": { "mode": "OnDelete" } }));
    fake.settle().await;
    edit(&fake, "/spec/config/snapCount", json!(5000));
    fake.settle().await;
    assert!(fake.world().replaced.is_empty());
    assert_eq!(fake.condition("ConfigApplied")["reason"], "PodsOutdated");
}

#[tokio::test]
async fn a_supervised_leader_waits_for_a_person() {
    for by_hand in [false, true] {
        let fake = Fake::new(&json!({ "updateStrategy": { "mode": "Supervised", "minReadySeconds": 0 } }));
        fake.settle().await;
        fake.world().leader = Some(1);
        edit(&fake, "/spec/config/snapCount", json!(5000));
        fake.settle().await;
        assert_eq!(fake.world().replaced, [2, 0], "only followers");
        let waits = fake.condition("Progressing");
        assert_eq!(waits["reason"], "LeaderNotApproved", "{waits}");
        if by_hand {
            fake.world().leader = Some(2);
        } else {
            let world = fake.world();
            let revision = world.objects["statefulsets/zk"]["status"]["updateRevision"].clone();
            assert!(
                waits["message"].as_str().is_some_and(|said| said.contains(revision.as_str().expect("a revision")))
            );
            drop(world);
            fake.world().edit(ENSEMBLE, |ensemble| {
                ensemble["metadata"]["annotations"] = json!({ "zookeeper.ensemble.rs/restart-leader": revision });
            });
        }
        fake.settle().await;
        applied(&fake, "agreed");
        assert_eq!(fake.world().replaced, [2, 0, 1]);
    }
}

/// The servers of the fake run version 1.0.0: a version that leaves one out is not applied to anything, the next one is.
#[tokio::test]
async fn a_version_that_skips_is_refused_before_anything_is_touched() {
    let fake = founded(3).await;
    let calls = fake.world().calls.len();
    let image = |tag: &str| json!({ "repository": "r", "tag": tag });
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["image"] = image("1.2.0"));
    fake.settle().await;
    let refused = fake.condition("ReconcileSucceeded");
    assert_eq!(refused["reason"], "VersionSkipped", "{refused}");
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("image r:1.2.0: zk-0 runs version 1.0.0") && message.contains("Go to 1.1 first"),
        "{message}"
    );
    {
        let world = fake.world();
        assert!(world.replaced.is_empty());
        assert!(world.events.iter().any(|reason| reason == "VersionSkipped"), "{:?}", world.events);
        assert!(world.calls[calls..].iter().all(|call| !call.starts_with("patch")), "{:?}", &world.calls[calls..]);
    }
    edit(&fake, "/spec/image", image("1.1.0"));
    fake.settle().await;
    applied(&fake, "the next version");
    assert_eq!(fake.world().replaced, [2, 1, 0]);
}

async fn swapping(replicas: i32, voters: i32) -> Fake {
    let strategy = json!({ "mode": "Swap", "minReadySeconds": 0 });
    let fake = Fake::new(&json!({ "replicas": replicas, "voters": voters, "updateStrategy": strategy }));
    fake.settle().await;
    fake
}

/// Asserts that all were restarted once, and that the lowest ordinals vote again.
fn swapped(fake: &Fake, case: &str) {
    applied(fake, case);
    let (voters, replicas) = {
        let world = fake.world();
        let spec = &world.objects[ENSEMBLE]["spec"];
        (spec["voters"].as_i64().expect("a number"), spec["replicas"].as_i64().expect("a number"))
    };
    let world = fake.world();
    let mut replaced: Vec<i64> = world.replaced.iter().copied().map(i64::from).collect();
    replaced.sort_unstable();
    assert_eq!(replaced, (0..replicas).collect::<Vec<_>>(), "{case}: each once");
    let votes: Vec<i64> = world.configuration.voters.iter().copied().map(i64::from).collect();
    assert_eq!(votes, (0..voters).collect::<Vec<_>>(), "{case}: the lowest vote again");
    drop(world);
    assert_eq!(fake.condition("ReplicasApplied")["status"], "True", "{case}");
}

/// The fake asserts that nobody is evicted who votes and serves, and that an odd number votes.
#[tokio::test]
async fn in_swap_mode_nobody_is_restarted_who_votes() {
    for (replicas, voters, leader, order) in [
        (4, 3, 0, vec![3, 2, 1, 0]),
        (4, 3, 2, vec![3, 1, 0, 2]),
        (5, 3, 1, vec![4, 3, 2, 0, 1]),
        (6, 5, 4, vec![5, 3, 2, 1, 0, 4]),
    ] {
        let fake = swapping(replicas, voters).await;
        fake.world().leader = Some(leader);
        let calls = fake.world().calls.len();
        edit(&fake, "/spec/config/snapCount", json!(5000));
        fake.settle().await;
        let case = format!("{replicas} servers, {voters} vote, and {leader} leads");
        swapped(&fake, &case);
        let world = fake.world();
        assert_eq!(world.replaced, order, "{case}");
        let count = |wanted: &str| world.calls[calls..].iter().filter(|call| *call == wanted).count();
        assert!(count("reconfigure") > usize::try_from(voters).expect("few"), "{case}: {:?}", world.calls);
        assert!((1..=2).contains(&count("transfer")), "{case}: {:?}", world.calls);
        assert!(world.events.iter().any(|reason| reason == "VoteTraded"));
    }
}

#[tokio::test]
async fn a_fault_at_any_call_of_a_swap_is_harmless() {
    async fn roll(fault: Disturbance) -> (Fake, usize) {
        let fake = swapping(4, 3).await;
        let before = fake.disturb(fault);
        edit(&fake, "/spec/config/snapCount", json!(5000));
        fake.settle().await;
        swapped(&fake, &format!("{fault:?}"));
        (fake, before)
    }
    at_any_call(&[Fault::CrashBefore, Fault::CrashAfter, Fault::Answer(409)], roll, <[String]>::len).await;
}

/// What a leader answers to a request that it does not carry out stands in the condition, once, and goes when it is not refused any more.
#[tokio::test]
async fn a_refusal_of_the_leader_stands_in_the_condition() {
    let fake = founded(3).await;
    edit(&fake, "/spec/config/snapCount", json!(5000));
    fake.world().deaf = true;
    let said = |fake: &Fake| fake.condition("Progressing")["message"].as_str().unwrap_or_default().to_owned();
    for _ in 0..20 {
        fake.pass().await.expect("alive").expect("no fault");
        fake.world().servers_turn();
    }
    assert_eq!(fake.world().replaced, [2, 1], "the leader is not restarted without a hand-off");
    let words = "zk-0 does not hand its office over (409): the server's words";
    assert!(said(&fake).ends_with(words), "{}", said(&fake));
    assert_eq!(said(&fake).matches(words).count(), 1, "{}", said(&fake));
    let calls = fake.world().calls.len();
    fake.pass().await.expect("alive").expect("no fault");
    assert!(fake.world().calls[calls..].iter().all(|call| call == "transfer"), "it is written once");
    fake.world().deaf = false;
    fake.settle().await;
    applied(&fake, "the leader hands over");
    assert_eq!(fake.world().replaced, [2, 1, 0]);
    assert!(!said(&fake).contains(words), "{}", said(&fake));
}

/// Servers that work are restarted while a window is open, and not before.
#[tokio::test]
async fn a_restart_waits_for_its_window() {
    let fake = founded(3).await;
    let window = |hours: i64| {
        let begins = Timestamp::now() + SignedDuration::from_hours(hours);
        json!([{ "start": &begins.to_string()[11..16], "durationMinutes": 180 }])
    };
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["updateStrategy"]["maintenanceWindows"] = window(6));
    edit(&fake, "/spec/config/snapCount", json!(5000));
    fake.settle().await;
    assert!(fake.world().replaced.is_empty());
    assert_eq!(fake.condition("Progressing")["reason"], "OutsideMaintenanceWindow");
    assert!(fake.world().events.iter().any(|reason| reason == "OutsideMaintenanceWindow"));
    edit(&fake, "/spec/updateStrategy/maintenanceWindows", window(-1));
    fake.settle().await;
    applied(&fake, "the window is open");
    assert_eq!(fake.world().replaced, [2, 1, 0]);
}
