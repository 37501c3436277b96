//! `file.copy`: copies one file, checked by digest.
//!
//! An existing destination is replaced only with `overwrite: true`. The undo puts back what was there, or removes the
//! copy.

use std::{fs, os::unix::fs::MetadataExt};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{Change, Cx, Description, Digest, Effect, Failure, Kind, Look, Step, Touch},
    units::{Bytes, Mode},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    absolute, blocking,
    content::{self, Content},
    failed, folder_of, looked_at, owner,
    put_back::PutBack,
    replacement::{Attributes, Before},
    state::{State, followed, mode_of},
};

pub(super) const KIND: Kind = Kind::of::<FileCopy>("file.copy");

/// Copies one regular file; the copy is read back and compared by digest before it gets its name.
///
/// A symbolic link as the source is followed, as the destination refused. The copy has the source's mode; its owner is
/// the run's user, or that of the file it replaces. Undone by putting back what was there, or removing the copy.
///
/// ```yaml
/// - id: save
///   title: Keep a copy of the configuration
///   file.copy: { from: /etc/hosts, to: /tmp/example/hosts.before, parents: true, times: true }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileCopy {
    /// The file to copy; a relative path starts at the run's working folder.
    #[schemars(with = "String")]
    from: Utf8PathBuf,
    /// The path of the copy itself, not of a folder for it.
    #[schemars(with = "String")]
    to: Utf8PathBuf,
    /// Whether an existing file with another content is replaced (default no).
    #[serde(default)]
    overwrite: bool,
    /// Whether the copy gets the times of the source as well (default no).
    #[serde(default)]
    times: bool,
    /// Another mode than the source's, as quoted octal digits.
    #[serde(default)]
    #[schemars(with = "Mode")]
    mode: Option<Mode>,
    /// The owner of the copy, by name or number.
    #[serde(default)]
    #[schemars(with = "String")]
    owner: Option<String>,
    /// The group of the copy, by name or number.
    #[serde(default)]
    #[schemars(with = "String")]
    group: Option<String>,
    /// Whether missing folders above the copy are made (default no).
    #[serde(default)]
    parents: bool,
}

/// The copy.
#[derive(Debug, Serialize, JsonSchema)]
struct Copied {
    /// The source, from the root.
    from: String,
    /// The copy, from the root.
    to: String,
    /// Its size.
    size: Bytes,
    /// The SHA-256 of its content, as hex digits. Where a secret stands in the content it is `keyed:…`: the same for the
    /// same content within the run, and no use outside of it.
    #[schemars(with = "String")]
    digest: Digest,
    /// Its mode.
    mode: Mode,
}

impl Step for FileCopy {
    type Output = Copied;
    type Before = Before;
    type Undo = PutBack;
    const EFFECT: Effect = Effect::Change;

    fn touches(&self) -> Vec<Touch> {
        vec![
            Touch::reads(format!("file:{}", self.from)),
            Touch::changes(format!("file:{}", self.to)),
            Touch::reads(format!("file:{}", folder_of(&self.to))),
        ]
    }

    fn describe(&self) -> Description {
        Description::new(format!("copy {} to {}", self.from, self.to))
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Copied, Before>, Failure> {
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.look_now(&cx)).await
    }

    async fn keep(&self, cx: &Cx, before: &Before) -> Result<(), Failure> {
        let (cx, before) = (cx.clone(), before.clone());
        blocking(move || before.keep(&cx)).await
    }

    fn undo(&self, before: &Before) -> Option<PutBack> {
        Some(PutBack::new(before))
    }

    async fn perform(&self, cx: &Cx, before: Option<&Before>) -> Result<Copied, Failure> {
        let before = looked_at(before)?.clone();
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || {
            let from = absolute(&cx, &step.from)?;
            before.replace(&cx, |file, temporary| {
                copy(&cx, &from, file, temporary, step.times, &before.after)
            })?;
            Ok(step.copied(&from, &before))
        })
        .await
    }
}

impl FileCopy {
    fn look_now(&self, cx: &Cx) -> Result<Look<Copied, Before>, Failure> {
        let from = absolute(cx, &self.from)?;
        let to = absolute(cx, &self.to)?;
        let source = content::digest(cx, &from, cx.host.hasher())?;
        let size = Bytes(source.size);
        let attributes = Attributes {
            mode: Some(match self.mode {
                Some(mode) => mode,
                None => self.inherited_mode(&from)?,
            }),
            owner: self.owner.as_deref(),
            group: self.group.as_deref(),
            parents: self.parents,
        };
        let before = Before::look(cx, &to, attributes, source)?;
        if before.is_after() {
            return Ok(Look::Done(self.copied(&from, &before)));
        }
        if before.was.exists && !self.overwrite {
            return Err(Failure::refused(format!(
                "copy `{from}` to `{to}`: there is another file ({})",
                before.was.difference(&before.after)
            ))
            .hint("`overwrite: true` replaces it; its content is kept for the undo"));
        }
        let old = before.was.size.map(|size| (to.as_path(), size));
        let diff = if before.was.digest == before.after.digest {
            None
        } else {
            Some(content::diff_files(cx, &to, old, (&from, size))?)
        };
        Ok(Look::Needed(Change {
            summary: before.summary(),
            before,
            diff,
        }))
    }

    /// Returns the source's mode; setuid and setgid go only with a file that stays its owner's.
    fn inherited_mode(&self, from: &Utf8Path) -> Result<Mode, Failure> {
        let found = followed(from)?.ok_or_else(|| {
            Failure::internal(format!("copy `{from}`: it was removed at this moment"))
        })?;
        let mode = mode_of(&found);
        let owner = self.owner.as_deref().map(owner::uid).transpose()?;
        let group = self.group.as_deref().map(owner::gid).transpose()?;
        if owner == Some(found.uid()) && group == Some(found.gid()) {
            Ok(mode)
        } else {
            Ok(Mode(mode.0 & 0o1777))
        }
    }

    fn copied(&self, from: &Utf8Path, before: &Before) -> Copied {
        Copied {
            from: from.to_string(),
            to: before.path.to_string(),
            size: before.after.size.unwrap_or_default(),
            digest: before.after.digest.clone().expect("a file has a digest"),
            mode: before.after.mode.expect("a file has a mode"),
        }
    }
}

/// Copies `from` into `file`, which lies at `temporary`, and reads it back; the digest is in the form that was
/// announced.
pub(super) fn copy(
    cx: &Cx,
    from: &Utf8Path,
    file: &mut fs::File,
    temporary: &Utf8Path,
    times: bool,
    announced: &State,
) -> Result<Content, Failure> {
    let hasher = || match &announced.digest {
        Some(digest) => content::hasher_like(cx, from, digest),
        None => Ok(cx.host.hasher()),
    };
    let read = content::copy_into(cx, from, file, temporary, hasher()?)?;
    let written = content::digest(cx, temporary, hasher()?)?;
    if written != read {
        return Err(Failure::internal(format!(
            "copy `{from}`: what was written is not what was read"
        ))
        .hint("the disk or its memory is faulty; look at the kernel's log"));
    }
    if times {
        let fail = |error| failed("copy the times of", from, &error);
        let source = fs::metadata(from).map_err(fail)?;
        let times = fs::FileTimes::new()
            .set_accessed(source.accessed().map_err(fail)?)
            .set_modified(source.modified().map_err(fail)?);
        file.set_times(times).map_err(fail)?;
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{PermissionsExt, symlink},
        time::{Duration, UNIX_EPOCH},
    };

    use runwright_core::{
        kind::{Class, Looked, UndoLook},
        value::Value,
    };
    use serde_json::json;

    use super::*;
    use crate::testing::Bench;

    fn source(bench: &Bench) -> Utf8PathBuf {
        let path = bench.path("from");
        fs::write(&path, "content").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).expect("set");
        path
    }

    #[test]
    fn a_copy_has_content_mode_and_on_demand_times() {
        let bench = Bench::new();
        let from = source(&bench);
        let then = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let file = fs::File::options().append(true).open(&from).expect("open");
        file.set_modified(then).expect("set");
        let arguments = json!({"from": "from", "to": "deep/to", "parents": true, "times": true});
        let (result, undo) = bench.run(KIND, arguments.clone()).expect("copied");
        let to = bench.path("deep/to");
        let metadata = fs::metadata(&to).expect("there");
        assert_eq!(fs::read(&to).expect("there"), b"content");
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o750);
        assert_eq!(metadata.modified().expect("a time"), then);
        assert_eq!(result.get("digest"), Some(&Digest::of(b"content").0.into()));
        let (_, nothing) = bench.run(KIND, arguments).expect("there already");
        assert!(nothing.is_none());
        let undo = undo.expect("an undo");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert!(!bench.path("deep").exists());
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Done));
    }

    #[test]
    fn another_file_is_replaced_only_when_told_and_comes_back() {
        let bench = Bench::new();
        source(&bench);
        let to = bench.path("to");
        fs::write(&to, "old\0").expect("written");
        let mut arguments = json!({"from": "from", "to": "to"});
        let failure = bench.look(KIND, arguments.clone()).expect_err("refused");
        assert_eq!(failure.class, Class::Refused);
        assert!(
            failure
                .hint
                .is_some_and(|hint| hint.contains("overwrite: true"))
        );
        arguments["overwrite"] = json!(true);
        let look = bench.look(KIND, arguments.clone()).expect("a look");
        assert!(
            matches!(&look, Looked::Needed { diff: Some(diff), .. } if diff.contains("4B -> 7B")),
            "{look:?}"
        );
        let (_, undo) = bench.run(KIND, arguments).expect("copied");
        assert_eq!(fs::read(&to).expect("there"), b"content");
        let undo = undo.expect("an undo");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(fs::read(&to).expect("there"), b"old\0");
        let mode = fs::metadata(&to).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
    }

    #[test]
    fn a_source_that_changes_after_the_look_is_not_copied() {
        let bench = Bench::new();
        let from = source(&bench);
        let arguments = Value::from_stored(&json!({"from": "from", "to": "to"}));
        let Looked::Needed { before, .. } =
            bench.look(KIND, arguments.to_stored()).expect("a look")
        else {
            panic!("needed");
        };
        fs::write(&from, "other").expect("written");
        let action = (KIND.open)(&arguments).expect("arguments");
        let failure = tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(action.perform(bench.cx(), Some(&before)))
            .expect_err("changed");
        assert_eq!(failure.class, Class::Refused);
        assert!(!bench.path("to").exists());
    }

    #[test]
    fn a_stopped_copy_leaves_nothing() {
        let bench = Bench::new();
        source(&bench);
        let arguments = Value::from_stored(&json!({"from": "from", "to": "to"}));
        let Looked::Needed { before, .. } =
            bench.look(KIND, arguments.to_stored()).expect("a look")
        else {
            panic!("needed");
        };
        bench.cancel();
        let action = (KIND.open)(&arguments).expect("arguments");
        let failure = tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(action.perform(bench.cx(), Some(&before)))
            .expect_err("stopped");
        assert_eq!(failure.class, Class::Cancelled);
        assert_eq!(
            fs::read_dir(bench.path("")).expect("listed").count(),
            2,
            "the source and the kept contents"
        );
    }

    #[test]
    fn a_link_is_followed_as_the_source_and_refused_as_the_destination() {
        let bench = Bench::new();
        source(&bench);
        symlink("from", bench.path("link")).expect("a link");
        bench
            .run(KIND, json!({"from": "link", "to": "to"}))
            .expect("copied");
        assert!(
            bench
                .path("to")
                .symlink_metadata()
                .expect("there")
                .is_file()
        );
        for (from, to, says) in [
            ("to", "link", "link`: it is a symbolic link"),
            ("missing", "x", "missing`"),
            (".", "x", "it is a directory"),
            ("from", ".kept", "it is a directory"),
            ("from", "no/x", "no` does not exist"),
        ] {
            let arguments = json!({"from": from, "to": to, "overwrite": true});
            let failure = bench.look(KIND, arguments).expect_err(says);
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }
}
