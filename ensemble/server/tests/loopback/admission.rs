//! Limits on what clients ask for, seen from their side.

use crate::client::{Client, mntr};
use crate::process::three;
use crate::world::{Server, wait_for};
use ensemble_proto::ErrorCode;
use std::time::Duration;

/// No quorum acknowledges the first request while the followers stand still, so that the second waits behind it; when they go on it has waited for too long.
#[test]
fn a_request_that_waited_too_long_is_refused_and_not_done() {
    let servers = three("syncLimit=100\nrequest_throttle_max_requests=1\nthrottled_op_wait_time=200\n");
    let (leader, followers) = servers.split_first().unwrap();
    let address = leader.process.client_port();
    let mut client = Client::connect(address).unwrap();
    let mut other = Client::connect(address).unwrap();
    assert_eq!(client.create("/a", b"").unwrap(), ErrorCode::OK);
    followers.iter().for_each(|follower| follower.process.signal("STOP"));
    client.send_set("/a", b"first").unwrap();
    wait_for("the first to be under way", || mntr(address, "zk_outstanding_requests").filter(|count| count == "1"));
    other.send_set("/a", b"second").unwrap();
    wait_for("the second to wait", || mntr(address, "zk_request_throttle_wait_count").filter(|count| count == "1"));
    // The time itself is what it is refused for.
    std::thread::sleep(Duration::from_millis(300));
    followers.iter().for_each(|follower| follower.process.signal("CONT"));
    assert_eq!(client.receive().unwrap().error, ErrorCode::OK);
    assert_eq!(other.receive().unwrap().error, ErrorCode::THROTTLED_OP);
    assert_eq!(other.get("/a").unwrap(), Ok(b"first".to_vec()), "its session goes on, and nothing was done");
    assert_eq!(mntr(address, "zk_throttled_ops").as_deref(), Some("1"));
}

#[test]
fn a_request_for_which_there_is_no_room_ends_its_connection() {
    let server = Server::standalone("largeRequestThreshold=1000\nlargeRequestMaxBytes=5000");
    let mut client = Client::connect(server.client_port()).unwrap();
    assert_eq!(client.create("/small", &[b'x'; 900]).unwrap(), ErrorCode::OK);
    assert_eq!(client.create("/large", &[b'x'; 4000]).unwrap(), ErrorCode::OK);
    assert!(client.create("/too-large", &[b'x'; 6000]).is_err());
    assert_eq!(mntr(server.client_port(), "zk_large_requests_rejected").as_deref(), Some("1"));
    let mut client = Client::connect(server.client_port()).unwrap();
    assert_eq!(client.get("/too-large").unwrap(), Err(ErrorCode::NO_NODE));
}

#[test]
fn handshakes_beyond_the_tokens_are_refused() {
    let server = Server::standalone("connection_throttle_tokens=2\nconnection_throttle_fill_time=3600000");
    let clients: Vec<_> = (0..4).map(|_| Client::connect(server.client_port()).is_ok()).collect();
    assert_eq!(clients, [true, true, false, false]);
    assert_eq!(mntr(server.client_port(), "zk_connection_rejected").as_deref(), Some("2"));
}
