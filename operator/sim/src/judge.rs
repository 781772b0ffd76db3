//! What an operator must never do, judged by what is true rather than by what it saw.
//!
//! | Check | Promise |
//! |---|---|
//! | O-1 | at most one healthy voter is down by an operator's doing, and the others alone are a quorum that serves |
//! | O-2 | an operator asks for an odd number of voters, changes two at most, and lets nobody vote who is not synced |
//! | O-3 | a leader that is well is not restarted before it has handed its office over |
//! | O-4 | no claim of a member, or of a pod, is deleted, but those of one server whose rebuild is recorded, while all other voters hold everything; none shrinks |
//! | O-5 | no pod of a member is scaled away, unless the ensemble is to sleep |
//! | O-6 | recorded facts do not change, the recorded configuration does not go back, and none is made up |
//! | O-7 | one ensemble is founded, and each ordinal is granted its vote for one volume |
//! | O-8 | once the spec is stable and the faults have stopped, it is carried out within ten minutes, and nothing is written after |
//! | O-9 | a server can read what is written for it |
//! | O-10 | nothing runs twice: a pod goes by force only when its server does not run, and a person said that its node is off |
//! | O-12 | an ensemble is given up for another one only when its majority is lost and a person named it, for a member that holds everything; nobody of it runs when the other one begins |
//! | O-11 | an ensemble that is being deleted is left alone, and what is left of it in the end is its claims, if the spec says so, and nothing else |
//!
//! What the servers promise is checked beside: I-1 to I-13 and H-1 to H-11 of `ensemble-sim`.
//!
//! *An operator sees a fault only a moment later*, and so does the ensemble: a server that stood still for a second is given up by its
//! leader after that. So what rests on others being well is judged only when no fault has struck, lasted or ended for [`TROUBLE`].
//! *An answer is as old as its pass.* Each pass asks every server anew, and acts a moment later; servers that no fault strikes leave their
//! leader, too, for a fraction of a second: after a hand-off, or when a reconfiguration makes them connect anew. So who served when the pass
//! that acts asked it counts as serving, for [`PASS`] at most. What holds in between are the guards at the place of the act: the UID and the
//! budget of an eviction, and the leader's own check of a reconfiguration.
//! O-8 counts an ensemble as carried out only then, and while every member serves: whatever a fault brings about after it is over
//! an operator reports, and may. A server that ceases to serve later, of no fault, is an ensemble's failure, and I-12 tells.

use crate::cluster::{Cluster, ordinal_of, since_start};
use crate::members;
use crate::world::World;
use ensemble_sim::operated::Operated;
use ensemble_sim::trace::{Verdict, Violation};
use operator_api::{Rebuild, RecoveryPhase, RecoveryStatus, UpdateMode, ZooKeeperEnsembleStatus};
use operator_core::{Adoption, Expansion, Grant, Hold, Kind, Object, Observed, Reconfiguration, Removal, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// For so long after a fault an operator may not have seen what came of it.
const TROUBLE: Duration = Duration::from_secs(30);

/// An act on answers that may be older than this is one on old answers.
const PASS: Duration = Duration::from_secs(30);

/// What the judge remembers.
#[derive(Default)]
pub(crate) struct Judge {
    /// When somebody but an operator last hurt a server.
    pub(crate) disturbed: Duration,
    /// Healthy voters that operators took down, by ordinal: the UID of the pod.
    taken: BTreeMap<i32, String>,
    /// The volume that each ordinal was granted its vote for.
    granted: BTreeMap<i32, String>,
    /// The UIDs of the claims of rebuilds that were recorded.
    going: BTreeSet<String>,
    /// The UIDs of claims that operators deleted.
    pub(crate) given_up: BTreeSet<String>,
    /// When each server last served and told an operator so.
    served: BTreeMap<usize, Duration>,
    ensemble_id: Option<String>,
    /// The newest version of a configuration that any server had active when it was asked.
    newest: i64,
}

fn fail(check: &'static str, message: String) -> Verdict {
    Err(Violation::new(check, message))
}

impl Judge {
    /// When anything last failed.
    pub(crate) fn last_trouble(&self, servers: &Operated) -> Duration {
        self.disturbed.max(servers.disturbed())
    }

    /// A server told an operator the version of its configuration, and whether it serves.
    pub(crate) fn told(&mut self, server: usize, version: Option<i64>, serves: bool, now: Duration) {
        self.newest = self.newest.max(version.unwrap_or_default());
        if serves {
            self.served.insert(server, now);
        }
    }

    /// A server took a grant.
    pub(crate) fn granted(&mut self, grant: &Grant) -> Verdict {
        let id = self.ensemble_id.get_or_insert_with(|| grant.ensemble_id.clone());
        if *id != grant.ensemble_id {
            return fail("O-7", format!("ensemble {id} was founded, and now {}", grant.ensemble_id));
        }
        let volume = self.granted.entry(grant.ordinal).or_insert_with(|| grant.volume_id.clone());
        if *volume != grant.volume_id {
            return fail("O-7", format!("ordinal {} was granted {volume}, and now {}", grant.ordinal, grant.volume_id));
        }
        Ok(())
    }

    /// A rebuild was recorded.
    pub(crate) fn recorded(&mut self, rebuild: &Rebuild) {
        self.going.extend(rebuild.claims.iter().map(|claim| claim.uid.clone()));
    }

    /// Another ensemble begins, with a configuration later than any that was known.
    pub(crate) fn began_anew(&mut self, status: &ZooKeeperEnsembleStatus) {
        let is_new = status.recovery.as_ref().is_some_and(|recovery| recovery.phase == RecoveryPhase::Stopping);
        let version = status.configuration.as_ref().and_then(|configuration| configuration.version());
        self.newest = self.newest.max(version.filter(|_| is_new).unwrap_or_default());
    }

    /// Nothing was written since there were so many writes.
    pub(crate) fn quiet(&self, writes: u64, cluster: &Cluster) -> Verdict {
        match cluster.writes - writes {
            0 => Ok(()),
            more => fail("O-8", format!("{more} writes after the ensemble was what the spec asks for")),
        }
    }
}

/// A call of a step arrives.
pub(crate) fn step(world: &mut World, observed: &Observed, step: &Step) -> Verdict {
    let deleted = world.cluster.ensemble.metadata.deletion_timestamp.as_ref();
    if deleted.is_some_and(|deleted| observed.now.0 > deleted.0) {
        return fail("O-11", format!("the ensemble is being deleted: {step}"));
    }
    let began = since_start(&observed.now);
    match step {
        Step::Record(_, status) | Step::WriteStatus(status) => facts(world, observed, status),
        Step::DeleteClaim(hold) => claim(world, hold, began),
        Step::Evict(removal) | Step::DeletePod(removal) => removal_of(world, removal, began),
        Step::ForceDeletePod(removal) => forced(world, removal),
        Step::Apply(object) => fewer_pods(world, observed, object),
        Step::Expand(expansion) => larger(world, expansion),
        Step::Adopt(adoption) => adopted(world, adoption),
        Step::CreateToken(_)
        | Step::Offer(_)
        | Step::Withdraw(..)
        | Step::Orphan(_)
        | Step::Grant(_)
        | Step::Reconfigure(_)
        | Step::Transfer(_)
        | Step::Stamp(_)
        | Step::Own(_)
        | Step::Report(_)
        | Step::Wait { .. } => Ok(()),
    }
}

fn facts(world: &World, observed: &Observed, status: &ZooKeeperEnsembleStatus) -> Verdict {
    let live = &world.cluster.ensemble;
    if observed.ensemble.metadata.resource_version != live.metadata.resource_version {
        return Ok(());
    }
    let version = |status: &ZooKeeperEnsembleStatus| status.configuration.as_ref().and_then(|c| c.version());
    if let Some(old) = &live.status {
        if old.ensemble_id.is_some() && old.ensemble_id != status.ensemble_id {
            return given_up(world, old, status);
        }
        if let Some(bootstrap) = &old.bootstrap
            && !status.bootstrap.as_ref().is_some_and(|next| bootstrap.may_become(next))
        {
            return fail("O-6", format!("bootstrap {bootstrap:?} becomes {:?}", status.bootstrap));
        }
        if version(old) > version(status) {
            return fail(
                "O-6",
                format!("the configuration goes back from {:?} to {:?}", version(old), version(status)),
            );
        }
    }
    let newest = world.judge.newest;
    if version(status) > Some(newest) {
        return fail("O-6", format!("configuration {:?} is recorded, the newest is {newest:#x}", version(status)));
    }
    Ok(())
}

/// An ensemble is given up, and the history of one member goes on as another one.
fn given_up(world: &World, old: &ZooKeeperEnsembleStatus, status: &ZooKeeperEnsembleStatus) -> Verdict {
    let change = format!("ensembleId {:?} becomes {:?}", old.ensemble_id, status.ensemble_id);
    let asked = world.cluster.ensemble.spec.recovery.as_ref();
    let (Some(asked), Some(recovery)) = (asked, &status.recovery) else {
        return fail("O-6", format!("{change}, and nobody asked for a recovery"));
    };
    let ledger = world.servers.ledger();
    let holds = ledger
        .servers
        .get(World::server(recovery.member))
        .is_some_and(|server| server.durable.has(ledger.last_committed()));
    let wrong = if Some(&asked.confirm) != old.ensemble_id.as_ref() || asked.from_member != recovery.member {
        format!("{asked:?} was asked for")
    } else if !world.is_majority_lost() {
        "its majority is not lost".to_owned()
    } else if !holds {
        format!("{} does not hold everything", recovery.member)
    } else {
        return Ok(());
    };
    fail("O-12", format!("{change}, and {wrong}"))
}

/// A claim goes on for another ensemble.
fn adopted(world: &World, adoption: &Adoption) -> Verdict {
    let recovery = world.recovery().filter(|recovery| recovery.is_under_way());
    match recovery.filter(|recovery| ordinal_of(&adoption.claim) == Some(recovery.member)) {
        Some(_) => Ok(()),
        None => fail("O-12", format!("{} is adopted, and no recovery is recorded that says so", adoption.claim)),
    }
}

/// A volume goes on as another ensemble. Servers that run on new volumes as servers of that one already are nobody of the former one.
pub(crate) fn taken_over(world: &World, server: usize, ensemble_id: &str) -> Verdict {
    let is_formers = |other: &usize| {
        let pod = i32::try_from(*other).ok().and_then(|ordinal| world.cluster.pods.get(&ordinal));
        pod.and_then(|pod| members::line(&pod.zoo_cfg, "ensemble.id=")).is_none_or(|id| id != ensemble_id)
    };
    let mut running = (0..crate::world::SERVERS).filter(|other| *other != server && world.servers.is_running(*other));
    match running.find(is_formers) {
        Some(other) => fail("O-12", format!("server {server} begins another ensemble while {other} runs")),
        None => Ok(()),
    }
}

fn claim(world: &World, hold: &Hold, began: Duration) -> Verdict {
    let name = &hold.name;
    if world.cluster.claims.get(name).is_none_or(|claim| claim.uid != hold.uid) {
        // It is another one by now, and stays.
        return Ok(());
    }
    let Some(ordinal) = ordinal_of(name) else { return Ok(()) };
    let is_of = |recovery: &&RecoveryStatus| recovery.claims.iter().any(|claim| claim.uid == hold.uid);
    if let Some(recovery) = world.recovery().filter(is_of) {
        let is_over = serves(world, World::server(recovery.member), began) && !world.is_majority_lost();
        return match is_over {
            true => Ok(()),
            false => fail("O-4", format!("{name} is deleted, and {} does not serve without it", recovery.member)),
        };
    }
    if world.is_member(ordinal) || world.judge.going.contains(&hold.uid) {
        return rebuild(world, ordinal, hold, began);
    }
    if world.cluster.pods.contains_key(&ordinal) {
        return fail("O-4", format!("{name} is deleted under its pod"));
    }
    Ok(())
}

/// A volume of a member, or of a pod that is to become one, is given up.
fn rebuild(world: &World, ordinal: i32, hold: &Hold, began: Duration) -> Verdict {
    let name = &hold.name;
    if !world.judge.going.contains(&hold.uid) {
        return fail("O-4", format!("{name} is deleted, and its server is a member"));
    }
    let ledger = world.servers.ledger();
    let voters = ledger.voters();
    let others: Vec<usize> = voters.iter().copied().filter(|other| *other != World::server(ordinal)).collect();
    if others.len() <= voters.len() / 2 {
        return fail(
            "O-4",
            format!("{name} is deleted, and {} others are no quorum of {}", others.len(), voters.len()),
        );
    }
    let holds = |other: &&usize| serves(world, **other, began) && !ledger.servers[**other].is_wiped;
    let held_by = others.iter().filter(holds).count();
    let is_other = |claim: &&operator_core::Claim| claim.deleting && ordinal_of(&claim.name) != Some(ordinal);
    let going = world
        .cluster
        .claims
        .values()
        .filter(is_other)
        .find(|claim| ordinal_of(&claim.name).is_some_and(|o| world.votes(o)));
    match going {
        _ if !is_quiet(world) => Ok(()),
        Some(claim) => fail("O-4", format!("{name} is deleted, and so is {}", claim.name)),
        None if held_by < others.len() => {
            fail("O-4", format!("{name} is deleted, and {held_by} of {} other voters hold everything", others.len()))
        }
        None => Ok(()),
    }
}

/// A claim asks for another size.
fn larger(world: &World, expansion: &Expansion) -> Verdict {
    let gib = |size: &str| size.trim_end_matches("Gi").parse::<u32>().unwrap_or_default();
    let claim = world.cluster.claims.get(&expansion.claim).filter(|claim| claim.uid == expansion.uid);
    match claim.and_then(|claim| claim.requested.as_deref()) {
        Some(now) if gib(now) > gib(&expansion.size) => {
            fail("O-4", format!("{} is to shrink from {now} to {}", expansion.claim, expansion.size))
        }
        _ => Ok(()),
    }
}

/// A pod is deleted by force. Whether its node is off only a person knows, and only they can be wrong.
fn forced(world: &World, removal: &Removal) -> Verdict {
    let Some(pod) = world.cluster.pods.get(&removal.ordinal).filter(|pod| pod.facts.uid == removal.uid) else {
        return Ok(());
    };
    let node = pod.facts.node.as_ref().and_then(|node| world.cluster.nodes.get(node));
    let wrong = if world.servers.is_running(World::server(removal.ordinal)) {
        "its server runs"
    } else if !node.is_some_and(|node| node.out_of_service) {
        "nobody said that its node is off"
    } else if node.is_some_and(|node| node.ready) && is_quiet(world) {
        "its node is back"
    } else if !pod.facts.deleting {
        "it was not to go"
    } else {
        return Ok(());
    };
    fail("O-10", format!("pod {} is deleted by force, and {wrong}", removal.ordinal))
}

fn fewer_pods(world: &World, observed: &Observed, object: &Object) -> Verdict {
    let Some(replicas) = object.manifest["spec"]["replicas"].as_i64().filter(|_| object.kind == Kind::StatefulSet)
    else {
        return Ok(());
    };
    if observed.ensemble.spec.is_hibernated() {
        // Asked for, or asked for until a moment ago.
        return Ok(());
    }
    let members = world.servers.ledger().membership.servers.keys();
    let lost = members.filter(|id| id.0 > replicas).map(|id| id.0 - 1);
    match lost
        .filter_map(|ordinal| i32::try_from(ordinal).ok())
        .find(|ordinal| world.cluster.pods.contains_key(ordinal))
    {
        Some(ordinal) => {
            fail("O-5", format!("{replicas} pods are asked for, and that of ordinal {ordinal} is a member's"))
        }
        None => Ok(()),
    }
}

/// Whether no fault has struck, lasted or ended for a while, or ever.
pub(crate) fn is_quiet(world: &World) -> bool {
    let last = world.judge.last_trouble(&world.servers);
    last == Duration::ZERO || world.now().saturating_sub(last) > TROUBLE
}

/// Whether a server serves, or did when the pass that began at `began` asked it.
fn serves(world: &World, server: usize, began: Duration) -> bool {
    let is_fresh = world.now().saturating_sub(began) <= PASS;
    let served = world.judge.served.get(&server);
    world.servers.is_serving(server) || served.is_some_and(|at| is_fresh && *at >= began)
}

/// Forgets the voters that are back.
pub(crate) fn look(world: &mut World) {
    let mut taken = std::mem::take(&mut world.judge.taken);
    taken.retain(|ordinal, uid| {
        let is_made_anew = world.cluster.pods.get(ordinal).is_some_and(|pod| pod.facts.uid != *uid);
        let is_back = is_made_anew && world.servers.is_serving(World::server(*ordinal));
        world.votes(*ordinal) && !is_back
    });
    world.judge.taken = taken;
}

fn removal_of(world: &mut World, removal: &Removal, began: Duration) -> Verdict {
    let Removal { ordinal, uid, .. } = removal;
    let is_it = world.cluster.pods.get(ordinal).is_some_and(|pod| pod.facts.uid == *uid && !pod.facts.deleting);
    if !is_it || !world.votes(*ordinal) || !world.servers.is_serving(World::server(*ordinal)) {
        return Ok(());
    }
    look(world);
    let mut taken = world.judge.taken.clone();
    // One that has only just come back is not known to be healthy by anybody.
    let is_healthy = world.cluster.pods.get(ordinal).is_some_and(|pod| pod.facts.ready);
    if let Some(other) = taken.keys().find(|other| is_healthy && *other != ordinal) {
        return fail("O-1", format!("voter {ordinal} is taken down while {other} is"));
    }
    if is_healthy {
        taken.insert(*ordinal, uid.clone());
    }
    let quiet = is_quiet(world);
    let voters = world.servers.ledger().voters();
    if quiet && is_healthy && voters.len() >= 3 && keeps_voters(world, *ordinal) {
        return fail("O-1", format!("voter {ordinal} is taken down in Swap mode"));
    }
    let server = World::server(*ordinal);
    let others = voters.iter().filter(|other| **other != server && serves(world, **other, began)).count();
    let is_quorum = others > voters.len() / 2;
    if voters.len() > 1 && quiet && !is_quorum {
        return fail("O-1", format!("voter {ordinal} is taken down, and {others} others of {} serve", voters.len()));
    }
    if voters.len() > 1 && quiet && world.servers.is_leading(server) {
        return fail("O-3", format!("{ordinal} leads and is taken down, and {others} others serve"));
    }
    world.judge.taken = taken;
    Ok(())
}

/// Whether nobody who votes is to be taken down, and the acting operator can know that: in Swap mode, but for a rebuild.
fn keeps_voters(world: &World, ordinal: i32) -> bool {
    let status = world.cluster.ensemble.status.as_ref();
    let rebuild = status.and_then(|status| status.rebuild.as_ref()).filter(|rebuild| rebuild.finished_at.is_none());
    let is_alone = world.operators.iter().filter(|operator| operator.is_alive).count() == 1;
    let is_swap = world.cluster.ensemble.spec.update_strategy.mode == UpdateMode::Swap;
    is_swap && is_alone && !world.is_stormy && rebuild.is_none_or(|rebuild| rebuild.ordinal != ordinal)
}

/// A leader is asked for a configuration.
pub(crate) fn reconfiguration(world: &World, observed: &Observed, change: &Reconfiguration) -> Verdict {
    let began = since_start(&observed.now);
    let Some(report) = world.servers.report(World::server(change.leader)) else { return Ok(()) };
    let now = report.membership;
    if operator_api::version_number(&change.version) != Some(now.version.0) {
        // It comes too late and has no effect.
        return Ok(());
    }
    let old: Vec<i64> = now.voters().map(|id| id.0).collect();
    let mut new = old.clone();
    new.retain(|id| !change.leaving.iter().any(|leaving| i64::from(*leaving) == *id));
    for line in &change.joining {
        let id = line.strip_prefix("server.").and_then(|line| line.split_once('=')).and_then(|(id, _)| id.parse().ok());
        let Some(id) = id else { return fail("O-9", format!("{line} is no line of a server")) };
        new.retain(|voter| *voter != id);
        if !line.contains(":observer") {
            new.push(id);
        }
    }
    let joining: Vec<i64> = new.iter().filter(|id| !old.contains(id)).copied().collect();
    let leaving = old.iter().filter(|id| !new.contains(id)).count();
    if new.len().is_multiple_of(2) && !old.len().is_multiple_of(2) {
        return fail("O-2", format!("{new:?} are to vote, instead of {old:?}"));
    }
    if joining.len() > 2 || leaving > 2 {
        return fail("O-2", format!("{new:?} are to vote, instead of {old:?}: more than two change"));
    }
    let quiet = is_quiet(world);
    let server = |id: i64| usize::try_from(id - 1).unwrap_or_default();
    let unsynced = joining.iter().find(|id| !serves(world, server(**id), began));
    match unsynced {
        Some(id) if quiet => fail("O-2", format!("server {id} is to vote and is not synced")),
        _ => Ok(()),
    }
}
