//! The locks of playbooks: names that one run at a time has, across all users and homes of this machine.
//!
//! ```text
//! <folder>/            mode 1777, made by whoever comes first
//! <folder>/<digest>    one lock, by the digest of its name; mode 1666, lines of JSON
//! ```
//!
//! Two things hold a lock. The kernel's `flock` holds it for a process, and is gone the moment that process is. A record
//! in the file that says `kept` holds it for a run without a process: that run has changed something and has not ended.
//! Nothing else decides; pid, boot and start of a process only name it.
//!
//! It keeps apart those who want to be kept apart. It is no wall against a user of this machine who wants to break it:
//! whoever can take a lock can also block it, or empty its file.

mod error;
mod file;
mod folder;
mod held;
mod plain;
mod record;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{kind::Digest, units::Time};

pub use self::{
    error::{Hold, LocksError, Taken},
    held::Held,
    plain::plain,
    record::{Owner, Theft},
};
use self::{
    file::Content,
    folder::{Folder, Missing, Tried},
    record::VERSION,
};

/// Where the locks of a machine lie, unless somebody says otherwise: there after a boot, and for all to write.
pub const DEFAULT_FOLDER: &str = "/var/tmp/runwright-locks";

/// How long a lock that a nameless process has is tried again before that counts: it may just be looking at it.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long to wait between two tries of that kind.
const MOMENT: Duration = Duration::from_millis(1);
/// How often who waits for a lock tries to take it.
const POLL: Duration = Duration::from_millis(200);

/// The locks of this machine.
#[derive(Clone, Debug)]
pub struct Locks {
    folder: Arc<Folder>,
}

/// Who wants which locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The run's id.
    pub run: String,
    /// Its playbook's name.
    pub playbook: String,
    /// Who began it.
    pub user: String,
    /// The home its journal lies in, absolute.
    pub home: Utf8PathBuf,
    /// The locks' names: any text that is not empty.
    pub names: BTreeSet<String>,
}

/// What is stolen, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steal {
    /// The lock's name.
    pub lock: String,
    /// The run that a person was shown and said yes to; none where any will do.
    pub from: Option<String>,
    /// Who steals it.
    pub by: String,
    /// Why, in that person's words.
    pub reason: String,
    /// When.
    pub at: Time,
}

impl Locks {
    /// Opens the folder of the locks at `path`; makes it where it is missing.
    ///
    /// # Errors
    ///
    /// Refuses a symlink, what is no folder, one in which any user could remove the files of another, and one on a
    /// network file system.
    pub fn open(path: &Utf8Path) -> Result<Locks, LocksError> {
        let folder = Arc::new(Folder::open(path)?);
        Ok(Locks { folder })
    }

    /// Opens the folder of the locks at `path` where there is one; makes nothing.
    ///
    /// # Errors
    ///
    /// As [`Locks::open`].
    pub fn find(path: &Utf8Path) -> Result<Option<Locks>, LocksError> {
        let folder = Folder::find(path)?.map(Arc::new);
        Ok(folder.map(|folder| Locks { folder }))
    }

    /// Takes all locks of `claim` or none, without waiting. A run takes again what it keeps.
    ///
    /// # Errors
    ///
    /// [`LocksError::Taken`] names the first lock that somebody else has. Fails also on a name that is none, on a lock
    /// that a newer version keeps, and where the system refuses.
    pub fn take(&self, claim: &Claim, at: Time) -> Result<Held, LocksError> {
        patiently(|| Held::take(self, claim, at))
    }

    /// Takes all locks of `claim`, as [`Locks::take`] does, and tries again until they are free or it is `deadline`.
    ///
    /// `tell` hears who has the lock that is waited for, once for each run that has it. Nothing is held while this
    /// waits, so runs that wait for each other's locks can't block each other, and the future can be dropped.
    ///
    /// # Errors
    ///
    /// As [`Locks::take`].
    pub async fn wait(
        &self,
        claim: &Claim,
        now: impl Fn() -> Time,
        deadline: Option<tokio::time::Instant>,
        mut tell: impl FnMut(&Taken),
    ) -> Result<Held, LocksError> {
        let began = Instant::now();
        let mut told: Option<(String, Option<String>)> = None;
        loop {
            let taken = match Held::take(self, claim, now()) {
                Err(LocksError::Taken(taken)) => taken,
                other => return other,
            };
            if taken.hold.may_pass() && began.elapsed() < PATIENCE {
                tokio::time::sleep(MOMENT).await;
                continue;
            }
            let next = tokio::time::Instant::now() + POLL;
            let next = deadline.map_or(next, |deadline| next.min(deadline));
            if next <= tokio::time::Instant::now() {
                return Err(LocksError::Taken(taken));
            }
            // One that only looks at the lock has no name; it is none that is waited for.
            if told.is_none() || taken.owner.is_some() {
                let run = taken.owner.as_ref().map(|owner| owner.run.clone());
                let holding = Some((taken.lock.clone(), run));
                if told != holding {
                    tell(&taken);
                    told = holding;
                }
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Returns the locks that somebody has, by name.
    ///
    /// # Errors
    ///
    /// Fails when the folder can't be listed.
    pub fn list(&self) -> Result<Vec<Taken>, LocksError> {
        let mut found = Vec::new();
        for digest in self.folder.digests()? {
            match patiently(|| self.look(&digest)) {
                Ok(()) => {}
                Err(LocksError::Taken(taken)) => found.push(*taken),
                Err(error) => return Err(error),
            }
        }
        found.sort_by(|a, b| a.lock.cmp(&b.lock));
        Ok(found)
    }

    /// Takes a lock from the run that keeps it without a process, and leaves word of it for whoever takes it next. It is
    /// durable when this returns.
    ///
    /// # Errors
    ///
    /// [`LocksError::NotStolen`] where a process has it or another run keeps it, [`LocksError::NotKept`] where nobody
    /// keeps it.
    pub fn steal(&self, steal: &Steal) -> Result<Theft, LocksError> {
        let result = patiently(|| self.try_steal(steal));
        result.map_err(|error| match error {
            LocksError::Taken(taken) => LocksError::NotStolen(taken),
            other => other,
        })
    }

    /// Frees what `run` still keeps without a process, for who knows that it has ended: it may have been killed between
    /// its end and the release. Returns the names of the locks.
    ///
    /// # Errors
    ///
    /// Fails when the folder can't be listed or a record can't be removed.
    pub fn forget(&self, run: &str) -> Result<Vec<String>, LocksError> {
        let mut freed = Vec::new();
        for taken in self.list()? {
            let is_its = |owner: &Owner| owner.kept && owner.run == run;
            if taken.hold == Hold::Kept && taken.owner.as_ref().is_some_and(is_its) {
                match patiently(|| self.try_forget(&taken.lock, run)) {
                    Ok(true) => freed.push(taken.lock),
                    // It was taken since; then it is not ours to free.
                    Ok(false) | Err(LocksError::Taken(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(freed)
    }

    /// Looks at one lock; somebody who has it is the error.
    fn look(&self, digest: &str) -> Result<(), LocksError> {
        let Some((is_held, content)) = self.folder.look(digest)? else {
            return Ok(());
        };
        let record = match content {
            Content::Record(record) => Some(*record),
            _ => None,
        };
        match (is_held, record) {
            (true, record) => {
                let name = record.as_ref().map_or(digest, |record| &record.lock);
                let owner = record.as_ref().and_then(|record| record.owner.as_ref());
                Err(self.taken(name, digest, Hold::by_process(owner), owner))
            }
            (false, Some(record)) => match &record.owner {
                Some(owner) if owner.kept => {
                    Err(self.taken(&record.lock, digest, Hold::Kept, Some(owner)))
                }
                _ => Ok(()),
            },
            (false, None) => Ok(()),
        }
    }

    fn try_steal(&self, steal: &Steal) -> Result<Theft, LocksError> {
        let name = steal.lock.as_str();
        let digest = Digest::of(name.as_bytes()).0;
        let not_kept = || LocksError::NotKept {
            lock: name.to_owned(),
        };
        let file = match self.folder.lock(&digest, Missing::Stays)? {
            Tried::Missing => return Err(not_kept()),
            Tried::Busy(bytes) => return Err(self.busy(name, &digest, &bytes)),
            Tried::Locked(file) => file,
        };
        let mut record = match file.read(name)? {
            Content::Record(record) => *record,
            Content::Newer(version) => return Err(newer(name, version)),
            Content::Nothing => return Err(not_kept()),
        };
        let Some(owner) = record.owner.take().filter(|owner| owner.kept) else {
            return Err(not_kept());
        };
        if steal.from.as_ref().is_some_and(|run| *run != owner.run) {
            return Err(self.taken(name, &digest, Hold::Kept, Some(&owner)));
        }
        let theft = Theft {
            lock: name.to_owned(),
            by: steal.by.clone(),
            reason: steal.reason.clone(),
            at: steal.at.milliseconds,
            from: owner,
        };
        record.v = VERSION;
        record.stolen.push(theft.clone());
        file.append(&record)?;
        file.sync()?;
        Ok(theft)
    }

    fn try_forget(&self, name: &str, run: &str) -> Result<bool, LocksError> {
        let digest = Digest::of(name.as_bytes()).0;
        let file = match self.folder.lock(&digest, Missing::Stays)? {
            Tried::Missing => return Ok(false),
            Tried::Busy(bytes) => return Err(self.busy(name, &digest, &bytes)),
            Tried::Locked(file) => file,
        };
        let is_its = match file.read(name)? {
            Content::Record(record) => record.owner.is_some_and(|it| it.kept && it.run == run),
            _ => false,
        };
        if is_its {
            file.clear_durably()?;
        }
        Ok(is_its)
    }

    /// Returns the error for a lock that a process has, as far as what is in its file names it.
    fn busy(&self, name: &str, digest: &str, bytes: &[u8]) -> LocksError {
        let record = match Content::of(bytes, digest) {
            Content::Record(record) => Some(*record),
            _ => None,
        };
        let owner = record.as_ref().and_then(|record| record.owner.as_ref());
        self.taken(name, digest, Hold::by_process(owner), owner)
    }

    fn taken(&self, name: &str, digest: &str, hold: Hold, owner: Option<&Owner>) -> LocksError {
        LocksError::Taken(Box::new(Taken {
            lock: name.to_owned(),
            owner: owner.cloned(),
            hold,
            path: self.folder.path().join(digest),
        }))
    }
}

/// Returns the error for a record that a newer version of the program has written.
fn newer(name: &str, version: u32) -> LocksError {
    LocksError::Newer {
        lock: name.to_owned(),
        version,
    }
}

/// Tries again for a moment where a nameless process has the lock: it may only look, or give back what it took.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, LocksError>) -> Result<T, LocksError> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(LocksError::Taken(taken))
                if taken.hold.may_pass() && began.elapsed() < PATIENCE =>
            {
                thread::sleep(MOMENT);
            }
            other => return other,
        }
    }
}
