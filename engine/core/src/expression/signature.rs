//! What filters, tests and functions are called with, and how the reference shows them.

use std::{fmt, ops::Range};

use super::SyntaxError;

/// An argument of a filter, a test or a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// Whether it can be left out.
    pub optional: bool,
    /// Whether it is written with its name: `sort(reverse=true)`.
    pub named: bool,
}

/// An expression and what it comes to; a test runs each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// The expression.
    pub expression: &'static str,
    /// Its value as it is displayed.
    pub result: &'static str,
}

/// Returns an argument that must be there.
pub(super) const fn required(name: &'static str) -> Argument {
    Argument {
        name,
        optional: false,
        named: false,
    }
}

/// Returns an argument that can be left out.
pub(super) const fn optional(name: &'static str) -> Argument {
    Argument {
        name,
        optional: true,
        named: false,
    }
}

/// Returns an argument that can be left out, and is written with its name.
pub(super) const fn named(name: &'static str) -> Argument {
    Argument {
        name,
        optional: true,
        named: true,
    }
}

pub(super) const fn example(expression: &'static str, result: &'static str) -> Example {
    Example { expression, result }
}

/// Returns what stands at each argument's place, after checking that all that is given fits.
pub(super) fn fill<T>(
    what: &str,
    arguments: &[Argument],
    positional: Vec<(T, Range<usize>)>,
    by_name: Vec<(String, T, Range<usize>)>,
    range: &Range<usize>,
) -> Result<Vec<Option<T>>, SyntaxError> {
    if positional.is_empty() && by_name.is_empty() && arguments.iter().all(|a| a.optional) {
        return Ok(Vec::new());
    }
    let usage = || format!("it is written `{what}{}`", Signature(arguments));
    let mut filled: Vec<Option<T>> = arguments.iter().map(|_| None).collect();
    let mut places = (0..arguments.len()).filter(|place| !arguments[*place].named);
    for (value, at) in positional {
        let Some(place) = places.next() else {
            return Err(
                SyntaxError::new(format!("too many arguments for `{what}`"), at).hint(usage()),
            );
        };
        filled[place] = Some(value);
    }
    for (name, value, at) in by_name {
        let place = arguments
            .iter()
            .position(|argument| argument.named && argument.name == name)
            .ok_or_else(|| {
                SyntaxError::new(format!("`{what}` has no argument `{name}=`"), at.clone())
                    .hint(usage())
            })?;
        if filled[place].replace(value).is_some() {
            return Err(SyntaxError::new(format!("`{name}=` is given twice"), at));
        }
    }
    let missing =
        (0..arguments.len()).find(|place| !arguments[*place].optional && filled[*place].is_none());
    match missing {
        Some(place) => Err(SyntaxError::new(
            format!("`{what}` needs its argument `{}`", arguments[place].name),
            range.clone(),
        )
        .hint(usage())),
        None => Ok(filled),
    }
}

/// Arguments as the reference writes them: `(value, [separator], reverse=)`.
pub(super) struct Signature<'a>(pub(super) &'a [Argument]);

impl fmt::Display for Signature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let arguments: Vec<String> = self
            .0
            .iter()
            .map(|argument| match argument {
                Argument {
                    name, named: true, ..
                } => format!("{name}="),
                Argument {
                    name,
                    optional: true,
                    ..
                } => format!("[{name}]"),
                Argument { name, .. } => (*name).to_owned(),
            })
            .collect();
        write!(f, "({})", arguments.join(", "))
    }
}
