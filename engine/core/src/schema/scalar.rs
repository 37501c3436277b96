//! Scalars: types, values, bounds and formats.

use regex::Regex;
use serde_json::{Map, Value as Json};

use super::{is_of, types};
use crate::{
    diagnostic::{Diagnostic, did_you_mean},
    units::{Bytes, Mode, Span, Time},
    yaml::{Data, Node, Scalar, Style, shorten},
};

/// Returns the values of `enum` or `const`.
pub(super) fn values(schema: &Map<String, Json>) -> Option<Vec<&Json>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(only), _) => Some(vec![only]),
        (None, Some(Json::Array(values))) => Some(values.iter().collect()),
        _ => None,
    }
}

/// Checks that a node is one of `values`.
pub(super) fn one_of(node: &Node, values: &[&Json], problems: &mut Vec<Diagnostic>) {
    if values.iter().any(|value| is_value(node, value)) {
        return;
    }
    let texts = texts(values);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let Some(text) = node.as_text() else {
        let all: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
        let (all, found) = (all.join(" or "), node.what());
        problems.push(Diagnostic::error(
            format!("expected {all}, found {found}"),
            node.span.clone(),
        ));
        return;
    };
    let message = format!("unknown value `{}`", shorten(text));
    let problem = Diagnostic::error(message, node.span.clone());
    problems.push(match did_you_mean(text, &texts) {
        Some(hint) => problem.hint(hint),
        None => problem,
    });
}

/// Returns the values as they are written; `null`, by which an option says that it may be left out, is no choice.
fn texts(values: &[&Json]) -> Vec<String> {
    values
        .iter()
        .filter(|value| !value.is_null())
        .map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        })
        .collect()
}

fn is_value(node: &Node, value: &Json) -> bool {
    match value {
        Json::String(text) => node.as_text() == Some(text),
        Json::Number(number) => match node.scalar() {
            Some(Scalar::Int(found)) => number.as_i64() == Some(found),
            Some(Scalar::Number(found)) => number.as_f64() == Some(found),
            _ => false,
        },
        Json::Bool(flag) => node.scalar() == Some(Scalar::Bool(*flag)),
        Json::Null => node.is_null(),
        other => node.to_value().to_plain() == *other,
    }
}

/// Returns the problem of a node whose type is not among the schema's.
pub(super) fn mismatch(node: &Node, schema: &Map<String, Json>) -> Diagnostic {
    let problem = Diagnostic::error(
        format!(
            "expected {}, found {}",
            expected(schema).join(" or "),
            node.what()
        ),
        node.span.clone(),
    );
    match hint(node, schema) {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// Returns what a schema takes, in words.
pub(super) fn expected(schema: &Map<String, Json>) -> Vec<String> {
    if let Some(values) = values(schema) {
        return texts(&values)
            .iter()
            .map(|text| format!("`{text}`"))
            .collect();
    }
    let names = types(schema);
    let only_null = names == ["null"];
    names
        .into_iter()
        .filter(|name| only_null || *name != "null")
        .map(|name| match name {
            "array" => "a list",
            "object" => "a mapping",
            "null" => "nothing",
            "boolean" => "`true` or `false`",
            "integer" => "a whole number",
            "number" => "a number",
            _ => match format(schema) {
                Some("bytes") => "a size like `100MiB`",
                Some("duration") => "a duration like `90s`",
                Some("timestamp") => "a time like `2026-11-20T14:30:00+08:00`",
                Some("mode") => "a file mode like `\"0640\"`",
                Some("regex") => "a regular expression",
                _ => "text",
            },
        })
        .map(str::to_owned)
        .collect()
}

fn hint(node: &Node, schema: &Map<String, Json>) -> Option<String> {
    let names = types(schema);
    let takes = |name: &str| names.contains(&name);
    let text = node.written();
    if node.is_null() {
        let nothing_required = schema.get("required").is_none();
        return (takes("object") && nothing_required)
            .then(|| "write `{}` if there is nothing to say".to_owned());
    }
    if takes("boolean") {
        let flag = match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "true" => "true",
            "no" | "off" | "n" | "false" => "false",
            _ => return None,
        };
        return Some(format!(
            "write `{flag}`, without quotes: to YAML this is text"
        ));
    }
    if !takes("integer") && !takes("number") {
        return None;
    }
    let plain = text.replace('_', "");
    let plain = match plain.trim_start_matches('0') {
        digits if digits.starts_with(|c: char| c.is_ascii_digit()) => digits,
        _ => &plain,
    };
    let bare = Node {
        data: Data::Scalar {
            text: plain.into(),
            style: Style::Plain,
        },
        tag: None,
        ..node.clone()
    };
    let is_number = names
        .iter()
        .any(|name| *name != "string" && is_of(&bare, name))
        && !bare.is_null();
    is_number.then(|| format!("write `{plain}`, as a plain number: to YAML this is text"))
}

/// Checks bounds and formats of a scalar whose type fits.
pub(super) fn check(node: &Node, schema: &Map<String, Json>, problems: &mut Vec<Diagnostic>) {
    let names = types(schema);
    let as_number = names
        .iter()
        .any(|name| matches!(*name, "integer" | "number"));
    match node.scalar() {
        Some(Scalar::Int(number)) if as_number => bounds(node, number as f64, schema, problems),
        Some(Scalar::Number(number)) if as_number => bounds(node, number, schema, problems),
        Some(Scalar::Bool(_)) if names.contains(&"boolean") => {}
        Some(Scalar::Null) | None => {}
        Some(_) => text(node, node.written(), schema, problems),
    }
}

fn bounds(node: &Node, number: f64, schema: &Map<String, Json>, problems: &mut Vec<Diagnostic>) {
    let (least, most) = match format(schema) {
        Some("int8") => (Some(i8::MIN.into()), Some(i8::MAX.into())),
        Some("int16") => (Some(i16::MIN.into()), Some(i16::MAX.into())),
        Some("int32") => (Some(i32::MIN.into()), Some(i32::MAX.into())),
        Some("uint8") => (Some(0.0), Some(u8::MAX.into())),
        Some("uint16") => (Some(0.0), Some(u16::MAX.into())),
        Some("uint32") => (Some(0.0), Some(u32::MAX.into())),
        Some("uint" | "uint64") => (Some(0.0), None),
        _ => (None::<f64>, None::<f64>),
    };
    let bound = |name: &str| schema.get(name).and_then(Json::as_f64);
    let least = bound("minimum").or(least);
    let most = bound("maximum").or(most);
    let expected = if let Some(least) = least.filter(|least| number < *least) {
        format!("at least {least}")
    } else if let Some(most) = most.filter(|most| number > *most) {
        format!("at most {most}")
    } else if let Some(least) = bound("exclusiveMinimum").filter(|least| number <= *least) {
        format!("more than {least}")
    } else if let Some(most) = bound("exclusiveMaximum").filter(|most| number >= *most) {
        format!("less than {most}")
    } else {
        return;
    };
    let found = node.what();
    problems.push(Diagnostic::error(
        format!("expected {expected}, found {found}"),
        node.span.clone(),
    ));
}

fn text(node: &Node, text: &str, schema: &Map<String, Json>, problems: &mut Vec<Diagnostic>) {
    let wrong = match format(schema) {
        Some("mode") if node.style() == Some(Style::Plain) && node.tag.is_none() => {
            problems.push(unquoted_mode(node, text));
            return;
        }
        Some("bytes") => text.parse::<Bytes>().err().map(|error| error.to_string()),
        Some("duration") => text.parse::<Span>().err().map(|error| error.to_string()),
        Some("timestamp") => text.parse::<Time>().err().map(|error| error.to_string()),
        Some("mode") => text.parse::<Mode>().err().map(|error| error.to_string()),
        Some("regex") => Regex::new(text).err().map(|error| no_regex(&error)),
        _ => pattern(text, schema).or_else(|| length(text, schema)),
    };
    problems.extend(wrong.map(|message| Diagnostic::error(message, node.span.clone())));
}

fn unquoted_mode(node: &Node, text: &str) -> Diagnostic {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match digits.parse::<Mode>() {
        Ok(mode) => Diagnostic::error(
            format!("the file mode `{text}` is not quoted"),
            node.span.clone(),
        )
        .hint(format!(
            "write `\"{mode}\"`: without quotes it is a number that means something else"
        )),
        Err(error) => Diagnostic::error(error.to_string(), node.span.clone()),
    }
}

fn no_regex(error: &regex::Error) -> String {
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default();
    format!(
        "no regular expression: {}",
        reason.trim_start_matches("error: ")
    )
}

fn pattern(text: &str, schema: &Map<String, Json>) -> Option<String> {
    let pattern = schema.get("pattern")?.as_str()?;
    // A pattern that can't be read is named by `unknown_words`.
    let regex = Regex::new(pattern).ok()?;
    (!regex.is_match(text)).then(|| format!("`{}` does not match `{pattern}`", shorten(text)))
}

fn length(text: &str, schema: &Map<String, Json>) -> Option<String> {
    let bound = |name: &str| schema.get(name).and_then(Json::as_u64);
    let found = text.chars().count() as u64;
    let wrong = |bound: u64, word: &str| {
        let characters = if bound == 1 {
            "character"
        } else {
            "characters"
        };
        format!("expected {word} {bound} {characters}, found {found}")
    };
    if let Some(least) = bound("minLength").filter(|least| found < *least) {
        return Some(wrong(least, "at least"));
    }
    bound("maxLength")
        .filter(|most| found > *most)
        .map(|most| wrong(most, "at most"))
}

fn format(schema: &Map<String, Json>) -> Option<&str> {
    schema.get("format").and_then(Json::as_str)
}
