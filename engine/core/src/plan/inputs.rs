//! The values of inputs: read from text, checked against their type and bounds.

use std::sync::Arc;

use regex::Regex;

use super::{Input, InputType};
use crate::{
    units::{Bytes, Span, Time},
    value::{Fields, Value, percent_decode},
};

/// Returns every input's value: the given one, checked, or its default.
///
/// # Errors
///
/// Every unknown, missing and wrong input, in one line each.
pub fn check_inputs(inputs: &[Input], given: &Fields) -> Result<Fields, String> {
    check_all(inputs, given, "input").map_err(|problems| problems.join("\n"))
}

/// Returns every value; `what` they are called is in each problem.
fn check_all(inputs: &[Input], given: &Fields, what: &str) -> Result<Fields, Vec<String>> {
    let mut values = Fields::new();
    let mut problems = Vec::new();
    for name in given
        .keys()
        .filter(|name| !inputs.iter().any(|input| input.name == **name))
    {
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        problems.push(
            match crate::diagnostic::suggest(name, names.iter().copied()) {
                Some(near) => format!("there is no {what} `{name}`; did you mean `{near}`?"),
                None => format!("there is no {what} `{name}`; there is {}", list(&names)),
            },
        );
    }
    for input in inputs {
        match (given.get(&input.name), &input.default) {
            (Some(value), _) => match input.accept(value) {
                Ok(value) => {
                    values.insert(input.name.clone(), value);
                }
                Err(why) => problems.push(format!("{what} `{}`: {why}", input.name)),
            },
            (None, Some(default)) => {
                values.insert(input.name.clone(), default.clone());
            }
            (None, None) => problems.push(format!("{what} `{}` has no value", input.name)),
        }
    }
    if problems.is_empty() {
        Ok(values)
    } else {
        Err(problems)
    }
}

fn list(names: &[&str]) -> String {
    match names.is_empty() {
        true => "none at all".to_owned(),
        false => names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

impl Input {
    /// Returns the value that `text` means for this input: from `--set`, the environment or a terminal.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a fragment for people.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let value = match &self.of {
            InputType::Integer => Value::Int(
                text.trim()
                    .parse()
                    .map_err(|_| format!("`{text}` is no whole number"))?,
            ),
            InputType::Number => match text.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => Value::Number(number),
                _ => return Err(format!("`{text}` is no number")),
            },
            InputType::Boolean => match text.trim() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => return Err(format!("`{text}` is neither `true` nor `false`")),
            },
            InputType::List(of) => {
                let text = text.trim();
                if text.starts_with('[') {
                    yaml_value(text)?
                } else {
                    let items = text
                        .split(',')
                        .map(str::trim)
                        .filter(|item| !item.is_empty());
                    Value::list(items.map(|item| of.parse(item)).collect::<Result<_, _>>()?)
                }
            }
            InputType::Map(_) => yaml_value(text)?,
            _ => Value::text(text),
        };
        self.accept(&value)
    }

    /// Returns `value` as this input holds it.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a fragment for people.
    pub fn accept(&self, value: &Value) -> Result<Value, String> {
        if let Value::Unknown(_) = value {
            return Ok(value.clone());
        }
        let value = self.typed(value)?;
        self.bounded(&value)?;
        Ok(value)
    }

    fn typed(&self, value: &Value) -> Result<Value, String> {
        let wrong = |wanted: &str| {
            format!(
                "expected {wanted}, found {} {}",
                value.kind(),
                value.display()
            )
        };
        Ok(match (&self.of, value) {
            (InputType::String | InputType::Path, Value::Text(_)) => value.clone(),
            (
                InputType::String | InputType::Path,
                Value::Int(_) | Value::Number(_) | Value::Bool(_),
            ) => {
                return Err(format!("{}; quote it", wrong("text")));
            }
            (InputType::String, _) => return Err(wrong("text")),
            (InputType::Path, _) => return Err(wrong("a path")),
            (InputType::Integer, Value::Int(_)) => value.clone(),
            (InputType::Integer, _) => return Err(wrong("a whole number")),
            (InputType::Number, Value::Number(_)) => value.clone(),
            (InputType::Number, Value::Int(whole)) => Value::Number(*whole as f64),
            (InputType::Number, _) => return Err(wrong("a number")),
            (InputType::Boolean, Value::Bool(_)) => value.clone(),
            (InputType::Boolean, _) => return Err(wrong("`true` or `false`")),
            (InputType::Duration, Value::Duration(_)) => value.clone(),
            (InputType::Duration, Value::Text(text)) => {
                Value::Duration(text.parse::<Span>().map_err(|error| error.to_string())?)
            }
            (InputType::Duration, _) => return Err(wrong("a duration like `90s`")),
            (InputType::Bytes, Value::Bytes(_)) => value.clone(),
            (InputType::Bytes, Value::Text(text)) => {
                Value::Bytes(text.parse::<Bytes>().map_err(|error| error.to_string())?)
            }
            (InputType::Bytes, _) => return Err(wrong("a size like `100MiB`")),
            (InputType::Timestamp, Value::Time(_)) => value.clone(),
            (InputType::Timestamp, Value::Text(text)) => {
                Value::Time(text.parse::<Time>().map_err(|error| error.to_string())?)
            }
            (InputType::Timestamp, _) => return Err(wrong("a time with its offset")),
            (InputType::Choice(of), Value::Text(text)) => {
                let names: Vec<&str> = of.iter().map(String::as_str).collect();
                if !names.contains(&&**text) {
                    let near = crate::diagnostic::suggest(text, names.iter().copied());
                    let near = near
                        .map(|near| format!("; did you mean `{near}`?"))
                        .unwrap_or_default();
                    return Err(format!("`{text}` is not one of {}{near}", list(&names)));
                }
                value.clone()
            }
            (InputType::Choice(of), _) => {
                return Err(wrong(&format!(
                    "one of {}",
                    list(&of.iter().map(String::as_str).collect::<Vec<_>>())
                )));
            }
            (InputType::List(of), Value::List(items)) => {
                let typed = items.iter().enumerate().map(|(index, item)| {
                    of.accept(item)
                        .map_err(|why| format!("item {}: {why}", index + 1))
                });
                Value::list(typed.collect::<Result<_, _>>()?)
            }
            (InputType::List(_), _) => return Err(wrong("a list")),
            (InputType::Map(of), Value::Map(fields)) => {
                Value::map(check_all(of, fields, "field").map_err(|problems| problems.join("; "))?)
            }
            (InputType::Map(_), _) => return Err(wrong("a map")),
            (InputType::Secret, Value::Secret(_)) => value.clone(),
            (InputType::Secret, _) => {
                return Err(
                    "a secret is given as `env:NAME`, `file:PATH` or `command:...`, never as it is"
                        .to_owned(),
                );
            }
        })
    }

    fn bounded(&self, value: &Value) -> Result<(), String> {
        if let (Some(pattern), Value::Text(text)) = (&self.pattern, value) {
            let whole =
                Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())?;
            if !whole.is_match(text) {
                return Err(format!("`{text}` does not match `{pattern}`"));
            }
        }
        let measured = match value {
            Value::List(items) => Value::Int(items.len() as i64),
            Value::Text(text) => Value::Int(text.chars().count() as i64),
            other => other.clone(),
        };
        let of = match value {
            Value::List(_) => " items",
            Value::Text(_) => " characters",
            _ => "",
        };
        if let Some(min) = &self.min
            && less(&measured, min)
        {
            return Err(format!(
                "{} is below the least allowed, {}{of}",
                value.display(),
                min.display()
            ));
        }
        if let Some(max) = &self.max
            && less(max, &measured)
        {
            return Err(format!(
                "{} is above the most allowed, {}{of}",
                value.display(),
                max.display()
            ));
        }
        Ok(())
    }
}

/// Returns whether `left` is certainly less than `right`.
pub(crate) fn less(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left < right,
        (Value::Bytes(left), Value::Bytes(right)) => left < right,
        (Value::Duration(left), Value::Duration(right)) => left < right,
        (Value::Time(left), Value::Time(right)) => left < right,
        (left, right) => {
            matches!((number(left), number(right)), (Some(left), Some(right)) if left < right)
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(whole) => Some(*whole as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

fn yaml_value(text: &str) -> Result<Value, String> {
    let mut problems = Vec::new();
    let node = crate::yaml::parse(text, &crate::yaml::Limits::default(), &mut problems);
    match (node, problems.first()) {
        (Some(node), None) => Ok(node.to_value()),
        (_, Some(problem)) => Err(problem.message.clone()),
        (None, None) => Err("it is empty".to_owned()),
    }
}

/// Returns what `name` of `connections` stands for: the parts of its URL that may be shown.
pub fn connection(name: &str, url: &Value) -> Value {
    let text = match url {
        Value::Text(text) => text.to_string(),
        Value::Secret(_) => url.display(),
        Value::Unknown(_) | Value::Absent(_) => return url.clone(),
        other => {
            return Value::Absent(Arc::from(format!(
                "the connection `{name}` is a {}, not a URL",
                other.kind()
            )));
        }
    };
    let Some((scheme, rest)) = text.split_once(':') else {
        return Value::Absent(Arc::from(format!("the connection `{name}` is no URL")));
    };
    let rest = rest.trim_start_matches("//");
    let (authority, path) = match scheme {
        "sqlite" => ("", rest),
        _ => rest.split_once('/').unwrap_or((rest, "")),
    };
    let (user, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    let user = percent_decode(user.split(':').next().unwrap_or_default());
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => {
            (host, port.parse::<i64>().ok())
        }
        _ => (address, None),
    };
    let mut fields = Fields::new();
    let mut text_field = |field: &str, value: &str| {
        if !value.is_empty() {
            fields.insert(field.to_owned(), Value::text(value));
        }
    };
    text_field("scheme", scheme);
    text_field("user", &user);
    text_field("host", host);
    match scheme {
        "sqlite" => text_field("database", path),
        _ => text_field(
            "database",
            &percent_decode(path.split(['?', '#']).next().unwrap_or_default()),
        ),
    }
    if let Some(port) = port {
        fields.insert("port".to_owned(), Value::Int(port));
    }
    fields.insert("url".to_owned(), url.clone());
    Value::map(fields)
}
