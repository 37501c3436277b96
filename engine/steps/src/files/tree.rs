//! What lies at a path with all that is below it.

use std::{collections::BTreeSet, fs, io, os::unix::fs::MetadataExt};

use camino::Utf8Path;
use runwright_core::{
    kind::{Cx, Failure},
    units::Bytes,
};
use serde::{Deserialize, Serialize};

use super::{failed, go_on, state::metadata};

/// What a path holds: itself and, below a directory, everything in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holds {
    pub(super) entries: u64,
    pub(super) bytes: Bytes,
}

/// Counts what lies at `path` and below; a file with several names counts its size once.
pub(super) fn measure(cx: &Cx, path: &Utf8Path) -> Result<Holds, Failure> {
    let mut holds = Holds::default();
    let mut names = BTreeSet::new();
    let mut paths = vec![path.as_std_path().to_owned()];
    while let Some(next) = paths.pop() {
        go_on(cx, "measure", path)?;
        let fail = |error: io::Error| failed("look into", path, &error);
        let found = match fs::symlink_metadata(&next) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(fail(error)),
        };
        holds.entries += 1;
        if found.is_dir() {
            for entry in fs::read_dir(&next).map_err(fail)? {
                paths.push(entry.map_err(fail)?.path());
            }
        } else if found.nlink() < 2 || names.insert((found.dev(), found.ino())) {
            holds.bytes.0 += found.size();
        }
    }
    Ok(holds)
}

/// Removes what lies at `path` with all that is below; no link is followed.
pub(super) fn remove(cx: &Cx, path: &Utf8Path) -> Result<(), Failure> {
    go_on(cx, "delete", path)?;
    let fail = |error: io::Error| failed("delete", path, &error);
    let result = match metadata(path)? {
        None => return Ok(()),
        Some(found) if found.is_dir() => {
            // Child by child, so that a large one can be stopped.
            for entry in fs::read_dir(path).map_err(fail)? {
                go_on(cx, "delete", path)?;
                let entry = entry.map_err(fail)?;
                if entry.file_type().map_err(fail)?.is_dir() {
                    fs::remove_dir_all(entry.path()).map_err(fail)?;
                } else {
                    fs::remove_file(entry.path()).map_err(fail)?;
                }
            }
            fs::remove_dir(path)
        }
        Some(_) => fs::remove_file(path),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fail(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn a_tree_is_measured_and_removed_without_following_links() {
        let bench = Bench::new();
        fs::create_dir_all(bench.path("d/sub")).expect("made");
        fs::write(bench.path("outside"), "outside").expect("written");
        fs::write(bench.path("d/sub/a"), "four").expect("written");
        fs::hard_link(bench.path("d/sub/a"), bench.path("d/twin")).expect("a second name");
        std::os::unix::fs::symlink(bench.path(""), bench.path("d/sub/up")).expect("a link");
        let link = bench.path("").as_str().len() as u64;
        let holds = measure(bench.cx(), &bench.path("d")).expect("measured");
        assert_eq!((holds.entries, holds.bytes), (5, Bytes(4 + link)));
        remove(bench.cx(), &bench.path("d")).expect("removed");
        remove(bench.cx(), &bench.path("d")).expect("removed already");
        assert!(bench.path("outside").exists() && !bench.path("d").exists());
    }

    #[test]
    fn a_stopped_removal_stops() {
        let bench = Bench::new();
        fs::write(bench.path("a"), "x").expect("written");
        bench.cancel();
        remove(bench.cx(), &bench.path("a")).expect_err("stopped");
        assert!(bench.path("a").exists());
    }
}
