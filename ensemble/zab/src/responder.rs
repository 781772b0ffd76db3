//! What a server answers to a notification, whatever it is doing (`FastLeaderElection.Messenger.WorkerReceiver`).

use crate::core::Core;
use ensemble_proto::ServerId;
use ensemble_proto::quorum::{Notification, ServerState};

/// Answers a notification and says whether it is for the election as well: it is when its sender votes.
///
/// Differs from ZooKeeper: while reconfiguration is off, a configuration of another version does not restart the election.
pub(crate) fn answer(core: &mut Core, from: ServerId, notification: &Notification, state: ServerState) -> bool {
    if !core.voters.contains(from) {
        let (vote, round) = (core.vote, core.round);
        core.notify(from, &vote, round, state);
        return false;
    }
    if state != ServerState::Looking && notification.state == ServerState::Looking {
        let vote = core.vote;
        core.notify(from, &vote, vote.round, state);
    }
    true
}
