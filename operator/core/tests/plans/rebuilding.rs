//! What no observation may lead a rebuild to: a claim that goes without a record that was read, or while the others alone are no
//! synced quorum. The observations are of ensembles that exist, in every mixture of well, ill and silent, with requests, records and
//! claims that may or may not belong together.

use operator_core::{Fact, Observed, Role, Step, plan};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

use crate::common::{self, said, serves};

/// What becomes of a pod and its server, in the words of a situation.
const PODS: [&str; 5] = [
    "ready",
    "running turned=11:30:00",
    "ready deleting",
    "exit=3 trouble: exited with code 3",
    "unstarted trouble: is not scheduled: no node",
];
const MEMBERS: [&str; 4] = ["", "looking", "syncing leader=L", "error: timed out"];

fn server() -> impl Strategy<Value = (String, String, String)> {
    let claim = prop_oneof![20 => Just("E"), 2 => Just("E deleting"), 1 => Just("OTHER"), 1 => Just("")];
    let pod = prop_oneof![30 => Just(PODS[0]), 2 => select(PODS.to_vec())];
    let member = prop_oneof![30 => Just(MEMBERS[0]), 2 => select(MEMBERS.to_vec())];
    (pod, member, claim).prop_map(|(pod, member, claim)| (pod.to_owned(), member.to_owned(), claim.to_owned()))
}

/// A record: of which member, by which UIDs of its claims and its pod, and whether it is finished.
fn record() -> impl Strategy<Value = Value> {
    (0..4i32, prop::bool::weighted(0.8), any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(ordinal, claims, pod, finished)| {
            let uid = |name: String| if claims { format!("uid-{name}") } else { format!("old-{name}") };
            let claim = |volume: &str| {
                let name = format!("{volume}-zk-{ordinal}");
                json!({ "name": name, "uid": uid(name.clone()) })
            };
            let pod_uid = if pod { format!("uid-{ordinal}") } else { "old".to_owned() };
            let finished_at = finished.then_some("2030-01-01T11:50:00Z");
            json!({ "request": ordinal.to_string(), "ordinal": ordinal, "claims": [claim("data"), claim("txnlog")],
            "podUid": pod_uid, "finishedAt": finished_at })
        },
    )
}

fn observed() -> impl Strategy<Value = Observed> {
    (select(vec![1, 2, 3, 5]), prop::bool::weighted(0.1), select(vec![0, 1, 3]), prop::bool::weighted(0.1))
        .prop_flat_map(|(voters, ephemeral, fewer, pending)| {
            // Most often the one that is recorded.
            let request = prop_oneof![
                6 => Just(Some("same".to_owned())), 1 => Just(None), 1 => (0..6i32).prop_map(|o| Some(o.to_string())),
                1 => Just(Some("x".to_owned())),
            ];
            let record = prop::option::weighted(0.7, record());
            (prop::collection::vec(server(), voters), 0..voters, request, record).prop_map(
                move |(servers, leader, request, record)| {
                    let same = |value: String| match (&value[..], &record) {
                        ("same", Some(record)) => record["request"].as_str().expect("a text").to_owned(),
                        ("same", None) => "1".to_owned(),
                        _ => value,
                    };
                    let request = request.map(same);
                    let ids: Vec<usize> = (1..=voters).collect();
                    let text = ids.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
                    let empty = serde_json::Map::new;
                    let (mut pods, mut members, mut claims) = (empty(), empty(), empty());
                    for (ordinal, (pod, member, claim)) in servers.into_iter().enumerate() {
                        pods.insert(ordinal.to_string(), json!(pod));
                        for volume in ["data", "txnlog"].into_iter().filter(|_| !claim.is_empty()) {
                            claims.insert(format!("{volume}-zk-{ordinal}"), json!(claim));
                        }
                        let follows = format!("following leader={}", leader + 1);
                        let said = match member.as_str() {
                            "" if ordinal == leader => "leading",
                            "" => &follows,
                            said => said,
                        };
                        let said = said.replace("=L", &format!("={}", leader + 1));
                        let pending = if pending { " pending=0x6" } else { "" };
                        let said = if said.starts_with("error") {
                            said
                        } else {
                            format!("{said} members=0x5/{text}{pending}")
                        };
                        members.insert(ordinal.to_string(), json!(said));
                    }
                    let storage =
                        if ephemeral { json!({ "type": "Ephemeral", "acknowledgeDataLoss": true }) } else { json!({}) };
                    let annotations =
                        request.map_or(json!({}), |value| json!({ "zookeeper.ensemble.rs/rebuild": value }));
                    let replicas = if fewer == 0 { voters } else { fewer };
                    let situation: common::Situation = serde_json::from_value(json!({
                        "about": "drawn", "spec": { "replicas": replicas, "storage": storage },
                        "metadata": { "annotations": annotations },
                        "status": { "ensembleId": "E", "pods": voters, "rebuild": record,
                            "bootstrap": { "phase": "Complete", "voters": ids, "volumes": {} },
                            "configuration": { "version": "0x5", "voters": ids, "observers": [] } },
                        "pods": pods, "members": members, "claims": claims,
                    }))
                    .expect("a situation");
                    situation.observed()
                },
            )
        })
}

/// Asserts the invariant on a plan, by what was observed and not by what the plan made of it.
fn check(observed: &Observed) -> Result<bool, TestCaseError> {
    let steps = plan(observed).steps;
    let status = observed.ensemble.status.as_ref().expect("drawn with one");
    let voters: Vec<i32> =
        status.configuration.as_ref().expect("drawn with one").voters.iter().map(|id| id - 1).collect();
    let leader = voters.iter().copied().find(|o| said(observed, *o).is_some_and(|status| status.role == Role::Leading));
    let asked = observed.ensemble.metadata.annotations.as_ref().and_then(|all| all.values().next()).cloned();
    let goes = |ordinal: i32| -> Result<(), TestCaseError> {
        let others: Vec<i32> = voters.iter().copied().filter(|other| *other != ordinal).collect();
        prop_assert!(others.len() > voters.len() / 2, "the others are no majority");
        let leader = leader.expect("a leader");
        prop_assert_ne!(leader, ordinal, "the leader goes without a hand-off");
        prop_assert!(others.iter().all(|other| serves(observed, *other, leader)), "not all of {others:?} are well");
        for volume in ["data", "txnlog"] {
            let going = |name: &str| observed.claims.iter().any(|claim| claim.name == name && claim.deleting);
            prop_assert!(others.iter().all(|other| !going(&format!("{volume}-zk-{other}"))), "another volume goes");
        }
        Ok(())
    };
    let mut acts = false;
    for step in &steps {
        match step {
            Step::DeleteClaim(hold) => {
                let record = status.rebuild.as_ref().expect("recorded before it is deleted");
                prop_assert!(record.finished_at.is_none(), "deleted after the end");
                let named = record.claims.iter().any(|claim| claim.name == hold.name && claim.uid == hold.uid);
                prop_assert!(named, "{} is not what was recorded", hold.name);
                let claim = observed.claims.iter().find(|claim| claim.uid == hold.uid).expect("it exists");
                prop_assert_eq!(claim.ensemble_id.as_deref(), Some("E"), "somebody else's data");
                let untouched = observed.claims.iter().all(|claim| !claim.deleting);
                prop_assert!(
                    asked == record.request || !untouched || observed.claims.len() < 2 * voters.len(),
                    "called off"
                );
                goes(record.ordinal)?;
                acts = true;
            }
            Step::Evict(removal) => {
                let record = status.rebuild.as_ref().expect("every template is the newest");
                prop_assert_eq!(removal.ordinal, record.ordinal);
                prop_assert_eq!(&removal.uid, &observed.pods[&removal.ordinal].uid);
                goes(record.ordinal)?;
                let at = |step: &Step| matches!(step, Step::DeleteClaim(_));
                prop_assert!(
                    !steps.iter().skip_while(|step| !matches!(step, Step::Evict(_))).any(at),
                    "the pod goes first"
                );
            }
            Step::DeletePod(removal) => prop_assert!(false, "{} is deleted", removal.pod),
            Step::Record(Fact::Rebuild, next) => {
                if let Some(next) = next.rebuild.as_ref().filter(|next| next.finished_at.is_none()) {
                    prop_assert_eq!(&next.request, &asked);
                    let old = status.rebuild.as_ref();
                    prop_assert!(
                        old.is_none_or(|old| old.finished_at.is_some() && old.request != asked),
                        "a second rebuild"
                    );
                    prop_assert!(steps.iter().all(|step| !matches!(step, Step::DeleteClaim(_) | Step::Evict(_))));
                }
            }
            // A member whose volumes are on their way out must not become the one that a smaller majority depends on.
            Step::Reconfigure(_) => {
                let holds = status.rebuild.as_ref().is_some_and(|record| {
                    let gone = |uid: &str| observed.claims.iter().any(|claim| claim.uid == uid && claim.deleting);
                    let asked = asked == record.request;
                    record.finished_at.is_none()
                        && asked
                        && record.claims.iter().any(|claim| gone(&claim.uid))
                        && observed.claims.iter().all(|claim| claim.ensemble_id.as_deref() == Some("E"))
                        && voters.contains(&record.ordinal)
                        && voters.len() > 2
                });
                prop_assert!(!holds, "the size changes while {:?} goes", status.rebuild);
            }
            _ => {}
        }
    }
    Ok(acts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rebuild_leaves_a_synced_quorum(observed in observed()) {
        check(&observed)?;
    }
}

/// The states drawn are ones in which something is done, so that the property above is about something.
#[test]
fn rebuilds_are_drawn() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let drawn = (0..300).filter(|_| {
        let observed = observed().new_tree(&mut runner).expect("drawn").current();
        check(&observed).expect("the invariant")
    });
    assert!(drawn.count() >= 10, "almost none of them deletes a claim");
}
