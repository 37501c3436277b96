//! What an expression names: for the loader, which checks names and fields before anything runs.

use std::{fmt, ops::Range};

use super::tree::{Node, Operation};
use crate::value::Value;

/// A name in an expression, with the path behind it as far as it is constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name.
    pub name: String,
    /// Where the name is written.
    pub name_range: Range<usize>,
    /// The path: `found.rows[0]` has two parts. What a computed key selects ends it.
    pub parts: Vec<Part>,
    /// Where name and path are written.
    pub range: Range<usize>,
    /// Whether a missing part is expected here: before `| default(v)`, `is defined` and `is absent`.
    pub guarded: bool,
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What is selected.
    pub key: Key,
    /// Where it is written.
    pub range: Range<usize>,
}

/// What a step of a path selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A field or a key of a map.
    Name(String),
    /// An item of a list; from the end if negative.
    Index(i64),
}

impl Reference {
    pub(super) fn shift(&mut self, offset: usize) {
        let parts = self.parts.iter_mut().map(|part| &mut part.range);
        for range in [&mut self.range, &mut self.name_range]
            .into_iter()
            .chain(parts)
        {
            *range = range.start + offset..range.end + offset;
        }
    }
}

/// Written as in an expression: `found.rows[0]`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for part in &self.parts {
            match &part.key {
                Key::Index(index) => write!(f, "[{index}]")?,
                Key::Name(name) if is_word(name) => write!(f, ".{name}")?,
                Key::Name(name) => write!(f, "[{name:?}]")?,
            }
        }
        Ok(())
    }
}

fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Collects the references in `node`, in the order they are written.
pub(super) fn collect(node: &Node, references: &mut Vec<Reference>) {
    collect_below(node, false, references);
}

fn collect_below(node: &Node, guarded: bool, references: &mut Vec<Reference>) {
    match &node.operation {
        Operation::Default(both) => {
            collect_below(&both.0, true, references);
            collect_below(&both.1, guarded, references);
        }
        Operation::Present(of, _) => collect_below(of, true, references),
        _ if node.is_reference() => {
            let place = references.len();
            let reference = path(node, guarded, references);
            references.insert(place, reference);
        }
        _ => node.children(&mut |child| collect_below(child, guarded, references)),
    }
}

/// Returns the reference that `node`, a name with a path, is; those in its computed keys are collected.
fn path(node: &Node, guarded: bool, references: &mut Vec<Reference>) -> Reference {
    let mut keys = Vec::new();
    let mut base = node;
    let name = loop {
        match &base.operation {
            Operation::Field(of, _) | Operation::Index(of, _) => {
                keys.push(base);
                base = of;
            }
            Operation::Name(name) => break name.to_string(),
            _ => unreachable!("the caller asked `is_reference`"),
        }
    };
    let mut reference = Reference {
        name,
        name_range: base.range.clone(),
        parts: Vec::new(),
        range: base.range.clone(),
        guarded,
    };
    let mut constant = true;
    for step in keys.into_iter().rev() {
        let part = part(step);
        constant = constant && part.is_some();
        match part {
            Some(part) if constant => {
                reference.range.end = step.range.end;
                reference.parts.push(part);
            }
            Some(_) => {}
            None => {
                if let Operation::Index(_, key) = &step.operation {
                    collect_below(key, guarded, references);
                }
            }
        }
    }
    reference
}

fn part(step: &Node) -> Option<Part> {
    match &step.operation {
        Operation::Field(_, name) => Some(Part {
            key: Key::Name(name.to_string()),
            range: step.range.end - name.len()..step.range.end,
        }),
        Operation::Index(_, key) => match &key.operation {
            Operation::Constant(Value::Text(name)) => Some(Part {
                key: Key::Name(name.to_string()),
                range: key.range.clone(),
            }),
            Operation::Constant(Value::Int(index)) => Some(Part {
                key: Key::Index(*index),
                range: key.range.clone(),
            }),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::expression::Expression;

    fn references(text: &str) -> String {
        let expression = Expression::parse(text).expect(text);
        let all: Vec<String> = expression
            .references()
            .iter()
            .map(|reference| format!("{reference}{}", if reference.guarded { "?" } else { "" }))
            .collect();
        all.join(" ")
    }

    #[test]
    fn every_name_is_found_with_its_constant_path() {
        for (text, expected) in [
            ("1 + 2", ""),
            ("found.wal_bytes > wal_limit", "found.wal_bytes wal_limit"),
            ("rounds[\"a b\"].x.y[0][-1]", "rounds[\"a b\"].x.y[0][-1]"),
            ("rounds[item.name].x", "rounds item.name"),
            ("rows[1:].n", "rows"),
            ("(rows | first).n", "rows"),
            ("a.b | default(c.d)", "a.b? c.d"),
            ("a.b[c] | length | default(1)", "a.b? c?"),
            ("a is absent or b is not defined and c is null", "a? b? c"),
            (
                "rows | selectattr(\"n\", \">\", least) | map(attribute=field)",
                "rows least field",
            ),
            ("{key: value}[other]", "key value other"),
            ("a if b else c", "a b c"),
            ("bytes(x) + y[lo:hi]", "x y lo hi"),
        ] {
            assert_eq!(references(text), expected, "{text}");
        }
    }

    #[test]
    fn every_part_has_its_place() {
        let text = "1 + (found . rows[0][\"wal size\"])";
        let expression = Expression::parse(text).expect("an expression");
        let [reference] = expression.references() else {
            panic!("one reference");
        };
        assert_eq!(&text[reference.name_range.clone()], "found");
        assert_eq!(
            &text[reference.range.clone()],
            "found . rows[0][\"wal size\"]"
        );
        let parts: Vec<&str> = reference
            .parts
            .iter()
            .map(|part| &text[part.range.clone()])
            .collect();
        assert_eq!(parts, ["rows", "0", "\"wal size\""]);
    }
}
