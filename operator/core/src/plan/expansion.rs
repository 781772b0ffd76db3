//! Volumes that grow: the claims first, and then the template that the next ones are made from.
//!
//! ```text
//! claims ask for more ──► resized, file system too ──► StatefulSet deleted, its pods orphaned ──► made again with the new size
//!                              └── waits for a restart: a pod at a time, by `roll` ──┘
//! ```
//!
//! A StatefulSet's `volumeClaimTemplates` cannot be changed, so that it has to be made anew. Until then it is applied with the sizes
//! that it was made with ([`as_made`]), and everything else goes on: restarts, changes of the size, other edits of the spec. A claim
//! that a pod of the old template gets is too small, and grows like the others when it is bound.
//!
//! *Why nothing is lost.* A claim is only ever asked for more, by its UID, and never deleted. The StatefulSet is deleted with
//! `propagationPolicy: Orphan` and its UID: the pods run on without noticing, and belong to the next one, whose selector, names and pod
//! template are the same. A pod that goes in that second is made again when the StatefulSet is. Its number of pods is the recorded
//! one, not that of the spec.
//!
//! *Why a death of the operator is harmless.* Each pass looks at the claims and at the StatefulSet. Between the deletion and the
//! creation there is none, which is the state that every pass repairs by creating it, now with the new size. A `kubectl rollout restart`
//! of before is found on the pods and written into the new template, or they would all look outdated.
//!
//! *What is not done.* If the class of one claim that is to grow does not allow it, no claim is touched: half of the servers with more room
//! would help nobody. A claim that is not bound cannot be changed. A volume never shrinks: the schema refuses it.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use operator_api::{StorageType, UpdateMode, VolumeStatus, ZooKeeperEnsembleSpec, names};
use serde_json::Value;

use crate::diff::quantity;
use crate::founded::Founded;
use crate::observed::{Claim, Observed, Resize};
use crate::step::{Expansion, Hold};
use crate::validate::ValidEnsemble;

/// How long the kubelet has for a file system that is mounted, before it is taken for one that only grows when it is mounted, in
/// seconds. It looks at each pod every minute or two.
const ONLINE_SECONDS: i64 = 180;

/// The next move towards volumes of the size that the spec asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Move {
    /// They have it.
    None,
    /// Claims are asked for more.
    Expand(Vec<Expansion>),
    /// The StatefulSet goes, and its pods stay.
    Orphan(Hold),
    /// It is being done.
    Wait,
    /// Only a person can help.
    Blocked,
}

/// What is to be said of the volumes: whether they have their size, why not in a word, and in words.
pub(crate) struct Health {
    pub(crate) healthy: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Whether a claim is to grow, so that its class has to be looked at.
pub fn is_to_grow(ensemble: &str, spec: &ZooKeeperEnsembleSpec, claim: &Claim) -> bool {
    let wanted = wanted(ensemble, spec, &claim.name).and_then(|wanted| quantity(&wanted.0));
    let requested = claim.requested.as_deref().and_then(quantity);
    matches!((wanted, requested), (Some(wanted), Some(requested)) if claim.bound && requested < wanted)
}

/// The ensemble with the sizes of volumes that its StatefulSet was made with, when there is one.
pub(crate) fn as_made(observed: &Observed, ensemble: &ValidEnsemble) -> ValidEnsemble {
    let mut made = ensemble.clone();
    let storage = &mut made.spec.storage;
    for (volume, size) in
        [(names::DATA_VOLUME, &mut storage.data.size), (names::TXN_LOG_VOLUME, &mut storage.txn_log.size)]
    {
        if let Some(live) = template_size(observed, volume).filter(|live| quantity(live) != quantity(&size.0)) {
            *size = Quantity(live.to_owned());
        }
    }
    made
}

/// Decides the next move.
pub(crate) fn next(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded) -> Move {
    let claims = active(observed, ensemble, founded);
    let small: Vec<&Claim> = claims.iter().copied().filter(|claim| grows(ensemble, claim)).collect();
    if small.iter().any(|claim| unsupported(observed, claim).is_some()) {
        return Move::Blocked;
    }
    if !small.is_empty() {
        let expansion = |claim: &&Claim| {
            let size = wanted(&ensemble.name, &ensemble.spec, &claim.name)?.0.clone();
            Some(Expansion { claim: claim.name.clone(), uid: claim.uid.clone(), size })
        };
        return Move::Expand(small.iter().filter_map(expansion).collect());
    }
    if claims.iter().any(|claim| claim.bound && !is_grown(ensemble, claim)) {
        return Move::Wait;
    }
    match set(observed) {
        Some(set) if as_made(observed, ensemble) != *ensemble => {
            let uid = set["metadata"]["uid"].as_str().filter(|_| set["metadata"]["deletionTimestamp"].is_null());
            match uid {
                Some(uid) => Move::Orphan(Hold { name: names::stateful_set(&ensemble.name), uid: uid.to_owned() }),
                None => Move::Wait,
            }
        }
        Some(_) | None => Move::None,
    }
}

/// The pods that a file system waits for, to be mounted again. One that was made after it began to wait is not restarted for it again;
/// in the same second, which is all that the API server tells, it may have been before.
pub(crate) fn awaiting_restart(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded) -> BTreeSet<i32> {
    let waits = |ordinal: &i32| {
        let created = observed.pods.get(ordinal).and_then(|pod| pod.created_at.as_ref());
        observed.claims_of(&ensemble.spec.storage, *ordinal).iter().any(|claim| match (&claim.resize, created) {
            (Resize::FileSystemPending(since), Some(created)) => {
                created.0 <= since.0 && observed.now.0.duration_since(since.0).as_secs() >= ONLINE_SECONDS
            }
            (Resize::FileSystemPending(_), None) | (Resize::None | Resize::Running | Resize::Failed(_), _) => false,
        })
    };
    (0..founded.pods).filter(waits).collect()
}

/// What is known of each claim that a member uses.
pub(crate) fn report(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded) -> Vec<VolumeStatus> {
    let claims = active(observed, ensemble, founded).into_iter();
    claims
        .map(|claim| VolumeStatus {
            claim: claim.name.clone(),
            requested: claim.requested.clone(),
            actual: claim.capacity.clone(),
            phase: phase(ensemble, claim).to_owned(),
        })
        .collect()
}

/// Sums them up; none while there are no claims.
pub(crate) fn health(observed: &Observed, ensemble: &ValidEnsemble, founded: &Founded) -> Option<Health> {
    let claims = active(observed, ensemble, founded);
    if claims.is_empty() {
        return None;
    }
    let not = |reason, message| Some(Health { healthy: false, reason, message });
    let small = claims.iter().filter(|claim| grows(ensemble, claim));
    let unsupported: Vec<String> = small.filter_map(|claim| unsupported(observed, claim)).collect();
    if !unsupported.is_empty() {
        let message = format!(
            "{}; no claim is expanded: allow it in the class (allowVolumeExpansion: true), or create another ensemble with larger volumes",
            unsupported.join("; ")
        );
        return not("ExpansionUnsupported", message);
    }
    let of = |wanted: &str| -> Vec<&Claim> {
        claims.iter().copied().filter(|claim| phase(ensemble, claim) == wanted).collect()
    };
    let failed = of(FAILED);
    if !failed.is_empty() {
        let text = |claim: &&Claim| match &claim.resize {
            Resize::Failed(message) => format!("{}: {message}", claim.name),
            Resize::None | Resize::Running | Resize::FileSystemPending(_) => claim.name.clone(),
        };
        return not("ResizeFailed", failed.iter().map(text).collect::<Vec<_>>().join("; "));
    }
    let pending = of(FILE_SYSTEM_PENDING);
    if !pending.is_empty() {
        let who = match ensemble.spec.update_strategy.mode {
            UpdateMode::LeaderLast | UpdateMode::Swap | UpdateMode::Supervised => {
                "a server whose file system does not grow while it is mounted is restarted"
            }
            UpdateMode::OnDelete => "if it does not grow while it is mounted, delete the pod, one at a time",
        };
        return not("FileSystemResizePending", format!("{}: {who}", names_of(&pending)));
    }
    let resizing = of(RESIZING);
    if !resizing.is_empty() {
        return not("Resizing", format!("{}: more room was asked for", names_of(&resizing)));
    }
    Some(Health {
        healthy: true,
        reason: "AllVolumesSized",
        message: "every volume has the size of the spec".to_owned(),
    })
}

const BOUND: &str = "Bound";
const PENDING: &str = "Pending";
const RESIZING: &str = "Resizing";
const FILE_SYSTEM_PENDING: &str = "FileSystemResizePending";
const FAILED: &str = "ResizeFailed";

fn phase(ensemble: &ValidEnsemble, claim: &Claim) -> &'static str {
    match &claim.resize {
        _ if !claim.bound => PENDING,
        _ if is_grown(ensemble, claim) => BOUND,
        Resize::Failed(_) => FAILED,
        Resize::FileSystemPending(_) => FILE_SYSTEM_PENDING,
        Resize::Running | Resize::None => RESIZING,
    }
}

fn grows(ensemble: &ValidEnsemble, claim: &Claim) -> bool {
    is_to_grow(&ensemble.name, &ensemble.spec, claim)
}

/// Whether the volume behind a claim has its size. A provisioner may give more.
fn is_grown(ensemble: &ValidEnsemble, claim: &Claim) -> bool {
    let wanted = wanted(&ensemble.name, &ensemble.spec, &claim.name).and_then(|wanted| quantity(&wanted.0));
    let capacity = claim.capacity.as_deref().and_then(quantity);
    let has = matches!((wanted, capacity), (Some(wanted), Some(capacity)) if capacity >= wanted);
    has && match &claim.resize {
        // What failed before it went well is no matter.
        Resize::None | Resize::Failed(_) => true,
        Resize::Running | Resize::FileSystemPending(_) => false,
    }
}

/// Why a claim cannot grow.
fn unsupported(observed: &Observed, claim: &Claim) -> Option<String> {
    let Some(class) = claim.class.as_deref().filter(|class| !class.is_empty()) else {
        return Some(format!("claim {} has no storage class that could expand it", claim.name));
    };
    match observed.classes.get(class) {
        Some(true) => None,
        Some(false) => Some(format!("storage class {class} of claim {} does not allow expansion", claim.name)),
        None => Some(format!("storage class {class} of claim {} does not exist", claim.name)),
    }
}

/// The claims that a pod there is to be uses, of this ensemble. One that is being deleted is none of them: another takes its place.
fn active<'a>(observed: &'a Observed, ensemble: &ValidEnsemble, founded: &Founded) -> Vec<&'a Claim> {
    let ours = |claim: &&Claim| claim.ensemble_id.as_ref() == Some(&founded.ensemble_id) && !claim.deleting;
    (0..founded.pods).flat_map(|ordinal| observed.claims_of(&ensemble.spec.storage, ordinal)).filter(ours).collect()
}

/// The size that the spec asks for; none for a claim that no server mounts.
fn wanted<'a>(ensemble: &str, spec: &'a ZooKeeperEnsembleSpec, claim: &str) -> Option<&'a Quantity> {
    let storage = &spec.storage;
    let is = |volume: &str| claim.strip_prefix(volume).is_some_and(|rest| rest.starts_with(&format!("-{ensemble}-")));
    match storage.type_ {
        StorageType::Ephemeral => None,
        StorageType::Persistent if is(names::DATA_VOLUME) => Some(&storage.data.size),
        StorageType::Persistent if is(names::TXN_LOG_VOLUME) && storage.txn_log.enabled => Some(&storage.txn_log.size),
        StorageType::Persistent => None,
    }
}

fn set(observed: &Observed) -> Option<&Value> {
    observed.object("StatefulSet", &names::stateful_set(observed.name()))
}

/// The size in the live StatefulSet's template of a volume.
fn template_size<'a>(observed: &'a Observed, volume: &str) -> Option<&'a str> {
    let templates = set(observed)?["spec"]["volumeClaimTemplates"].as_array()?;
    let template = templates.iter().find(|template| template["metadata"]["name"] == volume)?;
    template["spec"]["resources"]["requests"]["storage"].as_str()
}

fn names_of(claims: &[&Claim]) -> String {
    claims.iter().map(|claim| claim.name.as_str()).collect::<Vec<_>>().join(", ")
}
