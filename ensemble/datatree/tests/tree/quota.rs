//! What is counted below a znode with a quota, live, after a restart, and when transactions are replayed on a fuzzy snapshot.

use bytes::Bytes;
use ensemble_datatree::{DataTree, Walk};
use ensemble_proto::txn::{CreateTxn, SetDataTxn, Txn, TxnHeader, TxnRecord};
use ensemble_proto::{Epoch, SessionId, Zxid};

const SESSION: SessionId = SessionId(0x0100_0000_0000_0001);
const STATS: &str = "/zookeeper/quota/a/zookeeper_stats";

fn create(path: &str, data: &'static str) -> Txn {
    let data = Some(Bytes::from_static(data.as_bytes()));
    Txn::Create(CreateTxn { path: path.to_string(), data, acl: None, ephemeral: false, parent_cversion: -1 })
}

fn ephemeral(path: &str, data: &'static str) -> Txn {
    match create(path, data) {
        Txn::Create(create) => Txn::Create(CreateTxn { ephemeral: true, ..create }),
        other => other,
    }
}

fn set_data(path: &str, data: &'static str) -> Txn {
    let data = Some(Bytes::from_static(data.as_bytes()));
    Txn::SetData(SetDataTxn { path: path.to_string(), data, version: 1 })
}

fn delete(path: &str) -> Txn {
    Txn::Delete { path: path.to_string() }
}

/// What `setquota -n 9 /a` of ZooKeeper's shell makes.
fn quota() -> Vec<Txn> {
    vec![
        create("/zookeeper/quota/a", ""),
        create("/zookeeper/quota/a/zookeeper_limits", "count=9,bytes=-1"),
        create(STATS, "count=0,bytes=0"),
    ]
}

fn record(counter: u32, txn: Txn) -> TxnRecord {
    let zxid = Zxid::new(Epoch(1), counter);
    TxnRecord { header: TxnHeader { session: SESSION, cxid: 1, zxid, time_ms: 1 }, txn, digest: None }
}

fn stats(tree: &DataTree) -> Option<String> {
    tree.get(STATS).and_then(|znode| znode.data()).map(|data| String::from_utf8_lossy(data).into_owned())
}

/// The stats after these transactions, and what they are when a server starts from a snapshot of that.
#[track_caller]
fn check(txns: impl IntoIterator<Item = Txn>, expected: &str, after_restart: &str) {
    let mut tree = DataTree::new(1);
    for (counter, txn) in (1..).zip(txns) {
        let record = record(counter, txn);
        assert!(tree.apply(&record).error.is_ok(), "{record:?}");
    }
    assert_eq!(tree.recount(), Ok(()));
    assert_eq!(stats(&tree).as_deref(), Some(expected));
    let restarted = DataTree::load(2, tree.last_zxid(), &tree.serialize()).expect("its own snapshot");
    assert_eq!(restarted.recount(), Ok(()));
    assert_eq!(stats(&restarted).as_deref(), Some(after_restart));
}

#[test]
fn what_is_there_is_counted_when_the_stats_are_created_and_then_every_change() {
    let a = || vec![create("/a", "12"), create("/a/b", "345"), create("/ab", "not below")];
    let check = |more: Vec<Txn>, expected| {
        check([a(), quota(), more].concat(), expected, expected);
    };
    check(vec![], "count=2,bytes=5");
    check(vec![create("/a/c", "6"), create("/a/c/d", "")], "count=4,bytes=6");
    check(vec![delete("/a/b")], "count=1,bytes=2");
    check(vec![set_data("/a/b", "longer than before"), set_data("/a", "")], "count=2,bytes=18");
    check(vec![ephemeral("/a/e", "77"), Txn::CloseSession { paths: None }], "count=2,bytes=5");
    check(vec![create("/b", "elsewhere"), set_data("/ab", "elsewhere"), delete("/ab")], "count=2,bytes=5");
    check(vec![Txn::Multi(vec![create("/a/m", "1"), delete("/a/b")])], "count=2,bytes=3");
    check(vec![delete("/a/b"), delete("/a")], "count=0,bytes=0");
}

#[test]
fn the_stats_end_with_their_limits_and_keep_their_own_stat() {
    let limits = "/zookeeper/quota/a/zookeeper_limits";
    check([quota(), vec![delete(limits), create("/a", "1")]].concat(), "count=0,bytes=0", "count=0,bytes=0");
    let mut tree = DataTree::new(1);
    for (counter, txn) in (1..).zip([quota(), vec![create("/a", "1")]].concat()) {
        assert!(tree.apply(&record(counter, txn)).error.is_ok());
    }
    let stat = tree.get(STATS).expect("it was created").stat();
    assert_eq!((stat.version, stat.mzxid, stat.data_length), (0, Zxid::new(Epoch(1), 3), 15));
}

#[test]
fn what_a_client_writes_there_is_added_to_or_left_alone() {
    let all = |data, more: &[Txn]| [quota(), vec![set_data(STATS, data)], more.to_vec()].concat();
    check(
        all("count=5,bytes=6=;countHardLimit=7", &[create("/a", "1")]),
        "count=6,bytes=7=;countHardLimit=7",
        "count=1,bytes=1",
    );
    check(all("nonsense", &[create("/a", "1")]), "nonsense", "count=1,bytes=1");
}

#[test]
fn a_replay_on_a_fuzzy_snapshot_counts_nothing_twice() {
    let before = [quota(), vec![create("/a", "1"), create("/a/b", "22"), create("/a/c", "333")]].concat();
    let after =
        vec![delete("/a/b"), create("/a/d", "4444"), set_data("/a/c", ""), create("/a/d/e", "5"), delete("/a/d/e")];
    let begun = before.len() as u32;
    let records: Vec<TxnRecord> = (1..).zip([before, after].concat()).map(|(at, txn)| record(at, txn)).collect();
    let mut tree = DataTree::new(1);
    let mut fuzzy = Vec::new();
    for (at, record) in (1..).zip(&records) {
        assert!(tree.apply(record).error.is_ok(), "{record:?}");
        if at == begun {
            tree.begin_snapshot(Walk(0));
        }
        if at >= begun
            && let Some(slice) = tree.snapshot_slice(Walk(0), 1)
        {
            fuzzy.extend_from_slice(&slice);
        }
    }
    while let Some(slice) = tree.snapshot_slice(Walk(0), 1) {
        fuzzy.extend_from_slice(&slice);
    }
    let mut replayed = DataTree::load(2, Zxid::new(Epoch(1), begun), &fuzzy).expect("its own snapshot");
    for record in &records[begun as usize..] {
        replayed.apply(record);
    }
    assert_eq!(stats(&tree).as_deref(), Some("count=3,bytes=5"));
    assert_eq!(stats(&replayed), stats(&tree));
    assert_eq!(replayed.recount(), Ok(()));
}
