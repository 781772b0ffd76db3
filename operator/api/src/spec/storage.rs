//! The volumes of each server.
#![expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// The volumes of each server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new("self.type != 'Ephemeral' || self.acknowledgeDataLoss")
        .message("storage of type Ephemeral goes away with its pod: a single server never comes back, and the data is lost when a majority of pods is deleted; set acknowledgeDataLoss: true, or use type: Persistent"),
    validation = Rule::new("self.type == 'Ephemeral' || !has(self.sizeLimit)")
        .message("sizeLimit is for type: Ephemeral; write data.size and txnLog.size"),
)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Whether volumes outlive their pods.
    #[serde(rename = "type", default)]
    pub type_: StorageType,
    /// Must be true for type Ephemeral.
    #[serde(default)]
    pub acknowledge_data_loss: bool,
    /// Snapshots and the identity of the server.
    #[serde(default)]
    pub data: Volume,
    /// The transaction log: a disk of its own keeps its syncs apart from the writing of snapshots.
    #[serde(default)]
    pub txn_log: TxnLogVolume,
    /// What becomes of claims that no pod uses any more.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
    /// Limit of each Ephemeral volume. Without it, what the node has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    pub size_limit: Option<Quantity>,
}

/// What becomes of claims that no pod uses any more.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReclaimPolicy {
    /// The claims of an ensemble that is deleted: those of its members and those that were retired. `Delete` makes the ensemble their
    /// owner, and Kubernetes' garbage collector removes them after it; the operator takes the mark away when this is `Retain` again.
    #[serde(default)]
    pub on_delete: Reclaim,
    /// The claims of a server that a smaller `replicas` removed. They are deleted only when the server is out of the committed
    /// configuration and its pod is gone.
    #[serde(default)]
    pub on_scale_down: Reclaim,
}

/// Whether a claim stays.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reclaim {
    /// It stays, marked as retired, and is used again when the ensemble grows.
    #[default]
    Retain,
    /// It is deleted.
    Delete,
}

/// Whether volumes outlive their pods.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StorageType {
    /// Claims that outlive pods, and the ensemble unless `reclaimPolicy.onDelete` says otherwise.
    #[default]
    Persistent,
    /// `emptyDir`: gone with the pod. For trials.
    Ephemeral,
}

/// A persistent volume claim.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Capacity.
    #[serde(default = "default_data_size")]
    #[schemars(schema_with = "schema::quantity")]
    pub size: Quantity,
    /// The storage class. Without it, the default class of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// Who may mount it at once.
    #[serde(default)]
    pub access_mode: AccessMode,
    /// Labels of the claims.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::string_map")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the claims.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::string_map")]
    pub annotations: BTreeMap<String, String>,
}

/// The claim of the transaction log.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TxnLogVolume {
    /// False puts the transaction log on the data volume.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Capacity.
    #[serde(default = "default_txn_log_size")]
    #[schemars(schema_with = "schema::quantity")]
    pub size: Quantity,
    /// The storage class. Without it, the default class of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// Who may mount it at once.
    #[serde(default)]
    pub access_mode: AccessMode,
    /// Labels of the claims.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::string_map")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the claims.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::string_map")]
    pub annotations: BTreeMap<String, String>,
}

/// Who may mount a volume at once. A server never shares its volumes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessMode {
    /// Pods of one node.
    #[default]
    ReadWriteOnce,
    /// One pod of the cluster.
    ReadWriteOncePod,
}

fn enabled() -> bool {
    true
}
fn default_data_size() -> Quantity {
    Quantity("10Gi".to_owned())
}
fn default_txn_log_size() -> Quantity {
    Quantity("5Gi".to_owned())
}

impl Default for Volume {
    fn default() -> Self {
        Self {
            size: default_data_size(),
            storage_class_name: None,
            access_mode: AccessMode::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

impl Default for TxnLogVolume {
    fn default() -> Self {
        Self {
            enabled: true,
            size: default_txn_log_size(),
            storage_class_name: None,
            access_mode: AccessMode::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}
