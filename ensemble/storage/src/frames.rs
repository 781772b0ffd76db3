//! The sound records of a log, a piece of the file at a time, however long it is.
//!
//! What does not read is where they end: whether that is the end of the log, a torn tail or damage is for [`crate::log_file`] to say.

use crate::disk::{Dir, Disk};
use crate::error::StorageError;
use crate::log_file::{self, FRAMING_LEN};
use bytes::{Buf, Bytes};
use ensemble_proto::Zxid;

/// Bytes read from a file at once; a longer record is read as a whole.
const READ_LEN: u64 = 64 << 10;

/// A position in a file, and what was read from there on.
pub(crate) struct Frames {
    offset: u64,
    ahead: Bytes,
}

impl Frames {
    /// At this offset, where a record begins.
    pub(crate) fn at(offset: u64) -> Frames {
        Frames { offset, ahead: Bytes::new() }
    }

    /// Where the next record begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The record at the position, whatever it is; `None` where the file's records end. What was read ahead may have been written
    /// since.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub(crate) fn next(
        &mut self,
        disk: &mut impl Disk,
        name: &str,
        payload_len_max: u64,
    ) -> Result<Option<(Zxid, Bytes)>, StorageError> {
        match self.next_ahead(disk, name, payload_len_max)? {
            None if !self.ahead.is_empty() => {
                self.ahead.clear();
                self.next_ahead(disk, name, payload_len_max)
            }
            found => Ok(found),
        }
    }

    fn next_ahead(
        &mut self,
        disk: &mut impl Disk,
        name: &str,
        payload_len_max: u64,
    ) -> Result<Option<(Zxid, Bytes)>, StorageError> {
        self.read_ahead(disk, name, FRAMING_LEN)?;
        let Some(len) = log_file::framed_len(&self.ahead, payload_len_max) else { return Ok(None) };
        self.read_ahead(disk, name, len)?;
        let Some(payload) = log_file::decode(&self.ahead, len) else { return Ok(None) };
        let Some(zxid) = log_file::payload_zxid(payload) else { return Ok(None) };
        let payload = Bytes::copy_from_slice(payload);
        self.offset += len;
        self.ahead.advance(len as usize);
        Ok(Some((zxid, payload)))
    }

    /// Has `len` bytes at hand, where the file has them.
    fn read_ahead(&mut self, disk: &mut impl Disk, name: &str, len: u64) -> Result<(), StorageError> {
        if (self.ahead.len() as u64) < len {
            let read = disk.read_at(Dir::Log, name, self.offset, READ_LEN.max(len));
            self.ahead = read.map_err(StorageError::io("read", Dir::Log, name))?.into();
        }
        Ok(())
    }
}
