//! Runs that wait for people or for time, without a process; and what people say to them from elsewhere.

use std::{fs, process::Stdio};

use runwright_core::event::Body;
use runwright_local::run::events;

use crate::harness::{Ended, Sandbox, terminal::Terminal, until};

/// The login uids of three people.
const ANN: u32 = 1;
const BOB: u32 = 2;
const CAT: u32 = 3;

/// Returns a playbook that leaves a mark once `confirm` is agreed to.
fn confirms(confirm: &str) -> String {
    format!(
        "playbook: asks
version: 1.0.0
title: Ask before it acts
steps:
  - id: mark
    title: Leave a mark
    confirm: {confirm}
    command: {{ argv: [sh, -c, \"echo x >>mark\"] }}
    rollback: []
"
    )
}

fn asking(confirm: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("asks.yml", confirms(confirm));
    sandbox
}

/// Lets a run begin that waits; nothing of it works any more.
fn waits(sandbox: &Sandbox) {
    sandbox.runwright_of(ANN, &["run", "./asks.yml"]).code(4);
    assert_eq!(sandbox.standing(), "waiting");
    assert!(!sandbox.path("mark").exists());
}

fn bodies(sandbox: &Sandbox) -> Vec<Body> {
    let journal = sandbox.verified_journal();
    let run = journal.run("last").expect("a run").run;
    let events = events(&journal, &run).expect("events");
    events.into_iter().map(|event| event.body).collect()
}

fn answers(sandbox: &Sandbox) -> usize {
    let bodies = bodies(sandbox);
    let answered = bodies
        .iter()
        .filter(|body| matches!(body, Body::Answered { .. }));
    answered.count()
}

/// Runs two programs that start as much at the same instant as two can.
fn at_once(sandbox: &Sandbox, first: (u32, &[&str]), second: (u32, &[&str])) -> [Ended; 2] {
    let children = [first, second].map(|(login, arguments)| {
        let mut program = sandbox.program_of(login, arguments);
        program.stdout(Stdio::piped()).stderr(Stdio::piped());
        program.spawn().expect("it starts")
    });
    children.map(|child| Ended::of(child.wait_with_output().expect("it ends")))
}

#[test]
fn every_question_waits_without_a_process_and_is_answered_from_elsewhere() {
    let sandbox = Sandbox::new();
    let text = confirms("Leave a mark?")
        + "  - id: named
    title: Leave another
    confirm: { message: This is serious, phrase: kv.db }
    command: { argv: [touch, named] }
    rollback: []
  - id: hand
    title: Plug it in
    manual: Plug the cable in
  - id: counted
    title: Count the rows
    ask:
      rows: { type: integer }
  - id: last
    title: Write it down
    command: { argv: [sh, -c, \"echo {{ counted.rows }} >rows\"] }
    rollback: []
";
    sandbox.write("asks.yml", text);
    let ended = sandbox.runwright(&["run", "./asks.yml"]).code(4);
    let ended = ended.says("step `mark` asks yes or no").says("--yes");
    let ended = ended
        .says("step `named` asks for the phrase")
        .says("--confirm named=");
    ended.says("step `hand` is an instruction").says("answer");
    sandbox
        .runwright(&["show"])
        .code(0)
        .says("WAITING for an answer")
        .says("approve");

    sandbox
        .runwright(&["approve", "last"])
        .code(2)
        .says("--reason");
    sandbox
        .runwright(&["answer", "last", "mark", "done", "-m", "x"])
        .code(2)
        .says("approve");
    sandbox
        .runwright(&["approve", "last", "-m", "looks fine"])
        .code(0)
        .says("Leave a mark?");
    sandbox.wait_for("waiting");
    assert!(sandbox.path("mark").exists());

    sandbox
        .runwright(&["approve", "last", "-m", "x"])
        .code(2)
        .says("--phrase");
    let wrong = [
        "approve", "last", "named", "--phrase", "other.db", "-m", "x",
    ];
    sandbox.runwright(&wrong).code(3).says("is not the phrase");
    let right = ["approve", "last", "named", "--phrase", "kv.db", "-m", "x"];
    sandbox.runwright(&right).code(0);
    sandbox.wait_for("waiting");
    assert!(sandbox.path("named").exists());

    sandbox
        .runwright(&["answer", "last", "retry", "-m", "x"])
        .code(3);
    sandbox
        .runwright(&["answer", "last", "hand", "retry", "-m", "x"])
        .code(2)
        .says("hand done");
    sandbox
        .runwright(&["answer", "last", "done", "-m", "plugged in"])
        .code(0);
    sandbox.wait_for("waiting");

    let wrong = ["answer", "last", "--set", "rows=many", "-m", "x"];
    sandbox.runwright(&wrong).code(2).says("rows");
    let right = [
        "answer", "last", "--set", "rows=12", "-m", "by hand", "--follow",
    ];
    sandbox.runwright(&right).code(0).says("succeeded");
    assert_eq!(
        fs::read_to_string(sandbox.path("rows")).expect("rows"),
        "12\n"
    );
    assert_eq!(sandbox.standing(), "succeeded");
    sandbox
        .runwright(&["show"])
        .says("looks fine")
        .says("plugged in");
    sandbox
        .runwright(&["approve", "last", "mark", "-m", "x"])
        .code(3)
        .says("has ended");
}

#[test]
fn a_no_refuses_and_its_reason_is_kept() {
    let sandbox = asking("Leave a mark?");
    waits(&sandbox);
    let deny = ["deny", "last", "-m", "not during the sale", "--follow"];
    sandbox
        .runwright_of(BOB, &deny)
        .code(3)
        .says("not during the sale");
    sandbox
        .runwright(&["show"])
        .says("not during the sale")
        .says("bin");
    assert!(!sandbox.path("mark").exists());
}

#[test]
fn of_two_who_approve_at_the_same_instant_one_counts_and_the_other_is_told() {
    for _ in 0..4 {
        let sandbox = asking("Leave a mark?");
        waits(&sandbox);
        let approve = ["approve", "last", "-m", "fine"];
        let ended = at_once(&sandbox, (BOB, &approve), (CAT, &approve));
        let mut codes = ended.each_ref().map(|ended| ended.code);
        codes.sort_unstable();
        assert_eq!(codes, [0, 3], "{ended:?}");
        let late = ended
            .into_iter()
            .find(|ended| ended.code == 3)
            .expect("one");
        late.says("had answered");
        sandbox.wait_for("succeeded");
        assert_eq!(
            fs::read_to_string(sandbox.path("mark")).expect("a mark"),
            "x\n"
        );
        assert_eq!(answers(&sandbox), 1);
    }
}

#[test]
fn of_a_yes_and_a_no_at_the_same_instant_exactly_one_counts() {
    for _ in 0..4 {
        let sandbox = asking("Leave a mark?");
        waits(&sandbox);
        let (yes, no) = (
            ["approve", "last", "-m", "fine"],
            ["deny", "last", "-m", "no"],
        );
        let [yes, no] = at_once(&sandbox, (BOB, &yes), (CAT, &no));
        assert_eq!(yes.code + no.code, 3, "{yes:?} {no:?}");
        let expected = if yes.code == 0 {
            "succeeded"
        } else {
            "refused"
        };
        sandbox.wait_for(expected);
        assert_eq!(sandbox.path("mark").exists(), yes.code == 0);
        assert_eq!(answers(&sandbox), 1);
    }
}

#[test]
fn two_must_agree_one_of_whom_did_not_start_it() {
    let sandbox = asking("{ message: Really?, approvers: 2, not_starter: true }");
    // What is given beforehand is for one person's questions.
    sandbox
        .runwright_of(ANN, &["run", "./asks.yml", "--yes"])
        .code(4);
    let approve = ["approve", "last", "-m", "fine"];
    sandbox.runwright_of(ANN, &approve).code(0).says("1 of 2");
    sandbox.wait_for("waiting");
    sandbox
        .runwright_of(ANN, &approve)
        .code(3)
        .says("has agreed already");
    sandbox.runwright(&["show"]).says("1 of 2").says("daemon");
    assert!(!sandbox.path("mark").exists());
    sandbox.runwright_of(BOB, &approve).code(0);
    sandbox.wait_for("succeeded");
    assert!(sandbox.path("mark").exists());
}

#[test]
fn who_started_a_run_is_not_asked_where_somebody_else_must_agree() {
    let sandbox = asking("{ message: Really?, not_starter: true }");
    waits(&sandbox);
    let approve = ["approve", "last", "-m", "fine", "--follow"];
    sandbox
        .runwright_of(ANN, &approve)
        .code(3)
        .says("somebody else must");
    sandbox.runwright_of(BOB, &approve).code(0);

    let sandbox = asking("{ message: Really?, not_starter: true }");
    let mut terminal = Terminal::start(&sandbox, &["run", "./asks.yml"]);
    terminal
        .says("Start?")
        .types("y")
        .says("somebody else must")
        .says("approve");
    assert_eq!(terminal.ends().0, 4);
    assert_eq!(sandbox.standing(), "waiting");
}

#[test]
fn a_yes_after_the_deadline_is_a_no() {
    let mut sandbox = asking("{ message: Really?, deadline: 1h }");
    waits(&sandbox);
    sandbox.runwright(&["show"]).says("is a no");
    sandbox.set_env("RUNWRIGHT_TEST_CLOCK_OFFSET", "2h");
    let late = sandbox
        .runwright_of(BOB, &["approve", "last", "-m", "fine"])
        .code(3);
    late.says("nobody had agreed");
    sandbox.wait_for("refused");
    assert!(!sandbox.path("mark").exists());
}

#[test]
fn a_yes_two_days_late_to_what_has_changed_meanwhile_is_asked_anew() {
    let mut sandbox = Sandbox::new();
    let target = sandbox.write("target", "before\n");
    let text = format!(
        "playbook: asks
version: 1.0.0
title: Write a file
steps:
  - id: write
    title: Write it
    confirm: Write it?
    file.write: {{ path: {target}, content: \"after\\n\" }}
"
    );
    sandbox.write("asks.yml", text);
    waits(&sandbox);
    sandbox.write("target", "somebody else's\nmore\n");
    sandbox.set_env("RUNWRIGHT_TEST_CLOCK_OFFSET", "2d");
    let approve = ["approve", "last", "-m", "fine"];
    sandbox
        .runwright_of(BOB, &approve)
        .code(3)
        .says("has changed since");
    sandbox.wait_for("waiting");
    assert_eq!(
        fs::read_to_string(&target).expect("a file"),
        "somebody else's\nmore\n"
    );
    sandbox.runwright_of(BOB, &approve).code(0);
    sandbox.wait_for("succeeded");
    assert_eq!(fs::read_to_string(&target).expect("a file"), "after\n");
}

#[test]
fn a_run_that_waits_for_time_is_left_alone_until_then() {
    let mut sandbox = Sandbox::new();
    let text = "playbook: asks
version: 1.0.0
title: Wait for long
steps:
  - id: pause
    title: Wait
    wait: 2h
  - id: mark
    title: Leave a mark
    command: { argv: [touch, mark] }
    rollback: []
";
    sandbox.write("asks.yml", text);
    waits(&sandbox);
    let count = bodies(&sandbox).len();
    sandbox
        .runwright(&["resume", "last"])
        .code(4)
        .says("waits until");
    assert_eq!(bodies(&sandbox).len(), count, "the journal is as it was");
    sandbox
        .runwright(&["history"])
        .says("waits since")
        .says("until");
    sandbox.set_env("RUNWRIGHT_TEST_CLOCK_OFFSET", "3h");
    sandbox.runwright(&["resume", "last"]).code(0);
    assert!(sandbox.path("mark").exists());
}

#[test]
fn a_run_at_work_takes_an_answer_in_and_is_followed_to_its_end() {
    let sandbox = Sandbox::new();
    let text = "playbook: asks
version: 1.0.0
title: Ask beside the work
steps:
  - id: both
    title: Two things
    parallel:
      - id: work
        title: Work
        command: { argv: [sh, -c, \"touch running; until test -e go-on; do sleep 0.02; done\"] }
        rollback: []
      - id: mark
        title: Leave a mark
        confirm: Leave a mark?
        command: { argv: [touch, mark] }
        rollback: []
";
    sandbox.write("asks.yml", text);
    let mut run = sandbox.start(&["run", "./asks.yml"]);
    until("it works", || sandbox.path("running").exists());
    let approve = ["approve", "last", "mark", "-m", "fine"];
    until("it asks", || {
        sandbox
            .runwright(&["show"])
            .stderr
            .contains("Leave a mark?")
    });
    let mut following =
        sandbox.program_of(BOB, &["approve", "last", "mark", "-m", "fine", "--follow"]);
    let following = following.stderr(Stdio::piped()).stdout(Stdio::piped());
    let following = following.spawn().expect("it starts");
    until("it is agreed to", || sandbox.path("mark").exists());
    sandbox
        .runwright_of(CAT, &approve)
        .code(3)
        .says("bin had answered yes");
    sandbox.write("go-on", "");
    let followed = Ended::of(following.wait_with_output().expect("it ends"));
    followed.code(0).says("succeeded").says("answer");
    assert_eq!(run.wait().expect("it ends").code(), Some(0));
}

#[test]
fn on_a_terminal_an_approval_is_asked_for_and_so_is_the_reason() {
    let sandbox = asking("{ message: Leave a mark?, phrase: kv.db }");
    waits(&sandbox);
    let mut terminal = Terminal::start(&sandbox, &["approve", "last"]);
    terminal
        .says("Leave a mark?")
        .says("Type `kv.db`")
        .types("other");
    assert_eq!(terminal.ends().0, 3);
    assert_eq!(answers(&sandbox), 0);
    let mut terminal = Terminal::start(&sandbox, &["approve", "last", "--follow"]);
    terminal
        .says("Type `kv.db`")
        .types("kv.db")
        .says("Reason:")
        .types("");
    terminal.says("Reason:").types("it is time");
    assert_eq!(terminal.ends().0, 0);
    sandbox.runwright(&["show"]).says("it is time");
}

#[test]
fn a_question_that_is_answered_elsewhere_leaves_the_terminal_clean() {
    let sandbox = asking("Leave a mark?");
    let mut terminal = Terminal::start(&sandbox, &["run", "./asks.yml"]);
    terminal
        .says("Start?")
        .types("y")
        .says("Leave a mark? [y/N]");
    sandbox
        .runwright_of(BOB, &["approve", "last", "-m", "fine"])
        .code(0);
    terminal.says("the question is withdrawn");
    assert_eq!(terminal.ends().0, 0);
    assert!(sandbox.path("mark").exists());
}
