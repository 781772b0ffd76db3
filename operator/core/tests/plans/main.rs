//! What the operator decides about observations: those that somebody wrote down, and those that are drawn.

mod common;

mod expansion;
mod golden;
mod monitoring;
mod properties;
mod rebuilding;
mod recovery;
mod rolling;
mod scaling;
mod situations;
mod swapping;
