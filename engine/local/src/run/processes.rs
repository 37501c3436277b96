//! The processes that one call of a kind has started.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use runwright_core::event::StepKey;

use super::{
    guard::Guard,
    step_lock::{StepLock, spawn_apart},
};
use crate::folder::RunFolder;

/// The processes of one call of a kind, each of which holds the step's lock.
pub(super) struct Processes {
    step: StepKey,
    folder: RunFolder,
    guard: Arc<Guard>,
    alive: Mutex<Alive>,
}

#[derive(Default)]
struct Alive {
    lock: Option<StepLock>,
    /// The groups, and how long each may take to end where it is to end with us.
    groups: BTreeMap<u32, Option<Duration>>,
    guarded: bool,
}

impl Processes {
    pub(super) fn new(step: StepKey, folder: RunFolder, guard: Arc<Guard>) -> Processes {
        Processes {
            step,
            folder,
            guard,
            alive: Mutex::default(),
        }
    }

    /// Starts a group.
    ///
    /// # Errors
    ///
    /// When it does not start, or the step's lock can't be made.
    pub(super) fn start(
        &self,
        grace: Option<Duration>,
        start: &mut dyn FnMut() -> io::Result<u32>,
    ) -> io::Result<()> {
        let mut alive = self.alive();
        if alive.lock.is_none() {
            alive.lock = match StepLock::take(&self.folder, &self.step) {
                Ok(lock) => Some(lock),
                // On a full disk what undoes the run must still be able to start.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => None,
                Err(error) => return Err(error),
            };
        }
        let group = match &alive.lock {
            Some(lock) => lock.spawn(start)?,
            None => spawn_apart(start)?,
        };
        alive.groups.insert(group, grace);
        if let (true, Some(grace)) = (alive.guarded, grace) {
            self.guard.watch(group, grace);
        }
        Ok(())
    }

    /// Takes note that a group is gone.
    pub(super) fn ended(&self, group: u32) {
        self.alive().groups.remove(&group);
        self.guard.forget(group);
    }

    /// Returns whether a group is there.
    pub(super) fn any(&self) -> bool {
        !self.alive().groups.is_empty()
    }

    /// Sees that what is there, and what is started from now on, ends when this process dies.
    pub(super) fn guard(&self) {
        let mut alive = self.alive();
        alive.guarded = true;
        for (group, grace) in &alive.groups {
            if let Some(grace) = grace {
                self.guard.watch(*group, *grace);
            }
        }
    }

    fn alive(&self) -> MutexGuard<'_, Alive> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
