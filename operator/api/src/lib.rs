//! The custom resource `ZooKeeperEnsemble` (`zke`), group `zookeeper.ensemble.rs`, version `v1alpha1`.
//!
//! What a user may write ([`ZooKeeperEnsembleSpec`]), what the operator answers ([`ZooKeeperEnsembleStatus`]), and what
//! the objects made from it are called ([`names`]). The schema is the first gate for bad input: a field that is in it
//! works, and a value that does not work is refused by a rule whose message says what to write instead.
//!
//! This crate knows no decision and no client: [`operator-core`] decides, `operator-controller` talks to the API server.
//!
//! Invariants:
//! * Nothing in the schema is ignored. A feature that is not there yet has no field.
//! * Every list, map and string has a limit, so that the API server can bound the cost of the rules.
//! * Defaults live in the schema; the operator never writes to `spec`.
//!
//! [`operator-core`]: ../operator_core/index.html

pub mod names;
mod schema;
mod spec;
mod status;

pub use spec::{
    AccessMode, AntiAffinity, Autopurge, Config, EnvVar, FourLetterWord, Image, MaintenanceWindow, PodTemplate,
    PullPolicy, Reclaim, ReclaimPolicy, Recovery, Repair, Resources, Scheduling, Storage, StorageType, TopologySpread,
    TxnLogVolume, UpdateMode, UpdateStrategy, Volume, Weekday, WhenUnsatisfiable, ZooKeeperEnsemble,
    ZooKeeperEnsembleSpec,
};
pub use status::{
    Abandoned, Bootstrap, BootstrapPhase, Configuration, Endpoints, FormerEnsemble, Member, Rebuild, RebuildClaim,
    RecoveryCandidate, RecoveryPhase, RecoveryStatus, VolumeStatus, ZooKeeperEnsembleStatus, version_number,
};

/// The API group of every resource of this project.
pub const GROUP: &str = "zookeeper.ensemble.rs";
