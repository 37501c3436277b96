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
