//! `anyOf` and `oneOf`: the branch that was meant is picked, so that the message is about the mistake inside it.

use serde_json::{Map, Value as Json};

use super::{Check, MOST_HOPS, fits, is_of, mapping, resolve, scalar};
use crate::{
    diagnostic::{Diagnostic, suggest},
    yaml::Node,
};

/// A branch, and what is wrong when it is taken.
struct Try<'a> {
    branch: &'a Map<String, Json>,
    problems: Vec<Diagnostic>,
}

/// Returns the branches of a schema.
pub(super) fn of(schema: &Map<String, Json>) -> Option<&[Json]> {
    let branches = schema.get("anyOf").or_else(|| schema.get("oneOf"))?;
    branches.as_array().map(Vec::as_slice)
}

impl<'a> Check<'a> {
    pub(super) fn branches(
        &self,
        node: &Node,
        branches: &'a [Json],
        owner: Option<&Node>,
        problems: &mut Vec<Diagnostic>,
    ) {
        let mut flat = Vec::new();
        if self.flatten(branches, MOST_HOPS, &mut flat) == Takes::Anything {
            return;
        }
        let fitting: Vec<_> = flat
            .iter()
            .filter(|(branch, _)| has_shape(node, branch))
            .collect();
        if fitting.is_empty() {
            let all: Vec<_> = flat.iter().map(|(branch, _)| *branch).collect();
            problems.push(no_branch(node, &all));
            return;
        }
        let mut tries = Vec::new();
        for (branch, schema) in fitting {
            let mut found = Vec::new();
            self.value(node, schema, owner, &mut found);
            if !found.iter().any(Diagnostic::is_error) {
                problems.extend(found);
                return;
            }
            tries.push(Try {
                branch,
                problems: found,
            });
        }
        problems.extend(match node.as_map() {
            Some(entries) => meant_by_keys(node, entries, tries),
            None => meant_by_value(node, tries),
        });
    }

    /// Collects the branches, those of branches included, with references followed.
    fn flatten(
        &self,
        branches: &'a [Json],
        hops: usize,
        flat: &mut Vec<(&'a Map<String, Json>, &'a Json)>,
    ) -> Takes {
        for branch in branches {
            let (schema, _) = resolve(self.root, branch);
            let Json::Object(map) = schema else {
                if *schema == Json::Bool(true) {
                    return Takes::Anything;
                }
                continue;
            };
            match of(map).filter(|_| hops > 0) {
                Some(inner) => {
                    if self.flatten(inner, hops - 1, flat) == Takes::Anything {
                        return Takes::Anything;
                    }
                }
                None => flat.push((map, schema)),
            }
        }
        Takes::Some
    }
}

#[derive(PartialEq, Eq)]
enum Takes {
    Some,
    Anything,
}

fn has_shape(node: &Node, branch: &Map<String, Json>) -> bool {
    match scalar::values(branch) {
        Some(_) => node.as_text().is_some() || node.is_null() && fits(node, branch),
        None => fits(node, branch),
    }
}

fn no_branch(node: &Node, branches: &[&Map<String, Json>]) -> Diagnostic {
    let mut expected: Vec<String> = Vec::new();
    for word in branches.iter().flat_map(|branch| scalar::expected(branch)) {
        if word != "nothing" && !expected.contains(&word) {
            expected.push(word);
        }
    }
    Diagnostic::error(
        format!("expected {}, found {}", expected.join(" or "), node.what()),
        node.span.clone(),
    )
}

/// A mapping is meant for the branch that knows its keys.
fn meant_by_keys(
    node: &Node,
    entries: &[(Node, Node)],
    mut tries: Vec<Try<'_>>,
) -> Vec<Diagnostic> {
    let all: Vec<&str> = tries.iter().flat_map(|tried| keys(tried.branch)).collect();
    let is_known = |key: &Node| all.contains(&key.written());
    let tagged = tries.len() > 1 && tries.iter().all(|tried| is_tagged(tried.branch));
    let mut known = entries
        .iter()
        .map(|(key, _)| key)
        .filter(|key| is_known(key));
    match (known.next(), known.next()) {
        (None, _) => {
            let Some((key, _)) = entries.first() else {
                return vec![Diagnostic::error(
                    format!("expected one of the keys {}", mapping::list(&all)),
                    node.span.clone(),
                )];
            };
            let meant = suggest(key.written(), all.iter().copied());
            return vec![mapping::unknown_key(key, meant, &all)];
        }
        (Some(first), Some(second)) if tagged => {
            return vec![
                Diagnostic::error(
                    format!(
                        "`{}` and `{}` exclude each other",
                        first.written(),
                        second.written()
                    ),
                    second.span.clone(),
                )
                .label(first.span.clone(), "first choice"),
            ];
        }
        _ => {}
    }
    tries.sort_by_key(|tried| {
        let names: Vec<&str> = keys(tried.branch).collect();
        let strange = entries
            .iter()
            .filter(|(key, _)| !names.contains(&key.written()))
            .count();
        (strange, tried.problems.len())
    });
    first(tries)
}

/// An externally tagged variant: one key, which is required.
fn is_tagged(branch: &Map<String, Json>) -> bool {
    let required = branch
        .get("required")
        .and_then(Json::as_array)
        .map(Vec::len);
    keys(branch).count() == 1 && required == Some(1)
}

fn keys(branch: &Map<String, Json>) -> impl Iterator<Item = &str> {
    let properties = branch.get("properties").and_then(Json::as_object);
    properties
        .into_iter()
        .flat_map(|properties| properties.keys().map(String::as_str))
}

/// A scalar is meant for the branch of its own type, else for the one with values or a format.
fn meant_by_value(node: &Node, mut tries: Vec<Try<'_>>) -> Vec<Diagnostic> {
    let values: Vec<&Json> = tries
        .iter()
        .filter_map(|tried| scalar::values(tried.branch))
        .flatten()
        .collect();
    tries.retain(|tried| scalar::values(tried.branch).is_none());
    if tries.is_empty() {
        let mut problems = Vec::new();
        scalar::one_of(node, &values, &mut problems);
        return problems;
    }
    tries.sort_by_key(|tried| {
        let own_type = super::types(tried.branch)
            .iter()
            .any(|name| *name != "string" && is_of(node, name));
        (!own_type, tried.problems.len())
    });
    let mut problems = first(tries);
    if let (Some(problem), false) = (problems.first_mut(), values.is_empty()) {
        let values: Vec<String> = values
            .iter()
            .filter_map(|value| Some(format!("`{}`", value.as_str()?)))
            .collect();
        problem
            .hints
            .push(format!("or write {}", values.join(", ")));
    }
    problems
}

fn first(tries: Vec<Try<'_>>) -> Vec<Diagnostic> {
    tries
        .into_iter()
        .next()
        .map_or_else(Vec::new, |tried| tried.problems)
}
