//! A step acts: what it does in the world, what it asks, what it decides by itself.

use super::{Job, JobPhase, State, Task, failure::nothing, frame::FrameId};
use crate::{
    event::{self, Ask, Finding, Question, StepState},
    kind::{Description, Effect, Failure, UndoRecord},
    plan::{Body, Node, Plan, Tree, Work},
    units::{Span, Time},
    value::{Fields, Value},
};

/// How long one attempt of a step that only reads may take, where the playbook does not say it.
const READING_TIMEOUT: Span = Span::from_seconds(30);

impl State {
    /// Begins what the step does.
    pub(super) fn start(&mut self, plan: &Plan, frame: FrameId, node: &Node) {
        if node.until.is_some() {
            self.waiting_since(frame);
        }
        if let Err(failure) = self.begin_body(plan, frame, node) {
            self.fail_later(plan, frame, failure);
        }
    }

    fn begin_body(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> Result<(), Failure> {
        match &node.body {
            Body::Work(work) => self.work(plan, frame, node, work)?,
            Body::Group(_) | Body::Parallel { .. } | Body::Call { .. } => {
                self.enter(frame, None, None);
            }
            Body::Foreach { items, key, .. } => {
                let rounds = self.rounds(plan, frame, items, key.as_ref())?;
                let keys = rounds.into_iter().map(|(key, _)| key).collect();
                self.enter(frame, Some(keys), None);
            }
            Body::Choose(branches) => {
                let branch = self.branch(plan, frame, branches)?;
                self.enter(frame, None, branch);
            }
            Body::Ask(inputs) => {
                let names = inputs.iter().map(|input| input.name.clone()).collect();
                let message = self.title_or_id(plan, frame, node);
                self.ask(frame, Ask::Inputs(names), message);
            }
            Body::Manual(text) => {
                let text = self.strict_text(plan, frame, text)?;
                self.ask(frame, Ask::Manual, text);
            }
            Body::Wait(span) => {
                let span = self.read_tree::<Span>(plan, frame, span)?;
                let since = self.waiting_since(frame).milliseconds;
                // A preview that can't know how long does not wait.
                let until = since.saturating_add(span.unwrap_or_default().milliseconds);
                let message = self.title_or_id(plan, frame, node);
                self.ask(frame, Ask::Until(Time::from_milliseconds(until)), message);
            }
            Body::Notify { to, message } => {
                let to = self.strict_value(plan, frame, to)?;
                let message = self.strict_text(plan, frame, message)?;
                self.issue(frame, JobPhase::Perform, Job::Notify { to, message });
            }
            Body::Finding {
                severity,
                title,
                advice,
            } => {
                let advice = advice.as_ref();
                let finding = Finding {
                    severity: *severity,
                    title: self.strict_text(plan, frame, title)?,
                    advice: advice
                        .map(|advice| self.strict_text(plan, frame, advice))
                        .transpose()?,
                };
                let body = self.judge_finding(plan, frame, finding);
                self.record(frame, body);
            }
            Body::Set(values) => {
                let mut fields = Fields::new();
                for (name, expression) in values {
                    fields.insert(name.clone(), self.eval(plan, frame, expression, None)?);
                }
                let body = self.judge(plan, frame, Ok(Value::map(fields)));
                self.record(frame, body);
            }
            Body::Checkpoint => {
                let body = self.judge(plan, frame, Ok(nothing()));
                self.record(frame, body);
            }
        }
        Ok(())
    }

    fn work(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        node: &Node,
        work: &Work,
    ) -> Result<(), Failure> {
        let task = self.task(plan, frame, work, node.effect, node.timeout.as_ref())?;
        if answers_by_look(work, &task) {
            self.issue(frame, JobPhase::Look, Job::Look(task));
            return Ok(());
        }
        let this = &self.frames[frame];
        let job = Job::Perform {
            task,
            before: this.before().cloned(),
            registered: this.started,
        };
        self.issue(frame, JobPhase::Perform, job);
        Ok(())
    }

    fn enter(&mut self, frame: FrameId, rounds: Option<Vec<String>>, branch: Option<usize>) {
        self.record(frame, event::Body::Entered { rounds, branch });
    }

    fn ask(&mut self, frame: FrameId, ask: Ask, message: String) {
        let question = Question::new(ask, message);
        self.issue(frame, JobPhase::Ask, Job::Ask(Box::new(question)));
    }

    /// Returns when the wait, or the first try, began: now, where it begins.
    fn waiting_since(&mut self, frame: FrameId) -> Time {
        let now = self.now;
        *self.frames[frame].tries().since.get_or_insert(now)
    }

    pub(super) fn title_or_id(&self, plan: &Plan, frame: FrameId, node: &Node) -> String {
        match &node.title {
            Some(title) => self.text(plan, frame, title, None),
            None => node.id.clone(),
        }
    }

    /// Returns a kind with its arguments worked out.
    pub(super) fn task(
        &self,
        plan: &Plan,
        frame: FrameId,
        work: &Work,
        effect: Effect,
        timeout: Option<&Tree>,
    ) -> Result<Task, Failure> {
        let arguments = work
            .arguments
            .render(&self.names(plan, frame))
            .map_err(|error| {
                Failure::internal(format!(
                    "work out the arguments of `{}`: {error}",
                    work.kind.name
                ))
            })?;
        let timeout = match timeout {
            Some(tree) => self.read_tree::<Span>(plan, frame, tree)?,
            None if effect == Effect::Read => Some(READING_TIMEOUT),
            None => None,
        };
        let sensitive = self
            .node(plan, frame)
            .map(|node| node.sensitive.clone())
            .unwrap_or_default();
        Ok(Task {
            kind: work.kind.name.to_owned(),
            arguments,
            effect,
            timeout,
            sensitive,
        })
    }

    /// Takes in that a step is about to act: from here on it may have happened.
    pub(super) fn started(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        attempt: u32,
        action: &Description,
        before: Option<&Value>,
        undo: Option<&UndoRecord>,
    ) {
        let Some(node) = self.node(plan, frame) else {
            return;
        };
        let this = &mut self.frames[frame];
        this.attempt = attempt;
        this.state = StepState::Running;
        this.started = true;
        this.acting = true;
        let shown = this.shown();
        shown.action = Some(action.clone());
        if let (Some(before), None) = (before, &shown.needed) {
            shown.needed = Some((before.clone(), String::new()));
        }
        self.mark_started(plan, frame);
        if !self.is_aside(frame) {
            self.past_no_return |= node.is_point_of_no_return();
            self.changed |= node.effect > Effect::Read;
            self.register_step(plan, frame, action, undo);
        }
    }
}

/// Returns whether the playbook says that what the kind takes for reading acts: then its look would act as well.
pub(super) fn acts_by_look(work: &Work, task: &Task) -> bool {
    task.effect > Effect::Read && (work.kind.effect_of)(&task.arguments) == Effect::Read
}

/// Returns whether the step only reads and its look gives its answer: then it never acts.
pub(super) fn answers_by_look(work: &Work, task: &Task) -> bool {
    work.kind.looks
        && task.effect == Effect::Read
        && (work.kind.effect_of)(&task.arguments) == Effect::Read
}
