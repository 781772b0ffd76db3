//! `acceptedEpoch` and `currentEpoch` (`QuorumPeer.loadDataBase`): the two promises of Zab's paper, f.p and f.a.
//!
//! * `acceptedEpoch`: no leader of an earlier epoch will be followed.
//! * `currentEpoch`: the log holds the whole initial history of the leader of this epoch.
//!
//! The log is made durable before `currentEpoch`, so a crash between the two leaves a log whose last epoch is ahead.
//! ZooKeeper then refuses to start (ZOOKEEPER-1653, -2354). Differs from ZooKeeper: `currentEpoch` is raised to it. That
//! is true: a record of epoch x exists only behind the whole initial history of leader x, and the log has no gap.
//!
//! While a store may not vote, `currentEpoch` is no number ([`NONE`]) where it would be missing. A Java server, which knows nothing of our marker and would vote
//! with an empty or half-filled store, refuses to start on such a file.

use crate::disk::{Dir, Disk, path};
use crate::error::StorageError;
use crate::small_file;
use ensemble_proto::{Epoch, Zxid};

pub(crate) const ACCEPTED: &str = "acceptedEpoch";
pub(crate) const CURRENT: &str = "currentEpoch";

/// The content of `currentEpoch` where no epoch was entered and none may be assumed.
const NONE: &str = "none: this store does not vote until a leader has filled it";

/// Makes it durable that no epoch was entered, where nothing says so.
pub(crate) fn write_none(disk: &mut impl Disk) -> Result<(), StorageError> {
    match small_file::read(disk, Dir::Data, CURRENT)? {
        Some(_) => Ok(()),
        None => small_file::replace(disk, Dir::Data, CURRENT, NONE.as_bytes()),
    }
}

/// Whether a file says that no epoch was entered.
pub(crate) fn is_none(disk: &mut impl Disk) -> Result<bool, StorageError> {
    Ok(small_file::read(disk, Dir::Data, CURRENT)?.is_some_and(|bytes| bytes == NONE.as_bytes()))
}

/// Makes an epoch durable.
pub(crate) fn write(disk: &mut impl Disk, name: &str, epoch: Epoch) -> Result<(), StorageError> {
    small_file::replace(disk, Dir::Data, name, epoch.0.to_string().as_bytes())
}

/// The accepted and the current epoch of a store whose last record is `last`. A store without epoch files (fresh, or
/// until now standalone) has the epoch of its last record.
///
/// # Errors
/// [`StorageError::Lost`] when the files contradict the log or each other, [`StorageError::Corrupt`] when one is no
/// number.
pub(crate) fn recover(
    disk: &mut impl Disk,
    last: Zxid,
    trusted: bool,
    notes: &mut Vec<String>,
) -> Result<(Epoch, Epoch), StorageError> {
    let of_log = Epoch(last.epoch().0.max(0));
    let (accepted, current) = match (read(disk, ACCEPTED)?, read(disk, CURRENT)?) {
        (Some(accepted), None) if !trusted && of_log <= accepted => return Ok((accepted, Epoch(0))),
        (None, None) => return Ok((of_log, of_log)),
        (Some(accepted), current) => (accepted, current.unwrap_or(of_log)),
        (None, Some(current)) => {
            let problem = format!("missing, but {CURRENT} is {current}: an epoch's promise was lost");
            return Err(StorageError::lost(path(Dir::Data, ACCEPTED), problem));
        }
    };
    if accepted < current {
        let problem = format!("{accepted}, but {CURRENT} is {current}: a server accepts an epoch before it enters it");
        return Err(StorageError::lost(path(Dir::Data, ACCEPTED), problem));
    }
    if of_log > accepted {
        let problem = format!("{accepted}, but the last record is {last}: it was never accepted");
        return Err(StorageError::lost(path(Dir::Data, ACCEPTED), problem));
    }
    if of_log > current {
        notes.push(format!("{CURRENT} was {current} and is raised to {of_log}, the epoch of the last record {last}"));
        write(disk, CURRENT, of_log)?;
        return Ok((accepted, of_log));
    }
    Ok((accepted, current))
}

/// Whether there is an `acceptedEpoch` that is no number.
pub(crate) fn accepted_is_unreadable(disk: &mut impl Disk) -> Result<bool, StorageError> {
    match read(disk, ACCEPTED) {
        Ok(_) => Ok(false),
        Err(StorageError::Corrupt { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether the store has ever entered an epoch.
pub(crate) fn has_entered_one(disk: &mut impl Disk) -> Result<bool, StorageError> {
    Ok(read(disk, CURRENT)?.is_some())
}

fn read(disk: &mut impl Disk, name: &str) -> Result<Option<Epoch>, StorageError> {
    let Some(bytes) = small_file::read(disk, Dir::Data, name)? else { return Ok(None) };
    if name == CURRENT && bytes == NONE.as_bytes() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default().trim();
    match line.parse() {
        Ok(epoch) if epoch >= 0 => Ok(Some(Epoch(epoch))),
        _ => Err(StorageError::corrupt(&path(Dir::Data, name), 0, "an epoch in decimal", format!("{line:?}"))),
    }
}
