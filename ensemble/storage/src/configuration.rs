//! The files that keep the ensemble's configuration over a restart (`QuorumPeerConfig.java`, `QuorumPeer.setQuorumVerifier`).
//!
//! ```text
//! zoo.cfg                      ... dynamicConfigFile=/etc/zookeeper/zoo.cfg.dynamic.100000000
//! zoo.cfg.dynamic.100000000    the active configuration; its version is in the name only
//! zoo.cfg.dynamic.next         the one seen last, with a version line, until that version is active
//! zoo.cfg.bak                  zoo.cfg as a person wrote it
//! ```
//!
//! There are two layouts. In **ZooKeeper's** the files stand beside `zoo.cfg`, which is rewritten at every activation and names the
//! active one ([`ConfigurationFiles::beside`]). Where `zoo.cfg` cannot be rewritten, as in a ConfigMap, they stand in a directory
//! of their own, and the newest one is active ([`ConfigurationFiles::apart`]).
//!
//! # What a crash leaves
//!
//! Every step replaces one file whole, and is durable before the next. An activation writes the dynamic file, then `zoo.cfg`, then
//! removes `.next`: whatever of this is done, the active configuration is the former one with the last seen one beside it, or the new
//! one. A proposed configuration is never forgotten before it is active.
//!
//! Dynamic files of former configurations stay, as with ZooKeeper: who wants to go back needs them, and there is one for each
//! reconfiguration.
//!
//! Differs from ZooKeeper, which logs a failure to write and goes on: here it ends the process like any other failed write. A server
//! that acknowledged a configuration and forgot it could count quorums in the former one.

use crate::disk::{Dir, Disk};
use crate::error::StorageError;
use crate::names::TMP;
use crate::small_file;
use ensemble_proto::membership::Membership;
use ensemble_proto::{ServerId, Zxid, properties};
use std::collections::BTreeSet;
use std::io::ErrorKind;

/// The key of `zoo.cfg` that names the active configuration.
const POINTER: &str = "dynamicConfigFile";
const DYNAMIC: &str = ".dynamic";
const NEXT: &str = ".dynamic.next";
const BACKUP: &str = ".bak";

/// Where the files are, all of them in [`Dir::Config`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigurationFiles {
    /// The name of `zoo.cfg`, from which the others' names are made.
    name: String,
    /// This server.
    id: ServerId,
    /// The directory's absolute path, when `zoo.cfg` is in it and names the active configuration.
    beside: Option<String>,
}

/// What the files say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// The configuration that was active last; `None` when none was yet, or the file that `zoo.cfg` names is somewhere else.
    pub active: Option<Membership>,
    /// The last seen one, when it is newer than the active one.
    pub last_seen: Option<Membership>,
}

impl ConfigurationFiles {
    /// ZooKeeper's layout: beside `zoo.cfg`, whose name is `name`, in the directory of this absolute path.
    pub fn beside(name: &str, directory: &str, id: ServerId) -> ConfigurationFiles {
        ConfigurationFiles { name: name.to_owned(), id, beside: Some(directory.trim_end_matches('/').to_owned()) }
    }

    /// In a directory without `zoo.cfg`, whose name `name` still is.
    pub fn apart(name: &str, id: ServerId) -> ConfigurationFiles {
        ConfigurationFiles { name: name.to_owned(), id, beside: None }
    }

    /// Reads what was kept; what it returns survives a power cut.
    ///
    /// Differs from ZooKeeper, which does not look for a last seen configuration before `zoo.cfg` names an active one: a server that
    /// is to join acknowledges the configuration that makes it a member before it has kept any other.
    ///
    /// # Errors
    /// [`StorageError::Io`], or [`StorageError::Layout`] for a file that is no configuration.
    pub fn recover(&self, disk: &mut impl Disk) -> Result<Kept, StorageError> {
        sync_names(disk)?;
        let active = match self.active_name(disk)? {
            Some(name) => read(disk, &name)?.map(|text| parse_dynamic(&name, &text)).transpose()?,
            None => None,
        };
        let since = active.as_ref().map_or(Zxid::ZERO, |membership| membership.version);
        let next = self.next_name();
        let last_seen = read(disk, &next)?.map(|text| parse(&next, &text)).transpose()?;
        Ok(Kept { active, last_seen: last_seen.filter(|membership| membership.version > since) })
    }

    /// Copies `zoo.cfg` as a person wrote it to `zoo.cfg.bak`. Only in ZooKeeper's layout is there something to keep.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn back_up(&self, disk: &mut impl Disk) -> Result<(), StorageError> {
        if self.beside.is_none() || pointer(&self.own_text(disk)?).is_some() {
            return Ok(());
        }
        let text = disk.read(Dir::Config, &self.name).map_err(StorageError::io("read", Dir::Config, &self.name))?;
        small_file::replace(disk, Dir::Config, &format!("{}{BACKUP}", self.name), &text)
    }

    /// Finds out whether the files can be written, before anything depends on it.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn probe(&self, disk: &mut impl Disk) -> Result<(), StorageError> {
        let name = format!("{}{DYNAMIC}{TMP}", self.name);
        disk.create(Dir::Config, &name).map_err(StorageError::io("create", Dir::Config, &name))?;
        small_file::remove(disk, Dir::Config, &name)
    }

    /// Removes a last seen configuration that is active: the power was cut, or the process killed, before that was done.
    ///
    /// # Errors
    /// As [`ConfigurationFiles::recover`].
    pub fn tidy(&self, disk: &mut impl Disk) -> Result<(), StorageError> {
        match self.recover(disk)?.last_seen {
            Some(_) => Ok(()),
            None => small_file::remove(disk, Dir::Config, &self.next_name()),
        }
    }

    /// Keeps the last seen configuration.
    pub(crate) fn keep_last_seen(&self, disk: &mut impl Disk, membership: &Membership) -> Result<(), StorageError> {
        small_file::replace(disk, Dir::Config, &self.next_name(), membership.with_version().as_bytes())
    }

    /// Keeps the active configuration, and forgets a last seen one that is not newer.
    pub(crate) fn activate(&self, disk: &mut impl Disk, membership: &Membership) -> Result<(), StorageError> {
        let dynamic = format!("{}{DYNAMIC}.{:x}", self.name, membership.version.0);
        small_file::replace(disk, Dir::Config, &dynamic, membership.without_version().as_bytes())?;
        if let Some(directory) = &self.beside {
            self.point(disk, membership, &format!("{directory}/{dynamic}"))?;
        }
        let next = self.next_name();
        match read(disk, &next)?.map(|text| parse(&next, &text)).transpose()? {
            Some(last_seen) if last_seen.version > membership.version => Ok(()),
            Some(_) => small_file::remove(disk, Dir::Config, &next),
            None => Ok(()),
        }
    }

    /// Lets `zoo.cfg` name the active configuration.
    ///
    /// Differs from ZooKeeper: a server that was in no established configuration yet and is not in this one keeps its own lines, with
    /// which it joins again after a restart. There it would refuse to start.
    fn point(&self, disk: &mut impl Disk, membership: &Membership, path: &str) -> Result<(), StorageError> {
        let text = self.own_text(disk)?;
        let own = membership.servers.get(&self.id);
        if own.is_none() && pointer(&text).and_then(|path| version_in(&path)).is_none_or(|v| v <= Zxid::ZERO) {
            return Ok(());
        }
        let has_client = own.is_some_and(|own| own.client.is_some());
        small_file::replace(disk, Dir::Config, &self.name, pointing_to(&text, path, has_client).as_bytes())
    }

    /// The text of `zoo.cfg`.
    fn own_text(&self, disk: &mut impl Disk) -> Result<String, StorageError> {
        Ok(read(disk, &self.name)?.unwrap_or_default())
    }

    /// The name of the file of the active configuration.
    fn active_name(&self, disk: &mut impl Disk) -> Result<Option<String>, StorageError> {
        if let Some(directory) = &self.beside {
            let path = pointer(&self.own_text(disk)?);
            let name = path.as_deref().and_then(|path| path.strip_prefix(&format!("{directory}/")));
            return Ok(name.filter(|name| !name.contains('/')).map(str::to_owned));
        }
        let entries = disk.list(Dir::Config).map_err(StorageError::io("list", Dir::Config, ""))?;
        let prefix = format!("{}{DYNAMIC}.", self.name);
        let version = |name: &str| name.strip_prefix(&prefix).and_then(hexadecimal);
        let newest = entries.into_iter().filter_map(|entry| version(&entry.name).map(|version| (version, entry.name)));
        Ok(newest.max().map(|(_, name)| name))
    }

    fn next_name(&self) -> String {
        format!("{}{NEXT}", self.name)
    }
}

/// What `dynamicConfigFile` says in the text of `zoo.cfg`.
fn pointer(text: &str) -> Option<String> {
    let mut properties = properties::parse(text).into_iter().rev();
    properties.find(|property| property.key == POINTER).map(|property| property.value)
}

/// Reads a dynamic configuration file, whose name tells the version: 0 when it does not end in one.
///
/// # Errors
/// [`StorageError::Layout`].
pub fn parse_dynamic(name: &str, text: &str) -> Result<Membership, StorageError> {
    if properties::parse(text).iter().any(|property| property.key == "version") {
        return Err(StorageError::layout(name, "a version line: the version of this file is in its name"));
    }
    let membership = parse(name, text)?;
    Ok(Membership { version: version_in(name).unwrap_or(Zxid::ZERO), ..membership })
}

fn parse(name: &str, text: &str) -> Result<Membership, StorageError> {
    Membership::parse(text).map_err(|error| StorageError::layout(name, error.to_string()))
}

/// The version at the end of a file's name or path.
fn version_in(path: &str) -> Option<Zxid> {
    path.rsplit_once('.').and_then(|(_, suffix)| hexadecimal(suffix))
}

fn hexadecimal(text: &str) -> Option<Zxid> {
    i64::from_str_radix(text, 16).ok().map(Zxid)
}

/// `zoo.cfg` without everything that the dynamic file says, and with its path.
///
/// Differs from ZooKeeper: comments and the order of lines stay, and so does `clientPortListenBacklog`, which is no address.
fn pointing_to(text: &str, path: &str, has_client: bool) -> String {
    let is_said = |key: &str| match key {
        POINTER | "peerType" => true,
        "clientPort" | "clientPortAddress" => has_client,
        key => ["server.", "group.", "weight."].iter().any(|prefix| key.starts_with(prefix)),
    };
    let dropped: BTreeSet<usize> = properties::parse(text)
        .into_iter()
        .filter(|property| is_said(&property.key))
        .flat_map(|property| property.line..=property.last_line)
        .collect();
    let lines = text.lines().enumerate().filter(|(index, _)| !dropped.contains(&(index + 1)));
    let mut text: String = lines.map(|(_, line)| format!("{line}\n")).collect();
    text += &format!("{POINTER}={}\n", properties::escape(path));
    text
}

/// The text of a file, which was durable before it got its name; `None` when there is none.
fn read(disk: &mut impl Disk, name: &str) -> Result<Option<String>, StorageError> {
    match disk.read(Dir::Config, name) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(StorageError::layout(name, "not UTF-8")),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("read", Dir::Config, name)(error)),
    }
}

fn sync_names(disk: &mut impl Disk) -> Result<(), StorageError> {
    disk.sync_dir(Dir::Config).map_err(StorageError::io("sync", Dir::Config, ""))
}
