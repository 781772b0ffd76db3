//! The pause monitor: notices when the process, its loop or its disk stands still, and says why.
//!
//! ```text
//!   pause-monitor thread: sleeps, and finds out how late it was woken ────────────┐
//!   loop: each turn that took too long; a beat that came too late ──► noticed ──► attribute ──► log, metrics, /status
//!   disk thread: each fsync that took too long ─────────────────────► noticed ──►    ▲
//!   kernel: quota used up, memory short, CPU stolen, as counted meanwhile ───────────┘
//! ```
//!
//! There is no garbage collector to pause this process, but the machine can: a starved CPU, a stopped process, a host that
//! migrates. `jvm_pause_time_ms` and `jvm.pause.*` are ZooKeeper's (`JvmPauseMonitor.java`); a pause longer than
//! `ensemble.pause.thresholdMs` is put down to a cause. Differs from ZooKeeper: on by default, and measured on
//! the monotonic clock, so that a step of the wall clock is no pause.
//!
//! One pause is noticed by several: a stopped process by the monitor and the loop, a long turn by itself and the beat behind it. What
//! lies for half of it within a pause that was told already is not told again.

mod cause;
mod ledger;
mod machine;

use crate::config::PauseMonitor;
use crate::driver::Driver;
use crate::metrics::{Metrics, Sample};
use cause::{Evidence, What, attribute};
use ledger::{Ledger, Span};
use machine::Reading;
use std::collections::VecDeque;
use std::panic::Location;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) use ledger::{Pause, PauseBody};

/// What waits to be attributed; more is forgotten, and would be of the same pause.
const NOTICED_MAX: usize = 64;
/// The kernel's counters are read so often; a pause is judged by what was counted since the reading before it.
const READING_INTERVAL: Duration = Duration::from_millis(500);
/// For how long it is remembered what the monitor saw.
const KEPT: Duration = Duration::from_secs(60);
/// Lines of the log in a minute; the next one says how many there would have been.
const LINES_PER_MINUTE_MAX: u32 = 10;

/// Who noticed a pause, beside the monitor itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Witness {
    /// A turn of the loop, which began there.
    Turn(&'static Location<'static>),
    /// The loop's beat: something between turns.
    Beat,
    /// The disk thread.
    Fsync,
}

#[derive(Clone, Copy, Debug)]
struct Noticed {
    span: Span,
    by: Witness,
}

/// What threads notice, and what came of it.
pub(crate) struct Pauses {
    origin: Instant,
    /// Shorter ones are none; `None` when nobody monitors.
    threshold: Option<Duration>,
    noticed: Mutex<VecDeque<Noticed>>,
    ledger: Mutex<Ledger>,
}

impl Pauses {
    pub(crate) fn new(monitor: Option<&PauseMonitor>) -> Pauses {
        Pauses {
            origin: Instant::now(),
            threshold: monitor.map(|monitor| monitor.threshold),
            noticed: Mutex::default(),
            ledger: Mutex::default(),
        }
    }

    /// Something has just ended that took so long.
    pub(crate) fn notice(&self, took: Duration, by: Witness) {
        if self.threshold.is_some_and(|threshold| took > threshold) {
            let ended = self.origin.elapsed();
            let span = Span { began: ended.saturating_sub(took), ended };
            let mut noticed = lock(&self.noticed);
            if noticed.len() < NOTICED_MAX {
                noticed.push_back(Noticed { span, by });
            }
        }
    }

    /// The last pauses, the newest last.
    pub(crate) fn last(&self) -> Vec<Pause> {
        lock(&self.ledger).last().cloned().collect()
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        lock(&self.ledger).samples(self.origin.elapsed())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often the monitor and the loop look at the clock: often enough to see half of a pause that counts.
fn interval(threshold: Duration) -> Duration {
    (threshold / 2).max(Duration::from_millis(1))
}

/// Beats, for ever: a beat that comes too late tells that the loop was held up.
pub(crate) async fn beat(driver: Rc<Driver>) {
    let pauses = &driver.metrics.pauses;
    let Some(threshold) = pauses.threshold else { return };
    loop {
        let due = Instant::now() + interval(threshold);
        tokio::time::sleep_until(due.into()).await;
        pauses.notice(due.elapsed(), Witness::Beat);
    }
}

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
    let thread = std::thread::Builder::new().name("pause-monitor".to_owned());
    thread.spawn(move || run(config, &metrics, &stopped))?;
    Ok(Handle { _stop: stop })
}

fn run(config: PauseMonitor, metrics: &Metrics, stopped: &Receiver<()>) {
    let pauses = &metrics.pauses;
    let interval = interval(config.threshold).min(config.sleep);
    let mut monitor = Monitor::new(config, Reading::take());
    loop {
        let due = pauses.origin.elapsed() + interval;
        if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let now = pauses.origin.elapsed();
        if let Some(latest) = monitor.woke(Span { began: due.min(now), ended: now }) {
            metrics.jvm_pause_time_ms.observe_ms(latest);
        }
        let noticed: Vec<_> = lock(&pauses.noticed).drain(..).collect();
        for pause in monitor.judge(now, &noticed, Reading::take) {
            monitor.tell(&pause);
            lock(&pauses.ledger).record(pause);
        }
    }
}

/// The thread's memory.
struct Monitor {
    config: PauseMonitor,
    /// How late it was woken last.
    late: Span,
    /// When it did not run, the newest last.
    asleep: VecDeque<Span>,
    /// The greatest lateness since then, and when that was.
    latest: Duration,
    counting_since: Duration,
    /// The kernel's counters, and when they were read; the newest last.
    readings: VecDeque<(Duration, Reading)>,
    /// Pauses that were told, and what stood still.
    told: VecDeque<(What, Span)>,
    lines: Lines,
}

impl Monitor {
    fn new(config: PauseMonitor, first: Reading) -> Monitor {
        Monitor {
            config,
            late: Span { began: Duration::ZERO, ended: Duration::ZERO },
            asleep: VecDeque::new(),
            latest: Duration::ZERO,
            counting_since: Duration::ZERO,
            readings: [(Duration::ZERO, first)].into(),
            told: VecDeque::new(),
            lines: Lines::default(),
        }
    }

    /// The thread was woken so late. Once in `jvm.pause.sleep.time.ms`: the greatest lateness since the last time.
    fn woke(&mut self, late: Span) -> Option<Duration> {
        self.late = late;
        self.latest = self.latest.max(late.len());
        self.asleep.push_back(late);
        while self.asleep.pop_front_if(|span| span.ended + KEPT < late.ended).is_some() {}
        let is_over = late.ended >= self.counting_since + self.config.sleep;
        is_over.then(|| {
            self.counting_since = late.ended;
            std::mem::take(&mut self.latest)
        })
    }

    /// Which pauses there were, each once. `read` is called when the kernel's counters are needed.
    fn judge(&mut self, now: Duration, noticed: &[Noticed], read: impl Fn() -> Reading) -> Vec<Pause> {
        let own = (self.late.len() > self.config.threshold).then_some((What::Process, self.late, None));
        let of_others = noticed.iter().map(|Noticed { span, by }| match by {
            Witness::Turn(place) => (What::Loop, *span, Some(format!("{}:{}", place.file(), place.line()))),
            Witness::Beat => (What::Loop, *span, None),
            Witness::Fsync => (What::Fsync, *span, None),
        });
        let candidates: Vec<_> = own.into_iter().chain(of_others).collect();
        if candidates.is_empty() && self.readings.back().is_some_and(|(at, _)| now < *at + READING_INTERVAL) {
            return Vec::new();
        }
        let reading = read();
        let mut pauses = Vec::new();
        for (what, span, place) in candidates {
            if self.is_told(what, span) {
                continue;
            }
            let machine = self.reading_before(span.began).map_or_else(Default::default, |before| reading.since(before));
            let asleep = self.asleep.iter().map(|asleep| asleep.overlap(span)).sum();
            let cause = attribute(&Evidence { what, pause: span.len(), asleep, machine });
            self.told.push_back((what, span));
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            pauses.push(Pause { cause, span, ended_ms: wall.as_millis() as i64, machine, place });
        }
        self.readings.push_back((now, reading));
        while self.readings.pop_front_if(|(at, _)| *at + KEPT < now).is_some() {}
        while self.told.pop_front_if(|(_, span)| span.ended + KEPT < now).is_some() {}
        pauses
    }

    /// The last reading before something began, or the first there is.
    fn reading_before(&self, began: Duration) -> Option<Reading> {
        let after = self.readings.partition_point(|(at, _)| *at <= began);
        self.readings.get(after.saturating_sub(1)).map(|(_, reading)| *reading)
    }

    /// Whether half of it lies within a pause of the process, or of the same thing, that was told.
    fn is_told(&self, what: What, span: Span) -> bool {
        let of_it = self.told.iter().filter(|(told, _)| *told == What::Process || *told == what);
        of_it.map(|(_, told)| told.overlap(span)).sum::<Duration>() * 2 >= span.len()
    }

    /// One line, unless there were too many.
    fn tell(&mut self, pause: &Pause) {
        let Some(left_out) = self.lines.next(pause.span.ended) else { return };
        let ms = |duration: Duration| duration.as_millis() as u64;
        let (cause, place) = (pause.cause.name(), pause.place.as_deref());
        let machine = pause.machine;
        let (throttled_ms, reclaim_ms, stolen_ms) = (ms(machine.throttled), ms(machine.reclaim), ms(machine.stolen));
        let elapsed_ms = ms(pause.span.len());
        let left_out = (left_out > 0).then_some(left_out);
        match pause.span.len() > self.config.warn_threshold {
            true => tracing::warn!(elapsed_ms, cause, place, throttled_ms, reclaim_ms, stolen_ms, left_out, "a pause"),
            false => tracing::info!(elapsed_ms, cause, place, throttled_ms, reclaim_ms, stolen_ms, left_out, "a pause"),
        }
    }
}

/// How many lines there were in this minute.
#[derive(Default)]
struct Lines {
    minute: u64,
    written: u32,
    left_out: u64,
}

impl Lines {
    /// Whether there may be one more; then how many were left out since the last.
    fn next(&mut self, now: Duration) -> Option<u64> {
        let minute = now.as_secs() / 60;
        if minute != self.minute {
            (self.minute, self.written) = (minute, 0);
        }
        if self.written == LINES_PER_MINUTE_MAX {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cause::{Cause, Machine};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn span(began: u64, ended: u64) -> Span {
        Span { began: ms(began), ended: ms(ended) }
    }

    fn monitor() -> Monitor {
        let config = PauseMonitor { sleep: ms(500), warn_threshold: ms(10_000), threshold: ms(100) };
        Monitor::new(config, Reading::default())
    }

    /// What is told after the monitor was woken so late and others noticed these, with counters that never move.
    fn judge(monitor: &mut Monitor, late: (u64, u64), noticed: &[(u64, u64, Witness)]) -> Vec<(Cause, u128)> {
        monitor.woke(span(late.0, late.1));
        let noticed: Vec<_> =
            noticed.iter().map(|&(began, ended, by)| Noticed { span: span(began, ended), by }).collect();
        let pauses = monitor.judge(ms(late.1), &noticed, Reading::default);
        pauses.iter().map(|pause| (pause.cause, pause.span.len().as_millis())).collect()
    }

    #[test]
    fn a_pause_of_the_process_is_told_once_whoever_notices_it() {
        use Witness::{Beat, Fsync};
        let mut monitor = monitor();
        let beat = (1000, 1720, Beat);
        assert_eq!(judge(&mut monitor, (1010, 1720), &[beat, (990, 1720, Fsync)]), [(Cause::Stopped, 710)]);
        assert_eq!(judge(&mut monitor, (1770, 1770), &[beat]), [], "noticed a little later");
        assert_eq!(judge(&mut monitor, (1820, 1820), &[(1700, 1815, Fsync)]), [(Cause::Fsync, 115)]);
    }

    #[test]
    fn a_long_turn_is_one_pause_with_its_place() {
        let place = Location::caller();
        let mut monitor = monitor();
        monitor.woke(span(1150, 1150));
        let turn = Noticed { span: span(1000, 1140), by: Witness::Turn(place) };
        let beat = Noticed { span: span(1020, 1141), by: Witness::Beat };
        let pauses = monitor.judge(ms(1150), &[turn, beat], Reading::default);
        assert_eq!(pauses.len(), 1);
        assert_eq!(pauses[0].cause, Cause::StalledLoop);
        assert_eq!(pauses[0].place, Some(format!("{}:{}", file!(), place.line())));
    }

    /// The monitor sleeps for half the threshold, so it may wake within a pause that the loop sees whole.
    #[test]
    fn the_loop_is_not_blamed_for_what_held_up_the_monitor_too() {
        let mut monitor = monitor();
        assert_eq!(judge(&mut monitor, (1045, 1125), &[(1010, 1125, Witness::Beat)]), [(Cause::Stopped, 115)]);
        assert_eq!(judge(&mut monitor, (1175, 1175), &[(1130, 1240, Witness::Beat)]), [(Cause::StalledLoop, 110)]);
    }

    #[test]
    fn a_pause_is_judged_by_what_was_counted_since_it_began() {
        let mut monitor = monitor();
        let throttled = |throttled| move || Reading::of(Machine { throttled: ms(throttled), ..Machine::default() });
        for (at, counted) in [(600, 0), (1200, 100), (1800, 500)] {
            monitor.woke(span(at, at));
            assert!(monitor.judge(ms(at), &[], throttled(counted)).is_empty());
        }
        let mut judge = |began, ended| {
            let beat = Noticed { span: span(began, ended), by: Witness::Beat };
            let pauses = monitor.judge(ms(ended), &[beat], throttled(500));
            (pauses[0].cause, pauses[0].machine.throttled)
        };
        assert_eq!(judge(1300, 1790), (Cause::CpuThrottling, ms(400)), "what was counted up to 1200 is of before");
        assert_eq!(judge(1810, 2300), (Cause::StalledLoop, ms(0)));
    }

    #[test]
    fn zookeepers_metric_is_the_greatest_lateness_of_each_sleep() {
        let mut monitor = monitor();
        let woke: Vec<_> = [(50, 60), (110, 375), (425, 430), (480, 510), (560, 561)]
            .map(|(due, at)| monitor.woke(span(due, at)))
            .into();
        assert_eq!(woke, [None, None, None, Some(ms(265)), None]);
    }

    #[test]
    fn ten_lines_a_minute_are_enough() {
        let mut lines = Lines::default();
        let told = (0..15).filter(|_| lines.next(Duration::from_secs(30)).is_some()).count();
        assert_eq!(told, 10);
        assert_eq!(lines.next(Duration::from_secs(61)), Some(5));
    }

    #[test]
    fn nobody_notices_without_a_monitor_and_so_many_with_one() {
        let off = Pauses::new(None);
        off.notice(Duration::from_secs(9), Witness::Beat);
        assert_eq!(lock(&off.noticed).len(), 0);
        let on = Pauses::new(Some(&monitor().config));
        on.notice(ms(100), Witness::Beat);
        assert_eq!(lock(&on.noticed).len(), 0, "not longer than the threshold");
        for _ in 0..NOTICED_MAX + 5 {
            on.notice(ms(101), Witness::Beat);
        }
        assert_eq!(lock(&on.noticed).len(), NOTICED_MAX);
    }
}
