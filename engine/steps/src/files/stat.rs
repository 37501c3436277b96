//! `file.stat`: tells what lies at a path.
//!
//! A missing file is an answer (`exists: false`), not a failure. It changes nothing, so there is nothing to undo.

use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    units::{Bytes, Mode, Time},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    absolute, blocking, owner,
    state::{self, FileType},
};

pub(super) const KIND: Kind = Kind::of::<FileStat>("file.stat");

/// Tells what lies at a path: type, size, mode, owner, times. A missing file is a result, `exists: false`.
///
/// ```yaml
/// - id: config
///   title: Look at the configuration
///   file.stat: { path: /etc/hosts }
///   expect:
///     - that: result.type == "file" and result.owner == "root"
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileStat {
    /// The path; a relative one starts at the run's working folder.
    #[schemars(with = "String")]
    path: Utf8PathBuf,
    /// Whether a symbolic link as the last part is followed (default) or described itself.
    #[serde(default = "yes")]
    follow: bool,
}

fn yes() -> bool {
    true
}

/// What lies at the path; what a missing thing does not have is absent.
#[derive(Debug, Serialize, JsonSchema)]
struct Stat {
    /// The path, from the root.
    path: String,
    /// Whether there is anything. A link that leads nowhere is not there when it is followed.
    exists: bool,
    /// What it is, or `missing`.
    #[serde(rename = "type")]
    kind: FileType,
    /// The length in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<Bytes>,
    /// The mode as octal digits, like `0640`.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    /// The owner's name, or number where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// The group's name, or number where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// The owner's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    /// The group's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    /// When the content was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<Time>,
    /// The inode's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    /// The number of the device that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<u64>,
    /// How many names it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<u64>,
    /// Where the link leads, when the last part of the path is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl Step for FileStat {
    type Output = Stat;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Read;

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::reads(format!("file:{}", self.path))]
    }

    fn describe(&self) -> Description {
        Description::new(format!("look at {}", self.path))
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Stat, ()>, Failure> {
        self.answer(cx).await.map(Look::Done)
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, _: Option<&()>) -> Result<Stat, Failure> {
        self.answer(cx).await
    }
}

impl FileStat {
    async fn answer(&self, cx: &Cx) -> Result<Stat, Failure> {
        let path = absolute(cx, &self.path)?;
        let follow = self.follow;
        blocking(move || stat(&path, follow)).await
    }
}

fn stat(path: &Utf8Path, follow: bool) -> Result<Stat, Failure> {
    let itself = state::metadata(path)?;
    let target = match &itself {
        Some(metadata) if metadata.is_symlink() => Some(state::link_target(path)?),
        _ => None,
    };
    let metadata = match &target {
        Some(_) if follow => state::followed(path)?,
        _ => itself,
    };
    Ok(Stat {
        path: path.to_string(),
        exists: metadata.is_some(),
        kind: metadata.as_ref().map_or(FileType::Missing, FileType::of),
        size: metadata.as_ref().map(|found| Bytes(found.size())),
        mode: metadata.as_ref().map(state::mode_of),
        owner: metadata.as_ref().map(|found| owner::user(found.uid())),
        group: metadata.as_ref().map(|found| owner::group(found.gid())),
        uid: metadata.as_ref().map(MetadataExt::uid),
        gid: metadata.as_ref().map(MetadataExt::gid),
        modified: metadata.as_ref().map(state::modified),
        inode: metadata.as_ref().map(MetadataExt::ino),
        device: metadata.as_ref().map(MetadataExt::dev),
        links: metadata.as_ref().map(MetadataExt::nlink),
        target,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use runwright_core::{kind::Looked, value::Value};
    use serde_json::json;

    use super::*;
    use crate::testing::Bench;

    fn stat(bench: &Bench, arguments: serde_json::Value) -> Value {
        match bench.look(KIND, arguments).expect("a look") {
            Looked::Done(result) => result,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_is_described_in_full() {
        let bench = Bench::new();
        let path = bench.path("a");
        fs::write(&path, "12345").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        let file = fs::File::options().append(true).open(&path).expect("open");
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_500))
            .expect("set");
        fs::hard_link(&path, bench.path("b")).expect("a second name");
        let result = stat(&bench, json!({"path": "a"}));
        let metadata = fs::metadata(&path).expect("there");
        for (name, value) in [
            ("exists", json!(true)),
            ("type", json!("file")),
            ("size", json!({"$bytes": 5})),
            ("mode", json!("0640")),
            ("uid", json!(metadata.uid())),
            ("gid", json!(metadata.gid())),
            ("owner", json!(owner::user(metadata.uid()))),
            ("modified", json!({"$time": "1970-01-01T00:00:01.5Z"})),
            ("inode", json!(metadata.ino())),
            ("links", json!(2)),
        ] {
            assert_eq!(
                result.get(name),
                Some(&Value::from_stored(&value)),
                "{name}"
            );
        }
        assert_eq!(result.get("target"), None);
    }

    #[test]
    fn what_is_not_there_is_an_answer_also_below_a_file() {
        let bench = Bench::new();
        fs::write(bench.path("file"), "").expect("written");
        for path in ["missing", "missing/too", "file/below"] {
            let result = stat(&bench, json!({"path": path}));
            assert_eq!(result.get("exists"), Some(&Value::Bool(false)), "{path}");
            assert_eq!(result.get("type"), Some(&"missing".into()));
            assert_eq!(result.get("size"), None);
        }
    }

    #[test]
    fn a_link_is_followed_or_described_itself() {
        let bench = Bench::new();
        fs::create_dir(bench.path("folder")).expect("made");
        symlink("folder", bench.path("link")).expect("a link");
        symlink("nowhere", bench.path("loose")).expect("a link");
        for (path, follow, kind, target) in [
            ("link", true, "directory", "folder"),
            ("link", false, "link", "folder"),
            ("loose", true, "missing", "nowhere"),
            ("loose", false, "link", "nowhere"),
        ] {
            let result = stat(&bench, json!({"path": path, "follow": follow}));
            assert_eq!(result.get("type"), Some(&kind.into()), "{path} {follow}");
            assert_eq!(result.get("target"), Some(&target.into()));
        }
    }

    #[test]
    fn links_in_a_circle_could_not_be_found_out() {
        let bench = Bench::new();
        symlink("b", bench.path("a")).expect("a link");
        symlink("a", bench.path("b")).expect("a link");
        let failure = bench
            .look(KIND, json!({"path": "a"}))
            .expect_err("a circle");
        assert!(failure.hint.is_some_and(|hint| hint.contains("circle")));
    }
}
