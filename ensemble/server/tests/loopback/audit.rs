//! The audit log of a server, as it stands in its log.

use crate::client::Client;
use crate::process::Process;
use crate::world::Server;
use ensemble_proto::ErrorCode;
use ensemble_proto::client::{AclEntry, AuthRequest, CreateRequest, DeleteRequest, MultiOp, MultiRequest, OpCode};

/// What the audit log says, level and message, of the process so far.
fn audited(process: &Process) -> Vec<String> {
    let line = |line: &str| {
        let (head, message) = line.split_once(" ensemble_server::audit: ")?;
        Some(format!("{} {message}", head.split_whitespace().last()?))
    };
    process.log().lines().filter_map(line).collect()
}

fn create(path: &'static str, flags: i32) -> MultiOp<'static> {
    let acl = Some(vec![AclEntry::world(31)]);
    MultiOp::Create { op: OpCode::Create, request: CreateRequest { path: path.into(), data: None, acl, flags } }
}

fn multi(client: &mut Client, ops: Vec<MultiOp<'_>>) {
    client.send(OpCode::Multi, |out| MultiRequest { ops }.encode(out)).unwrap();
    assert_eq!(client.receive().unwrap().error, ErrorCode::OK);
}

fn start(extra: &str) -> (Process, Server) {
    let server = Server::new(&format!("clientPort=0\n{extra}"));
    let config = server.write_config();
    (Process::start(&["server", "--config", config.to_str().unwrap()]), server)
}

#[test]
fn writes_are_told_by_who_did_what_and_with_what_result() {
    let (mut process, _server) = start("audit.enable=true");
    let mut client = Client::connect(process.client_port()).unwrap();
    client.create("/p", b"").unwrap();
    client.send(OpCode::Auth, |out| AuthRequest { scheme: "digest".into(), auth: b"bob:secret" }.encode(out)).unwrap();
    client.receive().unwrap();
    client.set_acl("/p", "world", "anyone", 31).unwrap();
    client.set("/p", b"never told").unwrap();
    client.send(OpCode::Delete, |out| DeleteRequest { path: "/nope\tx".into(), version: -1 }.encode(out)).unwrap();
    assert_eq!(client.receive().unwrap().error, ErrorCode::NO_NODE);
    client.create_ephemeral("/e").unwrap();
    multi(&mut client, vec![create("/m", 0), create("/s", 2)]);
    multi(&mut client, vec![create("/m", 0)]);
    client.get("/p").unwrap().unwrap();
    let session = client.session.0;
    client.close().unwrap();
    process.wait_for_line(&["ephemeralZNodeDeletionOnSessionCloseOrExpire"]);
    process.signal("TERM");
    process.wait();
    let server = process.wait_for_line(&["operation=serverStart"]);
    let user = server.split("user=").nth(1).unwrap().split('\t').next().unwrap();
    let ip = format!("session=0x{session:x}\tuser=127.0.0.1\tip=127.0.0.1");
    let bob = format!("session=0x{session:x}\tuser=bob,127.0.0.1\tip=127.0.0.1");
    let expected = [
        format!("INFO user={user}\toperation=serverStart\tresult=success"),
        format!("INFO {ip}\toperation=create\tznode=/p\tznode_type=persistent\tresult=success"),
        format!("INFO {bob}\toperation=setAcl\tznode=/p\tacl=world:anyone:cdrwa\tresult=success"),
        format!("INFO {bob}\toperation=setData\tznode=/p\tresult=success"),
        format!("ERROR {bob}\toperation=delete\tznode=/nope\\tx\tresult=failure"),
        format!("INFO {bob}\toperation=create\tznode=/e\tznode_type=ephemeral\tresult=success"),
        format!("INFO {bob}\toperation=create\tznode=/m\tznode_type=persistent\tresult=success"),
        format!("INFO {bob}\toperation=create\tznode=/s0000000003\tresult=success"),
        format!("ERROR {bob}\toperation=multiOperation\tresult=failure"),
        format!(
            "INFO session=0x{session:x}\tuser={user}\toperation=ephemeralZNodeDeletionOnSessionCloseOrExpire\tznode=/e\tresult=success"
        ),
        format!("INFO user={user}\toperation=serverStop\tresult=invoked"),
    ];
    assert_eq!(audited(&process), expected);
    assert!(!process.log().contains("secret") && !process.log().contains("never told"));
}

#[test]
fn a_start_repeats_nothing_and_one_that_fails_is_told() {
    let (mut process, server) = start("audit.enable=true");
    let mut client = Client::connect(process.client_port()).unwrap();
    client.create_ephemeral("/e").unwrap();
    client.close().unwrap();
    process.wait_for_line(&["znode=/e", "ephemeralZNodeDeletion"]);
    process.signal("TERM");
    process.wait();
    let config = server.write_config();
    let arguments = ["server", "--config", config.to_str().unwrap()];
    let again = Process::start(&arguments);
    again.client_port();
    again.wait_for_line(&["operation=serverStart", "result=success"]);
    assert_eq!(audited(&again).len(), 1, "{}", again.log());
    let mut second = Process::start(&arguments);
    assert!(!second.wait().success());
    let failure = second.wait_for_line(&["operation=serverStart"]);
    assert!(failure.contains("ERROR") && failure.ends_with("result=failure"), "{failure}");
}

#[test]
fn without_the_key_nothing_is_audited() {
    let (mut process, _server) = start("");
    let mut client = Client::connect(process.client_port()).unwrap();
    client.create("/p", b"").unwrap();
    client.close().unwrap();
    process.signal("TERM");
    process.wait();
    assert!(!process.log().contains("operation="), "{}", process.log());
}
