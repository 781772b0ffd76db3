//! The ensemble's configuration as clients see it: the data of `/zookeeper/config`.
//!
//! Every server writes it there by itself when a configuration becomes active with it, so it is in no digest
//! (`ZKDatabase.initConfigInZKDatabase`); the transaction of a reconfiguration writes the same.

use crate::Peer;
use bytes::Bytes;
use ensemble_datatree::{CONFIG_PATH, DataTree};
use ensemble_proto::membership::{Member, MemberRole, Membership};
use ensemble_proto::txn::{SetDataTxn, Txn, TxnHeader, TxnRecord};
use ensemble_proto::{ServerId, SessionId, Zxid, reconfig};
use std::collections::BTreeMap;

/// The configuration that a tree holds; `None` when there is none that can be read.
pub(crate) fn held(tree: &DataTree) -> Option<Membership> {
    reconfig::parse(tree.get(CONFIG_PATH)?.data()?).ok()
}

/// The configuration of one server alone, and the payload of the reconfiguration that makes it, for a store that is taken over into a new
/// ensemble (`ensemble_storage::take_over`). `own` is the server's line, whatever its role. The record has no digest: nobody has applied
/// what comes before it yet.
pub fn alone(id: ServerId, own: &Member, zxid: Zxid, time_ms: i64) -> (Membership, Bytes) {
    let own = Member { role: MemberRole::Participant, ..own.clone() };
    let membership = Membership { version: zxid, servers: BTreeMap::from([(id, own)]), ..Membership::default() };
    let data = Some(Bytes::from(membership.to_string()));
    let txn = Txn::Reconfig(SetDataTxn { path: CONFIG_PATH.to_owned(), data, version: -1 });
    let header = TxnHeader { session: SessionId(0), cxid: 0, zxid, time_ms };
    (membership, TxnRecord { header, txn, digest: None }.encode())
}

impl Peer {
    /// Writes the active configuration into the tree, unlogged. A later one that came with a snapshot stays.
    pub(crate) fn publish_config(&mut self) {
        let active = self.zab.membership();
        let held = held(&self.tree).filter(|_| self.config.zab.reconfig);
        if active.servers.is_empty() || held.is_some_and(|held| held.version > active.version) {
            return;
        }
        let (version, text) = (active.version, active.to_string());
        self.tree.set_config(text.as_bytes(), version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_the_reconfiguration_that_makes_the_configuration() {
        let own = Member::parse("server.3", "zk-2:1:2:observer;3").unwrap();
        let (membership, payload) = alone(ServerId(3), &own, Zxid(0x8_0000_0001), 5);
        assert_eq!(membership.to_string(), "server.3=zk-2:1:2:participant;0.0.0.0:3\nversion=800000001");
        assert_eq!(reconfig::proposed(&payload).unwrap(), Some(membership));
    }
}
