//! How the world notices that a situation of [`crate::marks`] has come up: from effects, disks, faults and, at the end, from what the
//! clients saw. Nothing here changes anything but the marks.

use crate::history::History;
use crate::marks::{Mark, Marks};
use crate::model::Answer;
use crate::network::Place;
use crate::quorums::{is_majority, is_quorum};
use crate::request::Request;
use crate::rules::h11_locks;
use crate::rules::replay::Replay;
use crate::server::Process;
use crate::world::World;
use ensemble_proto::client::{EventType, MultiResult, OpCode};
use ensemble_proto::durable::Write;
use ensemble_proto::quorum::{PacketType, QuorumPacket};
use ensemble_proto::txn::TxnHeader;
use ensemble_proto::{Epoch, ErrorCode, SessionId, Zxid, jute::Reader};
use ensemble_storage::{Dir, Disk, Recovered};
use ensemble_zab::Role;
use std::collections::BTreeSet;
use std::time::Duration;

/// How far the synchronisation of a learner has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syncing {
    plan: PacketType,
    has_records: bool,
    has_new_leader: bool,
    /// UPTODATE was sent then.
    done: Option<Duration>,
}

impl World {
    /// Whether a server serves as a leader.
    pub(crate) fn is_leading(&self, server: usize) -> bool {
        self.servers[server].process.as_ref().is_some_and(|process| process.office == Some(Role::Leading))
    }

    /// Whether a server serves, in whatever office.
    pub(crate) fn is_serving(&self, server: usize) -> bool {
        self.servers[server].process.as_ref().is_some_and(|process| process.office.is_some())
    }
}

/// A packet leaves on a quorum connection.
pub(crate) fn sent(world: &mut World, connection: u64, packet: &QuorumPacket) {
    let (marks, now) = (&mut world.marks, world.now);
    if matches!(packet.kind, PacketType::Diff | PacketType::Trunc | PacketType::Snap) {
        marks.sometimes(Mark::TruncSent, packet.kind == PacketType::Trunc);
        marks.sometimes(Mark::SnapSent, packet.kind == PacketType::Snap);
        let syncing = Syncing { plan: packet.kind, has_records: false, has_new_leader: false, done: None };
        world.syncing.insert(connection, syncing);
        return;
    }
    let Some(syncing) = world.syncing.get_mut(&connection) else { return };
    match packet.kind {
        PacketType::Proposal | PacketType::Commit if syncing.done.is_some() => {
            marks.sometimes(Mark::TrafficHeldBack, syncing.done == Some(now));
            world.syncing.remove(&connection);
        }
        _ if syncing.done.is_some_and(|done| done != now) => {
            world.syncing.remove(&connection);
        }
        PacketType::Proposal if !syncing.has_new_leader && !syncing.has_records => {
            syncing.has_records = true;
            marks.hit(match syncing.plan {
                PacketType::Trunc => Mark::TruncThenRecords,
                PacketType::Snap => Mark::SnapThenRecords,
                _ => Mark::DiffSent,
            });
        }
        PacketType::NewLeader => {
            syncing.has_new_leader = true;
            marks.sometimes(Mark::DiffEmpty, syncing.plan == PacketType::Diff && !syncing.has_records);
        }
        PacketType::UpToDate => syncing.done = Some(now),
        _ => {}
    }
}

/// A quorum connection is over.
pub(crate) fn ended(world: &mut World, connection: u64) {
    if let Some(syncing) = world.syncing.remove(&connection).filter(|syncing| syncing.done.is_none()) {
        world.marks.hit(Mark::SyncBrokenOff);
        world.marks.sometimes(Mark::SnapBrokenOff, syncing.plan == PacketType::Snap);
        world.marks.sometimes(Mark::NewLeaderBrokenOff, syncing.has_new_leader);
    }
}

/// A server asks its disk for a write.
pub(crate) fn asked(world: &mut World, server: usize, write: &Write) {
    let log = &world.ledger.servers[server].requested;
    let is_open = |zxid: &Zxid| world.ledger.position(*zxid).is_none();
    match write {
        Write::Truncate { to } => {
            let removes_open = log.records.iter().any(|zxid| zxid > to && is_open(zxid));
            world.marks.sometimes(Mark::TailRemoved, removes_open);
        }
        Write::InstallSnapshot { .. } => {
            world.marks.sometimes(Mark::TailRemoved, log.records.iter().any(is_open));
            world.marks.sometimes(Mark::InstallWhileLogged, !log.records.is_empty());
            let is_writing = world.servers[server].process.as_ref().is_some_and(|process| process.snapshot.is_some());
            world.marks.sometimes(Mark::SnapshotGivenUp, is_writing);
        }
        Write::Append { zxid, payload } if world.network.has_cuts() && !world.ledger.proposed.contains_key(zxid) => {
            let header = TxnHeader::decode(&mut Reader::new(payload));
            let is_expiry = header.is_ok_and(|(header, op)| header.cxid == 0 && op == OpCode::CloseSession.code());
            world.marks.sometimes(Mark::ExpiredWhileCut, is_expiry);
        }
        _ => {}
    }
}

/// The order grew, and there were so many transactions before; or it did not.
pub(crate) fn committed(world: &mut World, known: usize) {
    let ledger = &world.ledger;
    if !ledger.membership.is_hierarchical() {
        return;
    }
    for committed in &ledger.committed[known..] {
        let has = |id| ledger.member_has(id, committed.zxid);
        world.marks.sometimes(Mark::GroupsOutweigh, !is_majority(&ledger.membership, has));
    }
}

/// A record is durable on one more server.
pub(crate) fn persisted(world: &mut World, write: &Write) {
    let ledger = &world.ledger;
    if !ledger.membership.is_hierarchical() {
        return;
    }
    let Write::Append { zxid, .. } = write else { return };
    let has = |id| ledger.member_has(id, *zxid);
    let waits = *zxid > ledger.last_committed() && is_majority(&ledger.membership, has);
    world.marks.sometimes(Mark::MajorityWaits, waits && !is_quorum(&ledger.membership, has));
}

/// A server takes office or leaves it. So many transactions were committed before this step.
pub(crate) fn office(world: &mut World, server: usize, office: Option<Role>, epoch: Epoch, known: usize) {
    let former = world.servers[server].process.as_ref().and_then(|process| process.office);
    let marks = &mut world.marks;
    marks.sometimes(Mark::StoreFilled, world.ledger.servers[server].is_wiped && office.is_some());
    match (former, office) {
        (_, Some(Role::Observing { .. })) => marks.hit(Mark::ObserverInSync),
        (_, Some(Role::Leading)) => {
            let last = world.ledger.leaders.last_key_value().map(|(epoch, leader)| (*epoch, *leader));
            marks.sometimes(Mark::EstablishedWhileCut, world.network.has_cuts());
            if let Some((last_epoch, leader)) = last {
                marks.hit(Mark::EstablishedAnew);
                marks.sometimes(Mark::EstablishedAgain, leader == server);
                marks.sometimes(Mark::EpochWithoutLeader, epoch.0 > last_epoch.0 + 1);
                marks.sometimes(Mark::TailCommitted, world.ledger.committed.len() > known);
            }
            let others = (0..world.servers.len()).filter(|other| *other != server);
            let is_shared = others.into_iter().any(|other| world.is_leading(other));
            world.marks.sometimes(Mark::TwoServeAsLeaders, is_shared);
        }
        (Some(Role::Leading), None) => {
            marks.hit(Mark::LeaderGivesUp);
            let last = world.ledger.servers[server].requested.last();
            marks.sometimes(Mark::EpochOver, last.counter() >= world.swarm.zxid_counter_max);
        }
        (Some(_), None) => marks.hit(Mark::FollowerGivesUp),
        _ => {}
    }
}

/// A server is about to crash.
pub(crate) fn crash(world: &mut World, server: usize) {
    let is_leading = world.is_leading(server);
    let connections = world.network.connections_of(Place::Server(server));
    let Some(process) = &world.servers[server].process else { return };
    let marks = &mut world.marks;
    marks.sometimes(Mark::CrashOfLeader, is_leading);
    marks.sometimes(Mark::ObserverLost, matches!(process.office, Some(Role::Observing { .. })));
    marks.sometimes(Mark::CrashWithWrites, !process.writes.is_empty());
    marks.sometimes(Mark::CrashInSnapshot, process.snapshot.is_some());
    marks.sometimes(Mark::CrashInInstall, process.is_installing());
    let is_open = |connection| world.syncing.get(connection).is_some_and(|syncing| syncing.done.is_none());
    marks.sometimes(Mark::CrashWhileSynchronised, connections.iter().any(is_open));
    let others = world.servers.iter().filter(|server| server.process.is_some()).count() - 1;
    marks.sometimes(Mark::CrashOfAll, others == 0);
}

/// A server has read its disk.
pub(crate) fn recovered(world: &mut World, recovered: &Recovered) {
    let marks = &mut world.marks;
    marks.sometimes(Mark::RecoveredTorn, recovered.notes.iter().any(|note| note.starts_with("dropped a torn record")));
    let last = world.ledger.last_committed();
    marks.sometimes(Mark::RecoveredTail, recovered.tail.last().is_some_and(|(zxid, _)| *zxid > last));
    let base = recovered.snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
    marks.sometimes(Mark::RecoveredSnapshotAndLog, base > Zxid::ZERO && !recovered.tail.is_empty());
    marks.sometimes(Mark::RecoveredBetweenEpochs, recovered.accepted_epoch > recovered.current_epoch);
    marks.sometimes(Mark::StoreSetAside, recovered.set_aside.is_some());
    marks.sometimes(Mark::StoreUntrusted, !recovered.trusted);
}

/// How many logs there are, when the group under way has a truncation.
pub(crate) fn before_truncation(process: &Process) -> Option<usize> {
    let group = process.writes.iter().take(process.group);
    let has_one = group.into_iter().any(|(_, write)| matches!(write, Write::Truncate { .. }));
    has_one.then(|| logs(process))
}

/// The group is done.
pub(crate) fn truncated(marks: &mut Marks, process: &Process, before: usize) {
    marks.sometimes(Mark::TruncatedLogRemoved, logs(process) < before);
}

fn logs(process: &Process) -> usize {
    let entries = process.storage.disk().list(Dir::Log).unwrap_or_default();
    entries.iter().filter(|entry| entry.name.starts_with("log.")).count()
}

/// A client that asked for this session has heard an answer.
pub(crate) fn handshake(world: &mut World, client: usize, asked: Option<SessionId>) {
    let it = &mut world.clients[client];
    if it.is_attached() {
        let connection = it.connection.and_then(|connection| world.network.connection(connection));
        let server = connection.and_then(|connection| match connection.ends[1].place {
            Place::Server(server) => Some(server),
            Place::Client(_) => None,
        });
        let has_moved = asked.is_some() && it.session() == asked && it.server.is_some() && it.server != server;
        world.marks.sometimes(Mark::SessionMoved, has_moved);
        world.marks.sometimes(Mark::SessionMovedInFlight, has_moved && it.was_asking);
        (it.server, it.was_asking) = (server, false);
    } else if asked.is_some() && it.session().is_none() {
        world.marks.hit(Mark::SessionLost);
        (it.server, it.was_asking) = (None, false);
    }
}

/// What the clients saw, and what the servers made of it.
pub(crate) fn history(marks: &mut Marks, history: &History, replay: &Replay) {
    let deleted: BTreeSet<Zxid> = replay
        .triggers
        .iter()
        .filter(|(_, trigger)| trigger.kind == EventType::NodeDeleted)
        .map(|(zxid, _)| *zxid)
        .collect();
    for (session, zxid) in &replay.expired {
        marks.hit(Mark::SessionExpired);
        marks.sometimes(Mark::ExpiredWithEphemerals, deleted.contains(zxid));
        let is_other = replay.begun.get(session).is_some_and(|begun| begun.epoch() != zxid.epoch());
        marks.sometimes(Mark::ExpiredByNewLeader, is_other);
    }
    for (index, op) in history.ops.iter().enumerate() {
        let Some(reply) = &op.reply else {
            let is_done = replay.txns.contains_key(&index) && !replay.refused.contains(&index);
            marks.sometimes(Mark::LostWriteDone, op.request.is_write() && is_done);
            marks.sometimes(Mark::LostWriteUndone, op.request.is_write() && !is_done);
            continue;
        };
        let begun = replay.begun.get(&op.session);
        marks.sometimes(Mark::SessionLocal, begun.is_none() && replay.txns.contains_key(&index));
        marks.sometimes(Mark::SessionUpgraded, begun.is_some_and(|begun| reply.zxid < *begun));
        let is_refused = reply.answer.error() == Some(ErrorCode::NOT_READ_ONLY);
        marks.sometimes(Mark::ReadOnlyRead, op.is_read_only && !is_refused);
        marks.sometimes(Mark::ReadOnlyRefused, is_refused);
        match (&op.request, &reply.answer) {
            (Request::Multi(_), Answer::Multi(results)) => {
                let has_failed = results.iter().any(|result| matches!(result, MultiResult::Error(_)));
                marks.hit(if has_failed { Mark::MultiFailed } else { Mark::MultiDone });
            }
            (Request::Sync, Answer::Done) => marks.hit(Mark::Synced),
            (Request::Close, Answer::Done) => marks.hit(Mark::SessionClosed),
            (_, Answer::Error(code)) => {
                marks.sometimes(Mark::BadVersion, *code == ErrorCode::BAD_VERSION);
                marks.sometimes(Mark::NotEmpty, *code == ErrorCode::NOT_EMPTY);
                marks.sometimes(Mark::Throttled, *code == ErrorCode::THROTTLED_OP);
                let is_below = *code == ErrorCode::NO_CHILDREN_FOR_EPHEMERALS;
                marks.sometimes(Mark::NoChildrenForEphemerals, is_below);
            }
            _ => {}
        }
    }
    marks.sometimes(Mark::SessionRefused, !replay.refused.is_empty());
    marks.sometimes(Mark::WatchMissed, replay.missed.values().any(|missed| !missed.is_empty()));
    let is_event =
        |item: &crate::history::Item| matches!(item, crate::history::Item::Event { zxid, .. } if *zxid != Zxid::NONE);
    marks.sometimes(Mark::WatchFired, history.streams.iter().flatten().any(is_event));
    let parents: BTreeSet<_> = replay.sequential.iter().map(|(_, parent)| (&parent.path, parent.czxid)).collect();
    marks.sometimes(Mark::SequenceContinued, parents.len() < replay.sequential.len());
    let holders = h11_locks::holders(history, replay);
    let passes = holders.values().any(|held| held.windows(2).any(|pair| pair[0].token != pair[1].token));
    marks.sometimes(Mark::LockPassedOn, passes);
}
