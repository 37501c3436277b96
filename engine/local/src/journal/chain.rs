//! How events are chained, so that nobody changes, removes, inserts or reorders one unnoticed.
//!
//! The hash of an event is SHA-256 over these fields in this order, each as its length in 8 bytes, big-endian, and its
//! bytes as they are stored:
//!
//! ```text
//! previous   the hash of the event before; of a run's first event: the hash of the first event of the run begun
//!            before it, nothing when there is none
//! run        the run's id
//! seq        8 bytes, big-endian; from 1
//! at         8 bytes, big-endian; milliseconds since 1970
//! kind       the event's kind
//! step       the step's address, nothing when the event is the run's
//! data       the JSON text
//! ```
//!
//! What pruning leaves of a run, its stone, has a hash of its own, over these fields in the same way:
//!
//! ```text
//! stone      the word `stone`
//! run        the run's id
//! first      the hash of its first event
//! last       the hash of its last event: the head
//! events     8 bytes, big-endian; how many there were
//! at         8 bytes, big-endian; when it was pruned, milliseconds since 1970
//! who        who pruned it
//! why        why
//! ```

use std::{borrow::Cow, fmt, str::FromStr};

use runwright_core::kind::hex;
use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use sha2::{Digest, Sha256};

/// The hash of an event. That of a run's last event is the run's head.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventHash(pub [u8; 32]);

/// What an event's hash is over, besides the event before it.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// The run's id.
    pub run: &'a [u8],
    /// Its place in the run, from 1.
    pub seq: i64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// The event's kind.
    pub kind: &'a [u8],
    /// The step's address; empty when the event is the run's.
    pub step: &'a [u8],
    /// The JSON text.
    pub data: &'a [u8],
}

impl Link<'_> {
    /// Returns the hash of this event after `previous`.
    pub fn after(&self, previous: Option<&EventHash>) -> EventHash {
        hash(&[
            previous.map_or(&[], |hash| &hash.0),
            self.run,
            &self.seq.to_be_bytes(),
            &self.at.to_be_bytes(),
            self.kind,
            self.step,
            self.data,
        ])
    }
}

/// What a stone says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoneText {
    /// The run's id.
    pub run: String,
    /// The hash of its first event.
    pub first: EventHash,
    /// The hash of its last event.
    pub last: EventHash,
    /// How many events there were.
    pub events: i64,
    /// When it was pruned: milliseconds since 1970.
    pub at: i64,
    /// Who pruned it.
    pub who: String,
    /// Why.
    pub why: String,
}

impl StoneText {
    /// Returns the hash of the stone.
    pub fn hash(&self) -> EventHash {
        hash(&[
            b"stone",
            self.run.as_bytes(),
            &self.first.0,
            &self.last.0,
            &self.events.to_be_bytes(),
            &self.at.to_be_bytes(),
            self.who.as_bytes(),
            self.why.as_bytes(),
        ])
    }
}

fn hash(fields: &[&[u8]]) -> EventHash {
    let mut hasher = Sha256::new();
    for field in fields {
        hasher.update((field.len() as u64).to_be_bytes());
        hasher.update(field);
    }
    EventHash(hasher.finalize().into())
}

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read a hash: it has 64 hex digits")]
pub struct NoHash;

impl FromStr for EventHash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<EventHash, NoHash> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NoHash);
        }
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| NoHash)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NoHash)?;
        }
        Ok(EventHash(hash))
    }
}

impl Serialize for EventHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EventHash, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl JsonSchema for EventHash {
    fn schema_name() -> Cow<'static, str> {
        "Hash".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A SHA-256, as 64 hex digits in lower case.",
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
        })
    }
}

impl ToSql for EventHash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
    }
}

impl FromSql for EventHash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<EventHash> {
        let bytes = value.as_blob()?;
        bytes
            .try_into()
            .map(EventHash)
            .map_err(|_| FromSqlError::InvalidBlobSize {
                expected_size: 32,
                blob_size: bytes.len(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link<'static> = Link {
        run: b"abc123def456",
        seq: 1,
        at: 1_790_000_000_000,
        kind: b"begun",
        step: b"",
        data: br#"{"playbook":"daily-health"}"#,
    };

    /// The value is made by an independent program from the table above; it never changes.
    #[test]
    fn the_hash_is_the_documented_one() {
        assert_eq!(
            LINK.after(None).to_string(),
            "d5dc3b581212080e67b862952620d23af8d0b1ca90b4dab020467a789533692a"
        );
        assert_eq!(
            LINK.after(Some(&EventHash([7; 32]))).to_string(),
            "59162b2f675b97b66692520152f39fdff6e019fc839c7cc88f05eef5bcaea8c1"
        );
    }

    #[test]
    fn a_byte_moved_from_one_field_to_the_next_changes_the_hash() {
        let one = Link {
            kind: b"ab",
            step: b"c",
            ..LINK
        };
        let two = Link {
            kind: b"a",
            step: b"bc",
            ..LINK
        };
        assert_ne!(one.after(None), two.after(None));
    }

    #[test]
    fn a_hash_reads_back_as_it_is_written() {
        let hash = LINK.after(None);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for wrong in ["", "abc", &"é".repeat(32), &"+1".repeat(32)] {
            assert_eq!(wrong.parse::<EventHash>(), Err(NoHash), "{wrong}");
        }
    }
}
