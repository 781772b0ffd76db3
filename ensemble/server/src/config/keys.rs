//! Every key of `zoo.cfg` that ZooKeeper 3.9 knows, and what this server makes of it.
//!
//! A key is **supported**; or **ignored** with a log line, where it tunes a mechanism that does not exist here; or
//! **refused**, where ignoring it would change what the ensemble promises. A refused key is accepted when its value is the
//! one that is in force anyway. Source: `QuorumPeerConfig.java` and the system properties of ZooKeeper 3.9.5.

/// What becomes of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// It works.
    Supported,
    /// It has no effect here, and needs none.
    Ignored,
    /// It would be misleading to go on, unless the value is the given one.
    Refused {
        /// The value that changes nothing; empty when there is none.
        unless: &'static str,
    },
}

/// How the key can be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// In the file only: `QuorumPeerConfig` has a field for it.
    File,
    /// In the file, or as `-Dzookeeper.<key>`.
    Property,
    /// As `-D<key>`, without the prefix. Differs from ZooKeeper: accepted in the file too.
    BareProperty,
}

/// A key and what becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// The name, or a prefix that ends in `*`.
    pub name: &'static str,
    /// How it can be given.
    pub origin: Origin,
    /// What becomes of it.
    pub support: Support,
}

use Origin::{BareProperty, File, Property};
use Support::{Ignored, Supported};

const fn key(name: &'static str, origin: Origin, support: Support) -> Key {
    Key { name, origin, support }
}

const fn unless(value: &'static str) -> Support {
    Support::Refused { unless: value }
}

/// The table. An exact name wins over a prefix.
pub const KEYS: &[Key] = &[
    // Ours.
    key("ensemble.id", File, Supported),
    key("ensemble.adminTokenFile", File, Supported),
    key("ensemble.myidOffset", File, Supported),
    key("ensemble.dynamicConfigDir", File, Supported),
    key("ensemble.member", File, Supported),
    key("ensemble.recovery.from", File, Supported),
    key("ensemble.recovery.volume", File, Supported),
    key("ensemble.recovery.epoch", File, Supported),
    // Directories, client port, sessions.
    key("dataDir", File, Supported),
    key("dataLogDir", File, Supported),
    key("clientPort", File, Supported),
    key("clientPortAddress", File, Supported),
    key("clientPortListenBacklog", File, Supported),
    key("secureClientPort", File, unless("")),
    key("secureClientPortAddress", File, unless("")),
    key("tickTime", File, Supported),
    key("minSessionTimeout", File, Supported),
    key("maxSessionTimeout", File, Supported),
    key("maxClientCnxns", File, Supported),
    key("maxCnxns", Property, Supported),
    key("localSessionsEnabled", File, Supported),
    key("localSessionsUpgradingEnabled", File, Supported),
    // Quorum.
    key("server.*", File, Supported),
    key("group.*", File, Supported),
    key("weight.*", File, Supported),
    key("initLimit", File, Supported),
    key("syncLimit", File, Supported),
    key("connectToLearnerMasterLimit", File, Supported),
    key("electionAlg", File, unless("3")),
    key("peerType", File, Supported),
    key("observerMasterPort", File, Supported),
    key("syncEnabled", File, unless("true")),
    key("quorumListenOnAllIPs", File, Supported),
    key("standaloneEnabled", File, Supported),
    key("reconfigEnabled", File, Supported),
    key("dynamicConfigFile", File, Supported),
    key("sslQuorum", File, unless("false")),
    key("portUnification", File, unless("false")),
    key("sslQuorumReloadCertFiles", File, unless("false")),
    key("quorum.auth.enableSasl", File, unless("false")),
    key("quorum.auth.serverRequireSasl", File, unless("false")),
    key("quorum.auth.learnerRequireSasl", File, unless("false")),
    key("quorum.auth.*", File, Ignored),
    key("quorum.cnxn.threads.size", File, Ignored),
    key("multiAddress.enabled", File, unless("false")),
    key("multiAddress.*", File, Ignored),
    key("oraclePath", File, unless("")),
    key("cnxTimeout", Property, Supported),
    key("quorumCnxnTimeoutMs", Property, Supported),
    key("electionPortBindRetry", Property, Supported),
    key("fastleader.minNotificationInterval", Property, Supported),
    key("fastleader.maxNotificationInterval", Property, Supported),
    key("leaderConnectDelayDuringRetryMs", Property, Supported),
    key("leaderServes", Property, unless("yes")),
    key("leader.maxConcurrentDiffSyncs", Property, Supported),
    key("leader.maxConcurrentSnapSyncs", Property, Supported),
    key("leader.maxTimeToWaitForEpoch", Property, unless("-1")),
    key("leader.ackLoggingFrequency", Property, Ignored),
    key("leader.closeSocketAsync", Property, Ignored),
    key("learner.closeSocketAsync", Property, Ignored),
    key("learner.asyncSending", Property, Ignored),
    key("observer.reconnectDelayMs", Property, Ignored),
    key("observer.election.DelayMs", Property, Ignored),
    key("observerMaster.sizeLimit", Property, Ignored),
    key("follower.skipLearnerRequestToNextProcessor", Property, Ignored),
    key("forward_learner_requests_to_commit_processor_disabled", Property, Ignored),
    key("leader.nodelay", BareProperty, unless("true")),
    key("follower.nodelay", BareProperty, unless("true")),
    key("messageTracker.*", Property, Ignored),
    key("kerberos.canonicalizeHostNames", Property, Ignored),
    key("tcpKeepAlive", Property, Supported),
    // Storage.
    key("preAllocSize", Property, Supported),
    key("snapCount", Property, Supported),
    key("snapSizeLimitInKb", Property, Supported),
    key("txnLogSizeLimitInKb", Property, Supported),
    key("commitLogCount", Property, Supported),
    key("snapshotSizeFactor", Property, Supported),
    key("forceSync", Property, unless("yes")),
    key("fsync.warningthresholdms", Property, Supported),
    key("snapshot.compression.method", Property, Supported),
    key("snapshot.trust.empty", Property, Supported),
    key("db.autocreate", Property, Supported),
    key("datadir.autocreate", Property, Supported),
    key("serializeLastProcessedZxid.enabled", Property, unless("true")),
    key("digest.enabled", Property, Supported),
    key("closeSessionTxn.enabled", Property, unless("true")),
    key("flushDelay", Property, unless("0")),
    key("maxWriteQueuePollTime", Property, Ignored),
    key("maxBatchSize", Property, Ignored),
    key("extendedTypesEnabled", Property, Supported),
    key("emulate353TTLNodes", Property, unless("false")),
    key("jute.maxbuffer", BareProperty, Supported),
    key("jute.maxbuffer.extrasize", Property, Supported),
    key("forceSnapshotSync", Property, Supported),
    key("autopurge.snapRetainCount", File, Supported),
    key("autopurge.purgeInterval", File, Supported),
    key("audit.enable", Property, Supported),
    key("audit.impl.class", Property, Supported),
    key("testingonly.initialZxid", Property, unless("")),
    // Clients.
    key("globalOutstandingLimit", Property, Supported),
    key("4lw.commands.whitelist", Property, Supported),
    key("nio.sessionlessCnxnTimeout", Property, Supported),
    key("clientTcpKeepAlive", Property, Supported),
    key("skipACL", Property, Supported),
    key("request_throttle_max_requests", Property, unless("0")),
    key("request_throttle_*", Property, Ignored),
    key("request_throttler.shutdownTimeout", Property, Ignored),
    key("request_stale_latency_check", Property, unless("false")),
    key("request_stale_connection_check", Property, Ignored),
    key("throttled_op_wait_time", Property, unless("0")),
    key("connection_throttle_tokens", Property, unless("0")),
    key("connection_throttle_*", Property, Ignored),
    key("largeRequestThreshold", Property, unless("-1")),
    key("largeRequestMaxBytes", Property, Ignored),
    key("maxResponseCacheSize", Property, Ignored),
    key("maxGetChildrenResponseCacheSize", Property, Ignored),
    key("enforceQuota", Property, Supported),
    key("enableEagerACLCheck", Property, unless("false")),
    key("readonlymode.enabled", BareProperty, Supported),
    key("znode.container.checkIntervalMs", BareProperty, Supported),
    key("znode.container.maxPerMinute", BareProperty, Supported),
    key("znode.container.maxNeverUsedIntervalMs", BareProperty, Supported),
    key("watchManagerName", Property, Ignored),
    key("watcherCleanThreadsNum", Property, Ignored),
    key("watcherCleanThreshold", Property, Ignored),
    key("watcherCleanIntervalInSeconds", Property, Ignored),
    key("maxInProcessingDeadWatchers", Property, Ignored),
    key("bitHashCacheSize", Property, Ignored),
    key("serverCnxnFactory", Property, Ignored),
    key("nio.numSelectorThreads", Property, Ignored),
    key("nio.numWorkerThreads", Property, Ignored),
    key("nio.directBufferBytes", Property, Ignored),
    key("nio.shutdownTimeout", Property, Ignored),
    key("netty.*", Property, Ignored),
    key("commitProcessor.*", Property, Ignored),
    key("intBufferStartingSizeBytes", Property, Ignored),
    key("pathStats.*", Property, Ignored),
    // Security.
    key("DigestAuthenticationProvider.superDigest", Property, Supported),
    key("DigestAuthenticationProvider.enabled", Property, unless("true")),
    key("DigestAuthenticationProvider.digestAlg", Property, unless("SHA1")),
    key("IPAuthenticationProvider.usexforwardedfor", Property, Supported),
    key("X509AuthenticationProvider.superUser", Property, unless("")),
    key("superUser", Property, unless("")),
    key("authProvider.*", Property, unless("")),
    key("ensembleAuthName", Property, unless("")),
    key("sessionRequireClientSASLAuth", Property, unless("false")),
    key("enforce.auth.enabled", Property, unless("false")),
    key("enforce.auth.schemes", Property, Ignored),
    key("allowSaslFailedClients", Property, Ignored),
    key("letAnySaslUserDoX", Property, unless("")),
    key("sasl.serverconfig", Property, Ignored),
    key("kerberos.removeHostFromPrincipal", Property, Ignored),
    key("kerberos.removeRealmFromPrincipal", Property, Ignored),
    key("ssl.*", Property, unless("")),
    key("client.portUnification", Property, unless("false")),
    key("client.certReload", Property, unless("false")),
    key("fips-mode", Property, Ignored),
    // Admin port, metrics, pauses.
    key("admin.enableServer", Property, Supported),
    key("admin.serverAddress", Property, Supported),
    key("admin.serverPort", Property, Supported),
    key("admin.commandURL", Property, Supported),
    key("admin.idleTimeout", Property, Supported),
    key("admin.httpVersion", Property, Ignored),
    key("admin.portUnification", Property, unless("false")),
    key("admin.forceHttps", Property, unless("false")),
    key("admin.needClientAuth", Property, unless("false")),
    key("admin.rateLimiterIntervalInMS", Property, Supported),
    key("admin.snapshot.enabled", Property, Supported),
    key("admin.restore.enabled", Property, Supported),
    key("metricsProvider.className", File, Supported),
    key("metricsProvider.httpHost", File, Supported),
    key("metricsProvider.httpPort", File, Supported),
    key("metricsProvider.exportJvmInfo", File, Supported),
    key("metricsProvider.*", File, Ignored),
    key("jvm.pause.monitor", File, Supported),
    key("jvm.pause.sleep.time.ms", File, Supported),
    key("jvm.pause.info-threshold.ms", File, Supported),
    key("jvm.pause.warn-threshold.ms", File, Supported),
    key("ensemble.pause.thresholdMs", File, Supported),
];

/// The entry for a key of the file, or `None` for one that ZooKeeper does not know either.
pub fn find(name: &str) -> Option<&'static Key> {
    let prefix = |key: &&Key| key.name.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix));
    KEYS.iter().find(|key| key.name == name).or_else(|| KEYS.iter().find(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_is_listed_once() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), KEYS.len());
    }

    #[test]
    fn an_exact_name_wins_over_a_prefix() {
        assert_eq!(find("quorum.auth.enableSasl").map(|key| key.support), Some(unless("false")));
        assert_eq!(find("quorum.auth.kerberos.servicePrincipal").map(|key| key.support), Some(Ignored));
        assert_eq!(find("server.3").map(|key| key.support), Some(Supported));
        assert_eq!(find("no.such.key"), None);
    }
}
