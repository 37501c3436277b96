//! Going on after a stop or a crash.

use super::{
    Halt, Job, Mode, State,
    frame::{FrameId, Phase, Role, Settle},
};
use crate::{
    event::{Body, Goal, StepState},
    kind::Class,
    plan::{OnFailure, Plan},
};

impl State {
    /// Takes in that somebody goes on with the run.
    ///
    /// Decisions that were made and not yet written down stay due; what was at work in the world when the engine died
    /// is in doubt; everything else goes on from where it was.
    pub(super) fn resume(&mut self, plan: &Plan, goal: Goal, by: &str) {
        let was_stopped = self.stopped | self.stopping.take().is_some();
        self.stopped = false;
        self.undo_wanted |= goal == Goal::RollBack;
        match (self.mode, goal) {
            // It stays where it was, with all that failed and all that waits: a later goal goes on from there.
            (Mode::Working, Goal::Cancel) if !self.is_undone_by_cancel(plan) => {
                self.suspend_all();
                if self.run_due.is_none() {
                    // Nothing goes on, so nothing ends either: what was decided of a step is decided again.
                    self.take_back_all();
                    self.halts.push(Halt {
                        then: OnFailure::Stop,
                        why: format!("cancelled by {by}"),
                        class: Class::Cancelled,
                        frame: None,
                    });
                }
            }
            (Mode::Working, Goal::RollBack | Goal::Cancel | Goal::GiveUp) => {
                self.clear_due();
                self.give_up(goal, by);
            }
            (Mode::Working, Goal::Work) => {
                self.suspend_all();
                if self.run_due.is_some() {
                    // What becomes of the run is decided.
                    return;
                }
                self.forgive(plan, was_stopped);
                if self.halts.is_empty() {
                    self.recheck(plan);
                }
            }
            (Mode::RollingBack, _) => {
                self.suspend_all();
                self.wake(plan);
                if self.due.is_empty() {
                    self.roll_back(plan);
                }
            }
            (Mode::Always, _) => {
                self.suspend_all();
                self.wake(plan);
                if self.due.is_empty() {
                    self.next_always(plan);
                }
            }
            _ => {}
        }
    }

    /// Gives up the work: what has begun is only to be undone, or to be left.
    pub(super) fn give_up(&mut self, goal: Goal, by: &str) {
        for frame in self.frames.iter_mut() {
            if frame.acting {
                frame.state = StepState::InDoubt;
            }
        }
        let then = OnFailure::Rollback;
        self.cancelled = goal == Goal::Cancel;
        self.given_up = goal == Goal::GiveUp;
        let why = match goal {
            Goal::Cancel => format!("cancelled by {by}"),
            Goal::GiveUp => format!("given up by {by}"),
            Goal::Work | Goal::RollBack => format!("asked for by {by}"),
        };
        let asked = Halt {
            then,
            why,
            class: Class::Cancelled,
            frame: None,
        };
        let failed = self.halts.drain(..).next();
        self.halts.push(match (failed, goal) {
            // What had failed is still why.
            (Some(halt), Goal::RollBack) => Halt { then, ..halt },
            _ => asked,
        });
    }

    /// Takes everything back that is due and no decision.
    fn suspend_all(&mut self) {
        self.rechecking.clear();
        let serials: Vec<u64> = self.due.keys().copied().collect();
        for serial in serials {
            match &self.due[&serial].job {
                Job::Record(body) if !matches!(**body, Body::Stopped { .. }) => {
                    self.fresh.push(serial);
                }
                _ => self.take_back(serial),
            }
        }
    }

    /// Lets the steps whose failure has stopped the run try again.
    ///
    /// A failure whose consequence the engine's death has cut off still has it.
    fn forgive(&mut self, plan: &Plan, was_stopped: bool) {
        if !was_stopped {
            return;
        }
        for halt in std::mem::take(&mut self.halts) {
            if let Some(frame) = halt.frame {
                self.try_again(plan, frame);
            }
        }
    }

    /// Asks the `requires` and `guards` of every playbook that has begun again, the run's own first, before anything
    /// else goes on.
    fn recheck(&mut self, plan: &Plan) {
        let has_begun = |frame: &FrameId| {
            let frame = &self.frames[*frame];
            matches!(frame.role, Role::Playbook(_)) && frame.phase == Phase::Inside
        };
        let root = self.root();
        let called = (self.taken_over..self.frames.len())
            .filter(|frame| has_begun(frame) && Some(*frame) != root)
            .filter(|frame| !self.is_aside(*frame));
        let mut open: Vec<FrameId> = called.collect();
        open.reverse();
        open.extend(root.filter(|root| self.frames[*root].phase != Phase::Ended));
        self.rechecking = open;
        self.recheck_next(plan);
    }

    /// Asks the guards of the next playbook again; lets everything go on after the last one.
    pub(super) fn recheck_next(&mut self, plan: &Plan) {
        let Some(&next) = self.rechecking.last() else {
            return self.wake(plan);
        };
        // What a guard had come to and nobody has written down is asked again with the others.
        self.answered(next);
        self.frames[next].phase = match self.root() == Some(next) {
            true => Phase::Require,
            false => Phase::Guards(0),
        };
        self.advance(plan, next);
    }

    /// Lets everything that was held or taken back go on from where it was.
    pub(super) fn wake(&mut self, plan: &Plan) {
        let mut waking = std::mem::take(&mut self.suspended);
        waking.sort_unstable();
        waking.dedup();
        for frame in waking {
            let this = &mut self.frames[frame];
            if this.phase == Phase::Ended || this.due.is_some() {
                continue;
            }
            if this.acting {
                this.acting = false;
                this.phase = Phase::Settle(Settle::Unless);
            }
            this.phase = match (this.phase, this.role) {
                (Phase::Settle(_), _) => Phase::Settle(Settle::Unless),
                // What was looked at before is looked at again.
                (Phase::Look | Phase::Guards(_) | Phase::Confirm | Phase::Start, Role::Step(_)) => {
                    Phase::Unless
                }
                (phase, _) => phase,
            };
            self.advance(plan, frame);
        }
    }

    /// Returns the frame of the run's own playbook.
    pub(super) fn root(&self) -> Option<FrameId> {
        self.keys.get("").copied()
    }
}
