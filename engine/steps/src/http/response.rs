//! Makes the result of what a server answered, without believing it.

use std::{collections::BTreeMap, time::Duration};

use hyper::HeaderMap;
use runwright_core::{
    units::{Bytes, Span},
    value::{Fields, Value},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;

use super::{call::Call, exchange::Answer};

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Response {
    /// The status.
    status: u16,
    /// The headers, by name in lower case; several of one name are joined by a comma.
    #[schemars(with = "BTreeMap<String, String>")]
    headers: Value,
    /// The body as text; what is no UTF-8 in it is replaced.
    body: String,
    /// Whether `body` is only the beginning, because of `max_body`.
    cut: bool,
    /// The body as a value; absent when it is no JSON, or cut.
    #[schemars(with = "serde_json::Value")]
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    /// The body's size. For `HEAD` and for a body that was cut as the server announces it, else absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Bytes>,
    /// The URL that answered, after redirects.
    url: String,
    /// How long each phase took.
    timing: Timing,
}

/// How long each phase of the last request took, to the millisecond.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Timing {
    /// Looking up the name; absent for an address, and for a host in `resolve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Span>,
    /// Opening the connection.
    connect: Span,
    /// The TLS handshake; absent without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Span>,
    /// From sending the request until the head of the answer was there.
    first_byte: Span,
    /// All of it, with redirects and the body.
    total: Span,
}

impl Response {
    /// Returns the result of `call`, which was answered by `answer` and took `total` in all.
    pub(super) fn new(call: &Call, answer: &Answer, total: Duration) -> Response {
        let whole = !answer.cut && call.method != hyper::Method::HEAD;
        let size = if whole {
            Some(answer.body.len() as u64)
        } else {
            answer.announced
        };
        Response {
            status: answer.status.as_u16(),
            headers: headers(&answer.headers),
            body: text(&answer.body, answer.cut),
            cut: answer.cut,
            json: if answer.cut { None } else { json(&answer.body) },
            bytes: size.map(Bytes),
            url: call.url.to_string(),
            timing: Timing {
                dns: answer.phases.dns.map(Span::from),
                connect: answer.phases.connect.into(),
                tls: answer.phases.tls.map(Span::from),
                first_byte: answer.phases.first_byte.into(),
                total: total.into(),
            },
        }
    }
}

/// Returns the headers by name in lower case; several of one name joined by a comma (RFC 9110, section 5.2).
fn headers(headers: &HeaderMap) -> Value {
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
fn json(body: &[u8]) -> Option<Value> {
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
