//! Kinds without their types: data and function pointers.

use std::{future::Future, pin::Pin};

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Cx, Description, Effect, Failure, Look, Step, Touch, Undo, UndoLook};
use crate::value::{ArgumentError, Value};

/// A future that can be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A step kind, as the registry lists it.
#[derive(Clone, Copy)]
pub struct Kind {
    /// `family.verb`.
    pub name: &'static str,
    /// The strongest effect it can have.
    pub effect: Effect,
    /// Whether its look can tell anything.
    pub looks: bool,
    /// How its changes are undone.
    pub undone: UndoneBy,
    /// Returns the effect with these arguments; unknown where text is not known yet.
    pub effect_of: fn(&Value) -> Effect,
    /// Returns what is wrong with these arguments beyond their schema.
    pub check: fn(&Value) -> Vec<ArgumentError>,
    /// Returns whether it undoes itself with these arguments.
    pub undoes: fn(&Value) -> bool,
    /// Returns the schema of the arguments; its description is the kind's manual text.
    pub arguments: fn(&mut SchemaGenerator) -> Schema,
    /// Returns the schema of the result.
    pub results: fn(&mut SchemaGenerator) -> Schema,
    /// Reads resolved arguments.
    pub open: fn(&Value) -> Result<Box<dyn Action>, ArgumentError>,
    /// Reads a stored undo.
    pub open_undo: fn(&Json) -> Result<Box<dyn Undoes>, serde_json::Error>,
}

/// How the changes of a kind are undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UndoneBy {
    /// The kind itself puts back what was there.
    Itself,
    /// Nobody: the playbook says `rollback` or `irreversible`.
    Nobody,
}

/// What a look found, without types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Looked {
    /// The result of a reading kind, or of one that found its wanted state.
    Done(Value),
    /// Something is to be changed.
    Needed {
        /// The state before.
        before: Value,
        /// The change in a line.
        summary: String,
        /// The change as a unified diff. It is content: shown, never stored.
        #[serde(default, skip)]
        diff: Option<String>,
    },
    /// Only acting can tell.
    Unclear,
}

/// An undo as the journal stores it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UndoRecord {
    /// The kind whose undo it is.
    pub kind: String,
    /// The undo in a line.
    pub summary: String,
    /// The kind's own data.
    pub data: Json,
    /// What is to be restarted again, where that is all it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<String>,
    /// How long it stays possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lapses: Option<crate::units::Span>,
}

impl UndoRecord {
    /// Returns until when the undo is possible that was registered at `at`; none: as long as the journal keeps the run.
    pub fn until(&self, at: crate::units::Time) -> Option<crate::units::Time> {
        let lapses = self.lapses?;
        Some(crate::units::Time {
            milliseconds: at.milliseconds.saturating_add(lapses.milliseconds),
            ..at
        })
    }
}

/// A step with its resolved arguments.
pub trait Action: Send + Sync {
    /// Returns what it reads and changes.
    fn touches(&self) -> Vec<Touch>;
    /// Returns the resolved action.
    fn describe(&self) -> Description;
    /// Looks at the target.
    fn look<'a>(&'a self, cx: &'a Cx) -> BoxFuture<'a, Result<Looked, Failure>>;
    /// Returns the undo of the change from `before`, as data; nothing is put away for it.
    fn undo(&self, before: &Value) -> Result<Option<UndoRecord>, Failure>;
    /// Puts away what the undo will need and returns the undo.
    fn keep<'a>(
        &'a self,
        cx: &'a Cx,
        before: &'a Value,
    ) -> BoxFuture<'a, Result<Option<UndoRecord>, Failure>>;
    /// Acts.
    fn perform<'a>(
        &'a self,
        cx: &'a Cx,
        before: Option<&'a Value>,
    ) -> BoxFuture<'a, Result<Value, Failure>>;
}

/// A stored undo, read back.
pub trait Undoes: Send + Sync {
    /// Looks whether there is something to undo.
    fn look<'a>(&'a self, cx: &'a Cx) -> BoxFuture<'a, Result<UndoLook, Failure>>;
    /// Undoes.
    fn perform<'a>(&'a self, cx: &'a Cx) -> BoxFuture<'a, Result<(), Failure>>;
    /// Gives up what was kept.
    fn release<'a>(&'a self, cx: &'a Cx) -> BoxFuture<'a, Result<(), Failure>>;
}

impl Kind {
    /// Returns the kind that `S` is, under `name`.
    pub const fn of<S: Step>(name: &'static str) -> Kind {
        Kind {
            name,
            effect: S::EFFECT,
            looks: S::LOOKS,
            undone: if std::mem::size_of::<S::Undo>() == 0 {
                UndoneBy::Nobody
            } else {
                UndoneBy::Itself
            },
            effect_of: S::effect,
            check: S::check,
            undoes: S::undoes,
            arguments: |generator| generator.subschema_for::<S>(),
            results: |generator| generator.subschema_for::<S::Output>(),
            open: |arguments| {
                Ok(Box::new(Opened {
                    step: arguments.read::<S>()?,
                }))
            },
            open_undo: |data| {
                Ok(Box::new(OpenedUndo {
                    undo: S::Undo::deserialize(data)?,
                }))
            },
        }
    }

    /// Returns the schema of the arguments, whole in itself.
    pub fn arguments_schema(&self) -> Schema {
        standalone(self.arguments)
    }

    /// Returns the schema of the result, whole in itself.
    pub fn results_schema(&self) -> Schema {
        standalone(self.results)
    }
}

fn standalone(make: fn(&mut SchemaGenerator) -> Schema) -> Schema {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    make(&mut generator)
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kind").field(&self.name).finish()
    }
}

struct Opened<S> {
    step: S,
}

impl<S: Step> Action for Opened<S> {
    fn touches(&self) -> Vec<Touch> {
        self.step.touches()
    }

    fn describe(&self) -> Description {
        self.step.describe()
    }

    fn look<'a>(&'a self, cx: &'a Cx) -> BoxFuture<'a, Result<Looked, Failure>> {
        Box::pin(async move {
            Ok(match self.step.look(cx).await? {
                Look::Done(output) => Looked::Done(to_value(&output)?),
                Look::Needed(change) => Looked::Needed {
                    before: to_value(&change.before)?,
                    summary: change.summary,
                    diff: change.diff,
                },
                Look::Unclear => Looked::Unclear,
            })
        })
    }

    fn undo(&self, before: &Value) -> Result<Option<UndoRecord>, Failure> {
        record(&self.step, &read_before(before)?)
    }

    fn keep<'a>(
        &'a self,
        cx: &'a Cx,
        before: &'a Value,
    ) -> BoxFuture<'a, Result<Option<UndoRecord>, Failure>> {
        Box::pin(async move {
            let before: S::Before = read_before(before)?;
            self.step.keep(cx, &before).await?;
            record(&self.step, &before)
        })
    }

    fn perform<'a>(
        &'a self,
        cx: &'a Cx,
        before: Option<&'a Value>,
    ) -> BoxFuture<'a, Result<Value, Failure>> {
        Box::pin(async move {
            let before = before.map(read_before::<S::Before>).transpose()?;
            to_value(&self.step.perform(cx, before.as_ref()).await?)
        })
    }
}

fn record<S: Step>(step: &S, before: &S::Before) -> Result<Option<UndoRecord>, Failure> {
    let Some(undo) = step.undo(before) else {
        return Ok(None);
    };
    Ok(Some(UndoRecord {
        kind: String::new(),
        summary: undo.describe(),
        data: serde_json::to_value(&undo).map_err(|error| unstorable("undo", &error))?,
        again: undo.again(),
        lapses: undo.lapses(),
    }))
}

struct OpenedUndo<U> {
    undo: U,
}

impl<U: Undo> Undoes for OpenedUndo<U> {
    fn look<'a>(&'a self, cx: &'a Cx) -> BoxFuture<'a, Result<UndoLook, Failure>> {
        Box::pin(self.undo.look(cx))
    }

    fn perform<'a>(&'a self, cx: &'a Cx) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.undo.perform(cx))
    }

    fn release<'a>(&'a self, cx: &'a Cx) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.undo.release(cx))
    }
}

fn to_value<T: Serialize>(output: &T) -> Result<Value, Failure> {
    let json = serde_json::to_value(output).map_err(|error| unstorable("result", &error))?;
    // What came from outside may look like a handle of ours; no kind makes one itself.
    Ok(
        Value::from_stored(&json).transform(&mut |value| match value {
            Value::Secret(_) | Value::Absent(_) | Value::Unknown(_) => Value::Null,
            value => value,
        }),
    )
}

fn read_before<B: serde::de::DeserializeOwned>(before: &Value) -> Result<B, Failure> {
    serde_json::from_value(before.to_stored()).map_err(|error| unstorable("state before", &error))
}

fn unstorable(what: &str, error: &serde_json::Error) -> Failure {
    Failure::internal(format!("store or read the {what} of the step")).because(error)
}
