//! A snapshot received from a leader replaces everything a store holds, in one step or not at all.
//!
//! Its parts are written to a temporary file as they arrive; as long as they do, the store is what it was. The old log may have records that the leader never had; the new snapshot together with one of them would be a
//! state that no server ever was in. So the snapshot does not become visible beside the old files:
//!
//! 1. `installing.<zxid>.tmp` is complete and synced;
//! 2. it is renamed to `installing.<zxid>`, and the directory synced: **from here on the new state holds**;
//! 3. every log and every older snapshot is removed, and the directories synced;
//! 4. it is renamed to `snapshot.<zxid>`, and the directory synced.
//!
//! A crash before 2 leaves the old state and a temporary file; a crash after 2 is finished by [`resume`] at the next start.
//!
//! Differs from ZooKeeper: there the old log and snapshots stay, and a crash can combine them.

use crate::compress::Compression;
use crate::disk::{Dir, Disk};
use crate::error::StorageError;
use crate::mutants::Mutants;
use crate::names;
use crate::snapshot::{self, SnapshotWriter};
use ensemble_proto::Zxid;

/// Where the parts of a snapshot go that is being received.
pub(crate) fn receive<D: Disk>(disk: &D, zxid: Zxid) -> Result<SnapshotWriter<D>, StorageError> {
    SnapshotWriter::begin_as(disk.clone(), names::installing(zxid), Compression::Plain)
}

/// Replaces snapshot and log by what was received; durable on return.
pub(crate) fn install<D: Disk>(
    disk: &mut D,
    zxid: Zxid,
    received: SnapshotWriter<D>,
    mutants: Mutants,
) -> Result<(), StorageError> {
    received.finish_without_digest()?;
    complete(disk, zxid, mutants)
}

/// Finishes an installation that a crash interrupted after its second step.
///
/// # Errors
/// [`StorageError::Corrupt`] when the received snapshot is damaged: the old files may be gone already.
pub(crate) fn resume(disk: &mut impl Disk, mutants: Mutants, notes: &mut Vec<String>) -> Result<(), StorageError> {
    let entries = disk.list(Dir::Data).map_err(StorageError::io("list", Dir::Data, ""))?;
    let newest = entries.iter().filter_map(|entry| names::zxid("installing", &entry.name)).max();
    let Some(zxid) = newest else { return Ok(()) };
    snapshot::read(disk, &names::installing(zxid))?;
    notes.push(format!("finished the installation of the snapshot of {zxid} received from a leader"));
    complete(disk, zxid, mutants)
}

fn complete(disk: &mut impl Disk, zxid: Zxid, mutants: Mutants) -> Result<(), StorageError> {
    remove_all(disk, Dir::Data, "snapshot")?;
    if !mutants.install_keeps_log() {
        remove_all(disk, Dir::Log, "log")?;
    }
    let (from, to) = (names::installing(zxid), names::snapshot(zxid));
    disk.rename(Dir::Data, &from, &to).map_err(StorageError::io("rename", Dir::Data, &from))?;
    disk.sync_dir(Dir::Data).map_err(StorageError::io("sync", Dir::Data, ""))
}

fn remove_all(disk: &mut impl Disk, dir: Dir, prefix: &str) -> Result<(), StorageError> {
    for entry in disk.list(dir).map_err(StorageError::io("list", dir, ""))? {
        if entry.name.split('.').next() == Some(prefix) && !entry.name.ends_with(names::TMP) {
            disk.unlink(dir, &entry.name).map_err(StorageError::io("remove", dir, &entry.name))?;
        }
    }
    disk.sync_dir(dir).map_err(StorageError::io("sync", dir, ""))
}
