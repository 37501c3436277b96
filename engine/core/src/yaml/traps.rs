//! Places where YAML reads something else than was meant, though it reads it.

use std::ops::Range;

use super::{Node, Style};
use crate::diagnostic::{Diagnostic, floor};

/// How far a line is read to word a hint: a file of one endless line must not be read for each of its mistakes.
const NEAR: usize = 1_000;

impl Node {
    /// Returns the hint for an expression that turned out to be cut off by a comment.
    ///
    /// A comment behind a whole expression is fine, so this is for one that can't be read.
    pub fn comment_hint(&self) -> Option<&'static str> {
        self.comment_after.as_ref().map(|_| {
            "to YAML ` #` begins a comment; if it belongs to the expression, quote the whole or write it in the block \
             form: `>-` and the expression below it, indented"
        })
    }
}

/// Returns the comment that follows what ends at `end`, on the same line.
pub(super) fn comment_after(text: &str, end: usize) -> Option<Range<usize>> {
    let rest = &text[end..];
    let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    if blank == 0 || !rest[blank..].starts_with('#') {
        return None;
    }
    Some(end + blank..line_end(text, end + blank))
}

/// Returns whether a flow mapping is the inner half of `{{ }}`.
pub(super) fn is_inner_brace(text: &str, span: &Range<usize>) -> bool {
    text[..span.start].ends_with('{') && text[span.end..].starts_with('}')
}

/// Returns whether a flow mapping begins like a template.
pub(super) fn is_template(text: &str, span: &Range<usize>) -> bool {
    text[span.clone()].starts_with("{{")
}

/// Returns the problem of a template without quotes that begins at `start`, and the text that was meant.
///
/// `end` is where it ends as far as YAML goes, if it got there; what follows on the line belongs to it.
pub(super) fn unquoted_template(
    text: &str,
    start: usize,
    end: Option<usize>,
    in_flow: bool,
) -> (Diagnostic, String) {
    let line_end = line_end(&text[..floor(text, start + NEAR)], start);
    let closed = end.unwrap_or_else(|| {
        text[start..line_end]
            .find("}}")
            .map_or(line_end, |at| start + at + 2)
    });
    let last = if closed >= line_end {
        closed
    } else if in_flow {
        text[closed..line_end]
            .find([',', '}', ']'])
            .map_or(line_end, |at| closed + at)
    } else {
        text[closed..line_end]
            .find(" #")
            .map_or(line_end, |at| closed + at)
    };
    let meant = text[start..last].trim_end();
    let problem = Diagnostic::error(
        "a value that begins with `{{` has to be quoted",
        start..start + meant.len(),
    )
    .hint(format!(
        "write `{}`, or {}",
        quoted(meant),
        block_form(text, start, in_flow)
    ));
    (problem, meant.to_owned())
}

/// Reports the keys of a flow mapping that have no value: mostly a comma inside a value that is not quoted.
pub(super) fn keys_without_colon(
    text: &str,
    pairs: &[(Node, Node)],
    problems: &mut Vec<Diagnostic>,
) {
    for (index, (key, value)) in pairs.iter().enumerate() {
        let has_colon = text[key.span.end..].trim_start().starts_with(':');
        if has_colon || !value.is_null() || !value.span.is_empty() {
            continue;
        }
        let name = super::shorten(text[key.span.clone()].trim());
        let problem = Diagnostic::error(format!("`{name}` has no value"), key.span.clone());
        let before = index.checked_sub(1).map(|before| &pairs[before].1);
        problems.push(match before {
            Some(value) if value.style() == Some(Style::Plain) && !value.span.is_empty() => problem
                .label(value.span.clone(), "the comma ends this value")
                .hint(format!(
                    "inside of `{{ }}` a value with `,` or brackets is quoted; or {}",
                    own_line(text, value.span.start)
                )),
            _ => problem.hint("`{ }` holds `key: value`; a list is `[ ]`"),
        });
    }
}

/// Returns how to write the value that begins at `start` as a block scalar.
pub(super) fn block_form(text: &str, start: usize, in_flow: bool) -> String {
    let lead = match key_before(text, start) {
        Some(key) => format!("{key}: >-"),
        None if before(text, start).trim_end().ends_with('-') => "- >-".to_owned(),
        None => ">-".to_owned(),
    };
    let around = if in_flow { " instead of `{ }`" } else { "" };
    format!("use the block form{around}: `{lead}` and the text below it, indented")
}

/// Returns how to write the value that begins at `start`, of a flow mapping, without quotes.
pub(super) fn own_line(text: &str, start: usize) -> String {
    match key_before(text, start) {
        Some(key) => {
            format!("use the block form instead of `{{ }}`, with `{key}:` on a line of its own")
        }
        None => "use the block form, with one value a line".to_owned(),
    }
}

/// Returns the key that stands before a value on its line.
fn key_before(text: &str, start: usize) -> Option<&str> {
    let before = before(text, start).trim_end().strip_suffix(':')?;
    let key = before.rsplit(['{', ',', '[']).next()?.trim();
    let key = key.trim_start_matches("- ").trim();
    (!key.is_empty() && key.len() <= 40 && !key.contains(char::is_whitespace)).then_some(key)
}

/// Returns what stands before `at` on its line, as far as it is near.
fn before(text: &str, at: usize) -> &str {
    let near = &text[floor(text, at.saturating_sub(NEAR))..at];
    &near[line_start(near, near.len())..]
}

/// Returns `text` as a scalar in quotes, with as few escapes as can be.
pub(super) fn quoted(text: &str) -> String {
    if !text.contains(['"', '\\']) {
        return format!("\"{text}\"");
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns where the line that holds `at` begins.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind(['\n', '\r']).map_or(0, |end| end + 1)
}

/// Returns where the line that holds `at` ends, without what ends it.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    text[at..]
        .find(['\n', '\r'])
        .map_or(text.len(), |length| at + length)
}
