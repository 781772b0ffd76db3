//! The repository's own rules.
//!
//! Two rules keep decisions apart from effects, and both would erode silently if nothing failed:
//!
//! - [`arrows`]: a crate depends only on crates that an arrow of the architecture leads to;
//! - [`purity`]: a pure crate uses no clock, entropy, I/O, threads or async, and no map whose order differs from run to run.
//!
//! `tests/repository.rs` holds them against this workspace.

pub mod arrows;
pub mod purity;
