//! A store that is open: writes in one strict order, durable when the call says so.

use crate::compress::Compression;
use crate::configuration::ConfigurationFiles;
use crate::disk::{Dir, Disk};
use crate::empty::empty_database;
use crate::epochs;
use crate::error::StorageError;
use crate::files;
use crate::install;
use crate::inventory::Inventory;
use crate::mutants::Mutants;
use crate::recover::{self, Recovered};
use crate::small_file;
use crate::snapshot::SnapshotWriter;
use crate::truncate;
use crate::txn_log::{SyncReport, TxnLog};
use ensemble_proto::Zxid;
use ensemble_proto::durable::Write;
use std::collections::BTreeSet;

/// How a store is kept. The defaults are ZooKeeper's unless said otherwise.
#[derive(Clone, Debug)]
pub struct Options {
    /// Zeros written ahead in a log, bytes (`preAllocSize`); 0 for none. Differs from ZooKeeper: 4 MiB, because they are
    /// really written.
    pub preallocate: u64,
    /// About this many records between snapshots (`snapCount`), at least 2.
    pub snap_count: u64,
    /// And not before about this part of the newest snapshot's length in log, where there is one: what snapshots cost is then in
    /// proportion to what is written, however large the tree. `None` where `snapCount` alone decides.
    pub snap_share: Option<Share>,
    /// About this many bytes of log between snapshots (`snapSizeLimitInKb`); 0 for no such limit.
    pub snap_bytes: u64,
    /// A log longer than this is followed by a new one (`txnLogSizeLimitInKb`); `None` for no limit.
    pub log_len_max: Option<u64>,
    /// How snapshots are written (`snapshot.compression.method`).
    pub compression: Compression,
    /// The longest record read, bytes (`jute.maxbuffer` and `zookeeper.jute.maxbuffer.extrasize`).
    pub payload_len_max: u64,
    /// An empty store is legitimate without an `initialize` file (`db.autocreate`).
    pub autocreate: bool,
    /// Records without a snapshot are replayed on an empty database (`snapshot.trust.empty`).
    pub trust_empty: bool,
    /// A damaged store is set aside and begun anew without a vote, to be filled by a leader; otherwise it is refused. For a
    /// server whose peers form a quorum without it.
    pub repair: bool,
    /// Snapshots whose seals hold and whose contents turned out to be no tree: they are taken as damaged.
    pub undecodable: BTreeSet<Zxid>,
    /// Where the ensemble's configuration is kept; `None` where it cannot change.
    pub configuration: Option<ConfigurationFiles>,
    /// Spreads the servers' snapshots.
    pub seed: u64,
    /// Broken promises, in tests only.
    pub mutants: Mutants,
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Numerator.
    pub of: u64,
    /// Denominator.
    pub in_all: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            preallocate: 4 << 20,
            snap_count: 100_000,
            snap_share: None,
            snap_bytes: 4 << 30,
            log_len_max: None,
            compression: Compression::Plain,
            payload_len_max: 2 << 20,
            autocreate: true,
            trust_empty: false,
            repair: false,
            undecodable: BTreeSet::new(),
            configuration: None,
            seed: 0,
            mutants: Mutants::default(),
        }
    }
}

/// An open store. Its owner performs writes in ticket order, syncs once a group, and stops the process at the first error.
pub struct Storage<D> {
    disk: D,
    options: Options,
    log: TxnLog,
    inventory: Inventory,
    cadence: Cadence,
    /// A snapshot that is being received from a leader.
    receiving: Option<(Zxid, SnapshotWriter<D>)>,
    /// What the next record must follow.
    last: Last,
    /// Whether what it holds may vote.
    trusted: bool,
}

/// The end of the history.
#[derive(Clone, Copy)]
enum Last {
    /// Nothing, and no snapshot either: the store is not trusted.
    Nothing,
    /// An installed snapshot: the first record may repeat what it has.
    Snapshot(Zxid),
    /// A record, or the snapshot found at the start.
    Record(Zxid),
}

impl<D: Disk> Storage<D> {
    /// Repairs what a crash left, reads the store, and makes it ready to append: to a new log, always.
    ///
    /// # Errors
    /// Any [`StorageError`]; the store has then not been made worse.
    pub fn open(mut disk: D, options: Options) -> Result<(Storage<D>, Recovered), StorageError> {
        let recovered = recover::recover(&mut disk, &options)?;
        let trusted = recovered.trusted;
        let mut inventory = Inventory::read(&mut disk)?;
        inventory.forget_what_is_gone(&mut disk)?;
        let last = if recovered.snapshot.is_some() { Last::Record(recovered.last_zxid()) } else { Last::Nothing };
        let log = TxnLog::new(options.preallocate, options.log_len_max.unwrap_or(u64::MAX), options.mutants);
        let cadence = Cadence::new(&options);
        Ok((Storage { disk, options, log, inventory, cadence, receiving: None, last, trusted }, recovered))
    }

    /// Performs one write. A record is only buffered until [`Storage::sync`], and what is being received of a snapshot is nothing until it is
    /// installed; every other write is durable on return, and so is everything performed before it.
    ///
    /// # Errors
    /// [`StorageError::Io`], [`StorageError::NoRecord`] for a truncation to nowhere, or [`StorageError::Layout`] for a configuration
    /// where there is no place for one.
    ///
    /// # Panics
    /// When a record does not follow the last one, or a snapshot is continued or installed that was not begun: its owner must never
    /// ask for that.
    pub fn perform(&mut self, write: &Write) -> Result<(), StorageError> {
        match write {
            Write::Append { zxid, payload } => return self.append(*zxid, payload),
            Write::AcceptedEpoch(epoch) => {
                self.sync()?;
                if !self.options.mutants.lost_epoch() {
                    epochs::write(&mut self.disk, epochs::ACCEPTED, *epoch)?;
                    self.inventory.add_epochs(&mut self.disk)?;
                }
            }
            Write::CurrentEpoch(epoch) => {
                self.sync()?;
                epochs::write(&mut self.disk, epochs::CURRENT, *epoch)?;
                if !std::mem::replace(&mut self.trusted, true) {
                    small_file::remove(&mut self.disk, Dir::Data, recover::UNTRUSTED)?;
                }
            }
            Write::Truncate { to } => {
                self.sync()?;
                self.log.roll();
                self.inventory.remove_log(&mut self.disk)?;
                if !self.options.mutants.lost_truncation() {
                    truncate::truncate(&mut self.disk, *to, self.options.payload_len_max)?;
                }
                self.last = Last::Record(*to);
            }
            Write::ReceiveSnapshot { zxid } => {
                self.abandon_snapshot()?;
                self.receiving = Some((*zxid, install::receive(&self.disk, *zxid)?));
            }
            Write::SnapshotPart { bytes } => match &mut self.receiving {
                Some((_, received)) => received.slice(bytes)?,
                None => panic!("a part of a snapshot follows its beginning"),
            },
            Write::AbandonSnapshot => self.abandon_snapshot()?,
            Write::InstallSnapshot { zxid } => {
                let Some((_, received)) = self.receiving.take_if(|(receiving, _)| receiving == zxid) else {
                    panic!("the snapshot {zxid} is installed when it was received")
                };
                self.sync()?;
                self.log.roll();
                if !self.trusted {
                    self.mark_untrusted()?;
                }
                self.inventory.remove_log(&mut self.disk)?;
                install::install(&mut self.disk, *zxid, received, self.options.mutants)?;
                self.last = Last::Snapshot(*zxid);
            }
            Write::LastSeen(membership) => {
                self.sync()?;
                self.configuration()?.keep_last_seen(&mut self.disk, membership)?;
            }
            Write::Membership(membership) => {
                self.sync()?;
                self.configuration()?.activate(&mut self.disk, membership)?;
            }
        }
        Ok(())
    }

    /// Bytes of log that a truncation reads, about.
    pub fn truncation_len(&mut self, to: Zxid) -> u64 {
        let logs = files::logs(&mut self.disk).unwrap_or_default();
        logs.iter().rfind(|log| log.zxid <= to).map_or(0, |log| log.len)
    }

    /// Makes every record performed so far durable: one write, one `fdatasync`.
    ///
    /// # Errors
    /// [`StorageError::Io`]. Never retry: nothing is known about what reached the disk.
    pub fn sync(&mut self) -> Result<SyncReport, StorageError> {
        let report = self.log.sync(&mut self.disk, &mut self.inventory)?;
        self.cadence.count(report);
        Ok(report)
    }

    /// Whether it is time for a snapshot. When it is, the next record starts a new log, and the counting starts again: the
    /// caller takes the snapshot, or skips it when one is still being written.
    ///
    /// # Errors
    /// As [`Storage::sync`], which it does first.
    pub fn snapshot_due(&mut self) -> Result<bool, StorageError> {
        if !self.cadence.is_due(&mut self.disk)? {
            return Ok(false);
        }
        self.sync()?;
        self.log.roll();
        Ok(true)
    }

    /// Another handle to the disk, for a [`crate::SnapshotWriter`] or [`crate::purge`] on its own thread.
    pub fn disk(&self) -> D {
        self.disk.clone()
    }

    /// How its snapshots are written.
    pub fn compression(&self) -> Compression {
        self.options.compression
    }

    /// Bytes of records in the log that is being written.
    pub fn log_position(&self) -> u64 {
        self.log.position()
    }

    fn append(&mut self, zxid: Zxid, payload: &[u8]) -> Result<(), StorageError> {
        let fits = match self.last {
            Last::Nothing => zxid.counter() == 1,
            Last::Snapshot(snapshot) => zxid <= snapshot || zxid.follows(snapshot),
            Last::Record(last) => zxid.follows(last),
        };
        assert!(fits || self.options.mutants.any(), "the record {zxid} does not follow {}", self.last.zxid());
        if let Last::Nothing = self.last {
            self.mark_untrusted()?;
            recover::write_first_snapshot(&mut self.disk, &empty_database())?;
        }
        if self.log.is_full(payload) {
            self.sync()?;
        }
        let is_lost = self.options.mutants.zkb_11() && zxid.counter() % 10 == 5;
        if !is_lost {
            // A leader of ZooKeeper's takes a snapshot of where its epoch begins, which no record tells of.
            let is_record = |before: &Zxid| *before < zxid && before.counter() > 0;
            self.log.append(zxid, Some(self.last.zxid()).filter(is_record).unwrap_or(Zxid::ZERO), payload);
        }
        self.last = Last::Record(zxid);
        Ok(())
    }

    fn configuration(&self) -> Result<ConfigurationFiles, StorageError> {
        let nowhere = || StorageError::layout("configuration", "it cannot be kept: this store has no place for it");
        self.options.configuration.clone().ok_or_else(nowhere)
    }

    fn abandon_snapshot(&mut self) -> Result<(), StorageError> {
        self.receiving.take().map_or(Ok(()), |(_, received)| received.discard())
    }

    /// Makes durable that what comes next is not the whole history until an epoch is entered. A marker that is there stays: it
    /// says why.
    fn mark_untrusted(&mut self) -> Result<(), StorageError> {
        if small_file::read(&mut self.disk, Dir::Data, recover::UNTRUSTED)?.is_none() {
            small_file::replace(&mut self.disk, Dir::Data, recover::UNTRUSTED, b"")?;
        }
        epochs::write_none(&mut self.disk)
    }
}

impl Last {
    fn zxid(self) -> Zxid {
        match self {
            Last::Nothing => Zxid::NONE,
            Last::Snapshot(zxid) | Last::Record(zxid) => zxid,
        }
    }
}

/// When a snapshot is due (`SyncRequestProcessor.shouldSnapshot`): between half and all of a limit, at random, so that not
/// all servers of an ensemble take one at the same time.
///
/// Differs from ZooKeeper, where each 100,000 records cost a snapshot of the whole tree: [`Options::snap_share`].
struct Cadence {
    random: fastrand::Rng,
    snap_count: u64,
    snap_share: Option<Share>,
    snap_bytes: u64,
    records_due: u64,
    bytes_due: u64,
    /// Bytes of log before which no number of records makes a snapshot due; known when it matters.
    bytes_least: Option<u64>,
    records: u64,
    bytes: u64,
}

impl Cadence {
    fn new(options: &Options) -> Cadence {
        let mut cadence = Cadence {
            random: fastrand::Rng::with_seed(options.seed),
            snap_count: options.snap_count.max(2),
            snap_share: options.snap_share,
            snap_bytes: options.snap_bytes,
            records_due: 0,
            bytes_due: 0,
            bytes_least: None,
            records: 0,
            bytes: 0,
        };
        cadence.draw();
        cadence
    }

    fn draw(&mut self) {
        self.records_due = self.between_half_and_all(self.snap_count);
        self.bytes_due = match self.snap_bytes {
            0 => u64::MAX,
            limit => self.between_half_and_all(limit),
        };
        self.bytes_least = None;
        (self.records, self.bytes) = (0, 0);
    }

    fn between_half_and_all(&mut self, limit: u64) -> u64 {
        limit / 2 + self.random.u64(0..(limit / 2).max(1))
    }

    fn count(&mut self, report: SyncReport) {
        self.records += report.records as u64;
        self.bytes += report.bytes;
    }

    fn is_due(&mut self, disk: &mut impl Disk) -> Result<bool, StorageError> {
        let is_due =
            self.bytes > self.bytes_due || self.records > self.records_due && self.bytes > self.bytes_least(disk)?;
        if is_due {
            self.draw();
        }
        Ok(is_due)
    }

    /// By the newest snapshot, which was written since the last one was due.
    fn bytes_least(&mut self, disk: &mut impl Disk) -> Result<u64, StorageError> {
        if let Some(known) = self.bytes_least {
            return Ok(known);
        }
        let least = match self.snap_share {
            None => 0,
            Some(Share { of, in_all }) => {
                let newest = files::snapshots(disk)?.first().map_or(0, |snapshot| snapshot.len);
                self.between_half_and_all(newest / in_all * of)
            }
        };
        self.bytes_least = Some(least);
        Ok(least)
    }
}
