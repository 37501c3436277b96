//! Text that other programs wrote, made harmless for a terminal.
//!
//! A step's output, and a title made of it, may hold escape sequences that clear the screen, set the clipboard or answer
//! for the person at the keyboard, and characters that turn the reading order around. None of that reaches a terminal.

use std::borrow::Cow;

/// How many columns a tab is shown as.
const TAB: &str = "    ";

/// Returns `text` as one harmless line: escape sequences are taken out, line ends become spaces.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '\x1b' => skip_escape(&mut rest),
            '\u{9b}' => skip_csi(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut rest),
            '\t' => clean.push_str(TAB),
            '\r' if rest.peek() == Some(&'\n') => {}
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => clean.push(' '),
            char if is_harmless(char) => clean.push(char),
            _ => clean.push('\u{fffd}'),
        }
    }
    Cow::Owned(clean)
}

/// Returns the harmless lines of `text`, without those at its end that are empty.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.trim_end().split('\n').map(line)
}

/// Returns what a terminal would show of a line of output: the part behind its last carriage return.
pub(crate) fn output(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let shown = match bytes.iter().rposition(|byte| *byte == b'\r') {
        Some(at) => &bytes[at + 1..],
        None => bytes,
    };
    line(&String::from_utf8_lossy(shown)).into_owned()
}

fn is_harmless(char: char) -> bool {
    // The ranges are marks that turn the reading order around, and separators that some terminals take for line ends.
    !char.is_control()
        && !matches!(char, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_escape(rest: &mut Rest<'_>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            skip_csi(rest);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            rest.next();
            skip_string(rest);
        }
        _ => {
            while rest.next_if(|char| matches!(char, ' '..='/')).is_some() {}
            rest.next_if(|char| matches!(char, '0'..='~'));
        }
    }
}

/// Skips parameters, intermediates and the final character of a control sequence.
fn skip_csi(rest: &mut Rest<'_>) {
    while rest.next_if(|char| matches!(char, ' '..='?')).is_some() {}
    rest.next_if(|char| matches!(char, '@'..='~'));
}

/// Skips a control string up to its terminator, or up to the end of the line where it has none.
fn skip_string(rest: &mut Rest<'_>) {
    while let Some(char) = rest.next_if(|char| *char != '\n') {
        match char {
            '\x07' | '\u{9c}' => return,
            '\x1b' => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_taken_out_and_other_control_characters_are_shown_as_such() {
        for (text, clean) in [
            ("plain, wide 国 and é", "plain, wide 国 and é"),
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b[2J\x1b[Hgone?", "gone?"),
            ("\x1b]52;c;ZXZpbA==\x07clip", "clip"),
            ("\x1b]0;title\x1b\\after", "after"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\u{9b}31mred", "red"),
            ("\x1bP1$r0m\x1b\\dcs", "dcs"),
            ("\x1b(Bcharset", "charset"),
            ("\x1b[", ""),
            ("never ended \x1b]0;x", "never ended "),
            ("a\x07b\x08c\x7fd", "a\u{fffd}b\u{fffd}c\u{fffd}d"),
            ("left\u{202e}right", "left\u{fffd}right"),
            ("two\r\nlines\tand", "two lines    and"),
        ] {
            assert_eq!(line(text), clean, "{text:?}");
            assert!(line(text).chars().all(is_harmless), "{text:?}");
        }
    }

    #[test]
    fn of_a_line_that_was_written_over_the_last_state_is_shown() {
        assert_eq!(output(b"10%\r55%\r100%"), "100%");
        assert_eq!(output(b"dos\r"), "dos");
        assert_eq!(output(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
