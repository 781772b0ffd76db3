//! A follower that has observers of its own (`ObserverMaster.java`): the leader need not serve them, and may have as many as there are
//! followers to take them.
//!
//! ```text
//! leader ── PROPOSAL, COMMIT ──▶ follower ── INFORM ──▶ observers
//!        ◀── REQUEST, PING, ... ──         ◀── REQUEST, PING, REVALIDATE ──
//! ```
//!
//! Only what is committed leaves here, so there is nothing to agree on: an observer is offered the epoch that this follower is in, is
//! synchronised up to what is known to be committed, and is up to date as soon as it says that it has that. Its requests, and the
//! sessions that it has heard of, go to the leader as if they were this server's own. When the follower's term ends, so do
//! these connections.
//!
//! Differs from ZooKeeper: which keeps a second queue of committed transactions for its observers; here the committed log serves
//! both kinds of master.

use crate::core::Core;
use crate::effect::{ConnId, Effect, LearnerStatus};
use crate::learner::{self, Hello, Learner, Stage};
use ensemble_proto::durable::LogSlice;
use ensemble_proto::quorum::{PacketType, QuorumPacket};
use ensemble_proto::{Epoch, SessionId, Zxid};
use std::collections::BTreeMap;
use std::time::Duration;

/// Observers at once, however far they are; more are closed.
const OBSERVERS_MAX: usize = 1024;

/// The observers of one follower, in the epoch that it serves in.
#[derive(Debug)]
pub(crate) struct ObserverMaster {
    epoch: Epoch,
    observers: BTreeMap<ConnId, Learner>,
    ping_at: Duration,
    /// Rounds of PINGs sent.
    round: u64,
}

impl ObserverMaster {
    pub(crate) fn new(core: &Core, epoch: Epoch) -> ObserverMaster {
        ObserverMaster { epoch, observers: BTreeMap::new(), ping_at: core.now + core.config.tick / 2, round: 0 }
    }

    // ---- getters ----

    pub(crate) fn learners<'a>(&'a self, core: &'a Core) -> impl Iterator<Item = LearnerStatus> + 'a {
        self.observers.values().filter_map(|observer| observer.status(core))
    }

    /// `None` while there is no observer.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let reads = self.observers.values().filter_map(|observer| observer.read_deadline);
        (!self.observers.is_empty()).then(|| reads.fold(self.ping_at, Duration::min))
    }

    // ---- connections ----

    pub(crate) fn handle_accepted(&mut self, core: &mut Core, conn: ConnId) {
        if self.observers.len() >= OBSERVERS_MAX {
            return core.close(conn, "no more observers");
        }
        if self.observers.is_empty() {
            self.ping_at = core.now + core.config.tick / 2;
        }
        self.observers.insert(conn, Learner::new(core, conn));
    }

    pub(crate) fn handle_closed(&mut self, core: &mut Core, conn: ConnId) {
        if self.observers.remove(&conn).is_some() {
            self.pin_committed_log(core);
            core.effects.push_back(Effect::LearnerLost { learner: conn });
        }
    }

    fn close(&mut self, core: &mut Core, conn: ConnId, reason: &'static str) {
        core.close(conn, reason);
        self.handle_closed(core, conn);
    }

    /// The follower's term is over.
    pub(crate) fn stop(&mut self, core: &mut Core) {
        for conn in std::mem::take(&mut self.observers).into_keys() {
            core.close(conn, "the observer's master does not follow any more");
        }
        self.pin_committed_log(core);
    }

    /// An observer takes what it lacks: it is not silent.
    pub(crate) fn handle_progress(&mut self, core: &Core, conn: ConnId) {
        if let Some(observer) = self.observers.get_mut(&conn).filter(|observer| observer.is_synchronising()) {
            observer.read_deadline = Some(core.now + core.config.init_time());
        }
    }

    // ---- packets ----

    pub(crate) fn handle_packet(&mut self, core: &mut Core, conn: ConnId, committed: Zxid, packet: QuorumPacket) {
        let Some(observer) = self.observers.get_mut(&conn) else { return };
        let done = match observer.stage {
            Stage::AwaitHello => self.handle_hello(core, conn, &packet),
            Stage::AwaitAckEpoch if packet.kind == PacketType::AckEpoch => {
                self.synchronise(core, conn, packet.zxid, committed)
            }
            Stage::AwaitAckEpoch => Err("answer to LEADERINFO is not ACKEPOCH"),
            Stage::Synchronising if packet.kind == PacketType::Ack && packet.zxid == Zxid::new(self.epoch, 0) => {
                observer.activate(core);
                Ok(())
            }
            Stage::Synchronising => Err("first packet after the synchronisation is not the ACK of NEWLEADER"),
            Stage::Active => Self::handle_active(observer, core, packet),
            Stage::AwaitEpoch | Stage::AwaitPlan { .. } => Err("observer spoke out of turn"),
            Stage::Streaming { .. } | Stage::Reading { .. } | Stage::Acknowledged => Err("observer spoke out of turn"),
        };
        if let Err(reason) = done {
            self.close(core, conn, reason);
        }
    }

    fn handle_hello(&mut self, core: &mut Core, conn: ConnId, packet: &QuorumPacket) -> Result<(), &'static str> {
        if packet.kind != PacketType::ObserverInfo {
            return Err("first packet is not OBSERVERINFO");
        }
        let info = learner::introduced(packet)?;
        if info.config_version > core.config_version() {
            return Err("observer has a later configuration");
        }
        if info.id.0 < 0 || info.id == core.id() {
            return Err("observer claims its master's id or none");
        }
        let is_same = |other: &&Learner| other.hello.is_some_and(|hello| hello.id == info.id);
        if let Some(former) = self.observers.values().find(is_same).map(|former| former.conn) {
            self.close(core, former, "the same server connected again");
        }
        if let Some(observer) = self.observers.get_mut(&conn) {
            let accepted_epoch = packet.zxid.epoch();
            observer.hello = Some(Hello { id: info.id, observer: true, accepted_epoch });
            observer.offer(core, self.epoch);
        }
        Ok(())
    }

    fn new_leader(&self, core: &Core) -> QuorumPacket {
        QuorumPacket::with_data(PacketType::NewLeader, Zxid::new(self.epoch, 0), core.config_text.clone())
    }

    fn synchronise(&mut self, core: &mut Core, conn: ConnId, last: Zxid, end: Zxid) -> Result<(), &'static str> {
        let plan = Learner::plan(core, last, end);
        if Learner::is_one_too_many(self.observers.values(), core, plan) {
            return Err("too many observers are being synchronised");
        }
        let new_leader = self.new_leader(core);
        if let Some(observer) = self.observers.get_mut(&conn) {
            observer.synchronise(core, new_leader, plan, last, end);
        }
        self.pin_committed_log(core);
        Ok(())
    }

    /// Everything of the snapshot for this observer has been handed over.
    pub(crate) fn handle_snapshot_sent(&mut self, core: &mut Core, conn: ConnId, committed: Zxid) {
        let new_leader = self.new_leader(core);
        if let Some(observer) = self.observers.get_mut(&conn) {
            observer.snapshot_sent(core, new_leader, committed);
        }
        self.pin_committed_log(core);
    }

    /// A part of the log on disk, for this observer.
    pub(crate) fn handle_log(&mut self, core: &mut Core, conn: ConnId, slice: Option<LogSlice>, committed: Zxid) {
        let new_leader = self.new_leader(core);
        let Some(observer) = self.observers.get_mut(&conn) else { return };
        if let Err(reason) = observer.handle_log(core, new_leader, slice, committed) {
            self.close(core, conn, reason);
        }
        self.pin_committed_log(core);
    }

    /// Nearly everything that was sent to this observer has been taken.
    pub(crate) fn handle_writable(&mut self, core: &mut Core, conn: ConnId) {
        if let Some(observer) = self.observers.get_mut(&conn) {
            observer.writable(core);
        }
    }

    fn pin_committed_log(&self, core: &mut Core) {
        core.committed_log.pin(Learner::first_position_streamed(self.observers.values()));
    }

    fn handle_active(observer: &mut Learner, core: &mut Core, packet: QuorumPacket) -> Result<(), &'static str> {
        observer.heard(core);
        match packet.kind {
            PacketType::Ack if packet.zxid.counter() == 0 => Ok(()),
            PacketType::Ack => Err("observer acknowledges a proposal"),
            _ => observer.serve(core, packet),
        }
    }

    // ---- what the leader says ----

    /// A transaction is committed: INFORM, or INFORMANDACTIVATE.
    pub(crate) fn inform(&mut self, core: &mut Core, packet: QuorumPacket) {
        let mut overflowing = Vec::new();
        for observer in self.observers.values_mut().filter(|observer| observer.is_synchronised()) {
            observer.live(core, packet.clone());
            if observer.is_overflowing() {
                overflowing.push(observer.conn);
            }
        }
        for conn in overflowing {
            self.close(core, conn, "too much live traffic to hold back for an observer");
        }
    }

    pub(crate) fn answer_revalidate(&self, core: &mut Core, conn: ConnId, session: SessionId, valid: bool) {
        if let Some(observer) = self.observers.get(&conn) {
            observer.answer_revalidate(core, session, valid);
        }
    }

    pub(crate) fn answer_sync(&self, core: &mut Core, conn: ConnId) {
        if self.observers.get(&conn).is_some_and(|observer| observer.stage == Stage::Active) {
            core.send(conn, QuorumPacket::new(PacketType::Sync, Zxid::ZERO));
        }
    }

    // ---- time ----

    pub(crate) fn handle_timeout(&mut self, core: &mut Core, committed: Zxid) {
        let silent: Vec<_> =
            self.observers.values().filter(|observer| observer.is_silent(core)).map(|observer| observer.conn).collect();
        for conn in silent {
            self.close(core, conn, "observer is silent");
        }
        if self.observers.is_empty() || self.ping_at > core.now {
            return;
        }
        self.ping_at = core.now + core.config.tick / 2;
        self.round += 1;
        for observer in self.observers.values_mut().filter(|observer| observer.is_synchronised()) {
            observer.ping(core, self.round, committed);
        }
    }
}
