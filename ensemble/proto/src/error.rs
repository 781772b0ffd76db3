//! Two kinds of trouble: what a client is told ([`ErrorCode`]), and bytes that do not say what they should
//! ([`DecodeError`]).

use std::fmt;
use thiserror::Error;

/// An answer to a client (`KeeperException.Code`). A value in a reply, never a Rust error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub i32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal),* $(,)?) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: ErrorCode = ErrorCode($value);)*

            /// ZooKeeper's name of the code, or `None` for a code that no server sends.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Success.
    OK = 0,
    /// Entries of a failed multi after the failing one.
    RUNTIME_INCONSISTENCY = -2,
    /// The request's body could not be decoded, or a multi holds what it may not.
    MARSHALLING_ERROR = -5,
    /// Unknown opcode.
    UNIMPLEMENTED = -6,
    /// Path, flag or argument not allowed.
    BAD_ARGUMENTS = -8,
    /// A quorum of the new configuration is not connected and synced.
    NEW_CONFIG_NO_QUORUM = -13,
    /// Another reconfiguration is pending.
    RECONFIG_IN_PROGRESS = -14,
    /// The znode, or the parent of a new one, does not exist.
    NO_NODE = -101,
    /// The ACL does not grant the permission.
    NO_AUTH = -102,
    /// The expected version is not the current one.
    BAD_VERSION = -103,
    /// An ephemeral znode cannot have children.
    NO_CHILDREN_FOR_EPHEMERALS = -108,
    /// The znode exists already.
    NODE_EXISTS = -110,
    /// The znode has children.
    NOT_EMPTY = -111,
    /// The session has ended.
    SESSION_EXPIRED = -112,
    /// The ACL list is empty or holds an invalid entry.
    INVALID_ACL = -114,
    /// The authentication was refused.
    AUTH_FAILED = -115,
    /// The session is served by another server. Never sent to clients: the connection is closed instead.
    SESSION_MOVED = -118,
    /// A write on a read-only server.
    NOT_READ_ONLY = -119,
    /// An ephemeral znode on a local session that may not be upgraded.
    EPHEMERAL_ON_LOCAL_SESSION = -120,
    /// No such watch.
    NO_WATCHER = -121,
    /// Dynamic reconfiguration is off.
    RECONFIG_DISABLED = -123,
    /// Authentication is enforced and missing.
    SESSION_CLOSED_REQUIRE_SASL_AUTH = -124,
    /// A hard quota would be exceeded.
    QUOTA_EXCEEDED = -125,
    /// The request was throttled and not executed.
    THROTTLED_OP = -127,
}

impl ErrorCode {
    /// Whether this is [`ErrorCode::OK`].
    pub fn is_ok(self) -> bool {
        self == ErrorCode::OK
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}({})", self.0)
    }
}

/// Bytes that are not what they should be: the sender's fault, or a damaged file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end before the field does.
    #[error("{field}: needs {needed} more bytes, {left} left")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A length or count that cannot be.
    #[error("{field}: unreasonable length {length}")]
    Length {
        /// What was being read.
        field: &'static str,
        /// The length found.
        length: i64,
    },
    /// A value outside the set that the field allows.
    #[error("{field}: {found} is not {expected}")]
    Value {
        /// What was being read.
        field: &'static str,
        /// The value found.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
}

impl DecodeError {
    /// A [`DecodeError::Value`].
    pub fn value(field: &'static str, found: impl fmt::Display, expected: &'static str) -> DecodeError {
        DecodeError::Value { field, found: found.to_string(), expected }
    }
}
