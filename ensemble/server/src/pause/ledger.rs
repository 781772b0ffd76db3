//! The pauses that were: how many, how long, and the last of them.

use super::cause::{Cause, Machine};
use crate::metrics::Sample;
use ensemble_proto::Summary;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// So many pauses are remembered, for `/status` and to tell whether one was noticed twice.
const LAST_MAX: usize = 16;

/// A stretch of time, since the origin of [`super::Pauses`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
}

impl Span {
    pub(crate) fn len(self) -> Duration {
        self.ended.saturating_sub(self.began)
    }

    /// How much of it is of the other too.
    pub(crate) fn overlap(self, other: Span) -> Duration {
        self.ended.min(other.ended).saturating_sub(self.began.max(other.began))
    }
}

/// A pause, and what it was put down to.
#[derive(Clone, Debug)]
pub(crate) struct Pause {
    pub(crate) cause: Cause,
    pub(crate) span: Span,
    /// When it was over, in milliseconds since 1970.
    pub(crate) ended_ms: i64,
    pub(crate) machine: Machine,
    /// What the loop was doing, as a place in the source, where that is known.
    pub(crate) place: Option<String>,
}

/// A pause in the body of `GET /status`.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PauseBody {
    cause: &'static str,
    elapsed_ms: u64,
    /// When it was over, in milliseconds since 1970.
    ended_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    throttled_ms: u64,
    reclaim_ms: u64,
    stolen_ms: u64,
}

impl From<&Pause> for PauseBody {
    fn from(pause: &Pause) -> PauseBody {
        let ms = |duration: Duration| duration.as_millis() as u64;
        let Machine { throttled, reclaim, stolen } = pause.machine;
        PauseBody {
            cause: pause.cause.name(),
            elapsed_ms: ms(pause.span.len()),
            ended_ms: pause.ended_ms,
            place: pause.place.clone(),
            throttled_ms: ms(throttled),
            reclaim_ms: ms(reclaim),
            stolen_ms: ms(stolen),
        }
    }
}

/// What is told of pauses.
#[derive(Default)]
pub(crate) struct Ledger {
    seconds: BTreeMap<Cause, Summary>,
    last: VecDeque<Pause>,
}

impl Ledger {
    pub(crate) fn record(&mut self, pause: Pause) {
        let seconds = self.seconds.entry(pause.cause).or_default();
        seconds.observe(pause.span.ended, pause.span.len().as_secs_f64());
        if self.last.len() == LAST_MAX {
            self.last.pop_front();
        }
        self.last.push_back(pause);
    }

    /// The last pauses, the newest last.
    pub(crate) fn last(&self) -> impl Iterator<Item = &Pause> {
        self.last.iter()
    }

    pub(crate) fn samples(&self, now: Duration) -> Vec<Sample> {
        let none = Summary::default();
        let mut samples = Vec::new();
        for cause in Cause::ALL {
            let seconds = self.seconds.get(&cause).unwrap_or(&none);
            for (name, value) in [
                ("ensemble_pauses_total", seconds.count() as f64),
                ("ensemble_pause_seconds_total", seconds.sum()),
                ("ensemble_pause_seconds_max", seconds.recent_max(now)),
            ] {
                samples.push(Sample::number(name, value).with(&[cause.name()]));
            }
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::exposition_of;

    fn pause(cause: Cause, began: u64, ended: u64) -> Pause {
        let span = Span { began: Duration::from_millis(began), ended: Duration::from_millis(ended) };
        Pause { cause, span, ended_ms: 0, machine: Machine::default(), place: None }
    }

    fn check(ledger: &Ledger, at_seconds: u64, expected: &[&str]) {
        let text = exposition_of(&ledger.samples(Duration::from_secs(at_seconds)), &Default::default());
        for line in expected {
            assert!(text.lines().any(|found| found == *line), "{line} in\n{text}");
        }
    }

    #[test]
    fn every_cause_is_told_from_the_start_and_the_longest_for_ten_minutes() {
        let mut ledger = Ledger::default();
        check(
            &ledger,
            1,
            &["ensemble_pauses_total{cause=\"fsync\"} 0", "ensemble_pause_seconds_max{cause=\"stopped\"} 0"],
        );
        ledger.record(pause(Cause::Stopped, 1000, 1500));
        ledger.record(pause(Cause::Stopped, 2000, 2250));
        check(
            &ledger,
            3,
            &[
                "ensemble_pauses_total{cause=\"stopped\"} 2",
                "ensemble_pause_seconds_total{cause=\"stopped\"} 0.75",
                "ensemble_pause_seconds_max{cause=\"stopped\"} 0.5",
                "ensemble_pause_seconds_max{cause=\"fsync\"} 0",
            ],
        );
        check(&ledger, 1000, &["ensemble_pause_seconds_max{cause=\"stopped\"} 0"]);
    }

    #[test]
    fn the_newest_are_remembered() {
        let mut ledger = Ledger::default();
        for number in 0..20 {
            ledger.record(pause(Cause::Fsync, number, number + 1));
        }
        let began: Vec<_> = ledger.last().map(|pause| pause.span.began.as_millis()).collect();
        assert_eq!((began.len(), began[0], began[15]), (16, 4, 19));
    }
}
