//! Fields, keys, items and slices.

use super::{
    bounds::Fuel,
    problem::{Problem, shown},
    suggest::closest,
};
use crate::value::{Fields, Value};

/// Returns the field `name` of `value`.
pub(super) fn field<'v>(value: &'v Value, name: &str) -> Result<&'v Value, Problem> {
    match value {
        Value::Map(fields) => key(fields, name),
        Value::Null => Err(Problem::missing(format!("read `{name}` of null"))),
        Value::Absent(why) => Err(Problem::absent(why)),
        Value::Secret(_) => Err(Problem::wrong(format!("read `{name}` of a secret"))),
        Value::List(_) => Err(
            Problem::wrong(format!("read `{name}` of {}", shown(value))).hint(format!(
                "take one item (`[0]`), or `| map(attribute=\"{name}\")`"
            )),
        ),
        other => {
            let error = Problem::wrong(format!(
                "read `{name}` of {}: it has no fields",
                shown(other)
            ));
            Err(if super::FILTERS.iter().any(|filter| filter.name == name) {
                error.hint(format!("write `x | {name}`"))
            } else {
                error
            })
        }
    }
}

/// Returns what the path `a.b.c` leads to from `value`.
pub(super) fn at_path<'v>(value: &'v Value, path: &str) -> Result<&'v Value, Problem> {
    path.split('.')
        .try_fold(value, |value, name| present(field(value, name)?))
}

/// Returns the value at `key`: a key of a map, or the place of an item in a list or of a character in a text.
pub(super) fn item(value: &Value, key: &Value) -> Result<Value, Problem> {
    match (value, key) {
        (Value::Map(fields), Value::Text(name)) => self::key(fields, name).cloned(),
        (Value::List(items), Value::Int(index)) => place(*index, items.len())
            .map(|place| items[place].clone())
            .ok_or_else(|| out_of_range("item", *index, items.len())),
        (Value::Text(text), Value::Int(index)) => {
            let length = text.chars().count();
            place(*index, length)
                .and_then(|place| text.chars().nth(place))
                .map(|character| Value::text(character.to_string()))
                .ok_or_else(|| out_of_range("character", *index, length))
        }
        (Value::Null, _) => Err(Problem::missing(format!("read {} of null", shown(key)))),
        (Value::Absent(why), _) => Err(Problem::absent(why)),
        (Value::Secret(_), _) => Err(Problem::wrong("read a part of a secret")),
        (_, Value::Secret(_)) => Err(Problem::secret("`[ ]`")),
        _ => Err(
            Problem::wrong(format!("read {} of {}", shown(key), shown(value)))
                .hint("a map is asked with a text, a list with an integer"),
        ),
    }
}

/// Returns `value` unless it is absent.
pub(super) fn present(value: &Value) -> Result<&Value, Problem> {
    match value {
        Value::Absent(why) => Err(Problem::absent(why)),
        present => Ok(present),
    }
}

/// Returns the items, or characters, from `start` up to before `stop`, every `step`th.
pub(super) fn slice(
    value: &Value,
    start: Option<i64>,
    stop: Option<i64>,
    step: Option<i64>,
    fuel: &Fuel,
) -> Result<Value, Problem> {
    let step = match usize::try_from(step.unwrap_or(1)) {
        Ok(step) if step > 0 => step,
        _ => {
            return Err(
                Problem::wrong("take a slice with a step that is not at least 1")
                    .hint("`| reverse` turns a list round"),
            );
        }
    };
    let bounds = |length: usize| {
        let stop = stop.map_or(length, |stop| clamped(stop, length));
        let start = start.map_or(0, |start| clamped(start, length));
        (start.min(stop), stop)
    };
    match value {
        Value::List(items) => {
            let (start, stop) = bounds(items.len());
            fuel.items(stop - start)?;
            Ok(Value::list(
                items[start..stop].iter().step_by(step).cloned().collect(),
            ))
        }
        Value::Text(text) => {
            let (start, stop) = bounds(text.chars().count());
            fuel.text(text.len())?;
            let part: String = text
                .chars()
                .skip(start)
                .take(stop - start)
                .step_by(step)
                .collect();
            Ok(Value::text(part))
        }
        Value::Secret(_) => Err(Problem::secret("a slice")),
        other => Err(Problem::wrong(format!(
            "take a slice of {}: only lists and texts have slices",
            shown(other)
        ))),
    }
}

fn key<'v>(fields: &'v Fields, name: &str) -> Result<&'v Value, Problem> {
    fields.get(name).ok_or_else(|| {
        let error = Problem::missing(format!("read `{name}`: there is no such key"));
        match closest(name, fields.keys().map(String::as_str)) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None if fields.is_empty() => error.hint("the map is empty"),
            None => {
                let keys: Vec<String> = fields
                    .keys()
                    .take(12)
                    .map(|key| format!("`{key}`"))
                    .collect();
                let more = if fields.len() > keys.len() {
                    ", …"
                } else {
                    ""
                };
                error.hint(format!("there are {}{more}", keys.join(", ")))
            }
        }
    })
}

fn place(index: i64, length: usize) -> Option<usize> {
    let from_start = if index < 0 {
        i64::try_from(length).ok()?.checked_add(index)?
    } else {
        index
    };
    usize::try_from(from_start)
        .ok()
        .filter(|place| *place < length)
}

fn clamped(index: i64, length: usize) -> usize {
    let length_signed = i64::try_from(length).unwrap_or(i64::MAX);
    let from_start = if index < 0 {
        length_signed.saturating_add(index)
    } else {
        index
    };
    usize::try_from(from_start.clamp(0, length_signed)).unwrap_or(length)
}

fn out_of_range(what: &str, index: i64, length: usize) -> Problem {
    Problem::missing(format!(
        "read {what} {index} of {length}: they count from 0"
    ))
}
