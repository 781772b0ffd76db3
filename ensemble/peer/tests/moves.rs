//! A session that moves to another server while a write of it is on its way, with a client that counts its requests anew on each connection.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{World, new_session};
use ensemble_proto::client::{AclEntry, ConnectRequest, CreateRequest, DeleteRequest, OpCode, password};
use ensemble_proto::{Acl, ErrorCode};

const VOTERS: usize = 3;

/// A create is proposed through one server and not committed yet when the session moves to another one, which is asked for a
/// deletion under the same xid.
#[track_caller]
fn check(world: &mut World, from: usize, to: usize) {
    let (client, session) = world.session(from);
    let path = format!("/from-{from}-to-{to}");
    world.sync = false;
    let acl = Some(vec![AclEntry::world(Acl::ALL)]);
    let create = CreateRequest { path: path.as_str().into(), data: None, acl, flags: 0 };
    world.request(from, client, 1, OpCode::Create, |out| create.encode(out));
    world.hang_up(from, client);
    let moved = world.open(to);
    let secret = password(session);
    let request = ConnectRequest { session, password: &secret, ..new_session(10_000) };
    let response = world.handshake(to, moved, &request);
    assert_eq!(response.is_some(), to == world.leader(), "{from} to {to}: a learner waits for the write");
    if response.is_none() {
        world.sync = true;
        world.settle();
        assert!(world.response(to, moved).is_some(), "{from} to {to}: the session is taken up");
    }
    let missing = DeleteRequest { path: "/missing".into(), version: -1 };
    world.request(to, moved, 1, OpCode::Delete, |out| missing.encode(out));
    world.sync = true;
    world.settle();
    assert_eq!(world.errors(to, moved), vec![ErrorCode::NO_NODE], "{from} to {to}: the answer is its own");
    let delete = DeleteRequest { path: path.as_str().into(), version: -1 };
    world.request(to, moved, 2, OpCode::Delete, |out| delete.encode(out));
    assert_eq!(
        world.errors(to, moved),
        vec![ErrorCode::OK],
        "{from} to {to}: the write before the move was carried out"
    );
}

#[test]
fn the_outcome_of_a_write_before_a_move_is_no_answer_to_one_after_it() {
    for mut world in [World::with_observers(VOTERS, 1), World::with_masters(VOTERS, 2)] {
        let servers = world.peers.len();
        for from in 0..servers {
            for to in (0..servers).filter(|to| *to != from) {
                check(&mut world, from, to);
            }
        }
    }
}
