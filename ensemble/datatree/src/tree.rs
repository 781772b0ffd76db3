//! The tree itself: znodes, the indices over them, and the few ways to change it. Whatever changes a znode goes through
//! `attach`, `detach`, `update`, `replace_data` or `set_acl_list`, which keep every index and sum right.

use crate::acl_table::AclTable;
use crate::apply::DigestCheck;
use crate::index::ChildIndex;
use crate::quota::Quotas;
use crate::slab::{NONE, Position, Slab, Znode};
use crate::snapshot::{Cursor, Walk};
use crate::{digest, path};
use ensemble_proto::{Acl, AclList, SessionId, StatPersisted, ZnodeKind, Zxid};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The root's place: it is the first znode of every tree and never removed.
pub(crate) const ROOT: Position = 0;

/// A place among a session's ephemeral znodes.
#[derive(Clone, Copy, Debug)]
pub struct EphemeralMark(Position);

/// The replicated state of an ensemble as one server holds it: znodes and sessions, at one zxid.
pub struct DataTree {
    pub(crate) slab: Slab,
    pub(crate) index: ChildIndex,
    pub(crate) acls: AclTable,
    pub(crate) sessions: BTreeMap<SessionId, i32>,
    pub(crate) ephemerals: BTreeMap<SessionId, BTreeSet<Position>>,
    pub(crate) ephemeral_count: usize,
    /// Container and TTL znodes.
    pub(crate) reapable: BTreeSet<Position>,
    pub(crate) last_zxid: Zxid,
    pub(crate) digest: u64,
    pub(crate) data_bytes: usize,
    /// Snapshots under way.
    pub(crate) cursors: BTreeMap<Walk, Cursor>,
    pub(crate) digest_check: DigestCheck,
    pub(crate) quotas: Quotas,
}

impl DataTree {
    /// A tree with the system's four znodes, at zxid zero. `hash_seed` decides how names are spread over the index; it should
    /// not be known to clients, and has no other effect.
    pub fn new(hash_seed: u64) -> DataTree {
        let mut tree = DataTree::without_znodes(hash_seed, Zxid::ZERO);
        let stat = StatPersisted::default();
        let empty = || Some(&[][..]);
        tree.attach(NONE, "", empty(), None, stat, path::ROOT);
        tree.attach(ROOT, "zookeeper", empty(), None, stat, "/zookeeper");
        if let Some(zookeeper) = tree.child(ROOT, "zookeeper") {
            tree.attach(zookeeper, "quota", empty(), None, stat, "/zookeeper/quota");
        }
        tree.ensure_config();
        tree
    }

    pub(crate) fn without_znodes(hash_seed: u64, zxid: Zxid) -> DataTree {
        DataTree {
            slab: Slab::default(),
            index: ChildIndex::new(hash_seed),
            acls: AclTable::new(),
            sessions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            ephemeral_count: 0,
            reapable: BTreeSet::new(),
            last_zxid: zxid,
            digest: 0,
            data_bytes: 0,
            cursors: BTreeMap::new(),
            digest_check: DigestCheck::On,
            quotas: Quotas::default(),
        }
    }

    /// The last transaction applied.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// The sum of all znodes' digests; equal on every server at the same zxid.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Every global session and its timeout in ms.
    pub fn sessions(&self) -> &BTreeMap<SessionId, i32> {
        &self.sessions
    }

    /// The paths of a session's ephemeral znodes, in no order.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = String> + '_ {
        self.ephemerals.get(&session).into_iter().flatten().map(|position| self.path_of(*position))
    }

    /// The sessions that have ephemeral znodes, ascending.
    pub fn ephemeral_owners(&self) -> impl ExactSizeIterator<Item = SessionId> {
        self.ephemerals.keys().copied()
    }

    /// So many paths of a session's ephemeral znodes, of those after a mark, and the next mark: `None` where there are no more. What
    /// comes and goes between two calls may be left out, nothing comes twice.
    pub fn ephemerals_after(
        &self,
        session: SessionId,
        mark: Option<EphemeralMark>,
        count_max: usize,
    ) -> (Vec<String>, Option<EphemeralMark>) {
        let from = mark.map_or(Bound::Unbounded, |mark| Bound::Excluded(mark.0));
        let rest = self.ephemerals.get(&session).into_iter().flat_map(|all| all.range((from, Bound::Unbounded)));
        let taken: Vec<Position> = rest.take(count_max).copied().collect();
        let mark = taken.last().copied().filter(|_| taken.len() == count_max).map(EphemeralMark);
        (taken.into_iter().map(|position| self.path_of(position)).collect(), mark)
    }

    /// Number of znodes, the system's four included (`znode_count`).
    pub fn node_count(&self) -> usize {
        self.slab.len()
    }

    /// Number of ephemeral znodes (`ephemerals_count`).
    pub fn ephemeral_count(&self) -> usize {
        self.ephemeral_count
    }

    /// Bytes of all paths and data (`approximate_data_size`).
    pub fn approximate_data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// Publishes the ensemble's configuration as the data of `/zookeeper/config`, at `version`. No transaction says so, and the
    /// digest does not cover it: each server writes what it knows.
    ///
    /// Differs from ZooKeeper: mtime stays as it is instead of taking this server's clock.
    pub fn set_config(&mut self, text: &[u8], version: Zxid) {
        let config = self.ensure_config();
        let stat = StatPersisted { version: -1, mzxid: version, ..self.slab[config].stat };
        self.replace_data(config, Some(text), stat, path::CONFIG);
    }

    pub(crate) fn ensure_config(&mut self) -> Position {
        if let Some(config) = self.find(path::CONFIG) {
            return config;
        }
        let stat = StatPersisted { aversion: -1, ..StatPersisted::default() };
        let empty = StatPersisted::default();
        let zookeeper = self
            .child(ROOT, "zookeeper")
            .unwrap_or_else(|| self.attach(ROOT, "zookeeper", Some(&[]), None, empty, "/zookeeper"));
        let read_only: AclList = [Acl::world(Acl::READ)].into();
        self.attach(zookeeper, "config", Some(&[]), Some(&read_only), stat, path::CONFIG)
    }

    /// Makes room for so many znodes more.
    pub(crate) fn reserve(&mut self, znodes: usize) {
        self.index.reserve(&self.slab, znodes);
    }

    // ---- finding ----

    pub(crate) fn find(&self, path: &str) -> Option<Position> {
        match path.strip_prefix('/')? {
            "" => Some(ROOT),
            names => names.split('/').try_fold(ROOT, |parent, name| self.child(parent, name)),
        }
    }

    pub(crate) fn child(&self, parent: Position, name: &str) -> Option<Position> {
        self.index.find(&self.slab, parent, name)
    }

    /// A znode and all below it, every one before its children.
    pub(crate) fn subtree(&self, top: Position) -> impl Iterator<Item = Position> + '_ {
        let mut todo = vec![top];
        std::iter::from_fn(move || {
            let position = todo.pop()?;
            todo.extend(self.children(position));
            Some(position)
        })
    }

    pub(crate) fn children(&self, parent: Position) -> impl Iterator<Item = Position> + '_ {
        let link = |position: Position| (position != NONE).then_some(position);
        std::iter::successors(link(self.slab[parent].first_child), move |child| link(self.slab[*child].next_sibling))
    }

    pub(crate) fn path_of(&self, position: Position) -> String {
        if position == ROOT {
            return path::ROOT.to_string();
        }
        let up = |position: &Position| Some(self.slab[*position].parent).filter(|parent| *parent != ROOT);
        let mut names: Vec<&str> =
            std::iter::successors(Some(position), up).map(|position| self.slab[position].name()).collect();
        names.push("");
        names.reverse();
        names.join("/")
    }

    // ---- changing ----

    /// Adds a znode at the head of its parent's children. The parent has no child of that name. `path` is the new znode's.
    pub(crate) fn attach(
        &mut self,
        parent: Position,
        name: &str,
        data: Option<&[u8]>,
        acl: Option<&AclList>,
        stat: StatPersisted,
        path: &str,
    ) -> Position {
        let acl = self.acls.intern(acl);
        let digest = digest::znode(path, data, &stat);
        self.data_bytes += path.len() + data.map_or(0, <[u8]>::len);
        self.digest = digest::replaced(self.digest, 0, digest);
        let next_sibling = if parent == NONE { NONE } else { self.slab[parent].first_child };
        let mut znode = Znode::new(name, data, stat);
        (znode.acl, znode.digest, znode.parent, znode.next_sibling) = (acl, digest, parent, next_sibling);
        let position = self.slab.insert(znode);
        if parent != NONE {
            if next_sibling != NONE {
                self.slab[next_sibling].previous_sibling = position;
            }
            self.slab[parent].first_child = position;
            self.slab[parent].child_count += 1;
            self.index.insert(&self.slab, position);
        }
        match stat.kind() {
            ZnodeKind::Persistent => {}
            ZnodeKind::Ephemeral(session) => {
                self.ephemerals.entry(session).or_default().insert(position);
                self.ephemeral_count += 1;
            }
            ZnodeKind::Container | ZnodeKind::Ttl(_) => drop(self.reapable.insert(position)),
        }
        position
    }

    /// Removes a znode that is not the root, with everything below it. `path` is the znode's.
    pub(crate) fn detach(&mut self, position: Position, path: &str) {
        self.move_cursors_off(position);
        let (parent, next, previous) = {
            let znode = &self.slab[position];
            (znode.parent, znode.next_sibling, znode.previous_sibling)
        };
        match previous {
            NONE => self.slab[parent].first_child = next,
            previous => self.slab[previous].next_sibling = next,
        }
        if next != NONE {
            self.slab[next].previous_sibling = previous;
        }
        self.slab[parent].child_count -= 1;
        let mut doomed = vec![(position, path.len())];
        while let Some((position, path_bytes)) = doomed.pop() {
            let children = self.children(position).map(|child| (child, path_bytes + 1 + self.slab[child].name_len()));
            doomed.extend(children);
            self.forget(position, path_bytes);
        }
    }

    fn forget(&mut self, position: Position, path_bytes: usize) {
        self.index.remove(&self.slab, position);
        let znode = self.slab.remove(position);
        self.acls.release(znode.acl);
        self.digest = digest::replaced(self.digest, znode.digest, 0);
        self.data_bytes -= path_bytes + znode.data_len();
        match znode.stat.kind() {
            ZnodeKind::Persistent => {}
            ZnodeKind::Ephemeral(session) => {
                self.ephemeral_count -= 1;
                if let Some(positions) = self.ephemerals.get_mut(&session) {
                    positions.remove(&position);
                    if positions.is_empty() {
                        self.ephemerals.remove(&session);
                    }
                }
            }
            ZnodeKind::Container | ZnodeKind::Ttl(_) => drop(self.reapable.remove(&position)),
        }
    }

    /// Replaces a znode's data and stat. `path` is the znode's.
    pub(crate) fn replace_data(&mut self, position: Position, data: Option<&[u8]>, stat: StatPersisted, path: &str) {
        let znode = &mut self.slab[position];
        let old = znode.data_len();
        znode.set_data(data);
        self.data_bytes = self.data_bytes - old + znode.data_len();
        self.update(position, stat, path);
    }

    /// Replaces a znode's stat, but for the owner, which stays. `path` is the znode's.
    pub(crate) fn update(&mut self, position: Position, stat: StatPersisted, path: &str) {
        let znode = &mut self.slab[position];
        assert_eq!(znode.stat.ephemeral_owner, stat.ephemeral_owner, "a znode keeps its owner");
        znode.stat = stat;
        let digest = digest::znode(path, znode.data(), &stat);
        self.digest = digest::replaced(self.digest, znode.digest, digest);
        znode.digest = digest;
    }

    /// Replaces a znode's ACL list; its stat stays.
    pub(crate) fn set_acl_list(&mut self, position: Position, list: Option<&AclList>) {
        let id = self.acls.intern(list);
        let old = std::mem::replace(&mut self.slab[position].acl, id);
        self.acls.release(old);
    }
}
