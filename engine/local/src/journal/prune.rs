//! Pruning: a whole ended run goes, and a stone says that it was there.

use std::{fs, io};

use rusqlite::{OptionalExtension, params};

use super::{Journal, JournalError, Sync};
use crate::{home::sync_folder, lock::Lock};

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

impl Journal {
    /// Removes the ended run `run`, its events and its folder, and leaves `stone`.
    ///
    /// # Errors
    ///
    /// [`JournalError::NotEnded`] unless its row says when it ended; fails while somebody holds its lock.
    pub fn prune(&self, run: &str, stone: &Stone<'_>) -> Result<(), JournalError> {
        let record = self.record(run)?;
        if record.row.ended_at.is_none() {
            return Err(JournalError::NotEnded {
                run: run.to_owned(),
            });
        }
        let folder = self.home().run(run);
        let _lock = match folder.exists() {
            true => Some(Lock::take(&self.home().lock(run))?),
            false => None,
        };
        self.store()
            .write("prune a run in", Sync::Yes, |connection| {
                let stoned = connection
                    .prepare_cached(
                        "INSERT INTO stones (run, first_hash, last_hash, events, at, who, why)
                     SELECT run, first_hash,
                            (SELECT hash FROM events WHERE run = ?1 ORDER BY seq DESC LIMIT 1),
                            (SELECT count(*) FROM events WHERE run = ?1), ?2, ?3, ?4
                     FROM begun WHERE run = ?1 RETURNING 1",
                    )?
                    .query_row(params![run, stone.at, stone.who, stone.why], |_| Ok(()))
                    .optional()?;
                if stoned.is_none() {
                    return Ok(());
                }
                for table in ["events", "inbox", "findings", "steps", "runs"] {
                    connection.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [run])?;
                }
                Ok(())
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
