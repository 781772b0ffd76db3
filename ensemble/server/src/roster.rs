//! Where the other servers are: by the active configuration, by the one seen last, or, for one that is to join and is in neither, by
//! its own word.
//!
//! While a reconfiguration is pending, both configurations must be reached (quorum-protocol 1.1): a server whose address changes is
//! tried at both. Whoever joins is a stranger to the members until a reconfiguration has made it one of them; they answer it, at the
//! address that it names when it connects.

use crate::config::{Endpoint, Settings};
use ensemble_proto::ServerId;
use ensemble_proto::membership::{Host, Member, MemberRole, Membership};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Servers in no configuration that are known at once. One more is turned away until one of them has joined or is not reached.
const STRANGERS_MAX: usize = 16;
/// The greatest id of a stranger: `myid` is at most this.
const STRANGER_ID_MAX: i64 = 255;

/// Who is where.
pub(crate) struct Roster {
    id: ServerId,
    /// This server's line; the last one that it had.
    own: Option<Member>,
    active: Membership,
    last_seen: Option<Membership>,
    /// The election ports of servers in neither configuration.
    strangers: BTreeMap<ServerId, Endpoint>,
    /// Whether the ensemble may change: otherwise nobody can join.
    reconfig: bool,
}

impl Roster {
    pub(crate) fn new(settings: &Settings) -> Roster {
        let ensemble = &settings.ensemble;
        Roster {
            id: settings.id,
            own: ensemble.own.clone(),
            active: ensemble.membership.clone(),
            last_seen: ensemble.last_seen.clone(),
            strangers: BTreeMap::new(),
            reconfig: ensemble.reconfig,
        }
    }

    /// This server.
    pub(crate) fn id(&self) -> ServerId {
        self.id
    }

    /// The active configuration.
    pub(crate) fn active(&self) -> &Membership {
        &self.active
    }

    /// Where a server's election port may be, the likeliest place first; nothing for a server of which nobody has told.
    pub(crate) fn election(&self, id: ServerId) -> Vec<Endpoint> {
        let places = self.places(id, |member| member.election_port);
        if places.is_empty() { self.strangers.get(&id).cloned().into_iter().collect() } else { places }
    }

    /// Where a leader's quorum port may be.
    pub(crate) fn quorum(&self, id: ServerId) -> Vec<Endpoint> {
        self.places(id, |member| member.quorum_port)
    }

    /// The followers of this leader that may take observers at this port; none for a server that does not observe.
    pub(crate) fn observer_masters(&self, port: u16, leader: ServerId) -> Vec<(ServerId, Endpoint)> {
        let active = &self.active;
        let observes = active.servers.get(&self.id).is_some_and(|own| own.role == MemberRole::Observer);
        let followers = active.voters().filter(|id| observes && *id != leader);
        let place = |id| Some((id, Endpoint { host: active.servers.get(&id)?.host.clone(), port }));
        followers.filter_map(place).collect()
    }

    /// What this server says of itself: the address of its election port.
    pub(crate) fn own_address(&self) -> String {
        self.own.as_ref().map(|own| address(&own.host, own.election_port)).unwrap_or_default()
    }

    /// Whether a server is in no configuration.
    pub(crate) fn is_stranger(&self, id: ServerId) -> bool {
        self.members(id).next().is_none()
    }

    /// Lets a server that connected take part, with the addresses that it named.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn admit(&mut self, id: ServerId, addresses: &[String]) -> Result<(), &'static str> {
        if !self.is_stranger(id) {
            return Ok(());
        }
        if !self.reconfig {
            return Err("it is not in the configuration, which cannot change (reconfigEnabled)");
        }
        if !(0..=STRANGER_ID_MAX).contains(&id.0) {
            return Err("it is not in the configuration, and its id is none that could join");
        }
        let Some(address) = addresses.iter().find_map(|address| endpoint(address)) else {
            return Err("it is not in the configuration, and names no address at which it can be reached");
        };
        if self.strangers.len() >= STRANGERS_MAX && !self.strangers.contains_key(&id) {
            return Err("it is not in the configuration, and too many others are neither");
        }
        self.strangers.insert(id, address);
        Ok(())
    }

    /// Forgets a server that is in no configuration and was not reached.
    pub(crate) fn forget(&mut self, id: ServerId) {
        self.strangers.remove(&id);
    }

    /// This configuration was proposed.
    pub(crate) fn expect(&mut self, membership: Membership) {
        self.last_seen = Some(membership);
    }

    /// This configuration is active; the servers whose election ports are elsewhere now.
    pub(crate) fn follow(&mut self, membership: Membership) -> Vec<ServerId> {
        let former = std::mem::replace(&mut self.active, membership);
        self.last_seen.take_if(|last_seen| last_seen.version <= self.active.version);
        if let Some(own) = self.active.servers.get(&self.id) {
            self.own = Some(own.clone());
        }
        self.strangers.retain(|id, _| !self.active.servers.contains_key(id));
        let moved = |(id, member): (&ServerId, &Member)| {
            let former = former.servers.get(id).filter(|former| !former.same_addresses(member));
            former.map(|_| *id)
        };
        self.active.servers.iter().filter_map(moved).collect()
    }

    fn members(&self, id: ServerId) -> impl Iterator<Item = &Member> {
        let configurations = [Some(&self.active), self.last_seen.as_ref()].into_iter().flatten();
        configurations.filter_map(move |membership| membership.servers.get(&id))
    }

    fn places(&self, id: ServerId, port: impl Fn(&Member) -> u16) -> Vec<Endpoint> {
        let mut places: Vec<Endpoint> = Vec::new();
        for member in self.members(id) {
            let place = Endpoint { host: member.host.clone(), port: port(member) };
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn address(host: &str, port: u16) -> String {
    format!("{}:{port}", Host(host))
}

/// Reads [`address`]; an address that stands for every one leads nowhere.
fn endpoint(address: &str) -> Option<Endpoint> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    let is_wildcard = host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty() && !is_wildcard).then(|| Endpoint { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(text: &str) -> Membership {
        Membership::parse(&text.replace(' ', "\n")).unwrap()
    }

    fn roster(active: &str) -> Roster {
        let active = membership(active);
        let own = active.servers.get(&ServerId(1)).cloned();
        Roster { id: ServerId(1), own, active, last_seen: None, strangers: BTreeMap::new(), reconfig: true }
    }

    /// The places of a server's election port and of its quorum port.
    fn places(roster: &Roster, id: i64) -> [Vec<String>; 2] {
        let shown = |places: Vec<Endpoint>| places.iter().map(|place| address(&place.host, place.port)).collect();
        [shown(roster.election(ServerId(id))), shown(roster.quorum(ServerId(id)))]
    }

    #[test]
    fn a_server_is_tried_where_either_configuration_says() {
        let mut roster = roster("server.1=a:1:2 server.2=b:3:4");
        assert_eq!(places(&roster, 2), [["b:4"], ["b:3"]]);
        roster.expect(membership(
            "server.1=a:1:2 server.2=b:3:5 server.3=::1:6 version=9".replace("::1:6", "[::1]:6:7").as_str(),
        ));
        assert_eq!(places(&roster, 2), [vec!["b:4", "b:5"], vec!["b:3"]]);
        assert_eq!(places(&roster, 3), [["[::1]:7"], ["[::1]:6"]]);
        // One that comes to nothing is forgotten with the next that is active.
        let moved = roster.follow(membership("server.1=x:1:2 server.2=b:3:4 version=a"));
        assert_eq!((moved, roster.own_address()), (vec![ServerId(1)], "x:2".to_owned()));
        assert_eq!(places(&roster, 2), [["b:4"], ["b:3"]]);
        assert_eq!(places(&roster, 3), [Vec::<String>::new(), Vec::new()]);
        assert_eq!(roster.follow(membership("server.2=b:3:5 version=b")), [ServerId(2)]);
        assert_eq!(roster.own_address(), "x:2", "where it was last");
    }

    #[test]
    fn an_observer_looks_for_a_master_among_the_followers() {
        let mut roster = roster("server.1=a:1:2:observer server.2=b:3:4 server.3=c:5:6 server.4=d:7:8:observer");
        let masters = |roster: &Roster| {
            let masters = roster.observer_masters(9, ServerId(2)).into_iter();
            masters.map(|(id, place)| (id.0, address(&place.host, place.port))).collect::<Vec<_>>()
        };
        assert_eq!(masters(&roster), [(3, "c:9".to_owned())]);
        roster.follow(membership("server.1=a:1:2 server.2=b:3:4 server.3=c:5:6 version=1"));
        assert_eq!(masters(&roster), [], "it votes now");
    }

    #[test]
    fn strangers_are_answered_where_they_say_they_are() {
        let mut roster = roster("server.1=a:1:2 server.2=b:3:4");
        let mut admit = |id: i64, addresses: &[&str]| {
            let addresses: Vec<_> = addresses.iter().map(|address| (*address).to_owned()).collect();
            roster.admit(ServerId(id), &addresses).err().map_or("", |why| why.rsplit_once(", ").unwrap().1)
        };
        assert_eq!(admit(2, &[]), "");
        assert_eq!(admit(3, &["0.0.0.0:5", "[::]:5", "c:0", ":5", "c:5"]), "");
        for nowhere in [vec![], vec!["0.0.0.0:5"], vec!["c"], vec!["c:0"]] {
            assert_eq!(admit(4, &nowhere), "and names no address at which it can be reached", "{nowhere:?}");
        }
        for id in [-1, 256, i64::MAX] {
            assert_eq!(admit(id, &["c:5"]), "and its id is none that could join");
        }
        for id in 4..4 + STRANGERS_MAX as i64 - 1 {
            assert_eq!(admit(id, &["[::1]:5"]), "");
        }
        assert_eq!(admit(99, &["c:5"]), "and too many others are neither");
        assert_eq!(admit(3, &["c:6"]), "", "one that is known may come again");
        assert_eq!(places(&roster, 3), [vec!["c:6"], vec![]]);
        assert_eq!(places(&roster, 4), [vec!["[::1]:5"], vec![]]);
        roster.forget(ServerId(4));
        assert_eq!(places(&roster, 4), [Vec::<String>::new(), Vec::new()]);
        // A member's line counts more than its own word.
        roster.follow(membership("server.1=a:1:2 server.3=d:7:8 version=9"));
        assert_eq!(places(&roster, 3), [["d:8"], ["d:7"]]);
        roster.reconfig = false;
        let why = roster.admit(ServerId(5), &["c:5".to_owned()]).unwrap_err();
        assert_eq!(why, "it is not in the configuration, which cannot change (reconfigEnabled)");
    }
}
