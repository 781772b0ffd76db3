//! A client with one session at a time, as the client libraries behave: it pings, gives a silent server up, comes back to
//! another with its session and its watches, and takes the server's word that a session has expired.

use crate::history::{History, Item, Op, Reply, decode_answer};
use crate::model::Answer;
use crate::request::Request;
use crate::shrink::{Plan, stream};
use crate::swarm::Swarm;
use crate::trace::Violation;
use ensemble_proto::client::{
    ConnectRequest, ConnectResponse, EventType, OpCode, PASSWORD_BYTES, ReplyHeader, RequestHeader, WatcherEvent,
    frame, xid,
};
use ensemble_proto::jute::Reader;
use ensemble_proto::{DecodeError, SessionId, Zxid};
use fastrand::Rng;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// A session that the client holds.
#[derive(Clone, Copy, Debug)]
struct Session {
    id: SessionId,
    password: [u8; PASSWORD_BYTES],
    timeout: Duration,
    next_xid: i32,
    /// A server without a leader gave it, which alone knows it.
    is_read_only: bool,
}

/// The state of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// None; it dials at its next turn.
    Down,
    /// Dialled, or waiting for the ConnectResponse.
    Opening { since: Duration },
    /// The session is attached.
    Open,
}

/// A simulated client.
pub(crate) struct Client {
    /// Its index.
    pub(crate) index: usize,
    /// Counts its connections.
    pub(crate) life: u64,
    /// The network's name of its connection.
    pub(crate) connection: Option<u64>,
    link: Link,
    session: Option<Session>,
    /// Index of its stream in the history.
    stream: usize,
    pending: VecDeque<usize>,
    last_zxid: Zxid,
    heard: Duration,
    sent: Duration,
    silent_until: Duration,
    /// What it asked for last was a sync, if it is a reader.
    is_in_sync: bool,
    /// Its process stood still, and it has not noticed yet for how long.
    is_late: bool,
    inbox: Vec<u8>,
    data_watches: BTreeSet<String>,
    exist_watches: BTreeSet<String>,
    child_watches: BTreeSet<String>,
    writes: u64,
    asked_timeout: Duration,
    /// The server that gave it its session last.
    pub(crate) server: Option<usize>,
    /// Whether it lost its last connection with a request on its way.
    pub(crate) was_asking: bool,
    /// Its own, so that nobody else's requests change its.
    pub(crate) random: Rng,
    /// What its requests are called, and how many it has thought of.
    pub(crate) kind: String,
    seed: u64,
    pub(crate) drawn: u64,
}

/// What a client wants from the world.
pub(crate) enum Action {
    /// Nothing now.
    Wait,
    /// A connection to some server.
    Dial,
    /// These bytes on its connection.
    Send(Vec<u8>),
    /// Its connection is of no use any more.
    HangUp,
}

impl Client {
    /// A client that has done nothing yet.
    pub(crate) fn new(index: usize, seed: u64) -> Client {
        let kind = index.to_string();
        Client {
            index,
            life: 0,
            connection: None,
            link: Link::Down,
            session: None,
            stream: 0,
            pending: VecDeque::new(),
            last_zxid: Zxid::ZERO,
            heard: Duration::ZERO,
            sent: Duration::ZERO,
            silent_until: Duration::ZERO,
            is_in_sync: false,
            is_late: false,
            inbox: Vec::new(),
            data_watches: BTreeSet::new(),
            exist_watches: BTreeSet::new(),
            child_watches: BTreeSet::new(),
            writes: 0,
            asked_timeout: Duration::ZERO,
            server: None,
            was_asking: false,
            random: stream(seed, &kind, 0),
            kind,
            seed,
            drawn: 0,
        }
    }

    /// The session it holds.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.session.map(|session| session.id)
    }

    /// Whether a server has given it its session, on the connection that it has.
    pub(crate) fn is_attached(&self) -> bool {
        matches!(self.link, Link::Open)
    }

    /// When it dialled, if no server has given it a session since.
    pub(crate) fn opening_since(&self) -> Option<Duration> {
        match self.link {
            Link::Opening { since } => Some(since),
            Link::Down | Link::Open => None,
        }
    }

    /// The shortest timeout that the session ever had on any server; zero without a session. (A server that has lost the
    /// session to another may still report it with the timeout that it knew, as in ZooKeeper.)
    pub(crate) fn session_timeout(&self) -> Duration {
        self.session.map_or(Duration::ZERO, |session| session.timeout.min(self.asked_timeout))
    }

    /// The oldest request that waits for its reply.
    pub(crate) fn oldest_pending(&self) -> Option<usize> {
        self.pending.front().copied()
    }

    /// Its turn: `may_ask` is whether it may make new requests.
    pub(crate) fn turn(
        &mut self,
        now: Duration,
        swarm: &Swarm,
        plan: &Plan,
        history: &mut History,
        may_ask: bool,
    ) -> Action {
        if now < self.silent_until {
            return Action::Wait;
        }
        match self.link {
            Link::Down => {
                self.link = Link::Opening { since: now };
                return Action::Dial;
            }
            Link::Opening { since } if now - since > 6 * swarm.tick => return Action::HangUp,
            Link::Opening { .. } => return Action::Wait,
            Link::Open => {}
        }
        let Some(session) = self.session else { return Action::HangUp };
        // A process that stood still sends what it was about to send before it looks at the clock.
        let is_late = std::mem::take(&mut self.is_late);
        if now - self.heard > session.timeout.mul_f64(0.7) && !is_late {
            return Action::HangUp;
        }
        let mut bytes = Vec::new();
        if may_ask && self.pending.len() < swarm.pipeline {
            self.drawn += 1;
            let mut random = stream(self.seed, &self.kind, self.drawn);
            if random.u16(0..400) == 0 {
                // Half of them for about as long as the session lasts: what comes next meets its end.
                let silence = match random.bool() {
                    true => session.timeout.mul_f64(random.f64() * 2.0),
                    false => session.timeout + swarm.tick.mul_f64(random.f64() * 2.0),
                };
                (self.silent_until, self.is_late) = (now + silence, true);
                return Action::Wait;
            }
            let request = self.draw(swarm, &mut random);
            let waits = swarm.reads_after_storm && now > swarm.storm && request.is_write();
            if plan.has(&self.kind, self.drawn - 1) && !waits {
                self.ask(request, now, history, &mut bytes);
            }
        }
        if bytes.is_empty() && now - self.sent > session.timeout / 3 {
            frame(&mut bytes, |out| RequestHeader { xid: xid::PING, op: OpCode::Ping.code() }.encode(out));
            self.sent = now;
        }
        if bytes.is_empty() { Action::Wait } else { Action::Send(bytes) }
    }

    /// The connection stands: the first frame.
    pub(crate) fn connected(&mut self, connection: u64, now: Duration, swarm: &Swarm) -> Vec<u8> {
        self.connection = Some(connection);
        self.heard = now;
        let timeout_ms = swarm.tick.as_millis() as i32 * self.random.i32(2..12);
        let asked = Duration::from_millis(timeout_ms as u64);
        self.asked_timeout = if self.session.is_some() { self.asked_timeout.min(asked) } else { asked };
        let mut bytes = Vec::new();
        let request = ConnectRequest {
            last_zxid_seen: self.last_zxid,
            timeout_ms,
            session: self.session.map_or(SessionId(0), |session| session.id),
            password: self.session.as_ref().map_or(&[0; PASSWORD_BYTES], |session| &session.password),
            read_only: Some(swarm.read_only && self.index.is_multiple_of(2)),
        };
        frame(&mut bytes, |out| request.encode(out));
        bytes
    }

    /// The connection is gone: what waits for a reply will never have one.
    pub(crate) fn disconnected(&mut self) {
        self.life += 1;
        self.connection = None;
        self.link = Link::Down;
        self.is_late = false;
        self.inbox.clear();
        self.was_asking |= !self.pending.is_empty();
        self.pending.clear();
        if self.session.is_some_and(|session| session.is_read_only) {
            self.forget_session();
        }
    }

    /// Bytes from the server; returns bytes to send.
    ///
    /// # Errors
    /// H-4 when replies are out of order or do not decode.
    pub(crate) fn receive(&mut self, bytes: &[u8], now: Duration, history: &mut History) -> Result<Vec<u8>, Violation> {
        self.inbox.extend_from_slice(bytes);
        self.heard = now;
        let mut out = Vec::new();
        while let Some(length) = self.inbox.first_chunk::<4>() {
            let end = 4 + u32::from_be_bytes(*length) as usize;
            if self.inbox.len() < end {
                break;
            }
            let message: Vec<u8> = self.inbox.drain(..end).skip(4).collect();
            let taken = match self.link {
                Link::Open => self.message(&message, now, history),
                _ => self.attached(&message, now, history, &mut out),
            };
            taken.map_err(|error| Violation::new("H-4", format!("client {}: {error}", self.index)))?;
        }
        Ok(out)
    }

    fn attached(
        &mut self,
        message: &[u8],
        now: Duration,
        history: &mut History,
        out: &mut Vec<u8>,
    ) -> Result<(), DecodeError> {
        let response = ConnectResponse::decode(&mut Reader::new(message))?;
        if response.session == SessionId(0) {
            self.forget_session();
            return Ok(());
        }
        let timeout = Duration::from_millis(response.timeout_ms as u64);
        let next_xid = self.session.map_or(1, |session| session.next_xid);
        let (id, password, is_read_only) = (response.session, response.password, response.read_only == Some(true));
        self.session = Some(Session { id, password, timeout, next_xid, is_read_only });
        self.link = Link::Open;
        history.streams.push(Vec::new());
        self.stream = history.streams.len() - 1;
        let paths = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        let (data, exist, child) = (paths(&self.data_watches), paths(&self.exist_watches), paths(&self.child_watches));
        if !(data.is_empty() && exist.is_empty() && child.is_empty()) {
            self.ask(Request::SetWatches { since: self.last_zxid, data, exist, child }, now, history, out);
        }
        Ok(())
    }

    fn message(&mut self, message: &[u8], now: Duration, history: &mut History) -> Result<(), DecodeError> {
        let mut reader = Reader::new(message);
        let header = ReplyHeader::decode(&mut reader)?;
        match header.xid {
            xid::PING => history.streams[self.stream].push(Item::Pong(header.zxid)),
            xid::NOTIFICATION => {
                let event = WatcherEvent::decode(&mut reader)?;
                self.fired(event.kind, &event.path);
                let (zxid, kind, path) = (header.zxid, event.kind, event.path);
                history.streams[self.stream].push(Item::Event { zxid, kind, path });
            }
            _ => {
                let Some(index) = self.pending.pop_front() else {
                    return Err(DecodeError::value("reply.xid", header.xid, "that of a request without a reply"));
                };
                let op = &mut history.ops[index];
                if op.xid != header.xid {
                    return Err(DecodeError::value("reply.xid", header.xid, "the oldest unanswered request's"));
                }
                let answer = decode_answer(&op.request, header, &mut reader)?;
                op.reply = Some(Reply { at: now, zxid: header.zxid, answer: answer.clone() });
                let request = op.request.clone();
                history.streams[self.stream].push(Item::Reply(index));
                self.last_zxid = self.last_zxid.max(header.zxid);
                self.watch(&request, &answer);
                if request == Request::Close {
                    self.forget_session();
                }
            }
        }
        Ok(())
    }

    fn forget_session(&mut self) {
        self.session = None;
        self.last_zxid = Zxid::ZERO;
        self.data_watches.clear();
        self.exist_watches.clear();
        self.child_watches.clear();
    }

    /// Remembers the watch that a read left.
    fn watch(&mut self, request: &Request, answer: &Answer) {
        match (request, answer.error()) {
            (Request::Exists { path, watch: true }, None) | (Request::GetData { path, watch: true }, None) => {
                self.data_watches.insert(path.clone());
            }
            (Request::Exists { path, watch: true }, Some(ensemble_proto::ErrorCode::NO_NODE)) => {
                self.exist_watches.insert(path.clone());
            }
            (Request::GetChildren { path, watch: true }, None) => {
                self.child_watches.insert(path.clone());
            }
            _ => {}
        }
    }

    /// Forgets the watches that an event used up.
    fn fired(&mut self, kind: EventType, path: &str) {
        if kind == EventType::NodeChildrenChanged {
            self.child_watches.remove(path);
            return;
        }
        self.data_watches.remove(path);
        self.exist_watches.remove(path);
        if kind == EventType::NodeDeleted {
            self.child_watches.remove(path);
        }
    }

    fn ask(&mut self, request: Request, now: Duration, history: &mut History, out: &mut Vec<u8>) {
        let Some(session) = &mut self.session else { return };
        let xid = match request {
            Request::SetWatches { .. } => xid::SET_WATCHES,
            _ => {
                session.next_xid += 1;
                session.next_xid - 1
            }
        };
        request.encode(xid, out);
        let (session, is_read_only) = (session.id, session.is_read_only);
        self.pending.push_back(history.ops.len());
        history.ops.push(Op { session, xid, stream: self.stream, request, invoked: now, is_read_only, reply: None });
        self.sent = now;
    }

    fn draw(&mut self, swarm: &Swarm, random: &mut Rng) -> Request {
        if let Some(request) = crate::changes::draw(swarm, random) {
            return request;
        }
        if self.index < swarm.readers {
            self.is_in_sync = !self.is_in_sync;
            return match self.is_in_sync {
                true => Request::Sync,
                false => Request::GetData { path: self.path(swarm, random), watch: false },
            };
        }
        match random.u8(0..100) {
            0..20 => Request::GetData { path: self.path(swarm, random), watch: random.u8(0..4) == 0 },
            20..28 => Request::Exists { path: self.path(swarm, random), watch: random.u8(0..3) == 0 },
            28..38 => Request::GetChildren { path: self.path(swarm, random), watch: random.u8(0..3) == 0 },
            38..44 => Request::Sync,
            44..52 => {
                let parts = (0..random.usize(1..4)).map(|_| self.draw_write(swarm, random, true)).collect();
                Request::Multi(parts)
            }
            52 if random.u8(0..3) == 0 => Request::Close,
            _ => self.draw_write(swarm, random, false),
        }
    }

    fn draw_write(&mut self, swarm: &Swarm, random: &mut Rng, in_multi: bool) -> Request {
        let path = self.path(swarm, random);
        let version = if random.u8(0..4) == 0 { random.i32(0..4) } else { -1 };
        match random.u8(0..20) {
            0..9 => Request::Create {
                path,
                data: self.fresh_data(random),
                ephemeral: random.u8(0..3) == 0,
                sequential: random.u8(0..4) == 0,
                with_stat: random.bool(),
            },
            9..14 => Request::SetData { path, data: self.fresh_data(random), version },
            14 | 15 if in_multi => Request::Check { path, version },
            _ => Request::Delete { path, version },
        }
    }

    fn path(&self, swarm: &Swarm, random: &mut Rng) -> String {
        let name = random.usize(0..swarm.names);
        if random.bool() { format!("/n{name}") } else { format!("/n{name}/n{}", random.usize(0..swarm.names)) }
    }

    /// Data that no other write has, sometimes long.
    fn fresh_data(&mut self, random: &mut Rng) -> Vec<u8> {
        self.writes += 1;
        let mut data = format!("{}.{}.", self.index, self.writes).into_bytes();
        if random.u8(0..10) == 0 {
            data.resize(random.usize(100..1500), b'x');
        }
        data
    }
}
