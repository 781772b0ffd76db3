//! Files that ZooKeeper 3.8 and 3.9 wrote, to the digest.

use crate::common::{Owned, contents, read, request_of};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ensemble_datatree::{Access, DataTree, Pending, prep};
use ensemble_proto::client::MultiResult;
use ensemble_proto::txn::{Txn, TxnRecord};
use ensemble_proto::{ErrorCode, SessionId, Zxid};
use serde_json::Value;

const SEED: u64 = 7;
const FILE_HEADER_BYTES: usize = 16;

fn expected(version: &str) -> Value {
    serde_json::from_slice(&read(&format!("{version}/expected.json"))).expect("expected.json is JSON")
}

fn load(file: &str) -> DataTree {
    let zxid = file.rsplit_once('.').and_then(|(_, hex)| i64::from_str_radix(hex, 16).ok()).expect("a snapshot's name");
    DataTree::load(SEED, Zxid(zxid), &read(file)[FILE_HEADER_BYTES..]).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The payloads of a log file: checksum, length, payload, end mark.
fn payloads(file: &str) -> Vec<Bytes> {
    let bytes = Bytes::from(read(file));
    let mut at = FILE_HEADER_BYTES;
    let mut payloads = Vec::new();
    loop {
        let length = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().expect("four bytes")) as usize;
        if length == 0 {
            return payloads;
        }
        payloads.push(bytes.slice(at + 12..at + 12 + length));
        assert_eq!(bytes[at + 12 + length], 0x42);
        at += 13 + length;
    }
}

fn records(file: &str) -> Vec<TxnRecord> {
    let decode = |payload: &Bytes| TxnRecord::decode(payload).unwrap_or_else(|error| panic!("{file}: {error}"));
    payloads(file).iter().map(decode).collect()
}

fn data(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(|text| STANDARD.decode(text).expect("base64"))
}

fn session(value: &Value) -> SessionId {
    let text = value.as_str().expect("a session is a string").trim_start_matches("0x");
    SessionId(u64::from_str_radix(text, 16).expect("hex") as i64)
}

#[test]
fn snapshots_load_to_the_digest_and_content_that_is_expected() {
    for (version, file) in [
        ("zookeeper-3.8", "snapshot.0"),
        ("zookeeper-3.8", "snapshot.21"),
        ("zookeeper-3.8", "snapshot.2a"),
        ("zookeeper-3.9", "snapshot.21"),
        ("zookeeper-3.9", "snapshot.10000002c"),
    ] {
        let expected = &expected(version)["snapshots"][file];
        let tree = load(&format!("{version}/{file}"));
        assert_eq!(tree.digest(), expected["treeDigestComputedFromNodes"].as_u64().expect("a digest"), "{file}");
        assert_eq!(tree.recount(), Ok(()), "{file}");
        let nodes = expected["nodes"].as_array().expect("nodes");
        assert_eq!(tree.node_count(), nodes.len(), "{file}");
        for node in nodes {
            let path = node["path"].as_str().expect("a path");
            let znode = tree.get(if path.is_empty() { "/" } else { path }).unwrap_or_else(|| panic!("{file}: {path}"));
            assert_eq!(znode.data().map(<[u8]>::to_vec), data(&node["data_b64"]), "{file}: {path}");
        }
        let sessions: Vec<_> = tree.sessions().keys().copied().collect();
        let mut expected_sessions: Vec<_> =
            expected["sessions"].as_array().expect("sessions").iter().map(|s| session(&s["id"])).collect();
        expected_sessions.sort();
        assert_eq!(sessions, expected_sessions, "{file}");
    }
}

#[test]
fn a_loaded_snapshot_is_written_back_in_the_same_size_and_to_the_same_content() {
    for file in ["zookeeper-3.8/snapshot.0", "zookeeper-3.8/snapshot.21", "zookeeper-3.9/snapshot.10000002c"] {
        let tree = load(file);
        let written = tree.serialize();
        let (version, name) = file.split_once('/').expect("a folder and a file");
        let seal_end = expected(version)["snapshots"][name]["seals"][0]["endOffset"].as_u64().expect("an offset");
        assert_eq!(written.len() + FILE_HEADER_BYTES + 13, seal_end as usize, "{file}");
        let again = DataTree::load(SEED + 1, tree.last_zxid(), &written).expect("what was written loads");
        assert_eq!(contents(&again), contents(&tree), "{file}");
    }
}

#[test]
fn replayed_logs_agree_with_every_digest_and_end_in_the_state_that_clients_saw() {
    let start: [(DataTree, &[&str]); 3] = [
        (DataTree::new(SEED), &["log.1", "log.22"]),
        (load("zookeeper-3.8/snapshot.0"), &["log.1", "log.22"]),
        (load("zookeeper-3.8/snapshot.21"), &["log.22"]),
    ];
    for (mut tree, logs) in start {
        tree.expect_digest(tree.last_zxid(), tree.digest());
        for record in logs.iter().flat_map(|log| records(&format!("zookeeper-3.8/{log}"))) {
            let outcome = tree.apply(&record);
            assert_eq!(outcome.digest_mismatch, None, "{record:?}");
            let failed = if let Txn::Error(code) = record.txn { code } else { ErrorCode::OK };
            assert_eq!(outcome.error, failed, "{record:?}");
            assert_eq!(tree.recount(), Ok(()), "{record:?}");
        }
        assert_final_state(&tree);
    }
}

fn assert_final_state(tree: &DataTree) {
    let state = &expected("zookeeper-3.8")["finalStateAfterReplay"];
    assert_eq!(tree.digest(), 31_080_651_913);
    assert_eq!(tree.last_zxid(), Zxid(0x2a));
    let sessions: Vec<_> = tree.sessions().iter().map(|(id, ms)| (*id, *ms)).collect();
    assert_eq!(sessions, [(SessionId(0x100_000c_ceb4_0000), 25000)]);
    let znodes = state["znodes"].as_object().expect("znodes");
    assert_eq!(tree.node_count(), znodes.len());
    for (path, expected) in znodes {
        let znode = tree.get(path).unwrap_or_else(|| panic!("{path} is missing"));
        if !path.ends_with("/zookeeper_stats") {
            assert_eq!(znode.data().map(<[u8]>::to_vec), data(&expected["data_b64"]), "{path}");
        }
        let stat = znode.stat();
        for (field, actual) in [
            ("czxid", stat.czxid.0),
            ("mzxid", stat.mzxid.0),
            ("ctime", stat.ctime),
            ("mtime", stat.mtime),
            ("version", stat.version.into()),
            ("cversion", stat.cversion.into()),
            ("aversion", stat.aversion.into()),
            ("ephemeralOwner", stat.ephemeral_owner.0),
            ("numChildren", stat.num_children.into()),
            ("pzxid", stat.pzxid.0),
        ] {
            assert_eq!(expected["stat"][field].as_i64(), Some(actual), "{path}: {field}");
        }
        let acl: Vec<_> = expected["acl"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|acl| (acl["perms"].as_i64(), acl["scheme"].as_str(), acl["id"].as_str()))
            .collect();
        let actual: Vec<_> = znode
            .acl()
            .iter()
            .map(|acl| (Some(acl.perms.into()), Some(acl.scheme.as_str()), Some(acl.id.as_str())))
            .collect();
        assert_eq!(actual, acl, "{path}");
    }
}

/// Each record of the log is prepared again from the request that must have led to it, `ahead` records before it is applied.
fn prepare_log_again(ahead: usize) -> usize {
    let mut tree = DataTree::new(SEED);
    let mut pending = Pending::new(SEED);
    let mut queue: Vec<TxnRecord> = Vec::new();
    let mut prepared = 0;
    let apply = |tree: &mut DataTree, pending: &mut Pending, record: &TxnRecord| {
        assert_eq!(tree.apply(record).digest_mismatch, None);
        pending.applied(record.header.zxid);
    };
    for file in ["zookeeper-3.8/log.1", "zookeeper-3.8/log.22"] {
        for payload in payloads(file) {
            let record = TxnRecord::decode(&payload).expect("the log is readable");
            let header = record.header;
            let foreign = || Owned::new(header.session, header.cxid, record.txn.op(), |_| {});
            let request = request_of(header.session, header.cxid, &record.txn);
            let owned = request.clone().unwrap_or_else(foreign);
            let request_access = owned.request(Access::UNCHECKED);
            match (request, &record.txn) {
                (Some(_), txn) => {
                    let again = prep::prep(&tree, &mut pending, header.time_ms, header.zxid, &request_access);
                    assert_eq!(sorted(again), sorted(record.clone()), "{txn:?}");
                    prepared += 1;
                }
                (None, Txn::Error(code)) => {
                    let again = prep::error(&tree, &mut pending, header.time_ms, header.zxid, &request_access, *code);
                    assert_eq!(again.encode(), payload);
                    prepared += 1;
                }
                // What we do not prepare is applied at once: Pending does not know of it.
                (None, _) => queue.drain(..).for_each(|record| apply(&mut tree, &mut pending, &record)),
            }
            queue.push(record);
            let due = if pending.is_empty() { queue.len() } else { queue.len().saturating_sub(ahead) };
            queue.drain(..due).for_each(|record| apply(&mut tree, &mut pending, &record));
        }
    }
    queue.drain(..).for_each(|record| apply(&mut tree, &mut pending, &record));
    assert!(pending.is_empty());
    assert_final_state(&tree);
    prepared
}

/// A session's paths come in no order from Java.
fn sorted(mut record: TxnRecord) -> TxnRecord {
    if let Txn::CloseSession { paths: Some(paths) } = &mut record.txn {
        paths.sort();
    }
    record
}

#[test]
fn preparing_what_clients_asked_gives_the_records_that_java_logged() {
    for ahead in [0, 1, 5, 100] {
        assert!(prepare_log_again(ahead) >= 37, "{ahead}");
    }
}

#[test]
fn a_failed_multi_is_answered_entry_by_entry_and_changes_nothing() {
    let mut tree = DataTree::new(SEED);
    for record in records("zookeeper-3.8/log.1") {
        let before = contents(&tree);
        let outcome = tree.apply(&record);
        if let Txn::Multi(txns) = &record.txn
            && txns.iter().any(|txn| matches!(txn, Txn::Error(_)))
        {
            let codes: Vec<_> = outcome.multi.iter().map(MultiResult::error).collect();
            assert_eq!(codes[..2], [ErrorCode::OK, ErrorCode::BAD_VERSION]);
            assert!(codes[2..].iter().all(|code| *code == ErrorCode::RUNTIME_INCONSISTENCY));
            assert_eq!((outcome.error, outcome.events.len()), (ErrorCode::OK, 0));
            assert_eq!(contents(&tree), before);
            return;
        }
    }
    panic!("log.1 holds a failed multi");
}
