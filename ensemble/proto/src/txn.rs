//! What a proposal carries and a log entry holds: a header, a transaction, and the digest of the tree after it
//! (`zookeeper.jute`, module `txn`; `SerializeUtils.java`).
//!
//! ```text
//! clientId:long  cxid:int  zxid:long  time:long  type:int │ record of that type │ version:int  treeDigest:long
//! └──────────────────────── header ────────────────────┘                        └──── digest, optional ────┘
//! ```
//!
//! A transaction says what *is*, never what was asked: versions and names are results, so that applying one twice does no
//! harm. The bytes of a proposal go to the log as they came; a record is decoded from them, never put in their place.

use crate::client::OpCode;
use crate::data::{decode_acl_list, encode_acl_list};
use crate::jute::{Reader, Writer};
use crate::{AclList, DecodeError, ErrorCode, SessionId, Zxid};
use bytes::Bytes;

/// Who asked for a transaction, and its place in the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxnHeader {
    /// The session that asked.
    pub session: SessionId,
    /// The request's xid; zero for requests that servers make.
    pub cxid: i32,
    /// The transaction's position.
    pub zxid: Zxid,
    /// The leader's wall clock at the proposal, milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// One change of the replicated state, or the record that a request failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Txn {
    /// A session begins.
    CreateSession {
        /// Negotiated timeout.
        timeout_ms: i32,
    },
    /// A session ends, and with it its ephemeral znodes.
    CloseSession {
        /// The znodes to delete; `None` in logs older than 3.6, which leave it to the server's own index.
        paths: Option<Vec<String>>,
    },
    /// The request failed; takes a zxid, changes nothing. As part of a multi: the multi failed.
    Error(ErrorCode),
    /// A znode is created, persistent or ephemeral.
    Create(CreateTxn),
    /// The same; the client is told the stat too.
    Create2(CreateTxn),
    /// A container znode is created; `ephemeral` is false.
    CreateContainer(CreateTxn),
    /// A znode with a time to live is created; `ephemeral` is false.
    CreateTtl {
        /// The znode.
        create: CreateTxn,
        /// Its time to live, 1..=2^40-1 ms.
        ttl_ms: i64,
    },
    /// A znode is deleted.
    Delete {
        /// Its path.
        path: String,
    },
    /// An empty container or expired TTL znode is deleted.
    DeleteContainer {
        /// Its path.
        path: String,
    },
    /// Data is replaced.
    SetData(SetDataTxn),
    /// The ensemble's configuration is replaced: the data of `/zookeeper/config`.
    Reconfig(SetDataTxn),
    /// An ACL list is replaced.
    SetAcl {
        /// The znode's path.
        path: String,
        /// The new list; `None` is null, which allows everything.
        acl: Option<AclList>,
        /// The resulting aversion.
        version: i32,
    },
    /// A version was as expected; only inside a multi, changes nothing.
    Check {
        /// The znode's path.
        path: String,
        /// The version checked, plus one.
        version: i32,
    },
    /// Several changes, all or, when one of them is an error, none. Holds no session's begin or end, no setACL, no reconfig and
    /// no other multi.
    Multi(Vec<Txn>),
}

/// A znode that is created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTxn {
    /// Its path, with the digits of a sequential one.
    pub path: String,
    /// Its data; null is kept apart from empty.
    pub data: Option<Bytes>,
    /// Its ACL list; `None` is null, which allows everything.
    pub acl: Option<AclList>,
    /// Whether it belongs to the session of the header.
    pub ephemeral: bool,
    /// The parent's resulting (persisted) cversion; -1 in very old logs: one more than it is.
    pub parent_cversion: i32,
}

/// Data that is replaced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetDataTxn {
    /// The znode's path.
    pub path: String,
    /// The new data; null is kept apart from empty.
    pub data: Option<Bytes>,
    /// The resulting version.
    pub version: i32,
}

/// The digest of the whole tree after a transaction (AdHash over all znodes).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxnDigest {
    /// How it was computed; we know [`TxnDigest::VERSION`].
    pub version: i32,
    /// The sum of the znodes' digests, modulo 2^64.
    pub tree_digest: u64,
}

impl TxnDigest {
    /// ZooKeeper's present way to compute it (`DigestCalculator.DIGEST_VERSION`).
    pub const VERSION: i32 = 2;
    const BYTES: usize = 12;
}

/// A proposal's payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TxnRecord {
    /// Who and when.
    pub header: TxnHeader,
    /// What.
    pub txn: Txn,
    /// And then the tree has this digest. Absent from errors, and from leaders with digests turned off.
    pub digest: Option<TxnDigest>,
}

impl TxnRecord {
    /// The payload's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(128);
        out.long(self.header.session.0);
        out.int(self.header.cxid);
        out.long(self.header.zxid.0);
        out.long(self.header.time_ms);
        out.int(self.txn.op().code());
        self.txn.encode(&mut out);
        if let Some(digest) = self.digest {
            out.int(digest.version);
            out.long(digest.tree_digest as i64);
        }
        out.into()
    }

    /// Reads a payload; data is not copied but shared with it.
    ///
    /// # Errors
    /// When the bytes end early, a length cannot be, or the type is none that ZooKeeper logs.
    pub fn decode(payload: &Bytes) -> Result<TxnRecord, DecodeError> {
        let mut reader = Reader::new(payload);
        let (header, op) = TxnHeader::decode(&mut reader)?;
        let txn = Txn::decode(op, &mut reader, payload)?;
        Ok(TxnRecord { header, txn, digest: TxnDigest::decode(&mut reader)? })
    }
}

impl TxnHeader {
    /// Encoded size, type included.
    pub const BYTES: usize = 32;

    /// Reads a header and the type that ends it.
    ///
    /// # Errors
    /// When the bytes end early.
    pub fn decode(reader: &mut Reader<'_>) -> Result<(TxnHeader, i32), DecodeError> {
        let header = TxnHeader {
            session: SessionId(reader.long("txn.clientId")?),
            cxid: reader.int("txn.cxid")?,
            zxid: Zxid(reader.long("txn.zxid")?),
            time_ms: reader.long("txn.time")?,
        };
        Ok((header, reader.int("txn.type")?))
    }
}

impl TxnDigest {
    fn decode(reader: &mut Reader<'_>) -> Result<Option<TxnDigest>, DecodeError> {
        if reader.is_empty() {
            return Ok(None);
        }
        let version = reader.int("txn.digest.version")?;
        Ok(Some(TxnDigest { version, tree_digest: reader.long("txn.digest.treeDigest")? as u64 }))
    }
}

impl Txn {
    /// The type of the transaction.
    pub fn op(&self) -> OpCode {
        match self {
            Txn::CreateSession { .. } => OpCode::CreateSession,
            Txn::CloseSession { .. } => OpCode::CloseSession,
            Txn::Error(_) => OpCode::Error,
            Txn::Create(_) => OpCode::Create,
            Txn::Create2(_) => OpCode::Create2,
            Txn::CreateContainer(_) => OpCode::CreateContainer,
            Txn::CreateTtl { .. } => OpCode::CreateTtl,
            Txn::Delete { .. } => OpCode::Delete,
            Txn::DeleteContainer { .. } => OpCode::DeleteContainer,
            Txn::SetData(_) => OpCode::SetData,
            Txn::Reconfig(_) => OpCode::Reconfig,
            Txn::SetAcl { .. } => OpCode::SetAcl,
            Txn::Check { .. } => OpCode::Check,
            Txn::Multi(_) => OpCode::Multi,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Txn::CreateSession { timeout_ms } => out.int(*timeout_ms),
            Txn::CloseSession { paths: None } => {}
            Txn::CloseSession { paths: Some(paths) } => out.strings(paths),
            Txn::Error(code) => out.int(code.0),
            Txn::Create(create) | Txn::Create2(create) => {
                create.encode_front(out);
                out.boolean(create.ephemeral);
                out.int(create.parent_cversion);
            }
            Txn::CreateContainer(create) => {
                create.encode_front(out);
                out.int(create.parent_cversion);
            }
            Txn::CreateTtl { create, ttl_ms } => {
                create.encode_front(out);
                out.int(create.parent_cversion);
                out.long(*ttl_ms);
            }
            Txn::Delete { path } | Txn::DeleteContainer { path } => out.string(path),
            Txn::SetData(set) | Txn::Reconfig(set) => {
                out.string(&set.path);
                out.buffer(set.data.as_deref());
                out.int(set.version);
            }
            Txn::SetAcl { path, acl, version } => {
                out.string(path);
                encode_acl_list(acl.as_deref(), out);
                out.int(*version);
            }
            Txn::Check { path, version } => {
                out.string(path);
                out.int(*version);
            }
            Txn::Multi(txns) => {
                out.count(txns.len());
                for txn in txns {
                    txn.encode_as_part(out);
                }
            }
        }
    }

    /// Type, length, record: the length is known only afterwards.
    fn encode_as_part(&self, out: &mut Vec<u8>) {
        out.int(self.op().code());
        let start = out.len();
        out.int(0);
        self.encode(out);
        let length = i32::try_from(out.len() - start - 4).expect("a txn fits 31 bits: every limit is far below");
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// `payload` owns the bytes that `reader` reads.
    fn decode(op: i32, reader: &mut Reader<'_>, payload: &Bytes) -> Result<Txn, DecodeError> {
        const EXPECTED: &str = "a type of transaction";
        let op = OpCode::try_from(op).map_err(|_| DecodeError::value("txn.type", op, EXPECTED))?;
        Ok(match op {
            OpCode::CreateSession => Txn::CreateSession { timeout_ms: reader.int("createSession.timeOut")? },
            OpCode::CloseSession => Txn::CloseSession { paths: close_paths(reader)? },
            OpCode::Error => Txn::Error(ErrorCode(reader.int("error.err")?)),
            OpCode::Create => Txn::Create(CreateTxn::decode(reader, payload)?),
            OpCode::Create2 => Txn::Create2(CreateTxn::decode(reader, payload)?),
            OpCode::CreateContainer => {
                let mut create = CreateTxn::decode_front(reader, payload)?;
                create.parent_cversion = reader.int("create.parentCVersion")?;
                Txn::CreateContainer(create)
            }
            OpCode::CreateTtl => {
                let mut create = CreateTxn::decode_front(reader, payload)?;
                create.parent_cversion = reader.int("create.parentCVersion")?;
                Txn::CreateTtl { create, ttl_ms: reader.long("createTTL.ttl")? }
            }
            OpCode::Delete => Txn::Delete { path: reader.string("delete.path")? },
            OpCode::DeleteContainer => Txn::DeleteContainer { path: reader.string("delete.path")? },
            OpCode::SetData => Txn::SetData(SetDataTxn::decode(reader, payload)?),
            OpCode::Reconfig => Txn::Reconfig(SetDataTxn::decode(reader, payload)?),
            OpCode::SetAcl => Txn::SetAcl {
                path: reader.string("setACL.path")?,
                acl: decode_acl_list(reader)?,
                version: reader.int("setACL.version")?,
            },
            OpCode::Check => Txn::Check { path: reader.string("check.path")?, version: reader.int("check.version")? },
            OpCode::Multi => Txn::Multi(decode_parts(reader, payload)?),
            other => return Err(DecodeError::value("txn.type", other.code(), EXPECTED)),
        })
    }
}

/// The paths of a closeSession. An old log has none, and then either the payload ends or a digest follows: twelve bytes
/// that begin with version 2. No list of two paths is that short.
fn close_paths(reader: &mut Reader<'_>) -> Result<Option<Vec<String>>, DecodeError> {
    const PATH_BYTES_MIN: usize = 4;
    let rest = reader.rest();
    if rest.is_empty() || (rest.len() == TxnDigest::BYTES && rest.starts_with(&TxnDigest::VERSION.to_be_bytes())) {
        return Ok(None);
    }
    reader.vector("closeSession.paths2Delete", PATH_BYTES_MIN, |reader| reader.string("closeSession.path"))
}

fn decode_parts(reader: &mut Reader<'_>, payload: &Bytes) -> Result<Vec<Txn>, DecodeError> {
    const PART_BYTES_MIN: usize = 8;
    let part = |reader: &mut Reader<'_>| {
        let op = reader.int("multi.type")?;
        let bytes = reader.buffer("multi.data")?.unwrap_or_default();
        match OpCode::try_from(op) {
            Ok(
                OpCode::Create
                | OpCode::Create2
                | OpCode::CreateContainer
                | OpCode::CreateTtl
                | OpCode::Delete
                | OpCode::DeleteContainer
                | OpCode::SetData
                | OpCode::Check
                | OpCode::Error,
            ) => Txn::decode(op, &mut Reader::new(bytes), payload),
            _ => Err(DecodeError::value("multi.type", op, "a transaction that a multi may hold")),
        }
    };
    Ok(reader.vector("multi.txns", PART_BYTES_MIN, part)?.unwrap_or_default())
}

impl CreateTxn {
    fn encode_front(&self, out: &mut Vec<u8>) {
        out.string(&self.path);
        out.buffer(self.data.as_deref());
        encode_acl_list(self.acl.as_deref(), out);
    }

    fn decode_front(reader: &mut Reader<'_>, payload: &Bytes) -> Result<CreateTxn, DecodeError> {
        Ok(CreateTxn {
            path: reader.string("create.path")?,
            data: reader.buffer("create.data")?.map(|data| payload.slice_ref(data)),
            acl: decode_acl_list(reader)?,
            ephemeral: false,
            parent_cversion: -1,
        })
    }

    /// The parent's cversion may be missing at the end (`CreateTxnV0`).
    fn decode(reader: &mut Reader<'_>, payload: &Bytes) -> Result<CreateTxn, DecodeError> {
        let mut create = CreateTxn::decode_front(reader, payload)?;
        create.ephemeral = reader.boolean("create.ephemeral")?;
        if !reader.is_empty() {
            create.parent_cversion = reader.int("create.parentCVersion")?;
        }
        Ok(create)
    }
}

impl SetDataTxn {
    fn decode(reader: &mut Reader<'_>, payload: &Bytes) -> Result<SetDataTxn, DecodeError> {
        Ok(SetDataTxn {
            path: reader.string("setData.path")?,
            data: reader.buffer("setData.data")?.map(|data| payload.slice_ref(data)),
            version: reader.int("setData.version")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Acl;

    fn header() -> TxnHeader {
        TxnHeader { session: SessionId(0x0100_0000_0000_0001), cxid: 7, zxid: Zxid(0x1_0000_0009), time_ms: 1234 }
    }

    fn create(path: &str) -> CreateTxn {
        CreateTxn {
            path: path.to_string(),
            data: Some(Bytes::from_static(b"x")),
            acl: Some([Acl::world(Acl::ALL)].into()),
            ephemeral: false,
            parent_cversion: 3,
        }
    }

    #[test]
    fn every_type_is_read_back_as_it_was_written() {
        let set = SetDataTxn { path: "/a".to_string(), data: None, version: 2 };
        let txns = [
            Txn::CreateSession { timeout_ms: 4000 },
            Txn::CloseSession { paths: None },
            Txn::CloseSession { paths: Some(vec![]) },
            Txn::CloseSession { paths: Some(vec!["/a".to_string(), "/b".to_string()]) },
            Txn::Error(ErrorCode::NO_NODE),
            Txn::Create(CreateTxn { ephemeral: true, acl: None, ..create("/a") }),
            Txn::Create2(CreateTxn { data: None, ..create("/a") }),
            Txn::CreateContainer(create("/a")),
            Txn::CreateTtl { create: create("/a"), ttl_ms: 9 },
            Txn::Delete { path: "/a".to_string() },
            Txn::DeleteContainer { path: "/a".to_string() },
            Txn::SetData(set.clone()),
            Txn::Reconfig(SetDataTxn { data: Some(Bytes::new()), ..set.clone() }),
            Txn::SetAcl { path: "/a".to_string(), acl: Some([].into()), version: 1 },
            Txn::Multi(vec![]),
            Txn::Multi(vec![
                Txn::Create(create("/a")),
                Txn::Check { path: "/a".to_string(), version: 1 },
                Txn::SetData(set),
                Txn::Error(ErrorCode::RUNTIME_INCONSISTENCY),
            ]),
        ];
        for txn in txns {
            for digest in [None, Some(TxnDigest { version: TxnDigest::VERSION, tree_digest: u64::MAX })] {
                let record = TxnRecord { header: header(), txn: txn.clone(), digest };
                assert_eq!(TxnRecord::decode(&record.encode()), Ok(record));
            }
        }
    }

    #[test]
    fn a_create_without_the_parents_cversion_is_an_old_one() {
        let record = TxnRecord { header: header(), txn: Txn::Create(create("/a")), digest: None };
        let bytes = record.encode();
        let old = bytes.slice(..bytes.len() - 4);
        let expected = CreateTxn { parent_cversion: -1, ..create("/a") };
        assert_eq!(TxnRecord::decode(&old).map(|record| record.txn), Ok(Txn::Create(expected)));
    }

    #[test]
    fn what_a_log_cannot_hold_is_named() {
        let check = |txn: Txn, code: i32, expected: &str| {
            let mut bytes = TxnRecord { header: header(), txn, digest: None }.encode().to_vec();
            bytes[28..32].copy_from_slice(&code.to_be_bytes());
            let error = TxnRecord::decode(&bytes.into()).expect_err("the payload is wrong");
            assert_eq!(error.to_string(), expected);
        };
        let error = Txn::Error(ErrorCode::NO_NODE);
        check(error.clone(), 99, "txn.type: 99 is not a type of transaction");
        check(error.clone(), 11, "txn.type: 11 is not a type of transaction");
        check(error, 5, "setData.path: unreasonable length -101");
        let nested = Txn::Multi(vec![Txn::Multi(vec![])]);
        check(nested, 14, "multi.type: 14 is not a transaction that a multi may hold");
    }
}
