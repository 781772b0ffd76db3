//! A leader hands its office over to a follower of its choice, without waiting to be missed.
//!
//! ```text
//!  begin ──▶ no more proposals ──▶ everything proposed is committed,  ──▶ one last transaction goes  ──▶ the leader
//!            (writes wait)          and the successor has it all          to the successor alone         steps down
//! ```
//!
//! The last transaction changes nothing; it makes the successor's history the longest. So the election that follows can
//! end only with it as leader, whatever the ids, and ends at once, because everybody is there to agree. What a follower must
//! do is what it does for any leader that goes, so Java's servers take part in it; they wait their 200 ms (finalizeWait).
//! A leader that stops afterwards gives no vote ([`crate::Zab::retire`]): with it the successor could be elected before the others look, and
//! alone in its office when that server is gone, where a server that looks later joins nobody without a quorum of followers.
//!
//! Nothing is promised on the way. The leader does not log the last transaction, and commits nothing after it was sent: to
//! the others this is a leader that died when it had sent a proposal to one of them. If the successor dies too, or never
//! had it, the others elect whom they like, and the transaction is forgotten; nobody waits for it. Its zxid is used by nobody else,
//! because the next leader has an epoch of its own.
//!
//! When the successor does not catch up within a tick, or its connection ends, the leader goes on as if nothing had been. A tick is
//! short of every session timeout.
//!
//! It is not for a reconfiguration, which designates its leader itself (`reconfig`), and none begins meanwhile.
//!
//! Differs from ZooKeeper: which moves an office only by a reconfiguration that removes the leader.

use crate::core::Core;
use crate::effect::ConnId;
use crate::leading::{Leading, Phase};
use crate::learner::Stage;
use crate::zab::Verdict;
use bytes::Bytes;
use ensemble_proto::quorum::{PacketType, QuorumPacket};
use ensemble_proto::{ServerId, Zxid};
use std::time::Duration;
use thiserror::Error;

/// A hand-over that has begun.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) to: ServerId,
    /// It is given up then.
    pub(crate) deadline: Duration,
    zxid: Zxid,
    payload: Bytes,
}

/// Why a leader does not hand its office over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TransferRefusal {
    /// This server is no leader, or not established yet.
    #[error("this server does not lead")]
    NotLeading,
    /// The server is this one.
    #[error("server {0} leads already")]
    Leads(ServerId),
    /// The configuration does not have the server.
    #[error("server {0} is not in the configuration")]
    Unknown(ServerId),
    /// The server does not vote, so it cannot lead.
    #[error("server {0} is an observer")]
    Observer(ServerId),
    /// The server is not connected, or not up to date yet.
    #[error("server {0} is not in sync")]
    NotSynced(ServerId),
    /// No follower is connected and up to date.
    #[error("no follower is in sync")]
    NobodySynced,
    /// Another hand-over is under way.
    #[error("the office is being handed over already")]
    UnderWay,
    /// A reconfiguration is under way, which may give the office away itself.
    #[error("a reconfiguration is under way")]
    Reconfiguring,
    /// The epoch has no zxid left: a new leader is about to be elected anyway.
    #[error("the epoch has no more zxids")]
    Exhausted,
}

impl Leading {
    /// Whether the office could be handed over to a server now.
    pub(crate) fn can_transfer(&self, core: &Core, to: ServerId) -> Result<(), TransferRefusal> {
        if self.phase != Phase::Broadcast || core.config.standalone {
            return Err(TransferRefusal::NotLeading);
        }
        if to == core.id() {
            return Err(TransferRefusal::Leads(to));
        }
        if !core.config.membership.servers.contains_key(&to) {
            return Err(TransferRefusal::Unknown(to));
        }
        if core.voters.active.weight(to) == 0 {
            return Err(TransferRefusal::Observer(to));
        }
        if self.transfer.is_some() {
            return Err(TransferRefusal::UnderWay);
        }
        if core.pending.is_some() || self.successor.is_some() {
            return Err(TransferRefusal::Reconfiguring);
        }
        if self.is_exhausted(core) {
            return Err(TransferRefusal::Exhausted);
        }
        self.follower_in_sync(to).map(drop).ok_or(TransferRefusal::NotSynced(to))
    }

    /// The follower that is closest to everything that was proposed; of equals the one with the greatest id.
    pub(crate) fn best_successor(&self, core: &Core) -> Option<ServerId> {
        let able = self.learners.values().filter_map(|learner| Some((learner.acked, learner.follower_id()?)));
        able.filter(|(_, id)| self.can_transfer(core, *id).is_ok()).max().map(|(_, id)| id)
    }

    /// Stops proposing. The rest follows when it can: see [`Leading::hand_over`].
    pub(crate) fn begin_transfer(&mut self, core: &mut Core, to: ServerId, payload: Bytes) -> Verdict {
        let zxid = self.next_zxid(core);
        tracing::info!(server = core.id().0, to = to.0, zxid = %self.proposed, "handing the office over");
        self.transfer = Some(Transfer { to, deadline: core.now + core.config.tick, zxid, payload });
        self.hand_over(core)
    }

    /// Hands the office over once everything is committed here and on the successor's disk; gives up when that cannot be any more.
    pub(crate) fn hand_over(&mut self, core: &mut Core) -> Verdict {
        let Some(transfer) = &self.transfer else { return Verdict::Stay };
        let to = transfer.to;
        let Some((conn, acked)) = self.follower_in_sync(to).filter(|_| core.now < transfer.deadline) else {
            tracing::warn!(
                server = core.id().0,
                to = to.0,
                "the office is not handed over: the successor is not in sync in time"
            );
            self.transfer = None;
            return Verdict::Stay;
        };
        // In an epoch without a proposal there is nothing to wait for: who has acknowledged NEWLEADER has it all.
        let open = self.committed < self.proposed || acked < self.proposed || core.delivered < self.committed;
        if open && self.proposed.counter() > 0 {
            return Verdict::Stay;
        }
        if let Some(Transfer { zxid, payload, .. }) = self.transfer.take() {
            core.send(conn, QuorumPacket::with_data(PacketType::Proposal, zxid, payload));
        }
        Verdict::Look("the office is handed over")
    }

    /// Where a follower in sync is connected, and what it has on disk.
    fn follower_in_sync(&self, id: ServerId) -> Option<(ConnId, Zxid)> {
        let learner = self.follower(id)?;
        (learner.stage == Stage::Active).then_some((learner.conn, learner.acked))
    }
}
