//! The ensemble's configuration as clients see it: the data of `/zookeeper/config`.
//!
//! Every server writes it there by itself when a configuration becomes active with it, so it is in no digest
//! (`ZKDatabase.initConfigInZKDatabase`); the transaction of a reconfiguration writes the same.

use crate::Peer;
use ensemble_datatree::{CONFIG_PATH, DataTree};
use ensemble_proto::membership::Membership;
use ensemble_proto::reconfig;

/// The configuration that a tree holds; `None` when there is none that can be read.
pub(crate) fn held(tree: &DataTree) -> Option<Membership> {
    reconfig::parse(tree.get(CONFIG_PATH)?.data()?).ok()
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
