//! `sqlite.reindex`: builds all indexes anew. Their content follows from the tables, so there is nothing to undo.

use camino::Utf8PathBuf;
use runwright_core::{
    kind::{Change, Class, Cx, Description, Effect, Failure, Kind, Look, Step, Touch},
    units::Span,
};
use rusqlite::{Error, ErrorCode, Transaction, TransactionBehavior};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    blocking, existing, failed, five_seconds, holders,
    integrity::{self, Damage, Depth, Integrity},
    nothing::NothingToUndo,
    open_for_change, own_wal, read,
    set::Set,
};

pub(super) const KIND: Kind = Kind::of::<Reindex>("sqlite.reindex");

/// Builds all indexes of a database anew, for one whose indexes disagree with its tables.
///
/// Done already when the database is sound. Refused when more than indexes is damaged: then `sqlite.recover` saves what
/// can be read. The database is checked before the change is committed, and left as it was when it is not sound.
///
/// ```yaml
/// sqlite.reindex: { database: /var/lib/kv/kv.db }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reindex {
    /// The database file; a link is followed, as SQLite does.
    #[schemars(with = "String")]
    database: Utf8PathBuf,
    /// How long to wait for somebody who writes.
    #[serde(default = "five_seconds")]
    busy_timeout: Span,
}

/// The database after its indexes were built anew.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Reindexed {
    /// `ok`.
    integrity: String,
}

/// What was wrong with the indexes.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    /// The problems, one a line.
    integrity: String,
}

impl Step for Reindex {
    type Output = Reindexed;
    type Before = Before;
    type Undo = NothingToUndo;
    const EFFECT: Effect = Effect::Change;

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::changes(format!("file:{}", self.database))]
    }

    fn describe(&self) -> Description {
        Description::new(format!("build the indexes of `{}` anew", self.database))
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Reindexed, Before>, Failure> {
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.find(&cx)).await
    }

    fn undo(&self, _: &Before) -> Option<NothingToUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, _: Option<&Before>) -> Result<Reindexed, Failure> {
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.reindex(&cx)).await
    }
}

impl Reindex {
    fn find(&self, cx: &Cx) -> Result<Look<Reindexed, Before>, Failure> {
        let set = Set::locate(cx, &self.database);
        let what = format!("reindex `{}`", set.main);
        let found = existing(&set, &what)?;
        let scan = holders::scan(&set)?;
        own_wal(cx, &set, &found, &scan, &what)?;
        let reader = read(cx, &set, &found, &scan, self.busy_timeout.to_std())?;
        let Integrity { text, damage } = integrity::examine(&reader, Depth::Full)
            .map_err(|error| failed(cx, &set, &what, &error))?;
        match damage {
            Damage::None => Ok(Look::Done(Reindexed { integrity: text })),
            Damage::Index => Ok(Look::Needed(Change {
                summary: format!("{} problems in indexes", text.lines().count()),
                before: Before { integrity: text },
                diff: None,
            })),
            Damage::Table | Damage::Unreadable => Err(beyond(&what, &text)),
        }
    }

    fn reindex(&self, cx: &Cx) -> Result<Reindexed, Failure> {
        let set = Set::locate(cx, &self.database);
        let what = format!("reindex `{}`", set.main);
        let found = existing(&set, &what)?;
        own_wal(cx, &set, &found, &holders::scan(&set)?, &what)?;
        let mut connection = open_for_change(cx, &set, self.busy_timeout.to_std())
            .map_err(|error| failed(cx, &set, &what, &error))?;
        let checked = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(rebuild);
        match checked {
            Ok(Integrity {
                text,
                damage: Damage::None,
            }) => Ok(Reindexed { integrity: text }),
            Ok(Integrity { text, .. }) => Err(beyond(&what, &text)),
            Err(error) if integrity::is_damage(&error) => Err(beyond(&what, &error.to_string())),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Err(Failure::new(
                    Class::Expect,
                    format!("{what}: rows that must differ are equal; nothing was changed"),
                )
                .because(&error)
                .hint("remove the second of the rows that are equal, then try again"))
            }
            Err(error) => Err(failed(cx, &set, &what, &error)),
        }
    }
}

/// Builds the indexes; commits only when the database is sound then.
fn rebuild(transaction: Transaction<'_>) -> Result<Integrity, Error> {
    transaction.execute_batch("REINDEX")?;
    let found = integrity::examine(&transaction, Depth::Full)?;
    if found.damage == Damage::None {
        transaction.commit()?;
    } else {
        transaction.rollback()?;
    }
    Ok(found)
}

fn beyond(what: &str, problems: &str) -> Failure {
    let first = problems.lines().next().unwrap_or_default();
    Failure::refused(format!(
        "{what}: more than indexes is damaged, nothing was changed ({first})"
    ))
    .hint("sqlite.recover copies every row that can still be read into a new file")
}

#[cfg(test)]
mod tests {
    use runwright_core::kind::{Looked, UndoneBy};
    use rusqlite::Connection;
    use serde_json::json;

    use super::*;
    use crate::{sqlite::testing, testing::Bench};

    #[test]
    fn an_index_that_disagrees_is_built_anew() {
        for setup in ["", "PRAGMA journal_mode = WAL;"] {
            let bench = Bench::new();
            let path = bench.path("kv.db");
            testing::database(&path, setup, 20_000);
            testing::break_index(&path);
            let arguments = json!({ "database": path });
            let look = bench.look(KIND, arguments.clone()).expect("a look");
            assert!(matches!(look, Looked::Needed { .. }), "{look:?}");
            let (result, undo) = bench.run(KIND, arguments.clone()).expect("an index");
            assert_eq!(result.to_plain(), json!({ "integrity": "ok" }));
            assert_eq!(undo, None);
            let look = bench.look(KIND, arguments).expect("a look");
            assert!(matches!(look, Looked::Done(_)), "{look:?}");
            assert_eq!(testing::rows(&path), 20_000);
        }
        assert_eq!(KIND.undone, UndoneBy::Itself);
    }

    #[test]
    fn damage_beyond_indexes_is_refused_and_left_as_it_is() {
        for damaged in ["kv", "kv_key"] {
            let bench = Bench::new();
            let path = bench.path("kv.db");
            testing::database(&path, "", 20_000);
            testing::change_page(&path, testing::leaf(&path, damaged), |page| page.fill(0));
            let before = testing::folder_of(&path);
            let failure = bench.run(KIND, json!({ "database": path }));
            let failure = failure.expect_err("damaged pages");
            assert_eq!(failure.class, Class::Refused, "{failure}");
            assert_eq!(testing::folder_of(&path), before);
        }
    }

    #[test]
    fn equal_rows_under_a_unique_index_are_a_failure_that_changes_nothing() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "", 20_000);
        let connection = Connection::open(&path).expect("a connection");
        // As after a bug of an earlier SQLite: the schema says unique, the rows are not.
        connection
            .execute_batch(
                "UPDATE kv SET key = 'key-000007' WHERE id = 8;
                 PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = 'CREATE UNIQUE INDEX kv_key ON kv (key)' WHERE name = 'kv_key';",
            )
            .expect("a schema");
        drop(connection);
        let before = testing::folder_of(&path);
        let failure = bench.run(KIND, json!({ "database": path }));
        let failure = failure.expect_err("equal rows");
        assert_eq!(failure.class, Class::Expect, "{failure:?}");
        assert_eq!(testing::folder_of(&path), before);
    }
}
