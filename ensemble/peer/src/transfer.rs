//! Handing the office of the leader over: the last transaction, which changes nothing.

use crate::Peer;
use ensemble_proto::txn::{Txn, TxnHeader, TxnRecord};
use ensemble_proto::{ErrorCode, Now, ServerId, SessionId};
use ensemble_zab::TransferRefusal;

impl Peer {
    /// Hands the office of the leader over to a server, or to the follower that is the best for it; returns to which. Writes that come
    /// until it is done wait; those that wait when it is done are lost with the connections of their clients, as at any end of an office.
    /// [`ensemble_zab::Zab::transferring_to`] tells how it goes.
    ///
    /// # Errors
    /// When it cannot be; nothing has happened then.
    pub fn transfer_office(&mut self, now: Now, to: Option<ServerId>) -> Result<ServerId, TransferRefusal> {
        let zxid = self.zab.next_zxid();
        let header = TxnHeader { session: SessionId(0), cxid: 0, zxid, time_ms: now.wall_ms };
        // An error transaction: Java's servers know it too.
        let nothing = TxnRecord { header, txn: Txn::Error(ErrorCode::RUNTIME_INCONSISTENCY), digest: None };
        let to = match to.or_else(|| self.zab.best_successor()) {
            Some(to) => to,
            None if self.is_leading() => return Err(TransferRefusal::NobodySynced),
            None => return Err(TransferRefusal::NotLeading),
        };
        self.zab.transfer(now, to, nothing.encode())?;
        self.pump(now);
        Ok(to)
    }

    /// This server is about to stop: it takes part in no election any more. What it is in the middle of goes on.
    pub fn retire(&mut self, now: Now) {
        self.zab.retire(now);
        self.pump(now);
    }

    fn is_leading(&self) -> bool {
        self.office == Some(ensemble_zab::Role::Leading)
    }
}
