//! Stopping by a signal or a failure, and going on.

use super::{
    Same, check, check_cut,
    world::{line, plan, run},
};
use crate::{
    event::{Event, Goal, StepState},
    machine::Mode,
};

#[test]
fn a_signal_in_parallel_work_lets_it_end_and_stops() {
    check(
        "steps:
  - id: p
    parallel:
      - id: a
        test.change: {}
      - id: b
        command: {}
        rollback: []
  - id: z
    test.read: {}
",
        "
        signal: a started
        resume: work
        ",
        "
        p entered
        a looked 0 -> 1
        b started
        a started
        stopping: SIGTERM
        b changed
        a changed
        p changed
        stopped: stopped by SIGTERM
        resumed Work
        z ok
        ended succeeded
        ",
    );
}

#[test]
fn a_step_that_was_cancelled_is_tried_again() {
    check_cut(
        Same::Nothing,
        "steps:
  - id: a
    test.change: {}
  - id: z
    test.read: {}
",
        "
        signal: a started
        a: fail cancelled; ok
        resume: work
        ",
        "
        a looked 0 -> 1
        a started
        stopping: SIGTERM
        a failed (cancelled: do it) -> stop
        stopped: stopped by SIGTERM
        resumed Work
        a looked 0 -> 1
        a started 2
        a changed
        z ok
        ended succeeded
        ",
    );
}

#[test]
fn a_signal_while_sleeping() {
    check(
        "steps:
  - id: a
    retry: {attempts: 2, delay: 1h}
    test.change: {}
",
        "
        signal: a running (exit: do it) again in 3600000
        a: fail exit; ok
        resume: work
        ",
        "
        a looked 0 -> 1
        a started
        a running (exit: do it) again in 3600000
        stopping: SIGTERM
        stopped: stopped by SIGTERM
        resumed Work
        a woke
        a started 2
        a changed
        ended succeeded
        ",
    );
}

#[test]
fn a_signal_while_asked() {
    check(
        "steps:
  - id: a
    confirm: Go?
    test.change: {}
  - id: b
    manual: Do it
",
        "
        a ask: silence; yes
        b ask: silence; done
        resume: work; work
        ",
        r#"
        a looked 0 -> 1
        stopping: silence
        stopped: stopped by silence
        resumed Work
        a looked 0 -> 1
        a answered by ann: "yes"
        a looked 0 -> 1
        a started
        a changed
        stopping: silence
        stopped: stopped by silence
        resumed Work
        b answered by ann: {"done":{"remark":""}}
        b ok
        ended succeeded
        "#,
    );
}

#[test]
fn a_signal_while_waiting() {
    check(
        "steps:
  - id: a
    wait: 1h
  - id: b
    test.read: {}
",
        "
        signal: begun
        resume: work
        ",
        r#"
        stopping: SIGTERM
        stopped: stopped by SIGTERM
        resumed Work
        a answered by clock: {"done":{"remark":""}}
        a ok
        b ok
        ended succeeded
        "#,
    );
}

#[test]
fn a_signal_while_rolling_back() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    test.change: {}
    rollback:
      - id: x
        command: {}
      - id: y
        command: {}
  - id: c
    test.read: {}
",
        "
        c: fail exit
        signal: b/rollback/x started
        signal: a undoing
        resume: work; work
        ",
        "
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b started
        b changed
        c failed (exit: do it) -> rollback
        rolling back: step `c` failed: do it
        b/rollback/x started
        stopping: SIGTERM
        b/rollback/x changed
        stopped: stopped by SIGTERM
        resumed Work
        b/rollback/y started
        b/rollback/y changed
        b undone
        a undoing
        stopping: SIGTERM
        a undone
        stopped: stopped by SIGTERM
        resumed Work
        ended rolled_back
        ",
    );
}

#[test]
fn a_signal_in_always() {
    check(
        "steps:
  - id: a
    test.change: {}
always:
  - id: y
    test.read: {}
  - id: z
    test.read: {}
  - id: w
    test.read: {}
",
        "
        signal: y ok
        resume: work
        ",
        "
        a looked 0 -> 1
        a started
        a changed
        always
        y ok
        stopping: SIGTERM
        z ok
        stopped: stopped by SIGTERM
        resumed Work
        w ok
        ended succeeded
        ",
    );
}

#[test]
fn a_signal_at_the_question_after_a_failure() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    on_failure: ask
    test.read: {}
",
        "
        b: fail exit; ok
        b ask: silence
        resume: work
        ",
        "
        a looked 0 -> 1
        a started
        a changed
        b failed (exit: do it) -> ask
        stopping: silence
        stopped: stopped by silence
        resumed Work
        b ok
        ended succeeded
        ",
    );
}

#[test]
fn a_signal_at_the_playbooks_guard() {
    check_cut(
        Same::Nothing,
        "guards: [{test.read: {}, that: result.n == 1}]
steps:
  - id: a
    test.read: {}
",
        "
        run probe: fail cancelled; ok; ok
        signal: begun
        resume: work
        ",
        "
        stopping: SIGTERM
        Guard(0) is false do it
        stopped: stopped by SIGTERM
        resumed Work
        Guard(0) holds
        a ok
        ended succeeded
        ",
    );
}

#[test]
fn guards_are_asked_again_and_stop_the_run() {
    check_cut(
        Same::Nothing,
        "guards: [{test.read: {}, that: result.n == 1}]
steps:
  - id: a
    test.change: {}
  - id: b
    on_failure: stop
    test.read: {}
",
        r#"
        run probe: ok; ok {"n": 2}
        b: fail exit
        resume: work
        "#,
        "
        Guard(0) holds
        a looked 0 -> 1
        a started
        a changed
        b failed (exit: do it) -> stop
        stopped: step `b` failed: do it
        resumed Work
        Guard(0) is false `result.n == 1`: result.n = 2
        stopped: `result.n == 1`: result.n = 2
        ",
    );
}

#[test]
fn a_person_gives_up_a_run_that_was_stopped() {
    check_cut(
        Same::Nothing,
        "steps:
  - id: a
    test.change: {}
  - id: b
    test.read: {}
  - id: c
    test.read: {}
",
        "
        signal: a changed
        resume: roll back
        ",
        "
        a looked 0 -> 1
        a started
        a changed
        stopping: SIGTERM
        b ok
        stopped: stopped by SIGTERM
        resumed RollBack
        rolling back: asked for by bob
        a undoing
        a undone
        ended rolled_back
        ",
    );
}

#[test]
fn a_person_gives_up_a_run_that_has_changed_nothing() {
    check_cut(
        Same::Nothing,
        "steps:
  - id: a
    test.read: {}
  - id: b
    test.read: {}
  - id: c
    test.read: {}
",
        "
        signal: a ok
        resume: roll back
        ",
        "
        a ok
        stopping: SIGTERM
        b ok
        stopped: stopped by SIGTERM
        resumed RollBack
        ended cancelled
        ",
    );
}

#[test]
fn a_step_in_doubt_whose_result_is_named_is_settled_by_a_look_that_gives_it() {
    check(
        "steps:
  - id: a
    test.change: {n: 4}
  - id: b
    when: a.n == 4
    test.read: {}
",
        "",
        "
        a looked 0 -> 1
        a started
        a changed
        b ok
        ended succeeded
        ",
    );
}

#[test]
fn what_expects_something_is_checked_when_it_turns_out_done() {
    check(
        "steps:
  - id: a
    test.change: {n: 4}
    expect: [{that: result.n == 5, severity: warning}]
",
        "",
        "
        a looked 0 -> 1
        a started
        a changed [warning: expected `result.n == 5`, but result.n = 4]
        ended succeeded
        ",
    );
}

#[test]
fn a_step_in_doubt_is_settled_by_its_unless() {
    // The answer of this world's `unless` does not follow what was done: after a cut the step is done again.
    check_cut(
        Same::Outcome,
        "steps:
  - id: a
    unless: {test.read: {}, that: result.n == 2}
    command: {}
    rollback: []
",
        "a look: unclear",
        "
        a Unless is false `result.n == 2`: result.n = 1
        a started
        a changed
        ended succeeded
        ",
    );
}

#[test]
fn guards_and_confirm_are_not_passed_by_a_second_attempt() {
    check(
        "steps:
  - id: a
    guards: [{test.read: {}, that: result.n == 1}]
    confirm: Go?
    retry: {attempts: 2}
    command: {}
    rollback: []
",
        "
        a ask: yes
        a: fail exit; ok
        ",
        r#"
        a Guard(0) holds
        a answered by ann: "yes"
        a Guard(0) holds
        a started
        a running (exit: do it) again in 1000
        a woke
        a started 2
        a changed
        ended succeeded
        "#,
    );
}

#[test]
fn a_message_is_sent_again_when_in_doubt() {
    check(
        "steps:
  - id: a
    notify: {to: terminal, message: hello}
  - id: b
    command: {}
    rollback: []
",
        "",
        "
        a started
        a changed
        b started
        b changed
        ended succeeded
        ",
    );
}

#[test]
fn what_a_guard_had_come_to_when_the_engine_died_is_due_once() {
    check(
        "guards: [{that: 1 == 2, else: not today}]
steps:
  - id: a
    test.change: {}
",
        "",
        "
        Guard(0) is false not today (`1 == 2`)
        ended refused
        ",
    );
}

#[test]
fn a_run_that_cancel_only_stops_can_go_on() {
    let plan = plan(
        "on_failure: stop\nsteps:\n  - {id: a, test.change: {}}\n  - {id: b, test.read: {}}\n",
    );
    let story = run(&plan, "b: fail exit; ok\nresume: cancel; work");
    assert_eq!(story.state.mode(), Mode::Ended, "{}", story.transcript());
    assert_eq!(story.world.acted["a"], 1);
}

#[test]
fn a_run_that_is_cancelled_just_before_its_end_does_not_end() {
    let plan = plan("on_failure: stop\nsteps:\n  - id: g\n    group: [{id: a, test.change: {}}]\n");
    let story = run(&plan, "");
    let changed = |event: &Event| line(event) == "a changed";
    let events = 1 + story.events.iter().position(changed).expect("it changes");
    let mut again = story.cut(events);
    again.resume(Goal::Cancel);
    again.drive();
    assert_eq!(again.state.mode(), Mode::Stopped);
    again.resume(Goal::Work);
    again.drive();
    assert_eq!(again.end(), story.end());
}

#[test]
fn what_has_ended_in_a_group_is_not_done_again_for_its_expect() {
    let yaml = "steps:
  - id: g
    on_failure: stop
    expect: [{that: 1 == 2}]
    group:
      - id: a
        command: {}
        rollback: [{id: x, command: {}}]
";
    let plan = plan(yaml);
    let story = run(&plan, "resume: work; roll back");
    assert_eq!(story.world.acted["a"], 1, "{}", story.transcript());
    assert_eq!(story.state.step_state("a"), StepState::Undone);
}

#[test]
fn the_expect_of_a_call_that_is_asked_again_sees_its_outputs() {
    let yaml = "steps:
  - id: c
    on_failure: stop
    expect: [{that: result.n == 2}]
    call: {playbook: called}
---
playbook: called
steps:
  - id: a
    test.change: {}
outputs: {n: a.n}
";
    let plan = plan(yaml);
    let story = run(&plan, "resume: work");
    let failed = "c failed (expect: expected `result.n == 2`, but result.n = 1) -> stop";
    let lines = story.transcript();
    let times = lines.lines().filter(|line| *line == failed).count();
    assert_eq!((times, story.world.acted["c/a"]), (2, 1), "{lines}");
}
