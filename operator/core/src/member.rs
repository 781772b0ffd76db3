//! What a server answers to `GET /status` on its admin port (contract item C4).

use operator_api::Configuration;
use serde::{Deserialize, Serialize};

/// The answer of one server. Fields that the operator does not use are ignored.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Its version.
    pub version: String,
    /// Its id.
    pub myid: i32,
    /// The ensemble it belongs to.
    #[serde(default)]
    pub ensemble_id: Option<String>,
    /// The volume it runs on: a UUID drawn when the volume was first used.
    #[serde(default)]
    pub volume_id: Option<String>,
    /// Its role.
    pub role: Role,
    /// The leader it follows, or itself.
    #[serde(default)]
    pub leader: Option<i32>,
    /// Its current epoch.
    #[serde(default)]
    pub epoch: i64,
    /// The end of its log: `0x` and hexadecimal digits. None of a server that is too old to tell, and to take over a volume.
    #[serde(default)]
    pub logged_zxid: Option<String>,
    /// Whether its store holds the leader's history.
    pub store_state: StoreState,
    /// What it says of the files on its volumes.
    #[serde(default)]
    pub store: StoreFacts,
    /// The SHA-256 of the `zoo.cfg` that it loaded.
    #[serde(default)]
    pub config_hash: Option<String>,
    /// The committed configuration that it knows.
    #[serde(default)]
    pub config: MemberConfig,
    /// Whether its volume may vote.
    pub bootstrap: BootstrapState,
}

/// What a server says of the files on its volumes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StoreFacts {
    /// Their format. None from a server that does not say it.
    #[serde(default)]
    pub format_version: Option<u32>,
    /// Where damaged ones are kept, and why: the server holds less than it once acknowledged.
    #[serde(default)]
    pub set_aside: Option<String>,
}

impl MemberStatus {
    /// The epoch and the end of a history that the server trusts; none when it has none, or does not tell.
    pub fn history(&self) -> Option<(i64, i64)> {
        let zxid = operator_api::version_number(self.logged_zxid.as_deref()?)?;
        let is_trusted = self.store_state != StoreState::Uninitialized && self.store.set_aside.is_none();
        (is_trusted && zxid > 0).then_some((self.epoch, zxid))
    }
}

/// The committed configuration that a server knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MemberConfig {
    /// Its version: `0x` and hexadecimal digits; zero is what stood in `zoo.cfg`.
    #[serde(default)]
    pub version: String,
    /// A later one, proposed and not known to be committed.
    #[serde(default)]
    pub pending: Option<String>,
    /// Its lines, `server.N=…`.
    #[serde(default)]
    pub servers: Vec<String>,
}

impl MemberConfig {
    /// The version as a number.
    pub fn version(&self) -> Option<i64> {
        operator_api::version_number(&self.version)
    }

    /// Whether the configuration has a line for a server.
    pub fn names(&self, myid: i32) -> bool {
        self.lines().flatten().any(|(id, _)| id == myid)
    }

    /// The id and the value of each line; none for a line that cannot be read.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Option<(i32, &str)>> {
        self.servers.iter().map(|line| {
            let (id, value) = line.strip_prefix("server.")?.split_once('=')?;
            Some((id.trim().parse().ok()?, value))
        })
    }

    /// The ids of voters and observers, and the version. None when it cannot be read, or is not a committed one.
    pub fn read(&self) -> Option<Configuration> {
        let (mut voters, mut observers) = (Vec::new(), Vec::new());
        for line in self.lines() {
            let (id, value) = line?;
            if value.contains(":observer") { observers.push(id) } else { voters.push(id) }
        }
        let configuration = Configuration { version: self.version.clone(), voters, observers };
        (configuration.version()? > 0 && !configuration.voters.is_empty()).then_some(configuration)
    }
}

/// The role of a server.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It looks for a leader.
    Looking,
    /// It follows one.
    Following,
    /// It leads.
    Leading,
    /// It follows without a vote.
    Observing,
    /// It runs alone, without quorum ports.
    Standalone,
}

impl Role {
    /// The word in the answer and in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Looking => "looking",
            Self::Following => "following",
            Self::Leading => "leading",
            Self::Observing => "observing",
            Self::Standalone => "standalone",
        }
    }
}

/// Whether a store holds the leader's history.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum StoreState {
    /// The volume is empty, and waits to be told what it is.
    Uninitialized,
    /// It loads, or receives the leader's history.
    Syncing,
    /// It holds the leader's history.
    Synced,
}

impl StoreState {
    /// The word in the answer and in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uninitialized => "uninitialized",
            Self::Syncing => "syncing",
            Self::Synced => "synced",
        }
    }
}

/// Whether a volume may vote.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum BootstrapState {
    /// It is not asked: it holds history, or it takes it from a leader first.
    Closed,
    /// It is empty and waits for a grant, or for a leader that has history.
    AwaitingGrant,
    /// It was granted its vote while empty.
    Granted,
}
