//! Whether a database is sound, and how deep the damage goes when it is not.

use std::collections::BTreeMap;

use rusqlite::{Connection, Error, ErrorCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::unsigned;

/// How thorough a check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Depth {
    /// `PRAGMA quick_check`: all pages, but not whether indexes agree with their tables; no foreign keys.
    Quick,
    /// `PRAGMA integrity_check` and `PRAGMA foreign_key_check`.
    #[default]
    Full,
}

/// How deep damage goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Damage {
    /// There is none.
    None,
    /// Only what indexes say is wrong, their pages can be read: `sqlite.reindex` is enough.
    Index,
    /// Pages of tables, of indexes or of the free list are damaged: `sqlite.recover` saves what can be read.
    Table,
    /// There is no database, or SQLite does not open it: its header or schema is damaged, or its end is cut off.
    Unreadable,
}

/// What a check of a database found.
pub(super) struct Integrity {
    /// `ok`, or the problems, one a line.
    pub(super) text: String,
    /// How deep it goes.
    pub(super) damage: Damage,
}

/// How many problems SQLite lists at most.
const PROBLEMS: usize = 100;

/// Checks the database; fails when the check was interrupted or could not read for another reason than damage.
pub(super) fn examine(connection: &Connection, depth: Depth) -> Result<Integrity, Error> {
    let pragma = match depth {
        Depth::Quick => "quick_check",
        Depth::Full => "integrity_check",
    };
    let lines = match problems(connection, pragma) {
        Ok(lines) => lines,
        Err(error) if is_damage(&error) => {
            return Ok(Integrity {
                text: error.to_string(),
                damage: Damage::Table,
            });
        }
        Err(error) => return Err(error),
    };
    if lines == ["ok"] {
        return Ok(Integrity {
            text: "ok".to_owned(),
            damage: Damage::None,
        });
    }
    let damage = if in_indexes_only(connection, &lines)? {
        Damage::Index
    } else {
        Damage::Table
    };
    Ok(Integrity {
        text: lines.join("\n"),
        damage,
    })
}

/// Returns whether an error says that the file is damaged or no database.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Returns `name` as an SQL identifier.
pub(super) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the lines of `PRAGMA integrity_check` or `quick_check`: the one line `ok`, or the problems.
fn problems(connection: &Connection, pragma: &str) -> Result<Vec<String>, Error> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}({PROBLEMS})"))?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut lines = Vec::new();
    for row in rows {
        lines.extend(
            row?.lines()
                .filter(|line| !line.starts_with("*** in database "))
                .map(str::to_owned),
        );
    }
    Ok(lines)
}

/// Returns whether all that is wrong can be put right by building the indexes anew.
///
/// SQLite empties an index before it builds it, so the pages of the index must be readable for that.
fn in_indexes_only(connection: &Connection, lines: &[String]) -> Result<bool, Error> {
    let roots = index_roots(connection)?;
    if !lines.iter().all(|line| is_of_index(line, &roots)) {
        return Ok(false);
    }
    if lines.len() >= PROBLEMS {
        // There may be more than was listed: what is not about the content of indexes shows in a quick check.
        match problems(connection, "quick_check") {
            Ok(lines)
                if lines
                    .iter()
                    .all(|line| line == "ok" || is_of_index(line, &roots)) => {}
            Ok(_) => return Ok(false),
            Err(error) if is_damage(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    for (index, table) in roots.values() {
        let walk = format!(
            "SELECT count(*) FROM {} INDEXED BY {}",
            ident(table),
            ident(index)
        );
        match connection.query_row(&walk, [], |_| Ok(())) {
            Ok(()) => {}
            Err(error) if is_damage(&error) => return Ok(false),
            // A partial index can't serve this query: it was read by the check itself.
            Err(Error::SqliteFailure(_, Some(text))) if text.contains("no query solution") => {}
            Err(Error::SqlInputError { msg, .. }) if msg.contains("no query solution") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Returns index and table by root page, of the indexes that can be built anew.
fn index_roots(connection: &Connection) -> Result<BTreeMap<u64, (String, String)>, Error> {
    let mut statement = connection.prepare(
        // The index of a WITHOUT ROWID table's primary key is the table itself, and has no row of its own here.
        "SELECT rootpage, name, tbl_name FROM sqlite_schema WHERE type = 'index' AND rootpage > 0",
    )?;
    let rows = statement.query_map([], |row| {
        Ok((unsigned(row, 0)?, (row.get(1)?, row.get(2)?)))
    })?;
    rows.collect()
}

/// Returns whether a problem is one of the content or the order of an index.
fn is_of_index(line: &str, roots: &BTreeMap<u64, (String, String)>) -> bool {
    if let Some(rest) = line.strip_prefix("Tree ") {
        let root = rest.split(' ').next().and_then(|root| root.parse().ok());
        return root.is_some_and(|root: u64| roots.contains_key(&root));
    }
    line.starts_with("index ")
        || line.starts_with("wrong # of entries in index ")
        || line.starts_with("non-unique entry in index ")
        || line.starts_with("rowid not at end-of-record for row ")
        || (line.starts_with("row ")
            && (line.contains(" missing from index ")
                || line.contains(" values differ from index ")))
}
