//! From a place in a scalar's text back to the place in the source.

use std::ops::Range;

use super::{Data, Node, Style};
use crate::diagnostic::floor;

/// A piece of text that stands in the source as it is.
struct Piece {
    /// Where it begins in the scalar's text.
    text: usize,
    /// Where it begins in the source.
    source: usize,
    length: usize,
}

impl Node {
    /// Returns where the bytes `inner` of a scalar's text stand in `source`.
    ///
    /// Exact for plain and quoted scalars in one line and for those whose lines stand in the source as they are (block
    /// scalars, plain ones of several lines); else, and for collections and aliases, the place of the whole node.
    pub fn place(&self, source: &str, inner: Range<usize>) -> Range<usize> {
        self.exact_place(source, inner)
            .unwrap_or_else(|| self.span.clone())
    }

    fn exact_place(&self, source: &str, inner: Range<usize>) -> Option<Range<usize>> {
        let Data::Scalar { text, style } = &self.data else {
            return None;
        };
        let written = source.get(self.span.clone())?;
        let start = floor(text, inner.start);
        let end = floor(text, inner.end).max(start);
        let pieces = match style {
            Style::SingleQuoted => quoted(text, written, self.span.start, '\'')?,
            Style::DoubleQuoted => quoted(text, written, self.span.start, '"')?,
            Style::Plain => lines(text, written, self.span.start, Indent::Free)?,
            Style::Literal | Style::Folded => lines(
                text,
                written,
                self.span.start,
                indent(source, self.span.start),
            )?,
        };
        let from = find(&pieces, start)?;
        let to = if start == end {
            from
        } else {
            find_end(&pieces, end)?
        };
        (from <= to && source.is_char_boundary(from) && source.is_char_boundary(to))
            .then_some(from..to)
    }
}

/// Returns where `offset` stands: in the piece that it begins or is inside of, else at the end of the one before.
fn find(pieces: &[Piece], offset: usize) -> Option<usize> {
    let index = pieces
        .partition_point(|piece| piece.text <= offset)
        .checked_sub(1)?;
    let piece = &pieces[index];
    Some(piece.source + (offset - piece.text).min(piece.length))
}

/// As [`find`], for an exclusive end: one that lies between two pieces belongs to the first.
fn find_end(pieces: &[Piece], offset: usize) -> Option<usize> {
    let index = pieces
        .partition_point(|piece| piece.text < offset)
        .checked_sub(1)?;
    let piece = &pieces[index];
    Some(piece.source + (offset - piece.text).min(piece.length))
}

/// Pieces of a quoted scalar: escapes are pieces of their own, so that an end falls behind them.
fn quoted(text: &str, written: &str, at: usize, quote: char) -> Option<Vec<Piece>> {
    let inside = written.strip_prefix(quote)?.strip_suffix(quote)?;
    let at = at + 1;
    if inside.contains(['\n', '\r']) {
        let is_plain_inside = !inside.contains(if quote == '"' { '\\' } else { '\'' });
        return if is_plain_inside {
            lines(text, inside, at, Indent::Free)
        } else {
            None
        };
    }
    let mut pieces: Vec<Piece> = Vec::new();
    let mut rest = inside;
    let mut offset = 0;
    while let Some(c) = rest.chars().next() {
        let meant = text[offset..].chars().next()?;
        let length = match (quote, c) {
            ('"', '\\') => escape_length(rest, meant)?,
            ('\'', '\'') => 2,
            _ => c.len_utf8(),
        };
        if length == c.len_utf8() && meant != c {
            return None;
        }
        let source = at + inside.len() - rest.len();
        match pieces.last_mut() {
            Some(last)
                if length == c.len_utf8()
                    && last.source + last.length == source
                    && last.is_verbatim(offset) =>
            {
                last.length += length;
            }
            _ => pieces.push(Piece {
                text: offset,
                source,
                length,
            }),
        }
        offset += meant.len_utf8();
        rest = rest.get(length..)?;
    }
    (offset == text.len()).then(|| finish(pieces, text, at + inside.len()))
}

impl Piece {
    /// Returns whether it has as many bytes in the text as in the source, the text going on at `next`.
    fn is_verbatim(&self, next: usize) -> bool {
        self.text + self.length == next
    }
}

/// Returns how long the escape is that `rest` begins with and that means `meant`.
fn escape_length(rest: &str, meant: char) -> Option<usize> {
    Some(match rest[1..].chars().next()? {
        'x' => 4,
        // Two halves of a surrogate pair.
        'u' if meant > '\u{ffff}' => 12,
        'u' => 6,
        'U' => 10,
        other => 1 + other.len_utf8(),
    })
}

/// What stands before the lines of a scalar that have no place in its text.
#[derive(Clone, Copy)]
enum Indent {
    /// All blanks: the text has none of them.
    Free,
    /// So many spaces; more of them are text.
    Spaces(usize),
}

/// Returns the indentation of a block scalar, whose first line with text begins at `start` of the source.
fn indent(source: &str, start: usize) -> Indent {
    let line = source[..start].rfind(['\n', '\r']).map_or(0, |end| end + 1);
    Indent::Spaces(start - line)
}

/// Pieces of a scalar whose lines stand in the source as they are, apart from indentation and line breaks.
///
/// ```text
/// source   |  a: >-␤····one·two␤····three␤␤····four␤
/// pieces   |            └──┬──┘     └─┬─┘      └─┬┘
/// text     |            one·two·······three␤·····four      a fold is one space, an empty line one break
/// ```
fn lines(text: &str, written: &str, at: usize, indent: Indent) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut offset = 0;
    let mut start = 0;
    for (number, line) in written.split_inclusive(['\n', '\r']).enumerate() {
        let bare = line.trim_end_matches(['\n', '\r']);
        let content = match indent {
            // The first line begins where the scalar begins.
            _ if number == 0 => bare,
            Indent::Free => bare.trim_start_matches([' ', '\t']),
            Indent::Spaces(count) => {
                let spaces = bare.len() - bare.trim_start_matches(' ').len();
                &bare[spaces.min(count)..]
            }
        };
        let source = at + start + (bare.len() - content.len());
        let is_last = start + line.len() == written.len();
        let content = match indent {
            Indent::Free if !is_last => content.trim_end_matches([' ', '\t']),
            _ => content,
        };
        start += line.len();
        if content.is_empty() {
            continue;
        }
        while !text[offset..].starts_with(content) {
            if !text[offset..].starts_with(['\n', ' ']) {
                return None;
            }
            offset += 1;
        }
        pieces.push(Piece {
            text: offset,
            source,
            length: content.len(),
        });
        offset += content.len();
    }
    let left = text[offset..].trim_start_matches(['\n', ' ']);
    left.is_empty().then(|| finish(pieces, text, at))
}

/// An empty text has one place too.
fn finish(mut pieces: Vec<Piece>, text: &str, at: usize) -> Vec<Piece> {
    if pieces.is_empty() && text.is_empty() {
        pieces.push(Piece {
            text: 0,
            source: at,
            length: 0,
        });
    }
    pieces
}
