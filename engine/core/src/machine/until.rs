//! `until`: a step that reads is asked again until its answer is as wanted.

use super::{
    State,
    frame::{FrameId, Phase, Then},
    judge::Verdict,
};
use crate::{
    event::Body,
    kind::{Class, Failure},
    plan::{Plan, Tree, Until},
    units::{Span, Time},
    value::{Fields, Value},
};

impl State {
    /// Asks an `until`: returns the event of a try whose condition does not hold yet; turns a passed deadline into a
    /// failure.
    pub(super) fn not_held(
        &self,
        plan: &Plan,
        frame: FrameId,
        until: &Until,
        at: Time,
        fields: &Fields,
        verdict: &mut Verdict,
    ) -> Option<Body> {
        let tries = self.frames[frame].tries.as_deref().copied();
        let tries = tries.unwrap_or_default();
        let span = |tree: &Tree| self.read_tree::<Span>(plan, frame, tree);
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
        let since = tries.since.unwrap_or(at).milliseconds;
        let deadline = since.saturating_add(within.milliseconds);
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
            Err(failure) if is_not_yet(failure.class) => false,
            Err(_) => return None,
        };
        let needed = stable_for.unwrap_or_default().milliseconds;
        let held_since = held.then(|| tries.held_since.unwrap_or(at));
        let from = held_since.unwrap_or(at).milliseconds;
        if held && at.milliseconds - from >= needed {
            return None;
        }
        let found = match &verdict.result {
            Ok(_) => self.explain(plan, frame, &until.that, Some(&value)),
            Err(failure) => failure.line(),
        };
        if at.milliseconds < deadline && from.saturating_add(needed) <= deadline {
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
        let until = self.node(plan, frame).and_then(|node| node.until.as_ref());
        let every = until
            .and_then(|until| self.read_tree(plan, frame, &until.every).ok().flatten())
            .unwrap_or(Span::from_seconds(1));
        let again = Time {
            milliseconds: self.now.milliseconds.saturating_add(every.milliseconds),
            ..self.now
        };
        let this = &mut self.frames[frame];
        this.acting = false;
        this.inside = None;
        let tries = this.tries();
        tries.count = attempt;
        tries.held_since = held_since;
        this.phase = Phase::Sleep(again, Then::Act);
        self.advance(plan, frame);
    }

    /// Returns whether a failure of `class` in `frame` fails a try of the `until` around it, and not the run.
    pub(super) fn fails_a_try(&self, plan: &Plan, frame: FrameId, class: Class) -> bool {
        is_not_yet(class)
            && self.ancestors(frame).any(|frame| {
                self.node(plan, frame)
                    .is_some_and(|node| node.until.is_some())
            })
    }
}

/// Returns whether a try that fails like this counts as 'not yet'.
fn is_not_yet(class: Class) -> bool {
    matches!(class, Class::Transport | Class::Timeout | Class::Exit)
}
