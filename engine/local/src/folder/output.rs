//! What a step printed: the first and the last of it, however much it was.
//!
//! A finished output is plain: all of it, or head, a marker that says how much is left out, tail. While a step prints,
//! what follows the head goes round in a ring beside, in the file `….tail`: 512 KiB of it and then, in 8 bytes,
//! big-endian, how much went in so far. So a killed run still shows what its steps printed last.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::kind::{Digest, Stream, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::home::create_file;

/// How many bytes are kept from the beginning.
pub const HEAD: usize = 512 << 10;
/// How many bytes are kept from the end.
pub const TAIL: usize = 512 << 10;

/// Takes what a step prints on one stream.
#[derive(Debug)]
pub struct OutputFile {
    path: Utf8PathBuf,
    head: Option<File>,
    ring: Option<File>,
    hasher: Sha256,
    length: u64,
    lost: Option<io::Error>,
}

/// What was printed, as `finished` says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// How many bytes were printed.
    pub length: u64,
    /// The digest of all of them.
    pub digest: Digest,
    /// Why what is kept is not complete, besides the part that is always left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

/// What is kept of an output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The first bytes.
    pub head: Vec<u8>,
    /// How many bytes are left out between the two.
    pub left_out: u64,
    /// The last bytes; empty when the head is all.
    pub tail: Vec<u8>,
}

impl OutputFile {
    /// Returns a recorder to the file at `path`, which is created with the first byte.
    pub(super) fn new(path: Utf8PathBuf) -> io::Result<OutputFile> {
        remove(&path)?;
        remove(&ring_path(&path))?;
        Ok(OutputFile {
            path,
            head: None,
            ring: None,
            hasher: Sha256::new(),
            length: 0,
            lost: None,
        })
    }

    /// Returns a recorder that keeps nothing, because of `error`.
    pub(crate) fn keeping_nothing(error: io::Error) -> OutputFile {
        OutputFile {
            path: Utf8PathBuf::new(),
            head: None,
            ring: None,
            hasher: Sha256::new(),
            length: 0,
            lost: Some(error),
        }
    }

    /// Takes a piece. Never fails: when it can't be kept, it is still counted, and [`OutputFile::finish`] says so.
    pub fn write(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        if self.lost.is_none()
            && let Err(error) = self.keep(bytes)
        {
            self.lost = Some(error);
        }
        self.length += bytes.len() as u64;
    }

    /// Returns how many bytes were printed so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Puts head and tail together, and returns what there was.
    pub fn finish(mut self) -> Output {
        if self.lost.is_none()
            && let Err(error) = self.join()
        {
            self.lost = Some(error);
        }
        Output {
            length: self.length,
            digest: Digest(hex(&self.hasher.finalize())),
            lost: self.lost.map(|error| error.to_string()),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = usize::try_from((HEAD as u64).saturating_sub(self.length)).unwrap_or(0);
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        if !first.is_empty() {
            open(&mut self.head, &self.path)?.write_all_at(first, self.length)?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let ring = open(&mut self.ring, &ring_path(&self.path))?;
        let before = (self.length + first.len() as u64) - HEAD as u64;
        let passed = before + rest.len() as u64;
        // Of a piece that is longer than the ring only its end matters.
        let rest = &rest[rest.len().saturating_sub(TAIL)..];
        let at = (passed - rest.len() as u64) % TAIL as u64;
        let (to_end, from_start) = rest.split_at(rest.len().min(TAIL - at as usize));
        ring.write_all_at(to_end, at)?;
        ring.write_all_at(from_start, 0)?;
        ring.write_all_at(&passed.to_be_bytes(), TAIL as u64)
    }

    fn join(&mut self) -> io::Result<()> {
        let (Some(head), Some(ring)) = (&self.head, self.ring.take()) else {
            return Ok(());
        };
        let (left_out, tail) = read_ring(&ring)?;
        let marker = marker(left_out);
        head.write_all_at(marker.as_bytes(), HEAD as u64)?;
        head.write_all_at(&tail, (HEAD + marker.len()) as u64)?;
        remove(&ring_path(&self.path))
    }
}

impl Recorded {
    /// Returns head, marker and tail as one.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.head[..], marker(self.left_out).as_bytes(), &self.tail].concat()
    }

    /// Reads what lies at `path`, finished or not.
    pub(super) fn read(path: &Utf8Path) -> io::Result<Option<Recorded>> {
        // The ring first: a step that finishes meanwhile has put it into the other file.
        let ring = found(File::open(ring_path(path)))?;
        let Some(mut head) = found(fs::read(path))? else {
            return Ok(None);
        };
        if let Some(ring) = ring {
            let (left_out, tail) = read_ring(&ring)?;
            head.truncate(HEAD);
            return Ok(Some(Recorded {
                head,
                left_out,
                tail,
            }));
        }
        let mut left_out = 0;
        // Longer than both together can only be one that has a marker between them.
        if let Some(length @ 1..) = head.len().checked_sub(HEAD + TAIL) {
            let text = String::from_utf8_lossy(&head[HEAD..HEAD + length]).into_owned();
            left_out = read_marker(&text).ok_or(io::ErrorKind::InvalidData)?;
            head.drain(HEAD..HEAD + length);
        }
        let tail = head.split_off(head.len().min(HEAD));
        Ok(Some(Recorded {
            head,
            left_out,
            tail,
        }))
    }
}

/// Returns the name of the file for what `label` prints on `stream`.
pub(super) fn file_name(label: &str, stream: Stream) -> String {
    let name = escape(label);
    match stream {
        Stream::Stdout => name + ".stdout",
        Stream::Stderr => name + ".stderr",
    }
}

/// Returns `label` as the beginning of a file's name: no two labels have the same.
pub(crate) fn escape(label: &str) -> String {
    use std::fmt::Write;
    let mut name = String::new();
    for byte in label.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            _ => write!(name, "%{byte:02x}").expect("writing to a string can't fail"),
        }
    }
    if name.len() > NAME {
        name.truncate(NAME - 65);
        name.push('-');
        name.push_str(&Digest::of(label.as_bytes()).0);
    }
    name
}

/// How long a name may be before its ending: file systems take 255 bytes.
const NAME: usize = 200;

fn ring_path(path: &Utf8Path) -> Utf8PathBuf {
    format!("{path}.tail").into()
}

/// Returns how much went past the ring `ring`, and what is in it, in order.
fn read_ring(ring: &File) -> io::Result<(u64, Vec<u8>)> {
    let mut passed = [0; 8];
    match ring.read_exact_at(&mut passed, TAIL as u64) {
        // Killed before the first count was written.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok((0, Vec::new())),
        other => other?,
    }
    let passed = u64::from_be_bytes(passed);
    let mut tail = vec![0; TAIL.min(usize::try_from(passed).unwrap_or(TAIL))];
    ring.read_exact_at(&mut tail, 0)?;
    if passed > TAIL as u64 {
        tail.rotate_left((passed % TAIL as u64) as usize);
    }
    Ok((passed - tail.len() as u64, tail))
}

fn marker(left_out: u64) -> String {
    match left_out {
        0 => String::new(),
        _ => format!("\n[… {left_out} bytes are left out …]\n"),
    }
}

fn read_marker(text: &str) -> Option<u64> {
    text.strip_prefix("\n[… ")?.split(' ').next()?.parse().ok()
}

fn open<'a>(file: &'a mut Option<File>, path: &Utf8Path) -> io::Result<&'a File> {
    if file.is_none() {
        *file = Some(create_file(path)?);
    }
    Ok(file.as_ref().expect("it was just opened"))
}

fn remove(path: &Utf8Path) -> io::Result<()> {
    found(fs::remove_file(path)).map(|_| ())
}

/// Turns what is missing into `None`.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        folder::RunFolder,
        testing::{Other, Sandbox, mode, other},
    };

    const STREAM: Stream = Stream::Stdout;

    fn folder(sandbox: &Sandbox) -> RunFolder {
        RunFolder::create(&sandbox.home(), "abc123def456").expect("a folder")
    }

    fn content(length: usize) -> Vec<u8> {
        // No period divides the ring's length, so that every shift shows.
        (0..length).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn head_and_tail_are_kept_and_everything_is_counted() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox);
        let all = HEAD + TAIL;
        for length in [
            1,
            HEAD - 1,
            HEAD,
            HEAD + 1,
            all - 1,
            all,
            all + 1,
            all + 40,
            5 * all + 7,
        ] {
            for piece in [1 + length / 3, 8192, 3_000_000] {
                let content = content(length);
                let mut output = folder.output("step", STREAM).expect("a place");
                content.chunks(piece).for_each(|bytes| output.write(bytes));

                let left_out = length.saturating_sub(all);
                let expected = Recorded {
                    head: content[..length.min(HEAD)].to_vec(),
                    left_out: left_out as u64,
                    tail: content[length.min(HEAD + left_out)..].to_vec(),
                };
                let read = || folder.recorded("step", STREAM).expect("it can be read");
                assert!(
                    read().as_ref() == Some(&expected),
                    "{length} by {piece}, while it prints"
                );
                let finished = output.finish();
                assert_eq!((finished.length, finished.lost), (length as u64, None));
                assert_eq!(finished.digest, Digest::of(&content));
                assert!(
                    read().as_ref() == Some(&expected),
                    "{length} by {piece}, finished"
                );
            }
        }
    }

    #[test]
    fn a_finished_output_is_one_plain_file_with_a_readable_marker() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox);
        let mut output = folder.output("copy/step[a b]", STREAM).expect("a place");
        output.write(&vec![b'x'; HEAD + TAIL + 1234]);
        output.finish();
        let path = folder.path().join("output/copy%2fstep%5ba%20b%5d.stdout");
        let text = fs::read_to_string(&path).expect("plain text");
        assert!(text.contains("x\n[… 1234 bytes are left out …]\nx"));
        assert_eq!(mode(&path), 0o600);
        assert!(!ring_path(&path).exists());
    }

    #[test]
    fn nothing_printed_leaves_nothing_and_a_second_time_replaces_the_first() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox);
        let mut output = folder.output("step", STREAM).expect("a place");
        output.write(&vec![b'x'; HEAD + 5]);
        drop(output);
        let output = folder.output("step", STREAM).expect("a place");
        assert_eq!(output.finish().digest, Digest::of(b""));
        assert_eq!(
            folder.recorded("step", STREAM).expect("it can be read"),
            None
        );
    }

    #[test]
    fn names_stay_apart_and_short() {
        let long = "a/".repeat(200);
        let names = [
            file_name(&format!("{long}b"), STREAM),
            file_name(&format!("{long}c"), STREAM),
            file_name("a/b", STREAM),
            file_name("a%2fb", STREAM),
            file_name("..", STREAM),
        ];
        let apart: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(apart.len(), names.len());
        assert!(
            names
                .iter()
                .all(|name| name.len() < 255 && !name.starts_with('.'))
        );
    }

    #[test]
    fn a_killed_process_leaves_what_it_printed_last() {
        if let Some((home, _)) = other() {
            let folder = RunFolder::create(&home, "abc123def456").expect("a folder");
            let mut output = folder.output("step", STREAM).expect("a place");
            output.write(&content(HEAD + 3 * TAIL));
            output.write(b"the last words");
            println!("\nprinted");
            loop {
                std::thread::park();
            }
        }
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox);
        let mut other = Other::start(
            "folder::output::tests::a_killed_process_leaves_what_it_printed_last",
            sandbox.home().path(),
            "",
        );
        other.wait_for("printed");
        other.kill();
        let recorded = folder.recorded("step", STREAM).expect("it can be read");
        let recorded = recorded.expect("something was printed");
        assert!(recorded.tail.ends_with(b"the last words"));
        assert_eq!(recorded.left_out, 2 * TAIL as u64 + 14);
    }
}
