//! Sessions that exist on this server alone (`LocalSessionTracker.java`, `UpgradeableSessionTracker.java`): with
//! `localSessionsEnabled` every new session, and on a server without a quorum every session that it serves read-only.
//!
//! A local session costs no transaction: nobody else knows of it, so it cannot be had again elsewhere, and it ends with the term in
//! which it began. Only this server expires it. Its writes go to the leader like any other's, which lets them pass because it knows no
//! session of that id. What it cannot have is an ephemeral znode, which every server must know when to delete: to create one the
//! session is *upgraded* first, by a createSession under its own id. From the moment that this is sent it is global; when it does
//! not arrive, because the leader is lost, the session is neither, and has expired.

use crate::expiry::ExpiryQueue;
use crate::leader::Submission;
use crate::session::Owner;
use crate::{LocalWrite, Peer};
use bytes::Bytes;
use ensemble_proto::client::{CreateFlags, CreateRequest, MultiOp, MultiRequest, OpCode};
use ensemble_proto::jute::Reader;
use ensemble_proto::quorum::ForwardedRequest;
use ensemble_proto::{Now, SessionId};
use ensemble_zab::Role;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The local sessions of this server. As many as clients connect within a session timeout.
pub(crate) struct LocalSessions {
    timeouts_ms: HashMap<SessionId, i32, FixedState>,
    expiry: ExpiryQueue<SessionId>,
    tick: Duration,
    seed: u64,
}

impl LocalSessions {
    /// No session yet; deadlines are rounded to `tick`.
    pub(crate) fn new(tick: Duration, seed: u64) -> LocalSessions {
        let timeouts_ms = HashMap::with_hasher(FixedState::with_seed(seed));
        LocalSessions { timeouts_ms, expiry: ExpiryQueue::new(tick, seed), tick, seed }
    }

    /// Begins a session.
    pub(crate) fn begin(&mut self, session: SessionId, timeout_ms: i32, now: Duration) {
        self.timeouts_ms.insert(session, timeout_ms);
        self.expiry.touch(session, now, timeout(timeout_ms));
    }

    /// Heard of the session's client, which may have agreed on another timeout. False when the session is not local.
    pub(crate) fn touch(&mut self, session: SessionId, timeout_ms: Option<i32>, now: Duration) -> bool {
        let Some(known) = self.timeouts_ms.get_mut(&session) else { return false };
        *known = timeout_ms.unwrap_or(*known);
        self.expiry.touch(session, now, timeout(*known));
        true
    }

    /// Whether the session is local.
    pub(crate) fn contains(&self, session: SessionId) -> bool {
        self.timeouts_ms.contains_key(&session)
    }

    /// The session is not local any more; its timeout in milliseconds, if it was.
    pub(crate) fn remove(&mut self, session: SessionId) -> Option<i32> {
        self.expiry.remove(session);
        self.timeouts_ms.remove(&session)
    }

    /// Takes the sessions whose time has come.
    pub(crate) fn expired(&mut self, now: Duration) -> Vec<SessionId> {
        let expired = self.expiry.expired(now);
        for session in &expired {
            self.timeouts_ms.remove(session);
        }
        expired
    }

    /// When the next session expires.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        self.expiry.next()
    }

    /// When they expire.
    pub(crate) fn expiry(&self) -> &ExpiryQueue<SessionId> {
        &self.expiry
    }

    /// Number of sessions.
    pub(crate) fn len(&self) -> usize {
        self.timeouts_ms.len()
    }

    /// Ends all of them.
    pub(crate) fn clear(&mut self) {
        *self = LocalSessions::new(self.tick, self.seed);
    }
}

fn timeout(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0))
}

impl Peer {
    /// Whether new sessions are local.
    pub(crate) fn begins_local_sessions(&self) -> bool {
        self.read_only || (self.config.local_sessions && !self.config.zab.standalone)
    }

    /// Makes a local session global before a request that needs it to be. The request itself follows, whatever becomes of this.
    pub(crate) fn upgrade_for(&mut self, now: Now, session: SessionId, op: i32, body: &[u8]) {
        if !self.config.local_sessions_upgrading || !self.local.contains(session) || !creates_ephemeral(op, body) {
            return;
        }
        let Some(timeout_ms) = self.local.remove(session) else { return };
        if self.mutants.zkb_26() {
            self.local.begin(session, timeout_ms, now.elapsed);
        }
        let body = Bytes::copy_from_slice(&timeout_ms.to_be_bytes());
        let (cxid, op, after) = (0, OpCode::CreateSession.code(), self.zab.last_logged());
        self.local_writes.push_back(LocalWrite { session, cxid, op, client: None, after, asked: None });
        if self.office == Some(Role::Leading) {
            // Known from here on: its client may come back before the proposal is made.
            self.leader.sessions.track(session, timeout_ms, Some(Owner::Local), now.elapsed);
            self.submit(
                now,
                Submission { from: Some(Owner::Local), session, cxid, op, body, identities: Arc::new([]) },
            );
        } else {
            self.zab.forward(now, ForwardedRequest { session, cxid, op, body }.encode(), Vec::new());
        }
    }

    /// Ends the local sessions whose clients have been silent for too long.
    pub(crate) fn expire_local_sessions(&mut self, now: Now) {
        for session in self.local.expired(now.elapsed) {
            self.measures.local_sessions_expired += 1;
            tracing::debug!(%session, "local session expired");
            if let Some(client) = self.clients.bound(session) {
                self.close_client(client);
            }
        }
    }
}

/// Whether a request creates an ephemeral znode, alone or in a multi. One that does not decode creates nothing.
fn creates_ephemeral(op: i32, body: &[u8]) -> bool {
    let is_ephemeral = |request: &CreateRequest<'_>| {
        matches!(CreateFlags::from_flags(request.flags), Some(CreateFlags::Plain { ephemeral: true, .. }))
    };
    let mut body = Reader::new(body);
    match OpCode::try_from(op) {
        Ok(OpCode::Create | OpCode::Create2) => {
            CreateRequest::decode(&mut body).is_ok_and(|request| is_ephemeral(&request))
        }
        Ok(OpCode::Multi) => MultiRequest::decode(&mut body).is_ok_and(|multi| {
            multi.ops.iter().any(|op| matches!(op, MultiOp::Create { request, .. } if is_ephemeral(request)))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(0xa);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_local_session_lives_as_long_as_it_is_heard_and_is_gone_when_it_is_upgraded() {
        let mut local = LocalSessions::new(at(1000), 0);
        local.begin(A, 4000, at(0));
        assert!(local.touch(A, None, at(3000)));
        assert_eq!(local.expired(at(7000)), vec![]);
        assert!(local.touch(A, Some(6000), at(7000)));
        assert_eq!(local.next_expiry(), Some(at(14_000)));
        assert_eq!(local.remove(A), Some(6000));
        assert!(!local.touch(A, None, at(7000)));
        assert_eq!((local.expired(at(20_000)), local.len()), (vec![], 0));
    }

    #[test]
    fn an_expired_session_is_local_no_more() {
        let mut local = LocalSessions::new(at(1000), 0);
        local.begin(A, 4000, at(0));
        assert_eq!(local.expired(at(5000)), vec![A]);
        assert!(!local.contains(A));
    }
}
