//! Questions: confirms, answers, instructions, waits; and `when`, `unless` before them.

use super::{Same, check, check_cut};

#[test]
fn when_is_false_and_the_step_is_skipped() {
    check(
        "steps:
  - id: a
    when: 1 == 2
    test.change: {}
  - id: b
    when: a.ran
    test.read: {}
",
        "",
        "
        a skipped `1 == 2`
        b skipped `a.ran`: a.ran = false
        ended succeeded
        ",
    );
}

#[test]
fn unless_is_true_and_it_is_done_already() {
    check(
        "steps:
  - id: a
    unless: 1 == 1
    command: {}
    rollback: []
  - id: b
    when: a.ok and not a.changed
    test.read: {}
",
        "",
        "
        a Unless holds `1 == 1`
        b ok
        ended succeeded
        ",
    );
}

#[test]
fn unless_asks_a_kind() {
    // The answer of this world's `unless` does not follow what was done: after a cut the step is done again.
    check_cut(
        Same::Outcome,
        "steps:
  - id: a
    unless:
      test.read: {}
      that: result.n == 1
    command: {}
    rollback: []
  - id: b
    unless:
      test.read: {}
      that: result.n == 1
    command: {}
    rollback: []
",
        r#"b probe: ok {"n": 2}"#,
        "
        a Unless holds
        b Unless is false `result.n == 1`: result.n = 2
        b started
        b changed
        ended succeeded
        ",
    );
}

#[test]
fn an_unless_that_can_not_be_asked_fails() {
    check(
        "steps:
  - id: a
    unless:
      test.read: {}
      that: result.n == 1
    command: {}
    rollback: []
",
        "a probe: fail transport",
        "
        a Unless is false do it
        a failed (transport: do it) -> rollback
        ended failed
        ",
    );
}

#[test]
fn a_look_that_finds_it_done_asks_nothing() {
    check(
        "steps:
  - id: a
    guards: [{that: 1 == 2}]
    confirm: true
    test.change: {}
",
        "a look: done",
        "
        a already
        ended succeeded
        ",
    );
}

#[test]
fn a_yes_is_looked_at_once_more() {
    check(
        "steps:
  - id: a
    confirm: Really?
    test.change: {}
",
        "a ask: yes",
        r#"
        a looked 0 -> 1
        a answered by ann: "yes"
        a looked 0 -> 1
        a started
        a changed
        ended succeeded
        "#,
    );
}

#[test]
fn a_yes_that_was_given_before_is_not_looked_at_again() {
    check(
        "steps:
  - id: a
    confirm: Really?
    test.change: {}
",
        "a ask: --yes",
        r#"
        a looked 0 -> 1
        a answered by --yes: "yes"
        a started
        a changed
        ended succeeded
        "#,
    );
}

#[test]
fn a_no_refuses() {
    check(
        "steps:
  - id: a
    confirm: Really?
    test.change: {}
",
        "a ask: no not today",
        r#"
        a looked 0 -> 1
        a answered by ann: {"no":{"why":"not today"}}
        a refused (refused: not today) -> rollback
        ended refused
        "#,
    );
}

#[test]
fn a_denial_after_a_change_rolls_back() {
    check(
        r#"steps:
  - id: a
    test.change: {}
  - id: b
    confirm:
      message: Really?
      phrase: "{{ a.n }}"
    test.change: {}
"#,
        "b ask: no wrong phrase",
        r#"
        a looked 0 -> 1
        a started
        a changed
        b looked 0 -> 1
        b answered by ann: {"no":{"why":"wrong phrase"}}
        b refused (refused: wrong phrase) -> rollback
        rolling back: step `b` failed: wrong phrase
        a undoing
        a undone
        ended rolled_back
        "#,
    );
}

#[test]
fn a_checkpoint_asks_and_checks() {
    check(
        "steps:
  - id: a
    confirm: Go on?
  - id: b
    expect: [{that: 1 == 1}]
",
        "a ask: yes",
        r#"
        a answered by ann: "yes"
        a ok
        b ok
        ended succeeded
        "#,
    );
}

#[test]
fn values_are_asked_for() {
    check(
        "steps:
  - id: a
    ask:
      size: {type: integer}
  - id: b
    when: a.size > 2
    test.read: {}
",
        r#"a ask: values {"size": 3}"#,
        r#"
        a answered by ann: {"values":{"size":3}}
        a ok
        b ok
        ended succeeded
        "#,
    );
}

#[test]
fn values_that_do_not_fit_fail() {
    check(
        "steps:
  - id: a
    ask:
      size: {type: integer, max: 2}
",
        r#"a ask: values {"size": 3}"#,
        r#"
        a answered by ann: {"values":{"size":3}}
        a failed (expect: take the answer: input `size`: 3 is above the most allowed, 2) -> rollback
        ended failed
        "#,
    );
}

#[test]
fn an_instruction_is_done_or_left_out() {
    check(
        r#"steps:
  - id: a
    manual: Pull the plug
  - id: b
    manual: And again
  - id: c
    when: a.remark == "ok" and not b.ran
    test.read: {}
"#,
        "
        a ask: done ok
        b ask: skip no need
        ",
        r#"
        a answered by ann: {"done":{"remark":"ok"}}
        a ok
        b answered by ann: {"skip":{"remark":"no need"}}
        b skipped left out by a person: no need
        c ok
        ended succeeded
        "#,
    );
}

#[test]
fn an_instruction_fails() {
    check(
        "steps:
  - id: a
    manual: Pull the plug
",
        "a ask: failed no plug",
        r#"
        a answered by ann: {"failed":{"remark":"no plug"}}
        a failed (expect: a person says that it could not be done: no plug) -> rollback
        ended failed
        "#,
    );
}

#[test]
fn a_wait_counts_from_its_beginning() {
    check(
        "steps:
  - id: a
    wait: 10s
  - id: b
    test.read: {}
",
        "",
        r#"
        a answered by clock: {"done":{"remark":""}}
        a ok
        b ok
        ended succeeded
        "#,
    );
}

#[test]
fn what_the_machine_does_by_itself() {
    check(
        r#"steps:
  - id: a
    set: {x: 1 + 1}
  - id: b
    finding: {severity: critical, title: "x is {{ a.x }}", advice: run}
  - id: c
    notify: {to: terminal, message: hello}
"#,
        "",
        "
        a ok
        b ok [critical: x is 2]
        c started
        c changed
        ended succeeded
        ",
    );
}

#[test]
fn a_question_is_asked_anew_when_the_look_differs() {
    check(
        "steps:
  - id: a
    confirm: Go?
    test.change: {}
",
        "
        a look: 0 -> 1; 0 -> 2
        a ask: yes; yes; yes; yes
        ",
        r#"
        a looked 0 -> 1
        a answered by ann: "yes"
        a looked 0 -> 2
        a answered by ann: "yes"
        a looked 0 -> 2
        a started
        a changed
        ended succeeded
        "#,
    );
}
