//! Reads `inputs`, and the inputs of an `ask`.

use regex::Regex;

use super::{playbook::optional, reader::Reader};
use crate::{
    plan::{Input, InputType},
    schema::Templates,
    value::Value,
    yaml::Node,
};

impl Reader<'_> {
    /// Reads named inputs, in the order they are written.
    pub(super) fn inputs(&mut self, node: Option<&Node>) -> Vec<Input> {
        let mut read = Vec::new();
        for (key, value) in node.and_then(Node::as_map).unwrap_or_default() {
            let name = key.written();
            self.names.inputs.insert(name.to_owned());
            let Some(input) = self.input(name, value) else {
                continue;
            };
            if input.of == InputType::Secret {
                self.names.secrets.insert(name.to_owned());
            }
            read.push(input);
        }
        read
    }

    /// Reads one input.
    pub(super) fn input(&mut self, name: &str, node: &Node) -> Option<Input> {
        let written = node.get("type")?.as_text()?.to_owned();
        for (key, of) in [("of", "choice"), ("items", "list"), ("fields", "map")] {
            if let Some((place, _)) = node.entry(key)
                && written != of
            {
                self.error(place, format!("`{key}` is for the type `{of}` only"));
            }
        }
        for (key, types) in [
            ("pattern", &["string", "path"][..]),
            ("min", &MEASURED),
            ("max", &MEASURED),
        ] {
            if let Some((place, _)) = node.entry(key)
                && !types.contains(&written.as_str())
            {
                let types = types.join("`, `");
                self.error(place, format!("`{key}` is for the types `{types}` only"));
            }
        }
        let of = self.input_type(&written, name, node)?;
        let mut input = Input {
            help: optional(node, "help").unwrap_or_default(),
            pattern: optional(node, "pattern").filter(|pattern| Regex::new(pattern).is_ok()),
            ..plain(name, of)
        };
        if MEASURED.contains(&written.as_str()) {
            input.min = self.bound(&input, node.get("min"));
            input.max = self.bound(&input, node.get("max"));
        }
        if let (Some(min), Some(max), Some(place)) = (&input.min, &input.max, node.get("max"))
            && crate::plan::less(max, min)
        {
            let message = format!("`max` is less than `min`, which is {}", min.display());
            self.error(place, message);
            return Some(input);
        }
        let Some(default) = node.get("default") else {
            return Some(input);
        };
        if input.of == InputType::Secret {
            self.error_hint(
                default,
                "a secret has no default",
                "give it by a profile as `env:NAME` or `file:PATH`",
            );
            return Some(input);
        }
        match input.accept(&default.to_value()) {
            Ok(value) => input.default = Some(value),
            Err(why) => {
                self.error(default, format!("the default of `{name}`: {why}"));
                // Who writes a wrong default has written one: no call lacks the input.
                input.default = Some(Value::Null);
            }
        }
        Some(input)
    }

    fn input_type(&mut self, written: &str, name: &str, node: &Node) -> Option<InputType> {
        Some(match written {
            "string" => InputType::String,
            "integer" => InputType::Integer,
            "number" => InputType::Number,
            "boolean" => InputType::Boolean,
            "path" => InputType::Path,
            "duration" => InputType::Duration,
            "bytes" => InputType::Bytes,
            "timestamp" => InputType::Timestamp,
            "secret" => InputType::Secret,
            "choice" => {
                let Some(of) = node
                    .get("of")
                    .and_then(Node::as_list)
                    .filter(|of| !of.is_empty())
                else {
                    self.lacks(node, "a `choice` needs `of`", "`of: [prod, test]`");
                    return None;
                };
                let mut names: Vec<String> = Vec::new();
                for item in of {
                    let text = item.as_text().unwrap_or_default();
                    if names.iter().any(|name| name == text) {
                        self.error(item, format!("`{text}` is among the choices twice"));
                    }
                    names.push(text.to_owned());
                }
                InputType::Choice(names)
            }
            "list" => {
                let Some(items) = node.get("items") else {
                    self.lacks(node, "a `list` needs `items`", "`items: string`");
                    return None;
                };
                let item = match items.as_map() {
                    Some(_) => self.items_input(name, items)?,
                    None => plain(name, self.items_type(name, items)?),
                };
                self.refuse_secret(items, &item)?;
                InputType::List(Box::new(item))
            }
            "map" => {
                let Some(fields) = node.get("fields").and_then(Node::as_map) else {
                    let hint = "`fields: {name: {type: string}}`";
                    self.lacks(node, "a `map` needs `fields`", hint);
                    return None;
                };
                let mut read = Vec::new();
                for (key, value) in fields {
                    if let Some(input) = self.input(key.written(), value)
                        && self.refuse_secret(value, &input).is_some()
                    {
                        read.push(input);
                    }
                }
                InputType::Map(read)
            }
            _ => return None,
        })
    }

    /// Reads `items` that is an input of its own; the schema takes anything there, because a name will do.
    fn items_input(&mut self, name: &str, items: &Node) -> Option<Input> {
        let before = self.problems.len();
        let schema = super::schema::input();
        crate::schema::check(items, &schema, Templates::Allowed, &mut self.problems);
        match self.is_wrong(&items.span, before) {
            true => None,
            false => self.input(name, items),
        }
    }

    /// Reads `items` that is the name of a type.
    fn items_type(&mut self, name: &str, items: &Node) -> Option<InputType> {
        let written = items.as_text().unwrap_or_default();
        match written {
            "choice" | "list" | "map" => {
                let hint = format!("`items: {{ type: {written}, … }}`");
                let message = format!("`{written}` needs more than its name here");
                self.error_hint(items, message, hint);
                None
            }
            known if TYPES.contains(&known) => self.input_type(known, name, items),
            _ => {
                let message = match items.as_text() {
                    Some(text) => format!("there is no type `{text}`"),
                    None => format!("expected a type or an input, found {}", items.what()),
                };
                self.error_hint(items, message, super::names::near(written, &TYPES));
                None
            }
        }
    }

    fn refuse_secret(&mut self, place: &Node, input: &Input) -> Option<()> {
        if input.of != InputType::Secret {
            return Some(());
        }
        let hint = "make it an input of its own";
        self.error_hint(place, "a secret can't lie in a list or a map", hint);
        None
    }

    fn lacks(&mut self, node: &Node, message: &str, hint: &str) {
        let place = node.get("type").unwrap_or(node);
        self.error_hint(place, message, hint);
    }

    /// Reads `min` or `max`: a value of the input's own type, or a length.
    fn bound(&mut self, input: &Input, node: Option<&Node>) -> Option<Value> {
        let node = node?;
        let of = match input.of {
            InputType::String | InputType::Path | InputType::List(_) => InputType::Integer,
            ref of => of.clone(),
        };
        match plain(&input.name, of).accept(&node.to_value()) {
            Ok(value) => Some(value),
            Err(why) => {
                self.error(node, format!("the bound of `{}`: {why}", input.name));
                None
            }
        }
    }
}

/// The types whose values have a least and a greatest one, or a length.
const MEASURED: [&str; 8] = [
    "string",
    "path",
    "integer",
    "number",
    "duration",
    "bytes",
    "timestamp",
    "list",
];

/// The types by name.
const TYPES: [&str; 12] = [
    "string",
    "integer",
    "number",
    "boolean",
    "path",
    "duration",
    "bytes",
    "timestamp",
    "choice",
    "list",
    "map",
    "secret",
];

fn plain(name: &str, of: InputType) -> Input {
    Input {
        name: name.to_owned(),
        of,
        help: String::new(),
        default: None,
        pattern: None,
        min: None,
        max: None,
    }
}
