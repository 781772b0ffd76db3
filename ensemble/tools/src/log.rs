//! `ensemble log`: what is in transaction logs (`TxnLogToolkit.java`).
//!
//! Differs from ZooKeeper: nothing is repaired or cut here. A checksum that is made right makes a record trusted that nobody wrote, and a
//! server gets what it lost from its leader.

use crate::txn::{line, record_json, type_name};
use crate::{RECORD_BYTES_MAX, ToolError, name, read};
use clap::{Args, Subcommand};
use ensemble_proto::date;
use ensemble_proto::txn::TxnRecord;
use ensemble_storage::inspect::{self, Log, LogRecord};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What to do with logs.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Print every transaction, a line each
    Dump(Options),
    /// Count transactions, sessions and bytes, a block a file
    Stat(Options),
}

/// Options of `ensemble log dump` and `ensemble log stat`.
#[derive(Args, Debug)]
pub struct Options {
    /// Logs: log.<zxid>
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON, an object a line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`ToolError`]: damage after everything that is sound was printed.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<(), ToolError> {
    let (options, print) = match command {
        Command::Dump(options) => (options, dump as Print),
        Command::Stat(options) => (options, stat as Print),
    };
    let mut damage = Vec::new();
    for file in &options.files {
        match LogFile::read(file) {
            Ok(log) => {
                damage.extend(log.log.damage.as_ref().map(ToString::to_string));
                print(&log, options.json, out, &mut damage)?;
            }
            Err(ToolError::Damaged(what)) => damage.extend(what),
            Err(error) => return Err(error),
        }
    }
    if damage.is_empty() { Ok(()) } else { Err(ToolError::Damaged(damage)) }
}

/// Prints one file, as JSON or as text, and adds what is wrong with its transactions.
type Print = fn(&LogFile, bool, &mut dyn Write, &mut Vec<String>) -> Result<(), ToolError>;

/// A log and where it was found.
struct LogFile {
    path: String,
    len: usize,
    log: Log,
}

impl LogFile {
    fn read(file: &Path) -> Result<LogFile, ToolError> {
        let bytes = read(file)?;
        let path = file.display().to_string();
        let log = inspect::log(&path, &bytes, is_newest(file), RECORD_BYTES_MAX)?;
        Ok(LogFile { path, len: bytes.len(), log })
    }

    /// The transaction of a record, or what is wrong with it.
    fn decode(&self, record: &LogRecord) -> Result<TxnRecord, String> {
        TxnRecord::decode(&record.payload)
            .map_err(|error| format!("{} at offset {}: {error}", self.path, record.offset))
    }
}

/// Whether no later log is beside it: only the newest one may have a torn end.
fn is_newest(file: &Path) -> bool {
    let Some(own) = inspect::log_zxid(&name(file)) else { return true };
    let beside = file.parent().and_then(|parent| {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        std::fs::read_dir(parent).ok()
    });
    let zxid =
        |entry: std::io::Result<std::fs::DirEntry>| inspect::log_zxid(&entry.ok()?.file_name().to_string_lossy());
    beside.is_none_or(|entries| entries.filter_map(zxid).all(|other| other <= own))
}

fn dump(file: &LogFile, as_json: bool, out: &mut dyn Write, damage: &mut Vec<String>) -> Result<(), ToolError> {
    let LogFile { log, path, .. } = file;
    if !as_json {
        let (dbid, version) = (log.dbid, log.version);
        writeln!(out, "ZooKeeper Transactional Log File with dbid {dbid} txnlog format version {version}")?;
    }
    for record in &log.records {
        match (file.decode(record), as_json) {
            (Ok(txn), false) => {
                let mark = if record.is_sound { "" } else { "CRC ERROR - " };
                writeln!(out, "{mark}{}", line(&txn))?;
            }
            (Ok(txn), true) => {
                let mut object = record_json(&txn);
                object.insert("file".into(), json!(path));
                object.insert("offset".into(), json!(record.offset));
                if !record.is_sound {
                    object.insert("crcError".into(), json!(true));
                }
                writeln!(out, "{}", serde_json::Value::Object(object))?;
            }
            (Err(why), false) if !record.is_sound => writeln!(out, "CRC ERROR - {why}")?,
            (Err(why), true) if !record.is_sound => {
                writeln!(out, "{}", json!({ "file": path, "offset": record.offset, "crcError": true, "error": why }))?;
            }
            (Err(why), _) => damage.push(why),
        }
    }
    if !as_json {
        if let Some(torn) = &log.torn {
            writeln!(out, "Torn: {torn}")?;
        }
        writeln!(out, "EOF reached after {} txns.", log.records.len())?;
    }
    Ok(())
}

/// What a log holds, counted.
#[derive(Default)]
struct Counts {
    types: BTreeMap<&'static str, usize>,
    sessions: BTreeSet<i64>,
    /// First and last.
    zxids: Option<(i64, i64)>,
    times: Option<(i64, i64)>,
}

impl Counts {
    fn count(&mut self, record: &TxnRecord) {
        *self.types.entry(type_name(record.txn.op())).or_default() += 1;
        self.sessions.insert(record.header.session.0);
        let (zxid, time) = (record.header.zxid.0, record.header.time_ms);
        self.zxids = Some((self.zxids.map_or(zxid, |(first, _)| first), zxid));
        self.times = Some((self.times.map_or(time, |(first, _)| first), time));
    }
}

fn stat(file: &LogFile, as_json: bool, out: &mut dyn Write, damage: &mut Vec<String>) -> Result<(), ToolError> {
    let mut counts = Counts::default();
    for record in &file.log.records {
        match file.decode(record) {
            Ok(record) => counts.count(&record),
            Err(_) if !record.is_sound => {}
            Err(why) => damage.push(why),
        }
    }
    let LogFile { path, len, log } = file;
    let end = match (&log.damage, &log.torn) {
        (Some(damage), _) => format!("damaged: {damage}"),
        (None, Some(torn)) => format!("torn: {torn}"),
        (None, None) => "clean".to_owned(),
    };
    if as_json {
        let object = json!({
            "file": path,
            "txns": log.records.len(),
            "firstZxid": counts.zxids.map(|(first, _)| format!("{first:#x}")),
            "lastZxid": counts.zxids.map(|(_, last)| format!("{last:#x}")),
            "firstTime": counts.times.map(|(first, _)| date::rfc3339(first)),
            "lastTime": counts.times.map(|(_, last)| date::rfc3339(last)),
            "usedBytes": log.end,
            "fileBytes": len,
            "sessions": counts.sessions.len(),
            "types": counts.types,
            "end": end,
        });
        writeln!(out, "{object}")?;
        return Ok(());
    }
    writeln!(out, "{path}")?;
    writeln!(out, "  txns = {}", log.records.len())?;
    if let (Some((first, last)), Some((from, to))) = (counts.zxids, counts.times) {
        writeln!(out, "  zxid = {first:#x} to {last:#x}")?;
        writeln!(out, "  time = {} to {}", date::long(from), date::long(to))?;
    }
    writeln!(out, "  bytes = {} used of {len}", log.end)?;
    writeln!(out, "  sessions = {}", counts.sessions.len())?;
    for (kind, count) in &counts.types {
        writeln!(out, "  {kind} = {count}")?;
    }
    writeln!(out, "  end = {end}")?;
    Ok(())
}
