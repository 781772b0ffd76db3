//! What must hold after every step, at every commit, or at the end: a file an invariant.
//!
//! The numbers are those of the project's fault catalogue: I-1 to I-8 are Zab's and the replicated state's, I-12 is
//! liveness.

pub mod i12_liveness;
pub mod i1_epochs;
pub mod i2_agreement;
pub mod i3_order;
pub mod i4_durability;
pub mod i5_completeness;
pub mod i6_acks;
pub mod i7_digest;
pub mod i8_indices;
