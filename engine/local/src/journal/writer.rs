//! Appending to a run: only the process that holds the run's lock does.

use rusqlite::{Connection, OptionalExtension, params};

use super::{EventHash, Journal, JournalError, Row, Sync, chain::Link, rows::Place};
use crate::{
    fault::{self, Point},
    folder::RunFolder,
    lock::Lock,
    signature::SignKey,
};

/// An event that is to be appended.
#[derive(Clone, Copy, Debug)]
pub struct NewEvent<'a> {
    /// Milliseconds since 1970; never before the event before it.
    pub at: i64,
    /// The event's kind.
    pub kind: &'a str,
    /// The step's address; `None` when the event is the run's.
    pub step: Option<&'a str>,
    /// JSON text.
    pub data: &'a str,
}

/// Where the appended events are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The seq of the first of them.
    pub first: u64,
    /// The seq of the last event of the run.
    pub last: u64,
    /// The hash of the last event of the run.
    pub head: EventHash,
}

/// The only one that appends to a run; holds its lock until dropped.
#[derive(Debug)]
pub struct RunWriter {
    journal: Journal,
    run: String,
    folder: RunFolder,
    _lock: Lock,
    /// `None` until the first event is written.
    tip: Option<Tip>,
    broken: bool,
}

/// The end of a run's chain.
#[derive(Clone, Copy, Debug)]
struct Tip {
    number: i64,
    last: i64,
    head: EventHash,
}

impl Journal {
    /// Begins the run `run`: takes its lock and makes its folder. It is in the journal with its first event.
    ///
    /// # Errors
    ///
    /// Fails when the run was begun before, or another process holds its lock.
    pub fn begin(&self, run: &str) -> Result<RunWriter, JournalError> {
        let folder = RunFolder::create(self.home(), run)?;
        let lock = Lock::take(&self.home().lock(run))?;
        match self.store().read("begin a run in", |it| tip(it, run))? {
            Some(_) => Err(JournalError::AlreadyBegun {
                run: run.to_owned(),
            }),
            None => {
                fault::pass(Point::Begun);
                Ok(RunWriter::new(self, run, folder, lock, None))
            }
        }
    }

    /// Takes up the run `run` where it was left.
    ///
    /// # Errors
    ///
    /// Fails when there is no such run, or another process holds its lock.
    pub fn reopen(&self, run: &str) -> Result<RunWriter, JournalError> {
        let no_run = || JournalError::NoRun {
            run: run.to_owned(),
        };
        let read = || self.store().read("reopen a run in", |it| tip(it, run));
        // Before anything is made, and again under the lock: the holder before us may have appended.
        read()?.ok_or_else(no_run)?;
        let folder = RunFolder::create(self.home(), run)?;
        let lock = Lock::take(&self.home().lock(run))?;
        let tip = read()?.ok_or_else(no_run)?;
        fault::pass(Point::Reopened);
        Ok(RunWriter::new(self, run, folder, lock, Some(tip)))
    }
}

impl RunWriter {
    /// Appends `events` and writes `rows` beside them, in one transaction.
    ///
    /// Without both it only syncs, when `sync` says so, what was appended before.
    ///
    /// # Errors
    ///
    /// On [`JournalError::Full`] and [`JournalError::Busy`] nothing was appended, and it can be tried again. After any
    /// other this writer appends no more: when the disk does not sync, what it holds is not known.
    pub fn append(
        &mut self,
        events: &[NewEvent<'_>],
        rows: &[Row],
        sync: Sync,
    ) -> Result<Appended, JournalError> {
        if self.broken {
            return Err(JournalError::Broken {
                run: self.run.clone(),
            });
        }
        let tip = self.write(events, rows, sync).inspect_err(|error| {
            let is_clean = matches!(
                error,
                JournalError::Full { .. } | JournalError::Busy { .. } | JournalError::NoRun { .. }
            );
            self.broken = !is_clean;
        })?;
        self.tip = Some(tip);
        let last = tip.last.cast_unsigned();
        Ok(Appended {
            first: last + 1 - events.len() as u64,
            last,
            head: tip.head,
        })
    }

    /// Returns the run's id.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Returns the journal that this appends to.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Returns the run's folder.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Returns the seq that the next event gets.
    pub fn next(&self) -> u64 {
        self.tip.map_or(1, |tip| tip.last.cast_unsigned() + 1)
    }

    /// Returns the hash of the last event; `None` before the first.
    pub fn head(&self) -> Option<EventHash> {
        self.tip.map(|tip| tip.head)
    }

    /// Signs the head, and keeps the signature beside the events, synced. Signing the same head again changes nothing.
    ///
    /// # Errors
    ///
    /// Fails when there is no event yet, or the journal can't be written.
    pub fn sign(&self, key: &SignKey) -> Result<(), JournalError> {
        let tip = self.tip.ok_or_else(|| JournalError::NoRun {
            run: self.run.clone(),
        })?;
        let signed = key.sign(&self.run, tip.last.cast_unsigned(), &tip.head);
        self.journal
            .store()
            .write("sign a run in", Sync::Yes, |connection| {
                let there = connection
                    .prepare_cached(
                        "SELECT EXISTS (SELECT 1 FROM signatures WHERE run = ?1 AND seq = ?2 AND key = ?3)",
                    )?
                    .query_row(params![self.run, tip.last, signed.key.bytes()], |row| row.get(0))?;
                if there {
                    return Ok(());
                }
                connection
                    .prepare_cached(
                        "INSERT INTO signatures (run, seq, hash, key, signature) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![
                        self.run,
                        tip.last,
                        tip.head,
                        signed.key.bytes(),
                        signed.signature
                    ])
                    .map(|_| ())
            })
    }

    fn new(
        journal: &Journal,
        run: &str,
        folder: RunFolder,
        lock: Lock,
        tip: Option<Tip>,
    ) -> RunWriter {
        RunWriter {
            journal: journal.clone(),
            run: run.to_owned(),
            folder,
            _lock: lock,
            tip,
            broken: false,
        }
    }

    fn write(
        &self,
        events: &[NewEvent<'_>],
        rows: &[Row],
        sync: Sync,
    ) -> Result<Tip, JournalError> {
        fault::pass(Point::AppendBefore);
        let mut store = self.journal.store();
        let (tip, rest) = match (self.tip, events.split_first()) {
            (None, None) => {
                return Err(JournalError::NoRun {
                    run: self.run.clone(),
                });
            }
            (Some(tip), None) if rows.is_empty() => {
                if sync == Sync::Yes {
                    store.sync()?;
                }
                return Ok(tip);
            }
            (None, Some((first, rest))) => (Begin::Now(first), rest),
            (Some(tip), _) => (Begin::Before(tip), events),
        };
        store.write("append to", sync, |connection| {
            let mut tip = match tip {
                Begin::Now(first) => begin(connection, &self.run, first)?,
                Begin::Before(tip) => tip,
            };
            let first = tip.last + 1 + rest.len() as i64 - events.len() as i64;
            for event in rest {
                tip.last += 1;
                tip.head = insert(connection, &self.run, tip.last, event, Some(&tip.head))?;
            }
            let place = Place {
                run: &self.run,
                number: tip.number,
                head: &tip.head,
                seq: first,
            };
            rows.iter()
                .try_for_each(|row| row.write(connection, &place))?;
            fault::pass(Point::AppendOpen);
            Ok(tip)
        })
    }
}

#[derive(Clone, Copy)]
enum Begin<'a> {
    Now(&'a NewEvent<'a>),
    Before(Tip),
}

/// Writes the first event of a run, chained to the first of the run begun before it.
fn begin(connection: &Connection, run: &str, event: &NewEvent<'_>) -> rusqlite::Result<Tip> {
    let previous: Option<EventHash> = connection
        .prepare_cached("SELECT first_hash FROM begun ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let head = insert(connection, run, 1, event, previous.as_ref())?;
    connection
        .prepare_cached("INSERT INTO begun (run, first_hash) VALUES (?1, ?2)")?
        .execute(params![run, head])?;
    Ok(Tip {
        number: connection.last_insert_rowid(),
        last: 1,
        head,
    })
}

fn insert(
    connection: &Connection,
    run: &str,
    seq: i64,
    event: &NewEvent<'_>,
    previous: Option<&EventHash>,
) -> rusqlite::Result<EventHash> {
    let step = event.step.unwrap_or_default();
    let link = Link {
        run: run.as_bytes(),
        seq,
        at: event.at,
        kind: event.kind.as_bytes(),
        step: step.as_bytes(),
        data: event.data.as_bytes(),
    };
    let hash = link.after(previous);
    connection
        .prepare_cached(
            "INSERT INTO events (run, seq, at, kind, step, data, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![run, seq, event.at, event.kind, step, event.data, hash])?;
    Ok(hash)
}

fn tip(connection: &Connection, run: &str) -> rusqlite::Result<Option<Tip>> {
    connection
        .prepare_cached(
            "SELECT begun.number, events.seq, events.hash FROM begun JOIN events ON events.run = begun.run
             WHERE begun.run = ?1 ORDER BY events.seq DESC LIMIT 1",
        )?
        .query_row([run], |row| {
            Ok(Tip {
                number: row.get(0)?,
                last: row.get(1)?,
                head: row.get(2)?,
            })
        })
        .optional()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::FileExt,
        time::{Duration, Instant},
    };

    use super::super::testing::*;
    use super::*;
    use crate::{
        lock::{Holder, LockError},
        testing::{Other, Sandbox, other},
    };

    #[test]
    fn a_second_writer_of_a_run_is_refused_and_told_who_holds_it() {
        if let Some((home, _)) = other() {
            let journal = Journal::open(&home).expect("a journal");
            let _writer = journal.reopen(RUN_A).expect("nobody holds it");
            println!("\nholding");
            loop {
                std::thread::park();
            }
        }
        let bench = Bench::new();
        drop(bench.begin(RUN_A));
        assert!(
            bench.journal.interrupted(RUN_A).expect("it is there"),
            "it has no process"
        );
        let mut holder = Other::start(
            "journal::writer::tests::a_second_writer_of_a_run_is_refused_and_told_who_holds_it",
            bench.journal.home().path(),
            "",
        );
        holder.wait_for("holding");

        let error = bench.journal.reopen(RUN_A).expect_err("it is held");
        let JournalError::Lock(LockError::Held { holder: named, .. }) = &error else {
            panic!("{error}");
        };
        assert_eq!(*named, Holder::Pid(holder.pid()));
        assert!(
            !bench.journal.interrupted(RUN_A).expect("it is there"),
            "it has a process"
        );
        holder.kill();
        assert!(
            bench.journal.interrupted(RUN_A).expect("it is there"),
            "it was killed"
        );
        bench
            .journal
            .reopen(RUN_A)
            .expect("the kernel has freed it");
    }

    #[test]
    fn eight_processes_begin_one_home_and_write_at_once() {
        const EVENTS: u64 = 200;
        let run = |number: &str| format!("concurrent0{number}");
        if let Some((home, number)) = other() {
            let journal = Journal::open(&home).expect("a journal");
            let mut writer = journal.begin(&run(&number)).expect("a run");
            for at in 0..EVENTS {
                let sync = if at % 10 == 0 { Sync::Yes } else { Sync::No };
                writer
                    .append(&[event("noted")], &[Row::Run(running())], sync)
                    .expect("it waits for the others");
            }
            return;
        }
        let sandbox = Sandbox::new();
        let path = sandbox.path("home");
        let numbers: Vec<String> = (0..8).map(|number| number.to_string()).collect();
        let name = "journal::writer::tests::eight_processes_begin_one_home_and_write_at_once";
        let others: Vec<Other> = numbers
            .iter()
            .map(|number| Other::start(name, &path, number))
            .collect();
        others.into_iter().for_each(Other::join);

        let journal = Journal::open(&sandbox.home()).expect("a journal");
        let verified = journal.verify(None).expect("it can be read");
        assert!(verified.holds(), "{verified:?}");
        let mut runs: Vec<(String, u64)> = verified
            .runs
            .into_iter()
            .map(|run| (run.run, run.events))
            .collect();
        runs.sort();
        let expected: Vec<(String, u64)> =
            numbers.iter().map(|number| (run(number), EVENTS)).collect();
        assert_eq!(runs, expected);
    }

    #[test]
    fn a_killed_writer_leaves_everything_it_was_told_was_written() {
        if let Some((home, ack)) = other() {
            let ack = fs::File::create(ack).expect("a file");
            let journal = Journal::open(&home).expect("a journal");
            let mut writer = journal.begin(RUN_A).expect("a run");
            loop {
                let text = writer.next().to_string();
                let sync = if writer.next().is_multiple_of(50) {
                    Sync::Yes
                } else {
                    Sync::No
                };
                let appended = writer
                    .append(&[data(&text)], &[Row::Run(running())], sync)
                    .expect("it is appended");
                ack.write_all_at(&appended.last.to_be_bytes(), 0)
                    .expect("it is noted");
            }
        }
        let sandbox = Sandbox::new();
        let (home, ack) = (sandbox.home(), sandbox.path("ack"));
        let noted = || -> Option<u64> {
            let bytes = fs::read(&ack).ok()?;
            bytes.try_into().ok().map(u64::from_be_bytes)
        };
        let mut writer = Other::start(
            "journal::writer::tests::a_killed_writer_leaves_everything_it_was_told_was_written",
            home.path(),
            ack.as_str(),
        );
        let deadline = Instant::now() + Duration::from_secs(60);
        while noted().is_none_or(|noted| noted < 700) {
            assert!(Instant::now() < deadline, "it has written {:?}", noted());
            std::thread::yield_now();
        }
        writer.kill();
        let noted = noted().expect("it has noted something");

        let reader = Journal::find(&home)
            .expect("it opens")
            .expect("it is there");
        assert!(
            reader.events(RUN_A).count() as u64 >= noted,
            "for reading, too"
        );
        drop(reader);
        let journal = Journal::open(&home).expect("it opens");
        let verified = journal.verify(None).expect("it can be read");
        assert!(verified.holds(), "{verified:?}");
        let events: Vec<_> = journal
            .events(RUN_A)
            .collect::<Result<_, _>>()
            .expect("it can be read");
        assert!(events.len() as u64 >= noted, "{} of {noted}", events.len());
        for (event, seq) in events.iter().zip(1u64..) {
            assert_eq!((event.seq, event.data.clone()), (seq, seq.to_string()));
        }
        let mut writer = journal.reopen(RUN_A).expect("the kernel has freed it");
        let appended = writer
            .append(&[data("more")], &[], Sync::Yes)
            .expect("it goes on");
        assert_eq!(appended.last, events.len() as u64 + 1);
        assert!(journal.verify(None).expect("it can be read").holds());
    }

    #[test]
    fn events_are_never_changed_removed_or_replaced() {
        let bench = Bench::new();
        drop(bench.begin(RUN_A));
        let all = "run, seq, at, kind, step, data, hash";
        for sql in [
            "UPDATE events SET data = ''".to_owned(),
            "UPDATE OR REPLACE events SET seq = 2".to_owned(),
            "DELETE FROM events".to_owned(),
            format!("INSERT OR REPLACE INTO events SELECT {all} FROM events"),
            format!("REPLACE INTO events SELECT {all} FROM events"),
            format!("INSERT OR IGNORE INTO events SELECT {all} FROM events"),
            format!(
                "INSERT INTO events SELECT {all} FROM events WHERE true ON CONFLICT DO UPDATE SET data = ''"
            ),
            "UPDATE begun SET number = 2".to_owned(),
            "DELETE FROM begun".to_owned(),
            "REPLACE INTO begun SELECT * FROM begun".to_owned(),
            "REPLACE INTO begun SELECT 2, run, first_hash FROM begun".to_owned(),
            "REPLACE INTO begun SELECT 1, 'other', first_hash FROM begun".to_owned(),
        ] {
            let error = bench.tamper(&sql).expect_err(&sql);
            assert!(error.to_string().contains(" never "), "{sql}: {error}");
        }
        assert!(bench.journal.verify(None).expect("it can be read").holds());
    }

    #[test]
    fn a_run_begins_once_and_only_a_begun_one_is_reopened() {
        let bench = Bench::new();
        let error = bench.journal.reopen(RUN_A).expect_err("it never began");
        assert!(matches!(error, JournalError::NoRun { .. }), "{error}");
        assert!(
            !bench.journal.home().run(RUN_A).exists(),
            "nothing was made"
        );
        let mut empty = bench.journal.begin(RUN_A).expect("a new run");
        empty
            .append(&[], &[], Sync::Yes)
            .expect_err("nothing to sync");
        drop(empty);
        drop(bench.begin(RUN_A));
        let error = bench.journal.begin(RUN_A).expect_err("it was begun");
        assert!(
            matches!(error, JournalError::AlreadyBegun { .. }),
            "{error}"
        );
    }

    #[test]
    fn many_events_are_one_transaction() {
        let bench = Bench::new();
        let mut writer = bench.begin(RUN_A);
        let head = writer.head();
        let events = [
            event("a"),
            event("b"),
            NewEvent {
                step: None,
                ..event("c")
            },
        ];
        let appended = writer
            .append(&events, &[], Sync::No)
            .expect("they are appended");
        assert_eq!((appended.first, appended.last, writer.next()), (2, 4, 5));
        assert_eq!(writer.head(), Some(appended.head));
        // The second is refused by SQLite: the first must not stay.
        bench
            .tamper(
                "CREATE TRIGGER stop BEFORE INSERT ON events WHEN NEW.kind = 'bad'
                 BEGIN SELECT RAISE(ABORT, 'no'); END",
            )
            .expect("a trigger");
        writer
            .append(&[event("good"), event("bad")], &[], Sync::No)
            .expect_err("the second is refused");
        assert_eq!(bench.journal.events(RUN_A).count(), 4);
        assert_eq!(writer.head(), Some(appended.head));
        assert_ne!(writer.head(), head);
        let error = writer
            .append(&[event("good")], &[], Sync::No)
            .expect_err("it is broken");
        assert!(matches!(error, JournalError::Broken { .. }), "{error}");
    }
}
