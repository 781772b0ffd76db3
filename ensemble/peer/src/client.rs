//! One client connection: its handshake, its identities, and the order of its replies.
//!
//! Replies leave in the order of the requests, so a connection keeps a queue of *slots*. A read is answered at once while the
//! queue is empty; behind a write that is not committed yet it waits, and is executed when it reaches the head: after that
//! write, and before any later one is applied. Writes are sent to the leader when they arrive. Notifications do not
//! queue: they are written when the change is applied, which is before any reply that shows it.

use crate::{Activity, Admission, ClientId};
use bytes::Bytes;
use ensemble_proto::quorum::AuthId;
use ensemble_proto::{ErrorCode, Now, SessionId};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nothing received yet: the first frame must be a ConnectRequest.
    New,
    /// The ConnectRequest waits for a commit (new session) or for the leader's word (re-attach).
    Resolving,
    /// The session is this connection's.
    Open(SessionId),
    /// The client has asked for the end of its session, behind what it has asked before: what follows takes no effect, and shows that the
    /// client is there all the same.
    Ending(SessionId),
    /// Nothing more is read; what is queued is still sent.
    Closing,
}

/// A request that has not been answered yet.
pub(crate) enum Slot {
    /// A write on its way; answered when its transaction is applied.
    InFlight { xid: i32, op: i32, since: Duration, large_bytes: usize },
    /// A sync on its way; answered when the leader has confirmed it.
    Sync { xid: i32, path: String, since: Duration },
    /// A write or sync behind a sync: sent to the leader when it reaches the head. A sync waits for a quorum, and a write
    /// that overtook it would be seen by the reads between them.
    Deferred(Outgoing),
    /// A read behind a write.
    Waiting { frame: Vec<u8>, identities: Arc<[AuthId]>, since: Duration },
    /// Answered, behind something that is not.
    Done { reply: Vec<u8> },
    /// Refused; answered from the state of its turn, so that a session's zxids do not go back.
    Refused { xid: i32, code: ErrorCode },
    /// After everything before it has been sent, the connection ends.
    Close,
}

impl Slot {
    /// What it counts against the limit of large requests: the bytes that are kept for it.
    pub(crate) fn large_bytes(&self, admission: &Admission) -> usize {
        match self {
            Slot::InFlight { large_bytes, .. } => *large_bytes,
            Slot::Deferred(outgoing) => outgoing.large_bytes,
            Slot::Waiting { frame, .. } => admission.large_bytes(frame.len()),
            Slot::Sync { .. } | Slot::Done { .. } | Slot::Refused { .. } | Slot::Close => 0,
        }
    }
}

/// A write or sync for the leader, with the identities that it came with.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) session: SessionId,
    pub(crate) xid: i32,
    pub(crate) op: i32,
    pub(crate) body: Bytes,
    pub(crate) identities: Arc<[AuthId]>,
    pub(crate) since: Duration,
    /// What a sync is answered with; `None` for a write.
    pub(crate) sync_path: Option<String>,
    /// What it counts against the limit of large requests.
    pub(crate) large_bytes: usize,
}

pub(crate) struct Client {
    pub(crate) address: IpAddr,
    pub(crate) phase: Phase,
    /// Replaced as a whole by an auth packet: a request keeps those that it came with.
    pub(crate) identities: Arc<[AuthId]>,
    /// Frames that came behind a ConnectRequest that is still being resolved; reading is paused, so they are few.
    pub(crate) backlog: Vec<Vec<u8>>,
    pub(crate) slots: VecDeque<Slot>,
    /// How many slots are a sync or deferred behind one.
    pub(crate) barriers: usize,
    /// Framed bytes to send.
    pub(crate) output: Vec<u8>,
    /// Whether the owner has been told that there is output.
    pub(crate) announced: bool,
    pub(crate) paused: bool,
    /// How many of its requests are not begun yet.
    pub(crate) stalled: usize,
    /// Whether the client sent the readOnly byte, and so expects one (absent: go-zk, clients before 3.4).
    pub(crate) read_only_byte: bool,
    /// The session that this connection speaks for, from the ConnectRequest's acceptance until it is unbound.
    pub(crate) bound: Option<SessionId>,
    /// Negotiated; zero until then.
    pub(crate) timeout_ms: i32,
    /// Since when it speaks for its session, once it does.
    pub(crate) open_since: Duration,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// When it began.
    pub(crate) established: Now,
    pub(crate) activity: Activity,
    /// It said a four-letter word.
    pub(crate) has_said_word: bool,
}

impl Client {
    fn new(address: IpAddr, established: Now) -> Client {
        let implicit = AuthId { scheme: "ip".to_string(), id: address.to_string() };
        Client {
            address,
            phase: Phase::New,
            identities: Arc::new([implicit]),
            backlog: Vec::new(),
            slots: VecDeque::new(),
            barriers: 0,
            output: Vec::new(),
            announced: false,
            paused: false,
            stalled: 0,
            read_only_byte: true,
            bound: None,
            timeout_ms: 0,
            open_since: Duration::ZERO,
            received: 0,
            sent: 0,
            established,
            activity: Activity::default(),
            has_said_word: false,
        }
    }

    /// The session, once there is one.
    pub(crate) fn session(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Open(session) => Some(session),
            Phase::New | Phase::Resolving | Phase::Ending(_) | Phase::Closing => None,
        }
    }
}

/// Every connection of this server.
pub(crate) struct Clients {
    by_id: HashMap<ClientId, Client, FixedState>,
    by_session: HashMap<SessionId, ClientId, FixedState>,
}

impl Clients {
    pub(crate) fn new(seed: u64) -> Clients {
        let hasher = FixedState::with_seed(seed);
        Clients { by_id: HashMap::with_hasher(hasher.clone()), by_session: HashMap::with_hasher(hasher) }
    }

    pub(crate) fn open(&mut self, id: ClientId, address: IpAddr, now: Now) {
        let previous = self.by_id.insert(id, Client::new(address, now));
        assert!(previous.is_none(), "a client id is never reused");
    }

    pub(crate) fn get(&self, id: ClientId) -> Option<&Client> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: ClientId) -> Option<Client> {
        self.unbind(id);
        self.by_id.remove(&id)
    }

    /// Binds a session to a connection, which had none; returns the connection that had it.
    pub(crate) fn bind(&mut self, session: SessionId, id: ClientId) -> Option<ClientId> {
        if let Some(client) = self.by_id.get_mut(&id) {
            client.bound = Some(session);
        }
        self.by_session.insert(session, id).filter(|previous| *previous != id)
    }

    /// The connection that a session is bound to.
    pub(crate) fn bound(&self, session: SessionId) -> Option<ClientId> {
        self.by_session.get(&session).copied()
    }

    /// The connection speaks for no session any more.
    pub(crate) fn unbind(&mut self, id: ClientId) {
        let Some(session) = self.by_id.get_mut(&id).and_then(|client| client.bound.take()) else { return };
        if self.bound(session) == Some(id) {
            self.by_session.remove(&session);
        }
    }

    /// Every connection's id, ascending.
    pub(crate) fn ids(&self) -> Vec<ClientId> {
        let mut ids: Vec<_> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Since when each connection with a session has had it.
    pub(crate) fn open_since(&self) -> impl Iterator<Item = Duration> + '_ {
        let is_open = |client: &&Client| client.session().is_some();
        self.by_id.values().filter(is_open).map(|client| client.open_since)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}
