//! The undos that lapse: what they keep is given up once their time is over.

use rusqlite::params;

use super::{Journal, JournalError, Sync};

/// An undo that keeps something in the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptUndo {
    /// The run that registered it.
    pub run: String,
    /// The step's address.
    pub step: String,
    /// The seq of the event that registered it.
    pub seq: u64,
    /// Until when it is possible: milliseconds since 1970.
    pub until: i64,
}

/// How many are listed at once.
const MOST: i64 = 1000;

impl Journal {
    /// Returns the undos of ended runs whose time was over at `now` and that still keep something, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn lapsed(&self, now: i64) -> Result<Vec<KeptUndo>, JournalError> {
        self.kept(
            "SELECT undos.run, step, seq, until FROM undos JOIN runs ON runs.run = undos.run
             WHERE released IS NULL AND until <= ?1 AND ended_at IS NOT NULL ORDER BY until LIMIT ?2",
            now,
        )
    }

    /// Returns the undos of `run` that still keep something.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn kept_by(&self, run: &str) -> Result<Vec<KeptUndo>, JournalError> {
        self.kept(
            "SELECT run, step, seq, until FROM undos WHERE run = ?1 AND released IS NULL
             ORDER BY seq LIMIT ?2",
            run,
        )
    }

    fn kept(&self, sql: &str, of: impl rusqlite::ToSql) -> Result<Vec<KeptUndo>, JournalError> {
        self.store().read("read the undos in", |connection| {
            connection
                .prepare_cached(sql)?
                .query_map(params![of, MOST], |row| {
                    Ok(KeptUndo {
                        run: row.get(0)?,
                        step: row.get(1)?,
                        seq: row.get::<_, i64>(2)?.cast_unsigned(),
                        until: row.get(3)?,
                    })
                })?
                .collect()
        })
    }

    /// Notes that what an undo kept was given up at `now`.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be written.
    pub fn note_released(&self, undo: &KeptUndo, now: i64) -> Result<(), JournalError> {
        self.store()
            .write("note a release in", Sync::No, |connection| {
                connection
                    .prepare_cached("UPDATE undos SET released = ?1 WHERE run = ?2 AND step = ?3")?
                    .execute(params![now, undo.run, undo.step])
                    .map(|_| ())
            })
    }
}
