//! Broken servers, to show that the simulator notices: every switch of zab, peer and storage, one at a time; and the catalogue that
//! says for each known bug how it is kept out.

use ensemble_peer::Mutants as PeerMutants;
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
    /// A switch of sessions, watches and answers.
    Peer(&'static str),
    /// A switch of the store.
    Storage(&'static str),
}

impl Mutant {
    /// Switches that matter only while an ensemble changes: they are looked for in the seeds of `--reconfig`.
    pub const BY_CHANGES: &[&str] =
        &["zab.commit_by_new_alone", "zab.commit_by_old_alone", "zab.activate_uncommitted", "zab.last_seen_in_memory"];

    /// All switches.
    pub fn all() -> Vec<Mutant> {
        let zab = ZabMutants::NAMES.iter().map(|name| Mutant::Zab(name));
        let peer = PeerMutants::NAMES.iter().map(|name| Mutant::Peer(name));
        let storage = StorageMutants::NAMES.iter().map(|name| Mutant::Storage(name));
        zab.chain(peer).chain(storage).collect()
    }

    /// The switch that [`Mutant::name`] names.
    pub fn by_name(name: &str) -> Option<Mutant> {
        Mutant::all().into_iter().find(|mutant| mutant.name() == name)
    }

    /// `zab.<switch>`, `peer.<switch>` or `storage.<switch>`.
    pub fn name(self) -> String {
        match self {
            Mutant::None => "none".to_string(),
            Mutant::Zab(name) => format!("zab.{name}"),
            Mutant::Peer(name) => format!("peer.{name}"),
            Mutant::Storage(name) => format!("storage.{name}"),
        }
    }

    /// For the protocol.
    pub fn zab(self) -> ZabMutants {
        match self {
            Mutant::Zab(name) => ZabMutants::only(name).unwrap_or_default(),
            Mutant::None | Mutant::Peer(_) | Mutant::Storage(_) => ZabMutants::default(),
        }
    }

    /// For sessions, watches and answers.
    pub fn peer(self) -> PeerMutants {
        match self {
            Mutant::Peer(name) => PeerMutants::only(name).unwrap_or_default(),
            Mutant::None | Mutant::Zab(_) | Mutant::Storage(_) => PeerMutants::default(),
        }
    }

    /// For the store.
    pub fn storage(self) -> StorageMutants {
        match self {
            Mutant::Storage(name) => StorageMutants::only(name).unwrap_or_default(),
            Mutant::None | Mutant::Zab(_) | Mutant::Peer(_) => StorageMutants::default(),
        }
    }
}
