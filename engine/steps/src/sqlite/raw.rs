//! Reading a database file by hand, without breaking the locks of a connection of this process.
//!
//! POSIX locks belong to a process and a file: when a process closes *any* descriptor of a file, all its locks on that
//! file are gone, those of an SQLite connection among them. So a descriptor of ours is closed only when this process
//! has no other one on the file; else it is put aside, and used again by the next who wants to read that file. SQLite
//! does the same inside itself. A `-wal` carries no locks and may be read with the standard library.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    ops::Deref,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};

use camino::Utf8Path;
use rusqlite::Connection;
use rustix::fs::OFlags;

/// Held for reading while a connection opens its file, for writing while a descriptor is looked at and closed.
static OPENING: RwLock<()> = RwLock::new(());

/// Descriptors that could not be closed when they were done with.
static ASIDE: Mutex<BTreeMap<FileId, File>> = Mutex::new(BTreeMap::new());

/// A file as the kernel knows it, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId {
    /// The device.
    pub(super) device: u64,
    /// The inode on it.
    pub(super) inode: u64,
}

impl FileId {
    /// Returns the identity of what `metadata` describes.
    pub(super) fn of(metadata: &fs::Metadata) -> FileId {
        FileId {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Whether a file is opened for writing as well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// For reading only.
    Read,
    /// For reading and writing.
    Write,
}

/// A file opened by hand, which is closed only when that breaks no lock of this process.
pub(super) struct RawFile {
    /// There until the drop.
    file: Option<File>,
    id: FileId,
}

impl RawFile {
    /// Opens the file at `path`, or takes the descriptor of it that was put aside.
    pub(super) fn open(path: &Utf8Path, access: Access) -> io::Result<RawFile> {
        let id = FileId::of(&fs::metadata(path)?);
        if access == Access::Read
            && let Some(file) = aside().remove(&id)
        {
            let file = Some(file);
            return Ok(RawFile { file, id });
        }
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::Write)
            // A FIFO put in the file's place since must not hold us up.
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)?;
        let id = FileId::of(&file.metadata()?);
        let file = Some(file);
        Ok(RawFile { file, id })
    }
}

impl Deref for RawFile {
    type Target = File;

    fn deref(&self) -> &File {
        self.file.as_ref().expect("only the drop takes it out")
    }
}

impl Drop for RawFile {
    fn drop(&mut self) {
        let _alone = OPENING.write().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = self.file.take() else { return };
        if own_descriptors(self.id) == Some(1) {
            return;
        }
        if let Some(second) = aside().insert(self.id, file) {
            // Both have to stay open, and one is enough to go on with.
            std::mem::forget(second);
        }
    }
}

/// Closes what was put aside and is needed no longer.
pub(super) fn sweep() {
    let _alone = OPENING.write().unwrap_or_else(PoisonError::into_inner);
    aside().retain(|id, _| own_descriptors(*id) != Some(1));
}

/// Opens a connection by `open`, with no descriptor being closed meanwhile.
pub(super) fn opening<T>(open: impl FnOnce() -> T) -> T {
    let _shared = OPENING.read().unwrap_or_else(PoisonError::into_inner);
    open()
}

/// Closes a connection whose VFS knows nothing of locks, unless another descriptor of this process needs them.
///
/// One that can't be closed is leaked: its file was opened by another step while this one read it, which is rare.
pub(super) fn close_lockless(connection: Connection, id: FileId) {
    let _alone = OPENING.write().unwrap_or_else(PoisonError::into_inner);
    if own_descriptors(id) == Some(1) {
        drop(connection);
    } else {
        std::mem::forget(connection);
    }
}

/// Returns how many descriptors this process has on a file; `None` where the system doesn't tell.
pub(super) fn own_descriptors(id: FileId) -> Option<usize> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    let same = entries
        .flatten()
        .filter_map(|entry| fs::metadata(entry.path()).ok())
        .filter(|metadata| FileId::of(metadata) == id);
    Some(same.count())
}

fn aside() -> MutexGuard<'static, BTreeMap<FileId, File>> {
    ASIDE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::{
        sqlite::{
            holders::{self, Access as Lock},
            set::Set,
            testing,
        },
        testing::Bench,
    };

    #[test]
    fn reading_a_file_by_hand_keeps_the_locks_of_a_connection_on_it() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = DELETE;", 10);
        let connection = opening(|| Connection::open(&path)).expect("a connection");
        connection
            .execute_batch("BEGIN IMMEDIATE")
            .expect("a write lock");
        for _ in 0..3 {
            let file = RawFile::open(&path, Access::Read).expect("an open file");
            let mut start = [0; 16];
            file.read_exact_at(&mut start, 0).expect("16 bytes");
        }
        let held = holders::scan(&Set::at(&path)).expect("a scan").ours;
        assert!(held.contains(&Lock::Writer), "{held:?}");

        let id = FileId::of(&fs::metadata(&path).expect("a file"));
        assert_eq!(own_descriptors(id), Some(2), "one is put aside, not three");
        drop(connection);
        drop(RawFile::open(&path, Access::Read).expect("an open file"));
        assert_eq!(own_descriptors(id), Some(0));
    }
}
