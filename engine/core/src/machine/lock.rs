//! The locks of playbooks: what the run holds exclusively, from before its guards until it has ended.
//!
//! What the locks of called playbooks are is worked out at the start where it can be, so that nothing is waited for in
//! mid-run. Those of a loop, or of inputs that are known only later, are taken when the call is entered, and never
//! waited for.

use std::collections::BTreeSet;

use super::{
    Job, JobPhase, State,
    frame::{Env, EnvId, Frame, FrameId, Phase, Role},
};
use crate::{
    event::Locked,
    kind::{Class, Failure},
    plan::{Body, NodeId, Plan, ScopeId, Tree, check_inputs},
    value::Value,
};

impl State {
    /// Takes the locks of a playbook that is about to begin; returns whether it now waits for something.
    pub(super) fn lock(&mut self, plan: &Plan, frame: FrameId, scope: ScopeId) -> bool {
        let mut names = match self.lock_names(plan, frame, scope) {
            Ok(names) => names,
            Err(failure) => {
                let class = Class::Refused;
                self.fail_later(plan, frame, Failure { class, ..failure });
                return true;
            }
        };
        let is_first = self.root() == Some(frame);
        if is_first {
            self.add_called(plan, frame, &plan.scope(scope).steps, &mut names);
        }
        names.retain(|name| !self.held.contains(name));
        if names.is_empty() {
            self.frames[frame].phase = Phase::Guards(0);
            return false;
        }
        let job = Job::Lock {
            names: names.into_iter().collect(),
            may_wait: is_first && !self.any_started(),
        };
        self.issue(frame, JobPhase::Lock, job);
        true
    }

    /// Takes in what came of taking locks.
    pub(super) fn locked(&mut self, plan: &Plan, key: &str, locked: &Locked) {
        if locked.refused.is_none() {
            self.held.extend(locked.names.iter().cloned());
        }
        let Some(frame) = self.waiting_at(key).filter(|frame| {
            let frame = &self.frames[*frame];
            frame.phase == Phase::Lock && frame.due.is_some()
        }) else {
            return;
        };
        self.answered(frame);
        if let Some(why) = &locked.refused {
            return self.fail_later(plan, frame, Failure::refused(why.clone()));
        }
        self.frames[frame].phase = Phase::Guards(0);
        self.advance(plan, frame);
    }

    fn lock_names(
        &self,
        plan: &Plan,
        frame: FrameId,
        scope: ScopeId,
    ) -> Result<BTreeSet<String>, Failure> {
        let locks = plan.scope(scope).locks.iter();
        locks
            .map(|lock| self.strict_text(plan, frame, lock))
            .collect()
    }

    /// Adds the locks of the playbooks that `nodes` call, as far as they can be worked out from `caller`.
    fn add_called(
        &mut self,
        plan: &Plan,
        caller: FrameId,
        nodes: &[NodeId],
        names: &mut BTreeSet<String>,
    ) {
        for node in nodes {
            match &plan.node(*node).body {
                Body::Call { scope, with } if has_locks(plan, *scope) => {
                    if let Some(called) = self.imagine(plan, caller, *scope, with) {
                        names.extend(self.lock_names(plan, called, *scope).unwrap_or_default());
                        self.add_called(plan, called, &plan.scope(*scope).steps, names);
                        self.forget(called);
                    }
                }
                // Its rounds are not known yet.
                Body::Foreach { .. } | Body::Call { .. } => {}
                _ => self.add_called(plan, caller, &plan.children(*node), names),
            }
        }
    }

    /// Returns a frame from which the inputs and vars of a called playbook are seen as they will be, where that can be
    /// told before anything has run.
    fn imagine(
        &mut self,
        plan: &Plan,
        caller: FrameId,
        scope: ScopeId,
        with: &Tree,
    ) -> Option<FrameId> {
        let given = match with.render(&self.names(plan, caller)) {
            Ok(Value::Map(given)) => given,
            Ok(_) => Default::default(),
            Err(_) => return None,
        };
        let inputs = check_inputs(&plan.scope(scope).inputs, &given).ok()?;
        let env: EnvId = self.add_env(Env {
            parent: None,
            scope,
            prefix: String::new(),
            locals: inputs.into_iter().collect(),
            steps: Default::default(),
        });
        let named = self.name_vars(plan, env, scope).is_ok();
        let frame = self.add_frame(Frame::new(Role::Playbook(scope), None, env, "?".into()));
        if !named {
            self.forget(frame);
            return None;
        }
        Some(frame)
    }

    /// Lets an imagined playbook be over.
    fn forget(&mut self, frame: FrameId) {
        self.frames[frame].phase = Phase::Ended;
    }
}

/// Returns whether a playbook, or one that it calls, has locks.
fn has_locks(plan: &Plan, scope: ScopeId) -> bool {
    let scope = plan.scope(scope);
    !scope.locks.is_empty() || scope.steps.iter().any(|node| calls_locks(plan, *node))
}

fn calls_locks(plan: &Plan, node: NodeId) -> bool {
    match &plan.node(node).body {
        Body::Call { scope, .. } => has_locks(plan, *scope),
        _ => plan
            .children(node)
            .into_iter()
            .any(|node| calls_locks(plan, node)),
    }
}
