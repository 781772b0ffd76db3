//! Reads the log again, in slices, to bring a learner up to date (`FileTxnLog.FileTxnIterator`, `FileTxnSnapLog.readTxnLog`).
//!
//! Made for a leader, beside the store that goes on appending: nothing is truncated while a server leads, and only what is durable and
//! committed is asked for. So a record that does not read, or does not follow the one before it, is not an end but an obstacle:
//! the log is then no source, and the learner gets a snapshot. Files may be purged meanwhile, which is no damage either.
//!
//! What is kept is a position and the part of a file that has not been handed on ([`crate::frames`]).

use crate::disk::Disk;
use crate::error::StorageError;
use crate::files;
use crate::frames::Frames;
use crate::inventory::Inventory;
use crate::log_file::{FRAMING_LEN, HEADER_LEN};
use crate::storage::Share;
use bytes::Bytes;
use ensemble_proto::Zxid;
use ensemble_proto::durable::LogSlice;
use std::collections::VecDeque;

/// A position in the log.
pub struct LogReader<D> {
    disk: D,
    /// The file being read and those after it.
    files: VecDeque<String>,
    /// The first of them.
    frames: Frames,
    /// Newer files were found, and the one before them has not been looked at since.
    has_found: bool,
    payload_len_max: u64,
    inventory: Inventory,
    /// The last record at or before the position.
    last: Zxid,
}

impl<D: Disk> LogReader<D> {
    /// Begins after `after`. `None` when the log does not go back so far, or when it is longer from there than `share` of the newest
    /// snapshot (`snapshotSizeFactor`), so that a snapshot is the shorter way; no share is no limit.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn open(
        mut disk: D,
        after: Zxid,
        share: Option<Share>,
        payload_len_max: u64,
    ) -> Result<Option<LogReader<D>>, StorageError> {
        let logs = files::logs(&mut disk)?;
        let Some(first) = logs.iter().rposition(|log| log.zxid <= after) else { return Ok(None) };
        if let Some(Share { of, in_all }) = share {
            let snapshot = files::snapshots(&mut disk)?.first().map_or(0, |snapshot| snapshot.len);
            let len: u64 = logs[first..].iter().map(|log| log.len).sum();
            if len > snapshot / in_all * of {
                return Ok(None);
            }
        }
        let files = logs[first..].iter().map(|log| log.name.clone()).collect();
        let mut reader = LogReader {
            inventory: Inventory::read(&mut disk)?,
            disk,
            files,
            frames: Frames::at(HEADER_LEN),
            has_found: false,
            payload_len_max,
            last: Zxid::ZERO,
        };
        Ok(reader.skip_to(after)?.then_some(reader))
    }

    /// The last record handed on, or passed over at the beginning.
    pub fn position(&self) -> Zxid {
        self.last
    }

    /// The next records, about `len` bytes of them, and at least one unless the log ends here.
    ///
    /// # Errors
    /// [`StorageError::Io`]: also when a file is gone.
    pub fn slice(&mut self, len: usize) -> Result<LogSlice, StorageError> {
        let (floor, mut records, mut taken) = (self.last, Vec::new(), 0);
        while taken < len {
            let Some((zxid, payload)) = self.next()? else { break };
            taken += payload.len() + FRAMING_LEN as usize;
            records.push((zxid, payload));
        }
        Ok(LogSlice { floor, records })
    }

    /// Passes over everything up to `after`; false when there is nothing.
    fn skip_to(&mut self, after: Zxid) -> Result<bool, StorageError> {
        loop {
            let (offset, files) = (self.frames.offset(), self.files.len());
            let before = self.last;
            match self.next()? {
                Some((zxid, _)) if zxid <= after => {}
                Some(_) => {
                    // One too far; the file that it is in has just been opened, or is the one before.
                    self.last = before;
                    self.frames = Frames::at(if self.files.len() == files { offset } else { HEADER_LEN });
                    return Ok(before > Zxid::ZERO);
                }
                None => return Ok(before > Zxid::ZERO),
            }
        }
    }

    /// The next record that has not been handed on; a repeated one (ZooKeeper logs some twice) is passed over.
    fn next(&mut self) -> Result<Option<(Zxid, Bytes)>, StorageError> {
        while let Some(name) = self.files.front().cloned() {
            let is_first = self.frames.offset() == HEADER_LEN;
            match self.frames.next(&mut self.disk, &name, self.payload_len_max)? {
                // The end of the file before, or of this one, is not what it was.
                Some(_) if is_first && !self.may_begin_here(&name) => return Ok(None),
                Some((zxid, _)) if self.is_too_far(zxid) => return Ok(None),
                // In a log of ours nothing repeats.
                Some((zxid, _)) if zxid <= self.last && self.inventory.before(&name).is_some() => return Ok(None),
                Some((zxid, _)) if zxid <= self.last => {}
                Some((zxid, payload)) if self.last == Zxid::ZERO || zxid.follows(self.last) => {
                    self.last = zxid;
                    return Ok(Some((zxid, payload)));
                }
                Some(_) => return Ok(None),
                None if self.files.len() == 1 && !self.find_newer(&name)? => return Ok(None),
                // Looked at again: it may have got its last records just before the newer one began.
                None if std::mem::take(&mut self.has_found) => {}
                None => {
                    self.files.pop_front();
                    self.frames = Frames::at(HEADER_LEN);
                }
            }
        }
        Ok(None)
    }

    /// Whether the record before the first of a file is the last that was read, as far as either is known.
    fn may_begin_here(&self, name: &str) -> bool {
        let before = self.inventory.before(name);
        before.is_none_or(|before| [Zxid::ZERO, self.last].contains(&before)) || self.last == Zxid::ZERO
    }

    /// Whether the next file begins after a record before this one of the first file.
    fn is_too_far(&self, zxid: Zxid) -> bool {
        let next = self.files.get(1).and_then(|next| self.inventory.before(next));
        next.is_some_and(|before| before > Zxid::ZERO && zxid > before)
    }

    /// Whether files have begun since the last one that is known.
    fn find_newer(&mut self, last: &str) -> Result<bool, StorageError> {
        let logs = files::logs(&mut self.disk)?;
        let known = logs.iter().position(|log| log.name == last).map_or(logs.len(), |at| at + 1);
        self.files.extend(logs[known..].iter().map(|log| log.name.clone()));
        self.has_found = known < logs.len();
        if self.has_found {
            self.inventory = Inventory::read(&mut self.disk)?;
        }
        Ok(self.has_found)
    }
}
