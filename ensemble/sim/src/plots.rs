//! Faults that hurt only together and in one order, which faults at random hardly ever come in.

use crate::faults::{lose_volume, may_wipe};
use crate::marks::Mark;
use crate::network::{Direction, Place, Port};
use crate::shrink::stream;
use crate::sightings;
use crate::trace::Verdict;
use crate::world::{Event, World};
use fastrand::Rng;
use std::time::Duration;

/// What draws the second part of a lost quorum.
const LOST_QUORUM: &str = "lost_quorum_strikes";

/// As many servers as can be missed go down for a while, in which the others go on without them.
pub(crate) fn leave_behind(world: &mut World, random: &mut Rng, lost: usize, number: u64) -> Verdict {
    let missed = world.servers.len() - world.ledger.quorum();
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
