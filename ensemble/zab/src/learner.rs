//! One learner as its leader sees it (`LearnerHandler.java`).
//!
//! Its synchronisation ends at a position that every learner may apply, then NEWLEADER follows; live traffic is held back
//! from then until UPTODATE has been sent. A snapshot is sent while transactions go on, and may hold effects of each that is committed
//! before its last byte is read from the tree. So what follows it, and where the synchronisation ends, is decided then: a
//! learner never serves a tree that holds a part of what it has yet to learn.
//! ZooKeeper sends live traffic in between, which its own learners before 3.9.3 answer with a
//! crash (ZOOKEEPER-4394).

use crate::core::Core;
use crate::effect::{ConnId, Effect, LearnerStatus};
use crate::sync_plan::{Plan, plan};
use bytes::Bytes;
use ensemble_proto::durable::LogSlice;
use ensemble_proto::quorum::{
    LearnerInfo, PROTOCOL_VERSION, PacketType, QuorumPacket, decode_revalidate_question, decode_touched,
    encode_revalidate_answer,
};
use ensemble_proto::{Epoch, ServerId, SessionId, Zxid};
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes of live traffic held back for one learner that is not up to date; more ends its connection. It connects again
/// and finds a leader whose committed log may hold all it lacks.
const HELD_BYTES_MAX: usize = 64 << 20;
/// What a held packet counts beyond its payload.
const HELD_PACKET_BYTES: usize = 64;

/// Who a learner said it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hello {
    pub(crate) id: ServerId,
    /// Whether it came to learn only. Whether the word of another counts is for the configurations to say.
    pub(crate) observer: bool,
    pub(crate) accepted_epoch: Epoch,
}

/// What the first packet of a learner says.
///
/// # Errors
/// When this server does not speak with it.
pub(crate) fn introduced(packet: &QuorumPacket) -> Result<LearnerInfo, &'static str> {
    let info = LearnerInfo::decode(packet.payload()).map_err(|_| "learner info does not decode")?;
    match info.protocol_version < PROTOCOL_VERSION {
        true => Err("learner speaks a protocol before 1.0"),
        false => Ok(info),
    }
}

/// What a learner said about its history in ACKEPOCH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Summary {
    /// `None`: it has promised this epoch before and must not be counted.
    pub(crate) current_epoch: Option<Epoch>,
    pub(crate) last: Zxid,
}

impl Summary {
    /// Histories are ordered by the epoch of their leader, then by how far they go. Two servers with the same current
    /// epoch both have its whole initial history, so a last zxid of an earlier epoch means just that.
    fn key(&self) -> (Option<Epoch>, Zxid) {
        (self.current_epoch, self.current_epoch.map_or(self.last, |epoch| self.last.max(Zxid::new(epoch, 0))))
    }

    pub(crate) fn is_beyond(&self, other: &Summary) -> bool {
        self.key() > other.key()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Connected.
    AwaitHello,
    /// Waits for a quorum to propose an epoch to.
    AwaitEpoch,
    /// Was told the epoch.
    AwaitAckEpoch,
    /// Waits for a quorum to accept the epoch.
    AwaitPlan { last: Zxid },
    /// Is sent the tree; the transactions after `after` follow.
    Streaming { after: Zxid },
    /// Is sent what the log on disk has after `after`, a slice at a time. `peer` is its last record, until it is known from the first
    /// slice what it must be sent.
    Reading { after: Zxid, peer: Option<Zxid> },
    /// Receives what it lacks.
    Synchronising,
    /// Has the leader's history; waits for a quorum to have it.
    Acknowledged,
    /// Was called up to date.
    Active,
}

#[derive(Debug)]
pub(crate) struct Learner {
    pub(crate) conn: ConnId,
    pub(crate) hello: Option<Hello>,
    pub(crate) stage: Stage,
    /// The connection is closed then; `None` while the learner has nothing to say.
    pub(crate) read_deadline: Option<Duration>,
    /// Counts as connected until then.
    pub(crate) alive_until: Duration,
    /// Whether it was sent the tree.
    pub(crate) by_snapshot: bool,
    /// Everything up to here is on its disk.
    pub(crate) acked: Zxid,
    /// The last proposal sent.
    sent: Zxid,
    held: Vec<QuorumPacket>,
    held_bytes: usize,
    /// Rounds of PINGs not answered yet, and when they were sent.
    pings: VecDeque<(u64, Duration)>,
    /// The last round of PINGs answered.
    pub(crate) answered: u64,
    /// How far proposals had been sent at some times, as long as they are not acknowledged.
    marks: Marks,
}

impl Learner {
    pub(crate) fn new(core: &Core, conn: ConnId) -> Learner {
        Learner {
            conn,
            hello: None,
            stage: Stage::AwaitHello,
            read_deadline: Some(core.now + core.config.init_time()),
            alive_until: core.now + core.config.init_time() + core.config.sync_time(),
            by_snapshot: false,
            acked: Zxid::ZERO,
            sent: Zxid::ZERO,
            held: Vec::new(),
            held_bytes: 0,
            pings: VecDeque::new(),
            answered: 0,
            marks: Marks::default(),
        }
    }

    /// Whose word its acknowledgements are; `None` for an observer.
    pub(crate) fn follower_id(&self) -> Option<ServerId> {
        self.hello.filter(|hello| !hello.observer).map(|hello| hello.id)
    }

    pub(crate) fn is_observer(&self) -> bool {
        self.hello.is_some_and(|hello| hello.observer)
    }

    /// Whether it is being sent what it lacks, or has not said yet that it has that.
    pub(crate) fn is_synchronising(&self) -> bool {
        matches!(self.stage, Stage::Streaming { .. } | Stage::Reading { .. } | Stage::Synchronising)
    }

    /// Whether NEWLEADER has been sent: from then on it gets live traffic and PINGs.
    pub(crate) fn is_synchronised(&self) -> bool {
        matches!(self.stage, Stage::Synchronising | Stage::Acknowledged | Stage::Active)
    }

    pub(crate) fn status(&self, core: &Core) -> Option<LearnerStatus> {
        let hello = self.hello?;
        Some(LearnerStatus {
            id: hello.id,
            conn: self.conn,
            voter: !hello.observer && core.voters.contains(hello.id),
            observer: hello.observer,
            synced: self.stage == Stage::Active,
            acked: self.acked,
        })
    }

    // ---- synchronisation ----

    /// Proposes the epoch.
    pub(crate) fn offer(&mut self, core: &mut Core, epoch: Epoch) {
        let data = Bytes::copy_from_slice(&PROTOCOL_VERSION.to_be_bytes());
        core.send(self.conn, QuorumPacket::with_data(PacketType::LeaderInfo, Zxid::new(epoch, 0), data));
        self.stage = Stage::AwaitAckEpoch;
        self.read_deadline = Some(core.now + core.config.init_time());
    }

    /// What the learner must be sent to have this server's history up to `end`, when `peer` is its last logged zxid.
    pub(crate) fn plan(core: &Core, peer: Zxid, end: Zxid) -> Plan {
        if core.mutants().zkb_16() && peer == Zxid::ZERO {
            return Plan::Diff { after: core.committed_log.base() };
        }
        if core.config.force_snapshots {
            return Plan::Snap;
        }
        let zxids: Vec<_> = core.history_to(end).map(|(zxid, _)| *zxid).collect();
        match plan(peer, core.committed_log.base(), &zxids) {
            Plan::Trunc { to } if core.mutants().zkb_14() => Plan::Diff { after: to },
            plan => plan,
        }
    }

    /// Sends what the learner lacks up to `end`, then NEWLEADER; after a snapshot, [`Learner::snapshot_sent`] does. Until this leader is established `end` is the end of its
    /// log; from then on everything committed, whether it is on this server's own disk and in its tree or not: a learner
    /// must never be told to cut what is committed, for it may be one of the few that have it.
    ///
    /// Differs from ZooKeeper: which plans with what it has applied, so a follower may be told to truncate a transaction
    /// that is committed and not applied yet.
    pub(crate) fn synchronise(&mut self, core: &mut Core, new_leader: QuorumPacket, plan: Plan, peer: Zxid, end: Zxid) {
        let is_in_log = Zxid::ZERO < peer && peer < core.committed_log.base();
        if plan == Plan::Snap && is_in_log && core.config.log_syncs && !core.config.force_snapshots {
            return self.read(core, peer, Some(peer));
        }
        let end = core.history_to(end).last().map_or(core.committed_log.base(), |(zxid, _)| *zxid);
        let learner = self.hello.map(|hello| hello.id.0);
        tracing::info!(server = core.id().0, learner, ?plan, zxid = %peer, end = %end, "synchronising a learner");
        if let Some(after) = self.begin(core, &new_leader, plan, peer, end) {
            self.finish(core, new_leader, after, end);
        }
    }

    /// Sends what the synchronisation begins with; returns after which record it goes on, unless a snapshot comes first.
    fn begin(&mut self, core: &mut Core, new_leader: &QuorumPacket, plan: Plan, peer: Zxid, end: Zxid) -> Option<Zxid> {
        let conn = self.conn;
        match plan {
            Plan::Diff { after } => {
                let informed = if after == end { peer } else { end };
                core.measures.diff_count += 1;
                core.send(conn, QuorumPacket::new(PacketType::Diff, informed));
                Some(after)
            }
            Plan::Trunc { to } => {
                core.send(conn, QuorumPacket::new(PacketType::Trunc, to));
                Some(to)
            }
            Plan::Snap => {
                if core.mutants().zkb_13() {
                    core.send(conn, new_leader.clone());
                }
                core.measures.snap_count += 1;
                core.send(conn, QuorumPacket::new(PacketType::Snap, core.delivered));
                core.effects.push_back(Effect::SendSnapshot { conn });
                self.by_snapshot = true;
                self.stage = Stage::Streaming { after: core.delivered };
                self.read_deadline = Some(core.now + core.config.init_time());
                None
            }
        }
    }

    /// The tree is sent: what was committed since follows.
    pub(crate) fn snapshot_sent(&mut self, core: &mut Core, new_leader: QuorumPacket, end: Zxid) {
        if let Stage::Streaming { after } = self.stage {
            self.go_on(core, new_leader, after, end);
        }
    }

    /// Finishes, or asks the log on disk for what is not in memory any more.
    fn go_on(&mut self, core: &mut Core, new_leader: QuorumPacket, after: Zxid, end: Zxid) {
        match after < core.committed_log.base() {
            true => self.read(core, after, None),
            false => self.finish(core, new_leader, after, end),
        }
    }

    /// Asks for the log after a record.
    fn read(&mut self, core: &mut Core, after: Zxid, peer: Option<Zxid>) {
        self.stage = Stage::Reading { after, peer };
        self.read_deadline = Some(core.now + core.config.init_time());
        core.effects.push_back(Effect::ReadLog { conn: self.conn, after });
    }

    /// A slice of the log: it is sent, after what the synchronisation begins with. When the log is no source the learner gets a
    /// snapshot, but only instead of its beginning.
    ///
    /// # Errors
    /// When the learner must connect again.
    pub(crate) fn handle_log(
        &mut self,
        core: &mut Core,
        new_leader: QuorumPacket,
        slice: Option<LogSlice>,
        end: Zxid,
    ) -> Result<(), &'static str> {
        let Stage::Reading { after, peer } = self.stage else { return Ok(()) };
        let zxids: Vec<_> = slice.iter().flat_map(|slice| &slice.records).map(|(zxid, _)| *zxid).collect();
        let begun = match (&slice, peer) {
            (Some(slice), Some(peer)) if !zxids.is_empty() => {
                let plan = plan(peer, slice.floor, &zxids);
                tracing::info!(server = core.id().0, learner = self.hello.map(|hello| hello.id.0), ?plan, zxid = %peer, end = %end, "synchronising a learner from the log");
                self.begin(core, &new_leader, plan, peer, end)
            }
            (Some(slice), None) if !zxids.is_empty() && slice.floor == after => Some(after),
            (_, Some(peer)) => self.begin(core, &new_leader, Plan::Snap, peer, end),
            (_, None) => return Err("the log does not have what a learner lacks any more"),
        };
        let (Some(after), Some(slice)) = (begun, slice) else { return Ok(()) };
        let last = zxids.last().copied().unwrap_or(after).max(after);
        // What is not committed yet is live traffic, which comes later.
        for (zxid, payload) in slice.records.into_iter().filter(|(zxid, _)| *zxid > after && *zxid <= end) {
            core.send(self.conn, QuorumPacket::with_data(PacketType::Proposal, zxid, payload));
            core.send(self.conn, QuorumPacket::new(PacketType::Commit, zxid));
        }
        let last = last.min(end);
        match last < core.committed_log.base() {
            false => self.finish(core, new_leader, last, end),
            true => {
                self.stage = Stage::Reading { after: last, peer: None };
                self.read_deadline = Some(core.now + core.config.init_time());
                core.effects.push_back(Effect::AwaitWritable { conn: self.conn });
            }
        }
        Ok(())
    }

    /// The slice before is sent: the next one is read.
    pub(crate) fn writable(&mut self, core: &mut Core) {
        if let Stage::Reading { after, peer: None } = self.stage {
            self.read(core, after, None);
        }
    }

    /// Sends the transactions after `after` up to `end`, then NEWLEADER; later ones are live traffic.
    fn finish(&mut self, core: &mut Core, new_leader: QuorumPacket, after: Zxid, end: Zxid) {
        let lacking: Vec<_> = core.history_to(end).filter(|(zxid, _)| *zxid > after).cloned().collect();
        let end = lacking.last().map_or(after, |(zxid, _)| *zxid);
        for (zxid, payload) in lacking {
            core.send(self.conn, QuorumPacket::with_data(PacketType::Proposal, zxid, payload));
            core.send(self.conn, QuorumPacket::new(PacketType::Commit, zxid));
        }
        (self.acked, self.sent) = (end, end);
        self.stage = Stage::Synchronising;
        self.read_deadline = Some(core.now + core.config.init_time());
        if !self.is_observer() {
            let open = core.tail.partition_point(|(zxid, _)| *zxid <= end);
            for (zxid, payload) in core.tail.range(open..).cloned().collect::<Vec<_>>() {
                self.live(core, QuorumPacket::with_data(PacketType::Proposal, zxid, payload));
            }
        }
        core.send(self.conn, new_leader);
    }

    /// Sends live traffic, or holds it back.
    pub(crate) fn live(&mut self, core: &mut Core, packet: QuorumPacket) {
        if packet.kind == PacketType::Proposal {
            self.sent = packet.zxid;
        }
        if self.stage == Stage::Active || core.mutants().zkb_06() || core.mutants().zkb_09() {
            return core.send(self.conn, packet);
        }
        self.held_bytes += HELD_PACKET_BYTES + packet.payload().len();
        self.held.push(packet);
    }

    /// Whether more is held back than may be.
    pub(crate) fn is_overflowing(&self) -> bool {
        self.held_bytes > HELD_BYTES_MAX
    }

    /// A quorum has the leader's history, and so has this learner.
    pub(crate) fn activate(&mut self, core: &mut Core) {
        core.send(self.conn, QuorumPacket::new(PacketType::UpToDate, Zxid::NONE));
        self.stage = Stage::Active;
        self.held_bytes = 0;
        for packet in std::mem::take(&mut self.held) {
            core.send(self.conn, packet);
        }
        self.heard(core);
    }

    /// Whether as many of these learners as may be are being synchronised by this kind of plan (`LearnerSyncThrottler`).
    pub(crate) fn is_one_too_many<'a>(learners: impl Iterator<Item = &'a Learner>, core: &Core, plan: Plan) -> bool {
        let by_snapshot = plan == Plan::Snap;
        let max = if by_snapshot { core.config.snap_syncs_max } else { core.config.diff_syncs_max };
        learners.filter(|learner| learner.is_synchronising() && learner.by_snapshot == by_snapshot).count() >= max
    }

    /// The position that the oldest snapshot stands for that is being sent to one of these learners: what follows it must be remembered.
    pub(crate) fn first_position_streamed<'a>(learners: impl Iterator<Item = &'a Learner>) -> Option<Zxid> {
        let after = learners.filter_map(|learner| match learner.stage {
            Stage::Streaming { after } => Some(after),
            _ => None,
        });
        after.min()
    }

    // ---- service ----

    /// What an active learner asks for, other than to count its acknowledgements.
    ///
    /// # Errors
    /// When it cannot be understood, or is nothing that a learner says.
    pub(crate) fn serve(&mut self, core: &mut Core, packet: QuorumPacket) -> Result<(), &'static str> {
        let learner = self.conn;
        match packet.kind {
            PacketType::Ping => {
                let sessions = decode_touched(packet.payload()).map_err(|_| "PING does not decode")?;
                if let Some(asked) = self.pong() {
                    core.effects.push_back(Effect::Touched { learner, asked, sessions });
                }
            }
            PacketType::Request => {
                let from = self.hello.map_or(ServerId(-1), |hello| hello.id);
                let request = packet.data.unwrap_or_default();
                core.effects.push_back(Effect::Forwarded { learner, from, request, auth: packet.authinfo });
            }
            PacketType::Revalidate => {
                let asked = decode_revalidate_question(packet.payload()).map_err(|_| "REVALIDATE does not decode")?;
                let (session, timeout_ms) = (asked.session, asked.timeout_ms);
                core.effects.push_back(Effect::Revalidate { learner, session, timeout_ms });
            }
            _ => return Err("learner sent what only its master sends"),
        }
        Ok(())
    }

    /// Tells it whether it may serve a session; nothing unless it is active.
    pub(crate) fn answer_revalidate(&self, core: &mut Core, session: SessionId, valid: bool) {
        if self.stage == Stage::Active {
            let data = encode_revalidate_answer(session, valid);
            core.send(self.conn, QuorumPacket::with_data(PacketType::Revalidate, Zxid::NONE, data));
        }
    }

    // ---- liveness ----

    /// Whether it should have said something by now.
    pub(crate) fn is_silent(&self, core: &Core) -> bool {
        self.read_deadline.is_some_and(|deadline| deadline <= core.now)
    }

    /// An active learner has said something.
    pub(crate) fn heard(&mut self, core: &Core) {
        let deadline = core.now + core.config.sync_time();
        self.read_deadline = Some(deadline);
        self.alive_until = deadline;
    }

    pub(crate) fn ping(&mut self, core: &mut Core, round: u64, proposed: Zxid) {
        core.send(self.conn, QuorumPacket::new(PacketType::Ping, proposed));
        if self.stage == Stage::Active {
            self.pings.push_back((round, core.now));
            self.marks.mark(self.sent, core.now);
        }
    }

    /// When the PING was sent that this is the answer to; `None` when there was none.
    fn pong(&mut self) -> Option<Duration> {
        let (round, sent) = self.pings.pop_front()?;
        self.answered = round;
        Some(sent)
    }

    /// An ACK of a proposal. False when it is none that could have come: every proposal is acknowledged, in order.
    pub(crate) fn ack(&mut self, zxid: Zxid) -> bool {
        if zxid.counter() == 0 || zxid <= self.acked {
            return true;
        }
        if zxid > self.sent || !zxid.follows(self.acked) {
            return false;
        }
        self.acked = zxid;
        true
    }

    /// Whether the oldest proposal that is not acknowledged was sent before `since`.
    pub(crate) fn is_lagging(&mut self, since: Duration) -> bool {
        !self.is_observer() && self.marks.is_lagging(self.acked, since)
    }
}

/// Remembers how far something had been sent at some times, to tell when the oldest part that is not answered was sent.
/// One mark a PING interval, dropped when answered: bounded by `syncLimit`.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    marks: VecDeque<(Zxid, Duration)>,
}

impl Marks {
    pub(crate) fn mark(&mut self, sent: Zxid, now: Duration) {
        if self.marks.back().is_none_or(|(zxid, _)| *zxid < sent) {
            self.marks.push_back((sent, now));
        }
    }

    pub(crate) fn is_lagging(&mut self, answered: Zxid, since: Duration) -> bool {
        while self.marks.pop_front_if(|(zxid, _)| *zxid <= answered).is_some() {}
        self.marks.front().is_some_and(|(_, at)| *at < since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(current_epoch: i64, epoch: i64, counter: u32) -> Summary {
        Summary { current_epoch: Some(Epoch(current_epoch)), last: Zxid::new(Epoch(epoch), counter) }
    }

    #[test]
    fn histories_are_ordered_by_epoch_then_length() {
        assert!(summary(2, 1, 1).is_beyond(&summary(1, 1, 9)));
        assert!(summary(2, 2, 2).is_beyond(&summary(2, 2, 1)));
        assert!(!summary(2, 2, 1).is_beyond(&summary(2, 2, 1)));
        // led epoch 2 without transactions, and followed it: the same history
        assert!(!summary(2, 2, 0).is_beyond(&summary(2, 1, 7)));
        assert!(!summary(2, 1, 7).is_beyond(&summary(2, 2, 0)));
    }
}
