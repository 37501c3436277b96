//! `file.read`: the text of a file, up to a limit.
//!
//! It changes nothing, so there is nothing to undo.

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{Cx, Description, Digest, Effect, Failure, Kind, Look, NoUndo, Step, Touch},
    units::Bytes,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{absolute, blocking, content};

pub(super) const KIND: Kind = Kind::of::<FileRead>("file.read");

/// Reads the text of a file, up to `limit`, and digest and size of the whole.
///
/// Only regular files with UTF-8 text are read; a symbolic link is followed. A missing file is a failure: ask
/// `file.stat` first where it may be missing.
///
/// ```yaml
/// - id: release
///   title: Read which system this is
///   file.read: { path: /etc/os-release, limit: 64KiB }
///   expect:
///     - that: '"ID=" in result.text'
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileRead {
    /// The file; a relative path starts at the run's working folder.
    #[schemars(with = "String")]
    path: Utf8PathBuf,
    /// How much of the text is returned (default 256KiB); what is beyond is counted in `size` and `digest` only.
    #[serde(default = "limit")]
    limit: Bytes,
}

fn limit() -> Bytes {
    Bytes(256 << 10)
}

/// What was read.
#[derive(Debug, Serialize, JsonSchema)]
struct ReadText {
    /// The file, from the root.
    path: String,
    /// The text, or its beginning.
    text: String,
    /// Whether the text was cut at the limit.
    cut: bool,
    /// The size of the whole content.
    size: Bytes,
    /// The SHA-256 of the whole content, as hex digits. Where a secret stands in the content, or the step is
    /// `sensitive`, it is `keyed:…`: the same for the same content within the run, and no use outside of it.
    #[schemars(with = "String")]
    digest: Digest,
}

impl Step for FileRead {
    type Output = ReadText;
    type Before = ();
    type Undo = NoUndo;
    const EFFECT: Effect = Effect::Read;

    fn touches(&self) -> Vec<Touch> {
        vec![Touch::reads(format!("file:{}", self.path))]
    }

    fn describe(&self) -> Description {
        Description::new(format!("read {}", self.path))
    }

    async fn look(&self, cx: &Cx) -> Result<Look<ReadText, ()>, Failure> {
        self.answer(cx).await.map(Look::Done)
    }

    fn undo(&self, (): &()) -> Option<NoUndo> {
        None
    }

    async fn perform(&self, cx: &Cx, _: Option<&()>) -> Result<ReadText, Failure> {
        self.answer(cx).await
    }
}

impl FileRead {
    async fn answer(&self, cx: &Cx) -> Result<ReadText, Failure> {
        let path = absolute(cx, &self.path)?;
        let (cx, limit) = (cx.clone(), self.limit);
        blocking(move || read(&cx, &path, limit)).await
    }
}

fn read(cx: &Cx, path: &Utf8Path, limit: Bytes) -> Result<ReadText, Failure> {
    let limit = usize::try_from(limit.0).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    let whole = content::each_piece(cx, path, "read", cx.host.hasher(), |piece| {
        let room = limit - bytes.len();
        bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        Ok(())
    })?;
    let cut = whole.size > bytes.len() as u64;
    Ok(ReadText {
        path: path.to_string(),
        text: text(path, bytes, cut)?,
        cut,
        size: Bytes(whole.size),
        digest: whole.digest,
    })
}

/// Returns `bytes` as text; a character that the limit cut through is left out.
fn text(path: &Utf8Path, bytes: Vec<u8>, cut: bool) -> Result<String, Failure> {
    String::from_utf8(bytes).or_else(|error| {
        let valid = error.utf8_error().valid_up_to();
        if cut && error.utf8_error().error_len().is_none() {
            let mut bytes = error.into_bytes();
            bytes.truncate(valid);
            return Ok(String::from_utf8(bytes).expect("valid up to there"));
        }
        Err(
            Failure::internal(format!("read `{path}` as text: byte {valid} is no UTF-8")).hint(
                "it is another encoding or no text; `command` with `base64` or `iconv` reads it",
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use runwright_core::{kind::Looked, value::Value};
    use serde_json::json;

    use super::*;
    use crate::testing::Bench;

    fn read(bench: &Bench, arguments: serde_json::Value) -> Value {
        match bench.look(KIND, arguments).expect("a look") {
            Looked::Done(result) => result,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_text_is_read_whole_with_its_digest() {
        let bench = Bench::new();
        fs::write(bench.path("a"), "one\ntwo\n").expect("written");
        let result = read(&bench, json!({"path": "a"}));
        assert_eq!(result.get("text"), Some(&"one\ntwo\n".into()));
        assert_eq!(result.get("cut"), Some(&Value::Bool(false)));
        assert_eq!(
            result.get("digest"),
            Some(&Digest::of(b"one\ntwo\n").0.into())
        );
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        let bench = Bench::new();
        let text = "ä".repeat(300 << 10);
        fs::write(bench.path("a"), &text).expect("written");
        let result = read(&bench, json!({"path": "a", "limit": "5B"}));
        assert_eq!(result.get("text"), Some(&"ää".into()));
        assert_eq!(result.get("cut"), Some(&Value::Bool(true)));
        assert_eq!(result.get("size"), Some(&Value::Bytes(Bytes(600 << 10))));
        assert_eq!(
            result.get("digest"),
            Some(&Digest::of(text.as_bytes()).0.into())
        );
        let by_default = read(&bench, json!({"path": "a"}));
        let length = by_default.get("text").and_then(Value::as_str).map(str::len);
        assert_eq!(length, Some(256 << 10));
    }

    #[test]
    fn a_file_of_proc_that_has_no_size_is_read_too() {
        let bench = Bench::new();
        let result = read(&bench, json!({"path": "/proc/self/status"}));
        let text = result.get("text").and_then(Value::as_str).expect("a text");
        assert!(text.starts_with("Name:"), "{text}");
    }

    #[test]
    fn no_text_a_missing_file_and_a_device_are_failures_that_name_the_path() {
        let bench = Bench::new();
        fs::write(bench.path("latin"), b"caf\xe9!").expect("written");
        for (path, says) in [
            ("latin", "latin` as text: byte 3 is no UTF-8"),
            ("missing", "missing`"),
            ("/dev/zero", "`/dev/zero`: it is a character device"),
            (".", "it is a directory"),
        ] {
            let failure = bench.look(KIND, json!({"path": path})).expect_err(path);
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }
}
