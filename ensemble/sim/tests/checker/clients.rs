//! What clients may and may not see: a line a run, with the rules that accuse it.

use crate::story::*;
use ensemble_proto::client::{EventType, MultiResult};
use ensemble_proto::txn::{CreateTxn, Txn};
use ensemble_proto::{Epoch, ErrorCode, SessionId, Zxid};
use ensemble_sim::model::Answer;
use ensemble_sim::request::Request;
use ensemble_sim::world::Ear;
use std::time::Duration;

/// Its accusers, its name, its story.
pub(crate) type Case = (&'static str, &'static str, fn(&mut Story));

const LEADER: Ear = Ear::Leader(Epoch(1));
const LEARNER: Ear = Ear::Learner(Epoch(1));

fn path(path: &str) -> Answer {
    Answer::Path(path.to_string())
}

fn error(code: ErrorCode) -> Answer {
    Answer::Error(code)
}

fn codes(codes: &[ErrorCode]) -> Answer {
    Answer::Multi(codes.iter().map(|code| MultiResult::Error(*code)).collect())
}

/// The connection was lost before the answer.
fn lost(s: &mut Story, session: i64, request: Request) -> Zxid {
    let op = s.ask(session, request);
    s.commit(op)
}

fn set_watches(since: Zxid, data: &[&str], exist: &[&str], child: &[&str]) -> Request {
    let paths = |paths: &[&str]| paths.iter().map(|path| path.to_string()).collect();
    Request::SetWatches { since, data: paths(data), exist: paths(exist), child: paths(child) }
}

/// Session 1 stays with this ear for three seconds, then is ended.
fn ended_while_heard(s: &mut Story, by: Ear) {
    for _ in 0..30 {
        s.wait(99);
        s.heard(1, by);
    }
    s.expire(1);
}

/// Session 1 and session 2 queue for a lock.
fn queue(s: &mut Story) {
    s.write(1, create("/lock"));
    s.write(1, ticket("/lock/t"));
    s.write(2, ticket("/lock/t"));
}

fn listing(s: &Story, op: usize, names: &[&str]) -> Answer {
    match s.answered(op) {
        Answer::Children(_, stat) => Answer::Children(names.iter().map(|name| name.to_string()).collect(), stat),
        other => other,
    }
}

pub(crate) const BAD: &[Case] = &[
    ("H-1", "a create is told another path", |s| {
        let op = s.write(1, create("/a"));
        s.bend(op, path("/b"));
    }),
    ("H-1", "a setData is told the stat of before it", |s| {
        s.write(1, create("/a"));
        let first = s.write(1, set("/a", "1"));
        let second = s.write(1, set("/a", "2"));
        s.bend(second, s.answered(first));
    }),
    ("H-1", "a success is told as an error", |s| {
        let op = s.write(1, create("/a"));
        s.bend(op, error(ErrorCode::NODE_EXISTS));
    }),
    ("H-1", "a write is refused and takes effect", |s| {
        let op = s.write(1, create("/a"));
        s.bend(op, error(ErrorCode::THROTTLED_OP));
    }),
    ("H-1", "an error is told as a success", |s| {
        s.write(1, create("/a"));
        let again = s.write(2, create("/a"));
        s.bend(again, path("/a"));
    }),
    ("H-1", "an answered write is in no log", |s| {
        let op = s.ask(1, create("/a"));
        s.reply(op, s.last(), path("/a"));
    }),
    ("H-1", "an answer names the transaction before its own", |s| {
        let first = s.write(1, create("/a"));
        let second = s.write(1, create("/b"));
        s.bend_zxid(second, s.zxid(first));
    }),
    ("H-1", "a write comes before one that was answered before it was sent", |s| {
        let late = s.ask(2, create("/b"));
        let zxid = s.commit(late);
        s.write(1, create("/a"));
        s.wait(1);
        s.history.ops[late].invoked = s.now;
        s.ledger.proposed.entry(zxid).and_modify(|(_, at)| *at = s.now);
        s.answer(late, zxid);
    }),
    ("H-2", "a lost write was proposed before it was sent", |s| {
        let zxid = lost(s, 1, create("/a"));
        s.ledger.proposed.entry(zxid).and_modify(|(_, at)| *at = Duration::ZERO);
    }),
    ("H-2", "an answered write was proposed before it was sent", |s| {
        let op = s.write(1, create("/a"));
        s.ledger.proposed.entry(s.zxid(op)).and_modify(|(_, at)| *at = Duration::ZERO);
    }),
    ("H-2", "a lost write failed that could not fail", |s| {
        let zxid = lost(s, 1, create("/a"));
        s.relog(zxid, |record| record.txn = Txn::Error(ErrorCode::NODE_EXISTS));
    }),
    ("H-2", "a lost write took effect after its session's end", |s| {
        let op = s.ask(1, create("/a"));
        s.expire(1);
        let zxid = s.commit(op);
        let created = CreateTxn { path: "/a".into(), data: None, acl: None, ephemeral: true, parent_cversion: 1 };
        s.relog(zxid, |record| record.txn = Txn::Create(created));
    }),
    ("H-2", "a lost multi failed for another reason than its own", |s| {
        let zxid = lost(s, 1, Request::Multi(vec![delete("/none"), create("/a")]));
        s.relog(zxid, |record| {
            let errors = [ErrorCode::BAD_VERSION, ErrorCode::RUNTIME_INCONSISTENCY];
            record.txn = Txn::Multi(errors.into_iter().map(Txn::Error).collect());
        });
    }),
    ("H-3", "a read shows what comes after its zxid", |s| {
        s.write(1, create("/a"));
        let before = s.last();
        s.write(1, set("/a", "1"));
        let new = s.read(1, get("/a", false));
        let old = s.read_at(2, get("/a", false), before);
        s.bend(old, s.answered(new));
    }),
    ("H-3", "a read shows less than its zxid", |s| {
        s.write(1, create("/a"));
        let old = s.read(2, get("/a", false));
        s.write(1, set("/a", "1"));
        let new = s.read(2, get("/a", false));
        s.bend(new, s.answered(old));
    }),
    ("H-3", "a session goes back", |s| {
        s.write(1, create("/a"));
        let before = s.last();
        s.write(1, set("/a", "1"));
        s.read(2, get("/a", false));
        s.read_at(2, get("/a", false), before);
    }),
    ("H-3", "a session goes back on another server", |s| {
        s.write(1, create("/a"));
        let before = s.last();
        s.write(1, set("/a", "1"));
        s.read(2, get("/a", false));
        s.connect(2);
        s.read_at(2, get("/a", false), before);
    }),
    ("H-3", "a session does not see its own write", |s| {
        let before = s.last();
        s.write(1, create("/a"));
        s.read_at(1, exists("/a", false), before);
    }),
    ("H-3", "a read comes from a state that nobody committed", |s| {
        let op = s.read(1, exists("/a", false));
        s.bend_zxid(op, Zxid::new(Epoch(7), 7));
    }),
    ("H-3", "half a multi is seen", |s| {
        s.write(1, Request::Multi(vec![create("/a"), create("/b")]));
        let op = s.read(2, exists("/b", false));
        s.bend(op, error(ErrorCode::NO_NODE));
    }),
    ("H-3", "an ephemeral znode is seen after its owner's end", |s| {
        s.write(1, ephemeral("/e"));
        let alive = s.read(2, exists("/e", false));
        s.expire(1);
        let after = s.read(2, exists("/e", false));
        s.bend(after, s.answered(alive));
    }),
    ("H-3", "an ephemeral znode is listed after closeSession was answered", |s| {
        s.write(1, ephemeral("/e"));
        s.write(1, Request::Close);
        let op = s.read(2, children("/", false));
        s.bend(op, listing(s, op, &["e", "zookeeper"]));
    }),
    ("H-4", "a session's lost writes take effect the wrong way round", |s| {
        let (first, second) = (s.ask(1, create("/a")), s.ask(1, create("/b")));
        s.commit(second);
        s.commit(first);
    }),
    ("H-3 H-4", "a session's answered writes take effect the wrong way round", |s| {
        let (first, second) = (s.ask(1, create("/a")), s.ask(1, create("/b")));
        let late = s.commit(second);
        let early = s.commit(first);
        s.answer(first, early);
        s.answer(second, late);
    }),
    ("H-5", "a sync answers from before a write that had been answered", |s| {
        let before = s.last();
        s.write(1, create("/a"));
        s.read_at(2, Request::Sync, before);
    }),
    ("H-3 H-5", "a read after a sync misses a write that had been answered", |s| {
        let before = s.last();
        s.write(1, create("/a"));
        s.read(2, Request::Sync);
        s.read_at(2, exists("/a", false), before);
    }),
    ("H-6", "a change is seen without the event of its watch", |s| {
        s.write(1, create("/a"));
        s.read(2, get("/a", true));
        s.write(1, set("/a", "1"));
        s.read(2, get("/a", false));
    }),
    ("H-6", "a pong overtakes an event", |s| {
        s.write(1, create("/a"));
        s.read(2, get("/a", true));
        s.write(1, set("/a", "1"));
        s.pong(2, s.last());
        s.event(2, s.last(), EventType::NodeDataChanged, "/a");
    }),
    ("H-6", "an event comes after the reply that shows the change", |s| {
        s.write(1, create("/a"));
        s.read(2, get("/a", true));
        s.write(1, set("/a", "1"));
        s.read(2, exists("/b", false));
        s.event(2, s.last(), EventType::NodeDataChanged, "/a");
    }),
    ("H-6", "a watch fires twice", |s| {
        s.write(1, create("/a"));
        s.read(2, get("/a", true));
        for data in ["1", "2"] {
            s.write(1, set("/a", data));
            s.event(2, s.last(), EventType::NodeDataChanged, "/a");
        }
    }),
    ("H-6", "an event has no watch", |s| {
        s.write(1, create("/a"));
        s.event(2, s.last(), EventType::NodeCreated, "/a");
    }),
    ("H-6", "an event tells of a deletion as of a change", |s| {
        s.write(1, create("/a"));
        s.read(2, get("/a", true));
        s.write(1, delete("/a"));
        s.event(2, s.last(), EventType::NodeDataChanged, "/a");
    }),
    ("H-6", "a watch leaves out the first change", |s| {
        s.write(1, create("/a"));
        s.read(2, get("/a", true));
        s.write(1, set("/a", "1"));
        s.write(1, set("/a", "2"));
        s.event(2, s.last(), EventType::NodeDataChanged, "/a");
    }),
    ("H-6", "a watch of a getData that failed fires", |s| {
        s.read(2, get("/a", true));
        s.write(1, create("/a"));
        s.event(2, s.last(), EventType::NodeCreated, "/a");
    }),
    ("H-6", "setWatches is silent about a change", |s| {
        s.write(1, create("/a"));
        let since = s.last();
        s.read(2, get("/a", true));
        s.write(1, set("/a", "1"));
        s.connect(2);
        s.read(2, set_watches(since, &["/a"], &[], &[]));
    }),
    ("H-6", "setWatches is refused, and the change after it not told", |s| {
        s.write(1, create("/a"));
        s.read(2, get("/a", true));
        s.connect(2);
        let op = s.ask(2, set_watches(s.last(), &["/a"], &[], &[]));
        s.reply(op, s.last(), error(ErrorCode::THROTTLED_OP));
        s.write(1, set("/a", "1"));
        s.read(2, exists("/b", false));
    }),
    ("H-6", "setWatches tells of what has not changed", |s| {
        s.write(1, create("/a"));
        s.read(2, get("/a", true));
        s.connect(2);
        s.event(2, Zxid::NONE, EventType::NodeDataChanged, "/a");
        s.read(2, set_watches(s.last(), &["/a"], &[], &[]));
    }),
    ("H-7", "a session is ended while the leader hears it", |s| ended_while_heard(s, LEADER)),
    ("H-7", "a session is ended while a learner in sync hears it again and again", |s| {
        ended_while_heard(s, LEARNER);
    }),
    ("H-7", "a new leader ends a session that it has not waited for", |s| {
        s.heard(1, LEADER);
        s.wait(2000);
        s.epoch = Epoch(2);
        s.ledger.established.insert(s.epoch, s.now);
        s.wait(900);
        s.expire(1);
    }),
    ("H-7", "a session is ended a moment before its timeout has passed", |s| {
        s.heard(1, LEADER);
        s.wait(998);
        s.expire(1);
        let (zxid, heard) = (s.last(), s.heard[&SessionId(1)][0].at);
        s.ledger.proposed.entry(zxid).and_modify(|(_, at)| *at = heard + TIMEOUT - Duration::from_nanos(1));
    }),
    ("H-8", "a lost write takes effect twice", |s| {
        let op = s.ask(1, create("/a"));
        s.commit(op);
        s.commit(op);
    }),
    ("H-8 H-1", "an answered write takes effect again", |s| {
        s.write(1, create("/a"));
        let op = s.write(1, set("/a", "1"));
        s.commit(op);
    }),
    ("H-8", "a transaction is nobody's", |s| {
        let op = s.write(1, create("/a"));
        s.relog(s.zxid(op), |record| record.header.cxid = 99);
    }),
    ("H-9", "a multi is logged with a part missing", |s| {
        let op = s.write(1, Request::Multi(vec![create("/a"), create("/b")]));
        s.relog(s.zxid(op), |record| {
            if let Txn::Multi(parts) = &mut record.txn {
                parts.pop();
            }
        });
    }),
    ("H-9", "a lost multi is logged as its first part", |s| {
        let zxid = lost(s, 1, Request::Multi(vec![delete("/none"), create("/b")]));
        s.relog(zxid, |record| record.txn = Txn::Error(ErrorCode::NO_NODE));
    }),
    ("H-9 H-1", "a multi is answered with a result missing", |s| {
        let op = s.write(1, Request::Multi(vec![create("/a"), create("/b")]));
        s.bend(op, Answer::Multi(vec![MultiResult::Create("/a".into())]));
    }),
    ("H-9 H-1", "one part of a multi succeeds, the other fails", |s| {
        let op = s.write(1, Request::Multi(vec![create("/a"), delete("/none")]));
        let results = vec![MultiResult::Create("/a".into()), MultiResult::Error(ErrorCode::NO_NODE)];
        s.bend(op, Answer::Multi(results));
    }),
    ("H-9 H-1", "what comes after the failed part of a multi is told as done", |s| {
        let op = s.write(1, Request::Multi(vec![delete("/none"), create("/a")]));
        s.bend(op, codes(&[ErrorCode::NO_NODE, ErrorCode::OK]));
    }),
    ("H-10 H-1", "sequential digits go back", |s| {
        s.write(1, sequential("/s"));
        s.write(1, sequential("/s"));
        let third = s.write(2, sequential("/s"));
        s.bend(third, path("/s0000000000"));
    }),
    ("H-10 H-1", "two sequential znodes have the same digits", |s| {
        let first = s.write(1, sequential("/s"));
        let second = s.write(2, sequential("/s"));
        s.bend(second, s.answered(first));
    }),
    ("H-10 H-1", "a sequential znode has no digits", |s| {
        let op = s.write(1, sequential("/s"));
        s.bend(op, path("/s"));
    }),
    ("H-3 H-11", "two hold a lock in one state", |s| {
        queue(s);
        s.read(1, children("/lock", false));
        let second = s.read(2, children("/lock", false));
        s.bend(second, listing(s, second, &["t0000000001"]));
    }),
    ("H-3 H-11", "a lock goes back to one who has been succeeded", |s| {
        queue(s);
        s.write(2, delete("/lock/t0000000000"));
        s.read(2, children("/lock", false));
        s.write(2, create("/other"));
        let op = s.read(1, children("/lock", false));
        s.bend(op, listing(s, op, &["t0000000000", "t0000000001"]));
    }),
];

pub(crate) const GOOD: &[Case] = &[
    ("", "writes that fail are answered so, at their place", |s| {
        s.write(1, delete("/none"));
        s.write(1, create("/none/below"));
        s.write(1, create("/a"));
        s.write(1, create("/a"));
        s.write(1, Request::Delete { path: "/a".into(), version: 5 });
    }),
    ("", "nothing goes below an ephemeral znode", |s| {
        s.write(1, ephemeral("/e"));
        s.write(2, create("/e/below"));
        s.read(2, children("/e", false));
    }),
    ("", "a lost write has taken effect", |s| {
        lost(s, 1, create("/a"));
        s.read(2, get("/a", false));
    }),
    ("", "a lost write has not taken effect", |s| {
        s.ask(1, create("/a"));
        s.connect(1);
        s.read(1, exists("/a", false));
        s.write(1, create("/a"));
    }),
    ("", "a lost write takes effect while its client is away", |s| {
        let op = s.ask(1, create("/a"));
        s.read(2, exists("/a", false));
        s.connect(1);
        s.commit(op);
        s.write(1, create("/a"));
    }),
    ("", "a lost write comes to its server after its session's end, and fails", |s| {
        let op = s.ask(1, create("/a"));
        s.expire(1);
        s.commit(op);
        s.read(2, exists("/a", false));
    }),
    ("", "a lost multi fails as it must", |s| {
        lost(s, 1, Request::Multi(vec![create("/a"), delete("/none"), create("/b")]));
        s.read(2, children("/", false));
    }),
    ("", "writes of two sessions take effect in another order than they were sent", |s| {
        let (first, second) = (s.ask(1, create("/a")), s.ask(2, create("/a")));
        let (later, sooner) = (s.commit(second), s.commit(first));
        s.answer(first, sooner);
        s.answer(second, later);
    }),
    ("", "an old state is read after a newer one was acknowledged to another session", |s| {
        s.write(1, create("/a"));
        let before = s.last();
        s.write(1, set("/a", "1"));
        s.read_at(2, get("/a", false), before);
        s.read(2, get("/a", false));
    }),
    ("", "a session stays in one state while others write", |s| {
        let before = s.last();
        s.write(1, create("/a"));
        s.read_at(2, exists("/a", false), before);
        s.connect(2);
        s.read_at(2, exists("/a", false), before);
    }),
    ("", "requests in a pipeline are answered in their order", |s| {
        let first = s.ask(1, create("/a"));
        let second = s.ask(1, set("/a", "1"));
        let third = s.ask(1, get("/a", false));
        let (one, two) = (s.commit(first), s.commit(second));
        s.answer(first, one);
        s.answer(second, two);
        let last = s.read(2, get("/a", false));
        s.reply(third, two, s.answered(last));
    }),
    ("", "a request of a lost session has no effect on the order of the session's others", |s| {
        let stray = s.ask(1, create("/a"));
        s.connect(1);
        s.write(1, create("/b"));
        s.refuse(stray, ErrorCode::SESSION_MOVED);
    }),
    ("", "a session that has moved is told so", |s| {
        let op = s.ask(1, create("/a"));
        let zxid = s.refuse(op, ErrorCode::SESSION_MOVED);
        s.reply(op, zxid, error(ErrorCode::SESSION_MOVED));
        s.read(2, exists("/a", false));
    }),
    ("", "a server that knows of a session's end says so without asking", |s| {
        s.expire(1);
        let op = s.ask(1, create("/a"));
        s.reply(op, Zxid::ZERO, error(ErrorCode::SESSION_EXPIRED));
    }),
    ("", "what waited for too long is refused, is not done, and leaves no watch", |s| {
        s.write(1, create("/a"));
        for request in [set("/a", "1"), get("/a", true), exists("/b", true)] {
            let op = s.ask(2, request);
            s.reply(op, s.last(), error(ErrorCode::THROTTLED_OP));
        }
        s.write(1, set("/a", "2"));
        s.write(1, create("/b"));
        s.read(2, get("/a", false));
    }),
    ("", "a new leader's transactions follow the old one's", |s| {
        s.write(1, create("/a"));
        s.epoch = Epoch(4);
        s.write(1, set("/a", "1"));
        s.read(2, get("/a", false));
    }),
    ("", "a sync shows what had been answered", |s| {
        s.write(1, create("/a"));
        s.read(2, Request::Sync);
        s.read(2, get("/a", false));
    }),
    ("", "a sync need not show what nobody was told", |s| {
        let before = s.last();
        lost(s, 1, create("/a"));
        s.read_at(2, Request::Sync, before);
    }),
    ("", "a sync need not show what was answered after it was sent", |s| {
        let before = s.last();
        let sync = s.ask(2, Request::Sync);
        s.write(1, create("/a"));
        s.reply(sync, before, Answer::Done);
    }),
    ("", "a sync binds its own connection only", |s| {
        let before = s.last();
        s.write(1, create("/a"));
        s.read(1, Request::Sync);
        s.read_at(2, exists("/a", false), before);
    }),
    ("", "a watch fires once", |s| {
        s.write(1, create("/a"));
        s.read(2, get("/a", true));
        s.write(1, set("/a", "1"));
        s.event(2, s.last(), EventType::NodeDataChanged, "/a");
        s.write(1, set("/a", "2"));
        s.read(2, get("/a", false));
    }),
    ("", "two reads of one znode leave one watch", |s| {
        s.write(1, create("/a"));
        s.read(2, get("/a", true));
        s.read(2, exists("/a", true));
        s.write(1, set("/a", "1"));
        s.event(2, s.last(), EventType::NodeDataChanged, "/a");
        s.read(2, get("/a", false));
    }),
    ("", "data that is replaced by the same data is a change", |s| {
        s.write(1, create("/a"));
        s.write(1, set("/a", "1"));
        s.read(2, get("/a", true));
        s.write(1, set("/a", "1"));
        s.event(2, s.last(), EventType::NodeDataChanged, "/a");
        s.read(2, get("/a", false));
    }),
    ("", "exists waits for a creation", |s| {
        s.read(2, exists("/a", true));
        s.write(1, create("/a"));
        s.event(2, s.last(), EventType::NodeCreated, "/a");
        s.read(2, get("/a", false));
    }),
    ("", "a deletion tells data and child watches at once", |s| {
        s.write(1, create("/a"));
        s.read(2, get("/a", true));
        s.read(2, children("/a", true));
        s.write(1, delete("/a"));
        s.event(2, s.last(), EventType::NodeDeleted, "/a");
        s.read(2, exists("/a", false));
    }),
    ("", "a child watch hears of children only", |s| {
        s.write(1, create("/a"));
        s.read(2, children("/a", true));
        s.write(1, set("/a", "1"));
        s.read(2, exists("/a", false));
        s.write(1, create("/a/b"));
        s.event(2, s.last(), EventType::NodeChildrenChanged, "/a");
        s.read(2, children("/a", false));
    }),
    ("", "an event may come long after its transaction, when nothing newer was shown", |s| {
        s.write(1, create("/a"));
        let before = s.last();
        s.read(2, get("/a", true));
        s.write(1, set("/a", "1"));
        let changed = s.last();
        s.write(1, create("/b"));
        s.pong(2, before);
        s.read_at(2, exists("/b", false), before);
        s.event(2, changed, EventType::NodeDataChanged, "/a");
        s.read(2, exists("/b", false));
    }),
    ("", "a watch ends with its connection", |s| {
        s.write(1, create("/a"));
        s.read(2, get("/a", true));
        s.connect(2);
        s.write(1, set("/a", "1"));
        s.read(2, get("/a", false));
    }),
    ("", "setWatches tells what was missed and leaves the rest", |s| {
        s.write(1, create("/a"));
        s.write(1, create("/b"));
        let since = s.last();
        s.write(1, set("/a", "1"));
        s.write(1, create("/c"));
        s.connect(2);
        s.event(2, Zxid::NONE, EventType::NodeDataChanged, "/a");
        s.event(2, Zxid::NONE, EventType::NodeCreated, "/c");
        s.event(2, Zxid::NONE, EventType::NodeChildrenChanged, "/");
        s.read(2, set_watches(since, &["/a", "/b"], &["/c", "/d"], &["/"]));
        s.write(1, delete("/b"));
        s.event(2, s.last(), EventType::NodeDeleted, "/b");
        s.write(1, create("/d"));
        s.event(2, s.last(), EventType::NodeCreated, "/d");
        s.read(2, children("/", false));
    }),
    ("", "a silent session is ended", |s| {
        s.heard(1, LEADER);
        s.write(1, ephemeral("/e"));
        s.wait(1000);
        s.expire(1);
        s.read(2, exists("/e", false));
    }),
    ("", "a session that a learner heard once, after silence, is ended: the word came too late", |s| {
        s.heard(1, LEADER);
        s.wait(1050);
        s.heard(1, LEARNER);
        s.wait(100);
        s.expire(1);
    }),
    ("", "a session that only an earlier leader heard is ended", |s| {
        s.heard(1, LEADER);
        s.epoch = Epoch(2);
        s.expire(1);
    }),
    ("", "a new leader ends a session that it has waited for", |s| {
        s.heard(1, LEADER);
        s.epoch = Epoch(2);
        s.ledger.established.insert(s.epoch, s.now);
        s.wait(1000);
        s.expire(1);
    }),
    ("", "a session whose client asked for less time is ended after that", |s| {
        s.heard(1, LEADER);
        s.heard(1, Ear::Anybody);
        s.heard.entry(SessionId(1)).or_default()[1].timeout = Duration::from_millis(100);
        s.wait(150);
        s.expire(1);
    }),
    ("", "a session that dials in vain is ended", |s| {
        for _ in 0..20 {
            s.wait(99);
            s.heard(1, Ear::Anybody);
        }
        s.expire(1);
    }),
    ("", "a session's end takes its ephemeral znodes and no others", |s| {
        s.write(1, ephemeral("/e"));
        s.write(2, ephemeral("/f"));
        s.write(1, Request::Close);
        s.read(2, children("/", false));
        s.read(2, exists("/f", false));
    }),
    ("", "a multi succeeds, each part on top of those before", |s| {
        s.write(1, Request::Multi(vec![create("/a"), check("/a", 0), set("/a", "1"), delete("/a"), create("/a")]));
        s.read(2, get("/a", false));
    }),
    ("", "a multi fails whole", |s| {
        s.write(1, Request::Multi(vec![create("/a"), check("/a", 3), create("/b")]));
        s.read(2, children("/", false));
    }),
    ("", "a multi of one part fails", |s| {
        s.write(1, Request::Multi(vec![delete("/none")]));
    }),
    ("", "sequential digits leave gaps", |s| {
        s.write(1, sequential("/s"));
        s.write(1, create("/other"));
        lost(s, 1, sequential("/s"));
        s.write(2, sequential("/s"));
        s.write(2, delete("/s0000000000"));
        s.write(2, sequential("/s"));
    }),
    ("", "sequential digits begin anew with their parent", |s| {
        for _ in 0..2 {
            s.write(1, create("/p"));
            s.write(1, sequential("/p/s"));
            s.write(2, delete("/p/s0000000000"));
            s.write(2, delete("/p"));
        }
    }),
    ("", "a lock passes on", |s| {
        queue(s);
        s.read(1, children("/lock", false));
        s.read(2, children("/lock", false));
        s.write(1, delete("/lock/t0000000000"));
        s.read(2, children("/lock", false));
    }),
    ("", "a holder on a slow server believes that it holds on", |s| {
        queue(s);
        let before = s.last();
        s.expire(1);
        s.read(2, children("/lock", false));
        s.read_at(1, children("/lock", false), before);
    }),
    ("", "a lock of one parent begins anew", |s| {
        for session in [2, 1] {
            s.write(session, create("/lock"));
            s.write(session, ticket("/lock/t"));
            s.read(session, children("/lock", false));
            s.write(session, delete("/lock/t0000000000"));
            s.write(session, delete("/lock"));
        }
    }),
];
