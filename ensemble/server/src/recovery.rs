//! The first start of a server whose volume is to become the first member of a new ensemble, because the former one lost its majority
//! (`ensemble.recovery.*`). What becomes of the volume, and in which order, is in [`ensemble_storage::take_over`].

use crate::clock::Clock;
use crate::config::Settings;
use crate::member::MemberError;
use bytes::Bytes;
use ensemble_datatree::CONFIG_PATH;
use ensemble_proto::membership::{Member, MemberRole, Membership};
use ensemble_proto::txn::{SetDataTxn, Txn, TxnHeader, TxnRecord};
use ensemble_proto::{ServerId, SessionId, Zxid};
use ensemble_storage::{RealDisk, take_over as take_over_volume};
use std::collections::BTreeMap;

/// Takes the volume over, if that is what is asked for, or what a crash has left undone; whether it did.
///
/// # Errors
/// Whatever keeps the volume from being taken over. It is then the former ensemble's, unless it was not before.
pub(crate) fn take_over(settings: &Settings, clock: Clock) -> Result<bool, MemberError> {
    let (Some(operator), Some(own)) = (&settings.operator, &settings.ensemble.own) else { return Ok(false) };
    let directories = &settings.directories;
    let disk = RealDisk::open(&directories.data, &directories.log, settings.datadir_autocreate)?;
    let mut disk = settings.with_config(disk);
    let time_ms = clock.now().wall_ms;
    let reconfiguration = |zxid| alone(settings.id, own, zxid, time_ms);
    let owner = (operator.ensemble_id.as_str(), settings.id.0);
    let taken = take_over_volume(&mut disk, owner, operator.recovery.as_ref(), &settings.storage, reconfiguration)?;
    if let Some(taken) = &taken {
        tracing::warn!(
            server = settings.id.0,
            ensemble = operator.ensemble_id,
            former = taken.former_id,
            last = %taken.last,
            zxid = %taken.zxid,
            "this volume is taken over from an ensemble that lost its majority: its history goes on with this server as the only member"
        );
    }
    Ok(taken.is_some())
}

/// The configuration of this server alone, and the record of the reconfiguration that makes it. The record has no digest: nobody has applied
/// what comes before it yet.
fn alone(id: ServerId, own: &Member, zxid: Zxid, time_ms: i64) -> (Membership, Bytes) {
    let own = Member { role: MemberRole::Participant, ..own.clone() };
    let membership = Membership { version: zxid, servers: BTreeMap::from([(id, own)]), ..Membership::default() };
    let data = Some(Bytes::from(membership.to_string()));
    let txn = Txn::Reconfig(SetDataTxn { path: CONFIG_PATH.to_owned(), data, version: -1 });
    let header = TxnHeader { session: SessionId(0), cxid: 0, zxid, time_ms };
    (membership, TxnRecord { header, txn, digest: None }.encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ensemble_proto::reconfig;

    #[test]
    fn the_record_is_the_reconfiguration_that_makes_the_configuration() {
        let own = Member::parse("server.3", "zk-2:1:2:observer;3").unwrap();
        let (membership, payload) = alone(ServerId(3), &own, Zxid(0x8_0000_0001), 5);
        assert_eq!(membership.to_string(), "server.3=zk-2:1:2:participant;0.0.0.0:3\nversion=800000001");
        assert_eq!(reconfig::proposed(&payload).unwrap(), Some(membership));
    }
}
