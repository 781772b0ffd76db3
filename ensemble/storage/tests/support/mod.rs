//! What the tests of a store share: records, snapshots whose body tells their history, the fixtures directory.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use bytes::Bytes;
use ensemble_proto::durable::Write;
use ensemble_proto::jute::Writer;
use ensemble_proto::{Epoch, Zxid};
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Options, Recovered, Storage, StorageError};
use std::path::{Path, PathBuf};

/// Small files, so that rare paths are common.
pub fn options() -> Options {
    Options { preallocate: 2048, snap_count: 10, ..Options::default() }
}

pub fn zxid(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

/// A record's payload: TxnHeader and `filler` bytes that depend on the zxid.
pub fn payload(zxid: Zxid, filler: usize) -> Bytes {
    let mut bytes = Vec::new();
    bytes.long(7);
    bytes.int(1);
    bytes.long(zxid.0);
    bytes.long(1000);
    bytes.int(5);
    bytes.extend((0..filler).map(|at| (at as u64 * 31 + zxid.0 as u64) as u8 | 1));
    bytes.into()
}

pub fn append(zxid: Zxid, filler: usize) -> Write {
    Write::Append { zxid, payload: payload(zxid, filler) }
}

/// A snapshot's body that is the list of the records in it.
pub fn body(history: &[Zxid]) -> Bytes {
    let mut bytes = Vec::new();
    for zxid in history {
        bytes.long(zxid.0);
    }
    bytes.string("/");
    bytes.into()
}

/// Receives a snapshot in parts and installs it.
pub fn receive(storage: &mut Storage<SimDisk>, zxid: Zxid, body: Bytes) -> Result<(), StorageError> {
    storage.perform(&Write::ReceiveSnapshot { zxid })?;
    for part in body.chunks(20) {
        storage.perform(&Write::SnapshotPart { bytes: Bytes::copy_from_slice(part) })?;
    }
    storage.perform(&Write::InstallSnapshot { zxid })
}

/// Every record that a recovered store stands for, through its snapshot.
pub fn history(recovered: &Recovered) -> Vec<Zxid> {
    let mut history = match &recovered.snapshot {
        Some((Zxid::ZERO, _)) | None => Vec::new(),
        Some((_, body)) => {
            let longs = body[..body.len() - 5].chunks(8);
            longs.map(|long| Zxid(i64::from_be_bytes(long.try_into().unwrap()))).collect()
        }
    };
    history.extend(recovered.tail.iter().map(|(zxid, _)| *zxid));
    history
}

pub fn open(disk: &SimDisk) -> Result<(Storage<SimDisk>, Recovered), StorageError> {
    Storage::open(disk.clone(), options())
}

/// The shared fixtures: `ENSEMBLE_FIXTURES`, or `shared/fixtures` beside one of the directories above.
pub fn fixtures() -> PathBuf {
    if let Some(path) = std::env::var_os("ENSEMBLE_FIXTURES") {
        return path.into();
    }
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|directory| directory.join("shared/fixtures"))
        .find(|path| path.is_dir())
        .expect("shared/fixtures is in no directory above; set ENSEMBLE_FIXTURES to run the tests on Apache's files")
}
