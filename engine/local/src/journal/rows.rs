//! The projections: what `history` and `show` list without reading the events.
//!
//! The words in them (states, kinds, severities) are those of the events; the journal itself knows only those of
//! [`Journal::interrupted`](super::Journal::interrupted).

use rusqlite::{Connection, named_params, params};
use serde::Serialize;

use super::EventHash;

/// A row of a projection, written beside the events that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// The run as it is now.
    Run(RunRow),
    /// A step as it is now.
    Step(StepRow),
    /// A finding.
    Finding(FindingRow),
    /// An undo that lapses was registered; the first time counts.
    Undo(UndoRow),
    /// Nothing is left of the undo of this step of this run.
    Undone {
        /// The run that registered it.
        run: String,
        /// The step's address.
        step: String,
    },
    /// The message of the inbox with this id was taken in, by the first event of this append.
    Taken(i64),
}

/// A run as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunRow {
    /// The playbook's name.
    pub playbook: String,
    /// The playbook's version.
    pub version: String,
    /// The digest of the playbook's text.
    pub digest: String,
    /// Where the playbook was read from.
    pub path: String,
    /// The playbook's title.
    pub title: String,
    /// Who runs it.
    pub user: String,
    /// On which machine.
    pub host: String,
    /// `running`, `waiting`, `stopped`, `rolling_back`, or how it ended.
    pub state: String,
    /// How it ended.
    pub outcome: Option<String>,
    /// The exit code that says so.
    pub exit_code: Option<u8>,
    /// When it began: milliseconds since 1970.
    pub started_at: i64,
    /// When it ended: milliseconds since 1970. A run without is never pruned.
    pub ended_at: Option<i64>,
}

/// A run as the journal lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunRecord {
    /// The run's id.
    pub run: String,
    /// Its place among all runs, from 1.
    pub number: u64,
    /// The hash of its last event when this was written.
    pub head: EventHash,
    /// What its events say.
    pub row: RunRow,
}

/// A step as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StepRow {
    /// The step's address.
    pub step: String,
    /// Its place in the plan, from 0.
    pub position: u32,
    /// Its title.
    pub title: String,
    /// Its kind.
    pub kind: String,
    /// `pending`, `running`, `ok`, `failed`, and so on.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it started: milliseconds since 1970.
    pub started_at: Option<i64>,
    /// When it ended: milliseconds since 1970.
    pub ended_at: Option<i64>,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether it changed something.
    pub changed: bool,
}

/// A finding of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FindingRow {
    /// The seq of the event that says so.
    pub seq: u64,
    /// Its place among the findings of that event, from 0.
    pub position: u32,
    /// The step's address.
    pub step: String,
    /// `warning` or `critical`.
    pub severity: String,
    /// What was found.
    pub title: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// An undo that stays possible only for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UndoRow {
    /// The step's address.
    pub step: String,
    /// The seq of the event that registered it.
    pub seq: u64,
    /// Until when it is possible: milliseconds since 1970.
    pub until: i64,
}

/// What a row is written beside.
pub(super) struct Place<'a> {
    pub(super) run: &'a str,
    pub(super) number: i64,
    pub(super) head: &'a EventHash,
    /// The first event of the append.
    pub(super) seq: i64,
}

impl Row {
    /// Writes the row over the one that is there.
    pub(super) fn write(&self, connection: &Connection, place: &Place<'_>) -> rusqlite::Result<()> {
        match self {
            Row::Run(row) => row.write(connection, place),
            Row::Step(row) => row.write(connection, place.run),
            Row::Finding(row) => row.write(connection, place.run),
            Row::Undo(row) => connection
                .prepare_cached(
                    "INSERT INTO undos (run, step, seq, until) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (run, step) DO NOTHING",
                )?
                .execute(params![
                    place.run,
                    row.step,
                    row.seq.cast_signed(),
                    row.until
                ])
                .map(|_| ()),
            Row::Undone { run, step } => connection
                .prepare_cached("DELETE FROM undos WHERE run = ?1 AND step = ?2")?
                .execute([run, step])
                .map(|_| ()),
            Row::Taken(message) => connection
                .prepare_cached("UPDATE inbox SET taken = ?1 WHERE id = ?2 AND run = ?3")?
                .execute(params![place.seq, message, place.run])
                .map(|_| ()),
        }
    }
}

impl RunRow {
    fn write(&self, connection: &Connection, place: &Place<'_>) -> rusqlite::Result<()> {
        let sql = "
            INSERT INTO runs (number, run, head, playbook, version, digest, path, title, user, host,
                              state, outcome, exit_code, started_at, ended_at)
            VALUES (:number, :run, :head, :playbook, :version, :digest, :path, :title, :user, :host,
                    :state, :outcome, :exit_code, :started_at, :ended_at)
            ON CONFLICT (run) DO UPDATE SET
                head = excluded.head, playbook = excluded.playbook, version = excluded.version,
                digest = excluded.digest, path = excluded.path, title = excluded.title,
                user = excluded.user, host = excluded.host, state = excluded.state,
                outcome = excluded.outcome, exit_code = excluded.exit_code,
                started_at = excluded.started_at, ended_at = excluded.ended_at";
        connection.prepare_cached(sql)?.execute(named_params! {
            ":number": place.number,
            ":run": place.run,
            ":head": place.head,
            ":playbook": self.playbook,
            ":version": self.version,
            ":digest": self.digest,
            ":path": self.path,
            ":title": self.title,
            ":user": self.user,
            ":host": self.host,
            ":state": self.state,
            ":outcome": self.outcome,
            ":exit_code": self.exit_code,
            ":started_at": self.started_at,
            ":ended_at": self.ended_at,
        })?;
        Ok(())
    }
}

impl StepRow {
    fn write(&self, connection: &Connection, run: &str) -> rusqlite::Result<()> {
        let sql = "
            INSERT INTO steps (run, step, position, title, kind, state, attempts, started_at, ended_at,
                               error, changed)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            ON CONFLICT (run, step) DO UPDATE SET
                position = excluded.position, title = excluded.title, kind = excluded.kind,
                state = excluded.state, attempts = excluded.attempts,
                started_at = excluded.started_at, ended_at = excluded.ended_at,
                error = excluded.error, changed = excluded.changed";
        connection.prepare_cached(sql)?.execute(params![
            run,
            self.step,
            self.position,
            self.title,
            self.kind,
            self.state,
            self.attempts,
            self.started_at,
            self.ended_at,
            self.error,
            self.changed,
        ])?;
        Ok(())
    }
}

impl FindingRow {
    fn write(&self, connection: &Connection, run: &str) -> rusqlite::Result<()> {
        let sql = "
            INSERT INTO findings (run, seq, position, step, severity, title, advice)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT (run, seq, position) DO UPDATE SET
                step = excluded.step, severity = excluded.severity, title = excluded.title,
                advice = excluded.advice";
        connection.prepare_cached(sql)?.execute(params![
            run,
            self.seq.cast_signed(),
            self.position,
            self.step,
            self.severity,
            self.title,
            self.advice,
        ])?;
        Ok(())
    }
}
