//! When a snapshot is due.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use ensemble_proto::Zxid;
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Compression, Options, Share, SnapshotWriter, Storage};
use support::*;

const RECORD: u64 = 13 + 32 + 55;

/// How many records there were, at each of some snapshots of `snapshot_len` bytes, since the one before.
fn records_between(options: &Options, snapshot_len: usize) -> Vec<u64> {
    let disk = SimDisk::new();
    let (mut storage, _) = Storage::open(disk.clone(), options.clone()).unwrap();
    let (mut found, mut since) = (Vec::new(), 0);
    for counter in 1.. {
        storage.perform(&append(zxid(1, counter), 55)).unwrap();
        storage.sync().unwrap();
        since += 1;
        if storage.snapshot_due().unwrap() {
            found.push(since);
            since = 0;
            let zxid: Zxid = zxid(1, counter);
            let mut writer = SnapshotWriter::begin(disk.clone(), zxid, Compression::Plain).unwrap();
            writer.slice(&vec![7; snapshot_len]).unwrap();
            writer.finish(None, zxid).unwrap();
        }
        if found.len() == 8 {
            break;
        }
    }
    found
}

#[test]
fn a_snapshot_is_due_between_half_and_all_of_snap_count() {
    let options = Options { snap_count: 40, ..options() };
    let found = records_between(&options, 100_000);
    assert!(found.iter().all(|records| (20..=41).contains(records)), "{found:?}");
}

#[test]
fn and_not_before_a_share_of_the_newest_snapshot_was_logged() {
    let share = Some(Share { of: 1, in_all: 2 });
    let options = Options { snap_count: 40, snap_share: share, ..options() };
    let found = records_between(&options, 100_000);
    let (first, others) = found.split_first().unwrap();
    assert!((20..=41).contains(first), "the first snapshot is that of the empty tree: {found:?}");
    let least = 100_000 / 2 / 2 / RECORD;
    assert!(others.iter().all(|records| (least..=2 * least + 2).contains(records)), "{found:?}");
    let small = records_between(&options, 100);
    assert!(small.iter().all(|records| (20..=41).contains(records)), "{small:?}");
}

#[test]
fn but_always_when_snap_size_limit_was_logged() {
    let share = Some(Share { of: 1, in_all: 1 });
    let options = Options { snap_count: 1000, snap_share: share, snap_bytes: 50 * RECORD, ..options() };
    let found = records_between(&options, 100_000);
    assert!(found.iter().all(|records| (25..=51).contains(records)), "{found:?}");
}
