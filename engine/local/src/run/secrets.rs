//! The texts of secrets: known to this process only, put in just before something acts, masked in all that comes back.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use aho_corasick::{AhoCorasick, MatchKind};
use runwright_core::{
    kind::Failure,
    value::{MASK, Secret, Value, percent_encode},
};

/// The shortest secret that is masked; a shorter one would mask half of what people read.
const SHORTEST: usize = 4;

/// The secrets of a run by handle.
#[derive(Debug, Default)]
pub struct Vault {
    texts: RwLock<BTreeMap<String, String>>,
    masks: Mutex<Option<Arc<AhoCorasick>>>,
}

impl Vault {
    /// Keeps the text of `handle`.
    pub fn keep(&self, handle: &str, text: String) {
        self.texts
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(handle.to_owned(), text);
        *self.masks.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns whether there is nothing to mask.
    pub fn is_empty(&self) -> bool {
        self.texts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    /// Returns `value` with every secret's real text.
    ///
    /// # Errors
    ///
    /// When a secret is not known to this process (any more).
    pub fn reveal(&self, value: &Value) -> Result<Value, Failure> {
        if value
            .find(&|value| matches!(value, Value::Secret(_)))
            .is_none()
        {
            return Ok(value.clone());
        }
        let texts = self.texts.read().unwrap_or_else(PoisonError::into_inner);
        let mut unknown = None;
        let revealed = value.transform(&mut |value| match value {
            Value::Secret(secret) => match secret.reveal(&|handle| texts.get(handle).cloned()) {
                Ok(text) => Value::text(text),
                Err(handle) => {
                    unknown = Some(handle);
                    Value::Null
                }
            },
            other => other,
        });
        match unknown {
            Some(handle) => Err(Failure::internal(format!(
                "use the secret `{handle}`: it is not known any more"
            ))
            .hint("resume the run with the secret given again")),
            None => Ok(revealed),
        }
    }

    /// Returns `value` with every secret as the mask: what descriptions are made of.
    pub fn hide(value: &Value) -> Value {
        value.transform(&mut |value| match value {
            Value::Secret(_) => Value::text(value.display()),
            other => other,
        })
    }

    /// Turns a result, or fields of it, into handles that later steps of this process can use.
    pub fn take_in(&self, step: &str, fields: Option<&[String]>, result: Value) -> Value {
        let Value::Map(map) = &result else {
            return result;
        };
        let taken = map
            .iter()
            .map(|(name, value)| {
                if fields.is_some_and(|fields| !fields.contains(name)) {
                    return (name.clone(), value.clone());
                }
                let text = match value {
                    Value::Text(text) => text.to_string(),
                    other => other
                        .to_text()
                        .unwrap_or_else(|_| other.to_plain().to_string()),
                };
                let handle = format!("result {step}.{name}");
                self.keep(&handle, text);
                (name.clone(), Value::Secret(Secret::handle(handle)))
            })
            .collect();
        Value::map(taken)
    }

    /// Returns `text` with every secret, and its usual encodings, masked.
    pub fn mask(&self, text: &str) -> String {
        match self.masks() {
            Some(masks) => masks.replace_all_with_mask(text),
            None => text.to_owned(),
        }
    }

    /// Returns `value` with every text in it masked.
    pub fn mask_value(&self, value: Value) -> Value {
        if self.is_empty() {
            return value;
        }
        value.transform(&mut |value| match value {
            Value::Text(text) => Value::text(self.mask(&text)),
            other => other,
        })
    }

    /// Returns `failure` with every text in it masked.
    pub fn mask_failure(&self, failure: Failure) -> Failure {
        if self.is_empty() {
            return failure;
        }
        Failure {
            class: failure.class,
            message: self.mask(&failure.message),
            causes: failure
                .causes
                .iter()
                .map(|cause| self.mask(cause))
                .collect(),
            hint: failure.hint.map(|hint| self.mask(&hint)),
        }
    }

    /// Returns a mask for a stream of bytes that comes in pieces.
    pub fn stream(&self) -> Option<MaskedStream> {
        let masks = self.masks()?;
        Some(MaskedStream {
            masks,
            held: Vec::new(),
        })
    }

    fn masks(&self) -> Option<Arc<AhoCorasick>> {
        let mut masks = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        if masks.is_none() {
            let texts = self.texts.read().unwrap_or_else(PoisonError::into_inner);
            let mut patterns: Vec<String> = texts.values().flat_map(|text| forms(text)).collect();
            patterns.retain(|pattern| pattern.len() >= SHORTEST);
            patterns.sort();
            patterns.dedup();
            if patterns.is_empty() {
                return None;
            }
            let built = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(&patterns);
            *masks = built.ok().map(Arc::new);
        }
        masks.clone()
    }
}

/// Masks a stream across the borders of its pieces.
#[derive(Debug)]
pub struct MaskedStream {
    masks: Arc<AhoCorasick>,
    held: Vec<u8>,
}

impl MaskedStream {
    /// Returns what of the stream so far can be shown.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let longest = self.masks.max_pattern_len();
        let safe = self.held.len().saturating_sub(longest.saturating_sub(1));
        let mut shown = Vec::with_capacity(self.held.len());
        let mut from = 0;
        for found in self.masks.find_iter(&self.held) {
            // A match that begins in the safe part is whole; one that begins later may grow with the next piece.
            if found.start() >= safe {
                break;
            }
            shown.extend_from_slice(&self.held[from..found.start()]);
            shown.extend_from_slice(MASK.as_bytes());
            from = found.end();
        }
        let until = safe.max(from);
        shown.extend_from_slice(&self.held[from..until]);
        self.held.drain(..until);
        shown
    }

    /// Returns the rest, at the stream's end.
    pub fn finish(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.held);
        let mut shown = Vec::with_capacity(rest.len());
        let mut from = 0;
        for found in self.masks.find_iter(&rest) {
            shown.extend_from_slice(&rest[from..found.start()]);
            shown.extend_from_slice(MASK.as_bytes());
            from = found.end();
        }
        shown.extend_from_slice(&rest[from..]);
        shown
    }
}

trait Masks {
    fn replace_all_with_mask(&self, text: &str) -> String;
}

impl Masks for AhoCorasick {
    fn replace_all_with_mask(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        self.replace_all_with(text, &mut shown, |_, _, shown| {
            shown.push_str(MASK);
            true
        });
        shown
    }
}

/// Returns the forms in which a secret may come back: itself, each line of it, base64, URL and JSON.
fn forms(text: &str) -> Vec<String> {
    let trimmed = text.trim_end_matches(['\n', '\r']);
    let mut forms = vec![
        text.to_owned(),
        trimmed.to_owned(),
        percent_encode(trimmed, b""),
        json_escaped(trimmed),
    ];
    forms.extend(trimmed.lines().map(str::to_owned));
    for alphabet in [BASE64, BASE64_URL] {
        // Inside a longer text base64 depends on what stands before it: three alignments.
        for skipped in 0..3 {
            forms.push(base64_inside(trimmed.as_bytes(), skipped, alphabet));
        }
    }
    forms
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Returns the base64 digits that `bytes` always has when `before` bytes (mod 3) stand before it.
fn base64_inside(bytes: &[u8], before: usize, alphabet: &[u8; 64]) -> String {
    let mut padded = vec![0_u8; before];
    padded.extend_from_slice(bytes);
    let mut digits = String::new();
    for bits in 0..(padded.len() * 8 / 6) {
        let at = bits * 6;
        let pair = u16::from(padded[at / 8]) << 8
            | u16::from(padded.get(at / 8 + 1).copied().unwrap_or(0));
        let digit = (pair >> (10 - at % 8)) & 0x3f;
        digits.push(char::from(alphabet[usize::from(digit)]));
    }
    // The first digits mix with the bytes before.
    let mixed = (before * 8).div_ceil(6);
    digits.split_off(mixed.min(digits.len()))
}

fn json_escaped(text: &str) -> String {
    serde_json::to_string(text)
        .map(|quoted| quoted[1..quoted.len() - 1].to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        let vault = Vault::default();
        vault.keep("token", "s3cr\"et value".to_owned());
        vault
    }

    #[test]
    fn a_secret_is_masked_in_every_form() {
        let vault = vault();
        // The base64 texts were made by `printf … | base64`.
        for text in [
            "s3cr\"et value",
            "s3cr%22et%20value",
            "s3cr\\\"et value",
            "czNjciJldCB2YWx1ZQ==",
            "eDpzM2NyImV0IHZhbHVl",
        ] {
            let masked = vault.mask(text);
            assert!(masked.contains(MASK), "{text} became {masked}");
            assert!(
                !masked.contains("s3cr") && !masked.contains("M2NyImV0"),
                "{masked}"
            );
        }
    }

    #[test]
    fn a_secret_across_pieces_is_masked() {
        let vault = vault();
        let whole = b"before s3cr\"et value after";
        for cut in 0..whole.len() {
            let mut stream = vault.stream().expect("there is a secret");
            let mut shown = stream.push(&whole[..cut]);
            shown.extend(stream.push(&whole[cut..]));
            shown.extend(stream.finish());
            assert_eq!(
                String::from_utf8_lossy(&shown),
                "before *** after",
                "cut at {cut}"
            );
        }
    }
}
