//! The files of one run: what undos need, the texts of its playbooks, what its steps printed.
//!
//! Contents lie under their digest, whole or not at all: written to a file beside, then renamed.

mod output;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    sync::atomic::{AtomicU64, Ordering},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::kind::{Digest, Hasher, Stream};
use rustix::fs::OFlags;

pub(crate) use self::output::escape;
pub use self::output::{HEAD, Output, OutputFile, Recorded, TAIL};
use crate::{
    fault::{self, Point},
    home::{Home, create_file, create_folder, is_run_id, sync_folder},
    journal::Sync,
};

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: Utf8PathBuf,
}

impl RunFolder {
    /// Opens the folder of `run`; makes it where it is missing.
    ///
    /// # Errors
    ///
    /// Fails when `run` is no run's id, or the folder can't be made.
    pub fn create(home: &Home, run: &str) -> Result<RunFolder, FolderError> {
        if !is_run_id(run) {
            return Err(FolderError::NoId {
                run: run.to_owned(),
            });
        }
        let path = home.run(run);
        create_folder(&path).map_err(failed("create", &path))?;
        Ok(RunFolder { path })
    }

    /// Opens the folder of `run` where there is one.
    pub fn find(home: &Home, run: &str) -> Option<RunFolder> {
        let path = home.run(run);
        (is_run_id(run) && path.is_dir()).then_some(RunFolder { path })
    }

    /// Returns the folder's own path.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Copies the file at `path` and returns what `hasher` makes of it, under which it then lies. It is on the disk when
    /// this returns.
    ///
    /// # Errors
    ///
    /// Fails when `path` is no regular file, can't be read, or the copy can't be written.
    pub fn keep(
        &self,
        path: &Utf8Path,
        mut hasher: Box<dyn Hasher>,
    ) -> Result<Digest, FolderError> {
        // Opening a pipe would wait for its writer.
        let mut source = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
            .map_err(failed("keep", path))?;
        if !source.metadata().map_err(failed("keep", path))?.is_file() {
            return Err(FolderError::NotAFile {
                path: path.to_owned(),
            });
        }
        let folder = self.folder("kept", Sync::Yes)?;
        let name = self.put(&folder, Sync::Yes, |file| {
            let mut buffer = vec![0; COPY];
            loop {
                let length = source.read(&mut buffer).map_err(failed("read", path))?;
                if length == 0 {
                    let digest = hasher.finish().map_err(failed("make a mark of", path))?;
                    return Ok(digest.0);
                }
                hasher.update(&buffer[..length]);
                file.write_all(&buffer[..length])
                    .map_err(failed("write a copy to", &folder))?;
            }
        })?;
        Ok(Digest(name))
    }

    /// Returns where the kept content with `digest` lies.
    pub fn kept(&self, digest: &Digest) -> Utf8PathBuf {
        self.path.join("kept").join(&digest.0)
    }

    /// Keeps the text of a playbook and returns its digest.
    ///
    /// # Errors
    ///
    /// Fails when it can't be written.
    pub fn keep_text(&self, text: &str, sync: Sync) -> Result<Digest, FolderError> {
        let folder = self.folder("texts", sync)?;
        let digest = Digest::of(text.as_bytes());
        self.put(&folder, sync, |file| {
            file.write_all(text.as_bytes())
                .map_err(failed("write a playbook's text to", &folder))?;
            Ok(format!("{}.yml", digest.0))
        })?;
        Ok(digest)
    }

    /// Returns the text of a playbook that the run keeps.
    ///
    /// # Errors
    ///
    /// [`FolderError::Altered`] when it is not the text that was kept.
    pub fn text(&self, digest: &Digest) -> Result<String, FolderError> {
        let path = self.path.join("texts").join(format!("{}.yml", digest.0));
        let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
        if Digest::of(text.as_bytes()) != *digest {
            return Err(FolderError::Altered { path });
        }
        Ok(text)
    }

    /// Returns the key of the run's digests; none where no content held a secret.
    ///
    /// # Errors
    ///
    /// Fails when it can't be read, or is no key.
    pub fn key(&self) -> Result<Option<[u8; KEY]>, FolderError> {
        let path = self.path.join("key");
        match fs::read(&path) {
            Ok(bytes) => match bytes.try_into() {
                Ok(key) => Ok(Some(key)),
                Err(_) => Err(FolderError::Altered { path }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// Keeps the key of the run's digests. It is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// Fails when it can't be written.
    pub fn keep_key(&self, key: &[u8; KEY]) -> Result<(), FolderError> {
        self.sync_above()?;
        self.put(&self.path, Sync::Yes, |file| {
            file.write_all(key)
                .map_err(failed("write the key of the digests to", &self.path))?;
            Ok("key".to_owned())
        })?;
        Ok(())
    }

    /// Syncs the texts that were kept without.
    ///
    /// # Errors
    ///
    /// Fails when one can't be synced.
    pub fn sync_texts(&self) -> Result<(), FolderError> {
        let folder = self.folder("texts", Sync::Yes)?;
        for entry in folder.read_dir_utf8().map_err(failed("list", &folder))? {
            let entry = entry.map_err(failed("list", &folder))?;
            File::open(entry.path())
                .and_then(|file| file.sync_all())
                .map_err(failed("sync", entry.path()))?;
        }
        sync_folder(&folder).map_err(failed("sync", &folder))
    }

    /// Returns a place for what `label` (a step's address and what else tells its calls apart) prints on `stream`.
    ///
    /// What was recorded there before is gone. Nothing is created before something is printed.
    ///
    /// # Errors
    ///
    /// Fails when the folder of the outputs can't be made.
    pub fn output(&self, label: &str, stream: Stream) -> Result<OutputFile, FolderError> {
        let folder = self.folder("output", Sync::No)?;
        let path = folder.join(output::file_name(label, stream));
        OutputFile::new(path.clone()).map_err(failed("record to", &path))
    }

    /// Returns what `label` printed on `stream`, also while it still prints; `None` when that is nothing.
    ///
    /// # Errors
    ///
    /// Fails when it can't be read.
    pub fn recorded(&self, label: &str, stream: Stream) -> Result<Option<Recorded>, FolderError> {
        let path = self
            .path
            .join("output")
            .join(output::file_name(label, stream));
        Recorded::read(&path).map_err(failed("read", &path))
    }

    /// Makes the folder `name` in this one; synced, it and the folders above it survive the loss of power.
    fn folder(&self, name: &str, sync: Sync) -> Result<Utf8PathBuf, FolderError> {
        let folder = self.path.join(name);
        create_folder(&folder).map_err(failed("create", &folder))?;
        if sync == Sync::Yes {
            self.sync_above()?;
        }
        Ok(folder)
    }

    /// Makes the names of what lies in this folder, and its own, survive the loss of power.
    fn sync_above(&self) -> Result<(), FolderError> {
        let above = self.path.parent().unwrap_or(&self.path);
        for it in [self.path.as_path(), above] {
            sync_folder(it).map_err(failed("sync", it))?;
        }
        Ok(())
    }

    /// Lets `write` fill a file and gives it the name that this returns.
    fn put(
        &self,
        folder: &Utf8Path,
        sync: Sync,
        write: impl FnOnce(&mut File) -> Result<String, FolderError>,
    ) -> Result<String, FolderError> {
        let new = self.path.join(new_name());
        // A process that was killed may have had our pid.
        let _ = fs::remove_file(&new);
        let mut file = create_file(&new).map_err(failed("create", &new))?;
        let result = write(&mut file).and_then(|name| {
            let path = folder.join(&name);
            if sync == Sync::Yes {
                file.sync_all().map_err(failed("sync", &new))?;
            }
            fault::pass(Point::KeepWritten);
            fs::rename(&new, &path).map_err(failed("write", &path))?;
            if sync == Sync::Yes {
                sync_folder(folder).map_err(failed("sync", folder))?;
            }
            fault::pass(Point::Kept);
            Ok(name)
        });
        if result.is_err() {
            let _ = fs::remove_file(&new);
        }
        result
    }
}

/// Why a run's folder can't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is not 12 of `[a-z0-9]`.
    #[error("make a folder for run `{run}`: an id is 12 of `[a-z0-9]`")]
    NoId {
        /// What was given.
        run: String,
    },
    /// Only the content of regular files can be kept.
    #[error("keep `{path}`: it is not a regular file")]
    NotAFile {
        /// What was to be kept.
        path: Utf8PathBuf,
    },
    /// Somebody has changed it.
    #[error("read `{path}`: it is not what this run has put there")]
    Altered {
        /// The file.
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

impl FolderError {
    /// Returns what the reader can do about it.
    pub fn hint(&self) -> String {
        match self {
            FolderError::NoId { .. } => "`runwright history` lists the runs".to_owned(),
            FolderError::NotAFile { path } => format!("look at what `{path}` is: `stat '{path}'`"),
            FolderError::Altered { path } => {
                format!("put `{path}` back from a backup, or begin a new run")
            }
            FolderError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space on that file system".to_owned()
            }
            FolderError::Io { path, .. } => format!("look at the owner and the mode of `{path}`"),
        }
    }
}

impl From<FolderError> for io::Error {
    fn from(error: FolderError) -> io::Error {
        let kind = match &error {
            FolderError::Io { source, .. } => source.kind(),
            FolderError::NoId { .. } | FolderError::NotAFile { .. } => io::ErrorKind::InvalidInput,
            FolderError::Altered { .. } => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// How many bytes a key has.
pub const KEY: usize = 32;

/// How many bytes are copied at once.
const COPY: usize = 256 << 10;

/// Returns a name that no other living process or thread uses in this folder.
fn new_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("new.{}.{number}", std::process::id())
}

fn failed(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use runwright_core::kind::PlainHasher;

    use super::*;
    use crate::testing::{Sandbox, mode};

    fn folder(sandbox: &Sandbox) -> RunFolder {
        RunFolder::create(&sandbox.home(), "abc123def456").expect("a folder")
    }

    fn names(path: &Utf8Path) -> Vec<String> {
        let mut names: Vec<String> = path
            .read_dir_utf8()
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_kept_content_lies_under_its_digest_for_the_owner_alone() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox);
        let content: Vec<u8> = (0..COPY * 2 + 17).map(|i| i as u8).collect();
        let path = sandbox.path("big");
        fs::write(&path, &content).expect("a file");
        let digest = folder
            .keep(&path, PlainHasher::boxed())
            .expect("it is kept");
        assert_eq!(digest, Digest::of(&content));
        assert_eq!(
            folder
                .keep(&path, PlainHasher::boxed())
                .expect("it is kept again"),
            digest
        );
        assert_eq!(
            fs::read(folder.kept(&digest)).expect("it is there"),
            content
        );
        assert_eq!(mode(&folder.kept(&digest)), 0o600);
        assert_eq!(names(folder.path()), ["kept"], "nothing is left over");
    }

    #[test]
    fn what_is_no_regular_file_is_not_kept_and_does_not_hang() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox);
        let pipe = sandbox.path("pipe");
        nix::unistd::mkfifo(pipe.as_std_path(), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        for path in [&pipe, &sandbox.path("")] {
            let error = folder
                .keep(path, PlainHasher::boxed())
                .expect_err("no regular file");
            assert!(matches!(error, FolderError::NotAFile { .. }), "{error}");
        }
        let error = folder
            .keep(&sandbox.path("none"), PlainHasher::boxed())
            .expect_err("a missing file");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_text_that_was_changed_is_refused() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox);
        let digest = folder
            .keep_text("name: nightly\n", Sync::No)
            .expect("it is kept");
        folder.sync_texts().expect("it is synced");
        assert_eq!(
            folder.text(&digest).expect("it is there"),
            "name: nightly\n"
        );
        let path = folder
            .path()
            .join("texts")
            .join(format!("{}.yml", digest.0));
        fs::write(&path, "name: other\n").expect("somebody changes it");
        let error = folder.text(&digest).expect_err("it was changed");
        assert!(matches!(error, FolderError::Altered { .. }), "{error}");
    }

    #[test]
    fn a_key_is_kept_for_the_owner_alone_and_a_damaged_one_is_refused() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox);
        assert_eq!(folder.key().expect("none is no error"), None);
        folder.keep_key(&[7; KEY]).expect("it is kept");
        assert_eq!(folder.key().expect("it is there"), Some([7; KEY]));
        assert_eq!(mode(&folder.path().join("key")), 0o600);
        assert_eq!(names(folder.path()), ["key"], "nothing is left over");
        fs::write(folder.path().join("key"), "short").expect("somebody changes it");
        let error = folder.key().expect_err("it was changed");
        assert!(matches!(error, FolderError::Altered { .. }), "{error}");
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_no_run() {
        let sandbox = Sandbox::new();
        let home = sandbox.home();
        let error = RunFolder::create(&home, "../../escape").expect_err("no id");
        assert!(matches!(error, FolderError::NoId { .. }), "{error}");
        assert_eq!(RunFolder::find(&home, "abc123def456"), None);
    }
}
