//! I-4: CommittedLogDurability. A committed transaction survives the loss of power at this instant on a quorum.

use crate::ledger::Ledger;
use crate::trace::{Verdict, Violation};
use ensemble_proto::Zxid;

/// The order grew by the transaction at `index`: a quorum has reported it durable.
pub fn committed(ledger: &Ledger, index: usize) -> Verdict {
    let zxid = ledger.committed[index].zxid;
    if ledger.is_quorum(|server| ledger.has(server, zxid)) {
        return Ok(());
    }
    let having: Vec<usize> = ledger.voting().filter(|server| ledger.has(*server, zxid)).collect();
    Err(Violation::new("I-4", format!("{zxid} is committed and durable on servers {having:?}, which are no quorum")))
}

/// The same, on the disks: `logs` is what each server would find after a power cut now, `None` for a wiped one.
pub fn on_disks(ledger: &Ledger, logs: &[Option<Vec<Zxid>>], bases: &[Zxid]) -> Verdict {
    for committed in &ledger.committed {
        let zxid = committed.zxid;
        let has = |server: usize| {
            let is_there = |records: &Vec<Zxid>| zxid <= bases[server] || records.binary_search(&zxid).is_ok();
            logs.get(server).is_some_and(|log| log.as_ref().is_none_or(is_there))
        };
        if !ledger.is_quorum(has) {
            let having: Vec<usize> = ledger.voting().filter(|server| has(*server)).collect();
            let message = format!("{zxid} is committed and on the disks of servers {having:?}, which are no quorum");
            return Err(Violation::new("I-4", message));
        }
    }
    Ok(())
}
