//! Requests that wait because others are not answered yet.

mod common;

use common::{Received, World, create, new_session, read, set};
use ensemble_peer::{ClientId, RequestThrottle};
use ensemble_proto::client::{AuthRequest, OpCode, PathRequest, SetWatches, xid};
use ensemble_proto::{ErrorCode, SessionId, Zxid};
use std::time::Duration;

const OK: ErrorCode = ErrorCode::OK;
const THROTTLE: RequestThrottle =
    RequestThrottle { requests_max: 2, has_stale: false, drops_stale: true, wait_max: None };

/// Servers that have two requests under way at most; clients may have more unanswered than the tests ask for. A session is of ten seconds.
fn world(voters: usize, throttle: RequestThrottle) -> World {
    World::with(voters, |config| {
        config.admission.request_throttle = Some(throttle);
        config.client_outstanding_max = 100;
    })
}

/// A server with `/a` whose disk stands still, and clients of it.
fn stopped(throttle: RequestThrottle) -> (World, [(ClientId, SessionId); 3]) {
    let mut world = world(0, throttle);
    let clients = [(); 3].map(|()| world.session(0));
    create(&mut world, 0, clients[0].0, 1, "/a", 0);
    assert_eq!(world.errors(0, clients[0].0), [OK]);
    world.sync = false;
    (world, clients)
}

fn go_on(world: &mut World) {
    world.sync = true;
    world.settle();
}

fn xids(world: &mut World, client: ClientId) -> Vec<i32> {
    let reply = |message| if let Received::Reply { xid, .. } = message { Some(xid) } else { None };
    world.received(0, client).into_iter().filter_map(reply).collect()
}

#[test]
fn what_is_too_much_waits_and_is_answered_in_its_order() {
    for voters in [0, 3] {
        let mut world = world(voters, THROTTLE);
        let [one, two] = [(); 2].map(|()| world.session(0).0);
        create(&mut world, 0, one, 1, "/a", 0);
        world.received(0, one);
        let before = world.peers[world.leader()].status().proposals;
        world.sync = false;
        for number in 2..6 {
            set(&mut world, 0, one, number, "/a");
            set(&mut world, 0, two, number, "/a");
            read(&mut world, 0, two, 10 + number, OpCode::GetData, "/a", false);
        }
        world.request(0, one, 6, OpCode::Sync, |out| PathRequest { path: "/".into() }.encode(out));
        assert_eq!(world.peers[0].status().outstanding_requests, 2, "of {voters}");
        assert_eq!(world.peers[world.leader()].status().proposals, before + 2, "the others are not begun");
        go_on(&mut world);
        assert_eq!(xids(&mut world, one), [2, 3, 4, 5, 6]);
        assert_eq!(xids(&mut world, two), [2, 12, 3, 13, 4, 14, 5, 15]);
        let measures = world.peers[0].measures();
        // One create, eight writes, four reads and a sync.
        assert_eq!(measures.request_throttle_queue_time_ms.count(), 14);
        assert_eq!(measures.request_throttle_wait_count, 11);
    }
}

#[test]
fn a_ping_does_not_wait_and_who_waits_counts_as_heard() {
    let (mut world, [(one, _), (two, session), (three, _)]) = stopped(THROTTLE);
    for number in 2..4 {
        set(&mut world, 0, one, number, "/a");
    }
    // Seven seconds after its last word, seven before its next.
    world.advance(Duration::from_secs(7));
    set(&mut world, 0, two, 2, "/a");
    set(&mut world, 0, one, 4, "/a");
    world.request(0, three, xid::PING, OpCode::Ping, |_| ());
    assert_eq!(xids(&mut world, three), [xid::PING]);
    world.advance(Duration::from_secs(7));
    go_on(&mut world);
    assert!(!world.closed.contains(&(0, two)) && world.peers[0].tree().sessions().contains_key(&session));
    assert_eq!(xids(&mut world, two), [2]);
}

#[test]
fn a_request_that_waited_too_long_may_be_refused() {
    let wait_max = Some(Duration::from_secs(2));
    let (mut world, [(one, _), (two, _), _]) = stopped(RequestThrottle { wait_max, ..THROTTLE });
    for number in 2..5 {
        set(&mut world, 0, one, number, "/a");
    }
    world.advance(Duration::from_secs(1));
    set(&mut world, 0, two, 2, "/a");
    world.advance(Duration::from_millis(1500));
    go_on(&mut world);
    assert_eq!(world.errors(0, one), [OK, OK, ErrorCode::THROTTLED_OP]);
    assert_eq!(world.errors(0, two), [OK], "it has waited for a second and a half");
    assert_eq!(world.peers[0].measures().throttled_ops, 1);
    // Of three writes one was not done.
    assert_eq!(world.peers[0].tree().get("/a").expect("it is there").stat().version, 3);
}

#[test]
fn a_refusal_shows_a_state_that_is_not_before_what_its_session_has_seen() {
    let wait_max = Some(Duration::from_secs(1));
    let (mut world, [(one, _), ..]) = stopped(RequestThrottle { wait_max, ..THROTTLE });
    // The third has waited for too long as soon as the first is answered, which is before the second is.
    for number in 2..5 {
        set(&mut world, 0, one, number, "/a");
    }
    world.advance(Duration::from_secs(2));
    go_on(&mut world);
    // A path that is none is refused at once, behind a write that is on its way.
    world.sync = false;
    set(&mut world, 0, one, 5, "/a");
    world.request(0, one, 6, OpCode::Sync, |_| ());
    go_on(&mut world);
    let seen = |message| if let Received::Reply { zxid, error, .. } = message { Some((zxid, error)) } else { None };
    let seen: Vec<_> = world.received(0, one).into_iter().filter_map(seen).collect();
    let errors: Vec<ErrorCode> = seen.iter().map(|(_, error)| *error).collect();
    assert_eq!(errors, [OK, OK, ErrorCode::THROTTLED_OP, OK, ErrorCode::MARSHALLING_ERROR]);
    assert!(seen.is_sorted_by_key(|(zxid, _)| *zxid), "{seen:?}");
}

#[test]
fn what_a_client_library_asks_by_itself_is_never_refused() {
    let wait_max = Some(Duration::from_secs(2));
    let (mut world, [(one, _), (two, _), _]) = stopped(RequestThrottle { wait_max, ..THROTTLE });
    for number in 2..4 {
        set(&mut world, 0, one, number, "/a");
    }
    world.request(0, two, xid::SET_WATCHES, OpCode::SetWatches, |out| {
        let (data, exist, child) = (vec!["/a".into()], Vec::new(), Vec::new());
        SetWatches { relative_zxid: Zxid(i64::MAX), data, exist, child }.encode(out);
    });
    world.request(0, two, xid::AUTH, OpCode::Auth, |out| {
        AuthRequest { scheme: "digest".into(), auth: b"u:p" }.encode(out)
    });
    world.advance(Duration::from_secs(5));
    go_on(&mut world);
    assert_eq!(world.errors(0, two), [OK, OK]);
    set(&mut world, 0, one, 4, "/a");
    let told = world.received(0, two);
    assert!(told.iter().any(|message| matches!(message, Received::Event { .. })), "{told:?}");
}

#[test]
fn the_end_of_a_session_is_never_refused() {
    let wait_max = Some(Duration::from_secs(2));
    let throttle = RequestThrottle { wait_max, has_stale: true, ..THROTTLE };
    let (mut world, [(one, _), (two, session), _]) = stopped(throttle);
    for number in 2..4 {
        set(&mut world, 0, one, number, "/a");
    }
    world.request(0, two, 2, OpCode::CloseSession, |_| ());
    for _ in 0..5 {
        world.advance(Duration::from_secs(5));
        world.request(0, two, xid::PING, OpCode::Ping, |_| ());
        world.request(0, one, xid::PING, OpCode::Ping, |_| ());
    }
    go_on(&mut world);
    assert!(!world.peers[0].tree().sessions().contains_key(&session));
    assert_eq!(world.errors(0, two).pop(), Some(OK));
}

#[test]
fn a_stale_request_ends_its_connection_or_is_counted() {
    for (drops_stale, counts, is_closed) in [(true, [0, 2], true), (false, [2, 0], false)] {
        let (mut world, [(one, _), (two, _), _]) =
            stopped(RequestThrottle { has_stale: true, drops_stale, ..THROTTLE });
        for number in 2..4 {
            set(&mut world, 0, one, number, "/a");
        }
        for number in 2..4 {
            set(&mut world, 0, two, number, "/a");
        }
        for _ in 0..3 {
            world.advance(Duration::from_secs(4));
            for client in [one, two] {
                world.request(0, client, xid::PING, OpCode::Ping, |_| ());
            }
        }
        go_on(&mut world);
        let measures = world.peers[0].measures();
        assert_eq!([measures.stale_requests, measures.stale_requests_dropped], counts);
        assert_eq!(world.closed.contains(&(0, two)), is_closed);
        let version = world.peers[0].tree().get("/a").expect("it is there").stat().version;
        assert_eq!(version, if is_closed { 2 } else { 4 });
    }
}

#[test]
fn what_waits_is_dropped_with_its_connection_but_for_the_end_of_the_session() {
    let (mut world, [(one, _), (two, session), (three, other)]) = stopped(THROTTLE);
    for number in 2..4 {
        set(&mut world, 0, one, number, "/a");
    }
    set(&mut world, 0, two, 2, "/a");
    world.request(0, two, 3, OpCode::CloseSession, |_| ());
    set(&mut world, 0, three, 2, "/a");
    world.hang_up(0, two);
    world.hang_up(0, three);
    go_on(&mut world);
    assert_eq!(world.errors(0, one), [OK; 2]);
    let tree = world.peers[0].tree();
    assert_eq!(tree.get("/a").expect("it is there").stat().version, 2, "the writes that waited are not done");
    assert_eq!([session, other].map(|session| tree.sessions().contains_key(&session)), [false, true]);
    assert_eq!(world.peers[0].measures().stale_requests_dropped, 3, "two writes, and the one that was begun after all");
    // Nothing is left that would keep others waiting.
    set(&mut world, 0, one, 4, "/a");
    assert_eq!(world.errors(0, one), [OK]);
}

#[test]
fn what_waits_counts_for_the_limit_of_what_is_read() {
    let mut world = World::with(0, |config| {
        config.admission.request_throttle = Some(RequestThrottle { requests_max: 1, ..THROTTLE });
        config.client_outstanding_max = 3;
    });
    let [one, two] = [(); 2].map(|()| world.session(0).0);
    create(&mut world, 0, one, 1, "/a", 0);
    world.sync = false;
    for number in 2..5 {
        set(&mut world, 0, one, number, "/a");
    }
    assert_ne!(world.paused.get(&(0, one)), Some(&true));
    set(&mut world, 0, two, 2, "/a");
    assert_eq!(world.paused.get(&(0, two)), Some(&true), "it has one that waits, and all have four");
    go_on(&mut world);
    assert_eq!(world.paused.get(&(0, two)), Some(&false));
}

#[test]
fn what_came_behind_a_handshake_does_not_overtake_what_waits() {
    let (mut world, [(one, _), ..]) = stopped(RequestThrottle { requests_max: 1, ..THROTTLE });
    set(&mut world, 0, one, 2, "/a");
    set(&mut world, 0, one, 3, "/a");
    let new = world.open(0);
    world.frame(0, new, |out| new_session(10_000).encode(out));
    create(&mut world, 0, new, 1, "/b", 0);
    go_on(&mut world);
    let zxid = |message: Option<Received>| if let Some(Received::Reply { zxid, .. }) = message { zxid.0 } else { -1 };
    let waited = zxid(world.received(0, one).pop());
    assert!(world.response(0, new).is_some_and(|response| response.timeout_ms > 0));
    let behind = zxid(world.received(0, new).pop());
    assert!(0 < waited && waited < behind, "{waited:x} {behind:x}");
}
