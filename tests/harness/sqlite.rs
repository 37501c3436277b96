//! Real SQLite databases, and other processes that write, read and hold them.
//!
//! Such a process is this test program again, with one test chosen: [`a_process_works_on_a_database`].

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::FileExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use camino::Utf8Path;
use rusqlite::Connection;

const DATABASE: &str = "RUNWRIGHT_TEST_DATABASE";
const WORK: &str = "RUNWRIGHT_TEST_WORK";
const ROWS: &str = "RUNWRIGHT_TEST_ROWS";
const READY: &str = "ready on the database";

/// What another process does with a database.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Writes rows of about 1 KiB, 1,000 a commit, without ever folding the WAL in, and notes each commit in an `.ack`
    /// file beside the database once it is done; then begins one more transaction that it never commits.
    Write,
    /// Holds a read transaction.
    Read,
    /// Holds a write transaction.
    HoldWrite,
}

/// Another process at work on a database; killed when dropped.
pub(crate) struct Other {
    process: Child,
    stdin: Option<ChildStdin>,
    /// Kept open: a test program that can't print fails.
    _stdout: BufReader<ChildStdout>,
}

impl Other {
    /// Starts a process that works on `database`, and waits until it is at the end of it and holds on.
    pub(crate) fn start(database: &Utf8Path, work: Work, rows: u32) -> Other {
        let mut process = Command::new(env::current_exe().expect("this test program"))
            .args([
                "--exact",
                "harness::sqlite::a_process_works_on_a_database",
                "--nocapture",
            ])
            .env(DATABASE, database)
            .env(WORK, format!("{work:?}"))
            .env(ROWS, rows.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdin = process.stdin.take();
        let mut stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let ready = stdout
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains(READY));
        assert!(ready, "the other process failed");
        Other {
            process,
            stdin,
            _stdout: stdout,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends the process as `kill -9` does.
    pub(crate) fn crash(mut self) {
        self.process.kill().expect("a process to kill");
        self.process.wait().expect("its end");
    }

    /// Lets the process close the database and end.
    pub(crate) fn release(mut self) {
        drop(self.stdin.take());
        assert!(self.process.wait().expect("its end").success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What another process does; in the test run itself it shows that one can be had and works as it says.
#[test]
fn a_process_works_on_a_database() {
    if let Ok(database) = env::var(DATABASE) {
        return work(Utf8Path::new(&database));
    }
    let sandbox = super::Sandbox::new();
    let database = sandbox.path("kv.db");
    create(&database, 10);
    Other::start(&database, Work::Write, 1_000).crash();
    assert_eq!(acknowledged(&database), 1_010);
    assert!(size(&wal(&database)) > 1_000_000);
    assert_eq!(rows(&database), 1_010, "the uncommitted one is not there");
}

fn work(database: &Utf8Path) {
    let connection = Connection::open(database).expect("a connection");
    connection
        .busy_timeout(Duration::from_secs(10))
        .expect("a timeout");
    let rows: u32 = env::var(ROWS).expect("rows").parse().expect("a number");
    match env::var(WORK).expect("work").as_str() {
        "Write" => write_rows(&connection, database, rows),
        "Read" => {
            connection
                .execute_batch("BEGIN; SELECT count(*) FROM memory;")
                .expect("a read transaction");
        }
        "HoldWrite" => connection
            .execute_batch("BEGIN IMMEDIATE; INSERT INTO memory (value) VALUES ('held');")
            .expect("a write transaction"),
        other => panic!("no such work: {other}"),
    }
    println!("\n{READY}");
    std::io::stdout().flush().expect("a pipe");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn write_rows(connection: &Connection, database: &Utf8Path, rows: u32) {
    connection
        .execute_batch("PRAGMA synchronous = EXTRA; PRAGMA wal_autocheckpoint = 0;")
        .expect("settings");
    let first: u32 = connection
        .query_row("SELECT count(*) FROM memory", [], |row| row.get(0))
        .expect("a count");
    let insert = |count: u32, before: u32| {
        // In the order of the index, so that the WAL grows by what is written and little else.
        format!(
            "BEGIN;
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO memory (value) SELECT printf('written-%09d-%s', {before} + i, hex(randomblob(500))) FROM n;"
        )
    };
    let mut done = 0;
    while done < rows {
        let count = (rows - done).min(1_000);
        connection
            .execute_batch(&insert(count, first + done))
            .expect("rows");
        connection.execute_batch("COMMIT").expect("a commit");
        done += count;
        fs::write(ack(database), (first + done).to_string()).expect("an acknowledgement");
    }
    connection
        .execute_batch(&insert(50, first + done))
        .expect("an open transaction");
}

fn ack(database: &Utf8Path) -> String {
    format!("{database}.ack")
}

/// Returns how many rows the writer was told are safe.
pub(crate) fn acknowledged(database: &Utf8Path) -> i64 {
    let text = fs::read_to_string(ack(database)).expect("an acknowledgement");
    text.parse().expect("a number")
}

/// Returns the path of the WAL.
pub(crate) fn wal(database: &Utf8Path) -> camino::Utf8PathBuf {
    format!("{database}-wal").into()
}

/// Returns the size of a file; 0 where there is none.
pub(crate) fn size(path: &Utf8Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// Makes a database in WAL mode with a table `memory` of `rows` rows and an index on it.
pub(crate) fn create(database: &Utf8Path, rows: u32) {
    let connection = Connection::open(database).expect("a new database");
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE memory (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
             CREATE INDEX memory_value ON memory (value);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO memory (value) SELECT printf('value-%06d-%0100d', i, i) FROM n WHERE {rows} > 0;"
        ))
        .expect("a database");
    connection.close().expect("a closed database");
}

/// Returns the rows of `memory`, opening the database as any program does.
pub(crate) fn rows(database: &Utf8Path) -> i64 {
    let connection = Connection::open(database).expect("a connection");
    let count = connection.query_row("SELECT count(*) FROM memory NOT INDEXED", [], |row| {
        row.get(0)
    });
    count.expect("a count")
}

/// Returns what SQLite itself says to `PRAGMA integrity_check`.
pub(crate) fn integrity(database: &Utf8Path) -> String {
    let connection = Connection::open(database).expect("a connection");
    let check = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0));
    check.unwrap_or_else(|error| error.to_string())
}

/// Changes a letter of a key in a leaf of the index: it disagrees with its table then.
pub(crate) fn break_index(database: &Utf8Path) {
    change_page(database, leaf(database, "memory_value"), |page| {
        let at = page.windows(6).rposition(|bytes| bytes == b"value-");
        page[at.expect("a key in the page")] ^= 1;
    });
}

/// Overwrites a leaf of the table with zeros.
pub(crate) fn break_table(database: &Utf8Path) {
    change_page(database, leaf(database, "memory"), |page| page.fill(0));
}

fn leaf(database: &Utf8Path, name: &str) -> u64 {
    let connection = Connection::open(database).expect("a connection");
    let page: i64 = connection
        .query_row(
            "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 3",
            [name],
            |row| row.get(0),
        )
        .expect("a leaf");
    u64::try_from(page).expect("a page number")
}

fn change_page(database: &Utf8Path, page: u64, change: impl FnOnce(&mut [u8])) {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(database)
        .expect("a file");
    let mut bytes = vec![0; 4096];
    file.read_exact_at(&mut bytes, (page - 1) * 4096)
        .expect("a page");
    change(&mut bytes);
    file.write_all_at(&bytes, (page - 1) * 4096)
        .expect("a page");
}
