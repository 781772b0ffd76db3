//! I-12: after the faults have stopped there is one leader, everybody else serves behind it, no request waits, no handshake stays
//! unanswered, and no election happens any more.

use crate::trace::{Verdict, Violation};
use std::time::Duration;

/// A healed world, some time later.
pub struct Healed {
    /// Serving as leaders.
    pub leaders: Vec<usize>,
    /// Not serving.
    pub idle: Vec<usize>,
    /// Age and owner of the oldest unanswered request.
    pub oldest_request: Option<(Duration, usize)>,
    /// When an office changed last, counted from now.
    pub quiet: Duration,
    /// The limit for the last two.
    pub limit: Duration,
}

/// Checks it.
pub fn healed(healed: &Healed) -> Verdict {
    let fail = |message: String| Err(Violation::new("I-12", message));
    if healed.leaders.len() != 1 {
        return fail(format!("leaders: {:?}", healed.leaders));
    }
    if !healed.idle.is_empty() {
        return fail(format!("servers {:?} do not serve", healed.idle));
    }
    if let Some((age, client)) = healed.oldest_request
        && age > healed.limit
    {
        return fail(format!("a request of client {client} waits for {age:?}"));
    }
    if healed.quiet < healed.limit {
        return fail(format!("an office changed {:?} ago", healed.quiet));
    }
    Ok(())
}
