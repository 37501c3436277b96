//! The folder that holds the journal and all state: `RUNWRIGHT_HOME`.
//!
//! ```text
//! journal.db          the events of all runs (with -wal and -shm while it is open)
//! reserve             space that is given up when the disk is full
//! runs/<run>/lock     held by the process that may append to the run
//! runs/<run>/kept/    contents that undos need, by digest
//! runs/<run>/texts/   the playbooks of the run, by digest
//! runs/<run>/output/  what the steps printed
//! runs/<run>/steps/   held by the processes of the steps that are at work
//! ```
//!
//! Nothing here opens `journal.db` itself: closing a second descriptor of it would drop SQLite's locks of this process.

pub(crate) mod network;
mod reserve;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
};

use camino::{Utf8Path, Utf8PathBuf};
use nix::unistd::{Uid, User};

pub use self::reserve::{RESERVE, ROOM, Room};

/// A home that was checked: ours alone, and on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    path: Utf8PathBuf,
}

impl Home {
    /// Opens the home at `path`; creates it, and the folders above it, where it is missing.
    ///
    /// # Errors
    ///
    /// Refuses a home that is, or holds something that is, owned by another user, writable by others, or on a network
    /// file system.
    pub fn open(path: &Utf8Path) -> Result<Home, HomeError> {
        let path = absolute(path)?;
        refuse_network(nearest(&path))?;
        let is_new = create_folders(&path)?;
        let home = Home { path };
        home.check()?;
        let runs = home.runs();
        if create_folder(&runs).map_err(failed("create", &runs))? || is_new {
            home.restore_reserve()
                .map_err(failed("reserve space in", &home.path))?;
        }
        Ok(home)
    }

    /// Returns the home at `path` where there is one; creates nothing.
    ///
    /// # Errors
    ///
    /// As [`Home::open`].
    pub fn find(path: &Utf8Path) -> Result<Option<Home>, HomeError> {
        let path = absolute(path)?;
        if !path.try_exists().map_err(failed("look for", &path))? {
            return Ok(None);
        }
        let home = Home { path };
        home.check()?;
        Ok(Some(home))
    }

    /// Returns the home's own path, absolute.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Returns where the journal lies.
    pub fn journal(&self) -> Utf8PathBuf {
        self.path.join("journal.db")
    }

    /// Returns the folder of the runs' folders.
    pub fn runs(&self) -> Utf8PathBuf {
        self.path.join("runs")
    }

    /// Returns the folder of `run`, there or not.
    pub fn run(&self, run: &str) -> Utf8PathBuf {
        self.runs().join(run)
    }

    /// Returns the lock file of `run`, there or not.
    pub fn lock(&self, run: &str) -> Utf8PathBuf {
        self.run(run).join("lock")
    }

    fn check(&self) -> Result<(), HomeError> {
        let metadata = fs::metadata(&self.path).map_err(failed("look at", &self.path))?;
        if !metadata.is_dir() {
            return Err(HomeError::NotAFolder {
                path: self.path.clone(),
            });
        }
        refuse_network(&self.path)?;
        refuse_foreign(&self.path, &metadata)?;
        let entries = self.path.read_dir_utf8();
        for entry in entries.map_err(failed("list", &self.path))? {
            let entry = entry.map_err(failed("list", &self.path))?;
            match fs::metadata(entry.path()) {
                Ok(metadata) => refuse_foreign(entry.path(), &metadata)?,
                // The last process that closes the journal removes `-wal` and `-shm`.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("look at", entry.path())(error)),
            }
        }
        if self.runs().exists() {
            refuse_network(&self.runs())?;
        }
        Ok(())
    }
}

/// Returns whether `run` is a run's id: 12 of `[a-z0-9]`.
pub fn is_run_id(run: &str) -> bool {
    run.len() == 12
        && run
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Why a home can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It, or something in it, belongs to somebody else.
    #[error("use `{path}`: it belongs to {owner}, and this is {user}")]
    Owner {
        /// What belongs to somebody else.
        path: Utf8PathBuf,
        /// Whose it is.
        owner: String,
        /// Who we are.
        user: String,
    },
    /// It, or something in it, can be changed by others.
    #[error("use `{path}`: its mode {mode:04o} lets others write to it")]
    Writable {
        /// What others can write to.
        path: Utf8PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Locks and synced writes can't be relied on there.
    #[error("use `{path}`: it is on a network file system ({kind})")]
    Network {
        /// What lies there.
        path: Utf8PathBuf,
        /// The file system's name.
        kind: String,
    },
    /// It is a file.
    #[error("use `{path}`: it is not a folder")]
    NotAFolder {
        /// The path that was given.
        path: Utf8PathBuf,
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

impl HomeError {
    /// Returns what the reader can do about it.
    pub fn hint(&self) -> String {
        match self {
            HomeError::Owner { owner, .. } => {
                format!("run it as {owner}, or set `RUNWRIGHT_HOME` to a folder of your own")
            }
            HomeError::Writable { path, .. } => {
                format!("find out who wrote to it, then take the right away: `chmod go-w '{path}'`")
            }
            HomeError::Network { .. } => {
                "set `RUNWRIGHT_HOME` to a folder on a disk of this machine".to_owned()
            }
            HomeError::NotAFolder { path } => {
                format!("move `{path}` away, or set `RUNWRIGHT_HOME` to a folder")
            }
            HomeError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space on that file system".to_owned()
            }
            HomeError::Io { .. } => {
                "set `RUNWRIGHT_HOME` to a folder that you can write to".to_owned()
            }
        }
    }
}

/// Creates the folder `path` with mode 0700, whatever the umask; returns whether it was missing.
pub(crate) fn create_folder(path: &Utf8Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o700)).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates the file `path`, which must be missing, with mode 0600, whatever the umask.
pub(crate) fn create_file(path: &Utf8Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Makes the names in the folder `path` durable.
pub(crate) fn sync_folder(path: &Utf8Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf, HomeError> {
    camino::absolute_utf8(path).map_err(failed("find", path))
}

/// Returns `path` or the nearest folder above it that is there.
fn nearest(path: &Utf8Path) -> &Utf8Path {
    path.ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(path)
}

fn create_folders(path: &Utf8Path) -> Result<bool, HomeError> {
    let missing: Vec<&Utf8Path> = path.ancestors().take_while(|it| !it.exists()).collect();
    for folder in missing.iter().rev() {
        create_folder(folder).map_err(failed("create", folder))?;
        if let Some(parent) = folder.parent() {
            // Not every folder above ours can be opened for reading; then its owner decides when it is written.
            let _ = sync_folder(parent);
        }
    }
    Ok(!missing.is_empty())
}

fn refuse_foreign(path: &Utf8Path, metadata: &fs::Metadata) -> Result<(), HomeError> {
    let user = Uid::effective();
    if metadata.uid() != user.as_raw() {
        return Err(HomeError::Owner {
            path: path.to_owned(),
            owner: name(Uid::from_raw(metadata.uid())),
            user: name(user),
        });
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(HomeError::Writable {
            path: path.to_owned(),
            mode: metadata.mode() & 0o7777,
        });
    }
    Ok(())
}

fn refuse_network(path: &Utf8Path) -> Result<(), HomeError> {
    match network::kind(path).map_err(failed("find the file system of", path))? {
        Some(kind) => Err(HomeError::Network {
            path: path.to_owned(),
            kind,
        }),
        None => Ok(()),
    }
}

fn name(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => format!("`{}`", user.name),
        _ => format!("user {uid}"),
    }
}

fn failed(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> HomeError {
    let path = path.to_owned();
    move |source| HomeError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Sandbox, mode};

    #[test]
    fn a_new_home_is_for_its_owner_alone_and_so_are_the_folders_made_above_it() {
        let sandbox = Sandbox::new();
        let path = sandbox.path("state/runwright");
        Home::open(&path).expect("a new home");
        for (name, expected) in [
            ("state", 0o700),
            ("state/runwright", 0o700),
            ("state/runwright/runs", 0o700),
            ("state/runwright/reserve", 0o600),
        ] {
            assert_eq!(mode(&sandbox.path(name)), expected, "{name}");
        }
        Home::open(&path).expect("the same home again");
    }

    #[test]
    fn a_home_that_others_can_write_to_is_refused() {
        let sandbox = Sandbox::new();
        for bits in [0o720, 0o702, 0o777] {
            let path = sandbox.path(&format!("open-{bits:o}"));
            fs::create_dir(&path).expect("a folder");
            fs::set_permissions(&path, Permissions::from_mode(bits)).expect("a mode");
            let error = Home::open(&path).expect_err("writable by others");
            assert!(matches!(&error, HomeError::Writable { mode, .. } if *mode == bits));
            assert!(error.hint().contains("chmod go-w"), "{}", error.hint());
        }
    }

    #[test]
    fn a_file_in_it_that_others_can_write_to_is_named() {
        let sandbox = Sandbox::new();
        let home = sandbox.home();
        fs::write(home.journal(), "").expect("a file");
        fs::set_permissions(home.journal(), Permissions::from_mode(0o660)).expect("a mode");
        let error = Home::open(home.path()).expect_err("a writable journal");
        assert!(matches!(&error, HomeError::Writable { path, .. } if *path == home.journal()));
        assert!(matches!(
            Home::find(home.path()),
            Err(HomeError::Writable { .. })
        ));
    }

    #[test]
    fn a_home_of_somebody_else_is_refused() {
        let sandbox = Sandbox::new();
        let path = if Uid::effective().is_root() {
            let path = sandbox.path("theirs");
            fs::create_dir(&path).expect("a folder");
            std::os::unix::fs::chown(&path, Some(65534), None).expect("root gives it away");
            path
        } else {
            Utf8PathBuf::from("/usr")
        };
        let error = Home::open(&path).expect_err("not ours");
        assert!(matches!(error, HomeError::Owner { .. }), "{error}");
        assert!(!path.join("runs").exists(), "nothing was created in it");
    }

    #[test]
    fn a_file_is_no_home() {
        let sandbox = Sandbox::new();
        let path = sandbox.path("file");
        fs::write(&path, "").expect("a file");
        let error = Home::open(&path).expect_err("a file");
        assert!(matches!(error, HomeError::NotAFolder { .. }), "{error}");
    }

    #[test]
    fn finding_creates_nothing() {
        let sandbox = Sandbox::new();
        let path = sandbox.path("none");
        assert_eq!(Home::find(&path).expect("no error"), None);
        assert!(!path.exists());
    }

    #[test]
    fn a_run_id_is_fit_for_a_file_name() {
        assert!(is_run_id("abc123def456"));
        for wrong in ["", "abc", "../../etc/pa", "ABC123DEF456", "abc123def4567"] {
            assert!(!is_run_id(wrong), "{wrong}");
        }
    }
}
