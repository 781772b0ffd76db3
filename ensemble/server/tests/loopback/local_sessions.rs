//! `localSessionsEnabled`: sessions that one server keeps for itself.

use crate::client::{Client, mntr};
use crate::world::{Server, ensemble, wait_for};
use ensemble_proto::{ErrorCode, SessionId};

/// An ensemble of two that serves, and a client of each server.
fn serving(extra: &str) -> (Vec<Server>, [Client; 2]) {
    let (mut servers, _) = ensemble(2, &format!("localSessionsEnabled=true\n{extra}"));
    servers.iter_mut().for_each(Server::start);
    let clients = [0, 1].map(|at| wait_for("a leader", || Client::connect(servers[at].client_port()).ok()));
    (servers, clients)
}

fn sessions(server: &Server) -> (String, String) {
    let value = |key| mntr(server.client_port(), key).unwrap();
    (value("zk_global_sessions"), value("zk_local_sessions"))
}

#[test]
fn a_local_session_writes_and_is_known_to_its_server_alone() {
    let (servers, clients) = serving("");
    for (at, mut client) in clients.into_iter().enumerate() {
        let other = servers[1 - at].client_port();
        assert_eq!(Client::attach(other, client.session, &client.password).unwrap().session, SessionId(0));
        assert_eq!(sessions(&servers[at]), ("0".into(), "1".into()));
        assert_eq!(client.create(&format!("/a{at}"), b"").unwrap(), ErrorCode::OK);
        assert_eq!(client.create_ephemeral("/e").unwrap(), ErrorCode::EPHEMERAL_ON_LOCAL_SESSION);
        assert_eq!(client.set(&format!("/a{at}"), b"two").unwrap(), ErrorCode::OK);
        assert_eq!(client.close().unwrap(), ErrorCode::OK);
        assert_eq!(sessions(&servers[at]), ("0".into(), "0".into()));
    }
}

#[test]
fn an_ephemeral_znode_makes_the_session_one_of_the_ensemble() {
    let (servers, clients) = serving("localSessionsUpgradingEnabled=true");
    for (at, mut client) in clients.into_iter().enumerate() {
        assert_eq!(client.create_ephemeral("/e").unwrap(), ErrorCode::OK);
        assert_eq!(sessions(&servers[at]), ("1".into(), "0".into()));
        let moved = Client::attach(servers[1 - at].client_port(), client.session, &client.password).unwrap();
        assert_eq!(moved.session, client.session);
        assert_eq!(moved.close().unwrap(), ErrorCode::OK);
        let mut probe = Client::connect(servers[at].client_port()).unwrap();
        wait_for("the end of the znode", || (probe.get("/e").unwrap() == Err(ErrorCode::NO_NODE)).then_some(()));
        probe.close().unwrap();
    }
}
