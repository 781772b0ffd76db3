//! The thread that owns the store: one append and one `fdatasync` for everything that is waiting.
//!
//! While a group is being synced the driver decodes and proposes the next one; whatever has come in meanwhile is the next
//! group. So the slower the disk, the larger the groups, and the rate of writes does not depend on the rate of syncs.
//!
//! More than [`WAITING_BYTES_MAX`] of records that wait is too much for this disk: then the ports read neither clients nor a leader
//! until there is room, and TCP tells them.
//!
//! A failed write or sync ends the process at once (code 10): after a failed `fsync` nobody knows what is on the disk, and a
//! server that acknowledged on hope would break what the ensemble promised. A disk that does not answer at all ends it too; see
//! [`crate::disk_watchdog`].
//!
//! A full disk ends the server but not the process: the thread ends, nothing more is reported durable, and the server is built
//! anew from its store when there is room again ([`crate::member`]).

use crate::disk_watchdog::{Watchdog, Work};
use crate::exit;
use crate::metrics::Metrics;
use crate::pause::Witness;
use ensemble_proto::durable::{Ticket, Write};
use ensemble_storage::{Compression, RealDisk, Storage, StorageError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Records handed over and not durable, in bytes, above which nobody is read who could cause more. A turn may go over it by what
/// it read.
pub(crate) const WAITING_BYTES_MAX: usize = 64 << 20;
/// What a record counts beyond its payload.
const RECORD_BYTES: usize = 64;

/// Writes of one turn.
pub(crate) type Group = Vec<(Ticket, Write)>;

/// A group, and when it was handed over.
struct Handed {
    group: Group,
    at: Instant,
}

/// What the thread tells the driver.
#[derive(Default)]
pub(crate) struct Progress {
    durable: AtomicU64,
    waiting_bytes: AtomicUsize,
    waiting_records: AtomicUsize,
    snapshot_due: AtomicBool,
    out_of_room: AtomicBool,
    changed: Notify,
}

impl Progress {
    /// Waits until something has happened since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The highest ticket that is durable.
    pub(crate) fn durable(&self) -> Ticket {
        Ticket(self.durable.load(Ordering::Acquire))
    }

    /// Whether too much waits.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting_bytes.load(Ordering::Acquire) > WAITING_BYTES_MAX
    }

    /// Whether the disk is full: the thread has ended, and nothing more becomes durable.
    pub(crate) fn is_out_of_room(&self) -> bool {
        self.out_of_room.load(Ordering::Acquire)
    }

    /// Whether a snapshot became due since the last call.
    pub(crate) fn take_snapshot_due(&self) -> bool {
        self.snapshot_due.swap(false, Ordering::AcqRel)
    }
}

/// The driver's side of the thread.
pub(crate) struct DiskThread {
    groups: Option<Sender<Handed>>,
    metrics: Arc<Metrics>,
    pub(crate) progress: Arc<Progress>,
    /// For snapshots and purges, on threads of their own.
    pub(crate) disk: RealDisk,
    /// How snapshots are written.
    pub(crate) compression: Compression,
    thread: Option<JoinHandle<()>>,
    _watchdog: Watchdog,
}

/// How long a disk may take.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// A slower sync is logged (`fsync.warningthresholdms`).
    pub(crate) warn: Duration,
    /// A disk that is silent for longer does not answer any more.
    pub(crate) limit: Duration,
    /// Whether others can go on without this server.
    pub(crate) has_peers: bool,
}

impl DiskThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn start(
        storage: Storage<RealDisk>,
        patience: Patience,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<DiskThread> {
        let (groups, waiting) = channel();
        let progress = Arc::new(Progress::default());
        let (disk, compression) = (storage.disk(), storage.compression());
        let work = Arc::new(Work::default());
        let watchdog = Watchdog::start(work.clone(), patience.limit, patience.has_peers)?;
        let fsync_warning = patience.warn;
        let worker =
            Worker { storage, waiting, progress: progress.clone(), work, fsync_warning, metrics: metrics.clone() };
        let thread = std::thread::Builder::new().name("disk".to_owned()).spawn(move || worker.run())?;
        let groups = Some(groups);
        Ok(DiskThread { groups, metrics, progress, disk, compression, thread: Some(thread), _watchdog: watchdog })
    }

    /// Hands over the writes of a turn.
    pub(crate) fn persist(&self, group: Group) {
        self.progress.waiting_bytes.fetch_add(weight(&group), Ordering::AcqRel);
        let records = count_records(&group);
        self.progress.waiting_records.fetch_add(records, Ordering::Relaxed);
        self.metrics.sync_processor_request_queued.inc_by(records as u64);
        if let Some(groups) = &self.groups {
            // The thread ends before this handle only by ending the process, or when the disk is full.
            let _ = groups.send(Handed { group, at: Instant::now() });
        }
    }
}

impl Drop for DiskThread {
    /// Waits until everything handed over is durable.
    fn drop(&mut self) {
        drop(self.groups.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    storage: Storage<RealDisk>,
    waiting: Receiver<Handed>,
    progress: Arc<Progress>,
    work: Arc<Work>,
    fsync_warning: Duration,
    metrics: Arc<Metrics>,
}

impl Worker {
    fn run(mut self) {
        while let Ok(handed) = self.waiting.recv() {
            self.work.begin();
            match self.persist(handed) {
                Ok(()) => {}
                Err(error) if error.is_full() => {
                    tracing::error!(%error, "the disk is full: this server stops until there is room");
                    self.work.end();
                    self.progress.out_of_room.store(true, Ordering::Release);
                    self.progress.changed.notify_one();
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "the store failed, nothing more can be promised");
                    exit::now(exit::DISK);
                }
            }
            self.work.end();
            self.progress.changed.notify_one();
        }
    }

    /// Performs the group and everything else that waits, and syncs once.
    fn persist(&mut self, handed: Handed) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        let mut last = self.perform(handed, &mut batch)?;
        while let Ok(handed) = self.waiting.try_recv() {
            last = last.max(self.perform(handed, &mut batch)?);
        }
        let started = Instant::now();
        let report = self.storage.sync()?;
        if report.records > 0 {
            self.record_sync(started.elapsed(), report.records, &batch);
        }
        let weights = batch.weight;
        self.progress.durable.store(last.0, Ordering::Release);
        self.progress.waiting_bytes.fetch_sub(weights, Ordering::AcqRel);
        if self.storage.snapshot_due()? {
            self.progress.snapshot_due.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn perform(&mut self, Handed { group, at }: Handed, batch: &mut Batch) -> Result<Ticket, StorageError> {
        let records = count_records(&group);
        if records > 0 {
            let waiting = self.progress.waiting_records.fetch_sub(records, Ordering::Relaxed);
            self.metrics.sync_processor_queue_size.observe(waiting as f64);
            self.metrics.sync_processor_queue_time_ms.observe_ms_times(at.elapsed(), records);
            batch.handed.push((at, records));
        }
        batch.weight += weight(&group);
        let started = Instant::now();
        let mut last = Ticket::default();
        let effort = group.iter().map(|(_, write)| self.effort(write)).sum();
        self.work.add(effort);
        for (ticket, write) in &group {
            self.storage.perform(write)?;
            last = *ticket;
        }
        batch.written += started.elapsed();
        Ok(last)
    }

    /// Bytes that a write brings to the disk, or reads from it, about.
    fn effort(&mut self, write: &Write) -> u64 {
        match write {
            Write::Truncate { to } => self.storage.truncation_len(*to),
            write => record_len(write).unwrap_or(0) as u64,
        }
    }

    fn record_sync(&self, took: Duration, records: usize, batch: &Batch) {
        let metrics = &self.metrics;
        metrics.pauses.notice(took, Witness::Fsync);
        let is_slow = metrics.record_fsync(took, self.fsync_warning);
        metrics.sync_processor_queue_flush_time_ms.observe_ms(took);
        metrics.sync_process_time.observe_ms(batch.written);
        metrics.sync_processor_batch_size.observe(records as f64);
        for (at, records) in &batch.handed {
            metrics.sync_processor_queue_and_flush_time_ms.observe_ms_times(at.elapsed(), *records);
        }
        if is_slow {
            tracing::warn!(elapsed_ms = took.as_millis() as u64, "fsync of the transaction log is slow");
        }
    }
}

/// What one sync makes durable.
#[derive(Default)]
struct Batch {
    /// When groups were handed over, and their records.
    handed: Vec<(Instant, usize)>,
    /// What counts towards [`WAITING_BYTES_MAX`].
    weight: usize,
    /// How long writing it took.
    written: Duration,
}

fn count_records(group: &Group) -> usize {
    group.iter().filter(|(_, write)| matches!(write, Write::Append { .. })).count()
}

/// Bytes that a write brings to the disk, about; `None` for one that is small.
fn record_len(write: &Write) -> Option<usize> {
    match write {
        Write::Append { payload: bytes, .. } | Write::SnapshotPart { bytes } => Some(bytes.len()),
        Write::AcceptedEpoch(_) | Write::CurrentEpoch(_) | Write::Truncate { .. } => None,
        Write::ReceiveSnapshot { .. } | Write::AbandonSnapshot | Write::InstallSnapshot { .. } => None,
        Write::LastSeen(_) | Write::Membership(_) => None,
    }
}

/// What a group counts towards [`WAITING_BYTES_MAX`].
fn weight(group: &Group) -> usize {
    group.iter().filter_map(|(_, write)| record_len(write)).map(|len| len + RECORD_BYTES).sum()
}
