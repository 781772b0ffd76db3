//! H-11: the lock recipe. Whoever sees its own ephemeral sequential znode as the lowest of a parent holds that parent's lock, with
//! the znode's czxid as fencing token. In one state there is at most one holder, and in the order of states tokens never go
//! back: who checks tokens never serves a holder that has been succeeded.
//!
//! A holder that stands still may believe that it holds on: that is what the token is for, and no fault.

use crate::history::History;
use crate::model::Answer;
use crate::request::Request;
use crate::rules::h10_sequence::number;
use crate::rules::replay::Replay;
use crate::trace::{Verdict, Violation};
use ensemble_proto::{SessionId, Zxid};
use std::collections::BTreeMap;

/// A znode that stands in the queue for a lock.
struct Ticket {
    session: SessionId,
    czxid: Zxid,
}

/// A client that saw itself first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// In which state.
    pub state: Zxid,
    /// Its fencing token.
    pub token: Zxid,
    /// By which request.
    pub op: usize,
}

/// By parent, and by its lifetime: who saw itself first, in the order of states.
pub type Holders<'a> = BTreeMap<(&'a str, Zxid), Vec<Holder>>;

/// Checks every parent that clients have listed.
pub fn check(history: &History, replay: &Replay) -> Verdict {
    for ((path, _), held) in holders(history, replay) {
        for pair in held.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            let is_shared = before.state == after.state && before.token != after.token;
            if after.token < before.token || is_shared {
                let (op, Holder { state, token, .. }) = (&history.ops[after.op], after);
                let message = format!("{op:?} holds {path} at {state} with {token}; {} held it", before.token);
                return Err(Violation::new("H-11", message));
            }
        }
    }
    Ok(())
}

/// Everyone that saw itself first.
pub fn holders<'a>(history: &'a History, replay: &Replay) -> Holders<'a> {
    let tickets = tickets(history, replay);
    let mut holders = Holders::new();
    for (index, op) in history.ops.iter().enumerate() {
        let Request::GetChildren { path, .. } = &op.request else { continue };
        let Some(reply) = &op.reply else { continue };
        let Answer::Children(names, stat) = &reply.answer else { continue };
        let ticket = |name: &String| {
            let path = if path == "/" { format!("/{name}") } else { format!("{path}/{name}") };
            let made = tickets.get(&path)?;
            let newest = made.partition_point(|ticket| ticket.czxid <= reply.zxid).checked_sub(1)?;
            Some((number(name)?, &made[newest]))
        };
        let lowest = names.iter().filter_map(ticket).min_by_key(|(number, _)| *number);
        if let Some((_, ticket)) = lowest
            && ticket.session == op.session
        {
            let holder = Holder { state: reply.zxid, token: ticket.czxid, op: index };
            holders.entry((path, stat.czxid)).or_default().push(holder);
        }
    }
    holders.values_mut().for_each(|held| held.sort_unstable());
    holders
}

/// Every ephemeral sequential znode that was made, by path.
fn tickets(history: &History, replay: &Replay) -> BTreeMap<String, Vec<Ticket>> {
    let mut tickets: BTreeMap<String, Vec<Ticket>> = BTreeMap::new();
    for (index, _) in &replay.sequential {
        let op = &history.ops[*index];
        let is_ephemeral = matches!(op.request, Request::Create { ephemeral: true, .. });
        let czxid = replay.txns.get(index).and_then(|txns| txns.first());
        let made = replay.answers.get(index);
        if let (true, Some(czxid), Some(Answer::Path(path) | Answer::PathAndStat(path, _))) =
            (is_ephemeral, czxid, made)
        {
            tickets.entry(path.clone()).or_default().push(Ticket { session: op.session, czxid: *czxid });
        }
    }
    tickets
}
