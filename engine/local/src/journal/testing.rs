//! What the tests of the journal share.

use super::{Journal, NewEvent, Row, RunRow, RunWriter, Sync};
use crate::testing::Sandbox;

pub(super) const RUN_A: &str = "aaaaaaaaaaaa";
pub(super) const RUN_B: &str = "bbbbbbbbbbbb";
pub(super) const RUN_C: &str = "cccccccccccc";

/// A journal in a home of its own, gone afterwards.
pub(super) struct Bench {
    pub(super) journal: Journal,
    /// Goes last: the home is removed with it.
    pub(super) sandbox: Sandbox,
}

impl Bench {
    pub(super) fn new() -> Bench {
        let sandbox = Sandbox::new();
        let journal = Journal::open(&sandbox.home()).expect("a journal");
        Bench { journal, sandbox }
    }

    /// Begins `run` with one event and its row.
    pub(super) fn begin(&self, run: &str) -> RunWriter {
        let mut writer = self.journal.begin(run).expect("a new run");
        writer
            .append(&[event("begun")], &[Row::Run(running())], Sync::No)
            .expect("it is appended");
        writer
    }

    /// Runs `sql` as somebody who knows SQLite would, past the engine.
    pub(super) fn tamper(&self, sql: &str) -> rusqlite::Result<()> {
        rusqlite::Connection::open(self.journal.path())?.execute_batch(sql)
    }
}

/// Returns an event of `kind`.
pub(super) fn event(kind: &str) -> NewEvent<'_> {
    NewEvent {
        at: 1_790_000_000_000,
        kind,
        step: Some("backup"),
        data: r#"{"attempt":1}"#,
    }
}

/// Returns an event with `data`.
pub(super) fn data(data: &str) -> NewEvent<'_> {
    NewEvent {
        data,
        ..event("noted")
    }
}

/// Returns the row of a run that runs.
pub(super) fn running() -> RunRow {
    RunRow {
        playbook: "nightly".to_owned(),
        state: "running".to_owned(),
        started_at: 1_790_000_000_000,
        ..RunRow::default()
    }
}
