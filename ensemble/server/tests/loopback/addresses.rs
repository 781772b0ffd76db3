//! Where servers find each other: names that lead nowhere, and IPv6.

use crate::client::Client;
use crate::world::{Place, Server, ensemble, member, places, wait_for};
use ensemble_proto::ErrorCode;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// A port that lets connections neither in nor down, like the address of a pod that is gone.
struct BlackHole {
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    fn new(address: SocketAddr) -> BlackHole {
        const FULL_AFTER: Duration = Duration::from_millis(200);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(address).unwrap();
            socket.listen(1).unwrap().into_std().unwrap()
        });
        // Nobody accepts: once the backlog is full the kernel drops what comes.
        let connect = || TcpStream::connect_timeout(&address, FULL_AFTER).ok();
        BlackHole { _listener: listener, _waiting: std::iter::from_fn(connect).collect() }
    }
}

/// Two servers of which one, `misled`, is told that the other is at an address where nobody answers.
fn check(misled: usize) {
    let gone = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    let (mut servers, places) = ensemble(2, "");
    let mut view = places.clone();
    let other = 2 - misled;
    view[other].host = gone;
    let Place { quorum, election, .. } = view[other];
    let _holes = [quorum, election].map(|port| BlackHole::new(SocketAddr::new(gone, port)));
    servers[misled - 1] = member(misled, &view, "");
    servers.iter_mut().for_each(Server::start);
    for (server, path) in servers.iter().zip(["/a", "/b"]) {
        let mut client = wait_for("a leader", || Client::connect(server.client_port()).ok());
        assert_eq!(client.create(path, b"").unwrap(), ErrorCode::OK);
    }
}

#[test]
fn a_follower_reaches_its_leader_where_the_leader_called_from() {
    // The larger id leads and is the one to call on the election port.
    check(1);
}

#[test]
fn a_server_is_called_back_where_it_called_from() {
    check(2);
}

#[test]
fn members_may_have_ipv6_addresses() {
    let places = places(Ipv6Addr::LOCALHOST, 3);
    let mut servers: Vec<_> = (1..=3).map(|id| member(id, &places, "")).collect();
    servers.iter_mut().for_each(Server::start);
    assert!(servers.iter().all(|server| server.client_port().is_ipv6()));
    let mut client = wait_for("a leader", || Client::connect(servers[0].client_port()).ok());
    assert_eq!(client.create("/a", b"one").unwrap(), ErrorCode::OK);
    for server in &servers {
        wait_for("the write on every server", || {
            let mut client = Client::connect(server.client_port()).ok()?;
            (client.get("/a").ok()? == Ok(b"one".to_vec())).then_some(())
        });
    }
}
