//! What must hold after every step, at every commit, or at the end: a file an invariant.
//!
//! The numbers are those of the project's fault catalogue. `tests/checker` shows for each what it accuses and what it does not.

pub mod i10_bounds;
pub mod i11_membership;
pub mod i12_liveness;
pub mod i13_files;
pub mod i1_epochs;
pub mod i2_agreement;
pub mod i3_order;
pub mod i4_durability;
pub mod i5_completeness;
pub mod i6_acks;
pub mod i7_digest;
pub mod i8_indices;
pub mod i9_sessions;
