//! A summary metric: count and sum for ever, quantiles over the last ten minutes, as ZooKeeper exports them.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily, MetricType};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How far back quantiles look.
const WINDOW: Duration = Duration::from_secs(600);
/// Samples kept for the quantiles; of more, the newest count.
const SAMPLES_MAX: usize = 4096;

/// Which quantiles are exported (`MetricsContext.DetailLevel`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Detail {
    /// The median.
    Basic,
    /// The median, the 90th and the 99th percentile.
    Advanced,
}

/// A distribution of samples. Clones share it.
#[derive(Clone)]
pub(crate) struct Summary {
    name: &'static str,
    detail: Detail,
    desc: Desc,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    recent: VecDeque<(Instant, f64)>,
}

/// A distribution at one moment.
pub(crate) struct Snapshot {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// (quantile, value); NaN without samples.
    pub(crate) quantiles: Vec<(f64, f64)>,
}

impl Summary {
    pub(crate) fn new(name: &'static str, detail: Detail) -> prometheus::Result<Summary> {
        let desc = Desc::new(name.to_owned(), name.to_owned(), Vec::new(), HashMap::new())?;
        Ok(Summary { name, detail, desc, state: Arc::default() })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Adds a sample.
    pub(crate) fn observe(&self, value: f64) {
        let mut state = self.state();
        state.min = if state.count == 0 { value } else { state.min.min(value) };
        state.max = if state.count == 0 { value } else { state.max.max(value) };
        state.count += 1;
        state.sum += value;
        if state.recent.len() == SAMPLES_MAX {
            state.recent.pop_front();
        }
        state.recent.push_back((Instant::now(), value));
    }

    /// Adds a duration, in milliseconds.
    pub(crate) fn observe_ms(&self, value: Duration) {
        self.observe(value.as_secs_f64() * 1000.0);
    }

    /// What has been observed.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut state = self.state();
        let now = Instant::now();
        while state.recent.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            state.recent.pop_front();
        }
        let mut values: Vec<f64> = state.recent.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        let quantiles: &[f64] = match self.detail {
            Detail::Basic => &[0.5],
            Detail::Advanced => &[0.5, 0.9, 0.99],
        };
        Snapshot {
            count: state.count,
            sum: state.sum,
            min: state.min,
            max: state.max,
            quantiles: quantiles.iter().map(|q| (*q, quantile(&values, *q))).collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The nearest rank.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

impl Collector for Summary {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let snapshot = self.snapshot();
        let mut summary = proto::Summary::default();
        summary.set_sample_count(snapshot.count);
        summary.set_sample_sum(snapshot.sum);
        let quantiles = snapshot.quantiles.iter().map(|(quantile, value)| {
            let mut entry = proto::Quantile::default();
            entry.set_quantile(*quantile);
            entry.set_value(*value);
            entry
        });
        summary.set_quantile(quantiles.collect());
        let mut metric = proto::Metric::default();
        metric.set_summary(summary);
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.name.to_owned());
        family.set_field_type(MetricType::SUMMARY);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([0.5, 0.9, 0.99].map(|q| quantile(&values, q)), [50.0, 90.0, 99.0]);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn count_sum_and_extremes_are_for_ever() {
        let summary = Summary::new("fsynctime", Detail::Basic).unwrap();
        for value in 0..SAMPLES_MAX as u64 + 10 {
            summary.observe(value as f64);
        }
        let snapshot = summary.snapshot();
        assert_eq!((snapshot.count, snapshot.min, snapshot.max), (4106, 0.0, 4105.0));
        assert_eq!(snapshot.quantiles[0].1, 2057.0);
    }
}
