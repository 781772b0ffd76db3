//! What the log tells of a server's life, of clients that are sent away, and of servers that are missing.

use crate::client::{Client, exchange, open};
use crate::process::Process;
use crate::world::{Server, ensemble, wait_for};
use ensemble_proto::client::{AuthRequest, ConnectRequest, OpCode, frame};
use ensemble_proto::{SessionId, Zxid};
use std::io::{Read, Write};
use std::net::SocketAddr;

/// The process of a server.
fn start(server: &Server) -> Process {
    Process::start(&["server", "--config", server.write_config().to_str().unwrap()])
}

/// Shakes hands and reads until the server closes.
fn shake(address: SocketAddr, last_zxid_seen: Zxid, session: SessionId, password: &[u8], timeout_ms: i32) {
    let mut bytes = Vec::new();
    let hello = ConnectRequest { last_zxid_seen, timeout_ms, session, password, read_only: None };
    frame(&mut bytes, |out| hello.encode(out));
    let mut stream = open(address).unwrap();
    stream.write_all(&bytes).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn clients_that_are_sent_away_are_told_of_by_name_and_without_secrets() {
    let server = Server::new("clientPort=0\n");
    let process = start(&server);
    let address = process.client_port();
    process.wait_for_line(&["INFO", " leading ", "epoch=", "zxid=0x0"]);
    let client = wait_for("a session", || Client::connect(address).ok());
    let session = format!("session={}", client.session);

    shake(address, Zxid(0x7_0000_0001), client.session, &client.password, 4000);
    process.wait_for_line(&["WARN", "has seen more than this server", "seen=0x700000001", "zxid=0x1", &session]);

    shake(address, Zxid(0), client.session, b"guess-0123456789", 4000);
    process.wait_for_line(&["INFO", "wrong password of the session", &session]);

    let mut client = Client::connect(address).unwrap();
    client.send(OpCode::DeleteContainer, |_| {}).unwrap();
    process.wait_for_line(&["INFO", "unsupported opcode", "op=20", "name=DeleteContainer"]);

    let mut client = Client::connect(address).unwrap();
    client
        .send(OpCode::Auth, |out| AuthRequest { scheme: "sasl".into(), auth: b"guess-9876543210" }.encode(out))
        .unwrap();
    process.wait_for_line(&["INFO", "authentication failed", "scheme=\"sasl\""]);

    shake(address, Zxid(0), SessionId(0), &[], 1000);
    process.wait_for_line(&["INFO", "session expired", "session=0x"]);
    assert!(!process.log().contains("guess"), "{}", process.log());
}

#[test]
fn a_flood_of_bad_clients_does_not_flood_the_log() {
    const KIND: &str = "closing a client whose frame length";
    let server = Server::new("clientPort=0\n");
    let process = start(&server);
    let address = process.client_port();
    for _ in 0..100 {
        exchange(address, &[0xff; 8]);
    }
    process.wait_for_line(&["INFO", "too many lines about clients", "max=20"]);
    let lines = process.log().lines().filter(|line| line.contains(KIND)).count();
    // 100 exchanges may take more than one window.
    assert!((20..=80).contains(&lines), "{lines} lines\n{}", process.log());
}

#[test]
fn servers_tell_how_they_found_each_other_and_why_they_parted() {
    let (servers, _) = ensemble(2, "");
    let [one, two] = [&servers[0], &servers[1]].map(start);
    two.wait_for_line(&["INFO", "leading", "server=2", "epoch=1", "zxid=0x0"]);
    two.wait_for_line(&["INFO", "synchronising a learner", "server=2", "learner=1", "plan="]);
    one.wait_for_line(&["INFO", "synchronising with the leader", "server=1", "plan=", "zxid=0x0"]);
    one.wait_for_line(&["INFO", "following", "server=1", "leader=2", "epoch=1"]);
    drop(two);
    one.wait_for_line(&["INFO", "role is over", "server=1", "reason=", "Following"]);
}

#[test]
fn a_server_without_a_quorum_says_whom_it_misses() {
    let (servers, places) = ensemble(3, "");
    let process = start(&servers[1]);
    let misses = |index: usize| format!("server {} at {}: Connection refused", index + 1, places[index].election());
    process.wait_for_line(&["WARN", "no quorum", "server=2", "needed=2", "reached=1", &misses(0), &misses(2)]);
}

#[test]
fn what_a_configuration_asks_in_vain_is_said_at_the_start() {
    let server = Server::new(
        "clientPort=0\n4lw.commands.whitelist=ruok,wchx,dumb\nnio.numWorkerThreads=4\nstandaloneEnabled=false\n\
         server.1=127.0.0.1:1:2\ninitLimit=5\nsyncLimit=2\n\
         ensemble.id=0d4ff1a2-9f8b-4d1c-8a77-1d1f2f1c9a10\nensemble.adminTokenFile=/nowhere/token\n",
    );
    std::fs::write(server.directory().join("myid"), "1").unwrap();
    let process = start(&server);
    process.wait_for_line(&["WARN", "4lw.commands.whitelist", "wchx, dumb"]);
    process.wait_for_line(&["INFO", "nio.numWorkerThreads", "no effect"]);
    process.wait_for_line(&["WARN", "no admin token", "/nowhere/token"]);
}
