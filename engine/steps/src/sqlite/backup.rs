//! `sqlite.backup`: a sound copy of a database in use. Its undo removes the copy, if it is still as it was made.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    thread,
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{
        Change, Class, Cx, Description, Digest, Effect, Failure, Hasher, Kind, Look, Progress,
        Step, Touch, Undo, UndoLook,
    },
    units::{Bytes, Span},
};
use rusqlite::{
    Connection, Error, OpenFlags,
    backup::{Backup as Copying, StepResult},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    blocking, check, existing, failed, five_seconds, holders,
    integrity::{self, Damage, Depth},
    mark::{self, Mark},
    own_wal, read,
    reader::Reader,
    set::{self, Found, SIDECARS, Set},
    unread, unsigned,
};

pub(super) const KIND: Kind = Kind::of::<Backup>("sqlite.backup");

/// How many pages are copied between two looks at whether to stop.
const PAGES_A_STEP: i32 = 1_000;

/// Copies a database, also one in use, into a file that is complete and checked before it gets its name.
///
/// The copy is one moment of the database: its rows are counted in both and must agree, and it must pass an integrity
/// check. In WAL mode writers go on meanwhile; else they wait until it is copied. Undo removes the copy, unless it was
/// changed since; one that was overwritten is kept beside it for 7 days, and comes back.
///
/// ```yaml
/// sqlite.backup: { database: /var/lib/kv/kv.db, to: "/var/backups/kv-{{ run.id }}.db" }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Backup {
    /// The database file; a link is followed, as SQLite does.
    #[schemars(with = "String")]
    database: Utf8PathBuf,
    /// The file to make; its folder must be there. It gets mode and owner of the database.
    #[schemars(with = "String")]
    to: Utf8PathBuf,
    /// Whether a file that is there already may be replaced.
    #[serde(default)]
    overwrite: bool,
    /// How long to wait for somebody who holds the database exclusively.
    #[serde(default = "five_seconds")]
    busy_timeout: Span,
}

/// The copy that was made.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
struct BackedUp {
    /// Where it lies.
    #[schemars(with = "String")]
    path: Utf8PathBuf,
    /// Its size.
    bytes: Bytes,
    /// Its pages.
    pages: u64,
    /// The rows of all tables together.
    rows: u64,
    /// The rows of each table.
    tables: BTreeMap<String, u64>,
    /// `ok`.
    integrity: String,
    /// The SHA-256 of the file. Where a secret stands in the file it is `keyed:…`: the same for the same content within
    /// the run, and no use outside of it.
    digest: String,
}

/// What there was before the copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    /// Whether a file lies where the copy goes.
    exists: bool,
    /// The size of the database, with its WAL.
    bytes: Bytes,
    /// Where the copy goes.
    to: Utf8PathBuf,
    /// Where it is made.
    part: Utf8PathBuf,
    /// Where a file that is overwritten is kept.
    aside: Option<Utf8PathBuf>,
    /// Run and step, as noted on the copy.
    mark: String,
}

impl Step for Backup {
    type Output = BackedUp;
    type Before = Before;
    type Undo = RemoveBackup;
    const EFFECT: Effect = Effect::Change;

    fn touches(&self) -> Vec<Touch> {
        vec![
            Touch::reads(format!("file:{}", self.database)),
            Touch::changes(format!("file:{}", self.to)),
        ]
    }

    fn describe(&self) -> Description {
        Description::new(format!("copy `{}` to `{}`", self.database, self.to))
    }

    async fn look(&self, cx: &Cx) -> Result<Look<BackedUp, Before>, Failure> {
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.find(&cx)).await
    }

    fn undo(&self, before: &Before) -> Option<RemoveBackup> {
        Some(RemoveBackup {
            version: 1,
            to: before.to.clone(),
            part: before.part.clone(),
            aside: before.aside.clone(),
            mark: before.mark.clone(),
        })
    }

    async fn perform(&self, cx: &Cx, before: Option<&Before>) -> Result<BackedUp, Failure> {
        let Some(before) = before.cloned() else {
            return Err(Failure::internal("back up without having looked"));
        };
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.back_up(&cx, &before)).await
    }
}

impl Backup {
    fn find(&self, cx: &Cx) -> Result<Look<BackedUp, Before>, Failure> {
        let set = Set::locate(cx, &self.database);
        let what = self.what(&set);
        let found = existing(&set, &what)?;
        own_wal(cx, &set, &found, &holders::scan(&set)?, &what)?;
        let to = cx.children.cwd.join(&self.to);
        let mark = format!("{}/{}", cx.run, cx.step);
        if let Some(done) = made(cx, &to, &mark)? {
            return Ok(Look::Done(done));
        }
        let exists = fs::symlink_metadata(&to).is_ok();
        refuse_target(&what, &set, &to)?;
        if exists && !self.overwrite {
            return Err(Failure::refused(format!("{what}: `{to}` is there already"))
                .hint("choose another name, or say `overwrite: true`"));
        }
        let bytes = Bytes(found.bytes + set::size(&set.wal()));
        let before = Before {
            exists,
            bytes,
            part: Utf8PathBuf::from(format!("{to}.{}.part", cx.run)),
            aside: exists.then(|| Utf8PathBuf::from(format!("{to}.{}.old", cx.run))),
            to,
            mark,
        };
        Ok(Look::Needed(Change {
            summary: format!(
                "{} `{}`, up to {bytes}",
                if exists { "replace" } else { "make" },
                before.to
            ),
            before,
            diff: None,
        }))
    }

    fn back_up(&self, cx: &Cx, before: &Before) -> Result<BackedUp, Failure> {
        if let Some(done) = made(cx, &before.to, &before.mark)? {
            return Ok(done);
        }
        let set = Set::locate(cx, &self.database);
        let what = self.what(&set);
        refuse_target(&what, &set, &before.to)?;
        let io_failed = |error: &io::Error| Failure::internal(what.clone()).because(error);
        if !before.exists && before.to.exists() {
            return Err(Failure::refused(format!(
                "{what}: `{}` was put there meanwhile",
                before.to
            )));
        }
        let part = Part::new(&before.part).map_err(|error| io_failed(&error))?;
        let rows = self.copy(cx, &set, &what, &part)?;
        let made = verify(cx, &part, &what, &rows)?;
        let finish = || -> io::Result<()> {
            take_over_owner(&set.main, &part.path)?;
            let mark = Mark {
                step: before.mark.clone(),
                digest: Digest(made.digest.clone()),
            };
            // Without extended attributes the copy is good all the same; only its undo will ask a person.
            let _ = mark.put(&part.path);
            fs::File::open(&part.path)?.sync_all()?;
            if let Some(aside) = &before.aside
                && before.to.exists()
            {
                mark::rename_aside(&before.to, aside)?;
            }
            mark::rename_aside(&part.path, &before.to)?;
            mark::sync_folder(&before.to)
        };
        finish().map_err(|error| io_failed(&error))?;
        Ok(BackedUp {
            path: before.to.clone(),
            ..made
        })
    }

    fn what(&self, set: &Set) -> String {
        format!("back up `{}` to `{}`", set.main, self.to)
    }

    /// Copies the database into `part`; returns the rows of each table in the moment that was copied.
    fn copy(
        &self,
        cx: &Cx,
        set: &Set,
        what: &str,
        part: &Part,
    ) -> Result<BTreeMap<String, u64>, Failure> {
        for _ in 0..3 {
            let found = existing(set, what)?;
            let scan = holders::scan(set)?;
            own_wal(cx, set, &found, &scan, what)?;
            let patience = self.busy_timeout.to_std();
            let reader = read(cx, set, &found, &scan, patience)?;
            let rows = copy_moment(cx, &reader, &part.path, patience)
                .map_err(|error| failed(cx, set, what, &error))?;
            if reader.undisturbed() {
                return Ok(rows);
            }
            part.empty()
                .map_err(|error| Failure::internal(what).because(&error))?;
        }
        Err(Failure::new(
            Class::Transport,
            format!("{what}: it was changed each of three times while it was copied"),
        ))
    }
}

/// Copies what a reader sees into the file at `to`, within one read transaction.
fn copy_moment(
    cx: &Cx,
    reader: &Reader,
    to: &Utf8Path,
    patience: Duration,
) -> Result<BTreeMap<String, u64>, Error> {
    reader.execute_batch("BEGIN")?;
    let rows = count_all(reader)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(to, flags)?;
    // The file is synced as a whole before it gets its name.
    target.pragma_update(None, "synchronous", "OFF")?;
    let copying = Copying::new(reader, &mut target)?;
    let mut moved = Instant::now();
    loop {
        let step = copying.step(PAGES_A_STEP)?;
        let progress = copying.progress();
        let pages = |count: i32| u64::try_from(count).unwrap_or(0);
        cx.host.progress(Progress {
            done: pages(progress.pagecount - progress.remaining),
            total: Some(pages(progress.pagecount)),
            unit: "pages".to_owned(),
        });
        if cx.host.cancelled() {
            return Err(sqlite_error(rusqlite::ffi::SQLITE_INTERRUPT));
        }
        match step {
            StepResult::Done => break,
            StepResult::More => moved = Instant::now(),
            _ if moved.elapsed() > patience => {
                return Err(sqlite_error(rusqlite::ffi::SQLITE_BUSY));
            }
            _ => thread::sleep(Duration::from_millis(10)),
        }
    }
    drop(copying);
    reader.execute_batch("COMMIT")?;
    target.close().map_err(|(_, error)| error)?;
    Ok(rows)
}

/// Checks the copy, and that it has the rows of the database.
fn verify(
    cx: &Cx,
    part: &Part,
    what: &str,
    rows: &BTreeMap<String, u64>,
) -> Result<BackedUp, Failure> {
    let made = judge(cx, &part.path, cx.host.hasher())?;
    if made.integrity != "ok" {
        return Err(Failure::new(
            Class::Expect,
            format!("{what}: the copy is not sound: {}", made.integrity),
        )
        .hint("the database itself is damaged; sqlite.check tells how deep"));
    }
    if made.tables != *rows {
        return Err(Failure::new(
            Class::Expect,
            format!(
                "{what}: the copy has other rows ({:?}) than the database ({rows:?})",
                made.tables
            ),
        ));
    }
    Ok(made)
}

/// Returns what the copy at `path` is like, with the digest that `hasher` makes.
fn judge(cx: &Cx, path: &Utf8Path, hasher: Box<dyn Hasher>) -> Result<BackedUp, Failure> {
    let set = Set::at(path);
    let what = format!("check the copy `{path}`");
    let found: Found = existing(&set, &what)?;
    let scan = holders::scan(&set)?;
    let reader = read(cx, &set, &found, &scan, Duration::ZERO)?;
    let sql_failed = |error: Error| failed(cx, &set, &what, &error);
    let checked = integrity::examine(&reader, Depth::Full).map_err(sql_failed)?;
    let sound = checked.damage == Damage::None;
    let tables = if sound {
        count_all(&reader).map_err(sql_failed)?
    } else {
        BTreeMap::new()
    };
    let pages = reader
        .pragma_query_value(None, "page_count", |row| unsigned(row, 0))
        .map_err(sql_failed)?;
    drop(reader);
    let digest = mark::digest(path, hasher, &|| cx.host.cancelled())
        .map_err(|error| unread(path, &error))?;
    Ok(BackedUp {
        path: path.to_owned(),
        bytes: Bytes(found.bytes),
        pages,
        rows: tables.values().sum(),
        tables,
        integrity: checked.text,
        digest: digest.0,
    })
}

/// Returns the copy at `to`, if this step has made it and it is still as it was made.
fn made(cx: &Cx, to: &Utf8Path, mark: &str) -> Result<Option<BackedUp>, Failure> {
    let noted = Mark::of(to).map_err(|error| unread(to, &error))?;
    match noted {
        Some(noted) if noted.step == mark => {
            let hasher = cx.host.hasher_like(&noted.digest);
            let made = judge(cx, to, hasher.map_err(|error| unread(to, &error))?)?;
            Ok((made.digest == noted.digest.0).then_some(made))
        }
        _ => Ok(None),
    }
}

/// Refuses a target that is no plain file, is the database itself, or has a WAL or journal of another database beside it.
fn refuse_target(what: &str, set: &Set, to: &Utf8Path) -> Result<(), Failure> {
    if to.canonicalize_utf8().is_ok_and(|to| to == set.main) {
        return Err(Failure::refused(format!("{what}: that is the same file")));
    }
    match fs::symlink_metadata(to) {
        Ok(metadata) if !metadata.is_file() => {
            return Err(Failure::refused(format!("{what}: `{to}` is no plain file")));
        }
        _ => {}
    }
    let target = Set::at(to);
    for ending in SIDECARS {
        let beside = target.sidecar(ending);
        if set::size(&beside) > 0 {
            return Err(Failure::refused(format!(
                "{what}: `{beside}` lies there, and SQLite would take it for the copy's own"
            ))
            .hint("see with sqlite.check what it belongs to, and move it away together with its database"));
        }
    }
    Ok(())
}

/// Returns the rows of each table that has pages of its own (a virtual one keeps its rows in such).
fn count_all(connection: &Connection) -> Result<BTreeMap<String, u64>, Error> {
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND substr(name, 1, 7) <> 'sqlite_'",
    )?;
    let names: Vec<String> = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    names
        .into_iter()
        .map(|name| Ok((name.clone(), check::count_rows(connection, &name)?)))
        .collect()
}

fn sqlite_error(code: i32) -> Error {
    Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
}

/// Gives the file at `to` the mode and, where that is another, the owner of the one at `from`.
pub(super) fn take_over_owner(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    let (wanted, now) = (fs::metadata(from)?, fs::metadata(to)?);
    if (wanted.uid(), wanted.gid()) != (now.uid(), now.gid()) {
        chown(to, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    fs::set_permissions(to, fs::Permissions::from_mode(wanted.mode() & 0o7777))
}

/// A file that is being made; removed, with what SQLite puts beside it, unless it got its name.
struct Part {
    path: Utf8PathBuf,
}

impl Part {
    fn new(path: &Utf8Path) -> io::Result<Part> {
        let part = Part {
            path: path.to_owned(),
        };
        part.empty()?;
        Ok(part)
    }

    /// Begins anew, with nothing that an earlier attempt has left.
    fn empty(&self) -> io::Result<()> {
        remove_with_sidecars(&self.path)?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)?;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // What can't be removed now is removed by the undo, or by the next attempt.
        let _ = remove_with_sidecars(&self.path);
    }
}

fn remove_with_sidecars(path: &Utf8Path) -> io::Result<()> {
    let set = Set::at(path);
    for path in SIDECARS
        .map(|ending| set.sidecar(ending))
        .iter()
        .chain([&set.main])
    {
        remove(path)?;
    }
    Ok(())
}

fn remove(path: &Utf8Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a copy, and puts back what it has replaced.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RemoveBackup {
    version: u8,
    to: Utf8PathBuf,
    part: Utf8PathBuf,
    aside: Option<Utf8PathBuf>,
    mark: String,
}

impl Undo for RemoveBackup {
    fn describe(&self) -> String {
        match &self.aside {
            None => format!("remove `{}`", self.to),
            Some(_) => format!("put back `{}` as it was", self.to),
        }
    }

    fn lapses(&self) -> Option<Span> {
        self.aside
            .as_ref()
            .map(|_| Span::from_seconds(7 * 24 * 3600))
    }

    async fn look(&self, cx: &Cx) -> Result<UndoLook, Failure> {
        let (undo, cx) = (self.clone(), cx.clone());
        blocking(move || undo.find(&cx)).await
    }

    async fn perform(&self, cx: &Cx) -> Result<(), Failure> {
        let (undo, cx) = (self.clone(), cx.clone());
        blocking(move || undo.put_back(&cx)).await
    }

    async fn release(&self, _: &Cx) -> Result<(), Failure> {
        match &self.aside {
            None => Ok(()),
            Some(aside) => remove(aside).map_err(|error| self.failed(&error)),
        }
    }
}

impl RemoveBackup {
    fn find(&self, cx: &Cx) -> Result<UndoLook, Failure> {
        let aside = self.aside.as_ref().is_some_and(|aside| aside.exists());
        if !self.to.exists() {
            return Ok(match (&self.aside, aside || self.part.exists()) {
                (_, true) => UndoLook::Needed,
                (None, false) => UndoLook::Done,
                (Some(aside), false) => UndoLook::Lapsed(format!("`{aside}` is gone")),
            });
        }
        let noted = Mark::of(&self.to).map_err(|error| unread(&self.to, &error))?;
        let Some(noted) = noted.filter(|noted| noted.step == self.mark) else {
            return Ok(match &self.aside {
                Some(_) if !aside && self.part.exists() => UndoLook::Needed,
                Some(_) if !aside => UndoLook::Done,
                _ => UndoLook::Dirty(format!(
                    "`{}` does not say that it is the copy that this run made",
                    self.to
                )),
            });
        };
        let hasher = match cx.host.hasher_like(&noted.digest) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(UndoLook::Lapsed(format!(
                    "whether `{}` is still as it was made can't be told: {error}",
                    self.to
                )));
            }
            other => other.map_err(|error| unread(&self.to, &error))?,
        };
        let now = mark::digest(&self.to, hasher, &|| cx.host.cancelled());
        let now = now.map_err(|error| unread(&self.to, &error))?;
        if now != noted.digest || set::size(&Set::at(&self.to).wal()) > 0 {
            return Ok(UndoLook::Dirty(format!(
                "`{}` was changed since it was made",
                self.to
            )));
        }
        Ok(match &self.aside {
            Some(path) if !aside => UndoLook::Lapsed(format!("`{path}` is gone")),
            _ => UndoLook::Needed,
        })
    }

    fn put_back(&self, cx: &Cx) -> Result<(), Failure> {
        remove_with_sidecars(&self.part).map_err(|error| self.failed(&error))?;
        // Only what the look tells to be ours is touched, also when this is called again.
        if self.find(cx)? != UndoLook::Needed {
            return Ok(());
        }
        holders::nobody(&Set::at(&self.to), &self.describe())?;
        let done = match &self.aside {
            Some(aside) => fs::rename(aside, &self.to),
            None => remove(&self.to),
        };
        done.and_then(|()| mark::sync_folder(&self.to))
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::internal(self.describe()).because(error)
    }
}

#[cfg(test)]
mod tests {
    use runwright_core::{
        kind::{Looked, UndoRecord},
        value::Value,
    };
    use serde_json::json;

    use super::*;
    use crate::{
        sqlite::testing::{self, Child},
        testing::Bench,
    };

    fn back_up(bench: &Bench, overwrite: bool) -> Result<(Value, Option<UndoRecord>), Failure> {
        bench.run(KIND, arguments(bench, overwrite))
    }

    fn arguments(bench: &Bench, overwrite: bool) -> serde_json::Value {
        json!({
            "database": bench.path("kv.db"), "to": bench.path("copy.db"), "overwrite": overwrite,
            "busy_timeout": "20s"
        })
    }

    fn undo(bench: &Bench, record: Option<UndoRecord>) -> UndoLook {
        bench
            .undo(KIND, &record.expect("an undo"))
            .expect("an undo that works")
    }

    #[test]
    fn a_database_that_is_written_all_the_time_is_copied_in_one_moment() {
        for setup in [
            "PRAGMA journal_mode = WAL;",
            "PRAGMA journal_mode = DELETE;",
        ] {
            let bench = Bench::new();
            let path = bench.path("kv.db");
            testing::database(
                &path,
                &format!(
                    "{setup} CREATE TABLE twin (id INTEGER PRIMARY KEY, key TEXT, value TEXT);"
                ),
                5_000,
            );
            let writer = Child::repeating(
                &path,
                "INSERT INTO twin SELECT * FROM kv;",
                "BEGIN IMMEDIATE; INSERT INTO kv (key) VALUES ('x'); INSERT INTO twin (key) VALUES ('x'); COMMIT;",
            );
            let (result, record) = back_up(&bench, false).expect("a copy");
            let result = result.to_plain();
            writer.release();
            assert_eq!(result["integrity"], "ok");
            assert_eq!(result["tables"]["kv"], result["tables"]["twin"]);
            assert!(result["rows"].as_u64() >= Some(10_000));
            let copy = bench.path("copy.db");
            assert_eq!(result["bytes"], set::size(&copy));
            let digest = Digest::of(&fs::read(&copy).expect("a copy"));
            assert_eq!(result["digest"], digest.0);
            let named: Vec<String> = testing::folder_of(&copy).into_keys().collect();
            assert!(
                named.iter().all(|name| !name.contains("copy.db.")),
                "{named:?}"
            );

            assert_eq!(undo(&bench, record), UndoLook::Needed);
            assert!(!copy.exists());
        }
    }

    #[test]
    fn the_wal_of_a_crash_is_copied_and_left_alone() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::crashed(&path, 10, 2_000);
        let mut before = testing::folder_of(&path);
        let (result, _) = back_up(&bench, false).expect("a copy");
        assert_eq!(result.to_plain()["rows"], 2_010);
        let mut after = testing::folder_of(&path);
        after.remove("copy.db").expect("a copy");
        before.remove("copy.db");
        assert_eq!(after, before);
    }

    #[test]
    fn a_copy_that_was_made_already_is_done_and_one_that_is_not_ours_is_refused() {
        let bench = Bench::new();
        testing::database(&bench.path("kv.db"), "", 100);
        let (made, _) = back_up(&bench, false).expect("a copy");
        let look = bench.look(KIND, arguments(&bench, false)).expect("a look");
        assert_eq!(look, Looked::Done(made));

        fs::write(bench.path("copy.db"), "of somebody else").expect("a file");
        let failure = back_up(&bench, false).expect_err("a file in the way");
        assert_eq!(failure.class, Class::Refused);
        let content = fs::read(bench.path("copy.db")).expect("a file");
        assert_eq!(content, b"of somebody else");
    }

    #[test]
    fn a_copy_that_was_written_to_is_not_removed() {
        let bench = Bench::new();
        testing::database(&bench.path("kv.db"), "", 100);
        let (_, record) = back_up(&bench, false).expect("a copy");
        let connection = Connection::open(bench.path("copy.db")).expect("a connection");
        connection.execute("DELETE FROM kv", []).expect("a change");
        drop(connection);
        let look = undo(&bench, record);
        assert!(matches!(look, UndoLook::Dirty(_)), "{look:?}");
        assert!(bench.path("copy.db").exists());
    }

    #[test]
    fn a_keyed_copy_is_found_again_and_removed_and_without_its_key_it_is_left() {
        let bench = Bench::new();
        testing::database(&bench.path("kv.db"), "", 100);
        let copy = bench.path("copy.db");
        bench.key_digests(true);
        let (made, record) = back_up(&bench, false).expect("a copy");
        let plain = Digest::of(&fs::read(&copy).expect("a copy"));
        let told = made.to_stored().to_string();
        assert!(
            told.contains("keyed:") && !told.contains(&plain.0),
            "{told}"
        );
        bench.key_digests(false);
        let look = bench.look(KIND, arguments(&bench, false)).expect("a look");
        assert_eq!(look, Looked::Done(made));
        assert_eq!(undo(&bench, record), UndoLook::Needed);
        assert!(!copy.exists());

        bench.key_digests(true);
        let (_, record) = back_up(&bench, false).expect("a copy");
        bench.lose_keys();
        let look = undo(&bench, record);
        assert!(matches!(look, UndoLook::Lapsed(_)), "{look:?}");
        assert!(copy.exists());
    }

    #[test]
    fn what_is_overwritten_comes_back() {
        let bench = Bench::new();
        let copy = bench.path("copy.db");
        testing::database(&bench.path("kv.db"), "", 100);
        testing::database(&copy, "", 3);
        let old = fs::read(&copy).expect("a file");
        let (result, record) = back_up(&bench, true).expect("a copy");
        assert_eq!(result.to_plain()["rows"], 100);
        let record = record.expect("an undo");
        assert_eq!(record.lapses, Some(Span::from_seconds(7 * 24 * 3600)));
        assert_eq!(undo(&bench, Some(record.clone())), UndoLook::Needed);
        assert_eq!(fs::read(&copy).expect("a file"), old);
        assert_eq!(undo(&bench, Some(record)), UndoLook::Done);
    }

    #[test]
    fn a_step_that_died_leaves_nothing_after_its_undo() {
        let bench = Bench::new();
        testing::database(&bench.path("kv.db"), "", 100);
        let copy = bench.path("copy.db");
        for overwritten in [false, true] {
            if overwritten {
                fs::write(&copy, "old").expect("a file");
            }
            let step: Backup = Value::from_stored(&arguments(&bench, overwritten))
                .read()
                .expect("arguments");
            let Look::Needed(change) = step.find(bench.cx()).expect("a look") else {
                panic!("nothing to do");
            };
            let before = change.before;
            let record = || step.undo(&before).expect("an undo");
            // Dead while it copied.
            fs::write(&before.part, "half").expect("a file");
            assert_eq!(record().find(bench.cx()), Ok(UndoLook::Needed));
            record().put_back(bench.cx()).expect("an undo");
            assert_eq!(record().find(bench.cx()), Ok(UndoLook::Done));
            assert_eq!(copy.exists(), overwritten);
            // Dead between the two renames.
            if let Some(aside) = &before.aside {
                fs::write(&before.part, "whole").expect("a file");
                fs::rename(&copy, aside).expect("a rename");
                assert_eq!(record().find(bench.cx()), Ok(UndoLook::Needed));
                record().put_back(bench.cx()).expect("an undo");
                assert_eq!(fs::read(&copy).expect("a file"), b"old");
                assert_eq!(record().find(bench.cx()), Ok(UndoLook::Done));
            }
            assert!(!before.part.exists());
            // And the step itself can be done again over what it left.
            fs::write(&before.part, "half").expect("a file");
            step.back_up(bench.cx(), &before).expect("a copy");
            record().put_back(bench.cx()).expect("an undo");
        }
    }

    #[test]
    fn a_damaged_database_gives_no_copy() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "", 20_000);
        testing::break_index(&path);
        let before = testing::folder_of(&path);
        let failure = back_up(&bench, false).expect_err("a damaged database");
        assert_eq!(failure.class, Class::Expect, "{failure}");
        assert_eq!(testing::folder_of(&path), before);
    }

    #[test]
    fn a_locked_database_is_waited_for_and_its_holder_named() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = DELETE;", 10);
        let child = Child::with(&path, "BEGIN EXCLUSIVE;");
        let mut arguments = arguments(&bench, false);
        arguments["busy_timeout"] = json!("100ms");
        let failure = bench.run(KIND, arguments).expect_err("a locked database");
        assert_eq!(failure.class, Class::Timeout);
        let named = format!("(pid {}, writing", child.pid());
        assert!(failure.message.contains(&named), "{failure}");
        assert!(!bench.path("copy.db").exists());
    }
}
