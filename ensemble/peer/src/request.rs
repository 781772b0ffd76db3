//! What becomes of a client's frame: answered here, sent to the leader, or refused.

use crate::audit::Asked;
use crate::client::{Outgoing, Phase, Slot};
use crate::leader::Submission;
use crate::observers::Asker;
use crate::read::FRAME_LENGTH_BYTES;
use crate::read_only::is_refused;
use crate::session::Owner;
use crate::{CLIENTS, ClientId, Effect, LocalWrite, Peer};
use bytes::Bytes;
use ensemble_proto::client::{AuthRequest, OpCode, PathRequest, RequestHeader, digest_id, reply, xid};
use ensemble_proto::jute::{Reader, Writer};
use ensemble_proto::quorum::{AuthId, ForwardedRequest};
use ensemble_proto::{ErrorCode, Now, SessionId, Zxid};
use ensemble_zab::{Role, SyncOrigin};
use std::time::Duration;

/// As much of a scheme that failed is logged: it is the client's word.
const SCHEME_CHARS_MAX: usize = 16;

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
        Ok(O::Create | O::Create2 | O::CreateContainer | O::CreateTtl) => Course::Write,
        Ok(O::Delete | O::SetData | O::SetAcl | O::Multi | O::CloseSession | O::Reconfig) => Course::Write,
        Ok(O::Exists | O::GetData | O::GetAcl | O::GetChildren | O::GetChildren2 | O::Ping) => Course::Read,
        Ok(O::MultiRead | O::GetEphemerals | O::GetAllChildrenNumber | O::WhoAmI) => Course::Read,
        Ok(O::SetWatches | O::SetWatches2 | O::AddWatch | O::CheckWatches | O::RemoveWatches) => Course::Read,
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
            Phase::Open(session) => self.take_in(now, id, session, frame),
            Phase::Ending(session) => self.hear(now, id, session),
            Phase::Closing => {}
        }
    }

    /// The client has been heard, and wants nothing that it could be refused.
    pub(crate) fn hear(&mut self, now: Now, id: ClientId, session: SessionId) {
        let Some(client) = self.clients.get(id) else { return };
        let timeout_ms = client.timeout_ms;
        self.idle.touch(id, now.elapsed, Duration::from_millis(timeout_ms as u64));
        if self.touch(now, session, timeout_ms) == Err(ErrorCode::SESSION_MOVED) {
            self.close_client(id);
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
        if header.op != OpCode::Auth.code() && self.turn_away(now, id, header.xid) {
            return;
        }
        if self.refuse_large(id, frame.len()) {
            return;
        }
        self.idle.touch(id, now.elapsed, Duration::from_millis(timeout_ms as u64));
        let is_no_sign = self.mutants.ping_is_no_sign() && header.op == OpCode::Ping.code();
        if !is_no_sign && let Err(code) = self.touch(now, session, timeout_ms) {
            return match code {
                ErrorCode::SESSION_MOVED => self.close_client(id),
                code => self.answer_error(now, id, header.xid, code),
            };
        }
        match course(header.op) {
            _ if self.read_only && is_refused(header.op) => {
                self.answer_error(now, id, header.xid, ErrorCode::NOT_READ_ONLY);
            }
            Course::Write if header.op == OpCode::CloseSession.code() && self.local.contains(session) => {
                if let Some(client) = self.clients.get_mut(id) {
                    client.phase = Phase::Ending(session);
                }
                self.read(now, id, header, reader, frame);
            }
            Course::Write => {
                self.upgrade_for(now, session, header.op, reader.rest());
                if header.op == OpCode::CloseSession.code()
                    && let Some(client) = self.clients.get_mut(id)
                {
                    client.phase = Phase::Ending(session); // what is pipelined behind it never takes effect
                }
                self.send_or_defer(now, id, session, header, reader.rest(), None);
            }
            Course::Read => self.read(now, id, header, reader, frame),
            Course::Sync => match PathRequest::decode(&mut reader.clone()) {
                Ok(request) => {
                    self.send_or_defer(now, id, session, header, reader.rest(), Some(request.path.into_owned()));
                }
                Err(_) => self.answer_error(now, id, header.xid, ErrorCode::MARSHALLING_ERROR),
            },
            Course::Auth => self.authenticate(now, id, header.xid, reader),
            Course::Unknown => {
                let name = OpCode::try_from(header.op).ok().map(tracing::field::debug);
                tracing::info!(target: CLIENTS, %session, op = header.op, name, "unsupported opcode, the connection ends");
                self.answer(now, id, header.xid, Zxid::NONE, ErrorCode::UNIMPLEMENTED);
                self.push_slot(id, Slot::Close);
                self.drain(now, id);
            }
        }
        self.throttle(id);
    }

    /// Sends a write or sync to the leader at once, unless a sync is on its way before it.
    fn send_or_defer(
        &mut self,
        now: Now,
        id: ClientId,
        session: SessionId,
        header: RequestHeader,
        body: &[u8],
        sync_path: Option<String>,
    ) {
        let frame_bytes = RequestHeader::BYTES + body.len();
        let Some(client) = self.clients.get(id) else { return };
        let outgoing = Outgoing {
            session,
            xid: header.xid,
            op: header.op,
            body: Bytes::copy_from_slice(body),
            identities: client.identities.clone(),
            since: now.elapsed,
            large_bytes: if sync_path.is_none() { self.config.admission.large_bytes(frame_bytes) } else { 0 },
            sync_path,
        };
        match client.barriers {
            0 => self.dispatch(now, id, outgoing, Place::Back),
            _ => self.push_slot(id, Slot::Deferred(outgoing)),
        }
    }

    /// Sends a write or sync to the leader.
    fn dispatch(&mut self, now: Now, id: ClientId, mut outgoing: Outgoing, place: Place) {
        let Outgoing { xid, op, since, large_bytes, .. } = outgoing;
        match outgoing.sync_path.take() {
            Some(path) => {
                self.place_slot(id, Slot::Sync { xid, path, since }, place);
                self.sync(now, id, outgoing);
            }
            None => {
                self.place_slot(id, Slot::InFlight { xid, op, since, large_bytes }, place);
                self.write(now, id, outgoing);
            }
        }
    }

    /// The session's client has been heard. On the leader of a global session this is also the check of the session and of its owner.
    fn touch(&mut self, now: Now, session: SessionId, timeout_ms: i32) -> Result<(), ErrorCode> {
        if self.local.touch(session, None, now.elapsed) {
            return Ok(());
        }
        if self.office != Some(Role::Leading) {
            self.zab.touch(session, timeout_ms);
            return Ok(());
        }
        self.leader.sessions.check(session, Owner::Local)?;
        self.leader.sessions.touch(session, None, now.elapsed);
        Ok(())
    }

    /// Sends a write of one of our clients to the leader, which may be us.
    pub(crate) fn write(&mut self, now: Now, id: ClientId, outgoing: Outgoing) {
        let Outgoing { session, xid: cxid, op, .. } = outgoing;
        if let Some(client) = self.clients.get(id) {
            let waiting = client.slots.len() as f64;
            self.measures.requests_in_session_queue.observe(now.elapsed, waiting);
        }
        let after = self.zab.last_logged();
        let address = self.clients.get(id).map(|client| client.address).filter(|_| self.config.audit);
        let asked = address.and_then(|address| Asked::new(op, &outgoing.body, &outgoing.identities, address));
        self.local_writes.push_back(LocalWrite { session, cxid, op, client: Some(id), after, asked });
        if self.office == Some(Role::Leading) {
            let Outgoing { op, body, identities, .. } = outgoing;
            self.submit(now, Submission { from: Some(Owner::Local), session, cxid, op, body, identities });
        } else {
            if self.mutants.forwarded_twice() {
                self.forward(now, outgoing.clone());
            }
            self.forward(now, outgoing);
        }
    }

    pub(crate) fn sync(&mut self, now: Now, id: ClientId, outgoing: Outgoing) {
        self.next_sync += 1;
        self.syncs.push_back((self.next_sync, Asker::Client(id)));
        if self.office == Some(Role::Leading) {
            self.sync_after_waiting(now, SyncOrigin::Local(self.next_sync));
        } else {
            self.forward(now, outgoing);
        }
    }

    fn forward(&mut self, now: Now, outgoing: Outgoing) {
        let Outgoing { session, xid: cxid, op, body, identities, .. } = outgoing;
        self.zab.forward(now, ForwardedRequest { session, cxid, op, body }.encode(), identities.to_vec());
    }

    /// The leader has confirmed a sync of one of our clients: everything committed before it is applied here.
    pub(crate) fn sync_done(&mut self, now: Now, token: Option<u64>) {
        let position = match token {
            None => (!self.syncs.is_empty()).then_some(0),
            Some(token) => self.syncs.iter().position(|(sync, _)| *sync == token),
        };
        let id = match position.and_then(|position| self.syncs.remove(position)) {
            Some((_, Asker::Client(id))) => id,
            Some((_, Asker::Observer(conn))) => return self.zab.answer_sync(conn),
            None => return,
        };
        let zxid = self.tree.last_zxid();
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.phase == Phase::Resolving {
            let session = client.bound;
            self.measures.sessions_revalidated += 1;
            return self.answer_connect(now, id, session);
        }
        let Some(slot) = client.slots.iter_mut().find(|slot| matches!(slot, Slot::Sync { .. })) else { return };
        let Slot::Sync { xid, path, since } = slot else { return };
        let (xid, since) = (*xid, *since);
        let mut bytes = Vec::new();
        reply(&mut bytes, xid, zxid, ErrorCode::OK, |out| out.string(path));
        self.counters.latency.record(now.elapsed.saturating_sub(since));
        *slot = Slot::Done { reply: bytes };
        client.barriers -= 1;
        self.note_answer(now, id, OpCode::Sync.code(), xid, since);
        self.drain(now, id);
    }

    /// An auth packet: identities count for the requests received after it; its reply keeps its place in the order.
    fn authenticate(&mut self, now: Now, id: ClientId, xid: i32, mut reader: Reader<'_>) {
        let Ok(request) = AuthRequest::decode(&mut reader) else {
            return self.reject_client(id, "the auth request does not decode");
        };
        if request.scheme == "ensemble" && self.check_ensemble_name(now, id, xid, request.auth).is_some() {
            return;
        }
        let Some(client) = self.clients.get_mut(id) else { return };
        let added = match &*request.scheme {
            "digest" => digest_identities(request.auth, self.config.super_digest.as_deref()),
            "ip" => vec![AuthId { scheme: "ip".to_string(), id: client.address.to_string() }],
            _ => Vec::new(),
        };
        if added.is_empty() {
            self.measures.auth_failed_count += 1;
            let scheme: String = request.scheme.chars().take(SCHEME_CHARS_MAX).collect();
            tracing::info!(target: CLIENTS, address = %client.address, scheme, "authentication failed, the connection ends");
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

    /// Answers with an error, in order and from the state of its turn.
    pub(crate) fn answer_error(&mut self, now: Now, id: ClientId, xid: i32, code: ErrorCode) {
        self.push_slot(id, Slot::Refused { xid, code });
        self.drain(now, id);
    }

    /// Answers without a body and with this zxid, which is that of no state, in order.
    pub(crate) fn answer(&mut self, now: Now, id: ClientId, xid: i32, zxid: Zxid, code: ErrorCode) {
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
            client.barriers += usize::from(matches!(slot, Slot::Sync { .. } | Slot::Deferred(_)));
            self.large_bytes += slot.large_bytes(&self.config.admission);
            match place {
                Place::Front => client.slots.push_front(slot),
                Place::Back => client.slots.push_back(slot),
            }
            self.outstanding += 1;
        }
    }

    /// Sends every answer at the head of the queue, executing the reads that come to it.
    pub(crate) fn drain(&mut self, now: Now, id: ClientId) {
        let mut reads = 0;
        while let Some(client) = self.clients.get_mut(id) {
            match client.slots.front() {
                None | Some(Slot::InFlight { .. } | Slot::Sync { .. }) => break,
                Some(_) => {}
            }
            let Some(slot) = client.slots.pop_front() else { break };
            self.outstanding -= 1;
            self.large_bytes -= slot.large_bytes(&self.config.admission);
            match slot {
                Slot::Done { reply } => self.send_reply(id, &reply),
                Slot::Refused { xid, code } => {
                    let mut bytes = Vec::new();
                    reply(&mut bytes, xid, self.tree.last_zxid(), code, |_| ());
                    self.send_reply(id, &bytes);
                }
                Slot::Waiting { frame, identities, since } => {
                    reads += 1;
                    self.execute(now, id, &frame, &identities, since);
                }
                Slot::Deferred(outgoing) => {
                    client.barriers -= 1;
                    self.dispatch(now, id, outgoing, Place::Front);
                }
                Slot::Close => {
                    self.close_client(id);
                    break;
                }
                Slot::InFlight { .. } | Slot::Sync { .. } => unreachable!("the loop stops before these"),
            }
        }
        if reads > 0 {
            self.measures.reads_after_write_in_session_queue.observe(now.elapsed, f64::from(reads));
        }
        self.announce(id);
    }

    /// Gives the connection a reply whose turn it is.
    fn send_reply(&mut self, id: ClientId, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.output.extend_from_slice(bytes);
        client.sent += 1;
        self.counters.sent += 1;
        self.measures.client_response_size.observe(bytes.len().saturating_sub(FRAME_LENGTH_BYTES));
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
        if !self.has_too_many() {
            return;
        }
        if let Some(client) = self.clients.get_mut(id)
            && !client.paused
            && (!client.slots.is_empty() || client.stalled > 0)
        {
            client.paused = true;
            self.paused.push(id);
            self.measures.request_throttle_wait_count += 1;
            self.effects.push_back(Effect::PauseReading { client: id, on: true });
        }
    }

    /// Whether all clients together have more unanswered requests than they may, begun or not.
    fn has_too_many(&self) -> bool {
        self.outstanding + self.throttler.len() > self.config.client_outstanding_max
    }

    /// Reads again from every paused connection, once there is room.
    pub(crate) fn resume_readers(&mut self) {
        if self.paused.is_empty() || self.has_too_many() {
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

    /// A connection that this server does not read from cannot be heard: its silence is ours, and counts for nothing.
    ///
    /// Differs from ZooKeeper: where a log disk that stands still ends every throttled session.
    pub(crate) fn speak_for_paused(&mut self, now: Now) {
        for id in std::mem::take(&mut self.paused) {
            if let Some(client) = self.clients.get(id)
                && let Phase::Open(session) | Phase::Ending(session) = client.phase
            {
                let timeout_ms = client.timeout_ms;
                self.idle.touch(id, now.elapsed, Duration::from_millis(timeout_ms as u64));
                if self.touch(now, session, timeout_ms).is_err() {
                    self.close_client(id); // it has ended, or moved
                }
                self.paused.push(id);
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

    /// The client has hung up: what it has sent is done all the same, in its order, a closeSession above all. Nobody waits for the syncs
    /// that the writes waited for.
    pub(crate) fn finish_deferred(&mut self, now: Now, id: ClientId) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.barriers > 0) else { return };
        let slots = std::mem::take(&mut client.slots);
        client.barriers = 0;
        self.outstanding -= slots.len();
        for slot in slots {
            self.large_bytes -= slot.large_bytes(&self.config.admission);
            if let Slot::Deferred(outgoing) = slot
                && outgoing.sync_path.is_none()
            {
                self.write(now, id, outgoing);
            }
        }
    }

    /// The connection is gone.
    pub(crate) fn forget_client(&mut self, id: ClientId) {
        self.release(id);
        self.clients.remove(id);
    }

    fn release(&mut self, id: ClientId) {
        self.idle.remove(id);
        self.drop_stalled(id);
        self.watches.forget(id);
        self.clients.unbind(id);
        if let Some(client) = self.clients.get_mut(id) {
            self.outstanding -= client.slots.len();
            for slot in client.slots.drain(..) {
                self.large_bytes -= slot.large_bytes(&self.config.admission);
            }
            client.barriers = 0;
            client.backlog.clear();
        }
    }
}

/// The identities that an auth packet of scheme `digest` gives, or the admin port's header: that of `user:password`, and the super
/// user's where it is that of `superDigest`.
pub fn digest_identities(payload: &[u8], super_digest: Option<&str>) -> Vec<AuthId> {
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
