//! Which names an expression may use where, checked when a playbook is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use crate::{
    expression::{Key, Part, Reference},
    plan::{Named, NodeId},
};

/// Names that no input, var, connection or step may have.
pub(super) const RESERVED: [&str; 17] = [
    "result", "before", "item", "index", "run", "and", "or", "not", "in", "is", "if", "else",
    "true", "false", "null", "none", "loop",
];

/// How many misspelt names get a suggestion: looking for what was meant costs the product of both numbers.
const MOST_GUESSES: usize = 100;

/// What a playbook has named so far.
#[derive(Default)]
pub(super) struct Names {
    pub inputs: BTreeSet<String>,
    pub vars: BTreeSet<String>,
    /// Vars and connections that are written, but not read yet.
    pub later: BTreeSet<String>,
    pub connections: BTreeSet<String>,
    pub steps: BTreeMap<String, StepName>,
    /// Steps in the order in which their results became known.
    pub known: Vec<String>,
    /// Names of the loops around: `item`, `index`, the item's own name.
    pub locals: Vec<String>,
    /// Inputs, vars, connections, `step` and `step.field` that are secrets.
    pub secrets: BTreeSet<String>,
    pub named: BTreeMap<NodeId, Named>,
    /// The results of called playbooks that the expression just checked has named: the calls, the fields, where.
    pub asked: Vec<(NodeId, String, Range<usize>)>,
    /// The ids of the steps around, the innermost last.
    pub around: Vec<String>,
    guesses: usize,
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
    Fields(Arc<BTreeSet<String>>),
    /// What another playbook gives back: known when it is linked.
    Outputs,
    /// The rounds of a loop, by key: each has the results of these steps.
    Rounds(Arc<BTreeSet<String>>),
}

/// What an expression may name beside what was named before it.
#[derive(Clone, Default)]
pub(super) struct Around {
    /// What `result` is.
    pub result: Option<Own>,
    /// Whether the step's own state before can be named.
    pub before: bool,
    /// Whether the run's outcome and findings can be named.
    pub ended: bool,
    /// The key that decides something: it names no secret.
    pub decides: Option<&'static str>,
}

impl Around {
    /// Returns the same for the expression under `key`, which decides something.
    pub(super) fn deciding(&self, key: &'static str) -> Around {
        Around {
            decides: Some(key),
            ..self.clone()
        }
    }
}

/// The result that `result` names.
#[derive(Clone)]
pub(super) struct Own {
    pub results: Results,
    /// The step whose result it is; none for the answer of a guard's kind.
    pub step: Option<(Arc<str>, NodeId)>,
    /// Whether it is named after the step has ended, in its `rollback`.
    pub kept: bool,
}

/// A name that can't be used here.
pub(super) struct Misnamed {
    pub message: String,
    pub range: Range<usize>,
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
            && self.is_secret(reference, around)
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
            "run" => return check_run(reference, around),
            "result" => {
                let Some(own) = &around.result else {
                    return Err(not_here(
                        reference,
                        "a step's own `expect`, `until` and `rollback`, or a guard with a kind",
                    ));
                };
                check_field(&own.results, reference, &reference.parts, "the result")?;
                if let Some((_, node)) = own.step.as_ref().filter(|_| own.kept) {
                    self.note(*node, &reference.parts);
                }
                if let (Results::Outputs, Some((_, node))) = (&own.results, &own.step) {
                    self.ask(*node, &reference.parts);
                }
                return Ok(());
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
            let fields = ["scheme", "user", "host", "port", "database", "url"];
            return check_parts(&fields, &reference.parts, "a connection");
        }
        self.check_step(reference)
    }

    /// Returns whether `name` is the name of something, wherever that can be named.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.inputs.contains(name)
            || self.vars.contains(name)
            || self.connections.contains(name)
            || self.steps.contains_key(name)
            || self.locals.iter().any(|local| local == name)
            || ["run", "result", "before"].contains(&name)
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
            let hint = match self.around.last() {
                Some(own) if own == name => {
                    "its own result is `result`, in its `expect`, `until` and `rollback`"
                }
                _ if self.around.iter().any(|around| around == name) => {
                    "a step inside of it can't name it"
                }
                _ => "only steps that have ended before this one have a result",
            };
            return Err(Misnamed {
                message: format!("step `{name}` has not run when this is worked out"),
                range: reference.name_range.clone(),
                hint: Some(hint.to_owned()),
            });
        }
        self.note_step(name, reference, &reference.parts)
    }

    /// Checks what is named of the step `name`, and notes it.
    fn note_step(
        &mut self,
        name: &str,
        reference: &Reference,
        parts: &[Part],
    ) -> Result<(), Misnamed> {
        let Some(StepName { node, results, .. }) = self.steps.get(name) else {
            return Ok(());
        };
        let (node, results) = (*node, results.clone());
        check_field(
            &results,
            reference,
            parts,
            &format!("the result of `{name}`"),
        )?;
        if let Some(node) = node {
            self.note(node, parts);
        }
        match (&results, node) {
            (Results::Outputs, Some(node)) => self.ask(node, parts),
            (Results::Rounds(inside), _) => {
                match parts.get(1).map(|part| &part.key) {
                    Some(Key::Name(id)) => {
                        return self.note_step(id, reference, &parts[2..]);
                    }
                    _ if is_common(parts) => {}
                    // The round is named by what is computed, or as a whole: everything inside of it is.
                    _ => {
                        for id in inside.iter() {
                            self.note_step(id, reference, &[])?;
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, node: NodeId, parts: &[Part]) {
        let named = self.named.entry(node).or_default();
        match parts.first().map(|part| &part.key) {
            Some(Key::Name(field)) => {
                named.fields.insert(field.clone());
            }
            _ => named.whole = true,
        }
    }

    fn ask(&mut self, node: NodeId, parts: &[Part]) {
        if let Some(Part {
            key: Key::Name(field),
            range,
        }) = parts.first()
            && !COMMON.contains(&field.as_str())
        {
            self.asked.push((node, field.clone(), range.clone()));
        }
    }

    fn unknown(&mut self, reference: &Reference) -> Misnamed {
        let name = reference.name.as_str();
        let hint = if self.later.contains(name) {
            format!("`{name}` is worked out after this: vars in their order, then the connections")
        } else if let Some(flag) = flag(name) {
            format!("did you mean `{flag}`?")
        } else {
            self.guess(name)
                .map(|near| format!("did you mean `{near}`?"))
                .unwrap_or_else(|| "it is no input, var, connection or earlier step".to_owned())
        };
        Misnamed {
            message: format!("unknown name `{name}`"),
            range: reference.name_range.clone(),
            hint: Some(hint),
        }
    }

    fn guess(&mut self, name: &str) -> Option<&str> {
        self.guesses += 1;
        if self.guesses > MOST_GUESSES {
            return None;
        }
        let steps = self.steps.iter().filter(|(_, step)| step.visible);
        let names = self
            .inputs
            .iter()
            .chain(&self.vars)
            .chain(&self.connections)
            .chain(&self.locals)
            .chain(steps.map(|(name, _)| name))
            .map(String::as_str)
            .chain(["run"]);
        crate::diagnostic::suggest(name, names)
    }

    /// Returns whether what is named is, or holds, a secret.
    pub(super) fn is_secret(&self, reference: &Reference, around: &Around) -> bool {
        let field = |parts: &[Part]| match parts.first().map(|part| &part.key) {
            Some(Key::Name(field)) => Some(field.clone()),
            _ => None,
        };
        let name = reference.name.as_str();
        if self.locals.iter().any(|local| local == name) {
            return false;
        }
        if self.connections.contains(name) {
            let is_shown = field(&reference.parts).is_some_and(|field| field != "url");
            return !is_shown && self.secrets.contains(name);
        }
        if self.inputs.contains(name) || self.vars.contains(name) {
            return self.secrets.contains(name);
        }
        let own = around.result.as_ref().and_then(|own| own.step.as_ref());
        match (name, own) {
            ("result", Some((id, _))) => self.holds_secret(id, &reference.parts),
            ("result", None) => false,
            (id, _) => self.holds_secret(id, &reference.parts),
        }
    }

    /// Returns whether this part of a step's result is, or holds, a secret.
    fn holds_secret(&self, id: &str, parts: &[Part]) -> bool {
        if is_common(parts) {
            return false;
        }
        if let Some(StepName {
            results: Results::Rounds(inside),
            ..
        }) = self.steps.get(id)
        {
            return match parts.get(1).map(|part| &part.key) {
                Some(Key::Name(id)) => self.holds_secret(id, &parts[2..]),
                _ => inside.iter().any(|id| self.holds_secret(id, &[])),
            };
        }
        if self.secrets.contains(id) {
            return true;
        }
        match parts.first().map(|part| &part.key) {
            Some(Key::Name(field)) => self.secrets.contains(&format!("{id}.{field}")),
            _ => {
                let fields = format!("{id}.");
                self.secrets
                    .range(fields.clone()..)
                    .next()
                    .is_some_and(|secret| secret.starts_with(&fields))
            }
        }
    }

    /// Makes the result of a step known from here on.
    pub(super) fn reveal(&mut self, id: &str) {
        if let Some(step) = self.steps.get_mut(id) {
            step.visible = true;
            self.known.push(id.to_owned());
        }
    }

    /// Makes the results unknown that became known since `mark`, and returns whose they are.
    pub(super) fn conceal(&mut self, mark: usize) -> Vec<String> {
        let since = self.known.split_off(mark);
        for id in &since {
            if let Some(step) = self.steps.get_mut(id) {
                step.visible = false;
            }
        }
        since
    }

    /// Marks what became known since `mark` as reachable only through the rounds of `outer`, and returns it.
    pub(super) fn hide(&mut self, mark: usize, outer: &str) -> BTreeSet<String> {
        let mut inside = BTreeSet::new();
        for id in &self.known[mark..] {
            if let Some(step) = self.steps.get_mut(id)
                && step.hidden_in.is_none()
            {
                step.hidden_in = Some(outer.to_owned());
                inside.insert(id.clone());
            }
        }
        inside
    }
}

impl Results {
    /// Returns the results that have the fields `names`.
    pub(super) fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Results {
        Results::Fields(Arc::new(names.into_iter().map(str::to_owned).collect()))
    }
}

/// Returns what somebody means who writes a boolean as in older YAML.
fn flag(name: &str) -> Option<bool> {
    match name {
        "yes" | "on" => Some(true),
        "no" | "off" => Some(false),
        _ => None,
    }
}

fn check_run(reference: &Reference, around: &Around) -> Result<(), Misnamed> {
    let known = ["id", "started", "user", "host", "outcome", "findings"];
    let Some((first, field)) = reference.parts.first().and_then(|first| match &first.key {
        Key::Name(field) => Some((first, field.as_str())),
        Key::Index(_) => None,
    }) else {
        return Err(Misnamed {
            message: "`run` alone means nothing".to_owned(),
            range: reference.range.clone(),
            hint: Some("name a part of it, like `run.id`".to_owned()),
        });
    };
    if ["outcome", "findings"].contains(&field) && !around.ended {
        return Err(Misnamed {
            message: format!("`run.{field}` is known only when the work is done"),
            range: first.range.clone(),
            hint: Some("it can be named in `always` and in `outputs`".to_owned()),
        });
    }
    check_parts(&known, &reference.parts, "`run`")
}

/// Returns whether a part that every result has is named.
fn is_common(parts: &[Part]) -> bool {
    matches!(parts.first().map(|part| &part.key), Some(Key::Name(field)) if COMMON.contains(&field.as_str()))
}

fn not_here(reference: &Reference, places: &str) -> Misnamed {
    Misnamed {
        message: format!("`{}` means nothing here", reference.name),
        range: reference.name_range.clone(),
        hint: Some(format!("it can be named in {places}")),
    }
}

fn check_field(
    results: &Results,
    reference: &Reference,
    parts: &[Part],
    of: &str,
) -> Result<(), Misnamed> {
    match results {
        Results::Open | Results::Outputs => Ok(()),
        Results::Fields(fields) => {
            let names: Vec<&str> = fields.iter().map(String::as_str).chain(COMMON).collect();
            check_parts(&names, parts, of)
        }
        Results::Rounds(_) if is_common(parts) => Ok(()),
        Results::Rounds(inside) => {
            if let Some(Part {
                key: Key::Index(_),
                range,
            }) = parts.first()
            {
                return Err(Misnamed {
                    message: "a round is named by its key, which is a text".to_owned(),
                    range: range.clone(),
                    hint: Some(format!("`{}[\"key\"]`", reference.name)),
                });
            }
            let names: Vec<&str> = inside.iter().map(String::as_str).collect();
            let round = format!("a round of `{}`", reference.name);
            check_parts(&names, parts.get(1..).unwrap_or_default(), &round)
        }
    }
}

fn check_parts(known: &[&str], parts: &[Part], of: &str) -> Result<(), Misnamed> {
    let Some(Part {
        key: Key::Name(field),
        range,
    }) = parts.first()
    else {
        return Ok(());
    };
    if known.contains(&field.as_str()) {
        return Ok(());
    }
    Err(Misnamed {
        message: format!("{of} has no `{field}`"),
        range: range.clone(),
        hint: Some(near(field, known)),
    })
}

/// Returns the hint for a word that is not among `known`.
pub(super) fn near(word: &str, known: &[&str]) -> String {
    match crate::diagnostic::suggest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none at all".to_owned(),
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
