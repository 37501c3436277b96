//! The kernel's table of processes: `/proc/PID/stat`, as proc_pid_stat(5) describes it.

use std::{fs, io, time::Duration};

use nix::unistd::{Uid, User};
use regex::Regex;
use runwright_core::{kind::Failure, units::Span};
use schemars::JsonSchema;
use serde::Serialize;

/// One process.
#[derive(Debug, PartialEq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    /// The name, of at most 15 bytes.
    pub(super) command: String,
    pub(super) state: State,
    /// The processor time used, in user and kernel mode.
    pub(super) used: Duration,
    /// When it was started, counted from the start of the machine.
    pub(super) started: Span,
    /// Resident memory, in bytes.
    pub(super) memory: u64,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Runs or is ready to.
    Running,
    /// Waits for something to happen.
    Sleeping,
    /// Waits for a disk or the like and can't be ended meanwhile.
    Blocked,
    /// Was stopped, by a signal or a debugger.
    Stopped,
    /// Has ended, and its parent has not taken note of it.
    Zombie,
    /// A thread of the kernel with nothing to do.
    Idle,
}

/// Returns all processes; one that ends while it is read is left out.
pub(super) fn read() -> Result<Vec<Process>, Failure> {
    let fail =
        |error: &io::Error| Failure::internal("read the processes in `/proc`").because(error);
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").map_err(|error| fail(&error))? {
        let name = entry.map_err(|error| fail(&error))?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        match fs::read(format!("/proc/{pid}/stat")) {
            // A name may be any bytes.
            Ok(line) => processes.extend(parse(&String::from_utf8_lossy(&line))),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(fail(&error)),
        }
    }
    Ok(processes)
}

/// The file is not there any more, or it was opened and the process ended before it was read.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

impl Process {
    /// Returns whether `name` matches the name or the command line.
    pub(super) fn is_named(&self, name: &Regex) -> bool {
        if name.is_match(&self.command) {
            return true;
        }
        // A zombie has none, and who has ended meanwhile has none either.
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        name.is_match(line.trim_end())
    }

    /// Returns the user it acts for: the name, else the number; none when it has ended meanwhile.
    pub(super) fn user(&self) -> Option<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        // Real, effective, saved, file system.
        let uid: u32 = ids.split_whitespace().nth(1)?.parse().ok()?;
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Some(user.map_or_else(|| uid.to_string(), |user| user.name))
    }
}

fn parse(line: &str) -> Option<Process> {
    let (pid, rest) = line.split_once(" (")?;
    // The name may hold parentheses and spaces itself: the last one ends it.
    let (command, rest) = rest.rsplit_once(") ")?;
    // The manual numbers the fields from 1, `state` is the third.
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |place: usize| field(place)?.parse::<u64>().ok();
    let per_second = rustix::param::clock_ticks_per_second();
    let milliseconds = |ticks: u64| ticks * 1_000 / per_second;
    Some(Process {
        pid: pid.parse().ok()?,
        parent: field(4)?.parse().ok()?,
        command: command.to_owned(),
        state: state(field(3)?),
        used: Duration::from_millis(milliseconds(number(14)? + number(15)?)),
        started: Span::from_milliseconds(i64::try_from(milliseconds(number(22)?)).ok()?),
        memory: number(24)? * rustix::param::page_size() as u64,
    })
}

fn state(letter: &str) -> State {
    match letter {
        "R" => State::Running,
        "D" => State::Blocked,
        "T" | "t" => State::Stopped,
        "Z" | "X" => State::Zombie,
        "I" => State::Idle,
        _ => State::Sleeping,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_what_separates_the_fields() {
        let line = "4242 (a) R (b c) D 17 1 1 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 1234 999 3 18446744073709551615 1 1\n";
        let process = parse(line).expect("a process");
        assert_eq!(
            (
                process.pid,
                process.parent,
                process.command.as_str(),
                process.state
            ),
            (4242, 17, "a) R (b c", State::Blocked)
        );
        assert_eq!(process.memory, 3 * rustix::param::page_size() as u64);
        assert!(process.used > Duration::ZERO);
        assert_eq!(parse("4242 (half a line) R 1"), None);
    }

    #[test]
    fn an_ended_process_is_no_error() {
        let process = Process {
            // More than any kernel gives out.
            pid: i32::MAX,
            parent: 1,
            command: "gone".to_owned(),
            state: State::Sleeping,
            used: Duration::ZERO,
            started: Span::default(),
            memory: 0,
        };
        assert_eq!(process.user(), None);
        assert!(!process.is_named(&Regex::new("other").expect("a pattern")));
        let me = read()
            .expect("processes")
            .into_iter()
            .find(|process| process.pid == std::process::id() as i32);
        assert!(me.is_some_and(|me| me.user().is_some()));
    }
}
