//! Requests about watches alone: taken up after a reconnect, added, asked for, removed. They read, or leave, what is this server's own.

use crate::read::FRAME_LENGTH_BYTES;
use crate::{ClientId, Peer};
use ensemble_proto::client::{
    AddWatchMode, EventType, OpCode, RequestHeader, SetWatches, SetWatches2, WatchRequest, WatcherEvent, WatcherType,
    reply,
};
use ensemble_proto::jute::{Reader, Writer};
use ensemble_proto::{DecodeError, ErrorCode, Zxid};

/// addWatch answers a record with one int, an error code that is always OK (`ErrorResponse`).
const ADDED: i32 = 0;

impl Peer {
    /// Carries out a request about watches and writes its reply; false when it is of another kind.
    pub(crate) fn watch_request(&mut self, id: ClientId, header: RequestHeader, body: &mut Reader<'_>) -> bool {
        let Ok(op) = OpCode::try_from(header.op) else { return false };
        let done = match op {
            OpCode::SetWatches => SetWatches::decode(body).map(|watches| self.set_watches(id, &watches)),
            OpCode::SetWatches2 => {
                SetWatches2::decode(body).map(|watches| self.set_watches_of_every_mode(id, &watches))
            }
            OpCode::AddWatch => WatchRequest::decode(body).and_then(|request| self.add_watch(id, &request)),
            OpCode::CheckWatches => {
                watcher_type(body).map(|(kind, request)| found(self.watches.has(kind, &request.path, id)))
            }
            OpCode::RemoveWatches => {
                watcher_type(body).map(|(kind, request)| found(self.watches.remove(kind, &request.path, id)))
            }
            _ => return false,
        };
        let error = done.unwrap_or(ErrorCode::MARSHALLING_ERROR);
        let zxid = self.tree.last_zxid();
        if let Some(client) = self.clients.get_mut(id) {
            client.sent += 1;
            self.counters.sent += 1;
            let start = client.output.len();
            reply(&mut client.output, header.xid, zxid, error, |out| {
                if op == OpCode::AddWatch && error.is_ok() {
                    out.int(ADDED);
                }
            });
            let bytes = client.output.len() - start;
            self.measures.client_response_size.observe(bytes.saturating_sub(FRAME_LENGTH_BYTES));
        }
        true
    }

    /// Neither existence nor rights are asked for: what a watcher may not read it is not told.
    fn add_watch(&mut self, id: ClientId, request: &WatchRequest<'_>) -> Result<ErrorCode, DecodeError> {
        match AddWatchMode::from_number(request.kind) {
            Some(AddWatchMode::Persistent) => self.watches.persistent.add(&request.path, id),
            Some(AddWatchMode::Recursive) => self.watches.recursive.add(&request.path, id),
            None => return Err(DecodeError::value("addWatch.mode", request.kind, "0 or 1")),
        }
        Ok(ErrorCode::OK)
    }

    fn set_watches_of_every_mode(&mut self, id: ClientId, watches: &SetWatches2<'_>) -> ErrorCode {
        self.set_watches(id, &watches.one_shot);
        for path in &watches.persistent {
            self.watches.persistent.add(path, id);
        }
        for path in &watches.recursive {
            self.watches.recursive.add(path, id);
        }
        ErrorCode::OK
    }

    /// Watches from an earlier connection: each fires at once if it would have fired since `relative_zxid`, and is
    /// registered again if not. The events come before the reply and carry no zxid.
    fn set_watches(&mut self, id: ClientId, watches: &SetWatches<'_>) -> ErrorCode {
        let since = if self.mutants.missed_events() { Zxid(i64::MAX) } else { watches.relative_zxid };
        let Some(client) = self.clients.get_mut(id) else { return ErrorCode::OK };
        let output = &mut client.output;
        for path in &watches.data {
            match self.tree.get(path).map(|node| node.stat()) {
                None => WatcherEvent::notify(output, EventType::NodeDeleted, path, Zxid::NONE),
                Some(stat) if stat.mzxid > since => {
                    WatcherEvent::notify(output, EventType::NodeDataChanged, path, Zxid::NONE);
                }
                Some(_) => self.watches.data.add(path, id),
            }
        }
        for path in &watches.exist {
            match self.tree.get(path) {
                Some(_) => WatcherEvent::notify(output, EventType::NodeCreated, path, Zxid::NONE),
                None => self.watches.data.add(path, id),
            }
        }
        for path in &watches.child {
            match self.tree.get(path).map(|node| node.stat()) {
                None => WatcherEvent::notify(output, EventType::NodeDeleted, path, Zxid::NONE),
                Some(stat) if stat.pzxid > since => {
                    WatcherEvent::notify(output, EventType::NodeChildrenChanged, path, Zxid::NONE);
                }
                Some(_) => self.watches.child.add(path, id),
            }
        }
        ErrorCode::OK
    }
}

fn watcher_type<'a>(body: &mut Reader<'a>) -> Result<(WatcherType, WatchRequest<'a>), DecodeError> {
    let request = WatchRequest::decode(body)?;
    let kind = WatcherType::from_number(request.kind);
    let kind = kind.ok_or_else(|| DecodeError::value("watches.type", request.kind, "1 to 5"))?;
    Ok((kind, request))
}

fn found(found: bool) -> ErrorCode {
    if found { ErrorCode::OK } else { ErrorCode::NO_WATCHER }
}
