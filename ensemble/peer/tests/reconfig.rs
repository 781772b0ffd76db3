//! Clients change the ensemble: what they are told, and what every server then shows.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Received, World};
use ensemble_peer::{ClientId, Config, Reconfiguration, ReconfigureError};
use ensemble_proto::client::{AuthRequest, EventType, OpCode, ReadRequest, xid};
use ensemble_proto::jute::Reader;
use ensemble_proto::membership::Membership;
use ensemble_proto::reconfig::{ReconfigError, ReconfigRequest};
use ensemble_proto::{ErrorCode, Stat, Zxid};
use ensemble_zab::Role;
use std::time::Duration;

const PATH: &str = "/zookeeper/config";

fn enabled(config: &mut Config) {
    config.zab.reconfig = true;
}

fn request(joining: &str, leaving: &str, members: &str) -> ReconfigRequest {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ReconfigRequest { joining: text(joining), leaving: text(leaving), members: text(members), from_version: -1 }
}

/// A client that may do anything.
fn administrator(world: &mut World, server: usize) -> ClientId {
    let (client, _) = world.session(server);
    world.request(server, client, xid::AUTH, OpCode::Auth, |out| {
        AuthRequest { scheme: "digest".into(), auth: b"super:test" }.encode(out);
    });
    assert_eq!(world.errors(server, client), [ErrorCode::OK]);
    client
}

fn reconfigure(world: &mut World, server: usize, client: ClientId, request: &ReconfigRequest) -> Received {
    world.request(server, client, 7, OpCode::Reconfig, |out| request.encode(out));
    let mut received = world.received(server, client);
    assert_eq!(received.len(), 1, "{received:?}");
    received.remove(0)
}

/// Data and stat, as getData and reconfig answer them.
fn configuration(body: &[u8]) -> (String, Stat) {
    let mut reader = Reader::new(body);
    let data = reader.buffer("data").unwrap().unwrap().to_vec();
    (String::from_utf8(data).unwrap(), Stat::decode(&mut reader).unwrap())
}

fn get_config(world: &mut World, server: usize, client: ClientId, watch: bool) -> (String, Stat) {
    world.request(server, client, 8, OpCode::GetData, |out| ReadRequest { path: PATH.into(), watch }.encode(out));
    match world.received(server, client).pop() {
        Some(Received::Reply { error: ErrorCode::OK, body, .. }) => configuration(&body),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_check_that_fails_is_the_answer() {
    let check = |world: &mut World, request: &ReconfigRequest, expected: ErrorCode| {
        let leader = world.leader();
        let client = administrator(world, leader);
        match reconfigure(world, leader, client, request) {
            Received::Reply { error, .. } => assert_eq!(error, expected, "{request:?}"),
            event => panic!("{event:?}"),
        }
    };
    let wrong = ReconfigRequest { from_version: 5, ..request("nonsense", "", "") };
    check(&mut World::new(3), &wrong, ErrorCode::RECONFIG_DISABLED);
    let mut world = World::begin(0, 0, true, enabled);
    check(&mut world, &wrong, ErrorCode::UNIMPLEMENTED);
    let world = &mut World::with(3, enabled);
    check(world, &wrong, ErrorCode::BAD_VERSION);
    check(world, &request("nonsense", "", ""), ErrorCode::BAD_ARGUMENTS);
    check(world, &request("", "1,2,3", ""), ErrorCode::BAD_ARGUMENTS);
    check(world, &request("", "", "server.1=127.0.0.1:1"), ErrorCode::BAD_ARGUMENTS);
    let members = "server.1=127.0.0.1:2001:3001,server.8=h:1:2,server.9=h:3:4";
    check(world, &request("", "", members), ErrorCode::NEW_CONFIG_NO_QUORUM);
    let world = &mut World::with(3, |config| (config.standalone_enabled, config.zab.reconfig) = (true, true));
    check(world, &request("", "2,3", ""), ErrorCode::BAD_ARGUMENTS);
    // who may not write the znode may not reconfigure; that is asked last
    let leader = world.leader();
    let (client, _) = world.session(leader);
    for (request, expected) in
        [(request("", "2", ""), ErrorCode::NO_AUTH), (request("", "2,3", ""), ErrorCode::BAD_ARGUMENTS)]
    {
        assert!(
            matches!(reconfigure(world, leader, client, &request), Received::Reply { error, .. } if error == expected)
        );
    }
    world.request(leader, client, 9, OpCode::Reconfig, |out| out.push(1));
    assert_eq!(world.errors(leader, client), [ErrorCode::MARSHALLING_ERROR]);
    assert!(world.peers[leader].zab().pending_membership().is_none());
}

#[test]
fn one_reconfiguration_is_in_progress_at_a_time() {
    let mut world = World::with(3, enabled);
    let leader = world.leader();
    let client = administrator(&mut world, leader);
    world.sync = false;
    let second = ReconfigRequest { from_version: 5, ..request("nonsense", "", "") };
    for (id, request) in [(1, request("", "1", "")), (2, second)] {
        world.request(leader, client, id, OpCode::Reconfig, |out| request.encode(out));
    }
    world.sync = true;
    world.settle();
    assert_eq!(world.errors(leader, client), [ErrorCode::OK, ErrorCode::RECONFIG_IN_PROGRESS]);
}

/// From a client of a follower; every server then shows what the answer said, and who watched is told.
#[test]
fn the_answer_is_the_new_configuration_and_every_server_shows_it() {
    let mut world = World::begin(3, 1, true, enabled);
    world.advance(Duration::from_secs(5));
    let (leader, follower) = (world.leader(), world.follower());
    let client = administrator(&mut world, follower);
    let (watcher, _) = world.session(leader);
    let (before, _) = get_config(&mut world, leader, watcher, true);
    assert!(before.ends_with("version=100000000"), "{before}");
    let from_version = Membership::parse(&before).unwrap().version.0;
    let promoted = "server.4=127.0.0.1:2004:3004:participant;2181";
    let change = ReconfigRequest { from_version, ..request(promoted, "", "") };
    let Received::Reply { error: ErrorCode::OK, zxid, body, .. } = reconfigure(&mut world, follower, client, &change)
    else {
        panic!("refused")
    };
    let (text, stat) = configuration(&body);
    assert!(text.contains("server.4=127.0.0.1:2004:3004:participant;0.0.0.0:2181"), "{text}");
    assert!(text.ends_with(&format!("version={:x}", zxid.0)), "{text}");
    assert_eq!((stat.version, stat.mzxid), (-1, zxid));
    let events = world.received(leader, watcher);
    let is_told =
        |event: &Received| matches!(event, Received::Event { event, .. } if event.kind == EventType::NodeDataChanged);
    assert!(events.iter().any(is_told), "{events:?}");
    world.advance(Duration::from_secs(5));
    let digest = world.peers[leader].tree().digest();
    for server in 0..4 {
        let (reader, _) = world.session(server);
        let shown = get_config(&mut world, server, reader, false);
        assert_eq!((&shown.0, shown.1.version, shown.1.mzxid), (&text, -1, zxid), "{server}");
    }
    // three sessions more, and the configuration is in no digest
    assert_eq!(world.peers[leader].tree().digest(), digest);
    assert_eq!(world.peers[3].status().role, Role::Following { leader: ensemble_proto::ServerId(leader as i64 + 1) });
}

/// The client of a leader that removes itself hears of it before its connection ends.
#[test]
fn a_leader_that_leaves_answers_first() {
    let mut world = World::with(3, enabled);
    let leader = world.leader();
    let client = administrator(&mut world, leader);
    let leaving = (leader + 1).to_string();
    let reply = reconfigure(&mut world, leader, client, &request("", &leaving, ""));
    assert!(matches!(reply, Received::Reply { error: ErrorCode::OK, .. }), "{reply:?}");
    assert!(world.closed.contains(&(leader, client)));
    world.advance(Duration::from_millis(500));
    assert_ne!(world.leader(), leader);
    assert!(world.peers.iter().all(|peer| peer.status().serving));
    assert_eq!(world.peers[leader].zab().membership().servers.len(), 2);
    let (client, _) = world.session(leader);
    let (text, stat) = get_config(&mut world, leader, client, false);
    assert_eq!(stat.mzxid, world.peers[leader].zab().membership().version);
    assert_ne!(stat.mzxid, Zxid::ZERO);
    assert!(!text.contains(&format!("server.{leaving}=")), "{text}");
}

/// The owner of a leader asks for a reconfiguration; what it is told at once.
fn ask(world: &mut World, server: usize, request: &ReconfigRequest) -> Result<(), ReconfigureError> {
    let now = world.now;
    let answer = world.peers[server].reconfigure(now, request);
    world.settle();
    answer
}

/// What its owner is told afterwards.
fn told(world: &mut World, server: usize) -> Option<Reconfiguration> {
    world.peers[server].end_reconfiguration()
}

#[test]
fn an_owner_is_refused_without_a_transaction() {
    let check = |world: &mut World, server: usize, request: &ReconfigRequest, expected: ReconfigureError| {
        let before = world.peers[server].zab().last_logged();
        assert_eq!(ask(world, server, request), Err(expected), "{request:?}");
        assert_eq!((world.peers[server].zab().last_logged(), told(world, server)), (before, None), "{request:?}");
    };
    let wrong = ReconfigRequest { from_version: 5, ..request("nonsense", "", "") };
    check(&mut World::new(3), 2, &wrong, ReconfigureError::Disabled);
    check(&mut World::begin(0, 0, true, enabled), 0, &wrong, ReconfigureError::NotLeading);
    let world = &mut World::with(3, enabled);
    let (leader, follower) = (world.leader(), world.follower());
    let active = world.peers[leader].zab().membership().version;
    check(world, follower, &wrong, ReconfigureError::NotLeading);
    check(world, leader, &wrong, ReconfigureError::BadVersion { active });
    let nonsense = ReconfigError::Joining("nonsense".to_owned());
    check(world, leader, &request("nonsense", "", ""), ReconfigureError::BadArguments(nonsense));
    let members = "server.1=127.0.0.1:2001:3001,server.8=h:1:2,server.9=h:3:4";
    check(world, leader, &request("", "", members), ReconfigureError::NoQuorum);
    let world = &mut World::with(3, |config| (config.standalone_enabled, config.zab.reconfig) = (true, true));
    let leader = world.leader();
    check(world, leader, &request("", "2,3", ""), ReconfigureError::TooFewVoters);
}

#[test]
fn an_owner_is_told_when_the_configuration_is_active() {
    let mut world = World::with(3, enabled);
    let (leader, follower) = (world.leader(), world.follower());
    let from_version = world.peers[leader].zab().membership().version.0;
    let leaving = (follower + 1).to_string();
    let change = ReconfigRequest { from_version, ..request("", &leaving, "") };
    world.sync = false;
    assert_eq!(ask(&mut world, leader, &change), Ok(()));
    let zxid = world.peers[leader].zab().last_logged();
    assert_eq!(world.peers[leader].reconfiguration(), Some(&Reconfiguration::Proposed(zxid)));
    assert_eq!(ask(&mut world, leader, &change), Err(ReconfigureError::InProgress));
    world.sync = true;
    world.settle();
    assert_eq!(told(&mut world, leader), Some(Reconfiguration::Active(zxid)));
    assert_eq!(told(&mut world, leader), None, "once");
    for peer in &world.peers {
        assert_eq!((peer.zab().membership().version, peer.zab().membership().servers.len()), (zxid, 2));
    }
    assert_eq!(ask(&mut world, leader, &change), Err(ReconfigureError::BadVersion { active: zxid }), "compare and set");
}

#[test]
fn the_owner_of_a_leader_that_leaves_is_told_too() {
    let mut world = World::with(3, enabled);
    let leader = world.leader();
    let leaving = (leader + 1).to_string();
    assert_eq!(ask(&mut world, leader, &request("", &leaving, "")), Ok(()));
    let version = world.peers[leader].zab().membership().version;
    assert_eq!(told(&mut world, leader), Some(Reconfiguration::Active(version)));
    world.advance(Duration::from_millis(500));
    assert_ne!(world.leader(), leader);
    assert!(!world.peers[leader].zab().membership().servers.keys().any(|id| id.0 == leader as i64 + 1));
}

/// Behind the writes that wait, and checked again when its turn comes.
#[test]
fn an_owner_waits_for_its_turn_and_may_give_up() {
    let mut world = World::with(3, |config| (config.zab.reconfig, config.zab.outstanding_max) = (true, 1));
    let leader = world.leader();
    let client = administrator(&mut world, leader);
    let from_version = world.peers[leader].zab().membership().version.0;
    let change = ReconfigRequest { from_version, ..request("", "1", "") };
    let outstanding = |world: &mut World, xid: i32, request: &ReconfigRequest| {
        world.sync = false;
        world.request(leader, client, xid, OpCode::Reconfig, |out| request.encode(out));
    };
    // A write that fails is as outstanding as any.
    outstanding(&mut world, 1, &request("nonsense", "", ""));
    assert_eq!(ask(&mut world, leader, &change), Ok(()));
    assert_eq!(ask(&mut world, leader, &change), Err(ReconfigureError::InProgress));
    assert_eq!(told(&mut world, leader), Some(Reconfiguration::Waiting));
    world.sync = true;
    world.settle();
    assert_eq!(world.peers[leader].zab().membership().version.0, from_version, "given up, it is never proposed");

    outstanding(&mut world, 2, &request("nonsense", "", ""));
    outstanding(&mut world, 3, &request("", "2", ""));
    assert_eq!(ask(&mut world, leader, &change), Ok(()), "nobody knows yet");
    world.sync = true;
    world.settle();
    let active = world.peers[leader].zab().membership().version;
    assert_ne!(active.0, from_version);
    let refused = ReconfigureError::BadVersion { active };
    assert_eq!(told(&mut world, leader), Some(Reconfiguration::Refused(refused)));
}

/// It may come to nothing, or not: the owner has to look.
#[test]
fn the_owner_of_a_leader_that_is_cut_off_is_told_nothing() {
    let mut world = World::with(3, |config| (config.zab.reconfig, config.zab.outstanding_max) = (true, 1));
    let leader = world.leader();
    world.cut.insert(leader);
    assert_eq!(ask(&mut world, leader, &request("", &(leader + 1).to_string(), "")), Ok(()));
    let zxid = world.peers[leader].zab().last_logged();
    world.advance(Duration::from_secs(60));
    assert!(!world.peers[leader].status().serving);
    assert_eq!(told(&mut world, leader), Some(Reconfiguration::Proposed(zxid)));
    assert_eq!(ask(&mut world, leader, &request("", "1", "")), Err(ReconfigureError::NotLeading));
}

#[test]
fn what_waits_is_refused_when_the_office_ends() {
    let mut world = World::with(3, |config| (config.zab.reconfig, config.zab.outstanding_max) = (true, 1));
    let leader = world.leader();
    let client = administrator(&mut world, leader);
    world.cut.insert(leader);
    world.request(leader, client, 1, OpCode::Reconfig, |out| request("nonsense", "", "").encode(out));
    assert_eq!(ask(&mut world, leader, &request("", "1", "")), Ok(()));
    assert_eq!(world.peers[leader].reconfiguration(), Some(&Reconfiguration::Waiting));
    world.advance(Duration::from_secs(60));
    assert_eq!(told(&mut world, leader), Some(Reconfiguration::Refused(ReconfigureError::NotLeading)));
}
