//! The calls that storage makes on a disk, and the five directories it makes them in.
//!
//! The trait is the durable-write contract: the real disk and the simulated one run the same code above it, and
//! everything that can be lost in a crash can be lost between two of these calls.

use std::fmt;
use std::io;

/// A directory that storage uses. When `dataLogDir` is not set, [`Dir::Log`] is [`Dir::Data`] and [`Dir::LogRoot`] is
/// [`Dir::DataRoot`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Dir {
    /// `dataDir`: `myid`, identity, `initialize`.
    DataRoot,
    /// `dataDir/version-2`: snapshots and epochs.
    Data,
    /// `dataLogDir`: `initialize` when the log has a directory of its own.
    LogRoot,
    /// `dataLogDir/version-2`: transaction logs.
    Log,
    /// Where the configuration of the ensemble is kept: beside `zoo.cfg`, or in `ensemble.dynamicConfigDir`.
    Config,
}

impl fmt::Display for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dir::DataRoot => "dataDir",
            Dir::Data => "dataDir/version-2",
            Dir::LogRoot => "dataLogDir",
            Dir::Log => "dataLogDir/version-2",
            Dir::Config => "the configuration's directory",
        })
    }
}

/// A file in a directory, as [`Disk::list`] reports it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The file's name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// What storage asks of a disk. Nothing is durable before the sync of the file (contents, length) and of its directory
/// (names). An error is final: the caller stops and starts again from what the disk then holds.
///
/// A clone is another handle to the same disk, for another thread.
pub trait Disk: Clone {
    /// Whether the transaction log has a directory of its own.
    fn has_separate_log(&self) -> bool;

    /// The regular files of a directory, in no particular order.
    fn list(&mut self, dir: Dir) -> io::Result<Vec<Entry>>;

    /// A file's whole contents. [`io::ErrorKind::NotFound`] when there is none.
    fn read(&mut self, dir: Dir, name: &str) -> io::Result<Vec<u8>>;

    /// At most `len` bytes of a file from `offset` on: fewer only where it ends.
    fn read_at(&mut self, dir: Dir, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>>;

    /// A file's whole contents as they are on the medium, and durable: what was written and not synced is synced first, and what
    /// the system remembers of the file is forgotten. After a failed sync it may remember contents that no disk has.
    fn read_durable(&mut self, dir: Dir, name: &str) -> io::Result<Vec<u8>>;

    /// Makes an empty file, or empties an existing one.
    fn create(&mut self, dir: Dir, name: &str) -> io::Result<()>;

    /// Writes all of `bytes` at `offset` of an existing file, lengthening it when needed.
    fn write_at(&mut self, dir: Dir, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts an existing file, or lengthens it with zeros.
    fn set_len(&mut self, dir: Dir, name: &str, len: u64) -> io::Result<()>;

    /// Makes a file's contents and length durable (`fdatasync`).
    fn sync_data(&mut self, dir: Dir, name: &str) -> io::Result<()>;

    /// Renames a file within its directory, replacing the target.
    fn rename(&mut self, dir: Dir, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn unlink(&mut self, dir: Dir, name: &str) -> io::Result<()>;

    /// Makes the directory's names durable (`fsync` of the directory).
    fn sync_dir(&mut self, dir: Dir) -> io::Result<()>;
}

/// A file's full name in messages: `dataLogDir/version-2/log.1`.
pub(crate) fn path(dir: Dir, name: &str) -> String {
    format!("{dir}/{name}")
}
