//! The bytes of multiRead: framed as [`super::MultiRequest`] is, with reads for entries.

use super::multi::EntryHeader;
use super::{OpCode, ReadRequest};
use crate::jute::{Reader, Writer};
use crate::{DecodeError, ErrorCode};

/// Several reads of one state of the tree. None leaves a watch, whatever it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MultiReadRequest<'a> {
    /// getData or getChildren, and of what.
    pub ops: Vec<(OpCode, ReadRequest<'a>)>,
}

impl<'a> MultiReadRequest<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// When the bytes end early, a length cannot be, or an entry is neither getData nor getChildren.
    pub fn decode(reader: &mut Reader<'a>) -> Result<MultiReadRequest<'a>, DecodeError> {
        let mut ops = Vec::new();
        loop {
            let header = EntryHeader::decode(reader)?;
            if header.done {
                return Ok(MultiReadRequest { ops });
            }
            let op =
                OpCode::try_from(header.kind).ok().filter(|op| matches!(op, OpCode::GetData | OpCode::GetChildren));
            let op = op.ok_or_else(|| DecodeError::value("multiRead.type", header.kind, "getData or getChildren"))?;
            ops.push((op, ReadRequest::decode(reader)?));
        }
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        for (op, request) in &self.ops {
            EntryHeader { kind: op.code(), done: false, error: -1 }.encode(out);
            request.encode(out);
        }
        EntryHeader::END.encode(out);
    }

    /// Appends what stands before the result of a read that succeeded; its reply's body follows.
    pub fn encode_success(op: OpCode, out: &mut impl Writer) {
        EntryHeader { kind: op.code(), done: false, error: ErrorCode::OK.0 }.encode(out);
    }

    /// Appends the result of a read that failed.
    pub fn encode_error(code: ErrorCode, out: &mut impl Writer) {
        EntryHeader { kind: OpCode::Error.code(), done: false, error: code.0 }.encode(out);
        out.int(code.0);
    }

    /// Appends what ends the results.
    pub fn encode_end(out: &mut impl Writer) {
        EntryHeader::END.encode(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(kinds: &[OpCode]) -> Vec<u8> {
        let request = |path: &'static str| ReadRequest { path: path.into(), watch: true };
        let mut out = Vec::new();
        MultiReadRequest { ops: kinds.iter().map(|op| (*op, request("/a"))).collect() }.encode(&mut out);
        out
    }

    #[test]
    fn reads_are_read_back_and_nothing_else_is() {
        for kinds in [&[][..], &[OpCode::GetData], &[OpCode::GetChildren, OpCode::GetData]] {
            let bytes = bytes(kinds);
            let request = MultiReadRequest::decode(&mut Reader::new(&bytes)).unwrap();
            assert_eq!(request.ops.iter().map(|(op, _)| *op).collect::<Vec<_>>(), kinds);
            assert!(MultiReadRequest::decode(&mut Reader::new(&bytes[..bytes.len() - 1])).is_err(), "shortened");
        }
        for kind in [OpCode::Exists, OpCode::GetChildren2, OpCode::SetData, OpCode::Error] {
            assert!(MultiReadRequest::decode(&mut Reader::new(&bytes(&[OpCode::GetData, kind]))).is_err(), "{kind:?}");
        }
    }
}
