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

mod act;
mod adopt;
mod advance;
mod answer;
mod command;
mod due;
mod ending;
mod expect;
mod failure;
mod frame;
mod inside;
mod judge;
mod lock;
mod lost;
mod names;
mod resume;
mod rollback;
mod settle;
mod shown;
#[cfg(test)]
mod tests;
mod until;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use self::{
    adopt::Adopted,
    failure::Halt,
    frame::{Env, EnvId, FrameId, Frames, Phase, Role, Then},
    rollback::Registered,
};
pub use self::{
    command::{Answer, Command, CommandId, Job, JobPhase, NotDue, Task},
    shown::{Awaited, Patience, unknown_result},
};
use crate::{
    event::{Begun, Body, Ended, Event, Finding, Question, StepKey, StepState, Stop},
    kind::Class,
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
    frames: Frames,
    keys: HashMap<StepKey, FrameId>,
    envs: Vec<Env>,
    due: BTreeMap<u64, Command>,
    fresh: Vec<u64>,
    serial: u64,
    /// The command that is due for the run as a whole.
    run_due: Option<u64>,
    /// Whether it has stopped where it was.
    stopped: bool,
    /// Whether it waits for people or for time, without a process.
    waiting: bool,
    /// Who wants it to stop, and what becomes of it then.
    stopping: Option<(String, Stop)>,
    /// Frames that wait until the run goes on.
    suspended: Vec<FrameId>,
    /// The playbooks whose guards are asked once more, the next one last; nothing else goes on until then.
    rechecking: Vec<FrameId>,
    /// The names of the locks that the run holds.
    held: BTreeSet<String>,
    /// What had ended in the run that this one goes on from, and is not done again.
    adopted: HashMap<StepKey, Adopted>,
    /// How many frames belong to that run.
    taken_over: usize,
    /// Whether a person sits at the terminal of whoever works on it now.
    attended: bool,
    /// Failures after which nothing new starts; the first one names the reason.
    halts: Vec<Halt>,
    registered: Vec<Registered>,
    /// What is still to be undone, the next one last.
    open: Vec<usize>,
    /// What is being undone.
    undoing: Option<usize>,
    /// What was restarted again by an undo.
    restarted: HashSet<String>,
    /// Playbooks whose `always` is still to run.
    always: Vec<(EnvId, ScopeId)>,
    /// The rounds of each loop whose results are named.
    rounds: HashMap<FrameId, BTreeMap<String, EnvId>>,
    past_no_return: bool,
    /// Whether a step that changes something has started.
    changed: bool,
    /// How many findings of its own the run has.
    raised: usize,
    findings: Vec<(StepKey, Finding)>,
    ended: Option<Ended>,
    /// Who went on with the run last wanted it undone.
    undo_wanted: bool,
    /// Whether a person has cancelled it.
    cancelled: bool,
    /// Whether a person has given it up: nothing is undone.
    given_up: bool,
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
    /// It waits for people or for time, without a process.
    Waiting,
    /// It has stopped where it was.
    Stopped,
    /// It has ended.
    Ended,
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
        match (self.stopped, self.waiting) {
            (true, _) => Mode::Stopped,
            (false, true) => Mode::Waiting,
            (false, false) => self.mode,
        }
    }

    /// Returns the questions that are open, with the addresses of their steps.
    pub fn questions(&self) -> Vec<(StepKey, &Question)> {
        let due = self.due.values();
        due.filter_map(|command| match &command.job {
            Job::Ask(question) => Some((command.id.step.clone(), &**question)),
            _ => None,
        })
        .collect()
    }

    /// Returns who has said yes so far to the question that is open at `key`.
    pub fn approvals(&self, key: &str) -> Vec<String> {
        let question = self
            .questions()
            .into_iter()
            .find(|(step, _)| **step == *key);
        match (question, self.keys.get(key)) {
            (Some((_, question)), Some(frame)) => self.people(*frame, &question.digest()),
            _ => Vec::new(),
        }
    }

    /// Returns the names of the locks that the run holds, or held when it ended.
    pub fn held(&self) -> &BTreeSet<String> {
        &self.held
    }

    /// Returns whether a person asked for nothing but that the run is undone.
    pub fn is_undo_wanted(&self) -> bool {
        let undoes = self
            .begun
            .as_ref()
            .is_some_and(|begun| begun.undoes.is_some());
        undoes || self.undo_wanted
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
            .skip(self.taken_over)
            .filter(|frame| matches!(frame.role, Role::Step(_)))
        {
            *counts.entry(frame.state.word().to_owned()).or_default() += 1;
        }
        counts
    }

    /// Returns why a run that has stopped did so.
    pub fn stopped_why(&self) -> Option<String> {
        match (&self.stopping, self.halts.first()) {
            (Some((by, _)), _) => Some(format!("stopped by {by}")),
            (None, Some(halt)) => Some(halt.why.clone()),
            (None, None) => None,
        }
    }

    /// Returns whether a run that has stopped did so because a step failed.
    pub fn is_stopped_by_failure(&self) -> bool {
        self.stopping.is_none() && !self.halts.is_empty()
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

    /// Returns whether any step has run.
    pub fn any_started(&self) -> bool {
        self.root().is_some_and(|root| self.frames[root].started)
    }

    /// Returns the state from which a new run undoes what this one has left.
    ///
    /// What this one has tried to undo without success is tried once more.
    pub fn take_over(mut self) -> State {
        self.clear_due();
        let mut registered = self.registered;
        for undo in &mut registered {
            let remains = undo.result.as_ref().and_then(|result| result.remains());
            if remains.is_some() {
                undo.result = None;
            }
        }
        State {
            frames: self.frames,
            keys: self.keys,
            envs: self.envs,
            rounds: self.rounds,
            now: self.now,
            serial: self.serial,
            changed: self.changed,
            held: self.held,
            registered,
            ..State::default()
        }
    }

    /// Takes in what has happened.
    pub fn apply(&mut self, plan: &Plan, event: &Event) {
        self.now = self.now.max(event.at);
        self.fresh.clear();
        match &event.body {
            Body::Begun(begun) => self.begin(plan, begun),
            Body::Stopping { by, then, .. } => {
                self.stopping = Some((by.clone(), *then));
                self.withdraw();
            }
            Body::Waiting { .. } => self.waiting = true,
            Body::Stopped { .. } => {
                self.answered_run();
                self.stopped = true;
            }
            Body::Resumed {
                by, goal, attended, ..
            } => {
                self.attended = *attended;
                self.waiting = false;
                self.resume(plan, *goal, by);
            }
            Body::Locked(locked) => self.locked(plan, &event.step, locked),
            // What a person says to an interruption becomes a stop, or nothing.
            Body::Answered { .. } if event.step.is_empty() => {}
            Body::RollingBack { .. } => {
                self.answered_run();
                self.begin_rollback(plan);
            }
            Body::Undone(undone) => self.undone(plan, undone),
            Body::Undoing { .. } | Body::Ignored { .. } => {}
            Body::Always => {
                self.answered_run();
                self.mode = Mode::Always;
                self.next_always(plan);
            }
            Body::Ended(ended) => {
                self.answered_run();
                self.mode = Mode::Ended;
                self.ended = Some(ended.clone());
                self.settle_states();
            }
            Body::Raised(finding) => {
                self.answered_run();
                self.raised += 1;
                self.findings.push((event.step.clone(), finding.clone()));
                self.finish_run(plan);
            }
            body => self.apply_to_step(plan, event, body),
        }
        self.quiet(plan);
    }

    fn begin(&mut self, plan: &Plan, begun: &Begun) {
        self.begun = Some(Arc::new(begun.clone()));
        self.attended = begun.attended;
        self.started_at = self.now;
        self.mode = Mode::Working;
        if begun.undoes.is_some() {
            return self.halt(Halt {
                then: OnFailure::Rollback,
                why: format!("asked for by {}", begun.user),
                class: Class::Cancelled,
                frame: None,
            });
        }
        let root = self.enter_scope(plan, ScopeId(0), &begun.inputs, None);
        if self.name_vars_or_fail(plan, root, ScopeId(0)) {
            self.frames[root].phase = Phase::Require;
            self.advance(plan, root);
        }
    }

    fn apply_to_step(&mut self, plan: &Plan, event: &Event, body: &Body) {
        let Some(frame) = self.waiting_at(&event.step) else {
            return;
        };
        match body {
            Body::Required { missing } => {
                self.answered(frame);
                if missing.is_empty() {
                    self.frames[frame].phase = Phase::Lock;
                    self.advance(plan, frame);
                } else {
                    self.refuse_run(Class::Refused, missing.join("; "));
                }
            }
            Body::Asserted(asserted) => self.asserted(plan, frame, asserted),
            Body::Skipped { .. } => {
                self.answered(frame);
                self.end_step(plan, frame, StepState::Skipped, Default::default());
            }
            Body::Entered { rounds, branch } => {
                self.entered(plan, frame, rounds.as_deref(), *branch);
            }
            Body::Looked { action, look } => self.looked(plan, frame, action, look),
            Body::Asked(_) => {}
            Body::Answered {
                question,
                by,
                reply,
                ..
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
                self.frames[frame].phase = match self.frames[frame].phase {
                    Phase::Sleep(_, Then::Ask) => Phase::Unless,
                    _ => Phase::Start,
                };
                self.advance(plan, frame);
            }
            Body::Settled { how } => self.settled(plan, frame, how),
            Body::Adopted { state, result } => {
                self.answered(frame);
                self.end_step(plan, frame, *state, result.clone());
            }
            _ => {}
        }
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
