//! What a run works through: playbooks, checked and put together, as one immutable tree.
//!
//! A [`Scope`] is one playbook in one place (the run's own, and one for each `call`); a [`Node`] is one step of it.
//! Nothing here is text any more: expressions, templates and arguments are parsed, kinds are looked up, and every name
//! has been checked.

mod inputs;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub(crate) use self::inputs::less;
pub use self::{
    inputs::{check_inputs, connection},
    tree::{Tree, TreeError},
};
use crate::{
    expression::{Expression, Template},
    kind::{Class, Digest, Effect, Kind},
    units::Span,
    value::Value,
};

/// The index of a node in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// The index of a scope in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeId(pub usize);

/// Everything a run may do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The playbooks in their places; the first is the run's own.
    pub scopes: Vec<Scope>,
    /// All steps of all scopes.
    pub nodes: Vec<Node>,
}

impl Plan {
    /// Returns the scope with this id.
    pub fn scope(&self, id: ScopeId) -> &Scope {
        &self.scopes[id.0]
    }

    /// Returns the node with this id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Returns the run's own playbook.
    pub fn root(&self) -> &Scope {
        &self.scopes[0]
    }

    /// Returns the strongest effect that any step of the plan can have.
    pub fn effect(&self) -> Effect {
        self.nodes
            .iter()
            .map(|node| node.effect)
            .max()
            .unwrap_or(Effect::Read)
    }

    /// Returns the nodes that lie directly inside `id`, in the order of the text.
    pub fn children(&self, id: NodeId) -> Vec<NodeId> {
        match &self.node(id).body {
            Body::Group(nodes) | Body::Parallel { nodes, .. } | Body::Foreach { nodes, .. } => {
                nodes.clone()
            }
            Body::Choose(branches) => branches
                .iter()
                .flat_map(|branch| branch.nodes.clone())
                .collect(),
            Body::Call { scope, .. } => self.scope(*scope).steps.clone(),
            _ => Vec::new(),
        }
    }
}

/// One playbook in one place.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Its name.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// Its title.
    pub title: String,
    /// When to use it, what it does, what it never does.
    pub description: String,
    /// Where its text was found.
    pub path: String,
    /// The digest of its text.
    pub digest: Digest,
    /// Its text.
    pub text: Arc<str>,
    /// Its inputs, in order.
    pub inputs: Vec<Input>,
    /// Named expressions, evaluated once when the scope is entered, in order.
    pub vars: Vec<(String, Expression)>,
    /// Named endpoints, evaluated after the vars.
    pub connections: Vec<(String, Template)>,
    /// What is held exclusively, from before the guards until the run has ended.
    pub locks: Vec<Template>,
    /// Programs that must be there.
    pub requires: Vec<Requirement>,
    /// What must hold before anything of it runs.
    pub guards: Vec<Guard>,
    /// Every step of the playbook, at any depth, by id.
    pub ids: BTreeMap<String, NodeId>,
    /// The steps.
    pub steps: Vec<NodeId>,
    /// The steps that run last.
    pub always: Vec<NodeId>,
    /// What it gives back.
    pub outputs: Vec<(String, Expression)>,
    /// What a failure does where no step says it.
    pub on_failure: Option<OnFailure>,
}

/// A program that a playbook needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requirement {
    /// The program's name, found through `PATH`.
    pub program: String,
    /// The versions that will do, as a semver range; `*` is any.
    pub versions: String,
}

/// One input of a playbook.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// What it may hold.
    pub of: InputType,
    /// One line for people.
    pub help: String,
    /// Its value where none is given; an input without one is required.
    pub default: Option<Value>,
    /// A regular expression that the whole text must match.
    pub pattern: Option<String>,
    /// The least value, or the least length of a list.
    pub min: Option<Value>,
    /// The greatest value, or the greatest length of a list.
    pub max: Option<Value>,
}

/// What an input may hold.
#[derive(Clone, Debug, PartialEq)]
pub enum InputType {
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A path; made absolute against the run's working folder.
    Path,
    /// A span of time.
    Duration,
    /// A size.
    Bytes,
    /// An instant with its offset.
    Timestamp,
    /// One of these texts.
    Choice(Vec<String>),
    /// A list of such inputs.
    List(Box<Input>),
    /// A map of such inputs.
    Map(Vec<Input>),
    /// A secret: its value is a handle.
    Secret,
}

/// A condition that must hold.
#[derive(Clone, Debug)]
pub struct Guard {
    /// A kind that reads, whose answer `that` sees as `result`.
    pub probe: Option<Work>,
    /// The condition.
    pub that: Expression,
    /// What to tell people when it does not hold.
    pub otherwise: Option<Template>,
}

/// A kind with its arguments.
#[derive(Clone, Debug)]
pub struct Work {
    /// The kind.
    pub kind: Kind,
    /// Its arguments, templates and all.
    pub arguments: Tree,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id, unique in its playbook.
    pub id: String,
    /// The scope it belongs to.
    pub scope: ScopeId,
    /// The line of the playbook's text it begins in, from 1.
    pub line: usize,
    /// What people see.
    pub title: Option<Template>,
    /// False skips it.
    pub when: Option<Expression>,
    /// True means that it is done already.
    pub unless: Option<Guard>,
    /// What must hold.
    pub guards: Vec<Guard>,
    /// Whether a person is asked first.
    pub confirm: Option<Confirm>,
    /// What is checked afterwards.
    pub expect: Vec<Expect>,
    /// How often it is tried.
    pub retry: Option<Tree>,
    /// Ask again until this holds.
    pub until: Option<Until>,
    /// The longest time one attempt may take.
    pub timeout: Option<Tree>,
    /// How strongly it acts; of structure: the strongest of what it holds.
    pub effect: Effect,
    /// Steps that undo it; empty: there is nothing to undo.
    pub rollback: Option<Vec<NodeId>>,
    /// Why it can't be undone.
    pub irreversible: Option<String>,
    /// What its failure does.
    pub on_failure: Option<OnFailure>,
    /// Which of its results are secrets.
    pub sensitive: Sensitive,
    /// What it does.
    pub body: Body,
    /// Which of its result fields some expression names.
    pub named: Named,
    /// Whether it lies in the `rollback` of a step or in `always`: then it needs no undo and registers none.
    pub aside: bool,
}

impl Node {
    /// Returns whether nothing can be undone any more once this step has started.
    pub fn is_point_of_no_return(&self) -> bool {
        self.effect == Effect::Destroy && self.irreversible.is_some()
    }

    /// Returns whether other steps lie inside it.
    pub fn is_structure(&self) -> bool {
        matches!(
            self.body,
            Body::Group(_)
                | Body::Parallel { .. }
                | Body::Foreach { .. }
                | Body::Choose(_)
                | Body::Call { .. }
        )
    }

    /// Returns the kind of a step that has one.
    pub fn work(&self) -> Option<&Work> {
        match &self.body {
            Body::Work(work) => Some(work),
            _ => None,
        }
    }
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Body {
    /// A step kind.
    Work(Work),
    /// Steps one after the other.
    Group(Vec<NodeId>),
    /// Steps beside each other.
    Parallel {
        /// The steps.
        nodes: Vec<NodeId>,
        /// How many at once; all where it is not said.
        at_once: Option<Tree>,
    },
    /// The same steps for every item of a list.
    Foreach {
        /// The list.
        items: Expression,
        /// The item's own name beside `item`.
        name: Option<String>,
        /// What names a round; its index where it is not said.
        key: Option<Expression>,
        /// How many rounds at once; 1 where it is not said.
        at_once: Option<Tree>,
        /// The steps.
        nodes: Vec<NodeId>,
    },
    /// The first branch whose condition holds.
    Choose(Vec<Branch>),
    /// Another playbook within this run.
    Call {
        /// Its scope.
        scope: ScopeId,
        /// Its inputs.
        with: Tree,
    },
    /// Asks a person for values.
    Ask(Vec<Input>),
    /// An instruction for a person.
    Manual(Template),
    /// A diagnosis.
    Finding {
        /// How bad it is.
        severity: Severity,
        /// What was found.
        title: Template,
        /// What to do about it.
        advice: Option<Template>,
    },
    /// Waits.
    Wait(Tree),
    /// Tells somebody.
    Notify {
        /// `terminal`, or the URL that gets it.
        to: Template,
        /// The message.
        message: Template,
    },
    /// Named values.
    Set(Vec<(String, Expression)>),
    /// Nothing of its own: it has a `confirm` or an `expect`.
    Checkpoint,
}

impl Body {
    /// Returns the word for what a step does: its kind's name, or the key that stands in its place.
    pub fn word(&self) -> &'static str {
        match self {
            Body::Work(work) => work.kind.name,
            Body::Group(_) => "group",
            Body::Parallel { .. } => "parallel",
            Body::Foreach { .. } => "foreach",
            Body::Choose(_) => "choose",
            Body::Call { .. } => "call",
            Body::Ask(_) => "ask",
            Body::Manual(_) => "manual",
            Body::Finding { .. } => "finding",
            Body::Wait(_) => "wait",
            Body::Notify { .. } => "notify",
            Body::Set(_) => "set",
            Body::Checkpoint => "checkpoint",
        }
    }
}

/// A branch of a `choose`.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Its condition; `None` for `otherwise`.
    pub when: Option<Expression>,
    /// Its steps.
    pub nodes: Vec<NodeId>,
}

/// A question before a step acts.
#[derive(Clone, Debug)]
pub struct Confirm {
    /// What is asked; the step's title where it is not said.
    pub message: Option<Template>,
    /// What the person must type.
    pub phrase: Option<Template>,
    /// How many different people must agree.
    pub approvers: u32,
    /// Whether one of them must not have started the run.
    pub not_starter: bool,
    /// How long after it was asked the answer becomes no.
    pub deadline: Option<Tree>,
}

impl Confirm {
    /// Returns a question that one person answers, whenever they like.
    pub fn plain(message: Option<Template>) -> Confirm {
        Confirm {
            message,
            phrase: None,
            approvers: 1,
            not_starter: false,
            deadline: None,
        }
    }

    /// Returns whether whoever runs the playbook can answer it alone.
    pub fn is_for_one(&self) -> bool {
        self.approvers <= 1 && !self.not_starter
    }
}

/// What is checked after a step.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The list whose every `item` is asked.
    pub each: Option<Expression>,
    /// The condition.
    pub that: Expression,
    /// What to tell people when it does not hold.
    pub otherwise: Option<Template>,
    /// What it means when it does not hold.
    pub severity: ExpectSeverity,
}

/// What a condition that does not hold means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectSeverity {
    /// The step has failed.
    Failure,
    /// A finding, and the run goes on.
    Finding(Severity),
}

/// How bad a finding is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Somebody should look at it.
    Warning,
    /// Somebody must act.
    Critical,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        })
    }
}

/// Ask again until something holds.
#[derive(Clone, Debug)]
pub struct Until {
    /// The condition on `result`.
    pub that: Expression,
    /// How long between two tries.
    pub every: Tree,
    /// How long at the most.
    pub within: Tree,
    /// How long it must hold without a break.
    pub stable_for: Option<Tree>,
}

/// How often a step is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, the first one counted.
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: u32,
    /// How long to wait before the second attempt.
    #[serde(default = "second")]
    pub delay: Span,
    /// Whether the wait stays the same or doubles.
    #[serde(default)]
    pub backoff: Backoff,
    /// The longest wait.
    #[serde(default)]
    pub max_delay: Option<Span>,
    /// Whether each wait is shortened by up to a half, so that many do not come back at the same moment.
    #[serde(default)]
    pub jitter: bool,
    /// Which failures are tried again; all of these where it is not said.
    #[serde(default = "retried")]
    pub on: Vec<RetriedClass>,
}

fn second() -> Span {
    Span::from_seconds(1)
}

fn retried() -> Vec<RetriedClass> {
    vec![
        RetriedClass::Transport,
        RetriedClass::Timeout,
        RetriedClass::Exit,
        RetriedClass::Expect,
    ]
}

/// How the wait between attempts grows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    /// Every wait is as long as the first.
    #[default]
    Fixed,
    /// Every wait is twice as long as the one before.
    Exponential,
}

/// A class of failure that can be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RetriedClass {
    /// The other side could not be reached, or broke off.
    Transport,
    /// It took longer than it may.
    Timeout,
    /// A program ended with a code that is not among `exits`.
    Exit,
    /// The result is not what the playbook expects.
    Expect,
}

impl RetriedClass {
    /// Returns the class of failures that this selects.
    pub fn class(self) -> Class {
        match self {
            RetriedClass::Transport => Class::Transport,
            RetriedClass::Timeout => Class::Timeout,
            RetriedClass::Exit => Class::Exit,
            RetriedClass::Expect => Class::Expect,
        }
    }
}

/// What a failure does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Undoes the whole run.
    Rollback,
    /// Keeps everything where it is; a person goes on from there.
    Stop,
    /// Asks on a terminal; without one it stops.
    Ask,
    /// Raises a critical finding and goes on.
    Continue,
}

/// Which results of a step are secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sensitive {
    /// None.
    #[default]
    No,
    /// Output, diff and every result field.
    All,
    /// These fields.
    Fields(Vec<String>),
}

/// Which result fields of a step some expression names: all that the state keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Whether the result is used as a whole.
    pub whole: bool,
    /// The fields that are named.
    pub fields: BTreeSet<String>,
}

impl Named {
    /// Returns whether anything of the result is named.
    pub fn is_used(&self) -> bool {
        self.whole || !self.fields.is_empty()
    }

    /// Returns whether the field is kept.
    pub fn keeps(&self, field: &str) -> bool {
        self.whole || self.fields.contains(field)
    }
}
