//! What a server counts and measures of its part in atomic broadcast, under ZooKeeper's names (`ServerMetrics.java`). Nothing here
//! decides anything. Times are those of the inputs: what happens within one input takes none.

use ensemble_proto::{ServerId, Summary, Zxid};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Proposals whose time is remembered. An acknowledgement that comes later than so many other proposals is not measured.
const TIMES_MAX: usize = 4096;

/// Counted since the start; times in milliseconds.
#[derive(Clone, Default, Debug)]
pub struct Measures {
    /// Times that it began to look for a leader.
    pub looking_count: u64,
    /// Synchronisations by DIFF that it began as a leader, or as a master of observers.
    pub diff_count: u64,
    /// Synchronisations by SNAP.
    pub snap_count: u64,
    /// Transactions that it committed as a leader.
    pub commit_count: u64,
    /// Proposals received from a leader while serving.
    pub learner_proposal_received_count: u64,
    /// COMMIT and INFORM received from a leader while serving.
    pub learner_commit_received_count: u64,
    /// Times that it gave up leading because a voter looked for another leader.
    pub quit_leading_due_to_disloyal_voter: u64,
    /// From looking to a decision.
    pub election_time: Summary,
    /// Leader: from a proposal to its application here.
    pub proposal_latency: Summary,
    /// Leader: from a proposal to a quorum that has it on disk.
    pub quorum_ack_latency: Summary,
    /// Leader: from a proposal to the acknowledgement of each voter, itself included.
    pub ack_latency: BTreeMap<ServerId, Summary>,
    /// Learner: from a proposal's receipt until it is on this disk, and acknowledged.
    pub proposal_ack_creation_latency: Summary,
    /// Learner: from a proposal's receipt to its COMMIT.
    pub commit_propagation_latency: Summary,
    /// Follower: from the leader's epoch to UPTODATE.
    pub follower_sync_time: Summary,
    /// The same of an observer.
    pub observer_sync_time: Summary,
    /// Leader: learners that are sent a snapshot, whenever one more is.
    pub inflight_snap_count: Summary,
    /// Leader: learners that are sent transactions alone, whenever one more is.
    pub inflight_diff_count: Summary,
}

/// When each of the newest proposals was made, or came. Their zxids follow each other.
#[derive(Debug, Default)]
pub(crate) struct Times(VecDeque<(Zxid, Duration)>);

impl Times {
    pub(crate) fn mark(&mut self, zxid: Zxid, now: Duration) {
        if self.0.len() == TIMES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((zxid, now));
    }

    /// The times of those after `after`, up to `end`.
    pub(crate) fn between(&self, after: Zxid, end: Zxid) -> impl Iterator<Item = Duration> + '_ {
        let first = self.0.partition_point(|(zxid, _)| *zxid <= after);
        self.0.range(first..).take_while(move |(zxid, _)| *zxid <= end).map(|(_, at)| *at)
    }

    /// The time of one.
    pub(crate) fn at(&self, zxid: Zxid) -> Option<Duration> {
        self.0.binary_search_by_key(&zxid, |(zxid, _)| *zxid).ok().map(|index| self.0[index].1)
    }
}

/// Adds how long ago each of these times was.
pub(crate) fn measure(summary: &mut Summary, now: Duration, since: impl Iterator<Item = Duration>) {
    since.for_each(|at| summary.observe_ms(now, now.saturating_sub(at)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_the_newest_proposals_are_remembered() {
        let mut times = Times::default();
        for counter in 1..=TIMES_MAX as i64 + 10 {
            times.mark(Zxid(counter), Duration::from_millis(counter as u64));
        }
        assert_eq!(times.at(Zxid(10)), None, "too old");
        assert_eq!(times.at(Zxid(11)), Some(Duration::from_millis(11)));
        let between: Vec<_> = times.between(Zxid(12), Zxid(14)).map(|at| at.as_millis()).collect();
        assert_eq!(between, [13, 14]);
    }
}
