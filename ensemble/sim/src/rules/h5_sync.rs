//! H-5: after the reply to a sync, reads of its session on its connection show every write that was answered before the sync
//! was sent, by whomever. (Here a sync asks a quorum, so sync and read is linearizable.)

use crate::history::{History, Item};
use crate::request::Request;
use crate::trace::{Verdict, Violation};
use ensemble_proto::{ErrorCode, Zxid};
use std::time::Duration;

/// Checks every connection.
pub fn check(history: &History) -> Verdict {
    let mut answered: Vec<(Duration, Zxid)> = history
        .ops
        .iter()
        .filter(|op| op.request.is_write())
        .filter_map(|op| op.reply.as_ref())
        .filter(|reply| !reply.answer.is_refusal())
        .map(|reply| (reply.at, reply.zxid))
        .collect();
    answered.sort_unstable();
    let mut newest = Zxid::ZERO;
    for (_, zxid) in &mut answered {
        newest = newest.max(*zxid);
        *zxid = newest;
    }
    let answered_before = |at: Duration| match answered.partition_point(|(answered, _)| *answered < at) {
        0 => Zxid::ZERO,
        count => answered[count - 1].1,
    };
    for stream in &history.streams {
        let mut floor = Zxid::ZERO;
        for item in stream {
            let Item::Reply(index) = item else { continue };
            let op = &history.ops[*index];
            let Some(reply) = &op.reply else { continue };
            if op.request == Request::Sync && reply.answer.error().is_none() {
                floor = floor.max(answered_before(op.invoked));
            }
            if reply.zxid < floor && reply.answer.error() != Some(ErrorCode::SESSION_EXPIRED) {
                let message = format!("{op:?} does not show {floor}, which had been answered before a sync");
                return Err(Violation::new("H-5", message));
            }
        }
    }
    Ok(())
}
