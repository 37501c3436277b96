//! The guard itself: the other end of the pipe, in a process of its own.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, setsid};

use super::proc::{self, Process};

/// How often the groups that were asked to end are looked at. No process number comes round again so quickly.
const TICK: Duration = Duration::from_millis(20);

/// How long a killed process may take to go; one that does not is stuck in the kernel.
const STUCK: Duration = Duration::from_secs(5);

/// A group to end when the engine dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    number: u32,
    /// When its leader started, in ticks since the machine did.
    started: u64,
    grace: Duration,
}

/// Reads from `orders` which groups begin (`+GROUP START GRACE`, in ticks and milliseconds) and end (`-GROUP`), a line
/// each, until the last process that could write has died; then ends those that are left, and returns.
pub fn keep(orders: impl Read) {
    // Neither Ctrl-C nor the end of the terminal are for us. It fails where we lead a group, and then they are not.
    let _ = setsid();
    let mut groups = BTreeMap::new();
    for line in BufReader::new(orders).lines().map_while(Result::ok) {
        note(&line, &mut groups);
    }
    end(groups.into_values().collect());
}

fn note(line: &str, groups: &mut BTreeMap<u32, Group>) {
    if let Some(number) = line.strip_prefix('-').and_then(|line| line.parse().ok()) {
        groups.remove(&number);
    } else if let Some(group) = begun(line) {
        groups.insert(group.number, group);
    }
}

fn begun(line: &str) -> Option<Group> {
    let mut words = line.strip_prefix('+')?.split(' ');
    Some(Group {
        number: words.next()?.parse().ok()?,
        started: words.next()?.parse().ok()?,
        grace: Duration::from_millis(words.next()?.parse().ok()?),
    })
}

/// Asks the groups to end and after the grace of each makes them.
fn end(mut groups: Vec<Group>) {
    let asked = Instant::now();
    groups.retain(|group| lives(*group));
    for group in &groups {
        signal(*group, Signal::TERM);
        // A stopped process would not hear it.
        signal(*group, Signal::CONT);
    }
    // What was gone once is not looked at again: from then on the number may be another's.
    loop {
        groups.retain(|group| lives(*group));
        let waited = asked.elapsed();
        groups.retain(|group| waited < group.grace + STUCK);
        if groups.is_empty() {
            return;
        }
        for group in groups.iter().filter(|group| waited >= group.grace) {
            signal(*group, Signal::KILL);
        }
        thread::sleep(TICK);
    }
}

/// Returns whether a process of the group that we were told of is alive.
fn lives(group: Group) -> bool {
    let leader = proc::process(group.number);
    // As long as one of a group is left, no new process gets its number.
    if leader.is_some_and(|leader| leader.started != group.started) {
        return false;
    }
    let of_group = |process: Process| {
        !process.ended && (process.group == group.number || process.pid == group.number)
    };
    proc::pids().is_ok_and(|mut pids| pids.any(|pid| proc::process(pid).is_some_and(of_group)))
}

fn signal(group: Group, signal: Signal) {
    let Some(pid) = i32::try_from(group.number).ok().and_then(Pid::from_raw) else {
        return;
    };
    // One that was about to begin a session of its own leads no group yet.
    if kill_process_group(pid, signal).is_err() {
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt,
        process::{Child, Command},
    };

    use super::*;

    /// A process in a group of its own; killed when dropped.
    struct Leader(Child);

    impl Leader {
        fn start() -> Leader {
            let child = Command::new("sleep").arg("600").process_group(0).spawn();
            Leader(child.expect("sleep runs"))
        }

        fn group(&self) -> Group {
            let process = proc::process(self.0.id()).expect("it is there");
            Group {
                number: process.pid,
                started: process.started,
                grace: Duration::from_secs(30),
            }
        }

        fn ended(&mut self) -> bool {
            self.0.try_wait().expect("it can be asked").is_some()
        }
    }

    impl Drop for Leader {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn orders_say_which_groups_are_left() {
        let mut groups = BTreeMap::new();
        for line in ["+7 100 5000", "+8 101 0", "-7", "+9 what", "-", "", "+"] {
            note(line, &mut groups);
        }
        let left = Group {
            number: 8,
            started: 101,
            grace: Duration::ZERO,
        };
        assert_eq!(groups.into_values().collect::<Vec<_>>(), [left]);
    }

    #[test]
    fn what_is_left_is_asked_to_end() {
        let mut leader = Leader::start();
        end(vec![leader.group()]);
        assert!(leader.ended());
    }

    #[test]
    fn a_number_that_is_anothers_now_is_not_hit() {
        let mut leader = Leader::start();
        let group = Group {
            started: leader.group().started - 1,
            ..leader.group()
        };
        end(vec![group]);
        assert!(!leader.ended());
    }
}
