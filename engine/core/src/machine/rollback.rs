//! The undoing of a run: what was registered before each change, newest first, restarts last.

use super::{
    Job, JobPhase, Mode, State,
    frame::{Env, Frame, FrameId, Inside, Phase, Role},
};
use crate::{
    event::{Body, StepKey, StepState, UndoResult, Undone},
    kind::{Class, Description, Effect, UndoRecord},
    plan::{NodeId, Plan},
    units::{Span, Time},
    value::Value,
};

/// An undo, registered before its step acted.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub frame: FrameId,
    pub undo: Undo,
    /// What it undoes, in a line.
    pub action: String,
    /// When it was registered: a lapse is counted from here.
    pub at: Time,
    /// What came of it; none as long as it is open.
    pub result: Option<UndoResult>,
}

/// How a step is undone.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    /// By its kind.
    Kind(UndoRecord),
    /// By the steps of its `rollback`, which see the state before.
    Steps(Vec<NodeId>, Option<Value>),
    /// Not at all.
    Irreversible(String),
}

impl Undo {
    fn again(&self) -> Option<&str> {
        match self {
            Undo::Kind(record) => record.again.as_deref(),
            _ => None,
        }
    }
}

impl State {
    /// Registers how a step that is about to act is undone; the first time only.
    pub(super) fn register_step(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        action: &Description,
        undo: Option<&UndoRecord>,
    ) {
        let Some(node) = self.node(plan, frame) else {
            return;
        };
        let undo = match (&node.irreversible, &node.rollback) {
            (Some(why), _) if node.effect > Effect::Read => Some(Undo::Irreversible(why.clone())),
            (_, Some(steps)) if steps.is_empty() => None,
            (_, Some(steps)) => {
                let before = self.frames[frame].before().cloned();
                Some(Undo::Steps(steps.clone(), before))
            }
            _ => undo.cloned().map(Undo::Kind),
        };
        if let Some(undo) = undo {
            self.register(plan, frame, undo, action.summary.clone());
        }
    }

    /// Registers the `rollback` of a structural step that has begun, or of what a person has done.
    pub(super) fn register_by_hand(&mut self, plan: &Plan, frame: FrameId) {
        let steps = self
            .node(plan, frame)
            .and_then(|node| node.rollback.as_ref());
        if let Some(steps) = steps.filter(|steps| !steps.is_empty()) {
            let key = self.frames[frame].key.to_string();
            self.register(plan, frame, Undo::Steps(steps.clone(), None), key);
        }
    }

    fn register(&mut self, plan: &Plan, frame: FrameId, undo: Undo, action: String) {
        if self.frames[frame].registered || self.is_aside(frame) || self.is_covered(plan, frame) {
            return;
        }
        self.frames[frame].registered = true;
        self.registered.push(Registered {
            frame,
            undo,
            action,
            at: self.now,
            result: None,
        });
    }

    /// Returns whether a step around `frame` says by hand how all of it is undone.
    fn is_covered(&self, plan: &Plan, frame: FrameId) -> bool {
        self.ancestors(frame).any(|frame| {
            self.node(plan, frame)
                .is_some_and(|node| node.rollback.is_some())
        })
    }

    /// Begins to undo everything that is open.
    pub(super) fn begin_rollback(&mut self, plan: &Plan) {
        self.mode = Mode::RollingBack;
        self.open = self.undo_order();
        self.roll_back(plan);
    }

    /// Returns what is open, the next one last.
    ///
    /// The order is the reverse order of start; what is only restarted again comes after everything else, so that it
    /// sees what was put back.
    fn undo_order(&self) -> Vec<usize> {
        let open = |again: bool| {
            self.registered
                .iter()
                .enumerate()
                .filter(move |(_, undo)| {
                    undo.result.is_none() && undo.undo.again().is_some() == again
                })
                .map(|(index, _)| index)
        };
        open(true).chain(open(false)).collect()
    }

    /// Makes the next undo due; ends the run after the last one.
    pub(super) fn roll_back(&mut self, plan: &Plan) {
        if self.stopping.is_some() {
            return;
        }
        let Some(&index) = self.open.last() else {
            return self.finish_run(plan);
        };
        self.undoing = Some(index);
        let Registered {
            frame,
            undo,
            action,
            ..
        } = self.registered[index].clone();
        let key = self.frames[frame].key.clone();
        match undo {
            Undo::Kind(record) if self.is_repeated(&record) => {
                let undone = Undone {
                    result: UndoResult::Nothing,
                    summary: record.summary,
                };
                self.record_about(key, Body::Undone(undone));
            }
            Undo::Kind(record) => {
                let timeout = self
                    .node(plan, frame)
                    .and_then(|node| node.timeout.as_ref())
                    .and_then(|tree| self.read_tree::<Span>(plan, frame, tree).ok().flatten());
                self.issue_run(key, JobPhase::Undo, Job::Undo { record, timeout });
            }
            Undo::Steps(nodes, before) => {
                self.roll_back_by_steps(plan, index, frame, &nodes, before);
            }
            Undo::Irreversible(why) => {
                let undone = Undone {
                    result: UndoResult::Irreversible(why),
                    summary: action,
                };
                self.record_about(key, Body::Undone(undone));
            }
        }
    }

    /// Returns whether the same thing was restarted again already.
    fn is_repeated(&self, record: &UndoRecord) -> bool {
        record
            .again
            .as_ref()
            .is_some_and(|name| self.restarted.contains(name))
    }

    fn roll_back_by_steps(
        &mut self,
        plan: &Plan,
        index: usize,
        frame: FrameId,
        nodes: &[NodeId],
        before: Option<Value>,
    ) {
        let this = &self.frames[frame];
        let (outer, key) = (this.env, this.key.clone());
        let before =
            before.unwrap_or_else(|| Value::Absent(format!("`{key}` has no state before").into()));
        let result = match &this.result {
            Some(result) => result.clone(),
            None => Value::Absent(format!("`{key}` has no result").into()),
        };
        let env = self.add_env(Env {
            parent: Some(outer),
            scope: self.envs[outer].scope,
            prefix: format!("{key}/rollback/"),
            locals: [("before".to_owned(), before), ("result".to_owned(), result)].into(),
            steps: Default::default(),
        });
        let key = format!("{key}/rollback").into();
        let block = self.add_frame(Frame::new(Role::Rollback(index), None, env, key));
        self.frames[block].phase = Phase::Inside;
        self.frames[block].inside = Some(Box::new(Inside::nodes(nodes.into(), 1)));
        self.advance(plan, block);
    }

    /// The steps of a `rollback` have all ended, or one has failed.
    pub(super) fn rollback_steps_done(&mut self, block: FrameId, index: usize) {
        let this = &mut self.frames[block];
        this.phase = Phase::Ended;
        let failure = this.inside.take().and_then(|inside| inside.failure);
        let result = match failure {
            Some(failure) => UndoResult::Failed(failure),
            None => UndoResult::Undone,
        };
        let undo = &self.registered[index];
        let summary = format!("the steps of its `rollback` ({})", undo.action);
        let key = self.frames[undo.frame].key.clone();
        self.record_about(key, Body::Undone(Undone { result, summary }));
    }

    /// Takes in the end of an undo.
    pub(super) fn undone(&mut self, plan: &Plan, undone: &Undone) {
        self.answered_run();
        let Some(index) = self.undoing.take() else {
            return;
        };
        if let UndoResult::Failed(failure) = &undone.result
            && failure.class == Class::Cancelled
            && self.stopping.is_some()
        {
            // It was stopped with the run; it is open as before.
            return;
        }
        self.open.pop();
        let registered = &mut self.registered[index];
        if let (UndoResult::Undone, Some(name)) = (&undone.result, registered.undo.again()) {
            self.restarted.insert(name.to_owned());
        }
        registered.result = Some(undone.result.clone());
        let frame = registered.frame;
        let state = match undone.result.remains() {
            None => StepState::Undone,
            Some(_) => StepState::UndoFailed,
        };
        self.frames[frame].state = state;
        // In a run that goes on from another one, the step stands there in its own right.
        if let Some(&now) = self.keys.get(&self.frames[frame].key) {
            self.frames[now].state = state;
        }
        self.roll_back(plan);
    }

    /// Returns what is still changed after the undoing.
    pub(super) fn remains(&self) -> Vec<String> {
        self.registered
            .iter()
            .filter_map(|undo| {
                let remains = undo.result.as_ref()?.remains()?;
                Some(format!("{}: {remains}", self.frames[undo.frame].key))
            })
            .collect()
    }

    /// Returns until when each open undo stays possible, in the order in which they would be done; none: as long as the
    /// journal keeps the run.
    pub fn open_until(&self) -> Vec<(StepKey, Option<Time>)> {
        let open = self.undo_order().into_iter().rev();
        open.map(|index| {
            let Registered {
                frame, undo, at, ..
            } = &self.registered[index];
            let until = match undo {
                Undo::Kind(record) => record.until(*at),
                _ => None,
            };
            (self.frames[*frame].key.clone(), until)
        })
        .collect()
    }

    /// Returns what a run that is given up leaves changed.
    pub(super) fn left(&self) -> Vec<String> {
        let open = self.open_undos().into_iter();
        open.map(|(step, line, _)| format!("{step}: left as it is ({line})"))
            .collect()
    }

    /// Returns the open undos, in the order in which they would be done: address, line, and whether it is possible.
    pub fn open_undos(&self) -> Vec<(StepKey, String, bool)> {
        self.undo_order()
            .into_iter()
            .rev()
            .map(|index| {
                let Registered { frame, undo, .. } = &self.registered[index];
                let key = self.frames[*frame].key.clone();
                match undo {
                    Undo::Kind(record) => (key, record.summary.clone(), true),
                    Undo::Steps(..) => (key, "by the steps of its `rollback`".to_owned(), true),
                    Undo::Irreversible(why) => (key, why.clone(), false),
                }
            })
            .collect()
    }
}
