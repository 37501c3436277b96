//! Values as people write them.

use super::{MASK_TEXT, Piece, Value};

/// A value that has no text form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoText {
    /// A list, a map or null put into a text.
    #[error("a {kind} can't be put into a text{}", hint(kind))]
    Kind {
        /// What it is.
        kind: &'static str,
    },
    /// Something that was never made.
    #[error("{0}")]
    Absent(String),
}

fn hint(kind: &str) -> &'static str {
    match kind {
        "list" => " (`| join(\", \")` or `| json` makes one of it)",
        "map" => " (`| json` makes one of it)",
        _ => "",
    }
}

impl Value {
    /// Returns the text that a template inserts for a plain value.
    ///
    /// Secrets and unknowns have none of their own: the template keeps them as values.
    pub fn to_text(&self) -> Result<String, NoText> {
        Ok(match self {
            Value::Bool(flag) => flag.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text.to_string(),
            Value::Bytes(bytes) => bytes.to_string(),
            Value::Duration(span) => span.to_string(),
            Value::Time(time) => time.to_string(),
            Value::Absent(why) => return Err(NoText::Absent(why.to_string())),
            other => return Err(NoText::Kind { kind: other.kind() }),
        })
    }

    /// Returns the value for people to read: always something, secrets masked, never an error.
    pub fn display(&self) -> String {
        match self {
            Value::Null => "null".to_owned(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(items) => format!(
                "[{}]",
                items
                    .iter()
                    .map(Value::display)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Value::Map(fields) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(name, field)| format!("{name}: {}", field.display()))
                    .collect();
                format!("{{{}}}", fields.join(", "))
            }
            Value::Secret(secret) => secret
                .pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Plain(plain) => plain.as_str(),
                    Piece::Handle(_) | Piece::Encoded(_) => MASK_TEXT,
                })
                .collect(),
            Value::Absent(why) => format!("absent ({why})"),
            Value::Unknown(after) => format!("known after {after}"),
            other => other.to_text().expect("every other kind has a text"),
        }
    }
}
