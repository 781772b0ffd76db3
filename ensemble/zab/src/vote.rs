//! Votes: which of two is better, and when two are the same (`Vote.java`, `FastLeaderElection.totalOrderPredicate`).

use ensemble_proto::quorum::{Notification, ServerState};
use ensemble_proto::{Epoch, ServerId, Zxid};

/// A vote and what its sender was doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vote {
    pub(crate) leader: ServerId,
    pub(crate) zxid: Zxid,
    pub(crate) round: i64,
    pub(crate) peer_epoch: Epoch,
    pub(crate) state: ServerState,
    pub(crate) version: i32,
}

impl Vote {
    pub(crate) fn of(notification: &Notification) -> Vote {
        Vote {
            leader: notification.leader,
            zxid: notification.zxid,
            round: notification.round,
            peer_epoch: notification.peer_epoch,
            state: notification.state,
            version: notification.version,
        }
    }

    /// Whether this candidate is better: by epoch of its history, then its last zxid, then its id.
    pub(crate) fn beats(&self, other: &Vote) -> bool {
        (self.peer_epoch, self.zxid, self.leader) > (other.peer_epoch, other.zxid, other.leader)
    }

    /// Whether both stand for the same leader. Among servers that are past their election round and zxid no longer
    /// matter (ZOOKEEPER-1732), and with servers of an older layout only the leader is comparable.
    pub(crate) fn agrees_with(&self, other: &Vote) -> bool {
        if self.state == ServerState::Looking || other.state == ServerState::Looking {
            return (self.leader, self.zxid, self.round, self.peer_epoch)
                == (other.leader, other.zxid, other.round, other.peer_epoch);
        }
        if (self.version == 0) != (other.version == 0) {
            return self.leader == other.leader;
        }
        (self.leader, self.peer_epoch) == (other.leader, other.peer_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(peer_epoch: i64, zxid: i64, leader: i64) -> Vote {
        Vote {
            leader: ServerId(leader),
            zxid: Zxid(zxid),
            round: 1,
            peer_epoch: Epoch(peer_epoch),
            state: ServerState::Looking,
            version: 2,
        }
    }

    #[test]
    fn epoch_beats_zxid_beats_id() {
        let ascending =
            [vote(i64::MIN, i64::MIN, i64::MIN), vote(0, 5, 9), vote(1, 3, 9), vote(1, 4, 1), vote(1, 4, 2)];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(a.beats(b), i > j, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn votes_are_compared_by_what_their_senders_do() {
        let looking = vote(1, 4, 2);
        let following = Vote { state: ServerState::Following, ..looking };
        assert!(looking.agrees_with(&looking));
        assert!(!looking.agrees_with(&Vote { round: 2, ..following }));
        assert!(following.agrees_with(&Vote { round: 2, zxid: Zxid(9), ..following }));
        assert!(!following.agrees_with(&Vote { peer_epoch: Epoch(2), ..following }));
        assert!(following.agrees_with(&Vote { peer_epoch: Epoch(2), version: 0, ..following }));
    }
}
