//! What reading all parts of a playbook shares: problems with their places, expressions, templates, arguments.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    rc::Rc,
    sync::Arc,
};

use serde_json::Value as Json;

use super::names::{Around, Names, Results};
use crate::{
    diagnostic::{Diagnostic, Source},
    expression::{Expression, Reference, SyntaxError, Template},
    kind::Kind,
    plan::{self, Tree},
    value::Value,
    yaml::{Data, Node},
};

/// Reads one playbook.
pub(super) struct Reader<'a> {
    pub source: &'a Source,
    pub kinds: HashMap<&'static str, Kind>,
    /// What is known of the kinds that the playbook uses.
    facts: HashMap<&'static str, Rc<Facts>>,
    pub problems: Vec<Diagnostic>,
    pub names: Names,
    pub nodes: Vec<plan::Node>,
    pub calls: Vec<super::CallSite>,
    /// The keys that steps and guards can have beside the kinds.
    pub keys: Keys,
    /// Whether a step before this one can be the point of no return.
    pub passed_no_return: bool,
}

/// The keys of the language that its texts and the kinds share a place with.
pub(super) struct Keys {
    pub step: BTreeSet<String>,
    pub guard: BTreeSet<String>,
}

/// What reading a step needs of its kind.
pub(super) struct Facts {
    /// The schema of the arguments.
    pub arguments: Json,
    /// The fields of the result.
    pub results: Results,
}

impl<'a> Reader<'a> {
    /// Returns a reader that has read nothing yet.
    pub(super) fn new(
        source: &'a Source,
        kinds: &[Kind],
        problems: Vec<Diagnostic>,
        keys: Keys,
    ) -> Reader<'a> {
        Reader {
            source,
            kinds: kinds.iter().map(|kind| (kind.name, *kind)).collect(),
            facts: HashMap::new(),
            problems,
            names: Names::default(),
            nodes: Vec::new(),
            calls: Vec::new(),
            keys,
            passed_no_return: false,
        }
    }

    /// Reports `message` at `node`.
    pub(super) fn error(&mut self, node: &Node, message: impl Into<String>) -> &mut Diagnostic {
        self.error_at(node.span.clone(), message)
    }

    /// Reports `message` at a place of the text.
    pub(super) fn error_at(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.problems.push(Diagnostic::error(message, span));
        self.problems.last_mut().expect("one was just pushed")
    }

    /// Reports `message` with a hint.
    pub(super) fn error_hint(
        &mut self,
        node: &Node,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.problems
            .push(Diagnostic::error(message, node.span.clone()).hint(hint));
    }

    /// Returns whether an error was reported inside `span` since there were `before` problems.
    pub(super) fn is_wrong(&self, span: &Range<usize>, before: usize) -> bool {
        self.problems[before..].iter().any(|problem| {
            problem.is_error()
                && problem
                    .span
                    .as_ref()
                    .is_some_and(|at| at.start >= span.start && at.end <= span.end)
        })
    }

    /// Returns the kind called `name`.
    pub(super) fn kind(&self, name: &str) -> Option<Kind> {
        self.kinds.get(name).copied()
    }

    /// Returns whether a step or guard has a key that nobody knows: then it may mean anything.
    pub(super) fn is_strange(&self, entries: &[(Node, Node)], known: &BTreeSet<String>) -> bool {
        entries.iter().any(|(key, _)| {
            !known.contains(key.written()) && !self.kinds.contains_key(key.written())
        })
    }

    /// Says of the unknown keys of a step or guard what people think of there: kinds, not some hundred keys.
    pub(super) fn name_strange(&mut self, entries: &[(Node, Node)], known: &BTreeSet<String>) {
        for (key, _) in entries {
            let name = key.written();
            if known.contains(name) || self.kinds.contains_key(name) {
                continue;
            }
            let Some(problem) = self
                .problems
                .iter_mut()
                .find(|problem| problem.span.as_ref() == Some(&key.span))
            else {
                continue;
            };
            let family = name.split_once('.').map(|(family, _)| family);
            if family.is_some() {
                problem.message = format!("there is no kind `{}`", crate::yaml::shorten(name));
            }
            if problem.hints.iter().any(|hint| hint.starts_with("did you")) {
                continue;
            }
            let mut same: Vec<&str> = self.kinds.keys().copied().collect();
            same.retain(|kind| {
                kind.split_once('.').map(|(of, _)| of) == family && family.is_some()
            });
            same.sort_unstable();
            problem.hints = vec![match (family, same.as_slice()) {
                (None, _) => "no key and no kind has this name".to_owned(),
                (Some(family), []) => format!("there is no family `{family}` of kinds"),
                (Some(_), same) => format!("of this family there is `{}`", same.join("`, `")),
            }];
        }
    }

    /// Returns what is known of `kind`.
    pub(super) fn facts(&mut self, kind: &Kind) -> Rc<Facts> {
        let facts = self.facts.entry(kind.name).or_insert_with(|| {
            Rc::new(Facts {
                arguments: Json::from(kind.arguments_schema()),
                results: results_of(kind),
            })
        });
        facts.clone()
    }

    /// Reads an expression; a YAML value that is not text stands for itself.
    pub(super) fn expression(&mut self, node: &Node, around: &Around) -> Option<Expression> {
        let value = node.to_value();
        let Value::Text(text) = &value else {
            return self.constant(node, value, around);
        };
        if text.trim_start().starts_with("{{") {
            self.error_hint(
                node,
                "an expression stands without `{{ }}`",
                "leave the braces out",
            );
            return None;
        }
        match Expression::parse(text) {
            Ok(expression) => {
                self.check_references(node, expression.references(), around);
                match expression.as_constant() {
                    Some(value) if !self.can_be(node, value, around) => None,
                    _ => Some(expression),
                }
            }
            Err(mut error) => {
                if text.contains("{{") {
                    error.hint = Some("an expression stands without `{{ }}`".to_owned());
                }
                self.syntax(node, error, node.comment_hint());
                None
            }
        }
    }

    fn constant(&mut self, node: &Node, value: Value, around: &Around) -> Option<Expression> {
        let is_template = |value: &Value| value.as_str().is_some_and(|text| text.contains("{{"));
        if value.find(&is_template).is_some() {
            self.error_hint(
                node,
                "a list or map here stands for itself, so `{{ }}` in it is nothing but text",
                "write the whole as an expression in quotes: `\"[a, b.c]\"`",
            );
            return None;
        }
        self.can_be(node, &value, around)
            .then(|| Expression::constant(value))
    }

    /// Reports a value that can't stand under the key it stands under.
    fn can_be(&mut self, node: &Node, value: &Value, around: &Around) -> bool {
        let (wanted, fits) = match around.decides {
            None => return true,
            Some("in" | "each") => ("a list", matches!(value, Value::List(_))),
            Some("key") => (
                "a text or a number",
                matches!(value, Value::Text(_) | Value::Int(_)),
            ),
            Some(_) => ("`true` or `false`", matches!(value, Value::Bool(_))),
        };
        if !fits {
            let message = format!("expected {wanted}, found {}", node.what());
            self.error(node, message);
        }
        fits
    }

    /// Reads a template.
    pub(super) fn template(&mut self, node: &Node, around: &Around) -> Option<Template> {
        let text = node.as_text()?;
        match Template::parse(text) {
            Ok(template) => {
                self.check_references(node, template.references(), around);
                Some(template)
            }
            Err(mut error) => {
                // Braces of somebody else, like `{{.Names}}`.
                error
                    .hint
                    .get_or_insert_with(|| "to write two braces: `{{ '{{' }}`".to_owned());
                self.syntax(node, error, None);
                None
            }
        }
    }

    /// Reads a value whose texts may be templates.
    pub(super) fn tree(&mut self, node: &Node, around: &Around) -> Tree {
        self.tree_of(node, &Json::Null, around)
    }

    /// Reads arguments: texts may be templates, but for those that the schema says are literal.
    pub(super) fn tree_of(&mut self, node: &Node, schema: &Json, around: &Around) -> Tree {
        let says = |mark: &str| schema.get(mark) == Some(&Json::Bool(true));
        if says("x-literal") {
            return Tree::Literal(node.to_value());
        }
        let is_literal = |tree: &Tree| matches!(tree, Tree::Literal(_));
        match &node.data {
            Data::List(items) => {
                let of = schema.get("items").unwrap_or(&Json::Null);
                let items: Vec<Tree> = items
                    .iter()
                    .map(|item| self.tree_of(item, of, around))
                    .collect();
                match items.iter().all(is_literal) {
                    true => Tree::Literal(Value::list(items.iter().map(Tree::literal).collect())),
                    false => Tree::List(items),
                }
            }
            Data::Map(entries) => {
                let fields = schema.get("properties");
                let other = schema.get("additionalProperties").unwrap_or(&Json::Null);
                let entries: Vec<(String, Tree)> = entries
                    .iter()
                    .map(|(key, value)| {
                        let name = key.written();
                        let of = fields.and_then(|fields| fields.get(name)).unwrap_or(other);
                        (name.to_owned(), self.tree_of(value, of, around))
                    })
                    .collect();
                let tree = Tree::Map(entries);
                match &tree {
                    Tree::Map(entries) if entries.iter().all(|(_, tree)| is_literal(tree)) => {
                        Tree::Literal(tree.literal())
                    }
                    _ => tree,
                }
            }
            Data::Scalar { .. } => match node.to_value() {
                Value::Text(text) if ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) => {
                    match self.template(node, around) {
                        Some(template) if says("x-url") => Tree::Template(template.into_url()),
                        Some(template) => match template.as_literal() {
                            Some(text) => Tree::Literal(Value::text(text)),
                            None => Tree::Template(template),
                        },
                        None => Tree::Literal(Value::Text(text)),
                    }
                }
                value => Tree::Literal(value),
            },
        }
    }

    fn check_references<'r>(
        &mut self,
        node: &Node,
        references: impl IntoIterator<Item = &'r Reference>,
        around: &Around,
    ) {
        for reference in references {
            if let Err(misnamed) = self.names.check(reference, around) {
                let place = node.place(&self.source.text, misnamed.range);
                let mut problem = Diagnostic::error(misnamed.message, place);
                problem.hints.extend(misnamed.hint);
                self.problems.push(problem);
            }
        }
        for (call, field, range) in std::mem::take(&mut self.names.asked) {
            let place = node.place(&self.source.text, range);
            if let Some(site) = self.calls.iter_mut().find(|site| site.node == call) {
                site.named.entry(field).or_insert(place);
            }
        }
    }

    fn syntax(&mut self, node: &Node, error: SyntaxError, comment: Option<&str>) {
        let place = node.place(&self.source.text, error.range);
        let mut problem = Diagnostic::error(error.message, place);
        problem.hints.extend(error.hint);
        if let (Some(hint), Some(comment)) = (comment, &node.comment_after) {
            problem = problem
                .label(comment.clone(), "for YAML this is a comment")
                .hint(hint);
        }
        self.problems.push(problem);
    }

    /// Returns whether an expression or template names a secret.
    pub(super) fn names_secret<'r>(
        &self,
        references: impl IntoIterator<Item = &'r Reference>,
        around: &Around,
    ) -> bool {
        references
            .into_iter()
            .any(|reference| self.names.is_secret(reference, around))
    }
}

fn results_of(kind: &Kind) -> Results {
    let schema = kind.results_schema();
    match schema
        .get("properties")
        .and_then(|properties| properties.as_object())
    {
        Some(properties) => Results::Fields(Arc::new(properties.keys().cloned().collect())),
        None => Results::Open,
    }
}
