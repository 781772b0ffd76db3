//! Time as an argument. Pure crates never read a clock; whoever drives them says what time it is.

use std::time::Duration;

/// The two clocks of a server at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since an arbitrary origin of this process; never goes back. Every timeout is measured on it.
    pub elapsed: Duration,
    /// Milliseconds since the Unix epoch; may jump. Used for nothing but `ctime` and `mtime`.
    pub wall_ms: i64,
}
