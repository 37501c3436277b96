//! Reading the journal.

use std::{collections::VecDeque, fmt};

use rusqlite::{OptionalExtension, named_params, params};
use serde::Serialize;

use super::{
    EventHash, FindingRow, Journal, JournalError, Row, RunRecord, RunRow, StepRow, Sync,
    rows::Place,
};

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The run's id.
    pub run: String,
    /// Its place in the run, from 1.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// The event's kind.
    pub kind: String,
    /// The step's address; `None` when the event is the run's.
    pub step: Option<String>,
    /// JSON text.
    pub data: String,
    /// The hash, as [`chain`](super::chain) says.
    pub hash: EventHash,
}

/// A run in the order of their beginnings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Begun {
    /// The run's id.
    pub run: String,
    /// Its place among all runs, from 1.
    pub number: u64,
    /// The hash of its first event.
    pub first_hash: EventHash,
}

/// Which runs are listed: those that satisfy all that is given.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// The playbook's name.
    pub playbook: Option<String>,
    /// The run's state.
    pub state: Option<String>,
    /// Begun at this time or later: milliseconds since 1970.
    pub since: Option<i64>,
    /// Begun before this time: milliseconds since 1970.
    pub until: Option<i64>,
    /// Whether runs are meant, or the records of previews.
    pub records: Records,
}

/// Which records are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Records {
    /// Runs.
    #[default]
    Runs,
    /// What previews have left.
    Previews,
    /// Both.
    All,
}

/// The state of a record that a preview has left.
pub const PREVIEWED: &str = "previewed";

/// The events of a run, in order, read a page at a time.
pub struct Events {
    journal: Journal,
    run: String,
    after: i64,
    page: VecDeque<Event>,
    is_over: bool,
}

/// How many events are read at once.
const PAGE: usize = 256;

/// How many candidates an ambiguous prefix names.
const CANDIDATES: usize = 10;

impl Journal {
    /// Returns the runs that `filter` lets through, newest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn runs(&self, filter: &RunFilter, limit: usize) -> Result<Vec<RunRecord>, JournalError> {
        let sql = format!(
            "SELECT {RUN} FROM runs
             WHERE (:playbook IS NULL OR playbook = :playbook) AND (:state IS NULL OR state = :state)
               AND (:since IS NULL OR started_at >= :since) AND (:until IS NULL OR started_at < :until)
               AND (:previews IS NULL OR (state = '{PREVIEWED}') = :previews)
             ORDER BY number DESC LIMIT :limit"
        );
        self.store().read("list the runs in", |connection| {
            connection
                .prepare_cached(&sql)?
                .query_map(
                    named_params! {
                        ":playbook": filter.playbook,
                        ":state": filter.state,
                        ":since": filter.since,
                        ":until": filter.until,
                        ":previews": match filter.records {
                            Records::Runs => Some(false),
                            Records::Previews => Some(true),
                            Records::All => None,
                        },
                        ":limit": i64::try_from(limit).unwrap_or(i64::MAX),
                    },
                    read_run,
                )?
                .collect()
        })
    }

    /// Returns the one run whose id begins with `prefix`; the newest for `last`, which is never a preview's record.
    ///
    /// # Errors
    ///
    /// [`JournalError::NoRun`] or [`JournalError::Ambiguous`], which names the candidates.
    pub fn run(&self, prefix: &str) -> Result<RunRecord, JournalError> {
        if prefix == "last" {
            let newest = self.runs(&RunFilter::default(), 1)?.pop();
            return newest.ok_or_else(|| no_run(prefix));
        }
        if prefix.is_empty()
            || !prefix
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        {
            return Err(no_run(prefix));
        }
        // `{` follows `z`, the last letter that an id can have.
        let sql = format!(
            "SELECT {RUN} FROM runs WHERE run >= ?1 AND run < ?1 || '{{' ORDER BY number DESC LIMIT ?2"
        );
        let mut found: Vec<RunRecord> = self.store().read("find a run in", |connection| {
            connection
                .prepare_cached(&sql)?
                .query_map(params![prefix, CANDIDATES as i64], read_run)?
                .collect()
        })?;
        match found.len() {
            0 => Err(no_run(prefix)),
            1 => Ok(found.remove(0)),
            _ => Err(JournalError::Ambiguous {
                prefix: prefix.to_owned(),
                candidates: found.into_iter().map(|record| record.run).collect(),
            }),
        }
    }

    /// Returns the run whose id is `run`.
    ///
    /// # Errors
    ///
    /// [`JournalError::NoRun`] when there is none.
    pub fn record(&self, run: &str) -> Result<RunRecord, JournalError> {
        let sql = format!("SELECT {RUN} FROM runs WHERE run = ?1");
        self.store()
            .read("find a run in", |connection| {
                connection
                    .prepare_cached(&sql)?
                    .query_row([run], read_run)
                    .optional()
            })?
            .ok_or_else(|| no_run(run))
    }

    /// Returns all runs that were begun, in that order, pruned ones too.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn begun(&self) -> Result<Vec<Begun>, JournalError> {
        self.store().read("list the runs in", |connection| {
            connection
                .prepare_cached("SELECT run, number, first_hash FROM begun ORDER BY number")?
                .query_map([], |row| {
                    Ok(Begun {
                        run: row.get(0)?,
                        number: row.get::<_, i64>(1)?.cast_unsigned(),
                        first_hash: row.get(2)?,
                    })
                })?
                .collect()
        })
    }

    /// Returns the first event of every run, in the order in which they began.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn first_events(&self) -> Result<Vec<Event>, JournalError> {
        self.store().read("read the events in", |connection| {
            connection
                .prepare(
                    "SELECT begun.run, at, kind, data, hash FROM begun
                     JOIN events ON events.run = begun.run AND events.seq = 1 ORDER BY begun.number",
                )?
                .query_map([], |row| {
                    Ok(Event {
                        run: row.get(0)?,
                        seq: 1,
                        at: row.get(1)?,
                        kind: row.get(2)?,
                        step: None,
                        data: row.get(3)?,
                        hash: row.get(4)?,
                    })
                })?
                .collect()
        })
    }

    /// Returns the events of `run` in order; none when there is no such run.
    pub fn events(&self, run: &str) -> Events {
        self.events_after(run, 0)
    }

    /// Returns the events of `run` that follow the one at `seq`: asking again sees what was appended meanwhile.
    pub fn events_after(&self, run: &str, seq: u64) -> Events {
        Events {
            journal: self.clone(),
            run: run.to_owned(),
            after: seq.cast_signed(),
            page: VecDeque::new(),
            is_over: false,
        }
    }

    /// Returns the steps of `run` by their place in the plan.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn steps(&self, run: &str) -> Result<Vec<StepRow>, JournalError> {
        self.store().read("read the steps in", |connection| {
            connection
                .prepare_cached(
                    "SELECT step, position, title, kind, state, attempts, started_at, ended_at, error, changed
                     FROM steps WHERE run = ?1 ORDER BY position, step",
                )?
                .query_map([run], |row| {
                    Ok(StepRow {
                        step: row.get(0)?,
                        position: row.get(1)?,
                        title: row.get(2)?,
                        kind: row.get(3)?,
                        state: row.get(4)?,
                        attempts: row.get(5)?,
                        started_at: row.get(6)?,
                        ended_at: row.get(7)?,
                        error: row.get(8)?,
                        changed: row.get(9)?,
                    })
                })?
                .collect()
        })
    }

    /// Returns the findings of `run` in the order they were made.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn findings(&self, run: &str) -> Result<Vec<FindingRow>, JournalError> {
        self.store().read("read the findings in", |connection| {
            connection
                .prepare_cached(
                    "SELECT seq, position, step, severity, title, advice FROM findings
                     WHERE run = ?1 ORDER BY seq, position",
                )?
                .query_map([run], |row| {
                    Ok(FindingRow {
                        seq: row.get::<_, i64>(0)?.cast_unsigned(),
                        position: row.get(1)?,
                        step: row.get(2)?,
                        severity: row.get(3)?,
                        title: row.get(4)?,
                        advice: row.get(5)?,
                    })
                })?
                .collect()
        })
    }

    /// Empties the projections; [`Journal::project`] makes them again, run by run.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be written.
    pub fn clear_projections(&self) -> Result<(), JournalError> {
        self.store()
            .write("clear the projections in", Sync::Yes, |connection| {
                connection
                    .execute_batch("DELETE FROM findings; DELETE FROM steps; DELETE FROM runs;")
            })
    }

    /// Replaces the projections of `run` by `rows`, in one transaction.
    ///
    /// # Errors
    ///
    /// [`JournalError::NoRun`] when there are no events of it.
    pub fn project(&self, run: &str, rows: &[Row]) -> Result<(), JournalError> {
        let is_there = self
            .store()
            .write("project a run in", Sync::No, |connection| {
                let tip: Option<(i64, EventHash, i64)> = connection
                    .prepare_cached(
                        "SELECT begun.number, events.hash, events.seq FROM begun
                     JOIN events ON events.run = begun.run
                     WHERE begun.run = ?1 ORDER BY events.seq DESC LIMIT 1",
                    )?
                    .query_row([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                    .optional()?;
                let Some((number, head, seq)) = tip else {
                    return Ok(false);
                };
                for table in ["findings", "steps", "runs"] {
                    connection
                        .prepare_cached(&format!("DELETE FROM {table} WHERE run = ?1"))?
                        .execute([run])?;
                }
                let place = Place {
                    run,
                    number,
                    head: &head,
                    seq,
                };
                rows.iter()
                    .try_for_each(|row| row.write(connection, &place))?;
                Ok(true)
            })?;
        if is_there { Ok(()) } else { Err(no_run(run)) }
    }
}

impl Events {
    fn read_page(&self) -> Result<VecDeque<Event>, JournalError> {
        self.journal
            .store()
            .read("read the events in", |connection| {
                connection
                    .prepare_cached(
                        "SELECT seq, at, kind, step, data, hash FROM events
                     WHERE run = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
                    )?
                    .query_map(params![self.run, self.after, PAGE as i64], |row| {
                        let step: String = row.get(3)?;
                        Ok(Event {
                            run: self.run.clone(),
                            seq: row.get::<_, i64>(0)?.cast_unsigned(),
                            at: row.get(1)?,
                            kind: row.get(2)?,
                            step: (!step.is_empty()).then_some(step),
                            data: row.get(4)?,
                            hash: row.get(5)?,
                        })
                    })?
                    .collect()
            })
    }
}

impl Iterator for Events {
    type Item = Result<Event, JournalError>;

    fn next(&mut self) -> Option<Result<Event, JournalError>> {
        if self.page.is_empty() && !self.is_over {
            match self.read_page() {
                Ok(page) => {
                    self.is_over = page.len() < PAGE;
                    self.page = page;
                }
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
        let event = self.page.pop_front()?;
        self.after = event.seq.cast_signed();
        Some(Ok(event))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the events of {} after {}", self.run, self.after)
    }
}

const RUN: &str = "run, number, head, playbook, version, digest, path, title, user, host, state, outcome, exit_code, \
                   started_at, ended_at";

fn read_run(row: &rusqlite::Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord {
        run: row.get(0)?,
        number: row.get::<_, i64>(1)?.cast_unsigned(),
        head: row.get(2)?,
        row: RunRow {
            playbook: row.get(3)?,
            version: row.get(4)?,
            digest: row.get(5)?,
            path: row.get(6)?,
            title: row.get(7)?,
            user: row.get(8)?,
            host: row.get(9)?,
            state: row.get(10)?,
            outcome: row.get(11)?,
            exit_code: row.get(12)?,
            started_at: row.get(13)?,
            ended_at: row.get(14)?,
        },
    })
}

fn no_run(run: &str) -> JournalError {
    JournalError::NoRun {
        run: run.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_run_is_found_by_the_letters_that_only_it_begins_with() {
        let bench = Bench::new();
        for run in ["ab1111111111", "ab2222222222", "zz3333333333"] {
            drop(bench.begin(run));
        }
        let find = |prefix: &str| bench.journal.run(prefix).map(|record| record.run);
        assert_eq!(find("z").expect("one"), "zz3333333333");
        assert_eq!(find("ab2").expect("one"), "ab2222222222");
        assert_eq!(find("ab1111111111").expect("one"), "ab1111111111");
        assert_eq!(find("last").expect("the newest"), "zz3333333333");
        let error = find("ab").expect_err("two");
        assert_eq!(
            error.to_string(),
            "find run `ab`: it may be ab2222222222, ab1111111111"
        );
        for none in ["x", "", "%", "ab1111111111x", "AB"] {
            let error = find(none).expect_err("none");
            assert!(
                matches!(error, JournalError::NoRun { .. }),
                "{none}: {error}"
            );
        }
    }

    #[test]
    fn runs_are_listed_newest_first_and_filtered() {
        let bench = Bench::new();
        for (run, started_at, state) in [
            (RUN_A, 10, "succeeded"),
            (RUN_B, 20, "running"),
            (RUN_C, 30, "running"),
        ] {
            let row = RunRow {
                started_at,
                state: state.to_owned(),
                ..running()
            };
            let mut writer = bench.journal.begin(run).expect("a new run");
            writer
                .append(&[event("begun")], &[Row::Run(row)], Sync::No)
                .expect("it is appended");
        }
        let list = |filter: RunFilter, limit| -> Vec<String> {
            let runs = bench.journal.runs(&filter, limit).expect("it can be read");
            runs.into_iter().map(|record| record.run).collect()
        };
        assert_eq!(list(RunFilter::default(), 10), [RUN_C, RUN_B, RUN_A]);
        assert_eq!(list(RunFilter::default(), 2), [RUN_C, RUN_B]);
        let running = || Some("running".to_owned());
        assert_eq!(
            list(
                RunFilter {
                    state: running(),
                    until: Some(30),
                    ..RunFilter::default()
                },
                10
            ),
            [RUN_B]
        );
        assert_eq!(
            list(
                RunFilter {
                    since: Some(20),
                    ..RunFilter::default()
                },
                10
            ),
            [RUN_C, RUN_B]
        );
        let other = RunFilter {
            playbook: Some("other".to_owned()),
            ..RunFilter::default()
        };
        assert!(list(other, 10).is_empty());
    }

    #[test]
    fn events_come_in_order_over_many_pages_and_go_on_after_a_seq() {
        let bench = Bench::new();
        let mut writer = bench.begin(RUN_A);
        let events = vec![event("noted"); 2 * PAGE];
        let appended = writer
            .append(&events, &[], Sync::No)
            .expect("they are appended");
        let seqs = |events: Events| -> Vec<u64> {
            events
                .map(|event| event.expect("it can be read").seq)
                .collect()
        };
        assert_eq!(
            seqs(bench.journal.events(RUN_A)),
            (1..=appended.last).collect::<Vec<_>>()
        );
        assert_eq!(
            seqs(bench.journal.events_after(RUN_A, appended.last - 1)),
            [appended.last]
        );
        let last = bench
            .journal
            .events(RUN_A)
            .last()
            .expect("one")
            .expect("it can be read");
        assert_eq!(
            (last.hash, last.step.as_deref()),
            (appended.head, Some("backup"))
        );
    }

    #[test]
    fn projections_are_written_over_and_made_again() {
        let bench = Bench::new();
        let mut writer = bench.begin(RUN_A);
        let step = StepRow {
            step: "backup".to_owned(),
            state: "running".to_owned(),
            ..StepRow::default()
        };
        let done = StepRow {
            state: "failed".to_owned(),
            attempts: 2,
            started_at: Some(1),
            ended_at: Some(2),
            error: Some("no space".to_owned()),
            changed: true,
            ..step.clone()
        };
        let finding = FindingRow {
            seq: writer.next(),
            position: 0,
            step: "backup".to_owned(),
            severity: "warning".to_owned(),
            title: "the disk is 91% full".to_owned(),
            advice: Some("delete old backups".to_owned()),
        };
        let ended = RunRow {
            outcome: Some("failed".to_owned()),
            exit_code: Some(1),
            ended_at: Some(3),
            ..running()
        };
        let rows = [
            Row::Step(done.clone()),
            Row::Finding(finding.clone()),
            Row::Run(ended.clone()),
        ];
        writer
            .append(&[event("started")], &[Row::Step(step)], Sync::No)
            .expect("it is appended");
        let appended = writer
            .append(&[event("finished")], &rows, Sync::No)
            .expect("it is appended");
        let expected = RunRecord {
            run: RUN_A.to_owned(),
            number: 1,
            head: appended.head,
            row: ended,
        };
        let check = || {
            let journal = &bench.journal;
            assert_eq!(journal.record(RUN_A).expect("it is there"), expected);
            assert_eq!(
                journal.steps(RUN_A).expect("it can be read"),
                std::slice::from_ref(&done)
            );
            assert_eq!(
                journal.findings(RUN_A).expect("it can be read"),
                std::slice::from_ref(&finding)
            );
        };
        check();
        bench
            .journal
            .clear_projections()
            .expect("it can be written");
        assert!(
            bench
                .journal
                .steps(RUN_A)
                .expect("it can be read")
                .is_empty()
        );
        for begun in bench.journal.begun().expect("it can be read") {
            bench
                .journal
                .project(&begun.run, &rows)
                .expect("it can be written");
        }
        check();
        bench
            .journal
            .project(RUN_B, &rows)
            .expect_err("it never began");
    }
}
