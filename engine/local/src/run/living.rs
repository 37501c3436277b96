//! Processes of a run that have outlived the engine.

use std::{fs, io};

/// A process that a step has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Living {
    /// Its process id.
    pub pid: u32,
    /// The address of its step.
    pub step: String,
    /// The program and its arguments.
    pub command: String,
}

/// Returns the processes on this machine that steps of `run` have started and that still live.
///
/// They are known by `RUNWRIGHT_STEP` in their environment, so one that clears its environment is not found, nor one
/// whose environment this user may not read.
///
/// # Errors
///
/// When the processes can't be listed.
pub fn living(run: &str) -> io::Result<Vec<Living>> {
    let mark = format!("RUNWRIGHT_STEP={run}/");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // Processes come and go while they are listed, and those of others can't be read.
        let Ok(environment) = fs::read(entry.path().join("environ")) else {
            continue;
        };
        let step = environment
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(mark.as_bytes()));
        if let Some(step) = step {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = command
                .split(|byte| *byte == 0)
                .filter(|word| !word.is_empty());
            let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
            found.push(Living {
                pid,
                step: String::from_utf8_lossy(step).into_owned(),
                command: words.join(" "),
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn a_process_of_a_step_is_found_as_long_as_it_lives() {
        let mut child = Command::new("cat")
            .env("RUNWRIGHT_STEP", "livingtest00/group/step")
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat runs");
        // Right after the start the kernel does not show an environment yet.
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut found = Vec::new();
        while found.is_empty() && Instant::now() < deadline {
            found = living("livingtest00").expect("processes can be listed");
        }
        child.kill().expect("it can be ended");
        child.wait().expect("it has ended");
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].pid, found[0].step.as_str()),
            (child.id(), "group/step")
        );
        assert_eq!(found[0].command, "cat");
        assert_eq!(living("livingtest00").expect("processes can be listed"), []);
    }
}
