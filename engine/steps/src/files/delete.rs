//! `file.delete`: deletes files, links and directories, for a time only aside.
//!
//! With `keep` (default `7d`) each is renamed to a name beside it, which frees no space yet; the undo renames it back,
//! and once `keep` has passed the space is freed. `keep: 0s` deletes for good and has no undo.

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{
        Change, Cx, Description, Effect, Failure, Kind, Look, Progress, Step, Touch, Undo, UndoLook,
    },
    units::{Bytes, Span},
    value::{ArgumentError, Value},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    absolute, beside, blocking,
    find::fixed_part,
    folder_of, folders, gives,
    glob::Glob,
    looked_at, mounts,
    replacement::{Over, rename},
    state::{FileType, Identity, State},
    tree::{self, Holds},
    wrong, wrong_whole,
};

pub(super) const KIND: Kind = Kind::of::<FileDelete>("file.delete");

/// Deletes a file, a symbolic link (itself) or a directory, or what matches a pattern.
///
/// What is deleted is first renamed to a dotted name beside it (`.NAME.runwright-RUN-…`) and kept there for `keep`;
/// only then its space is freed. `keep: 0s` deletes at once and can't be undone. Nothing there is fine: `count` is 0.
/// A mount point, and a directory that holds one, is refused. Undone by renaming it back, as long as it is kept.
///
/// ```yaml
/// - id: trim
///   title: Remove logs of the week before
///   file.delete: { paths: "/tmp/example/*.log", at_most: 50, keep: 2d }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileDelete {
    /// What is deleted, as one path as it is; a relative one starts at the run's working folder. Either this or
    /// `paths`.
    #[serde(default)]
    #[schemars(with = "String")]
    path: Option<Utf8PathBuf>,
    /// What is deleted, as a pattern like that of `file.find`.
    #[serde(default)]
    #[schemars(with = "String")]
    paths: Option<Utf8PathBuf>,
    /// How many may match the pattern (default 1); when there are more nothing is deleted.
    #[serde(default = "one")]
    at_most: usize,
    /// How long it is kept aside (default 7d); `0s` deletes at once.
    #[serde(default = "a_week")]
    keep: Span,
    /// Whether directories that are not empty are deleted (default no).
    #[serde(default)]
    recursive: bool,
}

fn one() -> usize {
    1
}

const fn a_week() -> Span {
    Span::from_seconds(7 * 24 * 3600)
}

/// What was deleted.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Deleted {
    /// The paths, from the root.
    paths: Vec<String>,
    /// How many they are; what is in a directory is not counted.
    count: u64,
    /// Their size, contents of directories included.
    bytes: Bytes,
    /// Where they are kept, in the same order; empty with `keep: 0s`.
    kept: Vec<String>,
}

/// The state before something is deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    entries: Vec<Entry>,
    count: u64,
    bytes: Bytes,
}

/// One thing that is deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    path: Utf8PathBuf,
    #[serde(flatten)]
    was: State,
    identity: Identity,
    holds: Holds,
    /// Where it is kept.
    aside: Utf8PathBuf,
}

impl Step for FileDelete {
    type Output = Deleted;
    type Before = Before;
    type Undo = TakeBack;
    const EFFECT: Effect = Effect::Destroy;

    fn effect(arguments: &Value) -> Effect {
        if keeps(arguments) {
            Effect::Change
        } else {
            Effect::Destroy
        }
    }

    fn check(arguments: &Value) -> Vec<ArgumentError> {
        let mut errors = Vec::new();
        match (gives(arguments, "path"), gives(arguments, "paths")) {
            (true, true) => errors.push(wrong("paths", "either this or `path`, not both")),
            (false, false) => errors.push(wrong_whole("`path` or `paths` is needed")),
            (true, false) if gives(arguments, "at_most") => {
                errors.push(wrong(
                    "at_most",
                    "only a pattern in `paths` can match several",
                ));
            }
            _ => {}
        }
        for name in ["path", "paths"] {
            let Some(Value::Text(text)) = arguments.get(name) else {
                continue;
            };
            if text.is_empty() || Utf8Path::new(&**text).file_name().is_none() {
                errors.push(wrong(
                    name,
                    format!("`{text}` is nothing that may be deleted"),
                ));
            }
        }
        if let Some(Value::Text(pattern)) = arguments.get("paths")
            && let Err(error) = Glob::new(&Utf8Path::new("/").join(&**pattern))
        {
            errors.push(wrong("paths", error));
        }
        errors
    }

    fn undoes(arguments: &Value) -> bool {
        keeps(arguments)
    }

    fn touches(&self) -> Vec<Touch> {
        let touched = match (&self.path, &self.paths) {
            (Some(path), _) => path.clone(),
            (None, Some(pattern)) => fixed_part(pattern),
            (None, None) => return Vec::new(),
        };
        vec![Touch::changes(format!("file:{touched}"))]
    }

    fn describe(&self) -> Description {
        let what = self.path.as_ref().or(self.paths.as_ref());
        let what = what.map_or("nothing", |path| path.as_str());
        let description = Description::new(if self.keep.milliseconds > 0 {
            format!("delete {what}, kept aside for {}", self.keep)
        } else {
            format!("delete {what} for good")
        });
        match &self.paths {
            Some(_) => description.with("at_most", self.at_most.to_string()),
            None => description,
        }
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Deleted, Before>, Failure> {
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.look_now(&cx)).await
    }

    fn undo(&self, before: &Before) -> Option<TakeBack> {
        (self.keep.milliseconds > 0).then(|| TakeBack {
            version: 1,
            entries: before.entries.clone(),
            keep: self.keep,
        })
    }

    async fn perform(&self, cx: &Cx, before: Option<&Before>) -> Result<Deleted, Failure> {
        let before = looked_at(before)?.clone();
        let (cx, keep) = (cx.clone(), self.keep.milliseconds > 0);
        blocking(move || {
            if keep {
                put_aside(&cx, &before)?;
            } else {
                delete_for_good(&cx, &before)?;
            }
            Ok(deleted(&before, keep))
        })
        .await
    }
}

/// Returns whether these arguments surely keep what they delete.
fn keeps(arguments: &Value) -> bool {
    match arguments.get("keep") {
        None => true,
        Some(Value::Duration(span)) => span.milliseconds > 0,
        Some(Value::Text(text)) => text.parse::<Span>().is_ok_and(|span| span.milliseconds > 0),
        Some(_) => false,
    }
}

impl FileDelete {
    fn look_now(&self, cx: &Cx) -> Result<Look<Deleted, Before>, Failure> {
        let mut entries = Vec::new();
        for path in self.paths(cx)? {
            if let Some(entry) = self.entry(cx, path)? {
                entries.push(entry);
            }
        }
        if entries.is_empty() {
            return Ok(Look::Done(Deleted::default()));
        }
        let bytes = Bytes(entries.iter().map(|entry| entry.holds.bytes.0).sum());
        let held: u64 = entries.iter().map(|entry| entry.holds.entries).sum();
        let count = entries.len() as u64;
        let list: String = entries
            .iter()
            .map(|entry| {
                let size = entry.holds.bytes;
                format!("- {} ({}, {size})\n", entry.path, entry.was.kind.noun())
            })
            .collect();
        let what = match entries.as_slice() {
            [entry] => entry.was.kind.noun().to_owned(),
            many => format!("{} files and directories", many.len()),
        };
        let more = match (held - count, count) {
            (0, _) => String::new(),
            (inside, 1) => format!(" with {inside} in it"),
            (inside, _) => format!(" with {inside} in them"),
        };
        Ok(Look::Needed(Change {
            summary: format!("delete {what}{more}, {bytes}"),
            diff: Some(list),
            before: Before {
                entries,
                count,
                bytes,
            },
        }))
    }

    fn paths(&self, cx: &Cx) -> Result<Vec<Utf8PathBuf>, Failure> {
        if self.keep.milliseconds < 0 {
            return Err(Failure::refused(format!("keep anything for {}", self.keep)));
        }
        let pattern = match (&self.path, &self.paths) {
            (Some(path), None) => return Ok(vec![absolute(cx, path)?]),
            (None, Some(pattern)) => absolute(cx, pattern)?,
            _ => {
                return Err(Failure::internal(
                    "delete anything: either `path` or `paths` is needed",
                ));
            }
        };
        let glob = Glob::new(&pattern)
            .map_err(|error| Failure::internal(format!("find `{pattern}`: {error}")))?;
        let mut paths: Vec<Utf8PathBuf> = Vec::new();
        let mut count = 0;
        glob.each(cx, &mut |path, _| {
            count += 1;
            // What lies in a directory that goes as a whole goes with it.
            if count <= self.at_most && !paths.iter().any(|above| path.starts_with(above)) {
                paths.push(path.to_owned());
            }
            Ok(())
        })?;
        if count > self.at_most {
            return Err(Failure::refused(format!(
                "delete `{pattern}`: {count} match it, and at most {} may be deleted",
                self.at_most
            ))
            .hint("`at_most` says how many may be; `file.find` lists them"));
        }
        Ok(paths)
    }

    fn entry(&self, cx: &Cx, path: Utf8PathBuf) -> Result<Option<Entry>, Failure> {
        if path.file_name().is_none() {
            return Err(Failure::refused(format!(
                "delete `{path}`: this is nothing that may be deleted"
            )));
        }
        let Some(identity) = Identity::of(&path)? else {
            return Ok(None);
        };
        if let Some(point) = mounts::at_or_below(&path)? {
            return Err(Failure::refused(format!(
                "delete `{path}`: the file system that is mounted at `{point}` would go with it"
            ))
            .hint("unmount it first"));
        }
        if identity.kind == FileType::Directory && !self.recursive && !folders::is_empty(&path)? {
            return Err(Failure::refused(format!(
                "delete `{path}`: it is a directory and not empty"
            ))
            .hint("`recursive: true` deletes it with all that is in it"));
        }
        Ok(Some(Entry {
            aside: beside(cx, &path, "deleted"),
            was: State::without_content(&path)?,
            holds: tree::measure(cx, &path)?,
            path,
            identity,
        }))
    }
}

fn deleted(before: &Before, keep: bool) -> Deleted {
    let paths = |path: fn(&Entry) -> &Utf8PathBuf| {
        let entries = before.entries.iter();
        entries.map(|entry| path(entry).to_string()).collect()
    };
    Deleted {
        paths: paths(|entry| &entry.path),
        count: before.count,
        bytes: before.bytes,
        kept: if keep {
            paths(|entry| &entry.aside)
        } else {
            Vec::new()
        },
    }
}

fn put_aside(cx: &Cx, before: &Before) -> Result<(), Failure> {
    let mut todo = Vec::new();
    for entry in &before.entries {
        if entry.is_aside()? && Identity::of(&entry.path)?.is_none() {
            continue;
        }
        entry.check(cx)?;
        todo.push(entry);
    }
    for entry in todo {
        rename(&entry.path, &entry.aside, Over::Nothing)?;
    }
    sync_folders(&before.entries)
}

fn delete_for_good(cx: &Cx, before: &Before) -> Result<(), Failure> {
    let mut todo = Vec::new();
    for entry in &before.entries {
        // Gone already: by an earlier attempt, and gone was wanted.
        if Identity::of(&entry.path)?.is_some() {
            entry.check(cx)?;
            todo.push(entry);
        }
    }
    let total = Some(todo.len() as u64);
    for (done, entry) in todo.into_iter().enumerate() {
        tree::remove(cx, &entry.path)?;
        cx.host.progress(Progress {
            done: done as u64 + 1,
            total,
            unit: "files".to_owned(),
        });
    }
    sync_folders(&before.entries)
}

fn sync_folders(entries: &[Entry]) -> Result<(), Failure> {
    let mut folders: Vec<&Utf8Path> = entries.iter().map(|entry| folder_of(&entry.path)).collect();
    folders.dedup();
    folders
        .into_iter()
        .filter(|folder| folder.exists())
        .try_for_each(folders::sync)
}

impl Entry {
    /// Fails when what is at the path is not what was looked at, or holds more than it did.
    fn check(&self, cx: &Cx) -> Result<(), Failure> {
        let now = Identity::of(&self.path)?;
        let holds = tree::measure(cx, &self.path)?;
        let grown = holds.entries > self.holds.entries || holds.bytes > self.holds.bytes;
        if now.as_ref() == Some(&self.identity) && !grown {
            return Ok(());
        }
        let state = State::without_content(&self.path)?;
        Err(Failure::refused(format!(
            "delete `{}`: it has changed since it was looked at; it is {} now and holds {}",
            self.path,
            state.display(),
            holds.bytes
        ))
        .hint("something else writes to it; run it again when that has ended"))
    }

    fn is_aside(&self) -> Result<bool, Failure> {
        let kept = Identity::of(&self.aside)?;
        Ok(kept.is_some_and(|kept| kept.is_same_thing(&self.identity)))
    }
}

/// Renames what was put aside back.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TakeBack {
    version: u8,
    entries: Vec<Entry>,
    keep: Span,
}

impl Undo for TakeBack {
    fn describe(&self) -> String {
        match self.entries.as_slice() {
            [entry] => format!("rename `{}` back", entry.path),
            entries => format!("rename {} deleted files back", entries.len()),
        }
    }

    fn lapses(&self) -> Option<Span> {
        Some(self.keep)
    }

    async fn look(&self, _: &Cx) -> Result<UndoLook, Failure> {
        let undo = self.clone();
        blocking(move || undo.look_back()).await
    }

    async fn perform(&self, _: &Cx) -> Result<(), Failure> {
        let undo = self.clone();
        blocking(move || {
            for entry in undo.entries.iter().rev() {
                if entry.is_aside()? {
                    rename(&entry.aside, &entry.path, Over::Nothing)?;
                }
            }
            sync_folders(&undo.entries)
        })
        .await
    }

    async fn release(&self, cx: &Cx) -> Result<(), Failure> {
        let (undo, cx) = (self.clone(), cx.clone());
        blocking(move || {
            for entry in &undo.entries {
                if entry.is_aside()? {
                    tree::remove(&cx, &entry.aside)?;
                }
            }
            sync_folders(&undo.entries)
        })
        .await
    }
}

impl TakeBack {
    fn look_back(&self) -> Result<UndoLook, Failure> {
        let mut needed = false;
        let mut lapsed = None;
        for entry in &self.entries {
            let now = Identity::of(&entry.path)?;
            let untouched = now
                .as_ref()
                .is_some_and(|now| now.is_same_thing(&entry.identity));
            match (now, entry.is_aside()?) {
                (None, true) => needed = true,
                _ if untouched => {}
                (Some(_), _) => {
                    return Ok(UndoLook::Dirty(format!(
                        "at `{}`, which was deleted, there is something again: {}",
                        entry.path,
                        State::without_content(&entry.path)?.display()
                    )));
                }
                (None, false) => {
                    lapsed = Some(format!(
                        "`{}`, which was kept at `{}`, is gone",
                        entry.path, entry.aside
                    ));
                }
            }
        }
        Ok(match lapsed {
            Some(what) => UndoLook::Lapsed(what),
            None if needed => UndoLook::Needed,
            None => UndoLook::Done,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use runwright_core::kind::{Class, Looked};
    use serde_json::json;

    use super::*;
    use crate::testing::Bench;

    fn names(bench: &Bench, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(bench.path(folder))
            .expect("listed")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    fn before(bench: &Bench, arguments: &serde_json::Value) -> Before {
        let step: FileDelete = Value::from_stored(arguments).read().expect("arguments");
        match step.look_now(bench.cx()).expect("a look") {
            Look::Needed(change) => change.before,
            other => panic!("{other:?}"),
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(future)
    }

    #[test]
    fn a_file_is_put_aside_taken_back_and_at_last_released() {
        let bench = Bench::new();
        fs::create_dir(bench.path("d")).expect("made");
        fs::write(bench.path("d/a"), "content").expect("written");
        let (result, undo) = bench.run(KIND, json!({"path": "d/a"})).expect("deleted");
        assert_eq!(result.get("bytes"), Some(&Value::Bytes(Bytes(7))));
        let left = names(&bench, "d");
        assert!(
            matches!(left.as_slice(), [name] if name.starts_with(".a.runwright-testrun00000-")),
            "{left:?}"
        );
        let undo = undo.expect("an undo");
        assert_eq!(undo.lapses, Some(a_week()));
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(fs::read(bench.path("d/a")).expect("there"), b"content");
        assert_eq!(names(&bench, "d"), ["a"]);
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Done));

        bench.run(KIND, json!({"path": "d/a"})).expect("deleted");
        let stored = (KIND.open_undo)(&undo.data).expect("an undo");
        block_on(stored.release(bench.cx())).expect("released");
        assert!(names(&bench, "d").is_empty());
        block_on(stored.release(bench.cx())).expect("released already");
        let look = bench.undo(KIND, &undo).expect("a look");
        assert!(
            matches!(&look, UndoLook::Lapsed(text) if text.contains("is gone")),
            "{look:?}"
        );
    }

    #[test]
    fn without_keeping_it_destroys_and_has_no_undo() {
        let bench = Bench::new();
        fs::create_dir_all(bench.path("d/sub/deep")).expect("made");
        fs::write(bench.path("d/sub/deep/a"), "x").expect("written");
        fs::write(bench.path("outside"), "x").expect("written");
        symlink("../outside", bench.path("d/link")).expect("a link");
        let arguments = json!({"path": "d", "keep": "0s", "recursive": true});
        let (_, undo) = bench.run(KIND, arguments.clone()).expect("deleted");
        assert!(undo.is_none());
        assert!(!bench.path("d").exists() && bench.path("outside").exists());
        let (again, _) = bench.run(KIND, arguments).expect("nothing there is fine");
        assert_eq!(again.get("count"), Some(&Value::Int(0)));
        for (keep, effect, undoes) in [
            (json!(null), Effect::Destroy, false),
            (json!("0s"), Effect::Destroy, false),
            (json!("1d"), Effect::Change, true),
            (json!({"$duration": "0s"}), Effect::Destroy, false),
            (json!({"$unknown": "x"}), Effect::Destroy, false),
        ] {
            let arguments = Value::from_stored(&json!({"path": "d", "keep": keep}));
            assert_eq!((KIND.effect_of)(&arguments), effect, "{keep}");
            assert_eq!((KIND.undoes)(&arguments), undoes, "{keep}");
        }
        let default = Value::from_stored(&json!({"path": "d"}));
        assert_eq!((KIND.effect_of)(&default), Effect::Change);
        assert!((KIND.undoes)(&default));
    }

    #[test]
    fn a_pattern_deletes_no_more_than_it_may() {
        let bench = Bench::new();
        for name in ["1.log", "2.log", "3.txt"] {
            fs::write(bench.path(name), "x").expect("written");
        }
        let failure = bench
            .run(KIND, json!({"paths": "*.log"}))
            .expect_err("two match");
        assert_eq!(failure.class, Class::Refused);
        assert!(failure.message.contains("2 match it"), "{failure}");
        let (result, undo) = bench
            .run(KIND, json!({"paths": "*.log", "at_most": 2}))
            .expect("deleted");
        assert_eq!(result.get("count"), Some(&Value::Int(2)));
        assert!(bench.path("3.txt").exists() && !bench.path("1.log").exists());
        let undo = undo.expect("an undo");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert!(bench.path("1.log").exists() && bench.path("2.log").exists());
    }

    #[test]
    fn a_directory_goes_whole_and_only_when_told() {
        let bench = Bench::new();
        fs::create_dir_all(bench.path("d/sub")).expect("made");
        fs::write(bench.path("d/sub/a"), "four").expect("written");
        let failure = bench
            .run(KIND, json!({"path": "d"}))
            .expect_err("not empty");
        assert!(failure.hint.is_some_and(|hint| hint.contains("recursive")));
        let arguments = json!({"path": "d", "recursive": true});
        let look = bench.look(KIND, arguments.clone()).expect("a look");
        assert!(
            matches!(&look, Looked::Needed { summary, .. } if summary == "delete a directory with 2 in it, 4B"),
            "{look:?}"
        );
        let (_, undo) = bench.run(KIND, arguments).expect("deleted");
        assert!(!bench.path("d").exists());
        bench.undo(KIND, &undo.expect("an undo")).expect("undone");
        assert!(bench.path("d/sub/a").exists());
        // With both a directory and what is in it among the matches.
        let arguments = json!({"paths": "d/**", "recursive": true, "at_most": 2});
        let (result, _) = bench.run(KIND, arguments).expect("deleted");
        assert_eq!(result.get("count"), Some(&Value::Int(1)));
    }

    #[test]
    fn the_root_nothing_at_all_and_mount_points_are_refused() {
        let bench = Bench::new();
        for path in ["/", "", "/proc", "..", "/proc/.."] {
            let arguments = json!({"path": path, "recursive": true, "keep": "0s"});
            let failure = bench.look(KIND, arguments).expect_err(path);
            assert_eq!(failure.class, Class::Refused, "{path}: {failure}");
        }
        for path in ["", "/", ".."] {
            let arguments = Value::from_stored(&json!({"path": path}));
            assert_eq!(FileDelete::check(&arguments).len(), 1, "{path}");
        }
        // A link to a mount point is only a link.
        symlink("/proc", bench.path("link")).expect("a link");
        bench.run(KIND, json!({"path": "link"})).expect("deleted");
    }

    #[test]
    fn a_second_attempt_goes_on_where_the_first_died() {
        let bench = Bench::new();
        for name in ["1.log", "2.log"] {
            fs::write(bench.path(name), "x").expect("written");
        }
        let arguments = json!({"paths": "*.log", "at_most": 2});
        let both = before(&bench, &arguments);
        fs::rename(&both.entries[0].path, &both.entries[0].aside).expect("the first is aside");
        put_aside(bench.cx(), &both).expect("the second attempt");
        put_aside(bench.cx(), &both).expect("a further attempt");
        assert!(!bench.path("1.log").exists() && !bench.path("2.log").exists());
        fs::rename(&both.entries[1].aside, &both.entries[1].path).expect("half way back");
        let undo = TakeBack {
            version: 1,
            entries: both.entries,
            keep: a_week(),
        };
        assert_eq!(undo.look_back(), Ok(UndoLook::Needed));
        block_on(undo.perform(bench.cx())).expect("taken back");
        assert_eq!(undo.look_back(), Ok(UndoLook::Done));

        let both = before(&bench, &arguments);
        fs::remove_file(bench.path("1.log")).expect("removed");
        delete_for_good(bench.cx(), &both).expect("the second attempt");
        assert!(!bench.path("2.log").exists());
    }

    #[test]
    fn what_grew_or_came_back_since_is_left_alone() {
        let bench = Bench::new();
        fs::write(bench.path("a"), "x").expect("written");
        fs::create_dir(bench.path("d")).expect("made");
        let file = before(&bench, &json!({"path": "a"}));
        let folder = before(&bench, &json!({"path": "d", "recursive": true}));
        fs::write(bench.path("a"), "more").expect("written");
        fs::write(bench.path("d/new"), "x").expect("written");
        for before in [file, folder] {
            for act in [put_aside, delete_for_good] {
                let failure = act(bench.cx(), &before).expect_err("changed");
                assert_eq!(failure.class, Class::Refused);
            }
        }
        assert!(bench.path("a").exists() && bench.path("d/new").exists());
        let (_, undo) = bench.run(KIND, json!({"path": "a"})).expect("deleted");
        fs::write(bench.path("a"), "again").expect("written");
        let look = bench.undo(KIND, &undo.expect("an undo")).expect("a look");
        assert!(
            matches!(&look, UndoLook::Dirty(text) if text.contains("/a`")),
            "{look:?}"
        );
        assert_eq!(fs::read(bench.path("a")).expect("there"), b"again");
    }

    #[test]
    fn a_pipe_is_deleted_without_being_opened() {
        let bench = Bench::new();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            bench.path("fifo").as_str(),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("a pipe");
        let (_, undo) = bench.run(KIND, json!({"path": "fifo"})).expect("deleted");
        assert!(!bench.path("fifo").exists());
        assert_eq!(
            bench.undo(KIND, &undo.expect("an undo")),
            Ok(UndoLook::Needed)
        );
        assert!(bench.path("fifo").exists());
    }
}
