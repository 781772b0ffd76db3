//! What a store holds after any crash: the newest sound snapshot, every record after it, the epochs.
//!
//! | Found | Done |
//! |---|---|
//! | what a killed process left unsynced | synced, before anything rests on it |
//! | newest log of 0 bytes, or all zeros (crash while it was made) | removed |
//! | newest log of 1 to 15 bytes | refused: a header is written with its sector, so no crash leaves this |
//! | newest log ends in a torn record | cut there, durably, before anything is written after it |
//! | older log ends in a torn record | accepted when the next log continues at the very next zxid (ZooKeeper leaves it so) |
//! | wrong checksum or length, data behind the end, any bad record before a sync mark | damage |
//! | a zxid is missing, or goes back | damage |
//! | the newest log or `acceptedEpoch` is missing, or the record before a log's first one, by the `inventory` | damage |
//! | newest snapshot damaged, unreadable, or no tree | the next older is used; its logs must then be complete |
//! | every snapshot damaged | damage |
//! | no snapshot, but log records | damage, unless `snapshot.trust.empty` |
//! | the snapshot has effects of transactions that the log does not have | damage |
//! | no snapshot, no record | `snapshot.0` when `initialize` exists or `db.autocreate`; else empty and not trusted |
//! | `untrusted` | a received history is not whole yet: not trusted; see [`crate::storage::Storage::perform`] |
//! | snapshots in the log directory or logs in the data directory | refused |
//! | `installing.<zxid>` | the installation is finished; see [`crate::install`] |
//! | `*.tmp` | removed |
//!
//! Damage is refused, or, where peers have what is lost ([`Options::repair`]), the store is set aside; see
//! [`crate::set_aside`].
//!
//! A torn tail that stayed in place would come back: a later record with the same zxid could stand in the next file, or the
//! lost sector could be read as zeros today and not tomorrow. So nothing is appended before it is cut off.

use crate::compress::Compression;
use crate::disk::{Dir, Disk, path};
use crate::empty::empty_database;
use crate::epochs;
use crate::error::StorageError;
use crate::files::{self, StoreFile};
use crate::install;
use crate::inventory::Inventory;
use crate::log_file::{self, HEADER_LEN};
use crate::names;
use crate::set_aside;
use crate::small_file;
use crate::snapshot::{self, Snapshot, SnapshotWriter};
use crate::storage::Options;
use bytes::Bytes;
use ensemble_proto::{Epoch, Zxid};

/// The marker that makes an empty database legitimate; removed when it is used.
pub(crate) const INITIALIZE: &str = "initialize";

/// The marker of a store that began empty and untrusted and has not entered an epoch yet: what it has received so far may be
/// less than what it once acked.
pub(crate) const UNTRUSTED: &str = "untrusted";

/// The note of a store without a vote.
pub(crate) const NOT_TRUSTED: &str =
    "the store is empty or incomplete and nobody declared it legitimate: it will not vote";

/// What a store held when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// No leader of an earlier epoch may be followed.
    pub accepted_epoch: Epoch,
    /// The log holds the whole initial history of this epoch's leader.
    pub current_epoch: Epoch,
    /// Zxid and body (sessions, ACL table, znodes, terminating "/"); `None` only when nothing is trusted.
    pub snapshot: Option<(Zxid, Bytes)>,
    /// The snapshot holds effects of transactions up to here: its own zxid, unless it was written while transactions went on.
    pub complete: Zxid,
    /// The tree's digest once every transaction up to this zxid is applied.
    pub snapshot_digest: Option<(Zxid, u64)>,
    /// Every log record after the snapshot, without a gap.
    pub tail: Vec<(Zxid, Bytes)>,
    /// False for a store that nobody declared legitimate and that has not received a leader's whole history since: it may have
    /// lost what it acked, so it must not vote.
    pub trusted: bool,
    /// Why the store that was here is set aside, and where its files are. Nothing has taken its place yet, and nobody may declare
    /// this one legitimate.
    pub set_aside: Option<String>,
    /// What was repaired or skipped, for the log.
    pub notes: Vec<String>,
}

impl Recovered {
    /// The last record, or the snapshot when there is none after it; [`Zxid::NONE`] when nothing is trusted.
    pub fn last_zxid(&self) -> Zxid {
        let snapshot = self.snapshot.as_ref().map_or(Zxid::NONE, |(zxid, _)| *zxid);
        self.tail.last().map_or(snapshot, |(zxid, _)| *zxid)
    }
}

/// Declares the empty store on this disk legitimate; it takes effect when it is opened next.
///
/// # Errors
/// [`StorageError::Io`].
pub fn write_initialize_marker(disk: &mut impl Disk) -> Result<(), StorageError> {
    small_file::replace(disk, Dir::DataRoot, INITIALIZE, b"")
}

/// Reads the store as [`read`] does; a damaged one is set aside first, if that is allowed.
pub(crate) fn recover<D: Disk>(disk: &mut D, options: &Options) -> Result<Recovered, StorageError> {
    match read(disk, options) {
        Err(damage) if options.repair && damage.is_damage() => {
            set_aside::set_aside(disk, &damage)?;
            read(disk, options)
        }
        other => other,
    }
}

/// Repairs what a crash may leave and reads the rest.
fn read<D: Disk>(disk: &mut D, options: &Options) -> Result<Recovered, StorageError> {
    let mut notes = Vec::new();
    refuse_swapped_directories(disk)?;
    sync_directories(disk)?;
    remove_temporaries(disk)?;
    set_aside::resume(disk)?;
    install::resume(disk, options.mutants, &mut notes)?;
    let mut inventory = Inventory::read(disk)?;
    inventory.check(disk)?;
    let newest_log = newest_log(disk, options, &mut inventory, &mut notes)?;
    let granted = take_initialize_marker(disk)?;

    let logs = files::logs(disk)?;
    let newest = newest_snapshot(disk, options, &mut notes)?;
    let after = newest.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
    let needed = if newest.is_some() { files::logs_after(&logs, after) } else { &logs };
    let tail = read_tail(disk, needed, newest_log, after, options, &mut inventory, &mut notes)?;
    let marker = small_file::read(disk, Dir::Data, UNTRUSTED)?;
    let snapshot = match newest {
        Some(snapshot) => Some(snapshot),
        None => {
            let is_legitimate = marker.is_none() && (granted || options.autocreate);
            first_snapshot(disk, tail.last().map(|(zxid, _)| *zxid), is_legitimate, options)?
        }
    };
    if granted {
        remove_initialize_marker(disk)?;
    }
    let last = tail.last().map(|(zxid, _)| *zxid).or(snapshot.as_ref().map(|(zxid, _)| *zxid)).unwrap_or(Zxid::ZERO);
    let complete = snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, snapshot)| snapshot.complete(*zxid));
    if complete > last {
        let problem = format!(
            "the snapshot has effects of transactions up to {complete}, the log ends at {last}: records are missing"
        );
        return Err(StorageError::lost(Dir::Log, problem));
    }
    let is_whole = marker.is_none() || epochs::has_entered_one(disk)?;
    let trusted = snapshot.is_some() && is_whole;
    let set_aside = marker.filter(|_| !is_whole).as_deref().and_then(set_aside::reason);
    match &set_aside {
        Some(reason) => {
            notes.push(format!("the store that was here is damaged and set aside, this one does not vote: {reason}"))
        }
        None if !trusted => notes.push(NOT_TRUSTED.to_owned()),
        None => {}
    }
    let (accepted_epoch, current_epoch) = epochs::recover(disk, last, trusted, &mut notes)?;
    Ok(Recovered {
        accepted_epoch,
        current_epoch,
        complete,
        snapshot_digest: snapshot
            .as_ref()
            .and_then(|(zxid, snapshot)| snapshot.digest.filter(|digest| digest.0 >= *zxid)),
        trusted,
        set_aside,
        snapshot: snapshot.map(|(zxid, snapshot)| (zxid, snapshot.body)),
        tail,
        notes,
    })
}

/// A process that was killed may have left names that are not durable yet, and what is read now must not go away later.
fn sync_directories(disk: &mut impl Disk) -> Result<(), StorageError> {
    for dir in [Dir::DataRoot, Dir::Data, Dir::LogRoot, Dir::Log] {
        disk.sync_dir(dir).map_err(StorageError::io("sync", dir, ""))?;
    }
    Ok(())
}

fn refuse_swapped_directories(disk: &mut impl Disk) -> Result<(), StorageError> {
    if !disk.has_separate_log() {
        return Ok(());
    }
    for (dir, prefix, owner) in [(Dir::Log, "snapshot", Dir::Data), (Dir::Data, "log", Dir::Log)] {
        if let Some(file) = files::list(disk, dir, prefix)?.first() {
            let problem = format!("found {}, which belongs in {owner}: are dataDir and dataLogDir swapped?", file.name);
            return Err(StorageError::layout(dir, problem));
        }
    }
    Ok(())
}

fn remove_temporaries(disk: &mut impl Disk) -> Result<(), StorageError> {
    for dir in [Dir::Data, Dir::Log] {
        for entry in disk.list(dir).map_err(StorageError::io("list", dir, ""))? {
            if entry.name.ends_with(names::TMP) {
                disk.unlink(dir, &entry.name).map_err(StorageError::io("remove", dir, &entry.name))?;
            }
        }
    }
    Ok(())
}

/// The contents of the newest log, unless there is none. Only this one can hold what was never synced, or what a failed sync
/// left in memory only.
///
/// A log is synced with its header and its name before its first record is written. A newest log without a header
/// therefore never had a record: it is removed.
fn newest_log(
    disk: &mut impl Disk,
    options: &Options,
    inventory: &mut Inventory,
    notes: &mut Vec<String>,
) -> Result<Vec<u8>, StorageError> {
    while let Some(log) = files::logs(disk)?.last() {
        let failed = StorageError::io("read", Dir::Log, &log.name);
        let bytes = match options.mutants.page_cache_is_believed() {
            true => disk.read(Dir::Log, &log.name),
            false => disk.read_durable(Dir::Log, &log.name),
        }
        .map_err(failed)?;
        let is_unborn = bytes.is_empty() || bytes.len() as u64 >= HEADER_LEN && log_file::is_zero(&bytes);
        if !is_unborn {
            return Ok(bytes);
        }
        inventory.remove_log(disk)?;
        small_file::remove(disk, Dir::Log, &log.name)?;
        notes.push(format!("removed {}, which a crash left without a header", path(Dir::Log, &log.name)));
    }
    Ok(Vec::new())
}

fn take_initialize_marker(disk: &mut impl Disk) -> Result<bool, StorageError> {
    Ok(small_file::read(disk, Dir::LogRoot, INITIALIZE)?.is_some()
        || small_file::read(disk, Dir::DataRoot, INITIALIZE)?.is_some())
}

fn remove_initialize_marker(disk: &mut impl Disk) -> Result<(), StorageError> {
    small_file::remove(disk, Dir::LogRoot, INITIALIZE)?;
    small_file::remove(disk, Dir::DataRoot, INITIALIZE)
}

/// The newest snapshot whose seals hold.
fn newest_snapshot(
    disk: &mut impl Disk,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Option<(Zxid, Snapshot)>, StorageError> {
    let mut first_damage = None;
    for file in files::snapshots(disk)? {
        let read = match options.undecodable.contains(&file.zxid) {
            true => Err(StorageError::corrupt(&path(Dir::Data, &file.name), 0, "a tree", "contents that are none")),
            false => snapshot::read(disk, &file.name),
        };
        match read {
            Ok(snapshot) => return Ok(Some((file.zxid, snapshot))),
            Err(damage) if damage.is_damage() => {
                notes.push(format!("skipped a damaged snapshot: {damage}"));
                first_damage = first_damage.or(Some(damage));
            }
            Err(error) => return Err(error),
        }
    }
    first_damage.map_or(Ok(None), Err)
}

/// The records after `snapshot`, in order and complete; a torn end of the newest log is cut off.
fn read_tail(
    disk: &mut impl Disk,
    logs: &[StoreFile],
    newest: Vec<u8>,
    snapshot: Zxid,
    options: &Options,
    inventory: &mut Inventory,
    notes: &mut Vec<String>,
) -> Result<Vec<(Zxid, Bytes)>, StorageError> {
    let mut tail: Vec<(Zxid, Bytes)> = Vec::new();
    for (index, log) in logs.iter().enumerate() {
        let file = path(Dir::Log, &log.name);
        let is_newest = index + 1 == logs.len();
        let older;
        let bytes = match is_newest {
            true => &newest,
            false => {
                older = disk.read(Dir::Log, &log.name).map_err(StorageError::io("read", Dir::Log, &log.name))?;
                &older
            }
        };
        let before = inventory.before(&log.name).filter(|_| !options.mutants.beginning_is_believed());
        let scan = log_file::scan(&file, bytes, is_newest, before.is_some(), options.payload_len_max)?;
        let known = before.filter(|before| *before > Zxid::ZERO);
        let follows = |before: Zxid| tail.last().map_or(before <= snapshot, |(last, _)| *last == before);
        if let Some(before) = known.filter(|before| !follows(*before)) {
            let last = tail.last().map_or(snapshot, |(zxid, _)| *zxid);
            let problem = format!("{} begins after {before}, what is before it ends at {last}", log.name);
            return Err(StorageError::lost(Dir::Log, problem));
        }
        let is_empty = scan.records.is_empty();
        for record in scan.records {
            accept(&file, &mut tail, snapshot, record)?;
        }
        if let Some(torn) = scan.torn {
            notes.push(format!("dropped a torn record: {torn}"));
            if is_newest && !options.mutants.torn_tail_is_kept() {
                cut(disk, log, scan.end)?;
            }
        }
        if is_newest && is_empty {
            inventory.remove_log(disk)?;
            small_file::remove(disk, Dir::Log, &log.name)?;
        }
    }
    Ok(tail)
}

/// Adds a record to the tail when it is the very next one; skips it when the snapshot or the tail has it already.
fn accept(
    file: &str,
    tail: &mut Vec<(Zxid, Bytes)>,
    snapshot: Zxid,
    record: log_file::Record,
) -> Result<(), StorageError> {
    let last = tail.last().map_or(snapshot, |(zxid, _)| *zxid);
    let is_repeated = |tail: &[(Zxid, Bytes)]| {
        tail.binary_search_by_key(&record.zxid, |(zxid, _)| *zxid).is_ok_and(|at| tail[at].1 == record.payload)
    };
    if record.zxid <= snapshot || is_repeated(tail) {
        return Ok(());
    }
    if !record.zxid.follows(last) {
        let expected = format!("the record after {last}");
        return Err(StorageError::corrupt(file, record.end, expected, format!("the record {}", record.zxid)));
    }
    tail.push((record.zxid, record.payload));
    Ok(())
}

fn cut(disk: &mut impl Disk, log: &StoreFile, len: u64) -> Result<(), StorageError> {
    disk.set_len(Dir::Log, &log.name, len).map_err(StorageError::io("truncate", Dir::Log, &log.name))?;
    disk.sync_data(Dir::Log, &log.name).map_err(StorageError::io("sync", Dir::Log, &log.name))
}

/// The empty database, for a store without a snapshot, when it is legitimate.
fn first_snapshot<D: Disk>(
    disk: &mut D,
    last: Option<Zxid>,
    is_legitimate: bool,
    options: &Options,
) -> Result<Option<(Zxid, Snapshot)>, StorageError> {
    if let Some(last) = last
        && !options.trust_empty
        && !options.mutants.missing_snapshot_is_empty()
    {
        let problem = format!("no snapshot found, but there are log records up to {last}: something is broken");
        return Err(StorageError::lost(Dir::Data, problem));
    }
    if last.is_none() && !is_legitimate {
        return Ok(None);
    }
    let body = empty_database();
    write_first_snapshot(disk, &body)?;
    Ok(Some((Zxid::ZERO, Snapshot { body, digest: None, last_processed: None })))
}

/// Makes `snapshot.0` durable: the state before the first record.
pub(crate) fn write_first_snapshot<D: Disk>(disk: &mut D, body: &[u8]) -> Result<(), StorageError> {
    let mut writer = SnapshotWriter::begin(disk.clone(), Zxid::ZERO, Compression::Plain)?;
    writer.slice(body)?;
    writer.finish(Some(0), Zxid::ZERO)
}
