//! The records that client port, transaction log and snapshot share (`zookeeper.jute`, module `data`).

use crate::jute::{Reader, Writer};
use crate::{DecodeError, ErrorCode, SessionId, Zxid};
use std::sync::Arc;

/// One entry of an access control list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Acl {
    /// Permission bits, see [`Acl::READ`] and its siblings; stored and returned as given, unknown bits included.
    pub perms: i32,
    /// Name of the scheme that decides who `id` is: `world`, `digest`, `ip`, ...
    pub scheme: String,
    /// Whom the entry is for, in the scheme's own notation.
    pub id: String,
}

/// An ACL list that many znodes share.
pub type AclList = Arc<[Acl]>;

impl Acl {
    /// Read the data, the children's names, be told of changes.
    pub const READ: i32 = 1;
    /// Replace the data.
    pub const WRITE: i32 = 2;
    /// Create children.
    pub const CREATE: i32 = 4;
    /// Delete children.
    pub const DELETE: i32 = 8;
    /// Read and replace the ACL list.
    pub const ADMIN: i32 = 16;
    /// Everything.
    pub const ALL: i32 = 31;

    /// The fewest bytes that an entry takes: bits, two empty strings.
    pub const BYTES_MIN: usize = 12;

    /// `world:anyone` with the given permission bits.
    pub fn world(perms: i32) -> Acl {
        Acl { perms, scheme: "world".to_string(), id: "anyone".to_string() }
    }

    /// Appends the entry.
    pub fn encode(&self, out: &mut impl Writer) {
        out.int(self.perms);
        out.string(&self.scheme);
        out.string(&self.id);
    }

    /// Reads an entry of a transaction or snapshot; a null scheme or id reads as the empty string.
    ///
    /// # Errors
    /// When the bytes end early or a length cannot be.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Acl, DecodeError> {
        Ok(Acl { perms: reader.int("acl.perms")?, scheme: reader.string("acl.scheme")?, id: reader.string("acl.id")? })
    }
}

/// Appends an ACL list; `None` is jute's null.
pub fn encode_acl_list(list: Option<&[Acl]>, out: &mut impl Writer) {
    let Some(list) = list else { return out.int(-1) };
    out.count(list.len());
    for acl in list {
        acl.encode(out);
    }
}

/// Reads an ACL list of a transaction or snapshot; `None` is jute's null.
///
/// # Errors
/// When the bytes end early or a length cannot be.
pub fn decode_acl_list(reader: &mut Reader<'_>) -> Result<Option<AclList>, DecodeError> {
    Ok(reader.vector("acl", Acl::BYTES_MIN, Acl::decode)?.map(AclList::from))
}

/// What a client sees of a znode beside its data (68 bytes).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// Transaction that created the znode.
    pub czxid: Zxid,
    /// Transaction that last replaced its data.
    pub mzxid: Zxid,
    /// Milliseconds since the Unix epoch, the leader's clock, at `czxid`.
    pub ctime: i64,
    /// The same at `mzxid`.
    pub mtime: i64,
    /// Replacements of the data.
    pub version: i32,
    /// Creations and deletions of children.
    pub cversion: i32,
    /// Replacements of the ACL list.
    pub aversion: i32,
    /// The owner of an ephemeral znode; zero for any other, containers and TTL znodes included.
    pub ephemeral_owner: SessionId,
    /// Bytes of data.
    pub data_length: i32,
    /// Direct children.
    pub num_children: i32,
    /// Transaction that last created or deleted a child, or the creation.
    pub pzxid: Zxid,
}

impl Stat {
    /// Encoded size.
    pub const BYTES: usize = 68;

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.long(self.czxid.0);
        out.long(self.mzxid.0);
        out.long(self.ctime);
        out.long(self.mtime);
        out.int(self.version);
        out.int(self.cversion);
        out.int(self.aversion);
        out.long(self.ephemeral_owner.0);
        out.int(self.data_length);
        out.int(self.num_children);
        out.long(self.pzxid.0);
    }

    /// Reads the record.
    ///
    /// # Errors
    /// When the bytes end early.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Stat, DecodeError> {
        Ok(Stat {
            czxid: Zxid(reader.long("stat.czxid")?),
            mzxid: Zxid(reader.long("stat.mzxid")?),
            ctime: reader.long("stat.ctime")?,
            mtime: reader.long("stat.mtime")?,
            version: reader.int("stat.version")?,
            cversion: reader.int("stat.cversion")?,
            aversion: reader.int("stat.aversion")?,
            ephemeral_owner: SessionId(reader.long("stat.ephemeralOwner")?),
            data_length: reader.int("stat.dataLength")?,
            num_children: reader.int("stat.numChildren")?,
            pzxid: Zxid(reader.long("stat.pzxid")?),
        })
    }
}

/// What a znode is, read from the owner that its record stores (`EphemeralType.java`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZnodeKind {
    /// Stays until it is deleted.
    Persistent,
    /// Goes with its session.
    Ephemeral(SessionId),
    /// Goes when its last child has gone.
    Container,
    /// Goes when it has no child and its data was not replaced for so many milliseconds (1..=2^40-1).
    Ttl(i64),
}

impl ZnodeKind {
    const CONTAINER_OWNER: u64 = 0x8000_0000_0000_0000;
    const TTL_OWNER: u64 = 0xff00_0000_0000_0000;
    /// The longest time to live, in milliseconds: 34 years.
    pub const TTL_MS_MAX: i64 = Self::TTL_MASK as i64;
    const TTL_MASK: u64 = 0xff_ffff_ffff;

    /// The kind that a stored owner stands for.
    ///
    /// Differs from ZooKeeper: TTL owners are recognised whether or not `extendedTypesEnabled` is set; a ZooKeeper server
    /// without it takes them for sessions that have ended and deletes the znodes at its next start.
    pub fn of_owner(owner: i64) -> ZnodeKind {
        match owner as u64 {
            0 => ZnodeKind::Persistent,
            Self::CONTAINER_OWNER => ZnodeKind::Container,
            bits if bits & !Self::TTL_MASK == Self::TTL_OWNER => ZnodeKind::Ttl((bits & Self::TTL_MASK) as i64),
            _ => ZnodeKind::Ephemeral(SessionId(owner)),
        }
    }

    /// The owner that stands for the kind in a record.
    pub fn owner(self) -> i64 {
        match self {
            ZnodeKind::Persistent => 0,
            ZnodeKind::Ephemeral(session) => session.0,
            ZnodeKind::Container => Self::CONTAINER_OWNER as i64,
            ZnodeKind::Ttl(ttl_ms) => (Self::TTL_OWNER | (ttl_ms as u64 & Self::TTL_MASK)) as i64,
        }
    }
}

/// A znode's stat as snapshots hold it (60 bytes), and as the tree's digest covers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StatPersisted {
    /// See [`Stat::czxid`].
    pub czxid: Zxid,
    /// See [`Stat::mzxid`].
    pub mzxid: Zxid,
    /// See [`Stat::ctime`].
    pub ctime: i64,
    /// See [`Stat::mtime`].
    pub mtime: i64,
    /// See [`Stat::version`].
    pub version: i32,
    /// Creations of children; deletions do not count here. The next sequential child gets this number.
    pub cversion: i32,
    /// See [`Stat::aversion`].
    pub aversion: i32,
    /// See [`ZnodeKind::of_owner`].
    pub ephemeral_owner: i64,
    /// See [`Stat::pzxid`].
    pub pzxid: Zxid,
}

impl StatPersisted {
    /// Encoded size.
    pub const BYTES: usize = 60;

    /// The stat of a znode that `zxid` creates at `time_ms`.
    pub fn created(zxid: Zxid, time_ms: i64, kind: ZnodeKind) -> StatPersisted {
        StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time_ms,
            mtime: time_ms,
            ephemeral_owner: kind.owner(),
            ..StatPersisted::default()
        }
    }

    /// What the znode is.
    pub fn kind(&self) -> ZnodeKind {
        ZnodeKind::of_owner(self.ephemeral_owner)
    }

    /// What a client sees (`DataNode.copyStat`): the visible cversion counts creations and deletions.
    pub fn visible(&self, data_length: usize, num_children: i32) -> Stat {
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(num_children),
            aversion: self.aversion,
            ephemeral_owner: match self.kind() {
                ZnodeKind::Ephemeral(session) => session,
                ZnodeKind::Persistent | ZnodeKind::Container | ZnodeKind::Ttl(_) => SessionId(0),
            },
            data_length: data_length as i32,
            num_children,
            pzxid: self.pzxid,
        }
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.long(self.czxid.0);
        out.long(self.mzxid.0);
        out.long(self.ctime);
        out.long(self.mtime);
        out.int(self.version);
        out.int(self.cversion);
        out.int(self.aversion);
        out.long(self.ephemeral_owner);
        out.long(self.pzxid.0);
    }

    /// Reads the record.
    ///
    /// # Errors
    /// When the bytes end early.
    pub fn decode(reader: &mut Reader<'_>) -> Result<StatPersisted, DecodeError> {
        Ok(StatPersisted {
            czxid: Zxid(reader.long("stat.czxid")?),
            mzxid: Zxid(reader.long("stat.mzxid")?),
            ctime: reader.long("stat.ctime")?,
            mtime: reader.long("stat.mtime")?,
            version: reader.int("stat.version")?,
            cversion: reader.int("stat.cversion")?,
            aversion: reader.int("stat.aversion")?,
            ephemeral_owner: reader.long("stat.ephemeralOwner")?,
            pzxid: Zxid(reader.long("stat.pzxid")?),
        })
    }
}

/// Compares an expected version with the current one: -1 expects any (`PrepRequestProcessor.checkAndIncVersion`).
///
/// # Errors
/// `BAD_VERSION` when they differ; else the version that follows, wrapping.
pub fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current { Err(ErrorCode::BAD_VERSION) } else { Ok(current.wrapping_add(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_tells_the_kind_and_back() {
        let check = |owner: u64, kind: ZnodeKind| {
            assert_eq!(ZnodeKind::of_owner(owner as i64), kind);
            assert_eq!(kind.owner(), owner as i64);
        };
        check(0, ZnodeKind::Persistent);
        check(0x8000_0000_0000_0000, ZnodeKind::Container);
        check(0xff00_0000_0036_ee80, ZnodeKind::Ttl(3_600_000));
        check(0xff00_00ff_ffff_ffff, ZnodeKind::Ttl((1 << 40) - 1));
        check(0x0100_0000_0000_0001, ZnodeKind::Ephemeral(SessionId(0x0100_0000_0000_0001)));
        check(0xfe12_3400_0000_0001, ZnodeKind::Ephemeral(SessionId(0xfe12_3400_0000_0001_u64 as i64)));
    }

    #[test]
    fn the_visible_cversion_counts_deletions_too() {
        let stat = StatPersisted { cversion: 5, ..StatPersisted::default() };
        assert_eq!(stat.visible(0, 2).cversion, 8);
        assert_eq!(StatPersisted::default().visible(0, 2).cversion, -2, "a fresh /zookeeper");
    }

    #[test]
    fn versions_wrap_and_minus_one_expects_any() {
        assert_eq!(next_version(3, 3), Ok(4));
        assert_eq!(next_version(3, -1), Ok(4));
        assert_eq!(next_version(3, 2), Err(ErrorCode::BAD_VERSION));
        assert_eq!(next_version(i32::MAX, -1), Ok(i32::MIN));
        assert_eq!(next_version(-1, -1), Ok(0));
    }
}
