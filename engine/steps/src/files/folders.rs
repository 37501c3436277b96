//! Folders that a step makes on the way to its target, and takes away again while they are empty.

use std::{fs, io, os::unix::fs::PermissionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::kind::{Cx, Failure};

use super::{
    failed, folder_of,
    state::{FileType, followed},
};

/// Returns the folders that `folder` needs and that are missing, outermost first.
pub(super) fn missing(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Failure> {
    let mut missing = Vec::new();
    for folder in folder.ancestors() {
        match followed(folder)? {
            Some(metadata) if metadata.is_dir() => break,
            Some(metadata) => {
                return Err(Failure::refused(format!(
                    "use the folder `{folder}`: it is {}",
                    FileType::of(&metadata).noun()
                )));
            }
            None if folder.is_symlink() => {
                return Err(Failure::refused(format!(
                    "use the folder `{folder}`: it is a symbolic link that leads nowhere"
                )));
            }
            None => missing.push(folder.to_owned()),
        }
    }
    missing.reverse();
    Ok(missing)
}

/// Returns the missing folders above `path`; fails when there are some and `parents` does not allow to make them.
pub(super) fn above(path: &Utf8Path, parents: bool) -> Result<Vec<Utf8PathBuf>, Failure> {
    let folders = missing(folder_of(path))?;
    match folders.first() {
        Some(first) if !parents => Err(Failure::refused(format!(
            "write `{path}`: the folder `{first}` does not exist"
        ))
        .hint("`parents: true` makes missing folders")),
        _ => Ok(folders),
    }
}

/// Makes `folders`, outermost first, with the mode that the run's umask leaves; those that exist are left alone.
pub(super) fn make(cx: &Cx, folders: &[Utf8PathBuf]) -> Result<(), Failure> {
    for folder in folders {
        match fs::create_dir(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {
                continue;
            }
            Err(error) => return Err(failed("make the folder", folder, &error)),
        }
        let inherited = fs::metadata(folder)
            .map_err(|error| failed("look at", folder, &error))?
            .permissions()
            .mode()
            & 0o2000;
        let mode = (0o777 & !cx.children.umask) | inherited;
        fs::set_permissions(folder, fs::Permissions::from_mode(mode))
            .map_err(|error| failed("set the mode of", folder, &error))?;
        sync(folder_of(folder))?;
    }
    Ok(())
}

/// Removes `folders`, innermost first, as long as they are empty.
pub(super) fn remove_empty(folders: &[Utf8PathBuf]) -> Result<(), Failure> {
    for folder in folders.iter().rev() {
        match fs::remove_dir(folder) {
            Ok(()) => sync(folder_of(folder))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Somebody else's things lie there now: theirs to remove.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory
                ) =>
            {
                break;
            }
            Err(error) => return Err(failed("remove the folder", folder, &error)),
        }
    }
    Ok(())
}

/// Returns whether [`remove_empty`] would remove something.
pub(super) fn any_empty(folders: &[Utf8PathBuf]) -> Result<bool, Failure> {
    match folders.iter().rev().find(|folder| folder.is_dir()) {
        Some(innermost) => is_empty(innermost),
        None => Ok(false),
    }
}

/// Returns whether nothing is in `folder`.
pub(super) fn is_empty(folder: &Utf8Path) -> Result<bool, Failure> {
    let mut entries = fs::read_dir(folder).map_err(|error| failed("list", folder, &error))?;
    Ok(entries.next().is_none())
}

/// Writes the names in `folder` through to the disk.
pub(super) fn sync(folder: &Utf8Path) -> Result<(), Failure> {
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .or_else(|error| match error.kind() {
            // Some file systems can't sync a folder, and one that may be written need not be readable.
            io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied => Ok(()),
            _ => Err(failed("sync the folder", folder, &error)),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn folders_are_made_with_the_runs_umask_and_removed_while_empty() {
        let bench = Bench::new();
        let folders = missing(&bench.path("a/b/c")).expect("a look");
        assert_eq!(
            folders,
            [bench.path("a"), bench.path("a/b"), bench.path("a/b/c")]
        );
        make(bench.cx(), &folders).expect("made");
        make(bench.cx(), &folders).expect("a second attempt finds them");
        let mode = fs::metadata(&folders[2])
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o755);
        assert_eq!(any_empty(&folders), Ok(true));
        fs::write(bench.path("a/other"), "").expect("written");
        remove_empty(&folders).expect("removed");
        assert!(bench.path("a").is_dir() && !bench.path("a/b").exists());
        assert_eq!(any_empty(&folders), Ok(false));
    }

    #[test]
    fn a_file_on_the_way_is_named() {
        let bench = Bench::new();
        fs::write(bench.path("file"), "").expect("written");
        let failure = missing(&bench.path("file/sub")).expect_err("a file");
        assert!(
            failure.message.ends_with("file`: it is a file"),
            "{failure}"
        );
    }
}
