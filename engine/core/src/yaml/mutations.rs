//! A playbook damaged in thousands of ways: nothing panics, and every place is one that can be shown.

use serde_json::{Value as Json, json};

use crate::{
    diagnostic::{Colour, Diagnostic, Source, line, render},
    schema::{self, Templates},
    yaml::{Data, Limits, Node, parse},
};

const PLAYBOOK: &str = include_str!("playbook.yml");
const ROUNDS: usize = 3_000;

/// What a slip or a paste may leave behind.
const PIECES: [&str; 30] = [
    "{", "}", "[", "]", ",", ":", ": ", "- ", "\"", "'", "#", " #", "\t", "\n", "\r\n", "  ",
    "{{ x }}", "&a ", "*a", "<<: *a", "!x ", "|\n", ">-\n", "---\n", "\u{feff}", "é☕", "\u{0}",
    "\\", "? ", "%",
];

/// The same numbers on every machine and in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

fn mutate(text: &mut Vec<char>, dice: &mut Dice) {
    let at = dice.roll(text.len().max(1)).min(text.len());
    let until = (at + 1 + dice.roll(8)).min(text.len());
    match dice.roll(5) {
        0 => drop(text.drain(at..until)),
        1 | 2 => {
            let piece = PIECES[dice.roll(PIECES.len())];
            text.splice(at..at, piece.chars());
        }
        3 => {
            let copied: Vec<char> = text[at..until].to_vec();
            let to = dice.roll(text.len() + 1);
            text.splice(to..to, copied);
        }
        _ => text.truncate(at.max(1)),
    }
}

fn check_places(node: &Node, yaml: &str, dice: &mut Dice) {
    assert!(
        yaml.get(node.span.clone()).is_some(),
        "{:?} in {yaml:?}",
        node.span
    );
    if let Some(comment) = &node.comment_after {
        assert!(yaml[comment.clone()].starts_with('#'));
    }
    match &node.data {
        Data::Scalar { text, .. } => {
            let start = dice.roll(text.len() + 2);
            let place = node.place(yaml, start..start + dice.roll(5));
            assert!(yaml.get(place.clone()).is_some(), "{place:?} in {yaml:?}");
            assert!(node.span.start <= place.start && place.end <= node.span.end);
        }
        Data::List(items) => items.iter().for_each(|item| check_places(item, yaml, dice)),
        Data::Map(entries) => {
            for (key, value) in entries {
                check_places(key, yaml, dice);
                check_places(value, yaml, dice);
            }
        }
    }
}

fn check_problem(problem: &Diagnostic, source: &Source) {
    let spans = problem
        .span
        .iter()
        .chain(problem.labels.iter().map(|(span, _)| span));
    for span in spans {
        assert!(
            source.text.get(span.clone()).is_some(),
            "{problem:?} in {:?}",
            source.text
        );
    }
    assert!(!line(problem, source).contains('\n'));
    assert!(problem.to_json(source)["message"].is_string());
}

/// A schema that has every word the check reads, somewhere in the playbook.
fn schema() -> Json {
    json!({
        "required": ["playbook", "steps"],
        "properties": {
            "playbook": { "type": "string", "pattern": "^[a-z-]+$" },
            "version": { "type": "string", "maxLength": 10 },
            "title": { "type": ["string", "null"] },
            "description": { "type": "string", "x-literal": true },
            "owner": true,
            "tags": { "type": "array", "items": { "enum": ["sqlite", "recovery", "wal"] }, "uniqueItems": true },
            "inputs": { "type": "object", "additionalProperties": { "$ref": "#/$defs/input" } },
            "common": { "properties": { "on_failure": { "const": "rollback" }, "timeout": { "type": "string", "format": "duration" } } },
            "locks": { "type": "array", "items": { "type": "string" }, "maxItems": 2 },
            "guards": { "type": "array", "prefixItems": [{ "type": "object" }] },
            "steps": { "type": "array", "items": { "$ref": "#/$defs/step" }, "minItems": 1 },
            "outputs": { "anyOf": [{ "type": "object" }, { "type": "null" }] },
        },
        "$defs": {
            "input": {
                "properties": {
                    "type": { "oneOf": [{ "const": "path" }, { "const": "bytes" }, { "const": "integer" }] },
                    "default": { "anyOf": [
                        { "type": "integer", "minimum": 0 }, { "type": "string", "format": "bytes" }
                    ] },
                    "help": { "type": "string" },
                },
                "required": ["type"],
            },
            "step": {
                "required": ["id"],
                "properties": {
                    "id": { "type": "string" },
                    "when": { "type": ["string", "boolean"] },
                    "group": { "type": "array", "items": { "$ref": "#/$defs/step" } },
                },
                "additionalProperties": true,
            },
        },
    })
}

#[test]
fn no_mutation_panics_or_has_a_place_off_the_text() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let schema = schema();
    let (mut trees, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let mut text: Vec<char> = PLAYBOOK.chars().collect();
        for _ in 0..=dice.roll(3) {
            mutate(&mut text, &mut dice);
        }
        let yaml: String = text.into_iter().collect();
        let source = Source::new("p.yml", yaml.as_str());
        let mut problems = Vec::new();
        match parse(&yaml, &Limits::default(), &mut problems) {
            Some(root) => {
                trees += 1;
                check_places(&root, &yaml, &mut dice);
                let _ = root.to_value();
                schema::check(&root, &schema, Templates::Allowed, &mut problems);
            }
            None => {
                refused += 1;
                assert!(
                    problems.iter().any(Diagnostic::is_error),
                    "no tree and no reason: {yaml:?}"
                );
            }
        }
        problems
            .iter()
            .for_each(|problem| check_problem(problem, &source));
        render(&problems, &source, Colour::Plain);
    }
    assert!(
        trees > ROUNDS / 4 && refused > ROUNDS / 4,
        "{trees} trees, {refused} refused"
    );
}

#[test]
fn the_playbook_itself_has_no_mistakes() {
    let mut problems = Vec::new();
    let root = parse(PLAYBOOK, &Limits::default(), &mut problems).expect("a tree");
    schema::check(&root, &schema(), Templates::Allowed, &mut problems);
    assert_eq!(problems, []);
    check_places(&root, PLAYBOOK, &mut Dice(1));
}
