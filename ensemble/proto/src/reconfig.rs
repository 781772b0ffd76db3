//! Dynamic reconfiguration: what the request says, which configuration it makes, and how a proposal is known to be one
//! (`PrepRequestProcessor`, `ReconfigRequest`).
//!
//! The new configuration is the data of `/zookeeper/config`, and the version in its text is the zxid of its transaction. That is
//! how servers learn of it: from the proposal, from the log, and from the state.

use crate::client::OpCode;
use crate::jute::{Reader, Writer};
use crate::membership::{ClientAddress, Member, Membership, MembershipError};
use crate::txn::{Txn, TxnHeader, TxnRecord};
use crate::{DecodeError, ServerId, Zxid};
use bytes::Bytes;
use std::str;
use thiserror::Error;

/// A request to change the ensemble. With `members` it names the whole new ensemble, otherwise who joins and who leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReconfigRequest {
    /// `server.N=` lines of who joins or changes, separated by commas.
    pub joining: Option<String>,
    /// Ids of who leaves, separated by commas.
    pub leaving: Option<String>,
    /// Every line of the new configuration, separated by commas or line ends.
    pub members: Option<String>,
    /// The version that it is meant for; -1 for any.
    pub from_version: i64,
}

impl ReconfigRequest {
    /// Reads the record.
    ///
    /// # Errors
    /// When the bytes end early, or a text is not UTF-8.
    pub fn decode(reader: &mut Reader<'_>) -> Result<ReconfigRequest, DecodeError> {
        Ok(ReconfigRequest {
            joining: reader.nullable_string("reconfig.joiningServers")?,
            leaving: reader.nullable_string("reconfig.leavingServers")?,
            members: reader.nullable_string("reconfig.newMembers")?,
            from_version: reader.long("reconfig.curConfigId")?,
        })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        for text in [&self.joining, &self.leaving, &self.members] {
            out.buffer(text.as_deref().map(str::as_bytes));
        }
        out.long(self.from_version);
    }

    /// The configuration that it makes of `current`, under `version`.
    ///
    /// # Errors
    /// Names what is wrong with the request; the answer to each is BadArguments.
    pub fn apply(&self, current: &Membership, version: Zxid) -> Result<Membership, ReconfigError> {
        let mut next = match &self.members {
            Some(members) => Membership::parse(&members.replace(',', "\n"))?,
            None => self.increment(current)?,
        };
        next.version = version;
        Ok(next)
    }

    fn increment(&self, current: &Membership) -> Result<Membership, ReconfigError> {
        if current.is_hierarchical() {
            return Err(ReconfigError::Hierarchical);
        }
        let mut next = current.clone();
        for leaving in items(&self.leaving) {
            let id = leaving.parse().map_err(|_| ReconfigError::Leaving(leaving.to_owned()))?;
            next.servers.remove(&ServerId(id));
        }
        for joining in items(&self.joining) {
            let wrong = || ReconfigError::Joining(joining.to_owned());
            let (key, value) = joining.split_once('=').ok_or_else(wrong)?;
            let (key, value) = (key.trim(), value.trim());
            let number = key.rsplit('.').next().unwrap_or(key);
            let id = number.parse().ok().filter(|id| *id >= 0).map(ServerId).ok_or_else(wrong)?;
            let member = Member::parse(key, value)?;
            if member.client.is_none() {
                return Err(ReconfigError::NoClientAddress(id));
            }
            let mut others = next.servers.iter().filter(|(other, _)| **other != id);
            if let Some((other, _)) = others.find(|(_, other)| collide(&member, other)) {
                return Err(ReconfigError::Collision { id, other: *other });
            }
            next.servers.insert(id, member);
        }
        Ok(next.complete()?)
    }
}

/// A request that makes no configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReconfigError {
    /// Who joins and leaves does not say what becomes of groups.
    #[error("the configuration has groups: it can only be replaced as a whole")]
    Hierarchical,
    /// Not an id.
    #[error("{0:?} is not the id of a server that leaves")]
    Leaving(String),
    /// Not a line of a server.
    #[error("{0:?} is not server.N=host:quorumPort:electionPort[:role];[clientHost:]clientPort")]
    Joining(String),
    /// A server that joins says where it serves clients.
    #[error("server {0} has no client address")]
    NoClientAddress(ServerId),
    /// Two servers at one address.
    #[error("an address of server {id} is one of server {other}")]
    Collision {
        /// The server that joins.
        id: ServerId,
        /// The server that is there.
        other: ServerId,
    },
    /// A line is wrong.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The transaction cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The transaction's text has another version than its zxid.
    #[error("the configuration has version {version}, its transaction {zxid}")]
    Version {
        /// In the text.
        version: Zxid,
        /// In the header.
        zxid: Zxid,
    },
}

/// The configuration that a proposal's payload would make active; `None` when it is another transaction, or none.
///
/// # Errors
/// When it is a reconfiguration that cannot be understood.
pub fn proposed(payload: &Bytes) -> Result<Option<Membership>, ReconfigError> {
    match TxnHeader::decode(&mut Reader::new(payload)) {
        Ok((_, op)) if op == OpCode::Reconfig.code() => {}
        _ => return Ok(None),
    }
    let TxnRecord { header, txn, .. } = TxnRecord::decode(payload)?;
    let Txn::Reconfig(set) = txn else { return Ok(None) };
    let membership = parse(set.data.as_deref().unwrap_or_default())?;
    match membership.version == header.zxid {
        true => Ok(Some(membership)),
        false => Err(ReconfigError::Version { version: membership.version, zxid: header.zxid }),
    }
}

/// Reads the data of `/zookeeper/config`, or the text in NEWLEADER or a notification.
///
/// # Errors
/// [`ReconfigError::Decode`] when it is no text, [`ReconfigError::Membership`] when a line is wrong.
pub fn parse(text: &[u8]) -> Result<Membership, ReconfigError> {
    let text = str::from_utf8(text).map_err(|_| DecodeError::value("configuration", "bytes", "UTF-8"))?;
    Ok(Membership::parse(text)?)
}

fn items(list: &Option<String>) -> impl Iterator<Item = &str> {
    list.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|item| !item.is_empty())
}

/// Whether two servers have an address in common. One that every host has for itself says nothing
/// (`QuorumServer.checkAddressDuplicate`).
fn collide(one: &Member, other: &Member) -> bool {
    let addresses = |member: &Member| {
        let client = member.client.clone().map(|ClientAddress { host, port }| (host, port));
        [Some((member.host.clone(), member.quorum_port)), Some((member.host.clone(), member.election_port)), client]
    };
    let theirs = addresses(other);
    addresses(one).iter().flatten().any(|mine| !is_everywhere(&mine.0) && theirs.iter().flatten().any(|it| it == mine))
}

fn is_everywhere(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_unspecified() || address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::txn::SetDataTxn;
    use crate::{Epoch, SessionId};

    const CURRENT: &str = "server.1=a:1:2;3\nserver.2=b:1:2;3\nserver.3=c:1:2:observer;3\nversion=100000000";

    fn request(joining: &str, leaving: &str, members: &str) -> ReconfigRequest {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ReconfigRequest { joining: text(joining), leaving: text(leaving), members: text(members), from_version: -1 }
    }

    fn apply(current: &str, request: &ReconfigRequest) -> Result<String, String> {
        let current = Membership::parse(current).unwrap();
        let next = request.apply(&current, Zxid(0x1_0000_0005));
        next.map(|next| next.to_string().replace('\n', " ")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_is_read_as_it_is_written() {
        let mut bytes = Vec::new();
        let request = ReconfigRequest { from_version: 7, ..request("server.1=a:1:2;3", "", "x") };
        request.encode(&mut bytes);
        assert_eq!(ReconfigRequest::decode(&mut Reader::new(&bytes)), Ok(request));
        assert!(ReconfigRequest::decode(&mut Reader::new(&bytes[..bytes.len() - 1])).is_err());
    }

    #[test]
    fn servers_join_change_and_leave() {
        let check = |joining: &str, leaving: &str, expected: &str| {
            assert_eq!(apply(CURRENT, &request(joining, leaving, "")).as_deref(), Ok(expected), "{joining} {leaving}");
        };
        let (one, two) = ("server.1=a:1:2:participant;0.0.0.0:3", "server.2=b:1:2:participant;0.0.0.0:3");
        let three = "server.3=c:1:2:observer;0.0.0.0:3";
        check("", "3", &format!("{one} {two} version=100000005"));
        check("", " 3 , 9 ,", &format!("{one} {two} version=100000005"));
        let four = "server.4=d:1:2:participant;0.0.0.0:3";
        check("server.4=d:1:2;3", "2", &format!("{one} {three} {four} version=100000005"));
        check("4=d:1:2;3", "2", &format!("{one} {three} {four} version=100000005"));
        let promoted = "server.3=c:1:2:participant;0.0.0.0:9";
        check("server.3=c:1:2:participant;9", "", &format!("{one} {two} {promoted} version=100000005"));
        check("server.3=c:1:2:participant;9", "3", &format!("{one} {two} {promoted} version=100000005"));
    }

    #[test]
    fn a_whole_configuration_replaces_the_other_groups_and_all() {
        let members = "server.1=a:1:2;3,server.5=e:1:2\ngroup.1=1,group.2=5,version=77";
        let expected = "server.1=a:1:2:participant;0.0.0.0:3 server.5=e:1:2:participant group.1=1 group.2=5 \
                        weight.1=1 weight.5=1 version=100000005";
        assert_eq!(apply(CURRENT, &request("", "", members)).as_deref(), Ok(expected));
    }

    #[test]
    fn what_makes_no_configuration_is_named() {
        let check = |request: &ReconfigRequest, expected: &str| {
            assert_eq!(apply(CURRENT, request).unwrap_err(), expected, "{request:?}");
        };
        check(&request("", "x", ""), "\"x\" is not the id of a server that leaves");
        let shape = "is not server.N=host:quorumPort:electionPort[:role];[clientHost:]clientPort";
        check(&request("server.4", "", ""), &format!("\"server.4\" {shape}"));
        check(&request("server.x=d:1:2;3", "", ""), &format!("\"server.x=d:1:2;3\" {shape}"));
        check(&request("server.4=d:1:2", "", ""), "server 4 has no client address");
        check(&request("server.4=d:1;3", "", ""), "server.4: \"\" is not an election port between 1 and 65535");
        check(&request("", "1,2", ""), "no participant among the servers");
        check(&request("", "", "server.1=a:1:2,leader=1"), "leader: expected server.N, group.G, weight.N or version");
        let groups = format!("{}\ngroup.1=1:2", CURRENT.replace("server.3=c:1:2:observer;3\n", ""));
        let refused = apply(&groups, &request("", "2", "")).unwrap_err();
        assert_eq!(refused, "the configuration has groups: it can only be replaced as a whole");
    }

    #[test]
    fn two_servers_cannot_have_one_address_unless_every_host_has_it() {
        let check = |joining: &str, expected: Option<i64>| {
            let refused = expected.map(|other| format!("an address of server 4 is one of server {other}"));
            assert_eq!(apply(CURRENT, &request(joining, "", "")).err(), refused, "{joining}");
        };
        check("server.4=b:1:9;3", Some(2));
        check("server.4=b:9:1;3", Some(2));
        check("server.4=d:1:2;c:2", Some(3));
        check("server.4=b:7:8;3", None);
        check("server.4=d:1:2;0.0.0.0:3", None);
        // it may keep an address of its own
        let current = format!("{CURRENT}\nserver.4=localhost:1:2;3");
        assert!(apply(&current, &request("server.5=localhost:1:2;3", "", "")).is_ok());
        assert!(apply(&current, &request("server.4=localhost:1:2;4", "", "")).is_ok());
    }

    #[test]
    fn a_proposal_that_reconfigures_is_known_by_its_type() {
        let zxid = Zxid::new(Epoch(2), 9);
        let header = TxnHeader { session: SessionId(1), cxid: 2, zxid, time_ms: 3 };
        let record = |data: &str, txn: fn(SetDataTxn) -> Txn| {
            let data = Some(Bytes::copy_from_slice(data.as_bytes()));
            let set = SetDataTxn { path: "/zookeeper/config".to_owned(), data, version: -1 };
            TxnRecord { header, txn: txn(set), digest: None }.encode()
        };
        let text = "server.1=a:1:2:participant\nversion=200000009";
        let membership = Membership::parse(text).unwrap();
        assert_eq!(proposed(&record(text, Txn::Reconfig)), Ok(Some(membership)));
        assert_eq!(proposed(&record(text, Txn::SetData)), Ok(None));
        assert_eq!(proposed(&Bytes::from_static(b"anything else")), Ok(None));
        for (data, expected) in [
            ("server.1=a:1:2\nversion=8", "the configuration has version 0x8, its transaction 0x200000009"),
            ("nonsense", "nonsense: expected server.N, group.G, weight.N or version"),
        ] {
            assert_eq!(proposed(&record(data, Txn::Reconfig)).unwrap_err().to_string(), expected);
        }
        let cut = record(text, Txn::Reconfig).slice(..TxnHeader::BYTES + 2);
        assert!(matches!(proposed(&cut), Err(ReconfigError::Decode(_))));
    }
}
