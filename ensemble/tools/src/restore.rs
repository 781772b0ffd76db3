//! `ensemble restore`: a backup becomes the store of a server; see `ensemble_storage`'s `restore`.
//!
//! What is checked before the copy counts: seals and checksums, that no transaction is missing after the newest sound snapshot, that the tree loads,
//! that every transaction decodes, and that the tree has each digest that the files tell.

use crate::directories::Directories;
use crate::{RECORD_BYTES_MAX, ToolError, name};
use clap::Args;
use ensemble_datatree::DataTree;
use ensemble_proto::Zxid;
use ensemble_proto::txn::TxnRecord;
use ensemble_storage::{Recovered, inspect, restore, snapshot_zxid};
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

/// Options of `ensemble restore`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    directories: Directories,
    /// The whole ensemble begins anew with this backup: every other server is restored from the same files, or stays away until a
    /// majority has been. A member of an ensemble that lives needs no backup: it begins empty and gets its leader's history
    #[arg(long)]
    whole_ensemble: bool,
    /// A backup's snapshot and the logs that continue it, or a directory that holds them (version-2)
    #[arg(required = true, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`ToolError`]; nothing was restored then.
pub fn run(options: &Options, out: &mut dyn Write) -> Result<(), ToolError> {
    if !options.whole_ensemble {
        let why = "restore needs --whole-ensemble: a server that votes with a backup, among others that know more, could make them lose what they \
                   acknowledged. A member of an ensemble that lives begins with an empty directory and gets everything from its leader";
        return Err(ToolError::Usage(why.to_owned()));
    }
    let files = files(&options.from)?;
    let names: Vec<String> = ordered(&files);
    let read = |name: &str| match files.get(name) {
        Some(path) => std::fs::read(path),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    let mut disk = options.directories.open(true)?;
    let digests = RefCell::new(0);
    let check = |recovered: &Recovered| check(recovered).map(|compared| *digests.borrow_mut() = compared);
    let recovered = restore(&mut disk, &names, read, RECORD_BYTES_MAX, check)?;
    report(&recovered, *digests.borrow(), options.json, out)
}

fn report(recovered: &Recovered, digests: usize, as_json: bool, out: &mut dyn Write) -> Result<(), ToolError> {
    let snapshot = recovered.snapshot.as_ref().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
    let (last, txns) = (recovered.last_zxid(), recovered.tail.len());
    if as_json {
        let object = json!({
            "snapshot": format!("{snapshot}"),
            "txns": txns,
            "lastZxid": format!("{last}"),
            "digestsCompared": digests,
            "notes": recovered.notes,
        });
        writeln!(out, "{object}")?;
        return Ok(());
    }
    for note in &recovered.notes {
        writeln!(out, "{note}")?;
    }
    writeln!(
        out,
        "Restored the snapshot of {snapshot} and {txns} txns after it, up to {last}; {digests} digests agree."
    )?;
    writeln!(out, "Restore every server that votes from the same files before starting any of them.")?;
    Ok(())
}

/// The files of the backup by name; of a directory, its logs and snapshots.
fn files(from: &[PathBuf]) -> Result<BTreeMap<String, PathBuf>, ToolError> {
    let mut files = BTreeMap::new();
    let mut add = |path: PathBuf| match files.insert(name(&path), path.clone()) {
        Some(other) => Err(ToolError::Usage(format!("{} and {} have one name", other.display(), path.display()))),
        None => Ok(()),
    };
    for path in from {
        if !path.is_dir() {
            add(path.clone())?;
            continue;
        }
        let unusable = |error: io::Error| ToolError::Unusable(format!("list {}: {error}", path.display()));
        for entry in std::fs::read_dir(path).map_err(unusable)? {
            let entry = entry.map_err(unusable)?.path();
            let name = name(&entry);
            if snapshot_zxid(&name).or(inspect::log_zxid(&name)).is_some() {
                add(entry)?;
            }
        }
    }
    match files.is_empty() {
        true => Err(ToolError::Usage("no snapshot and no log among the files".to_owned())),
        false => Ok(files),
    }
}

/// Snapshots before logs, older ones first: a copy that a crash interrupts holds no log that nothing leads to.
fn ordered(files: &BTreeMap<String, PathBuf>) -> Vec<String> {
    let mut names: Vec<String> = files.keys().cloned().collect();
    names.sort_by_key(|name| (inspect::log_zxid(name).is_some(), snapshot_zxid(name).or(inspect::log_zxid(name))));
    names
}

/// Loads the tree and applies every transaction to it; how many digests agreed.
fn check(recovered: &Recovered) -> Result<usize, String> {
    let Some((zxid, body)) = &recovered.snapshot else { return Err("there is no snapshot".to_owned()) };
    let mut tree = DataTree::load(0, *zxid, body).map_err(|error| format!("the snapshot of {zxid}: {error}"))?;
    let differs = |at: Zxid| format!("the tree at {at} has another digest than the files say");
    if let Some((at, digest)) = recovered.snapshot_digest
        && tree.expect_digest(at, digest).is_some()
    {
        return Err(differs(at));
    }
    let mut compared = 0;
    for (zxid, payload) in &recovered.tail {
        let record = TxnRecord::decode(payload).map_err(|error| format!("the transaction {zxid}: {error}"))?;
        if tree.apply(&record).digest_mismatch.is_some() {
            return Err(differs(*zxid));
        }
        compared += usize::from(record.digest.is_some() && tree.proven_digest().is_some());
    }
    Ok(compared)
}
