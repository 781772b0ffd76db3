//! `ensemble purge`: removes the snapshots and logs that no kept snapshot needs (`PurgeTxnLog.java`).
//!
//! Which those are is [`ensemble_storage::superseded`]'s decision, the same as with `autopurge`: only a snapshot whose seals hold counts as
//! kept, and every log that continues the oldest of them stays.
//!
//! Differs from ZooKeeper: it refuses directories that a server holds, since that one purges them itself.

use crate::ToolError;
use crate::directories::Directories;
use clap::Args;
use ensemble_storage::{SNAPSHOTS_RETAINED_MIN, purge, superseded};
use serde_json::json;
use std::io::Write;

/// Options of `ensemble purge`.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    directories: Directories,
    /// Snapshots to keep, 3 at least
    #[arg(short = 'n', value_name = "COUNT")]
    count: usize,
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print JSON, an object a file
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`ToolError`].
pub fn run(options: &Options, out: &mut dyn Write) -> Result<(), ToolError> {
    if options.count < SNAPSHOTS_RETAINED_MIN {
        return Err(ToolError::Usage(format!("-n: {} is not {SNAPSHOTS_RETAINED_MIN} or more", options.count)));
    }
    let mut disk = options.directories.open(false)?;
    let (verb, names) = match options.dry_run {
        true => {
            let superseded = superseded(&mut disk, options.count)?;
            ("Would remove", superseded.into_iter().map(|(_, name)| name).collect())
        }
        false => ("Removing", purge(&mut disk, options.count)?),
    };
    for name in names {
        match options.json {
            true => writeln!(out, "{}", json!({ "file": name, "removed": !options.dry_run }))?,
            false => writeln!(out, "{verb} file: {name}")?,
        }
    }
    Ok(())
}
