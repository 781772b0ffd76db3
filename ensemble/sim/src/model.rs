//! ZooKeeper's tree as the client documentation tells it, written without looking at the server's.
//!
//! It applies *requests*, in the order in which they were committed, and says what each must have been answered and which
//! watches it must have fired. A `BTreeMap`, and a list of what a multi has overwritten: plain.

use crate::request::Request;
use ensemble_proto::client::{EventType, MultiResult};
use ensemble_proto::{ErrorCode, SessionId, Stat, Zxid};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
struct Znode {
    data: Vec<u8>,
    children: BTreeSet<String>,
    /// How many children were ever created.
    creations: i32,
    czxid: Zxid,
    mzxid: Zxid,
    pzxid: Zxid,
    ctime: i64,
    mtime: i64,
    version: i32,
    owner: SessionId,
}

impl Znode {
    fn stat(&self) -> Stat {
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: 2 * self.creations - self.children.len() as i32,
            aversion: 0,
            ephemeral_owner: self.owner,
            data_length: self.data.len() as i32,
            num_children: self.children.len() as i32,
            pzxid: self.pzxid,
        }
    }
}

/// What a request must be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An error, without a body.
    Error(ErrorCode),
    /// create.
    Path(String),
    /// create2.
    PathAndStat(String, Stat),
    /// setData, exists.
    Stat(Stat),
    /// getData.
    Data(Vec<u8>, Stat),
    /// getChildren2; the order of names means nothing.
    Children(BTreeSet<String>, Stat),
    /// multi, whether it failed or not.
    Multi(Vec<MultiResult>),
    /// reconfig.
    Configuration(String),
    /// delete, closeSession, sync, setWatches.
    Done,
}

/// A watch that a transaction fires on a path: by a change of the znode, or of its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The znode.
    pub path: String,
    /// What its watchers are told.
    pub kind: EventType,
}

/// The replicated state after some transaction.
#[derive(Clone, Debug)]
pub struct Model {
    znodes: BTreeMap<String, Znode>,
    sessions: BTreeSet<SessionId>,
    /// Sessions that have ended, where a session that has not begun in the order may be one that a server knows alone.
    ended: Option<BTreeSet<SessionId>>,
    /// What was at a path before the parts of a multi changed it, in order; empty but while there is one.
    overwritten: Vec<(String, Option<Znode>)>,
    /// A multi is under way, which may fail.
    may_fail: bool,
}

impl Default for Model {
    fn default() -> Model {
        Model::new()
    }
}

type Effect = (Answer, Vec<Trigger>);

impl Model {
    /// The state of a new ensemble: the root and what is below `/zookeeper`, which no client touches.
    pub fn new() -> Model {
        let znode = |children: &[&str]| Znode {
            data: Vec::new(),
            children: children.iter().map(|name| name.to_string()).collect(),
            creations: 0,
            czxid: Zxid::ZERO,
            mzxid: Zxid::ZERO,
            pzxid: Zxid::ZERO,
            ctime: 0,
            mtime: 0,
            version: 0,
            owner: SessionId(0),
        };
        let znodes = BTreeMap::from([
            ("/".to_string(), znode(&["zookeeper"])),
            ("/zookeeper".to_string(), znode(&["config", "quota"])),
        ]);
        Model { znodes, sessions: BTreeSet::new(), ended: None, overwritten: Vec::new(), may_fail: false }
    }

    /// From here on, sessions that one server knows alone may write.
    pub fn allow_local_sessions(&mut self) {
        self.ended.get_or_insert_default();
    }

    /// Applies a session's begin.
    pub fn create_session(&mut self, session: SessionId) {
        self.sessions.insert(session);
    }

    /// Applies a session's end: its ephemeral znodes go.
    pub fn close_session(&mut self, session: SessionId, zxid: Zxid) -> Vec<Trigger> {
        self.sessions.remove(&session);
        if let Some(ended) = &mut self.ended {
            ended.insert(session);
        }
        let owned = self.znodes.iter().filter(|(_, znode)| znode.owner == session && session != SessionId(0));
        let paths: Vec<String> = owned.map(|(path, _)| path.clone()).collect();
        paths.iter().flat_map(|path| self.remove(path, zxid)).collect()
    }

    /// Whether the session lives, or may: one that a server knows alone.
    pub fn has_session(&self, session: SessionId) -> bool {
        self.sessions.contains(&session) || self.ended.as_ref().is_some_and(|ended| !ended.contains(&session))
    }

    /// The transaction that made a znode, if it is there.
    pub fn czxid(&self, path: &str) -> Option<Zxid> {
        self.znodes.get(path).map(|znode| znode.czxid)
    }

    /// Applies a write of a session at a position in the order.
    pub fn write(&mut self, request: &Request, session: SessionId, zxid: Zxid, time_ms: i64) -> Effect {
        if !self.has_session(session) {
            return (Answer::Error(ErrorCode::SESSION_EXPIRED), Vec::new());
        }
        match request {
            Request::Multi(parts) => self.multi(parts, session, zxid, time_ms),
            Request::Close => (Answer::Done, self.close_session(session, zxid)),
            single => match self.single(single, session, zxid, time_ms) {
                Ok(effect) => effect,
                Err(code) => (Answer::Error(code), Vec::new()),
            },
        }
    }

    /// Answers a read.
    pub fn read(&self, request: &Request) -> Answer {
        let found = |path: &str, answer: &dyn Fn(&Znode) -> Answer| {
            self.znodes.get(path).map_or(Answer::Error(ErrorCode::NO_NODE), answer)
        };
        match request {
            Request::Exists { path, .. } => found(path, &|znode| Answer::Stat(znode.stat())),
            Request::GetData { path, .. } => found(path, &|znode| Answer::Data(znode.data.clone(), znode.stat())),
            Request::GetChildren { path, .. } => {
                found(path, &|znode| Answer::Children(znode.children.clone(), znode.stat()))
            }
            _ => Answer::Done,
        }
    }

    /// What setWatches must report at once: everything that changed after the client looked last.
    pub fn missed(&self, since: Zxid, data: &[String], exist: &[String], child: &[String]) -> Vec<Trigger> {
        let mut missed = Vec::new();
        let mut report = |path: &String, kind| missed.push(Trigger { path: path.clone(), kind });
        for path in data {
            match self.znodes.get(path) {
                None => report(path, EventType::NodeDeleted),
                Some(znode) if znode.mzxid > since => report(path, EventType::NodeDataChanged),
                Some(_) => {}
            }
        }
        for path in exist.iter().filter(|path| self.znodes.contains_key(*path)) {
            report(path, EventType::NodeCreated);
        }
        for path in child {
            match self.znodes.get(path) {
                None => report(path, EventType::NodeDeleted),
                Some(znode) if znode.pzxid > since => report(path, EventType::NodeChildrenChanged),
                Some(_) => {}
            }
        }
        missed
    }

    /// Every path outside `/zookeeper` with data and stat.
    pub fn znodes(&self) -> impl Iterator<Item = (&str, &[u8], Stat)> {
        let ours = self.znodes.iter().filter(|(path, _)| *path != "/zookeeper");
        ours.map(|(path, znode)| (path.as_str(), znode.data.as_slice(), znode.stat()))
    }

    fn single(&mut self, request: &Request, session: SessionId, zxid: Zxid, time_ms: i64) -> Result<Effect, ErrorCode> {
        match request {
            Request::Create { path, data, ephemeral, sequential, with_stat } => {
                let owner = if *ephemeral { session } else { SessionId(0) };
                let (path, triggers) = self.create(path, data, owner, *sequential, zxid, time_ms)?;
                let stat = self.znodes[&path].stat();
                Ok((if *with_stat { Answer::PathAndStat(path, stat) } else { Answer::Path(path) }, triggers))
            }
            Request::Delete { path, version } => {
                let znode = self.znodes.get(path).ok_or(ErrorCode::NO_NODE)?;
                expect_version(znode.version, *version)?;
                if !znode.children.is_empty() {
                    return Err(ErrorCode::NOT_EMPTY);
                }
                Ok((Answer::Done, self.remove(path, zxid)))
            }
            Request::SetData { path, data, version } => {
                self.keep(path);
                let znode = self.znodes.get_mut(path).ok_or(ErrorCode::NO_NODE)?;
                expect_version(znode.version, *version)?;
                znode.version += 1;
                znode.data = data.clone();
                (znode.mzxid, znode.mtime) = (zxid, time_ms);
                let trigger = Trigger { path: path.clone(), kind: EventType::NodeDataChanged };
                Ok((Answer::Stat(znode.stat()), vec![trigger]))
            }
            Request::Check { path, version } => {
                let znode = self.znodes.get(path).ok_or(ErrorCode::NO_NODE)?;
                expect_version(znode.version, *version)?;
                Ok((Answer::Done, Vec::new()))
            }
            other => unreachable!("{other:?} is no single write"),
        }
    }

    fn create(
        &mut self,
        path: &str,
        data: &[u8],
        owner: SessionId,
        sequential: bool,
        zxid: Zxid,
        time_ms: i64,
    ) -> Result<(String, Vec<Trigger>), ErrorCode> {
        let (parent_path, _) = split(path);
        self.keep(parent_path);
        let parent = self.znodes.get_mut(parent_path).ok_or(ErrorCode::NO_NODE)?;
        let path = if sequential { format!("{path}{:010}", parent.creations) } else { path.to_string() };
        let name = split(&path).1;
        if parent.children.contains(name) {
            return Err(ErrorCode::NODE_EXISTS);
        }
        if parent.owner != SessionId(0) {
            return Err(ErrorCode::NO_CHILDREN_FOR_EPHEMERALS);
        }
        parent.children.insert(name.to_string());
        parent.creations += 1;
        parent.pzxid = zxid;
        let znode = Znode {
            data: data.to_vec(),
            children: BTreeSet::new(),
            creations: 0,
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time_ms,
            mtime: time_ms,
            version: 0,
            owner,
        };
        let triggers = vec![
            Trigger { path: path.clone(), kind: EventType::NodeCreated },
            Trigger { path: split(&path).0.to_string(), kind: EventType::NodeChildrenChanged },
        ];
        self.keep(&path);
        self.znodes.insert(path.clone(), znode);
        Ok((path, triggers))
    }

    fn remove(&mut self, path: &str, zxid: Zxid) -> Vec<Trigger> {
        let (parent, name) = split(path);
        self.keep(path);
        self.keep(parent);
        self.znodes.remove(path);
        if let Some(parent) = self.znodes.get_mut(parent) {
            parent.children.remove(name);
            parent.pzxid = zxid;
        }
        vec![
            Trigger { path: path.to_string(), kind: EventType::NodeDeleted },
            Trigger { path: parent.to_string(), kind: EventType::NodeChildrenChanged },
        ]
    }

    /// A path is about to change.
    fn keep(&mut self, path: &str) {
        if self.may_fail {
            self.overwritten.push((path.to_string(), self.znodes.get(path).cloned()));
        }
    }

    /// A multi is over: puts back what it has overwritten, if it failed.
    fn end_multi(&mut self, has_failed: bool) {
        self.may_fail = false;
        let overwritten = std::mem::take(&mut self.overwritten);
        for (path, before) in overwritten.into_iter().rev().filter(|_| has_failed) {
            match before {
                Some(znode) => drop(self.znodes.insert(path, znode)),
                None => drop(self.znodes.remove(&path)),
            }
        }
    }

    fn multi(&mut self, parts: &[Request], session: SessionId, zxid: Zxid, time_ms: i64) -> Effect {
        self.may_fail = true;
        let (mut results, mut triggers) = (Vec::new(), Vec::new());
        for part in parts {
            match self.single(part, session, zxid, time_ms) {
                Ok((answer, fired)) => {
                    results.push(result(part, answer));
                    triggers.extend(fired);
                }
                Err(code) => {
                    self.end_multi(true);
                    let failed = results.len();
                    let error = |index: usize| match index.cmp(&failed) {
                        std::cmp::Ordering::Less => ErrorCode::OK,
                        std::cmp::Ordering::Equal => code,
                        std::cmp::Ordering::Greater => ErrorCode::RUNTIME_INCONSISTENCY,
                    };
                    let results = (0..parts.len()).map(|index| MultiResult::Error(error(index))).collect();
                    return (Answer::Multi(results), Vec::new());
                }
            }
        }
        self.end_multi(false);
        (Answer::Multi(results), triggers)
    }
}

fn result(part: &Request, answer: Answer) -> MultiResult {
    match (part, answer) {
        (_, Answer::Path(path)) => MultiResult::Create(path),
        (_, Answer::PathAndStat(path, stat)) => MultiResult::Create2(path, stat),
        (_, Answer::Stat(stat)) => MultiResult::SetData(stat),
        (Request::Delete { .. }, _) => MultiResult::Delete,
        _ => MultiResult::Check,
    }
}

fn expect_version(found: i32, expected: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == found { Ok(()) } else { Err(ErrorCode::BAD_VERSION) }
}

/// Parent and name of a path.
pub fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None => ("/", path),
    }
}
