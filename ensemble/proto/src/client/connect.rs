//! The first frame each way.

use crate::jute::{Reader, Writer};
use crate::{DecodeError, SessionId, Zxid};

/// Bytes of a session's password.
pub const PASSWORD_BYTES: usize = 16;

/// A client asks for a new session, or for the one it had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectRequest<'a> {
    /// The newest transaction that the client has seen; a server behind it must not serve the client.
    pub last_zxid_seen: Zxid,
    /// Wanted session timeout in ms; the server clamps it.
    pub timeout_ms: i32,
    /// The session to re-attach, or zero for a new one.
    pub session: SessionId,
    /// The session's password; anything for a new one.
    pub password: &'a [u8],
    /// Whether a read-only server will do. `None` when the byte is missing (go-zk, clients before 3.4): the response
    /// must then omit it too.
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Reads the record; the protocol version is ignored, as in Java.
    ///
    /// # Errors
    /// When the frame ends before the password does.
    pub fn decode(reader: &mut Reader<'a>) -> Result<ConnectRequest<'a>, DecodeError> {
        reader.int("connect.protocolVersion")?;
        Ok(ConnectRequest {
            last_zxid_seen: Zxid(reader.long("connect.lastZxidSeen")?),
            timeout_ms: reader.int("connect.timeOut")?,
            session: SessionId(reader.long("connect.sessionId")?),
            password: reader.buffer("connect.passwd")?.unwrap_or_default(),
            read_only: if reader.is_empty() { None } else { Some(reader.boolean("connect.readOnly")?) },
        })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.int(0);
        out.long(self.last_zxid_seen.0);
        out.int(self.timeout_ms);
        out.long(self.session.0);
        out.buffer(Some(self.password));
        if let Some(read_only) = self.read_only {
            out.boolean(read_only);
        }
    }
}

/// The server grants a session, or says that it has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectResponse {
    /// Negotiated timeout in ms; zero when the session has ended.
    pub timeout_ms: i32,
    /// The session; zero when it has ended.
    pub session: SessionId,
    /// Its password; zeros when it has ended. Always 16 bytes: the C client reads a block of fixed size.
    pub password: [u8; PASSWORD_BYTES],
    /// Whether this server is read-only; `None` when the request had no such byte.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// The answer to a client whose session has ended. Clients look at different fields, so all of them are zero.
    pub fn expired(read_only: Option<bool>) -> ConnectResponse {
        ConnectResponse { timeout_ms: 0, session: SessionId(0), password: [0; PASSWORD_BYTES], read_only }
    }

    /// The answer to a client that has its session.
    pub fn granted(session: SessionId, timeout_ms: i32, read_only: Option<bool>) -> ConnectResponse {
        ConnectResponse { timeout_ms, session, password: password(session), read_only }
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.int(0);
        out.int(self.timeout_ms);
        out.long(self.session.0);
        out.buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            out.boolean(read_only);
        }
    }

    /// Reads the record.
    ///
    /// # Errors
    /// When the bytes end early, or the password has not 16 bytes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<ConnectResponse, DecodeError> {
        reader.int("connect.protocolVersion")?;
        let timeout_ms = reader.int("connect.timeOut")?;
        let session = SessionId(reader.long("connect.sessionId")?);
        let password = reader.buffer("connect.passwd")?.unwrap_or_default();
        let password = password
            .try_into()
            .map_err(|_| DecodeError::Length { field: "connect.passwd", length: password.len() as i64 })?;
        let read_only = if reader.is_empty() { None } else { Some(reader.boolean("connect.readOnly")?) };
        Ok(ConnectResponse { timeout_ms, session, password, read_only })
    }
}

/// The password of a session: the first 16 bytes of `java.util.Random` seeded with the id and a constant
/// (`ZooKeeperServer.generatePasswd`). It guards against mistakes, it is no secret; every server can compute it, so a client
/// can move between ours and Apache's.
pub fn password(session: SessionId) -> [u8; PASSWORD_BYTES] {
    const SUPER_SECRET: i64 = 0xb341_5c00;
    const MULTIPLIER: u64 = 0x5_deec_e66d;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = ((session.0 ^ SUPER_SECRET) as u64 ^ MULTIPLIER) & MASK;
    let mut bytes = [0; PASSWORD_BYTES];
    for word in bytes.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xb) & MASK;
        word.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    bytes
}
