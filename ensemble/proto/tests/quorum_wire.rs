//! What ZooKeeper 3.9.5 servers said to each other decodes to its end and encodes to the same bytes.
#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use ensemble_proto::jute::Writer;
use ensemble_proto::membership::Membership;
use ensemble_proto::quorum::{
    Decoded, ElectionDecoder, ElectionMessage, LearnerInfo, Notification, PacketDecoder, PacketType, SNAPSHOT_SIGNATURE,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The recorded connections: `ENSEMBLE_FIXTURES`, or `shared/fixtures` beside some directory above this crate.
fn wire_fixtures(plane: &str) -> Vec<(String, String)> {
    let root = match std::env::var_os("ENSEMBLE_FIXTURES") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|directory| directory.join("shared/fixtures"))
            .find(|candidate| candidate.is_dir())
            .expect("no shared/fixtures above this crate: set ENSEMBLE_FIXTURES"),
    };
    let directory = root.join("wire-3.9.5");
    let mut found: Vec<_> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().contains(plane))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no {plane} recordings in {}", directory.display());
    found
}

fn direction(text: &str, mark: &str) -> Vec<u8> {
    let hex: String = text.lines().filter_map(|line| line.strip_prefix(mark)).map(str::trim).collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn recorded_quorum_connections_decode_and_encode_to_the_same_bytes() {
    let mut kinds: BTreeMap<PacketType, usize> = BTreeMap::new();
    let mut snapshots = 0;
    for (name, text) in wire_fixtures("-quorum-") {
        for mark in [">", "<"] {
            let bytes = direction(&text, mark);
            let mut decoder = PacketDecoder::new(2 << 20, 64 << 20);
            decoder.feed(&bytes);
            let mut again = BytesMut::new();
            while let Some(decoded) = decoder.next().unwrap_or_else(|error| panic!("{name} {mark}: {error}")) {
                match decoded {
                    Decoded::Packet(packet) => {
                        *kinds.entry(packet.kind).or_default() += 1;
                        if packet.kind == PacketType::FollowerInfo {
                            let info = LearnerInfo::decode(packet.payload()).unwrap();
                            assert_eq!(info.encode(), packet.payload());
                        }
                        if packet.kind == PacketType::NewLeader {
                            let config = std::str::from_utf8(packet.payload()).unwrap();
                            assert_eq!(Membership::parse(config).unwrap().to_string(), config);
                        }
                        let before = again.len();
                        packet.encode(&mut again);
                        assert_eq!(again.len() - before, packet.encoded_len());
                    }
                    Decoded::SnapshotPart(part) => again.put(&part),
                    Decoded::SnapshotEnd => {
                        snapshots += 1;
                        again.string(SNAPSHOT_SIGNATURE);
                    }
                }
            }
            assert!(decoder.is_empty(), "{name} {mark}: bytes left over");
            assert_eq!(again, bytes, "{name} {mark}");
        }
    }
    assert!(snapshots >= 1, "no snapshot stream was recorded");
    for kind in [PacketType::Diff, PacketType::Trunc, PacketType::Snap, PacketType::Inform, PacketType::Sync] {
        assert!(kinds.contains_key(&kind), "{kind:?} was not recorded: {kinds:?}");
    }
}

#[test]
fn recorded_election_connections_decode_and_encode_to_the_same_bytes() {
    let mut notifications = 0;
    for (name, text) in wire_fixtures("-election-") {
        for (mark, mut decoder) in [(">", ElectionDecoder::accepting()), ("<", ElectionDecoder::connecting())] {
            let bytes = direction(&text, mark);
            decoder.feed(&bytes);
            let mut again = BytesMut::new();
            while let Some(message) = decoder.next().unwrap_or_else(|error| panic!("{name} {mark}: {error}")) {
                match message {
                    ElectionMessage::Initial(initial) => initial.encode(&mut again),
                    ElectionMessage::Notification(body) => {
                        notifications += 1;
                        let notification = Notification::decode(&Bytes::clone(&body)).unwrap();
                        let config = std::str::from_utf8(&notification.config).unwrap();
                        assert_eq!(Membership::parse(config).unwrap().to_string(), config);
                        notification.encode(&mut again);
                    }
                }
            }
            assert!(decoder.is_empty(), "{name} {mark}: bytes left over");
            assert_eq!(again, bytes, "{name} {mark}");
        }
    }
    assert!(notifications > 50, "only {notifications} notifications were recorded");
}
