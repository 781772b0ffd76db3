//! `inventory`: the files whose absence is a loss, and where each log of this store begins.
//!
//! ```text
//! acceptedEpoch
//! log.300000001
//! log.100000001 after 0x0
//! log.300000001 after 0x10000005b
//! ```
//!
//! A log or an epoch file that is gone leaves no trace of itself: what is left is a sound store with less in it. So the store
//! keeps, in `dataDir/version-2` and apart from the log's volume, the name of its newest log, and that there is an
//! `acceptedEpoch` once there is one.
//!
//! Nor does the end of a log that is not the newest any more, where the next one begins an epoch: how many records the last epoch had, no zxid tells. So the store keeps for each log that it
//! began which record comes before its first one. That is a fact of the order of transactions: it stays true whoever truncates, purges or writes logs afterwards. (A zxid that is no
//! record's, as where a snapshot stands at the beginning of an epoch, is not written down.)
//!
//! A name is written down after its file is durable and before anything in it is relied on, and crossed out before the file is
//! removed. So a crash leaves a name too few, never one too many; what is said of the beginning of a log that is gone is forgotten at the next start, or with the next new one.
//!
//! ZooKeeper knows nothing of this file. A log that it purged or truncated is not missed when a newer log, or a snapshot of what
//! the log began with, has taken its place.

use crate::disk::{Dir, Disk, path};
use crate::epochs;
use crate::error::StorageError;
use crate::files;
use crate::names;
use crate::small_file;
use ensemble_proto::Zxid;
use std::collections::BTreeMap;

pub(crate) const INVENTORY: &str = "inventory";

/// What is written down.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Inventory {
    newest_log: Option<String>,
    has_epochs: bool,
    /// By the first zxid of a log of ours, the record before it; zero when that is not known.
    before: BTreeMap<Zxid, Zxid>,
}

/// Between a log's name and the record before it.
const AFTER: &str = " after ";

impl Inventory {
    /// Reads it; empty when there is none, as in a directory of ZooKeeper's.
    pub(crate) fn read(disk: &mut impl Disk) -> Result<Inventory, StorageError> {
        let mut inventory = Inventory::default();
        let bytes = small_file::read(disk, Dir::Data, INVENTORY)?.unwrap_or_default();
        for line in String::from_utf8_lossy(&bytes).lines() {
            match line {
                epochs::ACCEPTED => inventory.has_epochs = true,
                log if names::zxid("log", log).is_some() => inventory.newest_log = Some(log.to_owned()),
                other if let Some((log, before)) = beginning(other) => {
                    inventory.before.insert(log, before);
                }
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

    /// The record before the first of this log, which this store began; zero when it is not known. `None` for a log that is somebody else's.
    pub(crate) fn before(&self, log: &str) -> Option<Zxid> {
        names::zxid("log", log).and_then(|first| self.before.get(&first)).copied()
    }

    /// Another server may begin a log of the same name as one that is gone.
    pub(crate) fn forget_what_is_gone(&mut self, disk: &mut impl Disk) -> Result<(), StorageError> {
        let known = self.before.len();
        self.retain_what_is_there(disk)?;
        if self.before.len() < known { self.write(disk) } else { Ok(()) }
    }

    fn retain_what_is_there(&mut self, disk: &mut impl Disk) -> Result<(), StorageError> {
        let logs = files::logs(disk)?;
        self.before.retain(|first, _| logs.iter().any(|log| log.zxid == *first));
        Ok(())
    }

    /// Writes down the newest log, of which the first record comes after `before`.
    pub(crate) fn add_log(&mut self, disk: &mut impl Disk, name: &str, before: Zxid) -> Result<(), StorageError> {
        self.retain_what_is_there(disk)?;
        self.before.extend(names::zxid("log", name).map(|first| (first, before)));
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
        for (log, before) in &self.before {
            text += &format!("{}{AFTER}{before}\n", names::log(*log));
        }
        small_file::replace(disk, Dir::Data, INVENTORY, text.as_bytes())
    }
}

/// A log's first zxid, and the record before that.
fn beginning(line: &str) -> Option<(Zxid, Zxid)> {
    let (log, before) = line.split_once(AFTER)?;
    let before = i64::from_str_radix(before.strip_prefix("0x")?, 16).ok()?;
    Some((names::zxid("log", log)?, Zxid(before)))
}
