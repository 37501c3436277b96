//! A preview: what is not known yet is never taken for false.

use super::world::{plan, run};

#[track_caller]
fn check(yaml: &str, script: &str, expect: &str) {
    let plan = plan(yaml);
    let story = run(&plan, script);
    let transcript = story.transcript();
    let found: Vec<&str> = transcript.lines().skip(1).collect();
    let expect: Vec<&str> = expect.trim().lines().map(str::trim).collect();
    assert!(found == expect, "found:\n{}", found.join("\n"));
}

#[test]
fn an_unknown_when_may_run() {
    check(
        "steps:
  - id: a
    command: {}
    rollback: []
  - id: b
    when: a.n == 2
    test.read: {}
  - id: c
    when: a.ran and not a.ok
    test.read: {}
",
        "unknown: a",
        "
        a changed
        b ok
        c skipped `a.ran and not a.ok`: a.ran = true, a.ok = true
        ended succeeded
        ",
    );
}

#[test]
fn an_unknown_choice_enters_every_branch_that_is_possible() {
    check(
        "steps:
  - id: a
    test.read: {}
  - id: c
    choose:
      - when: 1 == 2
        steps:
          - id: x
            test.read: {}
      - when: a.n == 1
        steps:
          - id: y
            test.read: {}
      - otherwise:
          - id: z
            test.read: {}
",
        "unknown: a",
        "
        a ok
        c entered branch 3
        y ok
        z ok
        c ok
        ended succeeded
        ",
    );
}

#[test]
fn an_unknown_list_has_one_round() {
    check(
        "steps:
  - id: a
    test.read: {}
  - id: l
    foreach:
      in: a.items
      steps:
        - id: x
          when: item > 3
          test.read: {n: \"{{ item }}\"}
",
        "unknown: a",
        r#"
        a ok
        l entered ["?"]
        l[?]/x ok
        l ok
        ended succeeded
        "#,
    );
}

#[test]
fn unknown_conditions_neither_hold_nor_fail() {
    check(
        "steps:
  - id: a
    test.read: {}
  - id: b
    unless: a.n == 1
    guards:
      - that: a.n == 1
      - test.read: {}
        that: result.n == a.n
    command: {}
    rollback: []
    expect:
      - that: result.n == 7
  - id: c
    set: {x: a.n + 1}
  - id: d
    until: result.n == 7
    within: 5s
    test.read: {}
outputs:
  x: c.x
",
        "unknown: a; b; d",
        r#"
        a ok
        b Guard(1) is unknown
        b changed
        c ok
        d ok
        ended succeeded {"x":{"$unknown":"step `a`"}}
        "#,
    );
}
