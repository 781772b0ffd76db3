//! Tells the log that this server has been without a quorum for a while, and whom it cannot reach.
//!
//! An election takes less than a second, so a server that does not serve after [`PATIENCE`] waits for something that a person may
//! have to repair. It says so at growing intervals: the first line is what matters, the others only show that nothing has changed.

use crate::config::Settings;
use crate::driver::Driver;
use crate::report::{Bootstrap, Identity, Report};
use ensemble_proto::ServerId;
use std::rc::Rc;
use std::time::Duration;

/// How long a server may be without a quorum before it says so; the intervals double from here.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest interval between two lines.
const INTERVAL_MAX: Duration = Duration::from_secs(320);
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Watches over one server, for ever.
pub(crate) async fn run(driver: Rc<Driver>, settings: Settings, identity: Identity) {
    let mut absence = Absence::default();
    loop {
        tokio::time::sleep(LOOK).await;
        let report = Report::new(&driver, &settings, &identity);
        if let Some(elapsed) = absence.at(driver.clock.elapsed(), report.status.serving) {
            warn(&driver, &report, elapsed);
        }
    }
}

fn warn(driver: &Driver, report: &Report, elapsed: Duration) {
    let server = report.status.id.0;
    let elapsed_ms = elapsed.as_millis() as u64;
    if report.bootstrap() == Bootstrap::AwaitingGrant {
        tracing::warn!(server, elapsed_ms, "not serving: the store is empty and waits for its grant, or for a leader");
        return;
    }
    let voters = report.status.quorum_size;
    // Of groups and weights no number tells.
    let needed = (!report.is_hierarchical).then_some(voters / 2 + 1);
    let unreached: Vec<_> = driver.election.unreached_voters().iter().map(unreached).collect();
    let reached = voters.saturating_sub(unreached.len());
    let unreached = (!unreached.is_empty()).then(|| unreached.join("; "));
    tracing::warn!(
        server,
        role = report.role(),
        elapsed_ms,
        voters,
        needed,
        reached,
        unreached,
        "not serving: no quorum"
    );
}

fn unreached((server, address, error): &(ServerId, String, String)) -> String {
    format!("server {server} at {address}: {error}")
}

/// For how long a server has been without a quorum, and when to speak of it.
#[derive(Default)]
struct Absence {
    since: Option<Duration>,
    /// How many lines were written.
    lines: u32,
}

impl Absence {
    /// Looks at the server; the length of its absence when a line is due.
    fn at(&mut self, now: Duration, is_serving: bool) -> Option<Duration> {
        if is_serving {
            *self = Absence::default();
            return None;
        }
        let elapsed = now.saturating_sub(*self.since.get_or_insert(now));
        let is_due = elapsed >= self.due();
        self.lines += u32::from(is_due);
        is_due.then_some(elapsed)
    }

    /// When the next line is due: after 10, 20, 40 ... seconds, then at every [`INTERVAL_MAX`].
    fn due(&self) -> Duration {
        let mut due = PATIENCE;
        for _ in 0..self.lines {
            due += due.min(INTERVAL_MAX);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which a server that does not serve says so.
    fn lines(absence: &mut Absence, seconds: std::ops::Range<u64>) -> Vec<u64> {
        seconds.filter(|second| absence.at(Duration::from_secs(*second), false).is_some()).collect()
    }

    #[test]
    fn a_server_without_a_quorum_says_so_at_growing_intervals_up_to_a_greatest() {
        let mut absence = Absence::default();
        assert_eq!(lines(&mut absence, 100..1500), [110, 120, 140, 180, 260, 420, 740, 1060, 1380]);
        assert_eq!(absence.at(Duration::from_secs(1500), true), None);
        assert_eq!(lines(&mut absence, 1501..1530), [1511, 1521]);
    }
}
