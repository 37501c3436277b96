//! Ending a run from elsewhere, and by the keys and signals of its own terminal.

use std::{fs, process::Child};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::harness::{Ended, Sandbox, terminal::Terminal, until};

/// Writes a file, then works until somebody lets it end.
fn sandbox(on_failure: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let made = sandbox.path("made");
    let text = format!(
        "playbook: works
version: 1.0.0
title: Make a file and work
{on_failure}
steps:
  - id: make
    title: Make a file
    file.write: {{ path: {made}, content: x }}
  - id: work
    title: Work
    command: {{ argv: [sh, -c, \"touch running; until test -e go-on; do sleep 0.02; done; test ! -e fails\"] }}
    rollback: []
  - id: ask
    title: Leave a mark
    confirm: Leave a mark?
    command: {{ argv: [touch, mark] }}
    rollback: []
"
    );
    sandbox.write("works.yml", text);
    sandbox
}

fn at_work(sandbox: &Sandbox) -> Child {
    let child = sandbox.start(&["run", "./works.yml"]);
    until("it works", || sandbox.path("running").exists());
    child
}

fn waiting(sandbox: &Sandbox) {
    sandbox.write("go-on", "");
    sandbox.runwright(&["run", "./works.yml"]).code(4);
}

fn on_terminal(sandbox: &Sandbox) -> Terminal<'_> {
    let mut terminal = Terminal::start(sandbox, &["run", "./works.yml"]);
    terminal.says("Start?").types("y");
    until("it works", || sandbox.path("running").exists());
    terminal
}

fn cancel(sandbox: &Sandbox, more: &[&str]) -> Ended {
    let arguments = [&["cancel", "last", "-m", "wrong machine"], more].concat();
    sandbox.runwright(&arguments)
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("a pid");
    kill(Pid::from_raw(pid), signal).expect("it lives");
}

#[test]
fn a_run_at_work_is_cancelled_and_undone() {
    let sandbox = sandbox("");
    let mut run = at_work(&sandbox);
    assert!(sandbox.path("made").exists());
    cancel(&sandbox, &[]).code(0).says("taken in");
    assert_eq!(run.wait().expect("it ends").code(), Some(130));
    assert!(!sandbox.path("made").exists(), "undone");
    sandbox
        .runwright(&["show"])
        .says("wrong machine")
        .says("CANCELLED");
    cancel(&sandbox, &[]).code(3).says("has ended");
}

#[test]
fn a_run_that_waits_is_cancelled_by_who_says_yes() {
    let sandbox = sandbox("");
    waiting(&sandbox);
    cancel(&sandbox, &[]).code(2).says("--yes");
    assert!(sandbox.path("made").exists());
    cancel(&sandbox, &["--yes"]).code(0);
    assert!(!sandbox.path("made").exists(), "undone");
    assert_eq!(sandbox.standing(), "cancelled");
    sandbox.runwright(&["show"]).says("wrong machine");
}

#[test]
fn a_run_that_has_stopped_is_kept_or_rolled_back_as_is_said() {
    for (flag, outcome) in [("--roll-back", "rolled_back"), ("--keep-changes", "failed")] {
        let sandbox = sandbox("on_failure: stop");
        sandbox.write("fails", "");
        sandbox.write("go-on", "");
        sandbox.runwright(&["run", "./works.yml"]).code(1);
        assert_eq!(sandbox.standing(), "stopped");
        let unsaid = cancel(&sandbox, &["--yes"]).code(3);
        unsaid.says("--roll-back").says("--keep-changes");
        assert_eq!(sandbox.standing(), "stopped");
        cancel(&sandbox, &["--yes", flag]).code(0);
        assert_eq!(sandbox.standing(), outcome);
        assert_eq!(sandbox.path("made").exists(), flag == "--keep-changes");
    }
}

#[test]
fn a_run_whose_process_was_killed_is_cancelled() {
    let sandbox = sandbox("");
    let mut run = at_work(&sandbox);
    run.kill().expect("it lives");
    run.wait().expect("it ends");
    assert_eq!(sandbox.standing(), "interrupted");
    // The step outlives the engine.
    sandbox.write("go-on", "");
    until("it is cancelled", || {
        let ended = cancel(&sandbox, &["--yes"]);
        assert!(
            ended.code == 0 || ended.stderr.contains("still live"),
            "{ended:?}"
        );
        ended.code == 0
    });
    assert_eq!(sandbox.standing(), "cancelled");
    assert!(!sandbox.path("made").exists(), "undone");
}

#[test]
fn signals_stop_a_run_in_order_and_it_can_be_resumed() {
    for by in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let sandbox = sandbox("");
        let mut run = at_work(&sandbox);
        signal(&run, by);
        assert_eq!(run.wait().expect("it ends").code(), Some(6), "{by}");
        assert_eq!(sandbox.standing(), "stopped");
        assert!(sandbox.path("made").exists(), "kept");
        sandbox.write("go-on", "");
        sandbox.runwright(&["resume", "last", "--yes"]).code(0);
        assert!(sandbox.path("mark").exists());
    }
}

#[test]
fn a_terminal_that_hangs_up_stops_the_run_in_order() {
    let sandbox = sandbox("");
    on_terminal(&sandbox).hang_up();
    sandbox.wait_for("stopped");
    assert!(sandbox.path("made").exists());
    sandbox.runwright(&["show"]).says("SIGHUP");
    sandbox.write("go-on", "");
    sandbox.runwright(&["resume", "last", "--yes"]).code(0);
}

#[test]
fn a_terminal_that_hangs_up_in_a_question_loses_nothing() {
    let sandbox = sandbox("");
    sandbox.write("go-on", "");
    let mut terminal = on_terminal(&sandbox);
    terminal.says("Leave a mark? [y/N]");
    terminal.hang_up();
    until("nobody works on it", || {
        ["stopped", "waiting"].contains(&sandbox.standing().as_str())
    });
    sandbox.runwright(&["resume", "last", "--yes"]).code(0);
    assert!(sandbox.path("mark").exists());
}

#[test]
fn ctrl_c_asks_what_is_meant() {
    let sandbox_of = || sandbox("");
    let sandbox = sandbox_of();
    let mut terminal = on_terminal(&sandbox);
    terminal.ctrl_c().says("What now?").types("go-on");
    sandbox.write("go-on", "");
    terminal.says("Leave a mark? [y/N]").types("y");
    assert_eq!(terminal.ends().0, 0);
    assert!(sandbox.path("mark").exists());

    let sandbox = sandbox_of();
    let mut terminal = on_terminal(&sandbox);
    terminal.ctrl_c().says("What now?").types("stop");
    assert_eq!(terminal.ends().0, 6);
    assert_eq!(sandbox.standing(), "stopped");
    assert!(sandbox.path("made").exists());

    let sandbox = sandbox_of();
    let mut terminal = on_terminal(&sandbox);
    terminal.ctrl_c().says("What now?").types("roll");
    assert_eq!(terminal.ends().0, 1);
    assert_eq!(sandbox.standing(), "rolled_back");
    assert!(!sandbox.path("made").exists());
}

#[test]
fn a_second_ctrl_c_stops_at_once() {
    let sandbox = sandbox("");
    let mut terminal = on_terminal(&sandbox);
    terminal.ctrl_c().says("What now?").ctrl_c();
    let (code, rest) = terminal.ends();
    assert_eq!(code, 6);
    assert!(rest.contains("STOPPED"), "{rest}");
    assert_eq!(sandbox.standing(), "stopped");
}

#[test]
fn ctrl_c_in_a_question_asks_what_is_meant_and_then_the_question_again() {
    let sandbox = sandbox("");
    sandbox.write("go-on", "");
    let mut terminal = on_terminal(&sandbox);
    terminal.says("Leave a mark? [y/N]").ctrl_c();
    terminal.says("What now?").types("go-on");
    terminal.says("Leave a mark? [y/N]").types("y");
    assert_eq!(terminal.ends().0, 0);

    fs::remove_file(sandbox.path("mark")).expect("a mark");
    let mut terminal = on_terminal(&sandbox);
    terminal.says("Leave a mark? [y/N]").ctrl_c();
    terminal.says("What now?").types("");
    let (code, rest) = terminal.ends();
    assert_eq!(code, 6);
    assert!(
        !rest.contains("Leave a mark? [y/N]"),
        "it is not asked again:\n{rest}"
    );
    assert!(!sandbox.path("mark").exists());
}
