//! What a leader checks before a reconfiguration becomes a transaction (`PrepRequestProcessor.pRequest2Txn`). The order of the checks is
//! part of the protocol, because the first that fails is the answer. The last one, whether the client may write
//! `/zookeeper/config`, is the tree's.
//!
//! Clients ask for one, and so may the owner of the server, without a session: [`Peer::reconfigure`]. That one is checked before it is given
//! a place in the order, so that most refusals leave no transaction behind, and again when it gets there.

use crate::leader::{Submission, Waiting};
use crate::{CLIENTS, Peer};
use bytes::Bytes;
use ensemble_proto::client::OpCode;
use ensemble_proto::jute::Reader;
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::AuthId;
use ensemble_proto::reconfig::{ReconfigError, ReconfigRequest};
use ensemble_proto::txn::{Txn, TxnRecord};
use ensemble_proto::{ErrorCode, Now, SessionId, Zxid};
use ensemble_zab::{ReconfigRefusal, Role};
use std::error::Error;
use std::fmt;

/// A request for any version.
const ANY_VERSION: i64 = -1;

/// Why an ensemble is not reconfigured. Nothing has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReconfigureError {
    /// This server is no established leader of an ensemble, or is about to hand its office over.
    NotLeading,
    /// `reconfigEnabled` is not `true`.
    Disabled,
    /// The request is meant for another version than the active one.
    BadVersion {
        /// The active configuration's.
        active: Zxid,
    },
    /// Another reconfiguration is not committed yet.
    InProgress,
    /// No quorum of the new configuration is connected and in sync.
    NoQuorum,
    /// The request makes no configuration.
    BadArguments(ReconfigError),
    /// With `standaloneEnabled` an ensemble keeps two participants at least.
    TooFewVoters,
    /// What any request of a client may be refused with.
    Other(ErrorCode),
}

impl ReconfigureError {
    /// What a client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            ReconfigureError::Disabled => ErrorCode::RECONFIG_DISABLED,
            ReconfigureError::BadVersion { .. } => ErrorCode::BAD_VERSION,
            ReconfigureError::InProgress => ErrorCode::RECONFIG_IN_PROGRESS,
            ReconfigureError::NotLeading | ReconfigureError::NoQuorum => ErrorCode::NEW_CONFIG_NO_QUORUM,
            ReconfigureError::BadArguments(_) | ReconfigureError::TooFewVoters => ErrorCode::BAD_ARGUMENTS,
            ReconfigureError::Other(code) => *code,
        }
    }
}

impl fmt::Display for ReconfigureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReconfigureError::NotLeading => f.write_str("this server does not lead an ensemble"),
            ReconfigureError::Disabled => f.write_str("the configuration cannot change (reconfigEnabled)"),
            ReconfigureError::BadVersion { active } => write!(f, "the configuration has version {active}"),
            ReconfigureError::InProgress => f.write_str("a reconfiguration is in progress"),
            ReconfigureError::NoQuorum => {
                f.write_str("no quorum of the new configuration is connected to the leader and in sync")
            }
            ReconfigureError::BadArguments(error) => error.fmt(f),
            ReconfigureError::TooFewVoters => {
                f.write_str("too few participants would be left: with standaloneEnabled there must be two")
            }
            ReconfigureError::Other(code) => write!(f, "refused with error {}", code.0),
        }
    }
}

impl Error for ReconfigureError {}

/// How the reconfiguration fares that this server's owner asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reconfiguration {
    /// It has no place in the order yet: too many writes are outstanding.
    Waiting,
    /// It is proposed, and not known to be committed: it may come to nothing when this server leads no more.
    Proposed(Zxid),
    /// It is committed, and active at this server. Its zxid is the version of the configuration.
    Active(Zxid),
    /// It was refused when its turn came.
    Refused(ReconfigureError),
}

impl Peer {
    /// Asks for a reconfiguration, as a client does that may do anything, but without a session. [`Peer::reconfiguration`] tells how it
    /// goes, until [`Peer::end_reconfiguration`].
    ///
    /// # Errors
    /// When it is refused; nothing has happened then.
    pub fn reconfigure(&mut self, now: Now, request: &ReconfigRequest) -> Result<(), ReconfigureError> {
        if self.office != Some(Role::Leading) || self.config.zab.standalone {
            return Err(ReconfigureError::NotLeading);
        }
        if self.reconfiguration.is_some() {
            return Err(ReconfigureError::InProgress);
        }
        let mut body = Vec::new();
        request.encode(&mut body);
        let body = Bytes::from(body);
        self.next_configuration(self.zab.next_zxid(), &body, Ok(()))?;
        self.reconfiguration = Some(Reconfiguration::Waiting);
        let anything = AuthId { scheme: "super".to_owned(), id: String::new() };
        self.submit(
            now,
            Submission {
                from: None,
                session: SessionId(0),
                cxid: 0,
                op: OpCode::Reconfig.code(),
                body,
                identities: [anything].into(),
            },
        );
        self.pump(now);
        Ok(())
    }

    /// How the reconfiguration fares that the owner asked for; `None` when there is none.
    pub fn reconfiguration(&self) -> Option<&Reconfiguration> {
        self.reconfiguration.as_ref()
    }

    /// Waits for it no longer: what is known of it. One that was not proposed never will be.
    pub fn end_reconfiguration(&mut self) -> Option<Reconfiguration> {
        let is_own = |waiting: &Waiting| matches!(waiting, Waiting::Write(write, _) if is_own_reconfig(write));
        self.leader.waiting.retain(|waiting| !is_own(waiting));
        self.reconfiguration.take()
    }

    /// A request of the owner became this record, or an error.
    pub(crate) fn note_reconfig(
        &mut self,
        submission: &Submission,
        record: &TxnRecord,
        refused: Option<ReconfigureError>,
    ) {
        if !is_own_reconfig(submission) {
            return;
        }
        self.reconfiguration = Some(match (&record.txn, refused) {
            (_, Some(error)) => Reconfiguration::Refused(error),
            (Txn::Error(code), None) => Reconfiguration::Refused(ReconfigureError::Other(*code)),
            (_, None) => Reconfiguration::Proposed(record.header.zxid),
        });
    }

    /// This transaction is committed and applied.
    pub(crate) fn note_reconfigured(&mut self, zxid: Zxid) {
        if self.reconfiguration == Some(Reconfiguration::Proposed(zxid)) {
            self.reconfiguration = Some(Reconfiguration::Active(zxid));
        }
    }

    /// The office ended, and what waited with it.
    pub(crate) fn give_up_reconfig(&mut self) {
        if self.reconfiguration == Some(Reconfiguration::Waiting) {
            self.reconfiguration = Some(Reconfiguration::Refused(ReconfigureError::NotLeading));
        }
    }

    /// The configuration that a request makes, or why there is none. `standing` says whether its session may write.
    pub(crate) fn next_configuration<T>(
        &self,
        zxid: Zxid,
        body: &Bytes,
        standing: Result<T, ErrorCode>,
    ) -> Result<Membership, ReconfigureError> {
        let config = &self.config.zab;
        if !config.reconfig {
            return Err(ReconfigureError::Disabled);
        }
        standing.map_err(ReconfigureError::Other)?;
        if config.standalone {
            return Err(ReconfigureError::Other(ErrorCode::UNIMPLEMENTED));
        }
        if self.zab.pending_membership().is_some() {
            return Err(ReconfigureError::InProgress);
        }
        let request = ReconfigRequest::decode(&mut Reader::new(body))
            .map_err(|_| ReconfigureError::Other(ErrorCode::MARSHALLING_ERROR))?;
        let active = self.zab.membership();
        if request.from_version != ANY_VERSION && request.from_version != active.version.0 {
            return Err(ReconfigureError::BadVersion { active: active.version });
        }
        let next = request.apply(active, zxid).map_err(|error| {
            tracing::info!(target: CLIENTS, %error, "refusing a reconfiguration");
            ReconfigureError::BadArguments(error)
        })?;
        let voters_min = if self.config.standalone_enabled { 2 } else { 1 };
        if next.voters().count() < voters_min {
            return Err(ReconfigureError::TooFewVoters);
        }
        match self.zab.can_reconfigure(&next) {
            Ok(()) => Ok(next),
            Err(ReconfigRefusal::InProgress) => Err(ReconfigureError::InProgress),
            Err(ReconfigRefusal::NoQuorum) => Err(ReconfigureError::NoQuorum),
            Err(ReconfigRefusal::NotLeading) => Err(ReconfigureError::NotLeading),
        }
    }
}

fn is_own_reconfig(submission: &Submission) -> bool {
    submission.from.is_none() && submission.op == OpCode::Reconfig.code()
}
