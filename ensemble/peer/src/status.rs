//! What a server can say about itself, as plain values: for the admin port, the four-letter words and the metrics.

use crate::client::{Client, Phase};
use crate::{Activity, ClientId, Peer};
use ensemble_proto::{Epoch, ServerId, SessionId, Zxid};
use ensemble_zab::{LearnerStatus, Role, ZabState};
use std::net::IpAddr;
use std::time::Duration;

/// A server at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// This server.
    pub id: ServerId,
    /// What it is in the protocol, whether it serves or not.
    pub role: Role,
    /// How far it has come with its leader.
    pub state: ZabState,
    /// Whether clients are served.
    pub serving: bool,
    /// Whether clients that only read are served, without a quorum.
    pub read_only: bool,
    /// Whether there is no ensemble, by configuration.
    pub standalone: bool,
    /// The leader, where one is known.
    pub leader: Option<ServerId>,
    /// The epoch of the history that this server holds.
    pub epoch: Epoch,
    /// The last applied transaction.
    pub zxid: Zxid,
    /// The tree's digest after it.
    pub digest: u64,
    /// The last record in the log.
    pub last_logged: Zxid,
    /// Whether this store may vote: false for an empty one that was not granted anything and is not in sync yet.
    pub may_vote: bool,
    /// On the leader: every learner.
    pub learners: Vec<LearnerStatus>,
    /// Voting members.
    pub quorum_size: usize,
    /// Znodes, the root and the three system znodes included.
    pub znodes: usize,
    /// Ephemeral znodes.
    pub ephemerals: usize,
    /// (path, connection) pairs of watches.
    pub watches: usize,
    /// Paths and data, in bytes.
    pub approximate_data_bytes: u64,
    /// Sessions of the whole ensemble.
    pub global_sessions: usize,
    /// Sessions that only this server knows.
    pub local_sessions: usize,
    /// Client connections of this server.
    pub connections: usize,
    /// Requests not answered yet.
    pub outstanding_requests: usize,
    /// Frames received from clients.
    pub packets_received: u64,
    /// Frames sent to clients.
    pub packets_sent: u64,
    /// Proposals made as a leader.
    pub proposals: u64,
    /// Transactions applied.
    pub commits: u64,
    /// Applied transactions whose digest differed from the one that their leader had predicted.
    pub digest_mismatches: u64,
    /// Sessions that this server, as a leader, ended for silence.
    pub sessions_expired: u64,
    /// Handshakes of clients that came while there was no leader.
    pub clients_unserved: u64,
    /// Least request latency, in milliseconds; 0 before the first.
    pub latency_min_ms: u64,
    /// Mean request latency, in milliseconds.
    pub latency_avg_ms: f64,
    /// Greatest request latency, in milliseconds.
    pub latency_max_ms: u64,
}

/// One connection, for `stat` and `cons`.
#[derive(Clone, Debug)]
pub struct ClientStatus {
    /// The connection.
    pub id: ClientId,
    /// Where it came from.
    pub address: IpAddr,
    /// Its session, once there is one.
    pub session: Option<SessionId>,
    /// Requests not answered yet.
    pub queued: usize,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// When it began, in milliseconds since 1970.
    pub established_ms: i64,
    /// The session timeout that was negotiated, in milliseconds; 0 before.
    pub timeout_ms: i32,
    /// What was answered.
    pub activity: Activity,
    /// It asked by a four-letter word.
    pub has_said_word: bool,
}

impl Peer {
    /// This server, now. Cheap enough for every second, not for every request.
    pub fn status(&self) -> Status {
        let latency = self.counters.latency;
        Status {
            id: self.config.zab.id,
            role: self.zab.role(),
            state: self.zab.zab_state(),
            serving: self.office.is_some(),
            read_only: self.read_only,
            standalone: self.config.zab.standalone,
            leader: self.zab.leader(),
            epoch: self.zab.epoch(),
            zxid: self.tree.last_zxid(),
            digest: self.tree.digest(),
            last_logged: self.zab.last_logged(),
            may_vote: self.zab.last_logged() != Zxid::NONE,
            learners: self.zab.learners().collect(),
            quorum_size: self.zab.membership().voters().count(),
            znodes: self.tree.node_count(),
            ephemerals: self.tree.ephemeral_count(),
            watches: self.watches.count(),
            approximate_data_bytes: self.tree.approximate_data_bytes() as u64,
            global_sessions: self.tree.sessions().len(),
            local_sessions: self.local.len(),
            connections: self.clients.len(),
            outstanding_requests: self.outstanding,
            packets_received: self.counters.received,
            packets_sent: self.counters.sent,
            proposals: self.counters.proposals,
            commits: self.counters.commits,
            digest_mismatches: self.counters.digest_mismatches,
            sessions_expired: self.counters.sessions_expired,
            clients_unserved: self.counters.clients_unserved,
            latency_min_ms: latency.min_ms,
            latency_avg_ms: if latency.count == 0 { 0.0 } else { latency.total_ms as f64 / latency.count as f64 },
            latency_max_ms: latency.max_ms,
        }
    }

    /// Since when, on the elapsed clock, each connection that has a session has had it; in no order.
    pub fn sessions_since(&self) -> impl Iterator<Item = Duration> + '_ {
        self.clients.open_since()
    }

    /// Every client connection, by id.
    pub fn clients(&self) -> Vec<ClientStatus> {
        self.client_ids().into_iter().filter_map(|id| self.client(id)).collect()
    }

    /// A client connection, unless it is about to end.
    pub fn client(&self, id: ClientId) -> Option<ClientStatus> {
        let client = self.clients.get(id)?;
        let is_ending = matches!(client.phase, Phase::Ending(_) | Phase::Closing);
        (!is_ending).then(|| status(id, client))
    }
}

fn status(id: ClientId, client: &Client) -> ClientStatus {
    ClientStatus {
        id,
        address: client.address,
        session: client.session(),
        queued: client.slots.len(),
        received: client.received,
        sent: client.sent,
        established_ms: client.established.wall_ms,
        timeout_ms: client.timeout_ms,
        activity: client.activity,
        has_said_word: client.has_said_word,
    }
}
