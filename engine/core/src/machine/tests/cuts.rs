//! A run that is killed and resumed, once and twice, comes to the same end as if nobody had killed it.

use super::world::{Same, Story};
use crate::{
    event::{Body, Goal, StepState},
    machine::Mode,
};

/// How many cuts, and how many pairs of cuts, are tried of one story; where there are more, an even spread of them.
#[derive(Clone, Copy)]
pub(super) struct Cuts {
    pub singles: usize,
    pub pairs: usize,
}

/// Cuts a run after every event, and what comes of that once more after further events.
///
/// What is at work at a cut is then done in the world, or not.
#[track_caller]
pub(super) fn everywhere(same: Same, story: &Story<'_>) {
    let cuts = Cuts {
        singles: usize::MAX,
        pairs: 400,
    };
    at(cuts, same, story);
}

/// Cuts a run after some of its events, and what comes of that once more.
#[track_caller]
pub(super) fn at(cuts: Cuts, same: Same, story: &Story<'_>) {
    // Twice as many events as cuts, and each cut in two ways.
    let singles = story.events.len() * 2;
    let mut single = Spread::of(cuts.singles, singles);
    let mut pair = Spread::of(cuts.pairs, singles.min(cuts.singles) * story.events.len());
    for first in 1..=story.events.len() {
        for acts in [false, true] {
            if !single.is_taken() {
                continue;
            }
            let Some(again) = cut(story, first, acts) else {
                continue;
            };
            let case = format!("cut after {first} (acts: {acts})");
            compare(same, story, first, &again, story, &case);
            for second in first + 1..=again.events.len() {
                for acts in [false, true] {
                    if !pair.is_taken() {
                        continue;
                    }
                    let Some(twice) = cut(&again, second, acts) else {
                        continue;
                    };
                    let case = format!("{case}, and after {second} (acts: {acts})");
                    compare(same, &again, second, &twice, story, &case);
                }
            }
        }
    }
}

/// Returns what becomes of a run that is killed after so many events and resumed.
///
/// None where that is the same as another cut: at the end, or where nothing is at work that could have been done.
pub(super) fn cut<'p>(story: &Story<'p>, events: usize, acts: bool) -> Option<Story<'p>> {
    let mut again = story.cut(events);
    if again.state.mode() == Mode::Ended {
        assert!(
            again.state.due().is_empty(),
            "something is due after the end"
        );
        return None;
    }
    if acts && !again.crash_after_acting() {
        return None;
    }
    if !matches!(again.state.mode(), Mode::Stopped | Mode::Waiting) {
        again.resume(Goal::Work);
    }
    again.drive();
    Some(again)
}

/// Compares `again`, which is `story` cut after so many events, with the uncut run.
#[track_caller]
fn compare(
    same: Same,
    story: &Story<'_>,
    events: usize,
    again: &Story<'_>,
    uncut: &Story<'_>,
    case: &str,
) {
    let case = || {
        let lines = again.transcript();
        let lines: Vec<&str> = lines.lines().collect();
        let (before, after) = lines.split_at(events);
        format!(
            "{case}\n{}\n-- last cut --\n{}\nuncut:\n{}",
            before.join("\n"),
            after.join("\n"),
            uncut.transcript()
        )
    };
    for event in &story.events[..events] {
        if matches!(&event.body, Body::Finished(finished) if finished.state == StepState::Changed) {
            let key = &*event.step;
            let (then, now) = (&story.worlds[events - 1].acted, &again.world.acted);
            assert_eq!(
                then.get(key),
                now.get(key),
                "{key} is done again: {}",
                case()
            );
        }
    }
    match same {
        Same::Everything => {
            assert_eq!(again.end(), uncut.end(), "{}", case());
            assert_eq!(again.world.acted, uncut.world.acted, "{}", case());
        }
        Same::Outcome => {
            let outcome = |story: &Story<'_>| story.end().lines().next().map(str::to_owned);
            assert_eq!(outcome(again), outcome(uncut), "{}", case());
        }
        Same::Nothing => {}
    }
}

/// Takes every so-manieth of some things.
struct Spread {
    every: usize,
    at: usize,
}

impl Spread {
    /// Returns the spread that takes about `some` of `all`.
    fn of(some: usize, all: usize) -> Spread {
        // An odd number takes each of two ways in turn.
        Spread {
            every: (all / some) | 1,
            at: 0,
        }
    }

    fn is_taken(&mut self) -> bool {
        self.at += 1;
        self.at.is_multiple_of(self.every)
    }
}
