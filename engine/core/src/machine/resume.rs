//! Going on after a stop or a crash.

use super::{
    Halt, Mode, State,
    frame::{FrameId, Phase, Role, Settle},
};
use crate::{
    event::{Ask, Goal, Question, Settlement, StepState},
    kind::{Class, Looked},
    plan::{Node, OnFailure, Plan},
    value::{Fields, Value},
};

impl State {
    /// Takes in that somebody goes on with the run.
    pub(super) fn resume(&mut self, plan: &Plan, goal: Goal) {
        self.stopping = None;
        let rolling = self.undoing.is_some()
            || self.mode == Mode::RollingBack
            || (self.mode == Mode::Stopped
                && self.registered.iter().any(|undo| undo.result.is_some()));
        let ending = self.frames.iter().any(|frame| frame.role == Role::Always);
        if ending {
            self.mode = Mode::Always;
            return self.wake_all(plan, None);
        }
        if rolling {
            self.mode = Mode::RollingBack;
            let inside = self.frames.iter().any(|frame| {
                matches!(frame.role, Role::Rollback(index) if Some(index) == self.undoing)
                    && frame.phase != Phase::Ended
            });
            if inside {
                return self.wake_all(plan, None);
            }
            self.clear_due();
            return self.roll_back(plan);
        }
        self.mode = Mode::Working;
        match goal {
            Goal::RollBack => {
                self.clear_due();
                let (why, class, frame) = match self.halt.take() {
                    Some(halt) => (halt.why, halt.class, halt.frame),
                    None => ("asked for by a person".to_owned(), Class::Cancelled, None),
                };
                self.halt = Some(Halt {
                    then: OnFailure::Rollback,
                    why,
                    class,
                    frame,
                });
            }
            Goal::Work => {
                let failed = self.halt.take().and_then(|halt| halt.frame);
                self.wake_all(plan, failed);
            }
        }
    }

    /// Lets everything that was held, was due or had failed go on from where it was.
    pub(super) fn wake_all(&mut self, plan: &Plan, failed: Option<FrameId>) {
        let mut waking: Vec<FrameId> = std::mem::take(&mut self.suspended);
        waking.extend(failed);
        waking.extend((0..self.frames.len()).filter(|frame| self.frames[*frame].due.is_some()));
        waking.sort_unstable();
        waking.dedup();
        self.clear_due();
        for frame in waking {
            let this = &mut self.frames[frame];
            if this.acting {
                this.acting = false;
                this.phase = Phase::Settle(Settle::Unless);
            } else if matches!(
                this.phase,
                Phase::Look | Phase::Guards(_) | Phase::Confirm | Phase::Start
            ) && matches!(this.role, Role::Step(_))
            {
                // What was looked at before is looked at again.
                this.phase = if this.state == StepState::Pending {
                    Phase::When
                } else {
                    Phase::Unless
                };
            }
            self.advance(plan, frame);
        }
    }

    /// Takes in what the look at a step in doubt has found.
    pub(super) fn settle_looked(&mut self, plan: &Plan, frame: FrameId, look: &Looked) {
        let Some(node) = self.node(plan, frame) else {
            return;
        };
        match look {
            Looked::Done(result) => {
                let gives_all =
                    match result {
                        Value::Map(fields) => node.named.fields.iter().all(|name| {
                            fields.contains_key(name) || COMMON.contains(&name.as_str())
                        }),
                        _ => node.named.fields.is_empty(),
                    };
                if gives_all {
                    self.settle_record(frame, Settlement::Done(result.clone()));
                } else {
                    self.ask_doubt(plan, frame);
                }
            }
            Looked::Needed { .. } => self.settle_record(frame, Settlement::Redo),
            Looked::Unclear => self.ask_doubt(plan, frame),
        }
    }

    fn ask_doubt(&mut self, plan: &Plan, frame: FrameId) {
        self.frames[frame].phase = Phase::Settle(Settle::Ask);
        self.advance(plan, frame);
    }

    pub(super) fn doubt(&self, plan: &Plan, frame: FrameId, node: &Node) -> Question {
        let title = match &node.title {
            Some(title) => self.text(plan, frame, title, None),
            None => node.id.clone(),
        };
        Question {
            ask: Ask::InDoubt,
            message: format!(
                "`{title}` had started when the engine ended, and nobody can tell whether it was done"
            ),
            action: self.frames[frame].action.clone(),
            change: None,
            undo: None,
        }
    }

    /// Takes in how a step in doubt is settled.
    pub(super) fn settled(&mut self, plan: &Plan, frame: FrameId, how: &Settlement) {
        self.answered(frame);
        match how {
            Settlement::Done(result) => self.settle_done(plan, frame, result),
            Settlement::Redo => self.redo(plan, frame),
            Settlement::Undo => self.settle_undo(frame),
        }
    }

    /// A step in doubt turns out to be done: it counts as changed.
    pub(super) fn settle_done(&mut self, plan: &Plan, frame: FrameId, result: &Value) {
        let fields = match result {
            Value::Map(fields) => (**fields).clone(),
            _ => Fields::new(),
        };
        self.end_step(plan, frame, StepState::Changed, Some(fields));
    }

    pub(super) fn redo(&mut self, plan: &Plan, frame: FrameId) {
        let this = &mut self.frames[frame];
        this.state = StepState::Running;
        this.phase = Phase::Start;
        self.advance(plan, frame);
    }

    pub(super) fn settle_undo(&mut self, frame: FrameId) {
        self.halt = Some(Halt {
            then: OnFailure::Rollback,
            why: format!(
                "`{}` was in doubt, and a person chose to undo",
                self.frames[frame].key
            ),
            class: Class::Cancelled,
            frame: Some(frame),
        });
    }
}

/// The result fields that every step has.
pub(super) const COMMON: [&str; 7] = [
    "ok", "ran", "changed", "at", "duration", "attempts", "error",
];
