//! `zk`: a client of ZooKeeper's servers, ours and Apache's, for a terminal and for scripts.
//!
//! ```text
//!  main ──► shell ──► commands ──► client ──► session ══ a thread ══► frames ══ TCP ══► a server
//!           prompt    an argument  an operation  reconnects, pings, watches
//!           history   list a file  a method
//! ```
//!
//! Commands, their output and the exit codes are those of `zkCli.sh` (`ZooKeeperMain.java`), so that scripts go on to work; what it has not,
//! `tree`, `watch`, `import`, `export`, `top`, `bench` and `--json`, comes on top.
//!
//! Threads and blocking sockets: a shell does one thing at a time, and a session needs one more to stay alive meanwhile.

pub mod args;
pub mod client;
pub mod commands;
pub mod connect_string;
pub mod error;
mod frames;
pub mod options;
pub mod output;
pub mod session;
pub mod shell;
mod watches;
