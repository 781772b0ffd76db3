//! A follower with observers of its own: what they ask goes to the leader as this server's own, and the answers come back to whoever
//! asked. The leader answers in the order of the questions, syncs among syncs and each session's questions among themselves.

use crate::{ClientId, Effect, Peer};
use bytes::Bytes;
use ensemble_proto::client::OpCode;
use ensemble_proto::quorum::{AuthId, ForwardedRequest};
use ensemble_proto::{Now, SessionId};
use ensemble_zab::ConnId;

/// Who waits for the leader's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// A client of this server.
    Client(ClientId),
    /// An observer, for a client of its own.
    Observer(ConnId),
}

impl Peer {
    /// A REQUEST from an observer. One that cannot be read ends the connection: the observer is not to be trusted.
    pub(crate) fn pass_on(&mut self, now: Now, observer: ConnId, request: Bytes, auth: Vec<AuthId>) {
        match ForwardedRequest::decode(&request) {
            Ok(decoded) => {
                if decoded.op == OpCode::Sync.code() {
                    self.next_sync += 1;
                    self.syncs.push_back((self.next_sync, Asker::Observer(observer)));
                }
                self.zab.forward(now, request, auth);
            }
            Err(error) => {
                tracing::debug!(%error, "request from an observer does not decode");
                self.effects.push_back(Effect::Close { conn: observer });
                self.zab.handle_closed(now, observer);
            }
        }
    }

    /// An observer asks whether it may serve a session.
    pub(crate) fn ask_for_observer(&mut self, observer: ConnId, session: SessionId, timeout_ms: i32) {
        self.revalidations.push_back((session, Asker::Observer(observer)));
        self.zab.revalidate(session, timeout_ms);
    }

    /// The leader's word on a session.
    pub(crate) fn answer_who_asked(&mut self, now: Now, session: SessionId, valid: bool) {
        let position = self.revalidations.iter().position(|(asked, _)| *asked == session);
        match position.and_then(|position| self.revalidations.remove(position)) {
            Some((_, Asker::Observer(observer))) => self.zab.answer_revalidate(observer, session, valid),
            Some((_, Asker::Client(_))) => self.revalidated(now, session, valid),
            None => {}
        }
    }
}
