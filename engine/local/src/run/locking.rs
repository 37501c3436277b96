//! The locks of this run: taken when the machine wants them, kept from the first change on, given back at the end.

use std::{collections::BTreeSet, sync::Arc};

use camino::Utf8PathBuf;
use runwright_core::{event::Begun, kind::BoxFuture, machine::Answer};

use super::{Clock, Manner, Run, RunError, work::Done};
use crate::{
    journal::Journal,
    locks::{Claim, Held, Hold, Locks, LocksError, Theft},
};

/// What a run needs to take locks.
#[derive(Clone)]
struct Taker {
    folder: Utf8PathBuf,
    claim: Claim,
    journal: Journal,
    clock: Arc<Clock>,
    manner: Manner,
}

impl Taker {
    fn new(journal: &Journal, begun: &Begun, around: &super::Surroundings) -> Taker {
        Taker {
            folder: around.locks.clone(),
            claim: Claim {
                run: begun.run.to_string(),
                playbook: begun.playbook.clone(),
                user: begun.user.clone(),
                home: journal.home().path().to_owned(),
                names: BTreeSet::new(),
            },
            journal: journal.clone(),
            clock: around.clock.clone(),
            manner: around.manner.clone(),
        }
    }

    /// Takes `names`, all or none; waits for them where that is allowed and wanted.
    async fn take(mut self, names: BTreeSet<String>, may_wait: bool) -> Result<Held, LocksError> {
        self.claim.names = names;
        let locks = Locks::open(&self.folder)?;
        let patience = self.manner.wait_for_locks.filter(|_| may_wait);
        let (mut freed, mut has_tried) = (BTreeSet::new(), false);
        loop {
            let clock = self.clock.clone();
            let taken = match patience {
                Some(patience) if has_tried => {
                    let deadline = tokio::time::Instant::now().checked_add(patience);
                    let say = self.manner.say;
                    let tell = |taken: &crate::locks::Taken| {
                        say(&format!("waits for the lock `{}`: {taken}", taken.lock));
                    };
                    locks
                        .wait(&self.claim, move || clock.now(), deadline, tell)
                        .await
                }
                _ => locks.take(&self.claim, clock.now()),
            };
            match taken {
                Err(LocksError::Taken(taken)) => {
                    // A run that was killed between its end and the release keeps what is nobody's.
                    let ended = match &taken.owner {
                        Some(owner)
                            if taken.hold == Hold::Kept && owner.home == self.claim.home =>
                        {
                            has_ended(&self.journal, &owner.run).then(|| owner.run.clone())
                        }
                        _ => None,
                    };
                    match ended {
                        Some(run) if freed.insert(run.clone()) => drop(locks.forget(&run)?),
                        _ if patience.is_some() && !has_tried => has_tried = true,
                        _ => return Err(LocksError::Taken(taken)),
                    }
                }
                other => return other,
            }
        }
    }
}

/// Returns the locks that a run held before, taken again by this process.
pub(super) async fn again(
    journal: &Journal,
    begun: &Begun,
    around: &super::Surroundings,
    names: &BTreeSet<String>,
    is_changed: bool,
) -> Result<Option<Held>, RunError> {
    if names.is_empty() {
        return Ok(None);
    }
    let taker = Taker::new(journal, begun, around);
    let mut held = taker.take(names.clone(), true).await?;
    if is_changed {
        held.keep()?;
    }
    Ok(Some(held))
}

impl Run {
    /// Takes locks that the machine wants.
    pub(super) fn lock(&mut self, names: Vec<String>, may_wait: bool) -> BoxFuture<'static, Done> {
        let names: BTreeSet<String> = names.into_iter().collect();
        if let Some(held) = &mut self.held {
            let added = held.add(&names, self.around.clock.now());
            let answer = Done::Answer(Answer::Locked(match added {
                Ok(()) => Ok(stolen(held)),
                Err(error) => Err(refusal(&error)),
            }));
            return Box::pin(async move { answer });
        }
        let taker = Taker::new(self.writer.journal(), &self.begun, &self.around);
        Box::pin(async move { Done::Locked(taker.take(names, may_wait).await) })
    }

    /// Takes in what came of taking locks.
    pub(super) fn locked(&mut self, taken: Result<Held, LocksError>) -> Answer {
        Answer::Locked(match taken {
            Ok(mut held) => {
                let stolen = stolen(&mut held);
                self.held = Some(held);
                Ok(stolen)
            }
            Err(error) => Err(refusal(&error)),
        })
    }

    /// Makes the locks the run's even without this process, before it changes anything.
    pub(super) fn keep_locks(&mut self) -> Result<(), RunError> {
        match &mut self.held {
            Some(held) => Ok(held.keep()?),
            None => Ok(()),
        }
    }

    /// Gives the locks back, once the run has ended.
    pub(super) fn release_locks(&mut self) -> Result<(), RunError> {
        match self.held.take() {
            Some(held) => Ok(held.release()?),
            None => Ok(()),
        }
    }
}

fn stolen(held: &mut Held) -> Vec<String> {
    held.stolen().iter().map(Theft::to_string).collect()
}

fn refusal(error: &LocksError) -> String {
    format!("{error} ({})", error.hint())
}

/// Returns whether a run of this journal has ended.
fn has_ended(journal: &Journal, run: &str) -> bool {
    journal
        .run(run)
        .is_ok_and(|record| record.row.ended_at.is_some())
}

impl From<LocksError> for RunError {
    fn from(error: LocksError) -> RunError {
        RunError::Locked(Box::new(error))
    }
}
