//! The few lines of a source that one diagnostic is about, cut to what fits a screen.
//!
//! The renderer gets only these: it reads all it is given for each diagnostic, and shows a line of 50 KB as it is.

use std::{collections::BTreeMap, ops::Range};

use annotate_snippets::{Annotation, AnnotationKind};

use super::one_line;
use crate::diagnostic::{Source, floor};

/// Characters of a line that are shown.
const WINDOW: usize = 140;
/// Characters of a cut line that are shown before what it is about.
const LEAD: usize = 40;
/// Gaps of up to this many lines keep their text; the renderer folds them as it likes.
const GAP: usize = 4;

/// What is shown of a source, with the places marked in it.
pub(super) struct Excerpt {
    pub(super) text: String,
    pub(super) first_line: usize,
    pub(super) annotations: Vec<Annotation<'static>>,
    /// Whether something is cut off before the primary place.
    pub(super) cut_before: bool,
    /// Labels whose place is not shown.
    pub(super) notes: Vec<String>,
}

/// A line of an excerpt.
struct Cut {
    /// What is shown of the source.
    shown: Range<usize>,
    /// Where that begins in the excerpt's text.
    at: usize,
    /// Whether the line begins before.
    cut_before: bool,
}

impl Excerpt {
    /// Returns the lines of `span` and `labels`; of a place that has several lines, the first.
    pub(super) fn of(
        source: &Source,
        span: &Range<usize>,
        labels: &[(Range<usize>, String)],
    ) -> Excerpt {
        let primary = first_line(source, span);
        // The primary place comes first, so that its line is cut around it.
        let mut marked = BTreeMap::from([(source.line_index(primary.start), primary.start)]);
        for (place, _) in labels {
            let start = first_line(source, place).start;
            marked.entry(source.line_index(start)).or_insert(start);
        }
        let (text, cuts) = lay_out(source, &marked);
        let mut excerpt = Excerpt {
            text,
            first_line: marked.keys().next().map_or(1, |line| line + 1),
            cut_before: cuts[&source.line_index(primary.start)].cut_before,
            annotations: Vec::new(),
            notes: Vec::new(),
        };
        let places = std::iter::once((AnnotationKind::Primary, primary, None)).chain(
            labels.iter().map(|(place, text)| {
                (
                    AnnotationKind::Context,
                    first_line(source, place),
                    Some(text),
                )
            }),
        );
        for (kind, place, label) in places {
            let cut = &cuts[&source.line_index(place.start)];
            if (cut.shown.start..=cut.shown.end).contains(&place.start) {
                let start = cut.at + place.start - cut.shown.start;
                let end = cut.at + place.end.min(cut.shown.end) - cut.shown.start;
                let mark = kind.span(start..end);
                excerpt
                    .annotations
                    .push(mark.label(label.map(|text| one_line(text))));
            } else if let Some(label) = label {
                let (line, column) = source.position(place.start);
                excerpt.notes.push(format!(
                    "{} (line {line}, column {column})",
                    one_line(label)
                ));
            }
        }
        excerpt
    }
}

/// Returns the part of `span` that lies in its first line, on character boundaries.
fn first_line(source: &Source, span: &Range<usize>) -> Range<usize> {
    let line = source.line_range(source.line_index(floor(&source.text, span.start)));
    let start = floor(&source.text, span.start).clamp(line.start, line.end);
    let end = floor(&source.text, span.end).clamp(start, line.end);
    if span.end <= line.end {
        return start..end;
    }
    // Of a place that goes on below, what is blank at the end is not marked.
    let shown = source.text[start..end].trim_end().len();
    start..start + shown
}

/// Returns the text from the first to the last marked line, and what was cut of the marked ones.
fn lay_out(source: &Source, marked: &BTreeMap<usize, usize>) -> (String, BTreeMap<usize, Cut>) {
    let mut text = String::new();
    let mut cuts = BTreeMap::new();
    let mut previous: Option<usize> = None;
    for (line, about) in marked {
        if let Some(previous) = previous {
            text.push('\n');
            for between in previous + 1..*line {
                // Lines far from any mark are folded away: they only have to be there, to be counted.
                if line - previous <= GAP {
                    let range = source.line_range(between);
                    let start = range.start;
                    push_window(source, range, start, &mut text);
                }
                text.push('\n');
            }
        }
        let cut = push_window(source, source.line_range(*line), *about, &mut text);
        cuts.insert(*line, cut);
        previous = Some(*line);
    }
    (text, cuts)
}

/// Adds what fits of a line, with `…` where it is cut.
fn push_window(source: &Source, line: Range<usize>, about: usize, text: &mut String) -> Cut {
    let shown = window(&source.text, &line, about);
    let cut_before = shown.start > line.start;
    if cut_before {
        text.push('…');
    }
    let at = text.len();
    text.push_str(&source.text[shown.clone()]);
    if shown.end < line.end {
        text.push('…');
    }
    Cut {
        shown,
        at,
        cut_before,
    }
}

fn window(text: &str, line: &Range<usize>, about: usize) -> Range<usize> {
    if line.len() <= WINDOW {
        return line.clone();
    }
    let nth = |from: usize, count: usize| {
        text[from..line.end]
            .char_indices()
            .nth(count)
            .map_or(line.end, |(at, _)| from + at)
    };
    let end = nth(line.start, WINDOW);
    if about < end && text[about..end].chars().count() > WINDOW / 4 {
        return line.start..end;
    }
    let start = text[line.start..about].char_indices().rev().nth(LEAD - 1);
    let start = start.map_or(line.start, |(at, _)| line.start + at);
    start..nth(start, WINDOW)
}
