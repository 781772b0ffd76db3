//! A snapshot whose tree is not the one that it was said to hold: named and counted, as in ZooKeeper, and nothing else.

use crate::client::{Client, mntr};
use crate::process::Process;
use crate::world::{Server, wait_for};
use ensemble_proto::durable::Write;
use ensemble_proto::txn::{Txn, TxnHeader, TxnRecord};
use ensemble_proto::{ErrorCode, SessionId, Zxid};
use ensemble_storage::{Compression, Options, RealDisk, SnapshotWriter, Storage, empty_database};

/// The digest of the empty tree.
const EMPTY: u64 = 0x51c6_d660;

/// What a server that starts from a snapshot of the empty tree at zxid 9 counts, when the snapshot says that this digest was reached
/// at `complete`; its log.
fn start(digest: u64, complete: Zxid) -> (String, Process) {
    start_with("", digest, complete)
}

/// The same with more lines of `zoo.cfg`.
fn start_with(extra: &str, digest: u64, complete: Zxid) -> (String, Process) {
    let server = Server::new(&format!("clientPort=0\n{extra}"));
    let disk = RealDisk::open(server.directory(), server.directory(), true).unwrap();
    let (mut storage, _) = Storage::open(disk.clone(), Options::default()).unwrap();
    for write in [
        Write::ReceiveSnapshot { zxid: Zxid(9) },
        Write::SnapshotPart { bytes: empty_database() },
        Write::InstallSnapshot { zxid: Zxid(9) },
    ] {
        storage.perform(&write).unwrap();
    }
    for zxid in (10..=complete.0).map(Zxid) {
        let header = TxnHeader { session: SessionId(7), cxid: 0, zxid, time_ms: 0 };
        let record = TxnRecord { header, txn: Txn::CreateSession { timeout_ms: 10_000 }, digest: None };
        storage.perform(&Write::Append { zxid, payload: record.encode() }).unwrap();
    }
    storage.sync().unwrap();
    drop(storage);
    let mut snapshot = SnapshotWriter::begin(disk, Zxid(9), Compression::Plain).unwrap();
    snapshot.slice(&empty_database()).unwrap();
    snapshot.finish(Some(digest), complete).unwrap();
    let file = server.write_config();
    let process = Process::start(&["server", "--config", file.to_str().unwrap()]);
    let mut client = Client::connect(process.client_port()).unwrap();
    assert_eq!(client.create("/a", b"").unwrap(), ErrorCode::OK, "it serves all the same");
    (mntr(process.client_port(), "zk_digest_mismatches_count").unwrap(), process)
}

#[test]
fn a_snapshots_digest_is_compared_when_it_is_loaded() {
    assert_eq!(start(EMPTY, Zxid(9)).0, "0");
    let (count, process) = start(7, Zxid(9));
    assert_eq!(count, "1");
    process.wait_for_line(&["ERROR", "the snapshot's tree has digest 51c6d660, expected is 7", "zxid=0x9"]);
}

#[test]
fn a_fuzzy_snapshots_digest_is_compared_when_its_last_transaction_was_applied() {
    assert_eq!(start(EMPTY, Zxid(10)).0, "0");
    let (count, process) = start(7, Zxid(10));
    assert_eq!(count, "1");
    process.wait_for_line(&["ERROR", "the tree has digest 51c6d660, expected is 7", "zxid=0xa"]);
}

#[test]
fn without_digests_none_is_compared_and_none_is_written() {
    assert_eq!(start_with("digest.enabled=false\n", 7, Zxid(9)).0, "0");
    for (extra, expected) in [("", true), ("digest.enabled=false\n", false)] {
        let mut server = Server::standalone(&format!("{extra}snapCount=2\nsnapshot.compression.method=gz\n"));
        let mut client = Client::connect(server.client_port()).unwrap();
        let version = server.directory().join("version-2");
        let snapshot = wait_for("a compressed snapshot", || {
            assert_eq!(client.set("/zookeeper/quota", b"").unwrap(), ErrorCode::OK);
            let entries = std::fs::read_dir(&version).unwrap();
            entries.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|part| part == "gz"))
        });
        server.stop();
        let disk = RealDisk::open(server.directory(), server.directory(), true).unwrap();
        let (_, recovered) = Storage::open(disk, Options::default()).unwrap();
        assert!(recovered.snapshot.unwrap().0 > Zxid::ZERO, "{} is read", snapshot.display());
        assert_eq!(recovered.snapshot_digest.is_some(), expected, "{extra}");
        server.start();
        assert_eq!(Client::connect(server.client_port()).unwrap().create("/a", b"").unwrap(), ErrorCode::OK);
    }
}
