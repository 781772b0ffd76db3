//! The shell of a server: configuration, ports, the disk thread, timers, and the loop that drives a
//! [`Peer`](ensemble_peer::Peer).
//!
//! The shell decides nothing about the protocol: it moves bytes, keeps time and makes writes durable. What a frame, a packet
//! or a timeout means is the peer's affair. A server is a [`Member`]; the commands [`server`] and [`dev`] start one and
//! several.

mod admin;
mod audit;
mod backlog;
mod cgroup;
mod client_port;
mod clock;
pub mod config;
mod connection;
mod details;
pub mod dev;
mod dial;
mod disk_thread;
mod disk_watchdog;
mod driver;
mod election_port;
pub mod exit;
mod four_letter;
mod frames;
mod from_store;
mod grant;
mod listening;
pub mod log;
mod member;
pub mod metrics;
mod no_quorum;
mod outgoing;
mod pause;
mod quorum_port;
mod random;
mod reconfigure;
mod recovery;
mod report;
mod roster;
pub mod server;
mod snapshots;
mod tls;
mod transfer;
mod version;

pub use member::{Addresses, Member, MemberError};
pub use tls::TlsError;
