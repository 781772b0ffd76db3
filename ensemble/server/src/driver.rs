//! The loop around the peer: one thread, one [`Peer`], no hand-over between threads on the way of a read.
//!
//! ```text
//!   socket readable ──► frames ──► turn: peer.handle_*  ──► effects ──► disk thread, then one write a connection
//!   disk thread ──► durable up to ticket ──► turn            deadline ──► turn
//! ```
//!
//! A **turn** is: feed the peer whatever one source has (all complete frames of a read, all packets of a read, one timer),
//! drain its effects, hand the writes to the disk, then flush every connection that got something, once. Nothing here
//! decides anything about the protocol. Every task of a server runs on this thread, so a turn is never interrupted.

use crate::audit::AuditLog;
use crate::client_port::ClientPort;
use crate::clock::Clock;
use crate::connection::Connection;
use crate::details::Turns;
use crate::disk_thread::{DiskThread, Group};
use crate::election_port::ElectionPort;
use crate::listening::Places;
use crate::log::CLIENTS;
use crate::metrics::Metrics;
use crate::pause::Witness;
use crate::quorum_port;
use crate::snapshots::Snapshots;
use ensemble_peer::{ClientId, Effect, Peer};
use ensemble_proto::Now;
use ensemble_proto::durable::{Ticket, Write};
use ensemble_zab::{ConnId, Role};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Bytes read from a socket at once.
const READ_BYTES: usize = 64 << 10;
/// How often the driver shows that it still turns, when nothing else happens.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// One server's driver. Everything is reached through a shared reference: there is one thread.
pub(crate) struct Driver {
    peer: RefCell<Peer>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) disk: DiskThread,
    pub(crate) clients: ClientPort,
    pub(crate) election: ElectionPort,
    pub(crate) quorum: quorum_port::Connections,
    pub(crate) places: Places,
    pub(crate) audit: Option<Arc<AuditLog>>,
    pub(crate) snapshots: Snapshots,
    pub(crate) details: Turns,
    /// Where every socket is read into: a turn takes what it needs out before it ends.
    pub(crate) scratch: RefCell<Vec<u8>>,
    /// Reused from turn to turn.
    turn: RefCell<Turn>,
    issued: Cell<Ticket>,
    /// The disk has room again.
    disk_room: Notify,
    armed: Cell<Duration>,
    rearm: Notify,
    /// When this server took its office.
    pub(crate) office_since: Cell<Option<Duration>>,
    /// When this server began to lead.
    pub(crate) leading_since: Cell<Option<Duration>>,
    /// Whether zab leads, serving or not: the quorum port then takes learners.
    leading: watch::Sender<bool>,
    /// When the last turn was, in milliseconds of `clock`; read by the admin port.
    pub(crate) last_turn_ms: Arc<AtomicU64>,
    pub(crate) halted: RefCell<Option<String>>,
    pub(crate) halt: Notify,
    /// The disk is full.
    pub(crate) out_of_room: Notify,
}

/// What the effects of a turn leave to do.
#[derive(Default)]
struct Turn {
    group: Group,
    clients: Vec<(ClientId, Rc<Connection>)>,
    learners: Vec<ConnId>,
    output: Vec<u8>,
}

/// The parts of a driver.
pub(crate) struct Parts {
    pub(crate) peer: Peer,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) disk: DiskThread,
    pub(crate) clients: ClientPort,
    pub(crate) election: ElectionPort,
    pub(crate) quorum: quorum_port::Connections,
    pub(crate) places: Places,
    pub(crate) audit: Option<Arc<AuditLog>>,
    pub(crate) last_turn_ms: Arc<AtomicU64>,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Rc<Driver> {
        let Parts { peer, clock, metrics, disk, clients, election, quorum, places, audit, last_turn_ms } = parts;
        Rc::new(Driver {
            peer: RefCell::new(peer),
            clock,
            metrics,
            disk,
            clients,
            election,
            quorum,
            places,
            audit,
            snapshots: Snapshots::default(),
            details: Turns::default(),
            scratch: RefCell::new(vec![0; READ_BYTES]),
            turn: RefCell::default(),
            issued: Cell::default(),
            disk_room: Notify::new(),
            armed: Cell::new(Duration::MAX),
            rearm: Notify::new(),
            office_since: Cell::default(),
            leading_since: Cell::default(),
            leading: watch::Sender::new(false),
            last_turn_ms,
            halted: RefCell::default(),
            halt: Notify::new(),
            out_of_room: Notify::new(),
        })
    }

    /// Feeds the peer once, then does everything that it asks for. Must not be called within itself.
    #[track_caller]
    pub(crate) fn turn(self: &Rc<Self>, input: impl FnOnce(&mut Peer, Now)) {
        let mut input = Some(input);
        self.turn_while(|peer, now| match input.take() {
            Some(input) => {
                input(peer, now);
                true
            }
            None => false,
        });
    }

    /// Feeds the peer as long as `input` says that it did; the effects of one input are known before the next, but what
    /// they send leaves once, at the end.
    #[track_caller]
    pub(crate) fn turn_while(self: &Rc<Self>, mut input: impl FnMut(&mut Peer, Now) -> bool) {
        let now = self.clock.now();
        let mut peer = self.peer.borrow_mut();
        let turn = &mut *self.turn.borrow_mut();
        while input(&mut peer, now) {
            while let Some(effect) = peer.poll_effect() {
                self.carry_out(effect, turn, &peer);
            }
        }
        if !turn.group.is_empty() {
            self.disk.persist(std::mem::take(&mut turn.group));
        }
        for conn in turn.learners.drain(..) {
            self.quorum.flush(self.clock.elapsed(), conn);
        }
        for (client, connection) in turn.clients.drain(..) {
            peer.take_output(client, &mut turn.output);
            connection.send(&mut turn.output);
        }
        let ended = self.clock.elapsed();
        if peer.has_read() {
            peer.end_turn(now.elapsed, ended);
        }
        self.metrics.pauses.notice(ended.saturating_sub(now.elapsed), Witness::Turn(Location::caller()));
        self.arm(peer.deadline());
        let is_leading = peer.zab().role() == Role::Leading;
        if *self.leading.borrow() != is_leading {
            self.leading.send_replace(is_leading);
        }
        self.last_turn_ms.store(now.elapsed.as_millis() as u64, Ordering::Relaxed);
    }

    /// Looks at the peer without feeding it.
    pub(crate) fn look<R>(&self, at: impl FnOnce(&Peer) -> R) -> R {
        at(&self.peer.borrow())
    }

    /// Waits until zab leads.
    pub(crate) async fn until_leading(&self) {
        // The sender lives as long as the driver.
        let _ = self.leading.subscribe().wait_for(|is_leading| *is_leading).await;
    }

    /// Waits until the disk has room for what a reader could cause.
    pub(crate) async fn until_disk_has_room(&self) {
        while self.disk.progress.is_full() {
            self.disk_room.notified().await;
        }
    }

    /// The last ticket handed to the disk.
    pub(crate) fn issued(&self) -> Ticket {
        self.issued.get()
    }

    fn carry_out(self: &Rc<Self>, effect: Effect, turn: &mut Turn, peer: &Peer) {
        match effect {
            Effect::Output { client } => {
                if let Some(connection) = self.clients.connection(client) {
                    turn.clients.push((client, connection));
                }
            }
            Effect::CloseClient { client, fault } => {
                if let Some(fault) = fault {
                    let address = self.clients.address(client).map(tracing::field::display);
                    tracing::info!(target: CLIENTS, address, fault, "closing a client for what it sent");
                }
                if let Some(connection) = self.clients.connection(client) {
                    connection.end_after_flush();
                    turn.clients.push((client, connection));
                }
            }
            Effect::PauseReading { client, on } => {
                if let Some(connection) = self.clients.connection(client) {
                    connection.pause(on);
                }
            }
            Effect::Notify { to, notification } => self.election.notify(self, to, &notification),
            Effect::Connect { leader, attempt } => quorum_port::dial(self, leader, attempt),
            Effect::Send { conn, packet } => {
                if self.quorum.queue(|| self.clock.elapsed(), conn, &packet) {
                    turn.learners.push(conn);
                }
            }
            Effect::SendBytes { conn, bytes } => {
                if self.quorum.queue_slice(conn, bytes) {
                    turn.learners.push(conn);
                }
            }
            Effect::ReadLog { conn, after } => quorum_port::read_log(self, conn, after),
            Effect::AwaitWritable { conn } => self.quorum.await_room(conn),
            Effect::Close { conn } => self.quorum.end(conn),
            Effect::Persist { ticket, write } => {
                match &write {
                    Write::InstallSnapshot { .. } => self.snapshots.abandon(),
                    Write::LastSeen(membership) => self.election.expect(membership.clone()),
                    Write::Append { .. } | Write::Truncate { .. } | Write::Membership(_) => {}
                    Write::AcceptedEpoch(_) | Write::CurrentEpoch(_) => {}
                    Write::ReceiveSnapshot { .. } | Write::SnapshotPart { .. } | Write::AbandonSnapshot => {}
                }
                self.issued.set(ticket);
                turn.group.push((ticket, write));
            }
            Effect::ReadOnly(on) => {
                let server = self.election.id().0;
                match on {
                    true => tracing::warn!(server, "serving clients that only read: there is no quorum"),
                    false => tracing::info!(server, "read-only mode is over"),
                }
            }
            Effect::Office(office) => self.take_office(office, peer),
            Effect::Membership(membership) => {
                let (server, servers) = (self.election.id().0, membership.servers.len());
                tracing::info!(server, version = %membership.version, servers, "configuration is active");
                self.places.follow(&membership);
                self.election.follow(membership);
            }
            Effect::Audit(line) => {
                if let Some(audit) = &self.audit {
                    audit.tell(&line);
                }
            }
            Effect::Halt { reason } => {
                tracing::error!(reason, "this server must not go on");
                *self.halted.borrow_mut() = Some(reason);
                self.halt.notify_one();
            }
        }
    }

    fn take_office(&self, office: Option<Role>, peer: &Peer) {
        let server = self.election.id().0;
        let (epoch, zxid) = (peer.zab().epoch().0, peer.tree().last_zxid());
        let now = self.clock.elapsed();
        self.office_since.set(office.is_some().then_some(now));
        self.leading_since.set((office == Some(Role::Leading)).then_some(now));
        match office {
            Some(Role::Leading) => tracing::info!(server, epoch, %zxid, "leading"),
            Some(Role::Following { leader }) => tracing::info!(server, leader = leader.0, epoch, %zxid, "following"),
            Some(Role::Observing { leader }) => tracing::info!(server, leader = leader.0, epoch, %zxid, "observing"),
            Some(Role::Looking) | None => {
                tracing::info!(server, "looking for a leader");
            }
        }
    }

    fn arm(&self, deadline: Duration) {
        if deadline < self.armed.get() {
            self.armed.set(deadline);
            self.rearm.notify_one();
        }
    }

    /// Calls the peer's deadlines, for ever.
    pub(crate) async fn keep_time(self: Rc<Self>) {
        loop {
            let deadline = self.look(Peer::deadline).min(self.clock.elapsed() + HEARTBEAT);
            self.armed.set(deadline);
            let Some(instant) = self.clock.instant(deadline) else { continue };
            tokio::select! {
                () = tokio::time::sleep_until(instant.into()) => {}
                () = self.rearm.notified() => continue,
            }
            self.turn(|peer, now| {
                if peer.deadline() <= now.elapsed {
                    peer.handle_timeout(now);
                }
            });
        }
    }

    /// Reports what became durable, for ever.
    pub(crate) async fn follow_disk(self: Rc<Self>) {
        let mut reported = Ticket::default();
        loop {
            self.disk.progress.changed().await;
            if !self.disk.progress.is_full() {
                self.disk_room.notify_waiters();
            }
            let durable = self.disk.progress.durable();
            if durable > reported {
                reported = durable;
                self.turn(|peer, now| peer.handle_persisted(now, durable));
            }
            self.snapshots.durable(durable);
            if self.disk.progress.is_out_of_room() {
                self.out_of_room.notify_one();
                return;
            }
            if self.disk.progress.take_snapshot_due() {
                self.snapshots.due();
            }
        }
    }
}

/// A map that hands out its values by cheap clones.
pub(crate) type Shared<K, V> = RefCell<HashMap<K, Rc<V>>>;
