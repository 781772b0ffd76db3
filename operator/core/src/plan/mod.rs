//! From what was observed to what is done next. The only place where the order of things is decided.

pub mod bootstrap;
mod objects;

use operator_api::ZooKeeperEnsembleStatus;

use crate::assess::assess;
use crate::founded::Founded;
use crate::observed::{Observed, TokenState};
use crate::status::{self, Verdict};
use crate::step::{Event, EventType, Fact, Step};
use crate::validate::{ValidEnsemble, validate};

/// What one pass does, and when the next should look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// When to look again, if nothing happens before.
    pub next: Next,
}

/// When to look again, if nothing happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once: a fact was recorded, and the next step depends on it.
    Now,
    /// In a moment: something is on its way.
    Soon,
    /// At leisure: all is as it should be, or only an edit helps.
    Later,
    /// Not again: the resource is being deleted.
    Never,
}

/// Plans one pass.
///
/// Order: refuse what cannot be carried out; record the identity; bring the objects into place; found the ensemble;
/// report. A pass ends at the first record.
pub fn plan(observed: &Observed) -> Plan {
    if observed.ensemble.metadata.deletion_timestamp.is_some() {
        // The garbage collector removes the objects. Creating one now would outlive the ensemble.
        return Plan { steps: Vec::new(), next: Next::Never };
    }
    let founded = match Founded::of(observed.ensemble.status.as_ref()) {
        Ok(founded) => founded,
        Err(damage) => return refused(observed, None, "StatusDamaged", damage),
    };
    let ensemble = match validate(observed) {
        Ok(ensemble) => ensemble,
        Err(faults) => return refused(observed, founded.as_ref(), "InvalidSpec", faults.join("; ")),
    };
    match founded {
        None if observed.ensemble.spec.paused => {
            report(observed, status::unfounded(observed, &Verdict::default()), Vec::new(), Next::Later)
        }
        None => record_identity(observed),
        Some(founded) if observed.ensemble.spec.paused => {
            let assessment = assess(observed, &founded);
            let status = status::founded(observed, Some(&ensemble), &founded, &assessment, &Verdict::default());
            report(observed, status, Vec::new(), Next::Later)
        }
        Some(founded) => reconcile(observed, &ensemble, &founded),
    }
}

/// Nothing exists and nothing is recorded: the identity and the voters come first, alone.
fn record_identity(observed: &Observed) -> Plan {
    let mut status = status::unfounded(observed, &Verdict::default());
    status.ensemble_id = Some(observed.fresh.ensemble_id.clone());
    status.bootstrap = Some(bootstrap::begin(&observed.ensemble.spec));
    Plan { steps: vec![Step::Record(Fact::Identity, Box::new(status))], next: Next::Now }
}

fn reconcile(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded) -> Plan {
    let taken = objects::taken(observed, ensemble, founded);
    if !taken.is_empty() {
        return refused(observed, Some(founded), "NameTaken", taken.join("; "));
    }
    if let TokenState::Unusable(reason) = &observed.token {
        return refused(observed, Some(founded), "TokenUnusable", reason.clone());
    }
    let mut steps = objects::steps(observed, ensemble, founded);
    let assessment = assess(observed, founded);
    match bootstrap::next(observed, founded, &assessment) {
        bootstrap::Move::None => {
            let status = status::founded(observed, Some(ensemble), founded, &assessment, &Verdict::default());
            let whole = assessment.problems.is_empty();
            report(observed, status, steps, if whole { Next::Later } else { Next::Soon })
        }
        bootstrap::Move::Record { fact, bootstrap, event } => {
            let recorded = Founded { ensemble_id: founded.ensemble_id.clone(), bootstrap };
            let status = status::founded(observed, Some(ensemble), &recorded, &assessment, &Verdict::default());
            let old = observed.ensemble.status.as_ref();
            steps.extend(status::events(old, &status).into_iter().map(Step::Report));
            steps.push(Step::Report(event));
            steps.push(Step::Record(fact, Box::new(status)));
            Plan { steps, next: Next::Now }
        }
        bootstrap::Move::Grant { grants, reason } => {
            steps.extend(grants.into_iter().map(Step::Grant));
            steps.push(Step::Wait { reason: reason.clone() });
            let verdict = Verdict { refused: None, waiting: Some(reason) };
            report(
                observed,
                status::founded(observed, Some(ensemble), founded, &assessment, &verdict),
                steps,
                Next::Soon,
            )
        }
        bootstrap::Move::Lost { reason } => {
            steps.push(Step::Wait { reason: reason.clone() });
            let verdict = Verdict { refused: Some(("BootstrapVolumesLost", reason)), waiting: None };
            report(
                observed,
                status::founded(observed, Some(ensemble), founded, &assessment, &verdict),
                steps,
                Next::Soon,
            )
        }
    }
}

/// Plans what is left when the API server refused an object for good, in the words of its answer: the status says so.
///
/// Permanent until an edit of the resource, or of what the API server judges by (a quota, an admission policy, a right).
pub fn refuse(observed: &Observed, answer: String) -> Plan {
    match Founded::of(observed.ensemble.status.as_ref()) {
        Ok(founded) => refused(observed, founded.as_ref(), "ApplyRefused", answer),
        Err(damage) => refused(observed, None, "StatusDamaged", damage),
    }
}

/// Nothing is done; the status says why.
fn refused(observed: &Observed, founded: Option<&Founded>, reason: &'static str, message: String) -> Plan {
    let verdict = Verdict { refused: Some((reason, message)), waiting: None };
    let status = match founded {
        Some(founded) => status::founded(observed, None, founded, &assess(observed, founded), &verdict),
        None => status::unfounded(observed, &verdict),
    };
    report(observed, status, Vec::new(), Next::Later)
}

/// Ends a pass: events for what turned, and the status if it changed.
fn report(observed: &Observed, status: ZooKeeperEnsembleStatus, mut steps: Vec<Step>, next: Next) -> Plan {
    let old = observed.ensemble.status.as_ref();
    if old != Some(&status) {
        steps.extend(status::events(old, &status).into_iter().map(Step::Report));
        steps.push(Step::WriteStatus(Box::new(status)));
    }
    Plan { steps, next }
}

/// An event for the record.
fn normal(reason: &str, note: String) -> Event {
    Event { type_: EventType::Normal, reason: reason.to_owned(), note }
}
