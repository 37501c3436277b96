//! A started program and all that it started, as one thing that can be signalled and ended.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How far a signal reaches. The process itself is not reaped while this is used, so its number can't be another's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Group {
    /// The process leads a group of its own: a signal goes to all of it.
    Own(Pid),
    /// The process is in our own group, because it uses our terminal: a signal goes to it alone.
    Ours(Pid),
}

impl Group {
    /// Asks it to end. A stopped process would not hear it, so it is let go on as well.
    pub(super) fn ask_to_end(self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Ends it, whatever it does.
    pub(super) fn kill(self) {
        self.signal(Signal::KILL);
    }

    /// Returns whether a process of it is still alive; one that has ended and waits to be reaped is not.
    pub(super) fn lives(self) -> bool {
        match self {
            Group::Own(leader) => members(leader),
            Group::Ours(pid) => stat(&format!("/proc/{}/stat", pid.as_raw_nonzero()))
                .is_some_and(|(state, _)| is_alive(state)),
        }
    }

    /// Sends `signal`. One that can't be delivered has nobody left to get it: that is as good as delivered.
    fn signal(self, signal: Signal) {
        match self {
            // Behind `setsid` the group exists only from a moment after the start: until then there is the process.
            Group::Own(leader) => {
                if kill_process_group(leader, signal).is_err() {
                    let _ = kill_process(leader, signal);
                }
            }
            Group::Ours(pid) => {
                let _ = kill_process(pid, signal);
            }
        }
    }
}

fn members(leader: Pid) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    processes.flatten().any(|entry| {
        let name = entry.file_name();
        let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        is_process
            && entry
                .path()
                .join("stat")
                .to_str()
                .and_then(stat)
                .is_some_and(|(state, group)| {
                    group == leader.as_raw_nonzero().get() && is_alive(state)
                })
    })
}

fn is_alive(state: char) -> bool {
    !matches!(state, 'Z' | 'X')
}

/// Returns state and process group out of a `/proc/PID/stat`. The name before them may hold anything, also `)`.
fn stat(path: &str) -> Option<(char, i32)> {
    let stat = fs::read_to_string(path).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(1)?.parse().ok()?))
}
