//! Files of one value, replaced atomically: epochs and identity (`AtomicFileOutputStream.java`).
//!
//! Differs from ZooKeeper: the directory is synced after the rename, so a value that was reported durable cannot go back.

use crate::disk::{Dir, Disk};
use crate::error::StorageError;
use crate::names::TMP;
use std::io::ErrorKind;

/// Replaces the file by `bytes`; durable on return.
pub(crate) fn replace(disk: &mut impl Disk, dir: Dir, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let tmp = format!("{name}{TMP}");
    disk.create(dir, &tmp).map_err(StorageError::io("create", dir, &tmp))?;
    disk.write_at(dir, &tmp, 0, bytes).map_err(StorageError::io("write", dir, &tmp))?;
    disk.sync_data(dir, &tmp).map_err(StorageError::io("sync", dir, &tmp))?;
    disk.rename(dir, &tmp, name).map_err(StorageError::io("rename", dir, &tmp))?;
    disk.sync_dir(dir).map_err(StorageError::io("sync", dir, ""))
}

/// The file's contents, or `None` when there is none.
pub(crate) fn read(disk: &mut impl Disk, dir: Dir, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
    match disk.read(dir, name) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("read", dir, name)(error)),
    }
}

/// Removes a file if it exists; durable on return.
pub(crate) fn remove(disk: &mut impl Disk, dir: Dir, name: &str) -> Result<(), StorageError> {
    match disk.unlink(dir, name) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StorageError::io("remove", dir, name)(error)),
    }
    disk.sync_dir(dir).map_err(StorageError::io("sync", dir, ""))
}
