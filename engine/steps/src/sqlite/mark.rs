//! What tells a file apart from another of the same name: its inode, or a mark that a run left on it.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    time::UNIX_EPOCH,
};

use camino::Utf8Path;
use runwright_core::kind::{Digest, Hasher};
use rustix::{fs::XattrFlags, io::Errno};
use serde::{Deserialize, Serialize};

use super::raw::{Access, RawFile};

const ATTRIBUTE: &str = "user.runwright.made";

/// Which file it is, whatever its name and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// When the file came to be, in milliseconds since 1970: an inode number is given again to another file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<i64>,
}

impl Identity {
    /// Returns which file is at `path`, itself and not what it links to; `None` when there is none.
    pub(super) fn at(path: &Utf8Path) -> io::Result<Option<Identity>> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let born = metadata.created().ok();
        let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        Ok(Some(Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: born.and_then(|born| i64::try_from(born.as_millis()).ok()),
        }))
    }

    /// Returns whether both are on one file system.
    pub(super) fn beside(&self, other: &Identity) -> bool {
        self.device == other.device
    }
}

/// What a run notes on a file that it made, in an extended attribute: it goes where the file goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Run and step that made the file.
    pub(super) step: String,
    /// The content as it was made.
    pub(super) digest: Digest,
}

impl Mark {
    /// Notes this on the file at `path`; fails where the file system has no extended attributes.
    pub(super) fn put(&self, path: &Utf8Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        rustix::fs::setxattr(path.as_str(), ATTRIBUTE, &text, XattrFlags::empty())?;
        Ok(())
    }

    /// Returns what is noted on the file at `path`.
    pub(super) fn of(path: &Utf8Path) -> io::Result<Option<Mark>> {
        let mut text = vec![0; 4096];
        match rustix::fs::getxattr(path.as_str(), ATTRIBUTE, text.as_mut_slice()) {
            Ok(length) => Ok(serde_json::from_slice(&text[..length]).ok()),
            Err(Errno::NODATA | Errno::NOTSUP | Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns what `hasher` makes of the file at `path`; ends early with an error when `cancelled`.
pub(super) fn digest(
    path: &Utf8Path,
    mut hasher: Box<dyn Hasher>,
    cancelled: &dyn Fn() -> bool,
) -> io::Result<Digest> {
    let file = RawFile::open(path, Access::Read)?;
    // A descriptor that was put aside may stand anywhere.
    io::Seek::rewind(&mut &*file)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        if cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match (&*file).read(&mut buffer)? {
            0 => return hasher.finish(),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// Makes what was renamed, made or removed in the folder of `path` last.
pub(super) fn sync_folder(path: &Utf8Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Renames, but never over something that is there.
pub(super) fn rename_aside(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from.as_str(), CWD, to.as_str(), RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS) if !to.exists() => fs::rename(from, to),
        Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) => Err(error.into()),
    }
}
