//! `sqlite.replace`: puts another file in the place of a database. Its undo puts the whole old set back.
//!
//! A database is its file *and* its `-wal`, `-shm` and `-journal`: a WAL that is left behind is replayed into whatever
//! file gets its name. So all of them move, and each step leaves a state from which both this step and its undo go on:
//!
//! ```text
//!            kv.db   kv.db-wal   kv.db.RUN.old   kv.db.RUN.old-wal   with
//! before     old     old wal     -               -                   new
//! 1 sidecars old     -           -               old wal             new      renamed, one by one
//! 2 main     old     -           old             old wal             new      a second link: the path is never empty
//! 3 swap     new     -           old             old wal             -        renamed over
//! ```
//!
//! Which file lies where is told by its inode. All the while the old file is locked as SQLite locks it, so that nobody
//! can read it without its WAL.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use runwright_core::{
    kind::{
        Change, Class, Cx, Description, Effect, Failure, Kind, Look, PlainHasher, Step, Touch,
        Undo, UndoLook,
    },
    units::Bytes,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    backup::take_over_owner,
    blocking, existing, failed,
    holders::{self, LOCK_BYTES, PENDING_BYTE},
    integrity::{self, Damage, Depth},
    mark::{self, Identity, Mark},
    raw::{Access, RawFile},
    read,
    reader::copy_file,
    set::{self, SIDECARS, Set, State},
};

pub(super) const KIND: Kind = Kind::of::<Replace>("sqlite.replace");

/// Puts another database file in the place of one, and moves the old one aside together with its WAL and journal.
///
/// The old set is kept as `<database>.<run>.old`, `<database>.<run>.old-wal` and so on, and opens under that name.
/// Refused while any process has either file open (each is named), and when the replacement is not a sound database or
/// has a WAL or journal of its own. The new file gets the old one's mode and owner. Undo puts the old set back and moves
/// the replacement, with what was written to it since, back to where it came from.
///
/// ```yaml
/// sqlite.replace: { database: /var/lib/kv/kv.db, with: /var/lib/kv/kv.db.recovered }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Replace {
    /// The database file; no link.
    #[schemars(with = "String")]
    database: Utf8PathBuf,
    /// The file to put in its place; no link. On another file system it is copied, and stays.
    #[schemars(with = "String")]
    with: Utf8PathBuf,
}

/// The database after it was replaced.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Replaced {
    /// The database file.
    #[schemars(with = "String")]
    path: Utf8PathBuf,
    /// Where the old one lies, its WAL and journal beside it.
    #[schemars(with = "String")]
    old: Utf8PathBuf,
    /// The size of the new file.
    bytes: Bytes,
    /// The size of the old file.
    old_bytes: Bytes,
}

/// What lay where before, and where it goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    version: u8,
    /// The database file.
    database: Utf8PathBuf,
    /// The replacement.
    with: Utf8PathBuf,
    /// Where the old file goes.
    aside: Utf8PathBuf,
    /// Where the replacement is copied to first, when it lies on another file system.
    staged: Option<Utf8PathBuf>,
    /// The size of the old file.
    old_bytes: Bytes,
    /// The size of the replacement.
    bytes: Bytes,
    /// Which file the old one is.
    old: Identity,
    /// Which file the replacement is.
    new: Identity,
    /// Mode and owner of the replacement.
    owner: Owner,
    /// When the replacement was changed last: it was found sound then.
    checked: i64,
    /// Run and step, as noted on a copy.
    mark: String,
}

/// Mode and owner of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    mode: u32,
    user: u32,
    group: u32,
}

impl Step for Replace {
    type Output = Replaced;
    type Before = Before;
    type Undo = PutBack;
    const EFFECT: Effect = Effect::Change;

    fn touches(&self) -> Vec<Touch> {
        vec![
            Touch::changes(format!("file:{}", self.database)),
            Touch::changes(format!("file:{}", self.with)),
        ]
    }

    fn describe(&self) -> Description {
        Description::new(format!("replace `{}` with `{}`", self.database, self.with))
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Replaced, Before>, Failure> {
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.find(&cx)).await
    }

    fn undo(&self, before: &Before) -> Option<PutBack> {
        Some(PutBack {
            before: before.clone(),
        })
    }

    async fn perform(&self, cx: &Cx, before: Option<&Before>) -> Result<Replaced, Failure> {
        let Some(before) = before.cloned() else {
            return Err(Failure::internal("replace without having looked"));
        };
        let cx = cx.clone();
        blocking(move || before.replace(&cx)).await
    }
}

impl Replace {
    fn find(&self, cx: &Cx) -> Result<Look<Replaced, Before>, Failure> {
        let database = cx.children.cwd.join(&self.database);
        let with = cx.children.cwd.join(&self.with);
        let what = format!("replace `{database}` with `{with}`");
        let io_failed = |error: io::Error| Failure::internal(what.clone()).because(&error);
        let aside = Utf8PathBuf::from(format!("{database}.{}.old", cx.run));
        let staged = Utf8PathBuf::from(format!("{database}.{}.new", cx.run));
        let mark = format!("{}/{}", cx.run, cx.step);

        let at = |path: &Utf8Path| Identity::at(path).map_err(io_failed);
        let (old, new, kept) = (at(&database)?, at(&with)?, at(&aside)?);
        let copied = old.is_some() && is_marked(&database, &mark).map_err(io_failed)?;
        if let (Some(_), Some(_)) = (&old, &kept)
            && (new.is_none() || copied)
        {
            // The last rename was made: this is settled, whatever died after it.
            return Ok(Look::Done(Replaced {
                bytes: Bytes(set::size(&database)),
                old_bytes: Bytes(set::size(&aside)),
                path: database,
                old: aside,
            }));
        }
        // Where renaming over is all there is, the path can be empty between the two.
        let (Some(old), Some(new)) = (old.or_else(|| kept.clone()), new) else {
            return Err(Failure::refused(format!(
                "{what}: there is no file `{}`",
                if at(&with)?.is_none() {
                    &with
                } else {
                    &database
                }
            )));
        };
        for path in [&database, &with] {
            refuse_special(&what, path)?;
        }
        if old == new {
            return Err(Failure::refused(format!("{what}: that is the same file")));
        }
        holders::nobody(&Set::at(&database), &what)?;
        sound(cx, &Set::at(&with), &what)?;
        // An old set of this run that is not what is being moved right now was put there by another step.
        let taken = kept.as_ref().is_some_and(|kept| *kept != old);
        let aside = if taken { free_name(&aside) } else { aside };
        let metadata = fs::metadata(&with).map_err(io_failed)?;
        let before = Before {
            version: 1,
            staged: (!old.beside(&new)).then_some(staged),
            old_bytes: Bytes(set::size(&database)),
            bytes: Bytes(metadata.len()),
            owner: Owner::of(&metadata),
            checked: changed_at(&metadata),
            database,
            with,
            aside,
            old,
            new,
            mark,
        };
        Ok(Look::Needed(Change {
            summary: format!(
                "{} -> {}, the old set kept as `{}`",
                before.old_bytes, before.bytes, before.aside
            ),
            before,
            diff: None,
        }))
    }
}

impl Before {
    fn replace(&self, cx: &Cx) -> Result<Replaced, Failure> {
        let what = format!("replace `{}` with `{}`", self.database, self.with);
        let io_failed = |error: io::Error| Failure::internal(what.clone()).because(&error);
        let done = Replaced {
            path: self.database.clone(),
            old: self.aside.clone(),
            bytes: self.bytes,
            old_bytes: self.old_bytes,
        };
        let place = self.place().map_err(io_failed)?;
        match place {
            Place::New => {
                mark::sync_folder(&self.database).map_err(io_failed)?;
                return Ok(done);
            }
            Place::Old | Place::Nothing => {}
            Place::Other => {
                return Err(Failure::refused(format!(
                    "{what}: `{}` is no longer the file that was looked at",
                    self.database
                )));
            }
        }
        let (main, aside) = (Set::at(&self.database), Set::at(&self.aside));
        holders::nobody(&main, &what)?;
        holders::nobody(&aside, &what)?;
        self.check_again(cx, &what)?;
        let old_path = if place == Place::Old { &main } else { &aside };
        let _locked = lock(&old_path.main, &what)?;
        let source = self.prepare(cx, &old_path.main).map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return Failure::new(Class::Cancelled, format!("{what}: told to stop"));
            }
            io_failed(error)
        })?;
        if place == Place::Old {
            move_sidecars(&main, &aside).map_err(io_failed)?;
            second_name(&self.database, &self.aside).map_err(io_failed)?;
            mark::sync_folder(&self.database).map_err(io_failed)?;
        }
        fs::rename(&source, &self.database).map_err(io_failed)?;
        mark::sync_folder(&self.database).map_err(io_failed)?;
        if self.staged.is_none() {
            mark::sync_folder(&self.with).map_err(io_failed)?;
        }
        Ok(done)
    }

    /// Refuses a replacement that is not the one that was looked at; checks it again when it was written to since.
    fn check_again(&self, cx: &Cx, what: &str) -> Result<(), Failure> {
        let with = Set::at(&self.with);
        let same = Identity::at(&self.with).is_ok_and(|at| at.as_ref() == Some(&self.new));
        if !same {
            return Err(Failure::refused(format!(
                "{what}: `{}` is no longer the file that was looked at",
                self.with
            )));
        }
        let changed = fs::metadata(&self.with).map(|now| changed_at(&now));
        if changed.is_ok_and(|changed| changed == self.checked) {
            unshared(&with, what)
        } else {
            sound(cx, &with, what)
        }
    }

    /// Returns the file that is to get the name: the replacement, or its copy on the right file system; synced, and
    /// with mode and owner of the old one.
    fn prepare(&self, cx: &Cx, old: &Utf8Path) -> io::Result<Utf8PathBuf> {
        let source = match &self.staged {
            None => self.with.clone(),
            Some(staged) => {
                if !is_marked(staged, &self.mark)? {
                    let _ = fs::remove_file(staged);
                    copy_file(&self.with, staged)?;
                    let cancelled = || cx.host.cancelled();
                    let mark = Mark {
                        step: self.mark.clone(),
                        digest: mark::digest(staged, PlainHasher::boxed(), &cancelled)?,
                    };
                    if mark.digest != mark::digest(&self.with, PlainHasher::boxed(), &cancelled)? {
                        return Err(io::Error::other("the copy differs from the replacement"));
                    }
                    mark.put(staged)?;
                }
                staged.clone()
            }
        };
        take_over_owner(old, &source)?;
        RawFile::open(&source, Access::Read)?.sync_all()?;
        Ok(source)
    }

    /// Returns which file lies at the path of the database.
    fn place(&self) -> io::Result<Place> {
        let at = Identity::at(&self.database)?;
        let kept = Identity::at(&self.aside)?.as_ref() == Some(&self.old);
        Ok(match at {
            None if kept => Place::Nothing,
            Some(at) if at == self.old => Place::Old,
            Some(at) if at == self.new => Place::New,
            Some(_) if self.staged.is_some() && is_marked(&self.database, &self.mark)? => {
                Place::New
            }
            _ => Place::Other,
        })
    }

    /// Returns where the replacement goes when it is taken away again.
    fn back(&self) -> &Utf8Path {
        self.staged.as_deref().unwrap_or(&self.with)
    }
}

/// Which file lies at the path of the database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Old,
    New,
    /// None, and the old one is aside.
    Nothing,
    /// One that neither was there nor was put there by us; or none at all.
    Other,
}

impl Owner {
    fn of(metadata: &fs::Metadata) -> Owner {
        Owner {
            mode: metadata.mode() & 0o7777,
            user: metadata.uid(),
            group: metadata.gid(),
        }
    }

    fn give(&self, path: &Utf8Path) -> io::Result<()> {
        let now = Owner::of(&fs::metadata(path)?);
        if (now.user, now.group) != (self.user, self.group) {
            chown(path, Some(self.user), Some(self.group))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(self.mode))
    }
}

/// Puts the old set back.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PutBack {
    before: Before,
}

impl Undo for PutBack {
    fn describe(&self) -> String {
        format!("put back `{}` as it was", self.before.database)
    }

    async fn look(&self, _: &Cx) -> Result<UndoLook, Failure> {
        let before = self.before.clone();
        let what = self.describe();
        blocking(move || {
            find_undo(&before).map_err(|error| Failure::internal(what).because(&error))
        })
        .await
    }

    async fn perform(&self, _: &Cx) -> Result<(), Failure> {
        let before = self.before.clone();
        let what = self.describe();
        blocking(move || put_back(&before, &what)).await
    }
}

fn find_undo(before: &Before) -> io::Result<UndoLook> {
    let aside = Set::at(&before.aside);
    let kept = Identity::at(&before.aside)?.as_ref() == Some(&before.old);
    let sidecars_kept = SIDECARS.iter().any(|ending| aside.sidecar(ending).exists());
    let database = &before.database;
    Ok(match before.place()? {
        Place::Nothing => UndoLook::Needed,
        Place::New if !kept => UndoLook::Lapsed(format!("`{}` is gone", before.aside)),
        Place::New => match Identity::at(before.back())? {
            Some(at) if Some(&at) != Identity::at(database)?.as_ref() => {
                UndoLook::Dirty(format!("another file was put at `{}`", before.back()))
            }
            _ => UndoLook::Needed,
        },
        Place::Old => {
            let main = Set::at(database);
            let both =
                |ending: &&&str| main.sidecar(ending).exists() && aside.sidecar(ending).exists();
            if let Some(ending) = SIDECARS.iter().find(both) {
                return Ok(UndoLook::Dirty(format!(
                    "`{}` was made while the old one lay aside",
                    main.sidecar(ending)
                )));
            }
            let with = fs::metadata(&before.with).map(|found| Owner::of(&found));
            let untouched = with.is_ok_and(|owner| owner == before.owner);
            if kept || sidecars_kept || (!untouched && before.with.exists()) {
                UndoLook::Needed
            } else {
                UndoLook::Done
            }
        }
        Place::Other => UndoLook::Dirty(format!(
            "`{database}` is neither the old file nor the one that replaced it"
        )),
    })
}

fn put_back(before: &Before, what: &str) -> Result<(), Failure> {
    let io_failed = |error: io::Error| Failure::internal(what).because(&error);
    match find_undo(before).map_err(io_failed)? {
        UndoLook::Needed => {}
        UndoLook::Done => return Ok(()),
        UndoLook::Dirty(why) | UndoLook::Lapsed(why) => {
            return Err(Failure::refused(format!("{what}: {why}")));
        }
    }
    let (main, aside) = (Set::at(&before.database), Set::at(&before.aside));
    holders::nobody(&main, what)?;
    holders::nobody(&aside, what)?;
    let place = before.place().map_err(io_failed)?;
    let _new_locked = match place {
        Place::New => Some(lock(&before.database, what)?),
        _ => None,
    };
    let undo = || -> io::Result<()> {
        match place {
            Place::New => {
                // What was written to the replacement since goes with it.
                let back = Set::at(before.back());
                move_sidecars(&main, &back)?;
                second_name(&before.database, before.back())?;
                fs::rename(&before.aside, &before.database)?;
            }
            Place::Nothing => fs::rename(&before.aside, &before.database)?,
            // Two names of one file: renaming one to the other would do nothing.
            Place::Old if Identity::at(&before.aside)?.as_ref() == Some(&before.old) => {
                fs::remove_file(&before.aside)?;
            }
            Place::Old | Place::Other => {}
        }
        move_sidecars(&aside, &main)?;
        if before.with.exists() {
            before.owner.give(&before.with)?;
        }
        mark::sync_folder(&before.database)?;
        mark::sync_folder(&before.with)
    };
    undo().map_err(io_failed)
}

/// Refuses a link and whatever else is no plain file.
fn refuse_special(what: &str, path: &Utf8Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => {
            let real = path.canonicalize_utf8();
            let real = real.map_or_else(|_| "nothing".to_owned(), |real| format!("`{real}`"));
            Err(Failure::refused(format!("{what}: `{path}` is a link"))
                .hint(format!("name the file itself; it points to {real}")))
        }
        Ok(metadata) if !metadata.is_file() => Err(Failure::refused(format!(
            "{what}: `{path}` is no plain file"
        ))),
        _ => Ok(()),
    }
}

/// Refuses a replacement that somebody has open, that has more to it than its file, or that is not sound.
fn sound(cx: &Cx, set: &Set, what: &str) -> Result<(), Failure> {
    unshared(set, what)?;
    let found = existing(set, what)?;
    debug_assert_eq!(found.state, State::Database);
    let scan = holders::scan(set)?;
    let reader = read(cx, set, &found, &scan, Duration::ZERO)?;
    let checked =
        integrity::examine(&reader, Depth::Full).map_err(|error| failed(cx, set, what, &error))?;
    if checked.damage == Damage::None {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "{what}: the replacement is not sound: {}",
        checked.text
    )))
}

/// Refuses a replacement that somebody has open, or that has more to it than its file.
fn unshared(set: &Set, what: &str) -> Result<(), Failure> {
    holders::nobody(set, what)?;
    for beside in [set.wal(), set.journal()] {
        if set::size(&beside) > 0 {
            return Err(Failure::refused(format!(
                "{what}: the replacement has a `{beside}` of its own"
            ))
            .hint("fold it in first, with sqlite.checkpoint"));
        }
    }
    Ok(())
}

/// Moves what lies beside one database to another that has none of it.
fn move_sidecars(from: &Set, to: &Set) -> io::Result<()> {
    for ending in SIDECARS {
        match mark::rename_aside(&from.sidecar(ending), &to.sidecar(ending)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

/// Gives a file a second name; where the file system knows no links, another name.
fn second_name(path: &Utf8Path, name: &Utf8Path) -> io::Result<()> {
    match fs::hard_link(path, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if Identity::at(path)? == Identity::at(name)? {
                Ok(())
            } else {
                Err(error)
            }
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            mark::rename_aside(path, name)
        }
        done => done,
    }
}

/// A database file that is locked until this is dropped.
struct Locked {
    file: RawFile,
}

impl Drop for Locked {
    fn drop(&mut self) {
        // The descriptor may have to stay open for the sake of other locks; this one must not.
        let _ = fcntl(&*self.file, FcntlArg::F_OFD_SETLK(&lock_of(libc::F_UNLCK)));
    }
}

fn lock_of(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: PENDING_BYTE as libc::off_t,
        l_len: LOCK_BYTES as libc::off_t,
        l_pid: 0,
    }
}

/// Locks a database file as SQLite does for exclusive use: whoever opens it meanwhile is told that it is busy.
fn lock(path: &Utf8Path, what: &str) -> Result<Locked, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::internal(what).because(error);
    let file = RawFile::open(path, Access::Write).map_err(|error| failed(&error))?;
    // A lock of the open file, not of the process: it holds against connections of this process as well.
    match fcntl(&*file, FcntlArg::F_OFD_SETLK(&lock_of(libc::F_WRLCK))) {
        Ok(_) => Ok(Locked { file }),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Err(Failure::refused(
            format!("{what}: somebody has begun to use `{path}` just now"),
        )),
        Err(error) => Err(failed(&error)),
    }
}

fn is_marked(path: &Utf8Path, mark: &str) -> io::Result<bool> {
    let noted: Option<Mark> = Mark::of(path)?;
    Ok(noted.is_some_and(|noted| noted.step == mark))
}

fn free_name(aside: &Utf8Path) -> Utf8PathBuf {
    (2..)
        .map(|number| Utf8PathBuf::from(format!("{aside}{number}")))
        .find(|name| fs::symlink_metadata(name).is_err())
        .expect("numbers do not run out")
}

fn changed_at(metadata: &fs::Metadata) -> i64 {
    metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use runwright_core::{kind::UndoRecord, value::Value};
    use serde_json::json;

    use super::*;
    use crate::{
        sqlite::testing::{self, Child},
        testing::Bench,
    };

    /// A database whose rows lie in its WAL, left by a crash, and a sound one to replace it.
    fn two(bench: &Bench) -> (Utf8PathBuf, Utf8PathBuf) {
        let (path, with) = (bench.path("kv.db"), bench.path("new.db"));
        testing::crashed(&path, 100, 2_000);
        testing::database(&with, "PRAGMA journal_mode = WAL;", 7);
        (path, with)
    }

    fn step(bench: &Bench, with: &Utf8Path) -> Replace {
        Replace {
            database: bench.path("kv.db"),
            with: with.to_owned(),
        }
    }

    fn looked(bench: &Bench, with: &Utf8Path) -> Before {
        match step(bench, with).find(bench.cx()).expect("a look") {
            Look::Needed(change) => change.before,
            other => panic!("{other:?}"),
        }
    }

    fn replace(bench: &Bench, with: &Utf8Path) -> Result<(Value, UndoRecord), Failure> {
        let arguments = json!({ "database": bench.path("kv.db"), "with": with });
        let (result, undo) = bench.run(KIND, arguments)?;
        Ok((result, undo.expect("an undo")))
    }

    fn refused(bench: &Bench, with: &Utf8Path, why: &str) {
        let before = testing::folder_of(&bench.path("kv.db"));
        let failure = replace(bench, with).expect_err(why);
        assert_eq!(failure.class, Class::Refused, "{failure:?}");
        assert!(failure.line().contains(why), "{}", failure.line());
        assert_eq!(testing::folder_of(&bench.path("kv.db")), before);
    }

    #[test]
    fn the_old_set_moves_aside_whole_and_comes_back_whole() {
        let bench = Bench::new();
        let (path, with) = two(&bench);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
        fs::set_permissions(&with, fs::Permissions::from_mode(0o604)).expect("a mode");
        let before = testing::folder_of(&path);
        let (result, record) = replace(&bench, &with).expect("a new database");
        let old = Utf8PathBuf::from(format!("{path}.testrun00000.old"));
        assert_eq!(result.get("old"), Some(&Value::text(old.as_str())));
        let mode = |path: &Utf8Path| fs::metadata(path).expect("a file").mode() & 0o777;
        assert_eq!(mode(&path), 0o640, "the mode of the old file");
        assert!(!with.exists());
        assert!(!Set::at(&path).wal().exists(), "no WAL of the old database");
        let copy = bench.path("look.db");
        for (from, to) in [
            (old.clone(), copy.clone()),
            (Set::at(&old).wal(), Set::at(&copy).wal()),
        ] {
            fs::copy(from, to).expect("a copy");
        }
        assert_eq!(testing::rows(&copy), 2_100, "the old set opens as a set");
        for path in [&copy, &Set::at(&copy).wal(), &Set::at(&copy).shm()] {
            let _ = fs::remove_file(path);
        }

        let look = bench.undo(KIND, &record).expect("an undo");
        assert_eq!(look, UndoLook::Needed);
        assert_eq!(testing::folder_of(&path), before, "byte for byte");
        assert_eq!((mode(&path), mode(&with)), (0o640, 0o604));
        assert_eq!(bench.undo(KIND, &record), Ok(UndoLook::Done));
        assert_eq!(testing::rows(&path), 2_100);
    }

    #[test]
    fn what_was_written_to_the_replacement_goes_back_with_it() {
        let bench = Bench::new();
        let (path, with) = two(&bench);
        let (_, record) = replace(&bench, &with).expect("a new database");
        let script = format!("PRAGMA wal_autocheckpoint = 0; {}", testing::rows_of(50));
        let child = Child::with(&path, &script);
        let failure = bench.undo(KIND, &record).expect_err("a database in use");
        assert_eq!(failure.class, Class::Refused);
        assert!(
            failure.message.contains(&format!("(pid {}", child.pid())),
            "{failure}"
        );
        child.crash();
        assert_eq!(bench.undo(KIND, &record), Ok(UndoLook::Needed));
        assert_eq!(testing::rows(&with), 57);
        assert_eq!(testing::rows(&path), 2_100);
    }

    #[test]
    fn who_has_either_file_open_is_named() {
        let bench = Bench::new();
        let (path, with) = two(&bench);
        let child = Child::with(&path, "SELECT count(*) FROM kv;");
        let named = format!("(pid {}", child.pid());
        let failure = replace(&bench, &with).expect_err("a database in use");
        assert_eq!(failure.class, Class::Refused);
        assert!(failure.message.contains(&named), "{failure}");
        drop(child);
        let child = Child::with(&with, "SELECT count(*) FROM kv;");
        let named = format!("(pid {}", child.pid());
        let failure = replace(&bench, &with).expect_err("a replacement in use");
        assert!(failure.message.contains(&named), "{failure}");
        child.release();
        let ours = rusqlite::Connection::open(&path).expect("a connection");
        let failure = replace(&bench, &with).expect_err("a database that we use ourselves");
        assert!(failure.message.contains("this run itself"), "{failure}");
        drop(ours);
        replace(&bench, &with).expect("a new database");
    }

    #[test]
    fn what_is_no_sound_database_by_itself_is_refused() {
        let bench = Bench::new();
        let (path, with) = two(&bench);
        refused(&bench, &bench.path("gone.db"), "there is no file");
        refused(&bench, &path, "the same file");
        let link = bench.path("link.db");
        std::os::unix::fs::symlink(&with, &link).expect("a link");
        refused(&bench, &link, "is a link");
        let text = bench.path("text.db");
        fs::write(&text, "x".repeat(5_000)).expect("a file");
        refused(&bench, &text, "is not a database");
        fs::write(&text, "").expect("a file");
        refused(&bench, &text, "is empty");
        let broken = bench.path("broken.db");
        testing::database(&broken, "", 20_000);
        testing::break_index(&broken);
        refused(&bench, &broken, "not sound");
        let hot = bench.path("hot.db");
        testing::crashed(&hot, 1, 1);
        refused(&bench, &hot, "of its own");
    }

    /// What can be done by hand to come to each state that a crash can leave.
    type Half = fn(&Before) -> io::Result<()>;

    fn sidecar(before: &Before, ending: &str) -> io::Result<()> {
        let (main, aside) = (Set::at(&before.database), Set::at(&before.aside));
        fs::rename(main.sidecar(ending), aside.sidecar(ending))
    }

    const FORWARD: [Half; 6] = [
        |_| Ok(()),
        |before| before.owner.give(&before.with),
        |before| sidecar(before, "-wal"),
        |before| sidecar(before, "-wal").and_then(|()| sidecar(before, "-shm")),
        |before| {
            sidecar(before, "-wal")?;
            sidecar(before, "-shm")?;
            fs::hard_link(&before.database, &before.aside)
        },
        // Where there are no links.
        |before| {
            sidecar(before, "-wal")?;
            sidecar(before, "-shm")?;
            fs::rename(&before.database, &before.aside)
        },
    ];

    #[test]
    fn a_replacement_that_died_half_way_is_finished() {
        for half in FORWARD {
            let bench = Bench::new();
            let (path, with) = two(&bench);
            let before = looked(&bench, &with);
            half(&before).expect("a state");
            before.replace(bench.cx()).expect("a new database");
            let again = before.replace(bench.cx()).expect("the same database");
            assert_eq!(again.path, path);
            let settled = step(&bench, &with).find(bench.cx()).expect("a look");
            assert!(matches!(settled, Look::Done(_)), "{settled:?}");
            assert!(!Set::at(&path).wal().exists());
            assert_eq!(testing::rows(&path), 7);
            assert_eq!(testing::rows(&before.aside), 2_100);
        }
    }

    #[test]
    fn a_replacement_that_died_half_way_is_undone() {
        for half in FORWARD {
            let bench = Bench::new();
            let (path, with) = two(&bench);
            let files = testing::folder_of(&path);
            let before = looked(&bench, &with);
            half(&before).expect("a state");
            put_back(&before, "undo").expect("an undo");
            assert_eq!(find_undo(&before).expect("a look"), UndoLook::Done);
            assert_eq!(testing::folder_of(&path), files);
            assert_eq!(testing::rows(&path), 2_100);
        }
    }

    #[test]
    fn an_undo_that_died_half_way_is_finished() {
        fn away(before: &Before, endings: &[&str]) -> io::Result<()> {
            let (main, with) = (Set::at(&before.database), Set::at(&before.with));
            let mut endings = endings.iter();
            endings.try_for_each(|ending| fs::rename(main.sidecar(ending), with.sidecar(ending)))
        }
        const BACK: [Half; 6] = [
            |before| away(before, &["-wal"]),
            |before| away(before, &["-wal", "-shm"]),
            |before| {
                BACK[1](before)?;
                fs::hard_link(&before.database, &before.with)
            },
            // Where there are no links.
            |before| {
                BACK[1](before)?;
                fs::rename(&before.database, &before.with)
            },
            |before| {
                BACK[2](before)?;
                fs::rename(&before.aside, &before.database)
            },
            |before| {
                BACK[4](before)?;
                fs::rename(
                    Set::at(&before.aside).wal(),
                    Set::at(&before.database).wal(),
                )
            },
        ];
        for half in BACK {
            let bench = Bench::new();
            let (path, with) = two(&bench);
            let before = looked(&bench, &with);
            before.replace(bench.cx()).expect("a new database");
            let script = format!("PRAGMA wal_autocheckpoint = 0; {}", testing::rows_of(50));
            Child::with(&path, &script).crash();
            half(&before).expect("a state");
            assert_eq!(find_undo(&before).expect("a look"), UndoLook::Needed);
            put_back(&before, "undo").expect("an undo");
            assert_eq!(find_undo(&before).expect("a look"), UndoLook::Done);
            assert_eq!(testing::rows(&path), 2_100);
            assert_eq!(testing::rows(&with), 57);
            assert!(!before.aside.exists());
        }
    }

    #[test]
    fn a_database_that_somebody_else_replaced_since_is_dirty() {
        let bench = Bench::new();
        let (path, with) = two(&bench);
        let (_, record) = replace(&bench, &with).expect("a new database");
        let third = bench.path("third.db");
        testing::database(&third, "", 3);
        fs::rename(&third, &path).expect("a third database");
        let look = bench.undo(KIND, &record).expect("a look");
        assert!(matches!(look, UndoLook::Dirty(_)), "{look:?}");
        assert_eq!(testing::rows(&path), 3);
    }

    #[test]
    fn a_wal_made_while_the_old_one_lay_aside_is_not_mixed_with_it() {
        let bench = Bench::new();
        let (path, with) = two(&bench);
        let before = looked(&bench, &with);
        sidecar(&before, "-wal").expect("a rename");
        Child::with(&path, "INSERT INTO kv (key) VALUES ('x');").crash();
        let look = find_undo(&before).expect("a look");
        assert!(matches!(look, UndoLook::Dirty(_)), "{look:?}");
        before.replace(bench.cx()).expect_err("a second WAL");
        assert!(Set::at(&before.aside).wal().exists());
    }

    #[test]
    fn a_replacement_on_another_file_system_is_copied_and_stays() {
        let bench = Bench::new();
        let (path, _) = two(&bench);
        let elsewhere = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
        let with = Utf8PathBuf::from_path_buf(elsewhere.path().join("new.db")).expect("UTF-8");
        testing::database(&with, "", 7);
        let before = looked(&bench, &with);
        let staged = before
            .staged
            .clone()
            .expect("another file system than the temporary folder's");
        // A copy that was cut short is not taken for the whole.
        fs::write(&staged, "half").expect("a file");
        before.replace(bench.cx()).expect("a new database");
        assert_eq!(testing::rows(&path), 7);
        assert_eq!(testing::rows(&with), 7);
        let settled = step(&bench, &with).find(bench.cx()).expect("a look");
        assert!(matches!(settled, Look::Done(_)), "{settled:?}");
        put_back(&before, "undo").expect("an undo");
        assert_eq!(find_undo(&before).expect("a look"), UndoLook::Done);
        assert_eq!(testing::rows(&path), 2_100);
        assert_eq!(
            testing::rows(&staged),
            7,
            "what was in place is kept beside it"
        );
    }

    #[test]
    fn nobody_can_open_the_old_file_while_its_set_moves() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::database(&path, "PRAGMA journal_mode = DELETE;", 10);
        let locked = lock(&path, "lock").expect("a lock");
        let connection = rusqlite::Connection::open(&path).expect("a connection");
        connection.busy_timeout(Duration::ZERO).expect("a timeout");
        let count = || connection.query_row("SELECT count(*) FROM kv", [], |row| row.get(0));
        assert!(count().is_err_and(|error| {
            error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
        }));
        assert!(
            lock(&path, "lock").is_err(),
            "it also holds against ourselves"
        );
        drop(locked);
        assert_eq!(count(), Ok(10));
    }
}
