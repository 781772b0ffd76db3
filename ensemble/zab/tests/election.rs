//! When an election need not wait: everybody who can still be heard agrees.

mod common;

use common::script::Script;
use common::{fast_config, membership, ms};
use ensemble_proto::quorum::ServerState;
use ensemble_proto::{Epoch, Now, ServerId, Zxid};
use ensemble_zab::{Config, History, Role};

/// Server 2 of three, looking; 3 has died.
fn looking() -> Script {
    let config = Config { id: ServerId(2), ..fast_config(membership(3, 0)) };
    let mut script = Script::start(config, History { trusted: true, ..History::default() });
    for id in [1, 3] {
        script.with(|zab, now| zab.handle_election_link(now, ServerId(id)));
    }
    script
}

fn agree(script: &mut Script) {
    script.hear(ServerId(1), ServerState::Looking, ServerId(2), Zxid::ZERO, Epoch(0), 1);
}

#[test]
fn a_voter_whose_connection_has_ended_is_not_waited_for() {
    let mut script = looking();
    script.with(|zab, now| zab.handle_election_link_lost(now, ServerId(3)));
    assert_eq!(script.zab.leader(), None, "one of three");
    agree(&mut script);
    assert_eq!(script.zab.leader(), Some(ServerId(2)));

    let mut script = looking();
    agree(&mut script);
    assert_eq!(script.zab.leader(), None, "3 may have more");
    script.with(|zab, now| zab.handle_election_link_lost(now, ServerId(3)));
    assert_eq!(script.zab.leader(), Some(ServerId(2)));
}

#[test]
fn a_voter_whose_connection_is_back_is_waited_for() {
    let mut script = looking();
    script.with(|zab, now| zab.handle_election_link_lost(now, ServerId(3)));
    script.with(|zab, now| zab.handle_election_link(now, ServerId(3)));
    agree(&mut script);
    assert_eq!(script.zab.leader(), None);
    let mut now = ms(script.now);
    while now < ms(script.now + 500) && script.zab.leader().is_none() {
        now = script.zab.deadline();
        script.zab.handle_timeout(Now { elapsed: now, wall_ms: 0 });
    }
    assert_eq!(script.zab.leader(), Some(ServerId(2)), "but not for ever");
}

/// A server whose peers are killed one after the other elects none of them.
#[test]
fn a_vote_counts_as_long_as_its_sender_can_be_heard() {
    let vote = |script: &mut Script, from: i64| {
        script.hear(ServerId(from), ServerState::Looking, ServerId(3), Zxid::ZERO, Epoch(0), 1);
    };
    let lose = |script: &mut Script| script.with(|zab, now| zab.handle_election_link_lost(now, ServerId(3)));

    let mut script = looking();
    vote(&mut script, 3);
    script.votes.clear();
    lose(&mut script);
    assert_eq!(script.zab.role(), Role::Looking);
    let own = |to: i64| (ServerId(to), ServerState::Looking, ServerId(2));
    assert_eq!(script.votes, [own(1), own(3)], "and it stands for election again");
    agree(&mut script);
    assert_eq!(script.zab.role(), Role::Leading);

    let mut script = looking();
    script.with(|zab, now| zab.handle_election_link_lost(now, ServerId(1)));
    vote(&mut script, 3);
    assert_eq!(script.zab.leader(), Some(ServerId(3)), "another may be gone");

    let mut script = looking();
    script.hear(ServerId(3), ServerState::Following, ServerId(1), Zxid::ZERO, Epoch(0), 4);
    lose(&mut script);
    script.hear(ServerId(1), ServerState::Leading, ServerId(1), Zxid::ZERO, Epoch(0), 4);
    assert_eq!(script.zab.role(), Role::Looking, "nobody is known to follow 1");
}

/// Two of three are a quorum, and one of them hears the candidate.
#[test]
fn a_candidate_that_only_another_hears_stays_one() {
    let mut script = looking();
    script.hear(ServerId(3), ServerState::Looking, ServerId(3), Zxid::ZERO, Epoch(0), 2);
    script.hear(ServerId(1), ServerState::Looking, ServerId(3), Zxid::ZERO, Epoch(0), 1);
    script.with(|zab, now| zab.handle_election_link_lost(now, ServerId(3)));
    assert_eq!(script.zab.role(), Role::Looking, "1 is in another round");
    script.hear(ServerId(1), ServerState::Looking, ServerId(3), Zxid::ZERO, Epoch(0), 2);
    assert_eq!(script.zab.leader(), Some(ServerId(3)));
}

/// A follower keeps no vote that comes while its leader is there (Java's and ours alike), and begins with its own.
#[test]
fn who_answered_as_a_follower_is_told_our_vote_again_when_it_looks() {
    let told = |was_following: bool| {
        let mut script = looking();
        if was_following {
            script.hear(ServerId(1), ServerState::Following, ServerId(3), Zxid::ZERO, Epoch(0), 1);
        }
        script.votes.clear();
        script.hear(ServerId(1), ServerState::Looking, ServerId(1), Zxid::ZERO, Epoch(0), 1);
        script.votes
    };
    assert_eq!(told(true), [(ServerId(1), ServerState::Looking, ServerId(2))]);
    assert_eq!(told(false), [], "it has ours, or its connection is new and it is told then");
}

/// Server 3 of three, elected by all; nobody is connected, and a tick later server 1 looks for `leader` in `round`.
fn elected_and_hears(leader: i64, round: i64) -> Script {
    let config = Config { id: ServerId(3), ..fast_config(membership(3, 0)) };
    let tick = config.tick;
    let mut script = Script::start(config, History { trusted: true, ..History::default() });
    for id in [1, 2] {
        script.hear(ServerId(id), ServerState::Looking, ServerId(3), Zxid::ZERO, Epoch(0), 1);
    }
    assert_eq!(script.zab.role(), Role::Leading);
    script.now += tick.as_millis() as u64;
    script.hear(ServerId(1), ServerState::Looking, ServerId(leader), Zxid::ZERO, Epoch(0), round);
    script
}

/// Server 3 of three is elected by itself and server 2, which dies; 1 did not hear of it in time.
#[test]
fn a_leader_does_not_wait_for_electors_that_have_died() {
    let elected = || {
        let config = Config { id: ServerId(3), ..fast_config(membership(3, 0)) };
        let mut script = Script::start(config, History { trusted: true, ..History::default() });
        script.with(|zab, now| zab.handle_election_link_lost(now, ServerId(1)));
        script.hear(ServerId(2), ServerState::Looking, ServerId(3), Zxid::ZERO, Epoch(0), 1);
        assert_eq!(script.zab.role(), Role::Leading);
        script
    };
    let later = |script: &mut Script, two_is_there: bool| {
        script.with(|zab, now| zab.handle_election_link(now, ServerId(1)));
        if !two_is_there {
            script.with(|zab, now| zab.handle_election_link_lost(now, ServerId(2)));
        }
        let look = |script: &mut Script| {
            script.hear(ServerId(1), ServerState::Looking, ServerId(1), Zxid::ZERO, Epoch(0), 1);
            script.zab.role()
        };
        assert_eq!(look(script), Role::Leading, "2 may connect yet");
        script.now += fast_config(membership(3, 0)).tick.as_millis() as u64;
        look(script)
    };
    assert_eq!(later(&mut elected(), true), Role::Leading, "2 is there, if slow");
    assert_eq!(later(&mut elected(), false), Role::Looking);

    let mut script = elected();
    script.with(|zab, now| zab.handle_election_link_lost(now, ServerId(2)));
    assert_eq!(script.zab.role(), Role::Looking, "nobody is left, and it says so at once");
}

#[test]
fn a_leader_waits_for_electors_that_have_not_decided_yet_and_for_none_that_looks_again() {
    let check = |leader: i64, round: i64, expected: Role| {
        assert_eq!(elected_and_hears(leader, round).zab.role(), expected, "{leader} in round {round}");
    };
    check(3, 1, Role::Leading);
    check(1, 2, Role::Looking);
    check(3, 2, Role::Looking);
    check(1, 1, Role::Looking);
}

/// Two servers that do not vote in each other's configuration must not answer each other's answers for ever.
#[test]
fn who_does_not_vote_is_told_the_same_once_in_a_while() {
    let mut script = looking();
    let observer = ServerId(4);
    let ask = |script: &mut Script| {
        script.votes.clear();
        script.hear(observer, ServerState::Looking, observer, Zxid::ZERO, Epoch(0), 1);
        script.votes.iter().filter(|(to, ..)| *to == observer).map(|(_, state, _)| *state).collect::<Vec<_>>()
    };
    assert_eq!(ask(&mut script), [ServerState::Looking]);
    assert_eq!(ask(&mut script), []);
    script.with(|zab, now| zab.handle_election_link(now, observer));
    assert_eq!(ask(&mut script), [ServerState::Looking], "a new connection");
    script.now += 20;
    assert_eq!(ask(&mut script), [ServerState::Looking], "after a while");
    assert_eq!(ask(&mut script), []);
    agree(&mut script);
    script.with(|zab, now| zab.handle_election_link_lost(now, ServerId(3)));
    assert_eq!(ask(&mut script), [ServerState::Leading], "something else");
}
