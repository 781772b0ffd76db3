//! Recovery from a lost majority: the history of one member goes on as a new ensemble, by a person's decision.
//!
//! ```text
//! spec.recovery ──► no majority, the member answers, nobody who answers is ahead of it
//!      │
//!      ▼ recorded: the new ensembleId, the member's volume, the UIDs of the others' claims
//! Stopping ──── every pod is gone, and the StatefulSet ────► Starting ──── the member serves, alone ────►
//!               the member's claims are told to be                the volume is taken over at
//!               the new ensemble's                                its server's start
//! Emptying ──── the recorded claims are gone ────► Finished      and the others join as in any scale-up
//! ```
//!
//! There is no way into it but `spec.recovery`, which has to name the ensemble's present id. That one has another id afterwards, so that
//! the same text in the spec asks for nothing any more, and no second recovery begins by itself.
//!
//! *What is lost.* Whatever the member does not hold. So it has to answer, with a history that it trusts; whoever answers with a later one
//! is the better member, and the request is refused in its favour. Of members that do not answer nothing is known: that is what the
//! person decides. While a majority of the voters answers with its history there is nothing to recover from.
//!
//! *Why not two ensembles.* No server of the former ensemble runs when the first of the new one starts: every pod is gone, as the API server
//! says, and no StatefulSet makes another. The volume that goes on changes its identity first of all ([`ensemble_storage::take_over`]); every
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
//! While it is under way nothing else is done: no restart, no change of the size, no rebuild, no hibernation.
//!
//! [`ensemble_storage::take_over`]: ../../ensemble_storage/fn.take_over.html

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_api::{Configuration, RebuildClaim, Recovery, RecoveryPhase, RecoveryStatus, StorageType, names};

use super::{Next, Plan, normal, objects, record, report};
use crate::assess::{Assessment, answer};
use crate::conditions::Holds;
use crate::founded::Founded;
use crate::member::MemberStatus;
use crate::observed::{Claim, Observed};
use crate::status::{self, Progress, Verdict};
use crate::step::{Adoption, Event, EventType, Fact, Hold, Removal, Step};
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
        let text = "the spec is refused, so nothing is recovered".to_owned();
        return is_asked.then_some((Holds::Unknown, "NotLookedAt", text));
    };
    let (holds, reason, message) = match next(observed, ensemble, founded, assessment) {
        Move::None => return None,
        Move::Finished(recovery) => (Holds::True, "EnsembleRecovered", finished(observed, &recovery)),
        Move::Refused(why) => (Holds::False, "RecoveryRefused", why),
        _ if observed.ensemble.spec.paused => {
            (Holds::Unknown, "NotLookedAt", "spec.paused is true, so nothing is recovered".to_owned())
        }
        Move::Asked(why) => (Holds::False, "RecoveryWaits", why),
        Move::Begin(_, note) | Move::Act(_, note) => (Holds::False, REASON, note),
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
        (Some(recovery), _) if recovery.is_under_way() => pass.goes_on(recovery),
        (None, None) => Move::None,
        (Some(recovery), None) => Move::Finished(recovery.clone()),
        (Some(recovery), Some(asked))
            if asked.confirm == recovery.former_ensemble_id && asked.from_member == recovery.member =>
        {
            Move::Finished(recovery.clone())
        }
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
    /// A recovery that is asked for and not recorded.
    fn begins(&self, asked: &Recovery) -> Move {
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
        if let Some(why) = self.unusable_claims(member) {
            return Move::Refused(why);
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
    fn unusable_claims(&self, member: i32) -> Option<String> {
        let claims = self.claims(member);
        let wrong = claims.iter().find(|claim| {
            claim.deleting || !claim.bound || claim.ensemble_id.as_ref() != Some(&self.founded.ensemble_id)
        });
        match wrong {
            _ if claims.is_empty() => Some(format!("{} has no volume claims", self.pod(member))),
            None => None,
            Some(claim) if claim.deleting => {
                Some(format!("claim {} is being deleted: the history of {} goes with it", claim.name, self.pod(member)))
            }
            Some(claim) => Some(format!("claim {} has no volume, or was not made for this ensemble", claim.name)),
        }
    }

    /// A recovery that is recorded and not finished.
    fn goes_on(&self, recovery: &RecoveryStatus) -> Move {
        match recovery.phase {
            RecoveryPhase::Stopping => self.stopping(recovery),
            RecoveryPhase::Starting => self.starting(recovery),
            RecoveryPhase::Emptying => self.emptying(recovery),
            RecoveryPhase::Finished => Move::Finished(recovery.clone()),
        }
    }

    /// Whoever makes pods goes first, then the pods.
    fn stopping(&self, recovery: &RecoveryStatus) -> Move {
        let Self { observed, .. } = self;
        let mut steps = self.adoptions(recovery);
        let set = observed.object("StatefulSet", &names::stateful_set(observed.name()));
        match set {
            Some(set) => steps.extend(self.orphan(set)),
            None => steps.extend(self.deletions()),
        }
        if set.is_none() && observed.pods.is_empty() && steps.is_empty() {
            return Move::Enter(
                RecoveryPhase::Starting,
                format!("no server runs; {} is started alone", self.pod(recovery.member)),
            );
        }
        let names: Vec<&str> = observed.pods.values().map(|pod| pod.name.as_str()).collect();
        let lost = observed.pods.iter().filter_map(|(ordinal, pod)| crate::assess::lost_node(observed, *ordinal, pod));
        let lost: String = lost.map(|text| format!("; {text}")).collect();
        Move::Act(steps, format!("every server is stopped before one is started: {} to go{lost}", names.join(", ")))
    }

    /// The objects of the new ensemble, with one server that votes. Those of lower ordinals, which its StatefulSet makes too, refuse to
    /// start on volumes of the former one.
    fn starting(&self, recovery: &RecoveryStatus) -> Move {
        let Self { observed, ensemble, founded, assessment } = self;
        let pod = self.pod(recovery.member);
        let mut steps = self.adoptions(recovery);
        let set = observed.object("StatefulSet", &names::stateful_set(observed.name()));
        if let Some(set) = set.filter(|set| self.is_formers(set)) {
            steps.extend(self.orphan(set));
            return Move::Act(steps, "a StatefulSet of the former ensemble is removed again".to_owned());
        }
        if set.is_none() && !observed.pods.is_empty() {
            steps.extend(self.deletions());
            return Move::Act(steps, "the pods that it made are stopped".to_owned());
        }
        if assessment.unsettled(founded).is_none() {
            let note = format!("{pod} serves as ensemble {}; {} go", recovery.ensemble_id, going(recovery));
            return Move::Enter(RecoveryPhase::Emptying, note);
        }
        steps.extend(objects::steps(observed, ensemble, founded, founded.pods));
        // The kubelet may have given it the zoo.cfg of before, with which it looks for the former ensemble's servers for ever.
        let is_formers = |status: &MemberStatus| status.ensemble_id.as_ref() == Some(&recovery.former_ensemble_id);
        let status = observed.members.get(&recovery.member).and_then(|status| status.as_ref().ok());
        if status.is_some_and(is_formers) {
            steps
                .extend(self.deletion(recovery.member, "it was started with the configuration of the former ensemble"));
        }
        let trouble = assessment.problems.iter().find(|problem| problem.ordinal == recovery.member);
        let trouble = trouble.map_or_else(|| "it is about to serve".to_owned(), |problem| problem.text.clone());
        Move::Act(steps, format!("{pod} takes its history over into ensemble {}: {trouble}", recovery.ensemble_id))
    }

    /// The claims that are recorded go, and the pods that hold them.
    fn emptying(&self, recovery: &RecoveryStatus) -> Move {
        let Self { observed, founded, assessment, .. } = self;
        let is_going = |claim: &&Claim| recovery.claims.iter().any(|going| going.uid == claim.uid);
        let left: Vec<&Claim> = observed.claims.iter().filter(is_going).collect();
        if left.is_empty() {
            return Move::Enter(RecoveryPhase::Finished, finished(observed, recovery));
        }
        if let Some(why) = assessment.unsettled(founded) {
            return Move::Act(
                Vec::new(),
                format!("{} go when {} serves: {why}", going(recovery), self.pod(recovery.member)),
            );
        }
        let mut steps = Vec::new();
        let doomed = left.iter().filter(|claim| !claim.deleting);
        let holds: Vec<Hold> = doomed.map(|claim| Hold { name: claim.name.clone(), uid: claim.uid.clone() }).collect();
        if !holds.is_empty() {
            let names: Vec<&str> = holds.iter().map(|claim| claim.name.as_str()).collect();
            let note = format!(
                "{}: deleted, since the history of {} goes on without them",
                names.join(", "),
                self.pod(recovery.member)
            );
            steps.push(Step::Report(normal("ClaimsDeleted", note)));
        }
        steps.extend(holds.into_iter().map(Step::DeleteClaim));
        // A claim in use goes when its pod does.
        let mounts = |ordinal: i32| self.claims(ordinal).iter().any(|claim| left.iter().any(|l| l.uid == claim.uid));
        let pods = observed.pods.iter().filter(|(o, pod)| **o != recovery.member && !pod.deleting && mounts(**o));
        steps.extend(pods.filter_map(|(o, _)| self.deletion(*o, "its volumes are those of the former ensemble")));
        let names: Vec<&str> = left.iter().map(|claim| claim.name.as_str()).collect();
        Move::Act(steps, format!("{} to go", names.join(", ")))
    }

    /// The member's claims are the new ensemble's.
    fn adoptions(&self, recovery: &RecoveryStatus) -> Vec<Step> {
        let claims = self.claims(recovery.member).into_iter();
        let formers = claims.filter(|claim| claim.ensemble_id.as_ref() == Some(&recovery.former_ensemble_id));
        let adopt = |claim: &Claim| Adoption {
            claim: claim.name.clone(),
            uid: claim.uid.clone(),
            ensemble_id: recovery.ensemble_id.clone(),
        };
        formers.map(|claim| Step::Adopt(adopt(claim))).collect()
    }

    /// The StatefulSet goes, and makes no pods from then on.
    fn orphan(&self, set: &serde_json::Value) -> Option<Step> {
        let uid = set["metadata"]["uid"].as_str()?.to_owned();
        set["metadata"]["deletionTimestamp"]
            .is_null()
            .then(|| Step::Orphan(Hold { name: names::stateful_set(self.observed.name()), uid }))
    }

    /// Whether a StatefulSet makes claims for another ensemble than this one.
    fn is_formers(&self, set: &serde_json::Value) -> bool {
        let templates = set["spec"]["volumeClaimTemplates"].as_array();
        let id = |claim: &serde_json::Value| {
            claim["metadata"]["annotations"][names::ensemble_id_annotation()] == self.founded.ensemble_id.as_str()
        };
        !templates.is_some_and(|claims| claims.iter().all(id))
    }

    /// Every pod goes.
    fn deletions(&self) -> impl Iterator<Item = Step> {
        let why = "every server is stopped for the recovery from a lost majority";
        self.observed.pods.keys().filter_map(move |ordinal| self.deletion(*ordinal, why))
    }

    fn deletion(&self, ordinal: i32, why: &str) -> Option<Step> {
        let pod = self.observed.pods.get(&ordinal).filter(|pod| !pod.deleting)?;
        let removal = Removal { ordinal, pod: pod.name.clone(), uid: pod.uid.clone(), why: why.to_owned() };
        Some(Step::DeletePod(removal))
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
    fn epoch(&self) -> i64 {
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

    fn claims(&self, ordinal: i32) -> Vec<&Claim> {
        self.observed.claims_of(&self.ensemble.spec.storage, ordinal)
    }

    fn pod(&self, ordinal: i32) -> String {
        names::pod(self.observed.name(), ordinal)
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

fn going(recovery: &RecoveryStatus) -> String {
    let claims: Vec<&str> = recovery.claims.iter().map(|claim| claim.name.as_str()).collect();
    if claims.is_empty() { "no claims".to_owned() } else { claims.join(", ") }
}
