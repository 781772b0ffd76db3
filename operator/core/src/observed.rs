//! Everything a pass knows. The shell fills it; nothing else reaches a decision.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_api::{Storage, StorageType, ZooKeeperEnsemble, names};
use serde_json::Value;

use crate::member::MemberStatus;
use crate::node::NodeFacts;
use crate::pod::{PodFacts, shorten};
use crate::step::Kind;

/// What was read at the start of a pass.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The wall clock when the pass began.
    pub now: Time,
    /// The resource, read live: no cache stands between this and the API server.
    pub ensemble: ZooKeeperEnsemble,
    /// The image that runs when the spec names none.
    pub default_image: String,
    /// Random values drawn for this pass, used when something is made for the first time.
    pub fresh: Identity,
    /// The children that exist, as the API server holds them, with `kind` and `metadata`.
    pub objects: Vec<Value>,
    /// Kinds of the Prometheus operator that cannot be used, and why. Looked at only where they are, or were, asked for.
    pub unusable: BTreeMap<Kind, String>,
    /// The superuser token.
    pub token: TokenState,
    /// The pods of the ensemble, by ordinal.
    pub pods: BTreeMap<i32, PodFacts>,
    /// The volume claims that have a name of this ensemble.
    pub claims: Vec<Claim>,
    /// The nodes of pods whose end was due, by name.
    pub nodes: BTreeMap<String, NodeFacts>,
    /// Whether a storage class allows expansion, by its name, of the classes whose claims are to grow.
    pub classes: BTreeMap<String, bool>,
    /// What each pod answered to `GET /status`, or why it did not, by ordinal.
    pub members: BTreeMap<i32, Result<MemberStatus, String>>,
}

/// Random values for one pass.
#[derive(Clone, Debug)]
pub struct Identity {
    /// A UUID, the identity of an ensemble that has none yet.
    pub ensemble_id: String,
    /// A token for an ensemble that has none yet.
    pub token: Token,
}

/// The bearer token of the admin port. Its text does not appear in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The superuser `Secret`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// There is none.
    Absent,
    /// It holds a token.
    Present(Token),
    /// It exists and holds no token that can be used, for this reason. It may be a user's: it is not replaced.
    Unusable(String),
}

/// A volume claim that has a name of this ensemble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The ensemble it was made for, by its annotation. None when the operator did not make it.
    pub ensemble_id: Option<String>,
    /// What the operator wrote on it when its member was removed.
    pub retired: Option<String>,
    /// The UIDs of its owners.
    pub owners: Vec<String>,
    /// It has a volume. One that has none was never used.
    pub bound: bool,
    /// It is being deleted, and goes when no pod uses it any more.
    pub deleting: bool,
    /// Its storage class.
    pub class: Option<String>,
    /// The size that it asks for.
    pub requested: Option<String>,
    /// The size that its volume has.
    pub capacity: Option<String>,
    /// What becomes of the last change of its size.
    pub resize: Resize,
}

/// What becomes of a change of a claim's size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resize {
    /// Nothing is said of any.
    #[default]
    None,
    /// The volume is being resized.
    Running,
    /// The volume is, and since this time its file system waits for the kubelet.
    FileSystemPending(Time),
    /// It went wrong, for this reason.
    Failed(String),
}

impl Resize {
    fn of(claim: &PersistentVolumeClaim) -> Self {
        let Some(status) = &claim.status else { return Self::None };
        let is = |type_: &str| {
            let mut conditions = status.conditions.iter().flatten();
            conditions.find(|condition| condition.type_ == type_ && condition.status == "True")
        };
        if let Some(error) = is("ControllerResizeError").or_else(|| is("NodeResizeError")) {
            return Self::Failed(shorten(error.message.as_deref().unwrap_or("no reason given")));
        }
        if let Some(pending) = is("FileSystemResizePending") {
            let since = pending.last_transition_time.clone();
            return since.map_or(Self::Running, Self::FileSystemPending);
        }
        let said = status.allocated_resource_statuses.as_ref().and_then(|all| all.get("storage"));
        match said {
            Some(said) if said.ends_with("Infeasible") => Self::Failed(said.clone()),
            _ if is("Resizing").is_some() => Self::Running,
            _ => Self::None,
        }
    }
}

impl Claim {
    /// What matters of a claim.
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let storage = |of: Option<&BTreeMap<String, Quantity>>| Some(of?.get("storage")?.0.clone());
        let annotation = |name: String| claim.metadata.annotations.as_ref().and_then(|all| all.get(&name)).cloned();
        Self {
            name: claim.metadata.name.clone().unwrap_or_default(),
            uid: claim.metadata.uid.clone().unwrap_or_default(),
            ensemble_id: annotation(names::ensemble_id_annotation()),
            retired: annotation(names::retired_annotation()),
            owners: claim.metadata.owner_references.iter().flatten().map(|owner| owner.uid.clone()).collect(),
            bound: claim.spec.as_ref().is_some_and(|spec| spec.volume_name.is_some()),
            deleting: claim.metadata.deletion_timestamp.is_some(),
            class: claim.spec.as_ref().and_then(|spec| spec.storage_class_name.clone()),
            requested: storage(claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref())),
            capacity: storage(claim.status.as_ref().and_then(|status| status.capacity.as_ref())),
            resize: Resize::of(claim),
        }
    }
}

impl Observed {
    /// The name of the resource.
    pub fn name(&self) -> &str {
        self.ensemble.metadata.name.as_deref().unwrap_or_default()
    }

    /// The claims that a server of this ordinal mounts, as far as they exist.
    pub(crate) fn claims_of(&self, storage: &Storage, ordinal: i32) -> Vec<&Claim> {
        let (data, txn_log) = (names::data_claim(self.name(), ordinal), names::txn_log_claim(self.name(), ordinal));
        let mounted = |claim: &&Claim| claim.name == data || storage.txn_log.enabled && claim.name == txn_log;
        let is_persistent = storage.type_ == StorageType::Persistent;
        self.claims.iter().filter(mounted).filter(|_| is_persistent).collect()
    }

    /// A child that exists.
    pub fn object(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    /// The StatefulSet, if its controller has seen what is asked of it.
    pub(crate) fn seen_set(&self) -> Option<&Value> {
        let set = self.object("StatefulSet", &names::stateful_set(self.name()))?;
        let generation = set["metadata"]["generation"].as_i64()?;
        (set["status"]["observedGeneration"].as_i64() == Some(generation)).then_some(set)
    }
}
