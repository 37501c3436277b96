//! Arguments as kinds declare them, and what is wrong with them.

#![expect(dead_code, reason = "the types are there for their schemas")]

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value as Json, json};

use super::{Templates, check, check_under, editor, unknown_words};
use crate::{
    diagnostic::{Colour, Diagnostic, Source, line, render},
    units::{Bytes, Mode, Span, Time},
    yaml::{Limits, Node, parse},
};

/// Arguments with everything that kinds have.
#[derive(JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The database file.
    database: String,
    depth: Option<Depth>,
    level: Option<Level>,
    limit: Option<Bytes>,
    #[serde(default)]
    wait: Span,
    since: Option<Time>,
    mode: Option<Mode>,
    #[schemars(extend("format" = "regex"))]
    matching: Option<String>,
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    #[schemars(range(min = 1, max = 5))]
    tries: u8,
    port: Option<u16>,
    ratio: Option<f64>,
    #[serde(default)]
    #[schemars(length(min = 1))]
    argv: Vec<String>,
    #[serde(default)]
    exits: BTreeSet<i32>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    #[schemars(extend("x-literal" = true))]
    script: String,
    keep: Option<Keep>,
    #[serde(default)]
    targets: Vec<Target>,
    anything: Option<Json>,
    pair: Option<(String, i32)>,
    inner: Option<Box<Arguments>>,
}

#[derive(JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Depth {
    Quick,
    Full,
}

#[derive(JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// Little.
    Low,
    /// Much.
    High,
}

#[derive(JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Keep {
    Nothing,
    For(Span),
    Copies { count: u32 },
}

#[derive(JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    name: String,
    port: u16,
}

fn schema(inline: bool) -> Json {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = inline)
        .into_generator()
        .into_root_schema_for::<Arguments>()
        .to_value()
}

fn tree(yaml: &str) -> Node {
    let mut problems = Vec::new();
    let node = parse(yaml, &Limits::default(), &mut problems);
    assert_eq!(problems, []);
    node.expect("a tree")
}

/// Checks `yaml` and a database, with the types in place and by reference: both have to say the same.
#[track_caller]
fn problems(yaml: &str, expected: &str) {
    let yaml = format!("database: x\n{yaml}");
    let source = Source::new("p", yaml.as_str());
    let say = |inline| {
        let mut found: Vec<Diagnostic> = Vec::new();
        check(
            &tree(&yaml),
            &schema(inline),
            Templates::Allowed,
            &mut found,
        );
        let lines: Vec<String> = found.iter().map(|problem| line(problem, &source)).collect();
        lines.join("\n")
    };
    let rendered = say(true);
    assert_eq!(rendered, expected.trim_matches('\n'), "\n{rendered}");
    assert_eq!(say(false), rendered);
}

#[test]
fn what_is_right_passes() {
    problems("", "");
    problems(
        "
depth: full
level: low
limit: 100MiB
wait: 1h 30m
since: 2026-11-20T14:30:00+08:00
mode: \"0640\"
matching: '^\\d+$'
follow: true
tries: 5
port: 0x1f90
ratio: 1
argv: [ls, -l, 5, true, 1.10]
exits: [0, 1]
env: { A: 1, B: x }
script: echo {{ x }}
keep: { copies: { count: 3 } }
targets: [{ name: a, port: 1 }]
anything: [1, { a: ~ }]
pair: [a, 1]
inner: { database: y, keep: nothing }
",
        "",
    );
}

#[test]
fn nothing_is_a_value_only_where_it_may_be() {
    problems("depth:\nkeep: ~\ninner: null\nlimit:\n", "");
    problems(
        "follow:\nargv: ~\nenv:\nscript:\n",
        r"
p:2:7: error: expected `true` or `false`, found nothing
p:3:7: error: expected a list, found nothing
p:4:4: error: expected a mapping, found nothing (write `{}` if there is nothing to say)
p:5:7: error: expected text, found nothing
",
    );
}

#[test]
fn a_template_stands_for_anything_but_what_is_literal() {
    problems(
        "
depth: \"{{ x }}\"
limit: \"{{ x }}MiB\"
mode: \"{{ x }}\"
follow: \"{{ x }}\"
tries: \"{{ x }}\"
argv: \"{{ x }}\"
exits: [0, \"{{ x }}\"]
env: { A: \"{{ x }}\" }
keep: \"{{ x }}\"
targets: [\"{{ x }}\", { name: a, port: \"{{ x }}\" }]
inner: \"{{ x }}\"
",
        "",
    );
    let literal = json!({ "properties": { "n": { "type": "array", "items": { "type": "integer" }, "x-literal": true } } });
    let yaml = "n: ['{{ x }}']";
    let mut found = Vec::new();
    check(&tree(yaml), &literal, Templates::Allowed, &mut found);
    assert_eq!(found.len(), 1, "what is inside of a literal is literal");
    let plain =
        json!({ "properties": { "n": { "type": "array", "items": { "type": "integer" } } } });
    check(&tree(yaml), &plain, Templates::Refused, &mut found);
    assert_eq!(
        found.len(),
        2,
        "and so is everything where templates are refused"
    );
}

#[test]
fn wrong_types_are_said_with_what_was_found() {
    problems(
        "argv: 5\nenv: [a]\ninner: yes\ndatabase2: 1\n",
        r#"
p:2:7: error: expected a list, found number 5
p:3:6: error: expected a mapping, found a list
p:4:8: error: expected a mapping, found text "yes"
p:5:1: error: unknown key `database2` (did you mean `database`?)
"#,
    );
    problems(
        "follow: yes\ntries: \"3\"\nport: 1_000\nratio: .inf\nexits: [0, x]\nargv: [[a], {b: c}]\n",
        r#"
p:2:9: error: expected `true` or `false`, found text "yes" (write `true`, without quotes: to YAML this is text)
p:3:8: error: expected a whole number, found text "3" (write `3`, as a plain number: to YAML this is text)
p:4:7: error: expected a whole number, found text "1_000" (write `1000`, as a plain number: to YAML this is text)
p:5:8: error: expected a number, found text ".inf"
p:6:12: error: expected a whole number, found text "x"
p:7:8: error: expected text, found a list
p:7:13: error: expected text, found a mapping
"#,
    );
    problems(
        "limit: [1]\nwait: { s: 1 }\nmatching: []\nmode: []\nsince: {}\nscript: []\n",
        r#"
p:2:8: error: expected a size like `100MiB`, found a list
p:3:7: error: expected a duration like `90s`, found a mapping
p:4:11: error: expected a regular expression, found a list
p:5:7: error: expected a file mode like `"0640"`, found a list
p:6:8: error: expected a time like `2026-11-20T14:30:00+08:00`, found a mapping
p:7:9: error: expected text, found a list
"#,
    );
}

#[test]
fn bounds_hold() {
    problems(
        "tries: 0\nport: 65536\nargv: []\npair: [a]\n",
        r"
p:2:8: error: expected at least 1, found number 0
p:3:7: error: expected at most 65535, found number 65536
p:4:7: error: expected at least 1 item, found 0
p:5:7: error: expected exactly 2 items, found 1
",
    );
    problems(
        "tries: 6\nport: -1\nexits: [1, 2, 1]\nkeep: { copies: { count: 4294967296 } }\nratio: true\n",
        r"
p:2:8: error: expected at most 5, found number 6
p:3:7: error: expected at least 0, found number -1
p:4:15: error: number 1 is in the list twice
p:5:26: error: expected at most 4294967295, found number 4294967296
p:6:8: error: expected a number, found boolean true
",
    );
    let schema = json!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1.5 });
    for (yaml, right) in [("0", false), ("0.1", true), ("1.5", false), ("1", true)] {
        let mut found = Vec::new();
        check(&tree(yaml), &schema, Templates::Allowed, &mut found);
        assert_eq!(found.is_empty(), right, "{yaml}");
    }
}

#[test]
fn formats_are_read_by_their_types() {
    problems(
        "limit: 100\nwait: ten\nsince: 2026-11-20\nmatching: '(a'\n",
        r"
p:2:8: error: `100` is no size; write it like `512B`, `100MiB` or `1.5GB`
p:3:7: error: `ten` is no duration; write it like `90s`, `5m`, `1h 30m` or `7d`
p:4:8: error: `2026-11-20` is no time; write it with its offset, like `2026-11-20T14:30:00+08:00`
p:5:11: error: no regular expression: unclosed group
",
    );
}

#[test]
fn a_mode_has_quotes() {
    problems(
        "mode: 0640\n",
        r#"
p:2:7: error: the file mode `0640` is not quoted (write `"0640"`: without quotes it is a number that means something else)
"#,
    );
    problems(
        "mode: 640\n",
        r#"
p:2:7: error: the file mode `640` is not quoted (write `"0640"`: without quotes it is a number that means something else)
"#,
    );
    problems(
        "mode: 0o640\n",
        r#"
p:2:7: error: the file mode `0o640` is not quoted (write `"0640"`: without quotes it is a number that means something else)
"#,
    );
    problems(
        "mode: u+x\n",
        r#"
p:2:7: error: `u+x` is no file mode; write it as quoted octal digits, like `"0640"`
"#,
    );
    problems(
        "mode: '9'\n",
        r#"
p:2:7: error: `9` is no file mode; write it as quoted octal digits, like `"0640"`
"#,
    );
    problems("mode: !!str 0640\n", "");
}

#[test]
fn unknown_values_have_a_suggestion_or_the_list() {
    problems(
        "depth: fulll\nlevel: medium\n",
        r"
p:2:8: error: unknown value `fulll` (did you mean `full`?)
p:3:8: error: unknown value `medium` (expected one of `low`, `high`)
",
    );
    problems(
        "depth: [full]\nlevel: { low: 1 }\n",
        r"
p:2:8: error: expected `quick` or `full`, found a list
p:3:8: error: expected `low` or `high`, found a mapping
",
    );
}

#[test]
fn the_branch_that_was_meant_is_the_one_that_is_explained() {
    problems(
        "keep: nothin\n",
        r"
p:2:7: error: unknown value `nothin` (did you mean `nothing`?)
",
    );
    problems(
        "keep: { for: 5 }\n",
        r"
p:2:14: error: `5` is no duration; write it like `90s`, `5m`, `1h 30m` or `7d`
",
    );
    problems(
        "keep: { copies: { cuont: 5 } }\n",
        r"
p:2:19: error: unknown key `cuont` (did you mean `count`?)
",
    );
    problems(
        "keep: { copies: { count: x } }\n",
        r#"
p:2:26: error: expected a whole number, found text "x"
"#,
    );
    problems(
        "keep: { fro: 5s }\n",
        r"
p:2:9: error: unknown key `fro` (did you mean `for`?)
",
    );
    problems(
        "keep: { for: 5s, copies: { count: 1 } }\n",
        r"
p:2:18: error: `for` and `copies` exclude each other
",
    );
    problems(
        "keep: { for: 5s, fur: 1 }\n",
        r"
p:2:18: error: unknown key `fur` (did you mean `for`?)
",
    );
    problems(
        "keep: {}\n",
        r"
p:2:7: error: expected one of the keys `for`, `copies`
",
    );
    problems(
        "keep: [for]\n",
        r"
p:2:7: error: expected `nothing` or a mapping, found a list
",
    );
    problems(
        "inner: { databse: x, tries: 9 }\n",
        r"
p:2:10: error: unknown key `databse` (did you mean `database`?)
p:2:29: error: expected at most 5, found number 9
",
    );
    let size_or_auto = json!({ "anyOf": [{ "const": "auto" }, { "type": "string", "format": "bytes" }, { "type": "integer", "minimum": 1 }] });
    for (yaml, expected) in [
        ("auto", ""),
        ("5MiB", ""),
        ("7", ""),
        (
            "outo",
            "p:1:1: error: `outo` is no size; write it like `512B`, `100MiB` or `1.5GB` (or write `auto`)",
        ),
        (
            "0",
            "p:1:1: error: expected at least 1, found number 0 (or write `auto`)",
        ),
        (
            "[]",
            "p:1:1: error: expected `auto` or a size like `100MiB` or a whole number, found a list",
        ),
    ] {
        let mut found = Vec::new();
        check(&tree(yaml), &size_or_auto, Templates::Allowed, &mut found);
        let lines: Vec<String> = found
            .iter()
            .map(|problem| line(problem, &Source::new("p", yaml)))
            .collect();
        assert_eq!(lines.join("\n"), expected, "{yaml}");
    }
}

#[test]
fn keys_that_are_unknown_or_missing_are_all_found_in_one_run() {
    problems(
        "databse: y\ntarget: []\nzzz: 1\ntargets:\n  - nmae: a\n  - {}\n  - name: b\n    port: 99999\n    host: c\n",
        r"
p:2:1: error: unknown key `databse` (did you mean `database`?)
p:3:1: error: unknown key `target` (did you mean `targets`?)
p:4:1: error: unknown key `zzz` (known keys are `database`, `depth`, `level`, `limit`, `wait`, `since`, `mode`, `matching`, `follow`, `tries`, `port`, `ratio`, `argv`, `exits`, `env`, `script`, `keep`, `targets`, `anything`, `pair`, `inner`)
p:6:5: error: unknown key `nmae` (did you mean `name`?)
p:6:5: error: missing key `port`
p:7:5: error: missing keys `name`, `port`
p:9:11: error: expected at most 65535, found number 99999
p:10:5: error: unknown key `host` (did you mean `port`?)
",
    );
}

#[test]
fn what_is_missing_is_reported_at_the_key_above() {
    let yaml = "sqlite.check: { depth: full }\n";
    let root = tree(yaml);
    let (key, value) = root.entry("sqlite.check").expect("it is there");
    let mut found = Vec::new();
    check_under(key, value, &schema(true), Templates::Allowed, &mut found);
    check(value, &schema(true), Templates::Allowed, &mut found);
    let rendered = render(&found, &Source::new("p.yml", yaml), Colour::Plain);
    assert_eq!(
        rendered,
        "\
error: missing key `database`
 --> p.yml:1:1
  |
1 | sqlite.check: { depth: full }
  | ^^^^^^^^^^^^

error: missing key `database`
 --> p.yml:1:17
  |
1 | sqlite.check: { depth: full }
  |                 ^^^^^
"
    );
}

#[test]
fn what_is_not_read_of_a_schema_is_named() {
    assert_eq!(unknown_words(&schema(true)), [] as [&str; 0]);
    assert_eq!(unknown_words(&schema(false)), [] as [&str; 0]);
    let odd = json!({
        "allOf": [true],
        "properties": { "a": { "format": "email", "pattern": "(" }, "b": { "$ref": "#/$defs/none" } },
        "items": { "not": true, "x-mine": 1, "title": "t" },
    });
    assert_eq!(
        unknown_words(&odd),
        [
            "#/allOf",
            "#/properties/a/format",
            "#/properties/a/pattern",
            "#/properties/b/$ref",
            "#/items/not"
        ]
    );
}

#[test]
fn editors_take_a_template_wherever_the_check_does() {
    for inline in [true, false] {
        let mut edited = schema(inline);
        editor(&mut edited);
        let mut again = edited.clone();
        editor(&mut again);
        assert_eq!(edited, again, "it is one already");
        assert!(!edited.to_string().contains("unevaluated"));
        let editor = jsonschema::validator_for(&edited).expect("a schema");
        let original = jsonschema::validator_for(&schema(inline)).expect("a schema");
        let base = json!({ "database": "x" });
        let mut literal = 0;
        for name in edited["properties"].as_object().expect("properties").keys() {
            let mut value = base.clone();
            value[name] = json!("{{ x }}");
            assert!(editor.is_valid(&value), "{name}");
            literal += usize::from(original.is_valid(&value));
            value[name] = json!({ "no": "such" });
            let takes_maps = ["env", "anything"].contains(&name.as_str());
            assert_eq!(editor.is_valid(&value), takes_maps, "{name}");
        }
        assert_eq!(
            literal, 4,
            "`database`, `script`, `anything` and, as far as that schema goes, `matching`"
        );
        for inside in [
            json!({ "database": "x", "exits": ["{{ x }}"], "env": { "A": "{{ x }}" } }),
            json!({ "database": "x", "targets": ["{{ x }}", { "name": "a", "port": "{{ x }}" }] }),
            json!({ "database": "x", "keep": { "copies": { "count": "{{ x }}" } }, "pair": ["a", "{{ x }}"] }),
            json!({ "database": "x", "inner": { "database": "y", "tries": "{{ x }}" } }),
        ] {
            assert!(editor.is_valid(&inside), "{inside}");
        }
        for wrong in [
            json!({ "database": "x", "tries": "x" }),
            json!({ "database": "x", "keep": { "copies": { "count": 1, "other": 2 } } }),
        ] {
            assert!(!editor.is_valid(&wrong), "{wrong}");
        }
    }
}

#[test]
fn an_editor_shows_the_words_about_a_field_beside_all_its_forms() {
    let mut schema = json!({
        "properties": {
            "port": { "type": "integer", "description": "The port.", "default": 80 },
            "name": { "type": "string", "description": "The name." },
            "size": { "anyOf": [{ "type": "integer" }, { "type": "null" }], "description": "The size." },
            "body": { "type": "object", "x-literal": true },
        },
        "unevaluatedProperties": false,
    });
    editor(&mut schema);
    let template = json!({ "type": "string", "pattern": "\\{\\{" });
    assert_eq!(
        schema,
        json!({
            "properties": {
                "port": { "description": "The port.", "default": 80, "anyOf": [{ "type": "integer" }, template] },
                "name": { "type": "string", "description": "The name." },
                "size": { "description": "The size.", "anyOf": [{ "type": "integer" }, { "type": "null" }, template] },
                "body": { "type": "object", "x-literal": true },
            },
            "additionalProperties": false,
        })
    );
}
