//! Metrics under ZooKeeper's names (`ServerMetrics.java` and the gauges of `ZooKeeperServer`) and this server's own; [`table`] is the list.
//!
//! What the peer counts and measures is read at each scrape from a [`Report`]; what only the shell sees is counted here, by whatever
//! thread sees it. `GET /metrics` and `mntr` show the same samples. Gauges of a role exist only in that role, as dashboards expect:
//! `leader_uptime` is absent on a follower, and everything about the tree is absent while nobody is served.

mod process;
mod report;
mod sample;
pub mod table;

use crate::pause::Pauses;
use crate::report::Figures;
use ensemble_proto::Summary;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use process::Volumes;
#[cfg(test)]
pub(crate) use sample::exposition as exposition_of;
pub(crate) use sample::{Sample, four_decimals};

/// A number that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn inc(&self) {
        self.inc_by(1);
    }

    pub(crate) fn inc_by(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A distribution that any thread may add to.
pub(crate) struct Shared {
    origin: Instant,
    summary: Mutex<Summary>,
}

impl Shared {
    fn new(origin: Instant) -> Shared {
        Shared { origin, summary: Mutex::default() }
    }

    /// Adds a sample.
    pub(crate) fn observe(&self, value: f64) {
        self.summary().observe(self.origin.elapsed(), value);
    }

    /// Adds a duration, in milliseconds.
    pub(crate) fn observe_ms(&self, value: Duration) {
        self.observe_ms_times(value, 1);
    }

    /// Adds as many samples of one duration, in milliseconds.
    pub(crate) fn observe_ms_times(&self, value: Duration, times: usize) {
        self.summary().observe_times(self.origin.elapsed(), value.as_secs_f64() * 1000.0, times as u64);
    }

    fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sample(&self, name: &'static str) -> Sample {
        Sample::summary(name, &self.summary(), self.origin.elapsed())
    }
}

/// Declares what the shell counts and measures, each under its metric's name.
macro_rules! shell {
    (counters { $($counter:ident,)* } summaries { $($summary:ident,)* }) => {
        /// What the shell counts and measures. What each means is in [`table::TABLE`].
        pub(crate) struct Metrics {
            volumes: Volumes,
            pub(crate) pauses: Pauses,
            /// Of `connection_rejected` those that the client port refused.
            pub(crate) connections_refused: Counter,
            $(pub(crate) $counter: Counter,)*
            $(pub(crate) $summary: Shared,)*
        }

        impl Metrics {
            pub(crate) fn new(volumes: Volumes, pauses: Pauses) -> Metrics {
                let origin = Instant::now();
                Metrics {
                    volumes,
                    pauses,
                    connections_refused: Counter::default(),
                    $($counter: Counter::default(),)*
                    $($summary: Shared::new(origin),)*
                }
            }

            fn of_shell(&self) -> Vec<Sample> {
                vec![
                    $(Sample::count(stringify!($counter), self.$counter.get()),)*
                    $(self.$summary.sample(stringify!($summary)),)*
                ]
            }
        }
    };
}

shell! {
    counters {
        connection_request_count,
        connection_drop_count,
        bytes_received_count,
        sync_processor_request_queued,
        fsync_threshold_exceed_count,
        snapshot_error_count,
        snapshot_rate_limited_count,
        restore_rate_limited_count,
        restore_error_count,
        ensemble_requests_too_large_total,
        unsuccessful_handshake,
        insecure_admin_count,
    }
    summaries {
        fsynctime,
        snapshottime,
        dbinittime,
        startup_snap_load_time,
        startup_txns_load_time,
        startup_txns_loaded,
        sync_process_time,
        sync_processor_batch_size,
        sync_processor_queue_size,
        sync_processor_queue_time_ms,
        sync_processor_queue_flush_time_ms,
        sync_processor_queue_and_flush_time_ms,
        jvm_pause_time_ms,
    }
}

impl Metrics {
    /// A sync of the transaction log took so long; whether that is longer than `threshold`, which is counted.
    pub(crate) fn record_fsync(&self, took: Duration, threshold: Duration) -> bool {
        self.fsynctime.observe_ms(took);
        let is_slow = took > threshold;
        self.fsync_threshold_exceed_count.inc_by(u64::from(is_slow));
        is_slow
    }

    /// The text of `GET /metrics`. Without figures (the driver does not answer) only what the shell sees. `is_full` with `process_*` and
    /// `jvm_*`. Of `names` only, unless there are none.
    pub(crate) fn exposition(&self, figures: Option<&Figures>, is_full: bool, names: &BTreeSet<String>) -> String {
        let mut samples = self.samples(figures);
        if is_full {
            samples.extend(process::foreign_samples());
        }
        sample::exposition(&samples, names)
    }

    /// The lines of `mntr` after version and state: the same but for what is not of this server (`process_*`, `jvm_*`).
    pub(crate) fn monitor(&self, figures: &Figures) -> String {
        sample::monitor(&self.samples(Some(figures)))
    }

    fn samples(&self, figures: Option<&Figures>) -> Vec<Sample> {
        let mut samples = figures.map_or_else(Vec::new, report::samples);
        samples.extend(figures.map(|figures| {
            let refused = self.connections_refused.get() + figures.measures.connections_throttled;
            Sample::count("connection_rejected", refused)
        }));
        samples.extend(self.of_shell());
        samples.extend(self.pauses.samples());
        samples.extend(process::samples(&self.volumes));
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_sync_beyond_the_threshold_is_counted() {
        let metrics = Metrics::new(Volumes::new(Path::new("/"), Path::new("/")), Pauses::new(None));
        let ms = Duration::from_millis;
        assert_eq!([10, 11].map(|took| metrics.record_fsync(ms(took), ms(10))), [false, true]);
        let text = metrics.exposition(None, true, &BTreeSet::new());
        for line in ["fsync_threshold_exceed_count 1", "fsynctime_count 2", "fsynctime_sum 21"] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn what_is_of_every_process_can_be_left_out() {
        let metrics = Metrics::new(Volumes::new(Path::new("/"), Path::new("/")), Pauses::new(None));
        for (is_full, expected) in [(true, true), (false, false)] {
            let text = metrics.exposition(None, is_full, &BTreeSet::new());
            for name in ["\nprocess_resident_memory_bytes ", "\njvm_memory_bytes_used{area=\"heap\"} "] {
                assert_eq!(text.contains(name), expected, "{name} in\n{text}");
            }
            assert!(text.contains("open_file_descriptor_count"));
        }
    }

    #[test]
    fn a_volume_that_is_not_there_has_no_room_to_show() {
        let metrics = Metrics::new(Volumes::new(Path::new("/"), Path::new("/no/such/volume")), Pauses::new(None));
        let text = metrics.exposition(None, true, &BTreeSet::new());
        assert!(text.contains("ensemble_volume_size_bytes{volume=\"data\"}"), "{text}");
        assert!(!text.contains("{volume=\"log\"}"), "{text}");
    }
}
