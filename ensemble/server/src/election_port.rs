//! The election port: one connection for each pair of servers, and the newest notification for each (`QuorumCnxManager`).
//!
//! Two servers that connect to each other at the same time must end with the same connection: **the one that the server
//! with the larger id began survives** ([`arbitrate`]). Who has the smaller id connects too, says who it is, and is called
//! back; so a pair gets connected whoever starts first.
//!
//! A server that is in no configuration is on its way in, or was removed: it is answered too, while the ensemble may change
//! ([`crate::roster`]).
//!
//! Notifications are idempotent, so a slow connection gets only the newest. While there is something to say and no
//! connection, the port keeps dialling with a growing pause; names are resolved at each attempt. A server that connects shows
//! where it is now, which a resolver's cache may not know yet: its address is remembered and dialled beside its name, here and
//! on the quorum port.

use crate::config::{self, Endpoint};
use crate::connection::{Connection, ReadHalf};
use crate::dial::connect;
use crate::driver::{Driver, Shared};
use crate::listening::Listener;
use crate::roster::{self, Roster};
use bytes::{Bytes, BytesMut};
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{ElectionDecoder, ElectionMessage, InitialMessage, Notification};
use ensemble_proto::{DecodeError, ServerId};
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Accepted connections that have not said yet who they are.
const HANDSHAKES_MAX: usize = 256;
/// Unsent bytes on one connection: two notifications of the greatest length.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// First and longest pause between attempts to reach a server.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// Attempts to reach a server that is in no configuration.
const STRANGER_ATTEMPTS_MAX: usize = 10;

/// What to do with a connection, by who began it and who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// It replaces any other connection to that server.
    Keep,
    /// The other server's connection is the one to survive: end this one, it will connect.
    AwaitCall,
    /// Ours is the one to survive: end this one and connect.
    CallBack,
    /// A server with the same id.
    Refuse,
}

/// Who began a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Initiator {
    Us,
    Them,
}

/// The rule of the larger id.
fn arbitrate(us: ServerId, them: ServerId, initiator: Initiator) -> Verdict {
    match (initiator, us.cmp(&them)) {
        (_, Ordering::Equal) => Verdict::Refuse,
        (Initiator::Us, Ordering::Greater) | (Initiator::Them, Ordering::Less) => Verdict::Keep,
        (Initiator::Us, Ordering::Less) => Verdict::AwaitCall,
        (Initiator::Them, Ordering::Greater) => Verdict::CallBack,
    }
}

/// The election connections of one server.
pub(crate) struct ElectionPort {
    roster: RefCell<Roster>,
    config: config::Election,
    links: Shared<ServerId, Connection>,
    /// The newest notification that waits for a connection or for a slow one.
    newest: RefCell<HashMap<ServerId, Bytes>>,
    /// Servers being dialled, and what ends the pause between two attempts.
    dialling: Shared<ServerId, Notify>,
    /// Where members connected from last.
    seen: RefCell<HashMap<ServerId, IpAddr>>,
    /// Why a server was not reached last; nothing for one that is linked.
    failures: RefCell<HashMap<ServerId, String>>,
    /// [`ElectionPort::seen`] has changed.
    moved: Notify,
    handshakes: Cell<usize>,
}

impl ElectionPort {
    pub(crate) fn new(roster: Roster, config: config::Election) -> ElectionPort {
        ElectionPort {
            roster: RefCell::new(roster),
            config,
            links: Shared::default(),
            newest: RefCell::default(),
            dialling: RefCell::default(),
            seen: RefCell::default(),
            failures: RefCell::default(),
            moved: Notify::new(),
            handshakes: Cell::new(0),
        }
    }

    /// This server.
    pub(crate) fn id(&self) -> ServerId {
        self.roster.borrow().id()
    }

    /// This configuration was proposed: its servers are to be reached too.
    pub(crate) fn expect(&self, membership: Membership) {
        self.roster.borrow_mut().expect(membership);
    }

    /// This configuration is active: connections to where a server was before end, and are made anew.
    pub(crate) fn follow(&self, membership: Membership) {
        for server in self.roster.borrow_mut().follow(membership) {
            self.seen.borrow_mut().remove(&server);
            if let Some(link) = self.links.borrow().get(&server) {
                link.end();
            }
        }
        self.moved.notify_waiters();
    }

    /// Where a leader's quorum port may be, the likeliest place first.
    pub(crate) fn quorum_places(&self, leader: ServerId) -> Vec<Endpoint> {
        self.roster.borrow().quorum(leader)
    }

    /// Where this server, if it observes, may find a follower that takes observers; another one first at each attempt.
    pub(crate) fn observer_masters(&self, port: u16, leader: ServerId, attempt: u64) -> Vec<(ServerId, Endpoint)> {
        let mut masters = self.roster.borrow().observer_masters(port, leader);
        let turn = attempt as usize % masters.len().max(1);
        masters.rotate_left(turn);
        masters
    }

    /// Where a server is or was last: the other end of the connection to it, or where it connected from.
    pub(crate) fn last_address(&self, server: ServerId) -> Option<IpAddr> {
        let linked = self.links.borrow().get(&server).map(|link| link.address.ip());
        linked.or_else(|| self.seen.borrow().get(&server).copied())
    }

    /// The other voters to whom there is no connection: which, where, and what came of the last attempt.
    pub(crate) fn unreached_voters(&self) -> Vec<(ServerId, String, String)> {
        let (links, failures, roster) = (self.links.borrow(), self.failures.borrow(), self.roster.borrow());
        let others = roster.active().voters().filter(|id| *id != roster.id() && !links.contains_key(id));
        let failure = |id| failures.get(&id).map_or("not tried yet", String::as_str).to_owned();
        let place = |id| roster.election(id).first().map(|place| roster::address(&place.host, place.port));
        others.map(|id| (id, place(id).unwrap_or_default(), failure(id))).collect()
    }

    /// Sends a notification, or keeps it until it can be sent; it replaces an older one.
    pub(crate) fn notify(&self, driver: &Rc<Driver>, to: ServerId, notification: &Notification) {
        let mut bytes = BytesMut::new();
        notification.encode(&mut bytes);
        self.newest.borrow_mut().insert(to, bytes.freeze());
        match self.links.borrow().get(&to) {
            Some(link) => self.flush(to, link),
            None => self.dial(driver, to),
        }
    }

    /// Sends the newest notification, if the connection has taken everything before it.
    fn flush(&self, to: ServerId, link: &Connection) {
        if link.waiting_bytes() == 0
            && let Some(bytes) = self.newest.borrow_mut().remove(&to)
        {
            link.queue(|waiting| waiting.extend_from_slice(&bytes));
            link.flush();
        }
    }

    /// This server stops: ends every connection, so that the others do not wait for a vote of it.
    pub(crate) fn hang_up(&self) {
        for link in std::mem::take(&mut *self.links.borrow_mut()).into_values() {
            link.end();
        }
    }

    /// Keeps trying to reach a server until there is a connection to it.
    fn dial(&self, driver: &Rc<Driver>, to: ServerId) {
        if self.dialling.borrow().contains_key(&to) {
            return;
        }
        let hurry = Rc::new(Notify::new());
        self.dialling.borrow_mut().insert(to, hurry.clone());
        let driver = driver.clone();
        tokio::task::spawn_local(async move {
            let port = &driver.election;
            let mut pause = BACK_OFF_MIN;
            let mut attempts = 0;
            while !port.links.borrow().contains_key(&to) {
                let Some(endpoint) = port.place(to, attempts) else {
                    tracing::debug!(server = to.0, "nobody knows where this server is");
                    port.newest.borrow_mut().remove(&to);
                    break;
                };
                let known = port.last_address(to);
                let attempt = connect(&endpoint, known, port.config.connect_timeout, port.config.keepalive);
                let connected = tokio::select! {
                    connected = attempt => connected,
                    // It is somewhere else than this attempt knows.
                    () = port.until_moved(to, known) => continue,
                };
                match connected {
                    Ok((stream, address)) => port.connected(&driver, to, stream, address),
                    Err(error) => {
                        tracing::debug!(server = to.0, %error, "cannot reach the election port");
                        port.failures.borrow_mut().insert(to, error.to_string());
                    }
                }
                if port.links.borrow().contains_key(&to) {
                    break;
                }
                attempts += 1;
                let _ = tokio::time::timeout(pause, hurry.notified()).await;
                pause = (pause * 2).min(BACK_OFF_MAX);
            }
            port.dialling.borrow_mut().remove(&to);
        });
    }

    /// Where to try after so many attempts in vain; in turn, where there are several places. A server in no configuration is forgotten
    /// after [`STRANGER_ATTEMPTS_MAX`]: it calls again when it needs an answer.
    fn place(&self, to: ServerId, attempts: usize) -> Option<Endpoint> {
        let mut roster = self.roster.borrow_mut();
        if attempts >= STRANGER_ATTEMPTS_MAX && roster.is_stranger(to) {
            roster.forget(to);
        }
        let places = roster.election(to);
        (!places.is_empty()).then(|| places[attempts % places.len()].clone())
    }

    /// Waits until a server has called from elsewhere.
    async fn until_moved(&self, server: ServerId, from: Option<IpAddr>) {
        while self.last_address(server) == from {
            self.moved.notified().await;
        }
    }

    /// A connection that we began: say who we are, then keep it or wait to be called.
    fn connected(&self, driver: &Rc<Driver>, to: ServerId, stream: TcpStream, address: SocketAddr) {
        let (connection, read) = Connection::new(stream, address, WAITING_BYTES_MAX);
        let mut hello = BytesMut::new();
        let us = self.id();
        InitialMessage { id: us, addresses: vec![self.roster.borrow().own_address()] }.encode(&mut hello);
        connection.queue(|waiting| waiting.extend_from_slice(&hello));
        connection.flush();
        match arbitrate(us, to, Initiator::Us) {
            Verdict::Keep => self.keep(driver, to, connection, read, ElectionDecoder::connecting()),
            Verdict::AwaitCall | Verdict::CallBack | Verdict::Refuse => {
                self.failures
                    .borrow_mut()
                    .insert(to, "reached, but it has not connected to this server yet".to_owned());
                linger(connection, read);
            }
        }
    }

    /// A connection that a server began and has said who it is.
    fn introduced(
        &self,
        driver: &Rc<Driver>,
        hello: InitialMessage,
        connection: Connection,
        read: ReadHalf,
        decoder: ElectionDecoder,
    ) {
        let from = hello.id;
        if let Err(why) = self.roster.borrow_mut().admit(from, &hello.addresses) {
            tracing::warn!(server = from.0, address = %connection.address, "refusing an election connection of a server: {why}");
            return;
        }
        let address = connection.address.ip();
        if self.id() != from && self.seen.borrow_mut().insert(from, address) != Some(address) {
            self.moved.notify_waiters();
        }
        match arbitrate(self.id(), from, Initiator::Them) {
            Verdict::Keep => self.keep(driver, from, connection, read, decoder),
            Verdict::CallBack | Verdict::AwaitCall => {
                drop((connection, read));
                if let Some(link) = self.links.borrow_mut().remove(&from) {
                    link.end();
                }
                self.dial(driver, from);
                // It is up: the next attempt is now.
                if let Some(hurry) = self.dialling.borrow().get(&from) {
                    hurry.notify_one();
                }
            }
            Verdict::Refuse => {
                tracing::error!(server = from.0, address = %connection.address, "another server has the id of this one, refusing it");
            }
        }
    }

    /// Makes a connection the one to that server, and reads from it until it ends.
    fn keep(
        &self,
        driver: &Rc<Driver>,
        server: ServerId,
        connection: Connection,
        read: ReadHalf,
        mut decoder: ElectionDecoder,
    ) {
        tracing::debug!(server = server.0, address = %connection.address, "election connection");
        let link = Rc::new(connection);
        self.failures.borrow_mut().remove(&server);
        if let Some(previous) = self.links.borrow_mut().insert(server, link.clone()) {
            previous.end();
        }
        let driver = driver.clone();
        tokio::task::spawn_local(async move {
            let port = &driver.election;
            driver.turn(|peer, now| peer.handle_election_link(now, server));
            port.flush(server, &link);
            if let Err(error) = serve(&driver, server, &link, read, &mut decoder).await {
                tracing::warn!(server = server.0, %error, "closing an election connection that does not speak the protocol");
            }
            let mut links = port.links.borrow_mut();
            if links.get(&server).is_some_and(|current| Rc::ptr_eq(current, &link)) {
                links.remove(&server);
                drop(links);
                driver.turn(|peer, now| peer.handle_election_link_lost(now, server));
                port.dial(&driver, server);
            }
        });
    }
}

/// Keeps a connection that the other side will end, long enough that it reads what we said.
fn linger(connection: Connection, mut read: ReadHalf) {
    const LINGER: Duration = Duration::from_secs(1);
    tokio::task::spawn_local(async move {
        let mut byte = [0];
        let _ = tokio::time::timeout(LINGER, poll_fn(|cx| read.poll_read(cx, &mut byte))).await;
        drop(connection);
    });
}

/// Accepts servers, for ever.
pub(crate) async fn listen(driver: Rc<Driver>, mut listener: Listener) {
    loop {
        let (stream, address) = listener.accept().await;
        accept(&driver, stream, address);
    }
}

/// Finds out who connected, within the handshake timeout.
fn accept(driver: &Rc<Driver>, stream: TcpStream, address: SocketAddr) {
    let handshakes = &driver.election.handshakes;
    if handshakes.get() >= HANDSHAKES_MAX {
        tracing::warn!(%address, "refusing an election connection: too many have not said who they are");
        return;
    }
    handshakes.set(handshakes.get() + 1);
    let driver = driver.clone();
    tokio::task::spawn_local(async move {
        let port = &driver.election;
        let (connection, mut read) = Connection::new(stream, address, WAITING_BYTES_MAX);
        let mut decoder = ElectionDecoder::accepting();
        let hello = tokio::time::timeout(port.config.handshake_timeout, introduction(&mut read, &mut decoder)).await;
        port.handshakes.set(port.handshakes.get() - 1);
        match hello {
            Ok(Ok(Some(hello))) => port.introduced(&driver, hello, connection, read, decoder),
            Ok(Ok(None)) => tracing::debug!(%address, "an election connection ended before it said who it is"),
            Ok(Err(error)) => tracing::warn!(%address, %error, "refusing an election connection"),
            Err(_) => tracing::warn!(%address, "refusing an election connection that does not say who it is"),
        }
    });
}

async fn introduction(
    read: &mut ReadHalf,
    decoder: &mut ElectionDecoder,
) -> Result<Option<InitialMessage>, DecodeError> {
    let mut bytes = [0; 2200];
    loop {
        match decoder.next()? {
            Some(ElectionMessage::Initial(hello)) => return Ok(Some(hello)),
            Some(ElectionMessage::Notification(_)) => continue,
            None => match poll_fn(|cx| read.poll_read(cx, &mut bytes)).await {
                Ok(read) if read > 0 => decoder.feed(&bytes[..read]),
                _ => return Ok(None),
            },
        }
    }
}

async fn serve(
    driver: &Rc<Driver>,
    server: ServerId,
    link: &Connection,
    mut read: ReadHalf,
    decoder: &mut ElectionDecoder,
) -> Result<(), DecodeError> {
    // What came with the introduction.
    deliver(driver, server, decoder)?;
    while !link.is_ended() {
        let next = poll_fn(|cx| {
            let mut scratch = driver.scratch.borrow_mut();
            read.poll_read(cx, &mut scratch).map(|result| {
                let read = result.unwrap_or(0);
                decoder.feed(&scratch[..read]);
                read
            })
        });
        tokio::select! {
            biased;
            read = next => match read {
                0 => return Ok(()),
                _ => deliver(driver, server, decoder)?,
            },
            () = link.attention() => driver.election.flush(server, link),
        }
    }
    Ok(())
}

fn deliver(driver: &Rc<Driver>, server: ServerId, decoder: &mut ElectionDecoder) -> Result<(), DecodeError> {
    while let Some(message) = decoder.next()? {
        let ElectionMessage::Notification(body) = message else { continue };
        match Notification::decode(&body) {
            Ok(notification) => driver.turn(|peer, now| peer.handle_notification(now, server, notification)),
            Err(error) => tracing::warn!(server = server.0, %error, "dropping a notification"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_of_the_larger_id_survives() {
        let (small, large) = (ServerId(1), ServerId(2));
        assert_eq!(arbitrate(large, small, Initiator::Us), Verdict::Keep);
        assert_eq!(arbitrate(small, large, Initiator::Them), Verdict::Keep);
        assert_eq!(arbitrate(small, large, Initiator::Us), Verdict::AwaitCall);
        assert_eq!(arbitrate(large, small, Initiator::Them), Verdict::CallBack);
        assert_eq!(arbitrate(small, small, Initiator::Us), Verdict::Refuse);
        assert_eq!(arbitrate(small, small, Initiator::Them), Verdict::Refuse);
    }

    #[test]
    fn both_ends_of_every_connection_agree() {
        for (us, them) in [(1, 2), (2, 1), (0, 254), (7, 3)] {
            let (us, them) = (ServerId(us), ServerId(them));
            let kept_by_us = arbitrate(us, them, Initiator::Us) == Verdict::Keep;
            let kept_by_them = arbitrate(them, us, Initiator::Them) == Verdict::Keep;
            assert_eq!(kept_by_us, kept_by_them);
        }
    }
}
