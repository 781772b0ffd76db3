//! The operating system's files.

use crate::disk::{Dir, Disk, Entry};
use crate::error::StorageError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VERSION: &str = "version-2";

/// `dataDir` and `dataLogDir` on a file system. Clones share the locks that keep other processes out.
#[derive(Debug)]
pub struct RealDisk {
    data: PathBuf,
    log: PathBuf,
    config: Option<Config>,
    /// The file written last: the log, nearly always.
    open: Option<(PathBuf, File)>,
    /// One a directory: two, unless data and log are in the same.
    locks: Arc<[Lock]>,
}

/// Where the ensemble's configuration is kept.
#[derive(Clone, Debug)]
struct Config {
    directory: PathBuf,
    /// `zoo.cfg`, which may hold secrets: whoever may not read it may not read what is made of it.
    like: PathBuf,
}

impl Clone for RealDisk {
    fn clone(&self) -> RealDisk {
        let RealDisk { data, log, config, open: _, locks } = self;
        RealDisk { data: data.clone(), log: log.clone(), config: config.clone(), open: None, locks: locks.clone() }
    }
}

impl RealDisk {
    /// Opens the two directories, which may be the same. Missing ones are made when `autocreate` (`zookeeper.datadir.autocreate`).
    /// Both stay locked until the last clone is dropped.
    ///
    /// Differs from ZooKeeper, which locks nothing: two servers in one directory cut and purge each other's files.
    ///
    /// # Errors
    /// [`StorageError::Layout`] when a directory is missing and may not be made, or another process uses it;
    /// [`StorageError::Io`].
    pub fn open(data: &Path, log: &Path, autocreate: bool) -> Result<RealDisk, StorageError> {
        for root in [data, log] {
            ensure_directory(&root.join(VERSION), autocreate)?;
        }
        let mut locks = vec![lock(&data.join(VERSION))?];
        if !is_same(&data.join(VERSION), &log.join(VERSION))? {
            locks.push(lock(&log.join(VERSION))?);
        }
        let (data, log) = (data.to_path_buf(), log.to_path_buf());
        Ok(RealDisk { data, log, config: None, open: None, locks: locks.into() })
    }

    /// The same with a directory for the ensemble's configuration, [`Dir::Config`]. Files there get the permissions of `like`, which
    /// is `zoo.cfg`.
    pub fn with_config(self, directory: &Path, like: &Path) -> RealDisk {
        RealDisk { config: Some(Config { directory: directory.to_path_buf(), like: like.to_path_buf() }), ..self }
    }

    /// Only the directory of the ensemble's configuration. It locks nothing, and knows no store.
    pub fn only_config(directory: &Path, like: &Path) -> RealDisk {
        let nowhere = PathBuf::new();
        RealDisk { data: nowhere.clone(), log: nowhere, config: None, open: None, locks: Arc::new([]) }
            .with_config(directory, like)
    }

    fn directory(&self, dir: Dir) -> PathBuf {
        match dir {
            Dir::Config => self.config.as_ref().map_or_else(PathBuf::new, |config| config.directory.clone()),
            Dir::DataRoot => self.data.clone(),
            Dir::Data => self.data.join(VERSION),
            Dir::LogRoot => self.log.clone(),
            Dir::Log => self.log.join(VERSION),
        }
    }

    fn path(&self, dir: Dir, name: &str) -> PathBuf {
        self.directory(dir).join(name)
    }

    /// The file, open for writing.
    fn file(&mut self, dir: Dir, name: &str) -> io::Result<&File> {
        let path = self.path(dir, name);
        let open = match self.open.take() {
            Some(open) if open.0 == path => open,
            _ => {
                let file = OpenOptions::new().write(true).open(&path)?;
                (path, file)
            }
        };
        Ok(&self.open.insert(open).1)
    }

    fn forget(&mut self, path: &Path) {
        self.open.take_if(|open| open.0 == path);
    }
}

fn ensure_directory(directory: &Path, autocreate: bool) -> Result<(), StorageError> {
    if directory.is_dir() {
        return Ok(());
    }
    if !autocreate {
        return Err(StorageError::layout(directory.display(), "missing, and zookeeper.datadir.autocreate is false"));
    }
    let io = |action| {
        let file = directory.display().to_string();
        move |source| StorageError::Io { action, file, source }
    };
    fs::create_dir_all(directory).map_err(io("create"))?;
    for made in directory.ancestors().skip(1).take(2).filter(|path| !path.as_os_str().is_empty()) {
        File::open(made).and_then(|parent| parent.sync_all()).map_err(io("sync the parents of"))?;
    }
    Ok(())
}

/// Whether two paths lead to one directory, by whatever names and links.
fn is_same(one: &Path, other: &Path) -> Result<bool, StorageError> {
    let identity = |path: &Path| {
        let file = path.display().to_string();
        let metadata = fs::metadata(path).map_err(|source| StorageError::Io { action: "look at", file, source })?;
        Ok((metadata.dev(), metadata.ino()))
    };
    Ok(identity(one)? == identity(other)?)
}

/// A directory that is locked.
///
/// The lock is the open file's, and a process that is just being made has a copy of that until it runs its own program. So closing
/// it is not enough.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it, which follows, unlocks it at the latest when the last copy is gone.
        let _ = self.0.unlock();
    }
}

fn lock(directory: &Path) -> Result<Lock, StorageError> {
    let failed = |action| {
        let file = directory.display().to_string();
        move |source| StorageError::Io { action, file, source }
    };
    let lock = File::open(directory).map_err(failed("open"))?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(fs::TryLockError::WouldBlock) => {
            let problem = "another process uses this directory: end it, or give each server a dataDir and a dataLogDir of its own";
            Err(StorageError::layout(directory.display(), problem))
        }
        Err(fs::TryLockError::Error(error)) => Err(failed("lock")(error)),
    }
}

impl Disk for RealDisk {
    fn has_separate_log(&self) -> bool {
        self.locks.len() > 1
    }

    fn list(&mut self, dir: Dir) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.directory(dir))? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                // Another thread has removed or renamed it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                entries.push(Entry { name, len: metadata.len() });
            }
        }
        Ok(entries)
    }

    fn read(&mut self, dir: Dir, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(dir, name))
    }

    fn read_at(&mut self, dir: Dir, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path(dir, name))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(len).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_durable(&mut self, dir: Dir, name: &str) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path(dir, name))?;
        // Of what could not be written the next start sees what is on the disk: that is no damage yet.
        file.sync_all().map_err(|error| io::Error::new(error.kind(), format!("sync: {error}")))?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        let mut bytes = Vec::with_capacity(file.metadata()?.len() as usize);
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&mut self, dir: Dir, name: &str) -> io::Result<()> {
        let path = self.path(dir, name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        if let (Dir::Config, Some(config)) = (dir, &self.config) {
            file.set_permissions(fs::metadata(&config.like)?.permissions())?;
        }
        self.open = Some((path, file));
        Ok(())
    }

    fn write_at(&mut self, dir: Dir, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(dir, name)?.write_all_at(bytes, offset)
    }

    fn set_len(&mut self, dir: Dir, name: &str, len: u64) -> io::Result<()> {
        self.file(dir, name)?.set_len(len)
    }

    fn sync_data(&mut self, dir: Dir, name: &str) -> io::Result<()> {
        self.file(dir, name)?.sync_data()
    }

    fn rename(&mut self, dir: Dir, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(dir, from), self.path(dir, to));
        self.forget(&from);
        self.forget(&to);
        fs::rename(from, to)
    }

    fn unlink(&mut self, dir: Dir, name: &str) -> io::Result<()> {
        let path = self.path(dir, name);
        self.forget(&path);
        fs::remove_file(path)
    }

    fn sync_dir(&mut self, dir: Dir) -> io::Result<()> {
        File::open(self.directory(dir))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_free_when_its_disk_is_dropped_whoever_has_a_copy_of_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let open = || RealDisk::open(directory.path(), directory.path(), true);
        let disk = open().unwrap();
        let copy = disk.locks[0].0.try_clone().unwrap();
        let refused = open().unwrap_err();
        assert!(refused.to_string().contains("another process uses this directory"), "{refused}");
        drop(disk);
        assert!(open().is_ok());
        drop(copy);
    }
}
