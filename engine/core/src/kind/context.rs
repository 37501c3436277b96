//! What a kind is given beside its arguments.

use std::{collections::BTreeMap, fmt, io, sync::Arc, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::digest::{Digest, Hasher};
use crate::units::Time;

/// The surroundings of one call of a kind.
#[derive(Clone)]
pub struct Cx {
    /// The run's id: 12 of `[a-z0-9]`.
    pub run: Arc<str>,
    /// The step's address.
    pub step: Arc<str>,
    /// The attempt, from 1.
    pub attempt: u32,
    /// How child processes start.
    pub children: Arc<Children>,
    /// The driver's side.
    pub host: Arc<dyn Host>,
}

impl Cx {
    /// Returns the digest of `bytes` as it may be written down: see [`Host::hasher`].
    ///
    /// # Errors
    ///
    /// When it is to be keyed, and the key can't be had.
    pub fn digest(&self, bytes: &[u8]) -> io::Result<Digest> {
        let mut hasher = self.host.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// How child processes start: recorded when the run begins and used again on resume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Children {
    /// `PATH`, `HOME`, `USER`, `LANG`, `TZ`, and nothing else.
    pub env: BTreeMap<String, String>,
    /// The working folder of the run.
    pub cwd: Utf8PathBuf,
    /// The umask of the run.
    pub umask: u32,
}

/// Which stream of a process a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How far a long action has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// How much there is, if that is known.
    pub total: Option<u64>,
    /// `bytes`, `pages`, `rows`, `files`; empty for a bare count.
    pub unit: String,
}

/// What the driver does for a kind: the only way out of one besides its result.
pub trait Host: Send + Sync {
    /// Takes a piece of a process's output; never blocks for long, never fails.
    fn output(&self, stream: Stream, bytes: &[u8]);

    /// Says how far a long action has come.
    fn progress(&self, progress: Progress);

    /// Returns the time.
    fn now(&self) -> Time;

    /// Returns whether the step is to end at once (its timeout, or the run is being stopped): ask it often.
    fn cancelled(&self) -> bool;

    /// Begins the digest of a content: keyed where the step's arguments, its results or the content hold a secret.
    ///
    /// What becomes a part of a result, a state before or an undo is made with this, never with [`Digest::of`].
    fn hasher(&self) -> Box<dyn Hasher>;

    /// Begins a digest that can be compared with `recorded`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] when the key of `recorded` is gone.
    fn hasher_like(&self, recorded: &Digest) -> io::Result<Box<dyn Hasher>>;

    /// Copies the file at `path` into the run's folder, synced, and returns its digest, to be compared with `recorded`.
    fn keep(&self, path: &Utf8Path, recorded: &Digest) -> io::Result<Digest>;

    /// Returns where the content that was kept with this digest lies.
    fn kept(&self, digest: &Digest) -> Utf8PathBuf;

    /// Starts a process group of the step: calls `start`, which returns the number of the group.
    ///
    /// Every process of a step starts here. `grace` is how long the group may take once it is asked to end; `None` is
    /// for one that would leave things half done: it ends by itself, and soon.
    ///
    /// # Errors
    ///
    /// What `start` returned, or why nothing may start.
    fn start(
        &self,
        grace: Option<Duration>,
        start: &mut dyn FnMut() -> io::Result<u32>,
    ) -> io::Result<()>;

    /// Says that a group is gone: before its leader is reaped, because from then on the number may be another's.
    fn ended(&self, group: u32);

    /// Waits for the terminal and keeps it for a process of the step: nobody else draws or asks on it until
    /// [`Host::give_terminal_back`]. Returns `false`, and keeps nothing, when the step is to end first.
    fn take_terminal(&self) -> bool;

    /// Ends what [`Host::take_terminal`] began.
    fn give_terminal_back(&self);
}

impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx")
            .field("run", &self.run)
            .field("step", &self.step)
            .field("attempt", &self.attempt)
            .finish()
    }
}
