//! A leader hands its office over: asked by the admin port, and before it stops.

use crate::admin::{http, status};
use crate::client::Client;
use crate::world::{Server, ensemble, wait_for};
use ensemble_proto::ErrorCode;
use serde_json::Value;

/// A tick so long that whoever waits for one is noticed.
const CONFIG: &str = "tickTime=5000\ninitLimit=10\nsyncLimit=5\n";

fn started() -> Vec<Server> {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "secret\n").unwrap();
    let (_, token) = token.keep().unwrap();
    let (mut servers, _) = ensemble(3, &format!("{CONFIG}ensemble.adminTokenFile={}\n", token.display()));
    servers.iter_mut().for_each(Server::start);
    wait_for("everybody to serve", || {
        let synced = servers.iter().filter(|server| status(server)["storeState"] == "synced").count();
        (synced == 3).then_some(())
    });
    servers
}

/// The index of the one that leads.
fn leader(servers: &[Server]) -> usize {
    wait_for("a leader", || servers.iter().position(|server| status(server)["role"] == "leading"))
}

fn transfer(server: &Server, token: &str, query: &str) -> (u16, Value) {
    let path = format!("/leader/transfer{query}");
    let (code, body) = http(server.admin_port(), "POST", &path, &format!("Authorization: Bearer {token}\r\n"), "");
    (code, serde_json::from_str(&body).unwrap())
}

#[test]
fn the_admin_port_hands_the_office_over_or_says_why_not() {
    let servers = started();
    let mut client = Client::connect(servers[0].client_port()).unwrap();
    assert_eq!(client.create("/a", b"1").unwrap(), ErrorCode::OK);
    let from = leader(&servers);
    let (other, to) = ((from + 1) % 3, (from + 2) % 3);
    for (server, token, query, code, error) in [
        (from, "wrong", "?to=1".to_owned(), 401, "a Bearer token of this ensemble is required".to_owned()),
        (from, "secret", "?to=me".to_owned(), 400, "the query is to=ID, or none for the best follower".to_owned()),
        (from, "secret", "?to=9".to_owned(), 404, "server 9 is not in the configuration".to_owned()),
        (from, "secret", format!("?to={}", from + 1), 409, format!("server {} leads already", from + 1)),
        (other, "secret", format!("?to={}", to + 1), 409, "this server does not lead".to_owned()),
    ] {
        let (found, body) = transfer(&servers[server], token, &query);
        assert_eq!((found, body["error"].as_str()), (code, Some(error.as_str())), "{query}");
    }
    let (code, body) = transfer(&servers[from], "secret", &format!("?to={}", to + 1));
    assert_eq!((code, body["transferredTo"].as_i64()), (200, Some(to as i64 + 1)));
    assert_eq!(leader(&servers), to);
    wait_for("the office to come back, once it is established there", || {
        (transfer(&servers[to], "secret", "").0 == 200).then_some(())
    });
    let mut client = wait_for("a server", || Client::connect(servers[0].client_port()).ok());
    assert_eq!(client.get("/a").unwrap(), Ok(b"1".to_vec()));
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_first() {
    let mut servers = started();
    let zxid = |server: &Server| {
        let status = status(server);
        i64::from_str_radix(status["zxid"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    };
    let mut client = Client::connect(servers[0].client_port()).unwrap();
    assert_eq!(client.create("/a", b"").unwrap(), ErrorCode::OK);
    client.close().unwrap();
    let from = leader(&servers);
    // A leader whose disk is slower than the others' applies last.
    let before = wait_for("everybody to have applied the same", || {
        let zxids: Vec<i64> = servers.iter().map(zxid).collect();
        zxids.iter().all(|other| *other == zxids[0]).then_some(zxids[0])
    });
    let mut stopped = servers.remove(from);
    stopped.stop();
    let to = leader(&servers);
    wait_for("the last transaction of the former leader", || (zxid(&servers[to]) == before + 1).then_some(()));
}
