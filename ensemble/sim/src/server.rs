//! One simulated server: its disk, and while it runs, the production peer and storage.

use crate::mutants::Mutant;
use crate::swarm::Swarm;
use bytes::Bytes;
use ensemble_datatree::{DataTree, DigestMismatch};
use ensemble_peer::{Admission, Config, Peer, Recovered};
use ensemble_proto::durable::{Ticket, Write};
use ensemble_proto::membership::{Member, MemberRole, Membership};
use ensemble_proto::quorum::PacketDecoder;
use ensemble_proto::{Now, ServerId, Zxid};
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Compression, ConfigurationFiles, Options, SnapshotWriter, Storage, StorageError};
use ensemble_zab::{History, Role};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// 2026-01-01, the wall clock at the start of every run, milliseconds.
const WALL_START_MS: i64 = 1_767_225_600_000;
/// A received snapshot is at most this long.
const SNAPSHOT_BYTES_MAX: usize = 64 << 20;
/// A connection with so many requests unanswered is not read.
pub(crate) const CLIENT_OUTSTANDING_MAX: usize = 20;
/// A quorum packet is at most this long.
const PACKET_BYTES_MAX: usize = 4 << 20;

/// A machine: it keeps its disk and its clock when the process dies.
pub(crate) struct Server {
    /// `myid`.
    pub(crate) id: ServerId,
    /// What survives, in part.
    pub(crate) disk: SimDisk,
    /// The ensemble that its `zoo.cfg` names: where it begins when it has kept no configuration.
    pub(crate) lines: Membership,
    /// Whether it may run. One that is switched off does not start.
    pub(crate) is_on: bool,
    /// While it runs.
    pub(crate) process: Option<Process>,
    /// Counts processes; messages to an earlier one are dropped.
    pub(crate) life: u64,
    /// The process does nothing before.
    pub(crate) paused_until: Duration,
    /// The disk is slow before.
    pub(crate) slow_until: Duration,
    /// The disk has no room before.
    pub(crate) full_until: Duration,
    /// The disk answers nothing before.
    pub(crate) hung_until: Duration,
    /// The wall clock's error, milliseconds.
    pub(crate) clock_error_ms: i64,
}

/// A running server.
pub(crate) struct Process {
    /// Production code.
    pub(crate) peer: Peer,
    /// Production code.
    pub(crate) storage: Storage<SimDisk>,
    /// When it started: the origin of its elapsed clock.
    pub(crate) started: Duration,
    /// Whether the store was empty then.
    pub(crate) was_empty: bool,
    /// Whether it was trusted then: it held history, or was granted while empty.
    pub(crate) was_trusted: bool,
    /// Asked for, not reported durable yet.
    pub(crate) writes: VecDeque<(Ticket, Write)>,
    /// How many of them the disk is working on.
    pub(crate) group: usize,
    /// The next wake-up that is in the queue.
    pub(crate) wake_at: Option<Duration>,
    /// A snapshot being written.
    pub(crate) snapshot: Option<SnapshotWriter<SimDisk>>,
    /// Where that was begun.
    pub(crate) snapshot_from: Zxid,
    /// Which office it holds.
    pub(crate) office: Option<Role>,
    /// Quorum connections: half-received messages; `None` while one is being handled.
    pub(crate) decoders: BTreeMap<u64, Option<PacketDecoder>>,
    /// Client connections that are not read, with what waits.
    pub(crate) unread: BTreeMap<u64, VecDeque<Vec<u8>>>,
    /// Client connections.
    pub(crate) clients: BTreeSet<u64>,
}

impl Server {
    /// A machine with a fresh disk, and what its `zoo.cfg` says.
    pub(crate) fn new(id: ServerId, lines: Membership) -> Server {
        Server {
            id,
            disk: SimDisk::new(),
            lines,
            is_on: true,
            process: None,
            life: 0,
            paused_until: Duration::ZERO,
            slow_until: Duration::ZERO,
            full_until: Duration::ZERO,
            hung_until: Duration::ZERO,
            clock_error_ms: 0,
        }
    }

    /// The server's clocks at a moment of the world; `started` is when its process began.
    pub(crate) fn clocks(&self, started: Duration, now: Duration) -> Now {
        let wall_ms = WALL_START_MS + now.as_millis() as i64 + self.clock_error_ms;
        Now { elapsed: now - started, wall_ms }
    }
}

/// A decoder for one direction of a quorum connection.
pub(crate) fn decoder() -> PacketDecoder {
    PacketDecoder::new(PACKET_BYTES_MAX, SNAPSHOT_BYTES_MAX)
}

/// How a store is kept in this run.
pub(crate) fn storage_options(swarm: &Swarm, seed: u64, mutant: Mutant) -> Options {
    Options {
        preallocate: swarm.preallocate,
        snap_count: swarm.snap_count,
        log_len_max: swarm.log_len_max,
        autocreate: false,
        repair: true,
        seed,
        mutants: mutant.storage(),
        ..Options::default()
    }
}

/// The tree and the history that a store recovered.
///
/// # Errors
/// What is wrong with the snapshot.
pub(crate) fn load(recovered: ensemble_storage::Recovered, seed: u64) -> Result<Recovered, String> {
    let (snapshot, mut tree) = match &recovered.snapshot {
        Some((zxid, body)) => (*zxid, DataTree::load(seed, *zxid, body).map_err(|error| error.to_string())?),
        None => (Zxid::ZERO, DataTree::new(seed)),
    };
    let mismatch = recovered.snapshot_digest.and_then(|(complete, digest)| tree.expect_digest(complete, digest));
    if let Some(DigestMismatch { expected, actual }) = mismatch {
        return Err(format!("its digest is {actual:x}, expected is {expected:x}"));
    }
    let history = History {
        accepted_epoch: recovered.accepted_epoch,
        current_epoch: recovered.current_epoch,
        snapshot,
        complete: recovered.complete,
        tail: recovered.tail,
        trusted: recovered.trusted,
        last_seen: None,
        held: None,
    };
    Ok(Recovered { tree, history })
}

/// Where a server keeps the configuration of an ensemble that changes.
pub(crate) fn configuration_files(swarm: &Swarm, id: ServerId) -> Option<ConfigurationFiles> {
    swarm.changes().then(|| ConfigurationFiles::apart("zoo.cfg", id))
}

/// The servers of a run.
pub(crate) fn membership(count: usize) -> Membership {
    let member = |id: usize| Member {
        host: format!("zk-{id}"),
        quorum_port: 2888,
        election_port: 3888,
        role: MemberRole::Participant,
        client: None,
    };
    let servers = (1..=count).map(|id| (ServerId(id as i64), member(id))).collect();
    Membership { servers, ..Membership::default() }
}

/// A server's configuration in this run.
pub(crate) fn config(swarm: &Swarm, id: ServerId, membership: Membership, mutant: Mutant) -> Config {
    let zab = ensemble_zab::Config {
        tick: swarm.tick,
        init_limit: swarm.init_limit,
        sync_limit: swarm.sync_limit,
        committed_log_max: swarm.committed_log,
        zxid_counter_max: swarm.zxid_counter_max,
        notification_interval_max: Duration::from_secs(2),
        mutants: mutant.zab(),
        reconfig: swarm.changes(),
        ..ensemble_zab::Config::new(id, membership)
    };
    let tick_ms = swarm.tick.as_millis() as i32;
    Config {
        zab,
        session_timeout_min_ms: 2 * tick_ms,
        session_timeout_max_ms: 20 * tick_ms,
        client_outstanding_max: CLIENT_OUTSTANDING_MAX,
        skip_acl: swarm.changes(),
        record_bytes_max: 2 << 20,
        super_digest: None,
        read_only: swarm.read_only,
        local_sessions: swarm.local_sessions,
        local_sessions_upgrading: swarm.local_sessions,
        snapshot_slice_bytes: 300,
        extended_types: false,
        audit: false,
        enforce_quota: false,
        sessionless_timeout: Duration::from_secs(10),
        reaping: ensemble_peer::Reaping::default(),
        standalone_enabled: false,
        admission: Admission { request_throttle: swarm.throttle, ..Admission::default() },
    }
}

impl Process {
    /// A process on an opened store.
    pub(crate) fn new(peer: Peer, storage: Storage<SimDisk>, started: Duration, was: (bool, bool)) -> Process {
        Process {
            peer,
            storage,
            started,
            was_empty: was.0,
            was_trusted: was.1,
            writes: VecDeque::new(),
            group: 0,
            wake_at: None,
            snapshot: None,
            snapshot_from: Zxid::ZERO,
            office: None,
            decoders: BTreeMap::new(),
            unread: BTreeMap::new(),
            clients: BTreeSet::new(),
        }
    }

    /// Performs the group that the disk is working on; returns what is durable now.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn finish_group(&mut self) -> Result<Vec<(Ticket, Write)>, StorageError> {
        let group: Vec<(Ticket, Write)> = self.writes.drain(..self.group).collect();
        self.group = 0;
        for (_, write) in &group {
            self.storage.perform(write)?;
        }
        self.storage.sync()?;
        Ok(group)
    }

    /// Whether the tree is a received snapshot that is not durable yet. A snapshot of it taken now would stand beside the log that
    /// it replaces.
    pub(crate) fn is_installing(&self) -> bool {
        self.writes.iter().any(|(_, write)| matches!(write, Write::InstallSnapshot { .. }))
    }

    /// Begins a snapshot.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn begin_snapshot(&mut self) -> Result<(), StorageError> {
        let zxid = self.peer.begin_snapshot();
        self.snapshot_from = zxid;
        self.snapshot = Some(SnapshotWriter::begin(self.storage.disk(), zxid, Compression::Plain)?);
        Ok(())
    }

    /// Gives the snapshot up.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn discard_snapshot(&mut self) -> Result<(), StorageError> {
        self.snapshot.take().map_or(Ok(()), SnapshotWriter::discard)
    }

    /// Writes a piece of the snapshot; false when it is complete.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn continue_snapshot(&mut self, budget_bytes: usize) -> Result<bool, StorageError> {
        let Some(writer) = &mut self.snapshot else { return Ok(false) };
        match self.peer.snapshot_slice(budget_bytes) {
            Some(piece) => {
                let piece: Bytes = piece;
                writer.slice(&piece)?;
                Ok(true)
            }
            None => {
                let (last, digest) = (self.peer.applied().0, self.peer.tree().proven_digest());
                if let Some(writer) = self.snapshot.take() {
                    writer.finish(digest, last)?;
                }
                ensemble_storage::purge(&mut self.storage.disk(), ensemble_storage::SNAPSHOTS_RETAINED_MIN)?;
                Ok(false)
            }
        }
    }
}
