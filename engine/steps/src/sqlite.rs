//! Steps on SQLite database files.
//!
//! What reads opens a database so that closing it changes nothing ([`reader`]); what changes one never creates it, never
//! replays a WAL that is not its own, and names who is in the way when it is busy ([`holders`]). The library is compiled
//! in, so no step depends on the `sqlite3` program of the machine.

mod backup;
mod check;
mod checkpoint;
mod lockers;
mod reindex;
mod replace;

mod holders;
mod integrity;
mod mark;
mod nothing;
mod raw;
mod reader;
mod set;
#[cfg(test)]
mod testing;
mod wal;

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use runwright_core::{
    kind::{Class, Cx, Failure, Kind},
    units::Span,
};
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, Row, config::DbConfig};

use self::{
    holders::{Access, Scan},
    reader::{Reader, Unopened},
    set::{Found, Set, State},
    wal::Wal,
};

pub(crate) const KINDS: &[Kind] = &[
    check::KIND,
    lockers::KIND,
    checkpoint::KIND,
    reindex::KIND,
    backup::KIND,
    replace::KIND,
];

/// How long a step waits for locks of others unless told otherwise.
const fn five_seconds() -> Span {
    Span::from_seconds(5)
}

/// Runs `work` on a thread where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::internal("finish the work on the database").because(&error)),
    }
}

/// Makes a connection wait for locks, end when the step is to end, and distrust what the file says.
fn settle(connection: &mut Connection, cx: &Cx, patience: Duration) -> Result<(), Error> {
    let host = Arc::clone(&cx.host);
    connection.progress_handler(1_000, Some(move || host.cancelled()))?;
    let host = Arc::clone(&cx.host);
    let mut since = Instant::now();
    connection.busy_handler(Some(move |calls| {
        if calls == 0 {
            since = Instant::now();
        }
        let left = patience.saturating_sub(since.elapsed());
        if left.is_zero() || host.cancelled() {
            return false;
        }
        thread::sleep(left.min(Duration::from_millis(if calls < 20 { 5 } else { 25 })));
        true
    }))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    Ok(())
}

/// Opens an existing database for a change.
fn open_for_change(cx: &Cx, set: &Set, patience: Duration) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = raw::opening(|| Connection::open_with_flags(&set.main, flags))?;
    settle(&mut connection, cx, patience)?;
    Ok(connection)
}

/// Returns what lies at the path of a database that is to be changed; refuses what is none.
fn existing(set: &Set, what: &str) -> Result<Found, Failure> {
    let found = set.inspect()?;
    if found.state == State::Database {
        return Ok(found);
    }
    Err(Failure::refused(format!("{what}: {}", found.says)))
}

/// Returns the WAL of a database that is to be changed; refuses one that belongs to another.
///
/// While a WAL is in use the start of the file may lag behind it, and who uses it has replayed it already.
fn own_wal(cx: &Cx, set: &Set, found: &Found, scan: &Scan, what: &str) -> Result<Wal, Failure> {
    let wal = read_wal(cx, set)?;
    if scan.wal_in_use {
        return Ok(wal);
    }
    match found.header.as_ref().and_then(|header| wal.foreign(header)) {
        // One that SQLite ignores does no harm.
        Some(why) if wal.usable => Err(Failure::refused(format!("{what}: {why}")).hint(format!(
            "`{}` seems to belong to another database; look at both with sqlite.check before anything opens them",
            set.wal()
        ))),
        _ => Ok(wal),
    }
}

/// Reads the WAL of `set`.
fn read_wal(cx: &Cx, set: &Set) -> Result<Wal, Failure> {
    Wal::read(&set.wal(), &|| cx.host.cancelled()).map_err(|error| unread(&set.wal(), &error))
}

/// Opens a reader; what SQLite refuses is a failure.
fn read(
    cx: &Cx,
    set: &Set,
    found: &Found,
    scan: &Scan,
    patience: Duration,
) -> Result<Reader, Failure> {
    Reader::open(cx, set, found, scan, patience).map_err(|unopened| match unopened {
        Unopened::Refused(error) => failed(cx, set, &format!("open `{}`", set.main), &error),
        Unopened::Failed(failure) => failure,
    })
}

/// Returns the failure that an error of SQLite is: `timeout` with who was in the way, `cancelled`, or internal.
fn failed(cx: &Cx, set: &Set, what: &str, error: &Error) -> Failure {
    match error.sqlite_error_code() {
        _ if cx.host.cancelled() => Failure::new(Class::Cancelled, format!("{what}: told to stop")),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            let who = holders::in_the_way(cx, set, Access::Reader);
            Failure::new(
                Class::Timeout,
                format!("{what}: the database is locked by {who}"),
            )
            .because(error)
        }
        Some(ErrorCode::OperationInterrupted) => {
            Failure::new(Class::Cancelled, format!("{what}: told to stop"))
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::DiskFull) => {
            Failure::internal(what).because(error).hint(format!(
                "see whether the disk is full (`df '{}'`) or says errors (`dmesg`); nothing is lost by trying again",
                set.main
            ))
        }
        _ => Failure::internal(what).because(error),
    }
}

/// Returns a count; SQLite says -1 where it has none, which is 0.
fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, Error> {
    row.get::<_, i64>(column)
        .map(|count| count.max(0).cast_unsigned())
}

/// Returns the failure of reading a file by hand.
fn unread(path: &camino::Utf8Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::Interrupted {
        return Failure::new(Class::Cancelled, format!("read `{path}`: told to stop"));
    }
    Failure::internal(format!("read `{path}`")).because(error)
}
