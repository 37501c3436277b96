//! Runs that want the same lock: one at a time, and whose it is after a kill.

use std::process::Child;

use crate::harness::{Sandbox, until};

/// Makes a file, then works until somebody lets it end. Every playbook of these tests has the lock `thing`.
const WORKS: &str = "playbook: works
version: 1.0.0
title: Make a file and work
inputs:
  changes: { type: boolean, default: true }
locks: [\"thing:{{ run.host }}\"]
steps:
  - id: make
    title: Make a file
    when: changes
    file.write: { path: \"{{ '/' }}\", content: x }
  - id: work
    title: Work
    command: { argv: [sh, -c, \"touch running; until test -e go-on; do sleep 0.02; done\"] }
    effect: read
";

const OTHER: &str = "playbook: other
version: 1.0.0
title: Call what has the lock
steps:
  - id: first
    title: Look around
    file.stat: { path: / }
  - id: inner
    title: Call it
    call: { playbook: inner@1 }
";

const INNER: &str = "playbook: inner
version: 1.0.0
title: Leave a mark
locks: [\"thing:{{ run.host }}\"]
steps:
  - id: mark
    title: Leave a mark
    command: { argv: [touch, mark] }
    rollback: []
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let made = sandbox.path("made");
    let works = WORKS.replace("{{ '/' }}", made.as_str());
    sandbox.write("works.yml", works);
    sandbox.write("other.yml", OTHER);
    sandbox.write("inner.yml", INNER);
    sandbox
}

fn at_work(sandbox: &Sandbox, changes: bool) -> Child {
    let set = format!("changes={changes}");
    let child = sandbox.start(&["run", "./works.yml", "--yes", "--set", &set]);
    until("it works", || sandbox.path("running").exists());
    child
}

fn id(sandbox: &Sandbox, playbook: &str) -> String {
    let history = sandbox.runwright(&["history"]).code(0).stdout;
    let line = history.lines().find(|line| line.contains(playbook));
    let id = line.and_then(|line| line.split_whitespace().next());
    id.expect("a run").to_owned()
}

#[test]
fn who_meets_a_lock_is_told_whose_it_is_and_nothing_is_done() {
    let sandbox = sandbox();
    let mut first = at_work(&sandbox, true);
    let holder = id(&sandbox, "works");
    let ended = sandbox.runwright(&["run", "./other.yml", "--yes"]).code(3);
    ended.says(&holder).says(&format!("pid {}", first.id()));
    assert!(!sandbox.path("mark").exists());
    sandbox.write("go-on", "");
    assert_eq!(first.wait().expect("it ends").code(), Some(0));
    sandbox.runwright(&["run", "./other.yml", "--yes"]).code(0);
    assert!(sandbox.path("mark").exists());
    sandbox
        .runwright(&["locks"])
        .code(0)
        .says("no lock is taken");
}

#[test]
fn a_killed_run_that_has_changed_something_keeps_its_lock_until_it_is_undone() {
    let sandbox = sandbox();
    let mut first = at_work(&sandbox, true);
    first.kill().expect("it can be killed");
    first.wait().expect("it has ended");
    sandbox.write("go-on", "");
    let holder = id(&sandbox, "works");
    let ended = sandbox.runwright(&["run", "./other.yml", "--yes"]).code(3);
    ended
        .says(&format!("runwright resume {holder}"))
        .says(&format!("runwright rollback {holder}"));
    until("it is undone", || {
        sandbox.runwright(&["rollback", &holder, "--yes"]).code == 0
    });
    assert!(!sandbox.path("made").exists());
    sandbox.runwright(&["run", "./other.yml", "--yes"]).code(0);
}

#[test]
fn a_killed_run_that_has_changed_nothing_keeps_nothing() {
    let sandbox = sandbox();
    let mut first = at_work(&sandbox, false);
    first.kill().expect("it can be killed");
    first.wait().expect("it has ended");
    sandbox.write("go-on", "");
    sandbox.runwright(&["run", "./other.yml", "--yes"]).code(0);
    // Its lock is free, so it goes on when it is asked to.
    until("it goes on", || {
        sandbox
            .runwright(&["resume", &id(&sandbox, "works"), "--yes"])
            .code
            == 0
    });
}

#[test]
fn who_goes_on_takes_the_lock_again_or_is_refused() {
    let sandbox = sandbox();
    let mut first = at_work(&sandbox, true);
    first.kill().expect("it can be killed");
    first.wait().expect("it has ended");
    let (run, lock) = (id(&sandbox, "works"), sandbox.runwright(&["locks"]).stdout);
    let name = lock.split_whitespace().next().expect("a lock");
    sandbox
        .runwright(&["locks", "steal", name, "--yes", "--reason", "it is dead"])
        .code(0);
    std::fs::remove_file(sandbox.path("running")).expect("a file");
    let second = sandbox.start(&["run", "./works.yml", "--yes"]);
    until("the second works", || sandbox.path("running").exists());
    let mut second = second;
    sandbox.runwright(&["resume", &run, "--yes"]).code(3);
    sandbox.write("go-on", "");
    assert_eq!(second.wait().expect("it ends").code(), Some(0));
    let shown = sandbox.runwright(&["show", "last"]).code(0);
    shown.says("it is dead");
    until("it goes on", || {
        sandbox.runwright(&["resume", &run, "--yes"]).code == 0
    });
    sandbox.verified_journal();
}
