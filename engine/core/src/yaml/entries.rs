//! The entries of a mapping: keys that are text and differ, and merge keys resolved.

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::{Data, Node, Style};
use crate::diagnostic::Diagnostic;

/// So many keys are compared one by one: for the few that most mappings have, that is faster than hashing.
const FEW: usize = 16;

/// Where each key was first defined.
enum Seen {
    Few(Vec<(Arc<str>, Range<usize>)>),
    Many(HashMap<Arc<str>, Range<usize>>),
}

impl Seen {
    fn of(keys: usize) -> Seen {
        match keys <= FEW {
            true => Seen::Few(Vec::with_capacity(keys)),
            false => Seen::Many(HashMap::with_capacity(keys)),
        }
    }

    fn get(&self, key: &str) -> Option<&Range<usize>> {
        match self {
            Seen::Few(seen) => seen
                .iter()
                .find(|(seen, _)| **seen == *key)
                .map(|(_, place)| place),
            Seen::Many(seen) => seen.get(key),
        }
    }

    fn insert(&mut self, key: Arc<str>, place: Range<usize>) {
        match self {
            Seen::Few(seen) if seen.len() < FEW => seen.push((key, place)),
            Seen::Few(seen) => {
                let mut many: HashMap<_, _> = seen.drain(..).collect();
                many.insert(key, place);
                *self = Seen::Many(many);
            }
            Seen::Many(seen) => {
                seen.insert(key, place);
            }
        }
    }
}

/// Returns the entries without those that are reported as wrong, and with what `<<` brings in.
///
/// A key that is written wins over a merged one, and an earlier merged mapping over a later one.
pub(super) fn entries(
    pairs: Vec<(Node, Node)>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<(Node, Node)> {
    let mut seen = Seen::of(pairs.len());
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
            if seen.get(text).is_none() {
                seen.insert(text.clone(), key.span.clone());
                entries.push((key, value));
            }
        }
    }
}
