//! The ids that order and name everything: zxid, epoch, server, session.

use std::fmt;

/// Position of a transaction in the ensemble's single order: epoch in the upper 32 bits, counter in the lower
/// (`ZxidUtils.java`). Compared as a signed number, as ZooKeeper does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(pub i64);

impl Zxid {
    /// The state of a fresh, empty tree. No transaction has it.
    pub const ZERO: Zxid = Zxid(0);
    /// "Nothing": an empty store that may not vote (`FileTxnSnapLog.restore` with `db.autocreate=false`).
    pub const NONE: Zxid = Zxid(-1);

    /// The zxid of the `counter`th transaction of `epoch`.
    pub const fn new(epoch: Epoch, counter: u32) -> Zxid {
        Zxid((epoch.0 << 32) | counter as i64)
    }

    /// The epoch of the leader that proposed it.
    pub const fn epoch(self) -> Epoch {
        Epoch(self.0 >> 32)
    }

    /// The position within its epoch; the first transaction has 1.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The zxid that must follow this one within its epoch, or `None` when the counter is exhausted (ZOOKEEPER-1277).
    pub const fn next(self) -> Option<Zxid> {
        if self.counter() == u32::MAX { None } else { Some(Zxid(self.0 + 1)) }
    }

    /// Whether `self` may directly follow `previous` in a log: the next counter of the same epoch, or the first
    /// transaction of a later epoch.
    pub fn follows(self, previous: Zxid) -> bool {
        previous.next() == Some(self) || (self.epoch() > previous.epoch() && self.counter() == 1)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A leader's reign. Chosen above every epoch that a quorum has accepted; never negative for an established leader.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Epoch(pub i64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A server of the ensemble (`myid`, `sid`): 0..=255 in practice; negative values are used for anonymous peers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerId(pub i64);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A client's session. Zero is never a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub i64);

impl SessionId {
    /// The server that gave it: its id's low byte.
    pub fn server(self) -> u8 {
        (self.0 as u64 >> 56) as u8
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zxid_is_an_epoch_and_a_counter() {
        let zxid = Zxid::new(Epoch(3), 7);
        assert_eq!((zxid.epoch(), zxid.counter(), zxid.to_string()), (Epoch(3), 7, "0x300000007".to_string()));
    }

    #[test]
    fn a_log_has_no_gap_within_an_epoch_and_starts_an_epoch_at_one() {
        let at = |epoch, counter| Zxid::new(Epoch(epoch), counter);
        assert!(at(1, 2).follows(at(1, 1)));
        assert!(at(4, 1).follows(at(1, 9)));
        assert!(!at(1, 3).follows(at(1, 1)));
        assert!(!at(4, 2).follows(at(1, 9)));
        assert!(!at(1, 1).follows(at(1, 1)));
        assert_eq!(at(1, u32::MAX).next(), None);
    }
}
