//! What the members' answers mean together: who leads, who is synced, what is wrong with the rest.
//!
//! Absence of evidence is no evidence: a member that does not answer, or answers as somebody else, counts for nothing.

use std::collections::BTreeSet;

use crate::founded::Founded;
use crate::member::{BootstrapState, MemberConfig, MemberStatus, Role, StoreState};
use crate::node::{NodeFacts, OUT_OF_SERVICE};
use crate::observed::Observed;
use crate::pod::{EXIT_IDENTITY, EXIT_UNTRUSTED, PodFacts, shorten};
use operator_api::{Configuration, names};

/// What the members' answers mean together.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// The ordinal of the leader that a majority of the voters names. It may be that of no pod of ours.
    pub leader: Option<i32>,
    /// The servers that follow it, or are it, and hold its history: voters, observers and joiners.
    pub synced: BTreeSet<i32>,
    /// How many of the voters are among them.
    pub synced_voters: i32,
    /// Whether a majority of the voters is synced and has the recorded configuration active, and the leader has none pending.
    ///
    /// This proves what a write after the reconfiguration would prove: any majority of the configuration that elects contains a
    /// server that counts by it.
    pub is_settled: bool,
    /// The version of the configuration that the leader has active, when it is older than the recorded one: then no majority of its
    /// voters ever had that, or not in this history.
    pub leaders_version: Option<String>,
    /// What is wrong with each member that is not synced and ready.
    pub problems: Vec<Problem>,
    /// What keeps each joiner from being synced and ready.
    pub joining: Vec<Problem>,
}

/// What is wrong with one server.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Which.
    pub ordinal: i32,
    /// What kind of trouble.
    pub kind: ProblemKind,
    /// In plain words, beginning with the pod's name.
    pub text: String,
}

/// Kinds of trouble, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// Its volume is another's. It does not heal by itself.
    StaleVolume,
    /// Its files cannot be trusted. It does not start before it is rebuilt.
    StoreDamaged,
    /// No node that it may run on has its volumes. A person has to look after the node that does.
    VolumeUnreachable,
    /// Its node is lost, and nobody confirms the end of its pod. A person has to look after the node.
    NodeLost,
    /// It does not run or does not answer.
    MemberDown,
    /// It runs and does not serve yet.
    MemberOutOfSync,
}

impl ProblemKind {
    /// The reason in the condition `Degraded`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::StaleVolume => "StaleVolume",
            Self::StoreDamaged => "StoreDamaged",
            Self::VolumeUnreachable => "VolumeUnreachable",
            Self::NodeLost => "NodeLost",
            Self::MemberDown => "MemberDown",
            Self::MemberOutOfSync => "MemberOutOfSync",
        }
    }
}

impl Assessment {
    /// Whether a leader and a majority of the voters are synced: the ensemble serves.
    pub fn is_available(&self, founded: &Founded) -> bool {
        self.leader.is_some() && self.synced_voters >= founded.quorum()
    }

    /// Why nothing may change now: a change needs a leader, and a majority in sight that is done with the last one.
    pub(crate) fn unsettled(&self, founded: &Founded) -> Option<String> {
        if !self.is_available(founded) {
            return Some("no majority of the voters follows a leader".to_owned());
        }
        if self.is_settled {
            return None;
        }
        let version = &founded.configuration.version;
        let text = format!("version {version} of the configuration is not active at a majority of the voters");
        Some(match &self.leaders_version {
            None => text,
            Some(known) => format!(
                "{text}, and the leader knows no later one than {known}: if that stays so, the record is of another history, as when the status was \
                 edited, or volumes were restored from a backup. Remove status.configuration (kubectl edit --subresource=status), and it is \
                 recorded anew"
            ),
        })
    }

    /// Whether a server of ours is synced and ready.
    pub(crate) fn is_whole(&self, ordinal: i32) -> bool {
        let troubled = self.problems.iter().chain(&self.joining).any(|problem| problem.ordinal == ordinal);
        self.synced.contains(&ordinal) && !troubled
    }

    /// What is wrong with these servers, in words.
    pub(crate) fn troubles(&self, observed: &Observed, ordinals: &[i32]) -> String {
        let all = || self.problems.iter().chain(&self.joining);
        let text = |ordinal: &i32| match all().find(|problem| problem.ordinal == *ordinal) {
            Some(problem) => problem.text.clone(),
            None => {
                let is_deleted = observed.pods.get(ordinal).is_some_and(|pod| pod.deleting);
                let what = if is_deleted { "is being deleted" } else { "is no pod of this ensemble" };
                format!("{} {what}", names::pod(observed.name(), *ordinal))
            }
        };
        ordinals.iter().map(text).collect::<Vec<_>>().join("; ")
    }

    /// Whether a server of ours is synced, and its pod ready and to stay: it can be counted on while another one is away.
    pub(crate) fn stays_whole(&self, observed: &Observed, ordinal: i32) -> bool {
        let pod = observed.pods.get(&ordinal);
        self.is_whole(ordinal) && pod.is_some_and(|pod| pod.ready && !pod.deleting)
    }
}

/// Puts the answers together.
pub fn assess(observed: &Observed, founded: &Founded) -> Assessment {
    let (voters, joiners) = (founded.voters(), founded.joiners());
    let leader = voters.iter().copied().find(|ordinal| match founded.is_ours(*ordinal) {
        true => leads(observed, founded, *ordinal),
        false => is_followed(observed, founded, *ordinal),
    });
    let members = founded.members();
    let servers = members.union(&joiners).copied();
    let synced: BTreeSet<i32> = servers.filter(|ordinal| is_synced(observed, founded, leader, *ordinal)).collect();
    // Of a member that is no pod of ours nothing can be said.
    let problems = |of: &BTreeSet<i32>| {
        of.iter()
            .filter(|ordinal| founded.is_ours(**ordinal))
            .filter_map(|ordinal| problem(observed, founded, &synced, *ordinal))
            .collect::<Vec<_>>()
    };
    let active = voters.iter().filter(|ordinal| {
        let knows = |status: &MemberStatus| status.config.version().is_some_and(|version| version >= founded.version());
        synced.contains(ordinal) && answer(observed, founded, **ordinal).is_some_and(knows)
    });
    // The leader knows what it has proposed. Of one that does not answer to us its followers know, all of them together.
    let told_by: BTreeSet<i32> = match leader {
        Some(leader) if founded.is_ours(leader) => BTreeSet::from([leader]),
        _ => voters.intersection(&synced).copied().filter(|ordinal| founded.is_ours(*ordinal)).collect(),
    };
    let pends = |ordinal: &i32| answer(observed, founded, *ordinal).is_none_or(|s| s.config.pending.is_some());
    let leads = leader.and_then(|leader| answer(observed, founded, leader)).map(|status| &status.config);
    let is_behind = |config: &&MemberConfig| config.version().is_some_and(|version| version < founded.version());
    let pending = told_by.is_empty() || told_by.iter().any(pends);
    Assessment {
        leader,
        synced_voters: count(voters.intersection(&synced).count()),
        leaders_version: leads.filter(is_behind).map(|config| config.version.clone()),
        is_settled: !pending && count(active.count()) >= founded.quorum(),
        problems: problems(&members),
        joining: problems(&joiners),
        synced,
    }
}

/// The newest committed configuration that a server of the ensemble reports, if it is newer than the one that is recorded. A server
/// takes one up only when it is committed, so that one server's word is enough.
pub(crate) fn newer_configuration(observed: &Observed, founded: &Founded) -> Option<Configuration> {
    let answers = observed.members.keys().filter_map(|ordinal| answer(observed, founded, *ordinal));
    let configurations = answers.filter_map(|status| status.config.read());
    let newest = configurations.max_by_key(Configuration::version)?;
    (newest.version() > Some(founded.version())).then_some(newest)
}

/// The answer of a server, if it comes from that server of this ensemble.
pub(crate) fn answer<'a>(observed: &'a Observed, founded: &Founded, ordinal: i32) -> Option<&'a MemberStatus> {
    let status = observed.members.get(&ordinal)?.as_ref().ok()?;
    let ours = status.ensemble_id.as_deref() == Some(&founded.ensemble_id) && status.myid == founded.myid(ordinal);
    ours.then_some(status)
}

/// Whether a voter says that it leads and a majority of the voters, itself included, name it.
fn leads(observed: &Observed, founded: &Founded, ordinal: i32) -> bool {
    let Some(candidate) = answer(observed, founded, ordinal) else { return false };
    let says_so = match candidate.role {
        Role::Leading => candidate.leader == Some(candidate.myid),
        Role::Standalone => founded.voter_count() == 1,
        Role::Looking | Role::Following | Role::Observing => false,
    };
    says_so && is_followed(observed, founded, ordinal)
}

/// Whether a majority of the voters, itself included, follow a voter. Of one that is no pod of ours there is no other sign.
fn is_followed(observed: &Observed, founded: &Founded, ordinal: i32) -> bool {
    let follows =
        |status: &MemberStatus| status.role == Role::Following && status.leader == Some(founded.myid(ordinal));
    let followers = founded.voters().into_iter().filter(|other| *other != ordinal);
    let followers = followers.filter(|other| answer(observed, founded, *other).is_some_and(follows));
    1 + count(followers.count()) >= founded.quorum()
}

fn is_synced(observed: &Observed, founded: &Founded, leader: Option<i32>, ordinal: i32) -> bool {
    // A majority follows it: what it is proves itself, though it does not answer to us.
    if leader == Some(ordinal) && !founded.is_ours(ordinal) {
        return true;
    }
    let (Some(leader), Some(status)) = (leader, answer(observed, founded, ordinal)) else { return false };
    let follows = matches!(status.role, Role::Following | Role::Observing);
    let in_its_ensemble = ordinal == leader || (follows && status.leader == Some(founded.myid(leader)));
    in_its_ensemble && status.store_state == StoreState::Synced
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// What keeps a server from being synced and ready. The cluster's word comes before the member's: it names the cause.
fn problem(observed: &Observed, founded: &Founded, synced: &BTreeSet<i32>, ordinal: i32) -> Option<Problem> {
    let name = names::pod(observed.name(), ordinal);
    let some = |kind, text: String| Some(Problem { ordinal, kind, text: format!("{name} {text}") });
    let Some(pod) = observed.pods.get(&ordinal) else {
        return some(ProblemKind::MemberDown, "does not exist".to_owned());
    };
    if synced.contains(&ordinal) && pod.ready {
        return None;
    }
    if let Some(text) = foreign_claim(observed, founded, ordinal) {
        return some(ProblemKind::StaleVolume, text);
    }
    if let Some(trouble) = &pod.trouble {
        let (kind, help) = match pod.exit_code {
            Some(EXIT_IDENTITY) => (ProblemKind::StaleVolume, String::new()),
            Some(EXIT_UNTRUSTED) => (ProblemKind::StoreDamaged, format!("; {}", rebuild_asked(observed, ordinal))),
            _ if pod.volume_bound_elsewhere => (
                ProblemKind::VolumeUnreachable,
                format!(
                    "; its volumes are tied to a node that it cannot run on: bring that node back, or, if it is gone for good, {}",
                    rebuild_asked(observed, ordinal)
                ),
            ),
            _ => (ProblemKind::MemberDown, String::new()),
        };
        return some(kind, format!("{trouble}{help}"));
    }
    if pod.deleting {
        let (kind, text) = being_deleted(observed, pod);
        return some(kind, text);
    }
    match observed.members.get(&ordinal) {
        None => some(ProblemKind::MemberDown, "has no address yet".to_owned()),
        Some(Err(error)) => some(ProblemKind::MemberDown, format!("does not answer on its admin port: {error}")),
        Some(Ok(status)) if is_formers(founded, status.ensemble_id.as_ref()) => {
            some(ProblemKind::MemberDown, "still runs as a server of the former ensemble".to_owned())
        }
        Some(Ok(status)) if answer(observed, founded, ordinal).is_none() => {
            let id = status.ensemble_id.as_deref().unwrap_or("none");
            some(ProblemKind::StaleVolume, format!("answers as server {} of ensemble {id}", status.myid))
        }
        Some(Ok(_)) if synced.contains(&ordinal) => {
            some(ProblemKind::MemberOutOfSync, "is synced and not ready".to_owned())
        }
        Some(Ok(status)) => some(ProblemKind::MemberOutOfSync, out_of_sync(founded, ordinal, status)),
    }
}

/// How a person asks for new volumes.
fn rebuild_asked(observed: &Observed, ordinal: i32) -> String {
    let annotation = names::rebuild_annotation();
    format!("ask for new volumes: kubectl annotate zke {} {annotation}={ordinal}", observed.name())
}

/// What is to be said of a pod whose end nobody confirms, because its node is lost.
pub(crate) fn lost_node(observed: &Observed, ordinal: i32, pod: &PodFacts) -> Option<String> {
    let (kind, text) = being_deleted(observed, pod);
    let is_lost = pod.deleting && kind == ProblemKind::NodeLost;
    is_lost.then(|| format!("{} {text}", names::pod(observed.name(), ordinal)))
}

/// A pod that is to be gone, and its node if its end was due.
fn being_deleted(observed: &Observed, pod: &PodFacts) -> (ProblemKind, String) {
    let Some(node) = &pod.node else { return (ProblemKind::MemberDown, "is being deleted".to_owned()) };
    let on = format!("is being deleted on node {node}");
    match observed.nodes.get(node) {
        None | Some(NodeFacts { exists: true, ready: true, .. }) => (ProblemKind::MemberDown, on),
        Some(NodeFacts { exists: false, .. }) => {
            (ProblemKind::MemberDown, format!("{on}, which does not exist any more"))
        }
        Some(NodeFacts { out_of_service: true, .. }) => (
            ProblemKind::NodeLost,
            format!(
                "{on}, which is out of service: the pod is deleted by force when spec.repair.nodeLostTimeout is over"
            ),
        ),
        Some(NodeFacts { out_of_service: false, .. }) => (
            ProblemKind::NodeLost,
            format!(
                "{on}, which is not ready, and nobody confirms its end: bring the node back, or, only when it is surely off, \
                 kubectl taint node {node} {OUT_OF_SERVICE}=nodeshutdown:NoExecute"
            ),
        ),
    }
}

/// Whether this is an ensemble that a recovery under way gives up. What is left of it is what the recovery is about.
fn is_formers(founded: &Founded, id: Option<&String>) -> bool {
    let recovery = founded.recovery.as_ref().filter(|recovery| recovery.is_under_way());
    recovery.is_some_and(|recovery| {
        let abandoned = recovery.abandoned.as_ref().map(|abandoned| &abandoned.ensemble_id);
        id.is_some() && (id == Some(&recovery.former_ensemble_id) || id == abandoned)
    })
}

/// A volume claim of this ordinal that was made for another ensemble, for one of the same name that was deleted.
fn foreign_claim(observed: &Observed, founded: &Founded, ordinal: i32) -> Option<String> {
    let name = observed.name();
    let ours = [names::data_claim(name, ordinal), names::txn_log_claim(name, ordinal)];
    let claim = observed.claims.iter().find(|claim| {
        let id = claim.ensemble_id.as_ref();
        ours.contains(&claim.name) && id.is_some_and(|id| *id != founded.ensemble_id) && !is_formers(founded, id)
    })?;
    let id = claim.ensemble_id.as_deref().unwrap_or_default();
    Some(format!(
        "has volume claim {}, made for ensemble {id}; delete the claim and the pod if its data may go",
        claim.name
    ))
}

fn out_of_sync(founded: &Founded, ordinal: i32, status: &MemberStatus) -> String {
    if let (Some(aside), StoreState::Uninitialized | StoreState::Syncing) =
        (&status.store.set_aside, status.store_state)
    {
        return format!(
            "found its store damaged and set it aside ({}); it begins anew, and does not vote until it holds its leader's history",
            shorten(aside)
        );
    }
    unsynced(founded, ordinal, status).to_owned()
}

fn unsynced(founded: &Founded, ordinal: i32, status: &MemberStatus) -> &'static str {
    let granted = founded.bootstrap.volume(ordinal);
    let replaced = granted.is_some() && granted != status.volume_id.as_deref();
    match (status.role, status.store_state) {
        (_, StoreState::Uninitialized) if founded.is_complete() || replaced => {
            "has an empty volume and waits for a leader's history; it does not vote until it holds it"
        }
        (_, StoreState::Uninitialized) if status.bootstrap == BootstrapState::AwaitingGrant => {
            "has an empty volume and waits for its vote"
        }
        (Role::Looking, _) => "has no leader",
        (_, StoreState::Uninitialized | StoreState::Syncing) => "receives its leader's history",
        (Role::Following | Role::Leading | Role::Observing | Role::Standalone, StoreState::Synced) => {
            "is not with the leader that a majority names"
        }
    }
}
