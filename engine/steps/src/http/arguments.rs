//! Reads the arguments whose form a schema can't say in full; used when a playbook is loaded and when it runs.

use std::{borrow::Cow, fmt, net::IpAddr, net::SocketAddr};

use hyper::{
    Method,
    header::{HeaderName, HeaderValue},
};
use runwright_core::kind::Effect;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use url::Url;

/// More than one body.
pub(super) const ONE_BODY: &str = "say one of `body`, `json` and `form`";
/// Two answers to whom to trust.
pub(super) const ONE_TRUST: &str = "say `ca_file` or `insecure`, not both";
/// An `insecure` without a reason.
pub(super) const SAY_WHY: &str = "`insecure` is the reason why certificates are not verified";
/// Half of an `auth`, or two.
pub(super) const ONE_AUTH: &str = "say `user` and `password`, or `bearer`";

/// Returns the URL that `text` is; the error says what is wrong with it.
pub(super) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{text}` is neither `http:` nor `https:`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "a URL with a user or password in it ends up in logs; say them in `auth`".into(),
        );
    }
    Ok(url)
}

/// Returns the method that `text` names.
pub(super) fn method(text: &str) -> Result<Method, String> {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let method = Method::from_bytes(text.as_bytes()).ok();
    method
        .filter(|_| plain)
        .ok_or_else(|| format!("`{text}` is no method; write it like `GET` or `POST`"))
}

/// Returns the effect of a request: the methods that RFC 9110 calls safe only read.
pub(super) fn effect_of(method: &str) -> Effect {
    match method {
        "GET" | "HEAD" | "OPTIONS" => Effect::Read,
        _ => Effect::Change,
    }
}

/// Returns the header that `name` and `value` make.
pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{name}` is no name of a header"))?;
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
        format!("the value of `{name}` holds a line break or another control character")
    })?;
    Ok((name, value))
}

/// Where a host is to be looked for in place of what its name resolves to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    pub(super) port: Option<u16>,
}

/// Returns the address that `text` is: `10.0.0.5`, `10.0.0.5:8443`, `::1` or `[::1]:8443`.
pub(super) fn address(text: &str) -> Result<Address, String> {
    if let Ok(ip) = text.parse() {
        return Ok(Address { ip, port: None });
    }
    let both: SocketAddr = text.parse().map_err(|_| {
        format!("`{text}` is no address; write it like `10.0.0.5` or `10.0.0.5:8443`")
    })?;
    Ok(Address {
        ip: both.ip(),
        port: Some(both.port()),
    })
}

/// A status or a range of them: `204`, `"200-299"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Statuses {
    first: u16,
    last: u16,
}

impl Statuses {
    /// What counts as success where nothing is said.
    pub(super) const SUCCESS: Statuses = Statuses {
        first: 200,
        last: 299,
    };

    pub(super) fn holds(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }

    fn new(first: u16, last: u16) -> Option<Statuses> {
        ((100..=599).contains(&first) && (first..=599).contains(&last))
            .then_some(Statuses { first, last })
    }

    fn parse(text: &str) -> Option<Statuses> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Statuses::new(first.trim().parse().ok()?, last.trim().parse().ok()?)
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

struct StatusesVisitor;

impl de::Visitor<'_> for StatusesVisitor {
    type Value = Statuses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status like 204 or a range like \"200-299\"")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Statuses, E> {
        u16::try_from(number)
            .ok()
            .and_then(|status| Statuses::new(status, status))
            .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Statuses, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Statuses, E> {
        Statuses::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Statuses, D::Error> {
        deserializer.deserialize_any(StatusesVisitor)
    }
}

impl JsonSchema for Statuses {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 100, "maximum": 599 },
                { "type": "string", "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$" },
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_one_of_http_without_credentials() {
        for (text, part) in [
            ("example.org/x", "is no URL"),
            ("ftp://example.org", "neither"),
            ("http://me:secret@example.org", "`auth`"),
            ("http://me@example.org", "`auth`"),
        ] {
            let error = url(text).expect_err(text);
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(url("https://example.org:8443/a?b").is_ok());
    }

    #[test]
    fn methods_have_one_spelling() {
        for (text, good) in [
            ("GET", true),
            ("PURGE", true),
            ("get", false),
            ("", false),
            ("A B", false),
        ] {
            assert_eq!(method(text).is_ok(), good, "{text}");
        }
        assert_eq!(effect_of("HEAD"), Effect::Read);
        assert_eq!(effect_of("DELETE"), Effect::Change);
    }

    #[test]
    fn a_header_can_not_break_out_of_its_line() {
        assert!(header("x-a", "1\r\nx-b: 2").is_err());
        assert!(header("x a", "1").is_err());
        assert!(header("X-A", "1").is_ok());
    }

    #[test]
    fn statuses_are_single_or_a_range() {
        for (text, first, last) in [("204", 204, 204), ("200-399", 200, 399)] {
            assert_eq!(Statuses::parse(text), Some(Statuses { first, last }));
        }
        for wrong in ["", "20", "299-200", "2xx", "200-600"] {
            assert_eq!(Statuses::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses_may_have_a_port() {
        assert_eq!(address("::1").map(|a| a.port), Ok(None));
        assert_eq!(address("[::1]:80").map(|a| a.port), Ok(Some(80)));
        assert_eq!(address("127.0.0.1:80").map(|a| a.port), Ok(Some(80)));
        assert!(address("localhost").is_err());
    }
}
