//! What a server is told once: its configuration and what its disk holds.

use crate::mutants::Mutants;
use bytes::Bytes;
use ensemble_proto::membership::Membership;
use ensemble_proto::{Epoch, ServerId, Zxid};
use std::time::Duration;
use thiserror::Error;

/// How this server takes part. [`Config::new`] gives ZooKeeper's defaults; set what differs.
#[derive(Clone, Debug)]
pub struct Config {
    /// `myid`.
    pub id: ServerId,
    /// The ensemble. Empty only for a standalone server.
    pub membership: Membership,
    /// `reconfigEnabled`: the ensemble may change. The same on every server.
    pub reconfig: bool,
    /// `tickTime`: the unit of every limit below.
    pub tick: Duration,
    /// `initLimit`, in ticks: to elect, synchronise and establish a leader; between 1 and about 100.
    pub init_limit: u32,
    /// `syncLimit`, in ticks: silence after which leader and learner give each other up.
    pub sync_limit: u32,
    /// `connectToLearnerMasterLimit`, in ticks: to reach a leader's quorum port; 0 means `initLimit`.
    pub connect_limit: u32,
    /// No ensemble: lead at once, alone, without epoch files (`ZooKeeperServerMain`).
    pub standalone: bool,
    /// `zookeeper.commitLogCount`: committed transactions kept in memory to bring learners up to date.
    pub committed_log_max: usize,
    /// Whether a learner that lacks more than is in memory may get it from the log on disk (`zookeeper.snapshotSizeFactor` not
    /// negative); how long that may be is for the owner to say.
    pub log_syncs: bool,
    /// `zookeeper.forceSnapshotSync`: every learner gets a snapshot.
    pub force_snapshots: bool,
    /// `leader.maxConcurrentSnapSyncs`: learners that are sent a snapshot at once. One more observer is sent away to try again; a
    /// follower is not, because a quorum may wait for it.
    pub snap_syncs_max: usize,
    /// `leader.maxConcurrentDiffSyncs`: the same for learners that are sent transactions only.
    pub diff_syncs_max: usize,
    /// `globalOutstandingLimit`: proposals that may be uncommitted at once.
    pub outstanding_max: usize,
    /// The last counter of an epoch: a leader that has used it steps down. At most `u32::MAX - 1`; tests lower it.
    pub zxid_counter_max: u32,
    /// `zookeeper.fastleader.minNotificationInterval`: first interval after which a vote is repeated; doubles.
    pub notification_interval_min: Duration,
    /// `zookeeper.fastleader.maxNotificationInterval`: its ceiling.
    pub notification_interval_max: Duration,
    /// How long a server that sees a quorum for its vote waits for a better one (`FastLeaderElection.finalizeWait`).
    pub finalize_wait: Duration,
    /// Which known-wrong variant to be.
    pub mutants: Mutants,
}

impl Config {
    /// ZooKeeper's defaults: a tick of 2 s, `initLimit` 10, `syncLimit` 5.
    pub fn new(id: ServerId, membership: Membership) -> Config {
        Config {
            id,
            membership,
            reconfig: false,
            tick: Duration::from_millis(2000),
            init_limit: 10,
            sync_limit: 5,
            connect_limit: 0,
            standalone: false,
            committed_log_max: 500,
            log_syncs: true,
            force_snapshots: false,
            snap_syncs_max: 10,
            diff_syncs_max: 100,
            outstanding_max: 1000,
            zxid_counter_max: u32::MAX - 1,
            notification_interval_min: Duration::from_millis(200),
            notification_interval_max: Duration::from_secs(60),
            finalize_wait: Duration::from_millis(200),
            mutants: Mutants::default(),
        }
    }

    pub(crate) fn init_time(&self) -> Duration {
        self.tick * self.init_limit
    }

    pub(crate) fn sync_time(&self) -> Duration {
        self.tick * self.sync_limit
    }

    pub(crate) fn connect_time(&self) -> Duration {
        if self.connect_limit > 0 { self.tick * self.connect_limit } else { self.init_time() }
    }
}

/// What the disk held at start.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// `acceptedEpoch`: no leader of an earlier epoch may be followed.
    pub accepted_epoch: Epoch,
    /// `currentEpoch`: the log holds the whole initial history of this epoch's leader.
    pub current_epoch: Epoch,
    /// The state the tree was loaded to: the zxid of the snapshot; zero for an empty tree.
    pub snapshot: Zxid,
    /// The tree may hold effects of transactions after `snapshot` up to here, because they were applied while the snapshot was
    /// written. So they are known to be committed, and the tree is exact only once they have been delivered; that happens at
    /// once. At or below `snapshot` for an exact tree.
    pub complete: Zxid,
    /// Every log record after `snapshot`, ascending without gaps.
    pub tail: Vec<(Zxid, Bytes)>,
    /// False for an empty store that may not vote: an ensemble's volume may have been lost, so this server must first
    /// learn the history from a leader (`db.autocreate=false`).
    pub trusted: bool,
    /// The last seen configuration ([`ensemble_proto::durable::Write::LastSeen`]), unless the active one is as new.
    pub last_seen: Option<Membership>,
    /// The configuration that the state at `snapshot` holds, if it holds one; whoever knows the tree looks.
    pub held: Option<Membership>,
}

/// Why this server must not take part with the disk it has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HistoryError {
    /// Epoch files contradict each other.
    #[error("accepted epoch {accepted} is below current epoch {current}")]
    AcceptedBelowCurrent {
        /// `acceptedEpoch`.
        accepted: Epoch,
        /// `currentEpoch`.
        current: Epoch,
    },
    /// The log holds records of an epoch that this server never accepted.
    #[error("last logged zxid {last} is of an epoch above the accepted epoch {accepted}")]
    LogAboveAccepted {
        /// The last record.
        last: Zxid,
        /// `acceptedEpoch`.
        accepted: Epoch,
    },
    /// The log lacks records.
    #[error("log has a gap: {found} comes after {after}")]
    Gap {
        /// The record before the gap, or the snapshot.
        after: Zxid,
        /// The record after the gap.
        found: Zxid,
    },
    /// The server is not one of the ensemble.
    #[error("server {0} is not in the configuration")]
    NotAMember(ServerId),
}

impl History {
    /// The last logged position, or the snapshot's.
    pub fn last(&self) -> Zxid {
        self.tail.last().map_or(self.snapshot, |(zxid, _)| *zxid)
    }

    /// Checks log and epochs against each other.
    pub(crate) fn validate(&self, standalone: bool) -> Result<(), HistoryError> {
        let mut after = self.snapshot;
        for &(found, _) in &self.tail {
            if !found.follows(after) {
                return Err(HistoryError::Gap { after, found });
            }
            after = found;
        }
        let (accepted, current, last) = (self.accepted_epoch, self.current_epoch, self.last());
        if standalone {
            return Ok(());
        }
        if accepted < current {
            return Err(HistoryError::AcceptedBelowCurrent { accepted, current });
        }
        if last.epoch() > accepted {
            return Err(HistoryError::LogAboveAccepted { last, accepted });
        }
        Ok(())
    }
}
