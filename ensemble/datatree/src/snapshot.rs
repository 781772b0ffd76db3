//! Snapshots without stopping the world, and loading them (`FileSnap.java`, `SerializeUtils.java`, `DataTree.serialize`).
//!
//! ```text
//! sessions   count:int, then count × (session:long timeoutMs:int)
//! acl table  count:int, then count × (id:long list:vector<ACL>)
//! znodes     repeated (path:ustring data:buffer acl:long stat:StatPersisted), parents first, the root's path is ""
//! end        "/"
//! ```
//!
//! Several may be under way, each at its own pace: this server's own, and one for each learner that is being sent the tree. What one of
//! them keeps is a position, and the head until that is taken.
//!
//! A snapshot is *fuzzy*: it is written in slices while transactions go on. It holds every effect of the transactions up
//! to the zxid at which it was begun, and any effects of later ones; applying those again afterwards gives the tree that was
//! meant, because applying is idempotent (see `apply`). Three rules make the first half true:
//!
//! * The walk is in pre-order, and young siblings come before old ones: a znode that existed at the beginning is either
//!   ahead of the cursor or has been written. A znode that the walk misses was created later; its creation is applied again.
//! * A znode under the cursor that is deleted pushes the cursor to its successor.
//! * Sessions and ACL lists are copied at the beginning. A znode can later get a list that the copied table does not have; it
//!   is written as if it had none. The transaction that gave it the list is applied again, and a creation sets the
//!   list even of a znode that exists. A list in the copied table cannot come to mean another: ids are not used again.

use crate::acl_table::AclId;
use crate::apply::DigestCheck;
use crate::path;
use crate::slab::{NONE, Position};
use crate::tree::{DataTree, ROOT};
use bytes::Bytes;
use ensemble_proto::jute::{Reader, Writer};
use ensemble_proto::{Acl, DecodeError, SessionId, StatPersisted, Zxid, decode_acl_list, encode_acl_list};

/// A slice does not ask for more room at once than this, whatever its budget is.
const SLICE_RESERVED_BYTES_MAX: usize = 64 << 10;

/// Names a snapshot that is under way; whoever begins it chooses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Walk(pub u64);

/// How far a snapshot has come.
pub(crate) struct Cursor {
    stage: Stage,
    /// The first ACL id that the snapshot's table does not have.
    acl_end: AclId,
}

enum Stage {
    /// Sessions and ACL table, as they were at the beginning.
    Head(Vec<u8>),
    /// The next znode to write; [`NONE`] after the last.
    Znodes(Position),
}

impl DataTree {
    /// Begins a snapshot of the tree as it is now, and gives its zxid. One of the same name that was under way is given up.
    pub fn begin_snapshot(&mut self, walk: Walk) -> Zxid {
        let cursor = Cursor { stage: Stage::Head(self.head()), acl_end: self.acls.next_id() };
        self.cursors.insert(walk, cursor);
        self.last_zxid
    }

    /// The next bytes of the snapshot: about `budget_bytes` of znodes, but whole ones and at least one. `None` when the
    /// snapshot is finished, or none was begun.
    pub fn snapshot_slice(&mut self, walk: Walk, budget_bytes: usize) -> Option<Bytes> {
        let mut cursor = self.cursors.remove(&walk)?;
        let mut out = Vec::new();
        match cursor.stage {
            Stage::Head(head) => {
                out = head;
                cursor.stage = Stage::Znodes(ROOT);
            }
            Stage::Znodes(next) => {
                out.reserve(budget_bytes.min(SLICE_RESERVED_BYTES_MAX));
                let next = self.write_znodes(next, cursor.acl_end, budget_bytes, &mut out);
                if next == NONE {
                    out.string(path::ROOT);
                    return Some(out.into());
                }
                cursor.stage = Stage::Znodes(next);
            }
        }
        self.cursors.insert(walk, cursor);
        Some(out.into())
    }

    /// Gives up a snapshot, if it is under way.
    pub fn abort_snapshot(&mut self, walk: Walk) {
        self.cursors.remove(&walk);
    }

    /// The whole tree as it is now, in the form of a snapshot, beside those that are under way.
    pub fn serialize(&self) -> Vec<u8> {
        let mut out = self.head();
        self.write_znodes(ROOT, self.acls.next_id(), usize::MAX, &mut out);
        out.string(path::ROOT);
        out
    }

    fn head(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.count(self.sessions.len());
        for (session, timeout_ms) in &self.sessions {
            out.long(session.0);
            out.int(*timeout_ms);
        }
        let lists = self.acls.iter();
        out.count(lists.len());
        for (id, list) in lists {
            out.long(id.on_disk());
            encode_acl_list(Some(list), &mut out);
        }
        out
    }

    /// Writes znodes from `position` on until the budget is spent; returns the first that is not written.
    fn write_znodes(&self, mut position: Position, acl_end: AclId, budget_bytes: usize, out: &mut Vec<u8>) -> Position {
        let mut path = if position == NONE { String::new() } else { self.path_of(position) };
        if position == ROOT {
            path.clear();
        }
        while position != NONE {
            self.write_znode(position, &path, acl_end, out);
            position = self.successor(position, &mut path);
            if out.len() >= budget_bytes {
                break;
            }
        }
        position
    }

    fn write_znode(&self, position: Position, path: &str, acl_end: AclId, out: &mut Vec<u8>) {
        let znode = &self.slab[position];
        out.string(path);
        out.buffer(znode.data());
        out.long(if znode.acl < acl_end { znode.acl } else { AclId::NULL }.on_disk());
        znode.stat.encode(out);
    }

    /// The next znode in pre-order, or [`NONE`]; makes `path` its path, where the root's is empty.
    fn successor(&self, position: Position, path: &mut String) -> Position {
        match self.slab[position].first_child {
            NONE => self.successor_beside(position, path),
            child => {
                path.push('/');
                path.push_str(self.slab[child].name());
                child
            }
        }
    }

    /// The next znode in pre-order that is not below `position`.
    fn successor_beside(&self, mut position: Position, path: &mut String) -> Position {
        while position != ROOT {
            let znode = &self.slab[position];
            path.truncate(path.len() - znode.name_len());
            if znode.next_sibling != NONE {
                path.push_str(self.slab[znode.next_sibling].name());
                return znode.next_sibling;
            }
            path.pop();
            position = znode.parent;
        }
        NONE
    }

    /// A znode is about to be removed with everything below it: no cursor must point there.
    pub(crate) fn move_cursors_off(&mut self, doomed: Position) {
        let points_there = |cursor: &Cursor| match cursor.stage {
            Stage::Znodes(next) => next != NONE && self.is_at_or_below(next, doomed),
            Stage::Head(_) => false,
        };
        let walks: Vec<Walk> =
            self.cursors.iter().filter(|(_, cursor)| points_there(cursor)).map(|(walk, _)| *walk).collect();
        if walks.is_empty() {
            return;
        }
        let mut path = self.path_of(doomed);
        let successor = self.successor_beside(doomed, &mut path);
        for walk in walks {
            if let Some(cursor) = self.cursors.get_mut(&walk) {
                cursor.stage = Stage::Znodes(successor);
            }
        }
    }

    fn is_at_or_below(&self, position: Position, ancestor: Position) -> bool {
        let up = |position: &Position| Some(self.slab[*position].parent).filter(|parent| *parent != NONE);
        std::iter::successors(Some(position), up).any(|position| position == ancestor)
    }

    /// Reads a snapshot named after `zxid`, up to and including the terminating "/"; what follows is ignored. See
    /// [`DataTree::new`] for `hash_seed`.
    ///
    /// # Errors
    /// When the bytes end early, a znode comes before its parent or twice, or has an ACL id that the table does not have.
    pub fn load(hash_seed: u64, zxid: Zxid, bytes: &[u8]) -> Result<DataTree, DecodeError> {
        let mut loader = Loader::new(hash_seed, zxid);
        let mut reader = Reader::new(bytes);
        loader.read_head(&mut reader)?;
        loader.tree.reserve(count_znodes(reader.rest()));
        loader.read_znodes(&mut reader)?;
        loader.finish()
    }
}

/// Reads a snapshot that comes in parts.
pub struct Loader {
    tree: DataTree,
    part: Part,
    ancestors: Ancestors,
}

/// What comes next, and how many of it are left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    SessionCount,
    Sessions(usize),
    ListCount,
    Lists(usize),
    Znodes,
    End,
}

impl Loader {
    /// For a snapshot named after `zxid`. See [`DataTree::new`] for `hash_seed`.
    pub fn new(hash_seed: u64, zxid: Zxid) -> Loader {
        let mut tree = DataTree::without_znodes(hash_seed, zxid);
        tree.digest_check = DigestCheck::UntilEqual;
        let ancestors = Ancestors { previous: String::new(), znodes: Vec::new() };
        Loader { tree, part: Part::SessionCount, ancestors }
    }

    /// Takes in the next part: whole elements, that is counts, sessions, ACL lists and znodes. What comes after the terminating "/"
    /// is ignored.
    ///
    /// # Errors
    /// As [`DataTree::load`]; the snapshot is then good for nothing.
    pub fn feed(&mut self, part: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(part);
        self.read_head(&mut reader)?;
        self.read_znodes(&mut reader)
    }

    /// The tree, complete.
    ///
    /// # Errors
    /// When the snapshot is not: the terminating "/" has not come, or no znode has.
    pub fn finish(self) -> Result<DataTree, DecodeError> {
        let mut tree = self.tree;
        if self.part != Part::End {
            return Err(DecodeError::value("snapshot", "the end of its bytes", "a terminating \"/\""));
        }
        if tree.slab.len() == 0 {
            return Err(DecodeError::value("snapshot", "no znode", "a tree with a root"));
        }
        tree.acls.purge_unused();
        tree.ensure_config();
        tree.count_quotas();
        Ok(tree)
    }

    fn read_head(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        while !reader.is_empty() {
            self.part = match self.part {
                Part::SessionCount => Part::Sessions(reader.count("sessions", 0)?.unwrap_or(0)),
                Part::Sessions(0) => Part::ListCount,
                Part::Sessions(left) => {
                    let session = SessionId(reader.long("session.id")?);
                    self.tree.sessions.insert(session, reader.int("session.timeout")?);
                    Part::Sessions(left - 1)
                }
                Part::ListCount => Part::Lists(reader.count("acl table", 0)?.unwrap_or(0)),
                Part::Lists(0) => Part::Znodes,
                Part::Lists(left) => {
                    self.read_list(reader)?;
                    Part::Lists(left - 1)
                }
                Part::Znodes | Part::End => break,
            };
        }
        Ok(())
    }

    fn read_list(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let id = AclId::from_disk(reader.long("acl.id")?)?;
        let list = decode_acl_list(reader)?.unwrap_or_else(|| [Acl::world(Acl::ALL)].into());
        match id != AclId::NULL && self.tree.acls.load(id, list) {
            true => Ok(()),
            false => Err(DecodeError::value("acl id", id.on_disk(), "an id that did not come before")),
        }
    }

    fn read_znodes(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        while self.part == Part::Znodes && !reader.is_empty() {
            let path = read_path(reader)?;
            match path == path::ROOT {
                true => self.part = Part::End,
                false => self.read_znode(path, reader)?,
            }
        }
        Ok(())
    }

    fn read_znode(&mut self, path: &str, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let data = reader.buffer("znode.data")?;
        let acl = AclId::from_disk(reader.long("znode.acl")?)?;
        let stat = StatPersisted::decode(reader)?;
        let (parent, name) = match path {
            "" if self.tree.slab.len() == 0 => (NONE, ""),
            _ => self.place(path)?,
        };
        let full = if path.is_empty() { path::ROOT } else { path };
        let position = self.tree.attach(parent, name, data, None, stat, full);
        if !self.tree.acls.add_use(acl) {
            return Err(DecodeError::value("znode.acl", acl.on_disk(), "an id of the snapshot's ACL table"));
        }
        self.tree.slab[position].acl = acl;
        self.ancestors.push(position, path);
        Ok(())
    }

    /// The parent of a new znode, which must be there, and its name, which must be new.
    fn place<'a>(&mut self, path: &'a str) -> Result<(Position, &'a str), DecodeError> {
        let misplaced = |expected| DecodeError::value("znode.path", path, expected);
        let (parent_path, name) = path.rsplit_once('/').ok_or_else(|| misplaced("an absolute path"))?;
        if name.is_empty() || self.tree.slab.len() == 0 {
            return Err(misplaced("a path with a name, after the root"));
        }
        let parent = self
            .ancestors
            .find(parent_path)
            .or_else(|| self.tree.find(if parent_path.is_empty() { path::ROOT } else { parent_path }))
            .ok_or_else(|| misplaced("below a znode that came before"))?;
        if self.tree.child(parent, name).is_some() {
            return Err(misplaced("a path that did not come before"));
        }
        Ok((parent, name))
    }
}

/// The znode read last and those above it: in pre-order the next one's parent is among them.
struct Ancestors {
    previous: String,
    /// With the length of their paths.
    znodes: Vec<(Position, usize)>,
}

impl Ancestors {
    fn find(&mut self, path: &str) -> Option<Position> {
        while let Some((position, path_bytes)) = self.znodes.last() {
            if self.previous.get(..*path_bytes) == Some(path) {
                return Some(*position);
            }
            self.znodes.pop();
        }
        None
    }

    fn push(&mut self, position: Position, path: &str) {
        self.znodes.push((position, path.len()));
        self.previous.clear();
        self.previous.push_str(path);
    }
}

/// How many znodes follow, by their lengths alone; what is found wrong is found again.
fn count_znodes(bytes: &[u8]) -> usize {
    const ACL_AND_STAT: usize = 68;
    let mut reader = Reader::new(bytes);
    let skip = || {
        let path = reader.buffer("znode.path").ok()??;
        reader.buffer("znode.data").ok()?;
        reader.take("znode.stat", ACL_AND_STAT).ok()?;
        (path != path::ROOT.as_bytes()).then_some(())
    };
    std::iter::from_fn(skip).count()
}

fn read_path<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let bytes = reader.buffer("znode.path")?.unwrap_or_default();
    std::str::from_utf8(bytes).map_err(|error| DecodeError::value("znode.path", error, "UTF-8"))
}
