//! `runwright logs`: what the steps of a run printed.

use std::io::Write;

use clap::Args;
use runwright_core::kind::Stream;
use runwright_local::folder::RunFolder;

use crate::{Done, error::CliError, exit, settings::Settings};

/// Show what the steps of a run printed
#[derive(Args)]
pub(crate) struct Logs {
    /// The run: its id, the beginning of it, or `last`
    #[arg(default_value = "last")]
    run: String,

    /// Only this step, by its address
    step: Option<String>,

    /// Only standard output, as it was: for a pipe
    #[arg(long, conflicts_with = "stderr")]
    stdout: bool,

    /// Only standard error, as it was
    #[arg(long)]
    stderr: bool,
}

/// Shows what steps printed.
pub(crate) fn logs(settings: &Settings, args: &Logs) -> Done {
    let Some(journal) = settings.journal_to_read()? else {
        return Err(CliError::new("find a run: there are none yet"));
    };
    let record = journal.run(&args.run)?;
    let folder = RunFolder::find(journal.home(), &record.run)
        .ok_or_else(|| CliError::new(format!("find the folder of the run `{}`", record.run)))?;
    let steps = journal.steps(&record.run)?;
    if let Some(step) = &args.step
        && !steps.iter().any(|row| row.step == *step)
    {
        let names: Vec<&str> = steps.iter().map(|row| row.step.as_str()).collect();
        let error = CliError::usage(format!(
            "find the step `{step}` in the run `{}`",
            record.run
        ));
        return Err(
            match runwright_core::diagnostic::suggest(step, names.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("its steps are: {}", names.join(", "))),
            },
        );
    }
    let streams: &[Stream] = match (args.stdout, args.stderr) {
        (true, _) => &[Stream::Stdout],
        (_, true) => &[Stream::Stderr],
        _ => &[Stream::Stdout, Stream::Stderr],
    };
    let raw = args.stdout || args.stderr;
    let mut out = std::io::stdout();
    let mut any = false;
    for row in steps
        .iter()
        .filter(|row| args.step.as_ref().is_none_or(|step| *step == row.step))
    {
        for attempt in 1..=row.attempts.max(1) {
            let label = if attempt == 1 {
                row.step.clone()
            } else {
                format!("{}.{attempt}", row.step)
            };
            for stream in streams {
                let Some(recorded) = folder.recorded(&label, *stream)? else {
                    continue;
                };
                any = true;
                let name = match stream {
                    Stream::Stdout => "stdout",
                    Stream::Stderr => "stderr",
                };
                let heading = if raw {
                    String::new()
                } else {
                    format!("--- {label} {name}\n")
                };
                let bytes = recorded.bytes();
                let ends = raw || bytes.ends_with(b"\n");
                let written = out
                    .write_all(heading.as_bytes())
                    .and_then(|()| out.write_all(&bytes))
                    .and_then(|()| if ends { Ok(()) } else { out.write_all(b"\n") });
                if written.is_err() {
                    return Ok(exit::OK);
                }
            }
        }
    }
    if !any {
        eprintln!("nothing was printed");
    }
    Ok(exit::OK)
}
