//! `runwright show`: what a run did, told by the same code as while it ran.

use clap::Args;
use runwright_core::summary::Summary;
use runwright_local::{
    folder::RunFolder,
    run::{before, events, told},
};

use crate::{
    Done,
    commands::{history::state_of, resume::first_event},
    error::CliError,
    exit,
    library::Library,
    planning,
    session::reporter,
    settings::Settings,
};

/// Show what a run did, step by step
#[derive(Args)]
pub(crate) struct Show {
    /// The run: its id, the beginning of it, or `last`
    #[arg(default_value = "last")]
    run: String,
}

/// Shows a run.
pub(crate) fn show(settings: &Settings, args: &Show) -> Done {
    let Some(journal) = settings.journal_to_read()? else {
        return Err(CliError::new("find a run: there are none yet"));
    };
    let record = journal.run(&args.run)?;
    let begun = first_event(&journal, &record.run)?;
    let folder = RunFolder::find(journal.home(), &record.run)
        .ok_or_else(|| CliError::new(format!("find the folder of the run `{}`", record.run)))?;
    let library = Library::new(settings);
    let plan = planning::pinned(&library, &folder, &begun, settings.colour())?;
    let reporter = reporter(&settings.replaying(), &record.run);
    let mut reporter = reporter
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let happened = events(&journal, &record.run)?;
    let mut state = before(&journal, &plan, &happened)?;
    for (event, seq) in happened.iter().zip(1..) {
        state.apply(&plan, event);
        reporter.tell(&told(&plan, &state, event, seq));
    }
    let mut summary = Summary::of(&state, &record.head.to_string());
    if record.row.ended_at.is_none() {
        summary.outcome = state_of(&journal, &record)?;
    }
    reporter.end(&summary);
    Ok(exit::OK)
}
