//! H-9: multi. It is one transaction with as many parts as were asked for, and all of them happen or none: its answer is a result a
//! part, either all successes or all errors, and then OK before the part that failed, its code there, and
//! RUNTIME_INCONSISTENCY after it. (That its parts are seen together or not at all is H-3's, that each result is right H-1's.)

use crate::history::{History, Op};
use crate::model::Answer;
use crate::request::Request;
use crate::rules::replay::Replay;
use crate::trace::{Verdict, Violation};
use ensemble_proto::ErrorCode;
use ensemble_proto::client::MultiResult;

/// Checks every multi.
pub fn check(history: &History, replay: &Replay) -> Verdict {
    for (index, op) in history.ops.iter().enumerate() {
        let Request::Multi(parts) = &op.request else { continue };
        if let Some(logged) = replay.logged.get(&index)
            && logged.parts != Some(parts.len())
        {
            return fail(op, format!("its transaction has {:?} parts", logged.parts));
        }
        if let Some(reply) = &op.reply
            && let Answer::Multi(results) = &reply.answer
        {
            shape(op, parts.len(), results)?;
        }
    }
    Ok(())
}

fn shape(op: &Op, parts: usize, results: &[MultiResult]) -> Verdict {
    if results.len() != parts {
        return fail(op, format!("{} results for {parts} parts", results.len()));
    }
    let code = |result: &MultiResult| match result {
        MultiResult::Error(code) => Some(*code),
        _ => None,
    };
    let codes: Vec<ErrorCode> = results.iter().filter_map(code).collect();
    if codes.is_empty() {
        return Ok(());
    }
    let mut after = codes.iter().skip_while(|code| **code == ErrorCode::OK).skip(1);
    let is_all_errors = codes.len() == results.len() && codes.iter().any(|code| *code != ErrorCode::OK);
    if is_all_errors && after.all(|code| *code == ErrorCode::RUNTIME_INCONSISTENCY) {
        return Ok(());
    }
    fail(op, "neither all of it happened nor none".to_string())
}

fn fail(op: &Op, message: String) -> Verdict {
    Err(Violation::new("H-9", format!("{op:?}: {message}")))
}
