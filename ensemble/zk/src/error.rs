//! Why a command fails, in `zkCli.sh`'s words (`CliWrapperException.java`, `KeeperException.java`).

use ensemble_proto::ErrorCode;
use std::io;
use thiserror::Error;

/// Why an operation has no answer, or a bad one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The server said so.
    Code(ErrorCode),
    /// The connection was lost after the request was sent, or none could be made. A write may have been carried out.
    ConnectionLoss,
    /// The session has ended.
    SessionExpired,
    /// The answer is not one.
    Protocol(String),
}

/// Why a command fails.
#[derive(Debug, Error)]
pub enum CommandError {
    /// An operation failed.
    #[error("{}", explain(.cause, .path))]
    Operation {
        /// Why.
        cause: Cause,
        /// The path that it was about, as the user knows it; empty when it was about none.
        path: String,
    },
    /// A path, an option or an argument is none.
    #[error("{0}")]
    Malformed(String),
    /// There is no such command. Exit code 127.
    #[error("Command not found: Command not found {0}")]
    NotFound(String),
    /// A file, or what this shell is in no state for.
    #[error("{0}")]
    Local(String),
    /// An answer cannot be printed.
    #[error("output: {0}")]
    Output(#[from] io::Error),
}

impl CommandError {
    /// What a script gets: 127 for a command that is none, else 1 (`ExitCode.java`).
    pub fn exit_code(&self) -> i32 {
        match self {
            CommandError::NotFound(_) => 127,
            CommandError::Operation { .. }
            | CommandError::Malformed(_)
            | CommandError::Local(_)
            | CommandError::Output(_) => 1,
        }
    }

    /// The server's answer, if it was one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            CommandError::Operation { cause: Cause::Code(code), .. } => Some(*code),
            _ => None,
        }
    }

    pub(crate) fn local(action: &str, what: &str, error: &io::Error) -> CommandError {
        CommandError::Local(format!("{action} {what}: {error}"))
    }
}

fn explain(cause: &Cause, path: &str) -> String {
    let keeper = |name: &str| match path {
        "" => format!("KeeperErrorCode = {name}"),
        path => format!("KeeperErrorCode = {name} for {path}"),
    };
    let code = match cause {
        Cause::Code(code) => *code,
        Cause::ConnectionLoss => return keeper("ConnectionLoss"),
        Cause::SessionExpired => return keeper("Session expired"),
        Cause::Protocol(problem) => return format!("the server's answer is none: {problem}"),
    };
    match code {
        ErrorCode::NO_NODE => format!("Node does not exist: {path}"),
        ErrorCode::NO_CHILDREN_FOR_EPHEMERALS => format!("Ephemerals cannot have children: {path}"),
        ErrorCode::NODE_EXISTS => format!("Node already exists: {path}"),
        ErrorCode::NOT_EMPTY => format!("Node not empty: {path}"),
        ErrorCode::NOT_READ_ONLY => format!("Not a read-only call: {path}"),
        ErrorCode::INVALID_ACL => format!("Acl is not valid : {path}"),
        ErrorCode::NO_AUTH => format!("Insufficient permission : {path}"),
        ErrorCode::BAD_ARGUMENTS => format!("Arguments are not valid : {path}"),
        ErrorCode::BAD_VERSION => format!("version No is not valid : {path}"),
        ErrorCode::RECONFIG_IN_PROGRESS => {
            "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)".to_owned()
        }
        ErrorCode::NEW_CONFIG_NO_QUORUM => {
            "No quorum of new config is connected and up-to-date with the leader of last commmitted config - \
             try invoking reconfiguration after new servers are connected and synced"
                .to_owned()
        }
        ErrorCode::QUOTA_EXCEEDED => format!("Quota has exceeded : {path}"),
        other => keeper(java_name(other)),
    }
}

/// The name in Java's messages (`KeeperException.getCodeMessage`).
fn java_name(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::RUNTIME_INCONSISTENCY => "RuntimeInconsistency",
        ErrorCode::MARSHALLING_ERROR => "MarshallingError",
        ErrorCode::UNIMPLEMENTED => "Unimplemented",
        ErrorCode::SESSION_EXPIRED => "Session expired",
        ErrorCode::AUTH_FAILED => "AuthFailed",
        ErrorCode::SESSION_MOVED => "Session moved",
        ErrorCode::EPHEMERAL_ON_LOCAL_SESSION => "Ephemeral node on local session",
        ErrorCode::NO_WATCHER => "No such watcher",
        ErrorCode::RECONFIG_DISABLED => "Reconfig is disabled",
        ErrorCode::SESSION_CLOSED_REQUIRE_SASL_AUTH => "Session closed because client failed to authenticate",
        ErrorCode::THROTTLED_OP => "Op throttled due to high load",
        other => other.name().unwrap_or("Unknown error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_as_zkcli_tells_them() {
        for (cause, path, expected) in [
            (Cause::Code(ErrorCode::NO_NODE), "/x", "Node does not exist: /x"),
            (Cause::Code(ErrorCode::BAD_VERSION), "/x", "version No is not valid : /x"),
            (Cause::Code(ErrorCode::NO_AUTH), "/x", "Insufficient permission : /x"),
            (Cause::Code(ErrorCode::RECONFIG_DISABLED), "", "KeeperErrorCode = Reconfig is disabled"),
            (Cause::Code(ErrorCode::NO_WATCHER), "/x", "KeeperErrorCode = No such watcher for /x"),
            (Cause::ConnectionLoss, "/x", "KeeperErrorCode = ConnectionLoss for /x"),
        ] {
            assert_eq!(CommandError::Operation { cause, path: path.to_owned() }.to_string(), expected);
        }
        let unknown = CommandError::NotFound("bogus".to_owned());
        assert_eq!(
            (unknown.to_string(), unknown.exit_code()),
            ("Command not found: Command not found bogus".to_owned(), 127)
        );
    }
}
