//! Which logs and snapshots there are.

use crate::disk::{Dir, Disk};
use crate::error::StorageError;
use crate::names;
use ensemble_proto::Zxid;

/// A log or snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreFile {
    /// First zxid of a log; zxid of a snapshot.
    pub(crate) zxid: Zxid,
    pub(crate) name: String,
    pub(crate) len: u64,
}

/// All logs, oldest first. Differs from ZooKeeper, which takes a copy beside a log, `log.11.bak`, for a log.
pub(crate) fn logs(disk: &mut impl Disk) -> Result<Vec<StoreFile>, StorageError> {
    let mut logs = list(disk, Dir::Log, "log")?;
    logs.retain(|log| log.name == names::log(log.zxid));
    Ok(logs)
}

/// All snapshots, newest first.
pub(crate) fn snapshots(disk: &mut impl Disk) -> Result<Vec<StoreFile>, StorageError> {
    let mut snapshots = list(disk, Dir::Data, "snapshot")?;
    snapshots.reverse();
    Ok(snapshots)
}

/// The logs that may hold a record after `zxid`: the last one that starts at or before its successor, and all later ones.
pub(crate) fn logs_after(logs: &[StoreFile], zxid: Zxid) -> &[StoreFile] {
    let successor = Zxid(zxid.0.saturating_add(1));
    let later = logs.partition_point(|log| log.zxid <= successor);
    &logs[later.saturating_sub(1)..]
}

pub(crate) fn list(disk: &mut impl Disk, dir: Dir, prefix: &str) -> Result<Vec<StoreFile>, StorageError> {
    let entries = disk.list(dir).map_err(StorageError::io("list", dir, ""))?;
    let mut files: Vec<StoreFile> = entries
        .into_iter()
        .filter_map(|entry| {
            Some(StoreFile { zxid: names::zxid(prefix, &entry.name)?, name: entry.name, len: entry.len })
        })
        .collect();
    files.sort_by(|a, b| (a.zxid, &a.name).cmp(&(b.zxid, &b.name)));
    Ok(files)
}
