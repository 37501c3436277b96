//! What a command says when it can't do its work: one shape, printed in one place.

use std::error::Error;

use runwright_core::diagnostic::Colour;
use runwright_local::locks::LocksError;

use crate::exit;

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct CliError {
    /// The exit code.
    pub(crate) code: u8,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    /// Text that is printed as it is, before everything else: the problems of a playbook.
    detail: String,
}

impl CliError {
    /// Returns an error with the exit code of a command that failed.
    pub(crate) fn new(message: impl Into<String>) -> CliError {
        CliError {
            code: exit::FAILED,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            detail: String::new(),
        }
    }

    /// Returns an error for wrong usage or an invalid playbook.
    pub(crate) fn usage(message: impl Into<String>) -> CliError {
        CliError {
            code: exit::USAGE,
            ..CliError::new(message)
        }
    }

    /// Returns an error for what is refused before anything is done.
    pub(crate) fn refused(message: impl Into<String>) -> CliError {
        CliError {
            code: exit::REFUSED,
            ..CliError::new(message)
        }
    }

    /// Gives it another exit code.
    pub(crate) fn code(self, code: u8) -> CliError {
        CliError { code, ..self }
    }

    /// Returns it in a line.
    pub(crate) fn line(&self) -> String {
        let causes = self.causes.iter().map(|cause| format!(": {cause}"));
        self.message.clone() + &causes.collect::<String>()
    }

    /// Turns it into one that says that nothing was done.
    pub(crate) fn refusing(mut self) -> CliError {
        self.code = exit::REFUSED;
        self
    }

    /// Adds an error and its sources as causes.
    pub(crate) fn because(mut self, error: &dyn Error) -> CliError {
        let mut next = Some(error);
        while let Some(cause) = next {
            let text = cause.to_string();
            if self.causes.last() != Some(&text) && self.message != text {
                self.causes.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// Adds what the reader can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hints.push(hint.into());
        self
    }

    /// Adds text that is printed as it is.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> CliError {
        self.detail = detail.into();
        self
    }

    /// Prints it on standard error; a closed one is no reason to fail.
    pub(crate) fn print(&self, colour: Colour) {
        use std::io::Write;
        let (red, plain) = match colour {
            Colour::Ansi => ("\x1b[1;31m", "\x1b[0m"),
            Colour::Plain => ("", ""),
        };
        let mut text = self.detail.clone();
        text.push_str(&format!("{red}error{plain}: {}\n", self.message));
        for cause in &self.causes {
            text.push_str(&format!("  because: {cause}\n"));
        }
        for hint in &self.hints {
            text.push_str(&format!("hint: {hint}\n"));
        }
        drop(std::io::stderr().write_all(text.as_bytes()));
    }
}

/// Turns an error of the journal or the run's folder, with what to do about it.
macro_rules! from_storage {
    ($($error:ty),*) => {
        $(
            impl From<$error> for CliError {
                fn from(error: $error) -> CliError {
                    let hint = error.hint();
                    let failed = CliError::new(error.to_string());
                    let failed = match error.source() {
                        Some(source) => failed.because(source),
                        None => failed,
                    };
                    if hint.is_empty() { failed } else { failed.hint(hint) }
                }
            }
        )*
    };
}

from_storage!(
    runwright_local::journal::JournalError,
    runwright_local::home::HomeError,
    runwright_local::folder::FolderError,
    runwright_local::signature::KeyError,
    runwright_local::lock::LockError
);

/// What somebody else has is a refusal, with each way out as a hint of its own.
impl From<LocksError> for CliError {
    fn from(error: LocksError) -> CliError {
        let failed = match &error {
            LocksError::Taken(_) | LocksError::NotStolen(_) => CliError::refused(error.to_string()),
            _ => CliError::new(error.to_string()),
        };
        let failed = match error.source() {
            Some(source) => failed.because(source),
            None => failed,
        };
        match &error {
            LocksError::Taken(taken) => taken.ways_out().into_iter().fold(failed, CliError::hint),
            _ => failed.hint(error.hint()),
        }
    }
}

impl From<runwright_local::run::RunError> for CliError {
    fn from(error: runwright_local::run::RunError) -> CliError {
        match error {
            runwright_local::run::RunError::Locked(error) => (*error).into(),
            runwright_local::run::RunError::Journal(error) => CliError::from(error).refusing(),
            runwright_local::run::RunError::Unwritten { run, steps, source } => {
                unwritten(&run, &steps, &source)
            }
            runwright_local::run::RunError::Previewed { ref run } => {
                let hint = format!("`runwright show {run}` says who looked, and at what");
                CliError::refused(error.to_string()).hint(hint)
            }
            other => CliError::new(other.to_string()),
        }
    }
}

/// Says that a run was left without a last word in the journal, and of which steps that is so.
fn unwritten(
    run: &str,
    steps: &[runwright_core::event::StepKey],
    source: &runwright_local::journal::JournalError,
) -> CliError {
    let lines: String = steps
        .iter()
        .map(|step| format!("  - step `{step}`: what it did last is not in the journal\n"))
        .collect();
    let stopped = format!("the run `{run}` was broken off: its journal can't be written");
    let error = CliError::new(stopped)
        .detail(lines)
        .because(source)
        .hint(source.hint());
    CliError {
        code: exit::INTERRUPTED,
        ..error
    }
}
