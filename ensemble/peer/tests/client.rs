//! What a client sees: handshake, order, watches, sessions, on a standalone server and on an ensemble of three.

mod common;

use common::{Received, World, create, delete, new_session, read, set};
use ensemble_peer::ClientId;
use ensemble_proto::client::{
    AclEntry, AuthRequest, CheckRequest, ConnectRequest, CreateRequest, EventType, MultiOp, MultiRequest, OpCode,
    PathRequest, SetDataRequest, password, xid,
};
use ensemble_proto::jute::Writer;
use ensemble_proto::{Acl, ErrorCode, SessionId, Zxid};
use std::time::Duration;

const OK: ErrorCode = ErrorCode::OK;

fn xids(messages: &[Received]) -> Vec<i32> {
    messages.iter().map(|m| if let Received::Reply { xid, .. } = m { *xid } else { xid::NOTIFICATION }).collect()
}

fn events(messages: &[Received]) -> Vec<(EventType, String)> {
    let event = |m: &Received| {
        if let Received::Event { event, .. } = m { Some((event.kind, event.path.clone())) } else { None }
    };
    messages.iter().filter_map(event).collect()
}

#[test]
fn a_timeout_is_clamped_and_an_old_client_gets_no_read_only_byte() {
    let mut world = World::standalone();
    for (asked, got) in [(0, 4000), (-1, 4000), (10_000, 10_000), (i32::MAX, 40_000)] {
        let client = world.open(0);
        let request = ConnectRequest { read_only: None, ..new_session(asked) };
        let response = world.handshake(0, client, &request).expect("a response");
        assert_eq!((response.timeout_ms, response.read_only), (got, None));
        assert_eq!(response.password, password(response.session));
    }
}

#[test]
fn a_client_that_has_seen_the_future_is_sent_away_without_a_word() {
    let mut world = World::standalone();
    let client = world.open(0);
    let request = ConnectRequest { last_zxid_seen: Zxid(1000), ..new_session(10_000) };
    assert!(world.handshake(0, client, &request).is_none());
    assert_eq!(world.closed, vec![(0, client)]);
}

#[test]
fn an_unknown_session_and_a_wrong_password_are_answered_as_expired() {
    for servers in [0, 3] {
        let mut world = World::new(servers);
        let (_, living) = world.session(0);
        let good = password(SessionId(99));
        for (session, password) in [(SessionId(99), &good[..]), (living, &[0; 16][..]), (living, &[][..])] {
            let client = world.open(0);
            let response = world.handshake(0, client, &ConnectRequest { session, password, ..new_session(10_000) });
            let response = response.expect("the word that it has expired");
            assert_eq!((response.timeout_ms, response.session, response.password), (0, SessionId(0), [0; 16]));
            assert!(world.closed.contains(&(0, client)));
        }
    }
}

#[test]
fn replies_leave_in_the_order_of_the_requests_and_reads_see_the_writes_before_them() {
    for servers in [0, 3] {
        let mut world = World::new(servers);
        for server in 0..world.peers.len() {
            let (client, _) = world.session(server);
            let path = format!("/order{server}");
            world.sync = false;
            create(&mut world, server, client, 1, &path, 0);
            read(&mut world, server, client, 2, OpCode::GetData, &path, false);
            set(&mut world, server, client, 3, &path);
            world.request(server, client, 4, OpCode::Ping, |_| ());
            assert_eq!(world.received(server, client), vec![], "nothing is answered before it is durable");
            world.sync = true;
            world.settle();
            let messages = world.received(server, client);
            assert_eq!(xids(&messages), vec![1, 2, 3, xid::PING]);
            let Received::Reply { error, body, .. } = &messages[1] else { panic!("a reply") };
            assert_eq!((*error, &body[4..8]), (OK, &b"data"[..]), "the read is older than the second write");
        }
    }
}

#[test]
fn an_event_comes_before_the_reply_of_the_write_that_caused_it() {
    for servers in [0, 3] {
        let mut world = World::new(servers);
        let server = world.peers.len() - 1;
        let (client, _) = world.session(server);
        create(&mut world, server, client, 1, "/w", 0);
        read(&mut world, server, client, 2, OpCode::GetData, "/w", true);
        read(&mut world, server, client, 3, OpCode::GetChildren, "/", true);
        read(&mut world, server, client, 4, OpCode::GetChildren, "/w", true);
        world.received(server, client);
        delete(&mut world, server, client, 5, "/w");
        let messages = world.received(server, client);
        let expected = [(EventType::NodeDeleted, "/w"), (EventType::NodeChildrenChanged, "/")];
        assert_eq!(events(&messages), expected.map(|(kind, path)| (kind, path.to_string())), "one NodeDeleted");
        assert_eq!(xids(&messages), vec![-1, -1, 5]);
        create(&mut world, server, client, 6, "/w", 0);
        assert_eq!(events(&world.received(server, client)), vec![], "a watch fires once");
    }
}

#[test]
fn exists_on_a_missing_znode_leaves_a_watch_and_the_other_reads_do_not() {
    let mut world = World::standalone();
    let (client, _) = world.session(0);
    read(&mut world, 0, client, 1, OpCode::GetData, "/m", true);
    read(&mut world, 0, client, 2, OpCode::GetChildren, "/m", true);
    read(&mut world, 0, client, 3, OpCode::Exists, "/m", true);
    assert_eq!(world.errors(0, client), vec![ErrorCode::NO_NODE; 3]);
    create(&mut world, 0, client, 4, "/m", 0);
    assert_eq!(events(&world.received(0, client)), vec![(EventType::NodeCreated, "/m".to_string())]);
}

#[test]
fn set_watches_fires_what_was_missed_and_registers_the_rest() {
    let mut world = World::standalone();
    let (writer, _) = world.session(0);
    for (xid, path) in [(1, "/same"), (2, "/changed"), (3, "/parent")] {
        create(&mut world, 0, writer, xid, path, 0);
    }
    let seen = world.peers[0].status().zxid;
    set(&mut world, 0, writer, 4, "/changed");
    create(&mut world, 0, writer, 5, "/parent/child", 0);
    let (client, _) = world.session(0);
    world.request(0, client, xid::SET_WATCHES, OpCode::SetWatches, |out| {
        out.long(seen.0);
        out.strings(&["/same", "/changed", "/gone"]);
        out.strings(&["/same", "/absent"]);
        out.strings(&["/parent", "/same"]);
    });
    let messages = world.received(0, client);
    use EventType as E;
    let expected = [
        (E::NodeDataChanged, "/changed"),
        (E::NodeDeleted, "/gone"),
        (E::NodeCreated, "/same"),
        (E::NodeChildrenChanged, "/parent"),
    ];
    assert_eq!(events(&messages), expected.map(|(kind, path)| (kind, path.to_string())));
    assert!(messages.iter().all(|m| !matches!(m, Received::Event { zxid, .. } if *zxid != Zxid::NONE)));
    assert_eq!(xids(&messages).last(), Some(&xid::SET_WATCHES));
    set(&mut world, 0, writer, 6, "/same");
    create(&mut world, 0, writer, 7, "/absent", 0);
    let expected = [(E::NodeDataChanged, "/same"), (E::NodeCreated, "/absent")];
    assert_eq!(events(&world.received(0, client)), expected.map(|(kind, path)| (kind, path.to_string())));
}

#[test]
fn nobody_hears_of_a_znode_that_he_may_not_read() {
    let mut world = World::standalone();
    let (watcher, _) = world.session(0);
    let (owner, _) = world.session(0);
    world.request(0, owner, xid::AUTH, OpCode::Auth, |out| {
        AuthRequest { scheme: "digest".into(), auth: b"u:p" }.encode(out);
    });
    read(&mut world, 0, watcher, 1, OpCode::Exists, "/secret", true);
    let acl = Some(vec![AclEntry { perms: Acl::ALL, scheme: Some("auth".into()), id: None }]);
    let request = CreateRequest { path: "/secret".into(), data: None, acl, flags: 0 };
    world.request(0, owner, 2, OpCode::Create, |out| request.encode(out));
    read(&mut world, 0, watcher, 3, OpCode::GetData, "/secret", false);
    assert_eq!(events(&world.received(0, owner)), vec![]);
    let messages = world.received(0, watcher);
    assert_eq!(events(&messages), vec![]);
    assert!(matches!(messages.last(), Some(Received::Reply { error: ErrorCode::NO_AUTH, .. })));
}

#[test]
fn an_unknown_scheme_and_an_unknown_opcode_are_answered_before_the_connection_ends() {
    let mut world = World::standalone();
    let (client, _) = world.session(0);
    world.request(0, client, xid::AUTH, OpCode::Auth, |out| {
        AuthRequest { scheme: "kerberos".into(), auth: b"x" }.encode(out);
    });
    assert_eq!(world.errors(0, client), vec![ErrorCode::AUTH_FAILED]);
    assert!(world.closed.contains(&(0, client)));
    for op in [OpCode::DeleteContainer, OpCode::CreateSession, OpCode::Check] {
        let (client, _) = world.session(0);
        world.request(0, client, 1, op, |_| ());
        assert_eq!(world.errors(0, client), vec![ErrorCode::UNIMPLEMENTED], "{op:?}");
        assert!(world.closed.contains(&(0, client)), "{op:?}");
    }
}

#[test]
fn a_session_moves_and_the_server_it_left_closes_its_connection() {
    let mut world = World::new(3);
    let (from, to) = (world.leader(), world.follower());
    let (old, session) = world.session(from);
    create(&mut world, from, old, 1, "/e", 1);
    let new = world.open(to);
    let password = password(session);
    let response = world.handshake(to, new, &ConnectRequest { session, password: &password, ..new_session(10_000) });
    assert_eq!(response.expect("a response").session, session);
    set(&mut world, to, new, 1, "/e");
    assert_eq!(world.errors(to, new), vec![OK]);
    world.received(from, old);
    set(&mut world, from, old, 2, "/e");
    assert_eq!(world.received(from, old), vec![], "a moved session is a closed connection, never an answer");
    assert!(world.closed.contains(&(from, old)));
}

#[test]
fn a_silent_session_expires_everywhere_and_one_that_pings_a_follower_does_not() {
    let mut world = World::new(3);
    let server = world.follower();
    let (silent, gone) = world.session(server);
    create(&mut world, server, silent, 1, "/silent", 1);
    let (pinging, living) = world.session(server);
    create(&mut world, server, pinging, 1, "/pinging", 1);
    for _ in 0..8 {
        world.advance(Duration::from_secs(2));
        world.request(server, pinging, xid::PING, OpCode::Ping, |_| ());
    }
    for peer in &world.peers {
        assert!(peer.tree().get("/silent").is_none() && peer.tree().get("/pinging").is_some());
        let sessions: Vec<_> = peer.tree().sessions().keys().copied().collect();
        assert_eq!(sessions, vec![living], "{gone} has expired");
    }
    assert!(world.closed.contains(&(server, silent)));
}

#[test]
fn closing_a_session_takes_its_ephemerals_and_ignores_what_is_pipelined_behind_it() {
    for servers in [0, 3] {
        let mut world = World::new(servers);
        let server = world.peers.len() - 1;
        let (client, _) = world.session(server);
        create(&mut world, server, client, 1, "/e", 1);
        world.sync = false;
        world.request(server, client, 2, OpCode::CloseSession, |_| ());
        create(&mut world, server, client, 3, "/late", 1);
        world.sync = true;
        world.settle();
        assert_eq!(xids(&world.received(server, client)), vec![1, 2]);
        assert!(world.closed.contains(&(server, client)));
        for peer in &world.peers {
            assert!(peer.tree().get("/e").is_none() && peer.tree().get("/late").is_none());
        }
    }
}

#[test]
fn a_client_that_waits_for_the_end_of_its_session_is_heard() {
    let mut world = World::standalone();
    let (client, _) = world.session(0);
    world.sync = false;
    create(&mut world, 0, client, 1, "/before", 0);
    world.request(0, client, 2, OpCode::Sync, |out| out.string("/before"));
    create(&mut world, 0, client, 3, "/behind", 0); // waits for the sync, as the end does
    world.request(0, client, 4, OpCode::CloseSession, |_| ());
    for _ in 0..8 {
        world.advance(Duration::from_secs(2));
        world.request(0, client, xid::PING, OpCode::Ping, |_| ());
    }
    world.sync = true;
    world.settle();
    assert_eq!(xids(&world.received(0, client)), vec![1, 2, 3, 4]);
    assert!(world.peers[0].tree().get("/behind").is_some(), "it was asked for within the session");
}

#[test]
fn a_sync_is_answered_after_what_was_committed_before_it() {
    let mut world = World::new(3);
    let (leader, follower) = (world.leader(), world.follower());
    let (writer, _) = world.session(leader);
    let (reader, _) = world.session(follower);
    create(&mut world, leader, writer, 1, "/s", 0);
    let written = world.peers[leader].status().zxid;
    for (server, client) in [(follower, reader), (leader, writer)] {
        world.received(server, client);
        world.request(server, client, 9, OpCode::Sync, |out| out.string("/s"));
        let messages = world.received(server, client);
        let [Received::Reply { xid: 9, zxid, error: OK, body }] = &messages[..] else { panic!("{messages:?}") };
        assert!(*zxid >= written && body == b"\0\0\0\x02/s");
    }
}

#[test]
fn a_connection_with_unanswered_requests_is_not_read_while_all_have_too_many() {
    let mut world = World::standalone();
    let (client, _) = world.session(0);
    world.sync = false;
    for xid in 1..=5 {
        create(&mut world, 0, client, xid, &format!("/p{xid}"), 0);
    }
    assert!(world.paused[&(0, client)]);
    world.sync = true;
    world.settle();
    assert!(!world.paused[&(0, client)]);
    assert_eq!(world.errors(0, client), vec![OK; 5]);
}

#[test]
fn a_session_outlives_the_time_that_its_connection_is_not_read() {
    for mut world in [World::standalone(), World::new(3)] {
        let server = 0; // of three, a follower
        let client = world.open(server);
        let session = world.handshake(server, client, &new_session(4000)).expect("a response").session;
        world.sync = false;
        for xid in 1..=5 {
            create(&mut world, server, client, xid, &format!("/p{xid}"), 0);
        }
        assert!(world.paused[&(server, client)]);
        world.advance(Duration::from_secs(9)); // less than syncLimit, twice the timeout
        world.sync = true;
        world.settle();
        assert_eq!(world.errors(server, client), vec![OK; 5]);
        assert!(world.peers[server].tree().sessions().contains_key(&session));
    }
}

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    let mut world = World::standalone();
    let (other, _) = world.session(0);
    for garbage in [&b""[..], b"\0", &[0xff; 44], &[0; 7]] {
        let fresh = world.open(0);
        world.frame(0, fresh, |out| out.put(garbage));
        assert!(world.closed.contains(&(0, fresh)), "before the handshake: {garbage:?}");
    }
    let (client, _) = world.session(0);
    world.frame(0, client, |out| out.put(&[1, 2, 3]));
    assert!(world.closed.contains(&(0, client)));
    let (client, _) = world.session(0);
    world.request(0, client, 1, OpCode::GetData, |out| out.int(i32::MAX));
    world.request(0, client, 2, OpCode::Create, |out| out.int(-7));
    assert_eq!(world.errors(0, client), vec![ErrorCode::MARSHALLING_ERROR; 2]);
    create(&mut world, 0, other, 1, "/fine", 0);
    assert_eq!(world.errors(0, other), vec![OK]);
}

#[test]
fn a_connection_without_a_session_and_one_without_traffic_are_closed() {
    let mut world = World::standalone();
    let mute = world.open(0);
    world.advance(Duration::from_secs(13));
    assert!(world.closed.contains(&(0, mute)));
}

#[test]
fn a_write_behind_a_sync_is_not_seen_by_the_read_between_them() {
    let mut world = World::new(3);
    let (leader, follower) = (world.leader(), world.follower());
    for server in [leader, follower] {
        let (client, _) = world.session(server);
        let path = format!("/deferred{server}");
        create(&mut world, server, client, 1, &path, 0);
        world.received(server, client);
        world.sync = false;
        set(&mut world, server, client, 2, &path);
        world.request(server, client, 3, OpCode::Sync, |out| out.string(&path));
        read(&mut world, server, client, 4, OpCode::Exists, &path, false);
        delete(&mut world, server, client, 5, &path);
        read(&mut world, server, client, 6, OpCode::Exists, &path, false);
        world.sync = true;
        world.settle();
        let messages = world.received(server, client);
        assert_eq!(xids(&messages), vec![2, 3, 4, 5, 6]);
        let zxids: Vec<_> =
            messages.iter().map(|m| if let Received::Reply { zxid, .. } = m { *zxid } else { Zxid::ZERO }).collect();
        assert!(zxids.is_sorted(), "the zxids that a session sees never go back: {zxids:?}");
        let errors: Vec<_> =
            messages.iter().map(|m| if let Received::Reply { error, .. } = m { *error } else { OK }).collect();
        assert_eq!(errors, vec![OK, OK, OK, OK, ErrorCode::NO_NODE]);
    }
}

#[test]
fn a_deferred_write_keeps_the_identities_that_it_came_with() {
    let mut world = World::standalone();
    let (client, _) = world.session(0);
    world.sync = false;
    create(&mut world, 0, client, 1, "/before", 0);
    world.request(0, client, 2, OpCode::Sync, |out| out.string("/"));
    let acl = Some(vec![AclEntry { perms: Acl::ALL, scheme: Some("auth".into()), id: None }]);
    let request = CreateRequest { path: "/mine".into(), data: None, acl, flags: 0 };
    world.request(0, client, 3, OpCode::Create, |out| request.encode(out));
    world.request(0, client, xid::AUTH, OpCode::Auth, |out| {
        AuthRequest { scheme: "digest".into(), auth: b"u:p" }.encode(out);
    });
    world.sync = true;
    world.settle();
    assert_eq!(world.errors(0, client), vec![OK, OK, ErrorCode::INVALID_ACL, OK]);
}

#[test]
fn a_late_report_of_the_server_that_a_session_left_does_not_shorten_its_timeout() {
    let mut world = World::new(3);
    let (leader, follower) = (world.leader(), world.follower());
    let old = world.open(follower);
    let session = world.handshake(follower, old, &new_session(4_000)).expect("a response").session;
    world.request(follower, old, xid::PING, OpCode::Ping, |_| ());
    // it moves to the leader before the follower's next answer to a PING
    let (new, password) = (world.open(leader), password(session));
    let request = ConnectRequest { session, password: &password, ..new_session(30_000) };
    assert_eq!(world.handshake(leader, new, &request).expect("a response").timeout_ms, 30_000);
    world.advance(Duration::from_secs(2));
    world.request(leader, new, xid::PING, OpCode::Ping, |_| ());
    world.advance(Duration::from_secs(20));
    assert!(world.peers[leader].tree().sessions().contains_key(&session), "silent for 20 s of 30 s");
}

/// A follower with a client of 4 s, and the leader.
fn cut_off(world: &mut World) -> (usize, ClientId, SessionId) {
    let server = world.follower();
    let client = world.open(server);
    let session = world.handshake(server, client, &new_session(4_000)).expect("a response").session;
    create(world, server, client, 1, "/e", 1);
    (server, client, session)
}

fn lives(world: &World, session: SessionId) -> bool {
    world.peers[world.leader()].tree().sessions().contains_key(&session)
}

#[test]
fn a_session_outlives_a_silence_of_its_follower_that_is_shorter_than_sync_limit() {
    let mut world = World::new(3);
    let (server, client, session) = cut_off(&mut world);
    world.cut.insert(server);
    for _ in 0..9 {
        world.advance(Duration::from_secs(1));
        world.request(server, client, xid::PING, OpCode::Ping, |_| ());
    }
    assert!(lives(&world, session), "9 s of 4 s, with a syncLimit of 10 s");
    world.heal();
    world.advance(Duration::from_secs(1));
    world.request(server, client, xid::PING, OpCode::Ping, |_| ());
    assert!(lives(&world, session));
    set(&mut world, server, client, 2, "/e");
    assert_eq!(world.errors(server, client).last(), Some(&OK));
}

#[test]
fn a_session_that_is_silent_behind_a_silent_follower_ends_with_the_first_answer() {
    let mut world = World::new(3);
    let (server, _, session) = cut_off(&mut world);
    world.advance(Duration::from_secs(1)); // the follower has reported it
    world.cut.insert(server);
    world.advance(Duration::from_secs(9));
    assert!(lives(&world, session));
    world.heal();
    assert!(!lives(&world, session), "asked after its time, answered now");
}

#[test]
fn the_clients_of_a_lost_follower_have_a_full_timeout_to_find_another_server() {
    let mut world = World::new(3);
    let (server, client, session) = cut_off(&mut world);
    world.cut.insert(server);
    let is_learner = |world: &World| {
        world.peers[world.leader()].status().learners.iter().any(|learner| learner.id.0 as usize == server + 1)
    };
    while is_learner(&world) {
        world.advance(Duration::from_millis(100));
        world.request(server, client, xid::PING, OpCode::Ping, |_| ());
    }
    world.advance(Duration::from_millis(3900));
    assert!(lives(&world, session));
    world.advance(Duration::from_secs(3)); // the rest, and a tick of rounding
    assert!(!lives(&world, session));
}

#[test]
fn a_silent_session_of_a_follower_that_is_heard_ends_within_a_tick_of_its_time() {
    let mut world = World::new(3);
    let (_, _, session) = cut_off(&mut world);
    world.advance(Duration::from_millis(3900));
    assert!(lives(&world, session));
    world.advance(Duration::from_millis(1100 + 2000 + 1000)); // a report, rounding, and the answer to the next PING
    assert!(!lives(&world, session));
}

#[test]
fn a_request_whose_record_no_log_may_hold_is_refused_and_changes_nothing() {
    for servers in [0, 3] {
        let mut world = World::new(servers);
        let server = world.peers.len() - 1;
        let (client, session) = world.session(server);
        for number in 0..6 {
            world.request(server, client, xid::AUTH, OpCode::Auth, |out| {
                AuthRequest { scheme: "digest".into(), auth: format!("user{number}:p").as_bytes() }.encode(out);
            });
        }
        world.received(server, client);
        let acl = |scheme: &'static str| AclEntry { perms: Acl::ALL, scheme: Some(scheme.into()), id: None };
        let multi = |entries: usize| MultiRequest {
            ops: (0..entries)
                .map(|number| MultiOp::Create {
                    op: OpCode::Create,
                    request: CreateRequest {
                        path: format!("/m{number}").into(),
                        data: None,
                        acl: Some(vec![acl("auth")]),
                        flags: 1,
                    },
                })
                .collect(),
        };
        const { assert!(common::RECORD_BYTES_MAX > 20 * 40) } // twenty short creates would fit without the identities
        for (entries, expected) in [(20, ErrorCode::MARSHALLING_ERROR), (3, OK)] {
            world.request(server, client, 1, OpCode::Multi, |out| multi(entries).encode(out));
            assert_eq!(world.errors(server, client), vec![expected], "{entries}");
        }
        let data = [7; common::RECORD_BYTES_MAX];
        let request = SetDataRequest { path: "/m0".into(), data: Some(&data), version: -1 };
        world.request(server, client, 2, OpCode::SetData, |out| request.encode(out));
        assert_eq!(world.errors(server, client), vec![ErrorCode::MARSHALLING_ERROR]);
        set(&mut world, server, client, 3, "/m0");
        assert_eq!(world.errors(server, client), vec![OK], "the version is that of before");
        for peer in &world.peers {
            let znode = peer.tree().get("/m0").expect("created").stat();
            assert_eq!((znode.version, peer.tree().ephemeral_count(), peer.status().digest_mismatches), (1, 3, 0));
        }
        for number in 0..80 {
            create(&mut world, server, client, 10 + number, &format!("/{}{number}", "long".repeat(10)), 1);
        }
        world.request(server, client, 999, OpCode::CloseSession, |_| ());
        assert_eq!(world.errors(server, client), vec![OK; 81], "the list of a closeSession is left out");
        for peer in &world.peers {
            assert_eq!(peer.tree().ephemeral_count(), 0);
            assert!(!peer.tree().sessions().contains_key(&session));
        }
    }
}

#[test]
fn what_waits_behind_a_sync_is_done_when_the_client_hangs_up() {
    for servers in [0, 3] {
        let mut world = World::new(servers);
        let server = world.peers.len() - 1;
        let (client, session) = world.session(server);
        create(&mut world, server, client, 1, "/e", 1);
        world.sync = false;
        set(&mut world, server, client, 2, "/e");
        world.request(server, client, 3, OpCode::Sync, |out| out.string("/"));
        create(&mut world, server, client, 4, "/p", 0);
        world.request(server, client, 5, OpCode::Sync, |out| out.string("/"));
        world.request(server, client, 6, OpCode::CloseSession, |_| ());
        world.hang_up(server, client);
        world.sync = true;
        world.settle();
        for peer in &world.peers {
            assert!(!peer.tree().sessions().contains_key(&session), "closed");
            assert!(peer.tree().get("/p").is_some() && peer.tree().get("/e").is_none(), "in order");
        }
        let (client, _) = world.session(server);
        world.request(server, client, 1, OpCode::Sync, |out| out.string("/"));
        assert_eq!(world.errors(server, client), vec![OK], "answers still find those who asked");
    }
}

#[test]
fn a_multi_of_a_session_that_has_moved_ends_its_connection_without_an_answer() {
    let mut world = World::new(3);
    for (from, to) in [(world.leader(), world.follower()), (world.follower(), world.leader())] {
        let (old, session) = world.session(from);
        let (new, password) = (world.open(to), password(session));
        let request = ConnectRequest { session, password: &password, ..new_session(10_000) };
        assert_eq!(world.handshake(to, new, &request).expect("a response").session, session);
        let check = MultiOp::Check(CheckRequest { path: "/".into(), version: -1 });
        world.request(from, old, 2, OpCode::Multi, |out| MultiRequest { ops: vec![check] }.encode(out));
        assert_eq!(world.received(from, old), vec![]);
        assert!(world.closed.contains(&(from, old)));
    }
}

#[test]
fn after_a_standstill_clients_are_heard_before_anybody_is_said_to_be_silent() {
    let mut world = World::standalone();
    let client = world.open(0);
    let session = world.handshake(0, client, &new_session(4_000)).expect("a response").session;
    let lives = |world: &World| world.peers[0].tree().sessions().contains_key(&session);
    world.stand_still(Duration::from_secs(7));
    assert!(lives(&world));
    world.request(0, client, xid::PING, OpCode::Ping, |_| ()); // had waited in the socket
    world.advance(Duration::from_secs(3));
    assert!(lives(&world), "heard");
    world.stand_still(Duration::from_secs(7));
    world.advance(Duration::from_secs(3));
    assert!(!lives(&world), "silent for longer than its timeout, and for a tick after the standstill");
}

/// The leader has proposed the end of a session when a write of its client reaches it, with the xid that the end has too.
#[test]
fn the_end_of_a_session_answers_no_other_request_of_its_client() {
    let mut world = World::new(3);
    let (leader, follower) = (world.leader(), world.follower());
    let (_, session) = world.session(follower);
    let (client, password) = (world.open(follower), password(session));
    let request = ConnectRequest { session, password: &password, ..new_session(4_000) };
    assert_eq!(world.handshake(follower, client, &request).expect("a response").session, session);
    world.late.insert(follower); // or it would have closed the connection by then
    world.sync = false;
    let proposed = world.peers[leader].status().proposals;
    while world.peers[leader].status().proposals == proposed {
        world.advance(Duration::from_millis(50));
    }
    assert!(!world.closed.contains(&(follower, client)));
    create(&mut world, follower, client, 0, "/a", 0);
    world.sync = true;
    world.settle();
    assert!(!world.peers[follower].tree().sessions().contains_key(&session));
    assert!(!world.errors(follower, client).contains(&OK), "the create has no effect");
}

/// Writes wait at the leader while as many as may be are outstanding, and a sync waits behind them.
#[test]
fn a_sync_covers_the_writes_before_it_that_the_leader_has_not_proposed_yet() {
    for server in [World::leader, World::follower] {
        let mut world = World::with(3, |config| config.zab.outstanding_max = 1);
        let server = server(&world);
        let (client, _) = world.session(server);
        world.sync = false;
        create(&mut world, server, client, 1, "/a", 0);
        create(&mut world, server, client, 2, "/b", 0);
        world.request(server, client, 3, OpCode::Sync, |out| PathRequest { path: "/".into() }.encode(out));
        world.sync = true;
        world.settle();
        let zxid = |message: &Received| match message {
            Received::Reply { zxid, error: ErrorCode::OK, .. } => *zxid,
            other => panic!("{other:?} instead of a reply"),
        };
        let zxids: Vec<_> = world.received(server, client).iter().map(zxid).collect();
        assert_eq!(zxids.len(), 3);
        assert!(zxids[2] >= zxids[1], "the sync is of before the write: {zxids:?}");
    }
}
