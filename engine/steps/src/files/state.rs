//! What lies at a path: type, mode, owner, size and digest, never the content.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{Cx, Digest, Failure},
    units::{Bytes, Mode, Time},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{content, failed};

/// What sort of thing lies at a path.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub(super) enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device.
    Block,
    /// A character device.
    Character,
    /// Nothing.
    #[default]
    Missing,
}

impl FileType {
    pub(super) fn of(metadata: &fs::Metadata) -> FileType {
        let kind = metadata.file_type();
        match () {
            () if kind.is_file() => FileType::File,
            () if kind.is_dir() => FileType::Directory,
            () if kind.is_symlink() => FileType::Link,
            () if kind.is_fifo() => FileType::Fifo,
            () if kind.is_socket() => FileType::Socket,
            () if kind.is_block_device() => FileType::Block,
            () => FileType::Character,
        }
    }

    /// Returns what people call it, with its article.
    pub(super) fn noun(self) -> &'static str {
        match self {
            FileType::File => "a file",
            FileType::Directory => "a directory",
            FileType::Link => "a symbolic link",
            FileType::Fifo => "a named pipe",
            FileType::Socket => "a socket",
            FileType::Block => "a block device",
            FileType::Character => "a character device",
            FileType::Missing => "missing",
        }
    }
}

/// What lies at a path, the last part not followed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Whether there is anything.
    pub(super) exists: bool,
    /// What it is.
    #[serde(rename = "type")]
    pub(super) kind: FileType,
    /// Its mode; none for a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<Mode>,
    /// The owner's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<u32>,
    /// The group's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gid: Option<u32>,
    /// The length of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<Bytes>,
    /// The digest of a file's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<Digest>,
    /// Where a link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<String>,
}

impl State {
    /// Looks at `path`; reads the whole content of a file for its digest.
    pub(super) fn of(cx: &Cx, path: &Utf8Path) -> Result<State, Failure> {
        let mut state = State::without_content(path)?;
        if state.kind == FileType::File {
            let read = content::digest(cx, path, cx.host.hasher())?;
            state.size = Some(Bytes(read.size));
            state.digest = Some(read.digest);
        }
        Ok(state)
    }

    /// Looks at `path` to compare it with `recorded`: the digest is in the form that was recorded.
    ///
    /// A file of another size is not read, and has no digest then; those of /proc say that they are empty.
    pub(super) fn like(recorded: &State, cx: &Cx, path: &Utf8Path) -> Result<State, Failure> {
        let mut state = State::without_content(path)?;
        if state.kind == FileType::File
            && (state.size == recorded.size || state.size == Some(Bytes(0)))
            && let Some(digest) = &recorded.digest
        {
            let read = content::digest(cx, path, content::hasher_like(cx, path, digest)?)?;
            state.size = Some(Bytes(read.size));
            state.digest = Some(read.digest);
        }
        Ok(state)
    }

    /// Looks at `path` and reads no content, so that there is no digest.
    pub(super) fn without_content(path: &Utf8Path) -> Result<State, Failure> {
        let Some(metadata) = metadata(path)? else {
            return Ok(State::default());
        };
        let kind = FileType::of(&metadata);
        Ok(State {
            exists: true,
            kind,
            mode: (kind != FileType::Link).then(|| mode_of(&metadata)),
            uid: Some(metadata.uid()),
            gid: Some(metadata.gid()),
            size: (kind == FileType::File).then(|| Bytes(metadata.size())),
            digest: None,
            target: match kind {
                FileType::Link => Some(link_target(path)?),
                _ => None,
            },
        })
    }

    /// Returns it in a few words.
    pub(super) fn display(&self) -> String {
        let mut text = self.kind.noun().to_owned();
        if let Some(size) = self.size {
            text += &format!(" of {size}");
        }
        if let Some(target) = &self.target {
            text += &format!(" to `{target}`");
        }
        if let Some(mode) = self.mode {
            text += &format!(", mode {mode}");
        }
        if let (Some(uid), Some(gid)) = (self.uid, self.gid) {
            text += &format!(", owner {uid}:{gid}");
        }
        text
    }

    /// Returns in what `now` differs, in words.
    pub(super) fn difference(&self, now: &State) -> String {
        if self.kind != now.kind {
            return format!("{} -> {}", self.kind.noun(), now.kind.noun());
        }
        let mut parts = Vec::new();
        if self.digest != now.digest {
            parts.push(match (self.size, now.size) {
                (Some(old), Some(new)) if old.to_string() != new.to_string() => {
                    format!("content {old} -> {new}")
                }
                _ => "content".to_owned(),
            });
        }
        if let (Some(old), Some(new)) = (self.mode, now.mode)
            && old != new
        {
            parts.push(format!("mode {old} -> {new}"));
        }
        if (self.uid, self.gid) != (now.uid, now.gid) {
            let owner = |state: &State| {
                format!(
                    "{}:{}",
                    state.uid.unwrap_or_default(),
                    state.gid.unwrap_or_default()
                )
            };
            parts.push(format!("owner {} -> {}", owner(self), owner(now)));
        }
        if self.target != now.target {
            parts.push("target".to_owned());
        }
        parts.join(", ")
    }
}

/// One thing on a file system, whatever it is called: it survives a rename and tells a change of its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The device, as a signed number: values of the language have no larger ones.
    pub(super) device: i64,
    /// The inode, as a signed number.
    pub(super) inode: i64,
    /// What it is.
    #[serde(rename = "type")]
    pub(super) kind: FileType,
    /// The length of a file or a link; of anything else 0.
    pub(super) size: Bytes,
    /// When a file's content was last changed, as seconds and nanoseconds; of anything else 0.
    pub(super) modified: (i64, i64),
}

impl Identity {
    /// Returns whether both are one thing, whatever was written to it meanwhile.
    pub(super) fn is_same_thing(&self, other: &Identity) -> bool {
        (self.device, self.inode, self.kind) == (other.device, other.inode, other.kind)
    }

    /// Returns what lies at `path`, the last part not followed.
    pub(super) fn of(path: &Utf8Path) -> Result<Option<Identity>, Failure> {
        Ok(metadata(path)?.map(|metadata| {
            let kind = FileType::of(&metadata);
            let file = kind == FileType::File;
            Identity {
                device: metadata.dev().cast_signed(),
                inode: metadata.ino().cast_signed(),
                kind,
                size: Bytes(if file || kind == FileType::Link {
                    metadata.size()
                } else {
                    0
                }),
                modified: if file {
                    (metadata.mtime(), metadata.mtime_nsec())
                } else {
                    (0, 0)
                },
            }
        }))
    }
}

/// Returns the metadata of `path`, the last part not followed; `None` where nothing is.
pub(super) fn metadata(path: &Utf8Path) -> Result<Option<fs::Metadata>, Failure> {
    found(path, fs::symlink_metadata(path))
}

/// Returns the metadata of what `path` leads to; `None` where nothing is.
pub(super) fn followed(path: &Utf8Path) -> Result<Option<fs::Metadata>, Failure> {
    found(path, fs::metadata(path))
}

/// A path below a file names nothing, as one in a missing folder.
fn found(
    path: &Utf8Path,
    answer: io::Result<fs::Metadata>,
) -> Result<Option<fs::Metadata>, Failure> {
    match answer {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(failed("look at", path, &error)),
    }
}

/// Returns permission bits with setuid, setgid and sticky.
pub(super) fn mode_of(metadata: &fs::Metadata) -> Mode {
    Mode(metadata.permissions().mode() & 0o7777)
}

/// Returns when the content was last changed.
pub(super) fn modified(metadata: &fs::Metadata) -> Time {
    Time::from_milliseconds(
        metadata
            .mtime()
            .saturating_mul(1_000)
            .saturating_add(metadata.mtime_nsec() / 1_000_000),
    )
}

/// Returns where the link at `path` leads, as it is written in it.
pub(super) fn link_target(path: &Utf8Path) -> Result<String, Failure> {
    let target = fs::read_link(path).map_err(|error| failed("read the link", path, &error))?;
    match Utf8PathBuf::from_path_buf(target) {
        Ok(target) => Ok(target.into_string()),
        Err(target) => Err(Failure::internal(format!(
            "read the link `{path}`: its target `{}` is not UTF-8",
            target.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn the_state_tells_content_mode_and_type_apart() {
        let bench = Bench::new();
        let path = bench.path("a");
        assert_eq!(State::of(bench.cx(), &path), Ok(State::default()));
        fs::write(&path, "one").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4750)).expect("set");
        let one = State::of(bench.cx(), &path).expect("a state");
        assert_eq!(
            (one.kind, one.mode, one.size),
            (FileType::File, Some(Mode(0o4750)), Some(Bytes(3)))
        );
        fs::write(&path, "two").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
        let two = State::of(bench.cx(), &path).expect("a state");
        assert_eq!(one.difference(&two), "content, mode 4750 -> 0600");
    }

    #[test]
    fn a_state_is_stored_and_read_back_with_every_type() {
        let bench = Bench::new();
        std::os::unix::fs::symlink("nowhere", bench.path("link")).expect("a link");
        fs::write(bench.path("file"), "x").expect("written");
        for name in ["link", "file", "missing", "."] {
            let path = bench.path(name);
            let state = State::of(bench.cx(), &path).expect("a state");
            let value = runwright_core::value::Value::from_stored(
                &serde_json::to_value(&state).expect("stored"),
            );
            let back: State = serde_json::from_value(value.to_stored()).expect("read back");
            assert_eq!(back, state, "{name}");
            let identity = Identity::of(&path).expect("a look");
            let back: Option<Identity> =
                serde_json::from_value(serde_json::to_value(&identity).expect("stored"))
                    .expect("read back");
            assert_eq!(back, identity);
        }
    }
}
