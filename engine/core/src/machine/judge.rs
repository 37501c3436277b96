//! What becomes of a result: `until`, `expect`, `retry`, and what a failure does.
//!
//! The verdict is made once, when the answer comes in, and stands in the event: replay takes it as it is.

use super::{
    State,
    frame::{FrameId, Phase, Role, Then},
};
use crate::{
    event::{Body, Finding, Finished, Output, StepState},
    kind::{Class, Effect, Failure},
    plan::{Backoff, Body as NodeBody, Node, OnFailure, Plan, Retry, Severity},
    units::{Span, Time},
    value::{Fields, Value},
};

/// Result texts that no expression names are kept in the journal up to this many bytes; the rest is output.
const SHORT: usize = 1024;
/// Result texts that some expression names are kept up to this many bytes.
const LONG: usize = 256 * 1024;

/// What a step has given, before anything is made of it.
pub(super) struct Given {
    pub at: Time,
    pub result: Result<Value, Failure>,
    pub took: Span,
    pub output: Vec<Output>,
    /// Whether a look gave it, and nothing acted.
    pub by_look: bool,
}

/// What has been made of a result so far.
pub(super) struct Verdict {
    pub result: Result<Value, Failure>,
    pub findings: Vec<Finding>,
}

impl State {
    /// Returns the end of a step that the machine decides by itself, at the time of the last event.
    pub(super) fn judge(
        &self,
        plan: &Plan,
        frame: FrameId,
        result: Result<Value, Failure>,
    ) -> Body {
        let given = Given {
            at: self.now,
            result,
            took: Span::default(),
            output: Vec::new(),
            by_look: false,
        };
        self.judge_given(plan, frame, given)
    }

    /// Returns the end of a step, or of a try of it.
    pub(super) fn judge_given(&self, plan: &Plan, frame: FrameId, given: Given) -> Body {
        let Some(node) = self.node(plan, frame) else {
            unreachable!(
                "only steps are judged: a playbook is refused by its call or with the run"
            );
        };
        let at = given.at.max(self.now);
        let common = self.common(node, frame, at, &given);
        let mut verdict = Verdict {
            result: given.result,
            findings: Vec::new(),
        };
        let fields = verdict.fields(common);
        if let Some(until) = &node.until
            && let Some(body) = self.not_held(plan, frame, until, at, &fields, &mut verdict)
        {
            return body;
        }
        if verdict.result.is_ok() {
            self.check(plan, frame, &node.expect, &fields, &mut verdict);
        }
        let Verdict {
            result,
            mut findings,
        } = verdict;
        let failure = result.err();
        let again = failure
            .as_ref()
            .and_then(|failure| self.retry_at(plan, frame, node, failure, at));
        let mut then = None;
        if let (Some(failure), None) = (&failure, again) {
            then = self.then(plan, frame, node, failure);
            findings.extend(self.passed_over(plan, frame, node, failure, then));
        }
        let state = match &failure {
            Some(_) if again.is_some() => StepState::Running,
            Some(failure) if failure.class == Class::Refused => StepState::Refused,
            Some(_) => StepState::Failed,
            None if given.by_look && node.effect > Effect::Read => self.already(frame),
            None if self.has_changed(node, frame) => StepState::Changed,
            None => StepState::Ok,
        };
        let result = match failure {
            None => self.stored(node, fields),
            Some(_) => Fields::new(),
        };
        Body::Finished(Box::new(Finished {
            attempt: self.frames[frame].current_attempt(),
            state,
            result,
            failure,
            findings,
            again,
            took: given.took,
            output: given.output,
            then,
        }))
    }

    fn has_changed(&self, node: &Node, frame: FrameId) -> bool {
        match &node.body {
            NodeBody::Work(_) | NodeBody::Notify { .. } => node.effect > Effect::Read,
            _ => self.frames[frame].has_changed_inside(),
        }
    }

    fn common(&self, node: &Node, frame: FrameId, at: Time, given: &Given) -> Fields {
        let this = &self.frames[frame];
        let changed = match given.by_look {
            true => node.effect > Effect::Read && this.started,
            false => self.has_changed(node, frame),
        };
        let tries = this.tries.as_ref().map_or(0, |tries| tries.count);
        let attempts = i64::from(this.current_attempt()) + i64::from(tries);
        Fields::from([
            ("ok".to_owned(), Value::Bool(true)),
            ("ran".to_owned(), Value::Bool(true)),
            ("changed".to_owned(), Value::Bool(changed)),
            ("at".to_owned(), Value::Time(at)),
            ("duration".to_owned(), Value::Duration(given.took)),
            ("attempts".to_owned(), Value::Int(attempts)),
        ])
    }

    fn retry_at(
        &self,
        plan: &Plan,
        frame: FrameId,
        node: &Node,
        failure: &Failure,
        at: Time,
    ) -> Option<Time> {
        let retry: Retry = self.read_tree(plan, frame, node.retry.as_ref()?).ok()??;
        let this = &self.frames[frame];
        let attempt = 1 + this.tries.as_ref().map_or(0, |tries| tries.failed);
        let matches = retry.on.iter().any(|class| class.class() == failure.class);
        if !matches || attempt >= retry.attempts || self.stopping.is_some() {
            return None;
        }
        let doubled = match retry.backoff {
            Backoff::Fixed => 0,
            Backoff::Exponential => (attempt - 1).min(32),
        };
        let mut delay = retry.delay.milliseconds.saturating_mul(1 << doubled);
        if let Some(max) = retry.max_delay {
            delay = delay.min(max.milliseconds);
        }
        if retry.jitter {
            delay -= (delay / 2).saturating_mul(i64::from(self.dice(frame, attempt))) / 255;
        }
        Some(Time {
            milliseconds: at.milliseconds.saturating_add(delay),
            ..at
        })
    }

    /// Returns a number from 0 to 255 that is made of run, step and attempt only.
    fn dice(&self, frame: FrameId, attempt: u32) -> u8 {
        let run = self.begun.as_ref().map_or("", |begun| &begun.run);
        let text = format!("{run} {} {attempt}", self.frames[frame].key);
        let digest = crate::kind::Digest::of(text.as_bytes());
        u8::from_str_radix(&digest.0[..2], 16).unwrap_or_default()
    }

    /// Returns what a failure does to the run; nothing where it only fails what is around the step: the try of an
    /// `until`, a `rollback`, an `always`.
    fn then(
        &self,
        plan: &Plan,
        frame: FrameId,
        node: &Node,
        failure: &Failure,
    ) -> Option<OnFailure> {
        let is_aside = self.is_aside(frame);
        if self.stopping.is_some() && !is_aside {
            return Some(OnFailure::Stop);
        }
        if node.on_failure == Some(OnFailure::Continue) {
            return node.on_failure;
        }
        if is_aside || self.fails_a_try(plan, frame, failure.class) {
            return None;
        }
        // Who has just said no is not asked what to do about it.
        if self.attended && self.frames[frame].phase != Phase::Confirm {
            return Some(OnFailure::Ask);
        }
        if node.on_failure.is_some() {
            return node.on_failure;
        }
        if self.past_no_return {
            return Some(OnFailure::Stop);
        }
        let around = self
            .ancestors(frame)
            .find_map(|frame| match self.frames[frame].role {
                Role::Step(node) => plan.node(node).on_failure,
                Role::Playbook(scope) => plan.scope(scope).on_failure,
                _ => None,
            });
        Some(around.unwrap_or(OnFailure::Rollback))
    }

    /// Returns the critical finding of a failure that is passed over, once: where it happened.
    fn passed_over(
        &self,
        plan: &Plan,
        frame: FrameId,
        node: &Node,
        failure: &Failure,
        then: Option<OnFailure>,
    ) -> Option<Finding> {
        let inside = self.frames[frame].inside.as_ref();
        let said = inside.is_some_and(|inside| inside.failure.is_some());
        let is_passed_over =
            then == Some(OnFailure::Continue) || self.block_of(frame) == Role::Always;
        if said || !is_passed_over {
            return None;
        }
        let name = match &node.title {
            Some(title) => self.text(plan, frame, title, None),
            None => self.frames[frame].key.to_string(),
        };
        Some(Finding {
            severity: Severity::Critical,
            title: format!("{name}: {}", failure.line()),
            advice: failure.hint.clone(),
        })
    }

    /// Takes in the end of a step, or of an attempt.
    pub(super) fn finished(&mut self, plan: &Plan, frame: FrameId, finished: &Finished) {
        self.answered(frame);
        let Some(node) = self.node(plan, frame) else {
            return;
        };
        let key = self.frames[frame].key.clone();
        let findings = finished.findings.iter();
        self.findings
            .extend(findings.map(|finding| (key.clone(), finding.clone())));
        let this = &mut self.frames[frame];
        this.attempt = finished.attempt;
        this.acting = false;
        if let Some(again) = finished.again {
            let then = match this.phase {
                Phase::Start => Then::Act,
                _ => Then::Ask,
            };
            this.phase = Phase::Sleep(again, then);
            this.state = StepState::Running;
            this.tries().failed += 1;
            return self.advance(plan, frame);
        }
        if finished.state != StepState::Refused && !node.is_structure() {
            self.mark_started(plan, frame);
        }
        let result = self.kept(plan, frame, finished);
        let Some(failure) = &finished.failure else {
            return self.end_step(plan, frame, finished.state, result);
        };
        if self.stopping.is_some() && (!self.is_aside(frame) || failure.class == Class::Cancelled) {
            // It was stopped with the run, or beside it: it is tried again when the run goes on.
            return self.try_again(plan, frame);
        }
        match finished.then {
            Some(OnFailure::Continue) => self.end_step(plan, frame, finished.state, result),
            None => {
                let value = self.common_fields(plan, frame, finished.state, result);
                let failure = failure.clone();
                let parent = self.frames[frame].parent;
                let gives_up = parent.is_none_or(|parent| self.frames[parent].role != Role::Always);
                let failure = Some(failure).filter(|_| gives_up);
                self.end_with(plan, frame, finished.state, value, failure);
            }
            Some(then) => self.halt_by(plan, frame, then, finished.state, failure, result),
        }
    }

    /// Ends a step and lets what is around it go on.
    pub(super) fn end_step(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        state: StepState,
        result: Fields,
    ) {
        let value = self.common_fields(plan, frame, state, result);
        self.end_with(plan, frame, state, value, None);
    }

    /// Ends a step with its whole result; with `failure`, what is around it gives up.
    pub(super) fn end_with(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        state: StepState,
        result: Value,
        failure: Option<Failure>,
    ) {
        let this = &mut self.frames[frame];
        let changed = state == StepState::Changed || this.has_changed_inside();
        this.state = state;
        this.phase = Phase::Ended;
        this.result = Some(result);
        this.shown = None;
        this.tries = None;
        this.inside = None;
        if let Some(parent) = this.parent {
            self.inside_ended(plan, parent, changed, failure);
        }
    }

    /// Returns the fields that go into the event: what is named whole, of the rest what is short.
    fn stored(&self, node: &Node, fields: Fields) -> Fields {
        let size = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::List(_) | Value::Map(_) => value.to_stored().to_string().len(),
            _ => 0,
        };
        fields
            .into_iter()
            .filter_map(|(name, value)| {
                let size = size(&value);
                if node.named.keeps(&name) && size > LONG && matches!(value, Value::Text(_)) {
                    let why = format!(
                        "`{}.{name}` is longer than 256KiB and was not kept",
                        node.id
                    );
                    return Some((name, Value::Absent(why.into())));
                }
                (node.named.keeps(&name) || size <= SHORT).then_some((name, value))
            })
            .filter(|(name, _)| {
                name != "at" && name != "duration" && name != "attempts" || node.named.keeps(name)
            })
            .collect()
    }

    /// Returns the part of a stored result that the state keeps.
    pub(super) fn kept(&self, plan: &Plan, frame: FrameId, finished: &Finished) -> Fields {
        let Some(node) = self.node(plan, frame) else {
            return Fields::new();
        };
        let mut kept: Fields = finished
            .result
            .iter()
            .filter(|(name, _)| node.named.keeps(name) || *name == UNKNOWN_REST)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if let Some(failure) = &finished.failure
            && node.named.keeps("error")
        {
            let error = Fields::from([
                ("class".to_owned(), Value::text(failure.class.to_string())),
                ("message".to_owned(), Value::text(failure.line())),
            ]);
            kept.insert("error".to_owned(), Value::map(error));
        }
        kept
    }
}

impl Verdict {
    /// Returns the common fields and the kind's own.
    fn fields(&self, mut common: Fields) -> Fields {
        match &self.result {
            Ok(Value::Map(fields)) => {
                common.extend(
                    fields
                        .iter()
                        .map(|(name, value)| (name.clone(), value.clone())),
                );
            }
            Ok(Value::Unknown(after)) => {
                common.insert(UNKNOWN_REST.to_owned(), Value::Unknown(after.clone()));
            }
            _ => {}
        }
        common
    }
}

/// The field that stands for every field that a preview does not know.
pub(super) const UNKNOWN_REST: &str = "*";
