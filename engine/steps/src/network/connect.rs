//! `net.connect`: whether something listens.

use std::{
    io,
    time::{Duration, Instant},
};

use runwright_core::{
    kind::{Cx, Description, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    units::Span,
    value::{ArgumentError, Value},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
    time::timeout_at,
};

use super::dial::{self, NoConnection, Reason};
use crate::cancel::unless_cancelled;

pub(super) const KIND: Kind = Kind::of::<Connect>("net.connect");

/// How much of an answer is kept while `expect` is waited for.
const MOST_RECEIVED: usize = 64 << 10;

/// Connects to a TCP port or a Unix socket and says whether that worked, how fast, and if not why.
///
/// A closed port, an unknown name and a silent one are results, not failures. With `send` or `expect` it also talks:
/// it sends the one and waits for the other. What is sent may change something, so a step with `send` counts as one
/// that changes.
///
/// ```yaml
/// - id: mail
///   title: Is the mail server there
///   net.connect: { host: mail.example.org, port: 25, timeout: 3s, expect: "220 " }
///   expect:
///     - that: result.connected and result.matched
///       else: "no mail server: {{ result.error | default('it greets otherwise') }}"
/// ```
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Connect {
    /// The host: a name or an address (IPv6 without brackets).
    host: Option<String>,
    /// The TCP port.
    port: Option<u16>,
    /// The path of a Unix socket, in place of `host` and `port`.
    unix: Option<String>,
    /// How long resolving, connecting and waiting for `expect` may take in all.
    #[serde(default = "five_seconds")]
    #[schemars(extend("default" = "5s"))]
    timeout: Span,
    /// Text to send once connected; `\r\n` is for you to write.
    send: Option<String>,
    /// Text that must come within what the other side answers.
    expect: Option<String>,
}

fn five_seconds() -> Span {
    Span::from_seconds(5)
}

/// What came of the attempt.
#[derive(Debug, Serialize, JsonSchema)]
struct Connected {
    /// Whether there was a connection.
    connected: bool,
    /// The address that answered, with its port; the path of a Unix socket. Absent when nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// How long it took to be connected, or to know that it can't be; resolving the name included.
    took: Span,
    /// With `expect`: what the other side sent, up to the place where `expect` was found (at most 64KiB).
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<String>,
    /// With `expect`, when connected: whether it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<bool>,
    /// Why there was no connection, or why `expect` did not come; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Step for Connect {
    type Output = Connected;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Change;

    fn effect(arguments: &Value) -> Effect {
        match arguments.get("send") {
            None => Effect::Read,
            Some(_) => Effect::Change,
        }
    }

    fn check(arguments: &Value) -> Vec<ArgumentError> {
        let has = |name| arguments.get(name).is_some();
        let wrong = if has("unix") {
            (has("host") || has("port")).then_some("`unix` takes the place of `host` and `port`")
        } else {
            (!has("host") || !has("port")).then_some("say `host` and `port`, or `unix`")
        };
        wrong
            .map(|message| ArgumentError {
                path: Vec::new(),
                message: message.to_owned(),
            })
            .into_iter()
            .collect()
    }

    fn touches(&self) -> Vec<Touch> {
        let resource = match &self.unix {
            Some(path) => format!("file:{path}"),
            None => format!("port:{}", self.peer()),
        };
        vec![Touch {
            resource,
            changes: self.send.is_some(),
        }]
    }

    fn describe(&self) -> Description {
        let mut description = Description::new(format!(
            "connect to {}, within {}",
            self.peer(),
            self.timeout
        ));
        if let Some(send) = &self.send {
            description = description.with("send", format!("{send:?}"));
        }
        if let Some(expect) = &self.expect {
            description = description.with("expect", format!("{expect:?}"));
        }
        description
    }

    async fn look(&self, cx: &Cx) -> Result<Look<Connected, ()>, Failure> {
        match self.send {
            None => Ok(Look::Done(self.ask(cx).await?)),
            Some(_) => Ok(Look::Unclear),
        }
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, _: Option<&()>) -> Result<Connected, Failure> {
        self.ask(cx).await
    }
}

impl Connect {
    async fn ask(&self, cx: &Cx) -> Result<Connected, Failure> {
        let what = format!("connect to {}", self.peer());
        unless_cancelled(cx, &what, self.attempt(&what)).await?
    }

    async fn attempt(&self, what: &str) -> Result<Connected, Failure> {
        let clock = Clock::start(self.timeout);
        let stopped = match (&self.unix, &self.host, self.port) {
            (Some(path), None, None) => match clock.limit(UnixStream::connect(path)).await {
                Ok(Ok(stream)) => return Ok(self.talk(stream, path.clone(), &clock).await),
                Ok(Err(error)) => Stopped::by(&error),
                Err(timeout) => timeout,
            },
            (None, Some(host), Some(port)) => match dial_in_time(host, port, &clock).await {
                Ok(stream) => {
                    let address = stream.peer_addr().map_or(self.peer(), |a| a.to_string());
                    return Ok(self.talk(stream, address, &clock).await);
                }
                Err(stopped) => stopped,
            },
            _ => {
                return Err(Failure::internal(format!(
                    "{what}: it takes `host` and `port`, or `unix`"
                )));
            }
        };
        let Some(reason) = stopped.reason else {
            let failure = Failure::internal(format!("{what}: {}", stopped.error));
            return Err(failure.hint(
                "this says nothing about the other side: look at the limits and permissions here",
            ));
        };
        Ok(Connected {
            connected: false,
            address: None,
            took: clock.took(),
            received: None,
            matched: None,
            reason: Some(reason),
            error: Some(stopped.error),
        })
    }

    /// Sends `send` and waits for `expect` on a fresh connection.
    async fn talk(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        address: String,
        clock: &Clock,
    ) -> Connected {
        let took = clock.took();
        let mut received = Vec::new();
        let ended = match clock.limit(self.converse(&mut stream, &mut received)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Stopped::by(&error)),
            Err(timeout) => Some(timeout),
        };
        let matched = self.expect.as_ref().map(|_| ended.is_none());
        Connected {
            connected: true,
            address: Some(address),
            took,
            received: matched.map(|_| String::from_utf8_lossy(&received).into_owned()),
            matched,
            reason: ended.as_ref().and_then(|stopped| stopped.reason),
            error: ended.map(|stopped| stopped.error),
        }
    }

    async fn converse(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        received: &mut Vec<u8>,
    ) -> io::Result<()> {
        if let Some(send) = &self.send {
            stream.write_all(send.as_bytes()).await?;
            stream.flush().await?;
        }
        let Some(expect) = self.expect.as_deref().map(str::as_bytes) else {
            return Ok(());
        };
        let mut piece = [0; 4096];
        loop {
            if let Some(place) = find(received, expect) {
                received.truncate(place + expect.len());
                return Ok(());
            }
            if received.len() >= MOST_RECEIVED {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "64KiB came and the expected text was not in it",
                ));
            }
            match stream.read(&mut piece).await? {
                0 => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the other side closed the connection before the expected text came",
                    ));
                }
                count => received.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// Returns who is at the other end, as people write it.
    fn peer(&self) -> String {
        match (&self.unix, &self.host, self.port) {
            (Some(path), ..) => path.clone(),
            (None, Some(host), Some(port)) => format!("{host}:{port}"),
            (None, host, _) => host.clone().unwrap_or_default(),
        }
    }
}

/// Returns where `wanted` begins in `bytes`; an empty text is at the start.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

async fn dial_in_time(
    host: &str,
    port: u16,
    clock: &Clock,
) -> Result<tokio::net::TcpStream, Stopped> {
    let addresses = clock
        .limit(dial::resolve(host, port))
        .await?
        .map_err(|error| Stopped {
            reason: Some(Reason::Unresolved),
            error: format!("`{host}` has no address: {}", dial::plain(&error)),
        })?;
    clock
        .limit(dial::connect(&addresses))
        .await?
        .map_err(|error: NoConnection| Stopped {
            reason: error.reason(),
            error: error.to_string(),
        })
}

/// Why an attempt or a talk came to no good end.
struct Stopped {
    reason: Option<Reason>,
    error: String,
}

impl Stopped {
    fn by(error: &io::Error) -> Stopped {
        Stopped {
            reason: Reason::of(error),
            error: dial::plain(error),
        }
    }
}

/// The time that one attempt has.
struct Clock {
    start: Instant,
    allowed: Duration,
}

impl Clock {
    fn start(allowed: Span) -> Clock {
        Clock {
            start: Instant::now(),
            allowed: allowed.to_std(),
        }
    }

    fn took(&self) -> Span {
        self.start.elapsed().into()
    }

    async fn limit<T>(&self, future: impl Future<Output = T>) -> Result<T, Stopped> {
        timeout_at((self.start + self.allowed).into(), future)
            .await
            .map_err(|_| Stopped {
                reason: Some(Reason::Timeout),
                error: format!("no answer within {}", Span::from(self.allowed)),
            })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{SocketAddr, TcpListener},
        os::unix::net::UnixListener,
        thread,
    };

    use runwright_core::kind::{Class, Looked};
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::testing::{Bench, kind};

    /// Asks, and returns the answer as plain JSON.
    fn ask(bench: &Bench, arguments: Json) -> Json {
        let (result, undo) = bench
            .run(kind("net.connect"), arguments)
            .expect("an answer");
        assert!(undo.is_none());
        result.to_plain()
    }

    fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    /// A server that greets, reads a line and answers to it; for one connection.
    fn greeter() -> SocketAddr {
        let (listener, address) = listen();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.write_all(b"220 here I am\r\n").expect("a greeting");
            let mut line = [0; 6];
            if stream.read_exact(&mut line).is_ok() && &line == b"PING\r\n" {
                stream.write_all(b"+PO").expect("half an answer");
                stream.flush().expect("a flush");
                stream.write_all(b"NG and more").expect("the rest");
            }
        });
        address
    }

    #[test]
    fn an_open_port_answers_with_its_address() {
        let (_listener, address) = listen();
        let answer = ask(
            &Bench::new(),
            json!({"host": "127.0.0.1", "port": address.port()}),
        );
        assert_eq!(answer["connected"], true);
        assert_eq!(answer["address"], address.to_string());
        assert!(answer["took"].as_f64().expect("a span") < 5.0);
        assert_eq!(answer.get("reason"), None);
    }

    #[test]
    fn a_closed_port_is_a_result() {
        let (listener, address) = listen();
        drop(listener);
        let answer = ask(
            &Bench::new(),
            json!({"host": "127.0.0.1", "port": address.port()}),
        );
        assert_eq!(answer["connected"], false);
        assert_eq!(answer["reason"], "refused");
        assert_eq!(answer["error"], format!("{address}: connection refused"));
        assert_eq!(answer.get("address"), None);
    }

    #[test]
    fn a_name_without_an_address_is_a_result() {
        // A label of more than 63 characters is no name at all, so that no name server is asked.
        let answer = ask(&Bench::new(), json!({"host": "a".repeat(64), "port": 1}));
        assert_eq!(answer["reason"], "unresolved");
        assert!(
            answer["error"]
                .as_str()
                .expect("a text")
                .contains("has no address")
        );
    }

    #[test]
    fn a_server_that_says_nothing_is_a_timeout() {
        let (_listener, address) = listen();
        let answer = ask(
            &Bench::new(),
            json!({"host": "127.0.0.1", "port": address.port(), "timeout": "300ms", "expect": "220"}),
        );
        assert_eq!(answer["connected"], true);
        assert_eq!(answer["matched"], false);
        assert_eq!(answer["reason"], "timeout");
        assert_eq!(answer["error"], "no answer within 300ms");
    }

    #[test]
    fn what_is_expected_is_waited_for_across_pieces() {
        let answer = ask(
            &Bench::new(),
            json!({"host": "127.0.0.1", "port": greeter().port(), "send": "PING\r\n", "expect": "+PONG"}),
        );
        assert_eq!(answer["matched"], true);
        assert_eq!(answer["received"], "220 here I am\r\n+PONG");
    }

    #[test]
    fn a_server_that_hangs_up_is_told_from_a_silent_one() {
        let (listener, address) = listen();
        thread::spawn(move || drop(listener.accept()));
        let answer = ask(
            &Bench::new(),
            json!({"host": "127.0.0.1", "port": address.port(), "expect": "220"}),
        );
        assert_eq!(
            (&answer["matched"], &answer["reason"]),
            (&json!(false), &json!("closed"))
        );
    }

    #[test]
    fn a_unix_socket_answers_and_a_missing_one_says_so() {
        let bench = Bench::new();
        let path = bench.path("app.sock");
        let missing = ask(&bench, json!({"unix": path}));
        assert_eq!(
            (&missing["connected"], &missing["reason"]),
            (&json!(false), &json!("missing"))
        );
        let listener = UnixListener::bind(&path).expect("a socket");
        let there = ask(&bench, json!({"unix": path}));
        assert_eq!(
            (&there["connected"], &there["address"]),
            (&json!(true), &json!(path))
        );
        drop(listener);
        assert_eq!(ask(&bench, json!({"unix": path}))["reason"], "refused");
    }

    #[test]
    fn a_preview_never_sends() {
        let bench = Bench::new();
        let (listener, address) = listen();
        let arguments =
            json!({"host": "127.0.0.1", "port": address.port(), "send": "FLUSHALL\r\n"});
        let looked = bench.look(kind("net.connect"), arguments.clone());
        assert_eq!(looked, Ok(Looked::Unclear));
        listener
            .set_nonblocking(true)
            .expect("a non-blocking listener");
        assert!(listener.accept().is_err(), "nobody may have connected");
        let effect =
            |arguments: &Json| (kind("net.connect").effect_of)(&Value::from_stored(arguments));
        assert_eq!(effect(&arguments), Effect::Change);
        assert_eq!(effect(&json!({"host": "a", "port": 1})), Effect::Read);
    }

    #[test]
    fn half_an_address_is_refused_when_loaded_and_when_run() {
        let check = |arguments| (kind("net.connect").check)(&Value::from_stored(&arguments)).len();
        assert_eq!(check(json!({"host": "a"})), 1);
        assert_eq!(check(json!({"unix": "/a", "port": 1})), 1);
        assert_eq!(check(json!({"unix": "/a"})), 0);
        let failure = Bench::new()
            .run(kind("net.connect"), json!({"host": "a"}))
            .expect_err("no port");
        assert_eq!(failure.class, Class::Internal);
    }

    #[test]
    fn a_cancelled_step_ends_while_it_waits() {
        let bench = Bench::new();
        let (listener, address) = listen();
        let failure = thread::scope(|scope| {
            // The connection stays open in the thread's result until the scope ends.
            let _client = scope.spawn(|| {
                let client = listener.accept();
                bench.cancel();
                client
            });
            bench
                .run(
                    kind("net.connect"),
                    json!({"host": "127.0.0.1", "port": address.port(), "expect": "x", "timeout": "1h"}),
                )
                .expect_err("cancelled")
        });
        assert_eq!(failure.class, Class::Cancelled);
    }
}
