//! The jute encoding (`BinaryInputArchive.java`, `BinaryOutputArchive.java`): big-endian integers, length-prefixed
//! strings and buffers with -1 for null, counted vectors, records as the plain concatenation of their fields.
//!
//! [`Reader`] borrows; a length is checked against what is left before anything is allocated, so a frame of n bytes
//! can never make it allocate more than a small multiple of n.

use crate::DecodeError;

/// Reads fields from a slice, in order. `field` arguments name what is being read in errors.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn take(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => Err(DecodeError::Truncated { field, needed: count, left: self.rest.len() }),
        }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    /// One byte.
    pub fn byte(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(field)?[0])
    }

    /// A boolean: any byte but zero is true.
    pub fn boolean(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        Ok(self.byte(field)? != 0)
    }

    /// A 32-bit integer.
    pub fn int(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array(field)?))
    }

    /// A 64-bit integer.
    pub fn long(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array(field)?))
    }

    /// A buffer; `None` is jute's null (length -1), which is not the same as an empty one.
    pub fn buffer(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.int(field)? {
            -1 => Ok(None),
            length if length < 0 => Err(DecodeError::Length { field, length: length.into() }),
            length => self.take(field, length as usize).map(Some),
        }
    }

    /// A string; `None` is jute's null. Malformed UTF-8 becomes U+FFFD, as in Java.
    pub fn nullable_string(&mut self, field: &'static str) -> Result<Option<String>, DecodeError> {
        Ok(self.buffer(field)?.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    /// A string; jute's null reads as the empty string (kazoo writes the empty string as null).
    pub fn string(&mut self, field: &'static str) -> Result<String, DecodeError> {
        Ok(self.nullable_string(field)?.unwrap_or_default())
    }

    /// A vector's count; `None` is null, and any other negative count reads as empty, as in Java. The count is checked
    /// against what is left: every element takes at least `element_bytes_min` bytes.
    pub fn count(&mut self, field: &'static str, element_bytes_min: usize) -> Result<Option<usize>, DecodeError> {
        match self.int(field)? {
            -1 => Ok(None),
            count if count < 0 => Ok(Some(0)),
            count if (count as usize).saturating_mul(element_bytes_min) > self.rest.len() => {
                Err(DecodeError::Length { field, length: count.into() })
            }
            count => Ok(Some(count as usize)),
        }
    }

    /// A vector; `None` is null. `element_bytes_min` bounds the count by what is left.
    pub fn vector<T>(
        &mut self,
        field: &'static str,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.count(field, element_bytes_min)? else { return Ok(None) };
        (0..count).map(|_| element(self)).collect::<Result<_, _>>().map(Some)
    }
}

/// Appends fields to a byte vector, in order.
pub trait Writer {
    /// Appends bytes as they are.
    fn put(&mut self, bytes: &[u8]);

    /// One byte.
    fn byte(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// A boolean as 0 or 1.
    fn boolean(&mut self, value: bool) {
        self.byte(value.into());
    }

    /// A 32-bit integer.
    fn int(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }

    /// A 64-bit integer.
    fn long(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }

    /// A buffer; `None` is null.
    ///
    /// # Panics
    /// When the buffer is longer than 2^31-1 bytes, which no limit of this project allows.
    fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                self.count(bytes.len());
                self.put(bytes);
            }
        }
    }

    /// A string, never null.
    fn string(&mut self, value: &str) {
        self.buffer(Some(value.as_bytes()));
    }

    /// A vector's count.
    ///
    /// # Panics
    /// As [`Writer::buffer`].
    fn count(&mut self, count: usize) {
        self.int(i32::try_from(count).expect("jute lengths fit 31 bits: every limit is far below"));
    }

    /// A vector of strings.
    fn strings<S: AsRef<str>>(&mut self, values: &[S])
    where
        Self: Sized,
    {
        self.count(values.len());
        for value in values {
            self.string(value.as_ref());
        }
    }
}

impl Writer for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Writer for bytes::BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_are_told_apart() {
        let mut bytes = Vec::new();
        bytes.buffer(None);
        bytes.buffer(Some(b""));
        bytes.buffer(Some(b"x"));
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.buffer("a"), Ok(None));
        assert_eq!(reader.buffer("b"), Ok(Some(&b""[..])));
        assert_eq!(reader.buffer("c"), Ok(Some(&b"x"[..])));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_length_is_checked_before_anything_is_allocated() {
        let huge = i32::MAX.to_be_bytes();
        assert_eq!(
            Reader::new(&huge).buffer("data"),
            Err(DecodeError::Truncated { field: "data", needed: i32::MAX as usize, left: 0 })
        );
        assert_eq!(
            Reader::new(&huge).vector("acl", 12, |r| r.int("perms")),
            Err(DecodeError::Length { field: "acl", length: i32::MAX.into() })
        );
        assert_eq!(
            Reader::new(&(-2i32).to_be_bytes()).buffer("data"),
            Err(DecodeError::Length { field: "data", length: -2 })
        );
    }

    #[test]
    fn a_negative_count_is_empty_but_minus_one_is_null() {
        let read = |count: i32| Reader::new(&count.to_be_bytes()).vector("v", 4, |r| r.int("e"));
        assert_eq!(read(-1), Ok(None));
        assert_eq!(read(-7), Ok(Some(vec![])));
    }
}
