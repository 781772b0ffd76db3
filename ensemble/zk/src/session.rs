//! A session with an ensemble, on one server after another (`ClientCnxn.java`).
//!
//! A thread of its own connects, reads, pings, and connects to the next server with the same session when a connection ends. Whoever calls
//! writes a request and waits for its reply; a connection that ends fails every request that has no reply, for nobody knows their fate.
//!
//! Differs from ZooKeeper: a call waits until every server was tried in vain once, where `zkCli.sh` fails when the first one refuses.

use crate::connect_string::ConnectString;
use crate::error::Cause;
use crate::frames::Frames;
use crate::watches::{Kind, Watches};
use ensemble_proto::client::{
    AuthRequest, ConnectRequest, ConnectResponse, EventType, OpCode, PASSWORD_BYTES, ReplyHeader, WatcherEvent,
    WatcherType, frame, request, xid,
};
use ensemble_proto::jute::Reader;
use ensemble_proto::{ErrorCode, SessionId, Zxid};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Between two rounds over all servers.
const ROUND_PAUSE: Duration = Duration::from_millis(200);
/// How long one server may take to accept a connection, and the thread to notice what else there is to do.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

/// Where a session stands, in Java's words (`ZooKeeper.States`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// No server.
    Connecting,
    /// A server that is part of a quorum.
    Connected,
    /// A server that only reads.
    ConnectedReadOnly,
    /// The ensemble has ended it, or the user.
    Closed,
    /// An identity was refused; the server ends the connection.
    AuthFailed,
}

impl State {
    /// As in `zkCli.sh`'s prompt.
    pub fn name(self) -> &'static str {
        match self {
            State::Connecting => "CONNECTING",
            State::Connected => "CONNECTED",
            State::ConnectedReadOnly => "CONNECTEDREADONLY",
            State::Closed => "CLOSED",
            State::AuthFailed => "AUTH_FAILED",
        }
    }
}

/// What nobody asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The session's connection changed; in Java's words (`KeeperState`).
    State(&'static str),
    /// A watch fired; the path is the user's.
    Watch {
        /// What happened.
        kind: EventType,
        /// Where.
        path: String,
        /// The transaction that did it; none when it was noticed after a reconnect.
        zxid: Zxid,
    },
}

impl Event {
    /// `WatchedEvent.toString`.
    pub fn text(&self) -> String {
        match self {
            Event::State(state) => {
                format!("WatchedEvent state:{state} type:None path:null zxid: -1")
            }
            Event::Watch { kind, path, zxid } => {
                format!("WatchedEvent state:SyncConnected type:{kind:?} path:{path} zxid: {}", zxid.0)
            }
        }
    }
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Settings {
    /// To whom.
    pub to: ConnectString,
    /// The session time-out to ask for.
    pub timeout: Duration,
    /// Whether a server that only reads will do.
    pub read_only: bool,
}

type Reply = Result<(ReplyHeader, Vec<u8>), Cause>;

/// A watch that a request leaves when it succeeds, and the path on the server.
pub(crate) struct Leaves {
    pub(crate) kind: Kind,
    pub(crate) path: String,
}

struct Waiter {
    reply: Sender<Reply>,
    leaves: Option<Leaves>,
}

struct Inner {
    state: State,
    writer: Option<TcpStream>,
    server: Option<SocketAddr>,
    next_xid: i32,
    pending: BTreeMap<i32, Waiter>,
    session: SessionId,
    password: Vec<u8>,
    timeout: Duration,
    last_zxid: Zxid,
    identities: Vec<(String, Vec<u8>)>,
    watches: Watches,
    /// How often every server was tried in vain.
    rounds: u64,
    last_sent: Instant,
}

struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
    settings: Settings,
    on_event: Box<dyn Fn(&Event) + Send + Sync>,
}

/// A session; it is closed when dropped.
pub struct Session {
    shared: Arc<Shared>,
}

impl Session {
    /// Begins one; the connection is made meanwhile. `on_event` is called on the session's thread.
    pub fn open(settings: Settings, on_event: impl Fn(&Event) + Send + Sync + 'static) -> Session {
        let inner = Inner {
            state: State::Connecting,
            writer: None,
            server: None,
            next_xid: 1,
            pending: BTreeMap::new(),
            session: SessionId(0),
            password: vec![0; PASSWORD_BYTES],
            timeout: settings.timeout,
            last_zxid: Zxid::ZERO,
            identities: Vec::new(),
            watches: Watches::default(),
            rounds: 0,
            last_sent: Instant::now(),
        };
        let shared = Arc::new(Shared {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            settings,
            on_event: Box::new(on_event),
        });
        let thread = shared.clone();
        thread::spawn(move || thread.run());
        Session { shared }
    }

    /// To whom.
    pub fn to(&self) -> &ConnectString {
        &self.shared.settings.to
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.shared.lock().state
    }

    /// The session, zero before there is one.
    pub fn id(&self) -> SessionId {
        self.shared.lock().session
    }

    /// The server that it is connected to.
    pub fn server(&self) -> Option<SocketAddr> {
        self.shared.lock().server
    }

    /// Waits for a connection; whether there is one.
    pub fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut inner = self.shared.lock();
        while matches!(inner.state, State::Connecting) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            inner = self.shared.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        matches!(inner.state, State::Connected | State::ConnectedReadOnly)
    }

    /// Breaks the connection, as a network could; the session goes on at the next server.
    pub fn break_connection(&self) {
        if let Some(writer) = &self.shared.lock().writer {
            // It may be broken already.
            let _ = writer.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Sends a request; the reply is received later. Waits for a connection, if there is none.
    pub(crate) fn send(
        &self,
        op: OpCode,
        leaves: Option<Leaves>,
        record: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Receiver<Reply>, Cause> {
        let mut inner = self.shared.connected()?;
        let number = inner.next_xid;
        inner.next_xid = if number == i32::MAX { 1 } else { number + 1 };
        let mut bytes = Vec::new();
        request(&mut bytes, number, op, record);
        Ok(inner.write(number, leaves, &bytes))
    }

    /// Sends a request and waits for its reply: the header of a success, and the body.
    pub(crate) fn call(
        &self,
        op: OpCode,
        leaves: Option<Leaves>,
        record: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<u8>, Cause> {
        receive(&self.send(op, leaves, record)?)
    }

    /// Adds an identity, to this connection and all later ones.
    pub(crate) fn authenticate(&self, scheme: &str, credential: &[u8]) -> Result<(), Cause> {
        let reply = {
            let mut inner = self.shared.connected()?;
            inner.identities.push((scheme.to_owned(), credential.to_vec()));
            let bytes = auth_frame(scheme, credential);
            inner.write(xid::AUTH, None, &bytes)
        };
        receive(&reply).map(drop)
    }

    /// Forgets watches that the server has forgotten.
    pub(crate) fn forget_watches(&self, which: WatcherType, path: &str) -> bool {
        self.shared.lock().watches.remove(which, path)
    }

    /// Ends the session, at the server too if there is one.
    pub fn close(&self) {
        let is_connected = matches!(self.state(), State::Connected | State::ConnectedReadOnly);
        if is_connected {
            // A server that does not answer forgets the session later.
            let _ = self.call(OpCode::CloseSession, None, |_| {});
        }
        let was_open = {
            let mut inner = self.shared.lock();
            inner.disconnect();
            std::mem::replace(&mut inner.state, State::Closed) != State::Closed
        };
        self.shared.changed.notify_all();
        if was_open {
            (self.shared.on_event)(&Event::State("Closed"));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}

/// The body of a reply, once it has come.
pub(crate) fn receive(reply: &Receiver<Reply>) -> Result<Vec<u8>, Cause> {
    let (header, body) = reply.recv().unwrap_or(Err(Cause::ConnectionLoss))?;
    if header.error.is_ok() { Ok(body) } else { Err(Cause::Code(header.error)) }
}

fn auth_frame(scheme: &str, credential: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let auth = AuthRequest { scheme: scheme.into(), auth: credential };
    request(&mut bytes, xid::AUTH, OpCode::Auth, |out| auth.encode(out));
    bytes
}

impl Inner {
    /// Writes a request for which someone waits. A failure is noticed by the reader, which fails all that wait.
    fn write(&mut self, number: i32, leaves: Option<Leaves>, bytes: &[u8]) -> Receiver<Reply> {
        let (reply, receiver) = mpsc::channel();
        self.pending.insert(number, Waiter { reply, leaves });
        self.last_sent = Instant::now();
        if self.writer.as_mut().is_none_or(|writer| writer.write_all(bytes).is_err()) {
            self.disconnect();
        }
        receiver
    }

    /// Lets go of the connection: whoever waits for a reply learns that.
    fn disconnect(&mut self) {
        if let Some(writer) = self.writer.take() {
            // It may be broken already.
            let _ = writer.shutdown(std::net::Shutdown::Both);
        }
        self.server = None;
        for (_, waiter) in std::mem::take(&mut self.pending) {
            // Who no longer waits need not know.
            let _ = waiter.reply.send(Err(Cause::ConnectionLoss));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a connection: until the session has ended, every server was tried in vain since, or its time-out has passed.
    fn connected(&self) -> Result<MutexGuard<'_, Inner>, Cause> {
        let deadline = Instant::now() + self.settings.timeout;
        let mut inner = self.lock();
        let rounds = inner.rounds;
        loop {
            match inner.state {
                State::Connected | State::ConnectedReadOnly => return Ok(inner),
                State::Closed => return Err(Cause::SessionExpired),
                State::AuthFailed => return Err(Cause::Code(ErrorCode::AUTH_FAILED)),
                State::Connecting => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if inner.rounds > rounds || left.is_zero() {
                return Err(Cause::ConnectionLoss);
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The session's thread.
    fn run(&self) {
        let mut servers = self.settings.to.servers.clone();
        fastrand::shuffle(&mut servers);
        while self.is_open() {
            let mut was_connected = false;
            for (host, port) in &servers {
                for address in (host.as_str(), *port).to_socket_addrs().into_iter().flatten() {
                    if self.is_open() && self.connect(address).is_ok_and(|mut frames| self.serve(&mut frames)) {
                        was_connected = true;
                        self.disconnected();
                    }
                }
            }
            if !was_connected {
                self.lock().rounds += 1;
                self.changed.notify_all();
            }
            thread::sleep(ROUND_PAUSE);
        }
    }

    fn is_open(&self) -> bool {
        !matches!(self.lock().state, State::Closed | State::AuthFailed)
    }

    /// Connects, and has the server take the session; an error also when the session has ended.
    fn connect(&self, address: SocketAddr) -> io::Result<Frames> {
        let patience = self.settings.timeout.min(CONNECT_MAX);
        let mut frames = Frames::connect(address, patience, LOOK)?;
        let mut bytes = Vec::new();
        {
            let inner = self.lock();
            let hello = ConnectRequest {
                last_zxid_seen: inner.last_zxid,
                timeout_ms: i32::try_from(self.settings.timeout.as_millis()).unwrap_or(i32::MAX),
                session: inner.session,
                password: &inner.password,
                read_only: Some(self.settings.read_only),
            };
            frame(&mut bytes, |out| hello.encode(out));
        }
        frames.write(&bytes)?;
        let deadline = Instant::now() + patience;
        let answer = loop {
            match frames.next()? {
                Some(answer) => break answer,
                None if Instant::now() > deadline => return Err(ErrorKind::TimedOut.into()),
                None => {}
            }
        };
        let granted = ConnectResponse::decode(&mut Reader::new(&answer)).map_err(io::Error::other)?;
        self.granted(&granted, address, &frames)?;
        Ok(frames)
    }

    /// Takes up what the server answered, and tells it identities and watches.
    fn granted(&self, granted: &ConnectResponse, address: SocketAddr, frames: &Frames) -> io::Result<()> {
        let mut inner = self.lock();
        if !matches!(inner.state, State::Connecting) {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        if granted.timeout_ms <= 0 {
            inner.state = State::Closed;
            drop(inner);
            self.changed.notify_all();
            (self.on_event)(&Event::State("Expired"));
            return Err(ErrorKind::ConnectionRefused.into());
        }
        inner.session = granted.session;
        inner.password = granted.password.to_vec();
        inner.timeout = Duration::from_millis(granted.timeout_ms.unsigned_abs().into());
        let mut writer = frames.writer()?;
        for (scheme, credential) in &inner.identities {
            writer.write_all(&auth_frame(scheme, credential))?;
        }
        if let Some(watches) = inner.watches.request(inner.last_zxid) {
            let mut bytes = Vec::new();
            request(&mut bytes, xid::SET_WATCHES, OpCode::SetWatches2, |out| watches.encode(out));
            writer.write_all(&bytes)?;
        }
        let read_only = granted.read_only == Some(true);
        inner.state = if read_only { State::ConnectedReadOnly } else { State::Connected };
        inner.writer = Some(writer);
        inner.server = Some(address);
        inner.last_sent = Instant::now();
        drop(inner);
        self.changed.notify_all();
        (self.on_event)(&Event::State(if read_only { "ConnectedReadOnly" } else { "SyncConnected" }));
        Ok(())
    }

    /// Reads until the connection ends; true, because there was one.
    fn serve(&self, frames: &mut Frames) -> bool {
        let mut last_heard = Instant::now();
        loop {
            match frames.next() {
                Ok(Some(frame)) => {
                    last_heard = Instant::now();
                    if self.take(&frame).is_err() {
                        return true;
                    }
                }
                Ok(None) => {
                    let timeout = self.lock().timeout;
                    if last_heard.elapsed() > timeout * 2 / 3 {
                        return true;
                    }
                }
                Err(_) => return true,
            }
            self.ping_when_idle();
        }
    }

    fn ping_when_idle(&self) {
        let mut inner = self.lock();
        if inner.last_sent.elapsed() < inner.timeout / 3 {
            return;
        }
        inner.last_sent = Instant::now();
        let mut bytes = Vec::new();
        request(&mut bytes, xid::PING, OpCode::Ping, |_| {});
        if inner.writer.as_mut().is_some_and(|writer| writer.write_all(&bytes).is_err()) {
            inner.disconnect();
        }
    }

    /// Hands on what came; an error for what is no reply.
    fn take(&self, frame: &[u8]) -> Result<(), Cause> {
        let bad = |error: ensemble_proto::DecodeError| Cause::Protocol(error.to_string());
        let mut reader = Reader::new(frame);
        let header = ReplyHeader::decode(&mut reader).map_err(bad)?;
        if header.xid == xid::NOTIFICATION {
            let event = WatcherEvent::decode(&mut reader).map_err(bad)?;
            self.lock().watches.fire(event.kind, &event.path);
            let path = self.settings.to.from_server(&event.path).to_owned();
            (self.on_event)(&Event::Watch { kind: event.kind, path, zxid: header.zxid });
            return Ok(());
        }
        let mut inner = self.lock();
        if header.zxid > inner.last_zxid {
            inner.last_zxid = header.zxid;
        }
        if header.xid == xid::AUTH && !header.error.is_ok() {
            inner.state = State::AuthFailed;
        }
        if let Some(waiter) = inner.pending.remove(&header.xid) {
            if let Some(Leaves { kind, path }) = waiter.leaves {
                // exists on a znode that is not there leaves a watch all the same, of another kind.
                match (header.error, kind) {
                    (ErrorCode::OK, Kind::Exist) => inner.watches.add(Kind::Data, path),
                    (ErrorCode::NO_NODE, Kind::Exist) | (ErrorCode::OK, _) => inner.watches.add(kind, path),
                    _ => {}
                }
            }
            // Who no longer waits need not know.
            let _ = waiter.reply.send(Ok((header, reader.rest().to_vec())));
        }
        let has_failed = inner.state == State::AuthFailed;
        drop(inner);
        if has_failed {
            self.changed.notify_all();
            (self.on_event)(&Event::State("AuthFailed"));
        }
        Ok(())
    }

    fn disconnected(&self) {
        let is_lost = {
            let mut inner = self.lock();
            inner.disconnect();
            let is_lost = matches!(inner.state, State::Connected | State::ConnectedReadOnly);
            if is_lost {
                inner.state = State::Connecting;
            }
            is_lost
        };
        self.changed.notify_all();
        if is_lost {
            (self.on_event)(&Event::State("Disconnected"));
        }
    }
}
