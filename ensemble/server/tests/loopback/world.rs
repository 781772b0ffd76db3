//! Servers with temporary directories, and waiting for conditions.

use ensemble_server::{Addresses, Member, MemberError, config};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a condition may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Lines of every `zoo.cfg` that does not have them.
const DEFAULTS: &[&str] = &[
    "tickTime=500",
    "initLimit=20",
    "syncLimit=20",
    "admin.serverAddress=127.0.0.1",
    "admin.serverPort=0",
    "metricsProvider.httpHost=127.0.0.1",
    "metricsProvider.httpPort=0",
    "clientPortAddress=127.0.0.1",
    "preAllocSize=64",
    "4lw.commands.whitelist=*",
];

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
        let mut text = format!("dataDir={}\n{extra}\n", directory.path().display());
        for default in DEFAULTS {
            let (key, _) = default.split_once('=').unwrap();
            if !text.lines().any(|line| line.split_once('=').is_some_and(|(given, _)| given == key)) {
                text += &format!("{default}\n");
            }
        }
        Server { directory, text, member: None }
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Changes its `zoo.cfg`, for the next start.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&str) -> String) {
        self.text = change(&self.text);
    }

    /// Starts it.
    pub(crate) fn start(&mut self) {
        self.try_start().unwrap();
    }

    /// Writes its `zoo.cfg`.
    pub(crate) fn write_config(&self) -> PathBuf {
        let file = self.directory.path().join("zoo.cfg");
        std::fs::write(&file, &self.text).unwrap();
        file
    }

    /// Starts it, if it can.
    pub(crate) fn try_start(&mut self) -> Result<(), MemberError> {
        let file = self.write_config();
        let (settings, notes) = config::load(&file, &[], None, None).unwrap();
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

    pub(crate) fn secure_metrics_port(&self) -> Option<SocketAddr> {
        self.addresses().secure_metrics
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

/// Where a server of an ensemble is, for the others.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) host: IpAddr,
    pub(crate) quorum: u16,
    pub(crate) election: u16,
    pub(crate) client: u16,
}

impl Place {
    pub(crate) fn election(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.election)
    }
}

/// A port that nothing listens on, given once. Below the range that the kernel gives to outgoing connections, which could take a
/// port between its choice and its use; different processes begin at different places.
pub(crate) fn free_port(host: IpAddr) -> u16 {
    const LISTENING: Range<u32> = 10_000..32_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let width = LISTENING.end - LISTENING.start;
    let first = std::process::id().wrapping_mul(7919);
    loop {
        let next = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % width;
        let port = u16::try_from(LISTENING.start + next).unwrap();
        if TcpListener::bind((host, port)).is_ok() {
            return port;
        }
    }
}

/// Free places on one address.
pub(crate) fn places(host: impl Into<IpAddr>, count: usize) -> Vec<Place> {
    let host = host.into();
    let ports: Vec<_> = (0..3 * count).map(|_| free_port(host)).collect();
    ports.chunks(3).map(|port| Place { host, quorum: port[0], election: port[1], client: port[2] }).collect()
}

/// Server `id` of an ensemble, not started, that believes the servers to be at `places`. `extra` are more lines of `zoo.cfg`.
pub(crate) fn member(id: usize, places: &[Place], extra: &str) -> Server {
    let mut lines = String::from("standaloneEnabled=false\n");
    for (index, Place { host, quorum, election, client }) in places.iter().enumerate() {
        let host = if host.is_ipv6() { format!("[{host}]") } else { host.to_string() };
        writeln!(lines, "server.{}={host}:{quorum}:{election}:participant;{host}:{client}", index + 1).unwrap();
    }
    let server = Server::new(&(lines + extra));
    std::fs::write(server.directory().join("myid"), id.to_string()).unwrap();
    server
}

/// Servers of one ensemble on 127.0.0.1, not started.
pub(crate) fn ensemble(count: usize, extra: &str) -> (Vec<Server>, Vec<Place>) {
    let places = places(Ipv4Addr::LOCALHOST, count);
    ((1..=count).map(|id| member(id, &places, extra)).collect(), places)
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
