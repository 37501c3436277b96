//! The open file of a lock that is ours, and what may stand in one.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    sync::Arc,
};

use runwright_core::kind::Digest;
use rustix::fs::{AtFlags, FlockOperation, flock, unlinkat};
use serde::Deserialize;

use super::{
    error::{LocksError, failed},
    folder::Folder,
    record::{Record, VERSION},
};

/// The longest line, in bytes: what is read at the end of a file, whatever its size.
pub(super) const LONGEST: u64 = 64 << 10;

/// The file of a lock; the kernel's lock on it is ours until this is dropped.
#[derive(Debug)]
pub(super) struct LockFile {
    pub(super) folder: Arc<Folder>,
    pub(super) digest: String,
    pub(super) file: File,
}

impl LockFile {
    /// Returns what stands in the file of the lock `name`.
    pub(super) fn read(&self, name: &str) -> Result<Content, LocksError> {
        let bytes = end_of(&self.file).map_err(|error| self.failed("read", error))?;
        debug_assert_eq!(self.digest, Digest::of(name.as_bytes()).0);
        Ok(Content::of(&bytes, &self.digest))
    }

    /// Writes `record` after what stands there. A write that fails leaves the file as it was.
    pub(super) fn append(&self, record: &Record) -> Result<(), LocksError> {
        let write = || {
            let mut line = serde_json::to_vec(record)?;
            line.push(b'\n');
            if line.len() as u64 > LONGEST {
                let why = format!("a record has at most {LONGEST} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            let length = self.file.metadata()?.len();
            // What was cut off must not become a part of this line.
            if length > 0 && last_byte(&self.file, length)? != b'\n' {
                line.insert(0, b'\n');
            }
            self.file.write_all_at(&line, length).inspect_err(|_| {
                let _ = self.file.set_len(length);
            })
        };
        write().map_err(|error| self.failed("write", error))
    }

    /// Makes what was written durable, and the file's name.
    pub(super) fn sync(&self) -> Result<(), LocksError> {
        self.file
            .sync_all()
            .map_err(|error| self.failed("sync", error))?;
        self.folder.sync()
    }

    /// Empties the file, and removes it where the folder lets us: in a sticky one only its owner may.
    pub(super) fn clear(&self) -> Result<(), LocksError> {
        self.empty()?;
        self.remove();
        Ok(())
    }

    /// Does the same, so that it is durable when this returns.
    pub(super) fn clear_durably(&self) -> Result<(), LocksError> {
        self.empty()?;
        self.file
            .sync_all()
            .map_err(|error| self.failed("sync", error))?;
        self.remove();
        Ok(())
    }

    /// Empties the file and leaves it where it is.
    pub(super) fn empty(&self) -> Result<(), LocksError> {
        self.file
            .set_len(0)
            .map_err(|error| self.failed("empty", error))
    }

    /// Removes the file while it is locked: who opens it before takes a lock on no name, and notices.
    fn remove(&self) {
        let _ = unlinkat(&self.folder.fd, &self.digest, AtFlags::empty());
    }

    fn failed(&self, action: &'static str, error: io::Error) -> LocksError {
        failed(action, &self.folder.path().join(&self.digest))(error)
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Closing alone is not enough while a child is between fork and exec and still has the descriptor.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// What stands in the file of a lock.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing that we believe: it is empty, cut off, or somebody else's.
    Nothing,
    /// A record of this lock.
    Record(Box<Record>),
    /// A record of this version, which is newer than ours.
    Newer(u32),
}

impl Content {
    /// Reads the last whole record of the lock with `digest` in `bytes`, the end of its file.
    pub(super) fn of(bytes: &[u8], digest: &str) -> Content {
        let mut lines = bytes.split(|byte| *byte == b'\n').rev();
        // What comes after the last line break was cut off, or is being written.
        lines.next();
        lines
            .find_map(|line| Content::of_line(line, digest))
            .unwrap_or(Content::Nothing)
    }

    fn of_line(line: &[u8], digest: &str) -> Option<Content> {
        #[derive(Deserialize)]
        struct Head {
            v: u32,
            lock: String,
        }
        let head: Head = serde_json::from_slice(line).ok()?;
        if Digest::of(head.lock.as_bytes()).0 != digest {
            return None;
        }
        if head.v > VERSION {
            return Some(Content::Newer(head.v));
        }
        let record = serde_json::from_slice(line).ok()?;
        Some(Content::Record(Box::new(record)))
    }
}

/// Returns the last bytes of `file`, [`LONGEST`] at the most.
pub(super) fn end_of(file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.size();
    let start = length.saturating_sub(LONGEST);
    let mut bytes = vec![0; usize::try_from(length - start).expect("it is at most 64 KiB")];
    let mut filled = 0;
    // Somebody may empty the file while it is read.
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], start + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn last_byte(file: &File, length: u64) -> io::Result<u8> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, length - 1)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> String {
        Digest::of(b"db").0
    }

    fn line(more: &str) -> Vec<u8> {
        format!("{{\"v\":1,\"lock\":\"db\"{more}}}\n").into_bytes()
    }

    #[test]
    fn a_line_that_was_cut_off_leaves_the_one_before() {
        let whole = line("");
        let Content::Record(record) = Content::of(&whole, &digest()) else {
            panic!("it is a record");
        };
        let next = line(",\"stolen\":[]");
        for end in 0..next.len() {
            let torn = [&whole[..], &next[..end]].concat();
            let content = Content::of(&torn, &digest());
            assert_eq!(content, Content::Record(record.clone()), "cut at {end}");
        }
        for end in 0..whole.len() {
            let content = Content::of(&whole[..end], &digest());
            assert_eq!(content, Content::Nothing, "cut at {end}");
        }
    }

    #[test]
    fn what_is_not_of_this_lock_is_not_believed() {
        let other = Digest::of(b"other").0;
        assert_eq!(Content::of(&line(""), &other), Content::Nothing);
        for foreign in [
            "\n",
            "4711\n",
            "null\n",
            "{}\n",
            "{\"v\":1}\n",
            "{\"v\":-1,\"lock\":\"db\"}\n",
            "{\"v\":1,\"lock\":\"db\",\"owner\":7}\n",
            "\0\0\0\0\n",
            "\u{feff}{\"v\":1,\"lock\":\"db\"}\n",
        ] {
            let content = Content::of(foreign.as_bytes(), &digest());
            assert_eq!(content, Content::Nothing, "{foreign:?}");
        }
        assert_eq!(
            Content::of(&[0xff, 0xfe, b'\n'], &digest()),
            Content::Nothing
        );
    }

    #[test]
    fn a_record_of_a_newer_version_is_known_as_one_whatever_its_fields() {
        let newer = b"{\"v\":2,\"lock\":\"db\",\"owner\":[\"somebody\"]}\n";
        assert_eq!(Content::of(newer, &digest()), Content::Newer(2));
    }
}
