//! A step that was at work when the engine died: what has become of it.
//!
//! Its `unless` says it, else its look, else it runs again where it only reads, else a person is asked. An `unless` that
//! does not hold says that it was not done, so it runs again. One that turns out done counts as changed; where its
//! result is needed, only a look that gives the result can say so by itself.

use super::{
    Halt, Job, JobPhase, State,
    act::acts_by_look,
    failure::nothing,
    frame::{FrameId, Phase, Settle},
};
use crate::{
    event::{Ask, Asserted, Question, Reply, Settlement, StepState},
    kind::{Class, Effect, Looked},
    plan::{Body, Guard, Node, OnFailure, Plan},
    value::{Fields, Value},
};

impl State {
    /// Does one phase of the settling; returns whether it now waits for something.
    pub(super) fn settle(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        node: &Node,
        settle: Settle,
    ) -> bool {
        self.frames[frame].state = StepState::InDoubt;
        match settle {
            Settle::Unless => self.settle_by_unless(plan, frame, node),
            Settle::Look | Settle::Result => self.settle_by_look(plan, frame, node, settle),
            Settle::Ask => {
                let question = self.doubt(plan, frame, node);
                self.issue(frame, JobPhase::Ask, Job::Ask(Box::new(question)));
                true
            }
        }
    }

    fn settle_by_unless(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> bool {
        match &node.unless {
            Some(Guard {
                probe: Some(probe), ..
            }) => return self.probe(plan, frame, probe),
            Some(Guard { that, .. })
                if matches!(self.holds(plan, frame, that, None), Ok(Some(true))) =>
            {
                if !needs_result(node) {
                    self.settle_record(frame, Settlement::Done(nothing()));
                    return true;
                }
                self.frames[frame].phase = Phase::Settle(Settle::Result);
            }
            Some(Guard { that, .. }) if self.holds(plan, frame, that, None).is_err() => {
                self.frames[frame].phase = Phase::Settle(Settle::Ask);
            }
            _ => self.frames[frame].phase = Phase::Settle(Settle::Look),
        }
        false
    }

    /// Takes in what the probe of an `unless` says about a step in doubt.
    pub(super) fn settle_asserted(&mut self, plan: &Plan, frame: FrameId, asserted: &Asserted) {
        let needs_result = self.node(plan, frame).is_some_and(needs_result);
        let holds = asserted.holds == Some(true);
        if holds && !needs_result {
            return self.settle_done(plan, frame, &nothing());
        }
        self.frames[frame].phase = Phase::Settle(match (&asserted.error, holds) {
            (Some(_), _) => Settle::Ask,
            (None, true) => Settle::Result,
            (None, false) => Settle::Look,
        });
        self.advance(plan, frame);
    }

    fn settle_by_look(&mut self, plan: &Plan, frame: FrameId, node: &Node, settle: Settle) -> bool {
        let task = node.work().filter(|work| work.kind.looks).map(|work| {
            let task = self.task(plan, frame, work, node.effect, node.timeout.as_ref());
            (work, task)
        });
        if let Some((work, Ok(task))) = task
            && !acts_by_look(work, &task)
        {
            self.issue(frame, JobPhase::Look, Job::Look(task));
            return true;
        }
        // A message that comes twice does less harm than one that never comes.
        let again = node.effect == Effect::Read
            || matches!(node.body, Body::Notify { .. })
            || node.unless.is_some();
        if settle == Settle::Look && again {
            self.settle_record(frame, Settlement::Redo);
            return true;
        }
        self.frames[frame].phase = Phase::Settle(Settle::Ask);
        false
    }

    /// Returns whether a look at a step in doubt that found it done tells all that is needed of it.
    pub(super) fn tells_all(&self, plan: &Plan, frame: FrameId, result: &Value) -> bool {
        let Some(node) = self.node(plan, frame) else {
            return false;
        };
        node.named
            .fields
            .iter()
            .all(|name| result.get(name).is_some() || COMMON.contains(&name.as_str()))
    }

    /// Takes in what the look at a step in doubt has found.
    pub(super) fn settle_looked(&mut self, plan: &Plan, frame: FrameId, look: &Looked) {
        match (look, self.frames[frame].phase) {
            (Looked::Needed { .. }, Phase::Settle(Settle::Look)) => {
                self.settle_record(frame, Settlement::Redo);
            }
            _ => {
                self.frames[frame].phase = Phase::Settle(Settle::Ask);
                self.advance(plan, frame);
            }
        }
    }

    /// Takes in what a person says about a step in doubt.
    pub(super) fn settle_replied(&mut self, plan: &Plan, frame: FrameId, reply: &Reply) {
        match reply {
            Reply::Retry => self.redo(plan, frame),
            Reply::Done { .. } | Reply::Yes => self.settle_done(plan, frame, &nothing()),
            Reply::RollBack => self.settle_halt(frame, OnFailure::Rollback),
            // Anything else says nothing about the step: it stays in doubt.
            _ => self.settle_halt(frame, OnFailure::Stop),
        }
    }

    /// Takes in how a step in doubt is settled.
    pub(super) fn settled(&mut self, plan: &Plan, frame: FrameId, how: &Settlement) {
        self.answered(frame);
        match how {
            Settlement::Done(result) => self.settle_done(plan, frame, result),
            Settlement::Redo => self.redo(plan, frame),
            Settlement::Undo => self.settle_halt(frame, OnFailure::Rollback),
        }
    }

    fn settle_record(&mut self, frame: FrameId, how: Settlement) {
        self.record(frame, crate::event::Body::Settled { how });
    }

    fn settle_done(&mut self, plan: &Plan, frame: FrameId, result: &Value) {
        let fields = match result {
            Value::Map(fields) => (**fields).clone(),
            _ => Fields::new(),
        };
        self.end_step(plan, frame, StepState::Changed, fields);
    }

    /// Lets a step in doubt act again; what guards it is asked once more.
    fn redo(&mut self, plan: &Plan, frame: FrameId) {
        let this = &mut self.frames[frame];
        this.state = StepState::Running;
        this.phase = Phase::Guards(0);
        self.advance(plan, frame);
    }

    fn settle_halt(&mut self, frame: FrameId, then: OnFailure) {
        let key = &self.frames[frame].key;
        let why = match then {
            OnFailure::Rollback => format!("`{key}` was in doubt, and a person chose to undo"),
            _ => format!("`{key}` is in doubt"),
        };
        self.halt(Halt {
            then,
            why,
            class: Class::Cancelled,
            frame: Some(frame),
        });
    }

    fn doubt(&self, plan: &Plan, frame: FrameId, node: &Node) -> Question {
        let title = self.title_or_id(plan, frame, node);
        let message = format!(
            "`{title}` had started when the engine ended, and nobody can tell whether it was done"
        );
        Question {
            action: self.frames[frame].action().cloned(),
            ..Question::new(Ask::InDoubt, message)
        }
    }
}

/// Returns whether something later, or an `expect`, uses what the step gives.
fn needs_result(node: &Node) -> bool {
    let own = |name: &String| !COMMON.contains(&name.as_str());
    node.named.whole || node.named.fields.iter().any(own) || !node.expect.is_empty()
}

/// The result fields that every step has.
const COMMON: [&str; 7] = [
    "ok", "ran", "changed", "at", "duration", "attempts", "error",
];
