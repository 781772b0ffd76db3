//! What the leaders of an ensemble of ZooKeeper 3.9.5 servers proposed, to the digest.

use crate::common::{fixtures, request_of};
use bytes::Bytes;
use ensemble_datatree::{Access, DataTree, Pending, prep};
use ensemble_proto::Zxid;
use ensemble_proto::quorum::{Decoded, PacketDecoder, PacketType};
use ensemble_proto::txn::{Txn, TxnRecord};
use std::collections::BTreeMap;

/// Every transaction that a quorum connection carried, once, but for those that a later leader had truncated.
fn proposals() -> BTreeMap<Zxid, Bytes> {
    const DESIGNATED_LEADER_BYTES: usize = 8;
    let (mut proposals, mut kept) = (BTreeMap::<Zxid, Bytes>::new(), Vec::new());
    let folder = fixtures().join("wire-3.9.5");
    for entry in std::fs::read_dir(folder).expect("the recordings are there") {
        let file = entry.expect("the folder can be read").path();
        if !file.to_string_lossy().contains("-quorum-") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a recording is text");
        let bytes: Vec<u8> = text.lines().filter_map(|line| line.strip_prefix('<')).flat_map(hex).collect();
        let mut decoder = PacketDecoder::new(bytes.len(), bytes.len());
        decoder.feed(&bytes);
        while let Some(decoded) = decoder.next().expect("the recording decodes") {
            let Decoded::Packet(packet) = decoded else { continue };
            let payload = match (packet.kind, packet.data) {
                (PacketType::Proposal | PacketType::Inform, Some(data)) => data,
                (PacketType::InformAndActivate, Some(data)) => data.slice(DESIGNATED_LEADER_BYTES..),
                (PacketType::Trunc, _) => {
                    kept.push(packet.zxid);
                    continue;
                }
                _ => continue,
            };
            let before = proposals.insert(packet.zxid, payload.clone());
            assert!(before.is_none_or(|before| before == payload), "one zxid, one transaction");
        }
    }
    assert!(!kept.is_empty(), "a truncation was recorded");
    proposals.retain(|zxid, _| kept.iter().all(|last| zxid <= last || zxid.epoch() > last.epoch()));
    proposals
}

fn hex(line: &str) -> Vec<u8> {
    let digits = line.trim().as_bytes();
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a hex digit") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn what_java_leaders_proposed_is_written_prepared_and_applied_to_the_same_bytes_and_digest() {
    let proposals = proposals();
    let (mut tree, mut pending) = (DataTree::new(1), Pending::new(1));
    let mut prepared = 0;
    for (zxid, payload) in &proposals {
        let record = TxnRecord::decode(payload).expect("a proposal decodes");
        assert_eq!(record.encode(), payload, "{record:?}");
        let header = record.header;
        assert_eq!(header.zxid, *zxid);
        if let Some(owned) = request_of(header.session, header.cxid, &record.txn) {
            let request = owned.request(Access::UNCHECKED);
            let again = prep::prep(&tree, &mut pending, header.time_ms, *zxid, &request);
            assert_eq!(again.encode(), payload, "{record:?} {again:?}");
            prepared += 1;
        }
        let outcome = tree.apply(&record);
        pending.applied(*zxid);
        assert_eq!(outcome.digest_mismatch, None, "{record:?}");
        let failed = if let Txn::Error(code) = record.txn { Some(code) } else { None };
        assert_eq!((!outcome.error.is_ok()).then_some(outcome.error), failed, "{record:?}");
        assert_eq!(tree.recount(), Ok(()));
    }
    assert!(prepared >= 36 && proposals.len() - prepared <= 4, "{prepared} of {}", proposals.len());
}
