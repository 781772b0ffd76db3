//! What no observation may lead a rolling restart to: two voters down by our doing, or one whose absence leaves no synced quorum.
//! The observations are of ensembles that exist, in every mixture of well, ill and silent.

use operator_api::UpdateMode;
use operator_core::{Observed, Role, Step, plan};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::common::{self, said, serves};

/// What becomes of a pod and its server, in the words of a situation.
const PODS: [&str; 6] = [
    "ready",
    "running turned=11:30:00",
    "ready turned=11:59:55",
    "ready deleting",
    "exit=2 trouble: exited with code 2",
    "unstarted trouble: does not start: ErrImagePull",
];
const MEMBERS: [&str; 5] = ["", "looking", "syncing leader=L", "error: timed out", "following leader=2"];

fn observed() -> impl Strategy<Value = Observed> {
    let strategy = (select(vec!["LeaderLast", "Supervised"]), select(vec!["old", "r"]), any::<bool>());
    (select(vec![1, 3, 5]), any::<bool>(), any::<bool>(), strategy).prop_flat_map(|(voters, ephemeral, pending, (mode, agreed, closed))| {
        let server = (
            prop_oneof![6 => Just(PODS[0]), 2 => select(PODS.to_vec())],
            any::<bool>(),
            prop_oneof![6 => Just(MEMBERS[0]), 2 => select(MEMBERS.to_vec())],
            prop::bool::weighted(0.95),
        );
        let pending = pending && voters == 5;
        (prop::collection::vec(server, voters), 0..voters).prop_map(move |(servers, leader)| {
            let ids: Vec<String> = (1..=voters).map(|id| id.to_string()).collect();
            let (mut pods, mut members) = (serde_json::Map::new(), serde_json::Map::new());
            for (ordinal, (pod, old, member, exists)) in servers.into_iter().enumerate() {
                if exists {
                    let revision = if old { " revision=old" } else { "" };
                    let (words, trouble) =
                        pod.split_once(" trouble").map_or((pod, String::new()), |(w, t)| (w, format!(" trouble{t}")));
                    pods.insert(ordinal.to_string(), json!(format!("{words}{revision}{trouble}")));
                }
                let follows = format!("following leader={}", leader + 1);
                let said = match member {
                    "" if ordinal == leader => "leading",
                    "" => &follows,
                    said => said,
                };
                let said = said.replace("=L", &format!("={}", leader + 1));
                let config = format!(" members=0x5/{}", ids.join(","));
                let pending = if pending { " pending=0x6" } else { "" };
                let said = if said.starts_with("error") { said } else { format!("{said}{config}{pending}") };
                members.insert(ordinal.to_string(), json!(said));
            }
            let ids: Vec<usize> = (1..=voters).collect();
            let storage =
                if ephemeral { json!({ "type": "Ephemeral", "acknowledgeDataLoss": true }) } else { json!({}) };
            let windows = if closed { json!([{ "start": "13:00", "durationMinutes": 60 }]) } else { json!([]) };
            let situation: common::Situation = serde_json::from_value(json!({
                "about": "drawn", "spec": { "replicas": voters, "storage": storage, "updateStrategy": { "mode": mode, "maintenanceWindows": windows } },
                "metadata": { "annotations": { "zookeeper.ensemble.rs/restart-leader": agreed } },
                "status": { "ensembleId": "E",
                    "bootstrap": { "phase": "Complete", "voters": ids, "volumes": {} },
                    "configuration": { "version": "0x5", "voters": ids, "observers": [] }, "pods": voters },
                "pods": pods, "members": members,
            }))
            .expect("a situation");
            situation.observed()
        })
    })
}

/// Asserts the invariant on a plan, by what was observed and not by what the plan made of it.
fn check(observed: &Observed) -> Result<(), TestCaseError> {
    let steps = plan(observed).steps;
    let acts = steps
        .iter()
        .filter(|step| matches!(step, Step::Evict(_) | Step::DeletePod(_) | Step::Transfer(_) | Step::Reconfigure(_)));
    prop_assert!(acts.count() <= 1, "more than one act: {steps:?}");
    let voters = observed.ensemble.spec.replicas;
    let quorum = usize::try_from(voters / 2 + 1).expect("few");
    let leader =
        (0..voters).find(|ordinal| said(observed, *ordinal).is_some_and(|status| status.role == Role::Leading));
    let rest = |without: i32| -> usize {
        leader.map_or(0, |leader| (0..voters).filter(|o| *o != without && serves(observed, *o, leader)).count())
    };
    let supervised = observed.ensemble.spec.update_strategy.mode == UpdateMode::Supervised;
    let agreed = observed.ensemble.metadata.annotations.as_ref().and_then(|all| all.values().next());
    let asked = supervised && agreed.is_none_or(|agreed| agreed != "r");
    let closed = !observed.ensemble.spec.update_strategy.maintenance_windows.is_empty();
    for step in &steps {
        let (removal, deleted) = match step {
            Step::Evict(removal) => (removal, false),
            Step::DeletePod(removal) => (removal, true),
            Step::Transfer(transfer) => {
                prop_assert_eq!(Some(transfer.from), leader);
                prop_assert!(!asked, "nobody agreed to it");
                prop_assert!(!closed, "no window is open");
                prop_assert!(
                    serves(observed, transfer.to, transfer.from),
                    "{} takes over and does not serve",
                    transfer.to
                );
                prop_assert_eq!(observed.pods[&transfer.to].revision.as_deref(), Some("r"));
                continue;
            }
            _ => continue,
        };
        let pod = &observed.pods[&removal.ordinal];
        prop_assert_eq!(&removal.uid, &pod.uid);
        prop_assert_eq!(pod.revision.as_deref(), Some("old"), "what is up to date is left alone");
        prop_assert!(!pod.deleting);
        let silent = said(observed, removal.ordinal).is_none_or(|status| status.role == Role::Looking);
        let dead = pod.trouble.is_some() && !pod.ready && silent;
        prop_assert_eq!(deleted, dead && !pod.ran, "deleted is what never ran, and only that");
        if deleted {
            continue;
        }
        let ephemeral = observed.ensemble.spec.storage.type_ == operator_api::StorageType::Ephemeral;
        if ephemeral || !dead {
            prop_assert!(rest(removal.ordinal) >= quorum || (voters == 1 && !ephemeral), "no quorum is left: {}", step);
        }
        if pod.ready && leader.is_some_and(|leader| serves(observed, removal.ordinal, leader)) {
            let others = usize::try_from(voters - 1).expect("few");
            prop_assert_eq!(rest(removal.ordinal), others, "somebody else is down already: {}", step);
            prop_assert!(voters == 1 || leader != Some(removal.ordinal), "the leader goes without a hand-off");
            prop_assert!(!asked || leader != Some(removal.ordinal), "nobody agreed to the restart of the only server");
            prop_assert!(!closed, "no window is open");
            let since = observed.pods.values().filter_map(|pod| pod.ready_turned.as_ref()).map(|time| time.0).max();
            prop_assert!(
                since.is_some_and(|since| observed.now.0.duration_since(since).as_secs() >= 15),
                "not stable yet"
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_leaves_a_synced_quorum(observed in observed()) {
        check(&observed)?;
    }
}
