//! The admin port changes the ensemble: `POST /reconfig`, and what `/status` says of it on every server.

use crate::admin::{http, status};
use crate::client::Client;
use crate::process::three;
use crate::world::{Place, Server, free_port, member, places, wait_for};
use ensemble_proto::ErrorCode;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};

/// Lines of servers that may be asked to change the ensemble.
pub(crate) fn extra() -> String {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "secret\n").unwrap();
    let (_, token) = token.keep().unwrap();
    format!("reconfigEnabled=true\nensemble.adminTokenFile={}\n", token.display())
}

/// The line of a server, as a request names it.
pub(crate) fn line(id: usize, place: &Place) -> String {
    let Place { host, quorum, election, client } = place;
    format!("server.{id}={host}:{quorum}:{election}:participant;{host}:{client}")
}

pub(crate) fn reconfig(address: SocketAddr, token: &str, body: &Value) -> (u16, Value) {
    let headers = format!("Authorization: Bearer {token}\r\n");
    let (code, body) = http(address, "POST", "/reconfig", &headers, &body.to_string());
    (code, serde_json::from_str(&body).unwrap())
}

/// The server that leads, once somebody does.
pub(crate) fn leader<'a>(servers: &[&'a Server]) -> &'a Server {
    wait_for("a leader", || servers.iter().find(|server| status(server)["role"] == "leading").copied())
}

/// Version and number of servers of the configuration that a server has, once it is in sync.
pub(crate) fn config(server: &Server) -> (Value, usize) {
    wait_for("the server to be in sync", || (status(server)["storeState"] == "synced").then_some(()));
    let config = &status(server)["config"];
    (config["version"].clone(), config["servers"].as_array().unwrap().len())
}

/// The drill of `docs/backup.md`, with the ensemble's keys in the `zoo.cfg` and without its servers.
#[test]
fn a_standalone_server_starts_on_a_copy_of_the_files_of_an_ensemble_that_has_changed() {
    let (place, extra) = (places(Ipv4Addr::LOCALHOST, 1)[0], extra());
    let mut founder = member(1, &[place], &extra);
    founder.start();
    let (version, _) = config(leader(&[&founder]));
    let moved = Place { client: free_port(Ipv4Addr::LOCALHOST.into()), ..place };
    let (code, answer) =
        reconfig(founder.admin_port(), "secret", &json!({"version": version, "joining": [line(1, &moved)]}));
    assert_eq!(code, 200, "{answer}");
    let address = SocketAddr::new(moved.host, moved.client);
    let mut client = wait_for("a session", || Client::connect(address).ok());
    assert_eq!(client.create("/a", b"").unwrap(), ErrorCode::OK);
    founder.stop();

    let mut copy = Server::new(&format!("clientPort=0\n{extra}"));
    let (from, to) = (founder.directory().join("version-2"), copy.directory().join("version-2"));
    std::fs::create_dir(&to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    copy.start();
    let mut client = Client::connect(copy.client_port()).unwrap();
    assert_eq!(client.get("/a").unwrap(), Ok(Vec::new()));
}

#[test]
fn servers_join_and_leave_by_the_admin_port_of_the_leader() {
    let places = places(Ipv4Addr::LOCALHOST, 4);
    let extra = extra();
    let mut servers: Vec<_> = (1..=3).map(|id| member(id, &places[..3], &extra)).collect();
    servers.push(member(4, &places, &extra));
    servers.iter_mut().for_each(Server::start);
    let members: Vec<&Server> = servers[..3].iter().collect();
    let founded = config(leader(&members));
    assert_eq!(founded.1, 3);
    // The one that is to join has no vote, and the data and the configuration all the same.
    wait_for("the joiner to be in sync", || (config(&servers[3]) == founded).then_some(()));
    assert_eq!(status(&servers[3])["role"], "following");

    let admin = leader(&members).admin_port();
    let join = json!({"version": founded.0, "joining": [line(4, &places[3])]});
    let absent: Vec<_> = (5..=8).map(|id| format!("server.{id}=h{id}:1:2;3")).collect();
    let follower = members.iter().find(|server| status(server)["role"] == "following").unwrap();
    for (address, token, body, code, name) in [
        (admin, "wrong", join.clone(), 401, json!(null)),
        (admin, "secret", json!({"version": founded.0}), 400, json!(null)),
        (admin, "secret", json!({"version": -1, "leaving": [1]}), 400, json!(null)),
        (follower.admin_port(), "secret", join.clone(), 409, json!("NotLeading")),
        (admin, "secret", json!({"version": "0x0", "leaving": [1]}), 409, json!("BadVersion")),
        (admin, "secret", json!({"version": founded.0, "joining": ["server.4=h"]}), 409, json!("BadArguments")),
        (admin, "secret", json!({"version": founded.0, "joining": absent}), 409, json!("NewConfigNoQuorum")),
    ] {
        let (found, answer) = reconfig(address, token, &body);
        assert_eq!((found, &answer["code"]), (code, &name), "{body} {answer}");
        assert!(answer["error"].is_string(), "{answer}");
    }

    let (code, joined) = reconfig(admin, "secret", &join);
    assert_eq!((code, &joined["version"]), (200, &status(leader(&members))["config"]["version"]), "{joined}");
    for server in &servers {
        wait_for("everybody to have heard of it", || (config(server) == (joined["version"].clone(), 4)).then_some(()));
    }
    assert_eq!(reconfig(admin, "secret", &join).1["code"], "BadVersion", "not twice");

    // The leader too: it answers, and another one leads.
    let id = status(leader(&members))["myid"].clone();
    let (code, left) = reconfig(admin, "secret", &json!({"version": joined["version"], "leaving": [id]}));
    assert_eq!(code, 200, "{left}");
    let stays: Vec<&Server> = servers.iter().filter(|server| server.admin_port() != admin).collect();
    let next = leader(&stays);
    for server in &servers {
        wait_for("everybody to have heard of it", || (config(server) == (left["version"].clone(), 3)).then_some(()));
    }
    let removed = servers.iter().find(|server| server.admin_port() == admin).unwrap();
    assert_eq!(status(removed)["role"], "following", "without a vote, and it knows what removed it");
    let is_heard = |follower: &Value| follower["id"] == id;
    let of_removed = || status(next)["followers"].as_array().unwrap().iter().find(|it| is_heard(it)).cloned();
    let heard = wait_for("the new leader to have it", || of_removed().filter(|it| it["synced"] == true));
    assert_eq!(heard["voter"], false);
}

#[test]
fn an_ensemble_that_may_not_change_says_so() {
    let places = places(Ipv4Addr::LOCALHOST, 1);
    let mut server = member(1, &places, &extra().replace("reconfigEnabled=true", "reconfigEnabled=false"));
    server.start();
    wait_for("the server to lead", || (status(&server)["role"] == "leading" && config(&server).1 == 1).then_some(()));
    let (code, answer) = reconfig(server.admin_port(), "secret", &json!({"version": "0x0", "leaving": [1]}));
    assert_eq!((code, &answer["code"]), (409, &json!("ReconfigDisabled")));
}

/// A leader that hears nothing for much longer than it waits for a reconfiguration.
const PATIENT: &str = "syncLimit=100\n";

/// Both followers stand still, so the leader cannot know what comes of it; then they go on, and it is committed.
#[test]
fn a_reconfiguration_that_is_not_committed_in_time_is_left_to_its_fate() {
    let servers = three(&format!("{}{PATIENT}", extra()));
    let (leader, followers) = servers.split_first().unwrap();
    followers.iter().for_each(|follower| follower.process.signal("STOP"));
    let request = json!({"version": leader.status()["config"]["version"], "joining": ["server.4=h:1:2:observer;3"]});
    let (code, answer) = reconfig(leader.admin, "secret", &request);
    let pending = leader.status()["config"]["pending"].clone();
    assert_eq!(code, 504, "{answer}");
    let expected = format!("proposed as {}, and not known to be committed", pending.as_str().unwrap());
    assert!(answer["error"].as_str().unwrap().starts_with(&expected), "{answer}");
    assert_eq!(reconfig(leader.admin, "secret", &request).1["code"], "ReconfigInProgress");
    followers.iter().for_each(|follower| follower.process.signal("CONT"));
    wait_for("it to be committed", || (leader.status()["config"]["version"] == pending).then_some(()));
}
