//! Swap mode: before a voter is restarted, an observer takes its place, so that as many vote as ever.
//!
//! ```text
//! observers ──► an observer votes instead of a follower, which observes ──► restarted as an observer ──► the next follower …
//!     … ──► hand-off ──► the former leader in the same way ──► the lowest ordinals vote again, one trade at a time (`scale.rs`)
//! ```
//!
//! *Why nothing is lost.* A trade is one reconfiguration, made only when every server is synced and ready: the leader and all voters but one are in
//! both configurations, so that each has a synced majority. With five voters and one restarting, two may fail as at any other time.
//! An even number of voters is never asked for. The observer runs the newest template already, since observers are restarted first.
//!
//! *Why nothing is remembered.* A voter whose place was taken is an observer like any other, and an outdated one goes before any voter:
//! after a crash between trade and restart the next pass restarts it. While a pod is outdated, restarts come before the size, which would trade back
//! (`restarts_first` in `mod.rs`); where a restart may not go on, as outside the maintenance windows, the size does trade back, and nothing is lost by that.
//! The version of the configuration goes with the request: two operators cannot both trade from the same state.
//!
//! An ensemble of one or two voters is restarted as with `LeaderLast`: the others are no majority with which a trade could be made.

use crate::assess::Assessment;
use crate::founded::Founded;
use crate::observed::Observed;
use crate::plan::scale;
use crate::step::Reconfiguration;
use crate::validate::ValidEnsemble;

/// The fewest voters among which a place is traded.
pub(crate) const VOTERS_MIN: i32 = 3;

/// The trade for a voter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Trade {
    /// This is asked for.
    Asked(Reconfiguration),
    /// The leader cannot be asked: it has no address.
    Unreachable,
    /// Nobody could take the place, or not without a person: why, and what helps.
    Impossible { reason: &'static str, message: String },
}

/// The reconfiguration in which an observer votes instead of `voter`. Every server is well, and `is_spare` says who is also up to date.
pub(super) fn trade(
    observed: &Observed,
    ensemble: &ValidEnsemble,
    founded: &Founded,
    assessment: &Assessment,
    voter: i32,
    is_spare: impl Fn(i32) -> bool,
) -> Trade {
    if let Some(message) = scale::foreign_voters(founded) {
        return Trade::Impossible { reason: "ForeignVoters", message };
    }
    // The lowest, which is the likeliest to be one that votes in the end.
    let Some(spare) = founded.observers().into_iter().find(|ordinal| is_spare(*ordinal)) else {
        return Trade::Impossible {
            reason: "NoSpareObserver",
            message: "updateStrategy.mode is Swap, and there is no observer yet that could vote while a voter restarts: raise spec.replicas, or set \
                      the mode to LeaderLast"
                .to_owned(),
        };
    };
    match scale::traded(observed, ensemble, founded, assessment, voter, spare) {
        Some(reconfiguration) => Trade::Asked(reconfiguration),
        None => Trade::Unreachable,
    }
}
