//! What a server asks its disk to make durable, in one strict order.
//!
//! The pure core emits `(Ticket, Write)` pairs; the storage performs them in that order and reports the highest ticket
//! that is durable, which means that every write up to it is. One sync may serve many writes. Messages whose
//! truth depends on a write (an ACK, an ACKEPOCH, a vote) are held back by the core until its ticket is reported.
//! Because the order is total, a write of a former role is always durable before a write of the next (ZOOKEEPER-4712).

use crate::membership::Membership;
use crate::{Epoch, Zxid};
use bytes::Bytes;

/// Names a write; tickets are issued in ascending order, starting at 1 in each process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ticket(pub u64);

/// A part of the log on disk, read again to bring a learner up to date.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSlice {
    /// The record before the first, of this log: where the history that it shows begins.
    pub floor: Zxid,
    /// Zxids and payloads, without a gap; empty where the log ends.
    pub records: Vec<(Zxid, Bytes)>,
}

/// One durable write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Append a record to the transaction log. `zxid` follows the last record ([`Zxid::follows`]), except for the first
    /// record after an installed snapshot.
    Append {
        /// The record's zxid.
        zxid: Zxid,
        /// TxnHeader, txn, optional digest: the bytes of the proposal, verbatim.
        payload: Bytes,
    },
    /// Remove every log record after `to`, and every snapshot taken after `to`. A record `to` exists, or a snapshot of it.
    Truncate {
        /// The last zxid that stays.
        to: Zxid,
    },
    /// Promise to follow no leader of an earlier epoch.
    AcceptedEpoch(Epoch),
    /// Record that the log holds the whole initial history of the leader of this epoch.
    CurrentEpoch(Epoch),
    /// A snapshot begins to arrive from a leader: keep its parts beside everything that there is. One that is being received already
    /// is forgotten.
    ReceiveSnapshot {
        /// Every transaction up to it is in the snapshot.
        zxid: Zxid,
    },
    /// The next part of the snapshot that is being received.
    SnapshotPart {
        /// Sessions, ACL table and nodes up to the terminating "/", as on the wire, in any number of parts.
        bytes: Bytes,
    },
    /// Forget the snapshot that is being received.
    AbandonSnapshot,
    /// Replace snapshot and log by the snapshot that was received. Older snapshots and every log record are superseded.
    InstallSnapshot {
        /// Every transaction up to it is in the snapshot.
        zxid: Zxid,
    },
    /// Remember this configuration as the last seen: proposed, and perhaps committed (`zoo.cfg.dynamic.next`). Replaces the one
    /// remembered before. Until a configuration of its version or a later one is active, this server counts quorums in both, after a
    /// restart too.
    LastSeen(Membership),
    /// Remember this configuration as the active one (`zoo.cfg.dynamic.<version>`). A last seen one of its version or an earlier one
    /// is forgotten.
    Membership(Membership),
}
