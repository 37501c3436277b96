//! The kernel's lock on a run: who holds it may append, and it is gone the moment its process is.
//!
//! It is an `flock` on `runs/<run>/lock`, never inherited. What stands in the file only names the holder in messages.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    thread,
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

use crate::fault::{self, Point};

/// How often a lock that is taken is tried again, a millisecond apart: somebody may just be looking at it.
const TRIES: u32 = 20;

/// A lock that this process holds until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock at `path`; creates the file where it is missing.
    ///
    /// # Errors
    ///
    /// Fails at once with [`LockError::Held`] when another process has it.
    pub fn take(path: &Utf8Path) -> Result<Lock, LockError> {
        let mut tries = 0;
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(path)
                .map_err(failed("open", path))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // A file that was removed in between locks nothing.
                Ok(()) if file.metadata().map_err(failed("look at", path))?.nlink() == 0 => {}
                Ok(()) => {
                    name_holder(&file);
                    return Ok(Lock { file });
                }
                Err(Errno::WOULDBLOCK) if tries < TRIES => {
                    tries += 1;
                    thread::sleep(Duration::from_millis(1));
                }
                Err(Errno::WOULDBLOCK) => {
                    return Err(LockError::Held {
                        path: path.to_owned(),
                        holder: read_holder(&file),
                    });
                }
                Err(error) => return Err(failed("lock", path)(error.into())),
            }
        }
    }

    /// Returns who holds the lock at `path`, if anybody does.
    ///
    /// # Errors
    ///
    /// Fails when the file can't be opened; a missing one is held by nobody.
    pub fn holder(path: &Utf8Path) -> Result<Option<Holder>, LockError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", path)(error)),
        };
        // Shared, so that two who look don't see each other.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(Errno::WOULDBLOCK) => Ok(Some(read_holder(&file))),
            Err(error) => Err(failed("look at the lock", path)(error.into())),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        fault::pass(Point::Release);
        // Closing alone is not enough while a child is between fork and exec and still has the descriptor.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Who holds a lock, as far as that can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This process.
    Pid(u32),
    /// One that can't be seen from here: in another container, or so new that it has not written its name yet.
    Unknown,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Holder::Pid(pid) => write!(f, "pid {pid}"),
            Holder::Unknown => f.write_str("another process"),
        }
    }
}

/// Why a lock can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("take `{path}`: held by {holder}")]
    Held {
        /// The lock file.
        path: Utf8PathBuf,
        /// Who has it.
        holder: Holder,
    },
    /// The system refused.
    #[error("{action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: Utf8PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl LockError {
    /// Returns what the reader can do about it.
    pub fn hint(&self) -> String {
        match self {
            LockError::Held {
                holder: Holder::Pid(pid),
                ..
            } => format!("wait until the run ends, or stop it: `kill {pid}`"),
            LockError::Held { .. } => "wait until the run ends".to_owned(),
            LockError::Io { path, .. } => format!("look at the owner and the mode of `{path}`"),
        }
    }
}

/// Writes pid, boot id and start time of this process. A full disk is no reason not to hold the lock.
fn name_holder(file: &File) {
    let text = format!(
        "{} {} {}\n",
        std::process::id(),
        boot(),
        started(std::process::id()).unwrap_or_default()
    );
    let _ = file.set_len(0);
    let _ = file.write_all_at(text.as_bytes(), 0);
}

/// Reads who wrote its name last, and says so only if that process is the one that lives under this pid now.
fn read_holder(file: &File) -> Holder {
    let mut bytes = [0; 128];
    let length = file.read_at(&mut bytes, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..length]);
    let mut words = text.split_whitespace();
    let pid = words.next().and_then(|word| word.parse::<u32>().ok());
    match (pid, words.next(), words.next()) {
        (Some(pid), Some(boot_then), Some(start)) => {
            if boot_then == boot() && started(pid).as_deref() == Some(start) {
                Holder::Pid(pid)
            } else {
                Holder::Unknown
            }
        }
        _ => Holder::Unknown,
    }
}

/// Returns what tells this boot of the machine from all others.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_else(|_| "-".to_owned())
}

/// Returns when `pid` started, in ticks since the boot.
pub(crate) fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; the 20th word after it is field 22.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

fn failed(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> LockError {
    let path = path.to_owned();
    move |source| LockError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Other, Sandbox, mode, other};

    #[test]
    fn a_lock_names_the_process_that_holds_it_and_is_free_when_that_is_killed() {
        if let Some((home, _)) = other() {
            let _lock = Lock::take(&home.path().join("lock")).expect("it is free");
            println!("\nlocked");
            loop {
                thread::park();
            }
        }
        let sandbox = Sandbox::new();
        let home = sandbox.home();
        let path = home.path().join("lock");
        let mut holder = Other::start(
            "lock::tests::a_lock_names_the_process_that_holds_it_and_is_free_when_that_is_killed",
            home.path(),
            "",
        );
        holder.wait_for("locked");

        let error = Lock::take(&path).expect_err("it is held");
        let expected = format!("take `{path}`: held by pid {}", holder.pid());
        assert_eq!(error.to_string(), expected);
        let named = Lock::holder(&path).expect("it can be looked at");
        assert_eq!(named, Some(Holder::Pid(holder.pid())));

        holder.kill();
        assert_eq!(Lock::holder(&path).expect("it can be looked at"), None);
        Lock::take(&path).expect("the kernel has freed it");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_name_left_by_a_process_of_another_boot_is_not_believed() {
        let sandbox = Sandbox::new();
        let path = sandbox.path("lock");
        let lock = Lock::take(&path).expect("it is free");
        fs::write(&path, format!("{} other-boot 1\n", std::process::id())).expect("a file");
        let error = Lock::take(&path).expect_err("it is held");
        assert!(
            error.to_string().ends_with("held by another process"),
            "{error}"
        );
        drop(lock);
        Lock::take(&path).expect("it was given back");
    }

    #[test]
    fn children_do_not_inherit_the_lock() {
        let sandbox = Sandbox::new();
        let path = sandbox.path("lock");
        let _lock = Lock::take(&path).expect("it is free");
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep is everywhere");
        let held = fs::read_dir(format!("/proc/{}/fd", child.id()))
            .expect("the child lives")
            .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
            .any(|target| target == path.as_std_path());
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert!(!held, "the child has the lock file open");
    }
}
