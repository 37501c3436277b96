//! `file.find`: files by pattern, age, size and type.
//!
//! Nothing found is an answer (`count: 0`); a folder that may not be listed is a failure. It changes nothing, so there
//! is nothing to undo.

use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    units::{Bytes, Span, Time},
    value::{ArgumentError, Value},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    absolute, blocking,
    glob::{Glob, is_pattern},
    state::{self, FileType},
    wrong,
};

pub(super) const KIND: Kind = Kind::of::<FileFind>("file.find");

/// Finds files by pattern, age, size and type; counts them and adds up their sizes.
///
/// In a pattern `*` and `?` stay between two slashes, `**` is any number of folders, `[a-z]` one character, `{a,b}`
/// one of several. Names with a leading dot are found only by a pattern that has it; `**` does not go through
/// symbolic links.
///
/// ```yaml
/// - id: backups
///   title: Look for backups of the last day
///   file.find: { paths: "/var/backups/**/*.{gz,zst}", newer_than: 26h, min_size: 1KiB }
///   expect:
///     - that: result.count >= 0
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileFind {
    /// The pattern; a relative one starts at the run's working folder.
    #[schemars(with = "String")]
    paths: Utf8PathBuf,
    /// Only what was last changed longer ago than this.
    #[serde(default)]
    #[schemars(with = "Span")]
    older_than: Option<Span>,
    /// Only what was last changed within this time.
    #[serde(default)]
    #[schemars(with = "Span")]
    newer_than: Option<Span>,
    /// Only what has at least this size.
    #[serde(default)]
    #[schemars(with = "Bytes")]
    min_size: Option<Bytes>,
    /// Only what has at most this size.
    #[serde(default)]
    #[schemars(with = "Bytes")]
    max_size: Option<Bytes>,
    /// The types that are found (default `[file]`); a symbolic link is a `link`, wherever it leads.
    #[serde(default = "files")]
    types: Vec<FileType>,
    /// How many are listed (default 1000); all are counted.
    #[serde(default = "limit")]
    limit: usize,
}

fn files() -> Vec<FileType> {
    vec![FileType::File]
}

fn limit() -> usize {
    1_000
}

/// What was found.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Found {
    /// The first `limit` of them, in the order of their paths folder by folder.
    files: Vec<FoundFile>,
    /// How many there are in all.
    count: u64,
    /// Their sizes added up.
    bytes: Bytes,
    /// Whether there are more than are listed.
    cut: bool,
    /// When the oldest of all was last changed; absent where none was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<Time>,
    /// When the newest of all was last changed; absent where none was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<Time>,
}

/// One that was found.
#[derive(Debug, Serialize, JsonSchema)]
struct FoundFile {
    /// Its path, from the root.
    path: String,
    /// What it is.
    #[serde(rename = "type")]
    kind: FileType,
    /// Its size.
    size: Bytes,
    /// When its content was last changed.
    modified: Time,
}

impl Step for FileFind {
    type Output = Found;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Read;

    fn check(arguments: &Value) -> Vec<ArgumentError> {
        let mut errors = Vec::new();
        if let Some(Value::Text(pattern)) = arguments.get("paths")
            && let Err(error) = Glob::new(&Utf8Path::new("/").join(&**pattern))
        {
            errors.push(wrong("paths", error));
        }
        if let Some(Value::List(types)) = arguments.get("types") {
            if types.is_empty() {
                errors.push(wrong("types", "at least one type is needed"));
            }
            if types.iter().any(|kind| kind.as_str() == Some("missing")) {
                errors.push(wrong("types", "what is missing can't be found"));
            }
        }
        errors
    }

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::reads(format!("file:{}", fixed_part(&self.paths)))]
    }

    fn describe(&self) -> Description {
        let mut description = Description::new(format!("find {}", self.paths));
        let conditions = [
            ("older_than", self.older_than.map(|span| span.to_string())),
            ("newer_than", self.newer_than.map(|span| span.to_string())),
            ("min_size", self.min_size.map(|size| size.to_string())),
            ("max_size", self.max_size.map(|size| size.to_string())),
        ];
        for (name, condition) in conditions {
            if let Some(text) = condition {
                description = description.with(name, text);
            }
        }
        description
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Found, ()>, Failure> {
        self.answer(cx).await.map(Look::Done)
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, _: Option<&()>) -> Result<Found, Failure> {
        self.answer(cx).await
    }
}

impl FileFind {
    async fn answer(&self, cx: &Cx) -> Result<Found, Failure> {
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || step.find(&cx)).await
    }

    fn find(&self, cx: &Cx) -> Result<Found, Failure> {
        let pattern = absolute(cx, &self.paths)?;
        let glob = Glob::new(&pattern)
            .map_err(|error| Failure::internal(format!("find `{pattern}`: {error}")))?;
        let now = cx.host.now();
        let mut found = Found::default();
        glob.each(cx, &mut |path, metadata| {
            let modified = state::modified(metadata);
            let size = Bytes(metadata.size());
            let kind = FileType::of(metadata);
            if !self.takes(kind, size, now.milliseconds - modified.milliseconds) {
                return Ok(());
            }
            found.count += 1;
            found.bytes.0 = found.bytes.0.saturating_add(size.0);
            found.oldest = Some(found.oldest.map_or(modified, |oldest| oldest.min(modified)));
            found.newest = Some(found.newest.map_or(modified, |newest| newest.max(modified)));
            if found.files.len() < self.limit {
                found.files.push(FoundFile {
                    path: path.to_string(),
                    kind,
                    size,
                    modified,
                });
            } else {
                found.cut = true;
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn takes(&self, kind: FileType, size: Bytes, age: i64) -> bool {
        self.types.contains(&kind)
            && self.older_than.is_none_or(|span| age > span.milliseconds)
            && self.newer_than.is_none_or(|span| age <= span.milliseconds)
            && self.min_size.is_none_or(|least| size >= least)
            && self.max_size.is_none_or(|most| size <= most)
    }
}

/// Returns the folder that all matches of `pattern` lie in, or the path that is no pattern.
pub(super) fn fixed_part(pattern: &Utf8Path) -> Utf8PathBuf {
    pattern
        .components()
        .take_while(|part| !is_pattern(part.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        time::{Duration, SystemTime},
    };

    use runwright_core::kind::Looked;
    use serde_json::json;

    use super::*;
    use crate::testing::Bench;

    fn find(bench: &Bench, arguments: serde_json::Value) -> (Value, Vec<String>) {
        let Looked::Done(result) = bench.look(KIND, arguments).expect("a look") else {
            panic!("a reading kind is done");
        };
        let Some(Value::List(files)) = result.get("files") else {
            panic!("{result:?}");
        };
        let names = files
            .iter()
            .filter_map(|file| file.get("path")?.as_str()?.rsplit('/').next())
            .map(str::to_owned)
            .collect();
        (result, names)
    }

    fn logs(bench: &Bench) {
        fs::create_dir_all(bench.path("logs/old")).expect("made");
        for (name, size, hours) in [
            ("a.log", 10, 1),
            ("b.log", 2000, 30),
            ("old/c.log", 30, 200),
        ] {
            let path = bench.path("logs").join(name);
            fs::write(&path, vec![b'x'; size]).expect("written");
            let time = SystemTime::now() - Duration::from_secs(hours * 3600);
            let file = fs::File::options().append(true).open(&path).expect("open");
            file.set_modified(time).expect("set");
        }
        std::os::unix::fs::symlink("a.log", bench.path("logs/link.log")).expect("a link");
    }

    #[test]
    fn files_are_found_by_age_size_and_type() {
        let bench = Bench::new();
        logs(&bench);
        for (conditions, expected) in [
            (json!({}), vec!["a.log", "b.log", "c.log"]),
            (json!({"older_than": "24h"}), vec!["b.log", "c.log"]),
            (json!({"newer_than": "7d"}), vec!["a.log", "b.log"]),
            (
                json!({"older_than": "24h", "newer_than": "7d"}),
                vec!["b.log"],
            ),
            (json!({"min_size": "1KiB"}), vec!["b.log"]),
            (json!({"max_size": "30B"}), vec!["a.log", "c.log"]),
            (json!({"types": ["link"]}), vec!["link.log"]),
            (json!({"older_than": "5000d"}), vec![]),
        ] {
            let mut arguments = json!({"paths": "logs/**/*.log"});
            let fields = arguments.as_object_mut().expect("a map");
            fields.extend(conditions.as_object().expect("a map").clone());
            assert_eq!(find(&bench, arguments).1, expected, "{conditions}");
        }
    }

    #[test]
    fn all_are_counted_and_only_some_listed() {
        let bench = Bench::new();
        logs(&bench);
        let (result, names) = find(&bench, json!({"paths": "logs/**/*.log", "limit": 1}));
        assert_eq!(names, ["a.log"]);
        assert_eq!(result.get("count"), Some(&Value::Int(3)));
        assert_eq!(result.get("bytes"), Some(&Value::Bytes(Bytes(2040))));
        assert_eq!(result.get("cut"), Some(&Value::Bool(true)));
        let (Some(Value::Time(oldest)), Some(Value::Time(newest))) =
            (result.get("oldest"), result.get("newest"))
        else {
            panic!("{result:?}");
        };
        assert_eq!((newest.milliseconds - oldest.milliseconds) / 3_600_000, 199);
    }

    #[test]
    fn nothing_found_is_an_answer() {
        let bench = Bench::new();
        let (result, names) = find(&bench, json!({"paths": "no/such/*"}));
        assert!(names.is_empty());
        assert_eq!(result.get("count"), Some(&Value::Int(0)));
        assert_eq!(result.get("newest"), None);
    }

    #[test]
    fn a_wrong_pattern_and_an_impossible_type_are_found_at_load_time() {
        for (arguments, says) in [
            (json!({"paths": "a/[x"}), "not closed"),
            (
                json!({"paths": "a", "types": ["missing"]}),
                "can't be found",
            ),
            (json!({"paths": "a", "types": []}), "at least one"),
        ] {
            let errors = FileFind::check(&Value::from_stored(&arguments));
            assert!(errors[0].to_string().contains(says), "{errors:?}");
        }
    }

    #[test]
    fn it_touches_the_folder_that_it_searches() {
        let step: FileFind = Value::from_stored(&json!({"paths": "/var/log/*/x.log"}))
            .read()
            .expect("arguments");
        assert_eq!(step.touches(), [Touch::reads("file:/var/log")]);
    }
}
