//! ZooKeeper's commands on the admin port.

use crate::admin::{get, http};
use crate::client::{Client, exchange};
use crate::world::{Server, ensemble, wait_for};
use ensemble_proto::ErrorCode;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;

/// The answer of a command, which must come with status 200.
fn ask(server: &Server, command: &str) -> Value {
    let (code, body) = get(server.admin_port(), &format!("/commands/{command}"));
    assert_eq!(code, 200, "{command}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// The names of an answer, as they stand in it.
fn names(body: &str) -> Vec<&str> {
    body.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next()).collect()
}

fn snapshot(address: SocketAddr, query: &str, authorization: &str) -> (u16, String) {
    http(address, "GET", &format!("/commands/snapshot{query}"), authorization, "")
}

#[test]
fn every_command_answers_in_zookeepers_words() {
    let server = Server::standalone("");
    let mut client = Client::connect(server.client_port()).unwrap();
    client.create_ephemeral("/e").unwrap();
    client.send_get("/e", true).unwrap();
    client.receive().unwrap();
    let session = client.session.0;
    for (command, fields) in [
        (
            "configuration",
            "client_port data_dir data_log_dir tick_time max_client_cnxns min_session_timeout max_session_timeout server_id client_port_listen_backlog",
        ),
        ("connection_stat_reset", ""),
        ("connections", "connections secure_connections"),
        ("dirs", "datadir_size logdir_size"),
        ("dump", "expiry_time_to_session_ids session_id_to_ephemeral_paths"),
        ("environment", "zookeeper.version host.name os.name os.arch os.version user.name user.home user.dir"),
        ("get_trace_mask", "tracemask"),
        ("hash", "digests"),
        ("initial_configuration", "initial_configuration"),
        ("is_read_only", "read_only"),
        ("last_snapshot", "zxid timestamp"),
        ("observer_connection_stat_reset", ""),
        ("observers", "synced_observers observers"),
        ("ruok", ""),
        ("server_stats", "version read_only server_stats client_response node_count"),
        ("stat_reset", ""),
        ("stats", "version read_only server_stats client_response node_count connections secure_connections"),
        ("voting_view", "current_config"),
        ("watch_summary", "num_connections num_paths num_total_watches"),
        ("watches", "session_id_to_watched_paths"),
        ("watches_by_path", "path_to_session_ids"),
        ("zabstate", "voting zabstate"),
    ] {
        let (code, body) = get(server.admin_port(), &format!("/commands/{command}"));
        assert_eq!(code, 200, "{command}: {body}");
        let expected: Vec<_> = fields.split_whitespace().chain(["command", "error"]).collect();
        assert_eq!(names(&body), expected, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&answer["command"], &answer["error"]), (&json!(command), &Value::Null), "{body}");
    }
    assert_eq!(ask(&server, "watches")["session_id_to_watched_paths"], json!({session.to_string(): ["/e"]}));
    assert_eq!(ask(&server, "wchp")["path_to_session_ids"], json!({"/e": [session]}));
    assert_eq!(ask(&server, "wchs")["num_total_watches"], 1);
    let dump = ask(&server, "dump");
    assert_eq!(dump["session_id_to_ephemeral_paths"], json!({session.to_string(): ["/e"]}));
    assert_eq!(dump["expiry_time_to_session_ids"].as_object().unwrap().values().next(), Some(&json!([session])));
    let connection = &ask(&server, "cons")["connections"][0];
    assert_eq!(connection["remote_socket_address"], client.stream.local_addr().unwrap().to_string());
    assert_eq!((&connection["session_id"], &connection["session_timeout"]), (&json!(session), &json!(10_000)));
    let monitor = ask(&server, "mntr");
    assert_eq!((&monitor["znode_count"], &monitor["server_state"]), (&json!(6), &json!("standalone")), "{monitor}");
    assert!(monitor["version"].as_str().unwrap().starts_with("3.9.5-"));
    let (_, lead) = get(server.admin_port(), "/commands/lead");
    assert_eq!(lead, "{\n  \"error\" : \"server is not initialized\",\n  \"command\" : \"leader\"\n}");
}

#[test]
fn aliases_errors_and_methods_are_zookeepers() {
    let server = Server::standalone("");
    let (code, links) = get(server.admin_port(), "/commands");
    assert_eq!(code, 200);
    assert!(links.starts_with("<a href=\"/commands/configuration\">configuration</a>\n<br/>\n"), "{links}");
    assert_eq!((links.lines().count(), get(server.admin_port(), "/commands/").1), (2 * 28, links));
    let (_, body) = get(server.admin_port(), "/commands/conf");
    assert!(
        body.starts_with("{\n  \"client_port\" : ")
            && body.ends_with("  \"command\" : \"configuration\",\n  \"error\" : null\n}"),
        "{body}"
    );
    let unknown = json!({"command": "nope", "error": "Unknown command: nope"});
    assert_eq!(ask(&server, "nope"), unknown);
    assert_eq!(ask(&server, "ruok/nope")["error"], "Unknown command: ruok/nope");
    for (method, path, code) in [
        ("HEAD", "/commands/ruok", 200),
        ("HEAD", "/commands/snapshot", 405),
        ("POST", "/commands/ruok", 405),
        ("GET", "/commands/restore", 405),
        ("POST", "/commands", 405),
        ("TRACE", "/commands/ruok", 403),
        ("OPTIONS", "/commands/ruok", 200),
        ("GET", "/other/ruok", 404),
    ] {
        assert_eq!(http(server.admin_port(), method, path, "", "").0, code, "{method} {path}");
    }
    assert_eq!(ask(&server, "stmk?traceMask=42")["tracemask"], 42);
    assert_eq!(ask(&server, "gtmk")["tracemask"], 42);
    assert_eq!(ask(&server, "stmk")["error"], "setTraceMask requires long traceMask argument");
    assert_eq!(ask(&server, "stmk?traceMask=x%20y")["error"], "setTraceMask requires long traceMask argument, got x y");
}

#[test]
fn a_server_that_serves_nobody_answers_what_needs_no_service() {
    let (mut servers, _) = ensemble(3, "snapCount=1000\nDigestAuthenticationProvider.superDigest=super:x");
    servers[0].start();
    let refusal = json!({"command": "conf", "error": "This ZooKeeper instance is not currently serving requests"});
    assert_eq!(ask(&servers[0], "conf"), refusal);
    for command in ["environment", "get_trace_mask", "monitor", "system_properties"] {
        assert_eq!(ask(&servers[0], command)["error"], Value::Null, "{command}");
    }
    let properties = ask(&servers[0], "sysp");
    assert_eq!(properties["zookeeper.snapCount"], "1000", "{properties}");
    assert_eq!(properties["zookeeper.DigestAuthenticationProvider.superDigest"], "(not shown)", "{properties}");
    assert_eq!(
        ask(&servers[0], "zabstate"),
        json!({"voting": false, "zabstate": "", "command": "zabstate", "error": null})
    );
}

#[test]
fn members_tell_of_their_ensemble() {
    let (mut servers, places) = ensemble(2, "");
    servers.iter_mut().for_each(Server::start);
    wait_for("a session", || Client::connect(servers[0].client_port()).ok());
    let leads = |server: &Server| ask(server, "leader")["is_leader"] == json!(true);
    wait_for("both to serve", || servers.iter().all(|server| ask(server, "ruok")["error"].is_null()).then_some(()));
    let leader = servers.iter().position(leads).unwrap();
    assert_eq!(servers.iter().filter(|server| leads(server)).count(), 1);
    for (index, server) in servers.iter().enumerate() {
        let place = places[index];
        let told = ask(server, "lead");
        assert_eq!((&told["leader_id"], &told["leader_ip"]), (&json!(leader + 1), &json!("127.0.0.1")), "{told}");
        let state = ask(server, "zabstate");
        for (key, expected) in [("voting", json!(true)), ("zabstate", json!("broadcast")), ("myid", json!(index + 1))] {
            assert_eq!(state[key], expected, "{state}");
        }
        assert_eq!(state["client_address"], format!("127.0.0.1:{}", place.client), "{state}");
        assert_eq!(state["quorum_address"]["one"], format!("127.0.0.1:{}", place.quorum), "{state}");
        let own = &ask(server, "voting_view")["current_config"][(index + 1).to_string()];
        assert_eq!(own["election_addresses"], json!([place.election().to_string()]), "{own}");
    }
    assert_eq!(
        ask(&servers[leader], "srvr")["proposal_stats"]["min_buffer_size"].as_i64().map(|size| size > 0),
        Some(true)
    );
}

#[test]
fn a_snapshot_is_sent_to_who_may_do_anything_and_is_one() {
    let mut server = Server::standalone("admin.rateLimiterIntervalInMS=0");
    let mut client = Client::connect(server.client_port()).unwrap();
    for value in 0..50_u32 {
        client.create(&format!("/a{value}"), &[b'x'; 10_000]).unwrap();
    }
    let port = server.admin_port();
    for (authorization, code, error) in [
        ("", 401, "Auth info is missing for the command"),
        ("Authorization: nope x\r\n", 401, "Not authenticated"),
        ("Authorization: digest a b\r\n", 401, "Not authenticated"),
    ] {
        let (found, body) = snapshot(port, "", authorization);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (found, &body["error"], &body["command"]),
            (code, &json!(error), &json!("snapshot")),
            "{authorization}"
        );
    }
    let asking = "GET /commands/snapshot HTTP/1.1\r\nHost: x\r\nAuthorization: digest any:body\r\n\r\n";
    let answer = exchange(port, asking.as_bytes());
    let (head, bytes) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK") && bytes.starts_with("ZKSN"), "{head}");
    for header in ["content-type: application/octet-stream", "last_zxid: 0x33", "snapshot_size: "] {
        assert!(head.lines().any(|line| line.starts_with(header)), "{header} in {head}");
    }
    let file = server.directory().join(format!("version-2/snapshot.{:x}", 51));
    assert_eq!(bytes.as_bytes(), String::from_utf8_lossy(&std::fs::read(&file).unwrap()).as_bytes());
    assert!(bytes.len() > 500_000);
    let (code, body) = snapshot(port, "?streaming=false", "Authorization: ip\r\n");
    assert_eq!((code, body.as_str()), (200, "{\n  \"command\" : \"snapshot\",\n  \"error\" : null\n}"));
    assert_eq!(ask(&server, "last_snapshot")["zxid"], "33");
    // The log goes on as if nothing had happened.
    client.create("/later", b"").unwrap();
    server.stop();
    server.start();
    let mut client = Client::connect(server.client_port()).unwrap();
    assert_eq!(client.get("/later").unwrap(), Ok(Vec::new()));
    assert_eq!(client.get("/a49").unwrap().map(|data| data.len()), Ok(10_000));
    // As docs/operations/restore.md says.
    let mut restored = Server::new("clientPort=0");
    let directory = restored.directory().join("version-2");
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(&file, directory.join(file.file_name().unwrap())).unwrap();
    restored.start();
    let mut client = Client::connect(restored.client_port()).unwrap();
    assert_eq!(client.get("/a49").unwrap().map(|data| data.len()), Ok(10_000));
    assert_eq!(client.get("/later").unwrap(), Err(ErrorCode::NO_NODE));
}

#[test]
fn who_may_not_do_anything_gets_no_snapshot_and_nobody_too_many() {
    const HASH: &str = "admin:fvr2cB/fjGeAiX8g1aGhUm3ZICk=";
    let server = Server::standalone("admin.rateLimiterIntervalInMS=100000000");
    let mut client = Client::connect(server.client_port()).unwrap();
    assert_eq!(client.set_acl("/", "digest", HASH, 31).unwrap(), ErrorCode::OK);
    let port = server.admin_port();
    assert_eq!(snapshot(port, "", "Authorization: digest other:secret\r\n").0, 403);
    assert_eq!(snapshot(port, "", "Authorization: ip\r\n").0, 403);
    let admin = "Authorization: digest admin:secret\r\n";
    assert_eq!((snapshot(port, "", admin).0, snapshot(port, "", admin).0), (200, 429));
    let restore = || http(port, "POST", "/commands/restore", admin, "ZKSN").0;
    assert_eq!((restore(), restore(), restore()), (501, 429, 429));
    let (_, metrics) = get(server.metrics_port(), "/metrics");
    for line in ["snapshot_rate_limited_count 1", "restore_rate_limited_count 2", "restore_error_count 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
}

#[test]
fn a_snapshot_that_finds_no_room_is_answered_so_and_counted() {
    let server = Server::standalone("admin.rateLimiterIntervalInMS=0");
    let mut client = Client::connect(server.client_port()).unwrap();
    // A file of this name is written, and is full at once.
    symlink("/dev/full", server.directory().join("version-2/snapshot.1.tmp")).unwrap();
    let ask = || snapshot(server.admin_port(), "", "Authorization: ip\r\n");
    let (code, body) = ask();
    assert!(code == 500 && body.contains("No space left on device"), "{code} {body}");
    assert_eq!(client.create("/a", b"").unwrap(), ErrorCode::OK, "the log is whole without it");
    assert_eq!(ask().0, 200);
    let (_, metrics) = get(server.metrics_port(), "/metrics");
    assert!(metrics.lines().any(|line| line == "snapshot_error_count 1"), "{metrics}");
}

#[test]
fn restore_is_refused_with_what_to_do_instead() {
    let server = Server::standalone("admin.rateLimiterIntervalInMS=0");
    let post = |headers: &str| http(server.admin_port(), "POST", "/commands/restore", headers, "ZKSN");
    assert_eq!(post("").0, 401);
    let (code, body) = post("Authorization: digest any:body\r\n");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(code == 501 && body["error"].as_str().unwrap().contains("version-2/snapshot.ZXID"), "{code} {body}");
    let server = Server::standalone("admin.restore.enabled=false\nadmin.snapshot.enabled=false");
    for (method, path) in [("POST", "/commands/restore"), ("GET", "/commands/snapshot")] {
        assert_eq!(http(server.admin_port(), method, path, "Authorization: ip\r\n", "").0, 503);
    }
}

#[test]
fn the_commands_may_be_elsewhere() {
    let server = Server::standalone("admin.commandURL=/zk/cmd");
    assert_eq!(get(server.admin_port(), "/zk/cmd/ruok").0, 200);
    assert_eq!(get(server.admin_port(), "/commands/ruok").0, 404);
    assert!(get(server.admin_port(), "/zk/cmd").1.contains("<a href=\"/zk/cmd/ruok\">ruok</a>"));
}
