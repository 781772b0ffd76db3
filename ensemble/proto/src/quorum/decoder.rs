//! Cuts the byte stream of the quorum port into packets and snapshot streams.
//!
//! Neither has a length in front. A packet's end follows from its own fields; a snapshot's end is found by walking its
//! records (`SerializeUtils.serializeSnapshot`), without understanding them:
//!
//! ```text
//! sessions   i32 count, count x (i64 session, i32 timeout)
//! ACL table  i32 count, count x (i64 index, vector<(i32 perms, ustring scheme, ustring id)>)
//! nodes      repeat: ustring path, buffer data, i64 acl index, 60 bytes of StatPersisted
//! end        ustring "/"
//! signature  ustring "BenWasHere"
//! ```
//!
//! A snapshot is handed on as it arrives, in parts of whole elements: a count, a session, an ACL list, a node. What is kept is the
//! element that has not arrived entirely.

use super::packet::{AUTH_IDS_MAX, AuthId, PacketType, QuorumPacket};
use crate::{DecodeError, Zxid};
use bytes::{Bytes, BytesMut};

/// Ends a snapshot stream (`LearnerHandler.java`).
pub const SNAPSHOT_SIGNATURE: &str = "BenWasHere";

/// Longest path, scheme or id that a snapshot stream may hold.
const SNAPSHOT_TEXT_BYTES_MAX: usize = 4 << 20;

/// What the stream held next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// A packet.
    Packet(QuorumPacket),
    /// A part of the snapshot that followed a SNAP packet, of whole elements: all parts together are sessions, ACL table and nodes up
    /// to the terminating "/".
    SnapshotPart(Bytes),
    /// The snapshot is complete: the signature was there.
    SnapshotEnd,
}

/// Incremental decoder of one direction of a quorum connection.
#[derive(Debug)]
pub struct PacketDecoder {
    buffer: BytesMut,
    packet_bytes_max: usize,
    snapshot_bytes_max: usize,
    snapshot: Option<SnapshotWalk>,
}

impl PacketDecoder {
    /// A packet or an element of a snapshot longer than `packet_bytes_max`, or a snapshot longer than `snapshot_bytes_max`, is an
    /// error. A leader's
    /// side passes 0 as `snapshot_bytes_max`: learners never send snapshots.
    pub fn new(packet_bytes_max: usize, snapshot_bytes_max: usize) -> PacketDecoder {
        PacketDecoder { buffer: BytesMut::new(), packet_bytes_max, snapshot_bytes_max, snapshot: None }
    }

    /// Appends bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether a snapshot stream has begun and not ended. Its bytes are a sign of life of the sender.
    pub fn in_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Whether every byte fed has been returned in some [`Decoded`].
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.snapshot.is_none()
    }

    /// The next packet or snapshot; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the bytes cannot be a packet or snapshot, or exceed a limit. The stream cannot be resumed: close it.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Decoded>, DecodeError> {
        if let Some(walk) = &mut self.snapshot {
            let limits = SnapshotLimits { whole: self.snapshot_bytes_max, element: self.packet_bytes_max };
            return match walk.advance(&self.buffer, limits)? {
                Advance::Wait => Ok(None),
                Advance::Part { end } => Ok(Some(Decoded::SnapshotPart(self.buffer.split_to(end).freeze()))),
                Advance::End { signature_end } => {
                    self.snapshot = None;
                    let _ = self.buffer.split_to(signature_end);
                    Ok(Some(Decoded::SnapshotEnd))
                }
            };
        }
        let Some(packet) = self.next_packet()? else { return Ok(None) };
        if packet.kind == PacketType::Snap {
            if self.snapshot_bytes_max == 0 {
                return Err(DecodeError::value("packet type", "SNAP", "a type that a learner sends"));
            }
            self.snapshot = Some(SnapshotWalk::default());
        }
        Ok(Some(Decoded::Packet(packet)))
    }

    fn next_packet(&mut self) -> Result<Option<QuorumPacket>, DecodeError> {
        let mut cursor = Cursor { bytes: &self.buffer, at: 0 };
        let Some(kind) = cursor.int() else { return Ok(None) };
        let kind = PacketType::try_from(kind)?;
        let Some(zxid) = cursor.long() else { return Ok(None) };
        let Some(data) = cursor.buffer("packet data", self.packet_bytes_max)? else { return Ok(None) };
        let data = data.map(|range| (range.start, range.end));
        let Some(count) = cursor.int() else { return Ok(None) };
        if count > AUTH_IDS_MAX as i32 || count < -1 {
            return Err(DecodeError::Length { field: "packet authinfo", length: count.into() });
        }
        let mut authinfo = Vec::new();
        for _ in 0..count {
            let Some(scheme) = cursor.text("auth scheme", self.packet_bytes_max)? else { return Ok(None) };
            let Some(id) = cursor.text("auth id", self.packet_bytes_max)? else { return Ok(None) };
            authinfo.push(AuthId { scheme, id });
        }
        let end = cursor.at;
        let bytes = self.buffer.split_to(end).freeze();
        let data = data.map(|(start, end)| bytes.slice(start..end));
        Ok(Some(QuorumPacket { kind, zxid: Zxid(zxid), data, authinfo }))
    }
}

/// Reads fields whose bytes may not have arrived yet: `None` is "not yet".
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, count: usize) -> Option<std::ops::Range<usize>> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len())?;
        let range = self.at..end;
        self.at = end;
        Some(range)
    }

    fn int(&mut self) -> Option<i32> {
        let range = self.take(4)?;
        self.bytes[range].first_chunk().map(|chunk| i32::from_be_bytes(*chunk))
    }

    fn long(&mut self) -> Option<i64> {
        let range = self.take(8)?;
        self.bytes[range].first_chunk().map(|chunk| i64::from_be_bytes(*chunk))
    }

    /// Outer `None`: not yet. Inner `None`: jute's null.
    fn buffer(
        &mut self,
        field: &'static str,
        bytes_max: usize,
    ) -> Result<Option<Option<std::ops::Range<usize>>>, DecodeError> {
        match self.int() {
            None => Ok(None),
            Some(-1) => Ok(Some(None)),
            Some(length) if length < 0 || length as usize > bytes_max => {
                Err(DecodeError::Length { field, length: length.into() })
            }
            Some(length) => Ok(self.take(length as usize).map(Some)),
        }
    }

    fn text(&mut self, field: &'static str, bytes_max: usize) -> Result<Option<String>, DecodeError> {
        let range = self.buffer(field, bytes_max)?;
        Ok(range.map(|range| String::from_utf8_lossy(&self.bytes[range.unwrap_or(0..0)]).into_owned()))
    }
}

/// Where the walk through a snapshot stands, at the beginning of the buffer.
#[derive(Debug, Default)]
struct SnapshotWalk {
    part: Part,
    /// Bytes handed on.
    taken: usize,
}

#[derive(Clone, Copy)]
struct SnapshotLimits {
    whole: usize,
    element: usize,
}

#[derive(Debug, Default, Clone, Copy)]
enum Part {
    #[default]
    SessionCount,
    Sessions(i32),
    AclCount,
    Acls(i32),
    Nodes,
    Signature,
}

enum Advance {
    /// No element has arrived entirely.
    Wait,
    /// Whole elements up to `end`.
    Part { end: usize },
    /// The signature, up to `signature_end`.
    End { signature_end: usize },
}

impl SnapshotWalk {
    fn advance(&mut self, bytes: &[u8], limits: SnapshotLimits) -> Result<Advance, DecodeError> {
        let mut cursor = Cursor { bytes, at: 0 };
        let mut end = 0;
        loop {
            // The signature is none of the parts.
            if matches!(self.part, Part::Signature) && end > 0 {
                break;
            }
            let Some(step) = self.part.step(&mut cursor, limits.element)? else { break };
            match step {
                Step::Continue(part) => (self.part, end) = (part, cursor.at),
                Step::End => return Ok(Advance::End { signature_end: cursor.at }),
            }
        }
        self.taken = self.taken.saturating_add(end);
        if self.taken > limits.whole {
            return Err(DecodeError::Length { field: "snapshot", length: self.taken as i64 });
        }
        if end == 0 && bytes.len() > limits.element {
            return Err(DecodeError::Length { field: "snapshot element", length: bytes.len() as i64 });
        }
        Ok(if end > 0 { Advance::Part { end } } else { Advance::Wait })
    }
}

enum Step {
    Continue(Part),
    End,
}

impl Part {
    /// Reads one element; `None` when it has not fully arrived.
    fn step(self, cursor: &mut Cursor<'_>, element_bytes_max: usize) -> Result<Option<Step>, DecodeError> {
        let next = match self {
            Part::SessionCount => match count(cursor, "snapshot sessions")? {
                Some(count) => Part::Sessions(count),
                None => return Ok(None),
            },
            Part::Sessions(0) => Part::AclCount,
            Part::Sessions(left) => match cursor.take(8 + 4) {
                Some(_) => Part::Sessions(left - 1),
                None => return Ok(None),
            },
            Part::AclCount => match count(cursor, "snapshot ACL table")? {
                Some(count) => Part::Acls(count),
                None => return Ok(None),
            },
            Part::Acls(0) => Part::Nodes,
            Part::Acls(left) => match acl_entry(cursor)? {
                Some(()) => Part::Acls(left - 1),
                None => return Ok(None),
            },
            Part::Nodes => match node(cursor, element_bytes_max)? {
                Some(true) => Part::Nodes,
                Some(false) => Part::Signature,
                None => return Ok(None),
            },
            Part::Signature => match cursor.text("snapshot signature", SNAPSHOT_TEXT_BYTES_MAX)? {
                Some(text) if text == SNAPSHOT_SIGNATURE => return Ok(Some(Step::End)),
                Some(text) => return Err(DecodeError::value("snapshot signature", text, SNAPSHOT_SIGNATURE)),
                None => return Ok(None),
            },
        };
        Ok(Some(Step::Continue(next)))
    }
}

fn count(cursor: &mut Cursor<'_>, field: &'static str) -> Result<Option<i32>, DecodeError> {
    match cursor.int() {
        Some(count) if count < 0 => Err(DecodeError::Length { field, length: count.into() }),
        other => Ok(other),
    }
}

fn acl_entry(cursor: &mut Cursor<'_>) -> Result<Option<()>, DecodeError> {
    if cursor.take(8).is_none() {
        return Ok(None);
    }
    let Some(count) = cursor.int() else { return Ok(None) };
    for _ in 0..count {
        if cursor.take(4).is_none() {
            return Ok(None);
        }
        for field in ["ACL scheme", "ACL id"] {
            if cursor.buffer(field, SNAPSHOT_TEXT_BYTES_MAX)?.is_none() {
                return Ok(None);
            }
        }
    }
    Ok(Some(()))
}

/// `Some(false)` is the terminator.
fn node(cursor: &mut Cursor<'_>, data_bytes_max: usize) -> Result<Option<bool>, DecodeError> {
    let Some(path) = cursor.buffer("snapshot path", SNAPSHOT_TEXT_BYTES_MAX)? else { return Ok(None) };
    if path.is_some_and(|range| &cursor.bytes[range] == b"/") {
        return Ok(Some(false));
    }
    let Some(_) = cursor.buffer("snapshot znode", data_bytes_max)? else { return Ok(None) };
    Ok(cursor.take(8 + 60).map(|_| true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::Writer;

    fn stream() -> Vec<u8> {
        let mut out = Vec::new();
        out.int(1);
        out.long(7);
        out.int(4000);
        out.int(1);
        out.long(1);
        out.int(1);
        out.int(31);
        out.string("world");
        out.string("anyone");
        for path in ["", "/a"] {
            out.string(path);
            out.buffer(None);
            out.long(1);
            out.put(&[0; 60]);
        }
        out.string("/");
        out
    }

    fn with_signature(signature: &str) -> Vec<u8> {
        let mut out = BytesMut::new();
        QuorumPacket::new(PacketType::Snap, Zxid(9)).encode(&mut out);
        let mut bytes = out.to_vec();
        bytes.put(&stream());
        bytes.string(signature);
        QuorumPacket::with_data(PacketType::NewLeader, Zxid(1 << 32), Bytes::from_static(b"x")).encode(&mut out);
        bytes.put(&out[20..]);
        bytes
    }

    #[test]
    fn a_snapshot_ends_where_its_records_end_however_it_is_cut() {
        let bytes = with_signature(SNAPSHOT_SIGNATURE);
        for piece in [1, 2, 7, 64, bytes.len()] {
            let mut decoder = PacketDecoder::new(1024, 4096);
            let (mut parts, mut kinds, mut ends) = (Vec::new(), Vec::new(), 0);
            for chunk in bytes.chunks(piece) {
                decoder.feed(chunk);
                while let Some(decoded) = decoder.next().unwrap() {
                    match decoded {
                        Decoded::Packet(packet) => kinds.push(packet.kind),
                        Decoded::SnapshotPart(part) => parts.push(part),
                        Decoded::SnapshotEnd => ends += 1,
                    }
                }
                assert!(decoder.buffer.len() < 128, "no more is kept than an element");
            }
            assert!(decoder.is_empty());
            assert_eq!((kinds, ends), (vec![PacketType::Snap, PacketType::NewLeader], 1));
            assert_eq!(parts.concat(), stream());
            assert_eq!(parts.len() > 1, piece < bytes.len());
        }
    }

    #[test]
    fn an_element_is_as_long_as_a_packet_at_most() {
        let mut bytes = with_signature(SNAPSHOT_SIGNATURE)[..20].to_vec();
        bytes.int(0);
        bytes.int(1);
        bytes.long(1);
        bytes.int(i32::MAX);
        let mut decoder = PacketDecoder::new(1024, 1 << 20);
        decoder.feed(&bytes);
        decoder.next().unwrap();
        assert!(matches!(decoder.next(), Ok(Some(Decoded::SnapshotPart(counts))) if counts.len() == 8));
        for _ in 0..100 {
            decoder.feed(&[0; 10]);
        }
        assert_eq!(decoder.next(), Ok(None));
        decoder.feed(&[0; 100]);
        assert!(matches!(decoder.next(), Err(DecodeError::Length { field: "snapshot element", .. })));
    }

    #[test]
    fn a_wrong_signature_is_refused() {
        let mut decoder = PacketDecoder::new(1024, 4096);
        decoder.feed(&with_signature("BenWasNot!"));
        decoder.next().unwrap();
        assert!(matches!(decoder.next(), Ok(Some(Decoded::SnapshotPart(_)))));
        assert_eq!(decoder.next(), Err(DecodeError::value("snapshot signature", "BenWasNot!", SNAPSHOT_SIGNATURE)));
    }

    #[test]
    fn limits_are_enforced_before_the_bytes_arrive() {
        let mut decoder = PacketDecoder::new(1024, 100);
        let mut bytes = Vec::new();
        bytes.int(2);
        bytes.long(1);
        bytes.int(1025);
        decoder.feed(&bytes);
        assert_eq!(decoder.next(), Err(DecodeError::Length { field: "packet data", length: 1025 }));

        let mut decoder = PacketDecoder::new(1024, 100);
        decoder.feed(&with_signature(SNAPSHOT_SIGNATURE));
        decoder.next().unwrap();
        assert!(matches!(decoder.next(), Err(DecodeError::Length { field: "snapshot", .. })));

        let mut decoder = PacketDecoder::new(1024, 0);
        decoder.feed(&with_signature(SNAPSHOT_SIGNATURE));
        assert!(decoder.next().is_err(), "a leader takes no snapshot");

        let mut decoder = PacketDecoder::new(1024, 0);
        decoder.feed(&20i32.to_be_bytes());
        assert!(decoder.next().is_err(), "an unknown type is refused at its first four bytes");
    }
}
