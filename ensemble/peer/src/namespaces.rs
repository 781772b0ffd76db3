//! Bytes read and written by namespace, a child of the root (`DataTree.updateReadStat`, `updateWriteStat`).
//!
//! Namespaces are as many as clients make; of more than [`NAMESPACES_MAX`] the later ones are not told apart, nor counted: the sum over
//! all is then less than what was read. Differs from ZooKeeper, whose limit is its memory.

use ensemble_proto::Summary;
use ensemble_proto::txn::Txn;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::time::Duration;

/// Namespaces that are told apart.
const NAMESPACES_MAX: usize = 200;

/// A distribution of bytes for each namespace.
#[derive(Clone, Debug)]
pub struct Namespaces(HashMap<Box<str>, Summary, FixedState>);

impl Default for Namespaces {
    /// The names are clients' words, and at most so many: who makes them collide gains nothing.
    fn default() -> Namespaces {
        Namespaces(HashMap::with_hasher(FixedState::with_seed(0)))
    }
}

impl Namespaces {
    /// So many bytes were read or written at `path`. The root is of no namespace.
    pub(crate) fn observe(&mut self, now: Duration, path: &str, bytes: usize) {
        let Some(namespace) = namespace(path) else { return };
        if let Some(summary) = self.0.get_mut(namespace) {
            summary.observe(now, bytes as f64);
        } else if self.0.len() < NAMESPACES_MAX {
            self.0.entry(namespace.into()).or_default().observe(now, bytes as f64);
        }
    }

    /// A transaction was applied: what it wrote, paths and data.
    pub(crate) fn observe_txn(&mut self, now: Duration, txn: &Txn) {
        let (path, data) = match txn {
            Txn::Create(create) | Txn::Create2(create) | Txn::CreateContainer(create) => (&create.path, &create.data),
            Txn::CreateTtl { create, .. } => (&create.path, &create.data),
            Txn::SetData(set) | Txn::Reconfig(set) => (&set.path, &set.data),
            Txn::Delete { path } | Txn::DeleteContainer { path } => (path, &None),
            Txn::Multi(txns) if txns.iter().any(|txn| matches!(txn, Txn::Error(_))) => return,
            Txn::Multi(txns) => return txns.iter().for_each(|txn| self.observe_txn(now, txn)),
            Txn::CloseSession { paths } => {
                return paths.iter().flatten().for_each(|path| self.observe(now, path, path.len()));
            }
            Txn::CreateSession { .. } | Txn::Error(_) | Txn::SetAcl { .. } | Txn::Check { .. } => return,
        };
        self.observe(now, path, path.len() + data.as_ref().map_or(0, |data| data.len()));
    }

    /// By name, ascending.
    pub fn by_name(&self) -> BTreeMap<&str, &Summary> {
        self.0.iter().map(|(name, summary)| (&**name, summary)).collect()
    }
}

/// How often something was refused, for each namespace.
#[derive(Clone, Default, Debug)]
pub struct Refusals(BTreeMap<Box<str>, u64>);

impl Refusals {
    /// It was at `path`.
    pub(crate) fn count(&mut self, path: &str) {
        let Some(namespace) = namespace(path) else { return };
        if let Some(count) = self.0.get_mut(namespace) {
            *count += 1;
        } else if self.0.len() < NAMESPACES_MAX {
            self.0.insert(namespace.into(), 1);
        }
    }

    /// By name, ascending.
    pub fn by_name(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (&**name, *count))
    }
}

/// The child of the root that a path is of; none for the root.
fn namespace(path: &str) -> Option<&str> {
    path.split('/').nth(1).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_namespace_up_to_a_limit() {
        let mut refusals = Refusals::default();
        for path in ["/b/c", "/a", "/b", "/"] {
            refusals.count(path);
        }
        assert_eq!(refusals.by_name().collect::<Vec<_>>(), [("a", 1), ("b", 2)]);
        (0..2 * NAMESPACES_MAX).for_each(|number| refusals.count(&format!("/{number}")));
        refusals.count("/a");
        assert_eq!((refusals.by_name().count(), refusals.by_name().next()), (NAMESPACES_MAX, Some(("0", 1))));
        assert!(refusals.by_name().any(|counted| counted == ("a", 2)));
    }
    use ensemble_proto::ErrorCode;
    use ensemble_proto::txn::SetDataTxn;

    /// Name, samples and bytes of each namespace.
    fn told(namespaces: &Namespaces) -> Vec<(&str, u64, f64)> {
        namespaces.by_name().into_iter().map(|(name, bytes)| (name, bytes.count(), bytes.sum())).collect()
    }

    #[test]
    fn bytes_are_those_of_path_and_data_by_the_first_name() {
        let mut namespaces = Namespaces::default();
        let set = |path: &str| Txn::SetData(SetDataTxn { path: path.into(), data: Some("12345".into()), version: 1 });
        let delete = Txn::Delete { path: "/b/c".into() };
        namespaces.observe_txn(Duration::ZERO, &set("/a"));
        namespaces.observe_txn(Duration::ZERO, &Txn::Multi(vec![set("/a/b"), delete.clone()]));
        namespaces.observe_txn(Duration::ZERO, &Txn::Multi(vec![delete, Txn::Error(ErrorCode::NO_NODE)]));
        namespaces.observe_txn(Duration::ZERO, &Txn::CloseSession { paths: Some(vec!["/e".into()]) });
        namespaces.observe(Duration::ZERO, "/", 1000);
        assert_eq!(told(&namespaces), [("a", 2, 16.0), ("b", 1, 4.0), ("e", 1, 2.0)]);
    }

    #[test]
    fn so_many_are_told_apart() {
        let mut namespaces = Namespaces::default();
        for number in 0..NAMESPACES_MAX + 5 {
            namespaces.observe(Duration::ZERO, &format!("/n{number}"), 1);
        }
        namespaces.observe(Duration::ZERO, "/n0", 1);
        assert_eq!(namespaces.by_name().len(), NAMESPACES_MAX);
        assert_eq!(namespaces.by_name()["n0"].count(), 2);
    }
}
