//! Exit codes, counts, and answers to what is not due.

use super::world::{begun, plan, run};
use crate::{
    event::{Body, Event, FailOn, Goal, StepKey, Stop},
    machine::{Answer, CommandId, JobPhase, State},
    summary::{Summary, exit_code},
    units::Time,
};

#[track_caller]
fn code(yaml: &str, script: &str) -> u8 {
    exit_code(&run(&plan(yaml), script).state)
}

const READ: &str = "steps:
  - id: a
    test.change: {}
  - id: b
    test.read: {}
    expect: [{that: result.n < 3, severity: SEVERITY}]
";

#[test]
fn every_outcome_has_its_exit_code() {
    let warning = READ.replace("SEVERITY", "warning");
    let critical = READ.replace("SEVERITY", "critical");
    assert_eq!(code(&warning, ""), 0);
    assert_eq!(code(&warning, "b: ok {\"n\": 3}"), 10);
    assert_eq!(code(&critical, "b: ok {\"n\": 3}"), 11);
    assert_eq!(code(&warning, "b: fail exit"), 1, "rolled back whole");
    assert_eq!(code(&warning, "b: fail exit\na undo: dirty"), 5);
    assert_eq!(
        code("steps:\n  - id: a\n    test.read: {}\n", "a: fail exit"),
        1
    );
    assert_eq!(
        code(
            "guards: [{that: 1 == 2}]\nsteps:\n  - id: a\n    test.read: {}\n",
            ""
        ),
        3
    );
    let stops = "steps:\n  - id: a\n    on_failure: stop\n    test.read: {}\n";
    assert_eq!(code(stops, "a: fail exit"), 1, "stopped by a failure");
    assert_eq!(
        code(&warning, "signal: a started"),
        6,
        "stopped by a signal"
    );
    let gives_up = "signal: a ok\nresume: roll back";
    let three = "steps:\n  - id: a\n    test.read: {}\n  - id: b\n    test.read: {}\n  - id: c\n    test.read: {}\n";
    assert_eq!(code(three, gives_up), 0, "nothing is left to undo");
    assert_eq!(exit_code(&State::new()), 6, "no end");
}

#[test]
fn findings_count_as_the_run_says() {
    let plan = plan(&READ.replace("SEVERITY", "warning"));
    let story = run(&plan, "b: ok {\"n\": 3}");
    for (fail_on, code) in [
        (FailOn::Never, 0),
        (FailOn::Critical, 0),
        (FailOn::Warning, 10),
    ] {
        let mut events = story.events.clone();
        let begun = crate::event::Begun { fail_on, ..begun() };
        events[0].body = Body::Begun(Box::new(begun));
        assert_eq!(exit_code(&State::replay(&plan, &events)), code);
    }
}

#[test]
fn counts_tell_how_every_step_stands_in_the_end() {
    let plan = plan(
        "steps:
  - id: g
    group:
      - id: a
        test.change: {}
  - id: h
    rollback:
      - id: y
        command: {}
    group:
      - id: x
        command: {}
        irreversible: never
  - id: p
    parallel:
      - id: i
        group:
          - id: b
            test.read: {}
      - id: j
        group:
          - id: w
            wait: 1h
",
    );
    let story = run(&plan, "b: fail exit");
    let summary = Summary::of(&story.state, "");
    let steps: Vec<(&str, usize)> = summary
        .steps
        .iter()
        .map(|(word, count)| (word.as_str(), *count))
        .collect();
    // `y` has undone; `w` has only waited.
    assert_eq!(
        steps,
        [("changed", 1), ("failed", 4), ("pending", 1), ("undone", 4)]
    );
    assert_eq!(summary.undoable, 0);
}

#[test]
fn an_answer_to_what_is_not_due_is_an_error() {
    let plan = plan("steps:\n  - id: a\n    test.change: {}\n");
    let mut state = State::new();
    let at = Time::from_milliseconds(1);
    let event = |step: &str, body| Event {
        at,
        step: step.into(),
        body,
    };
    state.apply(&plan, &event("", Body::Begun(Box::new(begun()))));
    let look = state.due().remove(0).id;
    let other = |step: &str, phase, attempt| CommandId {
        step: StepKey::from(step),
        phase,
        attempt,
    };
    for wrong in [
        other("a", JobPhase::Perform, 1),
        other("b", JobPhase::Look, 0),
        other("a", JobPhase::Look, 1),
    ] {
        assert!(state.event(&plan, &wrong, at, Answer::Slept).is_err());
    }
    let error = state.event(&plan, &look, at, Answer::Slept).unwrap_err();
    assert_eq!(error.to_string(), "the answer to Look of `a` was not due");
}

#[test]
fn a_late_answer_after_a_signal_is_not_due() {
    let plan = plan("steps:\n  - id: a\n    manual: Do it\n");
    let mut story = run(&plan, "a ask: silence; done\nresume: work");
    assert!(story.state.ended().is_some());
    story = story.cut(1);
    let asked = story.state.due().remove(0).id;
    story.write(
        "",
        Body::Stopping {
            by: "SIGTERM".into(),
            then: Stop::Keep,
            reason: String::new(),
        },
    );
    let at = Time::from_milliseconds(9);
    let answer = Answer::Replied {
        by: "ann".into(),
        reply: crate::event::Reply::Yes,
        reason: String::new(),
        said: at,
    };
    assert!(story.state.event(&plan, &asked, at, answer).is_err());
    story.write("", Body::Stopped { why: String::new() });
    story.resume(Goal::Work);
    assert_eq!(story.state.due().remove(0).id, asked);
}
