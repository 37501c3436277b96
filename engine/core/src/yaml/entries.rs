//! The entries of a mapping: keys that are text and differ, and merge keys resolved.

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::{Data, Node, Style};
use crate::diagnostic::Diagnostic;

/// Where each key was first defined.
type Seen = HashMap<Arc<str>, Range<usize>>;

/// Returns the entries without those that are reported as wrong, and with what `<<` brings in.
///
/// A key that is written wins over a merged one, and an earlier merged mapping over a later one.
pub(super) fn entries(
    pairs: Vec<(Node, Node)>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<(Node, Node)> {
    let mut seen = Seen::with_capacity(pairs.len());
    let mut merges = Vec::new();
    let mut entries = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let Data::Scalar { text, style } = &key.data else {
            let what = key.what();
            problems.push(Diagnostic::error(
                format!("a key is text, not {what}"),
                key.span,
            ));
            continue;
        };
        if *style == Style::Plain && text.is_empty() {
            problems.push(Diagnostic::error(
                "there is no key before this `:`",
                key.span,
            ));
            continue;
        }
        let merges_here = *style == Style::Plain && &**text == "<<";
        if let Some(first) = seen.get(text) {
            let first = first.clone();
            problems.push(duplicate(text, merges_here, key.span, first));
            continue;
        }
        seen.insert(text.clone(), key.span.clone());
        if merges_here {
            merges.push(value);
        } else {
            entries.push((key, value));
        }
    }
    for value in merges {
        merge(value, &mut entries, &mut seen, problems);
    }
    entries
}

fn duplicate(key: &str, merges: bool, again: Range<usize>, first: Range<usize>) -> Diagnostic {
    let shown = super::shorten(key);
    let problem = Diagnostic::error(format!("duplicate key `{shown}`"), again)
        .label(first, "first defined here");
    if merges {
        problem.hint("merge several mappings by a list: `<<: [*a, *b]`")
    } else {
        problem
    }
}

fn merge(
    value: Node,
    entries: &mut Vec<(Node, Node)>,
    seen: &mut Seen,
    problems: &mut Vec<Diagnostic>,
) {
    let sources = match value.data {
        Data::List(items) => items,
        _ => vec![value],
    };
    for source in sources {
        let what = source.what();
        let Data::Map(merged) = source.data else {
            problems.push(Diagnostic::error(
                format!("`<<` merges a mapping or a list of mappings, found {what}"),
                source.span,
            ));
            continue;
        };
        for (key, value) in merged {
            let Data::Scalar { text, .. } = &key.data else {
                continue;
            };
            if !seen.contains_key(text) {
                seen.insert(text.clone(), key.span.clone());
                entries.push((key, value));
            }
        }
    }
}
