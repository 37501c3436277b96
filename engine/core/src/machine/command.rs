//! What the machine wants of the world, and what the world answers.

use crate::{
    event::{Body, Output, Question, Reply, StepKey, UndoResult},
    kind::{Description, Effect, Failure, Looked, UndoRecord},
    plan::{Requirement, Sensitive},
    units::{Span, Time},
    value::Value,
};

/// Something for the driver to do.
#[derive(Clone, Debug)]
pub struct Command {
    /// What its answer must carry.
    pub id: CommandId,
    /// What to do.
    pub job: Job,
}

/// Which command is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId {
    /// The step's address; empty for the run itself.
    pub step: StepKey,
    /// What the step is at.
    pub phase: JobPhase,
    /// The attempt, from 1; 0 where there are none.
    pub attempt: u32,
}

/// What a step is at when it wants something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobPhase {
    /// Something is to be written down.
    Record,
    /// Programs are looked for.
    Require,
    /// Locks are taken.
    Lock,
    /// A guard or an `unless` is asked.
    Probe,
    /// The target is looked at.
    Look,
    /// A person is asked.
    Ask,
    /// It acts.
    Perform,
    /// It is undone.
    Undo,
    /// It sleeps.
    Sleep,
}

/// A kind with its resolved arguments; secrets are handles.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The kind's name.
    pub kind: String,
    /// Its arguments.
    pub arguments: Value,
    /// How strongly it acts.
    pub effect: Effect,
    /// The longest time it may take.
    pub timeout: Option<Span>,
    /// Which results are secrets.
    pub sensitive: Sensitive,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Job {
    /// Write this down: the machine has decided it by itself.
    Record(Box<Body>),
    /// Look for programs.
    Require(Vec<Requirement>),
    /// Take locks; answered with [`Answer::Locked`].
    Lock {
        /// Their names.
        names: Vec<String>,
        /// Whether they may be waited for: nothing has run yet.
        may_wait: bool,
    },
    /// Ask a kind that reads; answered with [`Answer::Probed`].
    Probe(Task),
    /// Look at the target; answered with [`Answer::Looked`].
    Look(Task),
    /// Ask a person; answered with [`Answer::Replied`].
    Ask(Box<Question>),
    /// Act; answered with [`Answer::Started`], then [`Answer::Finished`].
    Perform {
        /// What.
        task: Task,
        /// The state before, which stays the same for all attempts.
        before: Option<Value>,
        /// Whether its undo is in the journal already, from an earlier attempt.
        registered: bool,
    },
    /// Tell somebody; answered like [`Job::Perform`].
    Notify {
        /// `terminal`, or a URL, which may be a secret.
        to: Value,
        /// The message.
        message: String,
    },
    /// Undo; answered with [`Answer::Undoing`] where it acts, then [`Answer::Undone`].
    Undo {
        /// How.
        record: UndoRecord,
        /// The longest time it may take.
        timeout: Option<Span>,
    },
    /// Sleep until then; answered with [`Answer::Slept`].
    Sleep(Time),
}

/// What the world answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The decision is to be written down as it is.
    Recorded,
    /// What is missing.
    Required(Vec<String>),
    /// What came of taking locks: what had been stolen from others, or why they can't be had.
    Locked(Result<Vec<String>, String>),
    /// What a kind that reads has answered.
    Probed(Result<Value, Failure>),
    /// What a look found.
    Looked {
        /// The resolved action.
        action: Description,
        /// What was found.
        look: Result<Looked, Failure>,
        /// How long it took.
        took: Span,
    },
    /// What a person said.
    Replied {
        /// Who.
        by: String,
        /// What.
        reply: Reply,
        /// Why, in the person's own words.
        reason: String,
        /// When it was said.
        said: Time,
    },
    /// The step is about to act.
    Started {
        /// The resolved action.
        action: Description,
        /// Its undo.
        undo: Option<UndoRecord>,
    },
    /// The step has ended.
    Finished {
        /// Its result, or why it failed.
        result: Result<Value, Failure>,
        /// How long it took.
        took: Span,
        /// What it printed.
        output: Vec<Output>,
    },
    /// The undo is about to act.
    Undoing,
    /// The undo has ended.
    Undone(UndoResult),
    /// The time has come.
    Slept,
}

/// An answer to what is not due.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer to {phase:?} of `{step}` was not due")]
pub struct NotDue {
    /// The step.
    pub step: StepKey,
    /// What it answered.
    pub phase: JobPhase,
}
