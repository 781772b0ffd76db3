//! Who is served at all: leaders that serve nobody, clients that mean another ensemble, clients that have not authenticated.

mod common;

use common::{Received, World, create, new_session};
use ensemble_peer::{Admission, ClientId, ConnectThrottle, LargeRequests, Weights};
use ensemble_proto::client::{
    AuthRequest, ConnectRequest, OpCode, PathRequest, ReadRequest, SetDataRequest, password, xid,
};
use ensemble_proto::{ErrorCode, Zxid};
use std::time::Duration;

fn world(voters: usize, admission: &Admission) -> World {
    World::with(voters, |config| config.admission = admission.clone())
}

fn authenticate(world: &mut World, client: ClientId, scheme: &str, auth: &[u8]) {
    world.request(0, client, xid::AUTH, OpCode::Auth, |out| AuthRequest { scheme: scheme.into(), auth }.encode(out));
}

#[test]
fn a_leader_that_serves_nobody_sends_clients_away_and_goes_on_leading() {
    let closed = Admission { is_leader_closed: true, ..Admission::default() };
    let mut world = world(3, &closed);
    let (leader, follower) = (world.leader(), world.follower());
    let client = world.open(leader);
    assert!(world.handshake(leader, client, &new_session(10_000)).is_none());
    assert_eq!(world.closed, [(leader, client)]);
    let (client, _) = world.session(follower);
    create(&mut world, follower, client, 1, "/a", 0);
    assert_eq!(world.errors(follower, client), [ErrorCode::OK]);
    let mut alone = self::world(0, &closed);
    alone.session(0);
}

#[test]
fn a_client_must_authenticate_by_one_of_the_schemes_before_it_asks() {
    let admission = Admission { schemes: vec!["digest".to_owned()], ..Admission::default() };
    let mut world = world(0, &admission);
    for op in [OpCode::GetData, OpCode::Ping, OpCode::CloseSession, OpCode::WhoAmI] {
        let (client, session) = world.session(0);
        world.request(0, client, 7, op, |_| ());
        let refused = ErrorCode::SESSION_CLOSED_REQUIRE_SASL_AUTH;
        let expected = Received::Reply { xid: 7, zxid: Zxid::ZERO, error: refused, body: Vec::new() };
        assert_eq!(world.received(0, client), [expected], "{op:?}");
        assert!(world.closed.contains(&(0, client)), "{op:?}");
        assert!(world.peers[0].tree().sessions().contains_key(&session), "the session itself goes on, {op:?}");
    }
    let (client, _) = world.session(0);
    authenticate(&mut world, client, "digest", b"u:p");
    create(&mut world, 0, client, 1, "/a", 0);
    assert_eq!(world.errors(0, client), [ErrorCode::OK, ErrorCode::OK]);
}

#[test]
fn every_connection_has_an_identity_of_scheme_ip() {
    let admission = Admission { schemes: vec!["ip".to_owned()], ..Admission::default() };
    let mut world = world(0, &admission);
    let (client, _) = world.session(0);
    create(&mut world, 0, client, 1, "/a", 0);
    assert_eq!(world.errors(0, client), [ErrorCode::OK]);
}

#[test]
fn a_client_that_means_another_ensemble_is_sent_away_without_a_word() {
    let names = |names: &[&str]| Some(names.iter().map(|name| name.to_string()).collect());
    let ok = vec![ErrorCode::OK];
    for (ours, given, answers, is_closed, counts) in [
        (names(&["a", "b"]), &b"b"[..], ok.clone(), false, [1, 0, 0]),
        (names(&["a", "b"]), b"c", vec![], true, [0, 1, 0]),
        (names(&["a", "b"]), b"", ok.clone(), false, [0, 0, 1]),
        (names(&[]), b"c", ok.clone(), false, [0, 0, 1]),
        (None, b"a", vec![ErrorCode::AUTH_FAILED], true, [0, 0, 0]),
    ] {
        let mut world = world(0, &Admission { ensemble_names: ours.clone(), ..Admission::default() });
        let (client, _) = world.session(0);
        authenticate(&mut world, client, "ensemble", given);
        assert_eq!(world.errors(0, client), answers, "{ours:?}");
        assert_eq!(world.closed.contains(&(0, client)), is_closed, "{ours:?}");
        let measures = world.peers[0].measures();
        let counted = [measures.ensemble_auth_success, measures.ensemble_auth_fail, measures.ensemble_auth_skip];
        assert_eq!(counted, counts, "{ours:?}");
        if !is_closed {
            world.request(0, client, 2, OpCode::WhoAmI, |_| ());
            let Some(Received::Reply { body, .. }) = world.received(0, client).pop() else { panic!("no answer") };
            assert!(!String::from_utf8_lossy(&body).contains("ensemble"), "it is no identity");
        }
    }
}

fn throttle() -> ConnectThrottle {
    ConnectThrottle {
        tokens: 2,
        fill_count: 1,
        fill_time: Duration::from_secs(1),
        freeze_time: None,
        drop_increase: 1.0,
        drop_decrease: 1.0,
        decrease_ratio: 0.0,
        weights: None,
    }
}

#[test]
fn handshakes_wait_for_tokens_outside() {
    let mut world = world(0, &Admission { connect_throttle: Some(throttle()), ..Admission::default() });
    let (_, session) = world.session(0);
    world.session(0);
    let client = world.open(0);
    assert!(world.handshake(0, client, &new_session(10_000)).is_none());
    assert_eq!(world.closed, [(0, client)]);
    world.advance(Duration::from_millis(1500));
    // A session that there is takes a token like others.
    let client = world.open(0);
    let password = password(session);
    let again = ConnectRequest { session, password: &password, ..new_session(10_000) };
    assert!(world.handshake(0, client, &again).is_some_and(|response| response.timeout_ms > 0));
    let measures = world.peers[0].measures();
    assert_eq!((measures.connections_throttled, measures.connection_drop_probability), (1, 0.0));
    let deficits = &measures.connection_token_deficit;
    assert_eq!((deficits.count(), deficits.sum(), deficits.max()), (3, 5.0, 2.0));
}

#[test]
fn weights_are_of_the_kind_of_session() {
    let weights = Some(Weights { global: 3, local: 1, renew: 2 });
    for (local_sessions, taken) in [(false, 2), (true, 6)] {
        let connect_throttle = Some(ConnectThrottle { weights, ..throttle() });
        let admission = Admission { connect_throttle, ..Admission::default() };
        let mut world = World::with(3, |config| {
            config.admission = admission.clone();
            config.local_sessions = local_sessions;
        });
        let mut greet = |_: &usize| {
            let client = world.open(0);
            world.handshake(0, client, &new_session(10_000)).is_some()
        };
        assert_eq!((0..9).filter(&mut greet).count(), taken, "local {local_sessions}");
    }
}

#[test]
fn who_is_dropped_by_chance_is_refused_too() {
    let connect_throttle = Some(ConnectThrottle { freeze_time: Some(Duration::ZERO), tokens: 1, ..throttle() });
    let mut world = world(0, &Admission { connect_throttle, ..Admission::default() });
    world.session(0);
    world.advance(Duration::from_millis(500));
    let client = world.open(0);
    assert!(world.handshake(0, client, &new_session(10_000)).is_none());
    assert_eq!(world.peers[0].measures().connection_drop_probability, 1.0);
}

/// Frames of 1000 bytes and more are large, and two of them are too many.
const LARGE: LargeRequests = LargeRequests { threshold: 999, bytes_max: 1999 };

fn set_bytes(world: &mut World, client: ClientId, xid: i32, bytes: usize) {
    let data = vec![1; bytes];
    let request = SetDataRequest { path: "/a".into(), data: Some(&data), version: -1 };
    world.request(0, client, xid, OpCode::SetData, |out| request.encode(out));
}

#[test]
fn one_large_request_too_many_ends_its_connection() {
    let mut world = world(0, &Admission { large_requests: Some(LARGE), ..Admission::default() });
    let (writer, _) = world.session(0);
    let (other, _) = world.session(0);
    create(&mut world, 0, writer, 1, "/a", 0);
    world.sync = false;
    set_bytes(&mut world, writer, 2, 1000);
    // Small ones are taken, also behind a large one.
    for xid in 3..9 {
        set_bytes(&mut world, other, xid, 900);
    }
    set_bytes(&mut world, other, 9, 1000);
    assert_eq!((&*world.closed, world.peers[0].measures().large_requests_rejected), (&[(0, other)][..], 1));
    world.sync = true;
    world.settle();
    assert_eq!(world.errors(0, writer), [ErrorCode::OK, ErrorCode::OK]);
    // There is room again.
    set_bytes(&mut world, writer, 10, 1000);
    assert_eq!(world.errors(0, writer), [ErrorCode::OK]);
}

#[test]
fn a_large_request_counts_until_it_is_answered_or_its_connection_is_gone() {
    let mut world = world(3, &Admission { large_requests: Some(LARGE), ..Admission::default() });
    let (client, _) = world.session(0);
    create(&mut world, 0, client, 1, "/a", 0);
    for round in 0..3 {
        let (client, _) = world.session(0);
        world.sync = false;
        set_bytes(&mut world, client, 1, 10);
        // Behind a write and behind a sync.
        let large = "x".repeat(1000);
        world.request(0, client, 2, OpCode::Exists, |out| {
            ReadRequest { path: format!("/{large}").into(), watch: false }.encode(out);
        });
        world.request(0, client, 3, OpCode::Sync, |out| PathRequest { path: "/".into() }.encode(out));
        match round {
            0 => world.hang_up(0, client),
            _ => set_bytes(&mut world, client, 4, 1000),
        }
        assert_eq!(world.peers[0].measures().large_requests_rejected, round, "round {round}");
        world.sync = true;
        world.settle();
        let (client, _) = world.session(0);
        set_bytes(&mut world, client, 1, 1000);
        assert_eq!(world.errors(0, client), [ErrorCode::OK], "round {round}");
    }
    // Behind a sync, where it waits to be sent.
    let (client, _) = world.session(0);
    let (other, _) = world.session(0);
    world.sync = false;
    set_bytes(&mut world, client, 1, 10);
    world.request(0, client, 2, OpCode::Sync, |out| PathRequest { path: "/".into() }.encode(out));
    set_bytes(&mut world, client, 3, 1000);
    set_bytes(&mut world, other, 1, 1000);
    assert_eq!(world.peers[0].measures().large_requests_rejected, 3);
    world.sync = true;
    world.settle();
    assert_eq!(world.errors(0, client), [ErrorCode::OK; 3]);
    set_bytes(&mut world, client, 4, 1000);
    assert_eq!(world.errors(0, client), [ErrorCode::OK]);
}
