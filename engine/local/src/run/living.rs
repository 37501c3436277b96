//! Processes of a run that have outlived the engine.

use std::{collections::BTreeMap, fs, io, os::unix::fs::MetadataExt};

use camino::Utf8Path;
use runwright_core::units::Time;

use super::{
    proc,
    step_lock::{self, Held},
};
use crate::folder::{RunFolder, escape};

/// A process that a step has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Living {
    /// The address of its step.
    pub step: String,
    /// The process; `None` where all that can be known is that there is one: another user's, which we may not see.
    pub process: Option<Seen>,
}

/// A process that could be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its process id.
    pub pid: u32,
    /// The program and its arguments.
    pub command: String,
    /// When it started, to a second.
    pub since: Option<Time>,
}

/// Returns the processes on this machine that the steps at the addresses `steps` of a run have started and that still
/// live, step by step.
///
/// They are known by the step's lock, which they have inherited, and by `RUNWRIGHT_STEP` in their environment. Only one
/// that has closed what it inherited *and* cleared its environment is not found.
///
/// # Errors
///
/// When the processes can't be listed.
pub fn living(folder: &RunFolder, run: &str, steps: &[&str]) -> io::Result<Vec<Living>> {
    let held = step_lock::held(folder);
    let mut seen: BTreeMap<&str, Vec<Seen>> = BTreeMap::new();
    for pid in proc::pids()? {
        let by_mark = step_in_environment(pid, run);
        let by_mark = by_mark.as_deref();
        let step = steps.iter().find(|step| by_mark == Some(**step));
        // Whoever was started by two runs, one in the other, has the mark of the inner one.
        let step = step.or_else(|| {
            let lock = held.iter().find(|lock| holds(pid, &lock.path))?;
            steps.iter().find(|step| escape(step) == lock.step)
        });
        // Processes come and go while they are listed.
        let (Some(step), Some(process)) = (step, proc::process(pid)) else {
            continue;
        };
        if !process.ended {
            seen.entry(step).or_default().push(Seen {
                pid,
                command: proc::command(pid),
                since: proc::started_at(process),
            });
        }
    }
    let mut found = Vec::new();
    for step in steps {
        let seen = seen.remove(step).unwrap_or_default();
        let unseen = seen.is_empty() && is_held(&held, step);
        let unseen = unseen.then_some(None);
        found.extend(
            seen.into_iter()
                .map(Some)
                .chain(unseen)
                .map(|process| Living {
                    step: (*step).to_owned(),
                    process,
                }),
        );
    }
    Ok(found)
}

fn is_held(held: &[Held], step: &str) -> bool {
    let name = escape(step);
    held.iter().any(|lock| lock.step == name)
}

/// Returns the step of `run` in the environment of a process, as far as we may read it.
fn step_in_environment(pid: u32, run: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let step = variables.find_map(|variable| variable.strip_prefix(b"RUNWRIGHT_STEP="))?;
    let step = String::from_utf8_lossy(step);
    Some(step.strip_prefix(run)?.strip_prefix('/')?.to_owned())
}

/// Returns whether a process has the lock file open, as far as we may see it.
fn holds(pid: u32, lock: &Utf8Path) -> bool {
    let (Ok(files), Ok(wanted)) = (fs::read_dir(format!("/proc/{pid}/fd")), fs::metadata(lock))
    else {
        return false;
    };
    files.flatten().any(|file| {
        let path = file.path();
        // The name first: a look behind every open file could wait for a file system that is gone.
        let is_named = fs::read_link(&path)
            .is_ok_and(|target| target.file_name() == lock.as_std_path().file_name());
        is_named
            && fs::metadata(&path)
                .is_ok_and(|file| (file.dev(), file.ino()) == (wanted.dev(), wanted.ino()))
    })
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Child, Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{run::step_lock::StepLock, testing::Sandbox};

    const RUN: &str = "livingtest00";

    fn folder(sandbox: &Sandbox) -> RunFolder {
        RunFolder::create(&sandbox.home(), RUN).expect("a folder")
    }

    /// Returns what lives, once `is_right` or after 10 s: right after its start a process is not what it will be.
    fn living_once(folder: &RunFolder, is_right: impl Fn(&[Living]) -> bool) -> Vec<Living> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = living(folder, RUN, &["other", "group/step"]).expect("processes");
            if is_right(&found) || Instant::now() > deadline {
                return found;
            }
        }
    }

    fn end(mut child: Child) {
        child.kill().expect("it can be ended");
        child.wait().expect("it has ended");
    }

    #[test]
    fn a_process_of_a_step_is_found_as_long_as_it_lives() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox);
        let child = Command::new("cat")
            .env("RUNWRIGHT_STEP", format!("{RUN}/group/step"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat runs");
        let found = living_once(&folder, |found| !found.is_empty());
        let pid = child.id();
        let elsewhere = living(&folder, RUN, &["group"]).expect("processes can be listed");
        end(child);
        assert_eq!(found.len(), 1);
        let process = found[0].process.as_ref().expect("it is ours");
        assert_eq!((process.pid, &*process.command), (pid, "cat"));
        assert!(process.since.is_some());
        assert_eq!(found[0].step, "group/step");
        assert_eq!(elsewhere, []);
        assert_eq!(living_once(&folder, <[_]>::is_empty), []);
    }

    #[test]
    fn a_process_without_environment_is_found_by_the_lock() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox);
        let lock = StepLock::take(&folder, "group/step").expect("a lock");
        let mut command = Command::new("cat");
        command.env_clear().stdin(Stdio::piped());
        let child = lock.spawn(|| command.spawn()).expect("cat runs");
        drop(lock);
        let found = living_once(&folder, |found| !found.is_empty());
        let pid = child.id();
        end(child);
        let pids = found.iter().map(|it| Some(it.process.as_ref()?.pid));
        assert_eq!(pids.collect::<Vec<_>>(), [Some(pid)]);
        assert_eq!(living_once(&folder, <[_]>::is_empty), []);
    }

    #[test]
    fn a_child_of_another_step_does_not_hold_the_lock() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox);
        let lock = StepLock::take(&folder, "group/step").expect("a lock");
        let other = StepLock::take(&folder, "other").expect("a lock");
        let mut command = Command::new("cat");
        command.env_clear().stdin(Stdio::piped());
        let child = other.spawn(|| command.spawn()).expect("cat runs");
        drop(lock);
        drop(other);
        let found = living_once(&folder, |found| !found.is_empty());
        end(child);
        let steps: Vec<&str> = found.iter().map(|it| it.step.as_str()).collect();
        assert_eq!(steps, ["other"]);
    }

    #[test]
    fn a_lock_goes_with_its_last_holder() {
        let sandbox = Sandbox::new();
        let folder = folder(&sandbox);
        let files = || {
            fs::read_dir(folder.path().join("steps"))
                .expect("a folder")
                .count()
        };
        let first = StepLock::take(&folder, "step").expect("a lock");
        drop(first);
        assert_eq!(files(), 0);
        let second = StepLock::take(&folder, "step").expect("a lock");
        let child = second.spawn(|| Command::new("cat").stdin(Stdio::piped()).spawn());
        drop(second);
        assert_eq!(files(), 1, "what the step has left behind still holds it");
        // The next call of the step is not held up by that.
        drop(StepLock::take(&folder, "step").expect("another lock"));
        end(child.expect("cat runs"));
        step_lock::sweep(&folder);
        assert_eq!(files(), 0);
    }
}
