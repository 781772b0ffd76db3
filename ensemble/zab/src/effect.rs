//! What a server wants done, as values.

use bytes::Bytes;
use ensemble_proto::durable::{Ticket, Write};
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{AuthId, Notification, QuorumPacket};
use ensemble_proto::{ServerId, SessionId, Zxid};
use std::time::Duration;

/// A quorum connection. Allocated by the owner and never reused, so packets of an old connection are recognised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u64);

/// What a server is to the ensemble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Electing.
    Looking,
    /// A voting member behind a leader.
    Following {
        /// The leader.
        leader: ServerId,
    },
    /// The leader; also a standalone server.
    Leading,
    /// A non-voting member behind a leader.
    Observing {
        /// The leader.
        leader: ServerId,
    },
}

/// How far a server's term has come (`QuorumPeer.ZabState`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZabState {
    /// Looking for a leader.
    Election,
    /// Agreeing on an epoch.
    Discovery,
    /// Making histories equal.
    Synchronization,
    /// Serving.
    Broadcast,
}

/// Who asked for a sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncOrigin {
    /// A client of this server; the owner's token comes back.
    Local(u64),
    /// A client of a learner.
    Learner(ConnId),
}

/// A learner as its leader sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LearnerStatus {
    /// Its id.
    pub id: ServerId,
    /// Its connection.
    pub conn: ConnId,
    /// Whether its acknowledgements count.
    pub voter: bool,
    /// Whether it came to learn only.
    pub observer: bool,
    /// Whether it has been called up to date.
    pub synced: bool,
    /// Everything up to here is on its disk.
    pub acked: Zxid,
}

/// What the owner must do, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send a vote. A peer's queue holds one: the newest replaces one that has not left.
    Notify {
        /// To whom.
        to: ServerId,
        /// The vote.
        notification: Notification,
    },
    /// Connect to this server's quorum port, then report `handle_leader_connected` or `handle_leader_unreachable` with
    /// the same attempt.
    Connect {
        /// Whom to dial.
        leader: ServerId,
        /// Names the attempt; a later one replaces it.
        attempt: u64,
    },
    /// Send a packet, after everything sent on this connection before.
    Send {
        /// The connection.
        conn: ConnId,
        /// The packet.
        packet: QuorumPacket,
    },
    /// Send the tree, with its signature, on this connection: a SNAP packet whose zxid is that of the last delivered transaction
    /// has just been sent. It may be sent in slices while transactions are delivered, whose effects may be in it then; nothing else
    /// is sent on the connection meanwhile. When the last slice is handed over, report `handle_snapshot_sent`.
    SendSnapshot {
        /// The connection.
        conn: ConnId,
    },
    /// Leader: read the log on this server's disk from the record after `after` on, as far as one slice takes; report it by
    /// `handle_log`, or that the log does not go back so far, or is too long for that.
    ReadLog {
        /// The connection that it is for.
        conn: ConnId,
        /// A learner's last record, or the last one of the slice before.
        after: Zxid,
    },
    /// Report `handle_writable` once the other side has taken nearly everything that was sent on this connection.
    AwaitWritable {
        /// The connection.
        conn: ConnId,
    },
    /// Close the connection. Nothing it delivers afterwards is looked at.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// Make a write durable, after every earlier one; then report `handle_persisted`.
    Persist {
        /// Names the write; ascending.
        ticket: Ticket,
        /// The write.
        write: Write,
    },
    /// Apply a committed transaction. Ascending without gaps, and always on this server's own disk already.
    Deliver {
        /// Its position.
        zxid: Zxid,
        /// The proposal's bytes.
        payload: Bytes,
    },
    /// A snapshot follows on this connection: report its parts (`handle_snapshot_part`) and its end (`handle_snapshot_end`), and keep the
    /// tree that they make beside the present one.
    ReceiveSnapshot {
        /// The connection.
        conn: ConnId,
        /// Everything up to it is in the snapshot.
        zxid: Zxid,
    },
    /// Replace the tree by the one received. Nobody is being served. Transactions delivered next may already be in it: applying is
    /// idempotent.
    Install {
        /// Everything up to it is in the snapshot.
        zxid: Zxid,
    },
    /// Serve clients in this role from now on. What was to be delivered before has been.
    Role(Role),
    /// The role has ended: stop serving, drop clients, forget what was proposed and not delivered.
    Stopped,
    /// Leader, or follower with observers: a learner forwards a client's request.
    Forwarded {
        /// Its connection.
        learner: ConnId,
        /// Its id.
        from: ServerId,
        /// The payload of REQUEST.
        request: Bytes,
        /// The client's identities.
        auth: Vec<AuthId>,
    },
    /// Leader, or follower with observers: a learner answers a PING with the sessions that it has heard from since its last answer.
    Touched {
        /// Its connection.
        learner: ConnId,
        /// When the PING was sent, on the elapsed clock.
        asked: Duration,
        /// The sessions, with their timeouts in milliseconds.
        sessions: Vec<(SessionId, i32)>,
    },
    /// Leader, or follower with observers: a learner asks whether it may serve this session; answer with `answer_revalidate`.
    Revalidate {
        /// Its connection.
        learner: ConnId,
        /// The session.
        session: SessionId,
        /// Its timeout.
        timeout_ms: i32,
    },
    /// Learner: the leader's answer.
    Revalidated {
        /// The session.
        session: SessionId,
        /// Whether it may be served here.
        valid: bool,
    },
    /// Leader: a sync of one of its own clients is complete; everything it covers has been delivered.
    SyncReleased {
        /// Always [`SyncOrigin::Local`]: a learner is told on its connection.
        origin: SyncOrigin,
    },
    /// Learner: the oldest unanswered sync it forwarded is complete; everything it covers has been delivered.
    SyncAnswered,
    /// Leader, or follower with observers: a learner is gone.
    LearnerLost {
        /// Its connection.
        learner: ConnId,
    },
    /// This configuration is active from now on. Whom to dial, who is answered and where clients are served follows from it; what
    /// keeps it over a restart is [`Write::Membership`], asked for just before.
    Membership(Membership),
}
