//! Snapshot files (`FileSnap.java`, `SnapStream.java`).
//!
//! ```text
//! "ZKSN" version 2 dbid -1            16 bytes
//! sessions, ACL table, znodes, "/"    the body: the same bytes as in a SNAP on the wire, opaque here
//! seal                                Adler-32 of everything before it (8) and the string "/" (5)
//! zxid(8) version(4) digest(8) seal   optional: the tree's digest when the walk ended
//! zxid(8) seal                        optional (3.9): lastProcessedZxid
//! ```
//!
//! The sections have no tags. ZooKeeper lets its flags decide which come next; here the length after the body decides,
//! and every seal must agree, so a file with none, one or both is read whatever the flags were.
//!
//! Differs from ZooKeeper: a snapshot is always written to a temporary file, synced and renamed; a crash leaves no half
//! snapshot under its final name.

use crate::compress::{self, Compression, Encoder};
use crate::disk::{Dir, Disk, path};
use crate::error::StorageError;
use crate::names;
use bytes::Bytes;
use ensemble_proto::Zxid;
use ensemble_proto::jute::{Reader, Writer};
use simd_adler32::Adler32;

const HEADER_LEN: usize = 16;
const MAGIC: &[u8; 4] = b"ZKSN";
const VERSION: i32 = 2;
const DBID: i64 = -1;
/// The string "/": ends the znodes and every seal.
const TERMINATOR: &[u8; 5] = b"\0\0\0\x01/";
const SEAL_LEN: usize = 8 + TERMINATOR.len();
const LAST_PROCESSED_LEN: usize = 8 + SEAL_LEN;
const DIGEST_VERSION: i32 = 2;
/// A snapshot is synced each time that it has grown by so much.
const SYNC_EVERY: u64 = 1 << 20;
/// Digests of version 1 are hexadecimal strings of at most 16 digits.
const DIGEST_STRING_LEN_MAX: usize = 16;
/// The body's last bytes and all that may be behind them are not longer.
const TAIL_LEN_MAX: usize = 4096;
/// So much of a file is read at once where it is only checked.
const PIECE_LEN: u64 = 1 << 20;

/// A snapshot whose seals hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Sessions, ACL table and znodes up to and including the terminating "/".
    pub body: Bytes,
    /// The tree's digest at a zxid not before the snapshot's; `None` when absent or meaningless.
    pub digest: Option<(Zxid, u64)>,
    /// The last transaction applied when the walk ended.
    pub last_processed: Option<Zxid>,
}

impl Snapshot {
    /// The last transaction of which a snapshot named after `zxid` holds effects.
    pub(crate) fn complete(&self, zxid: Zxid) -> Zxid {
        let digest = self.digest.map(|(complete, _)| complete);
        zxid.max(digest.unwrap_or(zxid)).max(self.last_processed.unwrap_or(zxid))
    }
}

/// Reads the snapshot in the file `name`, decompressing it as its extension says.
///
/// # Errors
/// [`StorageError::Io`] when it cannot be read, [`StorageError::Corrupt`] when a seal does not hold.
pub(crate) fn read(disk: &mut impl Disk, name: &str) -> Result<Snapshot, StorageError> {
    let bytes = disk.read(Dir::Data, name).map_err(StorageError::io("read", Dir::Data, name))?;
    let file = path(Dir::Data, name);
    parse(&file, compress::decompress(&file, bytes)?)
}

/// Checks the seals of the snapshot in the file `name`, of which a piece at a time is in memory; a compressed one is read whole.
///
/// # Errors
/// As [`read`].
pub(crate) fn check(disk: &mut impl Disk, name: &str) -> Result<(), StorageError> {
    let file = path(Dir::Data, name);
    if compress::is_compressed(&file) {
        return read(disk, name).map(|_| ());
    }
    let (mut len, mut adler, mut tail) = (0, Adler32::new(), Vec::new());
    loop {
        let piece = disk.read_at(Dir::Data, name, len, PIECE_LEN).map_err(StorageError::io("read", Dir::Data, name))?;
        if len == 0 {
            check_magic(&file, &piece)?;
        }
        if piece.is_empty() {
            break;
        }
        len += piece.len() as u64;
        tail.extend_from_slice(&piece);
        let summed = tail.len().saturating_sub(TAIL_LEN_MAX);
        adler.write(&tail[..summed]);
        tail.drain(..summed);
    }
    let before = len - tail.len() as u64;
    let end = end(RunningSum { bytes: &tail, summed: 0, adler }, before as usize);
    end.map(|_| ()).ok_or_else(|| unsealed(&file, len))
}

/// Checks a whole file's seals and takes it apart.
///
/// # Errors
/// [`StorageError::Corrupt`].
pub fn parse(file: &str, bytes: Vec<u8>) -> Result<Snapshot, StorageError> {
    check_magic(file, &bytes)?;
    let bytes = Bytes::from(bytes);
    match end(RunningSum { bytes: &bytes, summed: 0, adler: Adler32::new() }, 0) {
        Some((body_end, (digest, last_processed))) => {
            Ok(Snapshot { body: bytes.slice(HEADER_LEN..body_end), digest, last_processed })
        }
        None => Err(unsealed(file, bytes.len() as u64)),
    }
}

fn check_magic(file: &str, bytes: &[u8]) -> Result<(), StorageError> {
    if bytes.starts_with(MAGIC) {
        return Ok(());
    }
    let found = format!("{:02x?}", &bytes[..bytes.len().min(4)]);
    Err(StorageError::corrupt(file, 0, "the magic \"ZKSN\"", found))
}

fn unsealed(file: &str, len: u64) -> StorageError {
    StorageError::corrupt(file, len, "sections whose seals hold", "CRC corruption")
}

/// Where the body ends, and what is behind it; `None` when no way to take the file's end apart agrees with its seals. So many bytes are `before` those of the sum.
fn end(mut sum: RunningSum<'_>, before: usize) -> Option<(usize, Sections)> {
    let mut ends = body_ends(sum.bytes).into_iter().filter(|end| before + end >= HEADER_LEN + TERMINATOR.len());
    ends.find_map(|body_end| {
        let is_sealed = sum.is_sealed_at(body_end);
        is_sealed.then(|| sections(&mut sum.clone(), body_end + SEAL_LEN)).flatten().map(|found| (body_end, found))
    })
}

/// Where the body may end, ascending: by the lengths that the sections behind it can have.
fn body_ends(bytes: &[u8]) -> Vec<usize> {
    let digest_lens = (1..=DIGEST_STRING_LEN_MAX).map(|len| 4 + len).chain([8]).map(|len| 8 + 4 + len + SEAL_LEN);
    let mut tails: Vec<usize> = digest_lens.flat_map(|len| [len, len + LAST_PROCESSED_LEN]).collect();
    tails.extend([0, LAST_PROCESSED_LEN]);
    tails.sort_unstable();
    tails.dedup();
    let ends = tails.into_iter().rev().filter_map(|tail| bytes.len().checked_sub(tail + SEAL_LEN));
    ends.filter(|end| bytes[..*end].ends_with(TERMINATOR)).collect()
}

type Sections = (Option<(Zxid, u64)>, Option<Zxid>);

/// The optional sections from `start` to the end of the file, or `None` when they do not fit it exactly.
fn sections(sum: &mut RunningSum<'_>, start: usize) -> Option<Sections> {
    let left = sum.bytes.len() - start;
    match left {
        0 => Some((None, None)),
        LAST_PROCESSED_LEN => last_processed(sum, start).map(|zxid| (None, Some(zxid))),
        _ => {
            let (digest, end) = digest(sum, start)?;
            match sum.bytes.len() - end {
                0 => Some((digest, None)),
                LAST_PROCESSED_LEN => last_processed(sum, end).map(|zxid| (digest, Some(zxid))),
                _ => None,
            }
        }
    }
}

fn digest(sum: &mut RunningSum<'_>, start: usize) -> Option<(Option<(Zxid, u64)>, usize)> {
    let mut reader = Reader::new(&sum.bytes[start..]);
    let zxid = Zxid(reader.long("digest zxid").ok()?);
    let version = reader.int("digest version").ok()?;
    let digest = match version < DIGEST_VERSION {
        true => u64::from_str_radix(&reader.string("digest").ok()?, 16).ok()?,
        false => reader.long("digest").ok()? as u64,
    };
    let end = sum.bytes.len() - reader.rest().len();
    let is_meaningful = version == DIGEST_VERSION && zxid > Zxid::ZERO;
    sum.is_sealed_at(end).then(|| (is_meaningful.then_some((zxid, digest)), end + SEAL_LEN))
}

fn last_processed(sum: &mut RunningSum<'_>, start: usize) -> Option<Zxid> {
    let zxid = Reader::new(&sum.bytes[start..]).long("lastProcessedZxid").ok()?;
    sum.is_sealed_at(start + 8).then_some(Zxid(zxid))
}

/// The checksum of a growing prefix of a file, of which the end is here.
#[derive(Clone)]
struct RunningSum<'a> {
    bytes: &'a [u8],
    summed: usize,
    adler: Adler32,
}

impl RunningSum<'_> {
    /// Whether a seal of everything before `end` is at `end`. Calls must ascend.
    fn is_sealed_at(&mut self, end: usize) -> bool {
        if end + SEAL_LEN > self.bytes.len() || end < self.summed {
            return false;
        }
        self.adler.write(&self.bytes[self.summed..end]);
        self.summed = end;
        let (sum, terminator) = self.bytes[end..end + SEAL_LEN].split_at(8);
        sum == i64::from(self.adler.finish()).to_be_bytes() && terminator == TERMINATOR
    }
}

/// Writes one snapshot while transactions go on; made for a thread of its own with its own handle to the disk.
pub struct SnapshotWriter<D> {
    disk: D,
    name: String,
    tmp: String,
    /// Length of the file.
    len: u64,
    /// How much of it is synced.
    synced: u64,
    /// Of the plain bytes.
    adler: Adler32,
    encoder: Encoder,
}

impl<D: Disk> SnapshotWriter<D> {
    /// Starts the snapshot of `zxid`: every transaction up to it is applied, some later ones may be.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn begin(disk: D, zxid: Zxid, compression: Compression) -> Result<SnapshotWriter<D>, StorageError> {
        SnapshotWriter::begin_as(disk, names::snapshot(zxid) + compression.extension(), compression)
    }

    pub(crate) fn begin_as(
        mut disk: D,
        name: String,
        compression: Compression,
    ) -> Result<SnapshotWriter<D>, StorageError> {
        let tmp = format!("{name}{}", names::TMP);
        disk.create(Dir::Data, &tmp).map_err(StorageError::io("create", Dir::Data, &tmp))?;
        let (encoder, start) = Encoder::new(compression);
        let mut writer = SnapshotWriter { disk, name, tmp, len: 0, synced: 0, adler: Adler32::new(), encoder };
        writer.write(&start)?;
        let mut header = MAGIC.to_vec();
        header.int(VERSION);
        header.long(DBID);
        writer.slice(&header)?;
        Ok(writer)
    }

    /// Appends a piece of the body.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn slice(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.adler.write(bytes);
        let mut encoder = std::mem::replace(&mut self.encoder, Encoder::Plain);
        encoder.push(bytes, |made| self.write(made))?;
        self.encoder = encoder;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let failed = StorageError::io("write", Dir::Data, &self.tmp);
        self.disk.write_at(Dir::Data, &self.tmp, self.len, bytes).map_err(failed)?;
        self.len += bytes.len() as u64;
        // What waits for a sync at the end would hold up the log's syncs all at once.
        if self.len - self.synced >= SYNC_EVERY {
            self.sync_file()?;
        }
        Ok(())
    }

    fn sync_file(&mut self) -> Result<(), StorageError> {
        self.synced = self.len;
        self.disk.sync_data(Dir::Data, &self.tmp).map_err(StorageError::io("sync", Dir::Data, &self.tmp))
    }

    /// Ends the snapshot and makes it durable under its name. `digest` is the tree's after `last_processed`, which is the
    /// last transaction applied when the walk ended; `None` when digests are off.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn finish(self, digest: Option<u64>, last_processed: Zxid) -> Result<(), StorageError> {
        self.seal(digest, last_processed)?.publish()
    }

    /// Ends the snapshot as [`SnapshotWriter::finish`] does, durably, but under its temporary name. One that cannot be ended is
    /// removed.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn seal(mut self, digest: Option<u64>, last_processed: Zxid) -> Result<SealedSnapshot<D>, StorageError> {
        match self.sections(digest, last_processed).and_then(|()| self.sync()) {
            Ok(()) => Ok(SealedSnapshot { writer: self }),
            Err(error) => self.discard().and(Err(error)),
        }
    }

    /// Ends a snapshot whose digest is not known: one received from a leader.
    pub(crate) fn finish_without_digest(mut self) -> Result<(), StorageError> {
        self.section(Vec::new())?;
        self.sync()?;
        SealedSnapshot { writer: self }.publish()
    }

    /// Gives up: removes what was written.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn discard(mut self) -> Result<(), StorageError> {
        self.disk.unlink(Dir::Data, &self.tmp).map_err(StorageError::io("remove", Dir::Data, &self.tmp))
    }

    fn sections(&mut self, digest: Option<u64>, last_processed: Zxid) -> Result<(), StorageError> {
        self.section(Vec::new())?;
        if let Some(digest) = digest {
            let mut section = Vec::new();
            section.long(last_processed.0);
            section.int(DIGEST_VERSION);
            section.long(digest as i64);
            self.section(section)?;
        }
        self.section(last_processed.0.to_be_bytes().to_vec())
    }

    /// A section and its seal.
    fn section(&mut self, section: Vec<u8>) -> Result<(), StorageError> {
        let mut adler = self.adler.clone();
        adler.write(&section);
        let mut bytes = section;
        bytes.long(adler.finish().into());
        bytes.put(TERMINATOR);
        self.slice(&bytes)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        let end = std::mem::replace(&mut self.encoder, Encoder::Plain).finish();
        self.write(&end)?;
        self.sync_file()
    }
}

/// A snapshot that is durable and has no name yet.
pub struct SealedSnapshot<D> {
    writer: SnapshotWriter<D>,
}

impl<D: Disk> SealedSnapshot<D> {
    /// Gives it its name, durably: from now on it is the store's newest.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn publish(self) -> Result<(), StorageError> {
        let SnapshotWriter { mut disk, name, tmp, .. } = self.writer;
        disk.rename(Dir::Data, &tmp, &name).map_err(StorageError::io("rename", Dir::Data, &tmp))?;
        disk.sync_dir(Dir::Data).map_err(StorageError::io("sync", Dir::Data, ""))
    }

    /// Gives it up: removes it.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn discard(self) -> Result<(), StorageError> {
        self.writer.discard()
    }
}
