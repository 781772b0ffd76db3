//! Cuts the bytes of a client into frames: a 4-byte length, then as many bytes.

/// A length that no frame may have. The connection is closed without a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadLength(pub(crate) i32);

/// A frame, and what follows it.
type Cut<'a> = (&'a [u8], &'a [u8]);

/// The first frame of `bytes` without its length, and what follows it; `None` when more bytes are needed.
pub(crate) fn next(bytes: &[u8], bytes_max: usize) -> Result<Option<Cut<'_>>, BadLength> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(length) if length <= bytes_max => Ok(rest.split_at_checked(length)),
        _ => Err(BadLength(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_at_their_length_and_bounded() {
        assert_eq!(next(&[0, 0, 0], 9), Ok(None));
        assert_eq!(next(&[0, 0, 0, 2, 7], 9), Ok(None));
        assert_eq!(next(&[0, 0, 0, 2, 7, 8, 9], 9), Ok(Some((&[7, 8][..], &[9][..]))));
        assert_eq!(next(&[0, 0, 0, 0], 9), Ok(Some((&[][..], &[][..]))));
        assert_eq!(next(&[0, 0, 0, 9, 1], 9), Ok(None));
        assert_eq!(next(&[0, 0, 0, 10], 9), Err(BadLength(10)));
        assert_eq!(next(&[0xff; 4], 9), Err(BadLength(-1)));
    }
}
