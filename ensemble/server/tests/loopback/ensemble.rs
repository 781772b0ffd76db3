//! Three servers: a write is on all of them, and outlives the leader.

use crate::admin::get;
use crate::client::{Client, exchange, mntr};
use crate::world::{Place, Server, ensemble, free_port, member, places, wait_for};
use ensemble_proto::ErrorCode;
use std::net::Ipv4Addr;

fn is_leader(server: &Server) -> bool {
    exchange(server.client_port(), b"srvr").contains("Mode: leader\n")
}

#[test]
fn a_write_is_replicated_and_survives_the_end_of_the_leader() {
    let (mut servers, _) = ensemble(3, "");
    servers.iter_mut().for_each(Server::start);
    let mut client = wait_for("a leader", || Client::connect(servers[0].client_port()).ok());
    assert_eq!(client.create("/a", b"one").unwrap(), ErrorCode::OK);
    for server in &servers {
        wait_for("the write on every server", || {
            let mut client = Client::connect(server.client_port()).ok()?;
            (client.get("/a").ok()? == Ok(b"one".to_vec())).then_some(())
        });
    }
    let leader = wait_for("somebody who leads", || servers.iter().position(is_leader));
    servers[leader].stop();
    let survivor = &servers[(leader + 1) % 3];
    let mut client = wait_for("a new leader", || Client::connect(survivor.client_port()).ok());
    assert_eq!(client.get("/a").unwrap(), Ok(b"one".to_vec()));
    assert_eq!(client.set("/a", b"two").unwrap(), ErrorCode::OK);
    servers[leader].start();
    wait_for("the old leader to catch up", || {
        let mut client = Client::connect(servers[leader].client_port()).ok()?;
        (client.get("/a").ok()? == Ok(b"two".to_vec())).then_some(())
    });
}

/// Servers on addresses of their own, for `observerMasterPort` is one number for all of them.
#[test]
fn an_observer_says_who_its_master_is() {
    let places: Vec<Place> = (1..=3).flat_map(|host| places(Ipv4Addr::new(127, 0, 0, host), 1)).collect();
    let master_port = free_port(places[0].host);
    for extra in [String::new(), format!("observerMasterPort={master_port}\n")] {
        let has_masters = !extra.is_empty();
        let mut servers: Vec<_> = (1..=3).map(|id| member(id, &places, &extra)).collect();
        let line = |role| format!(":{}:{}:{role}", places[2].quorum, places[2].election);
        servers.iter_mut().for_each(|server| server.edit(|text| text.replace(&line("participant"), &line("observer"))));
        servers[..2].iter_mut().for_each(Server::start);
        for voter in &servers[..2] {
            wait_for("both voters", || Client::connect(voter.client_port()).ok());
        }
        servers[2].start();
        wait_for("the observer", || Client::connect(servers[2].client_port()).ok());
        let told = |server: &Server| mntr(server.client_port(), "zk_observer_master_id");
        let leader = wait_for("somebody who leads", || servers[..2].iter().position(is_leader));
        let master = (if has_masters { 1 - leader } else { leader } + 1).to_string();
        assert_eq!(told(&servers[2]), Some(master.clone()), "masters {has_masters}");
        let (_, body) = get(servers[2].admin_port(), "/commands/monitor");
        assert!(body.contains(&format!("\"observer_master_id\" : {}", master)), "{body}");
        assert_eq!([told(&servers[0]), told(&servers[1])], [None, None], "they observe nobody");
    }
}

#[test]
fn a_minority_serves_nobody_and_says_so() {
    let (mut servers, _) = ensemble(3, "");
    servers[0].start();
    assert!(Client::connect(servers[0].client_port()).is_err());
    let say = |word: &[u8; 4]| exchange(servers[0].client_port(), word);
    assert_eq!(say(b"srvr"), "This ZooKeeper instance is not currently serving requests\n");
    assert_eq!(say(b"ruok"), "imok");
    assert_eq!(say(b"isro"), "null");
}
