//! Paths by pattern, as shells match them.
//!
//! `*` and `?` stand for what is between two slashes, `[a-z]` and `[!a-z]` for one character, `{a,b}` for one of
//! several, `**` for any number of folders; `\` takes a character as it is. A name with a leading dot is matched only
//! by a pattern that has one. `**` does not go through symbolic links.

use std::{collections::BTreeSet, fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use regex::Regex;
use runwright_core::kind::{Cx, Failure};

use super::{
    failed, go_on,
    state::{followed, metadata},
};

/// What is done with each match.
pub(super) type Visit<'a> = dyn FnMut(&Utf8Path, &fs::Metadata) -> Result<(), Failure> + 'a;

/// A pattern for paths from the root.
#[derive(Debug)]
pub(super) struct Glob {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Pattern(Name),
    Deep,
}

/// A pattern for one name.
#[derive(Debug)]
struct Name {
    expression: Regex,
    /// Whether names with a leading dot are meant.
    hidden: bool,
}

impl Glob {
    /// Reads an absolute pattern; the error says what is wrong with it.
    pub(super) fn new(pattern: &Utf8Path) -> Result<Glob, String> {
        let mut parts: Vec<Part> = Vec::new();
        for part in pattern.components().skip(1) {
            let part = part.as_str();
            if part == "**" {
                if !matches!(parts.last(), Some(Part::Deep)) {
                    parts.push(Part::Deep);
                }
            } else if is_pattern(part) {
                parts.push(Part::Pattern(Name::new(part)?));
            } else {
                parts.push(Part::Literal(part.to_owned()));
            }
        }
        if let Some(Part::Deep) = parts.last() {
            parts.push(Part::Pattern(Name::new("*")?));
        }
        Ok(Glob { parts })
    }

    /// Hands each path that matches to `visit`, with the metadata of itself, in an order that is always the same.
    pub(super) fn each(&self, cx: &Cx, visit: &mut Visit<'_>) -> Result<(), Failure> {
        let deep = |part: &&Part| matches!(part, Part::Deep);
        if self.parts.iter().filter(deep).count() < 2 {
            return walk(cx, Utf8Path::new("/"), &self.parts, visit);
        }
        // With two of them a path can match in several ways.
        let mut seen = BTreeSet::new();
        walk(
            cx,
            Utf8Path::new("/"),
            &self.parts,
            &mut |path, metadata| {
                if seen.insert(path.to_owned()) {
                    visit(path, metadata)
                } else {
                    Ok(())
                }
            },
        )
    }
}

/// Returns whether `text` stands for more than the one path that it spells.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{', '\\'])
}

fn walk(cx: &Cx, folder: &Utf8Path, parts: &[Part], visit: &mut Visit<'_>) -> Result<(), Failure> {
    go_on(cx, "search", folder)?;
    let Some((part, rest)) = parts.split_first() else {
        return match metadata(folder)? {
            Some(found) => visit(folder, &found),
            None => Ok(()),
        };
    };
    match part {
        Part::Literal(name) => {
            let path = folder.join(name);
            if rest.is_empty() || is_folder(&path)? {
                walk(cx, &path, rest, visit)?;
            }
        }
        Part::Pattern(pattern) => {
            for path in list(folder, Some(pattern))? {
                if rest.is_empty() || is_folder(&path)? {
                    walk(cx, &path, rest, visit)?;
                }
            }
        }
        Part::Deep => {
            // Not by recursion: folders can be deeper than the stack.
            let mut folders = vec![folder.to_owned()];
            while let Some(folder) = folders.pop() {
                walk(cx, &folder, rest, visit)?;
                for path in list(&folder, None)?.into_iter().rev() {
                    let hidden = path.file_name().is_none_or(|name| name.starts_with('.'));
                    if !hidden && metadata(&path)?.is_some_and(|found| found.is_dir()) {
                        folders.push(path);
                    }
                }
            }
        }
    }
    Ok(())
}

fn is_folder(path: &Utf8Path) -> Result<bool, Failure> {
    Ok(followed(path)?.is_some_and(|found| found.is_dir()))
}

/// Returns what is in `folder`, sorted, as far as the pattern matches it; without a pattern only names in UTF-8.
fn list(folder: &Utf8Path, pattern: Option<&Name>) -> Result<Vec<Utf8PathBuf>, Failure> {
    let fail = |error: io::Error| failed("list", folder, &error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(fail(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let name = entry.map_err(fail)?.file_name();
        let text = name.to_string_lossy();
        if pattern.is_some_and(|pattern| !pattern.matches(&text)) {
            continue;
        }
        match name.to_str() {
            Some(name) => paths.push(folder.join(name)),
            None if pattern.is_none() => {}
            None => {
                return Err(Failure::internal(format!(
                    "list `{folder}`: the name `{text}` in it is not UTF-8"
                ))
                .hint("rename it, or use a pattern that does not match it"));
            }
        }
    }
    paths.sort();
    Ok(paths)
}

impl Name {
    fn new(part: &str) -> Result<Name, String> {
        Ok(Name {
            expression: expression(part)?,
            hidden: [".", "\\.", "{."].iter().any(|dot| part.starts_with(dot)),
        })
    }

    fn matches(&self, name: &str) -> bool {
        (self.hidden || !name.starts_with('.')) && self.expression.is_match(name)
    }
}

fn expression(part: &str) -> Result<Regex, String> {
    // `s`: a name may hold a line end.
    let mut expression = String::from("(?s)^");
    let mut chars = part.chars();
    let mut braces = 0;
    while let Some(c) = chars.next() {
        match c {
            '*' => expression += ".*",
            '?' => expression.push('.'),
            '[' => {
                expression += &class(&mut chars)
                    .ok_or_else(|| format!("`{part}` has a `[` that is not closed"))?;
            }
            '{' => {
                braces += 1;
                expression += "(?:";
            }
            '}' if braces > 0 => {
                braces -= 1;
                expression.push(')');
            }
            ',' if braces > 0 => expression.push('|'),
            '\\' => match chars.next() {
                Some(literal) => push_literal(&mut expression, literal),
                None => return Err(format!("`{part}` ends with a `\\`")),
            },
            literal => push_literal(&mut expression, literal),
        }
    }
    if braces > 0 {
        return Err(format!(
            "`{part}` has a `{{` that is not closed before the next `/`"
        ));
    }
    expression.push('$');
    Regex::new(&expression).map_err(|error| format!("`{part}` is no pattern: {error}"))
}

/// Reads a class behind its `[`; a `]` that comes first is one of its characters.
fn class(chars: &mut std::str::Chars<'_>) -> Option<String> {
    let rest = chars.as_str();
    let inner = rest.strip_prefix(['!', '^']).unwrap_or(rest);
    let negated = inner.len() < rest.len();
    let first = inner.chars().next()?.len_utf8();
    let end = first + inner[first..].find(']')?;
    *chars = inner[end + 1..].chars();
    let mut class = String::from(if negated { "[^" } else { "[" });
    for c in inner[..end].chars() {
        // `-` keeps its meaning, everything else is itself.
        if c == '-' {
            class.push('-');
        } else {
            push_literal(&mut class, c);
        }
    }
    class.push(']');
    Some(class)
}

fn push_literal(expression: &mut String, literal: char) {
    *expression += &regex::escape(literal.encode_utf8(&mut [0; 4]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn matches(bench: &Bench, pattern: &str) -> Vec<String> {
        let glob = Glob::new(&bench.path(pattern)).expect("a pattern");
        let root = bench.path("");
        let mut found = Vec::new();
        glob.each(bench.cx(), &mut |path, _| {
            found.push(path.as_str()[root.as_str().len()..].to_owned());
            Ok(())
        })
        .expect("a search");
        found
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        let bench = Bench::new();
        for folder in ["a/b/b", "a/.h", "c"] {
            fs::create_dir_all(bench.path(folder)).expect("made");
        }
        for file in [
            "a/1.log",
            "a/2.log",
            "a/x.gz",
            "a/b/3.log",
            "a/b/b/4.log",
            "a/.h/5.log",
            "a/.6.log",
            "c/[x]",
        ] {
            fs::write(bench.path(file), "").expect("written");
        }
        std::os::unix::fs::symlink("../a", bench.path("c/link")).expect("a link");
        for (pattern, expected) in [
            ("a/*.log", vec!["a/1.log", "a/2.log"]),
            ("a/[!1].log", vec!["a/2.log"]),
            ("a/[0-1].log", vec!["a/1.log"]),
            ("a/?.{gz,log}", vec!["a/1.log", "a/2.log", "a/x.gz"]),
            ("a/.*.log", vec!["a/.6.log"]),
            (
                "a/**/*.log",
                vec!["a/1.log", "a/2.log", "a/b/3.log", "a/b/b/4.log"],
            ),
            ("**/b/**/*.log", vec!["a/b/3.log", "a/b/b/4.log"]),
            ("c/**", vec!["c/[x]", "c/link"]),
            ("c/link/*.gz", vec!["c/link/x.gz"]),
            ("*/x.gz", vec!["a/x.gz"]),
            ("c/\\[x\\]", vec!["c/[x]"]),
            ("c/[[]x]", vec!["c/[x]"]),
            ("a/1.log", vec!["a/1.log"]),
            ("a/1.log/*", vec![]),
            ("no/*", vec![]),
        ] {
            assert_eq!(matches(&bench, pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_says_why() {
        for (pattern, says) in [
            ("/a/[x", "`[x` has a `[` that is not closed"),
            ("/a/{b/c}", "`{b` has a `{` that is not closed"),
            ("/a/x\\", "ends with a `\\`"),
            ("/[z-a]", "is no pattern"),
        ] {
            let error = Glob::new(Utf8Path::new(pattern)).expect_err(pattern);
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_match_whose_name_is_no_text_is_told_and_others_are_passed_over() {
        use std::os::unix::ffi::OsStrExt;
        let bench = Bench::new();
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.log");
        fs::write(bench.path("").as_std_path().join(name), "").expect("written");
        fs::write(bench.path("a.gz"), "").expect("written");
        assert_eq!(matches(&bench, "*.gz"), ["a.gz"]);
        let glob = Glob::new(&bench.path("*.log")).expect("a pattern");
        let failure = glob
            .each(bench.cx(), &mut |_, _| Ok(()))
            .expect_err("not UTF-8");
        assert!(failure.message.contains("is not UTF-8"), "{failure}");
    }
}
