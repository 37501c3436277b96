//! Recomputing the chains, and finding the first place where one does not hold.
//!
//! A chain tells for certain that something is wrong from one event on. *What* is wrong is an inference: an event that
//! fits at another place was moved, one whose successor still follows from its hash was changed, and so on.

use std::{collections::BTreeMap, fmt};

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::{EventHash, Journal, JournalError, chain::Link};

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The runs in the order they began.
    pub runs: Vec<VerifiedRun>,
    /// Numbers of runs that were begun and are not there.
    pub missing: Vec<u64>,
    /// Runs that have events or a row, but never began.
    pub strangers: Vec<String>,
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The run that it is at, from 1.
    pub run: u64,
    /// How many runs there are.
    pub of: u64,
    /// How many events have been read since it was told last.
    pub events: u64,
}

/// What a verification found of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifiedRun {
    /// The run's id.
    pub run: String,
    /// Its place among all runs, from 1.
    pub number: u64,
    /// How many events hold; of a pruned run: how many there were.
    pub events: u64,
    /// The hash of the last event that holds.
    pub head: Option<EventHash>,
    /// Whether only its stone is left.
    pub is_pruned: bool,
    /// The first place where it differs from what was written.
    pub difference: Option<Difference>,
}

/// How a run differs from what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Difference {
    /// The event is not the one that was written.
    Changed {
        /// Which.
        seq: u64,
    },
    /// An event is not there any more.
    Removed {
        /// Which.
        seq: u64,
    },
    /// An event was put in.
    Inserted {
        /// Which.
        seq: u64,
    },
    /// An event stands at another place than it was written at.
    Reordered {
        /// Where.
        seq: u64,
    },
    /// The run begun before this one is not the one that stands there: runs are missing, put in or moved.
    RunOrder,
}

impl Verification {
    /// Returns whether everything is as it was written.
    pub fn holds(&self) -> bool {
        self.missing.is_empty()
            && self.strangers.is_empty()
            && self.runs.iter().all(|run| run.difference.is_none())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Changed { seq: 1 } => {
                f.write_str("event 1 was changed, or a run begun just before this one was removed")
            }
            Difference::Changed { seq } => write!(f, "event {seq} was changed"),
            Difference::Removed { seq } => write!(f, "event {seq} was removed"),
            Difference::Inserted { seq } => write!(f, "event {seq} was inserted"),
            Difference::Reordered { seq } => write!(f, "event {seq} stands at the wrong place"),
            Difference::RunOrder => {
                f.write_str("it was not begun after the run that now stands before it")
            }
        }
    }
}

impl Journal {
    /// Recomputes the chain of `run`, or of all runs and their order.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read, or has no such run; a difference is a result.
    pub fn verify(&self, run: Option<&str>) -> Result<Verification, JournalError> {
        self.verify_told(run, &mut |_| {})
    }

    /// Does the same and says after every thousand events, and after each run, how far it is.
    ///
    /// # Errors
    ///
    /// As [`Journal::verify`].
    pub fn verify_told(
        &self,
        run: Option<&str>,
        tell: &mut dyn FnMut(Walked),
    ) -> Result<Verification, JournalError> {
        let store = self.store();
        store.snapshot(|connection| {
            let failed = |error| store.failed("verify", error);
            let order = order(connection).map_err(failed)?;
            let is_asked = |begun: &Begun| run.is_none_or(|run| run == begun.run);
            let mut verification = Verification {
                runs: Vec::new(),
                missing: Vec::new(),
                strangers: Vec::new(),
            };
            for at in (0..order.len()).filter(|at| is_asked(&order[*at])) {
                let mut tell = |events| {
                    tell(Walked {
                        run: at as u64 + 1,
                        of: order.len() as u64,
                        events,
                    });
                };
                let walked = walk(connection, &order, at, &mut tell).map_err(failed)?;
                tell(walked.events % STRIDE);
                verification.runs.push(walked);
            }
            match run {
                None => {
                    verification.missing = missing(connection, &order).map_err(failed)?;
                    verification.strangers = strangers(connection).map_err(failed)?;
                }
                Some(run) if verification.runs.is_empty() => {
                    return Err(JournalError::NoRun {
                        run: run.to_owned(),
                    });
                }
                Some(_) => {}
            }
            Ok(verification)
        })
    }

    /// Returns whether `head`, kept from an earlier time, is in the chain of `run` (or on its stone).
    ///
    /// It says nothing about the chain itself: verify that as well.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn contains(&self, run: &str, head: &EventHash) -> Result<bool, JournalError> {
        self.store().read("verify", |connection| {
            connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM events WHERE run = ?1 AND hash = ?2)
                     OR EXISTS (SELECT 1 FROM stones WHERE run = ?1 AND ?2 IN (first_hash, last_hash))",
                params![run, head],
                |row| row.get(0),
            )
        })
    }
}

/// A run as `begun` lists it.
struct Begun {
    run: String,
    number: i64,
    first: Option<EventHash>,
}

/// An event's bytes as they are stored; a field of another type than was written is left empty.
struct Stored {
    seq: i64,
    at: i64,
    kind: Vec<u8>,
    step: Vec<u8>,
    data: Vec<u8>,
    hash: Option<EventHash>,
}

impl Stored {
    /// Returns whether this is what was written at `seq` after the event with the hash `previous`.
    fn fits(&self, run: &str, seq: i64, previous: Option<&EventHash>) -> bool {
        let link = Link {
            run: run.as_bytes(),
            seq,
            at: self.at,
            kind: &self.kind,
            step: &self.step,
            data: &self.data,
        };
        self.hash == Some(link.after(previous))
    }
}

fn order(connection: &Connection) -> rusqlite::Result<Vec<Begun>> {
    connection
        .prepare("SELECT run, number, first_hash FROM begun ORDER BY number")?
        .query_map([], |row| {
            Ok(Begun {
                run: row.get(0)?,
                number: row.get(1)?,
                first: row.get(2).ok(),
            })
        })?
        .collect()
}

/// Follows the chain of the run at `at` as far as it holds.
fn walk(
    connection: &Connection,
    order: &[Begun],
    at: usize,
    tell: &mut dyn FnMut(u64),
) -> rusqlite::Result<VerifiedRun> {
    let begun = &order[at];
    let previous_run = at.checked_sub(1).and_then(|before| order[before].first);
    let mut verified = VerifiedRun {
        run: begun.run.clone(),
        number: begun.number.cast_unsigned(),
        events: 0,
        head: None,
        is_pruned: false,
        difference: None,
    };
    if let Some((first, last, events)) = stone(connection, &begun.run)? {
        verified.is_pruned = true;
        verified.events = events.cast_unsigned();
        verified.head = last;
        verified.difference =
            (first.is_none() || first != begun.first).then_some(Difference::Changed { seq: 1 });
        return Ok(verified);
    }

    let written_head: Option<EventHash> = connection
        .query_row(
            "SELECT head FROM runs WHERE run = ?1",
            [&begun.run],
            |row| Ok(row.get(0).ok()),
        )
        .optional()?
        .flatten();
    let mut is_written_head_there = written_head.is_none();
    let mut statement = connection.prepare_cached(
        "SELECT seq, at, kind, step, data, hash FROM events WHERE run = ?1 ORDER BY seq",
    )?;
    let mut rows = statement.query([&begun.run])?;
    let mut expected = 1;
    while let Some(row) = rows.next()? {
        let event = read(row)?;
        let previous = if expected == 1 {
            previous_run
        } else {
            verified.head
        };
        if event.seq < expected {
            verified.difference = Some(Difference::Inserted {
                seq: event.seq.max(0).cast_unsigned(),
            });
        } else if event.seq > expected {
            verified.difference = Some(Difference::Removed {
                seq: expected.cast_unsigned(),
            });
        } else if !event.fits(&begun.run, expected, previous.as_ref()) {
            verified.difference = Some(infer(connection, order, at, expected)?);
        } else if expected == 1 && event.hash != begun.first {
            verified.difference = Some(Difference::Changed { seq: 1 });
        }
        if verified.difference.is_some() {
            return Ok(verified);
        }
        verified.events += 1;
        if verified.events.is_multiple_of(STRIDE) {
            tell(STRIDE);
        }
        verified.head = event.hash;
        is_written_head_there |= event.hash == written_head;
        expected += 1;
    }
    if verified.events == 0 || !is_written_head_there {
        verified.difference = Some(Difference::Removed {
            seq: verified.events + 1,
        });
    }
    Ok(verified)
}

/// How many events are read before it is told how far it is.
const STRIDE: u64 = 1000;
/// How far around a break the events are looked at.
const REACH: i64 = 64;
/// How many missing runs are listed.
const MISSING: usize = 1000;
/// How far an event is looked for from the place where it stands.
const SHIFT: i64 = 8;

/// Says what was done to the chain of the run at `at`, which breaks at `seq`.
fn infer(
    connection: &Connection,
    order: &[Begun],
    at: usize,
    seq: i64,
) -> rusqlite::Result<Difference> {
    let run = order[at].run.as_str();
    let around = around(connection, run, seq)?;
    let previous_run = at.checked_sub(1).and_then(|before| order[before].first);
    // The hash before each event, as far as it is there: that of the first is of another run.
    let hash_before = |seq: i64| match seq {
        1 => Some(previous_run),
        _ => around
            .get(&(seq - 1))
            .and_then(|event| event.hash)
            .map(Some),
    };
    let fits = |event: &Stored, seq: i64| {
        hash_before(seq).is_some_and(|previous| event.fits(run, seq, previous.as_ref()))
    };
    let here = seq.cast_unsigned();
    let Some(event) = around.get(&seq) else {
        return Ok(Difference::Removed { seq: here });
    };
    if seq == 1 {
        let elsewhere = order
            .iter()
            .filter(|begun| begun.run != run)
            .map(|begun| begun.first);
        if elsewhere
            .chain([None])
            .any(|previous| event.fits(run, 1, previous.as_ref()))
            || order[at].number != at.checked_sub(1).map_or(0, |before| order[before].number) + 1
        {
            return Ok(Difference::RunOrder);
        }
    }
    let next = around.get(&(seq + 1));
    if next.is_some_and(|next| fits(next, seq + 1)) {
        return Ok(Difference::Changed { seq: here });
    }
    // The event before may have been forged with a hash that fits.
    if seq > 1 && fits(event, seq - 1) {
        return Ok(Difference::Inserted { seq: here - 1 });
    }
    let places = (seq - SHIFT).max(1)..=seq + SHIFT;
    let mut hashes = around
        .values()
        .filter_map(|event| event.hash)
        .map(Some)
        .chain([previous_run]);
    let is_moved = hashes.any(|previous| {
        places
            .clone()
            .filter(|place| *place != seq)
            .any(|place| event.fits(run, place, previous.as_ref()))
    });
    let followed = |place: i64, previous: Option<EventHash>| {
        next.is_some_and(|next| next.fits(run, place, previous.as_ref()))
    };
    Ok(if is_moved {
        Difference::Reordered { seq: here }
    } else if hash_before(seq).is_some_and(|previous| followed(seq, previous)) {
        Difference::Inserted { seq: here }
    } else if followed(seq + 2, event.hash) {
        Difference::Removed { seq: here }
    } else {
        Difference::Changed { seq: here }
    })
}

fn around(connection: &Connection, run: &str, seq: i64) -> rusqlite::Result<BTreeMap<i64, Stored>> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, at, kind, step, data, hash FROM events
         WHERE run = ?1 AND seq BETWEEN ?2 AND ?3",
    )?;
    let mut rows = statement.query(params![run, seq - REACH, seq + REACH])?;
    let mut around = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let event = read(row)?;
        around.insert(event.seq, event);
    }
    Ok(around)
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    let text = |column| -> rusqlite::Result<Vec<u8>> {
        Ok(row
            .get_ref(column)?
            .as_bytes()
            .map(<[u8]>::to_vec)
            .unwrap_or_default())
    };
    Ok(Stored {
        seq: row.get(0)?,
        at: row.get(1).unwrap_or_default(),
        kind: text(2)?,
        step: text(3)?,
        data: text(4)?,
        hash: row.get(5).ok(),
    })
}

type StoneRow = (Option<EventHash>, Option<EventHash>, i64);

fn stone(connection: &Connection, run: &str) -> rusqlite::Result<Option<StoneRow>> {
    connection
        .prepare_cached("SELECT first_hash, last_hash, events FROM stones WHERE run = ?1")?
        .query_row([run], |row| {
            Ok((row.get(0).ok(), row.get(1).ok(), row.get(2)?))
        })
        .optional()
}

/// Returns the numbers that were given to a run and are not there.
fn missing(connection: &Connection, order: &[Begun]) -> rusqlite::Result<Vec<u64>> {
    let given: i64 = connection
        .query_row(
            "SELECT seq FROM sqlite_sequence WHERE name = 'begun'",
            [],
            |row| row.get(0),
        )
        .optional()?
        .unwrap_or(0);
    let mut missing = Vec::new();
    let mut expected = 1;
    let ends = order
        .iter()
        .map(|begun| begun.number)
        .chain([given.saturating_add(1)]);
    for number in ends {
        // A forged number may leave a gap of any width: the first of it are enough.
        missing.extend((expected..number).take(MISSING).map(i64::cast_unsigned));
        expected = expected.max(number.saturating_add(1));
    }
    missing.truncate(MISSING);
    Ok(missing)
}

/// Returns the runs that have events or a row, but never began.
fn strangers(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(
            "SELECT run FROM (SELECT run FROM events UNION SELECT run FROM runs UNION SELECT run FROM stones)
             WHERE run NOT IN (SELECT run FROM begun) ORDER BY run",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Row, Sync, testing::*};
    use super::*;

    const EVENTS: u64 = 6;
    const FREE: &str = "
        DROP TRIGGER events_update; DROP TRIGGER events_delete; DROP TRIGGER events_insert;
        DROP TRIGGER begun_update; DROP TRIGGER begun_delete; DROP TRIGGER begun_insert;";

    /// A journal with three runs of six events each.
    fn written() -> Bench {
        let bench = Bench::new();
        for run in [RUN_A, RUN_B, RUN_C] {
            let mut writer = bench.journal.begin(run).expect("a new run");
            for number in 1..=EVENTS {
                let text = format!("{{\"number\":{number}}}");
                writer
                    .append(&[data(&text)], &[Row::Run(running())], Sync::No)
                    .expect("it is appended");
            }
        }
        bench
    }

    /// Returns what is found after `sql`, for each run that differs.
    fn found(sql: &str) -> (Vec<(String, Difference)>, Verification) {
        let bench = written();
        bench
            .tamper(&format!("{FREE} {sql}"))
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let verification = bench.journal.verify(None).expect("it can be read");
        let differences = verification
            .runs
            .iter()
            .filter_map(|run| Some((run.run.clone(), run.difference?)))
            .collect();
        (differences, verification)
    }

    #[test]
    fn an_untouched_journal_holds_and_gives_its_heads() {
        let bench = written();
        let verified = bench.journal.verify(None).expect("it can be read");
        assert!(verified.holds(), "{verified:?}");
        for run in &verified.runs {
            let record = bench.journal.record(&run.run).expect("it is there");
            assert_eq!((run.events, run.head), (EVENTS, Some(record.head)));
            assert!(
                bench
                    .journal
                    .contains(&run.run, &record.head)
                    .expect("it can be read")
            );
        }
        let other = verified.runs[0].head.expect("it has events");
        assert!(
            !bench
                .journal
                .contains(RUN_B, &other)
                .expect("it can be read")
        );
    }

    #[test]
    fn what_was_done_to_an_event_is_found_and_named() {
        use Difference as D;
        let b = "run = 'bbbbbbbbbbbb'";
        let shift = |by: &str, from: u32| {
            format!(
                "UPDATE events SET seq = seq + 100 WHERE {b} AND seq >= {from};
                 UPDATE events SET seq = seq - 100 {by} WHERE {b} AND seq > 100;"
            )
        };
        let fake = format!(
            "INSERT INTO events SELECT run, 3, at, kind, step, 'fake', hash FROM events WHERE {b} AND seq = 2;"
        );
        for (sql, expected) in [
            (
                format!("UPDATE events SET data = '{{}}' WHERE {b} AND seq = 3"),
                D::Changed { seq: 3 },
            ),
            (
                format!("UPDATE events SET at = at + 1 WHERE {b} AND seq = 3"),
                D::Changed { seq: 3 },
            ),
            (
                format!("UPDATE events SET kind = 'x' WHERE {b} AND seq = 3"),
                D::Changed { seq: 3 },
            ),
            (
                format!("UPDATE events SET step = '' WHERE {b} AND seq = 3"),
                D::Changed { seq: 3 },
            ),
            (
                format!("UPDATE events SET hash = zeroblob(32) WHERE {b} AND seq = 3"),
                D::Changed { seq: 3 },
            ),
            (
                format!("UPDATE events SET hash = zeroblob(5) WHERE {b} AND seq = 3"),
                D::Changed { seq: 3 },
            ),
            (
                format!("UPDATE events SET data = '{{}}' WHERE {b} AND seq = 1"),
                D::Changed { seq: 1 },
            ),
            (
                format!("UPDATE events SET data = '{{}}' WHERE {b} AND seq = 6"),
                D::Changed { seq: 6 },
            ),
            (
                format!("DELETE FROM events WHERE {b} AND seq = 3"),
                D::Removed { seq: 3 },
            ),
            (
                format!("DELETE FROM events WHERE {b} AND seq = 1"),
                D::Removed { seq: 1 },
            ),
            (
                format!("DELETE FROM events WHERE {b} AND seq = 6"),
                D::Removed { seq: 6 },
            ),
            (
                format!("DELETE FROM events WHERE {b}"),
                D::Removed { seq: 1 },
            ),
            (
                format!(
                    "DELETE FROM events WHERE {b} AND seq = 3; {}",
                    shift("- 1", 4)
                ),
                D::Removed { seq: 3 },
            ),
            (
                format!("{} {fake}", shift("+ 1", 3)),
                D::Inserted { seq: 3 },
            ),
            (
                format!("{} {}", shift("+ 1", 1), fake.replace("3, at", "1, at")),
                D::Inserted { seq: 1 },
            ),
            (
                format!(
                    "INSERT INTO events SELECT run, 0, at, kind, step, data, hash FROM events WHERE {b} AND seq = 2"
                ),
                D::Inserted { seq: 0 },
            ),
            (
                format!(
                    "UPDATE events SET seq = 103 WHERE {b} AND seq = 3;
                     UPDATE events SET seq = 3 WHERE {b} AND seq = 4;
                     UPDATE events SET seq = 4 WHERE {b} AND seq = 103;"
                ),
                D::Reordered { seq: 3 },
            ),
            (
                format!(
                    "UPDATE events SET seq = 103 WHERE {b} AND seq = 2;
                     UPDATE events SET seq = seq - 1 WHERE {b} AND seq BETWEEN 3 AND 5;
                     UPDATE events SET seq = 5 WHERE {b} AND seq = 103;"
                ),
                D::Reordered { seq: 2 },
            ),
        ] {
            let (differences, _) = found(&sql);
            assert_eq!(differences, [(RUN_B.to_owned(), expected)], "{sql}");
        }
    }

    #[test]
    fn an_inserted_event_with_a_forged_hash_is_found() {
        let bench = written();
        let events: Vec<_> = bench
            .journal
            .events(RUN_B)
            .collect::<Result<_, _>>()
            .expect("it can be read");
        let forged = Link {
            run: RUN_B.as_bytes(),
            seq: 3,
            at: 7,
            kind: b"k",
            step: b"",
            data: b"{}",
        }
        .after(Some(&events[1].hash));
        bench
            .tamper(&format!(
                "{FREE}
                 UPDATE events SET seq = seq + 100 WHERE run = '{RUN_B}' AND seq >= 3;
                 UPDATE events SET seq = seq - 99 WHERE run = '{RUN_B}' AND seq > 100;
                 INSERT INTO events VALUES ('{RUN_B}', 3, 7, 'k', '', '{{}}', x'{forged}');"
            ))
            .expect("it is tampered with");
        let verified = bench.journal.verify(Some(RUN_B)).expect("it can be read");
        assert_eq!(
            verified.runs[0].difference,
            Some(Difference::Inserted { seq: 3 })
        );
    }

    #[test]
    fn a_missing_run_shows_in_the_next_one() {
        let gone = |run: &str| {
            format!(
                "DELETE FROM events WHERE run = '{run}'; DELETE FROM begun WHERE run = '{run}';
                 DELETE FROM runs WHERE run = '{run}';"
            )
        };
        let (differences, verification) = found(&gone(RUN_B));
        assert_eq!(differences, [(RUN_C.to_owned(), Difference::RunOrder)]);
        assert_eq!(verification.missing, [2]);

        let renumbered = format!(
            "{} UPDATE begun SET number = 2 WHERE number = 3;
             UPDATE sqlite_sequence SET seq = 2 WHERE name = 'begun';",
            gone(RUN_B)
        );
        let (differences, _) = found(&renumbered);
        assert_eq!(
            differences,
            [(RUN_C.to_owned(), Difference::Changed { seq: 1 })]
        );

        let (differences, verification) = found(&gone(RUN_C));
        assert!(differences.is_empty());
        assert_eq!(
            verification.missing,
            [3],
            "the last one is missed by its number"
        );
        assert!(!verification.holds());
    }

    #[test]
    fn runs_that_were_moved_or_put_in_are_found() {
        let (differences, _) = found(
            "UPDATE begun SET number = 9 WHERE number = 2; UPDATE begun SET number = 2 WHERE number = 3;
             UPDATE begun SET number = 3 WHERE number = 9;",
        );
        assert_eq!(
            differences,
            [
                (RUN_C.to_owned(), Difference::RunOrder),
                (RUN_B.to_owned(), Difference::RunOrder)
            ]
        );
        let (_, verification) = found(
            "INSERT INTO events SELECT 'dddddddddddd', seq, at, kind, step, data, hash FROM events WHERE seq = 1 AND run = 'aaaaaaaaaaaa'",
        );
        assert_eq!(verification.strangers, ["dddddddddddd"]);
        let (_, verification) =
            found("UPDATE begun SET number = 9000000000000000000 WHERE number = 3");
        assert_eq!(
            verification.missing.len(),
            MISSING,
            "a forged number costs nothing"
        );
    }

    #[test]
    fn one_run_is_verified_alone() {
        let bench = written();
        bench
            .tamper(&format!(
                "{FREE} UPDATE events SET data = '' WHERE run = '{RUN_A}' AND seq = 2"
            ))
            .expect("it is tampered with");
        assert!(
            bench
                .journal
                .verify(Some(RUN_B))
                .expect("it can be read")
                .holds()
        );
        assert!(
            !bench
                .journal
                .verify(Some(RUN_A))
                .expect("it can be read")
                .holds()
        );
        let error = bench
            .journal
            .verify(Some("dddddddddddd"))
            .expect_err("no such run");
        assert!(matches!(error, JournalError::NoRun { .. }), "{error}");
    }
}
