//! Files as they are, for a person with tools: read as a whole, told as far as they are sound, and never changed.
//!
//! What is sound and what is torn in a file is what [`crate::recover`] goes by, which also knows what other files say of it ([`crate::inventory`]). Where that stops at the first damage, this goes on behind a record
//! whose frame is whole and only its contents are not what was written (`TxnLogToolkit.java` does so too).

use crate::compress;
use crate::error::StorageError;
use crate::log_file::{self, Found, HEADER_LEN, Record, Scanner};
use crate::names;
use crate::snapshot::{self, Snapshot};
use bytes::Bytes;
use ensemble_proto::Zxid;

/// What a transaction log file holds.
#[derive(Debug)]
pub struct Log {
    /// Version in the header; 2.
    pub version: i32,
    /// Database id in the header; 0.
    pub dbid: i64,
    /// The records, in the order of the file.
    pub records: Vec<LogRecord>,
    /// Offset behind the last record.
    pub end: u64,
    /// Why what stands at `end` is no record but the rest of a write that a power cut interrupted; `None` when nothing but zeros follow.
    pub torn: Option<String>,
    /// The first damage: the file is not what was once written.
    pub damage: Option<StorageError>,
}

/// A record of a log.
#[derive(Debug)]
pub struct LogRecord {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its transaction: header, record, and perhaps a digest.
    pub payload: Bytes,
    /// Whether the checksum is that of the payload.
    pub is_sound: bool,
}

/// Reads a log. `newest` is whether no later one follows it: only then may its last group be half written. A record longer than
/// `payload_len_max` bytes is damage.
///
/// # Errors
/// [`StorageError::Corrupt`] when the header is not that of a log.
pub fn log(file: &str, bytes: &[u8], newest: bool, payload_len_max: u64) -> Result<Log, StorageError> {
    let scanner = Scanner::new(file, bytes, newest, payload_len_max)?;
    let mut log = Log {
        version: i32::from_be_bytes(array(bytes, 4)),
        dbid: i64::from_be_bytes(array(bytes, 8)),
        records: Vec::new(),
        end: HEADER_LEN,
        torn: None,
        damage: None,
    };
    let mut sound: Vec<Record> = Vec::new();
    loop {
        let offset = log.end;
        match scanner.next(offset) {
            Ok(None) => break,
            Ok(Some(Found::Record(record))) => {
                log.end = record.end;
                log.records.push(LogRecord { offset, payload: record.payload.clone(), is_sound: true });
                sound.push(record);
            }
            Ok(Some(Found::Torn(why))) => {
                log.torn = Some(why);
                break;
            }
            Err(damage) => {
                log.damage.get_or_insert(damage);
                let Some((payload, end)) = log_file::framed(bytes, offset, payload_len_max) else { break };
                log.end = end;
                log.records.push(LogRecord { offset, payload: Bytes::copy_from_slice(payload), is_sound: false });
            }
        }
    }
    if log.damage.is_none() {
        log.damage = log_file::check_continuity(file, &sound, false).err();
    }
    Ok(log)
}

/// Reads a snapshot, decompressed as the last part of its name says.
///
/// # Errors
/// [`StorageError::Corrupt`] when it is none, or its seals do not hold.
pub fn snapshot(file: &str, bytes: Vec<u8>) -> Result<Snapshot, StorageError> {
    snapshot::parse(file, compress::decompress(file, bytes)?)
}

/// The first zxid of a log of this name; `None` when it is no name of a log.
pub fn log_zxid(name: &str) -> Option<Zxid> {
    names::zxid("log", name)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}
