//! The binary `ensemble`, as a process with its log.

use crate::admin::get;
use crate::world::{PATIENCE, Server, free_port, member, places, wait_for};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Parts of the line that says where the client port is.
const CLIENT_PORT: &[&str] = &["client port", "address="];

/// A running process; it is killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ensemble"))
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Process { child, log }
    }

    /// Sends a signal by its name, as `kill` knows it.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for a line of the log that has all of `parts`.
    pub(crate) fn wait_for_line(&self, parts: &[&str]) -> String {
        let find = |lines: &[String]| lines.iter().find(|line| parts.iter().all(|part| line.contains(part))).cloned();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = find(&self.log.lock().unwrap()) {
                return line;
            }
            assert!(Instant::now() < deadline, "no line has {parts:?} in\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// Where the client port is, once it is there.
    pub(crate) fn client_port(&self) -> SocketAddr {
        self.wait_for_line(CLIENT_PORT);
        self.client_ports()[0]
    }

    /// Where the client port is and was, in order.
    pub(crate) fn client_ports(&self) -> Vec<SocketAddr> {
        let lines = self.log.lock().unwrap();
        let named = lines.iter().filter(|line| CLIENT_PORT.iter().all(|part| line.contains(part)));
        let address = |line: &String| line.split("address=").nth(1)?.split_ascii_whitespace().next()?.parse().ok();
        named.map(|line| address(line).unwrap()).collect()
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("the process to end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server of an ensemble in a process of its own, which can be made to stand still.
pub(crate) struct Running {
    pub(crate) admin: SocketAddr,
    pub(crate) process: Process,
    /// Its directories.
    _server: Server,
}

impl Running {
    /// What `/status` says of it.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&get(self.admin, "/status").1).unwrap()
    }
}

/// Three of them, the leader first, and both others follow it.
pub(crate) fn three(extra: &str) -> Vec<Running> {
    let places = places(Ipv4Addr::LOCALHOST, 3);
    let start = |id| {
        let admin = free_port(Ipv4Addr::LOCALHOST.into());
        let server = member(id, &places, &format!("{extra}admin.serverPort={admin}\n"));
        let file = server.write_config();
        let process = Process::start(&["server", "--config", file.to_str().unwrap()]);
        Running { admin: SocketAddr::from((Ipv4Addr::LOCALHOST, admin)), process, _server: server }
    };
    let mut servers: Vec<Running> = (1..=3).map(start).collect();
    for server in &servers {
        server.process.client_port();
    }
    let leader = wait_for("a leader with two followers", || {
        servers.iter().position(|server| {
            let synced = |follower: &&Value| follower["synced"] == true;
            server.status()["followers"].as_array().is_some_and(|all| all.iter().filter(synced).count() == 2)
        })
    });
    servers.swap(0, leader);
    servers
}
