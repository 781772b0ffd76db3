//! A follower among scripted servers, with observers of its own.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::script::Script;
use common::{fast_config, membership};
use ensemble_proto::quorum::LearnerInfo;
use ensemble_proto::quorum::PacketType::{self, *};
use ensemble_proto::{Epoch, ServerId, Zxid};
use ensemble_zab::{Config, ConnId, History};

const LEADER: u64 = 7;
const X: &[u8] = b"x";

fn at(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

fn config() -> Config {
    Config { id: ServerId(1), ..fast_config(membership(3, 2)) }
}

/// The tree is at 1.5, and so is all that the server remembers.
fn history() -> History {
    History {
        accepted_epoch: Epoch(1),
        current_epoch: Epoch(1),
        snapshot: at(1, 5),
        complete: at(1, 5),
        tail: Vec::new(),
        trusted: true,
        last_seen: None,
        held: None,
    }
}

/// Server 1 of three follows server 3 in epoch 2, up to date.
fn follower() -> Script {
    let mut script = Script::start(config(), history());
    script.find_leader(ServerId(3), Epoch(2));
    script.connect(LEADER);
    script.say_with(LEADER, LeaderInfo, at(2, 0), &[0, 1, 0, 0]);
    script.say(LEADER, Diff, at(1, 5));
    script.say_with(LEADER, NewLeader, at(2, 0), b"");
    script.say(LEADER, UpToDate, Zxid::NONE);
    script.take_sent();
    script
}

/// An observer connects and says what it has.
fn ask(script: &mut Script, conn: u64, id: i64, last: Zxid) {
    script.with(|zab, now| zab.handle_observer_accepted(now, ConnId(conn)));
    let info = LearnerInfo { id: ServerId(id), protocol_version: 0x10000, config_version: Zxid::ZERO };
    script.say_with(conn, ObserverInfo, at(1, 0), &info.encode());
    script.say_with(conn, AckEpoch, last, &1i32.to_be_bytes());
}

/// The leader proposes and commits.
fn commit(script: &mut Script, zxid: Zxid) {
    script.say_with(LEADER, Proposal, zxid, X);
    script.say(LEADER, Commit, zxid);
}

/// What was sent on a connection since the last call.
fn sent_to(script: &mut Script, conn: u64) -> Vec<(PacketType, Zxid)> {
    let to = std::mem::take(&mut script.sent_to);
    to.into_iter().zip(script.take_sent()).filter(|(to, _)| *to == ConnId(conn)).map(|(_, packet)| packet).collect()
}

#[test]
fn an_observer_gets_what_it_lacks_and_then_only_what_is_committed() {
    let mut script = follower();
    commit(&mut script, at(2, 1));
    script.say_with(LEADER, Proposal, at(2, 2), X);
    script.take_sent();
    ask(&mut script, 8, 4, at(1, 5));
    let plan =
        [(LeaderInfo, at(2, 0)), (Diff, at(2, 1)), (Proposal, at(2, 1)), (Commit, at(2, 1)), (NewLeader, at(2, 0))];
    assert_eq!(sent_to(&mut script, 8), plan, "and not what is merely proposed");
    script.say(LEADER, Commit, at(2, 2));
    assert_eq!(sent_to(&mut script, 8), [], "held back until it is up to date");
    script.say(8, Ack, at(2, 0));
    script.say(8, Ack, at(2, 0));
    commit(&mut script, at(2, 3));
    assert_eq!(sent_to(&mut script, 8), [(UpToDate, Zxid::NONE), (Inform, at(2, 2)), (Inform, at(2, 3))]);
    assert!(script.closed.is_empty());
    script.say(8, Ack, at(2, 3));
    assert_eq!(script.closed, [ConnId(8)], "an observer has nothing to acknowledge");
}

#[test]
fn what_is_committed_while_an_observer_is_sent_a_snapshot_follows_it() {
    let mut script = follower();
    ask(&mut script, 8, 4, Zxid::ZERO);
    assert_eq!(sent_to(&mut script, 8), [(LeaderInfo, at(2, 0)), (Snap, at(1, 5))]);
    commit(&mut script, at(2, 1));
    assert_eq!(sent_to(&mut script, 8), []);
    script.with(|zab, now| zab.handle_snapshot_sent(now, ConnId(8)));
    assert_eq!(sent_to(&mut script, 8), [(Proposal, at(2, 1)), (Commit, at(2, 1)), (NewLeader, at(2, 0))]);
}

#[test]
fn nobody_but_an_observer_is_taken_and_each_once() {
    let mut script = follower();
    script.with(|zab, now| zab.handle_observer_accepted(now, ConnId(8)));
    let info = LearnerInfo { id: ServerId(2), protocol_version: 0x10000, config_version: Zxid::ZERO };
    script.say_with(8, FollowerInfo, at(1, 0), &info.encode());
    assert_eq!(script.closed, [ConnId(8)]);
    ask(&mut script, 9, 4, at(1, 5));
    ask(&mut script, 10, 4, at(1, 5));
    assert_eq!(script.closed, [ConnId(8), ConnId(9)]);
    let mut script = Script::start(config(), history());
    script.with(|zab, now| zab.handle_observer_accepted(now, ConnId(8)));
    assert_eq!(script.closed, [ConnId(8)], "it follows nobody");
}

#[test]
fn a_silent_observer_goes_and_all_go_when_the_leader_is_lost() {
    let mut script = follower();
    for (conn, id) in [(8, 4), (9, 5)] {
        ask(&mut script, conn, id, at(1, 5));
        script.say(conn, Ack, at(2, 0));
    }
    script.take_sent();
    let mut pings = 0;
    while script.closed.is_empty() {
        script.now = script.now.max(script.zab.deadline().as_millis() as u64);
        script.with(|zab, now| zab.handle_timeout(now));
        script.say(LEADER, Ping, at(2, 0));
        for (kind, zxid) in sent_to(&mut script, 9) {
            assert_eq!((kind, zxid), (Ping, at(1, 5)));
            pings += 1;
            script.say(9, Ping, at(2, 0));
        }
    }
    assert!(pings > 1, "{pings}");
    assert_eq!(script.closed, [ConnId(8)]);
    script.with(|zab, now| zab.handle_closed(now, ConnId(LEADER)));
    assert_eq!(script.closed, [ConnId(8), ConnId(9)]);
}

#[test]
fn requests_of_an_observer_are_for_the_owner_to_pass_on() {
    let mut script = follower();
    ask(&mut script, 8, 4, at(1, 5));
    script.say(8, Ack, at(2, 0));
    script.say(8, UpToDate, Zxid::NONE);
    assert_eq!(script.closed, [ConnId(8)], "what only a master says");
    script.with(|zab, _| zab.answer_sync(ConnId(8)));
    script.take_sent();
    ask(&mut script, 9, 5, at(1, 5));
    script.say(9, Ack, at(2, 0));
    script.take_sent();
    script.with(|zab, _| zab.answer_sync(ConnId(9)));
    assert_eq!(sent_to(&mut script, 9), [(Sync, Zxid::ZERO)]);
    let forwarded = script.zab.forward(
        ensemble_proto::Now { elapsed: common::ms(script.now), wall_ms: 0 },
        Bytes::from_static(b"request"),
        Vec::new(),
    );
    assert!(forwarded);
}
