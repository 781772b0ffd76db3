//! Sessions that only one server knows, and how they become sessions of the ensemble.

mod common;

use common::{Received, World, create, new_session, read, set};
use ensemble_peer::ClientId;
use ensemble_proto::client::{
    AclEntry, CheckRequest, ConnectRequest, CreateRequest, MultiOp, MultiRequest, MultiResult, OpCode, password, xid,
};
use ensemble_proto::jute::{Reader, Writer};
use ensemble_proto::{Acl, ErrorCode, SessionId};
use std::time::Duration;

const OK: ErrorCode = ErrorCode::OK;
const EPHEMERAL: i32 = 1;

fn world(upgrading: bool) -> World {
    World::with(3, |config| {
        config.local_sessions = true;
        config.local_sessions_upgrading = upgrading;
    })
}

/// Each server's position.
fn zxids(world: &World) -> Vec<i64> {
    world.peers.iter().map(|peer| peer.status().zxid.0).collect()
}

fn is_global(world: &World, session: SessionId) -> bool {
    let known: Vec<_> = world.peers.iter().map(|peer| peer.tree().sessions().contains_key(&session)).collect();
    assert!(known.iter().all(|one| *one == known[0]), "{known:?}");
    known[0]
}

/// Has the session back on a server; `None` when it has expired.
fn attach(world: &mut World, server: usize, session: SessionId) -> Option<ClientId> {
    let (client, password) = (world.open(server), password(session));
    let request = ConnectRequest { session, password: &password, ..new_session(10_000) };
    let response = world.handshake(server, client, &request).expect("a response");
    (response.session == session).then_some(client)
}

fn multi(world: &mut World, server: usize, client: ClientId, xid: i32, path: &str) {
    let create = |path: String, flags| MultiOp::Create {
        op: OpCode::Create,
        request: CreateRequest { path: path.into(), data: None, acl: Some(vec![AclEntry::world(Acl::ALL)]), flags },
    };
    let ops = vec![create(path.to_string(), 0), create(format!("{path}/e"), EPHEMERAL)];
    world.request(server, client, xid, OpCode::Multi, |out| MultiRequest { ops }.encode(out));
}

#[test]
fn a_local_session_costs_no_transaction_and_belongs_to_one_server() {
    for mut world in [world(false), world(true)] {
        for server in [world.leader(), world.follower()] {
            let before = zxids(&world);
            let (client, session) = world.session(server);
            read(&mut world, server, client, 1, OpCode::Exists, "/", true);
            world.hang_up(server, client);
            for other in (0..3).filter(|other| *other != server) {
                assert_eq!(attach(&mut world, other, session), None, "nobody else knows it");
            }
            let client = attach(&mut world, server, session).expect("its own server does");
            assert_eq!((zxids(&world), is_global(&world, session)), (before.clone(), false));
            assert_eq!(world.peers[server].status().local_sessions, 1);
            create(&mut world, server, client, 1, &format!("/p{server}"), 0);
            set(&mut world, server, client, 2, &format!("/p{server}"));
            world.request(server, client, 3, OpCode::Sync, |out| out.string("/"));
            assert_eq!(world.errors(server, client), vec![OK; 3], "server {server}");
            let before = zxids(&world);
            world.request(server, client, 4, OpCode::CloseSession, |_| ());
            assert_eq!(world.errors(server, client), vec![OK]);
            assert!(world.closed.contains(&(server, client)));
            assert_eq!(zxids(&world), before);
            assert_eq!(attach(&mut world, server, session), None);
        }
    }
}

#[test]
fn a_closed_local_session_answers_what_came_before_and_nothing_behind() {
    let mut world = world(true);
    let server = world.follower();
    let (client, _) = world.session(server);
    world.sync = false;
    create(&mut world, server, client, 1, "/before", 0);
    world.request(server, client, 2, OpCode::CloseSession, |_| ());
    create(&mut world, server, client, 3, "/behind", EPHEMERAL);
    world.sync = true;
    world.settle();
    assert_eq!(world.errors(server, client), vec![OK, OK]);
    assert!(world.closed.contains(&(server, client)));
    assert!(world.peers[server].tree().get("/before").is_some() && world.peers[server].tree().get("/behind").is_none());
}

#[test]
fn its_own_server_ends_it_when_it_is_silent() {
    let mut world = world(true);
    for server in [world.leader(), world.follower()] {
        let (silent, gone) = world.session(server);
        let (pinging, living) = world.session(server);
        for _ in 0..8 {
            world.advance(Duration::from_secs(2));
            world.request(server, pinging, xid::PING, OpCode::Ping, |_| ());
        }
        assert!(world.closed.contains(&(server, silent)) && !world.closed.contains(&(server, pinging)));
        assert_eq!(attach(&mut world, server, gone), None);
        let again = attach(&mut world, server, living).expect("alive");
        world.request(server, again, 1, OpCode::CloseSession, |_| ());
    }
}

#[test]
fn without_upgrading_it_has_no_ephemeral_znodes() {
    let mut world = world(false);
    for server in [world.leader(), world.follower()] {
        let (client, session) = world.session(server);
        create(&mut world, server, client, 1, "/no", EPHEMERAL);
        assert_eq!(world.errors(server, client), vec![ErrorCode::EPHEMERAL_ON_LOCAL_SESSION], "server {server}");
        multi(&mut world, server, client, 2, "/no");
        let messages = world.received(server, client);
        let [Received::Reply { error: OK, body, .. }] = &messages[..] else { panic!("{messages:?}") };
        let results = MultiResult::decode_all(&mut Reader::new(body)).expect("results");
        let expected = [MultiResult::Error(OK), MultiResult::Error(ErrorCode::EPHEMERAL_ON_LOCAL_SESSION)];
        assert_eq!(results, expected, "server {server}");
        create(&mut world, server, client, 3, &format!("/yes{server}"), 0);
        assert_eq!(world.errors(server, client), vec![OK], "it lives on");
        assert!(!is_global(&world, session) && world.peers[server].tree().get("/no").is_none());
        assert_eq!(world.peers[server].status().digest_mismatches, 0);
    }
}

#[test]
fn with_upgrading_its_first_ephemeral_znode_makes_it_global() {
    let mut world = world(true);
    for (at, server) in [world.leader(), world.follower()].into_iter().enumerate() {
        for in_multi in [false, true] {
            let (client, session) = world.session(server);
            let path = format!("/up{at}{in_multi}");
            let before = world.peers[server].status().zxid;
            match in_multi {
                true => multi(&mut world, server, client, 1, &path),
                false => create(&mut world, server, client, 1, &path, EPHEMERAL),
            }
            assert_eq!(world.errors(server, client), vec![OK], "server {server}");
            assert!(is_global(&world, session));
            assert_eq!(
                world.peers[server].status().zxid.counter(),
                before.counter() + 2,
                "createSession, then the request"
            );
            let znode = if in_multi { format!("{path}/e") } else { path };
            let owner = world.peers[server].tree().get(&znode).map(|znode| znode.stat().ephemeral_owner);
            assert_eq!(owner, Some(session));
            let other = (server + 1) % 3;
            let moved = attach(&mut world, other, session).expect("every server knows it");
            world.request(other, moved, 2, OpCode::CloseSession, |_| ());
            assert!(!is_global(&world, session) && world.peers[server].tree().get(&znode).is_none());
        }
    }
}

#[test]
fn an_upgraded_session_is_ended_by_the_leader_when_it_is_silent() {
    let mut world = world(true);
    let server = world.follower();
    let (client, session) = world.session(server);
    create(&mut world, server, client, 1, "/e", EPHEMERAL);
    world.advance(Duration::from_secs(9));
    assert!(is_global(&world, session));
    world.advance(Duration::from_secs(6));
    assert!(!is_global(&world, session) && world.peers[server].tree().get("/e").is_none());
}

#[test]
fn an_upgrade_and_a_close_that_race_leave_nothing_behind() {
    for before_commit in [true, false] {
        let mut world = world(true);
        for server in [world.leader(), world.follower()] {
            let (client, session) = world.session(server);
            world.sync = !before_commit;
            create(&mut world, server, client, 1, "/race", EPHEMERAL);
            world.request(server, client, 2, OpCode::CloseSession, |_| ());
            world.sync = true;
            world.settle();
            assert_eq!(world.errors(server, client), vec![OK, OK], "server {server}");
            assert!(!is_global(&world, session) && world.peers[server].tree().get("/race").is_none());
            assert_eq!(world.peers[server].status().local_sessions, 0);
        }
    }
}

#[test]
fn a_client_that_comes_back_during_the_upgrade_has_its_session() {
    let mut world = world(true);
    for (at, server) in [world.leader(), world.follower()].into_iter().enumerate() {
        let (client, session) = world.session(server);
        world.sync = false;
        create(&mut world, server, client, 1, &format!("/back{at}"), EPHEMERAL);
        world.hang_up(server, client);
        let (again, password) = (world.open(server), password(session));
        let request = ConnectRequest { session, password: &password, ..new_session(10_000) };
        let at_once = world.handshake(server, again, &request);
        world.sync = true;
        world.settle();
        let response = at_once.or_else(|| world.response(server, again)).expect("a response");
        assert_eq!(response.session, session, "on its way to be global");
        set(&mut world, server, again, 2, &format!("/back{at}"));
        assert_eq!(world.errors(server, again), vec![OK]);
        assert!(is_global(&world, session));
    }
}

#[test]
fn a_late_write_of_a_session_that_has_ended_is_not_taken_for_one_of_a_local_session() {
    let mut world = world(true);
    let (leader, server) = (world.leader(), world.follower());
    let (old, session) = world.session(server);
    create(&mut world, server, old, 1, "/e", EPHEMERAL);
    create(&mut world, server, old, 2, "/p", 0);
    world.received(server, old);
    world.cut.insert(server);
    let new = attach(&mut world, leader, session).expect("it moves");
    world.request(leader, new, 3, OpCode::CloseSession, |_| ());
    assert_eq!(world.errors(leader, new), vec![OK]);
    set(&mut world, server, old, 3, "/p");
    let check = MultiOp::Check(CheckRequest { path: "/p".into(), version: -1 });
    world.request(server, old, 4, OpCode::Multi, |out| MultiRequest { ops: vec![check] }.encode(out));
    world.heal();
    assert!(world.closed.contains(&(server, old)));
    assert_eq!(world.peers[leader].tree().get("/p").expect("created").stat().version, 0, "nobody may write for it");
}
