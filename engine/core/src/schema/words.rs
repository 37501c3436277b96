//! What [`super::check`] reads of a schema, and what it doesn't.

use regex::Regex;
use serde_json::Value as Json;

/// Words that say something to people or programs but nothing about a value.
const REMARKS: [&str; 9] = [
    "$schema",
    "$comment",
    "title",
    "description",
    "default",
    "deprecated",
    "examples",
    "readOnly",
    "writeOnly",
];

/// Words whose value is no schema.
const BOUNDS: [&str; 16] = [
    "type",
    "required",
    "enum",
    "const",
    "$ref",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "pattern",
    "format",
];

const FORMATS: [&str; 17] = [
    "bytes",
    "duration",
    "timestamp",
    "mode",
    "regex",
    "int8",
    "int16",
    "int32",
    "int64",
    "int",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "uint",
    "float",
    "double",
];

/// Returns the places in a schema that say something that [`super::check`] does not read, as JSON pointers.
///
/// Empty for every kind of step: a test of the registry sees to it, so that nothing goes unchecked in silence.
pub fn unknown_words(schema: &Json) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(schema, schema, "#", &mut unknown);
    unknown
}

fn walk(schema: &Json, root: &Json, at: &str, unknown: &mut Vec<String>) {
    let Json::Object(words) = schema else {
        return;
    };
    for (word, part) in words {
        let here = format!("{at}/{word}");
        match (word.as_str(), part) {
            ("properties" | "$defs", Json::Object(parts)) => {
                for (name, part) in parts {
                    walk(part, root, &format!("{here}/{name}"), unknown);
                }
            }
            ("items" | "additionalProperties", part) => walk(part, root, &here, unknown),
            ("anyOf" | "oneOf" | "prefixItems", Json::Array(parts)) => {
                for (index, part) in parts.iter().enumerate() {
                    walk(part, root, &format!("{here}/{index}"), unknown);
                }
            }
            (word, part)
                if !REMARKS.contains(&word)
                    && !word.starts_with("x-")
                    && !is_read(word, part, root) =>
            {
                unknown.push(here);
            }
            _ => {}
        }
    }
}

fn is_read(word: &str, part: &Json, root: &Json) -> bool {
    let text = part.as_str().unwrap_or_default();
    match word {
        "format" => FORMATS.contains(&text),
        "pattern" => Regex::new(text).is_ok(),
        "$ref" => text
            .strip_prefix('#')
            .is_some_and(|target| root.pointer(target).is_some()),
        word => BOUNDS.contains(&word),
    }
}
