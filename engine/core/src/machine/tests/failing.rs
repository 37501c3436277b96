//! Guards, failures, and what they do to the run.

use super::check;

#[test]
fn steps_run_one_after_the_other() {
    check(
        "steps:
  - id: a
    test.read: {}
  - id: b
    test.change: {}
  - id: c
    command: {}
    rollback: []
",
        "",
        "
        a ok
        b looked 0 -> 1
        b started
        b changed
        c started
        c changed
        ended succeeded
        ",
    );
}

#[test]
fn a_failure_rolls_back() {
    check(
        "steps:
  - id: a
    test.change: {}
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
        a undoing
        a undone
        ended rolled_back
        ",
    );
}

#[test]
fn a_guard_that_is_false_refuses_the_step_and_rolls_back() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    guards:
      - that: a.n == 2
        else: not two
    test.change: {}
",
        "",
        "
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b Guard(0) is false not two (`a.n == 2`: a.n = 1)
        b refused (refused: not two (`a.n == 2`: a.n = 1)) -> rollback
        rolling back: step `b` failed: not two (`a.n == 2`: a.n = 1)
        a undoing
        a undone
        ended rolled_back
        ",
    );
}

#[test]
fn a_guard_asks_a_kind() {
    check(
        "steps:
  - id: a
    guards:
      - test.read: {}
        that: result.n == 1
      - test.read: {}
        that: result.n == 3
        else: not three but {{ result.n }}
    test.change: {}
",
        r#"a probe: ok {"n": 1}; ok {"n": 2}"#,
        "
        a looked 0 -> 1
        a Guard(0) holds
        a Guard(1) is false not three but 2 (`result.n == 3`: result.n = 2)
        a refused (refused: not three but 2 (`result.n == 3`: result.n = 2)) -> rollback
        ended refused
        ",
    );
}

#[test]
fn a_guard_that_can_not_be_asked_refuses() {
    check(
        "steps:
  - id: a
    guards:
      - test.read: {}
        that: result.n == 1
    test.change: {}
",
        "a probe: fail transport",
        "
        a looked 0 -> 1
        a Guard(0) is false do it
        a refused (refused: do it) -> rollback
        ended refused
        ",
    );
}

#[test]
fn the_playbooks_guard_refuses_the_run() {
    check(
        "guards:
  - test.read: {}
    that: result.n == 2
    else: not two
steps:
  - id: a
    test.change: {}
always:
  - id: z
    test.read: {}
",
        "",
        "
        Guard(0) is false not two (`result.n == 2`: result.n = 1)
        ended refused
        ",
    );
}

#[test]
fn a_missing_program_refuses_the_run() {
    check(
        "requires: {git: '*'}
steps:
  - id: a
    test.read: {}
",
        "run require: git is missing",
        r#"
        required ["git is missing"]
        ended refused
        "#,
    );
}

#[test]
fn a_var_that_can_not_be_worked_out_refuses_the_run() {
    check(
        "vars:
  half: 1 / 0
steps:
  - id: a
    test.read: {}
",
        "",
        "
        ended refused
        ",
    );
}

#[test]
fn a_failed_expect_fails_the_step() {
    check(
        r#"steps:
  - id: a
    test.change: {}
  - id: b
    test.change: {}
    expect:
      - that: result.n == 2
        else: "it is {{ result.n }}"
"#,
        "",
        "
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b started
        b failed (expect: it is 1) -> rollback
        rolling back: step `b` failed: it is 1
        b undoing
        b undone
        a undoing
        a undone
        ended rolled_back
        ",
    );
}

#[test]
fn warnings_and_criticals_are_findings_and_the_run_goes_on() {
    check(
        "steps:
  - id: a
    test.read: {}
    expect:
      - {that: result.n == 2, severity: warning}
      - {that: result.n == 3, severity: critical, else: bad}
  - id: b
    test.read: {}
",
        "",
        "
        a ok [warning: expected `result.n == 2`, but result.n = 1] [critical: bad]
        b ok
        ended succeeded
        ",
    );
}

#[test]
fn each_item_that_fails_is_a_finding() {
    check(
        r#"steps:
  - id: a
    test.read: {}
    expect:
      - {each: result.items, that: item < 3, severity: warning, else: "too big: {{ item }}"}
"#,
        r#"a: ok {"items": [1, 5, 2, 7]}"#,
        "
        a ok [warning: too big: 5] [warning: too big: 7]
        ended succeeded
        ",
    );
}

#[test]
fn a_failed_each_names_every_item() {
    check(
        r#"steps:
  - id: a
    test.read: {}
    expect:
      - {each: result.items, that: item < 3, else: "{{ item }}"}
"#,
        r#"a: ok {"items": [1, 5, 2, 7]}"#,
        "
        a failed (expect: 5: 7) -> rollback
        ended failed
        ",
    );
}

#[test]
fn continue_raises_a_finding_and_keeps_the_undo() {
    check(
        "steps:
  - id: a
    test.change: {}
    on_failure: continue
  - id: b
    test.read: {}
    when: not a.ok
  - id: c
    test.read: {}
",
        "
        a: fail exit
        c: fail exit
        ",
        "
        a looked 0 -> 1
        a started
        a failed (exit: do it) -> continue [critical: a: do it]
        b ok
        c failed (exit: do it) -> rollback
        rolling back: step `c` failed: do it
        a nothing to undo
        ended rolled_back
        ",
    );
}

#[test]
fn the_innermost_on_failure_wins() {
    check(
        "on_failure: rollback
steps:
  - id: g
    on_failure: continue
    group:
      - id: a
        test.change: {}
      - id: h
        on_failure: stop
        group:
          - id: b
            test.read: {}
  - id: c
    test.read: {}
",
        "
        b: fail exit; ok
        resume: work
        ",
        "
        g entered
        a looked 0 -> 1
        a started
        a changed
        h entered
        b failed (exit: do it) -> stop
        stopped: step `b` failed: do it
        resumed Work
        b ok
        h ok
        g changed
        c ok
        ended succeeded
        ",
    );
}

#[test]
fn a_stop_keeps_everything_and_resume_tries_again() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    on_failure: stop
    test.read: {}
",
        "
        b: fail exit; fail exit; ok
        resume: work; work
        ",
        "
        a looked 0 -> 1
        a started
        a changed
        b failed (exit: do it) -> stop
        stopped: step `b` failed: do it
        resumed Work
        b failed (exit: do it) -> stop
        stopped: step `b` failed: do it
        resumed Work
        b ok
        ended succeeded
        ",
    );
}

#[test]
fn a_stopped_run_can_be_rolled_back() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    on_failure: stop
    test.read: {}
",
        "
        b: fail exit
        resume: roll back
        ",
        "
        a looked 0 -> 1
        a started
        a changed
        b failed (exit: do it) -> stop
        stopped: step `b` failed: do it
        resumed RollBack
        rolling back: step `b` failed: do it
        a undoing
        a undone
        ended rolled_back
        ",
    );
}

#[test]
fn a_person_chooses_to_try_again() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    on_failure: ask
    test.read: {}
  - id: c
    test.read: {}
",
        "
        b: fail exit; fail exit; ok
        b ask: retry; retry
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b failed (exit: do it) -> ask
        b answered by ann: "retry"
        b failed (exit: do it) -> ask
        b answered by ann: "retry"
        b ok
        c ok
        ended succeeded
        "#,
    );
}

#[test]
fn a_person_chooses_to_skip() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    on_failure: ask
    test.read: {}
  - id: c
    when: not b.ok
    test.read: {}
",
        "
        b: fail exit
        b ask: skip
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b failed (exit: do it) -> ask
        b answered by ann: {"skip":{"remark":""}}
        c ok
        ended succeeded
        "#,
    );
}

#[test]
fn a_person_chooses_to_roll_back() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    on_failure: ask
    test.read: {}
",
        "
        b: fail exit
        b ask: undo
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
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
fn a_person_chooses_to_stop() {
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
        b ask: stop
        resume: work
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b failed (exit: do it) -> ask
        b answered by ann: "stop"
        stopped: step `b` failed: do it
        resumed Work
        b ok
        ended succeeded
        "#,
    );
}

#[test]
fn an_error_in_when_fails_the_step() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    when: a.n + 'x' == 1
    test.read: {}
",
        "",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b failed (internal: work out `a.n + 'x' == 1`: calculate integer 1 + text "x": a.n = 1: a.n + 'x': calculate integer 1 + text "x") -> rollback
        rolling back: step `b` failed: work out `a.n + 'x' == 1`: calculate integer 1 + text "x": a.n = 1: a.n + 'x': calculate integer 1 + text "x"
        a undoing
        a undone
        ended rolled_back
        "#,
    );
}

#[test]
fn a_result_that_was_never_made_is_an_error_where_it_is_used() {
    check(
        r#"steps:
  - id: a
    when: 1 == 2
    test.read: {}
  - id: b
    when: (a.n | default(5)) == 5 and not a.ran
    test.read: {}
  - id: c
    test.read: {n: "{{ a.n }}"}
"#,
        "",
        "
        a skipped `1 == 2`
        b ok
        c failed (internal: work out the arguments of `test.read`: `n`: step `a` was skipped) -> rollback
        ended failed
        ",
    );
}

#[test]
fn what_begun_without_an_undo_is_no_refusal() {
    check(
        "steps:
  - id: a
    command: {}
    rollback: []
  - id: b
    guards: [{that: 1 == 2}]
    test.change: {}
",
        "",
        "
        a started
        a changed
        b looked 0 -> 1
        b Guard(0) is false `1 == 2`
        b refused (refused: `1 == 2`) -> rollback
        ended failed
        ",
    );
}

#[test]
fn past_the_point_of_no_return_a_failure_stops() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    confirm: true
    irreversible: gone is gone
    test.destroy: {}
  - id: c
    test.read: {}
",
        "
        b ask: --yes
        c: fail exit
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b answered by --yes: "yes"
        b started
        b changed
        c failed (exit: do it) -> stop
        stopped: step `c` failed: do it
        "#,
    );
}

#[test]
fn a_step_may_roll_back_past_the_point_of_no_return() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    confirm: true
    irreversible: gone is gone
    test.destroy: {}
  - id: c
    on_failure: rollback
    test.read: {}
",
        "
        b ask: --yes
        c: fail exit
        ",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b answered by --yes: "yes"
        b started
        b changed
        c failed (exit: do it) -> rollback
        rolling back: step `c` failed: do it
        b can't be undone: gone is gone
        a undoing
        a undone
        ended rollback_incomplete ["b: can't be undone: gone is gone"]
        "#,
    );
}

#[test]
fn outputs_that_are_absent_are_left_out_and_wrong_ones_are_found() {
    check(
        "steps:
  - id: a
    when: 1 == 2
    test.read: {}
  - id: b
    test.read: {}
outputs:
  absent: a.n
  wrong: b.n + 'x'
  also: b.n / 0
  n: b.n
  how: run.outcome
",
        "",
        r#"
        a skipped `1 == 2`
        b ok
        raised [warning: work out the output `wrong`: calculate integer 1 + text "x"]
        raised [warning: work out the output `also`: calculate integer 1 / integer 0: a division by zero]
        ended succeeded {"how":"succeeded","n":1}
        "#,
    );
}
