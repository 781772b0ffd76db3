//! Every opcode of the client port (`ZooDefs.OpCode`), also the types of transactions.

use crate::DecodeError;

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $value:literal),* $(,)?) => {
        /// What a request asks for, or what a transaction is.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(i32)]
        pub enum OpCode {
            $($(#[$doc])* $name = $value,)*
        }

        impl OpCode {
            /// Every opcode, ascending by declaration.
            pub const ALL: &'static [OpCode] = &[$(OpCode::$name,)*];
        }

        impl TryFrom<i32> for OpCode {
            type Error = DecodeError;

            fn try_from(code: i32) -> Result<OpCode, DecodeError> {
                match code {
                    $($value => Ok(OpCode::$name),)*
                    other => Err(DecodeError::value("opcode", other, "an opcode of ZooKeeper 3.9")),
                }
            }
        }
    };
}

opcodes! {
    /// A watch event, server to client; illegal in a request.
    Notification = 0,
    /// Create a znode; answers its path.
    Create = 1,
    /// Delete a znode without children.
    Delete = 2,
    /// Stat of a znode, or a watch for its creation.
    Exists = 3,
    /// Data and stat.
    GetData = 4,
    /// Replace the data.
    SetData = 5,
    /// ACL list and stat.
    GetAcl = 6,
    /// Replace the ACL list.
    SetAcl = 7,
    /// Names of the children.
    GetChildren = 8,
    /// Wait until this server has caught up with the leader.
    Sync = 9,
    /// Heartbeat.
    Ping = 11,
    /// Names of the children and stat.
    GetChildren2 = 12,
    /// Compare a version; only inside a multi.
    Check = 13,
    /// Several writes, all or none.
    Multi = 14,
    /// Create a znode; answers its path and stat.
    Create2 = 15,
    /// Change the ensemble's membership.
    Reconfig = 16,
    /// Ask whether this connection has a watch.
    CheckWatches = 17,
    /// Remove watches of this connection.
    RemoveWatches = 18,
    /// Create a container znode.
    CreateContainer = 19,
    /// Delete an empty container or expired TTL znode; issued by the leader.
    DeleteContainer = 20,
    /// Create a znode with a time to live.
    CreateTtl = 21,
    /// Several reads of one state.
    MultiRead = 22,
    /// Add an identity to this connection.
    Auth = 100,
    /// Register one-shot watches again after a reconnect.
    SetWatches = 101,
    /// A step of a SASL exchange.
    Sasl = 102,
    /// Paths of this session's ephemeral znodes.
    GetEphemerals = 103,
    /// Number of all descendants.
    GetAllChildrenNumber = 104,
    /// Register watches of every mode again after a reconnect.
    SetWatches2 = 105,
    /// Add a persistent or persistent-recursive watch.
    AddWatch = 106,
    /// Identities of this connection.
    WhoAmI = 107,
    /// Begin a session; from servers, never from clients.
    CreateSession = -10,
    /// End a session.
    CloseSession = -11,
    /// A transaction without effect, or a failed entry of a multi; illegal in a request.
    Error = -1,
}

impl OpCode {
    /// The number on the wire and in the log.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// Whether the request becomes a transaction: it goes to the leader and takes a zxid, even when it fails.
    pub const fn is_write(self) -> bool {
        match self {
            OpCode::Create
            | OpCode::Delete
            | OpCode::SetData
            | OpCode::SetAcl
            | OpCode::Check
            | OpCode::Multi
            | OpCode::Create2
            | OpCode::Reconfig
            | OpCode::CreateContainer
            | OpCode::DeleteContainer
            | OpCode::CreateTtl
            | OpCode::CreateSession
            | OpCode::CloseSession => true,
            OpCode::Notification
            | OpCode::Exists
            | OpCode::GetData
            | OpCode::GetAcl
            | OpCode::GetChildren
            | OpCode::Sync
            | OpCode::Ping
            | OpCode::GetChildren2
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
            | OpCode::MultiRead
            | OpCode::Auth
            | OpCode::SetWatches
            | OpCode::Sasl
            | OpCode::GetEphemerals
            | OpCode::GetAllChildrenNumber
            | OpCode::SetWatches2
            | OpCode::AddWatch
            | OpCode::WhoAmI
            | OpCode::Error => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_and_no_other_is() {
        for op in OpCode::ALL {
            assert_eq!(OpCode::try_from(op.code()), Ok(*op));
        }
        let known = |code: &i32| OpCode::try_from(*code).is_ok();
        assert_eq!((-1000..1000).filter(known).count(), OpCode::ALL.len());
        assert_eq!(
            OpCode::try_from(10).map_err(|e| e.to_string()),
            Err("opcode: 10 is not an opcode of ZooKeeper 3.9".to_string())
        );
    }
}
