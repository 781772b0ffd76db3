//! Faults that hurt only together and in one order, which faults at random hardly ever come in.

use crate::faults::{lose_volume, may_wipe};
use crate::marks::Mark;
use crate::network::{Direction, Place, Port};
use crate::quorums::is_quorum;
use crate::shrink::stream;
use crate::sightings;
use crate::trace::Verdict;
use crate::world::{Event, World};
use ensemble_proto::membership::Membership;
use ensemble_proto::{ServerId, Zxid};
use ensemble_zab::Role;
use fastrand::Rng;
use std::time::Duration;

/// What draws the second part of a lost quorum.
const LOST_QUORUM: &str = "lost_quorum_strikes";

/// A volume is replaced in an ensemble of so many voters or more.
const VOTERS_MIN: usize = 3;

/// As many servers as can be missed go down for a while, in which the others go on without them.
pub(crate) fn leave_behind(world: &mut World, random: &mut Rng, lost: usize, number: u64) -> Verdict {
    let missed = (world.servers.len() - 1) / 2;
    let mut others: Vec<usize> = (0..world.servers.len()).filter(|server| *server != lost).collect();
    random.shuffle(&mut others);
    let behind: Vec<usize> = others.into_iter().take(missed).collect();
    let strikes_at = world.now + world.swarm.tick.mul_f64(2.0 + 8.0 * random.f64());
    for server in &behind {
        world.crash(*server)?;
        world.schedule(strikes_at, Event::Start { server: *server });
    }
    world.schedule(strikes_at, Event::LostQuorum { lost, behind, number });
    Ok(())
}

/// Everybody's power goes. Those who were left behind come back at once, with one that is a quorum with them and has lost its volume; the
/// others, who know everything, come later.
pub(crate) fn lose_quorum(world: &mut World, lost: usize, behind: &[usize], number: u64) -> Verdict {
    if !world.is_stormy || !may_wipe(world, lost) {
        return Ok(());
    }
    world.disturbed = world.now;
    world.marks.hit(Mark::QuorumLost);
    let random = &mut stream(world.seed, LOST_QUORUM, number);
    for server in 0..world.servers.len() {
        world.crash(server)?;
        let down = match server == lost || behind.contains(&server) {
            true => random.f64(),
            false => f64::from(world.swarm.init_limit) * (1.0 + random.f64()),
        };
        world.schedule(world.now + world.swarm.tick.mul_f64(down), Event::Start { server });
    }
    lose_volume(world, lost);
    Ok(())
}

/// A server of an ensemble that changes is given an empty volume, as an operator replaces one: its process is ended, which the others hear,
/// and the `zoo.cfg` that it starts with is of the configuration in force.
pub(crate) fn replace_volume(world: &mut World, random: &mut Rng, server: usize) -> Verdict {
    if !can_be_missed(world, server) {
        return Ok(());
    }
    world.marks.hit(Mark::VolumeReplaced);
    let half_open = std::mem::replace(&mut world.swarm.half_open, 0);
    let crashed = world.crash(server);
    world.swarm.half_open = half_open;
    crashed?;
    lose_volume(world, server);
    world.servers[server].lines = Membership { version: Zxid::ZERO, ..world.ledger.membership.clone() };
    let down = world.swarm.tick.mul_f64(random.f64() * 20.0);
    world.schedule(world.now + down, Event::Start { server });
    Ok(())
}

/// Whether a volume may go: one leader is in office, in every configuration that counts or may come to count there are three voters at least, the
/// others of them are a quorum without this one, and each of them is awake and follows that leader in sync. An observer that is about to vote
/// acknowledges nothing yet.
fn can_be_missed(world: &World, server: usize) -> bool {
    let is_awake = |index: usize| world.servers[index].paused_until <= world.now;
    let Some(leader) = (0..world.servers.len()).find(|index| world.is_leading(*index) && is_awake(*index)) else {
        return false;
    };
    let Some(zab) = world.servers[leader].process.as_ref().map(|process| process.peer.zab()) else { return false };
    let is_last = world.ledger.leaders.last_key_value().is_some_and(|(epoch, _)| *epoch == zab.epoch());
    let id = world.servers[server].id;
    let is_whole = |voter: ServerId| {
        let Some(index) = world.servers.iter().position(|server| server.id == voter) else { return false };
        let office = world.servers[index].process.as_ref().and_then(|process| process.office);
        let in_sync = match office {
            Some(Role::Leading) => index == leader,
            Some(Role::Following { .. }) => zab.learners().any(|learner| learner.id == voter && learner.synced),
            Some(Role::Observing { .. } | Role::Looking) | None => false,
        };
        in_sync && is_awake(index)
    };
    let allows = |membership: &Membership| {
        membership.voters().count() >= VOTERS_MIN
            && is_quorum(membership, |voter| voter != id)
            && membership.voters().all(|voter| voter == id || is_whole(voter))
    };
    let running = world.servers.iter().filter_map(|server| server.process.as_ref());
    let mut pending = running.filter_map(|process| process.peer.zab().pending_membership());
    leader != server
        && is_last
        && may_wipe(world, server)
        && zab.membership().version == world.ledger.membership.version
        && allows(zab.membership())
        && pending.all(allows)
}

/// A leader is cut off from the other servers, not from its clients. The others lose their connections to it at once; it believes in
/// them for as long as it may.
pub(crate) fn depose(world: &mut World, random: &mut Rng) -> Verdict {
    let Some(leader) = cut_leader_off(world, (1.0 + random.f64()) * f64::from(world.swarm.sync_limit)) else {
        return Ok(());
    };
    for connection in world.network.connections_of(Place::Server(leader)) {
        let ends = world.network.connection(connection).map(|found| found.ends);
        for end in ends.into_iter().flatten() {
            let Place::Server(other) = end.place else { continue };
            if other == leader || end != world.end(end.place) {
                continue;
            }
            sightings::ended(world, connection);
            world.network.drop_connection(connection);
            world.server_loses(other, connection)?;
        }
    }
    Ok(())
}

/// A leader is cut off until the others have elected another. They cannot reach that one, and it can: what it logged meanwhile they lack.
pub(crate) fn keep_apart(world: &mut World, random: &mut Rng) {
    let ticks = f64::from(world.swarm.sync_limit) + 1.5 + 2.0 * random.f64();
    let Some(leader) = cut_leader_off(world, ticks) else { return };
    let rest: Vec<Place> = others(world, leader);
    let heal_at = world.now + world.swarm.tick.mul_f64(ticks + 1.0 + 2.0 * random.f64());
    for from in &rest {
        for to in rest.iter().filter(|to| *to != from) {
            cut(world, (*from, *to, Port::Quorum), heal_at);
        }
    }
}

/// Cuts all links of the leader to other servers for so many ticks; `None` when there is no leader.
fn cut_leader_off(world: &mut World, ticks: f64) -> Option<usize> {
    let leader = (0..world.servers.len()).find(|server| world.is_leading(*server))?;
    let heal_at = world.now + world.swarm.tick.mul_f64(ticks);
    world.trace.tale(world.now, || format!("server {leader} is cut off from the others until {heal_at:?}"));
    world.marks.hit(Mark::LeaderCutOff);
    let here = Place::Server(leader);
    for other in others(world, leader) {
        for (from, to) in [(here, other), (other, here)] {
            cut(world, (from, to, Port::Election), heal_at);
            cut(world, (from, to, Port::Quorum), heal_at);
        }
    }
    Some(leader)
}

fn others(world: &World, server: usize) -> Vec<Place> {
    (0..world.servers.len()).filter(|other| *other != server).map(Place::Server).collect()
}

fn cut(world: &mut World, direction: Direction, heal_at: Duration) {
    world.network.cut(direction);
    world.schedule(heal_at, Event::Heal { direction });
}
