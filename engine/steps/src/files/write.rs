//! `file.write`: gives a file its whole content.
//!
//! `content` is taken as it is, `template` is rendered over `values`. The undo puts the old content, mode and owner
//! back, or removes a file (and folders made for it) that was not there.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use minijinja::{
    Environment, ErrorKind, UndefinedBehavior, syntax::SyntaxConfig, value::ValueKind,
};
use runwright_core::{
    kind::{Change, Cx, Description, Digest, Effect, Failure, Kind, Look, Step, Touch},
    units::{Bytes, Mode},
    value::{ArgumentError, Value},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    absolute, blocking,
    content::{self, Content},
    folder_of, gives, looked_at,
    put_back::PutBack,
    replacement::{Attributes, Before, fill_with},
    wrong, wrong_whole,
};

pub(super) const KIND: Kind = Kind::of::<FileWrite>("file.write");

/// What a template may cost: enough for megabytes of text, over in seconds.
const FUEL: u64 = 5_000_000;

/// Gives a file its whole content: `content` as it is, or a `template` over `values`.
///
/// It is written beside and renamed, so that readers see the old or the new content and nothing between. Mode and
/// owner stay as they are unless given; a new file gets what the run's umask leaves of `0666`. A template is MiniJinja
/// with blocks; a line that holds only a block leaves no empty line; sizes, spans and times are put in as text; a name
/// that `values` does not have is an error. Undone by putting back content, mode and owner.
///
/// ```yaml
/// - id: config
///   title: Write the environment of the service
///   file.write:
///     path: /tmp/example/kv.env
///     template: |
///       PORT={{ port }}
///       {% for host in hosts %}
///       HOST_{{ loop.index }}={{ host }}
///       {% endfor %}
///     values: { port: 8080, hosts: [a, b] }
///     mode: "0640"
///     parents: true
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileWrite {
    /// The file; a relative path starts at the run's working folder. A symbolic link is refused.
    #[schemars(with = "String")]
    path: Utf8PathBuf,
    /// The content. Either this or `template`.
    #[serde(default)]
    #[schemars(with = "String")]
    content: Option<String>,
    /// The text of a MiniJinja template, blocks included, that makes the content.
    #[serde(default)]
    #[schemars(with = "String", extend("x-literal" = true))]
    template: Option<String>,
    /// The values that the template sees, by name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    values: BTreeMap<String, Value>,
    /// The mode as quoted octal digits, like `"0640"`.
    #[serde(default)]
    #[schemars(with = "Mode")]
    mode: Option<Mode>,
    /// The owner, by name or number.
    #[serde(default)]
    #[schemars(with = "String")]
    owner: Option<String>,
    /// The group, by name or number.
    #[serde(default)]
    #[schemars(with = "String")]
    group: Option<String>,
    /// Whether missing folders above the file are made (default no).
    #[serde(default)]
    parents: bool,
}

/// The file as it was written.
#[derive(Debug, Serialize, JsonSchema)]
struct Written {
    /// The file, from the root.
    path: String,
    /// Its size.
    size: Bytes,
    /// The SHA-256 of its content, as hex digits. Where a secret stands in the step's arguments or in the content it is
    /// `keyed:…`: the same for the same content within the run, and no use outside of it.
    #[schemars(with = "String")]
    digest: Digest,
    /// Its mode.
    mode: Mode,
    /// Whether there was no file before.
    created: bool,
}

impl Step for FileWrite {
    type Output = Written;
    type Before = Before;
    type Undo = PutBack;
    const EFFECT: Effect = Effect::Change;

    fn check(arguments: &Value) -> Vec<ArgumentError> {
        let mut errors = Vec::new();
        match (gives(arguments, "content"), gives(arguments, "template")) {
            (true, true) => errors.push(wrong("template", "either this or `content`, not both")),
            (false, false) => errors.push(wrong_whole("`content` or `template` is needed")),
            (true, false) if gives(arguments, "values") => {
                errors.push(wrong("values", "only a `template` has values"));
            }
            _ => {}
        }
        if let Some(template) = arguments.get("template").and_then(Value::as_str)
            && let Err(error) = environment().template_from_named_str("template", template)
        {
            errors.push(wrong("template", error.to_string()));
        }
        errors
    }

    fn touches(&self) -> Vec<Touch> {
        vec![
            Touch::changes(format!("file:{}", self.path)),
            Touch::reads(format!("file:{}", folder_of(&self.path))),
        ]
    }

    fn describe(&self) -> Description {
        let mut description = Description::new(format!("write {}", self.path));
        for (name, text) in [("content", &self.content), ("template", &self.template)] {
            if let Some(text) = text {
                description = description.with_content(name, text);
            }
        }
        for (name, value) in &self.values {
            description = description.with_content(&format!("values.{name}"), value.display());
        }
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

    async fn look(&self, cx: &Cx) -> Result<Look<Written, Before>, Failure> {
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

    async fn perform(&self, cx: &Cx, before: Option<&Before>) -> Result<Written, Failure> {
        let before = looked_at(before)?.clone();
        let (step, cx) = (self.clone(), cx.clone());
        blocking(move || {
            let content = step.content()?;
            let hasher = before.hasher(&cx)?;
            before.replace(&cx, fill_with(content.as_bytes(), hasher))?;
            Ok(written(&before))
        })
        .await
    }
}

impl FileWrite {
    fn look_now(&self, cx: &Cx) -> Result<Look<Written, Before>, Failure> {
        let content = self.content()?;
        let path = absolute(cx, &self.path)?;
        let attributes = Attributes {
            mode: self.mode,
            owner: self.owner.as_deref(),
            group: self.group.as_deref(),
            parents: self.parents,
        };
        let announced = Content::of(cx, &path, content.as_bytes())?;
        let before = Before::look(cx, &path, attributes, announced)?;
        if before.is_after() {
            return Ok(Look::Done(written(&before)));
        }
        let diff = if before.was.digest == before.after.digest {
            None
        } else {
            let new = content.as_bytes();
            Some(content::diff_with(cx, &path, before.was.size, new)?)
        };
        Ok(Look::Needed(Change {
            summary: before.summary(),
            before,
            diff,
        }))
    }

    fn content(&self) -> Result<String, Failure> {
        match (&self.content, &self.template) {
            (Some(content), None) => Ok(content.clone()),
            (None, Some(template)) => render(&self.path, template, &self.values),
            _ => Err(Failure::internal(format!(
                "write `{}`: either `content` or `template` is needed",
                self.path
            ))),
        }
    }
}

fn written(before: &Before) -> Written {
    Written {
        path: before.path.to_string(),
        size: before.after.size.unwrap_or_default(),
        digest: before.after.digest.clone().expect("a file has a digest"),
        mode: before.after.mode.expect("a file has a mode"),
        created: !before.was.exists,
    }
}

fn render(
    path: &Utf8Path,
    template: &str,
    values: &BTreeMap<String, Value>,
) -> Result<String, Failure> {
    let values: BTreeMap<&str, minijinja::Value> = values
        .iter()
        .map(|(name, value)| (name.as_str(), to_minijinja(value)))
        .collect();
    environment()
        .template_from_named_str("template", template)
        .and_then(|template| template.render(minijinja::Value::from(values)))
        .map_err(|error| {
            let failure =
                Failure::internal(format!("render the template for `{path}`")).because(&error);
            match error.kind() {
                ErrorKind::UndefinedError => {
                    failure.hint("give each name that the template uses in `values`")
                }
                _ => failure,
            }
        })
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    environment.set_syntax(syntax.expect("the delimiters are those of MiniJinja"));
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|out, state, value| {
        let hint = match value.kind() {
            ValueKind::Bool => return Ok(write!(out, "{}", value.is_true())?),
            ValueKind::None => "null can't be put into a text",
            ValueKind::Seq => "a list can't be put into a text (`| join(\", \")` makes one of it)",
            ValueKind::Map => "a map can't be put into a text (`| tojson` makes one of it)",
            _ => return minijinja::escape_formatter(out, state, value),
        };
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, hint))
    });
    environment
}

/// Returns `value` for a template: sizes, spans and times as text, what was never made as undefined.
fn to_minijinja(value: &Value) -> minijinja::Value {
    match value {
        Value::Null => minijinja::Value::from(()),
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Number(number) => (*number).into(),
        Value::List(items) => items.iter().map(to_minijinja).collect(),
        Value::Map(fields) => minijinja::Value::from(
            fields
                .iter()
                .map(|(name, field)| (name.as_str(), to_minijinja(field)))
                .collect::<BTreeMap<_, _>>(),
        ),
        Value::Absent(_) | Value::Unknown(_) => minijinja::Value::UNDEFINED,
        Value::Text(_)
        | Value::Bytes(_)
        | Value::Duration(_)
        | Value::Time(_)
        | Value::Secret(_) => match value.to_text() {
            Ok(text) => text.into(),
            Err(_) => minijinja::Value::UNDEFINED,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    };

    use runwright_core::kind::{Class, Looked, PlainHasher, UndoLook};
    use serde_json::json;

    use super::*;
    use crate::testing::Bench;

    fn mode(path: &Utf8Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o7777
    }

    #[test]
    fn a_new_file_is_written_once_and_undone_with_its_folders() {
        let bench = Bench::new();
        let path = bench.path("a/b/kv.env");
        let arguments = json!({"path": path, "content": "x\n", "parents": true, "mode": "0640"});
        let (result, undo) = bench.run(KIND, arguments.clone()).expect("written");
        assert_eq!(result.get("created"), Some(&Value::Bool(true)));
        assert_eq!(fs::read(&path).expect("there"), b"x\n");
        assert_eq!(mode(&path), 0o640);
        let (again, nothing) = bench.run(KIND, arguments).expect("already as wanted");
        assert!(nothing.is_none());
        assert_eq!(again.get("digest"), result.get("digest"));
        let undo = undo.expect("an undo");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        assert!(!bench.path("a").exists());
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Done));
    }

    #[test]
    fn an_existing_file_keeps_mode_and_owner_and_comes_back_byte_for_byte() {
        let bench = Bench::new();
        let path = bench.path("a");
        let old = b"old \xff\0 bytes".to_vec();
        fs::write(&path, &old).expect("written");
        chown(&path, Some(1234), Some(2345)).expect("owned by somebody (this test runs as root)");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4710)).expect("set");
        let arguments = json!({"path": path, "content": "new\n"});
        let (_, undo) = bench.run(KIND, arguments).expect("written");
        let metadata = fs::metadata(&path).expect("there");
        assert_eq!(
            (metadata.uid(), metadata.gid(), mode(&path)),
            (1234, 2345, 0o4710)
        );
        let undo = undo.expect("an undo");
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Needed));
        let metadata = fs::metadata(&path).expect("there");
        assert_eq!(fs::read(&path).expect("there"), old);
        assert_eq!(
            (metadata.uid(), metadata.gid(), mode(&path)),
            (1234, 2345, 0o4710)
        );
        assert_eq!(bench.undo(KIND, &undo), Ok(UndoLook::Done));
        assert_eq!(
            fs::read_dir(bench.path(".")).expect("listed").count(),
            2,
            "the file and the kept contents, nothing beside them"
        );
    }

    #[test]
    fn only_the_mode_is_changed_and_put_back() {
        let bench = Bench::new();
        let path = bench.path("a");
        fs::write(&path, "same").expect("written");
        let arguments = json!({"path": path, "content": "same", "mode": "0600"});
        let look = bench.look(KIND, arguments.clone()).expect("a look");
        assert!(
            matches!(&look, Looked::Needed { summary, diff: None, .. } if summary == "mode 0644 -> 0600"),
            "{look:?}"
        );
        let (_, undo) = bench.run(KIND, arguments).expect("written");
        assert_eq!(mode(&path), 0o600);
        bench.undo(KIND, &undo.expect("an undo")).expect("undone");
        assert_eq!(mode(&path), 0o644);
    }

    #[test]
    fn a_change_is_shown_as_a_diff_and_a_look_changes_nothing() {
        let bench = Bench::new();
        let path = bench.path("a");
        fs::write(&path, "a\nb\n").expect("written");
        let look = bench
            .look(KIND, json!({"path": path, "content": "a\nc\n"}))
            .expect("a look");
        let Looked::Needed { before, diff, .. } = look else {
            panic!("{look:?}");
        };
        assert!(
            diff.expect("a diff")
                .ends_with("@@ -1,2 +1,2 @@\n a\n-b\n+c\n")
        );
        assert_eq!(before.get("exists"), Some(&Value::Bool(true)));
        assert_eq!(before.get("type"), Some(&"file".into()));
        assert_eq!(before.get("size"), Some(&Value::Bytes(Bytes(4))));
        assert!(!format!("{before:?}").contains("a\\nb"), "no content");
        assert_eq!(fs::read(&path).expect("there"), b"a\nb\n");
    }

    #[test]
    fn a_template_has_blocks_and_types_and_is_strict() {
        let bench = Bench::new();
        let path = bench.path("a");
        let template =
            "{% for x in list %}\n  - {{ x }}\n{% endfor %}\nsize={{ size }} on={{ on }} <&>\n";
        let arguments = json!({
            "path": path, "template": template,
            "values": {"list": [1, "two"], "size": {"$bytes": 1024}, "on": true},
        });
        bench.run(KIND, arguments).expect("written");
        assert_eq!(
            fs::read_to_string(&path).expect("there"),
            "  - 1\n  - two\nsize=1KiB on=true <&>\n"
        );
        for (template, says) in [
            ("{{ typo }}", "undefined"),
            ("{{ map.typo }}", "undefined"),
            ("{{ nothing }}", "null can't be put into a text"),
            ("{{ map }}", "a map can't be put into a text"),
            (
                "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
                "fuel",
            ),
        ] {
            let values = json!({"map": {"a": 1}, "nothing": null});
            let arguments = json!({"path": path, "template": template, "values": values});
            let failure = bench.look(KIND, arguments).expect_err(template);
            assert!(failure.line().contains(says), "{}", failure.line());
        }
    }

    #[test]
    fn wrong_arguments_are_found_at_load_time() {
        for (arguments, says) in [
            (json!({"path": "a"}), "`content` or `template` is needed"),
            (
                json!({"path": "a", "content": "", "template": ""}),
                "not both",
            ),
            (
                json!({"path": "a", "content": "", "values": {"a": 1}}),
                "only a `template`",
            ),
            (
                json!({"path": "a", "template": "{% if %}"}),
                "`template`: syntax error",
            ),
        ] {
            let errors = FileWrite::check(&Value::from_stored(&arguments));
            let text = errors.first().map(ToString::to_string).unwrap_or_default();
            assert!(text.contains(says), "{arguments}: {text}");
        }
        let unknown = json!({"path": "a", "template": {"$unknown": "x"}});
        assert!(FileWrite::check(&Value::from_stored(&unknown)).is_empty());
    }

    #[test]
    fn a_second_attempt_after_a_crash_succeeds_wherever_it_died() {
        let bench = Bench::new();
        let path = bench.path("new/a");
        let arguments =
            Value::from_stored(&json!({"path": path, "content": "new", "parents": true}));
        let step: FileWrite = arguments.read().expect("arguments");
        let Look::Needed(Change { before, .. }) = step.look_now(bench.cx()).expect("a look") else {
            panic!("needed");
        };
        let perform = || {
            let hasher = before.hasher(bench.cx())?;
            before.replace(bench.cx(), fill_with(b"new", hasher))
        };
        // Died with the folder made and half of the content written.
        fs::create_dir(bench.path("new")).expect("made");
        fs::write(&before.temporary, "ne").expect("written");
        let half = crate::files::put_back::look(bench.cx(), &before);
        assert_eq!(half, Ok(UndoLook::Needed));
        perform().expect("the second attempt");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        // Died after the rename.
        perform().expect("a further attempt");
        assert!(!before.temporary.exists());
    }

    #[test]
    fn the_undo_of_a_half_done_step_leaves_nothing() {
        let bench = Bench::new();
        let path = bench.path("new/a");
        let step: FileWrite =
            Value::from_stored(&json!({"path": path, "content": "new", "parents": true}))
                .read()
                .expect("arguments");
        let Look::Needed(Change { before, .. }) = step.look_now(bench.cx()).expect("a look") else {
            panic!("needed");
        };
        fs::create_dir(bench.path("new")).expect("made");
        fs::write(&before.temporary, "ne").expect("written");
        crate::files::put_back::perform(bench.cx(), &before).expect("undone");
        assert!(!bench.path("new").exists());
        let look = crate::files::put_back::look(bench.cx(), &before);
        assert_eq!(look, Ok(UndoLook::Done));
    }

    #[test]
    fn what_somebody_changed_since_is_neither_overwritten_nor_undone() {
        let bench = Bench::new();
        let path = bench.path("a");
        fs::write(&path, "old").expect("written");
        let arguments = json!({"path": path, "content": "new"});
        let (_, undo) = bench.run(KIND, arguments.clone()).expect("written");
        fs::write(&path, "somebody's").expect("written");
        let look = bench.undo(KIND, &undo.expect("an undo")).expect("a look");
        assert!(
            matches!(&look, UndoLook::Dirty(text) if text.contains("content 3B -> 10B")),
            "{look:?}"
        );
        let step: FileWrite = Value::from_stored(&arguments).read().expect("arguments");
        let Look::Needed(Change { before, .. }) = step.look_now(bench.cx()).expect("a look") else {
            panic!("needed");
        };
        fs::write(&path, "again").expect("written");
        let failure = before.keep(bench.cx()).expect_err("left");
        assert_eq!(failure.class, Class::Refused);
        let failure = before
            .replace(bench.cx(), fill_with(b"new", PlainHasher::boxed()))
            .expect_err("left");
        assert_eq!(failure.class, Class::Refused);
        assert_eq!(fs::read(&path).expect("there"), b"again");
    }

    #[test]
    fn a_link_a_directory_a_pipe_and_missing_folders_are_refused_with_the_way_out() {
        let bench = Bench::new();
        fs::write(bench.path("real"), "real").expect("written");
        symlink("real", bench.path("link")).expect("a link");
        fs::create_dir(bench.path("folder")).expect("made");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            bench.path("fifo").as_str(),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("a pipe");
        for (name, says) in [
            ("link", "link`: it is a symbolic link"),
            ("folder", "folder`: it is a directory"),
            ("fifo", "fifo`: it is a named pipe"),
            ("no/such", "no` does not exist"),
            ("real/below", "real`: it is a file"),
        ] {
            let arguments = json!({"path": bench.path(name), "content": "x"});
            let failure = bench.look(KIND, arguments).expect_err(name);
            assert_eq!(failure.class, Class::Refused, "{name}");
            assert!(failure.message.contains(says), "{}", failure.message);
        }
        assert_eq!(fs::read(bench.path("real")).expect("there"), b"real");
    }

    #[test]
    fn the_description_shows_the_action_in_full() {
        let bench = Bench::new();
        let description = bench.describe(
            KIND,
            json!({
                "path": "/etc/a", "template": "{{ n }}", "values": {"n": {"$bytes": 1024}},
                "mode": "0640", "owner": "root",
            }),
        );
        assert_eq!(description.summary, "write /etc/a");
        let shown = description.contents.iter().chain(&description.details);
        let details: Vec<String> = shown
            .map(|(name, text)| format!("{name}: {text}"))
            .collect();
        assert_eq!(
            details,
            [
                "template: {{ n }}",
                "values.n: 1KiB",
                "mode: 0640",
                "owner: root"
            ]
        );
    }

    #[test]
    fn a_folder_that_may_not_be_written_is_named() {
        let bench = Bench::new();
        let failure = bench
            .run(
                KIND,
                json!({"path": "/proc/runwright-test", "content": "x"}),
            )
            .expect_err("nobody writes there");
        assert!(
            failure.message.contains("/proc/runwright-test"),
            "{failure}"
        );
    }
}
