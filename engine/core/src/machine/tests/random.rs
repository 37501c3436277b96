//! Random playbooks in random worlds: what holds for every run.

use std::fmt;

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    cuts::{self, Cuts},
    invariants,
    made::{self, Made, Written},
    world::{Same, Story, World, begun, plan},
};
use crate::{
    event::{Begun, Goal, Outcome},
    machine::{Mode, State},
};

/// A run by chance. It is printed as what a person can read and put into a story of its own.
struct Case {
    yaml: String,
    script: String,
    order: u64,
    /// After how many events a signal comes.
    stops: Vec<usize>,
    kills: Vec<Kill>,
    /// After which share of the events, in a thousand, every answer is tried.
    tries: usize,
}

/// A kill and what goes on after it.
#[derive(Clone, Debug)]
struct Kill {
    /// After which share of the events, in a thousand.
    at: usize,
    /// Whether what is at work is then done in the world.
    acts: bool,
    goal: Goal,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n--- playbook\n{}--- script\n{}---",
            self.yaml, self.script
        )?;
        writeln!(
            f,
            "order {}, signals after {:?} events",
            self.order, self.stops
        )?;
        writeln!(f, "{:?}, answers tried at {}", self.kills, self.tries)
    }
}

fn case() -> impl Strategy<Value = Case> {
    let word = select(vec![
        "yes", "--yes", "no", "skip", "failed", "done", "retry", "undo", "stop", "silence", "away",
        "@bob yes",
    ]);
    let goals = [
        Goal::Work,
        Goal::Work,
        Goal::Work,
        Goal::RollBack,
        Goal::Cancel,
        Goal::GiveUp,
    ];
    let goal = || select(goals.to_vec());
    let kill = (0..1000_usize, any::<bool>(), goal());
    let head = select(vec![
        "",
        "",
        "",
        "on_failure: stop\n",
        "on_failure: ask\n",
        "on_failure: rollback\n",
        "requires: {git: '*'}\n",
        "guards: [{test.read: {}, that: result.n == 1}]\n",
        "guards: [{that: 1 == 2}]\n",
    ]);
    let playbook = (
        head,
        made::steps(true),
        prop_oneof![2 => Just(Vec::new()), 1 => made::steps(true)],
    );
    let world = (
        vec(word, 1..6),
        vec(goal(), 0..4),
        prop_oneof![Just(0), any::<u64>()],
    );
    let faults = (vec(0..60_usize, 0..3), vec(kill, 0..3), 0..1000_usize);
    (playbook, world, faults).prop_map(
        |((head, steps, always), (says, goals, order), (stops, kills, tries))| {
            let mut written = Written::default();
            let yaml = written.playbook(head, &steps, &always);
            let goals: Vec<&str> = goals.iter().map(|goal| word_of(*goal)).collect();
            // A question is asked again and again where the answer is always to try again.
            let mut script = format!(
                "anybody says: {}; stop\nquestions: written\n{}",
                says.join("; "),
                written.script
            );
            if !goals.is_empty() {
                script.push_str(&format!("resume: {}\n", goals.join("; ")));
            }
            let kills = kills.into_iter();
            Case {
                yaml,
                script,
                order,
                stops,
                kills: kills
                    .map(|(at, acts, goal)| Kill { at, acts, goal })
                    .collect(),
                tries,
            }
        },
    )
}

/// A case in which nothing depends on the moment: one thing after the other, nobody stops it, all answers are yes.
fn calm() -> impl Strategy<Value = Case> {
    let head = select(vec![
        "",
        "",
        "on_failure: stop\n",
        "guards: [{test.read: {}, that: result.n == 1}]\n",
    ]);
    let always = prop_oneof![2 => Just(Vec::new()), 1 => made::steps(false)];
    (head, made::steps(false), always).prop_map(
        |(head, steps, always): (_, Vec<Made>, Vec<Made>)| {
            let mut written = Written::default();
            written.is_honest = true;
            let yaml = written.playbook(head, &steps, &always);
            Case {
                yaml,
                script: format!("anybody says: yes\n{}", written.script),
                order: 0,
                stops: Vec::new(),
                kills: Vec::new(),
                tries: 0,
            }
        },
    )
}

fn word_of(goal: Goal) -> &'static str {
    match goal {
        Goal::Work => "work",
        Goal::RollBack => "roll back",
        Goal::Cancel => "cancel",
        Goal::GiveUp => "give up",
    }
}

fn share(of: usize, thousandth: usize) -> usize {
    1 + thousandth * (of - 1) / 1000
}

fn config() -> ProptestConfig {
    // `PROPTEST_CASES` asks for more.
    ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_every_run_keeps_the_promises(case in case()) {
        let plan = plan(&case.yaml);
        let mut world = World::read(&case.script);
        world.drifts = true;
        world.order = case.order;
        let mut story = Story::begin(&plan, world);
        for stop in &case.stops {
            story.stop_after(*stop);
        }
        story.drive();
        invariants::hold(&story, &[])?;
        invariants::every_answer(&story, share(story.events.len(), case.tries))?;
        for kill in &case.kills {
            let mut again = story.cut(share(story.events.len(), kill.at));
            if again.state.mode() == Mode::Ended {
                break;
            }
            if kill.acts {
                again.crash_after_acting();
            }
            again.resume(kill.goal);
            again.drive();
            invariants::hold(&again, &[])?;
            story = again;
        }
        if story.state.ended().is_some_and(|ended| ended.outcome == Outcome::Succeeded) {
            let state = State::replay(&plan, &story.events).take_over();
            let undoes = Some("abcdefghijkl".to_owned());
            let mut second = Story::begin_on(&plan, story.world, state, Begun { undoes, ..begun() });
            second.drive();
            invariants::hold(&second, &story.events)?;
        }
    }

    #[test]
    fn a_calm_run_comes_to_the_same_end_however_it_is_cut(case in calm()) {
        let plan = plan(&case.yaml);
        let mut story = Story::begin(&plan, World::read(&case.script));
        story.drive();
        let some = Cuts { singles: 16, pairs: 16 };
        cuts::at(some, Same::Everything, &story);
    }
}
