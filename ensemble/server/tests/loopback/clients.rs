//! Sessions, four-letter words, limits: one standalone server.

use crate::client::{Client, exchange, open};
use crate::world::{Server, wait_for};
use ensemble_proto::client::{EventType, OpCode, WatcherEvent, xid};
use ensemble_proto::jute::Reader;
use ensemble_proto::{ErrorCode, SessionId};
use std::io::Read;

#[test]
fn a_write_is_read_back_and_survives_a_restart_with_its_session() {
    let mut server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    assert_eq!(client.create("/a", b"one").unwrap(), ErrorCode::OK);
    assert_eq!(client.create("/a", b"two").unwrap(), ErrorCode::NODE_EXISTS);
    assert_eq!(client.set("/a", b"three").unwrap(), ErrorCode::OK);
    assert_eq!(client.get("/a").unwrap(), Ok(b"three".to_vec()));
    server.stop();
    server.start();
    let again = Client::attach(server.client_port(), client.session, &client.password);
    let mut again = again.unwrap();
    assert_eq!(again.session, client.session);
    assert_eq!(again.get("/a").unwrap(), Ok(b"three".to_vec()));
    let thief = Client::attach(server.client_port(), client.session, &[0; 16]).unwrap();
    assert_eq!(thief.session, SessionId(0), "a wrong password must not get the session");
}

#[test]
fn a_watch_event_arrives_before_the_reply_that_shows_the_change() {
    let server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    client.create("/a", b"one").unwrap();
    client.send_get("/a", true).unwrap();
    client.receive().unwrap();
    client.send_set("/a", b"two").unwrap();
    let event = client.receive().unwrap();
    assert_eq!(event.xid, xid::NOTIFICATION);
    assert_eq!(client.receive().unwrap().error, ErrorCode::OK);
    let event = WatcherEvent::decode(&mut Reader::new(&event.body)).unwrap();
    assert_eq!((event.kind, &*event.path), (EventType::NodeDataChanged, "/a"));
}

#[test]
fn four_letter_words_answer_as_zookeeper_does() {
    let server = Server::standalone("maxClientCnxns=7");
    let mut client = Client::connect(server.client_port()).unwrap();
    client.create("/a", b"one").unwrap();
    let say = |word: &str| exchange(server.client_port(), word.as_bytes());
    assert_eq!(say("ruok"), "imok");
    assert_eq!(say("isro"), "rw");
    let srvr = say("srvr\n");
    let keys: Vec<_> = srvr.lines().map(|line| line.split(':').next().unwrap()).collect();
    let expected = [
        "Zookeeper version",
        "Latency min/avg/max",
        "Received",
        "Sent",
        "Connections",
        "Outstanding",
        "Zxid",
        "Mode",
        "Node count",
    ];
    assert_eq!(keys, expected, "{srvr}");
    for line in ["Mode: standalone", "Node count: 6", "Zxid: 0x2", "Outstanding: 0"] {
        assert!(srvr.lines().any(|found| found == line), "{line} in\n{srvr}");
    }
    let stat = say("stat");
    let local = client.stream.local_addr().unwrap();
    assert!(stat.contains(&format!("Clients:\n /{local}[1](queued=0,recved=")), "{stat}");
    let mntr = say("mntr");
    for line in ["zk_server_state\tstandalone", "zk_znode_count\t6", "zk_global_sessions\t1", "zk_ephemerals_count\t0"]
    {
        assert!(mntr.lines().any(|found| found == line), "{line} in\n{mntr}");
    }
    let conf = say("conf");
    for line in ["tickTime=500", "maxClientCnxns=7", "minSessionTimeout=1000", "serverId=0"] {
        assert!(conf.lines().any(|found| found == line), "{line} in\n{conf}");
    }
}

#[test]
fn a_hard_limit_is_kept_where_quotas_are_enforced() {
    let refused = |extra: &str| {
        let server = Server::standalone(extra);
        let mut client = Client::connect(server.client_port()).unwrap();
        for (path, data) in [
            ("/a", &b""[..]),
            ("/zookeeper/quota/a", b""),
            ("/zookeeper/quota/a/zookeeper_limits", b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=1"),
            ("/zookeeper/quota/a/zookeeper_stats", b""),
        ] {
            assert_eq!(client.create(path, data).unwrap(), ErrorCode::OK);
        }
        client.create("/a/b", b"").unwrap()
    };
    assert_eq!(refused("enforceQuota=true"), ErrorCode::QUOTA_EXCEEDED);
    assert_eq!(refused(""), ErrorCode::OK);
}

#[test]
fn only_srvr_is_on_the_whitelist_by_default() {
    let server = Server::standalone("4lw.commands.whitelist=srvr");
    let say = |word: &str| exchange(server.client_port(), word.as_bytes());
    assert_eq!(say("ruok"), "ruok is not executed because it is not in the whitelist.\n");
    assert!(say("srvr").contains("Mode: standalone\n"));
    assert_eq!(say("abcd"), "", "not a word, so a length, and an impossible one");
}

#[test]
fn replies_wait_for_a_client_that_does_not_read() {
    const REPLIES: usize = 400;
    let server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    let data = vec![7; 500_000];
    client.create("/large", &data).unwrap();
    let mut reader = Client::connect(server.client_port()).unwrap();
    for _ in 0..REPLIES {
        reader.send_get("/large", false).unwrap();
    }
    // 200 MB asked for and not read: another client is served meanwhile.
    assert_eq!(client.set("/large", &data).unwrap(), ErrorCode::OK);
    for expected in 1..=REPLIES as i32 {
        let reply = reader.receive().unwrap();
        assert_eq!((reply.xid, reply.error), (expected, ErrorCode::OK));
        assert_eq!(Reader::new(&reply.body).buffer("data").unwrap().map(<[u8]>::len), Some(data.len()));
    }
}

#[test]
fn connections_above_the_limit_of_an_address_are_closed() {
    let server = Server::standalone("maxClientCnxns=2");
    let kept = [Client::connect(server.client_port()).unwrap(), Client::connect(server.client_port()).unwrap()];
    assert!(Client::connect(server.client_port()).is_err());
    drop(kept);
    wait_for("a free place", || Client::connect(server.client_port()).ok());
}

#[test]
fn a_connection_without_a_session_is_closed_in_time() {
    let server = Server::standalone("nio.sessionlessCnxnTimeout=100");
    let mut idle = open(server.client_port()).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(idle.read_to_end(&mut bytes).unwrap(), 0);
}

#[test]
fn a_closed_session_ends_its_connection_after_the_reply() {
    let server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    client.send(OpCode::CloseSession, |_| {}).unwrap();
    assert_eq!(client.receive().unwrap().error, ErrorCode::OK);
    let mut rest = Vec::new();
    assert_eq!(client.stream.read_to_end(&mut rest).unwrap(), 0);
}

#[test]
fn snapshots_are_taken_beside_the_writes_and_a_restart_uses_them() {
    let mut server = Server::standalone("snapCount=20");
    let mut client = Client::connect(server.client_port()).unwrap();
    client.create("/a", b"").unwrap();
    for value in 0..100_u32 {
        client.set("/a", &value.to_be_bytes()).unwrap();
    }
    let snapshots = server.directory().join("version-2");
    let newer = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.starts_with("snapshot.") && name != "snapshot.0" && !name.ends_with("tmp")
    };
    wait_for("a snapshot", || std::fs::read_dir(&snapshots).unwrap().any(newer).then_some(()));
    server.stop();
    server.start();
    let mut client = Client::connect(server.client_port()).unwrap();
    assert_eq!(client.get("/a").unwrap(), Ok(99_u32.to_be_bytes().to_vec()));
}
