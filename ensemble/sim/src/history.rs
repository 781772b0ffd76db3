//! What the clients saw: every request with its reply, and every connection's stream of replies and events.

use crate::model::Answer;
use crate::request::Request;
use ensemble_proto::client::{EventType, MultiResult, ReplyHeader};
use ensemble_proto::jute::Reader;
use ensemble_proto::{DecodeError, ErrorCode, SessionId, Stat, Zxid};
use std::fmt;
use std::time::Duration;

/// One request.
#[derive(Clone, Debug)]
pub struct Op {
    /// The session that sent it.
    pub session: SessionId,
    /// Ascending within a session, across its connections.
    pub xid: i32,
    /// Names the connection.
    pub stream: usize,
    /// What was asked.
    pub request: Request,
    /// When it was sent.
    pub invoked: Duration,
    /// Whether a server without a leader was asked.
    pub is_read_only: bool,
    /// The reply; `None` when the connection was lost before.
    pub reply: Option<Reply>,
}

impl fmt::Display for Op {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} xid {}: {:?}", self.session, self.xid, self.request)
    }
}

/// A reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// When it arrived.
    pub at: Duration,
    /// The state that it was made from.
    pub zxid: Zxid,
    /// What it says.
    pub answer: Answer,
}

/// What a connection carried, in order.
#[derive(Clone, Debug)]
pub enum Item {
    /// The reply to the op with this index.
    Reply(usize),
    /// The answer to a ping.
    Pong(Zxid),
    /// A watch event.
    Event {
        /// The transaction that fired it; [`Zxid::NONE`] for what setWatches found.
        zxid: Zxid,
        /// What happened.
        kind: EventType,
        /// Where.
        path: String,
    },
}

/// Everything, in the order in which it was observed.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// All requests, in the order in which they were sent.
    pub ops: Vec<Op>,
    /// The connections.
    pub streams: Vec<Vec<Item>>,
}

/// Reads the body that follows a reply's header.
///
/// # Errors
/// When the bytes are not what the request's reply must be.
pub fn decode_answer(request: &Request, header: ReplyHeader, body: &mut Reader<'_>) -> Result<Answer, DecodeError> {
    let answer = match request {
        Request::Multi(_) if header.error.is_ok() => Answer::Multi(MultiResult::decode_all(body)?),
        _ if !header.error.is_ok() => Answer::Error(header.error),
        Request::Create { with_stat: false, .. } => Answer::Path(body.string("path")?),
        Request::Create { .. } => Answer::PathAndStat(body.string("path")?, Stat::decode(body)?),
        Request::SetData { .. } | Request::Exists { .. } => Answer::Stat(Stat::decode(body)?),
        Request::GetData { .. } => {
            let data = body.buffer("data")?.unwrap_or_default().to_vec();
            Answer::Data(data, Stat::decode(body)?)
        }
        Request::GetChildren { .. } => {
            let names = body.vector("children", 4, |names| names.string("name"))?.unwrap_or_default();
            Answer::Children(names.into_iter().collect(), Stat::decode(body)?)
        }
        Request::Reconfig { .. } => {
            let data = body.buffer("data")?.unwrap_or_default().to_vec();
            let stat = Stat::decode(body)?;
            if (stat.version, stat.mzxid) != (-1, header.zxid) {
                return Err(DecodeError::value(
                    "reconfig.stat",
                    format!("{stat:?}"),
                    "version -1 and the reply's mzxid",
                ));
            }
            Answer::Configuration(String::from_utf8_lossy(&data).into_owned())
        }
        Request::Sync => {
            body.string("path")?;
            Answer::Done
        }
        Request::Delete { .. }
        | Request::Check { .. }
        | Request::SetWatches { .. }
        | Request::Close
        | Request::Multi(_) => Answer::Done,
    };
    if body.is_empty() {
        return Ok(answer);
    }
    Err(DecodeError::value("reply", format!("{} more bytes", body.rest().len()), "the end of the frame"))
}

impl Answer {
    /// The error that the answer is, if it is one.
    pub fn error(&self) -> Option<ErrorCode> {
        match self {
            Answer::Error(code) => Some(*code),
            _ => None,
        }
    }

    /// Whether the server refused the request without asking anybody: nothing has come of it.
    pub fn is_refusal(&self) -> bool {
        matches!(self.error(), Some(ErrorCode::SESSION_EXPIRED | ErrorCode::THROTTLED_OP | ErrorCode::NOT_READ_ONLY))
    }
}
