//! What a session watches, to be told to the next server after a reconnect (`ZKWatchManager.java`). Paths are the server's.

use ensemble_proto::Zxid;
use ensemble_proto::client::{EventType, SetWatches, SetWatches2, WatcherType};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A kind of watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Of getData, or of exists while the znode exists.
    Data,
    /// Of exists while the znode does not exist.
    Exist,
    /// Of getChildren.
    Child,
    /// Stays.
    Persistent,
    /// Stays, and is for all below too.
    Recursive,
}

/// The paths by kind.
#[derive(Default, Debug)]
pub(crate) struct Watches {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

impl Watches {
    fn of(&mut self, kind: Kind) -> &mut BTreeSet<String> {
        match kind {
            Kind::Data => &mut self.data,
            Kind::Exist => &mut self.exist,
            Kind::Child => &mut self.child,
            Kind::Persistent => &mut self.persistent,
            Kind::Recursive => &mut self.recursive,
        }
    }

    pub(crate) fn add(&mut self, kind: Kind, path: String) {
        self.of(kind).insert(path);
    }

    /// One-shot watches that an event has used up.
    pub(crate) fn fire(&mut self, event: EventType, path: &str) {
        let used: &[Kind] = match event {
            EventType::NodeCreated | EventType::NodeDataChanged => &[Kind::Data, Kind::Exist],
            EventType::NodeChildrenChanged => &[Kind::Child],
            EventType::NodeDeleted => &[Kind::Data, Kind::Exist, Kind::Child],
        };
        for kind in used {
            self.of(*kind).remove(path);
        }
    }

    /// Watches that the user took back; whether there were any.
    pub(crate) fn remove(&mut self, which: WatcherType, path: &str) -> bool {
        let kinds: &[Kind] = match which {
            WatcherType::Children => &[Kind::Child],
            WatcherType::Data => &[Kind::Data, Kind::Exist],
            WatcherType::Any => &[Kind::Data, Kind::Exist, Kind::Child, Kind::Persistent, Kind::Recursive],
            WatcherType::Persistent => &[Kind::Persistent],
            WatcherType::Recursive => &[Kind::Recursive],
        };
        kinds.iter().filter(|kind| self.of(**kind).remove(path)).count() > 0
    }

    /// What another server is told; `None` when nothing is watched.
    pub(crate) fn request(&self, relative_zxid: Zxid) -> Option<SetWatches2<'static>> {
        let list = |paths: &BTreeSet<String>| paths.iter().cloned().map(Cow::Owned).collect::<Vec<_>>();
        let one_shot =
            SetWatches { relative_zxid, data: list(&self.data), exist: list(&self.exist), child: list(&self.child) };
        let request = SetWatches2 { one_shot, persistent: list(&self.persistent), recursive: list(&self.recursive) };
        let SetWatches2 { one_shot: SetWatches { data, exist, child, .. }, persistent, recursive } = &request;
        let is_empty = [data, exist, child, persistent, recursive].iter().all(|paths| paths.is_empty());
        (!is_empty).then_some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_shot_watch_is_used_up_by_its_event_and_a_persistent_one_is_not() {
        let mut watches = Watches::default();
        for kind in [Kind::Data, Kind::Child, Kind::Recursive] {
            watches.add(kind, "/a".to_owned());
        }
        watches.fire(EventType::NodeDataChanged, "/a");
        let request = watches.request(Zxid(7)).unwrap();
        assert_eq!((request.one_shot.data.len(), request.one_shot.child.len(), request.recursive.len()), (0, 1, 1));
        watches.fire(EventType::NodeDeleted, "/a");
        assert!(!watches.remove(WatcherType::Children, "/a"));
        assert!(watches.remove(WatcherType::Any, "/a"));
        assert_eq!(watches.request(Zxid(7)), None);
    }
}
