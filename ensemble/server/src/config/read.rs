//! From keys and their texts to [`Settings`]: defaults, ranges, and which values contradict each other.

use super::membership::Ensemble;
use super::operator_mode::operator;
use super::settings::{Admin, Commands, Directories, Election, Endpoint, Metrics, PauseMonitor, Settings};
use super::text::{config_hash, shown, without_secrets};
use super::tls::{self, HttpPort};
use super::values::Values;
use super::{ConfigError, Note, admission};
use crate::admin::{OWN_ROUTES, REQUEST_TIMEOUT};
use crate::four_letter;
use ensemble_proto::ServerId;
use ensemble_storage::{Compression, Share};
use std::path::{Path, PathBuf};
use std::time::Duration;

const WHITELIST: &str = "4lw.commands.whitelist";
const TICKS: &str = "a number of ticks from 1 to 1048576";
const MILLISECONDS: &str = "a number of milliseconds, at least 1";
const COUNT: &str = "a number, at least 0";
const POSITIVE: &str = "a number, at least 1";
const BYTES: &str = "a number of bytes from 1 to 2147483647";
const EXTRA_BYTES: &str = "a number of bytes from 0 to 2147483647";
const PORT: &str = "a port between 0 and 65535";
const DEFAULT_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider";
const NULL_PROVIDER: &str = "org.apache.zookeeper.metrics.impl.NullMetricsProvider";
const PROMETHEUS_PROVIDER: &str = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
const AUDIT_LOGGER: &str = "org.apache.zookeeper.audit.Slf4jAuditLogger";
const CLIENT_BACKLOG: u32 = 4096;
/// Differs from ZooKeeper (60 s): a server that waits alone finds an ensemble that came up meanwhile in about this time.
const NOTIFICATION_INTERVAL_MAX_MS: u64 = 2000;
/// A standalone server holds no election, in which an empty store without a grant would have no vote.
const ALONE_UNGRANTED: &str = "ensemble.id: needs a server.N line for every server of the ensemble and, where there is one only, \
     standaloneEnabled=false; a standalone server would serve without a grant";
/// Differs from ZooKeeper: while `snapCount` is not set, a snapshot waits until this part of its length was logged. The more, the less
/// is written; the less, the sooner a server is back.
const SNAP_SHARE: Share = Share { of: 2, in_all: 3 };
/// Least `jute.maxbuffer.extrasize`.
const EXTRA_BYTES_MIN: usize = 1024;
/// How much longer than a client's frame a record in the log may be at least: what earlier versions of this server have written.
const RECORD_OVERHEAD_BYTES: usize = 1 << 20;

impl Settings {
    pub(super) fn read(
        values: &Values,
        text: &str,
        ordinal: Option<i64>,
        read: impl Fn(&Path) -> Result<String, ConfigError>,
        notes: &mut Vec<Note>,
    ) -> Result<Settings, ConfigError> {
        let operator = operator(values)?;
        let client = client(values)?;
        let offset = values.number("ensemble.myidOffset", 0, 0, 255, "a number from 0 to 255")?;
        let ensemble = Ensemble::read(values, operator.is_some(), offset, client.clone(), read)?;
        let standalone = ensemble.is_standalone();
        let tick_ms = values.number("tickTime", 3000, 1, 3_600_000, "a number of milliseconds from 1 to 3600000")?;
        let tick = Duration::from_millis(tick_ms);
        let init_limit = limit(values, "initLimit", standalone)?;
        let sync_limit = limit(values, "syncLimit", standalone)?;
        let (session_timeout_min_ms, session_timeout_max_ms) = session_timeouts(values, tick_ms)?;
        if standalone && operator.is_some() {
            return Err(ConfigError::Conflict(ALONE_UNGRANTED.into()));
        }
        let frame_bytes_max = values.number("jute.maxbuffer", 1_048_575, 1, i32::MAX as usize, BYTES)?;
        let extra_bytes =
            values.number("jute.maxbuffer.extrasize", frame_bytes_max, 0, i32::MAX as usize, EXTRA_BYTES)?;
        let record_bytes_max = frame_bytes_max + extra_bytes.max(EXTRA_BYTES_MIN);
        let super_digest = values.text("DigestAuthenticationProvider.superDigest").map(str::to_owned);
        if values.text("snapshot.trust.empty").is_some_and(|_| operator.is_some()) {
            notes.push(Note::new("snapshot.trust.empty", "has no effect with ensemble.id"));
        }
        let read_only = values.flag("readonlymode.enabled", false)?;
        let mut four_letter_whitelist = values.text(WHITELIST).unwrap_or("srvr").to_owned();
        if read_only {
            four_letter_whitelist += ",isro"; // by which clients tell such servers apart
        }
        let unknown = four_letter::unknown(&four_letter_whitelist);
        if !unknown.is_empty() {
            notes.push(Note::new(WHITELIST, format!("ZooKeeper has no such word: {}", unknown.join(", "))));
        }
        Ok(Settings {
            id: ServerId(1),
            ordinal_id: ordinal.map(|ordinal| ServerId(ordinal + offset)),
            ensemble,
            standalone,
            directories: directories(values)?,
            datadir_autocreate: values.flag("datadir.autocreate", true)?,
            storage: storage(
                values,
                record_bytes_max.max(frame_bytes_max + RECORD_OVERHEAD_BYTES),
                operator.is_some(),
            )?,
            snap_retain_count: values.number("autopurge.snapRetainCount", 3, 3, usize::MAX, "a number, at least 3")?,
            purge_interval: purge_interval(values)?,
            digest_enabled: values.flag("digest.enabled", true)?,
            fsync_warning: milliseconds(values, "fsync.warningthresholdms", 1000)?,
            client,
            client_backlog: backlog(values)?,
            client_keepalive: values.flag("clientTcpKeepAlive", false)?,
            max_client_cnxns: values.number("maxClientCnxns", 60, 0, usize::MAX, COUNT)?,
            max_cnxns: values.number("maxCnxns", 0, 0, usize::MAX, COUNT)?,
            sessionless_timeout: milliseconds(values, "nio.sessionlessCnxnTimeout", 10_000)?,
            reaping: reaping(values)?,
            read_only,
            local_sessions: values.flag("localSessionsEnabled", false)?,
            audit: audit(values)?,
            enforce_quota: values.flag("enforceQuota", false)?,
            admission: admission::read(values)?,
            extended_types: values.flag("extendedTypesEnabled", false)?,
            local_sessions_upgrading: values.flag("localSessionsUpgradingEnabled", false)?,
            global_outstanding_limit: values.number("globalOutstandingLimit", 1000, 1, usize::MAX, POSITIVE)?,
            frame_bytes_max,
            record_bytes_max,
            four_letter_whitelist,
            skip_acl: values.flag("skipACL", false)?,
            super_digest,
            tick,
            init_limit,
            sync_limit,
            session_timeout_min_ms,
            session_timeout_max_ms,
            committed_log_max: values.number("commitLogCount", 500, 0, 1 << 24, "a number from 0 to 16777216")?,
            election: election(values, tick, init_limit, sync_limit)?,
            admin: admin(values, notes)?,
            commands: commands(values)?,
            metrics: metrics(values, notes)?,
            pause_monitor: pause_monitor(values)?,
            operator,
            token_file: values.text("ensemble.adminTokenFile").map(PathBuf::from),
            initial_configuration: without_secrets(text),
            properties: values.properties().map(|(name, value)| (name.clone(), shown(&name, value))).collect(),
            config_hash: config_hash(text),
        })
    }
}

fn limit(values: &Values, key: &'static str, standalone: bool) -> Result<u32, ConfigError> {
    match values.text(key) {
        None if !standalone => Err(ConfigError::Missing { key, why: "an ensemble needs it" }),
        _ => values.number(key, 10, 1, 1 << 20, TICKS),
    }
}

fn session_timeouts(values: &Values, tick_ms: u64) -> Result<(i32, i32), ConfigError> {
    let ticks = |count: u64| i32::try_from(count * tick_ms).unwrap_or(i32::MAX);
    let bound = |key: &str, ticks: i32| {
        let given = values.number(key, -1, -1, i32::MAX, "a number of milliseconds, or -1")?;
        Ok::<_, ConfigError>(if given == -1 { ticks } else { given })
    };
    let (min, max) = (bound("minSessionTimeout", ticks(2))?, bound("maxSessionTimeout", ticks(20))?);
    match min > max {
        true => {
            Err(ConfigError::Conflict(format!("minSessionTimeout ({min}) is greater than maxSessionTimeout ({max})")))
        }
        false => Ok((min, max)),
    }
}

fn directories(values: &Values) -> Result<Directories, ConfigError> {
    let missing = ConfigError::Missing { key: "dataDir", why: "snapshots and myid live there" };
    let data = PathBuf::from(values.text("dataDir").ok_or(missing)?);
    let log = values.text("dataLogDir").map_or_else(|| data.clone(), PathBuf::from);
    Ok(Directories { data, log })
}

fn storage(values: &Values, record_bytes_max: usize, operator: bool) -> Result<ensemble_storage::Options, ConfigError> {
    const KIB: &str = "a number of KiB";
    let defaults = ensemble_storage::Options::default();
    let preallocate_kib = values.number("preAllocSize", defaults.preallocate >> 10, 0, 1 << 30, KIB)?;
    let snap_kib = values.number("snapSizeLimitInKb", 4_194_304_i64, i64::MIN, 1 << 40, KIB)?;
    let log_kib = values.number("txnLogSizeLimitInKb", -1_i64, -1, 1 << 40, KIB)?;
    Ok(ensemble_storage::Options {
        preallocate: preallocate_kib << 10,
        snap_count: values.number("snapCount", defaults.snap_count, 2, u64::MAX >> 1, "a number, at least 2")?,
        snap_share: values.text("snapCount").is_none().then_some(SNAP_SHARE),
        snap_bytes: u64::try_from(snap_kib).unwrap_or(0) << 10,
        log_len_max: u64::try_from(log_kib).ok().filter(|kib| *kib > 0).map(|kib| kib << 10),
        compression: compression(values)?,
        payload_len_max: record_bytes_max as u64,
        autocreate: values.flag("db.autocreate", true)? && !operator,
        trust_empty: values.flag("snapshot.trust.empty", false)? && !operator,
        ..defaults
    })
}

/// Differs from ZooKeeper: a method that it does not know is refused, where ZooKeeper writes plain files.
fn compression(values: &Values) -> Result<Compression, ConfigError> {
    match values.text("snapshot.compression.method").map(str::to_ascii_lowercase).as_deref() {
        None | Some("none") => Ok(Compression::Plain),
        Some("gz") => Ok(Compression::Gzip),
        Some("snappy") => Ok(Compression::Snappy),
        Some(_) => Err(values.wrong("snapshot.compression.method", "gz, snappy, or nothing for plain files")),
    }
}

fn purge_interval(values: &Values) -> Result<Option<Duration>, ConfigError> {
    let hours = values.number("autopurge.purgeInterval", 0, 0, 1 << 20, "a number of hours")?;
    Ok((hours > 0).then(|| Duration::from_secs(hours * 3600)))
}

/// As many at once as would go in an interval, but at least one.
fn reaping(values: &Values) -> Result<ensemble_peer::Reaping, ConfigError> {
    let interval = milliseconds(values, "znode.container.checkIntervalMs", 60_000)?;
    let a_minute = values.number("znode.container.maxPerMinute", 10_000, 1, u32::MAX, POSITIVE)?;
    let never_used_ms =
        values.number("znode.container.maxNeverUsedIntervalMs", 0, 0, u64::MAX >> 1, "a number of milliseconds")?;
    Ok(ensemble_peer::Reaping {
        interval,
        count_max: (u128::from(a_minute) * interval.as_millis() / 60_000).clamp(1, u32::MAX.into()) as usize,
        never_used_max: (never_used_ms > 0).then(|| Duration::from_millis(never_used_ms)),
    })
}

fn milliseconds(values: &Values, key: &str, default: u64) -> Result<Duration, ConfigError> {
    values.number(key, default, 1, u64::MAX >> 1, MILLISECONDS).map(Duration::from_millis)
}

fn endpoint(values: &Values, host: &str, port: &str, default_port: u16) -> Result<Endpoint, ConfigError> {
    Ok(Endpoint { host: self::host(values, host), port: values.number(port, default_port, 0, u16::MAX, PORT)? })
}

/// A host without the brackets of an IPv6 address; all addresses unless given.
fn host(values: &Values, key: &str) -> String {
    values.text(key).unwrap_or("0.0.0.0").trim_matches(['[', ']']).to_owned()
}

fn client(values: &Values) -> Result<Option<Endpoint>, ConfigError> {
    match values.text("clientPort") {
        None => Ok(None),
        Some(_) => endpoint(values, "clientPortAddress", "clientPort", 0).map(Some),
    }
}

fn backlog(values: &Values) -> Result<u32, ConfigError> {
    let given = values.number("clientPortListenBacklog", -1, -1, i32::MAX, "a number, or -1")?;
    Ok(u32::try_from(given).ok().filter(|backlog| *backlog > 0).unwrap_or(CLIENT_BACKLOG))
}

fn election(values: &Values, tick: Duration, init_limit: u32, sync_limit: u32) -> Result<Election, ConfigError> {
    let connect_ticks =
        values.number("connectToLearnerMasterLimit", 0, 0, 1 << 20, "a number of ticks from 0 to 1048576")?;
    let handshake_ms = values.number("quorumCnxnTimeoutMs", -1_i64, -1, i64::MAX, "a number of milliseconds, or -1")?;
    let log_factor = values.number("snapshotSizeFactor", 0.33, -1e6, 1e6, "a number")?;
    Ok(Election {
        listen_on_all_ips: values.flag("quorumListenOnAllIPs", false)?,
        connect_timeout: milliseconds(values, "cnxTimeout", 5000)?,
        handshake_timeout: match handshake_ms {
            ms if ms > 0 => Duration::from_millis(ms as u64),
            _ => tick * sync_limit,
        },
        bind_retries: values.number("electionPortBindRetry", 3, 0, u32::MAX, COUNT)?,
        notification_interval_min: milliseconds(values, "fastleader.minNotificationInterval", 200)?,
        notification_interval_max: milliseconds(
            values,
            "fastleader.maxNotificationInterval",
            NOTIFICATION_INTERVAL_MAX_MS,
        )?,
        leader_retry_delay: milliseconds(values, "leaderConnectDelayDuringRetryMs", 100)?,
        leader_connect_timeout: tick * if connect_ticks == 0 { init_limit } else { connect_ticks },
        log_syncs: log_factor >= 0.0,
        log_sync_share: (log_factor > 0.0).then_some(Share { of: (log_factor * 1000.0) as u64, in_all: 1000 }),
        force_snapshots: values.flag("forceSnapshotSync", false)?,
        snap_syncs_max: values.number("leader.maxConcurrentSnapSyncs", 10, 1, usize::MAX, POSITIVE)?,
        diff_syncs_max: values.number("leader.maxConcurrentDiffSyncs", 100, 1, usize::MAX, POSITIVE)?,
        observer_master_port: Some(values.number("observerMasterPort", 0, 0, u16::MAX, PORT)?).filter(|port| *port > 0),
        keepalive: values.flag("tcpKeepAlive", false)?,
    })
}

fn admin(values: &Values, notes: &mut Vec<Note>) -> Result<Option<Admin>, ConfigError> {
    const PORT_KEY: &str = "admin.serverPort";
    let endpoint = endpoint(values, "admin.serverAddress", PORT_KEY, 8080)?;
    let port = HttpPort { endpoint, scheme: tls::admin(values, notes)?, key: PORT_KEY };
    let idle_timeout = milliseconds(values, "admin.idleTimeout", REQUEST_TIMEOUT.as_millis() as u64)?;
    Ok(values.flag("admin.enableServer", true)?.then_some(Admin { port, idle_timeout }))
}

/// The log that there is goes where all lines go.
fn audit(values: &Values) -> Result<bool, ConfigError> {
    match values.text("audit.impl.class") {
        None | Some(AUDIT_LOGGER) => values.flag("audit.enable", false),
        Some(_) => {
            Err(values
                .wrong("audit.impl.class", "org.apache.zookeeper.audit.Slf4jAuditLogger, the only one that there is"))
        }
    }
}

fn commands(values: &Values) -> Result<Commands, ConfigError> {
    let url = values.text("admin.commandURL").unwrap_or("/commands");
    let is_path = url.len() > 1 && url.starts_with('/') && !url.ends_with('/');
    let is_plain = url.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.~".contains(c));
    if !is_path || !is_plain || OWN_ROUTES.contains(&url) {
        return Err(values.wrong("admin.commandURL", "a path of letters and digits that nothing else is served at"));
    }
    let interval_ms =
        values.number("admin.rateLimiterIntervalInMS", 300_000, 0, u64::MAX >> 1, "a number of milliseconds")?;
    Ok(Commands {
        url: url.to_owned(),
        snapshot_enabled: values.flag("admin.snapshot.enabled", true)?,
        restore_enabled: values.flag("admin.restore.enabled", true)?,
        rate_interval: Duration::from_millis(interval_ms),
        uses_forwarded_for: values.flag("IPAuthenticationProvider.usexforwardedfor", false)?,
    })
}

/// Differs from ZooKeeper: metrics are on unless a provider without a port is named.
fn metrics(values: &Values, notes: &mut Vec<Note>) -> Result<Option<Metrics>, ConfigError> {
    let export_jvm_info = values.flag("metricsProvider.exportJvmInfo", true)?;
    match values.text("metricsProvider.className") {
        None | Some(PROMETHEUS_PROVIDER) => {
            let ports = tls::metrics(values, &host(values, "metricsProvider.httpHost"), notes)?;
            Ok(Some(Metrics { ports, export_jvm_info }))
        }
        Some(DEFAULT_PROVIDER | NULL_PROVIDER) => Ok(None),
        Some(_) => Err(values.wrong("metricsProvider.className", "a metrics provider of ZooKeeper")),
    }
}

/// Differs from ZooKeeper: on unless switched off.
fn pause_monitor(values: &Values) -> Result<Option<PauseMonitor>, ConfigError> {
    let info_threshold = milliseconds(values, "jvm.pause.info-threshold.ms", 1000)?;
    let monitor = PauseMonitor {
        sleep: milliseconds(values, "jvm.pause.sleep.time.ms", 500)?,
        threshold: milliseconds(values, "ensemble.pause.thresholdMs", 100)?.min(info_threshold),
        warn_threshold: milliseconds(values, "jvm.pause.warn-threshold.ms", 10_000)?,
    };
    Ok(values.flag("jvm.pause.monitor", true)?.then_some(monitor))
}
