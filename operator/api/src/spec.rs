//! What a user writes. Every field here works; every rule says what to write instead.
#![expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
use crate::status::ZooKeeperEnsembleStatus;

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
    validation = Rule::new("size(self.metadata.name) <= 45").message("the name must be at most 45 characters, so that the names of its pods fit"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("the name must be a DNS label that begins with a letter: lower-case letters, digits and '-', no dots")
)]
#[x_kube(
    validation = Rule::new("has(self.clusterDomain) == has(oldSelf.clusterDomain) && (!has(self.clusterDomain) || self.clusterDomain == oldSelf.clusterDomain)")
        .message("clusterDomain is immutable: the servers know each other by these names"),
)]
#[serde(rename_all = "camelCase")]
pub struct ZooKeeperEnsembleSpec {
    /// How many servers: 1, 3, 5 or 7, all of them voters.
    ///
    /// It takes effect when the ensemble is founded. A change afterwards is reported and not carried out.
    #[serde(default = "default_replicas")]
    #[x_kube(validation = Rule::new("self in [1, 3, 5, 7]").message("replicas must be 1, 3, 5 or 7: an even number of voters tolerates no more failures than the odd number below it; write 3 for 2 or 4, 5 for 6, 7 for more"))]
    pub replicas: i32,

    /// Which server image runs. Without it, the image that the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,

    /// Volumes of each server.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("storage is immutable: a StatefulSet keeps the volumes it was created with; expansion is not supported yet"))]
    pub storage: Storage,

    /// Settings of `zoo.cfg`. A change reaches a server when its pod is next created; the condition ConfigApplied says
    /// which pods wait for it.
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

    /// The id of a server is its ordinal plus this number, so that ensembles which will be joined have distinct ids.
    #[serde(default = "default_myid_offset")]
    #[schemars(range(min = 1, max = 240))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("myidOffset is immutable: the ids are written on the volumes"))]
    pub myid_offset: i32,

    /// The DNS domain of the cluster, such as `cluster.local`. Without it names are relative (`<pod>.<service>.<namespace>.svc`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub cluster_domain: Option<String>,

    /// While true the operator observes and reports, and changes nothing.
    #[serde(default)]
    pub paused: bool,
}

/// A container image.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.repository) ? (has(self.tag) || has(self.digest)) : !(has(self.tag) || has(self.digest))")
        .message("an image needs a repository with a tag or a digest, or neither of the three"),
)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Registry and path, such as `registry.example.com/zookeeper-ensemble`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^\s]+$"))]
    pub repository: Option<String>,
    /// The tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))]
    pub tag: Option<String>,
    /// The digest, such as `sha256:…`; it decides when a tag is given too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 160), regex(pattern = r"^[a-z0-9]+:[a-f0-9]+$"))]
    pub digest: Option<String>,
    /// When the node pulls it.
    #[serde(default)]
    pub pull_policy: PullPolicy,
    /// Secrets in the ensemble's namespace to pull with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub pull_secrets: Vec<String>,
}

/// When a node pulls an image.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// At every start of a pod.
    Always,
    /// When the node does not have it.
    #[default]
    IfNotPresent,
    /// Never; the node must have it.
    Never,
}

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
    /// Snapshots and the identity of the server. The claim stays when the ensemble is deleted.
    #[serde(default)]
    pub data: Volume,
    /// The transaction log: a disk of its own keeps its syncs apart from the writing of snapshots.
    #[serde(default)]
    pub txn_log: TxnLogVolume,
    /// Limit of each Ephemeral volume. Without it, what the node has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    pub size_limit: Option<Quantity>,
}

/// Whether volumes outlive their pods.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StorageType {
    /// Claims that outlive pods and the ensemble.
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

/// Settings of `zoo.cfg`, in ZooKeeper's words and units.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = Rule::new("self.syncLimit <= self.initLimit")
        .message("syncLimit must not exceed initLimit: a server that is still synchronising would be given up"),
    validation = Rule::new("!has(self.minSessionTimeoutMs) || self.minSessionTimeoutMs >= 2 * self.tickTimeMs")
        .message("minSessionTimeoutMs must be at least 2 * tickTimeMs"),
    validation = Rule::new("(has(self.maxSessionTimeoutMs) ? self.maxSessionTimeoutMs : 20 * self.tickTimeMs) >= (has(self.minSessionTimeoutMs) ? self.minSessionTimeoutMs : 2 * self.tickTimeMs)")
        .message("maxSessionTimeoutMs (default 20 * tickTimeMs) must not be below minSessionTimeoutMs (default 2 * tickTimeMs)"),
)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// `tickTime`: the unit of the limits below, in milliseconds.
    #[serde(default = "default_tick_time_ms")]
    #[schemars(range(min = 100, max = 60_000))]
    pub tick_time_ms: i32,
    /// `initLimit`: ticks a server may take to join its leader and receive its state.
    #[serde(default = "default_init_limit")]
    #[schemars(range(min = 1, max = 10_000))]
    pub init_limit: i32,
    /// `syncLimit`: ticks a server may lag before it is given up.
    #[serde(default = "default_sync_limit")]
    #[schemars(range(min = 1, max = 10_000))]
    pub sync_limit: i32,
    /// `snapCount`: transactions between snapshots; each server draws a number from its upper half.
    #[serde(default = "default_snap_count")]
    #[schemars(range(min = 2, max = 100_000_000))]
    pub snap_count: i32,
    /// `preAllocSize`: how far ahead the transaction log is allocated, in KiB.
    #[serde(default = "default_pre_alloc_kb")]
    #[schemars(range(min = 64, max = 1_048_576))]
    pub pre_alloc_kb: i32,
    /// `minSessionTimeout` in milliseconds; 2 ticks without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400_000))]
    pub min_session_timeout_ms: Option<i32>,
    /// `maxSessionTimeout` in milliseconds; 20 ticks without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400_000))]
    pub max_session_timeout_ms: Option<i32>,
    /// `maxClientCnxns`: connections from one address to one server; 0 is no limit.
    #[serde(default = "default_max_client_cnxns")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_client_cnxns: i32,
    /// `maxCnxns`: connections to one server; 0 is no limit.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_cnxns: i32,
    /// Removal of old snapshots and logs.
    #[serde(default)]
    pub autopurge: Autopurge,
    /// `4lw.commands.whitelist`: which four letter words are answered on the client port.
    #[serde(default = "default_four_letter_words")]
    #[schemars(length(max = 6))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub four_letter_words: Vec<FourLetterWord>,
    /// Further lines of `zoo.cfg`. Keys that the operator decides, and keys that have a field above, are refused; a key
    /// that the server does not support stops it with a message that names the key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::string_map")]
    #[x_kube(
        validation = Rule::new("self.all(k, !(k in ['dataDir', 'dataLogDir', 'standaloneEnabled', 'reconfigEnabled', 'skipACL', 'quorumListenOnAllIPs', 'peerType', 'electionAlg', 'db.autocreate', 'zookeeper.db.autocreate', 'snapshot.trust.empty', 'forceSync', 'version']))")
            .message("extra must not set a key that the operator decides: dataDir, dataLogDir, standaloneEnabled, reconfigEnabled, skipACL, quorumListenOnAllIPs, peerType, electionAlg, db.autocreate, snapshot.trust.empty, forceSync, version"),
        validation = Rule::new("self.all(k, !(k.startsWith('server.') || k.startsWith('group.') || k.startsWith('weight.') || k.startsWith('clientPort') || k.startsWith('secureClientPort') || k.startsWith('dynamicConfigFile') || k.startsWith('admin.') || k.startsWith('metricsProvider.') || k.startsWith('ensemble.') || k.startsWith('ssl') || k.startsWith('zookeeper.ssl') || k.startsWith('quorum.auth.')))")
            .message("extra must not set a key that begins with server., group., weight., clientPort, secureClientPort, dynamicConfigFile, admin., metricsProvider., ensemble., ssl or quorum.auth.: the operator decides these"),
        validation = Rule::new("self.all(k, !(k in ['tickTime', 'initLimit', 'syncLimit', 'snapCount', 'preAllocSize', 'minSessionTimeout', 'maxSessionTimeout', 'maxClientCnxns', 'maxCnxns', 'autopurge.snapRetainCount', 'autopurge.purgeInterval', '4lw.commands.whitelist']))")
            .message("extra must not set a key that has a field of its own: tickTimeMs, initLimit, syncLimit, snapCount, preAllocKb, minSessionTimeoutMs, maxSessionTimeoutMs, maxClientCnxns, maxCnxns, autopurge, fourLetterWords"),
    )]
    pub extra: BTreeMap<String, String>,
}

/// Removal of old snapshots and transaction logs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Autopurge {
    /// `autopurge.snapRetainCount`: snapshots to keep, with the logs they need.
    #[serde(default = "default_snap_retain_count")]
    #[schemars(range(min = 3, max = 1000))]
    pub snap_retain_count: i32,
    /// `autopurge.purgeInterval` in hours; 0 never purges.
    #[serde(default = "default_purge_interval_hours")]
    #[schemars(range(min = 0, max = 8760))]
    pub purge_interval_hours: i32,
}

/// A four letter word that the server answers.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum FourLetterWord {
    /// The effective configuration.
    Conf,
    /// `rw` or `ro`.
    Isro,
    /// Figures, one a line.
    Mntr,
    /// `imok` when the process runs.
    Ruok,
    /// A summary of the server.
    Srvr,
    /// `srvr` and its connections.
    Stat,
}

impl FourLetterWord {
    /// The word as it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conf => "conf",
            Self::Isro => "isro",
            Self::Mntr => "mntr",
            Self::Ruok => "ruok",
            Self::Srvr => "srvr",
            Self::Stat => "stat",
        }
    }
}

/// CPU and memory of each server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(default = "default_requests")]
    #[schemars(schema_with = "schema::quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the server may not exceed. The state lives in memory: give it room for all data and one snapshot stream.
    #[serde(default = "default_limits")]
    #[schemars(schema_with = "schema::quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

/// Where the pods may run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Whether two servers may share a node.
    #[serde(default)]
    pub anti_affinity: AntiAffinity,
    /// How the servers spread. Without it, over zones where possible. An empty list is no rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topologyKey".into()]))]
    pub topology_spread: Option<Vec<TopologySpread>>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::string_map")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// The priority class of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// Whether two servers may share a node.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AntiAffinity {
    /// No rule.
    None,
    /// Apart where possible.
    #[default]
    Preferred,
    /// Apart, or not scheduled.
    Required,
}

/// A rule of spread over the servers of the ensemble.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TopologySpread {
    /// The label of nodes that names a domain, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 316))]
    pub topology_key: String,
    /// How many more servers one domain may have than another.
    #[serde(default = "default_max_skew")]
    #[schemars(range(min = 1, max = 15))]
    pub max_skew: i32,
    /// What happens when the rule cannot be met.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
}

/// What happens when a rule of spread cannot be met.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenUnsatisfiable {
    /// The pod waits.
    DoNotSchedule,
    /// The pod runs anyway.
    #[default]
    ScheduleAnyway,
}

/// Additions to the pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels. Those that the operator sets win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::string_map")]
    pub labels: BTreeMap<String, String>,
    /// Annotations. Those that the operator sets win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::string_map")]
    pub annotations: BTreeMap<String, String>,
    /// Environment of the server, such as `RUST_LOG`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,
}

/// A variable of the server's environment.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Its name; `ENSEMBLE_…` belongs to the operator.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    #[x_kube(validation = Rule::new("!self.startsWith('ENSEMBLE_')").message("names that begin with ENSEMBLE_ belong to the operator"))]
    pub name: String,
    /// Its value.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub value: String,
}

fn default_replicas() -> i32 {
    3
}
fn default_myid_offset() -> i32 {
    1
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
fn default_tick_time_ms() -> i32 {
    2000
}
fn default_init_limit() -> i32 {
    10
}
fn default_sync_limit() -> i32 {
    5
}
fn default_snap_count() -> i32 {
    100_000
}
fn default_pre_alloc_kb() -> i32 {
    65_536
}
fn default_max_client_cnxns() -> i32 {
    60
}
fn default_snap_retain_count() -> i32 {
    3
}
fn default_purge_interval_hours() -> i32 {
    1
}
fn default_four_letter_words() -> Vec<FourLetterWord> {
    use FourLetterWord::{Conf, Isro, Mntr, Ruok, Srvr};
    vec![Srvr, Mntr, Ruok, Conf, Isro]
}
fn default_requests() -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("cpu".to_owned(), Quantity("100m".to_owned())),
        ("memory".to_owned(), Quantity("256Mi".to_owned())),
    ])
}
fn default_limits() -> BTreeMap<String, Quantity> {
    BTreeMap::from([("memory".to_owned(), Quantity("512Mi".to_owned()))])
}
fn default_max_skew() -> i32 {
    1
}

impl Default for ZooKeeperEnsembleSpec {
    fn default() -> Self {
        Self {
            replicas: default_replicas(),
            image: None,
            storage: Storage::default(),
            config: Config::default(),
            resources: Resources::default(),
            scheduling: Scheduling::default(),
            pod_template: PodTemplate::default(),
            myid_offset: default_myid_offset(),
            cluster_domain: None,
            paused: false,
        }
    }
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

impl Default for Config {
    fn default() -> Self {
        Self {
            tick_time_ms: default_tick_time_ms(),
            init_limit: default_init_limit(),
            sync_limit: default_sync_limit(),
            snap_count: default_snap_count(),
            pre_alloc_kb: default_pre_alloc_kb(),
            min_session_timeout_ms: None,
            max_session_timeout_ms: None,
            max_client_cnxns: default_max_client_cnxns(),
            max_cnxns: 0,
            autopurge: Autopurge::default(),
            four_letter_words: default_four_letter_words(),
            extra: BTreeMap::new(),
        }
    }
}

impl Default for Autopurge {
    fn default() -> Self {
        Self { snap_retain_count: default_snap_retain_count(), purge_interval_hours: default_purge_interval_hours() }
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self { requests: default_requests(), limits: default_limits() }
    }
}
