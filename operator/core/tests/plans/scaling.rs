//! What no observation of a founded ensemble may lead to when its size is to change: servers that lag, lie about nothing but are late,
//! and configurations that somebody else made.

use std::collections::BTreeSet;

use operator_core::{
    Claim, Fact, Founded, MemberStatus, Observed, PodFacts, Resize, Role, Step, StoreFacts, StoreState, Token,
    TokenState, plan,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;

use crate::common;

/// Ordinals that there may be.
const ORDINALS: i32 = 8;

/// A configuration as a server reports it.
fn text(version: &str, voters: &[i32], observers: &[i32]) -> String {
    let ids = |ordinals: &[i32]| ordinals.iter().map(|o| (o + 1).to_string()).collect::<Vec<_>>().join(",");
    format!("{version}/{}/{}", ids(voters), ids(observers))
}

/// A server: mostly well, following `leader`, with the recorded configuration or the one before.
fn server(ordinal: i32, leader: i32, recorded: String) -> impl Strategy<Value = Result<MemberStatus, String>> {
    let well = move |lagging: bool, synced: bool| MemberStatus {
        version: "1".to_owned(),
        myid: ordinal + 1,
        ensemble_id: Some("E".to_owned()),
        volume_id: Some(format!("v{ordinal}")),
        role: if ordinal == leader { Role::Leading } else { Role::Following },
        leader: Some(leader + 1),
        epoch: 1,
        logged_zxid: Some("0x100000009".to_owned()),
        store_state: if synced { StoreState::Synced } else { StoreState::Syncing },
        store: StoreFacts::default(),
        config_hash: None,
        config: common::members(if lagging { "0x3/1,2,3,4,5/" } else { &recorded }),
        bootstrap: operator_core::BootstrapState::Closed,
    };
    prop_oneof![
        12 => Just(Ok((false, true))), 1 => Just(Ok((true, true))), 1 => Just(Ok((false, false))), 1 => Just(Err("refused".to_owned())),
    ]
    .prop_map(move |state: Result<(bool, bool), String>| state.map(|(lagging, synced)| well(lagging, synced)))
}

fn claims() -> impl Strategy<Value = Vec<Claim>> {
    let stamp = select(vec![None, Some("0x5"), Some("unconfirmed-0x5"), Some("0x3")]);
    prop::collection::vec((2..ORDINALS, stamp, prop::bool::weighted(0.9)), 0..4).prop_map(|claims| {
        let claim = |(ordinal, stamp, ours): (i32, Option<&str>, bool)| Claim {
            name: format!("data-zk-{ordinal}"),
            uid: format!("uid-{ordinal}"),
            ensemble_id: Some(if ours { "E" } else { "OTHER" }.to_owned()),
            retired: stamp.map(str::to_owned),
            owners: Vec::new(),
            bound: true,
            deleting: false,
            class: None,
            requested: None,
            capacity: None,
            resize: Resize::None,
        };
        claims.into_iter().map(claim).collect()
    })
}

fn observed() -> impl Strategy<Value = Observed> {
    let all: Vec<i32> = (0..ORDINALS).collect();
    let voters = subsequence(all.clone(), 1..=5);
    // Often, as when it has almost its size, the lowest ordinals.
    let voters = prop_oneof![voters, select(vec![1, 3, 5]).prop_map(|n| (0..n).collect::<Vec<i32>>())];
    (voters, subsequence(all, 0..=2), 1..=ORDINALS, 1..=7, 0..ORDINALS).prop_flat_map(
        |(voters, observers, pods, replicas, drawn)| {
            // Now and then it has its size, and only claims are left to look after.
            let settled =
                drawn == 0 && voters.iter().zip(0..).all(|(voter, ordinal)| *voter == ordinal) && voters.len() % 2 == 1;
            let size = i32::try_from(voters.len()).expect("small");
            let (pods, replicas) = if settled { (size, size) } else { (pods, replicas) };
            let observers = if settled { Vec::new() } else { observers };
            let observers: Vec<i32> = observers.into_iter().filter(|o| !voters.contains(o)).collect();
            let leader = voters[usize::try_from(drawn).expect("small") % voters.len()];
            let recorded = text("0x5", &voters, &observers);
            let servers: Vec<_> = (0..pods).map(|ordinal| server(ordinal, leader, recorded.clone())).collect();
            let chances = (any::<bool>(), prop::bool::weighted(0.8), prop::bool::weighted(0.9));
            (servers, claims(), chances).prop_map(move |(servers, claims, (delete, in_place, ready))| {
                let ids = |ordinals: &[i32]| ordinals.iter().map(|o| o + 1).collect::<Vec<i32>>();
                let reclaim = if delete { "Delete" } else { "Retain" };
                let mut observed = common::observe(
                    serde_json::from_value(json!({
                        "apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble",
                        "metadata": { "name": "zk", "namespace": "prod", "uid": "u" },
                        "spec": { "replicas": replicas, "storage": { "reclaimPolicy": { "onScaleDown": reclaim } } },
                        "status": {
                            "ensembleId": "E",
                            "bootstrap": { "phase": "Complete", "voters": [1, 2, 3] },
                            "configuration": { "version": "0x5", "voters": ids(&voters), "observers": ids(&observers) },
                            "pods": pods,
                        },
                    }))
                    .expect("an ensemble"),
                );
                observed.token = TokenState::Present(Token("t".to_owned()));
                for (ordinal, server) in (0..).zip(servers) {
                    let pod = PodFacts { ip: Some(format!("10.0.0.{ordinal}")), ready, ..PodFacts::default() };
                    observed.pods.insert(ordinal, pod);
                    observed.members.insert(ordinal, server);
                }
                observed.claims = claims.clone();
                observed.objects = if in_place { common::live_objects(&observed) } else { Vec::new() };
                observed
            })
        },
    )
}

/// The voters that follow the leader whom a majority names, or are it.
fn in_sight(observed: &Observed, founded: &Founded, active: bool) -> usize {
    let counts = |ordinal: &&i32| {
        observed.members.get(ordinal).and_then(|answer| answer.as_ref().ok()).is_some_and(|status| {
            status.store_state == StoreState::Synced && (!active || status.config.version() >= Some(founded.version()))
        })
    };
    founded.voters().iter().filter(counts).count()
}

fn check(observed: &Observed) -> Result<(), TestCaseError> {
    let founded = Founded::of(observed.ensemble.status.as_ref()).expect("drawn whole").expect("recorded");
    let (voters, members) = (founded.voters(), founded.members());
    let quorum = voters.len() / 2 + 1;
    for step in plan(observed).steps {
        match &step {
            Step::Reconfigure(change) => {
                prop_assert!(
                    in_sight(observed, &founded, true) >= quorum,
                    "without a majority that is done with the last one"
                );
                prop_assert_eq!(&change.version, "0x5");
                let leader = observed.members[&change.leader].as_ref().expect("it answers");
                prop_assert_eq!(leader.role, Role::Leading);
                let mut next: BTreeSet<i32> = voters.clone();
                for id in &change.leaving {
                    prop_assert!(members.contains(&(id - 1)), "who leaves is a member");
                    // An observer leaves on its way to a vote: then it acknowledges, and the next configuration has a quorum.
                    let promoted =
                        founded.observers().contains(&(id - 1)) && *id <= observed.ensemble.spec.voter_count();
                    prop_assert!(*id > observed.ensemble.spec.replicas || promoted, "server {} is to stay", id);
                    next.remove(&(id - 1));
                }
                for line in &change.joining {
                    let id: i32 =
                        line["server.".len()..].split('=').next().and_then(|id| id.parse().ok()).expect("an id");
                    next.remove(&(id - 1));
                    if line.contains(":participant") {
                        let status = observed.members[&(id - 1)].as_ref().expect("who is to vote answers");
                        prop_assert_eq!(status.store_state, StoreState::Synced, "who is to vote is synced");
                        next.insert(id - 1);
                    }
                }
                let only_voter = voters.len() == 1 && next.len() == 1;
                prop_assert!(next.contains(&change.leader) || only_voter, "the leader stays");
                prop_assert!(next.len().abs_diff(voters.len()) <= 2, "{:?} -> {:?}", voters, next);
                let ours = |set: &BTreeSet<i32>| set.iter().filter(|ordinal| **ordinal < founded.pods).count();
                if next != voters && ours(&next) == next.len() {
                    prop_assert!(next.len() % 2 == 1, "an even number of voters: {:?}", next);
                }
                // The majority of the new voters has what the old one acknowledged.
                let synced = next
                    .iter()
                    .filter(|o| observed.members[o].as_ref().is_ok_and(|s| s.store_state == StoreState::Synced));
                if ours(&next) == next.len() {
                    prop_assert!(synced.count() > next.len() / 2, "{:?} has no synced majority", next);
                }
            }
            Step::Transfer(transfer) => {
                prop_assert!(voters.contains(&transfer.to), "who takes over votes");
                prop_assert!(in_sight(observed, &founded, true) >= quorum);
            }
            Step::Record(Fact::Pods, status) => {
                let pods = status.pods.expect("recorded");
                prop_assert!(
                    members.iter().all(|o| *o >= founded.pods || *o < pods),
                    "the pod of a member is given up"
                );
                prop_assert!(in_sight(observed, &founded, true) >= quorum);
                for claim in &observed.claims {
                    let ordinal: i32 = claim.name["data-zk-".len()..].parse().expect("an ordinal");
                    if (pods..founded.pods).contains(&ordinal) {
                        prop_assert!(claim.retired.is_some(), "{:?} is given up without a stamp", claim);
                    }
                    if (founded.pods..pods).contains(&ordinal) {
                        let stamp = claim.retired.as_deref().unwrap_or("none");
                        prop_assert!(stamp.starts_with("0x"), "a pod is made over {:?}", claim);
                        prop_assert_eq!(claim.ensemble_id.as_deref(), Some("E"), "a pod is made over another's claim");
                    }
                }
            }
            Step::DeleteClaim(hold) => {
                let claim = observed.claims.iter().find(|claim| claim.name == hold.name && claim.retired.is_some());
                prop_assert_eq!(claim.map(|claim| &claim.uid), Some(&hold.uid));
                let ordinal: i32 = hold.name["data-zk-".len()..].parse().expect("an ordinal");
                prop_assert!(!members.contains(&ordinal), "the claim of a member is deleted");
                prop_assert!(!observed.pods.contains_key(&ordinal), "the claim of a pod is deleted");
                prop_assert!(!observed.objects.is_empty(), "the controller of StatefulSets may make a pod over it");
            }
            _ => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_observation_of_a_founded_ensemble(observed in observed()) {
        check(&observed)?;
    }
}

/// The property above is about something: each kind of step is planned for many of the observations that are drawn.
#[test]
fn observations_lead_to_every_kind_of_step() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: std::collections::BTreeMap<&str, u32> = std::collections::BTreeMap::new();
    for _ in 0..1000 {
        let tree = observed().new_tree(&mut runner).expect("a value");
        for step in plan(&tree.current()).steps {
            *seen.entry(step.name()).or_default() += 1;
        }
    }
    for name in ["reconfigure", "transfer", "record-pods", "delete-claim", "stamp", "wait"] {
        assert!(seen.get(name).is_some_and(|count| *count >= 5), "{name}: {seen:?}");
    }
}
