//! The election port: one initial message, then notifications.
//!
//! ```text
//! initial       i64 version (-65536 one address, -65535 several), i64 sid, i32 length, address text
//! notification  i32 length, then: i32 state, i64 leader, i64 zxid, i64 round, i64 peerEpoch, i32 version,
//!               i32 length, configuration text
//! ```

use crate::jute::{Reader, Writer};
use crate::{DecodeError, Epoch, ServerId, Zxid};
use bytes::{Bytes, BytesMut};

/// Version of the notifications that 3.5 to 3.9 send: with the sender's committed configuration.
pub const NOTIFICATION_VERSION: i32 = 2;

/// Longest body of a notification (`QuorumCnxManager.PACKETMAXSIZE`).
pub const NOTIFICATION_BYTES_MAX: usize = 524_288;

/// Longest address text of an initial message.
const ADDRESS_BYTES_MAX: i32 = 2048;
const VERSION_ONE_ADDRESS: i64 = -65536;
const VERSION_ADDRESSES: i64 = -65535;

/// What the sender of a notification is doing (`QuorumPeer.ServerState`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ServerState {
    /// Electing.
    Looking = 0,
    /// Voting member behind a leader.
    Following = 1,
    /// The leader.
    Leading = 2,
    /// Non-voting member behind a leader.
    Observing = 3,
}

impl TryFrom<i32> for ServerState {
    type Error = DecodeError;

    fn try_from(value: i32) -> Result<ServerState, DecodeError> {
        match value {
            0 => Ok(ServerState::Looking),
            1 => Ok(ServerState::Following),
            2 => Ok(ServerState::Leading),
            3 => Ok(ServerState::Observing),
            other => Err(DecodeError::value("notification state", other, "0 to 3")),
        }
    }
}

/// A vote on its way to another server. Who sent it is known from the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// What the sender is doing.
    pub state: ServerState,
    /// The server voted for, or followed.
    pub leader: ServerId,
    /// Last logged zxid of the server voted for.
    pub zxid: Zxid,
    /// The election round (`electionEpoch`, `logicalclock`); in memory only.
    pub round: i64,
    /// Current epoch of the server voted for.
    pub peer_epoch: Epoch,
    /// Layout: [`NOTIFICATION_VERSION`]; 0 for the layouts before 3.5.
    pub version: i32,
    /// The sender's committed configuration as text; empty when the layout has none.
    pub config: Bytes,
}

impl Notification {
    /// Appends length and body. Always the layout of [`NOTIFICATION_VERSION`].
    pub fn encode(&self, out: &mut BytesMut) {
        out.count(44 + self.config.len());
        out.int(self.state as i32);
        out.long(self.leader.0);
        out.long(self.zxid.0);
        out.long(self.round);
        out.long(self.peer_epoch.0);
        out.int(NOTIFICATION_VERSION);
        out.buffer(Some(&self.config));
    }

    /// Reads a body (without its length). Bodies of 28 and 40 bytes are those of servers before 3.5.
    ///
    /// # Errors
    /// When it is shorter, the state is unknown, or the configuration is cut off. The message is to be dropped; the
    /// connection may stay (ZOOKEEPER-3769).
    pub fn decode(body: &Bytes) -> Result<Notification, DecodeError> {
        let mut reader = Reader::new(body);
        let state = ServerState::try_from(reader.int("notification state")?)?;
        let leader = ServerId(reader.long("notification leader")?);
        let zxid = Zxid(reader.long("notification zxid")?);
        let round = reader.long("notification round")?;
        let peer_epoch = match body.len() {
            28 => zxid.epoch(),
            _ => Epoch(reader.long("notification peer epoch")?),
        };
        let version = match body.len() {
            28 | 40 => 0,
            _ => reader.int("notification version")?,
        };
        let config = match version > 1 {
            true => body.slice_ref(reader.buffer("notification configuration")?.unwrap_or_default()),
            false => Bytes::new(),
        };
        Ok(Notification { state, leader, zxid, round, peer_epoch, version, config })
    }
}

/// What the connecting side says first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitialMessage {
    /// Who connects.
    pub id: ServerId,
    /// Its election addresses, `host:port` each. ZooKeeper sends one unless `multiAddress.enabled`; none comes only
    /// from servers before 3.5.
    pub addresses: Vec<String>,
}

impl InitialMessage {
    /// Appends the message. It must leave in one segment: Java reads the address with a single call.
    pub fn encode(&self, out: &mut BytesMut) {
        out.long(if self.addresses.len() > 1 { VERSION_ADDRESSES } else { VERSION_ONE_ADDRESS });
        out.long(self.id.0);
        out.string(&self.addresses.join("|"));
    }

    /// Reads the message from the front of `bytes`; `None` when more are needed, else it and its length.
    ///
    /// # Errors
    /// When the version is unknown or the address has an impossible length: close the connection.
    pub fn decode(bytes: &[u8]) -> Result<Option<(InitialMessage, usize)>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let Ok(version) = reader.long("initial version") else { return Ok(None) };
        if version >= 0 {
            return Ok(Some((InitialMessage { id: ServerId(version), addresses: Vec::new() }, 8)));
        }
        if version != VERSION_ONE_ADDRESS && version != VERSION_ADDRESSES {
            return Err(DecodeError::value("initial version", version, "-65536 or -65535"));
        }
        let Ok(id) = reader.long("initial sid") else { return Ok(None) };
        let Ok(length) = reader.int("initial address length") else { return Ok(None) };
        if !(1..=ADDRESS_BYTES_MAX).contains(&length) {
            return Err(DecodeError::Length { field: "initial address", length: length.into() });
        }
        let Ok(text) = reader.take("initial address", length as usize) else { return Ok(None) };
        let addresses = String::from_utf8_lossy(text).split('|').map(str::to_owned).collect();
        Ok(Some((InitialMessage { id: ServerId(id), addresses }, bytes.len() - reader.rest().len())))
    }
}

/// What an election connection held next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElectionMessage {
    /// The connecting side's hello.
    Initial(InitialMessage),
    /// The body of a notification, for [`Notification::decode`].
    Notification(Bytes),
}

/// Incremental decoder of one direction of an election connection.
#[derive(Debug)]
pub struct ElectionDecoder {
    buffer: BytesMut,
    initial_pending: bool,
}

impl ElectionDecoder {
    /// For the accepting side: the initial message comes first.
    pub fn accepting() -> ElectionDecoder {
        ElectionDecoder { buffer: BytesMut::new(), initial_pending: true }
    }

    /// For the connecting side: only notifications come back.
    pub fn connecting() -> ElectionDecoder {
        ElectionDecoder { buffer: BytesMut::new(), initial_pending: false }
    }

    /// Appends bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether every byte fed has been returned.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next message; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the stream cannot be resumed: close it.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<ElectionMessage>, DecodeError> {
        if self.initial_pending {
            let Some((message, length)) = InitialMessage::decode(&self.buffer)? else { return Ok(None) };
            let _ = self.buffer.split_to(length);
            self.initial_pending = false;
            return Ok(Some(ElectionMessage::Initial(message)));
        }
        let Some(length) = self.buffer.first_chunk().map(|chunk| i32::from_be_bytes(*chunk)) else { return Ok(None) };
        if length < 1 || length as usize > NOTIFICATION_BYTES_MAX {
            return Err(DecodeError::Length { field: "notification", length: length.into() });
        }
        let end = 4 + length as usize;
        if self.buffer.len() < end {
            return Ok(None);
        }
        Ok(Some(ElectionMessage::Notification(self.buffer.split_to(end).freeze().slice(4..))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_of_every_length_are_read_or_refused_but_never_panic() {
        let notification = Notification {
            state: ServerState::Looking,
            leader: ServerId(i64::MIN),
            zxid: Zxid::new(Epoch(4), 2),
            round: 9,
            peer_epoch: Epoch(7),
            version: NOTIFICATION_VERSION,
            config: Bytes::from_static(b"version=0"),
        };
        let mut out = BytesMut::new();
        notification.encode(&mut out);
        let body = out.freeze().slice(4..);
        assert_eq!(Notification::decode(&body), Ok(notification.clone()));
        for length in 0..body.len() {
            let read = Notification::decode(&body.slice(..length));
            let expected = match length {
                28 => Some(Notification {
                    peer_epoch: Epoch(4),
                    version: 0,
                    config: Bytes::new(),
                    ..notification.clone()
                }),
                40 => Some(Notification { version: 0, config: Bytes::new(), ..notification.clone() }),
                _ => None,
            };
            assert_eq!(read.ok(), expected, "length {length}");
        }
    }

    #[test]
    fn an_initial_message_is_read_in_any_layout() {
        for addresses in [vec!["127.0.0.1:3888".to_owned()], vec!["a:1".to_owned(), "[::1]:2".to_owned()]] {
            let message = InitialMessage { id: ServerId(3), addresses };
            let mut out = BytesMut::new();
            message.encode(&mut out);
            for length in 0..out.len() {
                assert_eq!(InitialMessage::decode(&out[..length]), Ok(None));
            }
            assert_eq!(InitialMessage::decode(&out), Ok(Some((message, out.len()))));
        }
        let old = InitialMessage { id: ServerId(2), addresses: vec![] };
        assert_eq!(InitialMessage::decode(&2i64.to_be_bytes()), Ok(Some((old, 8))));
        assert!(InitialMessage::decode(&(-7i64).to_be_bytes()).is_err());
    }

    #[test]
    fn an_impossible_frame_length_is_refused() {
        for length in [0, -1, NOTIFICATION_BYTES_MAX as i32 + 1] {
            let mut decoder = ElectionDecoder::connecting();
            decoder.feed(&length.to_be_bytes());
            assert_eq!(decoder.next(), Err(DecodeError::Length { field: "notification", length: length.into() }));
        }
    }
}
