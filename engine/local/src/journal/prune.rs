//! Pruning: a whole ended run goes, and a stone says that it was there.

use std::{fs, io, os::unix::fs::MetadataExt};

use camino::Utf8Path;
use rusqlite::{Connection, OptionalExtension, params};

use super::{EventHash, Journal, JournalError, Sync, chain::StoneText};
use crate::{home::sync_folder, lock::Lock, sweep::hold};

/// Why a run is pruned: what its stone says beside its hashes and the count of its events.
#[derive(Clone, Copy, Debug)]
pub struct Stone<'a> {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Who prunes it.
    pub who: &'a str,
    /// Why.
    pub why: &'a str,
}

/// What a run takes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// How many events it has.
    pub events: u64,
    /// How many bytes its events have; later runs use them again.
    pub in_journal: u64,
    /// How many bytes its folder has: kept contents, texts, outputs.
    pub in_folder: u64,
}

impl Journal {
    /// Returns what `run` takes up.
    ///
    /// # Errors
    ///
    /// When the journal or the run's folder can't be read.
    pub fn weight(&self, run: &str) -> Result<Weight, JournalError> {
        let (events, bytes): (i64, i64) = self.store().read("weigh a run in", |connection| {
            connection.query_row(
                "SELECT count(*), coalesce(sum(length(run) + length(kind) + length(step) + length(data) + 48), 0)
                 FROM events WHERE run = ?1",
                [run],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
        })?;
        let folder = self.home().run(run);
        let in_folder = size(&folder).map_err(|source| JournalError::Io {
            action: "measure",
            path: folder,
            source,
        })?;
        Ok(Weight {
            events: events.cast_unsigned(),
            in_journal: bytes.cast_unsigned(),
            in_folder,
        })
    }

    /// Removes the ended run `run`, its events and its folder, and leaves `stone`.
    ///
    /// # Errors
    ///
    /// [`JournalError::NotEnded`] unless its row says when it ended; fails while somebody holds its lock.
    pub fn prune(&self, run: &str, stone: &Stone<'_>) -> Result<(), JournalError> {
        let lock = hold(self, run)?;
        self.prune_held(run, stone, lock)
    }

    /// Does the same for who holds the run's lock already.
    ///
    /// # Errors
    ///
    /// As [`Journal::prune`].
    pub fn prune_held(
        &self,
        run: &str,
        stone: &Stone<'_>,
        _lock: Option<Lock>,
    ) -> Result<(), JournalError> {
        if self.record(run)?.row.ended_at.is_none() {
            return Err(JournalError::NotEnded {
                run: run.to_owned(),
            });
        }
        let folder = self.home().run(run);
        self.store()
            .write("prune a run in", Sync::Yes, |connection| {
                let found = connection
                    .prepare_cached(
                        "SELECT first_hash,
                            (SELECT hash FROM events WHERE run = ?1 ORDER BY seq DESC LIMIT 1),
                            (SELECT count(*) FROM events WHERE run = ?1)
                     FROM begun WHERE run = ?1",
                    )?
                    .query_row([run], |row| {
                        Ok(StoneText {
                            run: run.to_owned(),
                            first: row.get(0)?,
                            last: row.get(1)?,
                            events: row.get(2)?,
                            at: stone.at,
                            who: stone.who.to_owned(),
                            why: stone.why.to_owned(),
                        })
                    })
                    .optional()?;
                match found {
                    Some(text) => replace(connection, &text),
                    None => Ok(()),
                }
            })?;
        // After the stone: a folder that is left over by a crash here is in nobody's way.
        match fs::remove_dir_all(&folder).and_then(|()| sync_folder(&self.home().runs())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(JournalError::Io {
                action: "remove",
                path: folder,
                source: error,
            }),
            _ => Ok(()),
        }
    }
}

/// Puts the stone where the run was. What vouches for its head stays.
fn replace(connection: &Connection, text: &StoneText) -> rusqlite::Result<()> {
    let StoneText {
        run,
        first,
        last,
        events,
        at,
        who,
        why,
    } = text;
    let hash: EventHash = text.hash();
    connection.execute(
        "INSERT INTO stones (run, first_hash, last_hash, events, at, who, why, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![run, first, last, events, at, who, why, hash],
    )?;
    for table in ["events", "inbox", "findings", "steps", "undos", "runs"] {
        connection.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [run])?;
    }
    connection.execute(
        "DELETE FROM signatures WHERE run = ?1 AND hash <> ?2",
        params![run, last],
    )?;
    Ok(())
}

/// Returns how many bytes the files below `path` have; none where there is nothing.
fn size(path: &Utf8Path) -> io::Result<u64> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    if !metadata.is_dir() {
        return Ok(metadata.blocks() * 512);
    }
    let mut total = metadata.blocks() * 512;
    for entry in path.read_dir_utf8()? {
        total += size(entry?.path())?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::super::{Row, RunRow, testing::*};
    use super::*;

    const STONE: Stone<'static> = Stone {
        at: 9,
        who: "ann",
        why: "older than a year",
    };

    #[test]
    fn a_pruned_run_leaves_a_stone_and_the_journal_still_verifies() {
        let bench = Bench::new();
        for run in [RUN_A, RUN_B, RUN_C] {
            let mut writer = bench.begin(run);
            let ended = RunRow {
                ended_at: Some(7),
                ..running()
            };
            writer
                .append(&[event("ended")], &[Row::Run(ended)], Sync::No)
                .expect("it is appended");
        }
        let head = bench.journal.record(RUN_B).expect("it is there").head;
        bench.journal.prune(RUN_B, &STONE).expect("it has ended");

        assert_eq!(bench.journal.events(RUN_B).count(), 0);
        assert!(!bench.journal.home().run(RUN_B).exists());
        let verified = bench.journal.verify(None).expect("it can be read");
        assert!(verified.holds(), "{verified:?}");
        let stone = &verified.runs[1];
        assert!(stone.is_pruned);
        assert_eq!((stone.events, stone.head), (2, Some(head)));
    }

    #[test]
    fn a_run_without_an_end_is_not_pruned() {
        let bench = Bench::new();
        drop(bench.begin(RUN_A));
        let error = bench.journal.prune(RUN_A, &STONE).expect_err("it goes on");
        assert!(matches!(error, JournalError::NotEnded { .. }), "{error}");
        assert_eq!(bench.journal.events(RUN_A).count(), 1);
    }
}
