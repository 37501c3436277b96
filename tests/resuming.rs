//! Going on with a run: as it began, with what was in doubt, from an earlier step.

use std::fs;

use runwright_local::{folder::RunFolder, run::living};

use crate::harness::{Ended, PROGRAM, Sandbox, terminal::Terminal, until};

/// Counts how often it was done, and is killed in the middle: whether it was done can't be told.
const DOUBT: &str = "playbook: doubt
version: 1.0.0
title: Do something once
steps:
  - id: make
    title: Make a file
    file.write: { path: FILE, content: x }
  - id: once
    title: Do it once
    command: { argv: [sh, -c, \"echo x >>done; touch running; until test -e go-on; do sleep 0.02; done\"] }
    rollback: []
  - id: last
    title: Leave a mark
    command: { argv: [touch, mark] }
    rollback: []
";

/// Returns a run whose second step was at work when the engine was killed; nothing of it lives any more.
fn in_doubt() -> Sandbox {
    let sandbox = Sandbox::new();
    let made = sandbox.path("made");
    sandbox.write("doubt.yml", DOUBT.replace("FILE", made.as_str()));
    let mut run = sandbox.start(&["run", "./doubt.yml"]);
    until("it works", || sandbox.path("running").exists());
    run.kill().expect("it lives");
    run.wait().expect("it ends");
    sandbox.write("go-on", "");
    until("its step has ended", || {
        let (journal, run) = (sandbox.verified_journal(), id(&sandbox));
        let folder = RunFolder::find(journal.home(), &run).expect("a folder");
        let living = living(&folder, &run, &["once"]).expect("processes");
        living.is_empty()
    });
    sandbox
}

fn id(sandbox: &Sandbox) -> String {
    let journal = sandbox.verified_journal();
    journal.run("last").expect("a run").run
}

fn times_done(sandbox: &Sandbox) -> usize {
    let done = fs::read_to_string(sandbox.path("done")).expect("it was done");
    done.lines().count()
}

fn check_settled(sandbox: &Sandbox, word: &str) {
    assert_eq!(
        times_done(sandbox),
        if word == "redo" { 2 } else { 1 },
        "{word}"
    );
    assert_eq!(sandbox.path("mark").exists(), word != "undo", "{word}");
    assert_eq!(sandbox.path("made").exists(), word != "undo", "{word}");
}

#[test]
fn a_step_in_doubt_is_settled_by_a_flag() {
    for (word, code) in [("done", 0), ("redo", 0), ("undo", 1)] {
        let sandbox = in_doubt();
        let resume = |text: &str| sandbox.runwright(&["resume", "last", "--in-doubt", text]);
        resume("onec=done").code(2).says("did you mean `once`?");
        resume("once=maybe").code(2).says("STEP=redo");
        resume("make=done")
            .code(2)
            .says("is not in doubt, it is changed");
        let ended = resume(&format!("once={word}"));
        ended.code(code).says("in doubt: `once`");
        check_settled(&sandbox, word);
    }
}

#[test]
fn a_step_in_doubt_waits_for_an_answer() {
    for word in ["done", "redo", "undo"] {
        let sandbox = in_doubt();
        sandbox
            .runwright(&["resume", "last"])
            .code(4)
            .says("answer");
        assert_eq!(times_done(&sandbox), 1);
        let answer = [
            "answer",
            "last",
            "once",
            word,
            "-m",
            "looked at it",
            "--follow",
        ];
        let code = if word == "undo" { 1 } else { 0 };
        sandbox.runwright(&answer).code(code);
        check_settled(&sandbox, word);
    }
}

#[test]
fn a_step_in_doubt_is_asked_for_on_a_terminal() {
    for (word, code) in [("done", 0), ("redo", 0), ("undo", 1), ("leave", 4)] {
        let sandbox = in_doubt();
        let mut terminal = Terminal::start(&sandbox, &["resume", "last"]);
        terminal.says("How did it end?").types(word);
        assert_eq!(terminal.ends().0, code, "{word}");
        if word != "leave" {
            check_settled(&sandbox, word);
        }
    }
}

#[test]
fn folder_umask_and_environment_are_those_of_the_beginning() {
    let mut sandbox = Sandbox::new();
    let text = "playbook: around
version: 1.0.0
title: Look around
steps:
  - id: first
    title: Before
    command: { argv: [sh, -c, \"pwd; umask; echo $PATH\"] }
    effect: read
  - id: ask
    title: After
    confirm: Go on?
    command: { argv: [sh, -c, \"pwd >after; umask >>after; echo $PATH >>after\"] }
    rollback: []
";
    sandbox.write("around.yml", text);
    sandbox.put_tool("around-tool", "true");
    let begin = "umask 027; exec \"$@\"";
    let run = |sandbox: &Sandbox, script: &str, arguments: &[&str]| {
        let mut command = sandbox.command("sh");
        command.args(["-c", script, "sh", PROGRAM]).args(arguments);
        Ended::of(command.output().expect("it starts"))
    };
    run(&sandbox, begin, &["run", "./around.yml"]).code(4);
    let before = sandbox
        .runwright(&["logs", "last", "first", "--stdout"])
        .stdout;
    assert!(
        before.contains("0027") && before.contains("/bin:"),
        "{before}"
    );
    sandbox.set_env("PATH", "/usr/bin:/bin");
    let elsewhere = "cd /; umask 077; exec \"$@\"";
    run(&sandbox, elsewhere, &["resume", "last"]).code(4);
    run(&sandbox, elsewhere, &["approve", "last", "-m", "x"]).code(0);
    sandbox.wait_for("succeeded");
    let after = fs::read_to_string(sandbox.path("after")).expect("it was done");
    assert_eq!(after, before);
}

/// Fails as long as there is a file `fails`.
const FAILS: &str = "playbook: fails
version: 1.0.0
title: Fail at first
on_failure: ON_FAILURE
steps:
  - id: make
    title: Make a file
    file.write: { path: FILE, content: x }
  - id: fail
    title: Fail at first
    command: { argv: [sh, -c, \"echo x >>tried; test ! -e fails\"] }
    rollback: []
  - id: last
    title: Leave a mark
    command: { argv: [touch, mark] }
    rollback: []
";

fn failing(on_failure: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let made = sandbox.path("made");
    let text = FAILS.replace("FILE", made.as_str());
    sandbox.write("fails.yml", text.replace("ON_FAILURE", on_failure));
    sandbox.write("fails", "");
    sandbox
}

#[test]
fn after_a_failure_a_terminal_asks_what_now() {
    for (word, code, standing) in [
        ("retry", 0, "succeeded"),
        ("skip", 0, "succeeded"),
        ("", 1, "rolled_back"),
        ("roll-back", 1, "rolled_back"),
        ("stop", 1, "stopped"),
    ] {
        let sandbox = failing("ask");
        let mut terminal = Terminal::start(&sandbox, &["run", "./fails.yml"]);
        terminal.says("Start?").types("y").says("What now?");
        fs::remove_file(sandbox.path("fails")).expect("it is there");
        terminal.types(word);
        let (ended, rest) = terminal.ends();
        // A step that was passed over is a warning.
        let expected = if word == "skip" && ended == 10 {
            10
        } else {
            code
        };
        assert_eq!(ended, expected, "{word}: {rest}");
        assert_eq!(sandbox.standing(), standing, "{word}");
        assert_eq!(
            sandbox.path("made").exists(),
            standing != "rolled_back",
            "{word}"
        );
    }
}

#[test]
fn a_run_goes_on_from_an_earlier_step_as_a_new_one() {
    let sandbox = failing("stop");
    sandbox.runwright(&["run", "./fails.yml", "--yes"]).code(1);
    let first = id(&sandbox);
    fs::remove_file(sandbox.path("fails")).expect("it is there");
    let from = |step: &str, more: &[&str]| {
        let arguments = [&["resume", first.as_str(), "--from", step], more].concat();
        sandbox.runwright(&arguments)
    };
    from("none", &["--yes"])
        .code(2)
        .says("no step `none` has begun");
    from("fail", &[]).code(2).says("--yes");
    let ended = from("fail", &["--yes"]).code(0);
    ended
        .says("Not done again: make")
        .says("Still to be undone")
        .says("undo: make");
    let second = id(&sandbox);
    assert_ne!(first, second);
    assert!(sandbox.path("mark").exists());
    from("fail", &["--yes"]).code(3).says(&second);
    sandbox.runwright(&["show", &first]).says(&second);
    sandbox.runwright(&["resume", &first]).code(3);
    sandbox.runwright(&["rollback", &second, "--yes"]).code(0);
    assert!(
        !sandbox.path("made").exists(),
        "what the first has changed is undone"
    );
}

#[test]
fn an_edit_since_the_beginning_is_shown_and_changes_nothing() {
    let sandbox = failing("stop");
    sandbox.runwright(&["run", "./fails.yml", "--yes"]).code(1);
    fs::remove_file(sandbox.path("fails")).expect("it is there");
    let text = fs::read_to_string(sandbox.path("fails.yml")).expect("a playbook");
    sandbox.write("fails.yml", text.replace("[touch, mark]", "[touch, other]"));
    let ended = sandbox.runwright(&["resume", "last", "--yes"]).code(0);
    ended
        .says("-    command: { argv: [touch, mark] }")
        .says("+    command: { argv: [touch, other] }");
    assert!(sandbox.path("mark").exists() && !sandbox.path("other").exists());
}

#[test]
fn all_secrets_that_can_not_be_had_again_are_named_together() {
    let mut sandbox = Sandbox::new();
    let text = "playbook: secrets
version: 1.0.0
title: Needs two
inputs:
  one: { type: secret }
  two: { type: secret }
steps:
  - id: ask
    title: Ask
    confirm: Go on?
    command: { argv: [touch, mark] }
    rollback: []
";
    sandbox.write("secrets.yml", text);
    sandbox.set_env("ONE", "first secret");
    let two = sandbox.write("two", "second secret");
    let set = format!("two=file:{two}");
    let run = [
        "run",
        "./secrets.yml",
        "--set",
        "one=env:ONE",
        "--set",
        &set,
    ];
    sandbox.runwright(&run).code(4);
    sandbox.set_env("ONE", "");
    fs::remove_file(&two).expect("it is there");
    let ended = sandbox.runwright(&["resume", "last"]).code(3);
    ended.says("`one`").says("`two`");
    // Who approves is told why nobody goes on; what was said is kept.
    let ended = sandbox
        .runwright(&["approve", "last", "-m", "fine"])
        .code(1);
    ended.says("`one`").says("what you said is kept");
    sandbox.set_env("ONE", "first secret");
    sandbox.write("two", "second secret");
    sandbox.runwright(&["resume", "last"]).code(0);
    assert!(sandbox.path("mark").exists());
}
