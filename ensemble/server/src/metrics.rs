//! Metrics under ZooKeeper's names (`ServerMetrics.java` and the gauges of `ZooKeeperServer`), by the `prometheus` crate.
//!
//! What the peer counts is read at each scrape from a [`Report`]; what only the shell sees is counted here. `mntr` prints
//! the same values. Role gauges exist only in their role, as dashboards expect: `leader_uptime` is absent on a follower,
//! and everything about the tree is absent while nobody is served.

use crate::report::Report;
use crate::summary::{Detail, Summary};
use ensemble_proto::ServerId;
use ensemble_zab::Role;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{self, MetricFamily, MetricType};
use prometheus::{IntCounter, Registry, TextEncoder};

/// What the shell counts.
pub(crate) struct Metrics {
    registry: Registry,
    counters: Vec<(&'static str, IntCounter)>,
    summaries: Vec<Summary>,
    pub(crate) looking_count: IntCounter,
    pub(crate) connection_request_count: IntCounter,
    pub(crate) connection_rejected: IntCounter,
    pub(crate) connection_drop_count: IntCounter,
    pub(crate) bytes_received_count: IntCounter,
    /// Milliseconds of each sync of the transaction log.
    pub(crate) fsynctime: Summary,
    /// Milliseconds of each snapshot.
    pub(crate) snapshottime: Summary,
    /// Records that one sync made durable.
    pub(crate) sync_processor_batch_size: Summary,
    /// Milliseconds from opening the store to the tree.
    pub(crate) dbinittime: Summary,
    /// Records after the snapshot at the start.
    pub(crate) startup_txns_loaded: Summary,
    /// How late the pause monitor was woken.
    pub(crate) jvm_pause_time_ms: Summary,
}

/// Whether a value only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Counter,
    Gauge,
}

/// One value of a [`Report`].
struct Sample {
    name: &'static str,
    kind: Kind,
    value: f64,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When two metrics have the same name.
    pub(crate) fn new() -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let mut counters = Vec::new();
        let mut counter = |name: &'static str| {
            let counter = IntCounter::new(name, name)?;
            registry.register(Box::new(counter.clone()))?;
            counters.push((name, counter.clone()));
            Ok::<_, prometheus::Error>(counter)
        };
        let looking_count = counter("looking_count")?;
        let connection_request_count = counter("connection_request_count")?;
        let connection_rejected = counter("connection_rejected")?;
        let connection_drop_count = counter("connection_drop_count")?;
        let bytes_received_count = counter("bytes_received_count")?;
        let mut summaries = Vec::new();
        let mut summary = |name, detail| {
            let summary = Summary::new(name, detail)?;
            registry.register(Box::new(summary.clone()))?;
            summaries.push(summary.clone());
            Ok::<_, prometheus::Error>(summary)
        };
        let fsynctime = summary("fsynctime", Detail::Basic)?;
        let snapshottime = summary("snapshottime", Detail::Basic)?;
        let sync_processor_batch_size = summary("sync_processor_batch_size", Detail::Basic)?;
        let dbinittime = summary("dbinittime", Detail::Basic)?;
        let startup_txns_loaded = summary("startup_txns_loaded", Detail::Basic)?;
        let jvm_pause_time_ms = summary("jvm_pause_time_ms", Detail::Advanced)?;
        Ok(Metrics {
            registry,
            counters,
            summaries,
            looking_count,
            connection_request_count,
            connection_rejected,
            connection_drop_count,
            bytes_received_count,
            fsynctime,
            snapshottime,
            sync_processor_batch_size,
            dbinittime,
            startup_txns_loaded,
            jvm_pause_time_ms,
        })
    }

    /// The text of `GET /metrics`. Without a report (the driver does not answer) only what the shell counts.
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub(crate) fn exposition(&self, report: Option<&Report>) -> prometheus::Result<String> {
        let mut families = self.registry.gather();
        families.extend(ProcessCollector::for_self().collect());
        families.extend(report.into_iter().flat_map(samples).map(Sample::family));
        families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new().encode_to_string(&families)
    }

    /// The lines of `mntr` after version and state: `zk_<name>`, a tab, the value.
    pub(crate) fn monitor(&self, report: &Report) -> String {
        let mut text = String::new();
        for Sample { name, value, .. } in samples(report) {
            text += &format!("zk_{name}\t{}\n", java_number(value));
        }
        for (name, counter) in &self.counters {
            text += &format!("zk_{name}\t{}\n", counter.get());
        }
        for summary in &self.summaries {
            let (name, now) = (summary.name(), summary.snapshot());
            let average = if now.count == 0 { 0.0 } else { now.sum / now.count as f64 };
            text += &format!("zk_avg_{name}\t{}\n", four_decimals(average));
            text += &format!("zk_min_{name}\t{:.0}\nzk_max_{name}\t{:.0}\n", now.min, now.max);
            text += &format!("zk_cnt_{name}\t{}\nzk_sum_{name}\t{:.0}\n", now.count, now.sum);
        }
        text
    }
}

impl Sample {
    fn family(self) -> MetricFamily {
        let mut metric = proto::Metric::default();
        let mut family = MetricFamily::default();
        match self.kind {
            Kind::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(self.value);
                metric.set_counter(counter);
                family.set_field_type(MetricType::COUNTER);
            }
            Kind::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(self.value);
                metric.set_gauge(gauge);
                family.set_field_type(MetricType::GAUGE);
            }
        }
        family.set_name(self.name.to_owned());
        family.set_help(self.name.to_owned());
        family.set_metric(vec![metric]);
        family
    }
}

/// Everything that a report has under a name of ZooKeeper's.
fn samples(report: &Report) -> Vec<Sample> {
    let status = &report.status;
    let counter = |name, value: u64| Sample { name, kind: Kind::Counter, value: value as f64 };
    let gauge = |name, value: u64| Sample { name, kind: Kind::Gauge, value: value as f64 };
    let float = |name, value| Sample { name, kind: Kind::Gauge, value };
    let mut samples = vec![
        counter("proposal_count", status.proposals),
        counter("commit_count", status.commits),
        counter("stale_sessions_expired", status.sessions_expired),
        // Differs from ZooKeeper, which does not count them.
        counter("connection_unserved_count", status.clients_unserved),
        counter("digest_mismatches_count", status.digest_mismatches),
    ];
    if !status.standalone {
        samples.push(gauge("quorum_size", status.quorum_size as u64));
    }
    if !status.serving && !status.read_only {
        return samples;
    }
    samples.extend([
        float("avg_latency", status.latency_avg_ms),
        gauge("min_latency", status.latency_min_ms),
        gauge("max_latency", status.latency_max_ms),
        gauge("packets_received", status.packets_received),
        gauge("packets_sent", status.packets_sent),
        gauge("num_alive_connections", status.connections as u64),
        gauge("outstanding_requests", status.outstanding_requests as u64),
        gauge("uptime", report.uptime.as_millis() as u64),
        gauge("znode_count", report.znode_count() as u64),
        gauge("watch_count", status.watches as u64),
        gauge("ephemerals_count", status.ephemerals as u64),
        gauge("approximate_data_size", status.approximate_data_bytes),
        gauge("global_sessions", status.global_sessions as u64),
        gauge("local_sessions", status.local_sessions as u64),
        // Differs from ZooKeeper: the last applied zxid, as a number; ZooKeeper has it in `srvr` only.
        gauge("last_processed_zxid", status.zxid.0 as u64),
    ]);
    let synced = |voter: bool| status.learners.iter().filter(move |l| l.synced && l.voter == voter).count() as u64;
    if matches!(status.role, Role::Following { .. }) {
        samples.push(gauge("synced_observers", synced(false)));
    }
    if let Some(leading_for) = report.leading_for.filter(|_| !status.standalone) {
        let pending = status.learners.iter().filter(|learner| !learner.synced).count() as u64;
        samples.extend([
            gauge("leader_uptime", leading_for.as_millis() as u64),
            gauge("learners", status.learners.len() as u64),
            gauge("synced_followers", synced(true)),
            gauge("synced_observers", synced(false)),
            gauge("pending_syncs", pending),
        ]);
    }
    let ServerId(id) = status.id;
    samples.push(gauge("server_id", id as u64));
    samples
}

/// Integers plain, others with at most four decimals, as Java prints them.
fn java_number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { four_decimals(value) }
}

/// A double rounded to four decimals, with at least one (`4.6061`, `0.0`).
pub(crate) fn four_decimals(value: f64) -> String {
    format!("{:?}", (value * 10_000.0).round() / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_in_java() {
        assert_eq!([0.0, 4.60612, 0.5857, 12.0].map(four_decimals), ["0.0", "4.6061", "0.5857", "12.0"]);
        assert_eq!([0.0, 25.0, 0.25].map(java_number), ["0", "25", "0.25"]);
    }

    #[test]
    fn a_summary_is_exposed_with_quantiles_count_and_sum() {
        let metrics = Metrics::new().unwrap();
        metrics.fsynctime.observe(3.0);
        let text = metrics.exposition(None).unwrap();
        for line in
            ["# TYPE fsynctime summary", "fsynctime{quantile=\"0.5\"} 3", "fsynctime_sum 3", "fsynctime_count 1"]
        {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.contains("# TYPE looking_count counter\nlooking_count 0\n"), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
