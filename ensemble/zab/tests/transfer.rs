//! A leader hands its office over: to whom it likes, without losing anything, and goes on when it cannot.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::script::Script;
use common::{Random, World, fast_config, membership, ms};
use ensemble_proto::quorum::PacketType::{self, *};
use ensemble_proto::quorum::{LearnerInfo, ServerState};
use ensemble_proto::{Epoch, ServerId, Zxid};
use ensemble_zab::{Config, ConnId, History, Role, TransferRefusal, Zab};

const NOTHING: &[u8] = b"nothing";

fn at(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

fn started(voters: i64) -> World {
    started_with(voters, 3)
}

fn started_with(voters: i64, seed: u64) -> World {
    let mut world = World::with_config(fast_config(membership(voters, 0)), seed);
    (1..=voters).for_each(|id| world.start(id));
    world.expect_converged(ms(2000));
    world
}

fn transfer(world: &mut World, to: i64) {
    let leader = world.leader().unwrap();
    world.with(leader, |zab, now| zab.transfer(now, ServerId(to), Bytes::from_static(NOTHING)).unwrap());
}

#[test]
fn every_voter_can_be_made_the_leader_whatever_its_id() {
    for voters in [3, 5] {
        let mut world = started(voters);
        for to in [1, 2, 1, 3, 2] {
            for _ in 0..5 {
                world.propose().unwrap();
            }
            if world.leader() == Some(ServerId(to)) {
                continue;
            }
            transfer(&mut world, to);
            assert!(
                world.run_until(ms(300), |world| world.leader() == Some(ServerId(to))),
                "{to}: {}",
                world.summary()
            );
            world.expect_converged(ms(2000));
        }
        world.expect_converged(ms(2000));
        assert!(world.violation.is_none(), "{}", world.summary());
        let payloads = world.committed.iter().filter(|(_, payload)| payload.as_ref() != NOTHING).count();
        assert_eq!(payloads, 25, "nothing that was proposed is lost");
    }
}

#[test]
fn an_office_in_which_nothing_was_proposed_is_handed_over_too() {
    let mut world = started(3);
    for to in [1, 2, 3, 1] {
        if world.leader() != Some(ServerId(to)) {
            transfer(&mut world, to);
        }
        assert!(world.run_until(ms(300), |world| world.leader() == Some(ServerId(to))), "{to}: {}", world.summary());
        world.expect_converged(ms(2000));
    }
    assert!(world.violation.is_none(), "{}", world.summary());
}

/// Whoever dies in the middle, and when: nothing is lost, and somebody leads.
#[test]
fn a_crash_of_either_side_in_the_middle_costs_nothing_but_the_hand_over() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut world = started(3);
        for _ in 0..random.below(6) {
            world.propose().unwrap();
        }
        let leader = world.leader().unwrap();
        let to = if leader == ServerId(1) { 2 } else { 1 };
        transfer(&mut world, to);
        world.run_for(ms(random.below(12)));
        let victim = if random.one_in(2) { leader.0 } else { to };
        world.crash(victim);
        world.expect_converged(ms(3000));
        world.start(victim);
        world.expect_converged(ms(3000));
        world.propose().unwrap();
        world.expect_converged(ms(2000));
        assert!(world.violation.is_none(), "seed {seed}: {}", world.summary());
    }
}

/// The leader of three stops at some moment after, and not everybody hears of it at once: the two others agree long before `initLimit`,
/// on the successor if the last transaction came there.
#[test]
fn whoever_is_left_is_led_soon() {
    for seed in 0..100 {
        let mut world = started_with(3, seed);
        world.propose().unwrap();
        world.expect_converged(ms(300));
        let leader = world.leader().unwrap();
        let to = if leader == ServerId(1) { 2 } else { 1 };
        world.latency_ms = 60;
        world.with(leader, Zab::retire);
        transfer(&mut world, to);
        world.run_for(ms(seed % 40));
        world.crash(leader.0);
        assert!(world.run_until(ms(900), |world| world.leader().is_some()), "{seed}: {}", world.summary());
        let has_it = world.zab(to).last_logged().counter() == 2;
        assert!(!has_it || world.leader() == Some(ServerId(to)), "{seed}: {}", world.summary());
        world.start(leader.0);
        world.expect_converged(ms(3000));
        assert!(world.violation.is_none(), "{seed}: {}", world.summary());
    }
}

/// Server 3 of three, with observer 4, leads epoch 1 with server 2 on connection 2.
fn leader() -> Script {
    let config = Config { id: ServerId(3), ..fast_config(membership(3, 1)) };
    let mut script = Script::start(config, History { trusted: true, ..History::default() });
    for id in [1, 2] {
        script.hear(ServerId(id), ServerState::Looking, ServerId(3), Zxid::ZERO, Epoch(0), 1);
    }
    connect(&mut script, 2, FollowerInfo);
    script.say(2, Ack, at(1, 0));
    assert_eq!(script.roles.last().map(String::as_str), Some("Leading"));
    script.take_sent();
    script
}

fn connect(script: &mut Script, id: u64, hello: PacketType) {
    script.with(|zab, now| zab.handle_learner_accepted(now, ConnId(id)));
    let info = LearnerInfo { id: ServerId(id as i64), protocol_version: 0x10000, config_version: Zxid::ZERO };
    script.say_with(id, hello, Zxid::ZERO, &info.encode());
    script.say_with(id, AckEpoch, Zxid::ZERO, &0i32.to_be_bytes());
}

fn begin(script: &mut Script, to: i64) -> Result<(), TransferRefusal> {
    let mut result = Ok(());
    script.with(|zab, now| result = zab.transfer(now, ServerId(to), Bytes::from_static(NOTHING)));
    result
}

fn propose(script: &mut Script) -> bool {
    let (zxid, mut taken) = (script.zab.next_zxid(), false);
    script.with(|zab, now| taken = zab.propose(now, zxid, Bytes::from_static(b"x")));
    taken
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    use TransferRefusal as R;
    let mut script = leader();
    let mut check = |to, refusal| assert_eq!(begin(&mut script, to), Err(refusal));
    check(3, R::Leads(ServerId(3)));
    check(9, R::Unknown(ServerId(9)));
    check(4, R::Observer(ServerId(4)));
    check(1, R::NotSynced(ServerId(1)));
    assert_eq!(script.zab.best_successor(), Some(ServerId(2)));
    connect(&mut script, 1, FollowerInfo);
    assert_eq!(begin(&mut script, 1), Err(R::NotSynced(ServerId(1))), "it has not acknowledged NEWLEADER");
    assert!(propose(&mut script));
    assert_eq!(begin(&mut script, 2), Ok(()));
    assert_eq!(begin(&mut script, 2), Err(R::UnderWay));
    script.say(2, Ack, at(1, 1));
    assert_eq!(begin(&mut script, 2), Err(R::NotLeading));
    assert_eq!(script.zab.best_successor(), None);
}

#[test]
fn proposals_stop_until_the_successor_has_everything_then_it_alone_gets_one_more() {
    let mut script = leader();
    assert!(propose(&mut script) && propose(&mut script));
    begin(&mut script, 2).unwrap();
    assert!(!propose(&mut script));
    assert_eq!(script.zab.transferring_to(), Some(ServerId(2)));
    script.say(2, Ack, at(1, 1));
    assert_eq!(script.zab.role(), Role::Leading, "1.2 is not on its disk");
    script.take_sent();
    script.say(2, Ack, at(1, 2));
    assert_eq!(script.take_sent(), [(Commit, at(1, 2)), (Proposal, at(1, 3))]);
    assert_eq!(
        (script.zab.role(), script.zab.last_logged()),
        (Role::Looking, at(1, 2)),
        "it does not log the last one"
    );
    assert_eq!(script.delivered.last(), Some(&at(1, 2)), "clients are answered first");
    assert_eq!(script.closed, [ConnId(2)]);
}

/// With its vote the successor would be elected at once, perhaps before anybody else looks, and lead alone when this server is gone.
#[test]
fn a_leader_that_stops_afterwards_votes_for_nobody() {
    let mut script = leader();
    assert!(propose(&mut script));
    script.with(|zab, now| zab.retire(now));
    begin(&mut script, 2).unwrap();
    assert_eq!(script.zab.role(), Role::Leading, "it goes on until the successor has everything");
    script.votes.clear();
    script.say(2, Ack, at(1, 1));
    assert_eq!(script.sent.last().map(|last| (last.kind, last.zxid)), Some((Proposal, at(1, 2))));
    for round in 2..4 {
        script.hear(ServerId(2), ServerState::Looking, ServerId(2), at(1, 2), Epoch(1), round);
        script.hear(ServerId(1), ServerState::Looking, ServerId(2), at(1, 2), Epoch(1), round);
        script.with(|zab, now| zab.handle_election_link(now, ServerId(1)));
        script.with(|zab, now| zab.handle_timeout(now));
    }
    assert_eq!((script.votes.as_slice(), script.zab.role()), (&[][..], Role::Looking));
}

#[test]
fn a_server_that_retires_while_it_looks_is_heard_of_no_more() {
    let config = Config { id: ServerId(3), ..fast_config(membership(3, 0)) };
    let mut script = Script::start(config, History { trusted: true, ..History::default() });
    assert_eq!(std::mem::take(&mut script.votes).len(), 2, "it looks");
    script.with(|zab, now| zab.retire(now));
    script.hear(ServerId(2), ServerState::Looking, ServerId(3), Zxid::ZERO, Epoch(0), 1);
    script.now += 1000;
    script.with(|zab, now| zab.handle_timeout(now));
    assert_eq!((script.votes.as_slice(), script.zab.role()), (&[][..], Role::Looking));
}

#[test]
fn a_successor_that_does_not_catch_up_within_a_tick_or_goes_away_is_given_up() {
    let mut script = leader();
    assert!(propose(&mut script));
    begin(&mut script, 2).unwrap();
    let tick = fast_config(membership(3, 1)).tick.as_millis() as u64;
    script.now += tick - 2;
    script.with(|zab, now| zab.handle_timeout(now));
    assert!(script.zab.transferring_to().is_some());
    let deadline = script.zab.deadline();
    assert!(deadline <= ms(script.now + 2), "it is woken then");
    script.now += 2;
    script.with(|zab, now| zab.handle_timeout(now));
    assert_eq!((script.zab.transferring_to(), script.zab.role()), (None, Role::Leading));
    assert!(propose(&mut script), "it goes on");

    let mut script = leader();
    assert!(propose(&mut script));
    begin(&mut script, 2).unwrap();
    script.with(|zab, now| zab.handle_closed(now, ConnId(2)));
    assert_eq!((script.zab.transferring_to(), script.zab.role()), (None, Role::Leading));
}
