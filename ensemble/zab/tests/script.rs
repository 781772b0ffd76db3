//! One server among scripted ones: situations that our own leader never makes, and what Java servers really said.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::script::Script;
use common::{fast_config, membership};
use ensemble_proto::membership::{MemberRole, Membership};
use ensemble_proto::quorum::PacketType::{self, *};
use ensemble_proto::quorum::{Decoded, LearnerInfo, PacketDecoder, QuorumPacket, ServerState, decode_touched};
use ensemble_proto::{Epoch, ServerId, SessionId, Zxid};
use ensemble_zab::{Config, ConnId, History, Write};
use std::collections::BTreeSet;
use std::path::PathBuf;

const LEADER_INFO: &[u8] = &[0, 1, 0, 0];

fn at(epoch: i64, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

fn config(id: i64) -> Config {
    Config { id: ServerId(id), ..fast_config(membership(3, 0)) }
}

/// accepted and current epoch 1; the tree at 1.`snapshot`, the log up to 1.`last`.
fn history(snapshot: u32, last: u32) -> History {
    History {
        accepted_epoch: Epoch(1),
        current_epoch: Epoch(1),
        snapshot: at(1, snapshot),
        complete: at(1, snapshot),
        tail: (snapshot + 1..=last).map(|counter| (at(1, counter), Bytes::from_static(b"x"))).collect(),
        trusted: true,
        last_seen: None,
        held: None,
    }
}

/// Follows server 3, which offers epoch 2; the plan is what comes next.
fn discovered(history: History) -> Script {
    let mut script = Script::start(config(1), history);
    script.find_leader(ServerId(3), Epoch(2));
    script.connect(7);
    script.say_with(7, LeaderInfo, at(2, 0), LEADER_INFO);
    script
}

/// Zab, local primary order.
/// Zab, step f.2.1.
#[test]
fn live_traffic_before_up_to_date_is_kept_in_order() {
    let mut script = discovered(history(3, 5));
    assert_eq!(script.take_sent(), [(FollowerInfo, at(1, 0)), (AckEpoch, at(1, 5))]);
    script.say(7, Diff, at(1, 6));
    script.say_with(7, Proposal, at(1, 6), b"x");
    script.say(7, Commit, at(1, 6));
    script.say_with(7, Proposal, at(2, 1), b"live");
    script.say_with(7, Proposal, at(2, 2), b"live");
    script.say_with(7, NewLeader, at(2, 0), b"config");
    script.say(7, Ping, at(2, 2));
    script.say(7, Commit, at(2, 1));
    assert_eq!(script.take_sent(), [(Ack, at(2, 0))], "nothing but the ACK of NEWLEADER");
    assert!(script.delivered.is_empty(), "nothing is known to be committed");
    script.say(7, UpToDate, Zxid::NONE);
    assert_eq!(script.take_sent(), [(Ack, at(2, 0)), (Ack, at(2, 2))]);
    assert_eq!(script.delivered, [at(1, 4), at(1, 5), at(1, 6), at(2, 1)]);
    script.say(7, Commit, at(2, 2));
    assert_eq!(script.delivered.last(), Some(&at(2, 2)));
    assert!(script.closed.is_empty());
    let epochs = script.writes.iter().position(|write| *write == Write::CurrentEpoch(Epoch(2))).unwrap();
    let logged =
        script.writes.iter().position(|write| matches!(write, Write::Append { zxid, .. } if *zxid == at(1, 6)));
    assert!(logged.unwrap() < epochs, "the history is written before its epoch");
}

/// A Java leader counts the time until each proposal is acknowledged that it sent after ACK(NEWLEADER) had come, whether it is committed or not.
#[test]
fn what_is_proposed_between_new_leader_and_up_to_date_is_acknowledged_though_it_is_committed() {
    let mut script = discovered(history(3, 5));
    script.say(7, Diff, at(1, 5));
    script.say_with(7, Proposal, at(2, 1), b"before");
    script.say_with(7, NewLeader, at(2, 0), b"config");
    for counter in 2..=4 {
        script.say_with(7, Proposal, at(2, counter), b"after");
    }
    for counter in 1..=3 {
        script.say(7, Commit, at(2, counter));
    }
    script.take_sent();
    script.say(7, UpToDate, Zxid::NONE);
    assert_eq!(script.take_sent(), [0, 2, 3, 4].map(|counter| (Ack, at(2, counter))));
    assert_eq!(script.delivered.last(), Some(&at(2, 3)));
    script.say(7, Commit, at(2, 4));
    script.say_with(7, Proposal, at(2, 5), b"later");
    assert_eq!(script.take_sent(), [(Ack, at(2, 5))]);
}

#[test]
fn what_went_into_a_fuzzy_snapshot_is_delivered_at_once_and_never_cut() {
    let script = Script::start(config(1), History { complete: at(1, 4), ..history(2, 6) });
    assert_eq!(script.delivered, [at(1, 3), at(1, 4)]);
    let mut script = discovered(History { complete: at(1, 4), ..history(2, 6) });
    assert_eq!(script.take_sent(), [(FollowerInfo, at(1, 0)), (AckEpoch, at(1, 6))]);
    script.say(7, Trunc, at(1, 3));
    assert_eq!(script.closed, [ConnId(7)], "it asks for a snapshot instead");
    assert!(!script.writes.contains(&Write::Truncate { to: at(1, 3) }));
    let beyond_the_log = Script::start(config(1), History { complete: at(1, 9), ..history(2, 6) });
    assert_eq!(beyond_the_log.delivered.last(), Some(&at(1, 6)));
}

#[test]
fn what_a_leader_must_not_send_ends_the_connection_and_nothing_else() {
    let check = |packets: &[(PacketType, Zxid)]| {
        let mut script = discovered(history(3, 5));
        script.say(7, Diff, at(1, 5));
        for (kind, zxid) in packets {
            script.say(7, *kind, *zxid);
        }
        assert_eq!(script.closed, [ConnId(7)], "{packets:?}");
        assert_eq!(script.zab.leader(), None, "{packets:?}");
    };
    check(&[(Commit, at(1, 6))]);
    check(&[(Proposal, at(1, 7))]);
    check(&[(Proposal, at(1, 5))]);
    check(&[(Proposal, at(2, 2))]);
    check(&[(UpToDate, Zxid::NONE)]);
    check(&[(NewLeader, at(3, 0))]);
    check(&[(NewLeader, at(2, 0)), (NewLeader, at(2, 0))]);
    check(&[(NewLeader, at(2, 0)), (UpToDate, Zxid::NONE), (Diff, at(2, 0))]);
    check(&[(NewLeader, at(2, 0)), (UpToDate, Zxid::NONE), (Commit, at(2, 1))]);
}

/// What follows SNAP.
fn snapshot(script: &mut Script, conn: u64, body: &'static [u8]) {
    script.with(|zab, now| zab.handle_snapshot_part(now, ConnId(conn), Bytes::from_static(body)));
    script.with(|zab, now| zab.handle_snapshot_end(now, ConnId(conn), None));
}

#[test]
fn a_snapshot_of_a_leader_that_came_to_nothing_gives_way_to_another_leaders_history() {
    let mut script = discovered(history(3, 5));
    script.say(7, Snap, at(1, 9));
    snapshot(&mut script, 7, b"tree at 1.9");
    script.say_with(7, NewLeader, at(2, 0), b"config");
    assert_eq!(script.installed, [at(1, 9)]);
    script.with(|zab, now| zab.handle_closed(now, ConnId(7)));
    assert!(script.roles.is_empty() && script.delivered.is_empty(), "nobody was served");
    // Another leader never had 1.8 and 1.9.
    script.find_leader(ServerId(2), Epoch(3));
    script.connect(8);
    script.take_sent();
    script.say_with(8, LeaderInfo, at(3, 0), LEADER_INFO);
    assert_eq!(script.take_sent(), [(AckEpoch, at(1, 9))], "counted with what it really has");
    script.say(8, Trunc, at(1, 7));
    assert_eq!(script.closed.last(), Some(&ConnId(8)));
    assert_eq!(script.zab.leader(), Some(ServerId(2)), "the same leader is asked again");
    script.connect(9);
    script.say_with(9, LeaderInfo, at(3, 0), LEADER_INFO);
    let last = script.sent.last().unwrap();
    assert_eq!((last.kind, last.zxid, last.payload()), (AckEpoch, Zxid::NONE, &[255u8; 4][..]), "nothing, not counted");
    script.say(9, Snap, at(1, 7));
    snapshot(&mut script, 9, b"tree at 1.7");
    script.say_with(9, NewLeader, at(3, 0), b"config");
    script.say(9, UpToDate, Zxid::NONE);
    assert_eq!(script.installed, [at(1, 9), at(1, 7)]);
    assert_eq!(script.zab.last_logged(), at(1, 7));
    assert_eq!(script.roles.len(), 1);
}

#[test]
fn a_snapshot_that_breaks_off_leaves_everything_as_it_was() {
    let mut script = discovered(history(3, 5));
    script.say(7, Snap, at(1, 9));
    script.with(|zab, now| zab.handle_snapshot_part(now, ConnId(7), Bytes::from_static(b"tree")));
    script.with(|zab, now| zab.handle_closed(now, ConnId(7)));
    assert_eq!(script.writes.last(), Some(&Write::AbandonSnapshot));
    script.with(|zab, now| zab.handle_snapshot_end(now, ConnId(7), None));
    assert!(script.installed.is_empty());
    assert_eq!((script.zab.leader(), script.zab.last_logged()), (None, at(1, 5)));
}

#[test]
fn a_snapshot_older_than_the_log_does_not_take_records_away() {
    let mut script = discovered(history(3, 7));
    script.say(7, Snap, at(1, 4));
    snapshot(&mut script, 7, b"tree at 1.4");
    for counter in [5, 6] {
        script.say_with(7, Proposal, at(1, counter), b"x");
        script.say(7, Commit, at(1, counter));
    }
    script.say_with(7, NewLeader, at(2, 0), b"config");
    let log: Vec<_> = script.writes.iter().filter(|write| !matches!(write, Write::AcceptedEpoch(_))).collect();
    let parts =
        [Write::ReceiveSnapshot { zxid: at(1, 4) }, Write::SnapshotPart { bytes: Bytes::from_static(b"tree at 1.4") }];
    assert_eq!(log[..2], [&parts[0], &parts[1]]);
    assert_eq!(log[2..], [&Write::AbandonSnapshot, &Write::Truncate { to: at(1, 6) }, &Write::CurrentEpoch(Epoch(2))]);
    script.say(7, UpToDate, Zxid::NONE);
    assert_eq!(script.delivered, [at(1, 4), at(1, 5), at(1, 6)]);
    assert!(script.installed.is_empty());
}

/// Zab, steps f.1.1 to f.1.2.
#[test]
fn an_epoch_is_acknowledged_once_and_never_one_before_it() {
    let mut script = discovered(history(3, 5));
    script.with(|zab, now| zab.handle_closed(now, ConnId(7)));
    script.find_leader(ServerId(3), Epoch(2));
    script.connect(8);
    script.say_with(8, LeaderInfo, at(2, 0), LEADER_INFO);
    assert_eq!(script.sent.last().unwrap().payload(), &[255; 4]);
    script.with(|zab, now| zab.handle_closed(now, ConnId(8)));
    script.find_leader(ServerId(3), Epoch(1));
    script.connect(9);
    script.say_with(9, LeaderInfo, at(1, 0), LEADER_INFO);
    assert_eq!(script.closed, [ConnId(9)]);
}

/// Server 3 leads by the votes of 2; what 2 says of its history comes afterwards.
fn leader_hears_history(mutate: impl Fn(&mut Config), current_epoch: i32, last: Zxid) -> Script {
    let mut config = config(3);
    mutate(&mut config);
    let mut script = Script::start(config, history(3, 5));
    for id in [1, 2] {
        script.hear(ServerId(id), ServerState::Looking, ServerId(3), at(1, 5), Epoch(1), 1);
    }
    script.with(|zab, now| zab.handle_learner_accepted(now, ConnId(7)));
    let hello = LearnerInfo { id: ServerId(2), protocol_version: 0x10000, config_version: Zxid::ZERO };
    script.say_with(7, FollowerInfo, at(1, 0), &hello.encode());
    script.say_with(7, AckEpoch, last, &current_epoch.to_be_bytes());
    script.with(|zab, now| zab.handle_log(now, ConnId(7), None));
    script.with(|zab, now| zab.handle_snapshot_sent(now, ConnId(7)));
    script
}

/// Zab, primary integrity; step l.1.2.
#[test]
fn a_leader_does_not_count_who_has_more_history() {
    let check = |current: i32, last: Zxid, opens: bool| {
        let script = leader_hears_history(|_| {}, current, last);
        assert_eq!(script.sent.iter().any(|packet| packet.kind == NewLeader), opens, "{current} {last}");
    };
    check(1, at(1, 5), true);
    check(1, at(1, 2), true);
    check(0, at(0, 9), true);
    check(1, at(1, 6), false);
    check(2, at(1, 1), false);
    check(-1, at(1, 5), false);
    check(1, Zxid::NONE, false);
}

#[test]
fn more_sessions_than_a_ping_reports_take_turns() {
    let mut script = discovered(history(3, 5));
    script.say(7, Diff, at(1, 5));
    script.say_with(7, NewLeader, at(2, 0), b"config");
    script.say(7, UpToDate, Zxid::NONE);
    let reported = |script: &mut Script| {
        for session in 0..50_000 {
            script.with(|zab, _| zab.touch(SessionId(session), 4000)); // the lowest are always there again
        }
        script.sent.clear();
        script.say(7, Ping, at(2, 0));
        let sessions = decode_touched(script.sent.pop().unwrap().payload()).unwrap();
        sessions.into_iter().map(|(session, _)| session.0).collect::<BTreeSet<_>>()
    };
    let (first, second) = (reported(&mut script), reported(&mut script));
    assert_eq!((first.len(), second.len()), (40_000, 40_000));
    assert!((0..50_000).all(|session| first.contains(&session) || second.contains(&session)));
}

#[test]
fn a_server_that_lost_its_store_does_not_lead_those_who_followed_it() {
    let check = |trusted: bool, leader: Option<ServerId>| {
        let mut script = Script::start(config(3), History { trusted, ..History::default() });
        for id in [1, 2] {
            script.hear(ServerId(id), ServerState::Following, ServerId(3), Zxid::ZERO, Epoch(0), 1);
        }
        assert_eq!(script.zab.leader(), leader, "trusted: {trusted}");
    };
    check(true, Some(ServerId(3)));
    check(false, None);
}

#[cfg(feature = "mutants")]
#[test]
fn the_mutant_without_history_check_counts_it() {
    let script = leader_hears_history(|config| config.mutants.no_history_check = true, 1, at(1, 6));
    assert!(script.sent.iter().any(|packet| packet.kind == NewLeader));
}

// ---- recorded Java servers ----

fn recordings() -> Vec<(String, String)> {
    let root = match std::env::var_os("ENSEMBLE_FIXTURES") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|directory| directory.join("shared/fixtures"))
            .find(|candidate| candidate.is_dir())
            .expect("no shared/fixtures above this crate: set ENSEMBLE_FIXTURES"),
    };
    let mut found: Vec<_> = std::fs::read_dir(root.join("wire-3.9.5"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path))
        .filter(|(name, _)| name.contains("-quorum-"))
        .map(|(name, path)| (name, std::fs::read_to_string(path).unwrap()))
        .collect();
    found.sort();
    found
}

/// Both directions, in the order of the recording: true is what the learner said.
fn conversation(text: &str) -> Vec<(bool, Decoded)> {
    let mut decoders = [PacketDecoder::new(2 << 20, 64 << 20), PacketDecoder::new(2 << 20, 64 << 20)];
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((mark, hex)) = line.split_once(' ').filter(|(mark, _)| matches!(*mark, "<" | ">")) else { continue };
        let Ok(bytes) = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16))
            .collect::<Result<Vec<_>, _>>()
        else {
            continue; // "> closes" is a remark
        };
        let learner = mark == ">";
        let decoder = &mut decoders[usize::from(learner)];
        decoder.feed(&bytes);
        while let Some(decoded) = decoder.next().unwrap() {
            found.push((learner, decoded));
        }
    }
    found
}

fn packets(conversation: &[(bool, Decoded)], learner: bool) -> Vec<&QuorumPacket> {
    let of_side = conversation.iter().filter(|(by_learner, _)| *by_learner == learner);
    of_side.filter_map(|(_, decoded)| if let Decoded::Packet(packet) = decoded { Some(packet) } else { None }).collect()
}

/// A server that stands where the recorded learner stood, fed what the recorded leader said, says what it said: hello,
/// epoch, acknowledgements and PINGs, in this order. (What clients wanted is not ours to say.)
#[test]
fn a_learner_answers_a_recorded_java_leader_as_java_did() {
    let mut kinds = std::collections::BTreeSet::new();
    for (name, text) in recordings() {
        let conversation = conversation(&text);
        let (said, heard) = (packets(&conversation, true), packets(&conversation, false));
        let Some(new_leader) = heard.iter().find(|packet| packet.kind == NewLeader) else { continue };
        let Some(ack_epoch) = said.iter().find(|packet| packet.kind == AckEpoch) else { continue };
        let Some(plan) = heard.iter().find(|packet| matches!(packet.kind, Diff | Trunc | Snap)) else { continue };
        let hello = said[0];
        let id = LearnerInfo::decode(hello.payload()).unwrap().id;
        let leader = ServerId(name.split("-to-").nth(1).unwrap()[..1].parse().unwrap());
        let mut membership = Membership::parse(std::str::from_utf8(new_leader.payload()).unwrap()).unwrap();
        membership.version = Zxid::ZERO;
        let role = if hello.kind == FollowerInfo { MemberRole::Participant } else { MemberRole::Observer };
        if membership.servers.get(&id).is_none_or(|member| member.role != role) {
            continue; // joins by a reconfiguration, which is not supported
        }
        let last = ack_epoch.zxid;
        let base = if plan.kind == Trunc { plan.zxid } else { last };
        let told = ack_epoch.payload().first_chunk().map(|chunk| i32::from_be_bytes(*chunk)).unwrap();
        let accepted = hello.zxid.epoch();
        let history = History {
            accepted_epoch: accepted,
            current_epoch: if told == -1 { accepted.min(last.epoch()) } else { Epoch(told.into()) },
            snapshot: base,
            complete: base,
            tail: (base.0 + 1..=last.0).map(|zxid| (Zxid(zxid), Bytes::from_static(b"x"))).collect(),
            trusted: true,
            last_seen: None,
            held: None,
        };
        let mut script = Script::start(Config { id, ..fast_config(membership) }, history);
        script.find_leader(leader, accepted);
        script.connect(7);
        for (_, decoded) in conversation.iter().filter(|(by_learner, _)| !by_learner) {
            match decoded {
                Decoded::Packet(packet) => script.packet(7, packet.clone()),
                Decoded::SnapshotPart(part) => {
                    script.with(|zab, now| zab.handle_snapshot_part(now, ConnId(7), part.clone()));
                }
                Decoded::SnapshotEnd => script.with(|zab, now| zab.handle_snapshot_end(now, ConnId(7), None)),
            }
        }
        assert!(script.closed.is_empty(), "{name}: closed the connection");
        let expected: Vec<_> = said.iter().filter(|packet| packet.kind != Request).collect();
        let acks = |packets: &[(PacketType, Zxid)]| -> Vec<_> {
            packets.iter().filter(|(kind, _)| *kind != Ping && *kind != Revalidate).copied().collect()
        };
        let pings = |packets: &[(PacketType, Zxid)]| packets.iter().filter(|(kind, _)| *kind == Ping).count();
        let expected: Vec<_> = expected.iter().map(|packet| (packet.kind, packet.zxid)).collect();
        let found = script.take_sent();
        let (found_acks, expected_acks) = (acks(&found), acks(&expected));
        // the recording may end before the last answers
        assert_eq!(found_acks[..expected_acks.len().min(found_acks.len())], expected_acks[..], "{name}");
        assert!(found_acks.len() - expected_acks.len() <= 1 && pings(&found) >= pings(&expected), "{name}");
        kinds.insert(plan.kind);
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [Diff, Trunc, Snap], "each way to synchronise was recorded");
}
