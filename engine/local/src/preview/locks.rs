//! What the run would hold exclusively, and who has it now. Nothing is taken, and nothing is made on the disk.

use runwright_core::{
    event::StepKey,
    kind::Digest,
    preview::{Lock, Probe, Stop, Then},
};

use super::driver::Driver;
use crate::locks::{Hold, Locks, LocksError, Taken};

impl Driver {
    /// Takes in that the playbook called at `step`, or the run itself, takes the locks `names`.
    pub(super) async fn lock(&mut self, step: &StepKey, names: Vec<String>) {
        let taken = match self.around.probe {
            Probe::Offline => None,
            Probe::All => Some(self.taken().await),
        };
        for name in names {
            let after = self.state.lock_known_after(&self.plan, step, &name);
            let mut lock = Lock {
                name: self.around.vault.mask(&name),
                after: after.as_deref().map(str::to_owned),
                step: (!step.is_empty()).then(|| step.to_string()),
                free: None,
                holder: None,
                ways_out: Vec::new(),
            };
            match &taken {
                _ if after.is_some() => {}
                None => {}
                Some(Err(why)) => lock.holder = Some(why.clone()),
                Some(Ok(taken)) => match taken.iter().find(|taken| is_of(taken, &name)) {
                    None => lock.free = Some(true),
                    Some(taken) => {
                        lock.free = Some(false);
                        lock.holder = Some(taken.to_string());
                        lock.ways_out = taken.ways_out();
                    }
                },
            }
            self.stop_at(&lock);
            self.locks.push(lock);
        }
    }

    /// A lock that somebody else has would refuse the run; the steps are shown all the same.
    fn stop_at(&mut self, lock: &Lock) {
        if let (Some(false), None, Some(holder), None) =
            (lock.free, &lock.step, &lock.holder, &self.stop)
        {
            self.stop = Some(Stop {
                step: String::new(),
                why: format!("the lock `{}` is taken: {holder}", lock.name),
                then: Then::Refused,
                undoes: Vec::new(),
            });
        }
    }

    /// Returns the locks that others have, or why that can't be told.
    async fn taken(&self) -> Result<Vec<Taken>, String> {
        let folder = self.around.locks.clone();
        let list = tokio::task::spawn_blocking(move || match Locks::find(&folder)? {
            Some(locks) => locks.list(),
            None => Ok(Vec::new()),
        });
        let listed = match tokio::time::timeout(self.around.limit.to_std(), list).await {
            Ok(Ok(listed)) => listed.map_err(|error| told(&error)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("they don't answer within {}", self.around.limit)),
        };
        let taken = listed.map_err(|why| format!("who has it can't be told: {why}"))?;
        Ok(taken
            .into_iter()
            .filter(|taken| !self.is_left_behind(taken))
            .collect())
    }

    /// Returns whether a lock is kept by a run of this journal that has ended: whoever wants it next gets it.
    fn is_left_behind(&self, taken: &Taken) -> bool {
        let (Some(journal), Some(owner), Hold::Kept) =
            (&self.around.journal, &taken.owner, taken.hold)
        else {
            return false;
        };
        owner.home == journal.home().path()
            && journal
                .run(&owner.run)
                .is_ok_and(|record| record.row.ended_at.is_some())
    }
}

/// Returns whether `taken` is the lock `name`; one that nothing names is listed by its digest.
fn is_of(taken: &Taken, name: &str) -> bool {
    taken.lock == name || taken.lock == Digest::of(name.as_bytes()).0
}

fn told(error: &LocksError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
