//! Reads typed arguments out of a value.
//!
//! A field that wants text takes any scalar (`env: {PORT: 8080}`); nothing else is converted.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
    value::{MapDeserializer, StrDeserializer},
};

use super::{Fields, Value};

/// An argument that is not what its kind takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentError {
    /// Where in the arguments, outermost first.
    pub path: Vec<String>,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path.join("."))?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ArgumentError {}

impl de::Error for ArgumentError {
    fn custom<T: fmt::Display>(message: T) -> ArgumentError {
        ArgumentError {
            path: Vec::new(),
            message: message.to_string(),
        }
    }
}

impl ArgumentError {
    fn inside(mut self, name: &str) -> ArgumentError {
        self.path.insert(0, name.to_owned());
        self
    }
}

impl Value {
    /// Returns the typed arguments that this value holds.
    pub fn read<T: de::DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        T::deserialize(self)
    }

    fn unexpected(&self) -> de::Unexpected<'_> {
        match self {
            Value::Null => de::Unexpected::Unit,
            Value::Bool(flag) => de::Unexpected::Bool(*flag),
            Value::Int(number) => de::Unexpected::Signed(*number),
            Value::Number(number) => de::Unexpected::Float(*number),
            Value::Text(text) => de::Unexpected::Str(text),
            Value::List(_) => de::Unexpected::Seq,
            Value::Map(_) => de::Unexpected::Map,
            other => de::Unexpected::Other(other.kind()),
        }
    }

    fn invalid<'de, V: Visitor<'de>>(&self, visitor: &V) -> ArgumentError {
        de::Error::invalid_type(self.unexpected(), visitor)
    }
}

impl<'de> Deserializer<'de> for &'de Value {
    type Error = ArgumentError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Int(number) => visitor.visit_i64(*number),
            Value::Number(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Bytes(bytes) => {
                visitor.visit_map(MapDeserializer::new([("$bytes", bytes.0)].into_iter()))
            }
            Value::Duration(span) => visitor.visit_map(MapDeserializer::new(
                [("$duration", span.to_string())].into_iter(),
            )),
            Value::Time(time) => visitor.visit_map(MapDeserializer::new(
                [("$time", time.to_string())].into_iter(),
            )),
            Value::List(items) => visitor.visit_seq(Items {
                items: items.iter(),
                index: 0,
            }),
            Value::Map(fields) => visitor.visit_map(Entries {
                fields: fields.iter(),
                current: None,
            }),
            Value::Secret(_) | Value::Absent(_) | Value::Unknown(_) => Err(self.invalid(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        match self {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Null | Value::List(_) | Value::Map(_) => Err(self.invalid(&visitor)),
            scalar => visitor.visit_string(scalar.to_text().map_err(de::Error::custom)?),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        match self {
            Value::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        match self {
            Value::Text(text) => visitor.visit_enum(StrDeserializer::<ArgumentError>::new(text)),
            Value::Map(fields) => de::value::MapAccessDeserializer::new(Entries {
                fields: fields.iter(),
                current: None,
            })
            .deserialize_enum(name, variants, visitor),
            _ => Err(self.invalid(&visitor)),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Value>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = ArgumentError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ArgumentError> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        self.index += 1;
        seed.deserialize(item)
            .map(Some)
            .map_err(|error| error.inside(&(self.index - 1).to_string()))
    }
}

struct Entries<'de> {
    fields: std::collections::btree_map::Iter<'de, String, Value>,
    current: Option<(&'de str, &'de Value)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ArgumentError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ArgumentError> {
        let Some((name, field)) = self.fields.next() else {
            return Ok(None);
        };
        self.current = Some((name, field));
        seed.deserialize(name.as_str().into_deserializer())
            .map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, ArgumentError> {
        let (name, field) = self
            .current
            .take()
            .expect("a value is asked for after its key");
        seed.deserialize(field).map_err(|error| error.inside(name))
    }
}

/// Reads a map of arguments from the fields themselves.
impl From<Fields> for Value {
    fn from(fields: Fields) -> Value {
        Value::map(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Bytes, Span};

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Arguments {
        path: String,
        limit: Bytes,
        wait: Option<Span>,
        counts: Vec<u32>,
    }

    #[test]
    fn typed_arguments_come_out_of_a_value() {
        let value: Value = Value::from_stored(&serde_json::json!({
            "path": 5, "limit": {"$bytes": 7}, "wait": "2m", "counts": [1, 2],
        }));
        let arguments: Arguments = value.read().expect("readable");
        assert_eq!((arguments.path.as_str(), arguments.limit), ("5", Bytes(7)));
        assert_eq!(arguments.wait.map(|wait| wait.seconds()), Some(120.0));
    }

    #[test]
    fn an_error_says_where() {
        let value = Value::from_stored(
            &serde_json::json!({"path": "a", "limit": "1KiB", "counts": [1, "x"]}),
        );
        let error = value.read::<Arguments>().expect_err("not a number");
        assert_eq!(
            error.to_string(),
            "`counts.1`: invalid type: string \"x\", expected u32"
        );
    }
}
