//! Counts everything again, the slow way, and compares: the indices and sums that every change keeps must be what the
//! znodes themselves say. For tests and simulations.

use crate::acl_table::AclId;
use crate::digest;
use crate::slab::{NONE, Position};
use crate::tree::{DataTree, ROOT};
use ensemble_proto::{SessionId, ZnodeKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};

#[derive(Default)]
struct Count {
    znodes: usize,
    bytes: usize,
    digest: u64,
    ephemerals: BTreeMap<SessionId, BTreeSet<Position>>,
    reapable: BTreeSet<Position>,
    acl_uses: BTreeMap<AclId, u32>,
}

impl DataTree {
    /// Recomputes counts, digest, ephemerals, limited paths, ACL uses and links from the znodes.
    ///
    /// # Errors
    /// What differs first, in words.
    pub fn recount(&self) -> Result<(), String> {
        let mut count = Count::default();
        for position in self.subtree(ROOT) {
            self.count(position, &mut count)?;
        }
        same("znodes", self.slab.len(), count.znodes)?;
        same("indexed znodes", self.index.len(), count.znodes - 1)?;
        same("bytes", self.data_bytes, count.bytes)?;
        same("digest", self.digest, count.digest)?;
        same("ephemeral count", self.ephemeral_count, count.ephemerals.values().map(BTreeSet::len).sum())?;
        same("ephemerals", &self.ephemerals, &count.ephemerals)?;
        same("container and TTL znodes", &self.reapable, &count.reapable)?;
        same("limited paths", &self.quotas, &self.find_quotas())?;
        count.acl_uses.remove(&AclId::NULL);
        same("ACL uses", self.acls.uses(), count.acl_uses)
    }

    fn count(&self, position: Position, count: &mut Count) -> Result<(), String> {
        let znode = &self.slab[position];
        let path = self.path_of(position);
        let digest = digest::znode(&path, znode.data(), &znode.stat);
        same(format_args!("digest of {path}"), znode.digest, digest)?;
        same(format_args!("children of {path}"), znode.child_count as usize, self.children(position).count())?;
        let mut previous = NONE;
        for child in self.children(position) {
            let links = (self.slab[child].parent, self.slab[child].previous_sibling);
            let name = self.slab[child].name();
            same(format_args!("links of {name} below {path}"), links, (position, previous))?;
            same("index", self.child(position, name), Some(child))?;
            previous = child;
        }
        count.znodes += 1;
        count.bytes += path.len() + znode.data_len();
        count.digest = count.digest.wrapping_add(digest.into());
        *count.acl_uses.entry(znode.acl).or_default() += 1;
        match znode.stat.kind() {
            ZnodeKind::Persistent => {}
            ZnodeKind::Ephemeral(session) => {
                count.ephemerals.entry(session).or_default().insert(position);
            }
            ZnodeKind::Container | ZnodeKind::Ttl(_) => drop(count.reapable.insert(position)),
        }
        Ok(())
    }
}

fn same<T: PartialEq + Debug>(what: impl Display, kept: T, counted: T) -> Result<(), String> {
    if kept == counted { Ok(()) } else { Err(format!("{what}: kept {kept:?}, counted {counted:?}")) }
}
