//! What reading all parts of a playbook shares: problems with their places, expressions, templates, arguments.

use std::ops::Range;

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
    pub kinds: &'a [Kind],
    pub problems: Vec<Diagnostic>,
    pub names: Names,
    pub nodes: Vec<plan::Node>,
    pub calls: Vec<super::CallSite>,
}

impl<'a> Reader<'a> {
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

    /// Returns whether a problem was reported inside `span` already.
    pub(super) fn is_wrong(&self, span: &Range<usize>) -> bool {
        self.problems.iter().any(|problem| {
            problem.is_error()
                && problem
                    .span
                    .as_ref()
                    .is_some_and(|at| at.start >= span.start && at.end <= span.end)
        })
    }

    /// Returns the kind called `name`.
    pub(super) fn kind(&self, name: &str) -> Option<Kind> {
        self.kinds.iter().find(|kind| kind.name == name).copied()
    }

    /// Reads an expression; a YAML value that is not text stands for itself.
    pub(super) fn expression(&mut self, node: &Node, around: &Around) -> Option<Expression> {
        let Some(text) = node
            .as_text()
            .filter(|_| node.to_value().as_str().is_some())
        else {
            return Some(Expression::constant(node.to_value()));
        };
        if text.trim_start().starts_with("{{") {
            self.error_hint(
                node,
                "an expression stands without `{{ }}`",
                "leave the braces out",
            );
            return None;
        }
        if let Some(hint) = node.comment_hint() {
            let place = node
                .comment_after
                .clone()
                .unwrap_or_else(|| node.span.clone());
            self.problems
                .push(Diagnostic::error("this ` #` ends the expression", place).hint(hint));
            return None;
        }
        match Expression::parse(text) {
            Ok(expression) => {
                self.check_references(node, expression.references().to_vec(), around);
                Some(expression)
            }
            Err(error) => {
                self.syntax(node, error);
                None
            }
        }
    }

    /// Reads a template.
    pub(super) fn template(&mut self, node: &Node, around: &Around) -> Option<Template> {
        let text = node.as_text()?;
        match Template::parse(text) {
            Ok(template) => {
                self.check_references(
                    node,
                    template.references().into_iter().cloned().collect(),
                    around,
                );
                Some(template)
            }
            Err(error) => {
                self.syntax(node, error);
                None
            }
        }
    }

    /// Reads arguments, whose texts may be templates.
    pub(super) fn tree(&mut self, node: &Node, around: &Around) -> Tree {
        match &node.data {
            Data::List(items) => {
                let items: Vec<Tree> = items.iter().map(|item| self.tree(item, around)).collect();
                if items.iter().all(|item| matches!(item, Tree::Literal(_))) {
                    return Tree::Literal(node.to_value());
                }
                Tree::List(items)
            }
            Data::Map(entries) => {
                let entries: Vec<(String, Tree)> = entries
                    .iter()
                    .map(|(key, value)| (key.written().to_owned(), self.tree(value, around)))
                    .collect();
                if entries
                    .iter()
                    .all(|(_, tree)| matches!(tree, Tree::Literal(_)))
                {
                    return Tree::Literal(node.to_value());
                }
                Tree::Map(entries)
            }
            Data::Scalar { .. } => match node.to_value() {
                Value::Text(text) if text.contains("{{") || text.contains("{%") => {
                    match self.template(node, around) {
                        Some(template) => Tree::Template(template),
                        None => Tree::Literal(Value::Text(text)),
                    }
                }
                value => Tree::Literal(value),
            },
        }
    }

    fn check_references(&mut self, node: &Node, references: Vec<Reference>, around: &Around) {
        for reference in &references {
            if let Err(misnamed) = self.names.check(reference, around) {
                let place = node.place(&self.source.text, misnamed.range);
                let mut problem = Diagnostic::error(misnamed.message, place);
                problem.hints.extend(misnamed.hint);
                self.problems.push(problem);
            }
        }
    }

    fn syntax(&mut self, node: &Node, error: SyntaxError) {
        let place = node.place(&self.source.text, error.range);
        let mut problem = Diagnostic::error(error.message, place);
        problem.hints.extend(error.hint);
        self.problems.push(problem);
    }

    /// Returns whether an expression or template names a secret.
    pub(super) fn names_secret<'r>(
        &self,
        references: impl IntoIterator<Item = &'r Reference>,
    ) -> bool {
        references
            .into_iter()
            .any(|reference| self.names.is_secret(reference))
    }
}

/// Returns the fields of a kind's result.
pub(super) fn results_of(kind: &Kind) -> Results {
    let schema = kind.results_schema();
    match schema
        .get("properties")
        .and_then(|properties| properties.as_object())
    {
        Some(properties) => Results::Fields(properties.keys().cloned().collect()),
        None => Results::Open,
    }
}
