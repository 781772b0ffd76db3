//! TRUNC: forget every record after a zxid (`FileTxnLog.truncate`).
//!
//! Snapshots after it go first, then whole logs from the newest back, each removal durable before the next, then the end of
//! the log that holds the zxid, which is found a piece of the log at a time. A crash anywhere leaves a prefix of the old history that still reaches the zxid.
//!
//! Differs from ZooKeeper: newer snapshots are removed (they would bring the records back), everything is synced, and a
//! zxid that nothing has is an error (ZOOKEEPER-3701).

use crate::disk::{Dir, Disk};
use crate::error::StorageError;
use crate::files;
use crate::frames::Frames;
use crate::log_file::HEADER_LEN;
use ensemble_proto::Zxid;

/// Removes everything after `to`; durable on return.
pub(crate) fn truncate(disk: &mut impl Disk, to: Zxid, payload_len_max: u64) -> Result<(), StorageError> {
    let snapshots = files::snapshots(disk)?;
    if !snapshots.iter().any(|snapshot| snapshot.zxid <= to) {
        return Err(StorageError::NoRecord { to });
    }
    let cut = Cut::find(disk, to, payload_len_max)?;
    if cut.is_none() && !snapshots.iter().any(|snapshot| snapshot.zxid == to) {
        return Err(StorageError::NoRecord { to });
    }
    for snapshot in snapshots.iter().filter(|snapshot| snapshot.zxid > to) {
        remove(disk, Dir::Data, &snapshot.name)?;
    }
    let keep = cut.as_ref().map(|cut| cut.name.clone());
    for log in files::logs(disk)?.iter().rev().filter(|log| log.zxid > to && Some(&log.name) != keep.as_ref()) {
        remove(disk, Dir::Log, &log.name)?;
    }
    match cut {
        Some(cut) => cut.apply(disk),
        None => cut_behind(disk, to, payload_len_max),
    }
}

/// Where to cut which log.
struct Cut {
    name: String,
    len: u64,
}

impl Cut {
    /// Just behind the record `to`, or `None` when no log has it.
    fn find(disk: &mut impl Disk, to: Zxid, payload_len_max: u64) -> Result<Option<Cut>, StorageError> {
        for log in files::logs(disk)?.iter().rev().filter(|log| log.zxid <= to) {
            let mut frames = Frames::at(HEADER_LEN);
            while let Some((zxid, _)) = frames.next(disk, &log.name, payload_len_max)? {
                if zxid == to {
                    return Ok(Some(Cut { name: log.name.clone(), len: frames.offset() }));
                }
            }
            if frames.offset() > HEADER_LEN {
                return Ok(None);
            }
        }
        Ok(None)
    }

    fn apply(self, disk: &mut impl Disk) -> Result<(), StorageError> {
        disk.set_len(Dir::Log, &self.name, self.len).map_err(StorageError::io("truncate", Dir::Log, &self.name))?;
        disk.sync_data(Dir::Log, &self.name).map_err(StorageError::io("sync", Dir::Log, &self.name))
    }
}

/// `to` is a snapshot's zxid and no record's: the newest log that is left may still have records after it.
fn cut_behind(disk: &mut impl Disk, to: Zxid, payload_len_max: u64) -> Result<(), StorageError> {
    let logs = files::logs(disk)?;
    let Some(log) = logs.last() else { return Ok(()) };
    let (mut frames, mut len) = (Frames::at(HEADER_LEN), HEADER_LEN);
    while let Some((zxid, _)) = frames.next(disk, &log.name, payload_len_max)?
        && zxid <= to
    {
        len = frames.offset();
    }
    Cut { name: log.name.clone(), len }.apply(disk)
}

fn remove(disk: &mut impl Disk, dir: Dir, name: &str) -> Result<(), StorageError> {
    disk.unlink(dir, name).map_err(StorageError::io("remove", dir, name))?;
    disk.sync_dir(dir).map_err(StorageError::io("sync", dir, ""))
}
