//! What no observation may lead a restart in Swap mode to: a voter that serves is restarted, the number of voters changes, or somebody votes
//! who is not in sync and up to date. And a run of whole restarts in which the operator dies after any step, and two operators act on what
//! they read long ago.

use std::collections::{BTreeMap, BTreeSet};

use operator_core::{Observed, Reconfiguration, Role, Step, plan};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;

use crate::common::{self, said};

/// What becomes of a pod and its server, in the words of a situation.
const PODS: [&str; 4] = ["ready", "running turned=11:30:00", "ready turned=11:59:55", "ready deleting"];
const MEMBERS: [&str; 4] = ["", "looking", "syncing leader=L", "error: timed out"];

/// One server, as it is drawn.
#[derive(Clone, Debug)]
struct Server {
    pod: &'static str,
    old: bool,
    said: &'static str,
}

/// An ensemble of these ordinals.
#[derive(Clone, Debug)]
struct Ensemble {
    voters: BTreeSet<i32>,
    servers: Vec<Server>,
    leader: i32,
    version: u32,
}

fn ids(ordinals: impl Iterator<Item = i32>) -> Vec<i32> {
    ordinals.map(|ordinal| ordinal + 1).collect()
}

impl Ensemble {
    fn observers(&self) -> impl Iterator<Item = i32> {
        (0..).take(self.servers.len()).filter(|ordinal| !self.voters.contains(ordinal))
    }

    fn observed(&self) -> Observed {
        let text = |ids: Vec<i32>| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        let (voters, observers) = (ids(self.voters.iter().copied()), ids(self.observers()));
        let (mut pods, mut members) = (serde_json::Map::new(), serde_json::Map::new());
        for (ordinal, server) in (0..).zip(&self.servers) {
            let revision = if server.old { " revision=old" } else { "" };
            pods.insert(ordinal.to_string(), json!(format!("{}{revision}", server.pod)));
            let said = match server.said {
                "" if ordinal == self.leader => "leading",
                "" if self.voters.contains(&ordinal) => "following leader=L",
                "" => "observing leader=L",
                said => said,
            };
            let config = format!(" members={:#x}/{}/{}", self.version, text(voters.clone()), text(observers.clone()));
            let said = said.replace("=L", &format!("={}", self.leader + 1));
            members.insert(ordinal.to_string(), json!(if said.starts_with("error") { said } else { said + &config }));
        }
        let situation: common::Situation = serde_json::from_value(json!({
            "about": "drawn",
            "spec": { "replicas": self.servers.len(), "voters": self.voters.len(), "updateStrategy": { "mode": "Swap" } },
            "status": { "ensembleId": "E",
                "bootstrap": { "phase": "Complete", "voters": ids(0..3), "volumes": {} },
                "configuration": { "version": format!("{:#x}", self.version), "voters": voters, "observers": observers },
                "pods": self.servers.len() },
            "pods": pods, "members": members,
        }))
        .expect("a situation");
        situation.observed()
    }

    /// The voters after a reconfiguration.
    fn after(&self, change: &Reconfiguration) -> BTreeSet<i32> {
        assert!(change.leaving.is_empty(), "nobody leaves: {change:?}");
        let mut next = self.voters.clone();
        for line in &change.joining {
            let id: i32 = line["server.".len()..].split('=').next().and_then(|id| id.parse().ok()).expect("an id");
            if line.contains(":observer") {
                next.remove(&(id - 1))
            } else {
                next.insert(id - 1)
            };
        }
        next
    }
}

/// Whether a server is in sync with the leader, and its pod ready and to stay.
fn serves(observed: &Observed, ordinal: i32, leader: i32) -> bool {
    observed.pods.get(&ordinal).is_some_and(|pod| pod.ready && !pod.deleting)
        && said(observed, ordinal).is_some_and(|status| {
            let with = ordinal == leader || status.leader == Some(leader + 1);
            with && status.role != Role::Looking && status.store_state.as_str() == "synced"
        })
}

fn check(ensemble: &Ensemble) -> Result<Vec<Step>, TestCaseError> {
    let observed = ensemble.observed();
    let (voters, leader) = (&ensemble.voters, ensemble.leader);
    let steps = plan(&observed).steps;
    let acts = steps
        .iter()
        .filter(|step| matches!(step, Step::Evict(_) | Step::DeletePod(_) | Step::Transfer(_) | Step::Reconfigure(_)));
    prop_assert!(acts.count() <= 1, "more than one act: {steps:?}");
    let whole = |ordinal: i32| serves(&observed, ordinal, leader);
    let old = |ordinal: i32| ensemble.servers[usize::try_from(ordinal).expect("an ordinal")].old;
    for step in &steps {
        match step {
            Step::Evict(removal) => {
                prop_assert!(old(removal.ordinal), "what is up to date is left alone");
                prop_assert!(
                    !voters.contains(&removal.ordinal) || !whole(removal.ordinal),
                    "it votes and serves: {}",
                    step
                );
                let rest = voters.iter().filter(|o| **o != removal.ordinal && whole(**o)).count();
                prop_assert!(rest > voters.len() / 2, "no quorum is left: {}", step);
            }
            Step::DeletePod(_) => prop_assert!(false, "every pod ran: {}", step),
            Step::Transfer(transfer) => {
                prop_assert!(
                    transfer.from == leader && voters.contains(&transfer.to) && whole(transfer.to),
                    "{}",
                    step
                );
            }
            Step::Reconfigure(change) => {
                let next = ensemble.after(change);
                prop_assert_eq!(next.len(), voters.len(), "another number votes: {}", step);
                prop_assert!(next.contains(&leader), "the leader is to vote: {}", step);
                let (joins, leaves): (Vec<&i32>, Vec<&i32>) =
                    (next.difference(voters).collect(), voters.difference(&next).collect());
                prop_assert_eq!((joins.len(), leaves.len()), (1, 1), "one place is traded: {}", step);
                prop_assert!(whole(*joins[0]), "who is to vote is in sync: {}", step);
                let is_roll = (0..).take(ensemble.servers.len()).any(old);
                if is_roll {
                    prop_assert!(old(*leaves[0]) && !old(*joins[0]), "a place is taken for a restart: {}", step);
                    prop_assert!((0..).take(ensemble.servers.len()).all(whole), "somebody is not well: {}", step);
                    prop_assert!(!ensemble.observers().any(old), "observers are restarted first: {}", step);
                } else {
                    prop_assert!(joins[0] < leaves[0], "the lowest vote in the end: {}", step);
                }
            }
            _ => {}
        }
    }
    Ok(steps)
}

fn ensemble() -> impl Strategy<Value = Ensemble> {
    (select(vec![3_usize, 5]), 1..3_usize).prop_flat_map(|(voters, spares)| {
        let all: Vec<i32> = (0..).take(voters + spares).collect();
        let server = (
            prop_oneof![14 => Just(PODS[0]), 1 => select(PODS.to_vec())],
            any::<bool>(),
            prop_oneof![14 => Just(MEMBERS[0]), 1 => select(MEMBERS.to_vec())],
        )
            .prop_map(|(pod, old, said)| Server { pod, old, said });
        (
            subsequence(all, voters),
            prop::collection::vec(server, voters + spares),
            any::<prop::sample::Index>(),
            any::<bool>(),
        )
            .prop_map(|(voters, mut servers, leader, is_done)| {
                servers.iter_mut().for_each(|server| server.old &= !is_done);
                let leader = voters[leader.index(voters.len())];
                Ensemble { voters: voters.into_iter().collect(), servers, leader, version: 5 }
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_takes_no_vote_away(ensemble in ensemble()) {
        check(&ensemble)?;
    }
}

/// What happens in a run: an operator reads, an operator carries out the first of its steps that changes something (and dies, which is the same as
/// reading anew), or time passes and whoever was restarted is back.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Read(usize),
    Act(usize),
    Settle,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (0..2_usize).prop_map(Happening::Read),
        4 => (0..2_usize).prop_map(Happening::Act),
        2 => Just(Happening::Settle),
    ]
}

/// A restart of a whole ensemble.
struct World {
    ensemble: Ensemble,
    read: [Option<Ensemble>; 2],
    restarted: BTreeMap<i32, u32>,
}

impl World {
    fn happen(&mut self, happening: Happening) -> Result<(), TestCaseError> {
        match happening {
            Happening::Read(who) => self.read[who] = Some(self.ensemble.clone()),
            Happening::Act(who) => {
                let Some(read) = self.read[who].clone() else { return Ok(()) };
                for step in check(&read)? {
                    self.carry_out(&step, &read)?;
                }
            }
            Happening::Settle => {
                for server in &mut self.ensemble.servers {
                    (server.pod, server.said) = (PODS[0], MEMBERS[0]);
                }
            }
        }
        Ok(())
    }

    /// All were restarted, and the lowest vote again.
    fn is_done(&self) -> bool {
        self.ensemble.servers.iter().all(|server| !server.old)
            && self.ensemble.voters.iter().zip(0..).all(|(voter, ordinal)| *voter == ordinal)
    }

    fn carry_out(&mut self, step: &Step, read: &Ensemble) -> Result<(), TestCaseError> {
        let now = &mut self.ensemble;
        match step {
            Step::Evict(removal) => {
                let n = usize::try_from(removal.ordinal).expect("an ordinal");
                // The UID of the pod, and the budget of one.
                let is_same = now.servers[n].old == read.servers[n].old;
                if !is_same || now.servers.iter().any(|server| server.pod != PODS[0]) {
                    return Ok(());
                }
                prop_assert!(
                    !now.voters.contains(&removal.ordinal),
                    "zk-{} votes and serves, and is restarted",
                    removal.ordinal
                );
                now.servers[n] = Server { pod: PODS[1], old: false, said: "error: refused" };
                *self.restarted.entry(removal.ordinal).or_default() += 1;
            }
            // The office moves only from whoever has it; a configuration changes only from the version that was read.
            Step::Transfer(transfer) if now.leader == transfer.from && now.voters.contains(&transfer.to) => {
                now.leader = transfer.to;
            }
            Step::Reconfigure(change)
                if change.version == format!("{:#x}", now.version) && change.leader == now.leader =>
            {
                now.voters = now.after(change);
                now.version += 1;
                prop_assert!(now.voters.contains(&now.leader));
            }
            _ => {}
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_whole_restart_in_a_hostile_world(
        (voters, spares, leader) in (select(vec![3, 5]), 1..3, 0..3),
        happenings in prop::collection::vec(happening(), 0..40),
    ) {
        let server = Server { pod: PODS[0], old: true, said: MEMBERS[0] };
        let servers = vec![server; usize::try_from(voters + spares).expect("few")];
        let ensemble = Ensemble { voters: (0..voters).collect(), servers, leader, version: 5 };
        let mut world = World { ensemble, read: [None, None], restarted: BTreeMap::new() };
        for happening in happenings {
            world.happen(happening)?;
        }
        // One operator goes on, undisturbed, and comes to the end.
        for _ in 0..6 * (voters + spares) {
            if world.is_done() {
                break;
            }
            for happening in [Happening::Settle, Happening::Read(0), Happening::Act(0)] {
                world.happen(happening)?;
            }
        }
        prop_assert!(world.is_done(), "it does not come to its end");
        prop_assert!(world.restarted.values().all(|count| *count == 1), "each once: {:?}", world.restarted);
    }
}
