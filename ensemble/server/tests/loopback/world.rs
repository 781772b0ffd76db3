//! Servers with temporary directories, and waiting for conditions.

use ensemble_server::{Addresses, Member, MemberError, config};
use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a condition may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server's directory and configuration; the server itself may be running or not.
pub(crate) struct Server {
    directory: TempDir,
    text: String,
    member: Option<Member>,
}

impl Server {
    /// A standalone server with ports of its own; `extra` are more lines of `zoo.cfg`.
    pub(crate) fn standalone(extra: &str) -> Server {
        let mut server = Server::new(&format!("clientPort=0\n{extra}"));
        server.start();
        server
    }

    /// A server that is not started. `extra` are more lines of `zoo.cfg`.
    pub(crate) fn new(extra: &str) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let mut text = format!(
            "tickTime=500\ninitLimit=20\nsyncLimit=20\nadmin.serverAddress=127.0.0.1\nadmin.serverPort=0\n\
             metricsProvider.httpHost=127.0.0.1\nmetricsProvider.httpPort=0\nclientPortAddress=127.0.0.1\n\
             preAllocSize=64\ndataDir={}\n{extra}\n",
            directory.path().display()
        );
        if !text.contains("4lw.commands.whitelist") {
            text += "4lw.commands.whitelist=*\n";
        }
        Server { directory, text, member: None }
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Starts it.
    pub(crate) fn start(&mut self) {
        self.try_start().unwrap();
    }

    /// Starts it, if it can.
    pub(crate) fn try_start(&mut self) -> Result<(), MemberError> {
        let file = self.directory.path().join("zoo.cfg");
        std::fs::write(&file, &self.text).unwrap();
        let (settings, notes) = config::load(&file, &[], None).unwrap();
        assert_eq!(notes, []);
        self.member = Some(Member::start(settings)?);
        Ok(())
    }

    /// Stops it as SIGTERM does, and waits for its end.
    pub(crate) fn stop(&mut self) {
        let member = self.member.take().unwrap();
        member.stop();
        member.join().unwrap();
    }

    fn addresses(&self) -> Addresses {
        self.member.as_ref().unwrap().addresses()
    }

    pub(crate) fn client_port(&self) -> SocketAddr {
        self.addresses().client.unwrap()
    }

    pub(crate) fn admin_port(&self) -> SocketAddr {
        self.addresses().admin.unwrap()
    }

    pub(crate) fn metrics_port(&self) -> SocketAddr {
        self.addresses().metrics.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(member) = self.member.take() {
            member.stop();
            let _ = member.join();
        }
    }
}

/// Servers of one ensemble, not started, with their election ports.
pub(crate) fn ensemble(count: usize) -> (Vec<Server>, Vec<SocketAddr>) {
    let held: Vec<_> = (0..3 * count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<_> = held.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let mut lines = String::from("standaloneEnabled=false\n");
    for (index, ports) in ports.chunks(3).enumerate() {
        let [quorum, election, client] = [ports[0].port(), ports[1].port(), ports[2].port()];
        writeln!(lines, "server.{}=127.0.0.1:{quorum}:{election}:participant;127.0.0.1:{client}", index + 1).unwrap();
    }
    let server = |id: usize| {
        let server = Server::new(&lines);
        std::fs::write(server.directory().join("myid"), id.to_string()).unwrap();
        server
    };
    let elections = ports.chunks(3).map(|ports| ports[1]).collect();
    ((1..=count).map(server).collect(), elections)
}

/// Waits until `probe` says something.
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
