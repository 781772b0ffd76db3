//! A backup becomes the store of a server that has none: snapshots and logs, copied while no server runs.
//!
//! 1. the store is empty, or it is refused: nothing is ever written over;
//! 2. `untrusted` is durable: whatever a crash leaves from here on has no vote;
//! 3. the files are copied, each durable under its name before the next one;
//! 4. the copy is opened as a server opens it, so that every rule of [`crate::recover`] holds for it, and the caller looks at what it holds;
//! 5. `untrusted` is removed, durably: **from here on this is a store that votes**.
//!
//! A copy that is found wanting in 4 is removed again.
//!
//! A backup is older than what the ensemble has acknowledged since. So this is for an ensemble that begins anew, all servers from
//! the same files: one server with its vote and a backup, among others that know more, could help to elect a leader that does not.

use crate::disk::{Dir, Disk};
use crate::error::StorageError;
use crate::identity::{Identity, IdentityError};
use crate::names;
use crate::recover::{NOT_TRUSTED, Recovered, UNTRUSTED};
use crate::small_file;
use crate::storage::{Options, Storage};
use std::io;

/// Makes the files `names` of a backup, whose contents `read` gives, the store on this disk; durable on return. `check` says what is wrong with
/// what they hold, beyond what this crate knows. A record longer than [`Options::payload_len_max`] is refused; no other option matters.
///
/// # Errors
/// [`StorageError::Layout`] for a store that is not empty or a name that is none of a snapshot or log, and whatever opening the copy
/// says. The store is then as empty as it was, unless the disk failed.
pub fn restore<D: Disk>(
    disk: &mut D,
    names: &[String],
    read: impl Fn(&str) -> io::Result<Vec<u8>>,
    payload_len_max: u64,
    check: impl FnOnce(&Recovered) -> Result<(), String>,
) -> Result<Recovered, IdentityError> {
    let placed = places(names)?;
    refuse_used(disk)?;
    small_file::replace(disk, Dir::Data, UNTRUSTED, b"")?;
    let copied = placed.iter().try_for_each(|(dir, name)| {
        let bytes =
            read(name).map_err(|source| StorageError::Io { action: "read", file: (*name).to_owned(), source })?;
        small_file::replace(disk, *dir, name, &bytes)
    });
    match copied.and_then(|()| open(disk, payload_len_max, check)) {
        Ok(mut recovered) => {
            small_file::remove(disk, Dir::Data, UNTRUSTED)?;
            recovered.trusted = true;
            recovered.notes.retain(|note| note != NOT_TRUSTED);
            Ok(recovered)
        }
        Err(error) => {
            for (dir, name) in placed {
                small_file::remove(disk, dir, name)?;
            }
            small_file::remove(disk, Dir::Data, UNTRUSTED)?;
            Err(error.into())
        }
    }
}

/// Where each file goes.
fn places(names: &[String]) -> Result<Vec<(Dir, &str)>, StorageError> {
    let place = |name: &String| match (names::zxid("snapshot", name), names::zxid("log", name)) {
        (Some(_), _) => Some(Dir::Data),
        (None, Some(_)) => Some(Dir::Log),
        (None, None) => None,
    };
    let mut places = Vec::new();
    for name in names {
        let place = place(name).ok_or_else(|| StorageError::layout(name, "neither snapshot.<zxid> nor log.<zxid>"))?;
        places.push((place, name.as_str()));
    }
    Ok(places)
}

fn refuse_used(disk: &mut impl Disk) -> Result<(), IdentityError> {
    for dir in [Dir::Data, Dir::Log] {
        if let Some(file) = disk.list(dir).map_err(StorageError::io("list", dir, ""))?.first() {
            let problem = format!("not empty, {} is there: a backup is never put over anything", file.name);
            return Err(StorageError::layout(dir, problem).into());
        }
    }
    for dir in [Dir::DataRoot, Dir::LogRoot] {
        if Identity::read(disk, dir)?.is_some() {
            let problem = "the volume belongs to a member of an ensemble: that gets its history from the leader";
            return Err(StorageError::layout(dir, problem).into());
        }
    }
    Ok(())
}

/// What the copy holds, if it is a whole history.
fn open<D: Disk>(
    disk: &D,
    payload_len_max: u64,
    check: impl FnOnce(&Recovered) -> Result<(), String>,
) -> Result<Recovered, StorageError> {
    let options = Options { payload_len_max, autocreate: false, ..Options::default() };
    let (_, recovered) = Storage::open(disk.clone(), options)?;
    if recovered.snapshot.is_none() {
        return Err(StorageError::lost(Dir::Data, "there is no snapshot among the files"));
    }
    check(&recovered).map_err(|problem| StorageError::lost(Dir::Data, problem))?;
    Ok(recovered)
}
