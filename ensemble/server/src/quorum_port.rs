//! The quorum port: learners come in, and this server goes out to its leader. Bytes here, packets in zab.
//!
//! A server that cannot be reached, or whose name does not exist yet, is just another failed attempt.

use crate::config::{Election, Endpoint};
use crate::connection::{Connection, ReadHalf};
use crate::dial::connect;
use crate::driver::{Driver, Shared};
use bytes::BytesMut;
use ensemble_peer::Peer;
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{Decoded, PacketDecoder, QuorumPacket};
use ensemble_proto::{DecodeError, Now, ServerId};
use ensemble_zab::ConnId;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Attempts to reach a leader (`Learner.connectToLeader`).
const CONNECT_ATTEMPTS_MAX: u32 = 5;
/// Unsent bytes to one server above which it is given up.
const WAITING_BYTES_MAX: usize = 8 << 30;
/// The longest packet: PINGs carry 12 bytes a session, proposals a little more than a client's frame.
const PACKET_BYTES_MAX: usize = 64 << 20;
/// The longest snapshot that a leader may send.
const SNAPSHOT_BYTES_MAX: usize = 64 << 30;
/// Pause after an error of `accept`, which is nearly always a lack of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The quorum connections, both ways.
pub(crate) struct Connections {
    membership: Membership,
    connect_timeout: Duration,
    retry_delay: Duration,
    keepalive: bool,
    next: Cell<u64>,
    open: Shared<ConnId, Connection>,
    encoded: RefCell<BytesMut>,
}

impl Connections {
    pub(crate) fn new(membership: Membership, config: &Election) -> Connections {
        Connections {
            membership,
            connect_timeout: config.leader_connect_timeout.min(config.connect_timeout),
            retry_delay: config.leader_retry_delay,
            keepalive: config.keepalive,
            next: Cell::new(1),
            open: Shared::default(),
            encoded: RefCell::default(),
        }
    }

    /// Queues a packet; whether the connection had nothing queued before.
    pub(crate) fn queue(&self, conn: ConnId, packet: &QuorumPacket) -> bool {
        let mut encoded = self.encoded.borrow_mut();
        packet.encode(&mut encoded);
        let first = self.queue_bytes(conn, &encoded);
        encoded.clear();
        first
    }

    /// Queues bytes; whether the connection had nothing queued before.
    pub(crate) fn queue_bytes(&self, conn: ConnId, bytes: &[u8]) -> bool {
        let open = self.open.borrow();
        let Some(connection) = open.get(&conn) else { return false };
        let before = connection.waiting_bytes();
        if before > WAITING_BYTES_MAX {
            tracing::warn!(address = %connection.address, bytes = before, "closing a quorum connection that reads too slowly");
            connection.end();
            return false;
        }
        connection.queue(|waiting| waiting.extend_from_slice(bytes));
        before == 0
    }

    /// Sends what is queued in one write call.
    pub(crate) fn flush(&self, conn: ConnId) {
        if let Some(connection) = self.open.borrow().get(&conn) {
            connection.flush();
        }
    }

    /// Ends a connection after what is queued on it.
    pub(crate) fn end(&self, conn: ConnId) {
        if let Some(connection) = self.open.borrow().get(&conn) {
            connection.end_after_flush();
        }
    }
}

/// Accepts learners, for ever.
///
/// ZooKeeper listens only while it leads, and learners try several times. Here a connection that comes a little too early
/// waits as long as those attempts would take; then it is closed.
pub(crate) async fn listen(driver: Rc<Driver>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let driver = driver.clone();
                tokio::task::spawn_local(async move {
                    let patience = driver.quorum.retry_delay * CONNECT_ATTEMPTS_MAX;
                    match tokio::time::timeout(patience, driver.until_leading()).await {
                        Ok(()) => attach(&driver, stream, address, 0, |peer, now, conn| {
                            peer.handle_learner_accepted(now, conn)
                        }),
                        Err(_) => {
                            tracing::debug!(%address, "closing a learner's connection: this server does not lead")
                        }
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the quorum port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Connects to a leader's quorum port and reports how that went.
pub(crate) fn dial(driver: &Rc<Driver>, leader: ServerId, attempt: u64) {
    let driver = driver.clone();
    tokio::task::spawn_local(async move {
        let quorum = &driver.quorum;
        let Some(member) = quorum.membership.servers.get(&leader) else {
            tracing::warn!(server = leader.0, "the leader is not in the configuration");
            return driver.turn(|peer, now| peer.handle_leader_unreachable(now, attempt));
        };
        let endpoint = Endpoint { host: member.host.clone(), port: member.quorum_port };
        for round in 0..CONNECT_ATTEMPTS_MAX {
            if round > 0 {
                tokio::time::sleep(quorum.retry_delay).await;
            }
            let known = driver.election.last_address(leader);
            match connect(&endpoint, known, quorum.connect_timeout, quorum.keepalive).await {
                Ok((stream, address)) => {
                    return attach(&driver, stream, address, SNAPSHOT_BYTES_MAX, |peer, now, conn| {
                        peer.handle_leader_connected(now, attempt, conn)
                    });
                }
                Err(error) => tracing::debug!(server = leader.0, %error, "cannot reach the leader's quorum port"),
            }
        }
        tracing::info!(server = leader.0, host = endpoint.host, port = endpoint.port, "cannot reach the leader");
        driver.turn(|peer, now| peer.handle_leader_unreachable(now, attempt));
    });
}

/// Gives a stream an id, tells the peer, and reads from it until it ends.
fn attach(
    driver: &Rc<Driver>,
    stream: TcpStream,
    address: SocketAddr,
    snapshot_bytes_max: usize,
    opened: impl FnOnce(&mut Peer, Now, ConnId),
) {
    let quorum = &driver.quorum;
    let conn = ConnId(quorum.next.replace(quorum.next.get() + 1));
    let (connection, read) = Connection::new(stream, address, WAITING_BYTES_MAX);
    let connection = Rc::new(connection);
    quorum.open.borrow_mut().insert(conn, connection.clone());
    driver.turn(|peer, now| opened(peer, now, conn));
    let driver = driver.clone();
    tokio::task::spawn_local(async move {
        let decoder = PacketDecoder::new(PACKET_BYTES_MAX, snapshot_bytes_max);
        serve(&driver, conn, &connection, read, decoder).await;
        driver.quorum.open.borrow_mut().remove(&conn);
        driver.turn(|peer, now| peer.handle_closed(now, conn));
    });
}

async fn serve(
    driver: &Rc<Driver>,
    conn: ConnId,
    connection: &Connection,
    mut read: ReadHalf,
    mut decoder: PacketDecoder,
) {
    while !connection.is_ended() {
        let next = poll_fn(|cx| {
            let mut scratch = driver.scratch.borrow_mut();
            read.poll_read(cx, &mut scratch).map(|result| result.inspect(|&read| decoder.feed(&scratch[..read])))
        });
        tokio::select! {
            biased;
            result = next, if connection.is_readable() => {
                if !matches!(result, Ok(1..)) {
                    tracing::debug!(address = %connection.address, "quorum connection ended");
                    return;
                }
                if let Err(error) = deliver(driver, conn, &mut decoder) {
                    tracing::warn!(address = %connection.address, %error, "closing a quorum connection that does not speak the protocol");
                    return;
                }
            }
            () = connection.attention() => {}
        }
    }
}

/// Hands every complete packet to the peer, in one turn.
fn deliver(driver: &Rc<Driver>, conn: ConnId, decoder: &mut PacketDecoder) -> Result<(), DecodeError> {
    let mut result = Ok(());
    driver.turn_while(|peer, now| {
        match decoder.next() {
            Ok(Some(Decoded::Packet(packet))) => peer.handle_packet(now, conn, packet),
            Ok(Some(Decoded::Snapshot(stream))) => peer.handle_snapshot(now, conn, stream),
            Ok(None) => return false,
            Err(error) => {
                result = Err(error);
                return false;
            }
        }
        true
    });
    result
}
