//! YAML against the JSON schema of a Rust type, with the place of every mistake.
//!
//! [`check`] reads the schemas that schemars makes of argument structs, and finds all mistakes in one run, so that what
//! is read with serde afterwards can only fail on what no schema can say. It is no general validator: [`unknown_words`]
//! names what it does not read. [`editor`] turns such a schema into the one that editors complete and check by.

mod branches;
mod editor;
mod items;
mod mapping;
mod scalar;
mod words;

use serde_json::{Map, Value as Json};

pub use self::{editor::editor, words::unknown_words};
use crate::{
    diagnostic::Diagnostic,
    yaml::{Node, Scalar},
};

/// Whether a text with `{{` in it stands for a value that is known only later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Templates {
    /// It stands for a value of any type, except where and inside of what the schema says is `"x-literal": true`.
    Allowed,
    /// It is a text like any other.
    Refused,
}

/// Checks `node` against `schema`, a whole document: `#/$defs/…` is looked up in it.
///
/// A mapping with `properties` takes no other keys unless `additionalProperties` says so. A field of type `string`
/// takes numbers and booleans as they are written; `format` (`bytes`, `duration`, `timestamp`, `mode`, `regex`) is
/// checked by the types of [`crate::units`], whose rules win over `pattern`.
pub fn check(node: &Node, schema: &Json, templates: Templates, problems: &mut Vec<Diagnostic>) {
    let cx = Check {
        root: schema,
        templates,
    };
    cx.value(node, schema, None, problems);
}

/// Checks what stands under `key`; what is missing in `node` is reported at that key.
pub fn check_under(
    key: &Node,
    node: &Node,
    schema: &Json,
    templates: Templates,
    problems: &mut Vec<Diagnostic>,
) {
    let cx = Check {
        root: schema,
        templates,
    };
    cx.value(node, schema, Some(key), problems);
}

/// What all parts of one check share.
struct Check<'a> {
    root: &'a Json,
    templates: Templates,
}

/// References to references end somewhere, unless the schema is broken.
const MOST_HOPS: usize = 16;

impl<'a> Check<'a> {
    /// Checks one value; `owner` is the key it stands under.
    fn value(
        &self,
        node: &Node,
        schema: &'a Json,
        owner: Option<&Node>,
        problems: &mut Vec<Diagnostic>,
    ) {
        let (schema, literal) = resolve(self.root, schema);
        if self.templates == Templates::Allowed && !literal && is_template(node) {
            return;
        }
        if literal && self.templates == Templates::Allowed {
            let literally = Check {
                templates: Templates::Refused,
                ..*self
            };
            return literally.value(node, schema, owner, problems);
        }
        let schema = match schema {
            Json::Object(schema) => schema,
            Json::Bool(false) => {
                problems.push(Diagnostic::error(
                    "nothing can stand here",
                    node.span.clone(),
                ));
                return;
            }
            _ => return,
        };
        if let Some(values) = scalar::values(schema) {
            return scalar::one_of(node, &values, problems);
        }
        if let Some(branches) = branches::of(schema) {
            return self.branches(node, branches, owner, problems);
        }
        if !fits(node, schema) {
            problems.push(scalar::mismatch(node, schema));
            return;
        }
        if let Some(entries) = node.as_map() {
            self.mapping(node, entries, schema, owner, problems);
        } else if let Some(list) = node.as_list() {
            self.items(node, list, schema, problems);
        } else {
            scalar::check(node, schema, problems);
        }
    }
}

/// Returns what a schema is once its references are followed, and whether one on the way is `x-literal`.
fn resolve<'a>(root: &'a Json, schema: &'a Json) -> (&'a Json, bool) {
    let is_literal = |schema: &Json| schema.get("x-literal") == Some(&Json::Bool(true));
    let mut schema = schema;
    let mut literal = is_literal(schema);
    for _ in 0..MOST_HOPS {
        let target = schema.get("$ref").and_then(Json::as_str);
        let Some(target) = target.and_then(|target| root.pointer(target.strip_prefix('#')?)) else {
            break;
        };
        schema = target;
        literal |= is_literal(schema);
    }
    (schema, literal)
}

fn is_template(node: &Node) -> bool {
    matches!(node.scalar(), Some(Scalar::Text(text)) if text.contains("{{"))
}

/// Returns whether the node's type is one that the schema names; true where it names none.
fn fits(node: &Node, schema: &Map<String, Json>) -> bool {
    let types = types(schema);
    types.is_empty() || types.iter().any(|name| is_of(node, name))
}

/// Returns the names in a schema's `type`.
fn types(schema: &Map<String, Json>) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(name)) => vec![name],
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_of(node: &Node, name: &str) -> bool {
    match (node.scalar(), name) {
        (None, "array") => node.as_list().is_some(),
        (None, "object") => node.as_map().is_some(),
        (Some(scalar), name) => match scalar {
            Scalar::Null => name == "null",
            Scalar::Bool(_) => matches!(name, "boolean" | "string"),
            Scalar::Int(_) => matches!(name, "integer" | "number" | "string"),
            Scalar::Number(_) => matches!(name, "number" | "string"),
            Scalar::Text(_) => name == "string",
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests;
