//! `retry` and `until`.

use super::check;

#[test]
fn a_retry_waits_the_same_every_time() {
    check(
        "steps:
  - id: a
    retry: {attempts: 3, delay: 2s}
    test.change: {}
",
        "a: fail exit; fail transport; ok",
        "
        a looked 0 -> 1
        a started
        a running (exit: do it) again in 2000
        a woke
        a started 2
        a running (transport: do it) again in 2000
        a woke
        a started 3
        a changed
        ended succeeded
        ",
    );
}

#[test]
fn a_retry_waits_twice_as_long_every_time_up_to_a_limit() {
    check(
        "steps:
  - id: a
    retry: {attempts: 5, delay: 1s, backoff: exponential, max_delay: 3s}
    test.read: {}
",
        "a: fail exit; fail exit; fail exit; fail exit; fail exit",
        "
        a running (exit: do it) again in 1000
        a woke
        a running (exit: do it) again in 2000
        a woke
        a running (exit: do it) again in 3000
        a woke
        a running (exit: do it) again in 3000
        a woke
        a failed (exit: do it) -> rollback
        ended failed
        ",
    );
}

#[test]
fn jitter_is_made_of_run_step_and_attempt() {
    check(
        "steps:
  - id: a
    retry: {attempts: 3, delay: 10s, jitter: true}
    test.read: {}
",
        "a: fail exit; fail exit; ok",
        "
        a running (exit: do it) again in 7922
        a woke
        a running (exit: do it) again in 8883
        a woke
        a ok
        ended succeeded
        ",
    );
}

#[test]
fn only_some_failures_are_tried_again() {
    check(
        "steps:
  - id: a
    retry: {attempts: 3, on: [transport]}
    test.read: {}
",
        "a: fail transport; fail exit",
        "
        a running (transport: do it) again in 1000
        a woke
        a failed (exit: do it) -> rollback
        ended failed
        ",
    );
}

#[test]
fn a_failed_expect_is_tried_again() {
    check(
        "steps:
  - id: a
    retry: {attempts: 3, on: [expect]}
    test.read: {}
    expect: [{that: result.n == 2}]
",
        r#"a: ok; ok {"n": 2}"#,
        "
        a running (expect: expected `result.n == 2`, but result.n = 1) again in 1000
        a woke
        a ok
        ended succeeded
        ",
    );
}

#[test]
fn a_look_that_fails_is_tried_again_and_still_guarded() {
    check(
        "steps:
  - id: a
    retry: {attempts: 2}
    guards: [{that: 1 == 2}]
    test.change: {}
",
        "a look: fail transport; 0 -> 1",
        "
        a running (transport: do it) again in 1000
        a woke
        a looked 0 -> 1
        a Guard(0) is false `1 == 2`
        a refused (refused: `1 == 2`) -> rollback
        ended refused
        ",
    );
}

#[test]
fn until_asks_again() {
    check(
        "steps:
  - id: a
    until: result.n == 3
    every: 2s
    within: 1m
    test.read: {}
",
        r#"a: ok {"n": 1}; fail transport; ok {"n": 3}"#,
        "
        a not yet `result.n == 3`: result.n = 1
        a woke
        a not yet do it
        a woke
        a ok
        ended succeeded
        ",
    );
}

#[test]
fn until_gives_up_after_its_time() {
    check(
        "steps:
  - id: a
    until: result.n == 3
    every: 10s
    within: 25s
    test.read: {}
",
        "a: ok; ok; ok; ok; ok",
        "
        a not yet `result.n == 3`: result.n = 1
        a woke
        a not yet `result.n == 3`: result.n = 1
        a woke
        a not yet `result.n == 3`: result.n = 1
        a woke
        a failed (timeout: `result.n == 3` did not hold within 25s: `result.n == 3`: result.n = 1) -> rollback
        ended failed
        ",
    );
}

#[test]
fn until_fails_at_once_on_other_failures() {
    check(
        "steps:
  - id: a
    until: result.n == 3
    within: 25s
    test.read: {}
",
        "a: fail internal",
        "
        a failed (internal: do it) -> rollback
        ended failed
        ",
    );
}

#[test]
fn until_holds_for_a_while() {
    check(
        "steps:
  - id: a
    until: result.n == 3
    every: 5s
    within: 60s
    stable_for: 10s
    test.read: {}
",
        r#"a: ok {"n": 3}; ok {"n": 1}; ok {"n": 3}; ok {"n": 3}; ok {"n": 3}; ok {"n": 3}"#,
        "
        a not long enough `result.n == 3`: result.n = 3
        a woke
        a not yet `result.n == 3`: result.n = 1
        a woke
        a not long enough `result.n == 3`: result.n = 3
        a woke
        a not long enough `result.n == 3`: result.n = 3
        a woke
        a ok
        ended succeeded
        ",
    );
}

#[test]
fn until_fails_as_soon_as_it_can_not_hold_long_enough() {
    check(
        "steps:
  - id: a
    until: result.n == 3
    every: 5s
    within: 12s
    stable_for: 10s
    test.read: {}
",
        r#"a: ok {"n": 3}; ok {"n": 1}; ok {"n": 3}"#,
        "
        a not long enough `result.n == 3`: result.n = 3
        a woke
        a failed (timeout: `result.n == 3` did not hold for 10s without a break within 12s: `result.n == 3`: result.n = 1) -> rollback
        ended failed
        ",
    );
}

#[test]
fn until_on_a_group_tries_all_of_it_again() {
    check(
        "steps:
  - id: g
    until: b.n == 2
    every: 1s
    within: 1m
    group:
      - id: a
        test.read: {}
      - id: b
        test.read: {}
",
        r#"
        a: ok; fail exit; ok; ok
        b: ok; ok; ok {"n": 2}
        "#,
        "
        g entered
        a ok
        b ok
        g not yet `b.n == 2`: b.n = 1
        g woke
        g entered
        a failed (exit: do it)
        g not yet do it
        g woke
        g entered
        a ok
        b ok
        g not yet `b.n == 2`: b.n = 1
        g woke
        g entered
        a ok
        b ok
        g ok
        ended succeeded
        ",
    );
}

#[test]
fn until_on_a_call_tries_it_again_and_its_always_once() {
    check(
        "steps:
  - id: c
    until: result.n == 2
    within: 1m
    call: {playbook: called}
---
playbook: called
steps:
  - id: a
    test.read: {}
always:
  - id: z
    test.read: {}
outputs: {n: a.n}
",
        r#"c/a: ok; fail exit; ok {"n": 2}"#,
        "
        c entered
        c/a ok
        c not yet `result.n == 2`: result.n = 1
        c woke
        c entered
        c/a failed (exit: do it)
        c not yet do it
        c woke
        c entered
        c/a ok
        c ok
        always
        c/z ok
        ended succeeded
        ",
    );
}
