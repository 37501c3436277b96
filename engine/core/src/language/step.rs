//! Reads steps.

use serde_json::Value as Json;

use super::{
    CallSite,
    names::{Around, Results},
    playbook::{Sorted, on_failure},
    reader::{Reader, results_of},
    rules,
    schema::BODIES,
};
use crate::{
    diagnostic::Diagnostic,
    kind::{Effect, Kind},
    plan::{
        Body, Branch, Confirm, Expect, ExpectSeverity, Guard, Node as Step, NodeId, ScopeId,
        Sensitive, Severity, Tree, Until, Work,
    },
    schema::Templates,
    units::Span,
    value::Value,
    yaml::Node,
};

/// Where steps stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Among the steps of the work.
    Work,
    /// In `always`.
    Always,
    /// In the `rollback` of this step.
    Rollback(NodeId),
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
    pub(super) fn steps(&mut self, node: Option<&Node>, place: Place) -> Vec<NodeId> {
        let steps = node.and_then(Node::as_list).unwrap_or_default();
        steps
            .iter()
            .filter_map(|step| self.step(step, place))
            .collect()
    }

    /// Reads one step and all that is inside it.
    fn step(&mut self, node: &Node, place: Place) -> Option<NodeId> {
        let entries = node.as_map()?;
        let id = node
            .get("id")
            .and_then(Node::as_text)
            .unwrap_or_default()
            .to_owned();
        let this = NodeId(self.nodes.len());
        let (line, _) = self.source.position(node.span.start);
        self.nodes
            .push(blank(id.clone(), line, place != Place::Work));
        let body = self.body_key(node, entries);
        let around = self.around(place);
        let deciding = |key| Around {
            decides: Some(key),
            ..around.clone()
        };
        let when = node
            .get("when")
            .and_then(|node| self.expression(node, &deciding("when")));
        let unless = node.get("unless").and_then(|node| self.unless(node));
        let looked = Around {
            before: true,
            ..around.clone()
        };
        let title = node
            .get("title")
            .and_then(|node| self.template(node, &looked));
        let guards = self.guards(node.get("guards"), true);
        let confirm = node
            .get("confirm")
            .and_then(|node| self.confirm(node, &looked));
        let (body, results) = match body {
            Some((key, value)) => self.body(this, key, value, place),
            None => (Body::Checkpoint, Results::Fields(Default::default())),
        };
        let body = match body {
            Body::Parallel { nodes, .. } => {
                let at_once = node.get("at_once").map(|node| self.tree(node, &around));
                Body::Parallel { nodes, at_once }
            }
            body => {
                if let Some((key, _)) = node.entry("at_once") {
                    self.error(
                        key,
                        "`at_once` belongs to `parallel`; that of a `foreach` stands inside it",
                    );
                }
                body
            }
        };
        let effect = self.effect(node, &body);
        if body_is_structure(&body) {
            self.refuse_kind_only(entries);
        }
        let own = Around {
            result: Some(results.clone()),
            before: true,
            ..around.clone()
        };
        let expect = self.expects(node.get("expect"), &own);
        let until = self.until(node, &own, &body, effect);
        let retry = node.get("retry").map(|node| self.tree(node, &around));
        let timeout = node.get("timeout").map(|node| self.tree(node, &around));
        let sensitive = self.sensitive(node.get("sensitive"), &id);
        let irreversible = node
            .get("irreversible")
            .and_then(Node::as_text)
            .map(str::to_owned);
        let rollback = node
            .get("rollback")
            .filter(|node| node.as_list().is_some())
            .map(|node| self.steps(Some(node), Place::Rollback(this)));
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
            ..blank(id.clone(), line, place != Place::Work)
        };
        rules::step(self, node, &step);
        self.nodes[this.0] = step;
        if let Some(name) = self.names.steps.get_mut(&id) {
            name.node = Some(this);
            name.results = results;
            name.visible = true;
        }
        Some(this)
    }

    fn around(&self, place: Place) -> Around {
        match place {
            Place::Work => Around::default(),
            Place::Always => Around {
                ended: true,
                ..Around::default()
            },
            Place::Rollback(undoing) => Around {
                before: true,
                result: Some(Results::Open),
                undoing: Some(undoing),
                ..Around::default()
            },
        }
    }

    /// Returns the one key that says what the step does.
    fn body_key<'n>(
        &mut self,
        node: &'n Node,
        entries: &'n [(Node, Node)],
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
        if found.is_none() && node.get("confirm").is_none() && node.get("expect").is_none() {
            // A misspelt kind is reported as an unknown key already.
            let (first, _) = entries.first()?;
            if !entries.iter().any(|(key, _)| self.is_wrong(&key.span)) {
                self.error_hint(
                    first,
                    "this step does nothing",
                    "give it a kind like `command`, a structure like `group`, or a `confirm` or `expect` to stand alone",
                );
            }
        }
        found
    }

    fn unless(&mut self, node: &Node) -> Option<Guard> {
        if node.as_map().is_some() {
            return self.guard(node, false, "unless");
        }
        let around = Around {
            decides: Some("unless"),
            ..Around::default()
        };
        let that = self.expression(node, &around)?;
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
                .and_then(|node| self.template(node, around));
            return Some(Confirm { message, phrase });
        }
        match node.to_value() {
            Value::Bool(true) => Some(Confirm {
                message: None,
                phrase: None,
            }),
            Value::Bool(false) => None,
            _ => Some(Confirm {
                message: Some(self.template(node, around)?),
                phrase: None,
            }),
        }
    }

    fn expects(&mut self, node: Option<&Node>, own: &Around) -> Vec<Expect> {
        let mut read = Vec::new();
        for item in node.and_then(Node::as_list).unwrap_or_default() {
            let deciding = Around {
                decides: Some("that"),
                ..own.clone()
            };
            let each = item.get("each").and_then(|node| {
                self.expression(
                    node,
                    &Around {
                        decides: Some("each"),
                        ..own.clone()
                    },
                )
            });
            let locals = self.names.locals.len();
            if each.is_some() {
                self.names
                    .locals
                    .extend(["item".to_owned(), "index".to_owned()]);
            }
            let that = item
                .get("that")
                .and_then(|node| self.expression(node, &deciding));
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

    fn until(&mut self, node: &Node, own: &Around, body: &Body, effect: Effect) -> Option<Until> {
        let Some((key, condition)) = node.entry("until") else {
            for name in ["every", "within", "stable_for"] {
                if let Some((key, _)) = node.entry(name) {
                    self.error(
                        key,
                        format!("`{name}` belongs to an `until`, and this step has none"),
                    );
                }
            }
            return None;
        };
        if effect > Effect::Read {
            self.error_hint(
                key,
                "`until` asks again, so it can only be on what reads",
                "put it on a step of its own that reads, after this one",
            );
        }
        if matches!(
            body,
            Body::Parallel { .. } | Body::Foreach { .. } | Body::Choose(_)
        ) {
            self.error(
                key,
                "`until` can't be on this structure; put a `group` around it",
            );
        }
        let Some(within) = node.get("within") else {
            self.error_hint(
                key,
                "`until` needs `within`",
                "say how long at the most, like `within: 2m`",
            );
            return None;
        };
        let that = self.expression(
            condition,
            &Around {
                decides: Some("until"),
                ..own.clone()
            },
        );
        let span = |reader: &mut Self, name: &str| {
            node.get(name)
                .map(|node| reader.tree(node, &Around::default()))
        };
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
        let within = self.tree(within, &Around::default());
        Some(Until {
            that: that?,
            every,
            within,
            stable_for,
        })
    }

    fn sensitive(&mut self, node: Option<&Node>, id: &str) -> Sensitive {
        let Some(node) = node else {
            return Sensitive::No;
        };
        if let Some(fields) = node.as_list() {
            let fields: Vec<String> = fields
                .iter()
                .filter_map(Node::as_text)
                .map(str::to_owned)
                .collect();
            for field in &fields {
                self.names.secrets.insert(format!("{id}.{field}"));
            }
            return Sensitive::Fields(fields);
        }
        match node.to_value() {
            Value::Bool(true) => {
                self.names.secrets.insert(id.to_owned());
                Sensitive::All
            }
            _ => Sensitive::No,
        }
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
                let can_be_said = ["command", "shell", "http.request"].contains(&work.kind.name);
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
        let schema = Json::from(kind.arguments_schema());
        if node.is_null() {
            // A kind without required arguments may stand without any.
            let empty = Node {
                data: crate::yaml::Data::Map(Vec::new()),
                ..key.clone()
            };
            crate::schema::check(&empty, &schema, Templates::Allowed, &mut self.problems);
            return Tree::Literal(Value::map(Default::default()));
        }
        crate::schema::check(node, &schema, Templates::Allowed, &mut self.problems);
        let tree = self.tree(node, around);
        if self.problems.len() == before {
            for error in (kind.check)(&tree.literal()) {
                let place = error
                    .path
                    .iter()
                    .try_fold(node, |node, name| match name.parse::<usize>() {
                        Ok(index) => node.as_list()?.get(index),
                        Err(_) => node.get(name),
                    })
                    .unwrap_or(key);
                self.error(place, error.message);
            }
        }
        tree
    }

    fn body(&mut self, this: NodeId, key: &Node, value: &Node, place: Place) -> (Body, Results) {
        let none = Results::Fields(Default::default());
        let around = self.around(place);
        let around = Around {
            before: false,
            ..around
        };
        if let Some(kind) = self.kind(key.written()) {
            let arguments = self.arguments(&kind, key, value, &around);
            rules::arguments(self, &kind, value);
            let results = results_of(&kind);
            return (Body::Work(Work { kind, arguments }), results);
        }
        let body = match key.written() {
            "group" => Body::Group(self.steps(Some(value), place)),
            "parallel" => Body::Parallel {
                nodes: self.parallel(value, place),
                at_once: None,
            },
            "foreach" => return (self.foreach(this, value, place, &around), Results::Open),
            "choose" => Body::Choose(self.choose(value, place, &around)),
            "call" => return (self.call(this, value, &around), Results::Open),
            "ask" => {
                let mut read = Vec::new();
                for (key, value) in value.as_map().unwrap_or_default() {
                    read.extend(self.input(key.written(), value));
                }
                let names = read.iter().map(|input| input.name.clone()).collect();
                let id = self.nodes[this.0].id.clone();
                for input in read
                    .iter()
                    .filter(|input| input.of == crate::plan::InputType::Secret)
                {
                    self.names.secrets.insert(format!("{id}.{}", input.name));
                }
                return (Body::Ask(read), Results::Fields(names));
            }
            "manual" => match self.template(value, &around) {
                Some(text) => {
                    return (
                        Body::Manual(text),
                        Results::Fields(["remark".to_owned()].into()),
                    );
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
                    .and_then(|node| self.template(node, &around));
                let message = value
                    .get("message")
                    .and_then(|node| self.template(node, &around));
                match (to, message) {
                    (Some(to), Some(message)) => Body::Notify { to, message },
                    _ => Body::Checkpoint,
                }
            }
            "set" => {
                let values = self.expressions(Some(value), Sorted::Together, &around);
                let id = self.nodes[this.0].id.clone();
                for (name, expression) in &values {
                    if self.names_secret(expression.references()) {
                        self.names.secrets.insert(format!("{id}.{name}"));
                    }
                }
                let names = values.iter().map(|(name, _)| name.clone()).collect();
                return (Body::Set(values), Results::Fields(names));
            }
            _ => Body::Checkpoint,
        };
        (body, none)
    }

    /// Reads steps that run beside each other: none of them sees what another gives.
    fn parallel(&mut self, value: &Node, place: Place) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        let mut begun: Vec<String> = Vec::new();
        for step in value.as_list().unwrap_or_default() {
            let visible = self.visible();
            nodes.extend(self.step(step, place));
            let new: Vec<String> = self
                .visible()
                .into_iter()
                .filter(|id| !visible.contains(id))
                .collect();
            for id in &new {
                if let Some(step) = self.names.steps.get_mut(id) {
                    step.visible = false;
                }
            }
            begun.extend(new);
        }
        for id in begun {
            if let Some(step) = self.names.steps.get_mut(&id) {
                step.visible = true;
            }
        }
        nodes
    }

    fn visible(&self) -> Vec<String> {
        self.names
            .steps
            .iter()
            .filter(|(_, step)| step.visible)
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn foreach(&mut self, this: NodeId, value: &Node, place: Place, around: &Around) -> Body {
        let deciding = |key| Around {
            decides: Some(key),
            ..around.clone()
        };
        let items = value
            .get("in")
            .and_then(|node| self.expression(node, &deciding("in")));
        let name = value.get("as").and_then(Node::as_text).map(str::to_owned);
        if let (Some(name), Some(node)) = (&name, value.get("as")) {
            if !super::playbook::is_snake_case(name)
                || super::names::RESERVED.contains(&name.as_str())
            {
                self.error(node, format!("`{name}` can't be the item's name"));
            } else if self.names.inputs.contains(name)
                || self.names.vars.contains(name)
                || self.names.steps.contains_key(name)
            {
                self.error(node, format!("the name `{name}` is given twice"));
            }
        }
        let locals = self.names.locals.len();
        self.names
            .locals
            .extend(["item".to_owned(), "index".to_owned()]);
        self.names.locals.extend(name.clone());
        let key = value
            .get("key")
            .and_then(|node| self.expression(node, &deciding("key")));
        let visible = self.visible();
        let nodes = self.steps(value.get("steps"), place);
        self.names.locals.truncate(locals);
        let inside: Vec<String> = self
            .visible()
            .into_iter()
            .filter(|id| !visible.contains(id))
            .collect();
        let outer = self.nodes[this.0].id.clone();
        self.names.hide(&inside, &outer);
        let at_once = value.get("at_once").map(|node| self.tree(node, around));
        match items {
            Some(items) => Body::Foreach {
                items,
                name,
                key,
                at_once,
                nodes,
            },
            None => Body::Group(nodes),
        }
    }

    fn choose(&mut self, value: &Node, place: Place, around: &Around) -> Vec<Branch> {
        let mut branches = Vec::new();
        let items = value.as_list().unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            let last = index + 1 == items.len();
            if let Some((key, otherwise)) = item.entry("otherwise") {
                if !last {
                    self.error(key, "`otherwise` is the last branch");
                }
                if let Some((key, _)) = item.entry("when").or_else(|| item.entry("steps")) {
                    self.error(
                        key,
                        format!("`{}` can't stand beside `otherwise`", key.written()),
                    );
                }
                branches.push(Branch {
                    when: None,
                    nodes: self.steps(Some(otherwise), place),
                });
                continue;
            }
            let Some(when) = item.get("when") else {
                if item.as_map().is_some() {
                    self.error_hint(
                        item,
                        "a branch needs `when` and `steps`",
                        "the last one may be `otherwise: [...]`",
                    );
                }
                continue;
            };
            let deciding = Around {
                decides: Some("choose"),
                ..around.clone()
            };
            let condition = self.expression(when, &deciding);
            let nodes = self.steps(item.get("steps"), place);
            if let Some(condition) = condition {
                branches.push(Branch {
                    when: Some(condition),
                    nodes,
                });
            }
        }
        branches
    }

    fn call(&mut self, this: NodeId, value: &Node, around: &Around) -> Body {
        let with = match value.get("with") {
            Some(with) => self.tree(with, around),
            None => Tree::Map(Vec::new()),
        };
        if let Some(name) = value
            .get("playbook")
            .filter(|node| node.as_text().is_some())
        {
            let (playbook, versions) = match name.written().split_once('@') {
                Some((playbook, versions)) => (playbook.to_owned(), versions.to_owned()),
                None => (name.written().to_owned(), "*".to_owned()),
            };
            match semver::VersionReq::parse(&versions) {
                Ok(versions) => {
                    let given = value.get("with").and_then(Node::as_map).unwrap_or_default();
                    self.calls.push(CallSite {
                        node: this,
                        name: playbook,
                        versions,
                        place: name.span.clone(),
                        with: given
                            .iter()
                            .map(|(key, _)| (key.written().to_owned(), key.span.clone()))
                            .collect(),
                        literal: with.literal(),
                    });
                }
                Err(error) => {
                    let message = format!("`{versions}` is no range of versions: {error}");
                    self.error_hint(name, message, "like `name@^1` or `name@>=1.2, <3`");
                }
            }
        }
        Body::Call {
            scope: ScopeId(0),
            with,
        }
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

fn body_is_structure(body: &Body) -> bool {
    !matches!(body, Body::Work(_))
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
