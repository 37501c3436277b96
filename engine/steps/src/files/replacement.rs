//! How a file gets a new content: whole or not at all.
//!
//! The new content is put together in a file beside the old one (0600, so that nobody reads it before it has its
//! mode), synced, given mode and owner, and renamed over the old one; then the folder is synced. A crash leaves the
//! old or the new content under the name, and at most that one file beside it, which the next attempt or the undo
//! removes.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{Cx, Digest, Failure, Hasher},
    units::{Bytes, Mode},
};
use serde::{Deserialize, Serialize};

use super::{
    beside,
    content::{self, Content},
    failed, folder_of, folders, owner,
    state::{self, FileType, State},
};

/// The state before a file is replaced or made, and what it will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    /// The file, from the root.
    pub(super) path: Utf8PathBuf,
    /// What is there.
    #[serde(flatten)]
    pub(super) was: State,
    /// What will be there.
    pub(super) after: State,
    /// The folders that will be made for it, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) folders: Vec<Utf8PathBuf>,
    /// Where the new content is put together.
    pub(super) temporary: Utf8PathBuf,
}

/// What a file is to have beside its content; what is not given stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attributes<'a> {
    pub(super) mode: Option<Mode>,
    pub(super) owner: Option<&'a str>,
    pub(super) group: Option<&'a str>,
    /// Whether missing folders above it are made.
    pub(super) parents: bool,
}

impl Before {
    /// Looks at `path`, which is to become a file of `content`.
    pub(super) fn look(
        cx: &Cx,
        path: &Utf8Path,
        attributes: Attributes<'_>,
        content: Content,
    ) -> Result<Before, Failure> {
        let was = target(cx, path)?;
        let folders = match was.kind {
            FileType::Missing => folders::above(path, attributes.parents)?,
            _ => Vec::new(),
        };
        let wanted_uid = attributes.owner.map(owner::uid).transpose()?;
        let wanted_gid = attributes.group.map(owner::gid).transpose()?;
        let after = State {
            exists: true,
            kind: FileType::File,
            mode: Some(
                attributes
                    .mode
                    .or(was.mode)
                    .unwrap_or(Mode(0o666 & !cx.children.umask)),
            ),
            uid: Some(wanted_uid.or(was.uid).unwrap_or_else(our_uid)),
            gid: Some(match wanted_gid.or(was.gid) {
                Some(gid) => gid,
                None => inherited_gid(path)?,
            }),
            size: Some(Bytes(content.size)),
            digest: Some(content.digest),
            target: None,
        };
        Ok(Before {
            path: path.to_owned(),
            was,
            after,
            folders,
            temporary: beside(cx, path, "new"),
        })
    }

    /// Returns whether the file is as wanted already.
    pub(super) fn is_after(&self) -> bool {
        self.was == self.after
    }

    /// Returns the change in a line.
    pub(super) fn summary(&self) -> String {
        match (self.was.exists, self.after.size) {
            (false, Some(size)) => format!("create, {size}"),
            _ => self.was.difference(&self.after),
        }
    }

    /// Puts the old content away; fails when it is no longer the one that was looked at.
    pub(super) fn keep(&self, cx: &Cx) -> Result<(), Failure> {
        self.is_still(cx)?;
        match &self.was.digest {
            Some(digest) => keep(cx, &self.path, digest),
            None => Ok(()),
        }
    }

    /// Replaces the content by what `fill` writes, which must be what was announced by its digest.
    ///
    /// Does nothing where an earlier attempt got to its end.
    pub(super) fn replace(
        &self,
        cx: &Cx,
        fill: impl FnOnce(&mut fs::File, &Utf8Path) -> Result<Content, Failure>,
    ) -> Result<(), Failure> {
        writable(&self.path)?;
        if State::like(&self.after, cx, &self.path)? == self.after {
            remove_leftover(&self.temporary)?;
            return folders::sync(folder_of(&self.path));
        }
        self.is_still(cx)?;
        folders::make(cx, &self.folders)?;
        let over = Over::from(&self.was);
        put(&self.path, &self.temporary, &self.after, over, fill)
    }

    /// Begins the digest of what [`Before::replace`] is to fill in.
    pub(super) fn hasher(&self, cx: &Cx) -> Result<Box<dyn Hasher>, Failure> {
        match &self.after.digest {
            Some(announced) => content::hasher_like(cx, &self.path, announced),
            None => Ok(cx.host.hasher()),
        }
    }

    /// Fails when the file has left the state it was looked at.
    fn is_still(&self, cx: &Cx) -> Result<(), Failure> {
        writable(&self.path)?;
        let now = State::like(&self.was, cx, &self.path)?;
        if now != self.was {
            return Err(left(&self.path, &self.was, &now));
        }
        Ok(())
    }
}

/// Whether a rename may replace something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The name is free, and must still be when the rename happens.
    Nothing,
    /// There is a file that is to be replaced.
    Existing,
}

impl From<&State> for Over {
    fn from(state: &State) -> Over {
        if state.exists {
            Over::Existing
        } else {
            Over::Nothing
        }
    }
}

/// Returns what is at `path`, which is to be written: a regular file or nothing, else it is refused.
pub(super) fn target(cx: &Cx, path: &Utf8Path) -> Result<State, Failure> {
    writable(path)?;
    State::of(cx, path)
}

/// Refuses to write `path` where it is neither a regular file nor nothing.
fn writable(path: &Utf8Path) -> Result<(), Failure> {
    let kind = state::metadata(path)?.map_or(FileType::Missing, |found| FileType::of(&found));
    match kind {
        FileType::File | FileType::Missing if path.file_name().is_some() => Ok(()),
        FileType::Link => Err(Failure::refused(format!(
            "write `{path}`: it is a symbolic link, and links are not followed when writing"
        ))
        .hint(format!(
            "name the file itself: the link leads to `{}`",
            state::link_target(path)?
        ))),
        other => Err(Failure::refused(format!(
            "write `{path}`: it is {}, not a regular file",
            other.noun()
        ))),
    }
}

/// Returns the refusal to act on `path`, which has left the state it was looked at.
pub(super) fn left(path: &Utf8Path, was: &State, now: &State) -> Failure {
    Failure::refused(format!(
        "act on `{path}`: it has changed since it was looked at ({}): it is {} now",
        was.difference(now),
        now.display()
    ))
    .hint("run it again, so that the change is worked out from what is there now")
}

/// Copies the content of `path` into the run's folder; fails when it has not the `expected` digest.
pub(super) fn keep(cx: &Cx, path: &Utf8Path, expected: &Digest) -> Result<(), Failure> {
    let kept = cx
        .host
        .keep(path, expected)
        .map_err(|error| failed("keep a copy for the undo of", path, &error))?;
    if kept == *expected {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "keep a copy of `{path}` for the undo: its content has changed since it was looked at"
    ))
    .hint("something else writes to it; run it again when that has ended"))
}

/// Puts a file that is as `wanted`, with the content that `fill` writes, in the place of `path`.
pub(super) fn put(
    path: &Utf8Path,
    temporary: &Utf8Path,
    wanted: &State,
    over: Over,
    fill: impl FnOnce(&mut fs::File, &Utf8Path) -> Result<Content, Failure>,
) -> Result<(), Failure> {
    remove_leftover(temporary)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)
        .map_err(|error| failed("write", path, &error))?;
    let placed = fill(&mut file, temporary)
        .map_err(|mut failure| {
            // People know the file by its own name.
            failure.message = failure.message.replace(temporary.as_str(), path.as_str());
            failure
        })
        .and_then(|content| check(path, &content, wanted))
        .and_then(|()| set_attributes(&file, path, wanted))
        .and_then(|()| {
            file.sync_all()
                .map_err(|error| failed("write through to the disk", path, &error))
        })
        .and_then(|()| rename(temporary, path, over));
    if placed.is_err() {
        // The first error is the one that counts; what can't be removed here the next attempt removes.
        let _ = fs::remove_file(temporary);
    }
    placed?;
    folders::sync(folder_of(path))
}

/// Writes `bytes` to `file`, with the digest that `hasher` makes: the filling of [`put`] for what is in memory.
pub(super) fn fill_with(
    bytes: &[u8],
    mut hasher: Box<dyn Hasher>,
) -> impl FnOnce(&mut fs::File, &Utf8Path) -> Result<Content, Failure> {
    move |file, temporary| {
        file.write_all(bytes)
            .map_err(|error| failed("write", temporary, &error))?;
        hasher.update(bytes);
        let digest = hasher.finish();
        Ok(Content {
            size: bytes.len() as u64,
            digest: digest.map_err(|error| failed("make a digest of", temporary, &error))?,
        })
    }
}

fn check(path: &Utf8Path, content: &Content, wanted: &State) -> Result<(), Failure> {
    if Some(&content.digest) == wanted.digest.as_ref() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "write `{path}`: the new content is not the one that was announced"
    ))
    .hint("what it is made from has changed since it was looked at; run it again"))
}

fn set_attributes(file: &fs::File, path: &Utf8Path, wanted: &State) -> Result<(), Failure> {
    let now = file
        .metadata()
        .map_err(|error| failed("look at", path, &error))?;
    if (Some(now.uid()), Some(now.gid())) != (wanted.uid, wanted.gid) {
        std::os::unix::fs::fchown(file, wanted.uid, wanted.gid)
            .map_err(|error| failed("set the owner of", path, &error))?;
    }
    // After the owner, whose change takes setuid and setgid away.
    if let Some(mode) = wanted.mode {
        file.set_permissions(fs::Permissions::from_mode(mode.0))
            .map_err(|error| failed("set the mode of", path, &error))?;
    }
    Ok(())
}

/// Renames `from` to `to`, both on one file system.
pub(super) fn rename(from: &Utf8Path, to: &Utf8Path, over: Over) -> Result<(), Failure> {
    let fail = |error: io::Error| failed(&format!("rename `{from}` to"), to, &error);
    if over == Over::Existing {
        return fs::rename(from, to).map_err(fail);
    }
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(
        rustix::fs::CWD,
        from.as_std_path(),
        rustix::fs::CWD,
        to.as_std_path(),
        flags,
    ) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => Err(Failure::refused(format!(
            "rename `{from}` to `{to}`: there is something under that name since it was looked at"
        ))),
        // Not every file system knows that flag.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP)
            if to.symlink_metadata().is_err() =>
        {
            fs::rename(from, to).map_err(fail)
        }
        Err(error) => Err(fail(error.into())),
    }
}

/// Removes what an attempt that died left at `temporary`.
pub(super) fn remove_leftover(temporary: &Utf8Path) -> Result<(), Failure> {
    match fs::remove_file(temporary) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(failed("remove the leftover", temporary, &error))
        }
        _ => Ok(()),
    }
}

fn our_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Returns the group of what is made at `path`: that of the folder where its setgid bit says so.
pub(super) fn inherited_gid(path: &Utf8Path) -> Result<u32, Failure> {
    for folder in path.ancestors().skip(1) {
        if let Some(metadata) = state::followed(folder)? {
            if metadata.mode() & 0o2000 != 0 {
                return Ok(metadata.gid());
            }
            break;
        }
    }
    Ok(nix::unistd::getegid().as_raw())
}

#[cfg(test)]
mod tests {
    use runwright_core::kind::PlainHasher;

    use super::*;
    use crate::testing::Bench;

    fn content(text: &str) -> Content {
        Content {
            size: text.len() as u64,
            digest: Digest::of(text.as_bytes()),
        }
    }

    fn look(bench: &Bench, path: &Utf8Path, text: &str) -> Before {
        Before::look(bench.cx(), path, Attributes::default(), content(text)).expect("a look")
    }

    #[test]
    fn the_state_before_is_stored_and_read_back() {
        let bench = Bench::new();
        let path = bench.path("a");
        fs::write(&path, "old").expect("written");
        let before = look(&bench, &path, "new");
        let stored = runwright_core::value::Value::from_stored(
            &serde_json::to_value(&before).expect("stored"),
        );
        assert_eq!(
            stored.get("size").map(|size| size.display()),
            Some("3B".into())
        );
        let back: Before = serde_json::from_value(stored.to_stored()).expect("read back");
        assert_eq!(back, before);
    }

    #[test]
    fn a_name_that_was_taken_meanwhile_is_not_replaced() {
        let bench = Bench::new();
        let path = bench.path("a");
        let before = look(&bench, &path, "new");
        let failure = before
            .replace(bench.cx(), |file, temporary| {
                fs::write(&path, "somebody's").expect("written");
                fill_with(b"new", PlainHasher::boxed())(file, temporary)
            })
            .expect_err("taken");
        assert_eq!(failure.class, runwright_core::kind::Class::Refused);
        assert_eq!(fs::read(&path).expect("there"), b"somebody's");
        assert!(!before.temporary.exists(), "nothing is left beside it");
    }

    #[test]
    fn what_is_not_as_announced_is_not_put_in_place() {
        let bench = Bench::new();
        let path = bench.path("a");
        fs::write(&path, "old").expect("written");
        let before = look(&bench, &path, "new");
        before
            .replace(bench.cx(), fill_with(b"other", PlainHasher::boxed()))
            .expect_err("another content");
        assert_eq!(fs::read(&path).expect("there"), b"old");
        assert!(!before.temporary.exists(), "nothing is left beside it");
    }

    #[test]
    fn a_failure_names_the_file_and_not_what_lies_beside_it() {
        let bench = Bench::new();
        let path = bench.path("a");
        let before = look(&bench, &path, "new");
        let failure = before
            .replace(bench.cx(), |_, temporary| {
                let full = io::Error::from(io::ErrorKind::StorageFull);
                Err(failed("write", temporary, &full))
            })
            .expect_err("full");
        assert_eq!(failure.message, format!("write `{path}`"));
        assert!(
            failure
                .hint
                .is_some_and(|hint| hint.starts_with("free space"))
        );
        assert!(!before.temporary.exists(), "nothing is left beside it");
    }

    #[test]
    fn the_content_is_nobodys_to_read_before_it_has_its_mode() {
        let bench = Bench::new();
        let path = bench.path("a");
        let before = look(&bench, &path, "new");
        before
            .replace(bench.cx(), |file, temporary| {
                let mode = fs::metadata(temporary).expect("there").permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
                fill_with(b"new", PlainHasher::boxed())(file, temporary)
            })
            .expect("replaced");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }
}
