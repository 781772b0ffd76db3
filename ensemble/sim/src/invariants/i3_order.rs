//! I-3: LocalPrimaryOrder and GlobalPrimaryOrder. A leader's transactions are committed in the order in which it proposed them,
//! without a hole, and after every transaction of an earlier epoch. (PrimaryIntegrity is I-5's: a leader has all that was
//! committed before it is established, hence before it proposes.)

use crate::ledger::Ledger;
use crate::trace::{Verdict, Violation};
use ensemble_proto::Zxid;

/// The order grew by the transaction at `index`.
pub fn committed(ledger: &Ledger, index: usize) -> Verdict {
    let zxid = ledger.committed[index].zxid;
    let before = index.checked_sub(1).map_or(Zxid::ZERO, |index| ledger.committed[index].zxid);
    if zxid.follows(before) {
        return Ok(());
    }
    Err(Violation::new("I-3", format!("{zxid} is committed directly after {before}")))
}
