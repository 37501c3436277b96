//! Puts a playbook and those that it calls together into one plan.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use super::{Playbook, names::near};
use crate::{
    diagnostic::Diagnostic,
    kind::Effect,
    plan::{Body, Branch, NodeId, Plan, ScopeId},
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
}

/// A plan, or what keeps it from being one.
pub type Linked = Result<Plan, Vec<(Arc<Playbook>, Diagnostic)>>;

/// Returns the plan of `root` and all that it calls; `find` returns the playbook that a call means.
///
/// # Errors
///
/// Every call of every playbook that can't be linked: an unknown playbook (what `find` says), a circle, an input that
/// the called playbook does not have, lacks or does not accept.
pub fn link(
    root: &Arc<Playbook>,
    find: &mut dyn FnMut(&Playbook, &CallSite) -> Result<Arc<Playbook>, Diagnostic>,
) -> Linked {
    let mut linker = Linker {
        plan: Plan {
            scopes: Vec::new(),
            nodes: Vec::new(),
        },
        find,
        path: Vec::new(),
        problems: Vec::new(),
    };
    linker.place(root);
    if linker.problems.is_empty() {
        Ok(linker.plan)
    } else {
        Err(linker.problems)
    }
}

struct Linker<'a> {
    plan: Plan,
    find: &'a mut dyn FnMut(&Playbook, &CallSite) -> Result<Arc<Playbook>, Diagnostic>,
    path: Vec<String>,
    problems: Vec<(Arc<Playbook>, Diagnostic)>,
}

impl Linker<'_> {
    /// Adds `playbook` and everything that it calls; returns its scope.
    fn place(&mut self, playbook: &Arc<Playbook>) -> ScopeId {
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
            node.rollback = node.rollback.map(|steps| steps.iter().map(moved).collect());
            node.body = move_body(node.body, &moved);
            self.plan.nodes.push(node);
        }
        self.path.push(playbook.scope.name.clone());
        for call in &playbook.calls {
            self.link_call(playbook, call, offset);
        }
        self.path.pop();
        self.strengthen(offset);
        scope
    }

    /// Gives structure the effect of the calls inside it, which was not known before they were linked.
    fn strengthen(&mut self, offset: usize) {
        // A step comes after the structure it lies in.
        for index in (offset..self.plan.nodes.len()).rev() {
            let inside = super::step::inside(&self.plan.nodes[index].body);
            if let Some(effect) = inside.iter().map(|id| self.plan.node(*id).effect).max() {
                self.plan.nodes[index].effect = effect;
            }
        }
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
        let callee = match (self.find)(caller, call) {
            Ok(callee) => callee,
            Err(problem) => return self.problems.push((caller.clone(), problem)),
        };
        self.check_inputs(caller, call, &callee);
        let scope = self.place(&callee);
        let effect = self.scope_effect(scope);
        let node = &mut self.plan.nodes[call.node.0 + offset];
        if let Body::Call { scope: target, .. } = &mut node.body {
            *target = scope;
        }
        node.effect = effect;
        if node.until.is_some() && effect > Effect::Read {
            let message = format!("`until` asks again, but `{}` changes something", call.name);
            self.problems.push((
                caller.clone(),
                Diagnostic::error(message, call.place.clone()),
            ));
        }
    }

    fn scope_effect(&self, scope: ScopeId) -> Effect {
        self.plan
            .nodes
            .iter()
            .filter(|node| node.scope == scope && !node.aside)
            .map(|node| node.effect)
            .max()
            .unwrap_or(Effect::Read)
    }

    fn check_inputs(&mut self, caller: &Arc<Playbook>, call: &CallSite, callee: &Playbook) {
        let inputs = &callee.scope.inputs;
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let mut problems = Vec::new();
        for (name, place) in &call.with {
            match inputs.iter().find(|input| input.name == *name) {
                None => problems.push(
                    Diagnostic::error(
                        format!("`{}` has no input `{name}`", call.name),
                        place.clone(),
                    )
                    .hint(near(name, &names)),
                ),
                Some(input) => {
                    if let Some(value) = call.literal.get(name)
                        && value
                            .find(&|value| matches!(value, Value::Unknown(_)))
                            .is_none()
                        && let Err(why) = input.accept(value)
                    {
                        problems.push(Diagnostic::error(
                            format!("input `{name}`: {why}"),
                            place.clone(),
                        ));
                    }
                }
            }
        }
        for input in inputs
            .iter()
            .filter(|input| input.default.is_none() && !call.with.contains_key(&input.name))
        {
            let message = format!("`{}` needs the input `{}`", call.name, input.name);
            problems.push(
                Diagnostic::error(message, call.place.clone())
                    .hint(format!("add it to `with`: {}", input.help)),
            );
        }
        self.problems.extend(
            problems
                .into_iter()
                .map(|problem| (caller.clone(), problem)),
        );
    }
}

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
