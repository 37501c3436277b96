//! The schema for editors: a valid one, that takes what is good and refuses what is not.

use serde_json::{Value as Json, json};

use super::kinds::KINDS;
use crate::{
    language::{kind_schemas, playbook_schema, read, schema},
    schema::unknown_words,
    yaml::{self, Limits},
};

fn json(yaml: &str) -> Json {
    let mut problems = Vec::new();
    let node = yaml::parse(yaml, &Limits::default(), &mut problems);
    assert_eq!(problems, []);
    node.expect("a document").to_value().to_plain()
}

#[test]
fn it_is_a_schema_of_draft_2020_12_that_editors_know() {
    let schema = playbook_schema(&KINDS);
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    if let Err(error) = jsonschema::meta::validate(&schema) {
        panic!("{error} at {}", error.instance_path());
    }
    let text = schema.to_string();
    for word in ["unevaluatedProperties", "\"x-", "\"host\""] {
        assert!(!text.contains(word), "{word}");
    }
    each(&schema, "#", &mut |at, part| {
        if let Some(target) = part.get("$ref").and_then(Json::as_str) {
            let found = target
                .strip_prefix('#')
                .and_then(|target| schema.pointer(target));
            assert!(found.is_some(), "{at} leads nowhere: {target}");
        }
        if part.contains_key("properties") && part["type"] == "object" {
            assert_eq!(
                part.get("additionalProperties"),
                Some(&json!(false)),
                "{at} is open"
            );
        }
    });
}

#[test]
fn every_key_and_every_kind_is_explained() {
    let schema = playbook_schema(&KINDS);
    let mut bare = Vec::new();
    each(&schema, "#", &mut |at, part| {
        let Some(properties) = part.get("properties").and_then(Json::as_object) else {
            return;
        };
        for (name, property) in properties {
            let target = property.get("$ref").and_then(Json::as_str);
            let target = target.and_then(|target| schema.pointer(target.strip_prefix('#')?));
            let is_said = |of: &Json| of.get("description").and_then(Json::as_str).is_some();
            if !is_said(property) && !target.is_some_and(is_said) {
                bare.push(format!("{at}/{name}"));
            }
        }
    });
    // The results of these tests' kinds are no part of it, their arguments are.
    assert_eq!(bare, Vec::<String>::new());
    let step = schema
        .pointer("/$defs/Step/properties")
        .expect("steps have keys");
    for kind in KINDS {
        assert!(step.get(kind.name).is_some(), "{}", kind.name);
    }
}

#[test]
fn the_reader_checks_all_that_its_schema_says() {
    assert_eq!(
        unknown_words(&schema::checked(&KINDS)),
        Vec::<String>::new()
    );
    assert_eq!(unknown_words(&schema::input()), Vec::<String>::new());
    for kind in KINDS {
        let arguments = Json::from(kind.arguments_schema());
        assert_eq!(
            unknown_words(&arguments),
            Vec::<String>::new(),
            "{}",
            kind.name
        );
    }
}

#[test]
fn the_reference_is_made_of_every_kind() {
    let schemas = kind_schemas(&KINDS);
    assert_eq!(schemas.as_object().expect("a map").len(), KINDS.len());
    let delete = &schemas["file.delete"];
    assert_eq!(delete["effect"], "destroy");
    assert_eq!(delete["undone"], "itself");
    assert_eq!(
        delete["arguments"]["description"],
        "Deletes a file; kept for a while it can be put back."
    );
    assert!(delete["arguments"]["properties"]["keep"]["description"].is_string());
}

const HEAD: &str = "playbook: p\nversion: 1.0.0\ntitle: T\n";

#[test]
fn what_the_reader_takes_the_schema_takes_too() {
    let validator = jsonschema::validator_for(&playbook_schema(&KINDS)).expect("a schema");
    for text in [
        "steps: [{ id: a, confirm: true }]",
        "steps: [{ id: a, confirm: \"Really {{ run.id }}?\", expect: [{ that: true, severity: warning }] }]",
        "steps: [{ id: a, confirm: { message: x, phrase: y } }]",
        "steps: [{ id: a, when: true, file.stat: { path: \"{{ run.id }}\" }, timeout: \"{{ run.id }}\", until: result.exists, within: 1m }]",
        "steps: [{ id: a, sqlite.check: { database: x, depth: \"{{ run.id }}\" } }]",
        "steps: [{ id: a, sqlite.checkpoint: { database: x, mode: y, busy_timeout: \"{{ run.id }}\" } }]",
        "steps: [{ id: a, file.write: { path: /x, mode: \"0640\", template: \"{{ x }}\" } }]",
        "steps: [{ id: a, command: { argv: [a, \"{{ run.id }}\"] }, effect: read, retry: { attempts: 3, on: [timeout] } }]",
        "steps: [{ id: a, command: { argv: \"{{ [run.id] }}\" }, rollback: [] }]",
        "steps: [{ id: a, group: [{ id: b, manual: do it }] }]",
        "steps: [{ id: a, parallel: [{ id: b, manual: do it }], at_once: 2 }]",
        "steps: [{ id: a, foreach: { in: [1, 2], as: n, key: n, steps: [{ id: b, finding: { severity: info, title: x } }] } }]",
        "steps: [{ id: a, choose: [{ when: true, steps: [] }, { otherwise: [{ id: b, wait: 5s }] }] }]",
        "steps: [{ id: a, call: { playbook: other@^1, with: { x: 1 } } }]",
        "steps: [{ id: a, ask: { why: { type: string, min: 5 } } }, { id: b, set: { x: a.why, y: [1] } }]",
        "steps: [{ id: a, notify: { to: terminal, message: x }, sensitive: [] }]"
            .replace(", sensitive: []", "")
            .as_str(),
        "steps: [{ id: a, unless: { file.stat: { path: /x }, that: result.exists }, service: { name: x, state: y }, sensitive: true }]",
        "steps: [{ id: a, unless: run.id == \"x\", file.stat: { path: /x }, sensitive: [size], on_failure: continue }]",
        "guards: [{ file.stat: { path: /x }, that: result.exists, else: no }]\nsteps: [{ id: a, manual: x }]\nalways: [{ id: b, manual: y }]\noutputs: { x: a.remark }\nvars: { y: 5 }\nconnections: { db: \"sqlite:/x\" }\nrequires: { jq: \"*\" }\ntags: [a]\non_failure: stop\nreviewed: 2026-11-20\nstale_after: 90d",
        "inputs: { a: { type: list, items: { type: string }, default: [x] }, b: { type: choice, of: [x] }, c: { type: map, fields: { d: { type: bytes, default: 1MiB } } } }\nsteps: [{ id: s, manual: x }]",
    ] {
        let text = format!("{HEAD}{text}\n");
        let source = crate::diagnostic::Source::new("p.yml", text.as_str());
        let (_, problems) = read(&source, None, &KINDS);
        assert_eq!(problems, [], "{text}");
        if let Err(error) = validator.validate(&json(&text)) {
            panic!("{error} at {}\n{text}", error.instance_path());
        }
    }
}

#[test]
fn what_has_another_shape_the_schema_refuses() {
    let validator = jsonschema::validator_for(&playbook_schema(&KINDS)).expect("a schema");
    for text in [
        "steps: [{ confirm: true }]",
        "steps: {}",
        "stps: []",
        "steps: [{ id: a, confirm: false }]",
        "steps: [{ id: a, confirm: { mesage: x } }]",
        "steps: [{ id: a, file.sat: { path: x } }]",
        "steps: [{ id: a, file.stat: { pth: x } }]",
        "steps: [{ id: a, file.stat: { path: x }, command: { argv: [x] } }]",
        "steps: [{ id: a, group: [], manual: x }]",
        "steps: [{ id: a }]",
        "steps: [{ id: a, host: b, confirm: true }]",
        "locks: x\nsteps: [{ id: a, confirm: true }]",
        "steps: [{ id: a, confirm: { approvers: 0 } }]",
        "steps: [{ id: a, confirm: { not_starter: maybe } }]",
        "steps: [{ id: a, confirm: { deadline: soon } }]",
        "steps: [{ id: a, sqlite.check: { database: x, depth: deep } }]",
        "steps: [{ id: a, file.write: { path: /x, mode: 0o640 } }]",
        "steps: [{ id: a, wait: soon }]",
        "steps: [{ id: a, wait: 5 }]",
        "steps: [{ id: a, manual: x, on_failure: rolback }]",
        "steps: [{ id: a, finding: { severity: bad, title: x } }]",
        "steps: [{ id: a, file.stat: { path: x }, retry: { attempts: 0 } }]",
        "steps: [{ id: a, foreach: { in: [1] } }]",
        "steps: [{ id: a, choose: [{ when: true }] }]",
        "inputs: { a: { type: strng } }\nsteps: [{ id: a, confirm: true }]",
        "guards: [{ file.stat: { path: x } }]\nsteps: [{ id: a, confirm: true }]",
    ] {
        let text = format!("{HEAD}{text}\n");
        assert!(!validator.is_valid(&json(&text)), "{text}");
    }
}

/// Calls `visit` for every mapping in a schema, with its place.
fn each(schema: &Json, at: &str, visit: &mut dyn FnMut(&str, &serde_json::Map<String, Json>)) {
    match schema {
        Json::Object(map) => {
            visit(at, map);
            for (name, part) in map {
                each(part, &format!("{at}/{name}"), visit);
            }
        }
        Json::Array(items) => {
            for (index, part) in items.iter().enumerate() {
                each(part, &format!("{at}/{index}"), visit);
            }
        }
        _ => {}
    }
}
