//! Compressed snapshots: `.gz` is one gzip stream, `.snappy` is snappy-java's own framing.
//!
//! ```text
//! 82 "SNAPPY" 00  version 1  compatible with 1     snappy-java's header, 16 bytes
//! len(4)  one raw snappy block                     of at most 32 KiB before compression; repeated to the end of the file
//! ```
//!
//! The seals within a snapshot are of the plain bytes, so damage is noticed however a file was compressed.

use crate::error::StorageError;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::io::{Read, Write};

/// snappy-java's magic; version and oldest compatible version (4 bytes each) follow.
const SNAPPY_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const SNAPPY_VERSIONS: &[u8; 8] = b"\0\0\0\x01\0\0\0\x01";
const SNAPPY_HEADER_LEN: usize = 16;
/// Plain bytes of a snappy block, as snappy-java cuts them.
const SNAPPY_BLOCK_LEN: usize = 32 << 10;

/// How snapshots are written (`snapshot.compression.method`). How one is read depends on its name alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// Not compressed.
    #[default]
    Plain,
    /// `snapshot.<zxid>.gz`.
    Gzip,
    /// `snapshot.<zxid>.snappy`.
    Snappy,
}

impl Compression {
    /// What the name of a file ends in.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Compression::Plain => "",
            Compression::Gzip => ".gz",
            Compression::Snappy => ".snappy",
        }
    }
}

/// Compresses a stream.
pub(crate) enum Encoder {
    Plain,
    Gzip(Box<GzEncoder<Vec<u8>>>),
    /// The block that is not full yet.
    Snappy(Vec<u8>),
}

impl Encoder {
    /// An encoder, and the bytes that a file starts with.
    pub(crate) fn new(compression: Compression) -> (Encoder, Vec<u8>) {
        match compression {
            Compression::Plain => (Encoder::Plain, Vec::new()),
            Compression::Gzip => {
                (Encoder::Gzip(Box::new(GzEncoder::new(Vec::new(), flate2::Compression::default()))), Vec::new())
            }
            Compression::Snappy => {
                (Encoder::Snappy(Vec::with_capacity(SNAPPY_BLOCK_LEN)), [*SNAPPY_MAGIC, *SNAPPY_VERSIONS].concat())
            }
        }
    }

    /// Takes in `bytes`; hands to `out` what is to be written now, which may be nothing.
    pub(crate) fn push<E>(&mut self, bytes: &[u8], out: impl FnOnce(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match self {
            Encoder::Plain => out(bytes),
            Encoder::Gzip(gzip) => {
                gzip.write_all(bytes).expect("memory takes every byte");
                let made = std::mem::take(gzip.get_mut());
                out(&made)
            }
            Encoder::Snappy(block) => {
                let (mut made, mut rest) = (Vec::new(), bytes);
                while block.len() + rest.len() >= SNAPPY_BLOCK_LEN {
                    let (fills, behind) = rest.split_at(SNAPPY_BLOCK_LEN - block.len());
                    block.extend_from_slice(fills);
                    snappy_block(block, &mut made);
                    block.clear();
                    rest = behind;
                }
                block.extend_from_slice(rest);
                out(&made)
            }
        }
    }

    /// The bytes that a file ends with.
    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Encoder::Plain => Vec::new(),
            Encoder::Gzip(gzip) => gzip.finish().expect("memory takes every byte"),
            Encoder::Snappy(block) => {
                let mut made = Vec::new();
                if !block.is_empty() {
                    snappy_block(&block, &mut made);
                }
                made
            }
        }
    }
}

fn snappy_block(plain: &[u8], out: &mut Vec<u8>) {
    let block = snap::raw::Encoder::new().compress_vec(plain).expect("a block is shorter than 4 GiB");
    out.extend_from_slice(&(block.len() as u32).to_be_bytes());
    out.extend_from_slice(&block);
}

/// Whether the name of a file says that it is compressed.
pub(crate) fn is_compressed(file: &str) -> bool {
    [Compression::Gzip, Compression::Snappy].iter().any(|compression| file.ends_with(compression.extension()))
}

/// The bytes of a snapshot file as if it had been written plain. The name's last part tells how it was written.
pub(crate) fn decompress(file: &str, bytes: Vec<u8>) -> Result<Vec<u8>, StorageError> {
    match file.rsplit('.').next() {
        Some("gz") => gunzip(file, &bytes),
        Some("snappy") => unsnappy(file, &bytes),
        _ => Ok(bytes),
    }
}

fn gunzip(file: &str, bytes: &[u8]) -> Result<Vec<u8>, StorageError> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .map_err(|error| StorageError::corrupt(file, 0, "a gzip stream", error.to_string()))?;
    Ok(plain)
}

fn unsnappy(file: &str, bytes: &[u8]) -> Result<Vec<u8>, StorageError> {
    let bad = |offset: usize, found: String| StorageError::corrupt(file, offset as u64, "snappy-java's framing", found);
    if bytes.len() < SNAPPY_HEADER_LEN || !bytes.starts_with(SNAPPY_MAGIC) {
        return Err(bad(0, "another header".to_string()));
    }
    let mut plain = Vec::new();
    let mut offset = SNAPPY_HEADER_LEN;
    while offset < bytes.len() {
        let rest = &bytes[offset..];
        let Some((len, rest)) = rest.split_first_chunk::<4>() else {
            return Err(bad(offset, "the end of the file within a length".to_string()));
        };
        let len = u32::from_be_bytes(*len) as usize;
        let Some(chunk) = rest.get(..len) else {
            return Err(bad(offset, format!("a chunk of {len} bytes with {} left", rest.len())));
        };
        let block = snap::raw::Decoder::new().decompress_vec(chunk).map_err(|error| bad(offset, error.to_string()))?;
        plain.extend_from_slice(&block);
        offset += 4 + len;
    }
    Ok(plain)
}
