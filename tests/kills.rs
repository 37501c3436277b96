//! `kill -9` at every fault point, at every durable call and at any moment; then `resume` or `rollback`, killed as well.
//!
//! Whatever the moment, the end is one of two: all is done, or all is as it was. An outside log says how often each
//! command really ran.
//!
//! Round K of seed S is always the same. `scripts/kill.sh` runs as many as one likes.

mod fixture;
mod rounds;

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use runwright_core::event::{Body, Event, Settlement};
use runwright_local::{fault::Point, journal::RunFilter, run::events};

use self::{
    fixture::{End, World},
    rounds::{Calls, Fault, Passings, Round, Then},
};
use crate::harness::{Ended, until};

/// How many rounds a test run does; `RUNWRIGHT_KILLS` says otherwise.
const ROUNDS: u64 = 240;

/// How many rounds run beside each other, each in a world of its own.
const WORLDS: u64 = 2;

#[test]
fn kill_9_at_every_point_and_any_moment_leaves_all_done_or_all_undone() {
    let number = |name: &str, default| match env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    };
    let seed = number("RUNWRIGHT_KILLS_SEED", 1);
    let from = number("RUNWRIGHT_KILLS_FROM", 0);
    let count = number("RUNWRIGHT_KILLS", ROUNDS);
    let script = env::var_os("RUNWRIGHT_KILLS").is_some();

    let first = World::new();
    let measured = Measured::of(&first);
    let rounds = measured.rounds(seed);
    let worlds = [first, World::new()];
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let tally = Mutex::new(Tally::default());
    let work = |world: &World| {
        loop {
            let k = next.fetch_add(1, Ordering::Relaxed);
            if k >= from + count || stop.load(Ordering::Relaxed) {
                return;
            }
            let round = rounds.round(k);
            match catch_unwind(AssertUnwindSafe(|| play(world, &measured, &round))) {
                Ok(played) => {
                    let mut tally = tally.lock().expect("no round panics with it");
                    tally.add(&round, &played);
                    if script && tally.rounds.is_multiple_of(100) {
                        println!(
                            "round {}: {} kills, all well",
                            from + tally.rounds,
                            tally.kills
                        );
                    }
                }
                Err(panic) => {
                    stop.store(true, Ordering::Relaxed);
                    eprintln!("\nround {k} failed: {round:?}\n{}", world.told());
                    eprintln!("repeat it: scripts/kill.sh --seed {seed} --from {k} 1\n");
                    resume_unwind(panic);
                }
            }
        }
    };
    thread::scope(|scope| {
        for world in &worlds {
            scope.spawn(|| work(world));
        }
    });
    let tally = tally.into_inner().expect("no round panicked");
    println!(
        "seed {seed}, rounds {from} to {}: {tally:?}",
        from + count - 1
    );
    if count >= ROUNDS {
        assert!(tally.kills >= 200, "{tally:?}");
        assert!(
            tally.at_points >= 150 && tally.at_moments >= 40,
            "{tally:?}"
        );
        assert!(tally.at_calls >= 10 && tally.again >= 10, "{tally:?}");
        assert!(tally.done >= 50 && tally.undone >= 50, "{tally:?}");
    }
    assert_eq!(WORLDS, worlds.len() as u64);
}

/// What a whole run and its rollback look like when nobody kills them.
struct Measured {
    run: Passings,
    rollback: Passings,
    calls: Calls,
    took: Duration,
    done: End,
    undone: End,
}

impl Measured {
    fn of(world: &World) -> Measured {
        world.reset();
        let started = Instant::now();
        let ended = world
            .run(&["run", "./everything.yml", "--yes"], None)
            .code(0);
        let took = started.elapsed();
        drop(ended);
        let undone = world.original();
        let done = world.end();
        assert_ne!(done.differs(&undone), "");
        world.rollback_whole();
        assert_eq!(world.end().differs(&undone), "");

        world.reset();
        let count = |arguments: &[&str]| {
            let file = world.sandbox.path("count");
            let _ = fs::remove_file(&file);
            let fault = format!("count:{file}");
            world.run_with(arguments, &fault).code(0);
            Passings::read(&fs::read_to_string(&file).expect("a count"))
        };
        let run = count(&["run", "./everything.yml", "--yes"]);
        let rollback = count(&["rollback", "last", "--yes"]);
        for point in Point::ALL {
            let passed = run.of(point) + rollback.of(point);
            assert!(
                passed > 0 || point == Point::Reopened,
                "nothing passes {point:?}"
            );
        }
        world.reset();
        let calls = world.calls();
        Measured {
            run,
            rollback,
            calls,
            took,
            done,
            undone,
        }
    }

    fn rounds(&self, seed: u64) -> rounds::Rounds {
        rounds::Rounds::new(seed, &self.run, &self.rollback, &self.calls, self.took)
    }
}

/// How a round went.
struct Played {
    killed_first: bool,
    killed_again: bool,
    done: bool,
}

/// What came of all rounds.
#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    kills: u64,
    at_points: u64,
    at_calls: u64,
    at_moments: u64,
    again: u64,
    done: u64,
    undone: u64,
}

impl Tally {
    fn add(&mut self, round: &Round, played: &Played) {
        self.rounds += 1;
        if played.killed_first {
            self.kills += 1;
            match round.first {
                Fault::Point(..) => self.at_points += 1,
                Fault::Call(..) => self.at_calls += 1,
                Fault::Moment(..) => self.at_moments += 1,
            }
        }
        if played.killed_again {
            self.kills += 1;
            self.again += 1;
        }
        match played.done {
            true => self.done += 1,
            false => self.undone += 1,
        }
    }
}

fn play(world: &World, measured: &Measured, round: &Round) -> Played {
    world.reset();
    let begun = world.run(&["run", "./everything.yml", "--yes"], Some(&round.first));
    let killed_first = begun.code == KILLED;
    assert!(
        killed_first || begun.code == 0 || matches!(round.first, Fault::Call(..)),
        "{begun:?}"
    );
    let mut killed_again = false;
    let Some((run, state)) = world.last() else {
        // It had not come so far as to begin: nothing may have happened.
        assert!(killed_first, "{begun:?}");
        assert_eq!(world.end().differs(&measured.undone), "");
        assert_eq!(world.log(), "");
        world
            .run(&["run", "./everything.yml", "--yes"], None)
            .code(0);
        check(world, measured, "succeeded", 0);
        return Played {
            killed_first,
            killed_again,
            done: true,
        };
    };
    world.sandbox.runwright(&["show", "last"]).code(0);
    world.sandbox.verified_journal();

    let mut again = |arguments: &[&str], fault: &mut Option<Fault>| {
        let ended = settled(world, arguments, fault.take().as_ref());
        if ended.code != KILLED {
            return ended;
        }
        killed_again = true;
        // What was begun a second time is gone on with in the same way; a run that undoes an ended one is a new run.
        let mut arguments = arguments.to_vec();
        if world.last().is_some_and(|(last, _)| last != run) {
            arguments[0] = "resume";
        }
        settled(world, &arguments, None)
    };
    let mut second = round.second.clone();
    let done = match (state.as_str(), round.then) {
        ("interrupted", Then::Resume) => {
            let ended = again(&["resume", "last", "--yes"], &mut second);
            let state = world.last().expect("it is there").1;
            match (ended.code, state.as_str()) {
                // A kill after the end was written leaves nothing to resume.
                (0 | 3, "succeeded") => {
                    check(world, measured, "succeeded", 0);
                    true
                }
                // A command without `unless`: only a person can say whether it was done.
                (4, _) => {
                    assert!(in_doubt(world, &run), "{ended:?}");
                    settled(world, &["rollback", "last", "--yes"], None).code(0);
                    check(world, measured, "rolled_back", 0);
                    false
                }
                // What was decided before the kill stays so.
                (1, "rolled_back") => {
                    check(world, measured, "rolled_back", 1);
                    false
                }
                (_, state) => panic!("{state}: {ended:?}"),
            }
        }
        ("interrupted", Then::RollBack) | ("succeeded", Then::RollBack) => {
            let mut ended = again(&["rollback", "last", "--yes"], &mut second);
            if ended.code == 4 {
                // A command of a `rollback` that was at work: only a person can say whether it was done.
                ended.stderr.clear();
                let redo = [
                    "resume",
                    "last",
                    "--yes",
                    "--in-doubt",
                    "by_hand/rollback/say=redo",
                ];
                ended = settled(world, &redo, None);
            }
            let ended_before = ended.code == 3 && ended.stderr.contains("has ended");
            assert!(ended.code == 0 || ended_before, "{ended:?}");
            let state = world.last().expect("it is there").1;
            check(world, measured, &state, 0);
            // Where nothing had started, there is nothing to roll back.
            let started = world.has_started();
            let expected = if started { "rolled_back" } else { "cancelled" };
            assert_eq!(state, expected);
            false
        }
        ("succeeded", Then::Resume) => {
            let ended = world.run(&["resume", "last", "--yes"], None);
            ended.code(3).says("has ended");
            check(world, measured, "succeeded", 0);
            true
        }
        ("rolled_back", _) => {
            // The call that was to kill the engine has killed a tool of a step.
            assert_eq!(begun.code, 1, "{begun:?}");
            check(world, measured, "rolled_back", 1);
            false
        }
        (state, _) => panic!("{state}: {begun:?}"),
    };
    Played {
        killed_first,
        killed_again,
        done,
    }
}

/// The exit code of a program that `kill -9` has ended.
const KILLED: i32 = 128 + 9;

/// Runs a command; as long as a process of a step that was at work lives, it is told to wait.
fn settled(world: &World, arguments: &[&str], fault: Option<&Fault>) -> Ended {
    let mut last = None;
    until(&format!("{arguments:?} need not wait"), || {
        let ended = world.run(arguments, fault);
        let waits = ended.code == 3 && ended.stderr.contains("still live");
        last = Some(ended);
        !waits
    });
    last.expect("it ran")
}

/// Returns whether a process that a step of `run` has started lives.
fn any_living(run: &str) -> bool {
    let mark = format!("RUNWRIGHT_STEP={run}/");
    let processes = fs::read_dir("/proc").expect("the processes").flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("environ")).ok())
        .any(|environment| {
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable.starts_with(mark.as_bytes()))
        })
}

/// Fails unless the world is exactly as the state of the run says, and each action ran as often as it may.
fn check(world: &World, measured: &Measured, state: &str, code: u8) {
    let expected = match state {
        "succeeded" => &measured.done,
        _ => &measured.undone,
    };
    let differs = world.end().differs(expected);
    assert!(differs.is_empty(), "after a run that {state}\n{differs}");
    let journal = world.sandbox.verified_journal();
    let log = world.log();
    let (last, _) = world.last().expect("it is there");
    for record in journal.runs(&RunFilter::default(), 10).expect("runs") {
        let run = &record.run;
        world.sandbox.runwright(&["show", run]).code(0);
        until("no process of the run lives", || !any_living(run));
        assert!(record.row.ended_at.is_some(), "{record:?}");
        if record.run == last {
            let row = &record.row;
            assert_eq!((row.state.as_str(), row.exit_code), (state, Some(code)));
        }
        let events = events(&journal, run).expect("events");
        if matches!(&events[0].body, Body::Begun(begun) if begun.undoes.is_none()) {
            ran_as_often_as_it_may(&events, &log, state == "succeeded");
        }
    }
    world.sandbox.runwright(&["history"]).code(0);
}

/// Fails unless each command of the log has run once, or once more where the journal says why.
fn ran_as_often_as_it_may(events: &[Event], log: &str, whole: bool) {
    for step in fixture::LOGGED {
        let ran = log.lines().filter(|line| line == step).count();
        let of_step = || {
            let of = |event: &&Event| &*event.step == *step;
            events.iter().filter(of).map(|event| &event.body)
        };
        let starts = of_step().filter(|body| matches!(body, Body::Started { .. }));
        let starts = starts.count();
        let reasons = of_step().filter(|body| match body {
            Body::Settled { how } => *how == Settlement::Redo,
            Body::Finished(finished) => finished.failure.is_some(),
            _ => false,
        });
        let reasons = reasons.count();
        assert!(starts <= 1 + reasons, "{step} started {starts} times");
        assert!(
            ran <= starts,
            "{step} ran {ran} times, and started {starts}"
        );
        let finished = of_step().filter(|body| matches!(body, Body::Finished(_)));
        assert!(ran >= finished.count(), "{step} finished and did not run");
        assert!(!whole || ran > 0, "{step} never ran");
    }
}

/// Returns whether a step of the run is in doubt by the journal: it has started last of all, and not finished.
fn in_doubt(world: &World, run: &str) -> bool {
    let journal = world.sandbox.verified_journal();
    let events = events(&journal, run).expect("events");
    let of_step = events.iter().filter(|event| &*event.step == "by_hand");
    let mut last = of_step.filter(|event| {
        matches!(
            event.body,
            Body::Started { .. } | Body::Finished(_) | Body::Settled { .. }
        )
    });
    last.next_back()
        .is_some_and(|event| matches!(event.body, Body::Started { .. }))
}
