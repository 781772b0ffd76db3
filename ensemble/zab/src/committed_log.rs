//! The last committed transactions, kept to bring learners up to date without a snapshot
//! (`ZKDatabase.committedLog`).
//!
//! Invariant: the records follow each other without a gap, the first follows `base`, and every record delivered on this
//! server passes through here, however it came (ZOOKEEPER-4925).

use bytes::Bytes;
use ensemble_proto::Zxid;
use std::collections::VecDeque;

/// Most payload bytes kept, whatever their number: the oldest go first. A learner is sent all of them at once, and small ones are nearly twice as long on the wire:
/// this has to stay below what may wait for a connection.
const COMMITTED_LOG_BYTES_MAX: usize = 32 << 20;

#[derive(Debug)]
pub(crate) struct CommittedLog {
    base: Zxid,
    records: VecDeque<(Zxid, Bytes)>,
    bytes: usize,
    count_max: usize,
    /// Records after it stay, whatever their number, as long as their bytes allow it.
    pinned: Option<Zxid>,
}

impl CommittedLog {
    /// Nothing but a state at `base`.
    pub(crate) fn new(base: Zxid, count_max: usize) -> CommittedLog {
        CommittedLog { base, records: VecDeque::new(), bytes: 0, count_max, pinned: None }
    }

    /// The position just before the first record.
    pub(crate) fn base(&self) -> Zxid {
        self.base
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &(Zxid, Bytes)> {
        self.records.iter()
    }

    /// How many are kept for whoever comes: all but those that a snapshot on its way needs behind it.
    pub(crate) fn len(&self) -> usize {
        self.records.partition_point(|(zxid, _)| self.pinned.is_none_or(|pinned| *zxid <= pinned))
    }

    fn last(&self) -> Zxid {
        self.records.back().map_or(self.base, |(zxid, _)| *zxid)
    }

    pub(crate) fn push(&mut self, zxid: Zxid, payload: Bytes) {
        assert!(zxid.follows(self.last()), "committed log has no gap: {zxid} after {}", self.last());
        self.push_unchecked(zxid, payload);
    }

    /// Only the mutants of the gap come here directly.
    pub(crate) fn push_unchecked(&mut self, zxid: Zxid, payload: Bytes) {
        self.bytes += payload.len();
        self.records.push_back((zxid, payload));
        self.shed();
    }

    /// Keeps what follows `pinned` for learners that will ask for it; nothing beyond the usual number for `None`.
    pub(crate) fn pin(&mut self, pinned: Option<Zxid>) {
        self.pinned = pinned;
        self.shed();
    }

    fn shed(&mut self) {
        while let Some((zxid, payload)) = self.records.front() {
            let is_spare = self.records.len() > self.count_max && self.pinned.is_none_or(|pinned| *zxid <= pinned);
            if !is_spare && self.bytes <= COMMITTED_LOG_BYTES_MAX {
                break;
            }
            self.bytes -= payload.len();
            self.base = *zxid;
            self.records.pop_front();
        }
    }

    /// Forgets everything: the state was replaced by a snapshot.
    pub(crate) fn reset(&mut self, base: Zxid) {
        *self = CommittedLog::new(base, self.count_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_the_base_moves_with_them() {
        let mut log = CommittedLog::new(Zxid(0), 2);
        for counter in 1..=4 {
            log.push(Zxid(counter), Bytes::from_static(b"x"));
        }
        assert_eq!(log.base(), Zxid(2));
        assert_eq!(log.records().map(|(zxid, _)| zxid.0).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn what_is_pinned_stays_as_long_as_its_bytes_allow() {
        let mut log = CommittedLog::new(Zxid(0), 2);
        log.push(Zxid(1), Bytes::from_static(b"x"));
        log.pin(Some(Zxid(1)));
        let part = Bytes::from(vec![0; COMMITTED_LOG_BYTES_MAX / 4]);
        for counter in 2..=5 {
            log.push(Zxid(counter), part.clone());
        }
        assert_eq!((log.base(), log.len()), (Zxid(1), 0));
        log.push(Zxid(6), part);
        assert_eq!(log.base(), Zxid(2), "more bytes than may be kept");
        log.pin(None);
        assert_eq!((log.base(), log.len()), (Zxid(4), 2));
    }

    #[test]
    #[should_panic(expected = "committed log has no gap: 0x3 after 0x1")]
    fn a_gap_is_a_bug() {
        let mut log = CommittedLog::new(Zxid(0), 2);
        log.push(Zxid(1), Bytes::new());
        log.push(Zxid(3), Bytes::new());
    }
}
