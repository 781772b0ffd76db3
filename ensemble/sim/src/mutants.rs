//! Broken servers, to show that the simulator notices: every switch of zab and storage, one at a time.

use ensemble_storage::Mutants as StorageMutants;
use ensemble_zab::Mutants as ZabMutants;

/// A switch, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mutant {
    /// The production code.
    #[default]
    None,
    /// A switch of the protocol.
    Zab(&'static str),
    /// A switch of the store.
    Storage(&'static str),
}

impl Mutant {
    /// Switches that faults at random find too seldom: the tests of zab and storage have a scenario for each.
    pub const BY_SCENARIO: &[&str] = &[
        "zab.no_history_check",
        "zab.empty_store_votes",
        "zab.commit_by_new_alone",
        "zab.commit_by_old_alone",
        "zab.last_seen_in_memory",
        "zab.activate_uncommitted",
        "storage.install_keeps_log",
        "storage.torn_tail_is_kept",
    ];

    /// All switches.
    pub fn all() -> Vec<Mutant> {
        let zab = ZabMutants::NAMES.iter().map(|name| Mutant::Zab(name));
        zab.chain(StorageMutants::NAMES.iter().map(|name| Mutant::Storage(name))).collect()
    }

    /// The switch that [`Mutant::name`] names.
    pub fn by_name(name: &str) -> Option<Mutant> {
        Mutant::all().into_iter().find(|mutant| mutant.name() == name)
    }

    /// `zab.<switch>` or `storage.<switch>`.
    pub fn name(self) -> String {
        match self {
            Mutant::None => "none".to_string(),
            Mutant::Zab(name) => format!("zab.{name}"),
            Mutant::Storage(name) => format!("storage.{name}"),
        }
    }

    /// For the protocol.
    pub fn zab(self) -> ZabMutants {
        match self {
            Mutant::Zab(name) => ZabMutants::only(name).unwrap_or_default(),
            Mutant::None | Mutant::Storage(_) => ZabMutants::default(),
        }
    }

    /// For the store.
    pub fn storage(self) -> StorageMutants {
        match self {
            Mutant::Storage(name) => StorageMutants::only(name).unwrap_or_default(),
            Mutant::None | Mutant::Zab(_) => StorageMutants::default(),
        }
    }
}
