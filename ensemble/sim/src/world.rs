//! One run: a queue of events ordered by virtual time, and the servers, network, disks and clients that they happen to.
//!
//! ```text
//!   storm (faults, clients)  ->  heal (no faults, clients)  ->  settle (no new requests)  ->  final checks
//! ```
//!
//! There is one thread and one source of randomness, the seed. Events at the same time are ordered by the seed too, so nothing
//! depends on an accident. Time jumps to the next event.

use crate::agenda::Agenda;
use crate::changes;
use crate::client::{Action, Client};
use crate::faults::Fault;
use crate::history::History;
use crate::ledger::Ledger;
use crate::marks::Marks;
use crate::mutants::Mutant;
use crate::network::{Direction, End, Message, Network, Place, Port};
use crate::server::Server;
use crate::shrink::{Plan, stream};
use crate::sightings::{self, Syncing};
use crate::swarm::Swarm;
use crate::trace::{Tell, Trace, Verdict, Violation};
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::Notification;
use ensemble_proto::{Epoch, ServerId, SessionId, Zxid};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// More events than any sound run has: a run that reaches it is going round in circles.
const EVENTS_MAX: u64 = 20_000_000;

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A server starts.
    Start { server: usize },
    /// A server's deadline may have come.
    Wake { server: usize, life: u64 },
    /// A server's disk finishes a group.
    DiskDone { server: usize, life: u64 },
    /// A server writes a piece of its snapshot.
    Snapshot { server: usize, life: u64 },
    /// A server's election connection to another has ended.
    Unlinked { server: usize, life: u64, other: ServerId },
    /// A server has read a slice of its log for a learner.
    LogRead { server: usize, life: u64, connection: u64, after: Zxid },
    /// A server may send more on a quorum connection.
    Writable { server: usize, life: u64, connection: u64 },
    /// Two servers try to connect their election ports.
    ElectionDial { a: usize, b: usize },
    /// A notification arrives.
    Notified { from: usize, to: usize, link: u64, notification: Box<Notification> },
    /// A server's dialling reaches a leader's quorum port, or does not.
    Dial { from: usize, life: u64, leader: usize, attempt: u64 },
    /// It hears that it was accepted.
    Dialled { from: usize, life: u64, attempt: u64, connection: u64 },
    /// The first message in a queue of a connection arrives.
    Deliver { connection: u64, side: usize },
    /// A client's turn.
    ClientTurn { client: usize },
    /// A client's dialling arrives.
    ClientDial { client: usize, life: u64, server: usize },
    /// A fault strikes.
    Fault { fault: Fault, number: u64 },
    /// A server's power goes, at a moment that was chosen.
    Crash { server: usize, life: u64, number: u64 },
    /// Everybody's power goes, and those who were behind come back with one that has lost its volume.
    LostQuorum { lost: usize, behind: Vec<usize>, number: u64 },
    /// A server's watchdog looks at its disk.
    Watchdog { server: usize, life: u64 },
    /// A direction heals.
    Heal { direction: Direction },
    /// What would every server find after a power cut now?
    Audit,
    /// The faults stop.
    Calm,
}

impl Event {
    /// Whether it waits while this server stands still.
    fn is_for(&self, server: usize, network: &Network) -> bool {
        match self {
            Event::Wake { server: to, .. }
            | Event::DiskDone { server: to, .. }
            | Event::LogRead { server: to, .. }
            | Event::Writable { server: to, .. }
            | Event::Notified { to, .. }
            | Event::Dial { leader: to, .. }
            | Event::ClientDial { server: to, .. } => *to == server,
            Event::Deliver { connection, side } => network.end(*connection, *side) == Some(Place::Server(server)),
            Event::Start { .. }
            | Event::Snapshot { .. }
            | Event::Unlinked { .. }
            | Event::ElectionDial { .. }
            | Event::Dialled { .. }
            | Event::ClientTurn { .. }
            | Event::Fault { .. }
            | Event::Crash { .. }
            | Event::LostQuorum { .. }
            | Event::Watchdog { .. }
            | Event::Heal { .. }
            | Event::Audit
            | Event::Calm => false,
        }
    }
}

/// The election connection of two servers.
#[derive(Default)]
pub(crate) struct ElectionLink {
    /// Counts connections; 0 for none yet.
    pub(crate) number: u64,
    pub(crate) is_up: bool,
    /// Held back by a cut, by receiver: the newest replaces it.
    pub(crate) held: BTreeMap<usize, Notification>,
    /// When the last notification to a server arrives.
    pub(crate) arrivals: BTreeMap<usize, Duration>,
}

/// A simulated ensemble with its clients.
pub struct World {
    pub(crate) seed: u64,
    pub(crate) mutant: Mutant,
    pub(crate) plan: Plan,
    pub(crate) swarm: Swarm,
    pub(crate) random: Rng,
    pub(crate) now: Duration,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) network: Network,
    pub(crate) elections: BTreeMap<(usize, usize), ElectionLink>,
    pub(crate) servers: Vec<Server>,
    pub(crate) clients: Vec<Client>,
    pub(crate) ledger: Ledger,
    pub(crate) history: History,
    pub(crate) trace: Trace,
    pub(crate) is_stormy: bool,
    pub(crate) may_ask: bool,
    pub(crate) office_changed: Duration,
    /// Whether a handshake that is not answered is a breach of I-12.
    pub(crate) expects_handshakes: bool,
    /// When a session was heard of, or its client asked anybody for another timeout.
    pub(crate) heard: BTreeMap<SessionId, Vec<Heard>>,
    /// What the run has come across.
    pub(crate) marks: Marks,
    /// Synchronisations under way, by connection.
    pub(crate) syncing: BTreeMap<u64, Syncing>,
    /// When a fault last struck, or healed.
    pub(crate) disturbed: Duration,
    /// How many crashes came at a chosen moment.
    pub(crate) tempted: u64,
}

/// A session's client spoke.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// When.
    pub at: Duration,
    /// The shortest timeout that the session has had until then.
    pub timeout: Duration,
    /// Who heard it.
    pub by: Ear,
}

/// Who hears a session's client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ear {
    /// The established leader of this epoch.
    Leader(Epoch),
    /// A learner that the established leader of this epoch counts as in sync.
    Learner(Epoch),
    /// Whoever it asks to have its session back.
    Anybody,
}

impl Ear {
    /// The epoch in which it was heard.
    pub fn epoch(self) -> Option<Epoch> {
        match self {
            Ear::Leader(epoch) | Ear::Learner(epoch) => Some(epoch),
            Ear::Anybody => None,
        }
    }
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Fingerprint of everything that happened.
    pub trace_hash: u64,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Requests of clients.
    pub requests: usize,
    /// Of them answered.
    pub answered: usize,
    /// Committed transactions.
    pub committed: usize,
    /// Established leaders.
    pub leaders: usize,
    /// What it came across.
    pub marks: Marks,
}

impl World {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, mutant: Mutant, plan: Plan, tell: Tell) -> World {
        let mut random = Rng::with_seed(seed);
        let mut swarm = Swarm::draw(&mut random);
        swarm.draw_more(&mut stream(seed, "more", 0));
        if seed & changes::CHANGING != 0 {
            changes::adapt(&mut swarm, &mut random);
        }
        swarm.storm = swarm.storm.min(plan.storm.unwrap_or(Duration::MAX));
        if plan.salt > 0 {
            random = stream(seed, "salt", plan.salt);
        }
        let lines = changes::first(&swarm);
        let mut world = World::still(seed, mutant, plan, tell, (swarm, random), lines);
        world.begin();
        world
    }

    /// A world in which nothing is going to happen; all servers have the same lines in their `zoo.cfg`.
    pub(crate) fn still(
        seed: u64,
        mutant: Mutant,
        plan: Plan,
        tell: Tell,
        (swarm, random): (Swarm, Rng),
        lines: Membership,
    ) -> World {
        let servers = (1..=swarm.servers).map(|id| Server::new(ServerId(id as i64), lines.clone())).collect();
        World {
            seed,
            mutant,
            plan,
            network: Network::new(swarm.latency),
            elections: BTreeMap::new(),
            servers,
            clients: (0..swarm.clients).map(|index| Client::new(index, seed)).collect(),
            ledger: Ledger {
                membership: lines,
                has_local_sessions: swarm.local_sessions,
                ..Ledger::new(swarm.servers)
            },
            history: History::default(),
            trace: Trace::new(tell),
            is_stormy: true,
            may_ask: true,
            office_changed: Duration::ZERO,
            expects_handshakes: true,
            heard: BTreeMap::new(),
            marks: Marks::default(),
            syncing: BTreeMap::new(),
            disturbed: Duration::ZERO,
            tempted: 0,
            now: Duration::ZERO,
            agenda: Agenda::default(),
            random,
            swarm,
        }
    }

    fn begin(&mut self) {
        let swarm = format!("{:?}", self.swarm);
        self.trace.line(self.now, || swarm);
        for server in 0..self.servers.len() {
            self.grant(server);
            let at = Duration::from_millis(self.random.u64(0..500));
            self.schedule(at, Event::Start { server });
            for other in 0..server {
                self.schedule(at, Event::ElectionDial { a: other, b: server });
            }
        }
        self.begin_around();
    }

    /// What goes on around the servers: clients, audits and faults.
    pub(crate) fn begin_around(&mut self) {
        for client in 0..self.clients.len() {
            let at = Duration::from_millis(self.random.u64(500..2000));
            if self.plan.has_any(&self.clients[client].kind) {
                self.schedule(at, Event::ClientTurn { client });
            }
        }
        self.schedule(Duration::from_secs(10), Event::Audit);
        crate::faults::begin(self);
        let storm = self.swarm.storm;
        self.schedule(storm, Event::Calm);
    }

    /// Runs to the end and checks everything, unless the plan ends it before.
    ///
    /// # Errors
    /// The first promise found broken.
    pub fn run(&mut self) -> Result<Summary, Violation> {
        let heal = self.heal_time();
        let healed = self.swarm.storm + heal;
        if let Some(until) = self.plan.until.filter(|until| *until < healed) {
            self.run_until(until)?;
            return Ok(self.summary());
        }
        self.run_until(healed)?;
        self.await_liveness(heal / 3)?;
        self.may_ask = false;
        self.run_until(self.now + self.swarm.tick * 4)?;
        self.settle()?;
        crate::finale::check(self)?;
        Ok(self.summary())
    }

    /// How long the word of a learner in sync may take to reach its leader: it is closed when it is not heard for `syncLimit`, and a leader
    /// that stands still itself for longer than twice that has a successor.
    pub(crate) fn word(&self) -> Duration {
        self.swarm.tick * (2 * self.swarm.sync_limit + 2)
    }

    /// What happened so far.
    pub fn summary(&self) -> Summary {
        Summary {
            trace_hash: self.trace.hash(),
            virtual_time: self.now,
            requests: self.history.ops.len(),
            answered: self.history.ops.iter().filter(|op| op.reply.is_some()).count(),
            committed: self.ledger.committed.len(),
            leaders: self.ledger.leaders.len(),
            marks: self.marks,
        }
    }

    /// How long a healed ensemble may take for everything: detect, elect, synchronise, answer.
    pub(crate) fn heal_time(&self) -> Duration {
        self.swarm.tick * (2 * self.swarm.init_limit + 2 * self.swarm.sync_limit + 40) + Duration::from_secs(15)
    }

    pub(crate) fn run_until(&mut self, end: Duration) -> Verdict {
        while let Some(next) = self.agenda.next(end) {
            self.now = next.at;
            if next.number > EVENTS_MAX {
                return Err(Violation::new("I-12", format!("{EVENTS_MAX} events at {:?}", self.now)));
            }
            self.trace.mix(&[next.at.as_nanos() as u64, next.number]);
            self.happen(next.event)?;
        }
        self.now = end;
        Ok(())
    }

    /// Runs on until all servers have applied the same, for a while at most.
    pub(crate) fn settle(&mut self) -> Verdict {
        for _ in 0..50 {
            let mut applied: Vec<_> =
                self.servers.iter().filter_map(|server| Some(server.process.as_ref()?.peer.applied().0)).collect();
            applied.dedup();
            if applied.len() == 1 && applied[0] == self.ledger.last_committed() {
                return Ok(());
            }
            self.run_until(self.now + self.swarm.tick)?;
        }
        Err(Violation::new("I-12", "the servers do not come to the same transaction"))
    }

    /// An ensemble whose epochs are short elects a leader now and then, healed or not: it is looked at more than once.
    pub(crate) fn await_liveness(&mut self, limit: Duration) -> Verdict {
        const LOOKS_MAX: u32 = 5;
        for _ in 1..LOOKS_MAX {
            if !self.swarm.has_short_epochs() || self.check_liveness(limit).is_ok() {
                break;
            }
            self.run_until(self.now + self.swarm.tick * 3)?;
        }
        self.check_liveness(limit)
    }

    fn check_liveness(&self, limit: Duration) -> Verdict {
        let serving = |server: &Server| server.process.as_ref().and_then(|process| process.office);
        let index = |wanted: &dyn Fn(&Server) -> bool| {
            self.servers.iter().enumerate().filter(|(_, server)| wanted(server)).map(|(index, _)| index).collect()
        };
        let age = |client: &Client| {
            let op = &self.history.ops[client.oldest_pending()?];
            Some((self.now - op.invoked, client.index))
        };
        crate::invariants::i12_liveness::healed(&crate::invariants::i12_liveness::Healed {
            leaders: index(&|server| serving(server) == Some(ensemble_zab::Role::Leading)),
            idle: index(&|server| server.is_on && serving(server).is_none()),
            oldest_request: self.clients.iter().filter_map(age).max(),
            quiet: if self.swarm.has_short_epochs() { limit } else { self.now - self.office_changed },
            limit,
        })
    }

    /// Puts an event into the queue.
    pub(crate) fn schedule(&mut self, at: Duration, event: Event) {
        let tie = self.random.u32(..);
        self.agenda.schedule(at.max(self.now), tie, event);
    }

    /// A server that stands still goes on (SIGCONT), and finds at once whatever has come for it meanwhile; or it is dead, and whoever waits for it
    /// hears that.
    pub(crate) fn go_on(&mut self, server: usize) {
        let machine = &mut self.servers[server];
        if machine.paused_until <= self.now {
            return;
        }
        let until = std::mem::replace(&mut machine.paused_until, self.now);
        if let Some(process) = &mut machine.process {
            process.wake_at = process.wake_at.map(|wake| if wake == until { self.now } else { wake });
        }
        let network = &self.network;
        self.agenda.hasten(self.now, |at, event| at == until && event.is_for(server, network));
    }

    fn happen(&mut self, event: Event) -> Verdict {
        match event {
            Event::Start { server } => {
                if self.servers[server].is_on && self.servers[server].process.is_none() {
                    self.disturbed = self.now;
                }
                self.start(server)
            }
            Event::Wake { server, life } => self.wake(server, life),
            Event::DiskDone { server, life } => self.disk_done(server, life),
            Event::Snapshot { server, life } => self.continue_snapshot(server, life),
            Event::Unlinked { server, life, other } => self.unlinked(server, life, other),
            Event::LogRead { server, life, connection, after } => self.log_read(server, life, connection, after),
            Event::Writable { server, life, connection } => self.writable(server, life, connection),
            Event::ElectionDial { a, b } => self.election_dial(a, b),
            Event::Notified { from, to, link, notification } => self.notified(from, to, link, *notification),
            Event::Dial { from, life, leader, attempt } => self.dial(from, life, leader, attempt),
            Event::Dialled { from, life, attempt, connection } => self.dialled(from, life, attempt, connection),
            Event::Deliver { connection, side } => self.deliver(connection, side),
            Event::ClientTurn { client } => self.client_turn(client),
            Event::ClientDial { client, life, server } => self.client_dial(client, life, server),
            Event::Fault { fault, number } => crate::faults::strike(self, fault, number),
            Event::Crash { server, life, number } => crate::faults::crash_in(self, server, life, number),
            Event::LostQuorum { lost, behind, number } => crate::plots::lose_quorum(self, lost, &behind, number),
            Event::Watchdog { server, life } => crate::faults::watchdog(self, server, life),
            Event::Heal { direction } => {
                if self.is_stormy {
                    self.disturbed = self.now;
                }
                self.network.heal(direction);
                Ok(())
            }
            Event::Audit => crate::finale::audit(self),
            Event::Calm => {
                crate::faults::calm(self);
                Ok(())
            }
        }
    }

    // ---- connections ----

    /// The end of a connection that a place is now.
    pub(crate) fn end(&self, place: Place) -> End {
        let life = match place {
            Place::Server(server) => self.servers[server].life,
            Place::Client(client) => self.clients[client].life,
        };
        End { place, life }
    }

    /// Sends a message on a connection, if it still stands.
    pub(crate) fn send(&mut self, connection: u64, from: Place, message: Message) {
        if let Some((side, at)) = self.network.send(connection, from, message, self.now, &mut self.random) {
            self.schedule(at, Event::Deliver { connection, side });
        }
    }

    fn deliver(&mut self, connection: u64, side: usize) -> Verdict {
        let Some(found) = self.network.connection(connection) else { return Ok(()) };
        let (to, from) = (found.ends[side], found.ends[1 - side]);
        if self.network.is_cut(from.place, to.place, Port::between(from.place, to.place)) {
            let again = self.now + Duration::from_millis(self.random.u64(20..80));
            self.schedule(again, Event::Deliver { connection, side });
            return Ok(());
        }
        if let Place::Server(server) = to.place
            && self.servers[server].paused_until > self.now
        {
            self.schedule(self.servers[server].paused_until, Event::Deliver { connection, side });
            return Ok(());
        }
        let Some(found) = self.network.connection(connection) else { return Ok(()) };
        let Some(message) = found.queues[side].pop_front() else { return Ok(()) };
        if matches!(message, Message::Closed) {
            self.network.drop_connection(connection);
        }
        if to != self.end(to.place) {
            return Ok(());
        }
        match (to.place, from.place, message) {
            (Place::Client(client), _, Message::Bytes(bytes)) => self.client_receives(client, &bytes),
            (Place::Client(client), _, Message::Closed) => {
                self.clients[client].disconnected();
                Ok(())
            }
            (Place::Server(server), Place::Client(client), message) => {
                self.server_hears_client(server, client, connection, message)
            }
            (Place::Server(server), Place::Server(_), message) => self.server_hears_server(server, connection, message),
        }
    }

    /// Ends a connection; both ends that are told hear it at once or a little later.
    pub(crate) fn reset(&mut self, connection: u64) -> Verdict {
        let Some(dropped) = self.network.drop_connection(connection) else { return Ok(()) };
        for end in dropped.ends {
            if end != self.end(end.place) {
                continue;
            }
            match end.place {
                Place::Client(client) => self.clients[client].disconnected(),
                Place::Server(server) => self.server_loses(server, connection)?,
            }
        }
        Ok(())
    }

    // ---- clients ----

    fn client_turn(&mut self, client: usize) -> Verdict {
        let think = self.swarm.think.mul_f64(0.1 + 1.8 * self.clients[client].random.f64());
        self.schedule(self.now + think, Event::ClientTurn { client });
        let it = &mut self.clients[client];
        let asked = self.history.ops.len();
        let action = it.turn(self.now, &self.swarm, &self.plan, &mut self.history, self.may_ask);
        if let Some(op) = self.history.ops.get(asked) {
            self.trace.event(self.now, &it.kind, it.drawn - 1, || format!("client {client} asks {op}"));
        }
        match action {
            Action::Wait => {}
            Action::Dial => {
                let server = self.clients[client].random.usize(0..self.servers.len());
                let (at, life) = (self.now + self.network.delay(&mut self.random), self.clients[client].life);
                self.schedule(at, Event::ClientDial { client, life, server });
            }
            Action::Send(bytes) => {
                if let Some(connection) = self.clients[client].connection {
                    self.send(connection, Place::Client(client), Message::Bytes(bytes));
                }
            }
            Action::HangUp => {
                self.check_handshake(client)?;
                if let Some(connection) = self.clients[client].connection {
                    self.send(connection, Place::Client(client), Message::Closed);
                }
                self.clients[client].disconnected();
            }
        }
        Ok(())
    }

    /// A client that gives a handshake up was not let down by an ensemble that was whole all the while.
    fn check_handshake(&self, client: usize) -> Verdict {
        let is_whole = self.expects_handshakes && self.ledger.voting().all(|server| self.is_serving(server));
        let whole_since = self.office_changed.max(self.swarm.storm) + self.swarm.tick * 2;
        match self.clients[client].opening_since().filter(|since| is_whole && *since > whole_since) {
            Some(since) => {
                Err(Violation::new("I-12", format!("a handshake of client {client} at {since:?} is not answered")))
            }
            None => Ok(()),
        }
    }

    fn client_dial(&mut self, client: usize, life: u64, server: usize) -> Verdict {
        let (here, there) = (Place::Client(client), Place::Server(server));
        if self.clients[client].life != life {
            return Ok(());
        }
        if self.servers[server].process.is_none() || !self.network.is_open(here, there, Port::Client) {
            self.clients[client].disconnected();
            return Ok(());
        }
        if self.servers[server].paused_until > self.now {
            self.schedule(self.servers[server].paused_until, Event::ClientDial { client, life, server });
            return Ok(());
        }
        let connection = self.network.connect(self.end(here), self.end(there));
        self.trace.line(self.now, || format!("client {client} reaches server {server} on {connection}"));
        self.server_accepts_client(server, connection)?;
        let bytes = self.clients[client].connected(connection, self.now, &self.swarm);
        self.heard(client, Ear::Anybody);
        self.send(connection, here, Message::Bytes(bytes));
        Ok(())
    }

    /// A client speaks.
    pub(crate) fn heard(&mut self, client: usize, by: Ear) {
        if let Some(session) = self.clients[client].session() {
            let heard = Heard { at: self.now, timeout: self.clients[client].session_timeout(), by };
            self.heard.entry(session).or_default().push(heard);
        }
    }

    fn client_receives(&mut self, client: usize, bytes: &[u8]) -> Verdict {
        let (before, was_attached) = (self.clients[client].session(), self.clients[client].is_attached());
        let answer = self.clients[client].receive(bytes, self.now, &mut self.history)?;
        let after = self.clients[client].session();
        if !was_attached {
            sightings::handshake(self, client, before);
        }
        if after != before {
            self.trace.line(self.now, || format!("client {client} had session {before:?}, has {after:?}"));
        }
        if let (false, Some(connection)) = (answer.is_empty(), self.clients[client].connection) {
            self.send(connection, Place::Client(client), Message::Bytes(answer));
        }
        Ok(())
    }
}
