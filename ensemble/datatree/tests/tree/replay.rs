//! What a committed transaction does, once and again.

use crate::common::contents;
use bytes::Bytes;
use ensemble_datatree::{DataTree, Event, EventKind, Walk};
use ensemble_proto::client::MultiResult;
use ensemble_proto::txn::{CreateTxn, SetDataTxn, Txn, TxnDigest, TxnHeader, TxnRecord};
use ensemble_proto::{Acl, AclList, Epoch, ErrorCode, SessionId, Zxid};

const SESSION: SessionId = SessionId(0x0100_0000_0000_0001);

fn at(counter: u32) -> Zxid {
    Zxid::new(Epoch(1), counter)
}

fn record(counter: u32, txn: Txn) -> TxnRecord {
    let header = TxnHeader { session: SESSION, cxid: 1, zxid: at(counter), time_ms: counter.into() };
    TxnRecord { header, txn, digest: None }
}

fn create_txn(path: &str, parent_cversion: i32) -> CreateTxn {
    let acl: AclList = [Acl::world(Acl::ALL)].into();
    let data = Some(Bytes::from_static(b"data"));
    CreateTxn { path: path.to_string(), data, acl: Some(acl), ephemeral: false, parent_cversion }
}

fn create(path: &str, parent_cversion: i32) -> Txn {
    Txn::Create(create_txn(path, parent_cversion))
}

fn ephemeral(path: &str, parent_cversion: i32) -> Txn {
    Txn::Create(CreateTxn { ephemeral: true, ..create_txn(path, parent_cversion) })
}

fn delete(path: &str) -> Txn {
    Txn::Delete { path: path.to_string() }
}

fn set_data(path: &str, version: i32) -> Txn {
    Txn::SetData(SetDataTxn { path: path.to_string(), data: None, version })
}

/// A tree after these transactions, all of which succeed.
fn tree(txns: impl IntoIterator<Item = Txn>) -> DataTree {
    let mut tree = DataTree::new(5);
    for (counter, txn) in (1..).zip(txns) {
        let record = record(counter, txn);
        assert!(tree.apply(&record).error.is_ok(), "{record:?}");
    }
    tree
}

/// `+path`, `-path`, `=path`, in the order of firing.
fn shown(events: &[Event<'_>]) -> Vec<String> {
    let sign = |kind| match kind {
        EventKind::Created => '+',
        EventKind::Deleted => '-',
        EventKind::DataChanged => '=',
    };
    events.iter().map(|event| format!("{}{}", sign(event.kind), event.path)).collect()
}

#[track_caller]
fn check_events(before: Vec<Txn>, txn: Txn, expected: &[&str]) {
    let count = before.len() as u32;
    let mut tree = tree(before);
    let record = record(count + 1, txn);
    assert_eq!(shown(&tree.apply(&record).events), expected);
    assert_eq!(tree.recount(), Ok(()));
}

#[test]
fn events_come_in_the_order_of_the_changes() {
    check_events(vec![], create("/a", 1), &["+/a"]);
    check_events(vec![create("/a", 1)], set_data("/a", 1), &["=/a"]);
    check_events(vec![create("/a", 1)], delete("/a"), &["-/a"]);
    check_events(vec![], Txn::Error(ErrorCode::NO_NODE), &[]);
    check_events(vec![], Txn::CreateSession { timeout_ms: 1 }, &[]);
    let set_acl = Txn::SetAcl { path: "/".to_string(), acl: None, version: 1 };
    check_events(vec![], set_acl, &[]);
    let entries = vec![create("/a", 1), create("/a/b", 1), set_data("/a", 1), delete("/a/b"), delete("/a")];
    check_events(vec![], Txn::Multi(entries), &["+/a", "+/a/b", "=/a", "-/a/b", "-/a"]);
    let failed = Txn::Multi(vec![create("/a", 1), Txn::Error(ErrorCode::NO_NODE)]);
    check_events(vec![], failed, &[]);
    let before = || vec![create("/a", 1), ephemeral("/e2", 2), ephemeral("/a/e1", 1), ephemeral("/e3", 3)];
    let listed = Txn::CloseSession { paths: Some(vec!["/e2".to_string(), "/gone".to_string()]) };
    check_events(before(), listed, &["-/e2", "-/a/e1", "-/e3"]);
    check_events(before(), Txn::CloseSession { paths: None }, &["-/a/e1", "-/e2", "-/e3"]);
}

#[test]
fn an_event_has_the_lists_that_decide_who_is_told() {
    let (read, write): (AclList, AclList) = ([Acl::world(Acl::READ)].into(), [Acl::world(Acl::WRITE)].into());
    let set_acl =
        |path: &str, list: &AclList| Txn::SetAcl { path: path.to_string(), acl: Some(list.clone()), version: 1 };
    let mut tree = tree([create("/a", 1), set_acl("/a", &read), create("/a/b", 1), set_acl("/a/b", &write)]);
    let check = |tree: &mut DataTree, counter: u32, txn: Txn, acl: &AclList, parent: Option<(&str, &AclList)>| {
        let record = record(counter, txn);
        let outcome = tree.apply(&record);
        let [event] = outcome.events.as_slice() else { panic!("{outcome:?}") };
        assert_eq!(event.acl, *acl);
        assert_eq!(event.parent_acl.as_ref().map(|acl| (event.parent_path(), acl)), parent);
    };
    check(&mut tree, 5, set_data("/a/b", 1), &write, None);
    check(&mut tree, 6, delete("/a/b"), &write, Some(("/a", &read)));
    let open: AclList = [Acl::world(Acl::ALL)].into();
    check(&mut tree, 7, create("/c", 2), &open, Some(("/", &open)));
}

#[test]
fn a_multi_answers_each_entry_with_the_stat_right_after_it() {
    let mut tree = tree([create("/a", 1)]);
    let record = record(
        2,
        Txn::Multi(vec![
            Txn::Create2(create_txn("/a/b", 1)),
            set_data("/a/b", 1),
            create("/a/c", 2),
            Txn::Check { path: "/a".to_string(), version: 1 },
            delete("/a/c"),
        ]),
    );
    let outcome = tree.apply(&record);
    let [MultiResult::Create2(path, created), MultiResult::SetData(set), MultiResult::Create(plain), rest @ ..] =
        outcome.multi.as_slice()
    else {
        panic!("{outcome:?}")
    };
    assert_eq!((path.as_str(), created.version, created.data_length), ("/a/b", 0, 4));
    assert_eq!((set.version, set.data_length, plain.as_str()), (1, 0, "/a/c"));
    assert_eq!(rest, [MultiResult::Check, MultiResult::Delete]);
}

#[test]
fn applied_twice_nothing_changes_but_what_is_already_so_is_said() {
    let txns = [create("/a", 1), ephemeral("/a/e", 1), set_data("/a", 1), create("/b", 2), delete("/b")];
    let mut twice = tree(txns.clone());
    let before = contents(&twice);
    let expected = [ErrorCode::NODE_EXISTS, ErrorCode::NODE_EXISTS, ErrorCode::OK, ErrorCode::OK, ErrorCode::OK];
    for ((counter, txn), expected) in (1..).zip(txns).zip(expected) {
        assert_eq!(twice.apply(&record(counter, txn)).error, expected);
    }
    assert_eq!(contents(&twice), before);
    assert_eq!(twice.last_zxid(), at(5));
    assert_eq!(twice.recount(), Ok(()));
    assert_eq!(twice.apply(&record(6, delete("/missing"))).error, ErrorCode::NO_NODE);
    assert_eq!(twice.apply(&record(7, create("/missing/x", 1))).error, ErrorCode::NO_NODE);
    assert_eq!(twice.apply(&record(8, set_data("/missing", 1))).error, ErrorCode::NO_NODE);
}

/// A snapshot of ZooKeeper can hold a child that is newer than what it holds of the parent.
#[test]
fn a_parent_that_is_behind_its_child_catches_up_whatever_kind_of_create_it_was() {
    let kinds: [fn(CreateTxn) -> Txn; 4] =
        [Txn::Create, Txn::Create2, Txn::CreateContainer, |create| Txn::CreateTtl { create, ttl_ms: 1 }];
    for kind in kinds {
        let mut tree = tree([create("/p", 1), kind(create_txn("/p/c", 0))]);
        let cversion = |tree: &DataTree| tree.get("/p").map(|znode| (znode.stat().cversion, znode.stat().pzxid));
        assert_eq!(cversion(&tree), Some((-1, at(1))), "one child, no creation");
        assert_eq!(tree.apply(&record(2, kind(create_txn("/p/c", 1)))).error, ErrorCode::NODE_EXISTS);
        assert_eq!(cversion(&tree), Some((1, at(2))));
        assert_eq!(tree.recount(), Ok(()));
    }
}

#[test]
fn a_deletion_that_is_applied_again_takes_later_children_along() {
    let mut tree = tree([create("/p", 1), create("/p/c", 1), ephemeral("/p/c/e", 1), create("/q", 2)]);
    tree.begin_snapshot(Walk(0));
    let mut snapshot = Vec::new();
    for _ in 0..4 {
        snapshot.extend(tree.snapshot_slice(Walk(0), 1).into_iter().flatten());
    }
    let written = |path: &[u8]| snapshot.windows(path.len()).any(|window| window == path);
    assert!(written(b"\0\0\0\x02/p") && !written(b"/p/c"), "the cursor is below /p");
    assert!(tree.apply(&record(5, delete("/p"))).error.is_ok());
    assert_eq!(tree.recount(), Ok(()));
    assert_eq!((tree.node_count(), tree.ephemeral_count()), (5, 0));
    while let Some(slice) = tree.snapshot_slice(Walk(0), 1) {
        snapshot.extend_from_slice(&slice);
    }
    DataTree::load(6, at(4), &snapshot).expect("the snapshot is whole");
}

#[test]
fn a_digest_that_does_not_agree_is_reported_once_the_tree_is_complete() {
    let with_digest = |counter, tree_digest| {
        let digest = Some(TxnDigest { version: TxnDigest::VERSION, tree_digest });
        TxnRecord { digest, ..record(counter, Txn::CreateSession { timeout_ms: 1 }) }
    };
    let mut tree = DataTree::new(5);
    let right = tree.digest();
    assert_eq!(tree.apply(&with_digest(1, right)).digest_mismatch, None);
    let mismatch = tree.apply(&with_digest(2, 1)).digest_mismatch.expect("the digest is wrong");
    assert_eq!((mismatch.expected, mismatch.actual), (1, right));

    let load = || DataTree::load(5, at(0), &DataTree::new(5).serialize()).expect("the snapshot loads");
    let mut tree = load();
    assert_eq!(tree.apply(&with_digest(1, 1)).digest_mismatch, None, "nobody knows yet");
    assert_eq!(tree.apply(&with_digest(2, right)).digest_mismatch, None);
    assert!(tree.apply(&with_digest(3, 1)).digest_mismatch.is_some());

    let mut tree = load();
    assert_eq!(tree.expect_digest(at(0), right), None, "complete from the start");
    let mismatch = tree.expect_digest(at(0), 7).expect("the snapshot's digest is wrong");
    assert_eq!((mismatch.expected, mismatch.actual), (7, right));

    let mut tree = load();
    assert_eq!(tree.expect_digest(at(2), 7), None);
    assert_eq!(tree.apply(&with_digest(1, 1)).digest_mismatch, None, "not complete yet");
    let mismatch = tree.apply(&with_digest(2, right)).digest_mismatch.expect("the snapshot's digest is wrong");
    assert_eq!(mismatch.expected, 7);
    assert_eq!(tree.apply(&with_digest(3, right)).digest_mismatch, None);
    let other_version = TxnRecord { digest: Some(TxnDigest { version: 1, tree_digest: 1 }), ..with_digest(4, 1) };
    assert_eq!(tree.apply(&other_version).digest_mismatch, None, "another way to compute it");
}

#[test]
fn the_configuration_is_published_without_a_transaction_or_a_trace_in_the_digest() {
    let mut tree = DataTree::new(5);
    let digest = tree.digest();
    tree.set_config(b"server.1=...\nversion=100000000", Zxid::new(Epoch(1), 0));
    let config = tree.get("/zookeeper/config").expect("every tree has it");
    assert_eq!(config.data(), Some(&b"server.1=...\nversion=100000000"[..]));
    let stat = config.stat();
    assert_eq!((stat.version, stat.aversion, stat.mzxid), (-1, -1, Zxid::new(Epoch(1), 0)));
    assert_eq!(config.acl()[..], [Acl::world(Acl::READ)]);
    assert_eq!((tree.digest(), tree.recount()), (digest, Ok(())));
}
