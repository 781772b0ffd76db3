//! What is done in each phase of a recovery that is recorded, until it is finished.

use operator_api::{RecoveryPhase, RecoveryStatus, names};

use super::{Move, Pass, finished, going};
use crate::assess::lost_node;
use crate::member::MemberStatus;
use crate::observed::Claim;
use crate::outdated::outdated;
use crate::plan::{normal, objects};
use crate::pod::PodFacts;
use crate::step::{Adoption, Hold, Removal, Step};

impl Pass<'_> {
    /// A recovery that is recorded and not finished.
    pub(super) fn goes_on(&self, recovery: &RecoveryStatus) -> Move {
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
        let set = observed.object("StatefulSet", &names::stateful_set(observed.name()));
        if set.is_none() && observed.pods.is_empty() {
            return self.stopped(recovery);
        }
        let steps: Vec<Step> = match set {
            Some(set) => self.orphan(set).into_iter().collect(),
            None => self.deletions().collect(),
        };
        let names: Vec<&str> = observed.pods.values().map(|pod| pod.name.as_str()).collect();
        let lost = observed.pods.iter().filter_map(|(ordinal, pod)| lost_node(observed, *ordinal, pod));
        let lost: String = lost.map(|text| format!("; {text}")).collect();
        Move::Act(steps, format!("every server is stopped before one is started: {} to go{lost}", names.join(", ")))
    }

    /// No server runs. The volumes of a member that was chosen before go first.
    fn stopped(&self, recovery: &RecoveryStatus) -> Move {
        let pod = self.pod(recovery.member);
        let abandoned = recovery.abandoned.as_ref().map(|abandoned| abandoned.member);
        let claims = abandoned.map(|member| self.claims(member)).unwrap_or_default();
        let left: Vec<&Claim> = claims.into_iter().filter(|claim| is_going(recovery, claim)).collect();
        let Some(member) = abandoned.filter(|_| !left.is_empty()) else {
            return Move::Enter(RecoveryPhase::Starting, format!("no server runs; {pod} is started alone"));
        };
        let names: Vec<&str> = left.iter().map(|claim| claim.name.as_str()).collect();
        let note = format!(
            "{} go before {pod} is started: {} may be an ensemble of its own by now",
            names.join(", "),
            self.pod(member)
        );
        let holds: Vec<Hold> = left.into_iter().filter(|claim| !claim.deleting).map(hold).collect();
        let mut steps = Vec::new();
        if !holds.is_empty() {
            steps.push(Step::Report(normal("ClaimsDeleted", note.clone())));
        }
        steps.extend(holds.into_iter().map(Step::DeleteClaim));
        Move::Act(steps, note)
    }

    /// The objects of the new ensemble, with one server that votes. Those of lower ordinals, which its StatefulSet makes too, refuse to
    /// start on volumes of the former one.
    fn starting(&self, recovery: &RecoveryStatus) -> Move {
        let Self { observed, founded, assessment, .. } = self;
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
        steps.extend(self.raised(recovery));
        let trouble = assessment.problems.iter().find(|problem| problem.ordinal == recovery.member);
        let trouble = trouble.map_or_else(|| "it is about to serve".to_owned(), |problem| problem.text.clone());
        Move::Act(steps, format!("{pod} takes its history over into ensemble {}: {trouble}", recovery.ensemble_id))
    }

    /// The objects as the spec has them, and another pod for the member where only that helps: nothing else is restarted until it serves.
    fn raised(&self, recovery: &RecoveryStatus) -> Vec<Step> {
        let Self { observed, ensemble, founded, .. } = self;
        let mut steps = objects::steps(observed, ensemble, founded, founded.pods);
        // A server of a version before `ENSEMBLE_ID` may have been given the zoo.cfg of before, with which it looks for the former ensemble's servers for ever.
        let is_formers = |status: &MemberStatus| status.ensemble_id.as_ref() == Some(&recovery.former_ensemble_id);
        let status = observed.members.get(&recovery.member).and_then(|status| status.as_ref().ok());
        let is_stuck = |pod: &PodFacts| pod.is_broken() || (!pod.ready && !pod.ran);
        let is_outdated =
            || outdated(observed, ensemble, founded).is_some_and(|all| all.template.contains(&recovery.member));
        if status.is_some_and(is_formers) {
            steps
                .extend(self.deletion(recovery.member, "it was started with the configuration of the former ensemble"));
        } else if observed.pods.get(&recovery.member).is_some_and(is_stuck) && is_outdated() {
            steps.extend(
                self.deletion(recovery.member, "it does not start, and is of a revision that was mended since"),
            );
        }
        steps
    }

    /// The claims that are recorded go, and the pods that hold them.
    fn emptying(&self, recovery: &RecoveryStatus) -> Move {
        let Self { observed, founded, assessment, .. } = self;
        let left: Vec<&Claim> = observed.claims.iter().filter(|claim| is_going(recovery, claim)).collect();
        if left.is_empty() {
            return Move::Enter(RecoveryPhase::Finished, finished(observed, recovery));
        }
        if let Some(why) = assessment.unsettled(founded) {
            return Move::Act(
                self.raised(recovery),
                format!("{} go when {} serves: {why}", going(recovery), self.pod(recovery.member)),
            );
        }
        let mut steps = Vec::new();
        let doomed = left.iter().filter(|claim| !claim.deleting);
        let holds: Vec<Hold> = doomed.copied().map(hold).collect();
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
}

/// Whether a claim is one of those that the recovery gives up.
fn is_going(recovery: &RecoveryStatus, claim: &Claim) -> bool {
    recovery.claims.iter().any(|going| going.uid == claim.uid)
}

fn hold(claim: &Claim) -> Hold {
    Hold { name: claim.name.clone(), uid: claim.uid.clone() }
}
