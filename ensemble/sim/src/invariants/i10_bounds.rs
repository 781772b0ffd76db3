//! I-10: everything that can grow stays within its named limit.

use crate::trace::{Verdict, Violation};

/// A server holds so many of something.
pub fn held(server: usize, what: &str, found: usize, limit: usize) -> Verdict {
    if found <= limit {
        return Ok(());
    }
    Err(Violation::new("I-10", format!("server {server} holds {found} {what}, the limit is {limit}")))
}
