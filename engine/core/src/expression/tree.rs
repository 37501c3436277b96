//! The tree of an expression: owned, closed, with a place for everything.

use std::{ops::Range, sync::Arc};

use regex::Regex;

use super::{filters::Filter, functions::Function, is::Test, operators::Operator};
use crate::value::Value;

#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it is written, in bytes of the expression's text.
    pub(super) range: Range<usize>,
    pub(super) operation: Operation,
}

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Constant(Value),
    Name(Arc<str>),
    Field(Box<Node>, Arc<str>),
    Index(Box<Node>, Box<Node>),
    Slice(Box<Slice>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<(Node, Node)>),
    Or(Box<(Node, Node)>),
    If(Box<If>),
    Binary(Operator, Box<(Node, Node)>),
    Filter(Box<Node>, Box<FilterCall>),
    Test(Box<Node>, Box<TestCall>),
    /// `of | default(otherwise)`, which sees what is missing.
    Default(Box<(Node, Node)>),
    /// `of is defined`, or with `false`: `of is absent`.
    Present(Box<Node>, bool),
    Call(&'static Function, Box<Node>),
}

#[derive(Clone, Debug)]
pub(super) struct Slice {
    pub(super) of: Node,
    pub(super) start: Option<Node>,
    pub(super) stop: Option<Node>,
    pub(super) step: Option<Node>,
}

#[derive(Clone, Debug)]
pub(super) struct If {
    pub(super) condition: Node,
    pub(super) then: Node,
    pub(super) otherwise: Node,
}

#[derive(Clone, Debug)]
pub(super) struct FilterCall {
    pub(super) filter: &'static Filter,
    /// One place per argument that the filter has; empty if none is given.
    pub(super) arguments: Vec<Option<Node>>,
    pub(super) inner: Inner,
}

/// The filter or test that a filter applies to each item.
#[derive(Clone, Debug)]
pub(super) enum Inner {
    Nothing,
    Filter(Box<FilterCall>),
    Test(Box<TestCall>),
}

#[derive(Clone, Debug)]
pub(super) struct TestCall {
    pub(super) test: &'static Test,
    pub(super) arguments: Vec<Option<Node>>,
    /// The regular expression, where it is written out.
    pub(super) regex: Option<Regex>,
}

impl Node {
    /// Returns whether it is a name with nothing but a path behind it.
    pub(super) fn is_reference(&self) -> bool {
        match &self.operation {
            Operation::Name(_) => true,
            Operation::Field(of, _) | Operation::Index(of, _) => of.is_reference(),
            _ => false,
        }
    }

    /// Calls `visit` for each node right below this one, in the order they are written.
    pub(super) fn children<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        match &self.operation {
            Operation::Constant(_) | Operation::Name(_) => {}
            Operation::Field(of, _)
            | Operation::Not(of)
            | Operation::Negate(of)
            | Operation::Present(of, _)
            | Operation::Call(_, of) => visit(of),
            Operation::Index(of, key) => {
                visit(of);
                visit(key);
            }
            Operation::And(both)
            | Operation::Or(both)
            | Operation::Binary(_, both)
            | Operation::Default(both) => {
                visit(&both.0);
                visit(&both.1);
            }
            Operation::Slice(slice) => {
                visit(&slice.of);
                [&slice.start, &slice.stop, &slice.step]
                    .into_iter()
                    .flatten()
                    .for_each(visit);
            }
            Operation::List(items) => items.iter().for_each(visit),
            Operation::Map(entries) => {
                for (key, value) in entries {
                    visit(key);
                    visit(value);
                }
            }
            Operation::If(choice) => {
                visit(&choice.then);
                visit(&choice.condition);
                visit(&choice.otherwise);
            }
            Operation::Filter(of, call) => {
                visit(of);
                call.children(visit);
            }
            Operation::Test(of, call) => {
                visit(of);
                call.arguments.iter().flatten().for_each(visit);
            }
        }
    }

    /// Collects the parts whose values tell why this one is what it is: below first, as they are written.
    pub(super) fn telling_parts<'n>(&'n self, parts: &mut Vec<&'n Node>) {
        if self.is_reference() {
            self.keys_of_path(parts);
            parts.push(self);
            return;
        }
        self.children(&mut |child| child.as_part(parts));
    }

    fn as_part<'n>(&'n self, parts: &mut Vec<&'n Node>) {
        self.telling_parts(parts);
        if self.tells() {
            parts.push(self);
        }
    }

    fn keys_of_path<'n>(&'n self, parts: &mut Vec<&'n Node>) {
        match &self.operation {
            Operation::Field(of, _) => of.keys_of_path(parts),
            Operation::Index(of, key) => {
                of.keys_of_path(parts);
                key.as_part(parts);
            }
            _ => {}
        }
    }

    fn tells(&self) -> bool {
        match &self.operation {
            Operation::Binary(operator, _) => operator.makes_a_value(),
            Operation::Filter(..)
            | Operation::Test(..)
            | Operation::Default(_)
            | Operation::Present(..)
            | Operation::Call(..)
            | Operation::Slice(_) => true,
            // A path that does not start at a name: `(a | first).size`.
            Operation::Field(..) | Operation::Index(..) => !self.is_reference(),
            _ => false,
        }
    }
}

impl FilterCall {
    fn children<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        self.arguments.iter().flatten().for_each(&mut *visit);
        match &self.inner {
            Inner::Nothing => {}
            Inner::Filter(call) => call.children(visit),
            Inner::Test(call) => call.arguments.iter().flatten().for_each(visit),
        }
    }
}
