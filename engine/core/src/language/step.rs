//! Reads steps.

use std::sync::Arc;

use super::{
    names::{Around, Own, Results},
    playbook::{Sorted, on_failure},
    reader::Reader,
    rules,
    schema::BODIES,
};
use crate::{
    diagnostic::Diagnostic,
    expression::Template,
    kind::{Effect, Kind},
    plan::{
        Body, Confirm, Expect, ExpectSeverity, Guard, Node as Step, NodeId, ScopeId, Sensitive,
        Severity, Tree, Until, Work,
    },
    schema::Templates,
    units::Span,
    value::Value,
    yaml::Node,
};

/// Where steps stand.
#[derive(Clone)]
pub(super) enum Place {
    /// Among the steps of the work.
    Work,
    /// In `always`.
    Always,
    /// In the `rollback` of the step with this result.
    Rollback(Own),
}

impl Place {
    /// Returns what the steps there can name beside what was named before them.
    fn around(&self) -> Around {
        match self {
            Place::Work => Around::default(),
            Place::Always => Around {
                ended: true,
                ..Around::default()
            },
            Place::Rollback(undone) => Around {
                before: true,
                result: Some(undone.clone()),
                ..Around::default()
            },
        }
    }
}

/// The keys that only a step with a kind can have.
const KIND_ONLY: [&str; 6] = [
    "unless",
    "retry",
    "timeout",
    "effect",
    "irreversible",
    "sensitive",
];

impl Reader<'_> {
    /// Reads steps one after the other.
    pub(super) fn steps(&mut self, node: Option<&Node>, place: &Place) -> Vec<NodeId> {
        let steps = node.and_then(Node::as_list).unwrap_or_default();
        steps
            .iter()
            .filter_map(|step| self.step(step, place))
            .collect()
    }

    /// Reads one step and all that is inside it.
    pub(super) fn step(&mut self, node: &Node, place: &Place) -> Option<NodeId> {
        let entries = node.as_map()?;
        let id = node
            .get("id")
            .and_then(Node::as_text)
            .unwrap_or_default()
            .to_owned();
        let this = NodeId(self.nodes.len());
        let (line, _) = self.source.position(node.span.start);
        let is_aside = !matches!(place, Place::Work);
        self.nodes.push(blank(id.clone(), line, is_aside));
        self.names.around.push(id.clone());
        let is_strange = self.is_strange(entries, &self.keys.step);
        let body = self.body_key(node, entries, is_strange);
        let around = place.around();
        let when = node
            .get("when")
            .and_then(|node| self.expression(node, &around.deciding("when")));
        let unless = node
            .get("unless")
            .and_then(|node| self.unless(node, &around));
        let looked = Around {
            before: true,
            ..around.clone()
        };
        let title = node
            .get("title")
            .and_then(|node| self.template(node, &looked));
        let guards = self.guards(node.get("guards"), &looked);
        let confirm = node
            .get("confirm")
            .and_then(|node| self.confirm(node, &looked));
        let (body, results) = match body {
            Some((key, value)) => self.body(this, key, value, place),
            None if is_strange => (Body::Checkpoint, Results::Open),
            None => (Body::Checkpoint, Results::of([])),
        };
        if is_strange {
            self.name_strange(entries, &self.keys.step.clone());
            self.reveal_strange(entries);
        }
        let body = self.beside(node, body, &around);
        let effect = self.effect(node, &body);
        if !matches!(body, Body::Work(_)) && !is_strange {
            self.refuse_kind_only(entries);
        }
        let sensitive = self.sensitive(node.get("sensitive"), &id, &results);
        let mut own = Own {
            results: results.clone(),
            step: Some((Arc::from(id.as_str()), this)),
            kept: false,
        };
        let after = Around {
            result: Some(own.clone()),
            before: true,
            ..around.clone()
        };
        let expect = self.expects(node.get("expect"), &after);
        let until = self.until(node, &after, &body, effect, is_strange);
        let retry = node.get("retry").map(|node| self.tree(node, &around));
        let timeout = node.get("timeout").map(|node| self.tree(node, &around));
        let irreversible = node
            .get("irreversible")
            .and_then(Node::as_text)
            .map(str::to_owned);
        own.kept = true;
        let rollback = node
            .get("rollback")
            .filter(|node| node.as_list().is_some())
            .map(|node| self.rollback(node, own));
        self.names.around.pop();
        let step = Step {
            title,
            when,
            unless,
            guards,
            confirm,
            expect,
            retry,
            until,
            timeout,
            effect,
            rollback,
            irreversible,
            on_failure: node.get("on_failure").and_then(on_failure),
            sensitive,
            body,
            ..blank(id.clone(), line, is_aside)
        };
        rules::step(self, node, &step, is_strange);
        self.nodes[this.0] = step;
        if let Some(name) = self.names.steps.get_mut(&id) {
            name.node = Some(this);
            name.results = results;
        }
        self.names.reveal(&id);
        Some(this)
    }

    /// Reads the steps that undo a step. They run when everything after it is over: only they name each other's results.
    fn rollback(&mut self, node: &Node, own: Own) -> Vec<NodeId> {
        let mark = self.names.known.len();
        let steps = self.steps(Some(node), &Place::Rollback(own));
        self.names.conceal(mark);
        steps
    }

    /// Makes the steps known that lie under keys that nobody knows, so that naming them is no further mistake.
    fn reveal_strange(&mut self, entries: &[(Node, Node)]) {
        for (key, value) in entries {
            if self.keys.step.contains(key.written()) || self.kind(key.written()).is_some() {
                continue;
            }
            let steps = value
                .as_list()
                .or(value.get("steps").and_then(Node::as_list));
            for step in steps.unwrap_or_default() {
                if let Some(id) = step.get("id").and_then(Node::as_text) {
                    self.names.reveal(id);
                }
                self.reveal_strange(step.as_map().unwrap_or_default());
            }
        }
    }

    /// Reads what stands beside the body's key and belongs to it.
    fn beside(&mut self, node: &Node, body: Body, around: &Around) -> Body {
        let Some((key, value)) = node.entry("at_once") else {
            return body;
        };
        match body {
            Body::Parallel { nodes, .. } => Body::Parallel {
                nodes,
                at_once: Some(self.tree(value, around)),
            },
            body => {
                self.error(
                    key,
                    "`at_once` belongs to `parallel`; that of a `foreach` stands inside it",
                );
                body
            }
        }
    }

    /// Returns the one key that says what the step does.
    fn body_key<'n>(
        &mut self,
        node: &'n Node,
        entries: &'n [(Node, Node)],
        is_strange: bool,
    ) -> Option<(&'n Node, &'n Node)> {
        let mut found: Option<(&Node, &Node)> = None;
        for (key, value) in entries {
            let name = key.written();
            if !BODIES.contains(&name) && self.kind(name).is_none() {
                continue;
            }
            match found {
                None => found = Some((key, value)),
                Some((first, _)) => {
                    let message = format!(
                        "a step does exactly one thing, but this one has `{}` and `{name}`",
                        first.written()
                    );
                    self.problems.push(
                        Diagnostic::error(message, key.span.clone())
                            .label(first.span.clone(), "the first one")
                            .hint("split it into two steps"),
                    );
                }
            }
        }
        // A misspelt kind is reported as an unknown key already.
        if found.is_none()
            && !is_strange
            && node.get("confirm").is_none()
            && node.get("expect").is_none()
        {
            let (first, _) = entries.first()?;
            self.error_hint(
                first,
                "this step does nothing",
                "give it a kind like `command`, a structure like `group`, or a `confirm` or `expect` to stand alone",
            );
        }
        found
    }

    fn unless(&mut self, node: &Node, around: &Around) -> Option<Guard> {
        if node.as_map().is_some() {
            return self.guard(node, around, "unless");
        }
        // A list is reported by the schema.
        let that = self.expression(
            Some(node).filter(|node| node.as_list().is_none())?,
            &around.deciding("unless"),
        )?;
        Some(Guard {
            probe: None,
            that,
            otherwise: None,
        })
    }

    fn confirm(&mut self, node: &Node, around: &Around) -> Option<Confirm> {
        if node.as_map().is_some() {
            let message = node
                .get("message")
                .and_then(|node| self.template(node, around));
            let phrase = node
                .get("phrase")
                .and_then(|node| self.template(node, &around.deciding("phrase")));
            let deadline = node.get("deadline").map(|node| self.tree(node, around));
            return Some(Confirm {
                message,
                phrase,
                approvers: match node.get("approvers").map(Node::to_value) {
                    Some(Value::Int(number)) => u32::try_from(number).unwrap_or(1),
                    _ => 1,
                },
                not_starter: node
                    .get("not_starter")
                    .is_some_and(|node| node.to_value() == Value::Bool(true)),
                deadline,
            });
        }
        match node.to_value() {
            Value::Bool(true) => Some(Confirm::plain(None)),
            Value::Bool(false) => {
                self.error_hint(
                    node,
                    "`confirm: false` says nothing",
                    "leave it out: nobody is asked then",
                );
                None
            }
            _ => Some(Confirm::plain(Some(self.template(node, around)?))),
        }
    }

    fn expects(&mut self, node: Option<&Node>, own: &Around) -> Vec<Expect> {
        let mut read = Vec::new();
        for item in node.and_then(Node::as_list).unwrap_or_default() {
            let each = item
                .get("each")
                .and_then(|node| self.expression(node, &own.deciding("each")));
            let locals = self.names.locals.len();
            if item.get("each").is_some() || is_strange_expect(item) {
                self.names
                    .locals
                    .extend(["item".to_owned(), "index".to_owned()]);
            }
            let that = item
                .get("that")
                .and_then(|node| self.expression(node, &own.deciding("that")));
            let otherwise = item.get("else").and_then(|node| self.template(node, own));
            self.names.locals.truncate(locals);
            let severity = match item.get("severity").and_then(Node::as_text) {
                Some("warning") => ExpectSeverity::Finding(Severity::Warning),
                Some("critical") => ExpectSeverity::Finding(Severity::Critical),
                _ => ExpectSeverity::Failure,
            };
            if let Some(that) = that {
                read.push(Expect {
                    each,
                    that,
                    otherwise,
                    severity,
                });
            }
        }
        read
    }

    fn until(
        &mut self,
        node: &Node,
        own: &Around,
        body: &Body,
        effect: Effect,
        is_strange: bool,
    ) -> Option<Until> {
        let Some((key, condition)) = node.entry("until") else {
            for name in ["every", "within", "stable_for"] {
                if let Some((key, _)) = node.entry(name).filter(|_| !is_strange) {
                    self.error(
                        key,
                        format!("`{name}` belongs to an `until`, and this step has none"),
                    );
                }
            }
            return None;
        };
        match body {
            Body::Work(_) | Body::Call { .. } | Body::Group(_) => {
                if effect > Effect::Read {
                    self.error_hint(
                        key,
                        "`until` asks again, so it can only be on what reads",
                        "put it on a step of its own that reads, after this one",
                    );
                }
            }
            Body::Parallel { .. } | Body::Foreach { .. } | Body::Choose(_) => {
                self.error(
                    key,
                    "`until` can't be on this structure; put a `group` around it",
                );
            }
            _ if is_strange => {}
            _ => {
                let hint = "put it on a step with a kind that reads";
                self.error_hint(key, "there is nothing here to ask again", hint);
            }
        }
        let that = self.expression(condition, &own.deciding("until"));
        let Some(within) = node.get("within") else {
            if !is_strange {
                self.error_hint(
                    key,
                    "`until` needs `within`",
                    "say how long at the most, like `within: 2m`",
                );
            }
            return None;
        };
        let timing = Around {
            result: None,
            before: false,
            ..own.clone()
        };
        let span =
            |reader: &mut Self, name: &str| node.get(name).map(|node| reader.tree(node, &timing));
        let every =
            span(self, "every").unwrap_or(Tree::Literal(Value::Duration(Span::from_seconds(1))));
        let stable_for = span(self, "stable_for");
        if let (Some(stable), Some(place)) = (&stable_for, node.get("stable_for"))
            && let (Some(stable), Some(within)) =
                (literal_span(stable), within.as_text().and_then(parse_span))
            && stable > within
        {
            self.error(place, format!("it can't hold for {stable} within {within}"));
        }
        let within = self.tree(within, &timing);
        Some(Until {
            that: that?,
            every,
            within,
            stable_for,
        })
    }

    fn sensitive(&mut self, node: Option<&Node>, id: &str, results: &Results) -> Sensitive {
        let Some(node) = node else {
            return Sensitive::No;
        };
        let Some(items) = node.as_list() else {
            return match node.to_value() {
                Value::Bool(true) => {
                    self.names.secrets.insert(id.to_owned());
                    Sensitive::All
                }
                _ => Sensitive::No,
            };
        };
        let mut fields = Vec::new();
        for item in items {
            let Some(field) = item.as_text() else {
                continue;
            };
            if let Results::Fields(known) = results
                && !known.contains(field)
            {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let hint = super::names::near(field, &known);
                self.error_hint(item, format!("the result has no `{field}`"), hint);
            }
            self.names.secrets.insert(format!("{id}.{field}"));
            fields.push(field.to_owned());
        }
        Sensitive::Fields(fields)
    }

    /// Returns how strongly the step acts.
    fn effect(&mut self, node: &Node, body: &Body) -> Effect {
        let written = node
            .get("effect")
            .and_then(Node::as_text)
            .and_then(|word| match word {
                "read" => Some(Effect::Read),
                "change" => Some(Effect::Change),
                "destroy" => Some(Effect::Destroy),
                _ => None,
            });
        match body {
            Body::Work(work) => {
                let by_itself = (work.kind.effect_of)(&work.arguments.literal());
                let can_be_said = rules::EFFECT_IS_SAID.contains(&work.kind.name);
                if let Some((key, _)) = node.entry("effect").filter(|_| !can_be_said) {
                    self.error_hint(
                        key,
                        format!(
                            "what `{}` does is known, so `effect` can't be said",
                            work.kind.name
                        ),
                        "leave it out",
                    );
                }
                written.filter(|_| can_be_said).unwrap_or(by_itself)
            }
            Body::Notify { .. } => Effect::Change,
            Body::Call { .. } => Effect::Read,
            body => inside(body)
                .iter()
                .map(|node| self.nodes[node.0].effect)
                .max()
                .unwrap_or(Effect::Read),
        }
    }

    fn refuse_kind_only(&mut self, entries: &[(Node, Node)]) {
        for (key, _) in entries {
            if KIND_ONLY.contains(&key.written()) {
                let what = entries
                    .iter()
                    .map(|(key, _)| key.written())
                    .find(|key| BODIES.contains(key))
                    .unwrap_or("checkpoint");
                let message = format!(
                    "`{}` belongs to a step with a kind, not to a `{what}`",
                    key.written()
                );
                self.error(key, message);
            }
        }
    }

    /// Reads the arguments of a kind and checks them against its schema and its own rules.
    pub(super) fn arguments(
        &mut self,
        kind: &Kind,
        key: &Node,
        node: &Node,
        around: &Around,
    ) -> Tree {
        let before = self.problems.len();
        let facts = self.facts(kind);
        let empty = Node {
            data: crate::yaml::Data::Map(Vec::new()),
            ..key.clone()
        };
        // A kind without required arguments may stand without any.
        let node = if node.is_null() { &empty } else { node };
        let problems = &mut self.problems;
        crate::schema::check_under(key, node, &facts.arguments, Templates::Allowed, problems);
        let tree = self.tree_of(node, &facts.arguments, around);
        if self.problems.len() == before {
            for error in (kind.check)(&tree.literal()) {
                let place = error
                    .path
                    .iter()
                    .try_fold(node, |node, name| match node.as_list() {
                        Some(items) => items.get(name.parse::<usize>().ok()?),
                        None => node.get(name),
                    })
                    .unwrap_or(key);
                self.error(place, error.message);
            }
        }
        rules::arguments(self, kind, node, around);
        tree
    }

    fn body(&mut self, this: NodeId, key: &Node, value: &Node, place: &Place) -> (Body, Results) {
        let none = Results::of([]);
        let around = place.around();
        if let Some(kind) = self.kind(key.written()) {
            let arguments = self.arguments(&kind, key, value, &around);
            let results = self.facts(&kind).results.clone();
            return (Body::Work(Work { kind, arguments }), results);
        }
        let body = match key.written() {
            "group" => Body::Group(self.steps(Some(value), place)),
            "parallel" => Body::Parallel {
                nodes: self.parallel(value, place),
                at_once: None,
            },
            "foreach" => return self.foreach(this, value, place, &around),
            "choose" => Body::Choose(self.choose(value, place, &around)),
            "call" => return (self.call(this, value, &around), Results::Outputs),
            "ask" => {
                let mut read = Vec::new();
                let entries = value.as_map().unwrap_or_default();
                for (key, value) in entries {
                    self.check_field_name(key);
                    read.extend(self.input(key.written(), value));
                }
                let names = Results::of(entries.iter().map(|(key, _)| key.written()));
                let id = self.nodes[this.0].id.clone();
                for input in read
                    .iter()
                    .filter(|input| input.of == crate::plan::InputType::Secret)
                {
                    self.names.secrets.insert(format!("{id}.{}", input.name));
                }
                return (Body::Ask(read), names);
            }
            "manual" => match self.template(value, &around) {
                Some(text) => {
                    return (Body::Manual(text), Results::of(["remark"]));
                }
                None => Body::Checkpoint,
            },
            "finding" => {
                let severity = match value.get("severity").and_then(Node::as_text) {
                    Some("critical") => Severity::Critical,
                    Some("info") => Severity::Info,
                    _ => Severity::Warning,
                };
                let title = value
                    .get("title")
                    .and_then(|node| self.template(node, &around));
                let advice = value
                    .get("advice")
                    .and_then(|node| self.template(node, &around));
                match title {
                    Some(title) => Body::Finding {
                        severity,
                        title,
                        advice,
                    },
                    None => Body::Checkpoint,
                }
            }
            "wait" => Body::Wait(self.tree(value, &around)),
            "notify" => {
                let to = value
                    .get("to")
                    .and_then(|node| self.template(node, &around))
                    .map(Template::into_url);
                let message = value
                    .get("message")
                    .and_then(|node| self.template(node, &around));
                match (to, message) {
                    (Some(to), Some(message)) => Body::Notify { to, message },
                    _ => Body::Checkpoint,
                }
            }
            "set" => {
                let entries = value.as_map().unwrap_or_default();
                let names = Results::of(entries.iter().map(|(key, _)| key.written()));
                let values = self.expressions(Some(value), Sorted::Together, &around);
                let id = self.nodes[this.0].id.clone();
                for (name, expression) in &values {
                    if self.names_secret(expression.references(), &around) {
                        self.names.secrets.insert(format!("{id}.{name}"));
                    }
                }
                return (Body::Set(values), names);
            }
            _ => Body::Checkpoint,
        };
        (body, none)
    }
}

fn blank(id: String, line: usize, aside: bool) -> Step {
    Step {
        id,
        scope: ScopeId(0),
        line,
        title: None,
        when: None,
        unless: None,
        guards: Vec::new(),
        confirm: None,
        expect: Vec::new(),
        retry: None,
        until: None,
        timeout: None,
        effect: Effect::Read,
        rollback: None,
        irreversible: None,
        on_failure: None,
        sensitive: Sensitive::No,
        body: Body::Checkpoint,
        named: Default::default(),
        aside,
    }
}

fn is_strange_expect(item: &Node) -> bool {
    let known = ["each", "that", "else", "severity"];
    let mut entries = item.as_map().unwrap_or_default().iter();
    entries.any(|(key, _)| !known.contains(&key.written()))
}

/// Returns the steps directly inside a structural one.
pub(super) fn inside(body: &Body) -> Vec<NodeId> {
    match body {
        Body::Group(nodes) | Body::Parallel { nodes, .. } | Body::Foreach { nodes, .. } => {
            nodes.clone()
        }
        Body::Choose(branches) => branches
            .iter()
            .flat_map(|branch| branch.nodes.clone())
            .collect(),
        _ => Vec::new(),
    }
}

fn literal_span(tree: &Tree) -> Option<Span> {
    match tree {
        Tree::Literal(Value::Duration(span)) => Some(*span),
        Tree::Literal(Value::Text(text)) => parse_span(text),
        _ => None,
    }
}

fn parse_span(text: &str) -> Option<Span> {
    text.parse().ok()
}
