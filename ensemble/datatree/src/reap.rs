//! Which container and TTL znodes have had their time (`ContainerManager.java`).
//!
//! A leader looks now and then, and asks for the deletion of what it finds by a request like any other, which is checked again when it is
//! prepared: a child that is created in between keeps the znode.

use crate::tree::DataTree;
use ensemble_proto::{StatPersisted, ZnodeKind};
use std::time::Duration;

impl DataTree {
    /// The paths of the znodes that may go, at most so many: containers that had children and have none, those never used for longer than
    /// `never_used_max` where there is such a limit, and TTL znodes without children whose data is older than their time to live. Oldest
    /// places first; `now_ms` is the wall clock.
    pub fn reapable(&self, now_ms: i64, never_used_max: Option<Duration>, count_max: usize) -> Vec<String> {
        let is_due = |stat: &StatPersisted| {
            let age_ms = now_ms.saturating_sub(stat.mtime);
            match stat.kind() {
                ZnodeKind::Container if stat.cversion > 0 => true,
                ZnodeKind::Container => never_used_max.is_some_and(|max| age_ms > max.as_millis() as i64),
                ZnodeKind::Ttl(ttl_ms) => age_ms > ttl_ms,
                ZnodeKind::Persistent | ZnodeKind::Ephemeral(_) => false,
            }
        };
        let due = self.reapable.iter().filter(|position| {
            let znode = &self.slab[**position];
            znode.child_count == 0 && is_due(&znode.stat)
        });
        due.take(count_max).map(|position| self.path_of(*position)).collect()
    }
}
