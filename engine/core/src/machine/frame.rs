//! The moving parts of a run: one frame for each step that has begun, and the names it sees.

use std::{
    collections::HashMap,
    ops::{Index, IndexMut},
    sync::Arc,
};

use crate::{
    event::{StepKey, StepState},
    kind::{Description, Digest, Failure},
    plan::{NodeId, ScopeId},
    units::Time,
    value::Value,
};

/// The index of a frame.
pub(super) type FrameId = usize;

/// The index of an environment.
pub(super) type EnvId = usize;

/// All frames of a run.
///
/// Tests count how often one is touched: what an event costs must not grow with the run.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    list: Vec<Frame>,
    #[cfg(test)]
    touched: std::cell::Cell<usize>,
}

impl Frames {
    pub(super) fn push(&mut self, frame: Frame) {
        self.list.push(frame);
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Frame> {
        self.touch(self.list.len());
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Frame> {
        self.touch(self.list.len());
        self.list.iter_mut()
    }

    #[cfg(test)]
    pub(super) fn touched(&self) -> usize {
        self.touched.get()
    }

    #[cfg(test)]
    fn touch(&self, times: usize) {
        self.touched.set(self.touched.get() + times);
    }

    #[cfg(not(test))]
    fn touch(&self, _: usize) {}
}

impl Index<FrameId> for Frames {
    type Output = Frame;

    fn index(&self, frame: FrameId) -> &Frame {
        self.touch(1);
        &self.list[frame]
    }
}

impl IndexMut<FrameId> for Frames {
    fn index_mut(&mut self, frame: FrameId) -> &mut Frame {
        self.touch(1);
        &mut self.list[frame]
    }
}

/// A step that has begun, or a block of steps.
///
/// What only a step at work needs is boxed and dropped at its end: a run keeps the frames of all its steps.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub role: Role,
    pub parent: Option<FrameId>,
    /// The names it sees.
    pub env: EnvId,
    pub key: StepKey,
    pub phase: Phase,
    pub state: StepState,
    /// The serial number of the command that is due for it.
    pub due: Option<u64>,
    /// Attempts that have started.
    pub attempt: u32,
    /// Whether it has started: what its look found before is fixed from then on.
    pub started: bool,
    /// Whether the current attempt has started and not finished.
    pub acting: bool,
    /// Whether its undo is registered.
    pub registered: bool,
    /// The kept fields of its result.
    pub result: Option<Value>,
    /// The called playbook, of a `call`.
    pub called: Option<FrameId>,
    pub shown: Option<Box<Shown>>,
    pub tries: Option<Box<Tries>>,
    pub inside: Option<Box<Inside>>,
}

/// What a look has found, and what a person said to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// What the step would do, or does.
    pub action: Option<Description>,
    /// The state before and the change in a line, where a change is needed.
    pub needed: Option<(Value, String)>,
    /// The question that was answered with yes, by as many as it needs.
    pub confirmed: Option<Digest>,
    /// Who has said yes to which question.
    pub approvals: Vec<(Digest, String)>,
    /// The question, its deadline left out, and when it was first asked.
    pub asked: Option<(Digest, Time)>,
}

/// The tries of a `retry` or an `until`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    /// Attempts that have failed. One that the engine's own end cut off is none of them.
    pub failed: u32,
    /// Tries whose condition did not hold.
    pub count: u32,
    /// When the first try of an `until`, or a wait, began.
    pub since: Option<Time>,
    /// Since when the condition of an `until` has held.
    pub held_since: Option<Time>,
}

/// What a frame stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A step.
    Step(NodeId),
    /// The steps of the run's own playbook, or of a called one.
    Playbook(ScopeId),
    /// A round of a `foreach`.
    Round,
    /// The `rollback` of a step: the index of the registered undo.
    Rollback(usize),
    /// The `always` of a scope.
    Always,
}

/// What a frame is at. A frame can be advanced again at any of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Programs are looked for (the run's own playbook only).
    Require,
    /// Locks are taken (playbooks only).
    Lock,
    When,
    Unless,
    Look,
    Guards(usize),
    Confirm,
    /// It is about to act.
    Start,
    /// It acts, or what is inside it does.
    Inside,
    /// It sleeps before the next attempt, which then acts at once or is asked everything again.
    Sleep(Time, Then),
    /// It was acting when the engine died.
    Settle(Settle),
    Ended,
}

/// What comes after a sleep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Then {
    /// The failed attempt had passed its guards and its confirm.
    Act,
    /// It failed before that.
    Ask,
}

/// How far the settling of a step in doubt has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Settle {
    Unless,
    Look,
    /// Its `unless` says that it is done; its look is to give the result.
    Result,
    Ask,
}

/// The steps or rounds inside a frame.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    pub list: List,
    /// The next one to begin.
    pub next: usize,
    /// How many have begun and not ended.
    pub live: usize,
    /// How many may be live at once.
    pub at_once: usize,
    /// Why the frame gives up, where one of them has failed and the run is not halted by it.
    pub failure: Option<Failure>,
    /// One of them has changed something.
    pub changed: bool,
}

/// What is inside.
#[derive(Clone, Debug)]
pub(super) enum List {
    Nodes(Arc<[NodeId]>),
    /// The rounds: key and item.
    Rounds(Arc<[(String, Value)]>),
}

impl Frame {
    pub(super) fn new(role: Role, parent: Option<FrameId>, env: EnvId, key: StepKey) -> Frame {
        Frame {
            role,
            parent,
            env,
            key,
            phase: Phase::When,
            state: StepState::Pending,
            due: None,
            attempt: 0,
            started: false,
            acting: false,
            registered: false,
            result: None,
            called: None,
            shown: None,
            tries: None,
            inside: None,
        }
    }

    pub(super) fn shown(&mut self) -> &mut Shown {
        self.shown.get_or_insert_default()
    }

    pub(super) fn tries(&mut self) -> &mut Tries {
        self.tries.get_or_insert_default()
    }

    /// Returns the state before the change, where a look or the start told it.
    pub(super) fn before(&self) -> Option<&Value> {
        let (before, _) = self.shown.as_ref()?.needed.as_ref()?;
        Some(before)
    }

    /// Returns what the step would do, or does.
    pub(super) fn action(&self) -> Option<&Description> {
        self.shown.as_ref()?.action.as_ref()
    }

    /// Returns the number of the attempt that the next answer belongs to.
    pub(super) fn current_attempt(&self) -> u32 {
        match self.acting || matches!(self.phase, Phase::Settle(_)) {
            true => self.attempt.max(1),
            false => self.attempt + 1,
        }
    }
}

impl Inside {
    pub(super) fn nodes(nodes: Arc<[NodeId]>, at_once: usize) -> Inside {
        Inside::new(List::Nodes(nodes), at_once)
    }

    pub(super) fn new(list: List, at_once: usize) -> Inside {
        Inside {
            list,
            next: 0,
            live: 0,
            at_once,
            failure: None,
            changed: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.list {
            List::Nodes(nodes) => nodes.len(),
            List::Rounds(rounds) => rounds.len(),
        }
    }
}

/// The names that frames see.
#[derive(Clone, Debug)]
pub(super) struct Env {
    /// The one around it, within the same playbook.
    pub parent: Option<EnvId>,
    pub scope: ScopeId,
    /// What stands before the id in the address of its steps.
    pub prefix: String,
    /// Inputs, vars, connections; or `item`, `index` and the item's own name; or `before` and `result`.
    pub locals: HashMap<String, Value>,
    /// The frames of its steps, by id.
    pub steps: HashMap<String, FrameId>,
}
