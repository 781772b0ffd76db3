//! What the log writes ahead, and in which pieces: a sync writes back every page cache entry ("folio") that a group touched,
//! whole, and a file system makes entries as large as the writes that fill them.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use ensemble_storage::sim_disk::SimDisk;
use ensemble_storage::{Dir, Disk, Entry, Storage};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use support::*;

/// A page.
const PAGE: usize = 4096;

/// A disk that remembers the writes of zeros: where, and how many bytes.
#[derive(Clone)]
struct CountingDisk {
    disk: SimDisk,
    zeros: Rc<RefCell<Vec<(u64, usize)>>>,
}

impl Disk for CountingDisk {
    fn has_separate_log(&self) -> bool {
        self.disk.has_separate_log()
    }

    fn list(&mut self, dir: Dir) -> io::Result<Vec<Entry>> {
        self.disk.list(dir)
    }

    fn read(&mut self, dir: Dir, name: &str) -> io::Result<Vec<u8>> {
        self.disk.read(dir, name)
    }

    fn read_at(&mut self, dir: Dir, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        self.disk.read_at(dir, name, offset, len)
    }

    fn read_durable(&mut self, dir: Dir, name: &str) -> io::Result<Vec<u8>> {
        self.disk.read_durable(dir, name)
    }

    fn create(&mut self, dir: Dir, name: &str) -> io::Result<()> {
        self.disk.create(dir, name)
    }

    fn write_at(&mut self, dir: Dir, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if dir == Dir::Log && bytes.iter().all(|byte| *byte == 0) {
            self.zeros.borrow_mut().push((offset, bytes.len()));
        }
        self.disk.write_at(dir, name, offset, bytes)
    }

    fn set_len(&mut self, dir: Dir, name: &str, len: u64) -> io::Result<()> {
        self.disk.set_len(dir, name, len)
    }

    fn sync_data(&mut self, dir: Dir, name: &str) -> io::Result<()> {
        self.disk.sync_data(dir, name)
    }

    fn rename(&mut self, dir: Dir, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(dir, from, to)
    }

    fn unlink(&mut self, dir: Dir, name: &str) -> io::Result<()> {
        self.disk.unlink(dir, name)
    }

    fn sync_dir(&mut self, dir: Dir) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
}

#[test]
fn zeros_ahead_come_in_aligned_pages_and_fill_whole_steps() {
    const STEP: u64 = 64 << 10;
    let disk = CountingDisk { disk: SimDisk::new(), zeros: Rc::default() };
    let (mut storage, _) =
        Storage::open(disk.clone(), ensemble_storage::Options { preallocate: STEP, ..options() }).unwrap();
    for counter in 1..=100 {
        storage.perform(&append(zxid(1, counter), 1000)).unwrap();
        storage.sync().unwrap();
    }
    let zeros = disk.zeros.borrow();
    for &(offset, len) in zeros.iter() {
        assert_eq!(
            (offset / PAGE as u64),
            (offset + len as u64 - 1) / PAGE as u64,
            "{len} zeros at {offset} span pages"
        );
    }
    // The header's 16 bytes, then zeros without a gap up to a multiple of the step.
    let mut end = 16;
    for &(offset, len) in zeros.iter() {
        assert_eq!(offset, end);
        end += len as u64;
    }
    assert_eq!(end, 2 * STEP);
    let log = disk.clone().list(Dir::Log).unwrap().into_iter().find(|entry| entry.name == "log.100000001").unwrap();
    assert_eq!(log.len, 2 * STEP);
}
