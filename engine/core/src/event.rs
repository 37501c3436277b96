//! What happened in a run: the only truth about it.
//!
//! Events are stored as they are and read back by later versions: fields are added, never changed in meaning. A secret
//! never stands in one, nor a file's content, nor a process's output.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    kind::{Children, Description, Digest, Failure, Looked, Stream, UndoLook, UndoRecord},
    plan::{Requirement, Severity},
    units::{Span, Time},
    value::{Fields, Value},
};

/// The version of the events that this engine writes.
pub const VERSION: u32 = 1;

/// A step's address: `group/step` is not part of it, `call/step` and `loop[key]/step` are.
pub type StepKey = Arc<str>;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When; never goes back within a run.
    pub at: Time,
    /// The step it happened to; empty for the run itself.
    pub step: StepKey,
    /// What.
    pub body: Body,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// The run begins.
    Begun(Box<Begun>),
    /// Required programs were looked for; these are missing or too old.
    Required {
        /// A line for each.
        missing: Vec<String>,
    },
    /// The run holds its locks from here on, or can't have them.
    Locked(Locked),
    /// A guard, or an `unless`, was asked.
    Asserted(Asserted),
    /// The step is not run: its `when` is false.
    Skipped {
        /// The condition's parts with their values.
        why: String,
    },
    /// The step begins: a group, a loop, a branch.
    Entered {
        /// The rounds of a `foreach`, in order: their keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rounds: Option<Vec<String>>,
        /// The branch of a `choose`, from 0; none where no condition held.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branch: Option<usize>,
    },
    /// The step looked at its target.
    Looked {
        /// What it would do.
        action: Description,
        /// What it found.
        look: Looked,
    },
    /// A person, or the clock, is asked.
    Asked(Question),
    /// The answer.
    Answered {
        /// The question's digest.
        question: Digest,
        /// Who answered: a login, or `--yes`.
        by: String,
        /// What.
        reply: Reply,
        /// Why, in the person's own words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// What somebody has sent to the run came to nothing.
    Ignored {
        /// Who.
        by: String,
        /// Why: it was answered already, what was shown has changed since.
        why: String,
        /// What they said of it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// The step is about to act; what follows may have happened.
    Started {
        /// The attempt, from 1.
        attempt: u32,
        /// What it does.
        action: Description,
        /// The state before, where the look of this start told it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Value>,
        /// How it is undone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo: Option<UndoRecord>,
    },
    /// The step, or one attempt of it, has ended.
    Finished(Box<Finished>),
    /// A try of an `until` whose condition does not hold yet.
    NotYet {
        /// The try, from 1.
        attempt: u32,
        /// What it found, in a line.
        found: String,
        /// Since when the condition has held, where it must hold for a while.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held_since: Option<Time>,
    },
    /// A wait is over.
    Woke,
    /// The run is to stop as soon as what runs has ended.
    Stopping {
        /// `SIGTERM`, `Ctrl-C`, or a person.
        by: String,
        /// What becomes of it then.
        #[serde(default)]
        then: Stop,
        /// Why, in the person's own words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// The run waits for people or for time, and no process works on it.
    Waiting {
        /// When it can go on without a person, where that is so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Time>,
    },
    /// The run has stopped where it was.
    Stopped {
        /// Why.
        why: String,
    },
    /// Somebody goes on with the run.
    Resumed {
        /// Who.
        by: String,
        /// What goes on: the work, or its undoing.
        goal: Goal,
        /// Whether a person sits at its terminal.
        #[serde(default)]
        attended: bool,
        /// Why, in the person's own words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// The step had ended in the run that this one goes on from, and is not done again.
    Adopted {
        /// How it stood.
        state: StepState,
        /// Its result, as far as it is kept.
        #[serde(default, skip_serializing_if = "Fields::is_empty")]
        result: Fields,
    },
    /// A step that was in doubt after a crash is settled.
    Settled {
        /// How.
        how: Settlement,
    },
    /// The changes are undone from here on.
    RollingBack {
        /// Why.
        why: String,
    },
    /// An undo is about to act.
    Undoing {
        /// The undo in a line.
        summary: String,
    },
    /// An undo has ended.
    Undone(Undone),
    /// The steps of `always` begin.
    Always,
    /// A step of `always` has failed, or a failed step was passed over.
    Raised(Finding),
    /// The run has ended.
    Ended(Ended),
    /// Somebody looked at what a playbook would do: the only event of a record that is no run.
    Previewed(Box<Previewed>),
}

impl Body {
    /// Returns the name under which the journal stores it.
    pub fn kind(&self) -> &'static str {
        match self {
            Body::Begun(_) => "begun",
            Body::Required { .. } => "required",
            Body::Locked(_) => "locked",
            Body::Asserted(_) => "asserted",
            Body::Skipped { .. } => "skipped",
            Body::Entered { .. } => "entered",
            Body::Looked { .. } => "looked",
            Body::Asked(_) => "asked",
            Body::Answered { .. } => "answered",
            Body::Ignored { .. } => "ignored",
            Body::Started { .. } => "started",
            Body::Finished(_) => "finished",
            Body::NotYet { .. } => "not_yet",
            Body::Woke => "woke",
            Body::Stopping { .. } => "stopping",
            Body::Waiting { .. } => "waiting",
            Body::Stopped { .. } => "stopped",
            Body::Resumed { .. } => "resumed",
            Body::Adopted { .. } => "adopted",
            Body::Settled { .. } => "settled",
            Body::RollingBack { .. } => "rolling_back",
            Body::Undoing { .. } => "undoing",
            Body::Undone(_) => "undone",
            Body::Always => "always",
            Body::Raised(_) => "raised",
            Body::Ended(_) => "ended",
            Body::Previewed(_) => "previewed",
        }
    }

    /// Returns what the journal stores beside the name.
    pub fn data(&self) -> serde_json::Value {
        match serde_json::to_value(self).expect("events have only text keys and finite numbers") {
            serde_json::Value::Object(map) => map
                .into_iter()
                .next()
                .map(|(_, data)| data)
                .unwrap_or_default(),
            _ => serde_json::Value::Null,
        }
    }

    /// Returns what was stored under `kind` with `data`.
    ///
    /// # Errors
    ///
    /// When this engine does not know it.
    pub fn from_stored(kind: &str, data: &serde_json::Value) -> Result<Body, serde_json::Error> {
        if data.is_null() {
            return serde_json::from_value(serde_json::Value::String(kind.to_owned()));
        }
        serde_json::from_value(serde_json::json!({ kind: data }))
    }
}

/// The beginning of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// The version of the events: [`VERSION`].
    pub version: u32,
    /// The engine's own version.
    pub engine: String,
    /// The run's id.
    pub run: Arc<str>,
    /// The playbook.
    pub playbook: String,
    /// Its version.
    pub playbook_version: String,
    /// Its title.
    pub title: String,
    /// Where it was found.
    pub path: String,
    /// Every playbook of the run by name and version, with the digest of its text.
    pub texts: BTreeMap<String, Digest>,
    /// The inputs; secrets are handles.
    pub inputs: Fields,
    /// Where each input came from.
    #[serde(default)]
    pub sources: BTreeMap<String, String>,
    /// Who started it.
    pub user: String,
    /// The user that its processes run as; only that one goes on with it.
    #[serde(default)]
    pub account: String,
    /// On which machine, by name.
    pub host: String,
    /// On which machine, by an id that stays when the name changes; empty where it has none.
    #[serde(default)]
    pub machine: String,
    /// How its children start.
    pub children: Children,
    /// The run whose changes this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// The run that this one goes on from, whose results and open undos it takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continued>,
    /// Whether plain questions are answered with yes.
    #[serde(default)]
    pub yes: bool,
    /// Whether a person sits at its terminal: then a failure is a question first.
    #[serde(default)]
    pub attended: bool,
    /// The findings that count for the exit code, from this severity on; none: no finding counts.
    #[serde(default)]
    pub fail_on: FailOn,
    /// Why nobody was shown what it would do before it began, in the words of who wanted that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
}

/// A look at what a playbook would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Previewed {
    /// Who looked, at what, with which inputs: as a run would have begun. Its `run` is the id of this record.
    pub begun: Begun,
    /// Whether nothing was to be looked at.
    #[serde(default)]
    pub offline: bool,
    /// What was really looked at, in that order: each thing once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probed: Vec<Probed>,
    /// What came of it, in a line.
    pub found: String,
}

/// What a preview has looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// The step it was for; empty for the playbook itself.
    pub step: StepKey,
    /// The kind that looked.
    pub kind: String,
    /// What it reads: `file:/path`, `service:name`, `host`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// Where a run goes on from another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continued {
    /// The other run, which ends with that.
    pub run: String,
    /// The address of the first step that is done again; what lies before it in the playbook is not.
    pub from: StepKey,
}

/// What came of taking locks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Locked {
    /// Their names.
    pub names: Vec<String>,
    /// Why the run can't have them: who holds which one, since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Locks that somebody had taken away from other runs, each with who and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stolen: Vec<String>,
}

/// Which findings count for the exit code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailOn {
    /// None.
    Never,
    /// Critical ones.
    Critical,
    /// Warnings and critical ones.
    #[default]
    Warning,
}

/// The answer of a guard, or of an `unless`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asserted {
    /// Which one.
    pub which: Assertion,
    /// Whether it holds; none in a preview that can't know yet.
    pub holds: Option<bool>,
    /// Why not: the playbook's own words, or the parts of the condition.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Why it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// Which condition is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assertion {
    /// The guard with this index, from 0.
    Guard(usize),
    /// The `unless`.
    Unless,
}

/// A question, or a wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// What is asked for.
    pub ask: Ask,
    /// What people see.
    pub message: String,
    /// What the step would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Description>,
    /// The change in a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// What can be undone afterwards, in a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// How many different people must agree.
    #[serde(default = "one")]
    pub approvers: u32,
    /// Whether one of them must not have started the run.
    #[serde(default)]
    pub not_starter: bool,
    /// From when on the answer is no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
}

fn one() -> u32 {
    1
}

impl Question {
    /// Returns a question that one person answers, whenever they like.
    pub fn new(ask: Ask, message: impl Into<String>) -> Question {
        Question {
            ask,
            message: message.into(),
            action: None,
            change: None,
            undo: None,
            approvers: 1,
            not_starter: false,
            deadline: None,
        }
    }

    /// Returns whether whoever runs the playbook can answer it alone, and beforehand.
    pub fn is_for_one(&self) -> bool {
        self.approvers <= 1 && !self.not_starter
    }

    /// Returns the digest of what is shown: an answer is to one question.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("a question has only text keys"))
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Yes or no.
    Confirm,
    /// The phrase, typed.
    Phrase(String),
    /// Values for these inputs.
    Inputs(Vec<String>),
    /// Done, failed or skip.
    Manual,
    /// What to do after a failure.
    OnFailure(String),
    /// What to do, since a person has interrupted the run.
    Interrupted,
    /// In doubt: done, redo or undo.
    InDoubt,
    /// Nothing but time.
    Until(Time),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Yes, or the phrase was typed.
    Yes,
    /// No, or something else was typed.
    No {
        /// Why.
        why: String,
    },
    /// Values.
    Values(Fields),
    /// The instruction was followed.
    Done {
        /// What the person remarked.
        remark: String,
    },
    /// The instruction could not be followed.
    Failed {
        /// What the person remarked.
        remark: String,
    },
    /// The step is left out.
    Skip {
        /// What the person remarked.
        remark: String,
    },
    /// After a failure: try it again.
    Retry,
    /// After a failure: undo everything.
    RollBack,
    /// After a failure: keep everything where it is.
    Stop,
    /// After an interruption: go on as if it had not been.
    GoOn,
}

/// The end of a step, or of one attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The attempt, from 1.
    pub attempt: u32,
    /// How the step stands now; `running` where it is tried again.
    pub state: StepState,
    /// The result's fields, as far as they are kept.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub result: Fields,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What its `expect` found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Time>,
    /// How long it took.
    pub took: Span,
    /// What it printed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<Output>,
    /// What its failure does, where it has failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<crate::plan::OnFailure>,
}

/// What a step printed on one stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// The stream.
    pub stream: Stream,
    /// How many bytes.
    pub bytes: u64,
    /// The digest of all of them.
    pub digest: Digest,
    /// Why what is kept of it is not complete, besides the middle of a long one, which is always left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It has not begun.
    #[default]
    Pending,
    /// Its `when` is false.
    Skipped,
    /// It was done already.
    Already,
    /// It has begun.
    Running,
    /// It had begun when the engine died.
    InDoubt,
    /// It is done and has changed nothing.
    Ok,
    /// It is done and has changed something.
    Changed,
    /// It has failed.
    Failed,
    /// A guard or a person has refused it.
    Refused,
    /// It is undone.
    Undone,
    /// It could not be undone.
    UndoFailed,
}

impl StepState {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            StepState::Pending => "pending",
            StepState::Skipped => "skipped",
            StepState::Already => "already",
            StepState::Running => "running",
            StepState::InDoubt => "in_doubt",
            StepState::Ok => "ok",
            StepState::Changed => "changed",
            StepState::Failed => "failed",
            StepState::Refused => "refused",
            StepState::Undone => "undone",
            StepState::UndoFailed => "undo_failed",
        }
    }
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub title: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// What goes on after a stop or a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The work.
    Work,
    /// Its undoing.
    RollBack,
    /// Its cancelling: what has changed is undone as the playbook's `on_failure` says.
    Cancel,
    /// Its end, with everything left as it is.
    GiveUp,
}

/// What becomes of a run that is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It stays where it is: somebody goes on with it, or undoes it.
    #[default]
    Keep,
    /// It is undone.
    RollBack,
    /// It is cancelled: what has changed is undone as the playbook's `on_failure` says.
    Cancel,
    /// It ends with everything left as it is.
    GiveUp,
}

/// How a step in doubt is settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// It was done; with its result, where the look could give it.
    Done(Value),
    /// It is done again.
    Redo,
    /// The run is rolled back.
    Undo,
}

/// The end of one undo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Undone {
    /// What came of it.
    pub result: UndoResult,
    /// The undo in a line.
    pub summary: String,
}

/// What came of an undo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoResult {
    /// It is undone.
    Undone,
    /// There was nothing to undo.
    Nothing,
    /// It is left alone, or was never possible; the text says what is there now.
    Left(UndoLook),
    /// It can't be undone; the playbook says why.
    Irreversible(String),
    /// It failed.
    Failed(Failure),
}

impl UndoResult {
    /// Returns what is still dirty after it.
    pub fn remains(&self) -> Option<String> {
        match self {
            UndoResult::Undone | UndoResult::Nothing => None,
            UndoResult::Left(UndoLook::Dirty(what)) => Some(format!("left alone: {what}")),
            UndoResult::Left(UndoLook::Lapsed(what)) => Some(format!("too late to undo: {what}")),
            UndoResult::Left(_) => None,
            UndoResult::Irreversible(why) => Some(format!("can't be undone: {why}")),
            UndoResult::Failed(failure) => Some(format!("failed to undo: {}", failure.line())),
        }
    }
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, where it is not a success.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The playbook's outputs.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub outputs: Fields,
    /// What is still changed, where a rollback was not complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dirty: Vec<String>,
}

/// How a run stands or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every step did what it should.
    Succeeded,
    /// A step failed, and nothing is left to undo or it was given up.
    Failed,
    /// A step failed, and every change is undone.
    RolledBack,
    /// A step failed, and not every change could be undone.
    RollbackIncomplete,
    /// A guard, a person or a lock refused it before anything changed.
    Refused,
    /// A person ended it, and nothing is changed.
    Cancelled,
}

impl Outcome {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::RolledBack => "rolled_back",
            Outcome::RollbackIncomplete => "rollback_incomplete",
            Outcome::Refused => "refused",
            Outcome::Cancelled => "cancelled",
        }
    }
}

/// What a run's `requires` came to.
pub fn missing_line(requirement: &Requirement, found: Option<&str>) -> String {
    match found {
        None => format!("`{}` is not installed", requirement.program),
        Some(version) => format!(
            "`{}` is version {version}, but the playbook needs {}",
            requirement.program, requirement.versions
        ),
    }
}
