//! Sends one request over a connection of its own and measures each phase.

use std::{
    collections::BTreeMap,
    error::Error,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    client::conn::http1,
    header::HOST,
};
use hyper_util::rt::TokioIo;
use runwright_core::{
    kind::{Class, Failure},
    units::Span,
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::timeout_at,
};
use tokio_rustls::TlsConnector;
use url::Position;

use super::{
    arguments::Address,
    call::Call,
    tls::{self, Trust},
};
use crate::network::dial::{self, Reason};

/// What all requests of a step have in common.
pub(super) struct Terms {
    /// Whom to trust.
    pub(super) trust: Trust,
    /// Where to look for hosts, in place of what their names resolve to.
    pub(super) addresses: BTreeMap<String, Address>,
    /// How much of a body to read.
    pub(super) max_body: u64,
    /// When the step began.
    pub(super) start: Instant,
    /// How much time it has in all.
    pub(super) allowed: Duration,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Whether `body` is only the beginning.
    pub(super) cut: bool,
    /// The size of the body as it was announced, where it was not read whole.
    pub(super) announced: Option<u64>,
    pub(super) phases: Phases,
}

/// How long each phase took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Phases {
    /// Looking up the name; none for an address.
    pub(super) dns: Option<Duration>,
    pub(super) connect: Duration,
    /// None without TLS.
    pub(super) tls: Option<Duration>,
    /// From the request until the head of the answer was there.
    pub(super) first_byte: Duration,
}

/// Sends `call` and reads the answer, of its body at most as much as `terms` say.
pub(super) async fn exchange(call: &Call, terms: &Terms) -> Result<Answer, Failure> {
    let mut phases = Phases::default();
    let addresses = addresses(call, terms, &mut phases).await?;

    let start = Instant::now();
    let peer = call.authority();
    let stream = terms
        .limit(
            call,
            &format!("connecting to `{peer}`"),
            dial::connect(&addresses),
        )
        .await?
        .map_err(|error| {
            let failure = call.failure(Class::Transport, format_args!("no connection ({error})"));
            match error.reason() {
                Some(Reason::Refused) => failure.hint(
                    "nothing listens there: is the service started, and at this address and port?",
                ),
                Some(Reason::Unreachable) => failure
                    .hint("there is no way to that address from here: check routes and firewalls"),
                _ => failure,
            }
        })?;
    phases.connect = start.elapsed();

    if call.url.scheme() != "https" {
        return speak(call, terms, stream, phases).await;
    }
    let config = terms.trust.config().await?;
    let start = Instant::now();
    let name = ServerName::try_from(call.host()).map_err(|error| {
        call.failure(Class::Internal, "the host can't be in a certificate")
            .because(&error)
    })?;
    let handshake = TlsConnector::from(config).connect(name, stream);
    let stream = terms
        .limit(
            call,
            &format!("shaking hands with `{peer}` (TLS)"),
            handshake,
        )
        .await?
        .map_err(|error| {
            let (what, hint) = tls::explain(&error);
            let failure = call.failure(Class::Transport, what).because(&error);
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
    phases.tls = Some(start.elapsed());
    speak(call, terms, stream, phases).await
}

async fn addresses(
    call: &Call,
    terms: &Terms,
    phases: &mut Phases,
) -> Result<Vec<SocketAddr>, Failure> {
    let (host, port) = (call.host(), call.port());
    if let Some(Address { ip, port: other }) = terms.addresses.get(&host) {
        return Ok(vec![SocketAddr::new(*ip, other.unwrap_or(port))]);
    }
    let start = Instant::now();
    let addresses = terms
        .limit(
            call,
            &format!("looking up `{host}`"),
            dial::resolve(&host, port),
        )
        .await?
        .map_err(|error| {
            call.failure(
                Class::Transport,
                format_args!("`{host}` has no address ({})", dial::plain(&error)),
            )
            .hint("check the name; `resolve` gives it an address of your choice")
        })?;
    if matches!(call.url.host(), Some(url::Host::Domain(_))) {
        phases.dns = Some(start.elapsed());
    }
    Ok(addresses)
}

async fn speak(
    call: &Call,
    terms: &Terms,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut phases: Phases,
) -> Result<Answer, Failure> {
    let request = request(call)?;
    let start = Instant::now();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(call, &error, ""))?;
    // Ends the connection when this function ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let sending = async {
        match sender.send_request(request).await {
            // The connection itself knows better why it took no request.
            Err(error) if error.is_canceled() => match driver.join_next().await {
                Some(Ok(Err(truth))) => Err(truth),
                _ => Err(error),
            },
            answered => answered,
        }
    };
    let response = terms
        .limit(call, "waiting for the answer", sending)
        .await?
        .map_err(|error| broken(call, &error, " before it had answered"))?;
    phases.first_byte = start.elapsed();
    read(call, terms, response, phases).await
}

fn request(call: &Call) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = call.url[Position::BeforePath..Position::AfterQuery]
        .parse()
        .map_err(|error: hyper::http::uri::InvalidUri| {
            call.failure(Class::Internal, "the path can't be sent")
                .because(&error)
        })?;
    *request.headers_mut() = call.headers.clone();
    if !call.headers.contains_key(HOST) {
        let host =
            call.authority()
                .parse()
                .map_err(|error: hyper::header::InvalidHeaderValue| {
                    call.failure(Class::Internal, "the host can't be sent")
                        .because(&error)
                })?;
        request.headers_mut().insert(HOST, host);
    }
    Ok(request)
}

async fn read(
    call: &Call,
    terms: &Terms,
    response: Response<Incoming>,
    phases: Phases,
) -> Result<Answer, Failure> {
    let (head, mut incoming) = response.into_parts();
    let announced = match incoming.size_hint().exact() {
        // The answer to HEAD has no body and tells how long it would be.
        Some(0) => head
            .headers
            .get(hyper::header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok()),
        exact => exact,
    };
    let most = usize::try_from(terms.max_body).unwrap_or(usize::MAX);
    let mut body: Vec<u8> = Vec::new();
    let mut cut = false;
    loop {
        let came = body.len();
        let frame = terms
            .limit(
                call,
                &format!("reading the body ({came} bytes came)"),
                incoming.frame(),
            )
            .await?;
        let Some(frame) = frame else { break };
        let frame = frame
            .map_err(|error| broken(call, &error, &format!(" after {came} bytes of the body")))?;
        let data = frame.data_ref().map_or(&[][..], |data| &data[..]);
        let room = most - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            cut = true;
            break;
        }
    }
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
        cut,
        announced,
        phases,
    })
}

/// Returns the failure that `error` of a connection is; `when` says how far it was.
fn broken(call: &Call, error: &hyper::Error, when: &str) -> Failure {
    let inner = source::<hyper::Error>(error).unwrap_or(error);
    // Of all that can happen only a server that speaks before it is asked, as those of SSH and mail do, is an error of
    // no other sort and without a source.
    let spoke_first = inner.source().is_none()
        && !(inner.is_user() || inner.is_incomplete_message())
        && !(inner.is_canceled() || inner.is_closed());
    let no_http = inner.is_parse() || spoke_first;
    let below = source::<io::Error>(error);
    let ended = below.is_some_and(|below| below.kind() == io::ErrorKind::UnexpectedEof);
    let reset = !ended && below.and_then(Reason::of) == Some(Reason::Closed);
    let failure = if no_http {
        call.failure(Class::Transport, "what answered does not speak HTTP")
            .hint("is this the right port, and is it plain `http:`?")
    } else if reset {
        call.failure(
            Class::Transport,
            format_args!("the server reset the connection{when}"),
        )
    } else if ended || inner.is_incomplete_message() || inner.is_canceled() {
        call.failure(
            Class::Transport,
            format_args!("the server closed the connection{when}"),
        )
    } else {
        call.failure(
            Class::Transport,
            format_args!("the connection broke off{when}"),
        )
    };
    failure.because(error)
}

/// Returns the first error of type `E` below `error`.
fn source<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

impl Terms {
    /// Returns what `future` gives within the time that is left; `doing` says what was being done when it ran out.
    async fn limit<T>(
        &self,
        call: &Call,
        doing: &str,
        future: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        timeout_at((self.start + self.allowed).into(), future)
            .await
            .map_err(|_| {
                let allowed = Span::from(self.allowed);
                call.failure(
                    Class::Timeout,
                    format_args!("not done within {allowed}, while {doing}"),
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use serde_json::json;

    use super::*;
    use crate::{
        http::testing::{Server, answer, ask, fail},
        testing::Bench,
    };

    #[test]
    fn a_slow_server_shows_in_the_phase_where_it_is_slow() {
        let server = Server::start(|mut client| {
            client.request();
            client.pause();
            client.send(&answer("200 OK", "slow"));
        });
        let result = ask(&Bench::new(), json!({"url": server.url("/")})).expect("an answer");
        let phase = |name: &str| result["timing"][name].as_f64().expect("a span");
        assert!(phase("first_byte") >= 0.06, "{result}");
        assert!(phase("connect") < phase("first_byte"), "{result}");
    }

    #[test]
    fn a_body_is_read_up_to_its_limit() {
        let long = "x".repeat(5_000);
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n[1, \r\n3\r\n2]\n\r\n0\r\n\r\n";
        let server =
            Server::answering([&answer("200 OK", &long), chunked, &answer("200 OK", &long)]);
        let bench = Bench::new();
        let result =
            ask(&bench, json!({"url": server.url("/"), "max_body": "1000B"})).expect("an answer");
        assert_eq!(
            (&result["cut"], &result["bytes"]),
            (&json!(true), &json!(5_000))
        );
        assert_eq!(result["body"].as_str().map(str::len), Some(1_000));
        let result = ask(&bench, json!({"url": server.url("/")})).expect("an answer");
        assert_eq!(
            (&result["json"], &result["bytes"]),
            (&json!([1, 2]), &json!(7))
        );
        let result =
            ask(&bench, json!({"url": server.url("/"), "max_body": "5000B"})).expect("an answer");
        assert_eq!((&result["cut"], result.get("json")), (&json!(false), None));
    }

    #[test]
    fn an_endless_body_ends_with_its_limit() {
        let server = Server::start(|mut client| {
            client.request();
            client.send("HTTP/1.1 200 OK\r\n\r\n");
            while client.try_send(&[b'x'; 4096]) {}
        });
        let result = ask(
            &Bench::new(),
            json!({"url": server.url("/"), "max_body": "1MiB"}),
        )
        .expect("an answer");
        assert_eq!((&result["cut"], result.get("bytes")), (&json!(true), None));
        assert_eq!(result["body"].as_str().map(str::len), Some(1 << 20));
    }

    #[test]
    fn head_tells_the_size_it_did_not_send() {
        let server = Server::answering(["HTTP/1.1 200 OK\r\ncontent-length: 123\r\n\r\n"]);
        let result = ask(
            &Bench::new(),
            json!({"url": server.url("/"), "method": "HEAD"}),
        )
        .expect("an answer");
        assert_eq!(
            (&result["bytes"], &result["body"]),
            (&json!(123), &json!(""))
        );
    }

    #[test]
    fn each_way_of_not_answering_is_told_apart() {
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("an address")
        };
        let hangs_up = Server::start(|mut client| {
            client.request();
        });
        let resets = Server::start(|client| client.reset());
        let breaks_off = Server::start(|mut client| {
            client.request();
            client.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        });
        let no_http = Server::start(|mut client| {
            client.send("SSH-2.0-OpenSSH_9.2\r\n");
            client.request();
        });
        for (url, message, hinted) in [
            (
                format!("http://{closed}/"),
                format!("no connection ({closed}: connection refused)"),
                true,
            ),
            (
                format!("http://{}/", "a".repeat(64)),
                "has no address".to_owned(),
                true,
            ),
            (
                hangs_up.url("/"),
                "the server closed the connection before it had answered".to_owned(),
                false,
            ),
            (
                resets.url("/"),
                "the server reset the connection before it had answered".to_owned(),
                false,
            ),
            (
                breaks_off.url("/"),
                "the server closed the connection after 4 bytes of the body".to_owned(),
                false,
            ),
            (
                no_http.url("/"),
                "what answered does not speak HTTP".to_owned(),
                true,
            ),
        ] {
            let failure = fail(json!({"url": url}));
            assert_eq!(failure.class, Class::Transport, "{failure:?}");
            assert!(
                failure.message.starts_with(&format!("GET {url}: ")),
                "{failure:?}"
            );
            assert!(
                failure.message.contains(&message),
                "{message} in {failure:?}"
            );
            assert_eq!(failure.hint.is_some(), hinted, "{failure:?}");
        }
    }

    #[test]
    fn a_timeout_says_what_was_waited_for() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/", silent.local_addr().expect("an address"));
        let failure = fail(json!({"url": url, "timeout": "300ms"}));
        assert_eq!(failure.class, Class::Timeout);
        assert_eq!(
            failure.message,
            format!("GET {url}: not done within 300ms, while waiting for the answer")
        );
        let failure = fail(
            json!({"url": url.replace("http:", "https:"), "insecure": "a test", "timeout": "300ms"}),
        );
        assert!(
            failure.message.contains("while shaking hands with"),
            "{failure:?}"
        );
        let stalls = Server::start(|mut client| {
            client.request();
            client.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
            client.wait_for_end();
        });
        let failure = fail(json!({"url": stalls.url("/"), "timeout": "500ms"}));
        assert!(
            failure
                .message
                .ends_with("while reading the body (4 bytes came)"),
            "{failure:?}"
        );
    }
}
