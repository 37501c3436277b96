//! Real databases in the states that a step may meet, and other processes that have them open.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::FileExt,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use camino::Utf8Path;
use runwright_core::kind::Digest;
use rusqlite::Connection;

use super::set::Set;

const DATABASE: &str = "RUNWRIGHT_TEST_DATABASE";
const SCRIPT: &str = "RUNWRIGHT_TEST_SCRIPT";
const REPEATED: &str = "RUNWRIGHT_TEST_REPEATED";
const READY: &str = "the child is ready";

/// Another process with a connection to a database; killed when dropped.
pub(super) struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    /// Kept open: a test program that can't print fails.
    _stdout: BufReader<ChildStdout>,
}

impl Child {
    /// Starts a process that runs `script` on the database, and then keeps its connection and transaction.
    pub(super) fn with(database: &Utf8Path, script: &str) -> Child {
        Child::start(database, script, None)
    }

    /// Starts a process that runs `script` and then `repeated` again and again.
    pub(super) fn repeating(database: &Utf8Path, script: &str, repeated: &str) -> Child {
        Child::start(database, script, Some(repeated))
    }

    fn start(database: &Utf8Path, script: &str, repeated: Option<&str>) -> Child {
        let mut command = Command::new(std::env::current_exe().expect("this test program"));
        command
            .args([
                "--exact",
                "sqlite::testing::a_child_holds_a_database_until_it_is_released",
                "--nocapture",
            ])
            .env(DATABASE, database)
            .env(SCRIPT, script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(repeated) = repeated {
            command.env(REPEATED, repeated);
        }
        let mut process = command.spawn().expect("a child process");
        let stdin = process.stdin.take();
        let mut stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let ready = stdout
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains(READY));
        assert!(ready, "the child failed on {script}");
        Child {
            process,
            stdin,
            _stdout: stdout,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends the process as a crash does.
    pub(super) fn crash(mut self) {
        self.process.kill().expect("a process to kill");
        self.process.wait().expect("its end");
    }

    /// Lets the process close its connection and end.
    pub(super) fn release(mut self) {
        drop(self.stdin.take());
        assert!(self.process.wait().expect("its end").success());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a child process does; in the test run itself it shows that one can be had.
#[test]
fn a_child_holds_a_database_until_it_is_released() {
    if let Ok(database) = std::env::var(DATABASE) {
        return act(&database);
    }
    let bench = crate::testing::Bench::new();
    let path = bench.path("kv.db");
    database(&path, "PRAGMA journal_mode = DELETE;", 1);
    let child = Child::with(&path, "BEGIN IMMEDIATE;");
    let write = || {
        let connection = Connection::open(&path).expect("a connection");
        connection
            .busy_timeout(std::time::Duration::ZERO)
            .expect("a timeout");
        connection.execute("DELETE FROM kv", [])
    };
    assert!(write().is_err());
    child.release();
    assert_eq!(write(), Ok(1));
}

fn act(database: &str) {
    let connection = Connection::open(database).expect("a connection");
    connection
        .busy_timeout(std::time::Duration::from_secs(10))
        .expect("a timeout");
    let script = std::env::var(SCRIPT).expect("a script");
    connection.execute_batch(&script).expect("the script");
    println!("\n{READY}");
    std::io::stdout().flush().expect("a pipe");
    if let Ok(repeated) = std::env::var(REPEATED) {
        let (send, released) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            let _ = send.send(());
        });
        while released.try_recv().is_err() {
            connection.execute_batch(&repeated).expect("a round");
        }
        return;
    }
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Makes a database with a table `kv` of `rows` rows (`id`, `key`, `value` of 100 bytes) and an index `kv_key`.
pub(super) fn database(path: &Utf8Path, setup: &str, rows: u32) {
    let connection = Connection::open(path).expect("a new database");
    connection
        .execute_batch(&format!(
            "{setup}
             CREATE TABLE kv (id INTEGER PRIMARY KEY, key TEXT, value TEXT);
             CREATE INDEX kv_key ON kv (key);
             {}",
            rows_of(rows)
        ))
        .expect("a database");
    connection.close().expect("a closed database");
}

/// Returns the SQL that adds `rows` rows to `kv`.
pub(super) fn rows_of(rows: u32) -> String {
    format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO kv (key, value) SELECT printf('key-%06d', i), printf('%0100d', i) FROM n WHERE {rows} > 0;"
    )
}

/// Makes a database in WAL mode whose process crashed: `below` rows in the file, `above` rows in the WAL alone, and a
/// transaction that was never committed.
pub(super) fn crashed(path: &Utf8Path, below: u32, above: u32) {
    database(path, "PRAGMA journal_mode = WAL;", below);
    let child = Child::with(
        path,
        &format!(
            "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = 5; {} BEGIN; DELETE FROM kv;",
            rows_of(above)
        ),
    );
    child.crash();
    assert!(super::set::size(&Set::at(path).wal()) > 0);
}

/// Returns every file in the folder of `path` by name and digest; none when there is no such folder.
///
/// It opens and closes them, which takes the locks of a connection of this very process.
pub(super) fn folder_of(path: &Utf8Path) -> BTreeMap<String, Digest> {
    let folder = path.parent().expect("a folder");
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| {
            let content = fs::read(entry.path()).expect("a file");
            (
                entry.file_name().to_string_lossy().into_owned(),
                Digest::of(&content),
            )
        })
        .collect()
}

/// Returns the rows of `kv`, opening the database as any program does.
pub(super) fn rows(path: &Utf8Path) -> i64 {
    Connection::open(path)
        .and_then(|connection| {
            connection.query_row("SELECT count(*) FROM kv", [], |row| row.get(0))
        })
        .expect("rows")
}

/// Returns the number of a leaf page in the middle of a table or index.
pub(super) fn leaf(path: &Utf8Path, name: &str) -> u64 {
    let connection = Connection::open(path).expect("a connection");
    connection
        .query_row(
            "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 3",
            [name],
            |row| super::unsigned(row, 0),
        )
        .expect("a leaf page")
}

/// Overwrites the page with `change` applied; pages have 4096 bytes.
pub(super) fn change_page(path: &Utf8Path, page: u64, change: impl FnOnce(&mut [u8])) {
    change_bytes(path, (page - 1) * 4096, 4096, change);
}

/// Overwrites `length` bytes at `at` with `change` applied.
pub(super) fn change_bytes(
    path: &Utf8Path,
    at: u64,
    length: usize,
    change: impl FnOnce(&mut [u8]),
) {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("a file");
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at).expect("bytes");
    change(&mut bytes);
    file.write_all_at(&bytes, at).expect("bytes written");
}

/// Changes one letter of a key in a leaf of the index `kv_key`: the index disagrees with its table.
pub(super) fn break_index(path: &Utf8Path) {
    change_page(path, leaf(path, "kv_key"), |page| {
        let at = page
            .windows(5)
            .rposition(|bytes| bytes == b"key-0")
            .expect("a key in the page");
        page[at] ^= 1;
    });
}

/// Runs `work` on a thread that has no more rights than the owner of the files.
pub(super) fn without_privileges<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut sets = capabilities(None).expect("the rights of this thread");
            sets.effective = CapabilitySet::empty();
            set_capabilities(None, sets).expect("fewer rights");
            work()
        });
        thread.join().expect("the thread did not panic")
    })
}
