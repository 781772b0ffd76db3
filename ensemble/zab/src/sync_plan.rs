//! How a learner's history is made equal to the leader's: Diff, Trunc or Snap (`LearnerHandler.syncFollower`).
//!
//! The leader's history, as far as it is known here, is `base` followed by `records` without a gap: what is in memory, or, when the
//! learner is older than that, what was read from the log on disk. Every record of it is
//! committed, or is the leader's initial history. A learner's log is a prefix of the history of some former leader; two
//! logs that hold a record of the same epoch agree on everything up to the lesser of their last records of that epoch.
//! So a learner's last zxid decides:
//!
//! ```text
//!            base          end
//! ────────────┼─────────────┼──────▶ leader
//!   peer                                 Snap   older than what is known
//!                  peer                  Diff   in our history: send what follows
//!                  peer'                 Trunc  not in our history, but its epoch is: cut to our last of that epoch
//!                             peer'      Trunc  beyond our end, in the epoch of our end
//!                             peer''     Snap   of an epoch that we do not know
//! ```
//!
//! Differs from ZooKeeper: TRUNC is also used when records of later epochs follow (ZooKeeper sends a snapshot then), and
//! never towards a zxid that the learner need not have (ZooKeeper truncates to the last committed zxid whatever its epoch,
//! and a learner that does not have it keeps a wrong record).

use ensemble_proto::Zxid;

/// What the learner does first, and which of the leader's records follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plan {
    /// Keep the log.
    Diff { after: Zxid },
    /// Cut the log.
    Trunc { to: Zxid },
    /// Take the leader's tree as it is; records after its position follow.
    Snap,
}

/// `peer` is the learner's last logged zxid as it says; `records` are the zxids after `base`, ascending.
pub(crate) fn plan(peer: Zxid, base: Zxid, records: &[Zxid]) -> Plan {
    let end = records.last().copied().unwrap_or(base);
    if peer == end {
        return Plan::Diff { after: end };
    }
    // Nothing, or an empty store: whether what we remember starts at nothing is not worth proving (ZOOKEEPER-4352).
    if peer <= Zxid::ZERO || peer < base {
        return Plan::Snap;
    }
    // The last of ours that is not after the learner's last.
    let floor = match records.partition_point(|zxid| *zxid <= peer) {
        0 => base,
        count => records[count - 1],
    };
    if floor == peer {
        return Plan::Diff { after: peer };
    }
    // A server that led an epoch without transactions stands at its beginning; it has everything before.
    if peer.counter() == 0 && peer < end {
        return Plan::Diff { after: floor };
    }
    if floor.epoch() == peer.epoch() && floor.counter() > 0 { Plan::Trunc { to: floor } } else { Plan::Snap }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ensemble_proto::Epoch;

    fn at(epoch: i64, counter: u32) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    /// The leader has 1.3 | 1.4 1.5 3.1 3.2 in memory; 1.3 is the base.
    #[test]
    fn a_learners_last_zxid_decides() {
        let base = at(1, 3);
        let records = [at(1, 4), at(1, 5), at(3, 1), at(3, 2)];
        let check = |peer: Zxid, expected: Plan| assert_eq!(plan(peer, base, &records), expected, "{peer}");
        check(Zxid::NONE, Plan::Snap);
        check(Zxid::ZERO, Plan::Snap);
        check(at(1, 2), Plan::Snap);
        check(at(1, 3), Plan::Diff { after: at(1, 3) });
        check(at(1, 4), Plan::Diff { after: at(1, 4) });
        check(at(1, 5), Plan::Diff { after: at(1, 5) });
        check(at(1, 6), Plan::Trunc { to: at(1, 5) });
        check(at(2, 0), Plan::Diff { after: at(1, 5) });
        check(at(2, 1), Plan::Snap);
        check(at(3, 0), Plan::Diff { after: at(1, 5) });
        check(at(3, 1), Plan::Diff { after: at(3, 1) });
        check(at(3, 2), Plan::Diff { after: at(3, 2) });
        check(at(3, 3), Plan::Trunc { to: at(3, 2) });
        check(at(4, 0), Plan::Snap);
        check(at(4, 1), Plan::Snap);
    }

    #[test]
    fn an_empty_history_is_equal_only_to_an_empty_history() {
        assert_eq!(plan(Zxid::ZERO, Zxid::ZERO, &[]), Plan::Diff { after: Zxid::ZERO });
        assert_eq!(plan(Zxid::NONE, Zxid::ZERO, &[]), Plan::Snap);
        assert_eq!(plan(at(1, 1), Zxid::ZERO, &[]), Plan::Snap);
        assert_eq!(plan(Zxid::ZERO, Zxid::ZERO, &[at(1, 1)]), Plan::Snap);
    }

    #[test]
    fn a_snapshot_without_records_is_a_history_too() {
        assert_eq!(plan(at(2, 7), at(2, 7), &[]), Plan::Diff { after: at(2, 7) });
        assert_eq!(plan(at(2, 8), at(2, 7), &[]), Plan::Trunc { to: at(2, 7) });
        assert_eq!(plan(at(2, 6), at(2, 7), &[]), Plan::Snap);
        assert_eq!(plan(at(2, 8), at(2, 0), &[]), Plan::Snap);
    }
}
