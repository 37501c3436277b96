//! Diagnostics for people: the look of rustc, or one line each.

mod excerpt;

use annotate_snippets::{Group, Level, Origin, Renderer, Snippet};

use self::excerpt::Excerpt;
use super::{Diagnostic, Severity, Source};

/// Whether text is coloured. Meaning never rests on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Text alone.
    Plain,
    /// With ANSI escape codes.
    Ansi,
}

/// Wider than any excerpt, so that nothing is cut a second time.
const WIDTH: usize = 4_000;

/// Returns the diagnostics with their source lines, sorted by place; what has no place comes first.
///
/// Ends with a line break unless there are none. Control characters are shown, never passed on.
pub fn render(diagnostics: &[Diagnostic], source: &Source, colour: Colour) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| diagnostic.span.as_ref().map(|span| (span.start, span.end)));
    let renderer = match colour {
        Colour::Plain => Renderer::plain(),
        Colour::Ansi => Renderer::styled(),
    }
    .term_width(WIDTH);
    let rendered: Vec<String> = sorted
        .into_iter()
        .map(|diagnostic| render_one(diagnostic, source, &renderer) + "\n")
        .collect();
    rendered.join("\n")
}

/// Returns the diagnostic in one line: `file:line:column: error: message (hint; hint)`.
pub fn line(diagnostic: &Diagnostic, source: &Source) -> String {
    let place = match &diagnostic.span {
        Some(span) => {
            let (line, column) = source.position(span.start);
            format!(":{line}:{column}")
        }
        None => String::new(),
    };
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let hints = match diagnostic.hints.as_slice() {
        [] => String::new(),
        hints => format!(" ({})", hints.join("; ")),
    };
    one_line(&format!(
        "{}{place}: {severity}: {}{hints}",
        source.name, diagnostic.message
    ))
}

/// Returns `text` with line breaks, control characters and those that turn the direction of writing escaped.
pub fn one_line(text: &str) -> String {
    let is_odd =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .fold(String::with_capacity(text.len()), |mut line, c| {
            if is_odd(c) {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
            line
        })
}

fn render_one(diagnostic: &Diagnostic, source: &Source, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let group = Group::with_title(level.primary_title(one_line(&diagnostic.message)));
    let name = one_line(&source.name);
    let group = match &diagnostic.span {
        None => group.element(Origin::path(name)),
        Some(span) => {
            let excerpt = Excerpt::of(source, span, &diagnostic.labels);
            let snippet = Snippet::source(excerpt.text)
                .line_start(excerpt.first_line)
                .annotations(excerpt.annotations);
            let group = if excerpt.cut_before {
                // The renderer would count the column in what is left of the line.
                let (line, column) = source.position(span.start);
                group
                    .element(Origin::path(name).line(line).char_column(column))
                    .element(snippet)
            } else {
                group.element(snippet.path(name))
            };
            group.elements(
                excerpt
                    .notes
                    .into_iter()
                    .map(|note| Level::NOTE.message(note)),
            )
        }
    };
    let hints = diagnostic
        .hints
        .iter()
        .map(|hint| Level::HELP.message(one_line(hint)));
    renderer.render(&[group.elements(hints)])
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    #[track_caller]
    fn check(text: &str, diagnostics: &[Diagnostic], expected: &str) {
        let rendered = render(diagnostics, &Source::new("p.yml", text), Colour::Plain);
        assert_eq!(
            rendered.trim_end(),
            expected.trim_matches('\n'),
            "\n{rendered}"
        );
    }

    #[test]
    fn diagnostics_are_sorted_by_place_and_have_their_hints() {
        check(
            "a: 1\nb: 2\nc: 3\n",
            &[
                Diagnostic::warning("last", 10..11),
                Diagnostic::error("first", 0..1)
                    .hint("did you mean `b`?")
                    .hint("or leave it out"),
                Diagnostic::error("of the whole", None).hint("look again"),
            ],
            r"
error: of the whole
--> p.yml
 = help: look again

error: first
 --> p.yml:1:1
  |
1 | a: 1
  | ^
  |
  = help: did you mean `b`?
  = help: or leave it out

warning: last
 --> p.yml:3:1
  |
3 | c: 3
  | ^
",
        );
    }

    #[test]
    fn a_line_of_50_kilobytes_is_cut_around_the_place() {
        let text = format!("a: [{}]\n", "word, ".repeat(8_500));
        check(
            &text,
            &[
                Diagnostic::error("near", 4..8)
                    .label(10..14, "close by")
                    .label(50_000..50_004, "far away"),
                Diagnostic::error("long", 3..50_000),
                Diagnostic::error("far", 50_002..50_006).label(4..8, "first here"),
            ],
            r"
error: long
 --> p.yml:1:4
  |
1 | a: [word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word…
  |    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

error: near
 --> p.yml:1:5
  |
1 | a: [word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word…
  |     ^^^^  ---- close by
  |
  = note: far away (line 1, column 50001)

error: far
 --> p.yml:1:50003
  |
 ::: 
1 | …rd, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word, word…
  |                                          ^^^^
  |
  = note: first here (line 1, column 5)
",
        );
    }

    #[test]
    fn tabs_wide_characters_and_control_characters_do_not_move_the_caret() {
        let text = "\u{feff}日本\tkey: \u{1b}[31mx\r\nb: 1\r\n";
        let key = text.find("key").expect("it is there");
        check(
            text,
            &[
                Diagnostic::error("wide", key..key + 3),
                Diagnostic::error("odd `\u{1b}[31m` \u{202e}\nname", key + 5..key + 10)
                    .label(0..6, "line\nbreak"),
                Diagnostic::error("end", text.len()..text.len()),
            ],
            r"
error: wide
 --> p.yml:1:4
  |
1 | 日本    key: ␛[31mx
  |         ^^^

error: odd `\u{1b}[31m` \u{202e}\nname
 --> p.yml:1:9
  |
1 | 日本    key: ␛[31mx
  | --           ^^^^^
  | |
  | line\nbreak

error: end
 --> p.yml:3:1
  |
3 |
  | ^
",
        );
    }

    #[test]
    fn places_over_several_lines_are_marked_in_the_first() {
        check(
            "a:\n  - b\n  - c\n\nd: 1\ne: 1\nf: 1\ng: 1\nh: 1\ni:\n  - j\n  - k\n",
            &[Diagnostic::error("list", 5..16).label(46..60, "and here")],
            r"
error: list
  --> p.yml:2:3
   |
 2 |   - b
   |   ^^^
...
11 |   - j
   |   --- and here
",
        );
    }

    #[test]
    fn places_off_the_text_are_shown_at_its_end_or_begin_of_character() {
        check(
            "é: 1",
            &[
                Diagnostic::error("half", 1..1),
                Diagnostic::error("behind", 90..99),
                Diagnostic::error("turned", Some(Range { start: 3, end: 2 })),
            ],
            r"
error: half
 --> p.yml:1:1
  |
1 | é: 1
  | ^

error: turned
 --> p.yml:1:3
  |
1 | é: 1
  |   ^

error: behind
 --> p.yml:1:5
  |
1 | é: 1
  |     ^
",
        );
    }

    #[test]
    fn colour_is_all_that_differs() {
        let source = Source::new("p.yml", "a: 1\n");
        let diagnostics = [Diagnostic::error("wrong", 0..1).hint("help")];
        let coloured = render(&diagnostics, &source, Colour::Ansi);
        let escape = regex::Regex::new("\u{1b}\\[[0-9;]*m").expect("a pattern");
        assert!(coloured.contains("\u{1b}["));
        assert_eq!(
            escape.replace_all(&coloured, ""),
            render(&diagnostics, &source, Colour::Plain)
        );
    }

    #[test]
    fn one_line_is_one_line() {
        let source = Source::new("p.yml", "é: 1\n");
        let twice = Diagnostic::error("dupl\nicate", 4..5)
            .hint("one")
            .hint("two");
        assert_eq!(
            line(&twice, &source),
            "p.yml:1:4: error: dupl\\nicate (one; two)"
        );
        assert_eq!(
            line(&Diagnostic::warning("empty", None), &source),
            "p.yml: warning: empty"
        );
    }
}
