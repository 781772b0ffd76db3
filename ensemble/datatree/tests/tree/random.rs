//! Random histories: what the leader foresees comes true, events tell exactly what changed, and a snapshot that was taken while
//! everything went on, with the transactions after its beginning applied on top, gives the same tree.
//!
//! A failure names the seed; `ENSEMBLE_DATATREE_SEED` replays one, `ENSEMBLE_DATATREE_SEEDS` says how many to try.

use crate::common::*;
use ensemble_datatree::{Access, DataTree, Event, EventKind, Loader, Pending, Walk, prep};
use ensemble_proto::client::{AclEntry, MultiOp};
use ensemble_proto::txn::{Txn, TxnRecord};
use ensemble_proto::{Acl, Epoch, SessionId, SplitMix64, Zxid};
use std::collections::{BTreeSet, VecDeque};

/// What a seed makes of the histories.
struct Random(SplitMix64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0.draw()
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Few names, so that the same path comes and goes.
    fn path(&mut self) -> String {
        let depth = 1 + self.below(3);
        (0..depth).map(|_| ["/a", "/b", "/c", "/é"][self.below(4) as usize]).collect()
    }

    fn acl(&mut self) -> Option<Vec<AclEntry<'static>>> {
        let list = match self.below(8) {
            0 => vec![entry(Acl::READ | Acl::CREATE | Acl::DELETE | Acl::ADMIN, "world", "anyone")],
            1 => vec![entry(Acl::ALL, "digest", "bob:h"), entry(Acl::ALL, "world", "anyone")],
            2 => vec![entry(Acl::ALL, "ip", "10.0.0.0/8")],
            3 => vec![],
            _ => vec![AclEntry::world(Acl::ALL)],
        };
        Some(list)
    }

    fn version(&mut self) -> i32 {
        self.below(4) as i32 - 1
    }

    fn session(&mut self) -> SessionId {
        SessionId(SESSION.0 + self.below(3) as i64)
    }

    fn request(&mut self) -> Owned {
        let path = self.path();
        let mut owned = match self.below(16) {
            0..=5 => create_with(&path, self.below(4) as i32, self.acl()),
            6..=8 => delete(&path, self.version()),
            9..=10 => set_data(&path, [None, Some(&b""[..]), Some(b"value")][self.below(3) as usize], self.version()),
            11 => set_acl(&path, self.acl(), self.version()),
            12..=13 => {
                let paths: Vec<String> = (0..self.below(5)).map(|_| self.path()).collect();
                multi(paths.iter().map(|path| self.multi_op(path)).collect())
            }
            14 => close(SESSION),
            _ => begin(SESSION),
        };
        owned.session = self.session();
        owned
    }

    fn multi_op<'a>(&mut self, path: &'a str) -> MultiOp<'a> {
        match self.below(6) {
            0..=2 => multi_create(path, self.below(4) as i32),
            3 => multi_delete(path, -1),
            4 => multi_set(path, -1),
            _ => multi_check(path, -1),
        }
    }
}

/// A server that leads, applies, and takes a snapshot meanwhile.
struct World {
    random: Random,
    tree: DataTree,
    pending: Pending,
    proposed: VecDeque<TxnRecord>,
    counter: u32,
    paths: BTreeSet<String>,
    failures: usize,
}

impl World {
    fn propose(&mut self) {
        self.counter += 1;
        let zxid = Zxid::new(Epoch(1), self.counter);
        let owned = self.random.request();
        let access = Access { identities: &[], skip_acl: false };
        let record = prep::prep(&self.tree, &mut self.pending, self.counter.into(), zxid, &owned.request(access));
        self.proposed.push_back(record);
    }

    /// Applies the oldest proposal.
    fn commit(&mut self) -> Option<TxnRecord> {
        let record = self.proposed.pop_front()?;
        let outcome = self.tree.apply(&record);
        assert_eq!(outcome.digest_mismatch, None, "{record:?}");
        let failed = matches!(record.txn, Txn::Error(_));
        assert_eq!(failed, !outcome.error.is_ok(), "only what was refused fails: {record:?}");
        self.failures += usize::from(failed);
        follow(&mut self.paths, &outcome.events);
        self.pending.applied(record.header.zxid);
        Some(record)
    }

    fn assert_sound(&self) {
        assert_eq!(self.tree.recount(), Ok(()));
        let paths: BTreeSet<String> = paths(&self.tree);
        assert_eq!(paths, self.paths, "what came and went is what the events say");
    }
}

fn follow(paths: &mut BTreeSet<String>, events: &[Event<'_>]) {
    for event in events {
        let path = event.path.to_string();
        match event.kind {
            EventKind::Created => assert!(paths.insert(path), "{event:?}"),
            EventKind::Deleted => assert!(paths.remove(&path), "{event:?}"),
            EventKind::DataChanged => assert!(paths.contains(&path), "{event:?}"),
        }
        assert_eq!(event.parent_acl.is_some(), event.kind != EventKind::DataChanged);
        assert!(event.kind == EventKind::DataChanged || paths.contains(event.parent_path()), "{event:?}");
    }
}

fn paths(tree: &DataTree) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo = vec!["/".to_string()];
    while let Some(path) = todo.pop() {
        let parent = if path == "/" { "" } else { &path };
        todo.extend(tree.get(&path).expect("a child is there").children().map(|name| format!("{parent}/{name}")));
        found.insert(path);
    }
    found
}

/// One history; returns how many of its requests failed.
fn run(seed: u64) -> usize {
    let tree = DataTree::new(seed);
    let paths = paths(&tree);
    let pending = Pending::new(seed);
    let mut world = World {
        random: Random(SplitMix64::new(seed)),
        tree,
        pending,
        proposed: VecDeque::new(),
        counter: 0,
        paths,
        failures: 0,
    };
    let ahead = world.random.below(12) as usize;
    let before = world.random.below(150);
    for _ in 0..before {
        world.propose();
        while world.proposed.len() > ahead {
            world.commit();
        }
    }
    world.assert_sound();

    let begun = world.tree.begin_snapshot(Walk(0));
    let mut snapshot = Vec::new();
    let mut later = Vec::new();
    let pace = 1 + world.random.below(4);
    // Another snapshot goes its own way beside it, and is read as it comes.
    let mut beside: Option<(Zxid, Loader)> = None;
    loop {
        if beside.is_none() && world.random.below(4) == 0 {
            let begun = world.tree.begin_snapshot(Walk(1));
            beside = Some((begun, Loader::new(seed + 3, begun)));
        }
        let budget = world.random.below(200) as usize;
        if let Some((_, loader)) = &mut beside
            && let Some(slice) = world.tree.snapshot_slice(Walk(1), budget)
        {
            loader.feed(&slice).expect("a slice loads");
        }
        for _ in 0..world.random.below(pace + 1) {
            world.propose();
        }
        while world.proposed.len() > ahead {
            later.extend(world.commit());
        }
        let budget = world.random.below(300) as usize;
        match world.tree.snapshot_slice(Walk(0), budget) {
            Some(slice) => snapshot.extend_from_slice(&slice),
            None => break,
        }
    }
    assert_eq!(world.tree.snapshot_slice(Walk(0), 1), None, "a finished snapshot stays finished");
    let complete = (world.tree.last_zxid(), world.tree.digest());
    while let Some((_, loader)) = &mut beside
        && let Some(slice) = world.tree.snapshot_slice(Walk(1), 100)
    {
        loader.feed(&slice).expect("a slice loads");
    }
    for _ in 0..world.random.below(20) {
        world.propose();
    }
    while let Some(record) = world.commit() {
        later.push(record);
    }
    world.assert_sound();

    snapshot.extend_from_slice(b"\0\0\0\x0aBenWasHere");
    let mut copy = DataTree::load(seed + 1, begun, &snapshot).expect("the snapshot loads");
    assert_eq!(copy.recount(), Ok(()));
    copy.expect_digest(complete.0, complete.1);
    let (second_begun, second) = replay_with_a_snapshot(&mut world.random, &mut copy, &later);
    let mut second = DataTree::load(seed + 2, second_begun, &second).expect("a snapshot of a replay loads");
    for record in later.iter().filter(|record| record.header.zxid > second_begun) {
        second.apply(record);
    }
    assert_eq!(contents(&second), contents(&world.tree));
    assert_eq!(second.digest(), world.tree.digest());
    assert_eq!(contents(&copy), contents(&world.tree));
    assert_eq!(copy.digest(), world.tree.digest());
    assert_eq!(copy.recount(), Ok(()));
    if let Some((begun, loader)) = beside {
        let mut copy = loader.finish().expect("the snapshot beside it is whole");
        assert_eq!(copy.proven_digest(), None, "nothing has shown that it is not fuzzy");
        for record in later.iter().filter(|record| record.header.zxid > begun) {
            copy.apply(record);
        }
        assert_eq!(contents(&copy), contents(&world.tree));
        assert_eq!(copy.digest(), world.tree.digest());
    }
    world.failures
}

/// Applies the records to a tree from a fuzzy snapshot, and takes another snapshot of it meanwhile.
fn replay_with_a_snapshot(random: &mut Random, copy: &mut DataTree, records: &[TxnRecord]) -> (Zxid, Vec<u8>) {
    let begin_at = random.below(records.len() as u64 + 1) as usize;
    let mut begun = Zxid::ZERO;
    let mut snapshot = Vec::new();
    for at in 0..=records.len() {
        if at == begin_at {
            begun = copy.begin_snapshot(Walk(0));
        }
        if at >= begin_at {
            snapshot.extend(copy.snapshot_slice(Walk(0), random.below(300) as usize).into_iter().flatten());
        }
        if let Some(record) = records.get(at) {
            assert_eq!(copy.apply(record).digest_mismatch, None, "{record:?}");
        }
    }
    while let Some(slice) = copy.snapshot_slice(Walk(0), 100) {
        snapshot.extend_from_slice(&slice);
    }
    (begun, snapshot)
}

#[test]
fn random_histories() {
    let from_env = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match from_env("ENSEMBLE_DATATREE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_env("ENSEMBLE_DATATREE_SEEDS").unwrap_or(1500),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        let failures = outcome.unwrap_or_else(|_| panic!("replay with ENSEMBLE_DATATREE_SEED={seed}"));
        assert!(failures < 400, "seed {seed}: requests fail too often to test anything");
    }
}
