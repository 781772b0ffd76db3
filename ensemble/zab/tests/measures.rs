//! What a server measures of its part: the clock of a script goes on by a millisecond with each input.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::script::Script;
use common::{fast_config, membership, ms};
use ensemble_proto::quorum::PacketType::*;
use ensemble_proto::quorum::{LearnerInfo, PROTOCOL_VERSION, QuorumPacket, ServerState};
use ensemble_proto::{Epoch, ServerId, Summary, Zxid};
use ensemble_zab::{Config, History, Measures};

fn at(counter: u32) -> Zxid {
    Zxid::new(Epoch(1), counter)
}

fn start(id: i64, observers: i64) -> Script {
    let config = Config { id: ServerId(id), ..fast_config(membership(3, observers)) };
    Script::start(config, History { trusted: true, ..History::default() })
}

/// Samples, and their sum in milliseconds.
fn check(script: &Script, of: impl Fn(&Measures) -> &Summary, samples: u64, sum_ms: f64) {
    let summary = of(script.zab.measures());
    assert_eq!((summary.count(), summary.sum().round()), (samples, sum_ms));
}

/// Server 3 leads, with server 1.
fn leading() -> Script {
    let mut script = start(3, 0);
    for id in [1, 2] {
        script.hear(ServerId(id), ServerState::Looking, ServerId(3), Zxid::ZERO, Epoch(0), 1);
    }
    assert_eq!(script.zab.leader(), Some(ServerId(3)));
    script.with(|zab, now| zab.handle_learner_accepted(now, ensemble_zab::ConnId(7)));
    let hello = LearnerInfo { id: ServerId(1), protocol_version: PROTOCOL_VERSION, config_version: Zxid(0) };
    script.packet(7, QuorumPacket::with_data(FollowerInfo, Zxid::ZERO, hello.encode()));
    script.say_with(7, AckEpoch, Zxid::ZERO, &0_i32.to_be_bytes());
    script.say(7, Ack, at(0));
    assert!(script.zab.can_propose(), "{:?}", script.zab.zab_state());
    script
}

#[test]
fn a_leader_measures_acknowledgements_commits_and_applications() {
    let mut script = leading();
    check(&script, |measures| &measures.election_time, 1, 2.0);
    check(&script, |measures| &measures.inflight_diff_count, 1, 1.0);
    assert_eq!((script.zab.measures().looking_count, script.zab.measures().diff_count), (1, 1));
    for counter in 1..=2 {
        script.with(|zab, now| assert!(zab.propose(now, at(counter), Bytes::from_static(b"x"))));
    }
    // The script's disk takes a millisecond: each is on it one input later.
    script.now += 10;
    script.say(7, Ack, at(1));
    script.say(7, Ack, at(2));
    let measures = script.zab.measures();
    assert_eq!(measures.commit_count, 2);
    let of = |id: i64| measures.ack_latency.get(&ServerId(id)).map(|summary| (summary.count(), summary.sum().round()));
    // Proposed at t and t + 2, acknowledged at t + 14 and t + 15.
    assert_eq!((of(3), of(1), of(2)), (Some((2, 2.0)), Some((2, 27.0)), None));
    check(&script, |measures| &measures.quorum_ack_latency, 2, 27.0);
    check(&script, |measures| &measures.proposal_latency, 2, 27.0);
}

#[test]
fn a_follower_measures_its_synchronisation_and_what_follows() {
    let mut script = start(1, 0);
    script.find_leader(ServerId(3), Epoch(1));
    script.connect(7);
    script.say_with(7, LeaderInfo, at(0), &[0, 1, 0, 0]);
    script.now += 20;
    script.say(7, Diff, Zxid::ZERO);
    script.say(7, NewLeader, at(0));
    let before = script.now;
    script.say(7, UpToDate, Zxid::NONE);
    let sync_time = script.zab.measures().follower_sync_time.clone();
    assert_eq!(sync_time.count(), 1);
    assert!(sync_time.sum() >= 20.0 && sync_time.sum() <= (before - 1000) as f64, "{}", sync_time.sum());
    script.say_with(7, Proposal, at(1), b"x");
    script.now += 5;
    script.say(7, Commit, at(1));
    check(&script, |measures| &measures.proposal_ack_creation_latency, 1, 1.0);
    check(&script, |measures| &measures.commit_propagation_latency, 1, 7.0);
    let measures = script.zab.measures();
    assert_eq!((measures.learner_proposal_received_count, measures.learner_commit_received_count), (1, 1));
    assert_eq!(measures.observer_sync_time.count(), 0);
}

#[test]
fn a_voter_that_changes_its_mind_is_counted() {
    let mut script = start(3, 0);
    for id in [1, 2] {
        script.hear(ServerId(id), ServerState::Looking, ServerId(3), Zxid::ZERO, Epoch(0), 1);
    }
    assert_eq!(script.zab.measures().quit_leading_due_to_disloyal_voter, 0);
    script.now += ms(10_000).as_millis() as u64;
    script.hear(ServerId(1), ServerState::Looking, ServerId(1), Zxid::ZERO, Epoch(0), 2);
    assert_eq!(script.zab.measures().quit_leading_due_to_disloyal_voter, 1);
    assert_eq!(script.zab.measures().looking_count, 2);
}
