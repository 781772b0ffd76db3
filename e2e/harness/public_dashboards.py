"""What public dashboards and alert examples ask of ZooKeeper: Grafana's 10465 (revision 4), `zookeeper-observ-lib` of grafana/jsonnet-libs, ZooKeeper's own monitor guide.

The names are theirs; so are the forms: a value as it is, a rate, a summary's quantiles, its sum over its count.
"""

import re

from . import places
from .prometheus import Prometheus

INTERVAL = "20s"

# As they are.
VALUES = """
znode_count ephemerals_count global_sessions local_sessions approximate_data_size quorum_size leader_uptime learners synced_non_voting_followers synced_observers uptime
last_proposal_size max_proposal_size min_proposal_size watch_count outstanding_requests last_client_response_size min_client_response_size max_client_response_size
num_alive_connections connection_drop_probability open_file_descriptor_count max_latency min_latency avg_latency outstanding_tls_handshake
jvm_classes_loaded jvm_threads_current jvm_threads_daemon jvm_threads_peak jvm_threads_deadlocked jvm_threads_state jvm_memory_bytes_used jvm_memory_bytes_committed jvm_memory_bytes_max
jvm_memory_pool_bytes_used jvm_memory_pool_bytes_committed jvm_memory_pool_bytes_max jvm_buffer_pool_used_bytes jvm_buffer_pool_capacity_bytes
process_start_time_seconds process_resident_memory_bytes process_open_fds process_max_fds
""".split()
# By the second.
COUNTERS = """
packets_received packets_sent response_packet_cache_hits response_packet_cache_misses response_packet_get_children_cache_hits response_packet_get_children_cache_misses
unrecoverable_error_count digest_mismatches_count learner_commit_received_count commit_count snap_count diff_count looking_count proposal_count quit_leading_due_to_disloyal_voter
revalidate_count stale_sessions_expired dead_watchers_cleared dead_watchers_queued add_dead_watcher_stall_time bytes_received_count connection_request_count connection_rejected
connection_drop_count sessionless_connections_expired prep_processor_request_queued outstanding_changes_queued outstanding_changes_removed sync_processor_request_queued
request_commit_queued tls_handshake_exceeded ensemble_auth_fail ensemble_auth_success ensemble_auth_skip process_cpu_seconds_total jvm_memory_pool_allocated_bytes_total
jvm_gc_collection_seconds_sum jvm_gc_collection_seconds_count
""".split()
# By their quantiles, and by sum and count.
QUANTILES = "startup_snap_load_time startup_txns_loaded dbinittime election_time fsynctime proposal_ack_creation_latency".split()
SUMS = """
write_per_namespace read_per_namespace startup_snap_load_time startup_txns_loaded dbinittime election_time follower_sync_time learner_handler_qp_size
om_commit_process_time_ms om_proposal_process_time_ms node_created_watch_count node_deleted_watch_count node_changed_watch_count node_children_watch_count dead_watchers_cleaner_latency
connection_token_deficit fsynctime snapshottime prep_process_time prep_processor_queue_time_ms prep_processor_queue_size close_session_prep_time sync_process_time
sync_processor_queue_flush_time_ms sync_processor_queue_size sync_processor_batch_size commit_process_time read_commitproc_time_ms write_commitproc_time_ms
write_commit_proc_req_queued read_commit_proc_req_queued commit_commit_proc_req_queued requests_in_session_queue read_commit_proc_issued write_commit_proc_issued
concurrent_request_processing_in_commit_processor time_waiting_empty_pool_in_commit_processor_read_ms pending_session_queue_size local_write_committed_time_ms
server_write_committed_time_ms write_batch_time_in_commit_processor reads_after_write_in_session_queue session_queues_drained reads_issued_from_session_queue
write_final_proc_time_ms read_final_proc_time_ms readlatency updatelatency proposal_latency quorum_ack_latency ack_latency propagation_latency commit_propagation_latency jvm_pause_time_ms
""".split()
# What they say in a form of their own: who leads, what is free, and how often something happened.
FORMS = (
    "clamp_max(leader_uptime, 1)",
    "clamp_max(num_alive_connections, 0)",
    'jvm_memory_bytes_used{area="heap"} / jvm_memory_bytes_max{area="heap"} * 100',
    "process_open_fds / process_max_fds * 100",
    "increase(election_time_count[5m])",
    "avg_latency > -1",
    "count(up == 1) - on() max(quorum_size)",
    "changes(leader_unavailable_time_count[5m])",
    "sum(rate(fsynctime_sum[1m])) / sum(rate(fsynctime_count[1m]))",
)


def check(prometheus: Prometheus) -> str:
    """Asks all of them. Raises AssertionError for those without an answer, but for what `docs/metrics.md` says why it is not there; returns how many are of either sort."""
    absent = not_there()
    names = {*VALUES, *COUNTERS, *QUANTILES, *SUMS}
    rates = [f"rate({name}[{INTERVAL}])" for name in [*COUNTERS, *(f"{name}_{part}" for name in SUMS for part in ("sum", "count"))]]
    queries = [*VALUES, *rates, *(f'{name}{{quantile=~".+"}}' for name in QUANTILES), *FORMS]
    words = {query: {form for word in re.findall(r"\w+", query) for form in (word, re.sub("_(sum|count)$", "", word))} for query in queries}
    asked = [query for query in queries if not absent & words[query]]
    empty = [query for query in asked if not prometheus.query(query)]
    assert not empty, f"public dashboards would show nothing for {empty}"
    return f"{len(asked)} queries of public dashboards have data, {len(queries) - len(asked)} ask for {len(names & absent)} names that are not there, as told"


def not_there() -> set[str]:
    """The names of ZooKeeper's that our servers have not, by `docs/metrics.md`."""
    section = (places.REPOSITORY / "docs" / "metrics.md").read_text().partition("## Names of ZooKeeper's that are not exported")[2]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
