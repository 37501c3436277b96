//! No digest of a secret is stored: whoever reads the journal could try guesses against it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use runwright_core::kind::Digest;

use super::{GIVEN, base64};
use crate::harness::Sandbox;

/// Nothing in it is like anything that the program says.
const TOKEN: &str = "correct-horse-4711";
const OTHER: &str = "battery-staple-0815";

/// Content that holds a secret is written, edited, copied, read and replaced, by steps that know of it and by some that
/// don't.
const PLAYBOOK: &str = r#"playbook: marks
version: 1.0.0
title: Mark contents that hold a secret
inputs:
  token: { type: TYPE }
  other: { type: TYPE }
  then: { type: string, default: "true" }
steps:
  - id: written
    confirm: Write {{ token }}?
    file.write: { path: data/env, content: "T={{ token }}\nPORT=1\n", parents: true }
  - id: rendered
    file.write: { path: data/conf, template: "a={{ t }}\n", values: { t: "{{ other }}" } }
  - id: unaware
    title: Edit a file that holds a secret without naming it
    file.set: { path: data/env, format: env, key: PORT, value: 2 }
  - id: aware
    file.set: { path: data/env, format: env, key: OTHER, value: "{{ other }}" }
  - id: line
    file.set: { path: data/lines, line: "{{ token }}", create: true }
  - id: bare
    file.write: { path: data/bare, content: "{{ token }}" }
  - id: copied
    file.copy: { from: data/env, to: data/copy }
  - id: read
    file.read: { path: data/env }
  - id: compared
    expect:
      - that: copied.digest == read.digest and copied.digest == aware.digest
        else: the digests of one content differ
      - that: read.digest != written.digest
        else: the digests of two contents are the same
  - id: replaced
    title: Replace a content that holds a secret
    file.write: { path: data/copy, content: "nothing\n" }
  - id: gone
    file.delete: { path: data/conf }
  - id: printed
    shell: { env: { T: "{{ token }}" }, script: "printf %s \"$T\"; echo \"$T\" >&2" }
    rollback: []
  - id: asked_for
    sensitive: SENSITIVE
    file.read: { path: given }
  - id: last
    command: { argv: ["{{ then }}"] }
    rollback: []
outputs:
  digest: read.digest
"#;

const SETS: [&str; 4] = ["--set", "token=env:THE_TOKEN", "--set", "other=env:OTHER"];

fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new();
    let playbook = PLAYBOOK.replace("TYPE", "secret");
    sandbox.write("marks.yml", playbook.replace("SENSITIVE", "[text]"));
    sandbox.write("given", format!("{GIVEN}\n"));
    sandbox.write("data/bare", "before\n");
    sandbox.set_env("THE_TOKEN", TOKEN);
    sandbox.set_env("OTHER", OTHER);
    sandbox
}

fn run<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "./marks.yml", "--yes"][..], &SETS, more].concat()
}

/// Returns what lies in the folder of the playbook's files, by name.
fn data(sandbox: &Sandbox) -> BTreeMap<String, Vec<u8>> {
    let files = sandbox.tree("data").into_iter();
    files
        .filter(|(_, (mode, _))| mode & 0o170_000 == 0o100_000)
        .map(|(path, (_, content))| (path.file_name().expect("a name").to_owned(), content))
        .collect()
}

/// Returns the digests of everything that could be guessed, in every form, by name.
fn needles() -> BTreeMap<String, Vec<u8>> {
    let env = format!("T={TOKEN}\nPORT=1\n");
    let edited = format!("T={TOKEN}\nPORT=2\n");
    let whole = format!("{edited}OTHER={OTHER}\n");
    let texts = [
        TOKEN.to_owned(),
        OTHER.to_owned(),
        GIVEN.to_owned(),
        format!("a={OTHER}\n"),
        env,
        edited,
        whole,
    ];
    let mut guesses = BTreeSet::new();
    for text in &texts {
        for part in text.lines().chain([text.as_str(), text.trim_end()]) {
            guesses.insert(part.to_owned());
            guesses.insert(format!("{part}\n"));
            guesses.insert(format!("{part}\n\n"));
        }
    }
    guesses.remove("PORT=1");
    guesses.remove("PORT=2");
    let mut needles = BTreeMap::new();
    for guess in guesses {
        let hex = Digest::of(guess.as_bytes()).0;
        let raw: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex digits"))
            .collect();
        let encoded = base64(&raw);
        let encoded = encoded.trim_end_matches('=');
        let url = encoded.replace('+', "-").replace('/', "_");
        for (name, form) in [
            ("hex", hex.as_bytes()),
            ("HEX", hex.to_uppercase().as_bytes()),
            // As a file or a column may name it by its beginning.
            ("the beginning of its hex", &hex.as_bytes()[..16]),
            ("bytes", &raw),
            ("base64", encoded.as_bytes()),
            ("base64url", url.as_bytes()),
        ] {
            needles.insert(format!("SHA-256 of {guess:?} as {name}"), form.to_vec());
        }
    }
    needles
}

/// Returns the names of the digests that stand in a sink.
fn told(sinks: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    // A character a byte: so that bytes can be sought as text is.
    let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
    let needles = needles().into_iter();
    let needles: Vec<_> = needles.map(|(name, form)| (name, text(&form))).collect();
    let mut told = BTreeSet::new();
    for (sink, content) in sinks {
        let content = text(content);
        let found = needles.iter().filter(|(_, form)| content.contains(form));
        told.extend(found.map(|(name, _)| format!("{sink}: {name}")));
    }
    told
}

/// Does everything with the playbook and returns all that it says and keeps.
fn everything(sandbox: &Sandbox, sets: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let mut sinks = BTreeMap::new();
    let mut run = |arguments: &[&str], code: i32| {
        let ended = sandbox.runwright(arguments).code(code);
        let name = format!("{} (the {}th)", arguments.join(" "), sinks.len() / 2 + 1);
        sinks.insert(format!("stdout of {name}"), ended.stdout.into_bytes());
        sinks.insert(format!("stderr of {name}"), ended.stderr.into_bytes());
    };
    for output in ["plain", "json"] {
        let plan = ["plan", "./marks.yml", "--output", output];
        run(&[&plan[..], sets].concat(), 0);
        let begin = ["run", "./marks.yml", "--yes", "--output", output];
        run(&[&begin[..], sets].concat(), 0);
        for arguments in [
            &["show", "last"][..],
            &["show", "last", "--inputs"],
            &["logs", "last"],
            &["history"],
        ] {
            run(&[arguments, &["--output", output]].concat(), 0);
        }
        // What is there now holds secrets that no argument names, also in the plan.
        run(&[&plan[..], sets].concat(), 0);
        run(&["rollback", "last", "--yes", "--output", output], 0);
        run(&["show", "last", "--output", output], 0);
    }
    run(&["audit", "export", "--all"], 0);
    for (path, (_, content)) in sandbox.tree("state") {
        // What an undo keeps is the content itself, for the owner alone.
        let is_kept = path.as_str().contains("/kept/");
        let name = path.as_str().as_bytes().to_vec();
        sinks.insert(format!("the name of {path}"), name);
        if !is_kept {
            sinks.insert(path.into_string(), content);
        }
    }
    sinks
}

#[test]
fn no_digest_of_a_content_that_holds_a_secret_is_stored_or_shown() {
    let sandbox = sandbox();
    let before = data(&sandbox);
    let sinks = everything(&sandbox, &SETS);
    let told = told(&sinks);
    assert!(told.is_empty(), "told:\n{told:#?}");
    assert_eq!(data(&sandbox), before, "all of it is undone");
    let keyed = sinks.values().filter(|content| {
        let text = String::from_utf8_lossy(content);
        text.contains("keyed:")
    });
    assert!(keyed.count() > 3, "that it is keyed is said");
    for (path, (mode, content)) in sandbox.tree("state/runs") {
        if path.file_name() == Some("key") {
            assert_eq!((mode & 0o777, content.len()), (0o600, 32), "{path}");
        }
    }
}

#[test]
fn the_same_search_finds_the_digests_of_what_is_no_secret() {
    let sandbox = sandbox();
    let playbook = PLAYBOOK.replace("TYPE", "string");
    sandbox.write("marks.yml", playbook.replace("SENSITIVE", "false"));
    let (token, other) = (format!("token={TOKEN}"), format!("other={OTHER}"));
    let sinks = everything(&sandbox, &["--set", &token, "--set", &other]);
    let told = told(&sinks);
    for (sink, guess) in [
        ("stdout of run", format!("T={TOKEN}\nPORT=1\n")),
        ("stdout of plan", TOKEN.to_owned()),
        ("stdout of show", format!("{TOKEN}\n")),
        ("stdout of audit", format!("a={OTHER}\n")),
        ("/journal.db:", TOKEN.to_owned()),
        ("/journal.db:", format!("{GIVEN}\n")),
        ("the name of", format!("T={TOKEN}\nPORT=2\n")),
    ] {
        let name = format!("SHA-256 of {guess:?} as hex");
        let mut told = told.iter();
        assert!(
            told.any(|told| told.contains(sink) && told.ends_with(&name)),
            "{sink} does not tell the {name}"
        );
    }
    let keys = sandbox.tree("state/runs").into_keys();
    let keys = keys.filter(|path| path.file_name() == Some("key"));
    assert_eq!(keys.count(), 0, "no key was needed");
}

#[test]
fn what_is_keyed_is_undone_by_a_failure_and_its_digest_says_so() {
    let sandbox = sandbox();
    let before = data(&sandbox);
    let ended = sandbox.runwright(&run(&["--output", "json"])).code(0);
    let digest = ended.summary()["outputs"]["digest"].clone();
    assert!(
        digest
            .as_str()
            .is_some_and(|text| text.starts_with("keyed:")),
        "{digest}"
    );
    // A later process, which knows no secret; pruning takes nothing from it.
    sandbox
        .runwright(&[
            "journal",
            "prune",
            "--older-than",
            "90d",
            "--reason",
            "none",
            "--yes",
        ])
        .code(0)
        .says("nothing to prune");
    sandbox.runwright(&["rollback", "last", "--yes"]).code(0);
    assert_eq!(data(&sandbox), before);
    sandbox.runwright(&run(&["--set", "then=false"])).code(1);
    assert_eq!(data(&sandbox), before);
}

#[test]
fn what_is_keyed_is_undone_after_a_kill_at_any_step() {
    for nth in 1..=11 {
        let mut sandbox = sandbox();
        let before = data(&sandbox);
        for (point, after) in [("perform-before", "rollback"), ("perform-after", "resume")] {
            sandbox.set_env("RUNWRIGHT_FAULT", &format!("{point}:{nth}"));
            let ended = sandbox.runwright(&run(&[]));
            assert_eq!(ended.code, 128 + 9, "{point} {nth}: {ended:?}");
            sandbox.set_env("RUNWRIGHT_FAULT", "perform-before:1000");
            if after == "resume" {
                // A program in doubt is a question; files settle themselves.
                sandbox.runwright(&["resume", "last", "--yes"]);
            }
            sandbox.runwright(&["rollback", "last", "--yes"]);
            assert_eq!(data(&sandbox), before, "{point} {nth}");
        }
        sandbox.verified_journal();
    }
}

#[test]
fn a_rollback_that_was_killed_goes_on_with_the_key_of_the_run_that_it_undoes() {
    for nth in 1..=9 {
        let mut sandbox = sandbox();
        let before = data(&sandbox);
        sandbox.runwright(&run(&[])).code(0);
        sandbox.set_env("RUNWRIGHT_FAULT", &format!("undo-after:{nth}"));
        let ended = sandbox.runwright(&["rollback", "last", "--yes"]);
        assert_eq!(ended.code, 128 + 9, "{nth}: {ended:?}");
        sandbox.set_env("RUNWRIGHT_FAULT", "undo-after:1000");
        sandbox.runwright(&["resume", "last", "--yes"]).code(0);
        assert_eq!(data(&sandbox), before, "{nth}");
        sandbox.verified_journal();
    }
}

#[test]
fn a_run_that_goes_on_from_another_undoes_with_its_key() {
    let sandbox = sandbox();
    let before = data(&sandbox);
    let playbook = fs::read_to_string(sandbox.path("marks.yml")).expect("the playbook");
    sandbox.write(
        "marks.yml",
        playbook.replace("steps:\n", "on_failure: stop\nsteps:\n"),
    );
    sandbox.runwright(&run(&["--set", "then=false"])).code(1);
    sandbox
        .runwright(&["resume", "last", "--from", "last", "--yes"])
        .code(1)
        .says("last");
    sandbox.runwright(&["rollback", "last", "--yes"]);
    assert_eq!(data(&sandbox), before);
    sandbox.verified_journal();
}

#[test]
fn what_somebody_changed_since_is_left_alone_though_only_a_keyed_digest_tells() {
    let sandbox = sandbox();
    sandbox.runwright(&run(&[])).code(0);
    // Of the same length: only the content differs.
    let theirs = "x".repeat(TOKEN.len());
    sandbox.write("data/bare", &theirs);
    sandbox
        .runwright(&["rollback", "last", "--yes"])
        .code(5)
        .says("was changed after the step");
    let after = data(&sandbox);
    assert_eq!(after["bare"], theirs.as_bytes());
    assert!(!after.contains_key("env"), "the others are undone");
}

#[test]
fn an_undo_whose_key_is_gone_has_lapsed_and_touches_nothing() {
    let sandbox = sandbox();
    let ended = sandbox.runwright(&run(&["--output", "json"])).code(0);
    let run = ended.summary()["run"].as_str().expect("an id").to_owned();
    let after = data(&sandbox);
    let key = sandbox.path("state/runs").join(run).join("key");
    fs::remove_file(key).expect("there is a key");
    sandbox
        .runwright(&["rollback", "last", "--yes"])
        .code(5)
        .says("too late to undo")
        .says("the key");
    let now = data(&sandbox);
    for name in ["env", "bare", "copy", "lines"] {
        assert_eq!(now[name], after[name], "{name}");
    }
}
