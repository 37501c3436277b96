//! The journal: the events of all runs, append-only, in one SQLite file.
//!
//! Each run has a chain of hashes of its own ([`chain`]); the first event of a run goes on from the first event of the
//! run begun before it, so that a missing run shows. What `history` and `show` list is kept beside the events, written
//! in the same transaction ([`Row`]), and can be made again from them.
//!
//! Deliberately not here: what an event means, and the clock.

pub mod chain;
mod error;
mod evidence;
mod inbox;
mod prune;
mod read;
mod rows;
mod schema;
mod store;
#[cfg(test)]
mod testing;
mod undos;
mod verify;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use camino::Utf8PathBuf;

use self::store::Store;
pub use self::{
    chain::{EventHash, StoneText},
    error::JournalError,
    evidence::{KeptSignature, KeptStone},
    inbox::{Message, NewMessage},
    prune::{Stone, Weight},
    read::{Begun, Event, Events, PREVIEWED, Records, RunFilter},
    rows::{FindingRow, Row, RunRecord, RunRow, StepRow, UndoRow},
    undos::KeptUndo,
    verify::{Difference, Verification, VerifiedRun, Walked},
    writer::{Appended, NewEvent, RunWriter},
};
use crate::{
    home::{Home, Room},
    lock::Lock,
};

/// Whether a commit must have reached the disk before it is reported as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Yes: it survives the loss of power, and so does everything before it.
    Yes,
    /// No: it survives the end of this process, however sudden, and is synced with the next that is.
    No,
}

/// A journal that is open. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Journal {
    home: Home,
    store: Arc<Mutex<Store>>,
}

impl Journal {
    /// Opens the journal of `home`; creates it where it is missing, migrates an older one.
    ///
    /// # Errors
    ///
    /// Refuses a journal of a newer engine ([`JournalError::Newer`]) and a file that is none.
    pub fn open(home: &Home) -> Result<Journal, JournalError> {
        let store = Store::open(home)?;
        // Given up when the disk was full, and not taken again if that process was killed.
        if let Err(error) = home.restore_reserve() {
            tracing::warn!(%error, "no reserve could be set aside for a full disk");
        }
        Ok(Journal::over(home, store))
    }

    /// Opens the journal of `home` for reading only; `None` when there are no runs yet.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`].
    pub fn find(home: &Home) -> Result<Option<Journal>, JournalError> {
        let store = Store::find(home)?;
        Ok(store.map(|store| Journal::over(home, store)))
    }

    /// Opens the journal of `home` as it stands now, to prove it: nothing is written, an older one is not migrated, and
    /// what is appended meanwhile is not seen. `None` when there are no runs yet.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`].
    pub fn hold(home: &Home) -> Result<Option<Journal>, JournalError> {
        let store = Store::hold(home)?;
        Ok(store.map(|store| Journal::over(home, store)))
    }

    /// Returns the home that the journal lies in.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Returns where the journal lies.
    pub fn path(&self) -> Utf8PathBuf {
        self.home.journal()
    }

    /// Returns whether `run` was left without an end: it should have a process, and nobody holds its lock.
    ///
    /// # Errors
    ///
    /// [`JournalError::NoRun`] when the journal knows no such run.
    pub fn interrupted(&self, run: &str) -> Result<bool, JournalError> {
        let record = self.record(run)?;
        Ok(ATTENDED.contains(&record.row.state.as_str())
            && Lock::holder(&self.home.lock(run))?.is_none())
    }

    /// Gives up the reserve, so that something can still be written on a full disk; returns whether there was one.
    ///
    /// Appending does that by itself.
    ///
    /// # Errors
    ///
    /// Fails when the file can't be removed.
    pub fn release_reserve(&self) -> std::io::Result<bool> {
        self.home.release_reserve()
    }

    /// Sets the reserve aside again once there is room; returns whether it is there now.
    ///
    /// # Errors
    ///
    /// Fails when it can't be written for another reason than a full disk.
    pub fn restore_reserve(&self) -> std::io::Result<bool> {
        self.home.restore_reserve()
    }

    /// Returns how much room there is for a run that changes something.
    ///
    /// # Errors
    ///
    /// [`JournalError::NoRoom`] when the disk is full and the reserve was given up.
    pub fn room(&self) -> Result<Room, JournalError> {
        let room = self.home.room().map_err(self.no_answer())?;
        room.ok_or_else(|| self.no_room())
    }

    /// Refuses to let a change begin on a disk that is full: its failure and its undo might not be written down. A run
    /// that began on a full disk may use the reserve, because it may be the one that makes room.
    ///
    /// # Errors
    ///
    /// [`JournalError::NoRoom`] when there is too little left for that.
    pub fn need_room(&self, began: Room) -> Result<(), JournalError> {
        let has_room = self.home.has_room(began).map_err(self.no_answer())?;
        has_room.then_some(()).ok_or_else(|| self.no_room())
    }

    fn no_room(&self) -> JournalError {
        JournalError::NoRoom {
            home: self.home.path().to_owned(),
        }
    }

    fn no_answer(&self) -> impl FnOnce(std::io::Error) -> JournalError {
        let path = self.home.path().to_owned();
        move |source| JournalError::Io {
            action: "set space aside in",
            path,
            source,
        }
    }

    fn over(home: &Home, store: Store) -> Journal {
        Journal {
            home: home.clone(),
            store: Arc::new(Mutex::new(store)),
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // A transaction that a panic cut off is rolled back before the next one begins.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The states in which a run has a process.
const ATTENDED: [&str; 2] = ["running", "rolling_back"];
