//! Tools for the files of a server that does not run: `ensemble log`, `snapshot`, `purge` and `restore`.
//!
//! They say what ZooKeeper's own say, in the same lines (`TxnLogToolkit`, `SnapshotFormatter`, `SnapshotComparer`,
//! `SnapshotRecursiveSummary`, `PurgeTxnLog`), and to programs the same as JSON.
//!
//! # Invariants
//!
//! 1. What reads never writes: [`log`] and [`snapshot`] open files for reading, wherever they are, under a running server too.
//! 2. What writes holds the locks of the directories, which a running server holds too: [`purge`] and [`restore`].
//! 3. Which file is sound, needed or torn is decided by `ensemble-storage`, by the rules that a server goes by.
//! 4. No bytes make a tool panic. What is damaged is told with file and offset, after everything that is sound.
//!
//! A crate of its own, and no folder of the server: it knows no network, no protocol and no configuration, and its tests build in seconds.

pub mod compare;
mod contents;
mod directories;
pub mod log;
pub mod purge;
pub mod restore;
pub mod snapshot;
mod tree;
mod txn;

use ensemble_storage::{IdentityError, StorageError};
use std::io;
use std::path::Path;
use thiserror::Error;

/// The longest record or string that is read, bytes: `jute.maxbuffer` and its extra size may be anything, and what is longer than a
/// log can be is damage.
pub const RECORD_BYTES_MAX: u64 = 1 << 30;

/// Why a tool has not done what it was asked for, or not all of it.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It was asked for something that it does not do.
    #[error("{0}")]
    Usage(String),
    /// A file or directory cannot be used: it is missing, a server holds it, or the disk failed.
    #[error("{0}")]
    Unusable(String),
    /// Files are not what was once written. A line each.
    #[error("{}", .0.join("\n"))]
    Damaged(Vec<String>),
    /// What was found cannot be printed.
    #[error("output: {0}")]
    Output(#[from] io::Error),
}

impl From<StorageError> for ToolError {
    fn from(error: StorageError) -> ToolError {
        match error.is_damage() {
            true => ToolError::Damaged(vec![error.to_string()]),
            false => ToolError::Unusable(error.to_string()),
        }
    }
}

impl From<IdentityError> for ToolError {
    fn from(error: IdentityError) -> ToolError {
        match error {
            IdentityError::Storage(error) => error.into(),
            other => ToolError::Unusable(other.to_string()),
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, ToolError> {
    std::fs::read(file).map_err(|error| ToolError::Unusable(format!("read {}: {error}", file.display())))
}

/// The last part of a path, as text.
fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
