//! What a preview tells of values and of patience, in words.

use runwright_core::{
    kind::Description,
    machine::{Awaited, Task},
    plan::{Backoff, Retry},
    preview::Detail,
    units::Bytes,
    value::Value,
};

use crate::run::Vault;

/// The longest value that is shown as it is, in characters.
const LONGEST: usize = 100;
/// How many fields of a result are shown.
const FIELDS: usize = 24;

/// Returns how often a step is tried.
pub(super) fn retry(retry: &Retry) -> String {
    let mut words = format!("up to {} attempts, {} apart", retry.attempts, retry.delay);
    if retry.backoff == Backoff::Exponential {
        words.push_str(", each wait twice as long");
    }
    if let Some(max) = retry.max_delay {
        words.push_str(&format!(", at most {max}"));
    }
    words
}

/// Returns what a step waits for.
pub(super) fn until(until: &Awaited) -> String {
    let mut words = format!("until `{}`", until.that);
    if let Some(every) = until.every {
        words.push_str(&format!(", asked every {every}"));
    }
    if let Some(within) = until.within {
        words.push_str(&format!(", for {within} at most"));
    }
    if let Some(stable) = until.stable_for {
        words.push_str(&format!(", and it must hold for {stable}"));
    }
    words
}

/// Returns the small fields of a result.
pub(super) fn found(result: &Value) -> Vec<Detail> {
    let Value::Map(fields) = result else {
        return Vec::new();
    };
    fields
        .iter()
        .filter(|(_, value)| !matches!(value, Value::Null))
        .take(FIELDS)
        .map(|(name, value)| Detail {
            name: name.clone(),
            text: short(value),
        })
        .collect()
}

/// Returns a value in a line that is not too long.
pub(super) fn short(value: &Value) -> String {
    if let Value::Text(text) = value {
        let line = text.lines().next().unwrap_or_default();
        if line.chars().count() > LONGEST || text.trim_end().len() > line.len() {
            let start: String = line.chars().take(LONGEST).collect();
            return format!("{start}… ({} in all)", Bytes(text.len() as u64));
        }
        return line.to_owned();
    }
    let text = value.display();
    match value {
        Value::List(items) if text.chars().count() > LONGEST && items.len() == 1 => {
            "1 item".to_owned()
        }
        Value::List(items) if text.chars().count() > LONGEST => format!("{} items", items.len()),
        Value::Map(fields) if text.chars().count() > LONGEST => format!("{} fields", fields.len()),
        _ => text,
    }
}

/// Returns what can be said of an action whose arguments are not all known.
pub(super) fn open_action(task: &Task) -> Description {
    let mut description = Description::new(task.kind.clone());
    if let Value::Map(fields) = Vault::hide(&task.arguments) {
        for (name, value) in fields.iter() {
            let text = match value {
                Value::Text(text) => text.to_string(),
                other => other.display(),
            };
            description = description.with(name, text);
        }
    }
    description
}
