//! A learner: follower or observer (`Learner.java`, `Follower.java`, `Observer.java`).
//!
//! ```text
//! Connecting ─▶ AwaitLeaderInfo ─▶ AwaitPlan ─▶ (AwaitSnapshot) ─▶ Receiving ─▶ PersistHistory ─▶ AwaitUpToDate ─▶ Broadcast
//!    │ FOLLOWERINFO    │ accept epoch,   │ DIFF TRUNC SNAP    │ PROPOSAL COMMIT  │ log durable,  │ ACK          │ ACK,
//!    ▼                 ▼ then ACKEPOCH   ▼                    ▼ NEWLEADER        ▼ then epoch    ▼ UPTODATE     ▼ serve
//! ```
//!
//! Nothing is applied before UPTODATE: until then the leader's history is not known to be with a quorum. UPTODATE proves
//! that it is, so everything that was not an open proposal is applied then, and later records with their COMMIT. (The one
//! exception is SNAP, which replaces the tree at once while nobody is served. If its leader fails before a quorum has
//! acknowledged it, a later leader may lack transactions of it, and asks for a truncation below it: see
//! `synchronising`.)
//!
//! Trouble with what the leader sends closes the connection and leads back to an election; it never ends the process
//! (ZOOKEEPER-4394).

use crate::broadcasting::decision;
use crate::core::Core;
use crate::effect::{ConnId, Effect, Role, ZabState};
use crate::measures::{Times, measure};
use crate::observer_master::ObserverMaster;
use crate::synchronising::Offered;
use crate::zab::Verdict;
use bytes::Bytes;
use ensemble_proto::durable::Ticket;
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{
    AuthId, LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket, Revalidation, decode_revalidate_answer,
    encode_revalidate_question, encode_touched,
};
use ensemble_proto::{Epoch, ServerId, SessionId, Zxid, reconfig};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Tries to reach a leader before it is given up (`Learner.connectToLeader`).
const CONNECT_TRIES_MAX: u32 = 5;
/// Pause between tries (`zookeeper.leaderConnectDelayDuringRetryMs`).
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Proposals without their COMMIT, or before UPTODATE, that a leader may have open; more ends the connection.
const OPEN_PROPOSALS_MAX: usize = 1 << 20;
/// Sessions reported in one answer to a PING; the rest waits for the next.
pub const TOUCHED_MAX: usize = 40_000;

#[derive(Debug)]
pub(crate) struct Following {
    leader: ServerId,
    pub(crate) stage: Stage,
    /// Given up then: the leader is silent, or cannot be reached.
    pub(crate) deadline: Duration,
    attempt: u64,
    tries: u32,
    pub(crate) conn: Option<ConnId>,
    /// Whether it came to learn only; what follows from a later configuration is for a later connection.
    observer: bool,
    pub(crate) epoch: Epoch,
    /// The next ACKEPOCH claims an empty log, so that the leader sends a snapshot.
    pub(crate) claim_nothing: bool,
    /// Proposals without COMMIT, ascending.
    pub(crate) open: VecDeque<Zxid>,
    /// Proposals that came between NEWLEADER and UPTODATE, committed since or not, ascending. A Java leader ends a connection on which the ACK of one of
    /// them does not come (`LearnerHandler.SyncLimitCheck`).
    pub(crate) early: Vec<Zxid>,
    /// Everything up to here is committed, once the leader is established.
    pub(crate) committed: Zxid,
    /// Proposals up to here are in the snapshot that was received.
    pub(crate) covered: Zxid,
    /// A snapshot that the log goes beyond, until it is known which of the log's records the leader has.
    pub(crate) offered: Option<Offered>,
    /// The configuration that the leader told with NEWLEADER, if it is a later one.
    pub(crate) told: Option<Membership>,
    /// Who leads the configuration that is active since its transaction.
    designated: Option<(Zxid, ServerId)>,
    /// The write after which ACK(NEWLEADER) leaves.
    pub(crate) acknowledged: Ticket,
    touched: BTreeMap<SessionId, i32>,
    /// The first session that the next PING reports.
    report_from: SessionId,
    /// For each SYNC received and not passed on, the commit it came after. As many as the owner has asked for.
    syncs: VecDeque<Zxid>,
    /// Once it serves: the observers that have this follower for their master.
    pub(crate) observers: Option<ObserverMaster>,
    /// When the newest proposals came, once it serves.
    times: Times,
    /// Since when the leader decides how its history gets here, or sends it.
    pub(crate) planned_at: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Connecting { retry_at: Option<Duration> },
    AwaitLeaderInfo,
    AwaitPlan,
    AwaitSnapshot { zxid: Zxid },
    Receiving,
    PersistHistory { ticket: Ticket },
    AwaitUpToDate,
    Broadcast,
}

impl Following {
    pub(crate) fn begin(core: &mut Core, leader: ServerId) -> Following {
        let attempt = core.next_attempt();
        core.effects.push_back(Effect::Connect { leader, attempt });
        Following {
            leader,
            stage: Stage::Connecting { retry_at: None },
            deadline: core.now + core.config.connect_time(),
            attempt,
            tries: 0,
            conn: None,
            observer: core.is_observer(),
            epoch: Epoch(0),
            claim_nothing: false,
            open: VecDeque::new(),
            early: Vec::new(),
            committed: core.delivered,
            covered: Zxid::ZERO,
            offered: None,
            told: None,
            designated: None,
            acknowledged: Ticket(0),
            touched: BTreeMap::new(),
            report_from: SessionId(i64::MIN),
            syncs: VecDeque::new(),
            observers: None,
            times: Times::default(),
            planned_at: None,
        }
    }

    // ---- getters ----

    pub(crate) fn role(&self) -> Role {
        match self.observer {
            true => Role::Observing { leader: self.leader },
            false => Role::Following { leader: self.leader },
        }
    }

    pub(crate) fn zab_state(&self) -> ZabState {
        match self.stage {
            Stage::Connecting { .. } | Stage::AwaitLeaderInfo => ZabState::Discovery,
            Stage::Broadcast => ZabState::Broadcast,
            _ => ZabState::Synchronization,
        }
    }

    pub(crate) fn committed(&self) -> Zxid {
        self.committed
    }

    /// Its observers, if it may have any, and what they may be told.
    pub(crate) fn observers_and_committed(&mut self) -> Option<(&mut ObserverMaster, Zxid)> {
        self.observers.as_mut().map(|observers| (observers, self.committed))
    }

    pub(crate) fn conn(&self) -> Option<ConnId> {
        self.conn
    }

    pub(crate) fn leader(&self) -> ServerId {
        self.leader
    }

    pub(crate) fn is_observer(&self) -> bool {
        self.observer
    }

    fn is_serving(&self) -> bool {
        self.stage == Stage::Broadcast
    }

    pub(crate) fn deadline(&self) -> Duration {
        match self.stage {
            Stage::Connecting { retry_at: Some(at) } => at.min(self.deadline),
            _ => self
                .observers
                .as_ref()
                .and_then(ObserverMaster::deadline)
                .map_or(self.deadline, |at| at.min(self.deadline)),
        }
    }

    // ---- connecting ----

    pub(crate) fn handle_timeout(&mut self, core: &mut Core) -> Verdict {
        if self.deadline <= core.now {
            return Verdict::Look("leader is silent or out of reach");
        }
        if let Some(observers) = &mut self.observers {
            observers.handle_timeout(core, self.committed);
        }
        if let Stage::Connecting { retry_at: Some(at) } = self.stage
            && at <= core.now
        {
            self.connect(core);
        }
        Verdict::Stay
    }

    pub(crate) fn connect(&mut self, core: &mut Core) {
        self.stage = Stage::Connecting { retry_at: None };
        self.attempt = core.next_attempt();
        core.effects.push_back(Effect::Connect { leader: self.leader, attempt: self.attempt });
    }

    pub(crate) fn handle_unreachable(&mut self, core: &mut Core, attempt: u64) -> Verdict {
        if attempt != self.attempt || self.stage != (Stage::Connecting { retry_at: None }) {
            return Verdict::Stay;
        }
        self.retry(core)
    }

    /// The leader may not know yet that it is elected: it is tried a few times.
    fn retry(&mut self, core: &mut Core) -> Verdict {
        self.tries += 1;
        if self.tries >= CONNECT_TRIES_MAX {
            return Verdict::Look("leader cannot be reached");
        }
        self.stage = Stage::Connecting { retry_at: Some(core.now + CONNECT_PAUSE) };
        Verdict::Stay
    }

    pub(crate) fn handle_connected(&mut self, core: &mut Core, attempt: u64, conn: ConnId) {
        if attempt != self.attempt || self.stage != (Stage::Connecting { retry_at: None }) {
            return core.close(conn, "attempt was given up");
        }
        self.conn = Some(conn);
        self.stage = Stage::AwaitLeaderInfo;
        self.deadline = core.now + core.config.init_time();
        let hello =
            LearnerInfo { id: core.id(), protocol_version: PROTOCOL_VERSION, config_version: core.config_version() };
        self.observer = core.is_observer();
        let kind = if self.observer { PacketType::ObserverInfo } else { PacketType::FollowerInfo };
        let zxid = Zxid::new(core.accepted_epoch, 0);
        core.send(conn, QuorumPacket::with_data(kind, zxid, hello.encode()));
    }

    pub(crate) fn handle_closed(&mut self, core: &mut Core) -> Verdict {
        self.conn = None;
        if let Some((_, leader)) = self.designated {
            return Verdict::Turn(leader);
        }
        match self.stage {
            Stage::AwaitLeaderInfo => self.retry(core),
            _ => Verdict::Look("connection to the leader is lost"),
        }
    }

    /// The leader is alive: part of a packet or snapshot has arrived.
    pub(crate) fn handle_progress(&mut self, core: &Core) {
        let limit = match self.stage {
            Stage::PersistHistory { .. } | Stage::AwaitUpToDate | Stage::Broadcast => core.config.sync_time(),
            _ => core.config.init_time(),
        };
        self.deadline = core.now + limit;
    }

    // ---- packets ----

    pub(crate) fn handle_packet(&mut self, core: &mut Core, conn: ConnId, packet: QuorumPacket) -> Verdict {
        self.handle_progress(core);
        match self.stage {
            Stage::Connecting { .. } => Verdict::Look("packet on a connection that was given up"),
            Stage::AwaitLeaderInfo => self.handle_leader_info(core, conn, &packet),
            Stage::AwaitPlan => self.handle_plan(core, conn, packet),
            Stage::AwaitSnapshot { .. } => Verdict::Look("leader sent a packet inside the snapshot"),
            Stage::Receiving | Stage::PersistHistory { .. } | Stage::AwaitUpToDate => {
                self.handle_synchronisation(core, conn, packet)
            }
            Stage::Broadcast => self.handle_broadcast(core, conn, packet),
        }
    }

    fn handle_leader_info(&mut self, core: &mut Core, conn: ConnId, packet: &QuorumPacket) -> Verdict {
        if packet.kind != PacketType::LeaderInfo || packet.payload() != PROTOCOL_VERSION.to_be_bytes() {
            return Verdict::Look("leader did not say LEADERINFO of protocol 1.0");
        }
        let epoch = packet.zxid.epoch();
        if epoch < core.accepted_epoch && !core.mutants().accept_old_epoch() {
            return Verdict::Look("leader's epoch is below the accepted one");
        }
        let (position, current) = match epoch == core.accepted_epoch && !core.mutants().accept_old_epoch() {
            // Promised before: this leader must not count us, and may be told that we have nothing. An empty history would be a
            // history, and the same as that of a leader whose own is empty.
            true if self.claim_nothing => (Zxid::NONE, -1),
            true => (core.position(), -1),
            false => {
                core.accept_epoch(epoch);
                (core.position(), core.current_epoch.0 as i32)
            }
        };
        if core.mutants().zkb_03() {
            core.enter_epoch(epoch);
        }
        self.epoch = epoch;
        self.stage = Stage::AwaitPlan;
        self.planned_at = Some(core.now);
        let data = Bytes::copy_from_slice(&current.to_be_bytes());
        core.send_when_durable(conn, QuorumPacket::with_data(PacketType::AckEpoch, position, data));
        Verdict::Stay
    }

    pub(crate) fn propose(&mut self, core: &mut Core, packet: QuorumPacket) -> Verdict {
        let zxid = packet.zxid;
        let is_lost = core.mutants().zkb_09() && matches!(self.stage, Stage::PersistHistory { .. });
        if (zxid > self.covered || self.is_serving()) && !is_lost {
            if let Err(reason) = self.log(core, packet) {
                return Verdict::Look(reason);
            }
            if core.mutants().zkb_05()
                && self.stage == Stage::Receiving
                && let Some(conn) = self.conn
            {
                core.acknowledge(conn, zxid);
            }
        }
        if self.open.len().max(self.early.len()) >= OPEN_PROPOSALS_MAX {
            return Verdict::Look("too many open proposals");
        }
        self.open.push_back(zxid);
        if matches!(self.stage, Stage::PersistHistory { .. } | Stage::AwaitUpToDate) {
            self.early.push(zxid);
        }
        Verdict::Stay
    }

    /// Appends what follows the log, or the history that is being collected.
    fn log(&mut self, core: &mut Core, packet: QuorumPacket) -> Result<(), &'static str> {
        let (zxid, payload) = (packet.zxid, packet.data.unwrap_or_default());
        if core.config.reconfig && reconfig::proposed(&payload).is_err() {
            return Err("a reconfiguration cannot be understood");
        }
        match &mut self.offered {
            Some(offered) if zxid.follows(offered.last()) => offered.records.push((zxid, payload)),
            None if zxid.follows(core.last) || core.mutants().lost_truncation() => core.append(zxid, payload),
            _ => return Err("a record does not follow the log"),
        }
        Ok(())
    }

    /// `designated` leads the configuration that the transaction makes, if it makes one.
    pub(crate) fn commit(&mut self, core: &mut Core, zxid: Zxid, designated: Option<ServerId>) -> Verdict {
        match self.open.front() {
            Some(open) if *open == zxid => {
                self.open.pop_front();
            }
            _ if zxid <= self.committed => return Verdict::Stay,
            _ => {
                return Verdict::Look("COMMIT without its PROPOSAL");
            }
        }
        self.committed = self.committed.max(zxid);
        if self.is_serving() {
            self.inform_observers(core, zxid, designated);
        }
        self.deliver_if_serving(core)
    }

    /// COMMITANDACTIVATE.
    pub(crate) fn commit_and_activate(&mut self, core: &mut Core, packet: &QuorumPacket) -> Verdict {
        let Some(leader) = leader_of(packet.payload()) else {
            return Verdict::Look("COMMITANDACTIVATE without a leader");
        };
        self.designate(core, packet.zxid, leader);
        self.commit(core, packet.zxid, Some(leader))
    }

    /// Takes note of who leads the configuration that the transaction made. That of a leader that is not established is of no account.
    fn designate(&mut self, core: &Core, zxid: Zxid, leader: ServerId) {
        if core.config.reconfig && self.is_serving() && leader != self.leader {
            self.designated = Some((zxid, leader));
        }
    }

    fn deliver_if_serving(&mut self, core: &mut Core) -> Verdict {
        match self.is_serving() {
            true => self.deliver(core),
            false => Verdict::Stay,
        }
    }

    pub(crate) fn inform(&mut self, core: &mut Core, mut packet: QuorumPacket) -> Verdict {
        if packet.kind == PacketType::InformAndActivate {
            // the designated leader comes first
            let data = packet.data.unwrap_or_default();
            let Some(leader) = leader_of(&data) else {
                return Verdict::Look("INFORMANDACTIVATE without a leader");
            };
            self.designate(core, packet.zxid, leader);
            packet.data = Some(data.slice(8..));
        }
        let zxid = packet.zxid;
        if zxid > self.covered
            && let Err(reason) = self.log(core, packet)
        {
            return Verdict::Look(reason);
        }
        self.committed = self.committed.max(zxid);
        self.deliver_if_serving(core)
    }

    // ---- broadcast ----

    fn handle_broadcast(&mut self, core: &mut Core, conn: ConnId, packet: QuorumPacket) -> Verdict {
        match packet.kind {
            PacketType::Proposal => {
                let zxid = packet.zxid;
                core.measures.learner_proposal_received_count += 1;
                self.times.mark(zxid, core.now);
                let verdict = self.propose(core, packet);
                if matches!(verdict, Verdict::Stay) && !self.observer {
                    match core.mutants().ack_before_sync() {
                        true => core.send(conn, QuorumPacket::new(PacketType::Ack, zxid)),
                        false => core.acknowledge(conn, zxid),
                    }
                }
                verdict
            }
            PacketType::Commit => {
                self.measure_commit(core, packet.zxid);
                self.commit(core, packet.zxid, None)
            }
            PacketType::CommitAndActivate => {
                self.measure_commit(core, packet.zxid);
                self.commit_and_activate(core, &packet)
            }
            PacketType::Inform | PacketType::InformAndActivate => {
                core.measures.learner_commit_received_count += 1;
                self.inform(core, packet)
            }
            PacketType::Ping => {
                self.answer_ping(core, conn, packet.zxid);
                Verdict::Stay
            }
            PacketType::Sync => {
                self.syncs.push_back(self.committed);
                self.release_syncs(core);
                Verdict::Stay
            }
            PacketType::Revalidate => match decode_revalidate_answer(packet.payload()) {
                Ok((session, valid)) => {
                    core.effects.push_back(Effect::Revalidated { session, valid });
                    Verdict::Stay
                }
                Err(_) => Verdict::Look("REVALIDATE does not decode"),
            },
            _ => Verdict::Look("leader sent what belongs to another phase"),
        }
    }

    /// Delivers what is committed. When a reconfiguration is among it, this server may have to take another part.
    pub(crate) fn deliver(&mut self, core: &mut Core) -> Verdict {
        core.deliver_to(self.committed);
        self.release_syncs(core);
        match self.designated {
            Some((zxid, leader)) if core.delivered >= zxid => Verdict::Turn(leader),
            None if !core.is_unannounced && core.is_observer() != self.observer => Verdict::Turn(self.leader),
            _ => Verdict::Stay,
        }
    }

    /// Activates what a leader that is established now has told, as far as it is committed with that leader's history. Its
    /// transaction may have been proposed only.
    pub(crate) fn activate_told(&mut self, core: &mut Core) {
        core.note_committed(self.committed);
        let told = self.told.take().filter(|told| told.version > core.config_version());
        if let Some(told) = told.filter(|told| told.version.counter() == 0 || told.version <= self.committed) {
            core.activate(told);
        }
        core.forget_unseen(self.epoch);
    }

    fn measure_commit(&self, core: &mut Core, zxid: Zxid) {
        core.measures.learner_commit_received_count += 1;
        measure(&mut core.measures.commit_propagation_latency, core.now, self.times.at(zxid).into_iter());
    }

    /// Proposals are on this server's disk, beyond what was `before`.
    pub(crate) fn measure_durable(&self, core: &mut Core, before: Zxid) {
        let since = self.times.between(before, core.durable);
        measure(&mut core.measures.proposal_ack_creation_latency, core.now, since);
    }

    fn inform_observers(&mut self, core: &mut Core, zxid: Zxid, designated: Option<ServerId>) {
        let Some(observers) = &mut self.observers else { return };
        if let Ok(index) = core.tail.binary_search_by_key(&zxid, |(zxid, _)| *zxid) {
            let payload = core.tail[index].1.clone();
            observers.inform(core, decision(zxid, &payload, true, designated));
        }
    }

    fn release_syncs(&mut self, core: &mut Core) {
        while self.syncs.pop_front_if(|after| *after <= core.delivered).is_some() {
            core.effects.push_back(Effect::SyncAnswered);
        }
    }

    fn answer_ping(&mut self, core: &mut Core, conn: ConnId, zxid: Zxid) {
        let data = encode_touched(self.next_touched().into_iter());
        core.send(conn, QuorumPacket::with_data(PacketType::Ping, zxid, data));
    }

    /// The sessions to report now. When they are more than one PING takes, the next goes on where this one ends, so that none is
    /// passed over for ever.
    fn next_touched(&mut self) -> BTreeMap<SessionId, i32> {
        if self.touched.len() <= TOUCHED_MAX {
            return std::mem::take(&mut self.touched);
        }
        let mut reported = BTreeMap::new();
        while reported.len() < TOUCHED_MAX {
            let next = self.touched.range(self.report_from..).next().or_else(|| self.touched.first_key_value());
            let Some((session, timeout_ms)) = next.map(|(session, timeout_ms)| (*session, *timeout_ms)) else { break };
            self.touched.remove(&session);
            reported.insert(session, timeout_ms);
            self.report_from = SessionId(session.0.wrapping_add(1));
        }
        reported
    }

    // ---- the owner's requests ----

    pub(crate) fn forward(&mut self, core: &mut Core, request: Bytes, authinfo: Vec<AuthId>) -> bool {
        let (true, Some(conn)) = (self.is_serving(), self.conn) else { return false };
        let packet = QuorumPacket { kind: PacketType::Request, zxid: Zxid::NONE, data: Some(request), authinfo };
        core.send(conn, packet);
        true
    }

    pub(crate) fn revalidate(&mut self, core: &mut Core, session: SessionId, timeout_ms: i32) -> bool {
        let (true, Some(conn)) = (self.is_serving(), self.conn) else { return false };
        let data = encode_revalidate_question(Revalidation { session, timeout_ms });
        core.send(conn, QuorumPacket::with_data(PacketType::Revalidate, Zxid::NONE, data));
        true
    }

    pub(crate) fn touch(&mut self, session: SessionId, timeout_ms: i32) {
        self.touched.insert(session, timeout_ms);
    }
}

/// The designated leader that begins a payload.
fn leader_of(payload: &[u8]) -> Option<ServerId> {
    payload.first_chunk().map(|id| ServerId(i64::from_be_bytes(*id)))
}
