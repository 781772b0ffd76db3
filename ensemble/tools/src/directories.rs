//! The directories of a server that does not run.

use crate::ToolError;
use clap::Args;
use ensemble_storage::{Dir, Identity, RealDisk};
use std::path::PathBuf;

/// Which directories; those of `zoo.cfg`.
#[derive(Args, Debug)]
pub(crate) struct Directories {
    /// dataDir
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// dataLogDir; by default the same
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
}

impl Directories {
    /// Opens them. They stay locked as long as the disk is there; missing ones are made when `autocreate`.
    ///
    /// # Errors
    /// When one is missing, a server holds it, or a newer server wrote it.
    pub(crate) fn open(&self, autocreate: bool) -> Result<RealDisk, ToolError> {
        let log = self.log.as_ref().unwrap_or(&self.data);
        let mut disk = RealDisk::open(&self.data, log, autocreate)?;
        for dir in [Dir::DataRoot, Dir::LogRoot] {
            Identity::read(&mut disk, dir)?;
        }
        Ok(disk)
    }
}
