//! What the leader checks before a request becomes a transaction (`PrepRequestProcessor.java`).
//!
//! Every request becomes a record: one that fails a check becomes an error, which takes its place in the order like any
//! other and changes nothing. That is also how the server that the client is connected to learns of the failure. The order
//! of the checks is part of the protocol, because the first that fails is the answer.
//!
//! A record carries the digest that the tree will have after it, foreseen by the same sums and the same functions of `change`
//! that applying it will use; an error carries none.
//!
//! Whether the session lives and who owns it is not known here: the caller checks that first, and turns a refusal into a
//! record by [`error`].

use crate::acl::{self, Access};
use crate::change;
use crate::path;
use crate::pending::{FutureData, FutureZnode, Mark, Pending};
use crate::quota::Usage;
use crate::tree::DataTree;
use bytes::Bytes;
use ensemble_proto::client::{
    AclEntry, CheckRequest, CreateFlags, CreateRequest, CreateTtlRequest, DeleteRequest, MultiOp, MultiRequest, OpCode,
    PathRequest, SetAclRequest, SetDataRequest,
};
use ensemble_proto::jute::Reader;
use ensemble_proto::txn::{CreateTxn, SetDataTxn, Txn, TxnDigest, TxnHeader, TxnRecord};
use ensemble_proto::{Acl, AclList, DecodeError, ErrorCode, SessionId, StatPersisted, ZnodeKind, Zxid, next_version};

/// Paths that a closeSession lists, in bytes.
const CLOSE_SESSION_BYTES_MAX: usize = 512 << 10;

/// A write on its way to become a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The session that asks, that begins, or that ends.
    pub session: SessionId,
    /// Its xid; zero for requests that servers make.
    pub cxid: i32,
    /// The opcode as it came. One that is no write that we know is answered `UNIMPLEMENTED`.
    pub op: i32,
    /// The request's record, without header; for createSession the timeout.
    pub body: &'a [u8],
    /// Who asks.
    pub access: Access<'a>,
    /// What the creation of an ephemeral znode is refused with, where the session is one that only its server knows.
    pub no_ephemerals: Option<ErrorCode>,
    /// Whether TTL znodes may be made (`zookeeper.extendedTypesEnabled`).
    pub extended_types: bool,
    /// Whether the hard limits of quotas count (`zookeeper.enforceQuota`).
    pub enforce_quota: bool,
}

/// Makes the record of a request, under `zxid`, which follows every zxid prepared before. Its changes are pending
/// until [`Pending::applied`] is told. `now_ms` is the wall clock: ctime and mtime.
pub fn prep(tree: &DataTree, pending: &mut Pending, now_ms: i64, zxid: Zxid, request: &Request<'_>) -> TxnRecord {
    let mut prep = Prep { tree, mark: pending.mark(), pending, now_ms, zxid, request };
    let txn = prep.txn().unwrap_or_else(Txn::Error);
    prep.record(txn)
}

/// Makes the record of a request that was refused with `code` before it came here. A multi fails as a multi: its first entry has
/// the code.
pub fn error(
    tree: &DataTree,
    pending: &mut Pending,
    now_ms: i64,
    zxid: Zxid,
    request: &Request<'_>,
    code: ErrorCode,
) -> TxnRecord {
    let prep = Prep { tree, mark: pending.mark(), pending, now_ms, zxid, request };
    let entries = match OpCode::try_from(request.op) {
        Ok(OpCode::Multi) => MultiRequest::decode(&mut Reader::new(request.body)).map(|multi| multi.ops.len()),
        _ => Ok(0),
    };
    prep.record(match entries {
        Ok(0) => Txn::Error(code),
        Ok(entries) => {
            let rest = std::iter::repeat_n(ErrorCode::RUNTIME_INCONSISTENCY, entries - 1);
            Txn::Multi(std::iter::once(code).chain(rest).map(Txn::Error).collect())
        }
        Err(_) => Txn::Error(ErrorCode::MARSHALLING_ERROR),
    })
}

/// Makes the record of a reconfiguration, whose configuration the caller has checked: `text` becomes the data of `/zookeeper/config`. Who
/// may write that znode may reconfigure.
pub fn reconfig(
    tree: &DataTree,
    pending: &mut Pending,
    now_ms: i64,
    zxid: Zxid,
    request: &Request<'_>,
    text: String,
) -> TxnRecord {
    let mut prep = Prep { tree, mark: pending.mark(), pending, now_ms, zxid, request };
    let txn = prep.reconfig(text.into()).unwrap_or_else(Txn::Error);
    prep.record(txn)
}

/// Makes a record that fits of the one just prepared, which is longer than a log may hold. A closeSession loses its list, and every server
/// deletes what it finds of the session (ZOOKEEPER-4306); anything else is refused and changes nothing.
///
/// Differs from ZooKeeper: whose leader proposes it, and cannot read its own log afterwards.
pub fn shorten(pending: &mut Pending, record: TxnRecord) -> TxnRecord {
    match record.txn {
        Txn::CloseSession { .. } => TxnRecord { txn: Txn::CloseSession { paths: Some(Vec::new()) }, ..record },
        _ => {
            pending.take_back();
            TxnRecord { txn: Txn::Error(ErrorCode::MARSHALLING_ERROR), digest: None, ..record }
        }
    }
}

struct Prep<'a> {
    tree: &'a DataTree,
    pending: &'a mut Pending,
    mark: Mark,
    now_ms: i64,
    zxid: Zxid,
    request: &'a Request<'a>,
}

impl<'a> Prep<'a> {
    fn record(self, txn: Txn) -> TxnRecord {
        let Request { session, cxid, .. } = *self.request;
        let digest = match txn {
            Txn::Error(_) => None,
            _ if !self.tree.has_digests() => None,
            _ => Some(TxnDigest { version: TxnDigest::VERSION, tree_digest: self.pending.digest(self.tree) }),
        };
        self.pending.keep(self.mark);
        TxnRecord { header: TxnHeader { session, cxid, zxid: self.zxid, time_ms: self.now_ms }, txn, digest }
    }

    fn txn(&mut self) -> Result<Txn, ErrorCode> {
        let mut body = Reader::new(self.request.body);
        match OpCode::try_from(self.request.op) {
            Ok(OpCode::Create) => self.create(&decoded(CreateRequest::decode(&mut body))?).map(Txn::Create),
            Ok(OpCode::Create2) => self.create(&decoded(CreateRequest::decode(&mut body))?).map(Txn::Create2),
            Ok(OpCode::CreateTtl) => self.create_ttl(&decoded(CreateTtlRequest::decode(&mut body))?),
            Ok(OpCode::CreateContainer) => self.create_container(&decoded(CreateRequest::decode(&mut body))?),
            Ok(OpCode::DeleteContainer) => self.delete_container(&decoded(PathRequest::decode(&mut body))?.path),
            Ok(OpCode::Delete) => self.delete(&decoded(DeleteRequest::decode(&mut body))?),
            Ok(OpCode::SetData) => self.set_data(&decoded(SetDataRequest::decode(&mut body))?),
            Ok(OpCode::SetAcl) => self.set_acl(&decoded(SetAclRequest::decode(&mut body))?),
            Ok(OpCode::Multi) => Ok(self.multi(&decoded(MultiRequest::decode(&mut body))?)),
            Ok(OpCode::CreateSession) => {
                Ok(Txn::CreateSession { timeout_ms: decoded(body.int("createSession.timeOut"))? })
            }
            Ok(OpCode::CloseSession) => Ok(self.close_session()),
            _ => Err(ErrorCode::UNIMPLEMENTED),
        }
    }

    // ---- one write ----

    fn create(&mut self, request: &CreateRequest<'_>) -> Result<CreateTxn, ErrorCode> {
        match CreateFlags::from_flags(request.flags) {
            Some(CreateFlags::Plain { ephemeral, sequential }) => {
                let owner = ZnodeKind::Ephemeral(self.request.session);
                self.create_as(request, if ephemeral { owner } else { ZnodeKind::Persistent }, sequential)
            }
            Some(CreateFlags::Ttl { .. }) => Err(self.without_ttl()),
            Some(CreateFlags::Container) | None => Err(ErrorCode::BAD_ARGUMENTS),
        }
    }

    /// The opcode makes it a container. Of the flags only "sequential" counts.
    fn create_container(&mut self, request: &CreateRequest<'_>) -> Result<Txn, ErrorCode> {
        let sequential = match CreateFlags::from_flags(request.flags) {
            Some(CreateFlags::Plain { sequential, .. }) => sequential,
            Some(CreateFlags::Container) => false,
            Some(CreateFlags::Ttl { .. }) => return Err(self.without_ttl()),
            None => return Err(ErrorCode::BAD_ARGUMENTS),
        };
        self.create_as(request, ZnodeKind::Container, sequential).map(Txn::CreateContainer)
    }

    /// Differs from ZooKeeper: flags of another kind are refused; there a negative time to live gets past the checks with them.
    fn create_ttl(&mut self, request: &CreateTtlRequest<'_>) -> Result<Txn, ErrorCode> {
        let CreateTtlRequest { create, ttl_ms } = request;
        match CreateFlags::from_flags(create.flags) {
            Some(CreateFlags::Ttl { .. }) if !self.request.extended_types => Err(ErrorCode::UNIMPLEMENTED),
            Some(CreateFlags::Ttl { sequential }) if (1..=ZnodeKind::TTL_MS_MAX).contains(ttl_ms) => {
                let create = self.create_as(create, ZnodeKind::Ttl(*ttl_ms), sequential)?;
                Ok(Txn::CreateTtl { create, ttl_ms: *ttl_ms })
            }
            _ => Err(ErrorCode::BAD_ARGUMENTS),
        }
    }

    /// The answer to the flags of a TTL znode where no time to live can be given.
    fn without_ttl(&self) -> ErrorCode {
        if self.request.extended_types { ErrorCode::BAD_ARGUMENTS } else { ErrorCode::UNIMPLEMENTED }
    }

    fn create_as(
        &mut self,
        request: &CreateRequest<'_>,
        kind: ZnodeKind,
        sequential: bool,
    ) -> Result<CreateTxn, ErrorCode> {
        if let Some(code) = self.request.no_ephemerals.filter(|_| matches!(kind, ZnodeKind::Ephemeral(_))) {
            return Err(code);
        }
        let (parent_path, _) = split(&request.path)?;
        let acl = self.normalised(request.acl.as_deref())?;
        let mut parent = self.look(parent_path)?;
        self.permit(&parent, Acl::CREATE)?;
        let path =
            if sequential { format!("{}{:010}", request.path, parent.stat.cversion) } else { request.path.to_string() };
        if !path::is_valid(&path) {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        if self.pending.get(self.tree, &path).is_some() {
            return Err(ErrorCode::NODE_EXISTS);
        }
        if matches!(parent.stat.kind(), ZnodeKind::Ephemeral(_)) {
            return Err(ErrorCode::NO_CHILDREN_FOR_EPHEMERALS);
        }
        self.within_quota(&path, Usage::of_data(1, request.data))?;
        let stat = StatPersisted::created(self.zxid, self.now_ms, kind);
        let data = request.data.map(Bytes::copy_from_slice);
        let parent_cversion = parent.stat.cversion.wrapping_add(1);
        change::count_child(&mut parent.stat, parent_cversion, self.zxid);
        parent.child_count += 1;
        self.put(parent_path, Some(parent));
        self.put(&path, Some(FutureZnode::created(stat, Some(acl.clone()), data.clone())));
        let ephemeral = matches!(kind, ZnodeKind::Ephemeral(_));
        Ok(CreateTxn { path, data, acl: Some(acl), ephemeral, parent_cversion })
    }

    /// The leader's own request: a container or TTL znode that it found empty, and that may have a child by now.
    fn delete_container(&mut self, path: &str) -> Result<Txn, ErrorCode> {
        let (parent_path, _) = split(path)?;
        if path::is_system(path) {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let (parent, znode) = (self.look(parent_path)?, self.look(path)?);
        if znode.child_count > 0 {
            return Err(ErrorCode::NOT_EMPTY);
        }
        match znode.stat.kind() {
            ZnodeKind::Container | ZnodeKind::Ttl(_) => {}
            ZnodeKind::Persistent | ZnodeKind::Ephemeral(_) => return Err(ErrorCode::BAD_VERSION),
        }
        self.remove(parent_path, parent, path);
        Ok(Txn::DeleteContainer { path: path.to_string() })
    }

    fn delete(&mut self, request: &DeleteRequest<'_>) -> Result<Txn, ErrorCode> {
        let (parent_path, _) = split(&request.path)?;
        if path::is_system(&request.path) {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let parent = self.look(parent_path)?;
        self.permit(&parent, Acl::DELETE)?;
        let znode = self.look(&request.path)?;
        next_version(znode.stat.version, request.version)?;
        if znode.child_count > 0 {
            return Err(ErrorCode::NOT_EMPTY);
        }
        self.remove(parent_path, parent, &request.path);
        Ok(Txn::Delete { path: request.path.to_string() })
    }

    fn set_data(&mut self, request: &SetDataRequest<'_>) -> Result<Txn, ErrorCode> {
        let mut znode = self.look_valid(&request.path)?;
        self.permit(&znode, Acl::WRITE)?;
        let before = match &znode.data {
            FutureData::OfTree => self.tree.get(&request.path).and_then(|znode| znode.data()),
            FutureData::Replaced(data) => data.as_deref(),
        };
        self.within_quota(&request.path, Usage::of_data(0, request.data).minus(Usage::of_data(0, before)))?;
        let version = next_version(znode.stat.version, request.version)?;
        let data = request.data.map(Bytes::copy_from_slice);
        change::replace_data(&mut znode.stat, version, self.zxid, self.now_ms);
        znode.data = FutureData::Replaced(data.clone());
        self.put(&request.path, Some(znode));
        Ok(Txn::SetData(SetDataTxn { path: request.path.to_string(), data, version }))
    }

    /// The version stays -1, as every server has it that writes the znode by itself.
    fn reconfig(&mut self, text: Bytes) -> Result<Txn, ErrorCode> {
        let mut znode = self.look(path::CONFIG)?;
        self.permit(&znode, Acl::WRITE)?;
        change::replace_data(&mut znode.stat, -1, self.zxid, self.now_ms);
        znode.data = FutureData::Replaced(Some(text.clone()));
        self.put(path::CONFIG, Some(znode));
        Ok(Txn::Reconfig(SetDataTxn { path: path::CONFIG.to_owned(), data: Some(text), version: -1 }))
    }

    fn set_acl(&mut self, request: &SetAclRequest<'_>) -> Result<Txn, ErrorCode> {
        if !path::is_valid(&request.path) {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let acl = self.normalised(request.acl.as_deref())?;
        let mut znode = self.look(&request.path)?;
        self.permit(&znode, Acl::ADMIN)?;
        let version = next_version(znode.stat.aversion, request.version)?;
        znode.stat.aversion = version;
        znode.acl = Some(acl.clone());
        self.put(&request.path, Some(znode));
        Ok(Txn::SetAcl { path: request.path.to_string(), acl: Some(acl), version })
    }

    fn check(&mut self, request: &CheckRequest<'_>) -> Result<Txn, ErrorCode> {
        let znode = self.look_valid(&request.path)?;
        self.permit(&znode, Acl::READ)?;
        let version = next_version(znode.stat.version, request.version)?;
        Ok(Txn::Check { path: request.path.to_string(), version })
    }

    /// The session's ephemeral znodes, those that are still on their way included. A list that would make the record longer
    /// than a log may hold is left out: every server deletes what it finds of the session (ZOOKEEPER-4306).
    fn close_session(&mut self) -> Txn {
        let paths: Vec<String> = self.pending.ephemerals(self.tree, self.request.session).into_iter().collect();
        for path in &paths {
            if let Ok((parent_path, _)) = split(path)
                && let Ok(parent) = self.look(parent_path)
            {
                self.remove(parent_path, parent, path);
            }
        }
        let bytes: usize = paths.iter().map(|path| 4 + path.len()).sum();
        Txn::CloseSession { paths: Some(if bytes > CLOSE_SESSION_BYTES_MAX { Vec::new() } else { paths }) }
    }

    // ---- several writes ----

    /// Each entry sees what those before it did. The first that fails takes all of it back.
    fn multi(&mut self, request: &MultiRequest<'_>) -> Txn {
        let mut txns = Vec::with_capacity(request.ops.len());
        let mut failed = false;
        for op in &request.ops {
            let entry = if failed { Err(ErrorCode::RUNTIME_INCONSISTENCY) } else { self.entry(op) };
            failed |= entry.is_err();
            txns.push(entry.unwrap_or_else(Txn::Error));
        }
        if failed {
            let whole = std::mem::replace(&mut self.mark, self.pending.mark());
            self.pending.roll_back(whole);
        }
        Txn::Multi(txns)
    }

    fn entry(&mut self, op: &MultiOp<'_>) -> Result<Txn, ErrorCode> {
        match op {
            MultiOp::Create { op: OpCode::Create2, request } => self.create(request).map(Txn::Create2),
            MultiOp::Create { op: _, request } => self.create(request).map(Txn::Create),
            MultiOp::CreateContainer(request) => self.create_container(request),
            MultiOp::CreateTtl(request) => self.create_ttl(request),
            MultiOp::Delete(request) => self.delete(request),
            MultiOp::SetData(request) => self.set_data(request),
            MultiOp::Check(request) => self.check(request),
        }
    }

    // ---- the future tree ----

    fn look(&self, path: &str) -> Result<FutureZnode, ErrorCode> {
        self.pending.get(self.tree, path).ok_or(ErrorCode::NO_NODE)
    }

    fn look_valid(&self, path: &str) -> Result<FutureZnode, ErrorCode> {
        if path::is_valid(path) { self.look(path) } else { Err(ErrorCode::BAD_ARGUMENTS) }
    }

    fn within_quota(&mut self, path: &str, more: Usage) -> Result<(), ErrorCode> {
        if self.request.enforce_quota && self.tree.forbids(path, more) {
            self.pending.refuse_over_quota(path);
            return Err(ErrorCode::QUOTA_EXCEEDED);
        }
        Ok(())
    }

    fn permit(&self, znode: &FutureZnode, perms: i32) -> Result<(), ErrorCode> {
        if acl::check(znode.acl(), perms, self.request.access) { Ok(()) } else { Err(ErrorCode::NO_AUTH) }
    }

    fn normalised(&self, entries: Option<&[AclEntry<'_>]>) -> Result<AclList, ErrorCode> {
        acl::normalise(entries, self.request.access.identities)
    }

    fn put(&mut self, path: &str, znode: Option<FutureZnode>) {
        self.pending.put(self.tree, &mut self.mark, self.zxid, path, znode);
    }

    fn remove(&mut self, parent_path: &str, mut parent: FutureZnode, path: &str) {
        change::lose_child(&mut parent.stat, self.zxid);
        parent.child_count -= 1;
        self.put(parent_path, Some(parent));
        self.put(path, None);
    }
}

fn decoded<T>(record: Result<T, DecodeError>) -> Result<T, ErrorCode> {
    record.map_err(|_| ErrorCode::MARSHALLING_ERROR)
}

/// The parent's path and the name. All that create and delete ask of a path before they look for the parent: that it has a
/// slash and no NUL.
fn split(path: &str) -> Result<(&str, &str), ErrorCode> {
    path::split(path).filter(|_| !path.contains('\0')).ok_or(ErrorCode::BAD_ARGUMENTS)
}
