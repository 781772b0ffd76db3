//! The log read again, from the middle, across files, in slices, while it grows.
#![allow(clippy::unwrap_used)]

mod support;

use ensemble_proto::Zxid;
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Compression, Dir, Disk, LogReader, Options, Share, SnapshotWriter, Storage, purge};
use support::*;

/// Records 1.1 to 1.40 in several files, and an epoch after them.
fn store(disk: &SimDisk) -> (Storage<SimDisk>, Vec<Zxid>) {
    let small = Options { log_len_max: Some(1000), ..options() };
    let (mut storage, _) = Storage::open(disk.clone(), small).unwrap();
    let history: Vec<Zxid> = (1..=40).map(|at| zxid(1, at)).chain((1..=5).map(|at| zxid(3, at))).collect();
    for (at, zxid) in history.iter().enumerate() {
        storage.perform(&append(*zxid, 40 + at % 3)).unwrap();
        if at % 4 == 0 {
            storage.sync().unwrap();
        }
    }
    storage.sync().unwrap();
    assert!(disk.clone().list(Dir::Log).unwrap().len() > 3);
    (storage, history)
}

fn open(disk: &SimDisk, after: Zxid) -> Option<LogReader<SimDisk>> {
    LogReader::open(disk.clone(), after, None, 1 << 20).unwrap()
}

/// Everything from a position on, in slices of a length.
fn read(disk: &SimDisk, after: Zxid, len: usize) -> (Zxid, Vec<Zxid>) {
    let mut reader = open(disk, after).unwrap();
    let (floor, mut found) = (reader.position(), Vec::new());
    loop {
        let before = reader.position();
        let slice = reader.slice(len).unwrap();
        assert_eq!(slice.floor, before);
        if slice.records.is_empty() {
            return (floor, found);
        }
        for (zxid, bytes) in slice.records {
            let at = found.len() + (floor.counter() as usize) + if floor.epoch().0 == 3 { 40 } else { 0 };
            assert_eq!(bytes, payload(zxid, 40 + at % 3), "{zxid}");
            found.push(zxid);
        }
    }
}

#[test]
fn the_log_is_read_from_any_record_in_slices_of_any_length() {
    let disk = SimDisk::new();
    let (_storage, history) = store(&disk);
    for (at, after) in history.iter().enumerate() {
        for len in [1, 300, 100_000] {
            assert_eq!(read(&disk, *after, len), (*after, history[at + 1..].to_vec()), "{after} {len}");
        }
    }
    // Positions that no record has: the one before is where the history is known.
    assert_eq!(read(&disk, zxid(1, 99), 300), (zxid(1, 40), history[40..].to_vec()));
    assert_eq!(read(&disk, zxid(2, 0), 300), (zxid(1, 40), history[40..].to_vec()));
    assert!(open(&disk, Zxid::ZERO).is_none(), "what was before the first record nobody knows");
}

#[test]
fn what_is_appended_meanwhile_is_read_too() {
    let disk = SimDisk::new();
    let (mut storage, _) = store(&disk);
    let mut reader = open(&disk, zxid(3, 4)).unwrap();
    assert_eq!(reader.slice(1000).unwrap().records.len(), 1);
    assert!(reader.slice(1000).unwrap().records.is_empty());
    for at in 6..=30 {
        storage.perform(&append(zxid(3, at), 40)).unwrap();
        storage.sync().unwrap();
    }
    assert_eq!(reader.slice(100_000).unwrap().records.len(), 25);
}

#[test]
fn a_log_that_is_long_beside_the_snapshot_is_no_source() {
    let disk = SimDisk::new();
    let (storage, _) = store(&disk);
    let mut writer = SnapshotWriter::begin(storage.disk(), zxid(3, 5), Compression::Plain).unwrap();
    writer.slice(&body(&[zxid(1, 1); 400])).unwrap();
    writer.finish(None, zxid(3, 5)).unwrap();
    let is_source =
        |after, of| LogReader::open(disk.clone(), after, Some(Share { of, in_all: 100 }), 1 << 20).unwrap().is_some();
    assert!(!is_source(zxid(1, 2), 100), "about as much as the snapshot, and a little more");
    assert!(is_source(zxid(3, 4), 100), "what follows is less");
    assert!(!is_source(zxid(3, 4), 33));
    assert!(is_source(zxid(1, 2), 1000));
}

#[test]
fn a_purged_file_is_an_error_and_a_damaged_one_ends_the_log() {
    let disk = SimDisk::new();
    let (storage, history) = store(&disk);
    let mut reader = open(&disk, zxid(1, 1)).unwrap();
    reader.slice(1).unwrap();
    for at in [40, 43, 45] {
        let named = history[at - 1];
        let mut writer = SnapshotWriter::begin(storage.disk(), named, Compression::Plain).unwrap();
        writer.slice(&body(&history[..at])).unwrap();
        writer.finish(None, named).unwrap();
    }
    purge(&mut disk.clone(), 3).unwrap();
    assert!((0..100).any(|_| reader.slice(100).is_err()), "a file is gone");
    assert!(open(&disk, zxid(1, 1)).is_none());

    let disk = SimDisk::new();
    store(&disk);
    disk.damage(Dir::Log, "log.100000001", |bytes| bytes[200] ^= 1).unwrap();
    let (_, found) = read(&disk, zxid(1, 1), 300);
    assert!(found.len() < 5, "nothing is passed over: {found:?}");
}
