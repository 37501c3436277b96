//! What proves a journal beside its chains: the stones of pruned runs, and signatures.

use rusqlite::{OptionalExtension, Row, params};

use super::{EventHash, Journal, JournalError, chain::StoneText, store::Store};

/// A stone as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptStone {
    /// The run's id.
    pub run: String,
    /// What it says; none where a field of it is of another type than was written.
    pub text: Option<StoneText>,
    /// The hash of that; none on a stone of a journal's first version.
    pub hash: Option<EventHash>,
    /// Whether a hash is stored that is none.
    pub is_broken: bool,
}

/// A signature as it is stored; it may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSignature {
    /// The run's id.
    pub run: String,
    /// The event that it is over.
    pub seq: u64,
    /// The hash of that event.
    pub hash: Vec<u8>,
    /// The public key.
    pub key: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Journal {
    /// Returns the stones of pruned runs.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn stones(&self) -> Result<Vec<KeptStone>, JournalError> {
        self.store().read("read the stones in", |connection| {
            let hash = match Store::is_second(connection)? {
                true => "hash",
                false => "NULL",
            };
            connection
                .prepare(&format!(
                    "SELECT run, first_hash, last_hash, events, at, who, why, {hash} FROM stones ORDER BY run"
                ))?
                .query_map([], |row| {
                    let run: String = row.get(0)?;
                    let hash: rusqlite::Result<Option<EventHash>> = row.get(7);
                    Ok(KeptStone {
                        text: stone(row, &run).ok(),
                        is_broken: hash.is_err(),
                        hash: hash.ok().flatten(),
                        run,
                    })
                })?
                .collect()
        })
    }

    /// Returns the signatures on `run`, or all.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn signatures(&self, run: Option<&str>) -> Result<Vec<KeptSignature>, JournalError> {
        self.store().read("read the signatures in", |connection| {
            if !Store::is_second(connection)? {
                return Ok(Vec::new());
            }
            connection
                .prepare(
                    "SELECT run, seq, hash, key, signature FROM signatures
                     WHERE ?1 IS NULL OR run = ?1 ORDER BY run, seq, key",
                )?
                .query_map([run], |row| {
                    Ok(KeptSignature {
                        run: row.get(0)?,
                        seq: row.get::<_, i64>(1)?.cast_unsigned(),
                        hash: row.get(2)?,
                        key: row.get(3)?,
                        signature: row.get(4)?,
                    })
                })?
                .collect()
        })
    }

    /// Returns the hash that is stored with the event `seq` of `run`, where there is one.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn hash_at(&self, run: &str, seq: u64) -> Result<Option<EventHash>, JournalError> {
        self.store().read("read an event in", |connection| {
            connection
                .prepare_cached("SELECT hash FROM events WHERE run = ?1 AND seq = ?2")?
                .query_row(params![run, seq.cast_signed()], |row| Ok(row.get(0).ok()))
                .optional()
                .map(Option::flatten)
        })
    }

    /// Returns the undos that lapse as they are stored beside `run`: step, seq of their event, until when.
    ///
    /// # Errors
    ///
    /// Fails when the journal can't be read.
    pub fn undo_rows(&self, run: &str) -> Result<Vec<super::UndoRow>, JournalError> {
        self.store().read("read the undos in", |connection| {
            if !Store::is_second(connection)? {
                return Ok(Vec::new());
            }
            connection
                .prepare_cached("SELECT step, seq, until FROM undos WHERE run = ?1 ORDER BY step")?
                .query_map([run], |row| {
                    Ok(super::UndoRow {
                        step: row.get(0)?,
                        seq: row.get::<_, i64>(1)?.cast_unsigned(),
                        until: row.get(2)?,
                    })
                })?
                .collect()
        })
    }
}

fn stone(row: &Row<'_>, run: &str) -> rusqlite::Result<StoneText> {
    Ok(StoneText {
        run: run.to_owned(),
        first: row.get(1)?,
        last: row.get(2)?,
        events: row.get(3)?,
        at: row.get(4)?,
        who: row.get(5)?,
        why: row.get(6)?,
    })
}
