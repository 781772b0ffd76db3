//! A seed is a run in which the ensemble itself changes: servers are added, removed, promoted, demoted, one by one or all at once, while
//! they crash, hang, lose connections and restart, above all while a reconfiguration is pending.

use super::chaos::{play_with, watched};
use super::{Random, World, fast_config, hierarchy, roles};
use ensemble_proto::ServerId;
use ensemble_proto::membership::Membership;
use ensemble_zab::Config;

/// Servers of which any may be in the ensemble.
const SERVERS: i64 = 6;

/// Runs a seed; the error is the broken promise, or the panic.
pub fn run(seed: u64, adapt: &dyn Fn(&mut Config), trace: bool) -> Result<usize, String> {
    watched(trace, || world(seed, adapt), |world| play_with(world, reconfigure))
}

fn world(seed: u64, adapt: &dyn Fn(&mut Config)) -> World {
    let mut random = Random::new(seed);
    let mut config = fast_config(match random.below(4) {
        0 => roles(&[1], &[2]),
        1 => roles(&[1, 2], &[]),
        2 => roles(&[1, 2, 3], &[4]),
        _ => hierarchy(&[&[1, 2], &[0, 1, 1]]),
    });
    config.reconfig = true;
    config.committed_log_max = [3, 10, 500][random.below(3) as usize];
    config.zxid_counter_max = [20, u32::MAX - 1][random.below(2) as usize];
    adapt(&mut config);
    let mut world = World::with_config(config, random.next());
    for id in 1..=SERVERS {
        if !world.servers.contains_key(&ServerId(id)) {
            world.add(id);
        }
    }
    world.latency_ms = [1, 5, 20][random.below(3) as usize];
    world
}

/// Now and then; and then, often, a crash of somebody at once.
fn reconfigure(world: &mut World) {
    if !world.random.one_in(6) {
        return;
    }
    let Some(leader) = world.leader() else { return };
    let active = world.servers[&leader].zab.as_ref().map(|zab| zab.membership().clone());
    let Some(active) = active else { return };
    let next = match world.random.below(4) {
        0 => anything(&mut world.random),
        _ => one_step(&mut world.random, &active),
    };
    if next.voters().next().is_some() && world.reconfigure(next).is_ok() && world.random.one_in(2) {
        let time = super::ms(world.random.below(8 + 2 * world.latency_ms));
        world.run_for(time);
        let victim = match world.random.one_in(2) {
            true => leader.0,
            false => 1 + world.random.below(SERVERS as u64) as i64,
        };
        world.crash(victim);
    }
}

fn anything(random: &mut Random) -> Membership {
    if random.one_in(3) {
        return hierarchy([&[&[1, 1, 1][..], &[2, 1]][..], &[&[1], &[1, 0], &[1, 1, 1]]][random.below(2) as usize]);
    }
    let (mut voters, mut observers) = (Vec::new(), Vec::new());
    for id in 1..=SERVERS {
        match random.below(5) {
            0..=2 => voters.push(id),
            3 => observers.push(id),
            _ => {}
        }
    }
    roles(&voters, &observers)
}

/// Moves one server; groups are given up.
fn one_step(random: &mut Random, active: &Membership) -> Membership {
    let id = 1 + random.below(SERVERS as u64) as i64;
    let was = active.servers.contains_key(&ServerId(id));
    let mut voters: Vec<i64> = active.voters().map(|id| id.0).filter(|other| *other != id).collect();
    let mut observers: Vec<i64> = active.servers.keys().map(|id| id.0).collect();
    observers.retain(|other| *other != id && !voters.contains(other));
    match random.below(4) {
        0 | 1 if was => {}
        2 => observers.push(id),
        _ => voters.push(id),
    }
    roles(&voters, &observers)
}
