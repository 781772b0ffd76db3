//! Disks that fail or stall: the log file that comes next is put there beforehand, as something that is no file.

use crate::admin::{get, status};
use crate::client::{Client, exchange};
use crate::process::Process;
use crate::world::{Server, ensemble, free_port, member, places, wait_for};
use ensemble_proto::{ErrorCode, SessionId, Zxid};
use ensemble_server::exit;
use ensemble_storage::{Compression, RealDisk, SnapshotWriter};
use serde_json::Value;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A store with a session and the znode "/a", and what its next log will be called.
struct Store {
    server: Server,
    next_log: PathBuf,
    session: SessionId,
    password: Vec<u8>,
}

fn store() -> Store {
    store_with("tickTime=3000\n")
}

/// The same with lines of `zoo.cfg`.
fn store_with(extra: &str) -> Store {
    let mut server = Server::standalone(extra);
    let mut client = Client::connect(server.client_port()).unwrap();
    assert_eq!(client.create("/a", b"").unwrap(), ErrorCode::OK);
    let srvr = exchange(server.client_port(), b"srvr");
    let zxid = srvr.lines().find_map(|line| line.strip_prefix("Zxid: 0x")).unwrap();
    let next = u64::from_str_radix(zxid, 16).unwrap() + 1;
    server.stop();
    let next_log = server.directory().join(format!("version-2/log.{next:x}"));
    Store { server, next_log, session: client.session, password: client.password }
}

impl Store {
    /// The store's server as a process, with the session of before on a connection.
    fn start(&self) -> (Process, Client) {
        let file = self.server.directory().join("zoo.cfg");
        let process = Process::start(&["server", "--config", file.to_str().unwrap()]);
        let address = process.client_port();
        let client = wait_for("the session", || Client::attach(address, self.session, &self.password).ok());
        assert_eq!(client.session, self.session);
        (process, client)
    }
}

/// STO-08.
#[test]
fn a_failing_disk_ends_the_process_with_a_message_that_says_what_failed() {
    let store = store();
    assert!(store.next_log.ends_with("log.3"));
    // Takes every write, and cannot be synced.
    symlink("/dev/null", &store.next_log).unwrap();
    let (mut process, mut client) = store.start();
    client.send_set("/a", b"lost").unwrap();
    assert!(client.receive().is_err(), "a write was acknowledged that is on no disk");
    assert_eq!(process.wait().code(), Some(exit::DISK));
    let message = "sync dataLogDir/version-2/log.3: Invalid argument";
    process.wait_for_line(&["the store failed, nothing more can be promised", message]);
}

/// STO-04.
#[test]
fn a_full_disk_stops_the_server_until_there_is_room() {
    let store = store();
    symlink("/dev/full", &store.next_log).unwrap();
    let (process, mut client) = store.start();
    client.send_set("/a", b"lost").unwrap();
    assert!(client.receive().is_err(), "a write was acknowledged that is on no disk");
    process.wait_for_line(&["the disk is full", "write dataLogDir/version-2/log.3: No space left on device"]);
    fs::remove_file(&store.next_log).unwrap();
    process.wait_for_line(&["there is room on the disk"]);
    let mut client = wait_for("the session", || {
        // It looks for room beside the log, so it may come back, and find the log full again, before that is gone.
        let address = *process.client_ports().get(1..)?.last()?;
        Client::attach(address, store.session, &store.password).ok()
    });
    assert_eq!(client.get("/a").unwrap(), Ok(Vec::new()), "what was not acknowledged was not kept");
    assert_eq!(client.set("/a", b"kept").unwrap(), ErrorCode::OK);
}

/// STO-04 in an ensemble: the others go on, and it is one of them again as soon as it can be.
#[test]
fn a_leader_whose_disk_is_full_gives_way_and_comes_back_when_there_is_room() {
    let places = places(Ipv4Addr::LOCALHOST, 3);
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
    let mut servers = [1, 2, 3].map(|id| {
        let port = if id == 3 { format!("admin.serverPort={}\n", admin.port()) } else { String::new() };
        member(id, &places, &port)
    });
    servers.iter_mut().for_each(Server::start);
    let mut client = wait_for("a session", || Client::connect(servers[0].client_port()).ok());
    assert_eq!(client.create("/a", b"").unwrap(), ErrorCode::OK);
    let logged = |server: &Server| status(server)["loggedZxid"].clone();
    wait_for("all to have it", || servers.iter().all(|server| logged(server) == logged(&servers[0])).then_some(()));
    servers.iter_mut().for_each(Server::stop);

    let logs = [2, 3].map(|epoch| servers[2].directory().join(format!("version-2/log.{epoch}00000001")));
    logs.iter().for_each(|log| symlink("/dev/full", log).unwrap());
    let config = servers[2].directory().join("zoo.cfg");
    let process = Process::start(&["server", "--config", config.to_str().unwrap()]);
    // Of two with the same history the greater id leads.
    servers[1].start();
    // While nothing is served it answers in words.
    let told = |name: &str| serde_json::from_str::<Value>(&get(admin, "/status").1).unwrap_or_default()[name].clone();
    process.wait_for_line(&["client port"]);
    wait_for("3 to lead", || (told("role") == "leading").then_some(()));
    servers[0].start();
    let written = wait_for("a write", || {
        Client::connect(servers[0].client_port()).and_then(|mut client| client.create("/b", b"")).ok()
    });
    process.wait_for_line(&["the disk is full", "version-2/log.", "No space left on device"]);
    assert_eq!(written, ErrorCode::OK);
    logs.iter().for_each(|log| fs::remove_file(log).unwrap());
    process.wait_for_line(&["there is room on the disk"]);
    wait_for("3 to be in sync", || (told("role") == "following" && told("storeState") == "synced").then_some(()));
    let address = *process.client_ports().last().unwrap();
    let mut client = wait_for("a session", || Client::connect(address).ok());
    assert_eq!(client.get("/b").unwrap(), Ok(Vec::new()));
}

/// STO-14.
#[test]
fn a_disk_that_does_not_answer_ends_a_server_that_has_peers_and_is_named_by_one_that_has_none() {
    let mut server = member(1, &places(Ipv4Addr::LOCALHOST, 1), "tickTime=100\nsyncLimit=5\n");
    server.start();
    wait_for("a session", || Client::connect(server.client_port()).ok());
    server.stop();
    let next_log = server.directory().join("version-2/log.200000001");
    assert!(Command::new("mkfifo").arg(&next_log).status().unwrap().success());
    let config = server.directory().join("zoo.cfg");
    let mut process = Process::start(&["server", "--config", config.to_str().unwrap()]);
    let address = process.client_port();
    let client = std::thread::spawn(move || {
        while Client::connect(address).is_err_and(|error| error.kind() != ErrorKind::ConnectionRefused) {}
    });
    assert_eq!(process.wait().code(), Some(exit::DISK));
    process.wait_for_line(&["ERROR", "the disk does not answer: this server gives up"]);
    client.join().unwrap();

    let store = store_with("tickTime=100\nsyncLimit=5\n");
    assert!(Command::new("mkfifo").arg(&store.next_log).status().unwrap().success());
    let (process, mut client) = store.start();
    client.send_set("/a", b"waits").unwrap();
    process.wait_for_line(&["ERROR", "the disk does not answer: nothing is written until it does"]);
}

/// Seals that hold over contents that are no tree.
#[test]
fn a_snapshot_that_is_no_tree_is_passed_over() {
    let mut store = store();
    let directory = store.server.directory().to_owned();
    let disk = RealDisk::open(&directory, &directory, false).unwrap();
    let mut snapshot = SnapshotWriter::begin(disk, Zxid(2), Compression::Plain).unwrap();
    snapshot.slice(b"no tree\0\0\0\x01/").unwrap();
    snapshot.finish(None, Zxid(2)).unwrap();
    store.server.start();
    let mut client = Client::connect(store.server.client_port()).unwrap();
    assert_eq!(client.get("/a").unwrap(), Ok(Vec::new()));
}

/// STO-09: a server that cannot trust its log is filled by its peers, and what it had is set aside. Without enough peers it refuses to start.
#[test]
fn a_damaged_log_is_set_aside_where_peers_have_what_is_lost() {
    let damage = |server: &Server| {
        let version = server.directory().join("version-2");
        let entries = fs::read_dir(&version).unwrap().map(|entry| entry.unwrap().path());
        let log = entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("log.")).min().unwrap();
        let mut bytes = fs::read(&log).unwrap();
        bytes[60] ^= 1;
        fs::write(&log, bytes).unwrap();
        version.join(format!("aside-1.{}", log.file_name().unwrap().to_str().unwrap()))
    };
    let (mut servers, _) = ensemble(3, "");
    servers.iter_mut().for_each(Server::start);
    let mut client = wait_for("a session", || Client::connect(servers[2].client_port()).ok());
    assert_eq!(client.create("/a", b"kept").unwrap(), ErrorCode::OK);
    wait_for("the first server to have it", || Client::connect(servers[0].client_port()).ok()?.get("/a").ok()?.ok());
    servers[0].stop();
    let aside = damage(&servers[0]);
    servers[0].start();
    let mut client = wait_for("a session", || Client::connect(servers[0].client_port()).ok());
    assert_eq!(client.get("/a").unwrap(), Ok(b"kept".to_vec()));
    assert!(aside.exists(), "{} is kept", aside.display());
    let told = |server: &Server| status(server)["store"]["setAside"].as_str().map(str::to_owned);
    let reason = told(&servers[0]).unwrap();
    assert!(reason.starts_with("files aside-1.*: ") && reason.contains("CRC check failed"), "{reason}");
    assert_eq!(told(&servers[1]), None);
    // And it is as good as the others again: it goes on with one of them.
    servers[1].stop();
    let written = wait_for("a write", || {
        Client::connect(servers[0].client_port()).and_then(|mut client| client.create("/b", b"")).ok()
    });
    assert_eq!(written, ErrorCode::OK);
    servers[0].stop();
    servers[0].start();
    assert_eq!(told(&servers[0]), None, "what was filled is a store like any other");

    let (mut servers, _) = ensemble(2, "");
    servers.iter_mut().for_each(Server::start);
    wait_for("a session", || Client::connect(servers[0].client_port()).ok());
    servers[0].stop();
    damage(&servers[0]);
    let error = servers[0].try_start().unwrap_err();
    assert!(error.to_string().contains("CRC check failed"), "{error}");
    assert_eq!(error.exit_code(), exit::UNTRUSTED);
}

/// A server of ZooKeeper locks nothing: what looks like the remains of a crash may be what it is about to write.
#[test]
fn a_taken_port_is_found_before_anything_in_the_directories_is_repaired() {
    let store = store();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = store.server.directory().join("zoo.cfg");
    let port = format!("clientPort={}", taken.local_addr().unwrap().port());
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("clientPort=0", &port)).unwrap();
    let unfinished = [store.next_log.clone(), store.server.directory().join("version-2/currentEpoch.tmp")];
    unfinished.iter().for_each(|file| fs::write(file, b"").unwrap());

    let mut process = Process::start(&["server", "--config", config.to_str().unwrap()]);
    assert_eq!(process.wait().code(), Some(exit::PORT));
    process.wait_for_line(&["cannot listen: clientPort", "in use"]);
    assert!(unfinished.iter().all(|file| file.exists()), "a file of a running server was removed");
}

#[test]
fn a_stalled_disk_stops_the_reading_of_clients() {
    const FRAME_BYTES: usize = 1_000_000;
    /// The disk's limit and what the kernel takes at both ends.
    const TAKEN_MAX: usize = 100;
    let store = store();
    // Whoever opens a pipe for writing waits until somebody reads from it.
    assert!(Command::new("mkfifo").arg(&store.next_log).status().unwrap().success());
    let (_process, mut client) = store.start();
    client.stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let data = vec![7; FRAME_BYTES];
    let taken = (0..2 * TAKEN_MAX).take_while(|_| client.send_set("/a", &data).is_ok()).count();
    assert!((64..TAKEN_MAX).contains(&taken), "{taken} frames were read");
    let _ = client.stream.flush();
}
