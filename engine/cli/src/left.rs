//! What a dead engine has left running: a step is neither settled nor undone while a process of it lives.

use std::{
    thread,
    time::{Duration, Instant},
};

use runwright_core::event::Body;
use runwright_local::{
    folder::RunFolder,
    journal::Journal,
    run::{Living, events, living},
};

use crate::{error::CliError, session::WaitArgs};

/// How often processes that are waited for are looked for.
const TICK: Duration = Duration::from_millis(200);

/// Returns once no process of a step lives that was at work when the engine died; refuses to go on where one does.
///
/// What a step that has ended left running on purpose is no reason to wait.
pub(crate) fn refuse_or_wait(
    journal: &Journal,
    folder: &RunFolder,
    run: &str,
    args: &WaitArgs,
) -> Result<(), CliError> {
    let at_work = at_work(journal, run)?;
    let steps: Vec<&str> = at_work.iter().map(String::as_str).collect();
    let begun = Instant::now();
    let mut told = false;
    loop {
        let left = living(folder, run, &steps)
            .map_err(|error| CliError::new("list the processes").because(&error))?;
        if left.is_empty() {
            return Ok(());
        }
        let may_wait = args
            .longest()
            .is_some_and(|longest| begun.elapsed() < longest);
        if !may_wait {
            return Err(refused(run, &left));
        }
        if !told {
            eprint!(
                "waiting for what the run `{run}` has left:\n{}",
                lines(&left)
            );
            told = true;
        }
        thread::sleep(TICK);
    }
}

/// Returns the steps that were about to act or to be undone, and of which nothing further is known.
fn at_work(journal: &Journal, run: &str) -> Result<Vec<String>, CliError> {
    let mut at_work = Vec::new();
    for event in events(journal, run)? {
        let step = event.step.to_string();
        match event.body {
            Body::Started { .. } | Body::Undoing { .. } if !at_work.contains(&step) => {
                at_work.push(step);
            }
            Body::Finished(_) | Body::Undone(_) => at_work.retain(|other| *other != step),
            _ => {}
        }
    }
    Ok(at_work)
}

fn refused(run: &str, left: &[Living]) -> CliError {
    let pids: Vec<String> = left
        .iter()
        .filter_map(|left| Some(left.process.as_ref()?.pid.to_string()))
        .collect();
    let end = match pids.is_empty() {
        true => "look for it as root".to_owned(),
        false => format!("end them (`kill {}`)", pids.join(" ")),
    };
    CliError::refused(format!("processes of the run `{run}` still live"))
        .detail(lines(left))
        .hint(format!(
            "wait until they have ended (`--wait` does), or {end}, and try again"
        ))
}

fn lines(left: &[Living]) -> String {
    let lines = left.iter().map(|left| match &left.process {
        Some(process) => {
            let since = process.since.map(|since| format!(", since {since}"));
            format!(
                "  - process {} of step `{}`{}: {}\n",
                process.pid,
                left.step,
                since.unwrap_or_default(),
                process.command
            )
        }
        None => format!(
            "  - a process of step `{}` that can't be seen from here, perhaps another user's\n",
            left.step
        ),
    });
    lines.collect()
}
