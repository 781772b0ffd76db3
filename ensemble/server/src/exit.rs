//! How the process ends (`ExitCode.java` for the codes that ZooKeeper has).

/// Everything is done.
pub const FINISHED: i32 = 0;
/// Wrong usage or configuration.
pub const USAGE: i32 = 2;
/// The data directory cannot be used.
pub const DATA_DIRECTORY: i32 = 3;
/// The volume belongs to another server or ensemble.
pub const IDENTITY: i32 = 4;
/// The files on the volume cannot be trusted: damaged, missing, or contradicting each other. `DATA_DIRECTORY` in ZooKeeper's.
pub const UNTRUSTED: i32 = 5;
/// The disk failed while serving.
pub const DISK: i32 = 10;
/// The server met what it must not survive; the log says what.
pub const HALTED: i32 = 13;
/// A port cannot be bound.
pub const PORT: i32 = 14;

/// Ends the process without unwinding, so that no destructor can pretend that all is well.
pub(crate) fn now(code: i32) -> ! {
    std::process::exit(code)
}
