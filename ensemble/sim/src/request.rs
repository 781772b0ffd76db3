//! What simulated clients ask for, and its bytes.

use ensemble_proto::client::{
    self, AclEntry, CheckRequest, CreateFlags, CreateRequest, DeleteRequest, MultiOp, MultiRequest, OpCode,
    PathRequest, ReadRequest, SetDataRequest, SetWatches,
};
use ensemble_proto::reconfig::ReconfigRequest;
use ensemble_proto::{Acl, Zxid};

/// A request of a client. Every write has data that no other has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// create, or create2 when `with_stat`.
    Create {
        /// Path, or its beginning when sequential.
        path: String,
        /// Data.
        data: Vec<u8>,
        /// Goes with its session.
        ephemeral: bool,
        /// Ten digits are appended.
        sequential: bool,
        /// Answers the stat too.
        with_stat: bool,
    },
    /// delete with the expected version, or -1.
    Delete {
        /// Path.
        path: String,
        /// Expected version.
        version: i32,
    },
    /// setData with the expected version, or -1.
    SetData {
        /// Path.
        path: String,
        /// Data.
        data: Vec<u8>,
        /// Expected version.
        version: i32,
    },
    /// check, inside a multi only.
    Check {
        /// Path.
        path: String,
        /// Expected version.
        version: i32,
    },
    /// All or none.
    Multi(Vec<Request>),
    /// exists.
    Exists {
        /// Path.
        path: String,
        /// Leaves a watch.
        watch: bool,
    },
    /// getData.
    GetData {
        /// Path.
        path: String,
        /// Leaves a watch.
        watch: bool,
    },
    /// getChildren2.
    GetChildren {
        /// Path.
        path: String,
        /// Leaves a watch.
        watch: bool,
    },
    /// sync.
    Sync,
    /// setWatches, first on a new connection.
    SetWatches {
        /// The client's last zxid.
        since: Zxid,
        /// Data watches.
        data: Vec<String>,
        /// Watches for a creation.
        exist: Vec<String>,
        /// Child watches.
        child: Vec<String>,
    },
    /// closeSession.
    Close,
    /// reconfig, from any version.
    Reconfig {
        /// Who joins or changes.
        joining: Option<String>,
        /// Who leaves.
        leaving: Option<String>,
        /// The whole ensemble.
        members: Option<String>,
    },
}

impl Request {
    /// Whether it becomes a transaction.
    pub fn is_write(&self) -> bool {
        match self {
            Request::Create { .. }
            | Request::Delete { .. }
            | Request::SetData { .. }
            | Request::Check { .. }
            | Request::Multi(_)
            | Request::Reconfig { .. }
            | Request::Close => true,
            Request::Exists { .. }
            | Request::GetData { .. }
            | Request::GetChildren { .. }
            | Request::Sync
            | Request::SetWatches { .. } => false,
        }
    }

    /// Appends the framed request.
    pub fn encode(&self, xid: i32, out: &mut Vec<u8>) {
        client::request(out, xid, self.op(), |out| match self {
            Request::Multi(parts) => {
                MultiRequest { ops: parts.iter().filter_map(Request::part).collect() }.encode(out);
            }
            Request::Create { .. } | Request::Delete { .. } | Request::SetData { .. } | Request::Check { .. } => {
                match self.part() {
                    Some(MultiOp::Create { request, .. }) => request.encode(out),
                    Some(MultiOp::Delete(request)) => request.encode(out),
                    Some(MultiOp::SetData(request)) => request.encode(out),
                    _ => unreachable!("a check is sent inside a multi only"),
                }
            }
            Request::Exists { path, watch }
            | Request::GetData { path, watch }
            | Request::GetChildren { path, watch } => {
                ReadRequest { path: path.into(), watch: *watch }.encode(out);
            }
            Request::Sync => PathRequest { path: "/".into() }.encode(out),
            Request::SetWatches { since, data, exist, child } => {
                let paths = |paths: &'_ [String]| paths.iter().map(|path| path.clone().into()).collect();
                let (data, exist, child) = (paths(data), paths(exist), paths(child));
                SetWatches { relative_zxid: *since, data, exist, child }.encode(out);
            }
            Request::Reconfig { joining, leaving, members } => {
                let (joining, leaving, members) = (joining.clone(), leaving.clone(), members.clone());
                ReconfigRequest { joining, leaving, members, from_version: -1 }.encode(out);
            }
            Request::Close => {}
        });
    }

    fn op(&self) -> OpCode {
        match self {
            Request::Create { with_stat: false, .. } => OpCode::Create,
            Request::Create { with_stat: true, .. } => OpCode::Create2,
            Request::Delete { .. } => OpCode::Delete,
            Request::SetData { .. } => OpCode::SetData,
            Request::Check { .. } => OpCode::Check,
            Request::Multi(_) => OpCode::Multi,
            Request::Exists { .. } => OpCode::Exists,
            Request::GetData { .. } => OpCode::GetData,
            Request::GetChildren { .. } => OpCode::GetChildren2,
            Request::Sync => OpCode::Sync,
            Request::SetWatches { .. } => OpCode::SetWatches,
            Request::Reconfig { .. } => OpCode::Reconfig,
            Request::Close => OpCode::CloseSession,
        }
    }

    /// The request as a part of a multi; `None` for what cannot be one.
    fn part(&self) -> Option<MultiOp<'_>> {
        Some(match self {
            Request::Create { path, data, ephemeral, sequential, .. } => {
                let flags = i32::from(*ephemeral) | i32::from(*sequential) << 1;
                debug_assert!(CreateFlags::from_flags(flags).is_some());
                let acl = Some(vec![AclEntry::world(Acl::ALL)]);
                let request = CreateRequest { path: path.into(), data: Some(data), acl, flags };
                MultiOp::Create { op: self.op(), request }
            }
            Request::Delete { path, version } => {
                MultiOp::Delete(DeleteRequest { path: path.into(), version: *version })
            }
            Request::SetData { path, data, version } => {
                MultiOp::SetData(SetDataRequest { path: path.into(), data: Some(data), version: *version })
            }
            Request::Check { path, version } => MultiOp::Check(CheckRequest { path: path.into(), version: *version }),
            _ => return None,
        })
    }
}
