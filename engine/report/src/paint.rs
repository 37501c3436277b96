//! Colours: an addition for the eye; every meaning stands in words as well.

use anstyle::{AnsiColor, Style};
use runwright_core::diagnostic::Colour;

/// How a piece of text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Quiet,
    Good,
    Change,
    Warning,
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Tone::Plain => Style::new(),
            Tone::Strong => Style::new().bold(),
            Tone::Quiet => Style::new().dimmed(),
            Tone::Good => colour(AnsiColor::Green),
            Tone::Change => colour(AnsiColor::Cyan),
            Tone::Warning => colour(AnsiColor::Yellow),
            Tone::Bad => colour(AnsiColor::Red).bold(),
        }
    }
}

/// Returns `text`, which must be clean, in `tone`.
pub(crate) fn paint(colour: Colour, tone: Tone, text: &str) -> String {
    if colour == Colour::Plain || tone == Tone::Plain || text.is_empty() {
        return text.to_owned();
    }
    let style = tone.style();
    format!("{style}{text}{style:#}")
}
