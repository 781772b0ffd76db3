//! Payloads about clients that learners and leader exchange: forwarded requests, touched sessions, revalidation.

use crate::jute::{Reader, Writer};
use crate::{DecodeError, SessionId};
use bytes::{Bytes, BytesMut};

/// The payload of REQUEST: a client's request as it is forwarded to the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardedRequest {
    /// Whose request.
    pub session: SessionId,
    /// The client's request id.
    pub cxid: i32,
    /// The opcode on the wire.
    pub op: i32,
    /// The request record, without header.
    pub body: Bytes,
}

impl ForwardedRequest {
    /// The payload's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(16 + self.body.len());
        out.long(self.session.0);
        out.int(self.cxid);
        out.int(self.op);
        out.put(&self.body);
        out.freeze()
    }

    /// Reads the payload; everything after the opcode is the body.
    ///
    /// # Errors
    /// When it is shorter than 16 bytes.
    pub fn decode(data: &Bytes) -> Result<ForwardedRequest, DecodeError> {
        let mut reader = Reader::new(data);
        let session = SessionId(reader.long("request session")?);
        let cxid = reader.int("request cxid")?;
        let op = reader.int("request opcode")?;
        Ok(ForwardedRequest { session, cxid, op, body: data.slice(16..) })
    }
}

/// The question of REVALIDATE: may this session be served by the asking learner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revalidation {
    /// The session.
    pub session: SessionId,
    /// Its negotiated timeout.
    pub timeout_ms: i32,
}

/// The data of a REVALIDATE packet from a learner.
pub fn encode_revalidate_question(question: Revalidation) -> Bytes {
    let mut out = BytesMut::with_capacity(12);
    out.long(question.session.0);
    out.int(question.timeout_ms);
    out.freeze()
}

/// Reads the data of a REVALIDATE packet from a learner.
///
/// # Errors
/// When it is shorter than 12 bytes.
pub fn decode_revalidate_question(data: &[u8]) -> Result<Revalidation, DecodeError> {
    let mut reader = Reader::new(data);
    let session = SessionId(reader.long("revalidate session")?);
    Ok(Revalidation { session, timeout_ms: reader.int("revalidate timeout")? })
}

/// The data of a REVALIDATE packet from the leader.
pub fn encode_revalidate_answer(session: SessionId, valid: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.long(session.0);
    out.boolean(valid);
    out.freeze()
}

/// Reads the data of a REVALIDATE packet from the leader.
///
/// # Errors
/// When it is shorter than 9 bytes.
pub fn decode_revalidate_answer(data: &[u8]) -> Result<(SessionId, bool), DecodeError> {
    let mut reader = Reader::new(data);
    Ok((SessionId(reader.long("revalidate session")?), reader.boolean("revalidate validity")?))
}

/// The data of a learner's PING: the sessions it has heard of since its last one, with their timeouts in milliseconds.
pub fn encode_touched(sessions: impl ExactSizeIterator<Item = (SessionId, i32)>) -> Bytes {
    let mut out = BytesMut::with_capacity(12 * sessions.len());
    for (session, timeout_ms) in sessions {
        out.long(session.0);
        out.int(timeout_ms);
    }
    out.freeze()
}

/// Reads the data of a learner's PING.
///
/// # Errors
/// When it is not a multiple of 12 bytes.
pub fn decode_touched(data: &[u8]) -> Result<Vec<(SessionId, i32)>, DecodeError> {
    let mut reader = Reader::new(data);
    let mut sessions = Vec::with_capacity(data.len() / 12);
    while !reader.is_empty() {
        sessions.push((SessionId(reader.long("touched session")?), reader.int("touched timeout")?));
    }
    Ok(sessions)
}
