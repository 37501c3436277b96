//! Values as JSON, in two forms.
//!
//! *Stored* JSON (events, undo data) keeps every kind: what JSON has no type for is an object with one `$` key
//! (`{"$bytes": 1024}`, `{"$duration": "1h 30m"}`, `{"$time": "…"}`, `{"$secret": […]}`, `{"$absent": "…"}`,
//! `{"$unknown": "…"}`); a map that has a key with a leading `$` is wrapped as `{"$map": {…}}`.
//! *Plain* JSON (outputs, for programs) has sizes as bytes, spans as seconds and times as RFC 3339.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json, json};

use super::{Fields, Piece, Secret, Value};
use crate::units::{Bytes, Span, Time};

/// What stands for a secret wherever people or programs can read it.
pub const MASK: &str = "***";

impl Value {
    /// Returns the value as stored JSON.
    pub fn to_stored(&self) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Bool(flag) => json!(flag),
            Value::Int(number) => json!(number),
            Value::Number(number) => json!(number),
            Value::Text(text) => json!(&**text),
            Value::Bytes(bytes) => json!({ "$bytes": bytes.0 }),
            Value::Duration(span) => json!({ "$duration": span.to_string() }),
            Value::Time(time) => json!({ "$time": time.to_string() }),
            Value::List(items) => items.iter().map(Value::to_stored).collect(),
            Value::Map(fields) => {
                let map: Map<String, Json> = fields
                    .iter()
                    .map(|(name, field)| (name.clone(), field.to_stored()))
                    .collect();
                if fields.keys().any(|name| name.starts_with('$')) {
                    json!({ "$map": map })
                } else {
                    Json::Object(map)
                }
            }
            Value::Secret(secret) => {
                let pieces: Vec<Json> = secret
                    .pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Plain(plain) => json!(plain),
                        Piece::Handle(handle) => json!({ "handle": handle }),
                        Piece::Encoded(handle) => json!({ "encoded": handle }),
                    })
                    .collect();
                json!({ "$secret": pieces })
            }
            Value::Absent(why) => json!({ "$absent": &**why }),
            Value::Unknown(after) => json!({ "$unknown": &**after }),
        }
    }

    /// Returns the value that stored (or any other) JSON means.
    pub fn from_stored(json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Value::Int(whole),
                None => Value::Number(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Value::text(text.as_str()),
            Json::Array(items) => Value::list(items.iter().map(Value::from_stored).collect()),
            Json::Object(map) => from_tagged(map).unwrap_or_else(|| from_map(map)),
        }
    }

    /// Returns the value as plain JSON for programs; secrets are masked, what is absent or unknown is `null`.
    pub fn to_plain(&self) -> Json {
        match self {
            Value::Bytes(bytes) => json!(bytes.0),
            Value::Duration(span) => json!(span.seconds()),
            Value::Time(time) => json!(time.to_string()),
            Value::List(items) => items.iter().map(Value::to_plain).collect(),
            Value::Map(fields) => Json::Object(
                fields
                    .iter()
                    .map(|(name, field)| (name.clone(), field.to_plain()))
                    .collect(),
            ),
            Value::Secret(_) => json!(MASK),
            Value::Absent(_) | Value::Unknown(_) => Json::Null,
            plain => plain.to_stored(),
        }
    }
}

fn from_map(map: &Map<String, Json>) -> Value {
    Value::map(
        map.iter()
            .map(|(name, field)| (name.clone(), Value::from_stored(field)))
            .collect::<Fields>(),
    )
}

fn from_tagged(map: &Map<String, Json>) -> Option<Value> {
    let (tag, inner) = match map.len() {
        1 => map.iter().next()?,
        _ => return None,
    };
    Some(match tag.as_str() {
        "$bytes" => Value::Bytes(Bytes(inner.as_u64()?)),
        "$duration" => Value::Duration(inner.as_str()?.parse::<Span>().ok()?),
        "$time" => Value::Time(inner.as_str()?.parse::<Time>().ok()?),
        "$secret" => Value::Secret(Secret {
            pieces: std::sync::Arc::new(
                inner
                    .as_array()?
                    .iter()
                    .map(|piece| match piece {
                        Json::String(plain) => Some(Piece::Plain(plain.clone())),
                        other => match (other.get("handle"), other.get("encoded")) {
                            (Some(handle), _) => Some(Piece::Handle(handle.as_str()?.to_owned())),
                            (None, encoded) => Some(Piece::Encoded(encoded?.as_str()?.to_owned())),
                        },
                    })
                    .collect::<Option<Vec<_>>>()?,
            ),
        }),
        "$absent" => Value::Absent(inner.as_str()?.into()),
        "$unknown" => Value::Unknown(inner.as_str()?.into()),
        "$map" => from_map(inner.as_object()?),
        _ => return None,
    })
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_stored().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        Json::deserialize(deserializer).map(|json| Value::from_stored(&json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_json_keeps_every_kind() {
        let value = Value::map(Fields::from([
            ("size".into(), Value::Bytes(Bytes(1 << 40))),
            (
                "span".into(),
                Value::Duration("90s".parse().expect("a span")),
            ),
            (
                "at".into(),
                Value::Time("2026-11-20T10:00:00+08:00".parse().expect("a time")),
            ),
            (
                "secret".into(),
                Value::Secret(Secret::handle("input token")),
            ),
            ("gone".into(), Value::Absent("step `x` was skipped".into())),
            ("later".into(), Value::Unknown("x".into())),
            (
                "odd".into(),
                Value::map(Fields::from([("$bytes".into(), Value::text("not a size"))])),
            ),
            (
                "list".into(),
                Value::list(vec![
                    Value::Null,
                    Value::Bool(true),
                    Value::Int(-3),
                    Value::Number(0.5),
                ]),
            ),
        ]));
        assert_eq!(Value::from_stored(&value.to_stored()), value);
    }
}
