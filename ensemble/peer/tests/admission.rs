//! Who is served at all: leaders that serve nobody, clients that mean another ensemble, clients that have not authenticated.

mod common;

use common::{Received, World, create, new_session};
use ensemble_peer::{Admission, ClientId};
use ensemble_proto::client::{AuthRequest, OpCode, xid};
use ensemble_proto::{ErrorCode, Zxid};

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
