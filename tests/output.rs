//! What the program says: JSON lines for programs, and the commands that only tell.

use std::fs;

use jsonschema::Validator;
use serde_json::Value as Json;

use crate::harness::{Sandbox, root};

const PLAYBOOK: &str = "playbook: speaks
version: 1.2.0
title: Print, write and maybe fail
inputs:
  then: { type: choice, of: [\"true\", \"false\"], default: \"true\", help: How it ends }
steps:
  - id: print
    title: Print two lines
    command: { argv: [printf, \"one\\ntwo\\n\"], effect: read }
    expect:
      - that: result.stdout == \"\"
        else: it printed something
        severity: warning
  - id: skipped
    title: Never
    when: print.exit == 1
    command: { argv: [\"false\"] }
    rollback: []
  - id: write
    title: Write a file
    file.write: { path: written, content: \"x\\n\" }
  - id: each
    title: Some rounds
    foreach:
      in: [\"a\", \"b\"]
      as: name
      key: name
      steps:
        - id: touch
          title: Touch {{ name }}
          file.write: { path: \"round-{{ name }}\", content: \"{{ index }}\\n\" }
  - id: last
    title: End as wanted
    command: { argv: [\"{{ then }}\"] }
    rollback: []
outputs:
  printed: print.stdout
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "speaks.yml",
        PLAYBOOK.replace(", effect: read }", " }\n    effect: read"),
    );
    sandbox
}

fn schema(name: &str) -> Validator {
    let path = root().join(format!("schemas/{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let schema: Json = serde_json::from_str(&text).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
}

#[track_caller]
fn validate(validator: &Validator, line: &str) {
    let value: Json = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{line}\n{}", errors.join("\n"));
}

#[test]
fn every_line_of_json_output_is_as_its_schema_says() {
    let sandbox = sandbox();
    let schema = schema("output");
    for (arguments, code) in [
        (vec!["run", "./speaks.yml", "--yes"], 10),
        (vec!["rollback", "last", "--yes"], 0),
        (
            vec!["run", "./speaks.yml", "--yes", "--set", "then=false"],
            1,
        ),
        (vec!["show", "last"], 0),
        (vec!["run", "daily-health", "--fail-on", "never"], 0),
    ] {
        let ended = sandbox
            .runwright(&[&arguments[..], &["--output", "json"]].concat())
            .code(code);
        assert!(ended.stdout.lines().count() > 3, "{arguments:?}");
        for line in ended.stdout.lines() {
            validate(&schema, line);
        }
    }
}

#[test]
fn the_preview_as_json_is_as_its_schema_says_and_changes_nothing() {
    let sandbox = sandbox();
    let schema = schema("plan");
    let ended = sandbox
        .runwright(&["plan", "./speaks.yml", "--output", "json"])
        .code(0);
    validate(&schema, &ended.stdout);
    let shown = sandbox.runwright(&["plan", "./speaks.yml"]).code(0);
    let dry = sandbox
        .runwright(&["run", "./speaks.yml", "--dry-run"])
        .code(0);
    // The second line has the time.
    let body = |text: &str| text.lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(body(&shown.stdout), body(&dry.stdout), "the same thing");
    shown.says("Write a file");
    assert!(!sandbox.path("written").exists());
    let history = sandbox.runwright(&["history"]);
    assert!(!history.stdout.contains("speaks"), "{history:?}");
}

#[test]
fn the_playbook_schema_validates_every_shipped_playbook() {
    let schema = schema("playbook");
    for path in crate::shipped::playbooks() {
        let text = fs::read_to_string(&path).expect("a file");
        let value: Json = serde_yaml::from_str(&text).expect("YAML");
        let errors: Vec<String> = schema
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{path}\n{}", errors.join("\n"));
    }
}

#[test]
fn what_a_run_did_is_shown_and_its_output_kept() {
    let sandbox = sandbox();
    let run = sandbox
        .runwright(&["run", "./speaks.yml", "--yes", "--output", "json"])
        .code(10);
    let summary = run.summary();
    assert_eq!(summary["outcome"], "succeeded");
    assert_eq!(summary["outputs"]["printed"], "one\ntwo");
    let id = summary["run"].as_str().expect("an id").to_owned();
    let journal = sandbox.verified_journal();
    assert_eq!(
        journal.run(&id).expect("a run").head.to_string(),
        summary["head"].as_str().expect("a head")
    );

    let plain = sandbox
        .runwright(&["show", &id[..6], "--output", "plain"])
        .code(0);
    plain
        .says("Print two lines")
        .says("it printed something")
        .says("succeeded");
    sandbox.runwright(&["logs", &id]).code(0).says("two");
    let history = sandbox.runwright(&["history", "--output", "json"]).code(0);
    let history: Json = serde_json::from_str(history.stdout.trim()).expect("JSON");
    assert_eq!(history[0]["run"], id.as_str());
    assert_eq!(history[0]["exit_code"], 10);
    sandbox.runwright(&["history"]).code(0).says("speaks");
    sandbox.runwright(&["show", "nosuchrun"]).code(1);
}

#[test]
fn playbooks_are_listed_described_and_checked() {
    let sandbox = sandbox();
    let list = sandbox.runwright(&["list"]).code(0);
    assert!(
        list.stdout.contains("daily-health") && list.stdout.contains("wal-recover"),
        "{list:?}"
    );
    let described = sandbox.runwright(&["describe", "wal-recover"]).code(0);
    for text in ["When to use it", "database", "wal_limit", "100MiB", "undo"] {
        assert!(
            described
                .stdout
                .to_lowercase()
                .contains(&text.to_lowercase()),
            "{text} in\n{}",
            described.stdout
        );
    }
    sandbox
        .runwright(&["describe", "./speaks.yml"])
        .code(0)
        .says("How it ends");
    sandbox.runwright(&["check", "./speaks.yml"]).code(0);
    sandbox.write("broken.yml", PLAYBOOK.replace("foreach", "forech"));
    sandbox
        .runwright(&["check", "./broken.yml"])
        .code(2)
        .says("did you mean `foreach`");
}

#[test]
fn help_lists_the_exit_codes_and_wrong_usage_is_2() {
    let sandbox = Sandbox::new();
    sandbox.runwright(&["--help"]).code(0).says("Exit codes");
    sandbox.runwright(&["run"]).code(2);
    sandbox.runwright(&["runn"]).code(2).says("run");
    sandbox
        .runwright(&["run", "daily-health", "--sett", "x=1"])
        .code(2)
        .says("--set");
}
