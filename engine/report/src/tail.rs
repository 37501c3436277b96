//! A step's output cut into lines, bounded in memory.

use std::collections::VecDeque;

use runwright_core::kind::Stream;

/// A line longer than this is cut into several.
const LONGEST: usize = 8 * 1024;

/// Cuts the pieces of one step's output into lines; each stream has its own unfinished one.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    unfinished: [Vec<u8>; 2],
}

impl Lines {
    /// Takes a piece and hands every line that is now complete to `each`, without its end.
    pub(crate) fn take(&mut self, stream: Stream, mut bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        let unfinished = &mut self.unfinished[stream as usize];
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            if unfinished.is_empty() {
                each(&bytes[..end]);
            } else {
                unfinished.extend_from_slice(&bytes[..end]);
                each(unfinished);
                unfinished.clear();
            }
            bytes = &bytes[end + 1..];
        }
        unfinished.extend_from_slice(bytes);
        while unfinished.len() > LONGEST {
            let rest = unfinished.split_off(whole_characters(&unfinished[..LONGEST]));
            each(unfinished);
            *unfinished = rest;
        }
    }

    /// Hands what is still unfinished to `each`.
    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(&[u8])) {
        for unfinished in &mut self.unfinished {
            if !unfinished.is_empty() {
                each(unfinished);
                unfinished.clear();
            }
        }
    }

    /// Returns the unfinished line of `stream`.
    fn unfinished(&self, stream: Stream) -> &[u8] {
        &self.unfinished[stream as usize]
    }
}

/// Returns how many bytes of `bytes` do not cut a UTF-8 character in two at their end.
pub(crate) fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let length = match bytes[at] {
            0x80..=0xbf => continue,
            0xf0..=0xf7 => 4,
            0xe0..=0xef => 3,
            0xc0..=0xdf => 2,
            _ => 1,
        };
        return if length > back { at } else { bytes.len() };
    }
    bytes.len()
}

/// The last lines of a step's output.
#[derive(Debug)]
pub(crate) struct Tail {
    lines: Lines,
    last: VecDeque<Vec<u8>>,
    most: usize,
    latest: Stream,
}

impl Tail {
    /// Returns a tail of `most` lines.
    pub(crate) fn of(most: usize) -> Tail {
        Tail {
            lines: Lines::default(),
            last: VecDeque::new(),
            most,
            latest: Stream::Stdout,
        }
    }

    /// Takes a piece of output.
    pub(crate) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        self.latest = stream;
        // Of a big piece only the end is ever shown: the rest need not be cut.
        let ends = bytes.iter().enumerate().rev();
        let start = ends
            .filter(|(_, byte)| **byte == b'\n')
            .nth(self.most)
            .map_or(0, |(at, _)| at + 1);
        if start > 0 {
            self.lines.unfinished[stream as usize].clear();
            self.last.clear();
        }
        let Tail {
            lines, last, most, ..
        } = self;
        lines.take(stream, &bytes[start..], &mut |line| keep(last, *most, line));
    }

    /// Returns the newest line that is not empty, harmless.
    pub(crate) fn newest(&self) -> String {
        let unfinished = crate::clean::output(self.lines.unfinished(self.latest));
        if !unfinished.trim().is_empty() {
            return unfinished;
        }
        let lines = self
            .last
            .iter()
            .rev()
            .map(|line| crate::clean::output(line));
        lines
            .into_iter()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default()
    }

    /// Returns the last lines, harmless, and forgets them.
    pub(crate) fn drain(&mut self) -> Vec<String> {
        let Tail {
            lines, last, most, ..
        } = self;
        lines.finish(&mut |line| keep(last, *most, line));
        self.last
            .drain(..)
            .map(|line| crate::clean::output(&line))
            .collect()
    }
}

fn keep(last: &mut VecDeque<Vec<u8>>, most: usize, line: &[u8]) {
    if last.len() == most {
        last.pop_front();
    }
    last.push_back(line[..line.len().min(LONGEST)].to_vec());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces_and_streams_are_kept_apart() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut each = |line: &[u8]| seen.push(String::from_utf8_lossy(line).into_owned());
        lines.take(Stream::Stdout, b"on", &mut each);
        lines.take(Stream::Stderr, b"other\n", &mut each);
        lines.take(Stream::Stdout, b"e\ntwo\nthr", &mut each);
        lines.finish(&mut each);
        assert_eq!(seen, ["other", "one", "two", "thr"]);
    }

    #[test]
    fn output_without_line_ends_takes_bounded_memory_and_no_character_is_cut() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for _ in 0..100 {
            lines.take(Stream::Stdout, "国".repeat(1_000).as_bytes(), &mut |line| {
                seen.push(String::from_utf8(line.to_vec()).expect("whole characters"));
            });
        }
        assert!(lines.unfinished[0].len() <= LONGEST);
        lines.finish(&mut |line| seen.push(String::from_utf8_lossy(line).into_owned()));
        assert_eq!(seen.concat(), "国".repeat(100_000));
    }

    #[test]
    fn a_tail_keeps_the_last_lines_of_many_pieces_and_of_one_big_piece() {
        let mut small = Tail::of(3);
        let mut big = Tail::of(3);
        let text: String = (0..1_000).map(|n| format!("line {n}\n")).collect();
        for piece in text.as_bytes().chunks(7) {
            small.take(Stream::Stdout, piece);
        }
        big.take(Stream::Stdout, text.as_bytes());
        for tail in [&mut small, &mut big] {
            assert_eq!(tail.newest(), "line 999");
            assert_eq!(tail.drain(), ["line 997", "line 998", "line 999"]);
        }
    }
}
