//! I-7: all trees are equal after the same transaction: live, after a reload from disk, after DIFF, TRUNC and SNAP.

use crate::ledger::Ledger;
use crate::trace::{Verdict, Violation};
use ensemble_proto::Zxid;

/// A server's tree has this digest after a transaction.
pub fn applied(ledger: &mut Ledger, server: usize, zxid: Zxid, digest: u64) -> Verdict {
    let first = *ledger.digests.entry(zxid).or_insert(digest);
    if first == digest {
        return Ok(());
    }
    Err(Violation::new("I-7", format!("server {server} has digest {digest:x} at {zxid}, another had {first:x}")))
}
