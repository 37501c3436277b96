//! What ends the processes of a run's steps when this process dies, also by `kill -9`.
//!
//! It is a process of its own, because nothing in a killed one can act, and it learns of the death by the end of a pipe
//! that only we can write to. It is started when a step's process has lived a while: most have ended before, and for
//! those it would cost more than it gives. What dies with us in that while leaves its processes to [`super::living`].

mod keeper;

use std::{
    collections::BTreeMap,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::pipe::{PipeFlags, pipe_with};

pub use self::keeper::keep;
use super::{proc, step_lock};

/// The guard of a run, seen from the engine.
pub(super) struct Guard {
    /// The command that becomes the guard; where it is empty there is none.
    command: Vec<String>,
    guarded: Mutex<Guarded>,
}

#[derive(Default)]
struct Guarded {
    /// What the guard was told of each group.
    groups: BTreeMap<u32, String>,
    process: Option<Process>,
}

struct Process {
    child: Child,
    orders: OwnedFd,
}

impl Guard {
    pub(super) fn new(command: Vec<String>) -> Guard {
        Guard {
            command,
            guarded: Mutex::default(),
        }
    }

    /// Begins to guard `group`, whose leader is ours and not reaped: should we die it is asked to end, and after
    /// `grace` made to.
    pub(super) fn watch(&self, group: u32, grace: Duration) {
        let Some(leader) = proc::process(group).filter(|_| !self.command.is_empty()) else {
            return;
        };
        let order = format!("+{group} {} {}\n", leader.started, grace.as_millis());
        let mut guarded = self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        let told = guarded.tell(&order);
        guarded.groups.insert(group, order);
        if told.is_err()
            && let Err(error) = guarded.begin(&self.command)
        {
            // The locks of the steps still tell what has outlived us.
            tracing::warn!("start the guard of the run's processes: {error}");
        }
    }

    /// Ends that: the group is gone, or stays on purpose.
    pub(super) fn forget(&self, group: u32) {
        let mut guarded = self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        if guarded.groups.remove(&group).is_some() {
            // A guard that is gone has forgotten it already.
            let _ = guarded.tell(&format!("-{group}\n"));
        }
    }
}

impl Guarded {
    /// Fails where there is no guard, or somebody has killed it.
    fn tell(&self, order: &str) -> io::Result<()> {
        let process = self.process.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        // Far shorter than what a pipe takes whole, and the guard always reads.
        rustix::io::write(&process.orders, order.as_bytes())?;
        Ok(())
    }

    /// Starts the guard and tells it of all groups.
    fn begin(&mut self, command: &[String]) -> io::Result<()> {
        if let Some(mut old) = self.process.take() {
            old.child.wait()?;
        }
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        command
            .arg0("runwright")
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = step_lock::spawn_apart(|| command.spawn())?;
        self.process = Some(Process {
            child,
            orders: ours,
        });
        for order in self.groups.values() {
            self.tell(order)?;
        }
        Ok(())
    }
}
