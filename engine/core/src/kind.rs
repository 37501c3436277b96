//! What a step kind is, and the ports through which drivers call one.
//!
//! A kind is a typed struct that implements [`Step`]; [`Kind::of`] erases it to plain data and function pointers, which
//! is all that the language, the machine and the drivers know. A kind never knows whether it is called for a preview or
//! a run: previews call `look` and nothing else.

mod context;
mod digest;
mod erased;
mod failure;

use std::{fmt::Debug, future::Future};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::{
    context::{Children, Cx, Host, Progress, Stream},
    digest::{Digest, Hasher, PlainHasher, hex},
    erased::{Action, BoxFuture, Kind, Looked, UndoRecord, Undoes, UndoneBy},
    failure::{Class, Failure},
};
use crate::value::{ArgumentError, Value};

/// How strongly a step acts on the world.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes something.
    Change,
    /// Takes away something that can't be made again.
    Destroy,
}

/// A resource that a step reads or changes: `file:/path`, `service:name`, `db:url`, `host`, `all` for commands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Touch {
    /// The resource.
    pub resource: String,
    /// Whether it is changed or only read.
    pub changes: bool,
}

impl Touch {
    /// Returns a touch that only reads `resource`.
    pub fn reads(resource: impl Into<String>) -> Touch {
        Touch {
            resource: resource.into(),
            changes: false,
        }
    }

    /// Returns a touch that changes `resource`.
    pub fn changes(resource: impl Into<String>) -> Touch {
        Touch {
            resource: resource.into(),
            changes: true,
        }
    }
}

/// The resolved action as plan, journal and prompt show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// One line: `truncate the WAL of /var/lib/kv.db`.
    pub summary: String,
    /// What there is to know in full, by name: `argv`, `script`, `env`, `request`, `sql`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<(String, String)>,
    /// What is written or sent, by name: `content`, `stdin`, `body`. Shown in a preview, never stored.
    #[serde(skip)]
    pub contents: Vec<(String, String)>,
}

impl Description {
    /// Returns a description of one line.
    pub fn new(summary: impl Into<String>) -> Description {
        Description {
            summary: summary.into(),
            details: Vec::new(),
            contents: Vec::new(),
        }
    }

    /// Adds the content `name`: shown in a preview, never stored.
    #[must_use]
    pub fn with_content(mut self, name: &str, text: impl Into<String>) -> Description {
        self.contents.push((name.to_owned(), text.into()));
        self
    }

    /// Adds the detail `name`.
    #[must_use]
    pub fn with(mut self, name: &str, text: impl Into<String>) -> Description {
        self.details.push((name.to_owned(), text.into()));
        self
    }
}

/// What a look found.
#[derive(Clone, Debug)]
pub enum Look<O, B> {
    /// For a kind that reads: its answer. For one that changes: the wanted state is there already, with the result.
    Done(O),
    /// Something is to be changed.
    Needed(Change<B>),
    /// Only acting can tell.
    Unclear,
}

/// A change that a look found to be needed.
#[derive(Clone, Debug)]
pub struct Change<B> {
    /// The state before: what `before` names in a playbook, what `undo` and `perform` get.
    pub before: B,
    /// The change in a line: `stopped -> running`, `3 files, 2.1MiB`.
    pub summary: String,
    /// The change in full, as a unified diff, where there is one.
    pub diff: Option<String>,
}

/// A step kind: its arguments (the type itself), its result, its look, its action and its undo.
///
/// `Self` is read from the resolved arguments; its doc comment is the manual text, the doc comments of its fields
/// describe the arguments, and its schema validates a playbook at load time.
pub trait Step: DeserializeOwned + JsonSchema + Send + Sync + Sized + 'static {
    /// The result's fields: a struct. Use [`crate::units`] for sizes, spans and times.
    type Output: Serialize + JsonSchema + Send;
    /// The state before a change; `()` for what only reads.
    type Before: Serialize + DeserializeOwned + Send + Sync;
    /// How the change is undone; [`NoUndo`] where it can't be or nothing is changed.
    type Undo: Undo;
    /// The strongest effect this kind can have.
    const EFFECT: Effect;
    /// Whether `look` can tell anything; a kind that only ever answers [`Look::Unclear`] says no, and is not asked.
    const LOOKS: bool = true;

    /// Returns the effect with these arguments, where text that is not known yet is [`Value::Unknown`].
    fn effect(_arguments: &Value) -> Effect {
        Self::EFFECT
    }

    /// Returns what is wrong with these arguments beyond their schema, as far as they are known at load time.
    fn check(_arguments: &Value) -> Vec<ArgumentError> {
        Vec::new()
    }

    /// Returns whether these arguments leave something that this kind undoes by itself.
    fn undoes(_arguments: &Value) -> bool {
        true
    }

    /// Returns what it reads and changes.
    fn touches(&self) -> Vec<Touch>;

    /// Returns the resolved action; secrets in `self` are masked already.
    fn describe(&self) -> Description;

    /// Looks at the target without changing anything.
    fn look(
        &self,
        cx: &Cx,
    ) -> impl Future<Output = Result<Look<Self::Output, Self::Before>, Failure>> + Send;

    /// Puts away, in the run's folder, what the undo will need; called before the intention is written down.
    ///
    /// Fails when the target is no longer as `before` says.
    fn keep(
        &self,
        _cx: &Cx,
        _before: &Self::Before,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }

    /// Returns the undo of the change from `before`; registered before acting. `None`: there is nothing to undo.
    fn undo(&self, before: &Self::Before) -> Option<Self::Undo>;

    /// Acts. The only method that changes anything; refuses when the target has left `before`.
    ///
    /// `before` is `None` when the look answered [`Look::Unclear`]. May be called again for a further attempt or after
    /// a crash, with the same `before`: what is half done already must not be in its way.
    fn perform(
        &self,
        cx: &Cx,
        before: Option<&Self::Before>,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

/// How one change is undone: versioned data that is stored in the journal before the change.
///
/// Give it a `version` field or new optional fields when it grows: journals of earlier versions are read back.
pub trait Undo: Serialize + DeserializeOwned + Debug + Send + Sync + 'static {
    /// Returns the undo in a line: `put back /etc/kv.env as it was`.
    fn describe(&self) -> String;

    /// Returns the service or project that is to be restarted *again*, where that is all this undo does.
    ///
    /// Such undos run once per name, after everything that was started before them has been undone.
    fn again(&self) -> Option<String> {
        None
    }

    /// Returns how long after the change the undo stays possible; `None`: as long as the journal.
    fn lapses(&self) -> Option<crate::units::Span> {
        None
    }

    /// Looks whether the target is as the change left it (or half-way), as before, or somebody has been there.
    fn look(&self, cx: &Cx) -> impl Future<Output = Result<UndoLook, Failure>> + Send;

    /// Undoes; can be repeated.
    fn perform(&self, cx: &Cx) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Gives up what was kept for this undo, once it has lapsed.
    fn release(&self, _cx: &Cx) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }
}

/// What an undo found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UndoLook {
    /// As the change left it, or half-way: the undo is to act.
    Needed,
    /// As it was before: nothing is left to do.
    Done,
    /// Somebody else has changed it since; it is left alone. The text names the thing and what it is now.
    Dirty(String),
    /// What was kept for the undo is gone; the text says what and since when.
    Lapsed(String),
}

/// The undo of a kind that has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum NoUndo {}

impl Undo for NoUndo {
    fn describe(&self) -> String {
        match *self {}
    }

    async fn look(&self, _: &Cx) -> Result<UndoLook, Failure> {
        match *self {}
    }

    async fn perform(&self, _: &Cx) -> Result<(), Failure> {
        match *self {}
    }
}
