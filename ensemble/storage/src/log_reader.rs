//! Reads the log again, in slices, to bring a learner up to date (`FileTxnLog.FileTxnIterator`, `FileTxnSnapLog.readTxnLog`).
//!
//! Made for a leader, beside the store that goes on appending: nothing is truncated while a server leads, and only what is durable and
//! committed is asked for. So a record that does not read, or does not follow the one before it, is not an end but an obstacle:
//! the log is then no source, and the learner gets a snapshot. Files may be purged meanwhile, which is no damage either.
//!
//! What is kept is a position and the part of a file that has not been handed on.

use crate::disk::{Dir, Disk};
use crate::error::StorageError;
use crate::files;
use crate::log_file::{self, FRAMING_LEN, HEADER_LEN};
use crate::storage::Share;
use bytes::{Buf, Bytes};
use ensemble_proto::Zxid;
use ensemble_proto::durable::LogSlice;
use std::collections::VecDeque;

/// Bytes read from a file at once; a longer record is read as a whole.
const READ_LEN: u64 = 64 << 10;

/// A position in the log.
pub struct LogReader<D> {
    disk: D,
    /// The file being read and those after it.
    files: VecDeque<String>,
    /// Where in the first of them the next record begins, and the bytes that were read from there on.
    offset: u64,
    ahead: Bytes,
    /// Newer files were found, and the one before them has not been looked at since.
    has_found: bool,
    payload_len_max: u64,
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
            disk,
            files,
            offset: HEADER_LEN,
            ahead: Bytes::new(),
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
            let (offset, files) = (self.offset, self.files.len());
            let before = self.last;
            match self.next()? {
                Some((zxid, _)) if zxid <= after => {}
                Some(_) => {
                    // One too far; the file that it is in has just been opened, or is the one before.
                    self.last = before;
                    self.offset = if self.files.len() == files { offset } else { HEADER_LEN };
                    self.ahead.clear();
                    return Ok(before > Zxid::ZERO);
                }
                None => return Ok(before > Zxid::ZERO),
            }
        }
    }

    /// The next record that has not been handed on; a repeated one (ZooKeeper logs some twice) is passed over.
    fn next(&mut self) -> Result<Option<(Zxid, Bytes)>, StorageError> {
        while let Some(name) = self.files.front().cloned() {
            match self.record(&name)? {
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
                    self.offset = HEADER_LEN;
                    self.ahead.clear();
                }
            }
        }
        Ok(None)
    }

    /// Whether files have begun since the last one that is known.
    fn find_newer(&mut self, last: &str) -> Result<bool, StorageError> {
        let logs = files::logs(&mut self.disk)?;
        let known = logs.iter().position(|log| log.name == last).map_or(logs.len(), |at| at + 1);
        self.files.extend(logs[known..].iter().map(|log| log.name.clone()));
        self.has_found = known < logs.len();
        Ok(self.has_found)
    }

    /// The record at the position, whatever it is; `None` where the file's records end. What was read ahead may have been written
    /// since.
    fn record(&mut self, name: &str) -> Result<Option<(Zxid, Bytes)>, StorageError> {
        match self.record_ahead(name)? {
            None if !self.ahead.is_empty() => {
                self.ahead.clear();
                self.record_ahead(name)
            }
            found => Ok(found),
        }
    }

    fn record_ahead(&mut self, name: &str) -> Result<Option<(Zxid, Bytes)>, StorageError> {
        self.read_ahead(name, FRAMING_LEN)?;
        let Some(len) = log_file::framed_len(&self.ahead, self.payload_len_max) else { return Ok(None) };
        self.read_ahead(name, len)?;
        let Some(payload) = log_file::decode(&self.ahead, len) else { return Ok(None) };
        let Some(zxid) = log_file::payload_zxid(payload) else { return Ok(None) };
        let payload = Bytes::copy_from_slice(payload);
        self.offset += len;
        self.ahead.advance(len as usize);
        Ok(Some((zxid, payload)))
    }

    /// Has `len` bytes at hand, where the file has them.
    fn read_ahead(&mut self, name: &str, len: u64) -> Result<(), StorageError> {
        if (self.ahead.len() as u64) < len {
            let read = self.disk.read_at(Dir::Log, name, self.offset, READ_LEN.max(len));
            self.ahead = read.map_err(StorageError::io("read", Dir::Log, name))?.into();
        }
        Ok(())
    }
}
