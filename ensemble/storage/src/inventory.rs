//! `inventory`: the files whose absence is a loss, a name a line.
//!
//! A log or an epoch file that is gone leaves no trace of itself: what is left is a sound store with less in it. So the store
//! keeps, in `dataDir/version-2` and apart from the log's volume, the name of its newest log, and that there is an
//! `acceptedEpoch` once there is one.
//!
//! A name is written down after its file is durable and before anything in it is relied on, and crossed out before the file is
//! removed. So a crash leaves a name too few, never one too many.
//!
//! ZooKeeper knows nothing of this file. A log that it purged or truncated is not missed when a newer log, or a snapshot of what
//! the log began with, has taken its place.

use crate::disk::{Dir, Disk, path};
use crate::epochs;
use crate::error::StorageError;
use crate::files;
use crate::names;
use crate::small_file;

pub(crate) const INVENTORY: &str = "inventory";

/// What is written down.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Inventory {
    newest_log: Option<String>,
    has_epochs: bool,
}

impl Inventory {
    /// Reads it; empty when there is none, as in a directory of ZooKeeper's.
    pub(crate) fn read(disk: &mut impl Disk) -> Result<Inventory, StorageError> {
        let mut inventory = Inventory::default();
        let bytes = small_file::read(disk, Dir::Data, INVENTORY)?.unwrap_or_default();
        for line in String::from_utf8_lossy(&bytes).lines() {
            match line {
                epochs::ACCEPTED => inventory.has_epochs = true,
                log if names::zxid("log", log).is_some() => inventory.newest_log = Some(log.to_owned()),
                other => {
                    let file = path(Dir::Data, INVENTORY);
                    return Err(StorageError::corrupt(&file, 0, "names of files", format!("{other:?}")));
                }
            }
        }
        Ok(inventory)
    }

    /// Checks that nothing is missing.
    ///
    /// # Errors
    /// [`StorageError::Lost`].
    pub(crate) fn check(&self, disk: &mut impl Disk) -> Result<(), StorageError> {
        if let Some(log) = &self.newest_log {
            let first = names::zxid("log", log);
            let logs = files::logs(disk)?;
            let is_there = logs.iter().any(|found| found.name == *log || Some(found.zxid) > first);
            if !is_there && !files::snapshots(disk)?.iter().any(|snapshot| Some(snapshot.zxid) >= first) {
                let problem = format!("{log} is missing, with every record in it");
                return Err(StorageError::lost(Dir::Log, problem));
            }
        }
        if self.has_epochs && small_file::read(disk, Dir::Data, epochs::ACCEPTED)?.is_none() {
            return Err(StorageError::lost(path(Dir::Data, epochs::ACCEPTED), "missing: an epoch's promise was lost"));
        }
        Ok(())
    }

    /// Writes down the newest log.
    pub(crate) fn add_log(&mut self, disk: &mut impl Disk, name: &str) -> Result<(), StorageError> {
        self.newest_log = Some(name.to_owned());
        self.write(disk)
    }

    /// Crosses out the newest log, which is about to be removed.
    pub(crate) fn remove_log(&mut self, disk: &mut impl Disk) -> Result<(), StorageError> {
        match self.newest_log.take() {
            Some(_) => self.write(disk),
            None => Ok(()),
        }
    }

    /// Writes down that there is an `acceptedEpoch`.
    pub(crate) fn add_epochs(&mut self, disk: &mut impl Disk) -> Result<(), StorageError> {
        match std::mem::replace(&mut self.has_epochs, true) {
            false => self.write(disk),
            true => Ok(()),
        }
    }

    fn write(&self, disk: &mut impl Disk) -> Result<(), StorageError> {
        let mut text = String::new();
        for name in self.has_epochs.then_some(epochs::ACCEPTED).into_iter().chain(self.newest_log.as_deref()) {
            text += name;
            text.push('\n');
        }
        small_file::replace(disk, Dir::Data, INVENTORY, text.as_bytes())
    }
}
