//! `spec.monitoring`: objects for Prometheus and Grafana, which the servers do not need.
//!
//! They are offered after everything else, in steps that cannot fail a pass: a cluster without the Prometheus operator, or one that
//! refuses an object, must not keep an ensemble from being repaired. What became of them is the condition MonitoringApplied, which is
//! there as long as something is asked for, or left. So it is recorded before the first object is made, and says where to look for one
//! that is to go.

use operator_api::ZooKeeperEnsemble;
use serde_json::Value;

use crate::build;
use crate::conditions::{Conditions, find};
use crate::diff;
use crate::observed::Observed;
use crate::plan::objects::holder;
use crate::step::{Hold, Kind, Object, Step};
use crate::validate::ValidEnsemble;

/// The condition.
pub(crate) const CONDITION: &str = "MonitoringApplied";

/// Whether the objects are to be looked at.
pub fn is_looked_at(ensemble: &ZooKeeperEnsemble) -> bool {
    ensemble.spec.monitoring.is_wanted() || is_recorded(ensemble)
}

fn is_recorded(ensemble: &ZooKeeperEnsemble) -> bool {
    ensemble.status.as_ref().is_some_and(|status| find(&status.conditions, CONDITION).is_some())
}

/// The steps that bring them into place, once the condition is recorded.
pub(super) fn steps(observed: &Observed, ensemble: &ValidEnsemble) -> Vec<Step> {
    if !is_recorded(&observed.ensemble) {
        return Vec::new();
    }
    let wanted = &ensemble.monitoring;
    let gone: Vec<Step> = surplus(observed, ensemble).map(|(kind, live)| Step::Withdraw(kind, hold(live))).collect();
    let offered = wanted
        .iter()
        .filter(|object| matches!(standing(observed, ensemble, object), Standing::Absent | Standing::Different));
    gone.into_iter().chain(offered.cloned().map(Step::Offer)).collect()
}

/// What stands of them, and what does not and why.
pub(crate) fn condition(list: &mut Conditions<'_>, observed: &Observed, ensemble: &ValidEnsemble) {
    let wanted = &ensemble.monitoring;
    let left = surplus(observed, ensemble).count();
    if wanted.is_empty() && left == 0 {
        return;
    }
    let mut missing: Vec<(&str, String)> = wanted
        .iter()
        .filter_map(|object| {
            let (kind, name) = (object.kind.as_str(), &object.name);
            match standing(observed, ensemble, object) {
                Standing::Applied => None,
                Standing::Unusable(why) => Some(("KindUnusable", format!("{kind}: {why}"))),
                Standing::Taken(holder) => Some(("NameTaken", format!("{kind} {name} exists and {holder}"))),
                Standing::Absent => Some(("NotApplied", format!("{kind} {name} is not there yet"))),
                Standing::Different => Some(("NotApplied", format!("{kind} {name} is not as asked for yet"))),
            }
        })
        .collect();
    if left > 0 {
        missing.push(("NotApplied", format!("{left} of its objects are not asked for any more and not removed yet")));
    }
    match missing.first() {
        None => list.set(CONDITION, true, "Applied", "Prometheus and Grafana are given what spec.monitoring asks for"),
        Some((reason, _)) => {
            let messages: Vec<&str> = missing.iter().map(|(_, message)| message.as_str()).collect();
            list.set(CONDITION, false, reason, messages.join("; "));
        }
    }
}

/// How an object that is asked for stands.
enum Standing<'a> {
    Applied,
    /// Its kind cannot be used, for this reason.
    Unusable(&'a str),
    /// Somebody else has its name.
    Taken(String),
    Absent,
    Different,
}

fn standing<'a>(observed: &'a Observed, ensemble: &ValidEnsemble, object: &Object) -> Standing<'a> {
    if let Some(why) = observed.unusable.get(&object.kind) {
        return Standing::Unusable(why);
    }
    let Some(live) = observed.object(object.kind.as_str(), &object.name) else { return Standing::Absent };
    match holder(live, ensemble) {
        Some(holder) => Standing::Taken(holder),
        None if diff::is_applied(object, live) => Standing::Applied,
        None => Standing::Different,
    }
}

/// The objects of ours that exist and are not asked for.
fn surplus<'a>(observed: &'a Observed, ensemble: &ValidEnsemble) -> impl Iterator<Item = (Kind, &'a Value)> {
    build::every_monitoring(&ensemble.name).into_iter().filter_map(|(kind, name)| {
        let live = observed.object(kind.as_str(), &name)?;
        let is_surplus =
            holder(live, ensemble).is_none() && !ensemble.monitoring.iter().any(|object| object.kind == kind);
        is_surplus.then_some((kind, live))
    })
}

fn hold(live: &Value) -> Hold {
    let text = |key: &str| live["metadata"][key].as_str().unwrap_or_default().to_owned();
    Hold { name: text("name"), uid: text("uid") }
}
