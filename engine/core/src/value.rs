//! The values of the language: what inputs, results and expressions are made of.
//!
//! Beside the plain ones there are three that only this engine knows: *absent* (a result that was never made),
//! *secret* (a handle; the text itself is known to the driver only) and *unknown* (in a preview: known only after
//! something was really done). Nothing here converts one kind of value into another by itself.

mod de;
mod json;
mod text;

use std::{collections::BTreeMap, sync::Arc};

use self::json::MASK as MASK_TEXT;
pub use self::{de::ArgumentError, json::MASK, text::NoText};
use crate::units::{Bytes, Span, Time};

/// A map of values by name, in the order of the names.
pub type Fields = BTreeMap<String, Value>;

/// A value of the language.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value {
    /// YAML's and JSON's `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction; never NaN or infinite.
    Number(f64),
    /// Text.
    Text(Arc<str>),
    /// A size in bytes.
    Bytes(Bytes),
    /// A span of time.
    Duration(Span),
    /// An instant, with the offset it was written in.
    Time(Time),
    /// A list.
    List(Arc<Vec<Value>>),
    /// A map.
    Map(Arc<Fields>),
    /// Text that holds at least one secret.
    Secret(Secret),
    /// A part that was never made; the text says why.
    Absent(Arc<str>),
    /// In a preview: not known before something is really done; the text says after what.
    Unknown(Arc<str>),
}

/// Text with secrets in it: plain pieces and handles, in order.
///
/// The driver holds the real text of each handle and puts it in just before something acts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    /// The pieces that make the text.
    pub pieces: Arc<Vec<Piece>>,
}

/// A piece of a text that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// Text that everybody may see.
    Plain(String),
    /// The name under which the driver keeps a secret.
    Handle(String),
    /// The name of a secret whose text is percent-encoded where it is put in: a part of a URL.
    Encoded(String),
}

impl Secret {
    /// Returns the secret that `handle` names, alone.
    pub fn handle(handle: impl Into<String>) -> Secret {
        Secret {
            pieces: Arc::new(vec![Piece::Handle(handle.into())]),
        }
    }

    /// Returns the text with each handle replaced by what `reveal` knows; the first unknown handle as the error.
    pub fn reveal(&self, reveal: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut text = String::new();
        for piece in self.pieces.iter() {
            match piece {
                Piece::Plain(plain) => text.push_str(plain),
                Piece::Handle(handle) => {
                    text.push_str(&reveal(handle).ok_or_else(|| handle.clone())?);
                }
                Piece::Encoded(handle) => {
                    let revealed = reveal(handle).ok_or_else(|| handle.clone())?;
                    text.push_str(&percent_encode(&revealed, b""));
                }
            }
        }
        Ok(text)
    }
}

/// Returns `text` with everything but letters, digits, `-._~` and `kept` percent-encoded.
pub fn percent_encode(text: &str, kept: &[u8]) -> String {
    use std::fmt::Write;
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut encoded, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                write!(encoded, "%{byte:02X}").expect("writing to a string can't fail");
            }
            encoded
        })
}

/// Returns `text` with what is percent-encoded decoded; what is no UTF-8 then stays as it is.
pub fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let code = match (byte, tail) {
            (b'%', [high, low, ..]) => char::from(*high)
                .to_digit(16)
                .zip(char::from(*low).to_digit(16)),
            _ => None,
        };
        match code {
            Some((high, low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            None => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

impl Value {
    /// Returns `text` as a value.
    pub fn text(text: impl Into<Arc<str>>) -> Value {
        Value::Text(text.into())
    }

    /// Returns `items` as a list.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Arc::new(items))
    }

    /// Returns `fields` as a map.
    pub fn map(fields: Fields) -> Value {
        Value::Map(Arc::new(fields))
    }

    /// Returns the field `name` of a map.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Map(fields) => fields.get(name),
            _ => None,
        }
    }

    /// Returns the text of a text value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns what kind of value this is, as people call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) => "integer",
            Value::Number(_) => "number",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::Duration(_) => "duration",
            Value::Time(_) => "time",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Secret(_) => "secret",
            Value::Absent(_) => "absent",
            Value::Unknown(_) => "unknown",
        }
    }

    /// Returns the first value that satisfies `is`, this one or one inside it.
    pub fn find(&self, is: &dyn Fn(&Value) -> bool) -> Option<&Value> {
        if is(self) {
            return Some(self);
        }
        match self {
            Value::List(items) => items.iter().find_map(|item| item.find(is)),
            Value::Map(fields) => fields.values().find_map(|field| field.find(is)),
            _ => None,
        }
    }

    /// Returns the same value with every value inside it, and then itself, replaced by `change`.
    pub fn transform(&self, change: &mut dyn FnMut(Value) -> Value) -> Value {
        let value = match self {
            Value::List(items) => {
                Value::list(items.iter().map(|item| item.transform(change)).collect())
            }
            Value::Map(fields) => Value::map(
                fields
                    .iter()
                    .map(|(name, field)| (name.clone(), field.transform(change)))
                    .collect(),
            ),
            other => other.clone(),
        };
        change(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::text(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Bool(flag)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}
