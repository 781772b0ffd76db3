//! What can be wrong with a store, by what the person who runs it can do.

use crate::disk::{Dir, path};
use ensemble_proto::Zxid;
use std::io;
use thiserror::Error;

/// The medium does not give back what was written.
const EIO: i32 = 5;

/// Why a store cannot be opened or written. Every variant ends the process: a server that cannot trust its log must not
/// vote.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The disk failed, is full or does not permit it. The store may be sound: look at the disk, then start again.
    /// A failed sync is never retried, since the kernel may have dropped the pages (fsyncgate).
    #[error("{action} {file}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file, or the directory.
        file: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Bytes that once were durable are damaged. Rebuild this server from its peers; never cut the file by hand.
    #[error("{file} at offset {offset}: expected {expected}, found {found}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where the damage was noticed.
        offset: u64,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Files that once were durable are missing, or are older than others: each may be sound, together they make no state. Rebuild
    /// this server from its peers.
    #[error("{place}: {problem}")]
    Lost {
        /// The directory or file.
        place: String,
        /// What does not fit, and what would.
        problem: String,
    },
    /// Directories are swapped, missing or of another server. The store may be sound: look at the configuration.
    #[error("{place}: {problem}")]
    Layout {
        /// The directory or file.
        place: String,
        /// What does not fit, and what would.
        problem: String,
    },
    /// A whole record that is longer than this server is allowed to read. The store is sound: other limits were in force when it was written.
    #[error(
        "{file}: a record has {len} bytes, and {max} are allowed: give jute.maxbuffer and jute.maxbuffer.extrasize the values they had when it was written"
    )]
    TooLong {
        /// The log.
        file: String,
        /// Its length.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// A truncation to a zxid that neither a log record nor a snapshot has (ZOOKEEPER-3701: never ignored).
    #[error("cannot truncate to {to}: no log record and no snapshot has this zxid")]
    NoRecord {
        /// The zxid asked for.
        to: Zxid,
    },
}

impl StorageError {
    /// Whether the disk, or a quota on it, is full: what was durable still is, and there may be room again.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, StorageError::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }

    /// Whether the store itself is damaged, rather than out of reach: no later start can read it, and its peers have what it had.
    pub fn is_damage(&self) -> bool {
        match self {
            StorageError::Corrupt { .. } | StorageError::Lost { .. } => true,
            StorageError::Io { action, source, .. } => *action == "read" && source.raw_os_error() == Some(EIO),
            StorageError::Layout { .. } | StorageError::TooLong { .. } | StorageError::NoRecord { .. } => false,
        }
    }

    /// What a failed call becomes. Its file is put into words only then: this stands beside every write and sync.
    pub(crate) fn io(action: &'static str, dir: Dir, name: &str) -> impl FnOnce(io::Error) -> StorageError {
        move |source| StorageError::Io { action, file: path(dir, name), source }
    }

    pub(crate) fn corrupt(
        file: &str,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> StorageError {
        StorageError::Corrupt { file: file.to_string(), offset, expected: expected.into(), found: found.into() }
    }

    pub(crate) fn lost(place: impl ToString, problem: impl Into<String>) -> StorageError {
        StorageError::Lost { place: place.to_string(), problem: problem.into() }
    }

    pub(crate) fn layout(place: impl ToString, problem: impl Into<String>) -> StorageError {
        StorageError::Layout { place: place.to_string(), problem: problem.into() }
    }
}
