//! The shell of the operator: it watches, observes, carries out what `operator-core` planned, and reports.
//!
//! No decision about an ensemble is made here. What is decided here is about being a process in a cluster: who holds
//! the lease and acts ([`lease`], [`lead`]), how an object is read and written ([`observe`], [`execute`]), what happens
//! when an API call fails ([`reconcile`]), and what a person can see of it ([`metrics`], [`http`]).

pub mod admin;
mod broken;
pub mod execute;
mod facts;
pub mod failpoint;
pub mod http;
pub mod lead;
pub mod lease;
pub mod manifests;
pub mod metrics;
pub mod observe;
pub mod policies;
pub mod reconcile;
pub mod reference;
pub mod run;
