//! Ensembles that change while they serve.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, fast_config, hierarchy, ms, roles};
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::PacketType;
use ensemble_proto::{ServerId, Zxid};
use ensemble_zab::{ReconfigRefusal, Role};

/// Servers 1 to `all`, of which `first` are the ensemble; the others follow without a vote.
fn ensemble(first: Membership, all: i64) -> World {
    let mut config = fast_config(first);
    config.reconfig = true;
    let mut world = World::with_config(config, 11);
    world.trace = Some(Vec::new());
    for id in 1..=all {
        if !world.servers.contains_key(&ServerId(id)) {
            world.add(id);
        }
    }
    world.start_all();
    world.expect_converged(ms(5000));
    world
}

fn write(world: &mut World, count: usize) {
    let before = world.committed.len();
    for _ in 0..count {
        world.propose().expect("there is a leader");
    }
    assert!(world.run_until(ms(3000), |world| world.committed.len() == before + count), "{}", world.summary());
}

/// Runs until every server that is up has activated a version.
fn expect_active(world: &mut World, version: Zxid) {
    let is_active = |world: &World| {
        let mut running = world.servers.values().filter_map(|server| server.zab.as_ref());
        running.all(|zab| zab.membership().version == version && zab.pending_membership().is_none())
    };
    assert!(world.run_until(ms(5000), is_active), "{}", world.summary());
    world.expect_converged(ms(5000));
}

fn change(world: &mut World, next: Membership) -> Zxid {
    let version = world.reconfigure(next).unwrap();
    expect_active(world, version);
    version
}

/// The last thing that a server does with a reconfiguration, and when: lines of the trace.
fn told(world: &World, what: &str) -> usize {
    world.trace.as_ref().unwrap().iter().filter(|line| line.contains(what)).count()
}

#[test]
fn the_first_configuration_gets_a_version_when_it_is_established() {
    let mut world = ensemble(roles(&[1, 2, 3], &[4]), 4);
    expect_active(&mut world, Zxid(1 << 32));
    let leader = world.leader().unwrap();
    world.crash(leader.0);
    world.expect_converged(ms(5000));
    assert_eq!(world.zab(4).membership().version, Zxid(1 << 32), "once only");
}

#[test]
fn a_server_joins_and_another_leaves_and_goes_on_without_a_vote() {
    let mut world = ensemble(roles(&[1, 2, 3], &[]), 4);
    assert_eq!(world.zab(4).role(), Role::Following { leader: ServerId(3) });
    write(&mut world, 2);
    change(&mut world, roles(&[1, 2, 3, 4], &[]));
    change(&mut world, roles(&[2, 3, 4], &[]));
    assert_eq!(world.leader(), Some(ServerId(3)), "it need not give way");
    // the one that left learns, and does not count
    world.crash(2);
    write(&mut world, 2);
    world.expect_converged(ms(2000));
    world.cut_off(4);
    world.propose();
    assert!(!world.run_until(ms(1000), |world| world.committed.len() == 7), "{}", world.summary());
    world.heal();
    world.expect_converged(ms(5000));
}

#[test]
fn one_server_grows_to_five_and_shrinks_to_another_one() {
    let mut world = ensemble(roles(&[1], &[]), 5);
    change(&mut world, roles(&[1, 2], &[]));
    write(&mut world, 1);
    change(&mut world, roles(&[1, 2, 3, 4, 5], &[]));
    write(&mut world, 1);
    change(&mut world, roles(&[4, 5], &[]));
    write(&mut world, 1);
    change(&mut world, roles(&[5], &[]));
    for id in 1..=4 {
        world.crash(id);
    }
    write(&mut world, 1);
    assert_eq!(world.committed.len(), 8);
    for id in 1..=5 {
        if id == 5 {
            world.crash(id);
        }
        world.start(id);
    }
    world.expect_converged(ms(5000));
    assert_eq!(world.leader(), Some(ServerId(5)));
}

/// Nobody looks for a leader: the designated one has it all, and the clients of the old one are answered first.
#[test]
fn a_leader_that_leaves_hands_its_office_over() {
    let mut world = ensemble(roles(&[1, 2, 3], &[4]), 4);
    write(&mut world, 1);
    let rounds = told(&world, "serves as Leading");
    let notified = world.notified;
    world.reconfigure(roles(&[1, 2], &[4])).unwrap();
    let delivered = |world: &World| world.committed.len() == 2 && world.leader() == Some(ServerId(2));
    assert!(world.run_until(ms(200), delivered), "{}", world.summary());
    world.expect_converged(ms(1000));
    assert_eq!(world.zab(3).role(), Role::Following { leader: ServerId(2) }, "without a vote");
    assert_eq!(world.zab(4).role(), Role::Observing { leader: ServerId(2) });
    assert_eq!((told(&world, "serves as Leading"), world.notified), (rounds + 1, notified), "without an election");
    let trace = world.trace.clone().unwrap();
    let at = |what: &str| trace.iter().rposition(|line| line.contains(what)).unwrap();
    assert!(at("3 delivers 0x100000002") < at("3 stops"), "{trace:#?}");
    write(&mut world, 2);
}

#[test]
fn a_designated_leader_that_dies_is_replaced_by_an_election() {
    let mut world = ensemble(roles(&[1, 2, 3, 4], &[]), 4);
    world.reconfigure(roles(&[1, 2, 3], &[])).unwrap();
    assert!(world.run_until(ms(300), |world| world.sent.contains_key(&PacketType::CommitAndActivate)));
    world.crash(3);
    world.expect_converged(ms(5000));
    assert_eq!(world.leader(), Some(ServerId(2)));
    write(&mut world, 1);
}

#[test]
fn observers_become_voters_and_voters_observers() {
    let mut world = ensemble(roles(&[1, 2, 3], &[4]), 4);
    change(&mut world, roles(&[1, 2, 3, 4], &[]));
    assert_eq!(world.zab(4).role(), Role::Following { leader: ServerId(3) });
    change(&mut world, roles(&[1, 3, 4], &[2]));
    assert_eq!(world.zab(2).role(), Role::Observing { leader: ServerId(3) });
    // the leader too
    change(&mut world, roles(&[1, 4], &[2, 3]));
    assert_eq!(world.leader(), Some(ServerId(4)));
    assert_eq!(world.zab(3).role(), Role::Observing { leader: ServerId(4) });
    write(&mut world, 2);
}

#[test]
fn majorities_give_way_to_groups_and_back() {
    let mut world = ensemble(roles(&[1, 2, 3], &[]), 5);
    change(&mut world, hierarchy(&[&[1, 1, 1], &[1, 1]]));
    write(&mut world, 1);
    world.crash(5);
    world.propose();
    assert!(!world.run_until(ms(1000), |world| world.committed.len() == 3), "{}", world.summary());
    world.start(5);
    world.expect_converged(ms(5000));
    change(&mut world, roles(&[1, 5], &[]));
}

#[test]
fn what_cannot_be_done_now_is_refused() {
    let mut world = ensemble(roles(&[1, 2, 3], &[4]), 5);
    assert_eq!(world.zab(1).can_reconfigure(&roles(&[1], &[])), Err(ReconfigRefusal::NotLeading));
    // 6 and 7 do not exist, and an observer does not log what is not committed
    assert_eq!(world.reconfigure(roles(&[3, 6, 7], &[])), Err(ReconfigRefusal::NoQuorum));
    assert_eq!(world.reconfigure(roles(&[3, 4], &[])), Err(ReconfigRefusal::NoQuorum));
    world.crash(5);
    world.run_for(ms(100));
    assert_eq!(world.reconfigure(roles(&[3, 5], &[])), Err(ReconfigRefusal::NoQuorum));
    let version = world.reconfigure(roles(&[1, 3], &[])).unwrap();
    assert_eq!(world.reconfigure(roles(&[1, 2], &[])), Err(ReconfigRefusal::InProgress));
    expect_active(&mut world, version);
    change(&mut world, roles(&[1, 2], &[]));
}

/// Proposes a reconfiguration of {1, 2, 3} and stops the world when servers have it in their logs; all others are cut off from the
/// leader before.
fn pending_at(next: Membership, reached: &[i64]) -> (World, Zxid) {
    let mut world = ensemble(roles(&[1, 2, 3], &[]), 5);
    write(&mut world, 1);
    for id in [1, 2, 4, 5] {
        if !reached.contains(&id) {
            world.cut_off(id);
        }
    }
    let version = world.reconfigure(next).unwrap();
    let has = |world: &World, id: &i64| world.server(*id).disk.last() >= version;
    assert!(world.run_until(ms(200), |world| reached.iter().all(|id| has(world, id))), "{}", world.summary());
    (world, version)
}

#[test]
fn a_quorum_of_the_old_configuration_does_not_commit() {
    let (mut world, version) = pending_at(roles(&[3, 4, 5], &[]), &[1, 2, 3]);
    world.run_for(ms(500));
    assert!(world.committed.len() == 1 && world.zab(3).pending_membership().is_some());
    world.heal();
    expect_active(&mut world, version);
}

/// Zab, steps l.3.2 and f.3.2.
#[test]
fn a_quorum_of_the_new_configuration_does_not_commit() {
    let (mut world, version) = pending_at(roles(&[3, 4, 5], &[]), &[3, 4, 5]);
    world.run_for(ms(500));
    assert!(world.committed.len() == 1 && world.zab(3).pending_membership().is_some());
    // whether the next leader has it is for the next election to say
    world.heal();
    world.run_for(ms(3000));
    let active = world.zab(3).membership().version;
    assert!(active == version || active == Zxid(1 << 32));
    expect_active(&mut world, active);
    change(&mut world, roles(&[3, 4, 5], &[]));
}

#[test]
fn what_was_proposed_before_needs_the_old_configuration_alone() {
    let mut world = ensemble(roles(&[1, 2, 3], &[]), 5);
    for id in [4, 5] {
        world.cut_off(id);
    }
    world.propose();
    world.reconfigure(roles(&[3, 4, 5], &[])).unwrap();
    world.propose();
    assert!(world.run_until(ms(500), |world| world.committed.len() == 1), "{}", world.summary());
    assert!(!world.run_until(ms(500), |world| world.committed.len() > 1), "{}", world.summary());
}

/// The leader dies with the reconfiguration in its log alone. The next one does not have it, so it never was.
#[test]
fn a_reconfiguration_that_the_next_leader_does_not_have_never_was() {
    let (mut world, version) = pending_at(roles(&[1, 3, 4, 5], &[]), &[3]);
    world.crash(3);
    world.heal();
    world.expect_converged(ms(5000));
    write(&mut world, 1);
    assert!(world.server(3).disk.last_seen.is_some(), "it was seen");
    world.start(3);
    world.expect_converged(ms(5000));
    world.run_for(ms(50));
    let disk = &world.server(3).disk;
    assert!(!disk.log.iter().any(|(zxid, _)| *zxid == version), "it is cut off");
    assert_eq!(disk.last_seen, disk.active, "what was seen is overwritten");
    assert_eq!(world.zab(3).pending_membership(), None);
    change(&mut world, roles(&[1, 2], &[]));
}

/// Of the new configuration nobody else will ever be there. Server 3 alone has seen it.
#[test]
fn a_configuration_that_some_have_seen_and_nobody_has_logged_stops_nobody() {
    let mut world = ensemble(roles(&[1, 2, 3], &[]), 3);
    write(&mut world, 1);
    let void = Membership { version: Zxid((1 << 32) + 2), ..roles(&[3, 8, 9], &[]) };
    world.crash(3);
    world.servers.get_mut(&ServerId(3)).unwrap().disk.last_seen = Some(void.clone());
    world.crash(1);
    world.start(3);
    world.expect_converged(ms(5000));
    assert_eq!((world.leader(), world.zab(3).pending_membership()), (Some(ServerId(3)), None));
    write(&mut world, 1);
    world.run_for(ms(50));
    let disk = &world.server(3).disk;
    assert_eq!(disk.last_seen, disk.active, "it is overwritten");
}

/// All die while it is pending. Who has it in its log can be elected by quorums of both only, and then it is committed.
#[test]
fn a_reconfiguration_that_the_next_leader_has_is_committed_by_both() {
    let (mut world, version) = pending_at(roles(&[3, 4, 5], &[]), &[1, 2, 3]);
    for id in 1..=5 {
        world.crash(id);
    }
    world.heal();
    for id in [1, 2, 3] {
        world.start(id);
    }
    assert!(!world.run_until(ms(3000), |world| world.leader().is_some()), "{}", world.summary());
    assert_eq!(world.zab(1).pending_membership().map(|pending| pending.version), Some(version));
    world.start(4);
    let is_active = |world: &World| world.zab(4).membership().version == version;
    assert!(world.run_until(ms(5000), is_active), "{}", world.summary());
    world.expect_converged(ms(5000));
    assert_eq!(world.leader(), Some(ServerId(3)));
    world.crash(1);
    world.crash(2);
    write(&mut world, 1);
}

/// The elected leader has the reconfiguration in its log, and is not in it.
#[test]
fn a_leader_that_is_established_without_a_vote_gives_way() {
    let (mut world, version) = pending_at(roles(&[1, 4, 5], &[]), &[1, 2, 3]);
    for id in 1..=5 {
        world.crash(id);
    }
    world.heal();
    world.start_all();
    expect_active(&mut world, version);
    assert_ne!(world.leader(), Some(ServerId(3)));
    write(&mut world, 1);
}

/// Learns what is active with NEWLEADER, and what is pending as a proposal.
#[test]
fn a_learner_that_comes_meanwhile_activates_nothing_too_early() {
    let (mut world, version) = pending_at(roles(&[3, 4, 5], &[]), &[1, 2, 3]);
    world.crash(1);
    world.start(1);
    let is_back = |world: &World| world.server(1).serving.is_some();
    assert!(world.run_until(ms(3000), is_back), "{}", world.summary());
    world.run_for(ms(100));
    let zab = world.zab(1);
    assert_eq!(zab.membership().version, Zxid(1 << 32));
    assert_eq!(zab.pending_membership().map(|pending| pending.version), Some(version));
    world.heal();
    expect_active(&mut world, version);
}

/// Everybody that server 1 knows is gone, or was replaced long ago.
#[test]
fn a_server_that_slept_through_it_all_finds_the_ensemble() {
    let mut world = ensemble(roles(&[1, 2, 3], &[]), 6);
    world.crash(1);
    for next in [roles(&[2, 3, 4], &[]), roles(&[3, 4, 5], &[]), roles(&[4, 5, 6], &[])] {
        change(&mut world, next);
        write(&mut world, 1);
    }
    world.crash(2);
    world.start(1);
    let (version, limit) = (world.zab(4).membership().version, ms(5000));
    assert!(world.run_until(limit, |world| world.zab(1).membership().version == version), "{}", world.summary());
    world.expect_converged(ms(5000));
}

/// Its log is long behind a snapshot that it was sent, and its active configuration is not told before it crashes again.
#[test]
fn a_snapshot_tells_the_configuration_that_its_state_holds() {
    let mut world = ensemble(roles(&[1, 2, 3], &[]), 5);
    world.config.committed_log_max = 1;
    for id in 1..=5 {
        world.crash(id);
    }
    world.start_all();
    world.expect_converged(ms(5000));
    world.crash(1);
    let version = change(&mut world, roles(&[3, 4, 5], &[]));
    write(&mut world, 5);
    // no record has left yet: what is sent to 1 is a snapshot
    world.servers.get_mut(&ServerId(1)).unwrap().disk.active = None;
    world.start(1);
    let installed = |world: &World| world.server(1).disk.installs > 0;
    assert!(world.run_until(ms(5000), installed), "{}", world.summary());
    let disk = &world.server(1).disk;
    let known = disk.last_seen.as_ref().or(disk.active.as_ref()).map(|known| known.version);
    assert_eq!(known, Some(version), "before the snapshot, so that a crash cannot come between");
    // the way its writes went
    let trace = world.trace.clone().unwrap().join("\n");
    let seen = trace.rfind("1 writes last seen").or_else(|| trace.rfind("1 writes active")).unwrap();
    assert!(seen < trace.rfind("1 writes snapshot").unwrap());
    world.crash(1);
    world.start(1);
    world.expect_converged(ms(5000));
}

/// Rule 2: whoever logs it has made it durable as the last seen configuration before.
#[test]
fn a_proposed_configuration_is_remembered_before_it_is_acknowledged() {
    let (world, version) = pending_at(roles(&[1, 2, 3, 4], &[]), &[1, 2, 3, 4, 5]);
    for (id, server) in &world.servers {
        let seen = [&server.disk.last_seen, &server.disk.active].into_iter().flatten();
        assert_eq!(seen.map(|seen| seen.version).max(), Some(version), "{id}");
    }
    let trace = world.trace.clone().unwrap();
    for id in 1..=5 {
        let at = |what: String| trace.iter().position(|line| line.contains(&what)).unwrap();
        assert!(at(format!("{id} writes last seen {version}")) < at(format!("{id} writes append {version}")));
    }
}
