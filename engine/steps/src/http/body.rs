//! Makes values of what a server answered, without believing it.

use hyper::HeaderMap;
use runwright_core::value::{Fields, Value};
use serde_json::Value as Json;

/// Returns the headers by name in lower case; several of one name joined by a comma (RFC 9110, section 5.2).
pub(super) fn headers(headers: &HeaderMap) -> Value {
    let mut fields = Fields::new();
    for name in headers.keys() {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        fields.insert(name.as_str().to_owned(), Value::from(values.join(", ")));
    }
    Value::map(fields)
}

/// Returns the text of a body; what is no UTF-8 in it is replaced. The character that a cut went through is left out.
pub(super) fn text(body: &[u8], cut: bool) -> String {
    let whole = match std::str::from_utf8(body) {
        Err(error) if cut && error.error_len().is_none() => &body[..error.valid_up_to()],
        _ => body,
    };
    String::from_utf8_lossy(whole).into_owned()
}

/// Returns the value that a body in JSON is.
pub(super) fn json(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok().as_ref().map(foreign)
}

/// Returns a foreign JSON value as data, whatever its keys are.
///
/// Not [`Value::from_stored`]: that would take `{"$secret": …}` for a handle of one of our secrets, and a server could
/// have them sent to itself.
fn foreign(json: &Json) -> Value {
    match json {
        Json::Array(items) => Value::list(items.iter().map(foreign).collect()),
        Json::Object(map) => Value::map(
            map.iter()
                .map(|(name, field)| (name.clone(), foreign(field)))
                .collect(),
        ),
        plain => Value::from_stored(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_names_a_secret_of_ours() {
        for text in [
            r#"{"$secret": [{"handle": "input token"}]}"#,
            r#"[{"a": {"$absent": "x"}}]"#,
            r#"{"$map": {"$bytes": 1}}"#,
        ] {
            let value = json(text.as_bytes()).expect("JSON");
            // As the result is stored and read back.
            let read = Value::from_stored(&value.to_stored());
            assert_eq!(read, value);
            let odd = |value: &Value| {
                !matches!(
                    value,
                    Value::Map(_) | Value::List(_) | Value::Text(_) | Value::Int(_)
                )
            };
            assert_eq!(read.find(&odd), None, "{text}");
        }
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        let body = "grün".as_bytes();
        assert_eq!(text(&body[..3], true), "gr");
        assert_eq!(text(&body[..3], false), "gr\u{fffd}");
        assert_eq!(text(body, true), "grün");
    }

    #[test]
    fn headers_of_one_name_are_joined() {
        let mut map = HeaderMap::new();
        map.append("via", "a".parse().expect("a value"));
        map.append("via", "b".parse().expect("a value"));
        assert_eq!(headers(&map).get("via"), Some(&Value::from("a, b")));
    }
}
