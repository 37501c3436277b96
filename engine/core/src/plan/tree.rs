//! Arguments with templates in them.

use serde::de::DeserializeOwned;

use crate::{
    expression::{Names, Template},
    value::{Fields, Value},
};

/// A value whose texts may be templates.
#[derive(Clone, Debug)]
pub enum Tree {
    /// A value that holds no template.
    Literal(Value),
    /// A text with `{{ }}` in it.
    Template(Template),
    /// A list of such.
    List(Vec<Tree>),
    /// A map of such.
    Map(Vec<(String, Tree)>),
}

/// Arguments that can't be worked out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}{message}")]
pub struct TreeError {
    /// Where in the arguments, ending in `: `, or empty.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl Tree {
    /// Returns the value with every template worked out.
    pub fn render(&self, names: &dyn Names) -> Result<Value, TreeError> {
        match self {
            Tree::Literal(value) => Ok(value.clone()),
            Tree::Template(template) => template.render(names).map_err(|error| TreeError {
                path: String::new(),
                message: error.message,
            }),
            Tree::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    item.render(names)
                        .map_err(|error| error.inside(&index.to_string()))
                })
                .collect::<Result<Vec<_>, _>>()
                .map(Value::list),
            Tree::Map(entries) => entries
                .iter()
                .map(|(name, tree)| {
                    Ok((
                        name.clone(),
                        tree.render(names).map_err(|error| error.inside(name))?,
                    ))
                })
                .collect::<Result<Fields, _>>()
                .map(Value::map),
        }
    }

    /// Returns the typed value that it holds once it is rendered.
    ///
    /// An unknown value is `None`: a preview can't know it yet.
    pub fn read<T: DeserializeOwned>(&self, names: &dyn Names) -> Result<Option<T>, TreeError> {
        let value = self.render(names)?;
        if value
            .find(&|value| matches!(value, Value::Unknown(_)))
            .is_some()
        {
            return Ok(None);
        }
        value.read().map(Some).map_err(|error| TreeError {
            path: String::new(),
            message: error.to_string(),
        })
    }

    /// Returns the value with every template as an unknown: what is certain before anything is known.
    pub fn literal(&self) -> Value {
        match self {
            Tree::Literal(value) => value.clone(),
            Tree::Template(template) => match template.as_literal() {
                Some(text) => Value::text(text),
                None => Value::Unknown("its template is worked out".into()),
            },
            Tree::List(items) => Value::list(items.iter().map(Tree::literal).collect()),
            Tree::Map(entries) => Value::map(
                entries
                    .iter()
                    .map(|(name, tree)| (name.clone(), tree.literal()))
                    .collect(),
            ),
        }
    }

    /// Calls `visit` for every template in it.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'a Template)) {
        match self {
            Tree::Literal(_) => {}
            Tree::Template(template) => visit(template),
            Tree::List(items) => items.iter().for_each(|item| item.visit(visit)),
            Tree::Map(entries) => entries.iter().for_each(|(_, tree)| tree.visit(visit)),
        }
    }
}

impl TreeError {
    fn inside(self, name: &str) -> TreeError {
        let rest = if self.path.is_empty() {
            "`: ".to_owned()
        } else {
            format!(".{}", &self.path[1..])
        };
        TreeError {
            path: format!("`{name}{rest}"),
            message: self.message,
        }
    }
}
