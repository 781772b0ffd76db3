//! What ZooKeeper promises to clients, checked on what they saw: a file a rule.
//!
//! The single order of transactions is known from the servers' logs ([`crate::ledger::Ledger::committed`]); what each must have
//! done is known from the requests alone, through [`crate::model`]. Every reply names the zxid of the state that it was made
//! from, so each can be checked by itself, in linear time.

pub mod h1_writes;
pub mod h3_reads;
pub mod h4_order;
pub mod h5_sync;
pub mod h6_watches;
pub mod h7_expiry;
pub mod h8_once;
pub mod replay;

use crate::history::History;
use crate::ledger::Ledger;
use crate::trace::Verdict;
use crate::world::Heard;
use ensemble_proto::SessionId;
use replay::Replay;
use std::collections::BTreeMap;
use std::time::Duration;

/// Checks every rule. `word` is how long the word of a learner in sync may take to reach its leader.
///
/// # Errors
/// The first that is broken.
pub fn check(
    history: &History,
    ledger: &Ledger,
    heard: &BTreeMap<SessionId, Vec<Heard>>,
    replay: &Replay,
    word: Duration,
) -> Verdict {
    h8_once::check(history, replay)?;
    h1_writes::check(history, replay)?;
    h3_reads::check(history, replay)?;
    h4_order::check(history, replay)?;
    h5_sync::check(history)?;
    h6_watches::check(history, replay)?;
    h7_expiry::check(ledger, heard, replay, word)
}
