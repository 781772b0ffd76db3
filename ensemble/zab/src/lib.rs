//! ZooKeeper's atomic broadcast: every server delivers the same transactions in the same order, and never loses one that
//! was acknowledged.
//!
//! This crate knows no znode, no client, no socket, no disk and no clock. A server is a [`Zab`]: inputs in (`handle_*`,
//! requests), [`Effect`]s out. Payloads are opaque bytes, but for that of a reconfiguration.
//!
//! # The protocol
//!
//! ```text
//!            ┌──────────────── any failure ────────────────┐
//!            ▼                                             │
//!         looking ──▶ leading:   discovery ──▶ synchronisation ──▶ broadcast
//!            │                    gates A, B     gate C               │
//!            └──────▶ following: accept epoch ──▶ DIFF/TRUNC/SNAP ──▶ PROPOSAL, ACK, COMMIT
//! ```
//!
//! 1. **Election** (`looking`): servers exchange votes until a quorum names the one with the greatest history.
//! 2. **Discovery** (`leading`, `following`): the leader finds an epoch that is new to a quorum; the quorum promises to
//!    follow no earlier leader, and shows that no history of it is beyond the leader's.
//! 3. **Synchronisation** (`sync_plan`, `learner`, `synchronising`): learners get the leader's history and make it durable, then the epoch
//!    that stands for it, then acknowledge. When a quorum has it, all of it is committed.
//! 4. **Broadcast** (`broadcasting`): the leader numbers transactions, a quorum has each on disk, then it is committed, in order.
//! 5. **Reconfiguration** (`reconfig`): a transaction that changes who the ensemble is, and what a quorum. Then the new configuration's
//!    leader goes on without an election.
//!
//! # Invariants
//!
//! * A server acknowledges an epoch once, and only after the promise is on its disk; two quorums meet, so an epoch has at
//!   most one established leader.
//! * `currentEpoch` = e on disk means that the whole initial history of e's leader is on that disk.
//! * An ACK means "on my disk". It counts only on the connection it came by: a follower that connects anew may be told to
//!   truncate what it once acknowledged, and is counted again when it has it again.
//! * **Nothing is delivered that is not known to be committed, and nothing that is not on this server's own disk.** At
//!   start the tree holds the snapshot only; the log's tail waits here until a leader is established that has it. So a
//!   truncation never reaches below the tree, a snapshot never contains what may be truncated (ZOOKEEPER-1549, 2845), and
//!   a restart never takes back what this server has shown. The exception is a SNAP from a leader that then fails to be
//!   established; see `following`.
//! * Writes to disk are one ordered queue over all roles, and a server is silent in elections until the queue is empty: no
//!   write of a former role can land in the log of the next (ZOOKEEPER-4541, 4712).
//! * Connections are named by ids that are never used twice: nothing of an old connection is mistaken for a new one's.
//!
//! # Limits
//!
//! Oracles are not supported.
//!
//! # Sources
//!
//! Junqueira, Reed, Serafini, "Zab: High-performance broadcast for primary-backup systems" (DSN 2011); `FastLeaderElection`,
//! `Leader`, `LearnerHandler`, `Learner`, `Follower`, `Observer` of ZooKeeper 3.9, with whose servers this crate shares an
//! ensemble.

mod broadcasting;
mod committed_log;
mod config;
mod core;
mod effect;
mod following;
mod leading;
mod learner;
mod looking;
mod measures;
mod mutants;
mod observer_master;
mod quorum;
mod reconfig;
mod responder;
mod sync_plan;
mod sync_queue;
mod synchronising;
mod transfer;
mod vote;
mod zab;

pub use config::{Config, History, HistoryError};
pub use effect::{ConnId, Effect, LearnerStatus, Role, SyncOrigin, ZabState};
pub use ensemble_proto::durable::{LogSlice, Ticket, Write};
pub use following::TOUCHED_MAX;
pub use measures::Measures;
pub use mutants::Mutants;
pub use reconfig::ReconfigRefusal;
pub use transfer::TransferRefusal;
pub use zab::Zab;
