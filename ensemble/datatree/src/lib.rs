//! The replicated tree: what a request becomes, what a transaction does, what a client reads, what a snapshot holds.
//!
//! ```text
//!            leader                                    every server
//!   request ───────► prep ───► record ═══ zab ═══► apply ───► outcome: answer, stat, events for watches
//!                     │ ▲                            │
//!        checks       │ │ foreseen                   │ changes
//!                     ▼ │                            ▼
//!            DataTree + Pending                   DataTree ───► read, snapshot
//! ```
//!
//! [`prep`](prep::prep) runs on the leader alone. It checks a request against the tree and all that is [`Pending`],
//! and writes down the *result*: this path, this version, this list. [`DataTree::apply`] runs on every server once the
//! record is committed, decides nothing, and may be repeated, which is what makes a snapshot possible that is
//! written while transactions go on ([`DataTree::begin_snapshot`]). Both change stats through the same functions, and a digest of the whole
//! tree, kept as a sum, tells at every transaction whether servers still agree.
//!
//! Invariants, all of them recomputed by [`DataTree::recount`]:
//!
//! * every znode but the root is a child of one znode, and is found by that parent and its name;
//! * the digest is the sum of the znodes' digests; the ephemerals of a session and the uses of an ACL list are those of the znodes;
//! * after a record with a digest, a tree that applied every record before has that digest.
//!
//! Memory: a znode takes 112 bytes, its name and data one allocation, and some 8 bytes of index. Paths are not
//! stored, ACL lists are shared, and neither the znodes nor the index ever move as a whole when they grow.
//!
//! Deliberately absent: servers, connections and watches (the peer's), files and checksums (the storage's), clocks. Quotas are
//! counted, and enforced where the caller says so.

pub mod acl;
mod acl_table;
mod apply;
mod change;
mod digest;
mod index;
mod path;
mod pending;
pub mod prep;
mod quota;
pub mod read;
mod reap;
mod recount;
mod slab;
mod snapshot;
mod tree;

pub use acl::Access;
pub use apply::{DigestMismatch, Event, EventKind, Outcome};
pub use path::CONFIG as CONFIG_PATH;
pub use pending::Pending;
pub use quota::NamespaceQuota;
pub use read::NodeRef;
pub use snapshot::{Loader, Walk};
pub use tree::{DataTree, EphemeralMark};
