//! The one place from which a preview reaches a kind.
//!
//! The guarantee of a preview rests on this file. [`look_only`] is the only function of the preview that opens a kind
//! with its real arguments and the only one that calls it; what it calls is `look`, and `undo`, which makes words of what
//! the look has found and reaches nothing. The opened action never leaves it, so nothing else could call `keep` or
//! `perform`, and no undo is ever read back. [`describe`] opens a kind with its
//! secrets masked and asks it for words only. A test reads the sources of the preview and holds them to this.
//!
//! What the guarantee takes from elsewhere: that a `look` only reads. That is the contract of every kind, and a test
//! previews each of them against real files and compares everything before and after.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::{
    kind::{
        Action, Class, Cx, Description, Digest, Effect, Failure, Hasher, Host, Kind, Looked,
        Progress, Stream, Touch, UndoRecord, UndoneBy,
    },
    machine::Task,
    plan::Sensitive,
    units::{Span, Time},
    value::Value,
};

use crate::{
    digests::{Digests, Marks},
    run::{Clock, Vault, treat},
};

/// How long a look that was told to end may still take before it is let go.
const GRACE: Duration = Duration::from_secs(2);

/// What a look has told, with secrets masked.
pub(super) struct Seen {
    /// What was found.
    pub looked: Looked,
    /// How the change would be undone, in words; none where the look says of no change, or can't say how.
    pub undo: Option<Planned>,
}

/// How a change would be undone.
#[derive(Clone, Debug)]
pub(super) enum Planned {
    /// Like this; without the data that would undo it.
    By(UndoRecord),
    /// There is nothing to undo.
    Nothing,
}

/// Returns whether a look with these arguments only reads.
///
/// Of a kind that changes something it does. A kind that only reads *acts* in its look, so there the step must not say
/// that it does more than read: a `GET` that the playbook calls a change is never sent.
pub(super) fn may_look(kind: &Kind, task: &Task) -> bool {
    let own = (kind.effect_of)(&task.arguments);
    match own {
        Effect::Read => task.effect == Effect::Read,
        Effect::Change | Effect::Destroy => kind.looks && kind.effect > Effect::Read,
    }
}

/// Returns the action in words and what it touches, with secrets masked.
///
/// # Errors
///
/// When the arguments don't fit the kind.
pub(super) fn describe(kind: &Kind, task: &Task) -> Result<(Description, Vec<Touch>), Failure> {
    let action = (kind.open)(&Vault::hide(&task.arguments)).map_err(|error| {
        Failure::internal(format!("read the arguments of `{}`: {error}", task.kind))
    })?;
    Ok((action.describe(), action.touches()))
}

/// Looks at the target of `task`, at most `limit` long; all that comes back is masked.
///
/// # Errors
///
/// What the kind says; class `timeout` when it takes longer, class `cancelled` when it breaks off.
pub(super) async fn look_only(
    kind: Kind,
    task: &Task,
    digests: &Digests,
    cx: Cx,
    limit: Span,
) -> Result<Seen, Failure> {
    if !may_look(&kind, task) {
        let looked = Looked::Unclear;
        return Ok(Seen { looked, undo: None });
    }
    let vault = digests.vault();
    let action = (kind.open)(&vault.reveal(&task.arguments)?).map_err(|error| {
        vault.mask_failure(Failure::internal(format!(
            "read the arguments of `{}`: {error}",
            task.kind
        )))
    })?;
    let step = cx.step.clone();
    let cancelled = Arc::new(AtomicBool::new(false));
    let cx = Cx {
        host: Arc::new(LookHost {
            now: cx.host.now(),
            cancelled: cancelled.clone(),
            digests: digests.with(Marks::of(task)),
        }),
        ..cx
    };
    // A task of its own, so that a kind that blocks or panics does not take the preview along.
    let mut looking = tokio::spawn(async move {
        let looked = action.look(&cx).await?;
        let undo = undo(&kind, action.as_ref(), &looked);
        Ok::<_, Failure>((looked, undo))
    });
    let ended = match tokio::time::timeout(limit.to_std(), &mut looking).await {
        Ok(ended) => ended,
        Err(_) => {
            cancelled.store(true, Ordering::SeqCst);
            let _ = tokio::time::timeout(GRACE, &mut looking).await;
            looking.abort();
            return Err(Failure::new(
                Class::Timeout,
                format!("look at it within {limit}"),
            ));
        }
    };
    match ended {
        Ok(Ok((looked, undo))) => Ok(Seen {
            looked: masked(vault, &step, &task.sensitive, looked),
            undo: undo.map(|undo| match undo {
                Planned::By(record) => Planned::By(UndoRecord {
                    summary: vault.mask(&record.summary),
                    again: record.again.map(|name| vault.mask(&name)),
                    ..record
                }),
                Planned::Nothing => Planned::Nothing,
            }),
        }),
        Ok(Err(failure)) => Err(vault.mask_failure(failure)),
        Err(error) => Err(Failure::new(
            Class::Cancelled,
            format!("look at it: `{}` broke off", task.kind),
        )
        .because(&error)),
    }
}

fn masked(vault: &Vault, step: &Arc<str>, sensitive: &Sensitive, looked: Looked) -> Looked {
    match looked {
        Looked::Done(result) => Looked::Done(treat(vault, step, sensitive, result)),
        Looked::Needed {
            before,
            summary,
            diff,
        } => Looked::Needed {
            before: vault.mask_value(before),
            summary: vault.mask(&summary),
            diff: diff
                .filter(|_| *sensitive != Sensitive::All)
                .map(|diff| vault.mask(&diff)),
        },
        Looked::Unclear => Looked::Unclear,
    }
}

/// Returns how the change that a look found to be needed would be undone by its kind.
fn undo(kind: &Kind, action: &dyn Action, looked: &Looked) -> Option<Planned> {
    let Looked::Needed { before, .. } = looked else {
        return None;
    };
    if kind.undone == UndoneBy::Nobody {
        return None;
    }
    // What can't be made of this state can't be told now; the run fails there before it acts.
    Some(match action.undo(before).ok()? {
        Some(record) => Planned::By(UndoRecord {
            kind: kind.name.to_owned(),
            // It may hold secrets, and nothing is undone with it.
            data: serde_json::Value::Null,
            ..record
        }),
        None => Planned::Nothing,
    })
}

/// Returns the surroundings of whatever is looked at for `step`.
pub(super) fn cx(
    run: &Arc<str>,
    step: &Arc<str>,
    children: &Arc<runwright_core::kind::Children>,
    clock: &Clock,
    digests: &Digests,
) -> Cx {
    Cx {
        run: run.clone(),
        step: step.clone(),
        attempt: 1,
        children: children.clone(),
        host: Arc::new(LookHost {
            now: clock.now(),
            cancelled: Arc::default(),
            digests: digests.clone(),
        }),
    }
}

/// Returns the first unknown in the arguments: what must have happened before they are known.
pub(super) fn unknown_in(arguments: &Value) -> Option<Arc<str>> {
    match arguments.find(&|value| matches!(value, Value::Unknown(_))) {
        Some(Value::Unknown(after)) => Some(after.clone()),
        _ => None,
    }
}

/// The host of a look: it keeps nothing and shows nothing.
struct LookHost {
    now: Time,
    cancelled: Arc<AtomicBool>,
    digests: Digests,
}

impl Host for LookHost {
    fn output(&self, _: Stream, _: &[u8]) {}

    fn progress(&self, _: Progress) {}

    fn now(&self) -> Time {
        self.now
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    fn hasher(&self) -> Box<dyn Hasher> {
        self.digests.hasher()
    }

    fn hasher_like(&self, recorded: &Digest) -> io::Result<Box<dyn Hasher>> {
        self.digests.hasher_like(recorded)
    }

    fn keep(&self, _: &Utf8Path, _: &Digest) -> io::Result<Digest> {
        Err(io::Error::new(
            io::ErrorKind::ReadOnlyFilesystem,
            "a preview keeps nothing",
        ))
    }

    fn kept(&self, digest: &Digest) -> Utf8PathBuf {
        // Nothing can lie there, and nothing can be put there.
        Utf8Path::new("/dev/null").join(&digest.0)
    }

    fn start(
        &self,
        _: Option<Duration>,
        start: &mut dyn FnMut() -> io::Result<u32>,
    ) -> io::Result<()> {
        start().map(drop)
    }

    fn ended(&self, _: u32) {}

    fn take_terminal(&self) -> bool {
        // What is asked in a preview must never reach for the person's keyboard.
        false
    }

    fn give_terminal_back(&self) {}
}
