//! A server that has lost its quorum, for clients that only read.

use crate::client::{Client, exchange};
use crate::world::{Server, ensemble, wait_for};
use ensemble_proto::ErrorCode;

#[test]
fn a_server_without_a_quorum_is_there_for_clients_that_only_read() {
    let (mut servers, _) = ensemble(2, "readonlymode.enabled=true\n4lw.commands.whitelist=mntr");
    servers.iter_mut().for_each(Server::start);
    let mut client = wait_for("a leader", || Client::connect(servers[0].client_port()).ok());
    assert_eq!(client.create("/a", b"one").unwrap(), ErrorCode::OK);
    let address = servers[0].client_port();
    let say = |word: &str| exchange(address, word.as_bytes());
    assert_eq!(say("isro"), "rw", "on the whitelist though it is not named");
    let reader = Client::connect_to_read(address).unwrap();
    assert!(!reader.is_read_only);
    servers[1].stop();
    let mut reader =
        wait_for("read-only mode", || Client::connect_to_read(address).ok().filter(|client| client.is_read_only));
    assert_eq!(say("isro"), "ro");
    let srvr = say("srvr");
    assert_eq!(srvr.lines().nth(1), Some("READ-ONLY mode; serving only read-only clients"), "{srvr}");
    assert!(srvr.contains("\nMode: read-only\n"), "{srvr}");
    let mntr = say("mntr");
    for line in ["zk_server_state\tread-only", "zk_local_sessions\t1"] {
        assert!(mntr.lines().any(|found| found == line), "{line} in\n{mntr}");
    }
    assert!(Client::connect(address).is_err(), "another client is sent away");
    assert_eq!(reader.get("/a").unwrap(), Ok(b"one".to_vec()));
    assert_eq!(reader.set("/a", b"two").unwrap(), ErrorCode::NOT_READ_ONLY);
    assert_eq!(Client::connect_to_read(address).unwrap().close().unwrap(), ErrorCode::OK);
    let ready = exchange(servers[0].admin_port(), b"GET /readyz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    servers[1].start();
    wait_for("the end of its connection", || reader.get("/a").err());
    let mut client =
        wait_for("a leader", || Client::connect_to_read(address).ok().filter(|client| !client.is_read_only));
    assert_eq!(client.set("/a", b"two").unwrap(), ErrorCode::OK);
    assert_eq!(say("isro"), "rw");
}
