//! The machine: a fold over events, with no IO.
//!
//! ```text
//! events --apply--> State --decide--> commands --driver--> the world --answers--> event --> events
//! ```
//!
//! [`State::apply`] moves a frontier that the state holds; [`State::decide`] returns what the last event made due;
//! [`State::due`] lists everything that is due and unanswered, which is what a driver takes up after a resume.
//! [`State::event`] turns an answer into the event to write down, with the machine's own verdict in it: what a retry, an
//! `expect` or an `until` made of a result is decided once, written down, and never worked out again on replay.
//! What an event costs depends on neither the length nor the width of the playbook.

mod advance;
mod command;
mod frame;
mod judge;
mod names;
mod resume;
mod rollback;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

pub use self::command::{Answer, Command, CommandId, Job, JobPhase, NotDue, Task};
use self::{
    frame::{Env, EnvId, Frame, FrameId, Inside, Phase, Role, Settle, Tries},
    rollback::Registered,
};
use crate::{
    event::{
        Asserted, Assertion, Begun, Body, Ended, Event, Finding, Finished, Outcome, Reply, StepKey,
        StepState,
    },
    kind::{Class, Failure},
    plan::{self, NodeId, OnFailure, Plan, ScopeId},
    units::Time,
    value::Value,
};

/// How far a run has come.
#[derive(Clone, Debug, Default)]
pub struct State {
    begun: Option<Arc<Begun>>,
    started_at: Time,
    now: Time,
    mode: Mode,
    frames: Vec<Frame>,
    keys: HashMap<StepKey, FrameId>,
    envs: Vec<Env>,
    due: BTreeMap<u64, Command>,
    fresh: Vec<u64>,
    serial: u64,
    run_due: Option<u64>,
    /// Frames that wait because the run is halted.
    suspended: Vec<FrameId>,
    halt: Option<Halt>,
    stopping: Option<String>,
    registered: Vec<Registered>,
    /// What is being undone.
    undoing: Option<usize>,
    /// Scopes whose `always` is still to run.
    always: Vec<(EnvId, ScopeId)>,
    past_no_return: bool,
    any_started: bool,
    findings: Vec<(StepKey, Finding)>,
    ended: Option<Ended>,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It has not begun.
    #[default]
    Fresh,
    /// It works.
    Working,
    /// It undoes its changes.
    RollingBack,
    /// It runs what runs last.
    Always,
    /// It has stopped where it was.
    Stopped,
    /// It has ended.
    Ended,
}

/// Why nothing new starts.
#[derive(Clone, Debug)]
struct Halt {
    then: OnFailure,
    why: String,
    class: Class,
    frame: Option<FrameId>,
}

impl State {
    /// Returns the state before anything has happened.
    pub fn new() -> State {
        State::default()
    }

    /// Returns the state after all of `events`.
    pub fn replay<'a>(plan: &Plan, events: impl IntoIterator<Item = &'a Event>) -> State {
        let mut state = State::new();
        for event in events {
            state.apply(plan, event);
        }
        state
    }

    /// Returns the commands that the last event made due.
    pub fn decide(&self) -> Vec<Command> {
        self.fresh
            .iter()
            .filter_map(|serial| self.due.get(serial))
            .cloned()
            .collect()
    }

    /// Returns every command that is due and unanswered, in the order in which they became so.
    pub fn due(&self) -> Vec<Command> {
        self.due.values().cloned().collect()
    }

    /// Returns what the run is doing.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns how the run began.
    pub fn begun(&self) -> Option<&Arc<Begun>> {
        self.begun.as_ref()
    }

    /// Returns the end of the run.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// Returns when the run began.
    pub fn started_at(&self) -> Time {
        self.started_at
    }

    /// Returns how many steps stand how.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for frame in self
            .frames
            .iter()
            .filter(|frame| matches!(frame.role, Role::Step(_)))
        {
            *counts.entry(frame.state.word().to_owned()).or_default() += 1;
        }
        counts
    }

    /// Returns why a run that has stopped did so.
    pub fn stopped_why(&self) -> Option<String> {
        match (&self.stopping, &self.halt) {
            (Some(by), _) => Some(format!("stopped by {by}")),
            (None, Some(halt)) => Some(halt.why.clone()),
            (None, None) => None,
        }
    }

    /// Returns whether a run that has stopped did so because a step failed.
    pub fn is_stopped_by_failure(&self) -> bool {
        self.stopping.is_none() && self.halt.is_some()
    }

    /// Returns the time of the last event.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Returns every finding so far with the step it belongs to.
    pub fn findings(&self) -> &[(StepKey, Finding)] {
        &self.findings
    }

    /// Returns how the step at `key` stands.
    pub fn step_state(&self, key: &str) -> StepState {
        self.keys
            .get(key)
            .map_or(StepState::Pending, |frame| self.frames[*frame].state)
    }

    /// Returns the node that the step at `key` comes from.
    pub fn node_of(&self, key: &str) -> Option<NodeId> {
        match self.frames[*self.keys.get(key)?].role {
            Role::Step(node) => Some(node),
            _ => None,
        }
    }

    /// Returns how many structural steps the step at `key` lies inside.
    pub fn depth_of(&self, key: &str) -> usize {
        let Some(frame) = self.keys.get(key) else {
            return 0;
        };
        self.ancestors(*frame)
            .filter(|frame| matches!(self.frames[*frame].role, Role::Step(_)))
            .count()
    }

    /// Returns the title of the step at `key`, as far as it can be worked out now.
    pub fn title_of(&self, plan: &Plan, key: &str) -> Option<String> {
        let frame = *self.keys.get(key)?;
        let Role::Step(node) = self.frames[frame].role else {
            return None;
        };
        let title = plan.node(node).title.as_ref()?;
        match title.render(&self.names(plan, frame)) {
            Ok(Value::Unknown(_)) | Err(_) => Some(title.text().to_owned()),
            Ok(value) => Some(value.to_text().unwrap_or_else(|_| value.display())),
        }
    }

    /// Returns whether the run has changed anything that is not undone.
    pub fn is_dirty(&self) -> bool {
        self.registered.iter().any(|undo| undo.result.is_none())
    }

    /// Returns whether anything was written down that acts.
    pub fn any_started(&self) -> bool {
        self.any_started
    }

    /// Returns the state from which a new run undoes what this one has left.
    pub fn take_over(mut self) -> State {
        self.clear_due();
        self.mode = Mode::Fresh;
        self.ended = None;
        self.halt = None;
        self.stopping = None;
        self.findings.clear();
        self.suspended.clear();
        self.always.clear();
        self.undoing = None;
        self
    }

    /// Takes in what has happened.
    pub fn apply(&mut self, plan: &Plan, event: &Event) {
        self.now = self.now.max(event.at);
        self.fresh.clear();
        match &event.body {
            Body::Begun(begun) => self.begin(plan, begun),
            Body::Stopping { by } => self.stopping = Some(by.clone()),
            Body::Stopped { .. } => {
                self.answered_run();
                self.mode = Mode::Stopped;
            }
            Body::Resumed { goal, .. } => self.resume(plan, *goal),
            Body::RollingBack { .. } => {
                self.answered_run();
                self.mode = Mode::RollingBack;
                self.roll_back(plan);
            }
            Body::Undone(undone) => self.undone(plan, &event.step, undone),
            Body::Undoing { .. } => {}
            Body::Always => {
                self.answered_run();
                self.mode = Mode::Always;
                self.next_always(plan);
            }
            Body::Ended(ended) => {
                self.answered_run();
                self.mode = Mode::Ended;
                self.ended = Some(ended.clone());
            }
            Body::Raised(finding) => {
                self.answered_run();
                self.findings.push((event.step.clone(), finding.clone()));
            }
            body => self.apply_to_step(plan, event, body),
        }
        self.quiet(plan);
    }

    fn begin(&mut self, plan: &Plan, begun: &Begun) {
        self.begun = Some(Arc::new(begun.clone()));
        self.started_at = self.now;
        self.mode = Mode::Working;
        if begun.undoes.is_some() {
            self.halt = Some(Halt {
                then: OnFailure::Rollback,
                why: format!("asked for by {}", begun.user),
                class: Class::Cancelled,
                frame: None,
            });
            return;
        }
        let env = self.enter_scope(plan, ScopeId(0), &begun.inputs, String::new());
        let frame = self.new_frame(Role::Playbook(ScopeId(0)), None, env, "".into());
        self.frames[frame].phase = Phase::Require;
        self.frames[frame].inside = Inside::nodes(plan.root().steps.as_slice().into(), 1);
        self.advance(plan, frame);
    }

    fn apply_to_step(&mut self, plan: &Plan, event: &Event, body: &Body) {
        let Some(&frame) = self.keys.get(&event.step) else {
            return;
        };
        match body {
            Body::Required { missing } => {
                self.answered(frame);
                if missing.is_empty() {
                    self.frames[frame].phase = Phase::Guards(0);
                    self.advance(plan, frame);
                } else {
                    self.halt_run(
                        None,
                        OnFailure::Rollback,
                        Class::Refused,
                        &missing.join("; "),
                    );
                }
            }
            Body::Asserted(asserted) => self.asserted(plan, frame, asserted),
            Body::Skipped { .. } => {
                self.answered(frame);
                self.end_step(plan, frame, StepState::Skipped, None);
            }
            Body::Entered { rounds, branch } => {
                self.entered(plan, frame, rounds.as_deref(), *branch)
            }
            Body::Looked { action, look } => self.looked(plan, frame, action, look),
            Body::Asked(_) => {}
            Body::Answered {
                question,
                by,
                reply,
            } => self.replied(plan, frame, question, by, reply),
            Body::Started {
                attempt,
                action,
                before,
                undo,
            } => {
                self.started(
                    plan,
                    frame,
                    *attempt,
                    action,
                    before.as_ref(),
                    undo.as_ref(),
                );
            }
            Body::Finished(finished) => self.finished(plan, frame, finished),
            Body::NotYet {
                attempt,
                held_since,
                ..
            } => self.not_yet(plan, frame, *attempt, *held_since),
            Body::Woke => {
                self.answered(frame);
                self.frames[frame].phase = Phase::Start;
                self.advance(plan, frame);
            }
            Body::Settled { how } => self.settled(plan, frame, how),
            _ => {}
        }
    }

    fn asserted(&mut self, plan: &Plan, frame: FrameId, asserted: &Asserted) {
        self.answered(frame);
        let holds = asserted.holds;
        match (self.frames[frame].phase.clone(), asserted.which) {
            (Phase::Settle(Settle::Unless), _) => {
                if holds == Some(true) {
                    self.settle_done(plan, frame, &Value::map(Default::default()));
                } else {
                    self.frames[frame].phase = Phase::Settle(Settle::Look);
                    self.advance(plan, frame);
                }
            }
            (_, Assertion::Unless) => match (&asserted.error, holds) {
                (Some(failure), _) => self.fail_later(plan, frame, failure.clone()),
                (None, Some(true)) => {
                    self.end_step(plan, frame, StepState::Already, Some(Default::default()))
                }
                _ => {
                    self.frames[frame].phase = Phase::Look;
                    self.advance(plan, frame);
                }
            },
            (_, Assertion::Guard(index)) => {
                let refused = match &asserted.error {
                    Some(failure) => Some(failure.clone()),
                    None if holds == Some(false) => Some(Failure::refused(asserted.why.clone())),
                    None => None,
                };
                match refused {
                    Some(failure) => self.fail_later(
                        plan,
                        frame,
                        Failure {
                            class: Class::Refused,
                            ..failure
                        },
                    ),
                    None => {
                        self.frames[frame].phase = Phase::Guards(index + 1);
                        self.advance(plan, frame);
                    }
                }
            }
        }
    }

    /// Ends `frame` with `failure`: a step by an event of its own, a playbook by halting the run.
    fn fail_later(&mut self, plan: &Plan, frame: FrameId, failure: Failure) {
        match self.frames[frame].role {
            Role::Step(_) => {
                let body = self.judge(plan, frame, Err(failure), Default::default(), Vec::new());
                self.record(frame, body);
            }
            _ => {
                let owner = self.frames[frame].parent;
                match owner {
                    // A called playbook that is refused fails its `call` step.
                    Some(call) => {
                        self.frames[frame].phase = Phase::Ended;
                        let body =
                            self.judge(plan, call, Err(failure), Default::default(), Vec::new());
                        self.record(call, body);
                    }
                    None => {
                        let class = failure.class;
                        self.halt_run(None, OnFailure::Rollback, class, &failure.line());
                    }
                }
            }
        }
    }

    fn finished(&mut self, plan: &Plan, frame: FrameId, finished: &Finished) {
        self.answered(frame);
        let key = self.frames[frame].key.clone();
        self.findings.extend(
            finished
                .findings
                .iter()
                .map(|finding| (key.clone(), finding.clone())),
        );
        let this = &mut self.frames[frame];
        this.acting = false;
        if let Some(again) = finished.again {
            this.phase = Phase::Sleep(again);
            this.state = StepState::Running;
            self.advance(plan, frame);
            return;
        }
        if !matches!(finished.state, StepState::Failed | StepState::Refused) {
            self.end_step(
                plan,
                frame,
                finished.state,
                Some(self.kept(plan, frame, finished)),
            );
            return;
        }
        let failure = finished
            .failure
            .clone()
            .unwrap_or_else(|| Failure::internal("fail"));
        let result = self.kept(plan, frame, finished);
        if self.stopping.is_some() && !self.is_aside(frame) {
            let this = &mut self.frames[frame];
            this.state = StepState::Failed;
            this.phase = Phase::Unless;
            self.suspended.push(frame);
            return;
        }
        let then = finished.then.unwrap_or(OnFailure::Rollback);
        if then == OnFailure::Continue || self.is_aside(frame) {
            self.end_step(plan, frame, finished.state, Some(result));
            return;
        }
        let this = &mut self.frames[frame];
        this.state = finished.state;
        this.phase = Phase::Unless;
        this.result = Some(Value::map(result));
        self.halt_run(
            Some(frame),
            then,
            failure.class,
            &format!("step `{key}` failed: {}", failure.line()),
        );
    }

    fn halt_run(&mut self, frame: Option<FrameId>, then: OnFailure, class: Class, why: &str) {
        match &self.halt {
            // The first failure names the reason; the strongest consequence of any holds.
            Some(_) => {
                if let Some(frame) = frame {
                    self.suspended.push(frame);
                }
            }
            None => {
                self.halt = Some(Halt {
                    then,
                    why: why.to_owned(),
                    class,
                    frame,
                })
            }
        }
    }

    fn replied(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        question: &crate::kind::Digest,
        by: &str,
        reply: &Reply,
    ) {
        self.answered(frame);
        if let Some(halt) = self
            .halt
            .clone()
            .filter(|halt| halt.then == OnFailure::Ask && halt.frame == Some(frame))
        {
            self.answered_run();
            self.after_failure(plan, frame, halt, reply);
            return;
        }
        match self.frames[frame].phase {
            Phase::Settle(_) => match command::settlement(reply) {
                crate::event::Settlement::Done(value) => self.settle_done(plan, frame, &value),
                crate::event::Settlement::Redo => self.redo(plan, frame),
                crate::event::Settlement::Undo => self.settle_undo(frame),
            },
            Phase::Confirm => match reply {
                Reply::Yes => {
                    let this = &mut self.frames[frame];
                    this.confirmed = Some(question.clone());
                    // Time has passed while a person thought: what was looked at is looked at again.
                    this.phase = if by.starts_with("--") || by == PREVIEW {
                        Phase::Start
                    } else {
                        Phase::Unless
                    };
                    self.advance(plan, frame);
                }
                Reply::No { why } => self.fail_later(plan, frame, Failure::refused(why.clone())),
                _ => self.fail_later(
                    plan,
                    frame,
                    Failure::refused("the question was not answered with yes or no"),
                ),
            },
            _ => {
                let body = self.judge_reply(plan, frame, reply);
                self.record(frame, body);
            }
        }
    }

    fn after_failure(&mut self, plan: &Plan, frame: FrameId, halt: Halt, reply: &Reply) {
        match reply {
            Reply::Retry => {
                self.halt = None;
                self.wake_all(plan, Some(frame));
            }
            Reply::Skip { .. } => {
                self.halt = None;
                let suspended = std::mem::take(&mut self.suspended);
                let result = self.frames[frame].result.take();
                let state = self.frames[frame].state;
                let fields = match result {
                    Some(Value::Map(fields)) => Some((*fields).clone()),
                    _ => None,
                };
                self.end_step(plan, frame, state, fields);
                for frame in suspended {
                    self.advance(plan, frame);
                }
            }
            Reply::RollBack => {
                self.halt = Some(Halt {
                    then: OnFailure::Rollback,
                    ..halt
                })
            }
            _ => {
                self.halt = Some(Halt {
                    then: OnFailure::Stop,
                    ..halt
                })
            }
        }
    }

    /// Ends a step and lets what is around it go on.
    fn end_step(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        state: StepState,
        result: Option<crate::value::Fields>,
    ) {
        let value = self.common_fields(plan, frame, state, result);
        let this = &mut self.frames[frame];
        this.state = state;
        this.phase = Phase::Ended;
        this.result = Some(value);
        this.needed = None;
        this.action = None;
        this.inside = Inside::nothing();
        let parent = this.parent;
        if let Some(parent) = parent {
            self.inside_ended(plan, parent, state);
        }
    }

    fn inside_ended(&mut self, plan: &Plan, parent: FrameId, state: StepState) {
        let failed = matches!(state, StepState::Failed | StepState::Refused);
        let gives_up = failed && matches!(self.block_of(parent), Role::Rollback(_));
        let inside = &mut self.frames[parent].inside;
        inside.live -= 1;
        inside.changed |= state == StepState::Changed;
        if gives_up {
            inside.failed = true;
            inside.next = inside.len();
        }
        self.run_inside(plan, parent);
    }

    /// When nothing runs any more and something is to happen to the run as a whole: makes that due.
    fn quiet(&mut self, plan: &Plan) {
        if !self.due.is_empty() || matches!(self.mode, Mode::Fresh | Mode::Stopped | Mode::Ended) {
            return;
        }
        if let Some(by) = &self.stopping {
            let why = format!("stopped by {by}");
            self.record_run(Body::Stopped { why });
            return;
        }
        let Some(halt) = &self.halt else { return };
        if self.mode != Mode::Working {
            return;
        }
        match halt.then {
            OnFailure::Rollback => {
                let why = halt.why.clone();
                self.record_run(Body::RollingBack { why });
            }
            OnFailure::Stop | OnFailure::Continue => {
                let why = halt.why.clone();
                self.record_run(Body::Stopped { why });
            }
            OnFailure::Ask => self.ask_after_failure(plan),
        }
    }

    fn issue(&mut self, frame: FrameId, phase: JobPhase, job: Job) {
        let step = self.frames[frame].key.clone();
        let attempt = match phase {
            JobPhase::Perform => self.frames[frame].attempt + 1,
            _ => 0,
        };
        let serial = self.push(Command {
            id: CommandId {
                step,
                phase,
                attempt,
            },
            job,
        });
        self.frames[frame].due = Some(serial);
    }

    fn push(&mut self, command: Command) -> u64 {
        self.serial += 1;
        self.due.insert(self.serial, command);
        self.fresh.push(self.serial);
        self.serial
    }

    fn record(&mut self, frame: FrameId, body: Body) {
        self.issue(frame, JobPhase::Record, Job::Record(Box::new(body)));
    }

    fn record_run(&mut self, body: Body) {
        self.record_about("".into(), body);
    }

    fn record_about(&mut self, step: StepKey, body: Body) {
        let id = CommandId {
            step,
            phase: JobPhase::Record,
            attempt: 0,
        };
        self.run_due = Some(self.push(Command {
            id,
            job: Job::Record(Box::new(body)),
        }));
    }

    fn answered(&mut self, frame: FrameId) {
        if let Some(serial) = self.frames[frame].due.take() {
            self.due.remove(&serial);
        }
    }

    fn answered_run(&mut self) {
        if let Some(serial) = self.run_due.take() {
            self.due.remove(&serial);
        }
    }

    fn clear_due(&mut self) {
        self.due.clear();
        self.fresh.clear();
        self.run_due = None;
        for frame in &mut self.frames {
            frame.due = None;
        }
    }

    fn new_frame(
        &mut self,
        role: Role,
        parent: Option<FrameId>,
        env: EnvId,
        key: StepKey,
    ) -> FrameId {
        let id = self.frames.len();
        if matches!(role, Role::Step(_)) || key.is_empty() {
            self.keys.insert(key.clone(), id);
        }
        self.frames.push(Frame {
            role,
            parent,
            env,
            key,
            phase: Phase::When,
            state: StepState::Pending,
            due: None,
            attempt: 0,
            needed: None,
            started: false,
            acting: false,
            action: None,
            confirmed: None,
            result: None,
            tries: Tries::default(),
            inside: Inside::nothing(),
        });
        id
    }

    fn ancestors(&self, frame: FrameId) -> impl Iterator<Item = FrameId> + '_ {
        std::iter::successors(self.frames[frame].parent, |frame| {
            self.frames[*frame].parent
        })
    }

    /// Returns the role of the innermost rollback, always or playbook that `frame` lies in, itself counted.
    fn block_of(&self, frame: FrameId) -> Role {
        std::iter::once(frame)
            .chain(self.ancestors(frame))
            .map(|frame| self.frames[frame].role)
            .find(|role| matches!(role, Role::Rollback(_) | Role::Always))
            .unwrap_or(Role::Playbook(ScopeId(0)))
    }

    /// Returns whether `frame` belongs to a rollback or to `always`, where failures change nothing else.
    fn is_aside(&self, frame: FrameId) -> bool {
        matches!(self.block_of(frame), Role::Rollback(_) | Role::Always)
    }

    fn node<'p>(&self, plan: &'p Plan, frame: FrameId) -> Option<&'p plan::Node> {
        match self.frames[frame].role {
            Role::Step(node) => Some(plan.node(node)),
            _ => None,
        }
    }
}

/// Who answers in a preview.
pub const PREVIEW: &str = "preview";

/// How a run ends, and what is left.
pub(super) fn outcome(state: &State) -> (Outcome, String) {
    let Some(halt) = &state.halt else {
        return (Outcome::Succeeded, String::new());
    };
    let remains = state.registered.iter().any(|undo| {
        undo.result
            .as_ref()
            .is_some_and(|result| result.remains().is_some())
    });
    let undone = state
        .registered
        .iter()
        .any(|undo| matches!(undo.result, Some(crate::event::UndoResult::Undone)));
    let rollback_run = state
        .begun
        .as_ref()
        .is_some_and(|begun| begun.undoes.is_some());
    let outcome = if remains {
        Outcome::RollbackIncomplete
    } else if undone || rollback_run {
        Outcome::RolledBack
    } else if halt.class == Class::Refused {
        Outcome::Refused
    } else {
        Outcome::Failed
    };
    (outcome, halt.why.clone())
}
