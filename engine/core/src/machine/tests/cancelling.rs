//! A run that is cancelled, undone or given up by a person.

use super::{Same, check_cut};

const TWO: &str = "steps:
  - id: a
    test.change: {}
  - id: b
    test.change: {}
always:
  - id: z
    test.read: {}
";

fn check(yaml: &str, script: &str, expect: &str) {
    // The script is about one moment.
    check_cut(Same::Nothing, yaml, script, expect);
}

#[test]
fn a_cancelled_run_undoes_what_it_has_changed() {
    check(
        TWO,
        "cancelled: b started",
        "
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b started
        stopping: SIGTERM
        b changed
        rolling back: cancelled by SIGTERM
        b undoing
        b undone
        a undoing
        a undone
        always
        z ok
        ended cancelled
        ",
    );
}

#[test]
fn a_cancel_before_anything_has_changed_changes_nothing() {
    check(
        TWO,
        "cancelled: a looked 0 -> 1",
        "
        a looked 0 -> 1
        stopping: SIGTERM
        a started
        a changed
        rolling back: cancelled by SIGTERM
        a undoing
        a undone
        always
        z ok
        ended cancelled
        ",
    );
}

#[test]
fn a_run_that_stops_on_failure_only_stops_when_it_is_cancelled() {
    check(
        "on_failure: stop
steps:
  - id: a
    test.change: {}
  - id: b
    test.change: {}
",
        "
        cancelled: a started
        resume: give up
        ",
        r#"
        a looked 0 -> 1
        a started
        stopping: SIGTERM
        a changed
        stopped: stopped by SIGTERM
        resumed GiveUp
        ended failed ["a: left as it is (put back a)"]
        "#,
    );
}

#[test]
fn a_person_at_the_terminal_has_it_undone() {
    check(
        TWO,
        "undone: b started",
        "
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b started
        stopping: SIGTERM
        b changed
        rolling back: asked for by SIGTERM
        b undoing
        b undone
        a undoing
        a undone
        always
        z ok
        ended rolled_back
        ",
    );
}

#[test]
fn a_run_that_is_given_up_leaves_everything_and_says_so() {
    check(
        TWO,
        "given up: b started",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b started
        stopping: SIGTERM
        b changed
        always
        z ok
        ended failed ["b: left as it is (put back b)", "a: left as it is (put back a)"]
        "#,
    );
}

#[test]
fn a_waiting_run_is_cancelled() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    confirm: Really?
    test.change: {}
",
        "
        b ask: away
        resume: cancel
        ",
        "
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        waiting
        resumed Cancel
        rolling back: cancelled by bob
        a undoing
        a undone
        ended cancelled
        ",
    );
}

#[test]
fn a_run_that_failed_and_stopped_is_cancelled() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    on_failure: stop
    test.change: {}
",
        "
        b: fail exit
        resume: cancel
        ",
        "
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b started
        b failed (exit: do it) -> stop
        stopped: step `b` failed: do it
        resumed Cancel
        rolling back: cancelled by bob
        b nothing to undo
        a undoing
        a undone
        ended cancelled
        ",
    );
}

#[test]
fn past_the_point_of_no_return_a_cancel_only_stops() {
    check(
        "steps:
  - id: a
    confirm: Really?
    test.destroy: {}
    irreversible: it is gone
  - id: b
    test.change: {}
",
        "
        a ask: yes
        cancelled: b started
        resume: work
        ",
        r#"
        a looked 0 -> 1
        a answered by ann: "yes"
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b started
        stopping: SIGTERM
        b changed
        ended succeeded
        "#,
    );
}

#[test]
fn an_undo_that_fails_makes_a_cancelled_run_incomplete() {
    check(
        TWO,
        "
        cancelled: b started
        a undo: dirty
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b started
        stopping: SIGTERM
        b changed
        rolling back: cancelled by SIGTERM
        b undoing
        b undone
        a left alone: somebody was there
        always
        z ok
        ended rollback_incomplete ["a: left alone: somebody was there"]
        "#,
    );
}
