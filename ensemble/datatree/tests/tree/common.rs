//! Where the recorded files are, and how to make requests.

use ensemble_datatree::prep::Request;
use ensemble_datatree::{Access, DataTree};
use ensemble_proto::client::{
    AclEntry, CheckRequest, CreateRequest, DeleteRequest, MultiOp, MultiRequest, OpCode, SetAclRequest, SetDataRequest,
};
use ensemble_proto::quorum::AuthId;
use ensemble_proto::txn::{CreateTxn, Txn};
use ensemble_proto::{Acl, AclList, SessionId};
use std::path::PathBuf;

/// The recorded files: `ENSEMBLE_FIXTURES`, or `shared/fixtures` beside some directory above this crate.
pub(crate) fn fixtures() -> PathBuf {
    match std::env::var_os("ENSEMBLE_FIXTURES") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|directory| directory.join("shared/fixtures"))
            .find(|candidate| candidate.is_dir())
            .expect("no shared/fixtures above this crate: set ENSEMBLE_FIXTURES"),
    }
}

/// A fixture's bytes.
pub(crate) fn read(name: &str) -> Vec<u8> {
    let path = fixtures().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A request that owns its record.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    pub(crate) session: SessionId,
    pub(crate) cxid: i32,
    pub(crate) op: OpCode,
    pub(crate) body: Vec<u8>,
}

impl Owned {
    pub(crate) fn new(session: SessionId, cxid: i32, op: OpCode, record: impl FnOnce(&mut Vec<u8>)) -> Owned {
        let mut body = Vec::new();
        record(&mut body);
        Owned { session, cxid, op, body }
    }

    pub(crate) fn request<'a>(&'a self, access: Access<'a>) -> Request<'a> {
        Request {
            session: self.session,
            cxid: self.cxid,
            op: self.op.code(),
            body: &self.body,
            access,
            no_ephemerals: None,
            extended_types: true,
            enforce_quota: true,
        }
    }
}

/// The request that must have led to this transaction, if it is one that we prepare.
pub(crate) fn request_of(session: SessionId, cxid: i32, txn: &Txn) -> Option<Owned> {
    let owned = |record: &dyn Fn(&mut Vec<u8>)| Some(Owned::new(session, cxid, txn.op(), record));
    match txn {
        Txn::CreateSession { timeout_ms } => owned(&|out| out.extend(timeout_ms.to_be_bytes())),
        Txn::CloseSession { .. } => owned(&|_| {}),
        Txn::Create(create) | Txn::Create2(create) => owned(&|out| create_of(create).encode(out)),
        Txn::Delete { path } => owned(&|out| DeleteRequest { path: path.into(), version: -1 }.encode(out)),
        Txn::SetData(set) => owned(&|out| {
            SetDataRequest { path: (&set.path).into(), data: set.data.as_deref(), version: set.version - 1 }.encode(out)
        }),
        Txn::SetAcl { path, acl, version } => owned(&|out| {
            let acl = acl.as_ref().map(entries_of);
            SetAclRequest { path: path.into(), acl, version: version - 1 }.encode(out)
        }),
        Txn::Multi(txns) => {
            let ops = txns.iter().map(multi_op_of).collect::<Option<Vec<_>>>()?;
            owned(&|out| MultiRequest { ops: ops.clone() }.encode(out))
        }
        _ => None,
    }
}

fn multi_op_of(txn: &Txn) -> Option<MultiOp<'_>> {
    match txn {
        Txn::Create(create) => Some(MultiOp::Create { op: OpCode::Create, request: create_of(create) }),
        Txn::Create2(create) => Some(MultiOp::Create { op: OpCode::Create2, request: create_of(create) }),
        Txn::Delete { path } => Some(MultiOp::Delete(DeleteRequest { path: path.into(), version: -1 })),
        Txn::SetData(set) => Some(MultiOp::SetData(SetDataRequest {
            path: (&set.path).into(),
            data: set.data.as_deref(),
            version: set.version - 1,
        })),
        Txn::Check { path, version } => Some(MultiOp::Check(CheckRequest { path: path.into(), version: version - 1 })),
        _ => None,
    }
}

/// Names that end like sequential ones are asked for as such, so that the number is checked too.
fn create_of(create: &CreateTxn) -> CreateRequest<'_> {
    let bytes = create.path.as_bytes();
    let digits = bytes.len() > 10 && bytes[bytes.len() - 10..].iter().all(u8::is_ascii_digit);
    let path = if digits { &create.path[..bytes.len() - 10] } else { &create.path };
    let flags = i32::from(create.ephemeral) | if digits { 2 } else { 0 };
    CreateRequest { path: path.into(), data: create.data.as_deref(), acl: create.acl.as_ref().map(entries_of), flags }
}

fn entries_of(list: &AclList) -> Vec<AclEntry<'_>> {
    list.iter()
        .map(|acl| AclEntry { perms: acl.perms, scheme: Some((&acl.scheme).into()), id: Some((&acl.id).into()) })
        .collect()
}

/// Every znode with all that a client can see of it, and the sessions: equal for equal trees.
pub(crate) fn contents(tree: &DataTree) -> Vec<String> {
    let mut lines: Vec<String> =
        tree.sessions().iter().map(|(session, ms)| format!("session {session} {ms}")).collect();
    let mut todo = vec!["/".to_string()];
    while let Some(path) = todo.pop() {
        let znode = tree.get(&path).expect("a listed child is there");
        lines.push(format!("{path} {:?} {:?} {:?}", znode.data(), znode.acl(), znode.stat()));
        let parent = if path == "/" { "" } else { &path };
        todo.extend(znode.children().map(|name| format!("{parent}/{name}")));
    }
    lines.sort();
    lines
}

pub(crate) const SESSION: SessionId = SessionId(0x0100_0000_0000_0001);

/// Flags of create.
pub(crate) const EPHEMERAL: i32 = 1;
pub(crate) const SEQUENTIAL: i32 = 2;

pub(crate) fn identity(scheme: &str, id: &str) -> AuthId {
    AuthId { scheme: scheme.to_string(), id: id.to_string() }
}

/// An ACL entry that a client writes.
pub(crate) fn entry(perms: i32, scheme: &'static str, id: &'static str) -> AclEntry<'static> {
    AclEntry { perms, scheme: Some(scheme.into()), id: Some(id.into()) }
}

pub(crate) fn open() -> Option<Vec<AclEntry<'static>>> {
    Some(vec![AclEntry::world(Acl::ALL)])
}

pub(crate) fn create_op<'a>(path: &'a str, flags: i32, acl: Option<Vec<AclEntry<'static>>>) -> CreateRequest<'a> {
    CreateRequest { path: path.into(), data: Some(b"data"), acl, flags }
}

pub(crate) fn create(path: &str, flags: i32) -> Owned {
    create_with(path, flags, open())
}

pub(crate) fn create_with(path: &str, flags: i32, acl: Option<Vec<AclEntry<'static>>>) -> Owned {
    Owned::new(SESSION, 1, OpCode::Create2, |out| create_op(path, flags, acl).encode(out))
}

pub(crate) fn delete(path: &str, version: i32) -> Owned {
    Owned::new(SESSION, 1, OpCode::Delete, |out| DeleteRequest { path: path.into(), version }.encode(out))
}

pub(crate) fn set_data(path: &str, data: Option<&[u8]>, version: i32) -> Owned {
    Owned::new(SESSION, 1, OpCode::SetData, |out| SetDataRequest { path: path.into(), data, version }.encode(out))
}

pub(crate) fn set_acl(path: &str, acl: Option<Vec<AclEntry<'static>>>, version: i32) -> Owned {
    Owned::new(SESSION, 1, OpCode::SetAcl, |out| SetAclRequest { path: path.into(), acl, version }.encode(out))
}

pub(crate) fn multi(ops: Vec<MultiOp<'_>>) -> Owned {
    Owned::new(SESSION, 1, OpCode::Multi, |out| MultiRequest { ops }.encode(out))
}

pub(crate) fn multi_create(path: &str, flags: i32) -> MultiOp<'_> {
    MultiOp::Create { op: OpCode::Create, request: create_op(path, flags, open()) }
}

pub(crate) fn multi_delete(path: &str, version: i32) -> MultiOp<'_> {
    MultiOp::Delete(DeleteRequest { path: path.into(), version })
}

pub(crate) fn multi_set(path: &str, version: i32) -> MultiOp<'_> {
    MultiOp::SetData(SetDataRequest { path: path.into(), data: None, version })
}

pub(crate) fn multi_check(path: &str, version: i32) -> MultiOp<'_> {
    MultiOp::Check(CheckRequest { path: path.into(), version })
}

pub(crate) fn close(session: SessionId) -> Owned {
    Owned::new(session, 0, OpCode::CloseSession, |_| {})
}

pub(crate) fn begin(session: SessionId) -> Owned {
    Owned::new(session, 0, OpCode::CreateSession, |out| out.extend(4000i32.to_be_bytes()))
}
