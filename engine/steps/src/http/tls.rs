//! Whom a request trusts: the machine's CAs, one given CA, or anybody.

use std::{
    fs, io,
    sync::{Arc, OnceLock},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::kind::Failure;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// Whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The CAs that the machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` count).
    Machine,
    /// The CAs in this file, and no others.
    File(Utf8PathBuf),
    /// Whoever answers.
    Anybody,
}

impl Trust {
    /// Returns the settings for a connection. Those for `Machine` are made once: reading a hundred CAs takes longer
    /// than most requests.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, Failure> {
        static MACHINE: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        if let (Trust::Machine, Some(config)) = (self, MACHINE.get()) {
            return Ok(config.clone());
        }
        let trust = self.clone();
        let config = tokio::task::spawn_blocking(move || trust.make())
            .await
            .map_err(|error| Failure::internal("read the CA certificates").because(&error))??;
        match self {
            Trust::Machine => Ok(MACHINE.get_or_init(|| config).clone()),
            Trust::File(_) | Trust::Anybody => Ok(config),
        }
    }

    fn make(&self) -> Result<Arc<ClientConfig>, Failure> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::internal("set up TLS").because(&error))?;
        let mut config = match self {
            Trust::Machine => builder.with_root_certificates(machine_roots()?),
            Trust::File(path) => builder.with_root_certificates(roots_of(path)?),
            Trust::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(NoQuestions(provider))),
        }
        .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn machine_roots() -> Result<RootCertStore, Failure> {
    let found = rustls_native_certs::load_native_certs();
    let mut errors = found.errors.into_iter();
    store(found.certs).ok_or_else(|| {
        let failure = Failure::internal("find the CA certificates of this machine")
            .hint("install them (`apt install ca-certificates`), or name one in `ca_file`");
        match errors.next() {
            Some(error) => failure.because(&error),
            None => failure,
        }
    })
}

fn roots_of(path: &Utf8Path) -> Result<RootCertStore, Failure> {
    let fail = || Failure::internal(format!("read the CA certificates in `{path}`"));
    let text = fs::read(path).map_err(|error| fail().because(&error))?;
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| fail().because(&error))?;
    store(certificates).ok_or_else(|| {
        fail().hint("the file must hold a certificate in PEM (`-----BEGIN CERTIFICATE-----`)")
    })
}

/// Certificates that can't be read are passed over, as browsers do; it counts that any is left.
fn store(certificates: Vec<CertificateDer<'static>>) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    (added > 0).then_some(roots)
}

/// Returns in words why a handshake failed, and what to do about it.
pub(super) fn explain(error: &io::Error) -> (&'static str, Option<&'static str>) {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsError>());
    let Some(tls) = tls else {
        return (
            "the server broke off the TLS handshake",
            Some("does it speak TLS on this port?"),
        );
    };
    match tls {
        TlsError::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                "the server's certificate has expired",
                Some("renew it, or check this machine's clock"),
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                "the server's certificate is not valid yet",
                Some("check this machine's clock"),
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                (
                    "the server's certificate is for another name",
                    Some(
                        "ask by a name that is in the certificate; `resolve` says where that name is",
                    ),
                )
            }
            CertificateError::UnknownIssuer => (
                "the server's certificate is signed by nobody who is trusted here",
                Some(
                    "name its CA in `ca_file`; an intermediate certificate may also be missing at the server",
                ),
            ),
            _ => ("the server's certificate is not valid", None),
        },
        TlsError::InvalidMessage(_) => (
            "what answered does not speak TLS",
            Some("is this port for plain `http:`?"),
        ),
        TlsError::AlertReceived(_) => ("the server refused the TLS handshake", None),
        _ => ("the TLS handshake failed", None),
    }
}

/// Accepts every certificate; the playbook says why.
#[derive(Debug)]
struct NoQuestions(Arc<CryptoProvider>);

impl ServerCertVerifier for NoQuestions {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use runwright_core::kind::Class;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{
        http::testing::{Certificates, Server, answer, ask, fail},
        testing::Bench,
    };

    #[test]
    fn a_file_without_a_certificate_says_so() {
        let bench = Bench::new();
        let path = bench.path("ca.pem");
        let missing = Trust::File(path.clone())
            .make()
            .expect_err("it is not there");
        assert_eq!(
            missing.message,
            format!("read the CA certificates in `{path}`")
        );
        assert!(missing.causes[0].contains("No such file"), "{missing:?}");
        fs::write(&path, "no certificate").expect("a file");
        let empty = Trust::File(path).make().expect_err("nothing in it");
        assert!(empty.hint.is_some_and(|hint| hint.contains("PEM")));
    }

    #[test]
    fn no_certificate_is_no_store() {
        assert!(store(Vec::new()).is_none());
        assert!(store(vec![CertificateDer::from(vec![1, 2, 3])]).is_none());
    }

    #[test]
    fn a_certificate_is_verified_unless_the_playbook_says_why_not() {
        let bench = Bench::new();
        let certificates = Certificates::make(&bench);
        let server = Server::with_tls(&certificates, "secure");
        let port = server.address.port();
        let url = format!("https://app.test:{port}/");
        let ask = |more: Json| {
            let mut arguments = json!({"url": url, "resolve": {"App.test": "127.0.0.1"}});
            let fields = arguments.as_object_mut().expect("a map");
            fields.extend(more.as_object().expect("a map").clone());
            ask(&bench, arguments)
        };
        let trusted = ask(json!({"ca_file": certificates.ca})).expect("an answer");
        assert_eq!(trusted["body"], "secure");
        assert!(trusted["timing"]["tls"].as_f64().is_some());
        assert_eq!(trusted["timing"].get("dns"), None);
        assert_eq!(
            ask(json!({"insecure": "a test"})).expect("an answer")["body"],
            "secure"
        );

        for (more, message, hint) in [
            (json!({}), "signed by nobody who is trusted here", "ca_file"),
            (
                json!({"url": format!("https://127.0.0.1:{port}/"), "ca_file": certificates.ca}),
                "is for another name",
                "resolve",
            ),
        ] {
            let failure = ask(more).expect_err("not to be trusted");
            assert_eq!(failure.class, Class::Transport);
            assert!(failure.message.contains(message), "{failure:?}");
            assert!(
                failure
                    .hint
                    .as_ref()
                    .is_some_and(|text| text.contains(hint)),
                "{failure:?}"
            );
            assert!(!failure.causes.is_empty());
        }
        let expired = Server::with_tls(&certificates.expired(&bench), "secure");
        let failure = ask(json!({"url": format!("https://app.test:{}/", expired.address.port()), "ca_file": certificates.ca})).expect_err("expired");
        assert!(
            failure
                .message
                .ends_with("the server's certificate has expired"),
            "{failure:?}"
        );
    }

    #[test]
    fn tls_to_a_port_without_it_says_so() {
        let bench = Bench::new();
        let certificates = Certificates::make(&bench);
        let plain = Server::start(|mut client| client.send(&answer("400 Bad Request", "")));
        let failure =
            fail(json!({"url": format!("https://{}/", plain.address), "ca_file": certificates.ca}));
        assert_eq!(failure.class, Class::Transport);
        assert!(
            failure
                .message
                .ends_with("what answered does not speak TLS"),
            "{failure:?}"
        );
    }
}
