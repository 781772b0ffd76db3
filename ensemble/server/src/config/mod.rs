//! What a server is told: `zoo.cfg` (`QuorumPeerConfig.java`), `-Dname=value`, and the `myid` file.
//!
//! [`load`] reads all three and yields [`Settings`], in which nothing is left to interpret. Names and defaults are
//! ZooKeeper's; [`keys`] lists every key and what becomes of it.

mod admission;
pub mod check;
pub mod keys;
mod membership;
mod myid;
mod operator_mode;
mod pattern;
mod read;
mod settings;
mod text;
mod tls;
mod values;

pub use membership::Ensemble;
use settings::ZooCfg;
pub use settings::{Admin, Commands, Directories, Election, Endpoint, Metrics, Operator, PauseMonitor, Settings};
pub(crate) use text::server_lines;
pub use tls::{ClientAuth, HttpPort, Scheme, Tls};
pub use values::Place;

use ensemble_proto::ServerId;
use ensemble_proto::membership::MembershipError;
use ensemble_proto::properties;
use ensemble_storage::StorageError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use values::Values;

/// Why a configuration is not accepted. The process ends with code 2.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A value is not what its key needs.
    #[error("{key} ({place}): {found:?} is not {expected}")]
    Value {
        /// The key.
        key: String,
        /// Where it was given.
        place: Place,
        /// The value.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A feature of ZooKeeper that this server does not have yet.
    #[error("{key} ({place}): {value:?} is not supported{}: {why}", only(unless))]
    Refused {
        /// The key.
        key: String,
        /// Where it was given.
        place: Place,
        /// The value.
        value: String,
        /// The value that would be accepted; empty when there is none.
        unless: &'static str,
        /// The reason.
        why: &'static str,
    },
    /// A key that must be there is not.
    #[error("{key} is missing: {why}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Why it is needed.
        why: &'static str,
    },
    /// Values that contradict each other.
    #[error("{0}")]
    Conflict(String),
    /// The configuration of the ensemble may change, and could not be kept.
    #[error(
        "reconfigEnabled: the configuration cannot be kept (beside zoo.cfg, or in ensemble.dynamicConfigDir): {source}"
    )]
    Keep {
        /// What went wrong.
        source: StorageError,
    },
    /// A file that keeps the configuration of the ensemble.
    #[error("{source}")]
    Kept {
        /// What is wrong with it.
        source: StorageError,
    },
    /// A `server.N` line.
    #[error("{place}: {source}")]
    Membership {
        /// Where it was given.
        place: Place,
        /// What is wrong with it.
        source: MembershipError,
    },
    /// The file that names this server.
    #[error("{}: {problem}", path.display())]
    Myid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file is of another ensemble than this server is to be of.
    #[error(
        "{}: ensemble.id is {}, and this server is to be of ensemble {expected} (--ensemble-id): it is not this ensemble's file, or was mounted before it changed",
        path.display(), found.as_deref().unwrap_or("missing")
    )]
    OtherEnsemble {
        /// The file.
        path: PathBuf,
        /// The id in it.
        found: Option<String>,
        /// What it was expected to be.
        expected: String,
    },
    /// The file names another server than the ordinal does. The process ends with code 4.
    #[error("{}: holds {found}, but this server's ordinal makes it {expected}: the volume belongs to another server", path.display())]
    OtherServer {
        /// The file.
        path: PathBuf,
        /// The id in it.
        found: ServerId,
        /// This server's id.
        expected: ServerId,
    },
}

fn only(unless: &str) -> String {
    if unless.is_empty() { String::new() } else { format!(" (only {unless:?} is)") }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(line) => write!(f, "line {line}"),
            Place::CommandLine => f.write_str("command line"),
        }
    }
}

/// Something that a person should know about a key that was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// The key.
    pub key: String,
    /// What became of it.
    pub text: String,
    /// Whether nothing needs to be done about it.
    pub is_harmless: bool,
}

impl Note {
    fn new(key: impl Into<String>, text: impl Into<String>) -> Note {
        Note { key: key.into(), text: text.into(), is_harmless: false }
    }

    fn harmless(key: impl Into<String>, text: impl Into<String>) -> Note {
        Note { is_harmless: true, ..Note::new(key, text) }
    }
}

/// Reads the file at `path` with the given `-D` properties. `ordinal` is the position in a StatefulSet, from which
/// `ensemble.myidOffset` makes the server's id, and `ensemble_id` is what `ensemble.id` has to be, where that is known. Before both are settled
/// nothing is written.
///
/// # Errors
/// The first thing that is wrong, by name.
pub fn load(
    path: &Path,
    defines: &[(String, String)],
    ordinal: Option<i64>,
    ensemble_id: Option<&str>,
) -> Result<(Settings, Vec<Note>), ConfigError> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
    };
    let text = read(path)?;
    let mut notes = Vec::new();
    let mut settings = parse(&text, defines, ordinal, read, &mut notes)?;
    if let Some(operator) = &mut settings.operator {
        operator.file = ZooCfg::new(path, &text);
    }
    if let Some(expected) = ensemble_id {
        let found = settings.operator.as_ref().map(|operator| operator.ensemble_id.clone());
        if !found.as_ref().is_some_and(|found| found.eq_ignore_ascii_case(expected)) {
            return Err(ConfigError::OtherEnsemble { path: path.to_owned(), found, expected: expected.to_owned() });
        }
    }
    if settings.ensemble.membership.servers.is_empty() {
        return Ok((settings, notes));
    }
    settings.id = myid::establish(&settings.directories.data, settings.ordinal_id, settings.datadir_autocreate)?;
    if !settings.standalone {
        settings.ensemble.settle(path, settings.id)?;
    }
    settings.recall(&mut notes)?;
    Ok((settings, notes))
}

/// [`load`] with no file but those that `read` gives; the server's id is not established.
fn parse(
    text: &str,
    defines: &[(String, String)],
    ordinal: Option<i64>,
    read: impl Fn(&Path) -> Result<String, ConfigError>,
    notes: &mut Vec<Note>,
) -> Result<Settings, ConfigError> {
    let values = Values::collect(properties::parse(text), defines, notes)?;
    Settings::read(&values, text, ordinal, read, notes)
}

/// There is no other file than the one that is read.
#[cfg(test)]
fn no_other_file(path: &Path) -> Result<String, ConfigError> {
    Err(ConfigError::Read { path: path.to_owned(), source: io::ErrorKind::NotFound.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `text` leads to: the error, or what `show` says of the settings, then the notes.
    fn check(text: &str, defines: &[&str], show: impl Fn(&Settings) -> String, expected: &str) {
        let defines: Vec<_> = defines.iter().filter_map(|d| d.split_once('=')).collect();
        let defines: Vec<_> = defines.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let mut notes = Vec::new();
        let read = |path: &Path| match path.to_str() {
            Some("/z/dynamic.1f") => Ok("server.1=h:1:2\nserver.2=h:3:4:observer".to_owned()),
            Some("/z/wrong") => Ok("server.1=h:1:2\nversion=1".to_owned()),
            _ => no_other_file(path),
        };
        let mut found = match parse(text, &defines, None, read, &mut notes) {
            Ok(settings) => show(&settings),
            Err(error) => error.to_string(),
        };
        for note in notes {
            let weight = if note.is_harmless { "harmless " } else { "" };
            found += &format!("; {weight}{}: {}", note.key, note.text);
        }
        assert_eq!(found, expected, "{text:?} {defines:?}");
    }

    #[test]
    fn values_are_checked_by_name_place_and_expectation() {
        const OPERATED: &str =
            "dataDir=/d\nensemble.id=0d4ff1a2-9f8b-4d1c-8a77-1d1f2f1c9a10\nensemble.adminTokenFile=/t";
        const ID: &str = "0d4ff1a2-9f8b-4d1c-8a77-1d1f2f1c9a11";
        const RECOVERY: &str =
            "\nensemble.recovery.volume=0d4ff1a2-9f8b-4d1c-8a77-1d1f2f1c9a12\nensemble.recovery.epoch=2147483647";
        const ALONE: &str = "ensemble.id: needs a server.N line for every server of the ensemble and, where there is one only, \
                             standaloneEnabled=false; a standalone server would serve without a grant";
        let fine = |_: &Settings| "fine".to_owned();
        for (text, expected) in [
            ("clientPort=2181", "dataDir is missing: snapshots and myid live there"),
            ("dataDir=/d\nclientPort=http", "clientPort (line 2): \"http\" is not a port between 0 and 65535"),
            ("dataDir=/d\ntickTime=0", "tickTime (line 2): \"0\" is not a number of milliseconds from 1 to 3600000"),
            (
                "dataDir=/d\ntickTime=3600001",
                "tickTime (line 2): \"3600001\" is not a number of milliseconds from 1 to 3600000",
            ),
            (
                "dataDir=/d\nglobalOutstandingLimit=0",
                "globalOutstandingLimit (line 2): \"0\" is not a number, at least 1",
            ),
            ("dataDir=/d\ninitLimit=x", "initLimit (line 2): \"x\" is not a number of ticks from 1 to 1048576"),
            (
                "dataDir=/d\nminSessionTimeout=10\nmaxSessionTimeout=9",
                "minSessionTimeout (10) is greater than maxSessionTimeout (9)",
            ),
            ("dataDir=/d\nquorumListenOnAllIPs=1", "quorumListenOnAllIPs (line 2): \"1\" is not true or false"),
            (
                "dataDir=/d\nelectionAlg=1",
                "electionAlg (line 2): \"1\" is not supported (only \"3\" is): ZooKeeper has no other election any more",
            ),
            ("dataDir=/d\nelectionAlg=3", "fine"),
            (
                "dataDir=/d\nsecureClientPort=2281",
                "secureClientPort (line 2): \"2281\" is not supported: There is no TLS for clients yet",
            ),
            ("dataDir=/d\nreconfigEnabled=1", "reconfigEnabled (line 2): \"1\" is not true or false"),
            (
                "dataDir=/d\nssl.keyStore.location=/k",
                "ssl.keyStore.location (line 2): \"/k\" is not supported: There is no TLS yet, neither for clients nor between servers; the admin port takes some keys of `ssl.quorum.`",
            ),
            ("dataDir=/d\nserver.1=h:1:2\ngroup.1=1:x", "line 3: group.1: \"x\" is not the number of a server"),
            ("dataDir=/d\nserver.1=h:1:2\nserver.2=h:3:4\ngroup.1=1\nweight.1=2", "server 2 is in no group"),
            ("dataDir=/d\nweight.1=2", "no participant among the servers"),
            (
                "dataDir=/d\nnio.numWorkerThreads=4",
                "fine; harmless nio.numWorkerThreads: has no effect: One thread serves every connection",
            ),
            ("dataDir=/d\n4lw.commands.whitelist=ruok, mntr,*", "fine"),
            (
                "dataDir=/d\n4lw.commands.whitelist=ruok, wchp,cons ,nope,*",
                "fine; 4lw.commands.whitelist: ZooKeeper has no such word: nope",
            ),
            (
                "dataDir=/d\nsnapshot.compression.method=zip",
                "snapshot.compression.method (line 2): \"zip\" is not gz, snappy, or nothing for plain files",
            ),
            ("dataDir=/d\nfoo=bar", "fine; foo: unknown key, it has no effect"),
            ("dataDir=/d\ntickTime=1\ntickTime=2", "fine; tickTime: given twice, the last one counts"),
            ("dataDir=/d\nserver.1=h:2888", "line 2: server.1: \"\" is not an election port between 1 and 65535"),
            ("dataDir=/d\nserver.1=h:1:2\nserver.2=h:3:4", "initLimit is missing: an ensemble needs it"),
            (
                "dataDir=/d\nserver.1=h:1:2\ninitLimit=5\nsyncLimit=2\nstandaloneEnabled=false\nserver.1=h:1:2:observer",
                "no participant among the servers; server.1: given twice, the last one counts",
            ),
            (
                "dataDir=/d\nserver.1=h:1:2\nserver.2=h:3:4:observer\ninitLimit=5\nsyncLimit=2",
                "standaloneEnabled: a single participant would serve alone, without its observers; set it to false",
            ),
            ("dataDir=/d\npeerType=king", "peerType (line 2): \"king\" is not participant or observer"),
            ("dataDir=/d\ndynamicConfigFile=/z/none", "cannot read /z/none: entity not found"),
            (
                "dataDir=/d\ndynamicConfigFile=/z/dynamic.1f\nserver.1=h:1:2",
                "server.1 (line 3): belongs into /z/dynamic.1f, the dynamicConfigFile",
            ),
            (
                "dataDir=/d\ndynamicConfigFile=/z/wrong",
                "/z/wrong: a version line: the version of this file is in its name",
            ),
            ("dataDir=/d\nensemble.id=x", "ensemble.id (line 2): \"x\" is not a UUID"),
            (
                "dataDir=/d\nensemble.id=0d4ff1a2-9f8b-4d1c-8a77-1d1f2f1c9a10",
                "ensemble.adminTokenFile is missing: ensemble.id needs it, for POST /bootstrap",
            ),
            (OPERATED, ALONE),
            (&format!("{OPERATED}\nserver.1=h:1:2"), ALONE),
            (&format!("{OPERATED}\nserver.1=h:1:2\nstandaloneEnabled=false\ninitLimit=5\nsyncLimit=2"), "fine"),
            ("dataDir=/d\nensemble.member=zk-{ordinal}:1:2", "ensemble.member (line 2): needs ensemble.id"),
            ("dataDir=/d\nensemble.recovery.epoch=1", "ensemble.recovery.epoch: needs ensemble.id"),
            (
                &format!("{OPERATED}\nensemble.recovery.from={ID}\nensemble.recovery.epoch=1"),
                "ensemble.recovery.from: needs ensemble.recovery.from, ensemble.recovery.volume, ensemble.recovery.epoch too",
            ),
            (
                &format!("{OPERATED}\nensemble.recovery.from=x{RECOVERY}"),
                "ensemble.recovery.from (line 4): \"x\" is not a UUID",
            ),
            (
                &format!("{OPERATED}\nensemble.recovery.from={ID}{RECOVERY}"),
                "ensemble.recovery.from: needs reconfigEnabled=true",
            ),
            (
                &format!("{OPERATED}\nreconfigEnabled=true\nensemble.recovery.from={ID}{RECOVERY}"),
                "ensemble.recovery.epoch (line 7): \"2147483647\" is not an epoch from 0 to 2147483646",
            ),
            (
                &format!("{OPERATED}\nensemble.member=zk:1:2"),
                "ensemble.member (line 4): \"zk:1:2\" is not the line of a server with {ordinal} in it",
            ),
            (
                &format!("{OPERATED}\nensemble.member=zk-{{ordinal}}:1"),
                "line 4: ensemble.member: \"\" is not an election port between 1 and 65535",
            ),
        ] {
            check(text, &[], fine, expected);
        }
    }

    #[test]
    fn properties_come_from_the_command_line_and_the_file_wins() {
        let show = |s: &Settings| format!("snapCount {} frame {}", s.storage.snap_count, s.frame_bytes_max);
        let file = "dataDir=/d";
        check(file, &[], show, "snapCount 100000 frame 1048575");
        check(file, &["zookeeper.snapCount=7", "jute.maxbuffer=99"], show, "snapCount 7 frame 99");
        check("dataDir=/d\nsnapCount=8", &["zookeeper.snapCount=7"], show, "snapCount 8 frame 1048575");
        check(
            file,
            &["snapCount=7", "zookeeper.tickTime=1"],
            show,
            "snapCount 100000 frame 1048575; -DsnapCount: unknown property, it has no effect; \
             -Dzookeeper.tickTime: unknown property, it has no effect",
        );
        check(
            file,
            &["zookeeper.ssl.protocol=TLSv1.3"],
            show,
            "ssl.protocol (command line): \"TLSv1.3\" is not supported: There is no TLS yet, neither for clients nor between servers; the admin port takes \
             some keys of `ssl.quorum.`",
        );
    }

    #[test]
    fn the_servers_may_stand_in_a_file_of_their_own() {
        let show = |s: &Settings| s.ensemble.membership.to_string();
        let text = "dataDir=/d\ndynamicConfigFile=/z/dynamic.1f\nstandaloneEnabled=false\ninitLimit=5\nsyncLimit=2";
        check(text, &[], show, "server.1=h:1:2:participant\nserver.2=h:3:4:observer\nversion=1f");
    }

    #[test]
    fn the_hash_is_of_every_line_but_those_of_the_servers() {
        let show = |s: &Settings| s.config_hash.clone();
        let hash = "ebd845063bf9617d0442fa9bd1c5223614245da194be5d8bff83c0ce1ae0fb79";
        check("# c\ntickTime=2000\nserver.1=a:1:2;3\ndataDir=/data\n", &[], show, hash);
    }

    #[test]
    fn groups_and_weights_are_read_with_the_servers() {
        let show = |s: &Settings| s.ensemble.membership.without_version();
        let servers = "server.1=h:1:2:participant\nserver.2=h:3:4:participant";
        let text = format!("dataDir=/d\ninitLimit=5\nsyncLimit=2\ngroup.7=1:2\n{servers}\nweight.2=0");
        check(&text, &[], show, &format!("group.7=1:2\n{servers}\nweight.1=1\nweight.2=0"));
    }

    #[test]
    fn defaults_are_those_of_zookeeper() {
        let show = |s: &Settings| {
            format!(
                "{:?} {}..{} {} {} {:?} standalone {} whitelist {}",
                s.tick,
                s.session_timeout_min_ms,
                s.session_timeout_max_ms,
                s.max_client_cnxns,
                s.global_outstanding_limit,
                s.sessionless_timeout,
                s.standalone,
                s.four_letter_whitelist,
            )
        };
        check("dataDir=/d\nclientPort=0", &[], show, "3s 6000..60000 60 1000 10s standalone true whitelist srvr");
        let one = "dataDir=/d\nserver.1=h:1:2\ninitLimit=5\nsyncLimit=2\ntickTime=100\n4lw.commands.whitelist=*";
        check(one, &[], show, "100ms 200..2000 60 1000 10s standalone true whitelist *");
        let grows = format!("{one}\nstandaloneEnabled=false");
        check(&grows, &[], show, "100ms 200..2000 60 1000 10s standalone false whitelist *");
    }
}
