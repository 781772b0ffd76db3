//! The quorum port, and the observer master's: learners come in, and this server goes out to its leader, or as an observer to a follower that is its master. Bytes here, packets in zab.
//!
//! A server that cannot be reached, or whose name does not exist yet, is just another failed attempt.

use crate::backlog::{Backlog, Waits};
use crate::config::Election;
use crate::connection::{Connection, ReadHalf};
use crate::dial::connect;
use crate::driver::{Driver, Shared};
use crate::listening::Listener;
use crate::roster;
use crate::snapshots::SLICE_BYTES;
use bytes::{Bytes, BytesMut};
use ensemble_peer::Peer;
use ensemble_proto::quorum::{Decoded, PacketDecoder, QuorumPacket};
use ensemble_proto::{DecodeError, Now, ServerId, Zxid};
use ensemble_storage::{LogReader, RealDisk, Share, StorageError};
use ensemble_zab::ConnId;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Attempts to reach a leader (`Learner.connectToLeader`).
const CONNECT_ATTEMPTS_MAX: u32 = 5;
/// Unsent bytes to one server, beyond a synchronisation (which leaves whole), above which its connection is closed: it comes back
/// and synchronises again. Zab itself holds back as much while a learner is not in sync.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// The longest packet: PINGs carry 12 bytes a session, proposals a little more than a client's frame.
const PACKET_BYTES_MAX: usize = 64 << 20;
/// The longest snapshot that a leader may send; a longer one ends the connection, and this server stays out. Its tree is in
/// memory beside the present one until it is whole.
const SNAPSHOT_BYTES_MAX: usize = 8 << 30;
/// Pause after an error of `accept`, which is nearly always a lack of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The quorum connections, both ways.
pub(crate) struct Connections {
    connect_timeout: Duration,
    retry_delay: Duration,
    keepalive: bool,
    observer_master_port: Option<u16>,
    next: Cell<u64>,
    /// Whom this server last reached: its leader, or the follower that is its master.
    reached: Cell<Option<ServerId>>,
    open: Shared<ConnId, Open>,
    /// Where the log is being read for learners.
    readers: RefCell<HashMap<ConnId, LogReader<RealDisk>>>,
    log: LogSource,
    encoded: RefCell<BytesMut>,
}

/// A connection, and what waits on it for the other side.
struct Open {
    connection: Connection,
    backlog: RefCell<Backlog>,
}

impl Open {
    /// The kernel was offered what waits.
    fn note_sent(&self, now: Duration) {
        self.backlog.borrow_mut().sent(now, self.connection.waiting_bytes());
    }
}

impl Connections {
    pub(crate) fn new(config: &Election, log: LogSource) -> Connections {
        Connections {
            connect_timeout: config.leader_connect_timeout.min(config.connect_timeout),
            retry_delay: config.leader_retry_delay,
            keepalive: config.keepalive,
            observer_master_port: config.observer_master_port,
            next: Cell::new(1),
            reached: Cell::new(None),
            open: Shared::default(),
            readers: RefCell::default(),
            log,
            encoded: RefCell::default(),
        }
    }

    /// Queues a packet; whether the connection had nothing queued before.
    pub(crate) fn queue(&self, now: impl FnOnce() -> Duration, conn: ConnId, packet: &QuorumPacket) -> bool {
        let Some(open) = self.open.borrow().get(&conn).cloned() else { return false };
        let is_first = open.connection.waiting_bytes() == 0;
        let mut encoded = self.encoded.borrow_mut();
        packet.encode(&mut encoded);
        open.connection.queue(|waiting| waiting.extend_from_slice(&encoded));
        open.backlog.borrow_mut().queue(now, encoded.len());
        encoded.clear();
        is_first
    }

    /// Queues a slice of a snapshot; whether the connection had nothing queued before.
    pub(crate) fn queue_slice(&self, conn: ConnId, slice: Bytes) -> bool {
        let Some(open) = self.open.borrow().get(&conn).cloned() else { return false };
        let is_first = open.connection.waiting_bytes() == 0;
        open.backlog.borrow_mut().queue_bytes(slice.len());
        open.connection.queue_block(slice);
        is_first
    }

    /// Has the connection's task say when there is room on it.
    pub(crate) fn await_room(&self, conn: ConnId) {
        if let Some(open) = self.open.borrow().get(&conn) {
            open.connection.await_room();
        }
    }

    /// Sends what is queued in one write call.
    pub(crate) fn flush(&self, now: Duration, conn: ConnId) {
        if let Some(open) = self.open.borrow().get(&conn) {
            open.connection.flush();
            open.note_sent(now);
        }
    }

    /// What has waited on a connection, while it is open.
    pub(crate) fn waits(&self, conn: ConnId) -> Option<Waits> {
        self.open.borrow().get(&conn).map(|open| open.backlog.borrow().waits().clone())
    }

    /// The server that this one follows or observes by, while it does: its leader, or the follower that is its master.
    pub(crate) fn reached(&self) -> Option<ServerId> {
        self.reached.get()
    }

    /// Ends a connection after what is queued on it.
    pub(crate) fn end(&self, conn: ConnId) {
        if let Some(open) = self.open.borrow().get(&conn) {
            open.connection.end_after_flush();
        }
    }
}

/// Accepts observers, for ever. One that comes before this server follows is closed at once: there are other masters.
pub(crate) async fn listen_for_observers(driver: Rc<Driver>, mut listener: Listener) {
    loop {
        let (stream, address) = listener.accept().await;
        attach(&driver, stream, address, Side::Learner, |peer, now, conn| peer.handle_observer_accepted(now, conn));
    }
}

/// Accepts learners, for ever.
///
/// ZooKeeper listens only while it leads, and learners try several times. Here a connection that comes a little too early
/// waits as long as those attempts would take; then it is closed.
pub(crate) async fn listen(driver: Rc<Driver>, mut listener: Listener) {
    loop {
        let (stream, address) = listener.accept().await;
        let driver = driver.clone();
        tokio::task::spawn_local(async move {
            let patience = driver.quorum.retry_delay * CONNECT_ATTEMPTS_MAX;
            match tokio::time::timeout(patience, driver.until_leading()).await {
                Ok(()) => attach(&driver, stream, address, Side::Learner, |peer, now, conn| {
                    peer.handle_learner_accepted(now, conn)
                }),
                Err(_) => tracing::debug!(%address, "closing a learner's connection: this server does not lead"),
            }
        });
    }
}

/// Connects to a leader's quorum port and reports how that went.
pub(crate) fn dial(driver: &Rc<Driver>, leader: ServerId, attempt: u64) {
    let driver = driver.clone();
    tokio::task::spawn_local(async move {
        let quorum = &driver.quorum;
        // Differs from ZooKeeper: where an observer with a master's port never asks the leader.
        let masters = quorum.observer_master_port.map(|port| driver.election.observer_masters(port, leader, attempt));
        for (id, endpoint) in masters.unwrap_or_default() {
            let known = driver.election.last_address(id);
            if let Ok((stream, address)) = connect(&endpoint, known, quorum.connect_timeout, quorum.keepalive).await {
                tracing::debug!(server = id.0, "observing behind a follower");
                quorum.reached.set(Some(id));
                return attach(&driver, stream, address, Side::Leader, |peer, now, conn| {
                    peer.handle_leader_connected(now, attempt, conn)
                });
            }
        }
        let places = driver.election.quorum_places(leader);
        if places.is_empty() {
            tracing::warn!(server = leader.0, "the leader is not in the configuration");
        }
        // In turn, where a reconfiguration that is under way moves it.
        for (round, endpoint) in places.iter().cycle().take(CONNECT_ATTEMPTS_MAX as usize).enumerate() {
            if round > 0 {
                tokio::time::sleep(quorum.retry_delay).await;
            }
            let known = driver.election.last_address(leader);
            match connect(endpoint, known, quorum.connect_timeout, quorum.keepalive).await {
                Ok((stream, address)) => {
                    quorum.reached.set(Some(leader));
                    return attach(&driver, stream, address, Side::Leader, |peer, now, conn| {
                        peer.handle_leader_connected(now, attempt, conn)
                    });
                }
                Err(error) => tracing::debug!(server = leader.0, %error, "cannot reach the leader's quorum port"),
            }
        }
        let tried: Vec<_> = places.iter().map(|place| roster::address(&place.host, place.port)).collect();
        tracing::info!(server = leader.0, tried = tried.join(" and "), "cannot reach the leader");
        driver.turn(|peer, now| peer.handle_leader_unreachable(now, attempt));
    });
}

/// Reads a slice of the log for a learner, away from the driver's thread, and reports it. What cannot be read is no source: the
/// learner gets a snapshot.
pub(crate) fn read_log(driver: &Rc<Driver>, conn: ConnId, after: Zxid) {
    let driver = driver.clone();
    tokio::task::spawn_local(async move {
        let (disk, LogSource { share, record_bytes_max }) = (driver.disk.disk.clone(), driver.quorum.log);
        let reader = driver.quorum.readers.borrow_mut().remove(&conn).filter(|reader| reader.position() == after);
        let read = move || -> Result<_, StorageError> {
            let reader = match reader {
                Some(reader) => Some(reader),
                None => LogReader::open(disk, after, share, record_bytes_max)?,
            };
            let Some(mut reader) = reader else { return Ok(None) };
            let slice = reader.slice(SLICE_BYTES)?;
            Ok(Some((reader, slice)))
        };
        let (reader, slice) = match tokio::task::spawn_blocking(read).await {
            Ok(Ok(read)) => read.unzip(),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the log cannot be read for a learner");
                (None, None)
            }
            Err(_) => (None, None),
        };
        if let Some(reader) = reader.filter(|_| driver.quorum.open.borrow().contains_key(&conn)) {
            driver.quorum.readers.borrow_mut().insert(conn, reader);
        }
        driver.turn(|peer, now| peer.handle_log(now, conn, slice));
    });
}

/// How the log serves as a source for learners.
#[derive(Clone, Copy)]
pub(crate) struct LogSource {
    /// Of the newest snapshot, how long the log may be that is read instead of it; `None` is no limit.
    pub(crate) share: Option<Share>,
    /// The longest record.
    pub(crate) record_bytes_max: u64,
}

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Leader,
    Learner,
}

/// Gives a stream an id, tells the peer, and reads from it until it ends.
fn attach(
    driver: &Rc<Driver>,
    stream: TcpStream,
    address: SocketAddr,
    side: Side,
    opened: impl FnOnce(&mut Peer, Now, ConnId),
) {
    let quorum = &driver.quorum;
    let conn = ConnId(quorum.next.replace(quorum.next.get() + 1));
    let (connection, read) = Connection::new(stream, address, WAITING_BYTES_MAX);
    let open = Rc::new(Open { connection, backlog: RefCell::default() });
    quorum.open.borrow_mut().insert(conn, open.clone());
    driver.turn(|peer, now| opened(peer, now, conn));
    let driver = driver.clone();
    tokio::task::spawn_local(async move {
        serve(&driver, conn, &open, side, read).await;
        driver.quorum.open.borrow_mut().remove(&conn);
        driver.quorum.readers.borrow_mut().remove(&conn);
        driver.turn(|peer, now| peer.handle_closed(now, conn));
    });
}

async fn serve(driver: &Rc<Driver>, conn: ConnId, open: &Open, side: Side, mut read: ReadHalf) {
    let connection = &open.connection;
    let snapshot_bytes_max = if side == Side::Leader { SNAPSHOT_BYTES_MAX } else { 0 };
    let mut decoder = PacketDecoder::new(PACKET_BYTES_MAX, snapshot_bytes_max);
    while !connection.is_ended() {
        open.note_sent(driver.clock.elapsed());
        if connection.takes_next_block() {
            driver.turn(|peer, now| peer.handle_writable(now, conn));
            // Clients are served between two slices.
            tokio::task::yield_now().await;
            continue;
        }
        let unsent = connection.waiting_bytes();
        // A learner's packets cause no record here that is not bounded already, and its acknowledgements are what makes room.
        let is_disk_full = side == Side::Leader && driver.disk.progress.is_full();
        let next = poll_fn(|cx| {
            let mut scratch = driver.scratch.borrow_mut();
            read.poll_read(cx, &mut scratch).map(|result| result.inspect(|&read| decoder.feed(&scratch[..read])))
        });
        tokio::select! {
            biased;
            result = next, if connection.is_readable() && !is_disk_full => {
                if !matches!(result, Ok(1..)) {
                    tracing::debug!(address = %connection.address, "quorum connection ended");
                    return;
                }
                if let Err(error) = deliver(driver, conn, &mut decoder) {
                    tracing::warn!(address = %connection.address, %error, "closing a quorum connection that does not speak the protocol");
                    return;
                }
            }
            () = connection.attention() => {
                if connection.waiting_bytes() < unsent {
                    driver.turn(|peer, now| peer.handle_progress(now, conn));
                }
            }
            () = driver.until_disk_has_room(), if is_disk_full => {}
        }
    }
}

/// Hands every complete packet to the peer, in one turn.
fn deliver(driver: &Rc<Driver>, conn: ConnId, decoder: &mut PacketDecoder) -> Result<(), DecodeError> {
    let mut result = Ok(());
    driver.turn_while(|peer, now| {
        match decoder.next() {
            Ok(Some(Decoded::Packet(packet))) => peer.handle_packet(now, conn, packet),
            Ok(Some(Decoded::SnapshotPart(part))) => peer.handle_snapshot_part(now, conn, part),
            Ok(Some(Decoded::SnapshotEnd)) => peer.handle_snapshot_end(now, conn),
            Ok(None) => {
                if !decoder.is_empty() {
                    peer.handle_progress(now, conn);
                }
                return false;
            }
            Err(error) => {
                result = Err(error);
                return false;
            }
        }
        true
    });
    result
}
