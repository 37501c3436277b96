//! Diagnostics for programs: with lines and columns in place of bytes.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Diagnostic, Severity, Source};

/// A diagnostic as programs read it; lines and columns count from 1, columns in characters, ends exclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Located {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// The path of the source as it is shown.
    pub file: String,
    /// Where; absent when it is the source as a whole.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Other places that have to do with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LocatedLabel>,
    /// What the reader can do about it.
    pub hints: Vec<String>,
}

/// From where to where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// The line of the begin.
    pub line: usize,
    /// The column of the begin.
    pub column: usize,
    /// The line of the end.
    pub end_line: usize,
    /// The column behind the last character.
    pub end_column: usize,
}

/// Another place, with a few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LocatedLabel {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is there.
    pub text: String,
}

impl Diagnostic {
    /// Returns the diagnostic with lines and columns.
    pub fn locate(&self, source: &Source) -> Located {
        Located {
            severity: self.severity,
            message: self.message.clone(),
            file: source.name.clone(),
            place: self.span.as_ref().map(|span| Place::of(span, source)),
            labels: self
                .labels
                .iter()
                .map(|(span, text)| LocatedLabel {
                    place: Place::of(span, source),
                    text: text.clone(),
                })
                .collect(),
            hints: self.hints.clone(),
        }
    }

    /// Returns the JSON form: `{severity, message, file, line, column, end_line, end_column, labels, hints}`.
    pub fn to_json(&self, source: &Source) -> serde_json::Value {
        serde_json::to_value(self.locate(source)).expect("it is texts and numbers only")
    }
}

impl Place {
    /// Returns where `span` lies.
    pub fn of(span: &Range<usize>, source: &Source) -> Place {
        let (line, column) = source.position(span.start);
        let (end_line, end_column) = source.position(span.end.max(span.start));
        Place {
            line,
            column,
            end_line,
            end_column,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_has_places_and_leaves_out_what_is_not_there() {
        let source = Source::new("a.yml", "é: 1\né: 2\n");
        let twice = Diagnostic::error("duplicate key `é`", 6..8)
            .label(0..2, "first defined here")
            .hint("remove one");
        assert_eq!(
            twice.to_json(&source),
            json!({
                "severity": "error", "message": "duplicate key `é`", "file": "a.yml",
                "line": 2, "column": 1, "end_line": 2, "end_column": 2,
                "labels": [
                    { "line": 1, "column": 1, "end_line": 1, "end_column": 2, "text": "first defined here" },
                ],
                "hints": ["remove one"],
            })
        );
        assert_eq!(
            Diagnostic::warning("the file is empty", None).to_json(&source),
            json!({ "severity": "warning", "message": "the file is empty", "file": "a.yml", "hints": [] })
        );
    }
}
