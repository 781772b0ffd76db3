//! Operator mode: pods that are new, removed, or back on an empty volume. All have the same `zoo.cfg` but for the servers in it.

use crate::admin::{ENSEMBLE, get, http, status};
use crate::client::Client;
use crate::process::Process;
use crate::reconfigure::{config, extra, leader, line, reconfig};
use crate::world::{Place, Server, free_port, member, wait_for};
use ensemble_proto::ErrorCode;
use ensemble_server::exit;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// Servers at the addresses that a pattern leads to: the ordinal is the id.
pub(crate) struct Pods {
    pub(crate) places: Vec<Place>,
    extra: String,
}

impl Pods {
    pub(crate) fn new(count: u8) -> Pods {
        let [quorum, election, client] = [0; 3].map(|_| free_port(Ipv4Addr::LOCALHOST.into()));
        let place = |id| Place { host: Ipv4Addr::new(127, 0, 0, id).into(), quorum, election, client };
        let pattern = format!("127.0.0.{{ordinal}}:{quorum}:{election}:participant;127.0.0.{{ordinal}}:{client}");
        let extra = format!("{}ensemble.id={ENSEMBLE}\nensemble.member={pattern}\n", extra());
        Pods { places: (1..=count).map(place).collect(), extra }
    }

    /// A server on an empty volume, whose `zoo.cfg` has the first so many.
    pub(crate) fn pod(&self, id: usize, listed: usize) -> Server {
        let mut server = member(id, &self.places[..listed], &self.extra);
        server.start();
        server
    }

    /// The same, not started, with the first one listed.
    pub(crate) fn new_pod(&self, id: usize) -> Server {
        member(id, &self.places[..1], &self.extra)
    }

    /// Servers that vote.
    pub(crate) fn founded(&self, voters: usize) -> Vec<Server> {
        let servers: Vec<_> = (1..=voters).map(|id| self.pod(id, voters)).collect();
        for server in &servers {
            assert_eq!(grant(server, voters), (200, json!({"granted": true})));
        }
        for server in &servers {
            wait_for("the founders to serve", || (get(server.admin_port(), "/readyz").0 == 200).then_some(()));
        }
        servers
    }

    /// Changes the ensemble by its leader.
    pub(crate) fn change(&self, servers: &[&Server], joining: &[usize], leaving: &[usize]) {
        let admin = leader(servers).admin_port();
        let lines: Vec<_> = joining.iter().map(|id| line(*id, &self.places[id - 1])).collect();
        let request = json!({"version": config(leader(servers)).0, "joining": lines, "leaving": leaving});
        let (code, answer) = reconfig(admin, "secret", &request);
        assert_eq!(code, 200, "{answer}");
    }
}

fn grant(server: &Server, voters: usize) -> (u16, Value) {
    let body = json!({
        "ensembleId": ENSEMBLE, "voters": (1..=voters).collect::<Vec<_>>(), "volumeId": status(server)["volumeId"]
    });
    let token = "Authorization: Bearer secret\r\n";
    let (code, body) = http(server.admin_port(), "POST", "/bootstrap", token, &body.to_string());
    (code, serde_json::from_str(&body).unwrap())
}

/// Whether the leader of these counts a follower's vote, once it follows.
pub(crate) fn votes(servers: &[&Server], id: usize) -> Value {
    wait_for("the leader to have it", || {
        let status = status(leader(servers));
        let own = |follower: &&Value| follower["id"] == id && follower["synced"] == true;
        status["followers"].as_array()?.iter().find(own).map(|follower| follower["voter"].clone())
    })
}

fn shows_what_the_leader_has(server: &Server, servers: &[&Server]) {
    wait_for("the configuration of the leader", || (config(server) == config(leader(servers))).then_some(()));
    let found = status(server);
    assert_eq!((&found["role"], &found["storeState"]), (&json!("following"), &json!("synced")));
    assert_eq!(found["bootstrap"], "closed");
    let mut client = Client::connect(server.client_port()).unwrap();
    assert_eq!(client.get("/a").unwrap(), Ok(b"1".to_vec()));
}

#[test]
fn a_new_pod_follows_without_a_vote_until_it_is_made_a_member() {
    let pods = Pods::new(5);
    let founders = pods.founded(3);
    let mut all: Vec<&Server> = founders.iter().collect();
    let mut client = Client::connect(founders[0].client_port()).unwrap();
    assert_eq!(client.create("/a", b"1").unwrap(), ErrorCode::OK);

    let mut fourth = pods.pod(4, 3);
    shows_what_the_leader_has(&fourth, &all);
    assert_eq!(votes(&all, 4), false);
    let refused = "voters: zoo.cfg has no participant 4: it is to join, and gets what the members have";
    assert_eq!(grant(&fourth, 3), (409, json!({"error": refused})));
    fourth.stop();
    fourth.start();
    shows_what_the_leader_has(&fourth, &all);
    assert_eq!(votes(&all, 4), false, "also after a restart");
    pods.change(&all, &[4], &[]);
    assert_eq!(votes(&all, 4), true);
    fourth.stop();
    fourth.start();
    assert_eq!(votes(&all, 4), true, "what it has kept counts");

    // The next one knows of a single member, which does not lead.
    all.push(&fourth);
    let (code, _) =
        http(leader(&all).admin_port(), "POST", "/leader/transfer?to=4", "Authorization: Bearer secret\r\n", "");
    assert_eq!(code, 200);
    wait_for("the fourth to lead", || (status(&fourth)["role"] == "leading").then_some(()));
    let mut fifth = pods.pod(5, 1);
    shows_what_the_leader_has(&fifth, &all);
    pods.change(&all, &[5], &[]);
    assert_eq!(votes(&all, 5), true);
    pods.change(&all, &[], &[5]);
    shows_what_the_leader_has(&fifth, &all);
    fifth.stop();
    fifth.start();
    shows_what_the_leader_has(&fifth, &all);
    assert_eq!(votes(&all, 5), false, "removed, it follows");
    assert_eq!(config(&fifth).1, 4);
}

/// Volume and kept configuration are gone; `zoo.cfg` has the members, this one among them.
#[test]
fn a_member_that_lost_its_volume_votes_again_when_it_has_everything() {
    let pods = Pods::new(3);
    let mut servers = pods.founded(3);
    let mut client = Client::connect(servers[0].client_port()).unwrap();
    assert_eq!(client.create("/a", b"1").unwrap(), ErrorCode::OK);
    let version = config(&servers[0]).0;
    servers.pop();
    servers[1].stop();
    let first = &servers[0];
    wait_for("the quorum to be gone", || (get(first.admin_port(), "/readyz").0 == 503).then_some(()));
    let lost = pods.pod(3, 3);
    wait_for("it to have heard of the other, for long enough to elect a leader", || {
        let found = status(&lost);
        assert_eq!((&found["storeState"], &found["bootstrap"]), (&json!("uninitialized"), &json!("awaiting-grant")));
        assert_eq!(status(first)["storeState"], "syncing", "two that serve nobody");
        (found["config"]["version"] == version && found["uptimeMs"].as_i64() > Some(2000)).then_some(())
    });
    servers[1].start();
    shows_what_the_leader_has(&lost, &[&servers[0], &servers[1]]);
    // Now two of three are enough, and it is one of them.
    servers[1].stop();
    let pair = [&servers[0], &lost];
    wait_for("two that serve", || pair.iter().all(|server| status(server)["storeState"] == "synced").then_some(()));
    let mut client = wait_for("a server", || Client::connect(servers[0].client_port()).ok());
    assert_eq!(client.set("/a", b"2").unwrap(), ErrorCode::OK);
}

/// The kubelet mounts what it remembers of the ConfigMap: the founder alone, which this server is, and which lost its volume.
#[test]
fn an_empty_server_that_knows_nobody_looks_into_zoo_cfg_again() {
    let pods = Pods::new(3);
    let mut servers = pods.founded(3);
    let mut client = Client::connect(servers[1].client_port()).unwrap();
    assert_eq!(client.create("/a", b"1").unwrap(), ErrorCode::OK);
    drop(servers.remove(0));
    let alone = member(1, &pods.places[..1], &pods.extra);
    let file = alone.write_config();
    let mut process = Process::start(&["server", "--config", file.to_str().unwrap(), "--ensemble-id", ENSEMBLE]);
    process.client_port();
    let others: String = [2, 3].map(|id| line(id, &pods.places[id - 1]) + "\n").concat();
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + &others).unwrap();
    process.wait_for_line(&["zoo.cfg names other servers", "starting anew"]);
    let place = &pods.places[0];
    let mut client = wait_for("it to serve", || Client::connect((place.host, place.client).into()).ok());
    assert_eq!(client.get("/a").unwrap().unwrap(), b"1");
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(exit::FINISHED));
}
