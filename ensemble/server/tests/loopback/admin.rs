//! The admin port: status, probes, the one-shot grant, metrics.

use crate::client::{Client, exchange};
use crate::world::{Server, free_port, member, places, wait_for};
use ensemble_proto::ErrorCode;
use ensemble_server::exit;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

pub(crate) const ENSEMBLE: &str = "0d4ff1a2-9f8b-4d1c-8a77-1d1f2f1c9a10";

/// Status code and body of a request.
pub(crate) fn http(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let text = exchange(
        address,
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
            .as_bytes(),
    );
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    http(address, "GET", path, "", "")
}

pub(crate) fn status(server: &Server) -> Value {
    let (code, body) = get(server.admin_port(), "/status");
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// One server in operator mode, on empty volumes; `extra` are more lines of `zoo.cfg`.
pub(crate) fn operated(ensemble_id: &str, extra: &str) -> Server {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "secret\n").unwrap();
    let (_, token) = token.keep().unwrap();
    let [quorum, election] = [0, 1].map(|_| free_port(Ipv4Addr::LOCALHOST.into()));
    let server = Server::new(&format!(
        "standaloneEnabled=false\nensemble.id={ensemble_id}\nensemble.adminTokenFile={}\n\
         server.1=127.0.0.1:{quorum}:{election}:participant;127.0.0.1:0\n{extra}",
        token.display()
    ));
    std::fs::write(server.directory().join("myid"), "1").unwrap();
    server
}

#[test]
fn probes_and_status_tell_what_the_server_does() {
    let server = Server::standalone("");
    for probe in ["/startupz", "/livez", "/readyz"] {
        assert_eq!(get(server.admin_port(), probe), (200, "ok".into()), "{probe}");
    }
    let status = status(&server);
    for (key, expected) in [
        ("role", json!("standalone")),
        ("storeState", json!("synced")),
        ("bootstrap", json!("closed")),
        ("ensembleId", json!(null)),
        ("zxid", json!("0x0")),
        ("loggedZxid", json!("0x0")),
        ("znodes", json!(4)),
    ] {
        assert_eq!(status[key], expected, "{key}");
    }
    assert_eq!(get(server.admin_port(), "/nothing").0, 404);
    assert_eq!(http(server.admin_port(), "POST", "/status", "", "").0, 405);
    assert_eq!(get(server.admin_port(), "/bootstrap").0, 405);
}

#[test]
fn metrics_have_zookeepers_names() {
    let server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    client.create("/a", b"").unwrap();
    let (code, text) = get(server.metrics_port(), "/metrics");
    assert_eq!(code, 200);
    for line in [
        "num_alive_connections 1",
        "global_sessions 1",
        "znode_count 6",
        "watch_count 0",
        "outstanding_requests 0",
        "# TYPE fsynctime summary",
        "# TYPE jvm_pause_time_ms summary",
        "# TYPE commit_count counter",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(!text.contains("leader_uptime"), "a standalone server is no leader");
}

#[test]
fn an_empty_volume_votes_only_after_its_grant_and_only_once() {
    let mut server = operated(ENSEMBLE, "");
    server.start();
    let before = status(&server);
    assert_eq!((&before["storeState"], &before["bootstrap"]), (&json!("uninitialized"), &json!("awaiting-grant")));
    assert_eq!(get(server.admin_port(), "/startupz").0, 200);
    assert_eq!(get(server.admin_port(), "/readyz").0, 503);
    assert!(Client::connect(server.client_port()).is_err());
    let (_, metrics) = get(server.metrics_port(), "/metrics");
    assert!(metrics.lines().any(|line| line == "connection_unserved_count 1"), "{metrics}");
    let grant = |server: &Server, token: &str, change: &dyn Fn(&mut Value)| {
        let mut body = json!({"ensembleId": ENSEMBLE, "voters": [1], "volumeId": before["volumeId"]});
        change(&mut body);
        http(server.admin_port(), "POST", "/bootstrap", &format!("Authorization: {token}\r\n"), &body.to_string())
    };
    let secret = "Bearer secret";
    for (expected, token, change) in [
        (401, "", Box::new(|_: &mut Value| {}) as Box<dyn Fn(&mut Value)>),
        (401, "Bearer wrong", Box::new(|_| {})),
        (401, "Basic secret", Box::new(|_| {})),
        (409, secret, Box::new(|body| body["ensembleId"] = json!("another"))),
        (409, secret, Box::new(|body| body["volumeId"] = json!("another"))),
        (409, secret, Box::new(|body| body["voters"] = json!([1, 2]))),
        (400, secret, Box::new(|body| body["voters"] = json!("all"))),
    ] {
        assert_eq!(grant(&server, token, &*change).0, expected);
    }
    assert_eq!(status(&server)["bootstrap"], "awaiting-grant");
    assert_eq!(grant(&server, secret, &|_| {}).0, 200);
    assert_eq!(grant(&server, secret, &|_| {}).0, 200, "granting again changes nothing");
    wait_for("the server to lead", || (get(server.admin_port(), "/readyz").0 == 200).then_some(()));
    assert_eq!(status(&server)["storeState"], "synced");
    // The client port was 0, so the grant gave it another: start anew to know it.
    server.stop();
    server.start();
    let mut client = wait_for("a leader", || Client::connect(server.client_port()).ok());
    assert_eq!(client.create("/a", b"").unwrap(), ErrorCode::OK);
    assert_eq!(status(&server)["bootstrap"], "closed");
    assert_eq!(grant(&server, secret, &|_| {}).0, 409, "a store that holds something is granted nothing");
}

#[test]
fn a_volume_of_another_ensemble_is_refused() {
    let mut server = operated(ENSEMBLE, "");
    server.start();
    server.stop();
    let file = server.directory().join("zoo.cfg");
    let other = std::fs::read_to_string(&file).unwrap().replace("0d4ff1a2", "11111111");
    std::fs::write(&file, other).unwrap();
    let (settings, _) = ensemble_server::config::load(&file, &[], None, None).unwrap();
    let error = ensemble_server::Member::start(settings).err().unwrap();
    assert_eq!(error.exit_code(), exit::IDENTITY);
    assert!(error.to_string().contains("ensembleId"), "{error}");
}

/// As with ZooKeeper: an ensemble does not lose a voter to whatever else listens on port 8080. Where nobody else has a copy, or an operator asks there, it is an error.
#[test]
fn a_member_of_an_ensemble_serves_without_an_admin_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("admin.serverPort={}\n", taken.local_addr().unwrap().port());
    let mut server = member(1, &places(Ipv4Addr::LOCALHOST, 1), &port);
    server.start();
    let mut client = wait_for("a session", || Client::connect(server.client_port()).ok());
    assert_eq!(client.create("/a", b"").unwrap(), ErrorCode::OK);
    assert!(get(server.metrics_port(), "/metrics").1.contains("znode_count"));
    server.stop();

    let mut managed = operated(ENSEMBLE, &port);
    let mut alone = Server::new(&format!("clientPort=0\n{port}"));
    for server in [&mut managed, &mut alone] {
        let error = server.try_start().unwrap_err();
        assert!(error.to_string().contains("admin.serverPort 127.0.0.1:"), "{error}");
        assert_eq!(error.exit_code(), exit::PORT);
    }
}
