//! The lock file of a step: its processes inherit it, and so it is held as long as one of them lives.
//!
//! A process can clear its environment, change its user and begin a session of its own, and still has the descriptor.
//! The files lie in `runs/<run>/steps`, named by step and number. After the engine's death a lock that is still held
//! says that the step is still at work.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd,
    sync::{Mutex, PoisonError},
};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::{
    fs::{FlockOperation, flock},
    io::{Errno, FdFlags, fcntl_setfd},
};

use crate::{
    folder::{RunFolder, escape},
    home::{create_file, create_folder},
};

/// Held around the start of every process, so that no other step's inherits what is meant for one.
static SPAWNING: Mutex<()> = Mutex::new(());

/// Starts a process that inherits no step's lock.
pub(super) fn spawn_apart<T>(spawn: impl FnOnce() -> T) -> T {
    let _alone = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
    spawn()
}

/// A lock that is held by us and by all processes that [`StepLock::spawn`] has started.
pub(super) struct StepLock {
    path: Utf8PathBuf,
    /// There until it is dropped.
    file: Option<File>,
}

impl StepLock {
    /// Makes a lock for `step`.
    ///
    /// # Errors
    ///
    /// When the file can't be made.
    pub(super) fn take(folder: &RunFolder, step: &str) -> io::Result<StepLock> {
        let name = escape(step);
        let locks = locks(folder);
        // Others of the step are those of its earlier calls, where something that they have left still holds them.
        for number in 1_u32.. {
            let path = locks.join(format!("{name}.{number}.lock"));
            let file = match create_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    create_folder(&locks)?;
                    create_file(&path)
                }
                made => made,
            };
            match file {
                Ok(file) => {
                    // Who only looks at it has it for a moment.
                    flock(&file, FlockOperation::LockExclusive)?;
                    let file = Some(file);
                    return Ok(StepLock { path, file });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Starts a process that inherits the lock.
    pub(super) fn spawn<T>(&self, spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let file = self.file.as_ref().expect("it is there until it is dropped");
        spawn_apart(|| {
            fcntl_setfd(file, FdFlags::empty())?;
            let spawned = spawn();
            fcntl_setfd(file, FdFlags::CLOEXEC)?;
            spawned
        })
    }
}

/// Removes the file unless something that the step has left behind still holds the lock.
impl Drop for StepLock {
    fn drop(&mut self) {
        // A process on its way into another program still has all our descriptors.
        spawn_apart(|| {
            // Unlocked it would be for all who have inherited it: closing is what tells whether there is one.
            drop(self.file.take());
            remove_if_free(&self.path);
        });
    }
}

/// Removes the locks that nobody holds any more. Only for who holds the run.
pub(super) fn sweep(folder: &RunFolder) {
    for path in files(folder) {
        remove_if_free(&path);
    }
}

/// A lock that somebody holds.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) path: Utf8PathBuf,
    /// The step, as [`escape`] writes it.
    pub(super) step: String,
}

/// Returns the locks that somebody holds.
pub(super) fn held(folder: &RunFolder) -> Vec<Held> {
    let held = files(folder).into_iter().filter(|path| !is_free(path));
    held.filter_map(|path| {
        let name = path.file_name()?.strip_suffix(".lock")?;
        let step = name.rsplit_once('.')?.0.to_owned();
        Some(Held { path, step })
    })
    .collect()
}

fn locks(folder: &RunFolder) -> Utf8PathBuf {
    folder.path().join("steps")
}

fn files(folder: &RunFolder) -> Vec<Utf8PathBuf> {
    let entries = locks(folder).read_dir_utf8();
    let entries = entries.into_iter().flatten().flatten();
    entries.map(|entry| entry.into_path()).collect()
}

fn remove_if_free(path: &Utf8Path) {
    if is_free(path) {
        let _ = fs::remove_file(path);
    }
}

/// Returns whether nobody holds the lock; one that can't be looked at counts as held.
fn is_free(path: &Utf8Path) -> bool {
    match File::open(path) {
        Ok(file) => {
            flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
        }
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
