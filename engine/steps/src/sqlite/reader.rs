//! A connection that only reads, and leaves every file of the database as it was.
//!
//! Opening a database is not harmless: the first who opens one after a crash recovers it, and the last who closes it
//! folds the WAL in and removes it. So there are four ways to read one:
//!
//! | found | way |
//! |---|---|
//! | no WAL, or one that is in use | as any reader: `mode=ro`, locks and all |
//! | WAL mode, no WAL (or an empty one), not in use | `immutable`: there is no WAL to overlook, and none gets made |
//! | a WAL that nobody uses, left by a crash | without locks, the index of the WAL in memory, nothing folded in on close |
//! | a hot rollback journal | a copy, in which SQLite rolls back |
//!
//! The second and third take no locks; [`Reader::undisturbed`] tells afterwards whether somebody came in between.

use std::{
    fs::{self, File},
    io,
    ops::Deref,
    os::unix::fs::MetadataExt,
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::kind::{Cx, Digest, Failure};
use rusqlite::{Connection, Error, OpenFlags, config::DbConfig};

use super::{
    holders::Scan,
    raw::{self, Access, FileId, RawFile},
    set::{Found, Set},
    settle,
};

/// A connection that only reads.
pub(super) struct Reader {
    /// There until the drop.
    connection: Option<Connection>,
    way: Way,
}

/// Why a database could not be opened.
pub(super) enum Unopened {
    /// SQLite says that the file is no database, or one it can't read.
    Refused(Error),
    /// It could not be found out.
    Failed(Failure),
}

enum Way {
    Shared,
    Lockless {
        set: Set,
        before: Vec<Mark>,
        id: FileId,
    },
    Copied {
        _scratch: Scratch,
    },
}

impl Reader {
    /// Opens the database of `set`, which `found` and `scan` describe.
    pub(super) fn open(
        cx: &Cx,
        set: &Set,
        found: &Found,
        scan: &Scan,
        patience: Duration,
    ) -> Result<Reader, Unopened> {
        let wal_mode = found
            .header
            .as_ref()
            .is_some_and(super::set::Header::is_wal);
        let wal_bytes = super::set::size(&set.wal());
        let reader = if set.has_journal() && !scan.is_written() {
            let scratch = Scratch::copy(cx, set).map_err(Unopened::Failed)?;
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Some(Connection::open_with_flags(&scratch.set.main, flags)?);
            let way = Way::Copied { _scratch: scratch };
            Reader { connection, way }
        } else if scan.wal_in_use || !(wal_mode || wal_bytes > 0) {
            let open = || Connection::open_with_flags(&set.main, read_only());
            let connection = Some(raw::opening(open)?);
            let way = Way::Shared;
            Reader { connection, way }
        } else if wal_bytes > 0 {
            Reader::lockless(set, || {
                Connection::open_with_flags_and_vfs(&set.main, read_only(), c"unix-none")
            })?
        } else {
            return Reader::without_wal(cx, set, patience);
        };
        reader.prepare(cx, patience)
    }

    /// Opens a database that nobody uses as it is without its WAL.
    pub(super) fn without_wal(cx: &Cx, set: &Set, patience: Duration) -> Result<Reader, Unopened> {
        Reader::lockless(set, || {
            let flags = read_only() | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(immutable(&set.main), flags)
        })?
        .prepare(cx, patience)
    }

    fn lockless(
        set: &Set,
        open: impl FnOnce() -> Result<Connection, Error>,
    ) -> Result<Reader, Unopened> {
        let before = marks(set);
        let id = fs::metadata(&set.main).map(|metadata| FileId::of(&metadata));
        let id = id.map_err(|error| {
            Unopened::Failed(Failure::internal(format!("read `{}`", set.main)).because(&error))
        })?;
        let connection = Some(raw::opening(open)?);
        let set = set.clone();
        let way = Way::Lockless { set, before, id };
        Ok(Reader { connection, way })
    }

    fn prepare(mut self, cx: &Cx, patience: Duration) -> Result<Reader, Unopened> {
        let connection = self.connection.as_mut().expect("it was just opened");
        settle(connection, cx, patience)?;
        // Without locks every lock would be granted, also the one that says that we are the last to close.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        if matches!(self.way, Way::Lockless { .. }) {
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        }
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(self)
    }

    /// Returns whether what was read since the opening belongs together.
    pub(super) fn undisturbed(&self) -> bool {
        match &self.way {
            Way::Lockless { set, before, .. } => marks(set) == *before,
            Way::Shared | Way::Copied { .. } => true,
        }
    }
}

impl Deref for Reader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("only the drop takes it out")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        match &self.way {
            Way::Lockless { id, .. } => raw::close_lockless(connection, *id),
            Way::Shared | Way::Copied { .. } => drop(connection),
        }
    }
}

impl From<Error> for Unopened {
    fn from(error: Error) -> Unopened {
        Unopened::Refused(error)
    }
}

/// What a file was like at a moment: inode, size, time of the last change.
type Mark = Option<(u64, u64, i64, i64)>;

fn marks(set: &Set) -> Vec<Mark> {
    [set.main.clone(), set.wal(), set.journal()]
        .iter()
        .map(|path| {
            let found = fs::metadata(path).ok()?;
            Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
        })
        .collect()
}

fn read_only() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Returns the URI of a file that is not going to change.
fn immutable(path: &Utf8Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri + "?immutable=1"
}

/// A copy of a set in a folder of its own, gone with the reader.
struct Scratch {
    folder: Utf8PathBuf,
    set: Set,
}

impl Scratch {
    fn copy(cx: &Cx, set: &Set) -> Result<Scratch, Failure> {
        let failed = |error: &io::Error| {
            Failure::internal(format!(
                "copy `{}`, whose hot journal can only be rolled back in a copy",
                set.main
            ))
            .because(error)
            .hint("any program that opens the database for writing rolls it back; do that if there is no room for a copy")
        };
        let folder = scratch_folder(cx).map_err(|error| failed(&error))?;
        let scratch = Scratch {
            set: Set::at(&folder.join("copy.db")),
            folder,
        };
        let copies = [
            (set.main.clone(), scratch.set.main.clone()),
            (set.journal(), scratch.set.journal()),
            (set.wal(), scratch.set.wal()),
        ];
        let before = marks(set);
        for (from, to) in copies {
            if from.exists() {
                copy_file(&from, &to).map_err(|error| failed(&error))?;
            }
        }
        if marks(set) != before {
            return Err(Failure::new(
                runwright_core::kind::Class::Transport,
                format!("copy `{}`: it changed meanwhile", set.main),
            ));
        }
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over at worst in the run's own folder, which goes with the run.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Makes a private folder: in the run's own, or among the temporary files when there is none (a preview).
fn scratch_folder(cx: &Cx) -> io::Result<Utf8PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let kept = cx.host.kept(&Digest::of(b""));
    let parent = match kept.parent() {
        Some(parent) if parent.is_dir() => parent.to_owned(),
        _ => Utf8PathBuf::from_path_buf(std::env::temp_dir()).map_err(|_| {
            io::Error::other("the folder for temporary files is not named in UTF-8")
        })?,
    };
    for number in 0..10_000 {
        let folder = parent.join(format!("sqlite-{}-{}-{number}", cx.run, std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Copies a file, by reference where the file system can.
pub(super) fn copy_file(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    let source = RawFile::open(from, Access::Read)?;
    // A descriptor that was put aside may stand anywhere.
    io::Seek::rewind(&mut &*source)?;
    let mut target = File::create_new(to)?;
    io::copy(&mut &*source, &mut target)?;
    target.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sqlite::{
            holders,
            testing::{self, Child},
        },
        testing::Bench,
    };

    fn open(bench: &Bench, set: &Set) -> Reader {
        let found = set.inspect().expect("a database");
        let scan = holders::scan(set).expect("a scan");
        super::super::read(bench.cx(), set, &found, &scan, Duration::ZERO).expect("a reader")
    }

    #[test]
    fn a_reader_without_locks_is_in_nobodys_way_and_knows_when_it_was_disturbed() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::crashed(&path, 10, 10);
        let reader = open(&bench, &Set::at(&path));
        assert!(reader.undisturbed());
        // The first who comes recovers the database, and the last who goes folds the WAL in.
        Child::with(&path, "DELETE FROM kv WHERE id = 1;").release();
        assert!(!reader.undisturbed());
        drop(reader);
        assert_eq!(testing::rows(&path), 19);
    }

    #[test]
    fn closing_a_reader_without_locks_keeps_those_of_another_connection() {
        let bench = Bench::new();
        let path = bench.path("kv.db");
        testing::crashed(&path, 10, 10);
        let set = Set::at(&path);
        let reader = open(&bench, &set);
        let ours = raw::opening(|| Connection::open(&path)).expect("a connection");
        ours.execute_batch(&testing::rows_of(10)).expect("rows");
        let locked = || {
            let inode = fs::metadata(&path).expect("a file").ino();
            let locks = fs::read_to_string("/proc/locks").expect("the locks");
            locks.contains(&format!(":{inode} "))
        };
        assert!(locked());
        drop(reader);
        assert!(
            locked(),
            "who closes the database must not think that it is the last"
        );
        assert_eq!(ours.close().map_err(|(_, error)| error), Ok(()));
        assert!(!locked());
    }
}
