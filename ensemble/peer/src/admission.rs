//! Who is served at all, before any ACL is asked: by the office of this server, by the name of the ensemble that a client means, by how it has
//! authenticated; and by how much others ask for at the same time.
//!
//! Sources: `Leader.java` (`leaderServes`), `EnsembleAuthenticationProvider.java`, `AuthenticationHelper.java`, `ZooKeeperServer.java` (`largeRequestThreshold`) of Apache ZooKeeper 3.9.

use crate::client::Slot;
use crate::connect_throttle::{ConnectThrottle, Wanted};
use crate::{CLIENTS, ClientId, Peer, RequestThrottle};
use ensemble_proto::quorum::AuthId;
use ensemble_proto::{ErrorCode, Now, SessionId, Zxid};
use ensemble_zab::Role;

/// As much of the name of an ensemble that a client means is logged: it is the client's word.
const NAME_CHARS_MAX: usize = 32;

/// Who is served. The default is everybody.
#[derive(Clone, Default, Debug)]
pub struct Admission {
    /// `leaderServes=no`: as the leader, serve nobody; a standalone server serves all the same.
    pub is_leader_closed: bool,
    /// `enforce.auth.schemes` with `enforce.auth.enabled`: a client needs an identity of one of these; empty for no such need. An identity of scheme `ip` every
    /// connection has.
    pub schemes: Vec<String>,
    /// `ensembleAuthName`: the names of this ensemble, of which a client that authenticates by scheme `ensemble` must mean one; empty for any name. `None`:
    /// there is no such scheme.
    pub ensemble_names: Option<Vec<String>>,
    /// How many handshakes are taken in a time; `None` is no limit.
    pub connect_throttle: Option<ConnectThrottle>,
    /// What unanswered large requests may come to; `None` is no limit.
    pub large_requests: Option<LargeRequests>,
    /// How many requests are under way at once; `None` is no limit.
    pub request_throttle: Option<RequestThrottle>,
}

/// The limit of large requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LargeRequests {
    /// A request of more bytes is large (`largeRequestThreshold`).
    pub threshold: usize,
    /// Bytes that unanswered large requests may have together; one more ends its connection (`largeRequestMaxBytes`).
    pub bytes_max: usize,
}

/// What came of an auth packet of scheme `ensemble`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meant {
    /// A name of ours.
    Us,
    /// Nobody: the client gave no name, or we have none.
    Anyone,
    /// Another ensemble.
    Others,
}

impl Admission {
    fn admits(&self, identities: &[AuthId]) -> bool {
        self.schemes.is_empty() || identities.iter().any(|identity| self.schemes.contains(&identity.scheme))
    }

    fn meant(&self, names: &[String], given: &[u8]) -> Meant {
        match names.iter().any(|name| name.as_bytes() == given) {
            _ if given.is_empty() || names.is_empty() => Meant::Anyone,
            true => Meant::Us,
            false => Meant::Others,
        }
    }
}

impl Admission {
    /// What a request of so many bytes counts against the limit of large ones.
    pub(crate) fn large_bytes(&self, bytes: usize) -> usize {
        self.large_requests.filter(|limit| bytes > limit.threshold).map_or(0, |_| bytes)
    }
}

impl Peer {
    /// Whether the handshake comes too soon after others; says so.
    pub(crate) fn is_throttled(&mut self, now: Now, session: SessionId) -> bool {
        let wanted = match session {
            SessionId(0) if self.begins_local_sessions() => Wanted::Local,
            SessionId(0) => Wanted::Global,
            _ => Wanted::Renew,
        };
        let Some(bucket) = &mut self.connect_bucket else { return false };
        let is_admitted = bucket.admits(now.elapsed, wanted);
        self.measures.connection_drop_probability = bucket.drop_chance();
        if is_admitted {
            self.measures.connection_token_deficit.observe(now.elapsed, bucket.deficit() as f64);
        } else {
            self.measures.connections_throttled += 1;
        }
        !is_admitted
    }

    /// Ends the connection of a client whose large request is one too many. Whether it did.
    pub(crate) fn refuse_large(&mut self, id: ClientId, bytes: usize) -> bool {
        let admission = &self.config.admission;
        let (large, bytes_max) =
            (admission.large_bytes(bytes), admission.large_requests.map_or(0, |limit| limit.bytes_max));
        if large == 0 || self.large_bytes + large <= bytes_max {
            return false;
        }
        self.measures.large_requests_rejected += 1;
        self.reject_client(id, "a large request, while others that are not answered come to largeRequestMaxBytes");
        true
    }

    /// Whether this server's office keeps clients away.
    pub(crate) fn is_closed_to_clients(&self) -> bool {
        self.config.admission.is_leader_closed && self.office == Some(Role::Leading) && !self.config.zab.standalone
    }

    /// Ends the connection of a client that has not authenticated as it must, with the reason as the answer to its request. Whether it did.
    pub(crate) fn turn_away(&mut self, now: Now, id: ClientId, xid: i32) -> bool {
        let Some(client) = self.clients.get(id) else { return false };
        if self.config.admission.admits(&client.identities) {
            return false;
        }
        tracing::info!(target: CLIENTS, address = %client.address, "a client has not authenticated by a scheme of enforce.auth.schemes, the connection ends");
        self.answer(now, id, xid, Zxid::ZERO, ErrorCode::SESSION_CLOSED_REQUIRE_SASL_AUTH);
        self.push_slot(id, Slot::Close);
        self.drain(now, id);
        true
    }

    /// An auth packet of scheme `ensemble`, with the name that the client gave. It gives no identity: a client that means another ensemble is sent away without
    /// a word, so that it looks for a server elsewhere, and everyone else is told that it is well.
    ///
    /// `None` when there is no such scheme.
    pub(crate) fn check_ensemble_name(&mut self, now: Now, id: ClientId, xid: i32, given: &[u8]) -> Option<()> {
        let admission = &self.config.admission;
        match admission.meant(admission.ensemble_names.as_deref()?, given) {
            Meant::Us => self.measures.ensemble_auth_success += 1,
            Meant::Anyone => self.measures.ensemble_auth_skip += 1,
            Meant::Others => {
                self.measures.ensemble_auth_fail += 1;
                let name: String = String::from_utf8_lossy(given).chars().take(NAME_CHARS_MAX).collect();
                let address = self.clients.get(id).map(|client| tracing::field::display(client.address));
                tracing::info!(target: CLIENTS, address, name, "refusing a client: it means another ensemble");
                self.close_client(id);
                return Some(());
            }
        }
        self.answer(now, id, xid, Zxid::ZERO, ErrorCode::OK);
        Some(())
    }
}
