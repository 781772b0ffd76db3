//! Links between places, and the connections on them.
//!
//! A connection is two queues in order (TCP): what was sent arrives in that order or not at all. A direction that is cut holds
//! everything back, as retransmission does, until it heals or the connection ends; nothing overtakes. A process that dies resets
//! its connections, or, half-open, leaves the other side to find out by itself. The election plane is pairs of servers that dial
//! each other again and again. Each port is cut by itself: a server may be out of reach for its followers and not for elections.

use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Something with an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// A server, by index.
    Server(usize),
    /// A client, by index.
    Client(usize),
}

/// What a message is addressed to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Port {
    /// Where notifications arrive.
    Election,
    /// Where followers connect to their leader.
    Quorum,
    /// Where clients connect.
    Client,
}

impl Port {
    /// The port of the connections between two places; notifications travel on none of them.
    pub fn between(a: Place, b: Place) -> Port {
        match (a, b) {
            (Place::Server(_), Place::Server(_)) => Port::Quorum,
            (Place::Client(_), _) | (_, Place::Client(_)) => Port::Client,
        }
    }
}

/// A direction between two places, for one port.
pub type Direction = (Place, Place, Port);

/// One end of a connection: a place, and which of its lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// Where.
    pub place: Place,
    /// The process there; a later one does not hear of it.
    pub life: u64,
}

/// What travels on a connection.
#[derive(Clone, Debug)]
pub enum Message {
    /// Bytes, of whichever protocol.
    Bytes(Vec<u8>),
    /// The sender has closed.
    Closed,
}

/// A connection, from the one that dialled (0) to the one that accepted (1).
pub struct Connection {
    /// The two ends.
    pub ends: [End; 2],
    /// In flight to end 0 and to end 1.
    pub queues: [VecDeque<Message>; 2],
    /// When the last message to each end arrives at the earliest.
    arrivals: [Duration; 2],
}

impl Connection {
    fn side(&self, place: Place) -> Option<usize> {
        self.ends.iter().position(|end| end.place == place)
    }
}

fn delay(latency: Duration, is_calm: bool, random: &mut Rng) -> Duration {
    let is_late = random.u8(0..100) == 0 && !is_calm;
    let factor = if is_late { random.f64() * 50.0 } else { 0.5 + random.f64() };
    latency.mul_f64(factor) + Duration::from_micros(1)
}

/// All links and connections.
pub struct Network {
    latency: Duration,
    /// Whether a message takes its usual time, always.
    is_calm: bool,
    /// Directed links that carry nothing.
    cut: BTreeSet<Direction>,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
}

impl Network {
    /// No connection, nothing cut.
    pub fn new(latency: Duration) -> Network {
        Network { latency, is_calm: false, cut: BTreeSet::new(), connections: BTreeMap::new(), next_connection: 1 }
    }

    /// The time that one message takes: typically the latency; until all is healed, now and then much more.
    pub fn delay(&self, random: &mut Rng) -> Duration {
        delay(self.latency, self.is_calm, random)
    }

    /// Cuts the direction.
    pub fn cut(&mut self, direction: Direction) {
        self.cut.insert(direction);
    }

    /// Heals the direction.
    pub fn heal(&mut self, direction: Direction) {
        self.cut.remove(&direction);
    }

    /// Heals everything: nothing is cut, no message is late any more.
    pub fn heal_all(&mut self) {
        self.is_calm = true;
        self.cut.clear();
    }

    /// Whether the direction carries nothing.
    pub fn is_cut(&self, from: Place, to: Place, port: Port) -> bool {
        self.cut.contains(&(from, to, port))
    }

    /// Whether anything is cut.
    pub fn has_cuts(&self) -> bool {
        !self.cut.is_empty()
    }

    /// Whether both directions are open, as dialling needs.
    pub fn is_open(&self, a: Place, b: Place, port: Port) -> bool {
        !self.is_cut(a, b, port) && !self.is_cut(b, a, port)
    }

    /// Makes a connection.
    pub fn connect(&mut self, dialler: End, acceptor: End) -> u64 {
        let id = self.next_connection;
        self.next_connection += 1;
        let queues = [VecDeque::new(), VecDeque::new()];
        self.connections.insert(id, Connection { ends: [dialler, acceptor], queues, arrivals: [Duration::ZERO; 2] });
        id
    }

    /// The connection, while any end may still hear of it.
    pub fn connection(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.get_mut(&id)
    }

    /// The place at an end of a connection.
    pub fn end(&self, id: u64, side: usize) -> Option<Place> {
        Some(self.connections.get(&id)?.ends[side].place)
    }

    /// Which end of a connection a place is.
    pub fn side(&self, id: u64, place: Place) -> Option<usize> {
        self.connections.get(&id)?.side(place)
    }

    /// Queues a message to the other end; returns that end's side and when the message arrives.
    pub fn send(
        &mut self,
        id: u64,
        from: Place,
        message: Message,
        now: Duration,
        random: &mut Rng,
    ) -> Option<(usize, Duration)> {
        let connection = self.connections.get_mut(&id)?;
        let side = 1 - connection.side(from)?;
        let delay = delay(self.latency, self.is_calm, random);
        let at = (now + delay).max(connection.arrivals[side]);
        connection.arrivals[side] = at;
        connection.queues[side].push_back(message);
        Some((side, at))
    }

    /// Forgets a connection: nothing in flight arrives.
    pub fn drop_connection(&mut self, id: u64) -> Option<Connection> {
        self.connections.remove(&id)
    }

    /// All connections of a place.
    pub fn connections_of(&self, place: Place) -> Vec<u64> {
        let is_end = |connection: &Connection| connection.ends.iter().any(|end| end.place == place);
        self.connections.iter().filter(|(_, connection)| is_end(connection)).map(|(id, _)| *id).collect()
    }

    /// All connections.
    pub fn ids(&self) -> Vec<u64> {
        self.connections.keys().copied().collect()
    }
}
