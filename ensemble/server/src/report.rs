//! What a server says of itself to the admin port, the four-letter words and the metrics: one value, made by the driver.

use crate::backlog::Waits;
use crate::config::{Settings, server_lines};
use crate::driver::Driver;
use crate::pause::Pause;
use ensemble_datatree::NamespaceQuota;
use ensemble_peer::{Measures, Sizes, Status};
use ensemble_proto::ServerId;
use ensemble_proto::membership::Member;
use ensemble_zab::{Role, ZabState};
use std::collections::BTreeMap;
use std::time::Duration;

/// Sessions are told apart by how long they have had their connection: at most so long.
pub(crate) const AGES: [(&str, Duration); 5] = [
    ("1m", Duration::from_secs(60)),
    ("10m", Duration::from_secs(600)),
    ("1h", Duration::from_secs(3600)),
    ("1d", Duration::from_secs(86_400)),
    ("older", Duration::MAX),
];

/// What is known when the process has read its configuration and opened its store.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// `ensemble.id`, in operator mode.
    pub(crate) ensemble_id: Option<String>,
    /// Drawn when the volume was first used, in operator mode.
    pub(crate) volume_id: Option<String>,
    /// The format of the files, as the volume says it in operator mode; elsewhere the one that this server writes.
    pub(crate) format_version: u32,
    /// Operator mode, and the store was empty and not granted when it was opened.
    pub(crate) is_ungranted: bool,
    /// Operator mode, and the store was empty and granted when it was opened.
    pub(crate) is_granted: bool,
    /// The store was found damaged and set aside: the names of its files, and why. Until the next opening after it was filled again.
    pub(crate) set_aside: Option<String>,
    /// 1 when the tree is not the one that the snapshot was said to hold.
    pub(crate) snapshot_mismatches: u64,
}

/// A server at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) status: Status,
    pub(crate) identity: Identity,
    /// The active configuration's servers, as lines.
    pub(crate) servers: Vec<String>,
    /// This server's line; the one it began with while it has none in the active configuration.
    pub(crate) own: Option<Member>,
    pub(crate) config_version: i64,
    /// The version of a configuration that is proposed and not known to be committed.
    pub(crate) pending_version: Option<i64>,
    /// Whether quorums are counted by groups.
    pub(crate) is_hierarchical: bool,
    pub(crate) config_hash: String,
    pub(crate) uptime: Duration,
    /// How long this server has had its office; zero without one.
    pub(crate) serving_for: Duration,
    /// How long this server has been the leader.
    pub(crate) leading_for: Option<Duration>,
    pub(crate) tick: Duration,
    pub(crate) proposal_size: Sizes,
    pub(crate) client_response_size: Sizes,
    pub(crate) auth_failed_count: u64,
    /// An observer's leader, or the follower that is its master.
    pub(crate) observer_master: Option<ServerId>,
    /// Whether this server, while it follows, may be the master of observers (`observerMasterPort`).
    pub(crate) takes_observers: bool,
    /// The last pauses, the newest last.
    pub(crate) pauses: Vec<Pause>,
}

/// What only metrics tell: it takes a look at every session and a copy of every distribution, so it is made when somebody asks for it, and
/// neither for probes nor each second.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) report: Report,
    /// Sessions connected here, by [`AGES`].
    pub(crate) sessions_by_age: [usize; AGES.len()],
    pub(crate) quotas: BTreeMap<String, NamespaceQuota>,
    pub(crate) measures: Measures,
    pub(crate) zab: ensemble_zab::Measures,
    /// What has waited for each learner on its present connection.
    pub(crate) learners: BTreeMap<ServerId, Waits>,
}

impl Figures {
    pub(crate) fn new(driver: &Driver, report: Report) -> Figures {
        let since = |since: Duration| report.uptime.saturating_sub(since);
        let (measures, zab) = driver.look(|peer| (peer.measures().clone(), peer.zab().measures().clone()));
        Figures {
            sessions_by_age: driver.look(|peer| by_age(peer.sessions_since().map(since))),
            quotas: driver.look(|peer| peer.tree().namespace_quotas()),
            learners: report
                .status
                .learners
                .iter()
                .filter_map(|learner| Some((learner.id, driver.quorum.waits(learner.conn)?)))
                .collect(),
            measures,
            zab,
            report,
        }
    }
}

/// Whether a store may vote (C1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bootstrap {
    Closed,
    AwaitingGrant,
    Granted,
}

impl Report {
    pub(crate) fn new(driver: &Driver, settings: &Settings, identity: &Identity) -> Report {
        let elapsed = driver.clock.elapsed();
        let (mut status, membership, pending_version) = driver.look(|peer| {
            let zab = peer.zab();
            let pending = zab.pending_membership().map(|pending| pending.version.0);
            (peer.status(), zab.membership().clone(), pending)
        });
        status.digest_mismatches += identity.snapshot_mismatches;
        let servers = server_lines(&membership.to_string());
        let own = membership.servers.get(&settings.id).or(settings.ensemble.own.as_ref()).cloned();
        let (proposal_size, client_response_size, auth_failed_count) = driver.look(|peer| {
            let measures = peer.measures();
            (measures.proposal_size, measures.client_response_size, measures.auth_failed_count)
        });
        let since = |since: Duration| elapsed.saturating_sub(since);
        let is_observing = matches!(status.role, Role::Observing { .. });
        Report {
            status,
            identity: identity.clone(),
            servers,
            own,
            config_version: membership.version.0,
            pending_version,
            is_hierarchical: membership.is_hierarchical(),
            config_hash: settings.config_hash.clone(),
            uptime: elapsed,
            serving_for: driver.office_since.get().map_or(Duration::ZERO, since),
            leading_for: driver.leading_since.get().map(since),
            tick: settings.tick,
            proposal_size,
            client_response_size,
            auth_failed_count,
            observer_master: driver.quorum.reached().filter(|_| is_observing),
            takes_observers: settings.election.observer_master_port.is_some(),
            pauses: driver.metrics.pauses.last(),
        }
    }

    /// `standalone`, `leader`, `follower`, `observer`, `read-only`: ZooKeeper's `Mode`; `None` while nobody is served.
    pub(crate) fn mode(&self) -> Option<&'static str> {
        match self.status.role {
            _ if self.status.read_only => Some("read-only"),
            _ if !self.status.serving => None,
            Role::Leading if self.status.standalone => Some("standalone"),
            Role::Leading => Some("leader"),
            Role::Following { .. } => Some("follower"),
            Role::Observing { .. } => Some("observer"),
            Role::Looking => None,
        }
    }

    /// The role in the protocol, whether clients are served or not.
    pub(crate) fn role(&self) -> &'static str {
        match self.status.role {
            Role::Leading if self.status.standalone => "standalone",
            Role::Leading => "leading",
            Role::Following { .. } => "following",
            Role::Observing { .. } => "observing",
            Role::Looking => "looking",
        }
    }

    /// `leading - broadcast` and the like (`mntr`, `peer_state`); `None` for a standalone server.
    pub(crate) fn peer_state(&self) -> Option<String> {
        let state = match self.status.state {
            ZabState::Election => "election",
            ZabState::Discovery => "discovery",
            ZabState::Synchronization => "synchronization",
            ZabState::Broadcast => "broadcast",
        };
        (!self.status.standalone).then(|| format!("{} - {state}", self.role()))
    }

    /// Whether the store may vote.
    pub(crate) fn bootstrap(&self) -> Bootstrap {
        let is_empty = self.status.last_logged.0 <= 0;
        if self.identity.is_ungranted && !self.status.may_vote {
            Bootstrap::AwaitingGrant
        } else if self.identity.is_granted && is_empty {
            Bootstrap::Granted
        } else {
            Bootstrap::Closed
        }
    }

    /// `uninitialized`, `syncing`, `synced` (C4).
    pub(crate) fn store_state(&self) -> &'static str {
        match (self.status.serving, self.bootstrap()) {
            (true, _) => "synced",
            (false, Bootstrap::AwaitingGrant) => "uninitialized",
            (false, Bootstrap::Granted | Bootstrap::Closed) => "syncing",
        }
    }

    /// Znodes as ZooKeeper counts them: its root is in the table under two names.
    pub(crate) fn znode_count(&self) -> usize {
        self.status.znodes + 1
    }

    /// The leader, where there is one.
    pub(crate) fn leader(&self) -> Option<ServerId> {
        self.status.leader
    }
}

/// How many are of each of [`AGES`].
fn by_age(ages: impl Iterator<Item = Duration>) -> [usize; AGES.len()] {
    let mut counts = [0; AGES.len()];
    for age in ages {
        counts[AGES.iter().position(|(_, most)| age <= *most).unwrap_or(AGES.len() - 1)] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_session_is_of_one_age() {
        let ages = [0, 60, 61, 600, 3600, 86_400, 86_401, u64::MAX].map(Duration::from_secs);
        assert_eq!(by_age(ages.into_iter()), [2, 2, 1, 1, 2]);
    }
}
