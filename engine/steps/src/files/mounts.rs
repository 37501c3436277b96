//! Mount points, which are neither removed nor gone into when something is.

use std::{fs, io, os::unix::fs::MetadataExt};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::kind::Failure;

use super::{failed, folder_of, state::metadata};

/// Returns a mount point that is `path` or lies below it. `path` is not followed if it is a link.
pub(super) fn at_or_below(path: &Utf8Path) -> Result<Option<Utf8PathBuf>, Failure> {
    let folder = folder_of(path);
    let real = folder
        .canonicalize_utf8()
        .map_err(|error| failed("look at", folder, &error))?
        .join(path.file_name().unwrap_or_default());
    let Some(itself) = metadata(&real)? else {
        return Ok(None);
    };
    let above = fs::metadata(folder).map_err(|error| failed("look at", folder, &error))?;
    // Files of an overlay can be on another device than their folder.
    if itself.is_dir() && itself.dev() != above.dev() {
        return Ok(Some(real));
    }
    Ok(points()?.into_iter().find(|point| point.starts_with(&real)))
}

/// Returns all mount points; those of one file system within itself are known to the kernel's list only.
fn points() -> Result<Vec<Utf8PathBuf>, Failure> {
    let list = Utf8Path::new("/proc/self/mountinfo");
    match fs::read_to_string(list) {
        Ok(text) => Ok(text.lines().filter_map(point).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !cfg!(target_os = "linux") => {
            Ok(Vec::new())
        }
        Err(error) => Err(failed("read", list, &error)),
    }
}

/// Returns the mount point of a line of mountinfo: its fifth field, blanks and backslashes as octal numbers.
fn point(line: &str) -> Option<Utf8PathBuf> {
    let escaped = line.split(' ').nth(4)?;
    let mut pieces = escaped.split('\\');
    let mut path = pieces.next()?.to_owned();
    for piece in pieces {
        let code = u8::from_str_radix(piece.get(..3)?, 8).ok()?;
        path.push(char::from(code));
        path.push_str(&piece[3..]);
    }
    Some(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn mount_points_are_found_with_their_names_unescaped() {
        let line = r"36 35 98:0 /mnt1 /mnt/a\040b\134c rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(point(line), Some("/mnt/a b\\c".into()));
        assert_eq!(
            at_or_below(Utf8Path::new("/proc")),
            Ok(Some("/proc".into()))
        );
        let bench = Bench::new();
        fs::create_dir(bench.path("a")).expect("made");
        assert_eq!(at_or_below(&bench.path("a")), Ok(None));
        std::os::unix::fs::symlink("/proc", bench.path("link")).expect("a link");
        assert_eq!(
            at_or_below(&bench.path("link")),
            Ok(None),
            "the link itself"
        );
    }
}
