//! What the operator decides, as functions of values: no Kubernetes client, no clock, no entropy, no I/O.
//!
//! ```text
//!   watch ──► shell reads ──► Observed ──► plan ──► [Step, Step, …] ──► shell carries out
//!             live objects       │                        ▲
//!             pods, claims       ├─ validate: spec ──► ValidEnsemble ─┐
//!             GET /status        ├─ found:  status ──► Founded        ├─ build ──► objects
//!             fresh UUIDs, now   └─ assess: members ──► Assessment ───┴─ status ─► conditions
//! ```
//!
//! A pass begins with nothing but what was read, and ends with a list of steps. Progress is never remembered: a pass
//! that dies anywhere is repeated from the start by the next one, and each step is harmless when repeated. What must
//! not be forgotten (the identity of the ensemble, its frozen voters, the volumes that were granted their vote) is
//! *recorded* in the status of the resource, under the resource version it was read at, and a step that depends on a
//! record is only planned by a later pass that has read the record back.
//!
//! The promise that this crate defends, together with the server: **one resource founds at most one ensemble, and no
//! empty volume ever votes in an ensemble that may have acknowledged a write.** [`plan::bootstrap`] argues it, [`plan::scale`] that no
//! change of the size breaks it.
//!
//! Invariants, each checked by `tests/properties.rs` on random observations:
//! * Objects are built from [`Founded`], so none exists before the identity is recorded. The type makes it so.
//! * The number of pods and the `server.N` lines come from what is recorded, never from the spec.
//! * A grant goes only to the volume that is recorded for its ordinal, and only while the phase is `InProgress`.
//! * A recorded fact of the founding never changes, but for the identity, by a recovery; a phase never goes back.
//! * Nobody is asked to vote who is not synced, nothing of a member is taken away, and no claim is deleted that a server might need
//!   (`tests/scaling.rs`).
//! * A claim is never asked for less, nor its StatefulSet deleted before every volume has its size (`tests/expansion.rs`).
//! * An ensemble is given up only by `spec.recovery`, never while a majority answers, and no claim of it before the one that takes its place
//!   serves (`tests/recovery.rs`). [`plan::recovery`] argues it.
//! * At most one healthy voter is down by our doing, and only when the others alone are a synced quorum. [`plan::roll`] argues it.
//!
//! "Not yet safe" is no error but [`Step::Wait`] with a reason.

mod assess;
pub mod build;
mod conditions;
mod diff;
mod founded;
mod member;
#[cfg(feature = "mutants")]
pub mod mutants;
mod node;
mod observed;
mod outdated;
pub mod plan;
mod pod;
mod status;
mod step;
mod unreadable;
mod validate;
mod version;
mod window;

pub use assess::{Assessment, assess};
pub use founded::Founded;
pub use member::{BootstrapState, MemberConfig, MemberStatus, Role, StoreFacts, StoreState};
pub use node::{NodeFacts, nodes_to_read};
pub use observed::{Claim, Identity, Observed, Resize, Token, TokenState};
pub use plan::expansion::is_to_grow;
pub use plan::monitoring::is_looked_at;
pub use plan::{Plan, plan, refuse};
pub use pod::PodFacts;
pub use status::with_refusal;
pub use step::{
    Adoption, Event, EventType, Expansion, Fact, Grant, Hold, Kind, Object, Ownership, Reconfiguration, Removal, Stamp,
    Step, Transfer,
};
pub use unreadable::unreadable;
pub use validate::{ValidEnsemble, validate};
pub use window::Window;
