//! What ZooKeeper promises to clients, checked on what they saw: a file a rule.
//!
//! The single order of transactions is known from the servers' logs ([`crate::ledger::Ledger::committed`]); what each must have
//! done is known from the requests alone, through [`crate::model`]. Every reply names the zxid of the state that it was made
//! from, so each can be checked by itself, in linear time.
//!
//! The numbers are those of the project's fault catalogue. `tests/checker` shows for each rule what it accuses and what it does not.

pub mod h10_sequence;
pub mod h11_locks;
pub mod h1_writes;
pub mod h2_unknown;
pub mod h3_reads;
pub mod h4_order;
pub mod h5_sync;
pub mod h6_watches;
pub mod h7_expiry;
pub mod h8_once;
pub mod h9_multi;
pub mod replay;

use crate::history::History;
use crate::ledger::Ledger;
use crate::trace::Verdict;
use crate::world::Heard;
use ensemble_proto::SessionId;
use replay::Replay;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a run left behind, for the rules.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// What the clients saw.
    pub history: &'a History,
    /// What the servers did.
    pub ledger: &'a Ledger,
    /// When each session's client spoke, and who heard it.
    pub heard: &'a BTreeMap<SessionId, Vec<Heard>>,
    /// What must have happened.
    pub replay: &'a Replay,
    /// How long the word of a learner in sync may take to reach its leader.
    pub word: Duration,
}

/// A rule: it accuses a run or not.
pub type Rule = fn(&Evidence<'_>) -> Verdict;

/// All rules, those first whose accusation says most.
pub const RULES: &[(&str, Rule)] = &[
    ("H-8", |run| h8_once::check(run.history, run.replay)),
    ("H-9", |run| h9_multi::check(run.history, run.replay)),
    ("H-10", |run| h10_sequence::check(run.history, run.replay)),
    ("H-2", |run| h2_unknown::check(run.history, run.ledger, run.replay)),
    ("H-1", |run| h1_writes::check(run.history, run.replay)),
    ("H-3", |run| h3_reads::check(run.history, run.replay)),
    ("H-4", |run| h4_order::check(run.history, run.replay)),
    ("H-5", |run| h5_sync::check(run.history)),
    ("H-6", |run| h6_watches::check(run.history, run.replay)),
    ("H-11", |run| h11_locks::check(run.history, run.replay)),
    ("H-7", |run| h7_expiry::check(run.ledger, run.heard, run.replay, run.word)),
];

/// Checks every rule.
///
/// # Errors
/// The first that is broken.
pub fn check(run: &Evidence<'_>) -> Verdict {
    RULES.iter().try_for_each(|(_, rule)| rule(run))
}
