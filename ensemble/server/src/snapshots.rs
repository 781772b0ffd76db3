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
use ensemble_storage::{Compression, RealDisk, SealedSnapshot, SnapshotWriter, StorageError, purge};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};

/// Bytes of a slice: about a millisecond of walking.
pub(crate) const SLICE_BYTES: usize = 256 << 10;
/// Slices that wait for the disk; then the walk waits.
const SLICES_WAITING_MAX: usize = 8;
const REPLACED: &str = "the tree was replaced by the leader's while its snapshot was taken";

/// Signals between the driver's turns and the task that walks.
#[derive(Default)]
pub(crate) struct Snapshots {
    due: Notify,
    durable: Notify,
    durable_up_to: Cell<Ticket>,
    generation: Generation,
    /// Who waits for the next snapshot to be taken.
    askers: RefCell<Vec<oneshot::Sender<Result<Zxid, String>>>>,
    /// Threads that have a handle to the disk. The store stays locked until they have ended, and so do we.
    threads: RefCell<Vec<JoinHandle<()>>>,
}

/// Counts replacements of the tree: a walk that has begun before one is worthless. Locked while a snapshot gets its name, so that
/// it cannot appear beside the files of the tree that replaces it.
#[derive(Clone, Default)]
struct Generation(Arc<Mutex<u64>>);

impl Generation {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshots {
    /// It is time for a snapshot; one that is being taken counts for it.
    pub(crate) fn due(&self) {
        self.due.notify_one();
    }

    /// Has a snapshot taken that begins after this; the zxid in its name.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn ask(&self) -> Result<Zxid, String> {
        let (answer, answered) = oneshot::channel();
        self.askers.borrow_mut().push(answer);
        self.due();
        answered.await.unwrap_or_else(|_| Err("the server has ended".into()))
    }

    /// The tree is replaced: give up the walk, and what is on the disk of it. Waits for a snapshot that is getting its name.
    pub(crate) fn abandon(&self) {
        *self.generation.lock() += 1;
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
    End { digest: Option<u64>, last_processed: Zxid },
}

/// Takes a snapshot whenever one is due, for ever.
pub(crate) async fn run(driver: Rc<Driver>) {
    loop {
        driver.snapshots.due.notified().await;
        let askers = driver.snapshots.askers.take();
        let taken = take(&driver).await;
        for asker in askers {
            let _ = asker.send(taken.clone());
        }
    }
}

/// The zxid in the name of the snapshot, or why there is none.
async fn take(driver: &Rc<Driver>) -> Result<Zxid, String> {
    let generation = *driver.snapshots.generation.lock();
    let is_replaced = || *driver.snapshots.generation.lock() != generation;
    let mut zxid = Zxid::NONE;
    driver.turn(|peer, _| zxid = peer.begin_snapshot());
    let (pieces, received) = mpsc::channel(SLICES_WAITING_MAX);
    let (done, finished) = oneshot::channel();
    let job = Job {
        disk: driver.disk.disk.clone(),
        compression: driver.disk.compression,
        zxid,
        current: driver.snapshots.generation.clone(),
        generation,
        metrics: driver.metrics.clone(),
    };
    let spawned = driver.snapshots.spawn("snapshot", move || {
        let _ = done.send(job.run(received));
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread for a snapshot");
        return Err(error.to_string());
    }
    loop {
        let mut slice = None;
        driver.turn(|peer, _| slice = peer.snapshot_slice(SLICE_BYTES));
        if is_replaced() {
            tracing::info!(%zxid, "gave up a snapshot: the tree was replaced");
            return Err(REPLACED.into());
        }
        let Some(slice) = slice else { break };
        if pieces.send(Piece::Slice(slice)).await.is_err() {
            break; // The thread has ended, and says why.
        }
        tokio::task::yield_now().await;
    }
    let (last_processed, digest) = driver.look(|peer| (peer.applied().0, peer.tree().proven_digest()));
    driver.snapshots.until_durable(driver.issued()).await;
    // Nobody takes it where the thread has ended.
    let _ = pieces.send(Piece::End { digest, last_processed }).await;
    finished.await.unwrap_or_else(|_| Err(REPLACED.into())).map(|()| zxid)
}

/// What the thread that writes a snapshot is given.
struct Job {
    disk: RealDisk,
    compression: Compression,
    zxid: Zxid,
    current: Generation,
    /// The generation of the tree that is walked.
    generation: u64,
    metrics: Arc<Metrics>,
}

impl Job {
    /// Writes what comes. Without an end, or when the tree was replaced, nothing is left behind.
    ///
    /// A full disk costs this snapshot and nothing else: the log is whole without it. Differs from ZooKeeper, which ends.
    fn run(&self, pieces: mpsc::Receiver<Piece>) -> Result<(), String> {
        let started = Instant::now();
        match self.write(pieces) {
            Ok(true) => {
                self.metrics.snapshottime.observe_ms(started.elapsed());
                let elapsed_ms = started.elapsed().as_millis() as u64;
                tracing::info!(zxid = %self.zxid, elapsed_ms, "snapshot written");
                Ok(())
            }
            Ok(false) => Err(REPLACED.into()),
            Err(error) if error.is_full() => {
                tracing::error!(%error, "no snapshot: the disk is full, and the log grows until there is one");
                Err(error.to_string())
            }
            Err(error) => {
                tracing::error!(%error, "cannot write a snapshot");
                exit::now(exit::DISK);
            }
        }
    }

    fn write(&self, pieces: mpsc::Receiver<Piece>) -> Result<bool, StorageError> {
        let mut writer = SnapshotWriter::begin(self.disk.clone(), self.zxid, self.compression)?;
        match fill(&mut writer, pieces) {
            Ok(Some((digest, last_processed))) => self.publish(writer.seal(digest, last_processed)?),
            Ok(None) => writer.discard().map(|()| false),
            Err(error) => writer.discard().and(Err(error)),
        }
    }

    fn publish(&self, sealed: SealedSnapshot<RealDisk>) -> Result<bool, StorageError> {
        let current = self.current.lock();
        if *current != self.generation {
            return sealed.discard().map(|()| false);
        }
        sealed.publish().map(|()| true)
    }
}

/// Digest and last transaction at the end of the walk; `None` when it was given up.
fn fill(
    writer: &mut SnapshotWriter<RealDisk>,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<Option<(Option<u64>, Zxid)>, StorageError> {
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Slice(bytes)) => writer.slice(&bytes)?,
            Some(Piece::End { digest, last_processed }) => return Ok(Some((digest, last_processed))),
            None => return Ok(None),
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
