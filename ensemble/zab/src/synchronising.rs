//! The learner's side of synchronisation: how its log becomes a prefix of its leader's, and how it says so.
//!
//! Order of durable writes: truncation or snapshot, records, then the epoch that stands for them, then ACK(NEWLEADER)
//! (ZOOKEEPER-3911, 4643, 4646, 4785).

use crate::core::Core;
use crate::effect::ConnId;
use crate::following::{Following, Stage};
use crate::measures::measure;
use crate::observer_master::ObserverMaster;
use crate::zab::Verdict;
use bytes::Bytes;
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{PacketType, QuorumPacket};
use ensemble_proto::{Zxid, reconfig};

/// A snapshot that the disk keeps, and what followed it.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) zxid: Zxid,
    /// The configuration that its state holds.
    pub(crate) configuration: Option<Membership>,
    pub(crate) records: Vec<(Zxid, Bytes)>,
}

impl Offered {
    pub(crate) fn last(&self) -> Zxid {
        self.records.last().map_or(self.zxid, |(zxid, _)| *zxid)
    }
}

impl Following {
    pub(crate) fn handle_plan(&mut self, core: &mut Core, conn: ConnId, packet: QuorumPacket) -> Verdict {
        tracing::info!(server = core.id().0, plan = ?packet.kind, to = %packet.zxid, zxid = %core.last, "synchronising with the leader");
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
                core.receive_snapshot(conn, packet.zxid);
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

    /// The disk keeps a snapshot beside everything else until it is whole.
    pub(crate) fn handle_snapshot_part(&mut self, core: &mut Core, bytes: Bytes) -> Verdict {
        let Stage::AwaitSnapshot { .. } = self.stage else {
            return Verdict::Look("leader sent a snapshot without SNAP");
        };
        self.handle_progress(core);
        core.receive_part(bytes);
        Verdict::Stay
    }

    /// A snapshot replaces log and tree at once, unless the log holds its position and goes on: see [`Following::merge`].
    pub(crate) fn handle_snapshot_end(&mut self, core: &mut Core, configuration: Option<Membership>) -> Verdict {
        let Stage::AwaitSnapshot { zxid } = self.stage else {
            return Verdict::Look("leader sent a snapshot without SNAP");
        };
        self.handle_progress(core);
        self.covered = zxid;
        match zxid < core.last && (zxid <= core.delivered || core.can_truncate(zxid)) {
            true => self.offered = Some(Offered { zxid, configuration, records: Vec::new() }),
            false => core.install(zxid, configuration),
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
        let Some(Offered { zxid, configuration, records }) = self.offered.take() else { return };
        let positions = std::iter::once(zxid).chain(records.iter().map(|(zxid, _)| *zxid));
        match positions.filter(|zxid| core.can_truncate(*zxid)).last() {
            Some(shared) => {
                core.abandon_snapshot();
                core.truncate(shared);
            }
            None => core.install(zxid, configuration),
        }
        let from = records.partition_point(|(zxid, _)| *zxid <= core.last);
        for (zxid, payload) in records.into_iter().skip(from) {
            core.append(zxid, payload);
        }
    }

    pub(crate) fn handle_synchronisation(&mut self, core: &mut Core, conn: ConnId, packet: QuorumPacket) -> Verdict {
        match packet.kind {
            PacketType::Proposal => self.propose(core, packet),
            PacketType::Commit => self.commit(core, packet.zxid, None),
            PacketType::CommitAndActivate => self.commit_and_activate(core, &packet),
            PacketType::Inform | PacketType::InformAndActivate => self.inform(core, packet),
            PacketType::NewLeader if self.stage == Stage::Receiving => self.handle_new_leader(core, conn, &packet),
            PacketType::UpToDate if self.stage == Stage::AwaitUpToDate => self.handle_up_to_date(core, conn),
            PacketType::NewLeader | PacketType::UpToDate => Verdict::Look("NEWLEADER or UPTODATE came before its turn"),
            // Answered only once in sync: a leader takes the first packet for the ACK of NEWLEADER (ZOOKEEPER-4685).
            _ => Verdict::Stay,
        }
    }

    fn handle_new_leader(&mut self, core: &mut Core, conn: ConnId, packet: &QuorumPacket) -> Verdict {
        let zxid = packet.zxid;
        if zxid != Zxid::new(self.epoch, 0) {
            return Verdict::Look("NEWLEADER of another epoch");
        }
        self.merge(core);
        if core.config.reconfig && !packet.payload().is_empty() {
            let Ok(told) = reconfig::parse(packet.payload()) else {
                return Verdict::Look("the configuration in NEWLEADER cannot be understood");
            };
            core.see(told.clone());
            self.told = Some(told);
        }
        if core.mutants().zkb_34() {
            core.deliver_to(core.last);
            core.serve(self.role());
        }
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
        self.handle_persisted(core, conn)
    }

    /// History first, then the epoch that stands for it, then the acknowledgement (ZOOKEEPER-4643, 4646).
    fn persist_epoch(&mut self, core: &mut Core, conn: ConnId) {
        core.enter_epoch(self.epoch);
        self.acknowledged = core.issued;
        self.stage = Stage::AwaitUpToDate;
        core.acknowledge(conn, Zxid::new(self.epoch, 0));
    }

    /// Something became durable.
    pub(crate) fn handle_persisted(&mut self, core: &mut Core, conn: ConnId) -> Verdict {
        match self.stage {
            Stage::PersistHistory { ticket } if core.is_durable(ticket) => self.persist_epoch(core, conn),
            Stage::Broadcast => return self.deliver(core),
            _ => {}
        }
        Verdict::Stay
    }

    fn handle_up_to_date(&mut self, core: &mut Core, conn: ConnId) -> Verdict {
        if !core.is_durable(self.acknowledged) {
            return Verdict::Look("UPTODATE came before NEWLEADER was acknowledged");
        }
        core.trusted = true;
        core.vote.peer_epoch = self.epoch;
        self.activate_told(core);
        if let Some(verdict) = self.takes_another_part(core) {
            return verdict;
        }
        self.stage = Stage::Broadcast;
        let measures = &mut core.measures;
        let sync_time =
            if self.is_observer() { &mut measures.observer_sync_time } else { &mut measures.follower_sync_time };
        measure(sync_time, core.now, self.planned_at.take().into_iter());
        core.acknowledge(conn, Zxid::new(self.epoch, 0));
        let early = std::mem::take(&mut self.early);
        if !self.is_observer() {
            let is_before = |zxid: &&Zxid| early.first().is_none_or(|first| *zxid < first);
            let open = self.open.iter().filter(|zxid| **zxid > self.covered).filter(is_before);
            for zxid in open.chain(&early) {
                core.acknowledge(conn, *zxid);
            }
        }
        if core.mutants().zkb_07() {
            self.committed = core.delivered;
        }
        let verdict = self.deliver(core);
        #[cfg(feature = "mutants")]
        core.flush_deferred();
        self.observers = core.is_voter().then(|| ObserverMaster::new(core, self.epoch));
        core.serve(self.role());
        verdict
    }

    /// What the configuration that is active since UPTODATE makes of this server and of its leader, if that is something else.
    fn takes_another_part(&self, core: &Core) -> Option<Verdict> {
        if !core.config.reconfig || core.is_observer() == self.is_observer() && core.voters.contains(self.leader()) {
            return None;
        }
        match core.voters.contains(self.leader()) {
            true => Some(Verdict::Turn(self.leader())),
            false => Some(Verdict::Look("the leader has no vote in the configuration that is active now")),
        }
    }
}
