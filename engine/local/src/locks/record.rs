//! What stands in the file of a lock: who has it, and from whom it was stolen.
//!
//! A record is a line of JSON and the last whole one counts, so a write that is cut off leaves the one before.

use std::fmt;

use camino::Utf8PathBuf;
use runwright_core::units::Time;
use serde::{Deserialize, Serialize};

use super::plain::plain;
use crate::lock::{self, Holder};

/// The version of the records that this program writes.
pub(super) const VERSION: u32 = 1;

/// A line in the file of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The version of the line.
    pub(super) v: u32,
    /// The lock's name.
    pub(super) lock: String,
    /// Who has it; nobody where it was stolen and not taken since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<Owner>,
    /// The thefts that no run has been told of so that it could write them down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) stolen: Vec<Theft>,
}

/// The run that has a lock, and its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The run's id.
    pub run: String,
    /// Its playbook's name.
    pub playbook: String,
    /// Who began it.
    pub user: String,
    /// The home its journal lies in.
    pub home: Utf8PathBuf,
    /// Its process.
    pub pid: u32,
    /// The boot that the process belongs to.
    pub boot: String,
    /// When the process started, in ticks since that boot.
    pub start: String,
    /// Since when the run has the lock, in milliseconds since 1970.
    pub since: i64,
    /// Whether it is the run's without a process: the run has changed something and has not ended.
    pub kept: bool,
}

impl Owner {
    /// Returns the process, where it lives and can be seen from here.
    pub(super) fn process(&self) -> Holder {
        let lives = self.boot == lock::boot()
            && lock::started(self.pid).as_deref() == Some(self.start.as_str());
        match lives {
            true => Holder::Pid(self.pid),
            false => Holder::Unknown,
        }
    }
}

/// How a person took a lock from the run that kept it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Theft {
    /// The lock's name.
    pub lock: String,
    /// Who did it.
    pub by: String,
    /// Why, in that person's words.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Who had it.
    pub from: Owner,
}

/// The whole story in a line, as the run that takes the lock next writes it down.
impl fmt::Display for Theft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Time::from_milliseconds(self.at);
        write!(
            f,
            "{} took the lock `{}` at {at} from the run {} of {}: {}",
            plain(&self.by),
            plain(&self.lock),
            plain(&self.from.run),
            plain(&self.from.user),
            plain(&self.reason),
        )
    }
}
