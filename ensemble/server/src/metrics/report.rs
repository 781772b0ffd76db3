//! What [`Figures`] say, as samples.

use super::sample::Sample;
use crate::report::{AGES, Figures, Report};
use crate::version;
use ensemble_peer::{Measures, Namespaces};
use ensemble_proto::ServerId;
use ensemble_zab::Role;

/// What a server can be, in [`Report::mode`]'s words, and `looking` while it is none of it.
const STATES: [&str; 6] = ["leader", "follower", "observer", "standalone", "read-only", "looking"];

/// Everything that they tell.
pub(super) fn samples(figures: &Figures) -> Vec<Sample> {
    let report = &figures.report;
    let mut samples = of_ensemble(report);
    samples.extend(of_zab(figures));
    samples.extend(of_peer(figures));
    if report.status.serving || report.status.read_only {
        samples.extend(of_service(figures));
    }
    samples.extend(of_role(report));
    samples
}

fn of_ensemble(report: &Report) -> Vec<Sample> {
    let status = &report.status;
    let mode = report.mode().unwrap_or("looking");
    let mut samples: Vec<_> = STATES
        .iter()
        .map(|state| Sample::count("ensemble_server_state", u64::from(*state == mode)).with(&[state]))
        .collect();
    let ServerId(id) = status.id;
    samples.extend([
        Sample::count("ensemble_build_info", 1).with(&[version::OWN, version::COMMIT]),
        Sample::number("ensemble_epoch", status.epoch.0 as f64),
        Sample::number("ensemble_zxid_counter", status.zxid.counter() as f64),
        Sample::number("ensemble_last_logged_zxid_counter", status.last_logged.0.max(0) as u32 as f64),
        Sample::number("ensemble_tick_seconds", report.tick.as_secs_f64()),
        Sample::number("server_id", id as f64),
        Sample::count("proposal_count", status.proposals),
        Sample::count("request_commit_queued", status.commits),
        Sample::count("stale_sessions_expired", status.sessions_expired),
        Sample::count("cnxn_closed_without_zk_server_running", status.clients_unserved),
        Sample::count("connection_unserved_count", status.clients_unserved),
        Sample::count("digest_mismatches_count", status.digest_mismatches),
    ]);
    if !status.standalone {
        samples.push(Sample::count("quorum_size", status.quorum_size as u64));
    }
    samples
}

fn of_zab(figures: &Figures) -> Vec<Sample> {
    let now = figures.report.uptime;
    let ensemble_zab::Measures {
        looking_count,
        diff_count,
        snap_count,
        commit_count,
        learner_proposal_received_count,
        learner_commit_received_count,
        quit_leading_due_to_disloyal_voter,
        election_time,
        proposal_latency,
        quorum_ack_latency,
        ack_latency,
        proposal_ack_creation_latency,
        commit_propagation_latency,
        follower_sync_time,
        observer_sync_time,
        inflight_snap_count,
        inflight_diff_count,
    } = &figures.zab;
    let mut samples = vec![
        Sample::count("looking_count", *looking_count),
        Sample::count("diff_count", *diff_count),
        Sample::count("snap_count", *snap_count),
        Sample::count("commit_count", *commit_count),
        Sample::count("learner_proposal_received_count", *learner_proposal_received_count),
        Sample::count("learner_commit_received_count", *learner_commit_received_count),
        Sample::count("quit_leading_due_to_disloyal_voter", *quit_leading_due_to_disloyal_voter),
        Sample::summary("election_time", election_time, now),
        Sample::summary("proposal_latency", proposal_latency, now),
        Sample::summary("quorum_ack_latency", quorum_ack_latency, now),
        Sample::summary("proposal_ack_creation_latency", proposal_ack_creation_latency, now),
        Sample::summary("commit_propagation_latency", commit_propagation_latency, now),
        Sample::summary("follower_sync_time", follower_sync_time, now),
        Sample::summary("observer_sync_time", observer_sync_time, now),
        Sample::summary("inflight_snap_count", inflight_snap_count, now),
        Sample::summary("inflight_diff_count", inflight_diff_count, now),
    ];
    let by_server =
        |(id, summary): (&ServerId, _)| Sample::summary("ack_latency", summary, now).with(&[&id.0.to_string()]);
    samples.extend(ack_latency.iter().map(by_server));
    for (ServerId(id), waits) in &figures.learners {
        let id = id.to_string();
        samples.push(Sample::summary("learner_handler_qp_size", &waits.size, now).with(&[&id]));
        samples.push(Sample::summary("learner_handler_qp_time_ms", &waits.time_ms, now).with(&[&id]));
    }
    samples
}

fn of_peer(figures: &Figures) -> Vec<Sample> {
    let now = figures.report.uptime;
    let measures: &Measures = &figures.measures;
    let count = |name, value: u64| Sample::count(name, value);
    let summary = |name, summary| Sample::summary(name, summary, now);
    let by_namespace = |name, namespaces: &Namespaces| -> Vec<Sample> {
        let of = |(namespace, bytes): (&str, &_)| Sample::summary(name, bytes, now).with(&[namespace]);
        namespaces.by_name().into_iter().map(of).collect()
    };
    let mut samples = by_namespace("read_per_namespace", &measures.read_per_namespace);
    samples.extend(by_namespace("write_per_namespace", &measures.write_per_namespace));
    let refused =
        |(namespace, refused): (&str, u64)| count("quota_exceeded_error_per_namespace", refused).with(&[namespace]);
    samples.extend(measures.quota_exceeded_error_per_namespace.by_name().map(refused));
    samples.extend([
        count("prep_processor_request_queued", measures.prep_processor_request_queued),
        count("outstanding_changes_queued", measures.outstanding_changes_queued),
        count("outstanding_changes_removed", measures.outstanding_changes_removed),
        count("connection_revalidate_count", measures.connection_revalidate_count),
        count("revalidate_count", measures.revalidate_count),
        count("sessionless_connections_expired", measures.sessionless_connections_expired),
        count("request_throttle_wait_count", measures.request_throttle_wait_count),
        summary("request_throttle_queue_time_ms", &measures.request_throttle_queue_time_ms),
        count("throttled_ops", measures.throttled_ops),
        count("stale_requests", measures.stale_requests),
        count("stale_requests_dropped", measures.stale_requests_dropped),
        count("large_requests_rejected", measures.large_requests_rejected),
        Sample::number("connection_drop_probability", measures.connection_drop_probability),
        summary("connection_token_deficit", &measures.connection_token_deficit),
        count("ensemble_auth_success", measures.ensemble_auth_success),
        count("ensemble_auth_fail", measures.ensemble_auth_fail),
        count("ensemble_auth_skip", measures.ensemble_auth_skip),
        count("response_bytes", measures.response_bytes.saturating_sub(measures.watch_bytes)),
        count("watch_bytes", measures.watch_bytes),
        count("ensemble_sessions_created_total", measures.sessions_created),
        count(
            "ensemble_sessions_expired_total",
            figures.report.status.sessions_expired + measures.local_sessions_expired,
        ),
        count("ensemble_sessions_closed_total", measures.sessions_closed),
        count("ensemble_sessions_revalidated_total", measures.sessions_revalidated),
        count("ensemble_sessions_moved_total", measures.sessions_moved),
        summary("readlatency", &measures.readlatency),
        summary("updatelatency", &measures.updatelatency),
        summary("write_commitproc_time_ms", &measures.updatelatency),
        summary("local_write_committed_time_ms", &measures.updatelatency),
        summary("propagation_latency", &measures.propagation_latency),
        summary("unavailable_time", &measures.unavailable_time),
        summary("leader_unavailable_time", &measures.leader_unavailable_time),
        summary("prep_processor_queue_size", &measures.prep_processor_queue_size),
        summary("prep_processor_queue_time_ms", &measures.prep_processor_queue_time_ms),
        summary("requests_in_session_queue", &measures.requests_in_session_queue),
        summary("reads_after_write_in_session_queue", &measures.reads_after_write_in_session_queue),
        summary("reads_issued_from_session_queue", &measures.reads_after_write_in_session_queue),
        summary("read_commitproc_time_ms", &measures.read_commitproc_time_ms),
        summary("node_created_watch_count", &measures.node_created_watch_count),
        summary("node_deleted_watch_count", &measures.node_deleted_watch_count),
        summary("node_changed_watch_count", &measures.node_changed_watch_count),
        summary("node_children_watch_count", &measures.node_children_watch_count),
    ]);
    samples
}

/// What exists only while clients are served.
fn of_service(figures: &Figures) -> Vec<Sample> {
    let report = &figures.report;
    let status = &report.status;
    let gauge = |name, value: usize| Sample::count(name, value as u64);
    let [last, min, max] = report.client_response_size.last_min_max();
    let mut samples = vec![
        Sample::number("avg_latency", status.latency_avg_ms),
        Sample::count("min_latency", status.latency_min_ms),
        Sample::count("max_latency", status.latency_max_ms),
        Sample::count("packets_received", status.packets_received),
        Sample::count("packets_sent", status.packets_sent),
        Sample::number("last_client_response_size", last as f64),
        Sample::number("min_client_response_size", min as f64),
        Sample::number("max_client_response_size", max as f64),
        gauge("num_alive_connections", status.connections),
        gauge("outstanding_requests", status.outstanding_requests),
        Sample::count("uptime", report.serving_for.as_millis() as u64),
        gauge("znode_count", report.znode_count()),
        gauge("watch_count", status.watches),
        gauge("ephemerals_count", status.ephemerals),
        Sample::count("approximate_data_size", status.approximate_data_bytes),
        gauge("global_sessions", status.global_sessions),
        gauge("local_sessions", status.local_sessions),
        Sample::count("auth_failed_count", report.auth_failed_count),
        gauge("ensemble_sessions_connected", figures.sessions_by_age.iter().sum()),
        Sample::number("last_processed_zxid", status.zxid.0 as f64),
    ];
    let by_age = AGES.iter().zip(figures.sessions_by_age);
    samples.extend(by_age.map(|((age, _), count)| gauge("ensemble_sessions_by_age", count).with(&[age])));
    for (namespace, quota) in &figures.quotas {
        let limit = |limit: Option<i64>| limit.unwrap_or(-1);
        samples.extend(
            [
                ("quota_count_limit_per_namespace", limit(quota.count_limit)),
                ("quota_bytes_limit_per_namespace", limit(quota.bytes_limit)),
                ("quota_count_usage_per_namespace", quota.count),
                ("quota_bytes_usage_per_namespace", quota.bytes),
            ]
            .map(|(name, value)| Sample::number(name, value as f64).with(&[namespace])),
        );
    }
    samples
}

/// What exists only in a role, while that role serves.
fn of_role(report: &Report) -> Vec<Sample> {
    let status = &report.status;
    let synced = |voter: bool, observer: bool| {
        let such = |learner: &&ensemble_zab::LearnerStatus| {
            learner.synced && learner.voter == voter && learner.observer == observer
        };
        status.learners.iter().filter(such).count() as u64
    };
    let mut samples = Vec::new();
    if status.serving && report.takes_observers && matches!(status.role, Role::Following { .. }) {
        samples.push(Sample::count("synced_observers", synced(false, true)));
    }
    if let Some(leading_for) = report.leading_for.filter(|_| !status.standalone) {
        let [last, min, max] = report.proposal_size.last_min_max();
        let pending = status.learners.iter().filter(|learner| !learner.synced).count() as u64;
        samples.extend([
            Sample::count("leader_uptime", leading_for.as_millis() as u64),
            Sample::count("learners", status.learners.len() as u64),
            Sample::count("synced_followers", synced(true, false)),
            Sample::count("synced_non_voting_followers", synced(false, false)),
            Sample::count("synced_observers", synced(false, true)),
            Sample::count("pending_syncs", pending),
            Sample::number("last_proposal_size", last as f64),
            Sample::number("min_proposal_size", min as f64),
            Sample::number("max_proposal_size", max as f64),
        ]);
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::sample::exposition;
    use crate::report::Identity;
    use ensemble_peer::{Sizes, Status};
    use ensemble_proto::{Epoch, Zxid};
    use ensemble_zab::{ConnId, LearnerStatus, ZabState};
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn learner(id: i64, voter: bool, observer: bool, synced: bool) -> LearnerStatus {
        LearnerStatus { id: ServerId(id), conn: ConnId(id as u64), voter, observer, synced, acked: Zxid(0) }
    }

    /// Server 1 with two voters, one of them not in sync, a follower without a vote and two observers.
    fn figures(role: Role, serving: bool) -> Figures {
        let status = Status {
            id: ServerId(1),
            role,
            state: ZabState::Broadcast,
            serving,
            read_only: false,
            standalone: false,
            leader: None,
            epoch: Epoch(3),
            zxid: Zxid(0x3_0000_0007),
            digest: 0,
            last_logged: Zxid(0x3_0000_0009),
            may_vote: true,
            learners: vec![
                learner(2, true, false, true),
                learner(3, true, false, false),
                learner(4, false, false, true),
                learner(5, false, true, true),
                learner(6, false, true, true),
            ],
            quorum_size: 3,
            znodes: 5,
            ephemerals: 0,
            watches: 0,
            approximate_data_bytes: 0,
            global_sessions: 0,
            local_sessions: 0,
            connections: 0,
            outstanding_requests: 6,
            packets_received: 0,
            packets_sent: 0,
            proposals: 0,
            commits: 0,
            digest_mismatches: 0,
            sessions_expired: 0,
            clients_unserved: 0,
            latency_min_ms: 1,
            latency_avg_ms: 2.5,
            latency_max_ms: 40,
        };
        let identity = Identity {
            ensemble_id: None,
            volume_id: None,
            format_version: 1,
            is_ungranted: false,
            is_granted: false,
            set_aside: None,
            snapshot_mismatches: 0,
        };
        let report = Report {
            status,
            identity,
            servers: Vec::new(),
            own: None,
            config_version: 0,
            pending_version: None,
            is_hierarchical: false,
            config_hash: String::new(),
            uptime: Duration::from_secs(9),
            serving_for: Duration::from_secs(8),
            leading_for: (role == Role::Leading).then_some(Duration::from_secs(7)),
            tick: Duration::from_secs(2),
            proposal_size: Sizes::default(),
            client_response_size: Sizes::default(),
            auth_failed_count: 0,
            observer_master: None,
            takes_observers: true,
            pauses: Vec::new(),
        };
        Figures {
            report,
            sessions_by_age: [1, 0, 0, 0, 2],
            quotas: BTreeMap::new(),
            measures: Measures::default(),
            zab: ensemble_zab::Measures::default(),
            learners: BTreeMap::new(),
        }
    }

    fn check(figures: &Figures, expected: &[&str], absent: &[&str]) {
        let text = exposition(&samples(figures), &Default::default());
        for line in expected {
            assert!(text.lines().any(|found| found == *line), "{line} in\n{text}");
        }
        for name in absent {
            assert!(!text.lines().any(|line| line.starts_with(name)), "no {name} in\n{text}");
        }
    }

    #[test]
    fn a_leader_tells_of_its_learners_and_of_itself() {
        let expected = [
            "avg_latency 2.5",
            "min_latency 1",
            "max_latency 40",
            "outstanding_requests 6",
            "learners 5",
            "synced_followers 1",
            "synced_non_voting_followers 1",
            "synced_observers 2",
            "pending_syncs 1",
            "leader_uptime 7000",
            "uptime 8000",
            "last_proposal_size -1",
            "ensemble_server_state{state=\"leader\"} 1",
            "ensemble_server_state{state=\"looking\"} 0",
            "ensemble_epoch 3",
            "ensemble_zxid_counter 7",
            "ensemble_last_logged_zxid_counter 9",
            "ensemble_tick_seconds 2",
            "ensemble_sessions_connected 3",
            "ensemble_sessions_by_age{age=\"1m\"} 1",
            "ensemble_sessions_by_age{age=\"older\"} 2",
        ];
        check(&figures(Role::Leading, true), &expected, &[]);
    }

    #[test]
    fn what_belongs_to_a_role_is_absent_elsewhere() {
        let mut following = figures(Role::Following { leader: ServerId(2) }, true);
        check(&following, &["synced_observers 2", "uptime 8000"], &["leader_uptime", "learners"]);
        following.report.takes_observers = false;
        check(&following, &["uptime 8000"], &["synced_observers"]);
        let looking = figures(Role::Looking, false);
        let state = "ensemble_server_state{state=\"looking\"} 1";
        check(&looking, &[state, "quorum_size 3"], &["uptime", "znode_count", "synced_observers", "avg_latency"]);
    }
}
