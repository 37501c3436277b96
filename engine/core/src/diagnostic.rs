//! What is wrong with a text that somebody wrote, and where: data, and its forms for people and programs.
//!
//! A [`Diagnostic`] knows places only as bytes of a [`Source`]; lines and columns are worked out where it is shown. It
//! is not printed here, and nothing here knows what the text means.

mod located;
mod render;
mod suggest;

use std::{ops::Range, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;

pub use self::{
    located::{Located, LocatedLabel, Place},
    render::{Colour, line, one_line, render},
    suggest::{did_you_mean, suggest},
};

/// A text that somebody wrote, and its name for people.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path as it is shown.
    pub name: String,
    /// The whole text; a byte order mark, if there is one, is part of it.
    pub text: Arc<str>,
    /// Where each line begins, so that asking for a position does not read the text again.
    lines: Arc<[usize]>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The text can't be used as it is.
    Error,
    /// It can, but somebody should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: a lower-case fragment without a final period, names and texts in backticks.
    pub message: String,
    /// Where, in bytes of the source, on character boundaries; `None`: the source as a whole.
    pub span: Option<Range<usize>>,
    /// Other places that have to do with it, each with a few words.
    pub labels: Vec<(Range<usize>, String)>,
    /// What the reader can do about it, one line each.
    pub hints: Vec<String>,
}

impl Diagnostic {
    /// Returns an error at `span`, or of the whole source for `None`.
    pub fn error(message: impl Into<String>, span: impl Into<Option<Range<usize>>>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            message: message.into(),
            span: span.into(),
            labels: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Returns a warning at `span`, or of the whole source for `None`.
    pub fn warning(
        message: impl Into<String>,
        span: impl Into<Option<Range<usize>>>,
    ) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(message, span)
        }
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hints.push(hint.into());
        self
    }

    /// Adds another place that has to do with it.
    #[must_use]
    pub fn label(mut self, span: Range<usize>, text: impl Into<String>) -> Diagnostic {
        self.labels.push((span, text.into()));
        self
    }

    /// Returns whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Source {
    /// Returns `text` under `name`.
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Source {
        let text: Arc<str> = text.into();
        let bytes = text.as_bytes();
        // As in YAML, a line ends with `\n`, `\r\n` or a `\r` alone.
        let ends = bytes.iter().enumerate().filter(|(at, byte)| match byte {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        });
        let lines = std::iter::once(0)
            .chain(ends.map(|(at, _)| at + 1))
            .collect();
        Source {
            name: name.into(),
            text,
            lines,
        }
    }

    /// Returns line and column of a byte offset, both from 1; columns count characters.
    ///
    /// An offset behind the end means the end, one inside a character means its begin. A byte order mark has no column.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = floor(&self.text, offset);
        let line = self.line_index(offset);
        let before = &self.text[self.lines[line]..offset];
        let before = before.strip_prefix('\u{feff}').unwrap_or(before);
        (line + 1, before.chars().count() + 1)
    }

    /// Returns the index of the line, from 0, that holds `offset`.
    fn line_index(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset) - 1
    }

    /// Returns where the line with `index` lies, without what ends it and without a byte order mark.
    fn line_range(&self, index: usize) -> Range<usize> {
        let start = self.lines[index];
        let end = self.lines.get(index + 1).copied();
        let line = &self.text[start..end.unwrap_or(self.text.len())];
        let bare = line.trim_end_matches(['\r', '\n']);
        let mark = bare.len() - bare.trim_start_matches('\u{feff}').len();
        start + mark..start + bare.len()
    }
}

/// Returns the last character boundary at or before `offset`.
pub(crate) fn floor(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    (0..=offset)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_every_kind_of_line_end() {
        let source = Source::new("x", "\u{feff}é=1\r\nzwei\rdrei\n");
        for (found, expected) in [
            ("é", (1, 1)),
            ("=", (1, 2)),
            ("wei", (2, 2)),
            ("drei", (3, 1)),
        ] {
            let offset = source.text.find(found).expect("it is in the text");
            assert_eq!(source.position(offset), expected, "{found}");
        }
        assert_eq!(source.position(0), (1, 1), "the mark itself");
        assert_eq!(source.position(4), (1, 1), "inside of é");
        assert_eq!(source.position(9_999), (4, 1), "behind the end");
        assert_eq!(Source::new("x", "").position(0), (1, 1));
    }
}
