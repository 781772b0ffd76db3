//! The status that a pass reports: recorded facts, counts, members and conditions, all recomputed from what was
//! observed. Nothing is latched, so a condition heals when its cause does.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_api::{Endpoints, Member, UpdateMode, ZooKeeperEnsembleStatus, names};

use crate::assess::{Assessment, ProblemKind, answer};
use crate::build;
use crate::conditions::{Conditions, HIBERNATED, Holds, MESSAGE_CHARS_MAX, find, since};
use crate::founded::Founded;
use crate::member::StoreState;
use crate::observed::Observed;
use crate::plan::{expansion, monitoring, recovery, repair, scale};
use crate::step::{Event, EventType};
use crate::validate::ValidEnsemble;

/// How long a majority may be missing before it is called lost, in seconds. An election takes a second or two.
pub(crate) const QUORUM_LOST_SECONDS: i64 = 30;

/// The reason of `Available` while nobody leads, and should.
const NO_LEADER: &str = "NoLeader";

/// What a pass found out besides the members' state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Why the pass could not do its work: a reason in `PascalCase` and a sentence. Permanent until an edit.
    pub(crate) refused: Option<(&'static str, String)>,
    /// What the founding waits for.
    pub(crate) waiting: Option<String>,
    /// What is being changed.
    pub(crate) progress: Progress,
}

/// What is being changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Progress {
    /// Nothing.
    #[default]
    Still,
    /// A change is under way: a reason in `PascalCase`, and what is done or waited for.
    Moving(&'static str, String),
    /// A rolling restart is wanted and does not go on by itself: why, and what helps.
    Stalled(&'static str, String),
    /// Another size is wanted and only a person can help: why, and how.
    Blocked(&'static str, String),
}

/// The status of an ensemble whose facts are not recorded.
pub(crate) fn unfounded(observed: &Observed, verdict: &Verdict) -> ZooKeeperEnsembleStatus {
    let mut status = observed.ensemble.status.clone().unwrap_or_default();
    status.observed_generation = observed.ensemble.metadata.generation;
    status.selector = Some(names::selector(observed.name()));
    let old = std::mem::take(&mut status.conditions);
    let mut conditions = conditions(observed, &old);
    let (reason, message) = match &verdict.refused {
        Some((reason, message)) => (*reason, message.clone()),
        None if observed.ensemble.spec.paused => ("Paused", "spec.paused is true".to_owned()),
        None if observed.ensemble.spec.is_hibernated() => (HIBERNATED, hibernated(observed)),
        None => ("Bootstrapping", "the identity of the ensemble is being recorded".to_owned()),
    };
    conditions.set("Ready", false, reason, &*message);
    conditions.set("Available", false, "NotFounded", "the ensemble does not exist yet");
    reconcile_succeeded(&mut conditions, verdict);
    status.conditions = conditions.list;
    status
}

/// The status of an ensemble whose facts are recorded. `ensemble` is none when the spec is refused; the members are
/// reported all the same.
pub(crate) fn founded(
    observed: &Observed,
    ensemble: Option<&ValidEnsemble>,
    founded: &Founded,
    assessment: &Assessment,
    verdict: &Verdict,
) -> ZooKeeperEnsembleStatus {
    let empty = ZooKeeperEnsembleStatus::default();
    let old = observed.ensemble.status.as_ref().unwrap_or(&empty);
    let name = observed.name();
    let namespace = observed.ensemble.metadata.namespace.as_deref().unwrap_or_default();
    let leader = assessment.leader.and_then(|ordinal| answer(observed, founded, ordinal));
    let domain = observed.ensemble.spec.cluster_domain.as_deref();
    let tolerance = if assessment.is_available(founded) { assessment.synced_voters - founded.quorum() } else { 0 };

    ZooKeeperEnsembleStatus {
        observed_generation: observed.ensemble.metadata.generation,
        conditions: founded_conditions(observed, ensemble, founded, assessment, verdict, &old.conditions),
        ensemble_id: Some(founded.ensemble_id.clone()),
        bootstrap: Some(founded.bootstrap.clone()),
        configuration: (founded.version() > 0).then(|| founded.configuration.clone()),
        pods: Some(founded.pods),
        rebuild: founded.rebuild.clone(),
        recovery: founded.recovery.clone(),
        replicas: count(observed.pods.len()),
        ready_replicas: count(observed.pods.values().filter(|pod| pod.ready).count()),
        voters: founded.voter_count(),
        observers: count(founded.observers().len()),
        synced_voters: assessment.synced_voters,
        quorum: founded.quorum(),
        fault_tolerance: tolerance,
        selector: Some(names::selector(name)),
        leader: assessment.leader.map(|ordinal| leader_name(observed, founded, ordinal)),
        epoch: leader.map(|status| status.epoch),
        version: leader.map(|status| status.version.clone()).or_else(|| old.version.clone()),
        config_hash: ensemble.map_or_else(|| old.config_hash.clone(), |e| Some(build::config_hash(e, founded))),
        members: (0..founded.pods)
            .map(|ordinal| member(observed, founded, assessment, &old.members, ordinal))
            .collect(),
        storage: ensemble.map_or_else(|| old.storage.clone(), |e| expansion::report(observed, e, founded)),
        endpoints: Some(Endpoints { client: Some(names::client_endpoint(name, namespace, domain)) }),
    }
}

/// The leader by its pod, or by its id when it is no pod of ours.
fn leader_name(observed: &Observed, founded: &Founded, ordinal: i32) -> String {
    match founded.is_ours(ordinal) {
        true => names::pod(observed.name(), ordinal),
        false => format!("server.{}", founded.myid(ordinal)),
    }
}

/// The status with what the leader said to a request of this pass: it stands in the message of `Progressing`, until a pass is not refused.
pub fn with_refusal(status: &ZooKeeperEnsembleStatus, refusal: &str) -> ZooKeeperEnsembleStatus {
    let mut told = status.clone();
    for condition in told.conditions.iter_mut().filter(|condition| condition.type_ == "Progressing") {
        let room = MESSAGE_CHARS_MAX.saturating_sub(refusal.chars().count() + 2);
        let message: String = condition.message.chars().take(room).collect();
        condition.message = format!("{message}; {refusal}").chars().take(MESSAGE_CHARS_MAX).collect();
    }
    told
}

/// Events for what changed between the old status and the new: a condition turned, a member came back on a new volume.
pub(crate) fn events(old: Option<&ZooKeeperEnsembleStatus>, new: &ZooKeeperEnsembleStatus) -> Vec<Event> {
    let none = ZooKeeperEnsembleStatus::default();
    let old = old.unwrap_or(&none);
    let mut events: Vec<Event> = new
        .conditions
        .iter()
        .filter_map(|condition| turned(find(&old.conditions, &condition.type_), condition))
        .collect();
    for member in &new.members {
        let before =
            old.members.iter().find(|old| old.ordinal == member.ordinal).and_then(|old| old.volume_id.as_ref());
        if let (Some(before), Some(now)) = (before, &member.volume_id)
            && before != now
        {
            events.push(Event {
                type_: EventType::Normal,
                reason: "MemberResynced".to_owned(),
                note: format!(
                    "{} lost volume {before}, and holds its leader's history again on volume {now}",
                    member.pod
                ),
            });
        }
    }
    events
}

/// The event for a condition that turned, if it is worth one.
fn turned(old: Option<&Condition>, new: &Condition) -> Option<Event> {
    let same_status = old.is_some_and(|old| old.status == new.status && old.reason == new.reason);
    let type_ = match (new.type_.as_str(), new.status.as_str()) {
        ("Ready", "True") => EventType::Normal,
        ("Rebuilt", "False") if new.reason == "RebuildRefused" => EventType::Warning,
        ("Recovered", "False") if new.reason == "RecoveryRefused" => EventType::Warning,
        ("Rebuilt", "False") if new.reason == "RebuildWaits" => EventType::Normal,
        ("Progressing", "False") if matches!(new.reason.as_str(), "LeaderNotApproved" | "OutsideMaintenanceWindow") => {
            EventType::Normal
        }
        ("Progressing", "False") if new.reason != "NothingToChange" => EventType::Warning,
        ("ReplicasApplied" | "ConfigApplied" | "StorageHealthy", "True")
            if old.is_some_and(|old| old.status == "False") =>
        {
            EventType::Normal
        }
        ("Ready", "False") if new.reason == "Paused" || new.reason == HIBERNATED => EventType::Normal,
        ("ConfigApplied", "False") if new.reason == "RollingRestart" => EventType::Normal,
        ("StorageHealthy", "False") if new.reason == "ExpansionUnsupported" || new.reason == "ResizeFailed" => {
            EventType::Warning
        }
        ("Degraded" | "QuorumLost", "True") | ("ReconcileSucceeded" | "ConfigApplied", "False") => EventType::Warning,
        _ => return None,
    };
    (!same_status).then(|| event(type_, new))
}

fn event(type_: EventType, condition: &Condition) -> Event {
    Event { type_, reason: condition.reason.clone(), note: condition.message.clone() }
}

/// What the conditions of an ensemble without servers say.
fn hibernated(observed: &Observed) -> String {
    let why = if observed.ensemble.spec.hibernate { "spec.hibernate is true" } else { "spec.replicas is 0" };
    format!("{why}: the servers are stopped, the members and their volumes are kept")
}

fn conditions<'a>(observed: &Observed, old: &'a [Condition]) -> Conditions<'a> {
    Conditions { old, now: observed.now.clone(), generation: observed.ensemble.metadata.generation, list: Vec::new() }
}

fn founded_conditions(
    observed: &Observed,
    ensemble: Option<&ValidEnsemble>,
    founded: &Founded,
    assessment: &Assessment,
    verdict: &Verdict,
    old: &[Condition],
) -> Vec<Condition> {
    let mut list = conditions(observed, old);
    let available = assessment.is_available(founded);
    let (synced, voters) = (assessment.synced_voters, founded.voter_count());
    let synced_text = format!("{synced} of {voters} voters are synced, {} are needed", founded.quorum());
    let problems: Vec<&str> = assessment.problems.iter().map(|problem| problem.text.as_str()).collect();
    let problems = problems.join("; ");
    let lost = quorum_lost(observed, founded, available, old);

    ready(&mut list, observed, founded, assessment, verdict, lost, &problems);
    match (available, assessment.leader) {
        (true, Some(leader)) => {
            let leader = leader_name(observed, founded, leader);
            list.set("Available", true, "QuorumEstablished", format!("{leader} leads; {synced_text}"));
        }
        _ if observed.ensemble.spec.is_hibernated() => list.set("Available", false, HIBERNATED, hibernated(observed)),
        _ => list.set("Available", false, NO_LEADER, format!("no leader is named by a majority; {problems}")),
    }
    match assessment.problems.iter().min_by_key(|problem| problem.kind) {
        _ if observed.ensemble.spec.is_hibernated() => list.set("Degraded", false, HIBERNATED, hibernated(observed)),
        // A stale volume does not heal by itself, so it is called by its name even before the ensemble exists.
        Some(worst) if founded.is_complete() || worst.kind == ProblemKind::StaleVolume => {
            list.set("Degraded", true, worst.kind.reason(), &*problems);
        }
        Some(_) => list.set("Degraded", false, "Bootstrapping", problems.clone()),
        None => list.set("Degraded", false, "AllMembersSynced", "every member is synced and ready"),
    }
    let text = if lost { format!("no quorum for {QUORUM_LOST_SECONDS} s: {problems}") } else { synced_text };
    list.set("QuorumLost", lost, if lost { "MajorityUnreachable" } else { "QuorumNotLost" }, text);
    let spare = if available { synced - founded.quorum() } else { 0 };
    let reason = if spare > 0 { "VotersToSpare" } else { "NoVoterToSpare" };
    list.set("FaultTolerant", spare > 0, reason, format!("voters that may fail now without loss of service: {spare}"));
    config_applied(&mut list, observed, ensemble, founded, assessment.leader);
    replicas_applied(&mut list, ensemble, founded, verdict);
    if let Some(health) = ensemble.and_then(|ensemble| expansion::health(observed, ensemble, founded)) {
        list.set("StorageHealthy", health.healthy, health.reason, health.message);
    }
    progressing(&mut list, verdict);
    reconcile_succeeded(&mut list, verdict);
    if let Some((holds, reason, message)) = repair::told(observed, ensemble, founded, assessment) {
        list.set("Rebuilt", holds, reason, message);
    }
    if let Some((holds, reason, message)) = recovery::told(observed, ensemble, founded, assessment) {
        list.set("Recovered", holds, reason, message);
    }
    match ensemble {
        Some(ensemble) => monitoring::condition(&mut list, observed, ensemble),
        // What is asked for is not known.
        None => list.list.extend(find(old, monitoring::CONDITION).cloned()),
    }
    list.list
}

/// The summary, and the word that `kubectl get zke` shows. The first reason that applies is the one to look at first.
fn ready(
    list: &mut Conditions<'_>,
    observed: &Observed,
    founded: &Founded,
    assessment: &Assessment,
    verdict: &Verdict,
    lost: bool,
    problems: &str,
) {
    let whole = assessment.is_available(founded) && assessment.problems.is_empty();
    let waiting = verdict.waiting.as_deref().unwrap_or("the founding is being recorded");
    match &verdict.refused {
        Some((reason, message)) => list.set("Ready", false, reason, &**message),
        None if observed.ensemble.spec.paused => {
            let problems = if problems.is_empty() { "every member is synced and ready" } else { problems };
            list.set("Ready", whole, "Paused", format!("spec.paused is true; {problems}"));
        }
        None if observed.ensemble.spec.is_hibernated() => list.set("Ready", false, HIBERNATED, hibernated(observed)),
        None if !founded.is_complete() => list.set("Ready", false, "Bootstrapping", waiting),
        None if lost => list.set("Ready", false, "QuorumLost", problems),
        None if !whole => list.set("Ready", false, "Degraded", problems),
        None => list.set("Ready", true, "AllMembersSynced", "every member is synced and ready"),
    }
}

/// Whether a majority has been missing for [`QUORUM_LOST_SECONDS`], counted from when `Available` turned, or the ensemble woke up.
pub(crate) fn quorum_lost(observed: &Observed, founded: &Founded, available: bool, old: &[Condition]) -> bool {
    let since = since(old, "Available", "False", NO_LEADER);
    founded.is_complete()
        && !observed.ensemble.spec.is_hibernated()
        && !available
        && since.is_some_and(|since| observed.now.0.duration_since(since.0).as_secs() >= QUORUM_LOST_SECONDS)
}

/// Whether every server runs what the spec asks for.
///
/// The StatefulSet holds the new template, and each pod takes it when it is next created. Until then this condition says which ones
/// still run the old one, and who restarts them.
fn config_applied(
    list: &mut Conditions<'_>,
    observed: &Observed,
    ensemble: Option<&ValidEnsemble>,
    founded: &Founded,
    leader: Option<i32>,
) {
    const TYPE: &str = "ConfigApplied";
    let Some(ensemble) = ensemble else {
        return list.set(TYPE, Holds::Unknown, "SpecRefused", "the spec is refused, so nothing is compared with it");
    };
    let wanted = build::config_hash(ensemble, founded);
    let set = observed.object("StatefulSet", &names::stateful_set(observed.name()));
    let revision = set.and_then(|set| set["status"]["updateRevision"].as_str());
    let mut outdated = Vec::new();
    let mut misread = Vec::new();
    let mut unknown = Vec::new();
    let by_operator = match ensemble.spec.update_strategy.mode {
        UpdateMode::LeaderLast | UpdateMode::Swap | UpdateMode::Supervised => true,
        UpdateMode::OnDelete => false,
    };
    // In the order in which a person should move them: the highest first, the leader last, so that it moves once.
    let followers = (0..founded.pods).rev().filter(|ordinal| Some(*ordinal) != leader);
    for ordinal in followers.chain(leader) {
        let name = names::pod(observed.name(), ordinal);
        let pod_revision = observed.pods.get(&ordinal).and_then(|pod| pod.revision.as_deref());
        let loaded = answer(observed, founded, ordinal).and_then(|status| status.config_hash.as_deref());
        let old_template = matches!((revision, pod_revision), (Some(new), Some(runs)) if new != runs);
        let old_config = loaded.is_some_and(|loaded| loaded != wanted);
        if old_template || (old_config && !by_operator) {
            outdated.push(name);
        } else if old_config {
            misread.push(name);
        } else if loaded.is_none() {
            unknown.push(name);
        }
    }
    let pods = outdated.join(", ");
    if !outdated.is_empty() && by_operator {
        let paused = if ensemble.spec.paused { ", when spec.paused is false again" } else { "" };
        let message = format!(
            "{pods}: still on the configuration or pod template from before the last change; they are restarted in this order, \
             one at a time{paused}"
        );
        list.set(TYPE, false, "RollingRestart", message);
    } else if !misread.is_empty() {
        let message = format!(
            "{}: runs the newest pod template and loaded another configuration. If another server shows that the new one can be \
             loaded, it is restarted; else its image counts the configuration in another way",
            misread.join(", ")
        );
        list.set(TYPE, false, "ConfigurationDiffers", message);
    } else if !outdated.is_empty() {
        let message = format!(
            "{pods}: still on the configuration or pod template from before the last change; a running pod is not restarted. \
             To apply it, delete the pods one at a time in this order: kubectl delete pod {}, then wait until the \
             ensemble is Ready before the next",
            outdated[0]
        );
        list.set(TYPE, false, "PodsOutdated", message);
    } else if !unknown.is_empty() {
        list.set(TYPE, Holds::Unknown, "NotObserved", format!("not heard of: {}", unknown.join(", ")));
    } else {
        list.set(TYPE, true, "AllMembersLoaded", "every server runs the configuration of the spec");
    }
}

/// Whether the ensemble has the size that the spec asks for.
fn replicas_applied(list: &mut Conditions<'_>, ensemble: Option<&ValidEnsemble>, founded: &Founded, verdict: &Verdict) {
    const TYPE: &str = "ReplicasApplied";
    let has = format!("{} voters and {} observers", founded.voter_count(), founded.observers().len());
    let foreign = match founded.foreigners() {
        ids if ids.is_empty() => String::new(),
        ids => format!("; servers {ids:?} are members that are no pods of this ensemble, and are left alone"),
    };
    let Some(ensemble) = ensemble else {
        return list.set(TYPE, Holds::Unknown, "SpecRefused", "the spec is refused, so nothing is compared with it");
    };
    if let Progress::Blocked(reason, message) = &verdict.progress {
        return list.set(TYPE, false, reason, &**message);
    }
    let (replicas, voters) = (ensemble.spec.replicas, ensemble.spec.voter_count());
    let wanted = format!("{voters} voters and {} observers", replicas - voters);
    if ensemble.spec.is_hibernated() {
        return list.set(TYPE, true, HIBERNATED, format!("the ensemble is kept with {has}{foreign}"));
    }
    match scale::way(ensemble, founded) {
        scale::Way::Stays => list.set(TYPE, true, "AllMembersPresent", format!("the ensemble has {has}{foreign}")),
        scale::Way::Trades => {
            let (instead, of) = scale::misplaced(ensemble, founded);
            let names = |ordinals: Vec<i32>| {
                ordinals.into_iter().map(|ordinal| names::pod(&ensemble.name, ordinal)).collect::<Vec<_>>().join(", ")
            };
            let message = format!(
                "the ensemble has {has}; {} votes instead of {} for a while{foreign}",
                names(instead),
                names(of)
            );
            list.set(TYPE, false, "TradingVotes", message);
        }
        scale::Way::Up => {
            list.set(TYPE, false, "ScalingUp", format!("the ensemble has {has}, and is to have {wanted}{foreign}"))
        }
        scale::Way::Down => {
            list.set(TYPE, false, "ScalingDown", format!("the ensemble has {has}, and is to have {wanted}{foreign}"))
        }
    }
}

/// Whether a change is under way, and what is done or waited for.
fn progressing(list: &mut Conditions<'_>, verdict: &Verdict) {
    match &verdict.progress {
        Progress::Still => list.set("Progressing", false, "NothingToChange", "no change is under way"),
        Progress::Moving(reason, message) => list.set("Progressing", true, reason, &**message),
        Progress::Stalled(reason, message) | Progress::Blocked(reason, message) => {
            list.set("Progressing", false, reason, &**message)
        }
    }
}

fn reconcile_succeeded(list: &mut Conditions<'_>, verdict: &Verdict) {
    match &verdict.refused {
        Some((reason, message)) => list.set("ReconcileSucceeded", false, reason, &**message),
        None => list.set("ReconcileSucceeded", true, "Reconciled", "the last pass found nothing to refuse"),
    }
}

fn member(observed: &Observed, founded: &Founded, assessment: &Assessment, old: &[Member], ordinal: i32) -> Member {
    let status = answer(observed, founded, ordinal);
    let old = old.iter().find(|member| member.ordinal == ordinal);
    let synced = assessment.synced.contains(&ordinal);
    let volume = status.filter(|_| synced).and_then(|status| status.volume_id.clone());
    Member {
        ordinal,
        myid: founded.myid(ordinal),
        pod: names::pod(observed.name(), ordinal),
        member: membership(founded, ordinal).to_owned(),
        node: observed.pods.get(&ordinal).and_then(|pod| pod.node.clone()),
        role: status.map_or("unknown", |status| status.role.as_str()).to_owned(),
        state: status.map_or("unknown", |status| state(status.store_state, synced)).to_owned(),
        version: status.map(|status| status.version.clone()),
        // Kept while the member is away, so that a new volume is noticed when it is back.
        volume_id: volume.or_else(|| old.and_then(|old| old.volume_id.clone())),
        config_hash: status.and_then(|status| status.config_hash.clone()),
    }
}

fn membership(founded: &Founded, ordinal: i32) -> &'static str {
    if founded.voters().contains(&ordinal) {
        "voter"
    } else if founded.observers().contains(&ordinal) {
        "observer"
    } else {
        "joiner"
    }
}

/// A store that says `synced` without the leader that a majority names is not.
fn state(store: StoreState, synced: bool) -> &'static str {
    match store {
        StoreState::Synced if !synced => StoreState::Syncing.as_str(),
        StoreState::Uninitialized | StoreState::Syncing | StoreState::Synced => store.as_str(),
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
