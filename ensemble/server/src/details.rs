//! Lists of single connections, sessions, ephemeral znodes and watches, for the four-letter words and the admin port.
//!
//! They are taken from the peer in slices, between which the server goes on: what is listed first may be gone when the last is listed.
//! Whole are the watches of one connection, and the expiry of all sessions. Few lists are made at a time; the others wait for their turn.

use crate::config::{Directories, Settings};
use crate::driver::Driver;
use ensemble_peer::{ClientId, ClientStatus, Expiries, Peer, WatchSummary};
use ensemble_proto::{Now, SessionId, Zxid};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirEntry;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Connections, paths or znodes that are taken at once; the watches of one connection are, however many.
const SLICE_ENTRIES: usize = 1000;
/// Watches, or ephemeral znodes, in one list. What there is beyond is left out, and the log says so.
const LISTED_MAX: usize = 1_000_000;

/// Lists that are made, or on their way to a four-letter word's connection, at once: each is a copy in memory.
const LISTS_MAX: usize = 4;

/// Lets [`LISTS_MAX`] lists be made at a time.
pub(crate) struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Turns {
        Turns(Semaphore::new(LISTS_MAX))
    }
}

impl Turns {
    /// Waits for a turn, which lasts until it is dropped. `None` never comes: nobody closes them.
    pub(crate) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        self.0.acquire().await.ok()
    }
}

/// Lets the server go on after every [`SLICE_ENTRIES`].
#[derive(Default)]
pub(crate) struct Pace(usize);

impl Pace {
    /// So much was done.
    pub(crate) async fn step(&mut self, entries: usize) {
        self.0 += entries;
        if self.0 >= SLICE_ENTRIES {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    pub(crate) address: SocketAddr,
    /// Java's set of what a connection waits for: 1 for reading, 4 for writing.
    pub(crate) interest: u8,
    pub(crate) status: ClientStatus,
}

/// Every connection, in the order in which they came.
pub(crate) async fn connections(driver: &Driver) -> Vec<Connected> {
    let ids = driver.look(Peer::client_ids);
    let mut connections = Vec::with_capacity(ids.len());
    for slice in ids.chunks(SLICE_ENTRIES) {
        driver.look(|peer| connections.extend(slice.iter().filter_map(|id| connected(driver, peer, *id))));
        tokio::task::yield_now().await;
    }
    connections
}

fn connected(driver: &Driver, peer: &Peer, id: ClientId) -> Option<Connected> {
    let (status, connection) = (peer.client(id)?, driver.clients.connection(id)?);
    let interest = match (status.has_said_word, connection.is_readable(), connection.waiting_bytes() > 0) {
        (true, _, _) => 0,
        (false, reads, writes) => u8::from(reads) + 4 * u8::from(writes),
    };
    Some(Connected { address: connection.address, interest, status })
}

/// Begins anew to count on every connection.
pub(crate) async fn reset_connections(driver: &Rc<Driver>) {
    for slice in driver.look(Peer::client_ids).chunks(SLICE_ENTRIES) {
        driver.turn(|peer, _| slice.iter().for_each(|id| peer.reset_connection_statistics(*id)));
        tokio::task::yield_now().await;
    }
}

/// The watches of data of every session.
#[derive(Default)]
pub(crate) struct Watched(pub(crate) BTreeMap<SessionId, BTreeSet<Arc<str>>>);

/// Who watches what.
pub(crate) async fn watches(driver: &Driver) -> Watched {
    let ids = driver.look(Peer::client_ids);
    let (mut watched, mut pace, mut listed) = (Watched::default(), Pace::default(), 0);
    for (index, id) in ids.iter().enumerate() {
        let (session, paths) = driver.look(|peer| (peer.client(*id).and_then(|c| c.session), peer.watched_paths(*id)));
        pace.step(1 + paths.len()).await;
        let Some(session) = session.filter(|_| !paths.is_empty()) else { continue };
        listed += paths.len();
        if listed > LISTED_MAX {
            tracing::warn!(connections = ids.len() - index, LISTED_MAX, "a list of watches leaves out connections");
            break;
        }
        let paths = sorted(paths, &mut pace).await;
        watched.0.insert(session, paths);
    }
    watched
}

/// In order and each once: in steps, for a connection may have very many.
async fn sorted(paths: Vec<Arc<str>>, pace: &mut Pace) -> BTreeSet<Arc<str>> {
    let mut sorted = BTreeSet::new();
    for path in paths {
        sorted.insert(path);
        pace.step(1).await;
    }
    sorted
}

/// The sessions that watch each path.
pub(crate) async fn by_path(watched: &Watched) -> BTreeMap<&str, BTreeSet<SessionId>> {
    let (mut by_path, mut pace): (BTreeMap<&str, BTreeSet<SessionId>>, _) = (BTreeMap::new(), Pace::default());
    for (session, paths) in &watched.0 {
        for path in paths {
            by_path.entry(path).or_default().insert(*session);
            pace.step(1).await;
        }
    }
    by_path
}

/// How many watches of data there are.
pub(crate) async fn watch_summary(driver: &Driver) -> WatchSummary {
    match driver.look(Peer::watch_summary) {
        Some(summary) => summary,
        None => {
            let watched = watches(driver).await;
            let (paths, total) = (by_path(&watched).await.len(), watched.0.values().map(BTreeSet::len).sum());
            WatchSummary { connections: watched.0.len(), paths, total }
        }
    }
}

/// What is known of sessions: of those of the ensemble when each expires, or only how long each may be silent, in milliseconds.
pub(crate) struct Sessions {
    pub(crate) now: Now,
    pub(crate) local: Option<Expiries<SessionId>>,
    pub(crate) global: Global,
}

/// The sessions of the ensemble.
pub(crate) enum Global {
    /// Their leader knows when they expire.
    Tracked(Expiries<SessionId>),
    /// Their timeouts, in milliseconds.
    Known(Vec<(SessionId, i32)>),
}

/// Every session that this server knows, at one moment.
pub(crate) fn sessions(driver: &Driver) -> Sessions {
    driver.look(|peer| Sessions {
        now: driver.clock.now(),
        local: peer.local_session_expiries(),
        global: match peer.session_expiries() {
            Some(expiries) => Global::Tracked(expiries),
            None => Global::Known(
                peer.tree().sessions().iter().map(|(session, timeout_ms)| (*session, *timeout_ms)).collect(),
            ),
        },
    })
}

/// The ephemeral znodes of every session that has some.
pub(crate) async fn ephemerals(driver: &Driver) -> Vec<(SessionId, Vec<String>)> {
    let owners: Vec<SessionId> = driver.look(|peer| peer.tree().ephemeral_owners().collect());
    let (mut pace, mut listed, mut found) = (Pace::default(), 0, Vec::new());
    for (index, session) in owners.iter().enumerate() {
        let (mut paths, mut mark) = (Vec::new(), None);
        loop {
            let (taken, next) = driver.look(|peer| peer.tree().ephemerals_after(*session, mark, SLICE_ENTRIES));
            pace.step(1 + taken.len()).await;
            paths.extend(taken);
            mark = next;
            if mark.is_none() || listed + paths.len() > LISTED_MAX {
                break;
            }
        }
        listed += paths.len();
        if !paths.is_empty() {
            found.push((*session, paths));
        }
        if listed > LISTED_MAX {
            tracing::warn!(
                sessions = owners.len() - index,
                LISTED_MAX,
                "a list of ephemeral znodes leaves out sessions"
            );
            break;
        }
    }
    found
}

/// Bytes of the files in the directories of snapshots and of logs.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Sizes {
    pub(crate) data: u64,
    pub(crate) log: u64,
}

/// Where snapshots are, and logs.
pub(crate) fn directories(settings: &Settings) -> (PathBuf, PathBuf) {
    let Directories { data, log } = &settings.directories;
    (data.join("version-2"), log.join("version-2"))
}

/// A snapshot on the disk.
pub(crate) struct SnapshotFile {
    pub(crate) zxid: Zxid,
    pub(crate) modified: SystemTime,
    pub(crate) path: PathBuf,
}

/// Every snapshot. Asks the file system, which may not answer.
pub(crate) fn snapshot_files(settings: &Settings) -> Vec<SnapshotFile> {
    let entries = std::fs::read_dir(directories(settings).0).into_iter().flatten().flatten();
    let snapshot = |entry: DirEntry| {
        let zxid = ensemble_storage::snapshot_zxid(entry.file_name().to_str()?)?;
        let modified = entry.metadata().and_then(|file| file.modified()).ok()?;
        Some(SnapshotFile { zxid, modified, path: entry.path() })
    };
    entries.filter_map(snapshot).collect()
}

/// Asks the file system, on another thread: it may not answer.
pub(crate) async fn sizes(settings: &Settings) -> Sizes {
    let (data, log) = directories(settings);
    let size = |directory: &Path| -> u64 {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
    };
    let sizes = tokio::task::spawn_blocking(move || Sizes { data: size(&data), log: size(&log) });
    sizes.await.unwrap_or_default()
}
