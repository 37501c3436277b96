//! Reads structure: steps beside each other, loops, branches and calls.

use std::sync::Arc;

use super::{
    CallSite,
    names::{Around, RESERVED, Results},
    playbook::{is_kebab_case, is_snake_case},
    reader::Reader,
    step::Place,
};
use crate::{
    plan::{Body, Branch, NodeId, ScopeId, Tree},
    yaml::Node,
};

impl Reader<'_> {
    /// Reads steps that run beside each other: none of them sees what another gives.
    pub(super) fn parallel(&mut self, value: &Node, place: &Place) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        let mut begun: Vec<String> = Vec::new();
        for step in value.as_list().unwrap_or_default() {
            let mark = self.names.known.len();
            nodes.extend(self.step(step, place));
            begun.extend(self.names.conceal(mark));
        }
        for id in begun {
            self.names.reveal(&id);
        }
        nodes
    }

    pub(super) fn foreach(
        &mut self,
        this: NodeId,
        value: &Node,
        place: &Place,
        around: &Around,
    ) -> (Body, Results) {
        let items = value
            .get("in")
            .and_then(|node| self.expression(node, &around.deciding("in")));
        let name = value.get("as").and_then(Node::as_text).map(str::to_owned);
        if let (Some(name), Some(node)) = (&name, value.get("as")) {
            if !is_snake_case(name) || RESERVED.contains(&name.as_str()) {
                self.error(node, format!("`{name}` can't be the item's name"));
            } else if self.names.is_known(name) || self.names.later.contains(name) {
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
            .and_then(|node| self.expression(node, &around.deciding("key")));
        let mark = self.names.known.len();
        let nodes = self.steps(value.get("steps"), place);
        self.names.locals.truncate(locals);
        let outer = self.nodes[this.0].id.clone();
        let inside = self.names.hide(mark, &outer);
        let results = match value.get("steps") {
            Some(_) => Results::Rounds(Arc::new(inside)),
            None => Results::Open,
        };
        let at_once = value.get("at_once").map(|node| self.tree(node, around));
        let body = match items {
            Some(items) => Body::Foreach {
                items,
                name,
                key,
                at_once,
                nodes,
            },
            None => Body::Group(nodes),
        };
        (body, results)
    }

    /// Reads branches: as only one of them runs, none sees what another gives.
    pub(super) fn choose(&mut self, value: &Node, place: &Place, around: &Around) -> Vec<Branch> {
        let mut branches = Vec::new();
        let mut begun: Vec<String> = Vec::new();
        let passed = self.passed_no_return;
        let mut passed_after = passed;
        let items = value.as_list().unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            let mark = self.names.known.len();
            self.passed_no_return = passed;
            let is_last = index + 1 == items.len();
            branches.extend(self.branch(item, is_last, place, around));
            begun.extend(self.names.conceal(mark));
            passed_after |= self.passed_no_return;
        }
        self.passed_no_return = passed_after;
        for id in begun {
            self.names.reveal(&id);
        }
        branches
    }

    fn branch(
        &mut self,
        item: &Node,
        is_last: bool,
        place: &Place,
        around: &Around,
    ) -> Option<Branch> {
        if let Some((key, otherwise)) = item.entry("otherwise") {
            if !is_last {
                self.error(key, "`otherwise` is the last branch");
            }
            if let Some((key, _)) = item.entry("when").or_else(|| item.entry("steps")) {
                self.error(
                    key,
                    format!("`{}` can't stand beside `otherwise`", key.written()),
                );
            }
            return Some(Branch {
                when: None,
                nodes: self.steps(Some(otherwise), place),
            });
        }
        let entries = item.as_map()?;
        let is_strange = entries
            .iter()
            .any(|(key, _)| !["when", "steps"].contains(&key.written()));
        for needed in ["when", "steps"] {
            if item.get(needed).is_none() && !is_strange {
                self.error_hint(
                    entries.first().map_or(item, |(key, _)| key),
                    format!("this branch has no `{needed}`"),
                    "a branch is `{when, steps}`; the last one may be `otherwise: [...]`",
                );
            }
        }
        let condition = item
            .get("when")
            .and_then(|node| self.expression(node, &around.deciding("choose")));
        let nodes = self.steps(item.get("steps"), place);
        Some(Branch {
            when: Some(condition?),
            nodes,
        })
    }

    pub(super) fn call(&mut self, this: NodeId, value: &Node, around: &Around) -> Body {
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
            if !is_kebab_case(&playbook) {
                let hint = "a name like `daily-health`, perhaps with versions: `daily-health@^1`";
                self.error_hint(name, format!("`{playbook}` is no playbook name"), hint);
            }
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
                        named: Default::default(),
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
