//! I-13: when all is over, every server's files pass the strict reader: no repair, nothing skipped, and each record is a transaction
//! with the zxid that it stands under.

use crate::trace::{Verdict, Violation};
use ensemble_proto::txn::TxnRecord;
use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Options, Storage};

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
