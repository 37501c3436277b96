//! What the kernel says of processes, read from `/proc`.

use std::{fs, io};

use runwright_core::units::Time;

/// A process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// Its process group.
    pub(super) group: u32,
    /// When it started, in ticks since the machine did: with the number it names one process for ever.
    pub(super) started: u64,
    /// Whether it has ended and waits to be reaped.
    pub(super) ended: bool,
}

/// Returns the numbers of all processes.
///
/// # Errors
///
/// When `/proc` can't be listed.
pub(super) fn pids() -> io::Result<impl Iterator<Item = u32>> {
    let entries = fs::read_dir("/proc")?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// Returns the process `pid`, where there is one.
pub(super) fn process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before them may hold anything, also `)`.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    Some(Process {
        pid,
        group: fields.get(2)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        ended: matches!(*fields.first()?, "Z" | "X"),
    })
}

/// Returns the program and its arguments.
pub(super) fn command(pid: u32) -> String {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = command
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
    words.join(" ")
}

/// Returns when a process started, to a second.
pub(super) fn started_at(process: Process) -> Option<Time> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    let ticks = rustix::param::clock_ticks_per_second();
    let seconds = boot.trim().parse::<u64>().ok()? + process.started / ticks;
    Some(Time::from_milliseconds(i64::try_from(seconds * 1000).ok()?))
}
