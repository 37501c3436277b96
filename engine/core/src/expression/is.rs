//! The tests: what may stand after `is`, and in `select`, `reject`, `selectattr` and `rejectattr`.

use regex::{Regex, RegexBuilder};

use super::{
    bounds::Fuel,
    operators::{Operator, answer, contains},
    problem::{Problem, shown},
    signature::{Argument, Example, Signature, example, required},
};
use crate::value::Value;

/// A test of the language.
#[derive(Debug)]
pub struct Test {
    /// Its name.
    pub name: &'static str,
    /// What it is called with.
    pub arguments: &'static [Argument],
    /// When it holds.
    pub doc: &'static str,
    /// A use of it.
    pub example: Example,
    /// Whether it can stand after `is`; the others only choose among items.
    pub inline: bool,
    pub(super) how: How,
}

/// How a test is answered.
#[derive(Debug)]
pub(super) enum How {
    /// Whether there is anything at all, or nothing.
    Present(bool),
    Kind(fn(&Value) -> bool),
    Matching,
    Text(fn(&str, &str) -> bool),
    Containing,
    Operator(Operator),
}

const TEXT: &[Argument] = &[required("text")];
const VALUE: &[Argument] = &[required("value")];

const fn kind(
    name: &'static str,
    doc: &'static str,
    example: Example,
    is: fn(&Value) -> bool,
) -> Test {
    Test {
        name,
        arguments: &[],
        doc,
        example,
        inline: true,
        how: How::Kind(is),
    }
}

const fn text(
    name: &'static str,
    doc: &'static str,
    example: Example,
    holds: fn(&str, &str) -> bool,
) -> Test {
    Test {
        name,
        arguments: TEXT,
        doc,
        example,
        inline: true,
        how: How::Text(holds),
    }
}

const fn operator(operator: Operator, name: &'static str, example: Example) -> Test {
    Test {
        name,
        arguments: VALUE,
        doc: "As the operator does, for each item",
        example,
        inline: false,
        how: How::Operator(operator),
    }
}

/// Every test of the language.
pub static TESTS: &[Test] = &[
    Test {
        name: "defined",
        arguments: &[],
        doc: "There is such a part: no key is missing and no step was skipped. Null is defined",
        example: example(r#"{"a": null}.a is defined"#, "true"),
        inline: true,
        how: How::Present(true),
    },
    Test {
        name: "absent",
        arguments: &[],
        doc: "There is no such part: a key is missing, or the step that makes it was skipped or failed",
        example: example(r#"{"a": 1}.b is absent"#, "true"),
        inline: true,
        how: How::Present(false),
    },
    kind(
        "null",
        "It is null",
        example("null is null", "true"),
        |value| matches!(value, Value::Null),
    ),
    kind(
        "boolean",
        "It is true or false",
        example("false is boolean", "true"),
        |value| matches!(value, Value::Bool(_)),
    ),
    kind(
        "integer",
        "It is a whole number",
        example("5.0 is integer", "false"),
        |value| matches!(value, Value::Int(_)),
    ),
    kind(
        "number",
        "It is a number, whole or not",
        example("5 is number", "true"),
        |value| matches!(value, Value::Int(_) | Value::Number(_)),
    ),
    kind(
        "text",
        "It is text",
        example(r#""5" is text"#, "true"),
        |value| matches!(value, Value::Text(_)),
    ),
    kind(
        "bytes",
        "It is a size",
        example(r#"bytes("1KiB") is bytes"#, "true"),
        |value| matches!(value, Value::Bytes(_)),
    ),
    kind(
        "duration",
        "It is a duration",
        example(r#""5m" is duration"#, "false"),
        |value| matches!(value, Value::Duration(_)),
    ),
    kind(
        "time",
        "It is a time",
        example("time(0) is time", "true"),
        |value| matches!(value, Value::Time(_)),
    ),
    kind(
        "list",
        "It is a list",
        example("[1] is list", "true"),
        |value| matches!(value, Value::List(_)),
    ),
    kind(
        "map",
        "It is a map",
        example("{} is map", "true"),
        |value| matches!(value, Value::Map(_)),
    ),
    Test {
        name: "matching",
        arguments: &[required("regex")],
        doc: "The regular expression is found in the text; `^` and `$` bind it to the ends",
        example: example(r#""kv-0042.db" is matching("^kv-\d+")"#, "true"),
        inline: true,
        how: How::Matching,
    },
    text(
        "startingwith",
        "The text begins with the other",
        example(r#""/var/lib/kv.db" is startingwith("/var/")"#, "true"),
        |text, start| text.starts_with(start),
    ),
    text(
        "endingwith",
        "The text ends with the other",
        example(r#""kv.db" is endingwith(".db")"#, "true"),
        |text, end| text.ends_with(end),
    ),
    Test {
        name: "containing",
        arguments: &[required("part")],
        doc: "The text holds the other text, the list the item, the map the key",
        example: example(
            r#"["kv.db", "kv.log"] | select("containing", ".db")"#,
            r#"["kv.db"]"#,
        ),
        inline: true,
        how: How::Containing,
    },
    operator(
        Operator::In,
        "in",
        example(r#"["a", "b"] | reject("in", ["b"])"#, r#"["a"]"#),
    ),
    operator(
        Operator::Equal,
        "==",
        example(
            r#"[{"state": "up"}] | selectattr("state", "==", "up") | length"#,
            "1",
        ),
    ),
    operator(
        Operator::Different,
        "!=",
        example(r#"[1, 2] | select("!=", 1)"#, "[2]"),
    ),
    operator(
        Operator::Less,
        "<",
        example(r#"[1, 2] | select("<", 2)"#, "[1]"),
    ),
    operator(
        Operator::AtMost,
        "<=",
        example(r#"[1, 2] | select("<=", 2)"#, "[1, 2]"),
    ),
    operator(
        Operator::More,
        ">",
        example(
            r#"[{"size": bytes("2GiB")}] | selectattr("size", ">", bytes("1GiB")) | length"#,
            "1",
        ),
    ),
    operator(
        Operator::AtLeast,
        ">=",
        example(r#"[1, 2] | select(">=", 2)"#, "[2]"),
    ),
];

impl Test {
    /// Returns how it is written: its name with its arguments.
    pub fn signature(&self) -> String {
        format!("{}{}", self.name, Signature(self.arguments))
    }
}

/// Answers `test` for `value`; its argument and, if it is written out, its regular expression are ready.
pub(super) fn holds(
    test: &Test,
    value: &Value,
    argument: Option<&Value>,
    ready: Option<&Regex>,
    fuel: &Fuel,
) -> Result<bool, Problem> {
    let secret = |value: &Value| matches!(value, Value::Secret(_));
    if let How::Present(wanted) = test.how {
        return Ok(wanted != matches!(value, Value::Absent(_)));
    }
    if let Value::Absent(why) = value {
        return Err(Problem::absent(why));
    }
    if secret(value) || argument.is_some_and(secret) {
        return Err(Problem::secret(&format!("the test `{}`", test.name)));
    }
    fuel.spend(1)?;
    let argument = argument.unwrap_or(&Value::Null);
    match &test.how {
        How::Present(_) => Ok(false),
        How::Kind(is) => Ok(is(value)),
        How::Matching => {
            let (text, pattern) = two_texts(test, value, argument)?;
            fuel.spend(text.len() / 16)?;
            match ready {
                Some(regex) => Ok(regex.is_match(text)),
                None => Ok(regex(pattern)?.is_match(text)),
            }
        }
        How::Text(holds) => {
            let (text, other) = two_texts(test, value, argument)?;
            Ok(holds(text, other))
        }
        How::Containing => contains(value, argument, fuel),
        How::Operator(operator) => answer(*operator, value, argument, fuel),
    }
}

/// Returns the regular expression that `pattern` is.
pub(super) fn regex(pattern: &str) -> Result<Regex, Problem> {
    RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let why = text
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix("error: "))
                .unwrap_or("it is too large");
            Problem::wrong(format!("read the regular expression `{pattern}`: {why}"))
        })
}

fn two_texts<'v>(
    test: &Test,
    value: &'v Value,
    argument: &'v Value,
) -> Result<(&'v str, &'v str), Problem> {
    match (value, argument) {
        (Value::Text(text), Value::Text(other)) => Ok((text, other)),
        (Value::Text(_), other) | (other, _) => Err(Problem::wrong(format!(
            "ask whether {} is `{}`: the test takes texts",
            shown(other),
            test.name
        ))),
    }
}
