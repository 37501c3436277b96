//! `runwright resume`: goes on with a run that has stopped, or whose process is gone.

use std::sync::Arc;

use clap::Args;
use runwright_core::event::Goal;
use runwright_local::{
    journal::{Journal, RunRecord},
    run::{Run, Vault, replay},
};

use crate::{
    Done,
    error::CliError,
    left::{self, WaitArgs},
    library::Library,
    planning, secrets,
    session::{self, AnswerArgs},
    settings::{self, Settings},
};

/// Go on with a run that has stopped or was interrupted
///
/// Steps that finished are not done again. A step that was at work when the engine died is settled first: by its
/// `unless`, by a look at its target, by doing it again when it only reads, and else by asking.
#[derive(Args)]
pub(crate) struct Resume {
    /// The run: its id, the beginning of it, or `last`
    run: String,

    #[command(flatten)]
    answers: AnswerArgs,

    #[command(flatten)]
    wait: WaitArgs,
}

/// Goes on with a run.
pub(crate) fn resume(settings: &Settings, args: &Resume) -> Done {
    let journal = settings.journal()?;
    let record = journal.run(&args.run)?;
    if record.row.ended_at.is_some() {
        let error = CliError::refused(format!(
            "the run `{}` has ended: {}",
            record.run, record.row.state
        ));
        return Err(error.hint(format!("`runwright show {}` says what it did", record.run)));
    }
    go_on(
        settings,
        &journal,
        &record,
        Goal::Work,
        &args.answers,
        &args.wait,
    )
}

/// Takes up a run that has not ended: to finish its work, or to undo it.
pub(crate) fn go_on(
    settings: &Settings,
    journal: &Journal,
    record: &RunRecord,
    goal: Goal,
    answers: &AnswerArgs,
    wait: &WaitArgs,
) -> Done {
    let colour = settings.colour();
    let library = Library::new(settings);
    let folder = runwright_local::folder::RunFolder::find(journal.home(), &record.run)
        .ok_or_else(|| CliError::new(format!("find the folder of the run `{}`", record.run)))?;
    let begun = first_event(journal, &record.run)?;
    let (user, host) = (settings::user(), settings::host());
    if begun.user != user || begun.host != host {
        let belongs = format!(
            "the run `{}` belongs to {} on {}",
            record.run, begun.user, begun.host
        );
        return Err(CliError::refused(belongs)
            .hint("only who started a run goes on with it, on the same machine"));
    }
    left::refuse_or_wait(journal, &folder, &record.run, wait)?;
    let plan = planning::pinned(&library, &folder, &begun, colour)?;
    tell_if_edited(&library, &begun);
    let vault = Arc::new(Vault::default());
    secrets::again(&plan, &begun.sources, &vault)?;
    if goal == Goal::Work {
        session::refuse_unanswerable(&plan, answers)?;
    }
    // Refuses events that this engine can't read before anything acts.
    replay(journal, &plan, &record.run)?;
    let around = session::surroundings(settings, &library.kinds, answers, vault, &record.run)?;
    session::drive(Run::resume(journal, plan, &record.run, &user, goal, around))
}

/// Returns how a run began.
pub(crate) fn first_event(
    journal: &Journal,
    run: &str,
) -> Result<runwright_core::event::Begun, CliError> {
    let events = runwright_local::run::events(journal, run)?;
    match events.into_iter().next().map(|event| event.body) {
        Some(runwright_core::event::Body::Begun(begun)) => Ok(*begun),
        Some(runwright_core::event::Body::Previewed(_)) => Err(CliError::refused(format!(
            "`{run}` is no run: somebody looked at a plan, and nothing was done"
        ))
        .hint(format!("`runwright show {run}` says who, and at what"))),
        _ => Err(CliError::new(format!("read how the run `{run}` began"))),
    }
}

/// Says so where the playbook was edited since the run began: the run goes on with the text it began with.
fn tell_if_edited(library: &Library, begun: &runwright_core::event::Begun) {
    let Ok(now) = library.find(&begun.path) else {
        return;
    };
    let digest = runwright_core::kind::Digest::of(now.source.text.as_bytes());
    let pinned = begun
        .texts
        .get(&format!("{}@{}", begun.playbook, begun.playbook_version));
    if pinned.is_some_and(|pinned| *pinned != digest) {
        eprintln!(
            "note: `{}` was edited since this run began; the run goes on with the text it began with",
            begun.path
        );
    }
}
