//! I-5: CommittedLogMonotonicity, LeaderLogCompleteness, ProcessConsistency. What is committed stays in every log that has it;
//! an established leader has all of it; memory is never ahead of the disk.

use crate::ledger::Ledger;
use crate::trace::{Verdict, Violation};
use ensemble_proto::Zxid;
use ensemble_proto::durable::Write;

/// A server began to serve as a leader.
pub fn established(ledger: &Ledger, server: usize) -> Verdict {
    let log = &ledger.servers[server].durable;
    match ledger.committed.iter().find(|committed| !log.has(committed.zxid)) {
        None => Ok(()),
        Some(committed) => {
            let message = format!("server {server} is established without {}, which is committed", committed.zxid);
            Err(Violation::new("I-5", message))
        }
    }
}

/// A server asks for a write: none removes a committed record.
pub fn written(ledger: &Ledger, server: usize, write: &Write) -> Verdict {
    let kept = match write {
        Write::Truncate { to } => *to,
        Write::InstallSnapshot { zxid, .. } => *zxid,
        _ => return Ok(()),
    };
    let log = &ledger.servers[server].requested;
    let lost = ledger.committed.iter().rev().find(|committed| committed.zxid > kept && log.has(committed.zxid));
    match lost {
        None => Ok(()),
        Some(committed) => {
            let message = format!("server {server} removes {}, which is committed, by {}", committed.zxid, name(write));
            Err(Violation::new("I-5", message))
        }
    }
}

fn name(write: &Write) -> String {
    match write {
        Write::Truncate { to } => format!("a truncation to {to}"),
        Write::InstallSnapshot { zxid, .. } => format!("a snapshot of {zxid}"),
        Write::Append { .. } | Write::AcceptedEpoch(_) | Write::CurrentEpoch(_) => "a write".to_string(),
    }
}

/// After a step of a server that serves: everything applied is durable here. (While it synchronises, a received snapshot is in
/// memory before it is on the disk.)
pub fn memory_behind_disk(ledger: &Ledger, server: usize, applied: Zxid) -> Verdict {
    let durable = ledger.servers[server].durable.last();
    if applied <= durable || applied <= Zxid::ZERO {
        return Ok(());
    }
    Err(Violation::new("I-5", format!("server {server} has applied {applied}, its disk has {durable}")))
}
