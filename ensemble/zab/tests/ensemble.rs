//! Whole ensembles, without and with faults that one can name.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, fast_config, hierarchy, membership, ms};
use ensemble_proto::quorum::PacketType;
use ensemble_proto::{ServerId, Zxid};
use ensemble_zab::{Config, Role};

fn write(world: &mut World, count: usize) {
    let before = world.committed.len();
    for _ in 0..count {
        world.propose().expect("there is a leader");
    }
    assert!(world.run_until(ms(2000), |world| world.committed.len() == before + count), "{}", world.summary());
}

fn started(voters: i64, observers: i64) -> World {
    let mut world = World::new(voters, observers, 7);
    world.trace = Some(Vec::new());
    world.start_all();
    world.expect_converged(ms(2000));
    world
}

/// Zab, total order; agreement.
#[test]
fn ensembles_of_every_size_elect_a_leader_and_agree() {
    for voters in 1..=5 {
        let mut world = started(voters, 0);
        assert_eq!(world.leader(), Some(ServerId(voters)), "equal histories: the greatest id leads");
        write(&mut world, 20);
        world.expect_converged(ms(1000));
    }
}

/// Zab, steps l.3.3 and l.3.4.
#[test]
fn servers_that_start_one_after_another_join_the_leader_in_office() {
    let mut world = World::new(3, 0, 1);
    world.start(1);
    world.run_for(ms(2000));
    assert_eq!(world.leader(), None, "one of three is no quorum");
    world.start(2);
    world.expect_converged(ms(2000));
    assert_eq!(world.leader(), Some(ServerId(2)));
    write(&mut world, 3);
    world.start(3);
    world.expect_converged(ms(2000));
    assert_eq!(world.leader(), Some(ServerId(2)));
}

#[test]
fn a_follower_that_was_away_gets_a_diff_from_memory_or_from_the_log_or_else_a_snapshot() {
    for (writes, log_syncs, expected, other) in [
        (10, false, PacketType::Diff, PacketType::Snap),
        (600, true, PacketType::Diff, PacketType::Snap),
        (600, false, PacketType::Snap, PacketType::Diff),
    ] {
        let mut world = World::with_config(Config { log_syncs, ..fast_config(membership(3, 0)) }, 1);
        (1..=3).for_each(|id| world.start(id));
        world.expect_converged(ms(2000));
        write(&mut world, 5);
        world.crash(1);
        write(&mut world, writes);
        world.sent.clear();
        world.start(1);
        world.expect_converged(ms(3000));
        assert!(world.sent.contains_key(&expected) && !world.sent.contains_key(&other), "{:?}", world.sent);
    }
}

/// Zab, global primary order.
#[test]
fn what_only_a_dead_leader_had_is_truncated_when_it_returns() {
    let mut world = started(3, 0);
    write(&mut world, 5);
    world.crash(1);
    world.crash(2);
    world.propose();
    world.propose();
    world.run_for(ms(50));
    assert_eq!(world.server(3).disk.log.len(), 7);
    world.crash(3);
    world.start(1);
    world.start(2);
    world.expect_converged(ms(2000));
    assert_eq!(world.committed.len(), 5);
    world.sent.clear();
    world.start(3);
    world.expect_converged(ms(2000));
    assert!(world.sent.contains_key(&PacketType::Trunc), "{:?}", world.sent);
    write(&mut world, 4);
    world.expect_converged(ms(1000));
}

#[test]
fn a_minority_leader_steps_down_and_loses_nothing_that_was_acknowledged() {
    let mut world = started(5, 0);
    write(&mut world, 5);
    world.cut_off(5);
    world.propose();
    world.run_for(ms(3000));
    assert_eq!(world.zab(5).role(), Role::Looking);
    assert!(world.leader().is_some_and(|leader| leader != ServerId(5)));
    write(&mut world, 5);
    world.heal();
    world.expect_converged(ms(3000));
    assert_eq!(world.committed.len(), 10, "the write of the minority was not acknowledged and is gone");
}

#[test]
fn a_leader_that_only_hears_gives_way() {
    let mut world = started(3, 0);
    world.cut_one_way(3, 1);
    world.cut_one_way(3, 2);
    assert!(
        world.run_until(ms(6000), |world| world.leader().is_some_and(|leader| leader != ServerId(3))),
        "{}",
        world.summary()
    );
    world.expect_no_violation();
    world.heal();
    world.expect_converged(ms(4000));
}

#[test]
fn observers_learn_and_forward_but_do_not_count() {
    let mut world = started(3, 2);
    write(&mut world, 5);
    world.write_at(4);
    world.write_at(5);
    assert!(world.run_until(ms(500), |world| world.committed.len() == 7));
    world.expect_converged(ms(500));
    assert_eq!(world.zab(4).role(), Role::Observing { leader: ServerId(3) });
    assert!(world.sent.contains_key(&PacketType::Inform));
    world.crash(1);
    world.crash(2);
    world.run_for(ms(3000));
    assert_eq!(world.leader(), None, "two observers do not make a quorum");
    world.start(1);
    world.expect_converged(ms(3000));
}

/// Two of three groups, in each two of three, are enough; a group alone is not, and six of nine may be too few.
/// Zab, steps l.3.2 and f.3.2.
#[test]
fn groups_decide_together() {
    let mut world = World::with_config(fast_config(hierarchy(&[&[1, 1, 1], &[1, 1, 1], &[1, 1, 1]])), 3);
    for id in [1, 2, 3, 4, 7] {
        world.start(id);
    }
    assert!(!world.run_until(ms(3000), |world| world.leader().is_some()), "one group is no quorum");
    world.start(5);
    world.expect_converged(ms(5000));
    write(&mut world, 3);
    for id in [8, 9] {
        world.start(id);
    }
    world.expect_converged(ms(5000));
    // two whole groups without one server each, and the third group gone
    for id in [3, 6, 7, 8, 9] {
        world.crash(id);
    }
    world.expect_converged(ms(5000));
    write(&mut world, 3);
    world.crash(5);
    world.start(7);
    assert!(!world.run_until(ms(3000), |world| world.leader().is_some()), "a quorum of one group only");
    world.start(8);
    world.expect_converged(ms(5000));
    assert_eq!(world.committed.len(), 6);
}

/// Server 5 has the greatest id and, after the others lost theirs, the greatest history; it weighs nothing.
#[test]
fn who_weighs_nothing_is_never_elected() {
    let mut world = World::with_config(fast_config(hierarchy(&[&[1, 1, 1], &[0, 0]])), 4);
    world.start_all();
    world.expect_converged(ms(5000));
    assert_eq!(world.leader(), Some(ServerId(3)));
    world.crash(3);
    world.expect_converged(ms(5000));
    assert_eq!(world.leader(), Some(ServerId(2)));
    // what a leader alone has sent to it, it has logged
    world.crash(1);
    world.propose().unwrap();
    world.run_for(ms(20));
    world.crash(2);
    assert!(world.zab(5).last_logged() > world.server(1).disk.last());
    world.start(1);
    world.start(3);
    world.expect_converged(ms(5000));
    assert_eq!(world.leader(), Some(ServerId(1)), "of a later epoch than 3");
}

#[test]
fn a_sync_shows_everything_committed_before_it() {
    let mut world = started(3, 1);
    for _ in 0..20 {
        for id in 1..=4 {
            world.propose();
            world.sync_at(id);
        }
        world.run_for(ms(3));
    }
    world.expect_converged(ms(1000));
    world.run_for(ms(100));
    assert_eq!(world.syncs_answered, 80);
}

#[test]
fn syncs_are_answered_before_anything_is_proposed_in_an_epoch() {
    let mut world = started(3, 1);
    write(&mut world, 5);
    world.crash(3);
    world.start(3);
    assert!(world.run_until(ms(3000), |world| world.servers.values().all(|server| server.serving.is_some())));
    let leader = world.leader().unwrap();
    // The leader's own first: those of its learners must not wait behind it.
    for id in std::iter::once(leader.0).chain((1..=4).filter(|id| *id != leader.0)) {
        world.sync_at(id);
    }
    world.run_for(ms(100));
    assert_eq!(world.syncs_answered, 4);
}

#[test]
fn a_deposed_leader_answers_no_sync() {
    let mut world = started(3, 0);
    write(&mut world, 1);
    world.cut_off(3);
    assert!(
        world.run_until(ms(3000), |world| world.servers.values().filter(|s| s.serving == Some(Role::Leading)).count()
            == 2
            || world.leader() != Some(ServerId(3)))
    );
    let answered = world.syncs_answered;
    world.sync_at(3);
    world.run_for(ms(3000));
    world.expect_no_violation();
    assert_eq!(world.syncs_answered, answered);
}

#[test]
fn writes_sessions_and_questions_travel_from_learners_to_the_leader() {
    let mut world = started(3, 0);
    world.touch_at(1, 0x77);
    world.revalidate_at(2, 0x88, 1000);
    world.revalidate_at(2, 0x99, 2000);
    world.write_at(1);
    world.run_for(ms(500));
    let trace = world.trace.clone().unwrap();
    for line in ["3 hears of [(0x77, 4000)]", "2 revalidated 0x88 true", "2 revalidated 0x99 false"] {
        assert!(trace.iter().any(|found| found.ends_with(line)), "{line}");
    }
    assert_eq!(trace.iter().filter(|line| line.contains("hears of")).count(), 1, "a touch is reported once");
    assert_eq!(world.committed.len(), 1);
}

#[test]
fn an_empty_store_that_may_not_vote_learns_first() {
    let mut world = World::new(3, 0, 3);
    for id in 1..=3 {
        world.servers.get_mut(&ServerId(id)).unwrap().autocreate = false;
    }
    world.start_all();
    world.run_for(ms(5000));
    assert_eq!(world.leader(), None, "three empty stores elect nobody");
    assert_eq!(world.zab(1).last_logged(), Zxid::NONE);
    for id in 1..=2 {
        world.crash(id);
        world.servers.get_mut(&ServerId(id)).unwrap().autocreate = true;
        world.start(id);
    }
    world.expect_converged(ms(3000));
    write(&mut world, 3);
    // The third lost its disk: with one that has the data it is no quorum.
    world.crash(3);
    world.servers.get_mut(&ServerId(3)).unwrap().disk = common::Disk::default();
    world.crash(1);
    world.start(3);
    world.run_for(ms(5000));
    assert_eq!(world.leader(), None);
    world.start(1);
    world.expect_converged(ms(3000));
    assert_ne!(world.zab(3).last_logged(), Zxid::NONE, "filled by the leader, it may vote");
}

#[test]
fn an_epoch_that_has_no_more_zxids_ends_without_losing_a_write() {
    let mut config = common::fast_config(common::membership(3, 0));
    config.zxid_counter_max = 5;
    let mut world = World::with_config(config, 5);
    world.start_all();
    world.expect_converged(ms(2000));
    for _ in 0..23 {
        assert!(world.run_until(ms(2000), |world| world.leader().is_some()));
        let before = world.committed.len();
        world.propose();
        assert!(world.run_until(ms(2000), |world| world.committed.len() > before), "{}", world.summary());
    }
    world.expect_converged(ms(2000));
    assert!(world.zab(1).epoch().0 >= 5);
    assert!(world.committed.iter().all(|(zxid, _)| (1..=5).contains(&zxid.counter())));
}

#[test]
fn a_leader_whose_disk_hangs_gives_way() {
    let mut world = started(3, 0);
    write(&mut world, 3);
    world.servers.get_mut(&ServerId(3)).unwrap().disk_time = ms(1_000_000);
    world.propose();
    assert!(
        world.run_until(ms(5000), |world| world.leader().is_some_and(|leader| leader != ServerId(3))),
        "{}",
        world.summary()
    );
    world.expect_no_violation();
}

/// Zab, steps l.3.1 and f.3.1.
#[test]
fn a_follower_whose_disk_hangs_delays_nobody_and_is_dropped() {
    let mut world = started(3, 0);
    world.servers.get_mut(&ServerId(1)).unwrap().disk_time = ms(1_000_000);
    write(&mut world, 10);
    world.run_for(ms(2500));
    assert_eq!(world.server(1).serving, None);
    assert_eq!(world.leader(), Some(ServerId(3)));
}

#[test]
fn a_standalone_server_commits_what_its_own_disk_has() {
    let mut config = common::fast_config(common::membership(1, 0));
    config.standalone = true;
    let mut world = World::with_config(config, 5);
    world.start_all();
    assert_eq!(world.leader(), Some(ServerId(1)), "at once");
    write(&mut world, 3);
    world.sync_at(1);
    world.run_for(ms(10));
    assert_eq!((world.syncs_answered, world.committed[2].0), (1, Zxid(3)));
    world.propose();
    world.crash(1);
    world.start(1);
    write(&mut world, 1);
    assert_eq!(world.server(1).disk.current.0, 0, "no epochs");
    world.expect_no_violation();
}

#[test]
fn all_servers_crash_and_nothing_is_lost() {
    let mut world = started(5, 0);
    write(&mut world, 30);
    for id in 1..=5 {
        world.crash(id);
    }
    world.start_all();
    world.expect_converged(ms(2000));
    assert_eq!(world.committed.len(), 30);
    assert_eq!(world.zab(1).epoch().0, 2);
}
