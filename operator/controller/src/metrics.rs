//! The operator's own figures, in Prometheus' text format.

use std::time::Duration;

use prometheus::{Encoder, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// Figures of this process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    passes: IntCounterVec,
    pass_seconds: Histogram,
    steps: IntCounterVec,
    lease_held: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let passes = IntCounterVec::new(
            Opts::new("zookeeper_operator_reconcile_total", "Passes over an ensemble, by how they ended"),
            &["result"],
        )
        .expect("a valid name");
        let pass_seconds = Histogram::with_opts(
            HistogramOpts::new("zookeeper_operator_reconcile_duration_seconds", "Time that a pass took")
                .buckets(vec![0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
        )
        .expect("a valid name");
        let steps = IntCounterVec::new(
            Opts::new("zookeeper_operator_steps_total", "Steps that were carried out, by kind"),
            &["step"],
        )
        .expect("a valid name");
        let lease_held =
            IntGauge::new("zookeeper_operator_lease_held", "1 while this process looks after the ensembles")
                .expect("a valid name");
        for collector in [
            Box::new(passes.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(pass_seconds.clone()),
            Box::new(steps.clone()),
            Box::new(lease_held.clone()),
        ] {
            registry.register(collector).expect("each name is registered once");
        }
        Self { registry, passes, pass_seconds, steps, lease_held }
    }
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

    /// Whether this process holds the lease.
    pub fn lease(&self, held: bool) {
        self.lease_held.set(i64::from(held));
    }

    /// The text of `/metrics`.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing to memory does not fail");
        String::from_utf8(text).expect("the format is text")
    }
}
