//! The bytes of multi (`MultiOperationRecord.java`, `MultiResponse.java`): every entry has a header before it, and a
//! header that says `done` ends the list.
//!
//! ```text
//! entry   type:int  done:0  err:int │ request record, or result body
//! end     -1        1       -1
//! ```

use super::{CheckRequest, CreateFlags, CreateRequest, CreateTtlRequest, DeleteRequest, OpCode, SetDataRequest};
use crate::jute::{Reader, Writer};
use crate::{DecodeError, ErrorCode, Stat};

/// One write of a multi.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MultiOp<'a> {
    /// Opcodes create and create2; the flag is one that ZooKeeper knows and no TTL flag.
    Create {
        /// [`OpCode::Create`] or [`OpCode::Create2`]: what the result holds.
        op: OpCode,
        /// The arguments.
        request: CreateRequest<'a>,
    },
    /// Opcode createContainer.
    CreateContainer(CreateRequest<'a>),
    /// Opcode createTTL.
    CreateTtl(CreateTtlRequest<'a>),
    /// Opcode delete.
    Delete(DeleteRequest<'a>),
    /// Opcode setData.
    SetData(SetDataRequest<'a>),
    /// Opcode check.
    Check(CheckRequest<'a>),
}

impl<'a> MultiOp<'a> {
    fn decode(op: i32, reader: &mut Reader<'a>) -> Result<MultiOp<'a>, DecodeError> {
        match OpCode::try_from(op) {
            Ok(op @ (OpCode::Create | OpCode::Create2)) => Ok(MultiOp::Create { op, request: Self::create(reader)? }),
            Ok(OpCode::CreateContainer) => Ok(MultiOp::CreateContainer(Self::create(reader)?)),
            Ok(OpCode::CreateTtl) => Ok(MultiOp::CreateTtl(CreateTtlRequest::decode(reader)?)),
            Ok(OpCode::Delete) => Ok(MultiOp::Delete(DeleteRequest::decode(reader)?)),
            Ok(OpCode::SetData) => Ok(MultiOp::SetData(SetDataRequest::decode(reader)?)),
            Ok(OpCode::Check) => Ok(MultiOp::Check(CheckRequest::decode(reader)?)),
            _ => Err(DecodeError::value("multi.type", op, "a write that a multi may hold")),
        }
    }

    /// What is an answer to a single create makes a whole multi undecodable, because Java builds an `Op` first.
    fn create(reader: &mut Reader<'a>) -> Result<CreateRequest<'a>, DecodeError> {
        let request = CreateRequest::decode(reader)?;
        match CreateFlags::from_flags(request.flags) {
            Some(CreateFlags::Plain { .. } | CreateFlags::Container) => {}
            Some(CreateFlags::Ttl { .. }) | None => {
                return Err(DecodeError::value("multi.create.flags", request.flags, "0..=4"));
            }
        }
        if request.acl.is_none() {
            return Err(DecodeError::value("multi.create.acl", "null", "a list"));
        }
        Ok(request)
    }

    /// The opcode of the entry.
    pub fn op(&self) -> OpCode {
        match self {
            MultiOp::Create { op, .. } => *op,
            MultiOp::CreateContainer(_) => OpCode::CreateContainer,
            MultiOp::CreateTtl(_) => OpCode::CreateTtl,
            MultiOp::Delete(_) => OpCode::Delete,
            MultiOp::SetData(_) => OpCode::SetData,
            MultiOp::Check(_) => OpCode::Check,
        }
    }

    fn encode(&self, out: &mut impl Writer) {
        match self {
            MultiOp::Create { request, .. } | MultiOp::CreateContainer(request) => request.encode(out),
            MultiOp::CreateTtl(request) => request.encode(out),
            MultiOp::Delete(request) => request.encode(out),
            MultiOp::SetData(request) => request.encode(out),
            MultiOp::Check(request) => request.encode(out),
        }
    }
}

/// Several writes, all or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MultiRequest<'a> {
    /// In the order in which they are checked and applied; may be empty.
    pub ops: Vec<MultiOp<'a>>,
}

impl<'a> MultiRequest<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// When the bytes end early, a length cannot be, or an entry may not be part of a multi. The whole request is then
    /// answered by `MARSHALLING_ERROR`.
    pub fn decode(reader: &mut Reader<'a>) -> Result<MultiRequest<'a>, DecodeError> {
        let mut ops = Vec::new();
        loop {
            let header = EntryHeader::decode(reader)?;
            if header.done {
                return Ok(MultiRequest { ops });
            }
            ops.push(MultiOp::decode(header.kind, reader)?);
        }
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        for op in &self.ops {
            EntryHeader { kind: op.op().code(), done: false, error: -1 }.encode(out);
            op.encode(out);
        }
        EntryHeader::END.encode(out);
    }
}

/// The result of one write of a multi.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MultiResult {
    /// The path of the created znode.
    Create(String),
    /// The same with its stat as it was after this entry: create2, createContainer, createTTL.
    Create2(String, Stat),
    /// Done.
    Delete,
    /// The znode's stat after this entry.
    SetData(Stat),
    /// The version is as expected.
    Check,
    /// Nothing of the multi was done: OK before the entry that failed, its code there, `RUNTIME_INCONSISTENCY` after.
    Error(ErrorCode),
}

impl MultiResult {
    /// Appends the results of a whole multi.
    pub fn encode_all(results: &[MultiResult], out: &mut impl Writer) {
        for result in results {
            result.encode(out);
        }
        EntryHeader::END.encode(out);
    }

    fn encode(&self, out: &mut impl Writer) {
        EntryHeader { kind: self.kind().code(), done: false, error: self.error().0 }.encode(out);
        match self {
            MultiResult::Create(path) => out.string(path),
            MultiResult::Create2(path, stat) => {
                out.string(path);
                stat.encode(out);
            }
            MultiResult::SetData(stat) => stat.encode(out),
            MultiResult::Delete | MultiResult::Check => {}
            MultiResult::Error(code) => out.int(code.0),
        }
    }

    fn kind(&self) -> OpCode {
        match self {
            MultiResult::Create(_) => OpCode::Create,
            MultiResult::Create2(..) => OpCode::Create2,
            MultiResult::Delete => OpCode::Delete,
            MultiResult::SetData(_) => OpCode::SetData,
            MultiResult::Check => OpCode::Check,
            MultiResult::Error(_) => OpCode::Error,
        }
    }

    /// The entry's code.
    pub fn error(&self) -> ErrorCode {
        match self {
            MultiResult::Error(code) => *code,
            MultiResult::Create(_)
            | MultiResult::Create2(..)
            | MultiResult::Delete
            | MultiResult::SetData(_)
            | MultiResult::Check => ErrorCode::OK,
        }
    }

    /// Reads the results of a whole multi.
    ///
    /// # Errors
    /// When the bytes end early or an entry has a type that no server sends.
    pub fn decode_all(reader: &mut Reader<'_>) -> Result<Vec<MultiResult>, DecodeError> {
        let mut results = Vec::new();
        loop {
            let header = EntryHeader::decode(reader)?;
            if header.done {
                return Ok(results);
            }
            results.push(match OpCode::try_from(header.kind) {
                Ok(OpCode::Create) => MultiResult::Create(reader.string("multi.path")?),
                Ok(OpCode::Create2) => MultiResult::Create2(reader.string("multi.path")?, Stat::decode(reader)?),
                Ok(OpCode::Delete) => MultiResult::Delete,
                Ok(OpCode::SetData) => MultiResult::SetData(Stat::decode(reader)?),
                Ok(OpCode::Check) => MultiResult::Check,
                Ok(OpCode::Error) => MultiResult::Error(ErrorCode(reader.int("multi.err")?)),
                _ => return Err(DecodeError::value("multi.type", header.kind, "the result of a write")),
            });
        }
    }
}

/// What stands before every entry.
pub(super) struct EntryHeader {
    pub(super) kind: i32,
    pub(super) done: bool,
    pub(super) error: i32,
}

impl EntryHeader {
    pub(super) const END: EntryHeader = EntryHeader { kind: -1, done: true, error: -1 };

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<EntryHeader, DecodeError> {
        Ok(EntryHeader {
            kind: reader.int("multi.type")?,
            done: reader.boolean("multi.done")?,
            error: reader.int("multi.err")?,
        })
    }

    pub(super) fn encode(&self, out: &mut impl Writer) {
        out.int(self.kind);
        out.boolean(self.done);
        out.int(self.error);
    }
}
