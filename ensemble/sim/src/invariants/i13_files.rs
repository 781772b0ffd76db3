//! I-13: when all is over, every server's files pass the strict reader: no repair, nothing skipped, and each record is a transaction
//! with the zxid that it stands under. The logs follow each other without a gap.

use crate::trace::{Verdict, Violation};
use ensemble_proto::Zxid;
use ensemble_proto::jute::Reader;
use ensemble_proto::txn::{TxnHeader, TxnRecord};
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Dir, Disk, Options, Storage, inspect};

/// Reads a copy of a server's files; `options` may forgive nothing.
pub fn strict(server: usize, image: SimDisk, options: Options) -> Verdict {
    let fail = |problem: String| Err(Violation::new("I-13", format!("server {server}'s files: {problem}")));
    let recovered = match Storage::open(image, Options { repair: false, ..options }) {
        Ok((_, recovered)) => recovered,
        Err(error) => return fail(error.to_string()),
    };
    if let Some(note) = recovered.notes.first() {
        return fail(note.clone());
    }
    for (zxid, payload) in &recovered.tail {
        match TxnRecord::decode(payload) {
            Ok(record) if record.header.zxid == *zxid => {}
            Ok(record) => return fail(format!("the record {zxid} is the transaction {}", record.header.zxid)),
            Err(error) => return fail(format!("the record {zxid} is no transaction: {error}")),
        }
    }
    Ok(())
}

/// Each log of a server ends with its last record, and the next one goes on there: nothing is left of a write that a power cut
/// interrupted, nor of a history that a leader's snapshot has replaced.
pub fn without_gap(server: usize, mut image: SimDisk, payload_len_max: u64) -> Verdict {
    let fail = |file: &str, problem: String| Err(Violation::new("I-13", format!("server {server}'s {file} {problem}")));
    let mut logs: Vec<_> = image.list(Dir::Log).unwrap_or_default().into_iter().map(|entry| entry.name).collect();
    logs.retain(|name| inspect::log_zxid(name).is_some());
    logs.sort_by_key(|name| inspect::log_zxid(name));
    let mut last: Option<Zxid> = None;
    for name in &logs {
        let bytes = image.read(Dir::Log, name).unwrap_or_default();
        let log = match inspect::log(name, &bytes, Some(name) == logs.last(), payload_len_max) {
            Ok(log) => log,
            Err(error) => return fail(name, format!("is no log: {error}")),
        };
        if let Some(left) = log.torn.or(log.damage.map(|damage| damage.to_string())) {
            return fail(name, format!("has something behind its last record: {left}"));
        }
        let zxid =
            |record: &inspect::LogRecord| Some(TxnHeader::decode(&mut Reader::new(&record.payload)).ok()?.0.zxid);
        let (Some(first), Some(end)) = (log.records.first().and_then(zxid), log.records.last().and_then(zxid)) else {
            return fail(name, "has no transaction at its ends".to_string());
        };
        if let Some(last) = last.filter(|last| !first.follows(*last)) {
            return fail(name, format!("begins with {first}, the log before it ends with {last}"));
        }
        last = Some(end);
    }
    Ok(())
}
