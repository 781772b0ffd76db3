//! TCP keep-alive, as the kernel has it: the timer column of `/proc/net/tcp`.

use crate::client::Client;
use crate::world::{Server, ensemble, wait_for};

/// An established connection: its two ports and whether its keep-alive timer runs.
struct Row {
    local: u16,
    remote: u16,
    keepalive: bool,
}

/// The established IPv4 connections of this machine.
fn connections() -> Vec<Row> {
    const ESTABLISHED: &str = "01";
    const KEEPALIVE_TIMER: &str = "02";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).filter_map(|line| {
        let columns: Vec<_> = line.split_ascii_whitespace().collect();
        let port = |address: &str| u16::from_str_radix(address.split_once(':').unwrap().1, 16).unwrap();
        let timer = columns[5].split_once(':').unwrap().0;
        let row = Row { local: port(columns[1]), remote: port(columns[2]), keepalive: timer == KEEPALIVE_TIMER };
        (columns[3] == ESTABLISHED).then_some(row)
    });
    rows.collect()
}

/// Waits until this many ends of connections to these ports are alive, all with the timer or all without.
fn check(ports: &[u16], ends: usize, keepalive: bool) {
    wait_for("every connection to have its keep-alive timer as configured", || {
        let rows: Vec<_> =
            connections().into_iter().filter(|row| ports.contains(&row.local) || ports.contains(&row.remote)).collect();
        (rows.len() == ends && rows.iter().all(|row| row.keepalive == keepalive)).then_some(())
    });
}

#[test]
fn client_connections_are_kept_alive_when_configured() {
    for (line, keepalive) in [("clientTcpKeepAlive=true", true), ("clientTcpKeepAlive=false", false), ("", false)] {
        let server = Server::standalone(line);
        let client = Client::connect(server.client_port()).unwrap();
        let port = client.stream.local_addr().unwrap().port();
        wait_for("the connection with its keep-alive timer as configured", || {
            connections().iter().any(|row| row.remote == port && row.keepalive == keepalive).then_some(())
        });
    }
}

#[test]
fn connections_between_servers_are_kept_alive_at_both_ends_when_configured() {
    for keepalive in [true, false] {
        let (mut servers, places) = ensemble(2, &format!("tcpKeepAlive={keepalive}\n"));
        servers.iter_mut().for_each(Server::start);
        let _client = wait_for("a leader", || Client::connect(servers[0].client_port()).ok());
        check(&places.iter().map(|place| place.election).collect::<Vec<_>>(), 2, keepalive);
        check(&places.iter().map(|place| place.quorum).collect::<Vec<_>>(), 2, keepalive);
    }
}
