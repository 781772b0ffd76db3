//! Whether a full disk has room again.

use crate::disk::{Dir, Disk};
use crate::error::StorageError;
use crate::names;
use crate::small_file;

/// What a store needs besides the zeros ahead of its log: a group, epochs, a little snapshot.
const ROOM_LEN: u64 = 16 << 20;
const PIECE_LEN: usize = 1 << 20;
/// What the configuration of an ensemble needs.
const CONFIGURATION_LEN: u64 = 1 << 20;

/// Whether both directories take `preallocate` bytes and some more, by trying: quotas and reserved blocks are in no statistics. The
/// configuration's is asked too, where one is kept.
///
/// # Errors
/// [`StorageError::Io`] when the disk fails otherwise.
pub fn has_room(disk: &mut impl Disk, preallocate: u64, keeps_configuration: bool) -> Result<bool, StorageError> {
    let name = format!("room{}", names::TMP);
    let store_len = preallocate + ROOM_LEN;
    let store = [(Dir::Log, store_len), (Dir::Data, store_len)];
    let configuration = keeps_configuration.then_some((Dir::Config, CONFIGURATION_LEN));
    for (dir, len) in store.into_iter().chain(configuration) {
        let written = fill(disk, dir, &name, len);
        small_file::remove(disk, dir, &name)?;
        match written {
            Ok(()) => {}
            Err(error) if error.is_full() => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn fill(disk: &mut impl Disk, dir: Dir, name: &str, len: u64) -> Result<(), StorageError> {
    let piece = vec![0x5a; PIECE_LEN];
    disk.create(dir, name).map_err(StorageError::io("create", dir, name))?;
    for offset in (0..len).step_by(PIECE_LEN) {
        disk.write_at(dir, name, offset, &piece).map_err(StorageError::io("write", dir, name))?;
    }
    disk.sync_data(dir, name).map_err(StorageError::io("sync", dir, name))
}
