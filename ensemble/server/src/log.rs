//! Where log lines go: standard error, for people or as JSON; and how many lines clients can cause.

use clap::ValueEnum;
use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Target of the lines that a client can cause as often as it likes. The peer's end in the same word.
pub(crate) const CLIENTS: &str = "ensemble_server::clients";
const CLIENTS_SUFFIX: &str = "::clients";
/// Lines of one kind about clients in one [`CLIENT_LINES_WINDOW`]. The others are left out, and the log says so, once.
const CLIENT_LINES_MAX: u32 = 20;
/// See [`CLIENT_LINES_MAX`].
const CLIENT_LINES_WINDOW: Duration = Duration::from_secs(10);

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging; `RUST_LOG` selects, by default `info`.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    match format {
        Format::Human => lines.finish().with(ClientLines::default()).init(),
        Format::Json => lines.json().flatten_event(true).finish().with(ClientLines::default()).init(),
    }
}

/// Holds the lines about clients within [`CLIENT_LINES_MAX`].
#[derive(Default)]
struct ClientLines(Mutex<HashMap<Identifier, Window>>);

impl<S: Subscriber> Layer<S> for ClientLines {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if !metadata.target().ends_with(CLIENTS_SUFFIX) {
            return true;
        }
        // The keys are lines of code.
        let verdict = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(metadata.callsite())
            .or_default()
            .take(Instant::now());
        if verdict == Verdict::LeaveOutFirst {
            let window_s = CLIENT_LINES_WINDOW.as_secs();
            tracing::info!(
                of = metadata.name(),
                max = CLIENT_LINES_MAX,
                window_s,
                "too many lines about clients: the others of this kind are left out"
            );
        }
        verdict == Verdict::Print
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Print,
    /// The first one too many.
    LeaveOutFirst,
    LeaveOut,
}

/// The lines of one kind since the window began.
#[derive(Default)]
struct Window {
    began: Option<Instant>,
    lines: u32,
}

impl Window {
    fn take(&mut self, now: Instant) -> Verdict {
        if self.began.is_none_or(|began| now.duration_since(began) >= CLIENT_LINES_WINDOW) {
            *self = Window { began: Some(now), lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        match self.lines.checked_sub(CLIENT_LINES_MAX) {
            None | Some(0) => Verdict::Print,
            Some(1) => Verdict::LeaveOutFirst,
            Some(_) => Verdict::LeaveOut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_prints_so_many_lines_says_that_it_leaves_out_others_and_begins_anew() {
        let (mut window, start) = (Window::default(), Instant::now());
        let mut take = |after: Duration, count: u32, expected: Verdict| {
            for _ in 0..count {
                assert_eq!(window.take(start + after), expected, "{after:?}");
            }
        };
        take(Duration::ZERO, CLIENT_LINES_MAX, Verdict::Print);
        take(Duration::ZERO, 1, Verdict::LeaveOutFirst);
        take(CLIENT_LINES_WINDOW - Duration::from_nanos(1), 100, Verdict::LeaveOut);
        take(CLIENT_LINES_WINDOW, CLIENT_LINES_MAX, Verdict::Print);
        take(CLIENT_LINES_WINDOW, 1, Verdict::LeaveOutFirst);
    }
}
