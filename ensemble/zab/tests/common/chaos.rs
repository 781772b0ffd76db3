//! A seed is a run: random writes, syncs, crashes, restarts, cuts, resets, slow disks and snapshots; then the faults stop,
//! and the ensemble must agree and serve.

use super::{Random, World, fast_config, hierarchy, membership, ms};
use ensemble_proto::ServerId;
use ensemble_zab::Config;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How long it may take, after the faults stop, until a write is committed and every server shows it.
const SETTLE_TICKS: u32 = 20;

/// Runs a seed; the error is the broken promise, or the panic.
pub fn run(seed: u64, adapt: &dyn Fn(&mut Config), trace: bool) -> Result<usize, String> {
    watched(trace, || world(seed, adapt), |world| play_with(world, |_| {}))
}

/// Builds a world and plays it; a panic is an error too.
pub fn watched(
    trace: bool,
    world: impl FnOnce() -> World,
    play: impl FnOnce(&mut World) -> Result<(), String>,
) -> Result<usize, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = world();
        if trace {
            world.trace = Some(Vec::new());
        }
        let result = play(&mut world);
        if trace && result.is_err() {
            eprintln!("{}", world.trace.clone().unwrap_or_default().join("\n"));
        }
        result.map(|()| world.committed.len())
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    })
}

fn world(seed: u64, adapt: &dyn Fn(&mut Config)) -> World {
    let mut random = Random::new(seed);
    let (voters, observers) = [(3, 0), (3, 1), (5, 0), (2, 0)][random.below(4) as usize];
    let mut config = fast_config(match seed % 8 {
        3 => hierarchy(&[&[1, 1], &[1, 2], &[0]]),
        7 => hierarchy(&[&[2, 1, 1], &[0], &[1]]),
        _ => membership(voters, observers),
    });
    config.committed_log_max = [3, 10, 500][random.below(3) as usize];
    config.zxid_counter_max = [20, u32::MAX - 1][random.below(2) as usize];
    adapt(&mut config);
    let mut world = World::with_config(config, random.next());
    world.latency_ms = [1, 5, 20][random.below(3) as usize];
    world
}

/// The faults, and `more` between them.
pub fn play_with(world: &mut World, more: impl Fn(&mut World)) -> Result<(), String> {
    let servers = world.ids().len() as u64;
    let any = |world: &mut World| 1 + world.random.below(servers) as i64;
    let calm = world.random.below(8) + 1;
    world.start_all();
    for _ in 0..150 {
        let pause = ms([1, 10, 60][world.random.below(3) as usize]);
        world.run_for(pause);
        if world.violation.is_some() {
            break;
        }
        more(world);
        for _ in 0..world.random.below(6) {
            let id = any(world);
            match world.random.below(3) {
                0 => world.sync_at(id),
                _ => world.write_at(id),
            }
        }
        if world.random.below(8) < calm {
            continue;
        }
        let id = any(world);
        match world.random.below(12) {
            0..=2 => world.crash(id),
            3..=5 if world.servers[&ServerId(id)].zab.is_none() => world.start(id),
            3..=5 => world.take_snapshot(id),
            6 => world.reset_connections(id),
            7 => world.cut_off(id),
            8 => {
                let other = any(world);
                if id != other {
                    world.cut_one_way(id, other);
                }
            }
            9 => world.heal(),
            10 => {
                world.servers.get_mut(&ServerId(id)).expect("a server").disk_time =
                    ms([1, 10, 100, 700][world.random.below(4) as usize]);
            }
            _ => {
                for id in 1..=servers as i64 {
                    world.crash(id);
                }
                world.run_for(ms(5));
                for id in 1..=servers as i64 {
                    world.start(id);
                }
            }
        }
    }
    settle(world)
}

fn settle(world: &mut World) -> Result<(), String> {
    world.heal();
    for id in world.ids() {
        world.servers.get_mut(&id).expect("a server").disk_time = ms(1);
        if world.servers[&id].zab.is_none() {
            world.start(id.0);
        }
    }
    let before = world.committed.len();
    let served = |world: &World| world.is_converged() && world.committed.len() > before;
    for _ in 0..SETTLE_TICKS {
        world.run_until(world.config.tick, served);
        if served(world) || world.violation.is_some() {
            break;
        }
        // a leader that is not one any more may take a write and lose it
        world.propose();
    }
    match &world.violation {
        Some(violation) => Err(violation.clone()),
        None if served(world) => Ok(()),
        None => Err(format!("does not serve after the faults stop:\n{}", world.summary())),
    }
}
