//! Syncs waiting at the leader.
//!
//! A sync is complete when everything proposed before it is committed *and* a quorum has answered a PING sent after it
//! arrived: then no later leader was established before the sync began, so nothing committed anywhere before it is missing.
//!
//! Differs from ZooKeeper: whose leader answers without asking anybody, so a deposed leader may answer with an old state.
//!
//! PINGs carry no number, but a learner answers each one in order. Rounds are counted here, and a round is begun at once for
//! a sync unless one is on its way: then the sync waits for the next. So any number of syncs costs one round trip at a time.

use crate::effect::SyncOrigin;
use ensemble_proto::Zxid;
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(crate) struct SyncQueue {
    /// In order of arrival. As many as clients and learners have asked for and wait for.
    waiting: VecDeque<Waiting>,
    /// The last round of PINGs begun.
    round: u64,
    /// The last round that a quorum has answered.
    confirmed: u64,
}

#[derive(Debug)]
struct Waiting {
    origin: SyncOrigin,
    after: Zxid,
    round: u64,
}

impl SyncQueue {
    /// A round of PINGs begins; its number.
    pub(crate) fn begin_round(&mut self) -> u64 {
        self.round += 1;
        self.round
    }

    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// A sync that covers everything up to `after`. It needs the next round.
    pub(crate) fn push(&mut self, origin: SyncOrigin, after: Zxid) {
        self.waiting.push_back(Waiting { origin, after, round: self.round + 1 });
    }

    /// Whether a round should begin: a sync waits for one, and none is on its way.
    pub(crate) fn wants_round(&self) -> bool {
        self.confirmed >= self.round && self.waiting.back().is_some_and(|sync| sync.round > self.round)
    }

    /// A quorum has answered this round.
    pub(crate) fn confirm(&mut self, round: u64) {
        self.confirmed = self.confirmed.max(round);
    }

    /// The oldest sync, if it is complete.
    pub(crate) fn release(&mut self, committed: Zxid, delivered: Zxid, asks_quorum: bool) -> Option<SyncOrigin> {
        let sync = self.waiting.front()?;
        let position = match sync.origin {
            SyncOrigin::Local(_) => delivered,
            SyncOrigin::Learner(_) => committed,
        };
        if sync.after > position || (sync.round > self.confirmed && asks_quorum) {
            return None;
        }
        self.waiting.pop_front().map(|sync| sync.origin)
    }
}
