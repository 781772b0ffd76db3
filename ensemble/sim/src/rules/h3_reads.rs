//! H-3: reads are sequentially consistent in a session. Each shows the state of its zxid, whole; zxids never go back in a
//! session, across connections and servers, and never behind the session's own writes.

use crate::history::History;
use crate::request::Request;
use crate::rules::replay::Replay;
use crate::trace::{Verdict, Violation};
use ensemble_proto::{ErrorCode, SessionId, Zxid};
use std::collections::BTreeMap;

/// Checks all reads.
pub fn check(history: &History, replay: &Replay) -> Verdict {
    let mut seen: BTreeMap<SessionId, Zxid> = BTreeMap::new();
    for (index, op) in history.ops.iter().enumerate() {
        let Some(reply) = &op.reply else { continue };
        if reply.answer.error() == Some(ErrorCode::SESSION_EXPIRED) {
            continue;
        }
        let seen = seen.entry(op.session).or_default();
        if reply.zxid < *seen {
            return Err(Violation::new("H-3", format!("{op:?} goes back behind {seen}, which the session has seen")));
        }
        *seen = reply.zxid;
        let is_read =
            matches!(op.request, Request::Exists { .. } | Request::GetData { .. } | Request::GetChildren { .. });
        if is_read && !reply.answer.is_refusal() && replay.answers.get(&index) != Some(&reply.answer) {
            let message = format!("{op:?}: the state of its zxid is {:?}", replay.answers.get(&index));
            return Err(Violation::new("H-3", message));
        }
    }
    Ok(())
}
