//! How a pass ends: with the record of a fact, with a refusal, or with a report of what was seen.

use operator_api::ZooKeeperEnsembleStatus;

use super::{Next, Plan};
use crate::assess::{Assessment, assess};
use crate::conditions::Holds;
use crate::founded::Founded;
use crate::observed::Observed;
use crate::status::{self, Verdict};
use crate::step::{Event, EventType, Fact, Step};
use crate::validate::ValidEnsemble;

/// Ends a pass with a record.
#[expect(clippy::too_many_arguments, reason = "they are what a record is made of")]
pub(super) fn record(
    observed: &Observed,
    ensemble: &ValidEnsemble,
    recorded: &Founded,
    assessment: &Assessment,
    verdict: &Verdict,
    mut steps: Vec<Step>,
    fact: Fact,
    event: Event,
) -> Plan {
    let status = status::founded(observed, Some(ensemble), recorded, assessment, verdict);
    let old = observed.ensemble.status.as_ref();
    steps.extend(status::events(old, &status).into_iter().map(Step::Report));
    steps.push(Step::Report(event));
    steps.push(Step::Record(fact, Box::new(status)));
    Plan { steps, next: Next::Now }
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
pub(super) fn refused(observed: &Observed, founded: Option<&Founded>, reason: &'static str, message: String) -> Plan {
    let verdict = Verdict { refused: Some((reason, message)), ..Verdict::default() };
    let status = match founded {
        Some(founded) => status::founded(observed, None, founded, &assess(observed, founded), &verdict),
        None => status::unfounded(observed, &verdict),
    };
    report(observed, status, Vec::new(), Next::Later)
}

/// Ends a pass: events for what turned, and the status if it changed.
pub(super) fn report(observed: &Observed, status: ZooKeeperEnsembleStatus, mut steps: Vec<Step>, next: Next) -> Plan {
    let old = observed.ensemble.status.as_ref();
    if old != Some(&status) {
        steps.extend(status::events(old, &status).into_iter().map(Step::Report));
        steps.push(Step::WriteStatus(Box::new(status)));
    }
    Plan { steps, next }
}

/// What a condition says of something that is asked for and that nobody looked at.
pub(super) fn not_looked_at(why: &str) -> (Holds, &'static str, String) {
    (Holds::Unknown, "NotLookedAt", why.to_owned())
}

/// An event for the record.
pub(super) fn normal(reason: &str, note: String) -> Event {
    Event { type_: EventType::Normal, reason: reason.to_owned(), note }
}
