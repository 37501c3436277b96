//! The moving parts of a run: one frame for each step that has begun, and the names it sees.

use std::{collections::HashMap, sync::Arc};

use crate::{
    event::{StepKey, StepState},
    kind::Digest,
    plan::{NodeId, ScopeId},
    units::Time,
    value::Value,
};

/// The index of a frame.
pub(super) type FrameId = usize;

/// The index of an environment.
pub(super) type EnvId = usize;

/// A step that has begun, or a block of steps.
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
    /// What the last look found to be needed: the state before and the change in a line.
    pub needed: Option<(Value, String)>,
    /// Whether `needed` is fixed, because the step has started from it.
    pub started: bool,
    /// Whether the current attempt has started and not finished.
    pub acting: bool,
    /// What the look would do, for the question.
    pub action: Option<crate::kind::Description>,
    /// The question that was answered with yes.
    pub confirmed: Option<Digest>,
    /// The kept fields of its result.
    pub result: Option<Value>,
    /// When the first try of an `until` began, and since when its condition has held.
    pub tries: Tries,
    /// The steps or rounds inside.
    pub inside: Inside,
}

/// The tries of an `until`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    pub count: u32,
    pub since: Option<Time>,
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

/// What a frame is at. [`advance`](super::State) can be called again at any of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// Programs are looked for (the run's own playbook only).
    Require,
    When,
    Unless,
    Look,
    Guards(usize),
    Confirm,
    /// It is about to act.
    Start,
    /// It acts, or what is inside it does.
    Inside,
    /// It sleeps before the next attempt.
    Sleep(Time),
    /// It was acting when the engine died.
    Settle(Settle),
    Ended,
}

/// How far the settling of a step in doubt has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Settle {
    Unless,
    Look,
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
    /// One of them has failed or was refused.
    pub failed: bool,
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

impl Inside {
    pub(super) fn nothing() -> Inside {
        Inside::nodes(Arc::new([]), 1)
    }

    pub(super) fn nodes(nodes: Arc<[NodeId]>, at_once: usize) -> Inside {
        Inside {
            list: List::Nodes(nodes),
            next: 0,
            live: 0,
            at_once,
            failed: false,
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
