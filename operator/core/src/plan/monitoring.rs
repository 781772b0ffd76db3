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
use crate::step::{Hold, Kind, Step};
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
    let wanted = build::monitoring(ensemble);
    let is_wanted = |kind: Kind| wanted.iter().any(|object| object.kind == kind);
    let gone: Vec<Step> = ours(observed, ensemble)
        .filter(|(kind, _)| !is_wanted(*kind))
        .map(|(kind, live)| Step::Withdraw(kind, hold(live)))
        .collect();
    let offered = wanted.into_iter().filter(|object| {
        let live = observed.object(object.kind.as_str(), &object.name);
        let is_free = live.is_none_or(|live| holder(live, ensemble).is_none());
        let is_usable = !observed.unusable.contains_key(&object.kind);
        is_free && is_usable && live.is_none_or(|live| !diff::is_applied(object, live))
    });
    gone.into_iter().chain(offered.map(Step::Offer)).collect()
}

/// What stands of them, and what does not and why.
pub(crate) fn condition(list: &mut Conditions<'_>, observed: &Observed, ensemble: &ValidEnsemble) {
    let wanted = build::monitoring(ensemble);
    let left = ours(observed, ensemble).filter(|(kind, _)| !wanted.iter().any(|object| object.kind == *kind)).count();
    if wanted.is_empty() && left == 0 {
        return;
    }
    let mut missing: Vec<(&str, String)> = wanted
        .iter()
        .filter_map(|object| {
            let (kind, name) = (object.kind.as_str(), &object.name);
            if let Some(why) = observed.unusable.get(&object.kind) {
                return Some(("KindUnusable", format!("{kind}: {why}")));
            }
            match observed.object(kind, name) {
                None => Some(("NotApplied", format!("{kind} {name} is not there yet"))),
                Some(live) => match holder(live, ensemble) {
                    Some(holder) => Some(("NameTaken", format!("{kind} {name} exists and {holder}"))),
                    None if diff::is_applied(object, live) => None,
                    None => Some(("NotApplied", format!("{kind} {name} is not as asked for yet"))),
                },
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

/// The objects of ours that exist.
fn ours<'a>(observed: &'a Observed, ensemble: &'a ValidEnsemble) -> impl Iterator<Item = (Kind, &'a Value)> {
    build::every_monitoring(&ensemble.name).into_iter().filter_map(|(kind, name)| {
        let live = observed.object(kind.as_str(), &name)?;
        holder(live, ensemble).is_none().then_some((kind, live))
    })
}

fn hold(live: &Value) -> Hold {
    let text = |key: &str| live["metadata"][key].as_str().unwrap_or_default().to_owned();
    Hold { name: text("name"), uid: text("uid") }
}

/// The kinds and names to look at.
pub fn objects(ensemble: &str) -> Vec<(Kind, String)> {
    build::every_monitoring(ensemble).into()
}
