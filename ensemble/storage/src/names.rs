//! Names of logs and snapshots (`Util.java`): `log.<zxid>` and `snapshot.<zxid>[.gz|.snappy]`, hexadecimal, lower case.

use ensemble_proto::Zxid;

/// Suffix of a file that is being written; it becomes visible by a rename.
pub(crate) const TMP: &str = ".tmp";

pub(crate) fn log(first: Zxid) -> String {
    format!("log.{:x}", first.0)
}

pub(crate) fn snapshot(zxid: Zxid) -> String {
    format!("snapshot.{:x}", zxid.0)
}

/// A snapshot received from a leader that supersedes everything else in the store; see [`crate::install`].
pub(crate) fn installing(zxid: Zxid) -> String {
    format!("installing.{:x}", zxid.0)
}

/// The zxid in the name of a snapshot; `None` for any other name.
pub fn snapshot_zxid(name: &str) -> Option<Zxid> {
    zxid("snapshot", name)
}

/// The zxid in a name that starts with `prefix`, by ZooKeeper's rule: the part after the first dot, read as a *signed*
/// hexadecimal number. A temporary file is none (Differs from ZooKeeper: there `snapshot.21.tmp` counts as a snapshot).
pub(crate) fn zxid(prefix: &str, name: &str) -> Option<Zxid> {
    if name.ends_with(TMP) {
        return None;
    }
    let mut parts = name.split('.');
    if parts.next() != Some(prefix) {
        return None;
    }
    i64::from_str_radix(parts.next()?, 16).ok().filter(|zxid| *zxid >= 0).map(Zxid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hexadecimal_and_read_back() {
        assert_eq!(log(Zxid(0x1_0000_002a)), "log.10000002a");
        for (name, expected) in [
            ("snapshot.21", Some(0x21)),
            ("snapshot.21.gz", Some(0x21)),
            ("snapshot.21.snappy", Some(0x21)),
            ("snapshot.21.tmp", None),
            ("snapshot.ffffffffffffffff", None),
            ("snapshot.xyz", None),
            ("snapshot", None),
            ("log.21", None),
        ] {
            assert_eq!(zxid("snapshot", name), expected.map(Zxid), "{name}");
        }
    }
}
