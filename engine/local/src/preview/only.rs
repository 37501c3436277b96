//! The one place from which a preview reaches a kind.
//!
//! The guarantee of a preview rests on this file. [`look_only`] is the only function of the preview that opens a kind
//! with its real arguments and the only one that calls it; what it calls is `look`. The opened action never leaves it,
//! so nothing else could call `keep` or `perform`, and no undo is ever read back. [`describe`] opens a kind with its
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
        Class, Cx, Description, Digest, Effect, Failure, Hasher, Host, Kind, Looked, Progress,
        Stream, Touch,
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
) -> Result<Looked, Failure> {
    if !may_look(&kind, task) {
        return Ok(Looked::Unclear);
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
    let mut looking = tokio::spawn(async move { action.look(&cx).await });
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
        Ok(Ok(Looked::Done(result))) => {
            Ok(Looked::Done(treat(vault, &step, &task.sensitive, result)))
        }
        Ok(Ok(Looked::Needed {
            before,
            summary,
            diff,
        })) => Ok(Looked::Needed {
            before: vault.mask_value(before),
            summary: vault.mask(&summary),
            diff: diff
                .filter(|_| task.sensitive != Sensitive::All)
                .map(|diff| vault.mask(&diff)),
        }),
        Ok(Ok(Looked::Unclear)) => Ok(Looked::Unclear),
        Ok(Err(failure)) => Err(vault.mask_failure(failure)),
        Err(error) => Err(Failure::new(
            Class::Cancelled,
            format!("look at it: `{}` broke off", task.kind),
        )
        .because(&error)),
    }
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
