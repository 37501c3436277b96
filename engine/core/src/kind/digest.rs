//! What tells one content from another without holding it.

use std::{fmt::Write, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The mark of a content.
///
/// Its text is the SHA-256 as 64 hex digits; where that could be used to try guesses at a secret it is
/// `keyed:KEY:MARK`, which only the holder of the key can make: the key's name as 16 hex digits, the mark as 64.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub String);

/// What a keyed digest begins with.
const KEYED: &str = "keyed:";

impl Digest {
    /// Returns the plain digest of `bytes`: for what holds no secret.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(hex(&Sha256::digest(bytes)))
    }

    /// Returns the digest that was made with the key called `key`.
    pub fn keyed(key: &str, mark: &[u8]) -> Digest {
        Digest(format!("{KEYED}{key}:{}", hex(mark)))
    }

    /// Returns the name of the key that it was made with; none where it is plain.
    pub fn key(&self) -> Option<&str> {
        let (key, _) = self.0.strip_prefix(KEYED)?.split_once(':')?;
        Some(key)
    }
}

/// Makes the digest of a content that comes in pieces.
pub trait Hasher: Send {
    /// Takes the next piece.
    fn update(&mut self, piece: &[u8]);

    /// Returns the digest of all pieces.
    ///
    /// # Errors
    ///
    /// When it is to be keyed, and the key can't be had.
    fn finish(self: Box<Self>) -> io::Result<Digest>;
}

/// Makes plain digests: for what reaches no journal, or holds no secret.
#[derive(Clone, Debug, Default)]
pub struct PlainHasher(Sha256);

impl PlainHasher {
    /// Returns one that has taken nothing.
    pub fn boxed() -> Box<dyn Hasher> {
        Box::<PlainHasher>::default()
    }
}

impl Hasher for PlainHasher {
    fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    fn finish(self: Box<Self>) -> io::Result<Digest> {
        Ok(Digest(hex(&self.0.finalize())))
    }
}

/// Returns `bytes` as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string can't fail");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyed_digest_names_its_key_and_a_plain_one_none() {
        let keyed = Digest::keyed("00112233aabbccdd", &[0xab; 32]);
        assert_eq!(
            keyed.0,
            format!("keyed:00112233aabbccdd:{}", "ab".repeat(32))
        );
        assert_eq!(keyed.key(), Some("00112233aabbccdd"));
        assert_eq!(Digest::of(b"x").key(), None);
    }

    #[test]
    fn pieces_give_the_digest_of_the_whole() {
        let mut hasher = PlainHasher::boxed();
        hasher.update(b"on");
        hasher.update(b"e");
        assert_eq!(
            hasher.finish().expect("no key is needed"),
            Digest::of(b"one")
        );
    }
}
