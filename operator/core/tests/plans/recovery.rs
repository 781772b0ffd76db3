//! What no observation may lead a recovery to: an ensemble that is given up without its id, while a majority answers, or for a member that
//! is empty, silent or behind; a claim that goes without a record that was read, or before the new ensemble serves.

use operator_api::{RecoveryCandidate, RecoveryPhase, ZooKeeperEnsembleStatus};
use operator_core::{Fact, Observed, Role, Step, plan};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

use crate::common::{self, said};

/// What a server says, in the words of a situation; `I` is the ensemble.
const MEMBERS: [&str; 6] = [
    "looking epoch=4 logged=0x400000007 ensemble=I",
    "looking epoch=4 logged=0x400000009 ensemble=I",
    "looking epoch=3 logged=0x400000009 ensemble=I aside=files",
    "awaiting-grant ensemble=I",
    "looking ensemble=F epoch=4 logged=0x400000007",
    "error: timed out",
];

fn server() -> impl Strategy<Value = (String, String, String)> {
    let claim =
        prop_oneof![12 => Just("I"), 3 => Just("E"), 1 => Just("I deleting"), 1 => Just("OTHER"), 1 => Just("")];
    let pod = prop_oneof![
        10 => Just("running"), 3 => Just("ready"), 2 => Just("running made=11:59:45"), 1 => Just("deleting"), 2 => Just("")
    ];
    (pod, select(MEMBERS.to_vec()), claim).prop_map(|(pod, member, claim)| (pod.into(), member.into(), claim.into()))
}

/// A record of a recovery from `E` to `N1`, of this member.
fn record() -> impl Strategy<Value = Option<Value>> {
    let phase = select(vec!["Stopping", "Starting", "Emptying", "Emptying", "Finished"]);
    let record = (phase, 0..3i32, any::<bool>(), prop::bool::weighted(0.3)).prop_map(|(phase, member, known, again)| {
        let uid = |name: &str| if known { format!("uid-{name}") } else { format!("old-{name}") };
        let others = (0..3i32).filter(|other| *other != member).flat_map(|other| {
            ["data", "txnlog"].map(|volume| format!("{volume}-zk-{other}"))
        });
        let claims: Vec<Value> = others.map(|name| json!({ "name": name, "uid": uid(&name) })).collect();
        // In the second attempt the other of the three is what is left, and nothing is gone back to.
        let (candidates, before) = ((0..3i32).filter(|other| *other != member), (member + 1) % 3);
        let candidate = |ordinal: i32| json!({ "ordinal": ordinal, "volumeId": format!("v{ordinal}"), "epoch": 4, "loggedZxid": format!("{:#x}", (4u64 << 32) + u64::from(ordinal == 1)) });
        let others: Vec<Value> = candidates.filter(|other| !again || *other != before).map(candidate).collect();
        let former = json!({ "configuration": { "version": "0x400000005", "voters": [1, 2, 3] }, "pods": 3 });
        json!({ "phase": phase, "member": member, "volumeId": format!("v{member}"), "formerEnsembleId": "E", "ensembleId": "N1",
                "epoch": 4, "claims": claims, "finishedAt": (phase == "Finished").then_some("2030-01-01T11:50:00Z"), "others": others,
                "former": (!again).then_some(former), "abandoned": again.then(|| json!({ "member": before, "ensembleId": "N0" })) })
    });
    prop::option::weighted(0.5, record)
}

fn observed() -> impl Strategy<Value = Observed> {
    let servers = prop::collection::vec(server(), 3);
    let request = prop::option::weighted(0.8, (0..4i32, select(vec!["E", "N1", "N1", "OTHER"])));
    let set = select(vec!["ours", "formers", "none"]);
    (servers, request, record(), any::<bool>(), any::<bool>(), set).prop_map(
        |(servers, request, record, leads, is_long, set)| {
            let id = if record.is_some() { "N1" } else { "E" };
            let member = record.as_ref().map(|record| record["member"].as_i64().expect("a number"));
            let empty = serde_json::Map::new;
            let (mut pods, mut members, mut claims) = (empty(), empty(), empty());
            for (ordinal, (pod, said, claim)) in servers.into_iter().enumerate() {
                let leads = leads && member == i64::try_from(ordinal).ok();
                let said = match leads {
                    true => format!("leading ensemble=I epoch=6 members=0x500000001/{}/", ordinal + 1),
                    false => said,
                };
                if !pod.is_empty() {
                    pods.insert(ordinal.to_string(), json!(if leads { "ready" } else { &pod }));
                    members.insert(ordinal.to_string(), json!(said.replace("=I", &format!("={id}"))));
                }
                for volume in ["data", "txnlog"].into_iter().filter(|_| !claim.is_empty()) {
                    claims.insert(format!("{volume}-zk-{ordinal}"), json!(claim.replace('I', id)));
                }
            }
            let voters = member.map_or_else(|| vec![1, 2, 3], |member| vec![member + 1]);
            let count = member.map_or(3, |member| member + 1);
            let since = if is_long { "2030-01-01T11:00:00Z" } else { "2030-01-01T11:59:45Z" };
            let annotations = json!({ "annotations": { "zookeeper.ensemble.rs/ensemble-id": "E" } });
            let template = |name: &str| json!({ "metadata": { "name": name, "annotations": annotations["annotations"] } });
            let drift = match set {
                "ours" => json!({}),
                "formers" => json!({ "StatefulSet/zk": { "spec": { "volumeClaimTemplates": [template("data"), template("txnlog")] } } }),
                _ => json!({ "StatefulSet/zk": null }),
            };
            let recovery = request.map(|(member, confirm)| json!({ "fromMember": member, "confirm": confirm }));
            let situation: common::Situation = serde_json::from_value(json!({
                "about": "drawn", "spec": { "recovery": recovery }, "drift": drift,
                "status": { "ensembleId": id, "pods": count, "recovery": record,
                    "bootstrap": { "phase": "Complete", "voters": [1, 2, 3], "volumes": {} },
                    "configuration": { "version": if leads { "0x500000001" } else { "0x400000005" }, "voters": voters },
                    "conditions": [{ "type": "Available", "status": "False", "reason": "NoLeader", "message": "", "lastTransitionTime": since }] },
                "pods": pods, "members": members, "claims": claims,
            }))
            .expect("a situation");
            situation.observed()
        },
    )
}

/// What a member of this ensemble answers that it holds, in a pod that stays.
fn holds(observed: &Observed, ordinal: i32, id: &str) -> Option<(i64, String)> {
    let stays = observed.pods.get(&ordinal).is_some_and(|pod| !pod.deleting);
    let status = said(observed, ordinal).filter(|status| stays && status.ensemble_id.as_deref() == Some(id))?;
    let trusted = status.store.set_aside.is_none() && status.store_state.as_str() != "uninitialized";
    trusted.then(|| (status.epoch, status.logged_zxid.clone().expect("every one tells")))
}

/// Asserts what may be given up, by what was observed and not by what the plan made of it.
fn gives_up(observed: &Observed, next: &ZooKeeperEnsembleStatus) -> Result<(), TestCaseError> {
    let status = observed.ensemble.status.as_ref().expect("drawn with one");
    let old = status.ensemble_id.as_deref().expect("an id");
    let under_way = status.recovery.as_ref().filter(|recovery| recovery.is_under_way());
    let Some(new) = &next.recovery else {
        let under_way = under_way.expect("withdrawn, and none was under way");
        prop_assert_eq!(under_way.phase, RecoveryPhase::Stopping, "withdrawn when something may have started");
        prop_assert!(observed.ensemble.spec.recovery.is_none() && under_way.abandoned.is_none(), "{under_way:?}");
        prop_assert_eq!(next.ensemble_id.as_ref(), Some(&under_way.former_ensemble_id));
        prop_assert_eq!(next.pods, Some(3));
        return Ok(());
    };
    let asked = observed.ensemble.spec.recovery.as_ref().expect("nobody asked");
    prop_assert_eq!((&*asked.confirm, asked.from_member), (old, new.member), "it was not confirmed");
    if let Some(before) = under_way {
        prop_assert_eq!(before.phase, RecoveryPhase::Starting, "another member, and nothing was started, or it serves");
        let serves = said(observed, before.member).is_some_and(|status| status.role == Role::Leading);
        prop_assert!(!serves, "zk-{} serves, and is given up", before.member);
        let own = before.others.iter().find(|other| other.ordinal == new.member).expect("one that answered");
        prop_assert_eq!(&own.volume_id, &new.volume_id);
        let end = |other: &RecoveryCandidate| other.logged_zxid.clone();
        prop_assert!(before.others.iter().all(|other| end(other) <= end(own)), "a member that answered has more");
        prop_assert!(new.epoch > before.epoch && new.former.is_none());
        let claims = observed.claims.iter().filter(|claim| claim.name.ends_with(&format!("-{}", before.member)));
        let ours = claims.filter(|claim| claim.ensemble_id.as_deref().is_some_and(|id| id == "E" || id == old));
        for claim in ours {
            prop_assert!(new.claims.iter().any(|going| going.uid == claim.uid), "{} may begin again", claim.name);
        }
        return Ok(());
    }
    prop_assert!(status.recovery.as_ref().is_none_or(|recovery| !recovery.is_under_way()), "a second one");
    let voters = &status.configuration.as_ref().expect("drawn with one").voters;
    let able = voters.iter().filter(|id| holds(observed, **id - 1, old).is_some()).count();
    prop_assert!(able <= voters.len() / 2, "{able} of {voters:?} have their history");
    let own = holds(observed, new.member, old);
    prop_assert!(own.is_some(), "the history of a member that does not answer with any");
    prop_assert!(voters.iter().all(|id| holds(observed, id - 1, old) <= own), "a member that answers has more");
    let silent = voters.iter().map(|id| id - 1).filter(|ordinal| said(observed, *ordinal).is_none());
    let half_a_minute_ago = observed.now.0.checked_sub(jiff::SignedDuration::from_secs(30)).expect("a time");
    for ordinal in silent {
        let made = observed.pods.get(&ordinal).and_then(|pod| pod.created_at.as_ref());
        prop_assert!(
            made.is_some_and(|made| made.0 <= half_a_minute_ago),
            "zk-{ordinal} had no time to tell what it holds"
        );
    }
    let volume = said(observed, new.member).and_then(|status| status.volume_id.clone());
    prop_assert_eq!(volume.as_ref(), Some(&new.volume_id));
    let kept = new.claims.iter().all(|claim| !claim.name.ends_with(&format!("-{}", new.member)));
    prop_assert!(kept, "the claims of the member go");
    Ok(())
}

/// Asserts the invariant on a plan; whether a claim goes, or an ensemble is given up.
fn check(observed: &Observed) -> Result<[bool; 2], TestCaseError> {
    let steps = plan(observed).steps;
    let status = observed.ensemble.status.as_ref().expect("drawn with one");
    let recovery = status.recovery.as_ref();
    let phase = recovery.map(|recovery| recovery.phase);
    let mut seen = [false; 2];
    for step in &steps {
        match step {
            Step::Record(_, next) | Step::WriteStatus(next) if next.ensemble_id != status.ensemble_id => {
                prop_assert!(matches!(step, Step::Record(Fact::Recovery, _)), "{step}");
                gives_up(observed, next)?;
                seen[1] = true;
            }
            Step::Record(_, next) => {
                let back = next.recovery.as_ref().map(|recovery| recovery.phase) < phase;
                prop_assert!(!back, "the recovery goes back");
                // Whoever was chosen before cannot begin any more when another one starts.
                let starts = next
                    .recovery
                    .as_ref()
                    .filter(|next| next.phase == RecoveryPhase::Starting && phase != Some(next.phase));
                let before = starts.and_then(|recovery| recovery.abandoned.as_ref()).map(|abandoned| abandoned.member);
                if let (Some(recovery), Some(before)) = (starts, before) {
                    let left = observed.claims.iter().find(|claim| {
                        claim.name.ends_with(&format!("-{before}"))
                            && recovery.claims.iter().any(|going| going.uid == claim.uid)
                    });
                    prop_assert!(left.is_none(), "{left:?} is there when another member starts");
                }
            }
            Step::DeleteClaim(hold) => {
                let recovery = recovery.expect("recorded before it is deleted");
                prop_assert!(
                    recovery.claims.iter().any(|claim| claim.uid == hold.uid),
                    "{} is not recorded",
                    hold.name
                );
                let before = recovery.abandoned.as_ref().map(|abandoned| abandoned.member);
                if recovery.phase == RecoveryPhase::Stopping {
                    let is_of = before.is_some_and(|member| hold.name.ends_with(&format!("-{member}")));
                    prop_assert!(is_of && observed.pods.is_empty(), "{} goes before anybody else serves", hold.name);
                    seen[0] = true;
                    continue;
                }
                prop_assert_eq!(recovery.phase, RecoveryPhase::Emptying);
                let serves = said(observed, recovery.member).is_some_and(|status| {
                    status.role == Role::Leading && status.ensemble_id.as_ref() == Some(&recovery.ensemble_id)
                });
                prop_assert!(serves, "{} goes before zk-{} serves", hold.name, recovery.member);
                seen[0] = true;
            }
            Step::DeletePod(removal) => {
                prop_assert!(recovery.is_some_and(|recovery| recovery.is_under_way()), "{} is deleted", removal.pod);
                let serves = said(observed, removal.ordinal).is_some_and(|status| status.role == Role::Leading);
                prop_assert!(phase != Some(RecoveryPhase::Emptying) || !serves, "{} serves", removal.pod);
            }
            Step::Adopt(adoption) => {
                let recovery = recovery.expect("recorded before");
                prop_assert!(
                    adoption.claim.ends_with(&format!("-{}", recovery.member)),
                    "{} is adopted",
                    adoption.claim
                );
            }
            // Nobody of the new ensemble starts while anybody runs.
            Step::Apply(object) if object.kind.as_str() == "StatefulSet" && phase == Some(RecoveryPhase::Starting) => {
                let is_new = observed.object("StatefulSet", "zk").is_none();
                prop_assert!(!is_new || observed.pods.is_empty(), "{:?} run", observed.pods.keys());
            }
            Step::Apply(_) => prop_assert!(phase != Some(RecoveryPhase::Stopping), "{step} while all are stopped"),
            Step::Reconfigure(_) | Step::Evict(_) | Step::Transfer(_) | Step::Grant(_) => {
                prop_assert!(recovery.is_none_or(|recovery| !recovery.is_under_way()), "{step} during a recovery");
            }
            _ => {}
        }
    }
    Ok(seen)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_ensemble_is_given_up_for_nothing_less_than_its_majority(observed in observed()) {
        check(&observed)?;
    }
}

/// The states drawn are ones in which something is done, so that the property above is about something.
#[test]
fn recoveries_are_drawn() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut drawn = [0; 2];
    for _ in 0..600 {
        let observed = observed().new_tree(&mut runner).expect("drawn").current();
        let seen = check(&observed).expect("the invariant");
        drawn = [0, 1].map(|at| drawn[at] + usize::from(seen[at]));
    }
    assert!(drawn.iter().all(|count| *count >= 2), "{drawn:?}: claims go, ensembles are given up");
}
