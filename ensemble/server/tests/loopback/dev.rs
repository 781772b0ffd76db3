//! `ensemble dev`: a whole ensemble from one command.

use crate::client::Client;
use crate::process::Process;
use crate::world::wait_for;
use ensemble_proto::ErrorCode;
use ensemble_server::exit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// The first of three ports in a row that are free.
fn three_ports() -> u16 {
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    // Below what the system hands out by itself, and not the same for two runs at once.
    let start = 20_000 + (std::process::id() % 2000) as u16 * 4;
    (start..).step_by(4).find(|first| (*first..first + 3).all(is_free)).unwrap()
}

fn connect(port: u16) -> Client {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_for("a server that serves", || Client::connect(address).ok())
}

#[test]
fn three_servers_replicate_survive_a_kill_and_stop_when_told() {
    let data = tempfile::tempdir().unwrap();
    let port = three_ports();
    let (directory, text) = (data.path().to_str().unwrap(), port.to_string());
    let arguments = ["dev", "--members", "3", "--client-port", &text, "--data", directory];
    let mut dev = Process::start(&arguments);
    dev.wait_for_line(&["connect to", &format!("127.0.0.1:{port},127.0.0.1:{},127.0.0.1:{}", port + 1, port + 2)]);
    assert_eq!(connect(port).create("/a", b"one").unwrap(), ErrorCode::OK);
    for port in port..port + 3 {
        wait_for("the write on every server", || (connect(port).get("/a").ok()? == Ok(b"one".to_vec())).then_some(()));
    }
    dev.signal("KILL");
    assert_eq!(dev.wait().code(), None, "it was killed");

    let mut dev = Process::start(&arguments);
    for port in port..port + 3 {
        assert_eq!(connect(port).get("/a").unwrap(), Ok(b"one".to_vec()), "{}", dev.log());
    }
    dev.signal("TERM");
    assert_eq!(dev.wait().code(), Some(exit::FINISHED), "{}", dev.log());
}
