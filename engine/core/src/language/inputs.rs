//! Reads `inputs`, and the inputs of an `ask`.

use super::{playbook::optional, reader::Reader};
use crate::{
    plan::{Input, InputType},
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
        let of = self.input_type(&written, name, node)?;
        for (key, types) in [
            ("of", &["choice"][..]),
            ("items", &["list"]),
            ("fields", &["map"]),
        ] {
            if let Some((place, _)) = node.entry(key)
                && !types.contains(&written.as_str())
            {
                self.error(
                    place,
                    format!("`{key}` is for the type `{}` only", types.join("`, `")),
                );
            }
        }
        let mut input = Input {
            name: name.to_owned(),
            of,
            help: optional(node, "help").unwrap_or_default(),
            default: None,
            pattern: optional(node, "pattern"),
            min: None,
            max: None,
        };
        if let Some(pattern) = node.get("pattern")
            && !matches!(input.of, InputType::String | InputType::Path)
        {
            self.error(
                pattern,
                "`pattern` is for the types `string` and `path` only",
            );
        }
        input.min = self.bound(&input, node.get("min"));
        input.max = self.bound(&input, node.get("max"));
        if let Some(default) = node.get("default") {
            if input.of == InputType::Secret {
                self.error_hint(
                    default,
                    "a secret has no default",
                    "give it by a profile as `env:NAME` or `file:PATH`",
                );
            } else {
                match input.accept(&default.to_value()) {
                    Ok(value) => input.default = Some(value),
                    Err(why) => {
                        self.error(default, format!("the default of `{name}`: {why}"));
                    }
                }
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
                    self.error_hint(
                        node.get("type")?,
                        "a `choice` needs `of`",
                        "`of: [prod, test]`",
                    );
                    return None;
                };
                InputType::Choice(
                    of.iter()
                        .filter_map(Node::as_text)
                        .map(str::to_owned)
                        .collect(),
                )
            }
            "list" => {
                let Some(items) = node.get("items") else {
                    self.error_hint(
                        node.get("type")?,
                        "a `list` needs `items`",
                        "`items: string`",
                    );
                    return None;
                };
                let item = match items.as_map() {
                    Some(_) => self.input(name, items)?,
                    None => {
                        let of = self.input_type(items.as_text()?, name, items).or_else(|| {
                            self.error(items, format!("there is no type `{}`", items.written()));
                            None
                        })?;
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
                };
                InputType::List(Box::new(item))
            }
            "map" => {
                let Some(fields) = node.get("fields").and_then(Node::as_map) else {
                    self.error_hint(
                        node.get("type")?,
                        "a `map` needs `fields`",
                        "`fields: {name: {type: string}}`",
                    );
                    return None;
                };
                let fields = fields
                    .iter()
                    .filter_map(|(key, value)| self.input(key.written(), value))
                    .collect();
                InputType::Map(fields)
            }
            _ => return None,
        })
    }

    /// Reads `min` or `max`: a value of the input's own type, or a length.
    fn bound(&mut self, input: &Input, node: Option<&Node>) -> Option<Value> {
        let node = node?;
        let plain = Input {
            name: input.name.clone(),
            of: match input.of {
                InputType::String | InputType::Path | InputType::List(_) => InputType::Integer,
                ref of => of.clone(),
            },
            help: String::new(),
            default: None,
            pattern: None,
            min: None,
            max: None,
        };
        match plain.accept(&node.to_value()) {
            Ok(value) => Some(value),
            Err(why) => {
                self.error(node, format!("the bound of `{}`: {why}", input.name));
                None
            }
        }
    }
}
