//! Reads and copies contents in pieces: nothing here blocks on a pipe or holds a large file in memory.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    time::Duration,
};

use camino::Utf8Path;
use runwright_core::{
    kind::{Cx, Digest, Failure, Hasher, PlainHasher, Progress},
    units::Bytes,
};
use similar::TextDiff;

use super::{failed, go_on, state::FileType};

const PIECE: usize = 128 << 10;
/// Below this there is no progress worth to be told.
const LONG: u64 = 8 << 20;
/// Files up to this size are compared line by line.
const DIFFABLE: u64 = 1 << 20;

/// What reading a whole content found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) size: u64,
    pub(super) digest: Digest,
}

impl Content {
    /// Returns the content `bytes` of `path`, as it is announced and written down.
    pub(super) fn of(cx: &Cx, path: &Utf8Path, bytes: &[u8]) -> Result<Content, Failure> {
        Ok(Content {
            size: bytes.len() as u64,
            digest: cx.digest(bytes).map_err(|error| unmarked(path, &error))?,
        })
    }
}

/// Begins a digest of `path` that can be compared with `recorded`.
pub(super) fn hasher_like(
    cx: &Cx,
    path: &Utf8Path,
    recorded: &Digest,
) -> Result<Box<dyn Hasher>, Failure> {
    let hasher = cx.host.hasher_like(recorded);
    hasher.map_err(|error| unmarked(path, &error))
}

fn unmarked(path: &Utf8Path, error: &io::Error) -> Failure {
    Failure::internal(format!("make a digest of `{path}`")).because(error)
}

/// Opens the file at `path`, a link followed; refuses what is no regular file instead of waiting for it.
pub(super) fn open(path: &Utf8Path) -> Result<fs::File, Failure> {
    // Not to block when it became a pipe since, and for files of /proc that wait for news.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| match fs::metadata(path) {
            // A socket can't be opened at all: say what it is.
            Ok(metadata) if !metadata.is_file() => not_a_file(path, FileType::of(&metadata)),
            _ => failed("read", path, &error),
        })?;
    let metadata = file
        .metadata()
        .map_err(|error| failed("look at", path, &error))?;
    if !metadata.is_file() {
        return Err(not_a_file(path, FileType::of(&metadata)));
    }
    Ok(file)
}

fn not_a_file(path: &Utf8Path, kind: FileType) -> Failure {
    Failure::refused(format!(
        "read `{path}`: it is {}, not a regular file",
        kind.noun()
    ))
    .hint("`file.stat` tells what it is")
}

/// Reads the file at `path` to its end for its size and the digest that `hasher` makes.
pub(super) fn digest(
    cx: &Cx,
    path: &Utf8Path,
    hasher: Box<dyn Hasher>,
) -> Result<Content, Failure> {
    each_piece(cx, path, "read", hasher, |_| Ok(()))
}

/// Reads the file at `path` whole.
pub(super) fn whole(cx: &Cx, path: &Utf8Path, at_most: Bytes) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    each_piece(cx, path, "read", PlainHasher::boxed(), |piece| {
        bytes.extend_from_slice(piece);
        if bytes.len() as u64 > at_most.0 {
            return Err(Failure::refused(format!(
                "read `{path}`: it is larger than {at_most}"
            )));
        }
        Ok(())
    })?;
    Ok(bytes)
}

/// Copies the file at `path` into `to`, and returns what was copied.
pub(super) fn copy_into(
    cx: &Cx,
    path: &Utf8Path,
    to: &mut fs::File,
    to_path: &Utf8Path,
    hasher: Box<dyn Hasher>,
) -> Result<Content, Failure> {
    each_piece(cx, path, "copy", hasher, |piece| {
        to.write_all(piece)
            .map_err(|error| failed("write", to_path, &error))
    })
}

/// Hands the content of the file at `path` to `take`, piece by piece; returns its size and what `hasher` makes of it.
pub(super) fn each_piece(
    cx: &Cx,
    path: &Utf8Path,
    verb: &str,
    mut hasher: Box<dyn Hasher>,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<Content, Failure> {
    let mut file = open(path)?;
    let total = file.metadata().map(|metadata| metadata.len()).ok();
    let long = total.is_some_and(|total| total > LONG);
    let mut size = 0;
    let mut piece = vec![0; PIECE];
    loop {
        go_on(cx, verb, path)?;
        let read = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(verb, path, &error)),
        };
        hasher.update(&piece[..read]);
        size += read as u64;
        take(&piece[..read])?;
        if long {
            cx.host.progress(Progress {
                done: size,
                total,
                unit: "bytes".to_owned(),
            });
        }
    }
    Ok(Content {
        size,
        digest: hasher.finish().map_err(|error| unmarked(path, &error))?,
    })
}

/// Returns how `new` differs from `old`, both contents of `path`: a unified diff, or a line where they are no text.
pub(super) fn diff(path: &Utf8Path, old: Option<&[u8]>, new: &[u8]) -> String {
    let before = old.unwrap_or_default();
    let large = before.len().max(new.len()) as u64 > DIFFABLE;
    match (text(before), text(new)) {
        (Some(before), Some(after)) if !large => TextDiff::configure()
            // A diff for people is not worth more; what is left is shown as replaced.
            .timeout(Duration::from_millis(500))
            .diff_lines(before, after)
            .unified_diff()
            .header(
                &old.map_or("/dev/null".to_owned(), |_| path.to_string()),
                path.as_str(),
            )
            .to_string(),
        _ => sizes(
            path,
            old.map(|old| Bytes(old.len() as u64)),
            Bytes(new.len() as u64),
        ),
    }
}

/// Returns how `new` differs from the file at `path`, which has `old` bytes if it is there.
pub(super) fn diff_with(
    cx: &Cx,
    path: &Utf8Path,
    old: Option<Bytes>,
    new: &[u8],
) -> Result<String, Failure> {
    Ok(match old {
        Some(old) if old.0 > DIFFABLE => sizes(path, Some(old), Bytes(new.len() as u64)),
        Some(_) => diff(path, Some(&whole(cx, path, Bytes(2 * DIFFABLE))?), new),
        None => diff(path, None, new),
    })
}

/// Returns how the file at `new` differs from the one at `old`, under the name of `path`.
pub(super) fn diff_files(
    cx: &Cx,
    path: &Utf8Path,
    old: Option<(&Utf8Path, Bytes)>,
    new: (&Utf8Path, Bytes),
) -> Result<String, Failure> {
    let old_size = old.map(|(_, size)| size);
    if new.1.0 > DIFFABLE || old_size.is_some_and(|size| size.0 > DIFFABLE) {
        return Ok(sizes(path, old_size, new.1));
    }
    let most = Bytes(2 * DIFFABLE);
    let before = old.map(|(old, _)| whole(cx, old, most)).transpose()?;
    Ok(diff(path, before.as_deref(), &whole(cx, new.0, most)?))
}

fn sizes(path: &Utf8Path, old: Option<Bytes>, new: Bytes) -> String {
    match old {
        Some(old) => format!("contents of `{path}` differ: {old} -> {new}\n"),
        None => format!("new `{path}`: {new}\n"),
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn a_pipe_a_socket_and_a_directory_are_refused_by_type_at_once() {
        let bench = Bench::new();
        let fifo = bench.path("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            fifo.as_str(),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("a pipe");
        let socket = bench.path("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        for (path, what) in [
            (fifo.as_path(), "a named pipe"),
            (&socket, "a socket"),
            (&bench.path("."), "a directory"),
            (Utf8Path::new("/dev/zero"), "a character device"),
        ] {
            let failure = digest(bench.cx(), path, PlainHasher::boxed()).expect_err(what);
            assert!(failure.message.contains(what), "{}", failure.message);
        }
    }

    #[test]
    fn a_stopped_step_stops_reading() {
        let bench = Bench::new();
        let path = bench.path("a");
        fs::write(&path, "x").expect("written");
        bench.cancel();
        let failure = digest(bench.cx(), &path, PlainHasher::boxed()).expect_err("stopped");
        assert_eq!(failure.class, runwright_core::kind::Class::Cancelled);
    }

    #[test]
    fn text_is_compared_by_line_and_anything_else_by_size() {
        let path = Utf8Path::new("/x");
        let diff = |old: Option<&str>, new: &str| {
            super::diff(path, old.map(str::as_bytes), new.as_bytes())
        };
        assert_eq!(
            diff(Some("a\nb\n"), "a\nc\n"),
            "--- /x\n+++ /x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
        );
        assert_eq!(
            diff(None, "a\n"),
            "--- /dev/null\n+++ /x\n@@ -0,0 +1 @@\n+a\n"
        );
        assert_eq!(
            diff(Some("a\0"), "abc"),
            "contents of `/x` differ: 2B -> 3B\n"
        );
    }
}
