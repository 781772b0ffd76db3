//! A thread that sleeps and finds out how late it was woken (`JvmPauseMonitor.java`).
//!
//! There is no garbage collector to pause this process, but the machine can: a starved CPU, a stopped process, a host that
//! migrates. The metric and the thresholds keep ZooKeeper's names. Differs from ZooKeeper: on by default, and measured on
//! the monotonic clock, so that a step of the wall clock is no pause.

use crate::config::PauseMonitor;
use crate::metrics::Metrics;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Ends the thread when dropped.
pub(crate) struct Handle {
    _stop: Sender<()>,
}

/// Starts the thread.
///
/// # Errors
/// When the system has no thread left.
pub(crate) fn start(config: PauseMonitor, metrics: Arc<Metrics>) -> std::io::Result<Handle> {
    let (stop, stopped) = channel();
    let monitor = std::thread::Builder::new().name("pause-monitor".to_owned());
    monitor.spawn(move || run(&config, &metrics, &stopped))?;
    Ok(Handle { _stop: stop })
}

fn run(config: &PauseMonitor, metrics: &Metrics, stopped: &Receiver<()>) {
    loop {
        let started = Instant::now();
        if stopped.recv_timeout(config.sleep) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let pause = started.elapsed().saturating_sub(config.sleep);
        metrics.jvm_pause_time_ms.observe_ms(pause);
        let elapsed_ms = pause.as_millis() as u64;
        match level(config, pause) {
            Some(Level::Warn) => tracing::warn!(elapsed_ms, "the process was paused"),
            Some(Level::Info) => tracing::info!(elapsed_ms, "the process was paused"),
            None => {}
        }
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Level {
    Info,
    Warn,
}

fn level(config: &PauseMonitor, pause: Duration) -> Option<Level> {
    if pause > config.warn_threshold {
        Some(Level::Warn)
    } else if pause > config.info_threshold {
        Some(Level::Info)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_counts_when_it_is_longer_than_a_threshold() {
        let ms = Duration::from_millis;
        let config = PauseMonitor { sleep: ms(500), info_threshold: ms(1000), warn_threshold: ms(10_000) };
        for (pause, expected) in [
            (0, None),
            (1000, None),
            (1001, Some(Level::Info)),
            (10_000, Some(Level::Info)),
            (10_001, Some(Level::Warn)),
        ] {
            assert_eq!(level(&config, ms(pause)), expected, "{pause} ms");
        }
    }
}
