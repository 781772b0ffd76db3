//! Reads: answered from this server's tree, at the state of now, with the watches they leave behind.

use crate::client::Slot;
use crate::request::reply_xid;
use crate::{ClientId, Peer};
use ensemble_datatree::{Access, DataTree, read};
use ensemble_proto::client::{MultiReadRequest, OpCode, PathRequest, ReadRequest, RequestHeader, reply};
use ensemble_proto::jute::{Reader, Writer};
use ensemble_proto::quorum::AuthId;
use ensemble_proto::{ErrorCode, Now, SessionId};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A multiRead whose results are longer is refused with MARSHALLING_ERROR, in bytes.
///
/// Differs from ZooKeeper: which collects whatever is asked for.
const MULTI_READ_BYTES_MAX: usize = 64 << 20;

/// Length and header of a reply.
const REPLY_HEADER_BYTES: usize = 20;
/// The length before each frame, which is no part of it.
pub(crate) const FRAME_LENGTH_BYTES: usize = 4;

/// The znode that was read, and the watch that the read leaves behind.
enum Target<'a> {
    Unwatched(Cow<'a, str>),
    Data(Cow<'a, str>),
    Child(Cow<'a, str>),
}

impl Target<'_> {
    fn path(&self) -> &str {
        let (Target::Unwatched(path) | Target::Data(path) | Target::Child(path)) = self;
        path
    }
}

impl Peer {
    /// Executes a read at once, or queues it behind a write of the same connection.
    pub(crate) fn read(&mut self, now: Now, id: ClientId, header: RequestHeader, body: Reader<'_>, frame: &[u8]) {
        let Some(client) = self.clients.get(id) else { return };
        let identities = client.identities.clone();
        if client.slots.is_empty() {
            self.answer_read(now, id, header, body, &identities);
            self.counters.latency.record(Duration::ZERO);
            self.measures.reads_of_turn += 1;
            self.note_answer(now, id, header.op, header.xid, now.elapsed);
            self.announce(id);
        } else {
            self.push_slot(id, Slot::Waiting { frame: frame.to_vec(), identities, since: now.elapsed });
        }
    }

    /// Executes a read that waited.
    pub(crate) fn execute(
        &mut self,
        now: Now,
        id: ClientId,
        frame: &[u8],
        identities: &Arc<[AuthId]>,
        since: Duration,
    ) {
        let mut reader = Reader::new(frame);
        if let Ok(header) = RequestHeader::decode(&mut reader) {
            self.answer_read(now, id, header, reader, identities);
            let waited = now.elapsed.saturating_sub(since);
            self.counters.latency.record(waited);
            self.measures.readlatency.observe_ms(now.elapsed, waited);
            self.measures.read_commitproc_time_ms.observe_ms(now.elapsed, waited);
            self.note_answer(now, id, header.op, header.xid, since);
        }
    }

    fn answer_read(
        &mut self,
        now: Now,
        id: ClientId,
        header: RequestHeader,
        mut body: Reader<'_>,
        identities: &[AuthId],
    ) {
        if self.watch_request(id, header, &mut body) {
            return;
        }
        if header.op == OpCode::CloseSession.code() {
            return self.close_local_session(id, header.xid);
        }
        let Some(client) = self.clients.get_mut(id) else { return };
        let access = Access { identities, skip_acl: self.config.skip_acl };
        let session = client.bound.unwrap_or(SessionId(0));
        let start = client.output.len();
        let (target, error) = answer(&self.tree, access, session, header, body, &mut client.output);
        let bytes = client.output.len() - start;
        self.measures.client_response_size.observe(bytes.saturating_sub(FRAME_LENGTH_BYTES));
        if error.is_ok()
            && let Some(path) = target.as_ref().map(Target::path)
        {
            let read = path.len() + bytes.saturating_sub(REPLY_HEADER_BYTES);
            self.measures.read_per_namespace.observe(now.elapsed, path, read);
        }
        client.sent += 1;
        self.counters.sent += 1;
        match target {
            Some(Target::Data(path)) => self.watches.data.add(&path, id),
            Some(Target::Child(path)) => self.watches.child.add(&path, id),
            Some(Target::Unwatched(_)) | None => {}
        }
    }

    /// The end of a session that nobody else knows.
    fn close_local_session(&mut self, id: ClientId, xid: i32) {
        let zxid = self.tree.last_zxid();
        let Some(client) = self.clients.get_mut(id) else { return };
        reply(&mut client.output, xid, zxid, ErrorCode::OK, |_| ());
        client.sent += 1;
        self.counters.sent += 1;
        self.measures.sessions_closed += 1;
        if let Some(session) = client.bound {
            self.local.remove(session);
        }
        self.announce(id);
        self.close_client(id);
    }
}

/// Writes the framed reply to a read; returns what it was of, and how it ended.
fn answer<'a>(
    tree: &DataTree,
    access: Access<'_>,
    session: SessionId,
    header: RequestHeader,
    mut body: Reader<'a>,
    output: &mut Vec<u8>,
) -> (Option<Target<'a>>, ErrorCode) {
    let start = output.len();
    let zxid = tree.last_zxid();
    let xid = reply_xid(header);
    let mut error = ErrorCode::OK;
    let mut target = None;
    reply(output, xid, zxid, ErrorCode::OK, |out| {
        match answer_body(tree, access, session, header.op, &mut body, out) {
            Ok(found) => target = found,
            Err((code, found)) => {
                error = code;
                target = found;
            }
        }
    });
    if !error.is_ok() {
        output.truncate(start);
        reply(output, xid, zxid, error, |_| ());
    }
    (target, error)
}

/// The body of a successful reply and what it was of, or the error and, for exists on a missing znode, the watch it leaves all the same.
fn answer_body<'a>(
    tree: &DataTree,
    access: Access<'_>,
    session: SessionId,
    op: i32,
    body: &mut Reader<'a>,
    out: &mut Vec<u8>,
) -> Result<Option<Target<'a>>, (ErrorCode, Option<Target<'a>>)> {
    const UNDECODABLE: (ErrorCode, Option<Target<'static>>) = (ErrorCode::MARSHALLING_ERROR, None);
    let plain = |code| (code, None);
    match OpCode::try_from(op) {
        Ok(OpCode::Ping) => Ok(None),
        Ok(OpCode::Exists) => {
            let request = ReadRequest::decode(body).map_err(|_| UNDECODABLE)?;
            let found = read::exists(tree, access, &request.path);
            let target = target(Target::Data, request);
            match found {
                Ok(stat) => {
                    stat.encode(out);
                    Ok(target)
                }
                Err(ErrorCode::NO_NODE) => Err((ErrorCode::NO_NODE, target)),
                Err(code) => Err(plain(code)),
            }
        }
        Ok(OpCode::GetData) => {
            let request = ReadRequest::decode(body).map_err(|_| UNDECODABLE)?;
            let (data, stat) = read::get_data(tree, access, &request.path).map_err(plain)?;
            out.buffer(data);
            stat.encode(out);
            Ok(target(Target::Data, request))
        }
        Ok(OpCode::GetChildren | OpCode::GetChildren2) => {
            let request = ReadRequest::decode(body).map_err(|_| UNDECODABLE)?;
            let node = read::get_children(tree, access, &request.path).map_err(plain)?;
            out.count(node.children_count());
            for name in node.children() {
                out.string(name);
            }
            if op == OpCode::GetChildren2.code() {
                node.stat().encode(out);
            }
            Ok(target(Target::Child, request))
        }
        Ok(OpCode::GetAcl) => {
            let request = PathRequest::decode(body).map_err(|_| UNDECODABLE)?;
            let (acl, stat) = read::get_acl(tree, access, &request.path).map_err(plain)?;
            out.count(acl.len());
            for entry in &acl {
                entry.encode(out);
            }
            stat.encode(out);
            Ok(None)
        }
        Ok(OpCode::MultiRead) => {
            let request = MultiReadRequest::decode(body).map_err(|_| UNDECODABLE)?;
            multi_read(tree, access, &request, out).map_err(plain)?;
            Ok(None)
        }
        Ok(OpCode::GetEphemerals) => {
            let prefix = body.nullable_string("getEphemerals.prefixPath").map_err(|_| UNDECODABLE)?.unwrap_or_default();
            let is_everything = matches!(prefix.trim(), "" | "/");
            let paths = tree.ephemerals(session).filter(|path| is_everything || path.starts_with(&prefix));
            out.strings(&paths.collect::<Vec<_>>());
            Ok(None)
        }
        Ok(OpCode::GetAllChildrenNumber) => {
            let request = PathRequest::decode(body).map_err(|_| UNDECODABLE)?;
            out.count(read::get_all_children_number(tree, access, &request.path).map_err(plain)?);
            Ok(None)
        }
        Ok(OpCode::WhoAmI) => {
            out.count(access.identities.len());
            for identity in access.identities {
                out.string(&identity.scheme);
                out.string(user(identity));
            }
            Ok(None)
        }
        _ => Err(plain(ErrorCode::UNIMPLEMENTED)),
    }
}

fn target<'a>(watch: fn(Cow<'a, str>) -> Target<'a>, request: ReadRequest<'a>) -> Option<Target<'a>> {
    Some(if request.watch { watch(request.path) } else { Target::Unwatched(request.path) })
}

/// Every read has a result of its own, and all see one state.
fn multi_read(
    tree: &DataTree,
    access: Access<'_>,
    request: &MultiReadRequest<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    let start = out.len();
    for (op, ReadRequest { path, .. }) in &request.ops {
        let result = match op {
            OpCode::GetChildren => read::get_children(tree, access, path).map(|node| {
                MultiReadRequest::encode_success(*op, out);
                out.count(node.children_count());
                node.children().for_each(|name| out.string(name));
            }),
            _ => read::get_data(tree, access, path).map(|(data, stat)| {
                MultiReadRequest::encode_success(*op, out);
                out.buffer(data);
                stat.encode(out);
            }),
        };
        if let Err(code) = result {
            MultiReadRequest::encode_error(code, out);
        }
        if out.len() - start > MULTI_READ_BYTES_MAX {
            return Err(ErrorCode::MARSHALLING_ERROR);
        }
    }
    MultiReadRequest::encode_end(out);
    Ok(())
}

/// What whoAmI tells of an identity (`AuthUtil.getUser`): a name without secrets; empty for a scheme that no provider has.
pub(crate) fn user(identity: &AuthId) -> &str {
    match identity.scheme.as_str() {
        "digest" => identity.id.split(':').next().unwrap_or_default(),
        "ip" => &identity.id,
        _ => "",
    }
}
