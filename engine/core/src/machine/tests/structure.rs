//! Structure: groups, choices, calls, findings, what runs last.

use super::check;

#[test]
fn a_group_runs_its_steps() {
    check(
        "steps:
  - id: g
    when: 1 == 1
    confirm: Go?
    group:
      - id: a
        test.change: {}
      - id: b
        test.read: {}
    expect: [{that: a.changed}]
  - id: c
    when: g.changed
    test.read: {}
",
        "g ask: yes",
        r#"
        g answered by ann: "yes"
        g entered
        a looked 0 -> 1
        a started
        a changed
        b ok
        g changed
        c ok
        ended succeeded
        "#,
    );
}

#[test]
fn an_empty_choice_is_ok() {
    check(
        "steps:
  - id: c
    choose:
      - when: 1 == 2
        steps:
          - id: a
            test.read: {}
",
        "",
        "
        c entered
        c ok
        ended succeeded
        ",
    );
}

#[test]
fn the_first_branch_that_holds_is_taken() {
    check(
        "steps:
  - id: c
    choose:
      - when: 1 == 2
        steps:
          - id: a
            test.read: {}
      - when: 1 == 1
        steps:
          - id: b
            test.read: {}
      - otherwise:
          - id: d
            test.read: {}
",
        "",
        "
        c entered branch 1
        b ok
        c ok
        ended succeeded
        ",
    );
}

#[test]
fn otherwise_is_taken_last() {
    check(
        "steps:
  - id: c
    choose:
      - when: 1 == 2
        steps:
          - id: a
            test.read: {}
      - otherwise:
          - id: d
            test.read: {}
",
        "",
        "
        c entered branch 1
        d ok
        c ok
        ended succeeded
        ",
    );
}

#[test]
fn a_call_gives_its_outputs_and_joins_undos_and_always() {
    check(
        r#"steps:
  - id: c
    call: {playbook: called, with: {n: 2}}
  - id: d
    when: c.twice == 4 and c.changed
    test.read: {}
always:
  - id: y
    test.read: {}
---
playbook: called
inputs:
  n: {type: integer, help: A number}
guards: [{that: n < 5, else: too big}]
steps:
  - id: a
    test.change: {n: "{{ n }}"}
always:
  - id: z
    test.read: {}
outputs: {twice: a.n * 2}
"#,
        "d: fail exit",
        "
        c entered
        c/a looked 0 -> 1
        c/a started
        c/a changed
        c changed
        d failed (exit: do it) -> rollback
        rolling back: step `d` failed: do it
        c/a undoing
        c/a undone
        always
        c/z ok
        y ok
        ended rolled_back
        ",
    );
}

#[test]
fn a_called_playbook_that_is_refused_fails_its_call() {
    check(
        r#"steps:
  - id: b
    test.change: {}
  - id: c
    call: {playbook: called, with: {n: "{{ b.n + 6 }}"}}
---
playbook: called
inputs:
  n: {type: integer, help: A number}
guards: [{that: n < 5, else: too big}]
steps:
  - id: a
    test.change: {n: "{{ n }}"}
always:
  - id: z
    test.read: {}
outputs: {twice: a.n * 2}
"#,
        "",
        "
        b looked 0 -> 1
        b started
        b changed
        c entered
        c Guard(0) is false too big (`n < 5`: n = 7)
        c refused (refused: too big (`n < 5`: n = 7)) -> rollback
        rolling back: step `c` failed: too big (`n < 5`: n = 7)
        b undoing
        b undone
        ended rolled_back
        ",
    );
}

#[test]
fn a_guard_of_a_called_playbook_asks_a_kind() {
    check(
        "steps:
  - id: c
    guards: [{test.read: {}, that: result.n == 1}]
    call: {playbook: called}
---
playbook: called
guards: [{test.read: {}, that: result.n == 2}]
steps:
  - id: a
    test.read: {}
",
        r#"c probe: ok {"n": 1}; ok {"n": 2}; ok {"n": 2}"#,
        "
        c Guard(0) holds
        c entered
        c Guard(0) holds
        c/a ok
        c ok
        ended succeeded
        ",
    );
}

#[test]
fn a_wrong_input_fails_the_call() {
    check(
        r#"steps:
  - id: b
    test.read: {}
  - id: c
    call: {playbook: called, with: {n: "{{ b.ok }}"}}
---
playbook: called
inputs:
  n: {type: integer, help: A number}
guards: [{that: n < 5, else: too big}]
steps:
  - id: a
    test.change: {n: "{{ n }}"}
always:
  - id: z
    test.read: {}
outputs: {twice: a.n * 2}
"#,
        "",
        "
        b ok
        c entered
        c failed (internal: call `called`: input `n`: expected a whole number, found boolean true) -> rollback
        ended failed
        ",
    );
}

#[test]
fn an_output_that_can_not_be_worked_out_fails_the_call() {
    check(
        "steps:
  - id: c
    call: {playbook: called}
---
playbook: called
steps:
  - id: a
    test.read: {}
outputs: {x: a.n / 0}
",
        "",
        "
        c entered
        c/a ok
        c failed (internal: work out the output `x`: calculate integer 1 / integer 0: a division by zero) -> rollback
        ended failed
        ",
    );
}

#[test]
fn always_runs_after_success() {
    check(
        r#"steps:
  - id: a
    test.change: {}
always:
  - id: z
    when: run.outcome == "succeeded"
    test.read: {}
"#,
        "",
        "
        a looked 0 -> 1
        a started
        a changed
        always
        z ok
        ended succeeded
        ",
    );
}

#[test]
fn always_runs_after_a_rollback() {
    check(
        r#"steps:
  - id: a
    test.change: {}
  - id: b
    test.read: {}
always:
  - id: z
    when: run.outcome == "rolled_back"
    test.read: {}
"#,
        "b: fail exit",
        "
        a looked 0 -> 1
        a started
        a changed
        b failed (exit: do it) -> rollback
        rolling back: step `b` failed: do it
        a undoing
        a undone
        always
        z ok
        ended rolled_back
        ",
    );
}

#[test]
fn a_failing_always_is_a_critical_finding_and_changes_no_outcome() {
    check(
        "steps:
  - id: a
    test.change: {}
always:
  - id: y
    group:
      - id: x
        command: {}
      - id: w
        command: {}
  - id: z
    test.read: {}
",
        "x: fail exit",
        "
        a looked 0 -> 1
        a started
        a changed
        always
        y entered
        x started
        x failed (exit: do it) [critical: x: do it]
        y failed (exit: do it)
        z ok
        ended succeeded
        ",
    );
}

#[test]
fn always_does_not_run_when_nothing_has() {
    check(
        "steps:
  - id: a
    guards: [{that: 1 == 2}]
    test.change: {}
always:
  - id: z
    test.read: {}
",
        "",
        "
        a looked 0 -> 1
        a Guard(0) is false `1 == 2`
        a refused (refused: `1 == 2`) -> rollback
        ended refused
        ",
    );
}

#[test]
fn always_does_not_run_when_stopped() {
    check(
        "steps:
  - id: a
    test.change: {}
  - id: b
    on_failure: stop
    test.read: {}
always:
  - id: z
    test.read: {}
",
        "b: fail exit",
        "
        a looked 0 -> 1
        a started
        a changed
        b failed (exit: do it) -> stop
        stopped: step `b` failed: do it
        ",
    );
}

#[test]
fn an_undo_of_a_finished_group_leaves_it_undone() {
    check(
        "steps:
  - id: g
    group:
      - id: a
        test.change: {}
      - id: h
        group:
          - id: b
            test.read: {}
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
        b ok
        h ok
        g changed
        c failed (exit: do it) -> rollback
        rolling back: step `c` failed: do it
        a undoing
        a undone
        ended rolled_back
        ",
    );
}
