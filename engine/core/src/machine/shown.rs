//! What a preview shows of a step beside the machine's own commands and events.

use std::sync::Arc;

use super::{
    State,
    frame::{FrameId, Role},
    judge::UNKNOWN_REST,
    names::parts,
};
use crate::{
    event::{StepKey, StepState},
    expression::Expression,
    plan::{self, Guard, Plan, Retry},
    preview::Condition,
    units::Span,
    value::{Fields, Value},
};

/// How patient a step is, as far as it can be worked out now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patience {
    /// How often it is tried.
    pub retry: Option<Retry>,
    /// What is waited for.
    pub until: Option<Awaited>,
    /// The longest time of an attempt.
    pub timeout: Option<Span>,
}

/// What a step waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Awaited {
    /// The condition.
    pub that: String,
    /// How long between two tries.
    pub every: Option<Span>,
    /// How long at the most.
    pub within: Option<Span>,
    /// How long it must hold without a break.
    pub stable_for: Option<Span>,
}

impl State {
    /// Returns the steps that have begun, each with how it stands.
    pub fn began(&self) -> impl Iterator<Item = (StepKey, StepState)> + '_ {
        let frames = self.frames.iter().skip(self.taken_over);
        frames
            .filter(|frame| matches!(frame.role, Role::Step(_)))
            .map(|frame| (frame.key.clone(), frame.state))
    }

    /// Returns the structural step that the step at `key` lies directly inside.
    pub fn parent_of(&self, key: &str) -> Option<StepKey> {
        self.ancestors(*self.keys.get(key)?)
            .find(|frame| matches!(self.frames[*frame].role, Role::Step(_)))
            .map(|frame| self.frames[frame].key.clone())
    }

    /// Returns the `when` of the step at `key` with what it comes to now.
    pub fn when_of(&self, plan: &Plan, key: &str) -> Option<Condition> {
        let frame = *self.keys.get(key)?;
        let when = self.node(plan, frame)?.when.as_ref()?;
        Some(self.condition(plan, frame, when, None))
    }

    /// Returns the `unless` of the step at `key`; `result` is what its probe has answered.
    pub fn unless_of(&self, plan: &Plan, key: &str, result: Option<&Value>) -> Option<Condition> {
        let frame = *self.keys.get(key)?;
        let unless = self.node(plan, frame)?.unless.as_ref()?;
        Some(self.guard_now(plan, frame, unless, result))
    }

    /// Returns the guard `index` of the step at `key`, or of the playbook for an empty one; `result` is what its probe
    /// has answered.
    pub fn guard_of(
        &self,
        plan: &Plan,
        key: &str,
        index: usize,
        result: Option<&Value>,
    ) -> Option<Condition> {
        let frame = *self.keys.get(key)?;
        let guards = match self.frames[frame].role {
            Role::Step(node) => &plan.node(node).guards,
            Role::Playbook(scope) => &plan.scope(scope).guards,
            _ => return None,
        };
        Some(self.guard_now(plan, frame, guards.get(index)?, result))
    }

    /// Returns how patient the step at `key` is.
    pub fn patience_of(&self, plan: &Plan, key: &str) -> Patience {
        let Some(&frame) = self.keys.get(key) else {
            return Patience::default();
        };
        let Some(node) = self.node(plan, frame) else {
            return Patience::default();
        };
        let span = |tree| self.read_tree::<Span>(plan, frame, tree).ok().flatten();
        Patience {
            retry: node
                .retry
                .as_ref()
                .and_then(|tree| self.read_tree(plan, frame, tree).ok().flatten()),
            until: node.until.as_ref().map(|until| Awaited {
                that: until.that.text().to_owned(),
                every: span(&until.every),
                within: span(&until.within),
                stable_for: until.stable_for.as_ref().and_then(span),
            }),
            timeout: node.timeout.as_ref().and_then(span),
        }
    }

    /// Returns after what it is known which rounds or branches the step at `key` enters; none where it is known now.
    pub fn entry_known_after(&self, plan: &Plan, key: &str) -> Option<Arc<str>> {
        let frame = *self.keys.get(key)?;
        let unknown = |expression| match self.eval(plan, frame, expression, None) {
            Ok(Value::Unknown(after)) => Some(after),
            _ => None,
        };
        match &self.node(plan, frame)?.body {
            plan::Body::Foreach { items, .. } => unknown(items),
            plan::Body::Choose(branches) => branches
                .iter()
                .filter_map(|branch| branch.when.as_ref())
                .find_map(unknown),
            _ => None,
        }
    }

    /// Returns after what the lock `name` of the playbook at `key` is known, where it still is as it is written; `key` is
    /// the address of its call, empty for the playbook of the run.
    pub fn lock_known_after(&self, plan: &Plan, key: &str, name: &str) -> Option<Arc<str>> {
        let frame = *self.keys.get(key)?;
        let frame = self.frames[frame].called.unwrap_or(frame);
        let Role::Playbook(scope) = self.frames[frame].role else {
            return None;
        };
        let locks = plan.scope(scope).locks.iter();
        locks.filter(|lock| lock.text() == name).find_map(|lock| {
            match lock.render(&self.names(plan, frame)) {
                Ok(Value::Unknown(after)) => Some(after),
                _ => None,
            }
        })
    }

    fn guard_now(
        &self,
        plan: &Plan,
        frame: FrameId,
        guard: &Guard,
        result: Option<&Value>,
    ) -> Condition {
        let unasked = Value::Unknown("it is asked".into());
        let result = match &guard.probe {
            Some(_) => Some(result.unwrap_or(&unasked)),
            None => None,
        };
        let mut condition = self.condition(plan, frame, &guard.that, result);
        if condition.holds == Some(false)
            && let Some(otherwise) = &guard.otherwise
        {
            let told = self.text(plan, frame, otherwise, result);
            condition.why = format!("{told} ({})", condition.why);
        }
        condition
    }

    fn condition(
        &self,
        plan: &Plan,
        frame: FrameId,
        that: &Expression,
        result: Option<&Value>,
    ) -> Condition {
        let (holds, after, why) = match self.eval(plan, frame, that, result) {
            Ok(Value::Bool(holds)) => (Some(holds), None, None),
            Ok(Value::Unknown(after)) => (None, Some(after.to_string()), None),
            Ok(other) => (None, None, Some(format!("it is a {}", other.kind()))),
            Err(failure) => (None, None, Some(failure.message)),
        };
        let names = self.names(plan, frame).with_result(result);
        Condition {
            text: that.text().to_owned(),
            holds,
            after,
            why: why.unwrap_or_else(|| parts(that, &names).join(", ")),
        }
    }
}

/// Returns the result of a step of which not even is known whether it runs.
pub fn unknown_result(after: &str) -> Fields {
    ["ok", "ran", "changed", UNKNOWN_REST]
        .into_iter()
        .map(|name| (name.to_owned(), Value::Unknown(Arc::from(after))))
        .collect()
}
