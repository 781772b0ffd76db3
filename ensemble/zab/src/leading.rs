//! The leader (`Leader.java`).
//!
//! ```text
//!  gate A              gate B                         gate C
//!  AwaitHellos ─▶ PersistAccepted ─▶ AwaitEpochAcks ─▶ AwaitLeaderAcks ─▶ Broadcast
//!  a quorum says       epoch durable,    a quorum accepts it,  a quorum has this     propose, count,
//!  what it accepted    then LEADERINFO   none is beyond us     leader's history      commit
//! ```
//!
//! Gate A chooses an epoch above all that a quorum has accepted; gate B makes a quorum promise to follow no earlier leader
//! and proves that this leader's history is not behind theirs; gate C makes a quorum hold that history. Only then is it
//! committed, delivered, and followed by transactions of the new epoch.
//!
//! What follows is in `broadcasting`.

use crate::core::Core;
use crate::effect::{ConnId, Effect, LearnerStatus, Role, SyncOrigin, ZabState};
use crate::learner::{self, Hello, Learner, Marks, Stage, Summary};
use crate::measures::{Times, measure};
use crate::quorum::Quorum;
use crate::reconfig::ReconfigRefusal;
use crate::sync_queue::SyncQueue;
use crate::transfer::Transfer;
use crate::zab::Verdict;
use bytes::Bytes;
use ensemble_proto::durable::{LogSlice, Ticket};
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{Notification, PacketType, QuorumPacket};
use ensemble_proto::{Epoch, ServerId, SessionId, Zxid, reconfig};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Learner connections at once, however far they are; more are closed.
const LEARNERS_MAX: usize = 1024;

#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) phase: Phase,
    epoch: Epoch,
    since: Duration,
    /// The gate must be open then.
    gate_deadline: Duration,
    /// This server's history before its epoch.
    summary: Summary,
    /// Who elected this leader.
    electors: BTreeSet<ServerId>,
    hellos: BTreeSet<ServerId>,
    epoch_acks: BTreeSet<ServerId>,
    leader_acks: BTreeSet<ServerId>,
    pub(crate) learners: BTreeMap<ConnId, Learner>,
    pub(crate) proposed: Zxid,
    pub(crate) committed: Zxid,
    pub(crate) ping_at: Option<Duration>,
    pub(crate) pings: u64,
    /// How far this server's own log is behind.
    pub(crate) marks: Marks,
    /// When the newest proposals were made.
    pub(crate) times: Times,
    pub(crate) syncs: SyncQueue,
    /// The office is being handed over: nothing is proposed.
    pub(crate) transfer: Option<Transfer>,
    /// Why this server cannot lead everybody, though it might lead a quorum.
    outdated: Option<&'static str>,
    /// The first configuration gets a version when it is established first (ZOOKEEPER-1783).
    first: Option<Membership>,
    /// The configuration that is active once this leader is established.
    initial_text: Bytes,
    /// Who leads the configuration that is active since its transaction, if another server does.
    pub(crate) successor: Option<(Zxid, ServerId)>,
    #[cfg(feature = "mutants")]
    pub(crate) former_acks: BTreeMap<ServerId, Zxid>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    AwaitHellos,
    PersistAccepted { ticket: Ticket },
    AwaitEpochAcks,
    AwaitLeaderAcks { ticket: Ticket },
    Broadcast,
}

impl Leading {
    /// Won an election.
    pub(crate) fn begin(core: &mut Core, electors: BTreeSet<ServerId>) -> Leading {
        let epoch = Epoch(core.accepted_epoch.max(core.heard_epoch).0 + 1);
        let mut leading = Leading::new(core, Phase::AwaitHellos, epoch);
        leading.electors = electors;
        leading.hellos.insert(core.id());
        leading.epoch_acks.insert(core.id());
        leading
    }

    /// Leads nobody: everything in the log is committed.
    pub(crate) fn standalone(core: &mut Core) -> Leading {
        let mut leading = Leading::new(core, Phase::Broadcast, core.last.epoch());
        (leading.proposed, leading.committed) = (core.last, core.last);
        core.deliver_to(core.last);
        core.serve(Role::Leading);
        leading
    }

    fn new(core: &Core, phase: Phase, epoch: Epoch) -> Leading {
        Leading {
            phase,
            epoch,
            since: core.now,
            gate_deadline: core.now + core.config.init_time(),
            summary: Summary { current_epoch: Some(core.current_epoch), last: core.position() },
            electors: BTreeSet::new(),
            hellos: BTreeSet::new(),
            epoch_acks: BTreeSet::new(),
            leader_acks: BTreeSet::new(),
            learners: BTreeMap::new(),
            proposed: Zxid::ZERO,
            committed: Zxid::ZERO,
            ping_at: None,
            pings: 0,
            marks: Marks::default(),
            times: Times::default(),
            syncs: SyncQueue::default(),
            outdated: None,
            first: None,
            initial_text: Bytes::new(),
            successor: None,
            transfer: None,
            #[cfg(feature = "mutants")]
            former_acks: BTreeMap::new(),
        }
    }

    // ---- getters ----

    /// The connection by which a server follows, however far it is.
    pub(crate) fn follower(&self, id: ServerId) -> Option<&Learner> {
        self.learners.values().find(|learner| learner.follower_id() == Some(id))
    }

    pub(crate) fn zab_state(&self) -> ZabState {
        match self.phase {
            Phase::AwaitHellos | Phase::PersistAccepted { .. } | Phase::AwaitEpochAcks => ZabState::Discovery,
            Phase::AwaitLeaderAcks { .. } => ZabState::Synchronization,
            Phase::Broadcast => ZabState::Broadcast,
        }
    }

    pub(crate) fn committed(&self) -> Zxid {
        self.committed
    }

    pub(crate) fn learners<'a>(&'a self, core: &'a Core) -> impl Iterator<Item = LearnerStatus> + 'a {
        self.learners.values().filter_map(|learner| learner.status(core))
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        let gate = (self.phase != Phase::Broadcast).then_some(self.gate_deadline);
        let reads = self.learners.values().filter_map(|learner| learner.read_deadline);
        let transfer = self.transfer.as_ref().map(|transfer| transfer.deadline);
        [gate, self.ping_at, transfer].into_iter().flatten().chain(reads).min()
    }

    // ---- requests ----

    pub(crate) fn next_zxid(&self, core: &Core) -> Zxid {
        match self.proposed.next() {
            Some(next) if !self.is_exhausted(core) => next,
            _ => Zxid::new(Epoch(self.proposed.epoch().0 + 1), 1),
        }
    }

    /// Whether the epoch has no more zxids. A new epoch has, so the leader steps down (ZOOKEEPER-1277); a standalone server
    /// goes on in the next epoch.
    pub(crate) fn is_exhausted(&self, core: &Core) -> bool {
        self.proposed.counter() >= core.config.zxid_counter_max
    }

    pub(crate) fn can_propose(&self, core: &Core) -> bool {
        self.phase == Phase::Broadcast
            && self.successor.is_none()
            && self.transfer.is_none()
            && core.tail.len() < core.config.outstanding_max
            && (core.config.standalone || !self.is_exhausted(core))
    }

    /// Whether a reconfiguration to `next` may be proposed: none is pending, and a quorum of it is in sync
    /// (`Leader.isQuorumSynced`). An observer that shall vote is not counted: it does not log what is not committed. Nor is one that is about
    /// to become one.
    pub(crate) fn can_reconfigure(&self, core: &Core, next: &Membership) -> Result<(), ReconfigRefusal> {
        if self.phase != Phase::Broadcast || self.successor.is_some() || self.transfer.is_some() {
            return Err(ReconfigRefusal::NotLeading);
        }
        if core.pending.is_some() {
            return Err(ReconfigRefusal::InProgress);
        }
        let in_sync = |learner: &Learner| learner.stage == Stage::Active && learner.alive_until > core.now;
        let has =
            |id| !core.config.membership.is_observer(id) && (id == core.id() || self.follower(id).is_some_and(in_sync));
        if Quorum::new(next).has_quorum(has) { Ok(()) } else { Err(ReconfigRefusal::NoQuorum) }
    }

    pub(crate) fn propose(&mut self, core: &mut Core, zxid: Zxid, payload: Bytes) {
        assert!(zxid == self.next_zxid(core), "proposal {zxid} is not the next after {}", self.proposed);
        let is_first = core.pending.is_none() || matches!(reconfig::proposed(&payload), Ok(None));
        assert!(is_first, "one reconfiguration is pending at a time");
        self.proposed = zxid;
        core.append(zxid, payload.clone());
        self.marks.mark(zxid, core.now);
        self.times.mark(zxid, core.now);
        let packet = QuorumPacket::with_data(PacketType::Proposal, zxid, payload);
        for learner in self.learners.values_mut().filter(|learner| learner.is_synchronised() && !learner.is_observer())
        {
            learner.live(core, packet.clone());
        }
        self.close_overflowing(core);
    }

    pub(crate) fn sync(&mut self, core: &mut Core, origin: SyncOrigin) -> bool {
        if self.phase != Phase::Broadcast {
            return false;
        }
        // Not `proposed`: before the first proposal that is the epoch's zxid 0, which nobody delivers.
        self.syncs.push(origin, core.last);
        self.answer_syncs(core);
        true
    }

    pub(crate) fn answer_revalidate(&mut self, core: &mut Core, conn: ConnId, session: SessionId, valid: bool) {
        if let Some(learner) = self.learners.get(&conn) {
            learner.answer_revalidate(core, session, valid);
        }
    }

    // ---- measures ----

    /// What was proposed here is on this server's own disk, beyond what was `before`.
    pub(crate) fn measure_durable(&self, core: &mut Core, before: Zxid) {
        let (id, now) = (core.id(), core.now);
        if core.durable > before {
            measure(core.measures.ack_latency.entry(id).or_default(), now, self.times.between(before, core.durable));
        }
    }

    /// One more learner is being brought up to date.
    fn measure_synchronisations(&self, core: &mut Core, by_snapshot: bool) {
        let under_way = |learner: &&Learner| learner.is_synchronising() && learner.by_snapshot == by_snapshot;
        let count = self.learners.values().filter(under_way).count() as f64;
        let measures = &mut core.measures;
        let summary = if by_snapshot { &mut measures.inflight_snap_count } else { &mut measures.inflight_diff_count };
        summary.observe(core.now, count);
    }

    // ---- connections ----

    pub(crate) fn handle_accepted(&mut self, core: &mut Core, conn: ConnId) {
        if core.config.standalone || self.learners.len() >= LEARNERS_MAX {
            return core.close(conn, "no more learners");
        }
        self.learners.insert(conn, Learner::new(core, conn));
    }

    pub(crate) fn handle_closed(&mut self, core: &mut Core, conn: ConnId) {
        let Some(learner) = self.learners.remove(&conn) else { return };
        let Some(hello) = learner.hello else { return };
        self.hellos.remove(&hello.id);
        self.pin_committed_log(core);
        #[cfg(feature = "mutants")]
        if core.mutants().stale_ack() && !hello.observer {
            self.former_acks.insert(hello.id, learner.acked);
        }
        core.effects.push_back(Effect::LearnerLost { learner: conn });
    }

    pub(crate) fn close(&mut self, core: &mut Core, conn: ConnId, reason: &'static str) {
        core.close(conn, reason);
        self.handle_closed(core, conn);
    }

    /// A learner takes what it lacks. As long as it does, it is waited for, and so is the quorum that it may complete.
    ///
    /// Differs from ZooKeeper: where the whole of a synchronisation must fit into `initLimit`.
    pub(crate) fn handle_progress(&mut self, core: &Core, conn: ConnId) {
        let learner = self.learners.get_mut(&conn).filter(|learner| learner.is_synchronising());
        let Some(learner) = learner else { return };
        let deadline = core.now + core.config.init_time();
        learner.read_deadline = Some(deadline);
        learner.alive_until = learner.alive_until.max(deadline);
        if learner.follower_id().is_some_and(|id| core.voters.contains(id))
            && matches!(self.phase, Phase::AwaitLeaderAcks { .. })
        {
            self.gate_deadline = deadline;
        }
    }

    pub(crate) fn close_overflowing(&mut self, core: &mut Core) {
        let overflowing: Vec<_> =
            self.learners.values().filter(|learner| learner.is_overflowing()).map(|learner| learner.conn).collect();
        for conn in overflowing {
            self.close(core, conn, "too much live traffic to hold back for a learner");
        }
    }

    /// The leader's term is over.
    pub(crate) fn stop(&mut self, core: &mut Core) {
        for conn in std::mem::take(&mut self.learners).into_keys() {
            core.close(conn, "leader steps down");
        }
        self.pin_committed_log(core);
    }

    // ---- packets ----

    pub(crate) fn handle_packet(&mut self, core: &mut Core, conn: ConnId, packet: QuorumPacket) -> Verdict {
        let Some(learner) = self.learners.get_mut(&conn) else { return Verdict::Stay };
        let done = match learner.stage {
            Stage::AwaitHello => self.handle_hello(core, conn, &packet),
            Stage::AwaitAckEpoch => self.handle_ack_epoch(core, conn, &packet),
            Stage::Synchronising => self.handle_ack_leader(core, conn, &packet),
            Stage::Streaming { .. } if core.mutants().zkb_13() => self.handle_ack_leader(core, conn, &packet),
            Stage::AwaitEpoch | Stage::AwaitPlan { .. } | Stage::Streaming { .. } | Stage::Reading { .. } => {
                Err("learner spoke out of turn")
            }
            Stage::Acknowledged => match packet.kind {
                PacketType::Ping | PacketType::Ack => Ok(()),
                _ => Err("learner asked for service before UPTODATE"),
            },
            Stage::Active => self.handle_active(core, conn, packet),
        };
        if let Err(reason) = done {
            self.close(core, conn, reason);
        }
        self.advance(core)
    }

    fn handle_hello(&mut self, core: &mut Core, conn: ConnId, packet: &QuorumPacket) -> Result<(), &'static str> {
        if !matches!(packet.kind, PacketType::FollowerInfo | PacketType::ObserverInfo) {
            return Err("first packet is none of FOLLOWERINFO, OBSERVERINFO");
        }
        let info = learner::introduced(packet)?;
        if info.config_version > core.config_version() {
            if self.phase != Phase::Broadcast && core.voters.contains(info.id) {
                self.outdated = Some("a voter has a later configuration");
            }
            return Err("learner has a later configuration");
        }
        if info.id.0 < 0 || info.id == core.id() {
            return Err("learner claims the leader's id or none");
        }
        let observer = packet.kind == PacketType::ObserverInfo;
        let hello = Hello { id: info.id, observer, accepted_epoch: packet.zxid.epoch() };
        let former = self.learners.values().find(|learner| learner.hello.is_some_and(|other| other.id == info.id));
        if let Some(former) = former.map(|former| former.conn) {
            self.close(core, former, "the same server connected again");
        }
        let Some(learner) = self.learners.get_mut(&conn) else { return Ok(()) };
        core.heard_epoch = core.heard_epoch.max(hello.accepted_epoch);
        learner.hello = Some(hello);
        learner.stage = Stage::AwaitEpoch;
        learner.read_deadline = None;
        match self.phase {
            Phase::AwaitHellos => {
                self.epoch = self.epoch.max(Epoch(hello.accepted_epoch.0 + 1));
                if !hello.observer {
                    self.hellos.insert(hello.id);
                }
            }
            _ if hello.accepted_epoch > self.epoch && core.config.membership.servers.contains_key(&hello.id) => {
                self.outdated = Some("a member has accepted a later epoch");
            }
            Phase::PersistAccepted { .. } => {}
            _ => learner.offer(core, self.epoch),
        }
        Ok(())
    }

    fn handle_ack_epoch(&mut self, core: &mut Core, conn: ConnId, packet: &QuorumPacket) -> Result<(), &'static str> {
        if packet.kind != PacketType::AckEpoch {
            return Err("answer to LEADERINFO is not ACKEPOCH");
        }
        let Some(current) = packet.payload().first_chunk().map(|chunk| i32::from_be_bytes(*chunk)) else {
            return Err("ACKEPOCH without the current epoch");
        };
        let current_epoch = (current != -1).then_some(Epoch(current.into()));
        let summary = Summary { current_epoch, last: packet.zxid };
        let Some(learner) = self.learners.get_mut(&conn) else { return Ok(()) };
        learner.stage = Stage::AwaitPlan { last: summary.last };
        learner.read_deadline = None;
        match self.phase {
            Phase::AwaitHellos | Phase::PersistAccepted { .. } => Err("ACKEPOCH before LEADERINFO"),
            Phase::AwaitEpochAcks => {
                if summary.is_beyond(&self.summary) && !core.mutants().no_history_check() {
                    return Err("learner's history is beyond the leader's");
                }
                let counts = current_epoch.is_some() && summary.last != Zxid::NONE;
                if let Some(id) = learner.follower_id().filter(|_| counts) {
                    self.epoch_acks.insert(id);
                }
                Ok(())
            }
            Phase::AwaitLeaderAcks { .. } | Phase::Broadcast => {
                self.synchronise(core, conn);
                Ok(())
            }
        }
    }

    /// Where a synchronisation that ends now ends.
    fn sync_end(&self, core: &Core) -> Zxid {
        if self.phase == Phase::Broadcast { self.committed } else { core.last }
    }

    /// NEWLEADER as it is now. What is pending while this leader is not established is committed with its history; later, with its own
    /// quorums.
    fn new_leader(&self, core: &Core) -> QuorumPacket {
        let configuration = match self.phase {
            Phase::Broadcast => &core.config_text,
            _ => &self.initial_text,
        };
        QuorumPacket::with_data(PacketType::NewLeader, Zxid::new(self.epoch, 0), configuration.clone())
    }

    fn synchronise(&mut self, core: &mut Core, conn: ConnId) {
        let end = self.sync_end(core);
        let Some(Stage::AwaitPlan { last }) = self.learners.get(&conn).map(|learner| learner.stage) else { return };
        let (plan, new_leader) = (Learner::plan(core, last, end), self.new_leader(core));
        if Learner::is_one_too_many(self.learners.values(), core, plan)
            && self.learners.get(&conn).is_some_and(Learner::is_observer)
        {
            return self.close(core, conn, "too many learners are being synchronised");
        }
        if let Some(learner) = self.learners.get_mut(&conn) {
            learner.synchronise(core, new_leader, plan, last, end);
            let by_snapshot = learner.by_snapshot;
            self.measure_synchronisations(core, by_snapshot);
        }
        self.pin_committed_log(core);
    }

    /// Everything of the snapshot for this learner has been handed over.
    pub(crate) fn handle_snapshot_sent(&mut self, core: &mut Core, conn: ConnId) {
        let (end, new_leader) = (self.sync_end(core), self.new_leader(core));
        if let Some(learner) = self.learners.get_mut(&conn) {
            learner.snapshot_sent(core, new_leader, end);
        }
        self.pin_committed_log(core);
    }

    /// A part of the log on disk, for this learner.
    pub(crate) fn handle_log(&mut self, core: &mut Core, conn: ConnId, slice: Option<LogSlice>) {
        let (end, new_leader) = (self.sync_end(core), self.new_leader(core));
        let Some(learner) = self.learners.get_mut(&conn) else { return };
        if let Err(reason) = learner.handle_log(core, new_leader, slice, end) {
            self.close(core, conn, reason);
        }
        self.pin_committed_log(core);
    }

    /// Nearly everything that was sent to this learner has been taken.
    pub(crate) fn handle_writable(&mut self, core: &mut Core, conn: ConnId) {
        if let Some(learner) = self.learners.get_mut(&conn) {
            learner.writable(core);
        }
    }

    fn pin_committed_log(&self, core: &mut Core) {
        core.committed_log.pin(Learner::first_position_streamed(self.learners.values()));
    }

    fn handle_ack_leader(&mut self, core: &mut Core, conn: ConnId, packet: &QuorumPacket) -> Result<(), &'static str> {
        if packet.kind != PacketType::Ack || packet.zxid != Zxid::new(self.epoch, 0) {
            return Err("first packet after the synchronisation is not the ACK of NEWLEADER");
        }
        let Some(learner) = self.learners.get_mut(&conn) else { return Ok(()) };
        learner.stage = Stage::Acknowledged;
        learner.read_deadline = None;
        match self.phase {
            Phase::Broadcast => learner.activate(core),
            _ => self.leader_acks.extend(learner.follower_id()),
        }
        Ok(())
    }

    fn handle_active(&mut self, core: &mut Core, conn: ConnId, packet: QuorumPacket) -> Result<(), &'static str> {
        let Some(learner) = self.learners.get_mut(&conn) else { return Ok(()) };
        learner.heard(core);
        match packet.kind {
            PacketType::Ack if learner.ack(packet.zxid) => {
                if let (Some(id), Some(at)) = (learner.follower_id(), self.times.at(packet.zxid)) {
                    let summary = core.measures.ack_latency.entry(id).or_default();
                    measure(summary, core.now, std::iter::once(at));
                }
            }
            PacketType::Ack => return Err("ACK of what was not proposed, or out of order"),
            PacketType::Ping => {
                learner.serve(core, packet)?;
                self.answer_syncs(core);
            }
            _ => learner.serve(core, packet)?,
        }
        Ok(())
    }

    // ---- the gates ----

    /// Goes as far as it can.
    ///
    /// Differs from ZooKeeper: where a member that has accepted a later epoch, from a leader that came to nothing, is shut
    /// out for as long as the present leader lasts. Here the leader steps down for an epoch that suits everybody.
    pub(crate) fn advance(&mut self, core: &mut Core) -> Verdict {
        if let Some(reason) = self.outdated {
            return Verdict::Look(reason);
        }
        loop {
            match self.phase {
                Phase::AwaitHellos if core.voters.has_quorum(|id| self.hellos.contains(&id)) => {
                    self.phase = Phase::PersistAccepted { ticket: core.accept_epoch(self.epoch) };
                }
                Phase::PersistAccepted { ticket } if core.is_durable(ticket) => self.offer_epoch(core),
                Phase::AwaitEpochAcks if core.voters.has_quorum(|id| self.epoch_acks.contains(&id)) => {
                    self.synchronise_all(core);
                }
                Phase::AwaitLeaderAcks { ticket } => {
                    if core.is_durable(ticket) {
                        self.leader_acks.insert(core.id());
                    }
                    let enough = core.voters.has_quorum(|id| self.leader_acks.contains(&id));
                    if !enough && !core.mutants().early_up_to_date() {
                        return Verdict::Stay;
                    }
                    self.establish(core);
                    if !core.is_candidate() {
                        return Verdict::Look("this server has no vote in the configuration that is active now");
                    }
                    core.serve(Role::Leading);
                }
                Phase::Broadcast => return self.commit(core),
                _ => return Verdict::Stay,
            }
        }
    }

    fn enter(&mut self, core: &Core, phase: Phase) {
        tracing::debug!(epoch = self.epoch.0, ?phase, "leading");
        self.phase = phase;
        self.gate_deadline = core.now + core.config.init_time();
    }

    /// Gate A is open.
    fn offer_epoch(&mut self, core: &mut Core) {
        self.enter(core, Phase::AwaitEpochAcks);
        for learner in self.learners.values_mut().filter(|learner| learner.stage == Stage::AwaitEpoch) {
            learner.offer(core, self.epoch);
        }
    }

    /// Gate B is open.
    fn synchronise_all(&mut self, core: &mut Core) {
        let ticket = core.enter_epoch(self.epoch);
        self.enter(core, Phase::AwaitLeaderAcks { ticket });
        (self.proposed, self.committed) = (Zxid::new(self.epoch, 0), Zxid::new(self.epoch, 0));
        self.ping_at = Some(core.now + core.config.tick / 2);
        let active = &core.config.membership;
        if core.config.reconfig && active.version == Zxid::ZERO && core.pending.is_none() {
            self.first = Some(Membership { version: Zxid::new(self.epoch, 0), ..active.clone() });
        }
        let initial = self.first.as_ref().or(core.pending.as_ref()).unwrap_or(active);
        self.initial_text = initial.to_string().into();
        let waiting: Vec<_> = self.learners.keys().copied().collect();
        for conn in waiting {
            self.synchronise(core, conn);
        }
    }

    /// Gate C is open: the whole log is committed.
    fn establish(&mut self, core: &mut Core) {
        self.enter(core, Phase::Broadcast);
        core.vote.peer_epoch = self.epoch;
        core.deliver_to(core.last);
        if let Some(first) = self.first.take() {
            core.activate(first);
        }
        core.forget_unseen(self.epoch);
        for learner in self.learners.values_mut().filter(|learner| learner.stage == Stage::Acknowledged) {
            learner.activate(core);
        }
    }

    // ---- time ----

    pub(crate) fn handle_timeout(&mut self, core: &mut Core) -> Verdict {
        if self.phase != Phase::Broadcast && self.gate_deadline <= core.now {
            return Verdict::Look("no quorum within initLimit");
        }
        let silent: Vec<_> =
            self.learners.values().filter(|learner| learner.is_silent(core)).map(|learner| learner.conn).collect();
        for conn in silent {
            self.close(core, conn, "learner is silent");
        }
        if let Verdict::Look(reason) = self.hand_over(core) {
            return Verdict::Look(reason);
        }
        match self.ping_at {
            Some(at) if at <= core.now => self.handle_half_tick(core),
            _ => Verdict::Stay,
        }
    }

    /// The election connection to a server has ended. Whoever elected this leader and is gone will not come, and no others do as long as
    /// nobody follows: with a quorum out of reach it is no leader to be, and need not say for `initLimit` that it is one.
    ///
    /// Differs from ZooKeeper: where such a leader waits until `initLimit` is over.
    pub(crate) fn handle_link_lost(&self, core: &Core) -> Verdict {
        let may_come = |id| id == core.id() || self.follower(id).is_some() || !core.unlinked.contains(&id);
        match self.phase == Phase::Broadcast || core.voters.has_quorum(may_come) {
            true => Verdict::Stay,
            false => Verdict::Look("a quorum is out of reach"),
        }
    }

    /// A voter is looking. If it elected this leader, is not connected a tick later, and looks for another, it has changed its mind;
    /// unless a quorum is connected, waiting on is in vain. One that still names this leader in the same round has only not heard all
    /// votes yet: it takes `finalize_wait` for its decision, which may be longer than a tick. One that did not elect this leader hears of
    /// nobody who follows, and does not join; so it is the same when electors have died since and the rest is no quorum.
    ///
    /// Differs from ZooKeeper: where this is off (`zookeeper.leader.maxTimeToWaitForEpoch`, ZOOKEEPER-3109).
    pub(crate) fn handle_looking_voter(&mut self, core: &mut Core, from: ServerId, looking: &Notification) -> Verdict {
        let connected = |id| id == core.id() || self.follower(id).is_some();
        let may_come = |id| connected(id) || (self.electors.contains(&id) && !core.unlinked.contains(&id));
        let still_elects = looking.leader == core.id() && looking.round == core.round;
        let waits_in_vain = self.phase != Phase::Broadcast
            && core.now >= self.since + core.config.tick
            && !still_elects
            && !connected(from)
            && match self.electors.contains(&from) {
                true => !core.voters.has_quorum(connected),
                // A designated leader has none.
                false => !self.electors.is_empty() && !core.voters.has_quorum(may_come),
            };
        match waits_in_vain {
            true => {
                core.measures.quit_leading_due_to_disloyal_voter += 1;
                Verdict::Look("a voter changed its mind")
            }
            false => Verdict::Stay,
        }
    }
}
