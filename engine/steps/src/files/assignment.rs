//! One assignment in the text of an environment, INI or plain configuration file. Pure: text in, text out.
//!
//! Everything but the assignment stays as it is: comments, order, blank lines, indentation, line ends. A value that
//! goes on over several lines (a quoted one, a `\` at the end of the line) is one assignment.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Deserialize;

/// How a file writes its assignments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// `KEY=value`, also after `export`, as shells, systemd, docker and compose read it.
    Env,
    /// `key = value` in `[section]`s; `#` and `;` begin comments.
    Ini,
    /// `key value`, or with another separator; `#` begins comments.
    Conf,
}

/// How values of an environment file are quoted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Quote {
    /// Where a shell would need it.
    #[default]
    Auto,
    /// Never: for readers that take quotes as part of the value (`docker run --env-file`).
    Never,
}

/// Where and how a key is assigned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assignment<'a> {
    pub(super) format: Format,
    pub(super) section: Option<&'a str>,
    pub(super) key: &'a str,
    /// What a new line has between key and value; blanks around it are optional in what is found.
    pub(super) separator: &'a str,
    pub(super) quote: Quote,
}

/// A text after an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edited {
    pub(super) text: String,
    /// How many times the key or line was there before.
    pub(super) found: usize,
}

impl Assignment<'_> {
    /// Returns `text` with the key assigned once, to `value`: where it was first, else at the end of its section.
    pub(super) fn set(&self, text: &str, value: &str) -> Edited {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let places = self.places(&lines);
        let found = places.matches.len();
        let Some(first) = places.matches.first() else {
            return Edited {
                text: self.insert(&lines, places.end_of_section, value),
                found,
            };
        };
        let rewritten = self.rewrite(&lines[first.clone()].concat(), value);
        Edited {
            text: without(&lines, &places.matches, Some(&rewritten)),
            found,
        }
    }

    /// Returns `text` without the key.
    pub(super) fn remove(&self, text: &str) -> Edited {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let places = self.places(&lines);
        Edited {
            text: without(&lines, &places.matches, None),
            found: places.matches.len(),
        }
    }

    /// Returns why `value` can't be written so that it is read back as the same.
    pub(super) fn unwritable(&self, value: &str) -> Option<&'static str> {
        let plain = self.encode(value) == value;
        if value.contains(['\n', '\r', '\0']) {
            Some("a value of several lines")
        } else if plain && value.trim() != value {
            Some("a value with blanks at its ends")
        } else if plain && value.ends_with('\\') {
            Some("a value with a `\\` at its end")
        } else if plain && self.format == Format::Env && value.starts_with(['"', '\'']) {
            // Nobody could tell such a quote from one that quotes; one that closes is the reader's own.
            (split_quoted(value).is_none()).then_some("a value with a quote that does not close")
        } else {
            None
        }
    }

    fn places(&self, lines: &[&str]) -> Places {
        let mut places = Places::default();
        let mut inside = self.section.is_none();
        if inside {
            places.end_of_section = Some(0);
        }
        let mut at = 0;
        while at < lines.len() {
            if let Some(name) = self.header(lines[at]) {
                inside = Some(name) == self.section;
                at += 1;
                if inside {
                    places.end_of_section = Some(at);
                }
                continue;
            }
            let end = self.end_of_entry(lines, at);
            if inside && !self.is_comment(lines[at]) {
                places.end_of_section = Some(end);
                if self.parse(&lines[at..end].concat()).is_some() {
                    places.matches.push(at..end);
                }
            }
            at = end;
        }
        if self.format != Format::Ini {
            places.end_of_section = Some(lines.len());
        }
        places
    }

    fn header<'l>(&self, line: &'l str) -> Option<&'l str> {
        if self.format != Format::Ini {
            return None;
        }
        let inner = line.trim_start().strip_prefix('[')?;
        Some(inner.split_once(']')?.0.trim())
    }

    /// Returns whether a line assigns nothing: blank or a comment.
    fn is_comment(&self, line: &str) -> bool {
        let line = line.trim();
        line.is_empty()
            || line.starts_with('#')
            || (self.format == Format::Ini && line.starts_with(';'))
    }

    /// Returns where the entry that begins at line `at` ends.
    fn end_of_entry(&self, lines: &[&str], at: usize) -> usize {
        if self.is_comment(lines[at]) {
            return at + 1;
        }
        if self.format == Format::Env
            && let Some((_, value)) = lines[at].split_once('=')
            && value.trim_start().starts_with(['"', '\''])
            && split_quoted(value.trim_start()).is_none()
        {
            let mut whole = value.trim_start().to_owned();
            for (more, line) in lines.iter().enumerate().skip(at + 1) {
                whole += line;
                if split_quoted(&whole).is_some() {
                    return more + 1;
                }
            }
            return at + 1;
        }
        let mut end = at + 1;
        while end < lines.len() && goes_on(lines[end - 1]) {
            end += 1;
        }
        end
    }

    /// Splits an entry that assigns the key.
    fn parse<'l>(&self, entry: &'l str) -> Option<Parsed<'l>> {
        let (body, ending) = split_ending(entry);
        let mut start = body.len() - body.trim_start().len();
        if self.format == Format::Env
            && let Some(rest) = body[start..].strip_prefix("export")
            && rest.starts_with([' ', '\t'])
        {
            start = body.len() - rest.trim_start().len();
        }
        let after = body[start..].strip_prefix(self.key)?;
        let mark = self.separator.trim();
        let rest = after.trim_start();
        let value = if rest.is_empty() && self.format != Format::Env {
            // A key alone, as `skip-networking`.
            return Some(Parsed {
                head: body.trim_end(),
                bare: true,
                value: "",
                tail: "",
                ending,
            });
        } else if mark.is_empty() {
            (rest.len() < after.len()).then_some(rest)?
        } else {
            rest.strip_prefix(mark)?.trim_start()
        };
        let head = &body[..body.len() - value.len()];
        let (value, tail) = self.split_comment(value.trim_end());
        Some(Parsed {
            head,
            bare: false,
            value,
            tail,
            ending,
        })
    }

    /// Splits a comment, with the blanks before it, from the end of `value`.
    fn split_comment<'l>(&self, value: &'l str) -> (&'l str, &'l str) {
        if value.starts_with(['"', '\''])
            && let Some((quoted, rest)) = split_quoted(value)
        {
            let comment = rest.trim_start();
            let is_comment = comment.starts_with('#')
                || (self.format == Format::Ini && comment.starts_with(';'));
            return if is_comment && comment.len() < rest.len() {
                (quoted, rest)
            } else {
                (value, "")
            };
        }
        match self.comment_in(value) {
            Some(at) => {
                let kept = value[..at].trim_end();
                (kept, &value[kept.len()..])
            }
            None => (value, ""),
        }
    }

    /// Returns where a comment begins in an unquoted value.
    fn comment_in(&self, value: &str) -> Option<usize> {
        value.char_indices().find_map(|(at, mark)| {
            let marks = mark == '#' || (mark == ';' && self.format == Format::Ini);
            (marks && value[..at].ends_with([' ', '\t'])).then_some(at)
        })
    }

    fn rewrite(&self, entry: &str, value: &str) -> String {
        let parsed = self
            .parse(entry)
            .expect("only matching entries are rewritten");
        let Parsed {
            head, tail, ending, ..
        } = parsed;
        let whole = parsed.value.len() + tail.len();
        let body = split_ending(entry).0.trim_end();
        let raw = &body[body.len() - whole..];
        if !parsed.bare && (self.decode(parsed.value) == value || raw == value) {
            return entry.to_owned();
        }
        let encoded = self.encode(value);
        if parsed.bare {
            return format!("{head}{}{encoded}{ending}", self.separator);
        }
        // A value that looks as if it had a comment must not get a second one.
        let tail = if encoded == value && self.comment_in(value).is_some() {
            ""
        } else {
            tail
        };
        format!("{head}{encoded}{tail}{ending}")
    }

    fn insert(&self, lines: &[&str], at: Option<usize>, value: &str) -> String {
        let ending = lines
            .first()
            .map_or("\n", |line| match split_ending(line).1 {
                "" => "\n",
                ending => ending,
            });
        let line = format!(
            "{}{}{}{ending}",
            self.key,
            self.separator,
            self.encode(value)
        );
        let mut text = lines[..at.unwrap_or(lines.len())].concat();
        if !text.is_empty() && !text.ends_with('\n') {
            text += ending;
        }
        if let (None, Some(section)) = (at, self.section) {
            if !text.is_empty() && !lines.last().is_some_and(|line| line.trim().is_empty()) {
                text += ending;
            }
            text += &format!("[{section}]{ending}");
        }
        text += &line;
        text += &lines[at.unwrap_or(lines.len())..].concat();
        text
    }

    /// Returns the value as it is written.
    fn encode(&self, value: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
        if self.format != Format::Env || self.quote == Quote::Never || value.chars().all(plain) {
            value.to_owned()
        } else if value.contains('\'') {
            let mut quoted = String::from("\"");
            for c in value.chars() {
                if "\"\\$`".contains(c) {
                    quoted.push('\\');
                }
                quoted.push(c);
            }
            quoted + "\""
        } else {
            format!("'{value}'")
        }
    }

    /// Returns what a written value means.
    fn decode(&self, written: &str) -> String {
        if self.format != Format::Env || self.quote == Quote::Never {
            return written.to_owned();
        }
        match split_quoted(written) {
            Some((quoted, "")) if quoted.starts_with('\'') => {
                quoted[1..quoted.len() - 1].to_owned()
            }
            Some((quoted, "")) => unescape(&quoted[1..quoted.len() - 1]),
            _ => written.to_owned(),
        }
    }
}

/// Returns `text` with `line` in it (once more only where it is nowhere), at the end.
pub(super) fn add_line(text: &str, line: &str) -> Edited {
    let found = count_line(text, line);
    let mut edited = text.to_owned();
    if found == 0 {
        let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
        if !text.is_empty() && !text.ends_with('\n') {
            edited += ending;
        }
        edited += line;
        edited += ending;
    }
    Edited {
        text: edited,
        found,
    }
}

/// Returns `text` without each `line` in it.
pub(super) fn remove_line(text: &str, line: &str) -> Edited {
    Edited {
        text: text
            .split_inclusive('\n')
            .filter(|found| split_ending(found).0 != line)
            .collect(),
        found: count_line(text, line),
    }
}

#[derive(Default)]
struct Places {
    /// The entries that assign the key, as ranges of lines.
    matches: Vec<Range<usize>>,
    /// The line after the last entry of the section; `None` where there is no such section.
    end_of_section: Option<usize>,
}

struct Parsed<'l> {
    /// Everything up to the value.
    head: &'l str,
    /// Whether there is a key alone.
    bare: bool,
    value: &'l str,
    /// A comment after the value, with the blanks before it.
    tail: &'l str,
    ending: &'l str,
}

/// Returns the lines without `places`, the first of which is replaced by `instead`.
fn without(lines: &[&str], places: &[Range<usize>], instead: Option<&str>) -> String {
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        match places.iter().position(|place| place.contains(&number)) {
            None => text += line,
            Some(0) if number == places[0].start => text += instead.unwrap_or_default(),
            Some(_) => {}
        }
    }
    text
}

fn count_line(text: &str, line: &str) -> usize {
    text.split_inclusive('\n')
        .filter(|found| split_ending(found).0 == line)
        .count()
}

fn split_ending(line: &str) -> (&str, &str) {
    let body = line.strip_suffix('\n').unwrap_or(line);
    let body = body.strip_suffix('\r').unwrap_or(body);
    (body, &line[body.len()..])
}

/// Returns whether a `\` at its end continues the line in the next one.
fn goes_on(line: &str) -> bool {
    let body = split_ending(line).0;
    (body.len() - body.trim_end_matches('\\').len()) % 2 == 1
}

/// Splits a text that begins with a quote behind the quote that closes it.
fn split_quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| *c == '"' || *c == '\'')?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote == '"' {
            escaped = true;
        } else if c == quote {
            return Some(text.split_at(at + 1));
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(next) if c == '\\' && "\"\\$`".contains(*next) => {
                out.push(*next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(key: &str) -> Assignment<'_> {
        Assignment {
            format: Format::Env,
            section: None,
            key,
            separator: "=",
            quote: Quote::Auto,
        }
    }

    fn ini<'a>(section: &'a str, key: &'a str) -> Assignment<'a> {
        Assignment {
            format: Format::Ini,
            section: (!section.is_empty()).then_some(section),
            ..env(key)
        }
    }

    fn conf<'a>(key: &'a str, separator: &'a str) -> Assignment<'a> {
        Assignment {
            format: Format::Conf,
            separator,
            ..env(key)
        }
    }

    fn check(assignment: Assignment<'_>, old: &str, value: &str, new: &str) {
        let edited = assignment.set(old, value);
        assert_eq!(edited.text, new, "{assignment:?} on {old:?}");
        let again = assignment.set(&edited.text, value);
        assert_eq!(again.text, new, "a second time, {assignment:?} on {old:?}");
        assert_eq!(again.found, 1);
        let removed = assignment.remove(&edited.text);
        assert_eq!(assignment.remove(&removed.text).found, 0);
    }

    #[test]
    fn environment_files() {
        for (old, value, new) in [
            ("", "1", "A=1\n"),
            ("# c\nB=2\n", "1", "# c\nB=2\nA=1\n"),
            ("B=2", "1", "B=2\nA=1\n"),
            ("A=0\nB=2", "1", "A=1\nB=2"),
            ("AB=0\n#A=5\nA=0\n", "1", "AB=0\n#A=5\nA=1\n"),
            ("  export A=0 # why\n", "1", "  export A=1 # why\n"),
            ("A=0\r\nB=1\r\n", "x", "A=x\r\nB=1\r\n"),
            ("B=1\r\n", "x", "B=1\r\nA=x\r\n"),
            ("A=0\nB=1\nA=2\n# c\nA=3\n", "1", "A=1\nB=1\n# c\n"),
            ("A=0\n", "two words", "A='two words'\n"),
            ("A=0\n", "it's $5", "A=\"it's \\$5\"\n"),
            ("A=\"x\" # c\n", "x", "A=\"x\" # c\n"),
            ("A=\"it's \\$5\"\n", "it's $5", "A=\"it's \\$5\"\n"),
            ("A=\"one\nA=inner\n\"\nB=1\n", "1", "A=1\nB=1\n"),
            ("B='\nA=inner\n'\n", "1", "B='\nA=inner\n'\nA=1\n"),
            ("A=one \\\n two\nB=1\n", "1", "A=1\nB=1\n"),
            ("A=\n", "", "A=\n"),
            ("A=x\n", "", "A=\n"),
            ("A='unclosed\nB=1\n", "1", "A=1\nB=1\n"),
        ] {
            check(env("A"), old, value, new);
        }
        let never = Assignment {
            quote: Quote::Never,
            ..env("A")
        };
        check(never, "A=0\n", "two words", "A=two words\n");
        check(never, "A=0 # c\n", "a #b", "A=a #b\n");
    }

    #[test]
    fn ini_files() {
        for (section, old, new) in [
            ("s", "", "[s]\nk=1\n"),
            ("s", "[t]\nk=0\n", "[t]\nk=0\n\n[s]\nk=1\n"),
            ("s", "[s]\nk = 0 ; c\n", "[s]\nk = 1 ; c\n"),
            (
                "s",
                "[s]\na=1\n\n# about t\n[t]\nk=0\n",
                "[s]\na=1\nk=1\n\n# about t\n[t]\nk=0\n",
            ),
            ("s", "[s]\n[t]\n", "[s]\nk=1\n[t]\n"),
            (
                "s",
                "[s]\nk=0\n[t]\nk=5\n[s]\nk=2\n",
                "[s]\nk=1\n[t]\nk=5\n[s]\n",
            ),
            ("", "a=1\n\n[t]\nk=0\n", "a=1\nk=1\n\n[t]\nk=0\n"),
            ("", "[t]\nk=0\n", "k=1\n[t]\nk=0\n"),
            ("s", "[s]\n;k=0\nk\n", "[s]\n;k=0\nk=1\n"),
            ("s", "[ s ]\n\tk = \"0\"\n", "[ s ]\n\tk = 1\n"),
        ] {
            check(ini(section, "k"), old, "1", new);
        }
    }

    #[test]
    fn plain_configuration_files() {
        for (separator, old, value, new) in [
            (
                " ",
                "port 6379\n# k 0\nk 0\n",
                "1",
                "port 6379\n# k 0\nk 1\n",
            ),
            (" ", "k\t\t0\n", "1", "k\t\t1\n"),
            (" ", "key 0\n", "1", "key 0\nk 1\n"),
            (" ", "k 900 1\nk 300 10\n", "60 5", "k 60 5\n"),
            (" = ", "k='a' # c\n", "'b'", "k='b' # c\n"),
            (" = ", "#k = 0\n", "1", "#k = 0\nk = 1\n"),
            (":", "k: 0\n", "1", "k: 1\n"),
        ] {
            check(conf("k", separator), old, value, new);
        }
    }

    #[test]
    fn a_key_is_removed_with_all_its_lines() {
        let edited = env("A").remove("# c\nA='x\ny'\nB=1\nexport A=2\n");
        assert_eq!((edited.text.as_str(), edited.found), ("# c\nB=1\n", 2));
        let edited = ini("s", "k").remove("k=0\n[s]\nk=1\n[t]\nk=2\n");
        assert_eq!(edited.text, "k=0\n[s]\n[t]\nk=2\n");
    }

    #[test]
    fn a_line_is_added_once_and_removed_everywhere() {
        assert_eq!(add_line("a\nb", "c").text, "a\nb\nc\n");
        assert_eq!(add_line("a\r\n", "a").text, "a\r\n");
        assert_eq!(add_line("a\r\n", "b").text, "a\r\nb\r\n");
        assert_eq!(add_line("", "a").text, "a\n");
        assert_eq!(remove_line("a\nb\na", "a").text, "b\n");
    }

    #[test]
    fn what_would_not_be_read_back_is_told() {
        assert!(env("A").unwritable("a\nb").is_some());
        assert!(env("A").unwritable(" a ").is_none(), "it is quoted");
        assert!(conf("k", " ").unwritable(" a ").is_some());
        assert!(conf("k", " ").unwritable("C:\\").is_some());
        assert!(env("A").unwritable("C:\\").is_none(), "it is quoted");
        let never = Assignment {
            quote: Quote::Never,
            ..env("A")
        };
        assert!(never.unwritable("'a").is_some());
        assert!(never.unwritable("'a'").is_none());
    }
}
