//! Which round kills where: a pure function of a seed and the round's number.

use std::{collections::BTreeMap, time::Duration};

use runwright_local::fault::Point;

/// Where the engine is killed.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// At the n-th passing of a fault point.
    Point(Point, u64),
    /// At the n-th call of a thread that is one of these: `strace` sends the signal, and the call is not made.
    Call(&'static str, u64),
    /// So long after its start, from outside.
    Moment(Duration),
}

/// What follows on the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Resume,
    RollBack,
}

/// One round.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) first: Fault,
    pub(super) then: Then,
    /// Where `resume` or `rollback` is killed, too.
    pub(super) second: Option<Fault>,
}

/// How often a run passes each point.
#[derive(Clone, Debug)]
pub(super) struct Passings(BTreeMap<&'static str, u64>);

impl Passings {
    /// Reads what `RUNWRIGHT_FAULT=count:FILE` has written.
    pub(super) fn read(text: &str) -> Passings {
        let count = |point: Point| {
            let passed = text.lines().filter(|line| *line == point.name());
            (point.name(), passed.count() as u64)
        };
        Passings(Point::ALL.into_iter().map(count).collect())
    }

    pub(super) fn of(&self, point: Point) -> u64 {
        self.0[point.name()]
    }

    /// Returns every passing of every point: first one of each point, then a second of each, and so on, so that a
    /// beginning of the list is of all points.
    fn all(&self, dice: &mut Dice) -> Vec<Fault> {
        let mut left: Vec<Vec<Fault>> = Vec::new();
        for point in Point::ALL {
            let mut passings: Vec<Fault> = (1..=self.of(point))
                .map(|nth| Fault::Point(point, nth))
                .collect();
            dice.shuffle(&mut passings);
            left.push(passings);
        }
        let mut all = Vec::new();
        while left.iter().any(|passings| !passings.is_empty()) {
            all.extend(left.iter_mut().filter_map(Vec::pop));
        }
        all
    }
}

/// How many durable calls one thread of a run makes at the most, by groups of calls.
#[derive(Clone, Debug)]
pub(super) struct Calls(Vec<(&'static str, u64)>);

impl Calls {
    const GROUPS: [&'static str; 4] = [
        "fsync,fdatasync",
        "rename,renameat,renameat2,link,linkat",
        "pwrite64,ftruncate",
        "mkdir,mkdirat,unlink,unlinkat,fchmod,fchown,fallocate",
    ];

    /// What `strace` is to follow.
    pub(super) const TRACE: &'static str = "trace=fsync,fdatasync,rename,renameat,renameat2,link,linkat,pwrite64,\
        ftruncate,mkdir,mkdirat,unlink,unlinkat,fchmod,fchown,fallocate";

    /// Reads a trace: `PID call(...)`, a line a call.
    pub(super) fn read(trace: &str) -> Calls {
        let most = |group: &'static str| {
            let mut by_thread = BTreeMap::<&str, u64>::new();
            for line in trace.lines() {
                let mut words = line.split_whitespace();
                if let (Some(thread), Some(call)) = (words.next(), words.next())
                    && let Some((name, _)) = call.split_once('(')
                    && group.split(',').any(|of| of == name)
                {
                    *by_thread.entry(thread).or_default() += 1;
                }
            }
            (group, by_thread.into_values().max().unwrap_or_default())
        };
        let calls = Calls(Calls::GROUPS.map(most).into());
        assert!(calls.0.iter().all(|(_, most)| *most > 0), "{calls:?}");
        calls
    }
}

/// All rounds of one seed.
pub(super) struct Rounds {
    seed: u64,
    points: Vec<Fault>,
    undoing: Vec<Fault>,
    calls: Calls,
    took: Duration,
}

impl Rounds {
    pub(super) fn new(
        seed: u64,
        run: &Passings,
        rollback: &Passings,
        calls: &Calls,
        took: Duration,
    ) -> Rounds {
        let mut dice = Dice(seed);
        Rounds {
            seed,
            points: run.all(&mut dice),
            undoing: rollback.all(&mut dice),
            calls: calls.clone(),
            took,
        }
    }

    /// Returns round `k`: of nine, six at points, two at a moment and one at a call.
    pub(super) fn round(&self, k: u64) -> Round {
        let mut dice = Dice(self.seed.wrapping_mul(1_000_003).wrapping_add(k));
        dice.next();
        let turn = k / 9 * 6 + k % 9;
        let first = match k % 9 {
            0..6 => self.points[turn as usize % self.points.len()].clone(),
            6 | 7 => Fault::Moment(self.took.mul_f64(dice.below(1_000) as f64 / 1_000.0)),
            _ => {
                let (group, most) = self.calls.0[(k / 9) as usize % self.calls.0.len()];
                Fault::Call(group, 1 + dice.below(most))
            }
        };
        let second = (k % 4 == 1).then(|| {
            if k % 8 == 1 {
                let at = dice.below(self.undoing.len() as u64);
                self.undoing[at as usize].clone()
            } else {
                Fault::Moment(self.took.mul_f64(dice.below(600) as f64 / 1_000.0))
            }
        });
        // Not every second one: each point is then met by both.
        let then = match dice.below(2) {
            0 => Then::Resume,
            _ => Then::RollBack,
        };
        Round {
            first,
            then,
            second,
        }
    }
}

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}
