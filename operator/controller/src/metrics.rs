//! The operator's own figures, in Prometheus' text format.
//!
//! What is known of each ensemble is kept as the last pass left it, and made into series when somebody asks: a condition that turned, or
//! an ensemble that is gone, leaves no series behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use operator_api::ZooKeeperEnsembleStatus;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// Figures of this process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    passes: IntCounterVec,
    pass_seconds: Histogram,
    steps: IntCounterVec,
    api_errors: IntCounterVec,
    lease_held: IntGauge,
    ensembles: Arc<Mutex<BTreeMap<Name, Ensemble>>>,
}

/// Namespace and name of an ensemble.
type Name = (String, String);

/// An ensemble as the last pass that succeeded left it.
#[derive(Debug)]
struct Ensemble {
    /// Empty while no pass has.
    status: ZooKeeperEnsembleStatus,
    /// Seconds since 1970; of the first that was tried, while none has.
    passed_at: f64,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let passes =
            counters("zookeeper_operator_reconcile_total", "Passes over an ensemble, by how they ended", "result");
        let pass_seconds = Histogram::with_opts(
            HistogramOpts::new("zookeeper_operator_reconcile_duration_seconds", "Time that a pass took")
                .buckets(vec![0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
        )
        .expect("a valid name");
        let steps = counters("zookeeper_operator_steps_total", "Steps that were carried out, by kind", "step");
        let api_errors = counters(
            "zookeeper_operator_api_errors_total",
            "Passes in which the API server answered with an error, by its code; `none` when it did not answer",
            "code",
        );
        let lease_held =
            IntGauge::new("zookeeper_operator_lease_held", "1 while this process looks after the ensembles")
                .expect("a valid name");
        let build = gauges("zookeeper_operator_build_info", "1", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        for collector in [
            Box::new(passes.clone()) as Box<dyn Collector>,
            Box::new(pass_seconds.clone()),
            Box::new(steps.clone()),
            Box::new(api_errors.clone()),
            Box::new(lease_held.clone()),
            Box::new(build),
            Box::new(ProcessCollector::for_self()),
        ] {
            registry.register(collector).expect("each name is registered once");
        }
        Self { registry, passes, pass_seconds, steps, api_errors, lease_held, ensembles: Arc::default() }
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn counters(name: &str, help: &str, label: &str) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), &[label]).expect("a valid name")
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    GaugeVec::new(Opts::new(name, help), labels).expect("a valid name")
}

impl Metrics {
    /// A pass ended; `result` is `ok`, `conflict` or `error`.
    pub fn pass(&self, result: &str, took: Duration) {
        self.passes.with_label_values(&[result]).inc();
        self.pass_seconds.observe(took.as_secs_f64());
    }

    /// A step was carried out.
    pub fn step(&self, name: &str) {
        self.steps.with_label_values(&[name]).inc();
    }

    /// The API server answered with an error; `code` is none when it did not answer.
    pub fn api_error(&self, code: Option<u16>) {
        self.api_errors.with_label_values(&[&code.map_or_else(|| "none".to_owned(), |code| code.to_string())]).inc();
    }

    /// Whether this process holds the lease.
    pub fn lease(&self, held: bool) {
        self.lease_held.set(i64::from(held));
    }

    /// A pass over an ensemble succeeded, and left it with this status.
    pub fn ensemble(&self, namespace: &str, name: &str, status: ZooKeeperEnsembleStatus) {
        self.known().insert((namespace.to_owned(), name.to_owned()), Ensemble { status, passed_at: now() });
    }

    /// A pass over an ensemble failed. Of one over which none has succeeded, the time of the first is what tells how long that has been so.
    pub fn failed(&self, namespace: &str, name: &str) {
        let unseen = || Ensemble { status: ZooKeeperEnsembleStatus::default(), passed_at: now() };
        self.known().entry((namespace.to_owned(), name.to_owned())).or_insert_with(unseen);
    }

    /// There is no such ensemble any more.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.known().remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Name, Ensemble>> {
        self.ensembles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text of `/metrics`.
    pub fn render(&self) -> String {
        let mut families = self.registry.gather();
        families.extend(self.of_ensembles());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text).expect("writing to memory does not fail");
        String::from_utf8(text).expect("the format is text")
    }

    fn of_ensembles(&self) -> Vec<prometheus::proto::MetricFamily> {
        let conditions = gauges(
            "zookeeper_operator_ensemble_condition",
            "1 for each condition of an ensemble, with its status and reason",
            &["namespace", "ensemble", "type", "status", "reason"],
        );
        let operations = gauges(
            "zookeeper_operator_operation_started_timestamp_seconds",
            "Since when a change has been under way (Progressing is True)",
            &["namespace", "ensemble", "reason"],
        );
        let members = gauges(
            "zookeeper_operator_members",
            "Members of an ensemble, by state",
            &["namespace", "ensemble", "state"],
        );
        let passes = gauges(
            "zookeeper_operator_last_pass_timestamp_seconds",
            "When a pass over the ensemble last succeeded; when one first failed, if none has since the operator started",
            &["namespace", "ensemble"],
        );
        for ((namespace, name), ensemble) in &*self.known() {
            passes.with_label_values(&[namespace, name]).set(ensemble.passed_at);
            for condition in &ensemble.status.conditions {
                let labels = [namespace, name, &condition.type_, &condition.status, &condition.reason];
                conditions.with_label_values(&labels).set(1.0);
                if condition.type_ == "Progressing" && condition.status == "True" {
                    let since = condition.last_transition_time.0.as_second();
                    operations.with_label_values(&[namespace, name, &condition.reason]).set(since as f64);
                }
            }
            for member in &ensemble.status.members {
                members.with_label_values(&[namespace, name, &member.state]).inc();
            }
        }
        let families = [conditions, operations, members, passes].into_iter().flat_map(|family| family.collect());
        // A family without a series cannot be encoded.
        families.filter(|family| !family.get_metric().is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn status(progressing: &str, states: &[&str]) -> ZooKeeperEnsembleStatus {
        let members: Vec<Value> = (0..).zip(states).map(|(ordinal, state)| {
            json!({ "ordinal": ordinal, "myid": ordinal + 1, "pod": "p", "member": "voter", "role": "following", "state": state })
        }).collect();
        let condition = json!({
            "type": "Progressing", "status": progressing, "reason": "ScalingUp", "message": "",
            "lastTransitionTime": "2030-01-01T00:00:00Z",
        });
        serde_json::from_value(json!({ "conditions": [condition], "members": members })).expect("a status")
    }

    #[test]
    fn an_ensemble_shows_as_its_last_pass_left_it_and_goes_without_a_trace() {
        let metrics = Metrics::default();
        metrics.ensemble("prod", "zk", status("True", &["synced", "synced", "down"]));
        let text = metrics.render();
        for line in [
            "zookeeper_operator_ensemble_condition{ensemble=\"zk\",namespace=\"prod\",reason=\"ScalingUp\",status=\"True\",type=\"Progressing\"} 1",
            "zookeeper_operator_operation_started_timestamp_seconds{ensemble=\"zk\",namespace=\"prod\",reason=\"ScalingUp\"} 1893456000",
            "zookeeper_operator_members{ensemble=\"zk\",namespace=\"prod\",state=\"synced\"} 2",
            "zookeeper_operator_members{ensemble=\"zk\",namespace=\"prod\",state=\"down\"} 1",
        ] {
            assert!(text.lines().any(|got| got == line), "no {line} in\n{text}");
        }
        metrics.ensemble("prod", "zk", status("False", &["synced"]));
        let text = metrics.render();
        assert!(!text.contains("operation_started") && !text.contains("status=\"True\""), "{text}");
        assert!(text.contains("zookeeper_operator_last_pass_timestamp_seconds{ensemble=\"zk\",namespace=\"prod\"} "));
        metrics.forget("prod", "zk");
        assert!(!metrics.render().contains("prod"));
    }

    #[test]
    fn an_ensemble_over_which_no_pass_succeeds_shows_since_when() {
        let metrics = Metrics::default();
        let line = || {
            let text = metrics.render();
            text.lines().find(|line| line.starts_with("zookeeper_operator_last_pass")).map(str::to_owned)
        };
        metrics.failed("prod", "zk");
        let first = line().expect("a time");
        metrics.failed("prod", "zk");
        assert_eq!(line(), Some(first), "the time of the first");
        metrics.ensemble("prod", "zk", status("True", &["synced"]));
        metrics.failed("prod", "zk");
        assert!(metrics.render().contains("state=\"synced\""), "what was known of it is still shown");
    }

    #[test]
    fn the_document_lists_every_metric_and_no_other() {
        let metrics = Metrics::default();
        metrics.pass("ok", Duration::ZERO);
        metrics.step("apply");
        metrics.api_error(None);
        metrics.ensemble("prod", "zk", status("True", &["synced"]));
        let text = metrics.render();
        let mut types: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        types.retain(|line| line.starts_with("zookeeper_operator_"));
        let document = include_str!("../../../docs/monitoring.md");
        let rows = document.lines().filter(|line| line.starts_with("| `zookeeper_operator_"));
        let listed: Vec<String> = rows
            .map(|row| {
                let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                let name = cells[1].trim_matches('`').split('{').next().unwrap_or_default();
                format!("{name} {}", cells[2])
            })
            .collect();
        assert_eq!(listed.iter().map(String::as_str).collect::<BTreeSet<_>>(), types);
    }

    #[test]
    fn a_process_tells_of_itself() {
        let metrics = Metrics::default();
        metrics.pass("ok", Duration::from_millis(20));
        metrics.step("apply");
        metrics.api_error(Some(403));
        metrics.api_error(None);
        metrics.lease(true);
        let text = metrics.render();
        for line in [
            "zookeeper_operator_reconcile_total{result=\"ok\"} 1",
            "zookeeper_operator_reconcile_duration_seconds_bucket{le=\"0.03\"} 1",
            "zookeeper_operator_steps_total{step=\"apply\"} 1",
            "zookeeper_operator_api_errors_total{code=\"403\"} 1",
            "zookeeper_operator_api_errors_total{code=\"none\"} 1",
            "zookeeper_operator_lease_held 1",
            concat!("zookeeper_operator_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|got| got == line), "no {line} in\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes "));
    }
}
