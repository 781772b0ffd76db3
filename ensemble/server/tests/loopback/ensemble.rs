//! Three servers: a write is on all of them, and outlives the leader.

use crate::client::{Client, exchange};
use crate::world::{Server, ensemble, wait_for};
use ensemble_proto::ErrorCode;

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
