//! The records that follow a request's header, a type an argument list.

use super::{nullable_text, text};
use crate::jute::{Reader, Writer};
use crate::{Acl, DecodeError, Zxid};
use std::borrow::Cow;

/// A znode to create: opcodes create and create2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateRequest<'a> {
    /// Its path, or the prefix of it when sequential.
    pub path: Cow<'a, str>,
    /// Its data; null is kept apart from empty.
    pub data: Option<&'a [u8]>,
    /// Who may do what; null is refused later.
    pub acl: Option<Vec<AclEntry<'a>>>,
    /// See [`CreateFlags`].
    pub flags: i32,
}

impl<'a> CreateRequest<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// When the bytes end early or a length cannot be. The same for every record below.
    pub fn decode(reader: &mut Reader<'a>) -> Result<CreateRequest<'a>, DecodeError> {
        Ok(CreateRequest {
            path: text(reader, "create.path")?,
            data: reader.buffer("create.data")?,
            acl: reader.vector("create.acl", Acl::BYTES_MIN, AclEntry::decode)?,
            flags: reader.int("create.flags")?,
        })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.string(&self.path);
        out.buffer(self.data);
        AclEntry::encode_list(self.acl.as_deref(), out);
        out.int(self.flags);
    }
}

/// A znode with a time to live to create: opcode createTTL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTtlRequest<'a> {
    /// As of any other; the flags are those of a TTL znode.
    pub create: CreateRequest<'a>,
    /// Milliseconds after its last change that it lives without children.
    pub ttl_ms: i64,
}

impl<'a> CreateTtlRequest<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// As [`CreateRequest::decode`].
    pub fn decode(reader: &mut Reader<'a>) -> Result<CreateTtlRequest<'a>, DecodeError> {
        Ok(CreateTtlRequest { create: CreateRequest::decode(reader)?, ttl_ms: reader.long("createTTL.ttl")? })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        self.create.encode(out);
        out.long(self.ttl_ms);
    }
}

/// What `flags` of a create stand for (`CreateMode.java`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CreateFlags {
    /// Flags 0 to 3: bit 0 is ephemeral, bit 1 is sequential.
    Plain {
        /// Goes with its session.
        ephemeral: bool,
        /// Ten digits are appended to the path.
        sequential: bool,
    },
    /// Flag 4.
    Container,
    /// Flags 5 and 6: with a time to live.
    Ttl {
        /// Ten digits are appended to the path.
        sequential: bool,
    },
}

impl CreateFlags {
    /// The mode that `flags` stand for, or `None` for flags that ZooKeeper does not know.
    pub fn from_flags(flags: i32) -> Option<CreateFlags> {
        match flags {
            0..=3 => Some(CreateFlags::Plain { ephemeral: flags & 1 != 0, sequential: flags & 2 != 0 }),
            4 => Some(CreateFlags::Container),
            5 | 6 => Some(CreateFlags::Ttl { sequential: flags == 6 }),
            _ => None,
        }
    }
}

/// An entry of an ACL list as a client wrote it: not valid yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclEntry<'a> {
    /// Permission bits.
    pub perms: i32,
    /// The scheme; null is refused later.
    pub scheme: Option<Cow<'a, str>>,
    /// The id; null is allowed for scheme `auth` alone.
    pub id: Option<Cow<'a, str>>,
}

impl<'a> AclEntry<'a> {
    /// `world:anyone` with the given permission bits.
    pub fn world(perms: i32) -> AclEntry<'a> {
        AclEntry { perms, scheme: Some(Cow::Borrowed("world")), id: Some(Cow::Borrowed("anyone")) }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<AclEntry<'a>, DecodeError> {
        Ok(AclEntry {
            perms: reader.int("acl.perms")?,
            scheme: nullable_text(reader, "acl.scheme")?,
            id: nullable_text(reader, "acl.id")?,
        })
    }

    fn encode_list(list: Option<&[AclEntry<'_>]>, out: &mut impl Writer) {
        let Some(list) = list else { return out.int(-1) };
        out.count(list.len());
        for entry in list {
            out.int(entry.perms);
            out.buffer(entry.scheme.as_deref().map(str::as_bytes));
            out.buffer(entry.id.as_deref().map(str::as_bytes));
        }
    }
}

/// A znode to delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteRequest<'a> {
    /// Its path.
    pub path: Cow<'a, str>,
    /// Expected version, or -1 for any.
    pub version: i32,
}

impl<'a> DeleteRequest<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// As [`CreateRequest::decode`].
    pub fn decode(reader: &mut Reader<'a>) -> Result<DeleteRequest<'a>, DecodeError> {
        Ok(DeleteRequest { path: text(reader, "delete.path")?, version: reader.int("delete.version")? })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.string(&self.path);
        out.int(self.version);
    }
}

/// Data to replace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetDataRequest<'a> {
    /// The znode's path.
    pub path: Cow<'a, str>,
    /// The new data; null is kept apart from empty.
    pub data: Option<&'a [u8]>,
    /// Expected version, or -1 for any.
    pub version: i32,
}

impl<'a> SetDataRequest<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// As [`CreateRequest::decode`].
    pub fn decode(reader: &mut Reader<'a>) -> Result<SetDataRequest<'a>, DecodeError> {
        Ok(SetDataRequest {
            path: text(reader, "setData.path")?,
            data: reader.buffer("setData.data")?,
            version: reader.int("setData.version")?,
        })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.string(&self.path);
        out.buffer(self.data);
        out.int(self.version);
    }
}

/// An ACL list to replace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetAclRequest<'a> {
    /// The znode's path.
    pub path: Cow<'a, str>,
    /// The new list; null is refused later.
    pub acl: Option<Vec<AclEntry<'a>>>,
    /// Expected aversion, or -1 for any.
    pub version: i32,
}

impl<'a> SetAclRequest<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// As [`CreateRequest::decode`].
    pub fn decode(reader: &mut Reader<'a>) -> Result<SetAclRequest<'a>, DecodeError> {
        Ok(SetAclRequest {
            path: text(reader, "setACL.path")?,
            acl: reader.vector("setACL.acl", Acl::BYTES_MIN, AclEntry::decode)?,
            version: reader.int("setACL.version")?,
        })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.string(&self.path);
        AclEntry::encode_list(self.acl.as_deref(), out);
        out.int(self.version);
    }
}

/// A version to compare, inside a multi.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckRequest<'a> {
    /// The znode's path.
    pub path: Cow<'a, str>,
    /// Expected version, or -1 for any: then only existence counts.
    pub version: i32,
}

impl<'a> CheckRequest<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// As [`CreateRequest::decode`].
    pub fn decode(reader: &mut Reader<'a>) -> Result<CheckRequest<'a>, DecodeError> {
        Ok(CheckRequest { path: text(reader, "check.path")?, version: reader.int("check.version")? })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.string(&self.path);
        out.int(self.version);
    }
}

/// A read that may leave a watch: exists, getData, getChildren, getChildren2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadRequest<'a> {
    /// The znode's path.
    pub path: Cow<'a, str>,
    /// Whether to leave a one-shot watch.
    pub watch: bool,
}

impl<'a> ReadRequest<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// As [`CreateRequest::decode`].
    pub fn decode(reader: &mut Reader<'a>) -> Result<ReadRequest<'a>, DecodeError> {
        Ok(ReadRequest { path: text(reader, "path")?, watch: reader.boolean("watch")? })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.string(&self.path);
        out.boolean(self.watch);
    }
}

/// A request with a path and nothing else: getACL, sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathRequest<'a> {
    /// The znode's path.
    pub path: Cow<'a, str>,
}

impl<'a> PathRequest<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// As [`CreateRequest::decode`].
    pub fn decode(reader: &mut Reader<'a>) -> Result<PathRequest<'a>, DecodeError> {
        Ok(PathRequest { path: text(reader, "path")? })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.string(&self.path);
    }
}

/// One-shot watches that a client had on another connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetWatches<'a> {
    /// The last transaction that the client has seen: what changed later is reported at once.
    pub relative_zxid: Zxid,
    /// Paths watched by getData, or by exists while they existed.
    pub data: Vec<Cow<'a, str>>,
    /// Paths watched by exists while they did not exist.
    pub exist: Vec<Cow<'a, str>>,
    /// Paths watched by getChildren.
    pub child: Vec<Cow<'a, str>>,
}

impl<'a> SetWatches<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// As [`CreateRequest::decode`]; a null list is an error too.
    pub fn decode(reader: &mut Reader<'a>) -> Result<SetWatches<'a>, DecodeError> {
        Ok(SetWatches {
            relative_zxid: Zxid(reader.long("setWatches.relativeZxid")?),
            data: Self::paths(reader, "setWatches.dataWatches")?,
            exist: Self::paths(reader, "setWatches.existWatches")?,
            child: Self::paths(reader, "setWatches.childWatches")?,
        })
    }

    fn paths(reader: &mut Reader<'a>, field: &'static str) -> Result<Vec<Cow<'a, str>>, DecodeError> {
        const PATH_BYTES_MIN: usize = 4;
        let paths = reader.vector(field, PATH_BYTES_MIN, |reader| text(reader, field))?;
        paths.ok_or_else(|| DecodeError::value(field, "null", "a list"))
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.long(self.relative_zxid.0);
        for paths in [&self.data, &self.exist, &self.child] {
            out.count(paths.len());
            for path in paths {
                out.string(path);
            }
        }
    }
}

/// Watches of every mode that a client had on another connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetWatches2<'a> {
    /// What setWatches holds too.
    pub one_shot: SetWatches<'a>,
    /// Paths with a persistent watch.
    pub persistent: Vec<Cow<'a, str>>,
    /// Paths with a persistent recursive watch.
    pub recursive: Vec<Cow<'a, str>>,
}

impl<'a> SetWatches2<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// As [`SetWatches::decode`].
    pub fn decode(reader: &mut Reader<'a>) -> Result<SetWatches2<'a>, DecodeError> {
        Ok(SetWatches2 {
            one_shot: SetWatches::decode(reader)?,
            persistent: SetWatches::paths(reader, "setWatches2.persistentWatches")?,
            recursive: SetWatches::paths(reader, "setWatches2.persistentRecursiveWatches")?,
        })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        self.one_shot.encode(out);
        for paths in [&self.persistent, &self.recursive] {
            out.count(paths.len());
            for path in paths {
                out.string(path);
            }
        }
    }
}

/// A path and a number that says which watches on it: addWatch, checkWatches, removeWatches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchRequest<'a> {
    /// The path.
    pub path: Cow<'a, str>,
    /// An [`AddWatchMode`], or a [`WatcherType`].
    pub kind: i32,
}

impl<'a> WatchRequest<'a> {
    /// Reads the record.
    ///
    /// # Errors
    /// As [`CreateRequest::decode`].
    pub fn decode(reader: &mut Reader<'a>) -> Result<WatchRequest<'a>, DecodeError> {
        Ok(WatchRequest { path: text(reader, "watch.path")?, kind: reader.int("watch.type")? })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.string(&self.path);
        out.int(self.kind);
    }
}

/// What addWatch adds (`AddWatchMode.java`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddWatchMode {
    /// 0: what data and child watches tell, again and again.
    Persistent,
    /// 1: creations, deletions and changes of the znode and all below it.
    Recursive,
}

impl AddWatchMode {
    /// The mode of a number, if it is one.
    pub fn from_number(number: i32) -> Option<AddWatchMode> {
        match number {
            0 => Some(AddWatchMode::Persistent),
            1 => Some(AddWatchMode::Recursive),
            _ => None,
        }
    }
}

/// Which watches checkWatches and removeWatches mean (`Watcher.WatcherType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatcherType {
    /// 1: one-shot, of getChildren.
    Children,
    /// 2: one-shot, of getData and exists.
    Data,
    /// 3: every one.
    Any,
    /// 4.
    Persistent,
    /// 5.
    Recursive,
}

impl WatcherType {
    /// The type of a number, if it is one.
    pub fn from_number(number: i32) -> Option<WatcherType> {
        match number {
            1 => Some(WatcherType::Children),
            2 => Some(WatcherType::Data),
            3 => Some(WatcherType::Any),
            4 => Some(WatcherType::Persistent),
            5 => Some(WatcherType::Recursive),
            _ => None,
        }
    }
}

/// An identity to add to the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthRequest<'a> {
    /// How `auth` is to be understood.
    pub scheme: Cow<'a, str>,
    /// The credential, `user:password` for scheme `digest`; null reads as empty.
    pub auth: &'a [u8],
}

impl<'a> AuthRequest<'a> {
    /// Reads the record; the type that begins it is ignored, as in Java.
    ///
    /// # Errors
    /// As [`CreateRequest::decode`].
    pub fn decode(reader: &mut Reader<'a>) -> Result<AuthRequest<'a>, DecodeError> {
        reader.int("auth.type")?;
        Ok(AuthRequest { scheme: text(reader, "auth.scheme")?, auth: reader.buffer("auth.auth")?.unwrap_or_default() })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut impl Writer) {
        out.int(0);
        out.string(&self.scheme);
        out.buffer(Some(self.auth));
    }
}
