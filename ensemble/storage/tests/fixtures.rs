//! Every file that real servers of 3.8.0 and 3.9.5 wrote is read, and what is written is theirs byte by byte.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use ensemble_proto::durable::Write;
use ensemble_proto::jute::Reader;
use ensemble_proto::{Epoch, Zxid};
use ensemble_storage::{Compression, RealDisk, SnapshotWriter, Storage, empty_database, parse_snapshot};
use serde_json::Value;
use std::fs;
use std::path::Path;
use support::*;

/// Lays fixture files out as data and log directory.
fn laid_out(files: &[(&str, &str)]) -> (tempfile::TempDir, RealDisk) {
    let root = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(&root.path().join("data"), &root.path().join("log"), true).unwrap();
    for (release, name) in files {
        let place = if name.starts_with("log") { "log" } else { "data" };
        let target = root.path().join(place).join("version-2").join(name);
        fs::write(target, fs::read(fixtures().join(release).join(name)).unwrap()).unwrap();
    }
    (root, disk)
}

fn expected(release: &str) -> Value {
    serde_json::from_slice(&fs::read(fixtures().join(release).join("expected.json")).unwrap()).unwrap()
}

/// Counts znodes in a body.
fn znode_count(body: &[u8]) -> usize {
    let mut reader = Reader::new(body);
    reader.vector("sessions", 12, |r| r.take("session", 12)).unwrap();
    for _ in 0..reader.int("acls").unwrap() {
        reader.long("id").unwrap();
        reader
            .vector("acl", 12, |r| {
                r.int("perms")?;
                r.string("scheme")?;
                r.string("id")
            })
            .unwrap();
    }
    let mut count = 0;
    while reader.string("path").unwrap() != "/" {
        reader.buffer("data").unwrap();
        reader.take("acl and stat", 8 + 60).unwrap();
        count += 1;
    }
    assert!(reader.is_empty(), "the body ends with its terminator");
    count
}

#[test]
fn every_snapshot_is_read_with_its_sections() {
    for release in ["zookeeper-3.8", "zookeeper-3.9"] {
        let snapshots = expected(release)["snapshots"].as_object().unwrap().clone();
        for (name, expected) in &snapshots {
            let (_root, disk) = laid_out(&[(release, name.as_str())]);
            let (_, recovered) = Storage::open(disk, options()).unwrap();
            let (_, body) = recovered.snapshot.unwrap();
            let sessions = i32::from_be_bytes(body[..4].try_into().unwrap()) as usize;
            assert_eq!(sessions, expected["sessions"].as_array().unwrap().len(), "{release} {name}");
            assert_eq!(znode_count(&body), expected["nodes"].as_array().unwrap().len(), "{release} {name}");
        }
        assert!(snapshots.len() >= 2);
    }
}

#[test]
fn a_digest_section_is_read() {
    let bytes = fs::read(fixtures().join("zookeeper-3.9/snapshot.21")).unwrap();
    let snapshot = parse_snapshot("snapshot.21", bytes).unwrap();
    assert_eq!(snapshot.last_processed, Some(Zxid(0x21)));
    assert_eq!(snapshot.digest.unwrap().0, Zxid(0x21));
    let older = parse_snapshot("snapshot.21", fs::read(fixtures().join("zookeeper-3.8/snapshot.21")).unwrap()).unwrap();
    assert_eq!((older.last_processed, older.body, older.digest), (None, snapshot.body, snapshot.digest));
}

#[test]
fn the_logs_of_a_real_server_are_replayed_from_each_snapshot() {
    let release = "zookeeper-3.8";
    let check = |snapshot: &str, first: i64| {
        let files = [(release, snapshot), (release, "log.1"), (release, "log.22")];
        let (_root, disk) = laid_out(&files);
        let (_, recovered) = Storage::open(disk, options()).unwrap();
        let zxids: Vec<i64> = recovered.tail.iter().map(|(zxid, _)| zxid.0).collect();
        assert_eq!(zxids, (first..=0x2a).collect::<Vec<_>>(), "{snapshot}");
        assert_eq!((recovered.accepted_epoch, recovered.current_epoch), (Epoch(0), Epoch(0)));
    };
    check("snapshot.0", 1);
    check("snapshot.21", 0x22);
    check("snapshot.21.gz", 0x22);
    check("snapshot.21.snappy", 0x22);
    check("snapshot.2a", 0x2b);
}

#[test]
fn a_rewritten_log_is_the_same_file() {
    let files = [("zookeeper-3.8", "snapshot.0"), ("zookeeper-3.8", "log.1")];
    let (_root, disk) = laid_out(&files);
    let (_, recovered) = Storage::open(disk, options()).unwrap();
    let (root, disk) = laid_out(&[]);
    let (mut storage, _) = Storage::open(disk, options()).unwrap();
    for (zxid, payload) in recovered.tail {
        storage.perform(&Write::Append { zxid, payload }).unwrap();
    }
    storage.sync().unwrap();
    let theirs = fs::read(fixtures().join("zookeeper-3.8/log.1")).unwrap();
    let ours = fs::read(root.path().join("log/version-2/log.1")).unwrap();
    let records = theirs.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(ours[..records] == theirs[..records], "the records are theirs");
    let (no_record, mark) = ours[records..].split_at(12);
    assert!(no_record == [0; 12] && &mark[4..8] == b"SYNC", "every reader takes 12 zeros for the end");
    assert!(mark[8..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_rewritten_snapshot_is_the_same_file() {
    let theirs = fs::read(fixtures().join("zookeeper-3.9/snapshot.21")).unwrap();
    let snapshot = parse_snapshot("snapshot.21", theirs.clone()).unwrap();
    let (root, disk) = laid_out(&[]);
    let mut writer = SnapshotWriter::begin(disk, Zxid(0x21), Compression::Plain).unwrap();
    writer.slice(&snapshot.body).unwrap();
    writer.finish(Some(snapshot.digest.unwrap().1), Zxid(0x21)).unwrap();
    assert_eq!(fs::read(root.path().join("data/version-2/snapshot.21")).unwrap(), theirs);
}

/// A long body with little in it to compress away, in pieces that end anywhere.
fn long_body() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut body: Vec<u8> = (0..150_000).map(|at| if at % 7 < 3 { random.u8(..) } else { 0 }).collect();
    body.extend(b"\0\0\0\x01/");
    body
}

#[test]
fn compressed_snapshots_are_framed_as_theirs_and_read_back() {
    for (compression, extension, start) in [
        (Compression::Plain, "", &b"ZKSN"[..]),
        (Compression::Gzip, ".gz", &[0x1f, 0x8b, 8]),
        (Compression::Snappy, ".snappy", b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"),
    ] {
        let (root, disk) = laid_out(&[]);
        let mut writer = SnapshotWriter::begin(disk.clone(), Zxid(0x21), compression).unwrap();
        let mut random = fastrand::Rng::with_seed(2);
        let body = long_body();
        let mut rest = &body[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(random.usize(1..=rest.len().min(70_000)));
            writer.slice(piece).unwrap();
            rest = behind;
        }
        writer.finish(Some(5), Zxid(0x21)).unwrap();
        let file = root.path().join("data/version-2").join(format!("snapshot.21{extension}"));
        assert!(fs::read(&file).unwrap().starts_with(start), "{compression:?}");
        let recovered = Storage::open(disk.clone(), options()).unwrap().1;
        assert_eq!(recovered.snapshot.unwrap(), (Zxid(0x21), body.into()), "{compression:?}");
        assert_eq!(recovered.snapshot_digest, Some((Zxid(0x21), 5)), "{compression:?}");

        // One bit anywhere: the file is not used.
        let bytes = fs::read(&file).unwrap();
        for _ in 0..20 {
            let mut damaged = bytes.clone();
            // A gzip header has bytes that mean nothing.
            let at = random.usize(12..damaged.len());
            damaged[at] ^= 1 << random.u8(0..8);
            fs::write(&file, &damaged).unwrap();
            let opened = Storage::open(disk.clone(), options());
            let is_same = opened.is_ok_and(|(_, recovered)| recovered.snapshot.is_some_and(|(_, b)| b == long_body()));
            assert!(!is_same, "{compression:?}: the bit at {at}");
        }
    }
}

/// The blocks of a snappy-java stream: how long each is when it is plain.
fn snappy_blocks(file: &[u8]) -> Vec<usize> {
    let (mut lens, mut rest) = (Vec::new(), &file[16..]);
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        let (block, behind) = behind.split_at(u32::from_be_bytes(*len) as usize);
        lens.push(snap::raw::decompress_len(block).unwrap());
        rest = behind;
    }
    lens
}

#[test]
fn snappy_blocks_are_cut_as_theirs() {
    let theirs = fs::read(fixtures().join("zookeeper-3.8/snapshot.21.snappy")).unwrap();
    let plain = fs::read(fixtures().join("zookeeper-3.8/snapshot.21")).unwrap();
    assert_eq!(snappy_blocks(&theirs), [plain.len()]);
    let (root, disk) = laid_out(&[]);
    let mut writer = SnapshotWriter::begin(disk, Zxid(0x21), Compression::Snappy).unwrap();
    writer.slice(&long_body()).unwrap();
    writer.finish(None, Zxid(0x21)).unwrap();
    let ours = snappy_blocks(&fs::read(root.path().join("data/version-2/snapshot.21.snappy")).unwrap());
    let (last, full) = ours.split_last().unwrap();
    assert!(full.iter().all(|len| *len == 32 << 10) && *last <= 32 << 10, "{ours:?}");
    assert_eq!(ours.iter().sum::<usize>(), 16 + long_body().len() + 13 + 21);
}

#[test]
fn the_empty_database_is_the_first_snapshot_of_a_real_server() {
    let theirs = parse_snapshot("snapshot.0", fs::read(fixtures().join("zookeeper-3.8/snapshot.0")).unwrap()).unwrap();
    let (ours, theirs) = (empty_database(), theirs.body);
    assert_eq!((ours.len(), znode_count(&ours)), (theirs.len(), znode_count(&theirs)));
    let sorted = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.sort_unstable();
        bytes
    };
    assert_eq!(sorted(&ours), sorted(&theirs), "siblings may differ in order, nothing else");
}

#[test]
fn a_directory_has_one_process_and_must_exist_without_autocreate() {
    let root = tempfile::tempdir().unwrap();
    let [data, log, other] = ["data", "log", "other"].map(|name| root.path().join(name));
    let missing = RealDisk::open(&data, &log, false).unwrap_err();
    assert!(missing.to_string().contains("zookeeper.datadir.autocreate is false"), "{missing}");
    let disk = RealDisk::open(&data, &log, true).unwrap();
    for (mine, my_log, taken) in [(&data, &other, &data), (&other, &log, &log), (&other, &data, &data)] {
        let error = RealDisk::open(mine, my_log, true).unwrap_err().to_string();
        let expected = format!("{}: another process uses this directory", taken.join("version-2").display());
        assert!(error.starts_with(&expected), "{error}");
    }
    drop(disk);
    let link = root.path().join("link");
    std::os::unix::fs::symlink(&data, &link).unwrap();
    RealDisk::open(&data, &link, false).expect("one directory under two names is locked once");
    RealDisk::open(&data, &log, false).unwrap();
    assert!(Path::new(&data).join("version-2").is_dir());
}
