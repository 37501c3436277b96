//! `sqlite.checkpoint`: folds the WAL back into the database. It loses nothing, so there is nothing to undo.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use camino::Utf8PathBuf;
use runwright_core::{
    kind::{Change, Class, Cx, Description, Effect, Failure, Kind, Look, Step, Touch},
    units::{Bytes, Span},
};
use rusqlite::{Connection, Error, ErrorCode, config::DbConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    blocking, check, existing, failed, five_seconds,
    holders::{self, Access},
    nothing::NothingToUndo,
    open_for_change, own_wal, read,
    set::{self, Found, Set},
    unread, unsigned,
};

pub(super) const KIND: Kind = Kind::of::<Checkpoint>("sqlite.checkpoint");

/// Folds the write-ahead log of a database back into it.
///
/// Fails with class `timeout` when a reader or writer is in the way for longer than `busy_timeout`, and names each: what
/// could be moved until then has been moved, which loses nothing and changes no content. A WAL that belongs to another
/// database is refused: to open that database would replay it. A database that is not in WAL mode has no WAL and is
/// done already.
///
/// ```yaml
/// sqlite.checkpoint: { database: /var/lib/kv/kv.db, mode: truncate, busy_timeout: 5s }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    /// The database file; a link is followed, as SQLite does.
    #[schemars(with = "String")]
    database: Utf8PathBuf,
    /// How far it goes.
    #[serde(default)]
    mode: Mode,
    /// How long to wait for readers and writers.
    #[serde(default = "five_seconds")]
    busy_timeout: Span,
}

/// How far a checkpoint goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Moves what it can without waiting for anybody; what readers still need stays, and `complete` is false.
    Passive,
    /// Waits for the writer and moves everything.
    Full,
    /// As `full`, and waits until no reader needs the log: the next writer begins it anew.
    Restart,
    /// As `restart`, and cuts the file to nothing.
    #[default]
    Truncate,
}

/// What a checkpoint did.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Checkpointed {
    /// Whether somebody was in the way (only `passive` ends well then).
    busy: bool,
    /// The frames in the WAL afterwards.
    log_frames: u64,
    /// How many of them are in the database.
    checkpointed_frames: u64,
    /// Whether all that was in the WAL is in the database now.
    complete: bool,
    /// The size of the WAL before.
    wal_bytes_before: Bytes,
    /// The size of the WAL afterwards; 0 when it is gone.
    wal_bytes_after: Bytes,
    /// `wal`, or `delete` for a database that has no WAL to fold in.
    journal_mode: String,
}

/// The WAL before a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    /// The size of the WAL.
    wal_bytes: Bytes,
    /// The committed frames in it.
    frames: u64,
    /// Those that the database does not have yet.
    pending_frames: u64,
}

impl Step for Checkpoint {
    type Output = Checkpointed;
    type Before = Before;
    type Undo = NothingToUndo;
    const EFFECT: Effect = Effect::Change;

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::changes(format!("file:{}", self.database))]
    }

    fn describe(&self) -> Description {
        Description::new(match self.mode {
            Mode::Truncate => format!("truncate the WAL of `{}`", self.database),
            mode => format!("checkpoint `{}` ({})", self.database, mode.word()),
        })
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Checkpointed, Before>, Failure> {
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.find(&cx)).await
    }

    fn undo(&self, _: &Before) -> Option<NothingToUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, before: Option<&Before>) -> Result<Checkpointed, Failure> {
        let wal_bytes_before = before.map(|before| before.wal_bytes);
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.checkpoint(&cx, wal_bytes_before)).await
    }
}

impl Checkpoint {
    fn find(&self, cx: &Cx) -> Result<Look<Checkpointed, Before>, Failure> {
        let set = Set::locate(cx, &self.database);
        let what = format!("checkpoint `{}`", set.main);
        let found = existing(&set, &what)?;
        let scan = holders::scan(&set)?;
        let wal = own_wal(cx, &set, &found, &scan, &what)?;
        if wal.bytes == 0 {
            return Ok(Look::Done(nothing_to_do(&found)));
        }
        let (frames, pending_frames) = if scan.wal_in_use {
            let reader = read(cx, &set, &found, &scan, self.busy_timeout.to_std())?;
            let live = check::live_frames(&reader);
            let (frames, moved) = live.map_err(|error| failed(cx, &set, &what, &error))?;
            (frames, frames.saturating_sub(moved))
        } else {
            let pending = wal.pending(&set, &|| cx.host.cancelled());
            (
                wal.frames,
                pending.map_err(|error| unread(&set.wal(), &error))?,
            )
        };
        let wal_bytes = Bytes(wal.bytes);
        Ok(Look::Needed(Change {
            before: Before {
                wal_bytes,
                frames,
                pending_frames,
            },
            summary: format!("{wal_bytes} of WAL, {pending_frames} of {frames} frames to move"),
            diff: None,
        }))
    }

    fn checkpoint(&self, cx: &Cx, before: Option<Bytes>) -> Result<Checkpointed, Failure> {
        let set = Set::locate(cx, &self.database);
        let what = format!("checkpoint `{}`", set.main);
        let found = existing(&set, &what)?;
        // Opening the database would replay a WAL that is not its own.
        let wal = own_wal(cx, &set, &found, &holders::scan(&set)?, &what)?;
        if wal.bytes == 0 {
            return Ok(Checkpointed {
                wal_bytes_before: before.unwrap_or_default(),
                ..nothing_to_do(&found)
            });
        }
        let sql_failed = |error: Error| failed(cx, &set, &what, &error);
        let patience = self.busy_timeout.to_std();
        let connection = open_for_change(cx, &set, patience).map_err(sql_failed)?;
        // What the last to close folds in by itself is not what was asked for, unless all of it was.
        let keep_wal = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        connection
            .set_db_config(keep_wal, true)
            .map_err(sql_failed)?;
        let columns = self
            .run(cx, &connection, patience)
            .map_err(|error| self.blocked_or(cx, &set, &what, &error))?;
        let wal_bytes_after = Bytes(set::size(&set.wal()));
        let done = Checkpointed {
            busy: columns.busy,
            log_frames: columns.frames,
            checkpointed_frames: columns.moved,
            complete: !columns.busy && columns.frames == columns.moved,
            wal_bytes_before: before.unwrap_or(Bytes(wal.bytes)),
            wal_bytes_after,
            journal_mode: journal_mode(&found).to_owned(),
        };
        let whole = done.complete && (self.mode != Mode::Truncate || wal_bytes_after.0 == 0);
        if self.mode == Mode::Passive || (whole && self.mode != Mode::Truncate) {
            return Ok(done);
        }
        if whole {
            connection
                .set_db_config(keep_wal, false)
                .map_err(sql_failed)?;
            return Ok(done);
        }
        Err(self.blocked(cx, &set, &what, &columns))
    }

    /// Runs the checkpoint until it is through, or has waited for as long as it may.
    fn run(&self, cx: &Cx, connection: &Connection, patience: Duration) -> Result<Columns, Error> {
        let since = Instant::now();
        loop {
            let columns = interruptible(cx, connection, || {
                let pragma = format!("PRAGMA wal_checkpoint({})", self.mode.word());
                connection.query_row(&pragma, [], |row| {
                    Ok(Columns {
                        busy: row.get(0)?,
                        frames: unsigned(row, 1)?,
                        moved: unsigned(row, 2)?,
                    })
                })
            })?;
            // SQLite waits for readers and writers, but not for another checkpoint.
            let again = columns.busy && self.mode != Mode::Passive && since.elapsed() < patience;
            if !again || cx.host.cancelled() {
                return Ok(columns);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn blocked_or(&self, cx: &Cx, set: &Set, what: &str, error: &Error) -> Failure {
        let busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        if busy && !cx.host.cancelled() {
            let columns = Columns {
                busy: true,
                frames: 0,
                moved: 0,
            };
            return self.blocked(cx, set, what, &columns).because(error);
        }
        failed(cx, set, what, error)
    }

    fn blocked(&self, cx: &Cx, set: &Set, what: &str, columns: &Columns) -> Failure {
        if cx.host.cancelled() {
            return Failure::new(Class::Cancelled, format!("{what}: told to stop"));
        }
        let who = holders::in_the_way(cx, set, Access::Reader);
        let waited = self.busy_timeout;
        let moved = if columns.frames == 0 {
            String::new()
        } else {
            format!(
                " ({} of {} frames are in the database)",
                columns.moved, columns.frames
            )
        };
        Failure::new(
            Class::Timeout,
            format!("{what}: after {waited} the WAL is still needed by {who}{moved}"),
        )
        .hint("let them finish their transaction or end them, then try again")
    }
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Mode::Passive => "passive",
            Mode::Full => "full",
            Mode::Restart => "restart",
            Mode::Truncate => "truncate",
        }
    }
}

/// The three columns of `PRAGMA wal_checkpoint`: its return code is always success.
struct Columns {
    busy: bool,
    frames: u64,
    moved: u64,
}

fn nothing_to_do(found: &Found) -> Checkpointed {
    Checkpointed {
        busy: false,
        log_frames: 0,
        checkpointed_frames: 0,
        complete: true,
        wal_bytes_before: Bytes(0),
        wal_bytes_after: Bytes(0),
        journal_mode: journal_mode(found).to_owned(),
    }
}

fn journal_mode(found: &Found) -> &'static str {
    match &found.header {
        Some(header) if header.is_wal() => "wal",
        _ => "delete",
    }
}

/// Runs `work`, interrupting SQLite when the step is to end: while it copies pages it asks nobody.
fn interruptible<T>(cx: &Cx, connection: &Connection, work: impl FnOnce() -> T) -> T {
    let handle = connection.get_interrupt_handle();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                if cx.host.cancelled() {
                    handle.interrupt();
                }
                thread::park_timeout(Duration::from_millis(20));
            }
        });
        let result = work();
        over.store(true, Ordering::SeqCst);
        watch.thread().unpark();
        result
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use camino::Utf8Path;
    use runwright_core::{
        kind::{Looked, UndoneBy},
        value::Value,
    };
    use serde_json::json;

    use super::*;
    use crate::{
        sqlite::testing::{self, Child},
        testing::Bench,
    };

    fn checkpoint(bench: &Bench, mode: &str) -> Result<Value, Failure> {
        let arguments =
            json!({ "database": bench.path("kv.db"), "mode": mode, "busy_timeout": "100ms" });
        let (result, undo) = bench.run(KIND, arguments)?;
        assert_eq!(undo, None, "there is nothing to undo");
        Ok(result)
    }

    fn wal_database(bench: &Bench) -> Utf8PathBuf {
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = WAL;", 0);
        path
    }

    fn big_wal(path: &Utf8Path) -> Child {
        let script = format!(
            "PRAGMA wal_autocheckpoint = 0; {}",
            testing::rows_of(10_000)
        );
        Child::with(path, &script)
    }

    #[test]
    fn it_counts_as_undone_by_itself() {
        assert_eq!(KIND.undone, UndoneBy::Itself);
    }

    #[test]
    fn a_wal_left_by_a_crash_is_folded_in_whole() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::crashed(&path, 10, 150_000);
        let look = bench
            .look(KIND, json!({ "database": path }))
            .expect("a look");
        let Looked::Needed { before, .. } = look else {
            panic!("{look:?}");
        };
        let before = before.to_plain();
        assert!(before["wal_bytes"].as_u64() > Some(20_000_000));
        assert!(before["pending_frames"].as_u64() > Some(1_000));

        let result = checkpoint(&bench, "truncate")
            .expect("a checkpoint")
            .to_plain();
        assert_eq!(result["busy"], false);
        assert_eq!(result["log_frames"], 0);
        assert_eq!(result["checkpointed_frames"], 0);
        assert_eq!(result["wal_bytes_before"], before["wal_bytes"]);
        assert_eq!(result["wal_bytes_after"], 0);
        assert_eq!(set::size(&Set::at(&path).wal()), 0);
        assert_eq!(testing::rows(&path), 150_010);
    }

    #[test]
    fn a_wal_in_use_is_folded_in_beside_its_owner() {
        let bench = Bench::new();
        let path = wal_database(&bench);
        let child = big_wal(&path);
        let result = checkpoint(&bench, "truncate")
            .expect("a checkpoint")
            .to_plain();
        assert_eq!(result["complete"], true);
        assert_eq!(set::size(&Set::at(&path).wal()), 0);
        assert!(Set::at(&path).shm().exists(), "its owner still uses it");
        child.release();
        assert_eq!(testing::rows(&path), 10_000);
    }

    #[test]
    fn a_reader_blocks_the_checkpoint_and_is_named() {
        let bench = Bench::new();
        let path = wal_database(&bench);
        let reader = Child::with(&path, "BEGIN; SELECT count(*) FROM kv;");
        let writer = big_wal(&path);
        let wal_bytes = set::size(&Set::at(&path).wal());
        let failure = checkpoint(&bench, "truncate").expect_err("a reader in the way");
        assert_eq!(failure.class, Class::Timeout);
        let named = format!("(pid {}, reading, running since ", reader.pid());
        assert!(failure.message.contains(&named), "{failure}");
        let idle = format!("(pid {}", writer.pid());
        assert!(!failure.message.contains(&idle), "{failure}");
        assert_eq!(set::size(&Set::at(&path).wal()), wal_bytes);
        reader.release();
        checkpoint(&bench, "truncate").expect("a checkpoint");
    }

    #[test]
    fn a_writer_blocks_the_checkpoint_and_is_named() {
        let bench = Bench::new();
        let path = wal_database(&bench);
        drop(big_wal(&path));
        let writer = Child::with(&path, "BEGIN IMMEDIATE; DELETE FROM kv;");
        for mode in ["full", "restart", "truncate"] {
            let failure = checkpoint(&bench, mode).expect_err("a writer in the way");
            assert_eq!(failure.class, Class::Timeout);
            let named = format!("(pid {}, writing", writer.pid());
            assert!(failure.message.contains(&named), "{failure}");
        }
    }

    #[test]
    fn a_passive_one_says_what_it_left() {
        let bench = Bench::new();
        let path = wal_database(&bench);
        let reader = Child::with(&path, "BEGIN; SELECT count(*) FROM kv;");
        let _writer = big_wal(&path);
        let result = checkpoint(&bench, "passive")
            .expect("an attempt")
            .to_plain();
        assert_eq!(result["complete"], false);
        assert!(result["log_frames"].as_u64() > result["checkpointed_frames"].as_u64());
        reader.release();
        let result = checkpoint(&bench, "passive")
            .expect("a checkpoint")
            .to_plain();
        assert_eq!(result["complete"], true);
    }

    #[test]
    fn without_a_wal_it_is_done_and_changes_nothing() {
        for (mode, setup) in [("delete", ""), ("wal", "PRAGMA journal_mode = WAL;")] {
            let bench = Bench::new();
            let path = bench.path("kv.db");
            testing::database(&path, setup, 10);
            let before = testing::folder_of(&path);
            let look = bench
                .look(KIND, json!({ "database": path }))
                .expect("a look");
            let Looked::Done(result) = look else {
                panic!("{look:?}");
            };
            assert_eq!(result.get("journal_mode"), Some(&Value::text(mode)));
            assert_eq!(testing::folder_of(&path), before);
        }
    }

    #[test]
    fn a_missing_database_is_refused_and_not_made() {
        let bench = Bench::new();
        let failure = checkpoint(&bench, "truncate").expect_err("no database");
        assert_eq!(failure.class, Class::Refused);
        assert!(!bench.path("kv.db").exists());
    }

    #[test]
    fn a_wal_of_another_database_is_not_replayed() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::crashed(&path, 10, 1_000);
        let other = bench.path("other.db");
        testing::database(&other, "", 5);
        fs::rename(&other, &path).expect("a replaced file");
        let before = testing::folder_of(&path);
        let failure = checkpoint(&bench, "truncate").expect_err("a stale WAL");
        assert_eq!(failure.class, Class::Refused);
        assert!(failure.message.contains("not in WAL mode"), "{failure}");
        assert_eq!(testing::folder_of(&path), before);
    }

    #[test]
    fn waiting_ends_when_it_is_told_to() {
        let bench = Bench::new();
        let path = wal_database(&bench);
        let _reader = Child::with(&path, "BEGIN; SELECT count(*) FROM kv;");
        let _writer = big_wal(&path);
        let since = Instant::now();
        let failure = thread::scope(|scope| {
            let step = scope.spawn(|| {
                let arguments = json!({ "database": path, "busy_timeout": "10m" });
                bench.run(KIND, arguments).expect_err("a reader in the way")
            });
            let waits = || {
                let scan = holders::scan(&Set::at(&path)).expect("a scan");
                scan.ours.contains(&Access::Checkpointer)
            };
            while !waits() && since.elapsed() < Duration::from_secs(20) {
                thread::yield_now();
            }
            bench.cancel();
            step.join().expect("the step did not panic")
        });
        assert_eq!(failure.class, Class::Cancelled);
        assert!(since.elapsed() < Duration::from_secs(60));
    }
}
