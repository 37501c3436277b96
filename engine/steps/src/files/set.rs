//! `file.set`: sets one key, or one line, in a configuration file.
//!
//! Comments, order, mode and owner stay. The undo puts the old content back, byte for byte.

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{Change, Cx, Description, Effect, Failure, Kind, Look, Step, Touch},
    units::Bytes,
    value::{ArgumentError, Value},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    absolute,
    assignment::{Assignment, Edited, Format, Quote, add_line, remove_line},
    blocking,
    content::{self, Content},
    folder_of, gives, looked_at,
    put_back::PutBack,
    replacement::{Attributes, Before, fill_with, target},
    state::FileType,
    wrong, wrong_whole,
};

pub(super) const KIND: Kind = Kind::of::<FileSet>("file.set");

/// Larger than any configuration that people edit.
const AT_MOST: Bytes = Bytes(16 << 20);

/// Sets one key, or one line, in an environment, INI or plain configuration file.
///
/// Everything else stays: comments, order, line ends, mode and owner. A key that is there several times is reduced to
/// one, at its first place; a new one goes to the end of its section. `value: null` or `absent: true` removes it.
/// Nothing is changed where it is as wanted already. In an environment file the value is quoted where a shell needs
/// it; elsewhere it is written as it is given. Undone by putting back the old content.
///
/// ```yaml
/// - id: image
///   title: Choose the new version
///   file.set: { path: /tmp/example/kv.env, format: env, key: API_TAG, value: "1.4.2", create: true }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileSet {
    /// The file; a relative path starts at the run's working folder. A symbolic link is refused.
    #[schemars(with = "String")]
    path: Utf8PathBuf,
    /// How the file writes its keys; needed with `key`.
    #[serde(default)]
    #[schemars(with = "Format")]
    format: Option<Format>,
    /// The section of an `ini` file; without it the keys before the first section.
    #[serde(default)]
    #[schemars(with = "String")]
    section: Option<String>,
    /// The key. Either this or `line`.
    #[serde(default)]
    #[schemars(with = "String")]
    key: Option<String>,
    /// A whole line that is to be there, as it is; a new one goes to the end of the file.
    #[serde(default)]
    #[schemars(with = "String")]
    line: Option<String>,
    /// The value of the key; `null` removes the key.
    #[serde(default, deserialize_with = "given")]
    #[schemars(schema_with = "scalar")]
    value: Option<Option<String>>,
    /// Whether key or line is to be absent (default no).
    #[serde(default)]
    absent: bool,
    /// What a new line has between key and value: by default `=`, and a blank in a `conf` file. Blanks around it are
    /// optional in lines that are found.
    #[serde(default)]
    #[schemars(with = "String")]
    separator: Option<String>,
    /// Whether values in an `env` file are quoted: `auto` (default) or `never`.
    #[serde(default)]
    quote: Quote,
    /// Whether a missing file is made (default no).
    #[serde(default)]
    create: bool,
}

/// Reads a key that is there, be it null.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn scalar(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["string", "number", "integer", "boolean", "null"] })
}

/// The file as it is now.
#[derive(Debug, Serialize, JsonSchema)]
struct Assigned {
    /// The file, from the root.
    path: String,
    /// Its size.
    size: Bytes,
    /// The SHA-256 of its content, as hex digits; empty where there is no file to remove a key from. Where a secret
    /// stands in the step's arguments or in the content it is `keyed:…`: the same for the same content within the run,
    /// and no use outside of it.
    digest: String,
}

impl Step for FileSet {
    type Output = Assigned;
    type Before = Before;
    type Undo = PutBack;
    const EFFECT: Effect = Effect::Change;

    fn check(arguments: &Value) -> Vec<ArgumentError> {
        check(arguments)
    }

    fn touches(&self) -> Vec<Touch> {
        vec![
            Touch::changes(format!("file:{}", self.path)),
            Touch::reads(format!("file:{}", folder_of(&self.path))),
        ]
    }

    fn describe(&self) -> Description {
        let key = match (&self.section, &self.key) {
            (Some(section), Some(key)) => format!("[{section}] {key}"),
            (_, Some(key)) => key.clone(),
            _ => "a line".to_owned(),
        };
        let path = &self.path;
        let description = Description::new(match self.wanted() {
            Some(_) => format!("set {key} in {path}"),
            None => format!("remove {key} from {path}"),
        });
        match (&self.line, self.wanted()) {
            (Some(line), _) => description.with_content("line", line),
            (None, Some(value)) => description.with_content("value", value),
            (None, None) => description,
        }
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Assigned, Before>, Failure> {
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

    async fn perform(&self, cx: &Cx, before: Option<&Before>) -> Result<Assigned, Failure> {
        let before = looked_at(before)?.clone();
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || {
            before.replace(&cx, |file, temporary| {
                let old = old_text(&cx, &before.path, before.was.exists)?;
                let edited = step.edit(&old)?;
                fill_with(edited.text.as_bytes(), before.hasher(&cx)?)(file, temporary)
            })?;
            Ok(assigned(&before))
        })
        .await
    }
}

impl FileSet {
    fn look_now(&self, cx: &Cx) -> Result<Look<Assigned, Before>, Failure> {
        let path = absolute(cx, &self.path)?;
        let exists = target(cx, &path)?.kind != FileType::Missing;
        if !exists && self.wanted().is_none() {
            return Ok(Look::Done(Assigned {
                path: path.into_string(),
                size: Bytes(0),
                digest: String::new(),
            }));
        }
        if !exists && !self.create {
            return Err(Failure::refused(format!(
                "set a key in `{path}`: the file does not exist"
            ))
            .hint("`create: true` makes a missing file"));
        }
        let old = old_text(cx, &path, exists)?;
        let edited = self.edit(&old)?;
        let announced = Content::of(cx, &path, edited.text.as_bytes())?;
        let before = Before::look(cx, &path, Attributes::default(), announced)?;
        if before.is_after() {
            return Ok(Look::Done(assigned(&before)));
        }
        Ok(Look::Needed(Change {
            summary: self.summary(&edited),
            diff: Some(content::diff(
                &path,
                exists.then_some(old.as_bytes()),
                edited.text.as_bytes(),
            )),
            before,
        }))
    }

    fn summary(&self, edited: &Edited) -> String {
        let what = self.key.as_deref().unwrap_or("the line");
        match (self.wanted(), edited.found) {
            (None, 1) => format!("remove {what}"),
            (None, found) => format!("remove {what}, {found} times"),
            (Some(_), 0) => format!("add {what}"),
            (Some(_), 1) => format!("change {what}"),
            (Some(_), found) => format!("set {what}, there {found} times, once"),
        }
    }

    /// Returns what is to be there, if anything.
    fn wanted(&self) -> Option<&str> {
        match (&self.line, &self.value) {
            _ if self.absent => None,
            (Some(line), _) => Some(line),
            (None, Some(value)) => value.as_deref(),
            (None, None) => None,
        }
    }

    fn edit(&self, text: &str) -> Result<Edited, Failure> {
        let refuse = |why: &str| {
            let key = self.key.as_deref().unwrap_or("a line");
            Err(Failure::refused(format!(
                "set {key} in `{}`: {why}",
                self.path
            )))
        };
        let (key, format) = match (&self.line, &self.key, self.format) {
            (Some(line), None, None) if line.is_empty() || line.contains(['\n', '\r', '\0']) => {
                return refuse("`line` is to be one line that is not empty");
            }
            (Some(line), None, None) if self.absent => return Ok(remove_line(text, line)),
            (Some(line), None, None) => return Ok(add_line(text, line)),
            (None, Some(key), Some(format)) => (key, format),
            _ => return refuse("either `line`, or `key` and `format` are needed"),
        };
        let separator = self.separator.as_deref().unwrap_or(match format {
            Format::Env | Format::Ini => "=",
            Format::Conf => " ",
        });
        if let Some(why) = wrong_key(key, separator, self.section.as_deref()) {
            return refuse(why);
        }
        let assignment = Assignment {
            format,
            section: self.section.as_deref(),
            key,
            separator,
            quote: self.quote,
        };
        match self.wanted() {
            None if self.value.is_none() && !self.absent => {
                refuse("`value` is needed, or `absent: true` to remove the key")
            }
            None => Ok(assignment.remove(text)),
            Some(value) => match assignment.unwritable(value) {
                Some(what) => refuse(&format!("{what} can't be written in this format")),
                None => Ok(assignment.set(text, value)),
            },
        }
    }
}

fn check(arguments: &Value) -> Vec<ArgumentError> {
    let given = |name: &str| gives(arguments, name);
    let mut errors = Vec::new();
    if given("line") {
        for name in ["key", "value", "format", "section", "separator", "quote"] {
            if given(name) {
                errors.push(wrong(name, "a whole `line` has none of it"));
            }
        }
        return errors;
    }
    if !given("key") {
        errors.push(wrong_whole("`key` or `line` is needed"));
    }
    if !given("format") {
        errors.push(wrong_whole("`format` is needed: `env`, `ini` or `conf`"));
    }
    let format = arguments.get("format").and_then(Value::as_str);
    if given("section") && format.is_some_and(|format| format != "ini") {
        errors.push(wrong("section", "only an `ini` file has sections"));
    }
    if given("quote") && format.is_some_and(|format| format != "env") {
        errors.push(wrong("quote", "only values of an `env` file are quoted"));
    }
    let absent = arguments.get("absent");
    match (arguments.get("value"), absent) {
        (None, None | Some(Value::Bool(false))) => errors.push(wrong_whole(
            "`value` is needed, or `absent: true` to remove the key",
        )),
        (Some(value), Some(Value::Bool(true))) if *value != Value::Null => {
            errors.push(wrong("value", "a key that is to be absent has no value"));
        }
        _ => {}
    }
    errors
}

/// Returns why lines with `key` could not be told from others.
fn wrong_key(key: &str, separator: &str, section: Option<&str>) -> Option<&'static str> {
    let mark = separator.trim();
    if key.is_empty() || key.trim() != key {
        Some("the key is empty or has blanks at its ends")
    } else if key.contains(['\n', '\r', '\0']) || key.starts_with(['#', ';', '[']) {
        Some("the key would be read as something else")
    } else if separator.is_empty() || separator.contains(['\n', '\r', '\0']) {
        Some("the separator is empty or has several lines")
    } else if mark.is_empty() && key.contains([' ', '\t']) || !mark.is_empty() && key.contains(mark)
    {
        Some("the separator is part of the key")
    } else if section.is_some_and(|name| name.trim() != name || name.contains([']', '\n', '\r'])) {
        Some("the section's name would be read as something else")
    } else {
        None
    }
}

fn old_text(cx: &Cx, path: &Utf8Path, exists: bool) -> Result<String, Failure> {
    if !exists {
        return Ok(String::new());
    }
    String::from_utf8(content::whole(cx, path, AT_MOST)?).map_err(|error| {
        Failure::refused(format!("set a key in `{path}`: it is no UTF-8 text")).because(&error)
    })
}

fn assigned(before: &Before) -> Assigned {
    Assigned {
        path: before.path.to_string(),
        size: before.after.size.unwrap_or_default(),
        digest: before
            .after
            .digest
            .clone()
            .map_or_else(String::new, |digest| digest.0),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use runwright_core::kind::{Class, Looked, UndoLook};
    use serde_json::json;

    use super::*;
    use crate::testing::Bench;

    const OLD: &str = "# the port\nPORT=80\r\n\nexport TAG=1 # ours\nPORT=81";

    #[test]
    fn a_key_is_set_once_with_mode_kept_and_comes_back_byte_for_byte() {
        let bench = Bench::new();
        let path = bench.path("kv.env");
        fs::write(&path, OLD).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
        let arguments = json!({"path": path, "format": "env", "key": "PORT", "value": 8080});
        let look = bench.look(KIND, arguments.clone()).expect("a look");
        assert!(
            matches!(&look, Looked::Needed { summary, diff: Some(diff), .. }
                if summary == "set PORT, there 2 times, once" && diff.contains("+PORT=8080")),
            "{look:?}"
        );
        let (_, undo) = bench.run(KIND, arguments.clone()).expect("set");
        assert_eq!(
            fs::read_to_string(&path).expect("there"),
            "# the port\nPORT=8080\r\n\nexport TAG=1 # ours\n"
        );
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let (_, nothing) = bench.run(KIND, arguments).expect("already as wanted");
        assert!(nothing.is_none());
        let undo = undo.expect("an undo");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert_eq!(fs::read_to_string(&path).expect("there"), OLD);
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Done));
    }

    #[test]
    fn null_and_absent_remove_the_key_and_a_missing_file_has_none() {
        let bench = Bench::new();
        let path = bench.path("kv.env");
        for removal in [json!({"value": null}), json!({"absent": true})] {
            fs::write(&path, OLD).expect("written");
            let mut arguments = json!({"path": path, "format": "env", "key": "PORT"});
            let fields = arguments.as_object_mut().expect("a map");
            fields.extend(removal.as_object().expect("a map").clone());
            assert!(FileSet::check(&Value::from_stored(&arguments)).is_empty());
            bench.run(KIND, arguments).expect("removed");
            assert_eq!(
                fs::read_to_string(&path).expect("there"),
                "# the port\n\nexport TAG=1 # ours\n"
            );
        }
        let arguments = json!({"path": "no", "format": "env", "key": "A", "absent": true});
        let look = bench.look(KIND, arguments).expect("a look");
        assert!(matches!(look, Looked::Done(_)), "{look:?}");
    }

    #[test]
    fn a_missing_file_is_made_only_when_told_and_undone() {
        let bench = Bench::new();
        let path = bench.path("app.ini");
        let mut arguments =
            json!({"path": path, "format": "ini", "section": "db", "key": "host", "value": "h"});
        let failure = bench.run(KIND, arguments.clone()).expect_err("missing");
        assert!(
            failure
                .message
                .contains("app.ini`: the file does not exist")
        );
        arguments["create"] = json!(true);
        let (_, undo) = bench.run(KIND, arguments).expect("made");
        assert_eq!(fs::read_to_string(&path).expect("there"), "[db]\nhost=h\n");
        bench.undo(KIND, &undo.expect("an undo")).expect("undone");
        assert!(!path.exists());
    }

    #[test]
    fn a_line_is_added_and_removed() {
        let bench = Bench::new();
        let path = bench.path("hosts");
        fs::write(&path, "127.0.0.1 localhost\n").expect("written");
        let line = "10.0.0.5 db";
        bench
            .run(KIND, json!({"path": path, "line": line}))
            .expect("added");
        let (_, nothing) = bench
            .run(KIND, json!({"path": path, "line": line}))
            .expect("there already");
        assert!(nothing.is_none());
        let text = fs::read_to_string(&path).expect("there");
        assert_eq!(text, "127.0.0.1 localhost\n10.0.0.5 db\n");
        bench
            .run(KIND, json!({"path": path, "line": line, "absent": true}))
            .expect("removed");
        let text = fs::read_to_string(&path).expect("there");
        assert_eq!(text, "127.0.0.1 localhost\n");
    }

    #[test]
    fn a_crash_after_the_rename_is_no_obstacle_and_a_foreign_change_is() {
        let bench = Bench::new();
        let path = bench.path("kv.env");
        fs::write(&path, "A=1\n").expect("written");
        let arguments =
            Value::from_stored(&json!({"path": path, "format": "env", "key": "A", "value": 2}));
        let action = (KIND.open)(&arguments).expect("arguments");
        let Looked::Needed { before, .. } =
            bench.look(KIND, arguments.to_stored()).expect("a look")
        else {
            panic!("needed");
        };
        let perform = || {
            tokio::runtime::Runtime::new()
                .expect("a runtime")
                .block_on(action.perform(bench.cx(), Some(&before)))
        };
        let first = perform().expect("set");
        assert_eq!(perform(), Ok(first), "the second attempt");
        fs::write(&path, "A=3\n").expect("written");
        let failure = perform().expect_err("changed since");
        assert_eq!(failure.class, Class::Refused);
    }

    #[test]
    fn what_can_not_be_written_safely_is_refused() {
        let bench = Bench::new();
        fs::write(bench.path("a"), "A=1\n").expect("written");
        fs::write(bench.path("latin"), b"A=\xe9\n").expect("written");
        symlink("a", bench.path("link")).expect("a link");
        for (path, key, value, says) in [
            ("a", "A", "x\ny", "several lines"),
            ("a", "A=B", "x", "the separator is part of the key"),
            ("a", "#A", "x", "something else"),
            ("latin", "A", "x", "no UTF-8 text"),
            ("link", "A", "x", "symbolic link"),
        ] {
            let arguments = json!({"path": path, "format": "env", "key": key, "value": value});
            let failure = bench.look(KIND, arguments).expect_err(says);
            assert_eq!(failure.class, Class::Refused);
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }

    #[test]
    fn wrong_arguments_are_found_at_load_time() {
        for (arguments, says) in [
            (json!({"path": "a"}), "`key` or `line` is needed"),
            (
                json!({"path": "a", "key": "A", "value": "x"}),
                "`format` is needed",
            ),
            (
                json!({"path": "a", "key": "A", "format": "env"}),
                "`value` is needed",
            ),
            (
                json!({"path": "a", "key": "A", "format": "env", "value": "x", "section": "s"}),
                "only an `ini`",
            ),
            (
                json!({"path": "a", "key": "A", "format": "env", "value": "x", "absent": true}),
                "has no value",
            ),
            (
                json!({"path": "a", "line": "x", "key": "A"}),
                "a whole `line`",
            ),
        ] {
            let errors = FileSet::check(&Value::from_stored(&arguments));
            let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert!(text.join("; ").contains(says), "{arguments}: {text:?}");
        }
    }
}
