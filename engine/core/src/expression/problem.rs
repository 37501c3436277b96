//! Why an evaluation failed, before it is known where.

use std::ops::Range;

use super::EvalError;
use crate::value::Value;

/// What sort of error an evaluation ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It uses a part that was never made: of a step that was skipped or that failed.
    Absent,
    /// It uses a key, an item or a field that is not there.
    Missing,
    /// Anything else.
    Wrong,
}

#[derive(Debug)]
pub(super) struct Problem {
    pub(super) reason: Reason,
    message: String,
    hint: Option<String>,
}

impl Problem {
    pub(super) fn wrong(message: impl Into<String>) -> Problem {
        Problem::new(Reason::Wrong, message)
    }

    pub(super) fn missing(message: impl Into<String>) -> Problem {
        Problem::new(Reason::Missing, message)
    }

    pub(super) fn absent(why: &str) -> Problem {
        Problem::new(Reason::Absent, why)
    }

    /// A secret in `place`, where it would decide something.
    pub(super) fn secret(place: &str) -> Problem {
        Problem::wrong(format!("use a secret in {place}: a secret never decides"))
            .hint("a secret can be inserted, passed on whole, and joined with `~`")
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn at(self, range: Range<usize>) -> EvalError {
        EvalError {
            message: self.message,
            range,
            hint: self.hint,
            reason: self.reason,
        }
    }

    fn new(reason: Reason, message: impl Into<String>) -> Problem {
        Problem {
            reason,
            message: message.into(),
            hint: None,
        }
    }
}

/// Names `value` in a message: its kind and, where it is short and no secret, itself.
pub(super) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    match value {
        Value::Null => "null".to_owned(),
        Value::Secret(_) => "a secret".to_owned(),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Map(fields) => format!("a map of {}", fields.len()),
        Value::Text(text) if text.len() > LONGEST => {
            let start: String = text.chars().take(LONGEST).collect();
            format!("text {start:?}…")
        }
        other => format!("{} {}", other.kind(), other.display()),
    }
}
