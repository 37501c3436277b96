//! `runwright plan`: what it shows is what the run does, and that somebody looked is kept.

use std::{fs, os::unix::fs::PermissionsExt, process::Child};

use rexpect::session::spawn_command;
use serde_json::Value as Json;

use crate::harness::{Ended, PROGRAM, Sandbox, until};

/// Changes three things in three ways, then works until somebody lets it end, well or badly.
const CHANGES: &str = "playbook: changes
version: 1.0.0
title: Change three things
description: For a change request.
inputs:
  token: { type: secret }
locks: [\"thing:{{ run.host }}\"]
steps:
  - id: write
    title: Write a file
    file.write: { path: made, content: \"token {{ token }}\" }
  - id: touch
    title: Touch another
    command: { argv: [touch, touched] }
    rollback:
      - id: remove
        title: Remove it
        command: { argv: [rm, touched] }
  - id: clean
    title: Delete the old one
    file.delete: { path: old }
  - id: work
    title: Work
    command: { argv: [sh, -c, \"touch running; until test -e go-on; do sleep 0.02; done; exit $(cat go-on)\"] }
    rollback: []
";

const TOKEN: &str = "sesame-open-now";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("changes.yml", CHANGES);
    sandbox.write("token", TOKEN);
    sandbox.write("old", "old\n");
    sandbox
}

fn plan(sandbox: &Sandbox, more: &[&str]) -> Ended {
    let arguments = ["plan", "./changes.yml", "--set", "token=file:token"];
    sandbox.runwright(&[&arguments, more].concat())
}

fn json(ended: &Ended) -> Json {
    serde_json::from_str(&ended.stdout).expect("JSON")
}

fn at_work(sandbox: &Sandbox) -> Child {
    let child = sandbox.start(&["run", "./changes.yml", "--yes", "--set", "token=file:token"]);
    until("it works", || sandbox.path("running").exists());
    child
}

fn texts(json: &Json, name: &str) -> Vec<String> {
    let items = json.as_array().expect("a list").iter();
    items
        .map(|item| item[name].as_str().expect("a text").to_owned())
        .collect()
}

#[test]
fn what_a_failure_would_undo_is_what_the_run_undoes_when_it_fails() {
    let sandbox = sandbox();
    let planned = json(&plan(&sandbox, &["--undo", "--output", "json"]).code(0));
    let failures = planned["failures"].as_array().expect("failures");
    let work = failures.iter().find(|failure| failure["step"] == "work");
    let work = work.expect("it may fail");
    assert_eq!(work["outcome"], "rolled_back");
    let expected = texts(&work["undoes"], "step");
    assert_eq!(expected, ["clean", "touch", "write"]);

    sandbox.write("go-on", "7");
    let run = sandbox.runwright(&[
        "run",
        "./changes.yml",
        "--yes",
        "--output",
        "json",
        "--set",
        "token=file:token",
    ]);
    let code = i64::from(run.code);
    assert_eq!(work["exit_code"], code, "{run:?}");
    assert_eq!(run.summary()["outcome"], "rolled_back");
    let undone: Vec<String> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).expect("JSON"))
        .filter(|line| line["kind"] == "undone")
        .map(|line| line["step"].as_str().expect("a step").to_owned())
        .collect();
    assert_eq!(undone, expected);
    let page = plan(&sandbox, &["--undo"]).code(0);
    page.says("If a step fails")
        .says("1. `clean` by itself: rename")
        .says("2. `touch` by steps of the playbook: Remove it");
}

#[test]
fn a_lock_that_a_run_has_is_told_with_its_holder_and_nothing_is_made() {
    let sandbox = sandbox();
    plan(&sandbox, &[])
        .code(0)
        .says("lock    thing:")
        .says(": free");
    assert!(!sandbox.path("locks").exists(), "a plan makes no lock");
    let mut run = at_work(&sandbox);
    let before = sandbox.tree("locks");
    let ended = plan(&sandbox, &[]).code(0);
    let pid = format!("pid {}", run.id());
    let taken = ended
        .says("TAKEN")
        .says("the run would be refused before its first step")
        .says("runwright cancel");
    let words: Vec<&str> = taken.stdout.split_whitespace().collect();
    assert!(words.join(" ").contains(&pid), "{}", taken.stdout);
    let shown = json(&plan(&sandbox, &["--output", "json"]).code(0));
    assert_eq!(shown["head"]["locks"][0]["free"], false);
    let offline = json(&plan(&sandbox, &["--offline", "--output", "json"]).code(0));
    assert_eq!(offline["head"]["locks"][0]["free"], Json::Null);
    assert_eq!(sandbox.tree("locks"), before);
    sandbox.write("go-on", "0");
    assert_eq!(run.wait().expect("it ends").code(), Some(0));
    plan(&sandbox, &[]).code(0).says(": free");
}

#[test]
fn a_look_leaves_one_event_that_is_no_run_and_is_proved_exported_and_pruned_as_one() {
    let sandbox = sandbox();
    plan(&sandbox, &[]).code(0);
    plan(&sandbox, &["--offline"]).code(0);
    let history = sandbox.runwright(&["history"]).code(0);
    assert_eq!(history.stdout, "", "{history:?}");
    sandbox.runwright(&["show", "last"]).code(1);
    let plans = sandbox.runwright(&["--output", "json", "history", "--plans"]);
    let plans = json(&plans.code(0));
    assert_eq!(plans.as_array().expect("a list").len(), 2);
    let (offline, probed) = (&plans[0], &plans[1]);
    assert_eq!(
        (&offline["offline"], &probed["offline"]),
        (&Json::from(true), &Json::from(false))
    );
    assert_eq!(texts(&offline["probed"], "kind"), Vec::<String>::new());
    assert_eq!(
        texts(&probed["probed"], "kind"),
        ["file.write", "file.delete"]
    );
    assert_eq!(probed["found"], "nothing was found that would stop it");
    let id = probed["preview"].as_str().expect("an id").to_owned();
    let shown = sandbox.runwright(&["show", &id]).code(0);
    shown
        .says("looked at its plan")
        .says("probed  file.write for `write`");
    sandbox.runwright(&["resume", &id]).code(3);
    sandbox
        .runwright(&["rollback", &id, "--yes"])
        .code(3)
        .says("is no run");

    sandbox.write("go-on", "0");
    sandbox
        .runwright(&["run", "./changes.yml", "--yes", "--set", "token=file:token"])
        .code(0);
    sandbox.runwright(&["show", "last"]).code(0).says("changes");
    sandbox.runwright(&["audit", "verify"]).code(0);
    let export = sandbox.runwright(&["audit", "export"]).code(0);
    assert_eq!(export.stdout.matches("\"kind\":\"previewed\"").count(), 2);
    let file = sandbox.write("export.jsonl", &export.stdout);
    sandbox
        .runwright(&["audit", "verify", "--export", file.as_str()])
        .code(0);
    for (path, (_, content)) in sandbox.tree("state") {
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains(TOKEN), "the secret is in {path}");
    }
    sandbox
        .runwright(&["journal", "prune", &id, "--yes", "--reason", "tidy"])
        .code(0);
    sandbox.runwright(&["audit", "verify"]).code(0);
    let plans = sandbox.runwright(&["--output", "json", "history", "--plans"]);
    assert_eq!(json(&plans).as_array().expect("a list").len(), 1);
}

#[test]
fn a_record_of_a_look_that_was_altered_shows() {
    let sandbox = sandbox();
    plan(&sandbox, &[]).code(0);
    let journal = rusqlite::Connection::open(sandbox.path("state/journal.db")).expect("a journal");
    journal
        .execute("UPDATE runs SET user = 'nobody'", [])
        .expect("a list is no proof");
    drop(journal);
    let ended = sandbox.runwright(&["audit", "verify"]);
    assert_ne!(ended.code, 0, "{ended:?}");
    ended.says("nobody");
}

#[test]
fn where_no_journal_can_be_kept_the_plan_is_shown_and_that_is_said() {
    let sandbox = sandbox();
    sandbox.write("state/journal.db", "");
    fs::set_permissions(sandbox.path("state"), fs::Permissions::from_mode(0o777)).expect("a mode");
    let ended = plan(&sandbox, &[]).code(0);
    assert!(ended.stdout.contains("Delete the old one"), "{ended:?}");
    assert!(ended.stderr.contains("is not in the journal"), "{ended:?}");
}

#[test]
fn as_markdown_it_goes_into_a_change_request_and_only_a_plan_writes_it() {
    let sandbox = sandbox();
    let ended = plan(&sandbox, &["--output", "markdown", "--undo"]).code(0);
    for text in [
        "# changes 1.0.0: Change three things\n",
        "## Purpose\n\nFor a change request.\n",
        "## Risks\n",
        "1. **Write a file** (`write`) - changes\n",
        "## Undo\n",
        "   +token ***\n",
    ] {
        assert!(ended.stdout.contains(text), "no {text}\n{}", ended.stdout);
    }
    assert!(!ended.stdout.contains(TOKEN));
    sandbox
        .runwright(&["history", "--output", "markdown"])
        .code(2);
}

#[test]
fn no_line_is_wider_than_a_hundred_columns_and_no_colour_reaches_a_pipe() {
    let sandbox = sandbox();
    let ended = plan(&sandbox, &["--undo"]).code(0);
    for line in ended.stdout.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(!ended.stdout.contains('\x1b'));
}

#[test]
fn a_run_without_a_look_needs_a_reason_which_stands_in_the_journal() {
    let sandbox = sandbox();
    sandbox.write("go-on", "0");
    let run = ["run", "./changes.yml", "--set", "token=file:token"];
    let ended = sandbox.runwright(&[&run[..], &["--no-plan"]].concat());
    ended.code(2).says("--reason");
    let empty = [&run[..], &["--no-plan", "--reason", " "]].concat();
    sandbox.runwright(&empty).code(2);

    let mut command = sandbox.attached(PROGRAM);
    command
        .args(run)
        .args(["--no-plan", "--reason", "the site is down"]);
    command.env("TERM", "xterm");
    let mut session = spawn_command(command, Some(20_000)).expect("a program on a terminal");
    let said = session.exp_eof().expect("its end");
    assert!(!said.contains("Start?"), "{said}");
    assert!(sandbox.path("made").exists(), "{said}");
    let shown = sandbox.runwright(&["show", "last"]).code(0);
    shown.says("without a look at its plan: the site is down");
    let plans = sandbox.runwright(&["history", "--plans"]).code(0);
    assert_eq!(plans.stdout, "", "nobody has looked");
    sandbox.runwright(&["audit", "verify"]).code(0);
}

#[test]
fn on_a_terminal_the_short_form_is_shown_and_one_question_asked() {
    let sandbox = sandbox();
    sandbox.write("go-on", "0");
    let mut command = sandbox.attached(PROGRAM);
    command.args(["run", "./changes.yml", "--set", "token=file:token"]);
    command.env("TERM", "xterm");
    let mut session = spawn_command(command, Some(20_000)).expect("a program on a terminal");
    let short = session.exp_string("Start?").expect("the question");
    assert!(short.contains("only for 7d"), "{short}");
    assert!(!sandbox.path("made").exists());
    session.send_line("y").expect("an answer");
    let rest = session.exp_eof().expect("its end");
    assert!(!rest.contains("Start?"), "{rest}");
    assert!(sandbox.path("made").exists(), "{rest}");
    let plans = sandbox.runwright(&["history", "--plans"]).code(0);
    assert_eq!(plans.stdout.lines().count(), 1, "{plans:?}");
}
