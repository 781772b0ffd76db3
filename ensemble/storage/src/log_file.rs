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
//! * the file ends within a record, or only zeros follow a record without its end mark: torn, unless the record is whole but for a bit of its length or its mark, which
//!   no power cut does;
//! * a sector that the bad record covers is zero up to its end: torn;
//! * in a log that this store began, a torn record of which the zxid is there, and not the next one, was meant for another place: damage;
//! * anything else (a wrong checksum, an impossible length, data after the end) was durable once: [`StorageError::Corrupt`].
//!
//! A record may hold zeros of its own, so damage to it could pass for a lost sector. Therefore a *sync mark* stands behind
//! the last record once its group is synced: eight bytes that name the offset up to which the file is durable, behind
//! twelve zeros that every reader takes for the end. The next group overwrites it. It is not synced itself: where it
//! stands it is true, and where it is missing the rules above hold alone. A bad record before a sync mark is damage, however it looks.
//!
//! # Continuity
//!
//! The file's name is the zxid of its first record, and each record follows the one before it. A valid record in a wrong
//! place (a write that was misdirected, or lost while an older record stood there) breaks this. What an epoch ended with, no zxid tells:
//! which record comes before a log's first one stands in [`crate::inventory`]. In a log of ZooKeeper's a record that goes back
//! is accepted when it repeats, byte for byte, and the file's last record is its highest: ZooKeeper logs what it receives twice.
//! The format has no room for a chain of checksums; what is exchanged against a record with the same zxid is not noticed here, but by the digest.
//!
//! Differs from ZooKeeper: a record that lost a sector is dropped, where ZooKeeper refuses to start with
//! "CRC check failed"; data behind an end mark that is not a lost sector is refused, where ZooKeeper silently ignores it.

use crate::error::StorageError;
use crate::names;
use bytes::Bytes;
use ensemble_proto::Zxid;

/// Length of the header.
pub(crate) const HEADER_LEN: u64 = 16;
/// Bytes that a record takes besides its payload.
pub(crate) const FRAMING_LEN: u64 = 13;
/// A disk writes this many bytes entirely or not at all.
pub(crate) const SECTOR_LEN: u64 = 512;
/// No group of more than one record is longer, and so is no torn tail.
pub(crate) const GROUP_LEN_MAX: u64 = 8 << 20;

const MAGIC_AND_VERSION: [u8; 8] = *b"ZKLG\0\0\0\x02";
const END_OF_RECORD: u8 = b'B';
/// TxnHeader.
const PAYLOAD_LEN_MIN: u64 = 32;
/// Where the zxid is in it.
const ZXID_AT: u64 = 12;

/// A record's checksum, as it stands in its frame.
fn adler32(payload: &[u8]) -> u64 {
    simd_adler32::adler32(&payload).into()
}

/// The 16 bytes that start a file.
pub(crate) fn header() -> [u8; HEADER_LEN as usize] {
    let mut header = [0; HEADER_LEN as usize];
    header[..8].copy_from_slice(&MAGIC_AND_VERSION);
    header
}

/// Appends a framed record to `out`.
pub(crate) fn encode(payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&adler32(payload).to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(END_OF_RECORD);
}

/// The length with its frame of the record that `bytes` begin with; `None` when they begin with none.
pub(crate) fn framed_len(bytes: &[u8], payload_len_max: u64) -> Option<u64> {
    let len = u64::from(u32::from_be_bytes(*bytes.get(8..)?.first_chunk()?));
    (1..=payload_len_max).contains(&len).then_some(FRAMING_LEN + len)
}

/// The payload of the record that `bytes` begin with, of a length as [`framed_len`] tells; `None` when it is not sound.
pub(crate) fn decode(bytes: &[u8], framed_len: u64) -> Option<&[u8]> {
    let (frame, payload) = bytes.get(..framed_len as usize)?.split_at_checked(12)?;
    let (end, payload) = payload.split_last()?;
    let checksum = u64::from_be_bytes(*frame.first_chunk()?);
    (*end == END_OF_RECORD && adler32(payload) == checksum).then_some(payload)
}

/// The payload at `start` of a file and the offset behind its record, if it has a length and an end mark, whatever its checksum is.
pub(crate) fn framed(bytes: &[u8], start: u64, payload_len_max: u64) -> Option<(&[u8], u64)> {
    let rest = bytes.get(start as usize..)?;
    let framed_len = framed_len(rest, payload_len_max).filter(|len| *len >= FRAMING_LEN + PAYLOAD_LEN_MIN)?;
    let (end, record) = rest.get(..framed_len as usize)?.split_last()?;
    (*end == END_OF_RECORD).then_some((&record[12..], start + framed_len))
}

/// The zxid in a payload's TxnHeader, or `None` when the payload is too short to have one.
pub(crate) fn payload_zxid(payload: &[u8]) -> Option<Zxid> {
    if (payload.len() as u64) < PAYLOAD_LEN_MIN {
        return None;
    }
    Some(Zxid(i64::from_be_bytes(*payload.get(ZXID_AT as usize..)?.first_chunk()?)))
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
/// rules hold (it leaves a torn tail in place and starts a new file); the caller checks that no zxid is missing. `ours` is whether this store began
/// the file, so that nothing in it repeats.
///
/// # Errors
/// [`StorageError::Corrupt`] for damage.
pub(crate) fn scan(
    file: &str,
    bytes: &[u8],
    newest: bool,
    ours: bool,
    payload_len_max: u64,
) -> Result<Scan, StorageError> {
    let scanner = Scanner::new(file, bytes, newest, payload_len_max)?;
    let mut scan = Scan { records: Vec::new(), end: HEADER_LEN, torn: None };
    while let Some(record) = scanner.next(scan.end)? {
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
    check_continuity(file, &scan.records, ours)?;
    match torn_zxid(bytes, scan.end).filter(|_| ours && newest && scan.torn.is_some()) {
        Some(zxid) if !may_be_next(file, scan.records.last(), zxid) => {
            let expected = "the record that comes next, or nothing".to_owned();
            Err(StorageError::corrupt(file, scan.end, expected, format!("a part of the record {zxid}")))
        }
        _ => Ok(scan),
    }
}

/// The zxid of a torn record, where it was written.
fn torn_zxid(bytes: &[u8], start: u64) -> Option<Zxid> {
    let at = start + 12 + ZXID_AT;
    let is_within_a_sector = at % SECTOR_LEN + 8 <= SECTOR_LEN;
    let is_old = bytes.get(sync_mark_offset(start) as usize..)?.starts_with(&sync_mark(start));
    let zxid = i64::from_be_bytes(*bytes.get(at as usize..)?.first_chunk()?);
    (is_within_a_sector && !is_old && zxid != 0).then_some(Zxid(zxid))
}

/// Whether a record with this zxid may come after these, or first in the file.
fn may_be_next(file: &str, last: Option<&Record>, zxid: Zxid) -> bool {
    match last {
        Some(last) => zxid.follows(last.zxid),
        None => named_after(file).is_none_or(|name| name == zxid),
    }
}

/// The zxid that is in a file's name.
fn named_after(file: &str) -> Option<Zxid> {
    file.rsplit('/').next().and_then(|name| names::zxid("log", name))
}

/// Whether each record follows the one before it.
pub(crate) fn check_continuity(file: &str, records: &[Record], ours: bool) -> Result<(), StorageError> {
    let Some(first) = records.first() else { return Ok(()) };
    let broken = |record: &Record, expected: String| {
        Err(StorageError::corrupt(file, record.end, expected, format!("the record {}", record.zxid)))
    };
    if let Some(name) = named_after(file).filter(|name| *name != first.zxid) {
        return broken(first, format!("the record {name}, which the file is named after"));
    }
    let mut highest = first.zxid;
    for (at, record) in records.iter().enumerate().skip(1) {
        let last = records[at - 1].zxid;
        let is_repeated = || {
            let earlier = records[..at].iter().find(|earlier| earlier.zxid == record.zxid);
            earlier.is_some_and(|earlier| earlier.payload == record.payload)
        };
        let is_next = record.zxid.follows(last) || !ours && record.zxid <= last && is_repeated();
        if !is_next {
            return broken(record, format!("the record after {last}"));
        }
        highest = highest.max(record.zxid);
    }
    match records.last() {
        Some(last) if last.zxid < highest => broken(last, format!("the records up to {highest} again")),
        _ => Ok(()),
    }
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

/// What there is at an offset.
pub(crate) enum Found {
    /// A sound record.
    Record(Record),
    /// A record that a power cut left half written, and why it is taken for that.
    Torn(String),
}

/// Finds one record after the other.
pub(crate) struct Scanner<'a> {
    file: &'a str,
    bytes: &'a [u8],
    newest: bool,
    payload_len_max: u64,
    /// Everything before this offset was durable.
    synced_to: Option<u64>,
}

impl<'a> Scanner<'a> {
    /// For the file's bytes; see [`scan`].
    ///
    /// # Errors
    /// When the header is none.
    pub(crate) fn new(
        file: &'a str,
        bytes: &'a [u8],
        newest: bool,
        payload_len_max: u64,
    ) -> Result<Scanner<'a>, StorageError> {
        check_header(file, bytes)?;
        Ok(Scanner { file, bytes, newest, payload_len_max, synced_to: synced_to(bytes) })
    }

    /// The record at `start`, or `None` at the normal end of the file.
    pub(crate) fn next(&self, start: u64) -> Result<Option<Found>, StorageError> {
        let rest = &self.bytes[start as usize..];
        if self.is_blank(start, start, self.bytes.len() as u64) {
            return Ok(None);
        }
        if rest.len() < 12 {
            return self.torn_or(start, true, "the file ends within a record's frame", || self.data_behind(start));
        }
        let checksum = u64::from_be_bytes(array(&rest[..8]));
        let len = i32::from_be_bytes(array(&rest[8..12]));
        let is_whole_as = |len: i32| len > 0 && self.is_whole(start, len as u32 as u64, checksum);
        // No power cut turns one bit of a length and leaves the rest of the record.
        let has_turned = || (0..31).any(|bit| is_whole_as(len ^ (1 << bit)));
        if len == 0 {
            let is_torn = (!self.newest || self.lost_sector(start, start + 12)) && !has_turned();
            return self.torn_or(start, is_torn, "no length", || self.data_behind(start));
        }
        let end = start + FRAMING_LEN + len as u32 as u64;
        if len < 0 || len as u64 > self.payload_len_max {
            return Err(match is_whole_as(len) {
                true => {
                    StorageError::TooLong { file: self.file.to_owned(), len: len as u64, max: self.payload_len_max }
                }
                false => {
                    let expected = format!("a length of at most {}", self.payload_len_max);
                    self.corrupt(start + 8, expected, format!("length {len}"))
                }
            });
        }
        if end > self.bytes.len() as u64 {
            let cut = || self.corrupt(start, "a whole record", "the end of the file");
            return self.torn_or(start, !has_turned(), "the file ends within a record", cut);
        }
        let payload = &self.bytes[start as usize + 12..end as usize - 1];
        let mark = self.bytes[end as usize - 1];
        if mark != END_OF_RECORD {
            let nothing_follows = || is_zero(&self.bytes[end as usize..]);
            let is_rotten = || mark != 0 && adler32(payload) == checksum || has_turned();
            let is_torn = (!self.newest || nothing_follows() || self.lost_sector(start, end)) && !is_rotten();
            let bad = || self.corrupt(end - 1, "the end mark 0x42", format!("{mark:#04x}"));
            return self.torn_or(start, is_torn, "the record has no end mark", bad);
        }
        let found = adler32(payload);
        if found != checksum {
            let bad = || {
                let expected = format!("a payload with checksum {checksum:#x}");
                self.corrupt(start, expected, format!("checksum {found:#x}: CRC check failed"))
            };
            let is_torn = self.lost_sector(start, end);
            return self.torn_or(start, is_torn, "a sector of the record was never written", bad);
        }
        let zxid = payload_zxid(payload).ok_or_else(|| {
            self.corrupt(start + 8, format!("a length of at least {PAYLOAD_LEN_MIN}"), format!("length {len}"))
        })?;
        Ok(Some(Found::Record(Record { zxid, payload: Bytes::copy_from_slice(payload), end })))
    }

    /// Whether a record with a payload of this length is here, with its end mark and its checksum.
    fn is_whole(&self, start: u64, len: u64, checksum: u64) -> bool {
        let end = start + FRAMING_LEN + len;
        end <= self.bytes.len() as u64
            && self.bytes[end as usize - 1] == END_OF_RECORD
            && adler32(&self.bytes[start as usize + 12..end as usize - 1]) == checksum
    }

    /// What a bad record at `start` is: torn, if it looks so and nothing says that it was durable.
    fn torn_or(
        &self,
        start: u64,
        looks_torn: bool,
        why: &str,
        damage: impl FnOnce() -> StorageError,
    ) -> Result<Option<Found>, StorageError> {
        match self.synced_to.is_none_or(|synced_to| synced_to <= start) && looks_torn {
            true => Ok(Some(Found::Torn(format!("{} at offset {start}: {why}", self.file)))),
            false => Err(damage()),
        }
    }

    fn corrupt(&self, offset: u64, expected: impl Into<String>, found: impl Into<String>) -> StorageError {
        StorageError::corrupt(self.file, offset, expected, found)
    }

    fn data_behind(&self, start: u64) -> StorageError {
        self.corrupt(start, "zeros to the end of the file", "data behind the last record")
    }

    /// Whether a power cut can explain the record at `start..end`: some sector it covers is zero from where the record (or
    /// the sector) starts to the sector's end, and what follows fits in one group.
    fn lost_sector(&self, start: u64, end: u64) -> bool {
        // A record that is longer than a group is a group of its own.
        let group_len_max = GROUP_LEN_MAX.max(self.payload_len_max + FRAMING_LEN);
        if !self.newest || !is_zero(self.bytes.get((start + group_len_max) as usize..).unwrap_or_default()) {
            return false;
        }
        // The first four bytes of a record are always zero: they prove nothing.
        let mut from = start + 4;
        while from < end {
            let sector_end = (from / SECTOR_LEN + 1) * SECTOR_LEN;
            if self.is_blank(start, from, sector_end) {
                return true;
            }
            from = sector_end;
        }
        false
    }

    /// Whether `from..to` holds nothing but zeros and the sync mark that stood there while the record before `start` was the last.
    fn is_blank(&self, start: u64, from: u64, to: u64) -> bool {
        let to = to.min(self.bytes.len() as u64);
        let at = sync_mark_offset(start);
        if from > at || at + SYNC_MARK_LEN > to || !self.bytes[at as usize..].starts_with(&sync_mark(start)) {
            return is_zero(&self.bytes[from as usize..to as usize]);
        }
        is_zero(&self.bytes[from as usize..at as usize])
            && is_zero(&self.bytes[(at + SYNC_MARK_LEN) as usize..to as usize])
    }
}

/// Length of a sync mark.
pub(crate) const SYNC_MARK_LEN: u64 = 8;
const SYNC_MARK_END: &[u8; 4] = b"SYNC";
/// A checksum and a length, both zero: no reader looks behind them.
const NO_RECORD_LEN: u64 = 12;

/// Where the sync mark of a file that is durable up to `end` stands: within one sector, so that it is there whole or not at all.
/// The shortest record is longer than this is away: the next group overwrites the mark entirely.
pub(crate) fn sync_mark_offset(end: u64) -> u64 {
    let at = end + NO_RECORD_LEN;
    if at % SECTOR_LEN + SYNC_MARK_LEN > SECTOR_LEN { at.next_multiple_of(SECTOR_LEN) } else { at }
}

/// The sync mark of a file that is durable up to `end`. Its last byte is not zero.
pub(crate) fn sync_mark(end: u64) -> [u8; SYNC_MARK_LEN as usize] {
    let mut mark = [0; SYNC_MARK_LEN as usize];
    mark[..4].copy_from_slice(&(end as u32).to_be_bytes());
    mark[4..].copy_from_slice(SYNC_MARK_END);
    mark
}

/// Up to where the file's last bytes say that it is durable.
fn synced_to(bytes: &[u8]) -> Option<u64> {
    let last = bytes.rchunks(SECTOR_LEN as usize).position(|sector| !is_zero(sector))?;
    let within = &bytes[..bytes.len() - last * SECTOR_LEN as usize];
    let end_of_mark = within.iter().rposition(|byte| *byte != 0)? as u64 + 1;
    let at = end_of_mark.checked_sub(SYNC_MARK_LEN)?;
    let furthest = at.checked_sub(NO_RECORD_LEN)?;
    let ends = furthest.saturating_sub(SYNC_MARK_LEN).max(HEADER_LEN)..=furthest;
    ends.into_iter().find(|end| sync_mark_offset(*end) == at && bytes[at as usize..].starts_with(&sync_mark(*end)))
}

/// Whether there is nothing but zeros.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // The compiler compares a chunk at a time, where it would look for the first difference one byte at a time.
    let mut chunks = bytes.chunks_exact(64);
    chunks.all(|chunk| chunk == [0; 64]) && chunks.remainder().iter().all(|byte| *byte == 0)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in files for years must not depend on the machine that reads them: RFC 1950, section 8.2, one byte at a time.
    #[test]
    fn a_checksum_is_adler_32_at_every_length() {
        let plain = |bytes: &[u8]| {
            let (a, b) = bytes.iter().fold((1u64, 0), |(a, b), byte| {
                let a = (a + u64::from(*byte)) % 65_521;
                (a, (b + a) % 65_521)
            });
            b << 16 | a
        };
        let mut random = fastrand::Rng::with_seed(1);
        for len in (0..2000).chain([5552, 5553, 65_536, 1_000_003]) {
            let bytes: Vec<u8> = (0..len).map(|_| random.u8(..) | 0x80).collect();
            assert_eq!(adler32(&bytes), plain(&bytes), "{len} bytes");
            assert_eq!(adler32(&vec![0xff; len]), plain(&vec![0xff; len]), "{len} times 255");
        }
    }
}
