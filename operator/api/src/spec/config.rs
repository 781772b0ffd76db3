//! `zoo.cfg`, in ZooKeeper's words and units.
#![expect(unreachable_pub, reason = "KubeSchema repeats each struct inside a function")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Settings of `zoo.cfg`, in ZooKeeper's words and units.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = Rule::new("self.syncLimit <= self.initLimit")
        .message("syncLimit must not exceed initLimit, or a server that is still synchronising is given up: lower syncLimit or raise initLimit"),
    validation = Rule::new("!has(self.minSessionTimeoutMs) || self.minSessionTimeoutMs >= 2 * self.tickTimeMs")
        .message("minSessionTimeoutMs must be at least 2 * tickTimeMs: raise it, or remove it for that default"),
    validation = Rule::new("(has(self.maxSessionTimeoutMs) ? self.maxSessionTimeoutMs : 20 * self.tickTimeMs) >= (has(self.minSessionTimeoutMs) ? self.minSessionTimeoutMs : 2 * self.tickTimeMs)")
        .message("maxSessionTimeoutMs (default 20 * tickTimeMs) must not be below minSessionTimeoutMs (default 2 * tickTimeMs): set both, or neither"),
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
            .message("extra must not set a key that the operator decides: dataDir, dataLogDir, standaloneEnabled, reconfigEnabled, skipACL, quorumListenOnAllIPs, peerType, electionAlg, db.autocreate, snapshot.trust.empty, forceSync, version: remove it"),
        validation = Rule::new("self.all(k, !(k.startsWith('server.') || k.startsWith('group.') || k.startsWith('weight.') || k.startsWith('clientPort') || k.startsWith('secureClientPort') || k.startsWith('dynamicConfigFile') || k.startsWith('admin.') || k.startsWith('metricsProvider.') || k.startsWith('ensemble.') || k.startsWith('ssl') || k.startsWith('zookeeper.ssl') || k.startsWith('quorum.auth.')))")
            .message("extra must not set a key that begins with server., group., weight., clientPort, secureClientPort, dynamicConfigFile, admin., metricsProvider., ensemble., ssl or quorum.auth., which the operator decides: remove it"),
        validation = Rule::new("self.all(k, !(k in ['tickTime', 'initLimit', 'syncLimit', 'snapCount', 'preAllocSize', 'minSessionTimeout', 'maxSessionTimeout', 'maxClientCnxns', 'maxCnxns', 'autopurge.snapRetainCount', 'autopurge.purgeInterval', '4lw.commands.whitelist']))")
            .message("extra must not set a key that has a field of its own, write the field instead: tickTimeMs, initLimit, syncLimit, snapCount, preAllocKb, minSessionTimeoutMs, maxSessionTimeoutMs, maxClientCnxns, maxCnxns, autopurge, fourLetterWords"),
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
