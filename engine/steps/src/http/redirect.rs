//! Follows redirects, as RFC 9110 (section 15.4) and the browsers do.

use hyper::{
    Method, StatusCode,
    body::Bytes,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION},
};
use runwright_core::kind::{Class, Failure};

use super::{
    call::{Call, is_credential},
    exchange::{Answer, Terms, exchange},
};

/// Sends `call` and follows at most `redirects`; with 0 a redirect is an answer like any other.
///
/// Returns the last request with its answer.
pub(super) async fn follow(
    mut call: Call,
    redirects: u32,
    terms: &Terms,
) -> Result<(Call, Answer), Failure> {
    let mut followed = 0;
    loop {
        let answer = exchange(&call, terms).await?;
        let Some(location) = location(&answer).filter(|_| redirects > 0) else {
            return Ok((call, answer));
        };
        if followed == redirects {
            return Err(call
                .failure(Class::Expect, format_args!("redirects to `{location}`, after {followed} others"))
                .hint("are two servers pointing at each other? `redirects` says how many are followed"));
        }
        call = next(&call, answer.status, &location)?;
        followed += 1;
    }
}

/// Returns where `answer` redirects to, as it says it.
fn location(answer: &Answer) -> Option<String> {
    let redirects = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = answer.headers.get(LOCATION).filter(|_| redirects)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

fn next(call: &Call, status: StatusCode, location: &str) -> Result<Call, Failure> {
    let mut url = call
        .url
        .join(location)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| {
            call.failure(
                Class::Expect,
                format_args!("redirects to `{location}`, which is no URL"),
            )
        })?;
    if call.url.scheme() == "https" && url.scheme() == "http" {
        return Err(call
            .failure(Class::Expect, format_args!("redirects to `{url}`, away from TLS"))
            .hint("with `redirects: 0` the redirect itself is the answer (then 3xx must be among `statuses`)"));
    }
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return Err(call.failure(
            Class::Expect,
            format_args!("redirects to `{location}`, which is no URL"),
        ));
    }
    let mut next = Call {
        url,
        ..call.clone()
    };
    next.headers.remove(HOST);
    if next.url.origin() != call.url.origin() {
        let credentials: Vec<_> = next
            .headers
            .keys()
            .filter(|name| is_credential(name))
            .cloned()
            .collect();
        for name in credentials {
            next.headers.remove(name);
        }
    }
    let becomes_get = match status {
        StatusCode::SEE_OTHER => call.method != Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => call.method == Method::POST,
        _ => false,
    };
    if becomes_get {
        next.method = Method::GET;
        next.body = Bytes::new();
        for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING] {
            next.headers.remove(name);
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use hyper::header::AUTHORIZATION;
    use serde_json::json;

    use super::*;
    use crate::{
        http::testing::{Server, answer, ask, fail},
        testing::Bench,
    };

    fn call(method: Method, url: &str) -> Call {
        let mut headers = hyper::HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("content-type", "text/plain"),
            ("x-trace", "1"),
        ] {
            let name = hyper::header::HeaderName::from_static(name);
            headers.insert(name, value.parse().expect("a header"));
        }
        Call {
            method,
            url: url.parse().expect("a URL"),
            headers,
            body: Bytes::from_static(b"body"),
        }
    }

    #[test]
    fn the_method_stays_unless_the_status_says_otherwise() {
        for (method, status, then) in [
            (Method::POST, 301, Method::GET),
            (Method::POST, 302, Method::GET),
            (Method::PUT, 302, Method::PUT),
            (Method::PUT, 303, Method::GET),
            (Method::HEAD, 303, Method::HEAD),
            (Method::POST, 307, Method::POST),
            (Method::POST, 308, Method::POST),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let next =
                next(&call(method.clone(), "http://a.test/x"), status, "/y?z").expect("a way on");
            assert_eq!(
                (next.url.as_str(), &next.method),
                ("http://a.test/y?z", &then),
                "{method} {status}"
            );
            assert_eq!(next.body.is_empty(), then == Method::GET);
        }
    }

    #[test]
    fn credentials_stay_with_their_server() {
        let from = call(Method::GET, "https://a.test/x");
        let same = next(&from, StatusCode::FOUND, "https://a.test/y").expect("a way on");
        assert!(same.headers.contains_key(AUTHORIZATION));
        for other in [
            "https://b.test/y",
            "//b.test/y",
            "https://a.test:8443/y",
            "https://me:pw@b.test/",
        ] {
            let next = next(&from, StatusCode::FOUND, other).expect("a way on");
            assert!(!next.headers.contains_key(AUTHORIZATION), "{other}");
            assert!(next.headers.contains_key("x-trace"), "{other}");
            assert!(!next.url.as_str().contains("pw"), "{other}");
        }
    }

    #[test]
    fn no_redirect_leads_away_from_tls_or_from_http() {
        let from = call(Method::GET, "https://a.test/x");
        let away = next(&from, StatusCode::FOUND, "http://a.test/y").expect_err("without TLS");
        assert!(
            away.message
                .ends_with("redirects to `http://a.test/y`, away from TLS")
        );
        assert!(next(&from, StatusCode::FOUND, "file:///etc/passwd").is_err());
    }

    #[test]
    fn redirects_are_followed_and_counted() {
        let to = |place: &str| {
            format!("HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n")
        };
        let server = Server::answering([&to("/b"), &to("c?d"), &answer("200 OK", "there")]);
        let result = ask(&Bench::new(), json!({"url": server.url("/a")})).expect("an answer");
        assert_eq!(
            (&result["body"], &result["url"]),
            (&json!("there"), &json!(server.url("/c?d")))
        );

        let server = Server::answering([&to("/b"), &to("/c"), &to("/b")]);
        let failure = fail(json!({"url": server.url("/a"), "redirects": 2}));
        assert_eq!(failure.class, Class::Expect);
        assert_eq!(
            failure.message,
            format!(
                "GET {}: redirects to `/b`, after 2 others",
                server.url("/c")
            )
        );

        let server = Server::answering([&to("/b"), &to("/b")]);
        let result = ask(
            &Bench::new(),
            json!({"url": server.url("/a"), "redirects": 0, "statuses": [302]}),
        );
        assert_eq!(result.expect("an answer")["headers"]["location"], "/b");
        assert_eq!(
            fail(json!({"url": server.url("/a"), "redirects": 0})).class,
            Class::Expect
        );
    }
}
