//! The files that make up one database, and what lies at its path.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{FileExt, FileTypeExt},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::kind::{Cx, Failure};
use schemars::JsonSchema;
use serde::Serialize;

use super::raw::{Access, RawFile};

/// What SQLite puts beside a database file, in the order in which a set is moved away.
pub(super) const SIDECARS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// A database file and its sidecars, by name: none of them has to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    /// The database file, links resolved: SQLite's sidecars lie beside the real file.
    pub(super) main: Utf8PathBuf,
}

/// What lies at the path of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// A file that begins as a database does.
    Database,
    /// Nothing.
    Missing,
    /// A file of no bytes, which SQLite takes for a new database.
    Empty,
    /// A file that begins like no database.
    Foreign,
    /// A folder.
    Directory,
    /// A FIFO, a socket or a device.
    Special,
    /// Something that this user may not read.
    Unreadable,
}

/// What lies at the path of a database, with what its first page says.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) state: State,
    /// What it is, as an answer to 'is it sound?'.
    pub(super) says: String,
    /// The bytes of the file; 0 for what is none.
    pub(super) bytes: u64,
    /// The start of the file.
    pub(super) header: Option<Header>,
}

/// The first 100 bytes of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header(pub(super) [u8; 100]);

impl Header {
    /// Returns the size of a page; 0 when the header says none that can be.
    pub(super) fn page_size(&self) -> u32 {
        match u16::from_be_bytes([self.0[16], self.0[17]]) {
            1 => 65_536,
            size if size >= 512 && size.is_power_of_two() => u32::from(size),
            _ => 0,
        }
    }

    /// Returns whether the database says of itself that it is in WAL mode.
    pub(super) fn is_wal(&self) -> bool {
        self.0[18] == 2 && self.0[19] == 2
    }

    /// Returns the count of changes, as far as it is kept (WAL mode counts only now and then).
    pub(super) fn changes(&self) -> u32 {
        self.word(24)
    }

    /// Returns the count of changes of the schema.
    pub(super) fn schema_cookie(&self) -> u32 {
        self.word(40)
    }

    /// Returns the encoding of all text, which never changes in the life of a database.
    pub(super) fn encoding(&self) -> u32 {
        self.word(56)
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }
}

impl Set {
    /// Returns the set whose database file is named `main`, which is no link.
    pub(super) fn at(main: &Utf8Path) -> Set {
        Set {
            main: main.to_owned(),
        }
    }

    /// Returns the set that `path` means in this run: relative to its folder, links resolved.
    pub(super) fn locate(cx: &Cx, path: &Utf8Path) -> Set {
        let path = cx.children.cwd.join(path);
        Set {
            main: path.canonicalize_utf8().unwrap_or(path),
        }
    }

    /// Returns the path of the write-ahead log.
    pub(super) fn wal(&self) -> Utf8PathBuf {
        self.sidecar("-wal")
    }

    /// Returns the path of the index of the write-ahead log.
    pub(super) fn shm(&self) -> Utf8PathBuf {
        self.sidecar("-shm")
    }

    /// Returns the path of the rollback journal.
    pub(super) fn journal(&self) -> Utf8PathBuf {
        self.sidecar("-journal")
    }

    /// Returns the path of the sidecar with this ending.
    pub(super) fn sidecar(&self, ending: &str) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("{}{ending}", self.main))
    }

    /// Looks at the database file: what it is, and how it begins.
    pub(super) fn inspect(&self) -> Result<Found, Failure> {
        let found = |state, says: String| Found {
            state,
            says,
            bytes: 0,
            header: None,
        };
        let path = &self.main;
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => {
                return Ok(found(State::Missing, format!("there is no file `{path}`")));
            }
            Err(error) => return unreadable(path, &error),
        };
        if metadata.is_dir() {
            return Ok(found(State::Directory, format!("`{path}` is a directory")));
        }
        if !metadata.is_file() {
            return Ok(found(
                State::Special,
                format!("`{path}` is {}, no file", special(&metadata)),
            ));
        }
        let header = match self.header() {
            Ok(header) => header,
            Err(error) => return unreadable(path, &error),
        };
        let (state, says) = match &header {
            _ if metadata.len() == 0 => (State::Empty, format!("`{path}` is empty")),
            Some(header) if header.0.starts_with(b"SQLite format 3\0") => {
                (State::Database, String::new())
            }
            _ => (State::Foreign, format!("`{path}` is not a database")),
        };
        Ok(Found {
            state,
            says,
            bytes: metadata.len(),
            header,
        })
    }

    /// Reads the start of the file; `None` for a file shorter than that.
    pub(super) fn header(&self) -> io::Result<Option<Header>> {
        let mut bytes = [0; 100];
        match RawFile::open(&self.main, Access::Read)?.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Some(Header(bytes))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a rollback journal lies beside the database that has not been dealt with.
    ///
    /// It is hot when nobody holds the database for writing: that is for the caller to know.
    pub(super) fn has_journal(&self) -> bool {
        // A journal that was finished with by `PERSIST` begins with zeros, one by `TRUNCATE` is empty.
        let mut first = [0; 8];
        fs::File::open(self.journal())
            .and_then(|file| file.read_exact_at(&mut first, 0))
            .is_ok_and(|()| first != [0; 8])
    }
}

/// Returns the size of the file at `path`; 0 when there is none.
pub(super) fn size(path: &Utf8Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn special(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

fn unreadable(path: &Utf8Path, error: &io::Error) -> Result<Found, Failure> {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return Err(Failure::internal(format!("read `{path}`")).because(error));
    }
    Ok(Found {
        state: State::Unreadable,
        says: format!("`{path}` can't be read: {error}"),
        bytes: 0,
        header: None,
    })
}
