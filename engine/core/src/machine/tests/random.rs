//! Random playbooks in random worlds: what holds for every run.

use std::fmt::Write;

use proptest::{collection::vec, prelude::*};

use super::{
    cuts,
    world::{Same, Story, World, plan},
};
use crate::{
    event::{Body, Event},
    machine::{Mode, State},
};

/// A step without its id, which is made of its place.
#[derive(Clone, Debug)]
struct Made {
    what: What,
    extra: usize,
    outcomes: Vec<usize>,
}

#[derive(Clone, Debug)]
enum What {
    Read,
    Change,
    Command,
    Again,
    Irreversible,
    Wait,
    Manual,
    Group(Vec<Made>),
    Parallel(Vec<Made>),
    Foreach(Vec<Made>),
    Choose(Vec<Made>),
}

fn made() -> impl Strategy<Value = Made> {
    let leaf = prop_oneof![
        3 => Just(What::Read),
        4 => Just(What::Change),
        2 => Just(What::Command),
        1 => Just(What::Again),
        1 => Just(What::Irreversible),
        1 => Just(What::Wait),
        1 => Just(What::Manual),
    ];
    let with = |what| {
        (what, 0..10_usize, vec(0..12_usize, 0..4)).prop_map(|(what, extra, outcomes)| Made {
            what,
            extra,
            outcomes,
        })
    };
    with(leaf.boxed()).prop_recursive(3, 10, 3, move |inner| {
        let inside = || vec(inner.clone(), 1..4);
        let what = prop_oneof![
            inside().prop_map(What::Group),
            inside().prop_map(What::Parallel),
            inside().prop_map(What::Foreach),
            inside().prop_map(What::Choose),
        ];
        with(what.boxed())
    })
}

/// Writes `steps` as YAML, and what happens to them as a script.
fn write_steps(steps: &[Made], id: &str, indent: usize, yaml: &mut String, script: &mut String) {
    for (index, step) in steps.iter().enumerate() {
        let id = format!("{id}_{index}");
        let pad = " ".repeat(indent);
        let mut line = |text: &str| writeln!(yaml, "{pad}{text}").expect("text can be written");
        line(&format!("- id: {id}"));
        let structure = matches!(
            step.what,
            What::Group(_) | What::Parallel(_) | What::Foreach(_) | What::Choose(_)
        );
        match (step.extra, &step.what) {
            (1, _) => line("  when: 1 == 2"),
            (2, _) => line("  on_failure: stop"),
            (3, What::Read | What::Change) => line("  on_failure: continue"),
            (4, _) => line("  on_failure: ask"),
            (5, _) if !structure => line("  confirm: Go?"),
            (6 | 7, What::Read | What::Change | What::Command | What::Again) => {
                line("  retry: {attempts: 3, delay: 2s}");
            }
            (8, What::Group(_)) => {
                line("  rollback:");
                line(&format!("    - id: {id}_undo"));
                line("      command: {}");
            }
            (9, What::Read) => {
                line("  until: result.n == 1");
                line("  within: 20s");
            }
            _ => {}
        }
        match &step.what {
            What::Read => line("  test.read: {}"),
            What::Change => line("  test.change: {}"),
            What::Command => {
                line("  command: {}");
                line("  rollback:");
                line(&format!("    - id: {id}_undo"));
                line("      command: {}");
            }
            What::Again => line("  test.again: {of: web}"),
            What::Irreversible => {
                line("  command: {}");
                line("  irreversible: sent is sent");
            }
            What::Wait => line("  wait: 3s"),
            What::Manual => line("  manual: Do it"),
            What::Group(steps) => {
                line("  group:");
                write_steps(steps, &id, indent + 4, yaml, script);
            }
            What::Parallel(steps) => {
                line("  at_once: 2");
                line("  parallel:");
                write_steps(steps, &id, indent + 4, yaml, script);
            }
            What::Foreach(steps) => {
                line("  foreach:");
                line("    in: [1, 2]");
                line("    at_once: 2");
                line("    steps:");
                write_steps(steps, &id, indent + 6, yaml, script);
            }
            What::Choose(steps) => {
                line("  choose:");
                line("    - when: 1 == 1");
                line("      steps:");
                write_steps(steps, &id, indent + 8, yaml, script);
            }
        }
        let outcomes: Vec<&str> = step
            .outcomes
            .iter()
            .map(|outcome| match outcome {
                0 => "fail exit",
                1 => "fail transport",
                2 => "half exit",
                3 => "ok {\"n\": 2}",
                _ => "ok",
            })
            .collect();
        if !outcomes.is_empty() {
            writeln!(script, "{id}: {}", outcomes.join("; ")).expect("text can be written");
        }
    }
}

fn stored(event: &Event) -> Event {
    let data = event.body.data().to_string();
    let data = serde_json::from_str(&data).expect("stored events are JSON");
    Event {
        body: Body::from_stored(event.body.kind(), &data).expect("stored events are read back"),
        ..event.clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_run_ends_the_same_way_from_its_journal(
        steps in vec(made(), 1..4),
        always in any::<bool>(),
        signal in 0..40_usize,
        says in prop_oneof![Just("yes"), Just("no"), Just("skip"), Just("retry"), Just("undo"), Just("done")],
    ) {
        let mut yaml = "steps:\n".to_owned();
        // A question after a failure is asked again and again where the answer is always to try again.
        let mut script = format!("anybody says: {says}; {says}; {says}; {says}; stop\nresume: work; work; roll back\n");
        write_steps(&steps, "s", 2, &mut yaml, &mut script);
        if always {
            yaml.push_str("always:\n  - id: z\n    test.read: {}\n");
        }
        let plan = plan(&yaml);
        let mut story = Story::begin(&plan, World::read(&script));
        story.stop_after(signal);
        story.drive();
        prop_assert!(matches!(story.state.mode(), Mode::Ended | Mode::Stopped));

        let mut state = State::new();
        for (event, due) in story.events.iter().zip(&story.dues) {
            state.apply(&plan, &stored(event));
            let ids: Vec<_> = state.due().into_iter().map(|command| command.id).collect();
            prop_assert_eq!(&ids, due);
        }
        prop_assert_eq!(state.mode(), story.state.mode());
        prop_assert_eq!(state.counts(), story.state.counts());
        prop_assert_eq!(state.is_dirty(), story.state.is_dirty());
        prop_assert!(state.counts().values().sum::<usize>() > 0);
        if state.mode() == Mode::Ended {
            prop_assert!(!state.counts().contains_key("running"));
        }
        cuts::everywhere(Same::Nothing, &story);
    }
}
