//! Recoveries from a lost majority through the operator's passes, against a cluster in memory, with something going wrong at each of their
//! mutating calls in turn. What must never happen is asserted by the fake: a server begins the new ensemble while one of the former runs,
//! or without a history; a claim goes that is not recorded, or before the new ensemble serves.

use serde_json::{Value, json};

use crate::fake::{Disturbance, ENSEMBLE, FAULTS, Fake, at_any_call, contain};

/// The end of the history that is left.
const LOGGED: u64 = 4 << 32 | 7;

/// An ensemble whose volumes are gone but for those of one member, for longer than it takes to call the majority lost.
async fn lost(replicas: i32, left: i32) -> Fake {
    let fake = Fake::new(&json!({ "replicas": replicas }));
    fake.settle().await;
    let gone: Vec<i32> = (0..replicas).filter(|ordinal| *ordinal != left).collect();
    fake.world().lose(&gone, LOGGED);
    fake.pass().await.expect("alive").expect("no fault");
    outlast(&fake);
    fake
}

/// What the conditions say they have said for long.
fn outlast(fake: &Fake) {
    fake.world().edit(ENSEMBLE, |ensemble| {
        for condition in ensemble["status"]["conditions"].as_array_mut().expect("conditions") {
            condition["lastTransitionTime"] = json!("2020-01-01T00:00:00Z");
        }
    });
}

fn id(fake: &Fake) -> String {
    fake.status()["ensembleId"].as_str().expect("an id").to_owned()
}

fn ask(fake: &Fake, member: i32, confirm: &str) {
    let recovery = json!({ "fromMember": member, "confirm": confirm });
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["recovery"] = recovery);
}

/// One member's history went on, once, and everybody has it.
fn recovered(fake: &Fake, member: i32, former: &str, case: &str) {
    for (condition, status) in
        [("Recovered", "True"), ("Ready", "True"), ("QuorumLost", "False"), ("Progressing", "False")]
    {
        let got = fake.condition(condition);
        assert_eq!(got["status"], status, "{case}: {got}");
    }
    let new = id(fake);
    let world = fake.world();
    assert_ne!(new, former, "{case}");
    assert_eq!(world.taken_over, [member], "{case}");
    assert_eq!(world.identities.len(), 2, "{case}: {:?}", world.identities);
    for (ordinal, server) in &world.servers {
        assert_eq!(
            (server.ensemble.as_str(), server.logged, server.synced),
            (&*new, LOGGED, true),
            "{case}: {ordinal}"
        );
    }
    let claims = world.objects.iter().filter(|(path, _)| path.starts_with("persistentvolumeclaims/"));
    for (path, claim) in claims {
        assert_eq!(claim["metadata"]["annotations"]["zookeeper.ensemble.rs/ensemble-id"], new, "{case}: {path}");
    }
    let given_up: Vec<&String> = world.given_up.iter().filter(|path| path.ends_with(&format!("-{member}"))).collect();
    assert!(given_up.is_empty(), "{case}: {given_up:?}");
}

#[tokio::test]
async fn the_history_of_one_member_goes_on_and_the_others_join() {
    for (replicas, member) in [(3, 0), (3, 2), (5, 1), (4, 3), (2, 0)] {
        let case = format!("{member} of {replicas}");
        let fake = lost(replicas, member).await;
        let former = id(&fake);
        let kept = fake.world().servers[&member].volume.clone();
        ask(&fake, member, &former);
        if replicas == 2 {
            // Its only voter is not lost.
            fake.pass().await.expect("alive").expect("no fault");
            assert_eq!(fake.condition("Recovered")["reason"], "RecoveryRefused", "{case}");
            continue;
        }
        fake.settle().await;
        // The request is still there, and nothing happens any more.
        fake.settle().await;
        recovered(&fake, member, &former, &case);
        let world = fake.world();
        assert_eq!(world.servers[&member].volume, kept, "{case}");
        assert_eq!(world.servers.len(), usize::try_from(replicas).expect("few"), "{case}");
        assert_eq!(world.given_up.len(), 2 * (world.servers.len() - 1), "{case}: {:?}", world.given_up);
        for reason in ["RecoveryBegins", "ServersStopped", "HistoryTakenOver", "ClaimsDeleted", "EnsembleRecovered"] {
            let told = world.events.iter().filter(|event| *event == reason).count();
            assert!(told > 0, "{case}: no {reason} in {:?}", world.events);
        }
    }
}

#[tokio::test]
async fn a_fault_at_any_call_is_harmless() {
    async fn recover(fault: Disturbance) -> (Fake, usize) {
        let fake = lost(3, 1).await;
        let former = id(&fake);
        let before = fake.disturb(fault);
        ask(&fake, 1, &former);
        fake.settle().await;
        recovered(&fake, 1, &former, &format!("{fault:?}"));
        (fake, before)
    }
    let wanted = [
        "patch persistentvolumeclaims/data-zk-1",
        "delete statefulsets/zk",
        "delete pods/zk-1",
        "patch configmaps/zk-config",
        "patch statefulsets/zk",
        "delete persistentvolumeclaims/txnlog-zk-2",
        "reconfigure",
    ];
    at_any_call(&FAULTS, recover, |calls| {
        contain(calls, &wanted);
        // What follows the last claim and its pod is a scale-up like any other.
        calls.iter().rposition(|call| call.starts_with("delete ")).expect("checked above") + 2
    })
    .await;
}

/// Afterwards one server is enough, and not the one whose history went on: the office goes to it with the configuration.
#[tokio::test]
async fn the_first_server_alone_goes_on() {
    for member in [1, 2] {
        let fake = lost(3, member).await;
        ask(&fake, member, &id(&fake));
        fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["replicas"] = json!(1));
        fake.settle().await;
        for (condition, status) in [("Recovered", "True"), ("Ready", "True"), ("ReplicasApplied", "True")] {
            assert_eq!(fake.condition(condition)["status"], status, "{member}: {}", fake.condition("Progressing"));
        }
        let world = fake.world();
        assert_eq!(world.configuration.voters, [0].into(), "{member}");
        assert_eq!((world.servers.len(), world.servers[&0].logged), (1, LOGGED), "{member}");
    }
}

/// The wrong id, and the id of before: whatever is asked, nothing is done, and it is told once.
#[tokio::test]
async fn what_is_not_confirmed_is_not_done() {
    let fake = lost(3, 0).await;
    let former = id(&fake);
    let calls = fake.world().calls.len();
    ask(&fake, 0, "11111111-2222-3333-4444-555555555555");
    for _ in 0..5 {
        fake.pass().await.expect("alive").expect("no fault");
    }
    {
        let world = fake.world();
        assert_eq!(world.calls[calls..], ["update zookeeperensembles/zk/status"]);
        assert_eq!(world.events.iter().filter(|event| *event == "RecoveryRefused").count(), 1);
    }
    assert_eq!((fake.condition("Recovered")["reason"].as_str(), id(&fake)), (Some("RecoveryRefused"), former.clone()));
    ask(&fake, 0, &former);
    fake.settle().await;
    recovered(&fake, 0, &former, "confirmed");
    // It is lost again, and the spec still says what it said.
    fake.world().lose(&[1, 2], LOGGED);
    let calls = fake.world().calls.len();
    for _ in 0..5 {
        fake.pass().await.expect("alive").expect("no fault");
    }
    let world = fake.world();
    assert!(world.calls[calls..].iter().all(|call| call == "update zookeeperensembles/zk/status"), "{:?}", world.calls);
    assert_eq!(world.taken_over, [0]);
}

/// Until something is started the request may be withdrawn, and the former ensemble is as it was.
#[tokio::test]
async fn a_recovery_that_is_withdrawn_leaves_everything() {
    let fake = lost(3, 0).await;
    let former = id(&fake);
    let (configuration, pods) = (fake.status()["configuration"].clone(), fake.status()["pods"].clone());
    ask(&fake, 0, &former);
    fake.pass().await.expect("alive").expect("no fault");
    assert_eq!(fake.status()["recovery"]["phase"], "Stopping");
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["recovery"] = Value::Null);
    for _ in 0..5 {
        fake.pass().await.expect("alive").expect("no fault");
    }
    let status = fake.status();
    assert_eq!((id(&fake), &status["configuration"], &status["pods"]), (former, &configuration, &pods));
    assert_eq!(status["recovery"], Value::Null);
    let world = fake.world();
    assert!(world.taken_over.is_empty() && world.given_up.is_empty(), "{:?}", world.given_up);
    assert!(world.events.contains(&"RecoveryWithdrawn".to_owned()), "{:?}", world.events);
    assert!(world.objects.contains_key("statefulsets/zk"));
}

/// The server of the member does not come up, and another one that had answered is named: the volumes of the first go before that one starts.
#[tokio::test]
async fn the_history_of_another_member_goes_on_instead() {
    let fake = Fake::new(&json!({ "replicas": 5 }));
    fake.settle().await;
    fake.world().lose(&[2, 3, 4], LOGGED);
    fake.pass().await.expect("alive").expect("no fault");
    outlast(&fake);
    let former = id(&fake);
    ask(&fake, 0, &former);
    for _ in 0..20 {
        fake.pass().await.expect("alive").expect("no fault");
    }
    assert_eq!((fake.status()["recovery"]["phase"].as_str(), fake.world().given_up.len()), (Some("Starting"), 0));
    let second = id(&fake);
    ask(&fake, 1, &second);
    fake.pass().await.expect("alive").expect("no fault");
    while fake.status()["recovery"]["phase"] == "Stopping" {
        assert_eq!(fake.world().taken_over, [0], "before the volumes of the first are gone");
        fake.pass().await.expect("alive").expect("no fault");
    }
    let gone = ["persistentvolumeclaims/data-zk-0", "persistentvolumeclaims/txnlog-zk-0"].map(str::to_owned);
    assert_eq!(fake.world().given_up, gone, "one copy after the other");
    fake.settle().await;
    let third = id(&fake);
    assert!(third != former && third != second);
    for (condition, status) in [("Recovered", "True"), ("Ready", "True"), ("Progressing", "False")] {
        assert_eq!(fake.condition(condition)["status"], status, "{}", fake.condition(condition));
    }
    let world = fake.world();
    assert_eq!(world.taken_over, [0, 1]);
    assert!(world.servers.values().all(|server| server.ensemble == third && server.logged == LOGGED && server.synced));
}

/// The server of the member does not come up: the volumes of the others stay.
#[tokio::test]
async fn nothing_is_deleted_before_the_new_ensemble_serves() {
    let fake = lost(3, 0).await;
    let former = id(&fake);
    ask(&fake, 0, &former);
    for _ in 0..20 {
        fake.pass().await.expect("alive").expect("no fault");
    }
    assert_eq!(fake.status()["recovery"]["phase"], "Starting");
    assert_eq!(fake.world().given_up, [] as [String; 0]);
    assert_eq!(fake.world().taken_over, [0]);
    fake.settle().await;
    recovered(&fake, 0, &former, "it came up");
}

/// An operator that saw the world as it was before the recovery acts late: it loses by the resource version, or its StatefulSet goes again.
#[tokio::test]
async fn a_stateful_set_of_the_former_ensemble_goes_again() {
    let fake = lost(3, 0).await;
    let former = id(&fake);
    let set: Value = fake.world().objects["statefulsets/zk"].clone();
    ask(&fake, 0, &former);
    while fake.status()["recovery"]["phase"] != "Starting" {
        fake.pass().await.expect("alive").expect("no fault");
        fake.world().servers_turn();
    }
    let mut late = set.clone();
    late["metadata"]["uid"] = json!("late");
    fake.world().put("statefulsets/zk", late);
    fake.settle().await;
    recovered(&fake, 0, &former, "late");
}
