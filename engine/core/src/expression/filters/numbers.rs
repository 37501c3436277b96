//! Filters on numbers, sizes, durations and times.

use super::Given;
use crate::{
    expression::{
        operators::{finite_number, negate},
        problem::{Problem, shown},
    },
    value::Value,
};

/// A float from here on is whole, and no `i64`.
const LIMIT: f64 = 9_223_372_036_854_775_808.0;

pub(super) fn round(given: &Given<'_>) -> Result<Value, Problem> {
    match (given.value, given.integer_argument(0)?) {
        (Value::Int(number), None) => Ok(Value::Int(*number)),
        (Value::Number(number), None) => whole(number.round()).ok_or_else(|| too_large(given)),
        (Value::Int(number), Some(digits @ 0..=15)) => {
            rounded(*number as f64, digits).ok_or_else(|| too_large(given))
        }
        (Value::Number(number), Some(digits @ 0..=15)) => {
            rounded(*number, digits).ok_or_else(|| too_large(given))
        }
        (Value::Int(_) | Value::Number(_), Some(digits)) => Err(Problem::wrong(format!(
            "round to {digits} digits: 0 to 15 are possible"
        ))),
        (other, _) => Err(given.refuse(other, "a number")),
    }
}

/// Rounds as people read the number: `2.345` to two digits is `2.35`, though the float is a little less.
fn rounded(number: f64, digits: i64) -> Option<Value> {
    let shift = 10_f64.powi(i32::try_from(digits).ok()?);
    let shifted: f64 = format!("{number:e}")
        .split_once('e')
        .and_then(|(mantissa, exponent)| {
            let exponent: i64 = exponent.parse().ok()?;
            format!("{mantissa}e{}", exponent + digits).parse().ok()
        })?;
    finite_number(shifted.round() / shift)
}

fn whole(number: f64) -> Option<Value> {
    (-LIMIT..LIMIT)
        .contains(&number)
        .then_some(Value::Int(number as i64))
}

pub(super) fn abs(given: &Given<'_>) -> Result<Value, Problem> {
    match given.value {
        Value::Int(number) if *number >= 0 => Ok(given.value.clone()),
        Value::Number(number) if *number >= 0.0 => Ok(given.value.clone()),
        Value::Duration(span) if span.milliseconds >= 0 => Ok(given.value.clone()),
        Value::Int(_) | Value::Number(_) | Value::Duration(_) => negate(given.value),
        other => Err(given.refuse(other, "a number or a duration")),
    }
}

pub(super) fn int(given: &Given<'_>) -> Result<Value, Problem> {
    match given.value {
        Value::Int(number) => Ok(Value::Int(*number)),
        Value::Number(number) if number.fract() == 0.0 => {
            whole(*number).ok_or_else(|| too_large(given))
        }
        Value::Number(_) => Err(Problem::wrong(format!(
            "make an integer of {}: it has a fraction",
            shown(given.value)
        ))
        .hint("`| round` goes to the nearest one")),
        Value::Text(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            match text.parse() {
                Ok(number) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Ok(Value::Int(number))
                }
                _ => Err(unread(given, text, "an integer")),
            }
        }
        other => Err(given
            .refuse(other, "a text or a number")
            .hint("`| count` is for sizes and times, `| seconds` for durations")),
    }
}

pub(super) fn number(given: &Given<'_>) -> Result<Value, Problem> {
    match given.value {
        Value::Number(number) => Ok(Value::Number(*number)),
        Value::Int(number) => Ok(Value::Number(*number as f64)),
        Value::Text(text) => {
            // `inf` and `nan` would parse, and are no numbers here.
            let plain = text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b".-+eE".contains(&byte));
            match text.parse().ok().and_then(finite_number) {
                Some(number) if plain => Ok(number),
                _ => Err(unread(given, text, "a number")),
            }
        }
        other => Err(given
            .refuse(other, "a text or a number")
            .hint("`| count` is for sizes and times, `| seconds` for durations")),
    }
}

fn unread(given: &Given<'_>, text: &str, what: &str) -> Problem {
    let problem = Problem::wrong(format!(
        "make {what} of {}: it says none",
        shown(given.value)
    ));
    if text.trim().len() < text.len() {
        return problem.hint("`| trim` takes away the white space at its ends");
    }
    problem
}

pub(super) fn seconds(given: &Given<'_>) -> Result<Value, Problem> {
    match given.value {
        Value::Duration(span) => Ok(Value::Number(span.seconds())),
        other => Err(given.refuse(other, "a duration")),
    }
}

pub(super) fn count(given: &Given<'_>) -> Result<Value, Problem> {
    match given.value {
        Value::Bytes(bytes) => i64::try_from(bytes.0)
            .map(Value::Int)
            .map_err(|_| too_large(given)),
        Value::Time(time) => Ok(Value::Int(time.milliseconds)),
        other => {
            let problem = given.refuse(other, "a size or a time");
            Err(match other {
                Value::List(_) | Value::Map(_) | Value::Text(_) => {
                    problem.hint("`| length` counts items")
                }
                Value::Duration(_) => problem.hint("`| seconds` is for durations"),
                _ => problem,
            })
        }
    }
}

fn too_large(given: &Given<'_>) -> Problem {
    Problem::wrong(format!(
        "apply `{}` to {}: the result is too large",
        given.filter.name,
        shown(given.value)
    ))
}
