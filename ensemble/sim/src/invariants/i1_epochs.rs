//! I-1: at most one leader is established in an epoch, and on every server epochs grow and
//! acceptedEpoch ≥ currentEpoch ≥ epoch of the last record.

use crate::ledger::{Ledger, Log};
use crate::trace::{Verdict, Violation};
use ensemble_proto::Epoch;
use ensemble_proto::durable::Write;

/// A server began to serve as the leader of an epoch. It may be the last to know that its followers have gone on to a later
/// epoch: a leader whose ACKs arrive late is like one that is deposed. That it commits nothing more is I-2's and I-3's.
pub fn established(ledger: &mut Ledger, server: usize, epoch: Epoch) -> Verdict {
    if let Some(other) = ledger.leaders.get(&epoch)
        && *other != server
    {
        return Err(Violation::new("I-1", format!("servers {other} and {server} are both leaders of epoch {epoch}")));
    }
    ledger.leaders.insert(epoch, server);
    Ok(())
}

/// A server asks for a write on top of `log`. It accepts an epoch once: who says so twice is counted by two leaders of it.
pub fn written(log: &Log, server: usize, write: &Write) -> Verdict {
    let problem = match write {
        Write::AcceptedEpoch(epoch) if *epoch <= log.accepted => format!("accepts {epoch} after {}", log.accepted),
        Write::CurrentEpoch(epoch) if *epoch < log.current => format!("enters {epoch} after {}", log.current),
        Write::CurrentEpoch(epoch) if *epoch > log.accepted => format!("enters {epoch}, accepted {}", log.accepted),
        Write::Append { zxid, .. } if zxid.epoch() > log.accepted => format!("logs {zxid}, accepted {}", log.accepted),
        _ => return Ok(()),
    };
    Err(Violation::new("I-1", format!("server {server} {problem}")))
}
