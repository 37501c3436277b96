//! Housekeeping of undos: what one kept in the world is given up when its time is over.
//!
//! Only those of runs that have ended: whoever can still resume or roll back a run by itself loses nothing. The run's
//! lock is held meanwhile, which a `rollback` of it takes as well. What can't be given up is tried again next time.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    event::{Begun, Body},
    kind::{Cx, Digest, Failure, Hasher, Host, PlainHasher, Progress, Stream, UndoRecord},
    units::Time,
};

use crate::{
    digests::Keys,
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
    /// This machine by name: what another one has kept is not here.
    pub host: String,
    /// This machine by its id; empty where it has none.
    pub machine: String,
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
        let lapsed = self.journal.lapsed(now.milliseconds)?;
        if lapsed.is_empty() {
            return Ok(swept);
        }
        let heirs = Heirs::of(&self.journal)?;
        for undo in lapsed {
            if heirs.is_at_work(&self.journal, &undo.run)? {
                continue;
            }
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
        let place = undo.seq.checked_sub(1);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let registered = place.and_then(|place| events.get(place));
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
        let is_here = match begun.machine.is_empty() || self.machine.is_empty() {
            true => begun.host == self.host,
            false => begun.machine == self.machine,
        };
        if !is_here || lapsed.is_some_and(is_possible) {
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

/// The runs that took over the changes of other runs: to undo them, or to go on from them.
#[derive(Debug, Default)]
pub struct Heirs {
    of: BTreeMap<String, Vec<String>>,
}

impl Heirs {
    /// Returns those of a journal.
    ///
    /// # Errors
    ///
    /// When the journal can't be read.
    pub fn of(journal: &Journal) -> Result<Heirs, JournalError> {
        let mut heirs = Heirs::default();
        for first in journal.first_events()? {
            let Ok(begun) = serde_json::from_str::<Begun>(&first.data) else {
                continue;
            };
            let from = begun
                .undoes
                .or(begun.continues.map(|continued| continued.run));
            if let Some(from) = from {
                heirs.of.entry(from).or_default().push(first.run);
            }
        }
        Ok(heirs)
    }

    /// Returns the runs that took over from `run` itself, in the order in which they began.
    pub fn heirs(&self, run: &str) -> &[String] {
        self.of.get(run).map_or(&[], Vec::as_slice)
    }

    /// Returns the last run that took over from `run`, or from one that did; `run` where there is none.
    pub fn last<'a>(&'a self, run: &'a str) -> &'a str {
        let mut last = run;
        // A run begins after the one that it takes over from; a journal that was altered must not hold us.
        for _ in 0..self.of.len() {
            match self.heirs(last).last() {
                Some(heir) => last = heir,
                None => break,
            }
        }
        last
    }

    /// Returns whether a run that took over from `run`, or from one that did, has not ended.
    fn is_at_work(&self, journal: &Journal, run: &str) -> Result<bool, JournalError> {
        let mut seen: Vec<&str> = Vec::new();
        let mut open: Vec<&String> = self.heirs(run).iter().collect();
        while let Some(heir) = open.pop() {
            if seen.contains(&heir.as_str()) {
                continue;
            }
            seen.push(heir);
            if journal.record(heir)?.row.ended_at.is_none() {
                return Ok(true);
            }
            open.extend(self.heirs(heir));
        }
        Ok(false)
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

    fn hasher(&self) -> Box<dyn Hasher> {
        // Nothing that a release finds is written down.
        PlainHasher::boxed()
    }

    fn hasher_like(&self, recorded: &Digest) -> io::Result<Box<dyn Hasher>> {
        let keys = match &self.folder {
            Some(folder) => Keys::of(folder, &[]),
            None => Keys::passing(),
        };
        keys.hasher_like(recorded)
    }

    fn keep(&self, _: &Utf8Path, _: &Digest) -> io::Result<Digest> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn kept(&self, digest: &Digest) -> Utf8PathBuf {
        match &self.folder {
            Some(folder) => folder.kept(digest),
            None => Utf8PathBuf::from(&digest.0),
        }
    }

    fn start(
        &self,
        _: Option<Duration>,
        start: &mut dyn FnMut() -> io::Result<u32>,
    ) -> io::Result<()> {
        start().map(drop)
    }

    fn ended(&self, _: u32) {}

    fn take_terminal(&self) -> bool {
        false
    }

    fn give_terminal_back(&self) {}
}

#[cfg(test)]
mod tests {
    use std::fs;

    use runwright_core::{
        event::Event,
        kind::{Children, Looked},
        units::Span,
        value::Value,
    };
    use serde_json::json;

    use super::*;
    use crate::{
        journal::{NewEvent, Row, RunRow, Sync, UndoRow},
        testing::Sandbox,
    };

    const RUN: &str = "aaaaaaaaaaaa";
    const START: Time = Time {
        milliseconds: 1_790_000_000_000,
        offset: 0,
    };

    /// A run that has deleted a file with the real kind, and keeps it for seven days.
    struct Bench {
        upkeep: Upkeep,
        sandbox: Sandbox,
    }

    impl Bench {
        async fn new(ended: Option<i64>) -> Bench {
            let sandbox = Sandbox::new();
            let kinds = runwright_steps::kinds();
            let kinds: Kinds = Arc::new(kinds.into_iter().map(|kind| (kind.name, kind)).collect());
            let upkeep = Upkeep {
                journal: Journal::open(&sandbox.home()).expect("a journal"),
                kinds,
                host: "db1".to_owned(),
                machine: String::new(),
            };
            let bench = Bench { upkeep, sandbox };
            bench.delete(ended).await;
            bench
        }

        async fn delete(&self, ended: Option<i64>) {
            let old = self.sandbox.path("old");
            fs::write(&old, "old\n").expect("a file");
            let cx = Cx {
                run: RUN.into(),
                step: "gone".into(),
                attempt: 1,
                children: Arc::default(),
                host: Arc::new(SweepHost {
                    now: START,
                    folder: None,
                    cancelled: AtomicBool::new(false),
                }),
            };
            let arguments = Value::from_stored(&json!({ "path": old, "keep": "7d" }));
            let kind = self.upkeep.kinds["file.delete"];
            let action = (kind.open)(&arguments).expect("arguments");
            let look = action.look(&cx).await.expect("a look");
            let Looked::Needed { before, .. } = look else {
                panic!("{look:?}");
            };
            let undo = action.keep(&cx, &before).await.expect("an undo");
            let undo = undo.map(|undo| UndoRecord {
                kind: "file.delete".to_owned(),
                ..undo
            });
            let started = Body::Started {
                attempt: 1,
                action: action.describe(),
                before: None,
                undo: undo.clone(),
            };
            let mut writer = self.upkeep.journal.begin(RUN).expect("a run");
            let until = undo.and_then(|undo| undo.until(START)).expect("it lapses");
            for (step, body) in [("", Body::Begun(Box::new(begun()))), ("gone", started)] {
                let event = Event {
                    at: START,
                    step: step.into(),
                    body,
                };
                let new = NewEvent {
                    at: event.at.milliseconds,
                    kind: event.body.kind(),
                    step: Some(step).filter(|step| !step.is_empty()),
                    data: &event.body.data().to_string(),
                };
                let rows = [
                    Row::Run(RunRow {
                        ended_at: ended,
                        ..RunRow::default()
                    }),
                    Row::Undo(UndoRow {
                        step: "gone".to_owned(),
                        seq: 2,
                        until: until.milliseconds,
                    }),
                ];
                writer.append(&[new], &rows, Sync::No).expect("appended");
            }
            action.perform(&cx, Some(&before)).await.expect("deleted");
            assert_eq!(self.kept(), 1);
        }

        fn kept(&self) -> usize {
            let entries = self.sandbox.path("").read_dir_utf8().expect("a folder");
            entries
                .filter(|entry| {
                    let name = entry.as_ref().expect("an entry").file_name().to_owned();
                    name.starts_with(".old.")
                })
                .count()
        }
    }

    fn begun() -> Begun {
        Begun {
            version: 1,
            engine: "0.1.0".to_owned(),
            run: RUN.into(),
            playbook: "tidy-up".to_owned(),
            playbook_version: "1.0.0".to_owned(),
            title: "Tidy up".to_owned(),
            path: "tidy-up.yml".to_owned(),
            texts: BTreeMap::new(),
            inputs: Default::default(),
            sources: BTreeMap::new(),
            user: "ann".to_owned(),
            account: "ann".to_owned(),
            host: "db1".to_owned(),
            machine: String::new(),
            children: Children::default(),
            undoes: None,
            continues: None,
            yes: true,
            attended: false,
            fail_on: Default::default(),
            unseen: None,
        }
    }

    fn after(span: &str) -> Time {
        let span: Span = span.parse().expect("a span");
        Time {
            milliseconds: START.milliseconds + span.milliseconds,
            ..START
        }
    }

    async fn released(upkeep: &Upkeep, now: Time) -> usize {
        let swept = upkeep.sweep(now, None).await.expect("a sweep");
        assert!(swept.failed.is_empty(), "{swept:?}");
        swept.released.len()
    }

    #[tokio::test]
    async fn a_deleted_file_is_kept_until_its_time_is_over_and_then_given_up_once() {
        let bench = Bench::new(Some(START.milliseconds)).await;
        assert_eq!(released(&bench.upkeep, after("6d 23h 59m")).await, 0);
        assert_eq!(bench.kept(), 1);
        assert_eq!(released(&bench.upkeep, after("7d")).await, 1);
        assert_eq!(bench.kept(), 0);
        assert_eq!(released(&bench.upkeep, after("8d")).await, 0);
    }

    #[tokio::test]
    async fn nothing_is_given_up_of_a_run_that_goes_on_is_undone_or_belongs_to_another_machine() {
        let going_on = Bench::new(None).await;
        assert_eq!(released(&going_on.upkeep, after("8d")).await, 0);

        let mut bench = Bench::new(Some(START.milliseconds)).await;
        let lock = hold(&bench.upkeep.journal, RUN).expect("nobody has it");
        assert_eq!(released(&bench.upkeep, after("8d")).await, 0);
        drop(lock);
        bench.upkeep.host = "db2".to_owned();
        assert_eq!(released(&bench.upkeep, after("8d")).await, 0);
        bench.upkeep.host = "db1".to_owned();
        assert_eq!(bench.kept(), 1);
        assert_eq!(released(&bench.upkeep, after("8d")).await, 1);
    }

    #[tokio::test]
    async fn a_row_that_was_moved_forward_gives_up_nothing_early() {
        let bench = Bench::new(Some(START.milliseconds)).await;
        let path = bench.upkeep.journal.path();
        let other = rusqlite::Connection::open(path).expect("it opens");
        other
            .execute("UPDATE undos SET until = 0", [])
            .expect("it is changed");
        assert_eq!(released(&bench.upkeep, after("1d")).await, 0);
        assert_eq!(bench.kept(), 1);
        assert_eq!(released(&bench.upkeep, after("7d")).await, 1);
    }

    #[tokio::test]
    async fn pruning_gives_up_what_is_kept_before_its_time() {
        let bench = Bench::new(Some(START.milliseconds)).await;
        let swept = bench.upkeep.release_all(RUN, after("1d")).await;
        assert_eq!(swept.expect("a sweep").released.len(), 1);
        assert_eq!(bench.kept(), 0);
    }
}
