//! A run that undoes what another one has left.

use super::{
    cuts,
    world::{Same, Story, begun, plan, run},
};
use crate::{event::Begun, summary};

fn undoing() -> Begun {
    Begun {
        undoes: Some("abcdefghijkl".to_owned()),
        ..begun()
    }
}

const TWO: &str = "steps:
  - id: a
    test.change: {}
  - id: g
    group:
      - id: b
        test.change: {}
        rollback:
          - id: x
            when: before.was == 0
            command: {}
always:
  - id: z
    test.read: {}
";

#[test]
fn a_run_that_succeeded_is_undone_newest_first() {
    let plan = plan(TWO);
    let first = run(&plan, "");
    let mut second = Story::begin_on(&plan, first.world, first.state.take_over(), undoing());
    second.drive();
    assert_eq!(
        second.transcript().lines().skip(1).collect::<Vec<_>>(),
        [
            "rolling back: asked for by ann",
            "b/rollback/x started",
            "b/rollback/x changed",
            "b undone",
            "a undoing",
            "a undone",
            "ended rolled_back",
        ]
    );
    assert_eq!(summary::exit_code(&second.state), 0);
    assert_eq!(second.state.counts().get("undone"), Some(&3));
    cuts::everywhere(Same::Everything, &second);
}

#[test]
fn what_could_not_be_undone_is_tried_once_more() {
    let plan = plan(TWO);
    let first = run(&plan, "");
    let mut world = first.world;
    world.tell("a undo: dirty");
    let mut second = Story::begin_on(&plan, world, first.state.take_over(), undoing());
    second.drive();
    assert_eq!(summary::exit_code(&second.state), 5);
    let mut world = second.world;
    world.tell("a undo: ok");
    let mut third = Story::begin_on(&plan, world, second.state.take_over(), undoing());
    third.drive();
    assert_eq!(
        third.transcript().lines().skip(1).collect::<Vec<_>>(),
        [
            "rolling back: asked for by ann",
            "a undone",
            "ended rolled_back"
        ]
    );
    assert_eq!(summary::exit_code(&third.state), 0);
}

#[test]
fn a_run_that_changed_nothing_is_undone_at_once() {
    let plan = plan("steps:\n  - id: a\n    test.read: {}\n");
    let first = run(&plan, "");
    let mut second = Story::begin_on(&plan, first.world, first.state.take_over(), undoing());
    second.drive();
    assert_eq!(second.transcript(), "begun\nended rolled_back\n");
    assert_eq!(summary::exit_code(&second.state), 0);
}
