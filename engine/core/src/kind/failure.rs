//! Why a step failed, as data for the journal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The class of a failure: what `retry: {on: [...]}` selects by.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The other side could not be reached, or broke off.
    Transport,
    /// It took longer than it may.
    Timeout,
    /// A program ended with a code that is not among `exits`, or by a signal.
    Exit,
    /// The result is not what the playbook expects.
    Expect,
    /// A guard, a person or the target's state forbids it; nothing was done.
    Refused,
    /// The run was stopped while it worked.
    Cancelled,
    /// Anything else: a wrong argument, a missing file, no permission.
    Internal,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Transport => "transport",
            Class::Timeout => "timeout",
            Class::Exit => "exit",
            Class::Expect => "expect",
            Class::Refused => "refused",
            Class::Cancelled => "cancelled",
            Class::Internal => "internal",
        })
    }
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What sort of failure it is.
    pub class: Class,
    /// What was tried, on what, and what went wrong: a fragment that fits after "failed to", no final period.
    pub message: String,
    /// The causes below, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What the reader can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    /// Returns a failure of `class`.
    pub fn new(class: Class, message: impl Into<String>) -> Failure {
        Failure {
            class,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
        }
    }

    /// Returns an internal failure.
    pub fn internal(message: impl Into<String>) -> Failure {
        Failure::new(Class::Internal, message)
    }

    /// Returns a failure that says why the step refuses to act.
    pub fn refused(message: impl Into<String>) -> Failure {
        Failure::new(Class::Refused, message)
    }

    /// Adds `error` and its sources as causes.
    #[must_use]
    pub fn because(mut self, error: &dyn std::error::Error) -> Failure {
        let mut next = Some(error);
        while let Some(cause) = next {
            self.causes.push(cause.to_string());
            next = cause.source();
        }
        self
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Returns message and causes in one line.
    pub fn line(&self) -> String {
        let mut line = self.message.clone();
        for cause in &self.causes {
            line.push_str(": ");
            line.push_str(cause);
        }
        line
    }
}
