//! Objects that are missing or differ, names that somebody else holds, and who owns the claims.

use operator_api::{Reclaim, names};
use serde_json::Value;

use crate::build;
use crate::diff;
use crate::founded::Founded;
use crate::observed::{Observed, TokenState};
use crate::plan::expansion;
use crate::pod::KUBECTL_RESTARTED_AT;
use crate::step::{Kind, Object, Ownership, Step};
use crate::validate::ValidEnsemble;

/// The steps that bring the objects into place, the StatefulSet with so many pods. The token comes before the pods that mount it.
pub(super) fn steps(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded, pods: i32) -> Vec<Step> {
    let token = match observed.token {
        TokenState::Absent => Some(Step::CreateToken(observed.fresh.token.clone())),
        TokenState::Present(_) | TokenState::Unusable(_) => None,
    };
    let made = expansion::as_made(observed, ensemble);
    let built = build::build_with_pods(&made, founded, pods).into_iter().map(|object| kept(observed, object));
    let objects = built.filter(|object| {
        observed.object(object.kind.as_str(), &object.name).is_none_or(|live| !diff::is_applied(object, live))
    });
    token.into_iter().chain(objects.map(Step::Apply)).chain(owners(observed, ensemble, founded)).collect()
}

/// Keeps what `kubectl rollout restart` wrote into the StatefulSet's template; when there is none, what it wrote into the one that the
/// pods were made from. Without it, a StatefulSet that is made anew would restart every pod.
fn kept(observed: &Observed, mut object: Object) -> Object {
    if object.kind != Kind::StatefulSet {
        return object;
    }
    let restarted_at = match observed.object(Kind::StatefulSet.as_str(), &object.name) {
        Some(live) => live["spec"]["template"]["metadata"]["annotations"][KUBECTL_RESTARTED_AT].as_str(),
        None => observed.pods.values().filter_map(|pod| pod.rolled_out_at.as_deref()).max(),
    };
    if let Some(restarted_at) = restarted_at {
        object.manifest["spec"]["template"]["metadata"]["annotations"][KUBECTL_RESTARTED_AT] = restarted_at.into();
    }
    object
}

/// The claims of this ensemble, in use or retired, whose owner does not say what `onDelete` says. A claim that was made for another
/// ensemble, or that is not known to have been made for this one, is never owned.
fn owners(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded) -> Vec<Step> {
    let owned = ensemble.spec.storage.reclaim_policy.on_delete == Reclaim::Delete;
    let ours = observed.claims.iter().filter(|claim| claim.ensemble_id.as_ref() == Some(&founded.ensemble_id));
    let wrong = ours.filter(|claim| claim.owners.contains(&ensemble.uid) != owned);
    wrong.map(|claim| Step::Own(Ownership { claim: claim.name.clone(), uid: claim.uid.clone(), owned })).collect()
}

/// The objects whose names we need and that are not ours, each in a sentence. They are never taken over.
pub(super) fn taken(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded) -> Vec<String> {
    // In most passes there is nothing to build for.
    if observed.objects.iter().all(|live| holder(live, ensemble).is_none()) {
        return Vec::new();
    }
    let wanted = build::build(ensemble, founded);
    let foreign = wanted.iter().filter_map(|object| {
        let live = observed.object(object.kind.as_str(), &object.name)?;
        let holder = holder(live, ensemble)?;
        Some(format!("{} {} exists and {holder}; rename the ensemble or remove it", object.kind.as_str(), object.name))
    });
    foreign.collect()
}

/// Who holds an object that is not ours. One without an owner that carries our labels was left by
/// `kubectl delete --cascade=orphan`, or a restored backup, and is taken back.
pub(super) fn holder(live: &Value, ensemble: &ValidEnsemble) -> Option<String> {
    let metadata = &live["metadata"];
    let owners = metadata["ownerReferences"].as_array();
    match owners.into_iter().flatten().find(|owner| owner["controller"] == true) {
        Some(owner) if owner["uid"] == ensemble.uid.as_str() => None,
        Some(owner) => Some(format!(
            "belongs to {} {}",
            owner["kind"].as_str().unwrap_or("an object"),
            owner["name"].as_str().unwrap_or_default()
        )),
        None => {
            let labels = &metadata["labels"];
            let ours = labels[names::MANAGED_BY_LABEL] == names::MANAGER
                && labels[names::INSTANCE_LABEL] == ensemble.name.as_str();
            (!ours).then(|| "was not made by this operator".to_owned())
        }
    }
}
