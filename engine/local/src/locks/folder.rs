//! The folder of the locks, opened once: every file in it is reached through its descriptor, and never through a link.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, RenameFlags, fchmod, flock, openat,
        renameat_with, unlinkat,
    },
    io::Errno,
};

use super::{
    error::{LocksError, failed},
    file::{Content, LockFile, end_of},
};
use crate::home::{network, sync_folder};

/// The mode of the folder: all may add, and only its owner may remove a file.
const FOLDER_MODE: u32 = 0o1777;
/// The mode of a file: all may take the lock. What cleans `/var/tmp` passes over a file with the sticky bit.
const FILE_MODE: u32 = 0o1666;
/// How a file is opened that may be anything: no link is followed, no pipe waited for, no terminal taken.
const SAFELY: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// The folder of the locks.
#[derive(Debug)]
pub(super) struct Folder {
    path: Utf8PathBuf,
    pub(super) fd: OwnedFd,
}

/// What is done about a file that is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is made.
    IsMade,
    /// Nothing.
    Stays,
}

/// How it went to lock a file.
#[derive(Debug)]
pub(super) enum Tried {
    /// It is ours.
    Locked(LockFile),
    /// A process has it; this is the end of the file.
    Busy(Vec<u8>),
    /// There is none.
    Missing,
}

impl Folder {
    /// Opens the folder; makes it where it is missing.
    pub(super) fn open(path: &Utf8Path) -> Result<Folder, LocksError> {
        loop {
            if let Some(folder) = Folder::find(path)? {
                return Ok(folder);
            }
            create_folder(path)?;
        }
    }

    /// Opens the folder where there is one.
    pub(super) fn find(path: &Utf8Path) -> Result<Option<Folder>, LocksError> {
        // With a slash at its end a link would be followed.
        let path: &Utf8Path = &path.components().collect::<Utf8PathBuf>();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | SAFELY;
        let fd = match openat(CWD, path.as_std_path(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            // A symlink is no folder either way.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(LocksError::NotAFolder {
                    path: path.to_owned(),
                });
            }
            Err(error) => return Err(failed("open", path)(error.into())),
        };
        let mode = rustix::fs::fstat(&fd)
            .map_err(|error| failed("look at", path)(error.into()))?
            .st_mode;
        if mode & 0o022 != 0 && mode & 0o1000 == 0 {
            return Err(LocksError::NotSticky {
                path: path.to_owned(),
                mode: mode & 0o7777,
            });
        }
        if let Some(kind) = network::kind(path).map_err(failed("find the file system of", path))? {
            return Err(LocksError::Network {
                path: path.to_owned(),
                kind,
            });
        }
        let path = path.to_owned();
        Ok(Some(Folder { path, fd }))
    }

    /// Returns the folder's own path.
    pub(super) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Locks the file `digest`, without waiting.
    pub(super) fn lock(
        self: &Arc<Folder>,
        digest: &str,
        missing: Missing,
    ) -> Result<Tried, LocksError> {
        loop {
            let file = match self.open_file(digest, OFlags::RDWR)? {
                Some(file) => file,
                None if missing == Missing::IsMade => {
                    self.create_file(digest)?;
                    continue;
                }
                None => return Ok(Tried::Missing),
            };
            if let Some(tried) = self.lock_file(file, digest)? {
                return Ok(tried);
            }
        }
    }

    /// Returns whether a process holds the file `digest`, and what stands in it; `None` where there is none, or nothing
    /// that can be a lock.
    pub(super) fn look(&self, digest: &str) -> Result<Option<(bool, Content)>, LocksError> {
        let file = match self.open_file(digest, OFlags::RDONLY) {
            Ok(Some(file)) => file,
            Ok(None) | Err(LocksError::NotAFile { .. }) => return Ok(None),
            // One file that its owner has closed to others must not hide all locks from them.
            Err(LocksError::Io { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                return Ok(Some((true, Content::Nothing)));
            }
            Err(error) => return Err(error),
        };
        // Shared, so that two who look don't see each other.
        let is_held = match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => false,
            Err(Errno::WOULDBLOCK) => true,
            Err(error) => return Err(self.failed("look at the lock", digest)(error.into())),
        };
        let bytes = end_of(&file).map_err(self.failed("read", digest));
        if !is_held {
            // A child between fork and exec would hold on to it.
            let _ = flock(&file, FlockOperation::Unlock);
        }
        Ok(Some((is_held, Content::of(&bytes?, digest))))
    }

    /// Returns the names in the folder that a lock's file can have.
    pub(super) fn digests(&self) -> Result<Vec<String>, LocksError> {
        let failed = || failed("list", &self.path);
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(|error| failed()(error.into()))? {
            let entry = entry.map_err(|error| failed()(error.into()))?;
            if let Ok(name) = entry.file_name().to_str()
                && name.len() == 64
                && name.bytes().all(|byte| byte.is_ascii_hexdigit())
            {
                found.push(name.to_owned());
            }
        }
        Ok(found)
    }

    /// Makes the names in the folder durable.
    pub(super) fn sync(&self) -> Result<(), LocksError> {
        rustix::fs::fsync(&self.fd).map_err(|error| failed("sync", &self.path)(error.into()))
    }

    fn open_file(&self, digest: &str, access: OFlags) -> Result<Option<File>, LocksError> {
        let not_a_file = || LocksError::NotAFile {
            path: self.path.join(digest),
        };
        // Never with `CREATE`: in a sticky folder the kernel may refuse that on a file of another user.
        let file = match openat(&self.fd, digest, access | SAFELY, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO | Errno::NODEV) => {
                return Err(not_a_file());
            }
            Err(error) => return Err(self.failed("open", digest)(error.into())),
        };
        let metadata = file.metadata().map_err(self.failed("look at", digest))?;
        match metadata.nlink() {
            _ if !metadata.is_file() => Err(not_a_file()),
            0 => Ok(None),
            1 => Ok(Some(file)),
            // Under its other name it may be somebody's file, which we would write to.
            _ => Err(not_a_file()),
        }
    }

    /// Locks an open file; `None` where it was removed in between: it has no name then, and locks nothing.
    fn lock_file(
        self: &Arc<Folder>,
        file: File,
        digest: &str,
    ) -> Result<Option<Tried>, LocksError> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let bytes = end_of(&file).map_err(self.failed("read", digest))?;
                return Ok(Some(Tried::Busy(bytes)));
            }
            Err(error) => return Err(self.failed("lock", digest)(error.into())),
        }
        let metadata = file.metadata().map_err(self.failed("look at", digest))?;
        let locked = LockFile {
            folder: self.clone(),
            digest: digest.to_owned(),
            file,
        };
        Ok((metadata.nlink() > 0).then_some(Tried::Locked(locked)))
    }

    /// Makes the file `digest`, unless somebody else has: whole, so that nobody sees one with another mode.
    fn create_file(&self, digest: &str) -> Result<(), LocksError> {
        let new = new_name();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | SAFELY;
        let create = || {
            let fd = openat(&self.fd, &new, flags, Mode::RUSR | Mode::WUSR)?;
            let made = fchmod(&fd, Mode::from_raw_mode(FILE_MODE)).and_then(|()| {
                renameat_with(&self.fd, &new, &self.fd, digest, RenameFlags::NOREPLACE)
            });
            made.inspect_err(|_| {
                let _ = unlinkat(&self.fd, &new, AtFlags::empty());
            })
        };
        match create() {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(self.failed("create", digest)(error.into())),
        }
    }

    fn failed(
        &self,
        action: &'static str,
        digest: &str,
    ) -> impl FnOnce(io::Error) -> LocksError + use<> {
        failed(action, &self.path.join(digest))
    }
}

/// Makes the folder, unless somebody else has: beside, then renamed, so that nobody sees one that is closed to them.
fn create_folder(path: &Utf8Path) -> Result<(), LocksError> {
    let path: &Utf8Path = &path.components().collect::<Utf8PathBuf>();
    let parent = path.parent().unwrap_or(Utf8Path::new("/"));
    let name = path.file_name().unwrap_or("locks");
    let new = parent.join(format!(".{name}.{}", new_name()));
    let create = || {
        DirBuilder::new().mode(0o700).create(&new)?;
        let made = fs::set_permissions(&new, Permissions::from_mode(FOLDER_MODE)).and_then(|()| {
            let (from, to) = (new.as_std_path(), path.as_std_path());
            Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
        });
        made.inspect_err(|_| drop(fs::remove_dir(&new)))
    };
    match create() {
        Ok(()) => {
            // Not every folder above ours can be opened for reading; then its owner decides when it is written.
            let _ = sync_folder(parent);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed("create", path)(error)),
    }
}

/// Returns a name that no other living process or thread uses, and none left by one that was killed.
fn new_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    let start = crate::lock::started(pid).unwrap_or_default();
    format!("new.{pid}.{start}.{number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Sandbox;

    #[test]
    fn a_file_that_was_removed_after_it_was_opened_locks_nothing() {
        let sandbox = Sandbox::new();
        let folder = Arc::new(Folder::open(&sandbox.path("locks")).expect("a folder"));
        let digest = "0".repeat(64);
        let Tried::Locked(first) = folder.lock(&digest, Missing::IsMade).expect("a file") else {
            panic!("it is free");
        };
        let late = folder.open_file(&digest, OFlags::RDWR).expect("a file");
        let late = late.expect("it is still there");
        first.clear().expect("it is given back");
        drop(first);
        let tried = folder.lock_file(late, &digest).expect("no error");
        assert!(tried.is_none(), "{tried:?}");
        let tried = folder.lock(&digest, Missing::Stays).expect("no error");
        assert!(matches!(tried, Tried::Missing), "{tried:?}");
    }
}
