//! The ways out of a recovery that does not come to its end: it is withdrawn, or the history of another member goes on.
//!
//! ```text
//! Stopping ──── spec.recovery is away ────► the former ensemble, as it was recorded
//! Starting ──── spec.recovery names another member, and the ensemble that does not begin ────► Stopping, for that member
//! ```
//!
//! *Why nothing is started twice.* Nothing of the new ensemble is made before the phase Starting is recorded: until then no claim, no volume and no
//! object says anything of it, and the former one goes on as it was. Either record, that of Starting or that of the withdrawal, is written under the
//! resource version it was planned from, so that there is one of them. From Starting on the member's volume may be the new ensemble's, and may
//! have served; then only the id of that one, confirmed by a person, gives it up.
//!
//! *Why not two ensembles.* A volume that was taken over makes an ensemble of its own wherever it is started. So it goes, with the pods, before another member
//! is started; the copies of the others stay. What the member may have acknowledged since is lost with it, which is what the person confirms.
//!
//! *Who may take its place.* Nobody answers any more: of the members that answered when the recovery began the one with the latest history, on
//! the volume that it had then.

use operator_api::{
    Abandoned, FormerEnsemble, RebuildClaim, Recovery, RecoveryCandidate, RecoveryPhase, RecoveryStatus, version_number,
};

use super::{Move, Pass};

/// A member that is started again and again begins in a later epoch each time. So many are left out, that the next member's are later still.
const EPOCHS_OF_AN_ATTEMPT: i64 = 1 << 10;

/// What is gone back to when nobody asks for this recovery any more.
pub(super) fn withdrawn(recovery: &RecoveryStatus) -> Option<&FormerEnsemble> {
    recovery.former.as_ref().filter(|_| recovery.phase == RecoveryPhase::Stopping)
}

impl Pass<'_> {
    /// A recovery is under way, and its ensemble is to be given up for another member's history.
    pub(super) fn begins_instead(&self, recovery: &RecoveryStatus, asked: &Recovery) -> Move {
        match self.instead(recovery, asked) {
            Ok(next) => {
                let [old, new] = [recovery.member, next.member].map(|ordinal| self.pod(ordinal));
                Move::Begin(
                    next,
                    format!("the history of {new} goes on instead of that of {old}, which does not serve"),
                )
            }
            Err(why) => match self.goes_on(recovery) {
                Move::Act(steps, note) => Move::Act(steps, format!("{note}; spec.recovery is not followed: {why}")),
                other => other,
            },
        }
    }

    fn instead(&self, recovery: &RecoveryStatus, asked: &Recovery) -> Result<RecoveryStatus, String> {
        let Self { observed, founded, assessment, .. } = self;
        let [old, new] = [recovery.member, asked.from_member].map(|ordinal| self.pod(ordinal));
        match recovery.phase {
            RecoveryPhase::Stopping => {
                return Err("nothing is started yet: remove it, and ask anew".to_owned());
            }
            RecoveryPhase::Starting if assessment.unsettled(founded).is_some() => {}
            RecoveryPhase::Starting | RecoveryPhase::Emptying | RecoveryPhase::Finished => {
                return Err(format!("{old} serves, and its history goes on"));
            }
        }
        let Some(own) = recovery.others.iter().find(|other| other.ordinal == asked.from_member) else {
            let others: Vec<i32> = recovery.others.iter().map(|other| other.ordinal).collect();
            return Err(format!(
                "{new} is none of those that answered with a history when it began, which are {others:?}"
            ));
        };
        let later = recovery.others.iter().filter(|other| position(other) > position(own));
        if let Some(better) = later.max_by_key(|other| position(other)) {
            return Err(format!("the history of {} is later than that of {new}", self.pod(better.ordinal)));
        }
        if let Some(why) = self.unusable_claims(asked.from_member, &recovery.former_ensemble_id) {
            return Err(why);
        }
        Ok(RecoveryStatus {
            phase: RecoveryPhase::Stopping,
            member: own.ordinal,
            volume_id: own.volume_id.clone(),
            former_ensemble_id: recovery.former_ensemble_id.clone(),
            ensemble_id: observed.fresh.ensemble_id.clone(),
            epoch: self.epoch().max(recovery.epoch) + EPOCHS_OF_AN_ATTEMPT,
            claims: self.given_up(recovery, own.ordinal),
            others: recovery.others.iter().filter(|other| other.ordinal != own.ordinal).cloned().collect(),
            former: None,
            abandoned: Some(Abandoned { member: recovery.member, ensemble_id: founded.ensemble_id.clone() }),
            finished_at: None,
        })
    }

    /// The claims that go for this member: those that were to go for the one before, but its own, and those of the one before and of its ensemble.
    fn given_up(&self, recovery: &RecoveryStatus, member: i32) -> Vec<RebuildClaim> {
        let own: Vec<&str> = self.claims(member).into_iter().map(|claim| claim.name.as_str()).collect();
        let mut claims: Vec<RebuildClaim> =
            recovery.claims.iter().filter(|claim| !own.contains(&claim.name.as_str())).cloned().collect();
        let ids = [&recovery.former_ensemble_id, &self.founded.ensemble_id];
        let others =
            (0..self.founded.pods).filter(|ordinal| *ordinal != member).flat_map(|ordinal| self.claims(ordinal));
        let others = others.filter(|claim| claim.ensemble_id.as_ref().is_some_and(|id| ids.contains(&id)));
        for claim in others {
            // A name stands for one claim: for the one that there is now.
            claims.retain(|going| going.name != claim.name);
            claims.push(RebuildClaim { name: claim.name.clone(), uid: claim.uid.clone() });
        }
        claims
    }
}

/// By this the better of two histories is found, as in an election.
fn position(candidate: &RecoveryCandidate) -> (i64, i64) {
    (candidate.epoch, version_number(&candidate.logged_zxid).unwrap_or_default())
}
