//! Purge (`PurgeTxnLog.java`): old snapshots, and the logs that only they need.
//!
//! Differs from ZooKeeper: a snapshot counts as kept only when its seals hold, so the last valid one is never removed
//! (ZOOKEEPER-3231), and removal goes from the oldest file on, so a crash leaves no gap.

use crate::disk::{Dir, Disk};
use crate::error::StorageError;
use crate::files;
use crate::snapshot;

/// The least number of snapshots kept (`autopurge.snapRetainCount`).
pub const SNAPSHOTS_RETAINED_MIN: usize = 3;

/// Keeps the newest `retain` snapshots whose seals hold (at least [`SNAPSHOTS_RETAINED_MIN`]) and the logs that continue
/// the oldest of them. Returns the names of the files removed. May run beside a [`crate::Storage`] that is appending.
///
/// # Errors
/// [`StorageError::Io`]; a damaged snapshot is no error, it is not counted.
pub fn purge(disk: &mut impl Disk, retain: usize) -> Result<Vec<String>, StorageError> {
    let mut removed = Vec::new();
    for (dir, name) in superseded(disk, retain)? {
        remove(disk, dir, &name)?;
        removed.push(name);
    }
    Ok(removed)
}

/// What [`purge`] removes, in its order: the files that no kept snapshot needs.
///
/// # Errors
/// As [`purge`].
pub fn superseded(disk: &mut impl Disk, retain: usize) -> Result<Vec<(Dir, String)>, StorageError> {
    let snapshots = files::snapshots(disk)?;
    let mut kept = Vec::new();
    for candidate in &snapshots {
        match snapshot::check(disk, &candidate.name) {
            Ok(()) => kept.push(candidate.zxid),
            Err(StorageError::Corrupt { .. }) => continue,
            Err(error) => return Err(error),
        }
        if kept.len() == retain.max(SNAPSHOTS_RETAINED_MIN) {
            break;
        }
    }
    let Some(oldest) = kept.last().copied() else { return Ok(Vec::new()) };
    let logs = files::logs(disk)?;
    let needed = files::logs_after(&logs, oldest).len();
    let older = snapshots.iter().rev().filter(|snapshot| snapshot.zxid < oldest);
    let unneeded = logs[..logs.len() - needed].iter().map(|log| (Dir::Log, log.name.clone()));
    Ok(older.map(|snapshot| (Dir::Data, snapshot.name.clone())).chain(unneeded).collect())
}

fn remove(disk: &mut impl Disk, dir: Dir, name: &str) -> Result<(), StorageError> {
    disk.unlink(dir, name).map_err(StorageError::io("remove", dir, name))?;
    disk.sync_dir(dir).map_err(StorageError::io("sync", dir, ""))
}
