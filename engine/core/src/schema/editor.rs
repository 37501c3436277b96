//! The schema that editors get.

use serde_json::{Map, Value as Json, json};

use super::resolve;

/// What an editor shows beside a value, whatever form it has.
const SAID: [&str; 5] = ["title", "description", "default", "deprecated", "examples"];

/// Turns the schema of arguments into the one for editors: a template may stand for each value.
///
/// Whatever does not take any text (numbers, booleans, lists, mappings, texts of one form) becomes
/// `anyOf: [that, {type: string, pattern: "\\{\\{"}]`, apart from what is `x-literal`. Mappings say
/// `additionalProperties` only: editors don't know `unevaluatedProperties`.
pub fn editor(schema: &mut Json) {
    close(schema);
    let root = schema.clone();
    values(schema, &root);
}

fn template() -> Json {
    json!({ "type": "string", "pattern": "\\{\\{" })
}

fn close(schema: &mut Json) {
    if let Json::Object(schema) = schema {
        if let Some(other) = schema.remove("unevaluatedProperties") {
            schema.entry("additionalProperties").or_insert(other);
        }
        if schema.contains_key("properties") {
            schema
                .entry("additionalProperties")
                .or_insert(Json::Bool(false));
        }
    }
    parts(schema).into_iter().for_each(|(_, part)| close(part));
}

/// What a part of a schema is a schema of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A place where a value stands.
    Value,
    /// The same value again, or a type that is used elsewhere.
    Type,
}

fn parts(schema: &mut Json) -> Vec<(Part, &mut Json)> {
    let Json::Object(schema) = schema else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    for (word, part) in schema {
        match (word.as_str(), part) {
            ("properties", Json::Object(all)) => {
                parts.extend(all.values_mut().map(|part| (Part::Value, part)));
            }
            ("prefixItems", Json::Array(all)) => {
                parts.extend(all.iter_mut().map(|part| (Part::Value, part)));
            }
            ("items" | "additionalProperties", part) => parts.push((Part::Value, part)),
            ("$defs", Json::Object(all)) => {
                parts.extend(all.values_mut().map(|part| (Part::Type, part)));
            }
            ("anyOf" | "oneOf", Json::Array(all)) => {
                parts.extend(all.iter_mut().map(|part| (Part::Type, part)));
            }
            _ => {}
        }
    }
    parts
}

/// Turns the schemas of all places inside where values stand.
fn values(schema: &mut Json, root: &Json) {
    for (kind, part) in parts(schema) {
        match kind {
            Part::Value => value(part, root),
            Part::Type => values(part, root),
        }
    }
}

/// Turns the schema of a place where a value stands.
fn value(schema: &mut Json, root: &Json) {
    let (_, literal) = resolve(root, schema);
    if literal {
        return;
    }
    let takes_templates = takes_any_text(schema, root);
    values(schema, root);
    if takes_templates {
        return;
    }
    let Json::Object(inner) = schema else {
        return;
    };
    let mut outer: Map<String, Json> = Map::new();
    for word in SAID {
        outer.extend(inner.shift_remove(word).map(|said| (word.to_owned(), said)));
    }
    let inner = std::mem::take(inner);
    let branches = match inner.get("anyOf") {
        Some(Json::Array(branches)) if inner.len() == 1 => {
            let mut branches = branches.clone();
            branches.push(template());
            branches
        }
        _ => vec![Json::Object(inner), template()],
    };
    outer.insert("anyOf".to_owned(), Json::Array(branches));
    *schema = Json::Object(outer);
}

/// Returns whether a text with `{{` passes as it is. `false` takes nothing and stays so.
fn takes_any_text(schema: &Json, root: &Json) -> bool {
    let (schema, _) = resolve(root, schema);
    let Json::Object(schema) = schema else {
        return true;
    };
    if *schema == *template().as_object().expect("it is an object") {
        return true;
    }
    if let Some(branches) = super::branches::of(schema) {
        return branches.iter().any(|branch| takes_any_text(branch, root));
    }
    let narrow = ["const", "enum", "format", "pattern", "maxLength"];
    let types = super::types(schema);
    (types.is_empty() || types.contains(&"string"))
        && !narrow.iter().any(|word| schema.contains_key(*word))
}
