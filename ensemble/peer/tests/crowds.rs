//! As many clients as a large service has: ten thousand sessions that lose their leader, fifty thousand that come back at once, a hundred
//! thousand that watch one znode.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Received, World, create, new_session, read, set};
use ensemble_peer::ClientId;
use ensemble_proto::SessionId;
use ensemble_proto::client::{ConnectRequest, EventType, OpCode, password};
use ensemble_zab::Role;
use std::time::Duration;

/// `tickTime` of [`World`].
const TICK: Duration = Duration::from_secs(2);

/// Sessions with the shortest timeout that there is, two ticks, shared among the servers.
fn short_sessions(world: &mut World, count: usize) -> Vec<SessionId> {
    let servers = world.peers.len();
    let begin = |number: usize| {
        let client = world.open(number % servers);
        world.handshake(number % servers, client, &new_session(4000)).expect("a response").session
    };
    (0..count).map(begin).collect()
}

/// A client comes back to a server.
#[track_caller]
fn take_up(world: &mut World, server: usize, session: SessionId) -> ClientId {
    let client = world.open(server);
    let secret = password(session);
    let request = ConnectRequest { session, password: &secret, ..new_session(4000) };
    let response = world.handshake(server, client, &request).expect("a response");
    assert_eq!(response.session, session, "it is given back");
    client
}

#[test]
fn of_ten_thousand_sessions_that_lose_their_leader_none_ends_that_comes_back_in_time() {
    const SESSIONS: usize = 10_000;
    let mut world = World::new(3);
    let sessions = short_sessions(&mut world, SESSIONS);
    let former = world.leader();
    let survivors: Vec<usize> = (0..3).filter(|server| *server != former).collect();
    world.cut.insert(former);
    let successor = |world: &World| {
        let leads = |server: &&usize| {
            world.peers[**server].status().role == Role::Leading && world.peers[**server].status().serving
        };
        survivors.iter().find(leads).copied()
    };
    while successor(&world).is_none() {
        world.advance(Duration::from_millis(50));
    }
    let leader = successor(&world).expect("the loop has ended");
    assert_eq!(world.peers[leader].tree().sessions().len(), SESSIONS, "the time without a leader counts for none");
    world.advance(Duration::from_millis(3500)); // of the four seconds that each has anew
    let (back, gone): (Vec<_>, Vec<_>) = sessions.iter().enumerate().partition(|(number, _)| number % 10 != 0);
    for (number, session) in &back {
        take_up(&mut world, survivors[number % 2], **session);
    }
    world.advance(Duration::from_millis(500) + TICK); // what is left of them, and a tick of rounding
    let living = world.peers[leader].tree().sessions();
    assert!(back.iter().all(|(_, session)| living.contains_key(session)), "whoever came back lives");
    assert!(gone.iter().all(|(_, session)| !living.contains_key(session)), "who does not come back is silent");
}

#[test]
fn fifty_thousand_clients_that_come_back_at_once_find_their_sessions() {
    const CLIENTS: usize = 50_000;
    let mut world = World::standalone();
    let sessions = short_sessions(&mut world, CLIENTS);
    for client in world.connected(0) {
        world.hang_up(0, client);
    }
    // All of them dial while the server stands still, for longer than their sessions live.
    let storm: Vec<_> = sessions.iter().map(|session| (world.open(0), *session)).collect();
    world.stand_still(Duration::from_secs(10));
    for (client, session) in storm {
        let secret = password(session);
        let request = ConnectRequest { session, password: &secret, ..new_session(4000) };
        assert_eq!(world.handshake(0, client, &request).expect("a response").session, session);
    }
    assert_eq!(world.peers[0].tree().sessions().len(), CLIENTS, "no silence of the server's own making ends a session");
}

#[test]
fn a_hundred_thousand_watchers_of_a_znode_hear_of_a_change_once_each() {
    const WATCHERS: usize = 100_000;
    const BYTES_MAX: usize = 100;
    let mut world = World::standalone();
    let (writer, _) = world.session(0);
    create(&mut world, 0, writer, 1, "/flag", 0);
    let watchers: Vec<_> = (0..WATCHERS).map(|_| world.session(0).0).collect();
    for watcher in &watchers {
        read(&mut world, 0, *watcher, 1, OpCode::GetData, "/flag", true);
        world.received(0, *watcher);
    }
    assert_eq!(world.peers[0].status().watches, WATCHERS);
    world.received(0, writer);
    for xid in [2, 3] {
        set(&mut world, 0, writer, xid, "/flag");
        assert!(matches!(world.received(0, writer)[..], [Received::Reply { xid: answered, .. }] if answered == xid));
    }
    for watcher in watchers {
        assert!(world.inbox[&(0, watcher)].len() <= BYTES_MAX, "the event, not the data");
        let told = world.received(0, watcher);
        let [Received::Event { event, .. }] = &told[..] else { panic!("{told:?} instead of one event") };
        assert_eq!((event.kind, event.path.as_str()), (EventType::NodeDataChanged, "/flag"));
    }
    assert_eq!(world.peers[0].status().watches, 0);
}
