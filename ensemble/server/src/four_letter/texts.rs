//! The words that say something of the whole server.

use crate::config::Settings;
use crate::details::{Sizes, directories};
use crate::driver::Driver;
use crate::metrics::four_decimals;
use crate::report::{Figures, Report};
use crate::version;
use ensemble_proto::membership::MemberRole;
use std::os::unix::fs::MetadataExt;

pub(super) fn head(report: &Report) -> String {
    let read_only = if report.status.read_only { "READ-ONLY mode; serving only read-only clients\n" } else { "" };
    format!("Zookeeper version: {}\n{read_only}", version::full())
}

pub(super) fn server(report: &Report, mode: &str) -> String {
    let status = &report.status;
    let mut text = format!(
        "Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: {}\n\
         Zxid: {:#x}\nMode: {mode}\nNode count: {}\n",
        status.latency_min_ms,
        four_decimals(status.latency_avg_ms),
        status.latency_max_ms,
        status.packets_received,
        status.packets_sent,
        status.connections,
        status.outstanding_requests,
        status.zxid.0,
        report.znode_count(),
    );
    if mode == "leader" {
        let [last, min, max] = report.proposal_size.last_min_max();
        text += &format!("Proposal sizes last/min/max: {last}/{min}/{max}\n");
    }
    text
}

/// What ZooKeeper says of the machine, by name; a server that is no JVM has none of the keys that tell of one.
pub(crate) fn environment() -> Vec<(&'static str, String)> {
    let kernel =
        |name| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default().trim().to_owned();
    let directory = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let (user, home) = user();
    vec![
        ("zookeeper.version", version::full()),
        ("host.name", kernel("hostname")),
        ("os.name", "Linux".to_owned()),
        ("os.arch", architecture().to_owned()),
        ("os.version", kernel("osrelease")),
        ("user.name", user),
        ("user.home", home),
        ("user.dir", directory),
    ]
}

/// The machine's architecture, as Java calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        other => other,
    }
}

/// Name and home of the user that the process runs as; `?` where the system knows none, as Java says.
pub(crate) fn user() -> (String, String) {
    let uid = std::fs::metadata("/proc/self").map(|process| process.uid().to_string()).unwrap_or_default();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let fields =
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.get(2) == Some(&&*uid));
    let field =
        |index: usize| fields.as_ref().and_then(|fields| fields.get(index)).map_or("?", |field| field).to_owned();
    (field(0), field(5))
}

pub(super) fn monitor(driver: &Driver, figures: &Figures, mode: &str) -> String {
    let report = &figures.report;
    let mut text = format!("zk_version\t{}\nzk_server_state\t{mode}\n", version::full());
    if let Some(state) = report.peer_state() {
        text += &format!("zk_peer_state\t{state}\n");
    }
    if let Some(master) = report.observer_master {
        text += &format!("zk_observer_master_id\t{master}\n");
    }
    text + &driver.metrics.monitor(figures)
}

/// `conf`; `sizes` are those of the directories.
pub(super) fn configuration(settings: &Settings, report: &Report, client_port: Option<u16>, sizes: Sizes) -> String {
    let (data, log) = directories(settings);
    let port = client_port.map_or(-1, i32::from);
    let mut text = format!(
        "clientPort={port}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={}\ndataLogDir={}\ndataLogSize={}\n\
         tickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog={}\n\
         serverId={}\n",
        data.display(),
        sizes.data,
        log.display(),
        sizes.log,
        settings.tick.as_millis(),
        settings.max_client_cnxns,
        settings.session_timeout_min_ms,
        settings.session_timeout_max_ms,
        settings.client_backlog,
        if settings.standalone { 0 } else { settings.id.0 },
    );
    if let Some(member) = report.own.as_ref().filter(|_| !settings.standalone) {
        text += &format!(
            "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\npeerType={}\nmembership: \n{}\nversion={:x}",
            settings.init_limit,
            settings.sync_limit,
            member.election_port,
            member.quorum_port,
            u8::from(member.role == MemberRole::Observer),
            report.servers.join("\n"),
            report.config_version,
        );
    }
    text
}
