//! Signatures on heads: Ed25519 over a text that names the run, the place in it and the hash there.
//!
//! The text is four lines, each with its line end; anybody can write it and check it with OpenSSL:
//!
//! ```text
//! runwright head 1
//! <the run's id>
//! <the event's seq, in decimal>
//! <the event's hash, 64 hex digits in lower case>
//! ```
//!
//! ```sh
//! openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in TEXT -sigfile SIGNATURE
//! ```
//!
//! A key is known by its fingerprint: the first 32 hex digits of the SHA-256 of its public half in DER
//! (`openssl pkey -pubin -in KEY.pub -outform DER | sha256sum`).

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
};

use camino::{Utf8Path, Utf8PathBuf};
use ed25519_dalek::{
    Signature, Signer, SigningKey, VerifyingKey,
    pkcs8::{
        DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
        spki::der::pem::LineEnding,
    },
};
use nix::unistd::Uid;
use runwright_core::kind::Digest;
use rustix::fs::OFlags;

use crate::{
    home::{create_file, sync_folder},
    journal::EventHash,
};

/// A key that signs. Its secret is wiped when it is dropped, and never shown.
pub struct SignKey {
    key: SigningKey,
}

/// The public half of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
}

/// What signing gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Who vouches.
    pub key: PublicKey,
    /// The 64 bytes.
    pub signature: [u8; 64],
}

/// The largest key file that is read.
const LARGEST: u64 = 16 << 10;

impl SignKey {
    /// Makes a key and writes it to `path`, 0600, and its public half to `path` with `.pub` at its end.
    ///
    /// # Errors
    ///
    /// Fails when one of the files is there already, or can't be written.
    pub fn make(path: &Utf8Path) -> Result<SignKey, KeyError> {
        let mut seed = [0; 32];
        let mut filled = 0;
        while filled < seed.len() {
            let flags = rustix::rand::GetRandomFlags::empty();
            match rustix::rand::getrandom(&mut seed[filled..], flags) {
                Ok(more) => filled += more,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed("make", path)(error.into())),
            }
        }
        let key = SigningKey::from_bytes(&seed);
        // Without the public half, which makes it a version that OpenSSL does not read.
        let pair = KeypairBytes {
            secret_key: seed,
            public_key: None,
        };
        let pem = pair.to_pkcs8_pem(LineEnding::LF);
        let pem = pem.map_err(|_| failed("make", path)(io::ErrorKind::Other.into()))?;
        let made = SignKey { key };
        let public = public_path(path);
        if public.exists() {
            return Err(failed("create", &public)(
                io::ErrorKind::AlreadyExists.into(),
            ));
        }
        write_new(path, &pem)?;
        write_new(&public, &made.public().to_pem())?;
        Ok(made)
    }

    /// Reads the key at `path`.
    ///
    /// # Errors
    ///
    /// Refuses a file that others can read or write, or that somebody else owns, and what is no Ed25519 key.
    pub fn read(path: &Utf8Path) -> Result<SignKey, KeyError> {
        let file = open(path)?;
        let metadata = file.metadata().map_err(failed("look at", path))?;
        let owner = metadata.uid();
        if metadata.mode() & 0o077 != 0 || (owner != Uid::effective().as_raw() && owner != 0) {
            return Err(KeyError::Exposed {
                path: path.to_owned(),
                mode: metadata.mode() & 0o7777,
                owner,
            });
        }
        let key = SigningKey::from_pkcs8_pem(&text(file, path)?);
        key.map(|key| SignKey { key }).map_err(|_| KeyError::NoKey {
            path: path.to_owned(),
            what: "private Ed25519 key (PKCS#8, PEM)",
        })
    }

    /// Returns the public half.
    pub fn public(&self) -> PublicKey {
        PublicKey {
            key: self.key.verifying_key(),
        }
    }

    /// Signs that the event `seq` of `run` has the hash `head`.
    pub fn sign(&self, run: &str, seq: u64, head: &EventHash) -> Signed {
        Signed {
            key: self.public(),
            signature: self.key.sign(message(run, seq, head).as_bytes()).to_bytes(),
        }
    }
}

impl PublicKey {
    /// Reads the public key at `path`.
    ///
    /// # Errors
    ///
    /// When it can't be read, or is no Ed25519 key.
    pub fn read(path: &Utf8Path) -> Result<PublicKey, KeyError> {
        let key = VerifyingKey::from_public_key_pem(&text(open(path)?, path)?);
        key.map(|key| PublicKey { key })
            .map_err(|_| KeyError::NoKey {
                path: path.to_owned(),
                what: "public Ed25519 key (PEM)",
            })
    }

    /// Returns the key with these bytes, where there is one.
    pub fn of(bytes: &[u8]) -> Option<PublicKey> {
        let key = VerifyingKey::from_bytes(bytes.try_into().ok()?).ok()?;
        Some(PublicKey { key })
    }

    /// Returns its 32 bytes.
    pub fn bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Returns it as PEM.
    pub fn to_pem(&self) -> String {
        self.key
            .to_public_key_pem(LineEnding::LF)
            .expect("the size of a key is known")
    }

    /// Returns what people compare: 32 hex digits.
    pub fn fingerprint(&self) -> String {
        let der = self.key.to_public_key_der();
        let der = der.expect("the size of a key is known");
        let mut digest = Digest::of(der.as_bytes()).0;
        digest.truncate(32);
        digest
    }

    /// Returns whether `signature` says that the event `seq` of `run` has the hash `head`.
    pub fn vouches(&self, run: &str, seq: u64, head: &EventHash, signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| {
            let message = message(run, seq, head);
            self.key
                .verify_strict(message.as_bytes(), &signature)
                .is_ok()
        })
    }
}

impl fmt::Debug for SignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignKey({})", self.public().fingerprint())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Others can read it, or it is somebody else's: whoever can read it can sign.
    #[error("use the key `{path}`: its mode is {mode:04o} and its owner has the uid {owner}")]
    Exposed {
        /// The file.
        path: Utf8PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: u32,
    },
    /// It is something else.
    #[error("read the key `{path}`: it is no {what}")]
    NoKey {
        /// The file.
        path: Utf8PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// The system refused.
    #[error("{action} the key `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: Utf8PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl KeyError {
    /// Returns what the reader can do about it.
    pub fn hint(&self) -> String {
        match self {
            KeyError::Exposed { path, .. } => {
                format!(
                    "it must be yours alone: `chmod 600 '{path}'`; if others read it, make a new one"
                )
            }
            KeyError::NoKey { .. } => "`runwright audit keygen` makes one".to_owned(),
            KeyError::Io { path, source, .. } => match source.kind() {
                io::ErrorKind::NotFound => {
                    format!("`runwright audit keygen --out '{path}'` makes one")
                }
                io::ErrorKind::AlreadyExists => {
                    "a key is never written over: give another name, or move it away".to_owned()
                }
                _ => format!("look at the owner and the mode of `{path}`"),
            },
        }
    }
}

/// Returns what is signed.
fn message(run: &str, seq: u64, head: &EventHash) -> String {
    format!("runwright head 1\n{run}\n{seq}\n{head}\n")
}

/// Returns where the public half of the key at `path` lies.
pub fn public_path(path: &Utf8Path) -> Utf8PathBuf {
    format!("{path}.pub").into()
}

fn write_new(path: &Utf8Path, text: &str) -> Result<(), KeyError> {
    let written = create_file(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(failed("create", path))?;
    let folder = path.parent().filter(|folder| !folder.as_str().is_empty());
    sync_folder(folder.unwrap_or(".".into())).map_err(failed("create", path))
}

fn open(path: &Utf8Path) -> Result<File, KeyError> {
    // Opening a pipe would wait for its writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path);
    file.map_err(failed("open", path))
}

fn text(file: File, path: &Utf8Path) -> Result<String, KeyError> {
    let mut text = String::new();
    let read = file.take(LARGEST).read_to_string(&mut text);
    read.map_err(failed("read", path))?;
    Ok(text)
}

fn failed(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, process::Command};

    use super::*;
    use crate::testing::{Sandbox, mode};

    const HEAD: EventHash = EventHash([7; 32]);
    const RUN: &str = "abc123def456";

    #[test]
    fn a_key_signs_one_place_of_one_run_and_is_read_back() {
        let sandbox = Sandbox::new();
        let path = sandbox.path("key.pem");
        let made = SignKey::make(&path).expect("a key");
        assert_eq!((mode(&path), mode(&public_path(&path))), (0o600, 0o600));
        let read = SignKey::read(&path).expect("it is read back");
        let public = PublicKey::read(&public_path(&path)).expect("the public half");
        assert_eq!(read.public(), public);
        let Signed { key, signature } = made.sign(RUN, 3, &HEAD);
        assert_eq!(PublicKey::of(&key.bytes()), Some(public));
        assert!(public.vouches(RUN, 3, &HEAD, &signature));
        assert!(!public.vouches(RUN, 4, &HEAD, &signature));
        assert!(!public.vouches("abc123def457", 3, &HEAD, &signature));
        assert!(!public.vouches(RUN, 3, &EventHash([8; 32]), &signature));
        assert!(!public.vouches(RUN, 3, &HEAD, &signature[..63]));
        let other = SignKey::make(&sandbox.path("other.pem")).expect("a key");
        assert!(!other.public().vouches(RUN, 3, &HEAD, &signature));
        let debug = format!("{made:?}");
        assert_eq!(debug, format!("SignKey({})", public.fingerprint()));
        let error = SignKey::make(&path).expect_err("it is there");
        assert!(error.hint().contains("never written over"), "{error}");
    }

    #[test]
    fn openssl_reads_our_keys_and_checks_our_signatures_and_we_read_its_keys() {
        let sandbox = Sandbox::new();
        let openssl = |arguments: &str| {
            let output = Command::new("openssl")
                .args(arguments.split(' '))
                .current_dir(sandbox.path(""))
                .output()
                .expect("openssl is missing: apt-get install -y --no-install-recommends openssl");
            assert!(output.status.success(), "{arguments}: {output:?}");
            output.stdout
        };
        let ours = SignKey::make(&sandbox.path("ours.pem")).expect("a key");
        let public = openssl("pkey -in ours.pem -pubout");
        assert_eq!(String::from_utf8_lossy(&public), ours.public().to_pem());
        let der = openssl("pkey -pubin -in ours.pem.pub -outform DER");
        assert_eq!(Digest::of(&der).0[..32], ours.public().fingerprint());
        let signed = ours.sign(RUN, 3, &HEAD);
        let text = format!("runwright head 1\n{RUN}\n3\n{}\n", "07".repeat(32));
        fs::write(sandbox.path("text"), text).expect("a file");
        fs::write(sandbox.path("signature"), signed.signature).expect("a file");
        openssl("pkeyutl -verify -pubin -inkey ours.pem.pub -rawin -in text -sigfile signature");

        openssl("genpkey -algorithm ed25519 -out theirs.pem");
        let path = sandbox.path("theirs.pem");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        SignKey::read(&path).expect("a key of OpenSSL");
    }

    #[test]
    fn a_key_that_others_can_read_and_what_is_no_key_are_refused() {
        let sandbox = Sandbox::new();
        let path = sandbox.path("key.pem");
        let error = SignKey::read(&path).expect_err("it is missing");
        assert!(error.hint().contains("keygen"), "{error}");
        SignKey::make(&path).expect("a key");
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            let error = SignKey::read(&path).expect_err("others can use it");
            assert!(matches!(error, KeyError::Exposed { .. }), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n").expect("a file");
        let error = SignKey::read(&path).expect_err("it is broken");
        assert!(matches!(error, KeyError::NoKey { .. }), "{error}");
        let error = PublicKey::read(&path).expect_err("it is broken");
        assert!(matches!(error, KeyError::NoKey { .. }), "{error}");
    }
}
