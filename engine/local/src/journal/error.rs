//! Why the journal can't do what it was asked.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::ErrorCode;

use crate::{folder::FolderError, lock::LockError};

/// Why the journal can't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A newer engine has written it. Nothing was touched.
    #[error(
        "open the journal `{path}`: its format is {found}, and this engine knows up to {known}; \
         it needs runwright {engine} or later"
    )]
    Newer {
        /// The journal.
        path: Utf8PathBuf,
        /// Its version.
        found: usize,
        /// The newest version this engine knows.
        known: usize,
        /// The first engine that knows its version.
        engine: String,
    },
    /// It is a database of something else, or none at all.
    #[error("open the journal `{path}`: it is not a journal of runwright")]
    Foreign {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The run can't be appended to from here.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The run's folder can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A run of this id was begun before.
    #[error("begin run `{run}`: it was begun before")]
    AlreadyBegun {
        /// The run's id.
        run: String,
    },
    /// There is no such run.
    #[error("find run `{run}`: the journal has none")]
    NoRun {
        /// What was asked for.
        run: String,
    },
    /// More than one run begins so.
    #[error("find run `{prefix}`: it may be {}", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The runs that begin so, newest first; at most ten.
        candidates: Vec<String>,
    },
    /// The run has not ended.
    #[error("prune run `{run}`: it has not ended")]
    NotEnded {
        /// The run's id.
        run: String,
    },
    /// An earlier write may be half on the disk: only opening the run again tells what is there.
    #[error("append to run `{run}`: an earlier write failed, and what the disk holds is not known")]
    Broken {
        /// The run's id.
        run: String,
    },
    /// The disk is full, and the reserve is used up.
    #[error("{action} the journal `{path}`: the disk is full")]
    Full {
        /// What was tried.
        action: &'static str,
        /// The journal.
        path: Utf8PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Others kept it locked all the time.
    #[error("{action} the journal `{path}`: another process has kept it locked for {} s", super::store::PATIENCE.as_secs())]
    Busy {
        /// What was tried.
        action: &'static str,
        /// The journal.
        path: Utf8PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// It can only be read.
    #[error("write to the journal `{path}`: it can only be read")]
    ReadOnly {
        /// The journal.
        path: Utf8PathBuf,
    },
    /// The file that was opened has another name now, or none.
    #[error(
        "{action} the journal: `{path}` was moved, removed or replaced since this run opened it"
    )]
    Moved {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: Utf8PathBuf,
    },
    /// The disk is full, or was, and there is no room yet for a reserve.
    #[error(
        "keep a journal in `{home}`: its disk is full, so that a failure might not be written down"
    )]
    NoRoom {
        /// The home.
        home: Utf8PathBuf,
    },
    /// The file is damaged.
    #[error("{action} the journal `{path}`: the file is damaged")]
    Damaged {
        /// What was tried.
        action: &'static str,
        /// The journal.
        path: Utf8PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// SQLite refused for another reason.
    #[error("{action} the journal `{path}`")]
    Sqlite {
        /// What was tried.
        action: &'static str,
        /// The journal.
        path: Utf8PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The system refused.
    #[error("{action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: Utf8PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl JournalError {
    /// Returns what the reader can do about it.
    pub fn hint(&self) -> String {
        match self {
            JournalError::Newer { engine, .. } => {
                format!(
                    "install runwright {engine} or later; or set `RUNWRIGHT_HOME` to another folder"
                )
            }
            JournalError::Foreign { path } => {
                format!("move `{path}` away, or set `RUNWRIGHT_HOME` to another folder")
            }
            JournalError::Lock(error) => error.hint(),
            JournalError::Folder(error) => error.hint(),
            JournalError::AlreadyBegun { .. } => "go on with it by `runwright resume`".to_owned(),
            JournalError::NoRun { .. } => "`runwright history` lists the runs".to_owned(),
            JournalError::Ambiguous { .. } => "give more letters of the id".to_owned(),
            JournalError::NotEnded { run } => format!(
                "end it first: `runwright resume {run}`, `runwright rollback {run}` or `runwright cancel {run}`"
            ),
            JournalError::Broken { run } => {
                format!("look at the disk, then go on by `runwright resume {run}`")
            }
            JournalError::Full { .. } => {
                "free some space on its file system, then go on by `runwright resume`".to_owned()
            }
            JournalError::Busy { path, .. } => format!("see who has it open: `fuser -v '{path}'`"),
            JournalError::ReadOnly { path } => format!(
                "see why: `ls -l '{path}'` and `findmnt -T '{path}'`; `history`, `show` and `logs` work all the same"
            ),
            JournalError::Moved { path, .. } => format!(
                "find out who did that, put the journal back with its `-wal`, and go on by `runwright resume`; \
                 until then nobody knows of this run what is not in `{path}`"
            ),
            JournalError::NoRoom { .. } => format!(
                "free at least {} on its file system; where that is what the playbook is for, set `RUNWRIGHT_HOME` to a \
                 folder on another one",
                runwright_core::units::Bytes(crate::home::ROOM)
            ),
            JournalError::Damaged { path, .. } => format!(
                "keep a copy of `{path}` with its `-wal` and `-shm`; `runwright audit verify` tells how far it holds"
            ),
            JournalError::Sqlite { path, .. } | JournalError::Io { path, .. } => {
                format!("look at the owner, the mode and the disk of `{path}`")
            }
        }
    }

    /// Returns whether there was no room on the disk.
    pub fn is_full(&self) -> bool {
        let source = match self {
            JournalError::Full { .. } => return true,
            JournalError::Folder(FolderError::Io { source, .. })
            | JournalError::Lock(LockError::Io { source, .. })
            | JournalError::Io { source, .. } => source,
            _ => return false,
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    pub(super) fn sqlite(
        action: &'static str,
        path: &Utf8Path,
        source: rusqlite::Error,
    ) -> JournalError {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => JournalError::Full {
                action,
                path,
                source,
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => JournalError::Busy {
                action,
                path,
                source,
            },
            Some(ErrorCode::NotADatabase) => JournalError::Foreign { path },
            Some(ErrorCode::DatabaseCorrupt) => JournalError::Damaged {
                action,
                path,
                source,
            },
            _ => JournalError::Sqlite {
                action,
                path,
                source,
            },
        }
    }
}
