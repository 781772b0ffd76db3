//! A distribution of measurements, as every crate that measures keeps it: count and sum for ever, quantiles over the last ten minutes.
//!
//! Time is an argument. A sample costs the look-up of its bucket, and none when it falls into the same one as the sample before it: sixteen buckets for each power of two, of which only those exist
//! that were hit, so a summary is small and needs no limit of its own. A bucket knows the mean of its samples, so that a quantile of equal
//! samples is exact; otherwise it is off by the width of a bucket, a sixteenth.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Quantiles look back over so many windows (`ageBuckets` of ZooKeeper's Prometheus client) ...
const WINDOWS: usize = 5;
/// ... of this length.
const WINDOW: Duration = Duration::from_secs(120);

/// A distribution of samples.
#[derive(Clone, Default, Debug)]
pub struct Summary {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    /// The newest last.
    windows: VecDeque<Window>,
}

/// What was observed within one stretch of time.
#[derive(Clone, Debug)]
struct Window {
    began: Duration,
    buckets: BTreeMap<u16, Bucket>,
    max: f64,
    /// The bucket of the newest samples, as far as they are not in `buckets`: whatever is measured often comes in runs.
    newest: (u16, Bucket),
}

#[derive(Clone, Copy, Default, Debug)]
struct Bucket {
    count: u64,
    sum: f64,
}

impl Summary {
    /// Adds a sample. One that is negative or no number counts as 0.
    pub fn observe(&mut self, now: Duration, value: f64) {
        self.observe_times(now, value, 1);
    }

    /// Adds a duration, in milliseconds.
    pub fn observe_ms(&mut self, now: Duration, value: Duration) {
        self.observe(now, value.as_secs_f64() * 1000.0);
    }

    /// Adds as many samples of one value; none is no sample.
    pub fn observe_times(&mut self, now: Duration, value: f64, times: u64) {
        if times == 0 {
            return;
        }
        let value = value.max(0.0);
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += times;
        self.sum += value * times as f64;
        let window = self.window(now);
        window.max = window.max.max(value);
        window.add(bucket(value), Bucket { count: times, sum: value * times as f64 });
    }

    /// The window that `now` belongs to; those that are too old are forgotten.
    fn window(&mut self, now: Duration) -> &mut Window {
        if self.windows.back().is_none_or(|last| now >= last.began + WINDOW) {
            if self.windows.len() == WINDOWS {
                self.windows.pop_front();
            }
            self.windows.push_back(Window {
                began: now,
                buckets: BTreeMap::new(),
                max: 0.0,
                newest: (0, Bucket::default()),
            });
        }
        let last = self.windows.len() - 1;
        &mut self.windows[last]
    }

    /// Samples so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The least; 0 without samples.
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The greatest; 0 without samples.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The greatest of the last ten minutes; 0 without samples.
    pub fn recent_max(&self, now: Duration) -> f64 {
        self.recent(now).map(|window| window.max).fold(0.0, f64::max)
    }

    fn recent(&self, now: Duration) -> impl Iterator<Item = &Window> {
        self.windows.iter().filter(move |window| window.began + WINDOW * WINDOWS as u32 > now)
    }

    /// The values below which these shares of the last ten minutes' samples are, by nearest rank; NaN without samples.
    pub fn quantiles(&self, now: Duration, shares: &[f64]) -> Vec<f64> {
        let mut all: BTreeMap<u16, Bucket> = BTreeMap::new();
        for window in self.recent(now) {
            for (at, more) in window.buckets.iter().map(|(at, more)| (*at, *more)).chain([window.newest]) {
                all.entry(at).or_default().add(more);
            }
        }
        let count: u64 = all.values().map(|bucket| bucket.count).sum();
        let of = |share: f64| {
            let mut rest = ((share * count as f64).ceil() as u64).max(1);
            let reached = all.values().filter(|bucket| bucket.count > 0).find(|bucket| {
                let is_reached = rest <= bucket.count;
                rest = rest.saturating_sub(bucket.count);
                is_reached
            });
            reached.map_or(f64::NAN, |bucket| bucket.sum / bucket.count as f64)
        };
        shares.iter().map(|share| of(*share)).collect()
    }
}

impl Window {
    fn add(&mut self, at: u16, more: Bucket) {
        if self.newest.0 != at {
            let (former, samples) = std::mem::replace(&mut self.newest, (at, Bucket::default()));
            self.buckets.entry(former).or_default().add(samples);
        }
        self.newest.1.add(more);
    }
}

impl Bucket {
    fn add(&mut self, more: Bucket) {
        self.count += more.count;
        self.sum += more.sum;
    }
}

/// Exponent and four bits of the mantissa: ascending with the value, which is not negative.
fn bucket(value: f64) -> u16 {
    (value.to_bits() >> 48) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank_and_a_sixteenth_off_at_most() {
        let mut summary = Summary::default();
        assert!(summary.quantiles(at(0), &[0.5])[0].is_nan());
        for value in 1..=1000 {
            summary.observe(at(1), f64::from(value));
        }
        for (found, exact) in
            summary.quantiles(at(1), &[0.5, 0.9, 0.99, 1.0]).into_iter().zip([500.0, 900.0, 990.0, 1000.0])
        {
            assert!((found - exact).abs() <= exact / 16.0, "{found} for {exact}");
        }
        let mut summary = Summary::default();
        [3.0, 3.0, 700.0].into_iter().for_each(|value| summary.observe(at(1), value));
        assert_eq!(summary.quantiles(at(1), &[0.5, 0.99]), [3.0, 700.0], "equal samples are told exactly");
    }

    #[test]
    fn quantiles_forget_after_ten_minutes_and_count_sum_and_extremes_never() {
        let mut summary = Summary::default();
        summary.observe(at(0), 8.0);
        for minute in 1..30 {
            summary.observe(at(60 * minute), 2.0);
        }
        assert_eq!(summary.quantiles(at(60 * 29), &[1.0]), [2.0]);
        assert!(summary.quantiles(at(60 * 60), &[1.0])[0].is_nan());
        assert_eq!((summary.recent_max(at(0)), summary.recent_max(at(60 * 60))), (2.0, 0.0));
        assert_eq!((summary.count(), summary.sum(), summary.min(), summary.max()), (30, 66.0, 2.0, 8.0));
        assert!(summary.windows.len() <= WINDOWS, "the memory is bounded");
    }

    #[test]
    fn many_equal_samples_cost_one() {
        let mut summary = Summary::default();
        summary.observe_times(at(0), 0.25, 1000);
        summary.observe_times(at(0), 9.0, 0);
        assert_eq!((summary.count(), summary.sum(), summary.max()), (1000, 250.0, 0.25));
        summary.observe(at(0), -4.0);
        summary.observe(at(0), f64::NAN);
        assert_eq!((summary.count(), summary.sum(), summary.min()), (1002, 250.0, 0.0));
    }
}
