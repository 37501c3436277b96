//! The undoing of a run: what was registered before each change, newest first, restarts last.

use std::collections::BTreeSet;

use super::{
    CommandId, Job, JobPhase, Mode, State,
    frame::{Env, FrameId, Inside, Phase, Role},
};
use crate::{
    event::{Body, StepState, UndoResult, Undone},
    kind::{Class, Failure, UndoRecord},
    plan::{NodeId, Plan},
    units::Span,
    value::Value,
};

/// An undo, registered before its step acted.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub frame: FrameId,
    pub undo: Undo,
    /// What came of it; none as long as it is open.
    pub result: Option<UndoResult>,
}

/// How a step is undone.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    /// By its kind.
    Kind(UndoRecord),
    /// By the steps of its `rollback`.
    Steps(Vec<NodeId>),
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
    pub(super) fn register(&mut self, frame: FrameId, undo: Undo) {
        self.registered.push(Registered {
            frame,
            undo,
            result: None,
        });
    }

    /// Makes the next undo due; ends the run after the last one.
    ///
    /// The order is the reverse order of start; what is only restarted again comes after everything else, once per
    /// name, so that it sees what was put back.
    pub(super) fn roll_back(&mut self, plan: &Plan) {
        if self.stopping.is_some() {
            return;
        }
        let Some(next) = self.next_undo() else {
            self.undoing = None;
            return self.finish_run(plan);
        };
        self.undoing = Some(next);
        let Registered { frame, undo, .. } = self.registered[next].clone();
        let key = self.frames[frame].key.clone();
        match undo {
            Undo::Kind(record) if self.is_repeated(next) => {
                let summary = record.summary;
                self.record_about(
                    key,
                    Body::Undone(Undone {
                        result: UndoResult::Nothing,
                        summary,
                    }),
                );
            }
            Undo::Kind(record) => {
                let timeout = self
                    .node(plan, frame)
                    .and_then(|node| node.timeout.as_ref())
                    .and_then(|tree| self.read_tree::<Span>(plan, frame, tree).ok().flatten());
                let id = CommandId {
                    step: key,
                    phase: JobPhase::Undo,
                    attempt: 0,
                };
                let job = Job::Undo { record, timeout };
                self.run_due = Some(self.push(super::Command { id, job }));
            }
            Undo::Steps(nodes) => self.roll_back_by_steps(plan, next, frame, &nodes),
            Undo::Irreversible(why) => {
                let summary = self.action_of(frame);
                self.record_about(
                    key,
                    Body::Undone(Undone {
                        result: UndoResult::Irreversible(why),
                        summary,
                    }),
                );
            }
        }
    }

    fn next_undo(&self) -> Option<usize> {
        let open = |again: bool| {
            self.registered
                .iter()
                .rposition(|undo| undo.result.is_none() && undo.undo.again().is_some() == again)
        };
        open(false).or_else(|| open(true))
    }

    /// Returns whether the same thing was restarted again already.
    fn is_repeated(&self, index: usize) -> bool {
        let Some(name) = self.registered[index].undo.again() else {
            return false;
        };
        let done: BTreeSet<&str> = self
            .registered
            .iter()
            .filter(|undo| matches!(undo.result, Some(UndoResult::Undone)))
            .filter_map(|undo| undo.undo.again())
            .collect();
        done.contains(name)
    }

    fn roll_back_by_steps(&mut self, plan: &Plan, index: usize, frame: FrameId, nodes: &[NodeId]) {
        let this = &self.frames[frame];
        let (outer, key) = (this.env, this.key.clone());
        let before = match &this.needed {
            Some((before, _)) => before.clone(),
            None => Value::Absent(format!("`{key}` has no state before").into()),
        };
        let result = match &this.result {
            Some(result) => result.clone(),
            None => Value::Absent(format!("`{key}` has no result").into()),
        };
        let locals = [("before".to_owned(), before), ("result".to_owned(), result)].into();
        let scope = self.envs[outer].scope;
        self.envs.push(Env {
            parent: Some(outer),
            scope,
            prefix: format!("{key}/rollback/"),
            locals,
            steps: Default::default(),
        });
        let env = self.envs.len() - 1;
        let block = self.new_frame(
            Role::Rollback(index),
            None,
            env,
            format!("{key}/rollback").into(),
        );
        self.frames[block].phase = Phase::Inside;
        self.frames[block].inside = Inside::nodes(nodes.into(), 1);
        self.advance(plan, block);
    }

    /// The steps of a `rollback` have all ended, or one has failed.
    pub(super) fn rollback_steps_done(&mut self, _plan: &Plan, block: FrameId, index: usize) {
        self.frames[block].phase = Phase::Ended;
        let frame = self.registered[index].frame;
        let summary = format!("the steps of its `rollback` ({})", self.action_of(frame));
        let result = if self.frames[block].inside.failed {
            UndoResult::Failed(Failure::new(
                Class::Internal,
                "one of the steps of its `rollback` failed",
            ))
        } else {
            UndoResult::Undone
        };
        let key = self.frames[frame].key.clone();
        self.record_about(key, Body::Undone(Undone { result, summary }));
    }

    fn action_of(&self, frame: FrameId) -> String {
        match &self.frames[frame].action {
            Some(action) => action.summary.clone(),
            None => self.frames[frame].key.to_string(),
        }
    }

    /// Takes in the end of an undo.
    pub(super) fn undone(&mut self, plan: &Plan, _key: &str, undone: &Undone) {
        self.answered_run();
        let Some(index) = self.undoing.take() else {
            return;
        };
        let registered = &mut self.registered[index];
        registered.result = Some(undone.result.clone());
        self.frames[registered.frame].state = match &undone.result {
            UndoResult::Undone | UndoResult::Nothing => StepState::Undone,
            _ => StepState::UndoFailed,
        };
        if self.mode == Mode::RollingBack {
            self.roll_back(plan);
        }
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

    /// Returns the open undos, in the order in which they would be done: address, line, and whether it is possible.
    pub fn open_undos(&self) -> Vec<(crate::event::StepKey, String, bool)> {
        let mut open: Vec<_> = self
            .registered
            .iter()
            .filter(|undo| undo.result.is_none())
            .collect();
        open.reverse();
        open.sort_by_key(|undo| undo.undo.again().is_some());
        open.into_iter()
            .map(|undo| {
                let key = self.frames[undo.frame].key.clone();
                match &undo.undo {
                    Undo::Kind(record) => (key, record.summary.clone(), true),
                    Undo::Steps(_) => (key, "by the steps of its `rollback`".to_owned(), true),
                    Undo::Irreversible(why) => (key, why.clone(), false),
                }
            })
            .collect()
    }
}
