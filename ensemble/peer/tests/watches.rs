//! Watches that stay, and requests about watches; containers, which go by themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Received, World};
use ensemble_peer::ClientId;
use ensemble_proto::client::{
    AclEntry, CreateRequest, DeleteRequest, EventType, OpCode, SetDataRequest, WatchRequest, xid,
};
use ensemble_proto::jute::Writer;
use ensemble_proto::{Acl, ErrorCode, Zxid};
use std::time::Duration;

const PERSISTENT: i32 = 0;
const RECURSIVE: i32 = 1;

fn create_as(world: &mut World, server: usize, client: ClientId, op: OpCode, path: &str, flags: i32) {
    let acl = Some(vec![AclEntry::world(Acl::ALL)]);
    let request = CreateRequest { path: path.into(), data: Some(b"data"), acl, flags };
    world.request(server, client, 1, op, |out| request.encode(out));
}

fn create(world: &mut World, client: ClientId, path: &str) {
    create_as(world, 0, client, OpCode::Create, path, 0);
}

fn set(world: &mut World, client: ClientId, path: &str) {
    let request = SetDataRequest { path: path.into(), data: None, version: -1 };
    world.request(0, client, 1, OpCode::SetData, |out| request.encode(out));
}

fn delete(world: &mut World, server: usize, client: ClientId, path: &str) {
    let request = DeleteRequest { path: path.into(), version: -1 };
    world.request(server, client, 1, OpCode::Delete, |out| request.encode(out));
}

fn about_watches(world: &mut World, client: ClientId, op: OpCode, path: &str, kind: i32) -> Received {
    let request = WatchRequest { path: path.into(), kind };
    world.request(0, client, 7, op, |out| request.encode(out));
    world.received(0, client).pop().expect("a reply")
}

#[track_caller]
fn check(world: &mut World, client: ClientId, op: OpCode, path: &str, kind: i32, expected: ErrorCode) {
    match about_watches(world, client, op, path, kind) {
        Received::Reply { xid: 7, error, body, .. } => {
            assert_eq!(error, expected, "{op:?} {path} {kind}");
            let is_added = op == OpCode::AddWatch && error.is_ok();
            assert_eq!(body, if is_added { vec![0; 4] } else { vec![] }, "{op:?} {path} {kind}");
        }
        other => panic!("{other:?} instead of a reply"),
    }
}

/// What the client was told since the last time.
fn told(world: &mut World, client: ClientId) -> Vec<(EventType, String)> {
    let messages = world.received(0, client).into_iter();
    let event =
        |message| if let Received::Event { event, .. } = message { Some((event.kind, event.path)) } else { None };
    messages.filter_map(event).collect()
}

#[track_caller]
fn check_told(world: &mut World, client: ClientId, expected: &[(EventType, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(kind, path)| (*kind, path.to_string())).collect();
    assert_eq!(told(world, client), expected);
}

#[test]
fn a_persistent_watch_tells_of_a_znode_and_its_children_again_and_again() {
    use EventType as E;
    let mut world = World::standalone();
    let (watcher, _) = world.session(0);
    let (writer, _) = world.session(0);
    check(&mut world, watcher, OpCode::AddWatch, "/a", PERSISTENT, ErrorCode::OK);
    create(&mut world, writer, "/a");
    set(&mut world, writer, "/a");
    set(&mut world, writer, "/a");
    create(&mut world, writer, "/a/b");
    set(&mut world, writer, "/a/b");
    delete(&mut world, 0, writer, "/a/b");
    delete(&mut world, 0, writer, "/a");
    create(&mut world, writer, "/a");
    let expected = [
        (E::NodeCreated, "/a"),
        (E::NodeDataChanged, "/a"),
        (E::NodeDataChanged, "/a"),
        (E::NodeChildrenChanged, "/a"),
        (E::NodeChildrenChanged, "/a"),
        (E::NodeDeleted, "/a"),
        (E::NodeCreated, "/a"),
    ];
    check_told(&mut world, watcher, &expected);
}

#[test]
fn a_recursive_watch_tells_of_every_znode_below_and_nothing_of_children() {
    use EventType as E;
    let mut world = World::standalone();
    let (watcher, _) = world.session(0);
    let (writer, _) = world.session(0);
    check(&mut world, watcher, OpCode::AddWatch, "/a", RECURSIVE, ErrorCode::OK);
    for path in ["/a", "/a/b", "/a/b/c", "/ab"] {
        create(&mut world, writer, path);
    }
    set(&mut world, writer, "/a/b/c");
    delete(&mut world, 0, writer, "/a/b/c");
    let created = ["/a", "/a/b", "/a/b/c"].map(|path| (E::NodeCreated, path));
    check_told(
        &mut world,
        watcher,
        &[&created[..], &[(E::NodeDataChanged, "/a/b/c"), (E::NodeDeleted, "/a/b/c")]].concat(),
    );
}

#[test]
fn watches_are_asked_for_and_removed_by_type() {
    use ErrorCode as C;
    use OpCode::{AddWatch, CheckWatches, RemoveWatches};
    let mut world = World::standalone();
    let (client, _) = world.session(0);
    let (other, _) = world.session(0);
    create(&mut world, other, "/a");
    check(&mut world, client, AddWatch, "/a", PERSISTENT, C::OK);
    check(&mut world, client, AddWatch, "/a", 2, C::MARSHALLING_ERROR);
    for (kind, expected) in
        [(1, C::NO_WATCHER), (2, C::NO_WATCHER), (3, C::OK), (4, C::OK), (5, C::NO_WATCHER), (6, C::MARSHALLING_ERROR)]
    {
        check(&mut world, client, CheckWatches, "/a", kind, expected);
    }
    check(&mut world, other, CheckWatches, "/a", 3, C::NO_WATCHER);
    check(&mut world, client, RemoveWatches, "/a", 2, C::NO_WATCHER);
    check(&mut world, client, RemoveWatches, "/a", 4, C::OK);
    check(&mut world, client, RemoveWatches, "/a", 3, C::NO_WATCHER);
    set(&mut world, other, "/a");
    check_told(&mut world, client, &[]);
}

#[test]
fn watches_of_every_mode_are_taken_up_after_a_reconnect() {
    use EventType as E;
    let mut world = World::standalone();
    let (writer, _) = world.session(0);
    create(&mut world, writer, "/changed");
    let seen = world.peers[0].status().zxid;
    set(&mut world, writer, "/changed");
    let (client, _) = world.session(0);
    world.request(0, client, xid::SET_WATCHES, OpCode::SetWatches2, |out| {
        out.long(seen.0);
        for paths in [&["/changed"][..], &[], &[], &["/changed"], &["/deep"]] {
            out.strings(paths);
        }
    });
    let messages = world.received(0, client);
    assert!(matches!(&messages[0], Received::Event { zxid: Zxid::NONE, event } if event.kind == E::NodeDataChanged));
    assert!(matches!(&messages[1], Received::Reply { xid: xid::SET_WATCHES, error: ErrorCode::OK, .. }));
    assert_eq!(messages.len(), 2, "what persistent watches missed is not told");
    for path in ["/changed/child", "/deep", "/deep/er"] {
        create(&mut world, writer, path);
    }
    let expected = [(E::NodeChildrenChanged, "/changed"), (E::NodeCreated, "/deep"), (E::NodeCreated, "/deep/er")];
    check_told(&mut world, client, &expected);
}

#[test]
fn an_empty_container_goes_after_a_while_on_every_server_and_no_client_can_ask_for_it() {
    for servers in [0, 3] {
        let mut world = World::new(servers);
        let server = world.peers.len() - 1;
        let (client, _) = world.session(server);
        for (op, path) in
            [(OpCode::CreateContainer, "/c"), (OpCode::Create, "/c/x"), (OpCode::CreateContainer, "/unused")]
        {
            create_as(&mut world, server, client, op, path, 0);
        }
        assert_eq!(world.errors(server, client), vec![ErrorCode::OK; 3]);
        delete(&mut world, server, client, "/c/x");
        let there = world.peers.iter().map(|peer| peer.status().znodes).max();
        for _ in 0..7 {
            world.advance(Duration::from_secs(9));
            world.request(server, client, 2, OpCode::Ping, |_| ());
        }
        let after: Vec<usize> = world.peers.iter().map(|peer| peer.status().znodes).collect();
        assert!(after.iter().all(|znodes| Some(znodes + 1) == there), "{after:?} znodes, there were {there:?}");
        world.received(server, client);
        world.request(server, client, 3, OpCode::DeleteContainer, |out| out.string("/unused"));
        assert_eq!(world.errors(server, client), vec![ErrorCode::UNIMPLEMENTED]);
    }
}
