//! A started program and all that it started, as one thing that can be signalled and ended.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A process that leads a group of its own. It is not reaped while this is used, so its number can't be another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The process; its number is the group's as well.
    pub(super) leader: Pid,
}

impl Group {
    /// Asks it to end. A stopped process would not hear it, so it is let go on as well.
    pub(super) fn ask_to_end(self) {
        self.signal(Signal::TERM);
        self.go_on();
    }

    /// Lets what was stopped go on.
    pub(super) fn go_on(self) {
        self.signal(Signal::CONT);
    }

    /// Ends it, whatever it does.
    pub(super) fn kill(self) {
        self.signal(Signal::KILL);
    }

    /// Returns whether a process of it is still alive; one that has ended and waits to be reaped is not.
    pub(super) fn lives(self) -> bool {
        !members(self.leader).is_empty()
    }

    /// Returns whether the leader was stopped, as Ctrl-Z does it.
    pub(super) fn is_stopped(self) -> bool {
        stat(self.leader).is_some_and(|(state, _)| state == 'T')
    }

    /// Returns the group's number.
    pub(super) fn number(self) -> u32 {
        self.leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends `signal`. One that can't be delivered has nobody left to get it: that is as good as delivered.
    fn signal(self, signal: Signal) {
        // Behind `setsid` the group exists only from a moment after the start: until then there is the process.
        if kill_process_group(self.leader, signal).is_err() {
            let _ = kill_process(self.leader, signal);
        }
    }
}

/// Returns the processes of the group that are alive.
pub(super) fn members(group: Pid) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = processes.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Pid::from_raw(pid)
    });
    pids.filter(|pid| {
        stat(*pid).is_some_and(|(state, of)| {
            of == group.as_raw_nonzero().get() && !matches!(state, 'Z' | 'X')
        })
    })
    .collect()
}

/// Returns state and process group of a process. The name before them in its `stat` may hold anything, also `)`.
fn stat(pid: Pid) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(1)?.parse().ok()?))
}
