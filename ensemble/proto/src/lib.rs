//! ZooKeeper's bytes: what servers and clients say to each other, and what the transaction log holds.
//!
//! This crate knows layouts, not behaviour. It reads and writes the jute encoding ([`jute`]), names the ids
//! ([`Zxid`], [`Epoch`], [`ServerId`], [`SessionId`]) and the answers a client can get ([`ErrorCode`]), and holds the
//! records of the three planes:
//!
//! * [`client`]: the client port (`zookeeper.jute`, module `proto`);
//! * [`quorum`]: the election and quorum ports (`quorum/QuorumPacket`, `FastLeaderElection`);
//! * [`txn`]: the payload of a proposal, which is also the payload of a log entry (module `txn`).
//!
//! It must not know sockets, files, clocks, the tree or the protocol's states. Every decoder is total: it returns a
//! [`DecodeError`] that names what was expected, checks a length before it allocates, and never panics.

pub mod client;
mod data;
pub mod date;
pub mod durable;
mod error;
mod id;
pub mod jute;
pub mod membership;
mod mutants;
pub mod properties;
pub mod quorum;
mod random;
pub mod reconfig;
mod summary;
mod time;
pub mod txn;

pub use data::{Acl, AclList, Stat, StatPersisted, ZnodeKind, decode_acl_list, encode_acl_list, next_version};
pub use error::{DecodeError, ErrorCode};
pub use id::{Epoch, ServerId, SessionId, Zxid};
pub use random::SplitMix64;
pub use summary::Summary;
pub use time::Now;
