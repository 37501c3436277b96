//! Many steps at once: parallel work and loops.

use super::{Same, check, check_cut};

#[test]
fn parallel_steps_run_beside_each_other() {
    check(
        "steps:
  - id: p
    parallel:
      - id: a
        test.change: {}
      - id: b
        test.change: {}
      - id: c
        test.read: {}
",
        "",
        "
        p entered
        a looked 0 -> 1
        b looked 0 -> 1
        c ok
        a started
        b started
        a changed
        b changed
        p changed
        ended succeeded
        ",
    );
}

#[test]
fn at_once_limits_parallel_steps() {
    check(
        "steps:
  - id: p
    at_once: 2
    parallel:
      - id: a
        test.read: {}
      - id: b
        test.change: {}
      - id: c
        test.read: {}
",
        "",
        "
        p entered
        a ok
        b looked 0 -> 1
        c ok
        b started
        b changed
        p changed
        ended succeeded
        ",
    );
}

#[test]
fn what_runs_beside_a_failure_is_let_to_its_end() {
    check_cut(
        Same::Outcome,
        "steps:
  - id: p
    parallel:
      - id: a
        test.read: {}
      - id: b
        test.change: {}
      - id: c
        command: {}
        rollback: []
  - id: z
    test.read: {}
",
        "a: fail exit",
        "
        p entered
        a failed (exit: do it) -> rollback
        b looked 0 -> 1
        c started
        c changed
        ended failed
        ",
    );
}

#[test]
fn a_sleep_beside_a_failure_is_given_up() {
    check(
        "steps:
  - id: p
    parallel:
      - id: b
        retry: {attempts: 2, delay: 1h}
        test.change: {}
      - id: c
        wait: 2h
      - id: d
        confirm: Go?
        test.change: {}
      - id: g
        group:
          - id: h
            wait: 1s
          - id: a
            test.read: {}
",
        "
        a: fail exit
        b: fail exit
        d ask: yes
        ",
        r#"
        p entered
        b looked 0 -> 1
        d looked 0 -> 1
        g entered
        b started
        d answered by ann: "yes"
        b running (exit: do it) again in 3600000
        d looked 0 -> 1
        d started
        d changed
        h answered by clock: {"done":{"remark":""}}
        h ok
        a failed (exit: do it) -> rollback
        rolling back: step `a` failed: do it
        d undoing
        d undone
        b nothing to undo
        ended rolled_back
        "#,
    );
}

#[test]
fn the_most_careful_of_two_failures_holds() {
    check_cut(
        Same::Nothing,
        "steps:
  - id: p
    parallel:
      - id: a
        test.read: {}
      - id: b
        on_failure: stop
        test.read: {}
",
        "
        a: fail exit; ok
        b: fail exit; ok
        resume: work
        ",
        "
        p entered
        a failed (exit: do it) -> rollback
        b failed (exit: do it) -> stop
        stopped: step `a` failed: do it
        resumed Work
        a ok
        b ok
        p ok
        ended succeeded
        ",
    );
}

#[test]
fn each_of_two_failures_is_asked_about() {
    check(
        "on_failure: ask
steps:
  - id: p
    parallel:
      - id: a
        test.read: {}
      - id: b
        test.read: {}
      - id: w
        wait: 1m
  - id: z
    test.read: {}
",
        "
        a: fail exit; ok
        b: fail exit
        a ask: retry
        b ask: skip
        ",
        r#"
        p entered
        a failed (exit: do it) -> ask
        b failed (exit: do it) -> ask
        a answered by ann: "retry"
        b answered by ann: {"skip":{"remark":""}}
        a ok
        w answered by clock: {"done":{"remark":""}}
        w ok
        p ok
        z ok
        ended succeeded
        "#,
    );
}

#[test]
fn a_loop_runs_for_every_item() {
    check(
        r#"steps:
  - id: l
    foreach:
      in: [10, 20]
      as: size
      steps:
        - id: a
          test.change: {n: "{{ size + index }}"}
        - id: b
          when: a.n == 21
          test.read: {}
"#,
        "",
        r#"
        l entered ["0", "1"]
        l[0]/a looked 0 -> 1
        l[0]/a started
        l[0]/a changed
        l[0]/b skipped `a.n == 21`: a.n = 10
        l[1]/a looked 0 -> 1
        l[1]/a started
        l[1]/a changed
        l[1]/b ok
        l changed
        ended succeeded
        "#,
    );
}

#[test]
fn a_key_names_the_rounds() {
    check(
        r#"steps:
  - id: l
    foreach:
      in: [x/y, z]
      as: name
      key: name
      at_once: 2
      steps:
        - id: a
          test.read: {}
  - id: b
    when: l["z"].a.n == 2 and l["x/y"].a.ok
    test.read: {}
"#,
        r#"l[z]/a: ok {"n": 2}"#,
        r#"
        l entered ["x%2Fy", "z"]
        l[x%2Fy]/a ok
        l[z]/a ok
        l ok
        b ok
        ended succeeded
        "#,
    );
}

#[test]
fn equal_keys_are_an_error() {
    check(
        "steps:
  - id: l
    foreach:
      in: [1, 2]
      key: 1
      steps:
        - id: a
          test.read: {}
",
        "",
        "
        l failed (internal: tell the rounds apart: two have the key `1`) -> rollback
        ended failed
        ",
    );
}

#[test]
fn an_empty_list_is_said() {
    check(
        "steps:
  - id: l
    foreach:
      in: []
      steps:
        - id: a
          test.read: {}
",
        "",
        "
        l entered []
        l ok
        ended succeeded
        ",
    );
}

#[test]
fn a_failed_round_starts_no_further_one() {
    check_cut(
        Same::Outcome,
        "steps:
  - id: l
    foreach:
      in: [1, 2, 3]
      at_once: 2
      steps:
        - id: a
          test.change: {}
        - id: b
          test.change: {}
",
        "l[0]/a: fail exit",
        r#"
        l entered ["0", "1", "2"]
        l[0]/a looked 0 -> 1
        l[1]/a looked 0 -> 1
        l[0]/a started
        l[1]/a started
        l[0]/a failed (exit: do it) -> rollback
        l[1]/a changed
        rolling back: step `l[0]/a` failed: do it
        l[1]/a undoing
        l[1]/a undone
        l[0]/a nothing to undo
        ended rolled_back
        "#,
    );
}

#[test]
fn a_call_in_a_loop_has_its_own_steps() {
    check(
        r#"steps:
  - id: l
    foreach:
      in: [1, 2]
      steps:
        - id: c
          call: {playbook: called, with: {n: "{{ item }}"}}
        - id: d
          when: c.twice == 2 * item
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
        "l[1]/d: fail exit",
        r#"
        l entered ["0", "1"]
        l[0]/c entered
        l[0]/c/a looked 0 -> 1
        l[0]/c/a started
        l[0]/c/a changed
        l[0]/c changed
        l[0]/d ok
        l[1]/c entered
        l[1]/c/a looked 0 -> 1
        l[1]/c/a started
        l[1]/c/a changed
        l[1]/c changed
        l[1]/d failed (exit: do it) -> rollback
        rolling back: step `l[1]/d` failed: do it
        l[1]/c/a undoing
        l[1]/c/a undone
        l[0]/c/a undoing
        l[0]/c/a undone
        always
        l[1]/c/z ok
        l[0]/c/z ok
        ended rolled_back
        "#,
    );
}

#[test]
fn nested_loops_have_their_own_keys() {
    check(
        r#"steps:
  - id: l
    foreach:
      in: [1, 2]
      at_once: 2
      steps:
        - id: m
          foreach:
            in: [3, 4]
            steps:
              - id: a
                test.change: {n: "{{ item }}"}
"#,
        "",
        r#"
        l entered ["0", "1"]
        l[0]/m entered ["0", "1"]
        l[1]/m entered ["0", "1"]
        l[0]/m[0]/a looked 0 -> 1
        l[1]/m[0]/a looked 0 -> 1
        l[0]/m[0]/a started
        l[1]/m[0]/a started
        l[0]/m[0]/a changed
        l[1]/m[0]/a changed
        l[0]/m[1]/a looked 0 -> 1
        l[1]/m[1]/a looked 0 -> 1
        l[0]/m[1]/a started
        l[1]/m[1]/a started
        l[0]/m[1]/a changed
        l[1]/m[1]/a changed
        l[0]/m changed
        l[1]/m changed
        l changed
        ended succeeded
        "#,
    );
}
