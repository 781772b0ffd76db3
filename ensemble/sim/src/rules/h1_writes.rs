//! H-1: writes are linearizable. Each is answered what its place in the order makes it, byte for byte, and a write that was
//! answered before another was sent comes before it.

use crate::history::{History, Op};
use crate::request::Request;
use crate::rules::replay::Replay;
use crate::trace::{Verdict, Violation};
use ensemble_proto::Zxid;
use std::time::Duration;

/// Checks all writes.
pub fn check(history: &History, replay: &Replay) -> Verdict {
    for (index, op) in history.ops.iter().enumerate().filter(|(_, op)| op.request.is_write()) {
        answer(index, op, replay)?;
    }
    real_time(history, replay)
}

fn answer(index: usize, op: &Op, replay: &Replay) -> Verdict {
    let Some(reply) = &op.reply else { return Ok(()) };
    let fail = |message: String| Err(Violation::new("H-1", format!("{op:?}: {message}")));
    let Some(zxid) = replay.txns.get(&index).and_then(|txns| txns.first()) else {
        // A server knows a session's end, and how long a request has waited, before it asks the leader; and it ends a session alone that it knows alone.
        let is_local_end = op.request == Request::Close && !replay.begun.contains_key(&op.session);
        return match reply.answer.is_refusal() || is_local_end {
            true => Ok(()),
            false => fail("answered, but no transaction is its own".to_string()),
        };
    };
    if reply.zxid != *zxid {
        return fail(format!("its transaction is {zxid}"));
    }
    match replay.answers.get(&index) {
        Some(expected) if *expected == reply.answer => Ok(()),
        expected => fail(format!("must be answered {expected:?}")),
    }
}

/// Sweeps through time: a write's zxid is above that of every write that had been answered when it was sent.
fn real_time(history: &History, replay: &Replay) -> Verdict {
    let writes = || replay.txns.keys().map(|index| &history.ops[*index]);
    let acked = |op: &&Op| op.reply.as_ref().is_some_and(|reply| !reply.answer.is_refusal());
    let mut answered: Vec<(Duration, Zxid)> =
        writes().filter(acked).filter_map(|op| op.reply.as_ref().map(|reply| (reply.at, reply.zxid))).collect();
    answered.sort_unstable();
    let (mut next, mut floor) = (0, Zxid::ZERO);
    for op in writes().filter(acked) {
        while next < answered.len() && answered[next].0 < op.invoked {
            floor = floor.max(answered[next].1);
            next += 1;
        }
        if op.reply.as_ref().is_some_and(|reply| reply.zxid <= floor) {
            return Err(Violation::new(
                "H-1",
                format!("{op:?} comes before {floor}, which was answered before it was sent"),
            ));
        }
    }
    Ok(())
}
