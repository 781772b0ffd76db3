//! A server without a quorum that serves clients which only read.

mod common;

use common::{World, create, new_session, read, set};
use ensemble_peer::ClientId;
use ensemble_proto::client::{ConnectRequest, ConnectResponse, OpCode, password, xid};
use ensemble_proto::jute::Writer;
use ensemble_proto::{ErrorCode, SessionId};
use std::time::Duration;

const OK: ErrorCode = ErrorCode::OK;
const REFUSED: ErrorCode = ErrorCode::NOT_READ_ONLY;

/// An ensemble whose server 0, a follower, has lost the others; and the session of a client that it had.
fn partitioned() -> (World, SessionId) {
    let mut world = World::with(3, |config| config.read_only = true);
    assert_ne!(world.leader(), 0);
    let (client, session) = world.session(0);
    create(&mut world, 0, client, 1, "/a", 0);
    world.cut.insert(0);
    while world.peers[0].status().serving {
        world.advance(Duration::from_millis(100));
    }
    assert!(world.closed.contains(&(0, client)));
    (world, session)
}

fn reader() -> ConnectRequest<'static> {
    ConnectRequest { read_only: Some(true), ..new_session(10_000) }
}

fn connect(world: &mut World, request: &ConnectRequest<'_>) -> (ClientId, Option<ConnectResponse>) {
    let client = world.open(0);
    let response = world.handshake(0, client, request);
    (client, response)
}

#[test]
fn it_serves_whoever_asks_for_it_after_a_while_and_nobody_else() {
    let (mut world, session) = partitioned();
    assert!(connect(&mut world, &reader()).1.is_none(), "an election may be all there is");
    world.advance(Duration::from_millis(1900));
    assert!(!world.peers[0].status().read_only);
    world.advance(Duration::from_millis(200));
    assert!(world.peers[0].status().read_only && !world.peers[0].status().serving);
    for read_only in [Some(false), None] {
        let (client, response) = connect(&mut world, &ConnectRequest { read_only, ..reader() });
        assert!(response.is_none() && world.closed.contains(&(0, client)), "{read_only:?}");
    }
    let password = password(session);
    let again = ConnectRequest { session, password: &password, ..reader() };
    assert!(connect(&mut world, &again).1.is_none(), "whether it lives is for a leader to say");
    let (client, response) = connect(&mut world, &reader());
    let response = response.expect("a session");
    assert_eq!((response.read_only, response.timeout_ms), (Some(true), 10_000));
    assert_eq!(world.peers[0].status().local_sessions, 1);
    // It is this server's: a client that loses its connection gets it back, and one that is silent loses it.
    world.hang_up(0, client);
    let again = ConnectRequest { session: response.session, password: &response.password, ..reader() };
    assert_eq!(connect(&mut world, &again).1.expect("a response").session, response.session);
    world.advance(Duration::from_secs(13));
    assert_eq!(world.peers[0].status().local_sessions, 0);
    assert_eq!(connect(&mut world, &again).1.expect("a response").session, SessionId(0), "expired");
}

#[test]
fn it_answers_reads_and_refuses_what_changes_anything_in_order() {
    let (mut world, _) = partitioned();
    world.advance(Duration::from_secs(3));
    let (client, _) = connect(&mut world, &reader());
    let zxid = world.peers[0].status().zxid;
    read(&mut world, 0, client, 1, OpCode::GetData, "/a", true);
    set(&mut world, 0, client, 2, "/a");
    read(&mut world, 0, client, 3, OpCode::Exists, "/b", false);
    world.request(0, client, xid::PING, OpCode::Ping, |_| ());
    assert_eq!(world.errors(0, client), vec![OK, REFUSED, ErrorCode::NO_NODE, OK]);
    use OpCode as O;
    for op in [
        O::Create,
        O::Create2,
        O::CreateTtl,
        O::CreateContainer,
        O::Delete,
        O::DeleteContainer,
        O::SetAcl,
        O::Multi,
        O::Check,
        O::Sync,
        O::Reconfig,
    ] {
        world.request(0, client, 4, op, |out| out.string("/"));
        assert_eq!(world.errors(0, client), vec![REFUSED], "{op:?}");
    }
    world.request(0, client, 5, O::CloseSession, |_| ());
    assert_eq!(world.errors(0, client), vec![OK]);
    assert!(world.closed.contains(&(0, client)));
    assert_eq!((world.peers[0].status().local_sessions, world.peers[0].status().zxid), (0, zxid));
}

#[test]
fn every_connection_ends_with_the_search_for_a_leader() {
    let (mut world, _) = partitioned();
    world.advance(Duration::from_secs(3));
    let (client, response) = connect(&mut world, &reader());
    let lost = response.expect("a session");
    world.heal();
    while !world.peers[0].status().serving {
        world.advance(Duration::from_millis(100));
    }
    assert!(world.closed.contains(&(0, client)) && !world.peers[0].status().read_only);
    let again = ConnectRequest { session: lost.session, password: &lost.password, ..reader() };
    assert_eq!(connect(&mut world, &again).1.expect("a response").session, SessionId(0), "it was for reading only");
    let (client, response) = connect(&mut world, &reader());
    assert_eq!(response.expect("a session").read_only, Some(false));
    set(&mut world, 0, client, 1, "/a");
    assert_eq!(world.errors(0, client), vec![OK]);
}

#[test]
fn a_server_that_is_not_asked_to_and_one_without_a_history_serve_nobody() {
    for (trusted, read_only, expected) in [(true, true, true), (true, false, false), (false, true, false)] {
        let mut world = World::begin(3, 0, trusted, |config| config.read_only = read_only);
        world.cut.extend([0, 1, 2]);
        world.advance(Duration::from_secs(30));
        assert_eq!(world.peers[0].status().read_only, expected, "{trusted} {read_only}");
    }
}
