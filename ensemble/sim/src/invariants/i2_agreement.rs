//! I-2: PrefixConsistency, TotalOrder, Agreement, Integrity. There is one order; what a server applies is a part of it
//! without a hole; nothing is in it that was not proposed, and nothing twice.

use crate::ledger::{Committed, Ledger};
use crate::trace::{Verdict, Violation};
use ensemble_proto::Zxid;

/// A server went from having applied `before` to having applied `after`: extends the single order when it is ahead of all.
pub fn applied(ledger: &mut Ledger, server: usize, before: Zxid, after: Zxid) -> Verdict {
    let observed = &ledger.servers[server].requested;
    let log = observed.between(before, after).to_vec();
    let from_snapshot = observed.base.max(before);
    let Some(mut position) = ledger.position(from_snapshot) else {
        let message = format!("server {server} starts from {from_snapshot}, which nobody has committed");
        return Err(Violation::new("I-2", message));
    };
    for zxid in log {
        match ledger.committed.get(position) {
            Some(committed) if committed.zxid == zxid => {}
            Some(committed) => {
                let message = format!("server {server} applies {zxid} where others applied {}", committed.zxid);
                return Err(Violation::new("I-2", message));
            }
            None => {
                let Some((payload, _)) = ledger.proposed.get(&zxid) else {
                    return Err(Violation::new(
                        "I-2",
                        format!("server {server} applies {zxid}, which nobody proposed"),
                    ));
                };
                ledger.committed.push(Committed { zxid, payload: payload.clone() });
            }
        }
        position += 1;
    }
    if ledger.position(after) != Some(position) {
        return Err(Violation::new("I-2", format!("server {server} has applied {after}, which is not in its log")));
    }
    Ok(())
}
