//! Whole ensembles in one thread, in virtual time, from a seed.
//!
//! The servers are the production [`ensemble_peer::Peer`] and [`ensemble_storage::Storage`]; the network, the disks, the clocks and
//! the clients are simulated. A run is decided by its seed: sizes, speeds, which faults there are ([`swarm`]), every
//! latency, every request. The same seed gives the same [`world::Summary::trace_hash`].
//!
//! ```text
//!   clients ──bytes──► network ──► driver ──► Peer ──► Effects ──► network, disk
//!      │                                        │                      │
//!   history                                  ledger ◄──────────────────┘
//!      │                                        │
//!   rules/h*.rs: what clients may see      invariants/i*.rs: what servers must keep
//! ```
//!
//! In [`operated`] worlds somebody else switches the servers on and off: `operator-sim`, which runs the operator beside them.
//!
//! A failure prints the command that replays it. [`mutants`] lists broken servers; each must be found.

pub mod agenda;
pub mod changes;
mod client;
mod driver;
mod faults;
mod finale;
pub mod history;
pub mod invariants;
pub mod ledger;
pub mod marks;
pub mod model;
pub mod mutants;
pub mod network;
pub mod operated;
mod plots;
pub mod quorums;
pub mod record;
pub mod request;
pub mod rules;
mod server;
pub mod shrink;
mod sightings;
pub mod swarm;
pub mod trace;
pub mod world;

use mutants::Mutant;
use shrink::Plan;
use std::panic::{AssertUnwindSafe, catch_unwind};
use trace::{Tell, Violation};
use world::{Summary, World};

/// Runs one seed to its end.
///
/// # Errors
/// The first promise found broken; an assertion of the production code is one, where panics unwind.
pub fn run(seed: u64, mutant: Mutant) -> Result<Summary, Violation> {
    run_plan(seed, mutant, Plan::default(), Tell::Nothing)
}

/// Runs a part of a seed to its end, and tells of it.
///
/// # Errors
/// As [`run`].
pub fn run_plan(seed: u64, mutant: Mutant, plan: Plan, tell: Tell) -> Result<Summary, Violation> {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, mutant, plan, tell);
        let result = world.run();
        if result.is_err() {
            world.trace.tale(world.now, || "a promise is broken".to_string());
        }
        result
    }));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Err(Violation::new("assert", text.unwrap_or_default()))
    })
}
