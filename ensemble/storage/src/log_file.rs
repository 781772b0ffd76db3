//! One transaction log file, byte by byte (`FileTxnLog.java`).
//!
//! ```text
//! 0   "ZKLG"  version 2  dbid 0                    header, 16 bytes
//! 16  checksum(8)  len(4)  payload(len)  'B'       record: Adler-32 of the payload, zero-extended
//!     checksum(8)  len(4)  payload(len)  'B'
//!     0 0 0 0 ...                                  preallocated zeros: the normal end
//! ```
//!
//! A payload starts with its TxnHeader: session(8) cxid(4) **zxid(8)** time(8) type(4).
//!
//! # What a bad record means
//!
//! Records are written in groups; a group is synced before the next one is written, over zeros that are already
//! on the disk. So a power cut can only lose *whole sectors of the last group*, and a lost sector reads as zeros up to its
//! end. That tells a torn tail from damage:
//!
//! * the file ends within a record, or only zeros follow a record without its end mark: torn;
//! * a sector that the bad record covers is zero up to its end: torn;
//! * anything else (a wrong checksum, an impossible length, data after the end) was durable once: [`StorageError::Corrupt`].
//!
//! Differs from ZooKeeper: a record that lost a sector is dropped, where ZooKeeper refuses to start with
//! "CRC check failed"; data behind an end mark that is not a lost sector is refused, where ZooKeeper silently ignores it.

use crate::error::StorageError;
use bytes::Bytes;
use ensemble_proto::Zxid;

/// Length of the header.
pub(crate) const HEADER_LEN: u64 = 16;
/// Bytes that a record takes besides its payload.
pub(crate) const FRAMING_LEN: u64 = 13;
/// A disk writes this many bytes entirely or not at all.
pub(crate) const SECTOR_LEN: u64 = 512;
/// No group of records is longer; so is no torn tail.
pub(crate) const GROUP_LEN_MAX: u64 = 8 << 20;

const MAGIC_AND_VERSION: [u8; 8] = *b"ZKLG\0\0\0\x02";
const END_OF_RECORD: u8 = b'B';
/// TxnHeader.
const PAYLOAD_LEN_MIN: u64 = 32;

/// The 16 bytes that start a file.
pub(crate) fn header() -> [u8; HEADER_LEN as usize] {
    let mut header = [0; HEADER_LEN as usize];
    header[..8].copy_from_slice(&MAGIC_AND_VERSION);
    header
}

/// Appends a framed record to `out`.
pub(crate) fn encode(payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u64::from(adler2::adler32_slice(payload)).to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(END_OF_RECORD);
}

/// The zxid in a payload's TxnHeader, or `None` when the payload is too short to have one.
pub(crate) fn payload_zxid(payload: &[u8]) -> Option<Zxid> {
    if (payload.len() as u64) < PAYLOAD_LEN_MIN {
        return None;
    }
    Some(Zxid(i64::from_be_bytes(payload[12..20].try_into().ok()?)))
}

/// A record found in a file.
pub(crate) struct Record {
    pub(crate) zxid: Zxid,
    pub(crate) payload: Bytes,
    /// Offset just behind the record.
    pub(crate) end: u64,
}

/// What a file holds.
pub(crate) struct Scan {
    pub(crate) records: Vec<Record>,
    /// Offset behind the last sound record.
    pub(crate) end: u64,
    /// Why the record at `end` was dropped; `None` when the file ends in nothing but zeros.
    pub(crate) torn: Option<String>,
}

/// Reads every record of a log file.
///
/// `newest` is whether no other log follows it: only then may a group be half written. In an older file ZooKeeper's own
/// rules hold (it leaves a torn tail in place and starts a new file); the caller checks that no zxid is missing.
///
/// # Errors
/// [`StorageError::Corrupt`] for damage.
pub(crate) fn scan(file: &str, bytes: &[u8], newest: bool, payload_len_max: u64) -> Result<Scan, StorageError> {
    check_header(file, bytes)?;
    let mut scan = Scan { records: Vec::new(), end: HEADER_LEN, torn: None };
    while let Some(record) = next(file, bytes, scan.end, newest, payload_len_max)? {
        match record {
            Found::Record(record) => {
                scan.end = record.end;
                scan.records.push(record);
            }
            Found::Torn(why) => {
                scan.torn = Some(why);
                break;
            }
        }
    }
    Ok(scan)
}

fn check_header(file: &str, bytes: &[u8]) -> Result<(), StorageError> {
    if bytes.len() < HEADER_LEN as usize {
        return Err(StorageError::corrupt(
            file,
            bytes.len() as u64,
            "a header of 16 bytes",
            format!("the end of the file after {} bytes", bytes.len()),
        ));
    }
    if bytes[..4] != MAGIC_AND_VERSION[..4] {
        return Err(StorageError::corrupt(file, 0, "the magic \"ZKLG\"", format!("{:02x?}", &bytes[..4])));
    }
    Ok(())
}

enum Found {
    Record(Record),
    Torn(String),
}

/// The record at `start`, or `None` at the normal end of the file.
fn next(
    file: &str,
    bytes: &[u8],
    start: u64,
    newest: bool,
    payload_len_max: u64,
) -> Result<Option<Found>, StorageError> {
    let rest = &bytes[start as usize..];
    if is_zero(rest) {
        return Ok(None);
    }
    let torn = |why: &str| Ok(Some(Found::Torn(format!("{file} at offset {start}: {why}"))));
    if rest.len() < 12 {
        return torn("the file ends within a record's frame");
    }
    let checksum = u64::from_be_bytes(array(&rest[..8]));
    let len = i32::from_be_bytes(array(&rest[8..12]));
    if len == 0 {
        return match !newest || lost_sector(bytes, start, start + 12, newest) {
            true => torn("no length"),
            false => {
                Err(StorageError::corrupt(file, start, "zeros to the end of the file", "data behind the last record"))
            }
        };
    }
    if len < 0 || len as u64 > payload_len_max {
        return Err(StorageError::corrupt(
            file,
            start + 8,
            format!("a length of at most {payload_len_max}"),
            format!("length {len}"),
        ));
    }
    let end = start + FRAMING_LEN + len as u64;
    if end > bytes.len() as u64 {
        return torn("the file ends within a record");
    }
    let payload = &bytes[start as usize + 12..end as usize - 1];
    let found = u64::from(adler2::adler32_slice(payload));
    let mark = bytes[end as usize - 1];
    if mark != END_OF_RECORD {
        let nothing_follows = is_zero(&bytes[end as usize..]);
        return match !newest || nothing_follows || lost_sector(bytes, start, end, newest) {
            true => torn("the record has no end mark"),
            false => Err(StorageError::corrupt(file, end - 1, "the end mark 0x42", format!("{mark:#04x}"))),
        };
    }
    if found != checksum {
        return match lost_sector(bytes, start, end, newest) {
            true => torn("a sector of the record was never written"),
            false => Err(StorageError::corrupt(
                file,
                start,
                format!("a payload with checksum {checksum:#x}"),
                format!("checksum {found:#x}: CRC check failed"),
            )),
        };
    }
    let zxid = payload_zxid(payload).ok_or_else(|| {
        StorageError::corrupt(
            file,
            start + 8,
            format!("a length of at least {PAYLOAD_LEN_MIN}"),
            format!("length {len}"),
        )
    })?;
    Ok(Some(Found::Record(Record { zxid, payload: Bytes::copy_from_slice(payload), end })))
}

/// Whether a power cut can explain the record at `start..end`: some sector it covers is zero from where the record (or
/// the sector) starts to the sector's end, and what follows fits in one group.
fn lost_sector(bytes: &[u8], start: u64, end: u64, newest: bool) -> bool {
    if !newest || !is_zero(bytes.get((start + GROUP_LEN_MAX) as usize..).unwrap_or_default()) {
        return false;
    }
    // The first four bytes of a record are always zero: they prove nothing.
    let mut from = start + 4;
    while from < end {
        let sector_end = (from / SECTOR_LEN + 1) * SECTOR_LEN;
        if is_zero(&bytes[from as usize..bytes.len().min(sector_end as usize)]) {
            return true;
        }
        from = sector_end;
    }
    false
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}
