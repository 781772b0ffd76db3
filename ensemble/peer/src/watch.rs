//! Who hears about a changed znode (`WatchManager.java`): two registries, *data* and *child*, each from a path to the
//! connections that watch it. Watches are one-shot, belong to the connection, are known to this server alone, and are
//! forgotten when the connection goes.

use crate::ClientId;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;
use std::sync::Arc;

/// Most watched paths have one or two watchers; they need no allocation of their own.
type Watchers = SmallVec<[ClientId; 2]>;

/// One registry: which connections watch which path.
pub(crate) struct Registry {
    by_path: HashMap<Arc<str>, Watchers, FixedState>,
    by_client: HashMap<ClientId, HashSet<Arc<str>, FixedState>, FixedState>,
    hasher: FixedState,
    count: usize,
}

impl Registry {
    pub(crate) fn new(seed: u64) -> Registry {
        let hasher = FixedState::with_seed(seed);
        Registry {
            by_path: HashMap::with_hasher(hasher.clone()),
            by_client: HashMap::with_hasher(hasher.clone()),
            hasher,
            count: 0,
        }
    }

    /// Registers a one-shot watch; a second one of the same client on the same path is the same watch.
    pub(crate) fn add(&mut self, path: &str, client: ClientId) {
        let path = match self.by_path.get_key_value(path) {
            Some((path, _)) => path.clone(),
            None => Arc::from(path),
        };
        let watchers = self.by_path.entry(path.clone()).or_default();
        if watchers.contains(&client) {
            return;
        }
        watchers.push(client);
        self.count += 1;
        let hasher = &self.hasher;
        self.by_client.entry(client).or_insert_with(|| HashSet::with_hasher(hasher.clone())).insert(path);
    }

    /// Takes the watchers of `path`, in the order of their registration: the watch has fired.
    pub(crate) fn take(&mut self, path: &str) -> Watchers {
        let Some(watchers) = self.by_path.remove(path) else { return Watchers::new() };
        for client in &watchers {
            if let Some(paths) = self.by_client.get_mut(client) {
                paths.remove(path);
                if paths.is_empty() {
                    self.by_client.remove(client);
                }
            }
        }
        self.count -= watchers.len();
        watchers
    }

    /// Forgets every watch of a connection.
    pub(crate) fn forget(&mut self, client: ClientId) {
        for path in self.by_client.remove(&client).into_iter().flatten() {
            let Some(watchers) = self.by_path.get_mut(&path) else { continue };
            watchers.retain(|watcher| *watcher != client);
            self.count -= 1;
            if watchers.is_empty() {
                self.by_path.remove(&path);
            }
        }
    }

    /// Number of (path, connection) pairs.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientId = ClientId(1);
    const B: ClientId = ClientId(2);

    fn check(registry: &mut Registry, path: &str, expected: &[ClientId]) {
        assert_eq!(registry.take(path).as_slice(), expected, "watchers of {path}");
    }

    #[test]
    fn a_watch_fires_once_however_often_it_was_registered() {
        let mut data = Registry::new(0);
        for client in [A, B, A] {
            data.add("/x", client);
        }
        data.add("/y", A);
        assert_eq!(data.count(), 3);
        check(&mut data, "/x", &[A, B]);
        check(&mut data, "/x", &[]);
        assert_eq!(data.count(), 1);
    }

    #[test]
    fn a_closed_connection_leaves_nothing_behind() {
        let mut data = Registry::new(0);
        data.add("/x", A);
        data.add("/x", B);
        data.add("/y", A);
        data.forget(A);
        assert_eq!(data.count(), 1);
        check(&mut data, "/y", &[]);
        check(&mut data, "/x", &[B]);
        assert!(data.by_path.is_empty() && data.by_client.is_empty());
    }
}
