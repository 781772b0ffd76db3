//! The two clocks of the process.

use ensemble_proto::Now;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Says what time it is, from an origin of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { elapsed: self.elapsed(), wall_ms: wall.as_millis() as i64 }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The moment at which this clock shows `elapsed`.
    pub(crate) fn instant(&self, elapsed: Duration) -> Option<Instant> {
        self.origin.checked_add(elapsed)
    }
}
