//! Locks: taken before the guards, those of called playbooks too, and held until the end.

use super::{
    Same, check, check_cut,
    world::{plan, run},
};

#[test]
fn locks_are_taken_before_the_guards() {
    check(
        "vars:
  db: \"'kv'\"
locks: ['sqlite:{{ db }}', 'sqlite:{{ db }}', other]
guards: [{that: 1 == 1}]
steps:
  - id: a
    test.change: {}
",
        "",
        "
        locked other sqlite:kv
        a looked 0 -> 1
        a started
        a changed
        ended succeeded
        ",
    );
}

#[test]
fn a_lock_that_others_hold_refuses_the_run() {
    check(
        "locks: [x]
guards: [{that: 1 == 2}]
steps:
  - id: a
    test.change: {}
",
        "run lock: held by run abc",
        "
        can't have x: held by run abc
        ended refused
        ",
    );
}

const CALLS: &str = "locks: [x]
steps:
  - id: first
    test.read: {}
  - id: g
    group:
      - id: known
        call: { playbook: called@1, with: { name: one } }
  - id: late
    call: { playbook: called@1, with: { name: '{{ first.text }}' } }
---
playbook: called
inputs:
  name: { type: string }
vars:
  whole: \"'of:' ~ name\"
locks: ['{{ whole }}']
steps:
  - id: c
    test.change: {}
";

#[test]
fn what_a_call_needs_is_taken_at_the_start_where_it_is_known() {
    check(
        CALLS,
        r#"first: ok {"text": "two"}"#,
        "
        locked of:one x
        first ok
        g entered
        known entered
        known/c looked 0 -> 1
        known/c started
        known/c changed
        known changed
        g changed
        late entered
        late locked of:two
        late/c looked 0 -> 1
        late/c started
        late/c changed
        late changed
        ended succeeded
        ",
    );
}

#[test]
fn a_lock_that_is_known_only_later_is_never_waited_for() {
    // Who goes on later knows it at once.
    check_cut(
        Same::Nothing,
        CALLS,
        r#"
        first: ok {"text": "two"}
        late lock: held by run abc
        "#,
        "
        locked of:one x
        first ok
        g entered
        known entered
        known/c looked 0 -> 1
        known/c started
        known/c changed
        known changed
        g changed
        late entered
        late can't have of:two: held by run abc
        late refused (refused: held by run abc) -> rollback
        rolling back: step `late` failed: held by run abc
        known/c undoing
        known/c undone
        ended rolled_back
        ",
    );
}

#[test]
fn the_names_are_known_to_whoever_goes_on() {
    let plan = plan("locks: [x]\nsteps:\n  - id: a\n    test.change: {}\n");
    let story = run(&plan, "");
    for events in 0..=story.events.len() {
        let state = super::super::State::replay(&plan, &story.events[..events]);
        let held: Vec<&str> = state.held().iter().map(String::as_str).collect();
        let expected: &[&str] = if events < 2 { &[] } else { &["x"] };
        assert_eq!(held, expected, "after {events} events");
    }
}

#[test]
fn the_guards_of_called_playbooks_are_asked_again_when_it_goes_on() {
    check_cut(
        Same::Nothing,
        "steps:
  - id: a
    call: { playbook: called@1 }
---
playbook: called
guards:
  - test.read: {}
    that: result.n == 1
steps:
  - id: b
    test.change: {}
  - id: c
    test.change: {}
",
        r#"
        a probe: ok {"n": 1}
        signal: a/b started
        resume: work
        "#,
        "
        a entered
        a Guard(0) holds
        a/b looked 0 -> 1
        a/b started
        stopping: SIGTERM
        a/b changed
        stopped: stopped by SIGTERM
        resumed Work
        a Guard(0) holds
        a/c looked 0 -> 1
        a/c started
        a/c changed
        a changed
        ended succeeded
        ",
    );
}
