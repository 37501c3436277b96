//! The beginning and the end of a stream, in bounded memory.

use std::collections::VecDeque;

/// What is kept of a stream: all of it while it is short, else its two ends.
#[derive(Debug)]
pub(super) struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    total: u64,
}

impl Kept {
    /// Returns an empty one that keeps at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Kept {
        Kept {
            head: Vec::new(),
            tail: VecDeque::new(),
            half: limit / 2,
            total: 0,
        }
    }

    /// Takes the next piece of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let (head, rest) = bytes.split_at(bytes.len().min(self.half - self.head.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(self.half)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(self.half);
        self.tail.drain(..excess);
        self.tail.extend(rest);
    }

    /// Returns how long the stream was.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Returns how many bytes in the middle were left out.
    fn left_out(&self) -> u64 {
        self.total - (self.head.len() + self.tail.len()) as u64
    }

    /// Returns what was kept as text, with a line that says how much is missing; what is not UTF-8 is replaced.
    pub(super) fn text(mut self) -> String {
        let left_out = self.left_out();
        if left_out == 0 {
            self.head.extend(&self.tail);
            return match String::from_utf8(self.head) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            };
        }
        let cut_head = incomplete_end(&self.head);
        self.head.truncate(self.head.len() - cut_head);
        let tail = self.tail.make_contiguous();
        let cut_tail = tail
            .iter()
            .take(3)
            .take_while(|byte| is_continuation(**byte))
            .count();
        let left_out = left_out + (cut_head + cut_tail) as u64;
        format!(
            "{}\n[... {left_out} bytes left out ...]\n{}",
            String::from_utf8_lossy(&self.head),
            String::from_utf8_lossy(&tail[cut_tail..]),
        )
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// Returns how many bytes at the end begin a character that is not whole.
fn incomplete_end(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(4).enumerate() {
        let length = match byte {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            _ if is_continuation(*byte) => continue,
            _ => return 0,
        };
        return if back + 1 < length { back + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(limit: usize, pieces: &[&[u8]]) -> String {
        let mut kept = Kept::new(limit);
        for piece in pieces {
            kept.push(piece);
        }
        kept.text()
    }

    #[test]
    fn a_short_stream_is_kept_whole() {
        assert_eq!(kept(8, &[b"abc", b"", b"defgh"]), "abcdefgh");
    }

    #[test]
    fn a_long_stream_keeps_both_ends_and_says_what_is_missing() {
        let expected = "abcd\n[... 4 bytes left out ...]\nijkl";
        assert_eq!(kept(8, &[b"abcdefghijkl"]), expected);
        assert_eq!(kept(8, &[b"ab", b"cdefg", b"hij", b"k", b"l"]), expected);
    }

    #[test]
    fn no_character_is_cut_in_two() {
        let text = kept(8, &["aä€€€€€ü".as_bytes()]);
        assert_eq!(text, "aä\n[... 15 bytes left out ...]\nü");
    }
}
