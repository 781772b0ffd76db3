//! Hand-made runs: a sound run is told step by step, and where a case says so it is bent.
//!
//! A story keeps its own model, so that every answer is right unless the case makes it wrong. Each step takes a millisecond.

use ensemble_proto::client::{EventType, MultiResult};
use ensemble_proto::txn::{CreateTxn, SetDataTxn, Txn, TxnHeader, TxnRecord};
use ensemble_proto::{Epoch, ErrorCode, SessionId, Zxid};
use ensemble_sim::history::{History, Item, Op, Reply};
use ensemble_sim::ledger::{Committed, Ledger};
use ensemble_sim::model::{Answer, Model};
use ensemble_sim::request::Request;
use ensemble_sim::rules::{Evidence, RULES, replay};
use ensemble_sim::world::{Ear, Heard};
use std::collections::BTreeMap;
use std::time::Duration;

/// Every session's timeout.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(1000);
/// How long a learner's word may take.
pub(crate) const WORD: Duration = Duration::from_millis(200);

/// A run, as far as it has been told.
pub(crate) struct Story {
    pub(crate) history: History,
    pub(crate) ledger: Ledger,
    pub(crate) heard: BTreeMap<SessionId, Vec<Heard>>,
    pub(crate) now: Duration,
    pub(crate) epoch: Epoch,
    /// The state after each transaction.
    states: BTreeMap<Zxid, Model>,
    answers: BTreeMap<usize, Answer>,
    stream: BTreeMap<i64, usize>,
    xids: BTreeMap<i64, i32>,
}

impl Story {
    /// Sessions 1 and 2 are open.
    pub(crate) fn new() -> Story {
        let mut story = Story {
            history: History::default(),
            ledger: Ledger::new(3),
            heard: BTreeMap::new(),
            now: Duration::ZERO,
            epoch: Epoch(1),
            states: BTreeMap::from([(Zxid::ZERO, Model::new())]),
            answers: BTreeMap::new(),
            stream: BTreeMap::new(),
            xids: BTreeMap::new(),
        };
        story.open(1);
        story.open(2);
        story
    }

    fn tick(&mut self) -> Duration {
        self.now += Duration::from_millis(1);
        self.now
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// The last transaction.
    pub(crate) fn last(&self) -> Zxid {
        self.ledger.last_committed()
    }

    /// A session begins.
    pub(crate) fn open(&mut self, session: i64) {
        let zxid = self.next();
        self.record(zxid, session, 0, Txn::CreateSession { timeout_ms: 1000 });
        self.states.entry(zxid).or_default().create_session(SessionId(session));
        self.connect(session);
    }

    /// A session's client reaches a server, perhaps another.
    pub(crate) fn connect(&mut self, session: i64) {
        self.history.streams.push(Vec::new());
        self.stream.insert(session, self.history.streams.len() - 1);
    }

    /// The leader ends a session.
    pub(crate) fn expire(&mut self, session: i64) {
        let zxid = self.next();
        self.record(zxid, session, 0, Txn::CloseSession { paths: None });
        self.states.entry(zxid).or_default().close_session(SessionId(session), zxid);
    }

    /// A session's client is heard.
    pub(crate) fn heard(&mut self, session: i64, by: Ear) {
        let at = self.tick();
        self.heard.entry(SessionId(session)).or_default().push(Heard { at, timeout: TIMEOUT, by });
    }

    /// A request is sent.
    pub(crate) fn ask(&mut self, session: i64, request: Request) -> usize {
        let invoked = self.tick();
        let next = self.xids.entry(session).or_insert(1);
        let xid = *next;
        *next += 1;
        let (stream, session) = (self.stream[&session], SessionId(session));
        self.history.ops.push(Op { session, xid, stream, request, invoked, is_read_only: false, reply: None });
        self.history.ops.len() - 1
    }

    /// A write takes effect.
    pub(crate) fn commit(&mut self, op: usize) -> Zxid {
        let zxid = self.next();
        let (session, request) = (self.history.ops[op].session, self.history.ops[op].request.clone());
        let state = self.states.entry(zxid).or_default();
        let (answer, _) = state.write(&request, session, zxid, zxid.0);
        self.record(zxid, session.0, self.history.ops[op].xid, txn(&request, &answer));
        self.answers.insert(op, answer);
        zxid
    }

    /// A write takes effect as an error, whatever the state is: a server had lost the session.
    pub(crate) fn refuse(&mut self, op: usize, code: ErrorCode) -> Zxid {
        let zxid = self.next();
        let (session, xid) = (self.history.ops[op].session.0, self.history.ops[op].xid);
        self.record(zxid, session, xid, Txn::Error(code));
        zxid
    }

    /// A request is answered, from the state of `zxid`.
    pub(crate) fn reply(&mut self, op: usize, zxid: Zxid, answer: Answer) {
        let at = self.tick();
        self.history.ops[op].reply = Some(Reply { at, zxid, answer });
        let stream = self.history.ops[op].stream;
        self.history.streams[stream].push(Item::Reply(op));
    }

    /// A committed write is answered as it must be.
    pub(crate) fn answer(&mut self, op: usize, zxid: Zxid) {
        let answer = self.answers[&op].clone();
        self.reply(op, zxid, answer);
    }

    /// A whole write.
    pub(crate) fn write(&mut self, session: i64, request: Request) -> usize {
        let op = self.ask(session, request);
        let zxid = self.commit(op);
        self.answer(op, zxid);
        op
    }

    /// A whole read (or sync, or setWatches), of the newest state.
    pub(crate) fn read(&mut self, session: i64, request: Request) -> usize {
        self.read_at(session, request, self.last())
    }

    /// A whole read of an earlier state.
    pub(crate) fn read_at(&mut self, session: i64, request: Request, zxid: Zxid) -> usize {
        let op = self.ask(session, request);
        let answer = self.at(zxid).read(&self.history.ops[op].request);
        self.reply(op, zxid, answer);
        op
    }

    /// A watch event arrives.
    pub(crate) fn event(&mut self, session: i64, zxid: Zxid, kind: EventType, path: &str) {
        let stream = self.stream[&session];
        self.history.streams[stream].push(Item::Event { zxid, kind, path: path.to_string() });
    }

    /// The answer to a ping arrives.
    pub(crate) fn pong(&mut self, session: i64, zxid: Zxid) {
        let stream = self.stream[&session];
        self.history.streams[stream].push(Item::Pong(zxid));
    }

    /// The transaction of a write.
    pub(crate) fn zxid(&self, op: usize) -> Zxid {
        self.history.ops[op].reply.as_ref().map_or(Zxid::ZERO, |reply| reply.zxid)
    }

    /// Another answer than the right one.
    pub(crate) fn bend(&mut self, op: usize, answer: Answer) {
        if let Some(reply) = &mut self.history.ops[op].reply {
            reply.answer = answer;
        }
    }

    /// Another state than the one that it was answered from.
    pub(crate) fn bend_zxid(&mut self, op: usize, zxid: Zxid) {
        if let Some(reply) = &mut self.history.ops[op].reply {
            reply.zxid = zxid;
        }
    }

    /// Replaces a transaction in the log.
    pub(crate) fn relog(&mut self, zxid: Zxid, change: impl FnOnce(&mut TxnRecord)) {
        let committed = self.ledger.committed.iter_mut().find(|committed| committed.zxid == zxid).unwrap();
        let mut record = TxnRecord::decode(&committed.payload).unwrap();
        change(&mut record);
        committed.payload = record.encode();
    }

    /// What a request was answered.
    pub(crate) fn answered(&self, op: usize) -> Answer {
        self.history.ops[op].reply.as_ref().unwrap().answer.clone()
    }

    /// Every rule that accuses the run, in the order in which they are asked.
    pub(crate) fn accusers(&self) -> Vec<String> {
        let replay = match replay::replay(&self.history, &self.ledger) {
            Ok(replay) => replay,
            Err(violation) => return vec![violation.check.to_string()],
        };
        let run =
            Evidence { history: &self.history, ledger: &self.ledger, heard: &self.heard, replay: &replay, word: WORD };
        RULES.iter().filter(|(_, rule)| rule(&run).is_err()).map(|(name, _)| name.to_string()).collect()
    }

    fn at(&self, zxid: Zxid) -> &Model {
        self.states.range(..=zxid).next_back().map(|(_, state)| state).unwrap()
    }

    /// The next position, with the state of the last one to change.
    fn next(&mut self) -> Zxid {
        let last = self.last();
        let zxid = if last.epoch() == self.epoch { Zxid(last.0 + 1) } else { Zxid::new(self.epoch, 1) };
        let state = self.at(last).clone();
        self.states.insert(zxid, state);
        zxid
    }

    fn record(&mut self, zxid: Zxid, session: i64, cxid: i32, txn: Txn) {
        let at = self.tick();
        let header = TxnHeader { session: SessionId(session), cxid, zxid, time_ms: zxid.0 };
        let payload = TxnRecord { header, txn, digest: None }.encode();
        self.ledger.proposed.insert(zxid, (payload.clone(), at));
        self.ledger.committed.push(Committed { zxid, payload });
    }
}

/// What a server would log for a request with this outcome.
fn txn(request: &Request, answer: &Answer) -> Txn {
    match (request, answer) {
        (Request::Multi(parts), Answer::Multi(results)) => {
            let part = |(part, result): (&Request, &MultiResult)| match result {
                MultiResult::Error(code) if *code != ErrorCode::OK => Txn::Error(*code),
                _ => txn(part, &Answer::Done),
            };
            Txn::Multi(parts.iter().zip(results).map(part).collect())
        }
        (_, Answer::Error(code)) => Txn::Error(*code),
        (Request::Create { path, .. }, _) => {
            Txn::Create(CreateTxn { path: path.clone(), data: None, acl: None, ephemeral: false, parent_cversion: 0 })
        }
        (Request::Delete { path, .. }, _) => Txn::Delete { path: path.clone() },
        (Request::SetData { path, .. }, _) => Txn::SetData(SetDataTxn { path: path.clone(), data: None, version: 0 }),
        (Request::Close, _) => Txn::CloseSession { paths: None },
        (Request::Check { path, version }, _) => Txn::Check { path: path.clone(), version: *version },
        (other, _) => unreachable!("{other:?} is no write"),
    }
}

/// A plain znode.
pub(crate) fn create(path: &str) -> Request {
    create_as(path, false, false)
}

/// An ephemeral znode.
pub(crate) fn ephemeral(path: &str) -> Request {
    create_as(path, true, false)
}

/// A sequential znode.
pub(crate) fn sequential(path: &str) -> Request {
    create_as(path, false, true)
}

/// A place in the queue for a lock.
pub(crate) fn ticket(path: &str) -> Request {
    create_as(path, true, true)
}

fn create_as(path: &str, ephemeral: bool, sequential: bool) -> Request {
    Request::Create { path: path.to_string(), data: b"new".to_vec(), ephemeral, sequential, with_stat: false }
}

pub(crate) fn delete(path: &str) -> Request {
    Request::Delete { path: path.to_string(), version: -1 }
}

pub(crate) fn set(path: &str, data: &str) -> Request {
    Request::SetData { path: path.to_string(), data: data.as_bytes().to_vec(), version: -1 }
}

pub(crate) fn check(path: &str, version: i32) -> Request {
    Request::Check { path: path.to_string(), version }
}

pub(crate) fn exists(path: &str, watch: bool) -> Request {
    Request::Exists { path: path.to_string(), watch }
}

pub(crate) fn get(path: &str, watch: bool) -> Request {
    Request::GetData { path: path.to_string(), watch }
}

pub(crate) fn children(path: &str, watch: bool) -> Request {
    Request::GetChildren { path: path.to_string(), watch }
}
