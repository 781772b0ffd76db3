//! A thread that notices when the disk does not answer any more.
//!
//! A call that hangs in the kernel returns no error. The disk thread waits, nothing becomes durable, and the server would
//! go on holding its office with pings that need no disk. So a group that takes longer than `syncLimit` ticks (and a second for each
//! MiB that it writes, or reads for a truncation) ends the process of an ensemble's server (code 10), as a failed sync does: its peers notice at once and go on
//! without it. A server without peers has nobody to give way to: it says so, and waits.
//!
//! What is measured is time in which this thread was awake too: a process that was stopped, or a host that slept, is no slow disk.

use crate::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How much longer a MiB may take.
const PER_MIB: Duration = Duration::from_secs(1);
/// Looks within a limit.
const LOOKS: u32 = 10;

/// What the disk thread works on: the number of the group, and how much it has been asked for in bytes; even numbers stand for nothing.
#[derive(Default)]
pub(crate) struct Work {
    group: AtomicU64,
    bytes: AtomicU64,
}

impl Work {
    pub(crate) fn begin(&self) {
        self.bytes.store(0, Ordering::Release);
        self.group.fetch_add(1, Ordering::Release);
    }

    /// The group grows: so many bytes are to be written or read.
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.group.fetch_add(1, Ordering::Release);
    }
}

/// Ends the thread when dropped.
pub(crate) struct Watchdog {
    _stop: Sender<()>,
}

impl Watchdog {
    /// Starts the thread. It ends the process of a server that has peers.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn start(work: Arc<Work>, limit: Duration, has_peers: bool) -> std::io::Result<Watchdog> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("disk-watchdog".to_owned());
        thread.spawn(move || watch(&work, limit, has_peers, &stopped))?;
        Ok(Watchdog { _stop: stop })
    }
}

fn watch(work: &Work, limit: Duration, has_peers: bool, stopped: &Receiver<()>) {
    let interval = limit / LOOKS;
    let mut stall = Stall { limit, step_max: 2 * interval, ..Stall::default() };
    loop {
        let started = Instant::now();
        if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let (group, mib) = (work.group.load(Ordering::Acquire), work.bytes.load(Ordering::Acquire) >> 20);
        if work.group.load(Ordering::Relaxed) != group {
            continue;
        }
        if let Some(waited) = stall.look(group, mib, started.elapsed()) {
            let elapsed_ms = waited.as_millis() as u64;
            if has_peers {
                tracing::error!(
                    elapsed_ms,
                    "the disk does not answer: this server gives up, its peers go on without it"
                );
                exit::now(exit::DISK);
            }
            tracing::error!(elapsed_ms, "the disk does not answer: nothing is written until it does");
        }
    }
}

/// How long the disk thread has been at the same group.
#[derive(Default)]
struct Stall {
    limit: Duration,
    /// The most that counts between two looks.
    step_max: Duration,
    group: u64,
    waited: Duration,
    is_reported: bool,
}

impl Stall {
    /// What a look shows, `passed` after the one before: how long the group has taken, once, when that is too long.
    fn look(&mut self, group: u64, mib: u64, passed: Duration) -> Option<Duration> {
        if group.is_multiple_of(2) || group != self.group {
            (self.group, self.waited, self.is_reported) = (group, Duration::ZERO, false);
            return None;
        }
        self.waited += passed.min(self.step_max);
        let is_late = self.waited > self.limit + PER_MIB * u32::try_from(mib).unwrap_or(u32::MAX);
        (is_late && !std::mem::replace(&mut self.is_reported, is_late)).then_some(self.waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stall() -> Stall {
        Stall { limit: 10 * SECOND, step_max: 2 * SECOND, ..Stall::default() }
    }

    /// Looks once a second at one group after another, and says after how many seconds each was too late.
    fn check(groups: &[(u64, u64)], seconds: u64, expected: Option<u64>) {
        let mut stall = stall();
        let mut late = None;
        for second in 0..seconds {
            let (group, mib) = groups[second as usize % groups.len()];
            if stall.look(group, mib, SECOND).is_some() {
                assert_eq!(late.replace(second), None, "reported once");
            }
        }
        assert_eq!(late, expected, "{groups:?}");
    }

    #[test]
    fn a_group_that_takes_longer_than_the_limit_is_reported_once() {
        check(&[(7, 0)], 100, Some(11));
        check(&[(7, 20)], 100, Some(31));
    }

    #[test]
    fn groups_that_follow_each_other_and_idleness_are_no_stall() {
        check(&[(7, 0), (9, 0)], 100, None);
        check(&[(8, 0)], 100, None);
    }

    #[test]
    fn time_in_which_nothing_ran_does_not_count() {
        let mut stall = stall();
        stall.look(7, 0, SECOND);
        for _ in 0..5 {
            assert_eq!(stall.look(7, 0, 1000 * SECOND), None);
        }
        assert_eq!(stall.look(7, 0, SECOND), Some(11 * SECOND));
    }
}
