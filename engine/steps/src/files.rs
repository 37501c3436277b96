//! Steps on what lies on a file system.
//!
//! What writes does it in one way ([`replacement`]): a temporary file in the same folder, synced, with its mode and
//! owner, then renamed over the old one. A symbolic link as the last part of a path is never followed when writing.
//! All blocking work runs on threads of its own ([`blocking`]).

mod copy;
mod delete;
mod directory;
mod find;
mod r#move;
mod read;
mod set;
mod stat;
mod write;

mod assignment;
mod content;
mod folders;
mod glob;
mod mounts;
mod owner;
mod put_back;
mod relocation;
mod replacement;
mod state;
mod tree;

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{Class, Cx, Digest, Failure, Kind},
    value::{ArgumentError, Value},
};

pub(crate) const KINDS: &[Kind] = &[
    stat::KIND,
    find::KIND,
    read::KIND,
    write::KIND,
    set::KIND,
    copy::KIND,
    r#move::KIND,
    delete::KIND,
    directory::KIND,
];

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Failure::new(Class::Cancelled, "work on files").because(&error)),
        },
    }
}

/// Returns `path` from the root, without a last `/` or `.`; a relative one starts at the run's working folder.
fn absolute(cx: &Cx, path: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    if path.as_str().is_empty() {
        return Err(Failure::refused("use an empty path").hint("give the path in full"));
    }
    Ok(cx.children.cwd.join(path).components().collect())
}

/// Returns the folder that holds `path`.
fn folder_of(path: &Utf8Path) -> &Utf8Path {
    path.parent().unwrap_or(Utf8Path::new("/"))
}

/// Returns where `what` is put together or kept, beside `path`: the same name for each attempt of one step.
///
/// The dot keeps it out of listings and of what reads whole folders (`/etc/cron.d`), the run's id says whose it is.
fn beside(cx: &Cx, path: &Utf8Path, what: &str) -> Utf8PathBuf {
    let own = Digest::of(format!("{}\n{path}\n{what}", cx.step).as_bytes());
    let suffix = format!(".runwright-{}-{}", cx.run, &own.0[..8]);
    let name = path.file_name().unwrap_or_default();
    // Names end at 255 bytes on the file systems that we know.
    let room = 254_usize.saturating_sub(suffix.len());
    let mut end = name.len().min(room);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    path.with_file_name(format!(".{}{suffix}", &name[..end]))
}

/// Returns the failure to `verb` (`read`, `rename`) the thing at `path`, with what can be done about it.
fn failed(verb: &str, path: &Utf8Path, error: &io::Error) -> Failure {
    let failure = Failure::internal(format!("{verb} `{path}`")).because(error);
    let folder = folder_of(path);
    match error.kind() {
        io::ErrorKind::NotFound => failure.hint(format!("see what is in `{folder}`")),
        io::ErrorKind::PermissionDenied => failure.hint(format!(
            "the run's user may not do that: look at mode and owner of `{path}` and of `{folder}`"
        )),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failure.hint(format!(
            "free space on the file system of `{folder}`; what was there is untouched"
        )),
        io::ErrorKind::ReadOnlyFilesystem => failure.hint(format!(
            "the file system of `{folder}` is mounted read-only"
        )),
        io::ErrorKind::NotADirectory => {
            failure.hint(format!("a part of `{folder}` is not a directory"))
        }
        _ if error.raw_os_error() == Some(libc::ELOOP) => failure.hint(format!(
            "the symbolic links on the way to `{path}` go in a circle"
        )),
        _ => failure,
    }
}

/// Fails when the step is to end.
fn go_on(cx: &Cx, doing: &str, path: &Utf8Path) -> Result<(), Failure> {
    if cx.host.cancelled() {
        return Err(Failure::new(
            Class::Cancelled,
            format!("{doing} `{path}` to its end: the step was stopped"),
        ));
    }
    Ok(())
}

/// Returns the state before, which the looks of this family always give where something is needed.
fn looked_at<B>(before: Option<&B>) -> Result<&B, Failure> {
    before.ok_or_else(|| Failure::internal("act on a file that was not looked at"))
}

/// Returns whether the argument `name` is given, as far as that is known: `null` is not given.
fn gives(arguments: &Value, name: &str) -> bool {
    !matches!(arguments.get(name), None | Some(Value::Null))
}

/// Returns an error about the argument `name`.
fn wrong(name: &str, message: impl Into<String>) -> ArgumentError {
    ArgumentError {
        path: vec![name.to_owned()],
        message: message.into(),
    }
}

/// Returns an error about the arguments as a whole.
fn wrong_whole(message: impl Into<String>) -> ArgumentError {
    ArgumentError {
        path: Vec::new(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn a_name_beside_fits_and_differs_by_step_and_path() {
        let bench = Bench::new();
        let long = bench.path(&"ü".repeat(127));
        let aside = beside(bench.cx(), &long, "new");
        assert!(aside.file_name().expect("a name").len() <= 255, "{aside}");
        std::fs::write(&aside, "x").expect("the name is one that the file system takes");
        assert_ne!(
            aside,
            beside(bench.cx(), &bench.path(&"ü".repeat(126)), "new")
        );
        let mut other = bench.cx().clone();
        other.step = "other".into();
        assert_ne!(aside, beside(&other, &long, "new"));
        assert_eq!(aside, beside(bench.cx(), &long, "new"));
    }

    #[test]
    fn a_relative_path_starts_at_the_working_folder_and_an_empty_one_is_refused() {
        let bench = Bench::new();
        let path = absolute(bench.cx(), Utf8Path::new("a/./b/")).expect("a path");
        assert_eq!(path, bench.path("a/b"));
        let failure = absolute(bench.cx(), Utf8Path::new("")).expect_err("no path");
        assert_eq!(failure.class, Class::Refused);
    }
}
