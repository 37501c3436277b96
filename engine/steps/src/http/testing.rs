//! Servers on loopback that answer, and fail, as they are told.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::kind::Failure;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::Value as Json;

use crate::testing::{Bench, kind};

/// Makes a request and returns its result as plain JSON.
pub(super) fn ask(bench: &Bench, arguments: Json) -> Result<Json, Failure> {
    let (result, undo) = bench.run(kind("http.request"), arguments)?;
    assert!(undo.is_none());
    Ok(result.to_plain())
}

/// Makes a request that fails.
pub(super) fn fail(arguments: Json) -> Failure {
    ask(&Bench::new(), arguments).expect_err("a failure")
}

/// A whole answer with `body`.
pub(super) fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A server on a port of its own; it serves until the test ends.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    requests: Requests,
}

type Requests = Arc<(Mutex<Vec<String>>, Condvar)>;

impl Server {
    /// Starts a server that does `serve` with each client.
    pub(super) fn start(serve: impl Fn(Client) + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let requests = Requests::default();
        let seen = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(Client {
                    stream,
                    seen: seen.clone(),
                });
            }
        });
        Server { address, requests }
    }

    /// Starts a server that gives one of `answers` to each client, in order, the last one also to all others.
    pub(super) fn answering<const N: usize>(answers: [&str; N]) -> Server {
        let answers = answers.map(str::to_owned);
        let served = Mutex::new(0);
        Server::start(move |mut client| {
            client.request();
            let mut served = served.lock().expect("no test thread panicked");
            client.send(&answers[(*served).min(N - 1)]);
            *served += 1;
        })
    }

    /// Starts a server that speaks TLS and answers `body`.
    pub(super) fn with_tls(certificates: &Certificates, body: &str) -> Server {
        let config = Arc::new(certificates.server_config());
        let body = body.to_owned();
        Server::start(move |client| {
            let connection = ServerConnection::new(config.clone()).expect("a connection");
            let mut stream = StreamOwned::new(connection, client.stream);
            // A client that does not trust us goes away.
            if read_request(&mut stream).is_some() {
                let _ = stream.write_all(answer("200 OK", &body).as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the request that came as number `place`, head and body.
    pub(super) fn request(&self, place: usize) -> String {
        let requests = self.requests.0.lock().expect("no test thread panicked");
        let (requests, waited) = self
            .requests
            .1
            .wait_timeout_while(requests, Duration::from_secs(10), |requests| {
                requests.len() <= place
            })
            .expect("no test thread panicked");
        assert!(!waited.timed_out(), "request {place} never came");
        requests[place].clone()
    }
}

/// A client of a [`Server`]; the connection ends when it is dropped.
pub(super) struct Client {
    stream: TcpStream,
    seen: Requests,
}

impl Client {
    /// Reads a whole request and remembers it.
    pub(super) fn request(&mut self) {
        if let Some(request) = read_request(&mut self.stream) {
            self.seen
                .0
                .lock()
                .expect("no test thread panicked")
                .push(request);
            self.seen.1.notify_all();
        }
    }

    pub(super) fn send(&mut self, text: &str) {
        assert!(self.try_send(text.as_bytes()), "the client went away");
    }

    /// Returns whether the client still takes anything.
    pub(super) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Is slow: what a test measures, not what it waits for.
    pub(super) fn pause(&self) {
        thread::sleep(Duration::from_millis(60));
    }

    /// Waits until the client closes the connection.
    pub(super) fn wait_for_end(mut self) {
        let _ = self.stream.read_to_end(&mut Vec::new());
    }

    /// Resets the connection once the request has come: closing it with unread data makes the kernel do that.
    pub(super) fn reset(self) {
        self.stream.peek(&mut [0]).expect("a request");
    }
}

/// Reads head and body of a request; none when the client goes away before.
fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
                return Some(text.into_owned());
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

/// A CA of our own, and a certificate for `app.test` that it signed.
pub(super) struct Certificates {
    pub(super) ca: Utf8PathBuf,
    ca_key: Utf8PathBuf,
    certificate: Utf8PathBuf,
    key: Utf8PathBuf,
}

impl Certificates {
    pub(super) fn make(bench: &Bench) -> Certificates {
        let certificates = Certificates {
            ca: bench.path("ca.pem"),
            ca_key: bench.path("ca.key"),
            certificate: bench.path("app.pem"),
            key: bench.path("app.key"),
        };
        let Certificates {
            ca,
            ca_key,
            certificate,
            key,
        } = &certificates;
        openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test-ca -keyout {ca_key} -out {ca}"
        ));
        openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=app.test -keyout {key} -out {}",
            bench.path("app.csr")
        ));
        sign(bench, &certificates, certificate, "-days 2");
        certificates
    }

    /// Returns the same with a certificate whose time is over.
    pub(super) fn expired(&self, bench: &Bench) -> Certificates {
        let certificate = bench.path("expired.pem");
        sign(bench, self, &certificate, "-days -1");
        Certificates {
            ca: self.ca.clone(),
            ca_key: self.ca_key.clone(),
            certificate,
            key: self.key.clone(),
        }
    }

    fn server_config(&self) -> ServerConfig {
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .expect("a file")
            .collect::<Result<Vec<_>, _>>()
            .expect("certificates");
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("a key");
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate that fits its key")
    }
}

fn sign(bench: &Bench, ca: &Certificates, into: &Utf8Path, days: &str) {
    let extensions = bench.path("app.ext");
    std::fs::write(
        &extensions,
        "subjectAltName=DNS:app.test\nbasicConstraints=CA:FALSE\n",
    )
    .expect("a file");
    openssl(&format!(
        "x509 -req -in {} -CA {} -CAkey {} -CAcreateserial -extfile {extensions} {days} -out {into}",
        bench.path("app.csr"),
        ca.ca,
        ca.ca_key
    ));
}

fn openssl(arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .output()
        .expect("openssl; apt install openssl");
    assert!(
        output.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
