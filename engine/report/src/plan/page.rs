//! Lines of a plan: wrapped, indented, harmless for a terminal, coloured where that is wanted.

use console::measure_text_width;
use runwright_core::diagnostic::Colour;

pub(super) use crate::paint::Tone;
use crate::{clean, paint::paint};

/// How many columns a label takes.
const LABEL: usize = 8;

/// The text in the making.
#[derive(Debug)]
pub(super) struct Page {
    width: usize,
    colour: Colour,
    text: String,
}

impl Page {
    pub(super) fn new(width: usize, colour: Colour) -> Page {
        Page {
            width,
            colour,
            text: String::new(),
        }
    }

    pub(super) fn text(self) -> String {
        self.text
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    pub(super) fn title(&mut self, text: &str) {
        self.line(0, Tone::Strong, text);
    }

    /// Writes `text`, wrapped, `indent` columns from the left.
    pub(super) fn line(&mut self, indent: usize, tone: Tone, text: &str) {
        self.hanging(indent, indent, tone, text);
    }

    /// Writes a line whose continuations begin at `hang`.
    pub(super) fn hanging(&mut self, indent: usize, hang: usize, tone: Tone, text: &str) {
        let mut column = indent;
        for line in wrap(&clean::line(text), self.width, indent, hang) {
            self.put(column, tone, &line);
            self.text.push('\n');
            column = hang;
        }
    }

    /// Writes `label` and then `text`, wrapped beside it.
    pub(super) fn labelled(&mut self, indent: usize, label: &str, tone: Tone, text: &str) {
        let label = clean::line(label);
        let width = measure_text_width(&label);
        let column = indent + LABEL.max(width + 1);
        let mut lines = wrap(&clean::line(text), self.width, column, column).into_iter();
        self.put(indent, Tone::Quiet, &label);
        let gap = match width {
            0 => column,
            _ => column - indent - width,
        };
        self.put(gap, tone, &lines.next().unwrap_or_default());
        self.text.push('\n');
        for line in lines {
            self.put(column, tone, &line);
            self.text.push('\n');
        }
    }

    /// Writes `left`, and `right` at the end of the line, or on the next one where there is no room.
    pub(super) fn row(&mut self, indent: usize, left: (Tone, &str), right: (Tone, &str)) {
        let mut lines = wrap(&clean::line(left.1), self.width, indent, indent + 2);
        let last = lines.pop().unwrap_or_default();
        let mut column = indent;
        for line in lines {
            self.put(column, left.0, &line);
            self.text.push('\n');
            column = indent + 2;
        }
        self.put(column, left.0, &last);
        let right_text = clean::line(right.1);
        let used = column + measure_text_width(&last);
        let wanted = measure_text_width(&right_text);
        if used + 2 + wanted <= self.width {
            self.put(self.width - used - wanted, right.0, &right_text);
            self.text.push('\n');
        } else {
            self.text.push('\n');
            self.line(indent + 4, right.0, &right_text);
        }
    }

    /// Writes `text` as it is, one line each, cut at the page's edge; of more than `most` lines only so many.
    pub(super) fn block(
        &mut self,
        indent: usize,
        text: &str,
        most: usize,
        tone: impl Fn(&str) -> Tone,
    ) {
        let lines: Vec<&str> = text.trim_end_matches('\n').lines().collect();
        for line in lines.iter().take(most) {
            let line = cut(&clean::line(line), self.width.saturating_sub(indent));
            let tone = tone(&line);
            self.put(indent, tone, &line);
            self.text.push('\n');
        }
        if lines.len() > most {
            let more = format!("… {} more lines", lines.len() - most);
            self.line(indent, Tone::Quiet, &more);
        }
    }

    /// Writes `column` blanks and `text`.
    fn put(&mut self, column: usize, tone: Tone, text: &str) {
        if text.is_empty() {
            return;
        }
        self.text.extend(std::iter::repeat_n(' ', column));
        self.text.push_str(&paint(self.colour, tone, text));
    }
}

/// Returns the words of `text` in lines of at most `width` columns; a word that is longer than a line is broken.
fn wrap(text: &str, width: usize, first: usize, rest: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let room = |lines: &Vec<String>| {
        let indent = if lines.is_empty() { first } else { rest };
        width.saturating_sub(indent).max(10)
    };
    for word in text.split(' ') {
        let mut word = word.to_owned();
        let used = measure_text_width(&line);
        if used > 0 && used + 1 + measure_text_width(&word) > room(&lines) {
            lines.push(std::mem::take(&mut line));
        } else if used > 0 {
            line.push(' ');
        }
        while measure_text_width(&line) + measure_text_width(&word) > room(&lines) {
            let fits = room(&lines) - measure_text_width(&line);
            let at = byte_at(&word, fits.max(1));
            line.push_str(&word[..at]);
            lines.push(std::mem::take(&mut line));
            word.drain(..at);
        }
        line.push_str(&word);
    }
    lines.push(line);
    lines
}

/// Returns `text` cut to `width` columns.
fn cut(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let at = byte_at(text, width.saturating_sub(1));
    format!("{}…", &text[..at])
}

/// Returns how many bytes of `text` fit into `columns`; at least one character.
fn byte_at(text: &str, columns: usize) -> usize {
    let mut used = 0;
    for (at, char) in text.char_indices() {
        used += measure_text_width(char.encode_utf8(&mut [0; 4]));
        if used > columns && at > 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_page() {
        let word = "x".repeat(90);
        for text in [
            "one two three four five six seven eight",
            &word,
            "国国国国国国 国国国国国国国国国国国国国",
        ] {
            let mut page = Page::new(40, Colour::Plain);
            page.line(4, Tone::Plain, text);
            page.labelled(8, "label", Tone::Plain, text);
            page.row(2, (Tone::Plain, text), (Tone::Plain, "may run: changes"));
            page.block(6, text, 40, |_| Tone::Plain);
            for line in page.text().lines() {
                assert!(measure_text_width(line) <= 40, "{line}");
            }
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_a_mark() {
        let mut page = Page::new(80, Colour::Plain);
        page.line(0, Tone::Plain, "\x1b[2Jgone\u{202e}?");
        page.block(0, "\x1b]52;c;x\x07", 40, |_| Tone::Plain);
        let text = page.text();
        assert!(!text.contains(['\x1b', '\x07', '\u{202e}']), "{text:?}");
        assert!(text.contains("gone"));
    }
}
