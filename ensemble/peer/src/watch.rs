//! Who hears about a changed znode (`WatchManager.java`): registries from a path to the connections that watch it. Watches
//! belong to the connection, are known to this server alone, and are forgotten when the connection goes.
//!
//! | Registry | left by | told of | after that |
//! |---|---|---|---|
//! | data | getData, exists | the znode itself | gone |
//! | child | getChildren | its children, its own end | gone |
//! | persistent | addWatch | both | stays |
//! | recursive | addWatch | the znode and each one below it, itself | stays |

use crate::{ClientId, WatchSummary};
use ensemble_proto::client::WatcherType;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// Most watched paths have one or two watchers; they need no allocation of their own.
pub(crate) type Watchers = SmallVec<[ClientId; 2]>;

/// Every watch of this server's connections.
pub(crate) struct Watches {
    pub(crate) data: Registry,
    pub(crate) child: Registry,
    pub(crate) persistent: Registry,
    pub(crate) recursive: Registry,
}

impl Watches {
    pub(crate) fn new(seed: u64) -> Watches {
        let new = || Registry::new(seed);
        Watches { data: new(), child: new(), persistent: new(), recursive: new() }
    }

    /// Who is told that the znode at `path` came, went or changed; each connection once.
    pub(crate) fn take_data(&mut self, path: &str) -> Watchers {
        let mut told = self.data.take(path);
        merge(&mut told, self.persistent.at(path));
        if self.recursive.count() > 0 {
            let ends = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
            for watched in ["/"].into_iter().chain(ends).chain((path != "/").then_some(path)) {
                merge(&mut told, self.recursive.at(watched));
            }
        }
        told
    }

    /// Who is told that the children of the znode at `path` changed, or that it went.
    pub(crate) fn take_child(&mut self, path: &str) -> Watchers {
        let mut told = self.child.take(path);
        merge(&mut told, self.persistent.at(path));
        told
    }

    /// Whether the connection has a watch of the type on `path`.
    pub(crate) fn has(&self, kind: WatcherType, path: &str, client: ClientId) -> bool {
        let all = [&self.child, &self.data, &self.persistent, &self.recursive];
        all[registries(kind)].iter().any(|registry| registry.at(path).contains(&client))
    }

    /// Removes the connection's watches of the type on `path`; false when there were none.
    pub(crate) fn remove(&mut self, kind: WatcherType, path: &str, client: ClientId) -> bool {
        let mut all = [&mut self.child, &mut self.data, &mut self.persistent, &mut self.recursive];
        let removed = all[registries(kind)].iter_mut().map(|registry| registry.remove(path, client));
        removed.fold(false, |any, removed| any | removed)
    }

    /// Forgets every watch of a connection.
    pub(crate) fn forget(&mut self, client: ClientId) {
        for registry in [&mut self.data, &mut self.child, &mut self.persistent, &mut self.recursive] {
            registry.forget(client);
        }
    }

    /// Where a connection watches the data of a znode, by whatever request; in no order, a path as often as it is watched.
    pub(crate) fn data_paths(&self, client: ClientId) -> Vec<Arc<str>> {
        let all = [&self.data, &self.persistent, &self.recursive];
        all.iter().flat_map(|registry| registry.of(client)).cloned().collect()
    }

    /// How many watches of data there are; `None` where more than one registry has some.
    pub(crate) fn summary(&self) -> Option<WatchSummary> {
        let data = &self.data;
        let (connections, paths, total) = (data.by_client.len(), data.by_path.len(), data.count());
        (self.persistent.count() + self.recursive.count() == 0).then_some(WatchSummary { connections, paths, total })
    }

    /// Number of (path, connection) pairs (`watch_count`): ZooKeeper keeps a persistent watch among data and among child watches.
    pub(crate) fn count(&self) -> usize {
        self.data.count() + self.child.count() + 2 * self.persistent.count() + self.recursive.count()
    }
}

/// Which of child, data, persistent and recursive a type means.
fn registries(kind: WatcherType) -> Range<usize> {
    match kind {
        WatcherType::Children => 0..1,
        WatcherType::Data => 1..2,
        WatcherType::Any => 0..4,
        WatcherType::Persistent => 2..3,
        WatcherType::Recursive => 3..4,
    }
}

fn merge(told: &mut Watchers, more: &[ClientId]) {
    for client in more {
        if !told.contains(client) {
            told.push(*client);
        }
    }
}

/// One registry: which connections watch which path.
pub(crate) struct Registry {
    by_path: HashMap<Arc<str>, Watchers, FixedState>,
    by_client: HashMap<ClientId, HashSet<Arc<str>, FixedState>, FixedState>,
    hasher: FixedState,
    count: usize,
}

impl Registry {
    fn new(seed: u64) -> Registry {
        let hasher = FixedState::with_seed(seed);
        Registry {
            by_path: HashMap::with_hasher(hasher.clone()),
            by_client: HashMap::with_hasher(hasher.clone()),
            hasher,
            count: 0,
        }
    }

    /// Registers a watch; a second one of the same client on the same path is the same watch.
    pub(crate) fn add(&mut self, path: &str, client: ClientId) {
        let path = match self.by_path.get_key_value(path) {
            Some((path, _)) => path.clone(),
            None => Arc::from(path),
        };
        let hasher = &self.hasher;
        // A client has few paths, a path may have a hundred thousand clients.
        let paths = self.by_client.entry(client).or_insert_with(|| HashSet::with_hasher(hasher.clone()));
        if paths.insert(path.clone()) {
            self.by_path.entry(path).or_default().push(client);
            self.count += 1;
        }
    }

    /// The watchers of `path`, in the order of their registration.
    fn at(&self, path: &str) -> &[ClientId] {
        self.by_path.get(path).map_or(&[], |watchers| watchers)
    }

    /// The paths that a connection watches, in no order.
    fn of(&self, client: ClientId) -> impl Iterator<Item = &Arc<str>> {
        self.by_client.get(&client).into_iter().flatten()
    }

    /// Removes one watch; false when there was none.
    fn remove(&mut self, path: &str, client: ClientId) -> bool {
        let Some(watchers) = self.by_path.get_mut(path) else { return false };
        let before = watchers.len();
        watchers.retain(|watcher| *watcher != client);
        let removed = watchers.len() < before;
        if watchers.is_empty() {
            self.by_path.remove(path);
        }
        if removed {
            self.count -= 1;
            self.unlist(path, client);
        }
        removed
    }

    /// Takes the watchers of `path`, in the order of their registration: the watch has fired.
    fn take(&mut self, path: &str) -> Watchers {
        let Some(watchers) = self.by_path.remove(path) else { return Watchers::new() };
        for client in &watchers {
            self.unlist(path, *client);
        }
        self.count -= watchers.len();
        watchers
    }

    fn unlist(&mut self, path: &str, client: ClientId) {
        if let Some(paths) = self.by_client.get_mut(&client) {
            paths.remove(path);
            if paths.is_empty() {
                self.by_client.remove(&client);
            }
        }
    }

    /// Forgets every watch of a connection.
    fn forget(&mut self, client: ClientId) {
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
    fn count(&self) -> usize {
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

    #[test]
    fn persistent_watches_stay_and_each_connection_is_told_once() {
        let mut watches = Watches::new(0);
        watches.persistent.add("/x", A);
        watches.data.add("/x", A);
        watches.recursive.add("/x", A);
        watches.recursive.add("/", B);
        for _ in 0..2 {
            assert_eq!(watches.take_data("/x").as_slice(), [A, B]);
            assert_eq!(watches.take_child("/x").as_slice(), [A]);
        }
        assert_eq!(watches.take_data("/x/y/z").as_slice(), [B, A]);
        assert_eq!(watches.take_data("/xy").as_slice(), [B]);
        assert_eq!(watches.take_data("/").as_slice(), [B]);
        assert_eq!(watches.take_child("/x/y").as_slice(), [], "a recursive watch tells nothing of children");
    }

    #[test]
    fn the_paths_of_a_connection_are_listed_however_they_are_watched() {
        let mut watches = Watches::new(0);
        watches.data.add("/b", A);
        watches.data.add("/a", A);
        watches.data.add("/a", B);
        watches.child.add("/c", A);
        assert_eq!(watches.summary(), Some(WatchSummary { connections: 2, paths: 2, total: 3 }));
        watches.persistent.add("/b", A);
        watches.recursive.add("/d", A);
        let paths = |client| {
            let mut paths = watches.data_paths(client).iter().map(ToString::to_string).collect::<Vec<_>>();
            paths.sort();
            paths.join(" ")
        };
        assert_eq!((paths(A), paths(B)), ("/a /b /b /d".to_owned(), "/a".to_owned()));
        assert_eq!(watches.summary(), None);
    }

    #[test]
    fn watches_are_found_and_removed_by_type() {
        use WatcherType::{Any, Children, Data, Persistent, Recursive};
        let mut watches = Watches::new(0);
        let all = [Children, Data, Persistent, Recursive];
        let fill = |watches: &mut Watches| {
            watches.child.add("/x", A);
            watches.data.add("/x", A);
            watches.persistent.add("/x", A);
            watches.recursive.add("/x", A);
        };
        for kind in all {
            fill(&mut watches);
            assert!(watches.has(kind, "/x", A) && watches.has(Any, "/x", A) && !watches.has(kind, "/x", B));
            assert!(watches.remove(kind, "/x", A) && !watches.remove(kind, "/x", A) && !watches.has(kind, "/x", A));
            assert!(all.iter().all(|other| *other == kind || watches.has(*other, "/x", A)), "{kind:?} alone is gone");
            assert!(watches.remove(Any, "/x", A) && !watches.has(Any, "/x", A));
            assert_eq!(watches.count(), 0);
        }
        fill(&mut watches);
        watches.forget(A);
        assert_eq!(watches.count(), 0);
    }
}
