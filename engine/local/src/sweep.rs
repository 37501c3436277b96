//! Housekeeping of undos: what one kept in the world is given up when its time is over.
//!
//! Only those of runs that have ended: whoever can still resume or roll back a run by itself loses nothing. The run's
//! lock is held meanwhile, which a `rollback` of it takes as well. What can't be given up is tried again next time.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    event::Body,
    kind::{Cx, Digest, Failure, Host, Progress, Stream, UndoRecord},
    units::Time,
};

use crate::{
    folder::RunFolder,
    journal::{Journal, JournalError, KeptUndo},
    lock::{Lock, LockError},
    run::{Kinds, RunError, events},
};

/// What housekeeping needs.
#[derive(Clone)]
pub struct Upkeep {
    /// The journal.
    pub journal: Journal,
    /// The kinds.
    pub kinds: Kinds,
    /// This machine: what another one has kept is not here.
    pub host: String,
}

/// What a sweep has done.
#[derive(Debug, Default)]
pub struct Swept {
    /// What was given up: run, step, and the undo in a line.
    pub released: Vec<Release>,
    /// What could not be given up, and why.
    pub failed: Vec<(Release, Failure)>,
}

/// An undo whose means were given up, or should have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The run.
    pub run: String,
    /// The step's address.
    pub step: String,
    /// The undo in a line.
    pub summary: String,
}

/// How long one release may take, and how long it has to end after that.
const PATIENCE: Duration = Duration::from_secs(600);
const GRACE: Duration = Duration::from_secs(5);

impl Upkeep {
    /// Gives up what lapsed undos keep, as far as `now` says; begins no further one after `limit`.
    ///
    /// # Errors
    ///
    /// When the journal can't be read or written.
    pub async fn sweep(&self, now: Time, limit: Option<Duration>) -> Result<Swept, RunError> {
        let since = Instant::now();
        let mut swept = Swept::default();
        for undo in self.journal.lapsed(now.milliseconds)? {
            if limit.is_some_and(|limit| since.elapsed() >= limit) {
                break;
            }
            let lock = match Lock::take(&self.journal.home().lock(&undo.run)) {
                Ok(lock) => lock,
                // It is undone just now, or swept by another process.
                Err(LockError::Held { .. }) => continue,
                Err(error) => {
                    let release = named(&undo, String::new());
                    let failure = Failure::internal("take the lock of the run").because(&error);
                    swept.failed.push((release, failure));
                    continue;
                }
            };
            self.release(&undo, now, Some(now), &mut swept).await?;
            drop(lock);
        }
        Ok(swept)
    }

    /// Gives up everything that the undos of `run` keep, lapsed or not; whoever calls it holds the run's lock.
    ///
    /// # Errors
    ///
    /// When the journal can't be read or written.
    pub async fn release_all(&self, run: &str, now: Time) -> Result<Swept, RunError> {
        let mut swept = Swept::default();
        for undo in self.journal.kept_by(run)? {
            self.release(&undo, now, None, &mut swept).await?;
        }
        Ok(swept)
    }

    /// Gives up what `undo` keeps, unless it is still possible at `lapsed`.
    async fn release(
        &self,
        undo: &KeptUndo,
        now: Time,
        lapsed: Option<Time>,
        swept: &mut Swept,
    ) -> Result<(), RunError> {
        let events = events(&self.journal, &undo.run)?;
        let begun = events.first().map(|event| &event.body);
        let registered = usize::try_from(undo.seq - 1)
            .ok()
            .and_then(|place| events.get(place));
        // The events decide, not the row.
        let (Some(Body::Begun(begun)), Some((record, at))) = (
            begun,
            registered.and_then(|event| match &event.body {
                Body::Started {
                    undo: Some(record), ..
                } if *event.step == *undo.step => Some((record.clone(), event.at)),
                _ => None,
            }),
        ) else {
            let failure = Failure::internal(format!(
                "find the undo: event {} of the run registers none",
                undo.seq
            ))
            .hint("`runwright audit verify` says what was done to the journal");
            swept.failed.push((named(undo, String::new()), failure));
            return Ok(());
        };
        let is_possible = |now: Time| {
            let until = record.until(at);
            until.is_none_or(|until| until.milliseconds > now.milliseconds)
        };
        if begun.host != self.host || lapsed.is_some_and(is_possible) {
            return Ok(());
        }
        let release = named(undo, record.summary.clone());
        let folder = RunFolder::find(self.journal.home(), &undo.run);
        let host = Arc::new(SweepHost {
            now,
            folder,
            cancelled: AtomicBool::new(false),
        });
        let cx = Cx {
            run: begun.run.clone(),
            step: undo.step.as_str().into(),
            attempt: 1,
            children: Arc::new(begun.children.clone()),
            host: host.clone(),
        };
        match self.give_up(&record, &cx, &host).await {
            Ok(()) => {
                self.journal.note_released(undo, now.milliseconds)?;
                swept.released.push(release);
            }
            Err(failure) => swept.failed.push((release, failure)),
        }
        Ok(())
    }

    async fn give_up(&self, record: &UndoRecord, cx: &Cx, host: &SweepHost) -> Result<(), Failure> {
        let kind = self.kinds.get(record.kind.as_str()).ok_or_else(|| {
            Failure::internal(format!(
                "find the kind `{}`: this engine does not have it",
                record.kind
            ))
        })?;
        let undo = (kind.open_undo)(&record.data).map_err(|error| {
            Failure::internal(format!("read the undo of `{}`", record.kind)).because(&error)
        })?;
        let mut releasing = undo.release(cx);
        match tokio::time::timeout(PATIENCE, &mut releasing).await {
            Ok(result) => result,
            Err(_) => {
                host.cancelled.store(true, Ordering::SeqCst);
                let late = tokio::time::timeout(GRACE, releasing).await;
                late.unwrap_or_else(|_| {
                    Err(Failure::internal(format!(
                        "give up what it kept within {} s",
                        PATIENCE.as_secs()
                    )))
                })
            }
        }
    }
}

fn named(undo: &KeptUndo, summary: String) -> Release {
    Release {
        run: undo.run.clone(),
        step: undo.step.clone(),
        summary,
    }
}

/// Returns the lock of `run`, or none where nothing of it lies in the home any more.
///
/// # Errors
///
/// When another process has it.
pub fn hold(journal: &Journal, run: &str) -> Result<Option<Lock>, JournalError> {
    match journal.home().run(run).exists() {
        true => Ok(Some(Lock::take(&journal.home().lock(run))?)),
        false => Ok(None),
    }
}

/// The host of a release: nobody listens, and nothing new is kept.
struct SweepHost {
    now: Time,
    folder: Option<RunFolder>,
    cancelled: AtomicBool,
}

impl Host for SweepHost {
    fn output(&self, _: Stream, _: &[u8]) {}

    fn progress(&self, _: Progress) {}

    fn now(&self) -> Time {
        self.now
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    fn keep(&self, _: &Utf8Path) -> io::Result<Digest> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn kept(&self, digest: &Digest) -> Utf8PathBuf {
        match &self.folder {
            Some(folder) => folder.kept(digest),
            None => Utf8PathBuf::from(&digest.0),
        }
    }
}
