//! What the operator answers. Two parts: facts that it must never forget ([`Bootstrap`]), and what it saw last.
#![expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Recovery;

/// What the operator knows of an ensemble.
///
/// `ensembleId`, `bootstrap`, `configuration`, `pods`, `rebuild` and `recovery` are recorded facts: they are written under the resource version they
/// were read at, and everything else follows from them. The rest is recomputed from what is observed and may be lost.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ZooKeeperEnsembleStatus {
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Available`, `Degraded`, `QuorumLost`, `FaultTolerant`, `ConfigApplied`, `ReplicasApplied`, `StorageHealthy`, `Progressing`, `ReconcileSucceeded`;
    /// `Rebuilt` once a rebuild was asked for, `Recovered` once a recovery was, `MonitoringApplied` while `spec.monitoring` asks for something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The identity of the ensemble (a UUID), on every volume of it. Only a recovery changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub ensemble_id: Option<String>,
    /// How the ensemble was founded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// The newest committed configuration of the ensemble that any server reported. Recorded; its version never goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Configuration>,
    /// How many pods there are to be. Recorded before the StatefulSet is scaled; at least the members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 32))]
    pub pods: Option<i32>,
    /// The last rebuild of a member. Recorded before anything of the member is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<Rebuild>,
    /// The last recovery from a lost majority. Recorded before anything is stopped, together with the new `ensembleId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryStatus>,
    /// Pods that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Pods that are ready: they serve clients.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Servers that vote.
    #[serde(default)]
    pub voters: i32,
    /// Servers that follow and serve without a vote.
    #[serde(default)]
    pub observers: i32,
    /// Voters that hold the leader's history.
    #[serde(default)]
    pub synced_voters: i32,
    /// Voters that must be synced for the ensemble to serve.
    #[serde(default)]
    pub quorum: i32,
    /// Voters that may fail now without loss of service.
    #[serde(default)]
    pub fault_tolerance: i32,
    /// The label selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,
    /// The pod of the leader that a majority of the voters names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub leader: Option<String>,
    /// The epoch of the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// The version that the leader reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// The SHA-256 of the `zoo.cfg` that the spec asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub config_hash: Option<String>,
    /// Every server, by ordinal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["ordinal".into()]))]
    pub members: Vec<Member>,
    /// The volume claims that servers use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["claim".into()]))]
    pub storage: Vec<VolumeStatus>,
    /// Where clients connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
}

/// How the ensemble was founded, once. See `operator-core`'s module `plan::bootstrap`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// How far it has come. Never goes back.
    pub phase: BootstrapPhase,
    /// The ids of the voters, frozen when the ensemble was founded.
    #[schemars(length(min = 1, max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub voters: Vec<i32>,
    /// The volume that each ordinal was granted its vote for, recorded before the grant. Entries are never changed.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 7))]
    pub volumes: BTreeMap<String, String>,
    /// When a leader and a majority of the voters were first synced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
}

/// How far the founding has come.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BootstrapPhase {
    /// The voters are frozen; no volume may vote yet.
    Pending,
    /// Volumes are recorded, and are being granted their vote.
    InProgress,
    /// The ensemble exists. No volume is ever granted a vote again.
    Complete,
}

/// A committed configuration of the ensemble (`/zookeeper/config`): who votes and who observes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// Its version, the zxid of the reconfiguration that made it: `0x` and hexadecimal digits.
    #[schemars(length(max = 18))]
    pub version: String,
    /// The ids of the servers that vote.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub voters: Vec<i32>,
    /// The ids of the servers that observe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub observers: Vec<i32>,
}

impl Configuration {
    /// Its version as a number; none when the text is no version.
    pub fn version(&self) -> Option<i64> {
        version_number(&self.version)
    }
}

/// The number in the version of a configuration, `0x` and hexadecimal digits; none when the text is no version.
pub fn version_number(text: &str) -> Option<i64> {
    i64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// The rebuild of one member: its claims and its pod go, and it comes back on empty volumes. See `operator-core`'s module `plan::repair`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rebuild {
    /// The value of the annotation that asked for it; none when `spec.repair.autoRebuild` did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub request: Option<String>,
    /// The value of the annotation that an earlier rebuild had answered when this one began without a request; none without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub answered: Option<String>,
    /// The ordinal of the member.
    pub ordinal: i32,
    /// The claims that go, and no others of the same names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub claims: Vec<RebuildClaim>,
    /// The UID of the pod that goes; none when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub pod_uid: Option<String>,
    /// When the member was in sync again on its new volumes; none while the rebuild is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// A claim that goes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct RebuildClaim {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
}

/// A recovery from a lost majority: one member's history goes on as a new ensemble. See `operator-core`'s module `plan::recovery`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryStatus {
    /// How far it has come. Never goes back.
    pub phase: RecoveryPhase,
    /// The ordinal of the member whose history goes on.
    pub member: i32,
    /// The volume that holds it.
    #[schemars(length(max = 64))]
    pub volume_id: String,
    /// The ensemble that lost its majority, and is given up.
    #[schemars(length(max = 64))]
    pub former_ensemble_id: String,
    /// The ensemble that takes its place.
    #[schemars(length(max = 64))]
    pub ensemble_id: String,
    /// The highest epoch that was known when it began. The new ensemble begins in a later one.
    pub epoch: i64,
    /// The claims of the other members, which go when the new ensemble serves, and no others of the same names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub claims: Vec<RebuildClaim>,
    /// The members that answered with a history when it began, and may take the place of the one that was chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["ordinal".into()]))]
    pub others: Vec<RecoveryCandidate>,
    /// What the former ensemble was, and is again when the recovery is withdrawn; none when another member has taken the place of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<FormerEnsemble>,
    /// The member that was chosen before this one, and did not serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<Abandoned>,
    /// When the last of these claims was gone; none while the recovery is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// A member whose history could go on.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryCandidate {
    /// Its ordinal.
    pub ordinal: i32,
    /// The volume that holds the history.
    #[schemars(length(max = 64))]
    pub volume_id: String,
    /// The epoch that it was in.
    pub epoch: i64,
    /// The end of its log, a zxid in hexadecimal digits after `0x`.
    #[schemars(length(max = 18))]
    pub logged_zxid: String,
}

/// What was recorded of an ensemble before it was given up.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FormerEnsemble {
    /// Its newest configuration.
    pub configuration: Configuration,
    /// How many pods it had.
    pub pods: i32,
}

/// A member whose history was to go on, and did not.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Abandoned {
    /// Its ordinal. Its volumes go before another member is started.
    pub member: i32,
    /// The ensemble that it was to begin.
    #[schemars(length(max = 64))]
    pub ensemble_id: String,
}

/// How far a recovery has come.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecoveryPhase {
    /// Every server is being stopped.
    Stopping,
    /// The member whose history goes on is to serve, alone.
    Starting,
    /// It serves, and the other members' volumes are being deleted.
    Emptying,
    /// That is done. The others join as in any ensemble.
    Finished,
}

impl RecoveryStatus {
    /// Whether it is under way.
    pub fn is_under_way(&self) -> bool {
        self.phase != RecoveryPhase::Finished
    }

    /// Whether it is what was asked for by this request, so that the same text in the spec asks for nothing any more.
    pub fn answers(&self, asked: &Recovery) -> bool {
        let abandoned = self.abandoned.as_ref().map(|abandoned| &abandoned.ensemble_id);
        let is_named = asked.confirm == self.former_ensemble_id || Some(&asked.confirm) == abandoned;
        is_named && asked.from_member == self.member
    }
}

/// What is known of one server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The ordinal of its pod.
    pub ordinal: i32,
    /// Its id in the ensemble.
    pub myid: i32,
    /// Its pod.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// The node that its pod runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node: Option<String>,
    /// `voter`, `observer`, or `joiner` while it is not in the configuration.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub member: String,
    /// `looking`, `following`, `leading`, `observing`, or `unknown` when it does not answer.
    #[schemars(length(max = 32))]
    pub role: String,
    /// `uninitialized`, `syncing`, `synced`, or `unknown`.
    #[schemars(length(max = 32))]
    pub state: String,
    /// The version it reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// The volume that it was last synced on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub volume_id: Option<String>,
    /// The SHA-256 of the `zoo.cfg` that it loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub config_hash: Option<String>,
}

/// What is known of one volume claim.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// Its name.
    #[schemars(length(max = 253))]
    pub claim: String,
    /// The size that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub requested: Option<String>,
    /// The size that its volume has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub actual: Option<String>,
    /// `Pending` before it is bound, `Bound` when it has the size of the spec, `Resizing`, `FileSystemResizePending` or `ResizeFailed`.
    #[schemars(length(max = 32))]
    pub phase: String,
}

/// Where clients connect.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// `host:port` of the client Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub client: Option<String>,
}

impl Bootstrap {
    /// The volume recorded for an ordinal.
    pub fn volume(&self, ordinal: i32) -> Option<&str> {
        self.volumes.get(&ordinal.to_string()).map(String::as_str)
    }

    /// Whether `next` keeps every fact of `self`: the phase does not go back, the voters are the same, and no recorded
    /// volume is changed or forgotten. Checked before every write of the status.
    pub fn may_become(&self, next: &Self) -> bool {
        self.phase <= next.phase
            && self.voters == next.voters
            && self.volumes.iter().all(|(ordinal, volume)| next.volumes.get(ordinal) == Some(volume))
            && (self.phase != BootstrapPhase::Complete || self == next)
    }
}
