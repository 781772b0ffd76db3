//! H-6: watches. A watch tells of the first change after it was left, once, before any reply that shows the change; there is no
//! event without a watch. setWatches tells at once what happened while the client was away.

use crate::history::{History, Item, Op};
use crate::model::{Answer, Trigger};
use crate::request::Request;
use crate::rules::replay::Replay;
use crate::trace::{Verdict, Violation};
use ensemble_proto::client::EventType;
use ensemble_proto::{ErrorCode, Zxid};
use std::collections::BTreeMap;

/// The two registries of a server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Class {
    /// Left by exists and getData.
    Data,
    /// Left by getChildren.
    Child,
}

type Key<'a> = (Class, &'a str);

/// What fires each kind of watch, in order.
struct Firings<'a> {
    by_key: BTreeMap<Key<'a>, Vec<(Zxid, EventType)>>,
}

impl<'a> Firings<'a> {
    fn new(triggers: &'a [(Zxid, Trigger)]) -> Firings<'a> {
        let mut by_key: BTreeMap<Key<'a>, Vec<(Zxid, EventType)>> = BTreeMap::new();
        for (zxid, Trigger { path, kind }) in triggers {
            for class in classes(*kind) {
                by_key.entry((*class, path)).or_default().push((*zxid, *kind));
            }
        }
        Firings { by_key }
    }

    /// The first firing after a watch was left at the state `since`.
    fn first(&self, key: Key<'_>, since: Zxid) -> Option<(Zxid, EventType)> {
        let firings = self.by_key.get(&key)?;
        firings.get(firings.partition_point(|(zxid, _)| *zxid <= since)).copied()
    }
}

/// Which registries an event is for.
fn classes(kind: EventType) -> &'static [Class] {
    match kind {
        EventType::NodeCreated | EventType::NodeDataChanged => &[Class::Data],
        EventType::NodeDeleted => &[Class::Data, Class::Child],
        EventType::NodeChildrenChanged => &[Class::Child],
    }
}

/// Checks every connection.
pub fn check(history: &History, replay: &Replay) -> Verdict {
    let firings = Firings::new(&replay.triggers);
    history.streams.iter().try_for_each(|stream| check_stream(history, replay, &firings, stream))
}

fn check_stream(history: &History, replay: &Replay, firings: &Firings<'_>, stream: &[Item]) -> Verdict {
    // The watches of this connection, with the state at which each was left.
    let mut watches: BTreeMap<(Class, String), Zxid> = BTreeMap::new();
    let mut caught_up: Vec<Trigger> = Vec::new();
    for item in stream {
        match item {
            Item::Event { zxid: Zxid::NONE, kind, path } => {
                caught_up.push(Trigger { path: path.clone(), kind: *kind });
            }
            Item::Event { zxid, kind, path } => fire(firings, &mut watches, *zxid, *kind, path)?,
            Item::Pong(zxid) => overdue(firings, &watches, *zxid)?,
            Item::Reply(index) => {
                let op = &history.ops[*index];
                let Some(reply) = &op.reply else { continue };
                if reply.answer.error() == Some(ErrorCode::SESSION_EXPIRED) {
                    continue;
                }
                overdue(firings, &watches, reply.zxid)?;
                let expected = replay.missed.get(index).map(Vec::as_slice).unwrap_or_default();
                same(op, std::mem::take(&mut caught_up), expected)?;
                // Nobody reads the error of a setWatches: its client relies on it.
                if !reply.answer.is_refusal() || matches!(op.request, Request::SetWatches { .. }) {
                    leave(op, reply.zxid, &reply.answer, expected, &mut watches);
                }
            }
        }
    }
    Ok(())
}

/// An event must be the first firing of a watch of this connection.
fn fire(
    firings: &Firings<'_>,
    watches: &mut BTreeMap<(Class, String), Zxid>,
    zxid: Zxid,
    kind: EventType,
    path: &str,
) -> Verdict {
    let mut had_cause = false;
    for class in classes(kind) {
        let key = (*class, path.to_string());
        let is_cause =
            watches.get(&key).is_some_and(|since| firings.first((*class, path), *since) == Some((zxid, kind)));
        if is_cause {
            watches.remove(&key);
            had_cause = true;
        }
    }
    if had_cause {
        return Ok(());
    }
    Err(Violation::new("H-6", format!("{kind:?} {path} at {zxid}: no watch was to tell this")))
}

/// A reply from the state `zxid` must not come before the events of that state.
fn overdue(firings: &Firings<'_>, watches: &BTreeMap<(Class, String), Zxid>, zxid: Zxid) -> Verdict {
    for ((class, path), since) in watches {
        if let Some((fired, kind)) = firings.first((*class, path), *since)
            && fired <= zxid
        {
            let message = format!("a reply from {zxid} came before {kind:?} {path} at {fired}");
            return Err(Violation::new("H-6", message));
        }
    }
    Ok(())
}

/// What setWatches reported is what it must have reported, in any order; nothing else reports without a transaction.
fn same(op: &Op, mut found: Vec<Trigger>, expected: &[Trigger]) -> Verdict {
    let mut expected = expected.to_vec();
    let order = |a: &Trigger, b: &Trigger| (&a.path, a.kind).cmp(&(&b.path, b.kind));
    found.sort_by(order);
    expected.sort_by(order);
    if found == expected {
        return Ok(());
    }
    Err(Violation::new("H-6", format!("{op:?} reported {found:?} and must report {expected:?}")))
}

/// The watches that a request leaves.
fn leave(op: &Op, zxid: Zxid, answer: &Answer, reported: &[Trigger], watches: &mut BTreeMap<(Class, String), Zxid>) {
    match &op.request {
        Request::Exists { path, watch: true } => {
            watches.entry((Class::Data, path.clone())).or_insert(zxid);
        }
        Request::GetData { path, watch: true } if answer.error().is_none() => {
            watches.entry((Class::Data, path.clone())).or_insert(zxid);
        }
        Request::GetChildren { path, watch: true } if answer.error().is_none() => {
            watches.entry((Class::Child, path.clone())).or_insert(zxid);
        }
        Request::SetWatches { data, exist, child, .. } => {
            let was_reported = |path: &str, class: Class| {
                reported.iter().any(|trigger| trigger.path == path && classes(trigger.kind).contains(&class))
            };
            let data = data.iter().chain(exist).map(|path| (Class::Data, path));
            for (class, path) in data.chain(child.iter().map(|path| (Class::Child, path))) {
                if !was_reported(path, class) {
                    watches.entry((class, path.clone())).or_insert(zxid);
                }
            }
        }
        _ => {}
    }
}
