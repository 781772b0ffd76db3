//! The client port's bytes (`zookeeper.jute`, module `proto`).
//!
//! A message in either direction is a *frame*: an `int` length, then so many bytes. The first frame of a connection is
//! a [`ConnectRequest`], answered by a [`ConnectResponse`]; every later request is a [`RequestHeader`] and a record of
//! its [`OpCode`], every reply a [`ReplyHeader`] and, if it succeeded, a body. A watch event is a reply nobody asked for.
//!
//! ```text
//! request   length:int │ xid:int  type:int           │ record
//! reply     length:int │ xid:int  zxid:long  err:int │ body, when err is 0 and the operation has one
//! event     length:int │ -1       zxid:long  0       │ type:int  state:int  path:ustring
//! ```
//!
//! Requests borrow from their frame: decoding one allocates nothing but the spine of a vector. Records that both sides
//! need are encoded as well as decoded, so that clients and simulations speak through the same code.

mod connect;
mod event;
mod identity;
mod multi;
mod multi_read;
mod op;
mod request;

pub use connect::{ConnectRequest, ConnectResponse, PASSWORD_BYTES, password};
pub use event::{EventType, WatcherEvent};
pub use identity::digest_id;
pub use multi::{MultiOp, MultiRequest, MultiResult};
pub use multi_read::MultiReadRequest;
pub use op::OpCode;
pub use request::{
    AclEntry, AddWatchMode, AuthRequest, CheckRequest, CreateFlags, CreateRequest, CreateTtlRequest, DeleteRequest,
    PathRequest, ReadRequest, SetAclRequest, SetDataRequest, SetWatches, SetWatches2, WatchRequest, WatcherType,
};

use crate::jute::{Reader, Writer};
use crate::{DecodeError, ErrorCode, Zxid};
use std::borrow::Cow;

/// Names of request numbers that mean something themselves.
pub mod xid {
    /// A watch event.
    pub const NOTIFICATION: i32 = -1;
    /// A ping, and always its answer.
    pub const PING: i32 = -2;
    /// An auth packet of most clients.
    pub const AUTH: i32 = -4;
    /// A setWatches of most clients.
    pub const SET_WATCHES: i32 = -8;
}

/// The default of `jute.maxbuffer`: the longest frame that a server takes.
pub const FRAME_BYTES_MAX: usize = 0xf_ffff;

/// Begins every request but the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// Echoed by the reply; special values in [`xid`].
    pub xid: i32,
    /// The opcode as sent, possibly none that we know.
    pub op: i32,
}

impl RequestHeader {
    /// Encoded size.
    pub const BYTES: usize = 8;

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.int(self.xid);
        out.int(self.op);
    }

    /// Reads the record.
    ///
    /// # Errors
    /// When the frame is shorter than the header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<RequestHeader, DecodeError> {
        Ok(RequestHeader { xid: reader.int("header.xid")?, op: reader.int("header.type")? })
    }
}

/// Begins every reply but the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyHeader {
    /// The request's xid; [`xid::PING`] for every ping.
    pub xid: i32,
    /// The last transaction applied when the reply was made.
    pub zxid: Zxid,
    /// The answer; a body follows only [`ErrorCode::OK`].
    pub error: ErrorCode,
}

impl ReplyHeader {
    /// Encoded size.
    pub const BYTES: usize = 16;

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.int(self.xid);
        out.long(self.zxid.0);
        out.int(self.error.0);
    }

    /// Reads the record.
    ///
    /// # Errors
    /// When the frame is shorter than the header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<ReplyHeader, DecodeError> {
        Ok(ReplyHeader {
            xid: reader.int("reply.xid")?,
            zxid: Zxid(reader.long("reply.zxid")?),
            error: ErrorCode(reader.int("reply.err")?),
        })
    }
}

/// Appends one frame: the length of what `write` appends, then that.
///
/// # Panics
/// When `write` appends more than 2^31-1 bytes, which no limit of this project allows.
pub fn frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.reserve(FRAME_BYTES_USUAL);
    out.int(0);
    write(out);
    let length = i32::try_from(out.len() - start - 4).expect("a frame fits 31 bits: every limit is far below");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Room that is made for a frame at once: most are shorter.
const FRAME_BYTES_USUAL: usize = 128;

/// Appends one framed reply: header, then what `body` appends.
pub fn reply(out: &mut Vec<u8>, xid: i32, zxid: Zxid, error: ErrorCode, body: impl FnOnce(&mut Vec<u8>)) {
    frame(out, |out| {
        ReplyHeader { xid, zxid, error }.encode(out);
        body(out);
    });
}

/// Appends one framed request: header, then what `record` appends.
pub fn request(out: &mut Vec<u8>, xid: i32, op: OpCode, record: impl FnOnce(&mut Vec<u8>)) {
    frame(out, |out| {
        RequestHeader { xid, op: op.code() }.encode(out);
        record(out);
    });
}

/// A nullable string without a copy; malformed UTF-8 becomes U+FFFD, as in Java.
fn nullable_text<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<Option<Cow<'a, str>>, DecodeError> {
    Ok(reader.buffer(field)?.map(String::from_utf8_lossy))
}

/// A string without a copy; null reads as empty (kazoo writes the empty string as null).
fn text<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<Cow<'a, str>, DecodeError> {
    Ok(nullable_text(reader, field)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
