//! The operator's planner on whole simulated ensembles, in one thread, in virtual time, from a seed.
//!
//! The planner is the production [`operator_core::plan`]; the servers are the production peers and stores of `ensemble-sim`. The cluster
//! between them is simulated: an API server, the controller of StatefulSets, kubelets, and people who edit, break and mend. Nothing
//! here uses a Kubernetes client, a clock or a thread.
//!
//! ```text
//!   script (people, nodes) ──► cluster (objects) ◄──steps── operators ──► plan(&Observed)
//!                                  │                            │  ▲
//!                     controller, kubelets                      │  │ GET /status
//!                                  ▼                            ▼  │
//!                       servers: start, stop, volumes      grant, reconfigure, hand over
//!                                  └───────── ensemble_sim::operated ─────────┘
//! ```
//!
//! The judge (`judge.rs`) knows what is true and accuses who acts against it; the servers' own promises are checked by
//! `ensemble-sim`. A failure prints the command that replays it. [`mutants`] are broken operators; each must be found.

mod accidents;
mod cluster;
mod converged;
mod deletion;
mod judge;
pub mod marks;
mod members;
mod nodes;
mod observe;
mod operator;
mod recovery;
mod requests;
mod script;
mod volumes;
pub mod world;

use ensemble_sim::trace::{Tell, Violation};
pub use operator_core::mutants;
use operator_core::mutants::Mutant;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{Outcome, World};

/// Runs one seed to its end.
///
/// # Errors
/// The first promise found broken; an assertion of the production code is one, where panics unwind.
pub fn run(seed: u64, mutant: Mutant, tell: Tell) -> Result<Outcome, Violation> {
    let result = catch_unwind(AssertUnwindSafe(|| World::new(seed, mutant, tell).run()));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Err(Violation::new("assert", text.unwrap_or_default()))
    })
}
