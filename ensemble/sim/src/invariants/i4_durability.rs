//! I-4: CommittedLogDurability. A committed transaction survives the loss of power at this instant on a quorum.

use crate::ledger::Ledger;
use crate::trace::{Verdict, Violation};
use ensemble_proto::Zxid;

/// The order grew by the transaction at `index`: a quorum has reported it durable. A server that lost its volume counts as
/// having it: what it once had is not the protocol's to lose.
pub fn committed(ledger: &Ledger, index: usize) -> Verdict {
    let (zxid, quorum) = (ledger.committed[index].zxid, ledger.quorum());
    let voters = ledger.voting().filter_map(|voter| ledger.servers.get(voter));
    let having = voters.filter(|server| server.is_wiped || server.durable.has(zxid)).count();
    if having >= quorum {
        return Ok(());
    }
    Err(Violation::new("I-4", format!("{zxid} is committed and durable on {having} servers, a quorum is {quorum}")))
}

/// The same, on the disks: `logs` is what each server would find after a power cut now, `None` for a wiped one.
pub fn on_disks(ledger: &Ledger, logs: &[Option<Vec<Zxid>>], bases: &[Zxid], quorum: usize) -> Verdict {
    let voters = ledger.voters();
    for committed in &ledger.committed {
        let zxid = committed.zxid;
        let has = |(log, base): (&Option<Vec<Zxid>>, &Zxid)| {
            log.as_ref().is_none_or(|records| zxid <= *base || records.binary_search(&zxid).is_ok())
        };
        let of_voters = logs.iter().zip(bases).enumerate().filter(|(index, _)| voters.contains(index));
        let having = of_voters.filter(|(_, pair)| has(*pair)).count();
        if having < quorum {
            let message = format!("{zxid} is committed and on the disks of {having} servers, a quorum is {quorum}");
            return Err(Violation::new("I-4", message));
        }
    }
    Ok(())
}
