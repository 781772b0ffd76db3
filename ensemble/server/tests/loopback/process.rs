//! The binary `ensemble`, as a process with its log.

use crate::world::{PATIENCE, wait_for};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
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
