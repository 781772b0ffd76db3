//! What the tree will be once everything proposed has been applied (`ChangeRecord`, `outstandingChanges`).
//!
//! A leader proposes the next transactions while earlier ones are on their way, so a request must be checked against the tree
//! *plus* those. Only znodes that they touch are kept here, in their future state; the digest of the future tree is
//! kept too, by the same sum that the tree keeps.

use crate::digest;
use crate::read::NodeRef;
use crate::tree::DataTree;
use bytes::Bytes;
use ensemble_proto::{AclList, SessionId, StatPersisted, ZnodeKind, Zxid};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// The changes of proposals that are not applied yet. As many as proposals can be outstanding, times the znodes that each
/// touches.
pub struct Pending {
    records: HashMap<Arc<str>, Record, FixedState>,
    /// What touched which znode, ascending.
    changes: VecDeque<(Zxid, Arc<str>)>,
    /// Ephemeral znodes among the records.
    ephemerals: BTreeSet<(SessionId, Arc<str>)>,
    /// The future tree's digest; `None` when nothing is pending, and it is the tree's.
    digest: Option<u64>,
    /// Where the changes of the last request begin.
    last: Option<Mark>,
    /// What a quota has refused since somebody asked last.
    over_quota: Option<String>,
}

/// A znode's future, and the transaction that settles it.
struct Record {
    zxid: Zxid,
    /// `None` when it will be gone.
    znode: Option<FutureZnode>,
}

/// A znode as it will be.
#[derive(Clone)]
pub(crate) struct FutureZnode {
    pub(crate) stat: StatPersisted,
    pub(crate) child_count: i32,
    pub(crate) acl: Option<AclList>,
    pub(crate) data: FutureData,
    digest: u32,
}

/// Its data. Needed for nothing but the digest.
#[derive(Clone)]
pub(crate) enum FutureData {
    /// What the tree has: no pending transaction replaces it.
    OfTree,
    /// What a pending transaction gives it.
    Replaced(Option<Bytes>),
}

impl FutureZnode {
    /// A znode to be created.
    pub(crate) fn created(stat: StatPersisted, acl: Option<AclList>, data: Option<Bytes>) -> FutureZnode {
        FutureZnode { stat, child_count: 0, acl, data: FutureData::Replaced(data), digest: 0 }
    }

    fn of_tree(znode: NodeRef<'_>) -> FutureZnode {
        let stored = znode.persisted();
        FutureZnode {
            stat: stored.stat,
            child_count: stored.child_count as i32,
            acl: znode.stored_acl().cloned(),
            data: FutureData::OfTree,
            digest: stored.digest,
        }
    }

    /// The list that decides; an absent one grants everything.
    pub(crate) fn acl(&self) -> &[ensemble_proto::Acl] {
        self.acl.as_deref().unwrap_or_default()
    }
}

/// Where a group of changes began, so that all of them can be taken back.
pub(crate) struct Mark {
    changes: usize,
    digest: Option<u64>,
    /// What each change replaced, in order.
    replaced: Vec<Option<Record>>,
}

impl Pending {
    /// Nothing is pending. See [`DataTree::new`] for `hash_seed`.
    pub fn new(hash_seed: u64) -> Pending {
        Pending {
            records: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            changes: VecDeque::new(),
            ephemerals: BTreeSet::new(),
            digest: None,
            last: None,
            over_quota: None,
        }
    }

    /// The path at which a quota has refused something, of the last such request; once.
    pub fn take_over_quota(&mut self) -> Option<String> {
        self.over_quota.take()
    }

    /// A quota refuses what would be at a path.
    pub(crate) fn refuse_over_quota(&mut self, path: &str) {
        self.over_quota = Some(path.to_owned());
    }

    /// Everything up to `zxid` has been applied to the tree: its changes are no longer pending.
    pub fn applied(&mut self, zxid: Zxid) {
        self.last = None;
        while let Some((_, path)) = self.changes.pop_front_if(|(at, _)| *at <= zxid) {
            if self.records.get(&path).is_some_and(|record| record.zxid <= zxid) {
                let record = self.records.remove(&path);
                self.unlist_ephemeral(&path, record.as_ref());
            }
        }
        if self.changes.is_empty() {
            self.digest = None;
        }
    }

    /// Number of changes that wait.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The digest of the tree once all of this is applied.
    pub(crate) fn digest(&self, tree: &DataTree) -> u64 {
        self.digest.unwrap_or(tree.digest())
    }

    /// The znode as it will be.
    pub(crate) fn get(&self, tree: &DataTree, path: &str) -> Option<FutureZnode> {
        match self.records.get(path) {
            Some(record) => record.znode.clone(),
            None => tree.get(path).map(FutureZnode::of_tree),
        }
    }

    /// The paths of the ephemeral znodes that a session will have, ascending.
    pub(crate) fn ephemerals(&self, tree: &DataTree, session: SessionId) -> BTreeSet<String> {
        let first = (session, Arc::from(""));
        let created = self.ephemerals.range(first..).take_while(|(owner, _)| *owner == session);
        tree.ephemerals(session)
            .filter(|path| !self.records.contains_key(path.as_str()))
            .chain(created.map(|(_, path)| path.to_string()))
            .collect()
    }

    /// The changes since `mark` are those of one request.
    pub(crate) fn keep(&mut self, mark: Mark) {
        self.last = Some(mark);
    }

    /// Takes back the changes of the last request, unless anything has been applied since.
    pub(crate) fn take_back(&mut self) {
        if let Some(mark) = self.last.take() {
            self.roll_back(mark);
        }
    }

    /// Begins a group of changes.
    pub(crate) fn mark(&self) -> Mark {
        Mark { changes: self.changes.len(), digest: self.digest, replaced: Vec::new() }
    }

    /// `zxid` makes the znode at `path` this, or nothing.
    pub(crate) fn put(&mut self, tree: &DataTree, mark: &mut Mark, zxid: Zxid, path: &str, znode: Option<FutureZnode>) {
        let digest_before = match self.records.get(path) {
            Some(record) => record.znode.as_ref().map_or(0, |znode| znode.digest),
            None => tree.get(path).map_or(0, |znode| znode.persisted().digest),
        };
        let znode = znode.map(|mut znode| {
            let data = match &znode.data {
                FutureData::OfTree => tree.get(path).and_then(|znode| znode.data()),
                FutureData::Replaced(data) => data.as_deref(),
            };
            znode.digest = digest::znode(path, data, &znode.stat);
            znode
        });
        let digest_after = znode.as_ref().map_or(0, |znode| znode.digest);
        self.digest = Some(digest::replaced(self.digest(tree), digest_before, digest_after));
        let path: Arc<str> = path.into();
        self.changes.push_back((zxid, path.clone()));
        let replaced = self.set_record(&path, Some(Record { zxid, znode }));
        mark.replaced.push(replaced);
    }

    /// Takes back every change since `mark`.
    pub(crate) fn roll_back(&mut self, mark: Mark) {
        for replaced in mark.replaced.into_iter().rev() {
            if let Some((_, path)) = self.changes.pop_back() {
                self.set_record(&path, replaced);
            }
        }
        assert_eq!(self.changes.len(), mark.changes, "a group of changes is taken back whole");
        self.digest = mark.digest;
    }

    fn set_record(&mut self, path: &Arc<str>, record: Option<Record>) -> Option<Record> {
        let session = record.as_ref().and_then(owner);
        let replaced = match record {
            Some(record) => self.records.insert(path.clone(), record),
            None => self.records.remove(path),
        };
        self.unlist_ephemeral(path, replaced.as_ref());
        if let Some(session) = session {
            self.ephemerals.insert((session, path.clone()));
        }
        replaced
    }

    fn unlist_ephemeral(&mut self, path: &Arc<str>, record: Option<&Record>) {
        if let Some(session) = record.and_then(owner) {
            self.ephemerals.remove(&(session, path.clone()));
        }
    }
}

fn owner(record: &Record) -> Option<SessionId> {
    match record.znode.as_ref()?.stat.kind() {
        ZnodeKind::Ephemeral(session) => Some(session),
        ZnodeKind::Persistent | ZnodeKind::Container | ZnodeKind::Ttl(_) => None,
    }
}
