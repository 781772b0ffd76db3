//! Whether an ensemble is what its spec asks for, and its operators have nothing left to do: what O-8 waits for.

use crate::cluster::config_hash;
use crate::judge::is_quiet;
use crate::members;
use crate::world::World;
use ensemble_proto::ServerId;
use operator_api::{Rebuild, ZooKeeperEnsembleSpec, names};
use operator_core::Role;

/// What is not yet as the spec asks, if anything.
pub(crate) fn unconverged(world: &World) -> Option<String> {
    if !is_quiet(world) {
        return Some("something failed a moment ago".to_owned());
    }
    let spec = &world.cluster.ensemble.spec;
    let membership = &world.servers.ledger().membership;
    let voters = (1..=spec.voter_count()).map(|id| ServerId(id.into()));
    let observers = (spec.voter_count() + 1..=spec.replicas).map(|id| ServerId(id.into()));
    let is_so = membership.servers.len() == usize::try_from(spec.replicas).unwrap_or_default()
        && voters.clone().all(|id| membership.is_voter(id))
        && observers.clone().all(|id| membership.is_observer(id));
    if !is_so {
        return Some(format!(
            "{} of {} are asked for; the members are {membership}; {}",
            spec.voter_count(),
            spec.replicas,
            said(world)
        ));
    }
    let (edited, answered) = (&world.cluster.ensemble.metadata.generation, &world.cluster.ensemble.status);
    if answered.as_ref().is_none_or(|status| status.observed_generation != *edited) {
        return Some("the last edit is not answered".to_owned());
    }
    let Some(set) = world.cluster.stateful_set() else { return Some("there is no StatefulSet".to_owned()) };
    let newest = set["status"]["updateRevision"].as_str().map(str::to_owned);
    let wanted = world.cluster.zoo_cfgs.last().map(|(_, text)| config_hash(text));
    // When no server loaded it, none shows that a restart helps; the condition ConfigApplied says so, and a person decides.
    let shown = (0..spec.replicas).any(|ordinal| world.loaded_hash(ordinal) == wanted);
    for ordinal in 0..spec.replicas {
        let Some(pod) = world.cluster.pods.get(&ordinal) else { return Some(format!("there is no pod {ordinal}")) };
        let facts = &pod.facts;
        if !facts.ready || facts.deleting {
            return Some(format!("pod {ordinal} is not ready: {facts:?}"));
        }
        if !world.servers.is_serving(World::server(ordinal)) {
            return Some(format!("server {ordinal} does not serve"));
        }
        let role = members::status(world, ordinal).map(|status| status.role);
        if (role == Some(Role::Observing)) == world.votes(ordinal) {
            return Some(format!("server {ordinal} has not taken its new part yet: {role:?}"));
        }
        let told = answered.as_ref().and_then(|status| status.members.iter().find(|told| told.ordinal == ordinal));
        if told.map(|told| told.role.as_str()) != role.map(Role::as_str) {
            return Some(format!("the role of pod {ordinal} is {role:?}, and the status does not say so yet"));
        }
        if facts.revision != newest || (shown && world.loaded_hash(ordinal) != wanted) {
            return Some(format!("pod {ordinal} is outdated; {}", said(world)));
        }
    }
    if world.cluster.pods.len() != usize::try_from(spec.replicas).unwrap_or_default() {
        return Some(format!("there are {} pods", world.cluster.pods.len()));
    }
    let mut alive = world.operators.iter().filter(|operator| operator.is_alive).peekable();
    let is_idle =
        alive.peek().is_some() && alive.all(|operator| operator.is_idle && operator.seen == world.cluster.version);
    if let Some(why) = world.undersized(set) {
        return Some(why);
    }
    let rebuild = answered.as_ref().and_then(|status| status.rebuild.as_ref());
    if let Some(rebuild) = rebuild.filter(|rebuild| rebuild.finished_at.is_none()) {
        return Some(format!("member {} is being rebuilt", rebuild.ordinal));
    }
    if let Some(asked) =
        world.rebuild_asked().filter(|asked| is_rebuildable(spec, asked) && !is_answered(rebuild, asked))
    {
        return Some(format!("the rebuild of {asked} is asked for"));
    }
    let retired = world.cluster.claims.values().find(|claim| {
        let members = (0..spec.replicas).flat_map(|o| [names::data_claim("zk", o), names::txn_log_claim("zk", o)]);
        claim.retired.is_some() && members.into_iter().any(|name| name == claim.name)
    });
    if let Some(claim) = retired {
        return Some(format!("{} is marked as retired", claim.name));
    }
    (!is_idle).then(|| "the operator still has something to do".to_owned())
}

/// What the status says about what is done, and what is not.
fn said(world: &World) -> String {
    let conditions = world.cluster.ensemble.status.as_ref().map(|status| &status.conditions);
    let told = ["Progressing", "ReconcileSucceeded", "ConfigApplied"];
    let said = conditions.into_iter().flatten().filter(|condition| told.contains(&condition.type_.as_str()));
    said.map(|condition| format!("{}: {}", condition.type_, condition.message)).collect::<Vec<_>>().join("; ")
}

/// Whether a member that is asked for is one that can be rebuilt when all are well: not one without which there is no quorum.
fn is_rebuildable(spec: &ZooKeeperEnsembleSpec, asked: &str) -> bool {
    let votes = |ordinal: i32| ordinal < spec.voter_count();
    asked.parse().is_ok_and(|ordinal| ordinal < spec.replicas && !(votes(ordinal) && spec.voter_count() < 3))
}

/// Whether the last rebuild answers this request, or was made when it had been answered.
fn is_answered(rebuild: Option<&Rebuild>, asked: &String) -> bool {
    rebuild.is_some_and(|rebuild| {
        [&rebuild.request, &rebuild.answered].into_iter().flatten().any(|request| request == asked)
    })
}
