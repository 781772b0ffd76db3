//! The four-letter words on the client port (`server/command/*.java`), with ZooKeeper's texts.
//!
//! The first four bytes of a connection are a word or the length of a frame. A word is answered if the whitelist allows
//! it; words of ZooKeeper that are not answered here are told apart by name, anything else is a (wrong) frame length.

use crate::config::Settings;
use crate::driver::Driver;
use crate::metrics::four_decimals;
use crate::report::{Identity, Report};
use crate::version;
use ensemble_peer::Peer;
use ensemble_proto::membership::MemberRole;
use std::rc::Rc;

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// A word of ZooKeeper's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    Ruok,
    Srvr,
    Stat,
    Mntr,
    Isro,
    Conf,
    Envi,
    /// One that ZooKeeper answers and this server does not.
    Other([u8; 4]),
}

const OTHERS: &[&[u8; 4]] =
    &[b"cons", b"crst", b"srst", b"dump", b"dirs", b"wchs", b"wchc", b"wchp", b"gtmk", b"stmk", b"hash"];

impl Word {
    /// The word in the first four bytes of a connection, if there is one.
    pub(crate) fn parse(bytes: &[u8; 4]) -> Option<Word> {
        match bytes {
            b"ruok" => Some(Word::Ruok),
            b"srvr" => Some(Word::Srvr),
            b"stat" => Some(Word::Stat),
            b"mntr" => Some(Word::Mntr),
            b"isro" => Some(Word::Isro),
            b"conf" => Some(Word::Conf),
            b"envi" => Some(Word::Envi),
            other => OTHERS.contains(&other).then_some(Word::Other(*other)),
        }
    }

    fn name(self) -> String {
        match self {
            Word::Ruok => "ruok".into(),
            Word::Srvr => "srvr".into(),
            Word::Stat => "stat".into(),
            Word::Mntr => "mntr".into(),
            Word::Isro => "isro".into(),
            Word::Conf => "conf".into(),
            Word::Envi => "envi".into(),
            Word::Other(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

/// The words that a whitelist names and this server does not answer. `*` names none.
pub(crate) fn unsupported(whitelist: &str) -> Vec<&str> {
    let is_supported = |name: &str| {
        let bytes = name.as_bytes().try_into().ok();
        bytes.and_then(Word::parse).is_some_and(|word| !matches!(word, Word::Other(_)))
    };
    whitelist.split(',').map(str::trim).filter(|name| !matches!(*name, "" | "*") && !is_supported(name)).collect()
}

/// `4lw.commands.whitelist`.
#[derive(Clone, Debug)]
struct Whitelist {
    all: bool,
    words: Vec<String>,
}

impl Whitelist {
    /// `srvr` is always allowed: `zkServer.sh status` needs it.
    fn parse(text: &str) -> Whitelist {
        let words: Vec<String> = text.split(',').map(|word| word.trim().to_owned()).collect();
        Whitelist { all: words.iter().any(|word| word == "*"), words }
    }

    fn allows(&self, word: Word) -> bool {
        self.all || word == Word::Srvr || self.words.contains(&word.name())
    }
}

/// Answers words.
pub(crate) struct Words {
    whitelist: Whitelist,
    settings: Settings,
    identity: Identity,
}

impl Words {
    pub(crate) fn new(settings: Settings, identity: Identity) -> Words {
        Words { whitelist: Whitelist::parse(&settings.four_letter_whitelist), settings, identity }
    }

    /// The answer, after which the connection is closed.
    pub(crate) fn answer(&self, word: Word, driver: &Rc<Driver>) -> String {
        if !self.whitelist.allows(word) {
            return format!("{} is not executed because it is not in the whitelist.\n", word.name());
        }
        match word {
            Word::Ruok => return "imok".into(),
            Word::Envi => return environment(),
            _ => {}
        }
        let report = Report::new(driver, &self.settings, &self.identity);
        let Some(mode) = report.mode() else {
            return if word == Word::Isro { "null".into() } else { NOT_SERVING.into() };
        };
        match word {
            Word::Ruok | Word::Envi => unreachable!("answered above, whether clients are served or not"),
            Word::Isro => if report.status.read_only { "ro" } else { "rw" }.into(),
            Word::Srvr => format!("{}{}", head(&report), server(&report, mode)),
            Word::Stat => format!("{}Clients:\n{}\n{}", head(&report), clients(driver), server(&report, mode)),
            Word::Mntr => monitor(driver, &report, mode),
            Word::Conf => configuration(&self.settings, &report, driver.places.client_port()),
            Word::Other(_) => format!("{} is not supported by this server.\n", word.name()),
        }
    }
}

fn head(report: &Report) -> String {
    let read_only = if report.status.read_only { "READ-ONLY mode; serving only read-only clients\n" } else { "" };
    format!("Zookeeper version: {}\n{read_only}", version::full())
}

fn server(report: &Report, mode: &str) -> String {
    let status = &report.status;
    format!(
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
    )
}

fn clients(driver: &Driver) -> String {
    let clients = driver.look(Peer::clients);
    let line = |client: &ensemble_peer::ClientStatus| {
        let address = driver.clients.address(client.id)?;
        // Java's interest set: 1 while the connection is read; a connection with a word on it shows 0.
        let interest = u8::from(client.received > 0);
        let (queued, received, sent) = (client.queued, client.received, client.sent);
        Some(format!(" /{address}[{interest}](queued={queued},recved={received},sent={sent})\n"))
    };
    clients.iter().filter_map(line).collect()
}

/// What ZooKeeper says of the machine; a server that is no JVM has none of the keys that tell of one.
fn environment() -> String {
    let kernel =
        |name| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default().trim().to_owned();
    let directory = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    format!(
        "Environment:\nzookeeper.version={}\nhost.name={}\nos.name=Linux\nos.arch={}\nos.version={}\nuser.dir={directory}\n",
        version::full(),
        kernel("hostname"),
        std::env::consts::ARCH,
        kernel("osrelease"),
    )
}

fn monitor(driver: &Driver, report: &Report, mode: &str) -> String {
    let mut text = format!("zk_version\t{}\nzk_server_state\t{mode}\n", version::full());
    if let Some(state) = report.peer_state() {
        text += &format!("zk_peer_state\t{state}\n");
    }
    text + &driver.metrics.monitor(report)
}

fn configuration(settings: &Settings, report: &Report, client_port: Option<u16>) -> String {
    let directory_bytes = |path: &std::path::Path| -> u64 {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
    };
    let data = settings.directories.data.join("version-2");
    let log = settings.directories.log.join("version-2");
    let port = client_port.map_or(-1, i32::from);
    let mut text = format!(
        "clientPort={port}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={}\ndataLogDir={}\ndataLogSize={}\n\
         tickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog={}\n\
         serverId={}\n",
        data.display(),
        directory_bytes(&data),
        log.display(),
        directory_bytes(&log),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whitelist_allows_what_it_names_and_srvr() {
        for (whitelist, allowed, refused) in [
            ("srvr", vec![Word::Srvr], vec![Word::Ruok, Word::Conf]),
            ("", vec![Word::Srvr], vec![Word::Ruok]),
            (" ruok , mntr", vec![Word::Ruok, Word::Mntr, Word::Srvr], vec![Word::Stat]),
            ("*", vec![Word::Ruok, Word::Other(*b"cons")], vec![]),
        ] {
            let list = Whitelist::parse(whitelist);
            assert!(allowed.iter().all(|word| list.allows(*word)), "{whitelist}");
            assert!(!refused.iter().any(|word| list.allows(*word)), "{whitelist}");
        }
    }

    #[test]
    fn the_environment_begins_with_the_version_that_clients_ask_for() {
        let text = environment();
        assert!(text.starts_with("Environment:\nzookeeper.version=3.9.5-ensemble-"), "{text}");
        assert!(
            text.lines().skip(1).all(|line| line.split_once('=').is_some_and(|(_, value)| !value.is_empty())),
            "{text}"
        );
    }

    #[test]
    fn four_bytes_are_a_word_only_when_zookeeper_has_it() {
        assert_eq!(Word::parse(b"ruok"), Some(Word::Ruok));
        assert_eq!(Word::parse(b"envi"), Some(Word::Envi));
        assert_eq!(Word::parse(b"wchp"), Some(Word::Other(*b"wchp")));
        assert_eq!(Word::parse(b"RUOK"), None);
        assert_eq!(Word::parse(&[0, 0, 0, 45]), None);
    }
}
