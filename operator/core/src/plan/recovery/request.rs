//! What is asked for: whether the history of a member may go on, and what is known of the others'.

use operator_api::{
    FormerEnsemble, RebuildClaim, Recovery, RecoveryCandidate, RecoveryPhase, RecoveryStatus, StorageType,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Move, Pass};
use crate::assess::answer;
use crate::plan::roll;
use crate::status;

/// How long a pod of which nothing is known to be wrong has for its first container, in seconds: its image is pulled, and its volumes attached. As
/// long as Kubernetes gives the node of a pod that stops answering (`DefaultTolerationSeconds`).
const START_SECONDS: i64 = 300;

impl Pass<'_> {
    /// A recovery that is asked for and not recorded.
    pub(super) fn begins(&self, asked: &Recovery) -> Move {
        let Self { observed, founded, assessment, .. } = self;
        let (member, pod) = (asked.from_member, self.pod(asked.from_member));
        if let Some(why) = self.refused(asked) {
            return Move::Refused(why);
        }
        let old = observed.ensemble.status.as_ref().map_or(&[][..], |status| &status.conditions);
        if !status::quorum_lost(observed, founded, assessment.is_available(founded), old) {
            return Move::Asked(format!(
                "no majority of the voters follows a leader, but not for {} s yet",
                status::QUORUM_LOST_SECONDS
            ));
        }
        let Some(own) = self.history(member) else {
            return Move::Refused(format!(
                "the history of {pod} cannot go on: {}. Choose a member that answers with a history that it trusts: {}",
                self.unknown(member),
                self.with_history()
            ));
        };
        if let Some(better) = self.better(member, &own) {
            let theirs = self.history(better).map(|history| history.text()).unwrap_or_default();
            return Move::Refused(format!(
                "{} answers too, and its history is later: {theirs}; that of {pod} is {}. Set spec.recovery.fromMember to {better}",
                self.pod(better),
                own.text()
            ));
        }
        if let Some(why) = self.unusable_claims(member, &founded.ensemble_id) {
            return Move::Refused(why);
        }
        if let Some(why) = self.may_still_answer() {
            return Move::Asked(why);
        }
        let going = (0..founded.pods).filter(|ordinal| *ordinal != member).flat_map(|ordinal| self.claims(ordinal));
        let ours = going.filter(|claim| claim.ensemble_id.as_ref() == Some(&founded.ensemble_id));
        let recovery = RecoveryStatus {
            phase: RecoveryPhase::Stopping,
            member,
            volume_id: own.volume_id.clone(),
            former_ensemble_id: founded.ensemble_id.clone(),
            ensemble_id: observed.fresh.ensemble_id.clone(),
            epoch: self.epoch(),
            claims: ours.map(|claim| RebuildClaim { name: claim.name.clone(), uid: claim.uid.clone() }).collect(),
            others: self.others(member),
            former: Some(FormerEnsemble { configuration: founded.configuration.clone(), pods: founded.pods }),
            abandoned: None,
            finished_at: None,
        };
        let others = founded.members().into_iter().filter(|ordinal| *ordinal != member);
        let others: Vec<String> = others.map(|ordinal| self.known(ordinal)).collect();
        let known = format!("the history of {pod} goes on, {}; given up: {}", own.text(), others.join("; "));
        Move::Begin(recovery, known)
    }

    /// Why a request is not carried out until somebody edits something, or the ensemble serves again.
    fn refused(&self, asked: &Recovery) -> Option<String> {
        let Self { founded, assessment, .. } = self;
        let pod = self.pod(asked.from_member);
        if asked.confirm != founded.ensemble_id {
            return Some(format!(
                "spec.recovery.confirm is {}, and this ensemble is {}: nothing is done. Confirm the id of this ensemble, if all but the history of \
                 {pod} may be lost",
                asked.confirm, founded.ensemble_id
            ));
        }
        if !founded.is_complete() {
            return Some(
                "the ensemble is not founded yet, so that no history is lost: delete it, and create it again"
                    .to_owned(),
            );
        }
        if self.ensemble.spec.is_hibernated() {
            return Some("the servers are stopped, and nothing is known of them: start them first".to_owned());
        }
        if self.ensemble.spec.storage.type_ != StorageType::Persistent {
            return Some(format!(
                "spec.storage.type is Ephemeral, so that the history of {pod} would go with its pod: copy what clients can still read"
            ));
        }
        if !founded.is_ours(asked.from_member) || !founded.members().contains(&asked.from_member) {
            let members: Vec<i32> = founded.members().into_iter().filter(|member| founded.is_ours(*member)).collect();
            return Some(format!("{pod} is no member: the ordinals of the members are {members:?}"));
        }
        if assessment.is_available(founded) {
            return Some(
                "a majority of the voters follows a leader: nothing is lost. Rebuild single members instead".to_owned(),
            );
        }
        // A voter that is no pod of ours may well have its history.
        let able = founded.voters().into_iter().filter(|o| !founded.is_ours(*o) || self.history(*o).is_some()).count();
        (i32::try_from(able).unwrap_or(i32::MAX) >= founded.quorum()).then(|| {
            format!(
                "{able} of {} voters have their history, or may have, and {} are enough to elect a leader: nothing is lost yet. Look at what keeps \
                 them from it",
                founded.voter_count(),
                founded.quorum()
            )
        })
    }

    /// Why the member's volumes cannot go on.
    pub(super) fn unusable_claims(&self, member: i32, ensemble_id: &str) -> Option<String> {
        let claims = self.claims(member);
        let wrong = claims
            .iter()
            .find(|claim| claim.deleting || !claim.bound || claim.ensemble_id.as_deref() != Some(ensemble_id));
        match wrong {
            _ if claims.is_empty() => Some(format!("{} has no volume claims", self.pod(member))),
            None => None,
            Some(claim) if claim.deleting => {
                Some(format!("claim {} is being deleted: the history of {} goes with it", claim.name, self.pod(member)))
            }
            Some(claim) => Some(format!("claim {} has no volume, or was not made for this ensemble", claim.name)),
        }
    }

    /// What a member holds, if it answers with a history that it trusts.
    fn history(&self, ordinal: i32) -> Option<History> {
        let is_to_stay = self.observed.pods.get(&ordinal).is_some_and(|pod| !pod.deleting);
        let status = answer(self.observed, self.founded, ordinal).filter(|_| is_to_stay)?;
        let (epoch, zxid) = status.history()?;
        Some(History { epoch, zxid, volume_id: status.volume_id.clone()? })
    }

    /// The member whose history is the latest of those that answer, when it is later than this one.
    fn better(&self, member: i32, own: &History) -> Option<i32> {
        let others = self.founded.members().into_iter().filter(|ordinal| *ordinal != member);
        let later = others.filter_map(|ordinal| self.history(ordinal).map(|history| (history.position(), ordinal)));
        later.filter(|(position, _)| *position > own.position()).max().map(|(_, ordinal)| ordinal)
    }

    /// The highest epoch that is known of.
    pub(super) fn epoch(&self) -> i64 {
        let Self { observed, founded, .. } = self;
        let told = observed.members.keys().filter_map(|ordinal| answer(observed, founded, *ordinal));
        let told = told.flat_map(|status| [Some(status.epoch), status.history().map(|(_, zxid)| zxid >> 32)]);
        let seen = observed.ensemble.status.as_ref().and_then(|status| status.epoch);
        let known = [Some(founded.version() >> 32), seen, founded.recovery.as_ref().map(|recovery| recovery.epoch)];
        known.into_iter().chain(told).flatten().max().unwrap_or_default().max(1)
    }

    /// What is known of a member's history.
    fn known(&self, ordinal: i32) -> String {
        match self.history(ordinal) {
            Some(history) => format!("{} has {}", self.pod(ordinal), history.text()),
            None => self.unknown(ordinal),
        }
    }

    /// The members that do not answer and have not had the time to: a pod is missing, was just made, is on its way out, or is replaced since it
    /// does not start. A later history may be on their volumes, and is heard of before any is given up.
    ///
    /// An ensemble that is woken with its majority lost is the case: its members come up one by one, and the first is not the best.
    fn may_still_answer(&self) -> Option<String> {
        let Self { observed, ensemble, founded, assessment } = self;
        if let Some(roll::Move::Delete(pod) | roll::Move::Heal(pod)) =
            roll::dead(observed, ensemble, founded, assessment)
        {
            return Some(format!("{} is replaced first, and may have a later history", pod.pod));
        }
        let seconds_since = |time: &Time| observed.now.0.duration_since(time.0).as_secs();
        let is_to_come = |ordinal: &i32| {
            let Some(pod) = observed.pods.get(ordinal) else { return true };
            let began = if pod.deleting { &pod.deletion_due } else { &pod.created_at };
            let is_being_started = !pod.ran && pod.trouble.is_none();
            let limit = if is_being_started { START_SECONDS } else { status::QUORUM_LOST_SECONDS };
            began.as_ref().is_none_or(|began| seconds_since(began) < limit)
        };
        let members = founded.members().into_iter().filter(|ordinal| founded.is_ours(*ordinal));
        let silent = members.filter(|ordinal| answer(observed, founded, *ordinal).is_none());
        let to_come: Vec<String> = silent.filter(is_to_come).map(|ordinal| self.unknown(ordinal)).collect();
        (!to_come.is_empty())
            .then(|| format!("a later history may be on a member that is to come up yet: {}", to_come.join("; ")))
    }

    /// Why nothing is known of what a member holds.
    fn unknown(&self, ordinal: i32) -> String {
        let problem = self.assessment.problems.iter().find(|problem| problem.ordinal == ordinal);
        match answer(self.observed, self.founded, ordinal) {
            Some(status) if status.store.set_aside.is_some() => {
                format!("the files of {} are damaged, and set aside", self.pod(ordinal))
            }
            Some(status) if status.logged_zxid.is_none() => {
                format!("version {} of {} does not tell how far its history goes", status.version, self.pod(ordinal))
            }
            _ => match problem {
                Some(problem) => problem.text.clone(),
                None => format!("{} is being deleted, or is no pod of this ensemble", self.pod(ordinal)),
            },
        }
    }

    /// The members that answer with their history, in words.
    fn with_history(&self) -> String {
        let members = self.founded.members().into_iter();
        let texts =
            members.filter_map(|o| self.history(o).map(|history| format!("{} ({})", self.pod(o), history.text())));
        match texts.collect::<Vec<_>>() {
            none if none.is_empty() => "none does now".to_owned(),
            texts => texts.join(", "),
        }
    }

    /// The other members that answer with a history.
    fn others(&self, member: i32) -> Vec<RecoveryCandidate> {
        let others = self.founded.members().into_iter().filter(|ordinal| *ordinal != member);
        let candidate = |ordinal| {
            let History { epoch, zxid, volume_id } = self.history(ordinal)?;
            Some(RecoveryCandidate { ordinal, volume_id, epoch, logged_zxid: format!("{zxid:#x}") })
        };
        others.filter_map(candidate).collect()
    }
}

/// What a member holds.
struct History {
    epoch: i64,
    zxid: i64,
    volume_id: String,
}

impl History {
    /// By this the better of two histories is found, as in an election.
    fn position(&self) -> (i64, i64) {
        (self.epoch, self.zxid)
    }

    fn text(&self) -> String {
        format!("epoch {}, up to zxid {:#x}", self.epoch, self.zxid)
    }
}
