//! What a snapshot holds, in the order of the file, and where in the file something is wrong.
//!
//! The tree is also loaded as a server loads it, which checks that every znode has a parent and every ACL list exists.

use crate::{ToolError, name, read};
use bytes::Bytes;
use ensemble_datatree::DataTree;
use ensemble_proto::jute::Reader;
use ensemble_proto::{AclList, DecodeError, SessionId, StatPersisted, Zxid, decode_acl_list};
use ensemble_storage::{Snapshot, inspect, snapshot_zxid};
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes before the body: magic, version, dbid.
const HEADER_LEN: usize = 16;

/// A snapshot, taken apart.
pub(crate) struct Contents {
    pub(crate) zxid: Zxid,
    /// Sections and body.
    pub(crate) snapshot: Snapshot,
    pub(crate) sessions: Vec<(SessionId, i32)>,
    /// Lists by the number that znodes have.
    pub(crate) acls: BTreeMap<i64, Option<AclList>>,
    pub(crate) znodes: Vec<Znode>,
    /// How many znodes each owner has, sessions and others.
    owned: BTreeMap<i64, usize>,
    /// The sum over the znodes, computed.
    pub(crate) digest: u64,
}

/// A znode of a snapshot.
pub(crate) struct Znode {
    /// The root's is `/`.
    pub(crate) path: String,
    pub(crate) data: Option<Bytes>,
    pub(crate) acl: i64,
    pub(crate) stat: StatPersisted,
}

impl Znode {
    pub(crate) fn data_len(&self) -> usize {
        self.data.as_ref().map_or(0, Bytes::len)
    }
}

impl Contents {
    /// Reads a file. One whose name says no zxid counts as a snapshot of its last processed one, or of zero.
    pub(crate) fn read(file: &Path) -> Result<Contents, ToolError> {
        let path = file.display().to_string();
        let snapshot = inspect::snapshot(&path, read(file)?)?;
        let zxid = snapshot_zxid(&name(file)).or(snapshot.last_processed).unwrap_or(Zxid::ZERO);
        let mut reader = Reader::new(&snapshot.body);
        let mut contents = Contents {
            zxid,
            snapshot: snapshot.clone(),
            sessions: Vec::new(),
            acls: BTreeMap::new(),
            znodes: Vec::new(),
            owned: BTreeMap::new(),
            digest: 0,
        };
        contents.decode(&mut reader).map_err(|error| {
            let offset = HEADER_LEN + snapshot.body.len() - reader.rest().len();
            ToolError::Damaged(vec![format!("{path} at offset {offset} of the plain bytes: {error}")])
        })?;
        let tree = DataTree::load(0, zxid, &snapshot.body)
            .map_err(|error| ToolError::Damaged(vec![format!("{path}: {error}")]))?;
        contents.digest = tree.digest();
        Ok(contents)
    }

    fn decode(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        for _ in 0..reader.count("sessions", 12)?.unwrap_or(0) {
            self.sessions.push((SessionId(reader.long("session.id")?), reader.int("session.timeout")?));
        }
        for _ in 0..reader.count("acl table", 12)?.unwrap_or(0) {
            self.acls.insert(reader.long("acl.id")?, decode_acl_list(reader)?);
        }
        loop {
            let path = reader.string("znode.path")?;
            if path == "/" {
                return Ok(());
            }
            let data = reader.buffer("znode.data")?.map(|data| self.snapshot.body.slice_ref(data));
            let acl = reader.long("znode.acl")?;
            let stat = StatPersisted::decode(reader)?;
            *self.owned.entry(stat.ephemeral_owner).or_default() += 1;
            self.znodes.push(Znode { path: if path.is_empty() { "/".to_owned() } else { path }, data, acl, stat });
        }
    }

    /// The ACL list of a znode; `None` for one that everybody may do everything with.
    pub(crate) fn acl(&self, znode: &Znode) -> Option<&AclList> {
        self.acls.get(&znode.acl).and_then(Option::as_ref)
    }

    /// How many ephemeral znodes a session has.
    pub(crate) fn ephemeral_count(&self, session: SessionId) -> usize {
        self.owned.get(&session.0).copied().unwrap_or(0)
    }

    /// What the snapshot's digest says of the computed one. A snapshot that was written while transactions went on has the digest of a
    /// later zxid, which only log and snapshot together have.
    pub(crate) fn digest_verdict(&self) -> String {
        match self.snapshot.digest {
            None => "none".to_owned(),
            Some((zxid, _)) if zxid != self.zxid => format!("of {zxid}, which only the log leads to"),
            Some((_, digest)) if digest == self.digest => format!("{} (the tree has it)", digest as i64),
            Some((_, digest)) => format!("{} (the tree has {})", digest as i64, self.digest as i64),
        }
    }

    /// Whether the tree is not the one that was written.
    pub(crate) fn digest_differs(&self) -> bool {
        self.snapshot.digest.is_some_and(|(zxid, digest)| zxid == self.zxid && digest != self.digest)
    }
}
