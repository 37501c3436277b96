//! Rollback.

use super::check;

#[test]
fn rollback_runs_newest_first() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    test.change: {}
  - id: c
    test.read: {}
",
        "c: fail exit",
        "
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b started
        b changed
        c failed (exit: do it) -> rollback
        rolling back: step `c` failed: do it
        b undoing
        b undone
        a undoing
        a undone
        ended rolled_back
        ",
    );
}

#[test]
fn what_is_restarted_again_comes_last_and_once() {
    check(
        "steps:
  - id: a
    test.again: {of: web}
  - id: b
    test.change: {}
  - id: c
    test.again: {of: web}
  - id: d
    test.again: {of: db}
  - id: e
    test.read: {}
",
        "e: fail exit",
        "
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b started
        b changed
        c looked 0 -> 1
        c started
        c changed
        d looked 0 -> 1
        d started
        d changed
        e failed (exit: do it) -> rollback
        rolling back: step `e` failed: do it
        b undoing
        b undone
        d undoing
        d undone
        c undoing
        c undone
        a nothing to undo
        ended rolled_back
        ",
    );
}

#[test]
fn a_hand_written_rollback_sees_before_and_result() {
    check(
        "steps:
  - id: a
    test.change: {n: 7}
    rollback:
      - id: x
        when: before.was == 0 and result.n == 7
        command: {}
      - id: y
        when: result.n == 8
        command: {}
  - id: b
    test.read: {}
",
        "b: fail exit",
        "
        a looked 0 -> 1
        a started
        a changed
        b failed (exit: do it) -> rollback
        rolling back: step `b` failed: do it
        a/rollback/x started
        a/rollback/x changed
        a/rollback/y skipped `result.n == 8`: result.n = 7
        a undone
        ended rolled_back
        ",
    );
}

#[test]
fn a_step_that_failed_has_no_result_in_its_rollback() {
    check(
        r#"steps:
  - id: a
    command: {}
    rollback:
      - id: x
        when: (result.n | default(0)) == 0
        command: {}
      - id: y
        when: result.error.class == "exit" and before is absent
        command: {}
"#,
        "a: fail exit",
        "
        a started
        a failed (exit: do it) -> rollback
        rolling back: step `a` failed: do it
        a/rollback/x started
        a/rollback/x changed
        a/rollback/y started
        a/rollback/y changed
        a undone
        ended rolled_back
        ",
    );
}

#[test]
fn an_empty_rollback_undoes_nothing() {
    check(
        "steps:
  - id: a
    test.change: {}
    rollback: []
  - id: b
    test.read: {}
",
        "b: fail exit",
        "
        a looked 0 -> 1
        a started
        a changed
        b failed (exit: do it) -> rollback
        ended failed
        ",
    );
}

#[test]
fn the_rollback_of_a_group_replaces_those_inside() {
    check(
        "steps:
  - id: g
    rollback:
      - id: x
        command: {}
    group:
      - id: a
        test.change: {}
      - id: h
        rollback:
          - id: y
            command: {}
        group:
          - id: b
            command: {}
            irreversible: never
  - id: c
    test.read: {}
",
        "c: fail exit",
        "
        g entered
        a looked 0 -> 1
        a started
        a changed
        h entered
        b started
        b changed
        h changed
        g changed
        c failed (exit: do it) -> rollback
        rolling back: step `c` failed: do it
        g/rollback/x started
        g/rollback/x changed
        g undone
        ended rolled_back
        ",
    );
}

#[test]
fn what_is_irreversible_is_named() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    command: {}
    irreversible: sent is sent
  - id: c
    test.read: {}
",
        "c: fail exit",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b started
        b changed
        c failed (exit: do it) -> rollback
        rolling back: step `c` failed: do it
        b can't be undone: sent is sent
        a undoing
        a undone
        ended rollback_incomplete ["b: can't be undone: sent is sent"]
        "#,
    );
}

#[test]
fn an_undo_that_fails_does_not_stop_the_others() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    test.change: {}
  - id: c
    test.change: {}
  - id: d
    test.change: {}
  - id: e
    test.read: {}
",
        "
        e: fail exit
        b undo: fail exit
        c undo: dirty
        d undo: lapsed
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b started
        b changed
        c looked 0 -> 1
        c started
        c changed
        d looked 0 -> 1
        d started
        d changed
        e failed (exit: do it) -> rollback
        rolling back: step `e` failed: do it
        d too late to undo: purged
        c left alone: somebody was there
        b failed to undo: do it
        a undoing
        a undone
        ended rollback_incomplete ["b: failed to undo: do it", "c: left alone: somebody was there", "d: too late to undo: purged"]
        "#,
    );
}

#[test]
fn a_failing_rollback_step_gives_up_that_rollback() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    test.change: {}
    rollback:
      - id: g
        group:
          - id: x
            command: {}
          - id: y
            command: {}
      - id: z
        command: {}
  - id: e
    test.read: {}
",
        "
        e: fail exit
        b/rollback/x: fail exit
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b started
        b changed
        e failed (exit: do it) -> rollback
        rolling back: step `e` failed: do it
        b/rollback/g entered
        b/rollback/x started
        b/rollback/x failed (exit: do it)
        b/rollback/g failed (exit: do it)
        b failed to undo: do it
        a undoing
        a undone
        ended rollback_incomplete ["b: failed to undo: do it"]
        "#,
    );
}

#[test]
fn a_rollback_step_may_be_passed_over() {
    check(
        "steps:
  - id: b
    test.change: {}
    rollback:
      - id: x
        on_failure: continue
        command: {}
      - id: z
        command: {}
  - id: e
    test.read: {}
",
        "
        e: fail exit
        b/rollback/x: fail exit
        ",
        "
        b looked 0 -> 1
        b started
        b changed
        e failed (exit: do it) -> rollback
        rolling back: step `e` failed: do it
        b/rollback/x started
        b/rollback/x failed (exit: do it) -> continue [critical: b/rollback/x: do it]
        b/rollback/z started
        b/rollback/z changed
        b undone
        ended rolled_back
        ",
    );
}

#[test]
fn rollback_steps_are_tried_again() {
    check(
        "steps:
  - id: b
    test.change: {}
    rollback:
      - id: x
        retry: {attempts: 2, delay: 3s}
        command: {}
  - id: e
    test.read: {}
",
        "
        e: fail exit
        b/rollback/x: fail exit; ok
        ",
        "
        b looked 0 -> 1
        b started
        b changed
        e failed (exit: do it) -> rollback
        rolling back: step `e` failed: do it
        b/rollback/x started
        b/rollback/x running (exit: do it) again in 3000
        b/rollback/x woke
        b/rollback/x started 2
        b/rollback/x changed
        b undone
        ended rolled_back
        ",
    );
}

#[test]
fn a_step_that_failed_half_way_is_undone_too() {
    check(
        "steps:
  - id: a
    test.change: {}
",
        "a: half exit",
        "
        a looked 0 -> 1
        a started
        a failed (exit: do it half) -> rollback
        rolling back: step `a` failed: do it half
        a undoing
        a undone
        ended rolled_back
        ",
    );
}

#[test]
fn a_second_attempt_registers_no_second_undo() {
    check(
        "steps:
  - id: a
    retry: {attempts: 2}
    command: {}
    rollback:
      - id: x
        command: {}
",
        "a: fail exit; fail exit",
        "
        a started
        a running (exit: do it) again in 1000
        a woke
        a started 2
        a failed (exit: do it) -> rollback
        rolling back: step `a` failed: do it
        a/rollback/x started
        a/rollback/x changed
        a undone
        ended rolled_back
        ",
    );
}

#[test]
fn what_a_person_has_done_is_undone_as_the_playbook_says() {
    check(
        "steps:
  - id: a
    manual: Swap the disk
    rollback:
      - {id: back, manual: Put the old disk in}
  - id: b
    manual: Leave it
    rollback:
      - {id: never, manual: Nothing to put back}
  - id: c
    test.read: {}
",
        "a ask: done; done; done
        b ask: skip it; skip it; skip it
        back ask: done; done; done
        c: fail exit",
        r#"
        a answered by ann: {"done":{"remark":""}}
        a ok
        b answered by ann: {"skip":{"remark":"it"}}
        b skipped left out by a person: it
        c failed (exit: do it) -> rollback
        rolling back: step `c` failed: do it
        a/rollback/back answered by ann: {"done":{"remark":""}}
        a/rollback/back ok
        a undone
        ended rolled_back
        "#,
    );
}

#[test]
fn what_is_asked_again_and_again_is_undone_once() {
    check(
        "steps:
  - id: g
    until: a.n == 2
    within: 3s
    group:
      - id: h
        rollback: [{id: x, command: {}}]
        group:
          - id: a
            test.read: {}
  - id: b
    test.read: {}
",
        "a: ok; ok {\"n\": 2}; ok {\"n\": 2}\nb: fail exit",
        "
        g entered
        h entered
        a ok
        h ok
        g not yet `a.n == 2`: a.n = 1
        g woke
        g entered
        h entered
        a ok
        h ok
        g ok
        b failed (exit: do it) -> rollback
        rolling back: step `b` failed: do it
        h/rollback/x started
        h/rollback/x changed
        h undone
        ended rolled_back
        ",
    );
}
