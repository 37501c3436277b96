//! Questions: on a terminal asked, without one listed before anything starts.

use std::fs;

use rexpect::session::{PtySession, spawn_command};

use crate::harness::{PROGRAM, Sandbox};

const PLAYBOOK: &str = "playbook: asks
version: 1.0.0
title: Ask twice
inputs:
  name: { type: string, default: kv }
steps:
  - id: plain
    title: Touch a file
    confirm: Touch the file of {{ name }}?
    command: { argv: [touch, plain] }
    rollback: []
  - id: named
    title: Touch another
    confirm:
      message: This is serious
      phrase: \"{{ name }}.db\"
    command: { argv: [touch, named] }
    rollback: []
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("asks.yml", PLAYBOOK);
    sandbox
}

/// Starts the program on a terminal of its own.
fn on_terminal(sandbox: &Sandbox, arguments: &[&str]) -> PtySession {
    let mut command = sandbox.attached(PROGRAM);
    command.args(arguments).env("TERM", "xterm");
    spawn_command(command, Some(20_000)).expect("a program on a terminal")
}

/// Returns the exit code once the program has ended.
fn code(mut session: PtySession) -> i32 {
    session.exp_eof().expect("its end");
    match session.process().wait().expect("its end") {
        nix::sys::wait::WaitStatus::Exited(_, code) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_terminal_every_missing_answer_is_listed_and_the_run_waits() {
    let sandbox = sandbox();
    let ended = sandbox.runwright(&["run", "./asks.yml"]).code(4);
    ended.says("plain").says("--yes").says("--confirm named=");
    assert!(!sandbox.path("plain").exists());
    let ended = sandbox.runwright(&["run", "./asks.yml", "--yes"]).code(4);
    assert!(!ended.stderr.contains("step `plain`"), "{ended:?}");
    assert!(sandbox.path("plain").exists() && !sandbox.path("named").exists());
}

#[test]
fn answers_given_beforehand_are_taken_and_a_wrong_phrase_is_a_no() {
    let sandbox = sandbox();
    let wrong = ["run", "./asks.yml", "--yes", "--confirm", "named=other.db"];
    let ended = sandbox.runwright(&wrong);
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(!sandbox.path("named").exists());
    sandbox
        .runwright(&["run", "./asks.yml", "--yes", "--confirm", "named=kv.db"])
        .code(0);
    assert!(sandbox.path("named").exists());
}

#[test]
fn on_a_terminal_yes_and_the_right_phrase_go_on() {
    let sandbox = sandbox();
    let mut session = on_terminal(&sandbox, &["run", "./asks.yml"]);
    session.exp_string("Start?").expect("the first question");
    session.send_line("y").expect("an answer");
    session
        .exp_string("Touch the file of kv?")
        .expect("a question");
    session.send_line("y").expect("an answer");
    session.exp_string("This is serious").expect("a question");
    session.exp_string("kv.db").expect("the phrase");
    session.send_line("kv.db").expect("an answer");
    assert_eq!(code(session), 0);
    assert!(sandbox.path("plain").exists() && sandbox.path("named").exists());
}

#[test]
fn no_at_the_start_starts_nothing() {
    let sandbox = sandbox();
    let mut session = on_terminal(&sandbox, &["run", "./asks.yml"]);
    session.exp_string("Start?").expect("the first question");
    session.send_line("n").expect("an answer");
    assert_eq!(code(session), 3);
    assert!(!sandbox.path("plain").exists());
}

#[test]
fn an_empty_answer_is_a_no_and_refuses() {
    let sandbox = sandbox();
    let mut session = on_terminal(&sandbox, &["run", "./asks.yml"]);
    session.exp_string("Start?").expect("the first question");
    session.send_line("y").expect("an answer");
    session
        .exp_string("Touch the file of kv?")
        .expect("a question");
    session.send_line("").expect("an answer");
    assert_eq!(code(session), 3, "refused before anything was changed");
    assert!(!sandbox.path("plain").exists());
}

#[test]
fn a_wrong_phrase_refuses_and_what_was_done_is_undone() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "asks.yml",
        PLAYBOOK.replace(
            "command: { argv: [touch, plain] }\n    rollback: []",
            "file.write: { path: plain, content: x }",
        ),
    );
    let mut session = on_terminal(&sandbox, &["run", "./asks.yml"]);
    session.exp_string("Start?").expect("the first question");
    session.send_line("y").expect("an answer");
    session
        .exp_string("Touch the file of kv?")
        .expect("a question");
    session.send_line("y").expect("an answer");
    session.exp_string("This is serious").expect("a question");
    session.exp_string("go on").expect("the prompt");
    session.send_line("something else").expect("an answer");
    let code = code(session);
    assert!([1, 3].contains(&code), "{code}");
    assert!(!sandbox.path("named").exists());
    assert!(!sandbox.path("plain").exists(), "undone");
}

#[test]
fn a_missing_input_is_asked_for() {
    let sandbox = Sandbox::new();
    let text = "playbook: input
version: 1.0.0
title: Write what was said
inputs:
  text: { type: string, help: What to write }
steps:
  - id: write
    title: Write it
    file.write: { path: written, content: \"{{ text }}\" }
";
    sandbox.write("input.yml", text);
    let mut session = on_terminal(&sandbox, &["run", "./input.yml"]);
    session.exp_string("What to write").expect("a question");
    session.send_line("hello").expect("an answer");
    session.exp_string("Start?").expect("a question");
    session.send_line("y").expect("an answer");
    assert_eq!(code(session), 0);
    assert_eq!(
        fs::read_to_string(sandbox.path("written")).expect("a file"),
        "hello"
    );
}
