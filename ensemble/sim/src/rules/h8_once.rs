//! H-8: exactly once. A request that was answered has exactly one transaction (a definite error of a session's end none), one
//! whose answer was lost at most one; no transaction is anybody else's (the replay sees to that).

use crate::history::History;
use crate::rules::replay::Replay;
use crate::trace::{Verdict, Violation};

/// Checks every write.
pub fn check(history: &History, replay: &Replay) -> Verdict {
    match replay.txns.iter().find(|(_, txns)| txns.len() > 1) {
        None => Ok(()),
        Some((index, txns)) => {
            Err(Violation::new("H-8", format!("{:?} has the transactions {txns:?}", history.ops[*index])))
        }
    }
}
