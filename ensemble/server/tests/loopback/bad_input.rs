//! What is wrong is refused by name, costs nobody else anything, and panics nowhere.

use crate::client::{Client, exchange, open};
use crate::world::{Server, ensemble, wait_for};
use bytes::BytesMut;
use ensemble_proto::client::{ConnectRequest, OpCode, ReadRequest, RequestHeader, frame, request};
use ensemble_proto::quorum::InitialMessage;
use ensemble_proto::{ErrorCode, ServerId, SessionId, Zxid};
use std::io::{Read, Write};

/// Sends bytes on a connection of its own and expects it to be closed without a word, and the server to serve on.
fn check_closed(server: &Server, bytes: &[u8]) {
    assert_eq!(exchange(server.client_port(), bytes), "", "{bytes:?}");
    assert!(Client::connect(server.client_port()).is_ok(), "after {bytes:?}");
}

#[test]
fn malformed_frames_close_their_connection_and_nothing_else() {
    let server = Server::standalone("");
    let mut bystander = Client::connect(server.client_port()).unwrap();
    check_closed(&server, &[0xff; 8]);
    check_closed(&server, &i32::MAX.to_be_bytes());
    check_closed(&server, &1_048_576_i32.to_be_bytes());
    check_closed(&server, &[0, 0, 0, 0]);
    check_closed(&server, &[0, 0, 0, 3, 1, 2, 3]);
    check_closed(&server, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(bystander.create("/a", b"").unwrap(), ErrorCode::OK);
}

#[test]
fn an_unknown_opcode_is_unimplemented_and_then_closed() {
    let server = Server::standalone("");
    for op in [999, 0, -1] {
        let mut client = Client::connect(server.client_port()).unwrap();
        let mut bytes = Vec::new();
        frame(&mut bytes, |out| RequestHeader { xid: 5, op }.encode(out));
        client.stream.write_all(&bytes).unwrap();
        let reply = client.receive().unwrap();
        assert_eq!((reply.xid, reply.error, reply.zxid), (5, ErrorCode::UNIMPLEMENTED, Zxid(-1)), "opcode {op}");
        let mut rest = Vec::new();
        assert_eq!(client.stream.read_to_end(&mut rest).unwrap(), 0);
    }
}

#[test]
fn a_body_that_does_not_decode_is_a_marshalling_error_and_the_session_goes_on() {
    let server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    for op in [OpCode::GetData, OpCode::SetData, OpCode::Create] {
        client.send(op, |out| out.extend_from_slice(&i32::MAX.to_be_bytes())).unwrap();
        assert_eq!(client.receive().unwrap().error, ErrorCode::MARSHALLING_ERROR, "{op:?}");
    }
    assert_eq!(client.create("/a", b"").unwrap(), ErrorCode::OK);
}

#[test]
fn a_frame_that_arrives_byte_by_byte_is_one_frame() {
    let server = Server::standalone("");
    let mut stream = open(server.client_port()).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut bytes = Vec::new();
    let hello = ConnectRequest {
        last_zxid_seen: Zxid(0),
        timeout_ms: 4000,
        session: SessionId(0),
        password: &[],
        read_only: None,
    };
    frame(&mut bytes, |out| hello.encode(out));
    for byte in &bytes {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    assert_eq!(u32::from_be_bytes(length), 36, "a client without the read-only byte gets an answer without it");
}

#[test]
fn requests_behind_the_connect_request_are_answered_in_order() {
    let server = Server::standalone("");
    let mut stream = open(server.client_port()).unwrap();
    let mut bytes = Vec::new();
    let hello = ConnectRequest {
        last_zxid_seen: Zxid(0),
        timeout_ms: 4000,
        session: SessionId(0),
        password: &[0; 16],
        read_only: Some(false),
    };
    frame(&mut bytes, |out| hello.encode(out));
    for xid in 1..=3 {
        request(&mut bytes, xid, OpCode::GetData, |out| ReadRequest { path: "/none".into(), watch: false }.encode(out));
    }
    stream.write_all(&bytes).unwrap();
    let mut answers = [0; 4 + 37 + 3 * 20];
    stream.read_exact(&mut answers).unwrap();
    let xids: Vec<_> = answers[41..].chunks(20).map(|reply| reply[7]).collect();
    assert_eq!(xids, [1, 2, 3]);
}

#[test]
fn a_client_that_has_seen_more_than_the_server_is_sent_away() {
    let server = Server::standalone("");
    let mut bytes = Vec::new();
    let hello = ConnectRequest {
        last_zxid_seen: Zxid(1 << 40),
        timeout_ms: 4000,
        session: SessionId(0),
        password: &[0; 16],
        read_only: Some(false),
    };
    frame(&mut bytes, |out| hello.encode(out));
    check_closed(&server, &bytes);
}

#[test]
fn a_second_server_with_the_same_id_is_refused_and_the_ensemble_goes_on() {
    let (mut servers, places) = ensemble(3, "");
    servers.iter_mut().for_each(Server::start);
    let mut client = wait_for("a leader", || Client::connect(servers[0].client_port()).ok());
    let mut twin = open(places[1].election()).unwrap();
    let mut hello = BytesMut::new();
    InitialMessage { id: ServerId(2), addresses: vec!["127.0.0.1:1".into()] }.encode(&mut hello);
    twin.write_all(&hello).unwrap();
    let mut answer = Vec::new();
    assert_eq!(twin.read_to_end(&mut answer).unwrap(), 0);
    for nonsense in [&[0xff; 64][..], b"GET / HTTP/1.1\r\n\r\n", &[0x80; 16]] {
        let mut stranger = open(places[1].election()).unwrap();
        stranger.write_all(nonsense).unwrap();
        let _ = stranger.read_to_end(&mut answer);
        assert!(answer.is_empty());
    }
    assert_eq!(client.create("/a", b"").unwrap(), ErrorCode::OK);
}

#[test]
fn two_servers_do_not_share_a_directory() {
    let server = Server::standalone("");
    let file = server.directory().join("zoo.cfg");
    let (settings, _) = ensemble_server::config::load(&file, &[], None, None).unwrap();
    let error = ensemble_server::Member::start(settings).err().unwrap();
    assert_eq!(error.exit_code(), ensemble_server::exit::DATA_DIRECTORY, "{error}");
}

#[test]
fn a_damaged_log_is_named_and_the_server_does_not_start() {
    let mut server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    for name in ["/a", "/b", "/c"] {
        client.create(name, b"some data to damage").unwrap();
    }
    server.stop();
    let log = server.directory().join("version-2/log.1");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[60] ^= 0xff;
    std::fs::write(&log, bytes).unwrap();
    let error = server.try_start().unwrap_err();
    assert_eq!(error.exit_code(), ensemble_server::exit::UNTRUSTED);
    assert!(error.to_string().contains("version-2/log.1"), "{error}");
}
