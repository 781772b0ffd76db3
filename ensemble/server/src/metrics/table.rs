//! Every metric: its name, its type, its labels, and what it means. What is exported and not listed here, or listed and never seen to
//! move, fails a test (`tests/loopback/metrics.rs`); `docs/metrics.md` is made of it.
//!
//! ZooKeeper's names have ZooKeeper's types (`ServerMetrics.java` and the gauges of `ZooKeeperServer`, `LeaderZooKeeperServer` and their
//! kin). Where this server has no such part (commit processor, dead watchers), a name stays only if something here is what it was meant to
//! show; the others are in [`ABSENT`], each with the reason. No number is made up.

/// How a metric is exported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution with its median (`DetailLevel.BASIC`).
    Basic,
    /// A distribution with its median, 90th and 99th percentile (`DetailLevel.ADVANCED`).
    Advanced,
}

/// Whose name it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// ZooKeeper's.
    ZooKeeper,
    /// Of every process, as Prometheus' client libraries name it.
    Process,
    /// Of a JVM, so that dashboards made for one render.
    Jvm,
    /// This server's own.
    Ours,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, without prefix or suffix; in `mntr` with `zk_` before it.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// Whose name it is.
    pub origin: Origin,
    /// What it means, with its unit.
    pub help: &'static str,
}

const fn zookeeper(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { name, kind, labels: &[], origin: Origin::ZooKeeper, help }
}

const fn by_key(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { name, kind, labels: &["key"], origin: Origin::ZooKeeper, help }
}

const fn ours(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind, labels, origin: Origin::Ours, help }
}

const fn process(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { name, kind, labels: &[], origin: Origin::Process, help }
}

const fn jvm(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind, labels, origin: Origin::Jvm, help }
}

use Kind::{Advanced, Basic, Counter, Gauge};

/// Every metric, by origin.
pub const TABLE: &[Metric] = &[
    // Clients and their requests.
    zookeeper("avg_latency", Gauge, "Mean time from a request to its answer since the start, in milliseconds"),
    zookeeper("min_latency", Gauge, "Least time from a request to its answer since the start, in milliseconds"),
    zookeeper("max_latency", Gauge, "Greatest time from a request to its answer since the start, in milliseconds"),
    zookeeper("packets_received", Gauge, "Frames received from clients"),
    zookeeper("packets_sent", Gauge, "Frames sent to clients"),
    zookeeper("bytes_received_count", Counter, "Bytes received from clients"),
    zookeeper("response_bytes", Counter, "Bytes of answers to clients"),
    zookeeper("watch_bytes", Counter, "Bytes of watch events to clients"),
    zookeeper("last_client_response_size", Gauge, "Bytes of the last answer to a client; -1 before the first"),
    zookeeper("min_client_response_size", Gauge, "Bytes of the shortest answer to a client; -1 before the first"),
    zookeeper("max_client_response_size", Gauge, "Bytes of the longest answer to a client; -1 before the first"),
    zookeeper("num_alive_connections", Gauge, "Client connections"),
    zookeeper("outstanding_requests", Gauge, "Requests that are not answered yet"),
    zookeeper("connection_request_count", Counter, "Client connections that were attempted"),
    zookeeper(
        "connection_rejected",
        Counter,
        "Client connections refused by maxClientCnxns, maxCnxns or connection_throttle_tokens",
    ),
    zookeeper(
        "connection_token_deficit",
        Basic,
        "Tokens of connection_throttle_tokens that are missing, after each handshake that was taken",
    ),
    zookeeper(
        "connection_drop_probability",
        Gauge,
        "The chance of a handshake to be refused by connection_throttle_freeze_time, 0 to 1",
    ),
    zookeeper(
        "large_requests_rejected",
        Counter,
        "Client connections ended for a request above largeRequestThreshold while others came to largeRequestMaxBytes",
    ),
    zookeeper("connection_drop_count", Counter, "Client connections that ended, whoever ended them"),
    zookeeper(
        "connection_revalidate_count",
        Counter,
        "Handshakes of clients that wanted a session which they had before",
    ),
    zookeeper("sessionless_connections_expired", Counter, "Client connections closed because no handshake came"),
    zookeeper(
        "cnxn_closed_without_zk_server_running",
        Counter,
        "Client connections closed because nobody was served: there was no leader",
    ),
    zookeeper(
        "request_throttle_wait_count",
        Counter,
        "Times that a client connection was not read on because globalOutstandingLimit was reached, or that a request had to wait for request_throttle_max_requests",
    ),
    zookeeper(
        "request_throttle_queue_time_ms",
        Advanced,
        "Milliseconds that each request waited for request_throttle_max_requests, where that is given",
    ),
    zookeeper(
        "throttled_ops",
        Counter,
        "Requests answered THROTTLEDOP because they waited longer than throttled_op_wait_time",
    ),
    zookeeper(
        "stale_requests",
        Counter,
        "Requests that waited for longer than their session's timeout and were begun (request_throttle_drop_stale=false)",
    ),
    zookeeper("stale_requests_dropped", Counter, "Requests that waited, and were dropped with their connection"),
    zookeeper("auth_failed_count", Gauge, "Auth requests that failed"),
    zookeeper("ensemble_auth_success", Counter, "Auth requests of scheme ensemble with a name of ensembleAuthName"),
    zookeeper(
        "ensemble_auth_fail",
        Counter,
        "Auth requests of scheme ensemble with another name: the client was sent away",
    ),
    zookeeper(
        "ensemble_auth_skip",
        Counter,
        "Auth requests of scheme ensemble without a name, or where there are no names",
    ),
    zookeeper(
        "readlatency",
        Advanced,
        "Milliseconds from the arrival of a read, or a ping, until its answer was handed to the kernel",
    ),
    zookeeper(
        "updatelatency",
        Advanced,
        "Milliseconds from the arrival of a write of one of this server's clients until it was applied and answered",
    ),
    zookeeper("write_commitproc_time_ms", Advanced, "The same samples as updatelatency"),
    zookeeper("local_write_committed_time_ms", Advanced, "The same samples as updatelatency"),
    zookeeper("read_commitproc_time_ms", Advanced, "Milliseconds that a read waited behind a write of its connection"),
    zookeeper(
        "requests_in_session_queue",
        Basic,
        "Unanswered requests of a connection, whenever a write or a sync joins them",
    ),
    zookeeper(
        "reads_after_write_in_session_queue",
        Basic,
        "Reads of a connection that were answered at once when the write before them was",
    ),
    zookeeper("reads_issued_from_session_queue", Basic, "The same samples as reads_after_write_in_session_queue"),
    // Sessions.
    zookeeper("global_sessions", Gauge, "Sessions of the ensemble"),
    zookeeper("local_sessions", Gauge, "Sessions that only this server knows"),
    zookeeper("stale_sessions_expired", Counter, "Sessions that this server, as the leader, ended for silence"),
    zookeeper("revalidate_count", Counter, "Sessions that this server, as a learner, asked its leader about"),
    // The tree.
    zookeeper("znode_count", Gauge, "Znodes; ZooKeeper counts its root twice, and so does this number"),
    zookeeper("ephemerals_count", Gauge, "Ephemeral znodes"),
    zookeeper("approximate_data_size", Gauge, "Bytes of all paths and data"),
    zookeeper("watch_count", Gauge, "Pairs of a watch's path and its connection"),
    zookeeper("node_created_watch_count", Basic, "Connections told that a znode was created, for each that had any"),
    zookeeper("node_deleted_watch_count", Basic, "Connections told that a znode was deleted, for each that had any"),
    zookeeper("node_changed_watch_count", Basic, "Connections told that data changed, for each change that had any"),
    zookeeper(
        "node_children_watch_count",
        Basic,
        "Connections told that children changed, for each change that had any",
    ),
    zookeeper(
        "digest_mismatches_count",
        Counter,
        "Transactions after which the tree had another digest than the leader foretold: any is an alarm",
    ),
    by_key(
        "read_per_namespace",
        Basic,
        "Bytes of path and answer of getData, exists and getChildren, by child of the root; of the first 200 of these",
    ),
    by_key("write_per_namespace", Basic, "Bytes of path and data of changes that were applied, likewise"),
    by_key(
        "quota_exceeded_error_per_namespace",
        Counter,
        "Leader: requests that a quota of enforceQuota refused; of the first 200 namespaces",
    ),
    by_key("quota_count_limit_per_namespace", Gauge, "Znodes that the namespace's quotas allow; -1 without a limit"),
    by_key("quota_bytes_limit_per_namespace", Gauge, "Bytes that the namespace's quotas allow; -1 without a limit"),
    by_key("quota_count_usage_per_namespace", Gauge, "Znodes that the namespace's quotas have counted"),
    by_key("quota_bytes_usage_per_namespace", Gauge, "Bytes that the namespace's quotas have counted"),
    // From a request to a transaction.
    zookeeper(
        "prep_processor_request_queued",
        Counter,
        "Requests that the leader took in to make transactions of them",
    ),
    zookeeper("prep_processor_queue_size", Basic, "Requests that wait for that, whenever one more comes"),
    zookeeper("prep_processor_queue_time_ms", Advanced, "Milliseconds that a request waited for that"),
    zookeeper(
        "outstanding_changes_queued",
        Counter,
        "Leader: changes of znodes that are proposed and were not applied yet",
    ),
    zookeeper("outstanding_changes_removed", Counter, "Leader: of these, those that were applied since"),
    zookeeper("request_commit_queued", Counter, "Committed transactions that were applied"),
    zookeeper(
        "propagation_latency",
        Advanced,
        "Milliseconds from the leader's time stamp of a transaction until it was applied here, by the clocks of both machines",
    ),
    // Leading.
    zookeeper("proposal_count", Counter, "Proposals made"),
    zookeeper("commit_count", Counter, "Transactions that this server committed as the leader"),
    zookeeper("proposal_latency", Advanced, "Leader: milliseconds from a proposal until it was applied here"),
    zookeeper("quorum_ack_latency", Advanced, "Leader: milliseconds from a proposal until a quorum had it on disk"),
    by_key(
        "ack_latency",
        Advanced,
        "Leader: milliseconds from a proposal until this server, itself included, had it on disk",
    ),
    zookeeper("last_proposal_size", Gauge, "Bytes of the last proposal; -1 before the first"),
    zookeeper("min_proposal_size", Gauge, "Bytes of the shortest proposal; -1 before the first"),
    zookeeper("max_proposal_size", Gauge, "Bytes of the longest proposal; -1 before the first"),
    zookeeper("leader_uptime", Gauge, "Milliseconds since this server began to lead; absent elsewhere"),
    zookeeper("learners", Gauge, "Leader: connected followers and observers"),
    zookeeper("synced_followers", Gauge, "Leader: followers that vote and are in sync"),
    zookeeper("synced_non_voting_followers", Gauge, "Leader: followers that have no vote and are in sync"),
    zookeeper(
        "synced_observers",
        Gauge,
        "Leader: observers in sync; follower with observerMasterPort: those of this port",
    ),
    by_key(
        "learner_handler_qp_size",
        Basic,
        "Leader: packets that wait for this learner, whenever some are sent, on its present connection",
    ),
    by_key(
        "learner_handler_qp_time_ms",
        Advanced,
        "Leader: milliseconds that the packets of a turn waited for this learner, until the kernel had taken them",
    ),
    zookeeper("pending_syncs", Gauge, "Leader: learners that are not in sync yet"),
    zookeeper("diff_count", Counter, "Synchronisations of a learner by DIFF that were begun"),
    zookeeper("snap_count", Counter, "Synchronisations of a learner by SNAP that were begun"),
    zookeeper("inflight_diff_count", Basic, "Learners that are sent transactions alone, whenever one more is"),
    zookeeper("inflight_snap_count", Basic, "Learners that are sent a snapshot, whenever one more is"),
    zookeeper(
        "quit_leading_due_to_disloyal_voter",
        Counter,
        "Times that this server gave up leading before it was established: a voter of its looked for another leader",
    ),
    // Following.
    zookeeper("learner_proposal_received_count", Counter, "Follower: proposals received"),
    zookeeper("learner_commit_received_count", Counter, "Learner: COMMIT and INFORM received"),
    zookeeper("commit_propagation_latency", Advanced, "Follower: milliseconds from a proposal to its COMMIT"),
    zookeeper(
        "proposal_ack_creation_latency",
        Advanced,
        "Follower: milliseconds from a proposal's arrival until it was on disk and acknowledged",
    ),
    zookeeper("follower_sync_time", Basic, "Milliseconds from the leader's epoch until this follower was in sync"),
    zookeeper("observer_sync_time", Basic, "Milliseconds from the leader's epoch until this observer was in sync"),
    // The ensemble.
    zookeeper("quorum_size", Gauge, "Voting members of the active configuration"),
    zookeeper("looking_count", Counter, "Times that this server began to look for a leader"),
    zookeeper("election_time", Basic, "Milliseconds of an election, until this server had decided"),
    zookeeper("unavailable_time", Basic, "Milliseconds without an office, from its loss or the start to the next"),
    zookeeper("leader_unavailable_time", Basic, "The same, where this server leads then: how long there was no leader"),
    zookeeper("uptime", Gauge, "Milliseconds since this server took the office that it holds"),
    // The disk.
    zookeeper("fsynctime", Basic, "Milliseconds of an fsync of the transaction log"),
    zookeeper(
        "fsync_threshold_exceed_count",
        Counter,
        "Syncs of the transaction log that took longer than fsync.warningthresholdms",
    ),
    zookeeper("sync_processor_request_queued", Counter, "Records handed to the thread that writes the log"),
    zookeeper("sync_processor_queue_size", Basic, "Records that wait for that thread, whenever it takes some"),
    zookeeper("sync_processor_queue_time_ms", Advanced, "Milliseconds that a record waited for that thread"),
    zookeeper("sync_processor_queue_flush_time_ms", Advanced, "Milliseconds of making a batch of records durable"),
    zookeeper(
        "sync_processor_queue_and_flush_time_ms",
        Advanced,
        "Milliseconds from handing over a record until it was durable",
    ),
    zookeeper("sync_process_time", Basic, "Milliseconds of writing a batch of records, before it is made durable"),
    zookeeper("sync_processor_batch_size", Basic, "Records made durable by one fsync"),
    zookeeper("snapshottime", Basic, "Milliseconds of taking a snapshot"),
    zookeeper("dbinittime", Basic, "Milliseconds from opening the store to the tree"),
    zookeeper("startup_snap_load_time", Basic, "Milliseconds of making the tree of the snapshot at the start"),
    zookeeper("startup_txns_load_time", Basic, "Milliseconds of reading and checking the files at the start"),
    zookeeper("startup_txns_loaded", Basic, "Records behind the snapshot at the start"),
    zookeeper("snapshot_error_count", Counter, "Admin commands snapshot that failed"),
    zookeeper(
        "snapshot_rate_limited_count",
        Counter,
        "Admin commands snapshot that came too soon after the one before",
    ),
    zookeeper("restore_rate_limited_count", Counter, "Admin commands restore that came too soon after the one before"),
    zookeeper("restore_error_count", Counter, "Admin commands restore that were refused, as all are"),
    // The ports for people and programs.
    zookeeper("unsuccessful_handshake", Counter, "TLS handshakes of the admin and metrics ports that failed"),
    zookeeper(
        "insecure_admin_count",
        Counter,
        "Connections without TLS to an admin or metrics port that takes both kinds",
    ),
    // The process.
    zookeeper("open_file_descriptor_count", Gauge, "Open file descriptors"),
    zookeeper("max_file_descriptor_count", Gauge, "File descriptors that the process may have open"),
    zookeeper(
        "jvm_pause_time_ms",
        Advanced,
        "Milliseconds that the pause monitor was woken too late at most, in each jvm.pause.sleep.time.ms",
    ),
    // This server's own.
    ours("ensemble_build_info", Gauge, &["version", "commit"], "1, with the version of this server as labels"),
    ours("ensemble_server_state", Gauge, &["state"], "1 for what this server is now, 0 for what else it could be"),
    ours("ensemble_sessions_created_total", Counter, &[], "Sessions that began on a connection of this server"),
    ours(
        "ensemble_sessions_expired_total",
        Counter,
        &[],
        "Sessions ended for silence: global ones by this server as the leader, and local ones of this server",
    ),
    ours("ensemble_sessions_closed_total", Counter, &[], "Sessions that clients of this server ended"),
    ours("ensemble_sessions_revalidated_total", Counter, &[], "Sessions taken up again on a connection of this server"),
    ours(
        "ensemble_sessions_moved_total",
        Counter,
        &[],
        "Sessions whose clients went from one server to another, as this server saw it as the leader",
    ),
    ours("ensemble_sessions_connected", Gauge, &[], "Sessions that have a connection to this server"),
    ours(
        "ensemble_sessions_by_age",
        Gauge,
        &["age"],
        "Of these, those connected for at most that long, and longer than the next shorter age",
    ),
    ours(
        "ensemble_requests_too_large_total",
        Counter,
        &[],
        "Client connections closed for a frame that was longer than jute.maxbuffer, or of negative length",
    ),
    ours("ensemble_epoch", Gauge, &[], "The epoch of the history that this server holds"),
    ours("ensemble_zxid_counter", Gauge, &[], "The lower half of the zxid that was applied last"),
    ours("ensemble_last_logged_zxid_counter", Gauge, &[], "The lower half of the last zxid in the log"),
    ours("ensemble_tick_seconds", Gauge, &[], "tickTime, in seconds"),
    ours("ensemble_volume_size_bytes", Gauge, &["volume"], "Size of the file system of dataDir and dataLogDir"),
    ours("ensemble_volume_available_bytes", Gauge, &["volume"], "Bytes that this server can still write there"),
    ours("ensemble_memory_limit_bytes", Gauge, &[], "The control group's memory limit; absent without one"),
    ours(
        "ensemble_pauses_total",
        Counter,
        &["cause"],
        "Pauses longer than ensemble.pause.thresholdMs: fsync (of the log), cpu_throttling, stalled_loop, memory_reclaim, stolen_time, stopped (the process stood still and nothing else explains it)",
    ),
    ours("ensemble_pause_seconds_total", Counter, &["cause"], "How long these were together, in seconds"),
    ours("ensemble_pause_seconds_max", Gauge, &["cause"], "The longest of the last ten minutes, in seconds"),
    ours("connection_unserved_count", Counter, &[], "As cnxn_closed_without_zk_server_running"),
    ours("last_processed_zxid", Gauge, &[], "The zxid that was applied last, as a number"),
    ours("server_id", Gauge, &[], "This server's id"),
    // The process, as Prometheus has it.
    process("process_cpu_seconds_total", Counter, "CPU time of the process, in seconds"),
    process("process_start_time_seconds", Gauge, "When the process began, in seconds since 1970"),
    process("process_open_fds", Gauge, "Open file descriptors"),
    process("process_max_fds", Gauge, "File descriptors that the process may have open"),
    process("process_virtual_memory_bytes", Gauge, "Virtual memory of the process"),
    process("process_resident_memory_bytes", Gauge, "Resident memory of the process"),
    process("process_threads", Gauge, "Threads of the process"),
    // For dashboards that were made for a JVM.
    jvm("jvm_memory_bytes_used", Gauge, &["area"], "Compatibility value: resident memory of the process"),
    jvm("jvm_memory_bytes_committed", Gauge, &["area"], "Compatibility value: resident memory of the process"),
    jvm(
        "jvm_memory_bytes_max",
        Gauge,
        &["area"],
        "Compatibility value: the control group's memory limit, or the machine's memory",
    ),
    jvm("jvm_memory_pool_bytes_used", Gauge, &["pool"], "Compatibility value: as jvm_memory_bytes_used"),
    jvm("jvm_memory_pool_bytes_committed", Gauge, &["pool"], "Compatibility value: as jvm_memory_bytes_committed"),
    jvm("jvm_memory_pool_bytes_max", Gauge, &["pool"], "Compatibility value: as jvm_memory_bytes_max"),
    jvm("jvm_memory_pool_allocated_bytes_total", Counter, &["pool"], "Compatibility value: 0, nobody counts them"),
    jvm("jvm_buffer_pool_used_bytes", Gauge, &["pool"], "Compatibility value: 0, there are no such buffers"),
    jvm("jvm_buffer_pool_capacity_bytes", Gauge, &["pool"], "Compatibility value: 0, there are no such buffers"),
    jvm("jvm_threads_current", Gauge, &[], "Compatibility value: threads of the process"),
    jvm("jvm_threads_peak", Gauge, &[], "Compatibility value: as jvm_threads_current"),
    jvm("jvm_threads_daemon", Gauge, &[], "Compatibility value: 0, there is no such kind"),
    jvm("jvm_threads_state", Gauge, &["state"], "Compatibility value: threads of the process that run, and that wait"),
    jvm("jvm_threads_deadlocked", Gauge, &[], "Compatibility value: 0, there is no such search"),
    jvm("jvm_classes_loaded", Gauge, &[], "Compatibility value: 0, there are no classes"),
    jvm("jvm_gc_collection_seconds", Basic, &["gc"], "Compatibility value: no samples, there is no garbage collector"),
];

/// Names of ZooKeeper's that are not exported, and why.
pub const ABSENT: &[(&str, &str)] = &[
    ("restore_time", "nothing is restored while a server runs"),
    ("unrecoverable_error_count", "what cannot be recovered from ends the process; its exit code says what it was"),
    ("add_dead_watcher_stall_time", "a connection's watches go with it, at once: there are no dead watchers"),
    ("dead_watchers_queued", "there are no dead watchers"),
    ("dead_watchers_cleared", "there are no dead watchers"),
    ("dead_watchers_cleaner_latency", "there are no dead watchers"),
    ("response_packet_cache_hits", "there is no response cache: an answer is encoded faster than it is found"),
    ("response_packet_cache_misses", "there is no response cache"),
    ("response_packet_get_children_cache_hits", "there is no response cache"),
    ("response_packet_get_children_cache_misses", "there is no response cache"),
    ("stale_replies", "the answers of a connection that is gone are dropped with it, uncounted"),
    ("tls_handshake_exceeded", "there is no TLS for clients yet"),
    ("outstanding_tls_handshake", "there is no TLS for clients yet"),
    ("non_mtls_remote_conn_count", "there is no TLS for clients yet"),
    ("non_mtls_local_conn_count", "there is no TLS for clients yet"),
    ("skip_learner_request_to_next_processor_count", "there is no chain of request processors"),
    ("requests_not_forwarded_to_commit_processor", "there is no chain of request processors"),
    ("prep_process_time", "a request becomes a transaction within one turn of the loop, which is not divided"),
    ("close_session_prep_time", "a request becomes a transaction within one turn of the loop"),
    ("proposal_process_time", "a transaction is proposed within one turn of the loop"),
    ("commit_process_time", "a transaction is applied and answered within one turn of the loop"),
    ("read_final_proc_time_ms", "a read is answered within one turn of the loop; see readlatency"),
    ("write_final_proc_time_ms", "a write is applied and answered within one turn of the loop; see updatelatency"),
    ("om_proposal_process_time_ms", "an observer master passes on within one turn of the loop"),
    ("om_commit_process_time_ms", "an observer master passes on within one turn of the loop"),
    ("pending_session_queue_size", "there is no commit processor with queues of sessions"),
    ("session_queues_drained", "there is no commit processor with queues of sessions"),
    ("time_waiting_empty_pool_in_commit_processor_read_ms", "there is no pool of threads"),
    ("write_batch_time_in_commit_processor", "there is no commit processor"),
    ("concurrent_request_processing_in_commit_processor", "there is no commit processor"),
    ("read_commit_proc_req_queued", "there is no commit processor"),
    ("write_commit_proc_req_queued", "there is no commit processor"),
    ("commit_commit_proc_req_queued", "there is no commit processor"),
    ("read_commit_proc_issued", "there is no commit processor"),
    ("write_commit_proc_issued", "there is no commit processor"),
    ("server_write_committed_time_ms", "see proposal_latency on the leader, commit_propagation_latency on a follower"),
    ("netty_queued_buffer_capacity", "there is no Netty"),
    ("learner_request_processor_queue_size", "a learner's request is taken in the turn that read it"),
    ("socket_closing_time", "closing a socket takes no time of its own"),
];

/// The metric of a name.
pub fn find(name: &str) -> Option<&'static Metric> {
    TABLE.iter().find(|metric| metric.name == name)
}
