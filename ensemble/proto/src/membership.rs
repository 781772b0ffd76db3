//! Who belongs to the ensemble: the `server.N` lines of `zoo.cfg`, which are also the configuration text that servers
//! exchange in notifications and NEWLEADER (`QuorumVerifier.toString`, `QuorumPeer.QuorumServer`).
//!
//! ```text
//! server.1=zk-0.example:2888:3888:participant;0.0.0.0:2181
//! server.2=[2001:db8::2]:2888:3888:observer
//! version=100000000
//! ```
//!
//! Majorities are the only quorums: `group.` and `weight.` lines are refused by name, as are several addresses for one
//! server (`multiAddress.enabled`).

use crate::{ServerId, Zxid};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// The servers of an ensemble at one configuration version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// Zxid of the reconfiguration that made it; 0 for the configuration of the static file.
    pub version: Zxid,
    /// The servers by id.
    pub servers: BTreeMap<ServerId, Member>,
}

/// One server's addresses and role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// Port of proposals and acknowledgements.
    pub quorum_port: u16,
    /// Port of notifications.
    pub election_port: u16,
    /// Whether it votes.
    pub role: MemberRole,
    /// Address for clients, when the configuration names it. A missing host reads as `0.0.0.0`.
    pub client: Option<ClientAddress>,
}

/// Where a server listens for clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientAddress {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// `LearnerType`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MemberRole {
    /// Votes and acknowledges.
    Participant,
    /// Learns only.
    Observer,
}

/// A line that is not a server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MembershipError {
    /// The key is none that a configuration may hold.
    #[error("{key}: expected server.N or version")]
    UnknownKey {
        /// The key found.
        key: String,
    },
    /// A feature of ZooKeeper that is not supported.
    #[error("{key}: {feature} is not supported")]
    Unsupported {
        /// The key found.
        key: String,
        /// The feature it asks for.
        feature: &'static str,
    },
    /// The value cannot be read.
    #[error("{key}: {found:?} is not {expected}")]
    Value {
        /// The key.
        key: String,
        /// The value, or the part of it that is wrong.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// The same server twice.
    #[error("server.{0} is defined twice")]
    Duplicate(ServerId),
    /// No voting server.
    #[error("no participant among the servers")]
    NoParticipant,
}

impl Membership {
    /// Reads a configuration text: `server.N` and `version` lines, in any order.
    ///
    /// # Errors
    /// Names the first line that is wrong.
    pub fn parse(text: &str) -> Result<Membership, MembershipError> {
        let mut membership = Membership::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!'])) {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            membership.insert(key.trim(), value.trim())?;
        }
        membership.validate()?;
        Ok(membership)
    }

    /// Adds one `key=value` line of a configuration text or of `zoo.cfg`.
    ///
    /// # Errors
    /// Names the key.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), MembershipError> {
        if key == "version" {
            let version = i64::from_str_radix(value, 16).map_err(|_| wrong(key, value, "a hexadecimal version"))?;
            self.version = Zxid(version);
            return Ok(());
        }
        if key.starts_with("group") || key.starts_with("weight") {
            return Err(MembershipError::Unsupported { key: key.to_owned(), feature: "a hierarchical quorum" });
        }
        let Some(id) = key.strip_prefix("server.") else {
            return Err(MembershipError::UnknownKey { key: key.to_owned() });
        };
        let id = id.parse().ok().filter(|id| *id >= 0).map(ServerId);
        let id = id.ok_or_else(|| wrong(key, key, "server.N with a number N"))?;
        let member = Member::parse(key, value)?;
        match self.servers.insert(id, member) {
            None => Ok(()),
            Some(_) => Err(MembershipError::Duplicate(id)),
        }
    }

    /// Checks what single lines cannot show.
    ///
    /// # Errors
    /// When no server votes.
    pub fn validate(&self) -> Result<(), MembershipError> {
        match self.voters().next() {
            Some(_) => Ok(()),
            None => Err(MembershipError::NoParticipant),
        }
    }

    /// The configuration text, as ZooKeeper renders it.
    pub fn render(&self) -> String {
        self.to_string()
    }

    /// The servers that vote, ascending.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.servers.iter().filter(|(_, member)| member.role == MemberRole::Participant).map(|(id, _)| *id)
    }

    /// Whether this server votes.
    pub fn is_voter(&self, id: ServerId) -> bool {
        self.servers.get(&id).is_some_and(|member| member.role == MemberRole::Participant)
    }
}

/// The configuration text, as ZooKeeper renders it: no newline at the end.
impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, member) in &self.servers {
            writeln!(f, "server.{id}={member}")?;
        }
        write!(f, "version={:x}", self.version.0)
    }
}

impl Member {
    /// Reads the value of a `server.N` line; `key` is for errors.
    ///
    /// # Errors
    /// Names the part that is wrong.
    pub fn parse(key: &str, value: &str) -> Result<Member, MembershipError> {
        const SHAPE: &str = "host:quorumPort:electionPort[:role][;[clientHost:]clientPort]";
        if value.contains('|') {
            return Err(MembershipError::Unsupported { key: key.to_owned(), feature: "multiAddress" });
        }
        let (server, client) = match value.split_once(';') {
            Some((server, client)) => (server, Some(client)),
            None => (value, None),
        };
        let (host, rest) = split_host(server).ok_or_else(|| wrong(key, server, SHAPE))?;
        let mut parts = rest.split(':');
        let mut port = |what| {
            let text = parts.next().unwrap_or_default();
            text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| wrong(key, text, what))
        };
        let quorum_port = port("a quorum port between 1 and 65535")?;
        let election_port = port("an election port between 1 and 65535")?;
        if quorum_port == election_port {
            return Err(wrong(key, server, "a server with different quorum and election ports"));
        }
        let role = match parts.next().map(str::to_ascii_lowercase).as_deref() {
            None | Some("participant") => MemberRole::Participant,
            Some("observer") => MemberRole::Observer,
            Some(other) => return Err(wrong(key, other, "participant or observer")),
        };
        if parts.next().is_some() {
            return Err(wrong(key, server, SHAPE));
        }
        let client = client.map(|client| ClientAddress::parse(key, client)).transpose()?;
        Ok(Member { host, quorum_port, election_port, role, client })
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            MemberRole::Participant => "participant",
            MemberRole::Observer => "observer",
        };
        write!(f, "{}:{}:{}:{role}", Host(&self.host), self.quorum_port, self.election_port)?;
        match &self.client {
            Some(client) => write!(f, ";{}:{}", Host(&client.host), client.port),
            None => Ok(()),
        }
    }
}

impl ClientAddress {
    fn parse(key: &str, text: &str) -> Result<ClientAddress, MembershipError> {
        let (host, port) = match split_host(text) {
            Some((host, port)) => (host, port),
            None => ("0.0.0.0".to_owned(), text),
        };
        let port = port.parse().map_err(|_| wrong(key, port, "a client port between 0 and 65535"))?;
        Ok(ClientAddress { host, port })
    }
}

/// A host as it stands before a colon: IPv6 addresses in brackets.
struct Host<'a>(&'a str);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.contains(':') {
            true => write!(f, "[{}]", self.0),
            false => f.write_str(self.0),
        }
    }
}

/// Splits `host:rest`, where the host may be an IPv6 address in brackets.
fn split_host(text: &str) -> Option<(String, &str)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once("]:")?,
        None => text.split_once(':')?,
    };
    if host.is_empty() { None } else { Some((host.to_owned(), rest)) }
}

fn wrong(key: &str, found: &str, expected: &'static str) -> MembershipError {
    MembershipError::Value { key: key.to_owned(), found: found.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_rendered_as_it_is_read() {
        let text = "server.1=zk-0.example:2888:3888:participant;0.0.0.0:2181\n\
                    server.2=[2001:db8::2]:2888:3888:observer\nversion=100000000";
        let membership = Membership::parse(text).unwrap();
        assert_eq!(membership.to_string(), text);
        assert_eq!(membership.voters().collect::<Vec<_>>(), [ServerId(1)]);
        assert!(!membership.is_voter(ServerId(2)) && !membership.is_voter(ServerId(3)));
    }

    #[test]
    fn what_may_be_left_out_has_its_default() {
        let check = |value: &str, rendered: &str| {
            assert_eq!(Member::parse("server.1", value).unwrap().to_string(), rendered, "{value}");
        };
        check("a:1:2", "a:1:2:participant");
        check("a:1:2:OBSERVER", "a:1:2:observer");
        check("a:1:2;2181", "a:1:2:participant;0.0.0.0:2181");
        check("a:1:2:observer;[::1]:2181", "a:1:2:observer;[::1]:2181");
    }

    #[test]
    fn a_wrong_line_is_named() {
        let check = |text: &str, message: &str| {
            assert_eq!(Membership::parse(text).unwrap_err().to_string(), message, "{text}");
        };
        check("server.1=a:1", "server.1: \"\" is not an election port between 1 and 65535");
        check("server.1=a:1:1", "server.1: \"a:1:1\" is not a server with different quorum and election ports");
        check("server.1=a:1:2:king", "server.1: \"king\" is not participant or observer");
        check("server.1=a:1:2;x", "server.1: \"x\" is not a client port between 0 and 65535");
        check("server.x=a:1:2", "server.x: \"server.x\" is not server.N with a number N");
        check("server.1=a:1:2|b:1:2", "server.1: multiAddress is not supported");
        check("server.1=a:1:2\nserver.1=a:1:2", "server.1 is defined twice");
        check("group.1=1:2", "group.1: a hierarchical quorum is not supported");
        check("weight.1=2", "weight.1: a hierarchical quorum is not supported");
        check("nonsense=1", "nonsense: expected server.N or version");
        check("server.1=a:1:2:observer", "no participant among the servers");
        check("version=xyz", "version: \"xyz\" is not a hexadecimal version");
    }
}
