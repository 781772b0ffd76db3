//! The rows of the table of keys. A line a key, however long: what is compared stands one below the other.

use super::Key;
use super::Origin::{BareProperty, File, Property};
use super::Support::{Ignored, Refused, Supported};

type Origin = super::Origin;
type Support = super::Support;

const fn key(name: &'static str, origin: Origin, support: Support, default: &'static str, text: &'static str) -> Key {
    Key { name, origin, support, default, text }
}

const fn unless(value: &'static str) -> Support {
    Refused { unless: value }
}

/// Every key, by subject.
pub(super) const SECTIONS: &[(&str, &[Key])] = &[
    ("Ours", OURS),
    ("Directories, client port, sessions", PORTS),
    ("The ensemble", QUORUM),
    ("Disk", DISK),
    ("Requests and limits", CLIENTS),
    ("Who may do what", SECURITY),
    ("Admin port, metrics, pauses", ADMIN),
];

#[rustfmt::skip]
const OURS: &[Key] = &[
    key("ensemble.id", File, Supported, "none", "The ensemble's UUID: the store belongs to it, and an empty one votes only when `POST /bootstrap` grants it"),
    key("ensemble.adminTokenFile", File, Supported, "none", "File with the token that whoever changes something on the admin port must bring; without it nobody may"),
    key("ensemble.myidOffset", File, Supported, "0", "What the ordinal of a StatefulSet is added to for the server's id, 0 to 255"),
    key("ensemble.dynamicConfigDir", File, Supported, "beside `zoo.cfg`; with `ensemble.id` `dataDir`", "Where the dynamic configuration files are kept; then `zoo.cfg` is only read"),
    key("ensemble.member", File, Supported, "none", "With `ensemble.id`: the line of a server that has none, `{ordinal}` being `myid` less `ensemble.myidOffset`"),
    key("ensemble.recovery.from", File, Supported, "none", "With `ensemble.id`: the UUID of the ensemble that lost its majority and whose history this one takes over"),
    key("ensemble.recovery.volume", File, Supported, "none", "The id of the volume that is taken over"),
    key("ensemble.recovery.epoch", File, Supported, "none", "An epoch that no server of the former ensemble has passed"),
    key("ensemble.pause.thresholdMs", File, Supported, "100", "A pause of more milliseconds is put down to a cause, counted and logged; not above `jvm.pause.info-threshold.ms`"),
];

#[rustfmt::skip]
const PORTS: &[Key] = &[
    key("dataDir", File, Supported, "required", "Snapshots, epochs, `myid`"),
    key("dataLogDir", File, Supported, "`dataDir`", "Transaction logs"),
    key("clientPort", File, Supported, "none", "Port for clients; 0 lets the system choose. The client address in the server's line counts before it"),
    key("clientPortAddress", File, Supported, "0.0.0.0", "Address of that port"),
    key("clientPortListenBacklog", File, Supported, "4096", "Connections that wait to be accepted; -1 is the default. ZooKeeper: 50"),
    key("secureClientPort", File, unless(""), "none", "There is no TLS yet"),
    key("secureClientPortAddress", File, unless(""), "none", "There is no TLS yet"),
    key("tickTime", File, Supported, "3000", "Milliseconds of a tick, 1 to 3600000"),
    key("minSessionTimeout", File, Supported, "2 ticks", "Shortest session timeout, in milliseconds; -1 is the default"),
    key("maxSessionTimeout", File, Supported, "20 ticks", "Longest session timeout, in milliseconds; -1 is the default"),
    key("maxClientCnxns", File, Supported, "60", "Connections from one address; 0 is no limit"),
    key("maxCnxns", Property, Supported, "0", "Connections in all; 0 is no limit"),
    key("localSessionsEnabled", File, Supported, "false", "New sessions are known to their server alone"),
    key("localSessionsUpgradingEnabled", File, Supported, "false", "A local session that creates an ephemeral znode becomes one of the ensemble"),
];

#[rustfmt::skip]
const QUORUM: &[Key] = &[
    key("server.*", File, Supported, "none", "`server.N=host:quorumPort:electionPort[:participant\\|observer][;[address:]clientPort]`"),
    key("group.*", File, Supported, "none", "`group.G=a:b:c`: quorums of groups"),
    key("weight.*", File, Supported, "1", "`weight.N`: how much a server counts in its group"),
    key("initLimit", File, Supported, "required in an ensemble", "Ticks in which a learner must connect and begin to synchronise"),
    key("syncLimit", File, Supported, "required in an ensemble", "Ticks of silence after which a leader or learner is given up; a disk likewise"),
    key("connectToLearnerMasterLimit", File, Supported, "`initLimit`", "Ticks in which the leader must be reached"),
    key("electionAlg", File, unless("3"), "3", "ZooKeeper has no other election any more"),
    key("peerType", File, Supported, "participant", "As in the server's line, which counts"),
    key("observerMasterPort", File, Supported, "0", "Where followers take observers; 0 is nowhere"),
    key("syncEnabled", File, unless("true"), "true", "An observer always keeps log and snapshots here: without them it would ask its leader for everything at each start"),
    key("quorumListenOnAllIPs", File, Supported, "false", "The ports between servers listen on all addresses"),
    key("standaloneEnabled", File, Supported, "true", "A single participant serves alone, without elections"),
    key("reconfigEnabled", File, Supported, "false", "The ensemble may change while it serves"),
    key("dynamicConfigFile", File, Supported, "none", "File with the lines of the servers"),
    key("sslQuorum", File, unless("false"), "false", "There is no TLS yet"),
    key("portUnification", File, unless("false"), "false", "There is no TLS yet"),
    key("sslQuorumReloadCertFiles", File, unless("false"), "false", "There is no TLS yet"),
    key("quorum.auth.enableSasl", File, unless("false"), "false", "There is no SASL yet"),
    key("quorum.auth.serverRequireSasl", File, unless("false"), "false", "There is no SASL yet"),
    key("quorum.auth.learnerRequireSasl", File, unless("false"), "false", "There is no SASL yet"),
    key("quorum.auth.*", File, Ignored, "", "They say how SASL between servers goes, which must not be enabled"),
    key("quorum.cnxn.threads.size", File, Ignored, "", "Connections between servers have no threads of their own"),
    key("multiAddress.enabled", File, unless("false"), "false", "A server has one address"),
    key("multiAddress.*", File, Ignored, "", "They say how several addresses are tried, which must not be enabled"),
    key("oraclePath", File, unless(""), "none", "An oracle would decide in place of a majority: two servers could both be told that they lead"),
    key("cnxTimeout", Property, Supported, "5000", "Milliseconds that one attempt to reach another server may take"),
    key("quorumCnxnTimeoutMs", Property, Supported, "-1", "Milliseconds that the first message on an election connection may take; -1 is `syncLimit` ticks"),
    key("electionPortBindRetry", Property, Supported, "3", "Attempts to bind a port between servers; 0 is no end"),
    key("fastleader.minNotificationInterval", Property, Supported, "200", "Milliseconds before a notification is sent again; doubled each time"),
    key("fastleader.maxNotificationInterval", Property, Supported, "2000", "Up to so many milliseconds. ZooKeeper: 60000"),
    key("leaderConnectDelayDuringRetryMs", Property, Supported, "100", "Milliseconds between attempts to reach the leader"),
    key("leaderServes", Property, unless("yes"), "yes", "A leader serves clients here: what it leads costs it little, and a Service would send clients to one that refuses them"),
    key("leader.maxConcurrentDiffSyncs", Property, Supported, "100", "Learners that are sent transactions at once"),
    key("leader.maxConcurrentSnapSyncs", Property, Supported, "10", "Learners that are sent snapshots at once"),
    key("leader.maxTimeToWaitForEpoch", Property, unless("-1"), "-1", "A leader waits `initLimit` for its quorum"),
    key("leader.ackLoggingFrequency", Property, Ignored, "", "It samples a log line that there is not"),
    key("leader.closeSocketAsync", Property, Ignored, "", "Closing a connection never waits"),
    key("learner.closeSocketAsync", Property, Ignored, "", "Closing a connection never waits"),
    key("learner.asyncSending", Property, Ignored, "", "Sending never waits"),
    key("observer.reconnectDelayMs", Property, Ignored, "", "`leaderConnectDelayDuringRetryMs` is waited for"),
    key("observer.election.DelayMs", Property, Ignored, "", "An observer looks for the leader as others do, and has no vote that could disturb"),
    key("observerMaster.sizeLimit", Property, Ignored, "", "What waits for an observer is limited as for every learner: 64 MiB"),
    key("follower.skipLearnerRequestToNextProcessor", Property, Ignored, "", "There is no chain of request processors"),
    key("forward_learner_requests_to_commit_processor_disabled", Property, Ignored, "", "There is no chain of request processors"),
    key("leader.nodelay", BareProperty, unless("true"), "true", "TCP_NODELAY is always set: waiting for more would cost each write a round trip"),
    key("follower.nodelay", BareProperty, unless("true"), "true", "TCP_NODELAY is always set: waiting for more would cost each write a round trip"),
    key("messageTracker.*", Property, Ignored, "", "It keeps packets for a log line that there is not"),
    key("kerberos.canonicalizeHostNames", Property, Ignored, "", "There is no Kerberos"),
    key("tcpKeepAlive", Property, Supported, "false", "SO_KEEPALIVE between servers. ZooKeeper: on election connections only"),
];

#[rustfmt::skip]
const DISK: &[Key] = &[
    key("preAllocSize", Property, Supported, "4096", "KiB by which a log grows, written with zeros. ZooKeeper: 65536, a hole"),
    key("snapCount", Property, Supported, "100000", "About so many transactions between snapshots, at least 2; unless set, a snapshot also waits for two thirds of its length in log"),
    key("snapSizeLimitInKb", Property, Supported, "4194304", "About so many KiB of log between snapshots; 0 or less is no limit"),
    key("txnLogSizeLimitInKb", Property, Supported, "-1", "KiB after which a new log begins; 0 or less is no limit"),
    key("commitLogCount", Property, Supported, "500", "Committed transactions kept in memory for learners"),
    key("snapshotSizeFactor", Property, Supported, "0.33", "How long the log on disk may be for a learner, of the newest snapshot; negative: it is not read for learners; 0: no limit"),
    key("forceSync", Property, unless("yes"), "yes", "A write that is not synced is acknowledged and can be lost"),
    key("fsync.warningthresholdms", Property, Supported, "1000", "A sync that takes longer, in milliseconds, is logged and counted"),
    key("snapshot.compression.method", Property, Supported, "none", "`gz` or `snappy`"),
    key("snapshot.trust.empty", Property, Supported, "false", "Logs without a snapshot are replayed on an empty database; without effect with `ensemble.id`"),
    key("db.autocreate", Property, Supported, "true", "An empty store is an empty database without the file `initialize`; without effect with `ensemble.id`"),
    key("datadir.autocreate", Property, Supported, "true", "Missing directories are made"),
    key("serializeLastProcessedZxid.enabled", Property, unless("true"), "true", "A snapshot says up to where it holds effects: without that a lost log would not be noticed"),
    key("digest.enabled", Property, Supported, "true", "Records and snapshots carry the tree's digest, which is compared"),
    key("closeSessionTxn.enabled", Property, unless("true"), "true", "A closeSession lists what goes with the session"),
    key("flushDelay", Property, unless("0"), "0", "A sync never waits for more: what comes while the disk syncs is the next group"),
    key("maxWriteQueuePollTime", Property, Ignored, "", "A sync never waits for more"),
    key("maxBatchSize", Property, Ignored, "", "A sync is of everything that waits"),
    key("extendedTypesEnabled", Property, Supported, "false", "TTL znodes may be made"),
    key("emulate353TTLNodes", Property, unless("false"), "false", "The encoding of 3.5.3 is not read"),
    key("jute.maxbuffer", BareProperty, Supported, "1048575", "Longest request, in bytes"),
    key("jute.maxbuffer.extrasize", Property, Supported, "`jute.maxbuffer`", "How much longer a transaction may be, in bytes, at least 1024"),
    key("forceSnapshotSync", Property, Supported, "false", "Every learner is sent a snapshot"),
    key("autopurge.snapRetainCount", File, Supported, "3", "Snapshots that a purge keeps, at least 3"),
    key("autopurge.purgeInterval", File, Supported, "0", "Hours between purges; 0 is never"),
    key("testingonly.initialZxid", Property, unless(""), "none", "It is for ZooKeeper's own tests"),
];

#[rustfmt::skip]
const CLIENTS: &[Key] = &[
    key("globalOutstandingLimit", Property, Supported, "1000", "Requests without an answer above which a connection that has one is not read, at least 1"),
    key("4lw.commands.whitelist", Property, Supported, "srvr", "Four-letter words that are answered; `*` is all. `srvr` always is, and `isro` with `readonlymode.enabled`"),
    key("nio.sessionlessCnxnTimeout", Property, Supported, "10000", "Milliseconds that a connection may exist without a session"),
    key("clientTcpKeepAlive", Property, Supported, "false", "SO_KEEPALIVE on client connections"),
    key("skipACL", Property, Supported, "no", "`yes`: every access is allowed"),
    key("enforceQuota", Property, Supported, "false", "As the leader, refuse what would exceed the hard limit of a quota"),
    key("audit.enable", Property, Supported, "false", "Writes are told to the log target `ensemble_server::audit`"),
    key("audit.impl.class", Property, Supported, "`org.apache.zookeeper.audit.Slf4jAuditLogger`", "The only one that there is"),
    key("readonlymode.enabled", BareProperty, Supported, "false", "A server without a quorum serves clients that only read"),
    key("znode.container.checkIntervalMs", BareProperty, Supported, "60000", "Milliseconds between looks for containers and TTL znodes to delete"),
    key("znode.container.maxPerMinute", BareProperty, Supported, "10000", "How many are deleted in a minute"),
    key("znode.container.maxNeverUsedIntervalMs", BareProperty, Supported, "0", "Milliseconds after which a container that never had a child goes too; 0 is never"),
    key("request_throttle_max_requests", Property, unless("0"), "0", "Requests are held back by not reading connections (`globalOutstandingLimit`), not by stalling them on the way"),
    key("request_throttle_*", Property, Ignored, "", "They say how requests are stalled, which must not be enabled"),
    key("request_throttler.shutdownTimeout", Property, Ignored, "", "There is no throttler that must come to an end"),
    key("request_stale_latency_check", Property, unless("false"), "false", "A request is never dropped for its age: its client would not know whether it was done"),
    key("request_stale_connection_check", Property, Ignored, "", "What a connection that has ended has asked for and nobody has begun is forgotten with it"),
    key("throttled_op_wait_time", Property, unless("0"), "0", "A request is not refused for having waited"),
    key("connection_throttle_tokens", Property, unless("0"), "0", "Connections are limited by number (`maxCnxns`, `maxClientCnxns`), not by rate"),
    key("connection_throttle_*", Property, Ignored, "", "They say how the rate of connections is limited, which must not be enabled"),
    key("largeRequestThreshold", Property, unless("-1"), "-1", "Large requests count as others do; `jute.maxbuffer` limits each"),
    key("largeRequestMaxBytes", Property, Ignored, "", "It is for `largeRequestThreshold`, which must not be set"),
    key("maxResponseCacheSize", Property, Ignored, "", "Answers are made from the tree each time, in less than a cache would take"),
    key("maxGetChildrenResponseCacheSize", Property, Ignored, "", "Answers are made from the tree each time"),
    key("enableEagerACLCheck", Property, unless("false"), "false", "The leader checks, in the order of the writes"),
    key("watchManagerName", Property, Ignored, "", "There is one kind of watch table"),
    key("watcherCleanThreadsNum", Property, Ignored, "", "Watches of a connection go with it at once"),
    key("watcherCleanThreshold", Property, Ignored, "", "Watches of a connection go with it at once"),
    key("watcherCleanIntervalInSeconds", Property, Ignored, "", "Watches of a connection go with it at once"),
    key("maxInProcessingDeadWatchers", Property, Ignored, "", "Watches of a connection go with it at once"),
    key("bitHashCacheSize", Property, Ignored, "", "It is for a watch table that there is not"),
    key("serverCnxnFactory", Property, Ignored, "", "There is one kind of connection"),
    key("nio.numSelectorThreads", Property, Ignored, "", "One thread serves every connection"),
    key("nio.numWorkerThreads", Property, Ignored, "", "One thread serves every connection"),
    key("nio.directBufferBytes", Property, Ignored, "", "There are no direct buffers"),
    key("nio.shutdownTimeout", Property, Ignored, "", "Connections have 5 s to take what is queued on them when a server stops"),
    key("netty.*", Property, Ignored, "", "There is no Netty"),
    key("commitProcessor.*", Property, Ignored, "", "There is no commit processor"),
    key("intBufferStartingSizeBytes", Property, Ignored, "", "Buffers have the size that they need"),
    key("pathStats.*", Property, Ignored, "", "They count paths for a log line that there is not"),
];

#[rustfmt::skip]
const SECURITY: &[Key] = &[
    key("DigestAuthenticationProvider.superDigest", Property, Supported, "none", "`user:hash` of who may do anything"),
    key("DigestAuthenticationProvider.enabled", Property, unless("true"), "true", "Scheme `digest` cannot be switched off yet"),
    key("DigestAuthenticationProvider.digestAlg", Property, unless("SHA1"), "SHA1", "Other servers and clients know ACLs by this hash"),
    key("IPAuthenticationProvider.usexforwardedfor", Property, Supported, "false", "On the admin port scheme `ip` believes the last address of `X-Forwarded-For`"),
    key("X509AuthenticationProvider.superUser", Property, unless(""), "none", "There is no TLS yet"),
    key("superUser", Property, unless(""), "none", "There is no SASL yet"),
    key("authProvider.*", Property, unless(""), "none", "Schemes are built in: no class can be loaded"),
    key("ensembleAuthName", Property, unless(""), "none", "There is no scheme `ensemble`"),
    key("sessionRequireClientSASLAuth", Property, unless("false"), "false", "There is no SASL yet"),
    key("enforce.auth.enabled", Property, unless("false"), "false", "Requests of clients without an identity are not refused as a whole; ACLs say what they may"),
    key("enforce.auth.schemes", Property, Ignored, "", "It is for `enforce.auth.enabled`, which must not be set"),
    key("allowSaslFailedClients", Property, Ignored, "", "There is no SASL yet"),
    key("letAnySaslUserDoX", Property, unless(""), "none", "There is no SASL yet"),
    key("sasl.serverconfig", Property, Ignored, "", "There is no SASL yet"),
    key("kerberos.removeHostFromPrincipal", Property, Ignored, "", "There is no Kerberos"),
    key("kerberos.removeRealmFromPrincipal", Property, Ignored, "", "There is no Kerberos"),
    key("ssl.*", Property, unless(""), "none", "There is no TLS yet, neither for clients nor between servers nor on the admin port"),
    key("client.portUnification", Property, unless("false"), "false", "There is no TLS yet"),
    key("client.certReload", Property, unless("false"), "false", "There is no TLS yet"),
    key("fips-mode", Property, Ignored, "", "It says how Java checks names in certificates"),
];

#[rustfmt::skip]
const ADMIN: &[Key] = &[
    key("admin.enableServer", Property, Supported, "true", "The admin port"),
    key("admin.serverAddress", Property, Supported, "0.0.0.0", "Its address"),
    key("admin.serverPort", Property, Supported, "8080", "Its port; 0 lets the system choose"),
    key("admin.commandURL", Property, Supported, "/commands", "Where ZooKeeper's commands are"),
    key("admin.idleTimeout", Property, Supported, "10000", "Milliseconds that a connection may take to the end of its answer. ZooKeeper: 30000, of silence"),
    key("admin.rateLimiterIntervalInMS", Property, Supported, "300000", "Milliseconds between two `restore`; a thousandth of it between two `snapshot`, as in ZooKeeper; 0 is no limit"),
    key("admin.snapshot.enabled", Property, Supported, "true", "`snapshot` is answered"),
    key("admin.restore.enabled", Property, Supported, "true", "`restore` says what to do instead; `false`: 503"),
    key("admin.httpVersion", Property, Ignored, "", "It is HTTP/1.1"),
    key("admin.portUnification", Property, unless("false"), "false", "There is no TLS yet"),
    key("admin.forceHttps", Property, unless("false"), "false", "There is no TLS yet"),
    key("admin.needClientAuth", Property, unless("false"), "false", "There is no TLS yet"),
    key("metricsProvider.className", File, Supported, "`org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider`", "`DefaultMetricsProvider` or `NullMetricsProvider`: no metrics port. ZooKeeper: `DefaultMetricsProvider`"),
    key("metricsProvider.httpHost", File, Supported, "0.0.0.0", "Address of the metrics port"),
    key("metricsProvider.httpPort", File, Supported, "7000", "Its port; 0 lets the system choose"),
    key("metricsProvider.exportJvmInfo", File, Supported, "true", "What is of every process, and compatibility values for what is of a JVM, is shown too"),
    key("metricsProvider.*", File, Ignored, "", "They are about the exporter's threads and queue"),
    key("jvm.pause.monitor", File, Supported, "true", "Pauses are measured and logged. ZooKeeper: false"),
    key("jvm.pause.sleep.time.ms", File, Supported, "500", "Milliseconds between looks"),
    key("jvm.pause.info-threshold.ms", File, Supported, "1000", "A longer pause, in milliseconds, is logged"),
    key("jvm.pause.warn-threshold.ms", File, Supported, "10000", "A longer pause, in milliseconds, is a warning"),
];
