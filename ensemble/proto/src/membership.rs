//! Who belongs to the ensemble and how much its word counts: the `server.N`, `group.G` and `weight.N` lines of `zoo.cfg`.
//!
//! They are also the **configuration text** that servers exchange in notifications and NEWLEADER, that `/zookeeper/config`
//! holds, and that the dynamic configuration files keep (`QuorumVerifier.toString`, `QuorumPeer.QuorumServer`,
//! `QuorumPeerConfig.writeDynamicConfig`):
//!
//! ```text
//! server.1=zk-0.example:2888:3888:participant;0.0.0.0:2181
//! server.2=[2001:db8::2]:2888:3888:observer
//! version=100000000
//! ```
//!
//! Without groups a majority of the participants is a quorum. With them it is a majority of the groups, in each of them a
//! majority of the weight (`QuorumHierarchical`); every participant is then in exactly one group, and weighs 1 unless a
//! `weight.N` line says otherwise.
//!
//! Several addresses for one server (`multiAddress.enabled`) are refused by name.

use crate::{ServerId, Zxid, properties};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use thiserror::Error;

/// The servers of an ensemble at one configuration version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// Zxid of the reconfiguration that made it; 0 for the configuration of the static file.
    pub version: Zxid,
    /// The servers by id.
    pub servers: BTreeMap<ServerId, Member>,
    /// Groups of participants by number; none for majority quorums.
    pub groups: BTreeMap<i64, BTreeSet<ServerId>>,
    /// What each participant weighs within its group, from 0 to [`WEIGHT_MAX`]; none without groups.
    pub weights: BTreeMap<ServerId, i64>,
}

/// Most that one server may weigh, so that no sum of weights overflows.
pub const WEIGHT_MAX: i64 = i32::MAX as i64;

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
    #[error("{key}: expected server.N, group.G, weight.N or version")]
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
    /// The same line twice.
    #[error("{key} is defined twice")]
    Duplicate {
        /// The key.
        key: String,
    },
    /// A server in two groups.
    #[error("server {0} is in more than one group")]
    SeveralGroups(ServerId),
    /// There are groups, or weights, and a participant is in no group.
    #[error("server {0} is in no group")]
    NoGroup(ServerId),
    /// A group has a member that has no vote.
    #[error("group.{group}: server {server} is no participant")]
    NotParticipant {
        /// The group's number.
        group: i64,
        /// The member.
        server: ServerId,
    },
    /// Nobody weighs anything: no quorum is possible.
    #[error("every participant has weight 0")]
    NoWeight,
    /// No voting server.
    #[error("no participant among the servers")]
    NoParticipant,
}

impl Membership {
    /// Reads a configuration text: `server.N`, `group.G`, `weight.N` and `version` lines, in any order, by the rules of
    /// [`properties`].
    ///
    /// # Errors
    /// Names the first line that is wrong.
    pub fn parse(text: &str) -> Result<Membership, MembershipError> {
        let mut membership = Membership::default();
        for property in properties::parse(text) {
            membership.insert(&property.key, &property.value)?;
        }
        membership.complete()
    }

    /// Adds one `key=value` line of a configuration text or of `zoo.cfg`. After the last one comes [`Membership::complete`].
    ///
    /// # Errors
    /// Names the key.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), MembershipError> {
        let is_new = if let Some(number) = key.strip_prefix("server.") {
            let id = server_id(number).ok_or_else(|| wrong(key, key, "server.N with a number N"))?;
            self.servers.insert(id, Member::parse(key, value)?).is_none()
        } else if let Some(number) = key.strip_prefix("group.") {
            let group = number.parse().map_err(|_| wrong(key, key, "group.G with a number G"))?;
            let id = |text: &str| server_id(text.trim()).ok_or_else(|| wrong(key, text, "the number of a server"));
            let members = value.split(':').map(id).collect::<Result<Vec<_>, _>>()?;
            let set: BTreeSet<_> = members.iter().copied().collect();
            if let Some(twice) = members.iter().find(|id| members.iter().filter(|other| other == id).count() > 1) {
                return Err(MembershipError::SeveralGroups(*twice));
            }
            self.groups.insert(group, set).is_none()
        } else if let Some(number) = key.strip_prefix("weight.") {
            let id = server_id(number).ok_or_else(|| wrong(key, key, "weight.N with a number N"))?;
            let weight = value.parse().ok().filter(|weight| (0..=WEIGHT_MAX).contains(weight));
            self.weights.insert(id, weight.ok_or_else(|| wrong(key, value, WEIGHT))?).is_none()
        } else if key == "version" {
            let version = i64::from_str_radix(value, 16).map_err(|_| wrong(key, value, "a hexadecimal version"))?;
            self.version = Zxid(version);
            true
        } else {
            return Err(MembershipError::UnknownKey { key: key.to_owned() });
        };
        match is_new {
            true => Ok(()),
            false => Err(MembershipError::Duplicate { key: key.to_owned() }),
        }
    }

    /// Checks what single lines cannot show, and gives every participant of a group its weight.
    ///
    /// Differs from ZooKeeper: a group may not name a server without a vote, whose weight could never be reached.
    ///
    /// # Errors
    /// When no server votes, or the groups do not divide the participants.
    pub fn complete(mut self) -> Result<Membership, MembershipError> {
        if self.voters().next().is_none() {
            return Err(MembershipError::NoParticipant);
        }
        if self.groups.is_empty() && self.weights.is_empty() {
            return Ok(self);
        }
        let mut grouped = BTreeSet::new();
        for (group, members) in &self.groups {
            for server in members {
                if !self.is_voter(*server) {
                    return Err(MembershipError::NotParticipant { group: *group, server: *server });
                }
                if !grouped.insert(*server) {
                    return Err(MembershipError::SeveralGroups(*server));
                }
            }
        }
        if let Some(server) = self.voters().find(|id| !grouped.contains(id)) {
            return Err(MembershipError::NoGroup(server));
        }
        for server in &grouped {
            self.weights.entry(*server).or_insert(1);
        }
        match grouped.iter().any(|server| self.weight(*server) > 0) {
            true => Ok(self),
            false => Err(MembershipError::NoWeight),
        }
    }

    /// The configuration text, as ZooKeeper renders it.
    pub fn render(&self) -> String {
        self.to_string()
    }

    /// The text of the dynamic configuration file, whose name tells the version: every line but that one, sorted as text, no
    /// newline at the end (`QuorumPeerConfig.writeDynamicConfig`).
    pub fn without_version(&self) -> String {
        let mut lines = self.lines();
        lines.sort_unstable();
        lines.join("\n")
    }

    /// The text of the file of the last-seen configuration: as [`Membership::without_version`], with the version among the lines.
    pub fn with_version(&self) -> String {
        let mut lines = self.lines();
        lines.push(self.version_line());
        lines.sort_unstable();
        lines.join("\n")
    }

    /// Whether both have the same servers, at the same addresses and in the same roles, and the same quorums. The version does not
    /// count.
    pub fn same_members(&self, other: &Membership) -> bool {
        self.servers == other.servers && self.groups == other.groups && self.weights == other.weights
    }

    /// Whether quorums are counted by groups.
    pub fn is_hierarchical(&self) -> bool {
        !self.groups.is_empty()
    }

    /// What a participant weighs within its group: 1 unless a line says otherwise.
    pub fn weight(&self, id: ServerId) -> i64 {
        self.weights.get(&id).copied().unwrap_or(1)
    }

    /// Every line but the version's, as ZooKeeper orders them.
    fn lines(&self) -> Vec<String> {
        let servers = self.servers.iter().map(|(id, member)| format!("server.{id}={member}"));
        let groups = self.groups.iter().map(|(group, members)| {
            let members: Vec<_> = members.iter().map(ServerId::to_string).collect();
            format!("group.{group}={}", members.join(":"))
        });
        let weights = self.weights.iter().map(|(id, weight)| format!("weight.{id}={weight}"));
        servers.chain(groups).chain(weights).collect()
    }

    fn version_line(&self) -> String {
        format!("version={:x}", self.version.0)
    }

    /// The servers that vote, ascending.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.servers.iter().filter(|(_, member)| member.role == MemberRole::Participant).map(|(id, _)| *id)
    }

    /// Whether this server only observes.
    pub fn is_observer(&self, id: ServerId) -> bool {
        self.servers.get(&id).is_some_and(|member| member.role == MemberRole::Observer)
    }

    /// Whether this server votes.
    pub fn is_voter(&self, id: ServerId) -> bool {
        self.servers.get(&id).is_some_and(|member| member.role == MemberRole::Participant)
    }
}

/// The configuration text, as ZooKeeper renders it: no newline at the end.
impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.lines() {
            writeln!(f, "{line}")?;
        }
        f.write_str(&self.version_line())
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

    /// Whether the other servers reach it in the same place: host, quorum port and election port.
    pub fn same_addresses(&self, other: &Member) -> bool {
        (&self.host, self.quorum_port, self.election_port) == (&other.host, other.quorum_port, other.election_port)
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

/// The number of a server: not negative.
fn server_id(text: &str) -> Option<ServerId> {
    text.parse().ok().filter(|id| *id >= 0).map(ServerId)
}

/// What a `weight.N` line needs.
const WEIGHT: &str = "a weight between 0 and 2147483647";

/// A host as it stands before a colon: IPv6 addresses in brackets.
pub struct Host<'a>(pub &'a str);

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
        assert_eq!([1, 2, 3].map(|id| membership.is_observer(ServerId(id))), [false, true, false]);
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
        check("nonsense=1", "nonsense: expected server.N, group.G, weight.N or version");
        check("groups=1", "groups: expected server.N, group.G, weight.N or version");
        check("group.x=1", "group.x: \"group.x\" is not group.G with a number G");
        check("group.1=1::2", "group.1: \"\" is not the number of a server");
        check("group.1=", "group.1: \"\" is not the number of a server");
        check("weight.-1=1", "weight.-1: \"weight.-1\" is not weight.N with a number N");
        check("weight.1=-1", "weight.1: \"-1\" is not a weight between 0 and 2147483647");
        check("weight.1=2147483648", "weight.1: \"2147483648\" is not a weight between 0 and 2147483647");
        let pair = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\n";
        check(&format!("{pair}group.1=1\ngroup.1=2"), "group.1 is defined twice");
        check(&format!("{pair}group.1=1:2\ngroup.2=2"), "server 2 is in more than one group");
        check(&format!("{pair}group.1=1:2:1"), "server 1 is in more than one group");
        check(&format!("{pair}group.1=1"), "server 2 is in no group");
        check(&format!("{pair}weight.1=1"), "server 1 is in no group");
        check(&format!("{pair}group.1=1:2:3"), "group.1: server 3 is no participant");
        check(&format!("{pair}group.1=1:2:4"), "group.1: server 4 is no participant");
        check(&format!("{pair}group.1=1:2\nweight.1=0\nweight.2=0"), "every participant has weight 0");
        check("server.1=a:1:2:observer", "no participant among the servers");
        check("version=xyz", "version: \"xyz\" is not a hexadecimal version");
    }
    #[test]
    fn groups_and_weights_are_rendered_as_java_renders_them() {
        let text = "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.10=c:1:2:participant\n\
                    group.1=1:10\ngroup.2=2\nweight.1=3\nweight.2=0\nweight.10=1\nversion=2f";
        let without_the_default = text.replace("weight.10=1\n", "");
        let membership = Membership::parse(&without_the_default).unwrap();
        assert_eq!(membership.to_string(), text);
        assert!(membership.is_hierarchical());
        assert_eq!([1, 2, 10].map(|id| membership.weight(ServerId(id))), [3, 0, 1]);
        // Sorted as text: 10 before 1, because of the sign behind it.
        let file = "group.1=1:10\ngroup.2=2\nserver.10=c:1:2:participant\nserver.1=a:1:2:participant\n\
                    server.2=b:1:2:participant\nweight.10=1\nweight.1=3\nweight.2=0";
        assert_eq!(membership.without_version(), file);
        assert_eq!(membership.with_version(), file.replace("\nweight.10=", "\nversion=2f\nweight.10="));
        assert_eq!(Membership::parse(&membership.with_version()).unwrap(), membership);
    }

    #[test]
    fn members_are_the_same_whatever_the_version() {
        let parse = |text: &str| Membership::parse(&text.replace(' ', "\n")).unwrap();
        let one = parse("server.1=a:1:2;3 server.2=b:1:2 group.1=1:2 version=1");
        assert!(one.same_members(&parse("server.2=b:1:2 server.1=a:1:2;3 group.1=1:2 weight.2=1 version=2")));
        for other in [
            "server.1=a:1:2;3 group.1=1",
            "server.1=a:1:2;3 server.2=b:1:2",
            "server.1=a:1:2;3 server.2=b:1:2 group.2=1:2",
            "server.1=a:1:2;3 server.2=b:1:2 group.1=1:2 weight.1=2",
            "server.1=a:1:2;4 server.2=b:1:2 group.1=1:2",
            "server.1=a:1:2;3 server.2=b:1:3 group.1=1:2",
        ] {
            assert!(!one.same_members(&parse(other)), "{other}");
        }
        let member = |text| Member::parse("server.1", text).unwrap();
        assert!(member("a:1:2;3").same_addresses(&member("a:1:2:observer;4")));
        for other in ["b:1:2", "a:3:2", "a:1:3"] {
            assert!(!member("a:1:2").same_addresses(&member(other)), "{other}");
        }
    }

    #[test]
    fn a_text_is_read_by_the_rules_of_properties() {
        let text = "# a comment\n! another\n server.1 : a:1:2 \nserver.2 b:1:\\\n  2:observer\n\nversion = A";
        let expected = "server.1=a:1:2:participant\nserver.2=b:1:2:observer\nversion=a";
        assert_eq!(Membership::parse(text).unwrap().to_string(), expected);
    }
}
