//! Reads a whole playbook.

use std::{collections::BTreeMap, str::FromStr};

use camino::Utf8Path;

use super::{
    Playbook,
    names::{Around, COMMON, Own, RESERVED, Results, StepName},
    reader::{Keys, Reader},
    rules, schema,
};
use crate::{
    diagnostic::{Diagnostic, Source},
    expression::Expression,
    kind::{Digest, Effect, Kind},
    plan::{Guard, OnFailure, Requirement, Scope, Work},
    schema::Templates,
    units::Span,
    value::Value,
    yaml::{self, Data, Limits, Node},
};

/// After how long a playbook that was not reviewed again counts as stale, where it does not say so itself.
const STALE_AFTER: Span = Span::from_seconds(180 * 86_400);

/// Reads the playbook in `source`; `path` is where it was found, for the rule that file and playbook have one name.
///
/// Every problem of the text is returned, in the order of their places. The playbook is there unless one of them is
/// an error.
pub fn read(
    source: &Source,
    path: Option<&Utf8Path>,
    kinds: &[Kind],
) -> (Option<Playbook>, Vec<Diagnostic>) {
    let mut problems = Vec::new();
    let Some(root) = yaml::parse(&source.text, &Limits::default(), &mut problems) else {
        if problems.is_empty() {
            problems.push(Diagnostic::error("the playbook is empty", 0..0));
        }
        return (None, problems);
    };
    schema::refuse_later(&root, &mut problems);
    let shape = schema::checked(kinds);
    crate::schema::check(&root, &shape, Templates::Allowed, &mut problems);
    let keys = Keys {
        step: schema::keys(&shape, "Step"),
        guard: schema::keys(&shape, "Guard"),
    };
    let mut reader = Reader::new(source, kinds, problems, keys);
    let playbook = root
        .as_map()
        .is_some()
        .then(|| reader.playbook(&root, path));
    let mut problems = reader.problems;
    problems.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
    let failed = problems.iter().any(Diagnostic::is_error);
    (playbook.filter(|_| !failed), problems)
}

impl Reader<'_> {
    fn playbook(&mut self, root: &Node, path: Option<&Utf8Path>) -> Playbook {
        let name = self.literal(root, "playbook");
        let version = self.literal(root, "version");
        self.check_name(root, &name, path);
        self.check_version(root, &version);
        self.name_everything(root);
        self.nodes.reserve(self.names.steps.len());
        let inputs = self.inputs(root.get("inputs"));
        let vars = self.expressions(root.get("vars"), Sorted::InOrder, &Around::default());
        let connections = self.connections(root.get("connections"));
        let requires = self.requires(root.get("requires"));
        let locks = self.locks(root.get("locks"));
        let guards = self.guards(root.get("guards"), &Around::default());
        let steps = self.steps(root.get("steps"), &super::step::Place::Work);
        let always = self.steps(root.get("always"), &super::step::Place::Always);
        let ended = Around {
            ended: true,
            ..Around::default()
        };
        let outputs = self.expressions(root.get("outputs"), Sorted::Together, &ended);
        let on_failure = root.get("on_failure").and_then(on_failure);
        if root
            .get("steps")
            .and_then(Node::as_list)
            .is_some_and(<[Node]>::is_empty)
            && let Some((key, _)) = root.entry("steps")
        {
            self.error_hint(
                key,
                "a playbook without a step does nothing",
                "write at least one step",
            );
        }
        for (node, named) in std::mem::take(&mut self.names.named) {
            self.nodes[node.0].named = named;
        }
        let ids = self
            .names
            .steps
            .iter()
            .filter_map(|(id, step)| Some((id.clone(), step.node?)))
            .collect::<BTreeMap<_, _>>();
        let scope = Scope {
            name,
            version,
            title: self.literal(root, "title"),
            description: self.literal(root, "description"),
            path: self.source.name.clone(),
            digest: Digest::of(self.source.text.as_bytes()),
            text: self.source.text.clone(),
            inputs,
            vars,
            connections,
            locks,
            requires,
            guards,
            ids,
            steps,
            always,
            outputs,
            on_failure,
        };
        rules::whole(self, root, &scope);
        Playbook {
            scope,
            nodes: std::mem::take(&mut self.nodes),
            calls: std::mem::take(&mut self.calls),
            owner: optional(root, "owner"),
            tags: root
                .get("tags")
                .and_then(Node::as_list)
                .map(|tags| {
                    tags.iter()
                        .filter_map(Node::as_text)
                        .map(str::to_owned)
                        .collect()
                })
                .unwrap_or_default(),
            origin: optional(root, "source"),
            reviewed: self.reviewed(root),
            stale_after: optional(root, "stale_after")
                .and_then(|text| text.parse().ok())
                .unwrap_or(STALE_AFTER),
        }
    }

    fn literal(&self, root: &Node, key: &str) -> String {
        optional(root, key).unwrap_or_default()
    }

    fn check_name(&mut self, root: &Node, name: &str, path: Option<&Utf8Path>) {
        let Some(node) = root.get("playbook").filter(|node| node.as_text().is_some()) else {
            return;
        };
        if !is_kebab_case(name) {
            let hint =
                "lower-case words of letters and digits with `-` between them, like `daily-health`";
            self.error_hint(node, format!("`{name}` is no playbook name"), hint);
        } else if let Some(stem) = path.map(super::name_of_file)
            && stem != name
        {
            let hint = format!("rename the file to `{name}.yml`, or the playbook to `{stem}`");
            self.error_hint(
                node,
                format!("the playbook is called `{name}`, but its file `{stem}`"),
                hint,
            );
        }
    }

    fn check_version(&mut self, root: &Node, version: &str) {
        let Some(node) = root.get("version").filter(|node| node.as_text().is_some()) else {
            return;
        };
        if let Err(error) = semver::Version::parse(version) {
            let message = format!("`{version}` is no semantic version: {error}");
            self.error_hint(node, message, "three numbers, like `1.0.0`");
        }
    }

    /// Learns every name that the playbook gives, so that a use of one can be told from a mistake.
    fn name_everything(&mut self, root: &Node) {
        let mut taken: BTreeMap<String, std::ops::Range<usize>> = BTreeMap::new();
        for section in ["inputs", "vars", "connections"] {
            for (key, _) in root.get(section).and_then(Node::as_map).unwrap_or_default() {
                let name = key.written();
                self.check_identifier(key, name);
                if section != "inputs" {
                    self.names.later.insert(name.to_owned());
                }
                if let Some(first) = taken.insert(name.to_owned(), key.span.clone()) {
                    let message = format!("the name `{name}` is given twice");
                    self.problems.push(
                        Diagnostic::error(message, key.span.clone())
                            .label(first, "first given here"),
                    );
                }
            }
        }
        for section in ["steps", "always"] {
            let steps = root
                .get(section)
                .and_then(Node::as_list)
                .unwrap_or_default();
            self.name_steps(steps, &mut taken);
        }
    }

    fn name_steps(&mut self, steps: &[Node], taken: &mut BTreeMap<String, std::ops::Range<usize>>) {
        for step in steps {
            let Some(entries) = step.as_map() else {
                continue;
            };
            if let Some(id) = step.get("id").filter(|id| id.as_text().is_some()) {
                let name = id.written();
                self.check_identifier(id, name);
                match taken.insert(name.to_owned(), id.span.clone()) {
                    Some(first) => {
                        let message = format!("the name `{name}` is given twice");
                        self.problems.push(
                            Diagnostic::error(message, id.span.clone())
                                .label(first, "first given here"),
                        );
                    }
                    None => {
                        let step = StepName {
                            node: None,
                            results: Results::Open,
                            visible: false,
                            hidden_in: None,
                        };
                        self.names.steps.insert(name.to_owned(), step);
                    }
                }
            }
            for (key, value) in entries {
                match (key.written(), &value.data) {
                    ("choose", Data::List(branches)) => {
                        for key in branches
                            .iter()
                            .flat_map(|branch| ["steps", "otherwise"].map(|key| branch.get(key)))
                        {
                            self.name_steps(key.and_then(Node::as_list).unwrap_or_default(), taken);
                        }
                    }
                    (_, Data::Map(_)) if key.written() == "foreach" || self.is_strange_key(key) => {
                        let inside = value.get("steps").and_then(Node::as_list);
                        self.name_steps(inside.unwrap_or_default(), taken);
                    }
                    (name, Data::List(inside))
                        if ["group", "parallel", "rollback"].contains(&name)
                            || self.is_strange_key(key) =>
                    {
                        self.name_steps(inside, taken);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Returns whether nobody knows a step's key: it may be a misspelt structure, whose steps have names all the same.
    fn is_strange_key(&self, key: &Node) -> bool {
        !self.keys.step.contains(key.written()) && self.kind(key.written()).is_none()
    }

    fn check_identifier(&mut self, node: &Node, name: &str) {
        if RESERVED.contains(&name) {
            let message =
                format!("`{name}` has a meaning of its own, so nothing can have it as its name");
            self.error_hint(node, message, "choose another name");
        } else {
            self.check_snake_case(node, name);
        }
    }

    fn check_snake_case(&mut self, node: &Node, name: &str) {
        if !is_snake_case(name) {
            let hint =
                "lower-case words of letters and digits with `_` between them, like `disk_free`";
            self.error_hint(node, format!("`{name}` is no name"), hint);
        }
    }

    /// Checks the name of a field that a playbook gives to a result.
    pub(super) fn check_field_name(&mut self, node: &Node) {
        let name = node.written();
        if COMMON.contains(&name) {
            let message = format!("every result has its own `{name}`");
            self.error_hint(node, message, "choose another name");
        } else {
            self.check_snake_case(node, name);
        }
    }

    /// Reads a map of named expressions.
    pub(super) fn expressions(
        &mut self,
        node: Option<&Node>,
        sorted: Sorted,
        around: &Around,
    ) -> Vec<(String, Expression)> {
        let mut read = Vec::new();
        for (key, value) in node.and_then(Node::as_map).unwrap_or_default() {
            let name = key.written().to_owned();
            if sorted == Sorted::Together {
                self.check_field_name(key);
            }
            if let Some(expression) = self.expression(value, around) {
                if self.names_secret(expression.references(), around) {
                    if !expression.is_reference() {
                        self.error(value, "a secret is named alone here; nothing is made of it");
                    }
                    if sorted == Sorted::InOrder {
                        self.names.secrets.insert(name.clone());
                    }
                }
                read.push((name.clone(), expression));
            }
            if sorted == Sorted::InOrder {
                self.names.later.remove(&name);
                self.names.vars.insert(name);
            }
        }
        read
    }

    fn connections(&mut self, node: Option<&Node>) -> Vec<(String, crate::expression::Template)> {
        let mut read = Vec::new();
        for (key, value) in node.and_then(Node::as_map).unwrap_or_default() {
            let name = key.written().to_owned();
            if let Some(template) = self.template(value, &Around::default()) {
                let begin = template.text().split("{{").next().unwrap_or_default();
                let schemes = ["sqlite", "postgres", "redis", "http", "https"];
                let known = match begin.split_once(':') {
                    Some((scheme, _)) => schemes.contains(&scheme),
                    None => !template.is_literal() && begin.trim().is_empty(),
                };
                if !known {
                    let hint = "`sqlite:`, `postgres:`, `redis:`, `http:` or `https:`";
                    let message = format!(
                        "`{}` has no scheme that a connection can have",
                        template.text()
                    );
                    self.error_hint(value, message, hint);
                }
                if self.names_secret(template.references(), &Around::default()) {
                    self.names.secrets.insert(name.clone());
                }
                // What follows `sqlite:` is a path as it is.
                let template = match begin.starts_with("sqlite:") {
                    true => template,
                    false => template.into_url(),
                };
                read.push((name.clone(), template));
            }
            self.names.later.remove(&name);
            self.names.connections.insert(name);
        }
        read
    }

    fn requires(&mut self, node: Option<&Node>) -> Vec<Requirement> {
        let mut read = Vec::new();
        for (key, value) in node.and_then(Node::as_map).unwrap_or_default() {
            let (program, versions) = (
                key.written().to_owned(),
                value.as_text().unwrap_or("*").to_owned(),
            );
            if let Err(error) = semver::VersionReq::from_str(&versions) {
                let message = format!("`{versions}` is no range of versions: {error}");
                self.error_hint(value, message, "like `>=2.30`, `^1.2` or `\"*\"`");
            }
            read.push(Requirement { program, versions });
        }
        read
    }

    /// Reads the names of what the run holds; they decide, so they name no secret, and no result, because nothing has
    /// run when they are taken.
    fn locks(&mut self, node: Option<&Node>) -> Vec<crate::expression::Template> {
        let around = Around::default().deciding("locks");
        let names = node.and_then(Node::as_list).unwrap_or_default();
        names
            .iter()
            .filter_map(|name| self.template(name, &around))
            .collect()
    }

    /// Reads guards; `around` is what they may name beside their own `result`.
    pub(super) fn guards(&mut self, node: Option<&Node>, around: &Around) -> Vec<Guard> {
        let items = node.and_then(Node::as_list).unwrap_or_default();
        items
            .iter()
            .filter_map(|item| self.guard(item, around, "guards"))
            .collect()
    }

    /// Reads `{that, else}`, perhaps with a kind that reads beside it.
    pub(super) fn guard(
        &mut self,
        node: &Node,
        around: &Around,
        key: &'static str,
    ) -> Option<Guard> {
        let entries = node.as_map()?;
        let mut probe: Option<(&Node, Work)> = None;
        for (key, value) in entries {
            let Some(kind) = self.kind(key.written()) else {
                continue;
            };
            if let Some((first, _)) = &probe {
                let message = "a guard has one kind at the most".to_owned();
                self.problems.push(
                    Diagnostic::error(message, key.span.clone())
                        .label(first.span.clone(), "the first one"),
                );
                continue;
            }
            let before = self.problems.len();
            let arguments = self.arguments(&kind, key, value, around);
            if (kind.effect_of)(&arguments.literal()) > Effect::Read
                && ((kind.effect_of)(&Value::default()) > Effect::Read
                    || !self.is_wrong(&value.span, before))
            {
                let message = format!("`{}` can change something, so it can't guard", kind.name);
                self.error_hint(key, message, "use a kind that only reads");
            }
            probe = Some((key, Work { kind, arguments }));
        }
        let is_strange = self.is_strange(entries, &self.keys.guard);
        if is_strange {
            self.name_strange(entries, &self.keys.guard.clone());
        }
        let own = match &probe {
            Some((_, work)) => Some(self.facts(&work.kind).results.clone()),
            None => is_strange.then_some(Results::Open),
        };
        let words = Around {
            result: own
                .map(|results| Own {
                    results,
                    step: None,
                    kept: false,
                })
                .or(around.result.clone()),
            ..around.clone()
        };
        let deciding = Around {
            decides: Some(key),
            ..words.clone()
        };
        let otherwise = node
            .get("else")
            .and_then(|node| self.template(node, &words));
        let that = self.expression(node.get("that")?, &deciding)?;
        Some(Guard {
            probe: probe.map(|(_, work)| work),
            that,
            otherwise,
        })
    }

    fn reviewed(&mut self, root: &Node) -> Option<String> {
        let node = root.get("reviewed")?;
        let text = node.as_text()?;
        if text.parse::<jiff::civil::Date>().is_err() {
            self.error_hint(node, format!("`{text}` is no day"), "like `2026-11-20`");
        }
        Some(text.to_owned())
    }
}

/// Whether named expressions can name the ones before them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sorted {
    /// Each can name the ones before it.
    InOrder,
    /// They know nothing of each other.
    Together,
}

/// Returns the text under a key that need not be there.
pub(super) fn optional(root: &Node, key: &str) -> Option<String> {
    root.get(key).and_then(Node::as_text).map(str::to_owned)
}

/// Returns the word that `on_failure` has.
pub(super) fn on_failure(node: &Node) -> Option<OnFailure> {
    Some(match node.as_text()? {
        "rollback" => OnFailure::Rollback,
        "stop" => OnFailure::Stop,
        "ask" => OnFailure::Ask,
        "continue" => OnFailure::Continue,
        _ => return None,
    })
}

/// Returns whether `name` is made of lower-case words with `-` between them.
pub(super) fn is_kebab_case(name: &str) -> bool {
    is_words(name, '-')
}

/// Returns whether `name` is made of lower-case words with `_` between them.
pub(super) fn is_snake_case(name: &str) -> bool {
    is_words(name, '_')
}

fn is_words(name: &str, between: char) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split(between).all(|word| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
}
