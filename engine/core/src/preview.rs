//! What a run would do, as plain data: made by a driver that only looks, shown by the reporters.
//!
//! Everything in it is text for people or a word of a closed list; secrets are masked. It holds no expression and no
//! kind, so whoever shows it needs neither the plan nor the world.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{kind::Effect, plan::Severity};

/// The version of this form; fields are added, never changed in meaning.
pub const VERSION: u32 = 1;

/// What a run would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// The version of this form: 1.
    pub v: u32,
    /// What a person must know first.
    pub head: Head,
    /// The steps as they would run: each structural step is followed by what is inside it, one deeper.
    pub steps: Vec<Planned>,
    /// What the failure of each step that may fail would come to, in the order of the steps; only where it is asked
    /// for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<IfFails>,
}

/// What a person must know first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Head {
    /// The playbook's name.
    pub playbook: String,
    /// Its version.
    pub version: String,
    /// Its title.
    pub title: String,
    /// When to use it, what it does, what it never does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where its text was found.
    pub path: String,
    /// The digest of its text.
    pub digest: String,
    /// The machine.
    pub host: String,
    /// Who would run it.
    pub user: String,
    /// When it was looked, RFC 3339.
    pub at: String,
    /// Whether anything was looked at.
    pub probe: Probe,
    /// How many steps would act how, at least: those whose `when` is not known yet are counted apart.
    pub counts: Counts,
    /// How the steps that change something are undone; those that may run are counted as well.
    pub undo: Undos,
    /// The step after whose start not everything can be undone any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_of_no_return: Option<String>,
    /// What the run would hold exclusively, and who has it now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Lock>,
    /// The questions before steps that act, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confirms: Vec<Confirm>,
    /// What people are asked for in between: values, and work of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// The programs that must be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Required>,
    /// The inputs, in the playbook's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// The playbook's own guards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Condition>,
    /// Where the run would stop, as far as can be told now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// The steps that could not be looked at, with the reason: what they would do is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<Detail>,
    /// What a person should know beside all this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// Whether a preview looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Everything that can be looked at without changing it is.
    #[default]
    All,
    /// Nothing is.
    Offline,
}

/// How many steps would do what; structural steps are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Steps that run for certain.
    pub runs: Effects,
    /// Steps that may run.
    pub may_run: Effects,
    /// Steps that are done already.
    pub already: usize,
    /// Steps that are skipped.
    pub skipped: usize,
    /// Steps behind the one where the run would stop.
    pub not_reached: usize,
}

/// How many steps have which effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Effects {
    /// They change nothing.
    pub read: usize,
    /// They change something.
    pub change: usize,
    /// They take away something that can't be made again.
    pub destroy: usize,
}

impl Effects {
    /// Counts one step more.
    pub fn count(&mut self, effect: Effect) {
        match effect {
            Effect::Read => self.read += 1,
            Effect::Change => self.change += 1,
            Effect::Destroy => self.destroy += 1,
        }
    }
}

/// How many changing steps are undone how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undos {
    /// By their kinds.
    pub by_itself: usize,
    /// By steps of the playbook.
    pub by_hand: usize,
    /// Not at all.
    pub not: usize,
    /// Those that stay possible only for a while, the shortest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lapses: Vec<Lapse>,
}

/// An undo that stays possible only for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lapse {
    /// The step's address.
    pub step: String,
    /// How long after the step has acted.
    pub after: String,
    /// Until when, if the run began now; RFC 3339.
    pub until: String,
}

/// What a run would hold exclusively.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lock {
    /// Its name; as it is written where that is not known yet.
    pub name: String,
    /// What must have happened before its name is known, as in `step `x``.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The address of the call that takes it; none: the run takes it before it does anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Whether it is free now; none where nobody looked.
    pub free: Option<bool>,
    /// Who has it, since when and how; or why that can't be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// What can be done to get it, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways_out: Vec<String>,
}

/// A question before a step acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Confirm {
    /// The step's address.
    pub step: String,
    /// What is asked.
    pub message: String,
    /// What must be typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phrase: Option<String>,
    /// Whose answers count.
    #[serde(default)]
    pub who: Who,
    /// Whether the step runs for certain.
    pub certain: bool,
}

/// Whose answers to a question count, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Who {
    /// How many different people must agree.
    pub approvers: u32,
    /// Whether one of them must not have started the run.
    pub not_starter: bool,
    /// How long after it was asked the answer becomes no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
}

impl Default for Who {
    fn default() -> Who {
        Who {
            approvers: 1,
            not_starter: false,
            deadline: None,
        }
    }
}

impl Who {
    /// Returns it in words; nothing where whoever runs the playbook answers whenever they like.
    pub fn words(&self) -> Option<String> {
        let mut parts = Vec::new();
        match (self.approvers, self.not_starter) {
            (0 | 1, false) => {}
            (0 | 1, true) => {
                parts.push("answered by somebody who did not start the run".to_owned());
            }
            (many, false) => parts.push(format!("answered by {many} different people")),
            (many, true) => parts.push(format!(
                "answered by {many} different people, one of whom did not start the run"
            )),
        }
        if let Some(deadline) = &self.deadline {
            parts.push(format!("no answer within {deadline} is a no"));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// What a person is asked for in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// The step's address.
    pub step: String,
    /// What people see.
    pub message: String,
    /// The values that are asked for; none: it is an instruction to follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Whose answers count.
    #[serde(default)]
    pub who: Who,
    /// Whether the step runs for certain.
    pub certain: bool,
}

/// A program that must be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Required {
    /// The program's name.
    pub program: String,
    /// The versions that will do; `*` is any.
    pub versions: String,
    /// Whether it is there; none where nobody looked.
    pub there: Option<bool>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// An input and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its value, as people write it.
    pub value: String,
    /// Where it comes from.
    pub source: String,
}

/// A condition and what it comes to now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// As it is written.
    pub text: String,
    /// Whether it holds; none where that is not known yet.
    pub holds: Option<bool>,
    /// What must have happened before it is known, as in `step `x``.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Its parts with their values, in a line; the playbook's own words where it does not hold.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Where the run would stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stop {
    /// The step's address; empty for the playbook's own guards and programs.
    pub step: String,
    /// Why.
    pub why: String,
    /// What happens then.
    pub then: Then,
    /// What would be undone, in that order: address, and how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undoes: Vec<Detail>,
}

/// What happens where a run stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It is refused before anything is done.
    Refused,
    /// What was done is undone.
    RollBack,
    /// Everything stays where it is, and a person goes on.
    Stop,
    /// A person is asked.
    Ask,
    /// It is a critical finding, and the run goes on.
    GoesOn,
}

/// Something by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// The name.
    pub name: String,
    /// The text; may have several lines.
    pub text: String,
}

/// A step as it would run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// Its address.
    pub step: String,
    /// Its id.
    pub id: String,
    /// Its title, as far as it can be worked out now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How many structural steps it lies inside.
    pub depth: usize,
    /// The round of the innermost loop around it: its key, `?` where the list is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<String>,
    /// Whether it belongs to the work or to what runs last.
    pub part: Part,
    /// Its kind, or `group`, `foreach`, `manual`, ...
    pub kind: String,
    /// Whether it is a step around others.
    pub structure: bool,
    /// How strongly it acts; of structure: the strongest inside.
    pub effect: Effect,
    /// Whether it would run.
    pub decision: Decision,
    /// Why: the parts of its `when` with their values, the guard that refuses it, the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How sure all this is.
    pub fidelity: Fidelity,
    /// What must have happened before it is known, as in `step `x``.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The resolved action in a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The resolved action in full.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
    /// What is written or sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<Detail>,
    /// The change in a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// The change as a unified diff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// What a step that reads has found now; its fidelity says whether the run will find the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Detail>,
    /// Its `unless`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<Condition>,
    /// Its guards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Condition>,
    /// What is asked before it acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
    /// How often it is tried, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,
    /// What is waited for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The longest time an attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// How it is undone.
    pub undo: Undo,
    /// Whether not everything can be undone any more once it has started.
    pub point_of_no_return: bool,
    /// What its `expect` found now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Why it could not be looked at, or what would go wrong if it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What else there is to say: the rounds of a loop, the branch that is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Which steps of the playbook a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The work.
    Steps,
    /// What runs last.
    Always,
}

/// Whether a step would run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It runs.
    Runs,
    /// It runs or not: its `when`, its branch or its loop is not known yet.
    MayRun,
    /// Its `when` is false.
    Skipped,
    /// It is done already.
    Already,
    /// A guard refuses it.
    Refused,
    /// It fails.
    Fails,
    /// The run stops before it.
    NotReached,
}

/// How sure a preview is of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fidelity {
    /// Worked out fully from the inputs.
    Exact,
    /// It only reads and was really asked, and nothing before it touches what it reads.
    Probed,
    /// The change was worked out against the real state, without making it.
    Simulated,
    /// It depends on what is known only once the run is there.
    Unknown,
}

/// How a step is undone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Undo {
    /// It changes nothing, or runs where nothing is undone.
    #[default]
    None,
    /// Its kind puts back what was there.
    ByItself {
        /// The kind.
        kind: String,
        /// The undo in a line, where a look has told it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        does: Option<String>,
        /// How long after the step has acted it stays possible; none: as long as the journal keeps the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lapses: Option<String>,
    },
    /// By steps of the playbook.
    ByHand {
        /// Their titles or ids.
        steps: Vec<String>,
    },
    /// By the `rollback` of a step around it.
    Around {
        /// That step's address.
        step: String,
    },
    /// The playbook says that there is nothing to undo.
    Nothing,
    /// Not at all.
    Irreversible {
        /// Why.
        why: String,
    },
}

/// What the failure of a step would come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IfFails {
    /// The step's address.
    pub step: String,
    /// Whether the step runs for certain.
    pub certain: bool,
    /// What happens then.
    pub then: Then,
    /// What would be undone, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undoes: Vec<Undoing>,
    /// What would stay as it is then: address, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Detail>,
    /// How the run would stand then: `rolled_back`, `rollback_incomplete`, `stopped`, ...
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// Its exit code.
    pub exit_code: u8,
}

/// One undo of a rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undoing {
    /// The address of the step whose change it undoes.
    pub step: String,
    /// Who undoes it.
    pub by: UndoneBy,
    /// The undo in a line.
    pub does: String,
    /// The steps of the playbook that undo it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// Whether the step has run for certain; else this is undone only if it did.
    pub certain: bool,
}

/// Who undoes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UndoneBy {
    /// Its kind puts back what was there.
    Itself,
    /// Its kind restarts the thing again, after everything else was put back.
    Again,
    /// Steps of the playbook.
    Steps,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub title: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}
