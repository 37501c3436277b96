//! The connection: how it is opened, how a transaction is written, and what is done when the disk is full.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    thread,
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::value::percent_encode;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, ffi};
use rustix::{
    fs::{Access, access},
    io::Errno,
};

use super::{
    JournalError, Sync,
    schema::{self, APPLICATION, CreateError, LADDER},
};
use crate::{
    fault::{self, Point},
    home::{Home, sync_folder},
};

/// How long a writer waits for the others.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// `NORMAL` syncs when the log is moved into the file, and [`Store::sync`] does the rest. Not `OFF`: a power loss while
/// it is moved would take what was synced before. The log is moved every 16 MiB.
const SETTINGS: &str = "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000";

/// How long a log is left behind: moving it would cost more syncs than a short run itself, reading it again costs the
/// next process a tenth of a millisecond.
const LOG_LEFT: u64 = 512 << 10;

/// One connection to the journal.
#[derive(Debug)]
pub(super) struct Store {
    home: Home,
    path: Utf8PathBuf,
    connection: Connection,
    /// Whether something may be committed and not synced: at first what a killed process has left.
    unsynced: bool,
    /// Whether the log's name in the home is synced.
    log_is_named: bool,
    /// Whether a long log is moved into the file at the end: not when the journal is only read, or was refused.
    moves_log: bool,
    /// The files that are written to: SQLite would go on with one that was moved away or removed, and nobody would
    /// ever read it.
    files: [(Utf8PathBuf, Identity); 2],
}

/// Which file a name means: device and number; `None` where there is none.
type Identity = Option<(u64, u64)>;

impl Store {
    /// Opens the journal of `home`, after creating or migrating it where that is due.
    pub(super) fn open(home: &Home) -> Result<Store, JournalError> {
        let path = home.journal();
        if !path.exists() {
            schema::create(home).map_err(|error| match error {
                CreateError::Sqlite(source) => JournalError::sqlite("create", &path, source),
                CreateError::Io(source) => JournalError::Io {
                    action: "create",
                    path: path.clone(),
                    source,
                },
            })?;
        }
        let connected = Store::connect(home, OpenFlags::SQLITE_OPEN_READ_WRITE);
        let mut store = connected.map_err(|error| {
            // Where log and index are missing it does not even open.
            match access(home.path().as_std_path(), Access::WRITE_OK) {
                Err(Errno::ROFS | Errno::ACCESS) => JournalError::ReadOnly { path: path.clone() },
                _ => error,
            }
        })?;
        // SQLite opens for reading what it may not write, and says so with the first write.
        if store.read("open", |it| it.is_readonly("main"))? {
            return Err(JournalError::ReadOnly { path });
        }
        let version = store.version()?;
        store.read("set up", |connection| connection.execute_batch(SETTINGS))?;
        store.moves_log = true;
        if version < LADDER.len() {
            let migrated = schema::migrate(&mut store.connection, LADDER);
            migrated.map_err(|error| JournalError::sqlite("migrate", &path, error))?;
            store.sync()?;
        }
        Ok(store)
    }

    /// Opens the journal of `home` for reading, where there is one.
    pub(super) fn find(home: &Home) -> Result<Option<Store>, JournalError> {
        if !home.journal().exists() {
            return Ok(None);
        }
        let store = Store::connect(home, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        if store.version()? < LADDER.len() {
            drop(store);
            return Store::open(home).map(Some);
        }
        Ok(Some(store))
    }

    /// Opens the journal of `home` as it stands now, for reading only: never migrated, not even on a disk that can't be
    /// written, and what others write later is not seen.
    pub(super) fn hold(home: &Home) -> Result<Option<Store>, JournalError> {
        if !home.journal().exists() {
            return Ok(None);
        }
        let begin = |store: &Store| {
            // The snapshot begins with the first read.
            store.read("read", |connection| {
                connection.execute_batch("BEGIN; SELECT count(*) FROM meta")
            })
        };
        let store = Store::connect(home, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        store.version()?;
        begin(&store)?;
        Ok(Some(store))
    }

    /// Returns whether the journal has the tables of the second version.
    pub(super) fn is_second(connection: &Connection) -> rusqlite::Result<bool> {
        Ok(schema::version(connection)? >= 2)
    }

    /// Reads; `action` says in an error what was tried.
    pub(super) fn read<T>(
        &self,
        action: &'static str,
        body: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        body(&self.connection).map_err(|error| self.failed(action, error))
    }

    /// Reads in one transaction, so that what others write meanwhile is not seen in part.
    pub(super) fn snapshot<T>(
        &self,
        body: impl FnOnce(&Connection) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        if !self.connection.is_autocommit() {
            return body(&self.connection);
        }
        let transaction = self.connection.unchecked_transaction();
        let transaction = transaction.map_err(|error| self.failed("read", error))?;
        body(&transaction)
    }

    /// Runs `body` in a transaction. On a full disk it runs again once the reserve is given up, and once more when the
    /// log is moved into the file.
    pub(super) fn write<T>(
        &mut self,
        action: &'static str,
        sync: Sync,
        body: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        self.refuse_moved(action)?;
        let mut result = transaction(&self.connection, &body);
        for make_room in [release_reserve, restart_log] {
            if !result.as_ref().is_err_and(may_be_full) {
                break;
            }
            make_room(self);
            result = transaction(&self.connection, &body);
        }
        let value = result.map_err(|error| self.failed(action, error))?;
        self.unsynced = true;
        fault::pass(Point::Committed);
        if sync == Sync::Yes {
            self.sync()?;
        }
        Ok(value)
    }

    /// Syncs what was committed and is not synced yet.
    ///
    /// SQLite could do that with each commit, but syncs the folder as well, in each process: a second wait for the disk
    /// that a short run would feel.
    pub(super) fn sync(&mut self) -> Result<(), JournalError> {
        if !self.unsynced {
            return Ok(());
        }
        // What is committed is in the log that was opened: another one under its name holds nothing of it.
        self.refuse_moved("sync")?;
        let log = self.log();
        let failed = |source| JournalError::Io {
            action: "sync",
            path: log.clone(),
            source,
        };
        // The log has no locks that closing it could drop.
        fs::File::open(&log)
            .and_then(|file| file.sync_data())
            .map_err(failed)?;
        if !self.log_is_named {
            sync_folder(self.home.path()).map_err(failed)?;
            self.log_is_named = true;
        }
        self.unsynced = false;
        fault::pass(Point::Synced);
        Ok(())
    }

    fn log(&self) -> Utf8PathBuf {
        log(&self.path)
    }

    /// Fails where journal or log are no longer the files that were opened.
    fn refuse_moved(&self, action: &'static str) -> Result<(), JournalError> {
        for (path, opened) in &self.files {
            if opened.is_some() && identity(path) != *opened {
                return Err(JournalError::Moved {
                    action,
                    path: path.clone(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn failed(&self, action: &'static str, error: rusqlite::Error) -> JournalError {
        JournalError::sqlite(action, &self.path, error)
    }

    /// Connects and checks that the file is a journal that we know.
    fn connect(home: &Home, flags: OpenFlags) -> Result<Store, JournalError> {
        let path = home.journal();
        let connect_to = |name: &str, flags: OpenFlags| -> rusqlite::Result<(Connection, i32)> {
            let mut connection =
                Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.busy_handler(Some(patience()))?;
            connection.set_prepared_statement_cache_capacity(64);
            let application =
                connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
            Ok((connection, application))
        };
        let connect = || connect_to(path.as_str(), flags);
        // An empty log may have been made just now, by a reader.
        let log_is_named = fs::metadata(log(&path)).is_ok_and(|log| log.len() > 0);
        let connected = match connect() {
            // A copy on a disk that can't be written to: without a log there is nothing that could change.
            Err(error)
                if is_cant_open(&error)
                    && flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY)
                    && fs::metadata(log(&path)).map_or(true, |log| log.len() == 0) =>
            {
                let name = format!("file:{}?immutable=1", percent_encode(path.as_str(), b"/"));
                connect_to(&name, flags | OpenFlags::SQLITE_OPEN_URI)
            }
            // Opening makes `-wal` and `-shm`.
            Err(error) if may_be_full(&error) || is_cant_open(&error) => {
                release_reserve_of(home);
                connect()
            }
            other => other,
        };
        let (connection, application) =
            connected.map_err(|error| JournalError::sqlite("open", &path, error))?;
        if application != APPLICATION {
            return Err(JournalError::Foreign { path });
        }
        Ok(Store {
            home: home.clone(),
            files: [path.clone(), log(&path)].map(|path| {
                let identity = identity(&path);
                (path, identity)
            }),
            path,
            connection,
            unsynced: true,
            log_is_named,
            moves_log: false,
        })
    }

    /// Returns the version; refuses one that is newer than ours.
    fn version(&self) -> Result<usize, JournalError> {
        let found = self.read("open", schema::version)?;
        if found <= LADDER.len() {
            return Ok(found);
        }
        let engine = "SELECT value FROM meta WHERE name = 'engine'";
        Err(JournalError::Newer {
            path: self.path.clone(),
            found,
            known: LADDER.len(),
            engine: self
                .connection
                .query_row(engine, [], |row| row.get(0))
                .unwrap_or_else(|_| "of the version that wrote it".to_owned()),
        })
    }
}

fn identity(path: &Utf8Path) -> Identity {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn log(path: &Utf8Path) -> Utf8PathBuf {
    format!("{path}-wal").into()
}

fn transaction<T>(
    connection: &Connection,
    body: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    let run = |sql| connection.prepare_cached(sql)?.execute([]).map(|_| ());
    run("BEGIN IMMEDIATE")?;
    let result = body(connection).and_then(|value| run("COMMIT").map(|()| value));
    // Some errors end the transaction by themselves.
    if result.is_err() && !connection.is_autocommit() {
        let _ = run("ROLLBACK");
    }
    result
}

/// Returns a handler that tries again soon and often: commits are short, and SQLite's own pauses grow to 100 ms.
fn patience() -> impl FnMut(i32) -> bool {
    let mut since = Instant::now();
    move |tries| {
        if tries == 0 {
            since = Instant::now();
        }
        thread::sleep(Duration::from_micros(if tries < 10 { 100 } else { 1000 }));
        since.elapsed() < PATIENCE
    }
}

/// Returns whether a full disk can be the cause: SQLite says so plainly only of the files it writes itself.
///
/// A failed sync is not among them: what it left on the disk is not known, so nothing is tried again.
fn may_be_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|it| {
        it.code == ErrorCode::DiskFull
            || matches!(
                it.extended_code,
                ffi::SQLITE_IOERR_WRITE
                    | ffi::SQLITE_IOERR_SHMSIZE
                    | ffi::SQLITE_IOERR_SHMMAP
                    | ffi::SQLITE_IOERR_SHMOPEN
                    | ffi::SQLITE_IOERR_TRUNCATE
            )
    })
}

fn is_cant_open(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::CannotOpen)
}

fn release_reserve(store: &Store) {
    release_reserve_of(&store.home);
}

/// Moves the log into the file, so that it is written again from its beginning and needs no space.
fn restart_log(store: &Store) {
    let moved = store
        .connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if let Err(error) = moved {
        tracing::warn!(%error, "the log could not be moved into the journal");
    }
}

fn release_reserve_of(home: &Home) {
    match home.release_reserve() {
        Ok(true) => tracing::warn!("the disk seems full: the reserve was given up"),
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "the reserve could not be given up"),
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.moves_log && fs::metadata(self.log()).is_ok_and(|log| log.len() > LOG_LEFT) {
            // Who else has it open moves the log later: nobody is waited for.
            let _ = self.connection.busy_handler(None::<fn(i32) -> bool>);
            let _ = self
                .connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::{Journal, JournalError, Row, Sync, schema::LADDER, testing::*};
    use crate::{
        home::Home,
        testing::{Other, Sandbox, mode, other},
    };

    /// Mounts a disk of 24 MiB over the home, for the other process alone.
    const SMALL_DISK: [&str; 7] = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        "mount -t tmpfs -o size=24m,mode=700 tmpfs \"$RUNWRIGHT_TEST_OTHER\" && exec \"$@\"",
        "sh",
    ];

    fn on_a_small_disk(name: &str) {
        let sandbox = Sandbox::new();
        Other::start_in(&SMALL_DISK, name, sandbox.home().path(), "").join();
    }

    fn fill(home: &Home) -> camino::Utf8PathBuf {
        let path = home.path().join("filler");
        let mut file = std::fs::File::create(&path).expect("a file");
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }

    fn reserve(home: &Home) -> bool {
        home.path().join("reserve").exists()
    }

    #[test]
    fn a_full_disk_takes_the_reserve_and_then_stops_without_losing_what_was_written() {
        let Some((home, _)) = other() else {
            return on_a_small_disk(
                "journal::store::tests::a_full_disk_takes_the_reserve_and_then_stops_without_losing_what_was_written",
            );
        };
        let journal = Journal::open(&home).expect("a journal");
        let mut writer = journal.begin(RUN_A).expect("a run");
        let big = "x".repeat(10_000);
        let mut append = |sync| writer.append(&[data(&big)], &[Row::Run(running())], sync);
        append(Sync::Yes).expect("there is room");
        assert!(reserve(&home));

        let filler = fill(&home);
        let mut written = 1;
        let error = loop {
            match append(if written % 2 == 0 {
                Sync::Yes
            } else {
                Sync::No
            }) {
                Ok(appended) => written = appended.last,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, JournalError::Full { .. }), "{error:?}");
        assert!(!reserve(&home), "it was given up");
        assert!(
            written > 100,
            "the reserve is for more than {written} events"
        );
        assert!(matches!(append(Sync::Yes), Err(JournalError::Full { .. })));

        std::fs::remove_file(filler).expect("it is there");
        let appended = append(Sync::Yes).expect("there is room again");
        assert_eq!(
            appended.last,
            written + 1,
            "nothing of what failed was left"
        );
        assert!(journal.restore_reserve().expect("there is room"));
        let verified = journal.verify(None).expect("it can be read");
        assert!(verified.holds(), "{verified:?}");
        assert_eq!(verified.runs[0].events, written + 1);
    }

    #[test]
    fn a_journal_opens_on_a_full_disk() {
        let Some((home, _)) = other() else {
            return on_a_small_disk("journal::store::tests::a_journal_opens_on_a_full_disk");
        };
        drop({
            let journal = Journal::open(&home).expect("a journal");
            let mut writer = journal.begin(RUN_A).expect("a run");
            writer
                .append(&[event("begun")], &[Row::Run(running())], Sync::Yes)
                .expect("room");
            (journal, writer)
        });
        // Another connection that closes as the last one removes log and index: they have to be made again.
        let other = rusqlite::Connection::open(home.journal()).expect("it opens");
        other
            .execute_batch("SELECT count(*) FROM events")
            .expect("it reads");
        drop(other);
        assert!(!home.path().join("journal.db-wal").exists());
        fill(&home);
        let journal = Journal::open(&home).expect("the reserve has room for the log");
        let mut writer = journal.reopen(RUN_A).expect("its folder is there");
        writer
            .append(&[event("stopped")], &[], Sync::Yes)
            .expect("the end can be written");
        drop((journal, writer));
        let journal = Journal::find(&home)
            .expect("it can be read")
            .expect("it is there");
        assert_eq!(journal.events(RUN_A).count(), 2);
    }

    #[test]
    fn a_short_log_is_left_behind_and_a_long_one_is_moved() {
        let bench = Bench::new();
        let home = bench.journal.home().clone();
        drop(bench.begin(RUN_A));
        let log = home.path().join("journal.db-wal");
        let Bench { journal, sandbox } = bench;
        drop(journal);
        let length = || std::fs::metadata(&log).expect("it stays").len();
        assert!(length() > 0);

        let journal = Journal::open(&home).expect("a journal");
        let mut writer = journal.reopen(RUN_A).expect("nobody holds it");
        let big = "x".repeat(1 << 20);
        writer
            .append(&[data(&big)], &[], Sync::No)
            .expect("it is appended");
        drop((journal, writer));
        assert_eq!(length(), 0);
        let journal = Journal::open(&home).expect("a journal");
        assert!(journal.verify(None).expect("it can be read").holds());
        drop(sandbox);
    }

    #[test]
    fn all_files_are_for_the_owner_alone() {
        let bench = Bench::new();
        let _writer = bench.begin(RUN_A);
        let home = bench.journal.home();
        for name in [
            "journal.db",
            "journal.db-wal",
            "journal.db-shm",
            "runs/aaaaaaaaaaaa/lock",
        ] {
            assert_eq!(mode(&home.path().join(name)), 0o600, "{name}");
        }
        assert_eq!(mode(&home.run(RUN_A)), 0o700);
    }

    #[test]
    fn a_journal_of_a_newer_engine_is_refused_and_left_alone() {
        let bench = Bench::new();
        drop(bench.begin(RUN_A));
        // The log is long enough that a journal of our own would be tidied.
        let newer = rusqlite::Connection::open(bench.journal.path()).expect("it opens");
        newer
            .execute_batch(
                "PRAGMA user_version = 7; UPDATE meta SET value = '2.3.0' WHERE name = 'engine';
                 CREATE TABLE new (x); INSERT INTO new VALUES (zeroblob(1000000));",
            )
            .expect("it is written to");
        let home = bench.journal.home();
        let files = || ["", "-wal"].map(|it| std::fs::read(format!("{}{it}", home.journal())));
        let before = files().map(Result::ok);
        assert!(before.iter().all(Option::is_some));
        let open = Journal::open(home).expect_err("it is newer");
        let find = Journal::find(home).expect_err("it is newer");
        for error in [open, find] {
            assert_eq!(
                error.to_string(),
                format!(
                    "open the journal `{}`: its format is 7, and this engine knows up to {}; \
                     it needs runwright 2.3.0 or later",
                    home.journal(),
                    LADDER.len()
                )
            );
        }
        assert!(
            files().map(Result::ok) == before,
            "a refusal changes nothing"
        );
    }

    #[test]
    fn a_file_that_is_no_journal_is_refused() {
        let sandbox = Sandbox::new();
        let home = sandbox.home();
        let other = rusqlite::Connection::open(home.journal()).expect("a database");
        other.execute_batch("CREATE TABLE t (x)").expect("a table");
        drop(other);
        let error = Journal::open(&home).expect_err("another database");
        assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
        std::fs::write(
            home.journal(),
            "not a database at all, but long enough".repeat(40),
        )
        .expect("a file");
        let error = Journal::open(&home).expect_err("no database");
        assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
    }

    #[test]
    fn reading_needs_no_journal_and_makes_none() {
        let sandbox = Sandbox::new();
        let home = sandbox.home();
        assert!(Journal::find(&home).expect("no error").is_none());
        assert!(!home.journal().exists());
    }

    #[test]
    fn a_reader_sees_a_writer_at_work_and_can_write_nothing() {
        let bench = Bench::new();
        let mut writer = bench.begin(RUN_A);
        let reader = Journal::find(bench.journal.home())
            .expect("no error")
            .expect("a journal");
        assert_eq!(reader.events(RUN_A).count(), 1);
        writer
            .append(&[event("more")], &[], Sync::No)
            .expect("it is appended");
        assert_eq!(reader.events(RUN_A).count(), 2);
        drop(writer);
        let mut writer = reader.reopen(RUN_A).expect("the lock is free");
        writer
            .append(&[event("more")], &[], Sync::No)
            .expect_err("it is for reading");
        assert_eq!(bench.journal.events(RUN_A).count(), 2);
    }

    #[test]
    fn a_commit_without_a_sync_is_synced_by_the_next_that_asks() {
        let bench = Bench::new();
        assert!(
            bench.journal.store().unsynced,
            "what a killed process left may not be synced"
        );
        let mut writer = bench.begin(RUN_A);
        assert!(bench.journal.store().unsynced);
        let appended = writer.append(&[], &[], Sync::Yes).expect("it is synced");
        assert_eq!(appended.last, 1);
        assert!(!bench.journal.store().unsynced);
        writer
            .append(&[event("more")], &[], Sync::No)
            .expect("it is appended");
        assert!(bench.journal.store().unsynced);
        writer
            .append(&[event("more")], &[], Sync::Yes)
            .expect("it is appended");
        assert!(!bench.journal.store().unsynced);
    }
}
