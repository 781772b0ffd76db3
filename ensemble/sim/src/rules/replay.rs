//! Runs the single order through the model: what every request must have been answered, and what every watch must have told.

use crate::history::History;
use crate::ledger::Ledger;
use crate::model::{Answer, Model, Trigger, split};
use crate::request::Request;
use crate::trace::Violation;
use ensemble_proto::client::MultiResult;
use ensemble_proto::txn::{Txn, TxnRecord};
use ensemble_proto::{ErrorCode, SessionId, Zxid};
use std::collections::{BTreeMap, BTreeSet};

/// What must have happened.
#[derive(Default)]
pub struct Replay {
    /// The final state.
    pub model: Model,
    /// The transactions of a request, by its index; more than one breaks H-8.
    pub txns: BTreeMap<usize, Vec<Zxid>>,
    /// What a request must be answered, by its index: for all that became transactions, and all reads with a reply.
    pub answers: BTreeMap<usize, Answer>,
    /// Requests, by index, that came through a server which had lost the session: they have no effect, wherever their error is in
    /// the order.
    pub refused: BTreeSet<usize>,
    /// What a setWatches must report at once, by its index.
    pub missed: BTreeMap<usize, Vec<Trigger>>,
    /// Every firing, in order.
    pub triggers: Vec<(Zxid, Trigger)>,
    /// When each session began.
    pub begun: BTreeMap<SessionId, Zxid>,
    /// Sessions that the leader ended, with the transaction.
    pub expired: Vec<(SessionId, Zxid)>,
    /// What the log says became of a request, by its index.
    pub logged: BTreeMap<usize, Logged>,
    /// Single creates of sequential znodes that succeed, in the order in which they take effect, with the parent as it was then.
    pub sequential: Vec<(usize, Parent)>,
}

/// What a transaction says of the request that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Of a multi: how many parts.
    pub parts: Option<usize>,
    /// Why it failed, if it did.
    pub error: Option<ErrorCode>,
}

/// A znode in one of its lifetimes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its path.
    pub path: String,
    /// The transaction that made it.
    pub czxid: Zxid,
}

/// Replays everything.
///
/// # Errors
/// H-8 when a transaction is nobody's, H-3 when a reply names a state that never was.
pub fn replay(history: &History, ledger: &Ledger) -> Result<Replay, Violation> {
    let writes = history.ops.iter().enumerate().filter(|(_, op)| op.request.is_write());
    let by_name: BTreeMap<(SessionId, i32), usize> = writes.map(|(index, op)| ((op.session, op.xid), index)).collect();
    let mut reads = reads_by_zxid(history);
    let mut replay = Replay::default();
    let mut owned = ledger.owned;
    if ledger.has_local_sessions {
        replay.model.allow_local_sessions();
    }
    answer_reads(history, &mut replay, reads.remove(&Zxid::ZERO).unwrap_or_default());
    for committed in &ledger.committed {
        let record = TxnRecord::decode(&committed.payload).map_err(|error| {
            Violation::new("H-8", format!("transaction {} does not decode: {error}", committed.zxid))
        })?;
        let is_of_owner = matches!(record.txn, Txn::Reconfig(_)) && record.header.session == SessionId(0);
        if is_of_owner && owned > 0 {
            // Whoever operates the servers asked for it, and no client sees it but by its zxid.
            owned -= 1;
        } else {
            apply(history, &by_name, &mut replay, committed.zxid, &record)?;
        }
        answer_reads(history, &mut replay, reads.remove(&committed.zxid).unwrap_or_default());
    }
    match reads.first_key_value() {
        None => Ok(replay),
        Some((zxid, indices)) => {
            let message =
                format!("{:?} was answered from state {zxid}, which nobody has committed", history.ops[indices[0]]);
            Err(Violation::new("H-3", message))
        }
    }
}

/// Requests with a reply that are no writes, by the state that they were answered from.
fn reads_by_zxid(history: &History) -> BTreeMap<Zxid, Vec<usize>> {
    let mut reads: BTreeMap<Zxid, Vec<usize>> = BTreeMap::new();
    for (index, op) in history.ops.iter().enumerate() {
        if let Some(reply) = &op.reply
            && !op.request.is_write()
        {
            reads.entry(reply.zxid.max(Zxid::ZERO)).or_default().push(index);
        }
    }
    reads
}

fn answer_reads(history: &History, replay: &mut Replay, indices: Vec<usize>) {
    for index in indices {
        let request = &history.ops[index].request;
        replay.answers.insert(index, replay.model.read(request));
        if let Request::SetWatches { since, data, exist, child } = request {
            replay.missed.insert(index, replay.model.missed(*since, data, exist, child));
        }
    }
}

fn apply(
    history: &History,
    by_name: &BTreeMap<(SessionId, i32), usize>,
    replay: &mut Replay,
    zxid: Zxid,
    record: &TxnRecord,
) -> Result<(), Violation> {
    let header = &record.header;
    let asked = by_name.get(&(header.session, header.cxid)).copied();
    let triggers = match (&record.txn, asked) {
        (Txn::CreateSession { .. }, _) => {
            replay.model.create_session(header.session);
            replay.begun.insert(header.session, zxid);
            Vec::new()
        }
        (txn, Some(index)) if let Some(answer) = refusal(txn) => {
            replay.logged.insert(index, logged(txn));
            replay.txns.entry(index).or_default().push(zxid);
            replay.answers.insert(index, answer);
            replay.refused.insert(index);
            Vec::new()
        }
        // The model knows no ensemble: the order says what became of it.
        (txn, Some(index)) if let Some(answer) = reconfigured(&history.ops[index].request, txn) => {
            replay.logged.insert(index, logged(txn));
            replay.txns.entry(index).or_default().push(zxid);
            replay.answers.insert(index, answer);
            Vec::new()
        }
        (txn, Some(index)) => {
            let request = &history.ops[index].request;
            let (answer, triggers) = replay.model.write(request, header.session, zxid, header.time_ms);
            if let Request::Create { path, sequential: true, .. } = request
                && answer.error().is_none()
            {
                let path = split(path).0.to_string();
                let czxid = replay.model.czxid(&path).unwrap_or_default();
                replay.sequential.push((index, Parent { path, czxid }));
            }
            replay.logged.insert(index, logged(txn));
            replay.txns.entry(index).or_default().push(zxid);
            replay.answers.insert(index, answer);
            triggers
        }
        (Txn::CloseSession { .. }, None) => {
            replay.expired.push((header.session, zxid));
            replay.model.close_session(header.session, zxid)
        }
        // The last transaction of a leader that has handed its office over: nobody's, and it changes nothing.
        (Txn::Error(_), None) if header.session == SessionId(0) => Vec::new(),
        (txn, None) => {
            let message = format!("{zxid} of session {} cxid {} is nobody's: {txn:?}", header.session, header.cxid);
            return Err(Violation::new("H-8", message));
        }
    };
    replay.triggers.extend(triggers.into_iter().map(|trigger| (zxid, trigger)));
    Ok(())
}

fn logged(txn: &Txn) -> Logged {
    let code = |txn: &Txn| match txn {
        Txn::Error(code) if *code != ErrorCode::OK => Some(*code),
        _ => None,
    };
    match txn {
        Txn::Multi(parts) => Logged { parts: Some(parts.len()), error: parts.iter().find_map(code) },
        txn => Logged { parts: None, error: code(txn) },
    }
}

/// The answer to a request for another configuration, if the transaction is of one.
fn reconfigured(request: &Request, txn: &Txn) -> Option<Answer> {
    match (request, txn) {
        (Request::Reconfig { .. }, Txn::Reconfig(set)) => {
            let text = String::from_utf8_lossy(set.data.as_deref().unwrap_or_default());
            Some(Answer::Configuration(text.into_owned()))
        }
        (Request::Reconfig { .. }, Txn::Error(code)) => Some(Answer::Error(*code)),
        _ => None,
    }
}

/// The answer to a request that came through a server which had lost the session, if the transaction is of one.
fn refusal(txn: &Txn) -> Option<Answer> {
    let code = |txn: &Txn| match txn {
        Txn::Error(code) => Some(*code),
        _ => None,
    };
    let is_refusal = |code: &ErrorCode| [ErrorCode::SESSION_MOVED, ErrorCode::SESSION_EXPIRED].contains(code);
    match txn {
        Txn::Multi(entries) => {
            entries.first().and_then(code).filter(is_refusal)?;
            Some(Answer::Multi(entries.iter().filter_map(code).map(MultiResult::Error).collect()))
        }
        txn => code(txn).filter(is_refusal).map(Answer::Error),
    }
}
