//! The texts of secrets: known to this process only, put in just before something acts, masked in all that comes back.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use aho_corasick::{AhoCorasick, MatchKind};
use runwright_core::{
    event::{Reply, UndoResult},
    kind::{Description, Failure, Looked, UndoLook, UndoRecord},
    machine::Answer,
    units::Span,
    value::{Fields, MASK, Secret, Value, percent_decode, percent_encode},
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

    /// Returns a secret in `value` whose text is not known to this process (any more).
    pub fn missing(&self, value: &Value) -> Option<String> {
        let texts = self.texts.read().unwrap_or_else(PoisonError::into_inner);
        let mut missing = None;
        value.find(&|value| matches!(value, Value::Secret(_)))?;
        value.transform(&mut |value| {
            if let Value::Secret(secret) = &value
                && let Err(handle) = secret.reveal(&|handle| texts.get(handle).cloned())
            {
                missing.get_or_insert(handle);
            }
            value
        });
        missing
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
                let handle = result_handle(step, name);
                (name.clone(), self.take_in_value(&handle, value))
            })
            .collect();
        Value::map(taken)
    }

    /// Turns everything in a value into handles: a part of it can be named by a later step as well.
    fn take_in_value(&self, handle: &str, value: &Value) -> Value {
        let text = match value {
            Value::Null => return Value::Null,
            Value::List(items) => {
                let items = items.iter().enumerate();
                return Value::list(
                    items
                        .map(|(index, item)| {
                            self.take_in_value(&format!("{handle}[{index}]"), item)
                        })
                        .collect(),
                );
            }
            Value::Map(fields) => {
                return Value::map(
                    fields
                        .iter()
                        .map(|(name, field)| {
                            let field = self.take_in_value(&format!("{handle}.{name}"), field);
                            (name.clone(), field)
                        })
                        .collect(),
                );
            }
            Value::Text(text) => text.to_string(),
            other => other
                .to_text()
                .unwrap_or_else(|_| other.to_plain().to_string()),
        };
        self.keep(handle, text);
        Value::Secret(Secret::handle(handle))
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
            Value::Int(_) | Value::Number(_) => match value.to_text() {
                Ok(text) if self.mask(&text) != text => Value::text(MASK),
                _ => value,
            },
            Value::Map(fields) if fields.keys().any(|name| self.mask(name) != *name) => {
                let fields = fields.iter();
                Value::map(
                    fields
                        .map(|(name, field)| (self.mask(name), field.clone()))
                        .collect(),
                )
            }
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

    /// Returns what goes into the journal of what a kind looked at, did or kept: nothing of it tells a secret.
    ///
    /// The state before and the undo are data of the kind: with a part of them masked they would be of no use, so that a
    /// step is refused where a secret stands in them.
    pub fn mask_answer(&self, answer: Answer) -> Answer {
        if self.is_empty() {
            return answer;
        }
        match answer {
            Answer::Looked { action, look, took } => Answer::Looked {
                action: self.mask_description(action),
                look: match look {
                    Ok(Looked::Needed {
                        before,
                        summary,
                        diff,
                    }) => {
                        if self.mask_value(before.clone()) == before {
                            Ok(Looked::Needed {
                                before,
                                summary: self.mask(&summary),
                                diff: diff.map(|diff| self.mask(&diff)),
                            })
                        } else {
                            Err(tells("the state before this step"))
                        }
                    }
                    Ok(Looked::Done(result)) => Ok(Looked::Done(self.mask_value(result))),
                    Ok(Looked::Unclear) => Ok(Looked::Unclear),
                    Err(failure) => Err(self.mask_failure(failure)),
                },
                took,
            },
            Answer::Started { undo, .. }
                if undo.as_ref().is_some_and(|undo| {
                    let data = Value::from_stored(&undo.data);
                    self.mask_value(data.clone()) != data
                }) =>
            {
                Answer::Finished {
                    result: Err(tells("the undo of this step").hint(
                        "say by `rollback` how it is undone; a secret is given to that again",
                    )),
                    took: Span::default(),
                    output: Vec::new(),
                }
            }
            Answer::Started { action, undo } => Answer::Started {
                action: self.mask_description(action),
                undo: undo.map(|undo| UndoRecord {
                    summary: self.mask(&undo.summary),
                    ..undo
                }),
            },
            Answer::Finished {
                result,
                took,
                output,
            } => Answer::Finished {
                result: self.mask_result(result),
                took,
                output,
            },
            Answer::Probed(result) => Answer::Probed(self.mask_result(result)),
            Answer::Required(missing) => {
                Answer::Required(missing.iter().map(|line| self.mask(line)).collect())
            }
            Answer::Undone(UndoResult::Failed(failure)) => {
                Answer::Undone(UndoResult::Failed(self.mask_failure(failure)))
            }
            Answer::Undone(UndoResult::Left(left)) => {
                Answer::Undone(UndoResult::Left(match left {
                    UndoLook::Dirty(what) => UndoLook::Dirty(self.mask(&what)),
                    UndoLook::Lapsed(what) => UndoLook::Lapsed(self.mask(&what)),
                    other => other,
                }))
            }
            Answer::Replied {
                by,
                reply,
                reason,
                said,
            } => Answer::Replied {
                by,
                reason: self.mask(&reason),
                said,
                reply: match reply {
                    Reply::Values(values) => match self.mask_value(Value::map(values)) {
                        Value::Map(values) => Reply::Values((*values).clone()),
                        _ => Reply::Values(Fields::new()),
                    },
                    Reply::No { why } => Reply::No {
                        why: self.mask(&why),
                    },
                    Reply::Done { remark } => Reply::Done {
                        remark: self.mask(&remark),
                    },
                    Reply::Failed { remark } => Reply::Failed {
                        remark: self.mask(&remark),
                    },
                    Reply::Skip { remark } => Reply::Skip {
                        remark: self.mask(&remark),
                    },
                    other => other,
                },
            },
            other => other,
        }
    }

    fn mask_result(&self, result: Result<Value, Failure>) -> Result<Value, Failure> {
        match result {
            Ok(value) => Ok(self.mask_value(value)),
            Err(failure) => Err(self.mask_failure(failure)),
        }
    }

    fn mask_description(&self, description: Description) -> Description {
        let all = |texts: Vec<(String, String)>| -> Vec<(String, String)> {
            let texts = texts.into_iter();
            texts.map(|(name, text)| (name, self.mask(&text))).collect()
        };
        Description {
            summary: self.mask(&description.summary),
            details: all(description.details),
            contents: all(description.contents),
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

    /// Returns what looks for secrets in a content that comes in pieces; none where there is nothing to look for.
    pub fn scan(&self) -> Option<Scan> {
        let masks = self.masks()?;
        Some(Scan {
            masks,
            held: Vec::new(),
            found: false,
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

/// Looks for secrets in a content, across the borders of its pieces.
#[derive(Debug)]
pub struct Scan {
    masks: Arc<AhoCorasick>,
    held: Vec<u8>,
    found: bool,
}

impl Scan {
    /// Looks into the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        if self.found {
            return;
        }
        self.held.extend_from_slice(piece);
        self.found = self.masks.is_match(self.held.as_slice());
        let longest = self.masks.max_pattern_len();
        let done = self.held.len().saturating_sub(longest.saturating_sub(1));
        self.held.drain(..done);
    }

    /// Returns whether a secret, or an encoding of one, stands in what was looked at.
    pub fn found(&self) -> bool {
        self.found
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

/// Returns the handle of a result's field.
fn result_handle(step: &str, field: &str) -> String {
    format!("result {step}.{field}")
}

fn tells(what: &str) -> Failure {
    Failure::refused(format!(
        "write down {what}: a secret stands in it, and the journal holds none"
    ))
}

/// Returns the forms in which a secret may come back.
fn forms(text: &str) -> Vec<String> {
    let trimmed = text.trim_end_matches(['\n', '\r']);
    let mut parts = vec![trimmed.to_owned()];
    let lines = trimmed.lines().map(str::trim_end);
    // Shorter lines of a longer secret are braces and words that stand everywhere.
    parts.extend(lines.filter(|line| line.len() >= LINE).map(str::to_owned));
    if let Some(password) = password(trimmed) {
        parts.push(percent_decode(password));
        parts.push(password.to_owned());
    }
    let mut forms = vec![text.to_owned()];
    for part in parts {
        forms.extend(encoded(&part));
        forms.push(part);
    }
    forms
}

/// Returns the password in a URL.
fn password(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    Some(user.split_once(':')?.1)
}

/// Returns `text` in base64 and hex, and as URLs, forms, JSON and shells write it.
fn encoded(text: &str) -> Vec<String> {
    let json = json_escaped(text);
    let mut forms = vec![
        json_escaped(&json),
        json.replace('/', "\\/"),
        ascii(&json),
        text.replace('\'', "'\\''"),
        json,
    ];
    // Bare, as dumps write it, and as a URL that escapes every byte.
    for (separator, before) in [("", ""), (" ", ""), ("%", "%")] {
        let pairs: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let pairs = format!("{before}{}", pairs.join(separator));
        forms.push(pairs.to_uppercase());
        forms.push(pairs);
    }
    // What stays as it is in a part of a URL: by the standard's own sets, in scripts, in forms.
    for kept in [b"".as_slice(), USERINFO, PATH, QUERY, SCRIPT] {
        let upper = percent_encode(text, kept);
        forms.push(lower_escapes(&upper));
        forms.push(upper.replace("%20", "+"));
        forms.push(lower_escapes(&upper).replace("%20", "+"));
        forms.push(upper);
    }
    for alphabet in [BASE64, BASE64_URL] {
        // Inside a longer text base64 depends on what stands before it: three alignments.
        for before in 0..3 {
            let digits = base64_inside(text.as_bytes(), before, alphabet);
            if before == 0 {
                // Programs break it after 76 digits (MIME, `base64`) or 64 (PEM, `openssl`).
                for width in [76, 64] {
                    let lines = digits.as_bytes().chunks(width);
                    let lines = lines.map(|line| String::from_utf8_lossy(line).into_owned());
                    forms.extend(lines.filter(|line| line.len() >= LINE));
                }
            }
            forms.push(digits);
        }
    }
    forms
}

/// The shortest line of a longer secret, or of its encoding, that is masked alone.
const LINE: usize = 8;

const USERINFO: &[u8] = b"!$&'()*+,";
const PATH: &[u8] = b"!$&'()*+,/:;=@[]|";
const QUERY: &[u8] = b"!$%&'()*+,/:;=?@[]{}|^`\\";
const SCRIPT: &[u8] = b"!'()*";

/// Returns `text` with the hex digits of its `%XX` in lower case.
fn lower_escapes(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut lower = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).unwrap_or((piece, ""));
        lower.push('%');
        lower.push_str(&digits.to_lowercase());
        lower.push_str(rest);
    }
    lower
}

/// Returns `text` with what is not ASCII as `\uXXXX`.
fn ascii(text: &str) -> String {
    let mut units = [0; 2];
    text.chars().fold(String::new(), |mut written, c| {
        if c.is_ascii() {
            written.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                written.push_str(&format!("\\u{unit:04x}"));
            }
        }
        written
    })
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
