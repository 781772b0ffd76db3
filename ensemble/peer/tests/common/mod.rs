//! A few peers in one thread: instant network, a disk that syncs when told, virtual time. Clients are scripts.

#![allow(dead_code, reason = "each test file uses its own part")]

use ensemble_datatree::DataTree;
use ensemble_peer::{ClientId, Config, Effect, Peer, Recovered};
use ensemble_proto::client::{
    self, AclEntry, ConnectRequest, ConnectResponse, CreateRequest, DeleteRequest, OpCode, ReadRequest, ReplyHeader,
    SetDataRequest, WatcherEvent,
};
use ensemble_proto::durable::Ticket;
use ensemble_proto::jute::Reader;
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{Decoded, Notification, PacketDecoder, PacketType, QuorumPacket};
use ensemble_proto::{Acl, Epoch, ErrorCode, Now, ServerId, SessionId, Zxid};
use ensemble_zab::{ConnId, History, Role};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Low, so that it is soon reached.
pub(crate) const RECORD_BYTES_MAX: usize = 2000;

/// What is on its way to a peer.
enum Mail {
    Notification(ServerId, Notification),
    Dial {
        from: usize,
        attempt: u64,
    },
    Packet(ConnId, QuorumPacket),
    Bytes(ConnId, bytes::Bytes),
    /// To the sender: there is room for more.
    Writable(ConnId),
    /// To the reader: the log does not go back so far.
    NoLog(ConnId),
    Closed(ConnId),
}

pub(crate) struct World {
    /// Observers connect to a follower instead of the leader.
    pub(crate) masters: bool,
    pub(crate) peers: Vec<Peer>,
    pub(crate) now: Now,
    mail: VecDeque<(usize, Mail)>,
    /// Servers that nothing leaves or reaches; the packets of quorum connections wait for the network to be whole again.
    pub(crate) cut: BTreeSet<usize>,
    held: VecDeque<(usize, Mail)>,
    /// Servers whose timers do not run.
    pub(crate) late: BTreeSet<usize>,
    /// The other end of each quorum connection.
    ends: BTreeMap<(usize, ConnId), (usize, ConnId)>,
    next_conn: u64,
    next_client: u64,
    /// The newest write of each peer's disk that has not been synced.
    unsynced: Vec<Option<Ticket>>,
    /// Snapshots that arrive.
    decoders: BTreeMap<(usize, ConnId), PacketDecoder>,
    /// Disks sync at once.
    pub(crate) sync: bool,
    /// What each client has received, in order.
    pub(crate) inbox: BTreeMap<(usize, ClientId), Vec<u8>>,
    pub(crate) closed: Vec<(usize, ClientId)>,
    pub(crate) paused: BTreeMap<(usize, ClientId), bool>,
}

/// One message to a client.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    Reply { xid: i32, zxid: Zxid, error: ErrorCode, body: Vec<u8> },
    Event { zxid: Zxid, event: WatcherEvent },
}

impl World {
    /// A standalone server, serving.
    pub(crate) fn standalone() -> World {
        World::new(0)
    }

    /// `voters` servers with ids from 1; the election is over when this returns. No voters: standalone.
    pub(crate) fn new(voters: usize) -> World {
        World::with(voters, |_| ())
    }

    /// The same, with another configuration.
    pub(crate) fn with(voters: usize, change: impl Fn(&mut Config)) -> World {
        World::begin(voters, 0, true, change).elected()
    }

    /// The same with some servers behind the voters that observe.
    pub(crate) fn with_observers(voters: usize, observers: usize) -> World {
        World::begin(voters, observers, true, |_| ()).elected()
    }

    /// The same with observers that have a follower for their master.
    pub(crate) fn with_masters(voters: usize, observers: usize) -> World {
        let mut world = World::unsettled(voters, observers, true, |_| ());
        world.masters = true;
        world.settle();
        world.elected()
    }

    fn elected(mut self) -> World {
        for _ in 0..100 {
            if self.peers.iter().all(|peer| peer.status().serving) {
                return self;
            }
            self.advance(Duration::from_millis(100));
        }
        panic!("no leader after ten seconds");
    }

    /// The same before the election; with stores that may not vote unless `trusted`.
    pub(crate) fn begin(voters: usize, observers: usize, trusted: bool, change: impl Fn(&mut Config)) -> World {
        let mut world = World::unsettled(voters, observers, trusted, change);
        world.settle();
        world
    }

    fn unsettled(voters: usize, observers: usize, trusted: bool, change: impl Fn(&mut Config)) -> World {
        let mut text = String::new();
        for id in 1..=voters + observers {
            let role = if id <= voters { "participant" } else { "observer" };
            text += &format!("server.{id}=127.0.0.1:{}:{}:{role}\n", 2000 + id, 3000 + id);
        }
        let membership = match voters {
            0 => Membership::default(),
            _ => Membership::parse(&text).expect("the membership is well-formed"),
        };
        let now = Now { elapsed: Duration::from_secs(1), wall_ms: 1_700_000_000_000 };
        let ids = 1..=(voters + observers).max(1);
        let peers: Vec<_> = ids.map(|id| peer(id as i64, &membership, now, trusted, &change)).collect();
        let unsynced = vec![None; peers.len()];
        World {
            masters: false,
            peers,
            now,
            mail: VecDeque::new(),
            cut: BTreeSet::new(),
            held: VecDeque::new(),
            late: BTreeSet::new(),
            ends: BTreeMap::new(),
            next_conn: 1,
            next_client: 1,
            unsynced,
            decoders: BTreeMap::new(),
            sync: true,
            inbox: BTreeMap::new(),
            closed: Vec::new(),
            paused: BTreeMap::new(),
        }
    }

    pub(crate) fn leader(&self) -> usize {
        self.peers.iter().position(|peer| peer.status().role == Role::Leading).expect("there is a leader")
    }

    pub(crate) fn follower(&self) -> usize {
        self.peers.iter().position(|peer| peer.status().role != Role::Leading).expect("there is a follower")
    }

    /// Lets time pass, in steps no longer than a timer.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now.elapsed + by;
        while self.now.elapsed < end {
            let next = self.peers.iter().map(Peer::deadline).min().unwrap_or(end);
            let step = next.clamp(self.now.elapsed + Duration::from_millis(1), end) - self.now.elapsed;
            self.now.elapsed += step;
            self.now.wall_ms += step.as_millis() as i64;
            for (index, peer) in self.peers.iter_mut().enumerate() {
                if peer.deadline() <= self.now.elapsed && !self.late.contains(&index) {
                    peer.handle_timeout(self.now);
                }
            }
            self.settle();
        }
    }

    /// Every process stops for a while: then its timers are late, and what was sent to it is read after them.
    pub(crate) fn stand_still(&mut self, by: Duration) {
        self.now.elapsed += by;
        self.now.wall_ms += by.as_millis() as i64;
        for peer in &mut self.peers {
            peer.handle_timeout(self.now);
        }
        self.settle();
    }

    /// Carries out every effect until nothing moves.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut moved = false;
            for index in 0..self.peers.len() {
                while let Some(effect) = self.peers[index].poll_effect() {
                    moved = true;
                    self.carry_out(index, effect);
                }
                if self.sync
                    && let Some(ticket) = self.unsynced[index].take()
                {
                    moved = true;
                    self.peers[index].handle_persisted(self.now, ticket);
                }
            }
            while let Some((to, mail)) = self.mail.pop_front() {
                moved = true;
                self.deliver(to, mail);
            }
            if !moved {
                return;
            }
        }
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Output { client } => {
                self.peers[index].take_output(client, self.inbox.entry((index, client)).or_default());
            }
            Effect::CloseClient { client, .. } => {
                self.peers[index].take_output(client, self.inbox.entry((index, client)).or_default());
                self.closed.push((index, client));
                self.peers[index].handle_client_closed(self.now, client);
            }
            Effect::PauseReading { client, on } => {
                self.paused.insert((index, client), on);
            }
            Effect::Notify { to, notification } => {
                let from = ServerId(index as i64 + 1);
                if self.is_cut(index, to.0 as usize - 1) {
                    return;
                }
                self.mail.push_back((to.0 as usize - 1, Mail::Notification(from, notification)));
            }
            Effect::Connect { leader, attempt } if self.is_cut(index, leader.0 as usize - 1) => {
                self.peers[index].handle_leader_unreachable(self.now, attempt);
            }
            Effect::Connect { leader, attempt } => {
                self.mail.push_back((leader.0 as usize - 1, Mail::Dial { from: index, attempt }));
            }
            Effect::Send { conn, packet } => self.post(index, conn, |conn| Mail::Packet(conn, packet)),
            Effect::SendBytes { conn, bytes } => {
                self.post(index, conn, |conn| Mail::Bytes(conn, bytes));
                self.mail.push_back((index, Mail::Writable(conn)));
            }
            Effect::ReadLog { conn, .. } => self.mail.push_back((index, Mail::NoLog(conn))),
            Effect::AwaitWritable { conn } => self.mail.push_back((index, Mail::Writable(conn))),
            Effect::Close { conn } => {
                self.post(index, conn, Mail::Closed);
                if let Some(end) = self.ends.remove(&(index, conn)) {
                    self.ends.remove(&end);
                }
            }
            Effect::Persist { ticket, .. } => self.unsynced[index] = Some(ticket),
            Effect::Office(_) | Effect::ReadOnly(_) | Effect::Membership(_) | Effect::Audit(_) => {}
            Effect::Halt { reason } => panic!("server {} halts: {reason}", index + 1),
        }
    }

    fn post(&mut self, index: usize, conn: ConnId, mail: impl FnOnce(ConnId) -> Mail) {
        if let Some(&(to, other)) = self.ends.get(&(index, conn)) {
            let queue = if self.is_cut(index, to) { &mut self.held } else { &mut self.mail };
            queue.push_back((to, mail(other)));
        }
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&one) || self.cut.contains(&other)
    }

    /// The network is whole again: what was held back arrives, in order.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.mail.append(&mut self.held);
        self.settle();
    }

    fn deliver(&mut self, to: usize, mail: Mail) {
        let now = self.now;
        match mail {
            Mail::Notification(from, notification) => self.peers[to].handle_notification(now, from, notification),
            Mail::Dial { from, attempt } => {
                let is_voter = self.peers[from].zab().membership().is_voter(ServerId(from as i64 + 1));
                let master = self.masters && !is_voter;
                let to = if master { self.follower() } else { to };
                let (ours, theirs) = (ConnId(self.next_conn), ConnId(self.next_conn + 1));
                self.next_conn += 2;
                self.ends.insert((to, ours), (from, theirs));
                self.ends.insert((from, theirs), (to, ours));
                match master {
                    true => self.peers[to].handle_observer_accepted(now, ours),
                    false => self.peers[to].handle_learner_accepted(now, ours),
                }
                self.peers[from].handle_leader_connected(now, attempt, theirs);
            }
            Mail::Packet(conn, packet) => self.peers[to].handle_packet(now, conn, packet),
            Mail::Bytes(conn, bytes) => self.receive(to, conn, &bytes),
            Mail::Writable(conn) => self.peers[to].handle_writable(now, conn),
            Mail::NoLog(conn) => self.peers[to].handle_log(now, conn, None),
            Mail::Closed(conn) => self.peers[to].handle_closed(now, conn),
        }
    }

    /// A slice of a snapshot arrives: the decoder, which has not seen the packet before it, cuts it into parts.
    fn receive(&mut self, to: usize, conn: ConnId, bytes: &[u8]) {
        let decoder = self.decoders.entry((to, conn)).or_insert_with(|| {
            let mut snap = bytes::BytesMut::new();
            QuorumPacket::new(PacketType::Snap, Zxid::ZERO).encode(&mut snap);
            let mut decoder = PacketDecoder::new(1 << 20, 1 << 20);
            decoder.feed(&snap);
            let _ = decoder.next();
            decoder
        });
        decoder.feed(bytes);
        while let Some(decoded) = decoder.next().expect("a snapshot") {
            match decoded {
                Decoded::SnapshotPart(part) => self.peers[to].handle_snapshot_part(self.now, conn, part),
                Decoded::SnapshotEnd => self.peers[to].handle_snapshot_end(self.now, conn),
                Decoded::Packet(packet) => panic!("{packet:?} in a snapshot"),
            }
        }
    }

    // ---- clients ----

    pub(crate) fn open(&mut self, server: usize) -> ClientId {
        let client = ClientId(self.next_client);
        self.next_client += 1;
        self.peers[server].handle_client_open(self.now, client, IpAddr::V4(Ipv4Addr::LOCALHOST));
        client
    }

    pub(crate) fn frame(&mut self, server: usize, client: ClientId, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        client::frame(&mut bytes, write);
        self.peers[server].handle_client_frame(self.now, client, &bytes[4..]);
        self.settle();
    }

    pub(crate) fn request(
        &mut self,
        server: usize,
        client: ClientId,
        xid: i32,
        op: OpCode,
        record: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut bytes = Vec::new();
        client::request(&mut bytes, xid, op, record);
        self.peers[server].handle_client_frame(self.now, client, &bytes[4..]);
        self.settle();
    }

    /// Who is connected to a server.
    pub(crate) fn connected(&self, server: usize) -> Vec<ClientId> {
        self.peers[server].clients().into_iter().map(|client| client.id).collect()
    }

    pub(crate) fn hang_up(&mut self, server: usize, client: ClientId) {
        self.peers[server].handle_client_closed(self.now, client);
        self.settle();
    }

    /// Sends a ConnectRequest; returns the response, or `None` when the server closed without one.
    pub(crate) fn handshake(
        &mut self,
        server: usize,
        client: ClientId,
        request: &ConnectRequest<'_>,
    ) -> Option<ConnectResponse> {
        self.frame(server, client, |out| request.encode(out));
        self.response(server, client)
    }

    /// The answer to a ConnectRequest, once there is one.
    pub(crate) fn response(&mut self, server: usize, client: ClientId) -> Option<ConnectResponse> {
        let frame = self.next_frame(server, client)?;
        Some(ConnectResponse::decode(&mut Reader::new(&frame)).expect("a ConnectResponse"))
    }

    /// A new session with a timeout of ten seconds.
    pub(crate) fn session(&mut self, server: usize) -> (ClientId, SessionId) {
        let client = self.open(server);
        let response = self.handshake(server, client, &new_session(10_000)).expect("a response");
        assert!(response.timeout_ms > 0, "the session is granted");
        (client, response.session)
    }

    fn next_frame(&mut self, server: usize, client: ClientId) -> Option<Vec<u8>> {
        let inbox = self.inbox.get_mut(&(server, client))?;
        let length = i32::from_be_bytes(inbox.get(..4)?.try_into().ok()?) as usize;
        let frame = inbox[4..4 + length].to_vec();
        inbox.drain(..4 + length);
        Some(frame)
    }

    /// Everything that the client has received since the last call.
    pub(crate) fn received(&mut self, server: usize, client: ClientId) -> Vec<Received> {
        let mut messages = Vec::new();
        while let Some(frame) = self.next_frame(server, client) {
            let mut reader = Reader::new(&frame);
            let header = ReplyHeader::decode(&mut reader).expect("a reply header");
            messages.push(if header.xid == client::xid::NOTIFICATION {
                let event = WatcherEvent::decode(&mut reader).expect("a watcher event");
                Received::Event { zxid: header.zxid, event }
            } else {
                let ReplyHeader { xid, zxid, error } = header;
                Received::Reply { xid, zxid, error, body: reader.rest().to_vec() }
            });
        }
        messages
    }

    /// The errors of the replies received since the last call, events left out.
    pub(crate) fn errors(&mut self, server: usize, client: ClientId) -> Vec<ErrorCode> {
        let replies = self.received(server, client).into_iter();
        replies.filter_map(|m| if let Received::Reply { error, .. } = m { Some(error) } else { None }).collect()
    }
}

pub(crate) fn new_session(timeout_ms: i32) -> ConnectRequest<'static> {
    ConnectRequest {
        last_zxid_seen: Zxid::ZERO,
        timeout_ms,
        session: SessionId(0),
        password: &[0; 16],
        read_only: Some(false),
    }
}

fn peer(id: i64, membership: &Membership, now: Now, trusted: bool, change: &impl Fn(&mut Config)) -> Peer {
    let mut zab = ensemble_zab::Config::new(ServerId(id), membership.clone());
    zab.tick = Duration::from_secs(2);
    zab.standalone = membership.servers.is_empty();
    let mut config = Config {
        zab,
        session_timeout_min_ms: 4000,
        session_timeout_max_ms: 40_000,
        client_outstanding_max: 4,
        skip_acl: false,
        record_bytes_max: RECORD_BYTES_MAX,
        super_digest: Some(client::digest_id("super:test")),
        read_only: false,
        local_sessions: false,
        local_sessions_upgrading: false,
        snapshot_slice_bytes: 300,
        extended_types: true,
        audit: false,
        enforce_quota: false,
        sessionless_timeout: Duration::from_secs(10),
        reaping: ensemble_peer::Reaping::default(),
        standalone_enabled: false,
        admission: ensemble_peer::Admission::default(),
    };
    change(&mut config);
    let history = History {
        accepted_epoch: Epoch(0),
        current_epoch: Epoch(0),
        snapshot: Zxid::ZERO,
        complete: Zxid::ZERO,
        tail: Vec::new(),
        trusted,
        last_seen: None,
        held: None,
    };
    Peer::new(config, Recovered { tree: DataTree::new(7), history }, now, 7).expect("an empty history is consistent")
}

// ---- requests ----

pub(crate) fn create(world: &mut World, server: usize, client: ClientId, xid: i32, path: &str, flags: i32) {
    let acl = Some(vec![AclEntry::world(Acl::ALL)]);
    let request = CreateRequest { path: path.into(), data: Some(b"data"), acl, flags };
    world.request(server, client, xid, OpCode::Create, |out| request.encode(out));
}

pub(crate) fn set(world: &mut World, server: usize, client: ClientId, xid: i32, path: &str) {
    let request = SetDataRequest { path: path.into(), data: Some(b"new"), version: -1 };
    world.request(server, client, xid, OpCode::SetData, |out| request.encode(out));
}

pub(crate) fn delete(world: &mut World, server: usize, client: ClientId, xid: i32, path: &str) {
    let request = DeleteRequest { path: path.into(), version: -1 };
    world.request(server, client, xid, OpCode::Delete, |out| request.encode(out));
}

pub(crate) fn read(world: &mut World, server: usize, client: ClientId, xid: i32, op: OpCode, path: &str, watch: bool) {
    let request = ReadRequest { path: path.into(), watch };
    world.request(server, client, xid, op, |out| request.encode(out));
}
