//! H-2: writes whose answer was lost. Such a write has taken effect or has not; the log tells. If it has, then as it was asked and
//! where it stands: it succeeded or failed as the state before it makes it; not before it was sent; and not after its session's end.
//! (That it has taken effect at most once is H-8's.)

use crate::history::History;
use crate::ledger::Ledger;
use crate::model::Answer;
use crate::rules::replay::Replay;
use crate::trace::{Verdict, Violation};
use ensemble_proto::ErrorCode;
use ensemble_proto::client::MultiResult;

/// Checks every write; those with an answer too, whose time is known better.
pub fn check(history: &History, ledger: &Ledger, replay: &Replay) -> Verdict {
    for (index, txns) in &replay.txns {
        let op = &history.ops[*index];
        let fail = |message: String| Err(Violation::new("H-2", format!("{op:?}: {message}")));
        for zxid in txns {
            if let Some((_, proposed)) = ledger.proposed.get(zxid)
                && *proposed < op.invoked
            {
                return fail(format!("was proposed as {zxid} at {proposed:?}, before it was sent"));
            }
        }
        if op.reply.is_some() {
            continue;
        }
        let (logged, expected) = (replay.logged.get(index), replay.answers.get(index));
        let (Some(logged), Some(expected)) = (logged, expected) else { continue };
        if logged.error != failure(expected) {
            return fail(format!("the log has it as {:?}, the state before it makes it {expected:?}", logged.error));
        }
    }
    Ok(())
}

/// Why a write failed, if it did; of a multi, the part that decided it.
fn failure(answer: &Answer) -> Option<ErrorCode> {
    match answer {
        Answer::Multi(results) => results.iter().find_map(|result| match result {
            MultiResult::Error(code) if *code != ErrorCode::OK => Some(*code),
            _ => None,
        }),
        answer => answer.error(),
    }
}
