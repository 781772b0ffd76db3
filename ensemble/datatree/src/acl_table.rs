//! The distinct ACL lists of the tree, each held once (`ReferenceCountedACLCache.java`).

use ensemble_proto::{Acl, AclList, DecodeError};
use std::collections::BTreeMap;

/// Stands for a list within one tree. Zero stands for null, which snapshots write as -1 and which grants everything; other
/// ids count up from 1 and are not used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct AclId(u32);

impl AclId {
    pub(crate) const NULL: AclId = AclId(0);

    /// As a snapshot holds it.
    pub(crate) fn on_disk(self) -> i64 {
        if self == AclId::NULL { -1 } else { self.0.into() }
    }

    pub(crate) fn from_disk(id: i64) -> Result<AclId, DecodeError> {
        match id {
            -1 => Ok(AclId::NULL),
            1.. => u32::try_from(id).map(AclId).map_err(|_| DecodeError::value("acl id", id, "below 2^32")),
            _ => Err(DecodeError::value("acl id", id, "-1 or positive")),
        }
    }
}

struct Entry {
    list: AclList,
    /// Znodes that have the list.
    uses: u32,
}

/// Every list that a znode has, with the number of znodes that have it.
pub(crate) struct AclTable {
    entries: BTreeMap<AclId, Entry>,
    ids: BTreeMap<AclList, AclId>,
    next: u32,
    open: AclList,
}

impl AclTable {
    pub(crate) fn new() -> AclTable {
        AclTable { entries: BTreeMap::new(), ids: BTreeMap::new(), next: 1, open: [Acl::world(Acl::ALL)].into() }
    }

    /// The id of a list that one more znode has.
    pub(crate) fn intern(&mut self, list: Option<&AclList>) -> AclId {
        let Some(list) = list else { return AclId::NULL };
        let id = *self.ids.entry(list.clone()).or_insert_with(|| {
            let id = AclId(self.next);
            self.next += 1;
            self.entries.insert(id, Entry { list: list.clone(), uses: 0 });
            id
        });
        self.add_use(id);
        id
    }

    /// One more znode has the list. False when there is none of that id.
    pub(crate) fn add_use(&mut self, id: AclId) -> bool {
        match self.entries.get_mut(&id) {
            Some(entry) => {
                entry.uses += 1;
                true
            }
            None => id == AclId::NULL,
        }
    }

    /// One znode less has the list; a list that none has is forgotten.
    pub(crate) fn release(&mut self, id: AclId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.uses -= 1;
            if entry.uses == 0 {
                if self.ids.get(&entry.list) == Some(&id) {
                    self.ids.remove(&entry.list);
                }
                self.entries.remove(&id);
            }
        }
    }

    /// Takes a list as a snapshot has it, with no use yet. False when the id has a list already.
    pub(crate) fn load(&mut self, id: AclId, list: AclList) -> bool {
        self.next = self.next.max(id.0.saturating_add(1));
        self.ids.insert(list.clone(), id);
        self.entries.insert(id, Entry { list, uses: 0 }).is_none()
    }

    /// Forgets the lists that no znode has.
    pub(crate) fn purge_unused(&mut self) {
        self.entries.retain(|_, entry| entry.uses > 0);
        self.ids.retain(|_, id| self.entries.contains_key(id));
    }

    /// The list; world:anyone with all permissions for null.
    pub(crate) fn list(&self, id: AclId) -> &AclList {
        self.entries.get(&id).map_or(&self.open, |entry| &entry.list)
    }

    /// The list as it is stored: `None` for null.
    pub(crate) fn stored(&self, id: AclId) -> Option<&AclList> {
        self.entries.get(&id).map(|entry| &entry.list)
    }

    /// Lists and their ids, ascending.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (AclId, &AclList)> {
        self.entries.iter().map(|(id, entry)| (*id, &entry.list))
    }

    /// The id that the next new list gets.
    pub(crate) fn next_id(&self) -> AclId {
        AclId(self.next)
    }

    /// Ids and the number of znodes that have them.
    pub(crate) fn uses(&self) -> BTreeMap<AclId, u32> {
        self.entries.iter().map(|(id, entry)| (*id, entry.uses)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_share_an_id_which_is_not_used_again() {
        let mut table = AclTable::new();
        let (open, read): (AclList, AclList) = ([Acl::world(31)].into(), [Acl::world(1)].into());
        let id = table.intern(Some(&open));
        assert_eq!(id.on_disk(), 1);
        assert_eq!(table.intern(Some(&[Acl::world(31)].into())), id);
        table.release(id);
        assert_eq!(table.stored(id), Some(&open));
        table.release(id);
        assert_eq!(table.stored(id), None);
        assert_eq!(table.intern(Some(&open)).on_disk(), 2);
        assert_eq!(table.intern(Some(&read)).on_disk(), 3);
        assert_eq!(table.intern(None).on_disk(), -1);
    }

    #[test]
    fn a_loaded_table_goes_on_counting_and_drops_what_is_not_used() {
        let mut table = AclTable::new();
        let seven = AclId::from_disk(7).expect("7 is an id");
        assert!(table.load(seven, [Acl::world(1)].into()));
        assert!(table.load(AclId::from_disk(9).expect("9 is an id"), [Acl::world(2)].into()));
        assert!(!table.load(seven, [Acl::world(1)].into()));
        assert!(table.add_use(seven) && table.add_use(AclId::NULL));
        assert!(!table.add_use(AclId::from_disk(8).expect("8 is an id")));
        table.purge_unused();
        assert_eq!(table.iter().map(|(id, _)| id.on_disk()).collect::<Vec<_>>(), [7]);
        assert_eq!(table.intern(Some(&[Acl::world(2)].into())).on_disk(), 10);
        assert!(AclId::from_disk(0).is_err() && AclId::from_disk(-2).is_err() && AclId::from_disk(1 << 40).is_err());
    }
}
