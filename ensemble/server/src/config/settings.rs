//! Everything that the process does by configuration, with nothing left to interpret. How it is read is in `read.rs`.

use super::membership::Ensemble;
use super::text::server_lines;
use super::tls::HttpPort;
use ensemble_proto::ServerId;
use ensemble_storage::{Share, TakeOver};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A server's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This server; 1 when there is no `server.N` line.
    pub id: ServerId,
    /// Ordinal plus `ensemble.myidOffset`, where there is an ordinal: what `myid` must hold.
    pub ordinal_id: Option<ServerId>,
    /// Who belongs to the ensemble, and where that is kept.
    pub ensemble: Ensemble,
    /// Serves alone, without election: no `server.N` line, or a single participant and `standaloneEnabled`.
    pub standalone: bool,
    /// Where things are kept.
    pub directories: Directories,
    /// `datadir.autocreate`: missing directories are made.
    pub datadir_autocreate: bool,
    /// How the store is kept (`preAllocSize`, `snapCount`, ...).
    pub storage: ensemble_storage::Options,
    /// `autopurge.snapRetainCount`, at least 3.
    pub snap_retain_count: usize,
    /// `autopurge.purgeInterval`; `None` for no purge.
    pub purge_interval: Option<Duration>,
    /// `digest.enabled`: the tree's digest is written into records and snapshots, and compared.
    pub digest_enabled: bool,
    /// `fsync.warningthresholdms`: a slower sync is logged.
    pub fsync_warning: Duration,
    /// The client port; `None` when the configuration names none.
    pub client: Option<Endpoint>,
    /// `clientPortListenBacklog`. Differs from ZooKeeper: 4096 unless set, so that a storm of clients is not refused.
    pub client_backlog: u32,
    /// `clientTcpKeepAlive`.
    pub client_keepalive: bool,
    /// Connections from one address, 0 for no limit.
    pub max_client_cnxns: usize,
    /// Connections in all, 0 for no limit.
    pub max_cnxns: usize,
    /// `nio.sessionlessCnxnTimeout`.
    pub sessionless_timeout: Duration,
    /// When empty containers go (`znode.container.*`).
    pub reaping: ensemble_peer::Reaping,
    /// `readonlymode.enabled`.
    pub read_only: bool,
    /// `localSessionsEnabled`.
    pub local_sessions: bool,
    /// `audit.enable`.
    pub audit: bool,
    /// `enforceQuota`.
    pub enforce_quota: bool,
    /// `leaderServes`, `enforce.auth.*`, `ensembleAuthName`.
    pub admission: ensemble_peer::Admission,
    /// `extendedTypesEnabled`.
    pub extended_types: bool,
    /// `localSessionsUpgradingEnabled`.
    pub local_sessions_upgrading: bool,
    /// `globalOutstandingLimit`.
    pub global_outstanding_limit: usize,
    /// Longest frame of a client (`jute.maxbuffer`).
    pub frame_bytes_max: usize,
    /// Longest record of a transaction (`jute.maxbuffer` and `jute.maxbuffer.extrasize`).
    pub record_bytes_max: usize,
    /// `4lw.commands.whitelist`.
    pub four_letter_whitelist: String,
    /// `skipACL`.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.superDigest`.
    pub super_digest: Option<String>,
    /// `tickTime`.
    pub tick: Duration,
    /// `initLimit`, in ticks.
    pub init_limit: u32,
    /// `syncLimit`, in ticks.
    pub sync_limit: u32,
    /// `minSessionTimeout`.
    pub session_timeout_min_ms: i32,
    /// `maxSessionTimeout`.
    pub session_timeout_max_ms: i32,
    /// `commitLogCount`.
    pub committed_log_max: usize,
    /// The election and quorum ports.
    pub election: Election,
    /// The admin port; `None` when `admin.enableServer=false`.
    pub admin: Option<Admin>,
    /// ZooKeeper's commands on it.
    pub commands: Commands,
    /// The metrics ports; `None` when a provider without a port is configured.
    pub metrics: Option<Metrics>,
    /// `jvm.pause.*`; `None` when off.
    pub pause_monitor: Option<PauseMonitor>,
    /// Operator mode (`ensemble.id`); never standalone.
    pub operator: Option<Operator>,
    /// `ensemble.adminTokenFile`: holds the token that what changes something on the admin port must bring; without it nobody may.
    pub token_file: Option<PathBuf>,
    /// The text of the file, without secrets.
    pub initial_configuration: String,
    /// What was given of the keys that are system properties in ZooKeeper, by the property's name; without secrets.
    pub properties: Vec<(String, String)>,
    /// SHA-256 of the file's lines but those of the servers, hexadecimal.
    pub config_hash: String,
}

/// `dataDir` and `dataLogDir`.
#[derive(Clone, Debug)]
pub struct Directories {
    /// Snapshots, epochs, myid, identity.
    pub data: PathBuf,
    /// Transaction logs.
    pub log: PathBuf,
}

/// A host, name or address, and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

/// How servers reach each other.
#[derive(Clone, Debug)]
pub struct Election {
    /// `quorumListenOnAllIPs`.
    pub listen_on_all_ips: bool,
    /// `cnxTimeout`: of one connection attempt.
    pub connect_timeout: Duration,
    /// How long the first message on an election connection may take (`quorumCnxnTimeoutMs`).
    pub handshake_timeout: Duration,
    /// Attempts to bind a port before the process ends, 0 for no end (`electionPortBindRetry`).
    pub bind_retries: u32,
    /// `fastleader.minNotificationInterval`.
    pub notification_interval_min: Duration,
    /// `fastleader.maxNotificationInterval`.
    pub notification_interval_max: Duration,
    /// `leaderConnectDelayDuringRetryMs`.
    pub leader_retry_delay: Duration,
    /// How long connecting to a leader may take in all (`connectToLearnerMasterLimit`).
    pub leader_connect_timeout: Duration,
    /// Whether the log on disk is a source for learners that lack more than is in memory (`snapshotSizeFactor` not negative).
    pub log_syncs: bool,
    /// How long it may be for that, of the newest snapshot; `None` is no limit (`snapshotSizeFactor` 0).
    pub log_sync_share: Option<Share>,
    /// Every learner gets a snapshot (`forceSnapshotSync`).
    pub force_snapshots: bool,
    /// Learners that a leader sends snapshots to at once; one more observer is sent away to try again
    /// (`leader.maxConcurrentSnapSyncs`).
    pub snap_syncs_max: usize,
    /// The same for those that are sent transactions only (`leader.maxConcurrentDiffSyncs`).
    pub diff_syncs_max: usize,
    /// `observerMasterPort`: a follower takes observers there, and an observer looks for a follower there; `None` is 0, nowhere.
    pub observer_master_port: Option<u16>,
    /// `tcpKeepAlive`. Differs from ZooKeeper: on quorum connections too.
    pub keepalive: bool,
}

/// The admin port.
#[derive(Clone, Debug)]
pub struct Admin {
    /// `admin.serverAddress` and `admin.serverPort`; `admin.forceHttps`, `admin.portUnification`, `admin.needClientAuth`.
    pub port: HttpPort,
    /// `admin.idleTimeout`: what a connection may take. Differs from ZooKeeper: from its beginning to the end of its one answer, and 10 s
    /// unless set.
    pub idle_timeout: Duration,
}

/// ZooKeeper's commands on the admin port.
#[derive(Clone, Debug)]
pub struct Commands {
    /// Where they are (`admin.commandURL`).
    pub url: String,
    /// `admin.snapshot.enabled`.
    pub snapshot_enabled: bool,
    /// `admin.restore.enabled`.
    pub restore_enabled: bool,
    /// `admin.rateLimiterIntervalInMS`.
    pub rate_interval: Duration,
    /// `IPAuthenticationProvider.usexforwardedfor`: who comes through a proxy is known by what that says.
    pub uses_forwarded_for: bool,
}

/// The metrics ports.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// One or two: `metricsProvider.httpHost`, `metricsProvider.httpPort` and `metricsProvider.httpsPort`.
    pub ports: Vec<HttpPort>,
    /// `metricsProvider.exportJvmInfo`: what is of every process, and compatibility values for what is of a JVM, is shown too.
    pub export_jvm_info: bool,
}

/// `JvmPauseMonitor`.
#[derive(Clone, Debug)]
pub struct PauseMonitor {
    /// How long the monitor sleeps (`jvm.pause.sleep.time.ms`).
    pub sleep: Duration,
    /// A longer pause is logged at warn (`jvm.pause.warn-threshold.ms`).
    pub warn_threshold: Duration,
    /// A longer pause is put down to a cause, counted and logged at info (`ensemble.pause.thresholdMs`, or `jvm.pause.info-threshold.ms` where
    /// that is shorter).
    pub threshold: Duration,
}

/// Operator mode: the store belongs to one ensemble, and an empty one does not vote until it is granted.
#[derive(Clone, Debug)]
pub struct Operator {
    /// `ensemble.id`.
    pub ensemble_id: String,
    /// `ensemble.recovery.*`: the volume that this ensemble begins with, of one that lost its majority.
    pub recovery: Option<TakeOver>,
    /// The file that says so.
    pub file: ZooCfg,
}

/// A `zoo.cfg` that changes under the server: a kubelet mounts what it remembers of a ConfigMap, and the newest a little later.
#[derive(Clone, Debug, Default)]
pub struct ZooCfg {
    path: PathBuf,
    /// Its `server.N` lines when it was read.
    servers: Vec<String>,
}

impl ZooCfg {
    pub(super) fn new(path: &Path, text: &str) -> ZooCfg {
        ZooCfg { path: path.to_owned(), servers: server_lines(text) }
    }

    /// Whether it names other servers by now.
    pub(crate) fn names_others(&self) -> bool {
        std::fs::read_to_string(&self.path).is_ok_and(|text| server_lines(&text) != self.servers)
    }
}
