//! The store of one server: transaction log, snapshots, epochs, identity, in Apache ZooKeeper's formats.
//!
//! ```text
//!  Write ──► Storage::perform ──► group ──► Storage::sync ──► one write, one fdatasync ──► "durable up to ticket n"
//!                                            │
//!  dataLogDir/version-2/   log.1  log.5a  log.2_00000001        records, each file continues the one before
//!  dataDir/version-2/      snapshot.0  snapshot.59               state after a zxid; records after it are replayed
//!                          acceptedEpoch  currentEpoch           Zab's two promises
//!  dataDir/                ensemble-identity.json  initialize
//!  beside zoo.cfg          zoo.cfg.dynamic.100000000  zoo.cfg.dynamic.next    who belongs to the ensemble
//!                                            │
//!  Storage::open ◄── repair, newest sound snapshot, every record after it, epochs ◄──┘
//! ```
//!
//! # Invariants
//!
//! 1. What a call reported durable survives any crash: contents by `fdatasync`, names by a sync of the directory.
//! 2. What was not reported may be lost, whole or by sectors, and is then dropped: never half kept, never brought back later.
//! 3. The records after the snapshot have no gap. A store with a gap, with damage, or with less than it once acked is refused,
//!    or set aside whole ([`Options::repair`]), never shortened in silence: an ensemble forgives a server that stops, not one that forgets.
//! 4. Writes become durable in the order in which they were performed.
//!
//! This crate knows no protocol and no tree: a record is its zxid and bytes, a snapshot's body is opaque. It reads no clock
//! and starts no thread; whoever owns it measures and schedules.
//!
//! Sources: `FileTxnLog.java`, `FileSnap.java`, `FileTxnSnapLog.java`, `QuorumPeer.loadDataBase`, and real files of 3.8.0 and
//! 3.9.5. Deviations are marked `Differs from ZooKeeper:` where they are made.

mod compress;
mod configuration;
mod disk;
mod empty;
mod epochs;
mod error;
mod files;
mod frames;
mod identity;
pub mod inspect;
mod install;
mod inventory;
mod log_file;
mod log_reader;
mod mutants;
mod names;
mod purge;
mod real_disk;
mod recover;
mod restore;
mod room;
mod set_aside;
#[cfg(feature = "sim")]
pub mod sim_disk;
mod small_file;
mod snapshot;
mod storage;
mod take_over;
mod truncate;
mod txn_log;

pub use compress::Compression;
pub use configuration::{ConfigurationFiles, Kept, parse_dynamic};
pub use disk::{Dir, Disk, Entry};
pub use empty::empty_database;
pub use error::StorageError;
pub use identity::{FORMAT_VERSION, Identity, IdentityError};
pub use log_reader::LogReader;
pub use mutants::Mutants;
pub use names::snapshot_zxid;
pub use purge::{SNAPSHOTS_RETAINED_MIN, purge, superseded};
pub use real_disk::RealDisk;
pub use recover::{Recovered, write_initialize_marker};
pub use restore::restore;
pub use room::has_room;
pub use snapshot::{SealedSnapshot, Snapshot, SnapshotWriter, parse as parse_snapshot};
pub use storage::{Options, Share, Storage};
pub use take_over::{TakeOver, TakenOver, take_over};
pub use txn_log::SyncReport;
