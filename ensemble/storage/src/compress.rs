//! Compressed snapshots, for reading only: `.gz` is one gzip stream, `.snappy` is snappy-java's own framing.

use crate::error::StorageError;
use flate2::read::GzDecoder;
use std::io::Read;

/// snappy-java's magic; version and oldest compatible version (4 bytes each) follow.
const SNAPPY_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const SNAPPY_HEADER_LEN: usize = 16;

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
