//! The volumes of a majority are lost, and a person decides that the history of one member goes on.
//!
//! One that is left holds everything that was committed until then: what only the others held is lost for good, and no promise of the servers
//! could be judged any more. The person does as `docs/operations/quorum-lost.md` says: nothing before the status says that the majority is
//! lost, and then the id of the ensemble, and of the members that answer the one with the latest history; now and then another id or
//! another member first, which must come to nothing.

use crate::cluster::NAME;
use crate::marks::Mark;
use crate::members;
use crate::script::Deed;
use crate::volumes::Volumes;
use crate::world::{Event, World};
use ensemble_proto::membership::Membership;
use ensemble_proto::{Epoch, ServerId};
use ensemble_sim::trace::{Verdict, Violation};
use ensemble_storage::{IdentityError, TakeOver};
use operator_api::{Recovery, RecoveryStatus, names};

/// An id that no ensemble has.
const ANOTHER_ID: &str = "another";

impl World {
    /// The volumes of a majority are gone at once, with their servers, if the others bear it and one of those holds everything.
    pub(crate) fn lose_majority(&mut self) -> Verdict {
        let ledger = self.servers.ledger();
        let mut voters: Vec<i32> =
            ledger.voters().into_iter().filter_map(|server| i32::try_from(server).ok()).collect();
        self.random.shuffle(&mut voters);
        let holds = |ordinal: &i32| ledger.servers[World::server(*ordinal)].durable.has(ledger.last_committed());
        let runs = |ordinal: &i32| {
            self.cluster.pods.get(ordinal).is_some_and(|pod| !pod.facts.deleting && pod.lost_until.is_none())
        };
        let Some(keeper) = voters.iter().position(holds) else { return Ok(()) };
        if !self.others_bear(voters[keeper])
            || !voters.iter().all(runs)
            || self.recovery().is_some_and(RecoveryStatus::is_under_way)
        {
            return Ok(());
        }
        voters.swap(0, keeper);
        let left = self.random.usize(1..=(voters.len() - 1) / 2);
        for ordinal in voters.split_off(left) {
            for claim in [names::data_claim(NAME, ordinal), names::txn_log_claim(NAME, ordinal)] {
                self.cluster.remove_claim(&claim);
            }
            self.servers.kill(World::server(ordinal))?;
            self.delete_pod(ordinal);
        }
        self.tale(|| format!("{voters:?} are left of the voters"));
        self.marks.hit(Mark::MajorityLost);
        let is_careless = self.random.u8(0..3) == 0;
        self.schedule_in(35_000, 90_000, Event::Deed(Deed::Recover { is_careless }));
        Ok(())
    }

    /// Whether too few voters have the volume that they voted with.
    pub(crate) fn is_majority_lost(&self) -> bool {
        let ledger = self.servers.ledger();
        let voters = ledger.voters();
        let has_volume = |server: &&usize| {
            let ordinal = i32::try_from(**server).unwrap_or_default();
            let is_going = |uid: &String| self.cluster.claims.values().any(|claim| claim.uid == *uid && claim.deleting);
            let is_whole = |disk: &Volumes| *disk == self.volumes(ordinal) && !disk.iter().flatten().any(is_going);
            !ledger.servers[**server].is_wiped && self.disks.get(&ordinal).is_some_and(is_whole)
        };
        let is_founded = ledger.last_committed() > ensemble_proto::Zxid::ZERO;
        is_founded && voters.iter().filter(has_volume).count() <= voters.len() / 2
    }

    /// The last recovery, as it is recorded.
    pub(crate) fn recovery(&self) -> Option<&RecoveryStatus> {
        self.cluster.ensemble.status.as_ref()?.recovery.as_ref()
    }

    /// A person gives all but one history up, when the status says that the majority is lost.
    pub(crate) fn recover(&mut self, is_careless: bool) {
        let Some(status) = &self.cluster.ensemble.status else { return };
        let is_told = status.conditions.iter().any(|c| c.type_ == "QuorumLost" && c.status == "True");
        let is_under_way = self.recovery().is_some_and(RecoveryStatus::is_under_way);
        let Some(id) = status.ensemble_id.clone().filter(|_| is_told && !is_under_way && self.is_majority_lost())
        else {
            return;
        };
        let history = |id: &ServerId| {
            let ordinal = i32::try_from(id.0 - 1).ok()?;
            Some((members::status(self, ordinal)?.history()?, ordinal))
        };
        let Some((_, best)) = self.servers.ledger().membership.servers.keys().filter_map(history).max() else { return };
        let (from_member, confirm) = match (is_careless, self.random.bool()) {
            (false, _) => (best, id),
            (true, false) => (best, ANOTHER_ID.to_owned()),
            (true, true) => (self.random.i32(0..7), id),
        };
        let asked = Recovery { from_member, confirm };
        if self.cluster.ensemble.spec.recovery.as_ref() != Some(&asked) {
            self.tale(|| format!("a person asks for a recovery: {asked:?}"));
            self.marks.hit(if is_careless { Mark::RecoveryByMistake } else { Mark::RecoveryAsked });
            self.cluster.edit(|e| e.spec.recovery = Some(asked));
        }
    }

    /// What a server does with its volume before it starts, when its `zoo.cfg` says that one goes on as another ensemble.
    pub(crate) fn take_over(
        &mut self,
        ordinal: i32,
        zoo_cfg: &str,
        lines: &Membership,
    ) -> Result<Result<(), IdentityError>, Violation> {
        let value = |key: &str| zoo_cfg.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        let own = lines.servers.get(&ServerId(i64::from(ordinal) + 1));
        let (Some(former_id), Some(ensemble_id), Some(own)) =
            (value("ensemble.recovery.from="), value("ensemble.id="), own)
        else {
            return Ok(Ok(()));
        };
        let epoch = value("ensemble.recovery.epoch=").and_then(|epoch| epoch.parse().ok());
        let epoch = epoch.map(Epoch).ok_or_else(|| Violation::new("O-9", format!("{former_id} has no epoch")))?;
        let asked = TakeOver { former_id, volume_id: value("ensemble.recovery.volume=").unwrap_or_default(), epoch };
        let server = World::server(ordinal);
        Ok(match self.servers.take_over(server, &ensemble_id, &asked, own)? {
            Ok(is_taken) => {
                if is_taken {
                    self.tale(|| format!("server {server} takes its history over into {ensemble_id}"));
                    self.marks.hit(Mark::TakenOver);
                    crate::judge::taken_over(self, server, &ensemble_id)?;
                }
                Ok(())
            }
            Err(error) => Err(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::Mutant;
    use crate::script::Script;
    use crate::world::Outcome;
    use ensemble_sim::trace::Tell;
    use fastrand::Rng;
    use std::time::Duration;

    fn run(seed: u64, script: Script, mutant: Mutant) -> Result<Outcome, Violation> {
        World::of(seed, (script, Rng::with_seed(seed)), mutant, Tell::Nothing).run()
    }

    fn lost(seed: u64, mutant: Mutant) -> Result<Outcome, Violation> {
        run(seed, Script::quiet(if seed.is_multiple_of(2) { 3 } else { 5 }, 0, Deed::LoseMajority), mutant)
    }

    #[test]
    fn the_history_of_one_member_goes_on() {
        for seed in 0..4 {
            let outcome = lost(seed, Mutant::None)
                .unwrap_or_else(|broken| panic!("seed {seed} {}: {}", broken.check, broken.message));
            assert_eq!(outcome.marks.count(Mark::TakenOver), 1, "seed {seed}");
        }
    }

    #[test]
    fn a_recovery_that_is_not_one_is_noticed() {
        let by = |mutant: Mutant| {
            let broken = (0..24).find_map(|seed| lost(seed, mutant).err());
            broken.map(|broken| broken.check)
        };
        assert_eq!(by(Mutant::EmptiesEarly), Some("O-4"));
        assert_eq!(by(Mutant::ConfirmsItself), Some("O-12"));
    }

    /// A kubelet remembers a ConfigMap while there are faults. Whoever ran with it would be accused by O-12.
    #[test]
    fn no_server_runs_with_the_zoo_cfg_of_the_former_ensemble() {
        let refused = |seed| {
            let mut script = Script::quiet(3, 0, Deed::LoseMajority);
            script.storm = Duration::from_secs(300);
            match run(seed, script, Mutant::None) {
                Ok(outcome) => outcome.marks.count(Mark::FormersConfiguration),
                Err(broken) => panic!("seed {seed} {}: {}", broken.check, broken.message),
            }
        };
        assert!((0..8).map(refused).sum::<u64>() > 0, "none was given it");
    }

    /// Observers take the places of voters, and who does not let them is noticed.
    #[test]
    fn nobody_who_votes_is_restarted_in_swap_mode() {
        let restarted = |mutant| run(1, Script::quiet(3, 1, Deed::Restart(1)), mutant);
        let outcome = restarted(Mutant::None).unwrap_or_else(|broken| panic!("{}: {}", broken.check, broken.message));
        assert!(outcome.marks.count(Mark::Traded) >= 3, "each voter trades its place");
        assert_eq!(restarted(Mutant::SwapsNobody).err().map(|broken| broken.check), Some("O-1"));
    }
}
