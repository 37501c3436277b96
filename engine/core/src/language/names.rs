//! Which names an expression may use where, checked when a playbook is read.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    expression::{Key, Reference},
    plan::{Named, NodeId},
};

/// Names that no input, var, connection or step may have.
pub(super) const RESERVED: [&str; 17] = [
    "result", "before", "item", "index", "run", "and", "or", "not", "in", "is", "if", "else",
    "true", "false", "null", "none", "loop",
];

/// What a playbook has named so far.
#[derive(Default)]
pub(super) struct Names {
    pub inputs: BTreeSet<String>,
    pub vars: BTreeSet<String>,
    pub connections: BTreeSet<String>,
    pub steps: BTreeMap<String, StepName>,
    /// Names of the loops around: `item`, `index`, the item's own name.
    pub locals: Vec<String>,
    pub secrets: BTreeSet<String>,
    pub named: BTreeMap<NodeId, Named>,
}

/// What is known of a step's name.
pub(super) struct StepName {
    /// The step, once it has been read.
    pub node: Option<NodeId>,
    pub results: Results,
    /// Whether its results can be named from here.
    pub visible: bool,
    /// The loop that it lies in, where that has been left.
    pub hidden_in: Option<String>,
}

/// The fields of a result.
#[derive(Clone, Debug)]
pub(super) enum Results {
    /// Any field.
    Open,
    /// These, beside the ones that every step has.
    Fields(BTreeSet<String>),
}

/// What an expression may name beside what was named before it.
#[derive(Clone, Default)]
pub(super) struct Around {
    /// The step's own result, in `expect` and `until`, or the answer of a guard's kind.
    pub result: Option<Results>,
    /// Whether the step's own state before can be named.
    pub before: bool,
    /// Whether the run's outcome and findings can be named.
    pub ended: bool,
    /// Whether the expression decides something: then it names no secret.
    pub decides: Option<&'static str>,
    /// The step whose `rollback` this is: `result` is its result.
    pub undoing: Option<NodeId>,
}

/// A name that can't be used here.
pub(super) struct Misnamed {
    pub message: String,
    pub range: std::ops::Range<usize>,
    pub hint: Option<String>,
}

/// The fields that every result has.
pub(super) const COMMON: [&str; 7] = [
    "ok", "ran", "changed", "at", "duration", "attempts", "error",
];

impl Names {
    /// Checks one reference and notes which result field it names.
    pub(super) fn check(&mut self, reference: &Reference, around: &Around) -> Result<(), Misnamed> {
        let name = reference.name.as_str();
        if let Some(key) = around.decides
            && self.is_secret(reference)
        {
            return Err(Misnamed {
                message: format!(
                    "`{reference}` is a secret, and a secret never decides: `{key}` can't name it"
                ),
                range: reference.range.clone(),
                hint: None,
            });
        }
        if self.locals.iter().any(|local| local == name)
            || self.inputs.contains(name)
            || self.vars.contains(name)
        {
            return Ok(());
        }
        match name {
            "run" => return self.check_run(reference, around),
            "result" => {
                if let Some(undone) = around.undoing {
                    self.note(undone, reference);
                    return Ok(());
                }
                let Some(results) = &around.result else {
                    return Err(not_here(
                        reference,
                        "a step's own `expect` and `until`, or a guard with a kind",
                    ));
                };
                return check_field(results, reference, "the result");
            }
            "before" => {
                return match around.before {
                    true => Ok(()),
                    false => Err(not_here(
                        reference,
                        "a step's own `title`, `guards`, `confirm`, `expect` and `rollback`",
                    )),
                };
            }
            _ => {}
        }
        if self.connections.contains(name) {
            let fields = ["scheme", "user", "host", "port", "database", "url"]
                .map(String::from)
                .into();
            return match reference.parts.is_empty() {
                true => Ok(()),
                false => check_field(&Results::Fields(fields), reference, "a connection"),
            };
        }
        self.check_step(reference)
    }

    fn check_step(&mut self, reference: &Reference) -> Result<(), Misnamed> {
        let name = reference.name.as_str();
        let Some(step) = self.steps.get(name) else {
            return Err(self.unknown(reference));
        };
        if let Some(outer) = &step.hidden_in {
            return Err(Misnamed {
                message: format!("step `{name}` has run once for each round of `{outer}`"),
                range: reference.name_range.clone(),
                hint: Some(format!("name the round: `{outer}[\"key\"].{name}`")),
            });
        }
        if !step.visible {
            return Err(Misnamed {
                message: format!("step `{name}` has not run when this is worked out"),
                range: reference.name_range.clone(),
                hint: Some("only steps before this one have a result".to_owned()),
            });
        }
        check_field(&step.results, reference, &format!("the result of `{name}`"))?;
        if let Some(node) = step.node {
            self.note(node, reference);
        }
        Ok(())
    }

    fn note(&mut self, node: NodeId, reference: &Reference) {
        let named = self.named.entry(node).or_default();
        match reference.parts.first().map(|part| &part.key) {
            Some(Key::Name(field)) => {
                named.fields.insert(field.clone());
            }
            _ => named.whole = true,
        }
    }

    fn check_run(&self, reference: &Reference, around: &Around) -> Result<(), Misnamed> {
        let Some(first) = reference.parts.first() else {
            return Ok(());
        };
        let Key::Name(field) = &first.key else {
            return Ok(());
        };
        let known = ["id", "started", "user", "host", "outcome", "findings"];
        match field.as_str() {
            "outcome" | "findings" if !around.ended => Err(Misnamed {
                message: format!("`run.{field}` is known only when the work is done"),
                range: first.range.clone(),
                hint: Some("it can be named in `always` and in `outputs`".to_owned()),
            }),
            field if known.contains(&field) => Ok(()),
            field => Err(Misnamed {
                message: format!("`run` has no `{field}`"),
                range: first.range.clone(),
                hint: Some(near(field, &known)),
            }),
        }
    }

    fn unknown(&self, reference: &Reference) -> Misnamed {
        let names: Vec<&str> = self
            .inputs
            .iter()
            .chain(&self.vars)
            .chain(&self.connections)
            .chain(&self.locals)
            .map(String::as_str)
            .chain(
                self.steps
                    .iter()
                    .filter(|(_, step)| step.visible)
                    .map(|(name, _)| name.as_str()),
            )
            .chain(["run"])
            .collect();
        let hint = crate::diagnostic::suggest(&reference.name, names.iter().copied())
            .map(|near| format!("did you mean `{near}`?"))
            .unwrap_or_else(|| "it is no input, var, connection or earlier step".to_owned());
        Misnamed {
            message: format!("unknown name `{}`", reference.name),
            range: reference.name_range.clone(),
            hint: Some(hint),
        }
    }

    /// Returns whether what is named is a secret.
    pub(super) fn is_secret(&self, reference: &Reference) -> bool {
        if self.connections.contains(&reference.name) {
            let shown = matches!(
                reference.parts.first().map(|part| &part.key),
                Some(Key::Name(field)) if field != "url"
            );
            return !shown && self.secrets.contains(&reference.name);
        }
        if self.secrets.contains(&reference.name) {
            return match reference.parts.first().map(|part| &part.key) {
                Some(Key::Name(field)) => !COMMON.contains(&field.as_str()),
                _ => true,
            };
        }
        match reference.parts.first().map(|part| &part.key) {
            Some(Key::Name(field)) => self
                .secrets
                .contains(&format!("{}.{field}", reference.name)),
            _ => false,
        }
    }

    /// Marks every step inside a loop as reachable only through its rounds.
    pub(super) fn hide(&mut self, inside: &[String], outer: &str) {
        for id in inside {
            if let Some(step) = self.steps.get_mut(id) {
                step.hidden_in.get_or_insert_with(|| outer.to_owned());
            }
        }
    }
}

fn not_here(reference: &Reference, places: &str) -> Misnamed {
    Misnamed {
        message: format!("`{}` means nothing here", reference.name),
        range: reference.name_range.clone(),
        hint: Some(format!("it can be named in {places}")),
    }
}

fn check_field(results: &Results, reference: &Reference, of: &str) -> Result<(), Misnamed> {
    let (Results::Fields(fields), Some(first)) = (results, reference.parts.first()) else {
        return Ok(());
    };
    let Key::Name(field) = &first.key else {
        return Ok(());
    };
    if fields.contains(field) || COMMON.contains(&field.as_str()) {
        return Ok(());
    }
    let names: Vec<&str> = fields.iter().map(String::as_str).chain(COMMON).collect();
    Err(Misnamed {
        message: format!("{of} has no `{field}`"),
        range: first.range.clone(),
        hint: Some(near(field, &names)),
    })
}

/// Returns the hint for a word that is not among `known`.
pub(super) fn near(word: &str, known: &[&str]) -> String {
    match crate::diagnostic::suggest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "there is {}",
            known
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}
