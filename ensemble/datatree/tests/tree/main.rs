//! The tree from outside: recorded files, the order of checks, and random histories.

mod common;
mod enforced;
mod fixtures;
mod load;
mod prepare;
mod quota;
mod random;
mod reads;
mod replay;
mod wire;
