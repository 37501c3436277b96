//! Structure: the steps inside a step, the rounds of a loop, the branches of a choice, the called playbook.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    State,
    failure::nothing,
    frame::{Env, EnvId, Frame, FrameId, Inside, List, Phase, Role},
    rollback::Registered,
};
use crate::{
    event::StepState,
    expression::Expression,
    kind::{Class, Failure},
    plan::{Body, Branch, Node, NodeId, OnFailure, Plan, ScopeId, Tree, check_inputs},
    value::{Fields, Value, percent_decode, percent_encode},
};

impl State {
    /// Returns the rounds of a loop; one round with an unknown item where a preview can't know the list.
    pub(super) fn rounds(
        &self,
        plan: &Plan,
        frame: FrameId,
        items: &Expression,
        key: Option<&Expression>,
    ) -> Result<Vec<(String, Value)>, Failure> {
        let list = match self.eval(plan, frame, items, None)? {
            Value::List(list) => list,
            Value::Unknown(after) => return Ok(vec![("?".to_owned(), Value::Unknown(after))]),
            other => {
                return Err(Failure::internal(format!(
                    "go through `in`: it is a {}, not a list",
                    other.kind()
                )));
            }
        };
        let mut rounds: Vec<(String, Value)> = Vec::with_capacity(list.len());
        let mut seen = HashSet::with_capacity(list.len());
        for (index, item) in list.iter().enumerate() {
            let key = match key {
                None => index.to_string(),
                Some(key) => percent_encode(&self.round_key(plan, frame, key, index, item)?, b""),
            };
            if !seen.insert(key.clone()) {
                return Err(Failure::internal(format!(
                    "tell the rounds apart: two have the key `{key}`"
                )));
            }
            rounds.push((key, item.clone()));
        }
        Ok(rounds)
    }

    fn round_key(
        &self,
        plan: &Plan,
        frame: FrameId,
        key: &Expression,
        index: usize,
        item: &Value,
    ) -> Result<String, Failure> {
        let mut locals = vec![("item", item.clone()), ("index", Value::Int(index as i64))];
        if let Some(Body::Foreach {
            name: Some(name), ..
        }) = self.node(plan, frame).map(|node| &node.body)
        {
            locals.push((name, item.clone()));
        }
        match self.eval_with(plan, frame, key, &locals)? {
            Value::Unknown(_) => Ok(format!("?{index}")),
            value => value
                .to_text()
                .map_err(|error| Failure::internal(format!("make the key of a round: {error}"))),
        }
    }

    /// Returns the branch that is taken: its index, or the number of branches for 'all of them, perhaps'.
    pub(super) fn branch(
        &self,
        plan: &Plan,
        frame: FrameId,
        branches: &[Branch],
    ) -> Result<Option<usize>, Failure> {
        for (index, branch) in branches.iter().enumerate() {
            let Some(when) = &branch.when else {
                return Ok(Some(index));
            };
            match self.holds(plan, frame, when, None)? {
                Some(true) => return Ok(Some(index)),
                Some(false) => {}
                None => return Ok(Some(branches.len())),
            }
        }
        Ok(None)
    }

    /// Takes in that a structural step has begun, and begins what is inside it.
    pub(super) fn entered(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        rounds: Option<&[String]>,
        branch: Option<usize>,
    ) {
        self.answered(frame);
        let Some(node) = self.node(plan, frame) else {
            return;
        };
        let inside = match self.inside_of(plan, frame, node, rounds, branch) {
            Ok(inside) => inside,
            Err(failure) => return self.fail_later(plan, frame, failure),
        };
        let this = &mut self.frames[frame];
        this.state = StepState::Running;
        this.started = true;
        this.phase = Phase::Inside;
        this.inside = Some(Box::new(inside));
        self.register_by_hand(plan, frame);
        match &node.body {
            Body::Call { scope, with } => self.call(plan, frame, *scope, with),
            _ => self.advance(plan, frame),
        }
    }

    /// Returns the steps of every branch that a preview can't rule out.
    fn possible(&self, plan: &Plan, frame: FrameId, branches: &[Branch]) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        for branch in branches {
            let holds = match &branch.when {
                None => Ok(Some(true)),
                Some(when) => self.holds(plan, frame, when, None),
            };
            if !matches!(holds, Ok(Some(false))) {
                nodes.extend(&branch.nodes);
            }
            if matches!(holds, Ok(Some(true))) {
                break;
            }
        }
        nodes
    }

    fn inside_of(
        &self,
        plan: &Plan,
        frame: FrameId,
        node: &Node,
        rounds: Option<&[String]>,
        branch: Option<usize>,
    ) -> Result<Inside, Failure> {
        let at_once = |tree: &Option<Tree>, or: usize| -> Result<usize, Failure> {
            let Some(tree) = tree else { return Ok(or) };
            let limit = self.read_tree::<usize>(plan, frame, tree)?;
            Ok(limit.unwrap_or(or).max(1))
        };
        Ok(match &node.body {
            Body::Parallel {
                nodes,
                at_once: limit,
            } => Inside::nodes(nodes.as_slice().into(), at_once(limit, usize::MAX)?),
            Body::Foreach {
                items,
                key,
                at_once: limit,
                ..
            } => {
                let mut found = self.rounds(plan, frame, items, key.as_ref())?;
                if let Some(keys) = rounds {
                    let keys: HashSet<&String> = keys.iter().collect();
                    found.retain(|(key, _)| keys.contains(key));
                }
                Inside::new(List::Rounds(found.into()), at_once(limit, 1)?)
            }
            Body::Choose(branches) => {
                let nodes: Vec<NodeId> = match branch {
                    None => Vec::new(),
                    Some(index) if index < branches.len() => branches[index].nodes.clone(),
                    Some(_) => self.possible(plan, frame, branches),
                };
                Inside::nodes(nodes.into(), 1)
            }
            Body::Group(nodes) => Inside::nodes(nodes.as_slice().into(), 1),
            _ => Inside::nodes(Arc::new([]), 1),
        })
    }

    fn call(&mut self, plan: &Plan, frame: FrameId, scope: ScopeId, with: &Tree) {
        let given = match with.render(&self.names(plan, frame)) {
            Ok(Value::Map(given)) => check_inputs(&plan.scope(scope).inputs, &given),
            Ok(_) => Ok(Fields::new()),
            Err(error) => Err(error.to_string()),
        };
        let inputs = match given {
            Ok(inputs) => inputs,
            Err(why) => {
                let name = &plan.scope(scope).name;
                let failure = Failure::internal(format!("call `{name}`: {why}"));
                return self.fail_later(plan, frame, failure);
            }
        };
        if let Some(inside) = &mut self.frames[frame].inside {
            inside.live = 1;
        }
        let block = self.enter_scope(plan, scope, &inputs, Some(frame));
        if !self.name_vars_or_fail(plan, block, scope) {
            return;
        }
        self.frames[block].phase = Phase::Lock;
        self.advance(plan, block);
    }

    /// Returns a new block for the steps of a playbook, the run's own or one that is called.
    pub(super) fn enter_scope(
        &mut self,
        plan: &Plan,
        scope: ScopeId,
        inputs: &Fields,
        call: Option<FrameId>,
    ) -> FrameId {
        let key = match call {
            Some(call) => self.frames[call].key.clone(),
            None => "".into(),
        };
        let prefix = match call {
            Some(_) => format!("{key}/"),
            None => String::new(),
        };
        let locals = inputs.iter();
        let locals = locals.map(|(name, value)| (name.clone(), value.clone()));
        let env = self.add_env(Env {
            parent: None,
            scope,
            prefix,
            locals: locals.collect(),
            steps: Default::default(),
        });
        let mut block = Frame::new(Role::Playbook(scope), call, env, key);
        block.inside = Some(Box::new(Inside::nodes(
            plan.scope(scope).steps.as_slice().into(),
            1,
        )));
        // A further try of an `until` has said already that it runs what runs last.
        let before = call.and_then(|call| self.frames[call].called);
        block.started = before.is_some_and(|before| self.frames[before].started);
        let block = self.add_frame(block);
        if let Some(call) = call {
            self.frames[call].called = Some(block);
        }
        block
    }

    /// Begins as many of the steps or rounds inside as may run at once; ends the frame when none is left.
    pub(super) fn run_inside(&mut self, plan: &Plan, frame: FrameId) {
        loop {
            let this = &self.frames[frame];
            let Some(inside) = &this.inside else { return };
            if inside.next >= inside.len() || inside.live >= inside.at_once {
                break;
            }
            if self.is_held(frame) {
                self.suspended.push(frame);
                return;
            }
            let index = inside.next;
            let child = match &inside.list {
                List::Nodes(nodes) => {
                    let node = nodes[index];
                    self.new_step(plan, frame, node)
                }
                List::Rounds(rounds) => {
                    let (key, item) = rounds[index].clone();
                    self.new_round(plan, frame, &key, item, index)
                }
            };
            if let Some(inside) = &mut self.frames[frame].inside {
                inside.next += 1;
                inside.live += 1;
            }
            self.advance(plan, child);
        }
        let this = &self.frames[frame];
        let done = this
            .inside
            .as_ref()
            .is_some_and(|inside| inside.live == 0 && inside.next >= inside.len());
        if done && this.due.is_none() && this.phase != Phase::Ended {
            self.inside_done(plan, frame);
        }
    }

    fn new_step(&mut self, plan: &Plan, parent: FrameId, node: NodeId) -> FrameId {
        let env = self.frames[parent].env;
        let id = &plan.node(node).id;
        let key = format!("{}{id}", self.envs[env].prefix).into();
        let frame = self.add_frame(Frame::new(Role::Step(node), Some(parent), env, key));
        self.envs[env].steps.insert(id.clone(), frame);
        frame
    }

    fn new_round(
        &mut self,
        plan: &Plan,
        parent: FrameId,
        key: &str,
        item: Value,
        index: usize,
    ) -> FrameId {
        let outer = self.frames[parent].env;
        let mut locals = HashMap::from([
            ("item".to_owned(), item.clone()),
            ("index".to_owned(), Value::Int(index as i64)),
        ]);
        let mut nodes: Arc<[NodeId]> = Arc::new([]);
        let mut is_named = false;
        if let Some(node) = self.node(plan, parent)
            && let Body::Foreach {
                name, nodes: list, ..
            } = &node.body
        {
            nodes = list.as_slice().into();
            is_named = node.named.is_used();
            if let Some(name) = name {
                locals.insert(name.clone(), item);
            }
        }
        let address = format!("{}[{key}]", self.frames[parent].key);
        let env = self.add_env(Env {
            parent: Some(outer),
            scope: self.envs[outer].scope,
            prefix: format!("{address}/"),
            locals,
            steps: Default::default(),
        });
        if is_named {
            let rounds = self.rounds.entry(parent).or_default();
            rounds.insert(percent_decode(key), env);
        }
        let mut block = Frame::new(Role::Round, Some(parent), env, address.into());
        block.phase = Phase::Inside;
        block.inside = Some(Box::new(Inside::nodes(nodes, 1)));
        self.add_frame(block)
    }

    /// Takes in that something inside `parent` has ended.
    ///
    /// With `failure` the frame gives up: nothing further inside it begins, and it fails as well.
    pub(super) fn inside_ended(
        &mut self,
        plan: &Plan,
        parent: FrameId,
        changed: bool,
        failure: Option<Failure>,
    ) {
        if let Some(inside) = &mut self.frames[parent].inside {
            inside.live -= 1;
            inside.changed |= changed;
            if failure.is_some() {
                inside.next = inside.len();
            }
            inside.failure = inside.failure.take().or(failure);
        }
        self.run_inside(plan, parent);
    }

    /// Everything inside has ended: so does the frame.
    fn inside_done(&mut self, plan: &Plan, frame: FrameId) {
        let this = &self.frames[frame];
        let failure = this
            .inside
            .as_ref()
            .and_then(|inside| inside.failure.clone());
        let changed = this.has_changed_inside();
        match this.role {
            Role::Step(node) => {
                if let (Body::Call { scope, .. }, Some(block)) =
                    (&plan.node(node).body, this.called)
                {
                    // It was judged once, and its outputs are those of then.
                    return self.playbook_done(plan, block, *scope, changed, failure);
                }
                let body = self.judge(plan, frame, failure.map_or_else(|| Ok(nothing()), Err));
                self.record(frame, body);
            }
            Role::Round => {
                let this = &mut self.frames[frame];
                this.phase = Phase::Ended;
                this.inside = None;
                if let Some(parent) = this.parent {
                    self.inside_ended(plan, parent, changed, failure);
                }
            }
            Role::Playbook(scope) => self.playbook_done(plan, frame, scope, changed, failure),
            Role::Rollback(undo) => self.rollback_steps_done(frame, undo),
            Role::Always => {
                self.frames[frame].phase = Phase::Ended;
                self.next_always(plan);
            }
        }
    }

    fn playbook_done(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        scope: ScopeId,
        changed: bool,
        failure: Option<Failure>,
    ) {
        let this = &mut self.frames[frame];
        this.phase = Phase::Ended;
        this.inside = None;
        let Some(call) = this.parent else {
            // What a cancel would only have stopped, and is done meanwhile, is done.
            self.halts.retain(|halt| {
                halt.frame.is_some()
                    || halt.class != Class::Cancelled
                    || halt.then != OnFailure::Stop
            });
            return self.finish_run(plan);
        };
        if let Some(inside) = &mut self.frames[call].inside {
            inside.live = 0;
            inside.changed |= changed;
        }
        let result = match failure {
            Some(failure) => Err(failure),
            None => {
                let (outputs, mut failures) = self.outputs(plan, frame, scope);
                match failures.is_empty() {
                    true => Ok(Value::map(outputs)),
                    false => Err(failures.swap_remove(0)),
                }
            }
        };
        let body = self.judge(plan, call, result);
        self.record(call, body);
    }
}

impl Frame {
    /// Returns whether a step inside has changed something.
    pub(super) fn has_changed_inside(&self) -> bool {
        self.inside.as_ref().is_some_and(|inside| inside.changed)
    }
}

impl State {
    pub(super) fn add_env(&mut self, env: Env) -> EnvId {
        self.envs.push(env);
        self.envs.len() - 1
    }

    /// Adds a frame; a further try of a step takes the place of the one before it.
    pub(super) fn add_frame(&mut self, frame: Frame) -> FrameId {
        let has_key = matches!(frame.role, Role::Step(_)) || frame.key.is_empty();
        if has_key && let Some(&id) = self.keys.get(&frame.key) {
            let called = self.frames[id].called;
            let is_open = |undo: &Registered| undo.frame == id && undo.result.is_none();
            let registered = self.frames[id].registered && self.registered.iter().any(is_open);
            self.frames[id] = Frame {
                called,
                registered,
                ..frame
            };
            return id;
        }
        let id = self.frames.len();
        if has_key {
            self.keys.insert(frame.key.clone(), id);
        }
        self.frames.push(frame);
        id
    }
}
