//! What a watch reports.

use super::{reply, xid};
use crate::jute::{Reader, Writer};
use crate::{DecodeError, ErrorCode, Zxid};

/// What happened to the watched znode (`Watcher.Event.EventType`, the ones that servers send).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i32)]
pub enum EventType {
    /// It has been created.
    NodeCreated = 1,
    /// It has been deleted.
    NodeDeleted = 2,
    /// Its data has been replaced, perhaps by the same bytes.
    NodeDataChanged = 3,
    /// A direct child has been created or deleted.
    NodeChildrenChanged = 4,
}

impl TryFrom<i32> for EventType {
    type Error = DecodeError;

    fn try_from(code: i32) -> Result<EventType, DecodeError> {
        match code {
            1 => Ok(EventType::NodeCreated),
            2 => Ok(EventType::NodeDeleted),
            3 => Ok(EventType::NodeDataChanged),
            4 => Ok(EventType::NodeChildrenChanged),
            other => Err(DecodeError::value("event.type", other, "1..=4")),
        }
    }
}

/// A notification's body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatcherEvent {
    /// What happened.
    pub kind: EventType,
    /// To which znode; the full path.
    pub path: String,
}

impl WatcherEvent {
    /// `KeeperState.SyncConnected`, the only state that a server sends.
    const SYNC_CONNECTED: i32 = 3;

    /// Appends a framed notification. `zxid` is the transaction that fired the watch, or [`Zxid::NONE`] when the server
    /// found out later, at setWatches.
    pub fn notify(out: &mut Vec<u8>, kind: EventType, path: &str, zxid: Zxid) {
        reply(out, xid::NOTIFICATION, zxid, ErrorCode::OK, |out| {
            out.int(kind as i32);
            out.int(Self::SYNC_CONNECTED);
            out.string(path);
        });
    }

    /// Reads the body of a notification.
    ///
    /// # Errors
    /// When the bytes end early or the event's type is none that servers send.
    pub fn decode(reader: &mut Reader<'_>) -> Result<WatcherEvent, DecodeError> {
        let kind = reader.int("event.type")?.try_into()?;
        reader.int("event.state")?;
        Ok(WatcherEvent { kind, path: reader.string("event.path")? })
    }
}
