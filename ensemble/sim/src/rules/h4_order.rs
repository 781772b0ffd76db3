//! H-4: FIFO. Replies come in the order of requests (the client checks that as they come), and a session's writes take effect
//! in the order in which it sent them, answered or not.

use crate::history::History;
use crate::rules::replay::Replay;
use crate::trace::{Verdict, Violation};
use ensemble_proto::{SessionId, Zxid};
use std::collections::BTreeMap;

/// Checks every session.
pub fn check(history: &History, replay: &Replay) -> Verdict {
    let mut last: BTreeMap<SessionId, (Zxid, usize)> = BTreeMap::new();
    for (index, txns) in &replay.txns {
        let op = &history.ops[*index];
        if replay.refused.contains(index) {
            continue;
        }
        let (last, earlier) = last.entry(op.session).or_default();
        for zxid in txns {
            if zxid <= last {
                let earlier = &history.ops[*earlier];
                let message = format!("{op:?} takes effect at {zxid}, the earlier {earlier:?} did at {last}");
                return Err(Violation::new("H-4", message));
            }
            (*last, *earlier) = (*zxid, *index);
        }
    }
    Ok(())
}
