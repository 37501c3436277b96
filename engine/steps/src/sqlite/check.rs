//! `sqlite.check`: what is there to know about a database, without changing a byte of it.

use std::{collections::BTreeMap, time::Duration};

use camino::Utf8PathBuf;
use runwright_core::{
    kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    units::{Bytes, Span},
};
use rusqlite::{Connection, Error, ErrorCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    blocking, failed, five_seconds,
    holders::{self, Holder, Scan},
    integrity::{self, Damage, Depth},
    read_wal,
    reader::{Reader, Unopened},
    set::{Found, Set, State},
    unread, unsigned,
    wal::Wal,
};

pub(super) const KIND: Kind = Kind::of::<Check>("sqlite.check");

/// Checks a database file: whether it is sound, what its WAL holds that the file does not, who has it open.
///
/// It answers for any path, also one where there is no database; it fails only when it could not find out. Neither the
/// database nor its WAL nor its journal is changed, and nothing is created beside them, in whatever state they are.
///
/// ```yaml
/// sqlite.check: { database: /var/lib/kv/kv.db, depth: full, tables: [memory] }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Check {
    /// The database file; a link is followed, as SQLite does.
    #[schemars(with = "String")]
    database: Utf8PathBuf,
    /// `quick`: all pages; `full`: also whether indexes agree with their tables, and foreign keys.
    #[serde(default)]
    depth: Depth,
    /// Tables to count the rows of.
    #[serde(default)]
    tables: Vec<String>,
    /// How long to wait for somebody who holds the database exclusively.
    #[serde(default = "five_seconds")]
    busy_timeout: Span,
}

/// What a check found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Checked {
    /// Whether there is anything at the path.
    exists: bool,
    /// What is at the path.
    state: State,
    /// `ok`; else the problems, one a line, or why SQLite does not open the file.
    integrity: String,
    /// How deep the damage goes.
    damage: Damage,
    /// Rows that break a foreign key, and declarations that can't be checked; absent in a quick check.
    foreign_key_problems: Option<u64>,
    /// `wal`, `delete` and so on, as the file says.
    journal_mode: Option<String>,
    /// The size of a page.
    page_size: Option<Bytes>,
    /// The pages, as a reader sees the database (with what is in its WAL).
    pages: Option<u64>,
    /// The pages that hold nothing.
    freelist_pages: Option<u64>,
    /// `PRAGMA user_version`.
    user_version: Option<i64>,
    /// `PRAGMA application_id`.
    application_id: Option<i64>,
    /// The tables, by name.
    schema_tables: Vec<String>,
    /// Those of the named tables that are not there.
    missing_tables: Vec<String>,
    /// The number of rows of each named table that could be counted.
    rows: BTreeMap<String, u64>,
    /// The size of the database file.
    database_bytes: Bytes,
    /// The size of the WAL.
    wal_bytes: Bytes,
    /// The committed frames in the WAL.
    wal_frames: u64,
    /// How many pages (of a WAL in use: frames) the WAL holds that the database file does not have yet.
    wal_pending_frames: u64,
    /// Whether the WAL holds anything that the database file does not have: without it, committed rows would be lost.
    wal_holds_rows: bool,
    /// Frames behind a damaged one: committed, perhaps, and lost, without any integrity check showing it.
    wal_lost_frames: u64,
    /// Whether the WAL does not belong to this database, or is of no use to it.
    wal_stale: bool,
    /// Why it is stale.
    wal_problem: Option<String>,
    /// Whether a rollback journal lies there that the next opener will roll back.
    hot_journal: bool,
    /// The other processes that have the database open.
    holders: Vec<Holder>,
}

impl Step for Check {
    type Output = Checked;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Read;

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::reads(format!("file:{}", self.database))]
    }

    fn describe(&self) -> Description {
        Description::new(match self.depth {
            Depth::Quick => format!("check the pages of `{}`", self.database),
            Depth::Full => format!("check `{}`", self.database),
        })
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Checked, ()>, Failure> {
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.check(&cx)).await.map(Look::Done)
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, _: Option<&()>) -> Result<Checked, Failure> {
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.check(&cx)).await
    }
}

impl Check {
    fn check(&self, cx: &Cx) -> Result<Checked, Failure> {
        let set = Set::locate(cx, &self.database);
        // Somebody who opens a database while it is read without locks makes what was read worthless: then again, and
        // this time with locks.
        for _ in 0..3 {
            if let Some(checked) = self.check_once(cx, &set)? {
                return Ok(checked);
            }
        }
        Err(Failure::internal(format!(
            "check `{}`: it was changed each of three times while it was read",
            set.main
        ))
        .hint("something opens and closes the database again and again; sqlite.lockers shows who"))
    }

    /// Checks; `None` when somebody changed the database meanwhile.
    fn check_once(&self, cx: &Cx, set: &Set) -> Result<Option<Checked>, Failure> {
        let found = set.inspect()?;
        let mut checked = self.nothing(&found);
        if !matches!(found.state, State::Database | State::Foreign | State::Empty) {
            return Ok(Some(checked));
        }
        let scan = holders::scan(set)?;
        checked.holders.clone_from(&scan.holders);
        checked.hot_journal = set.has_journal() && !scan.is_written();
        let wal = read_wal(cx, set)?;
        checked.describe_wal(cx, set, &found, &scan, &wal)?;
        if found.state == State::Empty {
            // SQLite would take it for a new database, and remove a WAL that lies beside it.
            return Ok(Some(checked));
        }
        let patience = self.busy_timeout.to_std();
        let reader = match Reader::open(cx, set, &found, &scan, patience) {
            Ok(reader) => reader,
            Err(Unopened::Failed(failure)) => return Err(failure),
            Err(Unopened::Refused(error)) => {
                checked.refused(cx, set, &error)?;
                return Ok(Some(checked));
            }
        };
        self.read(cx, set, &reader, &mut checked)?;
        if scan.wal_in_use {
            checked
                .count_live_frames(&reader)
                .map_err(|error| failed(cx, set, &format!("check `{}`", set.main), &error))?;
        } else if checked.damage != Damage::None && wal.frames > 0 && !checked.wal_stale {
            checked.judge_wal(cx, set, patience)?;
        }
        Ok(reader.undisturbed().then_some(checked))
    }

    /// Returns what is known without SQLite.
    fn nothing(&self, found: &Found) -> Checked {
        Checked {
            exists: found.state != State::Missing,
            state: found.state,
            integrity: found.says.clone(),
            damage: Damage::Unreadable,
            foreign_key_problems: None,
            journal_mode: None,
            page_size: None,
            pages: None,
            freelist_pages: None,
            user_version: None,
            application_id: None,
            schema_tables: Vec::new(),
            missing_tables: self.tables.clone(),
            rows: BTreeMap::new(),
            database_bytes: Bytes(found.bytes),
            wal_bytes: Bytes(0),
            wal_frames: 0,
            wal_pending_frames: 0,
            wal_holds_rows: false,
            wal_lost_frames: 0,
            wal_stale: false,
            wal_problem: None,
            hot_journal: false,
            holders: Vec::new(),
        }
    }

    fn read(
        &self,
        cx: &Cx,
        set: &Set,
        reader: &Reader,
        checked: &mut Checked,
    ) -> Result<(), Failure> {
        let failed = |error: &Error| failed(cx, set, &format!("check `{}`", set.main), error);
        let found = integrity::examine(reader, self.depth).map_err(|error| failed(&error))?;
        checked.integrity = found.text;
        checked.damage = found.damage;
        match self.read_more(reader, checked) {
            Ok(()) => Ok(()),
            // The damage is told already; what it hides stays absent.
            Err(error) if integrity::is_damage(&error) => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }

    fn read_more(&self, reader: &Reader, checked: &mut Checked) -> Result<(), Error> {
        checked.page_size = Some(Bytes(size(reader, "page_size")?));
        checked.pages = Some(size(reader, "page_count")?);
        checked.freelist_pages = Some(size(reader, "freelist_count")?);
        checked.user_version = Some(number(reader, "user_version")?);
        checked.application_id = Some(number(reader, "application_id")?);
        checked.schema_tables = tables(reader)?;
        checked
            .missing_tables
            .retain(|table| !checked.schema_tables.contains(table));
        for table in &self.tables {
            if checked.missing_tables.contains(table) {
                continue;
            }
            match count_rows(reader, table) {
                Ok(rows) => {
                    checked.rows.insert(table.clone(), rows);
                }
                Err(error) if integrity::is_damage(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if self.depth == Depth::Full {
            let problems = foreign_key_problems(reader, &checked.schema_tables)?;
            checked.foreign_key_problems = Some(problems);
        }
        Ok(())
    }
}

impl Checked {
    /// Tells what the files beside the database say by themselves.
    fn describe_wal(
        &mut self,
        cx: &Cx,
        set: &Set,
        found: &Found,
        scan: &Scan,
        wal: &Wal,
    ) -> Result<(), Failure> {
        self.wal_bytes = Bytes(wal.bytes);
        self.wal_frames = wal.frames;
        self.wal_lost_frames = wal.lost_frames;
        if let Some(header) = &found.header {
            let wal_mode = found.state == State::Database && header.is_wal();
            self.journal_mode = (found.state == State::Database)
                .then(|| if wal_mode { "wal" } else { "delete" }.to_owned());
            // While it is in use, the start of the file may lag behind.
            if !scan.wal_in_use {
                self.wal_problem = wal.foreign(header);
            }
        }
        if found.state != State::Database && wal.frames > 0 {
            self.wal_problem = Some(format!(
                "{}, and a WAL of {} frames lies beside it",
                found.says, wal.frames
            ));
        }
        self.wal_stale = self.wal_problem.is_some();
        if !scan.wal_in_use {
            self.wal_pending_frames = wal
                .pending(set, &|| cx.host.cancelled())
                .map_err(|error| unread(&set.wal(), &error))?;
            self.wal_holds_rows = self.wal_pending_frames > 0;
        }
        Ok(())
    }

    /// Takes the frames that are not in the database yet from the index of a WAL in use.
    fn count_live_frames(&mut self, reader: &Reader) -> Result<(), Error> {
        let (frames, moved) = live_frames(reader)?;
        self.wal_frames = frames;
        self.wal_pending_frames = frames.saturating_sub(moved);
        self.wal_holds_rows = self.wal_pending_frames > 0;
        // A log that is written while it is read by hand seems to break off.
        self.wal_lost_frames = 0;
        Ok(())
    }

    /// Finds out whether the damage is the WAL's: the database is sound without it.
    fn judge_wal(&mut self, cx: &Cx, set: &Set, patience: Duration) -> Result<(), Failure> {
        let sound = Reader::without_wal(cx, set, patience)
            .and_then(|reader| Ok(integrity::examine(&reader, Depth::Quick)?.damage));
        match sound {
            Ok(Damage::None) => {
                self.wal_stale = true;
                self.wal_problem =
                    Some("the database is sound without the WAL, and damaged with it".to_owned());
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(Unopened::Refused(error)) if integrity::is_damage(&error) => Ok(()),
            Err(Unopened::Refused(error)) => {
                Err(failed(cx, set, &format!("check `{}`", set.main), &error))
            }
            Err(Unopened::Failed(failure)) => Err(failure),
        }
    }

    /// Takes in that SQLite does not open the file, unless that says nothing about the file.
    fn refused(&mut self, cx: &Cx, set: &Set, error: &Error) -> Result<(), Failure> {
        if integrity::is_damage(error) {
            self.integrity = error.to_string();
            return Ok(());
        }
        if error.sqlite_error_code() == Some(ErrorCode::PermissionDenied) {
            self.state = State::Unreadable;
            self.integrity = error.to_string();
            return Ok(());
        }
        Err(failed(cx, set, &format!("check `{}`", set.main), error))
    }
}

/// Returns the tables of a database by name, without SQLite's own.
pub(super) fn tables(connection: &Connection) -> Result<Vec<String>, Error> {
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name",
    )?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

/// Returns how many rows a table has.
pub(super) fn count_rows(connection: &Connection, table: &str) -> Result<u64, Error> {
    // Without an index, which could be wrong by itself.
    let count = format!(
        "SELECT count(*) FROM {} NOT INDEXED",
        integrity::ident(table)
    );
    connection.query_row(&count, [], |row| unsigned(row, 0))
}

/// Returns the committed frames of a WAL in use, and how many of them are in the database already.
pub(super) fn live_frames(connection: &Connection) -> Result<(u64, u64), Error> {
    // `NOOP` does nothing but read the index of the WAL; it says -1 of a database that is not in WAL mode.
    connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| {
        Ok((unsigned(row, 1)?, unsigned(row, 2)?))
    })
}

fn size(connection: &Connection, pragma: &str) -> Result<u64, Error> {
    connection.pragma_query_value(None, pragma, |row| unsigned(row, 0))
}

fn number(connection: &Connection, pragma: &str) -> Result<i64, Error> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

/// Returns the rows that break a foreign key; a declaration that can't be checked counts as one.
fn foreign_key_problems(connection: &Connection, tables: &[String]) -> Result<u64, Error> {
    let mut problems = 0;
    for table in tables {
        let rows = "SELECT count(*) FROM pragma_foreign_key_check(?1)";
        match connection.query_row(rows, [table], |row| unsigned(row, 0)) {
            Ok(count) => problems += count,
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => problems += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use camino::Utf8Path;
    use runwright_core::{kind::Class, value::Value};
    use serde_json::json;

    use super::*;
    use crate::{
        sqlite::testing::{self, Child},
        testing::Bench,
    };

    fn check(bench: &Bench, path: &Utf8Path) -> Result<Value, Failure> {
        bench
            .run(
                KIND,
                json!({ "database": path, "tables": ["kv", "gone"], "busy_timeout": "50ms" }),
            )
            .map(|(result, _)| result)
    }

    /// Checks, and that no file was changed, made or removed by it.
    fn check_untouched(bench: &Bench, path: &Utf8Path) -> serde_json::Value {
        let before = testing::folder_of(path);
        let result = check(bench, path).expect("an answer");
        assert_eq!(testing::folder_of(path), before, "a check changes nothing");
        result.to_plain()
    }

    fn kept(bench: &Bench) -> usize {
        fs::read_dir(bench.path(".kept")).expect("a folder").count()
    }

    #[test]
    fn a_sound_database_is_described_and_nothing_is_made_beside_it() {
        for (mode, setup) in [
            ("delete", "PRAGMA user_version = 7;"),
            ("wal", "PRAGMA user_version = 7; PRAGMA journal_mode = WAL;"),
        ] {
            let bench = Bench::new();
            let path = bench.path("with space?#%.db");
            testing::database(&path, setup, 500);
            let result = check_untouched(&bench, &path);
            assert_eq!(result["exists"], true);
            assert_eq!(result["state"], "database");
            assert_eq!(result["integrity"], "ok");
            assert_eq!(result["damage"], "none");
            assert_eq!(result["journal_mode"], mode);
            assert_eq!(result["page_size"], 4096);
            assert_eq!(result["user_version"], 7);
            assert_eq!(result["schema_tables"], json!(["kv"]));
            assert_eq!(result["missing_tables"], json!(["gone"]));
            assert_eq!(result["rows"], json!({ "kv": 500 }));
            assert_eq!(result["foreign_key_problems"], 0);
            assert_eq!(result["wal_holds_rows"], false);
            assert_eq!(result["holders"], json!([]));
        }
    }

    #[test]
    fn a_hot_wal_is_read_and_stays_as_the_crash_left_it() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::crashed(&path, 100, 150_000);
        let wal_bytes = crate::sqlite::set::size(&Set::at(&path).wal());
        assert!(wal_bytes > 20_000_000, "{wal_bytes}");
        let with_index = check_untouched(&bench, &path);
        fs::remove_file(Set::at(&path).shm()).expect("an index of the WAL");
        let result = check_untouched(&bench, &path);
        assert_eq!(with_index, result);
        assert_eq!(result["integrity"], "ok");
        assert_eq!(result["rows"]["kv"], 150_100);
        assert_eq!(result["wal_bytes"], wal_bytes);
        assert_eq!(result["wal_holds_rows"], true);
        assert_eq!(result["wal_stale"], false, "{}", result["wal_problem"]);
        assert_eq!(result["wal_lost_frames"], 0);
        assert_eq!(testing::rows(&path), 150_100, "the next opener finds all");
    }

    #[test]
    fn a_wal_that_is_only_large_holds_no_rows() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = WAL;", 0);
        let child = Child::with(
            &path,
            &format!("{} PRAGMA wal_checkpoint(FULL);", testing::rows_of(5_000)),
        );
        let live = check_untouched(&bench, &path);
        assert_eq!(live["rows"]["kv"], 5_000);
        assert!(live["wal_frames"].as_u64() > Some(100), "{live}");
        assert_eq!(live["wal_pending_frames"], 0);
        assert_eq!(live["wal_holds_rows"], false);
        assert_eq!(live["holders"][0]["pid"], child.pid());
        child.crash();
        let dead = check_untouched(&bench, &path);
        assert_eq!(dead["wal_frames"], live["wal_frames"]);
        assert_eq!(dead["wal_pending_frames"], 0);
        assert_eq!(dead["wal_holds_rows"], false);
        assert_eq!(dead["wal_stale"], false, "{}", dead["wal_problem"]);
    }

    #[test]
    fn a_database_in_use_is_read_beside_its_writer_who_is_named() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = WAL;", 10);
        let child = Child::with(
            &path,
            &format!(
                "{} BEGIN IMMEDIATE; DELETE FROM kv;",
                testing::rows_of(1_000)
            ),
        );
        let result = check_untouched(&bench, &path);
        assert_eq!(result["rows"]["kv"], 1_010);
        assert_eq!(result["wal_holds_rows"], true);
        let holder = &result["holders"][0];
        assert_eq!(holder["pid"], child.pid());
        assert_eq!(holder["access"], "writer");
        let since: runwright_core::units::Time = holder["since"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a time");
        let age = bench.cx().host.now().milliseconds - since.milliseconds;
        assert!((-2_000..60_000).contains(&age), "started {age} ms ago");
    }

    #[test]
    fn a_connection_of_this_process_keeps_its_locks() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = WAL;", 10);
        let ours = Connection::open(&path).expect("a connection");
        ours.execute_batch(&format!("{} BEGIN IMMEDIATE;", testing::rows_of(10)))
            .expect("a transaction");
        let result = check(&bench, &path).expect("an answer").to_plain();
        assert_eq!(result["rows"]["kv"], 20);
        assert_eq!(result["holders"], json!([]));
        let scan = holders::scan(&Set::at(&path)).expect("a scan");
        assert!(scan.ours.contains(&holders::Access::Writer), "{scan:?}");
        // Who comes and goes beside us must not think that it was the last one.
        Child::with(&path, "SELECT count(*) FROM kv;").release();
        assert!(Set::at(&path).wal().exists());
    }

    #[test]
    fn an_index_that_disagrees_is_told_from_damaged_pages() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        let fresh = || {
            let _ = fs::remove_file(&path);
            testing::database(&path, "", 20_000);
        };
        fresh();
        testing::break_index(&path);
        let result = check_untouched(&bench, &path);
        assert_eq!(result["damage"], "index", "{}", result["integrity"]);
        assert_ne!(result["integrity"], "ok");
        assert_eq!(result["rows"]["kv"], 20_000);

        for zeroed in ["kv", "kv_key"] {
            fresh();
            testing::change_page(&path, testing::leaf(&path, zeroed), |page| page.fill(0));
            let result = check_untouched(&bench, &path);
            assert_eq!(result["damage"], "table", "{}", result["integrity"]);
        }

        fresh();
        let file = fs::File::options().write(true).open(&path).expect("a file");
        file.set_len(4096 * 300).expect("a shorter file");
        let result = check_untouched(&bench, &path);
        assert_eq!(result["damage"], "unreadable", "{}", result["integrity"]);

        fresh();
        testing::change_page(&path, 1, |page| page[100..].fill(0));
        let result = check_untouched(&bench, &path);
        assert_eq!(result["state"], "database");
        assert_eq!(result["damage"], "unreadable", "{result}");

        fresh();
        testing::change_page(&path, 1, |page| page[..100].fill(0xa5));
        let result = check_untouched(&bench, &path);
        assert_eq!(result["state"], "foreign");
        assert_eq!(result["damage"], "unreadable");
        assert!(
            result["integrity"]
                .as_str()
                .is_some_and(|text| text.contains("not a database")),
            "{result}"
        );
    }

    #[test]
    fn what_is_no_database_is_an_answer_and_nothing_is_made() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        let state = |path: &Utf8Path| {
            let result = check_untouched(&bench, path);
            assert_eq!(result["damage"], "unreadable");
            assert_ne!(result["integrity"], "ok");
            (result["exists"].clone(), result["state"].clone())
        };
        assert_eq!(state(&path), (json!(false), json!("missing")));
        assert_eq!(state(&path.join("below")), (json!(false), json!("missing")));
        fs::write(&path, "").expect("a file");
        assert_eq!(state(&path), (json!(true), json!("empty")));
        assert_eq!(state(&path.join("below")), (json!(false), json!("missing")));
        fs::write(&path, "short").expect("a file");
        assert_eq!(state(&path), (json!(true), json!("foreign")));
        fs::create_dir(bench.path("folder")).expect("a folder");
        assert_eq!(
            state(&bench.path("folder")),
            (json!(true), json!("directory"))
        );
        let fifo = bench.path("fifo");
        nix::unistd::mkfifo(fifo.as_std_path(), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        assert_eq!(state(&fifo), (json!(true), json!("special")));
    }

    #[test]
    fn a_wal_without_a_committed_frame_is_not_removed() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = WAL;", 10);
        fs::write(Set::at(&path).wal(), [0x5a; 9_000]).expect("a file");
        let result = check_untouched(&bench, &path);
        assert_eq!(result["rows"]["kv"], 10);
        assert_eq!(result["wal_stale"], true);
        assert_eq!(result["wal_frames"], 0);
    }

    #[test]
    fn an_empty_file_keeps_the_wal_beside_it() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::crashed(&path, 10, 10);
        fs::write(&path, "").expect("an emptied file");
        let result = check_untouched(&bench, &path);
        assert_eq!(result["state"], "empty");
        assert_eq!(result["wal_stale"], true);
        assert_eq!(result["wal_holds_rows"], true);
    }

    #[test]
    fn a_file_that_may_not_be_read_is_an_answer() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "", 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("a mode");
        let step = Check {
            database: path,
            depth: Depth::Full,
            tables: Vec::new(),
            busy_timeout: Span::default(),
        };
        let cx = bench.cx();
        let result = testing::without_privileges(|| step.check(cx)).expect("an answer");
        assert_eq!(result.state, State::Unreadable);
        assert!(result.exists);
    }

    #[test]
    fn a_wal_of_another_database_is_stale() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        for (setup, rows) in [
            ("PRAGMA journal_mode = DELETE;", 10),
            ("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL;", 10),
            ("PRAGMA encoding = 'UTF-16'; PRAGMA journal_mode = WAL;", 10),
            // Nothing in the headers tells, but the pages do not fit together.
            (
                "PRAGMA journal_mode = WAL; CREATE TABLE a (b); CREATE TABLE c (d);",
                5_000,
            ),
        ] {
            testing::crashed(&path, 100, 3_000);
            let other = bench.path("other.db");
            testing::database(&other, setup, rows);
            fs::rename(&other, &path).expect("a replaced file");
            let result = check_untouched(&bench, &path);
            assert_eq!(result["wal_stale"], true, "{setup}: {result}");
            for path in [&path, &Set::at(&path).wal(), &Set::at(&path).shm()] {
                fs::remove_file(path).expect("a file");
            }
        }
    }

    #[test]
    fn frames_behind_a_damaged_one_are_counted_as_lost() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = WAL;", 0);
        let child = Child::with(
            &path,
            &format!(
                "PRAGMA wal_autocheckpoint = 0; {}",
                testing::rows_of(10).repeat(50)
            ),
        );
        child.crash();
        let wal = Set::at(&path).wal();
        let middle = crate::sqlite::set::size(&wal) / 2;
        testing::change_bytes(&wal, middle, 8, |bytes| bytes.fill(0x5a));
        let result = check_untouched(&bench, &path);
        assert_eq!(result["integrity"], "ok", "SQLite notices nothing");
        assert!(result["rows"]["kv"].as_u64() < Some(500));
        assert!(result["wal_lost_frames"].as_u64() > Some(10), "{result}");
    }

    #[test]
    fn a_hot_journal_is_rolled_back_in_a_copy_only() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = DELETE;", 5_000);
        let child = Child::with(
            &path,
            "PRAGMA cache_size = 5; PRAGMA cache_spill = 5; BEGIN; UPDATE kv SET value = 'half-way';",
        );
        child.crash();
        let result = check_untouched(&bench, &path);
        assert_eq!(result["hot_journal"], true);
        assert_eq!(result["integrity"], "ok");
        assert_eq!(result["rows"]["kv"], 5_000);
        assert_eq!(kept(&bench), 0, "the copy is gone");
    }

    #[test]
    fn who_locks_the_database_for_too_long_is_named() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = DELETE;", 10);
        let child = Child::with(&path, "BEGIN EXCLUSIVE;");
        let failure = check(&bench, &path).expect_err("a locked database");
        assert_eq!(failure.class, Class::Timeout);
        let pid = format!("(pid {}, writing", child.pid());
        assert!(failure.message.contains(&pid), "{failure}");
    }

    #[test]
    fn a_check_ends_when_it_is_told_to() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "", 20_000);
        bench.cancel();
        let failure = check(&bench, &path).expect_err("no answer");
        assert_eq!(failure.class, Class::Cancelled);
    }

    #[test]
    fn broken_foreign_keys_are_counted() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(
            &path,
            "PRAGMA foreign_keys = OFF;
             CREATE TABLE child (id INTEGER PRIMARY KEY, kv INTEGER REFERENCES kv);
             INSERT INTO child (kv) VALUES (1), (77), (78);
             CREATE TABLE strange (kv REFERENCES kv (value));",
            10,
        );
        let result = check_untouched(&bench, &path);
        assert_eq!(result["integrity"], "ok");
        assert_eq!(result["foreign_key_problems"], 3);
    }
}
