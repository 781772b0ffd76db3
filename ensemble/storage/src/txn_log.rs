//! The log being written: group commit, preallocation, rolling.
//!
//! A new file is made in this order: create, header and zeros, sync, sync of the directory, `inventory`. Only then does its first
//! group go in. So a file whose header is missing or zero never held a record, and, where anything is preallocated, a group seldom changes a file's
//! length or blocks: its `fdatasync` writes data and nothing else.
//!
//! Differs from ZooKeeper: zeros are really written, where ZooKeeper leaves a hole (whose first use costs a journal commit
//! at every sync), and the directory is synced.

use crate::disk::{Dir, Disk};
use crate::error::StorageError;
use crate::inventory::Inventory;
use crate::log_file::{self, FRAMING_LEN, GROUP_LEN_MAX, HEADER_LEN};
use crate::mutants::Mutants;
use crate::names;
use ensemble_proto::Zxid;

/// Zeros are written in pieces of one page. A write makes the page cache's entries (folios) as large as itself, and a sync
/// writes an entry that a group touched as a whole: after pieces of 1 MiB, every small group costs 1 MiB of disk.
const ZEROS_LEN: u64 = 4096;
static ZEROS: [u8; ZEROS_LEN as usize] = [0; ZEROS_LEN as usize];

/// The file that takes the next group.
struct OpenFile {
    name: String,
    /// Where the next group goes.
    position: u64,
    /// Length, zeros included.
    len: u64,
}

/// Buffers records and writes them in groups.
pub(crate) struct TxnLog {
    preallocate: u64,
    roll_len: u64,
    file: Option<OpenFile>,
    group: Vec<u8>,
    /// The group's first record, and the one before it.
    group_first: Option<(Zxid, Zxid)>,
    group_records: usize,
    mutants: Mutants,
}

/// What one sync made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Log records.
    pub records: usize,
    /// Bytes of log records with their framing.
    pub bytes: u64,
}

impl TxnLog {
    pub(crate) fn new(preallocate: u64, roll_len: u64, mutants: Mutants) -> TxnLog {
        TxnLog { preallocate, roll_len, file: None, group: Vec::new(), group_first: None, group_records: 0, mutants }
    }

    /// Adds a record to the group; `before` is the one before it, or zero.
    pub(crate) fn append(&mut self, zxid: Zxid, before: Zxid, payload: &[u8]) {
        log_file::encode(payload, &mut self.group);
        self.group_first.get_or_insert((zxid, before));
        self.group_records += 1;
    }

    /// Whether a record of this length has to wait for the group to be synced.
    pub(crate) fn is_full(&self, payload: &[u8]) -> bool {
        !self.group.is_empty() && (self.group.len() + payload.len()) as u64 + FRAMING_LEN > GROUP_LEN_MAX
    }

    /// Writes the group and makes it durable.
    pub(crate) fn sync(&mut self, disk: &mut impl Disk, inventory: &mut Inventory) -> Result<SyncReport, StorageError> {
        let Some((first, before)) = self.group_first.take() else { return Ok(SyncReport::default()) };
        if self.file.is_none() {
            let file = create(disk, first, self.preallocate, self.mutants)?;
            inventory.add_log(disk, &file.name, before)?;
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else { return Ok(SyncReport::default()) };
        let end = file.position + self.group.len() as u64;
        let mark = log_file::sync_mark_offset(end);
        if mark + log_file::SYNC_MARK_LEN > file.len {
            let len = round_up(mark + log_file::SYNC_MARK_LEN, self.preallocate);
            fill(disk, &file.name, file.len, len)?;
            file.len = len;
        }
        let failed = |action| StorageError::io(action, Dir::Log, &file.name);
        write_or_take_back(disk, &file.name, file.position, &self.group, file.position)?;
        if !self.mutants.skip_log_sync() {
            disk.sync_data(Dir::Log, &file.name).map_err(failed("sync"))?;
        }
        file.position = end;
        write_or_take_back(disk, &file.name, mark, &log_file::sync_mark(end), end)?;
        let report = SyncReport { records: self.group_records, bytes: self.group.len() as u64 };
        self.group.clear();
        self.group_records = 0;
        if end >= self.roll_len {
            self.file = None;
        }
        Ok(report)
    }

    /// Makes the next group start a new file. The group must be empty.
    pub(crate) fn roll(&mut self) {
        assert!(self.group.is_empty(), "a log is rolled between groups");
        self.file = None;
    }

    /// Bytes in the file being written, zeros not counted.
    pub(crate) fn position(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.position)
    }
}

fn create(disk: &mut impl Disk, first: Zxid, preallocate: u64, mutants: Mutants) -> Result<OpenFile, StorageError> {
    let name = names::log(first);
    let failed = |action| StorageError::io(action, Dir::Log, &name);
    disk.create(Dir::Log, &name).map_err(failed("create"))?;
    write_or_take_back(disk, &name, 0, &log_file::header(), 0)?;
    let len = preallocate.max(HEADER_LEN);
    fill(disk, &name, HEADER_LEN, len)?;
    disk.sync_data(Dir::Log, &name).map_err(failed("sync"))?;
    if !mutants.skip_log_dir_sync() {
        disk.sync_dir(Dir::Log).map_err(StorageError::io("sync", Dir::Log, ""))?;
    }
    Ok(OpenFile { name, position: HEADER_LEN, len })
}

/// Writes, or leaves the file with a length of `sound`: what could be written of a write that found no room would be taken for damage when the store is opened again.
fn write_or_take_back(
    disk: &mut impl Disk,
    name: &str,
    offset: u64,
    bytes: &[u8],
    sound: u64,
) -> Result<(), StorageError> {
    disk.write_at(Dir::Log, name, offset, bytes).map_err(|error| {
        let _taken_back = disk.set_len(Dir::Log, name, sound);
        StorageError::io("write", Dir::Log, name)(error)
    })
}

/// Writes zeros from `from` to `to`, no piece across a page's border.
fn fill(disk: &mut impl Disk, name: &str, from: u64, to: u64) -> Result<(), StorageError> {
    let mut from = from;
    while from < to {
        let len = (ZEROS_LEN - from % ZEROS_LEN).min(to - from);
        disk.write_at(Dir::Log, name, from, &ZEROS[..len as usize]).map_err(StorageError::io(
            "preallocate",
            Dir::Log,
            name,
        ))?;
        from += len;
    }
    Ok(())
}

/// The next multiple of `step` that is not below `len`; `len` itself when there is no step.
fn round_up(len: u64, step: u64) -> u64 {
    if step == 0 { len } else { len.div_ceil(step) * step }
}
