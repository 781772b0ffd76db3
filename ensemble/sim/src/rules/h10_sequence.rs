//! H-10: sequential znodes. The ten digits that a client is told are above those of every sequential znode made before under the
//! same parent, as long as that parent lives; gaps are allowed. (Which digits exactly is H-1's.)

use crate::history::History;
use crate::model::Answer;
use crate::rules::replay::Replay;
use crate::trace::{Verdict, Violation};
use ensemble_proto::Zxid;
use std::collections::BTreeMap;

/// Digits of a sequential name.
pub const DIGITS: usize = 10;

/// Checks every acknowledged single create of a sequential znode, in the order in which they took effect.
pub fn check(history: &History, replay: &Replay) -> Verdict {
    let mut last: BTreeMap<(&str, Zxid), i64> = BTreeMap::new();
    for (index, parent) in &replay.sequential {
        let op = &history.ops[*index];
        let Some(reply) = &op.reply else { continue };
        let (Answer::Path(path) | Answer::PathAndStat(path, _)) = &reply.answer else { continue };
        let Some(number) = number(path) else {
            return Err(Violation::new("H-10", format!("{op:?}: {path} does not end in ten digits")));
        };
        let last = last.entry((parent.path.as_str(), parent.czxid)).or_insert(-1);
        if number <= *last {
            let message = format!("{op:?}: {number} after {last} under the {} of {}", parent.path, parent.czxid);
            return Err(Violation::new("H-10", message));
        }
        *last = number;
    }
    Ok(())
}

/// The number at the end of a sequential path.
pub fn number(path: &str) -> Option<i64> {
    path.get(path.len().checked_sub(DIGITS)?..)?.parse().ok()
}
