//! A step that was at work when the engine died, and what a person or the world says about it.

use super::world::{Story, World, plan, run};
use crate::event::Goal;

const TWO: &str = "steps:
  - id: a
    command: {}
    rollback:
      - id: x
        command: {}
  - id: b
    test.read: {}
";

/// Runs a playbook up to the event `line`, cuts it there, and goes on.
#[track_caller]
fn check(yaml: &str, script: &str, line: &str, acts: bool, expect: &str) {
    let plan = plan(yaml);
    let whole = run(&plan, script);
    let transcript = whole.transcript();
    let events = transcript
        .lines()
        .position(|found| found == line)
        .expect("the line is in the transcript");
    let mut story: Story<'_> = whole.cut(events + 1);
    let begins = story.transcript().lines().count();
    if acts {
        story.crash_after_acting();
    }
    story.resume(Goal::Work);
    story.drive();
    let transcript = story.transcript();
    let found: Vec<&str> = transcript.lines().skip(begins + 1).collect();
    let expect: Vec<&str> = expect.trim().lines().map(str::trim).collect();
    assert!(found == expect, "found:\n{}", found.join("\n"));
}

#[test]
fn a_person_says_that_it_was_done() {
    check(
        TWO,
        "a doubt: done",
        "a started",
        true,
        r#"
        a answered by ann: {"done":{"remark":""}}
        b ok
        ended succeeded
        "#,
    );
}

#[test]
fn a_person_has_it_done_again() {
    check(
        TWO,
        "a doubt: retry",
        "a started",
        true,
        r#"
        a answered by ann: "retry"
        a started 2
        a changed
        b ok
        ended succeeded
        "#,
    );
}

#[test]
fn a_person_has_it_undone() {
    check(
        TWO,
        "a doubt: undo",
        "a started",
        true,
        r#"
        a answered by ann: "roll_back"
        rolling back: `a` was in doubt, and a person chose to undo
        a/rollback/x started
        a/rollback/x changed
        a undone
        ended rolled_back
        "#,
    );
}

#[test]
fn what_says_nothing_leaves_it_in_doubt() {
    check(
        TWO,
        "a doubt: stop; done\nresume: work",
        "a started",
        true,
        r#"
        a answered by ann: "stop"
        stopped: `a` is in doubt
        resumed Work
        a answered by ann: {"done":{"remark":""}}
        b ok
        ended succeeded
        "#,
    );
}

#[test]
fn a_look_finds_it_done() {
    check(
        "steps:
  - id: a
    test.change: {}
    expect: [{that: result.n == 2, severity: critical, else: not two}]
",
        "",
        "a started",
        true,
        "
        a changed [critical: not two]
        ended succeeded
        ",
    );
}

#[test]
fn a_look_finds_it_not_done() {
    check(
        "steps:\n  - id: a\n    test.change: {}\n",
        "",
        "a started",
        false,
        "
        a looked 0 -> 1
        a settled Redo
        a started 2
        a changed
        ended succeeded
        ",
    );
}

#[test]
fn an_unless_that_holds_is_not_enough_where_the_result_is_named() {
    let yaml = "steps:
  - id: a
    unless: {test.read: {}, that: result.n == 2}
    command: {}
    rollback: []
  - id: b
    when: a.n == 1
    test.read: {}
";
    check(
        yaml,
        "a probe: ok; ok {\"n\": 2}\na doubt: retry",
        "a started",
        true,
        r#"
        a Unless holds
        a answered by ann: "retry"
        a started 2
        a changed
        b ok
        ended succeeded
        "#,
    );
}

#[test]
fn an_unless_settles_it() {
    let yaml = "steps:
  - id: a
    unless: {test.read: {}, that: result.n == 2}
    command: {}
    rollback: []
";
    check(
        yaml,
        "a probe: ok; ok {\"n\": 2}",
        "a started",
        true,
        "
        a Unless holds
        ended succeeded
        ",
    );
}

#[test]
fn giving_up_undoes_what_is_in_doubt() {
    let plan = plan(TWO);
    let whole = run(&plan, "");
    let mut story = whole.cut(2);
    story.crash_after_acting();
    story.resume(Goal::RollBack);
    story.drive();
    let transcript = story.transcript();
    assert_eq!(
        transcript.lines().skip(2).collect::<Vec<_>>(),
        [
            "resumed RollBack",
            "rolling back: asked for by bob",
            "a/rollback/x started",
            "a/rollback/x changed",
            "a undone",
            "ended rolled_back",
        ]
    );
    let world: World = story.world;
    assert_eq!(world.acted.get("a/rollback/x"), Some(&1));
}
