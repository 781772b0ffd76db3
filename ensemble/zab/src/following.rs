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
//! [`Following::resynchronise`].)
//!
//! Trouble with what the leader sends closes the connection and leads back to an election; it never ends the process
//! (ZOOKEEPER-4394).

use crate::core::Core;
use crate::effect::{ConnId, Effect, Role, ZabState};
use crate::zab::Verdict;
use bytes::Bytes;
use ensemble_proto::durable::Ticket;
use ensemble_proto::quorum::{
    AuthId, LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket, Revalidation, decode_revalidate_answer,
    encode_revalidate_question, encode_touched,
};
use ensemble_proto::{Epoch, ServerId, SessionId, Zxid};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Tries to reach a leader before it is given up (`Learner.connectToLeader`).
const CONNECT_TRIES_MAX: u32 = 5;
/// Pause between tries (`zookeeper.leaderConnectDelayDuringRetryMs`).
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Proposals without their COMMIT that a leader may have open; more ends the connection.
const OPEN_PROPOSALS_MAX: usize = 1 << 20;
/// Sessions reported in one PING; the rest waits for the next.
const TOUCHED_MAX: usize = 40_000;

#[derive(Debug)]
pub(crate) struct Following {
    leader: ServerId,
    stage: Stage,
    /// Given up then: the leader is silent, or cannot be reached.
    deadline: Duration,
    attempt: u64,
    tries: u32,
    conn: Option<ConnId>,
    epoch: Epoch,
    /// The next ACKEPOCH claims an empty log, so that the leader sends a snapshot.
    claim_nothing: bool,
    /// Proposals without COMMIT, ascending.
    open: VecDeque<Zxid>,
    /// Everything up to here is committed, once the leader is established.
    committed: Zxid,
    /// Proposals up to here are in the snapshot that was received.
    covered: Zxid,
    /// A snapshot that the log goes beyond, until it is known which of the log's records the leader has.
    offered: Option<Offered>,
    /// The write after which ACK(NEWLEADER) leaves.
    acknowledged: Ticket,
    touched: BTreeMap<SessionId, i32>,
    /// For each SYNC received and not passed on, the commit it came after. As many as the owner has asked for.
    syncs: VecDeque<Zxid>,
}

/// A snapshot and what followed it.
#[derive(Debug)]
struct Offered {
    zxid: Zxid,
    snapshot: Bytes,
    records: Vec<(Zxid, Bytes)>,
}

impl Offered {
    fn last(&self) -> Zxid {
        self.records.last().map_or(self.zxid, |(zxid, _)| *zxid)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
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
            epoch: Epoch(0),
            claim_nothing: false,
            open: VecDeque::new(),
            committed: core.delivered,
            covered: Zxid::ZERO,
            offered: None,
            acknowledged: Ticket(0),
            touched: BTreeMap::new(),
            syncs: VecDeque::new(),
        }
    }

    // ---- getters ----

    pub(crate) fn role(&self, core: &Core) -> Role {
        match core.is_voter() {
            true => Role::Following { leader: self.leader },
            false => Role::Observing { leader: self.leader },
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

    pub(crate) fn conn(&self) -> Option<ConnId> {
        self.conn
    }

    fn is_serving(&self) -> bool {
        self.stage == Stage::Broadcast
    }

    pub(crate) fn deadline(&self) -> Duration {
        match self.stage {
            Stage::Connecting { retry_at: Some(at) } => at.min(self.deadline),
            _ => self.deadline,
        }
    }

    // ---- connecting ----

    pub(crate) fn handle_timeout(&mut self, core: &mut Core) -> Verdict {
        if self.deadline <= core.now {
            return Verdict::Look("leader is silent or out of reach");
        }
        if let Stage::Connecting { retry_at: Some(at) } = self.stage
            && at <= core.now
        {
            self.connect(core);
        }
        Verdict::Stay
    }

    fn connect(&mut self, core: &mut Core) {
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
        let kind = if core.is_voter() { PacketType::FollowerInfo } else { PacketType::ObserverInfo };
        let zxid = Zxid::new(core.accepted_epoch, 0);
        core.send(conn, QuorumPacket::with_data(kind, zxid, hello.encode()));
    }

    pub(crate) fn handle_closed(&mut self, core: &mut Core) -> Verdict {
        self.conn = None;
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
            // Promised before: this leader must not count us, and may be told that we have nothing.
            true if self.claim_nothing => (Zxid::ZERO, -1),
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
        let data = Bytes::copy_from_slice(&current.to_be_bytes());
        core.send_when_durable(conn, QuorumPacket::with_data(PacketType::AckEpoch, position, data));
        Verdict::Stay
    }

    fn handle_plan(&mut self, core: &mut Core, conn: ConnId, packet: QuorumPacket) -> Verdict {
        match packet.kind {
            PacketType::Diff if self.claim_nothing || core.position() == Zxid::NONE => {
                Verdict::Look("leader sent DIFF to a server without history")
            }
            PacketType::Diff => self.receive(core),
            PacketType::Trunc if core.position() == Zxid::NONE => {
                Verdict::Look("leader sent TRUNC to a server without history")
            }
            PacketType::Trunc if core.can_truncate(packet.zxid) || core.mutants().zkb_01() => {
                core.truncate(packet.zxid);
                self.receive(core)
            }
            PacketType::Trunc => self.resynchronise(core, conn),
            PacketType::Snap => {
                if core.mutants().zkb_12() {
                    core.claim_snapshot(packet.zxid);
                }
                self.stage = Stage::AwaitSnapshot { zxid: packet.zxid };
                Verdict::Stay
            }
            PacketType::NewLeader if core.mutants().zkb_13() => {
                core.enter_epoch(self.epoch);
                core.acknowledge(conn, packet.zxid);
                Verdict::Stay
            }
            PacketType::UpToDate | PacketType::Ping if core.mutants().zkb_13() => Verdict::Stay,
            _ => Verdict::Look("leader sent none of DIFF, TRUNC, SNAP"),
        }
    }

    /// The history is a prefix of the leader's now; what it lacks follows.
    fn receive(&mut self, core: &mut Core) -> Verdict {
        self.claim_nothing = false;
        self.committed = core.last;
        self.stage = Stage::Receiving;
        #[cfg(feature = "mutants")]
        if core.mutants().zkb_02() {
            core.defer_appends();
        }
        Verdict::Stay
    }

    /// The leader wants the log cut to a position that this log does not have, or that is below the tree. The latter
    /// happens after a snapshot of a leader that was never established: its transactions are not committed, and the state
    /// before them is gone. The way out is a snapshot. The same leader is asked again: it holds our promise of its epoch,
    /// so it will not count what we say about our history, and we say that we have none.
    ///
    /// Differs from ZooKeeper: which ends the process, or keeps a wrong record.
    fn resynchronise(&mut self, core: &mut Core, conn: ConnId) -> Verdict {
        if self.claim_nothing {
            return Verdict::Look("leader sent TRUNC to a server that claims nothing");
        }
        core.close(conn, "truncation below the tree, asking for a snapshot");
        self.conn = None;
        self.claim_nothing = true;
        self.deadline = core.now + core.config.connect_time();
        self.connect(core);
        Verdict::Stay
    }

    /// A snapshot replaces log and tree at once, unless the log holds its position and goes on: see [`Following::merge`].
    pub(crate) fn handle_snapshot(&mut self, core: &mut Core, snapshot: Bytes) -> Verdict {
        let Stage::AwaitSnapshot { zxid } = self.stage else {
            return Verdict::Look("leader sent a snapshot without SNAP");
        };
        self.handle_progress(core);
        self.covered = zxid;
        match zxid < core.last && (zxid <= core.delivered || core.can_truncate(zxid)) {
            true => self.offered = Some(Offered { zxid, snapshot, records: Vec::new() }),
            false => core.install(zxid, snapshot),
        }
        let verdict = self.receive(core);
        self.committed = zxid;
        verdict
    }

    /// The whole of a history is known whose snapshot is older than this log. Installing that snapshot and then logging
    /// what followed would, in between, take back records that may be committed by the word of this very disk. But the
    /// histories have the snapshot's position in common, so the log is cut to the last record that they share, and goes
    /// on from there. Only when they share nothing any more (see [`Following::resynchronise`]) is the snapshot installed.
    fn merge(&mut self, core: &mut Core) {
        let Some(Offered { zxid, snapshot, records }) = self.offered.take() else { return };
        let positions = std::iter::once(zxid).chain(records.iter().map(|(zxid, _)| *zxid));
        match positions.filter(|zxid| core.can_truncate(*zxid)).last() {
            Some(shared) => core.truncate(shared),
            None => core.install(zxid, snapshot),
        }
        let from = records.partition_point(|(zxid, _)| *zxid <= core.last);
        for (zxid, payload) in records.into_iter().skip(from) {
            core.append(zxid, payload);
        }
    }

    fn handle_synchronisation(&mut self, core: &mut Core, conn: ConnId, packet: QuorumPacket) -> Verdict {
        match packet.kind {
            PacketType::Proposal => self.propose(core, packet),
            PacketType::Commit | PacketType::CommitAndActivate => self.commit(core, packet.zxid),
            PacketType::Inform | PacketType::InformAndActivate => self.inform(core, packet),
            PacketType::NewLeader if self.stage == Stage::Receiving => self.handle_new_leader(core, conn, packet.zxid),
            PacketType::UpToDate if self.stage == Stage::AwaitUpToDate => self.handle_up_to_date(core, conn),
            PacketType::NewLeader | PacketType::UpToDate => Verdict::Look("NEWLEADER or UPTODATE came before its turn"),
            // Answered only once in sync: a leader takes the first packet for the ACK of NEWLEADER (ZOOKEEPER-4685).
            _ => Verdict::Stay,
        }
    }

    fn propose(&mut self, core: &mut Core, packet: QuorumPacket) -> Verdict {
        let zxid = packet.zxid;
        if zxid > self.covered || self.is_serving() {
            if !self.log(core, packet) {
                return Verdict::Look("proposal does not follow the log");
            }
            if core.mutants().zkb_05()
                && self.stage == Stage::Receiving
                && let Some(conn) = self.conn
            {
                core.acknowledge(conn, zxid);
            }
        }
        if self.open.len() >= OPEN_PROPOSALS_MAX {
            return Verdict::Look("too many open proposals");
        }
        self.open.push_back(zxid);
        Verdict::Stay
    }

    /// Appends what follows the log, or the history that is being collected. False when it does not follow.
    fn log(&mut self, core: &mut Core, packet: QuorumPacket) -> bool {
        let (zxid, payload) = (packet.zxid, packet.data.unwrap_or_default());
        match &mut self.offered {
            Some(offered) if zxid.follows(offered.last()) => offered.records.push((zxid, payload)),
            None if zxid.follows(core.last) || core.mutants().lost_truncation() => core.append(zxid, payload),
            _ => return false,
        }
        true
    }

    fn commit(&mut self, core: &mut Core, zxid: Zxid) -> Verdict {
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
            self.deliver(core);
        }
        Verdict::Stay
    }

    fn inform(&mut self, core: &mut Core, mut packet: QuorumPacket) -> Verdict {
        if packet.kind == PacketType::InformAndActivate {
            // the designated leader comes first; reconfiguration is not supported, so nobody is designated
            let data = packet.data.unwrap_or_default();
            if data.len() < 8 {
                return Verdict::Look("INFORMANDACTIVATE without a leader");
            }
            packet.data = Some(data.slice(8..));
        }
        let zxid = packet.zxid;
        if zxid > self.covered && !self.log(core, packet) {
            return Verdict::Look("INFORM does not follow the log");
        }
        self.committed = self.committed.max(zxid);
        if self.is_serving() {
            self.deliver(core);
        }
        Verdict::Stay
    }

    // ---- into office ----

    fn handle_new_leader(&mut self, core: &mut Core, conn: ConnId, zxid: Zxid) -> Verdict {
        if zxid != Zxid::new(self.epoch, 0) {
            return Verdict::Look("NEWLEADER of another epoch");
        }
        self.merge(core);
        if core.mutants().zkb_06() {
            self.open.clear();
        }
        if core.mutants().zkb_04() || core.mutants().zkb_02() {
            core.enter_epoch(self.epoch);
            core.send(conn, QuorumPacket::new(PacketType::Ack, zxid));
            self.stage = Stage::AwaitUpToDate;
            return Verdict::Stay;
        }
        self.stage = Stage::PersistHistory { ticket: core.issued };
        self.handle_persisted(core, conn);
        Verdict::Stay
    }

    /// History first, then the epoch that stands for it, then the acknowledgement (ZOOKEEPER-4643, 4646).
    fn persist_epoch(&mut self, core: &mut Core, conn: ConnId) {
        core.enter_epoch(self.epoch);
        self.acknowledged = core.issued;
        self.stage = Stage::AwaitUpToDate;
        core.acknowledge(conn, Zxid::new(self.epoch, 0));
    }

    /// Something became durable.
    pub(crate) fn handle_persisted(&mut self, core: &mut Core, conn: ConnId) {
        match self.stage {
            Stage::PersistHistory { ticket } if core.is_durable(ticket) => self.persist_epoch(core, conn),
            Stage::Broadcast => self.deliver(core),
            _ => {}
        }
    }

    fn handle_up_to_date(&mut self, core: &mut Core, conn: ConnId) -> Verdict {
        if !core.is_durable(self.acknowledged) {
            return Verdict::Look("UPTODATE came before NEWLEADER was acknowledged");
        }
        self.stage = Stage::Broadcast;
        core.trusted = true;
        core.vote.peer_epoch = self.epoch;
        core.acknowledge(conn, Zxid::new(self.epoch, 0));
        if core.is_voter() {
            for &zxid in self.open.iter().filter(|zxid| **zxid > self.covered) {
                core.acknowledge(conn, zxid);
            }
        }
        self.deliver(core);
        #[cfg(feature = "mutants")]
        core.flush_deferred();
        core.serve(self.role(core));
        Verdict::Stay
    }

    // ---- broadcast ----

    fn handle_broadcast(&mut self, core: &mut Core, conn: ConnId, packet: QuorumPacket) -> Verdict {
        match packet.kind {
            PacketType::Proposal => {
                let zxid = packet.zxid;
                let verdict = self.propose(core, packet);
                if matches!(verdict, Verdict::Stay) && core.is_voter() {
                    match core.mutants().ack_before_sync() {
                        true => core.send(conn, QuorumPacket::new(PacketType::Ack, zxid)),
                        false => core.acknowledge(conn, zxid),
                    }
                }
                verdict
            }
            PacketType::Commit | PacketType::CommitAndActivate => self.commit(core, packet.zxid),
            PacketType::Inform | PacketType::InformAndActivate => self.inform(core, packet),
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

    fn deliver(&mut self, core: &mut Core) {
        core.deliver_to(self.committed);
        self.release_syncs(core);
    }

    fn release_syncs(&mut self, core: &mut Core) {
        while self.syncs.pop_front_if(|after| *after <= core.delivered).is_some() {
            core.effects.push_back(Effect::SyncAnswered);
        }
    }

    fn answer_ping(&mut self, core: &mut Core, conn: ConnId, zxid: Zxid) {
        let rest = match self.touched.keys().nth(TOUCHED_MAX).copied() {
            Some(first) => self.touched.split_off(&first),
            None => BTreeMap::new(),
        };
        let reported = std::mem::replace(&mut self.touched, rest);
        let data = encode_touched(reported.into_iter());
        core.send(conn, QuorumPacket::with_data(PacketType::Ping, zxid, data));
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
