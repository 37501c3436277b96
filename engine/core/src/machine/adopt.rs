//! Going on from a step of an earlier run: a new run that takes over what had ended before it, and what is still to be
//! undone.

use super::{
    State,
    frame::{FrameId, Phase, Role},
};
use crate::{
    event::{Body, StepState},
    kind::Effect,
    plan::{self, Plan},
    value::{Fields, Value},
};

/// How a step ended in the earlier run.
#[derive(Clone, Debug)]
pub(super) struct Adopted {
    state: StepState,
    result: Fields,
}

impl State {
    /// Returns the state from which a new run goes on at the step `from` of this one.
    ///
    /// What began before it and has ended is not done again; everything from it on is. What is still to be undone stays
    /// so, newest first, whichever of the two runs has changed it.
    ///
    /// # Errors
    ///
    /// When there is no such step, when it has not begun, or when what lies before it can't be told apart or taken over;
    /// the text says why.
    pub fn take_over_from(self, plan: &Plan, from: &str) -> Result<State, String> {
        let frame = self.first_again(plan, from)?;
        let mut adopted = std::collections::HashMap::new();
        for earlier in self.taken_over..frame {
            let Some(step) = self.ended_well(plan, earlier) else {
                continue;
            };
            adopted.insert(self.frames[earlier].key.clone(), step?);
        }
        let (past_no_return, raised) = (self.past_no_return, self.findings.clone());
        let state = self.take_over();
        Ok(State {
            taken_over: state.frames.len(),
            keys: Default::default(),
            rounds: Default::default(),
            past_no_return,
            findings: raised,
            adopted,
            ..state
        })
    }

    /// Returns whether the step at `key` stands as it did in the run that this one goes on from.
    pub fn adopts(&self, key: &str) -> bool {
        self.adopted.contains_key(key)
    }

    fn first_again(&self, plan: &Plan, from: &str) -> Result<FrameId, String> {
        let frame = self
            .keys
            .get(from)
            .copied()
            .filter(|frame| self.node(plan, *frame).is_some() && !self.is_aside(*frame));
        let Some(frame) = frame else {
            return Err(format!("no step `{from}` has begun in it"));
        };
        let beside = self.ancestors(frame).find(|frame| {
            let body = self.node(plan, *frame).map(|node| &node.body);
            matches!(
                body,
                Some(plan::Body::Parallel { .. } | plan::Body::Foreach { .. })
            )
        });
        match beside {
            Some(outer) => Err(format!(
                "`{from}` lies in `{}`, whose steps run beside each other or again and again: go on from that one as a whole",
                self.frames[outer].key
            )),
            None => Ok(frame),
        }
    }

    /// Returns how a step ended that is not done again: none where it is done again, an error where it can't be.
    fn ended_well(&self, plan: &Plan, frame: FrameId) -> Option<Result<Adopted, String>> {
        let this = &self.frames[frame];
        let node = self.node(plan, frame)?;
        let is_good = matches!(
            this.state,
            StepState::Ok | StepState::Changed | StepState::Already | StepState::Skipped
        );
        let is_whole = this.phase == Phase::Ended && !node.is_structure() && !self.is_aside(frame);
        // A further try of the same step stands for it.
        if !is_good || !is_whole || self.keys.get(&this.key) != Some(&frame) {
            return None;
        }
        let result: Fields = match &this.result {
            Some(Value::Map(fields)) => fields
                .iter()
                .filter(|(_, value)| !matches!(value, Value::Absent(_)))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            _ => Fields::new(),
        };
        let is_secret = |value: &Value| matches!(value, Value::Secret(_));
        if result
            .values()
            .any(|value| value.find(&is_secret).is_some())
        {
            return match node.effect {
                Effect::Read => None,
                _ => Some(Err(format!(
                    "the step `{}` gave a secret that is not kept, and it changes something, so it is not done again by itself",
                    this.key
                ))),
            };
        }
        Some(Ok(Adopted {
            state: this.state,
            result,
        }))
    }

    /// Lets a step that had ended in the earlier run stand as it did; returns whether it does.
    pub(super) fn adopt(&mut self, frame: FrameId) -> bool {
        if self.adopted.is_empty() || !matches!(self.frames[frame].role, Role::Step(_)) {
            return false;
        }
        let Some(Adopted { state, result }) = self.adopted.remove(&self.frames[frame].key) else {
            return false;
        };
        self.record(frame, Body::Adopted { state, result });
        true
    }
}
