//! How a frame goes on: `when`, `unless`, look, `guards`, `confirm`, act, and the steps inside it.

use std::sync::Arc;

use super::{
    Job, JobPhase, State, Task,
    frame::{Env, EnvId, Frame, FrameId, Inside, List, Phase, Role, Settle},
    outcome,
    rollback::Undo,
};
use crate::{
    event::{Ask, Asserted, Assertion, Body, Ended, Finding, Outcome, Question, StepState},
    kind::{Description, Effect, Failure, Looked, UndoRecord, UndoneBy},
    plan::{self, Guard, Node, NodeId, Plan, ScopeId, Tree, Work},
    units::Span,
    value::{Fields, Value},
};

/// How long one attempt of a step that only reads may take, where the playbook does not say it.
const READING_TIMEOUT: Span = Span::from_seconds(30);

impl State {
    /// Does what `frame` is at: until something of the world is needed, a decision is to be written down, or it waits.
    pub(super) fn advance(&mut self, plan: &Plan, frame: FrameId) {
        loop {
            if self.is_held(frame) {
                self.suspended.push(frame);
                return;
            }
            let done = match self.frames[frame].role {
                Role::Step(node) => self.advance_step(plan, frame, plan.node(node)),
                _ => self.advance_block(plan, frame),
            };
            if done {
                return;
            }
        }
    }

    fn is_held(&self, frame: FrameId) -> bool {
        self.stopping.is_some() || (self.halt.is_some() && !self.is_aside(frame))
    }

    /// Does one phase of a step; returns whether it now waits for something.
    fn advance_step(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> bool {
        match self.frames[frame].phase.clone() {
            Phase::When => self.when(plan, frame, node),
            Phase::Unless => self.unless(plan, frame, node),
            Phase::Look => self.look(plan, frame, node),
            Phase::Guards(index) => self.guard(plan, frame, &node.guards, index),
            Phase::Confirm => self.confirm(plan, frame, node),
            Phase::Start => self.start(plan, frame, node),
            Phase::Inside => {
                self.run_inside(plan, frame);
                true
            }
            Phase::Sleep(until) => {
                self.issue(frame, JobPhase::Sleep, Job::Sleep(until));
                true
            }
            Phase::Settle(settle) => self.settle(plan, frame, node, settle),
            Phase::Require | Phase::Ended => true,
        }
    }

    fn advance_block(&mut self, plan: &Plan, frame: FrameId) -> bool {
        let Role::Playbook(scope) = self.frames[frame].role else {
            self.run_inside(plan, frame);
            return true;
        };
        match self.frames[frame].phase {
            Phase::Require => {
                let requires: Vec<_> = plan
                    .scopes
                    .iter()
                    .flat_map(|scope| scope.requires.iter().cloned())
                    .collect();
                if requires.is_empty() {
                    self.frames[frame].phase = Phase::Guards(0);
                    return false;
                }
                self.issue(frame, JobPhase::Require, Job::Require(requires));
                true
            }
            Phase::Guards(index) => self.guard(plan, frame, &plan.scope(scope).guards, index),
            _ => {
                self.run_inside(plan, frame);
                true
            }
        }
    }

    fn when(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> bool {
        let Some(when) = &node.when else {
            self.frames[frame].phase = Phase::Unless;
            return false;
        };
        match self.holds(plan, frame, when, None) {
            Ok(Some(false)) => {
                let why = self.explain(plan, frame, when, None);
                self.record(frame, Body::Skipped { why });
                true
            }
            Ok(_) => {
                self.frames[frame].phase = Phase::Unless;
                false
            }
            Err(failure) => {
                self.fail_later(plan, frame, failure);
                true
            }
        }
    }

    fn unless(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> bool {
        let Some(unless) = &node.unless else {
            self.frames[frame].phase = Phase::Look;
            return false;
        };
        if let Some(probe) = &unless.probe {
            return self.probe(plan, frame, probe);
        }
        match self.holds(plan, frame, &unless.that, None) {
            Ok(Some(true)) => {
                let why = self.explain(plan, frame, &unless.that, None);
                let asserted = Asserted {
                    which: Assertion::Unless,
                    holds: Some(true),
                    why,
                    error: None,
                };
                self.record(frame, Body::Asserted(asserted));
                true
            }
            Ok(_) => {
                self.frames[frame].phase = Phase::Look;
                false
            }
            Err(failure) => {
                self.fail_later(plan, frame, failure);
                true
            }
        }
    }

    fn probe(&mut self, plan: &Plan, frame: FrameId, probe: &Work) -> bool {
        match self.task(plan, frame, probe, Effect::Read, None) {
            Ok(task) => self.issue(frame, JobPhase::Probe, Job::Probe(task)),
            Err(failure) => self.fail_later(plan, frame, failure),
        }
        true
    }

    fn look(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> bool {
        let Some(work) = node.work().filter(|work| work.kind.looks) else {
            self.frames[frame].phase = Phase::Guards(0);
            return false;
        };
        // What only reads looks when it is its turn to act: after the guards.
        if node.effect == Effect::Read && work.kind.effect == Effect::Read {
            self.frames[frame].phase = Phase::Guards(0);
            return false;
        }
        match self.task(plan, frame, work, node.effect, node.timeout.as_ref()) {
            Ok(task) => self.issue(frame, JobPhase::Look, Job::Look(task)),
            Err(failure) => self.fail_later(plan, frame, failure),
        }
        true
    }

    /// Takes in what a look before a change has found.
    pub(super) fn looked(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        action: &Description,
        look: &Looked,
    ) {
        self.answered(frame);
        if let Phase::Settle(_) = self.frames[frame].phase {
            self.settle_looked(plan, frame, look);
            return;
        }
        let this = &mut self.frames[frame];
        this.action = Some(action.clone());
        if let (
            Looked::Needed {
                before, summary, ..
            },
            false,
        ) = (look, this.started)
        {
            this.needed = Some((before.clone(), summary.clone()));
        }
        this.phase = Phase::Guards(0);
        self.advance(plan, frame);
    }

    fn guard(&mut self, plan: &Plan, frame: FrameId, guards: &[Guard], index: usize) -> bool {
        let Some(guard) = guards.get(index) else {
            self.frames[frame].phase = match self.frames[frame].role {
                Role::Step(_) => Phase::Confirm,
                _ => Phase::Inside,
            };
            return false;
        };
        if let Some(probe) = &guard.probe {
            return self.probe(plan, frame, probe);
        }
        match self.assert(plan, frame, guard, Assertion::Guard(index), None) {
            asserted if asserted.holds == Some(false) || asserted.error.is_some() => {
                self.record(frame, Body::Asserted(asserted));
                true
            }
            _ => {
                self.frames[frame].phase = Phase::Guards(index + 1);
                false
            }
        }
    }

    /// Returns what a condition with the answer of its probe comes to.
    pub(super) fn assert(
        &self,
        plan: &Plan,
        frame: FrameId,
        guard: &Guard,
        which: Assertion,
        result: Option<&Value>,
    ) -> Asserted {
        match self.holds(plan, frame, &guard.that, result) {
            Ok(Some(true)) => Asserted {
                which,
                holds: Some(true),
                why: String::new(),
                error: None,
            },
            Ok(None) => Asserted {
                which,
                holds: None,
                why: String::new(),
                error: None,
            },
            Ok(Some(false)) => {
                let parts = self.explain(plan, frame, &guard.that, result);
                let why = match &guard.otherwise {
                    Some(otherwise) => {
                        format!("{} ({parts})", self.text(plan, frame, otherwise, result))
                    }
                    None => parts,
                };
                Asserted {
                    which,
                    holds: Some(false),
                    why,
                    error: None,
                }
            }
            Err(failure) => Asserted {
                which,
                holds: Some(false),
                why: String::new(),
                error: Some(failure),
            },
        }
    }

    fn confirm(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> bool {
        let Some(confirm) = &node.confirm else {
            self.frames[frame].phase = Phase::Start;
            return false;
        };
        let question = match self.question(plan, frame, node, confirm) {
            Ok(question) => question,
            Err(failure) => {
                self.fail_later(plan, frame, failure);
                return true;
            }
        };
        if self.frames[frame].confirmed.as_ref() == Some(&question.digest()) {
            self.frames[frame].phase = Phase::Start;
            return false;
        }
        self.issue(frame, JobPhase::Ask, Job::Ask(Box::new(question)));
        true
    }

    fn question(
        &self,
        plan: &Plan,
        frame: FrameId,
        node: &Node,
        confirm: &plan::Confirm,
    ) -> Result<Question, Failure> {
        let this = &self.frames[frame];
        let message = match confirm.message.as_ref().or(node.title.as_ref()) {
            Some(message) => self.strict_text(plan, frame, message)?,
            None => format!("Run `{}`?", node.id),
        };
        let ask = match &confirm.phrase {
            Some(phrase) => Ask::Phrase(self.strict_text(plan, frame, phrase)?),
            None => Ask::Confirm,
        };
        let undo = match (&node.irreversible, &node.rollback, node.work()) {
            (Some(why), _, _) => Some(format!("can't be undone: {why}")),
            (None, Some(steps), _) if !steps.is_empty() => {
                Some("the playbook says how it is undone".to_owned())
            }
            (None, None, Some(work)) if work.kind.undone == UndoneBy::Itself => {
                Some("undone by itself".to_owned())
            }
            _ => None,
        };
        Ok(Question {
            ask,
            message,
            action: this.action.clone(),
            change: this.needed.as_ref().map(|(_, summary)| summary.clone()),
            undo,
        })
    }

    fn start(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> bool {
        match self.begin_body(plan, frame, node) {
            Ok(()) => {}
            Err(failure) => self.fail_later(plan, frame, failure),
        }
        true
    }

    fn begin_body(&mut self, plan: &Plan, frame: FrameId, node: &Node) -> Result<(), Failure> {
        let ask = |ask: Ask, message: String| Question {
            ask,
            message,
            action: None,
            change: None,
            undo: None,
        };
        match &node.body {
            plan::Body::Work(work) => {
                let task = self.task(plan, frame, work, node.effect, node.timeout.as_ref())?;
                let reads = node.effect == Effect::Read;
                if reads && work.kind.looks && work.kind.effect == Effect::Read {
                    self.issue(frame, JobPhase::Look, Job::Look(task));
                } else {
                    let this = &self.frames[frame];
                    let before = this.needed.as_ref().map(|(before, _)| before.clone());
                    let registered = this.started;
                    self.issue(
                        frame,
                        JobPhase::Perform,
                        Job::Perform {
                            task,
                            before,
                            registered,
                        },
                    );
                }
            }
            plan::Body::Group(_) | plan::Body::Parallel { .. } | plan::Body::Call { .. } => {
                self.record(
                    frame,
                    Body::Entered {
                        rounds: None,
                        branch: None,
                    },
                );
            }
            plan::Body::Foreach { items, key, .. } => {
                let rounds = self.rounds(plan, frame, items, key.as_ref())?;
                let keys = rounds.into_iter().map(|(key, _)| key).collect();
                self.record(
                    frame,
                    Body::Entered {
                        rounds: Some(keys),
                        branch: None,
                    },
                );
            }
            plan::Body::Choose(branches) => {
                let branch = self.branch(plan, frame, branches)?;
                self.record(
                    frame,
                    Body::Entered {
                        rounds: None,
                        branch,
                    },
                );
            }
            plan::Body::Ask(inputs) => {
                let names = inputs.iter().map(|input| input.name.clone()).collect();
                let message = self.title_or_id(plan, frame, node);
                self.issue(
                    frame,
                    JobPhase::Ask,
                    Job::Ask(Box::new(ask(Ask::Inputs(names), message))),
                );
            }
            plan::Body::Manual(text) => {
                let text = self.strict_text(plan, frame, text)?;
                self.issue(
                    frame,
                    JobPhase::Ask,
                    Job::Ask(Box::new(ask(Ask::Manual, text))),
                );
            }
            plan::Body::Wait(span) => {
                let until = match self.read_tree::<Span>(plan, frame, span)? {
                    Some(span) => self.tries_since(frame).milliseconds + span.milliseconds,
                    None => self.now.milliseconds,
                };
                let until = Ask::Until(crate::units::Time::from_milliseconds(until));
                let message = self.title_or_id(plan, frame, node);
                self.issue(
                    frame,
                    JobPhase::Ask,
                    Job::Ask(Box::new(ask(until, message))),
                );
            }
            plan::Body::Notify { to, message } => {
                let to = self.strict_text(plan, frame, to)?;
                let message = self.strict_text(plan, frame, message)?;
                self.issue(frame, JobPhase::Perform, Job::Notify { to, message });
            }
            plan::Body::Finding {
                severity,
                title,
                advice,
            } => {
                let finding = Finding {
                    severity: *severity,
                    title: self.strict_text(plan, frame, title)?,
                    advice: advice
                        .as_ref()
                        .map(|advice| self.strict_text(plan, frame, advice))
                        .transpose()?,
                };
                let body = self.judge_finding(plan, frame, finding);
                self.record(frame, body);
            }
            plan::Body::Set(values) => {
                let mut fields = Fields::new();
                for (name, expression) in values {
                    fields.insert(name.clone(), self.eval(plan, frame, expression, None)?);
                }
                let body = self.judge(
                    plan,
                    frame,
                    Ok(Value::map(fields)),
                    Span::default(),
                    Vec::new(),
                );
                self.record(frame, body);
            }
            plan::Body::Checkpoint => {
                let body = self.judge(
                    plan,
                    frame,
                    Ok(Value::map(Fields::new())),
                    Span::default(),
                    Vec::new(),
                );
                self.record(frame, body);
            }
        }
        Ok(())
    }

    fn tries_since(&mut self, frame: FrameId) -> crate::units::Time {
        *self.frames[frame].tries.since.get_or_insert(self.now)
    }

    fn title_or_id(&self, plan: &Plan, frame: FrameId, node: &Node) -> String {
        match &node.title {
            Some(title) => self.text(plan, frame, title, None),
            None => node.id.clone(),
        }
    }

    /// Returns a kind with its arguments worked out.
    pub(super) fn task(
        &self,
        plan: &Plan,
        frame: FrameId,
        work: &Work,
        effect: Effect,
        timeout: Option<&Tree>,
    ) -> Result<Task, Failure> {
        let arguments = work
            .arguments
            .render(&self.names(plan, frame))
            .map_err(|error| {
                Failure::internal(format!(
                    "work out the arguments of `{}`: {error}",
                    work.kind.name
                ))
            })?;
        let timeout = match timeout {
            Some(tree) => self.read_tree::<Span>(plan, frame, tree)?,
            None if effect == Effect::Read => Some(READING_TIMEOUT),
            None => None,
        };
        let sensitive = self
            .node(plan, frame)
            .map(|node| node.sensitive.clone())
            .unwrap_or_default();
        Ok(Task {
            kind: work.kind.name.to_owned(),
            arguments,
            effect,
            timeout,
            sensitive,
        })
    }

    /// Returns the rounds of a loop; one round with an unknown item where a preview can't know the list.
    fn rounds(
        &self,
        plan: &Plan,
        frame: FrameId,
        items: &crate::expression::Expression,
        key: Option<&crate::expression::Expression>,
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
        let mut seen = std::collections::HashSet::new();
        for (index, item) in list.iter().enumerate() {
            let key = match key {
                None => index.to_string(),
                Some(key) => {
                    let locals = [("item", item.clone()), ("index", Value::Int(index as i64))];
                    let value = self.eval_with(plan, frame, key, &locals)?;
                    value.to_text().map_err(|error| {
                        Failure::internal(format!("make the key of a round: {error}"))
                    })?
                }
            };
            let key = percent_encode(&key);
            if !seen.insert(key.clone()) {
                return Err(Failure::internal(format!(
                    "tell the rounds apart: two have the key `{key}`"
                )));
            }
            rounds.push((key, item.clone()));
        }
        Ok(rounds)
    }

    /// Returns the branch that is taken: its index, or the number of branches for 'all of them, perhaps'.
    fn branch(
        &self,
        plan: &Plan,
        frame: FrameId,
        branches: &[plan::Branch],
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
        self.any_started = true;
        let inside = match self.inside_of(plan, frame, node, rounds, branch) {
            Ok(inside) => inside,
            Err(failure) => return self.fail_later(plan, frame, failure),
        };
        let first = !self.frames[frame].started;
        let this = &mut self.frames[frame];
        this.state = StepState::Running;
        this.started = true;
        this.phase = Phase::Inside;
        this.inside = inside;
        if first && let Some(steps) = node.rollback.as_ref().filter(|steps| !steps.is_empty()) {
            self.register(frame, Undo::Steps(steps.clone()));
        }
        if let plan::Body::Call { scope, with } = &node.body {
            self.call(plan, frame, *scope, with);
        } else {
            self.advance(plan, frame);
        }
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
            Ok(match tree {
                Some(tree) => self
                    .read_tree::<usize>(plan, frame, tree)?
                    .unwrap_or(or)
                    .max(1),
                None => or,
            })
        };
        Ok(match &node.body {
            plan::Body::Parallel {
                nodes,
                at_once: limit,
            } => Inside::nodes(nodes.as_slice().into(), at_once(limit, usize::MAX)?),
            plan::Body::Foreach {
                items,
                key,
                at_once: limit,
                ..
            } => {
                let mut found = self.rounds(plan, frame, items, key.as_ref())?;
                if let Some(keys) = rounds {
                    found.retain(|(key, _)| keys.contains(key));
                }
                let list = List::Rounds(found.into());
                Inside {
                    list,
                    ..Inside::nodes(Arc::new([]), at_once(limit, 1)?)
                }
            }
            plan::Body::Choose(branches) => {
                let nodes: Vec<NodeId> = match branch {
                    None => Vec::new(),
                    Some(index) if index < branches.len() => branches[index].nodes.clone(),
                    Some(_) => branches
                        .iter()
                        .flat_map(|branch| branch.nodes.clone())
                        .collect(),
                };
                Inside::nodes(nodes.into(), 1)
            }
            plan::Body::Group(nodes) => Inside::nodes(nodes.as_slice().into(), 1),
            _ => Inside::nothing(),
        })
    }

    fn call(&mut self, plan: &Plan, frame: FrameId, scope: ScopeId, with: &Tree) {
        let inputs = match with.render(&self.names(plan, frame)) {
            Ok(Value::Map(given)) => crate::plan::check_inputs(&plan.scope(scope).inputs, &given),
            Ok(_) => Ok(Fields::new()),
            Err(error) => Err(error.to_string()),
        };
        let inputs = match inputs {
            Ok(inputs) => inputs,
            Err(why) => {
                let failure =
                    Failure::internal(format!("call `{}`: {why}", plan.scope(scope).name));
                return self.fail_later(plan, frame, failure);
            }
        };
        let key = self.frames[frame].key.clone();
        let env = self.enter_scope(plan, scope, &inputs, format!("{key}/"));
        self.frames[frame].inside.live = 1;
        let block = self.new_frame(Role::Playbook(scope), Some(frame), env, key);
        self.frames[block].phase = Phase::Guards(0);
        self.frames[block].inside = Inside::nodes(plan.scope(scope).steps.as_slice().into(), 1);
        self.advance(plan, block);
    }

    /// Begins as many of the steps or rounds inside as may run at once; ends the frame when none is left.
    pub(super) fn run_inside(&mut self, plan: &Plan, frame: FrameId) {
        loop {
            let Frame {
                inside, env, role, ..
            } = &self.frames[frame];
            if inside.next >= inside.len() || inside.live >= inside.at_once {
                break;
            }
            if self.is_held(frame) {
                self.suspended.push(frame);
                return;
            }
            let (env, role, index) = (*env, *role, inside.next);
            let child = match &inside.list {
                List::Nodes(nodes) => {
                    let node = nodes[index];
                    self.new_step(plan, frame, env, node)
                }
                List::Rounds(rounds) => {
                    let (key, item) = rounds[index].clone();
                    self.new_round(plan, frame, role, &key, item, index)
                }
            };
            let inside = &mut self.frames[frame].inside;
            inside.next += 1;
            inside.live += 1;
            self.advance(plan, child);
        }
        let inside = &self.frames[frame].inside;
        if inside.live == 0
            && inside.next >= inside.len()
            && self.frames[frame].phase != Phase::Ended
        {
            self.inside_done(plan, frame);
        }
    }

    fn new_step(&mut self, plan: &Plan, parent: FrameId, env: EnvId, node: NodeId) -> FrameId {
        let id = &plan.node(node).id;
        let key = format!("{}{id}", self.envs[env].prefix).into();
        let frame = self.new_frame(Role::Step(node), Some(parent), env, key);
        self.envs[env].steps.insert(id.clone(), frame);
        frame
    }

    fn new_round(
        &mut self,
        plan: &Plan,
        parent: FrameId,
        role: Role,
        key: &str,
        item: Value,
        index: usize,
    ) -> FrameId {
        let outer = self.frames[parent].env;
        let mut locals = std::collections::HashMap::from([
            ("item".to_owned(), item.clone()),
            ("index".to_owned(), Value::Int(index as i64)),
        ]);
        let mut list: Arc<[NodeId]> = Arc::new([]);
        if let Role::Step(node) = role
            && let plan::Body::Foreach { name, nodes, .. } = &plan.node(node).body
        {
            list = nodes.as_slice().into();
            if let Some(name) = name {
                locals.insert(name.clone(), item);
            }
        }
        let prefix = format!("{}[{key}]/", self.frames[parent].key);
        let scope = self.envs[outer].scope;
        let env = self.new_env(Env {
            parent: Some(outer),
            scope,
            prefix,
            locals,
            steps: Default::default(),
        });
        let block = self.new_frame(
            Role::Round,
            Some(parent),
            env,
            format!("{}[{key}]", self.frames[parent].key).into(),
        );
        self.frames[block].phase = Phase::Inside;
        self.frames[block].inside = Inside::nodes(list, 1);
        block
    }

    /// Everything inside has ended: so does the frame.
    fn inside_done(&mut self, plan: &Plan, frame: FrameId) {
        let changed = self.frames[frame].inside.changed;
        match self.frames[frame].role {
            Role::Step(_) => {
                let body = self.judge(
                    plan,
                    frame,
                    Ok(Value::map(Fields::new())),
                    Span::default(),
                    Vec::new(),
                );
                self.record(frame, body);
            }
            Role::Round => {
                self.frames[frame].phase = Phase::Ended;
                if let Some(parent) = self.frames[frame].parent {
                    self.inside_ended(
                        plan,
                        parent,
                        if changed {
                            StepState::Changed
                        } else {
                            StepState::Ok
                        },
                    );
                }
            }
            Role::Playbook(scope) => self.playbook_done(plan, frame, scope),
            Role::Rollback(undo) => self.rollback_steps_done(plan, frame, undo),
            Role::Always => {
                self.frames[frame].phase = Phase::Ended;
                self.next_always(plan);
            }
        }
    }

    fn playbook_done(&mut self, plan: &Plan, frame: FrameId, scope: ScopeId) {
        self.frames[frame].phase = Phase::Ended;
        let Some(call) = self.frames[frame].parent else {
            return self.finish_run(plan);
        };
        let outputs = self.outputs(plan, frame, scope);
        let changed = self.frames[frame].inside.changed;
        let inside = &mut self.frames[call].inside;
        inside.live = 0;
        inside.changed |= changed;
        let body = self.judge(
            plan,
            call,
            Ok(Value::map(outputs)),
            Span::default(),
            Vec::new(),
        );
        self.record(call, body);
    }

    /// The work, or its undoing, is done: what runs last begins, or the run ends.
    pub(super) fn finish_run(&mut self, plan: &Plan) {
        if self.any_started && !self.always.is_empty() && self.mode != super::Mode::Always {
            self.record_run(Body::Always);
            return;
        }
        let (outcome, why) = outcome(self);
        let outputs = if outcome == Outcome::Succeeded {
            self.root_outputs(plan)
        } else {
            Fields::new()
        };
        let dirty = self.remains();
        self.record_run(Body::Ended(Ended {
            outcome,
            why,
            outputs,
            dirty,
        }));
    }

    fn root_outputs(&self, plan: &Plan) -> Fields {
        match self.keys.get("") {
            Some(root) => self.outputs(plan, *root, ScopeId(0)),
            None => Fields::new(),
        }
    }

    fn outputs(&self, plan: &Plan, frame: FrameId, scope: ScopeId) -> Fields {
        plan.scope(scope)
            .outputs
            .iter()
            .filter_map(
                |(name, expression)| match self.eval(plan, frame, expression, None) {
                    Ok(Value::Absent(_)) | Err(_) => None,
                    Ok(value) => Some((name.clone(), value)),
                },
            )
            .collect()
    }

    /// Begins the next `always`, the last entered scope first; ends the run after the last one.
    pub(super) fn next_always(&mut self, plan: &Plan) {
        let Some((env, scope)) = self.always.pop() else {
            return self.finish_run(plan);
        };
        let block = self.new_frame(Role::Always, None, env, "always".into());
        self.frames[block].phase = Phase::Inside;
        self.frames[block].inside = Inside::nodes(plan.scope(scope).always.as_slice().into(), 1);
        self.advance(plan, block);
    }

    /// Returns a new environment for the steps of a playbook.
    pub(super) fn enter_scope(
        &mut self,
        plan: &Plan,
        scope: ScopeId,
        inputs: &Fields,
        prefix: String,
    ) -> EnvId {
        let locals = inputs
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let env = self.new_env(Env {
            parent: None,
            scope,
            prefix,
            locals,
            steps: Default::default(),
        });
        self.name_vars(plan, env, scope);
        if !plan.scope(scope).always.is_empty() {
            self.always.push((env, scope));
        }
        env
    }

    fn new_env(&mut self, env: Env) -> EnvId {
        self.envs.push(env);
        self.envs.len() - 1
    }

    /// Takes in that a step is about to act: from here on it may have happened.
    pub(super) fn started(
        &mut self,
        plan: &Plan,
        frame: FrameId,
        attempt: u32,
        action: &Description,
        before: Option<&Value>,
        undo: Option<&UndoRecord>,
    ) {
        let Some(node) = self.node(plan, frame) else {
            return;
        };
        let first = !self.frames[frame].started;
        let this = &mut self.frames[frame];
        this.attempt = attempt;
        this.state = StepState::Running;
        this.started = true;
        this.acting = true;
        this.action = Some(action.clone());
        if let (Some(before), None) = (before, &this.needed) {
            this.needed = Some((before.clone(), String::new()));
        }
        self.any_started = true;
        self.past_no_return |= node.is_point_of_no_return();
        let undo = match (&node.irreversible, &node.rollback) {
            (Some(why), _) if node.effect > Effect::Read => Some(Undo::Irreversible(why.clone())),
            (_, Some(steps)) if steps.is_empty() => None,
            (_, Some(steps)) => Some(Undo::Steps(steps.clone())),
            _ => undo.cloned().map(Undo::Kind),
        };
        let known = self
            .registered
            .iter()
            .rev()
            .any(|registered| registered.frame == frame);
        if let Some(undo) = undo
            && (first || !known)
            && !self.is_aside(frame)
            && !self.is_covered(plan, frame)
        {
            self.register(frame, undo);
        }
    }

    /// Returns whether a step around `frame` says by hand how all of it is undone.
    fn is_covered(&self, plan: &Plan, frame: FrameId) -> bool {
        self.ancestors(frame).any(|frame| {
            self.node(plan, frame)
                .is_some_and(|node| node.rollback.is_some())
        })
    }

    fn settle(&mut self, plan: &Plan, frame: FrameId, node: &Node, settle: Settle) -> bool {
        self.frames[frame].state = StepState::InDoubt;
        match settle {
            Settle::Unless => match &node.unless {
                Some(Guard {
                    probe: Some(probe), ..
                }) => self.probe(plan, frame, probe),
                Some(Guard { that, .. })
                    if matches!(self.holds(plan, frame, that, None), Ok(Some(true))) =>
                {
                    self.settle_record(
                        frame,
                        crate::event::Settlement::Done(Value::map(Fields::new())),
                    );
                    true
                }
                _ => {
                    self.frames[frame].phase = Phase::Settle(Settle::Look);
                    false
                }
            },
            Settle::Look => {
                let work = node.work().filter(|work| work.kind.looks);
                match work
                    .map(|work| self.task(plan, frame, work, node.effect, node.timeout.as_ref()))
                {
                    Some(Ok(task)) => {
                        self.issue(frame, JobPhase::Look, Job::Look(task));
                        true
                    }
                    _ if node.effect == Effect::Read => {
                        self.settle_record(frame, crate::event::Settlement::Redo);
                        true
                    }
                    _ => {
                        self.frames[frame].phase = Phase::Settle(Settle::Ask);
                        false
                    }
                }
            }
            Settle::Ask => {
                let question = self.doubt(plan, frame, node);
                self.issue(frame, JobPhase::Ask, Job::Ask(Box::new(question)));
                true
            }
        }
    }
}

/// Returns `key` fit for an address: everything but letters, digits and `-._~` is percent-encoded.
fn percent_encode(key: &str) -> String {
    use std::fmt::Write;
    key.bytes()
        .fold(String::with_capacity(key.len()), |mut text, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                write!(text, "%{byte:02X}").expect("writing to a string can't fail");
            }
            text
        })
}
