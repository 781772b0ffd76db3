//! The ports on which clients and other servers come in, and how they move when a reconfiguration gives this server other addresses.
//!
//! A port is bound before the store is read and listens when it was. Later it follows the active configuration: the new address is
//! bound first, then the old one is given up; connections that exist stay (`NIOServerCnxnFactory.reconfigure`,
//! `QuorumCnxManager.Listener`). An address that cannot be bound is tried again for ever, while the old one still serves, unless both
//! have the same port. `observerMasterPort` is open while the active configuration has this server as a participant, and not while it
//! observes: an observer takes none, and would be in the way of a voter on the same host.

use crate::config::{Endpoint, Settings};
use crate::quorum_port::ACCEPT_PAUSE;
use ensemble_proto::ServerId;
use ensemble_proto::membership::{Member, MemberRole, Membership};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// Pause between attempts to bind a port.
const BIND_PAUSE: Duration = Duration::from_secs(1);
const QUORUM_BACKLOG: u32 = 128;

/// One of a server's ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plane {
    Client,
    Quorum,
    Election,
    Observers,
}

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Endpoints {
    client: Option<Endpoint>,
    quorum: Option<Endpoint>,
    election: Option<Endpoint>,
    observers: Option<Endpoint>,
}

impl Endpoints {
    /// A line of the configuration says where, and whether observers come in; without a client address in it, clients come in where they did.
    fn of(own: &Member, listen_on_all_ips: bool, client: Option<Endpoint>, observers: Option<u16>) -> Endpoints {
        let host = if listen_on_all_ips { "0.0.0.0" } else { &own.host };
        let at = |port| Some(Endpoint { host: host.to_owned(), port });
        let line = own.client.as_ref().map(|client| Endpoint { host: client.host.clone(), port: client.port });
        Endpoints {
            client: line.or(client),
            quorum: at(own.quorum_port),
            election: at(own.election_port),
            observers: observers.filter(|_| own.role == MemberRole::Participant).and_then(at),
        }
    }

    fn at(&self, plane: Plane) -> Option<&Endpoint> {
        match plane {
            Plane::Client => self.client.as_ref(),
            Plane::Quorum => self.quorum.as_ref(),
            Plane::Election => self.election.as_ref(),
            Plane::Observers => self.observers.as_ref(),
        }
    }
}

/// Where the ports belong, by the active configuration.
pub(crate) struct Places {
    id: ServerId,
    listen_on_all_ips: bool,
    /// Where observers come in while this server is a participant.
    observers: Option<u16>,
    wanted: watch::Sender<Endpoints>,
}

impl Places {
    pub(crate) fn new(settings: &Settings) -> Places {
        let listen_on_all_ips = settings.election.listen_on_all_ips;
        let own = settings.ensemble.own.as_ref().filter(|_| !settings.standalone);
        let observers = settings.election.observer_master_port.filter(|_| own.is_some());
        let wanted = match own {
            Some(own) => Endpoints::of(own, listen_on_all_ips, settings.client.clone(), observers),
            None => Endpoints { client: settings.client.clone(), ..Endpoints::default() },
        };
        Places { id: settings.id, listen_on_all_ips, observers, wanted: watch::Sender::new(wanted) }
    }

    /// Moves the ports to where the configuration says; a server that is not in it stays where it is.
    pub(crate) fn follow(&self, membership: &Membership) {
        if let Some(own) = membership.servers.get(&self.id) {
            self.wanted.send_if_modified(|wanted| {
                let moved = Endpoints::of(own, self.listen_on_all_ips, wanted.client.clone(), self.observers);
                let differs = moved != *wanted;
                *wanted = moved;
                differs
            });
        }
    }

    /// A port that is not open yet.
    fn listener(&self, plane: Plane, options: Socket) -> Listener {
        Listener { plane, options, at: None, listener: None, wanted: self.wanted.subscribe(), moves_at: None }
    }

    /// Where clients come in, or are about to.
    pub(crate) fn client_port(&self) -> Option<u16> {
        self.wanted.borrow().client.as_ref().map(|client| client.port)
    }
}

/// The ports, bound. Connections are refused until [`Ports::listen`]: nobody waits for a store that is being read.
pub(crate) struct Ports {
    client: Option<Bound>,
    quorum: Option<Bound>,
    election: Option<Bound>,
    observers: Option<Bound>,
    /// How a port for other servers that opens later is set up.
    between: Socket,
}

/// The ports, listening.
pub(crate) struct Listeners {
    pub(crate) client: Option<Listener>,
    pub(crate) quorum: Option<Listener>,
    pub(crate) election: Option<Listener>,
    pub(crate) observers: Option<Listener>,
}

impl Ports {
    /// Binds every port of a server, the ones between servers as often as `electionPortBindRetry` says.
    ///
    /// # Errors
    /// Names the port.
    pub(crate) async fn bind(settings: &Settings, places: &Places) -> io::Result<Ports> {
        let wanted = places.wanted.borrow().clone();
        let between = Socket { backlog: QUORUM_BACKLOG, keepalive: settings.election.keepalive };
        let attempts = settings.election.bind_retries;
        let clients = Socket { backlog: settings.client_backlog, keepalive: settings.client_keepalive };
        let bind = async |plane, socket, attempts| match wanted.at(plane) {
            Some(endpoint) => bind(endpoint, socket, attempts, plane).await.map(Some),
            None => Ok(None),
        };
        Ok(Ports {
            client: bind(Plane::Client, clients, 1).await?,
            quorum: bind(Plane::Quorum, between, attempts).await?,
            election: bind(Plane::Election, between, attempts).await?,
            observers: bind(Plane::Observers, between, attempts).await?,
            between,
        })
    }

    /// Lets connections come in.
    ///
    /// # Errors
    /// Names the port.
    pub(crate) fn listen(self, places: &Places) -> io::Result<Listeners> {
        let listen = |bound: Option<Bound>| match bound {
            Some(Bound { socket, options, endpoint, plane }) => {
                let listener = socket.listen(options.backlog).map_err(|error| named(plane, &endpoint, &error))?;
                Ok(Some(Listener { at: Some(endpoint), listener: Some(listener), ..places.listener(plane, options) }))
            }
            None => Ok::<_, io::Error>(None),
        };
        let observers = listen(self.observers)?;
        let later = || places.observers.map(|_| places.listener(Plane::Observers, self.between));
        Ok(Listeners {
            client: listen(self.client)?,
            quorum: listen(self.quorum)?,
            election: listen(self.election)?,
            observers: observers.or_else(later),
        })
    }
}

struct Bound {
    socket: TcpSocket,
    options: Socket,
    endpoint: Endpoint,
    plane: Plane,
}

/// A port that listens where the active configuration says.
pub(crate) struct Listener {
    plane: Plane,
    options: Socket,
    /// Where it listens; nowhere as long as this server has no use for it.
    at: Option<Endpoint>,
    /// Nothing between giving up an address and getting another one with the same port.
    listener: Option<TcpListener>,
    wanted: watch::Receiver<Endpoints>,
    /// When to try to move; `None` where it belongs here.
    moves_at: Option<Instant>,
}

impl Listener {
    /// Where it listens, with the port that the system chose for 0.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The next connection.
    pub(crate) async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            tokio::select! {
                accepted = accept(self.listener.as_ref()) => match accepted {
                    Ok(accepted) => return accepted,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept on the {}", self.plane.name());
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                // The sender, which the driver has, outlives the listeners.
                _ = self.wanted.changed() => self.moves_at = Some(Instant::now()),
                () = until(self.moves_at) => self.follow().await,
            }
        }
    }

    /// Goes where it belongs, if it can.
    async fn follow(&mut self) {
        self.moves_at = None;
        let what = self.plane.name();
        let Some(wanted) = self.wanted.borrow().at(self.plane).cloned() else {
            if self.at.take().is_some() {
                tracing::info!("the {what} is closed");
            }
            self.listener = None;
            return;
        };
        if self.at.as_ref() == Some(&wanted) && self.listener.is_some() {
            return;
        }
        if self.at.as_ref().is_some_and(|at| at.port == wanted.port) {
            self.listener = None;
        }
        let (host, port) = (&wanted.host, wanted.port);
        match try_bind(&wanted, self.options).await.and_then(|socket| socket.listen(self.options.backlog)) {
            Ok(listener) => {
                tracing::info!(host, port, "the {what} has moved");
                (self.listener, self.at) = (Some(listener), Some(wanted));
            }
            Err(error) => {
                tracing::warn!(host, port, %error, "cannot move the {what}, trying again");
                self.moves_at = Some(Instant::now() + BIND_PAUSE);
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => pending().await,
    }
}

impl Plane {
    /// For messages.
    fn name(self) -> &'static str {
        match self {
            Plane::Client => "clientPort",
            Plane::Quorum => "quorum port",
            Plane::Election => "election port",
            Plane::Observers => "observerMasterPort",
        }
    }
}

fn named(plane: Plane, endpoint: &Endpoint, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} {}:{}: {error}", plane.name(), endpoint.host, endpoint.port))
}

/// How a listening socket is set up.
#[derive(Clone, Copy)]
struct Socket {
    backlog: u32,
    /// `SO_KEEPALIVE`, which accepted connections inherit.
    keepalive: bool,
}

/// Binds a port, trying `attempts` times, or for ever if that is 0.
async fn bind(endpoint: &Endpoint, options: Socket, attempts: u32, plane: Plane) -> io::Result<Bound> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match try_bind(endpoint, options).await {
            Ok(socket) => return Ok(Bound { socket, options, endpoint: endpoint.clone(), plane }),
            Err(error) if attempt == attempts => return Err(named(plane, endpoint, &error)),
            Err(error) => {
                let what = plane.name();
                tracing::warn!(host = endpoint.host, port = endpoint.port, %error, "cannot bind the {what}, trying again");
                tokio::time::sleep(BIND_PAUSE).await;
            }
        }
    }
}

/// Linux refuses to bind a port on which somebody listens, also with `SO_REUSEADDR`.
async fn try_bind(endpoint: &Endpoint, options: Socket) -> io::Result<TcpSocket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_keepalive(options.keepalive)?;
        match socket.bind(address) {
            Ok(()) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// Server 1 of a configuration, at these ports of loopback.
    fn membership(quorum: u16, election: u16, client: &str) -> Membership {
        Membership::parse(&format!("server.1=127.0.0.1:{quorum}:{election}{client}")).unwrap()
    }

    fn places(membership: &Membership) -> Places {
        let own = &membership.servers[&ServerId(1)];
        let wanted = watch::Sender::new(Endpoints::of(own, false, None, None));
        Places { id: ServerId(1), listen_on_all_ips: false, observers: None, wanted }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(test);
    }

    /// Ports of loopback that nobody uses, and what keeps them from others.
    fn ports(count: usize) -> (Vec<u16>, Vec<TcpSocket>) {
        let sockets: Vec<_> = (0..count).map(|_| TcpSocket::new_v4().unwrap()).collect();
        sockets.iter().for_each(|socket| socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
        (sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect(), sockets)
    }

    async fn client_listener(places: &Places) -> Listener {
        let at = places.wanted.borrow().client.clone().unwrap();
        let options = Socket { backlog: 8, keepalive: false };
        let bound = bind(&at, options, 1, Plane::Client).await.unwrap();
        Ports { client: Some(bound), quorum: None, election: None, observers: None, between: options }
            .listen(places)
            .unwrap()
            .client
            .unwrap()
    }

    /// Whether a connection to this port comes in.
    async fn comes_in(listener: &mut Listener, port: u16) -> bool {
        let connect = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let both = async { tokio::join!(connect, tokio::time::timeout(3 * BIND_PAUSE, listener.accept())) };
        matches!(both.await, (Ok(_), Ok(_)))
    }

    #[test]
    fn a_port_moves_with_the_configuration_and_the_connections_on_the_old_one_stay() {
        run(async {
            let (ports, held) = ports(4);
            drop(held);
            let places = places(&membership(ports[0], ports[1], &format!(";127.0.0.1:{}", ports[2])));
            let mut listener = client_listener(&places).await;
            let old = TcpStream::connect((Ipv4Addr::LOCALHOST, ports[2])).await.unwrap();
            let (mut theirs, _) = listener.accept().await;
            places.follow(&membership(ports[0], ports[1], &format!(";127.0.0.1:{}", ports[3])));
            assert_eq!(places.client_port(), Some(ports[3]));
            assert!(tokio::time::timeout(BIND_PAUSE, listener.accept()).await.is_err(), "nobody has come yet");
            assert!(comes_in(&mut listener, ports[3]).await);
            assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, ports[2])).await.is_err(), "the old port is closed");
            tokio::io::AsyncWriteExt::write_all(&mut theirs, b"x").await.unwrap();
            old.readable().await.unwrap();
            // Neither a configuration without a client address nor one without this server moves it.
            places.follow(&membership(ports[0], ports[1], ""));
            places.follow(&Membership::default());
            assert!(comes_in(&mut listener, ports[3]).await);
        });
    }

    #[test]
    fn a_port_that_is_taken_is_tried_again_while_the_old_one_serves() {
        run(async {
            let (ports, mut held) = ports(4);
            let taken = held.pop().unwrap().listen(1).unwrap();
            drop(held);
            let places = places(&membership(ports[0], ports[1], &format!(";127.0.0.1:{}", ports[2])));
            let mut listener = client_listener(&places).await;
            places.follow(&membership(ports[0], ports[1], &format!(";127.0.0.1:{}", ports[3])));
            assert!(tokio::time::timeout(3 * BIND_PAUSE, listener.accept()).await.is_err());
            assert!(comes_in(&mut listener, ports[2]).await);
            drop(taken);
            assert!(tokio::time::timeout(3 * BIND_PAUSE, listener.accept()).await.is_err());
            assert!(comes_in(&mut listener, ports[3]).await);
        });
    }

    #[test]
    fn observers_come_in_while_this_server_is_a_participant() {
        run(async {
            let (ports, held) = ports(3);
            drop(held);
            let [observes, votes] = ["observer", "participant"].map(|role| {
                let own = format!("server.1=127.0.0.1:{}:{}:{role}", ports[0], ports[1]);
                Membership::parse(&format!("{own}\nserver.2=127.0.0.1:1:2")).unwrap()
            });
            let places = Places { observers: Some(ports[2]), ..places(&observes) };
            let options = Socket { backlog: 8, keepalive: false };
            let closed = Ports { client: None, quorum: None, election: None, observers: None, between: options };
            let mut listener = closed.listen(&places).unwrap().observers.unwrap();
            assert_eq!(listener.local_addr(), None);
            for (membership, is_open) in [(&votes, true), (&observes, false), (&votes, true)] {
                places.follow(membership);
                assert!(tokio::time::timeout(BIND_PAUSE, listener.accept()).await.is_err(), "nobody has come yet");
                assert_eq!(comes_in(&mut listener, ports[2]).await, is_open);
            }
        });
    }

    #[test]
    fn another_host_with_the_same_port_is_no_contradiction() {
        run(async {
            let (ports, held) = ports(3);
            drop(held);
            let places = places(&membership(ports[0], ports[1], &format!(";127.0.0.1:{}", ports[2])));
            let mut listener = client_listener(&places).await;
            places.follow(&membership(ports[0], ports[1], &format!(";0.0.0.0:{}", ports[2])));
            assert!(tokio::time::timeout(BIND_PAUSE, listener.accept()).await.is_err());
            assert_eq!(listener.local_addr().unwrap().ip(), Ipv4Addr::UNSPECIFIED);
            assert!(comes_in(&mut listener, ports[2]).await);
        });
    }
}
