//! The corpus has everything: each node, attribute, event, state, answer and end occurs in some story.
//!
//! What there is comes from the types themselves: from the schema of playbooks, from what the journal can read back,
//! and from matches without a rest. So what is added to the machine is missed here until a story has it.

use std::collections::BTreeSet;

use serde::{Serialize, de::DeserializeOwned};

use super::{
    corpus::CORPUS,
    cuts,
    world::{self, Story},
};
use crate::{
    event::{
        Ask, Asserted, Assertion, Body, Event, Goal, Outcome, Reply, Settlement, StepState, Stop,
        UndoResult,
    },
    kind::{Class, Effect, Looked, UndoLook},
    language,
    machine::Job,
    plan::{
        self, Backoff, Confirm, Expect, ExpectSeverity, Guard, Node, OnFailure, Plan, Scope,
        Sensitive, Severity, Tree, Until,
    },
    summary,
    units::Span,
    value::Value,
};

type Words = BTreeSet<String>;

#[test]
fn the_corpus_has_everything_there_is() {
    let mut found = Words::new();
    for told in CORPUS {
        let plan = world::plan(told.yaml);
        let story = world::run(&plan, told.script);
        story_words(&story, &mut found);
        for events in 1..=story.events.len() {
            for acts in [false, true] {
                if let Some(again) = cuts::cut(&story, events, acts) {
                    story_words(&again, &mut found);
                }
            }
        }
    }
    let missing: Vec<String> = wanted().difference(&found).cloned().collect();
    for (word, why) in UNREACHED {
        assert!(
            !found.contains(word),
            "`{word}` occurs, so this is wrong: {why}"
        );
    }
    let unreached = |word: &String| UNREACHED.iter().any(|(unreached, _)| unreached == word);
    let missing: Vec<String> = missing
        .into_iter()
        .filter(|word| !unreached(word))
        .collect();
    assert!(
        missing.is_empty(),
        "in no story of the corpus: {missing:#?}"
    );
}

/// Why a story has to wait.
const NOT_YET: &str = "the fake world can't do this yet";

/// What no story can have, and why.
///
/// This list is checked as well: what does occur must not stand here.
const UNREACHED: [(&str, &str); 7] = [
    (
        "settled done",
        "what an `unless` without a probe names is fixed before the step starts, so it can't come to hold later",
    ),
    (
        "settled undo",
        "what a person says to a step in doubt is the event `answered`",
    ),
    ("ask interrupted", NOT_YET),
    ("reply go_on", NOT_YET),
    (
        "event adopted",
        "it goes on from an earlier run: the stories in `continuing` have it",
    ),
    ("event ignored", NOT_YET),
    (
        "event previewed",
        "it is the record of a look, and in no run",
    ),
];

/// Returns everything that must occur.
fn wanted() -> Words {
    let mut words = Words::new();
    let mut all = |of: &str, names: Vec<String>| {
        words.extend(names.into_iter().map(|name| format!("{of} {name}")));
    };
    all("event", variants::<Body>());
    all("state", variants::<StepState>());
    all("outcome", variants::<Outcome>());
    all("exit", exit_codes());
    all("goal", variants::<Goal>());
    all("stop", variants::<Stop>());
    all("ask", variants::<Ask>());
    all("reply", variants::<Reply>());
    all("settled", variants::<Settlement>());
    all("undo", variants::<UndoResult>());
    // What an undo finds is an answer of its own only where it then leaves the thing alone.
    all("left", vec!["dirty".into(), "lapsed".into()]);
    all("failed", variants::<Class>());
    all("then", variants::<OnFailure>());
    all("finding", variants::<Severity>());
    all(
        "looked",
        ["done", "needed", "unclear"].map(str::to_owned).into(),
    );
    all("job", JOBS.map(str::to_owned).into());
    all(
        "guard",
        ["holds", "is false", "can't be asked"]
            .map(str::to_owned)
            .into(),
    );
    all(
        "unless",
        ["holds", "is false", "can't be asked"]
            .map(str::to_owned)
            .into(),
    );
    let keys = |of: &str| schema_keys(of);
    all("key", keys("/properties"));
    all("step key", keys("/$defs/Step/properties"));
    all("step", ATTRIBUTES.map(str::to_owned).into());
    for of in ["step", "group", "playbook"] {
        let then = variants::<OnFailure>().into_iter();
        all(of, then.map(|then| format!("on_failure {then}")).collect());
    }
    all("retry", variants::<Backoff>());
    for effect in variants::<Effect>() {
        all("work", vec![effect]);
    }
    all(
        "step key",
        vec!["call inside a call".into(), "checkpoint".into()],
    );
    words
}

/// The forms of attributes, beyond their keys.
const ATTRIBUTES: [&str; 23] = [
    "unless with a probe",
    "unless without a probe",
    "guards with a probe",
    "guards without a probe",
    "guards with else",
    "confirm without words",
    "confirm with a message",
    "confirm with a phrase",
    "confirm with approvers",
    "confirm with not_starter",
    "confirm with a deadline",
    "expect failure",
    "expect failure each",
    "expect warning",
    "expect warning each",
    "expect critical",
    "expect critical each",
    "retry with max_delay",
    "retry with jitter",
    "retry on",
    "rollback steps",
    "rollback nothing",
    "sensitive fields",
];

const JOBS: [&str; 10] = [
    "record", "require", "probe", "look", "ask", "perform", "notify", "undo", "sleep", "lock",
];

fn job_word(job: &Job) -> &'static str {
    match job {
        Job::Record(_) => "record",
        Job::Require(_) => "require",
        Job::Probe(_) => "probe",
        Job::Look(_) => "look",
        Job::Ask(_) => "ask",
        Job::Perform { .. } => "perform",
        Job::Notify { .. } => "notify",
        Job::Undo { .. } => "undo",
        Job::Sleep(_) => "sleep",
        Job::Lock { .. } => "lock",
    }
}

/// Returns the names of all variants of a type, as they are stored: what the type itself says of a strange one.
fn variants<T: DeserializeOwned>() -> Vec<String> {
    let strange = serde_json::from_value::<T>("?".into());
    let Err(error) = strange else {
        unreachable!("nothing is called `?`");
    };
    let error = error.to_string();
    let mut parts = error.split('`').skip(3).step_by(2).map(str::to_owned);
    let first = parts
        .next()
        .unwrap_or_else(|| panic!("the type names no variants: {error}"));
    std::iter::once(first).chain(parts).collect()
}

/// Returns the name under which a variant is stored.
fn name_of(variant: &impl Serialize) -> String {
    match serde_json::to_value(variant).expect("what events hold can be stored") {
        serde_json::Value::String(name) => name,
        serde_json::Value::Object(map) => map.keys().next().cloned().unwrap_or_default(),
        other => panic!("no variant: {other}"),
    }
}

/// Returns the exit codes that the table in `summary.rs` names.
fn exit_codes() -> Vec<String> {
    let text = include_str!("../../summary.rs");
    let rows = text.lines().filter_map(|line| line.strip_prefix("/// | "));
    let codes: Vec<String> = rows
        .filter_map(|row| row.split(' ').next()?.parse::<u8>().ok())
        .map(|code| code.to_string())
        .collect();
    assert!(codes.len() >= 8, "the table of exit codes is not found");
    codes
}

/// Returns the keys that a part of the schema of playbooks has, without what the machine does not see.
fn schema_keys(of: &str) -> Vec<String> {
    let schema = language::playbook_schema(&[]);
    let properties = schema.pointer(of).and_then(|keys| keys.as_object());
    let keys = properties
        .unwrap_or_else(|| panic!("the schema has no {of}"))
        .keys();
    let prose = [
        "playbook",
        "version",
        "title",
        "description",
        "owner",
        "tags",
        "source",
        "reviewed",
        "stale_after",
        "id",
    ];
    let is_prose = |key: &str| prose.contains(&key) && (of == "/properties" || key == "id");
    keys.filter(|key| !is_prose(key)).cloned().collect()
}

fn story_words(story: &Story<'_>, words: &mut Words) {
    let mut state = story.base.clone();
    for event in &story.events {
        event_words(event, words);
        state.apply(story.plan, event);
        for state in state.standing().into_values() {
            words.insert(format!("state {}", name_of(&state)));
        }
        for command in state.due() {
            words.insert(format!("job {}", job_word(&command.job)));
            if let Job::Ask(question) = &command.job {
                words.insert(format!("ask {}", name_of(&question.ask)));
            }
        }
    }
    words.insert(format!("exit {}", summary::exit_code(&state)));
    for scope in &story.plan.scopes {
        scope_words(scope, words);
    }
    for key in state.standing().keys() {
        // What no frame was ever made for was not run.
        if let Some(node) = state.node_of(key) {
            node_words(story.plan, story.plan.node(node), words);
        }
    }
}

fn event_words(event: &Event, words: &mut Words) {
    let mut add = |of: &str, name: String| {
        words.insert(format!("{of} {name}"));
    };
    add("event", event.body.kind().to_owned());
    match &event.body {
        Body::Asserted(Asserted {
            which,
            holds,
            error,
            ..
        }) => {
            let of = match which {
                Assertion::Guard(_) => "guard",
                Assertion::Unless => "unless",
            };
            let how = match (error, holds) {
                (Some(_), _) => "can't be asked",
                (None, Some(true)) => "holds",
                (None, Some(false)) => "is false",
                (None, None) => "is unknown",
            };
            add(of, how.to_owned());
        }
        Body::Looked { look, .. } => match look {
            Looked::Done(_) => add("looked", "done".to_owned()),
            Looked::Needed { .. } => add("looked", "needed".to_owned()),
            Looked::Unclear => add("looked", "unclear".to_owned()),
        },
        Body::Answered { reply, .. } => add("reply", name_of(reply)),
        Body::Finished(finished) => {
            if let Some(failure) = &finished.failure {
                add("failed", name_of(&failure.class));
            }
            if let Some(then) = &finished.then {
                add("then", name_of(then));
            }
            for finding in &finished.findings {
                add("finding", name_of(&finding.severity));
            }
            if finished.state == StepState::Already {
                add("looked", "done".to_owned());
            }
        }
        Body::Stopping { then, .. } => add("stop", name_of(then)),
        Body::Resumed { goal, .. } => add("goal", name_of(goal)),
        Body::Settled { how } => add("settled", name_of(how)),
        Body::Undone(undone) => {
            add("undo", name_of(&undone.result));
            if let UndoResult::Left(UndoLook::Dirty(_)) = undone.result {
                add("left", "dirty".to_owned());
            }
            if let UndoResult::Left(UndoLook::Lapsed(_)) = undone.result {
                add("left", "lapsed".to_owned());
            }
        }
        Body::Ended(ended) => add("outcome", name_of(&ended.outcome)),
        _ => {}
    }
}

fn scope_words(scope: &Scope, words: &mut Words) {
    let Scope {
        name: _,
        version: _,
        title: _,
        description: _,
        path: _,
        digest: _,
        text: _,
        ids: _,
        inputs,
        vars,
        locks,
        connections,
        requires,
        guards,
        steps,
        always,
        outputs,
        on_failure,
    } = scope;
    let mut add = |key: &str, is_there: bool| {
        if is_there {
            words.insert(format!("key {key}"));
        }
    };
    add("inputs", !inputs.is_empty());
    add("locks", !locks.is_empty());
    add("vars", !vars.is_empty());
    add("connections", !connections.is_empty());
    add("requires", !requires.is_empty());
    add("guards", !guards.is_empty());
    add("steps", !steps.is_empty());
    add("always", !always.is_empty());
    add("outputs", !outputs.is_empty());
    add("on_failure", on_failure.is_some());
    if let Some(then) = on_failure {
        words.insert(format!("playbook on_failure {}", name_of(then)));
    }
}

fn node_words(plan: &Plan, node: &Node, words: &mut Words) {
    let Node {
        id: _,
        scope,
        line: _,
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
        on_failure,
        sensitive,
        body,
        named: _,
        aside: _,
    } = node;
    let mut add = |key: &str, forms: Vec<String>| {
        words.insert(format!("step key {key}"));
        words.extend(forms.into_iter().map(|form| format!("step {key} {form}")));
    };
    let probed = |guard: &Guard| match guard.probe {
        Some(_) => "with a probe".to_owned(),
        None => "without a probe".to_owned(),
    };
    if title.is_some() {
        add("title", Vec::new());
    }
    if when.is_some() {
        add("when", Vec::new());
    }
    if let Some(unless) = unless {
        add("unless", vec![probed(unless)]);
    }
    for guard in guards.iter().chain(&plan.scope(*scope).guards) {
        let otherwise = guard.otherwise.as_ref().map(|_| "with else".to_owned());
        add(
            "guards",
            [probed(guard)].into_iter().chain(otherwise).collect(),
        );
    }
    if let Some(Confirm {
        message,
        phrase,
        approvers,
        not_starter,
        deadline,
    }) = confirm
    {
        let form = match (message, phrase) {
            (_, Some(_)) => "with a phrase",
            (Some(_), None) => "with a message",
            (None, None) => "without words",
        };
        let more = [
            (*approvers > 1, "with approvers"),
            (*not_starter, "with not_starter"),
            (deadline.is_some(), "with a deadline"),
        ];
        let more = more.iter().filter(|(is_there, _)| *is_there);
        let forms = more.map(|(_, form)| *form).chain([form]);
        add("confirm", forms.map(str::to_owned).collect());
    }
    for Expect {
        each,
        severity,
        that: _,
        otherwise: _,
    } in expect
    {
        let severity = match severity {
            ExpectSeverity::Failure => "failure".to_owned(),
            ExpectSeverity::Finding(severity) => severity.to_string(),
        };
        let each = each.as_ref().map_or("", |_| " each");
        add("expect", vec![format!("{severity}{each}")]);
    }
    if let Some(retry) = retry {
        let Value::Map(retry) = retry.literal() else {
            unreachable!("the schema has checked that it is a map");
        };
        let forms = [
            ("max_delay", "with max_delay"),
            ("jitter", "with jitter"),
            ("on", "on"),
        ];
        let forms = forms.iter().filter(|(key, _)| retry.contains_key(*key));
        add("retry", forms.map(|(_, form)| (*form).to_owned()).collect());
        let backoff = retry
            .get("backoff")
            .map_or_else(|| "fixed".to_owned(), Value::display);
        words.insert(format!("retry {}", backoff.trim_matches('"')));
    }
    let mut add = |key: &str, forms: Vec<String>| {
        words.insert(format!("step key {key}"));
        words.extend(forms.into_iter().map(|form| format!("step {key} {form}")));
    };
    if let Some(Until {
        that: _,
        every,
        within: _,
        stable_for,
    }) = until
    {
        add("until", Vec::new());
        add("within", Vec::new());
        // One second is what stands there where the playbook says nothing.
        if !matches!(every, Tree::Literal(Value::Duration(span)) if *span == Span::from_seconds(1))
        {
            add("every", Vec::new());
        }
        if stable_for.is_some() {
            add("stable_for", Vec::new());
        }
    }
    if timeout.is_some() {
        add("timeout", Vec::new());
    }
    if let Some(steps) = rollback {
        let form = match steps.is_empty() {
            true => "nothing",
            false => "steps",
        };
        add("rollback", vec![form.to_owned()]);
    }
    if irreversible.is_some() {
        add("irreversible", Vec::new());
    }
    match sensitive {
        Sensitive::No => {}
        Sensitive::All => add("sensitive", Vec::new()),
        Sensitive::Fields(_) => add("sensitive", vec!["fields".to_owned()]),
    }
    if let Some(then) = on_failure {
        add("on_failure", vec![name_of(then)]);
        if node.is_structure() {
            words.insert(format!("group on_failure {}", name_of(then)));
        }
    }
    body_words(plan, node, *effect, body, words);
}

fn body_words(plan: &Plan, node: &Node, effect: Effect, body: &plan::Body, words: &mut Words) {
    let mut add = |key: &str| {
        words.insert(format!("step key {key}"));
    };
    add(body.word());
    match body {
        plan::Body::Work(work) => {
            if (work.kind.effect_of)(&work.arguments.literal()) != effect {
                add("effect");
            }
            words.insert(format!("work {}", name_of(&effect)));
        }
        plan::Body::Parallel { at_once, .. } | plan::Body::Foreach { at_once, .. } => {
            if at_once.is_some() {
                add("at_once");
            }
        }
        plan::Body::Call { .. } => {
            if node.scope != plan::ScopeId(0) && plan.scopes.len() > 1 {
                add("call inside a call");
            }
        }
        plan::Body::Group(_)
        | plan::Body::Choose(_)
        | plan::Body::Ask(_)
        | plan::Body::Manual(_)
        | plan::Body::Finding { .. }
        | plan::Body::Wait(_)
        | plan::Body::Notify { .. }
        | plan::Body::Set(_)
        | plan::Body::Checkpoint => {}
    }
}
