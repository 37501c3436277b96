//! What the names in an expression stand for.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{
    Mode, State,
    frame::{EnvId, FrameId, Phase, Role},
    judge::UNKNOWN_REST,
};
use crate::{
    event::StepState,
    expression::{Expression, Names, Template},
    kind::{Class, Failure},
    plan::{Body, Node, Plan, ScopeId, Tree},
    value::{Fields, Value},
};

/// The names that one step sees.
pub(super) struct Seen<'a> {
    state: &'a State,
    plan: &'a Plan,
    env: EnvId,
    frame: Option<FrameId>,
    result: Option<&'a Value>,
    locals: Vec<(&'a str, Value)>,
    at_the_end: bool,
}

impl<'a> Seen<'a> {
    /// Lets `run` tell outcome and findings as well.
    pub(super) fn at_the_end(mut self) -> Seen<'a> {
        self.at_the_end = true;
        self
    }

    pub(super) fn with_result(mut self, result: Option<&'a Value>) -> Seen<'a> {
        self.result = result;
        self
    }

    pub(super) fn with(mut self, locals: &[(&'a str, Value)]) -> Seen<'a> {
        self.locals.extend_from_slice(locals);
        self
    }
}

impl Names for Seen<'_> {
    fn get(&self, name: &str) -> Option<Value> {
        if let Some((_, value)) = self.locals.iter().find(|(local, _)| *local == name) {
            return Some(value.clone());
        }
        match name {
            "run" => return Some(self.state.run_value(self.at_the_end)),
            "result" if self.result.is_some() => return self.result.map(open_result),
            "before" => {
                let frame = self.frame.map(|frame| &self.state.frames[frame]);
                if let Some(before) = frame.and_then(|frame| frame.before()) {
                    return Some(before.clone());
                }
            }
            _ => {}
        }
        let mut env = Some(self.env);
        while let Some(id) = env {
            let here = &self.state.envs[id];
            if let Some(value) = here.locals.get(name) {
                return Some(value.clone());
            }
            if let Some(frame) = here.steps.get(name) {
                return Some(self.state.value_of(self.plan, *frame));
            }
            env = here.parent;
        }
        if name == "before" {
            return Some(Value::Absent(
                "the step's look found no state before".into(),
            ));
        }
        let scope = self.state.envs[self.env].scope;
        let node = self.plan.scope(scope).ids.get(name)?;
        Some(absent_result(
            self.plan.node(*node),
            &format!("step `{name}` has not run"),
        ))
    }
}

/// A whole result whose unknown rest is unknown as a whole.
fn open_result(result: &Value) -> Value {
    match result.get(UNKNOWN_REST) {
        Some(unknown) => unknown.clone(),
        None => result.clone(),
    }
}

/// Returns the result of a step that has none: every field that is named somewhere is absent, with the reason.
pub(super) fn absent_result(node: &Node, why: &str) -> Value {
    let mut fields: Fields = node
        .named
        .fields
        .iter()
        .map(|name| (name.clone(), Value::Absent(Arc::from(why))))
        .collect();
    for name in ["ok", "ran", "changed"] {
        fields.insert(name.to_owned(), Value::Bool(false));
    }
    Value::map(fields)
}

impl State {
    pub(super) fn names<'a>(&'a self, plan: &'a Plan, frame: FrameId) -> Seen<'a> {
        let env = self.frames[frame].env;
        Seen {
            state: self,
            plan,
            env,
            frame: Some(frame),
            result: None,
            locals: Vec::new(),
            at_the_end: false,
        }
    }

    /// Returns what `run` stands for; outcome and findings, which cost more, only where they can be named.
    fn run_value(&self, at_the_end: bool) -> Value {
        let mut fields = Fields::new();
        if let Some(begun) = &self.begun {
            fields.insert("id".to_owned(), Value::text(&*begun.run));
            fields.insert("user".to_owned(), Value::text(begun.user.as_str()));
            fields.insert("host".to_owned(), Value::text(begun.host.as_str()));
        }
        fields.insert("started".to_owned(), Value::Time(self.started_at));
        if !at_the_end && self.mode != Mode::Always {
            return Value::map(fields);
        }
        let (outcome, _) = self.outcome();
        fields.insert("outcome".to_owned(), Value::text(outcome.word()));
        let findings = self.findings.iter().map(|(step, finding)| {
            Value::map(Fields::from([
                ("step".to_owned(), Value::text(&**step)),
                (
                    "severity".to_owned(),
                    Value::text(finding.severity.to_string()),
                ),
                ("title".to_owned(), Value::text(finding.title.as_str())),
            ]))
        });
        fields.insert("findings".to_owned(), Value::list(findings.collect()));
        Value::map(fields)
    }

    /// Returns what the id of a step stands for.
    fn value_of(&self, plan: &Plan, frame: FrameId) -> Value {
        let this = &self.frames[frame];
        let Role::Step(node) = this.role else {
            return Value::Null;
        };
        let node = plan.node(node);
        let value = match (&this.result, &this.phase) {
            (Some(result), _) => result.clone(),
            (None, Phase::Ended) => {
                absent_result(node, &format!("step `{}` has no result", node.id))
            }
            (None, _) => absent_result(node, &format!("step `{}` has not ended", node.id)),
        };
        match (&node.body, value) {
            (Body::Foreach { .. }, Value::Map(fields)) if node.named.is_used() => {
                let mut fields = (*fields).clone();
                fields.extend(self.rounds_of(plan, frame));
                Value::map(fields)
            }
            (_, value) => value,
        }
    }

    /// Returns the results of each round of a loop, by the round's key.
    fn rounds_of(&self, plan: &Plan, frame: FrameId) -> Fields {
        let results = |env: &EnvId| {
            let steps = self.envs[*env].steps.iter();
            steps
                .map(|(id, frame)| (id.clone(), self.value_of(plan, *frame)))
                .collect()
        };
        let rounds = self.rounds.get(&frame).into_iter().flatten();
        rounds
            .map(|(key, env)| (key.clone(), Value::map(results(env))))
            .collect()
    }

    /// Returns the result of an ended step with the fields that every step has.
    pub(super) fn common_fields(
        &self,
        plan: &Plan,
        frame: FrameId,
        state: StepState,
        mut result: Fields,
    ) -> Value {
        let Some(node) = self.node(plan, frame) else {
            return Value::Null;
        };
        let why = match state {
            StepState::Skipped => format!("step `{}` was skipped", node.id),
            StepState::Already => format!("step `{}` was done already", node.id),
            StepState::Failed => format!("step `{}` failed", node.id),
            StepState::Refused => format!("step `{}` was refused", node.id),
            _ => format!("step `{}` gave no such result", node.id),
        };
        if !node.named.is_used() {
            return Value::Null;
        }
        let Value::Map(absent) = absent_result(node, &why) else {
            return Value::Null;
        };
        let mut fields = (*absent).clone();
        let ok = matches!(
            state,
            StepState::Ok | StepState::Changed | StepState::Already
        );
        let ran = !matches!(
            state,
            StepState::Skipped | StepState::Refused | StepState::Already
        );
        if let Some(unknown) = result.remove(UNKNOWN_REST) {
            if node.named.whole {
                return unknown;
            }
            fields
                .values_mut()
                .for_each(|field| *field = unknown.clone());
        }
        fields.insert("ok".to_owned(), Value::Bool(ok));
        fields.insert("ran".to_owned(), Value::Bool(ran));
        fields.insert(
            "changed".to_owned(),
            Value::Bool(state == StepState::Changed),
        );
        // A preview may not even know whether the step runs.
        fields.extend(result.into_iter().filter(|(name, value)| {
            !matches!(name.as_str(), "ok" | "ran" | "changed") || matches!(value, Value::Unknown(_))
        }));
        if node.named.keeps("at") {
            fields.insert("at".to_owned(), Value::Time(self.now));
        }
        Value::map(fields)
    }

    /// Works out the vars of a scope, in order, then its connections.
    pub(super) fn name_vars(
        &mut self,
        plan: &Plan,
        env: EnvId,
        scope: ScopeId,
    ) -> Result<(), Failure> {
        for (name, expression) in &plan.scope(scope).vars {
            let value = expression.eval(&self.names_of_scope(plan, env));
            let value = value.map_err(|error| {
                Failure::internal(format!("work out the var `{name}`: {}", error.message))
            })?;
            self.envs[env].locals.insert(name.clone(), value);
        }
        for (name, template) in &plan.scope(scope).connections {
            let url = template.render(&self.names_of_scope(plan, env));
            let url = url.map_err(|error| {
                let what = format!("work out the connection `{name}`: {}", error.message);
                Failure::internal(what)
            })?;
            let value = crate::plan::connection(name, &url);
            self.envs[env].locals.insert(name.clone(), value);
        }
        Ok(())
    }

    fn names_of_scope<'a>(&'a self, plan: &'a Plan, env: EnvId) -> Seen<'a> {
        Seen {
            state: self,
            plan,
            env,
            frame: None,
            result: None,
            locals: Vec::new(),
            at_the_end: false,
        }
    }

    pub(super) fn eval(
        &self,
        plan: &Plan,
        frame: FrameId,
        expression: &Expression,
        result: Option<&Value>,
    ) -> Result<Value, Failure> {
        evaluate(expression, &self.names(plan, frame).with_result(result))
    }

    pub(super) fn eval_with(
        &self,
        plan: &Plan,
        frame: FrameId,
        expression: &Expression,
        locals: &[(&str, Value)],
    ) -> Result<Value, Failure> {
        evaluate(expression, &self.names(plan, frame).with(locals))
    }

    /// Returns whether a condition holds; none where a preview can't know.
    pub(super) fn holds(
        &self,
        plan: &Plan,
        frame: FrameId,
        condition: &Expression,
        result: Option<&Value>,
    ) -> Result<Option<bool>, Failure> {
        match self.eval(plan, frame, condition, result)? {
            Value::Bool(holds) => Ok(Some(holds)),
            Value::Unknown(_) => Ok(None),
            other => Err(Failure::internal(format!(
                "check `{}`: it is a {}, not true or false",
                condition.text(),
                other.kind()
            ))),
        }
    }

    /// Returns the parts of a condition with their values, in a line.
    pub(super) fn explain(
        &self,
        plan: &Plan,
        frame: FrameId,
        condition: &Expression,
        result: Option<&Value>,
    ) -> String {
        let parts = parts(condition, &self.names(plan, frame).with_result(result));
        match parts.is_empty() {
            true => format!("`{}`", condition.text()),
            false => format!("`{}`: {}", condition.text(), parts.join(", ")),
        }
    }

    /// Returns a text for people, whatever comes.
    pub(super) fn text(
        &self,
        plan: &Plan,
        frame: FrameId,
        template: &Template,
        result: Option<&Value>,
    ) -> String {
        text(template, &self.names(plan, frame).with_result(result))
    }

    /// Returns a text that must be right.
    pub(super) fn strict_text(
        &self,
        plan: &Plan,
        frame: FrameId,
        template: &Template,
    ) -> Result<String, Failure> {
        match self.strict_value(plan, frame, template)? {
            value @ Value::Secret(_) => Ok(value.display()),
            value => value.to_text().map_err(|error| {
                Failure::internal(format!("work out `{}`: {error}", template.text()))
            }),
        }
    }

    /// Returns a text that must be right; one that holds a secret keeps its handles.
    pub(super) fn strict_value(
        &self,
        plan: &Plan,
        frame: FrameId,
        template: &Template,
    ) -> Result<Value, Failure> {
        let value = template.render(&self.names(plan, frame)).map_err(|error| {
            Failure::new(
                Class::Internal,
                format!("work out `{}`: {}", template.text(), error.message),
            )
        })?;
        match value {
            Value::Unknown(_) => Ok(Value::text(template.text())),
            value @ Value::Secret(_) => Ok(value),
            value => value.to_text().map(Value::text).map_err(|error| {
                Failure::internal(format!("work out `{}`: {error}", template.text()))
            }),
        }
    }

    /// Returns a typed value with its templates worked out; none where a preview can't know it.
    pub(super) fn read_tree<T: DeserializeOwned>(
        &self,
        plan: &Plan,
        frame: FrameId,
        tree: &Tree,
    ) -> Result<Option<T>, Failure> {
        tree.read(&self.names(plan, frame))
            .map_err(|error| Failure::internal(format!("work out {error}")))
    }
}

fn evaluate(expression: &Expression, names: &dyn Names) -> Result<Value, Failure> {
    expression.eval(names).map_err(|error| {
        let mut failure = Failure::internal(format!(
            "work out `{}`: {}",
            expression.text(),
            error.message
        ));
        failure.causes.extend(parts(expression, names));
        failure
    })
}

/// Returns the parts of an expression with their values.
pub(super) fn parts(expression: &Expression, names: &dyn Names) -> Vec<String> {
    expression
        .explain(names)
        .into_iter()
        .map(|part| match part.value {
            Ok(value) => format!("{} = {}", part.text, value.display()),
            Err(error) => format!("{}: {}", part.text, error.message),
        })
        .collect()
}

/// Returns the text of a template for people, whatever comes.
pub(super) fn text(template: &Template, names: &dyn Names) -> String {
    match template.render(names) {
        Ok(Value::Unknown(_)) => template.text().to_owned(),
        Ok(value) => value.to_text().unwrap_or_else(|_| value.display()),
        Err(error) => format!("{} ({})", template.text(), error.message),
    }
}
