//! Changes of the size through the operator's passes, against a cluster in memory, with something going wrong at each of its
//! mutating calls in turn. What must never happen is asserted by the fake: an even number of voters, a voter that is not synced, a pod
//! of a member that is taken away, a server that comes back and believes that it votes.

use serde_json::{Value, json};

use crate::fake::{Disturbance, ENSEMBLE, FAULTS, Fake, at_any_call, contain};

async fn resize(fake: &Fake, replicas: i32) {
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["replicas"] = json!(replicas));
    fake.settle().await;
}

/// What must hold when it has settled at a size.
fn has_size(fake: &Fake, replicas: i32, case: &str) {
    let status = fake.status();
    let voters = if replicas % 2 == 0 { replicas - 1 } else { replicas }.min(5);
    assert_eq!(fake.condition("ReplicasApplied")["status"], "True", "{case}: {status}");
    assert_eq!(fake.condition("Ready")["status"], "True", "{case}: {status}");
    let counts = ["voters", "observers", "syncedVoters", "replicas"].map(|field| status[field].clone());
    assert_eq!(counts, [voters, replicas - voters, voters, replicas].map(Value::from), "{case}");
    let world = fake.world();
    assert_eq!(world.configuration.voters, (0..voters).collect(), "{case}");
    assert_eq!(world.configuration.observers, (voters..replicas).collect(), "{case}");
    assert_eq!(world.objects["statefulsets/zk"]["spec"]["replicas"], replicas, "{case}");
}

#[tokio::test]
async fn every_size_follows_every_other() {
    for reclaim in ["Retain", "Delete"] {
        let fake = Fake::new(&json!({ "storage": { "reclaimPolicy": { "onScaleDown": reclaim } } }));
        fake.settle().await;
        for replicas in [5, 7, 5, 3, 1, 3, 4, 5, 4, 3, 2, 1, 7, 1, 15, 3] {
            resize(&fake, replicas).await;
            has_size(&fake, replicas, &format!("{reclaim} {replicas}"));
            let world = fake.world();
            let claims = world.objects.keys().filter(|path| path.starts_with("persistentvolumeclaims/")).count();
            if reclaim == "Delete" {
                assert_eq!(claims, 2 * usize::try_from(replicas).expect("few"), "{replicas}");
            }
        }
    }
}

/// Up and down again with a fault at each mutating call.
#[tokio::test]
async fn a_fault_at_any_call_is_harmless() {
    async fn up_and_down(fault: Disturbance) -> (Fake, usize) {
        let fake = Fake::new(&json!({ "storage": { "reclaimPolicy": { "onScaleDown": "Delete" } } }));
        fake.settle().await;
        let founded = fake.disturb(fault);
        resize(&fake, 5).await;
        has_size(&fake, 5, &format!("{fault:?}"));
        fake.world().leader = Some(4);
        resize(&fake, 3).await;
        has_size(&fake, 3, &format!("{fault:?}"));
        (fake, founded)
    }
    at_any_call(&FAULTS, up_and_down, |calls| {
        let claim = ["patch persistentvolumeclaims/data-zk-3", "delete persistentvolumeclaims/data-zk-3"];
        contain(calls, &["reconfigure", "transfer", claim[0], claim[1]]);
        calls.len()
    })
    .await;
}

/// Each act waits until the one before is seen to have had its effect.
#[tokio::test]
async fn acts_come_in_order() {
    let fake = Fake::new(&json!({}));
    fake.settle().await;
    let calls = fake.world().calls.len();
    resize(&fake, 5).await;
    resize(&fake, 3).await;
    let world = fake.world();
    let acts: Vec<&str> = world.calls[calls..]
        .iter()
        .map(String::as_str)
        .filter(|call| *call == "patch statefulsets/zk" || *call == "reconfigure" || call.contains("claims/data-zk-4"))
        .collect();
    assert_eq!(
        acts,
        [
            "patch statefulsets/zk",
            "reconfigure",
            "reconfigure",
            "patch persistentvolumeclaims/data-zk-4",
            "patch statefulsets/zk"
        ]
    );
}

/// Without a quorum nothing is removed, whatever the spec says.
#[tokio::test]
async fn without_a_quorum_the_size_stays() {
    let fake = Fake::new(&json!({ "replicas": 5 }));
    fake.settle().await;
    for ordinal in [2, 3, 4] {
        fake.world().servers.get_mut(&ordinal).expect("a server").up = false;
    }
    fake.world().leader = None;
    let calls = fake.world().calls.len();
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["replicas"] = json!(1));
    for _ in 0..10 {
        fake.pass().await.expect("alive").expect("no fault");
    }
    let calls = fake.world().calls[calls..].to_vec();
    assert!(calls.iter().all(|call| call == "update zookeeperensembles/zk/status"), "{calls:?}");
    assert_eq!(fake.condition("Progressing")["message"], "no majority of the voters follows a leader");
    for ordinal in [2, 3, 4] {
        fake.world().servers.get_mut(&ordinal).expect("a server").up = true;
    }
    fake.settle().await;
    has_size(&fake, 1, "healed");
}

/// A server that was down when it was removed may believe that it votes: nothing grows over its volume.
#[tokio::test]
async fn a_volume_that_missed_its_removal_is_not_used_again() {
    let fake = Fake::new(&json!({ "replicas": 5 }));
    fake.settle().await;
    fake.world().servers.get_mut(&4).expect("a server").up = false;
    fake.world().troubled.insert(4);
    resize(&fake, 3).await;
    has_size(&fake, 3, "one leaver was down");
    let stamp = |ordinal: i32| {
        let claim = format!("persistentvolumeclaims/data-zk-{ordinal}");
        fake.world().objects[&claim]["metadata"]["annotations"]["zookeeper.ensemble.rs/retired-at-config"].clone()
    };
    assert_eq!([stamp(3), stamp(4)], [json!("0x1"), json!("unconfirmed-0x1")]);
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["replicas"] = json!(5));
    for _ in 0..10 {
        fake.pass().await.expect("alive").expect("no fault");
        fake.world().servers_turn();
    }
    assert_eq!(fake.world().objects["statefulsets/zk"]["spec"]["replicas"], 4, "the one below is usable");
    let condition = fake.condition("ReplicasApplied");
    assert_eq!(condition["reason"], "StaleVolume", "{condition}");
    assert!(condition["message"].as_str().unwrap_or_default().starts_with("claim data-zk-4 may hold"), "{condition}");
    assert!(fake.world().events.iter().any(|reason| reason == "StaleVolume"));
    for volume in ["data", "txnlog"] {
        fake.world().objects.remove(&format!("persistentvolumeclaims/{volume}-zk-4"));
    }
    fake.settle().await;
    has_size(&fake, 5, "the claims were deleted");
}

/// Somebody else's reconfiguration is seen, told, and undone if the spec says otherwise.
#[tokio::test]
async fn a_configuration_that_somebody_else_made_is_led_back() {
    let fake = Fake::new(&json!({}));
    fake.settle().await;
    {
        let mut world = fake.world();
        world.configuration.version = 7;
        world.configuration.voters.remove(&1);
        let configuration = world.configuration.clone();
        world.servers.values_mut().for_each(|server| server.configuration = configuration.clone());
    }
    fake.settle().await;
    has_size(&fake, 3, "led back");
    assert!(fake.world().events.iter().any(|reason| reason == "ConfigurationChanged"));
}

/// Nobody is left, nothing is forgotten, and everybody comes back.
#[tokio::test]
async fn a_hibernated_ensemble_comes_back_as_it_was() {
    let fake = Fake::new(&json!({ "replicas": 5 }));
    fake.settle().await;
    let volumes = |fake: &Fake| -> Vec<String> {
        let world = fake.world();
        world.servers.values().chain(world.idle.values()).map(|server| server.volume.clone()).collect()
    };
    let before = volumes(&fake);
    resize(&fake, 0).await;
    assert!(fake.world().servers.is_empty());
    assert_eq!(fake.condition("Ready")["reason"], "Hibernated");
    assert_eq!(
        [fake.condition("QuorumLost"), fake.condition("Degraded")].map(|c| c["status"].clone()),
        ["False", "False"]
    );
    assert_eq!(fake.status()["pods"], 5);
    resize(&fake, 3).await;
    has_size(&fake, 3, "woken up smaller");
    assert_eq!(volumes(&fake), before, "on the volumes that they had");
}

/// `hibernate` keeps `replicas`; the leader, whoever it is, is stopped last, with a fault at each call.
#[tokio::test]
async fn an_ensemble_hibernates_followers_first() {
    async fn there_and_back(fault: Disturbance) -> (Fake, usize) {
        let fake = Fake::new(&json!({}));
        fake.settle().await;
        fake.world().leader = Some(2);
        let begun = fake.disturb(fault);
        fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["hibernate"] = json!(true));
        fake.settle().await;
        assert!(fake.world().servers.is_empty(), "{fault:?}");
        assert_eq!(
            fake.condition("Ready")["message"].as_str().unwrap_or_default().split(':').next(),
            Some("spec.hibernate is true")
        );
        fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["hibernate"] = json!(false));
        fake.settle().await;
        has_size(&fake, 3, &format!("{fault:?}"));
        (fake, begun)
    }
    at_any_call(&FAULTS, there_and_back, |calls| {
        let acts: Vec<&str> = calls.iter().map(String::as_str).filter(|call| !call.ends_with("/status")).collect();
        assert_eq!(acts, ["transfer", "patch statefulsets/zk", "patch statefulsets/zk", "patch statefulsets/zk"]);
        calls.len()
    })
    .await;
}

/// `onDelete: Delete` makes the ensemble an owner of its claims, and `Retain` undoes it; other owners stay. With a fault at each call.
#[tokio::test]
async fn claims_are_owned_while_the_spec_says_so() {
    async fn owned_and_not(fault: Disturbance) -> (Fake, usize) {
        let owners = |fake: &Fake| -> Vec<String> {
            let world = fake.world();
            let claims = world.objects.iter().filter(|(path, _)| path.starts_with("persistentvolumeclaims/"));
            claims.map(|(_, claim)| claim["metadata"]["ownerReferences"].to_string()).collect()
        };
        let fake = Fake::new(&json!({}));
        fake.settle().await;
        let other = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "other" });
        fake.world()
            .edit("persistentvolumeclaims/data-zk-1", |claim| claim["metadata"]["ownerReferences"] = json!([other]));
        let begun = fake.disturb(fault);
        let policy = |policy: &str| json!({ "reclaimPolicy": { "onDelete": policy } });
        fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["storage"] = policy("Delete"));
        fake.settle().await;
        let owned = owners(&fake);
        assert!(
            owned.len() == 6 && owned.iter().all(|owners| owners.contains("\"uid\":\"u\"")),
            "{fault:?}: {owned:?}"
        );
        assert!(owned[1].contains("other"), "{fault:?}: {owned:?}");
        fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["storage"] = policy("Retain"));
        fake.settle().await;
        let free = owners(&fake);
        assert!(free.iter().all(|owners| !owners.contains("\"u\"")), "{fault:?}: {free:?}");
        assert!(free[1].contains("other"), "{fault:?}: {free:?}");
        (fake, begun)
    }
    at_any_call(&FAULTS, owned_and_not, |calls| {
        assert_eq!(calls.iter().filter(|call| call.contains("persistentvolumeclaims")).count(), 12, "{calls:?}");
        calls.len()
    })
    .await;
}

/// An ensemble that is hibernated before it is founded waits, and is founded when it is woken up.
#[tokio::test]
async fn an_ensemble_may_begin_hibernated() {
    let fake = Fake::new(&json!({ "replicas": 0 }));
    fake.settle().await;
    assert_eq!(fake.status()["ensembleId"], Value::Null);
    assert_eq!(fake.condition("Ready")["reason"], "Hibernated");
    resize(&fake, 3).await;
    has_size(&fake, 3, "woken up");
}

/// Observers acknowledge nothing: one of two leaves the configuration first, and both vote in the end.
#[tokio::test]
async fn observers_become_voters_also_where_they_are_the_majority() {
    let fake = Fake::new(&json!({ "replicas": 3, "voters": 1 }));
    fake.settle().await;
    assert_eq!(fake.status()["observers"], 2);
    fake.world().edit(ENSEMBLE, |ensemble| ensemble["spec"]["voters"] = json!(3));
    fake.settle().await;
    has_size(&fake, 3, "promoted");
}

/// A record that was lost, or a change that came through late: the pods of members are restored, not taken away.
#[tokio::test]
async fn the_pods_of_members_are_never_given_up() {
    let fake = Fake::new(&json!({ "replicas": 1 }));
    fake.settle().await;
    resize(&fake, 3).await;
    fake.world().edit(ENSEMBLE, |ensemble| {
        ensemble["status"].as_object_mut().expect("a status").remove("pods");
        ensemble["status"].as_object_mut().expect("a status").remove("configuration");
    });
    fake.settle().await;
    has_size(&fake, 3, "restored");
}
