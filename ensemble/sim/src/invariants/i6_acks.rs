//! I-6: an ACK implies durable; what a server acknowledged is on its disk after any crash, for ever.

use crate::ledger::Ledger;
use crate::trace::{Verdict, Violation};
use ensemble_proto::{Epoch, Zxid};

/// A server sends an ACK of a record, or of NEWLEADER (counter 0): then of all that its leader had before its epoch. The ACK of UPTODATE looks the
/// same, and may leave when there are records of the epoch on their way to the disk.
pub fn sent(ledger: &Ledger, server: usize, zxid: Zxid) -> Verdict {
    let observed = &ledger.servers[server];
    if zxid.counter() == 0 {
        if observed.durable.current < zxid.epoch() {
            let found = observed.durable.current;
            let message =
                format!("server {server} acknowledges NEWLEADER {zxid} with currentEpoch {found} on its disk");
            return Err(Violation::new("I-6", message));
        }
        if !observed.durable.has(observed.requested.last_before(zxid)) {
            let message = format!("server {server} acknowledges NEWLEADER {zxid} before its history is durable");
            return Err(Violation::new("I-6", message));
        }
        return Ok(());
    }
    if observed.durable.has(zxid) {
        return Ok(());
    }
    Err(Violation::new("I-6", format!("server {server} acknowledges {zxid} before it is durable")))
}

/// A server found `records` on top of `base`, and these epochs, after a crash.
pub fn recovered(
    ledger: &Ledger,
    server: usize,
    base: Zxid,
    records: &[Zxid],
    accepted: Epoch,
    current: Epoch,
) -> Verdict {
    let observed = &ledger.servers[server];
    let fail = |message: String| Err(Violation::new("I-6", format!("server {server} {message} after a crash")));
    let has = |zxid: Zxid| zxid <= base || records.binary_search(&zxid).is_ok();
    if let Some(lost) = observed.durable.records.iter().find(|zxid| !has(**zxid) && observed.requested.has(**zxid)) {
        return fail(format!("has lost {lost}, which was durable,"));
    }
    let is_known = |zxid: Zxid| observed.requested.has(zxid) || observed.durable.has(zxid);
    if let Some(unknown) = records.iter().find(|zxid| !is_known(**zxid)) {
        return fail(format!("has {unknown}, which it had not asked for or had removed,"));
    }
    if accepted < observed.durable.accepted || current < observed.durable.current {
        let (was_accepted, was_current) = (observed.durable.accepted, observed.durable.current);
        return fail(format!("is back in epochs {accepted}, {current} from {was_accepted}, {was_current}"));
    }
    Ok(())
}
