//! I-5: CommittedLogMonotonicity, LeaderLogCompleteness, ProcessConsistency. What is committed stays in every log that has it;
//! an established leader has all of it; memory is never ahead of the disk.

use crate::ledger::{Ledger, Observed};
use crate::trace::{Verdict, Violation};
use ensemble_proto::durable::Write;
use ensemble_proto::{Epoch, Zxid};

/// A server began to serve as the leader of an epoch. It may be the last to know that its followers have gone on to a later epoch
/// (I-1), and lacks then what was committed there.
pub fn established(ledger: &Ledger, server: usize, epoch: Epoch) -> Verdict {
    let log = &ledger.servers[server].durable;
    let is_missing = |zxid: Zxid| zxid.epoch() < epoch && !log.has(zxid);
    match ledger.committed.iter().find(|committed| is_missing(committed.zxid)) {
        None => Ok(()),
        Some(committed) => {
            let message = format!("server {server} is established without {}, which is committed", committed.zxid);
            Err(Violation::new("I-5", message))
        }
    }
}

/// A server that was promised an epoch as its leader enters it: a quorum made that promise whose history is not beyond its own (Zab's
/// discovery). Elections see to it nearly always; this is what holds when they do not.
pub fn entered(ledger: &Ledger, server: usize, epoch: Epoch) -> Verdict {
    let Some(promises) = ledger.promises.get(&(epoch, server)) else { return Ok(()) };
    let log = &ledger.servers[server].requested;
    let own = history(log.current, log.last());
    let agrees = |voter: usize| voter == server || promises.get(&voter).is_some_and(|history| *history <= own);
    if ledger.is_quorum(agrees) {
        return Ok(());
    }
    let agreeing: Vec<usize> = ledger.voting().filter(|voter| agrees(*voter)).collect();
    let message =
        format!("server {server} enters {epoch}; not beyond its history are {agreeing:?}, which are no quorum");
    Err(Violation::new("I-5", message))
}

/// Histories are ordered by the epoch that they entered last, then by how far they go; who entered one has all that its leader had.
pub fn history(current: Epoch, last: Zxid) -> (Epoch, Zxid) {
    (current, last.max(Zxid::new(current, 0)))
}

/// A server asks for a write: none removes a committed record that it has applied, or that then is no longer on the disks of a
/// quorum. (A follower that returns to its leader in the same epoch is cut to what is committed at that moment: its former ACKs
/// count no more, so a later record may be committed without it while the cut is on its way, and is sent to it again.)
pub fn written(ledger: &Ledger, server: usize, write: &Write) -> Verdict {
    let kept = match write {
        Write::Truncate { to } => *to,
        Write::InstallSnapshot { zxid } => *zxid,
        _ => return Ok(()),
    };
    let observed = &ledger.servers[server];
    let keeps = |index: usize, zxid: Zxid| {
        let is_asked_for = |other: &Observed| other.is_wiped || other.requested.has(zxid);
        index != server && ledger.has(index, zxid) && ledger.servers.get(index).is_some_and(is_asked_for)
    };
    let is_lost = |zxid: Zxid| zxid <= observed.applied || !ledger.is_quorum(|index| keeps(index, zxid));
    let removed = |zxid: Zxid| zxid > kept && observed.requested.has(zxid);
    let lost = ledger.committed.iter().rev().find(|committed| removed(committed.zxid) && is_lost(committed.zxid));
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
        Write::InstallSnapshot { zxid } => format!("a snapshot of {zxid}"),
        Write::Append { .. } | Write::AcceptedEpoch(_) | Write::CurrentEpoch(_) => "a write".to_string(),
        Write::ReceiveSnapshot { .. } | Write::SnapshotPart { .. } | Write::AbandonSnapshot => "a part".to_string(),
        Write::LastSeen(_) | Write::Membership(_) => "a configuration".to_string(),
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
