//! What a server answers to a notification, whatever it is doing (`FastLeaderElection.Messenger.WorkerReceiver`).
//!
//! Who does not vote here, an observer as a rule, is always answered. Two servers that do not vote in each other's configuration would
//! answer each other's answers for ever, as fast as the network carries them: one that lost its volume, and so reads its `zoo.cfg`, and an
//! observer of the configuration that is in force. So the same answer goes to the same server once in a while only.
//!
//! Differs from ZooKeeper: which answers each time.

use crate::core::Core;
use ensemble_proto::ServerId;
use ensemble_proto::quorum::{Notification, ServerState};
use std::collections::BTreeMap;
use std::time::Duration;

/// Servers that do not vote here and whose last answer is remembered. Others are not answered until some of those are old.
const STRANGERS_MAX: usize = 1024;

/// The last answer to each server that does not vote here, and when it was given.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    last: BTreeMap<ServerId, (Duration, Notification)>,
}

impl Answers {
    /// The election connection to a server is another one, or none: it may not have got the last answer.
    pub(crate) fn forget(&mut self, server: ServerId) {
        self.last.remove(&server);
    }

    /// Whether this is news to a server, after `interval` at the latest; it is taken for given then.
    fn is_news(&mut self, now: Duration, interval: Duration, to: ServerId, answer: &Notification) -> bool {
        let is_recent = |at: &Duration| now < *at + interval;
        if self.last.get(&to).is_some_and(|(at, last)| is_recent(at) && last == answer) {
            return false;
        }
        if self.last.len() >= STRANGERS_MAX {
            self.last.retain(|_, (at, _)| is_recent(at));
        }
        let is_known = self.last.len() < STRANGERS_MAX || self.last.contains_key(&to);
        if is_known {
            self.last.insert(to, (now, answer.clone()));
        }
        is_known
    }
}

/// Answers a notification and says whether it is for the election as well: it is when its sender votes.
///
/// Differs from ZooKeeper: while reconfiguration is off, a configuration of another version does not restart the election.
pub(crate) fn answer(core: &mut Core, from: ServerId, notification: &Notification, state: ServerState) -> bool {
    if !core.voters.contains(from) {
        let answer = core.notification(&core.vote, core.round, state);
        if core.answers.is_news(core.now, core.config.notification_interval_min, from, &answer) {
            core.tell(from, answer);
        }
        return false;
    }
    if state != ServerState::Looking && notification.state == ServerState::Looking {
        let vote = core.vote;
        core.notify(from, &vote, vote.round, state);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ensemble_proto::{Epoch, Zxid};

    #[test]
    fn whoever_cannot_be_remembered_is_not_answered() {
        let answer = Notification {
            state: ServerState::Looking,
            leader: ServerId(1),
            zxid: Zxid::ZERO,
            round: 1,
            peer_epoch: Epoch(0),
            version: 2,
            config: Bytes::new(),
        };
        let second = Duration::from_secs(1);
        let mut answers = Answers::default();
        let many = i64::try_from(STRANGERS_MAX).unwrap_or_default();
        assert!((0..many).all(|id| answers.is_news(Duration::ZERO, second, ServerId(id), &answer)));
        assert!(!answers.is_news(Duration::ZERO, second, ServerId(many), &answer), "one too many");
        assert!(answers.is_news(second, second, ServerId(many), &answer), "the others' are old");
        assert_eq!(answers.last.len(), 1);
    }
}
