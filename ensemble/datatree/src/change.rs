//! What a transaction does to a stat. The leader foresees it when it prepares the transaction, every server does it
//! when it applies it; both through these functions, so that they cannot differ.

use ensemble_proto::{StatPersisted, Zxid};

/// A child is created: the count of created children becomes `cversion`, or one more than it is when that is -1 (very old
/// logs). It is raised, never lowered. False when it was not raised, and nothing changed.
///
/// At 2^31-1 the count stays where it is: the next would be negative, and is not accepted.
pub(crate) fn count_child(stat: &mut StatPersisted, cversion: i32, zxid: Zxid) -> bool {
    let cversion = if cversion == -1 { stat.cversion.wrapping_add(1) } else { cversion };
    let raised = cversion > stat.cversion;
    if raised {
        stat.cversion = cversion;
        stat.pzxid = zxid;
    }
    raised
}

/// A child is deleted. False when nothing changed, because a later transaction has left its mark already.
pub(crate) fn lose_child(stat: &mut StatPersisted, zxid: Zxid) -> bool {
    let raised = zxid > stat.pzxid;
    if raised {
        stat.pzxid = zxid;
    }
    raised
}

/// The data is replaced.
pub(crate) fn replace_data(stat: &mut StatPersisted, version: i32, zxid: Zxid, time_ms: i64) {
    stat.version = version;
    stat.mzxid = zxid;
    stat.mtime = time_ms;
}
