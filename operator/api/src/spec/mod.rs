//! What a user writes. Every field here works; every rule says what to write instead.
#![expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]

mod config;
mod image;
mod monitoring;
mod pod_template;
mod recovery;
mod repair;
mod resources;
mod scheduling;
mod storage;
mod update_strategy;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::status::ZooKeeperEnsembleStatus;

pub use config::{Autopurge, Config, FourLetterWord};
pub use image::{Image, PullPolicy};
pub use monitoring::Monitoring;
pub use pod_template::{EnvVar, PodTemplate};
pub use recovery::Recovery;
pub use repair::Repair;
pub use resources::Resources;
pub use scheduling::{AntiAffinity, Scheduling, TopologySpread, WhenUnsatisfiable};
pub use storage::{AccessMode, Reclaim, ReclaimPolicy, Storage, StorageType, TxnLogVolume, Volume};
pub use update_strategy::{MaintenanceWindow, UpdateMode, UpdateStrategy, Weekday};

/// An ensemble of ZooKeeper servers: its size, its storage and its configuration.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "zookeeper.ensemble.rs",
    version = "v1alpha1",
    kind = "ZooKeeperEnsemble",
    plural = "zookeeperensembles",
    singular = "zookeeperensemble",
    shortname = "zke",
    category = "zookeeper",
    namespaced,
    doc = "An ensemble of ZooKeeper servers that the operator founds once and keeps running.",
    status = "ZooKeeperEnsembleStatus",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.replicas", description = "Servers wanted"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas", description = "Servers that serve clients"),
    printcolumn(name = "Voters", type_ = "integer", json_path = ".status.voters", description = "Servers that vote"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader", description = "Pod of the leader"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Reason of the condition Ready"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version", description = "Version that the leader reports"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since creation"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.epoch", description = "Epoch of the leader", priority = 1),
    printcolumn(name = "Tolerance", type_ = "integer", json_path = ".status.faultTolerance", description = "Voters that may fail now without loss of service", priority = 1),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoints.client", description = "Where clients connect", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 45").message("the name must be at most 45 characters, so that the names of its pods fit: choose a shorter one"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("the name must be a DNS label that begins with a letter: lower-case letters, digits and '-', no dots")
)]
#[x_kube(
    validation = Rule::new("!has(self.voters) || self.replicas == 0 || self.voters <= self.replicas")
        .message("voters must not exceed replicas: raise replicas, lower voters, or leave voters out"),
    validation = Rule::new("self.replicas != 0 || self.storage.type != 'Ephemeral'")
        .message("replicas must not be 0 with storage of type Ephemeral, which goes away with the pods: delete the ensemble, if its data may go"),
    validation = Rule::new("!self.hibernate || self.storage.type != 'Ephemeral'")
        .message("hibernate must not be true with storage of type Ephemeral, which goes away with the pods: delete the ensemble, if its data may go"),
    validation = Rule::new("self.updateStrategy.mode != 'Swap' || self.replicas == 0 || (has(self.voters) ? self.voters >= 3 && self.replicas > self.voters : self.replicas >= 4 && (self.replicas % 2 == 0 || self.replicas > 5))")
        .message("updateStrategy.mode Swap needs three voters or more and an observer: write replicas 4, or voters below replicas, or mode LeaderLast"),
    validation = Rule::new("has(self.clusterDomain) == has(oldSelf.clusterDomain) && (!has(self.clusterDomain) || self.clusterDomain == oldSelf.clusterDomain)")
        .message("clusterDomain is immutable, since the servers know each other by these names: leave it as it was, or create another ensemble"),
)]
#[serde(rename_all = "camelCase")]
pub struct ZooKeeperEnsembleSpec {
    /// How many servers. The lowest ordinals vote, see `voters`; the others observe: they serve reads, and forward writes.
    /// `kubectl scale` writes this field. 0 stops all of them: the members and their volumes stay, and any other number starts them again.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 15))]
    pub replicas: i32,

    /// How many of them vote: an odd number. Without it, the greatest odd number up to `replicas`, at most 5: an even number of
    /// voters tolerates no more failures than the odd number below it, and each voter more makes writes slower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 7))]
    #[x_kube(validation = Rule::new("self % 2 == 1").message("voters must be odd: an even number tolerates no more failures than the odd number below it; write one less, and the last server observes"))]
    pub voters: Option<i32>,

    /// Which server image runs. Without it, the image that the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,

    /// Volumes of each server.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new("self.type == oldSelf.type && self.txnLog.enabled == oldSelf.txnLog.enabled && self.data.accessMode == oldSelf.data.accessMode && self.txnLog.accessMode == oldSelf.txnLog.accessMode && has(self.data.storageClassName) == has(oldSelf.data.storageClassName) && (!has(self.data.storageClassName) || self.data.storageClassName == oldSelf.data.storageClassName) && has(self.data.labels) == has(oldSelf.data.labels) && (!has(self.data.labels) || self.data.labels == oldSelf.data.labels) && has(self.data.annotations) == has(oldSelf.data.annotations) && (!has(self.data.annotations) || self.data.annotations == oldSelf.data.annotations) && has(self.txnLog.storageClassName) == has(oldSelf.txnLog.storageClassName) && (!has(self.txnLog.storageClassName) || self.txnLog.storageClassName == oldSelf.txnLog.storageClassName) && has(self.txnLog.labels) == has(oldSelf.txnLog.labels) && (!has(self.txnLog.labels) || self.txnLog.labels == oldSelf.txnLog.labels) && has(self.txnLog.annotations) == has(oldSelf.txnLog.annotations) && (!has(self.txnLog.annotations) || self.txnLog.annotations == oldSelf.txnLog.annotations) && has(self.sizeLimit) == has(oldSelf.sizeLimit) && (!has(self.sizeLimit) || self.sizeLimit == oldSelf.sizeLimit)")
            .message("the volumes are immutable but for data.size and txnLog.size, since a StatefulSet keeps those it was created with: leave them as they were, or create another ensemble; reclaimPolicy may change"),
        validation = Rule::new("quantity(self.data.size).compareTo(quantity(oldSelf.data.size)) >= 0 && quantity(self.txnLog.size).compareTo(quantity(oldSelf.txnLog.size)) >= 0")
            .message("volumes cannot shrink: leave data.size and txnLog.size as they were, or write more"),
    )]
    pub storage: Storage,

    /// Settings of `zoo.cfg`. A change reaches a server when its pod is next created, see `updateStrategy`; the condition
    /// ConfigApplied says which pods wait for it.
    #[serde(default)]
    pub config: Config,

    /// CPU and memory of each server.
    #[serde(default)]
    pub resources: Resources,

    /// Where the pods may run.
    #[serde(default)]
    pub scheduling: Scheduling,

    /// Additions to the pods.
    #[serde(default)]
    pub pod_template: PodTemplate,

    /// How servers are moved to a new configuration, image or pod template.
    #[serde(default)]
    pub update_strategy: UpdateStrategy,

    /// What a Prometheus and a Grafana are given.
    #[serde(default)]
    pub monitoring: Monitoring,

    /// What is done about a server that does not come back by itself.
    #[serde(default)]
    pub repair: Repair,

    /// Only for an ensemble that lost the volumes of a majority for good: the history of one member goes on, and whatever only others
    /// hold is lost. It is carried out once, and cannot be called off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,

    /// The id of a server is its ordinal plus this number, so that ensembles which will be joined have distinct ids.
    #[serde(default = "default_myid_offset")]
    #[schemars(range(min = 1, max = 240))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("myidOffset is immutable, since the ids are written on the volumes: leave it as it was, or create another ensemble"))]
    pub myid_offset: i32,

    /// The DNS domain of the cluster, such as `cluster.local`. Without it names are relative (`<pod>.<service>.<namespace>.svc`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub cluster_domain: Option<String>,

    /// While true the servers are stopped, the followers first and the leader last; the members and their volumes stay, and `replicas`
    /// says how many come back. Nobody is served.
    #[serde(default)]
    pub hibernate: bool,

    /// While true nobody can delete this resource; the admission policy `zookeeper-ensemble-protection`, which comes with the operator, refuses it.
    /// It does not hold up the deletion of the namespace, which takes the servers away whatever becomes of this resource.
    #[serde(default)]
    pub deletion_protection: bool,

    /// While true the operator observes and reports, and changes nothing.
    #[serde(default)]
    pub paused: bool,
}

fn default_replicas() -> i32 {
    3
}
fn default_myid_offset() -> i32 {
    1
}

/// The most voters that an ensemble gets unless the spec says otherwise.
const VOTERS_DEFAULT_MAX: i32 = 5;

impl ZooKeeperEnsembleSpec {
    /// Whether the servers are to be stopped, and the ensemble to be kept.
    pub fn is_hibernated(&self) -> bool {
        self.hibernate || self.replicas == 0
    }

    /// Whether an observer can take the place of a voter, as `updateStrategy.mode: Swap` asks for.
    pub fn has_spare_observer(&self) -> bool {
        let voters = self.voter_count();
        voters >= 3 && self.replicas > voters
    }

    /// How many of the servers vote.
    pub fn voter_count(&self) -> i32 {
        let odd = if self.replicas % 2 == 0 { self.replicas - 1 } else { self.replicas };
        self.voters.unwrap_or_else(|| odd.min(VOTERS_DEFAULT_MAX))
    }
}

impl Default for ZooKeeperEnsembleSpec {
    fn default() -> Self {
        Self {
            replicas: default_replicas(),
            voters: None,
            image: None,
            storage: Storage::default(),
            config: Config::default(),
            resources: Resources::default(),
            scheduling: Scheduling::default(),
            pod_template: PodTemplate::default(),
            update_strategy: UpdateStrategy::default(),
            monitoring: Monitoring::default(),
            repair: Repair::default(),
            recovery: None,
            myid_offset: default_myid_offset(),
            cluster_domain: None,
            hibernate: false,
            deletion_protection: false,
            paused: false,
        }
    }
}
