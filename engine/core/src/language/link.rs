//! Puts a playbook and those that it calls together into one plan.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use super::{Playbook, names::near};
use crate::{
    diagnostic::{Diagnostic, suggest},
    kind::Effect,
    plan::{Body, Branch, NodeId, OnFailure, Plan, ScopeId},
    value::Value,
};

/// A place where a playbook calls another one.
#[derive(Clone, Debug)]
pub struct CallSite {
    /// The step that calls.
    pub node: NodeId,
    /// The name of the playbook that is called.
    pub name: String,
    /// The versions that will do.
    pub versions: semver::VersionReq,
    /// Where the name is written.
    pub place: Range<usize>,
    /// The inputs that are given, and where.
    pub with: BTreeMap<String, Range<usize>>,
    /// What is given, as far as it is known before the run.
    pub literal: Value,
    /// The outputs that the caller names, and where first.
    pub named: BTreeMap<String, Range<usize>>,
}

/// A plan, or what keeps it from being one.
pub type Linked = Result<Plan, Vec<(Arc<Playbook>, Diagnostic)>>;

/// Returns the playbook that a call of another one means, or why there is none.
pub type Find<'a> = dyn FnMut(&Playbook, &CallSite) -> Result<Arc<Playbook>, Diagnostic> + 'a;

/// Returns the plan of `root` and all that it calls; `find` returns the playbook that a call means.
///
/// # Errors
///
/// Every call of every playbook that can't be linked: an unknown playbook (what `find` says), a circle, an input that
/// the called playbook does not have, lacks or does not accept.
pub fn link(root: &Arc<Playbook>, find: &mut Find<'_>) -> Linked {
    let mut linker = Linker {
        plan: Plan {
            scopes: Vec::new(),
            nodes: Vec::new(),
        },
        find,
        path: Vec::new(),
        problems: Vec::new(),
        is_too_big: false,
    };
    linker.place(root, Undone::ByItself);
    if linker.problems.is_empty() {
        Ok(linker.plan)
    } else {
        Err(linker.problems)
    }
}

struct Linker<'a, 'f> {
    plan: Plan,
    find: &'a mut Find<'f>,
    path: Vec<String>,
    problems: Vec<(Arc<Playbook>, Diagnostic)>,
    is_too_big: bool,
}

/// Whether the steps of a playbook register their undos.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Undone {
    /// As the steps say.
    ByItself,
    /// Never: it is called in a `rollback` or in `always`.
    Never,
}

impl Linker<'_, '_> {
    /// Adds `playbook` and everything that it calls; returns its scope.
    fn place(&mut self, playbook: &Arc<Playbook>, undone: Undone) -> ScopeId {
        let scope = ScopeId(self.plan.scopes.len());
        let offset = self.plan.nodes.len();
        let moved = |id: &NodeId| NodeId(id.0 + offset);
        let mut placed = playbook.scope.clone();
        placed.steps = placed.steps.iter().map(moved).collect();
        placed.always = placed.always.iter().map(moved).collect();
        placed.ids.values_mut().for_each(|id| *id = moved(id));
        self.plan.scopes.push(placed);
        for node in &playbook.nodes {
            let mut node = node.clone();
            node.scope = scope;
            node.aside |= undone == Undone::Never;
            node.rollback = node.rollback.map(|steps| steps.iter().map(moved).collect());
            node.body = move_body(node.body, &moved);
            self.plan.nodes.push(node);
        }
        let own = offset..self.plan.nodes.len();
        self.path.push(playbook.scope.name.clone());
        let before = self.problems.len();
        for call in &playbook.calls {
            self.link_call(playbook, call, offset);
        }
        self.path.pop();
        if !playbook.calls.is_empty() {
            self.strengthen(own);
        }
        if self.problems.len() == before {
            self.check_effects(playbook, offset);
        }
        scope
    }

    /// Gives structure the effect of the calls inside it, which was not known before they were linked.
    fn strengthen(&mut self, own: Range<usize>) {
        // A step comes after the structure it lies in.
        for index in own.rev() {
            let inside = super::step::inside(&self.plan.nodes[index].body);
            if let Some(effect) = inside.iter().map(|id| self.plan.node(*id).effect).max() {
                self.plan.nodes[index].effect = effect;
            }
        }
    }

    /// Checks what may only be said of what reads, now that it is known what the calls do.
    fn check_effects(&mut self, playbook: &Arc<Playbook>, offset: usize) {
        for call in &playbook.calls {
            let node = NodeId(call.node.0 + offset);
            if self.plan.node(node).effect == Effect::Read {
                continue;
            }
            let name = &call.name;
            let until = (0..=call.node.0)
                .map(|index| NodeId(index + offset))
                .any(|around| self.plan.node(around).until.is_some() && self.holds(around, node));
            if until {
                let message = format!("`until` asks again, but `{name}` changes something");
                self.problems.push((
                    playbook.clone(),
                    Diagnostic::error(message, call.place.clone()),
                ));
            }
            if playbook.scope.on_failure == Some(OnFailure::Continue) && !self.plan.node(node).aside
            {
                let message = format!(
                    "`on_failure: continue` is only for a playbook that only reads, but `{name}` changes something"
                );
                self.problems.push((
                    playbook.clone(),
                    Diagnostic::error(message, call.place.clone())
                        .hint("say it at the steps that may fail"),
                ));
            }
        }
    }

    /// Returns whether `inner` is `outer`, or lies in it.
    fn holds(&self, outer: NodeId, inner: NodeId) -> bool {
        outer == inner
            || super::step::inside(&self.plan.node(outer).body)
                .into_iter()
                .any(|node| self.holds(node, inner))
    }

    fn link_call(&mut self, caller: &Arc<Playbook>, call: &CallSite, offset: usize) {
        if let Some(start) = self.path.iter().position(|name| *name == call.name) {
            let mut circle: Vec<&str> = self.path[start..].iter().map(String::as_str).collect();
            circle.push(&call.name);
            let message = format!(
                "the playbooks call each other in a circle: {}",
                circle.join(" -> ")
            );
            self.problems.push((
                caller.clone(),
                Diagnostic::error(message, call.place.clone()),
            ));
            return;
        }
        if self.plan.nodes.len() > MOST_NODES {
            // Said once: what else the calls lead to is not looked at.
            if std::mem::replace(&mut self.is_too_big, true) {
                return;
            }
            let message = format!("the calls make a plan of more than {MOST_NODES} steps");
            self.problems.push((
                caller.clone(),
                Diagnostic::error(message, call.place.clone()),
            ));
            return;
        }
        let callee = match (self.find)(caller, call) {
            Ok(callee) => callee,
            Err(problem) => return self.problems.push((caller.clone(), problem)),
        };
        self.check_inputs(caller, call, &callee);
        self.check_outputs(caller, call, &callee);
        let node = call.node.0 + offset;
        let undone = match self.plan.nodes[node].aside {
            true => Undone::Never,
            false => Undone::ByItself,
        };
        let scope = self.place(&callee, undone);
        let effect = self.scope_effect(scope);
        let node = &mut self.plan.nodes[node];
        if let Body::Call { scope: target, .. } = &mut node.body {
            *target = scope;
        }
        node.effect = effect;
    }

    fn scope_effect(&self, scope: ScopeId) -> Effect {
        let steps = self.plan.scope(scope).steps.iter();
        steps
            .map(|node| self.plan.node(*node).effect)
            .max()
            .unwrap_or(Effect::Read)
    }

    fn check_inputs(&mut self, caller: &Arc<Playbook>, call: &CallSite, callee: &Playbook) {
        let inputs = &callee.scope.inputs;
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let mut problems = Vec::new();
        let mut meant = Vec::new();
        for (name, place) in &call.with {
            let Some(input) = inputs.iter().find(|input| input.name == *name) else {
                let message = format!("`{}` has no input `{name}`", call.name);
                meant.extend(suggest(name, names.iter().copied()));
                problems.push(Diagnostic::error(message, place.clone()).hint(near(name, &names)));
                continue;
            };
            if let Some(value) = call.literal.get(name)
                && let Err(why) = input.accept(value)
            {
                let message = format!("input `{name}`: {why}");
                problems.push(Diagnostic::error(message, place.clone()));
            }
        }
        for input in inputs {
            let is_given = call.with.contains_key(&input.name);
            // Who misspelt an input has not left it out.
            if input.default.is_some() || is_given || meant.contains(&input.name.as_str()) {
                continue;
            }
            let message = format!("`{}` needs the input `{}`", call.name, input.name);
            let hint = match input.help.is_empty() {
                true => "add it to `with`".to_owned(),
                false => format!("add it to `with`: {}", input.help),
            };
            problems.push(Diagnostic::error(message, call.place.clone()).hint(hint));
        }
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
        let caller = |problem| (caller.clone(), problem);
        self.problems.extend(problems.into_iter().map(caller));
    }

    fn check_outputs(&mut self, caller: &Arc<Playbook>, call: &CallSite, callee: &Playbook) {
        let outputs = &callee.scope.outputs;
        let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
        for (name, place) in &call.named {
            if !names.contains(&name.as_str()) {
                let message = format!("`{}` has no output `{name}`", call.name);
                self.problems.push((
                    caller.clone(),
                    Diagnostic::error(message, place.clone()).hint(near(name, &names)),
                ));
            }
        }
    }
}

/// A playbook that calls two that call two, and so on, grows without end.
const MOST_NODES: usize = 200_000;

fn move_body(body: Body, moved: &dyn Fn(&NodeId) -> NodeId) -> Body {
    let all = |nodes: Vec<NodeId>| nodes.iter().map(moved).collect();
    match body {
        Body::Group(nodes) => Body::Group(all(nodes)),
        Body::Parallel { nodes, at_once } => Body::Parallel {
            nodes: all(nodes),
            at_once,
        },
        Body::Foreach {
            items,
            name,
            key,
            at_once,
            nodes,
        } => Body::Foreach {
            items,
            name,
            key,
            at_once,
            nodes: all(nodes),
        },
        Body::Choose(branches) => Body::Choose(
            branches
                .into_iter()
                .map(|branch| Branch {
                    when: branch.when,
                    nodes: all(branch.nodes),
                })
                .collect(),
        ),
        other => other,
    }
}
