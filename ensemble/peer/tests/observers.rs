//! Observers behind a follower: the leader sees the follower alone, and their clients see no difference.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Received, World, create, read, set};
use ensemble_peer::ClientId;
use ensemble_proto::client::{EventType, OpCode, PathRequest};
use ensemble_proto::{ErrorCode, ServerId};
use std::time::Duration;

const VOTERS: usize = 3;
/// The two observers, by index.
const OBSERVERS: [usize; 2] = [3, 4];
const OK: ErrorCode = ErrorCode::OK;

fn sync(world: &mut World, server: usize, client: ClientId, xid: i32) {
    world.request(server, client, xid, OpCode::Sync, |out| PathRequest { path: "/".into() }.encode(out));
}

fn learners(world: &World, server: usize) -> Vec<ServerId> {
    world.peers[server].status().learners.iter().filter(|learner| learner.synced).map(|learner| learner.id).collect()
}

#[test]
fn the_leader_has_followers_only_and_a_follower_has_the_observers() {
    let world = World::with_masters(VOTERS, 2);
    assert_eq!(learners(&world, world.leader()).len(), VOTERS - 1);
    let mut observers = learners(&world, world.follower());
    observers.sort();
    assert_eq!(observers, [ServerId(4), ServerId(5)]);
}

#[test]
fn clients_of_an_observer_write_read_watch_and_sync() {
    let mut world = World::with_masters(VOTERS, 2);
    let [near, far] = OBSERVERS;
    let (client, _) = world.session(near);
    let (watcher, _) = world.session(far);
    create(&mut world, near, client, 1, "/a", 0);
    sync(&mut world, far, watcher, 1);
    read(&mut world, far, watcher, 2, OpCode::GetData, "/a", true);
    set(&mut world, near, client, 2, "/a");
    sync(&mut world, near, client, 3);
    assert_eq!(world.errors(near, client), [OK, OK, OK]);
    let told = world.received(far, watcher);
    assert!(matches!(&told[2], Received::Event { event, .. } if event.kind == EventType::NodeDataChanged), "{told:?}");
    let digests: Vec<_> = world.peers.iter().map(|peer| peer.applied()).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

/// Syncs of the follower's own clients and of its observers' are answered to those who asked.
#[test]
fn syncs_through_one_follower_come_back_to_whoever_asked() {
    let mut world = World::with_masters(VOTERS, 2);
    let asked = [world.follower(), OBSERVERS[0], world.follower(), OBSERVERS[1]]
        .map(|server| (server, world.session(server).0));
    world.sync = false;
    let (writer, _) = asked.map(|(server, client)| (client, server))[0];
    create(&mut world, asked[0].0, writer, 1, "/late", 0);
    for (xid, (server, client)) in (10..).zip(asked) {
        sync(&mut world, server, client, xid);
    }
    assert!(
        asked.iter().all(|(server, client)| world.received(*server, *client).is_empty()),
        "the write is on its way"
    );
    world.sync = true;
    world.settle();
    for (xid, (server, client)) in (10..).zip(asked) {
        let last = world.received(server, client).pop();
        assert!(
            matches!(last, Some(Received::Reply { xid: answered, error: OK, .. }) if answered == xid),
            "{server}: {last:?}"
        );
    }
}

/// The leader hears of the sessions of an observer's clients through the follower.
#[test]
fn a_session_lives_as_long_as_its_client_is_heard_behind_two_servers() {
    let mut world = World::with_masters(VOTERS, 2);
    let (client, session) = world.session(OBSERVERS[0]);
    let (_, silent) = world.session(OBSERVERS[1]);
    for xid in 1..=10 {
        world.advance(Duration::from_secs(3));
        world.request(OBSERVERS[0], client, xid, OpCode::Ping, |_| ());
    }
    let known =
        |session| world.peers.iter().map(|peer| peer.tree().sessions().contains_key(&session)).collect::<Vec<_>>();
    assert_eq!(known(session), [true; VOTERS + 2]);
    assert_eq!(known(silent), [false; VOTERS + 2]);
}

#[test]
fn observers_find_another_master_when_theirs_has_no_leader_any_more() {
    let mut world = World::with_masters(VOTERS, 2);
    let (leader, master) = (world.leader(), world.follower());
    world.cut.insert(leader);
    world.advance(Duration::from_secs(60));
    assert!(world.peers[OBSERVERS[0]].status().serving, "behind a follower of the new leader");
    assert!(
        [master, OBSERVERS[0], OBSERVERS[1]]
            .iter()
            .all(|server| world.peers[*server].status().leader != Some(ServerId(leader as i64 + 1)))
    );
}
