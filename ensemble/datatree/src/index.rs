//! From a parent and a name to a znode.
//!
//! The table is cut into shards by hash, each of which grows and shrinks alone: a table that doubles moves a thousandth
//! of all entries at a time, and nobody waits for more.

use crate::slab::{Position, Slab};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

const SHARDS: usize = 1024;
/// A shard that is emptier than one in so many gives memory back.
const SPARSE: usize = 8;
const SHRINK_CAPACITY_MIN: usize = 64;

/// Which child of which znode has which name.
pub(crate) struct ChildIndex {
    shards: Vec<HashTable<Position>>,
    state: FixedState,
}

impl ChildIndex {
    /// An empty index; `seed` decides how names are spread.
    pub(crate) fn new(seed: u64) -> ChildIndex {
        let shards = std::iter::repeat_with(HashTable::new).take(SHARDS).collect();
        ChildIndex { shards, state: FixedState::with_seed(seed) }
    }

    /// Makes room for so many znodes at once, so that no table has to grow before there are more.
    pub(crate) fn reserve(&mut self, slab: &Slab, znodes: usize) {
        let state = &self.state;
        // Names spread unevenly, by about a root.
        let each = znodes / SHARDS + (znodes / SHARDS).isqrt();
        for shard in &mut self.shards {
            shard.reserve(each, |other| hash(state, slab[*other].parent, slab[*other].name_bytes()));
        }
    }

    /// The child of `parent` with that name.
    pub(crate) fn find(&self, slab: &Slab, parent: Position, name: &str) -> Option<Position> {
        let hash = hash(&self.state, parent, name.as_bytes());
        self.shards[shard(hash)].find(hash, is_child(slab, parent, name)).copied()
    }

    /// Takes in a znode, which must be in the slab and new to the index.
    pub(crate) fn insert(&mut self, slab: &Slab, position: Position) {
        let state = &self.state;
        let hash_at = |position: Position| hash(state, slab[position].parent, slab[position].name_bytes());
        let hash = hash_at(position);
        self.shards[shard(hash)].insert_unique(hash, position, |other| hash_at(*other));
    }

    /// Takes out a znode, which must still be in the slab.
    pub(crate) fn remove(&mut self, slab: &Slab, position: Position) {
        let state = &self.state;
        let hash_at = |position: Position| hash(state, slab[position].parent, slab[position].name_bytes());
        let hash = hash_at(position);
        let shard = &mut self.shards[shard(hash)];
        if let Ok(entry) = shard.find_entry(hash, |other| *other == position) {
            entry.remove();
        }
        if shard.capacity() > SHRINK_CAPACITY_MIN && shard.len() < shard.capacity() / SPARSE {
            shard.shrink_to_fit(|other| hash_at(*other));
        }
    }

    /// Number of znodes.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }
}

fn is_child(slab: &Slab, parent: Position, name: &str) -> impl FnMut(&Position) -> bool {
    move |&position| {
        let znode = &slab[position];
        znode.parent == parent && znode.name_bytes() == name.as_bytes()
    }
}

fn hash(state: &FixedState, parent: Position, name: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u32(parent);
    hasher.write(name);
    hasher.finish()
}

/// By bits that the tables within a shard do not look at.
fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}
