//! Snapshots without a pause: the driver walks the tree in slices between turns, a thread writes them to the disk.
//!
//! A snapshot is fuzzy: it holds every transaction up to the zxid in its name, and of the later ones whatever the walk met.
//! It becomes valid only when the log that it needs is durable, so the last step waits for the disk thread.

use crate::driver::Driver;
use crate::exit;
use crate::metrics::Metrics;
use bytes::Bytes;
use ensemble_proto::Zxid;
use ensemble_proto::durable::Ticket;
use ensemble_storage::{RealDisk, SnapshotWriter, StorageError, purge};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};

/// Bytes of a slice: about a millisecond of walking.
const SLICE_BYTES: usize = 256 << 10;
/// Slices that wait for the disk; then the walk waits.
const SLICES_WAITING_MAX: usize = 8;

/// Signals between the driver's turns and the task that walks.
#[derive(Default)]
pub(crate) struct Snapshots {
    due: Notify,
    durable: Notify,
    durable_up_to: Cell<Ticket>,
    /// Counts replacements of the tree: a walk that has begun before one is worthless.
    generation: Cell<u64>,
    /// Threads that have a handle to the disk. The store stays locked until they have ended, and so do we.
    threads: RefCell<Vec<JoinHandle<()>>>,
}

impl Snapshots {
    /// It is time for a snapshot; one that is being taken counts for it.
    pub(crate) fn due(&self) {
        self.due.notify_one();
    }

    /// The tree is replaced: give up the walk.
    pub(crate) fn abandon(&self) {
        self.generation.set(self.generation.get() + 1);
    }

    /// Everything up to `ticket` is durable.
    pub(crate) fn durable(&self, ticket: Ticket) {
        self.durable_up_to.set(ticket);
        self.durable.notify_one();
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut threads = self.threads.borrow_mut();
        threads.retain(|thread| !thread.is_finished());
        threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }

    async fn until_durable(&self, ticket: Ticket) {
        while self.durable_up_to.get() < ticket {
            self.durable.notified().await;
        }
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        for thread in self.threads.take() {
            let _ = thread.join();
        }
    }
}

/// What the walk sends to the thread.
enum Piece {
    Slice(Bytes),
    End { digest: u64, last_processed: Zxid },
}

/// Takes a snapshot whenever one is due, for ever.
pub(crate) async fn run(driver: Rc<Driver>) {
    loop {
        driver.snapshots.due.notified().await;
        take(&driver).await;
    }
}

async fn take(driver: &Rc<Driver>) {
    let generation = driver.snapshots.generation.get();
    let mut zxid = Zxid::NONE;
    driver.turn(|peer, _| zxid = peer.begin_snapshot());
    let (pieces, received) = mpsc::channel(SLICES_WAITING_MAX);
    let (done, finished) = oneshot::channel();
    let (disk, metrics) = (driver.disk.disk.clone(), driver.metrics.clone());
    let spawned = driver.snapshots.spawn("snapshot", move || {
        write(disk, zxid, received, &metrics);
        let _ = done.send(());
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread for a snapshot");
        return;
    }
    loop {
        let mut slice = None;
        driver.turn(|peer, _| slice = peer.snapshot_slice(SLICE_BYTES));
        if driver.snapshots.generation.get() != generation {
            tracing::info!(%zxid, "gave up a snapshot: the tree was replaced");
            return;
        }
        let Some(slice) = slice else { break };
        if pieces.send(Piece::Slice(slice)).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    let (last_processed, digest) = driver.look(|peer| peer.applied());
    driver.snapshots.until_durable(driver.issued()).await;
    if pieces.send(Piece::End { digest, last_processed }).await.is_ok() {
        let _ = finished.await;
    }
}

/// The thread: writes what comes. Without an end it leaves nothing behind but a temporary file, which the next start removes.
fn write(disk: RealDisk, zxid: Zxid, pieces: mpsc::Receiver<Piece>, metrics: &Arc<Metrics>) {
    let started = Instant::now();
    match try_write(disk, zxid, pieces) {
        Ok(true) => {
            metrics.snapshottime.observe_ms(started.elapsed());
            tracing::info!(%zxid, elapsed_ms = started.elapsed().as_millis() as u64, "snapshot written");
        }
        Ok(false) => {}
        Err(error) => {
            tracing::error!(%error, "cannot write a snapshot");
            exit::now(exit::DISK);
        }
    }
}

fn try_write(disk: RealDisk, zxid: Zxid, mut pieces: mpsc::Receiver<Piece>) -> Result<bool, StorageError> {
    let mut writer = SnapshotWriter::begin(disk, zxid)?;
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Slice(bytes)) => writer.slice(&bytes)?,
            Some(Piece::End { digest, last_processed }) => {
                writer.finish(digest, last_processed)?;
                return Ok(true);
            }
            None => return Ok(false),
        }
    }
}

/// Removes old snapshots and logs at every interval (`DatadirCleanupManager`), for ever.
pub(crate) async fn purge_at_intervals(driver: Rc<Driver>, interval: Duration, retain: usize) {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        let mut disk = driver.disk.disk.clone();
        let spawned = driver.snapshots.spawn("purge", move || match purge(&mut disk, retain) {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => tracing::info!(files = removed.len(), "purged old snapshots and logs"),
            Err(error) => tracing::error!(%error, "cannot purge old snapshots and logs"),
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for a purge");
        }
    }
}
