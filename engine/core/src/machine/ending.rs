//! The end of a run: what runs last, what the playbook gives back, and how everything stands then.

use super::{
    Mode, State,
    frame::{Frame, FrameId, Inside, Phase, Role},
};
use crate::{
    event::{Body, Ended, Finding, Outcome, StepState, Stop},
    expression::Reason,
    kind::{Class, Failure},
    plan::{Plan, ScopeId, Severity},
    value::Fields,
};

impl State {
    /// The work, or its undoing, is done: what runs last begins, or the run ends.
    pub(super) fn finish_run(&mut self, plan: &Plan) {
        let ends_otherwise = |(_, then): &(String, Stop)| match then {
            Stop::Keep => false,
            Stop::Cancel => self.is_undone_by_cancel(plan),
            Stop::RollBack | Stop::GiveUp => true,
        };
        if self.mode == Mode::Working && self.stopping.as_ref().is_some_and(ends_otherwise) {
            // The last step has ended while somebody wanted the run undone: that still holds.
            return;
        }
        if self.mode != Mode::Always && !self.always.is_empty() {
            return self.record_run(Body::Always);
        }
        let (outcome, why) = self.outcome();
        let mut outputs = Fields::new();
        if let (Outcome::Succeeded, Some(root)) = (outcome, self.root()) {
            let (given, failures) = self.outputs(plan, root, ScopeId(0));
            // What can't be given back is said, one finding for each output; the work itself is done.
            if let Some(failure) = failures.get(self.raised) {
                return self.record_run(Body::Raised(Finding {
                    severity: Severity::Warning,
                    title: failure.line(),
                    advice: failure.hint.clone(),
                }));
            }
            outputs = given;
        }
        let dirty = match self.given_up {
            true => self.left(),
            false => self.remains(),
        };
        self.record_run(Body::Ended(Ended {
            outcome,
            why,
            outputs,
            dirty,
        }));
    }

    /// Returns what a playbook gives back, and why some of it can't be given. What is absent is left out.
    pub(super) fn outputs(
        &self,
        plan: &Plan,
        block: FrameId,
        scope: ScopeId,
    ) -> (Fields, Vec<Failure>) {
        let names = self.names(plan, block).at_the_end();
        let mut given = Fields::new();
        let mut failures = Vec::new();
        for (name, expression) in &plan.scope(scope).outputs {
            match expression.eval(&names) {
                Ok(value) => {
                    given.insert(name.clone(), value);
                }
                Err(error) if error.reason == Reason::Absent => {}
                Err(error) => failures.push(Failure::internal(format!(
                    "work out the output `{name}`: {}",
                    error.message
                ))),
            }
        }
        (given, failures)
    }

    /// Takes in that a step of the frame's playbook has acted: from now on its `always` will run.
    pub(super) fn mark_started(&mut self, plan: &Plan, frame: FrameId) {
        let around: Vec<FrameId> = self
            .ancestors(frame)
            .filter(|frame| matches!(self.frames[*frame].role, Role::Playbook(_)))
            .take_while(|frame| !self.frames[*frame].started)
            .collect();
        for block in around.into_iter().rev() {
            let this = &mut self.frames[block];
            this.started = true;
            if let Role::Playbook(scope) = this.role
                && !plan.scope(scope).always.is_empty()
            {
                self.always.push((this.env, scope));
            }
        }
    }

    /// Begins the next `always`, the last begun playbook first; ends the run after the last one.
    pub(super) fn next_always(&mut self, plan: &Plan) {
        let Some((env, scope)) = self.always.pop() else {
            return self.finish_run(plan);
        };
        let block = self.add_frame(Frame::new(Role::Always, None, env, "always".into()));
        let inside = Inside::nodes(plan.scope(scope).always.as_slice().into(), 1);
        self.frames[block].phase = Phase::Inside;
        self.frames[block].inside = Some(Box::new(inside));
        self.advance(plan, block);
    }

    /// Returns how the run ends, and why, as far as it has come.
    pub(super) fn outcome(&self) -> (Outcome, String) {
        let Some(halt) = self.halts.first() else {
            return (Outcome::Succeeded, String::new());
        };
        let results = || {
            self.registered
                .iter()
                .filter_map(|undo| undo.result.as_ref())
        };
        let undoes = self
            .begun
            .as_ref()
            .is_some_and(|begun| begun.undoes.is_some());
        let outcome = if self.given_up {
            Outcome::Failed
        } else if results().any(|result| result.remains().is_some()) {
            Outcome::RollbackIncomplete
        } else if self.cancelled {
            Outcome::Cancelled
        } else if undoes || results().next().is_some() {
            Outcome::RolledBack
        } else {
            match halt.class {
                Class::Cancelled => Outcome::Cancelled,
                Class::Refused if !self.changed => Outcome::Refused,
                _ => Outcome::Failed,
            }
        };
        (outcome, halt.why.clone())
    }

    /// Lets every step stand as the end leaves it: nothing is running any more, and what lay inside something undone
    /// is undone.
    pub(super) fn settle_states(&mut self) {
        for frame in 0..self.frames.len() {
            if self.frames[frame].state == StepState::Running {
                self.frames[frame].state = StepState::Failed;
            }
        }
        for index in 0..self.registered.len() {
            let frame = self.registered[index].frame;
            let state = self.frames[frame].state;
            if !matches!(state, StepState::Undone | StepState::UndoFailed) {
                continue;
            }
            let around: Vec<FrameId> = self.ancestors(frame).collect();
            for outer in around {
                let outer = &mut self.frames[outer];
                match (outer.state, state) {
                    (StepState::Changed, _) | (StepState::Undone, StepState::UndoFailed) => {
                        outer.state = state;
                    }
                    _ => {}
                }
            }
        }
        if self.registered.iter().any(|undo| undo.result.is_some()) {
            self.settle_covered();
        }
    }

    /// What a group has undone as a whole is undone step by step.
    fn settle_covered(&mut self) {
        for frame in 0..self.frames.len() {
            if self.frames[frame].state != StepState::Changed || self.is_aside(frame) {
                continue;
            }
            let undone = self
                .ancestors(frame)
                .filter(|frame| self.frames[*frame].registered)
                .map(|frame| self.frames[frame].state)
                .find(|state| matches!(state, StepState::Undone | StepState::UndoFailed));
            if let Some(state) = undone {
                self.frames[frame].state = state;
            }
        }
    }
}
