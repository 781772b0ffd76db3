//! What becomes of a client's frame: answered here, sent to the leader, or refused.

use crate::client::{Phase, Slot};
use crate::leader::Submission;
use crate::session::Owner;
use crate::{ClientId, Effect, LocalWrite, Peer};
use bytes::Bytes;
use ensemble_proto::client::{AuthRequest, OpCode, PathRequest, RequestHeader, digest_id, reply, xid};
use ensemble_proto::jute::{Reader, Writer};
use ensemble_proto::quorum::{AuthId, ForwardedRequest};
use ensemble_proto::{ErrorCode, Now, SessionId, Zxid};
use ensemble_zab::{Role, SyncOrigin};
use std::time::Duration;

/// Where a slot goes: to the end of the queue, or, when it takes the place of a deferred one, to its head.
#[derive(Clone, Copy)]
enum Place {
    Front,
    Back,
}

/// What the server does with an opcode.
enum Course {
    /// A transaction.
    Write,
    /// From this server's tree.
    Read,
    /// A round trip through the leader.
    Sync,
    /// An identity of the connection.
    Auth,
    /// Not served: answered as ZooKeeper answers an unknown opcode.
    Unknown,
}

fn course(op: i32) -> Course {
    use OpCode as O;
    match OpCode::try_from(op) {
        Ok(O::Create | O::Create2 | O::Delete | O::SetData | O::SetAcl | O::Multi | O::CloseSession) => Course::Write,
        Ok(O::Exists | O::GetData | O::GetAcl | O::GetChildren | O::GetChildren2 | O::Ping | O::SetWatches) => {
            Course::Read
        }
        Ok(O::Sync) => Course::Sync,
        Ok(O::Auth) => Course::Auth,
        // Differs from ZooKeeper: createSession (-10) from a client is an unknown opcode.
        _ => Course::Unknown,
    }
}

impl Peer {
    /// A frame from a connection in any phase.
    pub(crate) fn receive(&mut self, now: Now, id: ClientId, frame: &[u8]) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.received += 1;
        self.counters.received += 1;
        match client.phase {
            Phase::New => self.connect(now, id, frame),
            Phase::Resolving => client.backlog.push(frame.to_vec()),
            Phase::Open(session) => self.request(now, id, session, frame),
            Phase::Closing => {}
        }
    }

    /// A request of an open session.
    pub(crate) fn request(&mut self, now: Now, id: ClientId, session: SessionId, frame: &[u8]) {
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else {
            return self.reject_client(id, "the request header does not decode");
        };
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.phase != (Phase::Open(session)) {
            return;
        }
        let timeout_ms = client.timeout_ms;
        self.idle.touch(id, now.elapsed, Duration::from_millis(timeout_ms as u64));
        if let Err(code) = self.touch(now, session, timeout_ms) {
            return match code {
                ErrorCode::SESSION_MOVED => self.close_client(id),
                code => self.answer_error(now, id, header.xid, code),
            };
        }
        match course(header.op) {
            Course::Write => {
                if header.op == OpCode::CloseSession.code()
                    && let Some(client) = self.clients.get_mut(id)
                {
                    client.phase = Phase::Closing; // what is pipelined behind it never takes effect
                }
                self.send_or_defer(now, id, session, frame);
            }
            Course::Read => self.read(now, id, header, reader, frame),
            Course::Sync => self.send_or_defer(now, id, session, frame),
            Course::Auth => self.authenticate(now, id, header.xid, reader),
            Course::Unknown => {
                self.answer(now, id, header.xid, Zxid::NONE, ErrorCode::UNIMPLEMENTED);
                self.push_slot(id, Slot::Close);
                self.drain(now, id);
            }
        }
        self.throttle(id);
    }

    /// Sends a write or sync to the leader at once, unless a sync is on its way before it.
    fn send_or_defer(&mut self, now: Now, id: ClientId, session: SessionId, frame: &[u8]) {
        match self.clients.get(id) {
            Some(client) if client.barriers > 0 => {
                self.push_slot(id, Slot::Deferred { frame: frame.to_vec(), session, since: now.elapsed });
            }
            Some(_) => self.dispatch(now, id, session, frame, now.elapsed, Place::Back),
            None => {}
        }
    }

    /// Sends a write or sync to the leader.
    fn dispatch(&mut self, now: Now, id: ClientId, session: SessionId, frame: &[u8], since: Duration, place: Place) {
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else { return };
        if header.op == OpCode::Sync.code() {
            let body = reader.rest();
            return match PathRequest::decode(&mut Reader::new(body)) {
                Ok(request) => {
                    let path = request.path.into_owned();
                    self.place_slot(id, Slot::Sync { xid: header.xid, path, since }, place);
                    self.sync(now, id, session, header.xid, body);
                }
                Err(_) => {
                    let mut bytes = Vec::new();
                    reply(&mut bytes, header.xid, self.tree.last_zxid(), ErrorCode::MARSHALLING_ERROR, |_| ());
                    self.place_slot(id, Slot::Done { reply: bytes }, place);
                    if matches!(place, Place::Back) {
                        self.drain(now, id);
                    }
                }
            };
        }
        self.place_slot(id, Slot::InFlight { xid: header.xid, op: header.op, since }, place);
        self.write(now, id, session, header.xid, header.op, Bytes::copy_from_slice(reader.rest()));
    }

    /// The session's client has been heard. On the leader this is also the check of the session and of its owner.
    fn touch(&mut self, now: Now, session: SessionId, timeout_ms: i32) -> Result<(), ErrorCode> {
        if self.office != Some(Role::Leading) {
            self.zab.touch(session, timeout_ms);
            return Ok(());
        }
        self.leader.sessions.check(session, Owner::Local)?;
        self.leader.sessions.touch(session, None, now.elapsed);
        Ok(())
    }

    /// Sends a write of one of our clients to the leader, which may be us.
    pub(crate) fn write(&mut self, now: Now, id: ClientId, session: SessionId, cxid: i32, op: i32, body: Bytes) {
        let Some(client) = self.clients.get(id) else { return };
        let identities = client.identities.clone();
        self.local_writes.push_back(LocalWrite { session, cxid, client: Some(id) });
        if self.office == Some(Role::Leading) {
            self.submit(now, Submission { from: Some(Owner::Local), session, cxid, op, body, identities });
        } else {
            let request = ForwardedRequest { session, cxid, op, body };
            self.zab.forward(now, request.encode(), identities.to_vec());
        }
    }

    fn sync(&mut self, now: Now, id: ClientId, session: SessionId, xid: i32, body: &[u8]) {
        self.next_sync += 1;
        self.syncs.push_back((self.next_sync, id));
        if self.office == Some(Role::Leading) {
            self.zab.sync(now, SyncOrigin::Local(self.next_sync));
        } else {
            let identities = self.clients.get(id).map(|client| client.identities.to_vec()).unwrap_or_default();
            let request =
                ForwardedRequest { session, cxid: xid, op: OpCode::Sync.code(), body: Bytes::copy_from_slice(body) };
            self.zab.forward(now, request.encode(), identities);
        }
    }

    /// The leader has confirmed a sync of one of our clients: everything committed before it is applied here.
    pub(crate) fn sync_done(&mut self, now: Now, token: Option<u64>) {
        let position = match token {
            None => (!self.syncs.is_empty()).then_some(0),
            Some(token) => self.syncs.iter().position(|(sync, _)| *sync == token),
        };
        let Some((_, id)) = position.and_then(|position| self.syncs.remove(position)) else { return };
        let zxid = self.tree.last_zxid();
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(slot) = client.slots.iter_mut().find(|slot| matches!(slot, Slot::Sync { .. })) else { return };
        let Slot::Sync { xid, path, since } = slot else { return };
        let mut bytes = Vec::new();
        reply(&mut bytes, *xid, zxid, ErrorCode::OK, |out| out.string(path));
        self.counters.latency.record(now.elapsed.saturating_sub(*since));
        *slot = Slot::Done { reply: bytes };
        client.barriers -= 1;
        self.drain(now, id);
    }

    /// An auth packet: identities count for the requests received after it; its reply keeps its place in the order.
    fn authenticate(&mut self, now: Now, id: ClientId, xid: i32, mut reader: Reader<'_>) {
        let Ok(request) = AuthRequest::decode(&mut reader) else {
            return self.reject_client(id, "the auth request does not decode");
        };
        let Some(client) = self.clients.get_mut(id) else { return };
        let added = match &*request.scheme {
            "digest" => digest_identities(request.auth, self.config.super_digest.as_deref()),
            "ip" => vec![AuthId { scheme: "ip".to_string(), id: client.address.to_string() }],
            _ => Vec::new(),
        };
        if added.is_empty() {
            self.answer(now, id, xid, Zxid::ZERO, ErrorCode::AUTH_FAILED);
            self.push_slot(id, Slot::Close);
            return self.drain(now, id);
        }
        let mut identities = client.identities.to_vec();
        identities.extend(added.into_iter().filter(|new| !client.identities.contains(new)));
        client.identities = identities.into();
        self.answer(now, id, xid, Zxid::ZERO, ErrorCode::OK);
    }

    // ---- replies in order ----

    /// Answers without a body, in order, at the state of now.
    pub(crate) fn answer_error(&mut self, now: Now, id: ClientId, xid: i32, code: ErrorCode) {
        let zxid = self.tree.last_zxid();
        self.answer(now, id, xid, zxid, code);
    }

    fn answer(&mut self, now: Now, id: ClientId, xid: i32, zxid: Zxid, code: ErrorCode) {
        let mut bytes = Vec::new();
        reply(&mut bytes, xid, zxid, code, |_| ());
        self.push_slot(id, Slot::Done { reply: bytes });
        self.drain(now, id);
    }

    /// Queues what must be answered in its turn.
    pub(crate) fn push_slot(&mut self, id: ClientId, slot: Slot) {
        self.place_slot(id, slot, Place::Back);
    }

    fn place_slot(&mut self, id: ClientId, slot: Slot, place: Place) {
        if let Some(client) = self.clients.get_mut(id) {
            client.barriers += usize::from(matches!(slot, Slot::Sync { .. } | Slot::Deferred { .. }));
            match place {
                Place::Front => client.slots.push_front(slot),
                Place::Back => client.slots.push_back(slot),
            }
            self.outstanding += 1;
        }
    }

    /// Sends every answer at the head of the queue, executing the reads that come to it.
    pub(crate) fn drain(&mut self, now: Now, id: ClientId) {
        while let Some(client) = self.clients.get_mut(id) {
            match client.slots.front() {
                None | Some(Slot::InFlight { .. } | Slot::Sync { .. }) => break,
                Some(_) => {}
            }
            let Some(slot) = client.slots.pop_front() else { break };
            self.outstanding -= 1;
            match slot {
                Slot::Done { reply } => {
                    client.output.extend_from_slice(&reply);
                    client.sent += 1;
                    self.counters.sent += 1;
                }
                Slot::Waiting { frame, identities, since } => {
                    self.execute(now, id, &frame, &identities, since);
                }
                Slot::Deferred { frame, session, since } => {
                    client.barriers -= 1;
                    self.dispatch(now, id, session, &frame, since, Place::Front);
                }
                Slot::Close => {
                    self.close_client(id);
                    break;
                }
                Slot::InFlight { .. } | Slot::Sync { .. } => unreachable!("the loop stops before these"),
            }
        }
        self.announce(id);
    }

    pub(crate) fn announce(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id)
            && !client.announced
            && !client.output.is_empty()
        {
            client.announced = true;
            self.effects.push_back(Effect::Output { client: id });
        }
    }

    // ---- back-pressure and the end of connections ----

    /// Stops reading from a connection that has unanswered requests while all clients together have too many.
    pub(crate) fn throttle(&mut self, id: ClientId) {
        if self.outstanding <= self.config.client_outstanding_max {
            return;
        }
        if let Some(client) = self.clients.get_mut(id)
            && !client.paused
            && !client.slots.is_empty()
        {
            client.paused = true;
            self.paused.push(id);
            self.effects.push_back(Effect::PauseReading { client: id, on: true });
        }
    }

    /// Reads again from every paused connection, once there is room.
    pub(crate) fn resume_readers(&mut self) {
        if self.paused.is_empty() || self.outstanding > self.config.client_outstanding_max {
            return;
        }
        for id in std::mem::take(&mut self.paused) {
            if let Some(client) = self.clients.get_mut(id)
                && std::mem::take(&mut client.paused)
            {
                self.effects.push_back(Effect::PauseReading { client: id, on: false });
            }
        }
    }

    /// Ends a connection from our side: what is written is still sent, nothing more is read, no watch fires.
    pub(crate) fn close_client(&mut self, id: ClientId) {
        self.end_client(id, None);
    }

    /// Ends a connection for what the client sent.
    pub(crate) fn reject_client(&mut self, id: ClientId, fault: &'static str) {
        self.end_client(id, Some(fault));
    }

    fn end_client(&mut self, id: ClientId, fault: Option<&'static str>) {
        self.release(id);
        if let Some(client) = self.clients.get_mut(id) {
            client.phase = Phase::Closing;
            self.effects.push_back(Effect::CloseClient { client: id, fault });
        }
    }

    /// The connection is gone.
    pub(crate) fn forget_client(&mut self, id: ClientId) {
        self.release(id);
        self.clients.remove(id);
    }

    fn release(&mut self, id: ClientId) {
        self.idle.remove(id);
        self.data_watches.forget(id);
        self.child_watches.forget(id);
        self.clients.unbind(id);
        if let Some(client) = self.clients.get_mut(id) {
            self.outstanding -= client.slots.len();
            client.slots.clear();
            client.barriers = 0;
            client.backlog.clear();
        }
    }
}

fn digest_identities(payload: &[u8], super_digest: Option<&str>) -> Vec<AuthId> {
    let id = digest_id(&String::from_utf8_lossy(payload));
    let mut identities = Vec::with_capacity(2);
    if super_digest == Some(id.as_str()) {
        identities.push(AuthId { scheme: "super".to_string(), id: String::new() });
    }
    identities.push(AuthId { scheme: "digest".to_string(), id });
    identities
}

/// The xid of the reply to a request: a ping is always answered with the ping's xid.
pub(crate) fn reply_xid(header: RequestHeader) -> i32 {
    if header.op == OpCode::Ping.code() { xid::PING } else { header.xid }
}
