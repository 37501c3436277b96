//! The tables, and the ladder of their versions.
//!
//! A published rung never changes, and no rung ever changes the shape of `events` or `begun`: what is stored stays
//! verifiable with the bytes it was hashed from.

use std::{fs, io};

use camino::Utf8Path;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use rustix::fs::{FlockOperation, flock};

use crate::home::{Home, create_file, sync_folder};

/// Marks the file as ours: `Rnwj`.
pub(super) const APPLICATION: i32 = 0x526E_776A;

/// The versions, oldest first; each is reached from the one before it.
pub(super) const LADDER: &[Rung] = &[
    Rung {
        engine: "0.1.0",
        sql: include_str!("rung-1.sql"),
    },
    // Signatures, stones that tell when they were altered, undos that lapse.
    Rung {
        engine: "0.1.0",
        sql: include_str!("rung-2.sql"),
    },
];

/// How one version is reached from the one before.
pub(super) struct Rung {
    /// The first engine that knows this version: what an older one tells people to install.
    pub(super) engine: &'static str,
    /// What makes it.
    pub(super) sql: &'static str,
}

/// Why a journal could not be made.
pub(super) enum CreateError {
    Sqlite(rusqlite::Error),
    Io(io::Error),
}

/// Makes the journal of `home` unless another process has made it meanwhile; it appears whole or not at all.
pub(super) fn create(home: &Home) -> Result<(), CreateError> {
    // The folder itself is the lock: two processes may find it empty at once.
    let folder = fs::File::open(home.path())?;
    flock(&folder, FlockOperation::LockExclusive).map_err(io::Error::from)?;
    if home.journal().try_exists()? {
        return Ok(());
    }
    let new = home.path().join("journal.new");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        remove(&home.path().join(format!("journal.new{suffix}")))?;
    }
    // SQLite gives `-wal` and `-shm` the mode of the file it finds.
    create_file(&new)?;
    let mut connection = Connection::open(&new)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    migrate(&mut connection, LADDER)?;
    // The last connection moves the log into the file and syncs it.
    connection.close().map_err(|(_, error)| error)?;
    fs::rename(&new, home.journal())?;
    sync_folder(home.path())?;
    Ok(())
}

/// Takes the journal up to the last rung, in one transaction.
pub(super) fn migrate(connection: &mut Connection, ladder: &[Rung]) -> rusqlite::Result<()> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    // Read inside the transaction: another process may have been quicker.
    let version = version(&transaction)?;
    for rung in ladder.iter().skip(version) {
        transaction.execute_batch(rung.sql)?;
        transaction.execute(
            "INSERT INTO meta (name, value) VALUES ('engine', ?1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [rung.engine],
        )?;
    }
    if version < ladder.len() {
        transaction.execute(
            "INSERT INTO meta (name, value) VALUES ('format', ?1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [ladder.len().to_string()],
        )?;
        transaction.pragma_update(None, "user_version", ladder.len() as i64)?;
    }
    transaction.commit()
}

/// Returns how many rungs the journal has climbed.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

fn remove(path: &Utf8Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl From<rusqlite::Error> for CreateError {
    fn from(error: rusqlite::Error) -> CreateError {
        CreateError::Sqlite(error)
    }
}

impl From<io::Error> for CreateError {
    fn from(error: io::Error) -> CreateError {
        CreateError::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rungs: usize) -> Connection {
        let mut connection = Connection::open_in_memory().expect("a database");
        migrate(&mut connection, &LADDER[..rungs]).expect("the published rungs");
        connection
    }

    fn longer(sql: &'static str) -> Vec<Rung> {
        let mut ladder: Vec<Rung> = LADDER
            .iter()
            .map(|rung| Rung {
                engine: rung.engine,
                sql: rung.sql,
            })
            .collect();
        ladder.push(Rung {
            engine: "9.0.0",
            sql,
        });
        ladder
    }

    fn meta(connection: &Connection, name: &str) -> String {
        connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
                row.get(0)
            })
            .expect("it is there")
    }

    #[test]
    fn a_stone_of_the_first_version_stays_as_it_is() {
        let mut connection = at(1);
        connection
            .execute_batch("INSERT INTO stones VALUES ('r', x'01', x'02', 3, 4, 'ann', 'old')")
            .expect("a stone");
        migrate(&mut connection, LADDER).expect("the second rung");
        let (why, hash): (String, Option<Vec<u8>>) = connection
            .query_row("SELECT why, hash FROM stones", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .expect("it is there");
        assert_eq!((why.as_str(), hash), ("old", None));
    }

    #[test]
    fn an_older_journal_climbs_the_missing_rungs_only() {
        let mut connection = at(LADDER.len());
        migrate(
            &mut connection,
            &longer("CREATE TABLE extra (x TEXT) STRICT;"),
        )
        .expect("one rung more");
        assert_eq!(version(&connection).expect("a version"), LADDER.len() + 1);
        assert_eq!(meta(&connection, "engine"), "9.0.0");
        assert_eq!(meta(&connection, "format"), (LADDER.len() + 1).to_string());
        connection
            .execute("INSERT INTO extra VALUES ('y')", [])
            .expect("the new table");
    }

    #[test]
    fn a_rung_that_breaks_leaves_the_journal_as_it_was() {
        let mut connection = at(LADDER.len());
        migrate(
            &mut connection,
            &longer("CREATE TABLE extra (x TEXT) STRICT; CREATE TABLE events (x);"),
        )
        .expect_err("there is a table `events` already");
        assert_eq!(version(&connection).expect("a version"), LADDER.len());
        assert_eq!(meta(&connection, "format"), LADDER.len().to_string());
        connection
            .execute("INSERT INTO extra VALUES ('y')", [])
            .expect_err("no new table");
    }
}
