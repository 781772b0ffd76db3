//! A damaged store gets out of the way of a new one: its files are renamed, never deleted.
//!
//! A server whose log or snapshots cannot be read, contradict each other or are incomplete does not know what it once
//! acknowledged. It is then in the position of a server whose volume was lost, and there is one safe way on for that: an
//! empty store *without a vote*, until a leader's whole history is on its disk.
//!
//! Why nothing acknowledged is lost:
//!
//! * The marker [`UNTRUSTED`] is durable before the first file is renamed, and `currentEpoch` is among the files that are. So from
//!   the first step on, whatever a crash leaves, the store is not trusted: the server stands at zxid -1 in elections, and is not
//!   counted when a leader collects promises for its epoch. A leader is elected and established by the others alone, as
//!   if this server were still down; one that needs it is not established.
//! * It is counted again once that leader's history and `currentEpoch` are durable here, in this order.
//! * What it alone held is still there, under another name, for a person with tools.
//!
//! `acceptedEpoch` stays when it can be read: a promise is kept as long as it is known.
//!
//! 1. `untrusted` is written: `setting aside N`, and the reason;
//! 2. every log, snapshot, `installing.*`, `currentEpoch` and `inventory` becomes `aside-N.<name>`, and the directories are synced;
//! 3. `currentEpoch` is written, saying that there is none, so that no Java server starts here;
//! 4. `untrusted` is written again, with the reason alone.
//!
//! A crash between 1 and 4 is finished by [`resume`] at the next start.
//!
//! Differs from ZooKeeper, which refuses to start and leaves the choice of what to delete to a person.

use crate::disk::{Dir, Disk};
use crate::epochs;
use crate::error::StorageError;
use crate::inventory::INVENTORY;
use crate::names;
use crate::recover::UNTRUSTED;
use crate::small_file;

const PREFIX: &str = "aside-";
const UNDER_WAY: &str = "setting aside ";

/// Sets every file of the store aside because of `damage`; durable on return. Returns what the names of the files now begin with.
pub(crate) fn set_aside(disk: &mut impl Disk, damage: &StorageError) -> Result<(), StorageError> {
    let number = next_number(disk)?;
    let marker = format!("{UNDER_WAY}{number}\n{damage}");
    small_file::replace(disk, Dir::Data, UNTRUSTED, marker.as_bytes())?;
    resume(disk)
}

/// Finishes what [`set_aside`] began, if it did.
pub(crate) fn resume(disk: &mut impl Disk) -> Result<(), StorageError> {
    let marker = small_file::read(disk, Dir::Data, UNTRUSTED)?.unwrap_or_default();
    let marker = String::from_utf8_lossy(&marker);
    let Some((number, reason)) = marker.strip_prefix(UNDER_WAY).and_then(|rest| rest.split_once('\n')) else {
        return Ok(());
    };
    if epochs::accepted_is_unreadable(disk)? {
        rename(disk, Dir::Data, epochs::ACCEPTED, number)?;
    }
    for (dir, prefixes) in [(Dir::Log, &["log"][..]), (Dir::Data, &["snapshot", "installing"])] {
        for entry in disk.list(dir).map_err(StorageError::io("list", dir, ""))? {
            let is_of_store = match entry.name.as_str() {
                INVENTORY => dir == Dir::Data,
                // One that cannot be read is part of the damage.
                epochs::CURRENT => dir == Dir::Data && !epochs::is_none(disk).unwrap_or(false),
                name => prefixes.iter().any(|prefix| names::zxid(prefix, name).is_some()),
            };
            if is_of_store {
                rename(disk, dir, &entry.name, number)?;
            }
        }
        disk.sync_dir(dir).map_err(StorageError::io("sync", dir, ""))?;
    }
    epochs::write_none(disk)?;
    let kept = format!("files {PREFIX}{number}.*: {reason}");
    small_file::replace(disk, Dir::Data, UNTRUSTED, kept.as_bytes())
}

/// Why the store was set aside, and where its files are, when it was and nothing has taken its place yet.
pub(crate) fn reason(marker: &[u8]) -> Option<String> {
    (!marker.is_empty()).then(|| String::from_utf8_lossy(marker).into_owned())
}

fn rename(disk: &mut impl Disk, dir: Dir, name: &str, number: &str) -> Result<(), StorageError> {
    let aside = format!("{PREFIX}{number}.{name}");
    disk.rename(dir, name, &aside).map_err(StorageError::io("rename", dir, name))
}

fn next_number(disk: &mut impl Disk) -> Result<u32, StorageError> {
    let mut next = 1;
    for dir in [Dir::Log, Dir::Data] {
        for entry in disk.list(dir).map_err(StorageError::io("list", dir, ""))? {
            let number = entry.name.strip_prefix(PREFIX).and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
            next = next.max(number.map_or(0, |number| number.saturating_add(1)));
        }
    }
    Ok(next)
}
