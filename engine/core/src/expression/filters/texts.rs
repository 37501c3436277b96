//! Filters on texts.

use super::Given;
use crate::{
    expression::{operators::Joined, problem::Problem},
    value::Value,
};

pub(super) fn text(given: &Given<'_>) -> Result<Value, Problem> {
    let mut text = Joined::default();
    text.push(given.value, given.fuel)?;
    Ok(text.finish())
}

pub(super) fn lower(given: &Given<'_>) -> Result<Value, Problem> {
    let text = given.text()?;
    given.fuel.text(text.len())?;
    Ok(Value::text(text.to_lowercase()))
}

pub(super) fn upper(given: &Given<'_>) -> Result<Value, Problem> {
    let text = given.text()?;
    given.fuel.text(text.len())?;
    Ok(Value::text(text.to_uppercase()))
}

pub(super) fn trim(given: &Given<'_>) -> Result<Value, Problem> {
    let text = given.text()?;
    given.fuel.text(text.len())?;
    Ok(Value::text(text.trim()))
}

pub(super) fn split(given: &Given<'_>) -> Result<Value, Problem> {
    let text = given.text()?;
    given.fuel.text(text.len())?;
    let parts: Vec<Value> = match given.text_argument(0)? {
        Some("") => return Err(Problem::wrong("split a text at an empty separator")),
        Some(separator) => {
            given.fuel.items(text.matches(separator).count() + 1)?;
            text.split(separator).map(Value::from).collect()
        }
        None => {
            given.fuel.items(text.split_whitespace().count())?;
            text.split_whitespace().map(Value::from).collect()
        }
    };
    Ok(Value::list(parts))
}

pub(super) fn replace(given: &Given<'_>) -> Result<Value, Problem> {
    let text = given.text()?;
    let from = given.text_argument(0)?.unwrap_or_default();
    let to = given.text_argument(1)?.unwrap_or_default();
    if from.is_empty() {
        return Err(Problem::wrong("replace an empty text"));
    }
    given.fuel.text(text.len())?;
    let added = text.matches(from).count().saturating_mul(to.len());
    given.fuel.text(text.len().saturating_add(added))?;
    Ok(Value::text(text.replace(from, to)))
}

pub(super) fn json(given: &Given<'_>) -> Result<Value, Problem> {
    let unfit = |value: &Value| {
        matches!(
            value,
            Value::Secret(_) | Value::Absent(_) | Value::Unknown(_)
        )
    };
    if let Some(value) = given.fuel.find(given.value, &unfit)? {
        return Err(given.refuse(value, "plain values"));
    }
    let mut length = 0;
    measure(given, given.value, &mut length)?;
    let json = given.value.to_plain().to_string();
    Ok(Value::text(json))
}

/// Pays for the texts in `value` before they are copied: shared values are written as often as they are named.
fn measure(given: &Given<'_>, value: &Value, length: &mut usize) -> Result<(), Problem> {
    match value {
        Value::Text(text) => *length += text.len(),
        Value::List(items) => items
            .iter()
            .try_for_each(|item| measure(given, item, length))?,
        Value::Map(fields) => {
            for (name, field) in fields.iter() {
                *length += name.len();
                measure(given, field, length)?;
            }
        }
        _ => {}
    }
    *length += 8;
    given.fuel.text(*length)
}

pub(super) fn basename(given: &Given<'_>) -> Result<Value, Problem> {
    let path = given.text()?;
    let trimmed = path.trim_end_matches('/');
    Ok(Value::text(match trimmed.rsplit('/').next() {
        _ if path.is_empty() => return Err(Problem::wrong("apply `basename` to an empty text")),
        None | Some("") => "/",
        Some(name) => name,
    }))
}

pub(super) fn dirname(given: &Given<'_>) -> Result<Value, Problem> {
    let path = given.text()?;
    if path.is_empty() {
        return Err(Problem::wrong("apply `dirname` to an empty text"));
    }
    let trimmed = path.trim_end_matches('/');
    Ok(Value::text(match trimmed.rsplit_once('/') {
        _ if trimmed.is_empty() => "/",
        None => ".",
        Some((folder, _)) => match folder.trim_end_matches('/') {
            "" => "/",
            folder => folder,
        },
    }))
}

pub(super) fn ident(given: &Given<'_>) -> Result<Value, Problem> {
    let name = given.text()?;
    if name.is_empty() || name.contains('\0') {
        return Err(Problem::wrong(
            "quote a name for SQL that is empty or holds a NUL",
        ));
    }
    given.fuel.text(name.len() * 2)?;
    Ok(Value::text(format!("\"{}\"", name.replace('"', "\"\""))))
}
