//! [`QuorumPacket`] and the payloads of the handshake.

use crate::jute::{Reader, Writer};
use crate::{DecodeError, ServerId, Zxid};
use bytes::{Bytes, BytesMut};

/// The only handshake spoken: ZAB 1.0 (`LearnerInfo.protocolVersion`, LEADERINFO's data).
pub const PROTOCOL_VERSION: i32 = 0x10000;

/// Most authentication ids that one forwarded request may carry; a packet with more is refused.
pub const AUTH_IDS_MAX: usize = 4096;

macro_rules! packet_types {
    ($($(#[$doc:meta])* $name:ident = $value:literal),* $(,)?) => {
        /// What a [`QuorumPacket`] is (`Leader.java`).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum PacketType {
            $($(#[$doc])* $name = $value),*
        }

        impl TryFrom<i32> for PacketType {
            type Error = DecodeError;

            fn try_from(value: i32) -> Result<PacketType, DecodeError> {
                match value {
                    $($value => Ok(PacketType::$name),)*
                    other => Err(DecodeError::value("packet type", other, "a type between 1 and 19")),
                }
            }
        }
    };
}

packet_types! {
    /// Learner to leader: a client's write or sync.
    Request = 1,
    /// Leader to follower: a transaction to log and acknowledge.
    Proposal = 2,
    /// Follower to leader: everything up to the zxid is durable.
    Ack = 3,
    /// Leader to follower: the transaction may be applied.
    Commit = 4,
    /// Both directions: liveness; the answer carries the sessions touched since the last one.
    Ping = 5,
    /// Both directions: is this session alive, and may it be served here.
    Revalidate = 6,
    /// Leader to learner: the oldest unanswered sync of this learner is complete.
    Sync = 7,
    /// Leader to observer: a committed transaction.
    Inform = 8,
    /// Leader to follower: commit of a reconfiguration, with the leader it designates.
    CommitAndActivate = 9,
    /// Leader to learner: the synchronisation is complete; make it durable.
    NewLeader = 10,
    /// Follower to leader: its hello.
    FollowerInfo = 11,
    /// Leader to learner: a quorum has acknowledged the new leader; serve.
    UpToDate = 12,
    /// Leader to learner: keep your log; what it lacks follows.
    Diff = 13,
    /// Leader to learner: drop every record after the zxid; what the log then lacks follows.
    Trunc = 14,
    /// Leader to learner: a snapshot stream follows and replaces everything.
    Snap = 15,
    /// Observer to leader: its hello.
    ObserverInfo = 16,
    /// Leader to learner: the epoch that it proposes.
    LeaderInfo = 17,
    /// Learner to leader: the epoch is accepted; current epoch and last logged zxid of the learner.
    AckEpoch = 18,
    /// Leader to observer: a committed reconfiguration, with the leader it designates.
    InformAndActivate = 19,
}

/// Who a client has proved to be: an authentication scheme and its id (`org.apache.zookeeper.data.Id`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AuthId {
    /// `digest`, `ip`, `x509`, ...
    pub scheme: String,
    /// The id within the scheme.
    pub id: String,
}

/// One message on the quorum port (`zookeeper.jute`, `QuorumPacket`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumPacket {
    /// What it is.
    pub kind: PacketType,
    /// Meaning depends on the type; -1 where it has none.
    pub zxid: Zxid,
    /// Payload; `None` is jute's null, which is not the same as empty.
    pub data: Option<Bytes>,
    /// A forwarded client's identities; empty is written as null, as ZooKeeper does.
    pub authinfo: Vec<AuthId>,
}

impl QuorumPacket {
    /// A packet without payload.
    pub fn new(kind: PacketType, zxid: Zxid) -> QuorumPacket {
        QuorumPacket { kind, zxid, data: None, authinfo: Vec::new() }
    }

    /// A packet with payload.
    pub fn with_data(kind: PacketType, zxid: Zxid, data: Bytes) -> QuorumPacket {
        QuorumPacket { kind, zxid, data: Some(data), authinfo: Vec::new() }
    }

    /// The payload, empty if null.
    pub fn payload(&self) -> &[u8] {
        self.data.as_deref().unwrap_or_default()
    }

    /// Bytes that [`QuorumPacket::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        let auth: usize = self.authinfo.iter().map(|auth| 8 + auth.scheme.len() + auth.id.len()).sum();
        4 + 8 + 4 + self.payload().len() + 4 + auth
    }

    /// Appends the packet's bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(self.encoded_len());
        out.int(self.kind as i32);
        out.long(self.zxid.0);
        out.buffer(self.data.as_deref());
        if self.authinfo.is_empty() {
            out.int(-1);
            return;
        }
        out.count(self.authinfo.len());
        for auth in &self.authinfo {
            out.string(&auth.scheme);
            out.string(&auth.id);
        }
    }
}

/// The payload of FOLLOWERINFO and OBSERVERINFO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LearnerInfo {
    /// The learner's id.
    pub id: ServerId,
    /// [`PROTOCOL_VERSION`], or an older one that is not spoken.
    pub protocol_version: i32,
    /// Version of the learner's committed configuration.
    pub config_version: Zxid,
}

impl LearnerInfo {
    /// The payload's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(20);
        out.long(self.id.0);
        out.int(self.protocol_version);
        out.long(self.config_version.0);
        out.freeze()
    }

    /// Reads the payload. One without a configuration version (before 3.5) reads as version 0.
    ///
    /// # Errors
    /// When id or protocol version are missing.
    pub fn decode(data: &[u8]) -> Result<LearnerInfo, DecodeError> {
        let mut reader = Reader::new(data);
        let id = ServerId(reader.long("learner id")?);
        let protocol_version = reader.int("learner protocol version")?;
        let config_version = match reader.is_empty() {
            true => Zxid::ZERO,
            false => Zxid(reader.long("learner configuration version")?),
        };
        Ok(LearnerInfo { id, protocol_version, config_version })
    }
}
