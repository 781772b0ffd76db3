//! What a leader checks before a reconfiguration becomes a transaction (`PrepRequestProcessor.pRequest2Txn`). The order of the checks is
//! part of the protocol, because the first that fails is the answer. The last one, whether the client may write
//! `/zookeeper/config`, is the tree's.

use crate::{CLIENTS, Peer};
use bytes::Bytes;
use ensemble_proto::jute::Reader;
use ensemble_proto::membership::Membership;
use ensemble_proto::reconfig::ReconfigRequest;
use ensemble_proto::{ErrorCode, Zxid};
use ensemble_zab::ReconfigRefusal;

/// A request for any version.
const ANY_VERSION: i64 = -1;

impl Peer {
    /// The configuration that a request makes, or why there is none. `standing` says whether its session may write.
    pub(crate) fn next_configuration<T>(
        &self,
        zxid: Zxid,
        body: &Bytes,
        standing: Result<T, ErrorCode>,
    ) -> Result<Membership, ErrorCode> {
        let config = &self.config.zab;
        if !config.reconfig {
            return Err(ErrorCode::RECONFIG_DISABLED);
        }
        standing?;
        if config.standalone {
            return Err(ErrorCode::UNIMPLEMENTED);
        }
        if self.zab.pending_membership().is_some() {
            return Err(ErrorCode::RECONFIG_IN_PROGRESS);
        }
        let request = ReconfigRequest::decode(&mut Reader::new(body)).map_err(|_| ErrorCode::MARSHALLING_ERROR)?;
        let active = self.zab.membership();
        if request.from_version != ANY_VERSION && request.from_version != active.version.0 {
            return Err(ErrorCode::BAD_VERSION);
        }
        let next = request.apply(active, zxid).map_err(|error| {
            tracing::info!(target: CLIENTS, %error, "refusing a reconfiguration");
            ErrorCode::BAD_ARGUMENTS
        })?;
        let voters_min = if self.config.standalone_enabled { 2 } else { 1 };
        if next.voters().count() < voters_min {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        match self.zab.can_reconfigure(&next) {
            Ok(()) => Ok(next),
            Err(ReconfigRefusal::InProgress) => Err(ErrorCode::RECONFIG_IN_PROGRESS),
            Err(ReconfigRefusal::NoQuorum | ReconfigRefusal::NotLeading) => Err(ErrorCode::NEW_CONFIG_NO_QUORUM),
        }
    }
}
