//! A learner that lacks more than is in memory: a snapshot is sent while transactions go on, or the log is read. What follows, when, and
//! to how many learners at once.

mod common;

use bytes::Bytes;
use common::membership;
use common::script::Script;
use ensemble_proto::quorum::PacketType::{self, *};
use ensemble_proto::quorum::{LearnerInfo, ServerState};
use ensemble_proto::{Epoch, ServerId, Zxid};
use ensemble_zab::{Config, ConnId, History, LogSlice, Role};

fn at(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

/// Server 3 of three, with observers 4 to 6, leads epoch 2 with server 2 on connection 2; everything up to 1.5 is committed.
fn leader(change: impl Fn(&mut Config)) -> Script {
    let mut config = Config::new(ServerId(3), membership(3, 3));
    change(&mut config);
    let tail = vec![(at(1, 4), Bytes::from_static(b"x")), (at(1, 5), Bytes::from_static(b"x"))];
    let history = History {
        accepted_epoch: Epoch(1),
        current_epoch: Epoch(1),
        snapshot: at(1, 3),
        complete: at(1, 3),
        tail,
        trusted: true,
        last_seen: None,
        held: None,
    };
    let mut script = Script::start(config, history);
    for id in [1, 2] {
        script.hear(ServerId(id), ServerState::Looking, ServerId(3), at(1, 5), Epoch(1), 1);
    }
    ask(&mut script, 2, FollowerInfo, at(1, 5), 1);
    script.with(|zab, now| zab.handle_snapshot_sent(now, ConnId(2)));
    script.say(2, Ack, at(2, 0));
    assert_eq!((script.zab.role(), script.roles.last().map(String::as_str)), (Role::Leading, Some("Leading")));
    script.take_sent();
    script
}

/// A server connects under its own number and says what it has.
fn ask(script: &mut Script, id: u64, hello: PacketType, last: Zxid, current: i32) {
    script.with(|zab, now| zab.handle_learner_accepted(now, ConnId(id)));
    let info = LearnerInfo { id: ServerId(id as i64), protocol_version: 0x10000, config_version: Zxid::ZERO };
    script.say_with(id, hello, at(1, 0), &info.encode());
    script.say_with(id, AckEpoch, last, &current.to_be_bytes());
}

/// Proposes the next transaction, which server 2 acknowledges.
fn commit(script: &mut Script, payload: &Bytes) -> Zxid {
    let zxid = script.zab.next_zxid();
    script.with(|zab, now| assert!(zab.propose(now, zxid, payload.clone())));
    script.say(2, Ack, zxid);
    assert_eq!(script.delivered.last(), Some(&zxid));
    zxid
}

/// What was sent on a connection since the last call.
fn sent_to(script: &mut Script, conn: u64) -> Vec<(PacketType, Zxid)> {
    let to = std::mem::take(&mut script.sent_to);
    let packets = script.take_sent();
    to.into_iter().zip(packets).filter(|(to, _)| *to == ConnId(conn)).map(|(_, packet)| packet).collect()
}

#[test]
fn what_is_committed_while_a_snapshot_is_sent_follows_it_before_new_leader() {
    let mut script = leader(|config| config.committed_log_max = 1);
    ask(&mut script, 1, FollowerInfo, Zxid::ZERO, 0);
    assert_eq!(sent_to(&mut script, 1), [(LeaderInfo, at(2, 0)), (Snap, at(1, 5))]);
    let payload = Bytes::from_static(b"x");
    for counter in 1..=3 {
        assert_eq!(commit(&mut script, &payload), at(2, counter));
    }
    // Proposed and not committed.
    script.with(|zab, now| assert!(zab.propose(now, at(2, 4), payload.clone())));
    let tick = script.zab.deadline().as_millis() as u64;
    script.now = script.now.max(tick);
    script.with(|zab, now| zab.handle_timeout(now));
    assert_eq!(sent_to(&mut script, 1), [], "nothing comes between the slices, no PING either");

    script.with(|zab, now| zab.handle_snapshot_sent(now, ConnId(1)));
    let follows = [
        (Proposal, at(2, 1)),
        (Commit, at(2, 1)),
        (Proposal, at(2, 2)),
        (Commit, at(2, 2)),
        (Proposal, at(2, 3)),
        (Commit, at(2, 3)),
        (NewLeader, at(2, 0)),
    ];
    assert_eq!(sent_to(&mut script, 1), follows);
    script.say(1, Ack, at(2, 0));
    assert_eq!(sent_to(&mut script, 1), [(UpToDate, Zxid::NONE), (Proposal, at(2, 4))]);
    script.say(1, Ack, at(2, 4));
    assert_eq!(script.delivered.last(), Some(&at(2, 4)), "its acknowledgements count");
}

/// What the disk has read.
fn log(script: &mut Script, floor: Zxid, records: &[Zxid]) {
    let records = records.iter().map(|zxid| (*zxid, Bytes::from_static(b"x"))).collect();
    script.with(|zab, now| zab.handle_log(now, ConnId(1), Some(LogSlice { floor, records })));
}

/// The leader has committed up to 2.3, and remembers only 2.3; server 1 has `last`.
fn leader_asked_by(last: Zxid, change: impl Fn(&mut Config)) -> Script {
    let mut script = leader(|config| {
        config.committed_log_max = 1;
        change(config);
    });
    for _ in 1..=3 {
        commit(&mut script, &Bytes::from_static(b"x"));
    }
    ask(&mut script, 1, FollowerInfo, last, 1);
    script
}

#[test]
fn what_is_not_in_memory_comes_from_the_log_slice_by_slice() {
    let mut script = leader_asked_by(at(1, 4), |_| {});
    assert_eq!(script.asked, [at(1, 4)]);
    log(&mut script, at(1, 4), &[at(1, 5), at(2, 1)]);
    let first = [
        (LeaderInfo, at(2, 0)),
        (Diff, at(2, 3)),
        (Proposal, at(1, 5)),
        (Commit, at(1, 5)),
        (Proposal, at(2, 1)),
        (Commit, at(2, 1)),
    ];
    assert_eq!(sent_to(&mut script, 1), first);
    assert_eq!((script.asked.len(), script.awaited.as_slice()), (1, &[ConnId(1)][..]), "no more before this is taken");
    script.with(|zab, now| zab.handle_writable(now, ConnId(1)));
    assert_eq!(script.asked, [at(1, 4), at(2, 1)]);
    log(&mut script, at(2, 1), &[at(2, 2)]);
    let rest =
        [(Proposal, at(2, 2)), (Commit, at(2, 2)), (Proposal, at(2, 3)), (Commit, at(2, 3)), (NewLeader, at(2, 0))];
    assert_eq!(sent_to(&mut script, 1), rest);
    script.with(|zab, now| zab.handle_writable(now, ConnId(1)));
    assert_eq!(script.asked.len(), 2, "it is over");
}

#[test]
fn a_record_of_the_learner_that_the_log_does_not_have_is_cut_off() {
    let mut script = leader_asked_by(at(1, 9), |_| {});
    log(&mut script, at(1, 5), &[at(2, 1), at(2, 2)]);
    let expected = [(LeaderInfo, at(2, 0)), (Trunc, at(1, 5)), (Proposal, at(2, 1)), (Commit, at(2, 1))];
    assert_eq!(sent_to(&mut script, 1)[..4], expected);
    // Of an epoch that the log has nothing of.
    let mut script = leader_asked_by(at(0, 9), |_| {});
    log(&mut script, at(0, 0), &[at(1, 4), at(1, 5)]);
    assert_eq!(sent_to(&mut script, 1)[1..], [(Snap, at(2, 3))]);
}

#[test]
fn uncommitted_records_of_the_log_are_not_sent_before_their_time() {
    let mut script = leader_asked_by(at(1, 4), |_| {});
    script.with(|zab, now| assert!(zab.propose(now, at(2, 4), Bytes::from_static(b"x"))));
    log(&mut script, at(1, 4), &[at(1, 5), at(2, 1), at(2, 2), at(2, 3), at(2, 4)]);
    let sent = sent_to(&mut script, 1);
    assert_eq!(sent[sent.len() - 2..], [(Commit, at(2, 3)), (NewLeader, at(2, 0))]);
}

#[test]
fn a_log_that_is_no_source_gives_way_to_a_snapshot() {
    let mut script = leader_asked_by(at(1, 4), |_| {});
    script.with(|zab, now| zab.handle_log(now, ConnId(1), None));
    assert_eq!(sent_to(&mut script, 1)[1..], [(Snap, at(2, 3))]);
    let mut script = leader_asked_by(at(1, 4), |_| {});
    log(&mut script, at(1, 4), &[]);
    assert_eq!(sent_to(&mut script, 1)[1..], [(Snap, at(2, 3))], "the log ends before it");
    // Not any more once it has been told what to do with its own log.
    for records in [None, Some(LogSlice { floor: at(1, 5), records: vec![(at(2, 2), Bytes::new())] })] {
        let mut script = leader_asked_by(at(1, 4), |_| {});
        log(&mut script, at(1, 4), &[at(1, 5), at(2, 1)]);
        script.with(|zab, now| zab.handle_writable(now, ConnId(1)));
        script.with(|zab, now| zab.handle_log(now, ConnId(1), records));
        assert_eq!(script.closed, [ConnId(1)]);
    }
}

#[test]
fn the_log_is_not_asked_when_it_must_not_be() {
    for change in [|config: &mut Config| config.log_syncs = false, |config: &mut Config| config.force_snapshots = true]
    {
        let mut script = leader_asked_by(at(1, 4), change);
        assert_eq!((sent_to(&mut script, 1)[1], script.asked.len()), ((Snap, at(2, 3)), 0));
    }
    let mut script = leader_asked_by(at(2, 3), |config| config.force_snapshots = true);
    assert_eq!(sent_to(&mut script, 1)[1], (Snap, at(2, 3)), "though it lacks nothing");
}

#[test]
fn what_is_forgotten_while_a_snapshot_is_sent_comes_from_the_log() {
    let mut script = leader(|_| {});
    ask(&mut script, 1, FollowerInfo, Zxid::ZERO, 0);
    let payload = Bytes::from(vec![0; 8 << 20]);
    for _ in 0..5 {
        commit(&mut script, &payload);
    }
    script.take_sent();
    script.with(|zab, now| zab.handle_snapshot_sent(now, ConnId(1)));
    assert_eq!((script.asked.as_slice(), script.closed.len()), (&[at(1, 5)][..], 0));
    log(&mut script, at(1, 5), &[at(2, 1)]);
    assert_eq!(sent_to(&mut script, 1).last(), Some(&(NewLeader, at(2, 0))));
}

#[test]
fn one_observer_too_many_is_sent_away_and_a_follower_is_not() {
    let mut script = leader(|config| (config.snap_syncs_max, config.diff_syncs_max) = (1, 1));
    ask(&mut script, 4, ObserverInfo, Zxid::ZERO, 0);
    ask(&mut script, 5, ObserverInfo, Zxid::ZERO, 0);
    assert_eq!(script.closed, [ConnId(5)], "snapshots");
    ask(&mut script, 5, ObserverInfo, at(1, 5), 1);
    ask(&mut script, 6, ObserverInfo, at(1, 5), 1);
    assert_eq!(script.closed, [ConnId(5), ConnId(6)], "transactions only");
    ask(&mut script, 1, FollowerInfo, Zxid::ZERO, 0);
    assert_eq!(sent_to(&mut script, 1).last(), Some(&(Snap, at(1, 5))));
    script.with(|zab, now| zab.handle_snapshot_sent(now, ConnId(4)));
    script.say(4, Ack, at(2, 0));
    script.say(5, Ack, at(2, 0));
    script.with(|zab, now| zab.handle_closed(now, ConnId(1)));
    ask(&mut script, 6, ObserverInfo, Zxid::ZERO, 0);
    assert_eq!(script.closed.len(), 2, "places are free again");
}
