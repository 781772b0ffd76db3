//! Recovery from a lost majority: the history of one member goes on as a new ensemble, by a person's decision.
//!
//! ```text
//! spec.recovery ──► no majority, the member answers, nobody who answers is ahead of it
//!      │
//!      ▼ recorded: the new ensembleId, the member's volume, the UIDs of the others' claims
//! Stopping ──── every pod is gone, and the StatefulSet ────► Starting ──── the member serves, alone ────►
//!               nothing else changes                              its claims are told to be the new ensemble's,
//!                                                                 and its server takes its volume over
//! Emptying ──── the recorded claims are gone ────► Finished      and the others join as in any scale-up
//! ```
//!
//! There is no way into it but `spec.recovery`, which has to name the ensemble's present id. That one has another id afterwards, so that
//! the same text in the spec asks for nothing any more, and no second recovery begins by itself.
//!
//! *What is lost.* Whatever the member does not hold. So it has to answer, with a history that it trusts; whoever answers with a later one
//! is the better member, and the request is refused in its favour. Of members that do not answer nothing is known: that is what the
//! person decides; but a pod that was just made, or is on its way up, is heard first. While a majority of the voters answers with its history there is nothing to recover from.
//!
//! *Why not two ensembles.* No server of the former ensemble runs when the first of the new one starts: every pod is gone, as the API server
//! says, and no StatefulSet makes another. None starts again on the `zoo.cfg` of before, which a kubelet may still mount: a pod says which ensemble it is of. The volume that goes on changes its identity first of all ([`ensemble_storage::take_over`]); every
//! other one keeps the former identity, and its server refuses to start in the new ensemble. A volume that comes back later, with its node or
//! from a backup, is a stranger too. The new ensemble begins with one voter, in a configuration and an epoch later than anything that is known of the former one.
//!
//! *Why copies are kept as long as they might be needed.* The others' claims are deleted when the new ensemble serves, and not before: should the member not
//! come up, their volumes are as they were. What goes is recorded by UID before anything is stopped: the volumes that are made next are out of
//! reach of it.
//!
//! *Why a death of the operator is harmless.* Each phase is recorded under the resource version it was planned from, and each step in it is one of a list that
//! the cluster itself shows to be done: a StatefulSet or a pod that is gone by its UID, an annotation, a claim. A second operator sees the record or loses by
//! its resource version; a StatefulSet that one of them applied with old eyes is known by the ensemble that its claim templates are for, and goes again.
//!
//! *Should it not come to its end*, it can be withdrawn until something is started, and another member named from then on ([`instead`]).
//!
//! While it is under way nothing else is done: no restart, no change of the size, no rebuild, no hibernation.
//!
//! [`ensemble_storage::take_over`]: ../../ensemble_storage/fn.take_over.html

mod instead;
mod phases;
mod request;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_api::{Configuration, FormerEnsemble, RecoveryPhase, RecoveryStatus, names};

use super::{Next, Plan, normal, not_looked_at, record, report};
use crate::assess::Assessment;
use crate::conditions::Holds;
use crate::founded::Founded;
use crate::observed::{Claim, Observed};
use crate::status::{self, Progress, Verdict};
use crate::step::{Event, EventType, Fact, Step};
use crate::validate::ValidEnsemble;

/// The reason in the condition `Progressing` while a recovery is under way.
const REASON: &str = "Recovering";

/// The next move of a recovery.
#[derive(Clone, Debug, PartialEq)]
enum Move {
    /// None was ever asked for.
    None,
    /// It is not carried out: why, and what to do instead.
    Refused(String),
    /// It is asked for, and does not begin yet.
    Asked(String),
    /// It is to begin, and this is known of the members.
    Begin(RecoveryStatus, String),
    /// These are done, and what is waited for then.
    Act(Vec<Step>, String),
    /// The recovery has come to another phase, for this reason.
    Enter(RecoveryPhase, String),
    /// Nobody asks for it any more, and nothing was started: the former ensemble is as it was.
    Withdraw(FormerEnsemble, String),
    /// It is finished.
    Finished(RecoveryStatus),
}

/// The whole plan while a recovery begins or is under way; none otherwise. The ensemble exists.
pub(super) fn pass(
    observed: &Observed,
    ensemble: &ValidEnsemble,
    founded: &Founded,
    assessment: &Assessment,
) -> Option<Plan> {
    let moving = |message: String| Verdict { progress: Progress::Moving(REASON, message), ..Verdict::default() };
    let recorded = |founded: &Founded, event: Event| {
        let assessment = crate::assess::assess(observed, founded);
        let verdict = moving(event.note.clone());
        record(observed, ensemble, founded, &assessment, &verdict, Vec::new(), Fact::Recovery, event)
    };
    match next(observed, ensemble, founded, assessment) {
        Move::None | Move::Refused(_) | Move::Asked(_) | Move::Finished(_) => None,
        Move::Begin(recovery, known) => {
            let note = format!("{known}. Every server is stopped first");
            let event = Event { type_: EventType::Warning, reason: "RecoveryBegins".to_owned(), note };
            Some(recorded(&begun(founded, recovery), event))
        }
        Move::Enter(phase, note) => {
            let finished_at = (phase == RecoveryPhase::Finished).then_some(Time(observed.now.0));
            let recovery = founded.recovery.clone().map(|recovery| RecoveryStatus { phase, finished_at, ..recovery });
            let reason = match phase {
                RecoveryPhase::Stopping | RecoveryPhase::Starting => "ServersStopped",
                RecoveryPhase::Emptying => "HistoryTakenOver",
                RecoveryPhase::Finished => "EnsembleRecovered",
            };
            Some(recorded(&Founded { recovery, ..founded.clone() }, normal(reason, note)))
        }
        Move::Withdraw(former, id) => {
            let FormerEnsemble { configuration, pods } = former;
            let note = format!("spec.recovery was removed before anything was started: ensemble {id} is as it was");
            let founded = Founded { ensemble_id: id, configuration, pods, recovery: None, ..founded.clone() };
            Some(recorded(&founded, normal("RecoveryWithdrawn", note)))
        }
        Move::Act(steps, note) => {
            let status = status::founded(observed, Some(ensemble), founded, assessment, &moving(note));
            Some(report(observed, status, steps, Next::Soon))
        }
    }
}

/// The facts once a recovery has begun: another ensemble, with one voter, and as many pods as it takes to have that one.
///
/// Its configuration gets a version that is no less than any of the former one's, and less than the one that the server begins with.
fn begun(founded: &Founded, recovery: RecoveryStatus) -> Founded {
    let version = founded.version().max(recovery.epoch << 32);
    Founded {
        ensemble_id: recovery.ensemble_id.clone(),
        configuration: Configuration {
            version: format!("{version:#x}"),
            voters: vec![founded.myid(recovery.member)],
            observers: Vec::new(),
        },
        pods: recovery.member + 1,
        rebuild: None,
        recovery: Some(recovery),
        ..founded.clone()
    }
}

/// The condition `Recovered`; none when no recovery was ever asked for.
pub(crate) fn told(
    observed: &Observed,
    ensemble: Option<&ValidEnsemble>,
    founded: &Founded,
    assessment: &Assessment,
) -> Option<(Holds, &'static str, String)> {
    let is_asked = founded.recovery.is_some() || observed.ensemble.spec.recovery.is_some();
    let Some(ensemble) = ensemble else {
        return is_asked.then(|| not_looked_at("the spec is refused, so nothing is recovered"));
    };
    let (holds, reason, message) = match next(observed, ensemble, founded, assessment) {
        Move::None => return None,
        Move::Finished(recovery) => (Holds::True, "EnsembleRecovered", finished(observed, &recovery)),
        Move::Refused(why) => (Holds::False, "RecoveryRefused", why),
        _ if observed.ensemble.spec.paused => not_looked_at("spec.paused is true, so nothing is recovered"),
        Move::Asked(why) => (Holds::False, "RecoveryWaits", why),
        Move::Begin(_, note) | Move::Act(_, note) => (Holds::False, REASON, note),
        Move::Withdraw(_, id) => (Holds::False, "RecoveryWithdrawn", format!("ensemble {id} is as it was")),
        Move::Enter(phase, note) => match phase {
            RecoveryPhase::Finished => (Holds::True, "EnsembleRecovered", note),
            RecoveryPhase::Stopping | RecoveryPhase::Starting | RecoveryPhase::Emptying => (Holds::False, REASON, note),
        },
    };
    Some((holds, reason, message))
}

fn finished(observed: &Observed, recovery: &RecoveryStatus) -> String {
    format!(
        "the history of {} goes on as ensemble {}; the former one, {}, is given up",
        names::pod(observed.name(), recovery.member),
        recovery.ensemble_id,
        recovery.former_ensemble_id
    )
}

fn next(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded, assessment: &Assessment) -> Move {
    let pass = Pass { observed, ensemble, founded, assessment };
    match (&founded.recovery, &observed.ensemble.spec.recovery) {
        (Some(recovery), asked) if recovery.is_under_way() => match (asked, instead::withdrawn(recovery)) {
            (None, Some(former)) => Move::Withdraw(former.clone(), recovery.former_ensemble_id.clone()),
            (Some(asked), _) if asked.confirm == founded.ensemble_id && asked.from_member != recovery.member => {
                pass.begins_instead(recovery, asked)
            }
            (None | Some(_), _) => pass.goes_on(recovery),
        },
        (None, None) => Move::None,
        (Some(recovery), None) => Move::Finished(recovery.clone()),
        (Some(recovery), Some(asked)) if recovery.answers(asked) => Move::Finished(recovery.clone()),
        (_, Some(asked)) => pass.begins(asked),
    }
}

/// What a pass knows.
struct Pass<'a> {
    observed: &'a Observed,
    ensemble: &'a ValidEnsemble,
    founded: &'a Founded,
    assessment: &'a Assessment,
}

impl Pass<'_> {
    fn claims(&self, ordinal: i32) -> Vec<&Claim> {
        self.observed.claims_of(&self.ensemble.spec.storage, ordinal)
    }

    fn pod(&self, ordinal: i32) -> String {
        names::pod(self.observed.name(), ordinal)
    }
}

fn going(recovery: &RecoveryStatus) -> String {
    let claims: Vec<&str> = recovery.claims.iter().map(|claim| claim.name.as_str()).collect();
    if claims.is_empty() { "no claims".to_owned() } else { claims.join(", ") }
}
