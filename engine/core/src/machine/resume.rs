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
    pub(super) fn resume(&mut self, plan: &Plan, goal: Goal) {
        let was_stopped = self.stopped | self.stopping.take().is_some();
        self.stopped = false;
        self.undo_wanted |= goal == Goal::RollBack;
        match (self.mode, goal) {
            (Mode::Working, Goal::RollBack) => self.give_up(),
            (Mode::Working, Goal::Work) => {
                self.suspend_all();
                if self.run_due.is_some() {
                    // What becomes of the run is decided.
                    return;
                }
                self.forgive(was_stopped);
                if self.halts.is_empty() && !self.recheck(plan) {
                    self.wake(plan);
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

    /// Gives up the work: what has begun is only to be undone.
    fn give_up(&mut self) {
        self.clear_due();
        for frame in self.frames.iter_mut() {
            if frame.acting {
                frame.state = StepState::InDoubt;
            }
        }
        let halt = match self.halts.drain(..).next() {
            Some(halt) => halt,
            None => Halt {
                then: OnFailure::Rollback,
                why: "asked for by a person".to_owned(),
                class: Class::Cancelled,
                frame: None,
            },
        };
        self.halts.push(Halt {
            then: OnFailure::Rollback,
            ..halt
        });
    }

    /// Takes everything back that is due and no decision.
    fn suspend_all(&mut self) {
        self.rechecking = false;
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
    fn forgive(&mut self, was_stopped: bool) {
        if !was_stopped {
            return;
        }
        for halt in std::mem::take(&mut self.halts) {
            if let Some(frame) = halt.frame {
                self.try_again(frame);
            }
        }
    }

    /// Asks the playbook's own `requires` and `guards` again, before anything else goes on; returns whether there is
    /// anything to ask about.
    fn recheck(&mut self, plan: &Plan) -> bool {
        match self.root() {
            Some(root) if self.frames[root].phase != Phase::Ended => {
                // What a guard had come to and nobody has written down is asked again with the others.
                self.answered(root);
                self.rechecking = true;
                self.frames[root].phase = Phase::Require;
                self.advance(plan, root);
                true
            }
            _ => false,
        }
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
