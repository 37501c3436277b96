//! YAML as a tree that knows where everything stands.
//!
//! [`parse`] reads one document by the rules of YAML 1.2's core schema, made stricter where YAML surprises: `no` and
//! `on` are text, so are `0640` and `1_000`, tags of one's own are refused, a key is there once and is text. Anchors,
//! aliases and merge keys are resolved here, within [`Limits`]. What the mappings mean is not known here.

mod decode;
mod entries;
mod place;
mod scalar;
mod syntax;
mod traps;
mod tree;

use std::{ops::Range, sync::Arc};

pub use self::{decode::decode, scalar::Scalar, tree::parse};
use crate::value::Value;

/// A part of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub data: Data,
    /// Where it stands, in bytes of the text: with its quotes or brackets; an alias where the alias stands; nothing
    /// (`a:`) as an empty range; a block scalar without its `|` line and without blank lines at its end.
    pub span: Range<usize>,
    /// Its tag as it was written; only `!!str` is let through.
    pub tag: Option<String>,
    /// The comment that follows a plain scalar on its line: what may have been meant as part of it.
    pub comment_after: Option<Range<usize>>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// A text, number, boolean or nothing; [`Node::scalar`] tells which.
    Scalar {
        /// The text without its quotes, escapes and indentation.
        text: Arc<str>,
        /// How it was written.
        style: Style,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping: keys are scalars and differ; merged entries come last.
    Map(Vec<(Node, Node)>),
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`
    SingleQuoted,
    /// `"…"`
    DoubleQuoted,
    /// `|`
    Literal,
    /// `>`
    Folded,
}

/// How much is read before a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the text, and bytes that aliases may add to it.
    pub text: usize,
    /// Nodes, those that aliases stand for included.
    pub nodes: usize,
    /// Collections inside each other.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            text: 4 << 20,
            nodes: 200_000,
            depth: 64,
        }
    }
}

/// The longest piece of a text that a message shows, in characters.
const SHOWN: usize = 40;

impl Node {
    /// Returns the entries of a mapping, in the order they were written.
    pub fn as_map(&self) -> Option<&[(Node, Node)]> {
        match &self.data {
            Data::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Returns the items of a list.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.data {
            Data::List(items) => Some(items),
            _ => None,
        }
    }

    /// Returns a scalar as text, as it was written: also a number or a boolean (`1.10` stays `1.10`), but not nothing.
    pub fn as_text(&self) -> Option<&str> {
        match self.scalar()? {
            Scalar::Null => None,
            _ => Some(self.written()),
        }
    }

    /// Returns the text of a scalar whatever it means, as a key does; empty for collections.
    pub fn written(&self) -> &str {
        match &self.data {
            Data::Scalar { text, .. } => text,
            _ => "",
        }
    }

    /// Returns how a scalar was written.
    pub fn style(&self) -> Option<Style> {
        match &self.data {
            Data::Scalar { style, .. } => Some(*style),
            _ => None,
        }
    }

    /// Returns what a mapping has under `key`.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Returns the key `key` of a mapping and what it has under it.
    pub fn entry(&self, key: &str) -> Option<&(Node, Node)> {
        self.as_map()?
            .iter()
            .find(|(name, _)| name.written() == key)
    }

    /// Returns whether it is nothing: `null`, `~` or empty.
    pub fn is_null(&self) -> bool {
        self.scalar() == Some(Scalar::Null)
    }

    /// Returns what a scalar means; `None` for collections.
    pub fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.data {
            Data::Scalar { text, style } if *style == Style::Plain && self.tag.is_none() => {
                Some(Scalar::of_plain(text))
            }
            Data::Scalar { text, .. } => Some(Scalar::Text(text)),
            _ => None,
        }
    }

    /// Returns the node as a value of the language; lists and mappings with all that is in them.
    pub fn to_value(&self) -> Value {
        match &self.data {
            Data::List(items) => Value::list(items.iter().map(Node::to_value).collect()),
            Data::Map(entries) => Value::map(
                entries
                    .iter()
                    .map(|(key, value)| (key.written().to_owned(), value.to_value()))
                    .collect(),
            ),
            Data::Scalar { text, .. } => match self.scalar() {
                Some(Scalar::Null) => Value::Null,
                Some(Scalar::Bool(flag)) => Value::Bool(flag),
                Some(Scalar::Int(number)) => Value::Int(number),
                Some(Scalar::Number(number)) => Value::Number(number),
                Some(Scalar::Text(_)) | None => Value::Text(text.clone()),
            },
        }
    }

    /// Returns what it is, for messages: `a list`, `a mapping`, `text "x"`, `number 5`, `boolean true`, `nothing`.
    pub fn what(&self) -> String {
        match self.scalar() {
            None if self.as_list().is_some() => "a list".to_owned(),
            None => "a mapping".to_owned(),
            Some(Scalar::Null) => "nothing".to_owned(),
            Some(Scalar::Bool(flag)) => format!("boolean {flag}"),
            Some(Scalar::Int(_) | Scalar::Number(_)) => format!("number {}", self.written()),
            Some(Scalar::Text(text)) => format!("text {:?}", shorten(text)),
        }
    }
}

/// Returns `text`, cut to what fits in a message.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod tests;
