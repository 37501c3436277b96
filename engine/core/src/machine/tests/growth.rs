//! What an event costs depends on neither the length nor the width of the playbook.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use super::world::{Story, World, plan};
use crate::plan::Plan;

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

/// Returns how long the machine itself takes for the events of a whole run, and how many they are.
fn cost(plan: &Plan, script: &str) -> (Duration, usize) {
    let mut story = Story::begin(plan, World::read(script));
    story.forget_worlds();
    story.drive();
    let start = Instant::now();
    let state = crate::machine::State::replay(plan, &story.events);
    let took = start.elapsed();
    assert!(state.ended().is_some());
    (took, story.events.len())
}

#[test]
fn a_long_run_costs_no_more_per_event_than_a_short_one() {
    for (shape, yaml) in [
        ("sequence", in_sequence as fn(usize) -> String),
        ("parallel", in_parallel),
        ("loop", in_a_loop),
    ] {
        for script in ["", "LAST: fail exit"] {
            let per_event = |steps: usize| {
                let last = match shape {
                    "loop" => format!("l[{}]/a", steps - 1),
                    _ => format!("s{}", steps - 1),
                };
                let plan = plan(&yaml(steps));
                let script = script.replace("LAST", &last);
                // The least of five: others work on the same machine.
                let least = (0..5).map(|_| cost(&plan, &script)).min();
                let (took, events) = least.expect("five runs");
                took.as_secs_f64() / events as f64
            };
            let (short, long) = (per_event(200), per_event(2_000));
            // Ten times as long: anything that grows with the run shows as ten, all else as about one.
            assert!(
                long < short * 5.0,
                "{shape} {script:?}: {short:e} s an event in a short run, {long:e} s in a long one"
            );
        }
    }
}
