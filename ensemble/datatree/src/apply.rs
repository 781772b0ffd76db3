//! A committed transaction changes the tree (`DataTree.processTxn`).
//!
//! Applying is *idempotent*: a snapshot is taken while transactions go on, so some of its znodes are newer than the zxid
//! it is named after, and everything after that zxid is applied again on top. Therefore a transaction states results (a version, not
//! "plus one"), a counter is raised and never lowered, and what cannot be done any more (a znode that is already
//! there, or already gone) is noted as the outcome and otherwise passed over. Outside such a replay a committed
//! transaction never fails: `prep` has checked it against exactly this state.

use crate::change;
use crate::path;
use crate::quota::Usage;
use crate::slab::Position;
use crate::tree::DataTree;
use ensemble_proto::client::MultiResult;
use ensemble_proto::txn::{CreateTxn, SetDataTxn, Txn, TxnDigest, TxnHeader, TxnRecord};
use ensemble_proto::{AclList, ErrorCode, SessionId, Stat, StatPersisted, ZnodeKind, Zxid};
use std::borrow::Cow;

/// What a transaction did. Borrows from the record that was applied.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The answer to the client.
    pub error: ErrorCode,
    /// The path of a created znode.
    pub path: Option<&'a str>,
    /// The stat of a created or changed znode, as it is after the transaction.
    pub stat: Option<Stat>,
    /// One result for each entry of a multi, in order; `error` is OK even when the multi failed.
    pub multi: Vec<MultiResult>,
    /// Whom to tell, in the order in which the watches fire.
    pub events: Vec<Event<'a>>,
    /// The session that has ended.
    pub closed_session: Option<SessionId>,
    /// The tree is not what its leader had after this transaction.
    pub digest_mismatch: Option<DigestMismatch>,
}

/// A znode came, went, or got other data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// Which of them.
    pub kind: EventKind,
    /// The znode.
    pub path: Cow<'a, str>,
    /// Its ACL list: only who may READ is told.
    pub acl: AclList,
    /// The ACL list of the parent when its children changed, for the same reason; `None` when only data did.
    pub parent_acl: Option<AclList>,
}

impl Outcome<'_> {
    fn nothing() -> Self {
        Outcome {
            error: ErrorCode::OK,
            path: None,
            stat: None,
            multi: Vec::new(),
            events: Vec::new(),
            closed_session: None,
            digest_mismatch: None,
        }
    }
}

impl Event<'_> {
    /// The path of the znode's parent.
    pub fn parent_path(&self) -> &str {
        path::split(&self.path).map_or(path::ROOT, |(parent, _)| parent)
    }
}

/// What happened to a znode, and which watches it fires.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EventKind {
    /// NodeCreated to its data watches, NodeChildrenChanged to its parent's child watches.
    Created,
    /// NodeDeleted to its data and child watches, once a watcher, NodeChildrenChanged to its parent's child watches.
    Deleted,
    /// NodeDataChanged to its data watches.
    DataChanged,
}

/// Two servers that applied the same transactions hold different trees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DigestMismatch {
    /// The leader's digest.
    pub expected: u64,
    /// This tree's.
    pub actual: u64,
}

/// Whether the digests of transactions are compared with the tree's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DigestCheck {
    /// Never, and none is written either.
    Off,
    On,
    /// The tree came from a snapshot and may hold effects of transactions that are still to be applied again. Until the zxid
    /// at which the snapshot was complete there is nothing to compare; there the digest must be this one.
    Until {
        zxid: Zxid,
        digest: u64,
    },
    /// The same, but nobody said when the snapshot was complete: until the first digest that agrees.
    UntilEqual,
}

/// What one transaction, or one entry of a multi, did.
type Applied = Result<Option<Stat>, ErrorCode>;

impl DataTree {
    /// Applies a committed transaction. Transactions are applied in the order of their zxids; after a snapshot was loaded,
    /// from the first one after its zxid.
    pub fn apply<'a>(&mut self, record: &'a TxnRecord) -> Outcome<'a> {
        let mut outcome = Outcome::nothing();
        let header = &record.header;
        match &record.txn {
            Txn::Multi(txns) => outcome.multi = self.apply_multi(header, txns, &mut outcome.events),
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session, *timeout_ms);
            }
            Txn::CloseSession { paths } => {
                self.close_session(header, paths.as_deref().unwrap_or_default(), &mut outcome.events);
                outcome.closed_session = Some(header.session);
            }
            txn => match self.apply_one(header, txn, &mut outcome.events) {
                Ok(stat) => {
                    outcome.stat = stat;
                    outcome.path = created_path(txn);
                }
                Err(code) => outcome.error = code,
            },
        }
        self.last_zxid = self.last_zxid.max(header.zxid);
        outcome.digest_mismatch = self.check_digest(header.zxid, record.digest);
        outcome
    }

    /// Says that the snapshot which this tree was loaded from was complete when the tree had `digest` at `zxid`. Until
    /// then the digests of transactions are not compared. When that is now, the comparison is made now: what comes back is the
    /// difference, as from [`DataTree::apply`] otherwise.
    pub fn expect_digest(&mut self, zxid: Zxid, digest: u64) -> Option<DigestMismatch> {
        if !self.has_digests() {
            return None;
        }
        if zxid > self.last_zxid {
            self.digest_check = DigestCheck::Until { zxid, digest };
            return None;
        }
        self.digest_check = DigestCheck::On;
        let is_comparable = zxid == self.last_zxid;
        (is_comparable && digest != self.digest).then_some(DigestMismatch { expected: digest, actual: self.digest })
    }

    /// Turns digests off (`digest.enabled`): none is written into records, and none is compared.
    pub fn without_digests(mut self) -> DataTree {
        self.digest_check = DigestCheck::Off;
        self
    }

    /// Whether digests are written and compared.
    pub fn has_digests(&self) -> bool {
        !matches!(self.digest_check, DigestCheck::Off)
    }

    /// The tree's digest, when digests are on and have shown that the tree is what its transactions make of it: not while effects of
    /// transactions may be in it that are still to be applied again.
    pub fn proven_digest(&self) -> Option<u64> {
        matches!(self.digest_check, DigestCheck::On).then_some(self.digest)
    }

    fn check_digest(&mut self, zxid: Zxid, digest: Option<TxnDigest>) -> Option<DigestMismatch> {
        let txn_digest = digest.filter(|digest| digest.version == TxnDigest::VERSION).map(|digest| digest.tree_digest);
        let expected = match self.digest_check {
            DigestCheck::Off => return None,
            DigestCheck::On => txn_digest?,
            DigestCheck::Until { zxid: complete, .. } if zxid < complete => return None,
            DigestCheck::Until { zxid: complete, digest } if zxid == complete => digest,
            DigestCheck::Until { .. } => txn_digest?,
            DigestCheck::UntilEqual if txn_digest? == self.digest => self.digest,
            DigestCheck::UntilEqual => return None,
        };
        self.digest_check = DigestCheck::On;
        (expected != self.digest).then_some(DigestMismatch { expected, actual: self.digest })
    }

    /// One failed entry makes the multi have no effect: the entries before it are answered OK, those after it as they are.
    fn apply_multi<'a>(
        &mut self,
        header: &TxnHeader,
        txns: &'a [Txn],
        events: &mut Vec<Event<'a>>,
    ) -> Vec<MultiResult> {
        let failed = txns.iter().position(|txn| matches!(txn, Txn::Error(_)));
        let entries = txns.iter().enumerate();
        entries
            .map(|(at, txn)| match (failed, txn) {
                (_, Txn::Error(code)) => MultiResult::Error(*code),
                (Some(failed), _) if at < failed => MultiResult::Error(ErrorCode::OK),
                (Some(_), _) => MultiResult::Error(ErrorCode::RUNTIME_INCONSISTENCY),
                (None, txn) => multi_result(txn, self.apply_one(header, txn, events)),
            })
            .collect()
    }

    fn apply_one<'a>(&mut self, header: &TxnHeader, txn: &'a Txn, events: &mut Vec<Event<'a>>) -> Applied {
        match txn {
            Txn::Create(create) | Txn::Create2(create) => {
                let kind = if create.ephemeral { ZnodeKind::Ephemeral(header.session) } else { ZnodeKind::Persistent };
                self.create(header, create, kind, events)
            }
            Txn::CreateContainer(create) => self.create(header, create, ZnodeKind::Container, events),
            Txn::CreateTtl { create, ttl_ms } => self.create(header, create, ZnodeKind::Ttl(*ttl_ms), events),
            Txn::Delete { path } | Txn::DeleteContainer { path } => {
                self.delete(header.zxid, Cow::Borrowed(path), events).map(|()| None)
            }
            Txn::SetData(set) | Txn::Reconfig(set) => self.set_data(header, set, events).map(Some),
            Txn::SetAcl { path, acl, version } => self.set_acl(path, acl.as_ref(), *version).map(Some),
            Txn::Check { .. } => Ok(None),
            Txn::Error(code) => Err(*code),
            Txn::CreateSession { .. } | Txn::CloseSession { .. } | Txn::Multi(_) => {
                unreachable!("no part of a multi: the decoder refuses them there, and apply treats them first")
            }
        }
    }

    fn create<'a>(
        &mut self,
        header: &TxnHeader,
        create: &'a CreateTxn,
        kind: ZnodeKind,
        events: &mut Vec<Event<'a>>,
    ) -> Applied {
        let (parent_path, name) = path::split(&create.path).ok_or(ErrorCode::BAD_ARGUMENTS)?;
        if name.is_empty() {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let parent = self.find(parent_path).ok_or(ErrorCode::NO_NODE)?;
        self.count_child(parent, parent_path, create.parent_cversion, header.zxid);
        if let Some(existing) = self.child(parent, name) {
            // In a snapshot it may refer to a list that did not make it into the snapshot's table.
            self.set_acl_list(existing, create.acl.as_ref());
            return Err(ErrorCode::NODE_EXISTS);
        }
        let stat = StatPersisted::created(header.zxid, header.time_ms, kind);
        let data = create.data.as_deref();
        let position = self.attach(parent, name, data, create.acl.as_ref(), stat, &create.path);
        events.push(self.event(EventKind::Created, Cow::Borrowed(&create.path), position, Some(parent)));
        let created = self.stat_at(position);
        self.quota_after_create(&create.path, position);
        Ok(Some(created))
    }

    /// Raises the parent's count of created children, never lowers it: in a replay it may be ahead already.
    ///
    /// Differs from ZooKeeper: there only a plain create does so when the child exists already, so that after create2 a
    /// replayed parent can stay behind.
    fn count_child(&mut self, parent: Position, parent_path: &str, cversion: i32, zxid: Zxid) {
        let mut stat = self.slab[parent].stat;
        if change::count_child(&mut stat, cversion, zxid) {
            self.update(parent, stat, parent_path);
        }
    }

    /// In a replay the znode may have children, which then were created after this deletion and a later creation of it:
    /// they go too, and come again with their own transactions.
    fn delete<'a>(&mut self, zxid: Zxid, path: Cow<'a, str>, events: &mut Vec<Event<'a>>) -> Result<(), ErrorCode> {
        let (parent_path, name) = path::split(&path).ok_or(ErrorCode::BAD_ARGUMENTS)?;
        let parent = self.find(parent_path).ok_or(ErrorCode::NO_NODE)?;
        let mut stat = self.slab[parent].stat;
        if change::lose_child(&mut stat, zxid) {
            self.update(parent, stat, parent_path);
        }
        let position = self.child(parent, name).ok_or(ErrorCode::NO_NODE)?;
        let event = self.event(EventKind::Deleted, path, position, Some(parent));
        let deleted = self.quota_before_delete(position);
        self.detach(position, &event.path);
        self.quota_after_delete(&event.path, deleted);
        events.push(event);
        Ok(())
    }

    fn set_data<'a>(
        &mut self,
        header: &TxnHeader,
        set: &'a SetDataTxn,
        events: &mut Vec<Event<'a>>,
    ) -> Result<Stat, ErrorCode> {
        let position = self.find(&set.path).ok_or(ErrorCode::NO_NODE)?;
        let mut stat = self.slab[position].stat;
        change::replace_data(&mut stat, set.version, header.zxid, header.time_ms);
        let before = Usage::of_data(1, self.slab[position].data());
        self.replace_data(position, set.data.as_deref(), stat, &set.path);
        events.push(self.event(EventKind::DataChanged, Cow::Borrowed(&set.path), position, None));
        let changed = self.stat_at(position);
        self.quota_after_set(&set.path, before, Usage::of_data(1, set.data.as_deref()));
        Ok(changed)
    }

    fn set_acl(&mut self, path: &str, acl: Option<&AclList>, version: i32) -> Result<Stat, ErrorCode> {
        let position = self.find(path).ok_or(ErrorCode::NO_NODE)?;
        self.set_acl_list(position, acl);
        let stat = StatPersisted { aversion: version, ..self.slab[position].stat };
        self.update(position, stat, path);
        Ok(self.stat_at(position))
    }

    /// Deletes what the transaction lists, then what this server finds beside it (in old logs: everything).
    fn close_session<'a>(&mut self, header: &TxnHeader, paths: &'a [String], events: &mut Vec<Event<'a>>) {
        for path in paths {
            let _gone_already = self.delete(header.zxid, Cow::Borrowed(path), events);
        }
        let mut rest: Vec<String> = self.ephemerals(header.session).collect();
        rest.sort_unstable();
        for path in rest {
            let _gone_already = self.delete(header.zxid, Cow::Owned(path), events);
        }
        self.sessions.remove(&header.session);
    }

    fn event<'a>(
        &self,
        kind: EventKind,
        path: Cow<'a, str>,
        position: Position,
        parent: Option<Position>,
    ) -> Event<'a> {
        let list = |position: Position| self.acls.list(self.slab[position].acl).clone();
        Event { kind, path, acl: list(position), parent_acl: parent.map(list) }
    }

    fn stat_at(&self, position: Position) -> Stat {
        let znode = &self.slab[position];
        znode.stat.visible(znode.data_len(), znode.child_count as i32)
    }
}

fn created_path(txn: &Txn) -> Option<&str> {
    match txn {
        Txn::Create(create) | Txn::Create2(create) | Txn::CreateContainer(create) | Txn::CreateTtl { create, .. } => {
            Some(&create.path)
        }
        Txn::CreateSession { .. }
        | Txn::CloseSession { .. }
        | Txn::Error(_)
        | Txn::Delete { .. }
        | Txn::DeleteContainer { .. }
        | Txn::SetData(_)
        | Txn::Reconfig(_)
        | Txn::SetAcl { .. }
        | Txn::Check { .. }
        | Txn::Multi(_) => None,
    }
}

fn multi_result(txn: &Txn, applied: Applied) -> MultiResult {
    match (applied, txn, created_path(txn)) {
        (Err(code), ..) => MultiResult::Error(code),
        (Ok(_), Txn::Create(create), _) => MultiResult::Create(create.path.clone()),
        (Ok(Some(stat)), _, Some(path)) => MultiResult::Create2(path.to_string(), stat),
        (Ok(Some(stat)), _, None) => MultiResult::SetData(stat),
        (Ok(None), Txn::Check { .. }, _) => MultiResult::Check,
        (Ok(None), ..) => MultiResult::Delete,
    }
}
