//! H-7: expiry. No session is ended before its timeout has passed since the leader that ends it heard from it. (That its
//! ephemeral znodes go with it, and are never seen afterwards, is part of H-1 and H-3: the model removes them.)

use crate::ledger::Ledger;
use crate::rules::replay::Replay;
use crate::trace::{Verdict, Violation};
use crate::world::Heard;
use ensemble_proto::SessionId;
use std::collections::BTreeMap;

/// Checks every expired session.
pub fn check(ledger: &Ledger, heard: &BTreeMap<SessionId, Vec<Heard>>, replay: &Replay) -> Verdict {
    for (session, zxid) in &replay.expired {
        let Some((_, proposed)) = ledger.proposed.get(zxid) else { continue };
        let heard = heard.get(session).map(Vec::as_slice).unwrap_or_default();
        let until = heard.partition_point(|heard| heard.at < *proposed);
        // A client that comes back may ask for a shorter timeout, and is given it from then on.
        let Some(timeout) = heard[..until].iter().map(|heard| heard.timeout).min() else { continue };
        let last = heard[..until].iter().rfind(|heard| heard.epoch == Some(zxid.epoch()));
        if let Some(last) = last.filter(|last| last.at + timeout > *proposed) {
            let message = format!(
                "session {session} is ended by {zxid} at {proposed:?}, heard at {:?}, timeout {timeout:?}",
                last.at
            );
            return Err(Violation::new("H-7", message));
        }
    }
    Ok(())
}
