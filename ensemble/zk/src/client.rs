//! The operations of the client port, a method each (`ZooKeeper.java`). Paths are the user's: the chroot is put before them here.

use crate::connect_string::check_path;
use crate::error::{Cause, CommandError};
use crate::session::{Leaves, Session, receive};
use crate::watches::Kind;
use ensemble_proto::client::{
    AclEntry, AddWatchMode, CreateRequest, CreateTtlRequest, DeleteRequest, OpCode, PathRequest, ReadRequest,
    SetAclRequest, SetDataRequest, WatchRequest, WatcherType,
};
use ensemble_proto::jute::Reader;
use ensemble_proto::reconfig::ReconfigRequest;
use ensemble_proto::{Acl, DecodeError, ErrorCode, Stat, decode_acl_list};
use std::collections::VecDeque;
use std::sync::mpsc::Receiver;

/// Where the ensemble's configuration is; below no chroot.
pub const CONFIG: &str = "/zookeeper/config";

/// Which kind of znode to create.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Stays, or goes with its session.
    Plain {
        /// Goes with its session.
        ephemeral: bool,
        /// Gets digits.
        sequential: bool,
    },
    /// Goes when its last child has gone.
    Container,
    /// Goes when it was not changed for so long and has no children.
    Ttl {
        /// Milliseconds.
        ttl_ms: i64,
        /// Gets digits.
        sequential: bool,
    },
}

impl Mode {
    /// An ordinary znode.
    pub const PERSISTENT: Mode = Mode::Plain { ephemeral: false, sequential: false };

    fn flags(self) -> i32 {
        match self {
            Mode::Plain { ephemeral, sequential } => i32::from(ephemeral) | i32::from(sequential) << 1,
            Mode::Container => 4,
            Mode::Ttl { sequential: false, .. } => 5,
            Mode::Ttl { sequential: true, .. } => 6,
        }
    }
}

/// A request that is under way.
pub struct Pending {
    reply: Receiver<Result<(ensemble_proto::client::ReplyHeader, Vec<u8>), Cause>>,
    path: String,
}

impl Pending {
    /// Waits for its reply.
    ///
    /// # Errors
    /// As the operation.
    pub fn wait(self) -> Result<(), CommandError> {
        receive(&self.reply).map(drop).map_err(|cause| CommandError::Operation { cause, path: self.path })
    }
}

/// The operations on a session.
pub struct Client {
    /// The session.
    pub session: Session,
}

type Answer<T> = Result<T, CommandError>;

impl Client {
    /// Operations on a session.
    pub fn new(session: Session) -> Client {
        Client { session }
    }

    fn on_server(&self, path: &str) -> Answer<String> {
        match path {
            CONFIG => Ok(path.to_owned()),
            path => self.session.to().on_server(path).map_err(CommandError::Malformed),
        }
    }

    fn call<T>(
        &self,
        op: OpCode,
        path: &str,
        leaves: Option<Leaves>,
        record: impl FnOnce(&mut Vec<u8>),
        decode: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
    ) -> Answer<T> {
        let failed = |cause| CommandError::Operation { cause, path: path.to_owned() };
        let body = self.session.call(op, leaves, record).map_err(failed)?;
        decode(&mut Reader::new(&body)).map_err(|error| failed(Cause::Protocol(error.to_string())))
    }

    fn read<T>(
        &self,
        op: OpCode,
        path: &str,
        watch: Option<Kind>,
        decode: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
    ) -> Answer<T> {
        let server_path = self.on_server(path)?;
        let leaves = watch.map(|kind| Leaves { kind, path: server_path.clone() });
        let request = ReadRequest { path: server_path.into(), watch: watch.is_some() };
        self.call(op, path, leaves, |out| request.encode(out), decode)
    }

    /// Stat of a znode; a watch waits for its creation too.
    ///
    /// # Errors
    /// [`CommandError`], as of all below.
    pub fn exists(&self, path: &str, watch: bool) -> Answer<Stat> {
        self.read(OpCode::Exists, path, watch.then_some(Kind::Exist), Stat::decode)
    }

    /// Data, null kept apart from empty, and stat.
    pub fn get(&self, path: &str, watch: bool) -> Answer<(Option<Vec<u8>>, Stat)> {
        self.read(OpCode::GetData, path, watch.then_some(Kind::Data), |reader| {
            let data = reader.buffer("data")?.map(<[u8]>::to_vec);
            Ok((data, Stat::decode(reader)?))
        })
    }

    /// Names of the children, sorted, and stat.
    pub fn children(&self, path: &str, watch: bool) -> Answer<(Vec<String>, Stat)> {
        self.read(OpCode::GetChildren2, path, watch.then_some(Kind::Child), |reader| {
            let mut names = strings(reader)?;
            names.sort_unstable();
            Ok((names, Stat::decode(reader)?))
        })
    }

    /// Creates a znode; its path, with the digits of a sequential one.
    pub fn create(&self, path: &str, data: Option<&[u8]>, acl: &[Acl], mode: Mode) -> Answer<String> {
        let sequential = matches!(mode, Mode::Plain { sequential: true, .. } | Mode::Ttl { sequential: true, .. });
        // A sequential one may end in a slash: the digits follow.
        let server_path = match sequential {
            true => {
                check_path(&format!("{path}1")).map_err(CommandError::Malformed)?;
                format!("{}{path}", self.session.to().chroot)
            }
            false => self.on_server(path)?,
        };
        let create = CreateRequest { path: server_path.into(), data, acl: Some(entries(acl)), flags: mode.flags() };
        let path_of = |reader: &mut Reader<'_>| reader.string("path");
        let created = match mode {
            Mode::Plain { .. } => self.call(OpCode::Create, path, None, |out| create.encode(out), path_of)?,
            Mode::Container => self.call(OpCode::CreateContainer, path, None, |out| create.encode(out), path_of)?,
            Mode::Ttl { ttl_ms, .. } => {
                let create = CreateTtlRequest { create, ttl_ms };
                self.call(OpCode::CreateTtl, path, None, |out| create.encode(out), path_of)?
            }
        };
        Ok(self.session.to().from_server(&created).to_owned())
    }

    /// Begins to create an ordinary znode that everybody may do everything with.
    pub fn begin_create(&self, path: &str, data: &[u8]) -> Answer<Pending> {
        let acl = Some(vec![AclEntry::world(Acl::ALL)]);
        let create = CreateRequest { path: self.on_server(path)?.into(), data: Some(data), acl, flags: 0 };
        self.begin(OpCode::Create, path, |out| create.encode(out))
    }

    /// Begins to read data.
    pub fn begin_get(&self, path: &str) -> Answer<Pending> {
        let read = ReadRequest { path: self.on_server(path)?.into(), watch: false };
        self.begin(OpCode::GetData, path, |out| read.encode(out))
    }

    /// Begins to replace data.
    pub fn begin_set(&self, path: &str, data: &[u8]) -> Answer<Pending> {
        let set = SetDataRequest { path: self.on_server(path)?.into(), data: Some(data), version: -1 };
        self.begin(OpCode::SetData, path, |out| set.encode(out))
    }

    /// Begins to delete a znode, whatever its version.
    pub fn begin_delete(&self, path: &str) -> Answer<Pending> {
        let delete = DeleteRequest { path: self.on_server(path)?.into(), version: -1 };
        self.begin(OpCode::Delete, path, |out| delete.encode(out))
    }

    fn begin(&self, op: OpCode, path: &str, record: impl FnOnce(&mut Vec<u8>)) -> Answer<Pending> {
        let failed = |cause| CommandError::Operation { cause, path: path.to_owned() };
        Ok(Pending { reply: self.session.send(op, None, record).map_err(failed)?, path: path.to_owned() })
    }

    /// Replaces data.
    pub fn set(&self, path: &str, data: Option<&[u8]>, version: i32) -> Answer<Stat> {
        let set = SetDataRequest { path: self.on_server(path)?.into(), data, version };
        self.call(OpCode::SetData, path, None, |out| set.encode(out), Stat::decode)
    }

    /// Deletes a znode.
    pub fn delete(&self, path: &str, version: i32) -> Answer<()> {
        let delete = DeleteRequest { path: self.on_server(path)?.into(), version };
        self.call(OpCode::Delete, path, None, |out| delete.encode(out), nothing)
    }

    /// ACL list and stat.
    pub fn acl(&self, path: &str) -> Answer<(Vec<Acl>, Stat)> {
        let request = PathRequest { path: self.on_server(path)?.into() };
        self.call(
            OpCode::GetAcl,
            path,
            None,
            |out| request.encode(out),
            |reader| {
                let list = decode_acl_list(reader)?.map(|list| list.to_vec()).unwrap_or_default();
                Ok((list, Stat::decode(reader)?))
            },
        )
    }

    /// Replaces the ACL list.
    pub fn set_acl(&self, path: &str, acl: &[Acl], version: i32) -> Answer<Stat> {
        let set = SetAclRequest { path: self.on_server(path)?.into(), acl: Some(entries(acl)), version };
        self.call(OpCode::SetAcl, path, None, |out| set.encode(out), Stat::decode)
    }

    /// Waits until the server has caught up with the leader.
    pub fn sync(&self, path: &str) -> Answer<()> {
        let request = PathRequest { path: self.on_server(path)?.into() };
        self.call(OpCode::Sync, path, None, |out| request.encode(out), nothing)
    }

    /// The session's ephemeral znodes below a path, sorted.
    pub fn ephemerals(&self, path: &str) -> Answer<Vec<String>> {
        let request = PathRequest { path: self.on_server(path)?.into() };
        let paths = self.call(OpCode::GetEphemerals, path, None, |out| request.encode(out), strings)?;
        let mut paths: Vec<_> = paths.iter().map(|path| self.session.to().from_server(path).to_owned()).collect();
        paths.sort_unstable();
        Ok(paths)
    }

    /// How many znodes are below a path.
    pub fn all_children_number(&self, path: &str) -> Answer<i32> {
        let request = PathRequest { path: self.on_server(path)?.into() };
        let number = |reader: &mut Reader<'_>| reader.int("totalNumber");
        self.call(OpCode::GetAllChildrenNumber, path, None, |out| request.encode(out), number)
    }

    /// The connection's identities: scheme and user.
    pub fn who_am_i(&self) -> Answer<Vec<(String, String)>> {
        const BYTES_MIN: usize = 8;
        self.call(
            OpCode::WhoAmI,
            "",
            None,
            |_| {},
            |reader| {
                let identity = |reader: &mut Reader<'_>| Ok((reader.string("authScheme")?, reader.string("user")?));
                Ok(reader.vector("clientInfo", BYTES_MIN, identity)?.unwrap_or_default())
            },
        )
    }

    /// Adds an identity.
    pub fn add_auth(&self, scheme: &str, credential: &str) -> Answer<()> {
        let failed = |cause| CommandError::Operation { cause, path: String::new() };
        self.session.authenticate(scheme, credential.as_bytes()).map_err(failed)
    }

    /// Adds a watch that stays.
    pub fn add_watch(&self, path: &str, mode: AddWatchMode) -> Answer<()> {
        let server_path = self.on_server(path)?;
        let (number, kind) = match mode {
            AddWatchMode::Persistent => (0, Kind::Persistent),
            AddWatchMode::Recursive => (1, Kind::Recursive),
        };
        let leaves = Some(Leaves { kind, path: server_path.clone() });
        let request = WatchRequest { path: server_path.into(), kind: number };
        self.call(OpCode::AddWatch, path, leaves, |out| request.encode(out), nothing)
    }

    /// Takes watches back. `local`: also when no server can be asked.
    pub fn remove_watches(&self, path: &str, which: WatcherType, local: bool) -> Answer<()> {
        let server_path = self.on_server(path)?;
        let number = match which {
            WatcherType::Children => 1,
            WatcherType::Data => 2,
            WatcherType::Any => 3,
            WatcherType::Persistent => 4,
            WatcherType::Recursive => 5,
        };
        let request = WatchRequest { path: server_path.clone().into(), kind: number };
        let removed = self.call(OpCode::RemoveWatches, path, None, |out| request.encode(out), nothing);
        match removed {
            Err(CommandError::Operation { cause: Cause::ConnectionLoss, .. }) if local => {}
            other => other?,
        }
        self.session.forget_watches(which, &server_path);
        Ok(())
    }

    /// Changes the ensemble; the new configuration and its stat.
    pub fn reconfigure(&self, request: &ReconfigRequest) -> Answer<(Vec<u8>, Stat)> {
        self.call(
            OpCode::Reconfig,
            "",
            None,
            |out| request.encode(out),
            |reader| {
                let text = reader.buffer("configuration")?.unwrap_or_default().to_vec();
                Ok((text, Stat::decode(reader)?))
            },
        )
    }

    /// The znodes at and below a path, level by level, siblings in order. One that goes meanwhile is left out.
    pub fn subtree(&self, path: &str) -> Answer<Vec<String>> {
        self.readable_subtree(path, |_| false)
    }

    /// The same. A znode whose children may not be read is left out where `is_left_out` says so, and fails it elsewhere.
    pub fn readable_subtree(&self, path: &str, mut is_left_out: impl FnMut(&str) -> bool) -> Answer<Vec<String>> {
        let mut found = Vec::new();
        let mut left = VecDeque::from([path.to_owned()]);
        while let Some(next) = left.pop_front() {
            match self.children(&next, false) {
                Ok((names, _)) => {
                    left.extend(names.iter().map(|name| join(&next, name)));
                    found.push(next);
                }
                Err(error) if error.code() == Some(ErrorCode::NO_NODE) && next != path => {}
                Err(error) if error.code() == Some(ErrorCode::NO_AUTH) && is_left_out(&next) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// The path of a child.
pub fn join(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

fn entries(acl: &[Acl]) -> Vec<AclEntry<'_>> {
    let entry = |acl: &'_ Acl| AclEntry {
        perms: acl.perms,
        scheme: Some(acl.scheme.clone().into()),
        id: Some(acl.id.clone().into()),
    };
    acl.iter().map(entry).collect()
}

fn strings(reader: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    const BYTES_MIN: usize = 4;
    Ok(reader.vector("strings", BYTES_MIN, |reader| reader.string("string"))?.unwrap_or_default())
}

fn nothing(_: &mut Reader<'_>) -> Result<(), DecodeError> {
    Ok(())
}
