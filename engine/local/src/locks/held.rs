//! The locks that a run has now.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use runwright_core::{kind::Digest, units::Time};

use super::{
    Claim, Locks,
    error::{Hold, LONGEST_NAME, LocksError, is_full},
    file::{Content, LockFile},
    folder::{Missing, Tried},
    newer,
    record::{Owner, Record, Theft, VERSION},
};
use crate::lock;

/// The locks of a run whose process this is.
///
/// Dropped without [`Held::release`], as by a kill, the kept ones stay the run's and the others are free.
#[derive(Debug)]
pub struct Held {
    locks: Locks,
    claim: Claim,
    files: BTreeMap<String, Lock>,
    kept: bool,
    untold: Vec<Theft>,
}

impl Held {
    /// Takes what `claim` names, in the order of the names.
    pub(super) fn take(locks: &Locks, claim: &Claim, at: Time) -> Result<Held, LocksError> {
        let mut held = Held {
            locks: locks.clone(),
            claim: claim.clone(),
            files: BTreeMap::new(),
            kept: false,
            untold: Vec::new(),
        };
        held.try_add(&claim.names, at)?;
        Ok(held)
    }

    /// Takes `names` as well, all or none; those that the run has already are passed over. Where the run keeps its
    /// locks, these are kept when this returns.
    ///
    /// This never waits: who waits for a lock and holds another can wait for ever.
    ///
    /// # Errors
    ///
    /// As [`Locks::take`]; what was held before still is.
    pub fn add(&mut self, names: &BTreeSet<String>, at: Time) -> Result<(), LocksError> {
        super::patiently(|| self.try_add(names, at))
    }

    /// Returns the names of what is held.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Returns whether the locks are the run's without this process.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Returns the thefts that were found in what was taken and not returned yet: the run is to write them down.
    ///
    /// They stay in the locks' files until [`Held::keep`] or [`Held::release`], so that another run is told where this
    /// one does not come so far.
    pub fn stolen(&mut self) -> Vec<Theft> {
        mem::take(&mut self.untold)
    }

    /// Makes all locks the run's without a process, until [`Held::release`]; durable when this returns.
    ///
    /// To be called before the first change, with what [`Held::stolen`] gave written down. A second call costs nothing.
    ///
    /// # Errors
    ///
    /// Fails where a record can't be written or synced; then nothing may be changed.
    pub fn keep(&mut self) -> Result<(), LocksError> {
        for lock in self.files.values_mut() {
            if !lock.kept || !lock.stolen.is_empty() {
                lock.write(&self.claim, Kept::Yes, Vec::new())?;
            }
        }
        self.kept = true;
        Ok(())
    }

    /// Hands the locks over to another run, which goes on from this one. Durable when this returns, where they are kept.
    ///
    /// # Errors
    ///
    /// As [`Held::keep`]; what could not be handed over is still the first run's.
    pub fn pass_to(&mut self, run: &str, user: &str) -> Result<(), LocksError> {
        run.clone_into(&mut self.claim.run);
        user.clone_into(&mut self.claim.user);
        let kept = if self.kept { Kept::Yes } else { Kept::No };
        for lock in self.files.values_mut() {
            let stolen = lock.stolen.clone();
            lock.write(&self.claim, kept, stolen)?;
            if self.kept {
                lock.file.sync()?;
            }
        }
        Ok(())
    }

    /// Removes the records and frees the locks: the run has ended, or has changed nothing. Durable when this returns,
    /// where they were kept.
    ///
    /// # Errors
    ///
    /// Fails where a record can't be removed: that lock is still the run's, and all others are free.
    pub fn release(self) -> Result<(), LocksError> {
        let mut result = Ok(());
        for lock in self.files.into_values() {
            result = result.and(lock.release());
        }
        result
    }

    fn try_add(&mut self, names: &BTreeSet<String>, at: Time) -> Result<(), LocksError> {
        // What is in here is given back where a later one is not free.
        let mut added = BTreeMap::new();
        for name in names {
            if !self.files.contains_key(name) {
                added.insert(name.clone(), self.lock(name, at)?);
            }
        }
        // A run that keeps one lock has changed something, so it keeps them all.
        let is_kept = self.kept || added.values().any(|lock| lock.kept);
        let kept = if is_kept { Kept::Yes } else { Kept::No };
        for lock in added.values_mut() {
            let stolen = lock.stolen.clone();
            lock.write(&self.claim, kept, stolen)?;
        }
        self.kept = is_kept;
        let stolen = added.values().flat_map(|lock| lock.stolen.iter().cloned());
        self.untold.extend(stolen);
        self.files.append(&mut added);
        Ok(())
    }

    /// Locks the file of `name`, and sees whether its record leaves it to this run.
    fn lock(&self, name: &str, at: Time) -> Result<Lock, LocksError> {
        if name.is_empty() {
            return Err(LocksError::NoName);
        }
        if name.len() > LONGEST_NAME {
            let lock = name.to_owned();
            return Err(LocksError::LongName { lock });
        }
        let digest = Digest::of(name.as_bytes()).0;
        let file = match self.locks.folder.lock(&digest, Missing::IsMade)? {
            Tried::Locked(file) => file,
            Tried::Busy(bytes) => return Err(self.locks.busy(name, &digest, &bytes)),
            Tried::Missing => unreachable!("it is made where it is missing"),
        };
        let content = match file.read(name)? {
            Content::Newer(version) => return Err(newer(name, version)),
            content => content,
        };
        let mut lock = Lock {
            name: name.to_owned(),
            file,
            since: at.milliseconds,
            kept: false,
            stolen: Vec::new(),
            is_named: false,
        };
        let Content::Record(record) = content else {
            return Ok(lock);
        };
        match record.owner {
            Some(owner) if owner.kept && owner.run != self.claim.run => {
                // It is not ours to give back.
                lock.kept = true;
                return Err(self.locks.taken(name, &digest, Hold::Kept, Some(&owner)));
            }
            Some(owner) if owner.run == self.claim.run => {
                lock.kept = owner.kept;
                lock.since = owner.since;
            }
            _ => {}
        }
        lock.stolen = record.stolen;
        Ok(lock)
    }
}

/// Whether a lock is a run's without its process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
}

/// One lock that is ours.
#[derive(Debug)]
struct Lock {
    name: String,
    file: LockFile,
    since: i64,
    /// Whether the record on the disk says so.
    kept: bool,
    /// The thefts that stand in the file.
    stolen: Vec<Theft>,
    /// Whether our name stands in the file.
    is_named: bool,
}

impl Lock {
    /// Writes that the run of `claim` has the lock.
    fn write(&mut self, claim: &Claim, kept: Kept, stolen: Vec<Theft>) -> Result<(), LocksError> {
        // Where our name stands already there is room for another line.
        if !self.kept && !self.is_named && self.stolen.is_empty() {
            // What stands there is worth nothing, and could name somebody else where ours can't be written.
            self.file.empty()?;
        }
        let pid = std::process::id();
        let owner = Owner {
            run: claim.run.clone(),
            playbook: claim.playbook.clone(),
            user: claim.user.clone(),
            home: claim.home.clone(),
            pid,
            boot: lock::boot(),
            start: lock::started(pid).unwrap_or_default(),
            since: self.since,
            kept: kept == Kept::Yes,
        };
        match self.file.append(&self.record(Some(owner), stolen.clone())) {
            // A full disk is no reason not to hold a lock, nor not to go on with a run that keeps it.
            Err(LocksError::Io { source, .. })
                if is_full(&source) && (self.kept || kept == Kept::No) =>
            {
                return Ok(());
            }
            result => result?,
        }
        self.is_named = true;
        if kept == Kept::Yes && (!self.kept || stolen != self.stolen) {
            self.file.sync()?;
        }
        self.kept = kept == Kept::Yes;
        self.stolen = stolen;
        Ok(())
    }

    fn record(&self, owner: Option<Owner>, stolen: Vec<Theft>) -> Record {
        Record {
            v: VERSION,
            lock: self.name.clone(),
            owner,
            stolen,
        }
    }

    fn release(mut self) -> Result<(), LocksError> {
        let was_kept = mem::replace(&mut self.kept, false);
        self.stolen.clear();
        let cleared = match was_kept {
            true => self.file.clear_durably(),
            false => self.file.clear(),
        };
        // Where that failed the record is still there, and dropping must not try again.
        self.kept = true;
        cleared
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if self.stolen.is_empty() {
            let _ = self.file.clear();
        } else if self.is_named {
            // The word of the theft stays; our name would be that of somebody who has it.
            let stolen = mem::take(&mut self.stolen);
            let _ = self.file.append(&self.record(None, stolen));
        }
    }
}
