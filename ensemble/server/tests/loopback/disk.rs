//! Disks that fail or stall: the log file that comes next is put there beforehand, as something that is no file.

use crate::client::{Client, exchange};
use crate::process::Process;
use crate::world::{Server, wait_for};
use ensemble_proto::{ErrorCode, SessionId};
use ensemble_server::exit;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
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
    let mut server = Server::standalone("tickTime=3000\n");
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

#[test]
fn a_failing_disk_ends_the_process_with_a_message_that_says_what_failed() {
    for (device, message) in [
        // Takes every write, and cannot be synced.
        ("/dev/null", "sync dataLogDir/version-2/log.3: Invalid argument"),
        ("/dev/full", "write dataLogDir/version-2/log.3: No space left on device"),
    ] {
        let store = store();
        assert!(store.next_log.ends_with("log.3"));
        symlink(device, &store.next_log).unwrap();
        let (mut process, mut client) = store.start();
        client.send_set("/a", b"lost").unwrap();
        assert!(client.receive().is_err(), "a write was acknowledged that is on no disk");
        assert_eq!(process.wait().code(), Some(exit::DISK));
        process.wait_for_line(&["the store failed, nothing more can be promised", message]);
    }
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
