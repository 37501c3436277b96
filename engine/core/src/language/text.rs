//! The shape of a playbook's text: every key with its meaning.
//!
//! The schema is generated from these types, the reader accepts the keys that they have, and the reference is made of
//! their comments. Nobody builds values of them: the reader makes a plan of the text itself, because it needs the
//! places.
#![expect(dead_code, reason = "the types are there for their schema")]

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    kind::Effect,
    plan::{OnFailure, Retry, Severity},
    units::Span,
};

/// A playbook: what a runbook says, so that a program can do it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Playbook {
    /// The name, in kebab-case; equal to the file's name without its ending.
    playbook: Literal,
    /// The semantic version of this text.
    version: Literal,
    /// What it does, in one line.
    title: Literal,
    /// When to use it, what it does, what it never does. Shown before the first question.
    description: Option<Literal>,
    /// Who answers for it.
    owner: Option<Literal>,
    /// Words to find it by.
    tags: Option<Vec<Literal>>,
    /// The document it comes from.
    source: Option<Literal>,
    /// The day somebody last read it against the real system, like `2026-11-20`.
    reviewed: Option<Literal>,
    /// How long after `reviewed` it counts as stale; 180 days where it is not said.
    stale_after: Option<Span>,
    /// Programs it needs, each with a semver range (`"*"` for any version); checked before the run starts.
    requires: Option<BTreeMap<String, Literal>>,
    /// What it is given.
    inputs: Option<BTreeMap<String, Input>>,
    /// Named expressions, worked out once when the run starts, in order.
    vars: Option<BTreeMap<String, Expression>>,
    /// Named endpoints: URLs whose scheme is `sqlite`, `postgres`, `redis`, `http` or `https`.
    connections: Option<BTreeMap<String, Template>>,
    /// What the run holds exclusively, across all playbooks and users of the machine: any names, best made like
    /// `sqlite:/var/lib/kv.db` of the kind of thing and its place.
    locks: Option<Vec<Template>>,
    /// What must hold before anything runs.
    guards: Option<Vec<Guard>>,
    /// What a failure does where no step says it: `rollback` where it is not said here either.
    on_failure: Option<OnFailure>,
    /// The work.
    steps: Vec<Step>,
    /// Steps that run last, after any rollback, once a step has started.
    always: Option<Vec<Step>>,
    /// What it gives back.
    outputs: Option<BTreeMap<String, Expression>>,
}

/// One input: a type, and what its values must be.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Input {
    /// What it holds.
    r#type: InputKind,
    /// What it is for, in one line.
    help: Option<Literal>,
    /// The value where none is given; an input without one is required.
    default: Option<Anything>,
    /// A regular expression that the whole text must match.
    pattern: Option<Regex>,
    /// The least value, or the least length of a text or list.
    min: Option<Anything>,
    /// The greatest value, or the greatest length of a text or list.
    max: Option<Anything>,
    /// The texts of a `choice`.
    of: Option<Vec<Literal>>,
    /// What a `list` holds: the name of a type, or an input.
    items: Option<Anything>,
    /// What a `map` holds.
    fields: Option<BTreeMap<String, Input>>,
}

/// The types of inputs.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum InputKind {
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A path on this machine.
    Path,
    /// A span of time: `90s`, `5m`, `24h`, `7d`.
    Duration,
    /// A size: `100MiB`.
    Bytes,
    /// An instant: RFC 3339 with its offset.
    Timestamp,
    /// One of the texts in `of`.
    Choice,
    /// A list of `items`.
    List,
    /// A map of `fields`.
    Map,
    /// A secret: given as `env:NAME`, `file:PATH`, `command:...` or typed unseen.
    Secret,
}

/// A condition that must hold: about what is known, or about the answer of a kind that reads.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Guard {
    /// The condition; with a kind beside it, on its `result`.
    that: Expression,
    /// What to tell people when it does not hold.
    r#else: Option<Template>,
}

/// A question to a person before the step acts.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Confirm {
    /// What is asked; the step's title where it is not said.
    message: Option<Template>,
    /// What the person must type: best made of the target's own name.
    phrase: Option<Template>,
    /// How many different people must agree; 1 where it is not said.
    #[schemars(range(min = 1, max = 100))]
    approvers: Option<u32>,
    /// Whether one of them must not have started the run.
    not_starter: Option<bool>,
    /// How long after it was asked the answer becomes no; never where it is not said.
    deadline: Option<Span>,
}

/// What is checked after a step.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Expect {
    /// A list: `that` is asked for every `item` of it.
    each: Option<Expression>,
    /// The condition on `result`.
    that: Expression,
    /// What to tell people when it does not hold.
    r#else: Option<Template>,
    /// What it means: `failure` where it is not said.
    severity: Option<ExpectSeverity>,
}

/// What a condition that does not hold means.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum ExpectSeverity {
    /// The step has failed.
    Failure,
    /// A critical finding; the run goes on.
    Critical,
    /// A warning; the run goes on.
    Warning,
}

/// A step: exactly one kind, or structure, and what is said about it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Step {
    /// How results are referred to, and the step's address: snake_case, unique in the file.
    id: Literal,
    /// What people see.
    title: Option<Template>,
    /// False skips the step.
    when: Option<Expression>,
    /// True means that it is done already: an expression, or a kind that reads with `that`.
    unless: Option<Unless>,
    /// What must hold for this step; one that does not refuses it.
    guards: Option<Vec<Guard>>,
    /// Ask a person first: `true`, a message, or `{message, phrase, approvers, not_starter, deadline}`.
    confirm: Option<ConfirmForms>,
    /// What is checked afterwards.
    expect: Option<Vec<Expect>>,
    /// How often it is tried.
    retry: Option<Retry>,
    /// Ask again until this holds; only on what reads.
    until: Option<Expression>,
    /// How long between two tries of `until`; 1s where it is not said.
    every: Option<Span>,
    /// How long `until` may take at the most.
    within: Option<Span>,
    /// How long `until` must hold without a break, inside `within`.
    stable_for: Option<Span>,
    /// The longest time of one attempt: 30s for what reads, none for what changes, where it is not said.
    timeout: Option<Span>,
    /// How strongly a `command`, `shell` or `http.request` acts.
    effect: Option<Effect>,
    /// Steps that undo it; `[]` says that there is nothing to undo.
    rollback: Option<Vec<Step>>,
    /// Why it can't be undone.
    irreversible: Option<Literal>,
    /// What its failure does; the innermost that is written wins.
    on_failure: Option<OnFailure>,
    /// `true`, or the result fields that are secrets.
    sensitive: Option<SensitiveForms>,
    /// The machine it runs on.
    host: Option<Later>,
    /// Steps one after the other.
    group: Option<Vec<Step>>,
    /// Steps beside each other.
    parallel: Option<Vec<Step>>,
    /// How many steps of `parallel` run at once; all where it is not said.
    #[schemars(range(min = 1))]
    at_once: Option<u32>,
    /// The same steps for every item of a list.
    foreach: Option<Foreach>,
    /// The first branch whose `when` holds.
    choose: Option<Vec<Branch>>,
    /// Another playbook within this run.
    call: Option<Call>,
    /// Asks a person for values: names with inputs.
    ask: Option<BTreeMap<String, Input>>,
    /// An instruction for a person: done, failed or skip.
    manual: Option<Template>,
    /// A diagnosis.
    finding: Option<Finding>,
    /// Waits this long.
    wait: Option<Span>,
    /// Tells somebody.
    notify: Option<Notify>,
    /// Named values.
    set: Option<BTreeMap<String, Expression>>,
}

/// A loop.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Foreach {
    /// The list.
    r#in: Expression,
    /// The item's own name beside `item`.
    r#as: Option<Literal>,
    /// What names a round in addresses; its index where it is not said.
    key: Option<Expression>,
    /// How many rounds run at once; 1 where it is not said.
    #[schemars(range(min = 1))]
    at_once: Option<u32>,
    /// The steps of a round.
    steps: Vec<Step>,
}

/// A branch of a `choose`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Branch {
    /// Its condition.
    when: Option<Expression>,
    /// Its steps.
    steps: Option<Vec<Step>>,
    /// The steps where no condition held: alone, and last.
    otherwise: Option<Vec<Step>>,
}

/// Another playbook within this run.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Call {
    /// Its name, perhaps with a semver range: `name@^1`.
    playbook: Literal,
    /// Its inputs.
    with: Option<BTreeMap<String, Anything>>,
}

/// A diagnosis.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Finding {
    /// How bad it is.
    severity: Severity,
    /// What was found.
    title: Template,
    /// What to do about it.
    advice: Option<Template>,
}

/// A message.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Notify {
    /// `terminal`, or an `http(s)://` URL that gets a JSON object with `text`, `run`, `playbook` and `step`.
    to: Template,
    /// The message.
    message: Template,
}

/// Gives a type that only stands for a form of text its schema.
macro_rules! form {
    ($(#[doc = $doc:literal] $name:ident = $schema:tt;)*) => {
        $(
            #[doc = $doc]
            pub(super) struct $name;

            impl JsonSchema for $name {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        )*
    };
}

form! {
    /// Text that is taken as it is.
    Literal = { "type": "string", "x-literal": true };
    /// A regular expression.
    Regex = { "type": "string", "format": "regex", "x-literal": true };
    /// A text with `{{ }}` in it.
    Template = { "type": "string" };
    /// An expression; what is not text stands for itself.
    Expression = { "x-expression": true };
    /// Any value.
    Anything = {};
    /// A key whose feature is not built yet.
    Later = { "x-later": true };
}

/// `unless`: an expression, or a kind that reads with `that`.
pub(super) struct Unless;

/// `confirm`: `true`, a message, or `{message, phrase, approvers, not_starter, deadline}`.
pub(super) struct ConfirmForms;

/// `sensitive`: `true`, or names of result fields.
pub(super) struct SensitiveForms;

impl JsonSchema for Unless {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Unless".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let guard = generator.subschema_for::<Guard>();
        json_schema!({ "anyOf": [guard, { "type": ["string", "boolean"] }] })
    }
}

impl JsonSchema for ConfirmForms {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ConfirmForms".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let confirm = generator.subschema_for::<Confirm>();
        json_schema!({ "anyOf": [confirm, { "type": "string" }, { "const": true }] })
    }
}

impl JsonSchema for SensitiveForms {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SensitiveForms".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "boolean" }, { "type": "array", "items": { "type": "string" } }] })
    }
}
