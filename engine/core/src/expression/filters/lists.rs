//! Filters on lists and maps.

use std::{cmp::Ordering, collections::BTreeSet, fmt::Write};

use super::Given;
use crate::{
    expression::{
        operators::{self, Joined, Operator},
        parts,
        problem::{Problem, shown},
    },
    value::{Fields, Value},
};

pub(super) fn length(given: &Given<'_>) -> Result<Value, Problem> {
    let length = match given.value {
        Value::List(items) => items.len(),
        Value::Map(fields) => fields.len(),
        Value::Text(text) => text.chars().count(),
        other => return Err(given.refuse(other, "a list, a map or a text")),
    };
    Ok(Value::Int(length as i64))
}

pub(super) fn first(given: &Given<'_>) -> Result<Value, Problem> {
    some(given, given.list()?.first())
}

pub(super) fn last(given: &Given<'_>) -> Result<Value, Problem> {
    some(given, given.list()?.last())
}

fn some(given: &Given<'_>, item: Option<&Value>) -> Result<Value, Problem> {
    match item {
        Some(item) => parts::present(item).cloned(),
        None => Err(empty(given)),
    }
}

fn empty(given: &Given<'_>) -> Problem {
    let name = given.filter.name;
    Problem::missing(format!("apply `{name}` to an empty list"))
        .hint(format!("say what to take then: `x | {name} | default(…)`"))
}

pub(super) fn sort(given: &Given<'_>) -> Result<Value, Problem> {
    let items = given.list()?;
    given.fuel.items(items.len())?;
    let path = given.text_argument(0)?;
    let reverse = given.flag_argument(1)?;
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        let key = match path {
            Some(path) => parts::at_path(item, path)?,
            None => item,
        };
        // Against itself tells whether its kind has an order, against the first whether it is of one kind with all.
        let (before, _) = *keyed.first().unwrap_or(&(key, item));
        if order(key, key).is_none() {
            return Err(given.refuse(key, "numbers, sizes, durations, times or texts"));
        }
        if order(before, key).is_none() {
            let message = format!(
                "sort {} with {}: they are different kinds",
                shown(before),
                shown(key)
            );
            return Err(Problem::wrong(message));
        }
        keyed.push((key, item));
    }
    // Stable in both directions: equal items stay in the order they came.
    keyed.sort_by(|(left, _), (right, _)| {
        let ordering = order(left, right).unwrap_or(Ordering::Equal);
        if reverse {
            ordering.reverse()
        } else {
            ordering
        }
    });
    Ok(Value::list(
        keyed.into_iter().map(|(_, item)| item.clone()).collect(),
    ))
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        _ => operators::order(left, right),
    }
}

pub(super) fn reverse(given: &Given<'_>) -> Result<Value, Problem> {
    let items = given.list()?;
    given.fuel.items(items.len())?;
    Ok(Value::list(items.iter().rev().cloned().collect()))
}

pub(super) fn unique(given: &Given<'_>) -> Result<Value, Problem> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for item in given.list()? {
        let mut key = String::new();
        identity(given, item, &mut key, 0)?;
        if seen.insert(key) {
            kept.push(item.clone());
        }
    }
    given.fuel.items(kept.len())?;
    Ok(Value::list(kept))
}

/// Writes what two items have in common exactly if they are equal.
fn identity(
    given: &Given<'_>,
    value: &Value,
    key: &mut String,
    depth: usize,
) -> Result<(), Problem> {
    given.fuel.spend(1)?;
    given.fuel.depth(depth)?;
    match value {
        Value::Secret(_) | Value::Absent(_) => return Err(given.refuse(value, "known items")),
        Value::List(items) => {
            key.push('[');
            for item in items.iter() {
                identity(given, item, key, depth + 1)?;
                key.push(',');
            }
            key.push(']');
        }
        Value::Map(fields) => {
            key.push('{');
            for (name, field) in fields.iter() {
                key.push_str(&format!("{name:?}:"));
                identity(given, field, key, depth + 1)?;
                key.push(',');
            }
            key.push('}');
        }
        // A whole number is the same however it is kept, and a time in whichever zone.
        Value::Int(number) => write(key, format_args!("number {number}")),
        Value::Number(number) => write(key, format_args!("number {number}")),
        Value::Time(time) => write(key, format_args!("time {}", time.milliseconds)),
        Value::Bytes(bytes) => write(key, format_args!("bytes {}", bytes.0)),
        Value::Duration(span) => write(key, format_args!("duration {}", span.milliseconds)),
        Value::Text(text) => write(key, format_args!("{text:?}")),
        other => write(key, format_args!("{}", other.display())),
    }
    Ok(())
}

fn write(key: &mut String, text: std::fmt::Arguments<'_>) {
    key.write_fmt(text).expect("writing to a string can't fail");
}

pub(super) fn flatten(given: &Given<'_>) -> Result<Value, Problem> {
    let mut flat = Vec::new();
    for item in given.list()? {
        match item {
            Value::List(items) => {
                given.fuel.items(flat.len() + items.len())?;
                flat.extend(items.iter().cloned());
            }
            other => return Err(given.refuse(other, "a list of lists")),
        }
    }
    Ok(Value::list(flat))
}

pub(super) fn min(given: &Given<'_>) -> Result<Value, Problem> {
    outermost(given, Ordering::Less)
}

pub(super) fn max(given: &Given<'_>) -> Result<Value, Problem> {
    outermost(given, Ordering::Greater)
}

fn outermost(given: &Given<'_>, wanted: Ordering) -> Result<Value, Problem> {
    let items = given.list()?;
    given.fuel.spend(items.len())?;
    let mut best = items.first().ok_or_else(|| empty(given))?;
    for item in items {
        if operators::order(item, item).is_none() {
            return Err(given.refuse(item, "numbers, sizes, durations or times"));
        }
        match operators::order(item, best) {
            Some(ordering) if ordering == wanted => best = item,
            Some(_) => {}
            None => {
                let message = format!(
                    "compare {} with {}: they are different kinds",
                    shown(best),
                    shown(item)
                );
                return Err(Problem::wrong(message));
            }
        }
    }
    Ok(best.clone())
}

pub(super) fn sum(given: &Given<'_>) -> Result<Value, Problem> {
    let path = given.text_argument(0)?;
    let mut total = given.argument(1).cloned();
    for item in given.list()? {
        let item = match path {
            Some(path) => parts::at_path(item, path)?,
            None => item,
        };
        if !matches!(
            item,
            Value::Int(_) | Value::Number(_) | Value::Bytes(_) | Value::Duration(_)
        ) {
            return Err(given.refuse(item, "numbers, sizes or durations"));
        }
        given.fuel.spend(1)?;
        total = Some(match total {
            None => item.clone(),
            Some(total) => operators::apply(Operator::Add, &total, item, given.fuel)?,
        });
    }
    Ok(total.unwrap_or(Value::Int(0)))
}

pub(super) fn join(given: &Given<'_>) -> Result<Value, Problem> {
    let separator = given.text_argument(0)?.unwrap_or("");
    let mut joined = Joined::default();
    for (place, item) in given.list()?.iter().enumerate() {
        if matches!(item, Value::Secret(_)) {
            return Err(given.refuse(item, "plain items"));
        }
        if place > 0 {
            joined.push_str(separator, given.fuel)?;
        }
        joined.push(item, given.fuel)?;
        given.fuel.spend(1)?;
    }
    Ok(joined.finish())
}

pub(super) fn keys(given: &Given<'_>) -> Result<Value, Problem> {
    let fields = given.map()?;
    given.fuel.items(fields.len())?;
    Ok(Value::list(
        fields.keys().map(|key| Value::text(key.as_str())).collect(),
    ))
}

pub(super) fn values(given: &Given<'_>) -> Result<Value, Problem> {
    let fields = given.map()?;
    given.fuel.items(fields.len())?;
    Ok(Value::list(fields.values().cloned().collect()))
}

pub(super) fn items(given: &Given<'_>) -> Result<Value, Problem> {
    let fields = given.map()?;
    given.fuel.items(fields.len())?;
    let item = |(key, value): (&String, &Value)| {
        Value::map(Fields::from([
            ("key".to_owned(), Value::text(key.as_str())),
            ("value".to_owned(), value.clone()),
        ]))
    };
    Ok(Value::list(fields.iter().map(item).collect()))
}
