//! One request as it goes over the wire.

use std::fmt;

use hyper::{
    HeaderMap, Method,
    body::Bytes,
    header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, PROXY_AUTHORIZATION},
};
use runwright_core::{
    kind::{Class, Failure},
    value::MASK,
};
use url::Url;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// `GET https://example.org/health`.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}

impl Call {
    /// Returns a failure of this request.
    pub(super) fn failure(&self, class: Class, what: impl fmt::Display) -> Failure {
        Failure::new(class, format!("{self}: {what}"))
    }

    /// Returns the host, an IPv6 address without its brackets.
    pub(super) fn host(&self) -> String {
        match self.url.host() {
            Some(url::Host::Domain(name)) => name.to_owned(),
            Some(url::Host::Ipv4(address)) => address.to_string(),
            Some(url::Host::Ipv6(address)) => address.to_string(),
            // A URL of http or https has one; `url` refuses any other.
            None => String::new(),
        }
    }

    /// Returns the port, also where the URL says none.
    pub(super) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// Returns the value of the header `Host`.
    pub(super) fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Returns the headers for people: a line each, with what identifies the caller masked.
    pub(super) fn shown_headers(&self) -> String {
        let lines: Vec<String> = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", shown(name, value)))
            .collect();
        lines.join("\n")
    }
}

fn shown(name: &HeaderName, value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    if !is_credential(name) {
        return text.into_owned();
    }
    match text.split_once(' ') {
        Some((scheme, _)) if *name == AUTHORIZATION => format!("{scheme} {MASK}"),
        _ => MASK.to_owned(),
    }
}

/// Returns whether a header says who asks: not shown, and not taken along to another server.
pub(super) fn is_credential(name: &HeaderName) -> bool {
    let usual = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name);
    usual
        || ["token", "api-key", "apikey", "secret"]
            .iter()
            .any(|part| name.as_str().contains(part))
}

/// Returns `bytes` in base64 (RFC 4648, section 4), for the header of Basic authentication.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0_u32, |bits, (place, byte)| {
            bits | u32::from(*byte) << (16 - 8 * place)
        });
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= group.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10.
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn what_says_who_asks_is_masked() {
        for (name, value, text) in [
            ("authorization", "Bearer abc", "Bearer ***"),
            ("authorization", "abc", "***"),
            ("cookie", "session=abc d", "***"),
            ("x-api-key", "abc", "***"),
            ("accept", "text/plain", "text/plain"),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(shown(&name, &HeaderValue::from_static(value)), text);
        }
    }
}
