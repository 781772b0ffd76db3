//! One whole server of the ensemble as a value: atomic broadcast, the tree, sessions and watches.
//!
//! ```text
//!   client frames ──► request ──► prep (leader) ──► zab.propose ──► Persist, PROPOSAL
//!                        │            ▲                                  │ synced, quorum
//!                        │            └── REQUEST from learners          ▼
//!                        └─► read ◄── tree ◄── apply ◄──────────── Deliver (commit)
//!                                               │
//!                              watch events, then the reply
//! ```
//!
//! The owner (a server process, or a simulated world) feeds what happened through the `handle_*` methods and then drains
//! [`Peer::poll_effect`] until it is empty; between two inputs there is no hidden work. Time and seeds are arguments. The
//! same inputs give the same effects.
//!
//! What holds after every input:
//!
//! * a write is answered only after it is committed and applied here; an ACK only after it is durable (zab's rule);
//! * replies of a connection leave in the order of its requests, and a session's reads see its earlier writes and
//!   none of its later ones;
//! * the events of a transaction are in the output of every watcher before any reply that shows it;
//! * a session ends by exactly one transaction, and only a leader that could still commit starts one;
//! * nobody is served unless zab says that this server is in office or in sync.
//!
//! It must not know sockets, files, threads or Kubernetes. Sources: `PrepRequestProcessor`, `CommitProcessor`,
//! `FinalRequestProcessor`, `FollowerRequestProcessor`, `LearnerHandler` of Apache ZooKeeper 3.9.

mod admission;
mod apply;
mod audit;
mod client;
mod configuration;
mod connect;
mod connect_throttle;
mod details;
mod expiry;
mod leader;
mod local;
mod measures;
mod mutants;
mod namespaces;
mod observers;
mod read;
mod read_only;
mod reconfig;
mod request;
mod session;
mod status;
mod throttler;
mod transfer;
mod watch;
mod watch_requests;

pub use admission::{Admission, LargeRequests};
pub use audit::{Audit, AuditAsker, AuditOperation};
pub use configuration::alone;
pub use connect_throttle::{ConnectThrottle, Weights};
pub use details::{Activity, Expiries, WatchSummary};
pub use measures::{Measures, Sizes};
pub use mutants::Mutants;
pub use namespaces::{Namespaces, Refusals};
pub use reconfig::{Reconfiguration, ReconfigureError};
pub use request::digest_identities;
pub use status::{ClientStatus, Status};
pub use throttler::RequestThrottle;

use audit::Asked;
use bytes::Bytes;
use client::Clients;
use connect_throttle::Bucket;
use details::DigestLog;
use ensemble_datatree::{DataTree, Loader, Walk};
use ensemble_proto::durable::{LogSlice, Ticket, Write};
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{Notification, PacketType, QuorumPacket};
use ensemble_proto::{DecodeError, Now, ServerId, SessionId, Zxid};
use ensemble_zab::{ConnId, History, HistoryError, Role, Zab};
use expiry::ExpiryQueue;
use leader::Leader;
use local::LocalSessions;
use observers::Asker;
use session::SessionIds;
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;
use throttler::Throttler;
use watch::Watches;

/// The limits and habits of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Replication.
    pub zab: ensemble_zab::Config,
    /// Shortest session timeout a client can get, in milliseconds (`minSessionTimeout`).
    pub session_timeout_min_ms: i32,
    /// Longest session timeout a client can get, in milliseconds (`maxSessionTimeout`); not below the shortest.
    pub session_timeout_max_ms: i32,
    /// Unanswered requests of all clients above which a connection that has one is not read (`globalOutstandingLimit`).
    pub client_outstanding_max: usize,
    /// `zookeeper.skipACL`: every access is allowed.
    pub skip_acl: bool,
    /// `zookeeper.DigestAuthenticationProvider.superDigest`: the digest identity that may do anything.
    pub super_digest: Option<String>,
    /// Longest record that every reader of a log takes: `jute.maxbuffer` and `jute.maxbuffer.extrasize`. A request whose record would
    /// be longer is refused.
    pub record_bytes_max: usize,
    /// `readonlymode.enabled`: without a quorum, clients that ask for it are served what this server has.
    pub read_only: bool,
    /// `localSessionsEnabled`: new sessions are this server's alone. The same on every server of an ensemble; without effect on a
    /// standalone one.
    pub local_sessions: bool,
    /// `localSessionsUpgradingEnabled`: a local session that creates an ephemeral znode becomes one of the ensemble.
    pub local_sessions_upgrading: bool,
    /// Bytes of a snapshot that are made at once for a learner, about; a znode is not cut, and sessions and ACLs come as a whole.
    pub snapshot_slice_bytes: usize,
    /// `zookeeper.extendedTypesEnabled`: TTL znodes may be made.
    pub extended_types: bool,
    /// `audit.enable`: say what the audit log is told.
    pub audit: bool,
    /// `zookeeper.enforceQuota`: as the leader, refuse what would exceed the hard limit of a quota.
    pub enforce_quota: bool,
    /// How long a connection may exist without a session (`zookeeper.nio.sessionlessCnxnTimeout`).
    pub sessionless_timeout: Duration,
    /// When empty containers go.
    pub reaping: Reaping,
    /// `standaloneEnabled`: an ensemble keeps two voters at least.
    pub standalone_enabled: bool,
    /// Who is served at all.
    pub admission: Admission,
}

/// How a leader deletes container znodes that are empty, and TTL znodes whose time is over.
#[derive(Clone, Debug)]
pub struct Reaping {
    /// How often it looks for them (`znode.container.checkIntervalMs`).
    pub interval: Duration,
    /// How many it deletes at once; the rest has to wait for the next look (from `znode.container.maxPerMinute`).
    pub count_max: usize,
    /// The age at which a container that never had a child goes too; `None` is never (`znode.container.maxNeverUsedIntervalMs`).
    pub never_used_max: Option<Duration>,
}

impl Default for Reaping {
    /// ZooKeeper's.
    fn default() -> Reaping {
        Reaping { interval: Duration::from_secs(60), count_max: 10_000, never_used_max: None }
    }
}

/// What a server starts from.
pub struct Recovered {
    /// The state at `history.snapshot`.
    pub tree: DataTree,
    /// Epochs, and the log after the snapshot.
    pub history: History,
}

/// A client connection, named by the owner and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId(pub u64);

/// What the owner must do, in order.
#[derive(Debug)]
pub enum Effect {
    /// The connection has bytes to send: [`Peer::take_output`]. Announced once until they are taken.
    Output {
        /// The connection.
        client: ClientId,
    },
    /// Send what is waiting, then close. The owner reports [`Peer::handle_client_closed`] as for any other end.
    CloseClient {
        /// The connection.
        client: ClientId,
        /// What the client sent that cannot be read, where that is why: worth a line in the log.
        fault: Option<&'static str>,
    },
    /// Stop (`on`) or resume reading from the connection: back-pressure.
    PauseReading {
        /// The connection.
        client: ClientId,
        /// Whether to stop.
        on: bool,
    },
    /// Send a notification on the election plane; the newest to a peer replaces one not sent yet.
    Notify {
        /// The receiver.
        to: ServerId,
        /// The vote.
        notification: Notification,
    },
    /// Dial a leader's quorum port; answer by [`Peer::handle_leader_connected`] or [`Peer::handle_leader_unreachable`].
    Connect {
        /// Whose port.
        leader: ServerId,
        /// To be given back.
        attempt: u64,
    },
    /// Send a packet on a quorum connection.
    Send {
        /// The connection.
        conn: ConnId,
        /// The packet.
        packet: QuorumPacket,
    },
    /// Send raw bytes on a quorum connection: a slice of the snapshot that follows a SNAP packet. When they have been taken, or nearly,
    /// report [`Peer::handle_writable`]: the next slice is made then.
    SendBytes {
        /// The connection.
        conn: ConnId,
        /// The slice.
        bytes: Bytes,
    },
    /// Read the log on disk after a record, a slice of it; answer by [`Peer::handle_log`].
    ReadLog {
        /// The connection that it is for.
        conn: ConnId,
        /// The record before.
        after: Zxid,
    },
    /// Report [`Peer::handle_writable`] once nearly everything that was sent on a quorum connection has been taken.
    AwaitWritable {
        /// The connection.
        conn: ConnId,
    },
    /// Close a quorum connection, after sending what was queued on it.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// Make a write durable, in order; report by [`Peer::handle_persisted`].
    Persist {
        /// To be reported.
        ticket: Ticket,
        /// The write.
        write: Write,
    },
    /// Without a quorum, this server begins (`true`) or ends to serve clients that only read.
    ReadOnly(bool),
    /// The server's office changed; `None` means that it is looking for one and serves nobody.
    Office(Option<Role>),
    /// This configuration of the ensemble is active from now on: dial and serve by its addresses. Durable when the
    /// [`Write::Membership`] asked for just before is.
    Membership(Membership),
    /// Tell the audit log. Only with [`Config::audit`].
    Audit(Box<Audit>),
    /// This server cannot go on without risking what it promised: stop the process and say why.
    Halt {
        /// What went wrong.
        reason: String,
    },
}

/// A write that this server's clients wait for, in the order in which it was sent to the leader.
struct LocalWrite {
    session: SessionId,
    cxid: i32,
    op: i32,
    client: Option<ClientId>,
    /// The last record that was logged here when it was sent: no record up to this one can be its answer. See
    /// [`Peer::deliver`].
    after: Zxid,
    /// What the audit log is told of it.
    asked: Option<Box<Asked>>,
}

/// This server's own snapshot; those for learners are named after their connections.
const LOCAL_WALK: Walk = Walk(0);

/// Target of log lines that a client can cause as often as it likes: whoever prints them limits them.
const CLIENTS: &str = "ensemble_peer::clients";

/// What the peer counts, for metrics.
#[derive(Clone, Copy, Default, Debug)]
struct Counters {
    received: u64,
    sent: u64,
    proposals: u64,
    commits: u64,
    latency: Latency,
    digest_mismatches: u64,
    sessions_expired: u64,
    clients_unserved: u64,
}

/// Request latency since the start, in milliseconds.
#[derive(Clone, Copy, Default, Debug)]
struct Latency {
    min_ms: u64,
    max_ms: u64,
    total_ms: u64,
    count: u64,
}

impl Latency {
    fn record(&mut self, took: Duration) {
        let took_ms = took.as_millis() as u64;
        self.min_ms = if self.count == 0 { took_ms } else { self.min_ms.min(took_ms) };
        self.max_ms = self.max_ms.max(took_ms);
        self.total_ms += took_ms;
        self.count += 1;
    }
}

/// One server. See the module's header.
pub struct Peer {
    config: Config,
    seed: u64,
    zab: Zab,
    tree: DataTree,
    /// A snapshot that is being received, and from where.
    loading: Option<(ConnId, Loader)>,
    /// A received snapshot that is not installed yet.
    incoming: Option<DataTree>,
    /// Learners that are being sent the tree.
    streams: BTreeSet<ConnId>,
    /// The office in which clients are served.
    office: Option<Role>,
    /// What only a leader keeps; emptied whenever an office ends.
    leader: Leader,
    clients: Clients,
    session_ids: SessionIds,
    /// Sessions that nobody else knows.
    local: LocalSessions,
    /// Since when zab looks for a leader; told apart only with `read_only` in the configuration.
    looking_since: Option<Duration>,
    /// Whether clients that only read are served, though there is no quorum.
    read_only: bool,
    idle: ExpiryQueue<ClientId>,
    watches: Watches,
    local_writes: VecDeque<LocalWrite>,
    /// Learner: syncs sent to the leader, answered in order. Leader: syncs of own clients, by token.
    syncs: VecDeque<(u64, Asker)>,
    /// Learner: questions about sessions sent to the leader, answered in order.
    revalidations: VecDeque<(SessionId, Asker)>,
    next_sync: u64,
    digest_log: DigestLog,
    /// What the owner asked for, and was not told the end of.
    reconfiguration: Option<Reconfiguration>,
    /// Unanswered requests of all clients.
    outstanding: usize,
    /// Bytes of those of them that are large.
    large_bytes: usize,
    /// What handshakes take tokens from, where that is limited.
    connect_bucket: Option<Bucket>,
    /// Requests that are not begun yet.
    throttler: Throttler,
    paused: Vec<ClientId>,
    counters: Counters,
    measures: Measures,
    /// Since when nobody is served; `None` in office.
    unavailable_since: Option<Duration>,
    /// Nobody is ended for silence before: this server may have stood still itself.
    no_expiry_before: Duration,
    /// Nothing is applied or answered any more.
    halted: bool,
    effects: VecDeque<Effect>,
    /// Broken promises, in tests only.
    mutants: Mutants,
}

impl Peer {
    /// A server that starts looking for a leader (or, standalone, serves at once).
    ///
    /// # Errors
    /// When epochs and log contradict each other, so that the server must not vote.
    pub fn new(config: Config, recovered: Recovered, now: Now, seed: u64) -> Result<Peer, HistoryError> {
        let (tick, sync_limit) = (config.zab.tick, config.zab.sync_limit);
        let server = config.zab.id;
        let history = History { held: configuration::held(&recovered.tree), ..recovered.history };
        let zab = Zab::new(config.zab.clone(), history, now, seed)?;
        let session_ids = SessionIds::new(server.0 as u8, now.wall_ms, recovered.tree.sessions().keys().copied(), seed);
        let mut peer = Peer {
            seed,
            zab,
            tree: recovered.tree,
            loading: None,
            incoming: None,
            streams: BTreeSet::new(),
            office: None,
            leader: Leader::new(tick, sync_limit, seed),
            clients: Clients::new(seed),
            session_ids,
            local: LocalSessions::new(tick, seed),
            looking_since: None,
            read_only: false,
            idle: ExpiryQueue::new(tick, seed),
            watches: Watches::new(seed),
            local_writes: VecDeque::new(),
            syncs: VecDeque::new(),
            revalidations: VecDeque::new(),
            next_sync: 0,
            digest_log: DigestLog::default(),
            reconfiguration: None,
            outstanding: 0,
            large_bytes: 0,
            connect_bucket: config
                .admission
                .connect_throttle
                .clone()
                .map(|throttle| Bucket::new(throttle, now.elapsed, seed)),
            throttler: Throttler::default(),
            paused: Vec::new(),
            counters: Counters::default(),
            measures: Measures::default(),
            unavailable_since: Some(now.elapsed),
            no_expiry_before: Duration::ZERO,
            halted: false,
            effects: VecDeque::new(),
            mutants: Mutants::default(),
            config,
        };
        peer.publish_config();
        peer.pump(now);
        Ok(peer)
    }

    // ---- inputs: election and quorum planes ----

    /// A notification from another server.
    pub fn handle_notification(&mut self, now: Now, from: ServerId, notification: Notification) {
        self.zab.handle_notification(now, from, notification);
        self.pump(now);
    }

    /// The election connection to a server was (re-)established.
    pub fn handle_election_link(&mut self, now: Now, server: ServerId) {
        self.zab.handle_election_link(now, server);
        self.pump(now);
    }

    /// The election connection to a server has ended, and no other has taken its place.
    pub fn handle_election_link_lost(&mut self, now: Now, server: ServerId) {
        self.zab.handle_election_link_lost(now, server);
        self.pump(now);
    }

    /// Somebody connected to the quorum port.
    pub fn handle_learner_accepted(&mut self, now: Now, conn: ConnId) {
        self.zab.handle_learner_accepted(now, conn);
        self.pump(now);
    }

    /// Somebody connected to the observer master's port.
    pub fn handle_observer_accepted(&mut self, now: Now, conn: ConnId) {
        self.zab.handle_observer_accepted(now, conn);
        self.pump(now);
    }

    /// The leader's quorum port was reached.
    pub fn handle_leader_connected(&mut self, now: Now, attempt: u64, conn: ConnId) {
        self.zab.handle_leader_connected(now, attempt, conn);
        self.pump(now);
    }

    /// The leader's quorum port was not reached.
    pub fn handle_leader_unreachable(&mut self, now: Now, attempt: u64) {
        self.zab.handle_leader_unreachable(now, attempt);
        self.pump(now);
    }

    /// A packet on a quorum connection.
    pub fn handle_packet(&mut self, now: Now, conn: ConnId, packet: QuorumPacket) {
        if packet.kind == PacketType::Ping {
            self.speak_for_paused(now);
        }
        self.zab.handle_packet(now, conn, packet);
        self.pump(now);
    }

    /// Bytes of a packet or snapshot that is not complete yet arrived on a quorum connection, or some that waited for the other side
    /// were taken: it is not silent.
    pub fn handle_progress(&mut self, now: Now, conn: ConnId) {
        self.zab.handle_progress(now, conn);
    }

    /// A part of the snapshot that followed a SNAP packet, of whole elements. One that does not decode ends the connection; what
    /// this server has stays as it is until the snapshot is whole.
    pub fn handle_snapshot_part(&mut self, now: Now, conn: ConnId, part: Bytes) {
        let Some((_, loader)) = self.loading.as_mut().filter(|(from, _)| *from == conn) else { return };
        match loader.feed(&part) {
            Ok(()) => self.zab.handle_snapshot_part(now, conn, part),
            Err(error) => return self.refuse_snapshot(now, conn, &error),
        }
        self.pump(now);
    }

    /// The snapshot that followed a SNAP packet is complete. One that is no tree ends the connection before it could replace
    /// anything.
    pub fn handle_snapshot_end(&mut self, now: Now, conn: ConnId) {
        let Some((_, loader)) = self.loading.take_if(|(from, _)| *from == conn) else { return };
        match loader.finish() {
            Ok(tree) => {
                self.incoming = Some(if self.tree.has_digests() { tree } else { tree.without_digests() });
                let held = self.incoming.as_ref().and_then(configuration::held);
                self.zab.handle_snapshot_end(now, conn, held);
                self.pump(now);
            }
            Err(error) => self.refuse_snapshot(now, conn, &error),
        }
    }

    fn refuse_snapshot(&mut self, now: Now, conn: ConnId, error: &DecodeError) {
        tracing::debug!(%error, "snapshot from the leader does not decode");
        self.effects.push_back(Effect::Close { conn });
        self.handle_closed(now, conn);
    }

    /// Most of what was queued on a quorum connection has been taken: there is room for the next slice of a snapshot or
    /// of the log. Nothing happens when none is being sent there.
    pub fn handle_writable(&mut self, now: Now, conn: ConnId) {
        match self.streams.contains(&conn) {
            true => self.send_slice(now, conn),
            false => self.zab.handle_writable(now, conn),
        }
        self.pump(now);
    }

    /// A slice of the log; `None` when it does not go back so far, or is too long from there.
    pub fn handle_log(&mut self, now: Now, conn: ConnId, slice: Option<LogSlice>) {
        self.zab.handle_log(now, conn, slice);
        self.pump(now);
    }

    /// A quorum connection ended.
    pub fn handle_closed(&mut self, now: Now, conn: ConnId) {
        self.forget_transfer(conn);
        self.zab.handle_closed(now, conn);
        self.pump(now);
    }

    /// Every write up to `ticket` is durable.
    pub fn handle_persisted(&mut self, now: Now, ticket: Ticket) {
        self.zab.handle_persisted(now, ticket);
        self.pump(now);
    }

    /// [`Peer::deadline`] has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.notice_standstill(now);
        self.zab.handle_timeout(now);
        self.expire(now);
        self.reap(now);
        self.begin_read_only(now);
        self.pump(now);
    }

    // ---- inputs: client port ----

    /// A client connected from `address`.
    pub fn handle_client_open(&mut self, now: Now, client: ClientId, address: IpAddr) {
        self.clients.open(client, address.to_canonical(), now); // an IPv4 client of a dual-stack socket is an IPv4 client
        self.idle.touch(client, now.elapsed, self.config.sessionless_timeout);
    }

    /// A frame of a client, without its length.
    pub fn handle_client_frame(&mut self, now: Now, client: ClientId, frame: &[u8]) {
        self.receive(now, client, frame);
        self.pump(now);
    }

    /// A client's connection ended, whoever ended it.
    pub fn handle_client_closed(&mut self, now: Now, client: ClientId) {
        self.finish_deferred(now, client);
        self.begin_stalled_close(now, client);
        self.forget_client(client);
        self.pump(now);
    }

    /// Breaks promises from now on.
    #[cfg(feature = "mutants")]
    pub fn break_promises(&mut self, mutants: Mutants) {
        self.mutants = mutants;
    }

    // ---- outputs ----

    /// The next thing to do. Drain until `None` after every input.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Peer::handle_timeout`] must be called, on the elapsed clock.
    pub fn deadline(&self) -> Duration {
        let is_leader = self.office == Some(Role::Leading);
        let sessions = if is_leader { self.leader.sessions.next_expiry() } else { None };
        let silence = [sessions, self.idle.next(), self.local.next_expiry()].into_iter().flatten().min();
        let silence = silence.map(|at| at.max(self.no_expiry_before));
        let reaping = is_leader.then_some(self.leader.next_reaping);
        [silence, reaping, self.read_only_at()].into_iter().flatten().fold(self.zab.deadline(), Duration::min)
    }

    /// Moves the bytes waiting for a client to the end of `into`: one write call a turn.
    pub fn take_output(&mut self, client: ClientId, into: &mut Vec<u8>) {
        if let Some(client) = self.clients.get_mut(client) {
            client.announced = false;
            self.measures.response_bytes += client.output.len() as u64;
            if into.is_empty() {
                std::mem::swap(&mut client.output, into);
            } else {
                into.append(&mut client.output);
            }
        }
    }

    /// A turn that began then, with whatever inputs, is over and its output is on its way: for the latency of what was read in it.
    pub fn end_turn(&mut self, began: Duration, now: Duration) {
        self.measures.end_turn(began, now);
    }

    /// Whether [`Peer::end_turn`] has anything to measure.
    pub fn has_read(&self) -> bool {
        self.measures.reads_of_turn > 0
    }

    /// What it has counted and measured since it started.
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    // ---- the local snapshot, in slices ----

    /// Begins a fuzzy snapshot of the present state; returns the zxid that names it. Replaces one in progress.
    pub fn begin_snapshot(&mut self) -> Zxid {
        let zxid = self.tree.begin_snapshot(LOCAL_WALK);
        if self.mutants.zkb_20() { self.zab.last_logged().max(zxid) } else { zxid }
    }

    /// The next bytes of the snapshot, about `budget_bytes` of them; `None` when it is complete.
    pub fn snapshot_slice(&mut self, budget_bytes: usize) -> Option<Bytes> {
        self.tree.snapshot_slice(LOCAL_WALK, budget_bytes)
    }

    /// The last applied transaction and the tree's digest after it: what a snapshot's trailer says.
    pub fn applied(&self) -> (Zxid, u64) {
        (self.tree.last_zxid(), self.tree.digest())
    }

    /// The tree, for reading.
    pub fn tree(&self) -> &DataTree {
        &self.tree
    }

    /// Replication, for reading.
    pub fn zab(&self) -> &Zab {
        &self.zab
    }
}
