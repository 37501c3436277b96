//! `sqlite.lockers`: who has a database open, and what they do with it.

use camino::Utf8PathBuf;
use runwright_core::kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    blocking,
    holders::{self, Access, Holder},
    set::{Set, State},
};

pub(super) const KIND: Kind = Kind::of::<Lockers>("sqlite.lockers");

/// Tells which processes have a database open and which of them read, write, checkpoint or recover it.
///
/// It reads `/proc` and never opens the database itself. As another user than root it sees all locks, but not who merely
/// has a file open without one: then `complete` is false.
///
/// ```yaml
/// sqlite.lockers: { database: /var/lib/kv/kv.db }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lockers {
    /// The database file; a link is followed.
    #[schemars(with = "String")]
    database: Utf8PathBuf,
}

/// Who has the database open.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Locked {
    /// Whether there is anything at the path.
    exists: bool,
    /// What is at the path.
    state: State,
    /// Whether somebody other than this run has the database open.
    open: bool,
    /// The processes, by number.
    holders: Vec<Holder>,
    /// Those of them in a read transaction.
    readers: Vec<Holder>,
    /// The one in a write transaction.
    writer: Option<Holder>,
    /// The one that moves frames from the WAL to the database.
    checkpointer: Option<Holder>,
    /// What this run itself does with the database, by other steps.
    ours: Vec<Access>,
    /// Whether the open files of every process could be looked at.
    complete: bool,
}

impl Step for Lockers {
    type Output = Locked;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Read;

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::reads(format!("file:{}", self.database))]
    }

    fn describe(&self) -> Description {
        Description::new(format!("see who has `{}` open", self.database))
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Locked, ()>, Failure> {
        self.perform(cx, None).await.map(Look::Done)
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, _: Option<&()>) -> Result<Locked, Failure> {
        let set = Set::locate(cx, &self.database);
        blocking(move || lockers(&set)).await
    }
}

fn lockers(set: &Set) -> Result<Locked, Failure> {
    let found = set.inspect()?;
    let scan = holders::scan(set)?;
    let having = |access: Access| {
        let has = move |holder: &&Holder| holder.holds.contains(&access);
        scan.holders.iter().filter(has).cloned()
    };
    Ok(Locked {
        exists: found.state != State::Missing,
        state: found.state,
        open: !scan.holders.is_empty(),
        readers: having(Access::Reader).collect(),
        writer: having(Access::Writer).next(),
        checkpointer: having(Access::Checkpointer).next(),
        ours: scan.ours.iter().copied().collect(),
        complete: scan.complete,
        holders: scan.holders,
    })
}

#[cfg(test)]
mod tests {
    use runwright_core::value::Value;
    use serde_json::json;

    use super::*;
    use crate::{
        sqlite::testing::{self, Child},
        testing::Bench,
    };

    fn lockers(bench: &Bench) -> serde_json::Value {
        let arguments = json!({ "database": bench.path("kv.db") });
        let result: Value = bench.run(KIND, arguments).expect("an answer").0;
        result.to_plain()
    }

    #[test]
    fn reader_writer_and_idler_of_a_wal_are_told_apart() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = WAL;", 10);
        assert_eq!(lockers(&bench)["open"], false);
        let idler = Child::with(&path, "SELECT count(*) FROM kv;");
        let reader = Child::with(&path, "BEGIN; SELECT count(*) FROM kv;");
        let writer = Child::with(&path, "BEGIN IMMEDIATE; DELETE FROM kv;");
        let result = lockers(&bench);
        let access = |pid: u32| {
            let holders = result["holders"].as_array().expect("a list");
            let holder = holders.iter().find(|holder| holder["pid"] == pid);
            holder.expect("a holder")["access"].clone()
        };
        assert_eq!(access(idler.pid()), "open");
        assert_eq!(access(reader.pid()), "reader");
        assert_eq!(access(writer.pid()), "writer");
        assert_eq!(result["writer"]["pid"], writer.pid());
        assert_eq!(result["ours"], json!([]));
    }

    #[test]
    fn the_locks_of_a_rollback_journal_are_told_apart() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = DELETE;", 10);
        let idler = Child::with(&path, "SELECT count(*) FROM kv;");
        let reader = Child::with(&path, "BEGIN; SELECT count(*) FROM kv;");
        let writer = Child::with(&path, "BEGIN IMMEDIATE; DELETE FROM kv;");
        let result = lockers(&bench);
        assert_eq!(result["writer"]["pid"], writer.pid());
        let readers: Vec<_> = result["readers"]
            .as_array()
            .expect("a list")
            .iter()
            .collect();
        assert!(readers.iter().any(|holder| holder["pid"] == reader.pid()));
        assert!(readers.iter().all(|holder| holder["pid"] != idler.pid()));
        drop((reader, writer));
        let result = lockers(&bench);
        assert_eq!(result["holders"].as_array().map(Vec::len), Some(1));
        assert_eq!(result["holders"][0]["pid"], idler.pid());
        assert_eq!(result["holders"][0]["access"], "open");
    }
}
