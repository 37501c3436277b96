//! Mappings: keys that are known, and keys that have to be there.

use serde_json::{Map, Value as Json};

use super::Check;
use crate::{
    diagnostic::{Diagnostic, suggest},
    yaml::{Node, shorten},
};

impl<'a> Check<'a> {
    pub(super) fn mapping(
        &self,
        node: &Node,
        entries: &[(Node, Node)],
        schema: &'a Map<String, Json>,
        owner: Option<&Node>,
        problems: &mut Vec<Diagnostic>,
    ) {
        let properties = schema.get("properties").and_then(Json::as_object);
        let mut missing = missing(entries, schema);
        for (key, value) in entries {
            let name = key.written();
            if let Some(schema) = properties.and_then(|properties| properties.get(name)) {
                self.value(value, schema, Some(key), problems);
                continue;
            }
            match schema.get("additionalProperties") {
                Some(Json::Bool(false)) => {}
                None if properties.is_some() => {}
                None => continue,
                Some(other) => {
                    self.value(value, other, Some(key), problems);
                    continue;
                }
            }
            let known: Vec<&str> = properties
                .map_or_else(Vec::new, |known| known.keys().map(String::as_str).collect());
            let meant = suggest(name, known.iter().copied());
            // Who misspelt a key has not left it out.
            missing.retain(|missing| Some(*missing) != meant);
            problems.push(unknown_key(key, meant, &known));
        }
        if !missing.is_empty() {
            let at = owner
                .or(entries.first().map(|(key, _)| key))
                .unwrap_or(node);
            problems.push(missing_keys(&missing, at));
        }
    }
}

/// Returns the problem of a key that nobody knows.
pub(super) fn unknown_key(key: &Node, meant: Option<&str>, known: &[&str]) -> Diagnostic {
    let name = shorten(key.written());
    let problem = Diagnostic::error(format!("unknown key `{name}`"), key.span.clone());
    match (meant, known) {
        (Some(meant), _) => problem.hint(format!("did you mean `{meant}`?")),
        (None, []) => problem.hint("no keys are known here"),
        (None, [only]) => problem.hint(format!("the only key known here is `{only}`")),
        (None, _) => problem.hint(format!("known keys are {}", list(known))),
    }
}

fn missing<'a>(entries: &[(Node, Node)], schema: &'a Map<String, Json>) -> Vec<&'a str> {
    let required = schema.get("required").and_then(Json::as_array);
    required
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .filter(|name| !entries.iter().any(|(key, _)| key.written() == *name))
        .collect()
}

fn missing_keys(missing: &[&str], at: &Node) -> Diagnostic {
    let keys = if missing.len() == 1 { "key" } else { "keys" };
    Diagnostic::error(format!("missing {keys} {}", list(missing)), at.span.clone())
}

/// Returns `` `a`, `b` ``.
pub(super) fn list(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
