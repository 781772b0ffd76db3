//! The client port: accepts, counts, cuts frames, answers four-letter words, and keeps slow readers from costing memory.
//!
//! A read takes no hand-over: the task of a connection reads what is there, hands every complete frame to the peer in one
//! turn, and the turn ends with one write call for each connection that got something.

use crate::connection::{Connection, ReadHalf};
use crate::driver::{Driver, Shared};
use crate::four_letter::{Asked, First, Words};
use crate::frames::{self, BadLength};
use crate::listening::Listener;
use crate::log::CLIENTS;
use ensemble_peer::ClientId;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Unsent bytes above which a connection is not read: whoever does not take answers may not ask.
const WAITING_BYTES_PAUSE: usize = 1 << 20;
/// Unsent bytes above which a connection is closed: watch events cannot be held back otherwise. One answer may be longer.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Limits of the port.
pub(crate) struct Limits {
    /// Connections from one address, 0 for no limit (`maxClientCnxns`).
    pub(crate) per_address: usize,
    /// Connections in all, 0 for no limit (`maxCnxns`).
    pub(crate) total: usize,
    /// Longest frame (`jute.maxbuffer`).
    pub(crate) frame_bytes_max: usize,
}

/// The client connections of one server.
pub(crate) struct ClientPort {
    limits: Limits,
    pub(crate) words: Words,
    next: Cell<u64>,
    open: Shared<ClientId, Connection>,
    per_address: RefCell<HashMap<IpAddr, usize>>,
    closed: Notify,
}

impl ClientPort {
    pub(crate) fn new(limits: Limits, words: Words) -> ClientPort {
        ClientPort {
            limits,
            words,
            next: Cell::new(1),
            open: Shared::default(),
            per_address: RefCell::default(),
            closed: Notify::new(),
        }
    }

    /// A connection, while it is open.
    pub(crate) fn connection(&self, client: ClientId) -> Option<Rc<Connection>> {
        self.open.borrow().get(&client).cloned()
    }

    /// Where a connection came from, while it is open.
    pub(crate) fn address(&self, client: ClientId) -> Option<SocketAddr> {
        self.open.borrow().get(&client).map(|connection| connection.address)
    }

    /// Ends every connection after what is queued on it.
    pub(crate) fn end_all(&self) {
        for connection in self.open.borrow().values() {
            connection.end_after_flush();
        }
    }

    /// Waits until every connection is closed.
    pub(crate) async fn until_closed(&self) {
        while !self.open.borrow().is_empty() {
            self.closed.notified().await;
        }
    }

    /// Whether one more connection from there is within the limits; counts it if so.
    fn admit(&self, address: IpAddr) -> bool {
        let Limits { per_address, total, .. } = self.limits;
        let mut counts = self.per_address.borrow_mut();
        let count = counts.entry(address).or_default();
        let is_admitted =
            (per_address == 0 || *count < per_address) && (total == 0 || self.open.borrow().len() < total);
        if is_admitted {
            *count += 1;
        } else if *count == 0 {
            counts.remove(&address);
        }
        is_admitted
    }

    fn release(&self, address: IpAddr) {
        let mut counts = self.per_address.borrow_mut();
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

/// Accepts clients, for ever.
pub(crate) async fn listen(driver: Rc<Driver>, mut listener: Listener) {
    loop {
        let (stream, address) = listener.accept().await;
        accept(&driver, stream, address);
    }
}

fn accept(driver: &Rc<Driver>, stream: TcpStream, address: SocketAddr) {
    let port = &driver.clients;
    driver.metrics.connection_request_count.inc();
    if !port.admit(address.ip()) {
        driver.metrics.connections_refused.inc();
        tracing::warn!(target: CLIENTS, %address, "refusing a client: too many connections");
        return;
    }
    let client = ClientId(port.next.replace(port.next.get() + 1));
    let (connection, read) = Connection::new(stream, address, WAITING_BYTES_MAX);
    let connection = Rc::new(connection);
    port.open.borrow_mut().insert(client, connection.clone());
    driver.turn(|peer, now| peer.handle_client_open(now, client, address.ip()));
    let driver = driver.clone();
    tokio::task::spawn_local(async move {
        serve(&driver, client, &connection, read).await;
        driver.clients.open.borrow_mut().remove(&client);
        driver.clients.release(address.ip());
        driver.clients.closed.notify_one();
        driver.metrics.connection_drop_count.inc();
        driver.turn(|peer, now| peer.handle_client_closed(now, client));
    });
}

async fn serve(driver: &Rc<Driver>, client: ClientId, connection: &Connection, mut read: ReadHalf) {
    let mut input = Input { partial: Vec::new(), is_first: true, asked: None };
    while !connection.is_ended() {
        if let Some(asked) = input.asked.take() {
            driver.turn(|peer, _| peer.handle_four_letter_word(client));
            driver.clients.words.answer(asked, driver, connection).await;
            continue;
        }
        let is_disk_full = driver.disk.progress.is_full();
        if !input.partial.is_empty() && is_readable(connection) && !is_disk_full {
            // Frames that arrived before the connection was paused.
            input.drain_partial(driver, client, connection);
        }
        let next = poll_fn(|cx| {
            let mut scratch = driver.scratch.borrow_mut();
            read.poll_read(cx, &mut scratch).map(|result| match result {
                Ok(read) if read > 0 => {
                    input.receive(driver, client, connection, &scratch[..read]);
                    true
                }
                _ => false,
            })
        });
        tokio::select! {
            biased;
            is_open = next, if is_readable(connection) && !is_disk_full => if !is_open { return },
            () = connection.attention() => {}
            () = driver.until_disk_has_room(), if is_disk_full => {}
        }
    }
}

fn is_readable(connection: &Connection) -> bool {
    connection.is_readable() && connection.waiting_bytes() <= WAITING_BYTES_PAUSE
}

/// What has arrived and is not a complete frame yet.
struct Input {
    partial: Vec<u8>,
    /// Nothing has been understood yet: the next four bytes may be a four-letter word.
    is_first: bool,
    /// A four-letter word: nothing else is read.
    asked: Option<Asked>,
}

impl Input {
    /// Takes what was read. The bytes are copied only when they end within a frame.
    fn receive(&mut self, driver: &Rc<Driver>, client: ClientId, connection: &Connection, bytes: &[u8]) {
        driver.metrics.bytes_received_count.inc_by(bytes.len() as u64);
        if self.partial.is_empty() {
            let consumed = self.consume(driver, client, connection, bytes);
            self.partial.extend_from_slice(&bytes[consumed..]);
        } else {
            self.partial.extend_from_slice(bytes);
            self.drain_partial(driver, client, connection);
        }
    }

    fn drain_partial(&mut self, driver: &Rc<Driver>, client: ClientId, connection: &Connection) {
        let mut partial = std::mem::take(&mut self.partial);
        let consumed = self.consume(driver, client, connection, &partial);
        if consumed < partial.len() {
            partial.drain(..consumed);
            self.partial = partial;
        }
    }

    /// Hands every complete frame to the peer in one turn; how many bytes that were.
    fn consume(&mut self, driver: &Rc<Driver>, client: ClientId, connection: &Connection, bytes: &[u8]) -> usize {
        if self.is_first {
            match driver.clients.words.first(bytes) {
                First::Partial => return 0,
                First::Word(asked) => {
                    (self.is_first, self.asked) = (false, Some(asked));
                    return bytes.len();
                }
                First::Frame => self.is_first = false,
            }
        }
        let mut rest = bytes;
        let frame_bytes_max = driver.clients.limits.frame_bytes_max;
        driver.turn_while(|peer, now| {
            if !connection.is_readable() {
                return false;
            }
            match frames::next(rest, frame_bytes_max) {
                Ok(Some((frame, after))) => {
                    peer.handle_client_frame(now, client, frame);
                    rest = after;
                    true
                }
                Ok(None) => false,
                Err(BadLength(length)) => {
                    driver.metrics.ensemble_requests_too_large_total.inc();
                    tracing::warn!(target: CLIENTS, address = %connection.address, length, frame_bytes_max, "closing a client whose frame length is negative or above jute.maxbuffer");
                    connection.end();
                    false
                }
            }
        });
        bytes.len() - rest.len()
    }
}
