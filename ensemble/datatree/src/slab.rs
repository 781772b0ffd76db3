//! Where znodes live: chunks of equal size, so that growing never moves what is there, and a chunk whose znodes are all
//! gone gives its memory back.

use crate::acl_table::AclId;
use ensemble_proto::StatPersisted;
use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

/// A znode's place in the slab.
pub(crate) type Position = u32;

/// No znode: the end of a list, or the parent of the root.
pub(crate) const NONE: Position = Position::MAX;

/// A znode. Its path is not stored: it follows from the names up to the root. Siblings form a list in both directions,
/// the youngest first.
#[derive(Debug)]
pub(crate) struct Znode {
    /// Name and data, in one allocation.
    content: Box<[u8]>,
    /// Length of the name, and [`NO_DATA`].
    name_len: u32,
    pub(crate) stat: StatPersisted,
    pub(crate) acl: AclId,
    pub(crate) digest: u32,
    pub(crate) parent: Position,
    pub(crate) first_child: Position,
    pub(crate) next_sibling: Position,
    pub(crate) previous_sibling: Position,
    pub(crate) child_count: u32,
}

/// Set in [`Znode::name_len`] when the data is null, which is not the same as empty.
const NO_DATA: u32 = 1 << 31;

impl Znode {
    /// A znode that is linked to nothing.
    ///
    /// # Panics
    /// When the name has 2^31 bytes, which no request has.
    pub(crate) fn new(name: &str, data: Option<&[u8]>, stat: StatPersisted) -> Znode {
        let mut znode = Znode { stat, ..Znode::vacant() };
        assert!(name.len() < NO_DATA as usize, "a name is shorter than 2 GiB");
        znode.fill(name.as_bytes(), data);
        znode
    }

    /// The name: the last part of the path.
    pub(crate) fn name(&self) -> &str {
        std::str::from_utf8(self.name_bytes()).expect("a name was a string when it came in")
    }

    pub(crate) fn name_bytes(&self) -> &[u8] {
        &self.content[..self.name_len()]
    }

    pub(crate) fn name_len(&self) -> usize {
        (self.name_len & !NO_DATA) as usize
    }

    pub(crate) fn data(&self) -> Option<&[u8]> {
        (self.name_len & NO_DATA == 0).then(|| &self.content[self.name_len()..])
    }

    /// Length of the data; 0 for null.
    pub(crate) fn data_len(&self) -> usize {
        self.content.len() - self.name_len()
    }

    /// Replaces the data, where it is when the length is the same.
    pub(crate) fn set_data(&mut self, data: Option<&[u8]>) {
        match data {
            Some(data) if self.data().is_some_and(|old| old.len() == data.len()) => {
                let at = self.name_len();
                self.content[at..].copy_from_slice(data);
            }
            _ => {
                let old = std::mem::take(&mut self.content);
                let name_len = self.name_len();
                self.fill(&old[..name_len], data);
            }
        }
    }

    fn fill(&mut self, name: &[u8], data: Option<&[u8]>) {
        self.content = [name, data.unwrap_or_default()].concat().into();
        self.name_len = name.len() as u32 | if data.is_some() { 0 } else { NO_DATA };
    }

    fn vacant() -> Znode {
        Znode {
            content: Box::default(),
            name_len: 0,
            stat: StatPersisted::default(),
            acl: AclId::NULL,
            digest: 0,
            parent: NONE,
            first_child: NONE,
            next_sibling: NONE,
            previous_sibling: NONE,
            child_count: 0,
        }
    }
}

const CHUNK_BITS: u32 = 10;
const CHUNK_LENGTH: u32 = 1 << CHUNK_BITS;

#[derive(Default)]
struct Chunk {
    slots: Vec<Znode>,
    vacant: Vec<u16>,
}

impl Chunk {
    fn is_full(&self) -> bool {
        self.vacant.is_empty() && self.slots.len() == CHUNK_LENGTH as usize
    }

    fn is_empty(&self) -> bool {
        self.vacant.len() == self.slots.len()
    }
}

/// Znodes by position.
#[derive(Default)]
pub(crate) struct Slab {
    chunks: Vec<Chunk>,
    /// Chunks with room; the lowest is filled first, so that the others can become empty.
    with_room: BTreeSet<u32>,
    count: usize,
}

impl Slab {
    /// Number of znodes.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Takes in a znode.
    ///
    /// # Panics
    /// At 2^32-1 znodes, which no memory of today holds.
    pub(crate) fn insert(&mut self, znode: Znode) -> Position {
        let number = self.with_room.first().copied().unwrap_or_else(|| self.grow());
        let chunk = &mut self.chunks[number as usize];
        let slot = match chunk.vacant.pop() {
            Some(slot) => {
                chunk.slots[slot as usize] = znode;
                u32::from(slot)
            }
            None => {
                chunk.slots.push(znode);
                chunk.slots.len() as u32 - 1
            }
        };
        if chunk.is_full() {
            self.with_room.remove(&number);
        }
        self.count += 1;
        number << CHUNK_BITS | slot
    }

    fn grow(&mut self) -> u32 {
        let number = self.chunks.len() as u32;
        assert!(number < NONE >> CHUNK_BITS, "a tree has fewer than 2^32-1 znodes");
        self.chunks.push(Chunk::default());
        self.with_room.insert(number);
        number
    }

    /// Takes out a znode.
    pub(crate) fn remove(&mut self, position: Position) -> Znode {
        let number = position >> CHUNK_BITS;
        let znode = std::mem::replace(&mut self[position], Znode::vacant());
        let chunk = &mut self.chunks[number as usize];
        chunk.vacant.push((position & (CHUNK_LENGTH - 1)) as u16);
        if chunk.is_empty() {
            *chunk = Chunk::default();
        }
        self.with_room.insert(number);
        self.count -= 1;
        znode
    }
}

impl Index<Position> for Slab {
    type Output = Znode;

    fn index(&self, position: Position) -> &Znode {
        &self.chunks[(position >> CHUNK_BITS) as usize].slots[(position & (CHUNK_LENGTH - 1)) as usize]
    }
}

impl IndexMut<Position> for Slab {
    fn index_mut(&mut self, position: Position) -> &mut Znode {
        &mut self.chunks[(position >> CHUNK_BITS) as usize].slots[(position & (CHUNK_LENGTH - 1)) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_znode_is_small() {
        assert_eq!(size_of::<Znode>(), 112, "the memory goals count on it");
    }

    #[test]
    fn name_and_data_share_an_allocation() {
        let mut znode = Znode::new("name", Some(b"data"), StatPersisted::default());
        let check = |znode: &mut Znode, data: Option<&[u8]>| {
            znode.set_data(data);
            assert_eq!((znode.name(), znode.data(), znode.data_len()), ("name", data, data.map_or(0, <[u8]>::len)));
        };
        for data in [Some(&b"atad"[..]), Some(b""), None, None, Some(b"longer data"), Some(b"x"), None, Some(b"")] {
            check(&mut znode, data);
        }
        let root = Znode::new("", None, StatPersisted::default());
        assert_eq!((root.name(), root.data()), ("", None));
    }

    #[test]
    fn positions_are_used_again_and_empty_chunks_hold_no_memory() {
        let mut slab = Slab::default();
        let mut positions: Vec<Position> = (0..3 * CHUNK_LENGTH).map(|_| slab.insert(Znode::vacant())).collect();
        assert_eq!(positions, (0..3 * CHUNK_LENGTH).collect::<Vec<_>>());
        for position in positions.drain(CHUNK_LENGTH as usize..) {
            slab.remove(position);
        }
        assert_eq!(slab.len(), CHUNK_LENGTH as usize);
        assert!(slab.chunks[1].slots.capacity() == 0 && slab.chunks[2].slots.capacity() == 0);
        slab.remove(5);
        assert_eq!([slab.insert(Znode::vacant()), slab.insert(Znode::vacant())], [5, CHUNK_LENGTH]);
    }
}
