//! `file.directory`: a directory is there, with mode and owner.
//!
//! Missing folders above it are made. The undo puts mode and owner back; of what was made it removes what is empty,
//! newest first.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{Change, Cx, Description, Effect, Failure, Kind, Look, Step, Touch, Undo, UndoLook},
    units::Mode,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    absolute, blocking, failed, folder_of, folders, looked_at, owner,
    put_back::dirty,
    replacement::{inherited_gid, left},
    state::{self, FileType, State},
};

pub(super) const KIND: Kind = Kind::of::<FileDirectory>("file.directory");

/// Makes sure that a directory is there, with mode and owner; missing folders above it are made.
///
/// Mode and owner of an existing directory stay unless given; a new one gets what the run's umask leaves of `0777`.
/// What is in it is not touched. Undone by removing what was made, newest first and only while it is empty, or by
/// putting mode and owner back.
///
/// ```yaml
/// - id: folder
///   title: Make the folder for backups
///   file.directory: { path: /tmp/example/backups, mode: "0750" }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileDirectory {
    /// The directory; a relative path starts at the run's working folder. A symbolic link is refused.
    #[schemars(with = "String")]
    path: Utf8PathBuf,
    /// Its mode as quoted octal digits, like `"0750"`.
    #[serde(default)]
    #[schemars(with = "Mode")]
    mode: Option<Mode>,
    /// Its owner, by name or number.
    #[serde(default)]
    #[schemars(with = "String")]
    owner: Option<String>,
    /// Its group, by name or number.
    #[serde(default)]
    #[schemars(with = "String")]
    group: Option<String>,
}

/// The directory as it is now.
#[derive(Debug, Serialize, JsonSchema)]
struct Directory {
    /// Its path, from the root.
    path: String,
    /// Its mode.
    mode: Mode,
    /// Its owner's name, or number where it has none.
    owner: String,
    /// Its group's name, or number where it has none.
    group: String,
    /// The directories that were made, outermost first.
    made: Vec<String>,
}

/// The state before a directory is made or changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    path: Utf8PathBuf,
    #[serde(flatten)]
    was: State,
    after: State,
    /// The directories that will be made, outermost first, with the one that is wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    folders: Vec<Utf8PathBuf>,
}

impl Step for FileDirectory {
    type Output = Directory;
    type Before = Before;
    type Undo = Restore;
    const EFFECT: Effect = Effect::Change;

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::changes(format!("file:{}", self.path))]
    }

    fn describe(&self) -> Description {
        let mut description = Description::new(format!("make the directory {}", self.path));
        if let Some(mode) = self.mode {
            description = description.with("mode", mode.to_string());
        }
        for (name, text) in [("owner", &self.owner), ("group", &self.group)] {
            if let Some(text) = text {
                description = description.with(name, text);
            }
        }
        description
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Directory, Before>, Failure> {
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.look_now(&cx)).await
    }

    fn undo(&self, before: &Before) -> Option<Restore> {
        Some(Restore {
            version: 1,
            before: before.clone(),
        })
    }

    async fn perform(&self, cx: &Cx, before: Option<&Before>) -> Result<Directory, Failure> {
        let before = looked_at(before)?.clone();
        let cx = cx.clone();
        blocking(move || {
            before.make(&cx)?;
            Ok(before.directory())
        })
        .await
    }
}

impl FileDirectory {
    fn look_now(&self, cx: &Cx) -> Result<Look<Directory, Before>, Failure> {
        let path = absolute(cx, &self.path)?;
        let was = State::without_content(&path)?;
        if !matches!(was.kind, FileType::Directory | FileType::Missing) {
            let failure = Failure::refused(format!(
                "make the directory `{path}`: it is {}",
                was.kind.noun()
            ));
            return Err(match &was.target {
                Some(target) => failure.hint(format!(
                    "name the directory itself: the link leads to `{target}`"
                )),
                None => failure,
            });
        }
        let folders = folders::missing(&path)?;
        let wanted_uid = self.owner.as_deref().map(owner::uid).transpose()?;
        let wanted_gid = self.group.as_deref().map(owner::gid).transpose()?;
        let after = State {
            exists: true,
            kind: FileType::Directory,
            mode: Some(match self.mode.or(was.mode) {
                Some(mode) => mode,
                None => Mode((0o777 & !cx.children.umask) | inherited_setgid(&path)?),
            }),
            uid: Some(
                wanted_uid
                    .or(was.uid)
                    .unwrap_or_else(|| nix::unistd::geteuid().as_raw()),
            ),
            gid: Some(match wanted_gid.or(was.gid) {
                Some(gid) => gid,
                None => inherited_gid(&path)?,
            }),
            ..State::default()
        };
        let before = Before {
            path,
            was,
            after,
            folders,
        };
        if before.was == before.after {
            return Ok(Look::Done(before.directory()));
        }
        Ok(Look::Needed(Change {
            summary: match before.folders.len() {
                0 => before.was.difference(&before.after),
                1 => format!("create, {}", before.after.display()),
                more => format!(
                    "create with {} above it, {}",
                    more - 1,
                    before.after.display()
                ),
            },
            diff: None,
            before,
        }))
    }
}

/// Returns the setgid bit where the folder above hands it down.
fn inherited_setgid(path: &Utf8Path) -> Result<u32, Failure> {
    for folder in path.ancestors().skip(1) {
        if let Some(metadata) = state::followed(folder)? {
            return Ok(metadata.mode() & 0o2000);
        }
    }
    Ok(0)
}

impl Before {
    fn directory(&self) -> Directory {
        Directory {
            path: self.path.to_string(),
            mode: self.after.mode.expect("a directory has a mode"),
            owner: owner::user(self.after.uid.expect("a directory has an owner")),
            group: owner::group(self.after.gid.expect("a directory has a group")),
            made: self.folders.iter().map(ToString::to_string).collect(),
        }
    }

    fn make(&self, cx: &Cx) -> Result<(), Failure> {
        let now = State::without_content(&self.path)?;
        if now == self.after {
            return folders::sync(folder_of(&self.path));
        }
        if now != self.was && !self.is_half_way(&now)? {
            return Err(left(&self.path, &self.was, &now));
        }
        if !now.exists {
            if let Some((_, above)) = self.folders.split_last() {
                folders::make(cx, above)?;
            }
            // Nobody's until it has its mode.
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&self.path)
                .map_err(|error| failed("make the directory", &self.path, &error))?;
        }
        set_attributes(&self.path, &self.after)?;
        folders::sync(folder_of(&self.path))
    }

    /// Returns whether `now` is between the state before and the state after.
    fn is_half_way(&self, now: &State) -> Result<bool, Failure> {
        if now.kind != FileType::Directory {
            return Ok(false);
        }
        if !self.was.exists {
            // Made, with whatever mode and owner it had at that moment.
            return folders::is_empty(&self.path);
        }
        // A new owner takes setuid and setgid away.
        let plain = |mode: Option<Mode>| mode.map(|mode| mode.0 & 0o1777);
        let between = |uid_gid| {
            uid_gid == (self.was.uid, self.was.gid) || uid_gid == (self.after.uid, self.after.gid)
        };
        Ok(between((now.uid, now.gid))
            && [plain(self.was.mode), plain(self.after.mode)].contains(&plain(now.mode)))
    }
}

/// Sets owner and mode of the directory at `path`, which must not be a link.
fn set_attributes(path: &Utf8Path, wanted: &State) -> Result<(), Failure> {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
    let opened = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| failed("open the directory", path, &error))?;
    let now = opened
        .metadata()
        .map_err(|error| failed("look at", path, &error))?;
    if (Some(now.uid()), Some(now.gid())) != (wanted.uid, wanted.gid) {
        std::os::unix::fs::fchown(&opened, wanted.uid, wanted.gid)
            .map_err(|error| failed("set the owner of", path, &error))?;
    }
    if let Some(mode) = wanted.mode {
        opened
            .set_permissions(fs::Permissions::from_mode(mode.0))
            .map_err(|error| failed("set the mode of", path, &error))?;
    }
    opened
        .sync_all()
        .map_err(|error| failed("write through to the disk", path, &error))
}

/// Removes what was made, or puts mode and owner back.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Restore {
    version: u8,
    before: Before,
}

impl Undo for Restore {
    fn describe(&self) -> String {
        let Before {
            path, was, folders, ..
        } = &self.before;
        match folders.len() {
            0 => format!("put back `{path}` as it was: {}", was.display()),
            1 => format!("remove `{path}` if it is empty"),
            more => format!(
                "remove `{path}` and the {} above it that were made, if they are empty",
                more - 1
            ),
        }
    }

    async fn look(&self, _: &Cx) -> Result<UndoLook, Failure> {
        let before = self.before.clone();
        blocking(move || before.look_back()).await
    }

    async fn perform(&self, _: &Cx) -> Result<(), Failure> {
        let before = self.before.clone();
        blocking(move || before.put_back()).await
    }
}

impl Before {
    fn look_back(&self) -> Result<UndoLook, Failure> {
        let now = State::without_content(&self.path)?;
        if now == self.was {
            return Ok(if folders::any_empty(&self.folders)? {
                UndoLook::Needed
            } else {
                UndoLook::Done
            });
        }
        if !self.was.exists
            && now.kind == FileType::Directory
            && let Some(holds) = holds(&self.path)?
        {
            return Ok(UndoLook::Dirty(format!(
                "the directory `{}`, which the step made, is not empty: it holds {holds}",
                self.path
            )));
        }
        if now == self.after || (now.exists && self.is_half_way(&now)?) {
            return Ok(UndoLook::Needed);
        }
        Ok(dirty(&self.path, &self.after, &now))
    }

    fn put_back(&self) -> Result<(), Failure> {
        if self.was.exists {
            return set_attributes(&self.path, &self.was);
        }
        match fs::remove_dir(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove the directory", &self.path, &error));
            }
            _ => {}
        }
        folders::remove_empty(&self.folders)
    }
}

/// Returns the first names in a folder, or `None` when it is empty.
fn holds(folder: &Utf8Path) -> Result<Option<String>, Failure> {
    let fail = |error: io::Error| failed("list", folder, &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)?.take(4) {
        let name = entry.map_err(fail)?.file_name();
        names.push(format!("`{}`", name.to_string_lossy()));
    }
    names.sort();
    if names.len() > 3 {
        names.truncate(3);
        names.push("more".to_owned());
    }
    Ok((!names.is_empty()).then(|| names.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use runwright_core::{
        kind::{Class, Looked},
        value::Value,
    };
    use serde_json::json;

    use super::*;
    use crate::testing::Bench;

    fn mode(path: &Utf8Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o7777
    }

    #[test]
    fn a_directory_is_made_with_those_above_and_they_go_again() {
        let bench = Bench::new();
        let arguments = json!({"path": "a/b/c", "mode": "0750", "owner": "1234", "group": "2345"});
        let (result, undo) = bench.run(KIND, arguments.clone()).expect("made");
        let path = bench.path("a/b/c");
        let metadata = fs::metadata(&path).expect("there");
        assert_eq!((mode(&path), mode(&bench.path("a"))), (0o750, 0o755));
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 2345));
        let Some(Value::List(made)) = result.get("made") else {
            panic!("{result:?}");
        };
        assert_eq!(made.len(), 3);
        let look = bench.look(KIND, arguments).expect("a look");
        assert!(matches!(look, Looked::Done(_)), "{look:?}");
        let undo = undo.expect("an undo");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert!(!bench.path("a").exists());
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Done));
    }

    #[test]
    fn mode_and_owner_of_an_existing_one_are_changed_and_put_back() {
        let bench = Bench::new();
        let path = bench.path("d");
        fs::create_dir(&path).expect("made");
        fs::write(path.join("in"), "").expect("written");
        chown(&path, Some(1234), Some(2345)).expect("owned by somebody (this test runs as root)");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o2771)).expect("set");
        let arguments = json!({"path": "d", "mode": "0700", "owner": "root"});
        let (_, undo) = bench.run(KIND, arguments).expect("changed");
        assert_eq!(
            (mode(&path), fs::metadata(&path).expect("there").uid()),
            (0o700, 0)
        );
        let undo = undo.expect("an undo");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        let metadata = fs::metadata(&path).expect("there");
        assert_eq!(
            (mode(&path), metadata.uid(), metadata.gid()),
            (0o2771, 1234, 2345)
        );
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Done));
    }

    #[test]
    fn one_that_is_not_empty_is_not_removed_and_named() {
        let bench = Bench::new();
        let (_, undo) = bench.run(KIND, json!({"path": "a/b"})).expect("made");
        fs::write(bench.path("a/b/theirs"), "").expect("written");
        let undo = undo.expect("an undo");
        let look = bench.undo(KIND, &undo).expect("a look");
        assert!(
            matches!(&look, UndoLook::Dirty(text) if text.contains("`theirs`")),
            "{look:?}"
        );
        assert!(bench.path("a/b/theirs").exists());
        // Only the folder above is theirs: the rest goes.
        fs::rename(bench.path("a/b/theirs"), bench.path("a/theirs")).expect("renamed");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert!(bench.path("a/theirs").exists() && !bench.path("a/b").exists());
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Done));
    }

    #[test]
    fn a_changed_mode_is_dirty() {
        let bench = Bench::new();
        let path = bench.path("d");
        fs::create_dir(&path).expect("made");
        let (_, undo) = bench
            .run(KIND, json!({"path": "d", "mode": "0700"}))
            .expect("changed");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).expect("set");
        let look = bench.undo(KIND, &undo.expect("an undo")).expect("a look");
        assert!(
            matches!(&look, UndoLook::Dirty(text) if text.contains("mode 0700 -> 1777")),
            "{look:?}"
        );
    }

    #[test]
    fn a_second_attempt_and_the_undo_go_on_from_half_way() {
        let bench = Bench::new();
        let arguments = json!({"path": "a/b", "mode": "0750"});
        let step: FileDirectory = Value::from_stored(&arguments).read().expect("arguments");
        let Look::Needed(Change { before, .. }) = step.look_now(bench.cx()).expect("a look") else {
            panic!("needed");
        };
        fs::create_dir(bench.path("a")).expect("made");
        assert_eq!(before.look_back(), Ok(UndoLook::Needed));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(bench.path("a/b"))
            .expect("made");
        assert_eq!(before.look_back(), Ok(UndoLook::Needed));
        before.make(bench.cx()).expect("the second attempt");
        before.make(bench.cx()).expect("a further attempt");
        assert_eq!(mode(&bench.path("a/b")), 0o750);
        before.put_back().expect("undone");
        before.put_back().expect("undone already");
        assert!(!bench.path("a").exists());
        fs::create_dir_all(bench.path("a/b/theirs")).expect("made");
        let failure = before.make(bench.cx()).expect_err("somebody's");
        assert_eq!(failure.class, Class::Refused);
    }

    #[test]
    fn a_file_and_a_link_are_refused() {
        let bench = Bench::new();
        fs::write(bench.path("file"), "").expect("written");
        fs::create_dir(bench.path("real")).expect("made");
        symlink("real", bench.path("link")).expect("a link");
        for (path, says) in [
            ("file", "file`: it is a file"),
            ("file/below", "file`: it is a file"),
            ("link", "link`: it is a symbolic link"),
        ] {
            let failure = bench.look(KIND, json!({"path": path})).expect_err(path);
            assert_eq!(failure.class, Class::Refused);
            assert!(failure.message.contains(says), "{}", failure.message);
        }
        bench
            .run(KIND, json!({"path": "link/below"}))
            .expect("made");
        assert!(
            bench.path("real/below").is_dir(),
            "a link on the way is followed"
        );
    }
}
