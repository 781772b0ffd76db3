//! I-9: a session begins once, ends once, and changes nothing before or afterwards; but for a session that one server knows alone, which may write before it begins. (That it is not ended while its client is heard
//! is H-7's, which sees the clients.)

use crate::ledger::Ledger;
use crate::trace::{Verdict, Violation};
use ensemble_proto::SessionId;
use ensemble_proto::txn::{Txn, TxnRecord};

/// Where a session is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// It has begun.
    Open,
    /// It has ended.
    Ended,
}

/// The order grew by the transaction at `index`.
pub fn committed(ledger: &mut Ledger, index: usize) -> Verdict {
    let zxid = ledger.committed[index].zxid;
    let Ok(record) = TxnRecord::decode(&ledger.committed[index].payload) else { return Ok(()) };
    let session = record.header.session;
    let life = ledger.sessions.get(&session).copied();
    let fail = |what: &str| {
        Err(Violation::new("I-9", format!("{zxid} {what} session {session}, which is {life:?}: {:?}", record.txn)))
    };
    match &record.txn {
        Txn::CreateSession { .. } if life.is_some() => return fail("begins"),
        Txn::CreateSession { .. } => ledger.sessions.insert(session, Life::Open),
        Txn::CloseSession { .. } if life != Some(Life::Open) => return fail("ends"),
        Txn::CloseSession { .. } => ledger.sessions.insert(session, Life::Ended),
        // Servers delete containers and expired znodes, in nobody's name.
        Txn::Error(_) | Txn::DeleteContainer { .. } => None,
        Txn::Multi(parts) if parts.iter().any(|part| matches!(part, Txn::Error(_))) => None,
        _ if session == SessionId(0) || life == Some(Life::Open) => None,
        _ if life.is_none() && ledger.has_local_sessions => None,
        _ => return fail("changes something for"),
    };
    Ok(())
}
