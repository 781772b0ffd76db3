//! What every role shares: the log's position in memory and on disk, the epochs, the vote, and the queue of effects.
//!
//! Everything durable goes through here, so the order of writes is the order of calls, and a message whose truth depends
//! on a write is held back by [`Core::send_when_durable`] until the write's ticket is reported.

use crate::committed_log::CommittedLog;
use crate::config::{Config, History};
use crate::effect::{ConnId, Effect, Role};
use crate::measures::Measures;
use crate::mutants::Mutants;
use crate::quorum::{Quorum, Voters};
use crate::reconfig;
use crate::responder::Answers;
use crate::vote::Vote;
use bytes::Bytes;
use ensemble_proto::durable::{Ticket, Write};
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{NOTIFICATION_VERSION, Notification, PacketType, QuorumPacket, ServerState};
use ensemble_proto::{Epoch, ServerId, SplitMix64, Zxid};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) voters: Voters,
    /// The active configuration as text.
    pub(crate) config_text: Bytes,
    /// What the history holds and is not known to be committed.
    pub(crate) pending: Option<Membership>,
    /// What is durable as the last seen configuration, if it is later than the active one.
    pub(crate) last_seen: Option<Membership>,
    /// Whether the owner has not been told of the active configuration.
    pub(crate) is_unannounced: bool,
    pub(crate) now: Duration,
    /// The election round; in memory only.
    pub(crate) round: i64,
    /// The vote that others are told once this server is not looking; the last adopted one while it is.
    pub(crate) vote: Vote,
    pub(crate) accepted_epoch: Epoch,
    pub(crate) current_epoch: Epoch,
    /// The greatest epoch that a learner said it has accepted; in memory only.
    pub(crate) heard_epoch: Epoch,
    /// False while this server's store was empty at start and no leader has filled it.
    pub(crate) trusted: bool,
    /// Servers whose election connection has ended and is not back: they can be heard of by others only.
    pub(crate) unlinked: BTreeSet<ServerId>,
    /// What those were told that do not vote.
    pub(crate) answers: Answers,
    /// This server is about to stop: it takes part in no election any more.
    pub(crate) is_retired: bool,
    /// The last record appended.
    pub(crate) last: Zxid,
    /// The last record on disk.
    pub(crate) durable: Zxid,
    /// The last record applied to the tree.
    pub(crate) delivered: Zxid,
    /// Appended and not delivered, ascending.
    pub(crate) tail: VecDeque<(Zxid, Bytes)>,
    pub(crate) committed_log: CommittedLog,
    /// Appends on their way to the disk.
    appending: VecDeque<(Ticket, Zxid)>,
    pub(crate) issued: Ticket,
    pub(crate) synced: Ticket,
    held: VecDeque<(Ticket, Effect)>,
    pub(crate) effects: VecDeque<Effect>,
    /// Whether [`Effect::Role`] was the last of Role and Stopped.
    serving: bool,
    /// Whether the disk keeps parts of a snapshot that is neither installed nor abandoned.
    receiving: bool,
    attempts: u64,
    random: SplitMix64,
    pub(crate) measures: Measures,
    #[cfg(feature = "mutants")]
    deferred: Option<Vec<Write>>,
}

impl Core {
    pub(crate) fn new(config: Config, history: History, now: Duration, seed: u64) -> Core {
        let last = history.last();
        let config_text = Bytes::from(config.membership.to_string());
        let active = match config.standalone {
            true => Quorum::alone(config.id),
            false => Quorum::new(&config.membership),
        };
        let voters = Voters { active, pending: None, seen: None };
        let mut core = Core {
            voters,
            config_text,
            pending: None,
            last_seen: None,
            is_unannounced: false,
            now,
            round: 0,
            vote: Vote {
                leader: config.id,
                zxid: last,
                round: 0,
                peer_epoch: history.current_epoch,
                state: ServerState::Looking,
                version: NOTIFICATION_VERSION,
            },
            accepted_epoch: history.accepted_epoch,
            current_epoch: history.current_epoch,
            heard_epoch: Epoch(0),
            trusted: history.trusted,
            unlinked: BTreeSet::new(),
            answers: Answers::default(),
            is_retired: false,
            last,
            durable: last,
            delivered: history.snapshot,
            tail: history.tail.into(),
            committed_log: CommittedLog::new(history.snapshot, config.committed_log_max),
            appending: VecDeque::new(),
            issued: Ticket(0),
            synced: Ticket(0),
            held: VecDeque::new(),
            effects: VecDeque::new(),
            serving: false,
            receiving: false,
            attempts: 0,
            random: SplitMix64::new(seed),
            measures: Measures::default(),
            #[cfg(feature = "mutants")]
            deferred: None,
            config,
        };
        core.recover_configurations(history.last_seen, history.held);
        core
    }

    pub(crate) fn id(&self) -> ServerId {
        self.config.id
    }

    pub(crate) fn mutants(&self) -> Mutants {
        self.config.mutants
    }

    /// The position this server votes with: the last logged record, or nothing when its store may not vote.
    pub(crate) fn position(&self) -> Zxid {
        if self.trusted || self.mutants().empty_store_votes() { self.last } else { Zxid::NONE }
    }

    /// Whether this server may be elected.
    pub(crate) fn is_candidate(&self) -> bool {
        self.voters.weight(self.id()) > 0
    }

    /// Whether this server's word counts.
    pub(crate) fn is_voter(&self) -> bool {
        self.voters.contains(self.id())
    }

    pub(crate) fn config_version(&self) -> Zxid {
        self.config.membership.version
    }

    // ---- messages ----

    pub(crate) fn send(&mut self, conn: ConnId, packet: QuorumPacket) {
        self.effects.push_back(Effect::Send { conn, packet });
    }

    /// Sends once every write issued so far is durable. Messages held back leave in the order of these calls.
    pub(crate) fn send_when_durable(&mut self, conn: ConnId, packet: QuorumPacket) {
        let effect = Effect::Send { conn, packet };
        match self.is_durable(self.issued) {
            true => self.effects.push_back(effect),
            false => self.held.push_back((self.issued, effect)),
        }
    }

    pub(crate) fn acknowledge(&mut self, conn: ConnId, zxid: Zxid) {
        self.send_when_durable(conn, QuorumPacket::new(PacketType::Ack, zxid));
    }

    pub(crate) fn close(&mut self, conn: ConnId, reason: &'static str) {
        tracing::debug!(conn = conn.0, reason, "quorum connection closed");
        self.effects.push_back(Effect::Close { conn });
    }

    pub(crate) fn notify(&mut self, to: ServerId, vote: &Vote, round: i64, state: ServerState) {
        self.tell(to, self.notification(vote, round, state));
    }

    pub(crate) fn tell(&mut self, to: ServerId, notification: Notification) {
        self.effects.push_back(Effect::Notify { to, notification });
    }

    pub(crate) fn notification(&self, vote: &Vote, round: i64, state: ServerState) -> Notification {
        let config = match (&self.pending, state) {
            (Some(pending), ServerState::Looking) => reconfig::with_pending(&self.config.membership, pending),
            _ => self.config_text.clone(),
        };
        Notification {
            state,
            leader: vote.leader,
            zxid: vote.zxid,
            round,
            peer_epoch: vote.peer_epoch,
            version: NOTIFICATION_VERSION,
            config,
        }
    }

    pub(crate) fn next_attempt(&mut self) -> u64 {
        self.attempts += 1;
        self.attempts
    }

    /// A duration below `limit`, evenly.
    pub(crate) fn random_below(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.random.draw() % micros)
    }

    // ---- roles ----

    pub(crate) fn serve(&mut self, role: Role) {
        tracing::debug!(?role, zxid = %self.delivered, "serving");
        self.serving = true;
        self.effects.push_back(Effect::Role(role));
    }

    /// The role is over. What was held back for its connections is void; what was written stays written.
    pub(crate) fn stop(&mut self) {
        self.held.clear();
        self.abandon_snapshot();
        #[cfg(feature = "mutants")]
        self.flush_deferred();
        if self.serving {
            self.serving = false;
            self.effects.push_back(Effect::Stopped);
        }
        if self.mutants().zkb_01() {
            self.deliver_to(self.durable);
        }
        if self.mutants().zkb_08() {
            self.tail.retain(|(zxid, _)| *zxid <= self.durable);
            self.appending.clear();
            self.last = self.durable;
        }
        if self.mutants().zkb_27() {
            self.effects.retain(|effect| !matches!(effect, Effect::Deliver { .. }));
        }
    }

    // ---- the log ----

    pub(crate) fn persist(&mut self, write: Write) -> Ticket {
        self.issued = Ticket(self.issued.0 + 1);
        self.effects.push_back(Effect::Persist { ticket: self.issued, write });
        self.issued
    }

    pub(crate) fn is_durable(&self, ticket: Ticket) -> bool {
        self.synced >= ticket
    }

    /// Whether nothing is on its way to the disk.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_durable(self.issued)
    }

    /// Every write up to `ticket` is on disk.
    pub(crate) fn handle_persisted(&mut self, ticket: Ticket) {
        assert!(ticket <= self.issued, "{ticket:?} was never issued");
        self.synced = self.synced.max(ticket);
        while let Some(&(ticket, zxid)) = self.appending.front()
            && self.is_durable(ticket)
        {
            self.appending.pop_front();
            self.durable = zxid;
        }
        while let Some((_, effect)) = self.held.pop_front_if(|(ticket, _)| *ticket <= self.synced) {
            self.effects.push_back(effect);
        }
    }

    pub(crate) fn append(&mut self, zxid: Zxid, payload: Bytes) {
        assert!(zxid.follows(self.last) || self.mutants().lost_truncation(), "{zxid} does not follow {}", self.last);
        self.note_logged(&payload);
        self.last = zxid;
        self.tail.push_back((zxid, payload.clone()));
        let write = Write::Append { zxid, payload };
        #[cfg(feature = "mutants")]
        if let Some(deferred) = &mut self.deferred {
            deferred.push(write);
            self.durable = zxid;
            return;
        }
        let ticket = self.persist(write);
        self.appending.push_back((ticket, zxid));
    }

    /// Whether the log can be cut to exactly `to`: it is a record of ours, and none that the tree already has goes.
    pub(crate) fn can_truncate(&self, to: Zxid) -> bool {
        to == self.delivered || self.tail.binary_search_by_key(&to, |(zxid, _)| *zxid).is_ok()
    }

    pub(crate) fn truncate(&mut self, to: Zxid) {
        if to == self.last {
            return;
        }
        assert!(self.mutants().zkb_01() || to >= self.delivered, "truncation to {to} below {}", self.delivered);
        self.tail.retain(|(zxid, _)| *zxid <= to);
        self.appending.retain(|(_, zxid)| *zxid <= to);
        self.note_cut(to);
        self.last = to;
        if !self.mutants().zkb_35() {
            self.durable = self.durable.min(to);
        }
        if self.mutants().zkb_15() {
            let before = self.tail.iter().rev().map(|(zxid, _)| *zxid).find(|zxid| *zxid < to);
            self.persist(Write::Truncate { to: before.unwrap_or(self.delivered) });
        } else if !self.mutants().lost_truncation() {
            self.persist(Write::Truncate { to });
        }
    }

    /// What this server remembers of its history up to `end`, after the base of the committed log and without a gap.
    pub(crate) fn history_to(&self, end: Zxid) -> impl Iterator<Item = &(Zxid, Bytes)> {
        let open = self.tail.partition_point(|(zxid, _)| *zxid <= end);
        self.committed_log.records().chain(self.tail.range(..open))
    }

    /// A snapshot begins to arrive.
    pub(crate) fn receive_snapshot(&mut self, conn: ConnId, zxid: Zxid) {
        self.receiving = true;
        self.persist(Write::ReceiveSnapshot { zxid });
        self.effects.push_back(Effect::ReceiveSnapshot { conn, zxid });
    }

    pub(crate) fn receive_part(&mut self, bytes: Bytes) {
        self.persist(Write::SnapshotPart { bytes });
    }

    /// What has been received of a snapshot will not be needed.
    pub(crate) fn abandon_snapshot(&mut self) {
        if std::mem::take(&mut self.receiving) {
            self.persist(Write::AbandonSnapshot);
        }
    }

    /// Replaces everything by the snapshot that was received, whose state holds this configuration.
    pub(crate) fn install(&mut self, zxid: Zxid, configuration: Option<Membership>) {
        self.note_installed(configuration);
        self.receiving = false;
        self.tail.clear();
        self.appending.clear();
        self.last = zxid;
        self.delivered = zxid;
        self.durable = Zxid::ZERO;
        self.committed_log.reset(zxid);
        let ticket = self.persist(Write::InstallSnapshot { zxid });
        self.appending.push_back((ticket, zxid));
        self.effects.push_back(Effect::Install { zxid });
        self.announce_configuration();
    }

    /// Pretends to hold a snapshot that has not arrived.
    pub(crate) fn claim_snapshot(&mut self, zxid: Zxid) {
        self.tail.clear();
        (self.last, self.delivered, self.durable) = (zxid, zxid, zxid);
        self.committed_log.reset(zxid);
    }

    /// Applies what is committed up to `limit`, as far as it is on this server's own disk: what the tree shows can never
    /// be lost by this server alone.
    pub(crate) fn deliver_to(&mut self, limit: Zxid) {
        self.note_committed(limit);
        let limit = limit.min(self.durable);
        while let Some((zxid, payload)) = self.tail.pop_front_if(|(zxid, _)| *zxid <= limit) {
            self.delivered = zxid;
            match self.mutants().zkb_10() || self.mutants().lost_truncation() || self.mutants().zkb_01() {
                false => self.committed_log.push(zxid, payload.clone()),
                true if self.serving || !self.mutants().zkb_10() => {
                    self.committed_log.push_unchecked(zxid, payload.clone());
                }
                true => {}
            }
            self.effects.push_back(Effect::Deliver { zxid, payload });
        }
        self.announce_configuration();
    }

    // ---- epochs ----

    pub(crate) fn accept_epoch(&mut self, epoch: Epoch) -> Ticket {
        assert!(epoch > self.accepted_epoch || self.mutants().accept_old_epoch(), "accepted epochs only rise");
        self.accepted_epoch = epoch;
        self.persist(Write::AcceptedEpoch(epoch))
    }

    /// Records that the log holds the whole initial history of this epoch's leader.
    pub(crate) fn enter_epoch(&mut self, epoch: Epoch) -> Ticket {
        if epoch == self.current_epoch {
            return self.issued;
        }
        assert!(epoch > self.current_epoch || self.mutants().accept_old_epoch(), "current epochs only rise");
        self.current_epoch = epoch;
        self.persist(Write::CurrentEpoch(epoch))
    }

    /// A log that holds a record of an epoch holds that epoch's whole initial history before it, because logs are prefixes
    /// of a leader's history. A crash, or a lost leader, between log and epoch leaves the epoch behind: it catches up here.
    ///
    /// Differs from ZooKeeper: which refuses to start then (ZOOKEEPER-1653, 2354).
    pub(crate) fn recover_epoch(&mut self) {
        if !self.config.standalone && self.trusted && self.last.epoch() > self.current_epoch {
            tracing::debug!(epoch = self.last.epoch().0, "current epoch catches up with the log");
            self.enter_epoch(self.last.epoch());
        }
    }

    #[cfg(feature = "mutants")]
    pub(crate) fn defer_appends(&mut self) {
        self.deferred = Some(Vec::new());
    }

    #[cfg(feature = "mutants")]
    pub(crate) fn flush_deferred(&mut self) {
        for write in self.deferred.take().unwrap_or_default() {
            self.persist(write);
        }
    }
}
