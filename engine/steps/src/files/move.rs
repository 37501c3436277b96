//! `file.move`: gives a file, a link or a directory another path.
//!
//! Within a file system it is a rename; to another one a file or link is copied, checked, and then removed. The undo
//! moves it back and puts back what was replaced.

use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{Change, Cx, Description, Effect, Failure, Kind, Look, Step, Touch},
    units::Bytes,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    absolute, beside, blocking, folder_of, folders, looked_at,
    relocation::{Before, MoveBack},
    replacement::{keep, remove_leftover, target},
    state::{self, FileType, Identity, State},
};

pub(super) const KIND: Kind = Kind::of::<FileMove>("file.move");

/// Moves a file, a symbolic link (itself) or a directory to another path.
///
/// To another file system a file or a link is copied with mode, owner and times, compared by digest, and then removed
/// at its old path; a directory is not moved there. Where nothing is at `from` and something at `to`, it counts as
/// moved already. Undone by moving it back and putting back what was replaced.
///
/// ```yaml
/// - id: aside
///   title: Put the damaged file aside
///   file.move: { from: /tmp/example/kv.db, to: /tmp/example/damaged/kv.db, parents: true }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileMove {
    /// What is moved; a relative path starts at the run's working folder.
    #[schemars(with = "String")]
    from: Utf8PathBuf,
    /// Its new path itself, not that of a folder for it.
    #[schemars(with = "String")]
    to: Utf8PathBuf,
    /// Whether an existing file is replaced (default no); its content is kept for the undo.
    #[serde(default)]
    overwrite: bool,
    /// Whether missing folders above the new path are made (default no).
    #[serde(default)]
    parents: bool,
}

/// What was moved.
#[derive(Debug, Serialize, JsonSchema)]
struct Moved {
    /// Where it was, from the root.
    from: String,
    /// Where it is, from the root.
    to: String,
    /// What it is.
    #[serde(rename = "type")]
    kind: FileType,
    /// The size of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<Bytes>,
}

impl Step for FileMove {
    type Output = Moved;
    type Before = Before;
    type Undo = MoveBack;
    const EFFECT: Effect = Effect::Change;

    fn touches(&self) -> Vec<Touch> {
        vec![
            Touch::changes(format!("file:{}", self.from)),
            Touch::changes(format!("file:{}", self.to)),
            Touch::reads(format!("file:{}", folder_of(&self.to))),
        ]
    }

    fn describe(&self) -> Description {
        Description::new(format!("move {} to {}", self.from, self.to))
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Moved, Before>, Failure> {
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.look_now(&cx)).await
    }

    async fn keep(&self, cx: &Cx, before: &Before) -> Result<(), Failure> {
        let (cx, before) = (cx.clone(), before.clone());
        blocking(move || match &before.destination.digest {
            Some(digest) => keep(&cx, &before.to, digest),
            None => Ok(()),
        })
        .await
    }

    fn undo(&self, before: &Before) -> Option<MoveBack> {
        Some(MoveBack {
            version: 1,
            before: before.clone(),
        })
    }

    async fn perform(&self, cx: &Cx, before: Option<&Before>) -> Result<Moved, Failure> {
        let before = looked_at(before)?.clone();
        let cx = cx.clone();
        blocking(move || {
            if before.across {
                before.carry(&cx)?;
            } else {
                before.rename(&cx)?;
            }
            remove_leftover(&before.temporary)?;
            folders::sync(folder_of(&before.to))?;
            folders::sync(folder_of(&before.from))?;
            Ok(moved(&before.from, &before.to, &before.was))
        })
        .await
    }
}

impl FileMove {
    fn look_now(&self, cx: &Cx) -> Result<Look<Moved, Before>, Failure> {
        let from = absolute(cx, &self.from)?;
        let to = absolute(cx, &self.to)?;
        let refuse = |why: &str| Failure::refused(format!("move `{from}` to `{to}`: {why}"));
        let Some(identity) = Identity::of(&from)? else {
            let there = State::without_content(&to)?;
            return if there.exists {
                Ok(Look::Done(moved(&from, &to, &there)))
            } else {
                Err(refuse("there is nothing at either path"))
            };
        };
        if from.file_name().is_none() || to.starts_with(&from) {
            return Err(refuse("nothing can be moved into itself"));
        }
        if let Some(there) = Identity::of(&to)? {
            if there.is_same_thing(&identity) {
                return Err(refuse("both are names of the same thing"));
            }
            if there.kind == FileType::Directory {
                return Err(refuse("there is a directory").hint(format!(
                    "give the whole new path: `{}`",
                    to.join(name(&from))
                )));
            }
            if !self.overwrite {
                return Err(refuse("there is something at the new path")
                    .hint("`overwrite: true` replaces it; its content is kept for the undo"));
            }
            if identity.kind == FileType::Directory {
                return Err(refuse("a directory can't replace a file"));
            }
        }
        let destination = target(cx, &to)?;
        let folders = folders::above(&to, self.parents)?;
        let across = device_above(&to)? != device_above(&from)?;
        if across && !matches!(identity.kind, FileType::File | FileType::Link) {
            return Err(refuse(&format!(
                "it is {} and would go to another file system",
                identity.kind.noun()
            ))
            .hint("pack it with `archive.create`, or move its files"));
        }
        let was = if across {
            State::of(cx, &from)?
        } else {
            State::without_content(&from)?
        };
        Ok(Look::Needed(Change {
            summary: summary(&was, across, &destination),
            diff: None,
            before: Before {
                temporary: beside(cx, &to, "new"),
                temporary_back: beside(cx, &from, "old"),
                from,
                to,
                was,
                identity,
                across,
                destination,
                folders,
            },
        }))
    }
}

fn name(path: &Utf8Path) -> &str {
    path.file_name().unwrap_or_default()
}

fn summary(was: &State, across: bool, destination: &State) -> String {
    let mut text = was.display();
    if across {
        text += ", to another file system";
    }
    if destination.exists {
        text += &format!(", replaces {}", destination.display());
    }
    text
}

fn moved(from: &Utf8Path, to: &Utf8Path, what: &State) -> Moved {
    Moved {
        from: from.to_string(),
        to: to.to_string(),
        kind: what.kind,
        size: what.size,
    }
}

/// Returns the device that `path` will lie on.
fn device_above(path: &Utf8Path) -> Result<i64, Failure> {
    for folder in path.ancestors().skip(1) {
        if let Some(metadata) = state::followed(folder)? {
            return Ok(metadata.dev().cast_signed());
        }
    }
    Err(Failure::internal(format!(
        "look at the folders above `{path}`"
    )))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use runwright_core::{
        kind::{Class, Digest, Looked, UndoLook},
        value::Value,
    };
    use serde_json::json;

    use super::*;
    use crate::testing::Bench;

    /// A folder on another file system than the bench's, gone afterwards.
    fn elsewhere(bench: &Bench) -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in /dev/shm");
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8");
        assert_ne!(
            fs::metadata(&path).expect("there").dev(),
            fs::metadata(bench.path("")).expect("there").dev(),
            "/dev/shm and the folder for temporary files must be two file systems: set TMPDIR to a disk"
        );
        (folder, path)
    }

    fn before(bench: &Bench, arguments: &serde_json::Value) -> Before {
        let step: FileMove = Value::from_stored(arguments).read().expect("arguments");
        match step.look_now(bench.cx()).expect("a look") {
            Look::Needed(change) => change.before,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_is_moved_and_moved_back_with_its_folders() {
        let bench = Bench::new();
        fs::write(bench.path("a"), "content").expect("written");
        let arguments = json!({"from": "a", "to": "x/y/b", "parents": true});
        let (result, undo) = bench.run(KIND, arguments.clone()).expect("moved");
        assert_eq!(result.get("size"), Some(&Value::Bytes(Bytes(7))));
        assert!(!bench.path("a").exists());
        assert_eq!(fs::read(bench.path("x/y/b")).expect("there"), b"content");
        let look = bench.look(KIND, arguments).expect("a look");
        assert!(matches!(look, Looked::Done(_)), "{look:?}");
        let undo = undo.expect("an undo");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(fs::read(bench.path("a")).expect("there"), b"content");
        assert!(!bench.path("x").exists());
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Done));
    }

    #[test]
    fn what_is_replaced_is_kept_and_put_back() {
        let bench = Bench::new();
        fs::write(bench.path("a"), "new").expect("written");
        fs::write(bench.path("b"), "old").expect("written");
        fs::set_permissions(bench.path("b"), fs::Permissions::from_mode(0o604)).expect("set");
        let mut arguments = json!({"from": "a", "to": "b"});
        let failure = bench.look(KIND, arguments.clone()).expect_err("refused");
        assert!(failure.hint.is_some_and(|hint| hint.contains("overwrite")));
        arguments["overwrite"] = json!(true);
        let (_, undo) = bench.run(KIND, arguments).expect("moved");
        assert_eq!(fs::read(bench.path("b")).expect("there"), b"new");
        let undo = undo.expect("an undo");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(fs::read(bench.path("a")).expect("there"), b"new");
        assert_eq!(fs::read(bench.path("b")).expect("there"), b"old");
        let mode = fs::metadata(bench.path("b"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o604);
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Done));
    }

    #[test]
    fn a_half_done_undo_is_ended() {
        let bench = Bench::new();
        fs::write(bench.path("a"), "new").expect("written");
        fs::write(bench.path("b"), "old").expect("written");
        let arguments = json!({"from": "a", "to": "b", "overwrite": true});
        let (_, undo) = bench.run(KIND, arguments).expect("moved");
        // Died after the way back, before the old file was put back.
        fs::rename(bench.path("b"), bench.path("a")).expect("renamed");
        let undo = undo.expect("an undo");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(fs::read(bench.path("b")).expect("there"), b"old");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Done));
    }

    #[test]
    fn a_directory_and_a_link_are_moved_themselves() {
        let bench = Bench::new();
        fs::create_dir(bench.path("folder")).expect("made");
        fs::write(bench.path("folder/in"), "x").expect("written");
        symlink("nowhere", bench.path("link")).expect("a link");
        let (_, folder) = bench
            .run(KIND, json!({"from": "folder", "to": "other"}))
            .expect("moved");
        let (_, link) = bench
            .run(KIND, json!({"from": "link", "to": "other/link"}))
            .expect("moved");
        assert_eq!(
            bench.path("other/link").read_link_utf8().expect("a link"),
            "nowhere"
        );
        for undo in [link, folder] {
            let undo = undo.expect("an undo");
            assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        }
        assert!(bench.path("folder/in").is_file());
        assert!(bench.path("link").is_symlink());
    }

    #[test]
    fn across_file_systems_a_file_is_carried_and_carried_back() {
        for keyed in [false, true] {
            carried_and_carried_back(keyed);
        }
    }

    fn carried_and_carried_back(keyed: bool) {
        let bench = Bench::new();
        bench.key_digests(keyed);
        let (_folder, elsewhere) = elsewhere(&bench);
        let (from, to) = (bench.path("a"), elsewhere.join("b"));
        fs::write(&from, "content").expect("written");
        fs::set_permissions(&from, fs::Permissions::from_mode(0o4711)).expect("set");
        fs::write(&to, "old").expect("written");
        let modified = fs::metadata(&from)
            .expect("there")
            .modified()
            .expect("a time");
        let arguments = json!({"from": from, "to": to, "overwrite": true});
        let (_, undo) = bench.run(KIND, arguments).expect("moved");
        assert!(!from.exists());
        assert_eq!(fs::read(&to).expect("there"), b"content");
        let metadata = fs::metadata(&to).expect("there");
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o4711);
        assert_eq!(metadata.modified().expect("a time"), modified);
        let undo = undo.expect("an undo");
        let told = undo.data.to_string();
        for content in ["content", "old"] {
            let plain = Digest::of(content.as_bytes());
            assert_eq!(told.contains(&plain.0), !keyed, "{told}");
        }
        bench.key_digests(false);
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(fs::read(&from).expect("there"), b"content");
        assert_eq!(fs::read(&to).expect("there"), b"old");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Done));
    }

    #[test]
    fn across_file_systems_a_link_goes_and_a_directory_does_not() {
        let bench = Bench::new();
        let (_folder, elsewhere) = elsewhere(&bench);
        symlink("nowhere", bench.path("link")).expect("a link");
        let to = elsewhere.join("link");
        let (_, undo) = bench
            .run(KIND, json!({"from": "link", "to": to}))
            .expect("moved");
        assert_eq!(to.read_link_utf8().expect("a link"), "nowhere");
        assert_eq!(
            bench.undo(KIND, &undo.expect("an undo")),
            Ok(UndoLook::Needed)
        );
        assert!(bench.path("link").is_symlink() && !to.is_symlink());
        fs::create_dir(bench.path("folder")).expect("made");
        let failure = bench
            .look(
                KIND,
                json!({"from": "folder", "to": elsewhere.join("folder")}),
            )
            .expect_err("a directory");
        assert!(failure.message.contains("another file system"), "{failure}");
    }

    #[test]
    fn a_second_attempt_goes_on_where_the_first_died() {
        let bench = Bench::new();
        let (_folder, elsewhere) = elsewhere(&bench);
        fs::write(bench.path("a"), "content").expect("written");
        let across = before(&bench, &json!({"from": "a", "to": elsewhere.join("b")}));
        fs::write(&across.temporary, "cont").expect("half a copy");
        assert_eq!(across.look_back(bench.cx()), Ok(UndoLook::Needed));
        across.carry(bench.cx()).expect("moved");
        // Died between the copy and the removal.
        fs::copy(&across.to, &across.from).expect("copied");
        assert_eq!(across.look_back(bench.cx()), Ok(UndoLook::Needed));
        across.carry(bench.cx()).expect("ended");
        assert!(!across.from.exists());
        across.carry(bench.cx()).expect("done already");

        fs::write(bench.path("c"), "content").expect("written");
        let within = before(&bench, &json!({"from": "c", "to": "d"}));
        within.rename(bench.cx()).expect("moved");
        within.rename(bench.cx()).expect("done already");
    }

    #[test]
    fn what_somebody_changed_is_neither_moved_nor_moved_back() {
        let bench = Bench::new();
        fs::write(bench.path("a"), "one").expect("written");
        let looked = before(&bench, &json!({"from": "a", "to": "b"}));
        fs::write(bench.path("a"), "another").expect("written");
        let failure = looked.rename(bench.cx()).expect_err("changed");
        assert_eq!(failure.class, Class::Refused);
        let looked = before(&bench, &json!({"from": "a", "to": "b"}));
        fs::write(bench.path("b"), "taken").expect("written");
        let failure = looked.rename(bench.cx()).expect_err("taken");
        assert_eq!(failure.class, Class::Refused);
        fs::remove_file(bench.path("b")).expect("removed");
        looked.rename(bench.cx()).expect("moved");
        fs::write(bench.path("a"), "again").expect("written");
        let look = looked.look_back(bench.cx()).expect("a look");
        assert!(
            matches!(&look, UndoLook::Dirty(text) if text.contains("/a`")),
            "{look:?}"
        );
        fs::remove_file(bench.path("a")).expect("removed");
        fs::write(bench.path("b"), "more").expect("written");
        let look = looked.look_back(bench.cx()).expect("a look");
        assert!(
            matches!(&look, UndoLook::Dirty(text) if text.contains("/b`")),
            "{look:?}"
        );
        looked.move_back(bench.cx()).expect_err("not touched");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let bench = Bench::new();
        fs::create_dir_all(bench.path("folder/sub")).expect("made");
        fs::write(bench.path("file"), "").expect("written");
        fs::hard_link(bench.path("file"), bench.path("twin")).expect("a second name");
        symlink("file", bench.path("link")).expect("a link");
        for (from, to, says) in [
            ("no", "nothing", "nothing at either path"),
            ("folder", "folder/sub/x", "into itself"),
            ("file", "folder", "there is a directory"),
            ("folder", "file", "can't replace a file"),
            ("file", "twin", "names of the same thing"),
            ("folder", "link", "can't replace a file"),
            ("twin", "link", "it is a symbolic link"),
            ("file", "no/x", "does not exist"),
        ] {
            let arguments = json!({"from": from, "to": to, "overwrite": true});
            let failure = bench.look(KIND, arguments).expect_err(says);
            assert_eq!(failure.class, Class::Refused);
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }
}
