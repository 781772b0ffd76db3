//! A world of servers in one thread and virtual time: FIFO connections, disks that take a while, crashes that lose what
//! was not synced, and checks at every step.
//!
//! The tree of a server is simply the list of transactions applied to it, so a snapshot is that list.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod changes;
pub mod chaos;
pub mod script;

use bytes::{Bytes, BytesMut};
use ensemble_proto::jute::{Reader, Writer};
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{Notification, PacketType, QuorumPacket, ServerState};
use ensemble_proto::txn::{SetDataTxn, Txn, TxnHeader, TxnRecord};
use ensemble_proto::{Epoch, Now, ServerId, SessionId, SplitMix64, Zxid, reconfig};
use ensemble_zab::{
    Config, ConnId, Effect, History, LogSlice, ReconfigRefusal, Role, SyncOrigin, Ticket, Write, Zab, ZabState,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub type Record = (Zxid, Bytes);

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn membership(voters: i64, observers: i64) -> Membership {
    let mut membership = Membership::default();
    for id in 1..=voters + observers {
        let role = if id <= voters { "participant" } else { "observer" };
        membership.insert(&format!("server.{id}"), &format!("h{id}:2888:3888:{role}")).unwrap();
    }
    membership
}

/// Groups of weights; servers are numbered through from 1.
pub fn hierarchy(groups: &[&[i64]]) -> Membership {
    let mut membership = Membership::default();
    let mut id = 0;
    for (group, weights) in groups.iter().enumerate() {
        let first = id + 1;
        for weight in *weights {
            id += 1;
            membership.insert(&format!("server.{id}"), &format!("h{id}:2888:3888:participant")).unwrap();
            membership.insert(&format!("weight.{id}"), &weight.to_string()).unwrap();
        }
        let members: Vec<_> = (first..=id).map(|id| id.to_string()).collect();
        membership.insert(&format!("group.{}", group + 1), &members.join(":")).unwrap();
    }
    membership.complete().unwrap()
}

/// Who votes and who observes, by id.
pub fn roles(voters: &[i64], observers: &[i64]) -> Membership {
    let mut membership = Membership::default();
    for (ids, role) in [(voters, "participant"), (observers, "observer")] {
        for id in ids {
            membership.insert(&format!("server.{id}"), &format!("h{id}:2888:3888:{role}")).unwrap();
        }
    }
    membership
}

/// The proposal of a reconfiguration.
pub fn reconfiguration(membership: &Membership) -> Bytes {
    let zxid = membership.version;
    let header = TxnHeader { session: SessionId(1), cxid: 1, zxid, time_ms: 0 };
    let data = Some(Bytes::from(membership.to_string()));
    let set = SetDataTxn { path: "/zookeeper/config".to_owned(), data, version: -1 };
    TxnRecord { header, txn: Txn::Reconfig(set), digest: None }.encode()
}

/// What the checks take for a quorum: told apart from how the servers count.
pub fn is_quorum(membership: &Membership, has: impl Fn(ServerId) -> bool) -> bool {
    if membership.groups.is_empty() {
        let (with, without): (Vec<_>, Vec<_>) = membership.voters().partition(|id| has(*id));
        return with.len() > without.len();
    }
    let weigh = |ids: &[ServerId]| ids.iter().map(|id| membership.weights[id]).sum::<i64>();
    let (mut with, mut without) = (0, 0);
    for group in membership.groups.values() {
        let (yes, no): (Vec<_>, Vec<_>) = group.iter().copied().partition(|id| has(*id));
        let (yes, no) = (weigh(&yes), weigh(&no));
        with += usize::from(yes > no);
        without += usize::from(yes <= no && yes + no > 0);
    }
    with > without
}

/// What a seed decides.
pub struct Random(SplitMix64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(SplitMix64::new(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.draw()
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What survives a crash.
#[derive(Clone, Default, Debug)]
pub struct Disk {
    pub accepted: Epoch,
    pub current: Epoch,
    pub snapshot: Vec<Record>,
    pub snapshot_zxid: Zxid,
    pub log: Vec<Record>,
    /// An epoch was entered: a store that began untrusted may vote.
    pub filled: bool,
    /// Received snapshots.
    pub installs: usize,
    /// What has come of a snapshot; lost in a crash.
    pub receiving: Option<Vec<u8>>,
    /// The active configuration, unless it is the first one.
    pub active: Option<Membership>,
    pub last_seen: Option<Membership>,
}

impl Disk {
    pub fn last(&self) -> Zxid {
        self.log.last().map_or(self.snapshot_zxid, |(zxid, _)| *zxid)
    }

    pub fn holds(&self, record: &Record) -> bool {
        self.log.contains(record) || self.snapshot.contains(record)
    }

    fn perform(&mut self, write: Write) {
        match write {
            Write::Append { zxid, payload } => {
                assert!(zxid.follows(self.last()), "append {zxid} after {} on disk", self.last());
                self.log.push((zxid, payload));
            }
            Write::Truncate { to } => {
                assert!(to >= self.snapshot_zxid, "truncation to {to} below snapshot {}", self.snapshot_zxid);
                self.log.retain(|(zxid, _)| *zxid <= to);
            }
            Write::AcceptedEpoch(epoch) => {
                assert!(epoch > self.accepted, "accepted epoch falls");
                self.accepted = epoch;
            }
            Write::CurrentEpoch(epoch) => {
                assert!(epoch > self.current && epoch <= self.accepted, "current epoch {epoch}: {self:?}");
                self.current = epoch;
                self.filled = true;
            }
            Write::LastSeen(membership) => self.last_seen = Some(membership),
            Write::Membership(membership) => {
                let version = membership.version;
                assert!(self.active.as_ref().is_none_or(|active| active.version < version), "active version falls");
                self.last_seen.take_if(|seen| seen.version <= version);
                self.active = Some(membership);
            }
            Write::ReceiveSnapshot { .. } => self.receiving = Some(Vec::new()),
            Write::SnapshotPart { bytes } => self.receiving.as_mut().unwrap().extend_from_slice(&bytes),
            Write::AbandonSnapshot => assert!(self.receiving.take().is_some(), "nothing to abandon"),
            Write::InstallSnapshot { zxid } => {
                self.snapshot = decode_tree(&self.receiving.take().unwrap());
                self.snapshot_zxid = zxid;
                self.log.clear();
                self.installs += 1;
            }
        }
    }

    fn history(&self, trusted: bool) -> History {
        History {
            accepted_epoch: self.accepted,
            current_epoch: self.current,
            snapshot: self.snapshot_zxid,
            complete: self.snapshot_zxid,
            tail: self.log.iter().filter(|(zxid, _)| *zxid > self.snapshot_zxid).cloned().collect(),
            trusted: trusted || self.filled,
            last_seen: self.last_seen.clone(),
            held: configuration_in(&self.snapshot),
        }
    }
}

pub fn encode_tree(tree: &[Record]) -> Bytes {
    let mut out = BytesMut::new();
    for (zxid, payload) in tree {
        out.long(zxid.0);
        out.buffer(Some(payload));
    }
    out.freeze()
}

pub fn decode_tree(bytes: &[u8]) -> Vec<Record> {
    let mut reader = Reader::new(bytes);
    let mut tree = Vec::new();
    while !reader.is_empty() {
        let zxid = Zxid(reader.long("zxid").unwrap());
        tree.push((zxid, Bytes::copy_from_slice(reader.buffer("payload").unwrap().unwrap())));
    }
    tree
}

pub struct Server {
    pub zab: Option<Zab>,
    pub disk: Disk,
    pub tree: Vec<Record>,
    /// A snapshot as far as it has come.
    pub incoming: Vec<u8>,
    pub serving: Option<Role>,
    pub autocreate: bool,
    writing: VecDeque<(Ticket, Write)>,
    disk_busy: bool,
    incarnation: u64,
    /// How long a sync takes.
    pub disk_time: Duration,
    /// The world's committed count when each forwarded sync was asked for.
    forwarded_syncs: VecDeque<usize>,
}

impl Server {
    fn new() -> Server {
        Server {
            zab: None,
            disk: Disk::default(),
            tree: Vec::new(),
            incoming: Vec::new(),
            serving: None,
            autocreate: true,
            writing: VecDeque::new(),
            disk_busy: false,
            incarnation: 0,
            disk_time: ms(2),
            forwarded_syncs: VecDeque::new(),
        }
    }
}

#[derive(Debug)]
enum Event {
    Notify {
        from: ServerId,
        to: ServerId,
        notification: Notification,
    },
    Accept {
        conn: u64,
    },
    Connected {
        conn: u64,
        attempt: u64,
    },
    Unreachable {
        id: ServerId,
        attempt: u64,
    },
    Packet {
        to: ConnId,
        payload: Delivery,
    },
    Closed {
        to: ConnId,
    },
    Synced {
        id: ServerId,
        incarnation: u64,
        count: usize,
    },
    /// A slice of a server's log is read.
    LogRead {
        id: ServerId,
        conn: ConnId,
        after: Zxid,
    },
    /// A connection has room again.
    Writable {
        id: ServerId,
        conn: ConnId,
    },
    /// The last slice of a snapshot is read from the tree.
    TreeRead {
        id: ServerId,
        conn: ConnId,
    },
}

#[derive(Debug, Clone)]
enum Delivery {
    Packet(QuorumPacket),
    SnapshotPart(Bytes),
    SnapshotEnd,
}

struct Conn {
    dialer: ServerId,
    acceptor: ServerId,
    /// Last arrival towards the dialer, towards the acceptor.
    arrivals: [Duration; 2],
    open: [bool; 2],
}

pub struct World {
    pub now: Duration,
    pub servers: BTreeMap<ServerId, Server>,
    pub random: Random,
    pub config: Config,
    events: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    pub cut: BTreeSet<(ServerId, ServerId)>,
    pub latency_ms: u64,
    /// Everything delivered by anybody, in order.
    pub committed: Vec<Record>,
    /// Every configuration proposed, with the one that was active with its proposer.
    proposed: BTreeMap<Zxid, (Membership, Membership)>,
    /// Which of them have been with the quorums that they need.
    settled: BTreeSet<Zxid>,
    leaders: BTreeMap<Epoch, ServerId>,
    syncs: BTreeMap<u64, usize>,
    next_sync: u64,
    proposals: u64,
    pub syncs_answered: usize,
    /// What happened that is worth reading: packets by kind, roles.
    pub trace: Option<Vec<String>>,
    pub sent: BTreeMap<PacketType, usize>,
    /// Votes told by servers that look for a leader.
    pub notified: usize,
    pub violation: Option<String>,
}

pub fn fast_config(membership: Membership) -> Config {
    Config {
        tick: ms(200),
        init_limit: 10,
        sync_limit: 5,
        notification_interval_min: ms(20),
        notification_interval_max: ms(400),
        finalize_wait: ms(20),
        ..Config::new(ServerId(1), membership)
    }
}

impl World {
    pub fn new(voters: i64, observers: i64, seed: u64) -> World {
        World::with_config(fast_config(membership(voters, observers)), seed)
    }

    pub fn with_config(config: Config, seed: u64) -> World {
        let servers = config.membership.servers.keys().map(|id| (*id, Server::new())).collect();
        World {
            now: ms(1000),
            servers,
            random: Random::new(seed),
            config,
            events: BTreeMap::new(),
            sequence: 0,
            conns: BTreeMap::new(),
            next_conn: 1,
            cut: BTreeSet::new(),
            latency_ms: 3,
            committed: Vec::new(),
            proposed: BTreeMap::new(),
            settled: BTreeSet::new(),
            leaders: BTreeMap::new(),
            syncs: BTreeMap::new(),
            next_sync: 0,
            proposals: 0,
            syncs_answered: 0,
            trace: None,
            sent: BTreeMap::new(),
            notified: 0,
            violation: None,
        }
    }

    pub fn ids(&self) -> Vec<ServerId> {
        self.servers.keys().copied().collect()
    }

    pub fn server(&self, id: i64) -> &Server {
        &self.servers[&ServerId(id)]
    }

    pub fn zab(&self, id: i64) -> &Zab {
        self.servers[&ServerId(id)].zab.as_ref().unwrap()
    }

    fn clock(&self) -> Now {
        Now { elapsed: self.now, wall_ms: 0 }
    }

    fn violated(&mut self, what: String) {
        if self.violation.is_none() {
            self.violation = Some(what);
        }
    }

    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violated(what());
        }
    }

    fn log(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>6} {}", self.now.as_millis(), line()));
        }
    }

    // ---- life and death ----

    /// A server that is in no configuration yet. It starts with the first one.
    pub fn add(&mut self, id: i64) {
        self.servers.insert(ServerId(id), Server::new());
    }

    pub fn start_all(&mut self) {
        for id in self.ids() {
            self.start(id.0);
        }
    }

    pub fn start(&mut self, id: i64) {
        let id = ServerId(id);
        let (now, seed) = (self.clock(), self.random.next());
        let active = self.servers[&id].disk.active.clone();
        let membership = active.unwrap_or_else(|| self.config.membership.clone());
        let config = Config { id, membership, ..self.config.clone() };
        let server = self.servers.get_mut(&id).unwrap();
        assert!(server.zab.is_none(), "{id} runs already");
        server.disk.receiving = None;
        server.tree = server.disk.snapshot.clone();
        let zab = Zab::new(config, server.disk.history(server.autocreate), now, seed);
        match zab {
            Ok(zab) => server.zab = Some(zab),
            Err(error) => return self.violated(format!("{id} refuses its own disk: {error}")),
        }
        self.log(|| format!("{id} starts"));
        self.drain(id);
        self.link(id);
    }

    /// Election connections of a server come up.
    fn link(&mut self, id: ServerId) {
        for other in self.ids() {
            if other != id && self.connected(id, other) && self.servers[&other].zab.is_some() {
                self.with(id, |zab, now| zab.handle_election_link(now, other));
                self.with(other, |zab, now| zab.handle_election_link(now, id));
            }
        }
    }

    /// The process dies; of the writes on their way, the first few survive.
    pub fn crash(&mut self, id: i64) {
        let id = ServerId(id);
        let pending = self.servers[&id].writing.len() as u64;
        let survive = self.random.below(pending + 1);
        let server = self.servers.get_mut(&id).unwrap();
        if server.zab.take().is_none() {
            return;
        }
        server.incarnation += 1;
        server.serving = None;
        server.disk_busy = false;
        server.forwarded_syncs.clear();
        for (_, write) in std::mem::take(&mut server.writing).into_iter().take(survive as usize) {
            server.disk.perform(write);
        }
        self.log(|| format!("{id} crashes"));
        self.check_durability(id);
        for conn in self.conns_of(id) {
            self.close_conn(conn, id);
        }
    }

    /// Replaces the snapshot by the tree, as a server does now and then.
    pub fn take_snapshot(&mut self, id: i64) {
        let server = self.servers.get_mut(&ServerId(id)).unwrap();
        let Some(zab) = &server.zab else { return };
        if server.serving.is_some() && server.disk.last() >= zab.last_delivered() {
            server.disk.snapshot = server.tree.clone();
            server.disk.snapshot_zxid = zab.last_delivered();
        }
    }

    fn conns_of(&self, id: ServerId) -> Vec<u64> {
        self.conns.iter().filter(|(_, conn)| conn.dialer == id || conn.acceptor == id).map(|(id, _)| *id).collect()
    }

    fn close_conn(&mut self, conn: u64, by: ServerId) {
        let latency = self.latency();
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let side = usize::from(entry.acceptor == by);
        entry.open[side] = false;
        let other = 1 - side;
        if entry.open[other] {
            let at = entry.arrivals[other].max(self.now) + latency;
            entry.arrivals[other] = at;
            let to = ConnId(conn * 2 + other as u64);
            self.schedule(at, Event::Closed { to });
        } else {
            self.conns.remove(&conn);
        }
    }

    /// Breaks a connection under both.
    pub fn reset_connections(&mut self, id: i64) {
        for conn in self.conns_of(ServerId(id)) {
            for side in 0..2 {
                self.schedule(self.now, Event::Closed { to: ConnId(conn * 2 + side) });
            }
        }
    }

    // ---- network ----

    fn latency(&mut self) -> Duration {
        ms(1 + self.random.below(self.latency_ms))
    }

    fn connected(&self, a: ServerId, b: ServerId) -> bool {
        !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a))
    }

    pub fn cut_off(&mut self, id: i64) {
        for other in self.ids() {
            if other.0 != id {
                self.cut.insert((ServerId(id), other));
                self.cut.insert((other, ServerId(id)));
            }
        }
    }

    pub fn cut_one_way(&mut self, from: i64, to: i64) {
        self.cut.insert((ServerId(from), ServerId(to)));
    }

    /// Mends the network; connections that lost something are reset.
    pub fn heal(&mut self) {
        let cut = std::mem::take(&mut self.cut);
        let broken: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, conn)| {
                cut.contains(&(conn.dialer, conn.acceptor)) || cut.contains(&(conn.acceptor, conn.dialer))
            })
            .map(|(id, _)| *id)
            .collect();
        for conn in broken {
            for side in 0..2 {
                self.schedule(self.now, Event::Closed { to: ConnId(conn * 2 + side) });
            }
        }
        for (a, b) in cut {
            self.with(b, |zab, now| zab.handle_election_link(now, a));
        }
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    fn owner(&self, conn: ConnId) -> Option<(ServerId, ServerId, u64, usize)> {
        let entry = self.conns.get(&(conn.0 / 2))?;
        let side = (conn.0 % 2) as usize;
        let (own, other) = if side == 0 { (entry.dialer, entry.acceptor) } else { (entry.acceptor, entry.dialer) };
        entry.open[side].then_some((own, other, conn.0 / 2, side))
    }

    fn transmit(&mut self, from: ServerId, conn: ConnId, delivery: Delivery) {
        let latency = self.latency();
        let Some((own, other, id, side)) = self.owner(conn) else { return };
        assert_eq!(own, from);
        if self.cut.contains(&(own, other)) {
            return;
        }
        let entry = self.conns.get_mut(&id).unwrap();
        let towards = 1 - side;
        let at = entry.arrivals[towards].max(self.now + latency);
        entry.arrivals[towards] = at;
        self.schedule(at, Event::Packet { to: ConnId(id * 2 + towards as u64), payload: delivery });
    }

    // ---- steps ----

    /// Calls into a server, then carries out what it wants.
    pub fn with(&mut self, id: ServerId, call: impl FnOnce(&mut Zab, Now)) {
        let now = self.clock();
        let Some(zab) = &mut self.servers.get_mut(&id).unwrap().zab else { return };
        call(zab, now);
        self.drain(id);
    }

    fn drain(&mut self, id: ServerId) {
        while let Some(effect) = self.servers.get_mut(&id).unwrap().zab.as_mut().and_then(Zab::poll_effect) {
            self.carry_out(id, effect);
        }
    }

    fn carry_out(&mut self, id: ServerId, effect: Effect) {
        match effect {
            Effect::Notify { to, notification } => {
                let at = self.now + self.latency();
                self.notified += usize::from(notification.state == ServerState::Looking);
                if self.servers.contains_key(&to) && !self.cut.contains(&(id, to)) {
                    self.schedule(at, Event::Notify { from: id, to, notification });
                }
            }
            Effect::Connect { leader, attempt } => {
                let at = self.now + self.latency();
                let is_up = self.servers.get(&leader).is_some_and(|server| server.zab.is_some());
                if is_up && self.connected(id, leader) {
                    let conn = self.next_conn;
                    self.next_conn += 1;
                    let arrivals = [at, at];
                    self.conns.insert(conn, Conn { dialer: id, acceptor: leader, arrivals, open: [true; 2] });
                    self.schedule(at, Event::Accept { conn });
                    self.schedule(at, Event::Connected { conn, attempt });
                } else {
                    self.schedule(at, Event::Unreachable { id, attempt });
                }
            }
            Effect::Send { conn, packet } => {
                self.check_sent(id, &packet);
                *self.sent.entry(packet.kind).or_default() += 1;
                if let Some((own, other, ..)) = self.owner(conn) {
                    self.log(|| format!("{own} -> {other} {:?} {}", packet.kind, packet.zxid));
                }
                self.transmit(id, conn, Delivery::Packet(packet));
            }
            Effect::SendSnapshot { conn } => {
                let at = self.now + self.latency() * self.random.below(20) as u32;
                self.schedule(at, Event::TreeRead { id, conn });
            }
            Effect::ReadLog { conn, after } => {
                let at = self.now + self.latency();
                self.schedule(at, Event::LogRead { id, conn, after });
            }
            Effect::AwaitWritable { conn } => {
                let at = self.now + self.latency();
                self.schedule(at, Event::Writable { id, conn });
            }
            Effect::Close { conn } => {
                if self.owner(conn).is_some() {
                    self.close_conn(conn.0 / 2, id);
                }
            }
            Effect::Persist { ticket, write } => {
                self.log(|| format!("{id} writes {}", describe(&write)));
                if let Write::Membership(membership) = &write {
                    self.check_activation(id, membership);
                }
                self.servers.get_mut(&id).unwrap().writing.push_back((ticket, write));
                self.start_sync(id);
            }
            Effect::Deliver { zxid, payload } => self.deliver(id, zxid, payload),
            Effect::ReceiveSnapshot { .. } => self.servers.get_mut(&id).unwrap().incoming.clear(),
            Effect::Install { zxid } => {
                let tree = decode_tree(&self.servers[&id].incoming);
                let serving = self.servers[&id].serving;
                self.check(serving.is_none(), || format!("{id} installs a snapshot while serving"));
                self.log(|| format!("{id} installs {zxid}"));
                self.servers.get_mut(&id).unwrap().tree = tree;
            }
            Effect::Role(role) => self.take_office(id, role),
            Effect::Stopped => {
                self.log(|| format!("{id} stops"));
                let server = self.servers.get_mut(&id).unwrap();
                server.serving = None;
                server.forwarded_syncs.clear();
            }
            Effect::Forwarded { learner, request, .. } => match request.as_ref() {
                b"sync" => self.with(id, |zab, now| {
                    zab.sync(now, SyncOrigin::Learner(learner));
                }),
                _ => self.propose_at(id, request),
            },
            Effect::Revalidate { learner, session, timeout_ms } => {
                self.with(id, |zab, _| zab.answer_revalidate(learner, session, timeout_ms == 1000));
            }
            Effect::SyncReleased { origin } => {
                let SyncOrigin::Local(token) = origin else { panic!("a learner's sync is answered on its connection") };
                let seen = self.syncs.remove(&token).unwrap();
                self.check_sync(id, seen);
            }
            Effect::SyncAnswered => {
                if let Some(seen) = self.servers.get_mut(&id).unwrap().forwarded_syncs.pop_front() {
                    self.check_sync(id, seen);
                }
            }
            Effect::Touched { sessions, .. } if sessions.is_empty() => {}
            Effect::Touched { sessions, .. } => self.log(|| format!("{id} hears of {sessions:?}")),
            Effect::Revalidated { session, valid } => self.log(|| format!("{id} revalidated {session} {valid}")),
            Effect::Membership(membership) => self.log(|| format!("{id} activates {}", membership.version)),
            Effect::LearnerLost { .. } => {}
        }
    }

    fn start_sync(&mut self, id: ServerId) {
        let server = self.servers.get_mut(&id).unwrap();
        if server.disk_busy || server.writing.is_empty() {
            return;
        }
        server.disk_busy = true;
        let (count, incarnation) = (server.writing.len(), server.incarnation);
        let time = server.disk_time;
        let jitter = Duration::from_micros(self.random.below(1000));
        self.schedule(self.now + time + jitter, Event::Synced { id, incarnation, count });
    }

    fn synced(&mut self, id: ServerId, incarnation: u64, count: usize) {
        let server = self.servers.get_mut(&id).unwrap();
        if server.incarnation != incarnation {
            return;
        }
        server.disk_busy = false;
        let mut last = Ticket(0);
        for (ticket, write) in server.writing.drain(..count).collect::<Vec<_>>() {
            server.disk.perform(write);
            last = ticket;
        }
        self.check_durability(id);
        self.with(id, |zab, now| zab.handle_persisted(now, last));
        self.start_sync(id);
    }

    /// One event or timer. False when nothing will ever happen again.
    pub fn step(&mut self) -> bool {
        let timer = self
            .servers
            .iter()
            .filter_map(|(id, server)| server.zab.as_ref().map(|zab| (zab.deadline(), *id)))
            .min()
            .filter(|(at, _)| *at < Duration::MAX);
        let event = self.events.keys().next().map(|(at, _)| *at);
        match (timer, event) {
            (None, None) => return false,
            (Some((at, id)), event) if event.is_none_or(|event| at < event) => {
                self.now = self.now.max(at);
                self.with(id, |zab, now| zab.handle_timeout(now));
                let deadline = self.servers[&id].zab.as_ref().unwrap().deadline();
                assert!(deadline > self.now, "{id}: deadline {deadline:?} does not move forward at {:?}", self.now);
            }
            _ => {
                let ((at, _), event) = self.events.pop_first().unwrap();
                self.now = self.now.max(at);
                self.happen(event);
            }
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Notify { from, to, notification } => {
                self.with(to, |zab, now| zab.handle_notification(now, from, notification));
            }
            Event::Accept { conn } => {
                if let Some((id, ..)) = self.owner(ConnId(conn * 2 + 1)) {
                    match self.servers[&id].zab.is_some() {
                        true => self.with(id, |zab, now| zab.handle_learner_accepted(now, ConnId(conn * 2 + 1))),
                        false => self.close_conn(conn, id),
                    }
                }
            }
            Event::Connected { conn, attempt } => {
                if let Some((id, ..)) = self.owner(ConnId(conn * 2)) {
                    self.with(id, |zab, now| zab.handle_leader_connected(now, attempt, ConnId(conn * 2)));
                }
            }
            Event::Unreachable { id, attempt } => {
                self.with(id, |zab, now| zab.handle_leader_unreachable(now, attempt));
            }
            Event::Packet { to, payload } => {
                if let Some((id, ..)) = self.owner(to) {
                    match payload {
                        Delivery::Packet(packet) => self.with(id, |zab, now| zab.handle_packet(now, to, packet)),
                        Delivery::SnapshotPart(part) => {
                            if let Some(server) = self.servers.get_mut(&id) {
                                server.incoming.extend_from_slice(&part);
                            }
                            self.with(id, |zab, now| zab.handle_snapshot_part(now, to, part));
                        }
                        Delivery::SnapshotEnd => {
                            let held = configuration_in(&decode_tree(&self.servers[&id].incoming));
                            self.with(id, |zab, now| zab.handle_snapshot_end(now, to, held));
                        }
                    }
                }
            }
            Event::LogRead { id, conn, after } => {
                if self.owner(conn).is_some() && self.servers[&id].zab.is_some() {
                    let log = &self.servers[&id].disk.log;
                    let from = log.partition_point(|(zxid, _)| *zxid <= after);
                    let slice = from.checked_sub(1).map(|before| LogSlice {
                        floor: log[before].0,
                        records: log[from..].iter().take(2).cloned().collect(),
                    });
                    self.with(id, |zab, now| zab.handle_log(now, conn, slice));
                }
            }
            Event::Writable { id, conn } => {
                if self.owner(conn).is_some() && self.servers[&id].zab.is_some() {
                    self.with(id, |zab, now| zab.handle_writable(now, conn));
                }
            }
            Event::TreeRead { id, conn } => {
                if self.owner(conn).is_some() && self.servers[&id].zab.is_some() {
                    let bytes = encode_tree(&self.servers[&id].tree);
                    let half = bytes.len() / 2;
                    self.transmit(id, conn, Delivery::SnapshotPart(bytes.slice(..half)));
                    self.transmit(id, conn, Delivery::SnapshotPart(bytes.slice(half..)));
                    self.transmit(id, conn, Delivery::SnapshotEnd);
                    self.with(id, |zab, now| zab.handle_snapshot_sent(now, conn));
                }
            }
            Event::Closed { to } => {
                if let Some((id, _, conn, side)) = self.owner(to) {
                    let entry = self.conns.get_mut(&conn).unwrap();
                    entry.open[side] = false;
                    if !entry.open[1 - side] {
                        self.conns.remove(&conn);
                    }
                    self.with(id, |zab, now| zab.handle_closed(now, to));
                }
            }
            Event::Synced { id, incarnation, count } => self.synced(id, incarnation, count),
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.violation.is_none() {
            let timer = self.servers.values().filter_map(|server| server.zab.as_ref()).map(Zab::deadline).min();
            let event = self.events.keys().next().map(|(at, _)| *at);
            let next = timer.into_iter().chain(event).min().unwrap_or(Duration::MAX);
            if next > end || !self.step() {
                break;
            }
        }
        self.now = self.now.max(end);
    }

    /// Runs until the condition holds; false when it does not within the time.
    pub fn run_until(&mut self, limit: Duration, condition: impl Fn(&World) -> bool) -> bool {
        let end = self.now + limit;
        while self.now < end && self.violation.is_none() {
            if condition(self) {
                return true;
            }
            if !self.step() {
                return condition(self);
            }
        }
        condition(self)
    }

    pub fn expect_no_violation(&self) {
        if let Some(violation) = &self.violation {
            panic!("{violation}\n{}", self.trace.as_deref().unwrap_or_default().join("\n"));
        }
    }

    // ---- clients ----

    pub fn leader(&self) -> Option<ServerId> {
        let leading = self.servers.iter().filter(|(_, server)| server.serving == Some(Role::Leading));
        leading.max_by_key(|(_, server)| server.zab.as_ref().map(Zab::epoch)).map(|(id, _)| *id)
    }

    /// A write at the leader. None when there is none that takes it.
    pub fn propose(&mut self) -> Option<()> {
        let leader = self.leader()?;
        self.proposals += 1;
        let payload = Bytes::from(format!("write {}", self.proposals));
        self.propose_at(leader, payload);
        Some(())
    }

    fn propose_at(&mut self, id: ServerId, payload: Bytes) {
        self.with(id, |zab, now| {
            if zab.can_propose() {
                let zxid = zab.next_zxid();
                zab.propose(now, zxid, payload);
            }
        });
    }

    /// A reconfiguration at the leader; its zxid.
    pub fn reconfigure(&mut self, next: Membership) -> Result<Zxid, ReconfigRefusal> {
        let id = self.leader().ok_or(ReconfigRefusal::NotLeading)?;
        let zab = self.servers[&id].zab.as_ref().unwrap();
        zab.can_reconfigure(&next)?;
        if !zab.can_propose() {
            return Err(ReconfigRefusal::NotLeading);
        }
        let (zxid, now) = (zab.next_zxid(), zab.membership().clone());
        let next = Membership { version: zxid, ..next };
        self.log(|| format!("{id} proposes {:?}", next.to_string()));
        self.propose_at(id, reconfiguration(&next));
        self.proposed.insert(zxid, (now, next));
        Ok(zxid)
    }

    /// A write at any server.
    pub fn write_at(&mut self, id: i64) {
        let id = ServerId(id);
        self.proposals += 1;
        let payload = Bytes::from(format!("write {}", self.proposals));
        match self.servers[&id].serving {
            Some(Role::Leading) => self.propose_at(id, payload),
            Some(_) => self.with(id, |zab, now| {
                zab.forward(now, payload, Vec::new());
            }),
            None => {}
        }
    }

    /// A sync at any server: when answered, the server must show everything committed by now.
    pub fn sync_at(&mut self, id: i64) {
        let id = ServerId(id);
        let seen = self.committed.len();
        match self.servers[&id].serving {
            Some(Role::Leading) => {
                self.next_sync += 1;
                let token = self.next_sync;
                self.syncs.insert(token, seen);
                self.with(id, |zab, now| {
                    zab.sync(now, SyncOrigin::Local(token));
                });
            }
            Some(_) => {
                self.servers.get_mut(&id).unwrap().forwarded_syncs.push_back(seen);
                self.with(id, |zab, now| {
                    zab.forward(now, Bytes::from_static(b"sync"), Vec::new());
                });
            }
            None => {}
        }
    }

    pub fn touch_at(&mut self, id: i64, session: i64) {
        self.with(ServerId(id), |zab, _| zab.touch(ensemble_proto::SessionId(session), 4000));
    }

    pub fn revalidate_at(&mut self, id: i64, session: i64, timeout_ms: i32) {
        self.with(ServerId(id), |zab, _| {
            zab.revalidate(ensemble_proto::SessionId(session), timeout_ms);
        });
    }

    // ---- checks ----

    fn deliver(&mut self, id: ServerId, zxid: Zxid, payload: Bytes) {
        let record = (zxid, payload);
        let server = self.servers.get_mut(&id).unwrap();
        // Applying what a fuzzy snapshot holds already changes nothing.
        if server.tree.last().is_some_and(|(last, _)| *last >= zxid) {
            let known = server.tree.contains(&record);
            return self.check(known, || format!("{id} delivers {zxid} behind its tree"));
        }
        server.tree.push(record.clone());
        let (at, durable) = (server.tree.len() - 1, server.disk.holds(&record));
        self.check(durable, || format!("{id} delivers {zxid} that is not on its disk"));
        self.log(|| format!("{id} delivers {zxid}"));
        self.check_committed(id, at, &record);
    }

    /// The record at this place of a tree is committed: everybody agrees, and a quorum has it on disk.
    fn check_committed(&mut self, id: ServerId, at: usize, record: &Record) {
        match self.committed.get(at) {
            Some(known) if known == record => {}
            Some(known) => {
                let what = format!("{id} has {record:?} where {known:?} is committed");
                self.violated(what);
            }
            None if at == self.committed.len() => {
                self.committed.push(record.clone());
                self.check_quorum_holds(record);
            }
            None => self.violated(format!("{id} delivers {record:?} after a gap")),
        }
    }

    /// A committed record is with a quorum of the configuration that was made last before it or by it, and by which it was committed; a
    /// reconfiguration also with one of the configuration before.
    fn check_quorum_holds(&mut self, record: &Record) {
        let holds = |id: &ServerId| self.servers[id].disk.holds(record);
        let holders: Vec<_> = self.servers.keys().copied().filter(holds).collect();
        let mut is_enough = is_quorum(self.configuration_at(record.0), |id| holders.contains(&id));
        if let Some((before, _)) = self.proposed.get(&record.0).filter(|_| !self.settled.contains(&record.0)) {
            is_enough &= is_quorum(before, |id| holders.contains(&id));
        }
        self.check(is_enough, || format!("committed {} is on {holders:?}, on too few disks only", record.0));
        if is_enough && self.proposed.contains_key(&record.0) {
            self.settled.insert(record.0);
        }
    }

    /// What the committed history says about a record's quorum.
    fn configuration_at(&self, zxid: Zxid) -> &Membership {
        let made = self.committed.iter().rev().filter(|(at, _)| *at <= zxid);
        let mut made = made.filter_map(|(at, _)| self.proposed.get(at));
        made.next().map_or(&self.config.membership, |(_, next)| next)
    }

    /// A configuration becomes active on a server: it must be committed, or be the first one with a version.
    fn check_activation(&mut self, id: ServerId, membership: &Membership) {
        let version = membership.version;
        if version.counter() == 0 {
            let first = self.config.membership.clone();
            return self
                .check(first.same_members(membership), || format!("{id} activates another first configuration"));
        }
        let Some((before, next)) = self.proposed.get(&version).cloned() else {
            return self.violated(format!("{id} activates {version}, which nobody has proposed"));
        };
        let record = (version, reconfiguration(&next));
        let holds = |id| self.servers[&id].disk.holds(&record);
        let is_committed = self.settled.contains(&version) || (is_quorum(&before, holds) && is_quorum(&next, holds));
        self.check(next == *membership, || format!("{id} activates another {version} than was proposed"));
        self.check(is_committed, || format!("{id} activates {version}, which is not committed"));
        self.settled.insert(version);
    }

    fn check_durability(&mut self, id: ServerId) {
        let disk = &self.servers[&id].disk;
        let (accepted, current, last) = (disk.accepted, disk.current, disk.last());
        self.check(accepted >= current && accepted >= last.epoch(), || {
            format!("{id} has accepted {accepted}, current {current}, last {last}")
        });
        if let Some(record) = self.committed.last().cloned() {
            self.check_quorum_holds(&record);
        }
    }

    fn check_sent(&mut self, id: ServerId, packet: &QuorumPacket) {
        let disk = &self.servers[&id].disk;
        let (last, current, accepted) = (disk.last(), disk.current, disk.accepted);
        let holds = disk.log.iter().any(|(zxid, _)| *zxid == packet.zxid) || disk.snapshot_zxid >= packet.zxid;
        match packet.kind {
            PacketType::Ack if packet.zxid.counter() == 0 => {
                self.check(current >= packet.zxid.epoch(), || format!("{id} acknowledges NEWLEADER at {current}"));
            }
            PacketType::Ack => self.check(holds, || format!("{id} acknowledges {} at {last}", packet.zxid)),
            PacketType::LeaderInfo | PacketType::AckEpoch if packet.kind == PacketType::LeaderInfo => {
                self.check(accepted == packet.zxid.epoch(), || format!("{id} offers an epoch that is not on its disk"));
            }
            _ => {}
        }
    }

    fn take_office(&mut self, id: ServerId, role: Role) {
        self.log(|| format!("{id} serves as {role:?}"));
        let server = self.servers.get_mut(&id).unwrap();
        server.serving = Some(role);
        let epoch = server.zab.as_ref().unwrap().epoch();
        let tree = server.tree.clone();
        if role == Role::Leading && !self.config.standalone {
            let first = *self.leaders.entry(epoch).or_insert(id);
            self.check(first == id, || format!("{first} and {id} both lead epoch {epoch}"));
            let have = tree.len();
            let committed = self.committed.len();
            self.check(have >= committed, || format!("{id} leads with {have} of {committed} committed transactions"));
        }
        for (at, record) in tree.iter().enumerate() {
            self.check_committed(id, at, record);
        }
    }

    fn check_sync(&mut self, id: ServerId, seen: usize) {
        self.syncs_answered += 1;
        let shown = self.servers[&id].tree.len();
        self.check(shown >= seen, || format!("{id} answers a sync with {shown} of {seen} transactions"));
    }

    /// Whether every running server serves, and shows everything.
    pub fn is_converged(&self) -> bool {
        let running = || self.servers.values().filter(|server| server.zab.is_some());
        running().all(|server| server.serving.is_some() && server.tree.len() == self.committed.len())
            && running().filter(|server| server.serving == Some(Role::Leading)).count() == 1
            && running().all(|server| server.zab.as_ref().unwrap().zab_state() == ZabState::Broadcast)
    }

    pub fn expect_converged(&mut self, limit: Duration) {
        let converged = self.run_until(limit, World::is_converged);
        self.expect_no_violation();
        assert!(converged, "not converged:\n{}\n{}", self.summary(), self.trace.clone().unwrap_or_default().join("\n"));
    }

    pub fn summary(&self) -> String {
        let line = |(id, server): (&ServerId, &Server)| match &server.zab {
            Some(zab) => format!(
                "{id}: {:?} {:?} serving {:?} epochs {}/{} last {} delivered {} of {}, active {}, pending {:?}",
                zab.role(),
                zab.zab_state(),
                server.serving,
                zab.accepted_epoch(),
                zab.epoch(),
                zab.last_logged(),
                server.tree.len(),
                self.committed.len(),
                zab.membership().version,
                zab.pending_membership().map(|pending| pending.version)
            ),
            None => format!("{id}: down"),
        };
        self.servers.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn describe(write: &Write) -> String {
    match write {
        Write::Append { zxid, .. } => format!("append {zxid}"),
        Write::Truncate { to } => format!("truncate to {to}"),
        Write::AcceptedEpoch(epoch) => format!("acceptedEpoch {epoch}"),
        Write::CurrentEpoch(epoch) => format!("currentEpoch {epoch}"),
        Write::ReceiveSnapshot { zxid } => format!("the beginning of snapshot {zxid}"),
        Write::SnapshotPart { bytes } => format!("{} bytes of it", bytes.len()),
        Write::AbandonSnapshot => "an end to it".to_owned(),
        Write::InstallSnapshot { zxid } => format!("snapshot {zxid}"),
        Write::LastSeen(membership) => format!("last seen {}", membership.version),
        Write::Membership(membership) => format!("active {}", membership.version),
    }
}

/// The last configuration that a tree holds.
pub fn configuration_in(tree: &[Record]) -> Option<Membership> {
    tree.iter().rev().find_map(|(_, payload)| reconfig::proposed(payload).unwrap())
}
