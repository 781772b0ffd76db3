//! A volume is lost and refilled, and the power goes while that is under way. W held what only it and A had; a snapshot of A's
//! older tree arrives, the records behind it do not. W must not come back as a voter with that.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, fast_config, membership, ms};
use ensemble_proto::ServerId;
use ensemble_zab::ZabState;
use std::time::Duration;

const SEEDS: u64 = 40;

/// Runs on; that the loss itself leaves a record on too few disks is not what is asked here.
fn until(world: &mut World, limit: Duration, condition: impl Fn(&World) -> bool) -> bool {
    let end = world.now + limit;
    while world.now < end {
        world.violation = world.violation.take().filter(|violation| !violation.contains("disks only"));
        if world.violation.is_some() || condition(world) || !world.step() {
            break;
        }
    }
    condition(world)
}

/// `None` when the run did not come to the moment that it is about.
fn play(seed: u64) -> Option<World> {
    let mut world = World::with_config(fast_config(membership(3, 0)), seed);
    world.start_all();
    until(&mut world, ms(3000), World::is_converged).then_some(())?;
    let a = world.leader().unwrap().0;
    let others: Vec<i64> = (1..=3).filter(|id| *id != a).collect();
    let (w, b) = (others[0], others[1]);
    world.crash(b);
    for _ in 0..5 {
        world.propose();
    }
    world.run_for(ms(300));
    (world.committed.len() == 5).then_some(())?;
    world.crash(w);
    world.crash(a);
    let wiped = world.servers.get_mut(&ServerId(w)).unwrap();
    wiped.disk = common::Disk::default();
    wiped.autocreate = false;
    for id in [a, b, w] {
        world.start(id);
    }
    let synchronises = |world: &World| {
        world.zab(b).leader() == Some(ServerId(a)) && world.zab(b).zab_state() == ZabState::Synchronization
    };
    until(&mut world, ms(3000), synchronises).then_some(())?;
    world.servers.get_mut(&ServerId(b)).unwrap().disk_time = ms(5000);
    until(&mut world, ms(3000), |world| world.server(w).disk.installs > 0).then_some(())?;
    for id in [a, w, b] {
        world.crash(id);
    }
    world.servers.get_mut(&ServerId(b)).unwrap().disk_time = ms(2);
    world.start(w);
    world.start(b);
    until(&mut world, ms(3000), |_| false);
    Some(world)
}

#[test]
fn a_half_refilled_store_does_not_vote() {
    let runs: Vec<World> = (0..SEEDS).filter_map(play).collect();
    assert!(!runs.is_empty(), "no run came to the moment");
    for world in &runs {
        assert_eq!(world.violation, None, "{}", world.summary());
    }
}

/// A volume comes back as it was some time ago, while the others serve: nobody can tell it from one that was down meanwhile. It is sent what
/// it lacks, or loses what its leader does not have, and nothing that was acknowledged is missing anywhere.
#[test]
fn a_volume_from_an_old_image_is_brought_up_to_date_by_a_quorum_of_the_others() {
    for seed in 0..SEEDS {
        let mut world = World::with_config(fast_config(membership(3, 0)), seed);
        world.start_all();
        assert!(until(&mut world, ms(3000), World::is_converged), "{}", world.summary());
        let a = world.leader().unwrap().0;
        let old = (1..=3).find(|id| *id != a).unwrap();
        world.propose();
        world.run_for(ms(300));
        let image = world.server(old).disk.clone();
        for _ in 0..5 {
            world.propose();
            world.run_for(ms(100));
        }
        let current = world.server(old).disk.last();
        assert!(world.committed.len() == 6 && image.last() < current, "{}", world.summary());
        world.crash(old);
        world.servers.get_mut(&ServerId(old)).unwrap().disk = image;
        world.start(old);
        let is_current = |world: &World| world.is_converged() && world.server(old).disk.last() >= current;
        assert!(until(&mut world, ms(5000), is_current), "{}", world.summary());
        assert_eq!((world.violation.as_ref(), world.committed.len()), (None, 6), "{}", world.summary());
        world.propose();
        world.expect_converged(ms(3000));
    }
}
