//! The leader in broadcast: counts what is on whose disk, commits, answers syncs, and watches who is alive.
//!
//! A transaction is committed when a quorum has it on disk, the leader being one of many: positions are counted, so a
//! record is never committed before its predecessor. What a follower acknowledged counts only on the connection it was
//! acknowledged on: a follower that connects again may have been told to truncate it.

use crate::core::Core;
use crate::effect::{Effect, SyncOrigin};
use crate::leading::{Leading, Phase};
use crate::learner::Stage;
use crate::measures::measure;
use crate::zab::Verdict;
use bytes::Bytes;
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{PacketType, QuorumPacket};
use ensemble_proto::{ServerId, Zxid};

impl Leading {
    /// Everything up to here is on a voter's disk, as far as this leader may count it.
    fn position(&self, core: &Core, id: ServerId) -> Option<Zxid> {
        if id == core.id() {
            return Some(core.durable);
        }
        let acked = self.follower(id).filter(|learner| learner.stage == Stage::Active).map(|learner| learner.acked);
        #[cfg(feature = "mutants")]
        if let Some(former) = self.former_acks.get(&id) {
            return acked.max(Some(*former));
        }
        acked
    }

    /// Everything up to here is with those who must have it. What was proposed before a pending reconfiguration needs the active
    /// configuration alone.
    fn reached(&self, core: &Core) -> Option<Zxid> {
        if core.mutants().commit_without_quorum() {
            return Some(core.durable);
        }
        let reached = core.voters.active.reached(|id| self.position(core, id));
        let (Some(pending), Some(quorum)) = (&core.pending, &core.voters.pending) else { return reached };
        let of_pending = quorum.reached(|id| self.position(core, id)).unwrap_or(Zxid::NONE);
        if core.mutants().commit_by_old_alone() {
            return reached;
        }
        if core.mutants().commit_by_new_alone() {
            return reached.max(Some(of_pending));
        }
        reached.map(|reached| reached.min(of_pending.max(Zxid(pending.version.0 - 1))))
    }

    pub(crate) fn commit(&mut self, core: &mut Core) -> Verdict {
        while self.successor.is_none()
            && let Some(reached) = self.reached(core).filter(|reached| *reached > self.committed)
        {
            match core.pending.clone() {
                Some(next) if next.version <= reached => self.activate(core, &next),
                _ => self.announce(core, reached, None),
            }
        }
        let before = core.delivered;
        core.deliver_to(self.committed);
        measure(&mut core.measures.proposal_latency, core.now, self.times.between(before, core.delivered));
        self.answer_syncs(core);
        if let Some((zxid, successor)) = self.successor
            && core.delivered >= zxid
        {
            return Verdict::Turn(successor);
        }
        if self.is_exhausted(core) && core.delivered == self.proposed && !core.config.standalone {
            return Verdict::Look("the epoch has no more zxids");
        }
        self.hand_over(core)
    }

    /// A quorum of both configurations has the reconfiguration. From here on the new one counts.
    fn activate(&mut self, core: &mut Core, next: &Membership) {
        self.announce(core, Zxid(next.version.0 - 1), None);
        let acked = self.learners.values().filter(|learner| learner.stage == Stage::Active);
        let acked = acked.filter_map(|learner| Some((learner.follower_id()?, learner.acked)));
        let designated = core.designate(next, acked);
        self.announce(core, next.version, Some(designated));
        core.note_committed(next.version);
        if designated != core.id() {
            tracing::info!(server = core.id().0, designated = designated.0, "another server leads from here on");
            self.successor = Some((next.version, designated));
        }
    }

    /// Commits up to `reached`; with `designated` that is a reconfiguration.
    fn announce(&mut self, core: &mut Core, reached: Zxid, designated: Option<ServerId>) {
        let first = core.tail.partition_point(|(zxid, _)| *zxid <= self.committed);
        let end = core.tail.partition_point(|(zxid, _)| *zxid <= reached);
        let committed: Vec<_> = core.tail.range(first..end).cloned().collect();
        core.measures.commit_count += committed.len() as u64;
        measure(&mut core.measures.quorum_ack_latency, core.now, self.times.between(self.committed, reached));
        self.committed = self.committed.max(reached);
        for learner in self.learners.values_mut().filter(|learner| learner.is_synchronised()) {
            for (zxid, payload) in &committed {
                learner.live(core, decision(*zxid, payload, learner.is_observer(), designated));
            }
        }
        self.close_overflowing(core);
    }

    pub(crate) fn answer_syncs(&mut self, core: &mut Core) {
        if self.syncs.wants_round() {
            self.ping(core);
        }
        let round = core.voters.reached(|id| match id == core.id() {
            true => Some(self.syncs.round()),
            false => {
                let learner = self.follower(id)?;
                (learner.stage == Stage::Active).then_some(learner.answered)
            }
        });
        self.syncs.confirm(round.unwrap_or(0));
        let asks_quorum = !core.mutants().sync_without_quorum();
        while let Some(origin) = self.syncs.release(self.committed, core.delivered, asks_quorum) {
            match origin {
                SyncOrigin::Local(_) => core.effects.push_back(Effect::SyncReleased { origin }),
                SyncOrigin::Learner(conn) if self.learners.contains_key(&conn) => {
                    core.send(conn, QuorumPacket::new(PacketType::Sync, Zxid::ZERO));
                }
                SyncOrigin::Learner(_) => {}
            }
        }
        if self.syncs.wants_round() {
            self.ping(core);
        }
    }

    // ---- time ----

    fn ping(&mut self, core: &mut Core) {
        let round = self.syncs.begin_round();
        for learner in self.learners.values_mut().filter(|learner| learner.is_synchronised()) {
            learner.ping(core, round, self.proposed);
        }
    }

    pub(crate) fn handle_half_tick(&mut self, core: &mut Core) -> Verdict {
        self.ping_at = Some(core.now + core.config.tick / 2);
        self.pings += 1;
        let since = core.now.saturating_sub(core.config.sync_time());
        let lagging: Vec<_> = self
            .learners
            .values_mut()
            .filter_map(|learner| learner.is_lagging(since).then_some(learner.conn))
            .collect();
        for conn in lagging {
            self.close(core, conn, "learner does not acknowledge within syncLimit");
        }
        self.ping(core);
        if self.phase != Phase::Broadcast || !self.pings.is_multiple_of(2) {
            return Verdict::Stay;
        }
        if self.marks.is_lagging(core.durable, since) {
            return Verdict::Look("own disk does not write within syncLimit");
        }
        let alive = |id| id == core.id() || self.follower(id).is_some_and(|learner| learner.alive_until > core.now);
        match core.voters.has_quorum(alive) {
            true => Verdict::Stay,
            false => Verdict::Look("no quorum of learners within syncLimit"),
        }
    }
}

/// Tells a learner that a transaction is committed.
pub(crate) fn decision(zxid: Zxid, payload: &Bytes, to_observer: bool, designated: Option<ServerId>) -> QuorumPacket {
    let leader = designated.map(|id| id.0.to_be_bytes());
    match (leader, to_observer) {
        (None, false) => QuorumPacket::new(PacketType::Commit, zxid),
        (None, true) => QuorumPacket::with_data(PacketType::Inform, zxid, payload.clone()),
        (Some(leader), false) => {
            QuorumPacket::with_data(PacketType::CommitAndActivate, zxid, Bytes::copy_from_slice(&leader))
        }
        (Some(leader), true) => {
            let data = [&leader, &payload[..]].concat();
            QuorumPacket::with_data(PacketType::InformAndActivate, zxid, data.into())
        }
    }
}
