//! What a leader refuses that enforces quotas.

use crate::common::*;
use ensemble_datatree::{Access, DataTree, Pending, prep};
use ensemble_proto::client::{AclEntry, CreateRequest, MultiOp, MultiRequest, OpCode, SetDataRequest};
use ensemble_proto::txn::Txn;
use ensemble_proto::{Acl, Epoch, ErrorCode, Zxid};

const LIMITS: &str = "/zookeeper/quota/a/zookeeper_limits";
const STATS: &str = "/zookeeper/quota/a/zookeeper_stats";

fn create<'a>(path: &'a str, data: &'a str) -> CreateRequest<'a> {
    let acl = Some(vec![AclEntry::world(Acl::ALL)]);
    CreateRequest { path: path.into(), data: Some(data.as_bytes()), acl, flags: 0 }
}

fn created(path: &str, data: &str) -> Owned {
    Owned::new(SESSION, 1, OpCode::Create2, |out| create(path, data).encode(out))
}

fn set(path: &str, data: &str, version: i32) -> Owned {
    let request = SetDataRequest { path: path.into(), data: Some(data.as_bytes()), version };
    Owned::new(SESSION, 1, OpCode::SetData, |out| request.encode(out))
}

/// Creates them without data, in one transaction.
fn multi(paths: &[&'static str]) -> Owned {
    let op = |path: &&'static str| MultiOp::Create { op: OpCode::Create, request: create(path, "") };
    let ops = paths.iter().map(op).collect();
    Owned::new(SESSION, 1, OpCode::Multi, |out| MultiRequest { ops }.encode(out))
}

/// A tree with `/a` of 4 bytes, whose limits are these.
fn limited(limits: &str) -> DataTree {
    let mut tree = DataTree::new(1);
    let before =
        [created("/a", "1234"), created("/zookeeper/quota/a", ""), created(LIMITS, limits), created(STATS, "")];
    for (counter, owned) in (1..).zip(&before) {
        let mut pending = Pending::new(1);
        let zxid = Zxid::new(Epoch(1), counter);
        let record = prep::prep(&tree, &mut pending, 0, zxid, &owned.request(Access::UNCHECKED));
        assert!(tree.apply(&record).error.is_ok(), "{record:?}");
    }
    tree
}

/// The error that a request becomes, alone or in its multi.
fn refusal(limits: &str, request: &Owned, enforce_quota: bool) -> ErrorCode {
    let (tree, mut pending) = (limited(limits), Pending::new(1));
    let request = prep::Request { enforce_quota, ..request.request(Access::UNCHECKED) };
    let error = |txn: &Txn| if let Txn::Error(code) = txn { Some(*code) } else { None };
    match prep::prep(&tree, &mut pending, 0, Zxid::new(Epoch(1), 99), &request).txn {
        Txn::Multi(entries) => entries.iter().find_map(error),
        txn => error(&txn),
    }
    .unwrap_or(ErrorCode::OK)
}

#[test]
fn a_hard_limit_refuses_what_would_exceed_it_where_it_is_enforced() {
    const OK: ErrorCode = ErrorCode::OK;
    const EXCEEDED: ErrorCode = ErrorCode::QUOTA_EXCEEDED;
    let znodes = |hard: i64| format!("count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit={hard}");
    let bytes = |hard: i64| format!("count=-1,bytes=-1=;byteHardLimit={hard};countHardLimit=-1");
    for (limits, request, enforced, otherwise) in [
        (znodes(2), created("/a/b", "x"), OK, OK),
        (znodes(1), created("/a/b", ""), EXCEEDED, OK),
        (znodes(1), created("/b", ""), OK, OK),
        (znodes(1), set("/a", "longer than before", -1), OK, OK),
        (bytes(6), created("/a/b", "12"), OK, OK),
        (bytes(6), created("/a/b", "123"), EXCEEDED, OK),
        (bytes(6), set("/a", "123456", -1), OK, OK),
        (bytes(6), set("/a", "1234567", -1), EXCEEDED, OK),
        (bytes(2), set("/a", "123", -1), EXCEEDED, OK),
        (bytes(2), set("/a", "4321", -1), OK, OK),
        (bytes(0), created("/a/b", ""), OK, OK),
        (bytes(0), created("/a/none/b", "12"), ErrorCode::NO_NODE, ErrorCode::NO_NODE),
        (bytes(6), set("/a", "1234567", 7), EXCEEDED, ErrorCode::BAD_VERSION),
        (znodes(2), multi(&["/a/b", "/b"]), OK, OK),
        (znodes(1), multi(&["/b", "/a/b"]), EXCEEDED, OK),
        ("count=1,bytes=1".into(), created("/a/b", "soft limits refuse nothing"), OK, OK),
        ("what is this".into(), created("/a/b", ""), OK, OK),
    ] {
        let found = [true, false].map(|is_enforced| refusal(&limits, &request, is_enforced));
        assert_eq!(found, [enforced, otherwise], "{limits} {:?}", request.op);
    }
}
