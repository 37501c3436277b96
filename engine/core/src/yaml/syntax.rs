//! What the parser refuses, said so that it can be put right.
//!
//! The parser knows where it could not go on; what somebody meant has to be read from the line. Each `fn` here knows
//! one mistake and answers `None` where it is another one.

use std::ops::Range;

use granit_parser::{ErrorKind, ScanError};

use super::traps::{block_form, line_end, line_start, own_line, quoted, unquoted_template};
use crate::diagnostic::{Diagnostic, floor};

/// Returns the problem; `opened` is where the innermost open `{` or `[` stands.
pub(super) fn explain(text: &str, error: &ScanError, opened: Option<usize>) -> Diagnostic {
    let at = floor(text, error.marker().byte_offset().unwrap_or(0));
    let kind = error.kind();
    let known = tab(text, at, kind)
        .or_else(|| behind_quotes(text, at, kind, opened))
        .or_else(|| template(text, at, opened))
        .or_else(|| open_quote(text, at, kind))
        .or_else(|| escape(text, at, kind))
        .or_else(|| flow(text, at, kind, opened))
        .or_else(|| colon(text, at, kind))
        .or_else(|| block(text, at, kind))
        .or_else(|| character(text, at, kind));
    known.unwrap_or_else(|| {
        let problem = Diagnostic::error(
            format!("this is no YAML: {}", error.info()),
            place(text, error),
        );
        match opened {
            Some(opened) => problem.label(opened..opened + 1, "opened here"),
            None => problem,
        }
    })
}

/// Returns the character at which the parser gave up; nothing at the end of a line.
pub(super) fn place(text: &str, error: &ScanError) -> Range<usize> {
    let at = floor(text, error.marker().byte_offset().unwrap_or(0));
    character_at(text, at)
}

fn character_at(text: &str, at: usize) -> Range<usize> {
    match text[at..].chars().next() {
        Some(c) if c != '\n' && c != '\r' => at..at + c.len_utf8(),
        _ => at..at,
    }
}

/// A tab where a line begins. The parser may stop on the line before.
fn tab(text: &str, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    let is_tab = matches!(
        kind,
        ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabNotAllowed
            | ErrorKind::TabInPlainScalar
            | ErrorKind::TabAtBlockScalarStart
    );
    let mut start = line_start(text, at);
    for _ in 0..if is_tab { 3 } else { 1 } {
        let line = &text[start..line_end(text, start)];
        let indent = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
        if let Some(tab) = indent.find('\t') {
            let span = start + tab..start + indent.len();
            return Some(
                Diagnostic::error("a tab as indentation", span)
                    .hint("YAML indents with spaces only"),
            );
        }
        start = text.len().min(line_end(text, start) + 1);
        start = floor(text, start);
    }
    None
}

/// `that: "a" == b`
fn behind_quotes(
    text: &str,
    at: usize,
    kind: &ErrorKind,
    opened: Option<usize>,
) -> Option<Diagnostic> {
    let quote = match kind {
        ErrorKind::InvalidTrailingDoubleQuotedScalar => '"',
        ErrorKind::InvalidTrailingSingleQuotedScalar => '\'',
        _ => return None,
    };
    let line = line_start(text, at)..line_end(text, at);
    let behind = text[at..line.end].split(" #").next().unwrap_or_default();
    let problem = Diagnostic::error(
        "the value begins with a quote and goes on behind it",
        at..at + behind.trim_end().len(),
    );
    let closed = text[..at].trim_end().len();
    let Some(start) = quote_closed_at(text, &line, closed, quote) else {
        return Some(problem.hint("quote the whole value, or use the block form `>-`"));
    };
    let problem = problem.label(start..closed, "for YAML the value ends here");
    let in_flow = opened.is_some() || text[line.start..start].contains(['{', '[']);
    let meant = text[start..line.end].trim_end();
    Some(problem.hint(if in_flow || meant.contains(" #") {
        format!(
            "quote the whole value, or {}",
            block_form(text, start, in_flow)
        )
    } else {
        format!(
            "write `{}`, or {}",
            quoted(meant),
            block_form(text, start, in_flow)
        )
    }))
}

/// Returns where the quoted scalar begins that ends at `closed`.
fn quote_closed_at(text: &str, line: &Range<usize>, closed: usize, quote: char) -> Option<usize> {
    let starts = text[line.clone()]
        .match_indices(quote)
        .map(|(at, _)| line.start + at);
    starts
        .filter(|start| begins_value(&text[line.start..*start]))
        .find(|start| closing_quote(text, *start, quote) == Some(closed))
}

/// Returns whether what stands before it on the line leaves room for a value.
fn begins_value(before: &str) -> bool {
    let before = before.trim_end();
    before.is_empty() || before.ends_with([':', '-', ',', '{', '[', '?'])
}

/// Returns where the scalar that begins with `quote` at `start` ends, its closing quote included.
fn closing_quote(text: &str, start: usize, quote: char) -> Option<usize> {
    let mut rest = text[start + 1..].char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            '\\' if quote == '"' => {
                rest.next();
            }
            c if c == quote => {
                if quote == '\'' && rest.peek().is_some_and(|(_, next)| *next == '\'') {
                    rest.next();
                } else {
                    return Some(start + 1 + at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// `path: {{ x }}/y`, `- {{ x[0] }}`
fn template(text: &str, at: usize, opened: Option<usize>) -> Option<Diagnostic> {
    let start = line_start(text, at);
    let open = text[start..at]
        .match_indices("{{")
        .map(|(open, _)| start + open)
        .filter(|open| begins_value(&text[start..*open]) && !text[..*open].ends_with('{'))
        .last()?;
    let in_flow =
        opened.is_some_and(|opened| opened < open) || text[start..open].contains(['{', '[']);
    Some(unquoted_template(text, open, None, in_flow).0)
}

/// `title: "never closed`
fn open_quote(text: &str, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    if !matches!(
        kind,
        ErrorKind::UnclosedQuotedScalar
            | ErrorKind::InvalidQuotedScalarIndent
            | ErrorKind::DocumentIndicatorInQuotedScalar
    ) {
        return None;
    }
    // The quote that has no partner is the last one before here that begins a value and isn't closed on its line.
    let mut end = at;
    while end > 0 {
        let start = line_start(text, end - 1);
        let line = &text[start..line_end(text, start)];
        let open = line.char_indices().find(|(quote, c)| {
            matches!(c, '"' | '\'')
                && begins_value(&line[..*quote])
                && closing_quote(line, *quote, *c).is_none()
        });
        if let Some((quote, _)) = open {
            let span = start + quote..start + quote + 1;
            return Some(
                Diagnostic::error("this quote is never closed", span)
                    .hint("close it; a text of several lines is written in the block form: `|` and the text below it, indented"),
            );
        }
        end = start;
    }
    None
}

/// `match: "\d+"`
fn escape(text: &str, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    if !matches!(kind, ErrorKind::UnknownQuotedScalarEscape) {
        return None;
    }
    let mut rest = text[at..].char_indices();
    while let Some((slash, c)) = rest.next() {
        if c != '\\' {
            continue;
        }
        let (_, escaped) = rest.next()?;
        if !"0abt\tnvfre \"/\\N_LPxuU\r\n".contains(escaped) {
            let span = at + slash..at + slash + 1 + escaped.len_utf8();
            return Some(
                Diagnostic::error(
                    format!("`\\{escaped}` means nothing inside of double quotes"),
                    span,
                )
                .hint("use single quotes, where `\\` is an ordinary character, or write `\\\\`"),
            );
        }
    }
    None
}

/// `{ that: rows[0] == 1 }` and other trouble with brackets.
fn flow(text: &str, at: usize, kind: &ErrorKind, opened: Option<usize>) -> Option<Diagnostic> {
    let here = text[at..].chars().next();
    match kind {
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            let is_map = *kind == ErrorKind::ExpectedFlowMappingSeparator;
            let around = if is_map { "{ }" } else { "[ ]" };
            let Some(bracket) = here.filter(|c| "[]{}".contains(*c)) else {
                let expected = if is_map { "`,` or `}`" } else { "`,` or `]`" };
                let problem = Diagnostic::error(format!("expected {expected}"), character_at(text, at));
                return Some(match opened {
                    Some(opened) => problem.label(opened..opened + 1, "opened here"),
                    None => problem,
                });
            };
            let value = value_before(text, at, opened);
            Some(
                Diagnostic::error(
                    format!("`{bracket}` ends a value that is not quoted inside of `{around}`"),
                    at..at + 1,
                )
                .hint(format!("quote the value, or {}", own_line(text, value))),
            )
        }
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => Some(
            Diagnostic::error(format!("this `{open}` is closed by a `{close}`"), character_at(text, at))
                .hint("inside of `{ }` and `[ ]` a value with brackets is quoted, or written in the block form"),
        ),
        ErrorKind::MisplacedFlowCollectionEnd => {
            let bracket = here?;
            Some(
                Diagnostic::error(format!("nothing was opened that this `{bracket}` closes"), character_at(text, at))
                    .hint("inside of `{ }` and `[ ]` a value with brackets is quoted, or written in the block form"),
            )
        }
        ErrorKind::UnclosedFlowCollection { open } => {
            Some(Diagnostic::error(format!("this `{open}` is never closed"), character_at(text, at)))
        }
        ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofImplicitFlowMapping => {
            let opened = opened?;
            let open = &text[opened..opened + 1];
            Some(Diagnostic::error(format!("this `{open}` is never closed"), opened..opened + 1))
        }
        // A line that looks like a key of a block, with a bracket open above it.
        _ => {
            let opened = opened.filter(|opened| *opened < line_start(text, at))?;
            let open = &text[opened..opened + 1];
            Some(
                Diagnostic::error(format!("this `{open}` is not closed"), opened..opened + 1)
                    .label(character_at(text, at), "here it can't go on"),
            )
        }
    }
}

/// Returns where the value begins that a bracket at `at` ends.
fn value_before(text: &str, at: usize, opened: Option<usize>) -> usize {
    let from = line_start(text, at)
        .max(opened.map_or(0, |opened| opened + 1))
        .min(at);
    let before = &text[from..at];
    let start = before.rfind([',', '{']).map_or(0, |comma| comma + 1);
    let start = before[start..]
        .find(": ")
        .map_or(start, |colon| start + colon + 2);
    from + start
}

/// `title: Stop: now`, `title: x` above a deeper key
fn colon(text: &str, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    if *kind != ErrorKind::MappingValueNotAllowed {
        return None;
    }
    let start = line_start(text, at);
    let span = character_at(text, at);
    let value = text[start..at].find(": ").map(|colon| start + colon + 2);
    Some(match value {
        Some(value) => {
            let value = value + (text[value..at].len() - text[value..at].trim_start().len());
            let meant = text[value..line_end(text, at)].trim_end();
            Diagnostic::error("a second `: ` in a value that is not quoted", span).hint(format!(
                "write `{}`, or {}",
                quoted(meant),
                block_form(text, value, false)
            ))
        }
        None => {
            let key = text[start..at].trim_start();
            Diagnostic::error("this key has no place here", at - key.len()..at).hint(
                "the line above is a text that goes on here: it lacks its `:`, or this line is indented too deep",
            )
        }
    })
}

/// Lines that stand where nothing can stand.
fn block(text: &str, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    let span = character_at(text, at);
    Some(match kind {
        ErrorKind::BlockSequenceEntryNotAllowed => {
            Diagnostic::error("a list can't begin here", span)
                .hint("put each `- ` on a line of its own, below the key")
        }
        ErrorKind::ExpectedBlockSequenceEntry => {
            Diagnostic::error("expected a further `- ` of the list", span)
                .hint("a list and keys can't be mixed at one indentation")
        }
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => {
            let start = line_start(text, at);
            let before = text[start..at].trim();
            if before == "-" {
                let dash = start + text[start..at].len() - text[start..at].trim_start().len();
                Diagnostic::error("this `-` belongs to no list", dash..dash + 1)
                    .hint("indent it like the other items of its list")
            } else if before.is_empty() {
                Diagnostic::error("this line is indented like nothing above it", span)
                    .hint("indent it like the keys that it belongs to")
            } else {
                Diagnostic::error("expected a line with `key: value`", span)
                    .hint("a value that goes on here is quoted as a whole, or written in the block form `>-`")
            }
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            Diagnostic::error("expected a `:` behind this key", span)
        }
        _ => return None,
    })
}

/// Characters that can't stand where they stand.
fn character(text: &str, at: usize, kind: &ErrorKind) -> Option<Diagnostic> {
    let ErrorKind::UnexpectedCharacter { character } = kind else {
        return None;
    };
    // Within a plain text the parser names where that begins.
    let at = text[at..].find(*character).map_or(at, |ahead| at + ahead);
    let span = character_at(text, at);
    Some(if character.is_control() {
        let code = u32::from(*character);
        Diagnostic::error(
            format!("the control character U+{code:04X} is not allowed"),
            span,
        )
        .hint("in double quotes it can be written as an escape, like `\\x1b`")
    } else {
        Diagnostic::error(format!("a value can't begin with `{character}`"), span).hint("quote it")
    })
}
