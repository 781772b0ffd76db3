//! The digest of a znode, and by addition of the whole tree (`DigestCalculator.java`, `AdHash.java`).
//!
//! A znode's digest is a CRC-32 over path, data and stat; the tree's is their sum modulo 2^64. So a change costs the digests
//! of the znodes it touches, and servers that hold the same tree have the same sum whatever the order of its growth.

use crc32fast::Hasher;
use ensemble_proto::StatPersisted;

/// The digest of one znode. The system's znodes below `/zookeeper/` contribute nothing: servers may differ there.
pub(crate) fn znode(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u32 {
    if path.starts_with("/zookeeper/") {
        return 0;
    }
    let mut hasher = Hasher::new();
    if path != crate::path::ROOT {
        hasher.update(path.as_bytes());
    }
    hasher.update(data.unwrap_or_default());
    hasher.update(&stat_bytes(stat));
    hasher.finalize()
}

/// The stat in the digest's own order: pzxid is third here and last in a snapshot.
fn stat_bytes(stat: &StatPersisted) -> [u8; StatPersisted::BYTES] {
    let mut bytes = [0; StatPersisted::BYTES];
    let (longs, rest) = bytes.split_at_mut(40);
    let (ints, owner) = rest.split_at_mut(12);
    let values = [stat.czxid.0, stat.mzxid.0, stat.pzxid.0, stat.ctime, stat.mtime];
    for (slot, value) in longs.chunks_exact_mut(8).zip(values) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
    for (slot, value) in ints.chunks_exact_mut(4).zip([stat.version, stat.cversion, stat.aversion]) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
    owner.copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    bytes
}

/// The tree's digest after one znode's digest changed; zero stands for a znode that is not there.
pub(crate) fn replaced(tree: u64, old: u32, new: u32) -> u64 {
    tree.wrapping_sub(old.into()).wrapping_add(new.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen on a real server: all-zero stat, no data.
    #[test]
    fn reference_vectors() {
        let zero = StatPersisted::default();
        assert_eq!(znode("/", Some(b""), &zero), 68_323_592);
        assert_eq!(znode("/zookeeper", None, &zero), 1_303_661_912);
        assert_eq!(znode("/zookeeper/config", Some(b"x"), &zero), 0);
    }
}
