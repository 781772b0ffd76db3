//! A disk in memory with a page cache that a crash loses, keeps or tears.
//!
//! What was written is seen at once, but survives a crash for certain only after `sync_data` (contents, length) and
//! `sync_dir` (names). [`SimDisk::crash`] decides for every unsynced sector and every unsynced change of a name whether it had
//! reached the disk. Sectors are all or nothing; a lost one has its old contents, or zeros where the file was not so long.

use crate::disk::{Dir, Disk, Entry};
use crate::log_file::SECTOR_LEN;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

const SECTOR: usize = SECTOR_LEN as usize;

/// A handle to a simulated disk; clones share it.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    dirs: BTreeMap<Dir, Directory>,
    files: BTreeMap<u64, Contents>,
    next_file: u64,
    /// Calls that change something, so far.
    writes: u64,
    /// The call at which the power goes: it and all later ones fail.
    power_cut_at: Option<u64>,
    /// The call from which on nothing more can be written.
    full_at: Option<u64>,
    sync: LogSync,
}

/// What becomes of the next sync of a log.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum LogSync {
    #[default]
    Works,
    /// It fails, once.
    Fails,
    /// It has failed.
    Failed,
}

#[derive(Default)]
struct Directory {
    cached: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    unsynced: Vec<NameChange>,
}

#[derive(Clone)]
enum NameChange {
    Create { name: String, file: u64 },
    Rename { from: String, to: String, file: u64 },
    Unlink { name: String },
}

/// Both are shared with the copies of a disk that are looked at, until one is written.
#[derive(Default)]
struct Contents {
    cached: Rc<Vec<u8>>,
    durable: Rc<Vec<u8>>,
    /// Sectors that differ, or may.
    unsynced: BTreeSet<usize>,
}

/// A change that a crash keeps or loses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    /// The change of this number in a directory.
    Name(Dir, usize),
    /// A file's length.
    Len(u64),
    /// A file's sector.
    Sector(u64, usize),
}

/// How much of what was not synced a crash keeps.
#[derive(Clone, Copy)]
enum Fate {
    LosesAll,
    KeepsAll,
    /// The first so many changes are kept.
    KeepsPrefix,
    /// Each for itself.
    Tears,
}

impl SimDisk {
    /// An empty disk with separate data and log directories.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// Makes the `nth` changing call from now (0 is the next) and all later ones fail, as when the power is cut.
    pub fn cut_power_after(&self, nth: u64) {
        let mut state = self.state.borrow_mut();
        state.power_cut_at = Some(state.writes + nth);
    }

    /// Takes back [`SimDisk::cut_power_after`].
    pub fn restore_power(&self) {
        self.state.borrow_mut().power_cut_at = None;
    }

    /// Makes the disk full from the `nth` changing call on (0 is the next): a write puts half of its bytes there, and fails.
    pub fn fill_after(&self, nth: u64) {
        let mut state = self.state.borrow_mut();
        state.full_at = Some(state.writes + nth);
    }

    /// Takes back [`SimDisk::fill_after`].
    pub fn make_room(&self) {
        self.state.borrow_mut().full_at = None;
    }

    /// Makes the next sync of a log fail, as Linux does: what was not synced does not reach the disk, now or later, and is still read from the page cache.
    pub fn fail_next_log_sync(&self) {
        self.state.borrow_mut().sync = LogSync::Fails;
    }

    /// Takes back [`SimDisk::fail_next_log_sync`]. Returns whether a sync has failed.
    pub fn mend(&self) -> bool {
        std::mem::take(&mut self.state.borrow_mut().sync) == LogSync::Failed
    }

    /// How many changing calls there were.
    pub fn write_count(&self) -> u64 {
        self.state.borrow().writes
    }

    /// Drops the page cache: `random` decides what of the unsynced had reached the disk. Power is back afterwards.
    pub fn crash(&self, random: &mut fastrand::Rng) {
        let state = &mut *self.state.borrow_mut();
        state.power_cut_at = None;
        let fate = match random.u8(0..10) {
            0..3 => Fate::LosesAll,
            3..5 => Fate::KeepsAll,
            5..7 => Fate::KeepsPrefix,
            _ => Fate::Tears,
        };
        for directory in state.dirs.values_mut() {
            directory.crash(fate, random);
        }
        for file in state.files.values_mut() {
            file.crash(fate, random);
        }
        let dirs = &state.dirs;
        let named: BTreeSet<u64> = dirs.values().flat_map(|directory| directory.durable.values().copied()).collect();
        state.files.retain(|file, _| named.contains(file));
    }

    /// A copy of the disk as a crash that loses everything unsynced would leave it.
    pub fn durable_image(&self) -> SimDisk {
        self.image(&BTreeSet::new())
    }

    /// The disks that a crash may leave: all of them when they are at most `limit`, else `limit` of them, among these the ones in
    /// which everything unsynced is lost or kept, or everything but one change, or one change alone.
    pub fn post_crash_states(&self, limit: usize, random: &mut fastrand::Rng) -> Vec<SimDisk> {
        let units = self.state.borrow().unsynced();
        let count = units.len();
        let mut kept: Vec<BTreeSet<usize>> = Vec::new();
        if count < usize::BITS as usize && 1 << count <= limit {
            kept.extend((0..1_usize << count).map(|mask| (0..count).filter(|unit| mask >> unit & 1 == 1).collect()));
        } else {
            kept.extend([BTreeSet::new(), (0..count).collect()]);
            for unit in 0..count.min(limit / 3) {
                kept.push([unit].into());
                kept.push((0..count).filter(|other| *other != unit).collect());
            }
            while kept.len() < limit {
                kept.push((0..count).filter(|_| random.bool()).collect());
            }
        }
        let image = |kept: BTreeSet<usize>| self.image(&kept.into_iter().map(|unit| units[unit].clone()).collect());
        kept.into_iter().map(image).collect()
    }

    /// A copy of the disk as it is after a crash that keeps these changes of the unsynced ones.
    fn image(&self, kept: &BTreeSet<Unit>) -> SimDisk {
        let state = self.state.borrow();
        let mut image = State { next_file: state.next_file, ..State::default() };
        for (dir, directory) in &state.dirs {
            let mut names = directory.durable.clone();
            for (index, change) in directory.unsynced.iter().enumerate() {
                if kept.contains(&Unit::Name(*dir, index)) {
                    change.clone().apply(&mut names);
                }
            }
            image.dirs.insert(*dir, Directory { cached: names.clone(), durable: names, unsynced: Vec::new() });
        }
        // A file without a name is lost, as in a crash.
        for file in image.dirs.values().flat_map(|directory| directory.durable.values()) {
            let Some(contents) = state.files.get(file) else { continue };
            let mut durable = contents.durable.clone();
            if kept.contains(&Unit::Len(*file)) {
                Rc::make_mut(&mut durable).resize(contents.cached.len(), 0);
            }
            for sector in contents.unsynced.iter().filter(|sector| kept.contains(&Unit::Sector(*file, **sector))) {
                copy_sector(&contents.cached, Rc::<Vec<u8>>::make_mut(&mut durable), *sector);
            }
            let contents = Contents { cached: durable.clone(), durable, unsynced: BTreeSet::new() };
            image.files.insert(*file, contents);
        }
        SimDisk { state: Rc::new(RefCell::new(image)) }
    }

    /// Changes bytes of a file behind everybody's back, as a failing medium does.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn damage(&self, dir: Dir, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        let file = state.lookup(dir, name)?;
        let contents = state.contents(file)?;
        change(Rc::make_mut(&mut contents.cached));
        contents.durable = contents.cached.clone();
        contents.unsynced.clear();
        Ok(())
    }

    /// Runs a call that changes something, unless the power is off.
    fn change<T>(&self, call: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.borrow_mut();
        if state.power_cut_at.is_some_and(|at| state.writes >= at) {
            return Err(io::Error::other("power cut"));
        }
        state.writes += 1;
        call(&mut state)
    }
}

impl State {
    fn directory(&mut self, dir: Dir) -> &mut Directory {
        self.dirs.entry(dir).or_default()
    }

    fn lookup(&self, dir: Dir, name: &str) -> io::Result<u64> {
        let found = self.dirs.get(&dir).and_then(|directory| directory.cached.get(name));
        found.copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn contents(&mut self, file: u64) -> io::Result<&mut Contents> {
        self.files.get_mut(&file).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn unsynced(&self) -> Vec<Unit> {
        let names = self
            .dirs
            .iter()
            .flat_map(|(dir, directory)| (0..directory.unsynced.len()).map(|index| Unit::Name(*dir, index)));
        let contents = self.files.iter().flat_map(|(file, contents)| {
            let len = (contents.cached.len() != contents.durable.len()).then_some(Unit::Len(*file));
            len.into_iter().chain(contents.unsynced.iter().map(|sector| Unit::Sector(*file, *sector)))
        });
        names.chain(contents).collect()
    }

    fn open(&mut self, dir: Dir, name: &str) -> io::Result<&mut Contents> {
        let file = self.lookup(dir, name)?;
        self.contents(file)
    }
}

impl Directory {
    fn crash(&mut self, fate: Fate, random: &mut fastrand::Rng) {
        let changes = std::mem::take(&mut self.unsynced);
        let kept = keep(changes.len(), fate, random);
        for (change, kept) in changes.into_iter().zip(kept) {
            if kept {
                change.apply(&mut self.durable);
            }
        }
        self.cached = self.durable.clone();
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Create { name, file } => {
                names.insert(name, file);
            }
            NameChange::Rename { from, to, file } => {
                names.remove(&from);
                names.insert(to, file);
            }
            NameChange::Unlink { name } => {
                names.remove(&name);
            }
        }
    }
}

impl Contents {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        let cached = Rc::make_mut(&mut self.cached);
        if cached.len() < end {
            cached.resize(end, 0);
        }
        cached[offset..end].copy_from_slice(bytes);
        self.unsynced.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    fn set_len(&mut self, len: usize) {
        let (shorter, longer) = (self.cached.len().min(len), self.cached.len().max(len));
        Rc::make_mut(&mut self.cached).resize(len, 0);
        self.unsynced.extend(shorter / SECTOR..longer.div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        let durable = Rc::make_mut(&mut self.durable);
        durable.resize(self.cached.len(), 0);
        for sector in std::mem::take(&mut self.unsynced) {
            copy_sector(&self.cached, durable, sector);
        }
    }

    fn crash(&mut self, fate: Fate, random: &mut fastrand::Rng) {
        let unsynced = std::mem::take(&mut self.unsynced);
        if !unsynced.is_empty() {
            let kept = keep(unsynced.len() + 1, fate, random);
            let durable = Rc::make_mut(&mut self.durable);
            if kept[0] {
                durable.resize(self.cached.len(), 0);
            }
            for (sector, kept) in unsynced.into_iter().zip(kept.into_iter().skip(1)) {
                if kept {
                    copy_sector(&self.cached, durable, sector);
                }
            }
        }
        self.cached = self.durable.clone();
    }
}

/// Copies what both files have of a sector.
fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

/// Which of `count` changes, in the order in which they were made, are kept.
fn keep(count: usize, fate: Fate, random: &mut fastrand::Rng) -> Vec<bool> {
    let prefix = random.usize(0..=count);
    (0..count)
        .map(|index| match fate {
            Fate::LosesAll => false,
            Fate::KeepsAll => true,
            Fate::KeepsPrefix => index < prefix,
            Fate::Tears => random.bool(),
        })
        .collect()
}

impl Disk for SimDisk {
    fn has_separate_log(&self) -> bool {
        true
    }

    fn list(&mut self, dir: Dir) -> io::Result<Vec<Entry>> {
        let state = self.state.borrow();
        let Some(directory) = state.dirs.get(&dir) else { return Ok(Vec::new()) };
        let len = |file: &u64| state.files.get(file).map_or(0, |contents| contents.cached.len() as u64);
        Ok(directory.cached.iter().map(|(name, file)| Entry { name: name.clone(), len: len(file) }).collect())
    }

    fn read(&mut self, dir: Dir, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.state.borrow_mut().open(dir, name)?.cached.to_vec())
    }

    fn read_at(&mut self, dir: Dir, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut state = self.state.borrow_mut();
        let contents = &state.open(dir, name)?.cached;
        Ok(contents.iter().skip(offset as usize).take(len as usize).copied().collect())
    }

    fn read_durable(&mut self, dir: Dir, name: &str) -> io::Result<Vec<u8>> {
        self.sync_data(dir, name)?;
        let mut state = self.state.borrow_mut();
        let contents = state.open(dir, name)?;
        contents.cached = contents.durable.clone();
        Ok(contents.cached.to_vec())
    }

    fn create(&mut self, dir: Dir, name: &str) -> io::Result<()> {
        self.change(|state| {
            if let Ok(contents) = state.open(dir, name) {
                contents.set_len(0);
                return Ok(());
            }
            let file = state.next_file;
            state.next_file += 1;
            state.files.insert(file, Contents::default());
            let directory = state.directory(dir);
            directory.cached.insert(name.to_string(), file);
            directory.unsynced.push(NameChange::Create { name: name.to_string(), file });
            Ok(())
        })
    }

    fn write_at(&mut self, dir: Dir, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|state| {
            let is_full = state.full_at.is_some_and(|at| state.writes > at);
            let taken = if is_full { bytes.len() / 2 } else { bytes.len() };
            state.open(dir, name)?.write(offset as usize, &bytes[..taken]);
            match is_full {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        })
    }

    fn set_len(&mut self, dir: Dir, name: &str, len: u64) -> io::Result<()> {
        self.change(|state| {
            state.open(dir, name)?.set_len(len as usize);
            Ok(())
        })
    }

    fn sync_data(&mut self, dir: Dir, name: &str) -> io::Result<()> {
        self.change(|state| {
            let fails = dir == Dir::Log && state.sync == LogSync::Fails;
            let contents = state.open(dir, name)?;
            if fails {
                contents.unsynced.clear();
                state.sync = LogSync::Failed;
                return Err(io::Error::other("the sync fails"));
            }
            contents.sync();
            Ok(())
        })
    }

    fn rename(&mut self, dir: Dir, from: &str, to: &str) -> io::Result<()> {
        self.change(|state| {
            let file = state.lookup(dir, from)?;
            let change = NameChange::Rename { from: from.to_string(), to: to.to_string(), file };
            let directory = state.directory(dir);
            change.clone().apply(&mut directory.cached);
            directory.unsynced.push(change);
            Ok(())
        })
    }

    fn unlink(&mut self, dir: Dir, name: &str) -> io::Result<()> {
        self.change(|state| {
            state.lookup(dir, name)?;
            let change = NameChange::Unlink { name: name.to_string() };
            let directory = state.directory(dir);
            change.clone().apply(&mut directory.cached);
            directory.unsynced.push(change);
            Ok(())
        })
    }

    fn sync_dir(&mut self, dir: Dir) -> io::Result<()> {
        self.change(|state| {
            let directory = state.directory(dir);
            directory.unsynced.clear();
            directory.durable = directory.cached.clone();
            Ok(())
        })
    }
}
