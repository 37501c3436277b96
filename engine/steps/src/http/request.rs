//! `http.request`: one request, and what came back.

use std::{collections::BTreeMap, time::Instant};

use camino::Utf8PathBuf;
use hyper::{
    HeaderMap,
    body::Bytes as Body,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT},
};
use runwright_core::{
    kind::{Class, Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    units::{Bytes, Span},
    value::{ArgumentError, Value},
};
use schemars::JsonSchema;
use serde::Deserialize;
use url::form_urlencoded;

use super::{
    arguments::{self, ONE_AUTH, ONE_BODY, ONE_TRUST, SAY_WHY, Statuses},
    call::{Call, base64},
    check,
    exchange::{Answer, Terms},
    redirect,
    response::{self, Response},
    tls::Trust,
};
use crate::cancel::unless_cancelled;

pub(super) const KIND: Kind = Kind::of::<Request>("http.request");

/// How many redirects are followed at most, whatever the playbook says.
const MOST_REDIRECTS: u32 = 20;

/// Sends an HTTP request and returns the answer.
///
/// `GET`, `HEAD` and `OPTIONS` only read, all other methods change something (a step's `effect` can say otherwise). It
/// fails with class `transport` when nobody answers, `timeout` when that takes too long, and `expect` when the status
/// is not among `statuses`.
///
/// The connection is a new one, HTTP/1.1, without a proxy. Redirects keep method and body as browsers do (301 and 302
/// turn `POST` into `GET`, 303 all but `HEAD`), take no credentials to another server, and never lead from `https:` to
/// `http:`. A certificate is always verified, unless `insecure` says why not.
///
/// ```yaml
/// - id: health
///   title: Is the API healthy
///   http.request:
///     url: https://api.example.org/health
///     query: { verbose: 1 }
///     auth: { bearer: "{{ api_token }}" }
///     timeout: 5s
///   expect:
///     - that: result.json.status == "ok"
///       else: "the API says {{ result.body }}"
///     - that: result.timing.total < duration("500ms")
///       else: "it took {{ result.timing.total }}"
///       severity: warning
/// ```
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The URL, `http:` or `https:`, without user and password. What a template inserts into it is encoded, so that it
    /// stays in its part of the URL; only at the very begin it is taken as it is.
    #[schemars(extend("x-url" = true))]
    url: String,
    /// The method, in capitals.
    #[serde(default = "get")]
    method: String,
    /// Parameters to add to the URL; they are encoded.
    #[serde(default)]
    query: BTreeMap<String, String>,
    /// Headers to send.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The body, as it is.
    body: Option<String>,
    /// The body, as JSON; sizes are sent in bytes, durations in seconds.
    #[serde(default)]
    #[schemars(with = "serde_json::Value")]
    json: Option<Value>,
    /// The body, as the fields of a form.
    form: Option<BTreeMap<String, String>>,
    /// Who asks.
    auth: Option<Auth>,
    /// The statuses that are no failure: `204`, `"200-299"`.
    #[serde(default = "success")]
    #[schemars(extend("default" = ["200-299"]))]
    statuses: Vec<Statuses>,
    /// How long all of it may take, redirects included. (The step's own `timeout` counts as well, which is 30 s for
    /// what reads.)
    #[serde(default = "half_a_minute")]
    #[schemars(extend("default" = "30s"))]
    timeout: Span,
    /// How many redirects to follow; with 0 a redirect is an answer like any other.
    #[serde(default = "five")]
    #[schemars(range(max = MOST_REDIRECTS))]
    redirects: u32,
    /// A file with the CAs to trust, in PEM, in place of the machine's.
    #[schemars(with = "Option<String>")]
    ca_file: Option<Utf8PathBuf>,
    /// Why any certificate is accepted. Without it, certificates are verified.
    insecure: Option<String>,
    /// How much of the answer's body to keep; the rest is not read.
    #[serde(default = "a_page")]
    #[schemars(extend("default" = "256KiB"))]
    max_body: Bytes,
    /// Addresses by host, used in place of what the name resolves to: `10.0.0.5` or `10.0.0.5:8443`.
    #[serde(default)]
    resolve: BTreeMap<String, String>,
}

/// Who asks: `user` and `password`, or `bearer`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Auth {
    /// The user, for Basic authentication.
    user: Option<String>,
    /// The password of `user`.
    password: Option<String>,
    /// A token, for Bearer authentication.
    bearer: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

fn success() -> Vec<Statuses> {
    vec![Statuses::SUCCESS]
}

fn half_a_minute() -> Span {
    Span::from_seconds(30)
}

fn five() -> u32 {
    5
}

fn a_page() -> Bytes {
    Bytes(256 << 10)
}

impl Step for Request {
    type Output = Response;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Change;

    fn effect(arguments: &Value) -> Effect {
        match arguments.get("method") {
            None => Effect::Read,
            Some(Value::Text(method)) => arguments::effect_of(method),
            Some(_) => Effect::Change,
        }
    }

    fn check(arguments: &Value) -> Vec<ArgumentError> {
        check::check(arguments)
    }

    fn touches(&self) -> Vec<Touch> {
        let origin = match arguments::url(&self.url) {
            Ok(url) => url.origin().ascii_serialization(),
            Err(_) => self.url.clone(),
        };
        vec![Touch {
            resource: format!("url:{origin}"),
            changes: self.effect_now() > Effect::Read,
        }]
    }

    fn describe(&self) -> Description {
        let Ok(call) = self.call() else {
            return Description::new(format!("{} {}", self.method, self.url));
        };
        let mut description =
            Description::new(call.to_string()).with("headers", call.shown_headers());
        if !call.body.is_empty() {
            description = description.with_content("body", String::from_utf8_lossy(&call.body));
        }
        for (host, address) in &self.resolve {
            description = description.with("resolve", format!("{host} is at {address}"));
        }
        if let Some(why) = &self.insecure {
            description =
                description.with("insecure", format!("any certificate is accepted: {why}"));
        }
        description
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Response, ()>, Failure> {
        match self.effect_now() {
            Effect::Read => Ok(Look::Done(self.send(cx).await?)),
            Effect::Change | Effect::Destroy => Ok(Look::Unclear),
        }
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, _: Option<&()>) -> Result<Response, Failure> {
        self.send(cx).await
    }
}

impl Request {
    fn effect_now(&self) -> Effect {
        arguments::effect_of(&self.method)
    }

    async fn send(&self, cx: &Cx) -> Result<Response, Failure> {
        let call = self
            .call()
            .map_err(|wrong| Failure::internal(format!("make a request: {wrong}")))?;
        let terms = self
            .terms(cx)
            .map_err(|wrong| call.failure(Class::Internal, wrong))?;
        let asking = redirect::follow(call.clone(), self.redirects.min(MOST_REDIRECTS), &terms);
        let (last, answer) = unless_cancelled(cx, &call.to_string(), asking).await??;
        let total = terms.start.elapsed();
        if !self
            .statuses
            .iter()
            .any(|statuses| statuses.holds(answer.status.as_u16()))
        {
            return Err(self.unwanted(&last, &answer));
        }
        Ok(Response::new(&last, &answer, total))
    }

    /// Returns the request as it goes out; the error says which argument is wrong.
    fn call(&self) -> Result<Call, String> {
        let mut url = arguments::url(&self.url)?;
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        // What follows the `#` is for browsers.
        url.set_fragment(None);
        let mut headers = HeaderMap::new();
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("runwright/", env!("CARGO_PKG_VERSION"))),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let (body, content) = self.encoded_body()?;
        if let Some(content) = content {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
        }
        for (name, value) in &self.headers {
            let (name, value) = arguments::header(name, value)?;
            headers.insert(name, value);
        }
        if let Some(auth) = &self.auth {
            let (name, value) = arguments::header(AUTHORIZATION.as_str(), &auth.header()?)?;
            if headers.insert(name, value).is_some() {
                return Err("`auth` and the header `authorization` are both there".into());
            }
        }
        Ok(Call {
            method: arguments::method(&self.method)?,
            url,
            headers,
            body,
        })
    }

    fn encoded_body(&self) -> Result<(Body, Option<&'static str>), String> {
        Ok(match (&self.body, &self.json, &self.form) {
            (None, None, None) => (Body::new(), None),
            (Some(text), None, None) => (text.clone().into(), Some("text/plain; charset=utf-8")),
            (None, Some(json), None) => {
                (json.to_plain().to_string().into(), Some("application/json"))
            }
            (None, None, Some(form)) => {
                let form = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(form)
                    .finish();
                (form.into(), Some("application/x-www-form-urlencoded"))
            }
            _ => return Err(ONE_BODY.into()),
        })
    }

    fn terms(&self, cx: &Cx) -> Result<Terms, String> {
        let trust = match (&self.ca_file, &self.insecure) {
            (None, None) => Trust::Machine,
            (Some(path), None) => Trust::File(cx.children.cwd.join(path)),
            (None, Some(why)) if !why.trim().is_empty() => Trust::Anybody,
            (None, Some(_)) => return Err(SAY_WHY.into()),
            (Some(_), Some(_)) => return Err(ONE_TRUST.into()),
        };
        let addresses = self
            .resolve
            .iter()
            .map(|(host, address)| Ok((host.to_lowercase(), arguments::address(address)?)))
            .collect::<Result<_, String>>()?;
        Ok(Terms {
            trust,
            addresses,
            max_body: self.max_body.0,
            start: Instant::now(),
            allowed: self.timeout.to_std(),
        })
    }

    fn unwanted(&self, call: &Call, answer: &Answer) -> Failure {
        let wanted: Vec<String> = self.statuses.iter().map(Statuses::to_string).collect();
        let mut text = format!("answered {}, not {}", answer.status, wanted.join(" or "));
        let body = response::text(&answer.body, answer.cut);
        if let Some(line) = body.lines().map(str::trim).find(|line| !line.is_empty()) {
            let short: String = line.chars().take(200).collect();
            text = format!("{text}: {short}");
        }
        let failure = call.failure(Class::Expect, text);
        match answer.status.as_u16() {
            401 | 403 => failure.hint("`auth` says who asks"),
            407 => {
                failure.hint("something on the way wants to be a proxy, and proxies are not used")
            }
            _ => failure,
        }
    }
}

impl Auth {
    /// Returns the value of the header `Authorization`.
    fn header(&self) -> Result<String, String> {
        match (&self.user, &self.password, &self.bearer) {
            // RFC 7617: the first colon ends the user.
            (Some(user), ..) if user.contains(':') => Err("a `user` can't hold a colon".into()),
            (Some(user), Some(password), None) => Ok(format!(
                "Basic {}",
                base64(format!("{user}:{password}").as_bytes())
            )),
            (None, None, Some(token)) => Ok(format!("Bearer {token}")),
            _ => Err(ONE_AUTH.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use runwright_core::kind::Looked;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{
        http::testing::{Server, answer, ask, fail},
        testing::{Bench, kind},
    };

    fn effect(arguments: &Json) -> Effect {
        (kind("http.request").effect_of)(&Value::from_stored(arguments))
    }

    #[test]
    fn an_answer_has_status_headers_body_json_and_timing() {
        let server = Server::answering([
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Two: a\r\nX-Two: b\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}",
        ]);
        let result = ask(
            &Bench::new(),
            json!({"url": server.url("/health?x=1#part"), "query": {"q": "a&b =ü"}}),
        )
        .expect("an answer");
        assert_eq!(result["status"], 200);
        assert_eq!(result["headers"]["content-type"], "application/json");
        assert_eq!(result["headers"]["x-two"], "a, b");
        assert_eq!(result["body"], "{\"status\":\"ok\"}");
        assert_eq!(
            (&result["cut"], &result["bytes"]),
            (&json!(false), &json!(15))
        );
        assert_eq!(result["json"]["status"], "ok");
        assert_eq!(result["url"], server.url("/health?x=1&q=a%26b+%3D%C3%BC"));
        let timing = &result["timing"];
        assert!(timing["total"].as_f64() >= timing["connect"].as_f64());
        // An address is not looked up, and there was no TLS.
        assert_eq!((timing.get("dns"), timing.get("tls")), (None, None));
        let request = server.request(0);
        assert!(
            request.starts_with("GET /health?x=1&q=a%26b+%3D%C3%BC HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.contains(&format!("\r\nhost: {}\r\n", server.address)),
            "{request}"
        );
        assert!(request.contains("\r\nuser-agent: runwright/"), "{request}");
    }

    #[test]
    fn an_unwanted_status_fails_with_the_first_line_of_the_body() {
        let server = Server::answering([
            &answer("503 Service Unavailable", "\n  database is gone \nmore\n"),
            &answer("503 Service Unavailable", ""),
            &answer("404 Not Found", "nothing"),
        ]);
        let url = server.url("/");
        let failure = fail(json!({"url": url}));
        assert_eq!(failure.class, Class::Expect);
        assert_eq!(
            failure.message,
            format!("GET {url}: answered 503 Service Unavailable, not 200-299: database is gone")
        );
        let failure = fail(json!({"url": url, "statuses": [200, "301-302"]}));
        assert_eq!(
            failure.message,
            format!("GET {url}: answered 503 Service Unavailable, not 200 or 301-302")
        );
        let result = ask(
            &Bench::new(),
            json!({"url": url, "statuses": [200, "400-404"]}),
        );
        assert_eq!(result.expect("404 is wanted")["status"], 404);
    }

    #[test]
    fn a_request_carries_what_it_is_told_to() {
        let server = Server::answering([
            &answer("201 Created", "1"),
            &answer("200 OK", "[]"),
            &answer("200 OK", "x"),
        ]);
        let bench = Bench::new();
        let url = server.url("/things");
        let post = json!({
            "url": url, "method": "POST", "json": {"name": "a", "size": {"$bytes": 1024}},
            "headers": {"X-Id": 5}, "auth": {"user": "aladdin", "password": "open sesame"},
        });
        let result = ask(&bench, post).expect("an answer");
        assert_eq!(
            (&result["status"], &result["json"]),
            (&json!(201), &json!(1))
        );
        let request = server.request(0);
        assert!(
            request.starts_with("POST /things HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.ends_with("\r\n\r\n{\"name\":\"a\",\"size\":1024}"),
            "{request}"
        );
        for header in [
            "content-type: application/json",
            "x-id: 5",
            "content-length: 24",
            // RFC 7617, section 2.
            "authorization: Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ] {
            assert!(
                request.contains(&format!("\r\n{header}\r\n")),
                "{header} in {request}"
            );
        }
        ask(
            &bench,
            json!({"url": url, "method": "PUT", "form": {"a b": "c&d"}, "auth": {"bearer": "t0"}}),
        )
        .expect("an answer");
        let request = server.request(1);
        assert!(request.ends_with("\r\n\r\na+b=c%26d"), "{request}");
        assert!(
            request.contains("\r\nauthorization: Bearer t0\r\n"),
            "{request}"
        );
        ask(&bench, json!({"url": url, "method": "PATCH", "body": "as it is", "headers": {"content-type": "text/x"}})).expect("an answer");
        let request = server.request(2);
        assert!(
            request.contains("\r\ncontent-type: text/x\r\n") && request.ends_with("as it is"),
            "{request}"
        );
    }

    #[test]
    fn a_cancelled_request_ends_while_it_waits() {
        let bench = Bench::new();
        let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/", silent.local_addr().expect("an address"));
        let failure = thread::scope(|scope| {
            // The connection stays open in the thread's result until the scope ends.
            let _client = scope.spawn(|| {
                let client = silent.accept();
                bench.cancel();
                client
            });
            ask(&bench, json!({"url": url, "timeout": "1h"})).expect_err("cancelled")
        });
        assert_eq!(failure.class, Class::Cancelled);
    }

    #[test]
    fn a_preview_sends_only_what_reads() {
        let server = Server::answering([&answer("200 OK", "read")]);
        let bench = Bench::new();
        for method in ["POST", "PUT", "DELETE", "PURGE"] {
            let arguments = json!({"url": server.url("/"), "method": method});
            assert_eq!(
                bench.look(kind("http.request"), arguments.clone()),
                Ok(Looked::Unclear)
            );
            assert_eq!(effect(&arguments), Effect::Change);
        }
        assert_eq!(
            effect(&json!({"url": "x", "method": {"$unknown": "a step"}})),
            Effect::Change
        );
        let read = json!({"url": server.url("/")});
        assert_eq!(effect(&read), Effect::Read);
        assert!(matches!(
            bench.look(kind("http.request"), read),
            Ok(Looked::Done(_))
        ));
        // The four before it never came.
        assert!(server.request(0).starts_with("GET "));
    }

    #[test]
    fn a_description_shows_all_but_the_credentials() {
        let description = Bench::new().describe(
            kind("http.request"),
            json!({
                "url": "https://api.test/x", "method": "POST", "query": {"a": 1}, "json": {"b": [true]},
                "headers": {"X-Api-Key": "k3y", "X-Trace": "1"}, "auth": {"bearer": "t0ken"}, "insecure": "old box",
            }),
        );
        assert_eq!(description.summary, "POST https://api.test/x?a=1");
        let text = format!("{:?} {:?}", description.details, description.contents);
        for shown in [
            "Bearer ***",
            "x-api-key: ***",
            "x-trace: 1",
            "{\\\"b\\\":[true]}",
            "old box",
        ] {
            assert!(text.contains(shown), "{shown} in {text}");
        }
        assert!(!text.contains("k3y") && !text.contains("t0ken"), "{text}");
    }
}
