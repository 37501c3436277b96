//! A run that goes on from a step of another one.

use super::{
    cuts,
    world::{Same, Story, begun, plan, run},
};
use crate::{
    event::{Begun, Continued},
    plan::Plan,
};

const STEPS: &str = "steps:
  - id: a
    test.read: {}
  - id: g
    when: a.n == 3
    group:
      - id: b
        test.change: {}
      - id: c
        when: b.changed
        test.change: {}
  - id: d
    on_failure: stop
    test.change: {}
  - id: p
    parallel:
      - id: e
        test.read: {}
";

fn continued<'p>(plan: &'p Plan, first: &Story<'p>, from: &str, script: &str) -> Story<'p> {
    let state = first.state.clone().take_over_from(plan, from);
    let mut world = first.world.clone();
    world.tell(script);
    let begun = Begun {
        run: "mnopqrstuvwx".into(),
        continues: Some(Continued {
            run: "abcdefghijkl".to_owned(),
            from: from.into(),
        }),
        ..begun()
    };
    let mut second = Story::begin_on(plan, world, state.expect("it can go on"), begun);
    second.drive();
    second
}

#[test]
fn what_lies_before_the_step_is_not_done_again() {
    let plan = plan(STEPS);
    let first = run(&plan, "a: ok {\"n\": 3}\nd: fail exit");
    let second = continued(&plan, &first, "d", "d: ok");
    assert_eq!(
        second.transcript(),
        "begun\na adopted ok\ng entered\nb adopted changed\nc adopted changed\ng changed\nd looked 0 -> 1\nd started\nd changed\np entered\ne ok\np ok\nended succeeded\n"
    );
    cuts::everywhere(Same::Everything, &second);
}

#[test]
fn a_step_inside_a_group_begins_the_group_again() {
    let plan = plan(STEPS);
    let first = run(&plan, "a: ok {\"n\": 3}\nd: fail exit");
    let second = continued(&plan, &first, "c", "d: ok");
    assert_eq!(
        second.transcript(),
        "begun\na adopted ok\ng entered\nb adopted changed\nc already\ng changed\nd looked 0 -> 1\nd started\nd changed\np entered\ne ok\np ok\nended succeeded\n"
    );
}

#[test]
fn a_failure_undoes_what_both_have_changed() {
    let plan = plan(&STEPS.replace("on_failure: stop", "on_failure: rollback"));
    let mut first = Story::begin(
        &plan,
        super::world::World::read("a: ok {\"n\": 3}\nsignal: d started\nd: fail cancelled"),
    );
    first.drive();
    let second = continued(&plan, &first, "d", "d: fail exit");
    assert_eq!(
        second.transcript(),
        "begun\na adopted ok\ng entered\nb adopted changed\nc adopted changed\ng changed\nd looked 0 -> 1\nd started\nd failed (exit: do it) -> rollback\nrolling back: step `d` failed: do it\nd nothing to undo\nd nothing to undo\nc undoing\nc undone\nb undoing\nb undone\nended rolled_back\n"
    );
    assert!(second.world.done.values().all(|done| !done));
    cuts::everywhere(Same::Outcome, &second);
}

#[test]
fn where_it_can_not_go_on_it_says_why() {
    let plan = plan(
        "steps:
  - id: a
    sensitive: true
    test.change: {}
  - id: l
    foreach:
      in: [1]
      steps:
        - id: b
          test.read: {}
  - id: c
    test.change: {}
    on_failure: stop
  - id: d
    test.read: { of: '{{ a.text }}' }
",
    );
    let first = run(
        &plan,
        "a: ok {\"text\": {\"$secret\": [{\"handle\": \"result a.text\"}]}}\nc: fail exit",
    );
    let why = |from| {
        let state = first.state.clone().take_over_from(&plan, from);
        state.expect_err("it can't go on")
    };
    assert_eq!(why("d"), "no step `d` has begun in it");
    assert_eq!(
        why("c"),
        "the step `a` gave a secret that is not kept, and it changes something, so it is not done again by itself"
    );
    assert_eq!(why("x"), "no step `x` has begun in it");
    assert_eq!(
        why("l[0]/b"),
        "`l[0]/b` lies in `l`, whose steps run beside each other or again and again: go on from that one as a whole"
    );
}
