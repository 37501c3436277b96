//! What becomes of a result: `until`, `expect`, `retry`, and what a failure does.
//!
//! The verdict is made once, when the answer comes in, and stands in the event: replay takes it as it is.

use super::{
    Answer, CommandId, Halt, Job, NotDue, State,
    frame::{FrameId, Phase, Role, Settle},
};
use crate::{
    event::{
        Asserted, Assertion, Body, Finding, Finished, Output, Reply, Settlement, StepState, Undone,
    },
    expression::Expression,
    kind::{Class, Effect, Failure, Looked},
    plan::{
        Backoff, Body as NodeBody, Expect, ExpectSeverity, Node, OnFailure, Plan, Retry, Severity,
        Until,
    },
    units::{Span, Time},
    value::{Fields, Value},
};

/// Result texts that no expression names are kept in the journal up to this many bytes; the rest is output.
const SHORT: usize = 1024;
/// Result texts that some expression names are kept up to this many bytes.
const LONG: usize = 256 * 1024;

impl State {
    /// Returns the event that an answer makes, with the machine's verdict in it.
    ///
    /// `at` is the time of the event.
    ///
    /// # Errors
    ///
    /// When what is answered is not due.
    pub fn event(
        &self,
        plan: &Plan,
        id: &CommandId,
        at: Time,
        answer: Answer,
    ) -> Result<Body, NotDue> {
        let not_due = || NotDue {
            step: id.step.clone(),
            phase: id.phase,
        };
        let command = self
            .due
            .values()
            .find(|command| command.id == *id)
            .ok_or_else(not_due)?;
        let frame = self.keys.get(&id.step).copied();
        Ok(match (answer, &command.job) {
            (Answer::Recorded, Job::Record(body)) => (**body).clone(),
            (Answer::Required(missing), Job::Require(_)) => Body::Required { missing },
            (Answer::Probed(result), Job::Probe(_)) => {
                Body::Asserted(self.probed(plan, frame.ok_or_else(not_due)?, result))
            }
            (Answer::Looked { action, look, took }, Job::Look(_)) => {
                let frame = frame.ok_or_else(not_due)?;
                match (look, &self.frames[frame].phase) {
                    (Ok(look), Phase::Settle(_)) => Body::Looked { action, look },
                    (Err(_), Phase::Settle(_)) => Body::Looked {
                        action,
                        look: Looked::Unclear,
                    },
                    (Ok(Looked::Done(result)), _) => {
                        self.judge_at(plan, frame, at, Ok(result), took, Vec::new(), true)
                    }
                    (Err(failure), _) => {
                        self.judge_at(plan, frame, at, Err(failure), took, Vec::new(), true)
                    }
                    (Ok(look), _) => Body::Looked { action, look },
                }
            }
            (Answer::Replied { by, reply }, Job::Ask(question)) => Body::Answered {
                question: question.digest(),
                by,
                reply,
            },
            (
                Answer::Started { action, undo },
                Job::Perform {
                    before, registered, ..
                },
            ) => Body::Started {
                attempt: id.attempt,
                action,
                before: before.clone().filter(|_| !registered),
                undo: undo.filter(|_| !registered),
            },
            (Answer::Started { action, .. }, Job::Notify { .. }) => Body::Started {
                attempt: id.attempt,
                action,
                before: None,
                undo: None,
            },
            (
                Answer::Finished {
                    result,
                    took,
                    output,
                },
                Job::Perform { .. } | Job::Notify { .. },
            ) => self.judge_at(
                plan,
                frame.ok_or_else(not_due)?,
                at,
                result,
                took,
                output,
                false,
            ),
            (Answer::Undoing, Job::Undo { record, .. }) => Body::Undoing {
                summary: record.summary.clone(),
            },
            (Answer::Undone(result), Job::Undo { record, .. }) => Body::Undone(Undone {
                result,
                summary: record.summary.clone(),
            }),
            (Answer::Slept, Job::Sleep(_)) => Body::Woke,
            _ => return Err(not_due()),
        })
    }

    /// Like [`State::judge_at`] for what the machine decides by itself, at the time of the last event.
    pub(super) fn judge(
        &self,
        plan: &Plan,
        frame: FrameId,
        result: Result<Value, Failure>,
        took: Span,
        output: Vec<Output>,
    ) -> Body {
        self.judge_at(plan, frame, self.now, result, took, output, false)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one answer, named where they are built"
    )]
    fn judge_at(
        &self,
        plan: &Plan,
        frame: FrameId,
        at: Time,
        result: Result<Value, Failure>,
        took: Span,
        output: Vec<Output>,
        by_look: bool,
    ) -> Body {
        let Some(node) = self.node(plan, frame) else {
            return Body::Woke;
        };
        let at = at.max(self.now);
        let attempt = self.frames[frame].attempt.max(1);
        let mut verdict = Verdict {
            result,
            findings: Vec::new(),
            again: None,
        };
        let fields = verdict.fields(self.common(node, frame, at, took, by_look));
        if let Some(until) = &node.until
            && let Some(body) = self.not_held(plan, frame, until, at, &fields, &mut verdict)
        {
            return body;
        }
        if verdict.result.is_ok() {
            self.check(plan, frame, &node.expect, &fields, &mut verdict);
        }
        let mut then = None;
        if let Err(failure) = &verdict.result {
            verdict.again = self.retry_at(plan, frame, node, failure, at);
            if verdict.again.is_none() {
                then = Some(self.then(plan, frame, node, failure));
                self.raise(plan, frame, failure, then, &mut verdict.findings);
            }
        }
        let state = match &verdict.result {
            _ if verdict.again.is_some() => StepState::Running,
            Err(failure) if failure.class == Class::Refused => StepState::Refused,
            Err(_) => StepState::Failed,
            Ok(_) if by_look && node.effect > Effect::Read => StepState::Already,
            Ok(_) if self.has_changed(node, frame) => StepState::Changed,
            Ok(_) => StepState::Ok,
        };
        let failure = verdict.result.err();
        let result = match failure {
            None => self.stored(node, fields),
            Some(_) => Fields::new(),
        };
        Body::Finished(Box::new(Finished {
            attempt,
            state,
            result,
            failure,
            findings: verdict.findings,
            again: verdict.again,
            took,
            output,
            then,
        }))
    }

    fn has_changed(&self, node: &Node, frame: FrameId) -> bool {
        match &node.body {
            NodeBody::Work(_) | NodeBody::Notify { .. } => node.effect > Effect::Read,
            _ => self.frames[frame].inside.changed,
        }
    }

    fn common(&self, node: &Node, frame: FrameId, at: Time, took: Span, by_look: bool) -> Fields {
        let changed = !by_look && self.has_changed(node, frame);
        Fields::from([
            ("ok".to_owned(), Value::Bool(true)),
            ("ran".to_owned(), Value::Bool(true)),
            ("changed".to_owned(), Value::Bool(changed)),
            ("at".to_owned(), Value::Time(at)),
            ("duration".to_owned(), Value::Duration(took)),
            (
                "attempts".to_owned(),
                Value::Int(i64::from(self.frames[frame].attempt.max(1))),
            ),
        ])
    }

    /// Asks an `until`: returns the event of a try whose condition does not hold yet; turns a passed deadline into a
    /// failure.
    fn not_held(
        &self,
        plan: &Plan,
        frame: FrameId,
        until: &Until,
        at: Time,
        fields: &Fields,
        verdict: &mut Verdict,
    ) -> Option<Body> {
        let tries = self.frames[frame].tries;
        let span = |tree: &crate::plan::Tree| self.read_tree::<Span>(plan, frame, tree);
        let (within, stable_for) = match (
            span(&until.within),
            until.stable_for.as_ref().map(span).transpose(),
        ) {
            (Ok(Some(within)), Ok(stable_for)) => (within, stable_for.flatten()),
            (Err(failure), _) | (_, Err(failure)) => {
                verdict.result = Err(failure);
                return None;
            }
            // A preview can't know how long; the answer is unknown as well.
            (Ok(None), _) => return None,
        };
        let deadline = tries
            .since
            .unwrap_or(at)
            .milliseconds
            .saturating_add(within.milliseconds);
        let value = Value::map(fields.clone());
        let held = match &verdict.result {
            Ok(_) => match self.holds(plan, frame, &until.that, Some(&value)) {
                Ok(None) => return None,
                Ok(Some(held)) => held,
                Err(failure) => {
                    verdict.result = Err(failure);
                    return None;
                }
            },
            Err(failure) => match failure.class {
                Class::Transport | Class::Timeout | Class::Exit => false,
                _ => return None,
            },
        };
        let found = match &verdict.result {
            Ok(_) => self.explain(plan, frame, &until.that, Some(&value)),
            Err(failure) => failure.line(),
        };
        let held_since = held.then(|| tries.held_since.unwrap_or(at));
        if let Some(since) = held_since {
            let needed = stable_for.unwrap_or_default().milliseconds;
            if at.milliseconds - since.milliseconds >= needed {
                return None;
            }
            if since.milliseconds + needed <= deadline {
                return Some(Body::NotYet {
                    attempt: tries.count + 1,
                    found,
                    held_since,
                });
            }
        } else if at.milliseconds < deadline
            && at.milliseconds + stable_for.unwrap_or_default().milliseconds <= deadline
        {
            return Some(Body::NotYet {
                attempt: tries.count + 1,
                found,
                held_since,
            });
        }
        let source = until.that.text();
        let message = match stable_for {
            Some(stable) => {
                format!("`{source}` did not hold for {stable} without a break within {within}")
            }
            None => format!("`{source}` did not hold within {within}"),
        };
        let mut failure = Failure::new(Class::Timeout, message);
        failure.causes.push(found);
        verdict.result = Err(failure);
        None
    }

    /// Takes in a try whose condition does not hold yet: the next one comes after `every`.
    pub(super) fn not_yet(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        attempt: u32,
        held_since: Option<Time>,
    ) {
        self.answered(frame);
        let Some(node) = self.node(plan, frame) else {
            return;
        };
        let every = node
            .until
            .as_ref()
            .and_then(|until| {
                self.read_tree::<Span>(plan, frame, &until.every)
                    .ok()
                    .flatten()
            })
            .unwrap_or(Span::from_seconds(1));
        let now = self.now;
        let this = &mut self.frames[frame];
        this.acting = false;
        this.tries.count = attempt;
        this.tries.since.get_or_insert(now);
        this.tries.held_since = held_since;
        this.phase = Phase::Sleep(Time {
            milliseconds: now.milliseconds + every.milliseconds,
            ..now
        });
        self.advance(plan, frame);
    }

    fn check(
        &self,
        plan: &Plan,
        frame: FrameId,
        expects: &[Expect],
        fields: &Fields,
        verdict: &mut Verdict,
    ) {
        let result = Value::map(fields.clone());
        for expect in expects {
            let misses = match &expect.each {
                None => self
                    .miss(plan, frame, expect, &result, &[])
                    .map(|miss| miss.into_iter().collect()),
                Some(each) => self.misses(plan, frame, expect, each, &result),
            };
            match (misses, expect.severity) {
                (Err(failure), _) => {
                    verdict.result = Err(failure);
                    return;
                }
                (Ok(misses), ExpectSeverity::Finding(severity)) => {
                    verdict
                        .findings
                        .extend(misses.into_iter().map(|title| Finding {
                            severity,
                            title,
                            advice: None,
                        }));
                }
                (Ok(misses), ExpectSeverity::Failure) if !misses.is_empty() => {
                    let mut failure = Failure::new(Class::Expect, misses[0].clone());
                    failure.causes.extend(misses.into_iter().skip(1));
                    verdict.result = Err(failure);
                    return;
                }
                _ => {}
            }
        }
    }

    fn misses(
        &self,
        plan: &Plan,
        frame: FrameId,
        expect: &Expect,
        each: &Expression,
        result: &Value,
    ) -> Result<Vec<String>, Failure> {
        let items = match self.eval(plan, frame, each, Some(result))? {
            Value::List(items) => items,
            Value::Unknown(_) => return Ok(Vec::new()),
            other => {
                return Err(Failure::internal(format!(
                    "go through `each`: it is a {}, not a list",
                    other.kind()
                )));
            }
        };
        let mut misses = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let locals = [("item", item.clone()), ("index", Value::Int(index as i64))];
            misses.extend(self.miss(plan, frame, expect, result, &locals)?);
        }
        Ok(misses)
    }

    /// Returns what to tell people when the condition does not hold.
    fn miss(
        &self,
        plan: &Plan,
        frame: FrameId,
        expect: &Expect,
        result: &Value,
        locals: &[(&'static str, Value)],
    ) -> Result<Option<String>, Failure> {
        let names = self
            .names(plan, frame)
            .with_result(Some(result))
            .with(locals);
        let held = match expect.that.eval(&names) {
            Ok(Value::Bool(held)) => held,
            Ok(Value::Unknown(_)) => return Ok(None),
            Ok(other) => {
                let what = format!(
                    "check `{}`: it is a {}, not true or false",
                    expect.that.text(),
                    other.kind()
                );
                return Err(Failure::internal(what));
            }
            Err(error) => {
                let mut failure = Failure::new(
                    Class::Expect,
                    format!("check `{}`: {}", expect.that.text(), error.message),
                );
                failure
                    .causes
                    .extend(super::names::parts(&expect.that, &names));
                return Err(failure);
            }
        };
        if held {
            return Ok(None);
        }
        let parts = super::names::parts(&expect.that, &names).join(", ");
        Ok(Some(match &expect.otherwise {
            Some(otherwise) => super::names::text(otherwise, &names),
            None => format!("expected `{}`, but {parts}", expect.that.text()),
        }))
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
        let attempt = self.frames[frame].attempt.max(1);
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

    /// Returns what a failure does: the innermost that is written wins.
    fn then(&self, plan: &Plan, frame: FrameId, node: &Node, failure: &Failure) -> OnFailure {
        if self.stopping.is_some() && failure.class == Class::Cancelled {
            return OnFailure::Stop;
        }
        if let Some(written) = node.on_failure {
            return written;
        }
        if self.past_no_return {
            return OnFailure::Stop;
        }
        let around = self
            .ancestors(frame)
            .find_map(|frame| match self.frames[frame].role {
                Role::Step(node) => plan.node(node).on_failure,
                Role::Playbook(scope) => plan.scope(scope).on_failure,
                _ => None,
            });
        around.unwrap_or(OnFailure::Rollback)
    }

    /// Adds the critical finding of a failure that is passed over.
    fn raise(
        &self,
        plan: &Plan,
        frame: FrameId,
        failure: &Failure,
        then: Option<OnFailure>,
        findings: &mut Vec<Finding>,
    ) {
        let passed_over = then == Some(OnFailure::Continue) || self.block_of(frame) == Role::Always;
        if passed_over {
            let name = self
                .node(plan, frame)
                .map_or_else(String::new, |node| self.name_of(plan, frame, node));
            findings.push(Finding {
                severity: Severity::Critical,
                title: format!("{name}: {}", failure.line()),
                advice: failure.hint.clone(),
            });
        }
    }

    fn name_of(&self, plan: &Plan, frame: FrameId, node: &Node) -> String {
        match &node.title {
            Some(title) => self.text(plan, frame, title, None),
            None => self.frames[frame].key.to_string(),
        }
    }

    fn probed(&self, plan: &Plan, frame: FrameId, result: Result<Value, Failure>) -> Asserted {
        let (guard, which) = match (self.frames[frame].phase.clone(), self.frames[frame].role) {
            (Phase::Guards(index), Role::Step(node)) => {
                (plan.node(node).guards.get(index), Assertion::Guard(index))
            }
            (Phase::Guards(index), Role::Playbook(scope)) => {
                (plan.scope(scope).guards.get(index), Assertion::Guard(index))
            }
            (Phase::Unless | Phase::Settle(Settle::Unless), Role::Step(node)) => {
                (plan.node(node).unless.as_ref(), Assertion::Unless)
            }
            _ => (None, Assertion::Unless),
        };
        match (guard, result) {
            (Some(guard), Ok(result)) => self.assert(plan, frame, guard, which, Some(&result)),
            (_, Err(failure)) => Asserted {
                which,
                holds: Some(false),
                why: String::new(),
                error: Some(failure),
            },
            (None, Ok(_)) => Asserted {
                which,
                holds: None,
                why: String::new(),
                error: None,
            },
        }
    }

    pub(super) fn judge_finding(&self, plan: &Plan, frame: FrameId, finding: Finding) -> Body {
        match self.judge(
            plan,
            frame,
            Ok(Value::map(Fields::new())),
            Span::default(),
            Vec::new(),
        ) {
            Body::Finished(mut finished) => {
                finished.findings.insert(0, finding);
                Body::Finished(finished)
            }
            body => body,
        }
    }

    pub(super) fn judge_reply(&self, plan: &Plan, frame: FrameId, reply: &Reply) -> Body {
        let remark = |remark: &str| Fields::from([("remark".to_owned(), Value::text(remark))]);
        let result = match reply {
            Reply::Values(values) => Ok(Value::map(values.clone())),
            Reply::Done { remark: text } => Ok(Value::map(remark(text))),
            Reply::Yes => Ok(Value::map(Fields::new())),
            Reply::Skip { remark } => {
                return Body::Skipped {
                    why: format!("left out by a person: {remark}"),
                };
            }
            Reply::Failed { remark } => Err(Failure::new(
                Class::Expect,
                format!("a person says that it could not be done: {remark}"),
            )),
            Reply::No { why } => Err(Failure::refused(why.clone())),
            _ => Err(Failure::refused("the answer does not fit the question")),
        };
        self.judge(plan, frame, result, Span::default(), Vec::new())
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

    pub(super) fn settle_record(&mut self, frame: FrameId, how: Settlement) {
        self.record(frame, Body::Settled { how });
    }

    pub(super) fn ask_after_failure(&mut self, _plan: &Plan) {
        let Some(Halt {
            frame: Some(frame),
            why,
            ..
        }) = self.halt.clone()
        else {
            if let Some(halt) = &mut self.halt {
                halt.then = OnFailure::Stop;
            }
            let why = self
                .halt
                .as_ref()
                .map(|halt| halt.why.clone())
                .unwrap_or_default();
            return self.record_run(Body::Stopped { why });
        };
        let question = crate::event::Question {
            ask: crate::event::Ask::OnFailure(why.clone()),
            message: why,
            action: None,
            change: None,
            undo: None,
        };
        let id = CommandId {
            step: self.frames[frame].key.clone(),
            phase: super::JobPhase::Ask,
            attempt: 0,
        };
        self.run_due = Some(self.push(super::Command {
            id,
            job: Job::Ask(Box::new(question)),
        }));
    }
}

/// What has been made of a result so far.
struct Verdict {
    result: Result<Value, Failure>,
    findings: Vec<Finding>,
    again: Option<Time>,
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
