//! How a frame goes on until it acts: `when`, `unless`, look, `guards`, `confirm`.

use super::{
    Job, JobPhase, State,
    act::{acts_by_look, answers_by_look},
    frame::{FrameId, Phase, Role, Settle},
};
use crate::{
    event::{Ask, Asserted, Assertion, Body, Question, StepState},
    kind::{Class, Description, Digest, Effect, Failure, Looked, UndoneBy},
    plan::{self, Guard, Node, Plan, Work},
    units::{Span, Time},
    value::Value,
};

impl State {
    /// Does what `frame` is at: until something of the world is needed, a decision is to be written down, or it waits.
    pub(super) fn advance(&mut self, plan: &Plan, frame: FrameId) {
        loop {
            if self.is_held(frame) {
                self.suspended.push(frame);
                return;
            }
            let done = match self.frames[frame].role {
                Role::Step(node) => self.advance_step(plan, frame, plan.node(node)),
                _ => self.advance_block(plan, frame),
            };
            if done {
                return;
            }
        }
    }

    /// Returns whether nothing of `frame` goes on for now.
    pub(super) fn is_held(&self, frame: FrameId) -> bool {
        let rechecking = self.rechecking.last();
        let held = !self.halts.is_empty() || rechecking.is_some_and(|asked| *asked != frame);
        self.stopping.is_some() || (held && !self.is_aside(frame))
    }

    /// Does one phase of a step; returns whether it now waits for something.
    fn advance_step(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> bool {
        match self.frames[frame].phase {
            Phase::When => self.when(plan, frame, node),
            Phase::Unless => self.unless(plan, frame, node),
            Phase::Look => self.look(plan, frame, node),
            Phase::Guards(index) => self.guard(plan, frame, &node.guards, index),
            Phase::Confirm => self.confirm(plan, frame, node),
            Phase::Start => {
                self.start(plan, frame, node);
                true
            }
            Phase::Inside => {
                self.run_inside(plan, frame);
                true
            }
            Phase::Sleep(until, _) => {
                self.issue(frame, JobPhase::Sleep, Job::Sleep(until));
                true
            }
            Phase::Settle(settle) => self.settle(plan, frame, node, settle),
            Phase::Require | Phase::Lock | Phase::Ended => true,
        }
    }

    fn advance_block(&mut self, plan: &Plan, frame: FrameId) -> bool {
        let Role::Playbook(scope) = self.frames[frame].role else {
            self.run_inside(plan, frame);
            return true;
        };
        match self.frames[frame].phase {
            Phase::Require => {
                let requires: Vec<_> = plan
                    .scopes
                    .iter()
                    .flat_map(|scope| scope.requires.iter().cloned())
                    .collect();
                if requires.is_empty() {
                    self.frames[frame].phase = Phase::Lock;
                    return false;
                }
                self.issue(frame, JobPhase::Require, Job::Require(requires));
                true
            }
            Phase::Lock => self.lock(plan, frame, scope),
            Phase::Guards(index) => self.guard(plan, frame, &plan.scope(scope).guards, index),
            _ if self.rechecking.last() == Some(&frame) => {
                self.rechecking.pop();
                // It goes on with what is inside it when all are asked.
                self.suspended.push(frame);
                self.recheck_next(plan);
                true
            }
            _ => {
                self.run_inside(plan, frame);
                true
            }
        }
    }

    fn when(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> bool {
        if self.adopt(frame) {
            return true;
        }
        let Some(when) = &node.when else {
            self.frames[frame].phase = Phase::Unless;
            return false;
        };
        match self.holds(plan, frame, when, None) {
            Ok(Some(false)) => {
                let why = self.explain(plan, frame, when, None);
                self.record(frame, Body::Skipped { why });
                true
            }
            Ok(_) => {
                self.frames[frame].phase = Phase::Unless;
                false
            }
            Err(failure) => {
                self.fail_later(plan, frame, failure);
                true
            }
        }
    }

    fn unless(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> bool {
        let Some(unless) = &node.unless else {
            self.frames[frame].phase = Phase::Look;
            return false;
        };
        if let Some(probe) = &unless.probe {
            return self.probe(plan, frame, probe);
        }
        match self.holds(plan, frame, &unless.that, None) {
            Ok(Some(true)) => {
                let why = self.explain(plan, frame, &unless.that, None);
                let asserted = Asserted {
                    which: Assertion::Unless,
                    holds: Some(true),
                    why,
                    error: None,
                };
                self.record(frame, Body::Asserted(asserted));
                true
            }
            Ok(_) => {
                self.frames[frame].phase = Phase::Look;
                false
            }
            Err(failure) => {
                self.fail_later(plan, frame, failure);
                true
            }
        }
    }

    pub(super) fn probe(&mut self, plan: &Plan, frame: FrameId, probe: &Work) -> bool {
        match self.task(plan, frame, probe, Effect::Read, None) {
            Ok(task) => self.issue(frame, JobPhase::Probe, Job::Probe(task)),
            Err(failure) => self.fail_later(plan, frame, failure),
        }
        true
    }

    fn look(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> bool {
        let Some(work) = node.work().filter(|work| work.kind.looks) else {
            self.frames[frame].phase = Phase::Guards(0);
            return false;
        };
        match self.task(plan, frame, work, node.effect, node.timeout.as_ref()) {
            // What only reads looks when it is its turn to act: after the guards.
            Ok(task) if answers_by_look(work, &task) || acts_by_look(work, &task) => {
                self.frames[frame].phase = Phase::Guards(0);
                return false;
            }
            Ok(task) => self.issue(frame, JobPhase::Look, Job::Look(task)),
            Err(failure) => self.fail_later(plan, frame, failure),
        }
        true
    }

    /// Takes in what a look before a change has found.
    pub(super) fn looked(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        action: &Description,
        look: &Looked,
    ) {
        self.answered(frame);
        if let Phase::Settle(_) = self.frames[frame].phase {
            self.settle_looked(plan, frame, look);
            return;
        }
        let this = &mut self.frames[frame];
        let started = this.started;
        let shown = this.shown();
        shown.action = Some(action.clone());
        if let Looked::Needed {
            before, summary, ..
        } = look
            && !started
        {
            shown.needed = Some((before.clone(), summary.clone()));
        }
        this.phase = Phase::Guards(0);
        self.advance(plan, frame);
    }

    fn guard(&mut self, plan: &Plan, frame: FrameId, guards: &[Guard], index: usize) -> bool {
        let Some(guard) = guards.get(index) else {
            self.frames[frame].phase = match self.frames[frame].role {
                Role::Step(_) => Phase::Confirm,
                _ => Phase::Inside,
            };
            return false;
        };
        if let Some(probe) = &guard.probe {
            return self.probe(plan, frame, probe);
        }
        match self.assert(plan, frame, guard, Assertion::Guard(index), None) {
            asserted if asserted.holds == Some(false) || asserted.error.is_some() => {
                self.record(frame, Body::Asserted(asserted));
                true
            }
            _ => {
                self.frames[frame].phase = Phase::Guards(index + 1);
                false
            }
        }
    }

    /// Returns what a condition with the answer of its probe comes to.
    pub(super) fn assert(
        &self,
        plan: &Plan,
        frame: FrameId,
        guard: &Guard,
        which: Assertion,
        result: Option<&Value>,
    ) -> Asserted {
        match self.holds(plan, frame, &guard.that, result) {
            Ok(Some(true)) => Asserted {
                which,
                holds: Some(true),
                why: String::new(),
                error: None,
            },
            Ok(None) => Asserted {
                which,
                holds: None,
                why: String::new(),
                error: None,
            },
            Ok(Some(false)) => {
                let parts = self.explain(plan, frame, &guard.that, result);
                let why = match &guard.otherwise {
                    Some(otherwise) => {
                        format!("{} ({parts})", self.text(plan, frame, otherwise, result))
                    }
                    None => parts,
                };
                Asserted {
                    which,
                    holds: Some(false),
                    why,
                    error: None,
                }
            }
            Err(failure) => Asserted {
                which,
                holds: Some(false),
                why: String::new(),
                error: Some(failure),
            },
        }
    }

    fn confirm(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> bool {
        // From its start on, the state before is fixed, and so is the answer to the question about it.
        let Some(confirm) = node
            .confirm
            .as_ref()
            .filter(|_| !self.frames[frame].started)
        else {
            self.frames[frame].phase = Phase::Start;
            return false;
        };
        let question = match self.question(plan, frame, node, confirm) {
            Ok(question) => question,
            Err(failure) => {
                self.fail_later(plan, frame, failure);
                return true;
            }
        };
        let shown = self.frames[frame].shown.as_ref();
        let confirmed = shown.and_then(|shown| shown.confirmed.as_ref());
        if confirmed.is_some_and(|confirmed| *confirmed == question.digest()) {
            self.frames[frame].phase = Phase::Start;
            return false;
        }
        self.issue(frame, JobPhase::Ask, Job::Ask(Box::new(question)));
        true
    }

    fn question(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        node: &Node,
        confirm: &plan::Confirm,
    ) -> Result<Question, Failure> {
        let this = &self.frames[frame];
        let message = match confirm.message.as_ref().or(node.title.as_ref()) {
            Some(message) => self.strict_text(plan, frame, message)?,
            None => format!("Run `{}`?", node.id),
        };
        let ask = match &confirm.phrase {
            Some(phrase) => Ask::Phrase(self.strict_text(plan, frame, phrase)?),
            None => Ask::Confirm,
        };
        let deadline = match &confirm.deadline {
            Some(deadline) => self.read_tree::<Span>(plan, frame, deadline)?,
            None => None,
        };
        let undo = match (&node.irreversible, &node.rollback, node.work()) {
            (Some(why), _, _) => Some(format!("can't be undone: {why}")),
            (None, Some(steps), _) if !steps.is_empty() => {
                Some("the playbook says how it is undone".to_owned())
            }
            (None, None, Some(work)) if work.kind.undone == UndoneBy::Itself => {
                Some("undone by itself".to_owned())
            }
            _ => None,
        };
        let mut question = Question {
            action: this.action().cloned(),
            change: this
                .shown
                .as_ref()
                .and_then(|shown| Some(shown.needed.as_ref()?.1.clone())),
            undo,
            approvers: confirm.approvers,
            not_starter: confirm.not_starter,
            ..Question::new(ask, message)
        };
        question.deadline = deadline.map(|span| {
            let first = self.first_asked(frame, question.digest());
            let until = first.milliseconds.saturating_add(span.milliseconds);
            Time::from_milliseconds(until)
        });
        Ok(question)
    }

    /// Returns when the question with this digest was first asked: now, where it is asked for the first time.
    fn first_asked(&mut self, frame: FrameId, question: Digest) -> Time {
        let now = self.now;
        let shown = self.frames[frame].shown();
        match &shown.asked {
            Some((asked, first)) if *asked == question => *first,
            _ => {
                shown.asked = Some((question, now));
                now
            }
        }
    }

    /// Takes in what a guard, or an `unless`, has come to.
    pub(super) fn asserted(&mut self, plan: &Plan, frame: FrameId, asserted: &Asserted) {
        self.answered(frame);
        let Asserted {
            which, holds, why, ..
        } = asserted;
        if let Some(failure) = &asserted.error
            && failure.class == Class::Cancelled
            && self.stopping.is_some()
        {
            // The question was stopped with the run; it is asked again.
            self.suspended.push(frame);
            return;
        }
        if let Phase::Settle(Settle::Unless) = self.frames[frame].phase {
            return self.settle_asserted(plan, frame, asserted);
        }
        let failure = match (&asserted.error, which) {
            (Some(failure), Assertion::Unless) => Some(failure.clone()),
            (Some(failure), Assertion::Guard(_)) => Some(Failure {
                class: Class::Refused,
                ..failure.clone()
            }),
            (None, Assertion::Guard(_)) if *holds == Some(false) => {
                Some(Failure::refused(why.clone()))
            }
            (None, _) => None,
        };
        if let Some(failure) = failure {
            if self.rechecking.last() == Some(&frame) {
                // Nothing is lost: the run stays where it was.
                self.frames[frame].phase = Phase::Inside;
                return self.refuse_run(failure.class, failure.line());
            }
            return self.fail_later(plan, frame, failure);
        }
        match which {
            Assertion::Unless if *holds == Some(true) => {
                let state = self.already(frame);
                return self.end_step(plan, frame, state, Default::default());
            }
            Assertion::Unless => self.frames[frame].phase = Phase::Look,
            Assertion::Guard(index) => self.frames[frame].phase = Phase::Guards(index + 1),
        }
        self.advance(plan, frame);
    }

    /// Returns how a step stands that is found done: already, unless it has itself begun to do it.
    pub(super) fn already(&self, frame: FrameId) -> StepState {
        match self.frames[frame].started {
            true => StepState::Changed,
            false => StepState::Already,
        }
    }
}
