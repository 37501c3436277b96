//! What an event costs depends on neither the length nor the width of the playbook.

use std::fmt::Write;

use super::world::{Story, World, plan};
use crate::{machine::State, plan::Plan};

fn in_sequence(steps: usize) -> String {
    let mut yaml = "steps:\n".to_owned();
    for step in 0..steps {
        write!(yaml, "  - id: s{step}\n    test.change: {{}}\n").expect("text can be written");
    }
    yaml
}

fn in_parallel(steps: usize) -> String {
    let mut yaml = "steps:\n  - id: p\n    parallel:\n".to_owned();
    for step in 0..steps {
        write!(yaml, "      - id: s{step}\n        test.change: {{}}\n")
            .expect("text can be written");
    }
    yaml
}

fn in_a_loop(steps: usize) -> String {
    let items: Vec<String> = (0..steps).map(|item| item.to_string()).collect();
    format!(
        "steps:\n  - id: l\n    foreach:\n      in: [{}]\n      steps:\n        - id: a\n          \
         test.change: {{n: \"{{{{ item }}}}\"}}\n",
        items.join(", ")
    )
}

/// Returns how often a frame is touched in a whole run, and how many events it has.
fn cost(plan: &Plan, script: &str) -> (usize, usize) {
    let mut story = Story::begin(plan, World::read(script));
    story.forget_worlds();
    story.drive();
    let state = State::replay(plan, &story.events);
    assert!(state.ended().is_some());
    (state.frames.touched(), story.events.len())
}

#[test]
fn a_long_run_touches_no_more_frames_per_event_than_a_short_one() {
    for (yaml, last) in [
        (in_sequence as fn(usize) -> String, "s999"),
        (in_parallel, "s999"),
        (in_a_loop, "l[999]/a"),
    ] {
        for script in ["", "LAST: fail exit"] {
            let script = script.replace("LAST", last);
            let short = cost(&plan(&yaml(100)), &script.replace("999", "99"));
            let long = cost(&plan(&yaml(1_000)), &script);
            assert!(
                long.0 * short.1 < short.0 * long.1 * 12 / 10,
                "{last} {script:?}: {short:?} and {long:?} frames touched and events"
            );
        }
    }
}
