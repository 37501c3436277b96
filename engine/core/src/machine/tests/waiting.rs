//! Questions that nobody answers at once: waiting, several approvers, deadlines, and a person at the terminal.

use super::{
    Same, check, check_cut,
    world::{Story, World, plan, run},
};
use crate::{
    event::{Ask, Reply},
    machine::{Answer, Mode},
    summary,
    units::Time,
};

#[test]
fn a_question_that_nobody_answers_leaves_the_run_waiting() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    confirm: Really?
    test.change: {}
",
        "
        b ask: away; yes
        resume: work
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        waiting
        resumed Work
        b looked 0 -> 1
        b answered by ann: "yes"
        b looked 0 -> 1
        b started
        b changed
        ended succeeded
        "#,
    );
}

#[test]
fn what_has_changed_while_it_waited_is_asked_anew() {
    check_cut(
        Same::Nothing,
        "steps:
  - id: a
    confirm: Really?
    test.change: {}
",
        "
        a look: 0 -> 1; 5 -> 1; 5 -> 1
        a ask: yes; away; yes
        resume: work
        ",
        r#"
        a looked 0 -> 1
        a answered by ann: "yes"
        a looked 5 -> 1
        waiting
        resumed Work
        a looked 5 -> 1
        a answered by ann: "yes"
        a looked 5 -> 1
        a started
        a changed
        ended succeeded
        "#,
    );
}

#[test]
fn two_different_people_must_agree() {
    check(
        "steps:
  - id: a
    confirm: { message: Really?, approvers: 2 }
    test.change: {}
",
        "a ask: @bob yes; @bob yes; @eve yes",
        r#"
        a looked 0 -> 1
        a answered by bob: "yes"
        a answered by bob: "yes"
        a answered by eve: "yes"
        a looked 0 -> 1
        a started
        a changed
        ended succeeded
        "#,
    );
}

#[test]
fn one_no_is_enough() {
    check(
        "steps:
  - id: a
    confirm: { message: Really?, approvers: 2 }
    test.change: {}
",
        "a ask: @bob yes; @eve no too late",
        r#"
        a looked 0 -> 1
        a answered by bob: "yes"
        a answered by eve: {"no":{"why":"too late"}}
        a refused (refused: too late) -> rollback
        ended refused
        "#,
    );
}

#[test]
fn the_starter_alone_is_not_enough_where_another_one_must_agree() {
    check(
        "steps:
  - id: a
    confirm: { message: Really?, not_starter: true }
    test.change: {}
",
        "a ask: @ann yes; @bob yes",
        r#"
        a looked 0 -> 1
        a answered by ann: "yes"
        a answered by bob: "yes"
        a looked 0 -> 1
        a started
        a changed
        ended succeeded
        "#,
    );
}

#[test]
fn approvals_outlive_a_wait() {
    check(
        "steps:
  - id: a
    confirm: { message: Really?, approvers: 2 }
    test.change: {}
",
        "
        a ask: @bob yes; away; @eve yes
        resume: work
        ",
        r#"
        a looked 0 -> 1
        a answered by bob: "yes"
        waiting
        resumed Work
        a looked 0 -> 1
        a answered by eve: "yes"
        a looked 0 -> 1
        a started
        a changed
        ended succeeded
        "#,
    );
}

#[test]
fn after_the_deadline_the_answer_is_no() {
    let plan = plan(
        "steps:
  - id: a
    confirm: { message: Really?, deadline: 1h }
    test.change: {}
",
    );
    let mut story = Story::begin(&plan, World::read("a ask: away"));
    assert!(!story.drive());
    let (_, question) = story.state.questions().remove(0);
    let deadline = question.deadline.expect("a deadline");
    // It was asked when the look was over.
    assert_eq!(deadline.milliseconds, 2 + 3_600_000);
    let id = story.state.due().remove(0).id;
    for (late, expected) in [(0, true), (1, false)] {
        let said = Time::from_milliseconds(deadline.milliseconds + late);
        let answer = Answer::Replied {
            by: "bob".into(),
            reply: Reply::Yes,
            reason: String::new(),
            said,
        };
        // Taken in much later; what counts is when it was said.
        let at = Time::from_milliseconds(deadline.milliseconds + 100_000);
        let body = story
            .state
            .event(&plan, &id, at, answer)
            .expect("it is due");
        let is_yes = format!("{body:?}").contains("reply: Yes");
        assert_eq!(is_yes, expected, "{body:?}");
    }
}

#[test]
fn a_deadline_is_not_put_off_by_a_wait() {
    let plan = plan(
        "steps:
  - id: a
    confirm: { message: Really?, deadline: 1h }
    test.change: {}
",
    );
    let mut story = Story::begin(&plan, World::read("a ask: away; away\nresume: work"));
    assert!(!story.drive());
    let transcript = story.transcript();
    assert_eq!(transcript.matches("waiting").count(), 2, "{transcript}");
    let (_, question) = story.state.questions().remove(0);
    assert_eq!(
        question.deadline.map(|deadline| deadline.milliseconds),
        Some(2 + 3_600_000)
    );
}

#[test]
fn a_waiting_run_says_for_what_and_has_its_own_exit_code() {
    let plan = plan(
        "steps:
  - id: a
    manual: Turn the key
",
    );
    let story = run(&plan, "a ask: away");
    assert_eq!(story.state.mode(), Mode::Waiting);
    let summary = summary::Summary::of(&story.state, "");
    assert_eq!((summary.exit_code, &*summary.outcome), (4, "waiting"));
    assert_eq!(summary.questions.len(), 1);
    assert_eq!(&*summary.questions[0].step, "a");
    assert_eq!(summary.questions[0].question.ask, Ask::Manual);
}

#[test]
fn a_failure_is_a_question_first_where_somebody_sits_at_the_terminal() {
    check_cut(
        Same::Nothing,
        "steps:
  - id: a
    test.change: {}
  - id: b
    command: {}
    rollback: []
",
        "
        terminal: yes
        b: fail exit; fail exit; ok
        b ask: retry; retry
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b started
        b failed (exit: do it) -> ask
        b answered by ann: "retry"
        b started 2
        b failed (exit: do it) -> ask
        b answered by ann: "retry"
        b started 3
        b changed
        ended succeeded
        "#,
    );
}

#[test]
fn a_person_chooses_to_undo() {
    check_cut(
        Same::Nothing,
        "steps:
  - id: a
    test.change: {}
  - id: b
    on_failure: stop
    command: {}
    rollback: []
",
        "
        terminal: yes
        b: fail exit
        b ask: undo
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b started
        b failed (exit: do it) -> ask
        b answered by ann: "roll_back"
        rolling back: step `b` failed: do it
        a undoing
        a undone
        ended rolled_back
        "#,
    );
}

#[test]
fn who_said_no_is_not_asked_what_to_do_about_it() {
    check_cut(
        Same::Nothing,
        "steps:
  - id: a
    test.change: {}
  - id: b
    confirm: Really?
    test.change: {}
",
        "
        terminal: yes
        b ask: no not today
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b answered by ann: {"no":{"why":"not today"}}
        b refused (refused: not today) -> rollback
        rolling back: step `b` failed: not today
        a undoing
        a undone
        ended rolled_back
        "#,
    );
}

#[test]
fn the_question_after_a_failure_waits_as_well() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    on_failure: ask
    command: {}
    rollback: []
",
        "
        b: fail exit; ok
        b ask: away; retry
        resume: work
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b started
        b failed (exit: do it) -> ask
        waiting
        resumed Work
        b answered by ann: "retry"
        b started 2
        b changed
        ended succeeded
        "#,
    );
}
