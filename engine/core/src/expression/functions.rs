//! The functions: what makes a time, a duration or a size from text.

use jiff::Timestamp;

use super::{
    problem::{Problem, shown},
    signature::{Argument, Example, Signature, example, required},
};
use crate::{
    units::{Bytes, Span, Time},
    value::Value,
};

/// A function of the language.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// What it is called with.
    pub arguments: &'static [Argument],
    /// What it returns.
    pub doc: &'static str,
    /// A use of it.
    pub example: Example,
    make: fn(&Value) -> Result<Value, Problem>,
}

/// Every function of the language.
pub static FUNCTIONS: &[Function] = &[
    Function {
        name: "time",
        arguments: &[required("x")],
        doc: "The time that a text in RFC 3339 with its offset says, or that is a number of milliseconds after 1970",
        example: example(
            r#"time("2026-11-20T14:30:00+08:00") - time(1795156200000)"#,
            "0s",
        ),
        make: time,
    },
    Function {
        name: "duration",
        arguments: &[required("text")],
        doc: "The duration that a text says: `250ms`, `90s`, `5m`, `1h 30m`, `7d`, `2w`",
        example: example(r#"duration("26h") > duration("1d")"#, "true"),
        make: duration,
    },
    Function {
        name: "bytes",
        arguments: &[required("text")],
        doc: "The size that a text says: `512B`, `100MiB`, `1.5GB`",
        example: example(r#"bytes("1GiB") / 2"#, "512MiB"),
        make: bytes,
    },
];

impl Function {
    /// Returns how it is written: its name with its arguments.
    pub fn signature(&self) -> String {
        format!("{}{}", self.name, Signature(self.arguments))
    }
}

/// Applies `function` to `value`.
pub(super) fn call(function: &Function, value: &Value) -> Result<Value, Problem> {
    if matches!(value, Value::Secret(_)) {
        return Err(Problem::secret(&format!("`{}`", function.name)));
    }
    (function.make)(value)
}

/// Returns `milliseconds` after 1970 as an instant that the calendar knows.
pub(super) fn in_calendar(milliseconds: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(milliseconds).ok()
}

fn time(value: &Value) -> Result<Value, Problem> {
    match value {
        Value::Time(_) => Ok(value.clone()),
        Value::Int(milliseconds) => match in_calendar(*milliseconds) {
            Some(_) => Ok(Value::Time(Time::from_milliseconds(*milliseconds))),
            None => Err(Problem::wrong(format!(
                "make a time of integer {milliseconds}: it is not in the calendar"
            ))
            .hint("a number is milliseconds since 1970")),
        },
        other => read::<Time>(other, "time", "a time").map(Value::Time),
    }
}

fn duration(value: &Value) -> Result<Value, Problem> {
    match value {
        Value::Duration(_) => Ok(value.clone()),
        other => read::<Span>(other, "duration", "a duration").map(Value::Duration),
    }
}

fn bytes(value: &Value) -> Result<Value, Problem> {
    match value {
        Value::Bytes(_) => Ok(value.clone()),
        other => read::<Bytes>(other, "bytes", "a size").map(Value::Bytes),
    }
}

fn read<U: std::str::FromStr<Err = crate::units::UnitError>>(
    value: &Value,
    function: &str,
    what: &str,
) -> Result<U, Problem> {
    match value {
        Value::Text(text) => text.parse().map_err(|error: crate::units::UnitError| {
            Problem::wrong(format!("make {what}: {error}"))
        }),
        other => Err(Problem::wrong(format!(
            "make {what} of {}: `{function}` reads a text",
            shown(other)
        ))),
    }
}
