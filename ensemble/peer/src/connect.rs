//! The client's handshake: a new session, or the re-attachment of one (`ZooKeeperServer.processConnectRequest`).
//!
//! The order of the checks is ZooKeeper's: serving (or read-only, which the client must have asked for), not behind the client, time-out negotiated, the session's other
//! connection here closed, password, and then the word of the leader. A client that has seen more than this server is sent
//! away without a reply; "expired" is said only of a session that the leader does not know.

use crate::client::{Outgoing, Phase};
use crate::observers::Asker;
use crate::session::Owner;
use crate::{CLIENTS, ClientId, Effect, Peer};
use bytes::Bytes;
use ensemble_proto::client::{ConnectRequest, ConnectResponse, OpCode, frame, password};
use ensemble_proto::jute::{Reader, Writer};
use ensemble_proto::{Now, SessionId};
use ensemble_zab::Role;
use std::time::Duration;

impl Peer {
    pub(crate) fn connect(&mut self, now: Now, id: ClientId, bytes: &[u8]) {
        let Ok(request) = ConnectRequest::decode(&mut Reader::new(bytes)) else {
            return self.reject_client(id, "the handshake does not decode");
        };
        let address = self.clients.get(id).map(|client| tracing::field::display(client.address));
        if self.office.is_none() && !(self.read_only && request.read_only == Some(true)) {
            self.counters.clients_unserved += 1;
            tracing::debug!(address, "refusing a client: there is no leader");
            return self.close_client(id);
        }
        if self.is_closed_to_clients() {
            self.counters.clients_unserved += 1;
            tracing::debug!(address, "refusing a client: the leader serves nobody (leaderServes)");
            return self.close_client(id);
        }
        if self.is_throttled(now, request.session) {
            tracing::info!(target: CLIENTS, address, session = %request.session, "refusing a client: too many handshakes (connection_throttle_tokens)");
            return self.close_client(id);
        }
        let (seen, zxid) = (request.last_zxid_seen, self.tree.last_zxid());
        if seen > zxid && !self.mutants.behind_client() {
            tracing::warn!(target: CLIENTS, address, session = %request.session, %seen, %zxid, "refusing a client that has seen more than this server has");
            return self.close_client(id);
        }
        let timeout_ms =
            request.timeout_ms.clamp(self.config.session_timeout_min_ms, self.config.session_timeout_max_ms);
        let Some(client) = self.clients.get_mut(id) else { return };
        client.phase = Phase::Resolving;
        client.timeout_ms = timeout_ms;
        client.read_only_byte = request.read_only.is_some();
        self.effects.push_back(Effect::PauseReading { client: id, on: true });
        self.idle.touch(id, now.elapsed, Duration::from_millis(timeout_ms as u64));
        match request.session {
            SessionId(0) => self.create_session(now, id, timeout_ms),
            session => self.attach(now, id, session, timeout_ms, request.password),
        }
    }

    fn create_session(&mut self, now: Now, id: ClientId, timeout_ms: i32) {
        let session = self.session_ids.next();
        self.clients.bind(session, id);
        if self.begins_local_sessions() {
            self.local.begin(session, timeout_ms, now.elapsed);
            self.measures.sessions_created += 1;
            return self.answer_connect(now, id, Some(session));
        }
        let body = Bytes::copy_from_slice(&timeout_ms.to_be_bytes());
        let Some(client) = self.clients.get(id) else { return };
        let (op, identities) = (OpCode::CreateSession.code(), client.identities.clone());
        let since = now.elapsed;
        self.write(now, id, Outgoing { session, xid: 0, op, body, identities, since, sync_path: None, large_bytes: 0 });
    }

    fn attach(&mut self, now: Now, id: ClientId, session: SessionId, timeout_ms: i32, given: &[u8]) {
        self.measures.connection_revalidate_count += 1;
        if self.read_only && self.tree.sessions().contains_key(&session) {
            let address = self.clients.get(id).map(|client| tracing::field::display(client.address));
            tracing::info!(target: CLIENTS, address, %session, "refusing a client: a session of the ensemble, and there is no quorum");
            return self.close_client(id);
        }
        if let Some(other) = self.clients.bound(session) {
            self.close_client(other);
        }
        if given != password(session) {
            let address = self.clients.get(id).map(|client| tracing::field::display(client.address));
            tracing::info!(target: CLIENTS, address, %session, "refusing a client: wrong password of the session");
            return self.answer_connect(now, id, None);
        }
        self.clients.bind(session, id);
        if self.local.touch(session, Some(timeout_ms), now.elapsed) {
            self.measures.sessions_revalidated += 1;
            self.answer_connect(now, id, Some(session));
        } else if self.read_only {
            self.answer_connect(now, id, None);
        } else if self.office == Some(Role::Leading) {
            let alive = self.take_up(now, session, timeout_ms, Owner::Local);
            self.measures.sessions_revalidated += u64::from(alive);
            self.answer_connect(now, id, alive.then_some(session));
        } else {
            self.measures.revalidate_count += 1;
            self.revalidations.push_back((session, Asker::Client(id)));
            self.zab.revalidate(session, timeout_ms);
        }
    }

    /// Leader: a session's client is connected to that server from now on. False when the session is unknown or closing.
    pub(crate) fn take_up(&mut self, now: Now, session: SessionId, timeout_ms: i32, owner: Owner) -> bool {
        let from_elsewhere = self.leader.sessions.is_elsewhere(session, owner);
        let alive = self.leader.sessions.attach(session, timeout_ms, owner, now.elapsed);
        self.measures.sessions_moved += u64::from(alive && from_elsewhere);
        alive
    }

    /// The leader's word on a session that a client of this learner wants back. The learner first waits, by a sync, for every write
    /// that was checked before that word: of a session that moved here, such a write must not be taken for an answer to what its client
    /// sends from now on. What a sync waits for is more than what was proposed before the word: a leader of Apache ZooKeeper gives it on
    /// one thread while another has checked a write of the session and not yet proposed it (`Leader.revalidateSession`,
    /// `PrepRequestProcessor`); a sync queues behind that write. Any number of syncs costs one round trip at a time.
    pub(crate) fn revalidated(&mut self, now: Now, session: SessionId, valid: bool) {
        let Some(id) = self.clients.bound(session) else { return };
        let Some(client) = self.clients.get(id).filter(|client| client.phase == Phase::Resolving) else { return };
        if valid {
            let (identities, mut body) = (client.identities.clone(), Vec::new());
            body.string("/");
            let (op, body) = (OpCode::Sync.code(), body.into());
            let since = now.elapsed;
            let outgoing = Outgoing { session, xid: 0, op, body, identities, since, sync_path: None, large_bytes: 0 };
            self.sync(now, id, outgoing);
        } else {
            self.answer_connect(now, id, valid.then_some(session));
        }
    }

    /// Ends the handshake: with a session, or with the word that it has expired, which ends the connection too.
    pub(crate) fn answer_connect(&mut self, now: Now, id: ClientId, session: Option<SessionId>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let read_only = client.read_only_byte.then_some(self.read_only);
        let response = match session {
            Some(session) => ConnectResponse::granted(session, client.timeout_ms, read_only),
            None => ConnectResponse::expired(read_only),
        };
        frame(&mut client.output, |out| response.encode(out));
        client.sent += 1;
        self.counters.sent += 1;
        match session {
            None => self.close_client(id),
            Some(session) => {
                client.phase = Phase::Open(session);
                client.open_since = now.elapsed;
                let backlog = std::mem::take(&mut client.backlog);
                self.announce(id);
                self.effects.push_back(Effect::PauseReading { client: id, on: false });
                for bytes in backlog {
                    self.take_in(now, id, session, &bytes);
                }
            }
        }
    }
}
