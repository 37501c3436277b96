//! Why a lock can't be had, who has it, and the ways out.

use std::{fmt, io};

use camino::{Utf8Path, Utf8PathBuf};
use runwright_core::units::Time;

use super::{plain::plain, record::Owner};
use crate::lock::Holder;

/// A lock that somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The lock's name; of a listed one that nothing names, its digest.
    pub lock: String,
    /// The run that has it, where that is known.
    pub owner: Option<Owner>,
    /// What holds it.
    pub hold: Hold,
    /// The lock's file.
    pub path: Utf8PathBuf,
}

/// What holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A process, as long as it lives.
    Process(Holder),
    /// Its record: the run has changed something and has not ended, and has no process that holds it.
    Kept,
}

impl Hold {
    /// Returns the hold of a process, named by what it has written about itself.
    pub(super) fn by_process(owner: Option<&Owner>) -> Hold {
        Hold::Process(owner.map_or(Holder::Unknown, Owner::process))
    }

    /// Returns the process, where that is known.
    pub fn pid(self) -> Option<u32> {
        match self {
            Hold::Process(Holder::Pid(pid)) => Some(pid),
            _ => None,
        }
    }

    /// Returns whether it may be gone in a moment: a process that only looks, or that has not written its name yet.
    pub(super) fn may_pass(self) -> bool {
        self == Hold::Process(Holder::Unknown)
    }
}

impl Taken {
    /// Returns what the reader can do to get the lock, best first; one sentence each.
    pub fn ways_out(&self) -> Vec<String> {
        let Some(owner) = &self.owner else {
            return vec![
                "wait for it: `--wait`".to_owned(),
                format!("find the process: `fuser {}`", word(self.path.as_str())),
            ];
        };
        let run = word(&owner.run);
        let whose = format!(
            "as {}, with the home `{}`",
            plain(&owner.user),
            plain(owner.home.as_str())
        );
        match self.hold {
            Hold::Process(_) => vec![
                "wait until it ends: `--wait`".to_owned(),
                format!("stop it: `runwright cancel {run}` ({whose})"),
            ],
            Hold::Kept => vec![
                format!("go on with it: `runwright resume {run}` ({whose})"),
                format!("undo what it has changed: `runwright rollback {run}` ({whose})"),
                format!("give it up: `runwright cancel {run}` ({whose})"),
                "wait until somebody has done one of these: `--wait`".to_owned(),
                format!(
                    "where none of these can be done, take it away: `runwright locks steal {} --reason TEXT`",
                    word(&self.lock)
                ),
            ],
        }
    }
}

/// Who has the lock, since when, and how; not its name.
impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(owner) = &self.owner else {
            return match self.hold {
                Hold::Process(holder) => write!(f, "{holder} has it"),
                Hold::Kept => f.write_str("it is kept"),
            };
        };
        let (run, playbook) = (plain(&owner.run), plain(&owner.playbook));
        let (user, since) = (plain(&owner.user), Time::from_milliseconds(owner.since));
        match self.hold {
            Hold::Process(holder) => {
                write!(
                    f,
                    "run {run} of `{playbook}` by {user} has it since {since}, {holder}"
                )
            }
            Hold::Kept => write!(
                f,
                "run {run} of `{playbook}` by {user} keeps it since {since}: \
                 it has changed something and has not ended"
            ),
        }
    }
}

/// Says how it is held, as a list shows it: `held by pid 4711`, `kept`.
impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::Process(holder) => write!(f, "held by {holder}"),
            Hold::Kept => f.write_str("kept"),
        }
    }
}

/// Why the locks can't do what they were asked.
#[derive(Debug, thiserror::Error)]
pub enum LocksError {
    /// Somebody else has it.
    #[error("take the lock `{lock}`: {taken}", lock = plain(&.0.lock), taken = .0)]
    Taken(Box<Taken>),
    /// It can't be stolen while a process has it, nor from another run than was meant.
    #[error("steal the lock `{lock}`: {taken}", lock = plain(&.0.lock), taken = .0)]
    NotStolen(Box<Taken>),
    /// There is nothing to steal.
    #[error("steal the lock `{}`: nobody keeps it", plain(.lock))]
    NotKept {
        /// The lock's name.
        lock: String,
    },
    /// It is no lock's name.
    #[error("take a lock whose name is empty")]
    NoName,
    /// It is a longer name than a record can hold.
    #[error("take the lock `{}…`: its name has more than {LONGEST_NAME} bytes", plain(&.lock.chars().take(40).collect::<String>()))]
    LongName {
        /// The lock's name.
        lock: String,
    },
    /// We can't know what it says.
    #[error("take the lock `{}`: its record has version {version}, newer than this program knows", plain(.lock))]
    Newer {
        /// The lock's name.
        lock: String,
        /// The version of the record.
        version: u32,
    },
    /// It is a symlink, or no folder.
    #[error("use `{path}` for locks: it is not a folder")]
    NotAFolder {
        /// The path that was given.
        path: Utf8PathBuf,
    },
    /// Others could remove the files of locks that are held.
    #[error(
        "use `{path}` for locks: with its mode {mode:04o} any user can remove the files of others"
    )]
    NotSticky {
        /// The folder.
        path: Utf8PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The kernel's locks can't be relied on there.
    #[error("use `{path}` for locks: it is on a network file system ({kind})")]
    Network {
        /// The folder.
        path: Utf8PathBuf,
        /// The file system's name.
        kind: String,
    },
    /// Something else lies where the file of a lock belongs: a link, a folder, a pipe, a second name of a file.
    #[error("use `{path}` as a lock: it is not a file of its own")]
    NotAFile {
        /// Where it lies.
        path: Utf8PathBuf,
    },
    /// The system refused.
    #[error("{action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: Utf8PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How many bytes the name of a lock can have.
pub(super) const LONGEST_NAME: usize = 4096;

impl LocksError {
    /// Returns what the reader can do about it; a lock that is taken has several ways out, joined by `; or `.
    pub fn hint(&self) -> String {
        match self {
            LocksError::Taken(taken) => taken.ways_out().join("; or "),
            LocksError::NotStolen(taken) => match &taken.owner {
                Some(_) if taken.hold == Hold::Kept => {
                    "look who has it now: `runwright locks`".to_owned()
                }
                Some(owner) => format!(
                    "stop the run first: `runwright cancel {}`",
                    word(&owner.run)
                ),
                None => format!(
                    "find the process: `fuser {}`",
                    word(taken.path.as_str())
                ),
            },
            LocksError::NotKept { .. } => "`runwright locks` lists those that are taken".to_owned(),
            LocksError::NoName => {
                "look at what the templates in `locks` of the playbook gave".to_owned()
            }
            LocksError::LongName { .. } => "give it a shorter one".to_owned(),
            LocksError::Newer { .. } => "use the newer version that has written it".to_owned(),
            LocksError::NotAFolder { path } => {
                format!("move `{path}` away, or set `RUNWRIGHT_LOCKS` to a folder")
            }
            LocksError::NotSticky { path, .. } => {
                format!("let only owners remove files in it: `chmod +t {}`", word(path.as_str()))
            }
            LocksError::Network { .. } => {
                "set `RUNWRIGHT_LOCKS` to a folder on a disk of this machine".to_owned()
            }
            LocksError::NotAFile { path } => {
                format!("find out who put `{path}` there, then remove it")
            }
            LocksError::Io { source, path, .. } => match is_full(source) {
                true => "free some space on that file system, or set `RUNWRIGHT_LOCKS` to a folder on another, for \
                         all runs of this machine"
                    .to_owned(),
                false => format!("look at the owner and the mode of `{path}`"),
            },
        }
    }
}

/// Returns whether there was no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

pub(super) fn failed(
    action: &'static str,
    path: &Utf8Path,
) -> impl FnOnce(io::Error) -> LocksError + use<> {
    let path = path.to_owned();
    move |source| LocksError::Io {
        action,
        path,
        source,
    }
}

/// Returns `text` as one word of a command line.
fn word(text: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_safe) {
        return text.to_owned();
    }
    format!("'{}'", plain(text).replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(hold: Hold) -> Taken {
        Taken {
            lock: "sqlite:/var/lib/kv.db".to_owned(),
            owner: Some(Owner {
                run: "abc123def456".to_owned(),
                playbook: "kv-restore".to_owned(),
                user: "alice".to_owned(),
                home: "/home/alice/state".into(),
                pid: 4711,
                boot: "-".to_owned(),
                start: "1".to_owned(),
                since: 1_700_000_000_000,
                kept: hold == Hold::Kept,
            }),
            hold,
            path: "/locks/0123".into(),
        }
    }

    #[test]
    fn a_kept_lock_names_run_playbook_user_and_time_and_every_way_out() {
        let error = LocksError::Taken(Box::new(taken(Hold::Kept)));
        assert_eq!(
            error.to_string(),
            "take the lock `sqlite:/var/lib/kv.db`: run abc123def456 of `kv-restore` by alice keeps it since \
             2023-11-14T22:13:20Z: it has changed something and has not ended"
        );
        let hint = error.hint();
        for way in [
            "`runwright resume abc123def456` (as alice, with the home `/home/alice/state`)",
            "`runwright rollback abc123def456`",
            "`runwright cancel abc123def456`",
            "`--wait`",
            "`runwright locks steal sqlite:/var/lib/kv.db --reason TEXT`",
        ] {
            assert!(hint.contains(way), "{way} is missing in: {hint}");
        }
    }

    #[test]
    fn a_held_lock_names_the_process_and_can_be_waited_for_or_its_run_cancelled_and_not_stolen() {
        let error = LocksError::Taken(Box::new(taken(Hold::Process(Holder::Pid(4711)))));
        assert!(error.to_string().ends_with(", pid 4711"), "{error}");
        let hint = error.hint();
        assert!(hint.contains("--wait") && hint.contains("cancel abc123def456"));
        assert!(
            !hint.contains("steal") && !hint.contains("resume"),
            "{hint}"
        );
    }

    #[test]
    fn what_another_user_wrote_moves_no_cursor_and_runs_no_command() {
        let mut taken = taken(Hold::Kept);
        taken.lock = "db'; reboot; '\u{1b}[2J".to_owned();
        let owner = taken.owner.as_mut().expect("it has one");
        owner.run = "$(reboot)".to_owned();
        owner.user = "mallory\n".to_owned();
        let error = LocksError::Taken(Box::new(taken));
        let text = format!("{error} {}", error.hint());
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(text.contains("resume '$(reboot)'"), "{text}");
        assert!(
            text.contains(r"steal 'db'\''; reboot; '\''\u{1b}[2J'"),
            "{text}"
        );
    }
}
