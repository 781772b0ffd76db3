//! H-7: expiry. No session is ended before its timeout has passed since the leader that ends it heard from it; nor since that leader took
//! office, which gives every session its whole timeout again; nor while a server that
//! this leader counts as in sync hears from it again and again. (That its ephemeral znodes go with it, and are never seen
//! afterwards, is part of H-1 and H-3: the model removes them.)

use crate::ledger::Ledger;
use crate::rules::replay::Replay;
use crate::trace::{Verdict, Violation};
use crate::world::{Ear, Heard};
use ensemble_proto::{Epoch, SessionId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Checks every expired session. `word` is how long a learner's word may take to reach the leader: what it says later does not save a
/// session that was silent before.
pub fn check(ledger: &Ledger, heard: &BTreeMap<SessionId, Vec<Heard>>, replay: &Replay, word: Duration) -> Verdict {
    for (session, zxid) in &replay.expired {
        let Some((_, proposed)) = ledger.proposed.get(zxid) else { continue };
        let heard = heard.get(session).map(Vec::as_slice).unwrap_or_default();
        let heard = &heard[..heard.partition_point(|heard| heard.at < *proposed)];
        // A client that comes back may ask for a shorter timeout, and is given it from then on.
        let Some(timeout) = heard.iter().map(|heard| heard.timeout).min() else { continue };
        let by_leader = heard.iter().rfind(|heard| heard.by == Ear::Leader(zxid.epoch())).map(|heard| heard.at);
        let by_anybody = last_of_many(heard, zxid.epoch(), timeout, proposed.saturating_sub(word));
        let in_office = ledger.established.get(&zxid.epoch()).copied();
        if let Some(last) =
            [by_leader, by_anybody, in_office].into_iter().flatten().max().filter(|last| *last + timeout > *proposed)
        {
            let message =
                format!("session {session} is ended by {zxid} at {proposed:?}, heard at {last:?}, timeout {timeout:?}");
            return Err(Violation::new("H-7", message));
        }
    }
    Ok(())
}

/// When a session was heard last that was heard again and again since `from`, in one epoch and without going to another server. A session
/// that was silent before may have ended before its next word arrived.
fn last_of_many(heard: &[Heard], epoch: Epoch, timeout: Duration, from: Duration) -> Option<Duration> {
    let last = heard.last()?.at;
    let mut first = last;
    for heard in heard.iter().rev().take_while(|heard| heard.by.epoch() == Some(epoch)) {
        if first - heard.at >= timeout {
            break;
        }
        first = heard.at;
        if first <= from {
            return Some(last);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(1);

    fn at(second: u64, by: Ear) -> Heard {
        Heard { at: Duration::from_secs(second), timeout: Duration::from_secs(4), by }
    }

    #[test]
    fn a_session_counts_as_heard_by_others_only_while_it_stays_and_is_never_silent() {
        let learner = Ear::Learner(EPOCH);
        let check = |heard: &[Heard], expected: Option<u64>| {
            let last = last_of_many(heard, EPOCH, Duration::from_secs(4), Duration::from_secs(10));
            assert_eq!(last, expected.map(Duration::from_secs), "{heard:?}");
        };
        check(&[], None);
        check(&[at(9, learner)], Some(9));
        check(&[at(8, learner), at(11, learner), at(14, learner)], Some(14));
        check(&[at(9, learner), at(12, Ear::Leader(EPOCH))], Some(12));
        check(&[at(11, learner), at(13, learner)], None); // it may have been silent before
        check(&[at(9, learner), at(13, learner)], None);
        check(&[at(9, learner), at(11, Ear::Anybody), at(12, learner)], None);
        check(&[at(9, Ear::Learner(Epoch(0))), at(11, learner)], None);
    }
}
